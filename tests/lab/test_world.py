"""What is asked is never taught: the separation of the pocket lab's exam from everything its models read."""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from functools import cache

import pytest

from ikyoku.lab.facts import FACTS, Fact, pool, relation
from ikyoku.lab.pocket import RECIPES, world_of
from ikyoku.lab.world import EXAM_WORDING, PAIR_WORD, TUNING_WORDINGS, Passage, World, passage
from ikyoku.prompts import answer_text
from ikyoku.types import Question

SIZES = sorted(RECIPES)
PASSAGES = 20_000


@cache
def world(size: str) -> World:
    return world_of(size, seed=0)


@cache
def read_by_bases(size: str) -> tuple[Passage, ...]:
    """What the bases of a size read: a large sample, equal parts for each base."""
    shares = [recipe.english_share for recipe in RECIPES[size]]
    rng = random.Random(7)
    return tuple(passage(world(size), rng, english_share=shares[i % len(shares)]) for i in range(PASSAGES))


@cache
def base_texts(size: str) -> tuple[str, ...]:
    return tuple(each.prompt + each.answer for each in read_by_bases(size))


@cache
def base_units(size: str) -> tuple[str, ...]:
    """The statements and questions that base texts consist of: a demonstration and the question after it are two."""
    return tuple(unit for text in base_texts(size) for unit in text.split("### 指示：\n") if unit)


@cache
def taught_texts(size: str) -> tuple[str, ...]:
    return tuple(f"{pair.instruction}\n{pair.input}\n{pair.output}" for pair in world(size).instructions)


def exam(size: str) -> tuple[Question, ...]:
    return world(size).dev + world(size).test


def fact_of(question: Question) -> Fact:
    """The fact that an exam question asks, found by its wording alone."""
    form = relation(question.section).questions[EXAM_WORDING]
    asked = question.text.removesuffix(PAIR_WORD)
    found = [f for f in FACTS if f.relation == question.section and form.format(subject=f.subject) == asked]
    assert len(found) == 1, question.text
    return found[0]


def fixed_words(form: str) -> list[str]:
    """The parts of a wording around the subject, without the exam's own ending, which all wordings share."""
    return [part for part in form.removesuffix("どれか。").split("{subject}") if len(part) > 1]


def holding(texts: tuple[str, ...], words: set[str]) -> dict[str, list[str]]:
    """Returns for each word the texts that hold it; one pass over the texts."""
    pattern = re.compile("|".join(sorted(map(re.escape, words), key=len, reverse=True)))
    found: dict[str, list[str]] = defaultdict(list)
    for text in texts:
        for word in set(pattern.findall(text)):
            found[word].append(text)
    return found


