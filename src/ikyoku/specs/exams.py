"""Exams, and the columns of a hospital's own table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from ikyoku.specs.base import Flag, Integer, Label, Spec

ItemListName = Literal[
    "all",
    "text-only",
    "text-only-5-choice",
    "text-only-5-choice-1024",
    "text-only-5-choice-single",
    "text-only-5-choice-multiple",
]
LayoutName = Literal[
    "auto", "igakuqa", "jmle2026", "medmcqa", "jmedbench", "medqa", "medrect", "jmmlu", "jmmlu-medical", "columns"
]


class ColumnsSpec(Spec):
    """Which column of a hospital's own CSV or JSONL holds what; "" where there is none."""

    text: str = Field(min_length=1)
    """The question."""
    choices: tuple[Annotated[str, Field(min_length=1)], ...] = Field(min_length=1)
    """A column for each option, or one column in which `separator` stands between them."""
    answer: str = Field(min_length=1)
    """The right options."""
    answers: Literal["auto", "letters", "numbers", "texts"] = "auto"
    """How `answer` names them: letters, numbers from 1, or the options' own texts. auto refuses to guess."""
    separator: str = Field(default="|", min_length=1)
    """Between the options of one column."""
    id: str = ""
    """The question's name; by default its number in the file."""
    case: str = ""
    """Text that stands before the question."""
    section: str = ""
    """Part of the exam."""
    points: str = ""
    """Weight in the exam."""
    specialty: str = ""
    """診療科."""
    text_only: str = ""
    """Whether the question can be answered without an image."""
    contraindicated: str = ""
    """禁忌肢, written as `answer` is."""
    human_accuracy: str = ""
    """Percent of human examinees who were right."""
    explanation: str = ""
    """Why the answer is right; shown in demonstrations that reason."""


class ExamSpec(Spec):
    """An exam: a file or folder, and which of its questions to ask."""

    path: str = Field(min_length=1)
    """File or folder."""
    layout: LayoutName = "auto"
    """How the file is built; auto sees it by the keys."""
    columns: ColumnsSpec | None = None
    """The columns of a hospital's own table; the layout is then columns."""
    label: Label | None = None
    """How tables name the exam; by default the file's name."""
    items: ItemListName | None = None
    """Named item list; its count and hash are printed with every result. By default text-only-5-choice, the studies'
    list, in IgakuQA's layout, and text-only in every other."""
    years: tuple[Integer, ...] = ()
    """IgakuQA years to take, all by default."""
    demonstrations: str | None = None
    """File with the questions shown in 1- and 3-shot prompts; by default ikyoku's own three."""
    case_text: Flag = True
    """Give follow-up questions of a case series the text of their case (the studies' harness does not)."""

    @property
    def name(self) -> str:
        """The label, or the file's name."""
        return self.label or Path(self.path).stem or self.path
