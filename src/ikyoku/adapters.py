"""LoRA adapter folders, as PEFT writes them: read and checked; a base with an adapter in it; written.

    read_adapter(path)            the adapter: its base, its modules, and each module's factors, read when asked for
    is_adapter(path)              whether a recipe's model is an adapter folder and no model
    adapted(checkpoint, path)     the checkpoint with the adapter merged into it, tensor by tensor as they are read
    adapter_files(...)            the files of an adapter folder that PEFT loads

The merge of adapters with one another is in `assembly.adapters`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ikyoku.checkpoints import Checkpoint, TensorInfo, mapped, model_folder, read_header
from ikyoku.errors import ModelError, together
from ikyoku.merging.mapping import normal

if TYPE_CHECKING:
    import torch

    from ikyoku.merging.low_rank import LowRank

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."
_FACTOR = re.compile(r"^base_model\.model\.(?P<module>.+)\.lora_(?P<factor>[AB])\.(?:default\.)?weight$")
_REFUSED: Mapping[str, str] = MappingProxyType(
    {
        "use_dora": "DoRA also scales every row of the merged weight, so its update is not of low rank",
        "modules_to_save": "it brings whole modules of its own, which are no low-rank update",
        "trainable_token_indices": "it brings rows of the embeddings of its own",
        "lora_bias": "its B has a bias of its own",
        "use_qalora": "QA-LoRA pools its inputs in groups",
        "use_bdlora": "its factors are block-diagonal",
        "alora_invocation_tokens": "an activated LoRA works on some tokens of the text only",
        "arrow_config": "it is a router over other adapters",
        "kasa_config": "it changes the base's weights beside its update",
        "monteclora_config": "its update is drawn at random",
        "velora_config": "it is of an experimental kind",
        "layer_replication": "it repeats layers of the base",
        "target_parameters": "it adapts parameters that are no weights of linear modules",
    }
)
"""Settings of PEFT's LoRA with which a module's update is not scale * B @ A alone, and why."""


@dataclass(frozen=True, slots=True)
class Module:
    """One adapted module: where its factors lie, the scale of their product, and how the base keeps the weight."""

    a: TensorInfo
    b: TensorInfo
    scale: float
    transposed: bool

    @property
    def rank(self) -> int:
        """Rows of A."""
        return self.a.shape[0]

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in) of the update."""
        return self.b.shape[0], self.a.shape[1]


@dataclass(frozen=True)
class Adapter:
    """An adapter folder whose config and headers were read and found right. Use `read_adapter`."""

    name: str
    """How the recipe or the user calls it."""
    folder: Path
    base: str
    """The base by adapter_config.json; empty where it does not tell."""
    config: dict[str, Any] = field(repr=False)
    modules: Mapping[str, Module] = field(repr=False)
    """By the module's name in the base, sorted by it."""

    def read(self, module: str) -> LowRank | None:
        """Returns a module's update, None where the adapter has none."""
        from ikyoku.merging.low_rank import low_rank

        if (found := self.modules.get(module)) is None:
            return None
        return low_rank(mapped(found.a), mapped(found.b), found.scale)


def is_adapter(path: str) -> bool:
    """Returns whether a recipe's model is an adapter folder and no model folder."""
    try:
        folder = model_folder(path)
    except ModelError:
        return False
    return (folder / CONFIG).is_file() and not (folder / "config.json").is_file()


def read_adapter(path: str) -> Adapter:
    """Returns the adapter in a folder, or of a hub id that the local cache holds; only headers are read.

    Raises:
        ModelError: no adapter; of another kind than LoRA on linear modules, named with the reason; factors that are
            missing, left over, or not of the rank that the config tells. All faults together.
    """
    folder = model_folder(path)
    if not (folder / CONFIG).is_file():
        raise ModelError(f"{path}: no {CONFIG}, so this is no adapter folder.")
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError
    except ValueError:
        raise ModelError(f"{folder / CONFIG}: not a JSON object. Copy the adapter again.") from None
    if not (folder / WEIGHTS).is_file() and (folder / "adapter_model.bin").is_file():
        raise ModelError(
            f"{path}: adapter_model.bin is a pickle and is not read: where you trust its source, load it once with "
            "PEFT and write it with save_pretrained."
        )
    if faults := _kind_faults(config):
        raise ModelError(together(f"{path}: {fault}" for fault in faults))
    tensors = read_header(folder / WEIGHTS)
    modules, faults = _modules(config, tensors)
    if faults:
        raise ModelError(together(f"{path}: {fault}" for fault in faults))
    return Adapter(path, folder, str(config.get("base_model_name_or_path") or ""), config, MappingProxyType(modules))


