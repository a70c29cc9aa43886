"""Bunny's calling convention, on a tiny folder with code of its own that is written here; nothing is downloaded."""

from __future__ import annotations

import json
import runpy
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import ikyoku
from ikyoku.errors import ModelError
from ikyoku.models.bunny import BunnyModel
from ikyoku.models.features import FeatureCache
from ikyoku.models.loading import is_vision_model
from ikyoku.models.local import LocalBase
from ikyoku.models.vision import open_vision_model
from ikyoku.types import Message, Prompt, SamplingParams

folders = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "vision_folders.py")))
picture = folders.picture
GREEDY = SamplingParams(max_new_tokens=10)

CODE = """
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, LlamaModel


class TinyBunnyConfig(LlamaConfig):
    model_type = "tiny-bunny"


class Tower(nn.Module):
    num_patches = 4
    looked = 0

    def __init__(self):
        super().__init__()
        self.cells = nn.Conv2d(3, 8, kernel_size=8, stride=8)

    def forward(self, images):
        type(self).looked += 1
        return self.cells(images).flatten(2).transpose(1, 2)


class TinyBunnyModel(LlamaModel):
    config_class = TinyBunnyConfig

    def __init__(self, config):
        super().__init__(config)
        self.vision_tower = Tower()
        self.mm_projector = nn.Linear(8, config.hidden_size)


class TinyBunnyForCausalLM(LlamaForCausalLM):
    config_class = TinyBunnyConfig

    def __init__(self, config):
        super().__init__(config)
        self.model = TinyBunnyModel(config)
        self.post_init()

    def get_vision_tower(self):
        return self.model.vision_tower

    def process_images(self, images, config):
        import numpy as np

        made = [torch.from_numpy(np.asarray(i.resize((16, 16)), dtype=np.float32) / 255) for i in images]
        return torch.stack(made).permute(0, 3, 1, 2)

    def encode_images(self, images):
        return self.model.mm_projector(self.model.vision_tower(images))

    def forward(self, input_ids=None, attention_mask=None, past_key_values=None, images=None, **kwargs):
        kwargs = {"past_key_values": past_key_values, "use_cache": kwargs.get("use_cache", True)}
        if images is None or input_ids is None or not bool((input_ids < 0).any()):
            return super().forward(input_ids=input_ids, **kwargs)
        assert input_ids.shape[0] == 1, "one prompt at a time"
        features = list(self.encode_images(images))
        rows = []
        for token in input_ids[0]:
            rows.append(features.pop(0) if token < 0 else self.model.embed_tokens(token[None]))
        assert not features, "as many pictures as marks"
        embeds = torch.cat(rows)[None]
        return super().forward(inputs_embeds=embeds, **kwargs)

    def prepare_inputs_for_generation(self, input_ids, past_key_values=None, images=None, **kwargs):
        first = past_key_values is None or past_key_values.get_seq_length() == 0
        ids = input_ids if first else input_ids[:, -1:]
        return {"input_ids": ids, "past_key_values": past_key_values, "images": images if first else None}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama with a tower, projector and code of its own, and a tokenizer that begins every text with a token."""
    import torch
    from safetensors.torch import save_file

    made = folders.tokenizer("llava", folders.TEXTS)
    path = tmp_path_factory.mktemp("bunny") / "tiny"
    path.mkdir()
    (path / "modeling_tiny_bunny.py").write_text(CODE, encoding="utf-8")
    made.add_special_tokens({})
    made.save_pretrained(path)
    hidden, inner, vocab = 16, 24, len(made)
    config = {
        "architectures": ["TinyBunnyForCausalLM"],
        "auto_map": {
            "AutoConfig": "modeling_tiny_bunny.TinyBunnyConfig",
            "AutoModelForCausalLM": "modeling_tiny_bunny.TinyBunnyForCausalLM",
        },
        "model_type": "tiny-bunny",
        "mm_vision_tower": "tiny",
        **{"vocab_size": vocab, "hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": 2},
        **{"num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 64},
        **{"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "tie_word_embeddings": False},
    }
    (path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    shapes = {"model.embed_tokens.weight": (vocab, hidden), "lm_head.weight": (vocab, hidden)}
    for i in range(2):
        at = f"model.layers.{i}"
        shapes |= {f"{at}.self_attn.{n}_proj.weight": (hidden if n in "qo" else 8, hidden) for n in "qkvo"}
        shapes |= {f"{at}.mlp.{n}_proj.weight": (inner, hidden) for n in ("gate", "up")}
        shapes[f"{at}.mlp.down_proj.weight"] = (hidden, inner)
        shapes |= {f"{at}.{n}_layernorm.weight": (hidden,) for n in ("input", "post_attention")}
    shapes |= {"model.norm.weight": (hidden,), "model.vision_tower.cells.weight": (8, 3, 8, 8)}
    shapes |= {"model.vision_tower.cells.bias": (8,), "model.mm_projector.weight": (hidden, 8)}
    shapes["model.mm_projector.bias"] = (hidden,)
    generator = torch.Generator().manual_seed(0)
    weights = {name: 0.5 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
    return path


@pytest.fixture(autouse=True, scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Code of models is copied to a folder of the test's own before it is run."""
    import transformers.dynamic_module_utils as theirs
    from transformers import CONFIG_MAPPING

    before, theirs.HF_MODULES_CACHE = theirs.HF_MODULES_CACHE, str(tmp_path_factory.mktemp("modules"))
    yield
    theirs.HF_MODULES_CACHE = before
    CONFIG_MAPPING._extra_content.pop("tiny-bunny", None)


def opened(folder: Path, **options: Any) -> BunnyModel:
    model = open_vision_model(str(folder), name="bunny", trust_remote_code=True, **options)
    assert isinstance(model, BunnyModel)
    return model


def asking(*seeds: int, text: str = "肺野") -> Prompt:
    marks = "".join("<image>\n" for _ in seeds)
    return Prompt(text=f"user: {marks}{text} assistant:", images=tuple(picture(seed) for seed in seeds))


def by_hand(model: Any, tokenizer: Any, prompt: Prompt) -> str:
    """The calling convention written out: ids with -200 for a picture, its pixels beside them."""
    import torch
    from PIL import Image

    chunks = [tokenizer(chunk)["input_ids"] for chunk in prompt.text.split("<image>")]
    ids = chunks[0] + [token for chunk in chunks[1:] for token in (-200, *chunk[1:])]
    images = [Image.fromarray(each.pixels).convert("RGB") for each in prompt.images]
    pixels = model.process_images(images, model.config)
    out = model.generate(torch.tensor([ids]), images=pixels, max_new_tokens=10, use_cache=True, do_sample=False)
    return str(tokenizer.decode(out[0, len(ids) :], skip_special_tokens=True))


def test_code_of_a_model_is_run_only_when_it_is_allowed(folder: Path) -> None:
    assert is_vision_model(str(folder))
    with pytest.raises(ModelError) as told:
        open_vision_model(str(folder), name="bunny")
    assert "runs only with the Python code that comes with it" in str(told.value)
    assert "set trust_remote_code: true" in str(told.value)


def test_replies_are_those_of_the_convention(folder: Path) -> None:
    model = opened(folder)
    prompts = [asking(1), asking(2, text="胸水"), asking(1, 2)]
    wanted = [by_hand(model._model, model._tokenizer, prompt) for prompt in prompts]
    found = model.generate(prompts, GREEDY)
    assert [each.text for each in found] == wanted
    assert len(set(wanted)) == 3 and all(each.tokens <= 10 for each in found)


def test_prompts_without_pictures_and_messages(folder: Path) -> None:
    model = opened(folder)
    messages = Prompt(messages=(Message("user", "肺野", (picture(1),)),))
    row = model._row(messages)
    assert row.ids.count(-200) == 1
    assert model._tokenizer.decode([i for i in row.ids if i >= 0]) == "user: \n肺野\nassistant: "
    replies = model.generate([Prompt(text="肺野"), messages, Prompt(messages=(Message("user", "影"),))], GREEDY)
    assert all(each.finish != "too_long" for each in replies)


def test_features_are_computed_once_and_change_nothing(folder: Path) -> None:
    plain, kept = opened(folder), opened(folder, features=FeatureCache())
    prompts = [asking(1), asking(2), asking(1, 2), asking(1)]
    wanted = [each.text for each in plain.generate(prompts, GREEDY)]
    tower = type(kept._base.get_vision_tower())
    tower.looked = 0
    for _ in range(3):
        assert [each.text for each in kept.generate(prompts, GREEDY)] == wanted
    assert tower.looked == 2, "once for each picture"
    assert by_hand(kept._base, kept._tokenizer, prompts[0]) == wanted[0], "the model's own way works as before"


def test_nothing_of_the_language_model_is_kept_and_a_new_tower_is_seen(folder: Path) -> None:
    import torch

    kept = opened(folder, features=FeatureCache())
    first = kept.generate([asking(1)], GREEDY)
    with torch.no_grad():
        kept._base.model.layers[0].mlp.up_proj.weight.mul_(-1)
    second = kept.generate([asking(1)], GREEDY)
    assert second[0].text == by_hand(kept._base, kept._tokenizer, asking(1)) != first[0].text
    with torch.no_grad():
        kept._base.model.mm_projector.weight.mul_(-3)
    kept.refresh()
    assert kept.generate([asking(1)], GREEDY)[0].text == by_hand(kept._base, kept._tokenizer, asking(1))
    assert len(kept.features) == 2


def test_a_picture_takes_its_places_of_the_context(folder: Path) -> None:
    model = opened(folder)
    assert model._length(model._row(asking(1, 2))) == len(model._row(asking(1, 2)).ids) + 2 * 3
    assert model.generate([asking(1, text="肺" * 50)], GREEDY)[0].finish == "too_long"


def test_marks_without_pictures_are_refused(folder: Path) -> None:
    prompt = Prompt(messages=(Message("user", "<image> 肺", (picture(1),)),))
    with pytest.raises(ModelError, match="1 pictures and 2 marks") as told:
        opened(folder).generate([prompt], GREEDY)
    assert "肺" not in str(told.value)


def test_a_base_of_this_kind_is_opened_like_any_other(folder: Path) -> None:
    base = LocalBase(str(folder), trust_remote_code=True)
    assert isinstance(base.model(name="b", features=FeatureCache()), BunnyModel)


def test_code_with_another_convention_is_refused(folder: Path, tmp_path: Path) -> None:
    import shutil

    other = shutil.copytree(folder, tmp_path / "other")
    code = CODE.replace("def process_images", "def chat")
    (other / "modeling_tiny_bunny.py").write_text(code, encoding="utf-8")
    with pytest.raises(ModelError, match="its own code has no process_images"):
        opened(other)


def test_it_is_not_tuned(folder: Path, tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text('{"instruction": "a", "output": "b"}\n', encoding="utf-8")
    spec = ikyoku.TuneSpec(model=ikyoku.ModelSpec(path=str(folder), trust_remote_code=True), data=str(pairs), steps=1)
    with pytest.raises(ModelError, match="with code of their own cannot be tuned here"):
        ikyoku.tune(spec, root=tmp_path / "runs")
