"""What `ikyoku evolve` is asked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from ikyoku.errors import SpecError, together
from ikyoku.specs.base import Flag, Integer, Label, Name, Number, Spec
from ikyoku.specs.exams import ExamSpec
from ikyoku.specs.formats import FormatName
from ikyoku.specs.radiographs import RadiographsSpec, ReportInstruction
from ikyoku.specs.tune import LoraSpec

EXAM_METRICS = ("extracted_accuracy", "exact_match", "gestalt", "likelihood", "probability")
REPORT_METRICS = ("rouge_l", "bleu_4", "meteor", "chrf", "finding_f1", "label_f1")
MetricName = Literal[
    "extracted_accuracy",
    "exact_match",
    "gestalt",
    "likelihood",
    "probability",
    "rouge_l",
    "bleu_4",
    "meteor",
    "chrf",
    "finding_f1",
    "label_f1",
]
_ADDRESS = r"(postgresql\+psycopg://|sqlite:///|journal:)."
_UNSAFE = r"^postgresql[^:]*://(?:[^:/@]*:[^@]*@|.*[?&]\w*password=)"
"""With a password: between the first colon and an @, as SQLAlchemy reads it, or among the options."""


class CandidateParentSpec(Spec):
    """A model whose task vector takes part in the search."""

    path: str = Field(min_length=1)
    """Folder or hub id."""
    adapter: str | None = None
    """Folder of a LoRA adapter that is merged into it."""
    label: Label | None = None
    """How tables and parameters name it; by default the folder's name, with the adapter's."""

    @property
    def name(self) -> str:
        """The label, or one made of the folders' names."""
        base = Path(self.path).name or self.path
        return self.label or (f"{base}+{Path(self.adapter).name}" if self.adapter else base)

    @property
    def reference(self) -> str:
        """The parent as a recipe names it: PATH, or PATH+ADAPTER."""
        return f"{self.path}+{self.adapter}" if self.adapter else self.path


class SpaceSpec(Spec):
    """What is searched: which parameters of the method, in which bounds, for which parts of the model."""

    preset: Literal["method", "jradievo"] = "method"
    """method: weight and density of each parent, as far as the method has them, and lambda; jradievo: the third
    study's ten, of which drop rate and lambda are shared."""
    weight: tuple[Number, Number] = (0.0, 1.0)
    """Bounds of each parent's weight."""
    density: tuple[Number, Number] = (0.0, 1.0)
    """Bounds of each parent's density."""
    scale: tuple[Number, Number] | None = (0.0, 2.0)
    """Bounds of lambda; null keeps it at 1."""
    layer_groups: Integer = Field(default=1, ge=1, le=64)
    """Groups of neighbouring layers with parameters of their own."""
    module_kinds: Flag = False
    """Attention, feed-forward and the rest have parameters of their own."""


