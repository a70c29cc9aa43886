"""Makes tiny vision-language model folders with random weights, tokenizer and processor, one for each family."""

from __future__ import annotations

import hashlib
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from ikyoku.types import Picture

_LETTERS = "abcdefghijklmnopqrstuvwxyz .:\n肺胸水心右左野認めるないをにはが大きい。、影"


families = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("merging") / "families.py")))

TOKENS: dict[str, dict[str, str]] = {
    "llava": {"image_token": "<image>"},
    "llava_next": {"image_token": "<image>"},
    "gemma3": {"boi_token": "<boi>", "image_token": "<soft>", "eoi_token": "<eoi>"},
    "qwen2_5_vl": {"image_token": "<|image_pad|>", "s": "<|vision_start|>", "e": "<|vision_end|>"},
    "qwen3_vl": {"image_token": "<|image_pad|>", "s": "<|vision_start|>", "e": "<|vision_end|>"},
    "internvl": {
        "context_image_token": "<ctx>",
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "video_token": "<video>",
    },
}
"""The families, and the special tokens of each. Of the last three transformers' processor needs torchvision."""

PARTS = (
    "{% for m in messages %}{{ m['role'] + ': ' }}{% if m['content'] is string %}{{ m['content'] }}{% else %}"
    "{% for p in m['content'] %}{% if p['type'] == 'image' %}IMAGE{{ '\n' }}{% else %}{{ p['text'] }}{% endif %}"
    "{% endfor %}{% endif %}{% if m['role'] == 'assistant' %}{{ eos_token }}{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
"""A chat template that takes a turn as a list of parts."""
TEXTS = (
    "{% for m in messages %}{{ m['role'] + ': ' + m['content'] }}{% if m['role'] == 'assistant' %}{{ eos_token }}"
    "{% endif %}{{ '\n' }}{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"
)
"""One that takes texts alone."""


def tokenizer(kind: str, template: str = PARTS) -> Any:
    """Returns a tokenizer of characters with a family's special tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    named = TOKENS[kind]
    words = ["<pad>", "<s>", "</s>", "<unk>", *named.values(), *sorted(set(_LETTERS))]
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Split(pattern="", behavior="isolated")
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    made.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        extra_special_tokens=named,
        chat_template=template.replace("IMAGE", _in_template(kind)),
    )


def _in_template(kind: str) -> str:
    named = TOKENS[kind]
    if "s" in named:
        return named["s"] + named["image_token"] + named["e"]
    return named.get("boi_token") or named.get("image_token") or named["context_image_token"]


def make(
    kind: str, folder: Path, *, seed: int = 0, template: str = PARTS, std: float = 0.5, norms: bool = True, **text: Any
) -> Path:
    """Writes a folder of a family and returns it.

    Args:
        kind: the family.
        folder: where to.
        seed: of the weights.
        template: for chats.
        std: of the weights.
        norms: the weights of norms are random too; without, they are 1, and the model can be taught.
        text: settings of the language model.
    """
    import torch
    from transformers import AutoConfig, AutoModelForImageTextToText

    made = tokenizer(kind, template)
    named = {key: made.convert_tokens_to_ids(value) for key, value in TOKENS[kind].items()}
    settings = families.VISION[kind][1]
    size = {"vocab_size": len(made), "max_position_embeddings": 256} | text
    extra: dict[str, Any] = {"image_token_id": named.get("image_token", named.get("context_image_token"))}
    if "s" in named:
        extra |= {"vision_start_token_id": named["s"], "vision_end_token_id": named["e"]}
    if kind == "gemma3":
        extra |= {"boi_token_index": named["boi_token"], "eoi_token_index": named["eoi_token"]}
    config = AutoConfig.for_model(kind, **settings | {"text_config": settings["text_config"] | size})
    for key, value in extra.items():
        setattr(config, key, value)
    torch.manual_seed(seed)
    model = AutoModelForImageTextToText.from_config(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(std=std)
            if "norm" in name and name.endswith("weight") and not norms:
                parameter.fill_(1)
    model.save_pretrained(folder)
    made.save_pretrained(folder)
    _images(kind, made, model.config, folder)
    return folder


def _images(kind: str, made: Any, config: Any, folder: Path) -> None:
    """Writes the processor's files: all of them where transformers can make the processor here."""
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
    from transformers.models.gemma3.processing_gemma3 import Gemma3Processor
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil
    from transformers.models.llava.processing_llava import LlavaProcessor
    from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil
    from transformers.models.llava_next.processing_llava_next import LlavaNextProcessor
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    square = {"height": 16, "width": 16}
    clip = {"size": {"shortest_edge": 16}, "crop_size": square}
    said = {"patch_size": 8, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    if kind == "llava":
        LlavaProcessor(CLIPImageProcessorPil(**clip), made, **said).save_pretrained(folder)
    elif kind == "llava_next":
        images = LlavaNextImageProcessorPil(**clip, image_grid_pinpoints=config.image_grid_pinpoints)
        LlavaNextProcessor(images, made, **said).save_pretrained(folder)
    elif kind == "gemma3":
        images = Gemma3ImageProcessorPil(size=square, do_pan_and_scan=False)
        Gemma3Processor(images, made, image_seq_length=4).save_pretrained(folder)
    elif kind == "internvl":
        GotOcr2ImageProcessorPil(size=square, crop_to_patches=True, max_patches=2).save_pretrained(folder)
    else:
        edges = {"shortest_edge": 8 * 8, "longest_edge": 24 * 24}
        Qwen2VLImageProcessorPil(patch_size=4, merge_size=2, size=edges).save_pretrained(folder)


def picture(seed: int, height: int = 20, width: int = 20) -> Picture:
    """Returns a picture of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    return Picture(hashlib.sha256(bytes(pixels.shape) + pixels.tobytes()).hexdigest(), pixels)
