"""The texts of the pocket lab: what its models read, what tuning teaches them, and what they are asked.

Two kinds of facts share the relations and the answers' vocabulary. *Invented* ones (diseases that do not exist) are
what a base model is made on: there it learns the sentence forms, the ways of asking and the format of an answer.
*Real* ones (lab/facts.py) are what instruction pairs teach and the pocket exam asks. The exam asks each real fact in
the one wording in which no training text ever states or asks it; the retention exam asks the invented facts.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache

from ikyoku.lab.facts import FACTS, RELATIONS, Fact, distractors, pool, relation
from ikyoku.metrics import choice
from ikyoku.prompts import CHOICE_SEPARATOR, PROMPT_FORMATS, answer_text, exam_prompt, instruction_prompt
from ikyoku.types import Instruction, Question

TUNING_WORDINGS = (0, 1)
"""The wordings in which instruction pairs put a real fact."""
EXAM_WORDING = 2
"""The wording kept for the exam."""
PAIR_WORD = "2つ選べ。"
FORMAT = PROMPT_FORMATS["alpaca-ja"]
FORMAT_EN = PROMPT_FORMATS["alpaca-en"]

_SYLLABLES = tuple(
    "アイウエオカキクケコサシスセソタチツテトナニネノハヒヘマミメモラリルレロワガギグゲゴザジズダデドバビブベボパピプペポ"
)
_KANJI = tuple(sorted({c for f in FACTS for c in f.subject if "一" <= c <= "龥"}))
_KINDS = ("病", "症", "症候群")
_ENGLISH_SYLLABLES = (
    "bar",
    "cel",
    "dov",
    "fer",
    "gal",
    "hem",
    "jor",
    "kin",
    "lum",
    "mor",
    "nax",
    "pol",
    "ros",
    "tav",
    "vil",
    "zor",
)


@dataclass(frozen=True, slots=True)
class World:
    """Everything the lab says and asks, made from one seed.

    `invented` is known to the bases beforehand; `instructions` teach the real facts; `dev` and `test` are the two
    parts of the pocket exam, by fact; `retention` asks invented facts; `demonstrations` are the questions of 1- and
    3-shot prompts.
    """

    invented: tuple[Fact, ...]
    english: tuple[Fact, ...]
    instructions: tuple[Instruction, ...]
    dev: tuple[Question, ...]
    test: tuple[Question, ...]
    retention: tuple[Question, ...]
    demonstrations: tuple[Question, ...]


@dataclass(frozen=True, slots=True)
class Passage:
    """One training text of a base: the loss is on `answer`, and on `prompt` too where it is prose (answer empty)."""

    prompt: str
    answer: str


def make_world(*, seed: int, real: int, invented: int, retention: int, english: int = 60) -> World:
    """Returns the world of a seed.

    Args:
        seed: of every choice made here.
        real: number of real facts of each relation.
        invented: number of invented facts.
        retention: how many of them the retention exam asks.
        english: number of facts that only English texts state.
    """
    rng = random.Random(seed)
    facts = _invented_facts(rng, invented, english=False)
    asked = rng.sample(facts[3:], min(retention, len(facts) - 3))
    taught = [f for r in RELATIONS for f in [f for f in FACTS if f.relation == r.name][:real]]
    exam = [question_on(rng, f, f"pocket-{i:03d}", EXAM_WORDING) for i, f in enumerate(taught, 1)]
    order = list(range(len(exam)))
    rng.shuffle(order)
    in_dev = set(order[: len(exam) // 4])
    return World(
        invented=tuple(facts),
        english=tuple(_invented_facts(rng, english, english=True)),
        instructions=tuple(_pairs(rng, taught)),
        dev=tuple(q for i, q in enumerate(exam) if i in in_dev),
        test=tuple(q for i, q in enumerate(exam) if i not in in_dev),
        retention=tuple(question_on(rng, f, f"retention-{i:03d}", rng.randrange(3)) for i, f in enumerate(asked, 1)),
        demonstrations=tuple(question_on(rng, f, f"shot-{i}", EXAM_WORDING) for i, f in enumerate(facts[:3], 1)),
    )


def passage(world: World, rng: random.Random, *, english_share: float) -> Passage:
    """Returns one training text for a base: a statement, a question with its answer, or a five-choice question.

    Real facts are in none of them; their subjects appear only as bare terms, so that the words are known.
    """
    if rng.random() < english_share:
        return _english_passage(rng, rng.choice(world.english))
    fact = rng.choice(world.invented)
    kind = rng.random()
    wording = rng.randrange(3)
    if kind < 0.15:
        return Passage(stated(fact, wording), "")
    if kind < 0.20:
        return Passage(f"用語：{rng.choice(FACTS).subject}", "")
    if kind < 0.45:
        pair = Instruction("", asked(fact, wording), "", ",".join(fact.answers))
        return Passage(instruction_prompt(pair, FORMAT).text, pair.output)
    shots = 1 if kind > 0.85 else 0
    demonstrations = [question_on(rng, f, "", rng.randrange(3)) for f in rng.sample(world.invented, shots)]
    question = question_on(rng, fact, "", wording)
    return Passage(exam_prompt(question, FORMAT, demonstrations=demonstrations).text, answer_text(question))


def terms() -> list[str]:
    """Returns the words of the lab, for making a tokenizer: subjects and answers, without what connects them."""
    return [f.subject for f in FACTS] + [a for r in RELATIONS for a in pool(r.name)]


def _pairs(rng: random.Random, facts: Sequence[Fact]) -> list[Instruction]:
    """Instruction pairs on the real facts, in the tuning wordings only: open questions and five-choice questions."""
    pairs: list[Instruction] = []
    for fact in facts:
        for wording in TUNING_WORDINGS:
            name = f"{fact.relation}/{fact.subject}/{wording}"
            pairs.append(Instruction(f"{name}/open", asked(fact, wording), "", ",".join(fact.answers)))
            made = question_on(rng, fact, "", wording)
            choices = CHOICE_SEPARATOR.join(made.choices)
            pairs.append(Instruction(f"{name}/choice", made.text, choices, answer_text(made)))
    return pairs


def asked(fact: Fact, wording: int) -> str:
    """Returns an open question on a fact in one of the three wordings."""
    text = relation(fact.relation).questions[wording].format(subject=fact.subject)
    return text + PAIR_WORD if len(fact.answers) == 2 else text


def stated(fact: Fact, wording: int) -> str:
    """Returns a statement of a fact in one of the three wordings."""
    return relation(fact.relation).statements[wording].format(subject=fact.subject, answer="と".join(fact.answers))


def question_on(rng: random.Random, fact: Fact, name: str, wording: int) -> Question:
    """A five-choice question on a fact: its answers among others of the same relation, in random order."""
    while True:
        choices = [*fact.answers, *_drawn(rng, fact.relation, distractors(fact), 5 - len(fact.answers))]
        rng.shuffle(choices)
        answer = frozenset(choices.index(a) for a in fact.answers)
        right = CHOICE_SEPARATOR.join(choices[i] for i in sorted(answer))
        # Of two right options one may be less like the right reply than a wrong option is: it would count as wrong.
        if len(answer) == 1 or choice.nearest(right, choices, count=len(answer)) == answer:
            break
    return Question(name, asked(fact, wording), tuple(choices), (answer,), section=fact.relation)


def _english_passage(rng: random.Random, fact: Fact) -> Passage:
    statement, question = relation(fact.relation).english
    if rng.random() < 0.4:
        return Passage(statement.format(subject=fact.subject, answer=fact.answers[0]), "")
    text = question.format(subject=fact.subject)
    if rng.random() < 0.5:
        pair = Instruction("", text, "", fact.answers[0])
        return Passage(instruction_prompt(pair, FORMAT_EN).text, pair.output)
    choices = [fact.answers[0], *(_english_name(rng) for _ in range(4))]
    rng.shuffle(choices)
    made = Question("", text, tuple(choices), (frozenset({choices.index(fact.answers[0])}),))
    return Passage(exam_prompt(made, FORMAT_EN).text, fact.answers[0])


def _invented_facts(rng: random.Random, count: int, *, english: bool) -> list[Fact]:
    facts: list[Fact] = []
    used: set[str] = set()
    while len(facts) < count:
        kind = RELATIONS[len(facts) % len(RELATIONS)]
        subject = _english_name(rng) + " disease" if english else _japanese_name(rng)
        if subject in used:
            continue
        used.add(subject)
        wanted = 2 if rng.random() < 0.2 else 1
        answers = [_english_name(rng)] if english else _drawn(rng, kind.name, pool(kind.name), wanted)
        facts.append(Fact(kind.name, subject, tuple(answers)))
    return facts


def _drawn(rng: random.Random, name: str, among: Collection[str], count: int) -> list[str]:
    """Distinct answers of a relation, each as likely to come as it is often right among the facts.

    So an answer that is right for many subjects stands as often among the wrong options: being common tells nothing.
    """
    every = [a for a in _answers(name) if a in among]
    rng.shuffle(every)
    return list(dict.fromkeys(every))[:count]


@cache
def _answers(name: str) -> tuple[str, ...]:
    return tuple(a for f in FACTS if f.relation == name for a in f.answers)


def _japanese_name(rng: random.Random) -> str:
    """A name that no disease has: katakana syllables, or characters of real names in a random order."""
    signs = _SYLLABLES if rng.random() < 0.5 else _KANJI
    return "".join(rng.choice(signs) for _ in range(rng.randint(2, 4))) + rng.choice(_KINDS)


def _english_name(rng: random.Random) -> str:
    return "".join(rng.choice(_ENGLISH_SYLLABLES) for _ in range(rng.randint(2, 3)))
