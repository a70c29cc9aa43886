"""What `ikyoku report` is asked."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from ikyoku.prompts import REPORT_INSTRUCTION
from ikyoku.specs.base import Flag, Integer, Name, Spec
from ikyoku.specs.formats import FormatName
from ikyoku.specs.models import ModelSpec
from ikyoku.specs.radiographs import ReportInstruction


class ReportSpec(Spec):
    """`ikyoku report`: chest X-rays in, Japanese draft reports out."""

    name: str = Name
    """Names the run folder."""
    model: ModelSpec
    """The vision-language model that writes."""
    recipe: str | None = None
    """The recipe that the model was merged by, for the record; of ikyoku's own merges it is found."""
    studies: tuple[Annotated[str, Field(min_length=1)], ...] = Field(min_length=1)
    """Files, folders of studies, or worklists (.csv, .tsv)."""
    format: FormatName = "chat"
    """How the model is asked: a name in the table, or a template file."""
    instruction: ReportInstruction = REPORT_INSTRUCTION
    """What the model is told beside the X-ray."""
    views: Literal["frontal", "all"] = "frontal"
    """What of a study the model is shown: the first frontal view, or every view that can be read."""
    max_new_tokens: Integer = Field(default=512, ge=1, le=8192)
    """Longest reply in tokens."""
    batch_size: Annotated[Integer, Field(ge=1, le=1024)] | Literal["auto"] = "auto"
    """Studies in one batch."""
    outputs: tuple[Literal["sr", "fhir"], ...] = ("sr", "fhir")
    """What is written beside table and pages: DICOM SR, FHIR DiagnosticReport."""
    character_set: Literal["ISO_IR 192", "\\ISO 2022 IR 87", "ISO 2022 IR 13\\ISO 2022 IR 87"] = "ISO_IR 192"
    """Of the DICOM SR, whatever the image declares."""
    deidentified: Flag = False
    """Leave patient and study out of SR and FHIR. By default they hold what the image declares, and stay in the house.
    Pages, table and drafts.jsonl never hold it."""
    out: str | None = None
    """A new folder for a copy of what is handed on: drafts.csv, sr, fhir. The run folder has all in any case."""

    @field_validator("studies", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @field_validator("character_set", mode="before")
    @classmethod
    def _holds_japanese(cls, value: object) -> object:
        if value == "ISO_IR 100":
            raise ValueError("ISO_IR 100 is Latin-1 and holds no Japanese, whatever the image declares")
        return value

    @model_validator(mode="after")
    def _runs_here(self) -> ReportSpec:
        if self.model.endpoint:
            raise ValueError("model.endpoint: reports are written by a model on this machine; give its folder")
        return self
