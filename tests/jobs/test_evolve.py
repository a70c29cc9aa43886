"""`ikyoku evolve`, end to end on tiny parents: refused before it starts, complete when done, equal after a kill."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ikyoku
from ikyoku.datasets.exams import read_exam
from ikyoku.errors import DataError, ModelError, RunError, SpecError
from ikyoku.jobs import evolve
from ikyoku.recipe import read_recipe
from ikyoku.runs import read_records, sha256_of
from ikyoku.specfile import to_yaml
from ikyoku.specs import EvolveSpec

TRIALS = 6
CLOCK = ("seconds", "worker")


@pytest.fixture(scope="module")
def parents(tiny_bases: dict[str, Path], tiny_tuned: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The base, one that knows more, one that is the base with some noise."""
    import torch

    from ikyoku.models.loading import load_tokenizer, load_weights, with_adapter

    folder = tmp_path_factory.mktemp("parents")
    base = tiny_bases["tiny-ja"]

    def load() -> Any:
        return load_weights(str(base), dtype="auto", quantization="none", trust_remote_code=False)

    noisy = load()
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in noisy.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    for name, model in (
        ("taught", with_adapter(load(), str(base), str(tiny_tuned)).merge_and_unload()),
        ("noisy", noisy),
    ):
        model.save_pretrained(folder / name)
        load_tokenizer(str(base)).save_pretrained(folder / name)
    return {"base": base, "taught": folder / "taught", "noisy": folder / "noisy"}


def spec(parents: dict[str, Path], lab: Path, /, **changes: Any) -> EvolveSpec:
    values: dict[str, Any] = {
        "name": "tiny",
        "base": str(parents["base"]),
        "parents": [{"path": str(parents[name])} for name in ("taught", "noisy")],
        "method": "ties",
        "fitness": [{"exam": {"path": str(lab / "pocket-dev.jsonl")}, "metric": "probability"}],
        "test": [{"path": str(lab / "pocket-test.jsonl"), "label": "pocket"}],
        "search": {"trials": TRIALS, "finalists": 2},
        "batch_size": 4,
        "max_new_tokens": 6,
    }
    return EvolveSpec.model_validate(values | changes)


