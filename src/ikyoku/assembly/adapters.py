"""LoRA adapters of one base merged with one another: megabytes in, megabytes out, the base is not read.

    if merges_adapters(recipe):                       # a model of the recipe is an adapter folder
        plan = plan_adapters(recipe, seed=spec.seed)  # all checks; plan.coverage, plan.notes, plan.bytes for a dry run
        done = merge_adapters(plan, out)              # writes the folder; done.loss() says what the rank cost

A recipe is the same as for models, with adapter folders in their place: `base_model` is the model that they were
trained on (no update at all), or one of the adapters where task vectors are to be differences to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from ikyoku.adapters import Adapter, Module, adapter_files, is_adapter, places_in, read_adapter
from ikyoku.assembly.models import layer_of
from ikyoku.checkpoints import ITEM_BYTES, open_checkpoint
from ikyoku.checkpoints.room import check_free, check_room
from ikyoku.checkpoints.writer import write_folder
from ikyoku.errors import ModelError, SpecError, together
from ikyoku.recipe import check_recipe, method_of, notes, parent_parameters, shared_parameters
from ikyoku.settings import position
from ikyoku.specs.recipe import ParentSpec, RecipeSpec

if TYPE_CHECKING:
    import torch

    from ikyoku.merging import Constants, Method
    from ikyoku.merging.low_rank import LowRank

Progress = Callable[[str, int, int], None]
"""Called with a module's name, the modules done and those in all."""


@dataclass(frozen=True, slots=True)
class ModulePlan:
    """How one module's update is made; `rank` is the most that it may have."""

    name: str
    shape: tuple[int, int]
    rank: int
    shared: Mapping[str, float | bool | str]
    each: tuple[Mapping[str, float], ...]
    keys: tuple[int, ...]


@dataclass(frozen=True)
class AdapterPlan:
    """What a merge of adapters reads and writes."""

    recipe: RecipeSpec
    method: Method
    base: Adapter | None
    """None: no update, the model that was adapted."""
    parents: tuple[Adapter, ...]
    base_model: str
    """The model that all were trained on."""
    modules: tuple[ModulePlan, ...]
    dtype: str
    coverage: str
    notes: tuple[str, ...]

    @property
    def bytes(self) -> int:
        """The most bytes that the factors take."""
        return sum(m.rank * sum(m.shape) for m in self.modules) * ITEM_BYTES[self.dtype]


@dataclass(frozen=True, slots=True)
class AdapterMerge:
    """What was written: the folder, its bytes, and each module's rank and share of its squared norm that was lost."""

    folder: Path
    bytes: int
    ranks: Mapping[str, int]
    lost: Mapping[str, float]

    @property
    def most_lost(self) -> float:
        """The largest share of any module."""
        return max(self.lost.values(), default=0.0)

    @property
    def mean_lost(self) -> float:
        """The mean share over the modules."""
        return sum(self.lost.values()) / max(1, len(self.lost))

    def loss(self) -> str:
        """Returns what the merged adapter cannot express, in one sentence for people."""
        ranks = sorted(set(self.ranks.values()))
        rank = f"rank {ranks[0]}" if len(ranks) == 1 else f"ranks {ranks[0]} to {ranks[-1]}"
        if self.most_lost < 1e-6:
            return f"{rank}; the merge is exact."
        worst = max(self.lost, key=lambda module: self.lost[module])
        return (
            f"{rank}; of the merged updates' squared norm {100 * self.mean_lost:.1f} % is lost by it on average, "
            f"{100 * self.most_lost:.1f} % at most ({worst}). Models merged as BASE+ADAPTER lose none of it."
        )


def merges_adapters(recipe: RecipeSpec) -> bool:
    """Returns whether any model of a recipe is an adapter folder, so that adapters are merged and not models."""
    return any("+" not in entry.model and is_adapter(entry.model) for entry in recipe.models)


