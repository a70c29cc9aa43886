"""A phantom as a picture."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from ikyoku.lab.phantoms.anatomy import Chest, Map, airway, bones, chest, heart, smooth, spine, trunk, vessels
from ikyoku.lab.phantoms.lesions import DRAWN, Film, raised_dome, texture
from ikyoku.lab.phantoms.truth import FREQUENCIES, Phantom

MASTER = 512
"""Height and width of the master picture in pixels."""
WHITE = 4095
"""The largest value of the 12 bits of a master picture."""
TRACED = (*FREQUENCIES, "costophrenic_blunting")
"""The findings whose place is known, in the order in which `traced` gives it."""


def drawn(truth: Phantom, *, size: int = MASTER) -> NDArray[np.uint16]:
    """Returns the picture of a phantom: uint16 (size, size), 12 bits, bone bright, the patient's right on the left.

    The same phantom at another size shows the same chest; its noise is that of pixels of that size.
    """
    return traced(truth, size=size, cells=1)[0]


def traced(truth: Phantom, *, size: int, cells: int) -> tuple[NDArray[np.uint16], NDArray[np.float32]]:
    """Returns the picture of a phantom and where in it each finding is.

    Returns:
        The picture as from `drawn`, and float32 (TRACED, cells, cells): for each name of `TRACED` the share of each
        cell of the picture that the finding darkens or lightens, 0 to 1.
    """
    body = truth.body
    c = chest(body, size, raised=raised_dome(truth.findings))
    film = Film(c.air.copy(), np.zeros_like(c.x), np.zeros_like(c.x), vessels(c, _rng(truth, "vessels")))
    where = np.zeros((len(TRACED), cells, cells), np.float32)
    for finding in truth.findings:
        if finding.name in DRAWN:
            before = film.air.copy(), film.shadow.copy(), film.metal.copy()
            DRAWN[finding.name](film, c, finding, _rng(truth, finding.name))
            changed = sum(
                np.abs(new - old) for new, old in zip((film.air, film.shadow, film.metal), before, strict=True)
            )
        elif finding.name == "cardiomegaly":
            changed = heart(c)
        else:
            continue
        blunt = finding.certainty == "possible"
        row = TRACED.index("costophrenic_blunting" if blunt else finding.name)
        where[row] = _shares(np.asarray(changed) > 0.06, cells)
    shadow = _shadow(c, film)
    shadow -= _bubble(c) * smooth(np.asarray(body.bubble, np.float32), 0.3, 0.5)
    noisy = _developed(shadow, truth)
    rng = _rng(truth, "noise")
    grain = body.noise * min(1.0, (size / MASTER) ** 0.5)
    noisy += rng.normal(0, grain, noisy.shape).astype(np.float32) * (0.6 + 0.8 * (1 - noisy))
    _letter(noisy, c)
    return np.round(np.clip(noisy, 0, 1) * WHITE).astype(np.uint16), where


def _shares(here: NDArray[np.bool_], cells: int) -> NDArray[np.float32]:
    edge = here.shape[0] // cells
    cut = here[: edge * cells, : edge * cells].reshape(cells, edge, cells, edge)
    shares: NDArray[np.float32] = cut.mean((1, 3), dtype=np.float32)
    return shares


def _shadow(c: Chest, film: Film) -> Map:
    air = np.clip(film.air, 0, 1.45)
    out = trunk(c)
    inside = smooth(c.depth, -0.01, 0.03)
    out -= np.float32(0.43) * air
    organ = heart(c)
    # Where heart and lung overlap the heart's shadow is added whole: the air was taken off along the same ray.
    out += organ
    out -= np.float32(0.16) * airway(c)
    out += np.float32(0.10) * spine(c) * (1 - np.float32(0.35) * smooth(organ, 0.2, 0.35))
    out += np.float32(0.105) * np.minimum(bones(c), 1.7) * (np.float32(0.55) + np.float32(0.45) * inside)
    out += np.float32(0.13) * np.minimum(film.vessels, 1.6) * np.minimum(air * 1.4, 1)
    out += film.shadow
    out += np.float32(0.05) * (texture(np.random.default_rng(3), c, 40) - 0.5) * inside
    out += film.metal
    return out


def _bubble(c: Chest) -> Map:
    """The air of the stomach below the left dome."""
    away = np.hypot((c.x - 0.36) / 0.17, (c.y - c.body.diaphragm - 0.16) / 0.085)
    return np.float32(0.22) * (1 - smooth(away.astype(np.float32), 0.7, 1.1)) * smooth(c.y - c.dome, 0.02, 0.05)


def _developed(shadow: Map, truth: Phantom) -> Map:
    """The film's curve: exposure moves the shadows, contrast spreads them, the ends are compressed."""
    body = truth.body
    level = (shadow * np.float32(body.contrast) - np.float32(0.02)) * np.float32(1.55) / np.float32(body.exposure)
    made: Map = np.float32(1.06) * (1 - np.exp(-(np.clip(level, 0, None) ** 1.25))).astype(np.float32)
    return made


def _letter(picture: Map, c: Chest) -> None:
    """The lead letter R beside the patient's right shoulder."""
    size = picture.shape[0]
    glyph = np.array([[int(b) for b in row] for row in ("1110", "1001", "1001", "1110", "1010", "1001", "1001")], bool)
    unit = max(1, round(size / 128))
    stamp = np.kron(glyph, np.ones((unit, unit), bool))
    top, left = round(size * 0.05), round(size * 0.045)
    area = picture[top : top + stamp.shape[0], left : left + stamp.shape[1]]
    area[stamp] = np.maximum(area[stamp], 0.96)


def _rng(truth: Phantom, part: str) -> np.random.Generator:
    digest = hashlib.sha256(f"{truth.seed}/{truth.id}/{part}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))
