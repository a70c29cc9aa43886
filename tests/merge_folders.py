"""Makes model folders small enough to merge in a moment: the names and configs of Llama and LLaVA, random weights.

A model is base + scale * noise: the base from one seed, the noise from another. Equal arguments give equal folders.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

HIDDEN, INNER, HEADS = 16, 24, 2
WORDS = ("<unk>", "<s>", "</s>", *(f"w{i}" for i in range(45)))


def llama_weights(
    *,
    seed: int = 0,
    base: int = 0,
    scale: float = 0.02,
    layers: int = 2,
    hidden: int = HIDDEN,
    vocab: int = 48,
    tied: bool = False,
) -> dict[str, torch.Tensor]:
    """Returns float32 weights under Llama's names, head and embeddings included."""
    inner, kv = hidden * INNER // HIDDEN, hidden // 2
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocab, hidden)}
    for i in range(layers):
        at = f"model.layers.{i}."
        shapes |= {
            at + "input_layernorm.weight": (hidden,),
            at + "mlp.down_proj.weight": (hidden, inner),
            at + "mlp.gate_proj.weight": (inner, hidden),
            at + "mlp.up_proj.weight": (inner, hidden),
            at + "post_attention_layernorm.weight": (hidden,),
            at + "self_attn.k_proj.weight": (kv, hidden),
            at + "self_attn.o_proj.weight": (hidden, hidden),
            at + "self_attn.q_proj.weight": (hidden, hidden),
            at + "self_attn.v_proj.weight": (kv, hidden),
        }
    shapes |= {"model.norm.weight": (hidden,)} | ({} if tied else {"lm_head.weight": (vocab, hidden)})
    first, second = (torch.Generator().manual_seed(1000 + number) for number in (base, seed))
    found = {}
    for name, shape in shapes.items():
        start = torch.randn(shape, generator=first) * 0.1 + ("norm" in name)
        found[name] = start + scale * torch.randn(shape, generator=second)
    return found