class FitnessSpec(Spec):
    """One thing a candidate is judged by: questions of an exam, or radiographs whose report it writes."""

    exam: ExamSpec | None = None
    """The development split of an exam. A test split is refused."""
    reports: RadiographsSpec | None = None
    """Radiographs with their reports, in place of an exam."""
    metric: MetricName | None = None
    """Of an exam: extracted_accuracy (the default), exact_match and gestalt are those of `ikyoku evaluate`, on
    generated replies. No text is generated for the others: likelihood is the share of questions whose right option is
    the likeliest, probability the mean probability of the right option among all that are allowed, which also tells
    apart candidates that answer alike. Of reports: rouge_l (the default, the study's), bleu_4, meteor and chrf compare
    words, finding_f1 and label_f1 what the labeler reads in the reply and in the reference."""
    format: FormatName = "alpaca-ja"
    """Prompt format."""
    instruction: ReportInstruction | None = None
    """What is asked beside a radiograph; by default ikyoku's own words."""
    shots: Literal[0, 1, 3] = 0
    """Answered questions before the asked one."""
    limit: Integer | None = Field(default=None, ge=1)
    """Use only so many of its questions, drawn by the seed."""
    weight: Number = Field(default=1.0, gt=0)
    """Weight in the weighted mean that is maximised."""
    japanese: Flag = False
    """A reply that is not Japanese counts as wrong: see docs/how-to-evolve.md for the rule."""

    @property
    def name(self) -> str:
        """Exam, metric, and how it is asked where that is not the usual way."""
        asked = ", ".join([self.measured, *([self.format] if self.format != "alpaca-ja" else [])])
        return f"{self.source.name} ({asked}{f', {self.shots}-shot' if self.shots else ''})"

    @property
    def source(self) -> ExamSpec | RadiographsSpec:
        """What is asked."""
        found = self.exam or self.reports
        assert found is not None  # noqa: S101 checked when the spec was made
        return found

    @property
    def measured(self) -> str:
        """The metric, or the usual one of what is asked."""
        return self.metric or ("rouge_l" if self.reports else "extracted_accuracy")

    @model_validator(mode="after")
    def _fits_together(self) -> FitnessSpec:
        if (self.exam is None) == (self.reports is None):
            raise ValueError("needs exam: or reports:, one of them")
        allowed = REPORT_METRICS if self.reports else EXAM_METRICS
        if self.measured not in allowed:
            what = "reports" if self.reports else "an exam"
            raise ValueError(f"metric {self.measured} is not one of {what}; allowed are {', '.join(allowed)}")
        if self.reports and (self.shots or self.limit):
            raise ValueError("shots and limit are an exam's; of radiographs limit stands in reports:, without shots")
        if self.exam and self.instruction:
            raise ValueError("instruction goes with reports:; an exam's questions are their own instructions")
        return self


class RivalSpec(Spec):
    """The study's rival: the same vision-language model, tuned on pairs of radiographs and reports instead of merged.

    It is a LoRA adapter, made by `ikyoku tune` inside the run, in the format that `test_reports` are asked in.
    """

    label: Label
    """How tables name it."""
    data: str = Field(min_length=1)
    """Pairs, as `ikyoku tune` takes them; none of a test."""
    steps: Integer = Field(default=100, ge=1)
    """Optimizer steps."""
    batch_size: Integer = Field(default=8, ge=1)
    """Samples per optimizer step."""
    micro_batch_size: Integer | None = Field(default=None, ge=1)
    """Samples in memory at a time; must divide batch_size. All of them by default."""
    max_length: Integer = Field(default=4096, ge=8)
    """Longest sample in tokens, those of the picture among them; a longer one is refused by name."""
    learning_rate: Number = Field(default=2e-4, gt=0, lt=10)
    """Peak learning rate."""
    lora: LoraSpec = LoraSpec(rank=16, alpha=32, target_modules="all-linear")
    """The adapter."""


class SearchSpec(Spec):
    """How the space is searched."""

    sampler: Literal["cmaes", "tpe", "nsga2", "random"] = "cmaes"
    """cmaes: CMA-ES (Hansen and Ostermeier 2001); nsga2 treats every fitness as an objective of its own."""
    trials: Integer = Field(default=200, ge=1)
    """Candidates, of all processes together."""
    prune: Flag = True
    """Stop a candidate that is clearly worse than the best on the questions asked so far (Wilcoxon signed rank). Of no
    effect where every fitness is an objective of its own."""
    storage: str | None = None
    """Database of the study: postgresql+psycopg://…, sqlite:///…, or journal:FILE; by default SQLite in the run
    folder. Several machines join through PostgreSQL. A password is not written here: see docs/how-to-evolve.md."""
    random_baseline: Flag = True
    """Also search at random with the same budget, for comparison."""
    held_out: Number = Field(default=0.25, ge=0, lt=1)
    """Share of the development questions that no candidate is searched on: the best few are chosen on all."""
    finalists: Integer = Field(default=5, ge=1)
    """How many of the best candidates are asked everything again."""
    seed: Integer = Field(default=0, ge=0)
    """Seed of the sampler, of the questions' order and of the masks."""


