"""`ikyoku evolve` on radiographs, end to end on the tiny X-ray lab: what is refused, what is asked, what comes out."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

import ikyoku
from ikyoku.datasets.radiographs import read_radiographs, write_radiographs
from ikyoku.errors import DataError, SpecError
from ikyoku.jobs import evolve
from ikyoku.jobs.evolution import evolution
from ikyoku.jobs.fitness import ask
from ikyoku.jobs.systems import Live
from ikyoku.metrics.reports import METRICS
from ikyoku.models.features import FeatureCache
from ikyoku.models.loading import load_weights
from ikyoku.runs import read_records
from ikyoku.specfile import load
from ikyoku.specs import EvolveSpec

EXAMPLE = Path(__file__).parents[2] / "examples" / "pocket-jradievo.yaml"
TRIALS = 3
PARENTS = ("vlm-en", "report-ja", "medical")
FULL = {"dtype": "auto", "quantization": "none", "trust_remote_code": False}


@pytest.fixture(scope="module")
def pairs(tiny_xray_lab: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Eight phantoms to search on, six to test on."""
    folder = tmp_path_factory.mktemp("pairs")
    for name, source, count in (("mine", "pairs-50", 8), ("untouched", "test-200", 6)):
        samples = read_radiographs(tiny_xray_lab / f"{source}.jsonl").samples[:count]
        for sample in samples:
            (image,) = sample.images
            (folder / "images").mkdir(exist_ok=True)
            shutil.copy(image, folder / "images" / image.name)
        moved = [type(s)(s.id, (folder / "images" / s.images[0].name,), s.findings, "", s.patient) for s in samples]
        write_radiographs(folder / f"{name}.jsonl", moved)
    return {"mine": folder / "mine.jsonl", "untouched": folder / "untouched.jsonl"}


def spec(lab: Path, pairs: dict[str, Path], /, **changes: Any) -> EvolveSpec:
    """The pocket study's own file on the tiny lab, with few candidates and few radiographs."""
    overrides = [
        f"base={lab / 'base'}",
        *(f"parents.{n}.path={lab / name}" for n, name in enumerate(PARENTS)),
        f"into={lab / 'vlm-en'}",
        f"fitness.0.reports.path={pairs['mine']}",
        f"test_reports.0.path={pairs['untouched']}",
        "rivals=[]",
        f"search.trials={TRIALS}",
        "search.finalists=1",
        "max_new_tokens=12",
        "batch_size=4",
        *(f"{key}={json.dumps(value)}" for key, value in changes.items()),
    ]
    return load(EvolveSpec, EXAMPLE, overrides)


