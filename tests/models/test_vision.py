"""Vision-language models of six families, tiny and random: what goes in, what is kept, and that nothing is mixed up."""

from __future__ import annotations

import json
import runpy
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ikyoku.errors import ModelError
from ikyoku.models.features import FeatureCache, Tower
from ikyoku.models.loading import is_vision_model, load_tokenizer, load_weights, quiet
from ikyoku.models.local import LocalBase, LocalModel, open_model
from ikyoku.models.vision import VisionModel, load_vision_weights, open_vision_model
from ikyoku.types import Message, Picture, Prompt, SamplingParams

folders = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "vision_folders.py")))
FAMILIES = tuple(folders.TOKENS)
WITH_PROCESSOR = ("llava", "llava_next", "gemma3")
EACH = pytest.mark.parametrize("kind", FAMILIES)
GREEDY = SamplingParams(max_new_tokens=12)
picture = folders.picture


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("vision")
    with quiet():
        return {kind: folders.make(kind, root / kind) for kind in FAMILIES}


def opened(folder: Path, **options: Any) -> VisionModel:
    model = open_vision_model(str(folder), name=folder.name, **options)
    assert isinstance(model, VisionModel)
    return model


def asking(*pictures: Picture, text: str = "肺野") -> Prompt:
    return Prompt(text="user: " + "<image>\n" * len(pictures) + f"{text} assistant:", images=pictures)


def mixed() -> list[Prompt]:
    """Pictures of several sizes, two in one prompt, none in another, texts and messages."""
    sized = [asking(picture(i, 20 + 8 * i, 24), text="肺" + "野" * i) for i in range(3)]
    chats = [
        Prompt(messages=(Message("user", "胸水", (picture(7), picture(1, 28, 24))),)),
        Prompt(
            messages=(Message("user", "心影"), Message("assistant", "大きい"), Message("user", "影", (picture(7),)))
        ),
        Prompt(messages=(Message("user", "胸水"),)),
    ]
    return [*sized, asking(picture(8), picture(9)), Prompt(text="肺野 assistant:"), *chats]


def texts(model: LocalModel, prompts: Sequence[Prompt], params: SamplingParams = GREEDY) -> list[str]:
    return [each.text for each in model.generate(prompts, params)]


def logits(model: VisionModel, prompts: Sequence[Prompt]) -> Any:
    """The logits of prompts as one batch, padded on the right."""
    import torch

    rows = [model._row(prompt) for prompt in prompts]
    width = max(len(row.ids) for row in rows)
    ids = torch.tensor([row.ids + [0] * (width - len(row.ids)) for row in rows])
    mask = torch.tensor([[1] * len(row.ids) + [0] * (width - len(row.ids)) for row in rows])
    with torch.no_grad():
        return model._model(input_ids=ids, attention_mask=mask, **model._beside(rows, ids)).logits


def own_inputs(model: VisionModel, kind: str, seen: Picture) -> dict[str, Any]:
    """What transformers' own code makes of one picture and a text, without anything of ours."""
    import torch
    from PIL import Image
    from transformers import AutoImageProcessor, AutoProcessor

    path, image = model._model.name_or_path, Image.fromarray(seen.pixels).convert("RGB")
    if kind in WITH_PROCESSOR:
        token = folders.TOKENS[kind].get("boi_token", "<image>")
        whole = AutoProcessor.from_pretrained(path)
        return dict(whole(text=[f"user: {token}\n肺野 assistant:"], images=[image], return_tensors="pt"))
    inputs = dict(AutoImageProcessor.from_pretrained(path)(images=[image], return_tensors="pt"))
    named, tokenizer = folders.TOKENS[kind], load_tokenizer(path)
    if kind == "internvl":
        around = f"<img>{'<ctx>' * int(inputs.pop('num_patches'))}</img>"  # a patch of 2 by 2 cells is one token
    else:
        count = int(inputs["image_grid_thw"].prod()) // 4
        around = f"{named['s']}{named['image_token'] * count}{named['e']}"
    ids = tokenizer(f"user: {around}\n肺野 assistant:", return_tensors="pt")["input_ids"]
    if kind != "internvl":
        inputs["mm_token_type_ids"] = (ids == model._model.config.image_token_id).long()
    return {**inputs, "input_ids": ids, "attention_mask": torch.ones_like(ids)}


