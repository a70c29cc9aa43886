"""A file to a radiogram: values in full depth, how to show them, and the header that identifies nobody."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ikyoku.dicom import vocabulary
from ikyoku.dicom.decoding import decode, stored_pixels
from ikyoku.dicom.header import Header, check_chest, read_header
from ikyoku.dicom.parsing import MOST_BYTES, Unreadable, first, items, number, numbers, parse, quiet
from ikyoku.dicom.parsing import word as word_of
from ikyoku.errors import DataError
from ikyoku.images import Table, Window, colour_fault, display, lookup, shape_fault, to_grey

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

FRONTAL_TURNS = {"L\\F": (), "R\\F": (1,), "L\\H": (0,), "R\\H": (0, 1)}
"""Axes to turn round so that a frontal view hangs as usual: the patient's left on the right, the head above."""


@dataclass(frozen=True, slots=True, eq=False)
class Radiogram:
    """One radiograph in full depth.

    `values` are float32 of shape (rows, columns) after the modality transformation. `voi` is how the file wants them
    shown (None: it does not say), `inverted` whether low values are bright, `outside` where there is no image.
    `warnings` are for the reader.
    """

    values: npt.NDArray[np.float32]
    voi: Window | Table | None
    inverted: bool
    outside: npt.NDArray[np.bool_] | None
    header: Header
    warnings: tuple[str, ...]

    def pixels(self) -> npt.NDArray[np.uint8]:
        """Returns the image as a reader is shown it: uint8, bone bright, as `images.display` makes it."""
        return display(self.values, self.voi, inverted=self.inverted, outside=self.outside)


def read_radiogram(path: Path) -> Radiogram:
    """Reads a chest radiograph from a DICOM file.

    Read are CR, DX, scanned film (RG) and, with a warning, OT; grey images of 8 to 16 bits, and images in colour whose
    channels are alike; native, deflated, RLE, JPEG, JPEG-LS and JPEG 2000 code. A frontal image that the header says is
    stored mirrored or upside down is turned, with a warning.

    Raises:
        DataError: when the file cannot be read, is damaged, or is no chest radiograph, with the reason. No value of the
            file that could identify somebody is in it.

    Reference:
        DICOM PS3.3 A.2 (CR), A.26 (DX), C.7.6.3; PS3.4 N.2 for the order of the transformations.
    """
    reason, found = "", None
    try:
        found = radiogram_of(file_bytes(path))
    except Unreadable as error:
        reason = str(error)
    if found is None:
        raise DataError(f"{path}: {reason}")
    return found


def file_bytes(path: Path) -> bytes:
    """Returns what is in a file of a size that may be read.

    Raises:
        DataError: when there is no such file, it is a folder, a pipe or a device, it is larger, or it cannot be read.
    """
    try:
        kind = path.stat().st_mode
        if stat.S_ISDIR(kind):
            raise DataError(f"{path}: is a folder; give a file, or read it as a study")
        if not stat.S_ISREG(kind):  # to open a pipe would wait for ever
            raise DataError(f"{path}: is a pipe or a device; give a file")
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise DataError(f"{path}: cannot be read: no file has such a name") from error
    if len(data) > MOST_BYTES:
        raise DataError(f"{path}: is larger than {MOST_BYTES >> 20} MiB; no radiograph is")
    return data


def radiogram_of(data: bytes) -> Radiogram:
    """Returns the radiogram in a DICOM file's bytes.

    Raises:
        Unreadable: with the reason, as `read_radiogram`.
    """
    with quiet():
        dataset, syntax = parse(data)
        notes = check_chest(dataset)
        header = read_header(dataset, syntax)
        if fault := shape_fault(header.rows, header.columns):
            raise Unreadable(fault)
        code, layout = stored_pixels(dataset, header)
        transform = _modality(dataset, notes)
        voi = _voi(dataset, notes)
        padding = _padding(dataset, header)
        burned = burned_in(dataset, header)
        del dataset
    stored = decode(code, layout)
    with quiet():  # numpy's complaints about damaged values, as well
        if stored.ndim == 3:
            stored, header_notes = _grey(stored, header)
            notes += header_notes
        if int(stored.min()) == int(stored.max()):
            raise Unreadable("the image is one even field: there is nothing on it")
        outside = (stored >= padding[0]) & (stored <= padding[1]) if padding else None
        if outside is not None and not 0 < int(outside.sum()) < outside.size:
            outside = None
        values = lookup(stored, transform) if isinstance(transform, Table) else _line(stored, *transform)
        inverted = header.photometric == "MONOCHROME1"
        voi = _useful(values, voi, outside, notes)
        values, outside = _hang(values, outside, header, notes)
    return Radiogram(values, voi, inverted, outside, header, tuple(notes + burned))


def _line(stored: npt.NDArray[Any], slope: float, intercept: float) -> npt.NDArray[np.float32]:
    return (stored.astype(np.float64) * slope + intercept).astype(np.float32)


def _modality(dataset: Dataset, notes: list[str]) -> Table | tuple[float, float]:
    """Returns the modality transformation: a table, or slope and intercept (PS3.3 C.11.1)."""
    for item in items(dataset, "ModalityLUTSequence")[:1]:
        if (table := table_of(item)) is not None:
            return table
        notes.append("the modality look-up table cannot be read and is left out")
    line = {"RescaleSlope": 1.0, "RescaleIntercept": 0.0}
    for keyword in line:
        if first(dataset, keyword) is not None:
            value = number(dataset, keyword)
            if value is None or (not value and keyword == "RescaleSlope"):
                raise Unreadable(f"{keyword} is no number that pixels can be rescaled by")
            line[keyword] = value
    return line["RescaleSlope"], line["RescaleIntercept"]


