"""Rows of embeddings and heads, brought together by the text of their tokens.

Parents of one merge may have other vocabularies: image tokens, added Japanese pieces, another order, padding. Row 7 of
the one is then another token than row 7 of the other. Here every parent's rows are put in the order of one target
vocabulary; a token that a parent does not have gets the row of a parent that has it, so that a token known to one
parent alone comes out of the merge as it is there (`alone` says which rows).

Reference: the rule for missing tokens is that of mergekit 0.1.5's `tokenizer` section.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ikyoku.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

MISSING, MEAN = -1, -2
"""In `Alignment.index`: the parent has no such row. In `Alignment.donors`: nobody has it; the mean of all that do."""
Vocabulary = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Alignment:
    """Where the rows of the output come from.

    `index[parent][row]` is the parent's own row for a row of the output, or `MISSING`. `donors[row]` says what stands
    in for the parents that miss it: a parent's number, `MEAN` of those that have it, or `MISSING` where nobody has it
    (padding), which becomes the mean of the parent's other rows. `tokens` counts the rows that stand for a token.
    """

    index: tuple[Sequence[int], ...]
    donors: Sequence[int]
    tokens: int

    @property
    def size(self) -> int:
        """Rows of the output."""
        return len(self.donors)

    def changes(self, parent: int, rows: int) -> bool:
        """Whether a parent's matrix with so many rows is anything but right as it is."""
        return rows != self.size or any(row != at for at, row in enumerate(self.index[parent]))

    def coverage(self, names: Sequence[str]) -> str:
        """Returns how many tokens the parents share, and which have some alone.

        >>> align([{"a": 0, "b": 1}, {"a": 0, "<image>": 1}], {"a": 0, "b": 1, "<image>": 2}).coverage(["llm", "vlm"])
        '1 of 3 tokens in all parents; 1 kept from llm, which alone has it; 1 kept from vlm, which alone has it'
        """
        held = [tuple(p for p, rows in enumerate(self.index) if rows[at] != MISSING) for at in range(self.size)]
        text = f"{sum(len(h) == len(self.index) for h in held[: self.tokens])} of {self.tokens} tokens in all parents"
        for parent, name in enumerate(names):
            if alone := sum(h == (parent,) for h in held) if len(names) > 1 else 0:
                text += f"; {alone} kept from {name}, which alone has {'it' if alone == 1 else 'them'}"
        return text


def align(
    vocabularies: Sequence[Vocabulary],
    target: Vocabulary,
    *,
    rows: Sequence[int] | None = None,
    base: int | None = None,
    size: int | None = None,
) -> Alignment:
    """Returns where each row of the output comes from in each parent.

    A token that a parent lacks is taken from the only parent that has it; else from the base if it has it; else it is
    the mean of those that have it. Rows that no token of the target stands for (padding) are taken from the parents in
    which they stand for none either, by the same rule.

    Args:
        vocabularies: token text -> id of each parent, added tokens included.
        target: the output's vocabulary.
        rows: rows of each parent's matrix, by default one for each id; a token whose id lies beyond has no row.
        base: which parent is the base, if one is.
        size: rows of the output, at least one for each id of the target, which is the default.

    Raises:
        ModelError: vocabularies that spell their tokens in different systems; two tokens of the target with one id
            that are two rows in a parent; a size that is too small.

    >>> found = align([{"a": 0, "b": 1}, {"b": 0, "a": 1, "<image>": 2}], {"a": 0, "b": 1, "<image>": 2})
    >>> found.index[0], found.index[1], found.donors[2]
    ([0, 1, -1], [1, 0, 2], 1)
    """
    check_spellings([*vocabularies, target])
    least = max(target.values(), default=-1) + 1
    size = least if size is None else size
    if size < least:
        raise ModelError(f"the output has {size} rows for tokens, and ids up to {least - 1}. Give it {least} or more.")
    rows = [max(v.values(), default=-1) + 1 for v in vocabularies] if rows is None else rows
    index = []
    for parent, (vocabulary, count) in enumerate(zip(vocabularies, rows, strict=True)):
        index.append(_rows(vocabulary, target, count, size, parent))
    donors = []
    for at in range(size):
        holders = [p for p, own in enumerate(index) if own[at] != MISSING]
        if not holders:
            donors.append(MISSING)
        elif len(holders) == 1:
            donors.append(holders[0])
        else:
            donors.append(base if base in holders and base is not None else MEAN)
    return Alignment(tuple(index), donors, len(set(target.values())))


