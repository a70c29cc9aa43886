"""The findings of a phantom, drawn into its maps."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ikyoku.findings.types import Finding
from ikyoku.lab.phantoms.anatomy import Chest, Map, smooth, stroke

_HEIGHTS = {"upper": (0.16, 0.34), "middle": (0.46, 0.60), "lower": (0.72, 0.88)}
"""Where the middle of a lesion may lie, as a share of the way from the apex to the diaphragm."""


@dataclass(slots=True)
class Film:
    """What the drawing of findings may change: the share of air, what is added to the shadow, and the vessels."""

    air: Map
    shadow: Map
    metal: Map
    vessels: Map


def texture(rng: np.random.Generator, c: Chest, cells: int) -> Map:
    """Returns a smooth random field between 0 and 1 with so many cells across the picture, at any size alike."""
    grid = rng.random((cells + 3, cells + 3)).astype(np.float32)
    px, py = ((v + np.float32(1.5)) / 3 * cells for v in (c.x, c.y))
    px, py = np.clip(px, 0, cells + 0.999), np.clip(py, 0, cells + 0.999)
    ix, iy = px.astype(np.int64), py.astype(np.int64)
    fx, fy = px - ix, py - iy
    fx, fy = fx * fx * (3 - 2 * fx), fy * fy * (3 - 2 * fy)
    top = grid[iy, ix] * (1 - fx) + grid[iy, ix + 1] * fx
    low = grid[iy + 1, ix] * (1 - fx) + grid[iy + 1, ix + 1] * fx
    return (top * (1 - fy) + low * fy).astype(np.float32)


def _signs(finding: Finding) -> tuple[float, ...]:
    """The sides of the picture: the patient's right is on its left."""
    return {"right": (-1.0,), "left": (1.0,), "both": (-1.0, 1.0), "": ()}[finding.side]


def _place(rng: np.random.Generator, c: Chest, finding: Finding, sign: float, margin: float) -> tuple[float, float]:
    """The middle of a lesion in the finding's zone, so far inside the lung that it is seen."""
    (zone,) = finding.sites
    low, high = _HEIGHTS[zone]
    body = c.body
    share = rng.uniform(low, high)
    y = body.apex + share * (body.diaphragm - body.apex)
    t = (y - body.apex) / (body.diaphragm + 0.24 - body.apex)
    outer = 0.27 + (body.width - 0.27) * (1 - (1 - t) ** 2.7) ** 0.47
    inner = 0.16 if zone != "lower" else 0.24 if sign < 0 else 2 * body.width * body.heart * 0.66 * 0.9
    inner, outer = inner + margin, outer - margin
    return sign * (rng.uniform(inner, outer) if outer > inner else (inner + outer) / 2), y


def _infiltrate(film: Film, c: Chest, finding: Finding, rng: np.random.Generator) -> None:
    for sign in _signs(finding):
        x, y = _place(rng, c, finding, sign, 0.12)
        wide, tall = rng.uniform(0.14, 0.21), rng.uniform(0.12, 0.17)
        ragged = texture(rng, c, 26) - 0.5
        away = np.hypot((c.x - x) / wide, (c.y - y) / tall) + np.float32(0.75) * ragged
        cloud = (1 - smooth(away, 0.45, 1.25)) * (np.float32(0.62) + np.float32(0.5) * texture(rng, c, 60))
        film.air *= 1 - np.float32(rng.uniform(0.66, 0.86)) * np.clip(cloud, 0, 1)


def _round(film: Film, c: Chest, x: float, y: float, radius: float, weight: float, lobes: float, phase: float) -> None:
    angle = np.arctan2(c.y - y, c.x - x)
    edge = radius * (1 + lobes * np.cos(3 * angle + phase) + 0.5 * lobes * np.cos(5 * angle - phase))
    away = np.hypot(c.x - x, c.y - y) / edge
    ball = np.sqrt(np.clip(1 - away**2, 0, 1)) * 0.5 + 0.5 * (1 - smooth(away.astype(np.float32), 0.75, 1.1))
    film.shadow += np.float32(weight) * ball * (c.depth > -0.02)


def _nodule(film: Film, c: Chest, finding: Finding, rng: np.random.Generator) -> None:
    (sign,) = _signs(finding)
    x, y = _place(rng, c, finding, sign, 0.07)
    _round(film, c, x, y, rng.uniform(0.045, 0.060), rng.uniform(0.26, 0.34), 0.03, rng.uniform(0, 6))


def _mass(film: Film, c: Chest, finding: Finding, rng: np.random.Generator) -> None:
    (sign,) = _signs(finding)
    x, y = _place(rng, c, finding, sign, 0.10)
    _round(film, c, x, y, rng.uniform(0.105, 0.14), rng.uniform(0.32, 0.40), 0.06, rng.uniform(0, 6))


