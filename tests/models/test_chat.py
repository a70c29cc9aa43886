"""Chat templates: the clock, what they refuse, ends of turns, and tokenizers that set an end behind every text."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import pytest

from ikyoku.errors import ModelError
from ikyoku.models.chat import chat_text, conversation_ids, prompt_ids
from ikyoku.types import Message, Prompt

USER, ANSWER = Message("user", "熱"), Message("assistant", "咳")
CHATML = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + eos_token + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)


def tokenizer(*, ends: bool = False, template: str | None = None, joined: bool = False) -> Any:
    """One token a character: with `ends` it sets </s> behind a text, with `joined` two line ends are one token."""
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ["<s>", "</s>", "<unk>", "熱", "咳", "#", "\n", *(["\n\n"] if joined else []), *map(chr, range(33, 35))]
    words += [chr(n) for n in range(36, 127)]
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Split(Regex(r"\n\n|[\s\S]" if joined else r"[\s\S]"), "isolated")
    form = "<s> $A </s>" if ends else "<s> $A"
    made.post_processor = processors.TemplateProcessing(single=form, special_tokens=[("<s>", 0), ("</s>", 1)])
    wrapped = PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    wrapped.chat_template = template
    return wrapped


def test_an_end_behind_the_prompt_is_taken_off() -> None:
    made = tokenizer(ends=True)
    assert made("熱")["input_ids"] == [0, 3, 1]
    assert prompt_ids(Prompt(text="熱"), made) == [0, 3]


# the clock

CLOCKED = (
    "{{- bos_token }}\n{%- if not date_string is defined %}{%- if strftime_now is defined %}"
    "{%- set date_string = strftime_now('%d %b %Y') %}{%- else %}{%- set date_string = '26 Jul 2024' %}{%- endif %}"
    "{%- endif %}{{ date_string }}\n{% for m in messages %}{{ m['content'] }}{% endfor %}"
)


@pytest.mark.parametrize("form", ["%d %b %Y", "%Y-%m-%d", "%B %d, %Y", "%-d %B %Y", "%A %H:%M:%S", "%F %T"])
def test_templates_see_one_day(form: str) -> None:
    template = CLOCKED.replace("%d %b %Y", form)
    text = chat_text([USER], tokenizer(template=template), asked=True, where="line-1")
    assert text == f"<s>{datetime(2024, 7, 26, 12).strftime(form)}\n熱"


def test_a_macro_of_the_template_sees_that_day_too_and_its_beginning_stays() -> None:
    template = "\n  {% macro day(f) %}{{ strftime_now(f) }}{% endmacro %}{{ day('%Y') }}"
    plain = "\n  {% macro day(f) %}{{ f }}{% endmacro %}{{ day('2024') }}"
    told = [chat_text([USER], tokenizer(template=t), asked=True, where="line-1") for t in (template, plain)]
    assert told[0] == told[1] == "\n2024"


# what templates refuse

STRICT = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for m in messages %}{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Not in turn: ' + m['content']) }}{% endif %}{{ m['content'] + eos_token }}{% endfor %}"
)


def refused(messages: list[Message], template: str) -> str:
    with pytest.raises(ModelError) as told:
        conversation_ids(messages, tokenizer(template=template), where="line-9")
    text = str(told.value)
    assert "line-9" in text and not re.search("熱|咳|\n", text)
    return text


def test_what_a_template_refuses_is_told_without_the_sample() -> None:
    text = refused([Message("system", "熱"), USER, ANSWER], STRICT)
    assert 'its chat template cannot lay out line-9: "System role not supported". Most templates want' in text
    assert "cannot lay out line-9: TemplateError. " in refused([USER, USER, ANSWER], STRICT)
    assert "'nothing' is undefined" in refused([USER, ANSWER], "{{ nothing.at_all }}")
    assert "cannot lay out line-9: " in refused([USER, ANSWER], "{% if %}")
    assert "cannot lay out line-9: TypeError" in refused([USER, ANSWER], "{{ messages[0]['content'] + 1 }}")


def test_a_conversation_that_begins_with_the_assistant() -> None:
    assert refused([ANSWER, USER, ANSWER], CHATML) == (
        "line-9: the conversation begins with the assistant. Begin it with the user's turn."
    )


def test_no_chat_template() -> None:
    with pytest.raises(ModelError, match="no chat template, so line-9 cannot be laid out as a chat"):
        conversation_ids([USER, ANSWER], tokenizer(), where="line-9")


# spans


@pytest.mark.parametrize("joined", [False, True])
@pytest.mark.parametrize("answer", ["咳", "\n咳", "咳\n"])
def test_the_spans_hold_the_answers_and_their_ends(joined: bool, answer: str) -> None:
    """Also where the tokenizer joins the end of the prompt and the beginning of the answer."""
    made = tokenizer(template=CHATML, joined=joined)
    turns = [USER, Message("assistant", answer), USER, Message("assistant", answer)]
    ids, spans = conversation_ids(turns, made, where="line-1")
    asked = prompt_ids(Prompt(messages=(USER,)), made)
    assert ids[: len(asked)] == asked and spans[0][0] == len(asked)
    words = {number: word for word, number in made.get_vocab().items()}
    assert ["".join(words[i] for i in ids[a:b]) for a, b in spans] == [f"{answer}</s>\n"] * 2
    whole = chat_text(turns, made, asked=False, where="line-1")
    assert "".join(words[i] for i in ids) == whole