@EACH
def test_the_logits_are_those_of_transformers_bit_for_bit_from_the_cache_too(made: dict[str, Path], kind: str) -> None:
    import torch

    model = opened(made[kind], features=FeatureCache())
    seen = picture(3, 30, 22)
    with torch.no_grad():
        wanted = model._model(**own_inputs(model, kind, seen)).logits
    first = logits(model, [asking(seen)])
    assert (model.features.hits, len(model.features)) == (0, 1)
    again = logits(model, [asking(seen)])
    assert (model.features.hits, len(model.features)) == (1, 1)
    plain = logits(opened(made[kind]), [asking(seen)])
    assert wanted.shape == first.shape
    assert torch.equal(wanted, first) and torch.equal(first, again) and torch.equal(first, plain)
    other = logits(model, [asking(picture(4, 30, 22))])
    assert not torch.allclose(first[:, -1], other[:, -1], atol=1e-4), "the picture is seen"


@EACH
def test_replies_do_not_depend_on_the_batch_or_the_cache(made: dict[str, Path], kind: str) -> None:
    model, prompts = opened(made[kind], features=FeatureCache()), mixed()
    together = model.generate(prompts, GREEDY)
    assert [model.generate([prompt], GREEDY)[0] for prompt in prompts] == together
    assert opened(made[kind], batch_size=3).generate(prompts, GREEDY) == together
    assert model.generate(prompts[::-1], GREEDY) == together[::-1]
    assert len(model.features) == 6, "six different pictures"
    assert len({each.text for each in together}) > 4, "replies that differ"
    assert all(0 < each.tokens <= 12 for each in together)


@EACH
def test_replies_are_those_of_transformers(made: dict[str, Path], kind: str) -> None:
    model, seen = opened(made[kind]), picture(5, 24, 40)
    inputs = own_inputs(model, kind, seen)
    out = model._model.generate(**inputs, max_new_tokens=12, do_sample=False, pad_token_id=0)
    wanted = model._tokenizer.decode(out[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    assert texts(model, [asking(seen)]) == [wanted]


@EACH
def test_nothing_of_the_language_model_is_kept(made: dict[str, Path], kind: str) -> None:
    import torch

    model, prompts = opened(made[kind], features=FeatureCache()), mixed()
    before = logits(model, prompts[:2])
    fresh = opened(made[kind])
    for each in (model, fresh):
        torch.manual_seed(1)
        with torch.no_grad():
            for parameter in [*each._model.get_decoder().parameters(), *each._model.lm_head.parameters()]:
                parameter.add_(0.1 * torch.randn_like(parameter))
    held, misses = len(model.features), model.features.misses
    after = logits(model, prompts[:2])
    assert (len(model.features), model.features.misses) == (held, misses), "the features of the first time"
    assert torch.equal(after, logits(fresh, prompts[:2])) and not torch.allclose(before, after)


def test_another_tower_is_never_mistaken(made: dict[str, Path], tmp_path: Path) -> None:
    import torch

    cache, seen = FeatureCache(), asking(picture(1))
    with quiet():
        other = folders.make("llava", tmp_path / "other", seed=5)
    one, two = opened(made["llava"], features=cache), opened(other, features=cache)
    first, second = logits(one, [seen]), logits(two, [seen])
    assert len(cache) == 2
    assert torch.equal(second, logits(opened(other), [seen])) and not torch.equal(first, second)
    again = opened(made["llava"], features=cache)
    assert torch.equal(first, logits(again, [seen])) and len(cache) == 2, "the same tower loaded again"
    with torch.no_grad():
        again._model.model.multi_modal_projector.linear_1.weight.mul_(2)
    again.refresh()
    assert not torch.equal(first, logits(again, [seen])) and len(cache) == 3


def test_another_picture_size_is_another_tower(made: dict[str, Path], tmp_path: Path) -> None:
    import shutil

    folder = shutil.copytree(made["qwen2_5_vl"], tmp_path / "m")
    cache, seen = FeatureCache(), asking(picture(1, 40, 40))
    first = logits(opened(made["qwen2_5_vl"], features=cache), [seen])
    settings = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
    settings["size"] = {"shortest_edge": 64, "longest_edge": 256}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings), encoding="utf-8")
    assert logits(opened(folder, features=cache), [seen]).shape[1] < first.shape[1]
    assert len(cache) == 2


