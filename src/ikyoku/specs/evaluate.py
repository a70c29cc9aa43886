"""What `ikyoku evaluate` is asked."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ikyoku.errors import SpecError, together
from ikyoku.specs.base import Flag, Integer, Name, Spec
from ikyoku.specs.exams import ExamSpec
from ikyoku.specs.formats import FormatName
from ikyoku.specs.models import ModelSpec


class EvaluateSpec(Spec):
    """`ikyoku evaluate`: models × prompt formats × shots × exams, one table."""

    name: str = Name
    """Names the run folder."""
    models: tuple[ModelSpec, ...] = Field(min_length=1)
    """Models to compare."""
    exams: tuple[ExamSpec, ...] = Field(min_length=1)
    """Exams to ask."""
    formats: tuple[FormatName, ...] = Field(default=("alpaca-ja",), min_length=1)
    """Prompt formats: names in the table, or template files."""
    shots: tuple[Literal[0, 1, 3], ...] = Field(default=(0,), min_length=1)
    """Answered questions before the asked one."""
    max_new_tokens: Integer = Field(default=256, ge=1, le=8192)
    """Longest reply in tokens."""
    likelihood: Flag = True
    """Also rank the options by their likelihood, where the model tells it: one more pass over each question."""
    orders: Integer = Field(default=1, ge=1, le=10)
    """In how many orders the options are shown: as printed, then shuffled by the seed. More than 1 shows robustness."""
    batch_size: Annotated[Integer, Field(ge=1, le=1024)] | Literal["auto"] = "auto"
    """Questions in one batch; auto: 16 on a CPU, more on a GPU. Halved where the memory does not hold it."""
    limit: Integer | None = Field(default=None, ge=1)
    """Ask only the first so many questions of each exam: for trying out, shown in the table."""
    seed: Integer = Field(default=0, ge=0)
    """Seed of the shuffled orders and of the resampling behind the intervals. Decoding is greedy and needs none."""

    def model_post_init(self, _: object) -> None:
        """Checks what no single field can."""
        twice = [
            f"{key}: the same one twice in {', '.join(map(str, values))}. Name each once."
            for key, values in (("formats", self.formats), ("shots", self.shots))
            if len(set(values)) < len(values)
        ]
        if twice:
            raise SpecError(together(twice))
