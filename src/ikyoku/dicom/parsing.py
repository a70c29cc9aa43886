"""The bytes of a file to a data set, within limits, without a word of what stands in it.

pydicom writes values into its warnings, log lines and exceptions. Inside `quiet` none of these is heard, and
`Unreadable` replaces every exception: it holds sentences of ours only.
"""

from __future__ import annotations

import io
import logging
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ikyoku.dicom.vocabulary import BIG_ENDIAN, DEFLATED, EXPLICIT, IMPLICIT, TRANSFER_SYNTAXES

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

MOST_BYTES = 256 << 20
MOST_READS = 2_000_000
"""A header of a thousand elements takes some three thousand reads; a file that needs more was made to cost time."""

_PREAMBLE = 128
_LOCK = threading.RLock()


class Unreadable(Exception):  # noqa: N818 - it is a reason, which `reading` puts into a DataError with the file
    """Why a file is refused, in words of ours: no value of the file that could identify somebody is in it."""


@contextmanager
def quiet() -> Iterator[None]:
    """Lets nothing that pydicom says be heard, and makes an `Unreadable` of whatever it raises.

    One thread at a time: Python's warning filters belong to the whole process.
    """
    reason = ""
    with _LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger = logging.getLogger("pydicom")
        before, logger.disabled = logger.disabled, True
        try:
            yield
        except Unreadable as error:
            reason = str(error)
        except RecursionError:
            reason = "its sequences are nested too deeply"
        except MemoryError:
            reason = "it would take more memory than there is"
        except Exception:  # a damaged file can make pydicom raise anything
            reason = "it is damaged, or no DICOM file: an element cannot be read"
        finally:
            logger.disabled = before
    if reason:
        raise Unreadable(reason)  # the other exception still hangs on it: whoever makes a DataError of it lets both go


