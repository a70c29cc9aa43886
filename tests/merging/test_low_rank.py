"""Low-rank updates: sums are exact, and what is cut is the best there is and told."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ikyoku.merging import METHODS, merge_tensor
from ikyoku.merging.low_rank import (
    EXACT,
    LowRank,
    combined,
    concatenated,
    cut,
    delta,
    dense,
    low_rank,
    merged,
    truncated,
)

SHAPE = (12, 10)


def _update(seed: int, rank: int = 3, *, scale: float = 0.5, shape: tuple[int, int] = SHAPE) -> LowRank:
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.randn(rank, shape[1], generator=generator), torch.randn(shape[0], rank, generator=generator)
    return low_rank(a, b, scale)


def _dense_merge(method: str, base: LowRank | None, parents: list[LowRank | None], **parameters: Any) -> torch.Tensor:
    own = METHODS[method]
    origin = dense(base, SHAPE) if own.needs_base else None
    return merge_tensor(own, origin, [dense(p, SHAPE) for p in parents], **parameters)


PARAMETERS: dict[str, dict[str, Any]] = {
    "linear": {"shared": {"normalize": True}, "each": [{"weight": 0.7}, {"weight": 0.6}]},
    "task_arithmetic": {"shared": {"lambda": 1.3}, "each": [{"weight": 0.7}, {"weight": -0.2}]},
    "ties": {"shared": {}, "each": [{"weight": 0.7, "density": 0.5}, {"weight": 0.6, "density": 0.3}]},
    "dare_ties": {"shared": {}, "each": [{"weight": 0.7, "density": 0.5}, {"weight": 0.6, "density": 0.3}]},
    "dare_linear": {"shared": {}, "each": [{"weight": 0.7, "density": 0.5}, {"weight": 0.6, "density": 0.3}]},
    "jradievo": {"shared": {"drop": 0.2}, "each": [{"weight": 0.7, "density": 0.5}, {"weight": 0.6, "density": 0.3}]},
    "breadcrumbs_ties": {"shared": {}, "each": [{"weight": 0.7, "density": 0.5}, {"weight": 0.6, "density": 0.3}]},
    "della": {"shared": {}, "each": [{"weight": 0.7, "density": 0.5, "epsilon": 0.1}] * 2},
    "model_stock": {"shared": {}, "each": [{}, {}]},
}


@pytest.mark.parametrize("method", PARAMETERS)
@pytest.mark.parametrize("base", [None, _update(9, 2)], ids=["no base", "a base"])
def test_a_method_on_updates_is_the_method_on_full_matrices(method: str, base: LowRank | None) -> None:
    parents: list[LowRank | None] = [_update(1), _update(2, 5)]
    parameters = PARAMETERS[method] | {"keys": [1, 2]}
    wanted = _dense_merge(method, base, parents, **parameters)
    found = combined(METHODS[method], base, parents, shape=SHAPE, rank=10, **parameters)
    torch.testing.assert_close(delta(found), wanted, rtol=1e-4, atol=2e-5)
    assert found.lost < 1e-6


def test_slerp_of_two_adapters() -> None:
    parameters: dict[str, Any] = {"shared": {"t": 0.3}, "each": [{}], "keys": [1]}
    wanted = _dense_merge("slerp", _update(1), [_update(2)], **parameters)
    found = combined(METHODS["slerp"], _update(1), [_update(2)], shape=SHAPE, **parameters)
    assert found.rank == 6  # it is a sum of the two, so the sum of the ranks holds it
    torch.testing.assert_close(delta(found), wanted, rtol=1e-4, atol=1e-5)
    assert found.lost < 1e-6


def test_sums_are_put_side_by_side() -> None:
    parents = [_update(1, 2), _update(2, 3)]
    found = combined(
        METHODS["linear"],
        None,
        parents,
        shape=SHAPE,
        shared={"normalize": False},
        each=[{"weight": 0.25}, {"weight": 0.5}],
    )
    assert (found.rank, found.lost) == (5, 0.0)
    assert set(EXACT) >= {"linear", "task_arithmetic"}
    # factors that are powers of two lose no bit: the parents' own numbers, shifted
    for rows, parent in ((slice(0, 2), parents[0]), (slice(2, 5), parents[1])):
        ratio = found.a[rows] / parent.a
        assert ratio.unique().numel() == 1
        assert float(torch.log2(ratio.unique())).is_integer()
    wanted = (0.25 * delta(parents[0]).double() + 0.5 * delta(parents[1]).double()).float()
    torch.testing.assert_close(delta(found), wanted, rtol=1e-5, atol=1e-6)


def test_a_and_b_are_of_one_size() -> None:
    lopsided = low_rank(torch.randn(2, 10) * 1e4, torch.randn(12, 2) * 1e-6, 3.0)
    side_by_side = concatenated([(lopsided, -0.3)], shape=SHAPE)
    assert 0.5 < float(side_by_side.a.norm() / side_by_side.b.norm()) < 2
    torch.testing.assert_close(delta(side_by_side), -0.3 * delta(lopsided))
    svd = truncated(delta(lopsided), 2)
    assert float(svd.a.norm() / svd.b.norm()) == pytest.approx(1, rel=1e-5)
    torch.testing.assert_close(delta(svd), delta(lopsided), rtol=1e-4, atol=1e-6)


def test_what_a_parent_does_not_adapt_is_no_update() -> None:
    one = _update(1)
    found = combined(
        METHODS["linear"], None, [one, None], shape=SHAPE, shared={}, each=[{"weight": 1.0}, {"weight": 1.0}]
    )
    torch.testing.assert_close(delta(found), delta(one) / 2)
    nothing = combined(METHODS["linear"], None, [None], shape=SHAPE, shared={}, each=[{"weight": 1.0}])
    assert delta(nothing).equal(torch.zeros(SHAPE))
    without = combined(
        METHODS["linear"],
        None,
        [one, _update(2)],
        shape=SHAPE,
        shared={"normalize": False},
        each=[{"weight": 1.0}, {"weight": 0.0}],
    )
    assert without.rank == 3


def test_parameters_are_checked() -> None:
    with pytest.raises(ValueError, match="parent 1: density is 2"):
        combined(
            METHODS["ties"],
            None,
            [_update(1)],
            shape=SHAPE,
            shared={},
            each=[{"weight": 1.0, "density": 2.0}],
            keys=[0],
        )
    with pytest.raises(ValueError, match="linear needs its weight"):
        combined(METHODS["linear"], None, [_update(1)], shape=SHAPE, shared={}, each=[{}])


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 8), st.integers(1, 12), st.integers(0, 10**6))
def test_a_cut_is_the_best_and_its_loss_is_told(rank: int, parts: int, seed: int) -> None:
    update = _update(seed, parts)
    full = delta(update).double()
    values = torch.linalg.svdvals(full)
    best = float((values[rank:] ** 2).sum() / (values**2).sum())
    for found in (cut(update, rank), truncated(full.float(), rank)):
        assert found.rank <= max(rank, min(parts, rank))
        lost = float((full - delta(found).double()).square().sum() / full.square().sum())
        assert lost == pytest.approx(best, abs=1e-5)
        assert found.lost == pytest.approx(best, abs=1e-5)


def test_a_large_matrix_is_cut_nearly_as_well_and_repeatably() -> None:
    torch.manual_seed(0)
    updates = [_update(seed, 8, shape=(700, 600)) for seed in range(3)]
    own, each = METHODS["ties"], [{"weight": 1.0, "density": 0.5}] * 3
    full = merge_tensor(own, torch.zeros(700, 600), [delta(u) for u in updates], shared={}, each=each, keys=[0] * 3)
    values = torch.linalg.svdvals(full).double()
    for rank in (8, 24):
        best = float((values[rank:] ** 2).sum() / (values**2).sum())
        found = truncated(full, rank)
        lost = float((full - delta(found)).double().square().sum() / full.double().square().sum())
        assert found.lost == pytest.approx(lost, abs=1e-4)
        assert best - 1e-5 <= lost <= best * 1.01
        assert found.a.equal(truncated(full, rank).a)


def test_a_zero_matrix_loses_nothing() -> None:
    found = truncated(torch.zeros(4, 3), 2)
    assert found.lost == 0.0
    assert delta(found).equal(torch.zeros(4, 3))


def test_merged_into_a_weight() -> None:
    weight = torch.randn(4, 3).bfloat16()
    a, b = torch.randn(2, 3), torch.randn(4, 2)
    found = merged(weight, a, b, 0.5)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, weight.float() + 0.5 * b @ a)
    torch.testing.assert_close(merged(weight.T, a, b, 0.5, transposed=True), found.T)
