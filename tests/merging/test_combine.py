"""The merge of a tensor: against plain formulas, and what must hold of every method."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from math import acos, sin
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ikyoku.merging import METHODS, OrderStatistics, constants, kept, mask_key, merge_tensor, random_mask
from ikyoku.merging.combine import combine
from ikyoku.merging.sparsify import rank_probabilities

Rows = Sequence[Mapping[str, float]]
ALL = pytest.mark.parametrize("name", METHODS)
TASKS = [name for name, method in METHODS.items() if method.sparsify != "none" or name == "task_arithmetic"]
SHARED: dict[str, dict[str, Any]] = {
    "slerp": {"t": 0.3},
    "jradievo": {"drop": 0.3, "lambda": 0.8},
    **{name: {"lambda": 0.7} for name in ("ties", "dare_ties", "breadcrumbs", "della")},
}
KEYS = [mask_key(0, "tensor", parent) for parent in range(3)]


def _tensors(
    count: int, shape: tuple[int, ...] = (40, 25), dtype: torch.dtype = torch.float32, seed: int = 0
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    base = torch.randn(shape, generator=generator)
    parents = [base + 0.1 * torch.randn(shape, generator=generator) for _ in range(count)]
    return base.to(dtype), [parent.to(dtype) for parent in parents]


def _count(name: str) -> int:
    return 1 if METHODS[name].most == 1 else 3


def _rows(name: str) -> list[dict[str, float]]:
    given = zip((0.5, 0.3, 0.4), (0.6, 0.3, 0.8), strict=True)
    rows = [{"weight": weight, "density": density, "gamma": 0.05, "epsilon": 0.1} for weight, density in given]
    return rows[: _count(name)]


def _merged(name: str, base: torch.Tensor, parents: Sequence[torch.Tensor], **more: Any) -> torch.Tensor:
    """The merge with the parameters of this file, unless others are given."""
    wanted: dict[str, Any] = {"shared": SHARED.get(name, {}), "each": _rows(name), "keys": KEYS[: len(parents)]}
    return merge_tensor(METHODS[name], base, parents, **(wanted | more))


# --- plain formulas, whole tensors at a time, float64 after the difference -------------------------------------------


def _largest(delta: torch.Tensor, count: int) -> torch.Tensor:
    order = delta.abs().flatten().argsort(descending=True)
    mask = torch.zeros(delta.numel(), dtype=torch.float64)
    mask[order[:count]] = 1
    return mask.view(delta.shape)


def _thin(
    name: str, delta: torch.Tensor, row: Mapping[str, float], key: int, shared: Mapping[str, Any]
) -> torch.Tensor:
    """A task vector, thinned out as the method's paper says."""
    n, density, wide = delta.numel(), row["density"], delta.double()
    if name == "ties":
        return wide * _largest(delta, kept(density, n))
    if name.startswith("breadcrumbs"):
        outliers = round(row["gamma"] * n)
        return wide * (_largest(delta, kept(density, n) + outliers) - _largest(delta, outliers))
    if name.startswith("dare"):
        return wide * random_mask(key, 0, n, density).view(delta.shape) / density
    if name.startswith("della"):
        probability = rank_probabilities(delta, density, row["epsilon"])
        return wide * (random_mask(key, 0, n, probability) / probability.double()).view(delta.shape)
    if name == "jradievo":
        keep = 1 - shared["drop"]
        dropped = wide * random_mask(key, 0, n, keep).view(delta.shape) / keep
        return dropped * _largest(dropped, kept(density, n))
    return wide


