"""How a question or an instruction is put to a model: the table PROMPT_FORMATS, and template files of a user.

A layout is a fixed text with two places, the instruction and its input, and ends where the model writes. The layouts
follow the studies' (Alpaca; a medical instruction on top; the same instruction inside), the letters of the IgakuQA
paper, the model's own chat template, and reasoning with a marked final answer; the wording is ours. In an exam the
question is the instruction and the options are the input: as texts joined by commas, as in the studies (JMedLoRA §2;
70B paper §3), or a letter and a text a line.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ikyoku.types import IMAGE_MARK, LETTERS, Instruction, Message, Picture, Prompt, Question

CHOICE_SEPARATOR = ","
"""Between the options in a prompt, and between the answers of a reply that names several (the studies' convention)."""


@dataclass(frozen=True, slots=True)
class PromptFormat:
    """One way of asking.

    `opening` stands once at the top. `block` holds `{instruction}` and `{input}`, `bare` only `{instruction}`: it is
    used where the input is empty. Both end where the model's answer begins. With `chat` the text goes through the
    model's own chat template instead: each block is a user turn, each demonstration's answer an assistant turn.

    `answer` says whether a reply is an option's text or its letter; options have letters in the prompt in the second
    case. `reasoning` lets the model think before its answer, which then follows the text in `final`. A reply of a
    format without chat ends at the first of `stop`. `lead` stands between the prompt and the answer where an answer is
    given: after "Answer:" a space.
    """

    name: str
    opening: str
    block: str
    bare: str
    chat: bool = False
    answer: Literal["text", "letters"] = "text"
    reasoning: bool = False
    final: str = ""
    stop: tuple[str, ...] = ("###",)
    lead: str = ""


_ALPACA_JA = "### 指示：\n{instruction}\n### 入力：\n{input}\n### 応答：\n"
_ALPACA_JA_BARE = "### 指示：\n{instruction}\n### 応答：\n"
_ALPACA_EN = "### Instruction:\n{instruction}\n### Input:\n{input}\n### Response:\n"
_ALPACA_EN_BARE = "### Instruction:\n{instruction}\n### Response:\n"
_MEDICAL_JA = "医学の選択問題です。正しい選択肢を選び、その語句だけを書きなさい。"
_MEDICAL_EN = "This is a multiple-choice question in medicine. Choose the right option and write its text only."
_INSIDE_JA = f"### 指示：\n{_MEDICAL_JA}\n### 入力：\n{{instruction}}\n"
_INSIDE_EN = f"### Instruction:\n{_MEDICAL_EN}\n### Input:\n{{instruction}}\n"
_LETTERS_JA = "医学の選択問題です。正しい選択肢の記号だけを書きなさい。選択肢のない問題には数値だけを書きなさい。"
_LETTERS_EN = (
    "This is a multiple-choice question in medicine. Write the letter of the right option only. "
    "Where there are no options, write the number only."
)
_FINAL_JA, _FINAL_EN = "最終回答：", "Final answer:"
_REASON_JA = (
    f"医学の選択問題です。順を追って考え、最後の行に「{_FINAL_JA}」と書き、正しい選択肢の記号を続けなさい。"
    "選択肢のない問題には数値を書きなさい。"
)
_REASON_EN = (
    "This is a multiple-choice question in medicine. Think step by step. On the last line write "
    f'"{_FINAL_EN}" and the letter of the right option, or the number where there are no options.'
)
_NEXT_JA, _NEXT_EN = ("\n問題：",), ("\nQuestion:",)


def _in_chat(name: str, opening: str, answer: Literal["text", "letters"] = "text", final: str = "") -> PromptFormat:
    opening, block = f"{opening}\n" if opening else "", "{instruction}\n{input}"
    return PromptFormat(
        name, opening, block, "{instruction}", chat=True, answer=answer, reasoning=bool(final), final=final, stop=()
    )


def _plain(
    name: str, opening: str, heads: tuple[str, str], *, final: str = "", stop: tuple[str, ...], lead: str = ""
) -> PromptFormat:
    """A text format with lettered options: "問題：" before the question, a second head where the model goes on."""
    block, bare = f"{heads[0]}{{instruction}}\n{{input}}\n{heads[1]}", f"{heads[0]}{{instruction}}\n{heads[1]}"
    return PromptFormat(name, f"{opening}\n", block, bare, False, "letters", bool(final), final, stop, lead)


PROMPT_FORMATS: Mapping[str, PromptFormat] = {
    f.name: f
    for f in (
        PromptFormat("alpaca-ja", "指示に対する答えだけを書きなさい。\n", _ALPACA_JA, _ALPACA_JA_BARE),
        PromptFormat("medical-top-ja", f"{_MEDICAL_JA}\n", _ALPACA_JA, _ALPACA_JA_BARE),
        PromptFormat("medical-inside-ja", "", _INSIDE_JA + "{input}\n### 応答：\n", _INSIDE_JA + "### 応答：\n"),
        PromptFormat("alpaca-en", "Write only the answer to the instruction.\n", _ALPACA_EN, _ALPACA_EN_BARE),
        PromptFormat("medical-top-en", f"{_MEDICAL_EN}\n", _ALPACA_EN, _ALPACA_EN_BARE),
        PromptFormat("medical-inside-en", "", _INSIDE_EN + "{input}\n### Response:\n", _INSIDE_EN + "### Response:\n"),
        _plain("letters-ja", _LETTERS_JA, ("問題：", "解答："), stop=_NEXT_JA),
        _plain("letters-en", _LETTERS_EN, ("Question: ", "Answer:"), stop=_NEXT_EN, lead=" "),
        _plain("reasoning-ja", _REASON_JA, ("問題：", "考え方："), final=_FINAL_JA, stop=_NEXT_JA),
        _plain("reasoning-en", _REASON_EN, ("Question: ", "Reasoning:"), final=_FINAL_EN, stop=_NEXT_EN, lead=" "),
        PromptFormat(
            "vicuna",
            "A user asks and an assistant answers, carefully and in full.\n",
            "USER: {instruction}\n{input}\nASSISTANT:",
            "USER: {instruction}\nASSISTANT:",
            stop=("USER:",),
            lead=" ",
        ),
        _in_chat("chat", ""),
        _in_chat("chat-ja", _MEDICAL_JA),
        _in_chat("chat-en", _MEDICAL_EN),
        _in_chat("chat-letters-ja", _LETTERS_JA, "letters"),
        _in_chat("chat-letters-en", _LETTERS_EN, "letters"),
        _in_chat("chat-reasoning-ja", _REASON_JA, "letters", _FINAL_JA),
        _in_chat("chat-reasoning-en", _REASON_EN, "letters", _FINAL_EN),
    )
}


DEMONSTRATIONS: tuple[Question, ...] = (
    Question(
        "demonstration-1",
        "成人の安静時の脈拍数として基準範囲に入るのはどれか。",
        ("10/分", "30/分", "70/分", "150/分", "250/分"),
        (frozenset({2}),),
        explanation="成人の安静時の脈拍数は毎分およそ60から100である。この範囲にあるのは70/分だけである。",
    ),
    Question(
        "demonstration-2",
        "脂溶性ビタミンはどれか。2つ選べ。",
        ("ビタミンA", "ビタミンB1", "ビタミンB6", "ビタミンC", "ビタミンE"),
        (frozenset({0, 4}),),
        explanation="ビタミンA、D、E、Kは脂に溶け、B群とCは水に溶ける。脂溶性はビタミンAとビタミンEである。",
    ),
    Question(
        "demonstration-3",
        "胆汁を産生する臓器はどれか。",
        ("胃", "肝臓", "膵臓", "脾臓", "腎臓"),
        (frozenset({1}),),
        explanation="胆汁は肝細胞が作り、胆囊に蓄えられる。作る臓器は肝臓である。",
    ),
)
"""The questions that stand before the asked one in 1- and 3-shot prompts, where a spec names no file of its own."""


def answer_text(question: Question) -> str:
    """Returns the reply that scores 1 under every metric: the right options' texts, in the order of the choices.

    >>> answer_text(DEMONSTRATIONS[1])
    'ビタミンA,ビタミンE'
    """
    return set_text(question, sorted(question.answer))


def set_text(question: Question, options: Sequence[int]) -> str:
    """Returns a set of options as a reply that gives their texts.

    >>> set_text(DEMONSTRATIONS[1], [0, 1])
    'ビタミンA,ビタミンB1'
    """
    return CHOICE_SEPARATOR.join(question.choices[i] for i in options)


def set_letters(options: Sequence[int]) -> str:
    """Returns a set of options as a reply that gives their letters.

    >>> set_letters([0, 2])
    'a,c'
    """
    return CHOICE_SEPARATOR.join(LETTERS[i] for i in options)


def shown_answer(question: Question, form: PromptFormat) -> str:
    """Returns the answer that a demonstration gives in a format: texts, letters, or reasoning and the final answer.

    >>> shown_answer(DEMONSTRATIONS[1], PROMPT_FORMATS["letters-en"])
    ' a,e'
    """
    if question.choices:
        right = sorted(question.answer)
        answer = set_letters(right) if form.answer == "letters" else set_text(question, right)
    else:
        answer = question.numbers[0]
    if form.reasoning:
        thought = f"{question.explanation}\n" if question.explanation else ""
        answer = f"{thought}{form.final}{answer}"
    return form.lead + answer


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
    shots = [(*_exam_fields(d, form, case_text=case_text), shown_answer(d, form)) for d in demonstrations]
    return _lay_out(form, shots, *_exam_fields(question, form, case_text=case_text))


def instruction_prompt(sample: Instruction, form: PromptFormat) -> Prompt:
    r"""Returns the prompt of one instruction pair, laid out as the exam's questions are.

    >>> instruction_prompt(Instruction("1", "何か。", "", "骨"), PROMPT_FORMATS["alpaca-ja"]).text[-16:]
    '指示：\n何か。\n### 応答：\n'
    """
    return _lay_out(form, [], sample.instruction, sample.input)


REPORT_INSTRUCTION = (
    "胸部X線写真を読影する放射線科医として、この写真の所見を日本語の文章で書いてください。"
    "肺野、胸膜、心臓、縦隔、骨、挿入物について、異常の有無と左右、部位を述べてください。"
)
"""What a vision-language model is told beside a chest X-ray, where a spec gives no words of its own."""


MOST_PIXELS = 1024
"""Pixels on the longer side of a picture that a model is shown, in search, tuning and reports alike. Models look at
fewer; those that take any size (Qwen-VL) are asked about what they were judged by."""


def report_prompt(pictures: Sequence[Picture], form: PromptFormat, *, instruction: str = REPORT_INSTRUCTION) -> Prompt:
    r"""Returns the prompt that asks for the report of a radiograph: its pictures, then the instruction.

    In a verbatim text the pictures stand as marks on lines of their own before the instruction.

    Args:
        pictures: the views, at least one.
        form: one of PROMPT_FORMATS or a user's own, of which `bare` is used.
        instruction: what is asked.

    Reference:
        Layout: JRadiEvo (Baba et al. 2024), released code: the picture, a line break, the instruction.

    >>> report_prompt([picture], PROMPT_FORMATS["vicuna"], instruction="所見は。").text[-35:]  # doctest: +SKIP
    'USER: <image>\n所見は。\nASSISTANT:'
    """
    if form.chat:
        prompt = _lay_out(form, [], instruction, "")
        first = dataclasses.replace(prompt.messages[0], images=tuple(pictures))
        return Prompt(messages=(first, *prompt.messages[1:]))
    marks = "".join(f"{IMAGE_MARK}\n" for _ in pictures)
    return Prompt(text=form.opening + _fill(form, f"{marks}{instruction}", ""), images=tuple(pictures))


def _exam_fields(question: Question, form: PromptFormat, *, case_text: bool) -> tuple[str, str]:
    text = f"{question.case}\n{question.text}" if case_text and question.case else question.text
    if form.answer == "letters":
        return text, "\n".join(f"{letter}. {choice}" for letter, choice in zip(LETTERS, question.choices, strict=False))
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
