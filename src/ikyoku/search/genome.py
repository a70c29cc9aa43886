"""A point of a search space as a merge recipe, in the keys of mergekit's YAML.

One group of layers becomes `models`, several become `slices`. Tensors outside the layers take the parameters of the
slice beside them: the embeddings those of the first, the final norm and the output head those of the last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, Protocol

from ikyoku.errors import SpecError
from ikyoku.search.space import Parameter, Space

Preset = Literal["method", "jradievo"]
Bounds = tuple[float, float]

MODULES: Mapping[str, str | None] = {"attention": "self_attn", "mlp": "mlp", "rest": None}
"""Kinds of modules with parameters of their own, and the part of a tensor's name that tells them."""
JRADIEVO = "jradievo"
_RATE: Bounds = (0.0, 1.0)


class Method(Protocol):
    """What a search has to know of a merge method: `ikyoku.merging.Method` is one."""

    @property
    def name(self) -> str:
        """Mergekit's name."""

    @property
    def needs_base(self) -> bool:
        """Whether it merges differences to a base."""

    @property
    def least(self) -> int:
        """Fewest parents beside the base."""

    @property
    def most(self) -> int | None:
        """Most of them, if there is a limit."""

    @property
    def shared(self) -> Mapping[str, Any]:
        """Parameters of all parents together, with their defaults."""

    @property
    def each(self) -> Mapping[str, Any]:
        """Parameters of each parent, with their defaults."""

    @property
    def ignored(self) -> Sequence[str]:
        """Those of both that change nothing."""

    @property
    def consensus(self) -> str:
        """How the sign is elected: none, sum or unweighted."""

    @property
    def whole_model(self) -> bool:
        """Whether a parent is trimmed over the whole model, by one density."""


@dataclass(frozen=True, slots=True)
class Gene(Parameter):
    """A parameter of a recipe: its key there, and whose it is. What is None holds for all."""

    key: str = ""
    parent: str | None = None
    layers: tuple[int, int] | None = None
    module: str | None = None


def space_of(
    method: Method,
    parents: Sequence[str],
    *,
    preset: Preset = "method",
    weight: Bounds = (0.0, 1.0),
    density: Bounds = (0.0, 1.0),
    scale: Bounds | None = (0.0, 2.0),
    layer_groups: int = 1,
    module_kinds: bool = False,
    layers: int | None = None,
) -> Space:
    """Returns the space of a method's parameters.

    Preset "method": weight and density of each parent, as far as the method has them, lambda, and slerp's t. Preset
    "jradievo": the third study's, which are also the drop rate that all parents share, 2 n + 2 for n parents. The
    study's trim rate is 1 - density.

    Args:
        method: one of `ikyoku.merging.METHODS`.
        parents: names of the parents beside the base, as parameters will name them.
        preset: see above.
        weight: bounds of each weight.
        density: bounds of each density.
        scale: bounds of lambda; None leaves it at the method's default.
        layer_groups: groups of neighbouring layers, of equal size as far as can be, each with weights and densities of
            its own; lambda and drop rate hold for all, and densities too where the trim is over the whole model.
        module_kinds: whether attention, feed-forward and the rest have weights and densities of their own, likewise.
        layers: how many layers the models have; needed with several groups.

    Raises:
        SpecError: the method cannot be searched so; all that is wrong together.

    Reference:
        JRadiEvo, arXiv 2411.09933, search space of the released configuration.
    """
    _check(method, parents, preset, layer_groups, layers)
    genes: list[Gene] = []
    if preset == JRADIEVO:
        genes.append(Gene("drop", *_RATE, uniform=0.0, key=_drop_of(method)))
    if "t" in method.shared:
        genes.append(Gene("t", *_RATE, uniform=0.5, key="t"))
    share = 1.0 if method.consensus == "unweighted" else 1 / len(parents)  # that consensus divides by the count itself
    wanted = {"weight": (weight, share), "density": (density, 1.0)}
    kinds = tuple(MODULES) if module_kinds else (None,)
    for key in [key for key in wanted if key in method.each and key not in method.ignored]:
        bounds, usual = wanted[key]
        whole = key == "density" and method.whole_model  # one threshold over the model: one density for each parent
        for span in [None] if whole else _spans(layers, layer_groups):
            for module in (None,) if whole else kinds:
                genes += [Gene(_name(key, p, span, module), *bounds, usual, key, p, span, module) for p in parents]
    if scale is not None and "lambda" in method.shared:
        genes.append(Gene("lambda", *scale, uniform=1.0, key="lambda"))
    space = Space(tuple(genes)) if genes else None
    if space is None or not space.free:
        raise SpecError(
            f"method: {method.name} has nothing to search within these bounds; merge it with `ikyoku merge`"
        )
    return space


