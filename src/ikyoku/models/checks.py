"""What is refused of model and adapter folders: before they are loaded, and after it where only the load can tell."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from ikyoku.errors import ModelError

WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
ADAPTER_WEIGHTS = "adapter_model.safetensors"
CONVERT = (
    "convert it to safetensors: where you trust its source, load it once with transformers' "
    "AutoModelForCausalLM.from_pretrained and write it to a folder with save_pretrained, the tokenizer too."
)


def check_folder(path: str) -> None:
    """Refuses a folder that is no complete model before anything is loaded from it.

    Raises:
        ModelError: with what is missing. A path that is no folder is taken as a hub id, where it can be one.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        if folder.is_file() or path.startswith((".", "/", "~")) or path.count("/") > 1:
            raise ModelError(f"{path}: no such model folder. Give a folder in Hugging Face's layout, or a hub id.")
        return
    if not (folder / "config.json").is_file():
        hint = " It holds an adapter: name it as `adapter`." if (folder / "adapter_config.json").is_file() else ""
        raise ModelError(f"{path}: no config.json, so this is no model folder.{hint}")
    found = [name for name in WEIGHTS if (folder / name).is_file()]
    if not found:
        raise ModelError(
            f"{path}: no weights. Wanted model.safetensors, or shards with model.safetensors.index.json; "
            f"{_what_is_there(folder)}"
        )
    _check_shards(folder, found[0])


def check_adapter(path: str) -> None:
    """Refuses a folder that is no complete PEFT adapter.

    Raises:
        ModelError: with what is missing.
    """
    folder = Path(path).expanduser()
    if not (folder / "adapter_config.json").is_file():
        raise ModelError(f"{path}: no adapter_config.json, so this is no adapter folder.")
    check_safetensors(folder / ADAPTER_WEIGHTS)


def check_safetensors(path: Path) -> None:
    """Refuses a safetensors file that is missing, cut short or no safetensors file.

    Raises:
        ModelError: with the sizes found and wanted.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise ModelError(f"{path}: missing. The model is incomplete; copy it again.")
    try:
        with safe_open(str(path), framework="np"):
            pass
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"{path}: not a whole safetensors file ({path.stat().st_size} bytes; {error}). Copy it again."
        ) from None


def has_tower(config: Mapping[str, Any]) -> bool:
    """Returns whether a model of this config.json takes pictures.

    >>> has_tower({"model_type": "llava", "vision_config": {}}), has_tower({"model_type": "llama"})
    (True, False)
    """
    return any(config.get(key) is not None for key in ("vision_config", "vq_config", "mm_vision_tower"))


def check_loaded(path: str, info: Mapping[str, Any]) -> None:
    """Refuses a model of which some tensors did not come from its weights: transformers fills them with random values.

    Args:
        path: the model's folder or hub id.
        info: transformers' loading info; tied tensors are not missing in it.

    Raises:
        ModelError: naming the first tensors that are missing or of another shape.

    >>> check_loaded("m", {"missing_keys": set(), "mismatched_keys": set()})
    """
    faults = [f"no {key}" for key in sorted(info["missing_keys"])]
    faults += [
        f"{key} is {_shape(found)} where config.json wants {_shape(wanted)}"
        for key, found, wanted in sorted(info["mismatched_keys"])
    ]
    if faults:
        raise ModelError(
            f"{path}: the weights are not those of its config.json: {_first(faults)}. "
            "Copy the model again, its config.json and every shard."
        )


def check_fit(adapter: str, base: str, wanted: Mapping[str, Sequence[int]], known: Collection[str]) -> None:
    """Refuses an adapter whose tensors are not exactly those that it has on this base.

    Args:
        adapter: the adapter's folder.
        base: the base it was put on, for the message.
        wanted: shapes by key of the adapter on this base.
        known: keys of the whole model; an adapter may hold some of the base's own tensors, such as embeddings.

    Raises:
        ModelError: naming the first tensors that are missing, left over or of another shape.
    """
    from safetensors import safe_open

    with safe_open(str(Path(adapter).expanduser() / ADAPTER_WEIGHTS), framework="np") as file:
        found = {key: file.get_slice(key).get_shape() for key in file.keys()}  # noqa: SIM118  # no mapping
    faults = [f"no {key}" for key in sorted(wanted.keys() - found.keys())]
    faults += [f"{key} has no place in the base" for key in sorted(found.keys() - wanted.keys()) if key not in known]
    faults += [
        f"{key} is {_shape(found[key])} where the base wants {_shape(wanted[key])}"
        for key in sorted(found.keys() & wanted.keys())
        if list(found[key]) != list(wanted[key])
    ]
    if faults:
        raise ModelError(
            f"{adapter}: does not fit the base {base}: {_first(faults)}. "
            "Name the base that the adapter was trained on; its adapter_config.json tells it."
        )


def tensor_names(path: Path) -> list[str]:
    """Returns the names of the tensors in a safetensors file; only its header is read."""
    from safetensors import safe_open

    with safe_open(str(path), framework="np") as file:
        return list(file.keys())


def _check_shards(folder: Path, name: str) -> None:
    """Checks that every shard is there and as long as its header says: a broken copy is found before the load."""
    names = [name]
    if name.endswith(".json"):
        try:
            index = json.loads((folder / name).read_text(encoding="utf-8"))
            names = sorted(set(index["weight_map"].values()))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ModelError(f"{folder / name}: no index of shards. Copy the model again.") from None
    for shard in names:
        check_safetensors(folder / shard)


def _what_is_there(folder: Path) -> str:
    names = sorted(p.name for p in folder.iterdir())
    other = [n for n in names if n.endswith((".bin", ".pt", ".pth"))]
    if other:
        return f"{', '.join(other[:3])} is a pickle and is not loaded: {CONVERT}"
    return f"the folder holds {', '.join(names[:6])}."


def _first(faults: Sequence[str]) -> str:
    return "; ".join(faults[:3]) + (f"; and {len(faults) - 3} more" if len(faults) > 3 else "")


def _shape(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes)) or "a number"