def _task_merge(
    name: str, base: torch.Tensor, parents: Sequence[torch.Tensor], rows: Rows, shared: Any
) -> torch.Tensor:
    vectors = torch.stack(
        [_thin(name, parent - base, row, key, shared) for parent, row, key in zip(parents, rows, KEYS, strict=False)]
    )
    weights = torch.tensor([row["weight"] for row in rows], dtype=torch.float64).view(-1, *[1] * base.dim())
    if name == "jradievo":
        sign = vectors.sum(0).sign()
        sign = torch.where(sign == 0, sign.sum().sign(), sign)
        agree = vectors.sign() == sign
        agree &= vectors != 0
        mixed = (weights * vectors * agree).sum(0) / agree.sum(0).clamp(min=1)
    elif METHODS[name].consensus == "sum":
        total = (weights * vectors).sum(0)
        agree = (vectors * weights).sign() == torch.where(total >= 0, 1.0, -1.0)
        mixed = (weights * vectors * agree).sum(0)
        if METHODS[name].shared["normalize"]:
            share = (weights * agree).sum(0)
            mixed = mixed / torch.where(share == 0, 1.0, share)
    else:
        mixed = (weights * vectors).sum(0)
    return base.double() + shared.get("lambda", 1.0) * mixed


def _plain(name: str, base: torch.Tensor, parents: Sequence[torch.Tensor], rows: Rows, shared: Any) -> torch.Tensor:
    wide, start = [parent.double() for parent in parents], base.double()
    if name == "linear":
        total = sum(row["weight"] for row in rows)
        return sum((row["weight"] * one for row, one in zip(rows, wide, strict=True)), torch.zeros(())) / total
    if name == "passthrough":
        return wide[0]
    if name == "slerp":
        angle = acos(float((start * wide[0]).sum() / (start.norm() * wide[0].norm())))
        t = shared["t"]
        return (sin((1 - t) * angle) * start + sin(t * angle) * wide[0]) / sin(angle)
    if name == "model_stock":
        deltas = [(one - start).flatten() for one in wide]
        pairs = [(i, j) for i in range(len(deltas)) for j in range(i)]
        cosine = sum(float(torch.cosine_similarity(deltas[i], deltas[j], dim=0)) for i, j in pairs) / len(pairs)
        ratio = len(deltas) * cosine / (1 + (len(deltas) - 1) * cosine)
        return ratio * sum(wide) / len(wide) + (1 - ratio) * start
    return _task_merge(name, base, parents, rows, shared)


@ALL
def test_a_merge_is_what_the_plain_formulas_say(name: str) -> None:
    base, parents = _tensors(_count(name))
    if name == "slerp":
        parents = [torch.randn(base.shape, generator=torch.Generator().manual_seed(5))]
    if name == "model_stock":  # independent noise has no common direction
        parents = [parent + 0.2 * base.roll(1, 0) for parent in parents]
    made = _merged(name, base, parents)
    assert made.dtype == torch.float32
    torch.testing.assert_close(made.double(), _plain(name, base, parents, _rows(name), SHARED.get(name, {})))


@pytest.mark.parametrize("name", ["linear", "task_arithmetic", "ties", "dare_linear", "della_linear"])
@pytest.mark.parametrize("normalize", [True, False])
def test_normalize_divides_by_the_weights(name: str, normalize: bool) -> None:
    base, parents = _tensors(3)
    by_default = _merged(name, base, parents, shared={})
    plain = _merged(name, base, parents, shared={"normalize": normalize})
    assert torch.equal(by_default, plain) == (METHODS[name].shared["normalize"] == normalize)
    if METHODS[name].consensus == "none":
        origin = torch.zeros(()) if name == "linear" else base
        other = _merged(name, base, parents, shared={"normalize": not normalize})
        one, divided = (plain, other) if not normalize else (other, plain)
        torch.testing.assert_close(divided - origin, (one - origin) / 1.2, atol=1e-6, rtol=1e-5)


def test_weights_that_cancel_divide_by_one() -> None:
    base, parents = _tensors(2)
    each = [{"weight": 1.0}, {"weight": -1.0}]
    made = _merged("task_arithmetic", base, parents, shared={"normalize": True}, each=each)
    torch.testing.assert_close(made, base + parents[0] - parents[1])


