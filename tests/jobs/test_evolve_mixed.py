"""`ikyoku evolve` on radiographs and exam questions together: what comes out, after a kill too, and what is refused."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

import ikyoku
from ikyoku.datasets.radiographs import read_radiographs, write_radiographs
from ikyoku.errors import IkyokuError, ModelError, SpecError
from ikyoku.jobs import evolve
from ikyoku.jobs.evolution import evolution
from ikyoku.jobs.fitness import ask
from ikyoku.jobs.rivals import tuning
from ikyoku.jobs.systems import Live
from ikyoku.models.loading import load_weights
from ikyoku.runs import read_records, sha256_of
from ikyoku.specfile import to_yaml
from ikyoku.specs import EvolveSpec

Case = dict[str, Any]
CLOCK = ("seconds", "worker")
FULL = {"dtype": "auto", "quantization": "none", "trust_remote_code": False}
TRIALS = 3


@pytest.fixture(scope="module")
def data(tiny_xray_lab: Path, tiny_lab: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Six phantoms to search and train on, five to test on, and the exams of the pocket lab."""
    folder = tmp_path_factory.mktemp("mixed")
    found = {"dev": tiny_lab / "pocket-dev.jsonl", "test": tiny_lab / "pocket-test.jsonl"}
    for name, source, count in (("mine", "pairs-50", 6), ("untouched", "test-200", 5)):
        found[name] = folder / f"{name}.jsonl"
        write_radiographs(found[name], read_radiographs(tiny_xray_lab / f"{source}.jsonl").samples[:count])
    return found


def spec(lab: Path, data: Mapping[str, Path], /, **changes: Any) -> EvolveSpec:
    """Three entries, of which two ask about the same radiographs, and one rival; a parent is called base."""
    reports = {"reports": {"path": str(data["mine"])}, "format": "vicuna"}
    values: Case = {
        "name": "mixed",
        "base": str(lab / "base"),
        "parents": [
            {"path": str(lab / "vlm-en"), "label": "vlm-en"},
            {"path": str(lab / "report-ja"), "label": "base"},
        ],
        "into": str(lab / "vlm-en"),
        "fitness": [
            {**reports, "metric": "rouge_l"},
            {"exam": {"path": str(data["dev"])}, "metric": "probability", "limit": 4, "shots": 0, "weight": 2},
            {**reports, "metric": "finding_f1"},
        ],
        "test": [{"path": str(data["test"]), "label": "pocket"}],
        "test_reports": [{"path": str(data["untouched"]), "label": "phantoms"}],
        "rivals": [{"label": "pairs", "data": str(data["mine"]), "steps": 6, "batch_size": 2, "lora": {"rank": 2}}],
        "search": {"trials": TRIALS, "finalists": 1, "held_out": 0.34, "random_baseline": False},
        "batch_size": 3,
        "max_new_tokens": 8,
    }
    return EvolveSpec.model_validate(values | changes)


