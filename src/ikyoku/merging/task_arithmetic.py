"""The elementwise part of the methods that merge task vectors: thin out, elect a sign, add up.

All functions take flat tensors and numbers that are float32 tensors, so that they compile once for any length and any
parameters. Masks are float32 zeros and ones, and elements are dropped by multiplying with them: a comparison written
into float32 is several times faster on a CPU than one into bool, and what is not finite stays so, instead of vanishing
with a mask (NaN * 0 is NaN).

References:
    Ilharco et al. 2023, Task arithmetic (arXiv 2212.04089), section 2: θ = θ_base + λ Σ w τ.
    Yadav et al. 2023, TIES-Merging (arXiv 2306.01708), section 4.1: trim, elect sign, disjoint merge.
    Baba et al. 2024, JRadiEvo (arXiv 2411.09933), and its released code: DARE, then TIES.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from ikyoku.merging import jradievo
from ikyoku.merging.sparsify import kept_share, positions

if TYPE_CHECKING:
    import torch

    from ikyoku.merging.methods import Method


class Constants(NamedTuple):
    """What a merge of one tensor needs to know of the whole of it, and its parameters, as tensors.

    m is the number of parents. Everything is float32 but `keys`. The last four are no tensors: a compiled merge has a
    version for each combination of them.

    Attributes:
        weights: of the parents, (m,); for slerp of base and parent, (2,).
        scales: what the elements that were kept are multiplied with, (m,).
        thresholds: smallest magnitude kept, (m,).
        ceilings: largest magnitude kept, (m,).
        keeps: probability of keeping an element, (m,).
        keys: of the random masks, int32, (m, 2).
        strength: lambda, ().
        divisor: what a plain weighted sum is divided by, ().
        ratio: how far model stock goes from the base to the parents' mean, ().
        majority: sign of jradievo's elements whose sum is zero, ().
        fields: numbers for each element, in as many tensors: DELLA's probabilities, model stock's ratios, or a mask.
        masked: whether elements are dropped at random.
        inverse: whether they are divided by the probability in `fields`.
        normalize: whether TIES divides by the weights that agree.
        half: whether jradievo works in float16, in the order of its released code.
    """

    weights: torch.Tensor
    scales: torch.Tensor
    thresholds: torch.Tensor
    ceilings: torch.Tensor
    keeps: torch.Tensor
    keys: torch.Tensor
    strength: torch.Tensor
    divisor: torch.Tensor
    ratio: torch.Tensor
    majority: torch.Tensor
    fields: tuple[torch.Tensor, ...] = ()
    masked: bool = False
    inverse: bool = False
    normalize: bool = False
    half: bool = False

    def piece(self, start: int, stop: int) -> Constants:
        """Returns the constants of the elements from `start` to `stop`: `fields` cut, all else the same."""
        return self._replace(fields=tuple(field[start:stop] for field in self.fields)) if self.fields else self


def task_vector_merge(
    method: Method,
    base: torch.Tensor,
    parents: Sequence[torch.Tensor],
    constants: Constants,
    start: int | torch.Tensor = 0,
) -> torch.Tensor:
    """Returns base + lambda * what is made of the task vectors: float32, flat.

    Args:
        method: one that merges task vectors.
        base: flat, any float format.
        parents: of the same length.
        constants: those of this piece.
        start: index in the tensor of the first element.

    Reference:
        Ilharco et al. 2023, arXiv 2212.04089, section 2; Yadav et al. 2023, arXiv 2306.01708, section 4.1.
    """
    if constants.half:
        return jradievo.half_merge(base, _half_thinned(base, parents, constants, start), constants)
    vectors = thinned(method, base, parents, constants, start)
    merge = {"none": task_sum, "sum": elected_sum, "unweighted": counted_mean}[method.consensus]
    return merge(vectors, constants).mul_(constants.strength).add_(base.float())


def elected(
    method: Method,
    base: torch.Tensor,
    parents: Sequence[torch.Tensor],
    constants: Constants,
    start: int | torch.Tensor = 0,
) -> torch.Tensor:
    """Returns how many more elements of a flat piece elect plus than minus: int64, ().

    Added over the tensors of a model, its sign is jradievo's majority.

    Args:
        method: jradievo.
        base: the base's elements.
        parents: the parents'.
        constants: with the thresholds of the whole model; their majority does not matter.
        start: index in the tensor of the first element.

    Reference:
        Baba et al. 2024, arXiv 2411.09933, and its released code: elements whose sum is zero take the majority's sign.
    """
    import torch

    if constants.half:
        found = jradievo.half_signs(_half_thinned(base, parents, constants, start))
    else:
        found = signs(thinned(method, base, parents, constants, start))
    return found.sum(dtype=torch.int64)


def thinned(
    method: Method,
    base: torch.Tensor,
    parents: Sequence[torch.Tensor],
    constants: Constants,
    start: int | torch.Tensor = 0,
    *,
    trim: bool = True,
) -> list[torch.Tensor]:
    """Returns the task vectors, thinned out and rescaled, but not weighted: flat, one for each parent, float32.

    With jradievo's quirk `half` they are float16 as long as they are not trimmed.

    Args:
        method: which says how.
        base: flat, any float format.
        parents: of the same length.
        constants: those of this piece.
        start: index in the tensor of the first element.
        trim: jradievo's second step, by magnitude; without it, what its threshold is to be found from.

    >>> import torch
    >>> from ikyoku.merging import METHODS, constants
    >>> base, parent, ties = torch.zeros(4), torch.tensor([1.0, -4.0, 2.0, 0.5]), METHODS["ties"]
    >>> numbers = constants(ties, base, [parent], shared={}, each=[{"weight": 1.0, "density": 0.5}], keys=[0])
    >>> thinned(ties, base, [parent], numbers)[0].tolist()
    [0.0, -4.0, 2.0, 0.0]
    """
    if constants.half and not trim:
        return _half_vectors(base, parents, constants, start)
    wide = base.float()
    thresholds, ceilings, scales = constants.thresholds.unbind(), constants.ceilings.unbind(), constants.scales.unbind()
    place = _place(method, base, constants, start)
    vectors = []
    for number, parent in enumerate(parents):
        delta = parent.float() - wide
        if method.sparsify == "magnitude":
            delta.mul_(delta.abs().ge_(thresholds[number]))
        elif method.sparsify == "outliers":
            size = delta.abs()
            delta.mul_(size.clone().ge_(thresholds[number])).mul_(size.le_(ceilings[number]))
        elif method.draws and constants.masked:
            delta.mul_(_mask(method, constants, number, place))
        if method.sparsify != "none":
            delta.mul_(scales[number])
        if method.sparsify == "random-magnitude" and trim:
            delta.mul_(delta.abs().ge_(thresholds[number]))
        vectors.append(delta)
    return vectors


def _place(method: Method, base: torch.Tensor, constants: Constants, start: int | torch.Tensor) -> torch.Tensor | None:
    """What the masks are hashed from; None where there are none, or where one is given (a quirk of jradievo)."""
    if not constants.masked or (method.sparsify == "random-magnitude" and constants.fields):
        return None
    return positions(start, base.numel(), like=base)


def _half_vectors(
    base: torch.Tensor, parents: Sequence[torch.Tensor], constants: Constants, start: int | torch.Tensor
) -> list[torch.Tensor]:
    masks: list[torch.Tensor | None] = [None] * len(parents)
    if constants.masked and constants.fields:
        masks = [constants.fields[0]] * len(parents)
    elif constants.masked:
        place, keeps = positions(start, base.numel(), like=base), constants.keeps.unbind()
        masks = [kept_share(place, words, keep) for words, keep in zip(constants.keys.unbind(), keeps, strict=True)]
    return jradievo.half_vectors(base, parents, constants, masks)


def _half_thinned(
    base: torch.Tensor, parents: Sequence[torch.Tensor], constants: Constants, start: int | torch.Tensor
) -> list[torch.Tensor]:
    return jradievo.half_trimmed(_half_vectors(base, parents, constants, start), constants)


def _mask(method: Method, constants: Constants, number: int, place: torch.Tensor | None) -> torch.Tensor:
    if place is None:
        return constants.fields[0]
    words = constants.keys[number]
    if method.sparsify != "magprune":
        return kept_share(place, words, constants.keeps[number])
    probability = constants.fields[number]
    mask = kept_share(place, words, probability)
    return mask.div_(probability.clamp(min=2.0**-24)) if constants.inverse else mask


def task_sum(vectors: Sequence[torch.Tensor], constants: Constants) -> torch.Tensor:
    """Returns the weighted sum of task vectors, divided by `divisor`. They are used up.

    Reference:
        Ilharco et al. 2023, arXiv 2212.04089, section 2.
    """
    return _added(_weighted(vectors, constants)).div_(constants.divisor)


def elected_sum(vectors: Sequence[torch.Tensor], constants: Constants) -> torch.Tensor:
    """Returns the weighted sum of the elements that have the elected sign; they are used up.

    The sign is that of the weighted sum, and plus where that is zero. With `normalize` it is a mean: divided by the
    weights of those that agree.

    Reference:
        Yadav et al. 2023, arXiv 2306.01708, section 4.1 (elect sign; disjoint merge), with mergekit's weights.
    """
    vectors = _weighted(vectors, constants)
    sign = _added([vectors[0].clone(), *vectors[1:]]).ge_(0.0).mul_(2.0).sub_(1.0)
    agree = [(vector * sign).gt_(0.0) for vector in vectors]
    mixed = _added([vector.mul_(one) for vector, one in zip(vectors, agree, strict=True)])
    if not constants.normalize:
        return mixed
    divisor = _added(_weighted(agree, constants))
    return mixed.div_(divisor.add_(divisor.clone().eq_(0.0)))


def signs(vectors: Sequence[torch.Tensor]) -> torch.Tensor:
    """Returns the sign of the unweighted sum of each element: float32, -1, 0 or 1.

    Reference:
        Baba et al. 2024, arXiv 2411.09933, and its released code; papers of TIES elect with the same sum.

    >>> import torch
    >>> signs([torch.tensor([1.0, -1.0]), torch.tensor([1.0, 1.0])]).tolist()
    [1.0, 0.0]
    """
    return _added([vectors[0].clone(), *vectors[1:]]).sign_()


def counted_mean(vectors: Sequence[torch.Tensor], constants: Constants) -> torch.Tensor:
    """Returns jradievo's mean: the weighted sum of the elements that agree over how many agree; they are used up.

    The sign is that of the unweighted sum, and `majority` where that is zero; the count is not weighted.

    Reference:
        Baba et al. 2024, arXiv 2411.09933, and its released code (disjoint mean).
    """
    sign = signs(vectors)
    sign.add_(sign.clone().eq_(0.0).mul_(constants.majority))
    agree = [(vector * sign).gt_(0.0) for vector in vectors]
    mixed = _added(_weighted([vector.mul_(one) for vector, one in zip(vectors, agree, strict=True)], constants))
    return mixed.div_(_added(agree).clamp_(min=1.0))


def _weighted(vectors: Sequence[torch.Tensor], constants: Constants) -> list[torch.Tensor]:
    return [vector.mul_(weight) for vector, weight in zip(vectors, constants.weights.unbind(), strict=True)]


def _added(vectors: Sequence[torch.Tensor]) -> torch.Tensor:
    """Adds all to the first, in their order."""
    for vector in vectors[1:]:
        vectors[0].add_(vector)
    return vectors[0]
