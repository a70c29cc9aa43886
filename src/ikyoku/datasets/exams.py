"""Examinations in the layout of IgakuQA, the cases of their case series, and the lists of items a study asks."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from ikyoku.datasets import base
from ikyoku.errors import DataError, SpecError, together
from ikyoku.text import fold
from ikyoku.types import LETTERS, Omitted, Question

_KEYS = ("problem_id", "problem_text", "choices", "answer")
_ID = re.compile(r"^(\d+)([A-F])(\d+)")
_BESIDE = ("_metadata.jsonl", "_translate.jsonl")
_YEAR_OF_EXAM_0 = 1906  # the 112th examination was held in 2018
_HEADING = re.compile(
    r"^\s*次の(?:文章?|症例)を読(?:み|んで)[、，,]?\s*([^。．\n]{0,40}?)の?(?:問い|設問|問題)"
    r"に答え(?:よ|なさい|てください|て下さい)[。．]?\s*"
)
_PROVISO = re.compile(r"^\s*[（(]?(?:[0-9０-９一二三四五]+つ選べ|ただし|但し|なお|解答|回答)")
_OPENING = "「『（(〈《［["
_CLOSING = "」』）)〉》］]"
_STOPS = "。！？!?"
_AFTER_SPEECH = re.compile(r"(?!と|って|など|[のをがにはもでやへ、。]).")  # 「…」と話した goes on, 「…」患者： does not
_LONGEST_SERIES = 3


@dataclass(frozen=True, slots=True)
class Exam:
    """An examination: all its questions in the order of its files, and the files they were read from."""

    name: str
    questions: tuple[Question, ...]
    files: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class ItemList:
    """What a list asks of a question; `longest` is in characters of the question's text, without the case."""

    about: str
    text_only: bool = True
    choices: int | None = None
    longest: int | None = None
    answers: Literal["any", "one", "several"] = "any"


@dataclass(frozen=True, slots=True)
class Selection:
    """The questions of one list, those left out with the reason, and a hash that names exactly these questions."""

    name: str
    questions: tuple[Question, ...]
    omitted: tuple[Omitted, ...]
    sha256: str
    limited: bool = False

    @property
    def count(self) -> int:
        """The number of questions asked."""
        return len(self.questions)

    def first(self, limit: int) -> Selection:
        """Returns the first `limit` questions under the list's own hash, marked as a part of it."""
        return replace(self, questions=self.questions[:limit], limited=limit < self.count)


ITEM_LISTS: Mapping[str, ItemList] = MappingProxyType(
    {
        "all": ItemList("every question that can be asked, those about an image without it", text_only=False),
        "text-only": ItemList("no image needed"),
        "text-only-5-choice": ItemList("no image needed, five choices", choices=5),
        "text-only-5-choice-1024": ItemList("five choices, at most 1,024 characters", choices=5, longest=1024),
        "text-only-5-choice-single": ItemList("five choices, one right answer", choices=5, answers="one"),
        "text-only-5-choice-multiple": ItemList("five choices, several right answers", choices=5, answers="several"),
    }
)
"""The lists of items, by name. A question without choices or without an answer key is in none of them."""


@dataclass(slots=True)
class _Item:
    question: Question
    where: str
    file: Path
    has_case: bool


