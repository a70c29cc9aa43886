"""Instruction pairs and conversations: both kinds, and every fault of a file at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ikyoku.datasets.instructions import read_instructions, write_instructions
from ikyoku.errors import DataError
from ikyoku.types import Conversation, Instruction, Message

PAIR = {"instruction": "次の語を英語にしなさい。", "input": "肺炎", "output": "pneumonia"}
CHAT = {"messages": [{"role": "user", "content": "こんにちは"}, {"role": "assistant", "content": "はい。"}]}


def _write(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def test_pairs_with_and_without_input(tmp_path: Path) -> None:
    path = _write(
        tmp_path / "p.jsonl", PAIR, {"instruction": "答えよ", "output": "はい", "source": 3}, PAIR | {"input": None}
    )
    assert read_instructions(path) == (
        Instruction("line-1", PAIR["instruction"], "肺炎", "pneumonia"),
        Instruction("line-2", "答えよ", "", "はい"),
        Instruction("line-3", PAIR["instruction"], "", "pneumonia"),
    )


def test_ids_are_line_numbers_also_after_a_blank_line(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_bytes(b"\xef\xbb\xbf\r\n" + json.dumps(CHAT).encode() + b"\r\n")
    (sample,) = read_instructions(path)
    assert sample == Conversation("line-2", (Message("user", "こんにちは"), Message("assistant", "はい。")))


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"instruction": "あ"}, "no 'output'"),
        ({"output": "あ"}, "no 'instruction'"),
        (PAIR | {"output": " \n"}, "'output' is empty"),
        (PAIR | {"instruction": ""}, "'instruction' is empty"),
        (PAIR | {"output": 3}, "'output' is a number"),
        (PAIR | {"input": ["肺炎"]}, "'input' is a list"),
        ({"question": "あ"}, "neither"),
        ({"messages": []}, "an empty list"),
        ({"messages": "あ"}, "'messages' is a text"),
        ({"messages": ["あ"]}, "turn 1: is a text"),
        ({"messages": [{"role": "user"}, *CHAT["messages"]]}, "turn 1: no 'content'"),
        ({"messages": [{"role": "human", "content": "あ"}]}, "unknown role; allowed are system, user, assistant"),
        ({"messages": CHAT["messages"][:1]}, "the last turn is the user's"),
        ({"messages": CHAT["messages"][1:]}, "no turn of the user"),
        ({"messages": [CHAT["messages"][0], {"role": "assistant", "content": ""}]}, "turn 2: 'content' is empty"),
    ],
)
def test_a_fault_is_named_with_its_line(tmp_path: Path, row: object, reason: str) -> None:
    kind = CHAT if isinstance(row, dict) and "messages" in row else PAIR
    path = _write(tmp_path / "p.jsonl", kind, row)
    with pytest.raises(DataError) as caught:
        read_instructions(path)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{path}, line 2: ")
    assert reason in line


def test_all_faults_of_a_file_come_together_and_hold_no_text(tmp_path: Path) -> None:
    path = _write(tmp_path / "p.jsonl", PAIR, CHAT, PAIR | {"output": ""}, PAIR | {"instruction": 1, "output": 2})
    with path.open("a", encoding="utf-8") as file:
        file.write('{"instruction": "肺炎')
    with pytest.raises(DataError) as caught:
        read_instructions(path)
    shown = str(caught.value).splitlines()
    assert [line.split(":")[0].rsplit(" ", 1)[1] for line in shown] == ["2", "3", "4", "4", "5"]
    assert "line 1 holds instruction/output" in shown[0]
    assert "肺炎" not in str(caught.value)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    pairs = (Instruction("line-1", "あ", "", "い\u2028\n"), Instruction("line-2", "う", "え", "お"))
    chats = (Conversation("line-1", (Message("system", "あ"), Message("user", "い"), Message("assistant", "う"))),)
    write_instructions(tmp_path / "p.jsonl", pairs)
    assert read_instructions(tmp_path / "p.jsonl") == pairs
    write_instructions(tmp_path / "p.jsonl", chats)
    assert read_instructions(tmp_path / "p.jsonl") == chats


def test_writing_nothing_or_both_kinds_is_refused(tmp_path: Path) -> None:
    pair, chat = (
        Instruction("1", "あ", "", "い"),
        Conversation("2", (Message("user", "あ"), Message("assistant", "い"))),
    )
    with pytest.raises(DataError, match="no sample"):
        write_instructions(tmp_path / "p.jsonl", [])
    with pytest.raises(DataError, match="both"):
        write_instructions(tmp_path / "p.jsonl", [pair, chat])
    assert not (tmp_path / "p.jsonl").exists()
