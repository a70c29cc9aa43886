"""What a merge recipe means: which value a parameter has for which tensor, in mergekit's order of precedence.

The schema is `specs.recipe`, what one setting means is `settings`; here are reading and writing, which of several
settings holds, and what is refused before any model is looked at.

Reference:
    mergekit 0.1.5; Goddard et al. 2024, "Arcee's MergeKit: A Toolkit for Merging Large Language Models",
    arXiv:2403.13257.
"""

from __future__ import annotations

import difflib
import io
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from ikyoku.errors import SpecError, together
from ikyoku.merging.methods import METHODS, Method, faults
from ikyoku.settings import Value, filters, position, read, resolve, scalars
from ikyoku.specfile import load
from ikyoku.specs.recipe import ModuleSpec, Parameters, ParentSpec, RecipeSpec, SliceSpec

__all__ = [
    "check_recipe",
    "method_of",
    "model_reference",
    "models_of",
    "notes",
    "parent_parameters",
    "position",
    "read_recipe",
    "recipe_yaml",
    "resolve",
    "shared_parameters",
]

ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        "select_topk": "sce",
        "nuslerp_row_wise": "nuslerp",
        "nuslerp_flatten": "nuslerp",
        "normalize_weights": "multislerp",
        "eps": "multislerp",
        "max_iter": "karcher",
        "tol": "karcher",
        "r": "ramplus_tl",
        "alpha": "ramplus_tl",
        "embed_slerp": "slerp of mergekit's first days",
    }
)
"""Parameters that only other methods of mergekit have, and the method."""
OTHER_METHODS = ("nuslerp", "multislerp", "karcher", "sce", "nearswap", "arcee_fusion", "ram", "ramplus_tl")
"""Methods of mergekit 0.1.5 that ikyoku does not have."""


def read_recipe(path: Path, overrides: Sequence[str] = ()) -> RecipeSpec:
    """Returns the recipe in a YAML file of mergekit's, with `key.key=value` overrides laid over it, checked.

    Raises:
        SpecError: no such file, no recipe, or what `check_recipe` refuses.
    """
    recipe = load(RecipeSpec, path, overrides)
    try:
        check_recipe(recipe)
    except SpecError as error:
        raise SpecError(f"{path}:\n{error}") from None
    return recipe


def model_reference(text: str) -> tuple[str, str | None]:
    """Returns the model's path and that of the LoRA adapter in it, None where there is none.

    >>> model_reference("models/base-8b+runs/tune-a/artifact/adapter")
    ('models/base-8b', 'runs/tune-a/artifact/adapter')
    >>> model_reference("models/base-8b")
    ('models/base-8b', None)
    """
    path, _, adapter = text.partition("+")
    return path, adapter or None


def shared_parameters(
    recipe: RecipeSpec, piece: SliceSpec | None, module: ModuleSpec | None, tensor: str, t: float, method: Method
) -> dict[str, Value]:
    """Returns the parameters that a method has for the whole of one output tensor.

    Args:
        recipe: the recipe.
        piece: the slice that the tensor is in, None where whole models are merged.
        module: the module that the tensor is in, None where the recipe has no modules.
        tensor: name of the output tensor.
        t: where its layer stands within the slice.
        method: the merge method.

    Returns:
        A value for each of `method.shared`: the slice's, before the module's, the recipe's, the default.

    Raises:
        SpecError: a parameter that must be given is not, or is no value of its kind.
    """
    levels = _levels(piece, module, recipe)
    return {name: _parameter(name, default, levels, tensor, t, None) for name, default in method.shared.items()}


