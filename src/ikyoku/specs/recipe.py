"""A merge recipe, in the keys of mergekit's YAML: the field's exchange format, so that existing recipes run unchanged.

What the keys mean is `ikyoku.recipe`'s affair; here is what may be written.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, Strict, model_validator

from ikyoku.specs.base import Flag, Integer, Spec

Scalar = Flag | Integer | Annotated[float, Strict()] | str
"""One value of a parameter."""
DType = Literal["float32", "float16", "bfloat16"]


class ConditionSpec(Spec):
    """A value for the tensors whose name holds `filter`."""

    value: Scalar | tuple[Scalar, ...]
    """One value, or a gradient: values at even distances over the layers, interpolated between them."""
    filter: str | None = None
    """A part of the tensors' names, such as self_attn; without it, or with "*", the value holds for every tensor."""


Setting = Scalar | ConditionSpec | tuple[Scalar, ...] | tuple[ConditionSpec, ...]
"""One value; a gradient over the layers; or conditions, of which the first that fits holds."""
Parameters = dict[str, Setting]


class ParentSpec(Spec):
    """A model that takes part, with its own parameters."""

    model: str = Field(min_length=1)
    """Folder or hub id; `BASE+ADAPTER` is a base with a LoRA adapter merged into it."""
    parameters: Parameters = Field(default_factory=dict)
    """Parameters of this model, before those of the slice and the recipe."""


class SourceSpec(ParentSpec):
    """Some layers of a model."""

    layer_range: tuple[Integer, Integer]
    """First layer, and the one after the last."""


class SliceSpec(Spec):
    """Layers of the output: the merge of as many layers of each source."""

    sources: tuple[SourceSpec, ...] = Field(min_length=1)
    """The layers that are merged."""
    base_model: str | None = None
    """Base of this slice, in place of the recipe's."""
    parameters: Parameters = Field(default_factory=dict)
    """Parameters of this slice."""


class ModuleSpec(Spec):
    """A part of a model that has several, such as the language model of a vision-language model."""

    models: tuple[ParentSpec, ...] = ()
    """Whole models that are merged."""
    slices: tuple[SliceSpec, ...] = ()
    """Or slices of them."""
    parameters: Parameters = Field(default_factory=dict)
    """Parameters of this module."""


class TokenSpec(Spec):
    """Where the row of one token comes from."""

    source: str | dict[str, str | Integer] | None = None
    """A model, or {kind: zero}, or {kind: model_token, model: M, token: T or token_id: N}."""
    force: Flag = False
    """Take it from there also for the models that have the token."""


class TokenizerSpec(Spec):
    """The tokenizer of the output."""

    source: str = "union"
    """union, base, or a model."""
    tokens: dict[str, TokenSpec] = Field(default_factory=dict)
    """Single tokens with a source of their own."""
    pad_to_multiple_of: Integer | None = Field(default=None, ge=1)
    """Rows of the embedding are padded to a multiple of it."""


class RecipeSpec(Spec):
    """A merge recipe in mergekit's keys."""

    merge_method: str
    """A name in `ikyoku.merging.METHODS`."""
    base_model: str | None = None
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
    tokenizer_source: str | None = None
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
        return self
