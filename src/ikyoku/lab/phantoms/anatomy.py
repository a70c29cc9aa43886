"""The normal chest of a phantom, as a map of how much the rays are weakened.

A picture is a sum of what lies along each ray: trunk, minus air in the lungs, plus heart, vessels, spine and bones.
All maps are float32, (H, W), in the frame of `Body` (x right, y down, -1 to 1), whatever the size in pixels.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ikyoku.lab.phantoms.truth import Body

_SEEN = 0.7
"""Lines of less than so many pixels are not drawn: they would only make the picture slow."""
Map = NDArray[Any]
"""A map of the picture: float32 (H, W)."""
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Chest:
    """The frame of a picture and where its parts are.

    `x` and `y` are the coordinates of the pixels in the body's frame. `cage` is half the inner width of the rib cage
    at each pixel's height, `dome` the height of the diaphragm at each pixel's x. `depth` is how deep a pixel lies in
    a lung (below zero outside). `air` is the share of a full lung's air along the ray, 0 to 1.
    """

    body: Body
    x: Map
    y: Map
    cage: Map
    dome: Map
    depth: Map
    air: Map

    @property
    def size(self) -> int:
        """Returns the height and width in pixels."""
        return int(self.x.shape[0])


def smooth(values: Map, low: float, high: float) -> Map:
    """Returns 0 below `low`, 1 above `high` and a smooth step between them.

    >>> smooth(np.float32([0.0, 0.5, 1.0]), 0.0, 1.0).tolist()
    [0.0, 0.5, 1.0]
    """
    t = np.clip((values - np.float32(low)) / np.float32(high - low), 0, 1)
    step: Map = t * t * (3 - 2 * t)
    return step


def chest(body: Body, size: int, *, raised: float = 0.0) -> Chest:
    """Returns the frame of a body at a size in pixels.

    Args:
        body: of the phantom.
        size: height and width in pixels.
        raised: by how much the diaphragm is higher, on the image's left where negative and on its right else.
    """
    line = ((np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1) / np.float32(body.scale)
    u, v = np.meshgrid(line - np.float32(body.shift), line - np.float32(body.rise))
    cos, sin = np.float32(np.cos(body.rotation)), np.float32(np.sin(body.rotation))
    x, y = u * cos + v * sin, v * cos - u * sin
    lateral = np.abs(x)
    bottom = np.float32(body.diaphragm + 0.24)
    t = np.clip((y - np.float32(body.apex)) / (bottom - np.float32(body.apex)), 0, 1)
    tip = np.float32(0.27)
    outer = tip + (np.float32(body.width) - tip) * (1 - (1 - t) ** 2.7) ** 0.47
    inner = tip - (tip - np.float32(0.125)) * (1 - (1 - t) ** 7) ** 0.5
    # The right dome is the higher one; both meet behind the heart without a step.
    leftness = smooth(x, -0.22, 0.22)
    dome = np.float32(body.diaphragm) + np.float32(0.05) * (leftness - np.float32(0.5))
    dome = dome - np.float32(abs(raised)) * (leftness if raised > 0 else 1 - leftness)
    peak, edge = np.float32(0.36), np.float32(body.width)
    away = np.where(lateral > peak, (lateral - peak) / (edge - peak), (peak - lateral) / peak * np.float32(0.62))
    dome = dome + np.float32(0.26) * np.clip(away, 0, 1.3) ** 2.2
    depth = np.minimum(np.minimum(lateral - inner, outer - lateral), dome - y)
    depth = np.where(y < np.float32(body.apex), np.float32(-0.2), depth).astype(np.float32)
    air = smooth(depth, -0.006, 0.012) * (np.float32(0.55) + np.float32(0.45) * smooth(depth, 0.0, 0.17))
    return Chest(body, x, y, outer.astype(np.float32), dome.astype(np.float32), depth, air.astype(np.float32))


def trunk(c: Chest) -> Map:
    """Returns the soft tissue without the lungs: thick in the middle, thinner above, none beside the body."""
    wall = c.body.width + 0.13 * c.body.build
    neck = smooth(c.y, -1.12, -0.62)
    half = np.float32(0.52) + (np.float32(wall) - np.float32(0.52)) * neck
    # The shoulders: above the lungs the trunk is as wide as the picture, and its upper edge falls outwards.
    shoulder = smooth(c.y + np.float32(0.93) - np.float32(0.42) * np.clip(np.abs(c.x) - 0.25, 0, 1) ** 1.5, -0.02, 0.06)
    half = np.where(c.y < 0.1, half + np.float32(0.35) * smooth(-c.y, 0.05, 0.75), half)
    inside = 1 - smooth(np.abs(c.x) / half, 0.97, 1.0)
    profile = np.sqrt(np.clip(1 - (np.abs(c.x) / half) ** 2, 0, 1))
    thick = np.float32(0.40) + np.float32(0.32) * profile
    belly = np.float32(0.32) * smooth(c.y - c.dome, -0.015, 0.03) * profile
    made: Map = np.float32(c.body.build) * inside * (thick * np.maximum(shoulder, 0.0) + belly)
    return made


def heart(c: Chest) -> Map:
    """Returns the heart and the great vessels: one silhouette with the border of the left side drawn out."""
    across = 2 * c.body.width * c.body.heart
    right, left = across * 0.34, across * 0.66
    top, widest, low = -0.16, 0.27, 0.66
    up = np.clip((widest - c.y) / (widest - top), 0, 1)
    down = np.clip((c.y - widest) / (low - widest), 0, 1)
    to_right = right * np.where(c.y < widest, (1 - up**2.4) ** 0.6, (1 - down**2.6) ** 0.5)
    # The left border runs obliquely: from the pulmonary trunk down to the apex.
    lean = np.clip((c.y - top) / (0.36 - top), 0, 1)
    to_left = left * np.where(
        c.y < 0.36, 0.30 + 0.70 * lean**1.05, (1 - np.clip((c.y - 0.36) / 0.27, 0, 1) ** 2.4) ** 0.5
    )
    to_left = np.where(c.y < top, 0, to_left)
    edge = np.where(c.x < 0, to_right + c.x, to_left - c.x).astype(np.float32)
    silhouette = smooth(edge, -0.012, 0.02) * (c.y > top)
    bulk = np.float32(0.24) + np.float32(0.16) * smooth(edge, 0.0, 0.24)
    out = silhouette * bulk
    knob = np.hypot(c.x - 0.115, (c.y + 0.335) * 0.9)
    trunk_ = np.hypot((c.x - 0.10), (c.y + 0.13) * 0.62)
    cava = smooth(0.155 - np.abs(c.x + 0.045), -0.01, 0.03) * smooth(c.y, -0.62, -0.3) * (1 - smooth(c.y, -0.12, 0.1))
    out = np.maximum(out, np.float32(0.27) * (1 - smooth(knob, 0.095, 0.125)))
    out = np.maximum(out, np.float32(0.22) * (1 - smooth(trunk_, 0.10, 0.135)))
    out = np.maximum(out, np.float32(0.15) * cava)
    width = 0.085 + 0.02 * smooth(c.y, -0.8, -0.3)
    column = np.float32(0.17) * (1 - smooth(np.abs(c.x) / width, 0.7, 1.5)) * (1 - smooth(c.y, 0.4, 0.7))
    made: Map = np.maximum(out, column).astype(np.float32)
    return made


def airway(c: Chest) -> Map:
    """Returns the air of the trachea and the main bronchi."""
    middle = 0.008 + 0.012 * smooth(c.y, -0.6, -0.25)
    tube = (1 - smooth(np.abs(c.x - middle), 0.024, 0.048)) * (1 - smooth(c.y, -0.26, -0.20))
    bronchi = np.zeros_like(c.x)
    for ends in (((0.015, -0.24), (-0.13, -0.10)), ((0.015, -0.24), (0.17, -0.09))):
        stroke(bronchi, c, ends, 0.024, 1.0)
    made: Map = np.maximum(tube, np.float32(0.7) * bronchi).astype(np.float32)
    return made


def spine(c: Chest) -> Map:
    """Returns the vertebrae: a column with a disc every so often and pedicles beside it."""
    column = 1 - smooth(np.abs(c.x), 0.062, 0.085)
    phase = (c.y * np.float32(7.6)) % 1
    disc = smooth(np.abs(phase - np.float32(0.5)), 0.06, 0.16)
    body = column * (np.float32(0.55) + np.float32(0.45) * disc)
    pedicle = np.hypot((np.abs(c.x) - 0.043) * 1.3, (((phase + 0.02) % 1) - 0.0) / 7.6 - 0.015)
    made: Map = (body + np.float32(0.35) * (1 - smooth(pedicle, 0.010, 0.020))).astype(np.float32)
    return made


def bones(c: Chest) -> Map:
    """Returns ribs, clavicles and the inner borders of the shoulder blades."""
    out = np.zeros_like(c.x)
    body = c.body
    bottom = body.diaphragm + 0.24
    gap = (bottom - body.apex) / 9.6
    for sign in (-1.0, 1.0):
        for number in range(10):
            start = body.apex - 0.055 + gap * number
            _rib(out, c, sign, start, body.slope * (0.35 + 0.085 * number), 0.030 + 0.0006 * number, 1.0)
        for number in range(1, 7):
            # The fore parts fall steeply towards the breastbone and end in cartilage, which casts no shadow.
            _fore_rib(out, c, sign, body.apex + 0.20 + gap * 1.06 * number, 0.55)
        inner, outer = (sign * 0.075, body.apex + 0.23), (sign * (body.width + 0.16), body.apex + 0.02)
        path = [
            (
                inner[0] + (outer[0] - inner[0]) * t,
                inner[1] + (outer[1] - inner[1]) * t - 0.045 * np.sin(np.pi * 1.7 * t) * (1 - 0.3 * t),
            )
            for t in np.linspace(0, 1, 9)
        ]
        stroke(out, c, path, 0.036, 1.5, hollow=0.35)
        blade = [
            (sign * (body.width * (0.93 + 0.16 * t)), body.apex + 0.22 + 0.50 * t) for t in (1.0, 0.7, 0.4, 0.1, -0.1)
        ]
        stroke(out, c, blade, 0.045, 0.5)
    return out


def _rib(out: Map, c: Chest, sign: float, start: float, fall: float, half: float, weight: float) -> None:
    """Adds the back part of a rib: from the spine a little up, then outwards and down to the wall."""
    body = c.body
    reach = body.width * 1.0
    lowest, highest = start + fall + 0.22, start - 0.10
    rows = _rows(c, highest, lowest)
    x, y, cage = c.x[rows] * np.float32(sign), c.y[rows], c.cage[rows]
    t = np.clip(x / np.float32(reach), 0, 1.1)
    middle = start - 0.05 * np.sin(np.pi * np.clip(t * 1.7, 0, 1)) + fall * t**2.2
    off = np.abs(y - middle) / half
    band = (1 - smooth(off, 0.75, 1.05)) * (np.float32(0.62) + np.float32(0.38) * smooth(off, 0.35, 0.85))
    inside = smooth(x, 0.05, 0.09) * (1 - smooth(x - cage, 0.0, 0.05))
    out[rows] += np.float32(weight) * band * inside


def _fore_rib(out: Map, c: Chest, sign: float, start: float, weight: float) -> None:
    body = c.body
    rows = _rows(c, start - 0.25, start + 0.30)
    x, y, cage = c.x[rows] * np.float32(sign), c.y[rows], c.cage[rows]
    t = np.clip((body.width - x) / body.width, 0, 1)
    middle = start - 0.13 + 0.36 * t**1.25
    off = np.abs(y - middle) / np.float32(0.033)
    band = (1 - smooth(off, 0.7, 1.1)) * (np.float32(0.7) + np.float32(0.3) * smooth(off, 0.35, 0.85))
    inside = smooth(x, 0.24, 0.33) * (1 - smooth(x - cage, 0.0, 0.04))
    out[rows] += np.float32(weight) * band * inside


def _rows(c: Chest, top: float, bottom: float) -> slice:
    """The rows of the picture that can hold what lies between two heights of the body's frame."""
    body, size = c.body, c.size
    tilt = abs(np.sin(body.rotation)) * 1.2
    low, high = ((v * body.scale + body.rise + s * tilt + 1) / 2 * size for v, s in ((top, -1), (bottom, 1)))
    return slice(max(0, int(low) - 1), min(size, max(0, int(high) + 2)))


