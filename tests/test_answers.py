"""Reading a reply out of a completion, and the number of options out of a question."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ikyoku.answers import asked_count, first_line, read_reply


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        ("肝癌", "肝癌"),
        ("  肝癌\n", "肝癌"),
        ("", ""),
        ("### 応答：\n肝癌", "肝癌"),
        ("以下は…\n### 指示：\n問\n### 入力：\n胃癌,肝癌\n### 応答：\n肝癌\n### 指示：\n次", "肝癌"),
        ("### Response:\nliver\n\n### Instruction:\nmore", "liver"),
        ("### Answer: liver", "liver"),
        ("肝癌### 指示：続き", "肝癌"),
        ("### 応答：\n例の答え\n### 応答：\n胃癌", "胃癌"),
        ("### Response:\none\n### 応答：\ntwo", "two"),
        ("### 指示：\n問だけ", ""),
        ("肝癌\n理由", "肝癌\n理由"),
        ("2,500mL、Ａ", "2,500mL、Ａ"),
    ],
)
def test_read_reply(text: str, reply: str) -> None:
    assert read_reply(text) == reply


def test_read_reply_takes_the_caller_s_markers() -> None:
    assert read_reply("答え：肝癌", markers=("答え：", "")) == "肝癌"
    assert read_reply("### 応答：肝癌", markers=()) == ""


@given(st.text())
def test_what_is_read_is_stripped_holds_no_heading_and_reads_as_itself(text: str) -> None:
    reply = read_reply(text)
    assert reply == reply.strip()
    assert "###" not in reply
    assert reply in text
    assert read_reply(reply) == reply


@given(st.text().filter(lambda t: "###" not in t), st.text())
def test_an_echoed_prompt_changes_nothing(reply: str, prompt: str) -> None:
    assert read_reply(f"{prompt}\n### 応答：\n{reply}") == reply.strip()


@pytest.mark.parametrize(
    ("text", "line"), [("\n 肝癌 \n理由", "肝癌"), ("肝癌\r\n理由", "肝癌"), ("", ""), ("\n\n", ""), ("肝癌", "肝癌")]
)
def test_first_line(text: str, line: str) -> None:
    assert first_line(text) == line


@given(st.text())
def test_first_line_is_one_line_and_only_empty_for_blank_text(text: str) -> None:
    line = first_line(text)
    assert "\n" not in line
    assert bool(line) == bool(text.strip())


@pytest.mark.parametrize(
    ("question", "count"),
    [
        ("正しいのはどれか。2つ選べ。", 2),
        ("正しいのはどれか。２つ選べ。", 2),
        ("正しいのはどれか。３つ選べ。", 3),
        ("正しいのはどれか。 2 つ選べ。", 2),
        ("正しいのはどれか。二つ選べ。", 2),
        ("正しいのはどれか。三つを選びなさい。", 3),
        ("正しいのはどれか。ふたつ選べ。", 2),
        ("正しいものを3個選択せよ。", 3),
        ("正しいものを2つだけ選んでください。", 2),
        ("正しいものを，2つ選べ。", 2),
        ("最も適切なものを1つ選べ。", 1),
        ("正しいものをすべて選べ。", 0),
        ("正しいものを全て選べ。", 0),
        ("正しいものを全部えらべ。", 0),
        ("正しいのはどれか。", 1),
        ("5つの選択肢から選べ。", 1),
        ("2つ選択肢がある。正しいのはどれか。", 1),
        ("腫瘤を2つ認める。正しいのはどれか。", 1),
        ("診断はどれか。1つ選べ。検査はどれか。２つ選べ。", 2),
        ("", 1),
    ],
)
def test_asked_count(question: str, count: int) -> None:
    assert asked_count(question) == count


@given(st.text())
def test_asked_count_is_never_negative(question: str) -> None:
    assert 0 <= asked_count(question) <= 99


@given(st.text(alphabet="0123456789つ個選べ二すて、, .", max_size=12), st.integers(1, 9))
def test_the_last_instruction_counts(before: str, count: int) -> None:
    assert asked_count(f"{before}どれか。{count}つ選べ。") == count