def _atelectasis(film: Film, c: Chest, finding: Finding, rng: np.random.Generator) -> None:
    """A collapsed lobe: a wedge with one straight border, against the mediastinum."""
    (sign,) = _signs(finding)
    body, lateral = c.body, c.x * np.float32(sign)
    if "upper" in finding.sites:
        # The raised minor fissure runs from the hilum up to the wall.
        base, lift = rng.uniform(-0.34, -0.26), rng.uniform(0.22, 0.34)
        border = base - lift * np.clip((lateral - 0.12) / (body.width - 0.12), 0, 1) ** 0.8
        wedge = smooth(border - c.y, -0.008, 0.012)
    else:
        top, reach = rng.uniform(-0.02, 0.08), rng.uniform(0.46, 0.58)
        border = 0.16 + (reach - 0.16) * np.clip((c.y - top) / (body.diaphragm + 0.1 - top), 0, 1.2)
        wedge = smooth(border - lateral, -0.008, 0.012) * smooth(c.y, top - 0.04, top + 0.02)
    wedge = wedge * (lateral > 0)
    film.air *= 1 - np.float32(rng.uniform(0.8, 0.92)) * wedge
    film.shadow += np.float32(0.06) * wedge * smooth(c.depth, -0.01, 0.02)
    film.vessels *= 1 - wedge


def _effusion(film: Film, c: Chest, finding: Finding, rng: np.random.Generator) -> None:
    """Fluid that rises along the wall; a small one only fills the costophrenic angle."""
    body = c.body
    for sign in _signs(finding):
        lateral = c.x * np.float32(sign)
        small = finding.certainty == "possible"
        height = rng.uniform(0.10, 0.16) if small else rng.uniform(0.30, 0.52)
        bottom = body.diaphragm + 0.24
        across = np.clip(lateral / body.width, 0, 1.05)
        if small:
            level = bottom - height * np.clip((across - 0.62) / 0.38, 0, 1.1) ** 1.2 - 0.0 * across
            level = np.where(across < 0.62, np.float32(2.0), level)
        else:
            level = bottom - height * (0.42 + 0.18 * across + 0.50 * across**6)
        fluid = smooth(c.y - level.astype(np.float32), -0.02, 0.05) * (lateral > 0)
        film.air *= 1 - np.float32(0.95) * fluid
        # Fluid is as dense as the belly below it: the dome is lost in it.
        film.shadow += np.float32(0.22) * fluid * smooth(c.depth, -0.02, 0.03)
        film.vessels *= 1 - fluid


def _pneumothorax(film: Film, c: Chest, finding: Finding, rng: np.random.Generator) -> None:
    """Air without vessels along the wall and at the apex, the thin line of the pleura, a lung that is denser."""
    (sign,) = _signs(finding)
    body, lateral = c.body, c.x * np.float32(sign)
    rim = rng.uniform(0.12, 0.22)
    fall = np.clip((c.y - body.apex) / 1.2, 0, 1)
    width = rim * (1.05 - 0.45 * fall)
    # The lung shrinks away from wall and apex alike; a soft minimum of both distances rounds its corner.
    inside = -np.logaddexp(-18 * (c.cage - lateral), -18 * ((c.y - body.apex) * np.float32(0.85) + 0.02)) / 18 + 0.015
    edge = (inside - width).astype(np.float32)  # above 0: the lung
    here = (lateral > 0) * (c.depth > -0.03)
    gap = (1 - smooth(edge, -0.008, 0.008)) * here
    film.vessels *= 1 - gap
    film.air += np.float32(0.42) * gap * c.air - np.float32(rng.uniform(0.14, 0.22)) * c.air * (1 - gap) * here
    film.shadow += np.float32(0.15) * (1 - smooth(np.abs(edge), 0.004, 0.013)) * smooth(c.depth, -0.01, 0.03) * here


def _edema(film: Film, c: Chest, finding: Finding, rng: np.random.Generator) -> None:
    """Haze around both hila, and vessels that are wide and blurred."""
    strength = rng.uniform(0.5, 0.68)
    for sign in _signs(finding):
        away = np.hypot((c.x - sign * 0.27) / 0.30, (c.y + 0.02) / 0.42) + 0.45 * (texture(rng, c, 30) - 0.5)
        haze = 1 - smooth(away.astype(np.float32), 0.35, 1.25)
        film.air *= 1 - np.float32(strength) * haze
    film.vessels *= np.float32(1.6)


def _line(
    film: Film, c: Chest, path: list[tuple[float, float]], half: float, weight: float, hollow: float = 0.0
) -> None:
    stroke(film.metal, c, _rounded(path), half, weight, hollow=hollow)


