"""The models that a merge reads: opened and checked, and whose tensor stands where in the output.

One of them, `into`, is what the output is built on: its names, its config, and the tensors that no other model has. A
model with other names (a language model beside a vision-language model) is mapped onto it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from ikyoku.adapters import adapted
from ikyoku.checkpoints import Checkpoint, open_checkpoint
from ikyoku.errors import ModelError, SpecError, together
from ikyoku.merging.mapping import map_names, normal
from ikyoku.recipe import model_reference

__all__ = ["Matched", "is_vision_language", "layer_of", "match", "open_models", "with_layer"]

_LAYER = re.compile(r"^(.*?\b(?:layers|h|blocks|block|layer)\.)(\d+)(\..+)$")
_COMPUTED = re.compile(r"(^|\.)(rotary_emb\.inv_freq|original_inv_freq|position_ids|masked_bias)$")
"""Buffers that some files hold and every model computes by itself."""


@dataclass(frozen=True, slots=True)
class Matched:
    """What does not depend on the recipe's numbers: the models, and whose tensor stands where."""

    models: tuple[Checkpoint, ...]
    """The bases first, then the others in the recipe's order, then `into` where it is none of them."""
    into: int
    """Which of them the output is built on."""
    names: tuple[Mapping[str, str], ...]
    """Of each model: its tensor by the name that it has in `into`."""
    coverage: str
    """What is merged and what is kept, for people."""

    def index(self, reference: str) -> int:
        """Returns the place of a model among the models, by its name in the recipe."""
        return next(i for i, model in enumerate(self.models) if model.name == reference)


def open_models(references: Iterable[str]) -> tuple[Checkpoint, ...]:
    """Returns the checkpoints of models as a recipe names them; `BASE+ADAPTER` is a base with an adapter in it.

    Raises:
        ModelError: with the faults of all models together.
    """
    found, faults = [], []
    for reference in references:
        path, adapter = model_reference(reference)
        try:
            model = open_checkpoint(path, name=reference)
            if adapter:
                model = adapted(model, adapter)
            found.append(model)
        except ModelError as error:
            faults += str(error).splitlines()
    if faults:
        raise ModelError(together(dict.fromkeys(faults)))
    return tuple(found)


def is_vision_language(model: Checkpoint) -> bool:
    """Returns whether a model has tensors of a vision tower or a projector."""
    return any(normal(name)[0] != "language" for name in model.tensors)


def layer_of(name: str) -> tuple[str, int] | None:
    """Returns the stack of layers that a tensor is in and its layer there; None for one outside all layers.

    >>> layer_of("model.layers.12.mlp.up_proj.weight"), layer_of("model.norm.weight")
    (('model.layers.', 12), None)
    """
    found = _LAYER.match(name)
    return (found[1], int(found[2])) if found else None


def with_layer(name: str, layer: int) -> str:
    """Returns the name of the same tensor in another layer.

    >>> with_layer("model.layers.12.mlp.up_proj.weight", 3)
    'model.layers.3.mlp.up_proj.weight'
    """
    return _LAYER.sub(rf"\g<1>{layer}\g<3>", name)


def choose_into(models: Sequence[Checkpoint], base: str | None, into: str | None) -> int:
    """Returns the place of the model that the output is built on.

    That is the one that is asked for, else the only vision-language model, else the base, else the first.

    Raises:
        SpecError: several vision-language models with different names, and none is asked for.
    """
    names = [model.name for model in models]
    if into:
        return names.index(into)
    seeing = [i for i, model in enumerate(models) if is_vision_language(model)]
    if len({frozenset(models[i].tensors) for i in seeing}) > 1:
        raise SpecError(
            f"into: {', '.join(names[i] for i in seeing)} are vision-language models of different kinds. "
            "Say with into (--into MODEL) which of them the output is built on."
        )
    if seeing and not (base and names.index(base) in seeing):
        return seeing[0]
    return names.index(base) if base else 0


