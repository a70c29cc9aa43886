"""The plan of a merge: for every tensor of the output what is read, by which method, with which parameters.

All of it is made from headers and configs, before a number is read, and refuses what does not fit: names, shapes,
number formats, vocabularies. The streamed merge, the resident candidate of a search and the dry run work on the same
plan.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ikyoku.assembly.models import Matched, choose_into, match, open_models
from ikyoku.assembly.places import Place, places, source_layers
from ikyoku.assembly.vocabulary import Rows, Vocabulary, plan_vocabulary
from ikyoku.checkpoints import ITEM_BYTES, Checkpoint, TensorInfo
from ikyoku.errors import ModelError, SpecError, together
from ikyoku.merging.methods import faults as parameter_faults
from ikyoku.recipe import (
    check_recipe,
    method_of,
    models_of,
    notes,
    parent_parameters,
    shared_parameters,
)
from ikyoku.runs import Progress, silent
from ikyoku.specs.recipe import RecipeSpec

if TYPE_CHECKING:
    import torch

    from ikyoku.merging import Method

FLOATS = ("float32", "float16", "bfloat16")
"""Number formats that are merged."""
__all__ = [
    "Input",
    "MergePlan",
    "TensorPlan",
    "model_thresholds",
    "plan_merge",
    "read_inputs",
    "reparametrised",
    "unmerged_rows",
]

MOST_THREADS = 8
"""Tensors that are computed at a time, at most: each is held with those of all models."""


@dataclass(frozen=True, slots=True)
class Input:
    """A tensor of a model that is read: the model's place in the plan, and the tensor's name there."""

    parent: int
    name: str
    rows: Rows | None = None
    """How its rows are brought in the order of the output's tokens; None: they are."""


@dataclass(frozen=True, slots=True)
class TensorPlan:
    """How one tensor of the output is made."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    """Number format of the output, in torch's words."""
    method: Method | None
    """None: inputs[0] is copied."""
    base: Input | None
    inputs: tuple[Input, ...]
    """The parents beside the base, in the recipe's order."""
    shared: Mapping[str, float | bool | str]
    each: tuple[Mapping[str, float], ...]
    keys: tuple[int, ...]
    """Of each parent, for random masks."""

    @property
    def bytes(self) -> int:
        """The bytes of the output."""
        return math.prod(self.shape) * ITEM_BYTES[self.dtype]


@dataclass(frozen=True)
class MergePlan:
    """What a merge reads and writes, in the order in which it does."""

    recipe: RecipeSpec
    parents: tuple[Checkpoint, ...]
    into: int
    tensors: tuple[TensorPlan, ...]
    coverage: str
    notes: tuple[str, ...]
    matched: Matched = field(repr=False)
    vocabulary: Vocabulary = field(repr=False)
    seed: int = 0

    @property
    def bytes(self) -> int:
        """The bytes of the output's tensors."""
        return sum(tensor.bytes for tensor in self.tensors)

    @property
    def layers(self) -> int:
        """The layers of the output's language model, where slices make it another number than that of `into`."""
        return len(source_layers(self.recipe)) or self.parents[self.into].layers


def plan_merge(recipe: RecipeSpec, *, into: str | None = None, seed: int = 0) -> MergePlan:
    """Returns the plan of a recipe, after checking all that can be told without reading the weights.

    Args:
        recipe: the recipe.
        into: the model that the output is built on; by default the only vision-language model among the models, else
            the base, else the first.
        seed: of random masks.

    Raises:
        SpecError: the recipe itself is at fault.
        ModelError: a model cannot be read, or does not fit the others; all faults together.
    """
    check_recipe(recipe)
    references = dict.fromkeys((*models_of(recipe), *([into] if into else [])))
    models = open_models(references)
    target = choose_into(models, recipe.base_model, into)
    sliced = bool(recipe.slices) or any(module.slices for module in recipe.modules.values())
    matched = match(models, target, sliced=sliced)
    return _arranged(recipe, matched, plan_vocabulary(recipe, matched), seed)


