"""What a load refuses: weights that are not the configuration's, adapters of another base, pickles behind a hub id."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ikyoku.errors import ModelError
from ikyoku.models.loading import (
    context_of,
    in_gpu_memory,
    load_tokenizer,
    load_weights,
    quiet,
    readable,
    with_adapter,
)

Made = Callable[..., Path]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Returns a function that writes a tiny random Llama and returns its folder."""

    def make(**changes: Any) -> Path:
        from transformers import LlamaConfig, LlamaForCausalLM
        from transformers.utils import logging

        logging.disable_progress_bar()
        sizes: dict[str, Any] = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
        heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64}
        folder = tmp_path_factory.mktemp("base")
        LlamaForCausalLM(LlamaConfig(**sizes | heads | changes)).save_pretrained(folder)
        return folder

    return make


@pytest.fixture(scope="module")
def two(made: Made) -> Path:
    return made()


def load(folder: Path, quantization: str = "none") -> Any:
    return load_weights(str(folder), dtype="auto", quantization=quantization, trust_remote_code=False)


def refused(folder: Path, quantization: str = "none") -> str:
    with pytest.raises(ModelError) as told:
        load(folder, quantization)
    return str(told.value)


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_a_tied_head_is_not_missing(made: Made, quantization: str) -> None:
    folder = made(tie_word_embeddings=True)
    from safetensors import safe_open

    with safe_open(str(folder / "model.safetensors"), framework="np") as file:
        assert "lm_head.weight" not in set(file.keys())
    load(folder, quantization)


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_a_missing_tensor_is_named(made: Made, quantization: str) -> None:
    from safetensors.torch import load_file, save_file

    folder = made()
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert refused(folder, quantization) == (
        f"{folder}: the weights are not those of its config.json: no model.layers.1.mlp.up_proj.weight. "
        "Copy the model again, its config.json and every shard."
    )


@pytest.mark.parametrize("quantization", ["none", "nf4"])
def test_a_tensor_of_another_shape_is_named(made: Made, quantization: str) -> None:
    folder = made()
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 64}), encoding="utf-8")
    message = refused(folder, quantization)
    assert "model.layers.0.mlp.down_proj.weight is 32 x 48 where config.json wants 32 x 64; " in message
    assert "; and 3 more. " in message and "\n" not in message


def adapter(base: Path, folder: Path) -> Path:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=2, target_modules=["q_proj", "up_proj"], task_type="CAUSAL_LM")
    with quiet():
        get_peft_model(load(base), config).save_pretrained(str(folder))
    return folder


def misfit(base: Path, of: Path) -> str:
    with pytest.raises(ModelError) as told:
        with_adapter(load(base), "the base", str(of))
    assert str(told.value).startswith(f"{of}: does not fit the base the base: ")
    assert "\n" not in str(told.value)
    return str(told.value)


def test_an_adapter_of_its_base(two: Path, tmp_path: Path) -> None:
    model = with_adapter(load(two), "the base", str(adapter(two, tmp_path / "a")))
    assert model.peft_config["default"].r == 2
    with_adapter(load(two, "nf4"), "the base", str(tmp_path / "a"))


def test_an_adapter_of_a_base_with_fewer_layers(made: Made, two: Path, tmp_path: Path) -> None:
    message = misfit(two, adapter(made(num_hidden_layers=1), tmp_path / "a"))
    assert "no base_model.model.model.layers.1.mlp.up_proj.lora_A.weight; " in message and "and 1 more" in message


def test_an_adapter_of_a_base_with_more_layers(made: Made, two: Path, tmp_path: Path) -> None:
    message = misfit(two, adapter(made(num_hidden_layers=3), tmp_path / "a"))
    assert "base_model.model.model.layers.2.mlp.up_proj.lora_A.weight has no place in the base; " in message


def test_an_adapter_of_a_wider_base(made: Made, two: Path, tmp_path: Path) -> None:
    message = misfit(two, adapter(made(intermediate_size=64), tmp_path / "a"))
    assert "layers.0.mlp.up_proj.lora_B.weight is 64 x 2 where the base wants 48 x 2; " in message