def test_the_cache_holds_its_limit_and_keeps_what_came_first(made: dict[str, Path]) -> None:
    prompts = [asking(picture(i)) for i in range(6)]
    wanted = texts(opened(made["llava"]), prompts)
    one = opened(made["llava"], features=FeatureCache())
    one.generate(prompts[:1], GREEDY)
    cache = FeatureCache(limit=3 * one.features.nbytes + 1)
    model = opened(made["llava"], features=cache)
    for _ in range(2):
        assert texts(model, prompts) == wanted
        assert len(cache) == 3 and cache.nbytes <= cache.limit
    assert cache.hits == 3, "the first three, in the second round"


@EACH
def test_a_text_that_holds_the_familys_image_token_is_refused(made: dict[str, Path], kind: str) -> None:
    model, named = opened(made[kind]), folders.TOKENS[kind]
    soft = named.get("context_image_token", named.get("image_token"))
    messages = (Message("user", f"肺 {soft}{named.get('boi_token', '')}", (picture(1),)),)
    for prompt in (Prompt(text=f"肺野 {soft} assistant:"), Prompt(messages=messages)):
        with pytest.raises(ModelError, match=r"image tokens, and its|places for them") as told:
            model.generate([prompt], GREEDY)
        assert "肺" not in str(told.value), "no text of a prompt in a message"


# laying out


@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize("template", ["PARTS", "TEXTS"])
def test_messages_go_through_the_models_chat_template(tmp_path: Path, kind: str, template: str) -> None:
    with quiet():
        folder = folders.make(kind, tmp_path / "m", template=getattr(folders, template))
    model = opened(folder)
    turns = (Message("user", "心影", (picture(1),)), Message("assistant", "大きい"), Message("user", "影"))
    row = model._row(Prompt(messages=turns))
    text = model._tokenizer.decode(row.ids)
    named = folders.TOKENS[kind]
    soft = named.get("context_image_token", named.get("image_token"))
    count = row.pictures[0].shown.tokens
    assert row.ids.count(model._model.config.image_token_id) == count > 0
    marks = {"s": ("<|vision_start|>", "<|vision_end|>"), "boi_token": ("\n\n<boi>", "<eoi>\n\n")}
    start, end = next((marks[key] for key in marks if key in named), ("", ""))
    if kind == "internvl":
        start, end = "<img>", "</img>"
    assert text == f"user: {start}{soft * count}{end}\n心影\nassistant: 大きい</s>\nuser: 影\nassistant: "


def test_a_verbatim_text_gets_the_tokens_that_the_family_sets_around_a_picture(made: dict[str, Path]) -> None:
    model = opened(made["qwen3_vl"])
    row = model._row(asking(picture(1), picture(2)))
    count = row.pictures[0].shown.tokens
    one = f"<|vision_start|>{'<|image_pad|>' * count}<|vision_end|>\n"
    assert model._tokenizer.decode(row.ids) == f"<s>user: {one}{one}肺野 assistant:"


def test_the_grey_values_are_seen_as_red_green_and_blue(made: dict[str, Path]) -> None:
    import numpy as np
    import torch

    shown = opened(made["qwen3_vl"]).eyes.processor.show(Picture("x", np.full((24, 24), 51, dtype=np.uint8)))
    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    wanted = torch.tensor([(51 / 255 - m) / s for m, s in zip(mean, std, strict=True)])
    found = shown.inputs["pixel_values"].reshape(-1, 3, 2, 4, 4).permute(1, 0, 2, 3, 4).reshape(3, -1)
    assert torch.allclose(found, wanted[:, None].expand_as(found), atol=1e-5)


