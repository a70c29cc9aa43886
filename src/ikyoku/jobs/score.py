"""Scores of an evaluation, from what it wrote: no model, no exam file."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import comb
from pathlib import Path
from typing import Any

from ikyoku.answers import asked_count
from ikyoku.errors import RunError, SpecError
from ikyoku.jobs.records import (
    CellKey,
    Scored,
    cell_key,
    read_formats,
    read_questions,
    reading_record,
    reply_of,
    sample_scores,
)
from ikyoku.metrics import summary
from ikyoku.metrics.exam import SINCE, difficulty_bin, exam_year, verdict
from ikyoku.metrics.stats import holm, paired_permutation
from ikyoku.prompts import PromptFormat, answer_text, set_letters
from ikyoku.runs import read_records, to_json, write_atomically
from ikyoku.specfile import load
from ikyoku.specs import EvaluateSpec, ModelSpec
from ikyoku.tasks import TASKS, answer_sets, is_right, shuffled
from ikyoku.types import Question, Reply

CONTINUOUS = frozenset({"gestalt_score"})
"""Scores that are not 0 or 1: a bootstrap interval. The others get Wilson's."""
LIKELIHOOD = ("acc", "acc_norm", "acc_bytes")
READINGS = ("read", "refused", "ambiguous", "unread")
HEADLINE = TASKS["exam"].headline
TEST = (
    "exact McNemar test on the extracted accuracy over the same questions, two-sided; p_holm: with Holm's correction "
    "over all comparisons of the column, and among the pairs of an exam over all of them; gestalt_p: paired "
    "permutation test of the mean Gestalt score, two-sided, uncorrected"
)


def score(folder: Path, **options: Any) -> dict[str, Any]:
    """Returns the scores of a run anew, from its saved replies.

    Of a run of `ikyoku evaluate` it writes scores.json, tables and page. Of one of `ikyoku evolve` it is
    `jobs.score_reports.score_reports`, which has the options.

    Raises:
        RunError: the folder is no finished run of either.
        SpecError: options were given with a run of evaluate.
    """
    from ikyoku.jobs.score_reports import is_search, score_reports  # what asks models is not needed for an exam

    if is_search(folder):
        return score_reports(folder, **options)
    if given := [name for name in ("bertscore", "layer", "judge") if options.get(name) is not None]:
        raise SpecError(
            f"{folder}: {', '.join(given)}: of reports only, those of a run of `ikyoku evolve` with test_reports."
        )
    return write_results(folder, finished_run(folder))


def write_results(folder: Path, spec: EvaluateSpec) -> dict[str, Any]:
    """Returns the scores of a run; writes scores.json, the table as Markdown, CSV and LaTeX, and the page."""
    from ikyoku.pages import evaluation_csv, evaluation_latex, evaluation_markdown, evaluation_page

    scored = scored_cells(spec, folder)
    scores = scores_of(spec, folder, scored)
    write_atomically(folder / "scores.json", to_json(scores))
    write_atomically(folder / "table.md", evaluation_markdown(scores))
    write_atomically(folder / "table.csv", evaluation_csv(scores))
    write_atomically(folder / "table.tex", evaluation_latex(scores))
    page = evaluation_page(
        name=spec.name,
        scores=scores,
        provenance=json.loads((folder / "provenance.json").read_text(encoding="utf-8")),
        spec_text=(folder / "spec.yaml").read_text(encoding="utf-8"),
        questions=list(read_records(folder / "questions.jsonl")),
        samples=_as_read_now(folder, scored),
    )
    write_atomically(folder / "summary.html", page)
    return scores


def _as_read_now(folder: Path, scored: Mapping[CellKey, Sequence[Sequence[Scored]]]) -> Iterator[dict[str, Any]]:
    """The records of samples.jsonl with reading and scores as this ikyoku has them: an older one may have read less."""
    by_place = {
        (*key, order, s.question.id): s for key, found in scored.items() for order, one in enumerate(found) for s in one
    }
    for sample in read_records(folder / "samples.jsonl"):
        now = by_place[(*cell_key(sample), sample["order"], sample["id"])]
        yield sample | {"reading": reading_record(now.reading), "scores": now.scores}


