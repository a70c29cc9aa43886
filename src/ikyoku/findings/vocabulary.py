"""What Japanese chest X-ray reports speak of: all terms by their keys."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ikyoku.findings.chest_terms import CHEST_TERMS
from ikyoku.findings.lung_terms import LUNG_TERMS
from ikyoku.findings.terms import CATEGORIES, DEVICES, FindingTerm

__all__ = ["CATEGORIES", "DEVICES", "FINDINGS", "FindingTerm"]

FINDINGS: Mapping[str, FindingTerm] = MappingProxyType({term.name: term for term in (*CHEST_TERMS, *LUNG_TERMS)})
"""Every finding that the labeler knows, by its key."""