def test_stop_texts_and_lengths(made: dict[str, Path]) -> None:
    model = opened(made["internvl"])
    (free,) = model.generate([asking(picture(1))], GREEDY)
    stop = free.text[3:5]
    (cut,) = model.generate([asking(picture(1))], SamplingParams(max_new_tokens=12, stop=(stop,)))
    assert cut.text == free.text[: free.text.index(stop)] and cut.finish == "stop"
    long = asking(picture(1), text="肺" * 300)
    assert [each.finish for each in model.generate([asking(picture(1)), long], GREEDY)] == ["length", "too_long"]


def test_sampling_is_repeatable_and_uses_the_temperature(made: dict[str, Path]) -> None:
    import torch

    model, hot = opened(made["llava"]), SamplingParams(max_new_tokens=12, temperature=3.0)
    found = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        found.append(texts(model, mixed(), hot))
    assert found[0] == found[1] != found[2]


# loading


def test_which_models_see(made: dict[str, Path], tiny_bases: dict[str, Path]) -> None:
    assert all(is_vision_model(str(folder)) for folder in made.values())
    assert not is_vision_model(str(tiny_bases["tiny-ja"]))
    with pytest.raises(ModelError, match="no such hub id in the local cache"):
        is_vision_model("example/none")


def test_a_model_is_opened_as_what_it_is(made: dict[str, Path], tiny_bases: dict[str, Path]) -> None:
    assert isinstance(open_model(str(made["gemma3"]), name="m"), VisionModel)
    assert type(open_model(str(tiny_bases["tiny-ja"]), name="m")) is LocalModel
    base, cache = LocalBase(str(made["llava"])), FeatureCache()
    model = base.model(name="m", features=cache)
    assert texts(model, mixed()) == texts(opened(made["llava"]), mixed()) and len(cache) == 6


def test_a_language_model_is_not_asked_with_pictures(tiny_bases: dict[str, Path]) -> None:
    path = str(tiny_bases["tiny-ja"])
    with pytest.raises(ModelError, match="a language model without a vision tower, so it sees no pictures"):
        load_vision_weights(path, dtype="auto", quantization="none", trust_remote_code=False)
    model = open_model(path, name="m")
    for prompt in (asking(picture(1)), Prompt(messages=(Message("user", "胸水", (picture(7),)),))):
        with pytest.raises(ModelError) as told:
            model.generate([prompt], GREEDY)
        assert "a prompt has pictures" in str(told.value) and "胸" not in str(told.value)
        with pytest.raises(ModelError, match="a prompt has pictures"):
            model.loglikelihood([prompt], [["a"]])


@pytest.mark.parametrize("kind", ["llava", "gemma3"])
def test_the_names_of_older_checkpoints_are_read(made: dict[str, Path], tmp_path: Path, kind: str) -> None:
    import torch

    spelt = {family: rename for name, (family, rename) in folders.families.SPELLINGS.items() if "older towers" in name}
    folder = folders.families.renamed(made[kind], tmp_path / "old", spelt[kind])
    assert any(n.startswith("vision_tower.vision_model.") for n in folders.families.shapes(folder))
    assert torch.equal(logits(opened(folder), [asking(picture(1))]), logits(opened(made[kind]), [asking(picture(1))]))


@EACH
def test_a_missing_tensor_of_the_tower_is_named(made: dict[str, Path], tmp_path: Path, kind: str) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(made[kind], tmp_path / "m")
    weights = load_file(folder / "model.safetensors")
    name = next(n for n in sorted(weights) if "language_model" not in n and n.endswith("bias"))
    del weights[name]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError) as told:
        opened(folder)
    assert f"{folder}: the weights are not those of its config.json: no " in str(told.value)
    assert name.split(".")[-2] in str(told.value)