def read_exam(path: Path, *, name: str = "", years: Collection[int] | None = None) -> Exam:
    """Reads an examination in the layout of IgakuQA (JJSIMQA and the lab's exams have it too).

    A line is ``{"problem_id", "problem_text", "choices", "answer"}`` with, optionally, ``"text_only"`` (true when
    absent), ``"points"`` (1 when absent), ``"section"`` (else the block letter of an id such as 112B41) and
    ``"case"``. Other keys are ignored.

    Where ``"case"`` is absent, follow-up questions of a case series get `Question.case`: the first question without
    heading and own question, and what the questions between add. `Question.text` is the file's text, unchanged.

    Args:
        path: a file, or a folder: then every ``*.jsonl`` below it (below its ``data`` where there is one), in natural
            order, but ``*_metadata.jsonl`` and ``*_translate.jsonl``. A file in which no line has the four keys is
            no exam file and is passed over when others are.
        name: the exam's name; else the file's or folder's.
        years: only these years, by the number of the examination in the id (112 is 2018).

    Returns:
        The exam. A question whose answer is a number, or whose key names no choice, has no accepted answers; that is
        no error: `select` reports it.

    Raises:
        DataError: with all faults of all files together (ten are shown): broken lines, wrong types, an id twice; when
            no file is an exam file; when no question is of these years.

    Reference:
        Kasai et al. 2023, arXiv 2303.18027 (IgakuQA); https://github.com/jungokasai/IgakuQA
    """
    faults: list[str] = []
    items: list[_Item] = []
    for file in _exam_files(path):
        try:
            items.extend(_read_file(file, faults))
        except DataError as error:
            faults.append(str(error))
    faults.extend(_repeated(items))
    if faults:
        raise DataError(together(faults))
    if not items:
        raise DataError(
            f"{path}: no exam file: no line has all of the keys {', '.join(_KEYS)}; give a JSONL file with one "
            "question a line, or a folder of such files"
        )
    _fill_cases(items)
    if years is not None:
        items = _of_years(path, items, years)
    questions = tuple(item.question for item in items)
    return Exam(name or path.resolve().stem, questions, tuple(dict.fromkeys(item.file for item in items)))


def write_exam(path: Path, questions: Iterable[Question]) -> None:
    """Writes questions in the layout that `read_exam` reads, all or nothing; reading gives the same questions.

    Args:
        path: the JSONL file to write; one that exists is replaced.
        questions: at least one, no id twice.

    Raises:
        DataError: when there is none, an id is there twice, or the file cannot be written.
    """
    held = tuple(questions)
    ids = {question.id for question in held}
    if not held or len(ids) < len(held):
        found = "no question" if not held else f"{len(held) - len(ids)} questions with an id that is there already"
        raise DataError(f"{path}: {found} to write; an exam is at least one question, each with its own id")
    base.write_jsonl(path, (_row(question) for question in held))


def select(exam: Exam, item_list: str) -> Selection:
    """Returns the questions of an exam that are in a list.

    Args:
        exam: the exam.
        item_list: a name in `ITEM_LISTS`.

    Returns:
        The questions in the exam's order, and every other one in `omitted` with the first reason that applies. The
        hash is over id, text, case, choices and accepted answers, in order.

    Raises:
        SpecError: for a name that is not in `ITEM_LISTS`.

    Reference:
        text-only-5-choice-1024 is the filter of https://github.com/stardust-coder/japanese-lm-med-harness; there
        longer questions leave the denominator silently, here they are in `omitted`.
    """
    wanted = ITEM_LISTS.get(item_list)
    if wanted is None:
        raise SpecError(f"unknown item list '{item_list}'; allowed are {', '.join(ITEM_LISTS)}")
    asked = tuple(question for question in exam.questions if not _reason(question, wanted))
    omitted = tuple(Omitted(entry.id, reason) for entry in exam.questions if (reason := _reason(entry, wanted)))
    return Selection(item_list, asked, omitted, base.content_hash(_parts(asked)))


def _reason(question: Question, wanted: ItemList) -> str:
    """Returns why a question is not in a list, "" when it is."""
    number, right = len(question.choices), len(question.accepted and question.answer)
    if wanted.text_only and not question.text_only:
        return "needs an image that is not in the data"
    if not number:
        return "no choices: the answer is a number"
    if wanted.choices is not None and number != wanted.choices:
        return f"{number} choices, the list asks for {wanted.choices}"
    if wanted.longest is not None and len(question.text) > wanted.longest:
        return f"text longer than {wanted.longest} characters"
    if not question.accepted:
        return "no answer key"
    if wanted.answers == "one" and right != 1:
        return f"{right} right answers, the list asks for one"
    if wanted.answers == "several" and right == 1:
        return "one right answer, the list asks for several"
    return ""


def _parts(questions: Iterable[Question]) -> Iterable[str]:
    for question in questions:
        key = _key(question.accepted)
        yield from (question.id, question.text, question.case, str(len(question.choices)), *question.choices, key)


