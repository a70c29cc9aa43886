"""Exams: the layout and its oddities, case series, the lists of items, what is refused. All questions are made up."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from ikyoku.datasets.exams import ITEM_LISTS, Exam, read_exam, select, write_exam
from ikyoku.errors import DataError, SpecError
from ikyoku.types import Question

FIVE = ("甲", "乙", "丙", "丁", "戊")


def _item(name: str, text: str = "正しいのはどれか。", **more: object) -> dict[str, object]:
    item: dict[str, object] = {"problem_id": name, "problem_text": text, "choices": list(FIVE), "text_only": True}
    return item | {"answer": ["a"], "points": "1"} | more


def _write(path: Path, *items: Mapping[str, object]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(item, ensure_ascii=False) + "\n" for item in items), encoding="utf-8")
    return path


def _read(path: Path, *items: Mapping[str, object]) -> dict[str, Question]:
    return {question.id: question for question in read_exam(_write(path / "e.jsonl", *items)).questions}


# the layout


def test_fields(tmp_path: Path) -> None:
    held = _read(
        tmp_path,
        _item("112B1", answer=["c", "a"], points="3", text_only=False),
        _item("107_64-0", points=1.0, choices_orig="[甲,乙]"),
        _item("x", section="模擬", points=0),
    )
    assert held["112B1"] == Question(
        "112B1", "正しいのはどれか。", FIVE, (frozenset({0, 2}),), "", "B", points=3, text_only=False
    )
    assert (held["107_64-0"].section, held["107_64-0"].points) == ("", 1)
    assert (held["x"].section, held["x"].points) == ("模擬", 0)


@pytest.mark.parametrize(
    ("answer", "accepted"),
    [
        (["b"], [{1}]),
        (["a", "c"], [{0, 2}]),
        (["a,c"], [{0, 2}]),
        (["Ｅ"], [{4}]),
        (["a or d"], [{0}, {3}]),
        (["a", "b or c"], [{0, 1}, {0, 2}]),
        (["a,b or c,d"], [{0, 1}, {2, 3}]),
        (["d", ",", "e"], [{3, 4}]),
        ([], []),
        (["f"], []),
        (["130"], []),
        (["採点除外"], []),
    ],
)
def test_answers(tmp_path: Path, answer: list[str], accepted: list[set[int]]) -> None:
    assert _read(tmp_path, _item("112B1", answer=answer))["112B1"].accepted == tuple(map(frozenset, accepted))


def test_mark_and_crlf(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(_item("112B1")).encode() + b"\r\n\r\n")
    assert [question.id for question in read_exam(path).questions] == ["112B1"]


def test_a_long_question_is_read_whole(tmp_path: Path) -> None:
    text = "長" * 10_000
    assert _read(tmp_path, _item("112B1", text))["112B1"].text == text


def test_the_upstream_folder(tmp_path: Path) -> None:
    _write(tmp_path / "data" / "2018" / "112-B.jsonl", _item("112B9"), _item("112B10"))
    _write(tmp_path / "data" / "2018" / "112-A.jsonl", _item("112A1"))
    _write(tmp_path / "data" / "2018" / "112-A_metadata.jsonl", {"problem_id": "112A1", "kinki": []})
    _write(tmp_path / "data" / "2018" / "112-A_translate.jsonl", _item("112A1"))
    _write(tmp_path / "data" / "2019" / "113-A.jsonl", _item("113A1"))
    _write(tmp_path / "baseline_results" / "2018" / "112-A_gpt4.jsonl", {"problem_id": "112A1", "prediction": "b"})
    _write(tmp_path / "prompts" / "prompt.jsonl", _item("111A1"))
    exam = read_exam(tmp_path, name="igakuqa")
    assert exam.name == "igakuqa"
    assert [question.id for question in exam.questions] == ["112A1", "112B9", "112B10", "113A1"]
    assert [file.name for file in exam.files] == ["112-A.jsonl", "112-B.jsonl", "113-A.jsonl"]
    later = read_exam(tmp_path, years=(2019, 2020))
    assert ([question.id for question in later.questions], len(later.files)) == (["113A1"], 1)
    assert read_exam(tmp_path / "data" / "2018").name == "2018"
    with pytest.raises(DataError, match="no question of 2022; the years in it: 2018, 2019"):
        read_exam(tmp_path, years=[2022])


def test_other_folders(tmp_path: Path) -> None:
    _write(tmp_path / "114-B10.jsonl", _item("114B2"))
    _write(tmp_path / "114-B9.jsonl", _item("114B1"))
    _write(tmp_path / "more" / "112-A_jp.jsonl", _item("112A1"))
    _write(tmp_path / "predictions.jsonl", {"problem_id": "112A1", "prediction": "a"})
    _write(tmp_path / "._114-B9.jsonl", {"not": "ours"})
    (tmp_path / "data").mkdir()
    exam = read_exam(tmp_path)
    assert [question.id for question in exam.questions] == ["114B1", "114B2", "112A1"]


# case series

HEAD = "70歳の架空の人物。現病歴：昨日から「つらい。」と話している。検査所見：青色。"
SECOND = "その後の経過：緑色になった。"


@pytest.mark.parametrize(
    "scope", ["40〜42の", "40、41、42の", "４０～４２の", "40・41・42 の", "40-42の", "以下の", "次の"]
)
def test_the_case_of_a_series_of_three(tmp_path: Path, scope: str) -> None:
    first = f"次の文を読み、{scope}問いに答えよ。{HEAD}最も考えられるのはどれか。2つ選べ。"
    items = [
        _item("112B39", "独立した問題はどれか。"),
        _item("112B40", first),
        _item("112B41", f"{SECOND}行うべきなのはどれか。"),
        _item("112B42", "この時点で適切なのはどれか。"),
        _item("112B43", "別の独立した問題はどれか。"),
    ]
    held = _read(tmp_path, *items)
    assert {name: question.case for name, question in held.items()} == {
        "112B39": "",
        "112B40": "",
        "112B41": HEAD,
        "112B42": f"{HEAD}\n{SECOND}",
        "112B43": "",
    }
    assert held["112B40"].text == first


def test_series_without_numbers_are_as_long_as_those_before(tmp_path: Path) -> None:
    head = f"次の文を読み、以下の問いに答えよ。{HEAD}どれか。"
    texts = {41: head, 42: "二はどれか。", 43: head, 44: "四はどれか。", 45: "独立はどれか。"}
    held = _read(tmp_path, *(_item(f"114E{number}", text) for number, text in texts.items()))
    assert [name for name, question in held.items() if question.case] == ["114E42", "114E44"]


def test_a_calculation_or_a_gap_ends_a_series_without_numbers(tmp_path: Path) -> None:
    head = f"次の文を読み、以下の問いに答えよ。{HEAD}どれか。"
    sums = _item("114C42", "計算せよ。解答：①②", choices=[], answer=["27"])
    assert not any(question.case for question in _read(tmp_path, _item("114C41", head), sums).values())
    assert not any(question.case for question in _read(tmp_path, _item("114C41", head), _item("114C43")).values())


def test_a_numbered_series_keeps_its_calculation_and_survives_a_gap(tmp_path: Path) -> None:
    head = f"次の文を読み、41〜43の問いに答えよ。{HEAD}どれか。"
    held = _read(tmp_path, _item("112C41", head), _item("112C43", "計算せよ。", choices=[], answer=["2", "7"]))
    assert held["112C43"].case == HEAD


@pytest.mark.parametrize(
    ("text", "case"),
    [
        (f"{HEAD}正しい内容はどれか。ただし、消費は一定であるとする。", HEAD),
        (f"{HEAD}適切なのはどれか", HEAD),
        ("表を示す。\n\n甲\n1\n\n乙\n2\n中止すべきなのはどれか。3つ選べ。", "表を示す。\n\n甲\n1\n\n乙\n2"),
        (
            "会話を示す。医師：「痛みますか。」患者：「はい。」下線部はどれか。",
            "会話を示す。医師：「痛みますか。」患者：「はい。」",
        ),
        ("会話を示す。医師：「痛みますか。」まず行うのはどれか。", "会話を示す。医師：「痛みますか。」"),
        ("患者：「はい。」と答えた。次はどれか。", "患者：「はい。」と答えた。"),
        ("片方だけの括弧（がある。次はどれか。", "片方だけの括弧（がある。"),
        ("これはどれか。", ""),
    ],
)
def test_the_last_question_is_left_out_of_a_case(tmp_path: Path, text: str, case: str) -> None:
    head = f"次の文を読み、1、2の問いに答えよ。{text}"
    assert _read(tmp_path, _item("112F1", head), _item("112F2"))["112F2"].case == case


def test_a_case_in_the_file_is_taken_as_it_is(tmp_path: Path) -> None:
    head = f"次の文を読み、1～3の問いに答えよ。{HEAD}どれか。"
    held = _read(tmp_path, _item("112F1", head), _item("112F2", case="別の症例"), _item("112F3", case=""))
    assert [question.case for question in held.values()] == ["", "別の症例", ""]


def test_another_block_is_another_series(tmp_path: Path) -> None:
    head = f"次の文を読み、1～3の問いに答えよ。{HEAD}どれか。"
    held = _read(tmp_path, _item("112B1", head), _item("112C2"), _item("113B2"), _item("112B2"))
    assert [name for name, question in held.items() if question.case] == ["112B2"]


# lists of items


def _exam(tmp_path: Path) -> Exam:
    return read_exam(
        _write(
            tmp_path / "e.jsonl",
            _item("one"),
            _item("two", answer=["a", "c"]),
            _item("either", answer=["a or d"]),
            _item("image", text_only=False),
            _item("six", choices=[*FIVE, "己"], answer=["f"]),
            _item("number", choices=[], answer=["1", "3"]),
            _item("1024", "字" * 1024),
            _item("1025", "字" * 1025),
            _item("free", answer=[]),
        )
    )


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("all", "one two either image six 1024 1025"),
        ("text-only", "one two either six 1024 1025"),
        ("text-only-5-choice", "one two either 1024 1025"),
        ("text-only-5-choice-1024", "one two either 1024"),
        ("text-only-5-choice-single", "one either 1024 1025"),
        ("text-only-5-choice-multiple", "two"),
    ],
)
def test_lists(tmp_path: Path, name: str, asked: str) -> None:
    exam = _exam(tmp_path)
    selection = select(exam, name)
    assert " ".join(question.id for question in selection.questions) == asked
    assert selection.count + len(selection.omitted) == len(exam.questions)
    assert (selection.name, selection.count) == (name, len(asked.split()))


def test_every_list_is_tested() -> None:
    assert next(iter(ITEM_LISTS)) == "all"
    assert len(ITEM_LISTS) == 6


def test_reasons(tmp_path: Path) -> None:
    exam = _exam(tmp_path)
    assert {entry.id: entry.reason for entry in select(exam, "text-only-5-choice-1024").omitted} == {
        "image": "needs an image that is not in the data",
        "six": "6 choices, the list asks for 5",
        "number": "no choices: the answer is a number",
        "1025": "text longer than 1024 characters",
        "free": "no answer key",
    }
    assert {entry.id for entry in select(exam, "all").omitted} == {"number", "free"}
    single = {entry.id: entry.reason for entry in select(exam, "text-only-5-choice-single").omitted}
    assert single["two"] == "2 right answers, the list asks for one"
    several = {entry.id: entry.reason for entry in select(exam, "text-only-5-choice-multiple").omitted}
    assert several["one"] == "one right answer, the list asks for several"


def test_the_hash_names_the_questions(tmp_path: Path) -> None:
    exam = _exam(tmp_path)
    hashes = {select(exam, name).sha256 for name in ITEM_LISTS}
    assert len(hashes) == len(ITEM_LISTS)
    first = exam.questions[0]
    for changed in (
        replace(first, text="違う"),
        replace(first, case="違う"),
        replace(first, choices=(*FIVE[:4], "違う")),
        replace(first, accepted=(frozenset({1}),)),
    ):
        assert select(replace(exam, questions=(changed, *exam.questions[1:])), "all").sha256 not in hashes
    renamed = replace(exam, name="other", questions=(replace(first, points=3), *exam.questions[1:]))
    assert select(renamed, "all").sha256 == select(exam, "all").sha256


def test_an_unknown_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="unknown item list 'text_only'; allowed are all, text-only, "):
        select(_exam(tmp_path), "text_only")


# writing


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    head = f"次の文を読み、1～3の問いに答えよ。{HEAD}どれか。"
    items = [_item("112F1", head), _item("112F2"), _item("112F3", answer=["a,b or c,d"]), _item("x", answer=[])]
    exam = read_exam(_write(tmp_path / "e.jsonl", *items, _item("y", case="症例", section="模擬", text_only=False)))
    write_exam(tmp_path / "out" / "e.jsonl", exam.questions)
    assert read_exam(tmp_path / "out" / "e.jsonl").questions == exam.questions


def test_nothing_to_write_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no question"):
        write_exam(tmp_path / "e.jsonl", [])
    question = Question("1", "あ", FIVE, (frozenset({0}),))
    with pytest.raises(DataError, match="already"):
        write_exam(tmp_path / "e.jsonl", [question, question])


# what is refused


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"problem_id": ""}, "'problem_id' is empty"),
        ({"problem_text": None}, "'problem_text' is null"),
        ({"choices": "甲乙"}, "'choices' is a text; a list of texts is needed"),
        ({"choices": ["甲", 3]}, "'choices' holds a number"),
        ({"choices": ["甲"] * 27}, "'choices' holds 27 texts"),
        ({"answer": "a"}, "'answer' is a text"),
        ({"text_only": "true"}, "'text_only' is a text"),
        ({"points": "三点"}, "'points' is a text that is no whole number"),
        ({"points": 1.5}, "'points' is a number that is no whole number"),
        ({"points": -1}, "'points' is a number"),
        ({"points": True}, "'points' is true or false"),
        ({"case": 3}, "'case' is a number"),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, more: dict[str, object], reason: str) -> None:
    path = _write(tmp_path / "e.jsonl", _item("112B1"), _item("112B2", "秘密の患者", **more))
    with pytest.raises(DataError) as caught:
        read_exam(path)
    assert str(caught.value).startswith(f"{path}, line 2: {reason}")
    assert "秘密" not in str(caught.value)


def test_all_faults_of_a_folder_come_together(tmp_path: Path) -> None:
    items = [_item(f"112A{number}") for number in range(1, 21)]
    first = _write(tmp_path / "112-A.jsonl", *items)
    lines = first.read_text(encoding="utf-8").splitlines()
    lines[16] = lines[16][:40]
    first.write_text("\n".join(lines)[:-30], encoding="utf-8")
    second = _write(tmp_path / "112-B.jsonl", _item("112B1"), {"problem_id": "112B2"}, _item("112A3"))
    (tmp_path / "112-C.jsonl").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        read_exam(tmp_path)
    text = str(caught.value)
    assert f"{first}, line 17: not JSON" in text
    assert f"{first}, line 20: not JSON" in text
    assert "cut off" in text
    assert f"{second}, line 2: no 'problem_text'" in text
    assert f"{second}, line 3: problem_id '112A3' is already in {first}, line 3" in text
    assert "112-C.jsonl: the file is empty" in text


def test_no_exam_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_exam(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match="no exam file"):
        read_exam(tmp_path)
    path = _write(tmp_path / "p.jsonl", {"problem_id": "112A1", "prediction": "b"})
    for place in (tmp_path, path):
        with pytest.raises(DataError, match="no line has all of the keys problem_id, problem_text, choices, answer"):
            read_exam(place)
