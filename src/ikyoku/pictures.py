"""Any file of a radiograph to a picture: DICOM, PNG, JPEG. What is no chest radiograph is refused with the reason.

What can be told: in DICOM the modality and the body part; in every file the size and proportions, colour, an even
field, line art, a page. What cannot: a grey photograph or a radiograph of another part of the body that is saved as
PNG, a negative. Such a file is read, and it is the reader who must see it.
"""

from __future__ import annotations

import hashlib
import io
import warnings as python_warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from ikyoku import images
from ikyoku.dicom.header import Header
from ikyoku.dicom.parsing import Unreadable, looks_like_dicom
from ikyoku.dicom.reading import file_bytes, radiogram_of
from ikyoku.errors import DataError, together
from ikyoku.types import Picture

if TYPE_CHECKING:
    from PIL import Image

Kind = Literal["dicom", "png", "jpeg"]

SUFFIXES = (".dcm", ".dicom", ".png", ".jpg", ".jpeg", "")
"""Names of files that are looked at in a study's folder; DICOM files often have no suffix at all."""

_OTHERS = {
    b"GIF8": "a GIF",
    b"II*\0": "a TIFF",
    b"MM\0*": "a TIFF",
    b"BM": "a BMP",
    b"%PDF": "a PDF",
    b"PK\x03\x04": "a ZIP archive",
    b"\x1f\x8b": "a gzip archive",
    b"\0\0\0\x0cjP": "a JPEG 2000 file",
    b"\xff\x4f\xff\x51": "a JPEG 2000 file",
    b"n+1\0": "a NIfTI file",
}
_GREY_16 = ("I;16", "I;16B", "I;16L", "I;16N", "I")


@dataclass(frozen=True, slots=True)
class ReadPicture:
    """A picture, and what is known of the file it came from.

    `header` is the non-identifying header of a DICOM file, None for others. `warnings` are for the reader.
    """

    picture: Picture
    file_sha256: str
    kind: Kind
    header: Header | None
    warnings: tuple[str, ...]


def read_picture(path: Path, *, longest: int | None = None) -> ReadPicture:
    """Reads a radiograph of the chest.

    Args:
        path: a DICOM, PNG or JPEG file; what it is, is told by its content.
        longest: where given, the picture is made smaller until its longer side has so many pixels.

    Returns:
        The picture with bone bright: a DICOM image through its own window or table; where there is none, and for
        16-bit PNG, with the robust percentiles of its values as black and white; 8-bit files as they are.

    Raises:
        DataError: when it cannot be read, or is no chest radiograph, with the reason; nothing in it identifies anybody.
    """
    data = file_bytes(path)
    reason, found = "", None
    try:
        found = _read(data)
    except Unreadable as error:
        reason = str(error)
    if found is None:
        raise DataError(f"{path}: {reason}")
    pixels, kind, header, notes = found
    if lines := images.text_lines(pixels):
        notes.append(f"{lines} line(s) of what looks like letters are drawn into the image: look for a name")
    if longest is not None:
        pixels = images.fit(pixels, longest)
    return ReadPicture(images.picture(pixels), hashlib.sha256(data).hexdigest(), kind, header, tuple(notes))


def read_study(path: Path, *, longest: int | None = None) -> tuple[ReadPicture, ...]:
    """Reads the views of one study: a file, or a folder with DICOM, PNG or JPEG files in it (not below it).

    Returns:
        The pictures, frontal views first, then those that do not tell, lateral ones last; otherwise by file name.

    Raises:
        DataError: when a file cannot be read (all faults together), when there is none, when two studies are mixed.
    """
    try:
        folder = path.is_dir()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    if not folder:
        return (read_picture(path, longest=longest),)
    files = sorted(file for file in path.iterdir() if _is_candidate(file))
    if not files:
        raise DataError(f"{path}: no DICOM, PNG or JPEG file in this folder")
    faults, read = [], []
    for file in files:
        try:
            read.append(read_picture(file, longest=longest))
        except DataError as error:
            faults.append(str(error))
    if faults:
        raise DataError(together(faults))
    studies = {each.header.study for each in read if each.header and each.header.study}
    if len(studies) > 1:
        raise DataError(f"{path}: files of {len(studies)} studies; a folder holds the views of one")
    order = {"frontal": 0, "": 1, "lateral": 2}
    return tuple(sorted(read, key=lambda each: order[each.header.view if each.header else ""]))


