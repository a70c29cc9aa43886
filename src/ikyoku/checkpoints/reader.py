"""Checkpoints in Hugging Face's layout: a lazy reader that maps tensors into memory.

A checkpoint's headers are read and checked at once: every shard is there, as long as its header says, and holds what
the index promises. A tensor is mapped when it is read and unmapped when nobody holds it any more, so that a merge of
any size needs the memory of a few tensors. The writer is in `writer`.
"""

from __future__ import annotations

import json
import math
import mmap
import os
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ikyoku.errors import ModelError, together

if TYPE_CHECKING:
    import torch

__all__ = ["DTYPES", "ITEM_BYTES", "Checkpoint", "TensorInfo", "model_folder", "open_checkpoint", "read_header"]

DTYPES: Mapping[str, str] = MappingProxyType(
    {
        "F64": "float64",
        "F32": "float32",
        "F16": "float16",
        "BF16": "bfloat16",
        "I64": "int64",
        "I32": "int32",
        "I16": "int16",
        "I8": "int8",
        "U8": "uint8",
        "BOOL": "bool",
        "F8_E4M3": "float8_e4m3fn",
        "F8_E5M2": "float8_e5m2",
    }
)
"""Number formats: how safetensors calls them -> how torch does."""
ITEM_BYTES: Mapping[str, int] = MappingProxyType(
    {"float64": 8, "int64": 8, "float32": 4, "int32": 4, "float16": 2, "bfloat16": 2, "int16": 2}
    | {"int8": 1, "uint8": 1, "bool": 1, "float8_e4m3fn": 1, "float8_e5m2": 1}
)
"""Bytes of one number."""

_WEIGHTS, _INDEX = "model.safetensors", "model.safetensors.index.json"
_PICKLES = (".bin", ".pt", ".pth")
_LONGEST_HEADER = 100_000_000
_TEXT_CONFIGS = ("text_config", "llm_config", "language_config")
_FILES = ["*.safetensors", "*.json", "*.jinja", "*.model", "*.txt", "*.py"]
_FILES += ["README.md", "LICEN[CS]E*", "COPYING*", "NOTICE*", "*USE_POLICY*"]  # what a merge owes to its parents
_MOST_TOKENS = 1 << 26
"""Ids beyond it are damage: a row would be made for each number below."""
_SHARD = re.compile(r"[^/\\\0]+\.safetensors")
_COPY = "Copy the model again."


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Where a tensor lies: its shape, its number format in torch's words, its file, and its first byte there."""

    shape: tuple[int, ...]
    dtype: str
    file: Path
    start: int

    @property
    def bytes(self) -> int:
        """The bytes that it takes."""
        return math.prod(self.shape) * ITEM_BYTES[self.dtype]


@dataclass(frozen=True)
class Checkpoint:
    """A model folder whose headers were read and found whole. Use `open_checkpoint`."""

    name: str
    """How the recipe or the user calls it."""
    folder: Path
    tensors: Mapping[str, TensorInfo]
    """By name, in the order in which they lie in the files."""
    config: dict[str, Any] = field(repr=False)

    def read(self, name: str) -> torch.Tensor:
        """Returns a tensor in its own number format, mapped from its file.

        Pages come from the disk when they are touched and go with the tensor. Writing to it changes no file.

        Raises:
            ModelError: the file cannot be read.
        """
        return mapped(self.tensors[name])

    @cached_property
    def bytes(self) -> int:
        """The bytes of all tensors."""
        return sum(info.bytes for info in self.tensors.values())

    @property
    def text_config(self) -> dict[str, Any]:
        """The part of the config that describes the language model: of a plain language model all of it."""
        found = (self.config.get(key) for key in _TEXT_CONFIGS)
        return next((part for part in found if isinstance(part, dict)), self.config)

    @property
    def layers(self) -> int:
        """The layers of the language model; 0 where the config does not tell."""
        found = (self.text_config.get(key) for key in ("num_hidden_layers", "n_layer", "num_layers"))
        return next((int(count) for count in found if isinstance(count, int)), 0)

    @property
    def ties_embeddings(self) -> bool:
        """Whether the output head is the token embedding: by the config, or because no head is stored."""
        told = [part.get("tie_word_embeddings") for part in (self.config, self.text_config)]
        by_config = True in told and False not in told
        return by_config or not any(name.endswith("lm_head.weight") for name in self.tensors)

    @cached_property
    def dtype(self) -> str:
        """The number format that most of the numbers have."""
        counts: dict[str, int] = {}
        for info in self.tensors.values():
            counts[info.dtype] = counts.get(info.dtype, 0) + info.bytes
        return max(counts, key=lambda kind: counts[kind], default="float32")

    def vocabulary(self) -> dict[str, int]:
        """Returns token text -> id, added tokens included; an empty one where there is no tokenizer.json.

        Raises:
            ModelError: a tokenizer file is no JSON of that kind.
        """
        return dict(self._vocabulary)

    @cached_property
    def _vocabulary(self) -> dict[str, int]:
        path = self.folder / "tokenizer.json"
        if not path.is_file():
            return {}
        tokenizer = _json_object(path)
        try:
            pieces = tokenizer["model"]["vocab"]
            vocabulary = dict(pieces) if isinstance(pieces, dict) else {piece[0]: i for i, piece in enumerate(pieces)}
            added = {entry["content"]: entry["id"] for entry in tokenizer.get("added_tokens") or ()}
            vocabulary |= added
            if not all(type(at) is int and 0 <= at < _MOST_TOKENS for at in vocabulary.values()):
                raise ValueError
        except (KeyError, TypeError, IndexError, ValueError):
            raise ModelError(f"{path}: no vocabulary in it. {_COPY}") from None
        return vocabulary


