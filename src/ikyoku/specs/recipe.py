"""A merge recipe, in the keys of mergekit's YAML: the field's exchange format, so that existing recipes run unchanged.

What the keys mean is `ikyoku.recipe`'s affair; here is what may be written. A key with nothing behind it counts as not
given, as in mergekit. What mergekit passes over in silence, a misspelt key or a parameter beside `parameters`, is
refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, Strict, model_validator

from ikyoku.specs.base import Flag, Integer, Spec

Scalar = Flag | Integer | Annotated[float, Strict()] | str
"""One value of a parameter."""


class Part(Spec):
    """What the parts of a recipe share: empty keys count as not given, some keys are refused with their reason."""

    refused: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _given(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        given = {key: value for key, value in values.items() if value is not None}
        if found := [key for key in given if key in cls.refused]:
            raise ValueError("; ".join(f"{key}: {cls.refused[key]}" for key in found))
        return given


def _model(value: Any) -> Any:
    """Makes one text of both ways in which mergekit names a model, `PATH@REVISION+ADAPTER`."""
    if isinstance(value, Mapping):
        if "override_architecture" in value:
            raise ValueError("override_architecture is not known here; tensors are matched by their names")
        if unknown := [str(key) for key in value if key not in ("model", "lora")]:
            raise ValueError(f"no such key: {', '.join(unknown)}; a model is a text, or has model and lora")
        parts = [_path(value[key]) for key in ("model", "lora") if value.get(key) is not None]
        if "model" not in value or any("+" in part for part in parts):
            raise ValueError("give model, and perhaps lora, each a path without a +, or a mapping of path and revision")
        value = "+".join(parts)
    if isinstance(value, str):
        paths = value.split("+")
        if len(paths) > 2 or not all(paths):
            raise ValueError("a + stands between a model and one adapter, BASE+ADAPTER; rename a folder that has one")
        if any(path.count("@") > 1 or path.startswith("@") or path.endswith("@") for path in paths):
            raise ValueError("an @ stands between a hub id and one revision, ID@REVISION")
    return value


def _path(value: Any) -> str:
    if isinstance(value, Mapping) and value.keys() <= {"path", "revision"} and isinstance(value.get("path"), str):
        revision = value.get("revision")
        value = value["path"] if revision is None else f"{value['path']}@{revision}"
    if not isinstance(value, str):
        raise ValueError("a model or an adapter is a text, or a mapping of path and revision")
    return value


def _setting(value: Any) -> Any:
    """Refuses with one sentence what is no setting; pydantic would tell what each branch of the union misses."""
    if isinstance(value, Mapping | ConditionSpec):
        return _condition(value)
    if not isinstance(value, list | tuple):
        return _scalar(value)
    if any(isinstance(entry, Mapping | ConditionSpec) for entry in value):
        return tuple(_condition(entry) for entry in value)
    return tuple(_scalar(entry) for entry in value)


def _condition(value: Any) -> Any:
    if isinstance(value, ConditionSpec):
        return value
    if not isinstance(value, Mapping):
        raise ValueError(f"{value!r} stands among conditions; write it as - value: {value}")
    given = {key: inner for key, inner in value.items() if inner is not None}
    if "pattern" in given:
        raise ValueError("pattern is the word of mergekit's first days, which it now passes over; write filter")
    if unknown := [str(key) for key in given if key not in ("value", "filter")]:
        raise ValueError(f"no such key: {', '.join(unknown)}; a condition has value and filter")
    if not isinstance(given.get("filter", ""), str):
        raise ValueError(
            f"filter is {given['filter']!r}; it is a part of tensors' names, in quotes where it is a number"
        )
    inner = given.get("value")
    if isinstance(inner, list | tuple):
        return {**given, "value": tuple(_scalar(entry) for entry in inner)}
    return {**given, "value": _scalar(inner)}


def _scalar(value: Any) -> Any:
    if isinstance(value, bool | int | str):
        return value
    if isinstance(value, float) and value - value == 0:
        return value
    raise ValueError(
        f"{'nothing' if value is None else repr(value)} is no value; give a number, true or false, a list of them "
        "(a gradient over the layers), or conditions with value and filter"
    )


def _dtype(value: Any) -> Any:
    return value.removeprefix("torch.") if isinstance(value, str) else value


ModelText = Annotated[str, Field(min_length=1), BeforeValidator(_model)]
"""A folder or a hub id, `ID@REVISION` for one of its revisions; `BASE+ADAPTER` is a base with a LoRA adapter in it."""
DType = Annotated[Literal["float32", "float16", "bfloat16"], BeforeValidator(_dtype)]


class ConditionSpec(Spec):
    """A value for the tensors whose name holds `filter`."""

    value: Scalar | tuple[Scalar, ...]
    """One value, or a gradient: values at even distances over the layers, interpolated between them."""
    filter: str | None = None
    """A part of the tensors' names, such as self_attn; without it, or with "*", the value holds for every tensor."""


