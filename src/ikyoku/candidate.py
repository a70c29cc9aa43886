"""A candidate of a search, written in place into a live model: no disk, no reload.

The parents are read once and stay in memory in the number format that they have on disk, with the statistics from
which every trim threshold follows. A candidate is then one fused pass: each tensor of the live model is computed from
the base and the parents, and written where the model reads it. What is written equals what `ikyoku merge` writes for
the same recipe, bit for bit.

Keeping the parents instead of their differences to the base costs no traffic, because the base is read either way, and
no rounding: in bfloat16 the difference of two bfloat16 weights would be one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ikyoku.assembly.plan import MergePlan, TensorPlan, one_thread_each, read_inputs, unmerged_rows
from ikyoku.checkpoints import ITEM_BYTES
from ikyoku.errors import ModelError, together
from ikyoku.merging.magnitudes import CHUNK
from ikyoku.merging.mapping import memory_names
from ikyoku.merging.methods import Value

if TYPE_CHECKING:
    import torch

    from ikyoku.merging import Constants, Method, OrderStatistics

__all__ = ["ResidentParents"]

Progress = Callable[[str, int, int], None]
_STATISTIC = 4  # bytes an element at most: either all magnitudes, or fewer distinct ones with their counts
_TRIMMED = ("magnitude", "outliers", "random-magnitude")
_WORTH_COMPILING = 1 << 26  # bytes of parents: below, a search is over before the compiler has paid for itself
_SMALL = 1 << 14  # elements below which a compiled pass costs more to call than it saves
_FORMS = 64  # compiled versions of a pass: one for each combination of method, parents and number formats


@dataclass(slots=True)
class _Resident:
    """One tensor of the live model, flat in `target`, and what it is made of."""

    base: torch.Tensor | None
    parents: list[torch.Tensor]
    target: torch.Tensor
    kept: tuple[torch.Tensor, torch.Tensor] | None = None
    """Rows that are not merged, and what stands in them."""
    statistics: tuple[OrderStatistics, ...] | None = None


class _Pass:
    """A step over the elements of a tensor, in one compiled go or in pieces that stay in a core's cache."""

    def __init__(self, step: Callable[..., Any], *, compiled: bool, required: bool = False) -> None:
        self._step, self._required = step, required
        self._fused: Callable[..., Any] | None = None
        if compiled:
            import torch

            self._fused = torch.compile(step, dynamic=True)

    def __call__(
        self,
        method: Method | None,
        base: torch.Tensor | None,
        parents: Sequence[torch.Tensor],
        known: Constants,
        target: torch.Tensor,
    ) -> list[Any]:
        """Does the step for a whole tensor and returns what it gave for each piece."""
        import torch

        base = None if base is None else base.view(-1)
        parents = [parent.view(-1) for parent in parents]
        if self._fused is not None and target.numel() > _SMALL:
            first = torch.zeros((), dtype=torch.int32, device=target.device)
            try:
                with torch._dynamo.config.patch(recompile_limit=_FORMS):
                    return [self._fused(method, base, parents, known, first, target)]
            except torch._dynamo.exc.TorchDynamoException:  # the compiler does not work: no headers, no room in /tmp
                if self._required:
                    raise
                self._fused = None  # the pieces come to the same bits
        return [
            self._step(
                method,
                None if base is None else base[start : start + CHUNK],
                [parent[start : start + CHUNK] for parent in parents],
                known.piece(start, min(start + CHUNK, target.numel())),
                start,
                target[start : start + CHUNK],
            )
            for start in range(0, target.numel(), CHUNK)
        ]


def _written(method: Any, base: Any, parents: Any, known: Any, start: Any, target: torch.Tensor) -> None:
    from ikyoku.merging.combine import combine

    target.copy_(combine(method, base, parents, known, start))


def _balance(method: Any, base: Any, parents: Any, known: Any, start: Any, target: torch.Tensor) -> torch.Tensor:
    from ikyoku.merging.task_arithmetic import elected

    return elected(method, base, parents, known, start)