def test_an_adapter_that_names_modules_of_another_architecture(two: Path, tmp_path: Path) -> None:
    folder = adapter(two, tmp_path / "a")
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    (folder / "adapter_config.json").write_text(json.dumps(config | {"target_modules": ["c_attn"]}), encoding="utf-8")
    misfit(two, folder)


def test_no_pickle_is_loaded_through_a_hub_id(two: Path, tmp_path: Path, child: Callable[..., Any]) -> None:
    """A cache entry with pickled weights only: it would be loaded if it were allowed."""
    import torch
    from safetensors.torch import load_file

    entry = tmp_path / "hub" / "models--ward--model"
    snapshot = entry / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (entry / "refs").mkdir()
    (entry / "refs" / "main").write_text("0" * 40, encoding="utf-8")
    (snapshot / "config.json").write_bytes((two / "config.json").read_bytes())
    torch.save(load_file(two / "model.safetensors"), snapshot / "pytorch_model.bin")
    code = f"""
from huggingface_hub import constants
constants.HF_HUB_CACHE = {str(tmp_path / "hub")!r}
constants.HF_HUB_OFFLINE = True
from ikyoku.errors import ModelError
from ikyoku.models.loading import load_weights
try:
    load_weights("ward/model", dtype="auto", quantization="none", trust_remote_code=False)
except ModelError as error:
    print(error)
"""
    message = child(code).finish()
    assert message.startswith(
        "ward/model: no weights as safetensors in the local cache. A pickle (.bin) is not loaded:"
    )
    assert "save_pretrained" in message


def test_a_package_that_a_tokenizer_needs_is_named(two: Path, tmp_path: Path) -> None:
    """A folder with SentencePiece's file alone, on a machine that lacks the packages to read it."""
    for name in ("sentencepiece", "tiktoken", "google.protobuf"):
        try:
            __import__(name)
        except ImportError:
            continue
        pytest.skip(f"{name} is installed here")
    (tmp_path / "config.json").write_bytes((two / "config.json").read_bytes())
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "LlamaTokenizer"}', encoding="utf-8")
    (tmp_path / "tokenizer.model").write_bytes(b"\x0a\x05\x0a\x01a")
    with pytest.raises(ModelError) as told:
        load_tokenizer(str(tmp_path))
    assert "pip install sentencepiece tiktoken protobuf" in str(told.value)


@pytest.mark.parametrize(
    "error", [RuntimeError("sizes\nmore"), OSError("sizes"), KeyError("sizes"), ImportError("sizes")]
)
def test_what_a_load_raises_is_one_line(error: Exception) -> None:
    with pytest.raises(ModelError) as told, readable("m"):
        raise error
    assert "sizes" in str(told.value) and "\n" not in str(told.value)


def test_a_full_gpu_is_told() -> None:
    import torch

    with pytest.raises(ModelError) as told, readable("m"), in_gpu_memory("m: loading the model", "Take nf4."):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
    assert str(told.value) == "m: loading the model needs more memory than the GPU has free. Take nf4."


class _Named:
    def __init__(self, model_max_length: float) -> None:
        self.model_max_length = model_max_length


@pytest.mark.parametrize(
    ("named", "wanted"),
    [(1e30, 64), (int(1e30), 64), (100, 64), (48, 48), (0, 64)],
    ids=["1e30", "int", "100", "48", "0"],
)
def test_the_context_is_the_models_or_the_tokenizers(named: float, wanted: int) -> None:
    from transformers import BloomConfig, GPT2Config, LlamaConfig

    tokenizer = _Named(named)
    assert context_of(LlamaConfig(max_position_embeddings=64), tokenizer) == wanted
    assert context_of(GPT2Config(n_positions=64), tokenizer) == wanted
    assert context_of(BloomConfig(), tokenizer) == (int(named) if 0 < named < 1e9 else 1 << 30)


def test_the_context_of_a_model_that_also_sees() -> None:
    from transformers import LlavaConfig

    config = LlavaConfig()
    config.text_config.max_position_embeddings = 96
    assert context_of(config, _Named(1e30)) == 96
