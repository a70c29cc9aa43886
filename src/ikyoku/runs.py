"""The run folder: the record of one job, and all of it.

    runs/<verb>-<name>-<hash of the resolved spec>/
      spec.yaml        resolved; feeding it back repeats the run
      provenance.json  code revision, package versions, hardware, seeds, sha256 of every input
      status.json      running | done | failed, written atomically; done is written last
      *.jsonl          append-only records, resumable
      scores.json  summary.html  artifact/

An unfinished run is continued by giving the same command again, under a lock; a finished one is only read.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TextIO

from ikyoku.errors import IkyokuError, RunError
from ikyoku.provenance import Fingerprint, a_start, digest, facts, fingerprints, hub_commits, sha256_of

State = Literal["new", "running", "done", "failed"]
_FULL = (errno.ENOSPC, errno.EDQUOT)

__all__ = [
    "Progress",
    "Run",
    "State",
    "open_finished",
    "open_run",
    "read_records",
    "sha256_of",
    "silent",
    "spec_hash",
    "to_json",
    "write_atomically",
]


def write_atomically(path: Path, text: str | Iterable[str]) -> None:
    """Writes a text file, at once or piece by piece, so that a reader sees the old content or the new, never a half.

    Raises:
        RunError: the disk is full or does not let it be written.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    with _writing(path):
        try:
            with aside.open("w", encoding="utf-8", newline="\n") as file:
                file.writelines([text] if isinstance(text, str) else text)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        room = " Make room there; the same command continues." if error.errno in _FULL else ""
        raise RunError(f"{path}: cannot be written: {error.strerror}.{room}") from error


def to_json(value: object) -> str:
    """Returns JSON for people and programs: indented, Japanese left readable, NaN refused."""
    return json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n"


Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


def silent(what: str, done: int, total: int) -> None:
    """The progress of a job that nobody watches."""


@dataclass
class Run:
    """One opened run folder. Use `open_run`, which takes the lock and writes the status."""

    folder: Path
    verb: str
    state: State
    progress: Progress = silent
    spec: Mapping[str, Any] = field(default_factory=dict, repr=False)
    _streams: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def artifact(self) -> Path:
        """The folder of what the job makes: an adapter, a checkpoint."""
        path = self.folder / "artifact"
        path.mkdir(exist_ok=True)
        return path

    @property
    def checkpoints(self) -> Path:
        """The folder of points to continue from; it goes when the run is finished."""
        return self.folder / "checkpoints"

    def records(self, name: str) -> list[dict[str, Any]]:
        """Returns the records of `<name>.jsonl`, without a last line that a kill or a power cut left unfinished."""
        return list(read_records(self.folder / f"{name}.jsonl"))

    def append(self, name: str, records: Iterable[Mapping[str, Any]]) -> None:
        """Appends records to `<name>.jsonl` and hands them to the disk."""
        stream = self._streams.get(name)
        if stream is None:
            path = self.folder / f"{name}.jsonl"
            _drop_unfinished_line(path)
            with _writing(path):
                stream = self._streams[name] = path.open("a", encoding="utf-8", newline="\n")
        with _writing(self.folder / f"{name}.jsonl"):
            for record in records:
                stream.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")
            stream.flush()
            os.fsync(stream.fileno())

    def rewrite(self, name: str, records: Iterable[Mapping[str, Any]]) -> None:
        """Replaces `<name>.jsonl` in one step: what came after the point a job continues from is taken back."""
        if stream := self._streams.pop(name, None):
            stream.close()
        lines = [json.dumps(r, ensure_ascii=False, allow_nan=False) + "\n" for r in records]
        write_atomically(self.folder / f"{name}.jsonl", lines)

    def write(self, name: str, text: str) -> Path:
        """Writes one file of the run atomically and returns its path."""
        path = self.folder / name
        write_atomically(path, text)
        return path

    def finish(self, result: Mapping[str, Any]) -> None:
        """Marks the run as done, with a short result; the last thing a job writes."""
        self._close()
        record = _read_object(self.folder / "provenance.json")
        if None in record.get("hub", {}).values():  # what was not in the cache at the start is there by now
            _record(self.folder, record, self.spec)
        self.state = "done"
        (self.folder / "traceback.txt").unlink(missing_ok=True)
        write_atomically(self.folder / "status.json", to_json({"state": "done", "result": dict(result)}))
        shutil.rmtree(self.checkpoints, ignore_errors=True)

    def result(self) -> dict[str, Any]:
        """Returns the short result that a finished run holds."""
        return dict(_read_status(self.folder).get("result", {}))

    def _close(self) -> None:
        for stream in self._streams.values():
            with suppress(OSError):  # what a full disk refused, `append` has reported
                stream.close()
        self._streams.clear()


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """Yields the records of a JSONL file that a job wrote; an unfinished last line is left out.

    Raises:
        RunError: if a line that is not the last is no JSON: the file was damaged by something else.
    """
    if not path.is_file():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            try:
                record = json.loads(line)
            except ValueError:
                record = None
            if not isinstance(record, dict):
                raise RunError(
                    f"{path}, line {number}: not a JSON record. The file was changed or the disk damaged it; "
                    "move the run folder away and start again with --new."
                )
            yield record


