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

import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from ikyoku.errors import IkyokuError, RunError

State = Literal["new", "running", "done", "failed"]

_PACKAGES = (
    "ikyoku",
    "torch",
    "transformers",
    "peft",
    "trl",
    "accelerate",
    "bitsandbytes",
    "tokenizers",
    "safetensors",
    "numpy",
)


def write_atomically(path: Path, text: str) -> None:
    """Writes a text file so that a reader sees the old content or the new, never a half."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with aside.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def to_json(value: object) -> str:
    """Returns JSON for people and programs: indented, Japanese left readable, NaN refused."""
    return json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def sha256_of(path: Path) -> str:
    """Returns the sha256 of a file, or of a folder's files by name and content, as hex."""
    digest = hashlib.sha256()
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    for file in files:
        if file is not path:
            digest.update(file.relative_to(path).as_posix().encode() + b"\0")
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


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
            stream = self._streams[name] = path.open("a", encoding="utf-8", newline="\n")
        for record in records:
            stream.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")
        stream.flush()
        os.fsync(stream.fileno())

    def rewrite(self, name: str, records: Iterable[Mapping[str, Any]]) -> None:
        """Replaces `<name>.jsonl` in one step: what came after the point a job continues from is taken back."""
        if stream := self._streams.pop(name, None):
            stream.close()
        lines = [json.dumps(r, ensure_ascii=False, allow_nan=False) + "\n" for r in records]
        write_atomically(self.folder / f"{name}.jsonl", "".join(lines))

    def write(self, name: str, text: str) -> Path:
        """Writes one file of the run atomically and returns its path."""
        path = self.folder / name
        write_atomically(path, text)
        return path

    def finish(self, result: Mapping[str, Any]) -> None:
        """Marks the run as done, with a short result; the last thing a job writes."""
        self._close()
        self.state = "done"
        (self.folder / "traceback.txt").unlink(missing_ok=True)
        write_atomically(self.folder / "status.json", to_json({"state": "done", "result": dict(result)}))
        shutil.rmtree(self.checkpoints, ignore_errors=True)

    def result(self) -> dict[str, Any]:
        """Returns the short result that a finished run holds."""
        return dict(_read_status(self.folder).get("result", {}))

    def _close(self) -> None:
        for stream in self._streams.values():
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
        inputs: every file or folder that the result depends on; their hashes are recorded, and an unfinished run is
            not continued on other inputs.
        new: start another run beside a finished or unfinished one; without it the newest is continued or read.
        online: whether the network is open, for the record.
        progress: told of the job's progress.

    Raises:
        RunError: if another process works in the folder, or an input changed since the run began.
    """
    folder = _folder(root, f"{verb}-{name}-{spec_hash(spec)}", new=new)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(
                f"{folder}: another process is working in this run. Wait for it, stop it, or use --new."
            ) from None
        run = Run(folder, verb, _read_status(folder).get("state", "new"), progress)
        hashes = {key: sha256_of(path) for key, path in sorted(inputs.items())}
        _check_inputs(run, hashes)
        if run.state == "done":
            yield run
            return
        write_atomically(folder / "spec.yaml", spec_text)
        if run.state == "new":
            write_atomically(folder / "provenance.json", to_json(provenance(spec, hashes, online=online)))
        run.state = "running"
        write_atomically(folder / "status.json", to_json({"state": "running"}))
        try:
            yield run
        except BaseException as error:
            _record_failure(folder, error)
            if isinstance(error, IkyokuError) and not _holds_work(folder):
                shutil.rmtree(folder)  # refused before anything was done: nothing stays behind
            raise
        finally:
            run._close()


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


def _check_inputs(run: Run, hashes: Mapping[str, str]) -> None:
    path = run.folder / "provenance.json"
    if run.state == "new" or not path.is_file():
        return
    known = _read_object(path).get("inputs", {})
    changed = [key for key, value in hashes.items() if known.get(key) != value]
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
    write_atomically(folder / "status.json", to_json({"state": "failed", "error": message}))
    if not isinstance(error, IkyokuError):
        write_atomically(folder / "traceback.txt", "".join(traceback.format_exception(error)))


def provenance(spec: Mapping[str, Any], input_hashes: Mapping[str, str], *, online: bool) -> dict[str, Any]:
    """Returns what a reader needs to repeat the run: code, packages, machine, seed, inputs by hash, command line."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "absent"
    return {
        "command": sys.argv,
        "revision": _revision(),
        "python": platform.python_version(),
        "packages": versions,
        "machine": {
            "system": platform.system(),
            "release": platform.release(),
            "processor": _processor(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        },
        "seed": spec.get("seed"),
        "online": online,
        "inputs": dict(input_hashes),
    }


def _revision() -> str | None:
    """Returns the git revision of the code, with a mark where files differ from it; None outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603 fixed words
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()