def open_checkpoint(path: str, *, name: str | None = None) -> Checkpoint:
    """Returns the checkpoint in a folder, or of a hub id that the local cache holds; only headers are read.

    Args:
        path: the folder or the hub id.
        name: how messages call it, by default the path.

    Raises:
        ModelError: no such folder, no safetensors, quantised, or shards that are missing, cut short or not those of
            the index; all faults of the shards together.
    """
    name = name or path
    folder = model_folder(path)
    if not (folder / "config.json").is_file():
        adapter = (folder / "adapter_config.json").is_file()
        hint = f" It holds an adapter: write BASE+{path}, BASE being the model it was trained on." if adapter else ""
        raise ModelError(f"{path}: no config.json, so this is no model folder.{hint}")
    config = _json_object(folder / "config.json")
    tensors = _tensors(folder, path)
    _refuse_quantised(path, config, tensors)
    return Checkpoint(name, folder, MappingProxyType(tensors), config)


def model_folder(path: str) -> Path:
    """Returns the folder of a model: the path itself, or where the local cache keeps a hub id (`ID` or `ID@REVISION`).

    Raises:
        ModelError: no such folder, and no such hub id in the cache; with the network open it is fetched.
    """
    folder = Path(path).expanduser()
    if folder.is_dir():
        return folder
    if folder.is_file() or path.startswith((".", "/", "~")) or path.count("/") > 1:
        raise ModelError(f"{path}: no such model folder. Give a folder in Hugging Face's layout, or a hub id.")
    import huggingface_hub

    try:
        hub_id, _, revision = path.partition("@")
        return Path(huggingface_hub.snapshot_download(hub_id, revision=revision or None, allow_patterns=_FILES))
    except (OSError, ValueError):  # a miss, a name that is no id, no network; all of the hub's errors are one of both
        raise ModelError(
            f"{path}: no such folder, and no such hub id in the local cache. Name a folder, put the model into "
            "the cache, or allow the download with --online."
        ) from None