def plan_adapters(recipe: RecipeSpec, *, seed: int = 0, rank: int | None = None) -> AdapterPlan:
    """Returns the plan of a merge of adapters, after checking all that can be told without the factors.

    Args:
        recipe: the recipe, with adapter folders as models.
        seed: of random masks.
        rank: most rank of each module; by default the sum of the parents' ranks, with which linear and
            task_arithmetic are exact. A merge that thins or elects needs more than any parent's rank: three updates
            of rank 16, merged by TIES and cut back to 16, lost two thirds of their squared norm where it was tried,
            and at 48 more than a quarter.

    Raises:
        SpecError: the recipe itself is at fault.
        ModelError: a folder that is no adapter or none that can be merged; adapters of different bases; modules of
            different shapes. All faults together.
    """
    check_recipe(recipe)
    if recipe.slices or recipe.modules:
        raise SpecError("adapters are merged whole: write them under models, not under slices or modules.")
    if rank is not None and rank < 1:
        raise SpecError(f"rank: {rank}; allowed: 1 or more.")
    method = method_of(recipe)
    base, entries, parents = _opened(recipe, method)
    adapters = [*([base] if base else []), *parents]
    base_model = _one_base(recipe, base, adapters)
    shapes = _shapes(adapters)
    layers, remarks = _layers(base_model, adapters, shapes)
    modules = tuple(
        _module(name, shape, layers, recipe, method, entries, seed, rank, [a.modules.get(name) for a in adapters])
        for name, shape in shapes.items()
    )
    held = {name: sum(name in a.modules for a in adapters) for name in shapes}
    coverage = f"{len(shapes)} modules of {base_model} merged by {method.name}"
    if partly := sum(count < len(adapters) for count in held.values()):
        coverage += f"; {partly} of them are not adapted by all, which counts as no update"
    if recipe.tokenizer or recipe.tokenizer_source or recipe.chat_template:
        remarks.append("tokenizer and chat_template have no effect: an adapter has none.")
    return AdapterPlan(
        recipe=recipe,
        method=method,
        base=base,
        parents=tuple(parents),
        base_model=base_model,
        modules=modules,
        dtype=recipe.out_dtype or recipe.dtype or _widest(adapters),
        coverage=coverage,
        notes=(*notes(recipe), *remarks),
    )


def merge_adapters(
    plan: AdapterPlan,
    out: Path,
    *,
    device: str = "cpu",
    progress: Progress | None = None,
    beside: Callable[[AdapterMerge, Mapping[str, bytes]], Mapping[str, bytes]] | None = None,
) -> AdapterMerge:
    """Merges adapters into a new folder that PEFT loads on the same base; it appears when it is whole.

    Args:
        plan: from `plan_adapters`.
        out: the folder, which must not be there yet.
        device: where the arithmetic runs, as torch calls it.
        progress: told after each module.
        beside: called with the merge and its files before any is written; returns what else the folder holds.

    Raises:
        RunError: the folder is there, or cannot be written.
        ModelError: a factor holds NaN or infinity, or the output cannot hold a merged value.
    """
    import torch

    from ikyoku.merging.low_rank import combined

    check_free(out)
    check_room(out, plan.bytes)
    thresholds, majority = _whole(plan, device) if plan.method.whole_model else (None, None)
    updates: dict[str, LowRank] = {}
    lost: dict[str, float] = {}
    for done, module in enumerate(plan.modules, 1):
        base, *parents = (_read(adapter, module.name, device) for adapter in (plan.base, *plan.parents))
        update = combined(
            plan.method,
            base,
            parents,
            shape=module.shape,
            shared=module.shared,
            each=module.each,
            keys=module.keys,
            rank=module.rank,
            thresholds=thresholds,
            majority=majority,
        )
        if update.rank:
            updates[module.name] = update
        lost[module.name] = update.lost
        if progress:
            progress(module.name, done, len(plan.modules))
    if not updates:
        raise ModelError("the merge leaves no update in any module: every weight of the recipe is 0.")
    files = adapter_files(_config(plan), updates, dtype=getattr(torch, plan.dtype))
    ranks = {name: update.rank for name, update in updates.items()}
    size = sum(map(len, files.values()))
    merged = AdapterMerge(out, size, MappingProxyType(ranks), MappingProxyType(lost))
    write_folder(out, files | dict(beside(merged, files)) if beside else files)
    return merged


