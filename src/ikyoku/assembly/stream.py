"""The streamed merge: tensors are read, merged and handed on one after the other, a few at a time."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator
from concurrent.futures import Future
from typing import TYPE_CHECKING

from ikyoku.assembly.plan import (
    MOST_THREADS,
    MergePlan,
    TensorPlan,
    model_thresholds,
    one_thread_each,
    read_inputs,
    unmerged_rows,
)
from ikyoku.errors import ModelError
from ikyoku.runs import Progress, silent

if TYPE_CHECKING:
    import torch

__all__ = ["memory_needed", "merged_tensors"]

_PROCESS = 400_000_000
"""Bytes that the process takes before it reads anything: Python and torch."""


def memory_needed(plan: MergePlan) -> int:
    """Returns about how many bytes a streamed merge takes at most.

    That is the inputs and the result of as many tensors as are computed at a time, and a result that is being written.
    Inputs are maps of files: where memory is short, the system takes theirs first.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    taken = []
    for tensor in plan.tensors:
        inputs = [*tensor.inputs, *([tensor.base] if tensor.base else [])]
        read = sum(plan.parents[one.parent].tensors[one.name].bytes for one in inputs)
        if rows := tensor.inputs[0].rows:  # beside the aligned matrices those of all models, as they are
            read += sum(model.tensors[name].bytes for model, name in zip(plan.parents, rows.names, strict=True))
        taken.append(read + tensor.bytes)
    largest = sorted(taken, reverse=True)[: min(cores, MOST_THREADS) + 1]
    return sum(largest) + max(tensor.bytes for tensor in plan.tensors) + _PROCESS


def merged_tensors(
    plan: MergePlan, names: tuple[str, ...], *, device: str = "cpu", progress: Progress = silent
) -> Generator[tuple[str, torch.Tensor]]:
    """Yields the output's tensors of these names, in their number format and in this order.

    Several are computed at a time, one on each core: for pieces that stay in a core's cache, one thread for each tensor
    is faster than all threads for one tensor.

    Raises:
        ModelError: an input holds values that are no finite numbers, or the output cannot hold a merged value.
    """
    by_name = {tensor.name: tensor for tensor in plan.tensors}
    whole = model_thresholds(plan, device=device, progress=progress) if names else None

    def made(tensor: TensorPlan) -> torch.Tensor:
        base, parents = read_inputs(plan, tensor)
        merged = _merged(tensor, base, parents, device, whole)
        if kept := unmerged_rows(plan, tensor):
            merged[kept[0].to(merged.device)] = kept[1].to(merged.device, merged.dtype)
        return merged

    with one_thread_each(device) as (pool, count):
        waiting: deque[tuple[str, Future[torch.Tensor]]] = deque()
        try:
            for name in names:
                waiting.append((name, pool.submit(made, by_name[name])))
                if len(waiting) > count:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:
            for _, future in waiting:
                future.cancel()


def _merged(
    tensor: TensorPlan,
    base: torch.Tensor | None,
    parents: list[torch.Tensor],
    device: str,
    whole: tuple[tuple[float, ...], float] | None,
) -> torch.Tensor:
    """One tensor of the output."""
    import torch

    from ikyoku.merging import merge_tensor

    dtype = getattr(torch, tensor.dtype)
    if tensor.method is None:
        made = parents[0].to(dtype)
    else:
        thresholds, majority = whole or (None, None)
        made = merge_tensor(
            tensor.method,
            None if base is None else base.to(device),
            [parent.to(device) for parent in parents],
            shared=tensor.shared,
            each=tensor.each,
            keys=tensor.keys,
            thresholds=thresholds,
            majority=majority,
            out=torch.empty(tensor.shape, dtype=dtype, device=device),
        )
    if dtype.is_floating_point and made.numel() and not all(end.isfinite() for end in made.aminmax()):
        raise ModelError(
            f"{tensor.name}: merged values are beyond what {tensor.dtype} can hold. "
            "Write smaller weights in the recipe, or dtype: bfloat16 or float32 where it is float16."
        )
    return made
