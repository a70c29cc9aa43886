"""Tiny models with random weights, made from transformers' configs and written as every user's files are."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

TOKENS, HIDDEN = 40, 16
_TEXT: dict[str, Any] = {
    "hidden_size": HIDDEN,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "vocab_size": TOKENS,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_ROPE = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]}
_VISION: dict[str, Any] = {
    "hidden_size": 8,
    "intermediate_size": 12,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 16,
    "patch_size": 8,
}
_QWEN: dict[str, Any] = {"depth": 1, "num_heads": 2, "patch_size": 4}
_DEEP: dict[str, Any] = {"deepstack_visual_indexes": [0], "num_position_embeddings": 16}


def _text(kind: str, **more: object) -> dict[str, Any]:
    return _TEXT | {"model_type": kind} | more


def _vision(kind: str, **more: object) -> dict[str, Any]:
    return _VISION | {"model_type": kind} | more


LANGUAGE: dict[str, dict[str, Any]] = {
    "llama": _text("llama"),
    "mistral": _text("mistral", head_dim=8),
    "qwen2": _text("qwen2"),
    "qwen3": _text("qwen3", head_dim=8),
    "gemma": _text("gemma", head_dim=8),
    "gemma3_text": _text("gemma3_text", head_dim=8),
}
"""Plain language models."""

VISION: dict[str, tuple[str, dict[str, Any]]] = {
    "llava": ("llama", {"text_config": _text("llama"), "vision_config": _vision("clip_vision_model")}),
    "llava_next": (
        "mistral",
        {
            "text_config": _text("mistral", head_dim=8),
            "vision_config": _vision("clip_vision_model"),
            "image_grid_pinpoints": [[16, 16]],
        },
    ),
    "gemma3": (
        "gemma3_text",
        {
            "text_config": _text("gemma3_text", head_dim=8),
            "vision_config": _vision("siglip_vision_model"),
            "mm_tokens_per_image": 4,
        },
    ),
    "mistral3": (
        "mistral",
        {"text_config": _text("mistral", head_dim=8), "vision_config": _vision("pixtral", head_dim=4)},
    ),
    "internvl": (
        "qwen2",
        {
            "text_config": _text("qwen2"),
            "vision_config": _vision("internvl_vision", image_size=[16, 16], patch_size=[8, 8]),
        },
    ),
    "qwen2_vl": (
        "qwen2",
        {
            "text_config": _text("qwen2_vl_text", rope_parameters=_ROPE),
            "vision_config": {**_QWEN, "embed_dim": 8, "hidden_size": HIDDEN},
        },
    ),
    "qwen2_5_vl": (
        "qwen2",
        {
            "text_config": _text("qwen2_5_vl_text", rope_parameters=_ROPE),
            "vision_config": {**_QWEN, "hidden_size": 8, "intermediate_size": 12, "out_hidden_size": HIDDEN},
        },
    ),
    "qwen3_vl": (
        "qwen3",
        {
            "text_config": _text("qwen3_vl_text", head_dim=8, rope_parameters=_ROPE),
            "vision_config": {**_QWEN, **_DEEP, "hidden_size": 8, "intermediate_size": 12, "out_hidden_size": HIDDEN},
        },
    ),
    "paligemma": (
        "gemma",
        {
            "text_config": _text("gemma", head_dim=8),
            "vision_config": _vision("siglip_vision_model", projection_dim=HIDDEN),
            "projection_dim": HIDDEN,
        },
    ),
    "idefics3": ("llama", {"text_config": _text("llama"), "vision_config": _vision("idefics3_vision")}),
}
"""Vision-language models: the language model that is in them, and their config."""


def make(kind: str, *, seed: int = 0, tie: bool | None = None) -> Any:
    """Returns a tiny model of a type; its norms are random too, so that no two tensors are alike."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

    torch.manual_seed(seed)
    if kind in LANGUAGE:
        more = {} if tie is None else {"tie_word_embeddings": tie}
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**LANGUAGE[kind], **more))
    else:
        config = AutoConfig.for_model(kind, **VISION[kind][1])
        if tie is not None:
            config.tie_word_embeddings = config.text_config.tie_word_embeddings = tie
        model = AutoModelForImageTextToText.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.5)
    return model.eval()


def save(model: Any, folder: Path) -> Path:
    """Writes a model as its makers do, and returns the folder."""
    model.save_pretrained(folder)
    return folder


def shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Returns the shapes by name of a folder's tensors, as its file has them."""
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", "pt") as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118  # no mapping


def renamed(folder: Path, target: Path, rename: Callable[[str], str]) -> Path:
    """Writes a folder's weights under other names, as another version or another code base writes them."""
    import shutil

    from safetensors.torch import load_file, save_file

    shutil.copytree(folder, target)
    tensors = load_file(folder / "model.safetensors")
    save_file({rename(name): t for name, t in tensors.items()}, target / "model.safetensors", metadata={"format": "pt"})
    return target


def _substituted(*rules: tuple[str, str]) -> Callable[[str], str]:
    def rename(name: str) -> str:
        for pattern, put in rules:
            name = re.sub(pattern, put, name)
        return name

    return rename


SPELLINGS: dict[str, tuple[str, Callable[[str], str]]] = {
    "llava, older towers": ("llava", _substituted((r"^vision_tower\.", "vision_tower.vision_model."))),
    "llava, as in memory": (
        "llava",
        _substituted(
            (r"^language_model\.lm_head", "lm_head"),
            (r"^language_model\.model", "model.language_model"),
            (r"^(vision_tower|multi_modal_projector)", r"model.\1"),
        ),
    ),
    "gemma3, older towers": ("gemma3", _substituted((r"^vision_tower\.", "vision_tower.vision_model."))),
    "qwen2_5_vl, as in memory": (
        "qwen2_5_vl",
        _substituted((r"^model\.", "model.language_model."), (r"^visual\.", "model.visual.")),
    ),
}
"""Other names that the files of a family have, all of which transformers reads."""

BUNNY = _substituted(
    (r"^language_model\.", ""),
    (r"^vision_tower\.", "model.vision_tower.vision_tower.vision_model."),
    (r"^multi_modal_projector\.linear_(\d)", lambda m: f"model.mm_projector.{2 * int(m[1]) - 2}"),  # type: ignore[arg-type]
)
"""From a LLaVA file's names to those that Bunny's code writes."""


def internvl_chat(folder: Path) -> dict[str, tuple[int, ...]]:
    """Returns names and shapes as InternVL's own code writes them, for a folder of the converted kind.

    The language model is the same file; the tower has its queries, keys and values in one.
    """
    language = {n: s for n, s in shapes(folder).items() if n.startswith("language_model.")}
    tower = {"embeddings.class_embedding": (1, 1, 8), "embeddings.patch_embedding.weight": (8, 3, 8, 8)}
    layer = {"attn.qkv.weight": (24, 8), "attn.proj.weight": (8, 8), "norm1.weight": (8,), "ls1": (8,)}
    layer |= {"mlp.fc1.weight": (12, 8), "mlp.fc2.weight": (8, 12), "norm2.weight": (8,), "ls2": (8,)}
    tower |= {f"encoder.layers.0.{name}": shape for name, shape in layer.items()}
    projector = {"mlp1.0.weight": (32,), "mlp1.1.weight": (HIDDEN, 32), "mlp1.3.weight": (HIDDEN, HIDDEN)}
    return language | {f"vision_model.{name}": shape for name, shape in tower.items()} | projector