class EvolveSpec(Spec):
    """`ikyoku evolve`: parents and a development set in, the best recipe found out."""

    name: str = Name
    """Names the run folder."""
    base: str
    """The model that the task vectors are differences to: a folder or hub id."""
    parents: tuple[CandidateParentSpec, ...] = Field(min_length=1)
    """Models that are merged."""
    into: str | None = None
    """Vision-language model whose language model is replaced; by default the only one among the parents."""
    method: str = "ties"
    """A name in `ikyoku.merging.METHODS`."""
    space: SpaceSpec = SpaceSpec()
    """What is searched."""
    fitness: tuple[FitnessSpec, ...] = Field(min_length=1)
    """What a candidate is judged by: development splits."""
    test: tuple[ExamSpec, ...] = ()
    """Untouched test splits, asked once at the end: of the best, the parents, the uniform merge, random search. They
    are asked as the first fitness that is an exam is, or as the first of all."""
    test_reports: tuple[RadiographsSpec, ...] = ()
    """Untouched radiographs with their reports, asked at the end, as the first fitness with reports is."""
    rivals: tuple[RivalSpec, ...] = ()
    """Tunings of `into` to compare with."""
    search: SearchSpec = SearchSpec()
    """How it is searched."""
    max_new_tokens: Integer = Field(default=256, ge=1, le=8192)
    """Longest reply in tokens."""
    batch_size: Integer = Field(default=16, ge=1, le=1024)
    """Questions in one batch."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number format of the candidate in memory and of the checkpoint that is written."""
    trust_remote_code: Flag = False
    """Run Python code that comes with the models. Recorded in the run's provenance."""

    def model_post_init(self, _: object) -> None:
        """Checks what no single field can."""
        if faults := [*self._bounds(), *self._names()]:
            raise SpecError(together(faults))

    @property
    def objectives(self) -> tuple[str, ...]:
        """Names of what is maximised: every fitness by itself with nsga2, else their weighted mean."""
        several = self.search.sampler == "nsga2" and len(self.fitness) > 1
        return tuple(fitness.name for fitness in self.fitness) if several else ("fitness",)

    def asked_like(self, *, reports: bool) -> int:
        """The place of the fitness that a test is asked like: the first of its kind, or the first of all."""
        kind = (place for place, fitness in enumerate(self.fitness) if bool(fitness.reports) == reports)
        return next(kind, 0)

    def _bounds(self) -> Iterator[str]:
        for key, least, most in (("weight", None, None), ("density", 0.0, 1.0), ("scale", None, None)):
            bounds = getattr(self.space, key)
            if bounds is None:
                continue
            low, high = bounds
            if low > high or (least is not None and low < least) or (most is not None and high > most):
                within = f" within {least:g} and {most:g}" if least is not None and most is not None else ""
                yield f"space.{key}: found {low:g} to {high:g}; wanted the lower bound first{within}."
        if self.space.preset == "jradievo" and self.method != "jradievo":
            yield f"space.preset: jradievo searches the method jradievo, found method: {self.method}. Set method too."
        address = self.search.storage
        if address is not None and not re.match(_ADDRESS, address):  # not repeated: it may hold a password
            yield "search.storage: wanted postgresql+psycopg://USER@HOST/DATABASE, sqlite:///FILE or journal:FILE."
        elif address is not None and re.search(_UNSAFE, address):
            yield (
                "search.storage: holds a password, which the run folder would keep. Leave it out; it is taken from "
                "the variable PGPASSWORD or the file ~/.pgpass."
            )

    def _names(self) -> Iterator[str]:
        for key, names in (
            ("parents", [parent.name for parent in self.parents]),
            ("fitness", [fitness.name for fitness in self.fitness]),
            ("test, test_reports", [*(exam.name for exam in self.test), *(held.name for held in self.test_reports)]),
            ("rivals", [rival.label for rival in self.rivals]),
        ):
            if twice := sorted({name for name in names if names.count(name) > 1}):
                yield f"{key}: {', '.join(twice)} named twice. Give each a label of its own."
        if self.rivals and not self.test_reports:
            yield "rivals: are compared on test_reports, and there are none. Give some, or leave the rivals out."
        references = [parent.reference for parent in self.parents]
        if twice := sorted({name for name in references if references.count(name) > 1}):
            yield f"parents: {', '.join(twice)} stands twice. A larger weight does the same."
