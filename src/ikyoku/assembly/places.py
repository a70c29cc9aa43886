"""Every tensor of a merge's output and what it is merged of, as the recipe's models, slices and modules say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ikyoku.assembly.models import Matched, is_computed, layer_of, with_layer
from ikyoku.errors import SpecError, together
from ikyoku.merging.mapping import normal
from ikyoku.settings import position
from ikyoku.specs.recipe import ModuleSpec, ParentSpec, RecipeSpec, SliceSpec, SourceSpec

__all__ = ["Place", "places", "source_layers"]

_MODULES = {
    "text": "language",
    "language": "language",
    "default": "language",
    "vision": "vision tower",
    "projector": "projector",
}
"""Words in the names that recipes have for the parts of a model."""


@dataclass(frozen=True, slots=True)
class Place:
    """One tensor of the output: what it is merged of, before parameters."""

    name: str
    piece: SliceSpec | None
    module: ModuleSpec | None
    sources: tuple[tuple[ParentSpec, str], ...]
    """The models, and the name that the tensor has in `into`; none: the tensor is copied from there."""
    t: float


def source_layers(recipe: RecipeSpec) -> tuple[int, ...]:
    """Returns which layer of its first source each layer of the output is made of; () where whole models are merged."""
    pieces = [piece for part in _parts(recipe).values() for piece in part.slices]
    return tuple(layer for piece in pieces for layer in range(*piece.sources[0].layer_range))


def places(recipe: RecipeSpec, matched: Matched) -> Iterator[Place]:
    """Every tensor of the output, in the order in which `into` holds it."""
    target = matched.models[matched.into]
    parts = _parts(recipe)
    stacks: dict[str, int] = {}
    for name in target.tensors:
        if at := layer_of(name):
            stacks[at[0]] = max(stacks.get(at[0], 0), at[1] + 1)
    stacked: set[str] = set()
    for name in target.tensors:
        part, at = parts.get(normal(name)[0]), layer_of(name)
        if part is None or is_computed(name):
            yield Place(name, None, None, (), 0.0)
        elif part.slices and at:
            if at[0] not in stacked:  # with the first tensor of the first layer all layers
                stacked.add(at[0])
                yield from _stacked([n for n in target.tensors if (layer_of(n) or ("", 0))[0] == at[0]], part)
        elif part.slices:
            before = any(word in name for word in ("emb", "wte", "wpe")) and "embed_out" not in name
            piece = part.slices[0 if before else -1]
            yield Place(name, piece, _module(part), tuple((source, name) for source in piece.sources), 0.0)
        else:
            t = position(at[1], stacks[at[0]]) if at else 0.0
            yield Place(name, None, _module(part), tuple((entry, name) for entry in part.models), t)


def _stacked(names: Sequence[str], part: RecipeSpec | ModuleSpec) -> Iterator[Place]:
    """The tensors of all layers of an output that is made of slices."""
    kinds = dict.fromkeys(with_layer(name, 0) for name in names)
    layer = 0
    for piece in part.slices:
        count = _count(piece.sources[0])
        for step in range(count):
            for kind in kinds:
                sources = tuple((source, with_layer(kind, source.layer_range[0] + step)) for source in piece.sources)
                yield Place(with_layer(kind, layer), piece, _module(part), sources, position(step, count))
            layer += 1


def _module(part: RecipeSpec | ModuleSpec) -> ModuleSpec | None:
    return part if isinstance(part, ModuleSpec) else None


def _count(source: SourceSpec) -> int:
    return source.layer_range[1] - source.layer_range[0]


def _parts(recipe: RecipeSpec) -> dict[str, RecipeSpec | ModuleSpec]:
    """Which part of a model is merged by what: by the recipe, or each by its module; slices are of the language."""
    faults = []
    found: dict[str, RecipeSpec | ModuleSpec] = {}
    for name, module in recipe.modules.items():
        if part_of := next((part for word, part in _MODULES.items() if word in name), None):
            found[part_of] = module
        else:
            faults.append(
                f"modules.{name}: no such module. Allowed: text_decoder, vision_tower, multi_modal_projector."
            )
    if faults:
        raise SpecError(together(faults))
    if recipe.modules:
        return found
    return {"language": recipe} if recipe.slices else {"language": recipe, "vision tower": recipe, "projector": recipe}