def adapted(model: Checkpoint, path: str) -> AdaptedCheckpoint:
    """Returns a checkpoint with an adapter merged into it: its tensors are merged when they are read.

    The sum W + scale * B @ A is formed in float32 and rounded once to the number format of the base's tensor.

    Raises:
        ModelError: what `read_adapter` refuses; a module that the base does not have, or has in another shape.
    """
    adapter = read_adapter(path)
    places, faults = places_in(adapter, {name: info.shape for name, info in model.tensors.items()})
    if faults:
        raise ModelError(
            f"{path}: does not fit the base {model.name}:\n{together(faults)}\n"
            "Name the base that the adapter was trained on; its adapter_config.json tells it."
        )
    return AdaptedCheckpoint(model.name, model.folder, model.tensors, model.config, adapter, places)


def places_in(adapter: Adapter, shapes: Mapping[str, tuple[int, ...]]) -> tuple[dict[str, str], list[str]]:
    """Returns the adapter's module for each of a base's tensors that it changes, and what does not fit.

    Args:
        adapter: the adapter; its names are those of the model in memory.
        shapes: of the base's tensors, by their names on disk.
    """
    forms = {normal(name): name for name in shapes}
    places, faults = {}, []
    for module, found in adapter.modules.items():
        name = f"{module}.weight"
        there = name if name in shapes else forms.get(normal(name))
        wanted = found.shape[::-1] if found.transposed else found.shape
        if there is None:
            faults.append(f"{name}: no such tensor in the base")
        elif shapes[there] != wanted:
            faults.append(f"{there} is {_shape(shapes[there])} in the base and {_shape(wanted)} in the adapter")
        else:
            places[there] = module
    return places, faults


def adapter_files(config: Mapping[str, Any], updates: Mapping[str, LowRank], *, dtype: torch.dtype) -> dict[str, bytes]:
    """Returns the files of an adapter folder that PEFT loads: what they hold, by name.

    Args:
        config: of the adapters that it was made from: task, base, and what else holds for the new one too.
        updates: by module; their scales are in the factors, so that alpha is the rank.
        dtype: number format of the factors.

    Raises:
        ModelError: a factor is beyond what the number format can hold.
    """
    from safetensors.torch import save

    tensors = {}
    for module, update in updates.items():
        tensors[f"{_PREFIX}{module}.lora_A.weight"] = update.a.to(dtype).cpu().contiguous()
        tensors[f"{_PREFIX}{module}.lora_B.weight"] = update.b.to(dtype).cpu().contiguous()
    if beyond := [name for name, tensor in tensors.items() if not tensor.isfinite().all()]:
        kind = str(dtype).removeprefix("torch.")
        raise ModelError(
            f"{beyond[0]}: merged values are beyond what {kind} can hold. Write dtype: bfloat16 or float32 in the "
            "recipe, or smaller weights."
        )
    text = json.dumps(_written_config(config, updates), indent=2, ensure_ascii=False) + "\n"
    return {WEIGHTS: save(tensors, metadata={"format": "pt"}), CONFIG: text.encode()}


@dataclass(frozen=True)
class AdaptedCheckpoint(Checkpoint):
    """A checkpoint whose tensors have an adapter merged into them. Use `adapted`."""

    adapter: Adapter
    places: Mapping[str, str] = field(repr=False)
    """Module of the adapter by name of the tensor that it changes."""

    def read(self, name: str) -> torch.Tensor:
        """Returns a tensor in the base's number format, with the adapter's update in it."""
        from ikyoku.merging.low_rank import merged

        weight = super().read(name)
        if (module := self.places.get(name)) is None:
            return weight
        found = self.adapter.modules[module]
        update = merged(weight, mapped(found.a), mapped(found.b), found.scale, transposed=found.transposed)
        return update.to(weight.dtype)


