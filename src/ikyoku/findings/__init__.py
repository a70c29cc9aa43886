"""What a Japanese chest X-ray report says: findings with negation, certainty, side, site and change; its sections."""

from __future__ import annotations

from ikyoku.findings.types import Certainty, Change, Finding, Measurement, ReadReport, Side, Site

__all__ = ["Certainty", "Change", "Finding", "Measurement", "ReadReport", "Side", "Site"]