def aligned(matrices: Sequence[Tensor], alignment: Alignment, parent: int) -> Tensor:
    """Returns one parent's matrix with the rows of the output.

    Args:
        matrices: the parents' matrices, one row a token, of any float dtype, in the order of the alignment; further
            dimensions are equal.
        alignment: from `align`, made with their numbers of rows.
        parent: which of them.

    Returns:
        The matrix itself where nothing changes. Else a new one of shape (alignment.size, …) in the widest dtype of the
        parents; means are formed in float32.

    >>> import torch
    >>> found = align([{"a": 0, "b": 1}, {"b": 0, "c": 1}], {"a": 0, "b": 1, "c": 2})
    >>> aligned([torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0], [4.0]])], found, 0).flatten().tolist()
    [1.0, 2.0, 4.0]
    """
    import torch

    own = matrices[parent]
    dtype = own.dtype
    for matrix in matrices:
        dtype = torch.promote_types(dtype, matrix.dtype)
    if not alignment.changes(parent, own.shape[0]):
        return own.to(dtype)
    index = torch.tensor(alignment.index[parent])
    donors = torch.tensor(alignment.donors)
    missing = index == MISSING
    result = own[index.clamp(min=0).to(own.device)].to(dtype)
    for donor in sorted(set(donors[missing].tolist()) - {MISSING, MEAN}):
        at = (missing & (donors == donor)).nonzero()[:, 0]
        result[at] = matrices[donor][torch.tensor(alignment.index[donor])[at]].to(dtype)
    if len(at := (missing & (donors == MEAN)).nonzero()[:, 0]):
        result[at] = _mean(matrices, alignment, at).to(dtype)
    if len(at := (missing & (donors == MISSING)).nonzero()[:, 0]):
        result[at] = own[index[~missing].to(own.device)].float().mean(0).to(dtype)
    return result


def alone(alignment: Alignment) -> dict[int, tuple[int, int]]:
    """Returns the rows that one parent alone has: row of the output -> the parent, and its own row.

    >>> alone(align([{"a": 0}, {"a": 0, "<image>": 1}], {"a": 0, "<image>": 1}))
    {1: (1, 1)}
    """
    found = {}
    for row, own in enumerate(zip(*alignment.index, strict=True)):
        holders = [parent for parent, source in enumerate(own) if source != MISSING]
        if len(holders) == 1:
            found[row] = (holders[0], own[holders[0]])
    return found


def union(vocabularies: Sequence[Vocabulary], *, rows: Sequence[int] | None = None) -> dict[str, int]:
    """Returns the vocabulary of all parents: the first one's ids as they are, then what the others add, in order.

    Args:
        vocabularies: token text -> id, the base's first.
        rows: rows of each parent's matrix; a token whose id lies beyond has no row and is not taken.

    Raises:
        ModelError: vocabularies that spell their tokens in different systems.

    >>> union([{"a": 0, "b": 1}, {"b": 0, "<image>": 1}])
    {'a': 0, 'b': 1, '<image>': 2}
    """
    check_spellings(vocabularies)
    limits = [max(v.values(), default=-1) + 1 for v in vocabularies] if rows is None else rows
    result: dict[str, int] = {}
    for vocabulary, limit in zip(vocabularies, limits, strict=True):
        base, following = not result, max(result.values(), default=-1) + 1
        for token, number in sorted(vocabulary.items(), key=lambda item: item[1]):
            if number < limit and token not in result:
                result[token] = number if base else following
                following += 1
    return result


def spelling(vocabulary: Vocabulary) -> str:
    """Returns the system in which a vocabulary writes spaces and bytes, by what most of its tokens begin with.

    Byte-level tokenizers write a space as Ġ (and every byte of Japanese as a Latin letter), SentencePiece as ▁,
    WordPiece marks what continues a word with ##; "plain" is none of them. The same text of a token means the same
    only within one system.

    >>> spelling({"Ġthe": 0, "æĹ¥": 1}), spelling({"▁the": 0, "日": 1}), spelling({"a": 0})
    ('byte-level', 'SentencePiece', 'plain')
    """
    marks = {"byte-level": "Ġ", "SentencePiece": "▁", "WordPiece": "##"}
    counts = {system: sum(token.startswith(mark) for token in vocabulary) for system, mark in marks.items()}
    most = max(counts, key=lambda system: counts[system])
    return most if counts[most] else "plain"


def check_spellings(vocabularies: Iterable[Vocabulary]) -> None:
    """Refuses vocabularies of different systems of spelling: equal texts would be different tokens.

    Raises:
        ModelError: naming the systems. A vocabulary that is plain goes with none of the others.
    """
    found = list(dict.fromkeys(spelling(vocabulary) for vocabulary in vocabularies if vocabulary))
    if len(found) > 1:
        raise ModelError(
            f"the tokenizers spell their tokens in different systems ({' and '.join(found)}): tokens cannot be "
            "matched by their text. Merge models whose tokenizers are of one kind."
        )


