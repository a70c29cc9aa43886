"""Stored pixels out of a data set: those that stand there as they are, and compressed ones, in another process."""

from __future__ import annotations

import atexit
import json
import os
import select
import struct
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ikyoku.dicom import vocabulary
from ikyoku.dicom.header import Header
from ikyoku.dicom.parsing import Unreadable, whole

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

MOST_SECONDS = 60.0
MOST_FRAGMENTS = 100_000
Stored = npt.NDArray[Any]


def stored_pixels(dataset: Dataset, header: Header) -> tuple[bytes, dict[str, Any]]:
    """Returns the pixel data's bytes and how they are laid out, for `decode`. Call it inside `parsing.quiet`.

    Raises:
        Unreadable: when they are fewer than the header says, or are not where they should be.
    """
    samples = whole(dataset, "SamplesPerPixel", least=1, most=3, absent=1)
    if samples != (1 if header.photometric in vocabulary.GREY else 3):
        raise Unreadable("SamplesPerPixel does not fit PhotometricInterpretation: 1 for grey, 3 for colour")
    allocated = whole(dataset, "BitsAllocated", least=8, most=16)
    high = whole(dataset, "HighBit", least=0, most=allocated - 1, absent=header.bits_stored - 1)
    if high < header.bits_stored - 1:
        raise Unreadable("HighBit is below BitsStored - 1")
    element = dataset["PixelData"]
    data = element.value
    if not isinstance(data, bytes):
        raise Unreadable("PixelData is no string of bytes")
    layout: dict[str, Any] = {
        "codec": vocabulary.TRANSFER_SYNTAXES[header.transfer_syntax],
        "syntax": header.transfer_syntax,
        "rows": header.rows,
        "columns": header.columns,
        "samples": samples,
        "allocated": allocated,
        "bits": header.bits_stored,
        "high": high,
        "signed": header.signed,
        "planar": whole(dataset, "PlanarConfiguration", least=0, most=1, absent=0) == 1,
        "big": header.transfer_syntax == vocabulary.BIG_ENDIAN,
        "words": element.VR == "OW",
    }
    if layout["codec"]:
        return _code_stream(data), layout
    needed = header.rows * header.columns * samples * allocated // 8
    if header.photometric == "YBR_FULL_422":
        raise Unreadable("YBR_FULL_422 without compression is not read; MONOCHROME1, MONOCHROME2, RGB and YBR_FULL are")
    if len(data) < needed:
        raise Unreadable(f"PixelData is cut off: {len(data)} bytes of {needed}")
    return data, layout


def _code_stream(data: bytes) -> bytes:
    """Returns the one frame of encapsulated pixel data (PS3.5 A.4): its fragments without the offset table."""
    at = 0
    parts: list[bytes] = []
    while at + 8 <= len(data) and len(parts) < MOST_FRAGMENTS:
        group, element, length = struct.unpack_from("<HHL", data, at)
        if (group, element) != (0xFFFE, 0xE000):
            break
        if at + 8 + length > len(data):
            raise Unreadable("PixelData is cut off inside a fragment")
        parts.append(data[at + 8 : at + 8 + length])
        at += 8 + length
    if len(parts) < 2 or not any(parts[1:]):
        raise Unreadable("PixelData is not encapsulated as its transfer syntax says, or there is no image in it")
    return b"".join(parts[1:])