def _kind_faults(config: Mapping[str, Any]) -> list[str]:
    """Why an adapter is not of the one kind that is merged."""
    kind = config.get("peft_type")
    if kind != "LORA":
        return [f"a PEFT adapter of the type {kind or 'unknown'}; only LoRA is merged"]
    faults = [f"{key}: {reason}; only plain LoRA is merged" for key, reason in _REFUSED.items() if config.get(key)]
    if config.get("bias", "none") != "none":
        faults.append(f"bias: {config['bias']}: it brings biases of the base of its own; only plain LoRA is merged")
    return faults


def _modules(config: Mapping[str, Any], tensors: Mapping[str, TensorInfo]) -> tuple[dict[str, Module], list[str]]:
    found: dict[str, dict[str, TensorInfo]] = {}
    faults = []
    for name, info in tensors.items():
        if (match := _FACTOR.match(name)) and len(info.shape) == 2:
            found.setdefault(match["module"], {})[match["factor"]] = info
        elif "lora_embedding" in name:
            faults.append(f"{name}: LoRA on embeddings is not merged, only on linear modules")
        elif "lora_" in name:
            faults.append(f"{name}: no factor of a linear module, which are lora_A.weight and lora_B.weight, matrices")
        else:
            faults.append(
                f"{name}: a whole tensor of the base, as PEFT keeps it where the vocabulary grew; only LoRA is merged. "
                "Merge it into its base with PEFT, and name the merged model."
            )
    modules = {}
    for module, factors in sorted(found.items(), key=lambda item: _natural(item[0])):
        if missing := sorted({"A", "B"} - factors.keys()):
            faults.append(f"{module}: no lora_{missing[0]}")
            continue
        try:
            rank = int(_setting(config, "rank_pattern", module, config.get("r", 0)))
            alpha = float(_setting(config, "alpha_pattern", module, config.get("lora_alpha", 0)))
        except (TypeError, ValueError, OverflowError, AttributeError, re.error) as error:
            faults.append(f"{module}: its rank and alpha cannot be read from {CONFIG}: {error}")
            continue
        if kinds := sorted({info.dtype for info in factors.values()} - {"float32", "float16", "bfloat16"}):
            faults.append(f"{module}: numbers as {' and '.join(kinds)}; allowed: float32, float16, bfloat16")
            continue
        if rank < 1 or not math.isfinite(alpha):
            faults.append(f"{module}: rank {rank} and alpha {alpha:g} in {CONFIG}; a rank is 1 or more")
            continue
        if factors["A"].shape[0] != rank or factors["B"].shape[1] != rank:
            shapes = f"{_shape(factors['A'].shape)} and {_shape(factors['B'].shape)}"
            faults.append(f"{module}: A and B are {shapes} where {CONFIG} tells rank {rank}")
            continue
        scale = alpha / math.sqrt(rank) if config.get("use_rslora") else alpha / rank
        modules[module] = Module(factors["A"], factors["B"], scale, bool(config.get("fan_in_fan_out")))
    if not found and not faults:
        faults.append("it has no factors: nothing was adapted")
    return modules, faults


def _setting(config: Mapping[str, Any], patterns: str, module: str, default: Any) -> Any:
    """PEFT's rule: the first pattern that is the end of the module's name, behind a dot, holds."""
    for pattern, value in (config.get(patterns) or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            return value
    return default


def _written_config(config: Mapping[str, Any], updates: Mapping[str, LowRank]) -> dict[str, Any]:
    ranks = [update.rank for update in updates.values()]
    usual = max(set(ranks), key=lambda rank: (ranks.count(rank), rank))
    other = {module: update.rank for module, update in updates.items() if update.rank != usual}
    kept = ("task_type", "auto_mapping", "base_model_name_or_path", "revision", "fan_in_fan_out")
    return {
        "peft_type": "LORA",
        **{key: config[key] for key in kept if config.get(key) is not None},
        "inference_mode": True,
        "r": usual,
        "lora_alpha": usual,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": sorted(updates, key=_natural),
        "rank_pattern": other,
        "alpha_pattern": other,
    }


def _natural(name: str) -> list[tuple[int, str]]:
    """Sorts layer 10 behind layer 9."""
    return [(int(word), "") if word.isdigit() else (-1, word) for word in name.split(".")]


def _shape(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes)) or "a number"
