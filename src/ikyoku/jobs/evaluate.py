"""Models × prompt formats × shots × exams: every question asked once, one record a question, one table."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ikyoku.datasets.exams import Selection, read_exam, select
from ikyoku.errors import DataError, ModelError, SpecError, together
from ikyoku.jobs.score import cell_key, question_record, sample_scores, scores_of
from ikyoku.models.base import Model
from ikyoku.models.local import check_adapter, check_folder, open_model
from ikyoku.pages import evaluation_page
from ikyoku.prompts import DEMONSTRATIONS, PROMPT_FORMATS
from ikyoku.runs import Run, to_json
from ikyoku.specs import EvaluateSpec, ExamSpec, ModelSpec, to_yaml
from ikyoku.tasks import TASKS
from ikyoku.types import Completion, Prompt, Question, SamplingParams


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of the table: its place and what it asks, in batches that are always the same."""

    model: ModelSpec
    format: str
    shots: int
    exam: str
    batches: tuple[tuple[tuple[Question, Prompt], ...], ...]

    @property
    def key(self) -> tuple[str, str, int, str]:
        """Model, format, shots, exam."""
        return (self.model.name, self.format, self.shots, self.exam)


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything an evaluation will do, checked, before a model is loaded."""

    selections: tuple[tuple[ExamSpec, Selection], ...]
    cells: tuple[Cell, ...]


def inputs(spec: EvaluateSpec) -> dict[str, Path]:
    """Returns the files and folders that the result depends on, after checking them: a run starts on good input."""
    found: dict[str, Path] = {}
    for exam in spec.exams:
        _add(found, exam.path, exam.years)
        if exam.demonstrations:
            _add(found, exam.demonstrations)
    if faults := _faults(spec):
        raise ModelError(together(faults))
    for model in spec.models:
        for path in (model.adapter, model.path):
            if path and (folder := Path(path).expanduser()).is_dir():
                found[str(Path(path))] = folder
    plan(spec)
    return found


def _add(found: dict[str, Path], path: str, years: Sequence[int] = ()) -> None:
    """Adds the files that an exam is read from: of a folder, not what else lies in it."""
    place = Path(path).expanduser()
    try:
        there, folder = place.exists(), place.is_dir()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}.") from None
    if not there:
        raise DataError(f"{path}: no such file or folder.")
    if folder:
        found.update({str(file): file for file in read_exam(place, years=years or None).files})
    else:
        found[path] = place


def _faults(spec: EvaluateSpec) -> list[str]:
    """Returns what is known to be missing of the models before one is opened: hours may lie between two of them."""
    found: list[str] = []
    for model in spec.models:
        checks: list[Callable[[], None]] = [partial(check_folder, model.path)]
        checks += [partial(_check_template, model, spec.formats)]
        checks += [partial(check_adapter, model.adapter)] if model.adapter else []
        for check in checks:
            try:
                check()
            except ModelError as error:
                found.append(str(error))
    return list(dict.fromkeys(found))


def _check_template(model: ModelSpec, formats: Sequence[str]) -> None:
    """Refuses a chat format for a model folder whose tokenizer has no chat template."""
    folder, chats = Path(model.path).expanduser(), [name for name in formats if PROMPT_FORMATS[name].chat]
    if not chats or model.trust_remote_code or not (folder / "config.json").is_file():
        return  # a tokenizer's own code may bring a template; a hub id is found out when it is opened
    settings = folder / "tokenizer_config.json"
    try:
        held = json.loads(settings.read_text(encoding="utf-8")) if settings.is_file() else {}
    except (OSError, ValueError):
        raise ModelError(f"{settings}: not JSON that can be read. Copy the model again.") from None
    if not (isinstance(held, dict) and held.get("chat_template")) and not (folder / "chat_template.jinja").is_file():
        raise ModelError(
            f"{model.path}: the tokenizer has no chat template, which {', '.join(chats)} needs. "
            "Use a text format such as alpaca-ja, or add chat_template to its tokenizer_config.json."
        )


def plan(spec: EvaluateSpec) -> Plan:
    """Returns what will be asked of whom.

    Raises:
        SpecError: two models or two exams share a label.
        DataError: an exam cannot be read, asks nothing, repeats a demonstration, or has too few of them.
    """
    for kind, names in (("models", [m.name for m in spec.models]), ("exams", [e.name for e in spec.exams])):
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise SpecError(f"{kind}: {', '.join(twice)} named twice. Give each a label of its own.")
    selections = tuple((exam, _selected(exam, spec.limit)) for exam in spec.exams)
    most = max(spec.shots)
    demonstrations = {exam.name: _demonstrations(exam, chosen, most) for exam, chosen in selections}
    cells = [
        Cell(model, form, shots, exam.name, _batches(spec, exam, chosen, form, demonstrations[exam.name][:shots]))
        for model in spec.models
        for exam, chosen in selections
        for form in spec.formats
        for shots in spec.shots
    ]
    return Plan(selections, tuple(cells))


def _selected(exam: ExamSpec, limit: int | None) -> Selection:
    read = read_exam(Path(exam.path).expanduser(), name=exam.name, years=exam.years or None)
    chosen = select(read, exam.items)
    if not chosen.questions:
        raise DataError(
            f"{exam.path}: the item list {exam.items} leaves no question to ask ({len(chosen.omitted)} omitted)."
        )
    return chosen.first(limit) if limit else chosen


def _demonstrations(exam: ExamSpec, chosen: Selection, shots: int) -> tuple[Question, ...]:
    """The questions shown before those of an exam, as many as the most shots that are asked for."""
    shown = DEMONSTRATIONS
    if exam.demonstrations:
        shown = read_exam(Path(exam.demonstrations).expanduser()).questions
    if len(shown) < shots:
        raise DataError(f"{exam.demonstrations}: holds {len(shown)} questions, {shots} shots are asked for.")
    if unanswered := [d.id for d in shown[:shots] if not d.accepted]:
        raise DataError(
            f"{exam.demonstrations}: {', '.join(unanswered)} has no answer that could be shown. Take it out."
        )
    asked = {(q.text, frozenset(q.choices)) for q in chosen.questions}
    if both := [d.id for d in shown[:shots] if (d.text, frozenset(d.choices)) in asked]:
        raise DataError(
            f"{exam.demonstrations or 'demonstrations'}: {', '.join(both)} is asked by {exam.path} too. "
            "A question must not be shown with its answer and then asked."
        )
    return shown


def _batches(
    spec: EvaluateSpec, exam: ExamSpec, chosen: Selection, form: str, shown: Sequence[Question]
) -> tuple[tuple[tuple[Question, Prompt], ...], ...]:
    """Questions with their prompts, longest first, in batches that do not depend on what was already answered."""
    asked = [
        (q, TASKS["exam"].prompt(q, PROMPT_FORMATS[form], demonstrations=shown, case_text=exam.case_text))
        for q in chosen.questions
    ]
    asked.sort(key=lambda pair: -_length(pair[1]))
    return tuple(tuple(asked[i : i + spec.batch_size]) for i in range(0, len(asked), spec.batch_size))


def _length(prompt: Prompt) -> int:
    return len(prompt.text) + sum(len(m.content) for m in prompt.messages)


def evaluate(spec: EvaluateSpec, run: Run) -> dict[str, Any]:
    """Asks every question that has no reply yet, scores all replies, writes the table; returns the run's result."""
    planned = plan(spec)
    answered = {(*cell_key(s), s["id"]) for s in run.records("samples")}
    total = sum(len(b) for cell in planned.cells for b in cell.batches)
    done = len(answered)
    if answered:
        _write_questions(spec, planned, run)
    for model in spec.models:
        cells = [c for c in planned.cells if c.model is model]
        if all((*c.key, q.id) in answered for c in cells for b in c.batches for q, _ in b):
            continue
        run.progress(f"loading {model.name}", done, total)
        loaded = open_model(
            model.path,
            name=model.name,
            adapter=model.adapter,
            dtype=model.dtype,
            quantization=model.quantization,
            trust_remote_code=model.trust_remote_code,
        )
        if not answered:  # not before a model is open: a refused run leaves nothing behind
            _write_questions(spec, planned, run)
        for cell in cells:
            for records in _ask(cell, loaded, answered, spec.max_new_tokens):
                run.append("samples", records)
                done += len(records)
                run.progress(f"{cell.model.name} · {cell.format} · {cell.shots}-shot · {cell.exam}", done, total)
        del loaded
    return _finish(spec, run)


