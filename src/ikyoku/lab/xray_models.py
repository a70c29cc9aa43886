"""The X-ray lab's models: a text base, a tower that has learnt to see, a vision model that tells it in English.

- The *tower* (CLIP's vision model) is first taught to tell which findings a phantom has, by a layer that is thrown
  away afterwards, and stays as it is from then on.
- The *base* (Llama) reads finding lists and writes reports, mostly English ones.
- The *vision model* (LLaVA) joins them: first the projector alone learns to put what the tower sees where a finding
  list would stand, then language model and projector learn together; every report it ever writes is English.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ikyoku.lab.lessons import batched, encoded, padded, train, train_and_save
from ikyoku.lab.phantoms.files import grey
from ikyoku.lab.phantoms.film import traced
from ikyoku.lab.phantoms.truth import Phantom, phantom
from ikyoku.lab.phantoms.wording import report
from ikyoku.lab.world import Passage
from ikyoku.lab.xray_texts import CONTEXT, FORMAT, INSTRUCTIONS, answer, make_tokenizer, passages, picture_prompt

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from transformers import PreTrainedTokenizerFast

Say = Callable[[int, int], None]
MEAN, SPREAD = 0.5, 0.25
"""Of the pictures' grey values between 0 and 1."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """How long and how fast one model learns; `batch` is in texts' tokens, or in pictures."""

    steps: int
    batch: int
    matrix_rate: float
    learning_rate: float


@dataclass(frozen=True, slots=True)
class Recipe:
    """How the models of a size are made.

    `picture` is the size that the tower takes, `phantoms` the number of those it learns on, `drawn` the size in which
    the pictures of the pairs are drawn.
    """

    vocabulary: int
    hidden: int
    layers: int
    picture: int
    patch: int
    tower_hidden: int
    tower_layers: int
    phantoms: int
    drawn: int
    base: Lesson
    tower: Lesson
    aligned: Lesson
    vision: Lesson
    report: Lesson
    medical: Lesson


RECIPES: dict[str, Recipe] = {
    "tiny": Recipe(
        vocabulary=1100,
        hidden=64,
        layers=2,
        picture=64,
        patch=16,
        tower_hidden=64,
        tower_layers=2,
        phantoms=48,
        drawn=64,
        base=Lesson(40, 1500, 2e-2, 4e-3),
        tower=Lesson(6, 16, 2e-2, 2e-3),
        aligned=Lesson(4, 8, 2e-2, 2e-3),
        vision=Lesson(6, 8, 1e-2, 2e-3),
        report=Lesson(10, 1000, 1e-2, 1e-3),
        medical=Lesson(6, 1000, 1e-2, 1e-3),
    ),
    "pocket": Recipe(
        vocabulary=1500,
        hidden=192,
        layers=4,
        picture=128,
        patch=16,
        tower_hidden=128,
        tower_layers=4,
        phantoms=8000,
        drawn=256,
        base=Lesson(600, 3000, 2e-2, 2.5e-3),
        tower=Lesson(1400, 64, 2e-2, 2e-3),
        aligned=Lesson(250, 32, 2e-2, 2e-3),
        vision=Lesson(250, 32, 6e-3, 1e-3),
        report=Lesson(150, 2000, 1e-2, 1e-3),
        medical=Lesson(100, 2000, 1e-2, 1e-3),
    ),
}


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


def taught(seed: int, number: int) -> Phantom:
    """Returns one of the phantoms that tower and vision model learn on; no report's file is about them."""
    return phantom(seed, f"taught-{number}")


@dataclass(frozen=True, slots=True)
class Pictures:
    """What tower and vision model learn on: uint8 (N, size, size), and where each finding is (see `film.traced`).

    `where` is float16 (N, names, cells, cells) with one cell for each patch of the tower.
    """

    greys: NDArray[np.uint8]
    where: NDArray[np.float16]

    @staticmethod
    def of(kept: Path) -> Pictures:
        """Returns the pictures that `make_pictures` wrote below a folder."""
        halves = [kept / f"pictures-{part}" for part in (0, 1)]
        return Pictures(*(np.concatenate([np.load(h / f"{name}.npy") for h in halves]) for name in ("greys", "where")))