def read_header(path: Path) -> dict[str, TensorInfo]:
    """Returns the tensors of a safetensors file, in the order in which they lie in it, from its header.

    The file's layout: 8 bytes with the header's length, the header as JSON, the tensors' bytes without gaps.

    Raises:
        ModelError: the file is missing, cut short, or no safetensors file.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = struct.unpack("<Q", file.read(8).ljust(8, b"\xff"))[0]
            text = file.read(length) if length <= min(size, _LONGEST_HEADER) else b""
    except FileNotFoundError:
        raise ModelError(f"{path}: missing. The model is incomplete; copy it again.") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}.") from None
    try:
        entries = json.loads(text)
        entries.pop("__metadata__", None)
        found = {name: _info(entry, path, 8 + length) for name, entry in entries.items()}
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError):
        raise ModelError(f"{path}: not a whole safetensors file ({size} bytes). Copy it again.") from None
    if unknown := sorted({info.dtype for info in found.values() if info.dtype not in ITEM_BYTES}):
        raise ModelError(f"{path}: numbers as {', '.join(unknown)}; allowed: {', '.join(ITEM_BYTES)}.")
    ordered = dict(sorted(found.items(), key=lambda item: item[1].start))
    end = 8 + length
    for name, info in ordered.items():
        if info.start != end or int(entries[name]["data_offsets"][1]) != end - 8 - length + info.bytes:
            raise ModelError(
                f"{path}: not a whole safetensors file: {name} does not lie where it should. Copy it again."
            )
        end += info.bytes
    if end != size:
        raise ModelError(f"{path}: {size} bytes long where its header tells {end}. Copy it again.")
    return ordered


def mapped(info: TensorInfo) -> torch.Tensor:
    """Returns a tensor as a private map of its part of the file: nothing is copied until it is touched.

    Raises:
        ModelError: the file cannot be opened or mapped.
    """
    import torch

    dtype = getattr(torch, info.dtype)
    if not info.bytes:
        return torch.empty(info.shape, dtype=dtype)
    skip = info.start % mmap.ALLOCATIONGRANULARITY
    try:
        with info.file.open("rb") as file:
            if hasattr(os, "posix_fadvise"):  # the disk starts now; this does not wait for it
                os.posix_fadvise(file.fileno(), info.start, info.bytes, os.POSIX_FADV_WILLNEED)
            pages = mmap.mmap(file.fileno(), skip + info.bytes, access=mmap.ACCESS_COPY, offset=info.start - skip)
    except (OSError, ValueError) as error:
        raise ModelError(f"{info.file}: cannot be read: {error}.") from None
    flat = torch.frombuffer(pages, dtype=dtype, offset=skip, count=math.prod(info.shape))
    return flat.reshape(info.shape)


def _info(entry: Mapping[str, Any], path: Path, data: int) -> TensorInfo:
    shape = tuple(int(size) for size in entry["shape"])
    if any(size < 0 for size in shape):
        raise ValueError
    kind = str(entry["dtype"])
    first, _ = map(int, entry["data_offsets"])
    return TensorInfo(shape, DTYPES.get(kind, kind), path, data + first)


def _tensors(folder: Path, path: str) -> dict[str, TensorInfo]:
    """The tensors of all shards, every fault of the shards in one message."""
    if (folder / _WEIGHTS).is_file():
        return read_header(folder / _WEIGHTS)
    if not (folder / _INDEX).is_file():
        raise ModelError(f"{path}: no weights. Wanted {_WEIGHTS}, or shards with {_INDEX}; {_what_is_there(folder)}")
    places = _json_object(folder / _INDEX).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(shard, str) for shard in places.values()):
        raise ModelError(f"{folder / _INDEX}: no index of shards. {_COPY}")
    if strange := [shard for shard in places.values() if not _SHARD.fullmatch(shard)]:
        raise ModelError(
            f"{folder / _INDEX}: names {strange[0]!r} as a shard, which is no .safetensors file of this folder. {_COPY}"
        )
    found: dict[str, TensorInfo] = {}
    faults = []
    for shard in sorted(set(places.values())):
        try:
            held = read_header(folder / shard)
        except ModelError as error:
            faults.append(str(error))
            continue
        faults += [
            f"{folder / shard}: no tensor {name}, which {_INDEX} promises. {_COPY}"
            for name, place in places.items()
            if place == shard and name not in held
        ]
        found |= {name: info for name, info in held.items() if places.get(name) == shard}
    if faults:
        raise ModelError(together(faults))
    return found


def _what_is_there(folder: Path) -> str:
    names = sorted(p.name for p in folder.iterdir())
    if pickles := [name for name in names if name.endswith(_PICKLES)]:
        return (
            f"{', '.join(pickles[:3])} is a pickle and is not read: convert it to safetensors: where you trust its "
            "source, load it once with transformers and write it with save_pretrained, the tokenizer too."
        )
    return f"the folder holds {', '.join(names[:6])}."


def _refuse_quantised(path: str, config: Mapping[str, Any], tensors: Mapping[str, TensorInfo]) -> None:
    parts = [config, *(part for key in _TEXT_CONFIGS if isinstance(part := config.get(key), dict))]
    told = next((part["quantization_config"] for part in parts if part.get("quantization_config")), None)
    kind = str(told.get("quant_method") or "an unnamed method") if isinstance(told, dict) else ""
    if not kind:
        if any(".quant_state." in name or name.endswith(".absmax") for name in tensors):
            kind = "bitsandbytes"
        elif any(name.endswith(".qweight") for name in tensors):
            kind = "GPTQ or AWQ"
        elif any(info.dtype.startswith("float8") for info in tensors.values()):
            kind = "float8"
    if kind:
        raise ModelError(
            f"{path}: its weights are quantised ({kind}), and rounded weights cannot be merged. "
            "Name the model in bfloat16, float16 or float32 that it was made from."
        )


def _json_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise ModelError(f"{path}: not a JSON object. {_COPY}")
    return value
