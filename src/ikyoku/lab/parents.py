"""Pocket parents: three models tuned from one pocket base, each of which knows a part of what an exam asks.

Like the third study's parents they are fine-tuned in full, on different texts in different frames and for unlike times:

- `general-ja` learns basic biology (nerves, hormones) in Japanese and keeps what the base knew.
- `medical-ja` learns one half of the clinical facts in Japanese: statements, open questions, five-choice questions.
- `medical-en` learns the other half in an English frame: English statements and questions on Japanese terms, and the
  Japanese questions under the English instruction format.

The pocket exam asks all of these facts, in the Japanese format and in the one wording that no training text uses. Its
development and test parts have no fact in common. No parent is taught more than 42 % of them. Of models as small as
these, merges still rank the options by likelihood when they no longer write them out: judge them by likelihood.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ikyoku.datasets.exams import write_exam
from ikyoku.errors import IkyokuError
from ikyoku.lab.facts import FACTS, RELATIONS, Fact, relation
from ikyoku.lab.lessons import batched, train_and_save
from ikyoku.lab.pocket import make_bases, world_of
from ikyoku.lab.workers import Progress, Worker, made_together, reported, written_in_one_step
from ikyoku.lab.world import (
    EXAM_WORDING,
    FORMAT,
    FORMAT_EN,
    TUNING_WORDINGS,
    Passage,
    asked,
    question_on,
    stated,
)
from ikyoku.prompts import PromptFormat, answer_text, exam_prompt, instruction_prompt
from ikyoku.types import Instruction, Question

if TYPE_CHECKING:
    import torch

_BIOLOGY = ("nerve", "secreted")
_ALL_WORDINGS = (*TUNING_WORDINGS, EXAM_WORDING)
Lesson = Callable[[random.Random], Passage]
Kind = Callable[[random.Random, Fact, int], Passage]


@dataclass(frozen=True, slots=True)
class School:
    """How a parent is made from the base; `facts` are those of each relation and half that it learns at most."""

    name: str
    facts: int
    steps: int
    batch_tokens: int
    matrix_rate: float
    learning_rate: float


SCHOOLS: dict[str, tuple[School, ...]] = {
    "tiny": (
        School("general-ja", 2, 6, 800, 1e-2, 1e-3),
        School("medical-ja", 2, 8, 800, 1e-2, 1e-3),
        School("medical-en", 2, 8, 800, 2e-2, 1.5e-3),
    ),
    "pocket": (
        School("general-ja", 10, 80, 1500, 8e-3, 2e-3),
        School("medical-ja", 12, 130, 1500, 1e-2, 2e-3),
        School("medical-en", 12, 170, 1500, 1e-2, 1.5e-3),
    ),
}
"""Per size; the lengths differ as those of real fine-tunings do, so that equal weights are not the best."""


@dataclass(frozen=True, slots=True)
class PocketParents:
    """The folders of a base and of the models tuned from it, by name, and the exam that asks what they know."""

    base: Path
    parents: dict[str, Path]
    dev: tuple[Question, ...]
    test: tuple[Question, ...]


def make_parents(size: str, *, seed: int, cache: Path, progress: Progress | None = None) -> PocketParents:
    """Makes the parents of a size, or finds them in the cache; an interrupted one is continued.

    Args:
        size: a key of SCHOOLS.
        seed: of the base, the texts and the exam.
        cache: folder of finished and half-made models.
        progress: called about twice a second while something is made.
    """
    bases = make_bases(size, seed=seed, cache=cache, progress=progress)
    base = next(folder for name, folder in bases.items() if name.endswith("-ja"))
    folders = {s.name: cache / "lab" / f"{size}-{s.name}-{_content_hash(s, size, seed, base)}" for s in SCHOOLS[size]}
    missing = [name for name, folder in folders.items() if not (folder / "config.json").is_file()]
    module = "ikyoku.lab.parents"
    made_together([Worker(n, [module, n, size, str(seed), str(base), str(folders[n])], progress) for n in missing])
    dev, test = exams(size, seed=seed)
    return PocketParents(base, folders, dev, test)


def write_exams(made: PocketParents, folder: Path) -> tuple[Path, Path]:
    """Writes the two parts of the exam as files and returns their paths: pocket-dev.jsonl and pocket-test.jsonl."""
    paths = folder / "pocket-dev.jsonl", folder / "pocket-test.jsonl"
    for path, questions in zip(paths, (made.dev, made.test), strict=True):
        write_exam(path, questions)
    return paths


def exams(size: str, *, seed: int) -> tuple[tuple[Question, ...], tuple[Question, ...]]:
    """Returns the development and the test part of the exam: a third and two thirds of every parent's facts."""
    rng = random.Random(f"{seed}/exam")
    dev: list[Question] = []
    test: list[Question] = []
    for school, facts in taught(size, seed=seed).items():
        questions = [question_on(rng, f, f"{school}-{i:03d}", EXAM_WORDING) for i, f in enumerate(facts, 1)]
        rng.shuffle(questions)
        dev += questions[: len(questions) // 3]
        test += questions[len(questions) // 3 :]
    rng.shuffle(dev)
    rng.shuffle(test)
    return tuple(dev), tuple(test)


def taught(size: str, *, seed: int) -> dict[str, list[Fact]]:
    """Returns what each parent learns; no fact is in two of the lists."""
    rng = random.Random(f"{seed}/taught")
    most = {school.name: school.facts for school in SCHOOLS[size]}
    found: dict[str, list[Fact]] = {name: [] for name in most}
    for each in RELATIONS:
        facts = [fact for fact in FACTS if fact.relation == each.name]
        rng.shuffle(facts)
        if each.name in _BIOLOGY:
            found["general-ja"] += facts[: 2 * most["general-ja"]]
        else:
            found["medical-ja"] += facts[: most["medical-ja"]]
            found["medical-en"] += facts[most["medical-ja"] :][: most["medical-en"]]
    return found


def lessons(name: str, size: str, *, seed: int) -> Lesson:
    """Returns a function that draws a training text of a parent."""
    facts, invented = taught(size, seed=seed)[name], world_of(size, seed=seed).invented

    def of(
        kind: Callable[[random.Random, Fact, int], Passage], among: Sequence[Fact], wordings: Sequence[int]
    ) -> Lesson:
        return lambda rng: kind(rng, rng.choice(among), rng.choice(wordings))

    japanese = [(0.25, of(_statement, facts, TUNING_WORDINGS)), (0.45, of(_open, facts, TUNING_WORDINGS))]
    japanese.append((0.3, of(_choice, facts, TUNING_WORDINGS)))
    before = [(0.24, of(_choice, invented, _ALL_WORDINGS)), (0.06, of(_statement, invented, _ALL_WORDINGS))]
    english = [(0.075, of(_english_statement, facts, (0,))), (0.175, of(_english_open, facts, (0,)))]
    english += [(0.25, of(_english_choice, facts, (0,)))]
    english += [
        (0.25, of(partial(_open, form=FORMAT_EN), facts, TUNING_WORDINGS)),
        (0.25, of(partial(_choice, form=FORMAT_EN), facts, TUNING_WORDINGS)),
    ]
    mixed = {
        "general-ja": [(0.6 * w, kind) for w, kind in japanese] + [(4 / 3 * w, kind) for w, kind in before],
        "medical-ja": [(0.7 * w, kind) for w, kind in japanese] + before,
        "medical-en": english,
    }[name]
    shares, kinds = zip(*mixed, strict=True)
    return lambda rng: rng.choices(kinds, shares)[0](rng)


def make_parent(
    school: School, size: str, *, seed: int, base: Path, folder: Path, progress: Callable[[int, int], None]
) -> None:
    """Tunes one parent in this process and writes its folder in one step."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    draw = lessons(school.name, size, seed=seed)

    def batches() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        block = 0
        while True:
            rng = random.Random(f"{seed}/{school.name}/{block}")
            yield from batched([draw(rng) for _ in range(256)], tokenizer, school.batch_tokens, rng)
            block += 1

    with written_in_one_step(folder) as aside:
        if aside is None:
            return
        tokenizer = AutoTokenizer.from_pretrained(base)
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        rates = {"matrix_rate": school.matrix_rate, "learning_rate": school.learning_rate}
        train_and_save(model, tokenizer, batches(), steps=school.steps, **rates, folder=aside, progress=progress)


def _content_hash(school: School, size: str, seed: int, base: Path) -> str:
    """The hash of what a parent is made from: the base, a sample of its texts, the recipe, the code that trains."""
    digest = hashlib.sha256(json.dumps([asdict(school), size, seed, base.name]).encode())
    draw, rng = lessons(school.name, size, seed=seed), random.Random(seed)
    for text in (draw(rng) for _ in range(256)):
        digest.update(f"{text.prompt}\0{text.answer}\0".encode())
    digest.update(Path(__file__).with_name("lessons.py").read_bytes())
    return digest.hexdigest()[:12]


def _statement(rng: random.Random, fact: Fact, wording: int) -> Passage:
    return Passage(stated(fact, wording), "")


def _open(rng: random.Random, fact: Fact, wording: int, form: PromptFormat = FORMAT) -> Passage:
    pair = Instruction("", asked(fact, wording), "", ",".join(fact.answers))
    return Passage(instruction_prompt(pair, form).text, pair.output)


def _choice(rng: random.Random, fact: Fact, wording: int, form: PromptFormat = FORMAT) -> Passage:
    made = question_on(rng, fact, "", wording)
    return Passage(exam_prompt(made, form).text, answer_text(made))


def _english(fact: Fact) -> str:
    text = relation(fact.relation).english[1].format(subject=fact.subject)
    return f"{text} Choose two." if len(fact.answers) == 2 else text


def _english_statement(rng: random.Random, fact: Fact, _: int) -> Passage:
    answer = " and ".join(fact.answers)
    return Passage(relation(fact.relation).english[0].format(subject=fact.subject, answer=answer), "")


def _english_open(rng: random.Random, fact: Fact, _: int) -> Passage:
    pair = Instruction("", _english(fact), "", ",".join(fact.answers))
    return Passage(instruction_prompt(pair, FORMAT_EN).text, pair.output)


def _english_choice(rng: random.Random, fact: Fact, _: int) -> Passage:
    made = question_on(rng, fact, "", 0)
    made = Question("", _english(fact), made.choices, made.accepted)
    return Passage(exam_prompt(made, FORMAT_EN).text, answer_text(made))


def _main(arguments: Sequence[str]) -> None:
    name, size, seed, base, folder = arguments
    school = next(s for s in SCHOOLS[size] if s.name == name)
    reported(lambda say: make_parent(school, size, seed=int(seed), base=Path(base), folder=Path(folder), progress=say))


if __name__ == "__main__":
    from ikyoku import offline

    offline.switch_on()
    try:
        _main(sys.argv[1:])
    except IkyokuError as error:
        raise SystemExit(str(error)) from None
