"""DX files for phantoms and tests: any transfer syntax that is read, any character set that Japanese hospitals use."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ikyoku.dicom import jpeg12, vocabulary
from ikyoku.dicom.files import write_bytes
from ikyoku.dicom.parsing import Unreadable, quiet
from ikyoku.errors import DataError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Pixels = npt.NDArray[Any]

CHARACTER_SETS: Mapping[str, tuple[str, ...]] = {
    "none": (),
    "latin": ("ISO_IR 100",),
    "kanji": ("", "ISO 2022 IR 87"),
    "ascii-kanji": ("ISO 2022 IR 6", "ISO 2022 IR 87"),
    "kana-kanji": ("ISO 2022 IR 13", "ISO 2022 IR 87"),
    "rare-kanji": ("", "ISO 2022 IR 87", "ISO 2022 IR 159"),
    "utf-8": ("ISO_IR 192",),
}
"""Specific Character Set as Japanese hospitals have it: none, Latin-1, JIS X 0208 with and without a first set that is
named, with half-width katakana, with JIS X 0212, and UTF-8 (PS3.5 annex H)."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose image it says it is: an invented person.

    `name` has up to three groups divided by =: alphabetic (or half-width katakana), ideographic, phonetic, each as
    family^given. `birth_date` is YYYYMMDD, `sex` M, F or O.
    """

    name: str = ""
    id: str = ""
    birth_date: str = ""
    sex: str = ""


def write_dx(
    path: Path,
    pixels: npt.NDArray[np.generic],
    *,
    key: str,
    study: str = "",
    subject: Subject = Subject(),
    character_set: str = "utf-8",
    transfer_syntax: str = vocabulary.EXPLICIT,
    bits_stored: int = 12,
    photometric: str = "MONOCHROME2",
    window: tuple[float, float] | None = None,
    view_position: str = "PA",
    pixel_spacing: tuple[float, float] = (0.2, 0.2),
    date: str = "20260401",
    more: Mapping[str, object] | None = None,
    loss: int = 0,
) -> None:
    """Writes a Digital X-Ray Image for Presentation of the chest, all or nothing; the same call writes the same file.

    Args:
        path: the file; one that exists is replaced.
        pixels: stored values of shape (rows, columns): uint8 up to 8 bits, uint16 or int16 above.
        key: what tells this image from others; its UIDs are made of it.
        study: what the images of one study share; else the key.
        subject: the invented patient.
        character_set: a name in `CHARACTER_SETS`.
        transfer_syntax: a UID in `vocabulary.TRANSFER_SYNTAXES`, but for HTJ2K, which nothing here can encode.
        bits_stored: 8 to 16.
        photometric: MONOCHROME1 or MONOCHROME2.
        window: center and width; else the whole range.
        view_position: PA, AP, LL or RL.
        pixel_spacing: (row, column) in mm at the detector.
        date: of the study, YYYYMMDD.
        more: elements by keyword that replace or join these; None takes one out.
        loss: for JPEG-LS near-lossless the largest error of a pixel (2 where 0), for JPEG baseline 100 - quality, for
            12-bit JPEG the step of the quantization, for lossy JPEG 2000 the compression ratio (10 where 0).

    Raises:
        DataError: a text cannot be written in the character set, a value is not allowed, or the disk refuses. No text
            of the subject is in it.

    Reference:
        DICOM PS3.3 A.26 (Digital X-Ray Image IOD); PS3.5 annexes A and H.
    """
    if character_set not in CHARACTER_SETS or photometric not in vocabulary.GREY or view_position not in VIEW_CODES:
        allowed = f"character_set one of {', '.join(CHARACTER_SETS)}, photometric {' or '.join(vocabulary.GREY)}, "
        allowed += f"view_position one of {', '.join(VIEW_CODES)}"
        raise DataError(f"{path}: cannot be written: allowed are {allowed}")
    _check_pixels(path, pixels, bits_stored)
    reason, data = "", b""
    try:
        with quiet():
            dataset = _dx(pixels, key, study or key, view_position, date, bits_stored, photometric)
            dataset.SpecificCharacterSet = list(CHARACTER_SETS[character_set]) or None
            dataset.PatientName, dataset.PatientID = subject.name, subject.id
            dataset.PatientBirthDate, dataset.PatientSex = subject.birth_date, subject.sex
            low, high = (float(pixels.min()), float(pixels.max()))
            center, width = window or ((low + high + 1) / 2, max(high - low + 1, 2.0))
            dataset.WindowCenter, dataset.WindowWidth = f"{center:.10g}", f"{width:.10g}"
            dataset.ImagerPixelSpacing = [f"{x:.10g}" for x in pixel_spacing]
            for keyword, value in (more or {}).items():
                if value is None:
                    del dataset[keyword]
                else:
                    setattr(dataset, keyword, value)
            if not _character_set_holds(dataset):
                raise Unreadable(f"a text cannot be written in the character set '{character_set}'")
            _put_pixels(dataset, pixels, bits_stored, transfer_syntax, loss)
            data = file_of(dataset, transfer_syntax)
    except Unreadable as error:
        reason = "a value is not allowed" if "damaged" in str(error) else str(error)
    if not data:
        raise DataError(f"{path}: cannot be written: {reason}")
    write_bytes(path, data)


def uid(kind: str, key: str) -> str:
    """Returns a UID made of a text: the same for the same text (PS3.5 B.2).

    >>> uid("study", "phantom 1") == uid("study", "phantom 1") != uid("series", "phantom 1")
    True
    """
    return f"2.25.{int.from_bytes(hashlib.sha256(f'{kind}:{key}'.encode()).digest()[:16], 'big')}"


def file_of(dataset: Dataset, syntax: str) -> bytes:
    """Returns the bytes of a DICOM file with its preamble and file meta information. Call it inside `parsing.quiet`."""
    from pydicom import dcmwrite
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = UID(syntax)
    meta.ImplementationClassUID = UID(uid("implementation", "ikyoku"))
    meta.ImplementationVersionName = "IKYOKU"
    dataset.file_meta = meta
    buffer = io.BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def _character_set_holds(dataset: Dataset) -> bool:
    """Returns true where every text of a data set can be read back as it was written in its own character set."""
    from pydicom import dcmread

    copy = _texts_only(dataset)
    buffer = io.BytesIO(file_of(copy, vocabulary.EXPLICIT))
    again = dcmread(buffer)
    return all(str(again[each.tag].value) == str(each.value) for each in copy if each.VR in _TEXTS)


_TEXTS = ("PN", "LO", "SH", "ST", "LT", "UT", "UC")


def _texts_only(dataset: Dataset) -> Dataset:
    from pydicom.dataset import Dataset

    copy = Dataset()
    for element in dataset:
        if element.VR in _TEXTS or element.keyword in ("SpecificCharacterSet", "SOPClassUID", "SOPInstanceUID"):
            copy.add(element)
    return copy


def _check_pixels(path: Path, pixels: Pixels, bits: int) -> None:
    kinds = ("uint8",) if bits == 8 else ("uint16", "int16")
    if pixels.ndim != 2 or not 8 <= bits <= 16 or pixels.dtype.name not in kinds:
        raise DataError(
            f"{path}: cannot be written: {pixels.dtype} of shape {pixels.shape} in {bits} bits; uint8 in 8 bits, "
            "uint16 or int16 in 9 to 16 bits, of shape (rows, columns) are allowed"
        )
    half = 1 << (bits - 1)
    lowest, highest = (-half, half - 1) if pixels.dtype.kind == "i" else (0, 2 * half - 1)
    if int(pixels.min()) < lowest or int(pixels.max()) > highest:
        raise DataError(
            f"{path}: cannot be written: a pixel is outside {lowest} to {highest}, the range of {bits} bits"
        )


def _code(value: str, meaning: str) -> list[Dataset]:
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SCT", meaning
    return [item]


VIEW_CODES: Mapping[str, tuple[str, str]] = {
    "PA": ("272479007", "postero-anterior"),
    "AP": ("399348003", "antero-posterior"),
    "LL": ("399173006", "left lateral"),
    "RL": ("399198007", "right lateral"),
}
"""Code and meaning (SNOMED CT) of the view positions that are written (PS3.16 CID 4010)."""


def _dx(pixels: Pixels, key: str, study: str, view: str, date: str, bits: int, photometric: str) -> Dataset:
    """Returns all of a DX but its patient, its window and its pixels."""
    from pydicom.dataset import Dataset

    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1.1", uid("instance", key)
    ds.StudyInstanceUID, ds.SeriesInstanceUID = uid("study", study), uid("series", key)
    ds.StudyDate = ds.ContentDate = ds.AcquisitionDate = ds.SeriesDate = date
    ds.StudyTime = ds.ContentTime = ds.AcquisitionTime = ds.SeriesTime = "090000"
    ds.AccessionNumber = ds.ReferringPhysicianName = ds.StudyID = ""
    ds.Modality, ds.PresentationIntentType = "DX", "FOR PRESENTATION"
    ds.Manufacturer, ds.ManufacturerModelName = "ikyoku", "phantom"
    ds.SeriesNumber = ds.InstanceNumber = ds.AcquisitionNumber = "1"
    ds.ImageType = ["ORIGINAL", "PRIMARY", ""]
    ds.BodyPartExamined, ds.ImageLaterality, ds.BurnedInAnnotation = "CHEST", "U", "NO"
    ds.AnatomicRegionSequence = _code("816094009", "Chest")
    ds.ViewPosition = view
    ds.PatientOrientation = ["L", "F"] if view in vocabulary.FRONTAL else ["P" if view == "RL" else "A", "F"]
    ds.ViewCodeSequence = _code(*VIEW_CODES[view])
    ds.DetectorType, ds.DetectorConfiguration = "DIRECT", "AREA"
    ds.PositionerType, ds.AcquisitionContextSequence = "", []
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, photometric
    ds.Rows, ds.Columns = pixels.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = pixels.dtype.itemsize * 8, bits, bits - 1
    ds.PixelRepresentation = int(pixels.dtype.kind == "i")
    ds.PixelIntensityRelationship = "LOG"
    ds.PixelIntensityRelationshipSign = 1 if photometric == "MONOCHROME1" else -1
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "0", "1", "US"
    ds.PresentationLUTShape = "INVERSE" if photometric == "MONOCHROME1" else "IDENTITY"
    ds.LossyImageCompression = "00"
    return ds


def _put_pixels(dataset: Dataset, pixels: Pixels, bits: int, syntax: str, loss: int) -> None:
    from pydicom.encaps import encapsulate

    kind = vocabulary.TRANSFER_SYNTAXES.get(syntax)
    if kind is None or syntax in (vocabulary.HTJ2K, vocabulary.HTJ2K_LOSSLESS, vocabulary.HTJ2K_RPCL):
        raise Unreadable("images cannot be written in this transfer syntax")
    wide = pixels.dtype.itemsize == 2
    if not kind:
        data = pixels.astype(pixels.dtype.newbyteorder(">" if syntax == vocabulary.BIG_ENDIAN else "<")).tobytes()
        data += b"\0" * (len(data) % 2)
        if syntax == vocabulary.BIG_ENDIAN and not wide:
            data = np.frombuffer(data, "<u2").astype(">u2").tobytes()
        dataset.add_new("PixelData", "OW", data)
        return
    native = np.ascontiguousarray(pixels.astype(pixels.dtype.newbyteorder("=")))
    masked = native.view(f"u{native.itemsize}") & ((1 << bits) - 1)
    signed = native.dtype.kind == "i"
    if signed and kind == "jpeg" and syntax in vocabulary.LOSSY:
        raise Unreadable("lossy JPEG has no negative values")
    code = _ENCODERS[kind](masked if kind in ("jpeg", "jpeg-ls") else native, bits, syntax, loss)
    dataset.add_new("PixelData", "OB", encapsulate([code]))
    dataset["PixelData"].is_undefined_length = True
    if syntax in vocabulary.LOSSY:
        dataset.LossyImageCompression = "01"
        dataset.LossyImageCompressionRatio = f"{native.nbytes / len(code):.4g}"
        dataset.LossyImageCompressionMethod = {
            "jpeg": "ISO_10918_1",
            "jpeg-ls": "ISO_14495_1",
            "jpeg-2000": "ISO_15444_1",
        }[kind]


def _encode_rle(pixels: Pixels, bits: int, syntax: str, loss: int) -> bytes:
    import rle

    del bits, syntax, loss
    rows, columns = pixels.shape
    about = {"rows": rows, "columns": columns, "samples_per_pixel": 1, "bits_allocated": pixels.itemsize * 8}
    return bytes(rle.encode_pixel_data(pixels.astype(pixels.dtype.newbyteorder("<")).tobytes(), byteorder="<", **about))


def _encode_jpeg_ls(pixels: Pixels, bits: int, syntax: str, loss: int) -> bytes:
    import jpeg_ls

    del bits
    return bytes(jpeg_ls.encode_array(pixels, lossy_error=(loss or 2) if syntax == vocabulary.JPEG_LS_NEAR else 0))


def _encode_jpeg_2000(pixels: Pixels, bits: int, syntax: str, loss: int) -> bytes:
    import openjpeg

    ratio = [float(loss or 10)] if syntax == vocabulary.JPEG_2000 else None
    return bytes(openjpeg.encode(pixels, bits_stored=bits, photometric_interpretation=2, compression_ratios=ratio))


def _encode_jpeg(pixels: Pixels, bits: int, syntax: str, loss: int) -> bytes:
    if syntax == vocabulary.JPEG_BASELINE or (syntax == vocabulary.JPEG_EXTENDED and bits == 8):
        from PIL import Image

        if bits != 8:
            raise Unreadable("JPEG baseline holds 8 bits")
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=100 - (loss or 10))
        return buffer.getvalue()
    if syntax == vocabulary.JPEG_EXTENDED:
        if bits > 12:
            raise Unreadable("JPEG extended holds 8 and 12 bits")
        return jpeg12.encode(pixels, step=loss or 10)
    return _lossless(pixels, bits, syntax)


def _lossless(pixels: Pixels, bits: int, syntax: str) -> bytes:
    if pixels.nbytes % 2:
        raise Unreadable("GDCM encodes no odd number of bytes; make a side even")
    import gdcm

    writer = gdcm.ImageWriter()
    image = writer.GetImage()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((pixels.shape[1], pixels.shape[0], 1))
    grey = gdcm.PhotometricInterpretation.GetPIType("MONOCHROME2")
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(grey))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.ExplicitVRLittleEndian))
    image.SetPixelFormat(gdcm.PixelFormat(1, pixels.itemsize * 8, bits, bits - 1, 0))
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetByteStringValue(pixels.astype(pixels.dtype.newbyteorder("<")).tobytes())
    image.SetDataElement(element)
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(syntax)))
    change.SetInput(image)
    if not change.Change():
        raise Unreadable("the encoder refused the pixels")
    fragments = change.GetOutput().GetDataElement().GetSequenceOfFragments()
    parts = [fragments.GetFragment(i).GetByteValue().GetBuffer() for i in range(fragments.GetNumberOfFragments())]
    return b"".join(part.encode("utf-8", "surrogateescape") for part in parts)


_ENCODERS: Mapping[str, Callable[[Pixels, int, str, int], bytes]] = {
    "rle": _encode_rle,
    "jpeg-ls": _encode_jpeg_ls,
    "jpeg-2000": _encode_jpeg_2000,
    "jpeg": _encode_jpeg,
}
