"""The values that pass between the rooms. All are frozen; none knows a file or a setting."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

Role = Literal["system", "user", "assistant"]
FinishReason = Literal["stop", "length", "too_long"]
"""The model ended by itself or wrote a stop text; it reached the allowed length; the prompt did not fit its context."""

LETTERS = "abcdefghijklmnopqrstuvwxyz"
"""Option labels as the national examination prints them, in the order of the choices."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A radiograph as a person would look at it, and as models are given it.

    `pixels` are uint8 of shape (height, width), 0 black and 255 white, with bone bright. `sha256` is that of the shape
    and the pixels (`images.picture` takes it): two pictures are equal where it is.
    """

    sha256: str
    pixels: npt.NDArray[np.uint8] = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation; its pictures stand before its text."""

    role: Role
    content: str
    images: tuple[Picture, ...] = ()


IMAGE_MARK = "<image>"
"""Where a picture stands in a verbatim text, one mark for each picture."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What goes into a model.

    Verbatim `text`, or `messages` for the model's own chat template: exactly one of them. The pictures of a verbatim
    text are in `images`, those of messages in the messages.
    """

    text: str = ""
    messages: tuple[Message, ...] = ()
    images: tuple[Picture, ...] = ()

    def __post_init__(self) -> None:
        if bool(self.text) == bool(self.messages):
            raise ValueError("a prompt is either a text or messages")
        if self.images and self.text.count(IMAGE_MARK) != len(self.images):
            raise ValueError(f"a text has one {IMAGE_MARK} for each of its images")

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """All pictures in the order in which they stand."""
        return self.images or tuple(picture for message in self.messages for picture in message.images)


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How to decode.

    `temperature` 0 is greedy decoding, the only kind the studies use. A reply ends before the first of the texts in
    `stop`; none of them is empty.
    """

    max_new_tokens: int = 256
    temperature: float = 0.0
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if "" in self.stop:
            raise ValueError("an empty stop text would end every reply at once")


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model wrote after a prompt: the text without the prompt, why it ended, and its length in tokens."""

    text: str
    finish: FinishReason
    tokens: int


@dataclass(frozen=True, slots=True)
class Reply:
    """What the scorers see.

    `text` is read out of a completion. `options` and `letters` are log-likelihoods (natural logarithm, summed over the
    tokens) of every answer that the question allows, as texts and as letters, in the order of
    `metrics.likelihood.option_sets`; empty where that view was not asked for or cannot be had.
    """

    text: str
    options: tuple[float, ...] = ()
    letters: tuple[float, ...] = ()


ReadingStatus = Literal["read", "refused", "ambiguous", "unread"]
"""An answer was found; the reply declines to answer; it holds more than one answer; it holds none."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reply answers: the chosen options as indices, or None with the reason in `status`.

    `number` is the answer to a question without choices, as the reply's digits in NFKC ("12.5"); empty elsewhere.
    """

    status: ReadingStatus
    chosen: frozenset[int] | None = None
    number: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """One examination question.

    `accepted` holds every set of options that counts as right, as indices into `choices`; nearly always one
    set. `case` is the shared text of a case series, empty elsewhere. `points` is the item's weight in the exam, 0 where
    it was taken out of the scoring. `numbers` are the accepted answers of a question without choices.

    What is known beside the question: `contraindicated` options (禁忌肢), the `specialty` (診療科), the share of human
    examinees who were right (`human_accuracy`, 0 to 1), and an `explanation` of the answer.
    """

    id: str
    text: str
    choices: tuple[str, ...]
    accepted: tuple[frozenset[int], ...]
    case: str = ""
    section: str = ""
    points: int = 1
    text_only: bool = True
    numbers: tuple[str, ...] = ()
    contraindicated: frozenset[int] = frozenset()
    specialty: str = ""
    human_accuracy: float | None = None
    explanation: str = ""

    @property
    def answer(self) -> frozenset[int]:
        """The (first) set of right options."""
        return self.accepted[0]

    @property
    def gold(self) -> tuple[str, ...]:
        """The right options' texts in the order of the choices."""
        return tuple(self.choices[i] for i in sorted(self.answer))


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction pair in Alpaca's three fields; `input` may be empty."""

    id: str
    instruction: str
    input: str
    output: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """One conversation to learn from; the loss is on the assistant's turns."""

    id: str
    messages: tuple[Message, ...]


InstructionSample = Instruction | Conversation


@dataclass(frozen=True, slots=True)
class Omitted:
    """A sample that a list does not ask, with the reason: counted and named, never silently dropped."""

    id: str
    reason: str