def finished_run(folder: Path) -> EvaluateSpec:
    """Returns the spec of a finished run of evaluate.

    Raises:
        RunError: the folder is none.
    """
    status = folder / "status.json"
    if not (folder / "questions.jsonl").is_file() or not status.is_file():
        raise RunError(f"{folder}: no run of `ikyoku evaluate`: it holds no questions.jsonl and status.json.")
    state = json.loads(status.read_text(encoding="utf-8")).get("state")
    if state != "done":
        raise RunError(f"{folder}: this run is {state}, not done. Give its evaluate command again to finish it.")
    if not (folder / "formats.json").is_file():
        raise RunError(f"{folder}: made by an earlier ikyoku, which kept less. Give its evaluate command with --new.")
    return load(EvaluateSpec, folder / "spec.yaml")


def scored_cells(spec: EvaluateSpec, folder: Path) -> dict[CellKey, list[list[Scored]]]:
    """Returns the scored replies of every cell, by order of the options, in the order of the questions.

    Raises:
        RunError: a reply is missing: none is left out of a score.
    """
    _, exams = read_questions(folder)
    forms = read_formats(folder)
    replies: dict[CellKey, list[dict[str, Mapping[str, Any]]]] = {}
    for sample in read_records(folder / "samples.jsonl"):
        by_order = replies.setdefault(cell_key(sample), [{} for _ in range(spec.orders)])
        by_order[sample["order"]][sample["id"]] = sample
    keys = [
        (model.name, form, shots, exam.name)
        for model in spec.models
        for form in forms
        for shots in spec.shots
        for exam in spec.exams
    ]
    return {key: _scored(spec, key, exams[key[3]], forms[key[1]], replies.get(key, [])) for key in keys}


def _scored(
    spec: EvaluateSpec,
    key: CellKey,
    questions: Sequence[Question],
    form: PromptFormat,
    replies: Sequence[Mapping[str, Mapping[str, Any]]],
) -> list[list[Scored]]:
    wanted = [(order, q) for order in range(spec.orders) for q in questions if order == 0 or q.choices]
    missing = [q.id for order, q in wanted if not replies or q.id not in replies[order]]
    if missing:
        raise RunError(
            f"samples.jsonl: {len(missing)} of {len(wanted)} replies are missing for {key[0]}, {key[1]}, "
            f"{key[2]}-shot, {key[3]} ({', '.join(missing[:5])}). Give the evaluate command with --new."
        )
    found: list[list[Scored]] = [[] for _ in range(spec.orders)]
    for order, question in wanted:
        put, printed = shuffled(question, order, seed=spec.seed)
        sample = replies[order][question.id]
        found[order].append(Scored(put, reply_of(sample, form), sample["finish"], printed))
    return found


def scores_of(spec: EvaluateSpec, folder: Path, scored: Mapping[CellKey, Sequence[Sequence[Scored]]]) -> dict[str, Any]:
    """Returns every number of an evaluation, from its scored replies and what else its run folder holds."""
    lists, exams = read_questions(folder)
    overlaps = {record["model"]: record for record in read_records(folder / "overlap.jsonl")}
    models = {m.name: m for m in spec.models}
    cells = [_cell(spec, models[key[0]], key, found, overlaps.get(key[0])) for key, found in scored.items()]
    _compare(spec, cells, scored)
    pairs = []
    for record in lists:
        name = record["exam"]
        systems = [
            ({"model": key[0], "format": key[1], "shots": key[2]}, [s.right for s in by_order[0]])
            for key, by_order in scored.items()
            if key[3] == name
        ]
        found = summary.every_pair(systems)
        pairs += [{"exam": name} | pair for pair in found]
        record["reference"] = reference_replies(exams[name])
        record["detectable"] = summary.detectable(len(exams[name]), found) if found else None
    return {"headline": HEADLINE, "test": TEST, "exams": lists, "cells": cells, "pairs": pairs}