@pytest.mark.parametrize("name", ["ties", "dare_linear", "dare_ties", "della", "breadcrumbs"])
def test_rescale_l1_restores_the_sum_of_magnitudes(name: str) -> None:
    base, parents = _tensors(1)
    each = [{"weight": 1.0, "density": 0.5, "epsilon": 0.1}]
    made = _merged(name, base, parents, each=each, shared={"rescale": "l1", "normalize": False})
    torch.testing.assert_close((made - base).abs().sum(), (parents[0] - base).abs().sum(), rtol=1e-4, atol=0)
    if not METHODS[name].draws:
        assert torch.equal(made, _merged(name, base, parents, each=each, shared={"rescale": True, "normalize": False}))


# --- properties ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ["linear", "passthrough", *TASKS])
def test_one_parent_with_weight_1_returns_it(name: str, dtype: torch.dtype) -> None:
    base, parents = _tensors(1, dtype=dtype)
    made = _merged(name, base, parents, shared={}, each=[{"weight": 1.0, "gamma": 0.0}])
    # base + (parent - base) is the parent but for float32's rounding
    torch.testing.assert_close(made, parents[0].float(), rtol=2**-23, atol=2**-23)
    if dtype != torch.float32 or name in ("linear", "passthrough"):
        assert torch.equal(made.to(dtype), parents[0])


@ALL
def test_parents_that_are_the_base_return_it(name: str) -> None:
    base, _ = _tensors(0)
    made = _merged(name, base, [base.clone() for _ in range(_count(name))])
    # linear and model stock divide a sum, which rounds
    torch.testing.assert_close(made, base, rtol=2**-22, atol=0)
    if name not in ("linear", "model_stock", "slerp"):
        assert torch.equal(made, base)


@pytest.mark.parametrize("name", ["linear", "model_stock", "task_arithmetic", "ties", "breadcrumbs_ties"])
@settings(max_examples=10)
@given(st.permutations(range(3)), st.integers(0, 100))
def test_equal_weights_are_order_free(name: str, order: list[int], seed: int) -> None:
    base, parents = _tensors(3, (7, 5), seed=seed)
    each = [{"weight": 0.5, "density": 0.6}] * 3
    one = _merged(name, base, parents, each=each, shared={})
    other = _merged(name, base, [parents[place] for place in order], each=each, shared={})
    torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)  # three numbers added in another order round otherwise
    if order[2] == 2 and name != "model_stock":
        assert torch.equal(one, other)  # the first two may change places without any rounding


def test_jradievo_with_equal_weights_is_order_free_when_keys_move_along() -> None:
    base, parents = _tensors(3)
    each = [{"density": 0.6}] * 3
    one = _merged("jradievo", base, parents, each=each)
    other = _merged("jradievo", base, parents[::-1], each=each, keys=KEYS[::-1])
    torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_slerp_ends(dtype: torch.dtype) -> None:
    base, parents = _tensors(1, dtype=dtype, seed=3)
    parents = [parents[0].roll(1, 0)]
    assert torch.equal(_merged("slerp", base, parents, shared={"t": 0.0}), base.float())
    assert torch.equal(_merged("slerp", base, parents, shared={"t": 1.0}), parents[0].float())


def test_slerp_keeps_the_norm_between_tensors_of_one_norm() -> None:
    base, parents = _tensors(1)
    other = parents[0].roll(1, 0)
    other *= base.norm() / other.norm()
    for t in (0.2, 0.5, 0.9):
        made = _merged("slerp", base, [other], shared={"t": t})
        assert float(made.norm() / base.norm()) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("other", [1.0, 2.0, -1.0, 0.0])
def test_slerp_of_collinear_tensors_is_linear(other: float) -> None:
    base, _ = _tensors(0)
    made = _merged("slerp", base, [other * base], shared={"t": 0.25})
    if other:
        torch.testing.assert_close(made, (0.75 + 0.25 * other) * base)
    else:  # zeros have no direction: a right angle is taken
        torch.testing.assert_close(made, sin(0.75 * torch.pi / 2) * base)


