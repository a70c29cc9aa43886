"""The k-th largest magnitude: by counting, by statistics made before, and by plain sorting, which must be the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ikyoku.merging.magnitudes import (
    CHUNK,
    MagnitudeCounter,
    OrderStatistics,
    kept,
    largest,
    magnitudes,
    model_largest,
    model_threshold,
)

DENSITIES = (0.0, 0.001, 0.1, 1 / 3, 0.5, 0.77, 0.999, 1.0)


def _noise(n: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, generator=torch.Generator().manual_seed(seed))


KINDS: dict[str, Callable[[int], torch.Tensor]] = {
    "float32": _noise,
    "differences of bfloat16": lambda n: (0.02 * _noise(n)).bfloat16().float() - (0.02 * _noise(n, 1)).bfloat16(),
    "bfloat16": lambda n: _noise(n).bfloat16(),
    "float16": lambda n: _noise(n).half(),
    "many ties": lambda n: (2 * _noise(n)).round(),
    "zeros": torch.zeros,
    "mostly zeros": lambda n: _noise(n) * (torch.arange(n) % 50 == 0),
    "one value": lambda n: torch.full((n,), -0.3),
    "subnormal": lambda n: _noise(n) * 1e-41,
    "huge": lambda n: _noise(n) * 1e38,
}


def _sorted(values: torch.Tensor, density: float) -> float:
    """What is wanted, by sorting."""
    count = kept(density, values.numel())
    if count == 0:
        return float("inf")
    if count == values.numel():
        return 0.0
    return float(values.float().abs().sort(descending=True).values[count - 1])


def _counted(parts: list[torch.Tensor], density: float) -> float:
    counter = MagnitudeCounter()
    for part in parts:
        counter.add(part)
    counter.refine(density)
    for part in parts:
        counter.add(part)
    assert counter.n == sum(part.numel() for part in parts)
    return counter.threshold()


@pytest.mark.parametrize("n", [1, 2, 3, 1000, CHUNK + 17])
@pytest.mark.parametrize("kind", KINDS)
def test_counting_sorting_and_statistics_agree(kind: str, n: int) -> None:
    values = KINDS[kind](n)
    statistics = OrderStatistics(values)
    parts = list(values.split(max(1, n // 3)))
    several = [OrderStatistics(part) for part in parts]
    for density in DENSITIES:
        wanted = _sorted(values, density)
        assert _counted([values], density) == wanted
        assert _counted(parts, density) == wanted
        assert statistics.threshold(density) == wanted
        assert model_threshold(several, density) == wanted


@given(st.lists(st.floats(-(2.0**90), 2.0**90, width=32), min_size=1, max_size=60), st.integers(0, 61))
def test_any_numbers_and_any_rank(numbers: list[float], rank: int) -> None:
    values = torch.tensor(numbers)
    ordered = sorted(abs(number) for number in numbers)
    wanted = float("inf") if rank == 0 else 0.0 if rank > len(numbers) else ordered[len(numbers) - rank]
    statistics = OrderStatistics(values)
    assert largest(values, rank) == statistics.largest(rank) == model_largest([statistics], rank) == wanted
    if 0 < rank <= len(numbers):
        assert statistics.at_least(wanted) == sum(number >= wanted for number in ordered)


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_is_the_same_counted_or_sorted(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    n = 20_000
    values = KINDS[kind](n).float()
    values[7::900] = _noise(len(values[7::900]))  # some with many significant bits
    by_sorting = OrderStatistics(values)
    monkeypatch.setattr("ikyoku.merging.magnitudes._WORTH_COUNTING", 5000)
    by_counting = OrderStatistics(values)
    for rank in (1, 2, 5, 100, 5000, 13_333, n - 1, n):
        assert by_counting.largest(rank) == by_sorting.largest(rank)
        assert by_counting.at_least(by_counting.largest(rank)) == by_sorting.at_least(by_sorting.largest(rank))
    assert by_counting.nbytes == by_sorting.nbytes


def test_more_elements_in_a_bucket_than_are_kept_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ikyoku.merging.magnitudes._FEW", 1000)
    values = 1 + _noise(3 * CHUNK).abs() / 100  # one bucket holds nearly all
    assert _counted([values], 0.3) == _sorted(values, 0.3)


def test_statistics_of_a_difference_are_those_of_the_float32_difference() -> None:
    base, parent = (0.02 * _noise(3000)).bfloat16(), (0.02 * _noise(3000, 1)).half()
    made, plain = OrderStatistics.of(base, parent), OrderStatistics(parent.float() - base.float())
    assert [made.threshold(density) for density in DENSITIES] == [plain.threshold(density) for density in DENSITIES]
    pieces = torch.cat([piece.clone() for _, piece in magnitudes(base, parent, size=700)])
    assert torch.equal(pieces, (parent.float() - base.float()).abs())


def test_few_distinct_magnitudes_are_kept_as_a_table() -> None:
    n = 30_000
    table, whole = OrderStatistics((2 * _noise(n)).round()), OrderStatistics(_noise(n))
    assert table.n == whole.n == n
    assert table.nbytes < 12 * 20
    assert whole.nbytes == 4 * n
    values = _noise(8)
    OrderStatistics(values)
    assert torch.equal(values, _noise(8))  # what it is made from stays as it was


def test_a_counter_says_what_was_left_out() -> None:
    values = _noise(100)
    counter = MagnitudeCounter()
    counter.add(values)
    with pytest.raises(ValueError, match="call refine"):
        counter.threshold()
    counter.refine(0.5)
    with pytest.raises(ValueError, match="the same everything again"):
        counter.threshold()
    with pytest.raises(ValueError, match="between 0 and 1"):
        kept(1.01, 5)


@settings(max_examples=20)
@given(st.integers(1, 400), st.floats(0, 1), st.integers(0, 1000))
def test_infinities_and_nan_count_as_the_largest(n: int, density: float, seed: int) -> None:
    values = _noise(n, seed)
    values[0] = float("inf")
    if 0 < kept(density, n) < n:
        assert largest(values, 1) == float("inf")
        assert _counted([values], density) == _sorted(values, density)
    values[0] = float("nan")
    assert torch.isnan(torch.tensor(largest(values, 1)))