def dry_run(spec: EvaluateSpec) -> str:
    """Returns what a spec would ask of whom, and the first prompt verbatim; nothing is loaded or written."""
    planned = plan(spec)
    total = sum(len(b) for cell in planned.cells for b in cell.batches)
    lines = [
        f"models    {', '.join(m.name for m in spec.models)}",
        f"formats   {', '.join(spec.formats)}; shots {', '.join(map(str, spec.shots))}",
    ]
    for exam, chosen in planned.selections:
        part = " (a part, by limit)" if chosen.limited else ""
        lines.append(
            f"exam      {exam.name}: {exam.items}, {len(chosen.questions)} questions{part}, {chosen.sha256[:12]}"
        )
        lines += [
            f"          {count} omitted: {reason}"
            for reason, count in Counter(o.reason for o in chosen.omitted).most_common()
        ]
    lines.append(f"replies   {total} in {len(planned.cells)} cells, at most {spec.max_new_tokens} tokens each")
    lines += [f"not ready {fault}" for fault in _faults(spec)]
    first = planned.selections[0][1].questions[0]
    question, prompt = next(pair for b in planned.cells[0].batches for pair in b if pair[0] is first)
    text = prompt.text or "\n".join(f"[{m.role}] {m.content}" for m in prompt.messages)
    return "\n".join([*lines, "", f"First prompt ({planned.cells[0].exam}, {question.id}):", "", text])