@pytest.mark.parametrize("name", TASKS)
def test_lambda_0_is_the_base_and_density_0_too(name: str) -> None:
    base, parents = _tensors(3)
    assert torch.equal(_merged(name, base, parents, shared={"lambda": 0.0}), base)
    if name != "task_arithmetic":
        each = [{"weight": 1.0, "density": 0.0}] * 3
        assert torch.equal(_merged(name, base, parents, each=each), base)


def test_everything_dropped_is_the_base() -> None:
    base, parents = _tensors(3)
    assert torch.equal(_merged("jradievo", base, parents, shared={"drop": 1.0}), base)


@pytest.mark.parametrize("name", ["dare_linear", "della_linear"])
def test_drawing_keeps_the_mean(name: str) -> None:
    """The mean over many masks is the task vector: 5 standard errors at every element, and less over all."""
    base, parents = torch.zeros(50), [torch.linspace(-1, 1, 50)]
    each = [{"weight": 1.0, "density": 0.4, "epsilon": 0.2}]
    draws = torch.stack([_merged(name, base, parents, each=each, keys=[mask_key(s, "t", 0)]) for s in range(600)])
    error = (draws.mean(0) - parents[0]) / (draws.std(0) / 600**0.5).clamp(min=1e-9)
    assert float(error.abs().max()) < 5
    assert float(error.square().mean()) < 2


def test_masks_differ_between_parents_and_repeat() -> None:
    base, parents = torch.zeros(10_000), [torch.ones(10_000), torch.ones(10_000)]
    each = [{"weight": 1.0, "density": 0.5}] * 2
    made = _merged("dare_linear", base, parents, each=each)
    assert torch.equal(made, _merged("dare_linear", base, parents, each=each))
    shares = [float((made == value).float().mean()) for value in (0.0, 2.0, 4.0)]
    assert shares == pytest.approx([0.25, 0.5, 0.25], abs=0.03)
    same = _merged("dare_linear", base, parents, each=each, keys=KEYS[:1] * 2)
    assert set(same.tolist()) == {0.0, 4.0}


@ALL
def test_the_size_of_pieces_changes_nothing(name: str) -> None:
    base, parents = _tensors(_count(name), (33, 17), torch.bfloat16)
    whole = _merged(name, base, parents, size=10**6)
    for size in (1, 7, 64, 500):
        assert torch.equal(whole, _merged(name, base, parents, size=size))


@ALL
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_it_writes_where_it_is_told_and_reads_without_changing(name: str, dtype: torch.dtype) -> None:
    base, parents = _tensors(_count(name), dtype=dtype)
    before = [one.clone() for one in (base, *parents)]
    wanted = _merged(name, base, parents)
    out = torch.full(base.shape, torch.nan, dtype=dtype)
    assert _merged(name, base, parents, out=out) is out
    assert torch.equal(out, wanted.to(dtype))
    assert all(torch.equal(one, other) for one, other in zip((base, *parents), before, strict=True))


@ALL
@pytest.mark.parametrize("shape", [(), (1,), (0,), (5,), (2, 3, 4)])
def test_any_shape(name: str, shape: tuple[int, ...]) -> None:
    base, parents = _tensors(_count(name), shape)
    made = _merged(name, base, parents)
    assert made.shape == shape
    assert bool(torch.isfinite(made).all())


@ALL
def test_mixed_formats_are_converted_to_float32_first(name: str) -> None:
    base, parents = _tensors(_count(name), dtype=torch.bfloat16)
    parents = [parents[0].half(), *parents[1:]]
    assert torch.equal(_merged(name, base, parents), _merged(name, base.float(), [p.float() for p in parents]))


