"""A base model and instruction pairs, or radiographs with their reports, in; LoRA adapters out."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ikyoku.datasets.radiographs import RadiographSet
from ikyoku.errors import DataError, ModelError
from ikyoku.jobs.lessons import ReportLessons, as_text, check_model, read_lessons, sample_text, text_examples
from ikyoku.models.checks import check_folder
from ikyoku.models.loading import load_weights
from ikyoku.models.tokenising import check_lengths
from ikyoku.pages import tuning_page
from ikyoku.runs import Run
from ikyoku.specfile import read_format, to_yaml
from ikyoku.specs import TuneSpec
from ikyoku.trainer import Beside, TrainingPlan, add_adapter, save_adapter, train
from ikyoku.training.examples import Example, in_runs, shown
from ikyoku.types import Instruction, InstructionSample

_SHOWN_FIRST = 50  # radiographs that a dry run reads


def inputs(spec: TuneSpec) -> dict[str, Path]:
    """Returns the files and folders that the result depends on, after checking them: a run starts on good input.

    The images of radiographs are not among them: `tune` keeps their hash.
    """
    lessons = read_lessons(spec)
    if spec.model.adapter:
        raise ModelError("model.adapter: tuning starts from a base. Leave the adapter out.")
    check_folder(spec.model.path)
    check_model(spec, lessons)
    data, model = Path(spec.data).expanduser(), Path(spec.model.path).expanduser()
    files = {str(path): path for path in lessons.files} if isinstance(lessons, RadiographSet) else {spec.data: data}
    return {**files, **({spec.model.path: model} if model.is_dir() else {})}


def tune(spec: TuneSpec, run: Run) -> dict[str, Any]:
    """Trains the adapters of a spec, from where an interrupted run stood; returns the run's result."""
    lessons = read_lessons(spec)
    run.progress("loading the base", 0, spec.steps)
    beside: Beside | None = None
    if isinstance(lessons, RadiographSet):
        _check_images(lessons, run)
        base = _base(spec)
        examples, tokenizer, beside = _report_examples(lessons, spec, run, base)
        check_lengths(examples, max_length=spec.max_length, source=spec.data)
    else:
        examples, tokenizer = text_examples(lessons, spec)
        check_lengths(examples, max_length=spec.max_length, source=spec.data)
        base = _base(spec)
    planned = plan(spec)
    model = add_adapter(base, planned)
    train(
        model,
        tokenizer,
        examples,
        planned,
        checkpoints=run.checkpoints,
        keep=lambda step: kept_folder(run, step),
        record=lambda record: _record(run, record, spec.steps),
        rewind=lambda step: run.rewrite("steps", [r for r in run.records("steps") if r["step"] <= step]),
        beside=beside,
    )
    save_adapter(model, run.artifact / "adapter")
    return _finish(spec, run, model, examples)


def _base(spec: TuneSpec) -> Any:
    asked = spec.model
    base = load_weights(
        asked.path, dtype=asked.dtype, quantization=asked.quantization, trust_remote_code=asked.trust_remote_code
    )
    base.name_or_path = str(Path(asked.path).expanduser())
    return base


def _report_examples(lessons: RadiographSet, spec: TuneSpec, run: Run, base: Any) -> tuple[list[Example], Any, Beside]:
    """Returns radiographs as examples, the tokenizer, and what gives their features to the model.

    Every picture goes through the tower here, once: it is frozen, and what it says is kept for all passes.
    """
    from ikyoku.models.features import FeatureCache
    from ikyoku.models.vision import open_eyes

    trusted = spec.model.trust_remote_code
    eyes = open_eyes(base.eval(), spec.model.path, features=FeatureCache(), trust_remote_code=trusted)
    reports = ReportLessons(lessons.samples, spec)
    examples = reports.examples(eyes.processor, lambda picture: eyes.see(picture).shown, progress=run.progress)
    return examples, eyes.processor.tokenizer, reports.beside(eyes)


def _check_images(lessons: RadiographSet, run: Run) -> None:
    """Refuses to go on with other images than those that the run began with.

    Raises:
        DataError: an image, or a text, is another.
    """
    known = [record["sha256"] for record in run.records("data")]
    if known and known != [lessons.sha256]:
        raise DataError(
            f"{lessons.path}: its images or reports are not those that this run began with. Start another run with "
            "--new."
        )
    if not known:
        run.append("data", [{"sha256": lessons.sha256, "samples": len(lessons.samples)}])


def kept_folder(run: Run, step: int) -> Path:
    """Returns where the adapter of a named step is kept."""
    return run.artifact / f"adapter-step-{step:06d}"


def plan(spec: TuneSpec) -> TrainingPlan:
    """Returns the numbers of a spec's training."""
    return TrainingPlan(
        rank=spec.lora.rank,
        alpha=spec.lora.alpha,
        dropout=spec.lora.dropout,
        target_modules=spec.lora.target_modules,
        learning_rate=spec.learning_rate,
        schedule=spec.schedule,
        warmup=spec.warmup,
        batch_size=spec.batch_size,
        micro_batch_size=spec.micro_batch_size or spec.batch_size,
        steps=spec.steps,
        keep_steps=spec.keep_steps,
        checkpoint_every=spec.checkpoint_every,
        seed=spec.seed,
    )


