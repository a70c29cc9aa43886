"""The study's rivals: the model that candidates are written in, tuned on pairs instead of merged.

Each is a run of `ikyoku tune` inside the run of the search: made once, and continued after an interruption.
"""

from __future__ import annotations

from pathlib import Path

from ikyoku import jobs
from ikyoku.errors import IkyokuError, SpecError
from ikyoku.jobs import tune
from ikyoku.jobs.evolution import Evolution
from ikyoku.runs import Run
from ikyoku.specs import ModelSpec, RivalSpec, TuneSpec

ADAPTER = "artifact/adapter"


def adapters(evolution: Evolution, run: Run) -> dict[str, Path]:
    """Returns the adapter folder of every rival, by its label, tuned where it is not yet.

    Raises:
        IkyokuError: a rival's data or settings cannot be used; see `ikyoku tune`.
    """
    found = {}
    for rival in evolution.spec.rivals:
        done = jobs.start(tuning(evolution, rival), root=run.folder / "runs", progress=run.progress)
        found[rival.label] = done.folder / ADAPTER
    return found


def check_rivals(evolution: Evolution) -> None:
    """Refuses rivals that could not be tuned: they are made last, after the whole search.

    The first samples of each are laid out as `ikyoku tune --dry-run` lays them out.

    Raises:
        SpecError: naming the rival, for what `ikyoku tune` refuses.
    """
    for place, rival in enumerate(evolution.spec.rivals):
        try:
            asked = tuning(evolution, rival)
            tune.inputs(asked)
            tune.dry_run(asked)
        except IkyokuError as error:
            raise SpecError(f"rivals.{place} ({rival.label}): {error} Or leave the rival out.") from None


def tuning(evolution: Evolution, rival: RivalSpec) -> TuneSpec:
    """Returns what `ikyoku tune` is asked for a rival: the prompt is that of the fitness."""
    spec = evolution.spec
    like = spec.fitness[spec.asked_like(reports=True)]
    return TuneSpec(
        name=f"{spec.name}-rival-{spec.rivals.index(rival) + 1}",
        model=ModelSpec(path=evolution.into, dtype=spec.dtype, trust_remote_code=spec.trust_remote_code),
        data=rival.data,
        format=like.format,
        instruction=like.instruction,
        lora=rival.lora,
        learning_rate=rival.learning_rate,
        batch_size=rival.batch_size,
        micro_batch_size=rival.micro_batch_size,
        max_length=rival.max_length,
        steps=rival.steps,
        checkpoint_every=max(1, rival.steps // 10),
        seed=spec.search.seed,
    )
