"""Prompts and conversations as token ids, laid out by the model's own tokenizer and chat template."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ikyoku.errors import ModelError
from ikyoku.types import Message, Prompt

# Some templates (Llama 3.2) write today's date into the prompt. Replies would change from day to day, so every such
# template gets the day that Llama 3.1's falls back to. A macro of the same name hides transformers' clock; it is put
# in front of the template because transformers lets no function through to a template otherwise.
_DAY = (
    "%Y 2024, %y 24, %m 07, %-m 7, %B July, %b Jul, %d 26, %-d 26, %e 26, %A Friday, %a Fri, %F 2024-07-26, "
    "%H 12, %I 12, %M 00, %S 00, %p PM, %T 12:00:00, %R 12:00"
)
_CLOCK = (
    "{% macro strftime_now(format) %}{{ format"
    + "".join(" | replace('{}', '{}')".format(*pair.split()) for pair in _DAY.split(", "))
    + " }}{% endmacro %}\n"  # jinja2 drops the line's end after a block
)


def prompt_ids(prompt: Prompt, tokenizer: Any) -> list[int]:
    """Returns a prompt's token ids, the beginning-of-text token included where the tokenizer sets one.

    An end-of-text token that the tokenizer sets behind every text is taken off: the model goes on from the prompt.

    Raises:
        ModelError: the prompt has pictures, or the tokenizer's chat template is missing or refuses the messages.
    """
    refuse_pictures(prompt, tokenizer)
    if prompt.messages:
        # The template writes its own beginning of text, where the model wants one.
        return chat_ids(chat_text(prompt.messages, tokenizer, asked=True, where="the prompt"), tokenizer)
    ids = list(tokenizer(prompt.text, verbose=False)["input_ids"])
    while ids and ids[-1] == tokenizer.eos_token_id:
        ids.pop()
    return ids


def refuse_pictures(prompt: Prompt, tokenizer: Any) -> None:
    """Refuses a prompt with pictures where only its text would be read.

    Raises:
        ModelError: the prompt has pictures.
    """
    if prompt.pictures:
        raise ModelError(
            f"{tokenizer.name_or_path}: a prompt has pictures, and this is asked as a language model, which sees none. "
            "Name a vision-language model, or leave the pictures out."
        )


def chat_text(
    messages: Sequence[Message],
    tokenizer: Any,
    *,
    asked: bool,
    where: str,
    content: Callable[[Message], Any] = lambda turn: turn.content,
) -> str:
    """Returns messages as the tokenizer's chat template writes them.

    Args:
        messages: the turns.
        tokenizer: with a chat template.
        asked: whether the text ends where the model's answer begins.
        where: what the messages are, for the message: a sample's id.
        content: what the template is given as a turn's content; a template that knows pictures takes a list of parts.

    Raises:
        ModelError: there is no template, or it refuses the messages; no text of theirs is shown.
    """
    from jinja2 import TemplateError, TemplateSyntaxError, UndefinedError

    if not tokenizer.chat_template:
        raise ModelError(
            f"{tokenizer.name_or_path}: the tokenizer has no chat template, so {where} cannot be laid out as a chat. "
            "Use Alpaca pairs with a text format such as alpaca-ja, or add chat_template to its tokenizer_config.json."
        )
    template = ""
    try:
        template = tokenizer.get_chat_template()
        clocked = _CLOCK + template if "strftime_now" in template else template
        turns = [{"role": m.role, "content": content(m)} for m in messages]
        return str(
            tokenizer.apply_chat_template(turns, chat_template=clocked, tokenize=False, add_generation_prompt=asked)
        )
    except (TemplateError, TypeError, ValueError, IndexError) as error:
        # What the template says in so many words is no sample's text; anything else could be.
        own = str(error) in template or isinstance(error, UndefinedError | TemplateSyntaxError)
        reason = f'"{error}"' if own else type(error).__name__
        raise ModelError(
            f"{tokenizer.name_or_path}: its chat template cannot lay out {where}: {reason}. Most templates want an "
            "optional system turn, then the user's and the assistant's in turn, the user's first."
        ) from None


def conversation_ids(
    messages: Sequence[Message],
    tokenizer: Any,
    *,
    where: str,
    lay_out: Callable[[Sequence[Message], bool], str] | None = None,
) -> tuple[list[int], list[tuple[int, int]]]:
    """Returns a conversation's token ids, and the (start, end) spans of the assistant's turns with their ends.

    Args:
        messages: the turns.
        tokenizer: with a chat template.
        where: what the messages are, for the message.
        lay_out: turns as text, and whether the text ends where the model's answer begins; `chat_text` by default.

    Raises:
        ModelError: the template is missing, refuses the conversation, rewrites earlier turns or does not end a turn.
    """
    text = lay_out or (lambda turns, asked: chat_text(turns, tokenizer, asked=asked, where=where))
    whole = text(messages, False)
    marks = []
    for i, turn in enumerate(messages):
        if turn.role != "assistant":
            continue
        if i == 0:
            raise ModelError(f"{where}: the conversation begins with the assistant. Begin it with the user's turn.")
        before = text(messages[:i], True)
        after = text(messages[: i + 1], False)
        if not (whole.startswith(before) and whole.startswith(after) and len(before) < len(after)):
            raise ModelError(
                f"{tokenizer.name_or_path}: its chat template rewrites earlier turns, so the answers in "
                f"{where} cannot be told from the rest. Use a template in which a longer conversation begins "
                "with the shorter."
            )
        marks.append((len(before), len(after)))
    ids, spans = _spans(whole, marks, tokenizer)
    if any(tokenizer.eos_token_id not in ids[start:end] for start, end in spans):
        raise ModelError(
            f"{tokenizer.name_or_path}: its chat template ends an answer without the end-of-text token, so the "
            "model would not learn to stop. Use a template or an eos_token that ends the assistant's turns."
        )
    return ids, spans


def _spans(whole: str, marks: Sequence[tuple[int, int]], tokenizer: Any) -> tuple[list[int], list[tuple[int, int]]]:
    """Returns a text's ids, and as spans of ids the (start, end) of characters.

    Where the tokenizer joins characters across a mark, the parts are tokenised one by one.
    """
    ids = chat_ids(whole, tokenizer)
    edges = [(chat_ids(whole[:start], tokenizer), chat_ids(whole[:end], tokenizer)) for start, end in marks]
    if all(ids[: len(part)] == part for pair in edges for part in pair):
        return ids, [(len(before), len(after)) for before, after in edges]
    ids, spans, done = [], [], 0
    for start, end in marks:
        ids += chat_ids(whole[done:start], tokenizer)
        learnt = chat_ids(whole[start:end], tokenizer)
        spans.append((len(ids), len(ids) + len(learnt)))
        ids += learnt
        done = end
    return ids + chat_ids(whole[done:], tokenizer), spans


def chat_ids(text: str, tokenizer: Any) -> list[int]:
    """Returns the ids of a text that a chat template has written, its special tokens included."""
    return list(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
