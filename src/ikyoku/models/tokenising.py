"""Samples as examples to learn from: token ids with their mask, laid out as an evaluation would ask them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from ikyoku.errors import DataError, ModelError
from ikyoku.models.chat import conversation_ids, prompt_ids
from ikyoku.models.processors import PromptProcessor, Shown
from ikyoku.prompts import PromptFormat, instruction_prompt
from ikyoku.training.examples import Example, pair_example, span_example
from ikyoku.types import Conversation, Instruction, InstructionSample, Message, Prompt

LayOut = Callable[[Sequence[Message], bool], str]
"""Turns as text, and whether it ends where the model's answer begins."""


def tokenised(
    samples: Sequence[InstructionSample], form: PromptFormat, tokenizer: Any, *, lay_out: LayOut | None = None
) -> list[Example]:
    """Returns the samples as examples with their mask.

    Args:
        samples: instruction pairs or conversations.
        form: how pairs are asked.
        tokenizer: of the model.
        lay_out: how the model's chat template is used, where it is not that of a language model.

    Raises:
        ModelError: the tokenizer lacks an end-of-text token or a usable chat template.
    """
    _check_end(tokenizer)
    return [
        _instruction_example(sample, form, tokenizer, lay_out)
        if isinstance(sample, Instruction)
        else _conversation_example(sample, tokenizer, lay_out)
        for sample in samples
    ]


def report_example(
    name: str, prompt: Prompt, answer: str, shown: Sequence[Shown], processor: PromptProcessor
) -> Example:
    """Returns a radiograph's prompt and its report, of which the report and its end are learnt.

    Args:
        name: the sample's id.
        prompt: with pictures, as it will be asked.
        answer: the report as the model is to write it.
        shown: the prompt's pictures, in order.
        processor: of the model.

    Raises:
        ModelError: the tokenizer has no end-of-text token, the chat template is unusable, or a text holds the model's
            image token.
    """
    tokenizer = processor.tokenizer
    _check_end(tokenizer)
    if prompt.messages:
        turns = (*prompt.messages, Message("assistant", answer))

        def lay_out(turns: Sequence[Message], asked: bool) -> str:
            return processor.chat(turns, shown, asked=asked, where=name)

        found = span_example(name, *conversation_ids(turns, tokenizer, where=name, lay_out=lay_out))
    else:
        text = processor.text(prompt, shown, where=name)
        found = _text_example(name, text, answer, tokenizer)
    processor.check(found.ids, shown, where=name)
    return dataclasses.replace(found, pictures=tuple(picture.sha256 for picture in prompt.pictures))


def check_lengths(examples: Sequence[Example], *, max_length: int, source: str) -> None:
    """Refuses samples that are too long: cutting them would drop answers without a word.

    Raises:
        DataError: naming the samples and their lengths.
    """
    if long := _longer(examples, max_length, f" than max_length {max_length}"):
        raise DataError(f"{source}: {long}. Shorten them, take them out, or raise max_length.")


def check_context(examples: Sequence[Example], *, context: int, model: str) -> None:
    """Refuses samples that the model cannot read to their end.

    Raises:
        DataError: naming the samples and their lengths.
    """
    if long := _longer(examples, context, ""):
        raise DataError(
            f"{model}: its context is {context} tokens, and {long}. "
            f"Set max_length to {context} or less, and shorten them or take them out."
        )


def _longer(examples: Sequence[Example], most: int, than: str) -> str:
    """Returns in words which examples are longer than `most` tokens; empty where none is."""
    long = [f"{e.id}: {len(e.ids)} tokens" for e in examples if len(e.ids) > most]
    if not long:
        return ""
    shown = "; ".join(long[:5]) + (f"; and {len(long) - 5} more" if len(long) > 5 else "")
    return f"{len(long)} of {len(examples)} samples are longer{than} ({shown})"


def _check_end(tokenizer: Any) -> None:
    if tokenizer.eos_token_id is None:
        raise ModelError(f"{tokenizer.name_or_path}: the tokenizer has no end-of-text token, so no answer could end.")


def _instruction_example(sample: Instruction, form: PromptFormat, tokenizer: Any, lay_out: LayOut | None) -> Example:
    prompt = instruction_prompt(sample, form)
    if prompt.messages:
        turns = (*prompt.messages, Message("assistant", sample.output))
        return _conversation_example(Conversation(sample.id, turns), tokenizer, lay_out)
    return _text_example(sample.id, prompt.text, sample.output, tokenizer)


def _text_example(name: str, asked: str, answer: str, tokenizer: Any) -> Example:
    whole = prompt_ids(Prompt(text=asked + answer), tokenizer)
    alone = tokenizer(answer, add_special_tokens=False, verbose=False)["input_ids"]
    return pair_example(name, prompt_ids(Prompt(text=asked), tokenizer), whole, alone, end=tokenizer.eos_token_id)


def _conversation_example(sample: Conversation, tokenizer: Any, lay_out: LayOut | None) -> Example:
    return span_example(sample.id, *conversation_ids(sample.messages, tokenizer, where=sample.id, lay_out=lay_out))
