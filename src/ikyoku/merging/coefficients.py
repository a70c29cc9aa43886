"""What a merge must know of a whole tensor, or of a whole model, before it can go element by element."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from ikyoku.merging import jradievo
from ikyoku.merging.linear import block_sums, exact_sum, slerp_coefficients, stock_ratio, stock_ratios
from ikyoku.merging.magnitudes import CHUNK, MagnitudeCounter, OrderStatistics, magnitudes, model_largest, rank_kept
from ikyoku.merging.methods import L1, Method, Value, completed
from ikyoku.merging.sparsify import key_words, outlier_bounds, rank_probabilities
from ikyoku.merging.task_arithmetic import Constants, elected, thinned

if TYPE_CHECKING:
    import torch

_TINY = 1e-7  # below it, a sum of magnitudes is not restored; mergekit's


def constants(
    method: Method,
    base: torch.Tensor | None,
    parents: Sequence[torch.Tensor],
    *,
    shared: Mapping[str, Value],
    each: Sequence[Mapping[str, Value]],
    keys: Sequence[int],
    thresholds: Sequence[float] | None = None,
    majority: float | None = None,
    statistics: Sequence[OrderStatistics] | None = None,
) -> Constants:
    """Returns what `combine` needs besides the tensors.

    Args:
        method: a row of `METHODS`.
        base: the tensor of the base; None for methods without one.
        parents: those of the parents, all of one shape; any float formats.
        shared: parameters of the tensor; what is missing has its default.
        each: parameters of each parent.
        keys: of `mask_key`, one for each parent; used by methods that draw.
        thresholds: smallest magnitude kept of each parent, where it is known; for jradievo that of the whole model.
        majority: for jradievo, the sign that most elements of the whole model elect; see `elected`.
        statistics: of each parent's task vector, where they were made before: thresholds then cost nothing.

    Raises:
        ValueError: a parameter is missing or out of range, or the tensors do not fit each other.

    >>> import torch
    >>> from ikyoku.merging import METHODS
    >>> base, parent, ties = torch.zeros(4), torch.tensor([1.0, -4.0, 2.0, 0.5]), METHODS["ties"]
    >>> row = {"weight": 1.0, "density": 0.5}
    >>> constants(ties, base, [parent], shared={}, each=[row], keys=[0]).thresholds.tolist()
    [2.0]
    """
    whole, rows = completed(method, shared, each)
    _check(method, base, parents, keys)
    device = parents[0].device
    made = _parameters(method, whole, rows, keys, device)
    if not method.needs_base or base is None:
        return made
    made = _with_fields(method, base, parents, made, whole, rows)
    if method.sparsify in ("magnitude", "outliers"):
        lows, highs = _bounds(method, base, parents, rows, thresholds, statistics)
        made = made._replace(thresholds=_numbers(lows, device), ceilings=_numbers(highs, device))
    if method.whole_model:
        if thresholds is None:
            thresholds = _whole_model_thresholds(method, base, parents, whole, rows, keys)
        made = made._replace(thresholds=_numbers(thresholds, device))
        if majority is None:
            majority = election(method, base, parents, made)
        made = made._replace(majority=_numbers((majority > 0) - (majority < 0), device))
    if method.sparsify != "none" and _keeps_sum(method, whole):
        made = made._replace(scales=_numbers(_sum_scales(method, base, parents, made), device))
    return made


class ModelTrim:
    """Finds jradievo's threshold of one parent over the whole model, in two passes over its tensors.

    Add every tensor once, call `refine`, add every tensor again, and read `threshold`.

    >>> import torch
    >>> from ikyoku.merging import METHODS
    >>> trim = ModelTrim(METHODS["jradievo"], shared={}, each={"density": 0.5})
    >>> tensors = [torch.tensor([1.0, 5.0]), torch.tensor([3.0, 2.0])]
    >>> for tensor in tensors:
    ...     trim.add(torch.zeros(2), tensor, key=0)
    >>> trim.refine()
    >>> for tensor in tensors:
    ...     trim.add(torch.zeros(2), tensor, key=0)
    >>> trim.threshold()
    3.0
    """

    def __init__(self, method: Method, *, shared: Mapping[str, Value], each: Mapping[str, Value]) -> None:
        whole, rows = completed(method, shared, [each])
        self._method, self._whole, self._row = method, whole, rows[0]
        self._counter = MagnitudeCounter()

    def add(self, base: torch.Tensor, parent: torch.Tensor, *, key: int) -> None:
        """Counts a tensor's magnitudes as DARE leaves them.

        Args:
            base: the base's tensor.
            parent: the parent's.
            key: of this tensor's mask.
        """
        known = _parameters(self._method, self._whole, [self._row], [key], parent.device)
        known = _with_fields(self._method, base, [parent], known, self._whole, [self._row])
        one, other = base.reshape(-1), parent.reshape(-1)
        for start in range(0, one.numel(), CHUNK):
            stop = min(start + CHUNK, one.numel())
            piece = known.piece(start, stop)
            vector = thinned(self._method, one[start:stop], [other[start:stop]], piece, start, trim=False)[0]
            self._counter.add(vector)

    def refine(self) -> None:
        """Ends the first pass."""
        self._counter.refine_rank(jradievo.trim_rank(self._counter.n, self._row["density"], self._whole))

    def threshold(self) -> float:
        """Returns the threshold: what is at least as large is kept."""
        return jradievo.trim_threshold(self._counter.threshold(), self._whole)


def model_trim_threshold(
    statistics: Sequence[OrderStatistics], *, shared: Mapping[str, Value], each: Mapping[str, Value]
) -> float:
    """Returns what `ModelTrim` finds, from statistics of all tensors that were made before; nothing may be dropped.

    Raises:
        ValueError: elements are dropped at random, or `half` is on: the magnitudes are others then.

    >>> import torch
    >>> statistics = [OrderStatistics(torch.tensor([1.0, 5.0])), OrderStatistics(torch.tensor([3.0, 2.0]))]
    >>> model_trim_threshold(statistics, shared={}, each={"density": 0.5})
    3.0
    """
    if shared.get("drop") or shared.get("half"):
        raise ValueError("statistics are of the whole task vectors in float32: with drop or half, count with ModelTrim")
    density = each.get("density")
    rank = jradievo.trim_rank(sum(one.n for one in statistics), 1.0 if density is None else float(density), shared)
    return jradievo.trim_threshold(model_largest(statistics, rank), shared)


def _check(method: Method, base: torch.Tensor | None, parents: Sequence[torch.Tensor], keys: Sequence[int]) -> None:
    if method.needs_base and base is None:
        raise ValueError(f"{method.name} needs the base's tensor")
    shapes = {tuple(one.shape) for one in (*parents, *([] if base is None else [base]))}
    if len(shapes) > 1:
        raise ValueError(f"the tensors must have one shape, found {', '.join(map(str, sorted(shapes)))}")
    if method.draws and len(keys) != len(parents):
        raise ValueError(f"{method.name} needs one key for each of {len(parents)} parents, found {len(keys)}")


def _numbers(values: float | Sequence[float], device: torch.device) -> torch.Tensor:
    import torch

    return torch.tensor(values, dtype=torch.float32, device=device)


def _parameters(
    method: Method,
    shared: Mapping[str, Value],
    rows: Sequence[Mapping[str, float]],
    keys: Sequence[int],
    device: torch.device,
) -> Constants:
    """The constants that follow from the parameters alone."""
    import torch

    count = len(rows)
    weights = [row.get("weight", row.get("scale", 1.0)) for row in rows]
    total = exact_sum(weights)
    divide = bool(shared.get("normalize")) and method.consensus == "none"
    if method.name == "model_stock":
        divisor = float(count)
    elif divide:
        divisor = 1.0 if method.needs_base and abs(total) < 1e-8 else total
    else:
        divisor = 1.0
    keeps = [1.0 - float(shared["drop"] or 0.0) if "drop" in shared else row.get("density", 1.0) for row in rows]
    rescaled = method.sparsify == "random-magnitude" or (method.sparsify == "random" and shared["rescale"] is True)
    return Constants(
        weights=_numbers(weights, device),
        scales=_numbers([1 / keep if rescaled and keep else 1.0 for keep in keeps], device),
        thresholds=_numbers([0.0] * count, device),
        ceilings=_numbers([float("inf")] * count, device),
        keeps=_numbers(keeps, device),
        keys=torch.tensor([key_words(key) for key in keys or [0] * count], dtype=torch.int32, device=device),
        strength=_numbers(float(shared.get("lambda") or 0.0) if "lambda" in shared else 1.0, device),
        divisor=_numbers(divisor, device),
        ratio=_numbers(1.0, device),
        majority=_numbers(1.0, device),
        masked=method.draws and any(keep < 1 for keep in keeps),
        inverse=method.sparsify == "magprune" and shared["rescale"] is True,
        normalize=bool(shared.get("normalize")),
        half=bool(shared.get("half")),
    )


def _with_fields(
    method: Method,
    base: torch.Tensor,
    parents: Sequence[torch.Tensor],
    made: Constants,
    shared: Mapping[str, Value],
    rows: Sequence[Mapping[str, float]],
) -> Constants:
    """Adds what is measured on whole tensors: angles, ratios, probabilities, the seeded mask."""
    device = parents[0].device
    if method.name == "slerp":
        ends = slerp_coefficients(float(shared["t"] or 0.0), base, parents[0])
        return made._replace(weights=_numbers(ends, device))
    if method.name == "model_stock":
        if shared["filter_wise"]:
            return made._replace(fields=(stock_ratios(base, parents),))
        return made._replace(ratio=_numbers(stock_ratio(base, parents), device))
    if method.sparsify == "magprune" and made.masked:
        wide = base.float()
        return made._replace(
            fields=tuple(
                rank_probabilities(parent.float() - wide, row["density"], row["epsilon"])
                for parent, row in zip(parents, rows, strict=True)
            )
        )
    if shared.get("shared_masks") and made.masked:
        return made._replace(fields=(jradievo.seeded_mask(base.numel(), float(shared["drop"] or 0.0), device),))
    return made


def _bounds(
    method: Method,
    base: torch.Tensor,
    parents: Sequence[torch.Tensor],
    rows: Sequence[Mapping[str, float]],
    thresholds: Sequence[float] | None,
    statistics: Sequence[OrderStatistics] | None,
) -> tuple[list[float], list[float]]:
    """The smallest and the largest magnitude kept of each parent."""
    lows, highs = [], []
    for number, (parent, row) in enumerate(zip(parents, rows, strict=True)):
        select = statistics[number].largest if statistics is not None else _selector(base, parent)
        low, high = 0.0, float("inf")
        if method.sparsify == "outliers":
            low, high = outlier_bounds(select, base.numel(), density=row["density"], gamma=row["gamma"])
        elif thresholds is None:
            low = select(rank_kept(row["density"], base.numel()))
        lows.append(low if thresholds is None else thresholds[number])
        highs.append(high)
    return lows, highs


def _selector(base: torch.Tensor, parent: torch.Tensor) -> Callable[[int], float]:
    """Returns a function from a rank to the magnitude of the task vector there."""

    def select(rank: int) -> float:
        if rank <= 0 or rank > base.numel():
            return 0.0 if rank > 0 else float("inf")
        counter = MagnitudeCounter()
        for _, piece in magnitudes(base, parent):
            counter.add(piece)
        counter.refine_rank(rank)
        for _, piece in magnitudes(base, parent):
            counter.add(piece)
        return counter.threshold()

    return select


def _whole_model_thresholds(
    method: Method,
    base: torch.Tensor,
    parents: Sequence[torch.Tensor],
    shared: Mapping[str, Value],
    rows: Sequence[Mapping[str, float]],
    keys: Sequence[int],
) -> list[float]:
    """The thresholds where this tensor is the whole model."""
    found = []
    for parent, row, key in zip(parents, rows, keys, strict=True):
        trim = ModelTrim(method, shared=shared, each=row)
        trim.add(base, parent, key=key)
        trim.refine()
        trim.add(base, parent, key=key)
        found.append(trim.threshold())
    return found


def election(method: Method, base: torch.Tensor, parents: Sequence[torch.Tensor], made: Constants) -> int:
    """Returns how many more elements of a tensor elect plus than minus; see `elected`.

    Args:
        method: jradievo.
        base: the base's tensor.
        parents: the parents'.
        made: the tensor's constants, with the thresholds of the whole model.
    """
    flat, rest = base.reshape(-1), [parent.reshape(-1) for parent in parents]
    balance = 0
    for start in range(0, flat.numel(), CHUNK):
        stop = min(start + CHUNK, flat.numel())
        piece = made.piece(start, stop)
        balance += int(elected(method, flat[start:stop], [one[start:stop] for one in rest], piece, start))
    return balance


def _keeps_sum(method: Method, shared: Mapping[str, Value]) -> bool:
    """Whether the sum of a task vector's magnitudes is to be as before it was thinned out."""
    rescale = shared.get("rescale")
    return rescale == L1 or (rescale is True and not method.draws)


def _sum_scales(method: Method, base: torch.Tensor, parents: Sequence[torch.Tensor], made: Constants) -> list[float]:
    """The ratios of the sums of magnitudes before and after; 1 where there is nothing to restore."""
    before: list[list[float]] = [[] for _ in parents]
    after: list[list[float]] = [[] for _ in parents]
    flat, rest = base.reshape(-1), [parent.reshape(-1) for parent in parents]
    for start in range(0, flat.numel(), CHUNK):
        stop = min(start + CHUNK, flat.numel())
        pieces = [one[start:stop] for one in rest]
        for number, vector in enumerate(thinned(method, flat[start:stop], pieces, made.piece(start, stop), start)):
            after[number] += block_sums(vector.abs_())
            before[number] += block_sums((pieces[number].float() - flat[start:stop].float()).abs_())
    ratios = []
    for one, other in zip(before, after, strict=True):
        whole, rest_sum = exact_sum(one), exact_sum(other)
        ratios.append(1.0 if whole < _TINY or rest_sum < _TINY else whole / rest_sum)
    return ratios
