"""Which elements are kept: by magnitude, by rank, and at random."""

from __future__ import annotations

from itertools import pairwise
from math import sqrt

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ikyoku.merging import kept, mask_key, random_mask, threshold
from ikyoku.merging.magnitudes import OrderStatistics
from ikyoku.merging.sparsify import key_words, outlier_bounds, positions, rank_probabilities

N = 1 << 18


def _distinct(n: int, seed: int = 0) -> torch.Tensor:
    """Distinct magnitudes of both signs in any order."""
    generator = torch.Generator().manual_seed(seed)
    signs = torch.randint(0, 2, (n,), generator=generator) * 2 - 1
    return (torch.randperm(n, generator=generator) + 1) * signs / 7


@pytest.mark.parametrize("density", [0.0, 0.1, 0.25, 0.5, 0.9, 1.0])
def test_a_trim_keeps_round_density_n_of_distinct_magnitudes(density: float) -> None:
    for n in range(1, 301):
        delta = _distinct(n, n)
        assert int((delta.abs() >= threshold(delta, density)).sum()) == round(density * n) == kept(density, n)


@given(st.lists(st.sampled_from([-2.0, -1.0, -0.5, 0.5, 1.0, 2.0]), min_size=1, max_size=40), st.floats(0, 1))
def test_all_ties_at_the_threshold_are_kept(values: list[float], density: float) -> None:
    delta = torch.tensor(values)
    keep = delta.abs() >= threshold(delta, density)
    count = kept(density, len(values))
    assert int(keep.sum()) >= count
    if count:
        assert int((delta.abs() > threshold(delta, density)).sum()) < count or count == len(values)
        assert {abs(value) for value in delta[keep].tolist()}.isdisjoint(abs(v) for v in delta[~keep].tolist())
    else:
        assert not keep.any()


def test_what_is_masked_counts_as_zero() -> None:
    delta, mask = torch.tensor([5.0, 4.0, 3.0, 2.0]), torch.tensor([False, True, True, True])
    assert threshold(delta, 0.5, mask) == 3.0
    assert threshold(delta, 0.75, ~mask) == 0.0


@given(st.integers(1, 200), st.floats(0, 1), st.floats(0, 1))
def test_outliers_are_left_out_and_the_density_is_kept(n: int, density: float, gamma: float) -> None:
    delta = _distinct(n)
    low, high = outlier_bounds(OrderStatistics(delta).largest, n, density=density, gamma=gamma)
    size = delta.abs()
    keep = (size >= low) & (size <= high)
    assert int(keep.sum()) == kept(density, n)
    outliers = min(round(gamma * n), n - kept(density, n))
    if keep.any():
        assert int((size > size[keep].max()).sum()) == outliers


def test_rank_probabilities_rise_with_the_rank_and_have_the_density_as_mean() -> None:
    delta = torch.stack([_distinct(101, seed) for seed in range(3)])
    probability = rank_probabilities(delta, 0.4, 0.3).view(3, 101)
    torch.testing.assert_close(probability.mean(1), torch.full((3,), 0.4))
    for row, sizes in zip(probability, delta.abs(), strict=True):
        assert row[sizes.argsort()].diff().min() > 0
        assert (float(row.min()), float(row.max())) == pytest.approx((0.1, 0.7))
    ties = rank_probabilities(torch.tensor([1.0, -1.0, 3.0, 1.0]), 0.5, 0.2)
    assert ties.unique().numel() == 2
    assert float(ties.mean()) == pytest.approx(0.5)
    for density in (0.0, 1.0):
        assert (rank_probabilities(delta, density, 0.3) == density).all()
    assert rank_probabilities(torch.tensor(3.0), 0.5, 0.1).tolist() == [0.5]


@pytest.mark.parametrize("keep", [0.01, 0.3, 0.5, 0.9])
def test_masks_keep_the_share_that_was_asked_for(keep: float) -> None:
    scores = []
    for number in range(24):
        mask = random_mask(mask_key(0, f"tensor {number}", number % 3), 0, N, keep)
        scores.append((float(mask.sum()) - keep * N) / sqrt(keep * (1 - keep) * N))
    assert max(map(abs, scores)) < 4.5
    assert abs(sum(scores)) / sqrt(len(scores)) < 4
    assert 8 < sum(score * score for score in scores) < 48  # chi-square with 24 degrees of freedom


def test_none_and_all_are_exact() -> None:
    assert not random_mask(5, 0, N, 0.0).any()
    assert random_mask(5, 0, N, 1.0).all()


@pytest.mark.parametrize("start", [0, 1, 1000, 2**31 - 5, 2**32 - 7, 5 * 2**32 + 3])
def test_a_mask_is_the_same_in_any_pieces(start: int) -> None:
    whole = random_mask(9, start, 1000, 0.4)
    pieces = [random_mask(9, start + at, size, 0.4) for at, size in ((0, 1), (1, 63), (64, 936))]
    assert torch.equal(whole, torch.cat(pieces))
    assert torch.equal(whole, random_mask(9, start + 2**32, 1000, 0.4))
    assert torch.equal(positions(start, 4, whole), positions(torch.tensor(start).to(torch.int32), 4, whole))


def test_a_larger_share_keeps_what_a_smaller_one_keeps() -> None:
    less, more = random_mask(3, 0, 10_000, 0.2), random_mask(3, 0, 10_000, 0.6)
    assert bool((more | ~less).all())


def _coins(key: int) -> torch.Tensor:
    return random_mask(key, 0, N, 0.5).float() - 0.5


def _correlation(one: torch.Tensor, other: torch.Tensor) -> float:
    """In standard deviations of that of independent coins."""
    return float((one * other).mean() * 4 * sqrt(one.numel()))


@pytest.mark.parametrize("lag", [1, 2, 3, 8, 64, 1024, 4096])
def test_neighbours_are_independent(lag: int) -> None:
    found = [_correlation(coins[:-lag], coins[lag:]) for coins in map(_coins, range(12))]
    assert max(map(abs, found)) < 4.5
    assert 1 < sum(one * one for one in found) < 35


def test_parents_tensors_and_seeds_are_independent() -> None:
    keys = [mask_key(seed, name, parent) for seed in (0, 1) for name in ("a", "b") for parent in (0, 1, 2)]
    keys += [0, 1, 2, 1 << 32, 2 << 32]  # keys that are near each other
    assert len({*map(key_words, keys)}) == len(keys)
    coins = [_coins(key) for key in keys]
    found = [_correlation(coins[i], coins[j]) for i in range(len(keys)) for j in range(i)]
    assert max(map(abs, found)) < 4.8
    assert 0.7 < sum(one * one for one in found) / len(found) < 1.4
    shifted = [_correlation(one[1:], other[:-1]) for one, other in pairwise(coins)]
    assert max(map(abs, shifted)) < 4.5


def test_counts_in_blocks_are_binomial() -> None:
    for keep in (0.1, 0.5):
        counts = torch.cat([random_mask(key, 0, N, keep).view(-1, 64).sum(1) for key in range(8)]).float()
        assert float(counts.var()) == pytest.approx(64 * keep * (1 - keep), rel=0.03)


def test_keys_repeat_and_differ() -> None:
    keys = {mask_key(seed, name, parent) for seed in range(3) for name in ("a", "b", "0", "1") for parent in range(12)}
    assert len(keys) == 3 * 4 * 12
    assert all(0 <= key < 2**64 for key in keys)
    assert mask_key(0, "model.norm.weight", 1) == mask_key(0, "model.norm.weight", 1) == 11645579974829015104