def _write_questions(spec: EvaluateSpec, planned: Plan, run: Run) -> None:
    records: list[dict[str, Any]] = []
    for exam, chosen in planned.selections:
        omitted: dict[str, list[str]] = {}
        for item in chosen.omitted:
            omitted.setdefault(item.reason, []).append(item.id)
        records.append(
            {
                "exam": exam.name,
                "items": exam.items,
                "asked": len(chosen.questions),
                "sha256": chosen.sha256,
                "limit": spec.limit if chosen.limited else None,
                "omitted": omitted,
            }
        )
        records += [question_record(exam.name, q) for q in chosen.questions]
    run.rewrite("questions", records)


def _ask(
    cell: Cell, model: Model, answered: set[tuple[Any, ...]], max_new_tokens: int
) -> Iterator[list[dict[str, Any]]]:
    """Yields the new records of each batch.

    A batch is always asked whole, so that its replies do not depend on what an interruption left of it.
    """
    # A base model runs on into further questions of its own: the next heading ends its reply.
    stop = () if PROMPT_FORMATS[cell.format].chat else ("###",)
    params = SamplingParams(max_new_tokens=max_new_tokens, stop=stop)
    for batch in cell.batches:
        missing = [q.id for q, _ in batch if (*cell.key, q.id) not in answered]
        if not missing:
            continue
        completions = model.generate([p for _, p in batch], params)
        yield [
            _record(cell, question, prompt, completion)
            for (question, prompt), completion in zip(batch, completions, strict=True)
            if question.id in missing
        ]


def _record(cell: Cell, question: Question, prompt: Prompt, completion: Completion) -> dict[str, Any]:
    return {
        "model": cell.model.name,
        "format": cell.format,
        "shots": cell.shots,
        "exam": cell.exam,
        "id": question.id,
        "prompt": prompt.text or [{"role": m.role, "content": m.content} for m in prompt.messages],
        "completion": completion.text,
        "finish": completion.finish,
        "tokens": completion.tokens,
        "scores": sample_scores(completion.text, question),
    }


def _finish(spec: EvaluateSpec, run: Run) -> dict[str, Any]:
    scores = scores_of(spec, run.folder)
    run.write("scores.json", to_json(scores))
    provenance = json.loads((run.folder / "provenance.json").read_text(encoding="utf-8"))
    page = evaluation_page(name=spec.name, scores=scores, provenance=provenance, spec_text=to_yaml(spec))
    run.write("summary.html", page)
    return {"cells": len(scores["cells"]), "questions": sum(c["n"] for c in scores["cells"])}
