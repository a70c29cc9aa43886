"""JSONL files and hashes: what every reader of this folder stands on."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ikyoku.errors import DataError, RunError, together
from ikyoku.runs import write_atomically

_BOM = b"\xef\xbb\xbf"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


def read_jsonl(path: Path, *, faults: list[str] | None = None) -> Iterator[tuple[int, dict[str, object]]]:
    """Reads a file with one JSON object a line, lazily.

    A byte order mark at the start, CRLF line ends and blank lines are tolerated. Lines are cut at line feeds
    only, so that U+2028 inside a text stays inside it.

    Args:
        path: the file, in UTF-8.
        faults: where given, broken lines are appended here (``"FILE, line 17: …"``) instead of being raised, so
            that a reader can report them together with faults of its own.

    Returns:
        An iterator of line number (from 1) and object. Whole lines are yielded even when others are broken.

    Raises:
        DataError: at once when the file is missing, is a folder or cannot be opened; while reading when it is not
            UTF-8; at the end when it holds nothing, or, without `faults`, all broken lines together (ten are shown).
    """
    check_is_file(path)
    return _objects(path, faults)


def _objects(path: Path, faults: list[str] | None) -> Iterator[tuple[int, dict[str, object]]]:
    broken: list[str] = []
    held = 0
    try:
        with path.open("rb") as file:
            for number, raw in enumerate(file, start=1):
                line = _decode(path, number, raw)
                if not line.strip():
                    continue
                held += 1
                value, reason = _parse(line)
                if value is None:
                    if not raw.endswith(b"\n"):
                        reason += "; it is the last line and has no line end: was the file cut off?"
                    broken.append(f"{path}, line {number}: {reason}")
                else:
                    yield number, value
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    if not held:
        raise DataError(f"{path}: the file is empty; a JSONL file with one object a line is needed")
    if faults is not None:
        faults.extend(broken)
    elif broken:
        raise DataError(together(broken))


def _decode(path: Path, number: int, raw: bytes) -> str:
    """Returns one line as text; raises DataError that says which byte is wrong."""
    if number == 1:
        if raw.startswith(_UTF16):
            raise DataError(f"{path}: the file is UTF-16; UTF-8 is needed: save it again as UTF-8")
        raw = raw.removeprefix(_BOM)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}, line {number}: not UTF-8 (byte 0x{raw[error.start]:02x} at byte {error.start + 1} of the line); "
            "save the file as UTF-8 (files made on Japanese Windows are often Shift_JIS, cp932)"
        ) from error


def _parse(line: str) -> tuple[dict[str, object] | None, str]:
    """Returns the object of a line, or None and the reason; a reason never quotes the line."""
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        return None, f"not JSON: {error.msg.removesuffix(' at')} at character {error.pos + 1}"
    except (ValueError, RecursionError):
        return None, "not JSON that can be read: a number is too long or it is nested too deeply"
    if not isinstance(value, dict):
        return None, f"holds {kind_of(value)}, not a JSON object"
    if "\\ud" in line.lower() and not _encodable(value):
        return None, "holds half of a UTF-16 surrogate pair (\\ud800 to \\udfff), which is no character"
    return value, ""


def _encodable(value: object) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def write_jsonl(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    """Writes one JSON object a line in UTF-8, all or nothing: a temporary file beside it takes its place.

    Args:
        path: the file; its folder is made where it is missing.
        rows: what to write; when it raises, the file that was there before is still whole.

    Raises:
        DataError: when the path is a folder, or the disk refuses.
    """
    try:
        if path.is_dir():
            raise DataError(f"{path}: is a folder; name a file to write")
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, (json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}") from error
    except RunError as error:
        raise DataError(str(error)) from error


def check_is_file(path: Path) -> None:
    """Returns when `path` is a file.

    Raises:
        DataError: when there is nothing there, or a folder, or it cannot be told.
    """
    try:
        folder, there = path.is_dir(), path.exists()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    if folder:
        raise DataError(f"{path}: is a folder; a JSONL file is needed here")
    if not there:
        raise DataError(f"{path}: there is no such file")


def kind_of(value: object) -> str:
    """Returns the JSON kind of a value in words, for a message that must not quote the value.

    >>> kind_of(["a"]), kind_of(None), kind_of(True), kind_of(1.5)
    ('a list', 'null', 'true or false', 'a number')
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, str):
        return "a text"
    if isinstance(value, int | float):
        return "a number"
    return "a list" if isinstance(value, list) else "an object"


def text_field(row: Mapping[str, object], key: str, faults: list[str], *, absent: str | None = None) -> str:
    """Returns the text under a key; on a fault "", and the fault, without the text, is appended to `faults`.

    Where `absent` is given, the key may be missing (then it is returned) and the text may be blank.

    >>> faults = []
    >>> text_field({"output": 3}, "output", faults), faults
    ('', ["'output' is a number; a text is needed"])
    """
    if key not in row and absent is not None:
        return absent
    value = row.get(key)
    if isinstance(value, str) and (value.strip() or absent is not None):
        return value
    if key not in row:
        faults.append(f"no '{key}'")
    else:
        faults.append(
            f"'{key}' is empty" if isinstance(value, str) else f"'{key}' is {kind_of(value)}; a text is needed"
        )
    return ""


def texts_field(row: Mapping[str, object], key: str, faults: list[str]) -> tuple[str, ...]:
    """Returns the list of texts under a key; on a fault (), and the fault is appended to `faults`."""
    value = row.get(key)
    if isinstance(value, list):
        texts = tuple(entry for entry in value if isinstance(entry, str))
        if len(texts) == len(value):
            return texts
        wrong = next(kind_of(entry) for entry in value if not isinstance(entry, str))
        faults.append(f"'{key}' holds {wrong}; a list of texts is needed")
    else:
        found = f"'{key}' is {kind_of(value)}" if key in row else f"no '{key}'"
        faults.append(f"{found}; a list of texts is needed, [] where there is none")
    return ()


def natural_key(text: str) -> list[tuple[int, str]]:
    """Returns a sort key under which numbers are ordered as numbers.

    >>> sorted(["112-B10", "112-B9"], key=natural_key)
    ['112-B9', '112-B10']
    """
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", text) if part]


def content_hash(items: Iterable[str]) -> str:
    """Returns the SHA-256, in hex, of texts in order, each preceded by its length in bytes (8 bytes, big endian).

    The lengths keep the borders: moving a character from one item to the next changes the hash.

    >>> content_hash(["ab", "c"]) == content_hash(["a", "bc"])
    False
    """
    digest = hashlib.sha256()
    for item in items:
        data = item.encode("utf-8")
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()
