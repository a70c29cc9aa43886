"""`ikyoku tune` on radiographs with findings, end to end on a tiny LLaVA: the report alone is learnt."""

from __future__ import annotations

import json
import runpy
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import ikyoku
from ikyoku.datasets.radiographs import Radiograph, write_radiographs
from ikyoku.errors import DataError, ModelError
from ikyoku.jobs import tune as job
from ikyoku.jobs.lessons import ReportLessons
from ikyoku.models.features import FeatureCache
from ikyoku.models.loading import quiet
from ikyoku.models.vision import VisionModel, open_vision_model
from ikyoku.pictures import read_picture
from ikyoku.prompts import PROMPT_FORMATS, report_prompt
from ikyoku.runs import sha256_of
from ikyoku.specfile import to_yaml
from ikyoku.specs import TuneSpec
from ikyoku.training.examples import MASKED
from ikyoku.types import SamplingParams

folders = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "vision_folders.py")))
chest = runpy.run_path(str(Path(__file__).parents[1] / "drawn_chest.py"))["chest"]
WEIGHTS = "adapter_model.safetensors"
STEPS = 60
SIZE = {"hidden_size": 64, "intermediate_size": 128, "num_key_value_heads": 2}
ASKED = "肺野は。"
REPORTS = ("胸水を認める。", "左野に影、右野大きい。")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with quiet():
        return Path(
            folders.make("llava", tmp_path_factory.mktemp("base") / "tiny-llava", std=0.15, norms=False, **SIZE)
        )


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten radiographs of two kinds, which are told apart by the picture alone."""
    return write_pairs(tmp_path_factory.mktemp("data") / "pairs.jsonl")


def write_pairs(path: Path, count: int = 10) -> Path:
    from PIL import Image

    samples = []
    for i in range(count):
        pixels = chest(96, 80, bits=8, seed=i)
        if i % 2:
            pixels[48:] = 255 - pixels[48:] // 4
        Image.fromarray(pixels).save(path.parent / f"{i}.png")
        samples.append(Radiograph(f"r{i}", (path.parent / f"{i}.png",), REPORTS[i % 2], impression="影"))
    write_radiographs(path, samples)
    return path


def spec(base: Path, data: Path, **changes: Any) -> TuneSpec:
    """Two and a half steps an epoch; dropout, accumulation, points to continue from in the middle of epochs."""
    values: dict[str, Any] = {
        "model": {"path": str(base)},
        "data": str(data),
        "format": "vicuna",
        "instruction": ASKED,
        "lora": {"rank": 16, "alpha": 32, "dropout": 0.1, "target_modules": "all-linear"},
        "learning_rate": 1e-2,
        "batch_size": 4,
        "micro_batch_size": 2,
        "steps": STEPS,
        "keep_steps": [20],
        "checkpoint_every": 7,
    }
    return TuneSpec.model_validate(values | changes)


@pytest.fixture(scope="module")
def finished(base: Path, pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> ikyoku.jobs.Finished:
    return ikyoku.tune(spec(base, pairs), root=tmp_path_factory.mktemp("runs"))


def bits(folder: Path) -> dict[str, str]:
    found = [*sorted((folder / "artifact").glob(f"*/{WEIGHTS}")), folder / "steps.jsonl"]
    assert len(found) == 3
    return {str(path.relative_to(folder)): sha256_of(path) for path in found}


def records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "steps.jsonl").read_text(encoding="utf-8").splitlines()]


def replies(model: Any, data: Path, count: int = 10) -> list[str]:
    prompts = [
        report_prompt([read_picture(data.parent / f"{i}.png").picture], PROMPT_FORMATS["vicuna"], instruction=ASKED)
        for i in range(count)
    ]
    return [each.text.strip() for each in model.generate(prompts, SamplingParams(max_new_tokens=24))]


def opened(base: Path, adapter: Path | None = None) -> VisionModel:
    model = open_vision_model(str(base), name="m", adapter=str(adapter) if adapter else None, features=FeatureCache())
    assert isinstance(model, VisionModel)
    return model


def test_the_loss_falls_and_the_picture_decides_what_is_written(
    finished: ikyoku.jobs.Finished, base: Path, pairs: Path
) -> None:
    losses = [s["loss"] for s in records(finished.folder)]
    assert len(losses) == STEPS and sum(losses[-6:]) < 0.3 * sum(losses[:6])
    wanted = [REPORTS[i % 2] for i in range(10)]
    assert not set(replies(opened(base), pairs)) & set(wanted)
    assert replies(opened(base, finished.folder / "artifact" / "adapter"), pairs) == wanted


def test_only_the_language_model_has_an_adapter(finished: ikyoku.jobs.Finished) -> None:
    from safetensors.torch import load_file

    names = load_file(finished.folder / "artifact" / "adapter" / WEIGHTS)
    at = "base_model.model.model.language_model.layers."
    assert len(names) == 2 * 7 * 2 and all(name.startswith(at) for name in names)
    assert sum(t.numel() for t in names.values()) == finished.result["trained_parameters"]
    config = json.loads((finished.folder / "artifact" / "adapter" / "adapter_config.json").read_text(encoding="utf-8"))
    assert "vision" not in str(config["target_modules"])


def test_the_adapter_merges_into_the_model(
    finished: ikyoku.jobs.Finished, base: Path, pairs: Path, tmp_path: Path
) -> None:
    adapter = finished.folder / "artifact" / "adapter"
    recipe = {"merge_method": "passthrough", "models": [{"model": f"{base}+{adapter}"}], "dtype": "float32"}
    done = ikyoku.merge(ikyoku.MergeSpec.model_validate({"recipe": recipe}), root=tmp_path)
    merged = done.folder / "artifact" / "model"
    assert replies(opened(merged), pairs) == replies(opened(base, adapter), pairs)


@pytest.mark.parametrize("kind", tuple(folders.TOKENS))
@pytest.mark.parametrize("form", ["vicuna", "alpaca-ja", "chat"])
def test_only_the_report_and_its_end_are_learnt(tmp_path: Path, pairs: Path, kind: str, form: str) -> None:
    from ikyoku.datasets.radiographs import read_radiographs

    with quiet():
        folder = folders.make(kind, tmp_path / "m")
    model, samples = opened(folder), read_radiographs(pairs).samples
    asked = ReportLessons(samples, spec(folder, pairs, format=form))
    examples = asked.examples(model.eyes.processor, lambda picture: model.eyes.see(picture).shown)
    tokenizer = model.eyes.processor.tokenizer
    for example, sample in zip(examples, samples, strict=True):
        picture = read_picture(sample.images[0]).picture
        assert example.pictures == (picture.sha256,)
        prompt = report_prompt([picture], PROMPT_FORMATS[form], instruction=ASKED)
        row = model._row(prompt)
        assert list(example.ids[: len(row.ids)]) == row.ids, "what will be asked is what is trained on"
        assert set(example.labels[: len(row.ids)]) == {MASKED}
        learnt = [label for label in example.labels if label != MASKED]
        end = "\n" if form == "chat" else ""  # the template's own, behind the end of the turn
        lead = PROMPT_FORMATS[form].lead
        assert tokenizer.decode(learnt) == f"{lead}{sample.findings}</s>{end}"
        assert list(example.ids[len(row.ids) :]) == learnt, "all that follows the prompt"


@pytest.mark.parametrize("kind", tuple(folders.TOKENS))
def test_the_first_loss_is_that_of_the_reports_alone(tmp_path: Path, pairs: Path, kind: str) -> None:
    """The mean cross-entropy of the reports' tokens given picture and prompt, written out with transformers' model."""
    import torch

    with quiet():
        folder = folders.make(kind, tmp_path / "m")
    asked = spec(folder, write_pairs(tmp_path / "four.jsonl", 4), steps=1, keep_steps=[], lora={"rank": 2})
    done = ikyoku.tune(asked, root=tmp_path / "runs")
    model = opened(folder)
    total = count = 0.0
    for i in range(4):
        picture = read_picture(tmp_path / f"{i}.png").picture
        row = model._row(report_prompt([picture], PROMPT_FORMATS["vicuna"], instruction=ASKED))
        answer = [*model._tokenizer(f" {REPORTS[i % 2]}", add_special_tokens=False)["input_ids"], 2]
        ids = torch.tensor([row.ids + answer])
        with torch.no_grad():
            out = model._model(input_ids=ids, attention_mask=torch.ones_like(ids), **model._beside([row], ids)).logits
        predicted = torch.log_softmax(out[0].double(), -1)
        total -= sum(float(predicted[len(row.ids) - 1 + n, token]) for n, token in enumerate(answer))
        count += len(answer)
    assert done.result["first_loss"] == pytest.approx(total / count, rel=1e-4)


def test_every_picture_goes_through_the_tower_once(
    base: Path, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import LlavaModel

    seen = []
    own = LlavaModel.get_image_features

    def counted(self: Any, *args: Any, **options: Any) -> Any:
        seen.append(1)
        return own(self, *args, **options)

    counted.__signature__ = __import__("inspect").signature(own)  # type: ignore[attr-defined]
    monkeypatch.setattr(LlavaModel, "get_image_features", counted)
    ikyoku.tune(spec(base, pairs, steps=12, keep_steps=[]), root=tmp_path)
    assert len(seen) == 10, "ten pictures in nearly five epochs"


def test_without_room_for_features_the_bits_are_the_same(
    finished: ikyoku.jobs.Finished, base: Path, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FeatureCache.__init__, "__kwdefaults__", {"limit": 0})
    assert bits(ikyoku.tune(spec(base, pairs), root=tmp_path).folder) == bits(finished.folder)


@pytest.mark.parametrize("lines", [[9], [3, 16, 40]])
def test_killed_it_is_continued_to_the_same_bits(
    finished: ikyoku.jobs.Finished,
    base: Path,
    pairs: Path,
    tmp_path: Path,
    command: Callable[..., Any],
    lines: list[int],
) -> None:
    file, runs = tmp_path / "tune.yaml", tmp_path / "runs"
    file.write_text(to_yaml(spec(base, pairs)), encoding="utf-8")
    folder = runs / finished.folder.name
    for count in lines:
        command("tune", file, "--runs", runs).kill_at(folder / "steps.jsonl", count)
    command("tune", file, "--runs", runs).finish()
    assert bits(folder) == bits(finished.folder)


def test_other_images_are_not_mixed_into_a_begun_run(
    base: Path, tmp_path: Path, command: Callable[..., Any], finished: ikyoku.jobs.Finished
) -> None:
    data = write_pairs(tmp_path / "pairs.jsonl")
    asked = spec(base, data)
    file, runs = tmp_path / "tune.yaml", tmp_path / "runs"
    file.write_text(to_yaml(asked), encoding="utf-8")
    folder = runs / f"tune-run-{ikyoku.runs.spec_hash(asked.model_dump(mode='json'))}"
    command("tune", file, "--runs", runs).kill_at(folder / "steps.jsonl", 2)
    shutil.copy(tmp_path / "3.png", tmp_path / "4.png")
    again = command("tune", file, "--runs", runs)
    again.finish(2)
    assert "are not those that this run began with" in again.err.read_text(encoding="utf-8")


def test_a_dry_run_shows_the_first_sample_and_counts_its_picture(base: Path, pairs: Path, tmp_path: Path) -> None:
    told = job.dry_run(spec(base, pairs))
    assert "10 radiographs with findings" in told
    assert f"<image>×4\n{ASKED}\n" in told and " 4 4 4 4 " in told, "the tokens of the picture, counted"
    assert f"⟦ {REPORTS[0]}</s>⟧" in told
    elsewhere = job.dry_run(spec(Path("example/none"), pairs))
    assert "The model is not on this machine" in elsewhere
    assert f"USER: <image>\n{ASKED}\nASSISTANT:⟦ {REPORTS[0]}⟧" in elsewhere


def test_what_does_not_go_together_is_refused(
    base: Path, pairs: Path, tmp_path: Path, tiny_bases: dict[str, Path]
) -> None:
    with pytest.raises(ModelError, match=r"a language model without a vision tower, and .* holds radiographs"):
        ikyoku.tune(spec(tiny_bases["tiny-ja"], pairs), root=tmp_path / "runs")
    with pytest.raises(DataError, match=r"longer than max_length 20 \(r\d: \d+ tokens"):
        ikyoku.tune(spec(base, pairs, max_length=20), root=tmp_path / "runs")
    broken = write_pairs(tmp_path / "pairs.jsonl")
    (tmp_path / "7.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"7\.png: it is of no known kind"):
        ikyoku.tune(spec(base, broken), root=tmp_path / "runs")
    (tmp_path / "7.png").unlink()
    with pytest.raises(DataError, match=r"there is no image file .*7\.png"):
        ikyoku.tune(spec(base, broken), root=tmp_path / "runs")


def test_a_vision_model_is_tuned_on_texts_too(base: Path, tmp_path: Path) -> None:
    data = tmp_path / "pairs.jsonl"
    lines = [json.dumps({"instruction": "肺野は", "output": "左に影"}, ensure_ascii=False)] * 4
    data.write_text("\n".join(lines), encoding="utf-8")
    for form in ("alpaca-ja", "chat"):
        done = ikyoku.tune(spec(base, data, format=form, steps=12, keep_steps=[]), root=tmp_path / form)
        assert done.result["final_loss"] < 0.5 * done.result["first_loss"]


def test_qlora_on_pictures_learns(base: Path, pairs: Path, tmp_path: Path) -> None:
    asked = spec(base, pairs, model={"path": str(base), "quantization": "nf4"}, steps=30, keep_steps=[])
    done = ikyoku.tune(asked, root=tmp_path)
    assert done.result["final_loss"] < 0.6 * done.result["first_loss"]