def _rounded(path: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The same course without corners: each is cut twice (Chaikin)."""
    for _ in range(2):
        cut = [path[0]]
        for (ax, ay), (bx, by) in itertools.pairwise(path):
            cut += [(ax * 0.75 + bx * 0.25, ay * 0.75 + by * 0.25), (ax * 0.25 + bx * 0.75, ay * 0.25 + by * 0.75)]
        path = [*cut, path[-1]]
    return path


def _catheter(film: Film, c: Chest, finding: Finding, rng: np.random.Generator) -> None:
    """From under the clavicle or the side of the neck to the superior vena cava, right of the midline."""
    (sign,) = _signs(finding)
    top, tip = c.body.apex, rng.uniform(-0.12, 0.02)
    if rng.random() < 0.5:
        path = [(sign * 0.78, top + 0.26), (sign * 0.52, top + 0.16), (sign * 0.26, top + 0.20)]
    else:
        path = [(sign * 0.24, -1.05), (sign * 0.20, top + 0.02), (sign * 0.17, top + 0.22)]
    path += [(-0.05 if sign > 0 else -0.11, top + 0.34), (-0.10, -0.28), (-0.095, tip)]
    _line(film, c, path, 0.0135, 0.40)


def _pacemaker(film: Film, c: Chest, finding: Finding, rng: np.random.Generator) -> None:
    """A generator below the clavicle and a lead through the vena cava to the tip of the right ventricle."""
    (sign,) = _signs(finding)
    x, y = sign * rng.uniform(0.56, 0.66), c.body.apex + rng.uniform(0.30, 0.40)
    box = np.maximum(np.abs(c.x - x) / 0.105, np.abs(c.y - y) / 0.085) ** 2.0
    corner = (np.abs((c.x - x) / 0.115) ** 3.2 + np.abs((c.y - y) / 0.095) ** 3.2).astype(np.float32)
    film.metal += (
        np.float32(0.75) * (1 - smooth(corner, 0.8, 1.05)) * (0.8 + 0.2 * smooth(box.astype(np.float32), 0.3, 0.6))
    )
    path = [
        (x - sign * 0.06, y - 0.07),
        (sign * 0.36, c.body.apex + 0.16),
        (-0.04 if sign > 0 else -0.16, c.body.apex + 0.34),
    ]
    path += [(-0.10, -0.20), (-0.11, 0.16), (0.02, 0.36), (rng.uniform(0.20, 0.28), rng.uniform(0.38, 0.44))]
    _line(film, c, path, 0.0125, 0.5)


def _endotracheal(film: Film, c: Chest, finding: Finding, rng: np.random.Generator) -> None:
    tip = rng.uniform(-0.42, -0.34)
    _line(film, c, [(0.0, -1.1), (-0.005, -0.8), (0.01, tip)], 0.030, 0.40, hollow=0.75)


def _gastric(film: Film, c: Chest, finding: Finding, rng: np.random.Generator) -> None:
    path = [
        (0.02, -1.1),
        (0.035, -0.6),
        (0.03, -0.1),
        (0.035, 0.35),
        (0.10, 0.58),
        (0.24, 0.70),
        (0.33, rng.uniform(0.74, 0.84)),
    ]
    _line(film, c, path, 0.0145, 0.42)


def _drain(film: Film, c: Chest, finding: Finding, rng: np.random.Generator) -> None:
    """Through the wall at the side, then along it up towards the apex."""
    (sign,) = _signs(finding)
    wide, top = c.body.width, c.body.apex
    entry = rng.uniform(0.02, 0.24)
    path = [(sign * (wide + 0.22), entry + 0.10), (sign * (wide - 0.04), entry), (sign * (wide - 0.18), entry - 0.22)]
    path += [(sign * (wide - 0.26), -0.25), (sign * rng.uniform(0.30, 0.36), top + rng.uniform(0.22, 0.30))]
    _line(film, c, path, 0.020, 0.40, hollow=0.4)


DRAWN: Mapping[str, Callable[[Film, Chest, Finding, np.random.Generator], None]] = {
    "infiltrate": _infiltrate,
    "nodule": _nodule,
    "mass": _mass,
    "atelectasis": _atelectasis,
    "pleural_effusion": _effusion,
    "pneumothorax": _pneumothorax,
    "edema": _edema,
    "cv_catheter": _catheter,
    "pacemaker": _pacemaker,
    "endotracheal_tube": _endotracheal,
    "gastric_tube": _gastric,
    "chest_drain": _drain,
}
"""How each finding is drawn; a large heart is a matter of the body, a blunt angle of its effusion."""


def raised_dome(findings: tuple[Finding, ...]) -> float:
    """Returns by how much a collapsed lower lobe lifts its diaphragm, below zero on the image's left.

    >>> raised_dome((Finding("atelectasis", "present", "right", frozenset({"lower"})),))
    -0.08
    """
    for finding in findings:
        if finding.name == "atelectasis" and "lower" in finding.sites:
            return math.copysign(0.08, _signs(finding)[0])
    return 0.0