def match(models: Sequence[Checkpoint], into: int, *, sliced: bool) -> Matched:
    """Returns whose tensor stands where.

    Args:
        models: the opened models.
        into: which of them the output is built on.
        sliced: the recipe takes layers out of models, so that their number may differ.

    Raises:
        ModelError: every tensor that has no partner, of all models together.
    """
    target = models[into]
    names: list[Mapping[str, str]] = []
    faults: list[str] = []
    coverage: list[str] = []
    for model in models:
        if _kinds(model, sliced) == _kinds(target, sliced):
            names.append(MappingProxyType({name: name for name in model.tensors}))
            continue
        if is_vision_language(target):
            try:
                mapped = map_names(_shapes(model), _shapes(target), model_type=target.config.get("model_type"))
            except ModelError as error:
                faults.append(f"{model.name}: {error}")
                continue
            names.append(MappingProxyType({there: here for here, there in mapped.pairs.items()} | dict(mapped.tied)))
            coverage.append(f"{model.name}: {mapped.coverage()}")
            continue
        found, gaps = _plain(model, target)
        names.append(MappingProxyType(found))
        faults += gaps
    if faults:
        raise ModelError(together(faults))
    return Matched(tuple(models), into, tuple(names), "; ".join(coverage))


def is_computed(name: str) -> bool:
    """Returns whether a tensor is a buffer that every model computes by itself."""
    return bool(_COMPUTED.search(name))


def _kinds(model: Checkpoint, sliced: bool) -> frozenset[str]:
    """A model's names without computed buffers, and where layers are taken out of it, without the layers' numbers."""
    names = (name for name in model.tensors if not is_computed(name))
    return frozenset(with_layer(name, 0) if sliced else name for name in names)


def _shapes(model: Checkpoint) -> dict[str, tuple[int, ...]]:
    return {name: info.shape for name, info in model.tensors.items()}


def _plain(model: Checkpoint, target: Checkpoint) -> tuple[dict[str, str], list[str]]:
    """The names of a language model beside another one, and what is missing; a tied head stands for its embeddings."""
    found = {name: name for name in model.tensors if name in target.tensors}
    faults: list[str] = []
    missing = [name for name in target.tensors if name not in model.tensors and not is_computed(name)]
    over = [name for name in model.tensors if name not in target.tensors and not is_computed(name)]
    embeddings = next((name for name in model.tensors if name.endswith("embed_tokens.weight")), None)
    if embeddings and model.ties_embeddings:
        found |= {name: embeddings for name in missing if name.endswith("lm_head.weight")}
        over = [name for name in over if not name.endswith("lm_head.weight")]
    missing = [name for name in missing if name not in found]
    kinds = [str(m.config.get("model_type")) for m in (model, target)]
    if len(missing) > len(target.tensors) / 2 or kinds[0] != kinds[1]:
        layers = f"{model.layers} and {target.layers} layers" if kinds[0] == kinds[1] else " and ".join(kinds)
        first = (missing or over)[:1]
        return found, [
            f"{model.name}: not of the architecture of {target.name} ({layers}); it has no {first[0]}."
            if missing
            else f"{model.name}: not of the architecture of {target.name} ({layers})."
        ]
    faults += [f"{model.name}: no tensor {name}, which {target.name} has." for name in missing]
    if over and all(name.endswith("lm_head.weight") for name in over):
        faults.append(
            f"{model.name}: {over[0]} has no place in {target.name}, whose output head is its embeddings. "
            f"Name {model.name} as into (--into), so that the output has a head."
        )
    else:
        faults += [f"{model.name}: {name} has no place in {target.name}." for name in over]
    return found, faults


def counted(names: Iterable[str]) -> str:
    """Returns how many tensors of which part of the model: "291 of the language model, 24 of the vision tower"."""
    counts = Counter("language model" if (part := normal(name)[0]) == "language" else part for name in names)
    return ", ".join(f"{count} of the {part}" for part, count in counts.items())
