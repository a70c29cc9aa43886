"""The values that the labeler gives out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Certainty = Literal["present", "possible", "absent"]
"""The report says that it is there; that it may be (疑い, 可能性, 否定できない); that it is not (認めない, 消失)."""
Side = Literal["right", "left", "both", ""]
"""The patient's side, as reports name it; "" where the report names none, or the finding has none."""
Site = Literal["upper", "middle", "lower", "apex", "hilum", "mediastinum", "costophrenic", "diffuse"]
"""上・中・下肺野（葉）, 肺尖, 肺門, 縦隔, 肋骨横隔膜角, びまん性・全肺野."""
Change = Literal["new", "increased", "decreased", "unchanged", "resolved", ""]
"""Against a prior study; "" where the report compares nothing."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a report says of one finding.

    `name` is a key of `findings.FINDINGS`. A finding of both sides that the report tells apart ("右胸水は消失し、
    左胸水が増加") is two. `start` and `end` are the place of its word in the report's text. `others` is true of an
    absence beside what was said before, which it does not deny (他に結節なし).
    """

    name: str
    certainty: Certainty
    side: Side = ""
    sites: frozenset[Site] = frozenset()
    change: Change = ""
    section: Literal["findings", "impression", ""] = ""
    word: str = ""
    start: int = 0
    end: int = 0
    others: bool = False


@dataclass(frozen=True, slots=True)
class Measurement:
    """A number of a report: the cardiothoracic ratio in percent, or a size in millimetres."""

    name: Literal["ctr", "size"]
    value: float
    start: int = 0
    end: int = 0


@dataclass(frozen=True, slots=True)
class ReadReport:
    """A report as the labeler read it.

    `findings` stand in the order of the text. `normal` says that the report calls the whole film normal (異常なし),
    also where it has a finding, which it then contradicts. `compares` says that it speaks of a prior study. The
    sections are texts without their headings, "" where there is none; a report without headings is all findings.
    """

    findings: tuple[Finding, ...]
    measurements: tuple[Measurement, ...] = ()
    normal: bool = False
    compares: bool = False
    findings_text: str = ""
    impression_text: str = ""
