"""Merges that are weighted sums of whole tensors: their coefficients, and the sums.

References:
    Wortsman et al. 2022, Model soups (arXiv 2203.05482), section 2: θ = Σ w θ_i / Σ w.
    Shoemake 1985, Animating rotation with quaternion curves (SIGGRAPH), equation of slerp.
    Jang et al. 2024, Model stock (arXiv 2403.19522), equation 7.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import acos, fsum, isfinite, nan, sin, sqrt
from typing import TYPE_CHECKING

from ikyoku.merging.magnitudes import CHUNK

if TYPE_CHECKING:
    import torch

    from ikyoku.merging.task_arithmetic import Constants

_BLOCK = 4096  # elements summed in one go, always the same ones: the sum depends on neither pieces nor threads
_COLLINEAR = 0.9995
_TINY = 1e-6


def weighted_sum(tensors: Sequence[torch.Tensor], constants: Constants) -> torch.Tensor:
    """Returns Σ weight * tensor / divisor of flat tensors: float32.

    Reference:
        Wortsman et al. 2022, arXiv 2203.05482, section 2 (uniform soup: equal weights).
    """
    weights = constants.weights.unbind()
    total = tensors[0].float() * weights[0]
    for tensor, weight in zip(tensors[1:], weights[1:], strict=True):
        total.add_(tensor.float() * weight)
    return total.div_(constants.divisor)


def mean_step(base: torch.Tensor, parents: Sequence[torch.Tensor], constants: Constants) -> torch.Tensor:
    """Returns ratio * mean of the parents + (1 - ratio) * base, of flat tensors: float32.

    The ratio is one number, or, in `fields`, one for each element.

    Reference:
        Jang et al. 2024, arXiv 2403.19522, equation 8.
    """
    ratio = constants.fields[0] if constants.fields else constants.ratio
    return weighted_sum(parents, constants).mul_(ratio).add_(base.float() * (1 - ratio))


def inner_product(left: torch.Tensor, right: torch.Tensor) -> float:
    """Returns the inner product of two tensors in float64, the same whatever the number of threads.

    >>> import torch
    >>> inner_product(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0]))
    11.0
    """
    parts: list[float] = []
    one, other = left.reshape(-1), right.reshape(-1)
    for start in range(0, one.numel(), CHUNK):
        parts += block_sums(one[start : start + CHUNK].double() * other[start : start + CHUNK].double())
    return exact_sum(parts)


def exact_sum(parts: Sequence[float]) -> float:
    """Returns the sum of numbers without rounding between; NaN where infinities cancel or a NaN is among them.

    >>> exact_sum([1e100, 1.0, -1e100]), exact_sum([float("inf"), float("-inf")])
    (1.0, nan)
    """
    try:
        return fsum(parts)
    except (OverflowError, ValueError):
        return nan


def block_sums(values: torch.Tensor) -> list[float]:
    """Returns float64 sums over blocks of a flat tensor; their exact sum is the tensor's, to float64's rounding.

    >>> import torch
    >>> block_sums(torch.ones(5000))
    [4096.0, 904.0]
    """
    import torch

    whole = values.numel() // _BLOCK * _BLOCK
    sums: list[float] = values[:whole].view(-1, _BLOCK).sum(dim=1, dtype=torch.float64).tolist()
    if whole < values.numel():
        sums.append(float(values[whole:].sum(dtype=torch.float64)))
    return sums


def slerp_coefficients(t: float, first: torch.Tensor, second: torch.Tensor) -> tuple[float, float]:
    """Returns what the two ends of a spherical interpolation are multiplied with.

    sin((1 - t) θ) / sin θ and sin(t θ) / sin θ, θ being the angle between the two tensors. Where they point the same or
    opposite ways (|cos θ| > 0.9995), the path on the sphere is not determined, and it is 1 - t and t.

    Args:
        t: 0 is the first, 1 the second; outside it extrapolates.
        first: the base.
        second: the other end, of the same shape.

    Reference:
        Shoemake 1985 (SIGGRAPH), slerp; the limit 0.9995 is mergekit's.

    >>> import torch
    >>> slerp_coefficients(0.5, torch.tensor([1.0, 0.0]), torch.tensor([2.0, 0.0]))
    (0.5, 0.5)
    """
    norms = [sqrt(inner_product(one, one)) for one in (first, second)]
    # a tensor of zeros has no direction; then the angle is taken as a right one, as mergekit does
    scale = (norms[0] if norms[0] > 1e-8 else 1.0) * (norms[1] if norms[1] > 1e-8 else 1.0)
    cosine = inner_product(first, second) / scale
    if not isfinite(cosine):
        return nan, nan  # an input is not finite: the tensor must not look as if it were
    if abs(cosine) > _COLLINEAR:
        return 1 - t, t
    angle = acos(cosine)
    return sin((1 - t) * angle) / sin(angle), sin(t * angle) / sin(angle)


def stock_ratio(base: torch.Tensor, parents: Sequence[torch.Tensor]) -> float:
    """Returns how far model stock goes from the base to the parents' mean: N cos θ / (1 + (N - 1) cos θ).

    cos θ is the mean over the pairs of the N task vectors. Where the denominator vanishes it is 0, the base.

    Args:
        base: the pretrained tensor.
        parents: at least two fine-tuned ones of the same shape.

    Reference:
        Jang et al. 2024, arXiv 2403.19522, equation 7.

    >>> import torch
    >>> stock_ratio(torch.zeros(2), [torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])])
    0.0
    """
    flat = base.reshape(-1)
    count = len(parents)
    parts: list[list[list[float]]] = [[[] for _ in range(count)] for _ in range(count)]
    for start in range(0, flat.numel(), CHUNK):
        piece = flat[start : start + CHUNK].float()
        deltas = [(one.reshape(-1)[start : start + CHUNK].float() - piece).double() for one in parents]
        for i in range(count):
            for j in range(i, count):
                parts[i][j] += block_sums(deltas[i] * deltas[j])
    gram = [[exact_sum(cell) for cell in row] for row in parts]
    if not isfinite(sum(map(sum, gram))):
        return nan  # an input is not finite: the tensor must not look as if it were
    cosines = []
    for i in range(count):
        for j in range(i + 1, count):
            scale = max(sqrt(gram[i][i] * gram[j][j]), _TINY)
            cosines.append(min(1.0, max(-1.0, gram[i][j] / scale)))
    cosine = fsum(cosines) / len(cosines)
    denominator = 1 + (count - 1) * cosine
    return 0.0 if abs(denominator) < _TINY else count * cosine / denominator


def stock_ratios(base: torch.Tensor, parents: Sequence[torch.Tensor]) -> torch.Tensor:
    """Returns the ratio of `stock_ratio` for each row (filter) by itself: float32, flat, one for each element.

    Args:
        base: the pretrained tensor; a row is along its last dimension.
        parents: at least two fine-tuned ones of the same shape.

    Reference:
        Jang et al. 2024, arXiv 2403.19522, equation 7.

    >>> import torch
    >>> same = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> stock_ratios(torch.zeros(2, 2), [same, same]).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    import torch

    width = base.shape[-1] if base.dim() else 1
    start = base.float()
    deltas = [(one.float() - start).reshape(-1, width) for one in parents]
    norms = [(delta.double() ** 2).sum(-1).sqrt() for delta in deltas]
    cosines = []
    for i, one in enumerate(deltas):
        for j in range(i + 1, len(deltas)):
            product = (one.double() * deltas[j].double()).sum(-1)
            cosines.append((product / (norms[i] * norms[j]).clamp(min=_TINY)).clamp(-1, 1))
    cosine = torch.stack(cosines).mean(0)
    denominator = 1 + (len(parents) - 1) * cosine
    singular = denominator.abs() < _TINY
    ratio = torch.where(singular, 0.0, len(parents) * cosine / torch.where(singular, 1.0, denominator))
    return ratio.float()[:, None].expand(-1, width).reshape(-1)