class ResidentParents:
    """The parents of a search in memory, and the live model into which its candidates are written.

        resident = ResidentParents(plan_merge(recipe))
        resident.attach(model)
        resident.write(reparametrised(plan, another_recipe))

    One parent's parameters may change between candidates, the tensors that are read may not.
    """

    def __init__(
        self,
        plan: MergePlan,
        *,
        device: str | None = None,
        compiled: bool | None = None,
        statistics: bool | None = None,
    ) -> None:
        """Notes what to keep; nothing is read before `attach`.

        Args:
            plan: of any candidate of the search.
            device: where the parents stay; by default the live model's device, or the main memory where the GPU has
                no room for them: then each tensor visits the GPU when it is its turn.
            compiled: whether to fuse the pass with torch.compile, which takes seconds once and needs a C++ compiler on
                a CPU; by default where there is one and the model is not tiny.
            statistics: whether to keep the order of the magnitudes, from which a threshold costs nothing; without it
                magnitudes are counted for every candidate. By default where the main memory has room.
        """
        self._plan = plan
        self._device = device
        self._compiled = compiled
        self._wants_statistics = statistics
        self._tensors: dict[str, _Resident] = {}
        self._write: _Pass | None = None
        self._elect: _Pass | None = None

    @property
    def parent_bytes(self) -> int:
        """Bytes of the base and the parents in memory."""
        found = 0
        for tensor in _merged(self._plan):
            for one in (*tensor.inputs, *([tensor.base] if tensor.base else [])):
                info = self._plan.parents[one.parent].tensors[one.name]
                found += math.prod(tensor.shape) * ITEM_BYTES[info.dtype]
        return found

    @property
    def statistics_bytes(self) -> int:
        """Bytes of the statistics at most; far fewer where magnitudes repeat, as between bfloat16 models."""
        return sum(
            math.prod(tensor.shape) * len(tensor.inputs) * _STATISTIC
            for tensor in _merged(self._plan)
            if tensor.method is not None and tensor.method.sparsify in _TRIMMED
        )

    @property
    def needed(self) -> int:
        """Bytes that base, parents and live model take in memory, without statistics."""
        return self.parent_bytes + self._plan.bytes

    def describe(self) -> str:
        """Returns what will be in memory, for people, before any of it is."""
        formats = dict.fromkeys(
            self._plan.parents[one.parent].tensors[one.name].dtype
            for tensor in _merged(self._plan)
            for one in (*tensor.inputs, *([tensor.base] if tensor.base else []))
        )
        text = f"{_size(self.parent_bytes)} of parents in {', '.join(formats)}, {_size(self._plan.bytes)} of live model"
        if most := self.statistics_bytes:
            text += f", at most {_size(most)} of order statistics (where there is room for them)"
        return text

    def attach(self, model: Any, *, progress: Progress = lambda what, done, total: None) -> None:
        """Reads the parents and binds them to a live model, a transformers model in float32, bfloat16 or float16.

        Tensors that no candidate changes (vision tower, projector) are written now, from the plan's `into`.

        Raises:
            ModelError: the model is not of the plan's architecture, or there is too little memory.
        """
        import torch

        live = dict(model.named_parameters())
        names = memory_names([tensor.name for tensor in self._plan.tensors], live)
        self._refuse_misfits(live, names)
        device = torch.device(self._device) if self._device else _home(model.device, self.parent_bytes)
        with_statistics = self._keeps_statistics(device)
        # a head that the live model ties to its embeddings has no place of its own
        targets = {t.name: live[names[t.name]].data.view(-1) for t in self._plan.tensors if t.name in names}

        def read(tensor: TensorPlan) -> _Resident | None:
            return self._read(tensor, targets[tensor.name], device, with_statistics)

        self._tensors = {}
        with one_thread_each(device.type) as (pool, _):
            wanted = [tensor for tensor in self._plan.tensors if tensor.name in targets]
            for done, (tensor, kept) in enumerate(zip(wanted, pool.map(read, wanted), strict=True)):
                progress("reading the parents", done + 1, len(wanted))
                if kept is not None:
                    self._tensors[tensor.name] = kept
        self._prepare(model.device)

    def _read(
        self, tensor: TensorPlan, target: torch.Tensor, device: torch.device, with_statistics: bool
    ) -> _Resident | None:
        """One tensor of the base and the parents; None where no candidate changes it, and it is written at once."""
        base, parents = read_inputs(self._plan, tensor)
        if tensor.method is None:
            target.copy_(parents[0].reshape(-1))
            return None
        kept = _Resident(
            None if base is None else _stays(base, device, target.device),
            [_stays(parent, device, target.device) for parent in parents],
            target,
        )
        if rows := unmerged_rows(self._plan, tensor):
            kept.kept = rows[0].to(target.device), rows[1].to(target.device, target.dtype)
        if with_statistics and kept.base is not None:
            kept.statistics = tuple(_statistics(kept.base, parent) for parent in kept.parents)
        return kept

    @property
    def statistics_held(self) -> int:
        """Bytes of the statistics that are in memory."""
        return sum(one.nbytes for kept in self._tensors.values() for one in kept.statistics or ())

    def write(self, plan: MergePlan) -> None:
        """Writes a candidate into the live model.

        Args:
            plan: of `reparametrised`: the same tensors, another recipe's parameters.

        Raises:
            ModelError: no model is attached.
        """
        import torch

        if self._write is None:
            raise ModelError("no live model: call attach first")
        with torch.no_grad():
            thresholds, majority = self._of_the_whole(plan)
            for tensor, kept in self._each(plan):
                known = self._constants(tensor, kept, thresholds, majority)
                self._write(tensor.method, *_on(kept), known, kept.target)
                if kept.kept:
                    kept.target.view(tensor.shape)[kept.kept[0]] = kept.kept[1]

    def _each(self, plan: MergePlan) -> Iterator[tuple[TensorPlan, _Resident]]:
        return ((tensor, self._tensors[tensor.name]) for tensor in _merged(plan) if tensor.name in self._tensors)

    def _constants(
        self, tensor: TensorPlan, kept: _Resident, thresholds: Sequence[float] | None, majority: float | None
    ) -> Constants:
        from ikyoku.merging import constants

        base, parents = _on(kept)
        return constants(
            cast("Method", tensor.method),
            base,
            parents,
            shared=tensor.shared,
            each=tensor.each,
            keys=tensor.keys,
            thresholds=thresholds,
            majority=majority,
            statistics=kept.statistics,
        )

    def _of_the_whole(self, plan: MergePlan) -> tuple[list[float] | None, float | None]:
        """The thresholds and the majority sign of a method that trims over the whole model; None for the others."""
        first = next((tensor for tensor, _ in self._each(plan)), None)
        if first is None or first.method is None or not first.method.whole_model:
            return None, None
        method, shared = first.method, first.shared
        with one_thread_each(next(iter(self._tensors.values())).target.device.type) as (pool, _):
            numbers = range(len(first.each))
            thresholds = list(
                pool.map(lambda n, row: self._threshold(plan, method, n, shared, row), numbers, first.each)
            )
        balance = 0
        for tensor, kept in self._each(plan):
            known = self._constants(tensor, kept, thresholds, 1.0)
            balance += int(sum(cast("_Pass", self._elect)(tensor.method, *_on(kept), known, kept.target)))
        return thresholds, float(balance)

    def _threshold(
        self, plan: MergePlan, method: Method, number: int, shared: Mapping[str, Value], row: Mapping[str, Value]
    ) -> float:
        """One parent's threshold over the whole model: from the statistics, or by counting what DARE leaves."""
        from ikyoku.merging import ModelTrim, model_trim_threshold

        every = list(self._each(plan))
        held = [kept.statistics[number] for _, kept in every if kept.statistics]
        if not shared.get("drop") and not shared.get("half") and len(held) == len(every):
            return model_trim_threshold(held, shared=shared, each=row)
        trim = ModelTrim(method, shared=shared, each=row)
        for last in (False, True):
            for tensor, kept in every:
                base, parents = _on(kept)
                trim.add(cast("torch.Tensor", base), parents[number], key=tensor.keys[number])
            if not last:
                trim.refine()
        return trim.threshold()

    def _prepare(self, device: torch.device) -> None:
        """Chooses the pass over one tensor: compiled, or in pieces that stay in a core's cache."""
        compiled = self._compiled
        if compiled is None:
            compiled = self.parent_bytes >= _WORTH_COMPILING and _has_compiler(device)
        required = bool(self._compiled)
        self._write, self._elect = (_Pass(s, compiled=compiled, required=required) for s in (_written, _balance))

    def _keeps_statistics(self, device: torch.device) -> bool:
        if not self.statistics_bytes or self._wants_statistics is False:
            return False
        return bool(self._wants_statistics) or self.statistics_bytes < _free(device) - self.parent_bytes

    def _refuse_misfits(self, live: Mapping[str, Any], names: Mapping[str, str]) -> None:
        faults = [
            f"{tensor.name} is {tensor.shape} in the plan and {tuple(live[names[tensor.name]].shape)} in the model"
            for tensor in self._plan.tensors
            if tensor.name in names and tuple(live[names[tensor.name]].shape) != tensor.shape
        ]
        if faults:
            raise ModelError(f"the live model does not fit the plan:\n{together(faults)}")


