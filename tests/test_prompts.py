"""Prompts: every format with and without input, with shots, with braces in the question, with and without the case."""

from __future__ import annotations

import dataclasses
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ikyoku.datasets.columns import Columns
from ikyoku.datasets.layouts import LAYOUTS
from ikyoku.datasets.lists import ITEM_LISTS
from ikyoku.prompts import (
    DEMONSTRATIONS,
    PROMPT_FORMATS,
    PromptFormat,
    answer_text,
    exam_prompt,
    instruction_prompt,
    set_letters,
    shown_answer,
)
from ikyoku.specs import ColumnsSpec, ItemListName, LayoutName
from ikyoku.types import Instruction, Message, Prompt, Question

FORMS = pytest.mark.parametrize("form", PROMPT_FORMATS.values(), ids=PROMPT_FORMATS.keys())
QUESTION = Question(
    "1", "脈が速いのはどれか。", ("甲", "乙", "丙", "丁", "戊"), (frozenset({2}),), case="58歳の男性。動悸がある。"
)
PARTS = st.sampled_from(["{", "}", "{input}", "{instruction}", "{0}", "%s", "$x", "\\n", "\n", ",", "あ"])


def _flat(prompt: Prompt) -> str:
    return prompt.text or "\n".join(f"<{m.role}>{m.content}" for m in prompt.messages)


def test_the_tables_and_the_specs_name_the_same() -> None:
    assert set(get_args(ItemListName)) == set(ITEM_LISTS)
    assert set(get_args(LayoutName)) == {"auto", *LAYOUTS, "columns"}
    assert set(ColumnsSpec.model_fields) == {field.name for field in dataclasses.fields(Columns)}
    assert all(name == form.name for name, form in PROMPT_FORMATS.items())


def test_alpaca_verbatim() -> None:
    form = PROMPT_FORMATS["alpaca-ja"]
    assert exam_prompt(QUESTION, form, case_text=False).text == (
        "指示に対する答えだけを書きなさい。\n### 指示：\n脈が速いのはどれか。\n### 入力：\n甲,乙,丙,丁,戊\n### 応答：\n"
    )
    assert instruction_prompt(Instruction("1", "骨とは。", "", "骨"), form).text == (
        "指示に対する答えだけを書きなさい。\n### 指示：\n骨とは。\n### 応答：\n"
    )


def test_the_medical_instruction_stands_on_top_or_inside() -> None:
    top = exam_prompt(QUESTION, PROMPT_FORMATS["medical-top-ja"], case_text=False).text
    inside = exam_prompt(QUESTION, PROMPT_FORMATS["medical-inside-ja"], case_text=False).text
    sentence = "医学の選択問題です。正しい選択肢を選び、その語句だけを書きなさい。"
    assert top == f"{sentence}\n### 指示：\n脈が速いのはどれか。\n### 入力：\n甲,乙,丙,丁,戊\n### 応答：\n"
    assert inside == f"### 指示：\n{sentence}\n### 入力：\n脈が速いのはどれか。\n甲,乙,丙,丁,戊\n### 応答：\n"


def test_one_shot_verbatim() -> None:
    shown = Question("d", "骨はどれか。", ("胃", "腓骨"), (frozenset({1}),))
    assert exam_prompt(QUESTION, PROMPT_FORMATS["alpaca-en"], demonstrations=[shown], case_text=False).text == (
        "Write only the answer to the instruction.\n"
        "### Instruction:\n骨はどれか。\n### Input:\n胃,腓骨\n### Response:\n腓骨\n"
        "### Instruction:\n脈が速いのはどれか。\n### Input:\n甲,乙,丙,丁,戊\n### Response:\n"
    )


@FORMS
@pytest.mark.parametrize("shots", [0, 1, 3])
@pytest.mark.parametrize("with_input", [True, False])
def test_every_format_and_number_of_shots(form: PromptFormat, shots: int, with_input: bool) -> None:
    asked = QUESTION if with_input else Question("2", "何人か。", (), (), case="")
    prompt = exam_prompt(asked, form, demonstrations=DEMONSTRATIONS[:shots])
    text = _flat(prompt)
    assert text.count(asked.text) == 1
    options = "a. 甲\nb. 乙\nc. 丙\nd. 丁\ne. 戊" if form.answer == "letters" else "甲,乙,丙,丁,戊"
    assert text.count(options) == with_input
    assert "{" not in text
    at = -1
    for shown in DEMONSTRATIONS[:shots]:  # in order, each followed by its answer, before the asked question
        at = text.index(shown.text, at + 1)
        given = shown_answer(shown, form)
        right = answer_text(shown) if form.answer == "text" else set_letters(sorted(shown.answer))
        assert given.strip().endswith(right)
        answer = text.index(f"{given}\n" if not form.chat else f"<assistant>{given}", at)
        assert at < answer < text.index(asked.text)
    if form.opening:
        assert text.count(form.opening) == 1
        assert text.removeprefix("<user>").startswith(form.opening)
    if not form.chat:
        heads = ("\n解答：", "\nAnswer:", "\n考え方：", "\nReasoning:", "\nASSISTANT:")
        ends = ("### 応答：\n", "### Response:\n", *heads)
        assert text.endswith(ends)
        assert sum(text.count(end) for end in ends) == shots + 1
    # a reply that runs on into a next question is cut: what begins one is a stop text
    assert form.chat or all(any(s in f"\n{part}" for s in form.stop) for part in text.split(asked.text)[0:1] if shots)