def _voi(dataset: Dataset, notes: list[str]) -> Window | Table | None:
    """Returns the first table or else the first window of a data set (PS3.3 C.11.2)."""
    for item in items(dataset, "VOILUTSequence")[:1]:
        if (table := table_of(item)) is not None:
            return table
        notes.append("the VOI look-up table cannot be read and is left out")
    centres, widths = numbers(dataset, "WindowCenter"), numbers(dataset, "WindowWidth")
    if not centres or not widths:
        return None
    name = word_of(dataset, "VOILUTFunction")
    function = name if name in ("LINEAR_EXACT", "SIGMOID") else "LINEAR"
    if widths[0] < (1 if function == "LINEAR" else 1e-6):
        notes.append("the window has no width and is left out")
        return None
    return Window(centres[0], widths[0], function)  # type: ignore[arg-type]


def table_of(item: Dataset) -> Table | None:
    """Returns the look-up table of an item, None where it cannot be read. Call it inside `parsing.quiet`.

    Reference:
        DICOM PS3.3 C.11.1.1 and C.11.2.1.1.
    """
    described = numbers(item, "LUTDescriptor")
    try:
        raw = item.get("LUTData")
        if len(described) != 3 or raw is None:
            return None
        count, start, bits = int(described[0]) or 1 << 16, int(described[1]), int(described[2])
        if isinstance(raw, bytes):
            wide = len(raw) >= 2 * count
            entries = np.frombuffer(raw, "<u2" if wide else np.uint8, count).astype(np.uint16)
        else:
            entries = np.array([int(x) & 0xFFFF for x in raw][:count], np.uint16)
    except Exception:  # a damaged table is left out
        return None
    if not 8 <= bits <= 16 or entries.size != count:
        return None
    return Table(start, np.minimum(entries, (1 << bits) - 1).astype(np.uint16), bits)


def _padding(dataset: Dataset, header: Header) -> tuple[float, float] | None:
    """Returns the range of stored values that are no image (PS3.3 C.7.5.1.1.2)."""
    one = number(dataset, "PixelPaddingValue")
    if one is None:
        return None
    other = number(dataset, "PixelPaddingRangeLimit")
    ends = [one, one if other is None else other]
    if header.signed:  # the value may have been read as unsigned
        ends = [x - (1 << 16) if x >= 1 << 15 else x for x in ends]
    return min(ends), max(ends)


def burned_in(dataset: Dataset, header: Header) -> list[str]:
    """Returns what the header says about text in the pixels, as warnings. Call it inside `parsing.quiet`."""
    if header.burned_in:
        return ["the header says that text is burned into the image: it may name the patient"]
    secondary = str(first(dataset, "SOPClassUID")) == vocabulary.SECONDARY_CAPTURE or header.modality == "OT"
    if header.burned_in is None and secondary:
        return ["a secondary capture, and the header does not say whether text is burned into it: look for a name"]
    return []


def _grey(stored: npt.NDArray[Any], header: Header) -> tuple[npt.NDArray[Any], list[str]]:
    """Returns an image in colour as grey, where it is grey (a secondary capture often is)."""
    pixels = np.asarray(stored.astype(np.uint16) >> max(0, header.bits_stored - 8), np.uint8)
    if header.photometric.startswith("YBR_FULL") and vocabulary.TRANSFER_SYNTAXES[header.transfer_syntax] != "jpeg":
        chroma = np.abs(pixels[..., 1:].astype(np.int16) - 128).max(axis=2)
        share = float((chroma > 12).mean())
        if share > 0.02:
            raise Unreadable(f"{share:.0%} of the image are coloured: a photograph, no radiograph")
        return pixels[..., 0], ["an image in colour, read as grey"]
    if fault := colour_fault(pixels):
        raise Unreadable(fault)
    return to_grey(pixels), ["an image in colour, read as grey"]


def _useful(
    values: npt.NDArray[np.float32],
    voi: Window | Table | None,
    outside: npt.NDArray[np.bool_] | None,
    notes: list[str],
) -> Window | Table | None:
    """Drops a window or table that shows nothing of the image."""
    if voi is None:
        return None
    few = values[:: max(1, values.shape[0] // 256), :: max(1, values.shape[1] // 256)]
    hidden = (
        outside[:: max(1, values.shape[0] // 256), :: max(1, values.shape[1] // 256)] if outside is not None else None
    )
    shown = display(few, voi)
    inside = shown if hidden is None or hidden.all() else shown[~hidden]
    if float(np.percentile(inside, 99)) - float(np.percentile(inside, 1)) >= 4:
        return voi
    notes.append("the window of the file shows nothing of the image; the range of its values is shown instead")
    return None


def _hang(
    values: npt.NDArray[np.float32], outside: npt.NDArray[np.bool_] | None, header: Header, notes: list[str]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_] | None]:
    """Turns a frontal image that is stored mirrored or upside down, so that right is right."""
    axes = FRONTAL_TURNS.get(header.orientation, ())
    if not axes or header.view == "lateral":
        return values, outside
    how = {(1,): "mirrored", (0,): "upside down", (0, 1): "upside down and mirrored"}[axes]
    notes.append(f"the header says that the image is stored {how}; it was turned: check the side marker")
    turned = np.ascontiguousarray(np.flip(values, axes))
    return turned, None if outside is None else np.ascontiguousarray(np.flip(outside, axes))