class _Budget(io.BytesIO):
    """A file in memory that can be read only so often."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._left = MOST_READS

    def read(self, size: int | None = -1, /) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise Unreadable("it has more elements than any radiograph")
        return super().read(size)


def looks_like_dicom(start: bytes) -> bool:
    """Returns true where a file begins as DICOM: with a preamble, or straight with group 2 or 8 as old files do.

    Args:
        start: the first 200 bytes.

    >>> looks_like_dicom(bytes(128) + b"DICM"), looks_like_dicom(b"%PDF-1.7")
    (True, False)
    """
    if start[_PREAMBLE : _PREAMBLE + 4] == b"DICM":
        return True
    if len(start) < 8:
        return False
    group, element = struct.unpack("<HH", start[:4])
    little = group in (0x0002, 0x0008) and element <= 0x0100
    if not little and not (group == 0x0800 and element <= 0x1200):
        return False
    explicit = start[4:6].isalpha() and start[4:6].isupper()
    return explicit or struct.unpack("<L", start[4:8])[0] < 1 << 16


def parse(data: bytes) -> tuple[Dataset, str]:
    """Returns the data set of a file and its transfer syntax. Call it inside `quiet`.

    A missing preamble, a missing or wrong group length, and missing file meta information are borne.

    Raises:
        Unreadable: for what is no DICOM file, an unknown transfer syntax, limits; pydicom's own exceptions pass
            through.

    Reference:
        DICOM PS3.10 section 7.1; PS3.5 annex A.
    """
    from pydicom.filereader import read_dataset

    if not looks_like_dicom(data[:200]):
        raise Unreadable("it is no DICOM file" if data else "it is empty")
    file: io.BytesIO = _Budget(data)
    file.seek(_PREAMBLE + 4 if data[_PREAMBLE : _PREAMBLE + 4] == b"DICM" else 0)
    start = file.tell()
    meta: Any = None
    if data[start : start + 2] == b"\x02\x00":
        meta = read_dataset(file, False, True, stop_when=lambda tag, _vr, _length: tag >> 16 != 2)
    syntax = str(meta.get("TransferSyntaxUID", "")) if meta is not None else ""
    syntax = syntax.strip("\0 ") or _guess(data[file.tell() : file.tell() + 6])
    if syntax not in TRANSFER_SYNTAXES:
        known = "a transfer syntax that is not read" if syntax.startswith("1.2.840.10008.") else "no known one"
        raise Unreadable(f"its transfer syntax is {known}; native, deflated, RLE, JPEG, JPEG-LS and JPEG 2000 are")
    if syntax == DEFLATED:
        file = _Budget(_inflate(data[file.tell() :]))
    dataset = read_dataset(file, syntax == IMPLICIT, syntax != BIG_ENDIAN)
    if not len(dataset):
        raise Unreadable("it is cut off, or there is nothing in it")
    return dataset, syntax


def _guess(start: bytes) -> str:
    """Returns the transfer syntax of a data set without file meta information, by its first element."""
    if len(start) < 6:
        raise Unreadable("it ends before its first element")
    if start[4:6].isalpha() and start[4:6].isupper():
        return BIG_ENDIAN if struct.unpack("<H", start[:2])[0] >= 0x0400 else EXPLICIT
    return IMPLICIT


def _inflate(data: bytes) -> bytes:
    machine = zlib.decompressobj(-zlib.MAX_WBITS)
    inflated = machine.decompress(data, MOST_BYTES)
    if machine.unconsumed_tail:
        raise Unreadable(f"it inflates to more than {MOST_BYTES >> 20} MiB")
    return inflated


def first(dataset: Dataset, keyword: str) -> Any:
    """Returns the first value of an element, None where it is absent, empty or cannot be read."""
    try:
        value = dataset.get(keyword)
        if value is None or isinstance(value, str | bytes | int | float):
            return value if value not in ("", b"") else None
        return next(iter(value), None) if hasattr(value, "__iter__") else value
    except Exception:  # pydicom reads an element when it is asked for it
        return None


def word(dataset: Dataset, keyword: str) -> str:
    """Returns the first value of an element as a word in capitals; "" where there is none. It may be anything."""
    value = first(dataset, keyword)
    return str(value).strip().strip("\0").upper() if value is not None else ""


def word_at(dataset: Dataset, keyword: str, place: int) -> str:
    """Returns one value of an element with several, as `word` does; "" where there is none."""
    try:
        value = dataset.get(keyword)
        found = [value] if isinstance(value, str) else list(value or ())
        return str(found[place]).strip().upper() if place < len(found) else ""
    except Exception:  # see `first`
        return ""


def number(dataset: Dataset, keyword: str) -> float | None:
    """Returns the first value of an element as a finite number, None where it is none."""
    return next(iter(numbers(dataset, keyword)), None)


def numbers(dataset: Dataset, keyword: str) -> tuple[float, ...]:
    """Returns the values of an element as finite numbers, () where one of them is none."""
    try:
        value = dataset.get(keyword)
        if value is None or value == "":
            return ()
        found = tuple(
            float(x) for x in (value if hasattr(value, "__iter__") and not isinstance(value, str) else [value])
        )
    except Exception:  # see `first`
        return ()
    return found if all(abs(x) < 1e30 for x in found) else ()


def whole(dataset: Dataset, keyword: str, *, least: int, most: int, absent: int | None = None) -> int:
    """Returns an element as a whole number within limits.

    Raises:
        Unreadable: when it is absent and `absent` is None, or is no number within the limits.
    """
    value = number(dataset, keyword)
    if value is None and absent is not None:
        return absent
    if value is None or value != int(value) or not least <= value <= most:
        found = (
            "absent or no number" if value is None else "another number"
        )  # which may be somebody's, put there by a fault
        raise Unreadable(f"{keyword} is {found}; a whole number from {least} to {most} is needed")
    return int(value)


def items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """Returns the items of a sequence, [] where there is none that can be read."""
    from pydicom.dataset import Dataset

    try:
        value = dataset.get(keyword)
        return [item for item in value if isinstance(item, Dataset)] if value else []
    except Exception:  # see `first`
        return []