def dry_run(spec: TuneSpec) -> str:
    """Returns what a spec would do, and its first sample with the learnt part between ⟦ and ⟧; nothing is written.

    Where the model is not on this machine, everything else is checked and the sample is shown as text.
    """
    lessons = read_lessons(spec)
    samples = lessons.samples if isinstance(lessons, RadiographSet) else lessons
    lines = [
        f"base      {spec.model.path} ({_how_loaded(spec)})",
        f"data      {spec.data}: {len(samples)} {_kind(lessons)}",
        *([f"omitted   {len(lessons.omitted)}"] if isinstance(lessons, RadiographSet) and lessons.omitted else []),
        f"adapter   rank {spec.lora.rank}, alpha {spec.lora.alpha:g}, dropout {spec.lora.dropout:g}, "
        f"on {_targets(spec)}",
        f"training  {spec.steps} steps of {spec.batch_size}, learning rate {spec.learning_rate:g} "
        f"({spec.schedule}), {spec.steps * spec.batch_size / len(samples):.1f} passes over the data",
        f"kept      {', '.join(f'step {s}' for s in sorted({*spec.keep_steps, spec.steps}))}",
    ]
    try:
        check_folder(spec.model.path)
        check_model(spec, lessons)
        examples, decode = _dry_examples(lessons, spec)
    except ModelError as error:
        if Path(spec.model.path).expanduser().exists():
            raise
        lines += ["", f"The model is not on this machine, so nothing was tokenised: {error}", "", "First sample:", ""]
        return "\n".join([*lines, _as_text(lessons, spec)])
    check_lengths(examples, max_length=spec.max_length, source=spec.data)
    first = examples[0]
    lengths = sorted(len(e.ids) for e in examples)
    part = f" (of the first {len(examples)})" if len(examples) < len(samples) else ""
    lines += [
        f"tokens    {lengths[0]} to {lengths[-1]} a sample, median {lengths[len(lengths) // 2]}; "
        f"{sum(e.learnt for e in examples) / sum(lengths):.0%} of them learnt{part}",
        "",
        f"First sample ({first.id}): {len(first.ids)} tokens, {first.learnt} learnt, shown between ⟦ and ⟧",
        "",
        shown(first, decode),
        "",
        "ids     " + in_runs(first.ids, str),
        "labels  " + in_runs(first.labels, lambda label: "·" if label < 0 else str(label)),
    ]
    return "\n".join(lines)


def _dry_examples(
    lessons: tuple[InstructionSample, ...] | RadiographSet, spec: TuneSpec
) -> tuple[list[Example], Callable[[Sequence[int]], str]]:
    """Returns samples as examples without the model's weights, and how their ids are written."""
    from ikyoku.models.processors import open_processor

    if not isinstance(lessons, RadiographSet):
        examples, tokenizer = text_examples(lessons, spec)
        return examples, tokenizer.decode
    processor, _ = open_processor(spec.model.path, trust_remote_code=spec.model.trust_remote_code)
    reports = ReportLessons(lessons.samples, spec)
    return reports.examples(processor, processor.show, first=_SHOWN_FIRST), processor.decode


def _record(run: Run, record: dict[str, float], steps: int) -> None:
    run.append("steps", [record])
    run.progress(f"tuning, loss {record['loss']:.3f}", int(record["step"]), steps)


def _finish(spec: TuneSpec, run: Run, model: Any, examples: Sequence[Example]) -> dict[str, Any]:
    steps = run.records("steps")
    result = {
        "adapter": "artifact/adapter",
        "kept": {str(s): str(kept_folder(run, s).relative_to(run.folder)) for s in spec.keep_steps},
        "samples": len(examples),
        "trained_parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "first_loss": steps[0]["loss"],
        "final_loss": steps[-1]["loss"],
    }
    provenance = json.loads((run.folder / "provenance.json").read_text(encoding="utf-8"))
    page = tuning_page(name=spec.name, steps=steps, result=result, provenance=provenance, spec_text=to_yaml(spec))
    run.write("summary.html", page)
    return result


def _as_text(lessons: tuple[InstructionSample, ...] | RadiographSet, spec: TuneSpec) -> str:
    if isinstance(lessons, RadiographSet):
        reports, first = ReportLessons(lessons.samples, spec), lessons.samples[0]
        return as_text(*reports.pair(first, reports.picture(first.images[0])))
    return sample_text(lessons[0], read_format(spec.format))


def _how_loaded(spec: TuneSpec) -> str:
    if spec.model.quantization == "nf4":
        return "QLoRA: 4-bit NF4, double quantisation"
    return "LoRA" if spec.model.dtype == "auto" else f"LoRA, {spec.model.dtype}"


def _targets(spec: TuneSpec) -> str:
    targets = spec.lora.target_modules
    return targets if isinstance(targets, str) else ", ".join(targets)


def _kind(lessons: tuple[InstructionSample, ...] | RadiographSet) -> str:
    if isinstance(lessons, RadiographSet):
        return "radiographs with findings; the first view of each is shown, the findings are learnt"
    return "instruction pairs" if isinstance(lessons[0], Instruction) else "conversations"
