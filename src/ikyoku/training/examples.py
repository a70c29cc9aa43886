"""Tokenised examples: which tokens are learnt, and in which order the examples come.

Loss is on the answers only. A token that is not learnt has the label -100, which the cross-entropy leaves out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

MASKED = -100


@dataclass(frozen=True, slots=True)
class Example:
    """One tokenised sample: `ids` and `labels` of equal length; a label is the token itself or -100.

    `pictures` are the sha256 of the pictures whose image tokens are among the ids, in their order.
    """

    id: str
    ids: tuple[int, ...]
    labels: tuple[int, ...]
    pictures: tuple[str, ...] = ()

    @property
    def learnt(self) -> int:
        """How many tokens are learnt."""
        return sum(label != MASKED for label in self.labels)


def pair_example(name: str, prompt: Sequence[int], text: Sequence[int], answer: Sequence[int], *, end: int) -> Example:
    """Returns a prompt and its answer, the answer and the end-of-text token learnt.

    The prompt's ids are those that an evaluation sends, so that the model is trained on what it will be asked. The
    answer's ids come from the tokenised whole where the whole begins with the prompt's ids, and from the answer alone
    where the tokenizer joins the two.

    Args:
        name: the sample's id.
        prompt: ids of the prompt alone.
        text: ids of prompt and answer tokenised together.
        answer: ids of the answer alone.
        end: the end-of-text token.

    >>> pair_example("1", [1, 5], [1, 5, 7], [9], end=2)
    Example(id='1', ids=(1, 5, 7, 2), labels=(-100, -100, 7, 2), pictures=())
    """
    whole = list(text[: len(prompt)]) == list(prompt) and len(text) > len(prompt)
    learnt = [*(text[len(prompt) :] if whole else answer), end]
    return Example(name, (*prompt, *learnt), (*(MASKED,) * len(prompt), *learnt))


def span_example(name: str, ids: Sequence[int], spans: Sequence[tuple[int, int]]) -> Example:
    """Returns a conversation in which the tokens of the given (start, end) spans are learnt.

    >>> span_example("1", [1, 5, 7, 2], [(2, 4)]).labels
    (-100, -100, 7, 2)
    """
    labels = [MASKED] * len(ids)
    for start, end in spans:
        labels[start:end] = ids[start:end]
    return Example(name, tuple(ids), tuple(labels))


def batches_by_length(lengths: Sequence[int], *, batch_size: int, rng: np.random.Generator) -> list[int]:
    """Returns an order of the examples in which each batch holds examples of like length.

    The examples are shuffled, sorted by length within pools of 50 batches, cut into batches, and the batches
    shuffled, so that padding is small and the order still random. The longest example comes in the first batch: what
    does not fit in memory fails at once.

    >>> order = batches_by_length([3, 9, 4, 8], batch_size=2, rng=np.random.default_rng(0))
    >>> order[:2]
    [1, 3]
    """
    shuffled = rng.permutation(len(lengths)).tolist()
    pool = batch_size * 50
    batches: list[list[int]] = []
    for start in range(0, len(shuffled), pool):
        part = sorted(shuffled[start : start + pool], key=lambda i: -lengths[i])
        batches += [part[i : i + batch_size] for i in range(0, len(part), batch_size)]
    # An incomplete batch may only stand at the end: batches are cut from the order by position.
    full = [b for b in batches if len(b) == batch_size]
    rest = [b for b in batches if len(b) < batch_size]
    order = rng.permutation(len(full)).tolist()
    if full:
        longest = max(order, key=lambda k: lengths[full[k][0]])
        order.remove(longest)
        order.insert(0, longest)
    return [i for k in order for i in full[k]] + [i for b in rest for i in b]


def shown(example: Example, decode: Callable[[Sequence[int]], str]) -> str:
    """Returns an example as text with the learnt part between ⟦ and ⟧, for a person to check the mask.

    >>> shown(Example("1", (1, 2, 3), (-100, 2, 3)), lambda ids: "".join("abc"[i - 1] for i in ids))
    'a⟦bc⟧'
    """
    parts: list[str] = []
    start = 0
    while start < len(example.ids):
        learnt = example.labels[start] != MASKED
        end = start
        while end < len(example.ids) and (example.labels[end] != MASKED) == learnt:
            end += 1
        text = decode(example.ids[start:end])
        parts.append(f"⟦{text}⟧" if learnt else text)
        start = end
    return "".join(parts)


def in_runs(values: Sequence[int], write: Callable[[int], str], *, most: int = 8) -> str:
    """Returns values as text; more than `most` equal ones in a row, such as a picture's tokens, are counted.

    >>> in_runs([1, 7, 7, 7, 2], str, most=2)
    '1 7×3 2'
    """
    runs = [(value, len(list(run))) for value, run in groupby(values)]
    return " ".join(f"{write(v)}×{n}" if n > most else " ".join([write(v)] * n) for v, n in runs)
