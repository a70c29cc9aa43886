"""Pocket parents: ordinary model folders of one base, an exam by fact, the same bits every time."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from ikyoku.datasets.exams import read_exam
from ikyoku.lab.facts import relation
from ikyoku.lab.parents import SCHOOLS, PocketParents, exams, lessons, make_parents, taught, write_exams
from ikyoku.lab.world import EXAM_WORDING, asked, stated
from ikyoku.runs import sha256_of

NAMES = ["general-ja", "medical-ja", "medical-en"]


@pytest.fixture(scope="module")
def made(tiny_cache: Path) -> PocketParents:
    return make_parents("tiny", seed=0, cache=tiny_cache)


def test_they_are_models_of_one_architecture_that_differ_from_their_base(made: PocketParents) -> None:
    base = load_file(made.base / "model.safetensors")
    config = json.loads((made.base / "config.json").read_text(encoding="utf-8"))
    assert list(made.parents) == NAMES
    for folder in made.parents.values():
        weights = load_file(folder / "model.safetensors")
        assert {k: v.shape for k, v in weights.items()} == {k: v.shape for k, v in base.items()}
        assert any((weights[k] != base[k]).any() for k in base)
        assert json.loads((folder / "config.json").read_text(encoding="utf-8"))["hidden_size"] == config["hidden_size"]
        assert (folder / "tokenizer.json").read_bytes() == (made.base / "tokenizer.json").read_bytes()


def test_they_are_found_again_and_made_the_same_again(made: PocketParents, tiny_cache: Path) -> None:
    folder = made.parents["medical-en"]
    before, written = sha256_of(folder), (folder / "model.safetensors").stat().st_mtime_ns
    assert make_parents("tiny", seed=0, cache=tiny_cache) == made
    assert (folder / "model.safetensors").stat().st_mtime_ns == written
    shutil.rmtree(folder)
    make_parents("tiny", seed=0, cache=tiny_cache)
    assert sha256_of(folder) == before


@pytest.mark.parametrize("size", SCHOOLS)
def test_no_fact_is_in_two_places(size: str) -> None:
    lists = taught(size, seed=0)
    every = [(fact.relation, fact.subject, fact.answers) for facts in lists.values() for fact in facts]
    assert len(set(every)) == len(every)
    dev, test = exams(size, seed=0)
    assert len(dev) + len(test) == len(every)
    assert {q.text for q in dev}.isdisjoint(q.text for q in test)
    assert exams(size, seed=0) == (dev, test) != exams(size, seed=1)


def test_no_parent_is_taught_more_than_42_percent_of_the_exam() -> None:
    lists = taught("pocket", seed=0)
    total = sum(map(len, lists.values()))
    assert total >= 180
    assert all(len(facts) <= 0.42 * total for facts in lists.values())
    dev, test = exams("pocket", seed=0)
    assert len(dev) >= 60
    assert len(test) >= 120


@pytest.mark.parametrize("name", NAMES)
def test_no_training_text_words_a_taught_fact_as_the_exam_does(name: str) -> None:
    facts = taught("pocket", seed=0)
    wordings = {asked(fact, EXAM_WORDING) for each in facts.values() for fact in each}
    draw, rng = lessons(name, "pocket", seed=0), random.Random(5)
    texts = [draw(rng) for _ in range(1500)]
    assert not [text for text in texts if any(wording in text.prompt + text.answer for wording in wordings)]


def test_a_parent_reads_nothing_of_what_the_others_are_taught() -> None:
    lists = taught("pocket", seed=0)
    rng = random.Random(6)
    for name in NAMES:
        draw = lessons(name, "pocket", seed=0)
        texts = "".join((text := draw(rng)).prompt + text.answer for _ in range(1500))
        foreign = [fact for other, facts in lists.items() if other != name for fact in facts]
        sentences = {form(fact, wording) for fact in foreign for form in (asked, stated) for wording in range(3)}
        sentences |= {relation(f.relation).english[1].format(subject=f.subject) for f in foreign}
        assert not [sentence for sentence in sentences if sentence in texts]


def test_the_exam_can_be_written_and_read(made: PocketParents, tmp_path: Path) -> None:
    dev, test = write_exams(made, tmp_path)
    assert [dev.name, test.name] == ["pocket-dev.jsonl", "pocket-test.jsonl"]
    assert [question.text for question in read_exam(test).questions] == [q.text for q in made.test]