def parent_parameters(
    recipe: RecipeSpec,
    piece: SliceSpec | None,
    module: ModuleSpec | None,
    parent: ParentSpec,
    tensor: str,
    t: float,
    method: Method,
) -> dict[str, float]:
    """Returns the parameters that a method has for one parent of one output tensor.

    Args:
        recipe: the recipe.
        piece: the slice that the tensor is in, None where whole models are merged.
        module: the module that the tensor is in, None where the recipe has no modules.
        parent: the parent's entry, of `models` or of the slice's sources.
        tensor: name of the tensor in this parent.
        t: where its layer stands within the slice.
        method: the merge method.

    Returns:
        A value for each of `method.each`: the parent's own, before the slice's, the module's, the recipe's and the
        default.

    Raises:
        SpecError: a parameter that must be given is not, or is no value of its kind.
    """
    levels = _levels(parent, piece, module, recipe)
    row: dict[str, Value | None] = {
        name: _parameter(name, default, levels, tensor, t, parent.model) for name, default in method.each.items()
    }
    if "epsilon" in row and (wrong := _beside(method, row)):  # what a value may be depends on another
        raise SpecError(f"{parent.model}, {tensor}: {'; '.join(wrong)}.")
    return {name: float(value) for name, value in row.items() if value is not None}


def _levels(*parts: ParentSpec | SliceSpec | ModuleSpec | RecipeSpec | None) -> tuple[Parameters, ...]:
    return tuple(part.parameters for part in parts if part is not None)


def _parameter(
    name: str, default: Value | None, levels: Iterable[Parameters], tensor: str, t: float, model: str | None
) -> Value:
    for level in levels:
        if name in level:
            try:
                value = resolve(level[name], tensor, t, _kind(name, default))
            except SpecError as error:
                raise SpecError(f"{name} of {model or 'the recipe'}, {tensor}: {error}.") from None
            if value is not None:
                return value
    if default is None:
        whose = f" of {model}" if model else ""
        raise SpecError(
            f"{tensor}: no {name}{whose}, and there is no default. Write {_example(name, bool(model))}; where it has "
            "conditions, end them with one that has no filter, - value: 0.5."
        )
    return default


def _kind(name: str, default: Value | None) -> type[Value]:
    if not isinstance(default, bool):
        return float
    return str if name == "rescale" else bool


def _example(name: str, of_a_model: bool) -> str:
    return f"parameters: {{{name}: 0.5}} {'under the model, or for all of them ' if of_a_model else ''}in the recipe"


def _beside(method: Method, row: Mapping[str, Value | None]) -> list[str]:
    """What is wrong with one parent's values."""
    shared = {name: 0.5 if default is None else default for name, default in method.shared.items()}
    first = "parent 1: "
    return [text.removeprefix(first) for text in faults(method, shared, [row] * method.least) if text.startswith(first)]


def models_of(recipe: RecipeSpec) -> tuple[str, ...]:
    """Returns every model that takes part, each once: the bases first, then the others in the recipe's order."""
    groups = list(_groups(recipe))
    names = [recipe.base_model, *(group.base for group in groups)]
    names += [entry.model for group in groups for entry in group.entries]
    return tuple(dict.fromkeys(name for name in names if name))


def method_of(recipe: RecipeSpec) -> Method:
    """Returns the recipe's method.

    Raises:
        SpecError: there is none of this name.
    """
    name = recipe.merge_method
    if name in METHODS:
        return METHODS[name]
    allowed = f"Methods: {', '.join(METHODS)}."
    if name in OTHER_METHODS:
        raise SpecError(f"merge_method: ikyoku does not have mergekit's {name}. {allowed}")
    raise SpecError(f"merge_method: no method {name!r}. {_nearest(name, METHODS)}{allowed}")


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean {near[0]!r}? " if near else ""


def check_recipe(recipe: RecipeSpec) -> None:
    """Refuses a recipe that no models could make right: all that can be told from its text alone.

    Raises:
        SpecError: a method or a parameter that does not exist, with the nearest one; a value that is no number, no flag
            or out of range; no base, too few or too many models; a parameter that must be given and nowhere is.
    """
    method = method_of(recipe)
    found = [fault for place, level, _ in _all_parameters(recipe) for fault in _parameter_faults(place, level, method)]
    for group in _groups(recipe):
        found += [*_group_faults(group, method), *_lacking(recipe, group, method)]
    if found:
        raise SpecError(together(found))