@pytest.mark.parametrize("quantization", ["nf4", "int8"])
def test_quantisation_leaves_the_tower_as_it_is(made: dict[str, Path], quantization: str) -> None:
    model = opened(made["llava"], quantization=quantization)
    kinds = {name: type(module).__name__ for name, module in model._model.named_modules()}
    small = {name for name, kind in kinds.items() if kind in ("Linear4bit", "Linear8bitLt")}
    assert len(small) == 14 and all("language_model" in name for name in small)
    plain = [each for each in mixed() if each.images]
    with quiet():
        assert all(each.tokens for each in model.generate(plain, GREEDY))


@EACH
def test_likelihoods_are_of_prompts_without_pictures(made: dict[str, Path], kind: str) -> None:
    import torch

    model = opened(made[kind])
    asked, answers = "肺野は", ["胸水", "左", "右胸"]
    (found,) = model.loglikelihood([Prompt(text=asked)], [answers])
    tokenizer = model._tokenizer
    for answer, value in zip(answers, found or [], strict=True):
        ids, start = tokenizer(asked + answer)["input_ids"], len(tokenizer(asked)["input_ids"])
        with torch.no_grad():
            predicted = torch.log_softmax(model._model(input_ids=torch.tensor([ids])).logits[0].double(), -1)
        wanted = sum(float(predicted[i - 1, ids[i]]) for i in range(start, len(ids)))
        assert value == pytest.approx(wanted, abs=1e-4)
    with pytest.raises(ModelError, match="a prompt has pictures"):
        model.loglikelihood([asking(picture(1))], [answers])
    (chat,) = model.loglikelihood([Prompt(messages=(Message("user", asked),))], [answers])
    assert chat and chat != found


def test_a_processor_of_another_model_is_refused(made: dict[str, Path], tmp_path: Path) -> None:
    import shutil

    folder = shutil.copytree(made["llava"], tmp_path / "m")
    path = next(p for p in folder.glob("*processor_config.json") if "patch_size" in p.read_text(encoding="utf-8"))
    settings = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(settings | {"patch_size": 4}), encoding="utf-8")
    with pytest.raises(ModelError, match="gives a picture 16 image tokens, the model makes features for 4"):
        opened(folder).generate([asking(picture(1))], GREEDY)


def test_a_processor_that_leaves_the_patch_size_to_the_config(made: dict[str, Path], tmp_path: Path) -> None:
    import shutil

    folder = shutil.copytree(made["llava"], tmp_path / "m")
    path = next(p for p in folder.glob("*processor_config.json") if "patch_size" in p.read_text(encoding="utf-8"))
    settings = json.loads(path.read_text(encoding="utf-8"))
    left = {k: v for k, v in settings.items() if not k.startswith(("patch", "vision_feature", "num_additional"))}
    path.write_text(json.dumps(left), encoding="utf-8")
    assert texts(opened(folder), mixed()) == texts(opened(made["llava"]), mixed())


def test_a_folder_without_an_image_processor(made: dict[str, Path], tmp_path: Path) -> None:
    import shutil

    folder = shutil.copytree(made["qwen3_vl"], tmp_path / "m")
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(ModelError) as told:
        opened(folder)
    assert str(told.value).startswith(f"{folder}: ") and "preprocessor_config.json" in str(told.value)


def test_a_family_that_takes_no_features_is_refused() -> None:
    from transformers import GitConfig, GitForCausalLM

    size = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    config = GitConfig(vision_config=size | {"image_size": 8, "patch_size": 4}, vocab_size=8, **size)
    with pytest.raises(ModelError, match="pictures cannot be put to models of type git"):
        Tower(GitForCausalLM(config), "", None)


def test_a_language_model_loads_as_before(tiny_bases: dict[str, Path]) -> None:
    weights = load_weights(str(tiny_bases["tiny-ja"]), dtype="auto", quantization="none", trust_remote_code=False)
    assert type(weights).__name__ == "LlamaForCausalLM"