def _exam_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]  # what is not there is reported by the reader
    for root in (path / "data", path):
        found = [file for file in root.rglob("*.jsonl") if file.is_file() and not file.name.startswith(".")]
        files = [file for file in found if not file.name.endswith(_BESIDE)]
        if files:
            return sorted(files, key=lambda file: base.natural_key(file.as_posix()))
    raise DataError(f"{path}: no exam file (*.jsonl) in this folder or below it; give the exam's file or folder")


def _read_file(file: Path, faults: list[str]) -> list[_Item]:
    """Returns a file's questions; [] for a file that is no exam file, whose broken lines are then nobody's concern."""
    broken: list[str] = []
    rows = list(base.read_jsonl(file, faults=broken))
    if rows and not any(all(key in row for key in _KEYS) for _, row in rows):
        return []
    faults.extend(broken)
    items: list[_Item] = []
    for number, row in rows:
        where = f"{file}, line {number}"
        found: list[str] = []
        question = _question(row, found)
        faults.extend(f"{where}: {fault}" for fault in found)
        if question is not None:
            items.append(_Item(question, where, file, "case" in row))
    return items


def _question(row: Mapping[str, object], faults: list[str]) -> Question | None:
    name, text = base.text_field(row, "problem_id", faults), base.text_field(row, "problem_text", faults)
    choices, answer = base.texts_field(row, "choices", faults), base.texts_field(row, "answer", faults)
    if len(choices) > len(LETTERS):
        faults.append(f"'choices' holds {len(choices)} texts; at most {len(LETTERS)} can be lettered")
    match = _ID.match(name)
    section = base.text_field(row, "section", faults, absent=match[2] if match else "")
    case = base.text_field(row, "case", faults, absent="")
    text_only = row.get("text_only", True)
    if not isinstance(text_only, bool):
        faults.append(f"'text_only' is {base.kind_of(text_only)}; true or false is needed")
    points = _points(row.get("points", 1))
    if points is None:
        faults.append(f"'points' is {base.kind_of(row['points'])} that is no whole number from 0 up, such as 1 or 3")
    if faults:
        return None
    accepted = _accepted(answer, len(choices))
    return Question(name, text, choices, accepted, case, section, 1 if points is None else points, text_only is True)


def _points(value: object) -> int | None:
    """Returns whole points; IgakuQA has "1", JJSIMQA 1.0, and 0 marks an item the ministry took out of the scoring."""
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value)
    if isinstance(value, bool) or not (isinstance(value, int) or (isinstance(value, float) and value.is_integer())):
        return None
    return int(value) if value >= 0 else None


def _accepted(answer: Iterable[str], number: int) -> tuple[frozenset[int], ...]:
    """Returns the accepted sets: ["a", "c"] is one, ["a or d"] two; () for a key that names what is no choice.

    Entries of separators only count for nothing (JJSIMQA has ["d", ",", "e"]).
    """
    parts: list[list[frozenset[int]]] = []
    for entry in answer:
        alternatives: list[frozenset[int]] = []
        for alternative in re.split(r"\s+or\s+|または|又は", fold(entry).lower()):
            letters = [letter for letter in re.split(r"[\s,、・]+", alternative) if letter]
            if any(letter not in tuple(LETTERS[:number]) for letter in letters):
                return ()
            alternatives.append(frozenset(LETTERS.index(letter) for letter in letters))
        parts.append(alternatives)
    sets = (frozenset[int]().union(*chosen) for chosen in itertools.product(*parts))
    return tuple(dict.fromkeys(chosen for chosen in sets if chosen))


def _repeated(items: Iterable[_Item]) -> list[str]:
    seen: dict[str, str] = {}
    faults: list[str] = []
    for item in items:
        if (first := seen.setdefault(item.question.id, item.where)) != item.where:
            again = f"{item.where}: problem_id '{item.question.id[:40]}' is already in {first}"
            faults.append(f"{again}; an exam holds a question once: remove one, or read the files apart")
    return faults