def recipe_values(
    space: Space,
    values: Mapping[str, float],
    *,
    method: Method,
    base: str | None,
    parents: Mapping[str, str],
    dtype: str | None = None,
    fixed: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Returns the recipe at a point of a space, as plain values in mergekit's keys.

    Args:
        space: from `space_of`.
        values: a point of it.
        method: the space's method.
        base: path of the base; left out of the recipe where the method needs none.
        parents: path of each parent by the name that `space_of` was given, in the same order.
        dtype: number format of the output.
        fixed: parameters for all tensors and parents that are not searched.

    Raises:
        ValueError: the values are no point of the space, or the space is none of `space_of`.
    """
    space.checked(values)
    genes = [gene for gene in space if isinstance(gene, Gene)]
    if len(genes) != len(space):
        raise ValueError("this space was not made by space_of")
    recipe: dict[str, Any] = {"merge_method": method.name}
    if method.needs_base:
        if base is None:
            raise ValueError(f"{method.name} needs a base")
        recipe["base_model"] = base
    if spans := list(dict.fromkeys(gene.layers for gene in genes if gene.layers is not None)):
        recipe["slices"] = [
            {"sources": _sources(genes, values, recipe.get("base_model"), parents, span)} for span in spans
        ]
    else:
        recipe["models"] = _sources(genes, values, None, parents, None)
    shared = dict(fixed or {}) | {g.key: float(values[g.name]) for g in genes if g.parent is None}
    if shared:
        recipe["parameters"] = shared
    if dtype is not None:
        recipe["dtype"] = dtype
    return recipe


def _sources(
    genes: Sequence[Gene],
    values: Mapping[str, float],
    base: str | None,
    parents: Mapping[str, str],
    span: tuple[int, int] | None,
) -> list[dict[str, Any]]:
    """Returns the entries of `models`, or of a slice's `sources`: mergekit adds the base by itself to models only."""
    found = [] if base is None else [_source(base, span, {})]
    return found + [_source(path, span, _settings(genes, values, label, span)) for label, path in parents.items()]


def _settings(
    genes: Sequence[Gene], values: Mapping[str, float], parent: str, span: tuple[int, int] | None
) -> dict[str, Any]:
    """Returns the parameters of one parent in one group of layers: numbers, or conditions on the module."""
    settings: dict[str, Any] = {}
    for gene in genes:
        if gene.parent != parent or gene.layers not in (None, span):
            continue
        value = float(values[gene.name])
        if gene.module is None:
            settings[gene.key] = value
        else:
            part = MODULES[gene.module]
            settings.setdefault(gene.key, []).append(
                {"value": value} if part is None else {"filter": part, "value": value}
            )
    return settings


def _source(model: str, span: tuple[int, int] | None, settings: Mapping[str, Any]) -> dict[str, Any]:
    layers = {"layer_range": list(span)} if span else {}
    return {"model": model} | layers | ({"parameters": dict(settings)} if settings else {})


def _name(key: str, parent: str, span: tuple[int, int] | None, module: str | None) -> str:
    parts = [key, parent, f"layers{span[0]}-{span[1] - 1}" if span else "", module or ""]
    return ".".join(filter(None, parts))


def _spans(layers: int | None, groups: int) -> list[tuple[int, int] | None]:
    """Returns the groups of layers, first and one after the last; [None] for a single one."""
    if groups == 1 or layers is None:
        return [None]
    ends = [round(group * layers / groups) for group in range(groups + 1)]
    return list(pairwise(ends))


def _drop_of(method: Method) -> str:
    """Returns the key of the drop rate that all parents share."""
    return next((key for key in method.shared if key == "drop"), "")


def _check(method: Method, parents: Sequence[str], preset: Preset, groups: int, layers: int | None) -> None:
    faults = []
    if len(parents) < method.least or (method.most is not None and len(parents) > method.most):
        wanted = (
            f"{method.least}" if method.most == method.least else f"{method.least} to {method.most or 'any number'}"
        )
        faults.append(f"parents: {method.name} merges {wanted} beside the base; found {len(parents)}")
    if twice := sorted({parent for parent in parents if parents.count(parent) > 1}):
        faults.append(f"parents: two are called {twice[0]}; give one a label of its own")
    if preset == JRADIEVO and not _drop_of(method):
        faults.append(f"space.preset: jradievo searches the method jradievo; found {method.name}")
    if groups > 1 and layers is None:
        faults.append("space.layer_groups: the number of layers is not known")
    if layers is not None and groups > layers:
        faults.append(f"space.layer_groups: {groups} groups for {layers} layers; give at most {layers}")
    if faults:
        raise SpecError("\n".join(faults))