def reparametrised(plan: MergePlan, recipe: RecipeSpec) -> MergePlan:
    """Returns the plan of another recipe for the same models: what a candidate of a search is. No file is read.

    Raises:
        SpecError: the recipe names other models, or takes other layers of them.
    """
    check_recipe(recipe)
    names = {model.name for model in plan.parents}
    if other := [name for name in models_of(recipe) if name not in names]:
        raise SpecError(f"recipe: {', '.join(other)}: not among the models that were read.")
    made = _arranged(recipe, plan.matched, plan.vocabulary, plan.seed)
    sources = [[(t.name, t.shape, t.dtype, t.base, t.inputs) for t in p.tensors] for p in (plan, made)]
    if sources[0] != sources[1]:
        raise SpecError("recipe: it takes other tensors of the models than those that were read.")
    return made


def read_inputs(plan: MergePlan, tensor: TensorPlan) -> tuple[torch.Tensor | None, list[torch.Tensor]]:
    """Returns the base's tensor, None where there is none, and the parents', each in its own number format.

    Tensors are mapped from their files: keep a copy (`clone`) of what shall stay.

    Raises:
        ModelError: a file cannot be read.
    """
    held: dict[tuple[int, str], torch.Tensor] = {}
    base = _read(plan, tensor.base, held) if tensor.base else None
    return base, [_read(plan, one, held) for one in tensor.inputs]


def unmerged_rows(plan: MergePlan, tensor: TensorPlan) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Returns which rows of a matrix with one row a token are not merged, and what stands in them: float32.

    None where all are merged. They are to be written over what the merge makes of them.
    """
    rows = tensor.inputs[0].rows
    if rows is None or tensor.method is None:
        return None
    index, values = rows.alone([_finite(model, name) for model, name in zip(plan.parents, rows.names, strict=True)])
    return (index, values) if len(index) else None


def model_thresholds(
    plan: MergePlan, *, device: str = "cpu", progress: Progress = silent
) -> tuple[tuple[float, ...], float] | None:
    """Returns what a method that trims the whole model at once must know of it; None for every other method.

    The models are read three times for it: twice to count magnitudes, once to count elected signs.

    Returns:
        The smallest magnitude kept of each parent, and the sign that most elements elect: 1, 0 or -1.

    Raises:
        ModelError: an input cannot be read, or holds values that are no finite numbers.
    """
    from ikyoku.merging.coefficients import ModelTrim, constants, election

    tensors = [tensor for tensor in plan.tensors if tensor.method and tensor.method.whole_model]
    if not tensors or (method := tensors[0].method) is None:
        return None
    trims = [ModelTrim(method, shared=tensors[0].shared, each=one) for one in tensors[0].each]
    done, total = 0, 3 * sum(tensor.bytes for tensor in tensors) // 10**6

    def read(tensor: TensorPlan) -> tuple[torch.Tensor, list[torch.Tensor]]:
        base, parents = read_inputs(plan, tensor)
        assert base is not None  # noqa: S101  # such a method has one
        return base.to(device), [parent.to(device) for parent in parents]

    def balance(tensor: TensorPlan) -> int:
        base, parents = read(tensor)
        known = constants(
            method,
            base,
            parents,
            shared=tensor.shared,
            each=tensor.each,
            keys=tensor.keys,
            thresholds=thresholds,
            majority=1.0,
        )
        return election(method, base, parents, known)

    with one_thread_each(device) as (pool, _):
        for again in (False, True):
            for tensor in tensors:
                base, parents = read(tensor)
                list(pool.map(lambda t, p, k, b=base: t.add(b, p, key=k), trims, parents, tensor.keys))
                progress("finding thresholds, MB", (done := done + tensor.bytes) // 10**6, total)
            for trim in trims if not again else ():
                trim.refine()
        thresholds = tuple(trim.threshold() for trim in trims)
        votes = 0
        for tensor, found in zip(tensors, pool.map(balance, tensors), strict=True):
            votes += found
            progress("finding thresholds, MB", (done := done + tensor.bytes) // 10**6, total)
    return thresholds, float((votes > 0) - (votes < 0))


@contextmanager
def one_thread_each(device: str) -> Iterator[tuple[ThreadPoolExecutor, int]]:
    """Yields a pool of threads and their number: as many as torch has, each with one of its own; one on a GPU."""
    import torch

    threads = torch.get_num_threads()
    count = min(threads, MOST_THREADS) if device == "cpu" else 1
    try:
        with ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(threads // count,)) as pool:
            yield pool, count
    finally:
        torch.set_num_threads(threads)


def _one_trim(tensors: Iterable[TensorPlan]) -> Iterator[str]:
    """Refuses parameters that differ between tensors where one threshold is sought over all of them."""
    trimmed = [tensor for tensor in tensors if tensor.method and tensor.method.whole_model]
    for tensor in trimmed[1:]:
        first = trimmed[0]
        shared = [
            name for name in ("drop", "shared_masks", "bisection", "half") if tensor.shared[name] != first.shared[name]
        ]
        densities = [one["density"] for one in tensor.each] != [one["density"] for one in first.each]
        if shared or densities:
            yield (
                f"{tensor.name}: another {', '.join([*shared, *['density'] * densities])} than {first.name}. "
                "jradievo trims the whole model at once: give these once, without layers or filters."
            )
            return


def _read(plan: MergePlan, one: Input, held: dict[tuple[int, str], torch.Tensor]) -> torch.Tensor:
    """One input; where rows are aligned, every model's matrix is read for it, and kept in `held` for the next."""
    if one.rows is None:
        return _finite(plan.parents[one.parent], one.name)
    for place in enumerate(one.rows.names):
        if place not in held:
            held[place] = _finite(plan.parents[place[0]], place[1])
    return one.rows.of([held[place] for place in enumerate(one.rows.names)], one.parent)


