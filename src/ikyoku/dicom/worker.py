"""A process that decodes compressed pixels, so that a fault of a C++ library takes down this process and no other.

It is run as a file, isolated, and imports nothing of this package but the file `jpeg12`. It is given code streams only,
never a header. On standard input: a line of JSON with "codec", "bytes", "rows", "columns", "samples", "allocated",
"syntax", then so many bytes. On standard output: a line of JSON with "dtype", "shape" and "bytes", then these; or with
"fault".
"""

from __future__ import annotations

import importlib.util
import io
import json
import resource
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

MOST_MEMORY = 6 << 30
_STARTS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
"""Markers of a frame header: those of JPEG, and JPEG-LS's own."""
Array = npt.NDArray[Any]


def jpeg(data: bytes, asked: Mapping[str, Any]) -> Array:
    """Returns the pixels of a JPEG: 8 bits through Pillow, 12 bits by `jpeg12`, lossless through GDCM."""
    start = _frame(data)
    if start["process"] in (0xC0, 0xC1) and start["precision"] == 8:
        from PIL import Image

        Image.MAX_IMAGE_PIXELS = asked["rows"] * asked["columns"]
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            _same_size((image.height, image.width), asked)
            return np.asarray(image if image.mode == "L" else image.convert("RGB"))
    _same_size((start["rows"], start["columns"]), asked)
    if start["process"] in (0xC0, 0xC1):
        return np.asarray(_beside("jpeg12").decode(data))
    return _gdcm(data, asked, start["precision"])


def _beside(name: str) -> Any:
    """Returns the module in the file of this name beside this one, without the package around it."""
    about = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    if about is None or about.loader is None:
        raise ImportError(name)
    module = sys.modules[name] = importlib.util.module_from_spec(about)
    about.loader.exec_module(module)
    return module


def _frame(data: bytes) -> dict[str, int]:
    """Returns what the frame header of a JPEG or JPEG-LS says (ITU T.81 B.2.2, T.87 C.2.2)."""
    at = 2
    while at + 9 < len(data):
        if data[at] != 0xFF:
            raise ValueError("no marker")
        marker = data[at + 1]
        if marker in _STARTS:
            rows, columns = (int.from_bytes(data[at + i : at + i + 2], "big") for i in (5, 7))
            return {"process": marker, "precision": data[at + 4], "rows": rows, "columns": columns}
        at += 1 if marker == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    raise ValueError("no frame header")


def _gdcm(data: bytes, asked: Mapping[str, Any], precision: int) -> Array:
    import gdcm

    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(data)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((asked["columns"], asked["rows"], 1))
    image.SetDataElement(element)
    kind = "MONOCHROME2" if asked["samples"] == 1 else "RGB"
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(gdcm.PhotometricInterpretation.GetPIType(kind)))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(asked["syntax"])))
    cell = 8 if precision <= 8 else 16
    image.SetPixelFormat(gdcm.PixelFormat(asked["samples"], cell, precision, precision - 1, 0))
    buffer = image.GetBuffer().encode("utf-8", "surrogateescape")  # GDCM hands out bytes as a text
    return np.frombuffer(buffer, f"<u{cell // 8}").reshape(_shape(asked))


def jpeg_ls(data: bytes, asked: Mapping[str, Any]) -> Array:
    """Returns the pixels of a JPEG-LS code stream, through CharLS."""
    import jpeg_ls

    start = _frame(data)
    _same_size((start["rows"], start["columns"]), asked)
    buffer, info = jpeg_ls.decode_pixel_data(data)
    pixels = np.frombuffer(buffer, np.uint8 if info["bits_per_sample"] <= 8 else "<u2")
    if asked["samples"] > 1 and info["interleave_mode"] == 0:
        return pixels.reshape(asked["samples"], asked["rows"], asked["columns"]).transpose(1, 2, 0)
    return pixels.reshape(_shape(asked))


def jpeg_2000(data: bytes, asked: Mapping[str, Any]) -> Array:
    """Returns the pixels of a JPEG 2000 or HTJ2K code stream, through OpenJPEG."""
    import openjpeg

    info = openjpeg.get_parameters(data)
    _same_size((info["rows"], info["columns"]), asked)
    return np.asarray(openjpeg.decode(data))


def rle(data: bytes, asked: Mapping[str, Any]) -> Array:
    """Returns the pixels of DICOM's run lengths (PS3.5 annex G)."""
    import rle as runs

    count = asked["rows"] * asked["columns"]
    frame = runs.utils.decode_frame(data, count, asked["allocated"], "<")
    planes = np.frombuffer(frame, f"<u{asked['allocated'] // 8}").reshape(asked["samples"], *_shape(asked)[:2])
    return planes.transpose(1, 2, 0) if asked["samples"] > 1 else planes[0]


CODECS: Mapping[str, Callable[[bytes, Mapping[str, Any]], Array]] = {
    "jpeg": jpeg,
    "jpeg-ls": jpeg_ls,
    "jpeg-2000": jpeg_2000,
    "rle": rle,
}


def _shape(asked: Mapping[str, Any]) -> tuple[int, ...]:
    size = (asked["rows"], asked["columns"])
    return size if asked["samples"] == 1 else (*size, asked["samples"])


def _same_size(found: tuple[Any, Any], asked: Mapping[str, Any]) -> None:
    """Checks before decoding: a code stream may say that it is larger than the header does."""
    if found != (asked["rows"], asked["columns"]):
        raise ValueError("another size")


def _answer(asked: Mapping[str, Any], data: bytes, out: BinaryIO) -> None:
    pixels: Array | None = None
    fault = ""
    try:
        pixels = CODECS[asked["codec"]](data, asked)
        if pixels.shape != _shape(asked) or pixels.dtype.kind not in "ui":
            fault, pixels = "another shape", None
    except BaseException as error:  # a panic of a Rust library is no Exception
        fault = type(error).__name__
    if pixels is None:
        out.write(json.dumps({"fault": fault}).encode() + b"\n")
    else:
        held = np.ascontiguousarray(pixels)
        about = {"dtype": held.dtype.str, "shape": held.shape, "bytes": held.nbytes}
        out.write(json.dumps(about).encode() + b"\n")
        out.write(held.data.cast("B"))
    out.flush()


def main() -> None:
    """Answers until standard input ends."""
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while line := sys.stdin.buffer.readline():
        asked = json.loads(line)
        _answer(asked, sys.stdin.buffer.read(asked["bytes"]), sys.stdout.buffer)


if __name__ == "__main__":
    main()
