"""The merge of one tensor, in two steps: what must be known of the whole of it, and then element by element.

`constants` goes over the whole tensor where a method needs that (thresholds, norms, angles). `combine` then works on
any flat piece, and is the same function for a merge that streams tensors through in pieces and for one that is compiled
and written into a live model, so that both give the same bits. `merge_tensor` is both for a whole tensor.

Not-a-number and infinities: an element that is not finite in one of the inputs is not finite in the output, unless the
method does not use that input there at all. Where a coefficient is measured over the whole tensor (slerp, model stock,
`rescale: l1`), the whole tensor is NaN. A reader of checkpoints refuses both beforehand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ikyoku.merging.coefficients import constants
from ikyoku.merging.linear import mean_step, weighted_sum
from ikyoku.merging.magnitudes import CHUNK
from ikyoku.merging.methods import Method, Value
from ikyoku.merging.task_arithmetic import Constants, elected, task_vector_merge

if TYPE_CHECKING:
    import torch

__all__ = ["Constants", "combine", "constants", "elected", "merge_tensor"]


def merge_tensor(
    method: Method,
    base: torch.Tensor | None,
    parents: Sequence[torch.Tensor],
    *,
    shared: Mapping[str, Value],
    each: Sequence[Mapping[str, Value]],
    keys: Sequence[int],
    thresholds: Sequence[float] | None = None,
    majority: float | None = None,
    out: torch.Tensor | None = None,
    size: int = CHUNK,
) -> torch.Tensor:
    """Returns the merge of one tensor: of the parents' shape, float32.

    The arithmetic is in float32, in pieces that are small enough for a core's cache.

    Args:
        method: a row of `METHODS`.
        base: the tensor of the base; None for methods without one.
        parents: those of the parents, all of one shape; any float formats.
        shared: parameters of the tensor; what is missing has its default.
        each: parameters of each parent.
        keys: of `mask_key`, one for each parent; used by methods that draw.
        thresholds: smallest magnitude kept of each parent, where it is known; for jradievo that of the whole model.
            Without it, it is that of this tensor.
        majority: for jradievo, the sign that most elements of the whole model elect; without it, of this tensor.
        out: where to write, of the same number of elements and any float format, in place of a new tensor.
        size: elements in a piece; it changes nothing in the result.

    Raises:
        ValueError: a parameter is missing or out of range, or the tensors do not fit each other.

    >>> import torch
    >>> from ikyoku.merging import METHODS
    >>> parents = [torch.tensor([1.0, -2.0]), torch.tensor([3.0, 1.0])]
    >>> merge_tensor(METHODS["linear"], None, parents, shared={}, each=[{"weight": 1.0}] * 2, keys=[0, 1]).tolist()
    [2.0, -0.5]
    """
    import torch

    known = constants(
        method, base, parents, shared=shared, each=each, keys=keys, thresholds=thresholds, majority=majority
    )
    made = torch.empty(parents[0].shape, dtype=torch.float32, device=parents[0].device) if out is None else out
    target = made.view(-1)
    first = None if base is None else base.reshape(-1)
    rest = [parent.reshape(-1) for parent in parents]
    for start in range(0, target.numel(), size):
        stop = min(start + size, target.numel())
        target[start:stop] = combine(
            method,
            None if first is None else first[start:stop],
            [one[start:stop] for one in rest],
            known.piece(start, stop),
            start,
        )
    return made


def combine(
    method: Method,
    base: torch.Tensor | None,
    parents: Sequence[torch.Tensor],
    constants: Constants,
    start: int | torch.Tensor = 0,
) -> torch.Tensor:
    """Returns the merge of a flat piece: float32, of the piece's length.

    It reads its arguments and changes none. Everything that may differ from one call to the next is a tensor, so that
    a compiled version serves all parameters and lengths: give `start` as an int32 tensor of no dimension there. A piece
    has fewer than 2**31 elements.

    Args:
        method: a row of `METHODS`.
        base: the base's elements, or None for methods without one.
        parents: the parents' elements.
        constants: of `constants`; `Constants.piece` cuts what belongs to the piece.
        start: index in the tensor of the piece's first element.

    >>> import torch
    >>> from ikyoku.merging import METHODS
    >>> base, parent, method = torch.zeros(3), torch.tensor([3.0, -1.0, 2.0]), METHODS["ties"]
    >>> known = constants(method, base, [parent], shared={}, each=[{"weight": 1.0, "density": 2 / 3}], keys=[0])
    >>> combine(method, base, [parent], known).tolist()
    [3.0, 0.0, 2.0]
    """
    if base is None or not method.needs_base:
        return weighted_sum(parents, constants)
    if method.name == "slerp":
        return weighted_sum([base, *parents], constants)
    if method.name == "model_stock":
        return mean_step(base, parents, constants)
    return task_vector_merge(method, base, parents, constants, start)
