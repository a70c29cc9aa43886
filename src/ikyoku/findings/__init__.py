"""What a Japanese chest X-ray report says: findings with negation, certainty, side, site and change; its sections."""

from __future__ import annotations

from ikyoku.findings.labels import labels
from ikyoku.findings.reader import read_report
from ikyoku.findings.sections import split_sections
from ikyoku.findings.types import Certainty, Change, Finding, Measurement, ReadReport, Side, Site
from ikyoku.findings.vocabulary import CATEGORIES, FINDINGS, FindingTerm

__all__ = [
    "CATEGORIES",
    "FINDINGS",
    "Certainty",
    "Change",
    "Finding",
    "FindingTerm",
    "Measurement",
    "ReadReport",
    "Side",
    "Site",
    "labels",
    "read_report",
    "split_sections",
]