def _drop_unfinished_line(path: Path) -> None:
    if not path.is_file():
        return
    with path.open("r+b") as file:
        data = file.read()
        keep = data.rfind(b"\n") + 1
        if keep != len(data):
            file.truncate(keep)


def spec_hash(spec: Mapping[str, Any]) -> str:
    """Returns the first 10 hex digits of the sha256 of a resolved spec: it names the run."""
    text = json.dumps(spec, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:10]


@contextmanager
def open_run(
    verb: str,
    name: str,
    spec: Mapping[str, Any],
    *,
    spec_text: str,
    root: Path,
    inputs: Mapping[str, Path],
    new: bool = False,
    online: bool = False,
    progress: Progress = silent,
) -> Iterator[Run]:
    """Opens the run of a spec: a new one, the unfinished one, or the finished one (state "done": only to be read).

    Args:
        verb: the job's name.
        name: the spec's name.
        spec: the resolved spec as plain values; its hash names the folder.
        spec_text: the same as YAML, kept as spec.yaml.
        root: the folder of runs.
        inputs: every file or model folder that the result depends on; their hashes are recorded, and a run is not
            continued or read with other inputs. A file whose size and time of change are those recorded is not read.
        new: start another run beside a finished or unfinished one; without it the newest is continued or read.
        online: whether the network is open, for the record.
        progress: told of the job's progress.

    Raises:
        RunError: if another process works in the folder, an input changed since the run began, the folder cannot be
            made, or the disk is full.
        DataError: if an input cannot be read.
    """
    try:
        first = not root.exists()
        folder = _folder(root, f"{verb}-{name}-{spec_hash(spec)}", new=new)
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("a")
    except OSError as error:
        raise RunError(
            f"{root}: no run folder can be made here: {error.strerror}. Name another folder with --runs."
        ) from None
    with lock:
        _take(lock, folder, "Wait for it, stop it, or use --new.")
        run = Run(folder, verb, _read_status(folder).get("state", "new"), progress, spec)
        record = _read_object(folder / "provenance.json")
        try:
            files = fingerprints(inputs, known=record.get("files"), progress=progress)
        except IkyokuError:
            if run.state == "new":
                shutil.rmtree(folder)
            raise
        _check_inputs(run, record, files)
        if run.state == "done":
            yield run
            return
        try:
            write_atomically(folder / "spec.yaml", spec_text)
            _record(folder, record | {"files": files}, spec, a_start(online=online))
            run.state = "running"
            write_atomically(folder / "status.json", to_json({"state": "running"}))
            yield run
        except BaseException as error:
            named = _named(folder, error)
            _record_failure(folder, named)
            if isinstance(named, IkyokuError) and not _holds_work(folder):
                shutil.rmtree(folder)  # refused before anything was done: nothing stays behind
                if first:
                    with suppress(OSError):  # another run may have begun there
                        root.rmdir()
            if named is error:
                raise
            raise named from error
        finally:
            run._close()


