"""Merging of LoRA adapters of one base: updates scale * B @ A of low rank, module by module.

Methods that only add and scale (linear, task_arithmetic, passthrough) are exact: the factors are put side by side and
the rank is the sum of the parents' ranks. Every other method works on the full update of a module, as if the base were
zero there, and its result is cut to a rank by its singular values; what share of its squared norm that loses is told.

Reference:
    Hu et al. 2021, LoRA (arXiv:2106.09685), eq. 3; Halko, Martinsson and Tropp 2011, "Finding structure with
    randomness", SIAM Review 53(2), algorithm 4.4 (the singular vectors of large matrices); Eckart and Young 1936.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, device

    from ikyoku.merging.methods import Method

EXACT = frozenset(("linear", "task_arithmetic", "passthrough"))
"""Methods whose result is a sum of the parents' updates, whatever their values."""
_DENSE_SVD = 512
"""Matrices whose smaller side is at most this are decomposed in full."""
_EXTRA, _ROUNDS = 16, 4
"""Directions beyond the rank, and rounds of the randomised decomposition."""


@dataclass(frozen=True, slots=True)
class LowRank:
    """An update B @ A of a weight: `a` is (rank, in), `b` is (out, rank), both float32, all scales in them.

    `lost` is the share of the squared norm of the update that was to be expressed, but is not; 0 where it is exact.
    """

    a: Tensor
    b: Tensor
    lost: float = 0.0

    @property
    def rank(self) -> int:
        """The number of rows of `a`."""
        return int(self.a.shape[0])


def low_rank(a: Tensor, b: Tensor, scale: float) -> LowRank:
    """Returns the update scale * B @ A, the scale taken into B.

    >>> import torch
    >>> delta(low_rank(torch.ones(1, 2), torch.ones(3, 1), 2.0)).tolist()
    [[2.0, 2.0], [2.0, 2.0], [2.0, 2.0]]
    """
    return LowRank(a.float(), b.float() * scale)


def delta(update: LowRank) -> Tensor:
    """Returns the update as a full matrix (out, in), float32."""
    return update.b @ update.a


def merged(weight: Tensor, a: Tensor, b: Tensor, scale: float, *, transposed: bool = False) -> Tensor:
    """Returns a weight with an adapter merged into it, W + scale * B @ A, computed and returned in float32.

    Args:
        weight: (out, in), of any float dtype; (in, out) where transposed.
        a: (rank, in).
        b: (out, rank).
        scale: alpha / rank, or alpha / sqrt(rank) of rank-stabilised LoRA.
        transposed: the base keeps this weight as (in, out), as GPT-2's Conv1D does (PEFT's fan_in_fan_out).

    >>> import torch
    >>> merged(torch.zeros(3, 2, dtype=torch.bfloat16), torch.ones(1, 2), torch.ones(3, 1), 0.5).dtype
    torch.float32
    """
    update = delta(low_rank(a, b, scale))
    return weight.float() + (update.T if transposed else update)


def combined(
    method: Method,
    base: LowRank | None,
    parents: Sequence[LowRank | None],
    *,
    shape: tuple[int, int],
    shared: Mapping[str, float | bool | str | None],
    each: Sequence[Mapping[str, float | None]],
    keys: Sequence[int] = (),
    rank: int | None = None,
    thresholds: Sequence[float] | None = None,
    majority: float | None = None,
) -> LowRank:
    """Returns one module's updates merged by a method.

    Args:
        method: any of `ikyoku.merging.METHODS`.
        base: the update that task vectors are differences to; None is no update, the model that was adapted.
        parents: the updates; None where an adapter leaves the module as it is.
        shape: (out, in) of the module's weight.
        shared: the method's parameters for the module.
        each: those of each parent.
        keys: of each parent, for random masks.
        rank: most rank of the result; by default the sum of the ranks that take part.
        thresholds: of each parent, for methods that trim the whole model at once.
        majority: the sign that most elements of the whole model elect, for them.

    Returns:
        The merged update, with B and A of equal norm.

    Raises:
        ValueError: parameters that the method does not allow.

    >>> import torch
    >>> from ikyoku.merging import METHODS
    >>> one, two = low_rank(torch.ones(1, 2), torch.ones(3, 1), 1.0), low_rank(torch.ones(1, 2), torch.ones(3, 1), 3.0)
    >>> half = [{"weight": 0.5}, {"weight": 0.5}]
    >>> found = combined(METHODS["linear"], None, [one, two], shape=(3, 2), shared={}, each=half)
    >>> found.rank, delta(found)[0].tolist()
    (2, [2.0, 2.0])
    """
    from ikyoku.merging import merge_tensor
    from ikyoku.merging.methods import completed

    there = [update for update in (base, *parents) if update is not None]
    most = sum(update.rank for update in there) if rank is None else rank
    most = min(most, *shape)
    if method.name in EXACT:
        weights = coefficients(method, *completed(method, shared, each))
        own = [(base, 1.0 - sum(weights))] if base is not None and method.needs_base else []
        terms = [(u, w) for u, w in (*own, *zip(parents, weights, strict=True)) if u is not None and w != 0.0]
        return cut(concatenated(terms, shape=shape), most)
    place = there[0].a.device if there else "cpu"
    full = merge_tensor(
        method,
        dense(base, shape, place) if method.needs_base else None,
        [dense(parent, shape, place) for parent in parents],
        shared=shared,
        each=each,
        keys=keys,
        thresholds=thresholds,
        majority=majority,
    )
    return truncated(full, most)


