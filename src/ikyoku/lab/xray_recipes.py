"""How the X-ray lab's models are made: sizes, steps and rates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Say = Callable[[int, int], None]
"""Called with the steps done and the steps in all."""


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
        aligned=Lesson(60, 32, 2e-2, 2e-3),
        vision=Lesson(380, 32, 1e-2, 1e-3),
        report=Lesson(150, 2000, 1e-2, 1e-3),
        medical=Lesson(100, 2000, 1e-2, 1e-3),
    ),
}
