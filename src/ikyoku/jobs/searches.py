"""A search: candidates out of a study, into the live model, asked question by question, told; and its record.

candidates.jsonl is written from the study, in the order of the candidates' numbers, so that it holds each one once,
whichever process evaluated it and whenever that was interrupted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ikyoku.errors import ModelError, RunError, SpecError
from ikyoku.jobs.evolution import Evolution
from ikyoku.jobs.fitness import ask
from ikyoku.jobs.systems import Systems
from ikyoku.runs import Run
from ikyoku.search.samplers import SamplerName
from ikyoku.search.space import uniform
from ikyoku.study import Candidate, Study, open_study

RECORD = "candidates"
STORAGE = "study.db"
SURVIVED = (ModelError, SpecError, ArithmeticError, RuntimeError, ValueError)
"""What a candidate may raise without ending the search: it is recorded as failed."""


@dataclass(frozen=True, slots=True)
class Search:
    """One of the searches of a run: the one that was asked for, or the random one beside it."""

    label: str
    sampler: SamplerName
    study: str


def searches(evolution: Evolution) -> tuple[Search, ...]:
    """Returns the searches of a spec: the one that was asked for, and random search with the same budget."""
    asked, name = evolution.spec.search, evolution.spec.name
    found = [Search("search", asked.sampler, name)]
    if asked.random_baseline and asked.sampler != "random":
        found.append(Search("random", "random", f"{name}-random"))
    return tuple(found)


def opened(evolution: Evolution, search: Search, run: Run, *, join: bool) -> Study:
    """Opens the study of a search, in the run folder where the spec names no storage."""
    asked = evolution.spec.search
    storage: str | Path = asked.storage or run.folder / STORAGE
    names = evolution.spec.objectives
    return open_study(
        storage,
        search.study,
        evolution.space,
        sampler=search.sampler,
        trials=asked.trials,
        seed=asked.seed,
        directions=["maximize"] * len(names),
        metrics=names,
        prune=asked.prune,
        first=uniform(evolution.space),
        fingerprint=f"{evolution.fingerprint}{_content(run)}",
        join=join,
    )


def _content(run: Run) -> str:
    """The hash of the weights and of every other file, taken when the run began: whoever joins has the same."""
    record = json.loads((run.folder / "provenance.json").read_text(encoding="utf-8"))
    files = [item for entries in record["files"].values() for item in entries.items()]
    kept = {entry["sha256"] for name, entry in files if not name or name.endswith(".safetensors")}
    return hashlib.sha256("".join(sorted(kept)).encode()).hexdigest()[:16]


def carry_out(evolution: Evolution, search: Search, study: Study, systems: Systems, run: Run) -> None:
    """Evaluates candidates until the budget is used, by this process and those that joined.

    Raises:
        RunError: too many candidates in a row failed, or the study is not the one that the run began.
    """
    kept = list(lines_of(run, search))
    _check_kept(kept, study, evolution.spec.search.storage or STORAGE)
    written = _record(evolution, search, study, run, len(kept))
    _tell_progress(search, study, run)
    if not study.done:
        _ = systems.live  # before a candidate is begun: what keeps it from being loaded is no fault of a candidate's
    while (candidate := study.ask()) is not None:
        _evaluate(evolution, study, candidate, systems)
        written = _record(evolution, search, study, run, written)
        _tell_progress(search, study, run)
    _record(evolution, search, study, run, written)


def _evaluate(evolution: Evolution, study: Study, candidate: Candidate, systems: Systems) -> None:
    """Asks a candidate the search's questions in their order, until it is clearly worse than the best."""
    fitness, spec = evolution.fitness, evolution.spec
    items, shares = fitness.search, fitness.shares(fitness.search)
    scores: list[float] = []
    live = systems.live
    try:
        model = live.become(evolution.merge_plan(evolution.recipe(candidate.values)))
        for judged in ask(model, items, batch_size=spec.batch_size, max_new_tokens=spec.max_new_tokens):
            at = len(scores)
            scores += [j.score for j in judged]
            worse = candidate.reports({at + n: shares[at + n] * j.score for n, j in enumerate(judged)})
            if worse and len(scores) < len(items):
                study.tell(candidate, state="pruned")
                return
    except SURVIVED as error:
        words = str(error).splitlines()[0] if isinstance(error, ModelError | SpecError) and str(error) else ""
        study.tell(candidate, state="fail", reason=words or type(error).__name__)
        return
    means = [mean for mean in fitness.means(items, scores) if mean is not None]
    study.tell(candidate, means if len(spec.objectives) > 1 else fitness.value(items, scores))