def coefficients(
    method: Method, shared: Mapping[str, float | bool | str | None], each: Sequence[Mapping[str, float]]
) -> list[float]:
    """Returns the factor of each parent in a method of `EXACT`; parameters are complete.

    >>> from ikyoku.merging import METHODS
    >>> coefficients(METHODS["linear"], {"normalize": True}, [{"weight": 1.0}, {"weight": 3.0}])
    [0.25, 0.75]
    """
    if method.name == "passthrough":
        return [one["scale"] for one in each]
    weights = [one["weight"] for one in each]
    total = sum(weights) if shared.get("normalize") else 1.0
    scale = float(shared.get("lambda") or 0.0) if "lambda" in shared else 1.0
    return [scale * weight / (total if abs(total) > 1e-8 else 1.0) for weight in weights]


def concatenated(terms: Sequence[tuple[LowRank, float]], *, shape: tuple[int, int]) -> LowRank:
    """Returns the weighted sum of updates, exactly: their factors side by side.

    Args:
        terms: updates and their factors; none at all is the update of rank 0.
        shape: (out, in) of the weight.
    """
    import torch

    if not terms:
        return LowRank(torch.zeros(0, shape[1]), torch.zeros(shape[0], 0))
    a, b = [], []
    for update, factor in terms:
        ratio = float(update.b.norm()) * abs(factor) / max(float(update.a.norm()), 1e-30)
        # A power of two: nothing is rounded by it.
        shift = 2.0 ** round(math.log2(ratio) / 2) if ratio > 0 and math.isfinite(ratio) else 1.0
        a.append(update.a * shift)
        b.append(update.b * (factor / shift))
    return LowRank(torch.cat(a, 0), torch.cat(b, 1))


def cut(update: LowRank, rank: int) -> LowRank:
    """Returns the best update of at most this rank; the full matrix is never formed.

    >>> import torch
    >>> found = cut(LowRank(torch.diag(torch.tensor([1.0, 2.0])), torch.eye(2)), 1)
    >>> delta(found).round(decimals=4).tolist(), round(found.lost, 4)
    ([[0.0, 0.0], [0.0, 2.0]], 0.2)
    """
    import torch

    if update.rank <= rank:
        return update
    left, upper = torch.linalg.qr(update.b)
    right, lower = torch.linalg.qr(update.a.T)
    inner = truncated(upper @ lower.T, rank)
    return LowRank(inner.a @ right.T, left @ inner.b, inner.lost)


def truncated(matrix: Tensor, rank: int, *, seed: int = 0) -> LowRank:
    """Returns the best update of at most this rank for a full matrix (out, in), by its largest singular values.

    Matrices whose smaller side is over 512 are decomposed by a randomised method, seeded. It loses at most a hundredth
    more than must be lost; `lost` is what it does lose.

    >>> import torch
    >>> found = truncated(torch.diag(torch.tensor([2.0, 1.0])), 1)
    >>> delta(found).round(decimals=4).tolist(), round(found.lost, 4)
    ([[2.0, 0.0], [0.0, 0.0]], 0.2)
    """
    import torch

    matrix = matrix.float()
    least = min(matrix.shape)
    rank = min(rank, least)
    if least <= _DENSE_SVD or rank + _EXTRA >= least:
        left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    else:
        generator = torch.Generator().manual_seed(seed)
        start = torch.randn(matrix.shape[1], rank + _EXTRA, generator=generator).to(matrix.device)
        basis = torch.linalg.qr(matrix @ start).Q
        for _ in range(_ROUNDS):
            basis = torch.linalg.qr(matrix @ torch.linalg.qr(matrix.T @ basis).Q).Q
        inner, values, right = torch.linalg.svd(basis.T @ matrix, full_matrices=False)
        left = basis @ inner
    whole = float(matrix.double().square().sum())
    held = float(values[:rank].double().square().sum())
    root = values[:rank].sqrt()
    lost = max(0.0, 1.0 - held / whole) if whole else 0.0
    return LowRank((root[:, None] * right[:rank]).contiguous(), (left[:, :rank] * root).contiguous(), lost)


def dense(update: LowRank | None, shape: tuple[int, int], device: str | device = "cpu") -> Tensor:
    """Returns an update as a full matrix, zeros (on the device) where there is none."""
    import torch

    return torch.zeros(shape, device=device) if update is None else delta(update)
