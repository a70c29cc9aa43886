"""What came out of a search: who is chosen, what each parent adds, and how it does on the untouched test.

The best of many candidates looks better on the questions it was searched on than it is (the winner's curse). So the few
best are asked held-out questions too, one is chosen on all of them, and only the test, which was not looked at, says
how good it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from ikyoku.errors import ModelError
from ikyoku.jobs.evolution import Evolution
from ikyoku.jobs.fitness import Judged
from ikyoku.jobs.searches import Search, front
from ikyoku.jobs.systems import BASE, RANDOM, UNIFORM, WINNER, Systems, parent_key
from ikyoku.metrics import summary
from ikyoku.metrics.stats import holm
from ikyoku.models.local import LocalModel
from ikyoku.search.space import uniform
from ikyoku.specs import CandidateParentSpec
from ikyoku.study import Study

Way = Callable[[], LocalModel]
"""How a system is had when something is left to ask it."""
SEARCHED, HELD_OUT = "search", "held-out"
TEST = (
    "exact McNemar test of the winner against each other system on the same questions, two-sided; p_holm: with Holm's "
    "correction over all comparisons of all tests; intervals: Wilson's, of a difference Bonett and Price's, 95 %"
)


def baselines(evolution: Evolution, systems: Systems) -> list[dict[str, Any]]:
    """Returns what the base, each parent alone and the uniform merge score on the development questions."""
    spec = evolution.spec
    asked = [(BASE, BASE, by_itself(evolution, systems, None))]
    asked += [(parent_key(p.name), p.name, by_itself(evolution, systems, p)) for p in spec.parents]
    alone = [(key, label, way) for key, label, way in asked if way is not None]
    seeing = {parent_key(p.name) for p in spec.parents if evolution.sees and p.reference == evolution.into}
    scored: dict[str, dict[str, Any]] = {}
    for key, _, way in sorted(alone, key=lambda one: one[0] not in seeing):  # the others may need the live model,
        scored[key] = _on_development(evolution, systems, key, way)  # which then stays for the search
    found = [{"system": key, "label": label} | scored[key] for key, label, _ in alone]
    merged = systems.of_recipe(evolution.recipe(uniform(evolution.space)))
    try:
        even = _on_development(evolution, systems, UNIFORM, merged)
    except ModelError as error:
        raise ModelError(
            "the uniform merge, or what of it the bounds allow, cannot be asked. Narrow the bounds of the space. "
            f"What was found: {error}"
        ) from None
    return [*found, {"system": UNIFORM, "label": "uniform merge"} | even]


def by_itself(
    evolution: Evolution, systems: Systems, parent: CandidateParentSpec | None
) -> Callable[[], LocalModel] | None:
    """Returns how a parent, or with None the base, is asked by itself; None where it cannot be.

    Where radiographs are asked, a model without eyes is put in the place of the merged language model; the vision tower
    and the projector are those of the model that candidates are written in.
    """
    path, adapter = (parent.path, parent.adapter) if parent else (evolution.spec.base, None)
    if not evolution.sees or (parent is not None and parent.reference == evolution.into):
        return systems.of_folder(path, adapter)
    placed = evolution.only(parent.name if parent else None)
    return None if placed is None else systems.of_recipe(placed)


def chosen(evolution: Evolution, search: Search, study: Study, systems: Systems) -> dict[str, Any]:
    """Returns the finalists of a search and which of them won on all development questions, the held-out ones too.

    Of equals wins the one that was better in the search. They are asked all questions anew, so that nothing depends on
    which machine evaluated them before.

    Raises:
        ModelError: no candidate was evaluated to the end.
    """
    found = []
    for record in _finalists(evolution, study):
        model = systems.of_recipe(evolution.recipe(record["values"]))
        with suppress(ModelError):  # a likelihood that is no number, on a held-out question
            asked = _on_development(evolution, systems, f"{search.label} {record['number']}", model)
            found.append({"number": record["number"], "values": record["values"], "fitness": record["fitness"]} | asked)
    if not found:
        raise ModelError(
            f"{search.label}: no candidate was evaluated to the end; candidates.jsonl tells why each of them was not."
        )
    best = max(found, key=lambda one: one["all"])
    return {"finalists": found, "winner": best["number"], "values": best["values"]}


def _finalists(evolution: Evolution, study: Study) -> list[dict[str, Any]]:
    """The records of the best candidates; with several objectives those of the Pareto front, by the weighted mean."""
    spec = evolution.spec
    if len(spec.objectives) == 1:
        return study.best(spec.search.finalists)
    records = study.records()

    def mean(number: int) -> float:
        return math.fsum(f.weight * value for f, value in zip(spec.fitness, records[number]["fitness"], strict=True))

    return [records[number] for number in sorted(front(records), key=mean, reverse=True)[: spec.search.finalists]]


def ablation(evolution: Evolution, choice: Mapping[str, Any], systems: Systems) -> list[dict[str, Any]]:
    """Returns what the winner scores on the development questions without each of its parents.

    `difference` is how much better the winner is with the parent, on the questions that it was chosen by; None where
    nothing can be asked of what is left without it, for the reason given.
    """
    with_all = next(one["all"] for one in choice["finalists"] if one["number"] == choice["winner"])
    found = []
    for label in evolution.parents:
        recipe = evolution.without(choice["values"], label)
        if recipe is None:
            continue
        try:
            asked = _on_development(evolution, systems, f"winner without {label}", systems.of_recipe(recipe))
        except ModelError as error:
            found.append({"parent": label, "all": None, "difference": None, "reason": str(error)})
        else:
            found.append({"parent": label} | asked | {"difference": with_all - asked["all"], "reason": None})
    return found


def tests(
    evolution: Evolution, systems: Systems, *, model: str, random: Mapping[str, float] | None
) -> list[dict[str, Any]]:
    """Asks the untouched tests of everything that is compared, and returns accuracies and paired tests.

    Args:
        evolution: the search.
        systems: its models.
        model: the folder of the winner's checkpoint: what is handed over is what is tested.
        random: the values of random search's winner, None where there was no random search.
    """
    spec = evolution.spec
    merged = {UNIFORM: uniform(evolution.space)} | ({RANDOM: random} if random is not None else {})
    ways = {key: systems.of_recipe(evolution.recipe(values)) for key, values in merged.items()}  # before it is freed
    ways[WINNER] = systems.of_folder(model)
    ways[BASE] = systems.of_folder(spec.base)
    ways |= {parent_key(p.name): systems.of_folder(p.path, p.adapter) for p in spec.parents}
    judged: dict[tuple[str, str], list[Judged]] = {}
    for key, way in ways.items():
        for test, items in zip(evolution.tests, evolution.finals, strict=True):
            judged[key, test.name] = systems.scores(key, f"test {test.name}", items, way)
    order = [WINNER, *(key for key in (RANDOM, UNIFORM) if key in ways), *(parent_key(p.name) for p in spec.parents)]
    order += [BASE]
    found = [_test(evolution, number, order, judged) for number in range(len(evolution.tests))]
    pairs = [pair for test in found for pair in test["pairs"]]
    for pair, p in zip(pairs, holm([pair["p_value"] for pair in pairs]) if pairs else [], strict=True):
        pair["p_holm"] = p
    return found


def _test(
    evolution: Evolution, number: int, order: Sequence[str], judged: Mapping[tuple[str, str], Sequence[Judged]]
) -> dict[str, Any]:
    test, items = evolution.tests[number], evolution.finals[number]
    scores = {key: [j.score for j in judged[key, test.name]] for key in order}
    pairs = [{"a": WINNER, "b": key} | summary.paired(scores[WINNER], scores[key]) for key in order[1:]]
    measure = items[0].measure
    return test.record() | {
        "asked": len(items),
        "metric": measure.metric,
        "format": measure.form.name,
        "shots": evolution.spec.fitness[evolution.spec.asked_like(reports=False)].shots,
        "systems": [
            {
                "system": key,
                "accuracy": summary.proportion(scores[key]),
                "japanese": share_japanese(judged[key, test.name]),
            }
            for key in order
        ],
        "pairs": pairs,
        "detectable": summary.detectable(len(items), pairs),
    }


def share_japanese(judged: Sequence[Judged]) -> float | None:
    """Returns the share of replies that were Japanese, None where none was generated."""
    told = [j.japanese for j in judged if j.japanese is not None]
    return sum(told) / len(told) if told else None


def _on_development(evolution: Evolution, systems: Systems, who: str, model: Any) -> dict[str, Any]:
    """The fitness of a system on the searched questions, the held-out ones, and all; and the mean of each entry."""
    fitness = evolution.fitness
    parts = {SEARCHED: fitness.search, HELD_OUT: fitness.held_out}
    judged = {what: systems.scores(who, what, items, model) for what, items in parts.items() if items}
    scores = {what: [j.score for j in found] for what, found in judged.items()}
    every = [score for found in scores.values() for score in found]
    return {
        "search": fitness.value(fitness.search, scores[SEARCHED]),
        "held_out": fitness.value(fitness.held_out, scores[HELD_OUT]) if HELD_OUT in scores else None,
        "all": fitness.value(fitness.everything, every),
        "means": list(fitness.means(fitness.everything, every)),
        "japanese": share_japanese([j for found in judged.values() for j in found]),
    }