def _cell(
    spec: EvaluateSpec,
    model: ModelSpec,
    key: CellKey,
    by_order: Sequence[Sequence[Scored]],
    overlap: Mapping[str, Any] | None,
) -> dict[str, Any]:
    scored, name = by_order[0], "|".join(map(str, (spec.seed, *key)))
    finish = Counter(s.finish for s in scored)
    return {
        "model": model.name,
        "adapter": model.adapter is not None,
        "format": key[1],
        "shots": key[2],
        "exam": key[3],
        "n": len(scored),
        "finish": {kind: finish[kind] for kind in ("stop", "length", "too_long")},
        "metrics": _metrics(scored, name),
        "reading": {
            status: summary.proportion([float(s.reading.status == status) for s in scored]) for status in READINGS
        },
        "groups": _groups(scored),
        "rule": _rule(scored),
        "positions": _positions(by_order, name),
        "orders": summary.orders(
            [{s.question.id: s.right for s in one if s.question.choices} for one in by_order],
            [{s.question.id: s.chosen for s in one} for one in by_order],
        ),
        "contamination": _contamination(key[3], scored, overlap),
        "against": None,
    }


def _metrics(scored: Sequence[Scored], key: str) -> dict[str, Any]:
    """Every metric over the questions that it is defined for.

    Where likelihoods were asked for, a question whose prompt was too long for them counts as wrong; one that allows
    more answers than are ranked is left out of theirs.
    """
    names = dict.fromkeys(name for s in scored for name in s.scores)
    found: dict[str, Any] = {}
    for name in names:
        ranked = name in LIKELIHOOD or name == "letters_acc"
        values = [s.scores.get(name, 0.0) for s in scored if name in s.scores or (ranked and answer_sets(s.question))]
        found[name] = (
            summary.mean(values, rng=summary.generator(f"{key}|{name}"))
            if name in CONTINUOUS
            else summary.proportion(values)
        )
    return found


def _groups(scored: Sequence[Scored]) -> dict[str, Any]:
    """The headline by section, by specialty, by human difficulty and by the number of right answers."""
    kinds = {
        "section": [s.question.section for s in scored],
        "specialty": [s.question.specialty for s in scored],
        "difficulty": [difficulty_bin(s.question.human_accuracy) for s in scored],
        "answers": [
            "number" if not s.question.choices else "one" if len(s.question.answer) == 1 else "several" for s in scored
        ],
    }
    found = {kind: summary.by_group(names, [s.right for s in scored]) for kind, names in kinds.items()}
    return {kind: groups for kind, groups in found.items() if groups}


def _rule(scored: Sequence[Scored]) -> dict[str, Any] | None:
    """Whether each year of the national examination in an exam would have been passed; None where none is in it."""
    years: dict[int, list[Scored]] = {}
    for s in scored:
        if (year := exam_year(s.question.id)) is not None and year >= SINCE:  # "3A-12" of a hospital's own is none
            years.setdefault(year, []).append(s)
    results = []
    for year, asked in sorted(years.items()):
        answers = {
            s.question.id: s.reading.chosen if s.question.choices else is_right(s.reading, s.question) for s in asked
        }
        results.append(verdict([s.question for s in asked], answers, year=year).record())
    return {"years": results} if results else None


def _positions(by_order: Sequence[Sequence[Scored]], key: str) -> dict[str, Any] | None:
    """Chosen and right letters of the questions with one right option, over all orders."""
    single = [s for one in by_order for s in one if s.question.choices and len(s.question.answer) == 1]
    if not single:
        return None
    chosen = [next(iter(c)) if (c := s.reading.chosen) is not None and len(c) == 1 else None for s in single]
    gold = [next(iter(s.question.answer)) for s in single]
    return summary.positions(chosen, gold, rng=summary.generator(f"{key}|positions"))


