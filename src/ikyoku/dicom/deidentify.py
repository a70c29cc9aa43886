"""A copy of a chest radiograph without its patient: DICOM's basic profile, and stricter than that.

Three steps. First only what an image needs to be shown is taken over, word by word from closed lists and number by
number; so private elements, overlays, curves, comments, other sequences and unknown elements are left behind, and with
them what a profile's table does not name. Then the basic profile's table (the library dicom-anonymizer's, of 2024b) is
applied to what is left. Last, identifiers are replaced: UIDs and the patient's number by a keyed hash, the same in all
files under one secret. The pixels are decoded and written anew without compression, since a code stream can hold
comments, and the bits beside the stored ones overlays. What is drawn into the pixels stays there.

Reference:
    DICOM PS3.15 annex E, table E.1-1, with the options of none.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import io
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ikyoku.dicom import vocabulary
from ikyoku.dicom.decoding import decode, stored_pixels
from ikyoku.dicom.files import write_bytes
from ikyoku.dicom.header import Header, check_chest, read_header
from ikyoku.dicom.parsing import Unreadable, first, items, numbers, parse, quiet, word, word_at
from ikyoku.dicom.reading import burned_in, file_bytes, table_of
from ikyoku.dicom.write import VIEW_CODES, file_of
from ikyoku.errors import DataError, SpecError
from ikyoku.images import Window, display, shape_fault, text_lines

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

LEAST_SECRET = 16

_WORDS: Mapping[str, frozenset[str]] = {
    "Modality": frozenset(vocabulary.MODALITIES),
    "BodyPartExamined": vocabulary.CHEST,
    "ViewPosition": vocabulary.VIEWS,
    "ImageLaterality": vocabulary.LATERALITIES,
    "Laterality": vocabulary.LATERALITIES,
    "PresentationIntentType": frozenset({"FOR PRESENTATION", "FOR PROCESSING"}),
    "VOILUTFunction": frozenset({"LINEAR", "LINEAR_EXACT", "SIGMOID"}),
    "RescaleType": frozenset({"US", "OD", "HU"}),
    "PixelIntensityRelationship": frozenset({"LIN", "LOG", "DISP"}),
    "PresentationLUTShape": frozenset({"IDENTITY", "INVERSE"}),
    "LossyImageCompression": frozenset({"00", "01"}),
    "LossyImageCompressionMethod": frozenset({"ISO_10918_1", "ISO_14495_1", "ISO_15444_1"}),
    "BurnedInAnnotation": frozenset({"YES", "NO"}),
    "ConversionType": frozenset({"DV", "DI", "DF", "WSD", "SD", "SI", "DRW", "SYN"}),
    "DetectorType": frozenset({"DIRECT", "SCINTILLATOR", "STORAGE", "FILM"}),
    "DetectorConfiguration": frozenset({"AREA", "SLOT"}),
    "PhotometricInterpretation": frozenset({*vocabulary.GREY, *vocabulary.COLOUR}),
}
_NUMBERS = (
    "PixelSpacing",
    "ImagerPixelSpacing",
    "PixelAspectRatio",
    "RescaleSlope",
    "RescaleIntercept",
    "PixelIntensityRelationshipSign",
    "LossyImageCompressionRatio",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
)
_EMPTY = (
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "Manufacturer",
    "ReferringPhysicianName",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "StudyID",
    "SeriesNumber",
    "InstanceNumber",
    "PatientOrientation",
    "PositionerType",
    "AcquisitionContextSequence",
)
"""Elements that must be there and may be empty (type 2)."""
_IDENTITY = ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")


@dataclass(frozen=True, slots=True)
class Deidentified:
    """What was done: how often each element of the source was left out or changed, by keyword, never a value.

    Private elements are counted under "private", those that DICOM's dictionary does not know under "unknown". `kept`
    are the keywords whose values are as they were (of sequences: whose items are written anew). `warnings` are for
    whoever passes the copy on.
    """

    removed: Mapping[str, int]
    kept: tuple[str, ...]
    warnings: tuple[str, ...]


def write_deidentified(source: Path, target: Path, *, secret: str, burned_in_allowed: bool = False) -> Deidentified:
    """Writes a copy of a chest radiograph in which nothing names its patient.

    Args:
        source: a DICOM file that `read_radiogram` reads.
        target: a file that does not exist; its name is the caller's: a source's name often holds a patient's number.
        secret: at least 16 characters. UIDs and patient numbers are replaced by hashes under it: the same secret gives
            the same ones, so that studies and patients stay together; without it they cannot be traced back.
        burned_in_allowed: also copy an image whose header says that text is burned into it.

    Returns:
        What was removed, what was kept, and warnings about text in the pixels.

    Raises:
        SpecError: a secret that is too short.
        DataError: the source is refused (see `read_radiogram`), has text burned in, or is the target; the target exists
            or cannot be written. No value of the source is in the message.

    Reference:
        DICOM PS3.15 E.2 (Basic Application Level Confidentiality Profile), E.3.1 for burned-in text.
    """
    if len(secret) < LEAST_SECRET:
        raise SpecError(f"a secret of {len(secret)} characters; at least {LEAST_SECRET} are needed, and keep it")
    if target.exists():
        raise DataError(f"{target}: exists already; name another file, or remove it first")
    reason, made = "", None
    try:
        made = _copy(file_bytes(source), secret.encode(), burned_in_allowed)
    except Unreadable as error:
        reason = str(error)
    if made is None:
        raise DataError(f"{source}: {reason}")
    data, report = made
    write_bytes(target, data, replace=False)
    return report


def _copy(data: bytes, secret: bytes, burned_in_allowed: bool) -> tuple[bytes, Deidentified]:
    with quiet():
        dataset, syntax = parse(data)
        notes = check_chest(dataset)
        header = read_header(dataset, syntax)
        if fault := shape_fault(header.rows, header.columns):
            raise Unreadable(fault)
        if header.burned_in and not burned_in_allowed:
            raise Unreadable("its header says that text is burned into the image; mask it first, or allow it expressly")
        notes += burned_in(dataset, header)
        code, layout = stored_pixels(dataset, header)
    pixels = decode(code, layout)
    if lines := _text_lines(pixels, header):
        notes.append(f"{lines} line(s) of what looks like letters are drawn into the image: look for a name")
    with quiet():
        copy = _image_only(dataset, header)
        _apply_profile(copy)
        _put_identity(copy, dataset, secret)
        _put_pixels(copy, pixels, header, layout)
        copy.PatientIdentityRemoved = "YES"
        copy.DeidentificationMethod = "PS3.15 basic profile; image elements only; pixels rewritten"
        copy.DeidentificationMethodCodeSequence = [_code("113100", "DCM", "Basic Application Confidentiality Profile")]
        copy.LongitudinalTemporalInformationModified = "REMOVED"
        removed, kept = _compare(dataset, copy)
        return file_of(copy, vocabulary.EXPLICIT), Deidentified(removed, kept, tuple(notes))


def _text_lines(pixels: npt.NDArray[Any], header: Header) -> int:
    """Returns how many lines of letters are drawn into stored values, in white or black."""
    grey = pixels if pixels.ndim == 2 else pixels.max(axis=2)
    low, high = int(grey.min()), int(grey.max())
    inverted = header.photometric == "MONOCHROME1"
    return text_lines(display(grey, Window((low + high) / 2, max(high - low, 1), "LINEAR_EXACT"), inverted=inverted))


def _image_only(dataset: Dataset, header: Header) -> Dataset:
    """Returns what is needed to show the image, and empty elements where DICOM wants them to be there."""
    from pydicom.dataset import Dataset

    copy = Dataset()
    for keyword in _EMPTY:
        setattr(copy, keyword, None)
    kind = str(first(dataset, "SOPClassUID") or "")
    copy.SOPClassUID = kind if kind in vocabulary.RADIOGRAPHS else vocabulary.SECONDARY_CAPTURE
    for keyword, allowed in _WORDS.items():
        if (value := word(dataset, keyword)) in allowed and value:
            setattr(copy, keyword, value)
    for keyword in _NUMBERS:
        if values := numbers(dataset, keyword):
            setattr(copy, keyword, _plain(keyword, values))
    if header.orientation:
        copy.PatientOrientation = header.orientation.split("\\")
    for keyword in ("WindowCenter", "WindowWidth"):
        if values := numbers(dataset, keyword):
            setattr(copy, keyword, [f"{x:.10g}" for x in values])
    for keyword in ("VOILUTSequence", "ModalityLUTSequence"):
        for item in items(dataset, keyword)[:1]:
            if (table := table_of(item)) is not None:
                again = Dataset()
                again.add_new(
                    "LUTDescriptor", "US" if table.first >= 0 else "SS", _descriptor(table.entries.size, table)
                )
                again.add_new("LUTData", "OW", table.entries.astype("<u2").tobytes())
                if keyword == "ModalityLUTSequence":
                    again.ModalityLUTType = "US"
                setattr(copy, keyword, [again])
    kinds = [word_at(dataset, "ImageType", place) for place in (0, 1)]
    if kinds[0] in ("ORIGINAL", "DERIVED") and kinds[1] in ("PRIMARY", "SECONDARY"):
        copy.ImageType = [*kinds, ""]
    if header.view_position in VIEW_CODES:
        value, meaning = VIEW_CODES[header.view_position]
        copy.ViewCodeSequence = [_code(value, "SCT", meaning)]
    if header.body_part:
        copy.AnatomicRegionSequence = [_code("816094009", "SCT", "Chest")]
    return copy


def _descriptor(size: int, table: Any) -> list[int]:
    return [size % (1 << 16) if table.first >= 0 else min(size, (1 << 15) - 1), table.first, table.bits]


def _plain(keyword: str, values: tuple[float, ...]) -> list[str] | int:
    """Returns numbers as their element takes them: decimal texts, or one whole number."""
    from pydicom.datadict import dictionary_VR

    if dictionary_VR(keyword) in ("DS", "IS"):
        return [f"{x:.10g}" for x in values]
    return int(values[0])


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def _apply_profile(copy: Dataset) -> None:
    """Applies the table of the basic profile, without its random UIDs; its prints are not heard."""
    from dicomanonymizer.simpledicomanonymizer import anonymize_dataset, initialize_actions_2024b, keep, replace_UID

    def rules() -> dict[Any, Any]:
        table = initialize_actions_2024b()
        return {tag: keep if action is replace_UID else action for tag, action in table.items()}

    before = {keyword: copy[keyword].value for keyword in copy.dir() if keyword in _EMPTY and not copy[keyword].value}
    with contextlib.redirect_stdout(io.StringIO()):
        anonymize_dataset(copy, base_rules_gen=rules)
    for keyword in before:  # the library dates an empty date to the year 1; empty says as much
        setattr(copy, keyword, None)


def _put_identity(copy: Dataset, dataset: Dataset, secret: bytes) -> None:
    for keyword in _IDENTITY:
        old = str(first(dataset, keyword) or "").strip()
        new = _keyed(secret, "uid", old or f"{keyword}:{hashlib.sha256(dataset.PixelData).hexdigest()}")
        setattr(copy, keyword, f"2.25.{int.from_bytes(new[:16], 'big')}")
    number = str(first(dataset, "PatientID") or "").strip()
    copy.PatientID = f"P{_keyed(secret, 'patient', number).hex()[:16].upper()}" if number else ""


def _keyed(secret: bytes, kind: str, value: str) -> bytes:
    return hmac.new(secret, f"{kind}:{value}".encode("utf-8", "replace"), hashlib.sha256).digest()


def _put_pixels(copy: Dataset, pixels: npt.NDArray[Any], header: Header, layout: Mapping[str, Any]) -> None:
    """Writes stored values without compression and with nothing in the bits beside them."""
    copy.SamplesPerPixel = layout["samples"]
    copy.Rows, copy.Columns = header.rows, header.columns
    wide = header.bits_stored > 8
    copy.BitsAllocated, copy.BitsStored, copy.HighBit = 8 << wide, header.bits_stored, header.bits_stored - 1
    copy.PixelRepresentation = int(header.signed)
    if layout["samples"] == 3:
        copy.PlanarConfiguration = 0
        decoded = layout["codec"] == "jpeg" or header.photometric in ("YBR_RCT", "YBR_ICT")
        copy.PhotometricInterpretation = "RGB" if decoded else header.photometric.removesuffix("_422")
    held = pixels.astype(np.int32) & ((1 << header.bits_stored) - 1)
    if header.signed:  # two's complement in the whole cell
        held = pixels.astype(np.int32) & ((256 << 8 * wide) - 1)
    raw = held.astype("<u2" if wide else np.uint8).tobytes()
    copy.add_new("PixelData", "OW", raw + b"\0" * (len(raw) % 2))


def _compare(dataset: Dataset, copy: Dataset) -> tuple[dict[str, int], tuple[str, ...]]:
    """Returns how often each element of the source is not in the copy as it was, and those that are."""
    removed: Counter[str] = Counter()
    kept: list[str] = []
    for tag in dataset.keys():  # noqa: SIM118 - pydicom iterates over elements, which it would have to read
        name = _name(tag)
        if name == "PixelData":
            continue
        if name not in dataset:  # one of the names for those that have none of their own
            removed[name] += 1
            continue
        inside = items(dataset, name)
        if name in copy and (inside or str(first(dataset, name)) == str(first(copy, name))):
            kept.append(name)
            continue
        removed[name] += 1
        for item in inside:
            for inner in item.iterall():
                removed[_name(inner.tag)] += 1
    return dict(sorted(removed.items())), tuple(kept)


def _name(tag: Any) -> str:
    from pydicom.datadict import keyword_for_tag

    if tag.is_private:
        return "private"
    if 0x5000 <= tag.group <= 0x50FF:
        return "curve"
    if 0x6000 <= tag.group <= 0x60FF:
        return "overlay"
    return keyword_for_tag(tag) or "unknown"
