"""What a model must be able to do. One method is enough; more is a second protocol, not an optional method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ikyoku.types import Completion, Prompt, SamplingParams


class Model(Protocol):
    """Something that answers prompts."""

    name: str

    def generate(self, prompts: Sequence[Prompt], params: SamplingParams) -> list[Completion]:
        """Returns one completion per prompt, in their order.

        A prompt that does not fit the model's context is answered by an empty completion with finish "too_long".
        """
        ...
