"""Which elements of a task vector are kept: the largest, or some at random.

Random masks come from a hash of the key and the element's index, not from a generator: an element's draw is the same
on every device, in pieces of any size, in any order, compiled or not, and a mask needs no memory.

References:
    Yadav et al. 2023, TIES-Merging (arXiv 2306.01708), section 4.1: trim.
    Yu et al. 2024, DARE (arXiv 2311.03099), section 3.2: drop with probability p, divide the rest by 1 - p.
    Deep et al. 2024, DELLA (arXiv 2406.11617), section 3.1: MagPrune, the probability follows the rank in the row.
    Davari & Belilovsky 2024, Model breadcrumbs (arXiv 2312.06795), section 3: without the smallest and the largest.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import TYPE_CHECKING

from ikyoku.merging.magnitudes import kept, largest, rank_kept

if TYPE_CHECKING:
    import torch

__all__ = ["kept", "kept_share", "mask_key", "outlier_bounds", "random_mask", "rank_probabilities", "threshold"]

_WORD = 1 << 32
_HALF = 1 << 31
_STEPS = 1 << 24  # a draw is one of so many even steps, all of which float32 can tell apart


def threshold(delta: torch.Tensor, density: float, mask: torch.Tensor | None = None) -> float:
    """Returns the magnitude at or above which the elements of a task vector are kept.

    It is the smallest of the round(density * n) largest magnitudes in float32, exactly; all elements that are as large
    are kept, so that which of several equal ones survives does not depend on their order. Density 0 gives infinity
    (none), density 1 zero (all).

    Args:
        delta: the task vector: any shape and float format.
        density: share to keep, in [0, 1].
        mask: where it is false the element counts as zero, as for jradievo, which trims what DARE left.

    Raises:
        ValueError: the density is not in [0, 1].

    Reference:
        Yadav et al. 2023, arXiv 2306.01708, section 4.1 (top-k% of the magnitudes).

    >>> import torch
    >>> threshold(torch.tensor([0.1, -0.4, 0.3, 0.2]), 0.5)  # doctest: +ELLIPSIS
    0.30000001...
    """
    return largest(delta if mask is None else delta.float() * mask, rank_kept(density, delta.numel()))


def outlier_bounds(select: Callable[[int], float], n: int, *, density: float, gamma: float) -> tuple[float, float]:
    """Returns the smallest and the largest magnitude that breadcrumbs keeps.

    Of n elements the round(gamma * n) largest are left out, then the round(density * n) largest of the rest are kept;
    where both together are more than n, fewer outliers are left out. Elements as large as a bound are kept.

    Args:
        select: gives the k-th largest magnitude, such as `OrderStatistics.largest`.
        n: elements of the tensor.
        density: share to keep, in [0, 1]; 1 keeps the outliers too.
        gamma: share of outliers, in [0, 1].

    Reference:
        Davari & Belilovsky 2024, arXiv 2312.06795, section 3, with mergekit's parameters.

    >>> outlier_bounds(lambda k: [9, 7, 5, 3, 1][k - 1], 5, density=0.4, gamma=0.2)
    (5, 7)
    """
    wanted = kept(density, n)
    if wanted == 0:
        return float("inf"), float("inf")
    outliers = min(round(gamma * n), n - wanted)
    least = select(outliers + wanted) if outliers + wanted < n else 0.0
    return least, select(outliers + 1) if outliers else float("inf")


def rank_probabilities(delta: torch.Tensor, density: float, epsilon: float) -> torch.Tensor:
    """Returns the probability with which DELLA keeps each element: float32, flat.

    In each row (the last dimension) it rises with the rank of the magnitude from density - epsilon to density +
    epsilon; equal magnitudes share their mean rank, so that the mean over a row is the density.

    Args:
        delta: the task vector.
        density: mean probability, in [0, 1]; at 0 and 1 epsilon does not matter.
        epsilon: half the range of the probabilities.

    Reference:
        Deep et al. 2024, arXiv 2406.11617, section 3.1, with mergekit's epsilon (half the paper's).

    >>> import torch
    >>> rank_probabilities(torch.tensor([0.0, 5.0, 3.0]), 0.5, 0.25).tolist()
    [0.25, 0.75, 0.5]
    """
    import torch

    probabilities = torch.full((delta.numel(),), density, dtype=torch.float32, device=delta.device)
    width = delta.shape[-1] if delta.dim() else 1
    if not 0 < density < 1 or width < 2:
        return probabilities
    rows = max(1, (1 << 22) // width)
    table, source = probabilities.view(-1, width), delta.reshape(-1, width)
    for start in range(0, len(source), rows):
        sizes = source[start : start + rows].float().abs()
        ordered = torch.sort(sizes, dim=-1).values
        first = torch.searchsorted(ordered, sizes)
        last = torch.searchsorted(ordered, sizes, right=True) - 1
        rank = (first + last).float() / (2 * (width - 1))
        table[start : start + rows] = (density - epsilon) + 2 * epsilon * rank
    return probabilities


def mask_key(seed: int, tensor: str, parent: int) -> int:
    """Returns the key of a random mask, in [0, 2**64): another one for every seed, tensor and parent.

    Args:
        seed: the merge's.
        tensor: the tensor's name in the output.
        parent: the parent's number in the recipe's order.

    >>> mask_key(0, "model.norm.weight", 0) == mask_key(0, "model.norm.weight", 1)
    False
    """
    return int.from_bytes(blake2b(f"{seed}\0{parent}\0{tensor}".encode(), digest_size=8).digest(), "little")


def key_words(key: int) -> tuple[int, int]:
    """Returns two signed 32-bit words made of a key, which is how the hash takes it: keys that are near differ in all.

    Reference:
        Steele, Lea & Flood 2014, Fast splittable pseudorandom number generators (OOPSLA), the finaliser.

    >>> key_words(0), key_words(1)
    ((2065550767, -501176263), (-1996333887, -1861603860))
    """
    word = (key + 0x9E3779B97F4A7C15) % (1 << 64)
    word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 % (1 << 64)
    word = (word ^ (word >> 27)) * 0x94D049BB133111EB % (1 << 64)
    word ^= word >> 31
    return signed(word), signed(word >> 32)


def signed(number: int) -> int:
    """Returns the lower 32 bits of a number as a signed one.

    >>> signed(2**32 - 1)
    -1
    """
    return (number + _HALF) % _WORD - _HALF


def random_mask(
    key: int, start: int, count: int, keep: float | torch.Tensor, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """Returns which of the elements start, start + 1, … start + count - 1 are kept: bool, (count,).

    Args:
        key: of `mask_key`.
        start: index of the first element. Indices are taken modulo 2**32: the draws of a tensor with more elements
            than that repeat.
        count: how many.
        keep: probability of keeping an element, in [0, 1]; 0 keeps none, 1 all. It is used in steps of 2**-24.
        device: where to make it; the result is the same everywhere.

    Reference:
        Yu et al. 2024, arXiv 2311.03099, section 3.2: m ~ Bernoulli(p), independent for each task vector.

    >>> mask = random_mask(7, 0, 1000, 0.3)
    >>> 250 < int(mask.sum()) < 350, bool((random_mask(7, 10, 5, 0.3) == mask[10:15]).all())
    (True, True)
    """
    import torch

    words = torch.tensor(key_words(key), dtype=torch.int32, device=device)
    share = torch.as_tensor(keep, dtype=torch.float32, device=device)
    return kept_share(positions(start, count, words), words, share).bool()


def positions(start: int | torch.Tensor, count: int, like: torch.Tensor) -> torch.Tensor:
    """Returns the hashed indices of `count` elements from `start`: int32, (count,), on the device of `like`.

    It is the part of the hash that the masks of all parents share.

    >>> import torch
    >>> bool((positions(3, 2, torch.zeros(1)) == positions(0, 5, torch.zeros(1))[3:]).all())
    True
    """
    import torch

    first = signed(start) if isinstance(start, int) else start
    index = torch.arange(count, dtype=torch.int32, device=like.device).add_(first)
    index.mul_(-1640531535)  # 2**32 over the golden ratio, odd: a bijection that spreads neighbours
    index.bitwise_xor_((index >> 15) & 0x1FFFF)
    return index.mul_(0x2C1B3C6D)


def kept_share(positions: torch.Tensor, words: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
    """Returns a random mask as float32, 1 where the element is kept and 0 where not: (count,).

    Args:
        positions: of `positions`.
        words: the key's two words, int32, (2,).
        keep: probability, float32, one number or (count,).

    >>> import torch
    >>> kept_share(positions(0, 4, torch.zeros(1)), torch.tensor([5, 6], dtype=torch.int32), torch.tensor(1.0)).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    first, second = words.unbind()
    draw = positions ^ first
    draw.bitwise_xor_((draw >> 16) & 0xFFFF).mul_(0x7FEB352D)
    draw.bitwise_xor_((draw >> 15) & 0x1FFFF).add_(second).mul_(-0x7B935975)
    # the upper 24 bits, from -2**23 up: float32 holds them all, and a comparison into float32 is the cheapest there is
    return (draw >> 8).float().lt_(keep * _STEPS - _STEPS // 2)
