"""How a question or an instruction is put to a model: the table PROMPT_FORMATS.

A layout is a fixed text with two places, the instruction and its input, and ends with the response marker, after
which the model writes. The layouts follow the studies' (Alpaca; a medical instruction on top; the same instruction
inside), the wording is ours. In an exam the question is the instruction and the options' texts, joined by commas and
without letters, are the input, as in the studies (JMedLoRA §2; 70B paper §3).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ikyoku.types import Instruction, Message, Prompt, Question

CHOICE_SEPARATOR = ","
"""Between the options in a prompt, and between the answers of a reply that names several (the studies' convention)."""


@dataclass(frozen=True, slots=True)
class PromptFormat:
    """One way of asking.

    `opening` stands once at the top. `block` holds `{instruction}` and `{input}`, `bare` only `{instruction}`: it is
    used where the input is empty. Both end where the model's answer begins. With `chat` the text goes through the
    model's own chat template instead: each block is a user turn, each demonstration's answer an assistant turn.
    """

    name: str
    opening: str
    block: str
    bare: str
    chat: bool = False


_ALPACA_JA = "### 指示：\n{instruction}\n### 入力：\n{input}\n### 応答：\n"
_ALPACA_JA_BARE = "### 指示：\n{instruction}\n### 応答：\n"
_ALPACA_EN = "### Instruction:\n{instruction}\n### Input:\n{input}\n### Response:\n"
_ALPACA_EN_BARE = "### Instruction:\n{instruction}\n### Response:\n"
_MEDICAL_JA = "医学の選択問題です。正しい選択肢を選び、その語句だけを書きなさい。"
_MEDICAL_EN = "This is a multiple-choice question in medicine. Choose the right option and write its text only."

PROMPT_FORMATS: Mapping[str, PromptFormat] = {
    f.name: f
    for f in (
        PromptFormat("alpaca-ja", "指示に対する答えだけを書きなさい。\n", _ALPACA_JA, _ALPACA_JA_BARE),
        PromptFormat("medical-top-ja", f"{_MEDICAL_JA}\n", _ALPACA_JA, _ALPACA_JA_BARE),
        PromptFormat(
            "medical-inside-ja",
            "",
            f"### 指示：\n{_MEDICAL_JA}\n### 入力：\n{{instruction}}\n{{input}}\n### 応答：\n",
            f"### 指示：\n{_MEDICAL_JA}\n### 入力：\n{{instruction}}\n### 応答：\n",
        ),
        PromptFormat("alpaca-en", "Write only the answer to the instruction.\n", _ALPACA_EN, _ALPACA_EN_BARE),
        PromptFormat("medical-top-en", f"{_MEDICAL_EN}\n", _ALPACA_EN, _ALPACA_EN_BARE),
        PromptFormat("chat", "", "{instruction}\n{input}", "{instruction}", chat=True),
        PromptFormat("chat-ja", f"{_MEDICAL_JA}\n", "{instruction}\n{input}", "{instruction}", chat=True),
    )
}


DEMONSTRATIONS: tuple[Question, ...] = (
    Question(
        "demonstration-1",
        "成人の安静時の脈拍数として基準範囲に入るのはどれか。",
        ("10/分", "30/分", "70/分", "150/分", "250/分"),
        (frozenset({2}),),
    ),
    Question(
        "demonstration-2",
        "脂溶性ビタミンはどれか。2つ選べ。",
        ("ビタミンA", "ビタミンB1", "ビタミンB6", "ビタミンC", "ビタミンE"),
        (frozenset({0, 4}),),
    ),
    Question(
        "demonstration-3",
        "胆汁を産生する臓器はどれか。",
        ("胃", "肝臓", "膵臓", "脾臓", "腎臓"),
        (frozenset({1}),),
    ),
)
"""The questions that stand before the asked one in 1- and 3-shot prompts, where a spec names no file of its own."""


def answer_text(question: Question) -> str:
    """Returns the reply that scores 1 under every metric: the right options' texts, in the order of the choices.

    >>> answer_text(DEMONSTRATIONS[1])
    'ビタミンA,ビタミンE'
    """
    return CHOICE_SEPARATOR.join(question.gold)


def exam_prompt(
    question: Question, form: PromptFormat, *, demonstrations: Sequence[Question] = (), case_text: bool = True
) -> Prompt:
    """Returns the prompt that asks one question after the given demonstrations.

    Args:
        question: the question asked.
        form: one of PROMPT_FORMATS.
        demonstrations: answered questions in the order in which they stand; their number is the number of shots.
        case_text: whether a question of a case series is preceded by its case; the studies' harness leaves it out.
    """
    shots = [(*_exam_fields(d, case_text=case_text), answer_text(d)) for d in demonstrations]
    return _lay_out(form, shots, *_exam_fields(question, case_text=case_text))


def instruction_prompt(sample: Instruction, form: PromptFormat) -> Prompt:
    r"""Returns the prompt of one instruction pair, laid out as the exam's questions are.

    >>> instruction_prompt(Instruction("1", "何か。", "", "骨"), PROMPT_FORMATS["alpaca-ja"]).text[-16:]
    '指示：\n何か。\n### 応答：\n'
    """
    return _lay_out(form, [], sample.instruction, sample.input)


def _exam_fields(question: Question, *, case_text: bool) -> tuple[str, str]:
    text = f"{question.case}\n{question.text}" if case_text and question.case else question.text
    return text, CHOICE_SEPARATOR.join(question.choices)


def _lay_out(form: PromptFormat, shots: Sequence[tuple[str, str, str]], instruction: str, input_text: str) -> Prompt:
    if form.chat:
        turns: list[Message] = []
        for shot_instruction, shot_input, shot_answer in shots:
            turns.append(Message("user", _fill(form, shot_instruction, shot_input)))
            turns.append(Message("assistant", shot_answer))
        turns.append(Message("user", _fill(form, instruction, input_text)))
        turns[0] = dataclasses.replace(turns[0], content=form.opening + turns[0].content)
        return Prompt(messages=tuple(turns))
    blocks = [_fill(form, i, x) + answer + "\n" for i, x, answer in shots]
    return Prompt(text=form.opening + "".join(blocks) + _fill(form, instruction, input_text))


def _fill(form: PromptFormat, instruction: str, input_text: str) -> str:
    # One pass, so that braces or the word {input} inside a question stay what they are.
    template = form.block if input_text else form.bare
    before, after = template.split("{instruction}")
    if not input_text:
        return f"{before}{instruction}{after}"
    middle, end = after.split("{input}")
    return f"{before}{instruction}{middle}{input_text}{end}"