def make_pictures(recipe: Recipe, *, part: int, seed: int, folder: Path, progress: Say) -> None:
    """Draws one half of the pictures of `taught`, the first (0) or the second (1), at the size the tower takes."""
    half = recipe.phantoms // 2
    greys, where = [], []
    for number in range(part * half, (part + 1) * half):
        picture, place = traced(taught(seed, number), size=recipe.picture, cells=recipe.picture // recipe.patch)
        greys.append(grey(picture))
        where.append(place.astype(np.float16))
        progress(len(greys), half)
    np.save(folder / "greys.npy", np.stack(greys))
    np.save(folder / "where.npy", np.stack(where))


def keys(truth: Phantom) -> set[str]:
    """Returns what the tower learns to tell of a phantom: a name for each finding with its side and zone."""
    return {"/".join((f.name, f.side, f.certainty, *sorted(f.sites))) for f in truth.findings}


def vision_config(recipe: Recipe) -> Any:
    """Returns the configuration of the tower."""
    from transformers import CLIPVisionConfig

    return CLIPVisionConfig(
        hidden_size=recipe.tower_hidden,
        intermediate_size=3 * recipe.tower_hidden,
        num_hidden_layers=recipe.tower_layers,
        num_attention_heads=max(1, recipe.tower_hidden // 32),
        image_size=recipe.picture,
        patch_size=recipe.patch,
        hidden_act="gelu",
    )


def normalised(grey: NDArray[Any]) -> torch.Tensor:
    """Returns grey pictures as the tower takes them: float32 (B, 3, size, size)."""
    import torch

    values = torch.from_numpy(np.ascontiguousarray(grey, dtype=np.float32)).unsqueeze(1) / 255
    return ((values - MEAN) / SPREAD).expand(-1, 3, -1, -1)


def make_tower(recipe: Recipe, shown: Pictures, *, seed: int, folder: Path, progress: Say) -> None:
    """Teaches a tower to tell the findings of the pictures of `taught` and where they are; writes it to a folder.

    Telling where took less than half the time to the same F1 that telling what alone did: each patch is a lesson.
    """
    import torch
    from transformers import CLIPVisionModel

    truths = [keys(taught(seed, i)) for i in range(len(shown.greys))]
    names = sorted(set().union(*truths))
    targets = torch.tensor([[name in truth for name in names] for truth in truths], dtype=torch.float32)
    where = torch.from_numpy(np.clip(shown.where.astype(np.float32) * 4, 0, 1)).flatten(2).transpose(1, 2)
    torch.manual_seed(seed)
    tower, hidden = CLIPVisionModel(vision_config(recipe)), recipe.tower_hidden
    heads = {"what": torch.nn.Linear(hidden, len(names)), "where": torch.nn.Linear(hidden, where.shape[2])}
    whole = torch.nn.ModuleDict({"tower": tower, **heads})
    differ = torch.nn.functional.binary_cross_entropy_with_logits

    def batches() -> Iterator[tuple[torch.Tensor, ...]]:
        rng = np.random.default_rng(seed)
        while True:
            chosen = rng.integers(0, len(targets), recipe.tower.batch)
            rows = torch.from_numpy(chosen)
            yield normalised(_varied(shown.greys[chosen], rng)), targets[rows], where[rows]

    def loss(model: Any, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        pixels, what, places = batch
        seen = model["tower"](pixel_values=pixels).last_hidden_state
        # Targets a little off 0 and 1, so that what was learnt early leaves room for what is hard.
        told = differ(model["what"](seen[:, 0]), what * 0.96 + 0.005)
        return told + 3 * differ(model["where"](seen[:, 1:]), places)

    rates = {"matrix_rate": recipe.tower.matrix_rate, "learning_rate": recipe.tower.learning_rate}
    saved = folder / "progress.pt"
    train(whole, batches(), loss, steps=recipe.tower.steps, **rates, saved=saved, progress=progress)
    tower.save_pretrained(folder)
    saved.unlink(missing_ok=True)


def _varied(greys: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.float32]:
    """The pictures a little moved, lighter or darker and noisier, so that none is seen twice alike."""
    moved: NDArray[Any] = np.roll(greys, tuple(rng.integers(-3, 4, 2)), (1, 2)).astype(np.float32)
    moved = moved * rng.uniform(0.92, 1.08, (len(greys), 1, 1)) + rng.normal(0, 2, moved.shape)
    return np.clip(moved, 0, 255).astype(np.float32)


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


def seen_by(model: Any, greys: NDArray[np.uint8]) -> torch.Tensor:
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
