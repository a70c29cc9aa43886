"""Parents and development questions in; the best recipe, its checkpoint and the whole history out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ikyoku import jobs
from ikyoku.checkpoints import model_folder
from ikyoku.errors import DataError, SpecError
from ikyoku.jobs import finals
from ikyoku.jobs.drafts import png_uri
from ikyoku.jobs.evolution import Evolution, described, evolution, exams_of, radiographs_of, shown
from ikyoku.jobs.plan import read_by
from ikyoku.jobs.report_finals import TEST as REPORT_TEST
from ikyoku.jobs.report_finals import report_tests
from ikyoku.jobs.rivals import adapters, check_rivals
from ikyoku.jobs.searches import Search, carry_out, front, lines_of, opened, searches
from ikyoku.jobs.systems import RECORD as EVALUATIONS
from ikyoku.jobs.systems import Systems
from ikyoku.models.vision import check_sight
from ikyoku.pages import evolution_page
from ikyoku.prompts import PROMPT_FORMATS
from ikyoku.recipe import model_reference, recipe_yaml
from ikyoku.runs import Run, to_json, write_atomically
from ikyoku.search.space import uniform
from ikyoku.specs import EvolveSpec, MergeSpec, RecipeSpec
from ikyoku.study import Study

MODEL, RECIPE = "artifact/model", "artifact/recipe.yml"
SIDE = 384
"""Pixels on the longer side of an image on the page."""
SHORT = ("rouge_l", "finding_f1")
"""Report metrics that a run's short result tells."""


def inputs(spec: EvolveSpec) -> dict[str, Path]:
    """Returns the files and folders that the result depends on, after checking them: a run starts on good input."""
    found: dict[str, Path] = {}
    for exam in exams_of(spec):
        for path in filter(None, (exam.path, exam.demonstrations)):
            if not Path(path).expanduser().exists():
                raise DataError(f"{path}: no such file or folder.")
        for file in read_by(exam).files:
            found[exam.path if Path(exam.path).expanduser() == file else str(file)] = file
        if exam.demonstrations:
            found[exam.demonstrations] = Path(exam.demonstrations).expanduser()
    for fitness in spec.fitness:
        if fitness.format not in PROMPT_FORMATS:  # a template file
            found[fitness.format] = Path(fitness.format).expanduser()
    for given in radiographs_of(spec):
        for name in filter(None, (given.path, given.translations)):
            if not Path(name).expanduser().exists():
                raise DataError(f"{name}: no such file or folder.")
            if Path(name).expanduser().is_file():  # of a folder the images that are asked are in its hash
                found[name] = Path(name).expanduser()
    ready = _checked(spec)
    models = (model_reference(model.name) for model in ready.plan.parents)
    return found | {part: model_folder(part) for parts in models for part in parts if part}


def _checked(spec: EvolveSpec) -> Evolution:
    """A search, ready to begin, after what is needed last was looked at too: its eyes, and what rivals are made of."""
    ready = evolution(spec)
    if ready.sees:
        groups = (ready.fitness.everything, *ready.report_finals)
        first = [next((i.prompt for i in items if i.measure.reports), None) for items in groups]
        check_sight(ready.into, trust_remote_code=spec.trust_remote_code, prompts=filter(None, first))
    check_rivals(ready)
    return ready


