"""What a run depends on and where it was made: the facts of provenance.json.

Hashes of the inputs, the code's revision, packages, machine, models from the hub, and every start. No judgement: what
follows from a changed input is `runs`' affair.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from ikyoku.errors import DataError

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
_OF_A_MODEL = (".safetensors", ".json", ".jinja", ".model", ".txt", ".py")
"""What a model is loaded from: weights, settings, chat templates, the tokenizer, code that comes with it."""

_BLOCK = 1 << 24
_SETTLED = 2_000_000_000  # ns: a file that changes again so soon after its hash may keep its time of change

Fingerprint = dict[str, dict[str, Any]]
"""Of one input: name of each file ("" where the input is a file) -> size, mtime_ns and sha256."""


def sha256_of(path: Path) -> str:
    """Returns the sha256 of a file, or of the files that a model folder is loaded from, by name and content, as hex.

    Raises:
        DataError: a file cannot be read.
    """
    return digest(fingerprints({"": path})[""])


def digest(files: Fingerprint) -> str:
    """Returns one hash for an input: its file's own, or that of the names and hashes of a folder's files."""
    if set(files) == {""}:
        return str(files[""]["sha256"])
    lines = "".join(f"{name}\0{files[name]['sha256']}\n" for name in sorted(files))
    return hashlib.sha256(lines.encode()).hexdigest()


def fingerprints(
    inputs: Mapping[str, Path],
    *,
    known: Mapping[str, Fingerprint] | None = None,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> dict[str, Fingerprint]:
    """Returns what the files of each input are.

    A file of `known` that has the same name, size and time of change is not read again.

    Raises:
        DataError: a file cannot be read.
    """
    now = time.time_ns()
    found: dict[str, Fingerprint] = {}
    unread: list[tuple[dict[str, Any], Path]] = []
    for key, path in sorted(inputs.items()):
        found[key] = {}
        for name, file in _files(path):
            entry: dict[str, Any] = _size_and_time(file)
            before = (known or {}).get(key, {}).get(name, {})
            if all(before.get(k) == value for k, value in entry.items()):
                entry["sha256"] = before["sha256"]
            else:
                unread.append((entry, file))
            found[key][name] = entry
    done, total = 0, sum(entry["size"] for entry, _ in unread)
    for entry, file in unread:
        content = hashlib.sha256()
        for block in _blocks(file):
            content.update(block)
            done += len(block)
            progress("hashing inputs, MB", done // 10**6, total // 10**6)
        entry["sha256"] = content.hexdigest()
        if now - entry["mtime_ns"] < _SETTLED:
            entry["mtime_ns"] = None  # is read again next time
    return found


def _files(path: Path) -> Iterator[tuple[str, Path]]:
    if path.is_file():
        yield "", path
        return
    for file in sorted(path.rglob("*")):
        name = file.relative_to(path)
        hidden = any(part.startswith(".") for part in name.parts)  # .git, .cache: no part of the model
        if file.suffix in _OF_A_MODEL and not hidden and file.is_file():
            yield name.as_posix(), file


def _size_and_time(file: Path) -> dict[str, int]:
    try:
        stat = file.stat()
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}.") from error
    return {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns}


def _blocks(file: Path) -> Iterator[bytes]:
    try:
        with file.open("rb") as stream:
            while block := stream.read(_BLOCK):
                yield block
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}.") from error


def facts(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a reader needs to repeat a run besides its inputs: code, packages, machine, seed, models."""
    return {
        "command": sys.argv,
        "revision": revision(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "machine": machine(),
        "seed": spec.get("seed"),
        "trust_remote_code": _trusted(spec),
        "hub": hub_commits(spec),
    }


def a_start(*, online: bool) -> dict[str, Any]:
    """Returns one entry of the list of starts: when, by which command and code, and whether the network was open."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {"time": now, "command": sys.argv, "revision": revision(), "online": online}


def hub_commits(spec: Mapping[str, Any]) -> dict[str, str | None]:
    """Returns the commit that the local cache holds of each hub id in a spec; None where it holds none.

    Specs name models and adapters in many places: `model`, `models`, a merge's recipe, a search's base and parents.
    """
    ids = {name for name in _references(spec) if not Path(name).expanduser().exists()}
    return {name: _commit(name) for name in sorted(ids)}


def _references(spec: Mapping[str, Any]) -> set[str]:
    """Every text of a spec that names a model or an adapter."""
    loaded = _loaded(spec)
    found = {m["path"] for m in loaded} | {adapter for m in loaded if (adapter := m.get("adapter"))}
    given = [spec.get("base"), spec.get("into")]
    given += [p[key] for p in spec.get("parents") or () for key in ("path", "adapter") if p.get(key)]
    given += _named_in(spec.get("recipe"))
    texts = [text for text in given if text]
    return found | {part for text in texts for part in text.split("+") if part}


def _loaded(spec: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [m for m in (spec.get("model"), *(spec.get("models") or ())) if m]


def _named_in(recipe: Any) -> Iterator[str]:
    """The models that a merge's recipe names, wherever they stand in it."""
    if isinstance(recipe, Mapping):
        for key, value in recipe.items():
            if isinstance(value, str):
                rule = key in ("source", "tokenizer_source") and value in ("union", "base")
                if key in ("model", "base_model", "source", "tokenizer_source") and not rule:
                    yield value
            else:
                yield from _named_in(value)
    elif isinstance(recipe, list | tuple):
        for value in recipe:
            yield from _named_in(value)


def _trusted(spec: Mapping[str, Any]) -> list[str]:
    """The models whose own Python code is run or taken along."""
    by_model = {m["path"] for m in _loaded(spec) if m.get("trust_remote_code")}
    return sorted(_references(spec) if spec.get("trust_remote_code") else by_model)


def _commit(name: str) -> str | None:
    """Reads huggingface_hub's cache: models--OWNER--NAME/refs/main holds the commit that `main` stood for."""
    home = Path(os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
    cache_folder = Path(os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE") or home / "hub")
    hub_id, _, revision = name.partition("@")
    folder = cache_folder.expanduser() / f"models--{hub_id.replace('/', '--')}"
    if revision and (folder / "snapshots" / revision).is_dir():
        return revision  # a commit's own name
    try:
        return (folder / "refs" / (revision or "main")).read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "absent"


@cache
def machine() -> dict[str, Any]:
    """Returns what this machine is: system, processor, memory in GiB, GPUs by name and memory."""
    return {
        "system": platform.system(),
        "release": platform.release(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpus": _gpus(),
    }


def _gpus() -> list[str]:
    """Returns name and memory of each NVIDIA GPU, asked of its own tool: torch need not be loaded for it."""
    if not (tool := shutil.which("nvidia-smi")):
        return []
    said = _said([tool, "--query-gpu=name,memory.total", "--format=csv,noheader"])
    return [line.strip() for line in (said or "").splitlines() if line.strip()]


def revision() -> str | None:
    """Returns the git revision of the code, with a mark where files differ from it; None outside a checkout."""
    return _said(["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40"])


def _said(command: list[str]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603 fixed words
    except (OSError, subprocess.TimeoutExpired):
        return None
    return (done.stdout.strip() or None) if done.returncode == 0 else None


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()