Setting = Annotated[Scalar | ConditionSpec | tuple[Scalar, ...] | tuple[ConditionSpec, ...], BeforeValidator(_setting)]
"""One value; a gradient over the layers; or conditions, of which the first that fits holds."""
Parameters = dict[str, Setting]

_BESIDE = "belongs under parameters: of this model, as in {parameters: {weight: 0.5}}"


class ParentSpec(Part):
    """A model that takes part, with its own parameters."""

    refused: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("weight", "density", "gamma", "epsilon", "t", "lambda", "normalize", "scale"), _BESIDE
    )

    model: ModelText
    """Folder or hub id; `BASE+ADAPTER` is a base with a LoRA adapter merged into it."""
    parameters: Parameters = Field(default_factory=dict)
    """Parameters of this model, before those of the slice and the recipe."""

    @model_validator(mode="before")
    @classmethod
    def _is_a_mapping(cls, values: Any) -> Any:
        if isinstance(values, str):
            raise ValueError(f"a model is written as - model: {values}")
        return values


class SourceSpec(ParentSpec):
    """Some layers of a model."""

    layer_range: tuple[Integer, Integer]
    """First layer, and the one after the last."""

    @model_validator(mode="after")
    def _has_layers(self) -> SourceSpec:
        first, end = self.layer_range
        if not 0 <= first < end:
            raise ValueError(f"layer_range [{first}, {end}] holds no layer; give the first, and the one after the last")
        return self


class SliceSpec(Part):
    """Layers of the output: the merge of as many layers of each source."""

    refused: ClassVar[Mapping[str, str]] = {
        "residual_weight": "mergekit 0.1.5 reads it and does nothing with it, so nothing would be scaled; leave it out"
    }

    sources: tuple[SourceSpec, ...] = Field(min_length=1)
    """The layers that are merged."""
    base_model: ModelText | None = None
    """Base of this slice, in place of the recipe's."""
    parameters: Parameters = Field(default_factory=dict)
    """Parameters of this slice."""

    @model_validator(mode="after")
    def _is_as_long_everywhere(self) -> SliceSpec:
        lengths = {end - first for first, end in (source.layer_range for source in self.sources)}
        if len(lengths) > 1:
            found = ", ".join(f"{s.model} {list(s.layer_range)}" for s in self.sources)
            raise ValueError(f"the sources of a slice have as many layers each; found {found}")
        _refuse_twice(self.sources)
        return self


class ModuleSpec(Part):
    """A part of a model that has several, such as the language model of a vision-language model."""

    models: tuple[ParentSpec, ...] = ()
    """Whole models that are merged."""
    slices: tuple[SliceSpec, ...] = ()
    """Or slices of them."""
    parameters: Parameters = Field(default_factory=dict)
    """Parameters of this module."""

    @model_validator(mode="after")
    def _has_one_kind_of_input(self) -> ModuleSpec:
        if bool(self.models) == bool(self.slices):
            raise ValueError(f"give models or slices; found {'both' if self.models else 'none'}")
        _refuse_twice(self.models)
        return self