def _opened(recipe: RecipeSpec, method: Method) -> tuple[Adapter | None, list[ParentSpec], list[Adapter]]:
    """The base if it is an adapter, and the parents beside it, with all faults of the folders together."""
    faults: list[str] = []

    def opened(path: str) -> Adapter | None:
        try:
            return read_adapter(path)
        except ModelError as error:
            faults.extend(str(error).splitlines())
            return None

    reference = recipe.base_model if method.needs_base else None
    base = opened(reference) if reference and is_adapter(reference) else None
    entries = [entry for entry in recipe.models if entry.model != reference]
    parents = []
    for entry in entries:
        if "+" in entry.model or not is_adapter(entry.model):
            faults.append(
                f"{entry.model}: no adapter folder, and adapters are merged with adapters alone. Write BASE+ADAPTER "
                "for each of the others to merge whole models."
            )
        elif found := opened(entry.model):
            parents.append(found)
    if faults:
        raise ModelError(together(faults))
    return base, entries, parents


def _one_base(recipe: RecipeSpec, base: Adapter | None, adapters: list[Adapter]) -> str:
    """The model that all adapters were trained on."""
    named = recipe.base_model if recipe.base_model and base is None else None
    wanted = named or adapters[0].base
    strangers = [a for a in adapters if not _same(a.base, wanted)]
    if strangers or not wanted:
        lines = [f"{a.name}: {a.base or 'its adapter_config.json names no base'}" for a in adapters]
        raise ModelError(
            f"the adapters are not of one base{f' ({named})' if named else ''}:\n{together(lines)}\n"
            "Updates of different models cannot be added. Where it is the same model in another place, write its "
            "path as base_model_name_or_path in adapter_config.json."
        )
    return wanted


def _same(one: str, other: str) -> bool:
    first, second = (Path(path).expanduser() for path in (one, other))
    return one == other or (bool(one and other) and first.exists() and second.exists() and first.samefile(second))


def _shapes(adapters: list[Adapter]) -> dict[str, tuple[int, int]]:
    """Every module and its shape, in the order of the first adapter that has it."""
    shapes: dict[str, tuple[int, int]] = {}
    faults = []
    for adapter in adapters:
        for name, module in adapter.modules.items():
            if shapes.setdefault(name, module.shape) != module.shape:
                faults.append(f"{adapter.name}: {name} is {module.shape} where {adapters[0].name} has {shapes[name]}")
    if len({bool(adapter.config.get("fan_in_fan_out")) for adapter in adapters}) > 1:
        faults.append("fan_in_fan_out is set in some adapters only")
    if faults:
        raise ModelError(f"the adapters do not fit one another:\n{together(faults)}")
    return shapes


def _layers(base_model: str, adapters: list[Adapter], shapes: Mapping[str, tuple[int, int]]) -> tuple[int, list[str]]:
    """The layers of the base, for gradients; its folder, if it is here, must have every module."""
    highest = max((at[1] + 1 for name in shapes if (at := layer_of(f"{name}.weight"))), default=0)
    if not Path(base_model).expanduser().is_dir():
        return highest, [f"the base {base_model} is not here: the adapters were compared with one another only."]
    base = open_checkpoint(base_model)
    known = {name: info.shape for name, info in base.tensors.items()}
    faults = [f"{a.name}: {fault}" for a in adapters for fault in places_in(a, known)[1]]
    if faults:
        raise ModelError(f"the adapters do not fit their base {base_model}:\n{together(faults)}")
    return base.layers or highest, []


