"""Whether an output folder can be written: its place is free, and the disk has room. Asked before any work."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from ikyoku.errors import RunError

__all__ = ["aside", "check_free", "check_room", "size_in_bytes"]

_UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_BESIDE = 64_000_000
"""Bytes that a checkpoint may take beside its tensors: headers, tokenizer, page, and what a file system adds."""


def size_in_bytes(text: str) -> int:
    """Returns the bytes of a size such as "5GB"; units are decimal.

    >>> size_in_bytes("5GB"), size_in_bytes("0.5 MB")
    (5000000000, 500000)
    """
    number, unit = re.fullmatch(r"([0-9.]+) ?([KMGT]B)", text).groups()  # type: ignore[union-attr]  # the spec's pattern
    return int(float(number) * _UNITS[unit])


def check_free(folder: Path) -> None:
    """Refuses an output folder that holds anything, or that cannot be made.

    Raises:
        RunError: with what is in the way.
    """
    if folder.name in ("", ".."):
        raise RunError(f"{folder}: an output folder needs a name of its own. Write {folder / 'merged'}, for example.")
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise RunError(f"{folder}: is there already. Name another folder, or move it away.")
    if folder.is_dir() and any(folder.iterdir()):
        raise RunError(f"{folder}: is there already and not empty. Name another folder, or move this one away.")
    if folder.is_mount():  # it is written beside it and renamed, and a mount point cannot be replaced
        raise RunError(f"{folder}: a disk is mounted here. Name a folder on it, {folder / 'merged'} for example.")
    above = _above(folder)
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise RunError(f"{folder}: cannot be made: {above} is no folder that can be written to. Name another one.")


def check_room(folder: Path, wanted: int) -> int:
    """Returns the free bytes where a checkpoint is to be written, after refusing too few of them.

    Args:
        folder: the output folder, which need not be there yet.
        wanted: bytes of the tensors; what has been written of them before is counted as free.

    Raises:
        RunError: with the bytes that are wanted and free.
    """
    written = sum(p.stat().st_size for p in aside(folder).glob("*.safetensors"))
    free = shutil.disk_usage(_above(folder)).free + written
    if free < wanted + _BESIDE:
        raise RunError(
            f"{folder}: {_gb(wanted + _BESIDE)} are needed and {_gb(free)} are free. "
            "Make room there, or name a folder on another disk."
        )
    return free


def aside(folder: Path) -> Path:
    """Returns where an output is written until it is whole: beside it, so that a rename is enough."""
    return folder.with_name(f".{folder.name}.part")


def _above(folder: Path) -> Path:
    """The folder that is there already, in which the output and what is written aside will lie."""
    return next(parent for parent in folder.absolute().parents if parent.exists())


def _gb(size: int) -> str:
    return f"{size / 10**9:,.2f} GB"
