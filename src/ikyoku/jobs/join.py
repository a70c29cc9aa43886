"""Another process in a search: it takes candidates from a study that all reach, until none is left, and stops.

What it did is in the study, and in a run folder of its own; the process that began the search finishes the run.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

from ikyoku import offline
from ikyoku.errors import SpecError
from ikyoku.jobs import Finished
from ikyoku.jobs.evolution import evolution
from ikyoku.jobs.evolve import check_joinable, inputs
from ikyoku.jobs.searches import carry_out, opened, searches
from ikyoku.jobs.systems import Systems
from ikyoku.runs import Progress, Run, open_run, silent
from ikyoku.specfile import to_yaml
from ikyoku.specs import EvolveSpec


def join(spec: EvolveSpec, *, root: Path = Path("runs"), online: bool = False, progress: Progress = silent) -> Finished:
    """Evaluates candidates of a search that another process began, or will begin, and returns this one's run.

    Args:
        spec: the search; the same as the other processes', but for the storage's address where that differs.
        root: the folder of runs.
        online: as in `jobs.start`.
        progress: told of the progress.

    Raises:
        SpecError: the spec names no storage.
        RunError: the study in the storage is of another spec, or of other questions.
    """
    check_joinable(spec)
    if online and offline.is_on():
        raise SpecError("online: this process went offline before and stays so. Start a new process for it.")
    offline.switch_off_telemetry() if online else offline.switch_on()
    opened_run = open_run(
        "evolve",
        f"{spec.name}-join-{socket.gethostname()}-{os.getpid()}",
        spec.model_dump(mode="json"),
        spec_text=to_yaml(spec),
        root=root,
        inputs=inputs(spec),
        new=True,
        online=not offline.is_on(),
        progress=progress,
    )
    with opened_run as run:
        run.finish(_carried_out(spec, run))
        return Finished(run.folder, run.result(), False)


def _carried_out(spec: EvolveSpec, run: Run) -> dict[str, Any]:
    ready = evolution(spec)
    systems = Systems(ready, run)
    done: dict[str, int] = {}
    for search in searches(ready):
        with opened(ready, search, run, join=True) as study:
            carry_out(ready, search, study, systems, run)
            done[search.label] = sum(record["worker"] == study.worker for record in study.records())
    return {"joined": done}
