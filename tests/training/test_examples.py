"""Examples: the mask, where the answer's tokens come from, spans, the order by length, the view for a person."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ikyoku.training.examples import MASKED, Example, batches_by_length, pair_example, shown, span_example

LENGTHS = st.lists(st.integers(1, 50), max_size=300)
BATCH = st.integers(1, 20)
SEED = st.integers(0, 2**32)


# the mask


def test_the_prompt_is_masked_the_answer_and_the_end_are_learnt() -> None:
    example = pair_example("line-1", [1, 5, 6], [1, 5, 6, 7, 8], [70, 80], end=2)
    assert example == Example("line-1", (1, 5, 6, 7, 8, 2), (MASKED, MASKED, MASKED, 7, 8, 2))
    assert example.learnt == 3


@pytest.mark.parametrize(
    "text",
    [
        pytest.param([1, 56, 7], id="the tokenizer joined the prompt's end and the answer's beginning"),
        pytest.param([1, 9, 7, 8], id="the whole begins otherwise"),
        pytest.param([1, 5], id="the whole ends with the prompt"),
        pytest.param([1], id="the whole is shorter than the prompt"),
        pytest.param([], id="there is no whole, as in a chat"),
    ],
)
def test_the_answer_alone_where_the_whole_does_not_begin_with_the_prompt(text: list[int]) -> None:
    example = pair_example("1", [1, 5], text, [7, 8], end=2)
    assert example == Example("1", (1, 5, 7, 8, 2), (MASKED, MASKED, 7, 8, 2))


@settings(deadline=None)
@given(
    prompt=st.lists(st.integers(0, 9), min_size=1),
    text=st.lists(st.integers(0, 9)),
    answer=st.lists(st.integers(0, 9), min_size=1),
)
def test_a_model_learns_from_what_it_will_be_asked(prompt: list[int], text: list[int], answer: list[int]) -> None:
    example = pair_example("1", prompt, text, answer, end=99)
    assert list(example.ids[: len(prompt)]) == prompt
    assert set(example.labels[: len(prompt)]) == {MASKED}
    assert example.labels[len(prompt) :] == example.ids[len(prompt) :]
    assert example.ids[-1] == 99
    assert example.learnt >= 2


def test_spans() -> None:
    ids = [10, 11, 12, 13, 14, 15]
    assert span_example("1", ids, [(1, 3), (5, 6)]).labels == (MASKED, 11, 12, MASKED, MASKED, 15)
    assert span_example("1", ids, [(0, 6)]).labels == tuple(ids)
    nothing = span_example("1", ids, [])
    assert (nothing.ids, nothing.learnt) == (tuple(ids), 0)
    assert ids == [10, 11, 12, 13, 14, 15]


# the order


@settings(deadline=None)
@given(lengths=LENGTHS, batch_size=BATCH, seed=SEED)
def test_an_order_holds_each_example_once_and_the_longest_first(lengths: list[int], batch_size: int, seed: int) -> None:
    order = batches_by_length(lengths, batch_size=batch_size, rng=np.random.default_rng(seed))
    assert sorted(order) == list(range(len(lengths)))
    assert all(type(i) is int for i in order)
    again = batches_by_length(lengths, batch_size=batch_size, rng=np.random.default_rng(seed))
    assert order == again
    if lengths:
        assert max(lengths) in [lengths[i] for i in order[:batch_size]]


@settings(deadline=None)
@given(lengths=LENGTHS, batch_size=BATCH, seed=SEED)
def test_batches_are_cut_from_the_order_by_position(lengths: list[int], batch_size: int, seed: int) -> None:
    order = batches_by_length(lengths, batch_size=batch_size, rng=np.random.default_rng(seed))
    batches = [[lengths[i] for i in order[at : at + batch_size]] for at in range(0, len(order), batch_size)]
    assert all(batch == sorted(batch, reverse=True) for batch in batches)
    if len(lengths) <= 50 * batch_size:  # one pool: no batch reaches into another's lengths
        whole = sorted((b for b in batches if len(b) == batch_size), reverse=True)
        assert all(before[-1] >= after[0] for before, after in pairwise(whole))
    assert all(len(b) == batch_size for b in batches[:-1])


def test_like_lengths_share_a_batch() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(10, 1000, size=2000).tolist()
    order = batches_by_length(lengths, batch_size=8, rng=rng)

    def padding(indices: list[int]) -> int:
        batches = [[lengths[i] for i in indices[at : at + 8]] for at in range(0, len(indices), 8)]
        return sum(max(b) * len(b) - sum(b) for b in batches)

    assert padding(order) < padding(list(range(2000))) / 10


def test_the_order_depends_on_the_generator() -> None:
    lengths = list(range(100))
    one, other = (batches_by_length(lengths, batch_size=4, rng=np.random.default_rng(seed)) for seed in (0, 1))
    assert one != other
    rng = np.random.default_rng(0)
    first, second = (batches_by_length(lengths, batch_size=4, rng=rng) for _ in range(2))
    assert first == one
    assert first != second


@pytest.mark.parametrize(("count", "batch_size"), [(0, 4), (1, 4), (3, 4), (4, 4), (5, 4), (401, 4), (7, 1)])
def test_an_incomplete_batch_comes_last(count: int, batch_size: int) -> None:
    lengths = list(range(1, count + 1))
    order = batches_by_length(lengths, batch_size=batch_size, rng=np.random.default_rng(3))
    assert sorted(order) == list(range(count))
    last = [lengths[i] for i in order[count - count % batch_size :]]
    if count == 401:  # three pools of 200, 200 and 1
        assert len(last) == 1
    elif count % batch_size and count > batch_size:
        assert last == list(range(count % batch_size, 0, -1))  # the shortest of the only pool


# the view


def test_shown() -> None:
    letters = "abcdef"

    def decode(ids: object) -> str:
        assert isinstance(ids, tuple)
        return "".join(letters[i] for i in ids)

    assert shown(Example("1", (0, 1, 2, 3), (MASKED, 1, MASKED, 3)), decode) == "a⟦b⟧c⟦d⟧"
    assert shown(Example("1", (0, 1), (0, 1)), decode) == "⟦ab⟧"
    assert shown(Example("1", (0, 1), (MASKED, MASKED)), decode) == "ab"
    assert shown(Example("1", (), ()), decode) == ""
