"""The X-ray lab at size tiny: ordinary folders that work together; what a pocket lab knows is measured elsewhere."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ikyoku.datasets.radiographs import read_radiographs
from ikyoku.lab.phantoms import phantom, report
from ikyoku.lab.xray import MODELS, XrayLab, make_xray_lab
from ikyoku.lab.xray_recipes import RECIPES
from ikyoku.lab.xray_texts import BOS, EOS, INSTRUCTIONS, PAD, make_tokenizer, passages, picture_prompt
from ikyoku.prompts import PROMPT_FORMATS, REPORT_INSTRUCTION, report_prompt
from ikyoku.types import IMAGE_MARK, Picture

SIZE = RECIPES["tiny"].picture
MARKS = (SIZE // RECIPES["tiny"].patch) ** 2 + 1


@pytest.fixture(scope="module")
def lab(tiny_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> XrayLab:
    return make_xray_lab("tiny", seed=0, folder=tmp_path_factory.mktemp("xray"), cache=tiny_cache)


@pytest.fixture(scope="module")
def vision(lab: XrayLab) -> tuple[Any, Any]:
    from transformers import AutoModelForImageTextToText, AutoProcessor

    folder = lab.models["vlm-en"]
    return AutoModelForImageTextToText.from_pretrained(folder).eval(), AutoProcessor.from_pretrained(folder)


def test_the_folder_is_complete(lab: XrayLab) -> None:
    names = {path.name for path in lab.folder.iterdir()}
    assert names == {
        *MODELS,
        "pairs-50.jsonl",
        "pairs-2000.jsonl",
        "dev-100.jsonl",
        "test-200.jsonl",
        "images",
        "dicom",
    }
    for folder in lab.models.values():
        files = {path.name for path in folder.iterdir()}
        assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} <= files
        assert not {f for f in files if f.endswith((".pt", ".npy", ".bin")) or f.startswith(".")}


def test_the_lists_share_no_patient(lab: XrayLab) -> None:
    lists = {path.stem: read_radiographs(path).samples for path in (lab.pairs, lab.many_pairs, lab.dev, lab.test)}
    assert {name: len(samples) for name, samples in lists.items()} == {
        "pairs-50": 50,
        "pairs-2000": 2000,
        "dev-100": 100,
        "test-200": 200,
    }
    people = {name: {s.patient for s in samples} for name, samples in lists.items()}
    assert people["pairs-50"] < people["pairs-2000"]
    assert not people["pairs-2000"] & people["dev-100"] and not people["pairs-2000"] & people["test-200"]
    assert not people["dev-100"] & people["test-200"]
    for samples in lists.values():
        assert all(s.images[0].is_file() and s.findings and s.impression for s in samples)
    assert lists["test-200"][0].findings == report(phantom(0, "test-0001"), "ja").findings


def test_the_dicom_files_are_read(lab: XrayLab) -> None:
    from ikyoku.pictures import read_picture

    files = sorted(lab.dicom.iterdir())
    assert [f.name for f in files] == ["study-1.dcm", "study-2.dcm", "study-3.dcm"]
    assert all(read_picture(f).picture.pixels.shape == (512, 512) for f in files)


def test_the_vision_model_takes_a_verbatim_prompt_and_a_picture(lab: XrayLab, vision: tuple[Any, Any]) -> None:
    import torch
    from PIL import Image

    model, processor = vision
    pixels = np.asarray(Image.open(read_radiographs(lab.test).samples[0].images[0]))
    text = report_prompt([Picture("0" * 64, pixels)], PROMPT_FORMATS["vicuna"]).text
    assert text.count(IMAGE_MARK) == 1
    inputs = processor(images=[Image.fromarray(pixels).convert("RGB")], text=[text], return_tensors="pt")
    mark = processor.tokenizer.convert_tokens_to_ids(IMAGE_MARK)
    assert int((inputs["input_ids"] == mark).sum()) == MARKS
    assert inputs["pixel_values"].shape == (1, 3, SIZE, SIZE)
    with torch.inference_mode():
        made = model.generate(**inputs, max_new_tokens=5, do_sample=False)
        other = model(**{**inputs, "pixel_values": -inputs["pixel_values"]}).logits
        assert not torch.equal(model(**inputs).logits, other)
    assert made.shape[1] <= inputs["input_ids"].shape[1] + 5


def test_the_pictures_are_seen_as_they_were_taught(lab: XrayLab, vision: tuple[Any, Any]) -> None:
    """What the processor makes of a picture is what the tower was taught on, and the tower makes the same of it."""
    import torch
    from PIL import Image

    from ikyoku.lab.xray_models import seen_by
    from ikyoku.lab.xray_tower import normalised

    model, processor = vision
    grey = np.asarray(Image.open(read_radiographs(lab.test).samples[1].images[0]))
    assert grey.shape == (SIZE, SIZE)
    taken = processor.image_processor(Image.fromarray(grey).convert("RGB"), return_tensors="pt")["pixel_values"]
    assert torch.allclose(taken, normalised(grey[None]), atol=1e-5)
    with torch.inference_mode():
        inner = model.model
        told = inner.multi_modal_projector(seen_by(model, grey[None]).float())
        features = inner.get_image_features(pixel_values=taken)
        features = getattr(features, "pooler_output", features)
        assert torch.allclose(told[0], features[0].reshape(told[0].shape), atol=1e-2)


def test_chat_and_verbatim_prompts_are_laid_out_alike(vision: tuple[Any, Any]) -> None:
    _, processor = vision
    turn = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": REPORT_INSTRUCTION}]}]
    chat = processor.apply_chat_template(turn, add_generation_prompt=True)
    assert picture_prompt("ja").endswith(chat)


def test_all_models_share_tokens_and_shapes(lab: XrayLab, vision: tuple[Any, Any]) -> None:
    from safetensors import safe_open

    tokenizers = {(lab.models[name] / "tokenizer.json").read_bytes() for name in MODELS}
    assert len(tokenizers) == 1
    shapes = []
    for name in ("base", "report-ja", "medical"):
        with safe_open(lab.models[name] / "model.safetensors", "np") as held:
            shapes.append({key: held.get_slice(key).get_shape() for key in held.keys()})  # noqa: SIM118
    assert shapes[0] == shapes[1] == shapes[2]
    inner = {f"model.{key}": list(value.shape) for key, value in vision[0].model.language_model.state_dict().items()}
    assert inner == shapes[0]


def test_the_models_differ_from_the_base(lab: XrayLab, vision: tuple[Any, Any]) -> None:
    from safetensors.numpy import load_file

    base = load_file(lab.models["base"] / "model.safetensors")
    key = "model.layers.0.mlp.up_proj.weight"
    for name in ("report-ja", "medical"):
        assert not np.array_equal(load_file(lab.models[name] / "model.safetensors")[key], base[key])
    inner = vision[0].model.language_model.state_dict()[key.removeprefix("model.")].numpy()
    assert not np.array_equal(inner, base[key])


def test_vision_answers_are_english_and_japanese_ones_japanese() -> None:
    """The lessons keep the languages apart: Japanese reports are taught to text models only."""
    assert all(p.answer.isascii() for p in passages("base", seed=0, block=0) if "English" in p.prompt)
    japanese = passages("report-ja", seed=0, block=0)
    assert all(not (p.answer or p.prompt).isascii() for p in japanese)
    assert sum(REPORT_INSTRUCTION in p.prompt for p in japanese) > 30
    assert all(text.isascii() for text in INSTRUCTIONS["en"])


@pytest.mark.parametrize(
    "text", ["右下肺野に浸潤影を認める。", "<image>\n所見", "ＣＴＲ 55％ ㎜ 髙﨑 𠮷", "a  b\t\n", "🩻"]
)
def test_any_text_comes_back_and_the_image_is_one_token(text: str) -> None:
    tokenizer = make_tokenizer(vocabulary=RECIPES["tiny"].vocabulary, seed=0)
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert tokenizer.decode(ids) == text
    assert ids.count(tokenizer.convert_tokens_to_ids(IMAGE_MARK)) == text.count(IMAGE_MARK)
    assert len({tokenizer.convert_tokens_to_ids(t) for t in (BOS, EOS, PAD, IMAGE_MARK)}) == 4


def test_reports_are_short_in_tokens() -> None:
    tokenizer = make_tokenizer(vocabulary=RECIPES["pocket"].vocabulary, seed=0)
    texts = [report(phantom(0, str(i)), language).findings for i in range(200) for language in ("ja", "en")]
    assert max(len(tokenizer.encode(t)) for t in texts) <= 60


def test_a_made_lab_is_found_again(lab: XrayLab, tiny_cache: Path, tmp_path: Path) -> None:
    began = time.monotonic()
    again = make_xray_lab("tiny", seed=0, folder=tmp_path, cache=tiny_cache)
    assert time.monotonic() - began < 10
    for name in MODELS:
        weights = "model.safetensors"
        assert (again.models[name] / weights).read_bytes() == (lab.models[name] / weights).read_bytes()


def test_a_model_is_the_same_bits_when_made_again(lab: XrayLab, tmp_path: Path) -> None:
    made = tmp_path / "kept"
    shutil.copytree(lab.models["base"], made / "base")
    command = [sys.executable, "-m", "ikyoku.lab.xray", "medical", "tiny", "0", str(made)]
    said = subprocess.run(command, check=True, capture_output=True, text=True)
    steps = RECIPES["tiny"].medical.steps
    assert said.stdout.splitlines()[-1] == f"{steps} {steps}"
    weights = "model.safetensors"
    assert (made / "medical" / weights).read_bytes() == (lab.models["medical"] / weights).read_bytes()
    assert sorted(path.name for path in made.iterdir()) == ["base", "medical"]


def test_tuning_the_vision_model_on_pairs_lowers_its_loss(lab: XrayLab, vision: tuple[Any, Any]) -> None:
    """A rival can be tuned on the pairs: the folder's model has gradients everywhere and its loss falls."""
    import torch
    from PIL import Image
    from transformers import AutoModelForImageTextToText

    _, processor = vision
    model = AutoModelForImageTextToText.from_pretrained(lab.models["vlm-en"]).train()
    samples = read_radiographs(lab.pairs).samples[:4]
    images = [Image.open(s.images[0]).convert("RGB") for s in samples]
    texts = [f"{picture_prompt('ja')} {s.findings}" for s in samples]
    inputs = processor(images=images, text=texts, return_tensors="pt", padding=True)
    labels = inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, -100)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    losses = []
    for _ in range(4):
        loss = model(**inputs, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]


def test_config_names_no_folder_of_this_machine(lab: XrayLab) -> None:
    for folder in lab.models.values():
        for path in folder.glob("*.json"):
            assert str(lab.folder) not in path.read_text(encoding="utf-8")
    config = json.loads((lab.models["vlm-en"] / "config.json").read_text(encoding="utf-8"))
    assert config["architectures"] == ["LlavaForConditionalGeneration"]
