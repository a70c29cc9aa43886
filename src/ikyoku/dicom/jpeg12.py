"""JPEG with 12-bit samples (extended sequential DCT), one component, which the libraries here do not do rightly.

Pillow has no 12 bits; GDCM, asked for 12, writes that they are 16, and what it decodes is not kept within the range.
This file imports nothing of this package: `worker` loads it beside itself. Every loop is bounded by the image's size.

Reference:
    ITU-T T.81 (1992), annexes A, B, F.2.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

_ZIGZAG = [
    i * 8 + j
    for i, j in sorted(
        ((i, j) for i in range(8) for j in range(8)),
        key=lambda p: (p[0] + p[1], p[0] if (p[0] + p[1]) % 2 else p[1]),
    )
]
Lookup = list[int]
"""Indexed by the next 16 bits: length of the code * 256 + its symbol, 0 where no code begins so."""


@dataclass
class _Stream:
    """The tables of a JPEG and its entropy-coded intervals."""

    rows: int = 0
    columns: int = 0
    precision: int = 0
    restart: int = 0
    quantum: dict[int, npt.NDArray[np.float64]] = field(default_factory=dict)
    huffman: dict[int, Lookup] = field(default_factory=dict)
    table: int = 0
    dc: int = 0
    ac: int = 0
    intervals: list[bytes] = field(default_factory=list)


def decode(data: bytes) -> npt.NDArray[np.uint16]:
    """Returns the pixels of a one-component JPEG with sequential DCT, shape (rows, columns), clamped to its precision.

    Raises:
        ValueError: when it is damaged or of another kind.
    """
    stream = _parse(data)
    down, across = -(-stream.rows // 8), -(-stream.columns // 8)
    blocks = np.zeros((down * across, 64))
    done = 0
    for interval in stream.intervals:
        count = min(stream.restart or down * across, down * across - done)
        blocks[done : done + count] = _coefficients(interval, count, stream)
        done += count
    if done < down * across:
        raise ValueError("the code ends before the image")
    basis = _basis()
    square = (blocks * stream.quantum[stream.table]).reshape(-1, 8, 8)
    values = basis.T @ square @ basis + (1 << (stream.precision - 1))
    image = values.reshape(down, across, 8, 8).transpose(0, 2, 1, 3).reshape(down * 8, across * 8)
    clamped = np.clip(np.rint(image[: stream.rows, : stream.columns]), 0, (1 << stream.precision) - 1)
    return clamped.astype(np.uint16)


def _basis() -> npt.NDArray[np.float64]:
    """Returns the orthonormal DCT-II of 8 samples: rows are frequencies (A.3.3)."""
    k, x = np.mgrid[:8, :8]
    basis: npt.NDArray[np.float64] = np.cos((2 * x + 1) * k * np.pi / 16) / 2
    basis[0] /= np.sqrt(2)
    return basis


def _parse(data: bytes) -> _Stream:
    stream, at = _Stream(), 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            raise ValueError("no marker where one must be")
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        body = data[at + 4 : at + 2 + length]
        if marker in (0xC0, 0xC1):
            _frame(body, stream)
        elif marker == 0xC4:
            _huffman(body, stream)
        elif marker == 0xDB:
            _quantum(body, stream)
        elif marker == 0xDD:
            stream.restart = int.from_bytes(body[:2], "big")
        elif marker == 0xDA:
            _scan(body, stream)
            stream.intervals = _intervals(data[at + 2 + length :])
            return stream
        elif 0xC2 <= marker <= 0xCF and marker not in (0xC8, 0xCC):
            raise ValueError("another process than sequential DCT with Huffman codes")
        at += 2 + max(2, length)
    raise ValueError("no scan")


def _frame(body: bytes, stream: _Stream) -> None:
    stream.precision = body[0]
    stream.rows, stream.columns = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
    if body[5] != 1 or stream.precision not in (8, 12) or not stream.rows * stream.columns:
        raise ValueError("not one component of 8 or 12 bits")
    stream.table = body[8]


def _scan(body: bytes, stream: _Stream) -> None:
    if body[0] != 1 or not stream.rows:
        raise ValueError("not one component")
    stream.dc, stream.ac = body[2] >> 4, 0x10 | (body[2] & 15)


def _quantum(body: bytes, stream: _Stream) -> None:
    at = 0
    while at < len(body):
        size = 2 if body[at] >> 4 else 1
        values = np.frombuffer(body[at + 1 : at + 1 + 64 * size], ">u2" if size == 2 else np.uint8)
        table = np.zeros(64)
        table[_ZIGZAG] = values
        stream.quantum[body[at] & 15] = table
        at += 1 + 64 * size


def _huffman(body: bytes, stream: _Stream) -> None:
    at = 0
    while at + 17 <= len(body):
        counts = body[at + 1 : at + 17]
        symbols = body[at + 17 : at + 17 + sum(counts)]
        lookup, code, next_symbol = [0] * (1 << 16), 0, 0
        for length, count in enumerate(counts, start=1):
            for _ in range(count):
                start, reach = code << (16 - length), 1 << (16 - length)
                if start + reach > 1 << 16:
                    raise ValueError("a table of codes that overflows")
                lookup[start : start + reach] = [length << 8 | symbols[next_symbol]] * reach
                code, next_symbol = code + 1, next_symbol + 1
            code <<= 1
        stream.huffman[body[at]] = lookup
        at += 17 + sum(counts)


def _intervals(data: bytes) -> list[bytes]:
    """Returns the entropy-coded bytes between restart markers, without stuffing."""
    parts, start, at = [], 0, 0
    while (at := data.find(b"\xff", at)) >= 0 and at + 1 < len(data):
        follower = data[at + 1]
        if 0xD0 <= follower <= 0xD7:
            parts.append(data[start:at])
            start = at + 2
        elif follower not in (0, 0xFF):
            break
        at += 2
    parts.append(data[start : at if at >= 0 else len(data)])
    return [part.replace(b"\xff\x00", b"\xff") for part in parts]


def _coefficients(data: bytes, count: int, stream: _Stream) -> npt.NDArray[np.float64]:
    """Returns the quantized coefficients of `count` blocks, shape (count, 64), each in rows of frequencies (F.2.2)."""
    dc, ac = stream.huffman[stream.dc], stream.huffman[stream.ac]
    where: list[int] = []
    what: list[int] = []
    held = room = at = predicted = 0
    size = len(data)
    for block in range(count):
        position = 0
        while position < 64:
            if room < 48:  # a code and its bits are at most 32
                piece = data[at : at + 6]
                held = (held & ((1 << room) - 1)) << 48 | int.from_bytes(piece.ljust(6, b"\xff"), "big")
                at, room = at + 6, room + 48
                if at > size + 24:
                    raise ValueError("the code ends before the image")
            entry = (ac if position else dc)[held >> (room - 16) & 0xFFFF]
            if not entry:
                raise ValueError("no code begins so")
            room -= entry >> 8
            bits = entry & 15
            if position:
                run = entry >> 4 & 15
                if not bits:
                    if run != 15:
                        break
                    position += 16
                    continue
                position += run
            elif entry & 0xF0:
                raise ValueError("no category of a difference")
            value = 0
            if bits:
                room -= bits
                value = held >> room & ((1 << bits) - 1)
                if value < 1 << (bits - 1):
                    value -= (1 << bits) - 1
            if not position:
                value = predicted = predicted + value
            elif position > 63:
                raise ValueError("more coefficients than a block has")
            where.append(block << 6 | _ZIGZAG[position])
            what.append(value)
            position += 1
    flat = np.zeros(count * 64)
    flat[where] = what
    return flat.reshape(count, 64)


def encode(pixels: npt.NDArray[np.uint16], *, step: int = 8) -> bytes:
    """Returns a JPEG of 12-bit pixels with all frequencies quantized alike, for phantoms and tests.

    The codes are of fixed length: valid, and no smaller than they must be.

    Args:
        pixels: shape (rows, columns), up to 4095.
        step: of the quantization; a pixel is off by about as much at most.

    >>> grey = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    >>> int(np.abs(decode(encode(grey, step=4)).astype(int) - grey).max()) <= 8
    True
    """
    rows, columns = pixels.shape
    padded = np.pad(pixels.astype(np.float64), ((0, -rows % 8), (0, -columns % 8)), mode="edge") - 2048
    basis = _basis()
    square = padded.reshape(padded.shape[0] // 8, 8, -1, 8).transpose(0, 2, 1, 3).reshape(-1, 8, 8)
    levels = np.rint(basis @ square @ basis.T / step).astype(int).reshape(-1, 64)[:, _ZIGZAG]
    symbols = [size | run << 4 for run in range(16) for size in range(1, 15)] + [0, 0xF0]
    codes = {symbol: index for index, symbol in enumerate(symbols)}
    bits: list[str] = []
    before = 0
    for block in levels.tolist():
        bits.append(f"{abs(block[0] - before).bit_length():05b}" + _magnitude(block[0] - before))
        before, run = block[0], 0
        last = max((k for k in range(1, 64) if block[k]), default=0)
        for value in block[1 : last + 1]:
            if not value:
                run += 1
                continue
            bits += [f"{codes[0xF0]:08b}"] * (run // 16)
            bits.append(f"{codes[abs(value).bit_length() | run % 16 << 4]:08b}" + _magnitude(value))
            run = 0
        if last < 63:
            bits.append(f"{codes[0]:08b}")
    text = "".join(bits)
    text += "1" * (-len(text) % 8)
    code = int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\x00")
    size = rows.to_bytes(2, "big") + columns.to_bytes(2, "big")
    return b"".join(
        (
            b"\xff\xd8",
            _segment(0xDB, b"\x10" + step.to_bytes(2, "big") * 64),
            _segment(0xC1, b"\x0c" + size + b"\x01\x01\x11\x00"),
            _segment(0xC4, b"\x00" + bytes([0, 0, 0, 0, 16] + [0] * 11) + bytes(range(16))),
            _segment(0xC4, b"\x10" + bytes([0] * 7 + [len(symbols)] + [0] * 8) + bytes(symbols)),
            _segment(0xDA, b"\x01\x01\x00\x00\x3f\x00"),
            code,
            b"\xff\xd9",
        )
    )


def _segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body


def _magnitude(value: int) -> str:
    """Returns the bits that follow a category: negative numbers less one (F.1.2.1)."""
    size = abs(value).bit_length()
    return f"{value if value > 0 else value + (1 << size) - 1:0{size}b}" if size else ""