def decode(data: bytes, layout: dict[str, Any]) -> Stored:
    """Returns the stored values: integers of shape (rows, columns) or (rows, columns, 3).

    Args:
        data: of `stored_pixels`.
        layout: of `stored_pixels`.

    Raises:
        Unreadable: when a code stream is damaged, has another size than the header says, or takes more than a minute.

    Reference:
        DICOM PS3.5 section 8.
    """
    if layout["codec"]:
        pixels = _DECODER.decode(data, layout)
        if layout["codec"] == "rle":
            return _cells(pixels, layout)
        plain = pixels.view(f"u{pixels.dtype.itemsize}")
        if layout["signed"]:
            return _signed(plain, layout["bits"])
        return plain & plain.dtype.type((1 << layout["bits"]) - 1) if pixels.dtype.kind == "i" else pixels
    rows, columns, samples = layout["rows"], layout["columns"], layout["samples"]
    count = rows * columns * samples
    if layout["allocated"] == 16:
        pixels = np.frombuffer(data, ">u2" if layout["big"] else "<u2", count)
    else:
        if layout["big"] and layout["words"]:  # bytes in words of 16 bits, the words turned round (PS3.5 7.3)
            data = np.frombuffer(data[: len(data) & ~1], ">u2").astype("<u2").tobytes() + data[len(data) & ~1 :]
        pixels = np.frombuffer(data, np.uint8, count)
    if samples == 1:
        return _cells(pixels.reshape(rows, columns), layout)
    planes = pixels.reshape(samples, rows, columns).transpose(1, 2, 0) if layout["planar"] else None
    return _cells(pixels.reshape(rows, columns, samples) if planes is None else planes, layout)


def _cells(pixels: Stored, layout: dict[str, Any]) -> Stored:
    """Takes the stored bits out of their cells, which may hold overlays beside them."""
    bits, high = layout["bits"], layout["high"]
    native = pixels.astype(pixels.dtype.newbyteorder("="))
    native = (native >> (high + 1 - bits)) & native.dtype.type((1 << bits) - 1)
    return _signed(native, bits) if layout["signed"] else native


def _signed(pixels: Stored, bits: int) -> Stored:
    """Reads the low bits as a number in two's complement."""
    wide = pixels.astype(np.int32) & ((1 << bits) - 1)
    return np.where(wide >= 1 << (bits - 1), wide - (1 << bits), wide).astype(np.int16)


class _Decoder:
    """The process of `worker`, started when first needed, and again after a crash."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._inherited: list[subprocess.Popen[bytes]] = []
        self._known = False

    def decode(self, data: bytes, layout: dict[str, Any]) -> Stored:
        """Returns the pixels of a code stream; raises Unreadable where there are none to be had."""
        with self._lock:
            process = self._running()
            try:
                return self._ask(process, data, layout)
            except TimeoutError:
                reason = "its pixels take too long to decode"
            except (OSError, ValueError, KeyError):
                reason = "its pixels are damaged: the decoder broke down on them"
            self._stop()
        raise Unreadable(reason)

    def _running(self) -> subprocess.Popen[bytes]:
        if not self._known:
            os.register_at_fork(after_in_child=self._leave)
            atexit.register(self._stop)
            self._known = True
        if self._process is None or self._process.poll() is not None:
            self._stop()
            self._process = subprocess.Popen(  # noqa: S603 - our own file, by our own interpreter
                [sys.executable, "-I", str(Path(__file__).with_name("worker.py"))],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            )
        return self._process

    def _leave(self) -> None:
        """In a forked child: the process is the parent's, and so is whoever holds the lock."""
        self._lock = threading.Lock()
        if self._process is not None:
            self._inherited.append(self._process)  # kept, so that nothing is done to it
            self._process = None

    def _ask(self, process: subprocess.Popen[bytes], data: bytes, layout: dict[str, Any]) -> Stored:
        if process.stdin is None or process.stdout is None:
            raise OSError
        until = time.monotonic() + MOST_SECONDS
        process.stdin.write(json.dumps({**layout, "bytes": len(data)}).encode() + b"\n")
        process.stdin.write(data)
        process.stdin.flush()
        start = bytearray()
        while not start.endswith(b"\n"):
            start += _piece(process.stdout.fileno(), 1, until)
        about = json.loads(start)
        if "fault" in about:
            raise Unreadable("its pixels are damaged, or of another kind or size than the header says")
        room = bytearray()
        while len(room) < about["bytes"]:
            room += _piece(process.stdout.fileno(), about["bytes"] - len(room), until)
        return np.frombuffer(room, about["dtype"]).reshape(about["shape"])

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()


def _piece(stream: int, most: int, until: float) -> bytes:
    ready, _, _ = select.select([stream], [], [], max(0.0, until - time.monotonic()))
    if not ready:
        raise TimeoutError
    found = os.read(stream, min(most, 1 << 20))
    if not found:
        raise OSError
    return found


_DECODER = _Decoder()
