"""Binary files written all or nothing."""

from __future__ import annotations

import os
from pathlib import Path

from ikyoku.errors import DataError


def write_bytes(path: Path, data: bytes, *, replace: bool = True) -> None:
    """Writes a file so that a reader sees all of it or nothing; its folder is made where it is missing.

    Args:
        path: the file.
        data: what is in it.
        replace: whether one that exists is replaced; else it is left alone, and that is an error.

    Raises:
        DataError: the file exists and must not, the path is a folder, or the disk refuses.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with aside.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if replace:
                aside.replace(path)
            else:
                os.link(aside, path)  # unlike a rename, it fails where the file exists
        finally:
            aside.unlink(missing_ok=True)
    except FileExistsError as error:
        raise DataError(f"{path}: exists already; name another file, or remove it first") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}") from error