@contextmanager
def open_finished(folder: Path, *, progress: Progress = silent) -> Iterator[Run]:
    """Opens a finished run under its lock, to lay records beside those of its job; its status and record stay.

    Raises:
        RunError: the run is not done, another process works in it, or its folder cannot be written in.
    """
    state = _read_status(folder).get("state", "new")
    if state != "done":
        raise RunError(f"{folder}: this run is {state}, not done. Give its own command again to finish it.")
    with _writing(folder):
        lock = (folder / ".lock").open("a")
    with lock:
        _take(lock, folder, "Wait for it, or stop it.")
        run = Run(folder, "", "done", progress)
        try:
            yield run
        finally:
            run._close()


def _take(lock: TextIO, folder: Path, advice: str) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise RunError(f"{folder}: another process is working in this run. {advice}") from None


def _record(folder: Path, record: Mapping[str, Any], spec: Mapping[str, Any], *starts: Mapping[str, Any]) -> None:
    """Writes provenance.json: what is known of the run, a start more, and the hub's commits as far as known by now."""
    known = dict(record) if "packages" in record else {**facts(spec), **record}
    hub = known.get("hub", {})
    known["hub"] = hub | {name: hub.get(name) or commit for name, commit in hub_commits(spec).items()}
    known["starts"] = [*known.get("starts", ()), *starts]
    known["online"] = any(start["online"] for start in known["starts"])
    known["inputs"] = {key: digest(files) for key, files in record["files"].items()}
    known["files"] = known.pop("files")  # last: the longest
    write_atomically(folder / "provenance.json", to_json(known))


def _named(folder: Path, error: BaseException) -> BaseException:
    """Returns an error, or where it says in whatever library's words that the disk is full, one of ours."""
    if isinstance(error, IkyokuError) or not isinstance(error, Exception):
        return error
    if getattr(error, "errno", None) in _FULL or os.strerror(errno.ENOSPC) in str(error):
        return RunError(f"{folder}: the disk is full. Make room there; the same command continues.")
    return error


def _folder(root: Path, name: str, *, new: bool) -> Path:
    """The newest folder of this name, or with `new` the one after it."""
    folder, newest, count = root / name, root / name, 2
    while folder.exists():
        newest, folder, count = folder, root / f"{name}-{count}", count + 1
    return folder if new else newest


def _read_status(folder: Path) -> dict[str, Any]:
    return _read_object(folder / "status.json")


def _read_object(path: Path) -> dict[str, Any]:
    """Returns the JSON object in a file, an empty one where there is no file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise RunError(f"{path}: not a JSON object. Move the run folder away and start again.")
    return value


def _check_inputs(run: Run, record: Mapping[str, Any], files: Mapping[str, Fingerprint]) -> None:
    if run.state == "new" or not record:
        return
    known = record.get("inputs", {})
    changed = [key for key in files if known.get(key) != digest(files[key])]
    if changed:
        raise RunError(
            f"{run.folder}: changed since this run began: {', '.join(changed)}. "
            "Its results would mix two inputs; start another run with --new."
        )


def _holds_work(folder: Path) -> bool:
    """Whether a run holds more than its own bookkeeping."""
    return any(p.name not in {".lock", "spec.yaml", "provenance.json", "status.json"} for p in folder.iterdir())


def _record_failure(folder: Path, error: BaseException) -> None:
    if isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit):
        return  # interrupted, not failed: the same command continues
    message = str(error) if isinstance(error, IkyokuError) else type(error).__name__
    with suppress(RunError):  # where the disk is full, the error itself is what the user must see
        write_atomically(folder / "status.json", to_json({"state": "failed", "error": message}))
        if not isinstance(error, IkyokuError):
            write_atomically(folder / "traceback.txt", "".join(traceback.format_exception(error)))