def notes(recipe: RecipeSpec, names: Collection[str] = ()) -> tuple[str, ...]:
    """Returns what the recipe says without effect, one sentence each: mergekit passes over it without a word.

    With the tensors' names, filters that none fits are among it.
    """
    method = method_of(recipe)
    found = []
    for place, level, owner in _all_parameters(recipe):
        for name, setting in level.items():
            unmet = (part for part in filters(setting) if names and not any(part in each for each in names))
            found += [f"{place}.{name}: no tensor's name holds the filter {part!r}." for part in unmet]
            if name not in method.shared and name not in method.each:
                found.append(f"{place}.{name} has no effect: {method.name} has no such parameter.")
            elif name in method.ignored and name != "int8_mask":
                found.append(f"{place}.{name} has no effect: {method.name} takes it and does not use it.")
            elif owner and name in method.shared:
                found.append(f"{place}.{name} has no effect: it is of whole tensors; write it outside the model.")
            elif owner and method.needs_base and owner == recipe.base_model:
                found.append(f"{place}.{name} has no effect: the base is what the others are compared with.")
    return tuple(found)


class _Group(NamedTuple):
    """Models that are merged with each other, and where in the recipe they stand."""

    place: str
    entries: tuple[ParentSpec, ...]
    piece: SliceSpec | None
    module: ModuleSpec | None
    base: str | None


def _groups(recipe: RecipeSpec) -> Iterator[_Group]:
    parts: list[tuple[str, RecipeSpec | ModuleSpec, ModuleSpec | None]] = [("", recipe, None)]
    parts += [(f"modules.{name}.", module, module) for name, module in recipe.modules.items()]
    for place, part, module in parts:
        if part.models:
            yield _Group(f"{place}models", part.models, None, module, recipe.base_model)
        for number, piece in enumerate(part.slices):
            base = piece.base_model or recipe.base_model
            yield _Group(f"{place}slices.{number}.sources", piece.sources, piece, module, base)


def _all_parameters(recipe: RecipeSpec) -> Iterator[tuple[str, Parameters, str | None]]:
    """Every `parameters`: where it stands, what it holds, and the model it is of."""
    yield "parameters", recipe.parameters, None
    for name, module in recipe.modules.items():
        yield f"modules.{name}.parameters", module.parameters, None
    for group in _groups(recipe):
        if group.piece:
            yield f"{group.place.removesuffix('.sources')}.parameters", group.piece.parameters, None
        for number, entry in enumerate(group.entries):
            yield f"{group.place}.{number}.parameters", entry.parameters, entry.model


def _parameter_faults(place: str, level: Parameters, method: Method) -> Iterator[str]:
    known = dict.fromkeys([*method.each, *method.shared])
    known |= dict.fromkeys(name for other in METHODS.values() for name in (*other.each, *other.shared))
    for name, setting in level.items():
        if name in method.each or name in method.shared:
            for value in scalars(setting):
                yield from (f"{place}.{name}: {text}." for text in _value_faults(name, value, method))
        elif name not in known and name not in ELSEWHERE:
            own = ", ".join((*method.each, *method.shared)) or "none"
            yield f"{place}.{name}: no such parameter. {_nearest(name, known)}{method.name} has {own}."


def _value_faults(name: str, value: Any, method: Method) -> list[str]:
    try:
        given = read(value, _kind(name, method.shared.get(name)))
    except SpecError as error:
        return [str(error)]
    shared, each = ({key: 0.5 if d is None else d for key, d in part.items()} for part in (method.shared, method.each))
    (shared if name in method.shared else each)[name] = given
    found = [text.removeprefix("parent 1: ") for text in faults(method, shared, [each] * method.least)]
    return [text for text in found if text.startswith(f"{name} is")]


