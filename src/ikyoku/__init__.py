"""ikyoku (医局): makes, measures and runs Japanese medical language models inside the hospital.

Every verb of the command line is a function of its spec:

    import ikyoku
    done = ikyoku.tune(ikyoku.TuneSpec(model={"path": "models/base"}, data="pairs.jsonl"))
    done.folder / done.result["adapter"]

Importing this package loads neither torch nor transformers and changes nothing; a verb that starts goes offline unless
it is called with `online=True`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from ikyoku.errors import IkyokuError
    from ikyoku.jobs import Finished
    from ikyoku.specs import (
        CandidateParentSpec,
        DemoSpec,
        EndpointSpec,
        EvaluateSpec,
        EvolveSpec,
        ExamSpec,
        FitnessSpec,
        LoraSpec,
        MergeSpec,
        ModelSpec,
        RecipeSpec,
        ReportSpec,
        SearchSpec,
        SpaceSpec,
        TranslateSpec,
        TuneSpec,
    )

__all__ = [
    "CandidateParentSpec",
    "DemoSpec",
    "EndpointSpec",
    "EvaluateSpec",
    "EvolveSpec",
    "ExamSpec",
    "FitnessSpec",
    "IkyokuError",
    "LoraSpec",
    "MergeSpec",
    "ModelSpec",
    "RecipeSpec",
    "ReportSpec",
    "SearchSpec",
    "SpaceSpec",
    "TranslateSpec",
    "TuneSpec",
    "compare",
    "demo",
    "evaluate",
    "evolve",
    "merge",
    "report",
    "score",
    "translate",
    "tune",
]

_HOMES = {name: "ikyoku.specs" for name in __all__ if name.endswith("Spec")} | {"IkyokuError": "ikyoku.errors"}


def tune(spec: TuneSpec, **options: Any) -> Finished:
    """Tunes a base model on instruction pairs; options as in `ikyoku.jobs.start`."""
    return _start(spec, options)


def evaluate(spec: EvaluateSpec, **options: Any) -> Finished:
    """Asks exams of models; options as in `ikyoku.jobs.start`."""
    return _start(spec, options)


def merge(spec: MergeSpec, **options: Any) -> Finished:
    """Merges models by a recipe into one checkpoint; options as in `ikyoku.jobs.start`."""
    return _start(spec, options)


def evolve(spec: EvolveSpec, *, join: bool = False, **options: Any) -> Finished:
    """Searches for the best merge of parents; options as in `ikyoku.jobs.start`.

    With `join` it helps a search that another process began, in a storage that both reach: see `ikyoku.jobs.join`.
    """
    if join:
        from ikyoku.jobs.join import join as job

        return job(spec, **options)
    return _start(spec, options)


def report(spec: ReportSpec, **options: Any) -> Finished:
    """Drafts Japanese reports of chest X-rays; options as in `ikyoku.jobs.start`."""
    return _start(spec, options)


def translate(spec: TranslateSpec, **options: Any) -> Finished:
    """Translates English chest X-ray reports into Japanese and checks them back; options as in `ikyoku.jobs.start`."""
    return _start(spec, options)


def demo(spec: DemoSpec, **options: Any) -> Finished:
    """Makes pocket models, evaluates, tunes, evaluates again; options as in `ikyoku.jobs.start`."""
    return _start(spec, options)


def score(run: Path, **options: Any) -> dict[str, Any]:
    """Computes the scores of a run anew from its saved replies; options as in `ikyoku.jobs.score_reports`."""
    from ikyoku.jobs.score import score as job

    return job(run, **options)


def compare(a: Path, b: Path) -> dict[str, Any]:
    """Compares two finished evaluations by paired tests on the questions that both asked."""
    from ikyoku.jobs.compare import compare as job

    return job(a, b)


def _start(spec: Any, options: dict[str, Any]) -> Finished:
    from ikyoku.jobs import start

    return start(spec, **options)


def __dir__() -> list[str]:
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'ikyoku' has no attribute {name!r}")
