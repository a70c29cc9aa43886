"""From nothing to the studies' table: make two bases, evaluate them, tune them, evaluate again."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from ikyoku import jobs, offline
from ikyoku.datasets.exams import write_exam
from ikyoku.datasets.instructions import write_instructions
from ikyoku.lab.pocket import RECIPES, make_bases, world_of
from ikyoku.pages import demo_page
from ikyoku.runs import Run, read_records
from ikyoku.specs import DemoSpec, EvaluateSpec, ExamSpec, LoraSpec, ModelSpec, Spec, TuneSpec


def inputs(spec: DemoSpec) -> dict[str, Path]:
    """Returns nothing: the demo makes everything by itself."""
    return {}


def demo(spec: DemoSpec, run: Run) -> dict[str, Any]:
    """Runs the demo and returns the result: the folders of its runs and the seconds each part took."""
    if spec.reports:
        from ikyoku.jobs.demo_reports import demo_reports

        return demo_reports(spec, run)
    seconds: dict[str, float] = {}
    began = time.monotonic()

    def lap(what: str) -> None:
        seconds[what] = round(time.monotonic() - began - sum(seconds.values()), 1)

    cache = Path(spec.cache).expanduser()
    bases = make_bases(
        spec.size, seed=spec.seed, cache=cache, progress=lambda n, a, b: run.progress(f"making {n}", a, b)
    )
    lap("making the bases")
    lab = _write_lab(spec, run)
    models = tuple(ModelSpec(path=str(folder), label=name) for name, folder in bases.items())
    before = _start(run, _evaluation(spec, "before", models, lab))
    lap("evaluating the bases")
    tunings = {m.name: _start(run, _tuning(spec, m, lab)) for m in models}
    lap("tuning")
    tuned = tuple(
        ModelSpec(path=m.path, adapter=str(tunings[m.name].folder / "artifact" / "adapter"), label=f"{m.name}+tuned")
        for m in models
    )
    pairs = tuple(m for pair in zip(models, tuned, strict=True) for m in pair)
    after = _start(run, _evaluation(spec, "after", pairs, lab))
    lap("evaluating all")
    guard = offline.switch_on()
    _write_page(spec, run, after, tunings, seconds, len(guard.attempts))
    return {
        "evaluation": str(after.folder.relative_to(run.folder)),
        "before": str(before.folder.relative_to(run.folder)),
        "tunings": {name: str(t.folder.relative_to(run.folder)) for name, t in tunings.items()},
        "bases": {name: str(folder) for name, folder in bases.items()},
        "seconds": seconds,
        "connections_tried": len(guard.attempts),
    }


def _start(run: Run, spec: Spec) -> jobs.Finished:
    return jobs.start(spec, root=run.folder / "runs", progress=run.progress)


def _write_lab(spec: DemoSpec, run: Run) -> dict[str, Path]:
    """Writes the pocket exam, the retention exam, the demonstrations and the instruction pairs as ordinary files."""
    folder = run.folder / "lab"
    folder.mkdir(exist_ok=True)
    world = world_of(spec.size, seed=spec.seed)
    for name, questions in (
        ("pocket-dev", world.dev),
        ("pocket-test", world.test),
        ("retention", world.retention),
        ("demonstrations", world.demonstrations),
    ):
        write_exam(folder / f"{name}.jsonl", questions)
    write_instructions(folder / "instructions.jsonl", world.instructions)
    return {path.stem: path for path in folder.glob("*.jsonl")}


def _evaluation(spec: DemoSpec, name: str, models: tuple[ModelSpec, ...], lab: dict[str, Path]) -> EvaluateSpec:
    demonstrations = str(lab["demonstrations"])
    exams = tuple(
        ExamSpec(path=str(lab[file]), label=label, demonstrations=demonstrations)
        for file, label in (("pocket-test", "pocket exam"), ("retention", "retention exam"))
    )
    return EvaluateSpec(
        name=name, models=models, exams=exams, shots=(0, 1), max_new_tokens=96, batch_size=32, seed=spec.seed
    )


def _tuning(spec: DemoSpec, model: ModelSpec, lab: dict[str, Path]) -> TuneSpec:
    """The setting of the larger study (rank 64, all linear layers); the steps are those of the base's recipe."""
    steps = next(r.tuning_steps for r in RECIPES[spec.size] if r.name == model.name)
    return TuneSpec(
        name=model.name,
        model=model,
        data=str(lab["instructions"]),
        lora=LoraSpec(rank=64, alpha=256, dropout=0.0, target_modules="all-linear"),
        learning_rate=2e-3,
        batch_size=32,
        steps=steps,
        keep_steps=(steps // 2,),
        seed=spec.seed,
    )


def _write_page(
    spec: DemoSpec,
    run: Run,
    after: jobs.Finished,
    tunings: dict[str, jobs.Finished],
    seconds: dict[str, float],
    connections: int,
) -> None:
    scores = json.loads((after.folder / "scores.json").read_text(encoding="utf-8"))
    curves = [(name, list(read_records(t.folder / "steps.jsonl"))) for name, t in tunings.items()]
    notes = [
        "The bases were trained on this machine on texts about invented diseases. The pocket exam asks real facts, "
        "each in a wording that no training text uses for it; the retention exam asks the invented facts that the "
        "bases knew before.",
        "The tunings have as many steps as fit in about the same time, as in the study; a tokenizer that cuts Japanese "
        "into bytes makes three times as many tokens of a text.",
        "; ".join(f"{what} {value:.0f} s" for what, value in seconds.items()),
        f"The network guard was on; connections tried beyond this machine: {connections}.",
    ]
    provenance = json.loads((run.folder / "provenance.json").read_text(encoding="utf-8"))
    page = demo_page(name=spec.name, evaluation=scores, tunings=curves, provenance=provenance, notes=notes)
    run.write("summary.html", page)