@ALL
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("where", ["base", "parent"])
def test_what_is_not_finite_stays_so(name: str, bad: float, where: str) -> None:
    base, parents = _tensors(_count(name))
    (base if where == "base" else parents[0])[3, 4] = bad
    if where == "base" and not METHODS[name].needs_base:
        return
    made = _merged(name, base, parents)
    assert not torch.isfinite(made[3, 4])
    if name not in ("slerp", "model_stock"):  # which measure an angle over the whole tensor
        assert int(torch.isfinite(made).sum()) >= made.numel() - 1


def test_statistics_made_before_give_the_same_constants() -> None:
    for name in ("ties", "breadcrumbs"):
        base, parents = _tensors(3, dtype=torch.bfloat16)
        statistics = [OrderStatistics.of(base, parent) for parent in parents]
        given: dict[str, Any] = {"shared": {}, "each": _rows(name), "keys": KEYS}
        plain = constants(METHODS[name], base, parents, **given)
        other = constants(METHODS[name], base, parents, statistics=statistics, **given)
        assert torch.equal(plain.thresholds, other.thresholds)
        assert torch.equal(plain.ceilings, other.ceilings)


def test_model_stock_of_rows_is_model_stock_of_each_row() -> None:
    base, parents = _tensors(3, (6, 50))
    parents = [parent + 0.2 * base.roll(1, 0) for parent in parents]
    made = _merged("model_stock", base, parents, shared={"filter_wise": True})
    for row in range(6):
        wanted = _merged("model_stock", base[row], [parent[row] for parent in parents])
        torch.testing.assert_close(made[row], wanted)


def test_what_does_not_fit_is_refused() -> None:
    base, parents = _tensors(3)
    with pytest.raises(ValueError, match=r"one shape, found \(40, 25\), \(41, 25\)"):
        _merged("ties", base, [*parents[:2], torch.zeros(41, 25)])
    with pytest.raises(ValueError, match="needs the base"):
        _merged("ties", None, parents)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="one key for each of 3 parents, found 1"):
        _merged("dare_ties", base, parents, keys=KEYS[:1])
    with pytest.raises(ValueError, match="parent 2: ties needs its weight"):
        _merged("ties", base, parents, each=[{"weight": 1.0}, {}, {"weight": 1.0}])


# --- compiled ------------------------------------------------------------------------------------------------------


def _compiled(step: Callable[..., Any]) -> Callable[..., Any]:
    if not (shutil.which("g++") or shutil.which("clang++")):
        pytest.skip("torch.compile on a CPU needs a C++ compiler, g++ or clang++")
    return torch.compile(step, dynamic=True, fullgraph=True)  # type: ignore[no-any-return]


def test_compiled_it_writes_the_same_bits_for_any_length_and_parameters() -> None:
    names = ["linear", "slerp", "ties", "dare_ties", "jradievo", "breadcrumbs", "della", "model_stock"]

    def step(base: torch.Tensor, parents: list[torch.Tensor], known: list[Any], start: torch.Tensor) -> Any:
        return [
            combine(METHODS[name], base, parents[: _count(name)], one, start)
            for name, one in zip(names, known, strict=True)
        ]

    torch._dynamo.reset()
    compiled = _compiled(step)
    for number, (length, start) in enumerate(((1003, 0), (40_000, 2**31 - 20), (131, 7))):
        base, parents = _tensors(3, (length,), torch.bfloat16, seed=number)
        known = []
        for name in names:
            rows = [{key: value * (1 - number / 10) for key, value in row.items()} for row in _rows(name)]
            keys = [mask_key(number, name, parent) for parent in range(_count(name))]
            shared = SHARED.get(name, {}) | {"lambda": 0.5 + number}
            known.append(constants(METHODS[name], base, parents[: _count(name)], shared=shared, each=rows, keys=keys))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # inductor's own
            made = compiled(base, parents, known, torch.tensor(start, dtype=torch.int64).to(torch.int32))
        for name, one, wanted in zip(names, made, known, strict=True):
            plain = combine(METHODS[name], base, parents[: _count(name)], wanted, start)
            assert torch.equal(one, plain), name
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
