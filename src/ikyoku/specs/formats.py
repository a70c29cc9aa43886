"""Prompt formats: a name in the table, or a template file of the user's."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from ikyoku.prompts import PROMPT_FORMATS, PromptFormat
from ikyoku.specs.base import Flag, Spec


def _known_format(name: str) -> str:
    if name in PROMPT_FORMATS or Path(name).suffix in (".yaml", ".yml"):
        return name
    near = difflib.get_close_matches(name, PROMPT_FORMATS, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ValueError(f"no such format; {hint}Allowed: {', '.join(PROMPT_FORMATS)}, or a template file ending in .yaml")


FormatName = Annotated[str, AfterValidator(_known_format)]
"""A name in PROMPT_FORMATS, or the path of a template file."""


class TemplateSpec(Spec):
    """A user's own prompt format, a file of its own; `prompts.PromptFormat` says what the fields do."""

    opening: str = ""
    """Stands once at the top."""
    block: str
    """Layout of a question with options: holds {instruction} and {input} once each, in this order."""
    bare: str
    """Layout of a question without options: holds {instruction} once."""
    chat: Flag = False
    """Goes through the model's own chat template."""
    answer: Literal["text", "letters"] = "text"
    """What a reply is to be: an option's text, or the letter that options then have in the prompt."""
    reasoning: Flag = False
    """The model may think before it answers."""
    final: str = ""
    """With `reasoning`: what stands before the final answer."""
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = ("###",)
    """Texts that end a reply; of no effect with `chat`."""
    lead: str = ""
    """What stands between the prompt and an answer that is given or scored, such as a space."""

    @model_validator(mode="after")
    def _has_its_places(self) -> TemplateSpec:
        for key, text, places in (
            ("block", self.block, ("instruction", "input")),
            ("bare", self.bare, ("instruction",)),
        ):
            at = [text.find(f"{{{place}}}") for place in places]
            if -1 in at or at != sorted(at) or any(text.count(f"{{{place}}}") > 1 for place in places):
                wanted = " and then ".join(f"{{{place}}}" for place in places)
                raise ValueError(f"{key} must hold {wanted}, once each")
        if self.reasoning and not self.final:
            raise ValueError("reasoning needs final, the text that stands before the final answer")
        return self

    def as_format(self, name: str) -> PromptFormat:
        """Returns the format under a name."""
        return PromptFormat(name, **({**self.model_dump(), "stop": () if self.chat else self.stop}))
