"""Development and test as types: what is refused, by name, by publication, by overlap; the held-out fold."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ikyoku.datasets import splits
from ikyoku.datasets.exams import read_exam, select, write_exam
from ikyoku.errors import DataError
from ikyoku.lab.pocket import world_of
from ikyoku.types import Question

WORLD = world_of("tiny", seed=0)


def given(path: Path, questions: Sequence[Question] = WORLD.dev, *, name: str = "") -> splits.Given:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_exam(path, questions)
    return read(path, name=name)


def read(path: Path, *, name: str = "", items: str = "text-only", **options: Any) -> splits.Given:
    exam = read_exam(path, **options)
    return splits.Given(path, name or path.stem, exam, select(exam, items))


def licensing(year: int, count: int = 4) -> list[Question]:
    return [replace(q, id=f"{year - 1906}A{n}") for n, q in enumerate(WORLD.retention[:count], 1)]


def test_an_unnamed_file_becomes_what_it_stands_under(tmp_path: Path) -> None:
    dev, test = given(tmp_path / "a" / "mine.jsonl"), given(tmp_path / "b" / "theirs.jsonl", WORLD.test)
    (development,), (untouched,) = splits.part([dev], [test])
    assert type(development) is splits.Development and type(untouched) is splits.Test
    assert development.samples == WORLD.dev and untouched.samples == WORLD.test
    assert development.record() == {
        "name": "mine",
        "items": "text-only",
        "n": 10,
        "sha256": dev.selection.sha256,
    }


def test_neither_is_made_by_hand() -> None:
    exam = select(splits.Exam("x", WORLD.dev, ()), "all")
    for kind in (splits.Development, splits.Test):
        with pytest.raises(TypeError, match=r"made by datasets\.splits\.part alone"):
            kind("x", exam, None)


@pytest.mark.parametrize(
    "name",
    ["test.jsonl", "pocket-test.jsonl", "Test_2020.jsonl", "MedQATest.jsonl", "ja.test.jsonl", "医師国試テスト.jsonl"],
)
def test_a_file_that_is_called_test_is_no_development(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"says test.*development questions only"):
        splits.part([given(tmp_path / "exam" / name)], [])


@pytest.mark.parametrize("name", ["latest.jsonl", "contest.jsonl", "dev.jsonl", "attestation.jsonl", "valid.jsonl"])
def test_a_name_that_only_holds_the_letters_is_no_test(tmp_path: Path, name: str) -> None:
    assert splits.part([given(tmp_path / "exam" / name)], [])[0]


def test_folders_labels_links_and_records_tell_it_too(tmp_path: Path) -> None:
    inside = given(tmp_path / "medqa" / "test" / "questions.jsonl")
    with pytest.raises(DataError, match="lies in a folder 'test'"):
        splits.part([inside], [])
    with pytest.raises(DataError, match="labelled 'the test set'"):
        splits.part([given(tmp_path / "exam" / "mine.jsonl", name="the test set")], [])
    folder = given(tmp_path / "IgakuQA_test" / "a.jsonl").path.parent
    with pytest.raises(DataError, match="'IgakuQA_test' says test"):
        splits.part([read(folder)], [])
    link = tmp_path / "exam" / "dev.jsonl"
    link.symlink_to(inside.path.rename(tmp_path / "exam" / "our-test.jsonl"))
    with pytest.raises(DataError, match=r"'our-test\.jsonl' says test"):
        splits.part([read(link)], [])
    rows = [json.loads(line) for line in link.read_text(encoding="utf-8").splitlines()]
    rows[3] |= {"metadata": {"split": "test"}}
    declared = tmp_path / "exam" / "declared.jsonl"
    declared.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    with pytest.raises(DataError, match="line 4 has the split 'test'"):
        splits.part([read(declared)], [])


def test_training_data_are_no_test(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"says training: it is no test"):
        splits.part([given(tmp_path / "a" / "mine.jsonl")], [given(tmp_path / "b" / "train.jsonl", WORLD.test)])


def test_a_published_test_is_development_only_beside_another_test(tmp_path: Path) -> None:
    searched = given(tmp_path / "a" / "years.jsonl", licensing(2018))
    with pytest.raises(DataError, match=r"national examination \(2018\)\. A search spends it"):
        splits.part([searched], [])
    other = [replace(q, id=f"114A{n}") for n, q in enumerate(WORLD.test, 1)]
    assert splits.part([searched], [given(tmp_path / "b" / "years.jsonl", other)])
    table = tmp_path / "c" / "anatomy.csv"
    table.parent.mkdir()
    table.write_text("心臓の部屋はいくつか。,1,2,3,4,D\n", encoding="utf-8")
    with pytest.raises(DataError, match="jmmlu is published as a test"):
        splits.part([read(table)], [])


def test_the_same_question_in_both_is_refused_with_its_ids(tmp_path: Path) -> None:
    moved = replace(WORLD.dev[2], id="other-name", choices=tuple(reversed(WORLD.dev[2].choices)))
    near = replace(
        WORLD.dev[5], id="near", text=f"次の設問に答えよ。{WORLD.dev[5].text.replace('どれか', 'どれですか')}"
    )
    short = Question("short", "どれか。", ("a1", "b2"), (frozenset({0}),))
    dev = given(tmp_path / "a" / "mine.jsonl", [*WORLD.dev, short])
    test = given(tmp_path / "b" / "theirs.jsonl", [*WORLD.test, moved, near, replace(short, id="again")])
    with pytest.raises(DataError) as caught:
        splits.part([dev], [test])
    told = str(caught.value)
    assert "3 of 11 questions stand in the test" in told
    assert f"{WORLD.dev[2].id} is other-name (exact)" in told
    assert f"{WORLD.dev[5].id} is near (n" in told
    assert "short is again (exact)" in told
    assert WORLD.dev[2].text not in told, "ids, no text"


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    wrong = [given(tmp_path / "a" / "test.jsonl"), given(tmp_path / "a" / "years.jsonl", licensing(2019))]
    with pytest.raises(DataError) as caught:
        splits.part(wrong, [])
    assert len(str(caught.value).splitlines()) == 2


def test_the_held_out_fold_follows_the_question_and_the_seed() -> None:
    renamed = [replace(q, id=f"x{n}") for n, q in enumerate(reversed(WORLD.dev))]
    both = (WORLD.dev, renamed)
    one, other = splits.hold_out(both, share=0.3, seed=0)
    texts = [{q.text for q in asked if q.id in ids} for asked, ids in zip(both, (one, other), strict=True)]
    assert len(one) == 3 and texts[0] == texts[1], "held out in both or in none"
    assert splits.hold_out(both[:1], share=0.3, seed=0) == (one,)
    assert len({splits.hold_out(both[:1], share=0.3, seed=seed) for seed in range(5)}) > 1
    assert splits.hold_out(both[:1], share=0.0, seed=0) == (frozenset(),)


def test_a_limit_draws_by_the_seed() -> None:
    few = splits.drawn(WORLD.test, 5, seed=0)
    assert len(few) == 5 and few == splits.drawn(tuple(reversed(WORLD.test)), 5, seed=0)
    assert few != splits.drawn(WORLD.test, 5, seed=1)
    assert len(splits.drawn(WORLD.test, 500, seed=0)) == len(WORLD.test)