def evolve(spec: EvolveSpec, run: Run) -> dict[str, Any]:
    """Searches, chooses, tests and writes the winner, from where an interrupted run stood; returns the run's result."""
    ready = evolution(spec)
    joint = spec.search.storage is not None
    if joint:  # a database that does not answer, or holds another study, is told before anything is asked
        for search in searches(ready):
            opened(ready, search, run, join=True).close()
    systems = Systems(ready, run)
    compared = finals.baselines(ready, systems)
    run.rewrite("items", _items(ready))
    choices: dict[str, dict[str, Any]] = {}
    histories: list[dict[str, Any]] = []
    for search in searches(ready):
        with opened(ready, search, run, join=joint) as study:
            carry_out(ready, search, study, systems, run)
            choices[search.label] = finals.chosen(ready, search, study, systems)
            histories.append(_history(ready, search, study, run) | choices[search.label])
    best = choices["search"]
    recipe = ready.recipe(best["values"])
    missing = finals.ablation(ready, best, systems)
    write_winner(spec, run, recipe)
    random = choices["random"]["values"] if "random" in choices else None
    model = str(run.folder / MODEL)
    tested = finals.tests(ready, systems, model=model, random=random) if ready.tests else []
    written: list[dict[str, Any]] = []
    if ready.report_tests:
        if spec.rivals:  # what trains them needs the room
            systems.release()
        rivals = adapters(ready, run)
        written = report_tests(ready, systems, model=model, random=random, rivals=rivals)
    scores = {
        **_asked(ready),
        "baselines": compared,
        "searches": histories,
        "winner": _winner(best),
        "ablation": missing,
        "tests": tested,
        "test": finals.TEST,
        "report_tests": written,
        "report_test": REPORT_TEST,
        "recipe": recipe_yaml(recipe),
        "notes": _notes(ready, best),
    }
    return _finish(ready, run, scores)


def write_winner(spec: EvolveSpec, run: Run, recipe: RecipeSpec) -> None:
    """Writes the winner's recipe, and its checkpoint by a run of `ikyoku merge` inside this one."""
    write_atomically(run.artifact / "recipe.yml", recipe_yaml(recipe))
    wanted = MergeSpec(
        name=spec.name,
        recipe=recipe,
        out=str(run.folder / MODEL),
        into=spec.into,
        seed=spec.search.seed,
        trust_remote_code=spec.trust_remote_code,
    )
    jobs.start(wanted, root=run.folder / "runs", progress=run.progress)


def _finish(ready: Evolution, run: Run, scores: Mapping[str, Any]) -> dict[str, Any]:
    timings = _timings(run)
    run.write("scores.json", to_json(scores))
    run.write("timings.json", to_json(timings))
    page = evolution_page(
        name=ready.spec.name,
        scores=scores,
        timings=timings,
        provenance=json.loads((run.folder / "provenance.json").read_text(encoding="utf-8")),
        spec_text=(run.folder / "spec.yaml").read_text(encoding="utf-8"),
        pictures=_pictures(ready, scores["report_tests"]),
    )
    run.write("summary.html", page)
    return {
        "recipe": RECIPE,
        "model": MODEL,
        "candidates": sum(len(search["trials"]) for search in scores["searches"]),
        "winner": scores["winner"],
        "tests": {
            test["name"]: {one["system"]: one["accuracy"]["value"] for one in test["systems"]}
            for test in scores["tests"]
        },
        "report_tests": {
            test["name"]: {one["system"]: {m: one["metrics"][m]["value"] for m in SHORT} for one in test["systems"]}
            for test in scores["report_tests"]
        },
    }