@pytest.fixture(scope="module")
def finished(tiny_xray_lab: Path, pairs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Any:
    rivals = [{"label": "8 pairs", "data": str(pairs["mine"]), "steps": 2, "lora": {"rank": 2}}]
    return ikyoku.evolve(spec(tiny_xray_lab, pairs, rivals=rivals), root=tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def scores(finished: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((finished.folder / "scores.json").read_text(encoding="utf-8"))
    return found


# what comes out


def test_everything_is_compared_on_the_untouched_radiographs(scores: dict[str, Any]) -> None:
    (test,) = scores["report_tests"]
    systems = [one["system"] for one in test["systems"]]
    parents = [f"parent {name}" for name in PARENTS]
    assert systems[:4] == ["winner", "tuned 8 pairs", "random", "uniform"]
    assert sorted(systems[4:]) == sorted(["base", *parents]) and systems[-1] == "base"
    assert all(one["n"] == test["n"] == 6 and set(one["metrics"]) == set(METRICS) for one in test["systems"])
    assert {(pair["b"], pair["metric"]) for pair in test["pairs"]} == {
        (system, metric) for system in systems[1:] for metric in ("rouge_l", "finding_f1", "dangerous", "japanese")
    }
    assert all(pair["p_holm"] >= pair["p_value"] for pair in test["pairs"])
    for pair in test["pairs"]:  # the winner's mean less the other's
        values = {one["system"]: one["metrics"][pair["metric"]]["value"] for one in test["systems"]}
        assert pair["difference"] == pytest.approx(values["winner"] - values[pair["b"]])


def test_every_reply_is_on_record(finished: Any, scores: dict[str, Any], pairs: dict[str, Path]) -> None:
    asked = [r for r in read_records(finished.folder / "evaluations.jsonl") if r["what"] == "test 200 phantoms"]
    by_system: dict[str, list[str]] = {}
    for record in asked:
        by_system.setdefault(record["who"], []).extend(record["texts"])
    assert {key: len(texts) for key, texts in by_system.items()} == {
        one["system"]: 6 for one in scores["report_tests"][0]["systems"]
    }
    items = [r for r in read_records(finished.folder / "items.jsonl") if r["what"] == "test 200 phantoms"]
    assert [r["id"] for r in items] == [s.id for s in read_radiographs(pairs["untouched"]).samples]
    for example in scores["report_tests"][0]["examples"]:
        assert example["replies"] == {key: texts[example["place"]] for key, texts in by_system.items()}


def test_the_page_shows_images_and_loads_nothing(finished: Any) -> None:
    page = (finished.folder / "summary.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 3
    assert "8 pairs" in page and "Untouched radiographs" in page
    assert "://" not in page.replace("http://www.w3.org", "")
    assert finished.result["report_tests"]["200 phantoms"].keys() >= {"winner", "base", "tuned 8 pairs"}


def test_a_second_call_asks_nothing(finished: Any, tiny_xray_lab: Path, pairs: dict[str, Path]) -> None:
    rivals = [{"label": "8 pairs", "data": str(pairs["mine"]), "steps": 2, "lora": {"rank": 2}}]
    again = ikyoku.evolve(spec(tiny_xray_lab, pairs, rivals=rivals), root=finished.folder.parent)
    assert again.before and again.result == finished.result


def test_the_winner_written_is_the_winner_searched(finished: Any, scores: dict[str, Any]) -> None:
    import torch

    ready = evolution(load(EvolveSpec, finished.folder / "spec.yaml"))
    live = Live(ready, FeatureCache(), progress=lambda *_: None)
    live.become(ready.merge_plan(ready.recipe(scores["winner"]["values"])))
    written = load_weights(str(finished.folder / evolve.MODEL), **FULL)
    pairs = list(zip(live._weights.named_parameters(), written.named_parameters(), strict=True))
    assert [a for (a, _), _ in pairs] == [b for _, (b, _) in pairs]
    assert all(torch.equal(a, b) for (_, a), (_, b) in pairs)


# how a search looks


def test_an_image_goes_through_the_tower_once_in_a_search(tiny_xray_lab: Path, pairs: dict[str, Path]) -> None:
    ready = evolution(spec(tiny_xray_lab, pairs))
    cache = FeatureCache()
    live = Live(ready, cache, progress=lambda *_: None)
    for number in range(3):
        values = {p.name: p.low + (number + 1) / 5 * (p.high - p.low) for p in ready.space}
        model = live.become(ready.merge_plan(ready.recipe(values)))
        list(ask(model, ready.fitness.search, batch_size=4, max_new_tokens=4))
    assert len(cache) == cache.misses == 8
    assert cache.hits == 2 * 8


def test_candidates_write_what_the_same_merge_without_a_cache_writes(
    tiny_xray_lab: Path, pairs: dict[str, Path]
) -> None:
    """One image at a time through the tower every time, against batches of kept features."""
    ready = evolution(spec(tiny_xray_lab, pairs))
    found = []
    for features, size in ((FeatureCache(), 4), (None, 1)):
        live = Live(ready, features, progress=lambda *_: None)
        model = live.become(ready.plan)
        found.append([j for b in ask(model, ready.fitness.search, batch_size=size, max_new_tokens=12) for j in b])
    assert found[0] == found[1] and any(j.text for j in found[0])


def test_a_prompt_under_two_metrics_is_answered_once(
    tiny_xray_lab: Path, pairs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    both = [{"reports": {"path": str(pairs["mine"])}, "metric": m, "format": "vicuna"} for m in ("rouge_l", "chrf")]
    ready = evolution(spec(tiny_xray_lab, pairs, fitness=both))
    assert len(ready.fitness.search) == 16
    model = Live(ready, FeatureCache(), progress=lambda *_: None).become(ready.plan)
    asked: list[Any] = []
    generate = type(model).generate

    def counted(self: Any, prompts: Any, params: Any) -> Any:
        asked.extend(prompts)
        return generate(self, prompts, params)

    monkeypatch.setattr(type(model), "generate", counted)
    list(ask(model, ready.fitness.search, batch_size=4, max_new_tokens=4))
    assert len(asked) == len(set(asked)) == 8


def test_a_parent_without_eyes_is_asked_in_the_place_of_the_merged_model(
    tiny_xray_lab: Path, pairs: dict[str, Path]
) -> None:
    import torch

    ready = evolution(spec(tiny_xray_lab, pairs))
    live = Live(ready, None, progress=lambda *_: None)
    placed = ready.only("report-ja")
    assert placed is not None
    live.become(ready.merge_plan(placed))
    alone = dict(load_weights(str(tiny_xray_lab / "report-ja"), **FULL).named_parameters())
    found = dict(live._weights.named_parameters())
    seeing = dict(load_weights(str(tiny_xray_lab / "vlm-en"), **FULL).named_parameters())
    compared = 0
    for name, tensor in found.items():
        twin = name.replace("model.language_model.", "model.")
        if twin in alone:
            torch.testing.assert_close(tensor, alone[twin], rtol=0, atol=1e-6)
            compared += 1
        else:
            assert torch.equal(tensor, seeing[name]), f"{name}: tower and projector stay"
    assert compared == len(alone)
    bare = ready.only(None)
    assert bare is not None
    live.become(ready.merge_plan(bare))
    base = dict(load_weights(str(tiny_xray_lab / "base"), **FULL).named_parameters())
    assert all(
        torch.equal(found[name], base[name.replace("model.language_model.", "model.")])
        for name in found
        if name.replace("model.language_model.", "model.") in base
    )


def test_two_objectives(tiny_xray_lab: Path, pairs: dict[str, Path], tmp_path: Path) -> None:
    both = [
        {"reports": {"path": str(pairs["mine"])}, "metric": m, "format": "vicuna"} for m in ("rouge_l", "finding_f1")
    ]
    search = {"trials": 3, "sampler": "nsga2", "random_baseline": False, "held_out": 0.25, "finalists": 1}
    done = ikyoku.evolve(spec(tiny_xray_lab, pairs, fitness=both, search=search, test_reports=[]), root=tmp_path)
    found = json.loads((done.folder / "scores.json").read_text(encoding="utf-8"))
    assert found["objectives"] == ["mine (rouge_l, vicuna)", "mine (finding_f1, vicuna)"]
    assert [(d["kind"], d["searched"], d["held_out"]) for d in found["development"]] == [("reports", 6, 2)] * 2
    lines = list(read_records(done.folder / "candidates.jsonl"))
    assert all(len(line["fitness"]) == 2 and len(line["scores"]) == 12 for line in lines)


# what is refused


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def changed(pairs: dict[str, Path], name: str, values: list[dict[str, Any]]) -> Path:
    path = pairs["mine"].parent / f"{name}.jsonl"
    path.write_text("".join(json.dumps(v, ensure_ascii=False) + "\n" for v in values), encoding="utf-8")
    return path


def test_no_patient_and_no_image_of_a_test_is_searched_or_learnt_on(
    tiny_xray_lab: Path, pairs: dict[str, Path]
) -> None:
    mine, untouched = rows(pairs["mine"]), rows(pairs["untouched"])
    cases = (
        ("patient", [*mine[:-1], mine[-1] | {"patient": untouched[0]["patient"]}], mine[-1]["id"]),
        ("image", [*mine[:-1], mine[-1] | {"images": untouched[2]["images"]}], mine[-1]["id"]),
    )
    for name, values, told in cases:
        path = changed(pairs, name, values)
        for change in (
            {"fitness": [{"reports": {"path": str(path)}, "format": "vicuna"}]},
            {"rivals": [{"label": "x", "data": str(path)}]},
        ):
            with pytest.raises(DataError, match=rf"1 of 8 radiographs are of a patient or an image.*{told}\."):
                evolution(spec(tiny_xray_lab, pairs, **change))
    same_words = [row | {"findings": untouched[0]["findings"]} for row in mine]
    path = changed(pairs, "words", same_words)
    evolution(spec(tiny_xray_lab, pairs, fitness=[{"reports": {"path": str(path)}, "format": "vicuna"}]))


def test_what_calls_itself_a_test_is_not_searched_on(tiny_xray_lab: Path, pairs: dict[str, Path]) -> None:
    asked = [{"reports": {"path": str(tiny_xray_lab / "test-200.jsonl"), "limit": 3}}]
    with pytest.raises(DataError, match=r"the name 'test-200\.jsonl' says test"):
        evolution(spec(tiny_xray_lab, pairs, fitness=asked))


@pytest.mark.parametrize(
    ("fitness", "told"),
    [
        ({}, "needs exam: or reports:"),
        ({"reports": {"path": "a"}, "exam": {"path": "b"}}, "needs exam: or reports:"),
        ({"reports": {"path": "a"}, "metric": "gestalt"}, "metric gestalt is not one of reports; allowed are rouge_l"),
        ({"exam": {"path": "a"}, "metric": "rouge_l"}, "metric rouge_l is not one of an exam"),
        ({"reports": {"path": "a"}, "shots": 1}, "shots and limit are an exam's"),
        ({"exam": {"path": "a"}, "instruction": "所見を。"}, "instruction goes with reports"),
    ],
)
def test_what_does_not_go_together(
    tiny_xray_lab: Path, pairs: dict[str, Path], fitness: dict[str, Any], told: str
) -> None:
    with pytest.raises(SpecError, match=re.escape(told)):
        spec(tiny_xray_lab, pairs, fitness=[fitness])


def test_a_damaged_image_is_told_before_anything_is_loaded(tiny_xray_lab: Path, pairs: dict[str, Path]) -> None:
    (pairs["mine"].parent / "images" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    path = changed(
        pairs, "broken", [*rows(pairs["mine"])[:-1], rows(pairs["mine"])[-1] | {"images": ["images/broken.png"]}]
    )
    with pytest.raises(DataError, match=r"broken\.png"):
        evolution(spec(tiny_xray_lab, pairs, fitness=[{"reports": {"path": str(path)}}]))


def test_the_dry_run_says_what_would_be_done(tiny_xray_lab: Path, pairs: dict[str, Path]) -> None:
    told = evolve.dry_run(spec(tiny_xray_lab, pairs))
    assert "8 radiographs searched, 0 held out" in told
    assert "test        200 phantoms: 6 radiographs" in told
    assert "USER: <image>\n" in told
    assert "20 of 63 tensors merged by jradievo, 43 kept" in told


EXAMPLES = EXAMPLE.parent


def stand_ins(name: str, lab: Path, pairs: dict[str, Path], folder: Path) -> list[str]:
    """Overrides that put the tiny lab in the place of an example's models and data."""
    asked = load(EvolveSpec, EXAMPLES / name)
    shutil.copytree(lab / "medical", folder / "fourth")
    models = [lab / "vlm-en", lab / "report-ja", lab / "medical", folder / "fourth"]
    found = [f"base={lab / 'base'}", f"into={lab / 'vlm-en'}", "trust_remote_code=false"]
    found += [f"parents.{n}.path={model}" for n, (model, _) in enumerate(zip(models, asked.parents, strict=False))]
    for n in range(len(asked.fitness)):
        found += [f"fitness.{n}.reports.path={pairs['mine']}", f"fitness.{n}.reports.translations=null"]
    found += [f"test_reports.0.path={pairs['untouched']}", "test_reports.0.translations=null"]
    return found + [f"rivals.{n}.data={pairs['mine']}" for n in range(len(asked.rivals))]


def test_the_third_studys_example_runs_dry(tiny_xray_lab: Path, pairs: dict[str, Path], tmp_path: Path) -> None:
    asked = load(EvolveSpec, EXAMPLES / "jradievo.yaml")
    assert (asked.method, asked.search.sampler, asked.search.trials) == ("jradievo", "cmaes", 1000)
    assert (asked.fitness[0].measured, asked.max_new_tokens, asked.dtype) == ("rouge_l", 256, "float16")
    assert asked.fitness[0].reports is not None
    limit = asked.fitness[0].reports.limit or 0
    assert limit - round(asked.search.held_out * limit) == 50, "the study's 50 pairs"
    told = evolve.dry_run(
        load(EvolveSpec, EXAMPLES / "jradievo.yaml", stand_ins("jradievo.yaml", tiny_xray_lab, pairs, tmp_path))
    )
    named = re.findall(r"^parameter +(\S+): (\S+) to (\S+)$", told, re.M)
    assert len(named) == 10 and ("lambda", "0", "2") in named, "the third study's ten"
    assert "6 radiographs searched, 2 held out" in told and "1000 by cmaes and 1000 at random" in told


def test_the_example_of_today_runs_dry(tiny_xray_lab: Path, pairs: dict[str, Path], tmp_path: Path) -> None:
    given = stand_ins("jradievo-2026.yaml", tiny_xray_lab, pairs, tmp_path)
    told = evolve.dry_run(load(EvolveSpec, EXAMPLES / "jradievo-2026.yaml", given))
    assert "finding_f1" in told and "rouge_l" in told and "400 by nsga2" in told
    assert "[user] <image>" in told, "in a chat format the image is part of the user's turn"
