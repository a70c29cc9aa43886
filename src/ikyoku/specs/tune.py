"""What `ikyoku tune` is asked."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ikyoku.errors import SpecError, together
from ikyoku.specs.base import Integer, Name, Number, Spec
from ikyoku.specs.formats import FormatName
from ikyoku.specs.models import ModelSpec
from ikyoku.specs.radiographs import ReportInstruction


class LoraSpec(Spec):
    """The low-rank update W + (alpha / rank)·B·A of LoRA (Hu et al. 2021, eq. 3)."""

    rank: Integer = Field(default=8, ge=1, le=4096)
    """r: rank of the update."""
    alpha: Number = Field(default=32, gt=0)
    """Scale; the update is multiplied by alpha / rank."""
    dropout: Number = Field(default=0.05, ge=0, lt=1)
    """Dropout before A, in training."""
    target_modules: tuple[str, ...] | Literal["all-linear"] = ("q_proj", "k_proj", "v_proj")
    """Module names that get an update, or all-linear: every linear layer but the output head."""


class TuneSpec(Spec):
    """`ikyoku tune`: a base model and instruction pairs, or radiographs with reports, in; LoRA adapters out."""

    name: str = Name
    """Names the run folder."""
    model: ModelSpec
    """The base. `quantization: nf4` makes it QLoRA."""
    data: str
    """Alpaca JSONL (instruction, input, output), chat JSONL (messages) or radiographs (JSONL: id, images, findings)."""
    format: FormatName = "alpaca-ja"
    """Layout of pairs, a name in the table or a template file; chat data have the model's own chat template."""
    instruction: ReportInstruction | None = None
    """What is asked beside a radiograph; by default ikyoku's own words."""
    lora: LoraSpec = LoraSpec()
    """The adapter."""
    learning_rate: Number = Field(default=2e-4, gt=0, lt=10)
    """Peak learning rate of AdamW."""
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    """Learning rate after the warm-up."""
    warmup: Number = Field(default=0.03, ge=0, lt=1)
    """Share of the steps in which the learning rate rises from zero."""
    max_length: Integer = Field(default=1024, ge=8)
    """Longest sample in tokens; a longer one is refused by name."""
    batch_size: Integer = Field(default=8, ge=1)
    """Samples per optimizer step."""
    micro_batch_size: Integer | None = Field(default=None, ge=1)
    """Samples in memory at a time; must divide batch_size. All of them by default."""
    steps: Integer = Field(default=1000, ge=1)
    """Optimizer steps."""
    keep_steps: tuple[Integer, ...] = ()
    """Steps whose adapter is kept beside the last one."""
    checkpoint_every: Integer = Field(default=100, ge=1)
    """Steps between the points from which an interrupted run continues."""
    seed: Integer = Field(default=0, ge=0)
    """Seed of initialisation, order and dropout."""

    def model_post_init(self, _: object) -> None:
        """Checks what no single field can."""
        faults = []
        micro = self.micro_batch_size
        if micro is not None and self.batch_size % micro:
            faults.append(f"micro_batch_size: {micro} does not divide batch_size {self.batch_size}.")
        if beyond := [s for s in self.keep_steps if not 1 <= s <= self.steps]:
            faults.append(f"keep_steps: {beyond} not within 1 to steps ({self.steps}).")
        if faults:
            raise SpecError(together(faults))
