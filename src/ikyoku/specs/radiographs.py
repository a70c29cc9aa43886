"""Radiographs with their reports."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from ikyoku.specs.base import Integer, Label, Spec
from ikyoku.types import IMAGE_MARK


def _without_mark(text: str) -> str:
    if IMAGE_MARK in text:
        raise ValueError(f"{IMAGE_MARK} stands for the picture, and the format puts it in; leave it out")
    return text


ReportInstruction = Annotated[str, Field(min_length=1), AfterValidator(_without_mark)]
"""What is asked beside a radiograph."""


class RadiographsSpec(Spec):
    """Radiographs with reference reports in Japanese: a file or a folder, and how many of them to take."""

    path: str = Field(min_length=1)
    """JSONL file of pairs, or the folder of MIMIC-CXR or Open-i."""
    layout: Literal["auto", "pairs", "mimic-cxr", "open-i"] = "auto"
    """How it is built; auto sees it by its files."""
    translations: str | None = None
    """File with the Japanese reports of an English collection, from `ikyoku data translate`."""
    label: Label | None = None
    """How tables name it; by default the file's name."""
    limit: Integer | None = Field(default=None, ge=1)
    """Use only so many, drawn by the seed."""

    @property
    def name(self) -> str:
        """The label, or the file's name."""
        return self.label or Path(self.path).stem or self.path