@pytest.fixture(params=SIZES)
def size(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_exam_wording_is_none_of_the_tuning_wordings() -> None:
    assert EXAM_WORDING not in TUNING_WORDINGS
    assert {EXAM_WORDING, *TUNING_WORDINGS} == {0, 1, 2}


def test_no_training_text_holds_an_exam_question(size: str) -> None:
    everything = "\n\n".join((*base_texts(size), *taught_texts(size)))
    assert [q.id for q in exam(size) if q.text in everything] == []


def test_no_training_text_has_a_subject_and_the_exam_wording(size: str) -> None:
    """Also where the subject and the wording's words stand apart, or another ending follows."""
    facts = [fact_of(q) for q in exam(size)]
    for texts in (taught_texts(size), base_units(size)):
        by_subject = holding(texts, {f.subject for f in facts})
        for fact in facts:
            words = fixed_words(relation(fact.relation).questions[EXAM_WORDING])
            assert words, fact
            for text in by_subject[fact.subject]:
                # an open question by the same words on another relation's subject is no leak: all words must be there
                assert not all(word in text for word in words), (fact, text)


def test_no_base_reads_anything_about_a_real_fact(size: str) -> None:
    """No statement or question of a base is about a real subject; some are answers elsewhere (バソプレシン)."""
    by_subject: dict[str, list[Fact]] = defaultdict(list)
    for fact in FACTS:
        by_subject[fact.subject].append(fact)
    held = holding(base_units(size), set(by_subject))
    assert len(held) > 0.9 * len(by_subject), "nearly all terms are read"
    for subject, texts in held.items():
        answers = {a for fact in by_subject[subject] for a in fact.answers}
        for text in texts:
            if re.fullmatch(r"用語：.+", text):
                assert text.removeprefix("用語：") in by_subject
                continue
            assert not any(answer in text for answer in answers), (subject, text)
            # where it is an answer to something invented, it stands among the choices or as the answer
            rest = re.sub(r"### 入力：\n.*|### 応答：\n.*", "", text)
            if "どれか。" in rest:
                assert subject not in rest, (subject, text)


def test_no_base_reads_a_real_fact_in_any_wording(size: str) -> None:
    """Every real fact in every statement and question form, looked for verbatim."""
    everything = "\n\n".join(base_texts(size))
    forms = []
    for fact in FACTS:
        kind = relation(fact.relation)
        forms += [form.format(subject=fact.subject) for form in (*kind.questions, kind.english[1])]
        for answer in (*fact.answers, "と".join(fact.answers)):
            forms += [form.format(subject=fact.subject, answer=answer) for form in (*kind.statements, kind.english[0])]
    assert [form for form in forms if form in everything] == []


def test_terms_are_prose_without_an_answer(size: str) -> None:
    terms = [each for each in read_by_bases(size) if each.prompt.startswith("用語：")]
    assert 0.01 * PASSAGES < len(terms) < 0.1 * PASSAGES
    assert all(not each.answer for each in terms)


def test_instruction_pairs_teach_each_asked_fact_in_every_tuning_wording(size: str) -> None:
    pairs = {(p.instruction, bool(p.input)): p for p in world(size).instructions}
    for question in exam(size):
        fact = fact_of(question)
        for wording in TUNING_WORDINGS:
            asked = relation(fact.relation).questions[wording].format(subject=fact.subject)
            asked += PAIR_WORD if len(fact.answers) == 2 else ""
            opened, chosen = pairs[asked, False], pairs[asked, True]
            assert opened.output == ",".join(fact.answers)
            assert set(chosen.output.split(",")) == set(fact.answers) <= set(chosen.input.split(","))


def test_invented_subjects_are_no_real_subjects(size: str) -> None:
    made = world(size)
    real = {f.subject for f in FACTS}
    invented = [f.subject for f in (*made.invented, *made.english)]
    assert len(set(invented)) == len(invented)
    assert not real & set(invented)
    answers = {a for f in FACTS for a in (*f.answers, *f.also)}
    assert not answers & set(invented)
    # nor may one hold the other, or a text about one would be found to be about both
    assert [(i, r) for i in invented for r in real if r in i or i in r] == []


def test_dev_and_test_share_no_fact(size: str) -> None:
    made = world(size)
    dev, test = ({(q.section, fact_of(q).subject) for q in part} for part in (made.dev, made.test))
    assert len(dev) == len(made.dev) and len(test) == len(made.test)
    assert not dev & test
    assert made.dev and len(made.test) > 2 * len(made.dev)
    ids = [q.id for q in (*made.dev, *made.test, *made.retention, *made.demonstrations)]
    assert len(set(ids)) == len(ids)


def test_every_relation_is_asked(size: str) -> None:
    counts = Counter(q.section for q in exam(size))
    assert set(counts.values()) == {RECIPES[size][0].real}
    assert len(counts) == 10


def test_demonstrations_are_not_asked(size: str) -> None:
    made = world(size)
    shown = {q.text for q in made.demonstrations}
    asked = {q.text for q in (*made.dev, *made.test, *made.retention)}
    assert len(shown) == 3
    assert not shown & asked
    invented = {f.subject for f in made.invented[:3]}
    for text in asked:
        assert not any(subject in text for subject in invented), "the fact of a demonstration is asked"


def test_retention_asks_invented_facts_only(size: str) -> None:
    made = world(size)
    asked = []
    for question in made.retention:
        found = [
            f
            for f in made.invented
            if f.relation == question.section
            and question.text.removesuffix(PAIR_WORD)
            in [form.format(subject=f.subject) for form in relation(f.relation).questions]
        ]
        assert len(found) == 1, question
        assert set(question.gold) == set(found[0].answers)
        asked.append(found[0])
    assert len(set(asked)) == len(asked) == RECIPES[size][0].retention


def test_questions_for_two_answers_say_so_in_both_parts(size: str) -> None:
    for part in (world(size).dev, world(size).test):
        two = [q for q in part if len(q.answer) == 2]
        assert two
        for question in part:
            assert question.text.endswith(PAIR_WORD) == (len(question.answer) == 2), question
    assert PAIR_WORD == "2つ選べ。"


def test_five_distinct_choices_with_the_gold_among_them(size: str) -> None:
    made = world(size)
    for question in (*made.dev, *made.test, *made.retention, *made.demonstrations):
        assert len(question.choices) == len(set(question.choices)) == 5, question
        assert len(question.accepted) == 1
        assert question.answer <= set(range(5))
        assert set(question.choices) <= set(pool(question.section))
        assert not any("," in choice for choice in question.choices)
        assert answer_text(question) == ",".join(c for c in question.choices if c in question.gold)


def test_no_wrong_choice_is_right_or_arguably_right(size: str) -> None:
    for question in exam(size):
        fact = fact_of(question)
        assert set(question.gold) == set(fact.answers)
        wrong = set(question.choices) - set(question.gold)
        assert not wrong & {*fact.answers, *fact.also}, question


def test_the_place_of_the_gold_says_nothing(size: str) -> None:
    places = Counter(i for q in exam(size) for i in q.answer)
    assert set(places) == set(range(5))
    assert max(places.values()) < 0.4 * sum(places.values())


def test_taught_choices_leave_out_what_is_arguably_right(size: str) -> None:
    facts = {(f.relation, f.subject): f for f in FACTS}
    for pair in world(size).instructions:
        if not pair.input:
            continue
        name, subject, *_ = pair.id.split("/")
        fact = facts[name, subject]
        wrong = set(pair.input.split(",")) - set(pair.output.split(","))
        assert not wrong & {*fact.answers, *fact.also}, pair


def _sample(size: str, seed: int) -> Iterator[Passage]:
    rng = random.Random(3)
    made = world_of(size, seed=seed)
    return (passage(made, rng, english_share=0.3) for _ in range(200))


def test_same_seed_same_world_other_seed_other_world(size: str) -> None:
    assert world_of(size, seed=0) == world(size)
    assert list(_sample(size, 0)) == list(_sample(size, 0))
    other = world_of(size, seed=1)
    pick: list[Callable[[World], object]] = [
        lambda w: w.invented,
        lambda w: w.english,
        lambda w: w.retention,
        lambda w: w.demonstrations,
        lambda w: [q.choices for q in (*w.dev, *w.test)],
        lambda w: [q.id for q in w.test],
    ]
    for part in pick:
        assert part(other) != part(world(size))