def _is_candidate(file: Path) -> bool:
    return (
        file.is_file() and not file.name.startswith(".") and file.name != "DICOMDIR" and file.suffix.lower() in SUFFIXES
    )


def _read(data: bytes) -> tuple[npt.NDArray[np.uint8], Kind, Header | None, list[str]]:
    if looks_like_dicom(data[:200]):
        radiogram = radiogram_of(data)
        pixels, notes = radiogram.pixels(), list(radiogram.warnings)
        if fault := images.grey_fault(pixels, white=False):
            raise Unreadable(fault)
        if radiogram.header.view == "lateral":
            notes.append("a lateral view: models that have learnt frontal views do not know it")
        return pixels, "dicom", radiogram.header, notes
    kinds: dict[bytes, Kind] = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg"}
    kind = next((name for magic, name in kinds.items() if data.startswith(magic)), None)
    if kind is None:
        found = next((name for magic, name in _OTHERS.items() if data.startswith(magic)), "of no known kind")
        found = "a WebP file" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else found
        raise Unreadable(f"it is {found if data else 'empty'}; DICOM, PNG and JPEG are read")
    pixels, notes = _decode(data, kind)
    if fault := images.grey_fault(pixels):
        raise Unreadable(fault)
    return pixels, kind, None, notes


def _decode(data: bytes, kind: Kind) -> tuple[npt.NDArray[np.uint8], list[str]]:
    """Decodes PNG or JPEG; size and frames are looked at before anything is decoded."""
    from PIL import Image

    reason, found = "", None
    with python_warnings.catch_warnings():
        python_warnings.simplefilter("ignore")
        try:
            with Image.open(io.BytesIO(data), formats=(kind.upper(),)) as image:
                if fault := images.shape_fault(image.height, image.width):
                    raise Unreadable(fault)
                if getattr(image, "n_frames", 1) > 1:
                    raise Unreadable("it has several frames; a radiograph is one image")
                found = _grey(image)
        except Unreadable as error:
            reason = str(error)
        except Image.DecompressionBombError:
            reason = f"it has more than {images.MOST_PIXELS >> 20} Mi pixels"
        except Exception:  # what Pillow says may hold texts of the file
            reason = f"it is damaged, or no {kind.upper()} file"
    if found is None:
        raise Unreadable(reason)
    return found


def _grey(image: Image.Image) -> tuple[npt.NDArray[np.uint8], list[str]]:
    from PIL import ImageOps

    if image.mode == "1":
        raise Unreadable("the image has 2 tones, as a drawing or a text has; a radiograph has many")
    if image.mode in _GREY_16:
        values = np.asarray(image).astype(np.int32)
        if values.min() == values.max():
            raise Unreadable("the image is one even field: there is nothing on it")
        return images.display(values, None), []
    if image.mode not in ("L", "LA", "P", "PA", "RGB", "RGBA", "YCbCr"):
        raise Unreadable(f"its colours are {image.mode}; grey, RGB and palettes are read")
    turned = ImageOps.exif_transpose(image)
    if turned.mode in ("LA", "PA", "RGBA") or "transparency" in turned.info:
        turned = _on_black(turned.convert("RGBA"))
    if turned.mode == "L":
        return np.asarray(turned), []
    pixels = np.asarray(turned.convert("RGB"))
    if fault := images.colour_fault(pixels):
        raise Unreadable(fault)
    same = bool((pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 1] == pixels[..., 2]).all())
    return (pixels[..., 0].copy(), []) if same else (images.to_grey(pixels), ["an image in colour, read as grey"])


def _on_black(image: Image.Image) -> Image.Image:
    from PIL import Image as Pillow

    return Pillow.alpha_composite(Pillow.new("RGBA", image.size, (0, 0, 0, 255)), image).convert("RGB")