@FORMS
def test_without_input_there_is_no_empty_place(form: PromptFormat) -> None:
    text = _flat(instruction_prompt(Instruction("1", "骨とは。", "", "骨"), form))
    assert "\n\n" not in text
    if not form.name.startswith("medical-inside"):  # there the instruction itself is the input
        assert "入力" not in text
        assert "Input" not in text


@pytest.mark.parametrize("shots", [0, 1, 3])
def test_chat_turns(shots: int) -> None:
    form = PROMPT_FORMATS["chat-ja"]
    prompt = exam_prompt(QUESTION, form, demonstrations=DEMONSTRATIONS[:shots], case_text=False)
    assert prompt.text == ""
    assert [m.role for m in prompt.messages] == ["user", "assistant"] * shots + ["user"]
    assert [m.content for m in prompt.messages if m.role == "assistant"] == ["70/分", "ビタミンA,ビタミンE", "肝臓"][
        :shots
    ]
    asked = "脈が速いのはどれか。\n甲,乙,丙,丁,戊"
    assert prompt.messages[-1] == Message("user", asked if shots else form.opening + asked)
    assert [m.content.startswith(form.opening) for m in prompt.messages] == [True] + [False] * (2 * shots)


def test_formats_are_all_distinct() -> None:
    for shots in (0, 1, 3):
        texts = {
            _flat(exam_prompt(QUESTION, f, demonstrations=DEMONSTRATIONS[:shots])) for f in PROMPT_FORMATS.values()
        }
        assert len(texts) == len(PROMPT_FORMATS)
    pair = Instruction("1", "骨とは。", "", "骨")
    assert len({_flat(instruction_prompt(pair, f)) for f in PROMPT_FORMATS.values()}) == len(PROMPT_FORMATS)


@settings(deadline=None)
@given(
    form=st.sampled_from(list(PROMPT_FORMATS.values())),
    text=st.lists(PARTS, min_size=1).map("".join),
    given_input=st.lists(PARTS).map("".join),
)
def test_braces_stay_verbatim(form: PromptFormat, text: str, given_input: str) -> None:
    plain = _flat(instruction_prompt(Instruction("1", "甲乙丙", "丁戊己" if given_input else "", "骨"), form))
    found = _flat(instruction_prompt(Instruction("1", text, given_input, "骨"), form))
    assert found == plain.replace("甲乙丙", "\0").replace("丁戊己", given_input).replace("\0", text)


@FORMS
def test_case_text_on_and_off(form: PromptFormat) -> None:
    on = _flat(exam_prompt(QUESTION, form))
    off = _flat(exam_prompt(QUESTION, form, case_text=False))
    assert f"{QUESTION.case}\n{QUESTION.text}" in on
    assert QUESTION.case not in off
    assert on.replace(f"{QUESTION.case}\n", "") == off
    shown = _flat(exam_prompt(DEMONSTRATIONS[0], form, demonstrations=[QUESTION], case_text=True))
    assert f"{QUESTION.case}\n{QUESTION.text}" in shown
    assert QUESTION.case not in _flat(exam_prompt(DEMONSTRATIONS[0], form, demonstrations=[QUESTION], case_text=False))


def test_the_demonstrations_and_their_answers() -> None:
    assert [answer_text(d) for d in DEMONSTRATIONS] == ["70/分", "ビタミンA,ビタミンE", "肝臓"]
    assert len({d.id for d in DEMONSTRATIONS}) == 3
    for shown in DEMONSTRATIONS:
        assert len(shown.choices) == len(set(shown.choices)) == 5
        assert len(shown.accepted) == 1
        assert ("2つ選べ" in shown.text) == (len(shown.answer) == 2)


def test_the_answer_follows_the_order_of_the_choices() -> None:
    assert answer_text(Question("1", "2つ選べ。", ("甲", "乙", "丙"), (frozenset({2, 0}), frozenset({1})))) == "甲,丙"


@pytest.mark.parametrize(("text", "messages"), [("", ()), ("a", (Message("user", "a"),))])
def test_a_prompt_is_a_text_or_messages(text: str, messages: tuple[Message, ...]) -> None:
    with pytest.raises(ValueError, match="either a text or messages"):
        Prompt(text, messages)