def llama_config(
    *, layers: int = 2, hidden: int = HIDDEN, vocab: int = 48, tied: bool = False, **more: Any
) -> dict[str, Any]:
    """Returns the config.json that goes with them."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": vocab,
        "hidden_size": hidden,
        "intermediate_size": hidden * INNER // HIDDEN,
        "num_hidden_layers": layers,
        "num_attention_heads": HEADS,
        "num_key_value_heads": 1,
        "max_position_embeddings": 64,
        "tie_word_embeddings": tied,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "torch_dtype": "float32",
        **more,
    }


def write_model(
    folder: Path,
    weights: Mapping[str, torch.Tensor],
    config: Mapping[str, Any],
    *,
    dtype: torch.dtype = torch.float32,
    shards: int = 1,
    words: tuple[str, ...] = (),
    added: tuple[str, ...] = (),
) -> Path:
    """Writes a model folder; with words a tokenizer too, whose added tokens follow them."""
    folder.mkdir(parents=True)
    cast = {name: (w.to(dtype) if w.is_floating_point() else w).contiguous() for name, w in weights.items()}
    if shards == 1:
        save_file(cast, folder / "model.safetensors", metadata={"format": "pt"})
    else:
        places = {}
        for number in range(shards):
            file = f"model-{number + 1:05}-of-{shards:05}.safetensors"
            part = {name: w for i, (name, w) in enumerate(cast.items()) if i * shards // len(cast) == number}
            save_file(part, folder / file, metadata={"format": "pt"})
            places |= dict.fromkeys(part, file)
        _write(folder / "model.safetensors.index.json", {"metadata": {}, "weight_map": places})
    told = str(dtype).removeprefix("torch.")
    _write(folder / "config.json", {**config, "torch_dtype": told})
    if words:
        write_tokenizer(folder, words, added)
    return folder


def write_tokenizer(folder: Path, words: tuple[str, ...], added: tuple[str, ...] = ()) -> None:
    """Writes a tokenizer of whole words."""
    entries = [
        {"id": words.index(w) if w in words else len(words) + added.index(w), "content": w, "special": True}
        | dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        for w in (*words[:3], *added)
    ]
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": entries,
        "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": {w: i for i, w in enumerate(words)}, "unk_token": words[0]},
    }
    _write(folder / "tokenizer.json", tokenizer)
    names = dict(zip(("unk_token", "bos_token", "eos_token"), words, strict=False))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": "{{ messages[0].content }}", **names}
    _write(folder / "tokenizer_config.json", settings)


def llama(folder: Path, **options: Any) -> Path:
    """Writes a Llama; options of `llama_weights`, `llama_config` and `write_model`."""
    size = {key: options[key] for key in ("layers", "hidden", "vocab", "tied") if key in options}
    noise = {key: options[key] for key in ("seed", "base", "scale") if key in options}
    write = {key: options[key] for key in ("dtype", "shards", "words", "added") if key in options}
    return write_model(folder, llama_weights(**size, **noise), llama_config(**size), **write)


def llava(folder: Path, *, seed: int = 9, vocab: int = 49, **options: Any) -> Path:
    """Writes a LLaVA with the names that transformers gives its files: `language_model.model.…`."""
    language = {f"language_model.{name}": w for name, w in llama_weights(seed=seed, vocab=vocab).items()}
    generator = torch.Generator().manual_seed(seed)
    size, width = 8, 8
    at = "vision_tower.vision_model."
    shapes: dict[str, tuple[int, ...]] = {
        at + "embeddings.class_embedding": (width,),
        at + "embeddings.patch_embedding.weight": (width, 3, 4, 4),
        at + "embeddings.position_embedding.weight": (size * size // 16 + 1, width),
    }
    for part in ("pre_layrnorm", "post_layernorm", "encoder.layers.0.layer_norm1", "encoder.layers.0.layer_norm2"):
        shapes |= {f"{at}{part}.{kind}": (width,) for kind in ("weight", "bias")}
    for part, (out, into) in (("mlp.fc1", (16, width)), ("mlp.fc2", (width, 16))):
        shapes |= {f"{at}encoder.layers.0.{part}.weight": (out, into), f"{at}encoder.layers.0.{part}.bias": (out,)}
    for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
        name = f"{at}encoder.layers.0.self_attn.{part}"
        shapes |= {f"{name}.weight": (width, width), f"{name}.bias": (width,)}
    for part, into in (("linear_1", width), ("linear_2", HIDDEN)):
        shapes |= {
            f"multi_modal_projector.{part}.weight": (HIDDEN, into),
            f"multi_modal_projector.{part}.bias": (HIDDEN,),
        }
    others = {name: torch.randn(shape, generator=generator) * 0.1 for name, shape in shapes.items()}
    config = {
        "architectures": ["LlavaForConditionalGeneration"],
        "model_type": "llava",
        "image_token_index": vocab - 1,
        "projector_hidden_act": "gelu",
        "vision_feature_layer": -1,
        "vision_feature_select_strategy": "default",
        "text_config": llama_config(vocab=vocab),
        "vision_config": {
            "model_type": "clip_vision_model",
            "hidden_size": width,
            "intermediate_size": 16,
            "image_size": size,
            "patch_size": 4,
            "num_attention_heads": 2,
            "num_hidden_layers": 1,
            "projection_dim": 8,
        },
    }
    return write_model(folder, language | others, config, **options)


def write_lora(folder: Path, base: Path, *, seed: int = 5, rank: int = 2, alpha: int = 4, **settings: Any) -> Path:
    """Writes a LoRA adapter on the q and v projections of a Llama."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for layer in range(2):
        for part, out in (("q_proj", HIDDEN), ("v_proj", HIDDEN // 2)):
            name = f"base_model.model.model.layers.{layer}.self_attn.{part}"
            tensors[f"{name}.lora_A.weight"] = torch.randn(rank, HIDDEN, generator=generator)
            tensors[f"{name}.lora_B.weight"] = torch.randn(out, rank, generator=generator)
    folder.mkdir(parents=True)
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": str(base),
        "r": rank,
        "lora_alpha": alpha,
        "target_modules": ["q_proj", "v_proj"],
        **settings,
    }
    _write(folder / "adapter_config.json", config)
    return folder


def _write(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False), encoding="utf-8")