@pytest.fixture(scope="module")
def finished(tiny_xray_lab: Path, data: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Any:
    return ikyoku.evolve(spec(tiny_xray_lab, data), root=tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def scores(finished: Any) -> Case:
    found: Case = json.loads((finished.folder / "scores.json").read_text(encoding="utf-8"))
    return found


def result(folder: Path) -> Case:
    """All that a repetition must reproduce."""
    (rival,) = (folder / "runs").glob("tune-*/artifact/adapter/adapter_model.safetensors")
    records = {
        name: [{k: v for k, v in r.items() if k not in CLOCK} for r in read_records(folder / f"{name}.jsonl")]
        for name in ("candidates", "evaluations")
    }
    return records | {
        "scores": (folder / "scores.json").read_text(encoding="utf-8"),
        "recipe": (folder / evolve.RECIPE).read_text(encoding="utf-8"),
        "weights": sha256_of(folder / evolve.MODEL / "model.safetensors"),
        "rival": sha256_of(rival),
    }


# what comes out


def test_both_kinds_of_test_are_asked_each_like_the_first_fitness_of_its_kind(scores: Case) -> None:
    assert [entry["kind"] for entry in scores["development"]] == ["reports", "exam", "reports"]
    assert [entry["searched"] + entry["held_out"] for entry in scores["development"]] == [6, 4, 6]
    (exam,), (reports,) = scores["tests"], scores["report_tests"]
    assert (exam["metric"], exam["format"], exam["asked"]) == ("likelihood", "alpaca-ja", 30)
    assert (reports["format"], reports["n"]) == ("vicuna", 5)
    systems = ["winner", "uniform", "parent vlm-en", "parent base", "base"]
    assert [one["system"] for one in exam["systems"]] == systems
    assert {one["system"] for one in reports["systems"]} == {*systems, "tuned pairs"}
    for one in scores["baselines"]:
        first, second, third = one["means"]
        assert one["all"] == pytest.approx((first + 2 * second + third) / 4)


def test_a_parent_called_base_is_not_the_base(tiny_xray_lab: Path, data: dict[str, Path], scores: Case) -> None:
    assert [(one["system"], one["label"]) for one in scores["baselines"][:3]] == [
        ("base", "base"),
        ("parent vlm-en", "vlm-en"),
        ("parent base", "base"),
    ]
    ready = evolution(spec(tiny_xray_lab, data))
    live = Live(ready, None, progress=lambda *_: None)
    for label, folder in ((None, "base"), ("base", "report-ja")):
        placed = ready.only(label)
        assert placed is not None
        live.become(ready.merge_plan(placed))
        one = "layers.0.self_attn.q_proj.weight"
        own = dict(load_weights(str(tiny_xray_lab / folder), **FULL).named_parameters())[f"model.{one}"]
        found = dict(live._weights.named_parameters())[f"model.language_model.{one}"]
        assert (found - own).abs().max() < 1e-6


def test_a_reply_on_record_is_not_made_again_for_another_metric(tiny_xray_lab: Path, data: dict[str, Path]) -> None:
    """Else a reply of a continued evaluation would have other neighbours in its batch than an unbroken one's."""
    ready = evolution(spec(tiny_xray_lab, data))
    items = [i for i in ready.fitness.everything if i.measure.reports]
    assert len(items) == 2 * len({i.prompt for i in items}) == 12
    model = Live(ready, None, progress=lambda *_: None).become(ready.plan)
    whole = [j for batch in ask(model, items, batch_size=3, max_new_tokens=8) for j in batch]
    asked: list[Any] = []

    class Counted:
        def generate(self, prompts: Any, params: Any) -> Any:
            asked.extend(prompts)
            return model.generate(prompts, params)

    for stood in (3, 6, 9):
        asked.clear()
        tail = ask(Counted(), items, batch_size=3, max_new_tokens=8, done=whole[:stood])  # type: ignore[arg-type]
        assert [j for batch in tail for j in batch] == whole[stood:]
        assert not {*asked} & {i.prompt for i in items[:stood]} and len(asked) == len({*asked})


def test_nothing_of_a_test_is_asked_before_the_winner_is_written(finished: Any) -> None:
    whats = [record["what"] for record in read_records(finished.folder / "evaluations.jsonl")]
    first = next(place for place, what in enumerate(whats) if what.startswith("test "))
    assert {*whats[:first]} == {"search", "held-out"} and {*whats[first:]} == {"test pocket", "test phantoms"}
    untouched = {r["id"] for r in read_records(finished.folder / "items.jsonl") if r["what"] == "test phantoms"}
    searched = {r["id"] for r in read_records(finished.folder / "items.jsonl") if not r["what"].startswith("test ")}
    assert len(untouched) == 5 and not untouched & searched


def test_killed_it_is_continued_to_the_same_numbers(
    finished: Any, tiny_xray_lab: Path, data: dict[str, Path], tmp_path: Path, command: Callable[..., Any]
) -> None:
    """Killed among the baselines, in the search, in the rival's tuning, in the last evaluation."""
    file, runs = tmp_path / "evolve.yaml", tmp_path / "runs"
    file.write_text(to_yaml(spec(tiny_xray_lab, data)), encoding="utf-8")
    folder = runs / finished.folder.name
    who = [record["who"] for record in read_records(finished.folder / "evaluations.jsonl")]
    for name, lines in (("evaluations", 4), ("candidates", 2)):
        command("evolve", file, "--runs", runs).kill_at(folder / f"{name}.jsonl", lines)
    command("evolve", file, "--runs", runs).kill_at(folder, 3, pattern="runs/tune-*/steps.jsonl")
    command("evolve", file, "--runs", runs).kill_at(folder / "evaluations.jsonl", who.index("tuned pairs") + 1)
    assert json.loads((folder / "status.json").read_text(encoding="utf-8"))["state"] == "running"
    assert str(folder) in command("evolve", file, "--runs", runs).finish()
    assert result(folder) == result(finished.folder)


def test_another_process_joins(
    tiny_xray_lab: Path, data: dict[str, Path], tmp_path: Path, command: Callable[..., Any]
) -> None:
    trials = 30
    search = {"trials": trials, "finalists": 1, "random_baseline": False, "prune": False}
    search["storage"] = f"sqlite:///{tmp_path / 'together.db'}"
    asked = spec(tiny_xray_lab, data, search=search, rivals=[], test=[])
    file, runs = tmp_path / "evolve.yaml", tmp_path / "runs"
    file.write_text(to_yaml(asked), encoding="utf-8")
    first = command("evolve", file, "--runs", runs)
    joined = json.loads(command("evolve", file, "--runs", runs, "--join", "--json").finish())
    first.finish()
    (folder,) = [path for path in runs.iterdir() if "-join-" not in path.name]
    lines = list(read_records(folder / "candidates.jsonl"))
    assert [line["number"] for line in lines] == list(range(trials))
    assert 0 < joined["result"]["joined"]["search"] < trials
    assert {line["state"] for line in lines} == {"complete"}


def test_an_exam_is_searched_with_a_seeing_model_and_radiographs_are_tested(
    tiny_xray_lab: Path, data: dict[str, Path], tmp_path: Path
) -> None:
    exam = {"exam": {"path": str(data["dev"])}, "metric": "probability", "limit": 4}
    search = {"trials": 2, "finalists": 1, "held_out": 0, "random_baseline": False}
    asked = spec(tiny_xray_lab, data, fitness=[exam], rivals=[], test=[], search=search)
    found = json.loads((ikyoku.evolve(asked, root=tmp_path).folder / "scores.json").read_text(encoding="utf-8"))
    assert (found["report_tests"][0]["n"], found["report_tests"][0]["format"]) == (5, "alpaca-ja")
    alone = spec(tiny_xray_lab, data, fitness=[exam], rivals=[], test_reports=[], search=search)
    found = json.loads((ikyoku.evolve(alone, root=tmp_path).folder / "scores.json").read_text(encoding="utf-8"))
    assert found["report_tests"] == [] and len(found["tests"][0]["systems"]) == 5


def test_the_parents_are_read_once(
    tiny_xray_lab: Path, data: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model with eyes is asked first, and nothing of its own is loaded between those that need the parents."""
    made: list[Live] = []

    class Counted(Live):
        def __init__(self, *args: Any, **options: Any) -> None:
            made.append(self)
            super().__init__(*args, **options)

    monkeypatch.setattr("ikyoku.jobs.systems.Live", Counted)
    search = {"trials": 1, "finalists": 1, "held_out": 0, "random_baseline": False}
    done = ikyoku.evolve(spec(tiny_xray_lab, data, rivals=[], test=[], search=search), root=tmp_path)
    assert len(made) == 1
    who = list(dict.fromkeys(record["who"] for record in read_records(done.folder / "evaluations.jsonl")))
    assert who[:4] == ["parent vlm-en", "base", "parent base", "uniform"]


@pytest.mark.parametrize(
    "method",
    [
        *("linear", "task_arithmetic", "ties", "dare_linear", "dare_ties", "breadcrumbs", "breadcrumbs_ties"),
        *("della", "della_linear", "jradievo"),
    ],
)
def test_one_model_alone_in_the_place_of_the_merged_one(
    tiny_xray_lab: Path, data: dict[str, Path], method: str
) -> None:
    """Whatever the method thins and elects, and however finely it is searched."""
    import torch

    lab = tiny_xray_lab
    space = {"layer_groups": 2, "module_kinds": True, "weight": [0.2, 0.5], "density": [0.1, 0.6], "scale": [0.5, 0.9]}
    parents = [{"path": str(lab / name), "label": name} for name in ("vlm-en", "report-ja", "medical")]
    asked = spec(lab, data, method=method, space=space, parents=parents)
    ready = evolution(asked)
    live = Live(ready, None, progress=lambda *_: None)
    for who in ("report-ja", "medical", None):
        placed = ready.only(who)
        if who is None and method == "linear":
            assert placed is None, "the base takes no part in a mean of the parents"
            continue
        assert placed is not None
        live.become(ready.merge_plan(placed))
        found = dict(live._weights.named_parameters())
        for name, tensor in load_weights(str(lab / (who or "base")), **FULL).named_parameters():
            twin = name if name in found else f"model.language_model.{name.removeprefix('model.')}"
            torch.testing.assert_close(found[twin], tensor, rtol=0, atol=1e-6)


# what is refused


def refused(asked: Callable[[], EvolveSpec], folder: Path) -> str:
    """What is said, and that nothing is left behind."""
    with pytest.raises(IkyokuError) as error:
        ikyoku.evolve(asked(), root=folder / "runs")
    assert not (folder / "runs").exists(), "a run starts on good input"
    return str(error.value)


def test_what_cannot_see_is_refused_before_anything_is_loaded(
    tiny_xray_lab: Path, data: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = tiny_xray_lab
    monkeypatch.setattr("ikyoku.jobs.systems.load_weights", lambda *_, **__: pytest.fail("weights are loaded"))
    for name in ("base", "report-ja"):
        told = refused(lambda name=name: spec(lab, data, into=str(lab / name)), tmp_path)  # type: ignore[misc]
        assert told.startswith(f"into: {lab / name} has no vision tower, and radiographs are asked.")
    texts = [{"path": str(lab / "report-ja")}]
    assert "has no vision tower" in refused(lambda: spec(lab, data, into=None, parents=texts), tmp_path)
    bare = shutil.copytree(lab / "vlm-en", tmp_path / "bare", ignore=shutil.ignore_patterns("*processor_config.json"))
    seeing = [{"path": str(bare), "label": "vlm-en"}, {"path": str(lab / "report-ja")}]
    told = refused(lambda: spec(lab, data, into=str(bare), parents=seeing), tmp_path)
    assert told.startswith(f"{bare}: says nowhere how pictures are made ready for it") and "huggingface.co" not in told


def test_a_model_that_has_no_room_for_a_reply_is_refused(
    tiny_xray_lab: Path, data: dict[str, Path], tmp_path: Path
) -> None:
    """Else every reply would be empty, and every score nothing."""
    asked = "所見を書いてください。" * 2000
    long = [{"reports": {"path": str(data["mine"])}, "format": "vicuna", "instruction": asked}]
    told = refused(lambda: spec(tiny_xray_lab, data, fitness=long, rivals=[]), tmp_path)
    assert re.search(r"vlm-en: reads \d+ tokens, and a picture with its instruction takes \d+: no room is left", told)


def test_a_rival_that_could_not_be_tuned_is_refused_before_the_search(
    tiny_xray_lab: Path, data: dict[str, Path], tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in data["mine"].read_text(encoding="utf-8").splitlines()]
    rows[-1]["findings"] = "胸水を認める。" * 1500
    long = data["mine"].with_name("long.jsonl")
    long.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    texts = tmp_path / "texts.jsonl"
    texts.write_text('{"instruction": "a", "input": "", "output": "b"}\n', encoding="utf-8")
    fine = {"label": "a", "data": str(data["mine"])}
    for rivals, told in (
        ([fine, {"label": "b", "data": str(long)}], r"rivals\.1 \(b\): .*longer than max_length 4096"),
        ([fine | {"micro_batch_size": 3}], r"rivals\.0 \(a\): micro_batch_size: 3 does not divide batch_size 8"),
        ([{"label": "a", "data": str(tmp_path / "none.jsonl")}], r"none\.jsonl"),
        ([{"label": "a", "data": str(texts)}], r"texts\.jsonl, line 1: no 'id'"),
    ):
        found = refused(lambda rivals=rivals: spec(tiny_xray_lab, data, rivals=rivals), tmp_path)  # type: ignore[misc]
        assert re.search(told, found), found
    with pytest.raises(SpecError, match="rivals: are compared on test_reports, and there are none"):
        spec(tiny_xray_lab, data, test_reports=[])


def test_a_rival_that_brings_its_own_code_is_told_by_the_dry_run(
    tiny_xray_lab: Path, data: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ikyoku.jobs.lessons.has_own_code", lambda _: True)
    with pytest.raises(
        SpecError, match=r"rivals\.0 \(pairs\): .*code of their own cannot be tuned here.*leave the rival"
    ):
        evolve.dry_run(spec(tiny_xray_lab, data))


def test_a_rival_is_asked_as_it_was_tuned(tiny_xray_lab: Path, data: dict[str, Path]) -> None:
    ready = evolution(spec(tiny_xray_lab, data))
    made = tuning(ready, ready.spec.rivals[0])
    assert (made.format, made.model.path, made.max_length) == ("vicuna", ready.into, 4096)
    assert ready.report_finals[0][0].measure.form.name == made.format


def test_an_instruction_holds_no_mark_of_a_picture(tiny_xray_lab: Path, data: dict[str, Path]) -> None:
    for instruction, told in (("<image>の所見を。", "stands for the picture"), ("", "at least 1 character")):
        fitness = [{"reports": {"path": str(data["mine"])}, "format": "vicuna", "instruction": instruction}]
        with pytest.raises(ValueError, match=told):
            spec(tiny_xray_lab, data, fitness=fitness)


def test_radiographs_that_cannot_be_asked_are_named(tiny_xray_lab: Path, data: dict[str, Path], tmp_path: Path) -> None:
    rows = [json.loads(line) for line in data["mine"].read_text(encoding="utf-8").splitlines()]
    (tmp_path / "folder.png").mkdir()
    for last, told in (
        ({"images": ["nowhere.png"]}, "line 6: there is no image file"),
        ({"images": [str(tmp_path / "folder.png")]}, "line 6: there is no image file"),
    ):
        path = data["mine"].with_name("broken.jsonl")
        path.write_text("".join(json.dumps(row) + "\n" for row in [*rows[:-1], rows[-1] | last]), encoding="utf-8")
        fitness = [{"reports": {"path": str(path)}, "format": "vicuna"}]
        assert told in refused(lambda fitness=fitness: spec(tiny_xray_lab, data, fitness=fitness), tmp_path)  # type: ignore[misc]
    empty = data["mine"].with_name("empty.jsonl")
    empty.write_text("", encoding="utf-8")
    fitness = [{"reports": {"path": str(empty)}}]
    assert "the file is empty" in refused(lambda: spec(tiny_xray_lab, data, fitness=fitness), tmp_path)
    most = {"trials": 1, "held_out": 0.99}
    assert "leaves no question to search on" in refused(lambda: spec(tiny_xray_lab, data, search=most), tmp_path)


def test_a_reference_of_ten_thousand_characters_is_compared(
    tiny_xray_lab: Path, data: dict[str, Path], tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in data["mine"].read_text(encoding="utf-8").splitlines()][:2]
    rows[0]["findings"] = "ＣＴＲ５８％、右胸水を認める。" * 700
    path = data["mine"].with_name("much.jsonl")
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    search = {"trials": 1, "held_out": 0, "random_baseline": False}
    fitness = [{"reports": {"path": str(path)}, "format": "vicuna"}]
    asked = spec(tiny_xray_lab, data, fitness=fitness, search=search, rivals=[], test=[])
    assert ikyoku.evolve(asked, root=tmp_path).result["candidates"] == 1


def test_a_model_without_its_own_code_allowed_is_refused(tmp_path: Path) -> None:
    from ikyoku.models.vision import check_sight

    (tmp_path / "config.json").write_text('{"model_type": "bunny-x", "auto_map": {"a": "b"}, "mm_vision_tower": "x"}')
    with pytest.raises(ModelError, match="set trust_remote_code: true"):
        check_sight(str(tmp_path), trust_remote_code=False)
    check_sight(str(tmp_path), trust_remote_code=True)
