"""Checkpoints are written aside, shard by shard, and appear under their name when they are whole.

    .NAME.part/           beside NAME, while it is written
      .lock               held by the process that writes
      .journal.jsonl      what is written, and the finished shards with their hashes
      model-….safetensors

A kill leaves the part folder: the same work continues after its finished shards, other work begins anew. The bytes are
hashed and written in a thread of their own while the next tensors are computed.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ikyoku.checkpoints.reader import DTYPES, ITEM_BYTES, TensorInfo
from ikyoku.errors import RunError
from ikyoku.runs import write_atomically

if TYPE_CHECKING:
    import torch

__all__ = ["CheckpointWriter", "Shard", "check_free", "check_room", "layout", "size_in_bytes"]

_UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_CODES = {ours: theirs for theirs, ours in DTYPES.items()}
_JOURNAL = ".journal.jsonl"
_BESIDE = 64_000_000
"""Bytes that a checkpoint may take beside its tensors: headers, tokenizer, page, and what a file system adds."""


@dataclass(frozen=True, slots=True)
class Shard:
    """A finished file of a checkpoint."""

    file: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class _Planned:
    """A file of a checkpoint: its name, and its tensors in the order in which they lie in it."""

    file: str
    tensors: tuple[tuple[str, TensorInfo], ...]


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
    if folder.is_dir() and not folder.is_symlink():
        if not any(folder.iterdir()):
            return
        raise RunError(f"{folder}: is there already and not empty. Name another folder, or move this one away.")
    if folder.exists() or folder.is_symlink():
        raise RunError(f"{folder}: is there already. Name another folder, or move it away.")
    above = next(parent for parent in folder.absolute().parents if parent.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise RunError(f"{folder}: cannot be made: {above} is no folder that can be written to. Name another one.")


def check_room(folder: Path, wanted: int) -> int:
    """Returns the free bytes where a checkpoint is to be written, after refusing too few of them.

    Args:
        folder: the output folder, which need not be there yet.
        wanted: bytes of the tensors; what has been written of them before is counted as free.

    Raises:
        RunError: with the bytes that are wanted and free.
    """
    above = next(parent for parent in (folder / "x").absolute().parents if parent.exists())
    written = sum(p.stat().st_size for p in _part(folder).glob("*.safetensors"))
    free = shutil.disk_usage(above).free + written
    if free < wanted + _BESIDE:
        raise RunError(
            f"{folder}: {_gb(wanted + _BESIDE)} are needed and {_gb(free)} are free. "
            "Make room there, or name a folder on another disk."
        )
    return free


def layout(tensors: Sequence[tuple[str, tuple[int, ...], str]], shard_size: int) -> tuple[_Planned, ...]:
    """Returns which tensors lie in which file, in their order, each file at most `shard_size` bytes or one tensor.

    Within a file wide numbers come first, so that each tensor begins at a multiple of its number's bytes.
    """
    groups: list[list[tuple[str, TensorInfo]]] = [[]]
    filled = 0
    for name, shape, dtype in tensors:
        info = TensorInfo(tuple(shape), dtype, Path(), 0)
        if groups[-1] and filled + info.bytes > shard_size:
            groups.append([])
            filled = 0
        groups[-1].append((name, info))
        filled += info.bytes
    count = len(groups)
    names = (
        ["model.safetensors"]
        if count == 1
        else [f"model-{i:05}-of-{count:05}.safetensors" for i in range(1, count + 1)]
    )
    ordered = (sorted(group, key=lambda item: -ITEM_BYTES[item[1].dtype]) for group in groups)
    return tuple(_Planned(name, tuple(group)) for name, group in zip(names, ordered, strict=True))


class CheckpointWriter:
    """Writes a checkpoint's tensors, in the order of `pending()`, into shards that appear together at the end.

    Example:
        writer = CheckpointWriter(out, tensors, shard_size=5 * 10**9, key=digest)
        with writer:
            for name in writer.pending():
                writer.write(name, computed(name))
            writer.add({"config.json": …})
            writer.finish()

    Args:
        folder: where the checkpoint will be.
        tensors: name, shape and number format of every tensor.
        shard_size: most bytes of a shard.
        key: what the work is; finished shards of a part folder with another key are not continued.

    Raises:
        RunError: another process writes this checkpoint, or the folder cannot be made.
    """

    def __init__(
        self, folder: Path, tensors: Sequence[tuple[str, tuple[int, ...], str]], *, shard_size: int, key: str
    ) -> None:
        self.folder = folder
        self.aside = _part(folder)
        self._plan = layout(tensors, shard_size)
        self._made = [above for above in self.aside.absolute().parents if not above.exists()]
        with _writing(folder):
            self.aside.mkdir(parents=True, exist_ok=True)
            self._lock = (self.aside / ".lock").open("a")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise RunError(f"{folder}: another process is writing it. Wait for it, or name another folder.") from None
        self._done: dict[str, Shard] = {}
        self._next = ""
        self._begin([*map(list, ((n, list(s), d) for n, s, d in tensors)), shard_size, key])
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="writing")
        self._busy: Future[None] | None = None
        self._file: IO[bytes] | None = None
        self._hash: Any = None

    def __enter__(self) -> CheckpointWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._thread.shutdown(cancel_futures=True)
        if self._file:
            with suppress(OSError):
                self._file.close()
        if kind and not self.shards:
            self._remove()  # there is nothing in it to continue with
        elif kind:
            for path in self.aside.glob("*.safetensors"):
                if path.name not in self._done:
                    path.unlink(missing_ok=True)  # on a full disk its room is wanted
        self._lock.close()

    @property
    def shards(self) -> tuple[Shard, ...]:
        """The finished shards."""
        return tuple(self._done.values())

    def pending(self) -> tuple[str, ...]:
        """Returns the names of the tensors that are not in a finished shard, in the order in which they are wanted."""
        return tuple(name for shard in self._plan if shard.file not in self._done for name, _ in shard.tensors)

    def write(self, name: str, tensor: torch.Tensor) -> None:
        """Takes the next tensor. It is written in the background: at most one is on its way, and one at hand.

        Raises:
            RunError: the disk is full, or does not let it be written; of this tensor or of the one before.
            ValueError: it is not the next tensor, or not of the shape and number format that was announced.
        """
        shard, place = self._at.pop(name)
        wanted, info = shard.tensors[place]
        if str(tensor.dtype) != f"torch.{info.dtype}" or tuple(tensor.shape) != info.shape or wanted != self._next:
            raise ValueError(f"{name}: {tensor.dtype} {tuple(tensor.shape)} was not announced here")
        following = place + 1 < len(shard.tensors)
        self._next = shard.tensors[place + 1][0] if following else self._first_after(shard)
        self._wait()
        self._busy = self._thread.submit(self._put, shard, place, tensor)

    def add(self, files: Mapping[str, bytes]) -> None:
        """Puts files beside the weights.

        Raises:
            RunError: as `write`.
        """
        with _writing(self.folder):
            for name, data in files.items():
                (self.aside / name).write_bytes(data)

    def flush(self) -> tuple[Shard, ...]:
        """Waits until everything is on the disk and returns the shards with their hashes.

        Raises:
            RunError: as `write`.
            ValueError: tensors are missing.
        """
        self._wait()
        if self._at:
            raise ValueError(f"{len(self._at)} tensors were not written, the first is {self._next}")
        return self.shards

    def finish(self) -> None:
        """Writes the index and gives the folder its name.

        Raises:
            RunError: as `write`.
        """
        self.flush()
        if len(self._plan) > 1:
            places = {name: shard.file for shard in self._plan for name, _ in shard.tensors}
            total = sum(info.bytes for shard in self._plan for _, info in shard.tensors)
            index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(places.items()))}
            write_atomically(self.aside / "model.safetensors.index.json", json.dumps(index, indent=2) + "\n")
        with _writing(self.folder):
            for name in (_JOURNAL, ".lock"):
                (self.aside / name).unlink(missing_ok=True)
            self.aside.replace(self.folder)
            above = os.open(self.folder.parent, os.O_RDONLY)
            try:
                os.fsync(above)
            finally:
                os.close(above)

    def discard(self) -> None:
        """Takes everything back, finished shards too: what was written came from input that is refused."""
        self._done.clear()
        self._thread.shutdown(cancel_futures=True)
        self._remove()

    def _remove(self) -> None:
        shutil.rmtree(self.aside, ignore_errors=True)
        with suppress(OSError):  # folders above it that were made for it, as far as nothing else came into them
            for above in self._made:
                above.rmdir()

    def _begin(self, work: Sequence[Any]) -> None:
        """Reads the journal of the same work, or empties the folder and begins one."""
        digest = hashlib.sha256(json.dumps(work).encode()).hexdigest()
        lines = _journal(self.aside / _JOURNAL)
        if lines and lines[0] == {"work": digest}:
            found = [Shard(**line) for line in lines[1:]]
            self._done = {s.file: s for s in found if _size(self.aside / s.file) == s.bytes}
        for path in self.aside.iterdir():
            if path.name not in {".lock", *self._done}:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        write_atomically(
            self.aside / _JOURNAL,
            "".join(json.dumps(line) + "\n" for line in [{"work": digest}, *map(asdict, self.shards)]),
        )
        todo = [shard for shard in self._plan if shard.file not in self._done]
        self._at = {name: (shard, i) for shard in todo for i, (name, _) in enumerate(shard.tensors)}
        self._next = todo[0].tensors[0][0] if todo and todo[0].tensors else ""

    def _first_after(self, shard: _Planned) -> str:
        later = (s for s in self._plan[self._plan.index(shard) + 1 :] if s.file not in self._done)
        return next((s.tensors[0][0] for s in later), "")

    def _wait(self) -> None:
        busy, self._busy = self._busy, None
        if busy:
            busy.result()

    def _put(self, shard: _Planned, place: int, tensor: torch.Tensor) -> None:
        """Writes one tensor, in the thread; the first of a shard opens it, the last closes it."""
        path = self.aside / shard.file
        with _writing(self.folder):
            if place == 0:
                self._file, self._hash = path.open("wb"), hashlib.sha256()
                self._add(_header(shard))
            self._add(_bytes(tensor))
            if place + 1 < len(shard.tensors) or self._file is None:
                return
            self._file.flush()
            os.fsync(self._file.fileno())
            size = self._file.tell()
            self._file.close()
            self._file = None
            self._done[shard.file] = Shard(shard.file, size, self._hash.hexdigest())
            with (self.aside / _JOURNAL).open("a", encoding="utf-8") as journal:
                journal.write(json.dumps(asdict(self._done[shard.file])) + "\n")
                journal.flush()
                os.fsync(journal.fileno())

    def _add(self, data: Any) -> None:
        if self._file:
            self._file.write(data)
            self._hash.update(data)


def _part(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.part")


def _header(shard: _Planned) -> bytes:
    """The file's first bytes: the length of the header, and the header, filled up with spaces to a multiple of 8."""
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, info in shard.tensors:
        entries[name] = {
            "dtype": _CODES[info.dtype],
            "shape": list(info.shape),
            "data_offsets": [end, end := end + info.bytes],
        }
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _bytes(tensor: torch.Tensor) -> Any:
    """The tensor's bytes, as they lie in memory; the field's machines are little-endian."""
    import torch

    return memoryview(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())


def _journal(path: Path) -> list[Any]:
    if not path.is_file():
        return []
    try:
        return [
            json.loads(line)
            for line in path.read_text(encoding="utf-8").splitlines(keepends=True)
            if line.endswith("\n")
        ]
    except ValueError:
        return []


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        what = "the disk is full" if full else f"cannot be written: {error.strerror}"
        todo = "Make room there" if full else "Mend it"
        raise RunError(
            f"{folder}: {what}. {todo}; the same command continues after the last finished shard."
        ) from error


def _gb(size: int) -> str:
    return f"{size / 10**9:,.2f} GB"