def stroke(out: Map, c: Chest, path: Sequence[Point], half: float, weight: float, *, hollow: float = 0.0) -> None:
    """Adds a smooth line through points of the body's frame to a map, as a maximum along its own length.

    Args:
        out: the map, changed in place.
        c: the frame.
        path: points; straight between them.
        half: half of its breadth.
        weight: of its middle.
        hollow: the share of it that is missing there, where the line is a tube.
    """
    if half * c.size < _SEEN:
        return
    xs, ys = [p[0] for p in path], [p[1] for p in path]
    rows = _rows(c, min(ys) - 2 * half, max(ys) + 2 * half)
    body = c.body
    tilt = abs(np.sin(body.rotation)) * 1.2
    low, high = (
        (v * body.scale + body.shift + s * tilt + 1) / 2 * c.size
        for v, s in ((min(xs) - 2 * half, -1), (max(xs) + 2 * half, 1))
    )
    area = (rows, slice(max(0, int(low) - 1), min(c.size, max(0, int(high) + 2))))
    x, y = c.x[area], c.y[area]
    if not x.size:
        return
    nearest = np.full_like(x, 9.0)
    for (ax, ay), (bx, by) in itertools.pairwise(path):
        dx, dy = bx - ax, by - ay
        t = np.clip(((x - ax) * dx + (y - ay) * dy) / max(dx * dx + dy * dy, 1e-9), 0, 1)
        nearest = np.minimum(nearest, np.hypot(x - ax - t * dx, y - ay - t * dy))
    off = nearest / np.float32(half)
    band = 1 - smooth(off, 0.55, 1.15)
    if hollow:
        band = band * (1 - np.float32(hollow) * (1 - smooth(off, 0.2, 0.75)))
    out[area] += np.float32(weight) * band


