"""A chest drawn with a few strokes, for tests of reading and writing: not a phantom with a truth."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def chest(rows: int = 240, columns: int = 200, *, bits: int = 12, seed: int = 0) -> npt.NDArray[Any]:
    """Returns stored values, bone bright: two dark lungs, a heart, ribs, noise; a collimated border of 0."""
    y, x = np.mgrid[0 : 1 : rows * 1j, 0 : 1 : columns * 1j]
    value = np.full((rows, columns), 0.55)
    for centre in (0.3, 0.7):
        value -= 0.38 * (((x - centre) / 0.16) ** 2 + ((y - 0.45) / 0.32) ** 2 < 1)
    value += 0.25 * (((x - 0.56) / 0.15) ** 2 + ((y - 0.62) / 0.15) ** 2 < 1)
    value += 0.07 * (np.sin(y * 55 + 9 * (x - 0.5) ** 2) > 0.75)
    value += 0.15 * (abs(x - 0.5) < 0.03)
    value += np.random.default_rng(seed).normal(0, 0.015, value.shape)
    value[:6], value[-6:], value[:, :5], value[:, -5:] = 0, 0, 0, 0
    stored = np.clip(value, 0, 1) * ((1 << bits) - 1)
    return stored.round().astype(np.uint8 if bits == 8 else np.uint16)
