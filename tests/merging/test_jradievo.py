"""The third study's operator over a model of several tensors, and the quirks of its released code one by one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch

from ikyoku.merging import (
    METHODS,
    ModelTrim,
    OrderStatistics,
    constants,
    elected,
    merge_tensor,
    model_trim_threshold,
    threshold,
)
from ikyoku.merging.jradievo import seeded_mask, trim_rank, trim_threshold

JRADIEVO = METHODS["jradievo"]
SIZES = (500, 37, 4000)


def _model(seed: int, scale: float = 1.0) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [scale * torch.randn(size, generator=generator) for size in SIZES]


def _trimmed(base: list[torch.Tensor], parent: list[torch.Tensor], shared: Mapping[str, Any], density: float) -> float:
    trim = ModelTrim(JRADIEVO, shared=shared, each={"density": density})
    for number, pair in enumerate(zip(base, parent, strict=True)):
        trim.add(*pair, key=number)
    trim.refine()
    for number, pair in enumerate(zip(base, parent, strict=True)):
        trim.add(*pair, key=number)
    return trim.threshold()


@pytest.mark.parametrize("density", [0.0, 0.2, 0.77, 1.0])
def test_the_threshold_is_that_of_all_tensors_as_one(density: float) -> None:
    base, parent = _model(0), _model(1)
    deltas = [one.float() - other for one, other in zip(parent, base, strict=True)]
    wanted = threshold(torch.cat(deltas), density)
    assert _trimmed(base, parent, {}, density) == wanted
    statistics = [OrderStatistics(delta) for delta in deltas]
    assert model_trim_threshold(statistics, shared={}, each={"density": density}) == wanted


def test_what_was_dropped_counts_as_zero_and_the_rest_is_rescaled() -> None:
    base, parent = [torch.zeros(size) for size in SIZES], _model(1)
    assert _trimmed(base, parent, {"drop": 0.6}, 0.5) == 0.0  # fewer are left than the density would keep
    above = _trimmed(base, parent, {"drop": 0.5}, 0.1)  # a tenth of all is a fifth of what is left
    sizes = torch.cat(parent).abs()
    assert float((2 * sizes >= above).float().mean()) == pytest.approx(0.2, abs=0.02)


def test_statistics_do_not_tell_what_is_dropped_or_rounded() -> None:
    for shared in ({"drop": 0.1}, {"half": True}):
        with pytest.raises(ValueError, match="count with ModelTrim"):
            model_trim_threshold([OrderStatistics(torch.ones(3))], shared=shared, each={})


def test_a_model_in_parts_is_merged_as_one_tensor_would_be() -> None:
    base, parents = _model(0), [_model(seed, 0.5) for seed in (1, 2, 3)]
    parents[1][0] = 2 * base[0] - parents[0][0]  # sums that cancel: the majority decides
    parents[2][0] = base[0].clone()
    each = [{"weight": weight, "density": density} for weight, density in ((0.2, 0.9), (1.0, 0.8), (0.7, 0.5))]
    given: dict[str, Any] = {"shared": {"lambda": 1.3}, "each": each, "keys": [1, 2, 3]}
    whole = merge_tensor(JRADIEVO, torch.cat(base), [torch.cat(parent) for parent in parents], **given)
    given["thresholds"] = [
        _trimmed(base, parent, {}, row["density"]) for parent, row in zip(parents, each, strict=True)
    ]
    tensors = list(zip(base, *parents, strict=True))
    balance = 0
    for first, *rest in tensors:
        known = constants(JRADIEVO, first, rest, majority=0.0, **given)
        balance += int(elected(JRADIEVO, first, rest, known))
    parts = [merge_tensor(JRADIEVO, first, rest, majority=balance, **given) for first, *rest in tensors]
    assert torch.equal(whole, torch.cat(parts))


def test_sums_of_zero_take_the_majoritys_sign() -> None:
    base = torch.zeros(5)
    parents = [torch.tensor([1.0, 2, 3, 4, 0]), torch.tensor([-1.0, 2, 3, -5, 0])]
    given: dict[str, Any] = {"shared": {}, "each": [{}, {}], "keys": [0, 0]}
    assert merge_tensor(JRADIEVO, base, parents, **given).tolist() == [1.0, 2.0, 3.0, -5.0, 0.0]
    assert merge_tensor(JRADIEVO, base, parents, majority=-1, **given).tolist() == [-1.0, 2.0, 3.0, -5.0, 0.0]
    assert merge_tensor(JRADIEVO, base, parents, majority=0, **given).tolist() == [0.0, 2.0, 3.0, -5.0, 0.0]


def test_the_mean_counts_without_weights() -> None:
    parents = [torch.tensor([1.0, 2.0, -3.0])] * 2
    each = [{"weight": 0.5}, {"weight": 0.1}]
    made = merge_tensor(JRADIEVO, torch.zeros(3), parents, shared={}, each=each, keys=[0, 0])
    torch.testing.assert_close(made, 0.3 * parents[0])


def test_masks_are_shared_only_as_a_quirk() -> None:
    base, parents = torch.zeros(20_000), [torch.ones(20_000)] * 2
    given: dict[str, Any] = {"each": [{}, {}], "keys": [5, 6]}
    kept = {}
    for quirk in (False, True):
        made = merge_tensor(JRADIEVO, base, parents, shared={"drop": 0.5, "shared_masks": quirk}, **given)
        kept[quirk] = float((made != 0).float().mean())
    assert kept[False] == pytest.approx(0.75, abs=0.02)
    assert kept[True] == pytest.approx(0.5, abs=0.02)


def test_the_seeded_mask_is_that_of_torchs_own_generator() -> None:
    torch.manual_seed(42)
    wanted = 1 - torch.bernoulli(torch.full_like(torch.empty(30, 7, dtype=torch.float16), 0.4)).float()
    state = torch.get_rng_state()
    assert torch.equal(seeded_mask(210, 0.4).view(30, 7), wanted)
    assert torch.equal(torch.get_rng_state(), state)  # nobody else's randomness is touched


def test_the_bisection_stops_at_multiples_of_2_to_the_minus_16() -> None:
    for magnitude in (0.0, 1e-6, 0.1, 1.0, 2**-16, 63.999, 3.14159):
        found = trim_threshold(magnitude, {"bisection": True})
        assert found == int(magnitude * 2**16) / 2**16
    with pytest.raises(ValueError, match=r"reaches 64.0: jradievo's bisection looks only below 64"):
        trim_threshold(64.0, {"bisection": True})
    assert trim_threshold(float("inf"), {}) == float("inf")


def test_the_bisection_keeps_the_largest_of_those_to_be_trimmed() -> None:
    for n in range(1, 200):
        for trim in (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0):
            assert trim_rank(n, 1 - trim, {"bisection": True}) == n - int(n * trim) + 1
    values = torch.arange(1.0, 11.0)
    assert _trimmed([torch.zeros(10)], [values], {"bisection": True}, 0.7) == 3.0
    assert _trimmed([torch.zeros(10)], [values], {}, 0.7) == 4.0


def test_half_rounds_to_float16_and_differs_little() -> None:
    base, parents = _model(0)[2], [_model(seed, 0.1)[2] for seed in (1, 2)]
    given: dict[str, Any] = {"each": [{"density": 0.8}, {"weight": 0.5}], "keys": [1, 2]}
    made = merge_tensor(JRADIEVO, base, parents, shared={"half": True}, **given)
    assert torch.equal(made, made.half().float())
    plain = merge_tensor(JRADIEVO, base.half(), [parent.half() for parent in parents], shared={}, **given)
    near = (made - plain).abs() <= 2**-8
    assert float(near.float().mean()) > 0.99  # rounding moves a few across the threshold, or turns a sign