def _finite(model: Checkpoint, name: str) -> torch.Tensor:
    """A tensor as it is in a model, after its numbers were looked at: one that is none would spread."""
    tensor = model.read(name)
    if tensor.is_floating_point() and tensor.numel():
        low, high = tensor.aminmax()  # NaN where one is; ten times as fast as isfinite
        if not (low.isfinite() and high.isfinite()):
            count = int((~tensor.isfinite()).sum())
            raise ModelError(
                f"{model.name}: {name} holds {count:,} of {tensor.numel():,} values that are no finite numbers (NaN or "
                "infinity). The model is damaged or its training diverged; merge it without them."
            )
    return tensor


def _arranged(recipe: RecipeSpec, matched: Matched, vocabulary: Vocabulary, seed: int) -> MergePlan:
    """The plan of a recipe for models that were matched."""
    method = method_of(recipe)
    faults: list[str] = []
    tensors = [
        tensor
        for place in places(recipe, matched)
        if (tensor := _planned(place, (recipe, method, seed), matched, vocabulary, faults)) is not None
    ]
    faults += _one_trim(tensors)
    if faults:
        raise ModelError(together(dict.fromkeys(faults)))
    merged = sum(tensor.method is not None for tensor in tensors)
    if not merged:
        into = matched.models[matched.into].name
        raise ModelError(f"the recipe merges no tensor of {into}: none of its models but {into} has what it names.")
    coverage = f"{merged} of {len(tensors)} tensors merged by {method.name}"
    if merged < len(tensors):
        coverage += f", {len(tensors) - merged} kept from {matched.models[matched.into].name}"
    coverage += f". {matched.coverage}" if matched.coverage else ""
    coverage += f". {vocabulary.text}" if vocabulary.text else ""
    names = {name for t in tensors for name in (t.name, *(one.name for one in t.inputs))}
    told = notes(recipe, names)
    return MergePlan(recipe, matched.models, matched.into, tuple(tensors), coverage, told, matched, vocabulary, seed)