def union_tokenizer(tokenizers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the tokenizer.json that has the tokens of all parents: the first one's, with what the others add.

    Text is split as the first parent splits it. Tokens that others add come in the order and with the ids of `union`;
    added tokens keep the settings they have where they are first found, and pieces of another parent's model, for
    which the first has no merges or scores, become added tokens too: see `with_tokens`.

    Args:
        tokenizers: the parents' tokenizer.json, the base's first; not changed.

    Raises:
        ModelError: vocabularies that spell their tokens in different systems.

    >>> base = {"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}, "added_tokens": []}
    >>> image = {"id": 1, "content": "<image>", "special": True}
    >>> union_tokenizer([base, base | {"added_tokens": [image]}])["added_tokens"]
    [{'id': 1, 'content': '<image>', 'special': True}]
    """
    first, *others = tokenizers
    result = copy.deepcopy(dict(first))
    there = {entry["content"] for entry in first.get("added_tokens") or ()}
    known = vocabulary_of(first)
    ids = union([vocabulary_of(tokenizer) for tokenizer in tokenizers])
    more: dict[str, Mapping[str, Any]] = {}
    for tokenizer in others:
        own = {entry["content"]: entry for entry in tokenizer.get("added_tokens") or ()}
        more |= {text: entry for text, entry in own.items() if text not in there and text not in more}
        more |= {text: _PLAIN for text in _pieces(tokenizer) if text not in known and text not in more}
    entries = [{**entry, "id": ids[text], "content": text} for text, entry in more.items()]
    result["added_tokens"] = [*(result.get("added_tokens") or ()), *sorted(entries, key=lambda entry: int(entry["id"]))]
    return result


def with_tokens(tokenizer: Mapping[str, Any], texts: Iterable[str]) -> dict[str, Any]:
    """Returns a tokenizer.json with more added tokens, which take the ids after its last.

    An added token is found wherever its text stands, before the rest of the text is split. The text is that of a
    document: a piece that a byte-level tokenizer spells in letters of its own (Ġ for a space, æĹ¥ for 日) is not found,
    but a model can write it, and it is decoded.

    >>> with_tokens({"model": {"vocab": {"a": 0}}}, ["<|im_start|>"])["added_tokens"][0]["id"]
    1
    """
    result = copy.deepcopy(dict(tokenizer))
    known = vocabulary_of(tokenizer)
    following = max(known.values(), default=-1) + 1
    new = [text for text in dict.fromkeys(texts) if text not in known]
    result["added_tokens"] = [
        *(result.get("added_tokens") or ()),
        *({**_PLAIN, "id": following + at, "content": text} for at, text in enumerate(new)),
    ]
    return result


_PLAIN: Mapping[str, Any] = MappingProxyType(
    {"single_word": False, "lstrip": False, "rstrip": False, "normalized": True, "special": False}
)
"""The settings of a token that is added by its text alone."""


def vocabulary_of(tokenizer: Mapping[str, Any]) -> dict[str, int]:
    """Returns token text -> id of a tokenizer.json, added tokens included.

    >>> vocabulary_of({"model": {"vocab": {"a": 0}}, "added_tokens": [{"id": 1, "content": "<image>"}]})
    {'a': 0, '<image>': 1}
    """
    return _pieces(tokenizer) | {entry["content"]: int(entry["id"]) for entry in tokenizer.get("added_tokens") or ()}


def _pieces(tokenizer: Mapping[str, Any]) -> dict[str, int]:
    """The model's own pieces: a mapping in BPE, pairs of piece and score in Unigram."""
    pieces = tokenizer["model"]["vocab"]
    return dict(pieces) if isinstance(pieces, Mapping) else {pair[0]: at for at, pair in enumerate(pieces)}


def _rows(vocabulary: Vocabulary, target: Vocabulary, count: int, size: int, parent: int) -> list[int]:
    """A parent's row for each row of the output."""
    own = [MISSING] * size
    set_by: dict[int, str] = {}
    for token, at in target.items():
        row = vocabulary.get(token, MISSING)
        if not 0 <= row < count:
            continue
        if own[at] not in (MISSING, row):
            raise ModelError(
                f"the tokens {set_by[at]!r} and {token!r} share row {at} of the output and are rows {own[at]} and "
                f"{row} of parent {parent + 1}. Take the tokenizer of another parent."
            )
        own[at], set_by[at] = row, token
    used, named = set(vocabulary.values()), set(target.values())
    for at in range(min(size, count)):
        if at not in named and at not in used:
            own[at] = at
    return own


def _mean(matrices: Sequence[Tensor], alignment: Alignment, at: Tensor) -> Tensor:
    """The mean of the rows of those parents that have them, in float32."""
    import torch

    total = torch.zeros((len(at), *matrices[0].shape[1:]), device=matrices[0].device)
    holders = torch.zeros(len(at))
    for matrix, own in zip(matrices, alignment.index, strict=True):
        rows = torch.tensor(own)[at]
        has = rows != MISSING
        total[has] += matrix[rows[has]].float()
        holders += has
    return total / holders.to(total.device).reshape(-1, *[1] * (total.dim() - 1))
