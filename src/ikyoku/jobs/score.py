"""Scores of an evaluation, from what it wrote: no model, no exam file."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import comb
from pathlib import Path
from typing import Any

import numpy as np

from ikyoku.answers import asked_count, read_completion
from ikyoku.errors import RunError
from ikyoku.metrics import stats
from ikyoku.prompts import answer_text
from ikyoku.runs import read_records, to_json, write_atomically
from ikyoku.specs import EvaluateSpec, ModelSpec, load
from ikyoku.tasks import TASKS
from ikyoku.types import LETTERS, Question, Reply

COUNTED = frozenset({"accuracy", "exact_match", "harness_accuracy", "harness_exact_match"})
"""Scores that are 0 or 1: Wilson's interval. The others get a bootstrap interval."""


def score(folder: Path) -> dict[str, Any]:
    """Returns the scores of a run of `ikyoku evaluate` anew and writes its scores.json and summary.html.

    Raises:
        RunError: the folder is no finished run of evaluate.
    """
    from ikyoku.pages import evaluation_page

    status = folder / "status.json"
    if not (folder / "questions.jsonl").is_file() or not status.is_file():
        raise RunError(f"{folder}: no run of `ikyoku evaluate`: it holds no questions.jsonl and status.json.")
    state = json.loads(status.read_text(encoding="utf-8")).get("state")
    if state != "done":
        raise RunError(f"{folder}: this run is {state}, not done. Give its evaluate command again to finish it.")
    spec = load(EvaluateSpec, folder / "spec.yaml")
    scores = scores_of(spec, folder)
    write_atomically(folder / "scores.json", to_json(scores))
    page = evaluation_page(
        name=spec.name,
        scores=scores,
        provenance=json.loads((folder / "provenance.json").read_text(encoding="utf-8")),
        spec_text=(folder / "spec.yaml").read_text(encoding="utf-8"),
    )
    write_atomically(folder / "summary.html", page)
    return scores


def scores_of(spec: EvaluateSpec, folder: Path) -> dict[str, Any]:
    """Returns every number of an evaluation, from its questions.jsonl and samples.jsonl."""
    exams: dict[str, list[Question]] = {}
    lists: list[dict[str, Any]] = []
    for record in read_records(folder / "questions.jsonl"):
        if "items" in record:
            lists.append(record)
            exams[record["exam"]] = []
        else:
            exams[record["exam"]].append(_question(record))
    replies: dict[tuple[str, str, int, str], dict[str, Mapping[str, Any]]] = {}
    for sample in read_records(folder / "samples.jsonl"):
        replies.setdefault(cell_key(sample), {})[sample["id"]] = sample
    cells = [
        _cell(spec, model, form, shots, exam, exams[exam.name], replies.get((model.name, form, shots, exam.name), {}))
        for model in spec.models
        for form in spec.formats
        for shots in spec.shots
        for exam in spec.exams
    ]
    _compare(spec, cells)
    for cell in cells:
        del cell["by_question"]  # what the comparisons are made of
    for record in lists:
        record["reference"] = reference_replies(exams[record["exam"]])
    return {
        "exams": lists,
        "cells": cells,
        "headline": TASKS["exam"].headline,
        "test": (
            "exact McNemar test on accuracy over the same questions, two-sided; "
            "p_holm: with Holm's correction over all comparisons of the table; gestalt_p: paired permutation test of "
            "the mean Gestalt score, two-sided, uncorrected"
        ),
    }


def cell_key(sample: Mapping[str, Any]) -> tuple[str, str, int, str]:
    """Returns which cell of the table a sample belongs to: model, format, shots, exam."""
    return (sample["model"], sample["format"], sample["shots"], sample["exam"])


def sample_scores(completion: str, question: Question) -> dict[str, float]:
    """Returns every score of one completion."""
    reply = Reply(read_completion(completion))
    return {k: v for scorer in TASKS["exam"].scorers.values() for k, v in scorer(reply, question).items()}


def reference_replies(questions: Sequence[Question]) -> dict[str, dict[str, float]]:
    """Returns what replies without a model score on an exam: the floor and the ceiling of the table.

    "chance" is the expected accuracy of a reply that names at random as many options as the question asks for.
    """
    made = {
        "empty reply": [""] * len(questions),
        "letters": [",".join(LETTERS[i] for i in sorted(q.answer)) for q in questions],
        "gold": [answer_text(q) for q in questions],
    }
    table = {
        name: _means([sample_scores(text, q) for text, q in zip(texts, questions, strict=True)])
        for name, texts in made.items()
    }
    chances = [_chance(q) for q in questions]
    table["chance"] = {"accuracy": sum(chances) / len(chances)}
    return table


