"""What `ikyoku data translate` is asked."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ikyoku.specs.base import Flag, Integer, Name, Spec
from ikyoku.specs.formats import FormatName
from ikyoku.specs.models import ModelSpec


class TranslateSpec(Spec):
    """`ikyoku data translate`: English chest X-ray reports in, Japanese ones out, each checked back."""

    name: str = Name
    """Names the run folder."""
    data: str
    """English reports: a JSONL, JSON or CSV file with id and text (or findings and impression), or the folder of a
    radiograph data set."""
    model: ModelSpec
    """The translator: a local model, or a server of the hospital's."""
    layout: Literal["auto", "texts", "pairs", "mimic-cxr", "open-i"] = "auto"
    """How `data` is laid out; auto takes a file for texts and finds out of a folder what it is."""
    format: FormatName = "chat"
    """Prompt format: one without words of its own about exams, such as chat or vicuna."""
    sections: tuple[Literal["findings", "impression"], ...] = Field(default=("findings", "impression"), min_length=1)
    """Which sections are translated, each by itself. A report without findings is left out."""
    glossary: str | None = None
    """File of the hospital's own words, CSV or JSONL with english, japanese and note; they come before ikyoku's."""
    limit: Integer | None = Field(default=None, ge=1)
    """Only the first so many reports."""
    max_new_tokens: Integer = Field(default=768, ge=1)
    """Most tokens of one section's translation."""
    batch_size: Integer | Literal["auto"] = Field(default="auto")
    """Sections at a time through a local model."""
    keep_faulty: Flag = False
    """Also give reports with a fault out as pairs; the fault stands beside them."""