def _planned(
    place: Place,
    asked: tuple[RecipeSpec, Method, int],
    matched: Matched,
    vocabulary: Vocabulary,
    faults: list[str],
) -> TensorPlan | None:
    """How a tensor is made; None where it cannot be, with the reason in `faults`."""
    from ikyoku.merging import mask_key

    recipe, method, seed = asked
    rows = vocabulary.rows.get(place.name)
    base_name = ((place.piece.base_model if place.piece else None) or recipe.base_model) if method.needs_base else None
    wanted = {entry.model: name for entry, name in place.sources}
    if base_name and place.sources:  # first: the others are compared with it
        wanted = {base_name: wanted.get(base_name, place.sources[0][1])} | wanted
    inputs: dict[str, Input] = {}
    for model, name in wanted.items():
        index = matched.index(model)
        if own := matched.names[index].get(name):
            inputs[model] = Input(index, own, rows)
        elif place.piece:
            faults.append(f"{model}: no tensor {name}, of which {place.name} should be made.")
    if len(inputs) < len(wanted) or not wanted:
        return None if place.piece else _copied(place.name, recipe, matched, rows)
    infos = {model: matched.models[one.parent].tensors[one.name] for model, one in inputs.items()}
    first_model, first = next(iter(infos.items()))
    skip = 1 if rows else 0
    unlike = [model for model, info in infos.items() if info.shape[skip:] != first.shape[skip:]]
    faults += [
        f"{model}: {inputs[model].name} is {_shape(infos[model])} where {first_model} has {_shape(first)}."
        for model in unlike
    ]
    if any(info.dtype not in FLOATS for info in infos.values()):
        faults += _unequal(place.name, inputs, infos, matched)
        return _copied(place.name, recipe, matched, rows)
    entries = [entry for entry, _ in place.sources if entry.model != base_name]
    there = matched.models[matched.into].tensors.get(place.name)
    shared = shared_parameters(recipe, place.piece, place.module, place.name, place.t, method)
    each = tuple(
        parent_parameters(recipe, place.piece, place.module, entry, inputs[entry.model].name, place.t, method)
        for entry in entries
    )
    faults += parameter_faults(method, shared, each)
    return TensorPlan(
        name=place.name,
        shape=(rows.alignment.size, *first.shape[1:]) if rows else first.shape,
        dtype=recipe.out_dtype or recipe.dtype or (first if base_name else there or first).dtype,
        method=method,
        base=inputs[base_name] if base_name else None,
        inputs=tuple(inputs[entry.model] for entry in entries),
        shared=shared,
        each=each,
        keys=tuple(mask_key(seed, place.name, number) for number in range(len(entries))),
    )


def _copied(name: str, recipe: RecipeSpec, matched: Matched, rows: Rows | None) -> TensorPlan:
    """A tensor that is taken from `into` as it is; numbers of its kind have the output's format."""
    info = matched.models[matched.into].tensors[name]
    dtype = (recipe.out_dtype or recipe.dtype or info.dtype) if info.dtype in FLOATS else info.dtype
    shape = (rows.alignment.size, *info.shape[1:]) if rows else info.shape
    return TensorPlan(name, shape, dtype, None, None, (Input(matched.into, name, rows),), {}, (), ())


def _unequal(
    name: str, inputs: Mapping[str, Input], infos: Mapping[str, TensorInfo], matched: Matched
) -> Iterator[str]:
    """Refuses whole numbers that are not the same in all models: they count or index something, and have no mean."""
    import torch

    read = {model: matched.models[one.parent].read(one.name) for model, one in inputs.items()}
    (first, wanted), *others = read.items()
    for model, found in others:
        if found.dtype != wanted.dtype or not torch.equal(found, wanted):
            yield (
                f"{model}: {name} holds {infos[model].dtype} that differ from those of {first} ({infos[first].dtype}). "
                "Only float32, float16 and bfloat16 are merged."
            )


def _shape(info: TensorInfo) -> str:
    return " x ".join(map(str, info.shape)) or "a number"