def vessels(c: Chest, rng: np.random.Generator) -> Map:
    """Returns the vessels: branches from both hila that grow thin outwards, and the hila themselves."""
    out = np.zeros_like(c.x)
    for sign in (-1.0, 1.0):
        hilum = (sign * 0.185, -0.055 if sign < 0 else -0.085)
        blob = np.hypot((c.x - hilum[0]) * 1.25, (c.y - hilum[1]) * 0.72)
        out += np.float32(0.75) * (1 - smooth(blob, 0.03, 0.12))
        for angle in np.linspace(-1.25, 1.35, 9) + rng.normal(0, 0.07, 9):
            _branch(out, c, rng, hilum, float(angle), sign, rng.uniform(0.36, 0.56), 0.017)
    return out


def _branch(
    out: Map, c: Chest, rng: np.random.Generator, start: Point, angle: float, sign: float, length: float, half: float
) -> None:
    x, y = start
    path = [(x, y)]
    for _ in range(4):
        angle += rng.normal(0, 0.13)
        x += sign * length / 4 * float(np.cos(angle))
        y += length / 4 * float(np.sin(angle))
        path.append((x, y))
    stroke(out, c, path[:3], half, 0.5)
    stroke(out, c, path[2:], half * 0.65, 0.30)
    for turn in (-0.5, 0.5):
        if half > 0.012:
            _branch(out, c, rng, path[2], angle + turn + rng.normal(0, 0.1), sign, length * 0.6, half * 0.55)