def _group_faults(group: _Group, method: Method) -> Iterator[str]:
    place, base, names = group.place, group.base, [entry.model for entry in group.entries]
    if method.needs_base and not base:
        yield f"{place}: {method.name} needs base_model, the model that the others were tuned from."
    elif method.needs_base and group.piece and base not in names:
        yield f"{place}: the base {base} is not among them; name it there too, with its layer_range."
    elif not method.needs_base and not group.piece and base and base not in names:
        yield (
            f"{place}: {method.name} has no base, so that mergekit merges base_model {base} as one more model. Name it "
            "among the models, or leave it out."
        )
    count = len(_others(group, method))
    if count < method.least or (method.most is not None and count > method.most):
        most = f"at most {method.most}" if method.most is not None else f"at least {method.least}"
        wanted = str(method.least) if method.least == method.most else most
        yield f"{place}: found {count} models{' beside the base' * method.needs_base}; {method.name} merges {wanted}."


def _others(group: _Group, method: Method) -> list[ParentSpec]:
    return [entry for entry in group.entries if not (method.needs_base and entry.model == group.base)]


def _lacking(recipe: RecipeSpec, group: _Group, method: Method) -> Iterator[str]:
    """Parameters that must be given, and that no level names."""
    around = _levels(group.piece, group.module, recipe)
    for name, default in method.shared.items():
        if default is None and not any(name in level for level in around):
            yield f"{group.place}: no {name}, and there is no default. Write {_example(name, False)}."
    for name, default in method.each.items():
        for entry in _others(group, method):
            if default is None and not any(name in level for level in (entry.parameters, *around)):
                whose = f"{name} of {entry.model}"
                yield f"{group.place}: no {whose}, and there is no default. Write {_example(name, True)}."


def recipe_yaml(recipe: RecipeSpec) -> str:
    """Returns the recipe as YAML that mergekit reads as the same recipe: only what is not a default.

    mergekit reads YAML 1.1 and ikyoku 1.2, so that what one of them would take for something else stands in quotes,
    and a number such as 1e-5 is written 1.0e-05.

    >>> print(recipe_yaml(RecipeSpec(merge_method="slerp", base_model="a", models=({"model": "no"},))), end="")
    merge_method: slerp
    base_model: a
    models:
    - model: "no"
    """
    stream = io.StringIO()
    _writer().dump(_shown(recipe), stream)
    return stream.getvalue()


def _writer() -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.representer import SafeRepresenter

    class Both(SafeRepresenter):
        """Values that YAML 1.1 and 1.2 read alike."""

        def represent_str(self, data: str) -> Any:
            plain = _PLAIN.fullmatch(data) and data.lower() not in _WORDS
            return self.represent_scalar("tag:yaml.org,2002:str", data, style=None if plain else '"')

        def represent_float(self, data: float) -> Any:
            digits, exponent, power = repr(data).partition("e")
            return self.represent_scalar(
                "tag:yaml.org,2002:float", digits + ".0" * ("." not in digits) + exponent + power
            )

        def represent_list(self, data: list[Any]) -> Any:
            flat = not any(isinstance(entry, dict) for entry in data)
            return self.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=flat)

    for kind in (str, float, list):
        Both.add_representer(kind, getattr(Both, f"represent_{kind.__name__}"))
    yaml: Any = YAML(typ="safe", pure=True)
    yaml.Representer = Both
    yaml.default_flow_style = False
    yaml.allow_unicode = True
    yaml.sort_base_mapping_type_on_output = False
    yaml.width = 120
    return yaml


_PLAIN = re.compile(r"[A-Za-z/](?:[\w./@+-]*[\w/])?", re.ASCII)
_WORDS = frozenset(("y", "n", "yes", "no", "on", "off", "true", "false", "null"))
"""Texts without quotes are paths and words, but not the words that are flags to YAML 1.1."""


def _shown(recipe: RecipeSpec) -> dict[str, Any]:
    values = recipe.model_dump(mode="json", exclude_defaults=True)
    if recipe.tokenizer:  # its default says what is done: better written out
        values["tokenizer"] = {"source": recipe.tokenizer.source} | values["tokenizer"]
    return values
