"""The facts keep their form: enough of them, no giveaways, no wrong option that might be right."""

from __future__ import annotations

import sys
import unicodedata
from collections import Counter
from itertools import permutations

import pytest

from ikyoku.lab.facts import FACTS, RELATIONS, Fact, Relation, distractors, pool, relation

NAMES = [each.name for each in RELATIONS]


def pairs(text: str) -> set[str]:
    """Returns every two neighbouring characters of a text, letter case folded."""
    folded = text.casefold()
    return {folded[at : at + 2] for at in range(len(folded) - 1)}


def label(fact: Fact) -> str:
    return f"{fact.relation}: {fact.subject}"


def faults(found: list[str]) -> None:
    assert not found, "\n" + "\n".join(found)


def test_there_are_enough_facts_of_every_relation() -> None:
    counts = Counter(fact.relation for fact in FACTS)
    assert len(FACTS) >= 210
    assert 8 <= len(RELATIONS) <= 10
    assert set(counts) == set(NAMES)
    assert min(counts.values()) >= 20, counts


def test_thirty_five_to_fifty_facts_have_two_answers() -> None:
    two = Counter(fact.relation for fact in FACTS if len(fact.answers) == 2)
    assert 35 <= sum(two.values()) <= 50, two
    assert len(two) >= 5
    assert {len(fact.answers) for fact in FACTS} == {1, 2}


def test_relation_and_subject_name_one_fact() -> None:
    assert [key for key, n in Counter((fact.relation, fact.subject) for fact in FACTS).items() if n > 1] == []


def test_texts_are_short_normal_and_free_of_separators() -> None:
    found = []
    for fact in FACTS:
        for text, low, high in [(fact.subject, 2, 14), *((answer, 1, 12) for answer in (*fact.answers, *fact.also))]:
            if not low <= len(text) <= high:
                found.append(f"{label(fact)}: {text!r} has {len(text)} characters")
            if text != unicodedata.normalize("NFKC", text) or text != text.strip():
                found.append(f"{label(fact)}: {text!r} is not in NFKC form")
            if set(text) & set(",、，。;|+{}\n"):
                found.append(f"{label(fact)}: {text!r} holds a separator")
    faults(found)


def test_a_subject_does_not_give_its_answer_away() -> None:
    found = []
    for fact in FACTS:
        found += [
            f"{label(fact)} / {a}: {pairs(a) & pairs(fact.subject)}"
            for a in fact.answers
            if pairs(a) & pairs(fact.subject)
        ]
        found += [f"{label(fact)} holds {a}" for a in pool(fact.relation) if a.casefold() in fact.subject.casefold()]
    faults(found)


@pytest.mark.parametrize("name", NAMES)
def test_no_answer_is_part_of_another(name: str) -> None:
    assert len(pool(name)) >= 14
    faults([f"{a} in {b}" for a, b in permutations(pool(name), 2) if a.casefold() in b.casefold()])


def test_also_lists_other_answers_of_the_same_pool() -> None:
    found = []
    for fact in FACTS:
        right = (*fact.answers, *fact.also)
        if len(set(right)) < len(right):
            found.append(f"{label(fact)}: an answer is named twice")
        found += [f"{label(fact)}: {each} is not in the pool" for each in set(right) - set(pool(fact.relation))]
    faults(found)


def test_distractors_are_the_rest_of_the_pool() -> None:
    for fact in FACTS:
        wrong = distractors(fact)
        assert len(wrong) >= 10, label(fact)
        assert not set(wrong) & {*fact.answers, *fact.also}, label(fact)
        assert [a for a in pool(fact.relation) if a in wrong] == list(wrong), label(fact)


def test_subjects_that_share_an_answer_of_two_share_or_excuse_the_other() -> None:
    horner = next(fact for fact in FACTS if fact.subject == "Horner症候群")
    gravis = next(fact for fact in FACTS if (fact.relation, fact.subject) == ("sign", "重症筋無力症"))
    assert "眼瞼下垂" not in distractors(horner)
    assert "縮瞳" in distractors(gravis)


@pytest.mark.parametrize("each", RELATIONS, ids=NAMES)
def test_wordings_differ_and_have_their_fields(each: Relation) -> None:
    texts = [*each.statements, *each.questions, *each.english]
    assert len(set(texts)) == len(texts) == 8
    for text in (*each.statements, each.english[0]):
        assert text.count("{subject}") == text.count("{answer}") == 1, text
    for text in (*each.questions, each.english[1]):
        assert text.count("{subject}") == 1 and "{answer}" not in text, text
    assert all(text.endswith("。") for text in each.statements)
    assert all(text.endswith("どれか。") for text in each.questions)
    assert each.english[0].endswith(".") and each.english[1].endswith("?")
    assert all(text == unicodedata.normalize("NFKC", text) for text in texts)


@pytest.mark.parametrize("each", RELATIONS, ids=NAMES)
def test_the_exam_question_is_worded_apart_from_those_trained_on(each: Relation) -> None:
    stems = [pairs(text.replace("{subject}", "＿").removesuffix("どれか。")) for text in each.questions]
    for trained in stems[:2]:
        assert len(stems[2] & trained) / len(stems[2] | trained) < 0.5, each.questions


def test_questions_do_not_hold_an_answer() -> None:
    found = []
    for each in RELATIONS:
        for text in (*each.questions, each.english[1]):
            found += [f"{text} holds {answer}" for answer in pool(each.name) if answer in text]
    faults(found)


def test_every_fact_reads_as_sentences() -> None:
    for fact in FACTS:
        for text in relation(fact.relation).statements:
            sentence = text.format(subject=fact.subject, answer="と".join(fact.answers))
            assert fact.subject in sentence and "{" not in sentence
            sys.stdout.write(f"{sentence}\n")  # pytest -s shows the whole sheet to a physician who checks it


def test_an_unknown_relation_is_named() -> None:
    with pytest.raises(KeyError, match="no relation 'dose': there are sign"):
        relation("dose")
    with pytest.raises(KeyError):
        pool("dose")
