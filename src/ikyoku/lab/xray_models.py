"""The X-ray lab's models: a text base, a tower that has learnt to see, a vision model that tells it in English.

- The *tower* (CLIP's vision model) is first taught to tell which findings a phantom has, by a layer that is thrown
  away afterwards, and stays as it is from then on.
- The *base* (Llama) reads finding lists and writes reports, mostly English ones.
- The *vision model* (LLaVA) joins them: first the projector alone learns to put what the tower sees where a finding
  list would stand, then language model and projector learn together; every report it ever writes is English.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ikyoku.lab.lessons import batched, encoded, padded, train, train_and_save
from ikyoku.lab.phantoms import report
from ikyoku.lab.world import Passage
from ikyoku.lab.xray_recipes import Lesson, Recipe, Say
from ikyoku.lab.xray_texts import CONTEXT, FORMAT, INSTRUCTIONS, answer, make_tokenizer, passages, picture_prompt
from ikyoku.lab.xray_tower import MEAN, SPREAD, Pictures, normalised, taught, vision_config

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerFast


def make_base(recipe: Recipe, *, seed: int, folder: Path, progress: Say) -> None:
    """Makes the text base in a folder; continues what was interrupted."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = make_tokenizer(vocabulary=recipe.vocabulary, seed=seed)
    torch.manual_seed(seed)
    heads = recipe.hidden // 32
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.hidden,
        intermediate_size=recipe.hidden * 8 // 3 // 16 * 16,
        num_hidden_layers=recipe.layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    _learn(LlamaForCausalLM(config), tokenizer, "base", recipe.base, seed=seed, folder=folder, progress=progress)


def make_text_model(name: str, lesson: Lesson, *, base: Path, seed: int, folder: Path, progress: Say) -> None:
    """Tunes a text model from the base in a folder: "report-ja" or "medical"."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    _learn(model, tokenizer, name, lesson, seed=seed, folder=folder, progress=progress)


def _learn(
    model: Any, tokenizer: PreTrainedTokenizerFast, name: str, lesson: Lesson, *, seed: int, folder: Path, progress: Say
) -> None:
    def batches() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        block = 0
        while True:
            texts = passages(name, seed=seed, block=block)
            yield from batched(texts, tokenizer, lesson.batch, random.Random(f"{seed}/{block}/order"))
            block += 1

    rates = {"matrix_rate": lesson.matrix_rate, "learning_rate": lesson.learning_rate}
    train_and_save(model, tokenizer, batches(), steps=lesson.steps, **rates, folder=folder, progress=progress)


def joined(recipe: Recipe, *, base: Path, tower: Path, seed: int) -> Any:
    """Returns the untaught vision model: the base and the tower as they are, and a new projector."""
    import torch
    from transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        CLIPVisionModel,
        LlavaConfig,
        LlavaForConditionalGeneration,
    )

    text = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    seeing = CLIPVisionModel.from_pretrained(tower)
    torch.manual_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(base)
    config = LlavaConfig(
        vision_config=vision_config(recipe),
        text_config=text.config,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        image_seq_length=(recipe.picture // recipe.patch) ** 2 + 1,
        tie_word_embeddings=True,
    )
    model = LlavaForConditionalGeneration(config)
    model.model.language_model.load_state_dict(text.model.state_dict())
    model.model.vision_tower.load_state_dict(seeing.state_dict())
    model.tie_weights()
    model.generation_config = text.generation_config
    return model


def processor(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> Any:
    """Returns what turns `<image>` and pictures into a vision model's input."""
    from transformers import CLIPImageProcessorPil, LlavaProcessor

    size = recipe.picture
    images = CLIPImageProcessorPil(
        size={"height": size, "width": size},
        do_center_crop=False,
        crop_size={"height": size, "width": size},
        image_mean=[MEAN] * 3,
        image_std=[SPREAD] * 3,
    )
    return LlavaProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=recipe.patch,
        vision_feature_select_strategy="full",
        chat_template=tokenizer.chat_template,
        num_additional_image_tokens=1,
    )


def seen_by(model: Any, greys: NDArray[Any]) -> torch.Tensor:
    """Returns what the tower of a vision model makes of pictures: float16 (N, tokens, hidden)."""
    import torch

    model.eval()
    with torch.inference_mode():
        parts = [
            model.model.vision_tower(pixel_values=normalised(greys[i : i + 64])).last_hidden_state.half()
            for i in range(0, len(greys), 64)
        ]
    model.train()
    return torch.cat(parts)


def make_vision_model(
    recipe: Recipe, shown: Pictures, *, base: Path, tower: Path, seed: int, folder: Path, progress: Say
) -> None:
    """Teaches the vision model to describe the pictures of `taught` in English, and writes it to a folder."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    model = joined(recipe, base=base, tower=tower, seed=seed)
    features = seen_by(model, shown.greys)
    total = recipe.aligned.steps + recipe.vision.steps
    model.requires_grad_(False)
    model.model.multi_modal_projector.requires_grad_(True)
    for stage, lesson in enumerate((recipe.aligned, recipe.vision)):

        def say(done: int, _: int, before: int = stage * recipe.aligned.steps) -> None:
            progress(before + done, total)

        if stage:
            model.model.language_model.requires_grad_(True)
        batches = _described(recipe, lesson, tokenizer, features, seed=seed, stage=stage)
        train(
            model,
            batches,
            _described_loss,
            steps=lesson.steps,
            matrix_rate=lesson.matrix_rate,
            learning_rate=lesson.learning_rate,
            saved=folder / f"progress-{stage}.pt",
            progress=say,
        )
    model.requires_grad_(True)
    model.save_pretrained(folder)
    processor(recipe, tokenizer).save_pretrained(folder)
    for saved in folder.glob("progress-*.pt"):
        saved.unlink()


Described = tuple["torch.Tensor", "torch.Tensor", "torch.Tensor"]


def _described(
    recipe: Recipe,
    lesson: Lesson,
    tokenizer: PreTrainedTokenizerFast,
    features: torch.Tensor,
    *,
    seed: int,
    stage: int,
) -> Iterator[Described]:
    """Yields ids and labels (B, T) of English reports, and the features (B, tokens, hidden) of their pictures."""
    rng = random.Random(f"{seed}/described/{stage}")
    marks = (recipe.picture // recipe.patch) ** 2 + 1
    while True:
        chosen = [rng.randrange(len(features)) for _ in range(lesson.batch)]
        rows = []
        for number in chosen:
            prompt = picture_prompt("en", instruction=rng.randrange(len(INSTRUCTIONS["en"])))
            text = report(taught(seed, number), "en", wording=rng.randrange(20)).findings
            rows.append(encoded(Passage(prompt.replace("<image>", "<image>" * marks), answer(text, FORMAT)), tokenizer))
        ids, labels = padded(rows, tokenizer.pad_token_id)
        yield ids, labels, features[chosen].float()


def _described_loss(model: Any, batch: Described) -> torch.Tensor:
    import torch

    ids, labels, features = batch
    inner = model.model
    told = inner.multi_modal_projector(features)
    embedded = inner.language_model.embed_tokens(ids)
    marks = (ids == model.config.image_token_id).unsqueeze(-1)
    embedded = embedded.masked_scatter(marks.expand_as(embedded), told)
    hidden = inner.language_model(inputs_embeds=embedded, use_cache=False).last_hidden_state[:, :-1]
    learnt = labels[:, 1:] != -100
    return torch.nn.functional.cross_entropy(model.lm_head(hidden[learnt]), labels[:, 1:][learnt])