def _of_years(path: Path, items: list[_Item], years: Collection[int]) -> list[_Item]:
    held = [(item, int(match[1]) + _YEAR_OF_EXAM_0) for item in items if (match := _ID.match(item.question.id))]
    kept = [item for item, year in held if year in years]
    if not kept:
        there = ", ".join(str(year) for year in sorted({year for _, year in held})) or "none that its ids tell"
        raise DataError(f"{path}: no question of {', '.join(map(str, sorted(years)))}; the years in it: {there}")
    return kept


def _row(question: Question) -> dict[str, object]:
    key = _key(question.accepted)
    return {
        "problem_id": question.id,
        "problem_text": question.text,
        "choices": list(question.choices),
        "text_only": question.text_only,
        "answer": key.split(",") if len(question.accepted) == 1 else [key] if key else [],
        "points": str(question.points),
        "case": question.case,
        "section": question.section,
    }


def _key(accepted: tuple[frozenset[int], ...]) -> str:
    return " or ".join(",".join(LETTERS[index] for index in sorted(chosen)) for chosen in accepted)


def _fill_cases(items: list[_Item]) -> None:
    blocks: dict[tuple[str, str], dict[int, _Item]] = {}
    for item in items:
        if match := _ID.match(item.question.id):
            blocks.setdefault((match[1], match[2]), {})[int(match[3])] = item
    for block in blocks.values():
        longest = _LONGEST_SERIES
        sizes: list[int] = []
        for first in sorted(block):
            heading = _HEADING.match(block[first].question.text)
            if heading is None:
                continue
            followers = _followers(block, first, _last_number(heading[1], first), longest)
            sizes.append(1 + len(followers))
            longest = max(sizes) if max(sizes) > 1 else _LONGEST_SERIES
            course = _without_question(block[first].question.text[heading.end() :])
            for number in followers:
                item = block[number]
                if not item.has_case:
                    item.question = replace(item.question, case=course)
                course = "\n".join(part for part in (course, _without_question(item.question.text)) if part)


def _followers(block: Mapping[int, _Item], first: int, last: int | None, longest: int) -> list[int]:
    """Returns the numbers of the questions after `first` in its series.

    Headings of 2018 and 2019 name the numbers. Later ones do not (「以下の問いに答えよ」): there a series runs to the
    next heading, to a question without choices (calculations stand alone at a block's end), or to a gap, and is no
    longer than the longest before it in the block, as the blocks of the examination are built.
    """
    followers: list[int] = []
    for number in range(first + 1, (first + longest if last is None else last + 1)):
        item = block.get(number)
        if item is None and last is not None:
            continue
        if item is None or _HEADING.match(item.question.text) or (last is None and not item.question.choices):
            break
        followers.append(number)
    return followers


def _last_number(scope: str, first: int) -> int | None:
    """Returns the last number that a heading names, None when it names none that can be."""
    numbers = [int(number) for number in re.findall(r"\d+", fold(scope))]
    return numbers[-1] if numbers and first < numbers[-1] < first + 10 else None


def _without_question(text: str) -> str:
    """Returns a text without its last sentence, the question, and without what qualifies it (2つ選べ, ただし…)."""
    pieces = _sentences(text)
    while pieces and (not pieces[-1].strip() or _PROVISO.match(pieces[-1])):
        pieces.pop()
    return "".join(pieces[:-1]).strip()


def _sentences(text: str, *, brackets: bool = True) -> list[str]:
    """Cuts a text, so that the pieces join to it: at 。 outside brackets, at line ends, after a speech (：「…」)."""
    pieces: list[str] = []
    start = 0
    opened: list[bool] = []  # for each open bracket whether it is a speech
    for index, mark in enumerate(text):
        ends = mark == "\n" or (mark in _STOPS and not opened)
        if brackets and mark in _OPENING:
            opened.append(mark == "「" and text[index - 1 : index] in ("：", ":"))
        elif brackets and mark in _CLOSING and opened:
            ends = opened.pop() and not opened and _AFTER_SPEECH.match(text, index + 1) is not None
        if ends:
            pieces.append(text[start : index + 1])
            start = index + 1
    if opened:
        return _sentences(text, brackets=False)
    return [*pieces, text[start:]] if text[start:] else pieces