@pytest.fixture(scope="module")
def finished(parents: dict[str, Path], tiny_lab: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The undisturbed run, through the Python API."""
    return ikyoku.evolve(spec(parents, tiny_lab), root=tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def scores(finished: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((finished.folder / "scores.json").read_text(encoding="utf-8"))
    return found


def without_clock(folder: Path, name: str) -> list[dict[str, Any]]:
    return [{k: v for k, v in r.items() if k not in CLOCK} for r in read_records(folder / f"{name}.jsonl")]


def result(folder: Path) -> dict[str, Any]:
    """All that a repetition must reproduce."""
    return {
        "candidates": without_clock(folder, "candidates"),
        "evaluations": without_clock(folder, "evaluations"),
        "scores": (folder / "scores.json").read_text(encoding="utf-8"),
        "recipe": (folder / evolve.RECIPE).read_text(encoding="utf-8"),
        "weights": sha256_of(folder / evolve.MODEL / "model.safetensors"),
    }


def write_spec(path: Path, asked: EvolveSpec) -> Path:
    path.write_text(to_yaml(asked), encoding="utf-8")
    return path


# what comes out


def test_the_record_is_whole(finished: Any, scores: dict[str, Any], tiny_lab: Path) -> None:
    lines = list(read_records(finished.folder / "candidates.jsonl"))
    assert [(r["search"], r["number"]) for r in lines] == [(s, n) for s in ("search", "random") for n in range(TRIALS)]
    assert all(len(r["scores"]) == 8 and r["state"] == "complete" for r in lines)
    for line in lines:
        assert line["fitness"][0] == pytest.approx(sum(line["scores"]) / 8, abs=1e-6)
    searched, random = scores["searches"]
    assert (searched["sampler"], random["sampler"]) == ("cmaes", "random")
    assert (
        searched["trials"][0]["values"]
        == scores["uniform"]
        == {
            "weight.taught": 0.5,
            "weight.noisy": 0.5,
            "density.taught": 1.0,
            "density.noisy": 1.0,
            "lambda": 1.0,
        }
    )
    best = [max(t["fitness"][0] for t in searched["trials"][: n + 1]) for n in range(TRIALS)]
    assert searched["best_so_far"] == best and searched["states"] == {"complete": TRIALS, "pruned": 0, "fail": 0}
    (development,) = scores["development"]
    assert (development["searched"], development["held_out"], development["n"]) == (8, 2, 10)
    items = list(read_records(finished.folder / "items.jsonl"))
    counts = {what: sum(i["what"] == what for i in items) for what in ("search", "held-out", "test pocket")}
    assert counts == {"search": 8, "held-out": 2, "test pocket": 30}
    ids = [q.id for q in read_exam(tiny_lab / "pocket-dev.jsonl").questions]
    assert sorted(i["id"] for i in items if i["what"] != "test pocket") == sorted(ids)
    texts = {q.text for name in ("pocket-dev", "pocket-test") for q in read_exam(tiny_lab / f"{name}.jsonl").questions}
    for file in ("candidates.jsonl", "evaluations.jsonl", "items.jsonl", "scores.json"):
        held = (finished.folder / file).read_text(encoding="utf-8")
        assert not any(text in held for text in texts), "ids and numbers, no question"


def test_the_winner_is_chosen_on_held_out_questions_too(scores: dict[str, Any]) -> None:
    for history in scores["searches"]:
        assert len(history["finalists"]) == 2
        ranked = sorted(history["trials"], key=lambda t: -t["fitness"][0])
        assert [f["number"] for f in history["finalists"]] == [t["number"] for t in ranked[:2]]
        for one in history["finalists"]:
            assert one["search"] == pytest.approx(one["fitness"][0], abs=1e-9), "asked anew it is the same"
            assert one["all"] == pytest.approx((8 * one["search"] + 2 * one["held_out"]) / 10)
        assert max(history["finalists"], key=lambda one: one["all"])["number"] == history["winner"]
    assert scores["winner"]["number"] == scores["searches"][0]["winner"]


def test_each_system_is_asked_the_test_once(finished: Any, scores: dict[str, Any]) -> None:
    (test,) = scores["tests"]
    order = ["winner", "random", "uniform", "parent taught", "parent noisy", "base"]
    assert [one["system"] for one in test["systems"]] == order
    assert all(one["accuracy"]["n"] == 30 == test["asked"] for one in test["systems"])
    assert [(p["a"], p["b"]) for p in test["pairs"]] == [("winner", other) for other in order[1:]]
    assert all(p["p_value"] <= p["p_holm"] <= 1 for p in test["pairs"])
    asked = [r for r in read_records(finished.folder / "evaluations.jsonl") if r["what"] == "test pocket"]
    counts: dict[str, int] = {}
    for record in asked:
        assert record["from"] == counts.get(record["who"], 0)
        counts[record["who"]] = record["from"] + len(record["scores"])
    assert counts == dict.fromkeys(order, 30)
    assert {b["system"] for b in scores["baselines"]} == {"base", "parent taught", "parent noisy", "uniform"}
    taught = next(b for b in scores["baselines"] if b["system"] == "parent taught")
    assert taught["all"] > max(b["all"] for b in scores["baselines"] if b["system"] in ("base", "parent noisy"))


def test_what_each_parent_contributes(scores: dict[str, Any]) -> None:
    assert [one["parent"] for one in scores["ablation"]] == ["taught", "noisy"]
    for one in scores["ablation"]:
        assert one["difference"] == pytest.approx(scores["winner"]["all"] - one["all"])
    assert scores["ablation"][0]["difference"] > scores["ablation"][1]["difference"]


def test_what_is_handed_over_is_what_was_searched(
    finished: Any, scores: dict[str, Any], parents: dict[str, Path]
) -> None:
    import torch

    from ikyoku.jobs.evolution import evolution
    from ikyoku.jobs.systems import Live
    from ikyoku.models.features import FeatureCache
    from ikyoku.models.loading import load_weights
    from ikyoku.specfile import load

    recipe = read_recipe(finished.folder / evolve.RECIPE)
    assert recipe.merge_method == "ties" and scores["recipe"] == (finished.folder / evolve.RECIPE).read_text("utf-8")
    ready = evolution(load(EvolveSpec, finished.folder / "spec.yaml"))
    live = Live(ready, FeatureCache(), progress=lambda *_: None)
    live.become(ready.merge_plan(ready.recipe(scores["winner"]["values"])))
    written = load_weights(
        str(finished.folder / evolve.MODEL), dtype="auto", quantization="none", trust_remote_code=False
    )
    for (name, a), b in zip(live._weights.named_parameters(), written.parameters(), strict=True):
        assert torch.equal(a, b), name


def test_the_page_and_the_result(finished: Any, scores: dict[str, Any]) -> None:
    page = (finished.folder / "summary.html").read_text(encoding="utf-8")
    assert "merge_method: ties" in page and "://" not in page.replace("http://www.w3.org", "")
    assert finished.result["candidates"] == 2 * TRIALS
    assert finished.result["tests"]["pocket"]["winner"] == scores["tests"][0]["systems"][0]["accuracy"]["value"]
    timings = json.loads((finished.folder / "timings.json").read_text(encoding="utf-8"))
    assert [len(timings["candidates"][name]) for name in ("search", "random")] == [TRIALS, TRIALS]


def test_a_second_call_returns_at_once(finished: Any, parents: dict[str, Path], tiny_lab: Path) -> None:
    again = ikyoku.evolve(spec(parents, tiny_lab), root=finished.folder.parent)
    assert again.before and again.folder == finished.folder and again.result == finished.result


# interruptions


def test_killed_it_is_continued_to_the_same_numbers(
    finished: Any, parents: dict[str, Path], tiny_lab: Path, tmp_path: Path, command: Callable[..., Any]
) -> None:
    """Killed among the baselines, in the search, in the random search, among the tests."""
    file, runs = write_spec(tmp_path / "evolve.yaml", spec(parents, tiny_lab)), tmp_path / "runs"
    folder = runs / finished.folder.name
    for name, lines in (("evaluations", 2), ("candidates", 2), ("candidates", TRIALS + 2), ("evaluations", 60)):
        command("evolve", file, "--runs", runs).kill_at(folder / f"{name}.jsonl", lines)
        assert json.loads((folder / "status.json").read_text(encoding="utf-8"))["state"] == "running"
    out = command("evolve", file, "--runs", runs).finish()
    assert "test pocket, n = 30" in out and str(folder) in out
    assert result(folder) == result(finished.folder)


# ways to search


def test_random_search_alone_a_generated_reply_and_the_gate(
    parents: dict[str, Path], tiny_lab: Path, tmp_path: Path
) -> None:
    asked = spec(
        parents,
        tiny_lab,
        method="task_arithmetic",
        parents=[{"path": str(parents["taught"]), "label": "a"}, {"path": str(parents["noisy"]), "label": "b"}],
        fitness=[
            {"exam": {"path": str(tiny_lab / "pocket-dev.jsonl")}, "japanese": True, "limit": 4},
            {"exam": {"path": str(tiny_lab / "retention.jsonl")}, "metric": "likelihood", "weight": 2, "limit": 8},
        ],
        search={"trials": 3, "sampler": "random", "held_out": 0, "finalists": 2},
        space={"layer_groups": 2, "scale": None},
    )
    done = ikyoku.evolve(asked, root=tmp_path)
    found = json.loads((done.folder / "scores.json").read_text(encoding="utf-8"))
    assert [s["search"] for s in found["searches"]] == ["search"], "random search is its own baseline"
    assert [p["name"] for p in found["space"]] == [f"weight.{p}.layers{n}-{n}" for n in (0, 1) for p in "ab"]
    assert "slices:" in found["recipe"] and found["winner"]["held_out"] is None
    assert any("No question was held out" in note for note in found["notes"])
    assert found["tests"][0]["metric"] == "extracted_accuracy"
    for one in found["baselines"]:
        first, second = one["means"]
        assert one["all"] == pytest.approx((first + 2 * second) / 3) and 0 <= one["japanese"] <= 1


def test_several_objectives_give_a_front(parents: dict[str, Path], tiny_lab: Path, tmp_path: Path) -> None:
    exams = [str(tiny_lab / f"{name}.jsonl") for name in ("pocket-dev", "retention")]
    asked = spec(
        parents,
        tiny_lab,
        fitness=[{"exam": {"path": path}, "metric": "probability"} for path in exams],
        search={"trials": 5, "sampler": "nsga2", "random_baseline": False, "finalists": 2},
        test=[],
    )
    done = ikyoku.evolve(asked, root=tmp_path)
    found = json.loads((done.folder / "scores.json").read_text(encoding="utf-8"))
    (history,) = found["searches"]
    points = {t["number"]: t["fitness"] for t in history["trials"]}
    assert all(len(point) == 2 for point in points.values()) and history["best_so_far"] is None
    for number in history["front"]:
        assert not any(a > b and c > d for (a, c) in points.values() for (b, d) in [points[number]])
    assert len(history["front"]) > 2, "else the finalists could be any"
    best = sorted(history["front"], key=lambda number: -sum(points[number]))
    assert [one["number"] for one in history["finalists"]] == best[:2], "of the whole front, by the weighted mean"
    assert history["winner"] in history["front"] and found["tests"] == []
    assert any("Pareto front" in note for note in found["notes"]) and any("No test split" in n for n in found["notes"])


def test_a_failing_candidate_is_survived(parents: dict[str, Path], tiny_lab: Path, tmp_path: Path) -> None:
    values = {"search": {"trials": 4, "random_baseline": False}, "test": [], "method": "task_arithmetic"}
    done = ikyoku.evolve(spec(parents, tiny_lab, **values, space={"scale": [0.0, 3e38]}), root=tmp_path)
    lines = list(read_records(done.folder / "candidates.jsonl"))
    assert [r["state"] for r in lines] == ["complete", "fail", "fail", "fail"]
    assert all(re.search("not a (finite )?number|is not finite", r["reason"]) for r in lines[1:]), lines
    beyond = {"scale": [3e38, 3e38], "weight": [1000, 2000]}
    with pytest.raises(ModelError, match=r"the uniform merge, .* Narrow the bounds of the space"):
        ikyoku.evolve(spec(parents, tiny_lab, **values, space=beyond), root=tmp_path / "worse")


def test_clear_losers_are_stopped_early(parents: dict[str, Path], tiny_lab: Path, tmp_path: Path) -> None:
    asked = spec(
        parents,
        tiny_lab,
        method="task_arithmetic",
        space={"scale": [0, 200]},
        fitness=[{"exam": {"path": str(tiny_lab / "retention.jsonl")}, "metric": "probability"}],
        test=[],
        search={"trials": 6, "sampler": "random", "random_baseline": False, "held_out": 0},
        batch_size=5,
    )
    done = ikyoku.evolve(asked, root=tmp_path)
    lines = list(read_records(done.folder / "candidates.jsonl"))
    losers = [r for r in lines if r["state"] == "pruned"]
    assert losers and lines[0]["state"] == "complete"
    for line in losers:
        assert len(line["scores"]) in (10, 15), "from the tenth question on, behind a batch"
        assert line["fitness"][0] == pytest.approx(sum(line["scores"]) / len(line["scores"]), abs=1e-6)
    found = json.loads((done.folder / "scores.json").read_text(encoding="utf-8"))
    assert not {r["number"] for r in losers} & {f["number"] for f in found["searches"][0]["finalists"]}


def test_a_candidate_that_was_evaluated_is_not_evaluated_again(
    parents: dict[str, Path], tiny_lab: Path, tmp_path: Path
) -> None:
    narrow = {"weight": [0.5, 0.500001], "density": [1, 1], "scale": None}
    asked = spec(
        parents, tiny_lab, space=narrow, test=[], search={"trials": 8, "sampler": "random", "random_baseline": False}
    )
    done = ikyoku.evolve(asked, root=tmp_path)
    lines = list(read_records(done.folder / "candidates.jsonl"))
    again = [r for r in lines if r["duplicate_of"] is not None]
    assert again and len(lines) == 8
    for record in again:
        assert record["fitness"] == lines[record["duplicate_of"]]["fitness"] and record["scores"] == []


# several processes


def test_processes_join_one_study(
    parents: dict[str, Path], tiny_lab: Path, tmp_path: Path, command: Callable[..., Any]
) -> None:
    trials = 8
    search = {"trials": trials, "random_baseline": False, "storage": f"journal:{tmp_path / 'study.log'}"}
    asked = spec(parents, tiny_lab, search=search, test=[])
    file, runs = write_spec(tmp_path / "evolve.yaml", asked), tmp_path / "runs"
    first = command("evolve", file, "--runs", runs)
    second = command("evolve", file, "--runs", runs, "--join", "--json")
    joined = json.loads(second.finish())
    first.finish()
    (folder,) = [f for f in runs.iterdir() if "-join-" not in f.name]
    lines = list(read_records(folder / "candidates.jsonl"))
    assert [r["number"] for r in lines] == list(range(trials)), "each once, whoever evaluated it"
    workers = [r["worker"] for r in lines]
    counts = [sum(f"-{one.process.pid}-" in worker for worker in workers) for one in (first, second)]
    assert joined["result"]["joined"]["search"] == counts[1] > 0, "it began while the first asked the baselines"
    assert sum(counts) == trials
    assert "-join-" in joined["run"] and Path(joined["run"]).is_dir()
    other = asked.model_copy(update={"max_new_tokens": 7})
    with pytest.raises(RunError, match="study"):
        ikyoku.evolve(other, join=True, root=tmp_path / "other")
    with pytest.raises(SpecError, match="--join needs a study that several processes reach"):
        ikyoku.evolve(spec(parents, tiny_lab), join=True, root=tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_what_other_processes_search_must_be_the_same(tmp_path: Path) -> None:
    """The same spec and questions are not enough: the weights behind a path may be others elsewhere."""
    from ikyoku.jobs.searches import _content
    from ikyoku.runs import open_run

    found = []
    for name, weights, card in (("a", "1", "x"), ("b", "1", "y"), ("c", "2", "x")):
        model = tmp_path / name / "model"
        model.mkdir(parents=True)
        (model / "model.safetensors").write_text(weights, encoding="ascii")
        (model / "card.txt").write_text(card, encoding="ascii")
        inputs = {"model": model}
        with open_run("evolve", "x", {}, spec_text="", root=tmp_path / name, inputs=inputs) as run:
            found.append(_content(run))
    assert found[0] == found[1] != found[2]


def test_a_study_that_is_not_the_runs_own_is_refused(tmp_path: Path) -> None:
    from ikyoku.jobs.searches import _check_kept
    from ikyoku.search.space import Parameter, Space
    from ikyoku.study import open_study

    with open_study(tmp_path / "study.db", "x", Space((Parameter("w", 0.0, 1.0),)), trials=2) as study:
        candidate = study.ask()
        assert candidate is not None
        _check_kept([], study, "study.db")
        _check_kept([{"values": candidate.values}], study, "study.db")
        for kept in ([{"values": {"w": -1.0}}], [{"values": candidate.values}] * 2):
            with pytest.raises(RunError, match=r"study\.db: the study there is not the one that this run began"):
                _check_kept(kept, study, "study.db")


def test_a_storage_that_does_not_answer_is_told_first(parents: dict[str, Path], tiny_lab: Path, tmp_path: Path) -> None:
    asked = spec(parents, tiny_lab, search={"trials": 2, "storage": "postgresql+psycopg://me@127.0.0.1:9/none"})
    with pytest.raises(RunError, match=r"127\.0\.0\.1:9.* refused"):
        ikyoku.evolve(asked, root=tmp_path / "runs")
    assert not (tmp_path / "runs").exists(), "before anything is asked"


# what is refused


def test_test_splits_are_refused(parents: dict[str, Path], tiny_lab: Path, tmp_path: Path) -> None:
    test = {"exam": {"path": str(tiny_lab / "pocket-test.jsonl")}}
    with pytest.raises(DataError, match=r"'pocket-test\.jsonl' says test"):
        ikyoku.evolve(spec(parents, tiny_lab, fitness=[test], test=[]), root=tmp_path / "runs")
    shutil.copy(tiny_lab / "pocket-test.jsonl", tmp_path / "mine.jsonl")
    mine = {"exam": {"path": str(tmp_path / "mine.jsonl")}}
    with pytest.raises(DataError, match="30 of 30 questions stand in the test"):
        ikyoku.evolve(spec(parents, tiny_lab, fitness=[mine]), root=tmp_path / "runs")
    assert not (tmp_path / "runs").exists(), "a run starts on good input"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"space": {"weight": [1, 0]}}, "space.weight: found 1 to 0; wanted the lower bound first"),
        ({"space": {"density": [0, 1.5]}}, "wanted the lower bound first within 0 and 1"),
        ({"space": {"preset": "jradievo"}}, "jradievo searches the method jradievo, found method: ties"),
        ({"search": {"storage": "postgresql+psycopg://me:secret@db/x"}}, "search.storage: holds a password"),
        ({"search": {"storage": "postgresql+psycopg://me:se/cr:secret@db/x"}}, "search.storage: holds a password"),
        ({"search": {"storage": "postgresql+psycopg://me@db/x?a=b&password=secret"}}, "holds a password"),
        ({"search": {"storage": "postgresql://me:secret@db/x"}}, "search.storage: wanted postgresql+psycopg://"),
    ],
    ids=["order", "range", "preset", "password", "odd password", "password as an option", "address"],
)
def test_a_spec_that_cannot_be_is_refused(
    parents: dict[str, Path], tiny_lab: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(SpecError, match=re.escape(words)) as caught:
        spec(parents, tiny_lab, **changes)
    assert "secret" not in str(caught.value)


def test_an_address_without_a_password_is_none(parents: dict[str, Path], tiny_lab: Path) -> None:
    for rest in ("me@db:5432/x", "me@[::1]:5432/x", "db:5432/x", "me@/x?host=/run/pg&port=5"):
        spec(parents, tiny_lab, search={"storage": f"postgresql+psycopg://{rest}"})
    spec(parents, tiny_lab, search={"storage": "journal:a:b@c"})


def test_names_are_told_apart(parents: dict[str, Path], tiny_lab: Path) -> None:
    with pytest.raises(SpecError, match="parents: taught named twice"):
        spec(parents, tiny_lab, parents=[{"path": str(parents["taught"])}] * 2)
    with pytest.raises(SpecError, match=r"parents: .*taught stands twice"):
        labels = [{"path": str(parents["taught"]), "label": label} for label in "ab"]
        spec(parents, tiny_lab, parents=labels)
    with pytest.raises(SpecError, match="its difference to the base is nothing"):
        evolve.dry_run(spec(parents, tiny_lab, parents=[{"path": str(parents[n])} for n in ("base", "taught")]))
    exam = {"exam": {"path": str(tiny_lab / "pocket-dev.jsonl")}}
    with pytest.raises(SpecError, match=r"fitness: pocket-dev .* named twice"):
        spec(parents, tiny_lab, fitness=[exam, exam])


def test_typos_are_named_with_what_is_allowed(
    parents: dict[str, Path], tiny_lab: Path, tmp_path: Path, command: Callable[..., Any]
) -> None:
    file = write_spec(tmp_path / "evolve.yaml", spec(parents, tiny_lab, method="tis"))
    refused = command("evolve", file, "--dry-run")
    refused.finish(2)
    assert "no method 'tis'. Did you mean 'ties'" in refused.err.read_text(encoding="utf-8")
    typo = command("evolve", file, "--set", "serach.trials=3")
    typo.finish(2)
    assert "search" in typo.err.read_text(encoding="utf-8")
    missing = command("evolve", file, "--set", "method=ties", "--set", f"base={tmp_path / 'none'}", "--dry-run")
    missing.finish(2)
    assert "no such" in missing.err.read_text(encoding="utf-8")


def test_a_dry_run_tells_everything_and_writes_nothing(
    parents: dict[str, Path], tiny_lab: Path, tmp_path: Path
) -> None:
    asked = spec(parents, tiny_lab, batch_size=2)
    told = evolve.dry_run(asked)
    for words in (
        "20 of 20 tensors merged by ties",
        "parameter   weight.taught: 0 to 1",
        "parameter   lambda: 0 to 2",
        "development pocket-dev (probability): 8 questions searched, 2 held out",
        "test        pocket: 30 questions, likelihood",
        "baselines   base, taught, noisy, uniform merge, random search",
        "candidates  6 by cmaes and 6 at random, the best 2 of each asked again",
        "study       study.db in the run folder",
        "MB of parents",
    ):
        assert words in told
    assert told.endswith("### 応答：\n")
    assert "no question may be" not in told and not list(tmp_path.iterdir())


def test_an_exam_of_years_is_development_beside_other_years(
    parents: dict[str, Path], tiny_lab: Path, tmp_path: Path
) -> None:
    pass
