"""The tower of the X-ray lab's vision model: CLIP's, taught to tell what a phantom shows and where."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ikyoku.lab.lessons import train
from ikyoku.lab.phantoms import Phantom, grey, phantom, traced
from ikyoku.lab.xray_recipes import Recipe, Say

if TYPE_CHECKING:
    import torch

MEAN, SPREAD = 0.5, 0.25
"""Of the pictures' grey values between 0 and 1."""


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

    Telling where makes each patch a lesson of its own; both layers that tell are thrown away.
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
