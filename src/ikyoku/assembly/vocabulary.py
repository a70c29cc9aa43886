"""Whose tokenizer the output of a merge gets, and which row of each model's embeddings stands for which token.

Without a rule in the recipe the models must have one vocabulary; an output built on a vision-language model keeps that
one's. With a rule (`tokenizer: {source: …}`) rows are brought together by the text of their tokens.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ikyoku.assembly.models import Matched, is_vision_language
from ikyoku.checkpoints import Checkpoint, model_folder
from ikyoku.errors import ModelError, SpecError, together
from ikyoku.merging.vocabulary import (
    MISSING,
    Alignment,
    align,
    aligned,
    alone,
    spelling,
    union,
    union_tokenizer,
    vocabulary_of,
    with_tokens,
)
from ikyoku.specs.recipe import RecipeSpec, TokenizerSpec, TokenSpec

if TYPE_CHECKING:
    import torch

__all__ = ["Rows", "Vocabulary", "plan_vocabulary"]

_ROWS = {"embed_tokens", "lm_head", "tok_embeddings", "output", "wte", "embed_in", "embed_out"}
"""Modules with one row a token."""


@dataclass(frozen=True, slots=True)
class _Override:
    """A row that the recipe takes from a place of its own: a parent's row, or zeros where there is no parent."""

    row: int
    parent: int | None
    source: int
    force: bool