def _refuse_twice(parents: tuple[ParentSpec, ...]) -> None:
    names = [parent.model for parent in parents]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(
            f"{', '.join(twice)} stands twice among the models; give one entry with the sum of its weights"
        )


def _token_source(value: Any) -> Any:
    if not isinstance(value, Mapping) or "kind" not in value:
        return _model(value)
    given = {key: inner for key, inner in value.items() if inner is not None}
    if given == {"kind": "zero"}:
        return given
    if given.get("kind") != "model_token" or ("token" in given) == ("token_id" in given):
        raise ValueError("a source is a model, {kind: zero}, or {kind: model_token, model: M} with token or token_id")
    if unknown := [str(key) for key in given if key not in ("kind", "model", "token", "token_id")]:
        raise ValueError(f"no such key: {', '.join(unknown)}; a model_token has model, and token or token_id")
    if not isinstance(given.get("token", ""), str) or not isinstance(given.get("token_id", 0), int):
        raise ValueError("token is a text, token_id a whole number")
    if "model" not in given:
        raise ValueError("a model_token names its model")
    return {**given, "model": _model(given["model"])}


class TokenSpec(Part):
    """Where the row of one token comes from."""

    source: Annotated[str | dict[str, str | Integer] | None, BeforeValidator(_token_source)] = None
    """A model, or {kind: zero}, or {kind: model_token, model: M, token: T or token_id: N}."""
    force: Flag = False
    """Take it from there also for the models that have the token."""


class TokenizerSpec(Part):
    """The tokenizer of the output."""

    source: ModelText = "union"
    """union, base, or a model."""
    tokens: dict[str, TokenSpec] = Field(default_factory=dict)
    """Single tokens with a source of their own."""
    pad_to_multiple_of: Integer | None = Field(default=None, ge=1)
    """Rows of the embedding are padded to a multiple of it."""


_MOE = "belongs to a recipe for mergekit-moe, which builds a mixture of experts; ikyoku merges into one dense model"
_FLAT = "belongs under parameters:"


class RecipeSpec(Part):
    """A merge recipe in mergekit's keys."""

    refused: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("experts", "gate_mode", "experts_per_token", "shared_experts"), _MOE),
        **dict.fromkeys(("t", "weight", "density", "lambda", "normalize", "int8_mask", "rescale"), _FLAT),
        "out_path": "is given as OUT on the command line, or as out of a merge spec",
        "input_model_parameters": "is the word of mergekit's first days; write parameters under the model",
    }

    name: str | None = None
    """A name for the recipe, which mergekit-multi wants; it changes nothing."""
    merge_method: str
    """A name in `ikyoku.merging.METHODS`."""
    base_model: ModelText | None = None
    """The model that task vectors are differences to."""
    models: tuple[ParentSpec, ...] = ()
    """Whole models that are merged."""
    slices: tuple[SliceSpec, ...] = ()
    """Or slices of them."""
    modules: dict[str, ModuleSpec] = Field(default_factory=dict)
    """Or modules of them, each with models or slices."""
    parameters: Parameters = Field(default_factory=dict)
    """Parameters for all."""
    dtype: DType | None = None
    """Number format in which mergekit computes and writes; ikyoku computes in float32 and writes this."""
    out_dtype: DType | None = None
    """Number format of the output, where it is not `dtype`."""
    tokenizer_source: ModelText | None = None
    """union, base, or a model: short for `tokenizer: {source: …}`."""
    tokenizer: TokenizerSpec | None = None
    """The tokenizer of the output; without it that of the base, and vocabularies must agree."""
    chat_template: str | None = None
    """auto, a template's text, or a path ending in .jinja; by default that of the tokenizer's model."""

    @model_validator(mode="after")
    def _has_one_kind_of_input(self) -> RecipeSpec:
        given = [key for key in ("models", "slices", "modules") if getattr(self, key)]
        if len(given) != 1:
            raise ValueError(f"give models, slices or modules, one of the three; found {', '.join(given) or 'none'}")
        if self.tokenizer and self.tokenizer_source:
            raise ValueError("give tokenizer or tokenizer_source, not both")
        _refuse_twice(self.models)
        return self
