"""What a phantom shows: a body, and the findings that are drawn into it.

Everything follows from (seed, id). The right of the patient is on the left of the image.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from ikyoku.findings.types import Finding, Side, Site

ZONES: tuple[Site, ...] = ("upper", "middle", "lower")
SIDES: tuple[Side, ...] = ("right", "left")
OPACITIES = ("infiltrate", "nodule", "mass", "atelectasis")

FREQUENCIES: dict[str, float] = {
    "infiltrate": 0.18,
    "nodule": 0.10,
    "mass": 0.10,
    "atelectasis": 0.09,
    "pleural_effusion": 0.16,
    "pneumothorax": 0.11,
    "cardiomegaly": 0.16,
    "edema": 0.06,
    "cv_catheter": 0.10,
    "pacemaker": 0.08,
    "endotracheal_tube": 0.06,
    "gastric_tube": 0.05,
    "chest_drain": 0.06,
}
"""The findings that are drawn, by name, and how often one is drawn relative to the others."""

NORMAL_SHARE = 0.25
"""How many of the phantoms show nothing."""


@dataclass(frozen=True, slots=True)
class Body:
    """A chest, in a frame in which x and y run from -1 to 1, x to the right of the image and y downwards.

    `heart` is the cardiothoracic ratio. `rotation` is in radians. `exposure` and `contrast` are factors around 1,
    `noise` is a share of the full scale; `build` is the thickness of the soft tissue.
    """

    width: float
    apex: float
    diaphragm: float
    heart: float
    shift: float
    rise: float
    scale: float
    rotation: float
    build: float
    slope: float
    exposure: float
    contrast: float
    noise: float
    bubble: float


@dataclass(frozen=True, slots=True)
class Phantom:
    """A drawn chest X-ray's truth.

    `findings` name what is there, in the order in which they were drawn from the seed; of both sides alike it is one
    finding. `seed` and `id` are those from which everything follows.
    """

    seed: int
    id: str
    body: Body
    findings: tuple[Finding, ...]


def phantom(seed: int, name: str) -> Phantom:
    """Returns the phantom of a seed and an id.

    >>> phantom(0, "a") == phantom(0, "a")
    True
    """
    rng = random.Random(f"{seed}/{name}")
    findings = _findings(rng)
    names = {finding.name for finding in findings}
    return Phantom(seed, name, _body(rng, large_heart="cardiomegaly" in names), findings)


def units(findings: Sequence[Finding]) -> frozenset[tuple[str, Side]]:
    """Returns what finding F1 counts: the names and sides of what is present or possible.

    >>> sorted(units([Finding("edema", "present", "both"), Finding("nodule", "absent")]))
    [('edema', 'both')]
    """
    return frozenset((finding.name, finding.side) for finding in findings if finding.certainty != "absent")


def _findings(rng: random.Random) -> tuple[Finding, ...]:
    if rng.random() < NORMAL_SHARE:
        return ()
    wanted = rng.choices((1, 2, 3), (0.4, 0.4, 0.2))[0]
    found: list[Finding] = []
    drawn = 0
    while drawn < wanted:
        name = rng.choices(list(FREQUENCIES), list(FREQUENCIES.values()))[0]
        made = _finding(rng, name)
        if _fits(made[-1], found):
            found += made
            drawn += 1
    return tuple(found)


def _finding(rng: random.Random, name: str) -> list[Finding]:
    """One drawn finding; a small effusion is what blunts the costophrenic angle, so that it is two."""
    side = rng.choice(SIDES)
    if name in ("cardiomegaly", "endotracheal_tube", "gastric_tube"):
        return [Finding(name, "present")]
    if name == "edema":
        return [Finding(name, "present", "both")]
    if name in OPACITIES:
        zones: Sequence[Site] = ("upper", "lower") if name == "atelectasis" else ZONES
        zone = rng.choice(zones)
        return [
            Finding(name, "present", "both" if name == "infiltrate" and rng.random() < 0.2 else side, frozenset({zone}))
        ]
    if name == "pleural_effusion":
        side = "both" if rng.random() < 0.25 else side
        if rng.random() < 0.35:
            return [Finding("costophrenic_blunting", "present", side), Finding(name, "possible", side)]
    return [Finding(name, "present", side)]


def _fits(made: Finding, found: Sequence[Finding]) -> bool:
    """Whether both can be seen: not one name twice, and no two in one place."""
    for other in found:
        if other.name == made.name:
            return False
        pair = {made.name, other.name}
        touching = made.side == other.side or "both" in (made.side, other.side)
        if not touching or not pair & {*OPACITIES, "pleural_effusion", "pneumothorax", "edema"}:
            continue
        lungs = [f for f in (made, other) if f.name in OPACITIES]
        if "edema" in pair and lungs:
            return False
        if len(lungs) == 2 and (made.sites & other.sites or "atelectasis" in pair):
            return False
        if len(lungs) == 1 and "pleural_effusion" in pair and "lower" in lungs[0].sites:
            return False
        if len(lungs) == 1 and "pneumothorax" in pair and "upper" in lungs[0].sites:
            return False
    return True


def _body(rng: random.Random, *, large_heart: bool) -> Body:
    return Body(
        width=rng.uniform(0.70, 0.82),
        apex=rng.uniform(-0.84, -0.76),
        diaphragm=rng.uniform(0.36, 0.50),
        heart=rng.uniform(0.56, 0.66) if large_heart else rng.uniform(0.40, 0.49),
        shift=rng.gauss(0, 0.02),
        rise=rng.gauss(0, 0.02),
        scale=rng.uniform(0.94, 1.05),
        rotation=rng.gauss(0, 0.02),
        build=rng.uniform(0.85, 1.2),
        slope=rng.uniform(0.18, 0.36),
        exposure=rng.uniform(0.92, 1.16),
        contrast=rng.uniform(0.9, 1.12),
        noise=rng.uniform(0.004, 0.014),
        bubble=rng.uniform(0.0, 1.0),
    )