@dataclass(frozen=True, slots=True)
class Rows:
    """How the rows of one matrix (embeddings, output head) come together."""

    alignment: Alignment = field(repr=False)
    names: tuple[str, ...]
    """The matrix in each model of the plan."""
    overrides: tuple[_Override, ...] = ()

    def of(self, matrices: Sequence[torch.Tensor], parent: int) -> torch.Tensor:
        """Returns the matrix of one model with the rows of the output, given the matrices of all."""
        result = aligned(matrices, self.alignment, parent)
        for one in self.overrides:
            if one.force or self.alignment.index[parent][one.row] == MISSING:
                if result is matrices[parent]:
                    result = result.clone()
                result[one.row] = 0 if one.parent is None else matrices[one.parent][one.source].to(result.dtype)
        return result

    def alone(self, matrices: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the rows that are not merged, int64, and what stands in them, given the matrices of all models.

        They are those of tokens that one model alone has (image tokens, added pieces) and those that the recipe forces.
        All models hold them when they are merged, but a method may scale what all agree on: slerp does, and weights
        whose sum is not 1.
        """
        import torch

        named = {one.row for one in self.overrides}  # with a source of their own for the models that lack them
        kept = {row: place for row, place in alone(self.alignment).items() if row not in named}
        values = {row: matrices[parent][source] for row, (parent, source) in kept.items()}
        for one in self.overrides:
            if one.force:
                row = matrices[0][0].new_zeros(matrices[0].shape[1:])
                values[one.row] = row if one.parent is None else matrices[one.parent][one.source]
        index = torch.tensor(sorted(values), dtype=torch.int64)
        stacked = [values[int(row)].float() for row in index]
        return index, torch.stack(stacked) if stacked else matrices[0][:0].float()


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The output's tokenizer, and the rows that go with it."""

    source: Path
    """The folder whose tokenizer files the output gets."""
    built: Mapping[str, Any] | None = field(default=None, repr=False)
    """A tokenizer.json that is in no folder: of all models together, or with tokens that the recipe adds."""
    target: Mapping[str, int] = field(default_factory=dict, repr=False)
    """Token text -> id, where rows are aligned."""
    rows: Mapping[str, Rows] = field(default_factory=dict, repr=False)
    """By the matrix's name in `into`; empty where every matrix is right as it is."""
    text: str = ""
    """What is aligned, for people."""


def plan_vocabulary(recipe: RecipeSpec, matched: Matched) -> Vocabulary:
    """Returns the output's vocabulary.

    Raises:
        SpecError: the rule names a model or a token that is not there.
        ModelError: the vocabularies differ and there is no rule, or cannot be brought together.
    """
    rule = recipe.tokenizer
    if rule is None and recipe.tokenizer_source:
        rule = TokenizerSpec(source=recipe.tokenizer_source)
    into = matched.models[matched.into]
    if rule is None:
        different = [model for model in matched.models if not _same_tokenizer(model, into)]
        if different and not is_vision_language(into):
            _refuse(different, into)
        if not different and _same_rows(matched):
            return Vocabulary(into.folder)
        rule = TokenizerSpec(source=into.name)
    return _by_rule(rule, recipe, matched)


def _by_rule(rule: TokenizerSpec, recipe: RecipeSpec, matched: Matched) -> Vocabulary:
    models = matched.models
    if without := [model.name for model in models if not model.vocabulary()]:
        raise ModelError(
            f"{', '.join(without)}: no tokenizer.json, so tokens cannot be matched by their text. "
            "Write it with AutoTokenizer.from_pretrained(…).save_pretrained(…)."
        )
    vocabularies = [model.vocabulary() for model in models]
    base = matched.index(recipe.base_model) if recipe.base_model else None
    first = matched.into if is_vision_language(models[matched.into]) or base is None else base
    built, folder, like, told = None, models[first].folder, first, []
    if rule.source == "union":
        order = [first, *(i for i in range(len(models)) if i != first)]
        target = union([vocabularies[i] for i in order])
        if target != vocabularies[first]:
            tokenizers = [_tokenizer(models[i].folder) for i in order]
            built, told = union_tokenizer(tokenizers), _told(tokenizers, [models[i].name for i in order])
    elif rule.source == "base" or rule.source in {model.name for model in models}:
        like = first if rule.source == "base" and base is None else matched.index(_named(rule.source, recipe))
        folder, target = models[like].folder, vocabularies[like]
    else:
        folder = model_folder(rule.source)
        target = vocabulary_of(_tokenizer(folder))
    if new := [token for token in rule.tokens if token not in target]:
        built = with_tokens(built or _tokenizer(folder), new)
        target = vocabulary_of(built)
        told.append(f"{_counted(new, 'token')} of tokenizer.tokens that no model has, added to the vocabulary")
    if built:
        _check_ids(built, target)
    rows, text = {}, ""
    for name in models[matched.into].tensors:
        if name.split(".")[-2:-1] and name.split(".")[-2] in _ROWS:
            made = _rows(name, matched, vocabularies, target, (rule, like, base))
            if made is not None:
                rows[name] = made
                text = text or made.alignment.coverage([model.name for model in models])
    return Vocabulary(folder, built, target, rows, ". ".join(part for part in (text, *told) if part))


def _rows(
    name: str,
    matched: Matched,
    vocabularies: Sequence[Mapping[str, int]],
    target: Mapping[str, int],
    how: tuple[TokenizerSpec, int, int | None],
) -> Rows | None:
    """The rows of one matrix; None where it is right as it is in all models, or not all have it."""
    rule, like, base = how
    names = [names.get(name) for names in matched.names]
    if any(own is None for own in names):
        return None
    counts = [model.tensors[str(own)].shape[0] for model, own in zip(matched.models, names, strict=True)]
    same = all(vocabulary == target for vocabulary in vocabularies)
    size = max(max(target.values()) + 1, counts[like] if same or vocabularies[like] == target else 0)
    if multiple := rule.pad_to_multiple_of:
        size += -size % multiple
    alignment = align(vocabularies, target, rows=counts, base=base, size=size)
    overrides = tuple(
        _override(token, spec, (target, matched, vocabularies, counts)) for token, spec in rule.tokens.items()
    )
    if not overrides and not any(alignment.changes(parent, rows) for parent, rows in enumerate(counts)):
        return None
    return Rows(alignment, tuple(map(str, names)), overrides)


def _override(
    token: str,
    spec: TokenSpec,
    known: tuple[Mapping[str, int], Matched, Sequence[Mapping[str, int]], Sequence[int]],
) -> _Override:
    """The place that a recipe names for one token's row."""
    target, matched, vocabularies, counts = known
    source = spec.source
    if source is None or (isinstance(source, dict) and source.get("kind") == "zero"):
        return _Override(target[token], None, 0, spec.force)
    values = {"model": source, "token": token} if isinstance(source, str) else source
    model = str(values.get("model"))
    if model not in {one.name for one in matched.models}:
        allowed = ", ".join(one.name for one in matched.models)
        raise SpecError(f"tokenizer.tokens.{token}: {model} is not among the models. Allowed: {allowed}.")
    parent = matched.index(model)
    row = values.get("token_id", vocabularies[parent].get(str(values.get("token")), -1))
    if not isinstance(row, int) or not 0 <= row < counts[parent]:
        raise SpecError(f"tokenizer.tokens.{token}: {model} has no row for it.")
    return _Override(target[token], parent, row, spec.force)


def _named(source: str, recipe: RecipeSpec) -> str:
    return str(recipe.base_model) if source == "base" else source


def _same_tokenizer(model: Checkpoint, other: Checkpoint) -> bool:
    """Whether two models have one vocabulary; a model without tokenizer.json is believed."""
    a, b = (one.folder / "tokenizer.json" for one in (model, other))
    if not a.is_file() or not b.is_file():
        return True
    if a.stat().st_size == b.stat().st_size and a.read_bytes() == b.read_bytes():
        return True
    return model.vocabulary() == other.vocabulary()


def _same_rows(matched: Matched) -> bool:
    """Whether every matrix has as many rows in all models; where tokenizers are missing it must."""
    if any(not (model.folder / "tokenizer.json").is_file() for model in matched.models):
        return True
    for name in matched.models[matched.into].tensors:
        if {*name.split(".")[-2:-1]} & _ROWS:
            found = zip(matched.models, matched.names, strict=True)
            if len({model.tensors[names[name]].shape[0] for model, names in found if name in names}) > 1:
                return False
    return True


def _refuse(different: Sequence[Checkpoint], into: Checkpoint) -> None:
    faults = []
    for model in different:
        mine, theirs = model.vocabulary(), into.vocabulary()
        alone, missing = len(mine.keys() - theirs.keys()), len(theirs.keys() - mine.keys())
        moved = sum(theirs[token] != at for token, at in mine.items() if token in theirs)
        faults.append(
            f"{model.name}: its vocabulary is not that of {into.name}: {alone} tokens more, {missing} less, "
            f"{moved} with another id."
        )
    raise ModelError(
        f"{together(faults)}\nSay in the recipe whose tokenizer the output has: `tokenizer: {{source: union}}`, "
        "`{source: base}` or `{source: MODEL}`; rows are then matched by the tokens' text."
    )


def _told(tokenizers: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[str]:
    """What becomes of the pieces that the first tokenizer has no merges or scores for, one sentence for each model."""
    known = set(vocabulary_of(tokenizers[0]))
    found = []
    for tokenizer, name in zip(tokenizers[1:], names[1:], strict=True):
        extra = {entry["content"] for entry in tokenizer.get("added_tokens") or ()}
        pieces = [text for text in vocabulary_of(tokenizer) if text not in known and text not in extra]
        if pieces:
            bytes_ = spelling(vocabulary_of(tokenizer)) == "byte-level"
            found.append(
                f"{_counted(pieces, 'piece')} of {name} that {names[0]} does not have, added as whole tokens: they are "
                "found in a text before the rest is split, so that it is split as by neither"
                + ("; those that begin with a space or are not plain ASCII are never found, only written" * bytes_)
            )
        known.update(pieces)
    return found


def _counted(texts: Sequence[str], what: str) -> str:
    shown = ", ".join(map(repr, texts[:3]))
    return f"{len(texts):,} {what}{'s' * (len(texts) != 1)} ({shown}{', …' * (len(texts) > 3)})"


def _check_ids(built: Mapping[str, Any], target: Mapping[str, int]) -> None:
    """Refuses a vocabulary that the tokenizers library would number in another way than the rows are."""
    from tokenizers import Tokenizer

    try:
        found = Tokenizer.from_str(json.dumps(built)).get_vocab(with_added_tokens=True)
    except Exception as error:  # the library raises nothing more special
        raise ModelError(f"tokenizer: the tokens of all models make no tokenizer: {error}. Name one model's.") from None
    if found != target:
        wrong = next(token for token in target if found.get(token) != target[token])
        raise ModelError(
            f"tokenizer: {wrong!r} would be token {found.get(wrong)} where its row is {target[wrong]}: the vocabulary "
            "that the others are added to has gaps. Name one model's tokenizer (`tokenizer: {source: MODEL}`)."
        )


def _tokenizer(folder: Path) -> dict[str, Any]:
    try:
        value = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        value = None
    if not isinstance(value, dict) or "vocab" not in (value.get("model") or {}):
        raise ModelError(f"{folder / 'tokenizer.json'}: missing, or no tokenizer. Copy it again.")
    return value