def _chance(question: Question) -> float:
    count = min(asked_count(question.text), len(question.choices))
    right = sum(len(a) == count for a in question.accepted)
    return right / comb(len(question.choices), count)


def _cell(
    spec: EvaluateSpec,
    model: ModelSpec,
    form: str,
    shots: int,
    exam: Any,
    questions: Sequence[Question],
    replies: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    missing = [q.id for q in questions if q.id not in replies]
    if missing:
        raise RunError(
            f"samples.jsonl: {len(missing)} of {len(questions)} questions have no reply for {model.name}, {form}, "
            f"{shots}-shot, {exam.name} ({', '.join(missing[:5])}). Give the evaluate command with --new."
        )
    scored = [sample_scores(replies[q.id]["completion"], q) for q in questions]
    finish = Counter(replies[q.id]["finish"] for q in questions)
    unread = sum(not read_completion(replies[q.id]["completion"]) for q in questions)
    key = f"{spec.seed}|{model.name}|{form}|{shots}|{exam.name}"
    return {
        "model": model.name,
        "adapter": model.adapter is not None,
        "format": form,
        "shots": shots,
        "exam": exam.name,
        "n": len(questions),
        "finish": {kind: finish[kind] for kind in ("stop", "length", "too_long")},
        "unread": {"value": unread / len(questions), "n": len(questions)},
        "metrics": {name: _estimate(name, [s[name] for s in scored], key) for name in scored[0]},
        "against": None,
        "by_question": scored,
    }


def _estimate(name: str, values: list[float], key: str) -> dict[str, float]:
    if name in COUNTED:
        low, high = stats.wilson(round(sum(values)), len(values))
    else:
        low, high = stats.bootstrap_mean(values, rng=_rng(f"{key}|{name}"))
    return {"value": sum(values) / len(values), "n": len(values), "low": low, "high": high}


def _rng(key: str) -> np.random.Generator:
    return np.random.default_rng(int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big"))


def _compare(spec: EvaluateSpec, cells: list[dict[str, Any]]) -> None:
    """Sets each cell against the same questions of its base.

    Format and shots are the same.
    """
    bases = {m.name: _base_of(m, spec.models) for m in spec.models}
    by_key = {cell_key(c): c for c in cells}
    compared: list[dict[str, Any]] = []
    for cell in cells:
        base = bases[cell["model"]]
        if base is None:
            continue
        other = by_key[(base, cell["format"], cell["shots"], cell["exam"])]
        right, gestalt = (
            [[s[name] for s in side["by_question"]] for side in (cell, other)]
            for name in (TASKS["exam"].headline, "gestalt_score")
        )
        test = stats.mcnemar_exact(*([value > 0 for value in values] for values in right))
        key = "|".join(map(str, (spec.seed, base, *cell_key(cell))))
        means = [side["metrics"]["gestalt_score"]["value"] for side in (cell, other)]
        cell["against"] = {
            "model": base,
            "difference": cell["metrics"]["accuracy"]["value"] - other["metrics"]["accuracy"]["value"],
            "only_this": test.only_a,
            "only_that": test.only_b,
            "p_value": test.p_value,
            "gestalt_difference": means[0] - means[1],
            "gestalt_p": stats.paired_permutation(*gestalt, rng=_rng(key)),
        }
        compared.append(cell["against"])
    for against, p in zip(compared, stats.holm([a["p_value"] for a in compared]) if compared else [], strict=True):
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


def _means(rows: Iterable[Mapping[str, float]]) -> dict[str, float]:
    table = list(rows)
    return {name: sum(r[name] for r in table) / len(table) for name in table[0]}


def question_record(exam: str, question: Question) -> dict[str, Any]:
    """Returns a question as it is kept in questions.jsonl."""
    return {
        "exam": exam,
        "id": question.id,
        "case": question.case,
        "text": question.text,
        "choices": list(question.choices),
        "accepted": [sorted(a) for a in question.accepted],
        "section": question.section,
        "points": question.points,
    }


def _question(record: Mapping[str, Any]) -> Question:
    return Question(
        id=record["id"],
        text=record["text"],
        choices=tuple(record["choices"]),
        accepted=tuple(frozenset(a) for a in record["accepted"]),
        case=record["case"],
        section=record["section"],
        points=record["points"],
    )
