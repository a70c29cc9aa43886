"""The quirks of the third study's released code, so that its numbers can be reproduced.

- `shared_masks`: its generator is seeded with 42 before every tensor of every model, so that all parents lose the same
  elements, and tensors of one size lose them in the same places.
- `bisection`: its threshold is found in 22 steps between 0 and 64, and so is a multiple of 2**-16; int(n * (1 -
  density)) elements are meant to fall below it, and the largest of them stays, and all that share its cell.
- `half`: it works in float16, and every step rounds.

Without them jradievo is the same operator, with masks that differ between parents, an exact threshold and float32.

Reference:
    Baba et al. 2024, JRadiEvo (arXiv 2411.09933), and its code, github.com/kAIto47802/JRadiEvo, commit 7c55003 (MIT).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from ikyoku.merging.magnitudes import rank_kept

if TYPE_CHECKING:
    import torch

    from ikyoku.merging.methods import Value
    from ikyoku.merging.task_arithmetic import Constants

_SEED = 42
_STEPS, _TOP = 22, 64.0


def seeded_mask(count: int, drop: float, device: torch.device | str = "cpu") -> torch.Tensor:
    """Returns the mask that every tensor of `count` elements has in the released code: float32, 1 where kept.

    It is drawn in float16 on the CPU: drawn in another format it would be another mask.

    >>> seeded_mask(4, 0.0).tolist()
    [1.0, 1.0, 1.0, 1.0]
    """
    import torch

    generator = torch.Generator().manual_seed(_SEED)
    dropped = torch.bernoulli(torch.full((count,), drop, dtype=torch.float16), generator=generator)
    return (1 - dropped.float()).to(device)


def trim_rank(n: int, density: float, shared: Mapping[str, Value]) -> int:
    """Returns which magnitude of n, counted from the largest, the threshold is found from; n + 1 for none.

    >>> trim_rank(10, 0.25, {}), trim_rank(10, 0.25, {"bisection": True})
    (2, 4)
    """
    if not shared.get("bisection"):
        return rank_kept(density, n)
    trimmed = int(n * round(1 - density, 15))  # the study gave 0.1, not 1 - 0.9, which is a little less
    return n - trimmed + 1


def trim_threshold(magnitude: float, shared: Mapping[str, Value]) -> float:
    """Returns the threshold, given the magnitude at `trim_rank`.

    Raises:
        ValueError: `bisection` is on, and the magnitude is 64 or more, which the released code refuses too.

    >>> trim_threshold(0.1, {}), trim_threshold(0.1, {"bisection": True})
    (0.1, 0.0999908447265625)
    """
    if not shared.get("bisection") or magnitude == 0.0:
        return magnitude
    if not magnitude < _TOP:
        raise ValueError(f"a task vector reaches {magnitude}: jradievo's bisection looks only below {_TOP:g}")
    round_as: Callable[[float], float] = _as_half if shared.get("half") else float
    low, high = 0.0, _TOP
    for _ in range(_STEPS):
        middle = (low + high) / 2
        # fewer than the number to be trimmed lie below `middle`, as long as the last of them does not
        if magnitude >= round_as(middle):
            low = middle
        else:
            high = middle
    return low


def _as_half(number: float) -> float:
    import torch

    return float(torch.tensor(number, dtype=torch.float16))


def half_vectors(
    base: torch.Tensor, parents: Sequence[torch.Tensor], constants: Constants, masks: Sequence[torch.Tensor | None]
) -> list[torch.Tensor]:
    """Returns the task vectors after DARE, in float16, every step rounded.

    Args:
        base: flat.
        parents: of the same length.
        constants: of this piece.
        masks: of each parent, float32, 1 where kept; None where nothing is dropped.
    """
    origin = base.half()
    vectors = []
    for number, (parent, mask) in enumerate(zip(parents, masks, strict=True)):
        vector = parent.half() - origin
        if mask is not None:
            vector = vector * mask.half()
            share = constants.keeps[number]
            vector = vector / (share + (share == 0))  # the released code does not divide where all is dropped
        vectors.append(vector)
    return vectors


def half_trimmed(vectors: Sequence[torch.Tensor], constants: Constants) -> list[torch.Tensor]:
    """Returns float16 task vectors with zeros below the thresholds, which are rounded to float16 as well."""
    return [
        vector * (vector.abs() >= bound.half()).half()
        for vector, bound in zip(vectors, constants.thresholds.unbind(), strict=True)
    ]


def half_signs(vectors: Sequence[torch.Tensor]) -> torch.Tensor:
    """Returns the sign of each element's sum, which is added up in float16."""
    total = vectors[0]
    for vector in vectors[1:]:
        total = total + vector
    return total.sign()


def half_merge(base: torch.Tensor, vectors: Sequence[torch.Tensor], constants: Constants) -> torch.Tensor:
    """Returns base + lambda * mean of what agrees with the elected sign, in float16, as float32 numbers."""
    import torch

    sign = half_signs(vectors)
    sign = sign + (sign == 0).half() * constants.majority.half()
    mixed, count = torch.zeros_like(sign), torch.zeros_like(sign)
    for vector, weight in zip(vectors, constants.weights.unbind(), strict=True):
        agrees = (((sign > 0) & (vector > 0)) | ((sign < 0) & (vector < 0))).half()
        mixed = mixed + vector * agrees * weight
        count = count + agrees
    mixed = mixed / count.clamp(min=1.0)
    return (base.half() + mixed * constants.strength).float()