def _merged(plan: MergePlan) -> Iterator[TensorPlan]:
    return (tensor for tensor in plan.tensors if tensor.method is not None)


def _stays(tensor: torch.Tensor, device: torch.device, live: torch.device) -> torch.Tensor:
    """A contiguous copy of a mapped tensor that stays in memory; pinned where it will visit a GPU."""
    import torch

    kept = tensor.to(device, copy=True, memory_format=torch.contiguous_format)
    return kept.pin_memory() if device.type == "cpu" and live.type == "cuda" else kept


def _on(kept: _Resident) -> tuple[torch.Tensor | None, list[torch.Tensor]]:
    """The base and the parents of a tensor where it is written."""
    device = kept.target.device
    base = None if kept.base is None else kept.base.to(device, non_blocking=True)
    return base, [parent.to(device, non_blocking=True) for parent in kept.parents]


def _statistics(base: torch.Tensor, parent: torch.Tensor) -> OrderStatistics:
    from ikyoku.merging import OrderStatistics

    return OrderStatistics.of(base, parent)


def _home(live: torch.device, wanted: int) -> torch.device:
    """Where the parents stay: beside the live model, or in the main memory where they do not fit there."""
    import torch

    if live.type == "cuda" and wanted > 0.9 * _free(live):
        return torch.device("cpu")
    return live


def _free(device: torch.device) -> int:
    """Bytes of memory that are free on a device."""
    import torch

    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    with suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return 0


def _has_compiler(device: torch.device) -> bool:
    """Whether torch.compile can make code for a device: a CPU needs a C++ compiler, a GPU Triton."""
    import shutil
    from importlib.util import find_spec

    if device.type == "cpu":
        return any(shutil.which(name) for name in ("g++", "clang++", "c++"))
    return find_spec("triton") is not None


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 10**8 else f"{count / 1e6:.1f} MB"