def _check_kept(kept: Sequence[Mapping[str, Any]], study: Study, storage: str) -> None:
    """Refuses to go on with a run whose candidates are not those of the study.

    Raises:
        RunError: naming the storage.
    """
    records = study.records()[: len(kept)]
    if [line["values"] for line in kept] != [record["values"] for record in records]:
        raise RunError(
            f"{storage}: the study there is not the one that this run began: candidates that the run has on record are "
            "not in it. Bring it back, or start another run with --new."
        )


def _record(evolution: Evolution, search: Search, study: Study, run: Run, written: int) -> int:
    """Appends what has an outcome and is not among the `written`, in order and without gaps; returns how many are."""
    new = []
    for record in study.records()[written:]:
        if record["state"] not in ("complete", "pruned", "fail"):
            break
        new.append(_candidate(evolution, search, study, record))
    run.append(RECORD, new)
    return written + len(new)


def _candidate(evolution: Evolution, search: Search, study: Study, record: Mapping[str, Any]) -> dict[str, Any]:
    """The line of a candidate: the scores of its questions in the order in which they were asked."""
    shares = evolution.fitness.shares(evolution.fitness.search)
    reported = study.items(record["number"])
    return {
        "search": search.label,
        "number": record["number"],
        "values": record["values"],
        "fitness": record["fitness"],
        "state": record["state"],
        "reason": record["reason"],
        "duplicate_of": record["duplicate_of"],
        "scores": [round(reported[place] / shares[place], 6) for place in sorted(reported)],
        "seconds": record["seconds"],
        "worker": record["worker"],
    }


def _tell_progress(search: Search, study: Study, run: Run) -> None:
    now = study.progress()
    best = f"best {', '.join(f'{value:.4g}' for value in now['best'])}" if now["best"] else "no result yet"
    pace = f", {now['per_minute']:.1f} candidates per minute" if now["per_minute"] else ""
    title = "random search" if search.label == "random" else f"searching ({search.sampler})"
    run.progress(f"{title} · {best}{pace}", now["finished"], now["trials"])


def lines_of(run: Run, search: Search) -> Iterator[dict[str, Any]]:
    """Yields the candidates of a search, in order."""
    return (record for record in run.records(RECORD) if record["search"] == search.label)


def front(records: Sequence[Mapping[str, Any]]) -> list[int]:
    """Returns the numbers of the Pareto front: no other is as good in every objective and better in one.

    Args:
        records: candidates with `number`, `state`, `fitness` and `duplicate_of`; those not evaluated to the end, and
            duplicates, are passed over.

    >>> points = [[1.0, 0.0], [0.5, 0.5], [0.4, 0.5], [0.0, 1.0]]
    >>> front([{"number": n, "state": "complete", "fitness": f, "duplicate_of": None} for n, f in enumerate(points)])
    [0, 1, 3]
    """
    whole = [r for r in records if r["state"] == "complete" and r["duplicate_of"] is None]

    def beaten(one: Mapping[str, Any]) -> bool:
        return any(
            other["fitness"] != one["fitness"]
            and all(a >= b for a, b in zip(other["fitness"], one["fitness"], strict=True))
            for other in whole
        )

    return [record["number"] for record in whole if not beaten(record)]
