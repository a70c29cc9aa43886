"""What `ikyoku evolve` is asked."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ikyoku.specs.base import Flag, Integer, Label, Name, Number, Spec
from ikyoku.specs.exams import ExamSpec
from ikyoku.specs.formats import FormatName


class CandidateParentSpec(Spec):
    """A model whose task vector takes part in the search."""

    path: str = Field(min_length=1)
    """Folder or hub id."""
    adapter: str | None = None
    """Folder of a LoRA adapter that is merged into it."""
    label: Label | None = None
    """How tables name it; by default the folder's name."""


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
    """One thing a candidate is judged by."""

    exam: ExamSpec
    """The development split of an exam. A test split is refused."""
    metric: Literal["likelihood", "extracted_accuracy", "exact_match", "gestalt"] = "extracted_accuracy"
    """likelihood: share of questions whose right option is the likeliest, no text is generated; the others are those
    of `ikyoku evaluate`, on generated replies."""
    format: FormatName = "alpaca-ja"
    """Prompt format."""
    shots: Literal[0, 1, 3] = 0
    """Answered questions before the asked one."""
    weight: Number = Field(default=1.0, gt=0)
    """Weight in the sum that is maximised."""
    japanese: Flag = False
    """A reply that is not Japanese counts as wrong."""


class SearchSpec(Spec):
    """How the space is searched."""

    sampler: Literal["cmaes", "tpe", "nsga2", "random"] = "cmaes"
    """cmaes: CMA-ES (Hansen and Ostermeier 2001); nsga2 treats every fitness as an objective of its own."""
    trials: Integer = Field(default=200, ge=1)
    """Candidates, of all processes together."""
    prune: Flag = True
    """Stop a candidate that is clearly worse than the best on the questions asked so far (Wilcoxon signed rank)."""
    storage: str | None = None
    """Database of the study: postgresql+psycopg://…, sqlite:///…, or journal:FILE; by default SQLite in the run
    folder. Several machines join through PostgreSQL."""
    random_baseline: Flag = True
    """Also search at random with the same budget, for comparison."""
    seed: Integer = Field(default=0, ge=0)
    """Seed of the sampler, of the questions' order and of the masks."""


class EvolveSpec(Spec):
    """`ikyoku evolve`: parents and a development set in, the best recipe found out."""

    name: str = Name
    """Names the run folder."""
    base: str
    """The model that the task vectors are differences to."""
    parents: tuple[CandidateParentSpec, ...] = Field(min_length=1)
    """Models that are merged."""
    into: str | None = None
    """Vision-language model whose language model is replaced; by default the only one among the parents."""
    method: str = "ties"
    """A name in `ikyoku.merging.METHODS`."""
    space: SpaceSpec = SpaceSpec()
    """What is searched."""
    fitness: tuple[FitnessSpec, ...] = Field(min_length=1)
    """What a candidate is judged by."""
    test: tuple[ExamSpec, ...] = ()
    """Untouched test splits, asked once at the end: of the best, the parents, the uniform merge, random search."""
    search: SearchSpec = SearchSpec()
    """How it is searched."""
    held_out: Number = Field(default=0.25, ge=0, lt=1)
    """Share of the development questions that no candidate is searched on: the best few are chosen on all."""
    finalists: Integer = Field(default=5, ge=1)
    """How many of the best candidates are asked everything again."""
    max_new_tokens: Integer = Field(default=256, ge=1, le=8192)
    """Longest reply in tokens."""
    batch_size: Integer = Field(default=16, ge=1, le=1024)
    """Questions in one batch."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Number format of the candidate in memory and of the checkpoint that is written."""
