"""The untouched radiographs: what each system writes of them, by every report metric, with paired tests.

A text-only parent cannot look at a radiograph. It is asked in the place of the merged language model: the vision tower
and the projector are those of the model that candidates are written in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ikyoku.datasets.radiographs import Radiograph
from ikyoku.jobs.evolution import Evolution
from ikyoku.jobs.finals import Way, by_itself
from ikyoku.jobs.fitness import Item
from ikyoku.jobs.systems import BASE, RANDOM, UNIFORM, WINNER, Systems, parent_key, rival_key
from ikyoku.metrics.reports import Reference, paired, scored_report, summarised
from ikyoku.metrics.stats import holm
from ikyoku.morphology import wakati, words
from ikyoku.search.space import uniform
from ikyoku.specs import CandidateParentSpec

TEST = (
    "permutation test of the winner against each other system on the same radiographs, two-sided, of every metric that "
    "is compared; p_holm: with Holm's correction over all comparisons of all tests; intervals: bootstrap, 95 %; models "
    "without eyes are asked in the place of the merged language model, behind the vision tower and the projector of "
    "the model that candidates are written in"
)
COMPARED = ("rouge_l", "finding_f1", "dangerous", "japanese")
"""The metrics of which the winner is tested against the others."""
SHOWN = 3
"""Radiographs whose image and replies the page shows."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The replies of every system, the winner first, on one test's radiographs, and what names the test.

    `head` is the beginning of the test's record in scores.json: name, items, n, sha256, format, ids.
    """

    head: Mapping[str, Any]
    replies: Mapping[str, Sequence[str]]
    references: Sequence[str]


def report_tests(
    evolution: Evolution,
    systems: Systems,
    *,
    model: str,
    random: Mapping[str, float] | None,
    rivals: Mapping[str, Path],
) -> list[dict[str, Any]]:
    """Asks the untouched radiographs of everything that is compared, and returns scores and paired tests.

    Args:
        evolution: the search.
        systems: its models.
        model: the folder of the winner's checkpoint.
        random: the values of random search's winner, None where there was no random search.
        rivals: the adapters of the rivals, by label.
    """
    ways = _ways(evolution, systems, model=model, random=random, rivals=rivals)
    texts: dict[tuple[str, str], list[str]] = {}
    for key, way in ways.items():
        for test, items in zip(evolution.report_tests, evolution.report_finals, strict=True):
            judged = systems.scores(key, f"test {test.name}", items, way)
            texts[key, test.name] = [j.text or "" for j in judged]
    asked = []
    for test, items in zip(evolution.report_tests, evolution.report_finals, strict=True):
        head = test.record() | {"format": items[0].measure.form.name, "ids": [item.sample.id for item in items]}
        replies = {key: texts[key, test.name] for key in _order(ways)}
        asked.append(Asked(head, replies, [_reference(item) for item in items]))
    return tables(asked)


def tables(asked: Sequence[Asked]) -> list[dict[str, Any]]:
    """Returns scores and paired tests of what was written, test by test: `report_tests` of scores.json."""
    found = [dict(one.head) | _compared(one.replies, one.references) for one in asked]
    pairs = [pair for test in found for pair in test["pairs"]]
    for pair, p in zip(pairs, holm([pair["p_value"] for pair in pairs]) if pairs else [], strict=True):
        pair["p_holm"] = p
    return found


def _compared(replies: Mapping[str, Sequence[str]], references: Sequence[str]) -> dict[str, Any]:
    """The scores of every system, and the winner against each other system, metric by metric."""
    known = [Reference(text, words=words, wakati=wakati) for text in references]
    scored = {
        key: [scored_report(text, reference) for text, reference in zip(texts, known, strict=True)]
        for key, texts in replies.items()
    }
    pairs = []
    for key in [key for key in replies if key != WINNER]:
        found = paired(scored[WINNER], scored[key], key=key)
        pairs += [{"a": WINNER, "b": key, "metric": metric} | found[metric] for metric in COMPARED]
    return {
        "systems": [{"system": key} | summarised(samples, key=key) for key, samples in scored.items()],
        "pairs": pairs,
        "examples": [
            {"place": place, "reference": references[place], "replies": {key: t[place] for key, t in replies.items()}}
            for place in _shown(references)
        ],
    }


def _shown(references: Sequence[str]) -> list[int]:
    """The radiographs with the longest references of three parts of the test: those in which there is something."""
    count = min(SHOWN, len(references))
    parts = [range(n * len(references) // count, (n + 1) * len(references) // count) for n in range(count)]
    return [max(part, key=lambda place: (len(references[place]), -place)) for part in parts]


def _ways(
    evolution: Evolution,
    systems: Systems,
    *,
    model: str,
    random: Mapping[str, float] | None,
    rivals: Mapping[str, Path],
) -> dict[str, Way]:
    """How each system is had: those that the live model can become first, then the folders."""
    spec, into = evolution.spec, evolution.into
    merged = {UNIFORM: uniform(evolution.space)} | ({RANDOM: random} if random is not None else {})
    ways = {key: systems.of_recipe(evolution.recipe(values)) for key, values in merged.items()}
    ways |= _alone(evolution, systems, [None, *(p for p in spec.parents if p.reference != into)])
    ways |= _alone(evolution, systems, [p for p in spec.parents if p.reference == into])
    ways |= {rival_key(label): systems.of_folder(into, str(folder)) for label, folder in rivals.items()}
    return ways | {WINNER: systems.of_folder(model)}


def _alone(evolution: Evolution, systems: Systems, parents: Sequence[CandidateParentSpec | None]) -> dict[str, Way]:
    """How the base (None) and parents are asked by themselves; those that cannot be are left out."""
    found = {}
    for parent in parents:
        way = by_itself(evolution, systems, parent)
        if way is not None:
            found[parent_key(parent.name) if parent else BASE] = way
    return found


def _order(ways: Mapping[str, object]) -> list[str]:
    """The winner first, then what it is to be better than: rivals, random search, uniform merge, parents, base."""
    rank = {WINNER: 0, RANDOM: 2, UNIFORM: 3, BASE: 5}
    return sorted(ways, key=lambda key: rank.get(key, 1 if key.startswith(rival_key("")) else 4))


def _reference(item: Item) -> str:
    if not isinstance(item.sample, Radiograph):
        raise TypeError(f"{item.measure.name}: {item.sample.id} is no radiograph")
    return item.sample.findings