def _pictures(ready: Evolution, written: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """The images of the examples that the page shows, by test."""
    return {
        test["name"]: [png_uri(items[example["place"]].prompt.pictures[0], SIDE) for example in test["examples"]]
        for test, items in zip(written, ready.report_finals, strict=True)
    }


def _asked(ready: Evolution) -> dict[str, Any]:
    """What was asked, as scores.json tells it."""
    spec, fitness = ready.spec, ready.fitness
    development = []
    for part, (split, asked) in enumerate(zip(ready.developments, spec.fitness, strict=True)):
        development.append(
            split.record()
            | {
                "name": asked.name,
                "kind": "reports" if asked.reports else "exam",
                "metric": asked.measured,
                "format": fitness.measures[part].form.name,
                "shots": asked.shots,
                "weight": asked.weight,
                "japanese": asked.japanese,
                "searched": sum(item.part == part for item in fitness.search),
                "held_out": sum(item.part == part for item in fitness.held_out),
                "left_out": fitness.left_out[part],
            }
        )
    return {
        "method": ready.method.name,
        "base": spec.base,
        "into": ready.plan.parents[ready.plan.into].name,
        "parents": [{"label": p.name, "path": p.path, "adapter": p.adapter} for p in spec.parents],
        "coverage": ready.plan.coverage,
        "objectives": list(spec.objectives),
        "space": described(ready.space),
        "uniform": uniform(ready.space),
        "development": development,
    }


def _items(ready: Evolution) -> Iterator[dict[str, Any]]:
    """Which question each score in candidates.jsonl and evaluations.jsonl belongs to, by its id."""
    groups = {finals.SEARCHED: ready.fitness.search, finals.HELD_OUT: ready.fitness.held_out}
    groups |= {f"test {test.name}": items for test, items in zip(ready.tests, ready.finals, strict=True)}
    groups |= {f"test {test.name}": items for test, items in zip(ready.report_tests, ready.report_finals, strict=True)}
    for what, items in groups.items():
        for place, item in enumerate(items):
            yield {"what": what, "place": place, "part": item.measure.name, "id": item.sample.id}


def _history(ready: Evolution, search: Search, study: Study, run: Run) -> dict[str, Any]:
    """A search as scores.json tells it: every candidate, the best so far, what matters; nothing that a clock tells."""
    objectives = len(ready.spec.objectives)
    kept = ("number", "values", "fitness", "state", "reason", "duplicate_of")
    trials = [{key: line[key] for key in kept} | {"asked": len(line["scores"])} for line in lines_of(run, search)]
    states = [trial["state"] for trial in trials]
    return {
        "search": search.label,
        "sampler": search.sampler,
        "budget": study.trials,
        "study": search.study,
        "storage": ready.spec.search.storage or "study.db",
        "states": {state: states.count(state) for state in ("complete", "pruned", "fail")},
        "trials": trials,
        "best_so_far": _best_so_far(trials) if objectives == 1 else None,
        "importances": [study.importances(number) for number in range(objectives)],
        "front": front(trials) if objectives > 1 else None,
    }


def _best_so_far(trials: list[dict[str, Any]]) -> list[float | None]:
    """After each candidate the best fitness of all that were evaluated to the end."""
    found: list[float | None] = []
    for trial in trials:
        value = trial["fitness"][0] if trial["state"] == "complete" else None
        last = found[-1] if found else None
        found.append(value if last is None or (value is not None and value > last) else last)
    return found


def _winner(choice: Mapping[str, Any]) -> dict[str, Any]:
    return next(dict(one) for one in choice["finalists"] if one["number"] == choice["winner"])


def _notes(ready: Evolution, best: Mapping[str, Any]) -> list[str]:
    """What must be said beside the numbers."""
    found = list(ready.plan.notes)
    if not ready.fitness.held_out:
        found.append(
            "No question was held out: the winner was chosen on the questions that it was searched on, where the best "
            "of many candidates looks better than it is."
        )
    if not ready.tests and not ready.report_tests:
        found.append(
            "No test split was given: nothing here says how good the winner is on questions it was not chosen by."
        )
    if len(ready.spec.objectives) > 1:
        found.append(
            "Every fitness is an objective of its own. The winner is the best of the Pareto front by the weighted mean "
            "of all; another choice from the front is as good."
        )
    if len(best["finalists"]) < ready.spec.search.finalists:
        found.append(f"Only {len(best['finalists'])} candidates were evaluated to the end and different.")
    return found


def _timings(run: Run) -> dict[str, Any]:
    """Seconds by the clock, from the records, so that an interruption does not count."""
    candidates: dict[str, list[float | None]] = {}
    for line in run.records("candidates"):
        candidates.setdefault(line["search"], []).append(line["seconds"])
    evaluations: dict[str, float] = {}
    for line in run.records(EVALUATIONS):
        evaluations[line["what"]] = round(evaluations.get(line["what"], 0.0) + line["seconds"], 4)
    return {"candidates": candidates, "evaluations": evaluations}


def dry_run(spec: EvolveSpec) -> str:
    """Returns what a spec would search, on what, and the first prompt verbatim; nothing is loaded or written."""
    ready = _checked(spec)
    return "\n".join([*_told(ready), "", shown(ready.fitness.measures[0].form, ready.fitness.search)])


def _told(ready: Evolution) -> Iterator[str]:
    from ikyoku.candidate import ResidentParents

    spec, asked = ready.spec, ready.spec.search
    yield f"base        {spec.base}"
    for label, reference in ready.parents.items():
        yield f"parent      {label}: {reference}"
    yield f"merged      {ready.plan.coverage}"
    yield f"written in  {ready.plan.parents[ready.plan.into].name}"
    yield from (f"note        {note}" for note in ready.plan.notes)
    yield f"method      {ready.method.name}: {ready.method.title}"
    for parameter in ready.space:
        fixed = "" if parameter.low < parameter.high else ", fixed"
        yield f"parameter   {parameter.name}: {parameter.low:g} to {parameter.high:g}{fixed}"
    for part, (split, measure) in enumerate(zip(ready.developments, ready.fitness.measures, strict=True)):
        searched, held = (
            sum(item.part == part for item in items) for items in (ready.fitness.search, ready.fitness.held_out)
        )
        left = ready.fitness.left_out[part]
        what = "radiographs" if measure.reports else "questions"
        yield (
            f"development {measure.name}: {searched} {what} searched, {held} held out"
            + (f", {left} that {measure.metric} is not defined for left out" if left else "")
            + f", weight {measure.weight:g}, {split.selection.sha256[:12]}"
        )
    for test, items in zip(ready.tests, ready.finals, strict=True):
        metric = items[0].measure.metric
        yield f"test        {test.name}: {len(items)} questions, {metric}, {test.selection.sha256[:12]}"
    for test in ready.report_tests:
        yield f"test        {test.name}: {test.selection.count} radiographs, {test.selection.sha256[:12]}"
    for rival in spec.rivals:
        yield f"rival       {rival.label}: {rival.steps} steps of {rival.batch_size} on {rival.data}"
    if not ready.tests and not ready.report_tests:
        yield "test        none: nothing will say how good the winner is on questions it was not chosen by"
    yield f"baselines   base, {', '.join(ready.parents)}, uniform merge" + (
        ", random search" if len(searches(ready)) > 1 else ""
    )
    yield (
        f"candidates  {asked.trials} by {asked.sampler}"
        + (f" and {asked.trials} at random" if len(searches(ready)) > 1 else "")
        + f", the best {asked.finalists} of each asked again; {_pruning(ready)}"
    )
    yield f"study       {asked.storage or 'study.db in the run folder'}"
    yield f"memory      {ResidentParents(ready.plan).describe()}"


def _pruning(ready: Evolution) -> str:
    if not ready.spec.search.prune or len(ready.spec.objectives) > 1:
        return "none is stopped early"
    from ikyoku.search.pruning import LEAST_ITEMS

    size = ready.spec.batch_size
    first = -(-LEAST_ITEMS // size) * size
    if first >= len(ready.fitness.search):
        return "none can be stopped early: all questions are asked before one may be"
    return f"clear losers are stopped from question {first} on"


def check_joinable(spec: EvolveSpec) -> None:
    """Refuses a spec whose study no second process could reach.

    Raises:
        SpecError: it names no storage.
    """
    if spec.search.storage is None:
        raise SpecError(
            "search.storage: --join needs a study that several processes reach; this one is in the run folder of the "
            "first. Name one in the spec, such as postgresql+psycopg://HOST/DATABASE, for all of them."
        )