def _module(
    name: str,
    shape: tuple[int, int],
    layers: int,
    recipe: RecipeSpec,
    method: Method,
    entries: list[ParentSpec],
    seed: int,
    rank: int | None,
    found: list[Module | None],
) -> ModulePlan:
    from ikyoku.merging import mask_key

    tensor = f"{name}.weight"
    at = layer_of(tensor)
    t = position(at[1], layers) if at else 0.0
    total = sum(module.rank for module in found if module is not None)
    return ModulePlan(
        name=name,
        shape=shape,
        rank=min(rank or total, *shape),
        shared=shared_parameters(recipe, None, None, tensor, t, method),
        each=tuple(parent_parameters(recipe, None, None, entry, tensor, t, method) for entry in entries),
        keys=tuple(mask_key(seed, tensor, number) for number in range(len(entries))),
    )


def _read(adapter: Adapter | None, module: str, device: str) -> LowRank | None:
    from ikyoku.merging.low_rank import LowRank

    if adapter is None or (update := adapter.read(module)) is None:
        return None
    if not (update.a.isfinite().all() and update.b.isfinite().all()):
        raise ModelError(f"{adapter.name}: {module} holds NaN or infinity. Train it again, or leave it out.")
    return LowRank(update.a.to(device), update.b.to(device))


def _config(plan: AdapterPlan) -> dict[str, object]:
    return {**plan.parents[0].config, "base_model_name_or_path": plan.base_model}


def _widest(adapters: list[Adapter]) -> str:
    """The number format of most bytes that any factor has; float32 where bfloat16 and float16 meet."""
    kinds = {info.dtype for a in adapters for module in a.modules.values() for info in (module.a, module.b)}
    return next(iter(kinds)) if len(kinds) == 1 else "float32"


def _whole(plan: AdapterPlan, device: str) -> tuple[list[float], float]:
    """What a method that looks at the whole model at once must know, here of all adapted modules together.

    The magnitudes are counted in two passes over the updates, and the majority's sign is elected in a third.
    """
    from ikyoku.merging import MagnitudeCounter, elected
    from ikyoku.merging.jradievo import trim_rank, trim_threshold
    from ikyoku.merging.task_arithmetic import thinned

    first = plan.modules[0]
    if any(
        m.shared != first.shared or [e["density"] for e in m.each] != [e["density"] for e in first.each]
        for m in plan.modules
    ):
        raise SpecError(
            f"{plan.method.name} trims the whole model at once: give density and the shared parameters one value each."
        )
    if first.shared.get("half"):
        raise SpecError("half: reproduces the released code on models; adapters are merged in float32. Leave it out.")
    counters = [MagnitudeCounter() for _ in plan.parents]
    known = [0.0] * len(counters)
    for last in (False, True):
        for module in plan.modules:
            base, parents, numbers = _dense(plan, module, known, device)
            for counter, vector in zip(counters, thinned(plan.method, base, parents, numbers, trim=False), strict=True):
                counter.add(vector)
        for counter, one in zip(counters, () if last else first.each, strict=not last):
            counter.refine_rank(trim_rank(counter.n, one["density"], first.shared))
    known = [trim_threshold(counter.threshold(), first.shared) for counter in counters]
    more = 0
    for module in plan.modules:
        base, parents, numbers = _dense(plan, module, known, device)
        more += int(elected(plan.method, base, parents, numbers))
    return known, float((more > 0) - (more < 0))


def _dense(
    plan: AdapterPlan, module: ModulePlan, thresholds: list[float], device: str
) -> tuple[torch.Tensor, list[torch.Tensor], Constants]:
    """The base's and the parents' full updates of a module, flat, and what a merge of them must know."""
    from ikyoku.merging import constants
    from ikyoku.merging.low_rank import dense

    base, *parents = (
        dense(_read(adapter, module.name, device), module.shape, device).flatten()
        for adapter in (plan.base, *plan.parents)
    )
    numbers = constants(
        plan.method,
        base,
        parents,
        shared=module.shared,
        each=module.each,
        keys=module.keys,
        thresholds=thresholds,
        majority=1.0,
    )
    return base, parents, numbers