def _contamination(exam: str, scored: Sequence[Scored], overlap: Mapping[str, Any] | None) -> dict[str, Any]:
    """What is known of the overlap of an exam with a model's tuning data, and the score without those questions."""
    status = overlap["status"] if overlap else "unknown"
    found = {"status": status, "data": overlap["data"] if overlap else [], "notes": overlap["notes"] if overlap else []}
    if overlap is None or overlap["exams"] is None:
        return found
    levels = overlap["exams"][exam]
    items = sorted({item for ids in levels.values() for item in ids})
    clean = [s.right for s in scored if s.question.id not in set(items)]
    found |= {level: len(ids) for level, ids in levels.items()}
    found |= {"items": items, "answered": overlap["answered"][exam]}
    return found | {"clean": summary.proportion(clean) if clean and items else None}


def _compare(
    spec: EvaluateSpec,
    cells: Sequence[dict[str, Any]],
    scored: Mapping[CellKey, Sequence[Sequence[Scored]]],
) -> None:
    """Sets each cell against the same questions of its base. Format and shots are the same."""
    bases = {m.name: _base_of(m, spec.models) for m in spec.models}
    compared: list[dict[str, Any]] = []
    for cell in cells:
        key, base = cell_key(cell), bases[cell["model"]]
        if base is None:
            continue
        this, that = scored[key][0], scored[(base, *key[1:])][0]
        found = summary.paired([s.right for s in this], [s.right for s in that])
        against = {
            "model": base,
            "difference": found["difference"],
            "low": found["low"],
            "high": found["high"],
            "only_this": found["only_a"],
            "only_that": found["only_b"],
            "p_value": found["p_value"],
        }
        gestalt = [[s.scores["gestalt_score"] for s in side if s.question.choices] for side in (this, that)]
        if gestalt[0]:
            against["gestalt_difference"] = (sum(gestalt[0]) - sum(gestalt[1])) / len(gestalt[0])
            rng = summary.generator("|".join(map(str, (spec.seed, base, *key))))
            against["gestalt_p"] = paired_permutation(*gestalt, rng=rng)
        cell["against"] = against
        compared.append(against)
    for against, p in zip(compared, holm([a["p_value"] for a in compared]) if compared else [], strict=True):
        against["p_holm"] = p


def _base_of(model: ModelSpec, models: Sequence[ModelSpec]) -> str | None:
    """What a model is compared with: its base where it is tuned; the first of the list where no model is.

    A base counts that is loaded the same way: beside a 4-bit one the difference would not be the tuning's alone.
    """
    if model.adapter:
        wanted = (_folder(model), model.quantization, model.dtype)
        bases = (m for m in models if m.adapter is None and (_folder(m), m.quantization, m.dtype) == wanted)
        return next((m.name for m in bases), None)
    alone = all(m.adapter is None for m in models)
    return models[0].name if alone and model.name != models[0].name else None


def _folder(model: ModelSpec) -> str:
    return os.path.normpath(Path(model.path).expanduser())


def reference_replies(questions: Sequence[Question]) -> dict[str, dict[str, float]]:
    """Returns what replies without a model score on an exam: the floor and the ceiling of the table.

    "chance" is the expected accuracy of a reply that names at random as many options as the question asks for; like
    the score itself it is taken over the questions that the score is defined for.
    """
    made = {
        "empty reply": [""] * len(questions),
        "letters": [set_letters(sorted(q.answer)) if q.choices else q.numbers[0] for q in questions],
        "gold": [answer_text(q) if q.choices else q.numbers[0] for q in questions],
    }
    table = {
        name: _means([sample_scores(Reply(text), q) for text, q in zip(texts, questions, strict=True)])
        for name, texts in made.items()
    }
    chances = sum(_chance(q) for q in questions)  # nobody guesses a number
    table["chance"] = {HEADLINE: chances / len(questions)}
    if number := sum(bool(q.choices) for q in questions):
        table["chance"] |= dict.fromkeys(("accuracy", "acc"), chances / number)
    return table


def _chance(question: Question) -> float:
    count = min(asked_count(question.text), len(question.choices))
    right = sum(len(a) == count for a in question.accepted)
    return right / comb(len(question.choices), count)


def _means(rows: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each score over the questions that it is defined for."""
    found: dict[str, list[float]] = {}
    for row in rows:
        for name, value in row.items():
            found.setdefault(name, []).append(value)
    return {name: sum(values) / len(values) for name, values in found.items()}
