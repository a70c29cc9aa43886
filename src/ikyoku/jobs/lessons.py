"""What `ikyoku tune` learns from: instruction pairs, conversations, or radiographs with their reports."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ikyoku.datasets.base import read_jsonl
from ikyoku.datasets.instructions import read_instructions
from ikyoku.datasets.radiographs import Radiograph, RadiographSet, read_radiographs
from ikyoku.errors import DataError, ModelError
from ikyoku.models.checks import has_tower
from ikyoku.models.loading import has_own_code, load_tokenizer, read_config
from ikyoku.models.tokenising import report_example, tokenised
from ikyoku.pictures import read_picture
from ikyoku.prompts import MOST_PIXELS, REPORT_INSTRUCTION, PromptFormat, instruction_prompt, report_prompt
from ikyoku.runs import Progress, silent
from ikyoku.specfile import read_format
from ikyoku.specs import TuneSpec
from ikyoku.training.examples import Example
from ikyoku.types import Instruction, InstructionSample, Picture, Prompt

if TYPE_CHECKING:
    from ikyoku.models.processors import PromptProcessor, Shown
    from ikyoku.models.vision import Eyes


def read_lessons(spec: TuneSpec) -> tuple[InstructionSample, ...] | RadiographSet:
    """Returns what a spec's data hold, told by what is in them: a folder, or lines with "images", are radiographs.

    Raises:
        DataError: there is no such data, or they are faulty.
    """
    data = Path(spec.data).expanduser()
    if not data.exists():
        raise DataError(f"{spec.data}: no such file. `data` names a JSONL file of instruction pairs, or radiographs.")
    if data.is_dir() or _has_images(data):
        return read_radiographs(data)
    return read_instructions(data)


def check_model(spec: TuneSpec, lessons: tuple[InstructionSample, ...] | RadiographSet) -> None:
    """Refuses a model that cannot learn from the lessons, where it is on this machine.

    Raises:
        ModelError: pictures for a language model, or a model whose code has no place for features that are ready.
    """
    config = read_config(spec.model.path)
    if has_tower(config) and has_own_code(config):
        raise ModelError(
            f"{spec.model.path}: models that run with code of their own cannot be tuned here. Take a family that "
            "transformers knows."
        )
    if isinstance(lessons, RadiographSet) and not has_tower(config):
        raise ModelError(
            f"{spec.model.path}: a language model without a vision tower, and {spec.data} holds radiographs. Name a "
            "vision-language model."
        )


def text_examples(samples: Sequence[InstructionSample], spec: TuneSpec) -> tuple[list[Example], Any]:
    """Returns instruction samples as examples, and the tokenizer.

    Raises:
        ModelError: the tokenizer or its chat template cannot be used.
    """
    from ikyoku.models.processors import open_processor

    trusted = spec.model.trust_remote_code
    form = read_format(spec.format)
    if not has_tower(read_config(spec.model.path)):
        tokenizer = load_tokenizer(spec.model.path, trust_remote_code=trusted)
        return tokenised(samples, form, tokenizer), tokenizer
    processor, _ = open_processor(spec.model.path, trust_remote_code=trusted)

    def lay_out(turns: Any, asked: bool) -> str:
        return processor.chat(turns, (), asked=asked, where="a sample")

    return tokenised(samples, form, processor.tokenizer, lay_out=lay_out), processor.tokenizer


class ReportLessons:
    """Radiographs with their findings, as they are learnt from.

    The first view of each is shown, as in a search. `files` are the pictures' by their sha256.
    """

    def __init__(self, samples: Sequence[Radiograph], spec: TuneSpec) -> None:
        """Takes the samples, and from the spec how they are asked."""
        self._samples = samples
        self._form = read_format(spec.format)
        self._instruction = spec.instruction or REPORT_INSTRUCTION
        self.files: dict[str, Path] = {}

    def examples(
        self,
        processor: PromptProcessor,
        show: Callable[[Picture], Shown],
        *,
        first: int | None = None,
        progress: Progress = silent,
    ) -> list[Example]:
        """Returns the samples, or the first of them, as examples.

        Args:
            processor: of the model.
            show: gives a picture's image tokens.
            first: how many; all by default.
            progress: told of each picture.

        Raises:
            DataError: an image cannot be read, or is no chest X-ray.
            ModelError: the tokenizer or its chat template cannot be used.
        """
        found = []
        samples = self._samples[:first]
        for done, sample in enumerate(samples, 1):
            picture = self.picture(sample.images[0])
            shown = show(picture)
            found.append(report_example(sample.id, *self.pair(sample, picture), [shown], processor))
            progress("looking at the pictures", done, len(samples))
        return found

    def pair(self, sample: Radiograph, picture: Picture) -> tuple[Prompt, str]:
        """Returns the prompt of a sample and what the model is to write."""
        return report_prompt([picture], self._form, instruction=self._instruction), self._form.lead + sample.findings

    def picture(self, path: Path) -> Picture:
        """Returns a picture as the model sees it."""
        picture = read_picture(path, longest=MOST_PIXELS).picture
        self.files[picture.sha256] = path
        return picture

    def beside(self, eyes: Eyes) -> Callable[[Sequence[str], Any], dict[str, Any]]:
        """Returns what gives the pictures of a batch to the model: from the cache, or from their files again."""

        def beside(pictures: Sequence[str], ids: Any) -> dict[str, Any]:
            seen = [eyes.recall(each) or eyes.see(self.picture(self.files[each])) for each in pictures]
            return eyes.beside(seen, ids)

        return beside


def as_text(prompt: Prompt, answer: str) -> str:
    """Returns a sample as text where it cannot be tokenised, with the learnt part between ⟦ and ⟧."""
    before = prompt.text or "\n".join(f"[{m.role}] {'<image> ' * len(m.images)}{m.content}" for m in prompt.messages)
    return f"{before}⟦{answer}⟧"


def sample_text(sample: InstructionSample, form: PromptFormat) -> str:
    """Returns an instruction sample as text; see `as_text`."""
    if isinstance(sample, Instruction):
        return as_text(instruction_prompt(sample, form), sample.output)
    return "\n".join(
        f"[{m.role}] ⟦{m.content}⟧" if m.role == "assistant" else f"[{m.role}] {m.content}" for m in sample.messages
    )


def _has_images(path: Path) -> bool:
    """Whether the first line of a JSONL file has pictures."""
    row: Mapping[str, object] = next((row for _, row in read_jsonl(path, faults=[])), {})
    return "images" in row
