"""Phantoms: drawn chest X-rays with known findings, their Japanese and English reports, and their files."""

from __future__ import annotations

from ikyoku.lab.phantoms.files import PATIENTS, grey, write_dicom, write_pairs, write_png
from ikyoku.lab.phantoms.film import MASTER, TRACED, WHITE, drawn, traced
from ikyoku.lab.phantoms.truth import Body, Phantom, phantom, units
from ikyoku.lab.phantoms.wording import Wording, read_english, report

__all__ = [
    "MASTER",
    "PATIENTS",
    "TRACED",
    "WHITE",
    "Body",
    "Phantom",
    "Wording",
    "drawn",
    "grey",
    "phantom",
    "read_english",
    "report",
    "traced",
    "units",
    "write_dicom",
    "write_pairs",
    "write_png",
]
