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
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ikyoku.checkpoints.reader import DTYPES, ITEM_BYTES, TensorInfo
from ikyoku.checkpoints.room import aside
from ikyoku.errors import RunError
from ikyoku.runs import write_atomically

if TYPE_CHECKING:
    import torch

__all__ = ["CheckpointWriter", "Shard", "layout", "sweep", "write_folder"]

_CODES = {ours: theirs for theirs, ours in DTYPES.items()}
_JOURNAL = ".journal.jsonl"
_FROM_THE_SHARD = "the same command continues after the last finished shard"
_FROM_THE_START = "the same command does it again"


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


def sweep(folder: Path) -> None:
    """Takes the writer's own files out of a finished checkpoint: a kill just after it got its name leaves them."""
    for name in (_JOURNAL, ".lock"):
        (folder / name).unlink(missing_ok=True)


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Writes a small folder, such as an adapter's, aside; it appears with all its files or not at all.

    Raises:
        RunError: another process writes it, or the disk is full or does not let it be written; nothing is left then.
    """
    made = _missing_above(aside(folder))
    with _locked(folder, again=_FROM_THE_START):
        try:
            with _writing(folder, again=_FROM_THE_START):
                _empty(aside(folder), {".lock"})
                _put_files(aside(folder), files)
                _name(folder)
        except RunError:
            _take_back(aside(folder), made)
            raise


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
        self.aside = aside(folder)
        self._plan = layout(tensors, shard_size)
        self._made = _missing_above(self.aside)
        self._lock = _locked(folder)
        self._done: dict[str, Shard] = {}
        self._next = ""
        try:
            with _writing(folder):
                self._begin([*map(list, ((n, list(s), d) for n, s, d in tensors)), shard_size, key])
        except RunError:
            self._lock.close()
            raise
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
        """Puts files beside the weights, by name or by a path below the folder, and hands them to the disk.

        Raises:
            RunError: as `write`.
        """
        with _writing(self.folder):
            _put_files(self.aside, files)

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
            _name(self.folder)  # with the journal and the lock in it: until here the work can be continued

    def discard(self) -> None:
        """Takes everything back, finished shards too: what was written came from input that is refused."""
        self._done.clear()
        self._thread.shutdown(cancel_futures=True)
        self._remove()

    def _remove(self) -> None:
        _take_back(self.aside, self._made)

    def _begin(self, work: Sequence[Any]) -> None:
        """Reads the journal of the same work, or empties the folder and begins one."""
        digest = hashlib.sha256(json.dumps(work).encode()).hexdigest()
        lines = _journal(self.aside / _JOURNAL)
        if lines and lines[0] == {"work": digest}:
            found = [Shard(**line) for line in lines[1:]]
            self._done = {s.file: s for s in found if _size(self.aside / s.file) == s.bytes}
        _empty(self.aside, {".lock", *self._done})
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


def _locked(folder: Path, **told: str) -> IO[str]:
    """Makes the folder in which an output is written aside, and returns its lock, taken."""
    with _writing(folder, **told):
        aside(folder).mkdir(parents=True, exist_ok=True)
        lock = (aside(folder) / ".lock").open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise RunError(f"{folder}: another process is writing it. Wait for it, or name another folder.") from None
    if not _is_at(lock, aside(folder) / ".lock"):  # the other one has just given the folder its name
        lock.close()
        raise RunError(f"{folder}: another process has just written it. Name another folder, or move it away.")
    return lock


def _name(folder: Path) -> None:
    """Gives what was written aside its name, for good."""
    aside(folder).replace(folder)
    sweep(folder)
    above = os.open(folder.parent, os.O_RDONLY)
    try:
        os.fsync(above)
    finally:
        os.close(above)


def _put_files(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())


def _empty(folder: Path, kept: Collection[str]) -> None:
    for path in folder.iterdir():
        if path.name not in kept:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _missing_above(folder: Path) -> list[Path]:
    return [above for above in folder.absolute().parents if not above.exists()]


def _take_back(folder: Path, made: Iterable[Path]) -> None:
    """Removes a folder, and those above it that were made for it, as far as nothing else came into them."""
    shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        for above in made:
            above.rmdir()


def _is_at(file: IO[Any], path: Path) -> bool:
    """Whether an open file is still the one that lies there."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


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
def _writing(folder: Path, *, again: str = _FROM_THE_SHARD) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        what = "the disk is full" if full else f"cannot be written: {error.strerror}"
        todo = "Make room there" if full else "Mend it"
        raise RunError(f"{folder}: {what}. {todo}; {again}.") from error
