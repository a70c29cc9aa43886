"""The jobs: they connect the edges to the core and write the run folder. They hold order, not arithmetic.

Every job is a function of its spec and its run; `start` opens the run of a spec, continues an unfinished one and
reads a finished one.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from ikyoku import offline
from ikyoku.errors import SpecError
from ikyoku.runs import Progress, open_run, silent
from ikyoku.specfile import to_yaml
from ikyoku.specs import DemoSpec, EvaluateSpec, EvolveSpec, MergeSpec, ReportSpec, Spec, TranslateSpec, TuneSpec

VERBS: dict[type[Spec], str] = {
    TuneSpec: "tune",
    EvaluateSpec: "evaluate",
    MergeSpec: "merge",
    EvolveSpec: "evolve",
    ReportSpec: "report",
    DemoSpec: "demo",
    TranslateSpec: "translate",
}
"""Which module of this folder does which spec; in it, the function of the same name and `inputs`."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A finished run: its folder, its short result, and whether it had been finished before."""

    folder: Path
    result: dict[str, Any]
    before: bool


def start(
    spec: Spec, *, root: Path = Path("runs"), new: bool = False, online: bool = False, progress: Progress = silent
) -> Finished:
    """Does what a spec asks, in its run folder, and returns the finished run.

    Args:
        spec: what is asked.
        root: the folder of runs.
        new: start another run beside the one of this spec.
        online: leave the network open, for hub ids that are not in the local cache; telemetry stays off.
        progress: told of the job's progress.

    Raises:
        IkyokuError: for everything that the user can mend; SpecError where `online` comes too late.
    """
    if online and offline.is_on():
        raise SpecError("online: this process went offline before and stays so. Start a new process for it.")
    offline.switch_off_telemetry() if online else offline.switch_on()
    if type(spec) not in VERBS:
        raise SpecError(f"found {type(spec).__name__}: give a spec, one of {', '.join(s.__name__ for s in VERBS)}.")
    verb = VERBS[type(spec)]
    module = import_module(f"ikyoku.jobs.{verb}")
    values = spec.model_dump(mode="json")
    name = str(values["name"])
    opened = open_run(
        verb,
        name,
        values,
        spec_text=to_yaml(spec),
        root=root,
        inputs=module.inputs(spec),
        new=new,
        online=not offline.is_on(),
        progress=progress,
    )
    with opened as run:
        before = run.state == "done"
        if not before:
            run.finish(getattr(module, verb)(spec, run))
        return Finished(run.folder, run.result(), before)
