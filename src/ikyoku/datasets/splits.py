"""Development and test are different types: what a search may look at, and what nothing may be chosen by.

Neither can be made by hand. `part` is given all exams of both kinds at once and decides: by what a file is called and
says of itself, by which exams are published as tests, and by comparing the questions. What the rule is and why:
docs/decisions/0009.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ikyoku.datasets.exams import Exam, Selection, write_exam
from ikyoku.datasets.overlap import find_overlap
from ikyoku.datasets.radiographs import Radiograph, RadiographSet
from ikyoku.datasets.sheets import read_records
from ikyoku.errors import DataError, together
from ikyoku.metrics.exam import exam_year
from ikyoku.runs import sha256_of
from ikyoku.text import fold
from ikyoku.types import Question

PUBLISHED_TESTS = ("jmle2026", "jmmlu", "jmmlu-medical", "medrect")
"""Layouts of benchmarks that are published as tests only."""

_TEST = {"test", "tests", "testset", "testsets", "testdata", "testing", "テスト", "評価用"}
_TRAIN = {"train", "training", "trainset", "学習用"}
_FILLING = {"set", "split", "data", "the"}
_DECLARED = ("split", "subset", "partition", "fold")
_WORDS = re.compile(r"テスト|評価用|学習用|[A-Z]+(?![a-z])|[A-Z]?[a-z]+")  # MedQATest is three words
_TABLES_WITHOUT_NAMES = ("jmmlu", "jmmlu-medical")
_BY_PART = object()  # what only `part` hands over


@dataclass(frozen=True, slots=True)
class Given:
    """An exam as a spec names it: where it is, what it is called, what was read, which questions are asked."""

    path: Path
    name: str
    exam: Exam
    selection: Selection


@dataclass(frozen=True, slots=True)
class GivenReports:
    """Radiographs as a spec names them: where they are, what they are called, which of them are taken."""

    path: Path
    name: str
    held: RadiographSet
    selection: ReportSelection


@dataclass(frozen=True, slots=True)
class ReportSelection:
    """Radiographs that are asked, a hash that names exactly these images and texts, and the hash of every image."""

    samples: tuple[Radiograph, ...]
    sha256: str
    images: frozenset[str]
    name: str = "reports"

    @property
    def count(self) -> int:
        """The number of radiographs."""
        return len(self.samples)


@dataclass(frozen=True, slots=True)
class _Split:
    name: str
    selection: Selection | ReportSelection
    made_by: object = field(repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.made_by is not _BY_PART:
            raise TypeError(f"{type(self).__name__}: made by datasets.splits.part alone, which decides what is which")

    @property
    def samples(self) -> tuple[Question, ...] | tuple[Radiograph, ...]:
        """The questions in the exam's order, or the radiographs in that of their list."""
        chosen = self.selection
        return chosen.samples if isinstance(chosen, ReportSelection) else chosen.questions

    def record(self) -> dict[str, Any]:
        """Returns name, item list, count and hash, as scores.json holds them."""
        chosen = self.selection
        return {"name": self.name, "items": chosen.name, "n": chosen.count, "sha256": chosen.sha256}


class Development(_Split):
    """Questions that a search may look at as often as it likes."""

    __slots__ = ()


class Test(_Split):
    """Questions that are asked once, at the end, and by which nothing is chosen."""

    __slots__ = ()
    __test__ = False  # no test case of pytest's


def part(fitness: Sequence[Given], test: Sequence[Given]) -> tuple[tuple[Development, ...], tuple[Test, ...]]:
    """Returns the exams as development and test splits, in their order.

    Refused as development is what calls itself a test: a file or folder by a word of its name, a file that lies in a
    folder `test`, a label, or a record whose `split` says so. An exam that is published as a test (the national
    examination by its ids, `PUBLISHED_TESTS` by their layout) is spent by a search: it is development only where
    another test is given. Refused as a test is what calls itself training data. Whatever they are called, no question
    may be in both, neither the same nor one so like it that `find_overlap` takes them for one.

    Raises:
        DataError: all faults together, questions by their ids.
    """
    faults = [
        f"{given.path}: {found}, and fitness takes development questions only. Name a development split here and this "
        "one under test; what is searched on cannot be tested on."
        for given in fitness
        if (found := _says(given, _TEST))
    ]
    faults += [
        f"{given.path}: {found}: it is no test of what may have been trained on it. Name a test split."
        for given in test
        if (found := _says(given, _TRAIN))
    ]
    faults += [
        f"{given.path}: {found}. A search spends it as a test. Name another exam, or other years, under test; without "
        "one there is nothing left to measure the result on."
        for given in fitness
        if not test and (found := _published(given.exam))
    ]
    if not faults:
        faults = [fault for held in fitness for other in test if (fault := _overlap(held, other))]
    if faults:
        raise DataError(together(faults))
    return (
        tuple(Development(given.name, given.selection, _BY_PART) for given in fitness),
        tuple(Test(given.name, given.selection, _BY_PART) for given in test),
    )


def select_reports(held: RadiographSet, *, limit: int | None, seed: int) -> ReportSelection:
    """Returns the radiographs of a set that are asked: all, or `limit` of them drawn by the seed.

    Raises:
        DataError: an image file cannot be read, or there is no radiograph with a report.
    """
    taken = drawn(held.samples, limit, seed=seed) if limit is not None else {s.id for s in held.samples}
    samples = tuple(s for s in held.samples if s.id in taken)
    if not samples:
        raise DataError(f"{held.path}: holds no radiograph with a report.")
    marks = []
    digest = hashlib.sha256()
    for sample in samples:
        files = [sha256_of(path) for path in sample.images]
        marks += files
        digest.update("\0".join((sample.id, sample.patient, sample.findings, sample.impression, *files, "")).encode())
    return ReportSelection(samples, digest.hexdigest(), frozenset(marks))


def part_reports(
    fitness: Sequence[GivenReports], test: Sequence[GivenReports], training: Sequence[GivenReports] = ()
) -> tuple[tuple[Development, ...], tuple[Test, ...]]:
    """Returns radiographs as development and test splits, in their order; `part` for reports.

    What is refused as development or as a test by its name is what `part` refuses. No image and no patient of a test
    may be searched on, or be among what a rival is trained on; two radiographs may well have the same report.

    Args:
        fitness: what a search looks at.
        test: what it is tested on.
        training: what rivals are trained on.

    Raises:
        DataError: all faults together, radiographs by their ids.
    """
    faults = [
        f"{given.path}: {found}, and fitness takes development data only. Name a development split here and this one "
        "under test_reports; what is searched on cannot be tested on."
        for given in fitness
        if (found := _called(given, _TEST))
    ]
    faults += [
        f"{given.path}: {found}: it is no test of what may have been trained on it. Name a test split."
        for given in test
        if (found := _called(given, _TRAIN))
    ]
    for given in (*fitness, *training):
        for other in test:
            faults += _shared(given.path, given.selection, other)
    if faults:
        raise DataError(together(faults))
    return (
        tuple(Development(given.name, given.selection, _BY_PART) for given in fitness),
        tuple(Test(given.name, given.selection, _BY_PART) for given in test),
    )


def _called(given: GivenReports, words: set[str]) -> str:
    for path in (given.path, given.path.resolve()):
        if _words(path.stem if path.suffix else path.name) & words:
            return f"the name {path.name!r} says {'test' if words is _TEST else 'training'}"
    return f"it is labelled {given.name!r}" if _words(given.name) & words else ""


def _shared(path: Path, ours: ReportSelection, other: GivenReports) -> list[str]:
    """Which patients or images of ours stand in a test, as one fault; none where none does."""
    theirs = other.selection
    patients = {sample.patient for sample in theirs.samples} - {""}
    found = [s.id for s in ours.samples if s.patient in patients]
    if ours.images & theirs.images:
        found += [s.id for s in ours.samples if any(sha256_of(p) in theirs.images for p in s.images)]
    found = list(dict.fromkeys(found))
    if not found:
        return []
    shown = ", ".join(found[:10]) + (f", and {len(found) - 10} more" if len(found) > 10 else "")
    return [
        f"{path}: {len(found)} of {ours.count} radiographs are of a patient or an image of the test {other.path}: "
        f"{shown}. What is learnt or searched on cannot be tested on; take them out of one of the two."
    ]


def hold_out(
    samples: Sequence[Sequence[Question | Radiograph]], *, share: float, seed: int
) -> tuple[frozenset[str], ...]:
    """Returns for each list of questions or radiographs the ids of those that are held out from the search.

    A question that stands in several lists, under any id, is held out in all of them or in none; so is a patient.

    Args:
        samples: the lists.
        share: of the questions of each, 0 to 1; rounded to whole questions.
        seed: decides which.
    """
    decided: dict[str, bool] = {}
    found = []
    for asked in samples:
        keys = {sample.id: _content(sample) for sample in asked}
        wanted = round(share * len(keys)) - sum(decided.get(key, False) for key in keys.values())
        counts = Counter(key for key in keys.values() if key not in decided)
        taken = 0
        for key in sorted(counts, key=lambda key: _draw(seed, key)):
            decided[key] = taken + counts[key] <= wanted
            taken += counts[key] if decided[key] else 0
        found.append(frozenset(name for name, key in keys.items() if decided[key]))
    return tuple(found)


def drawn(samples: Sequence[Question | Radiograph], limit: int, *, seed: int) -> frozenset[str]:
    """Returns the ids of `limit` samples, or of all where there are fewer; their content and the seed decide.

    Radiographs are drawn one by one: a few patients with many studies would tell less than as many patients.
    """

    def key(sample: Question | Radiograph) -> str:
        own = f"{sample.patient}\0{sample.id}" if isinstance(sample, Radiograph) else _content(sample)
        return f"drawn|{own}"

    return frozenset(s.id for s in sorted(samples, key=lambda s: _draw(seed, key(s)))[:limit])


def _content(sample: Question | Radiograph) -> str:
    """What makes a sample the one it is: a question's words, a radiograph's patient."""
    if isinstance(sample, Radiograph):
        return sample.patient or sample.id
    return "\0".join((sample.case, sample.text, *sorted(sample.choices)))


def _draw(seed: int, key: str) -> bytes:
    return hashlib.sha256(f"{seed}|{key}".encode()).digest()


def _says(given: Given, words: set[str]) -> str:
    """Returns in words where an exam calls itself by one of these, "" where it does not."""
    files = [file for file in given.exam.files if not file.name.endswith("_metadata.jsonl")]
    for path in (given.path, given.path.resolve(), *files, *(file.resolve() for file in files)):
        if _words(path.stem if path.suffix else path.name) & words:
            return f"the name {path.name!r} says {'test' if words is _TEST else 'training'}"
    for file in files:
        folder = _words(file.resolve().parent.name)
        if folder & words and folder <= words | _FILLING:
            return f"{file.name} lies in a folder {file.resolve().parent.name!r}"
    if given.exam.layout not in _TABLES_WITHOUT_NAMES:
        for file in files:
            for where, row in read_records(file, faults=[]):
                if said := _declared(row, words):
                    return f"{where} has the {said}"
    return f"it is labelled {given.name!r}" if _words(given.name) & words else ""


def _words(name: str) -> set[str]:
    return {word.lower() for word in _WORDS.findall(fold(name))}


def _declared(row: Mapping[str, object], words: set[str]) -> str:
    beside = row.get("metadata")
    for key in _DECLARED:
        for value in (row.get(key), beside.get(key) if isinstance(beside, dict) else None):
            if isinstance(value, str) and _words(value) & words:
                return f"{key} {value!r}"
    return ""


def _published(exam: Exam) -> str:
    if exam.layout in PUBLISHED_TESTS:
        return f"{exam.layout} is published as a test"
    years = sorted({year for question in exam.questions if (year := exam_year(question.id)) is not None})
    if years:
        return f"it holds questions of the national examination ({', '.join(map(str, years))})"
    return ""


def _overlap(development: Given, test: Given) -> str:
    """Returns which questions of one stand in the other, "" for none."""
    found = in_both(development.selection.questions, test.selection.questions)
    if not found:
        return ""
    shown = "; ".join(f"{ours} is {theirs} ({level})" for ours, theirs, level in found[:10])
    more = f"; and {len(found) - 10} more" if len(found) > 10 else ""
    return (
        f"{development.path}: {len(found)} of {development.selection.count} questions stand in the test {test.path}: "
        f"{shown}{more}. What is searched on cannot be tested on; take them out of one of the two."
    )


def in_both(ours: Sequence[Question], theirs: Sequence[Question]) -> list[tuple[str, str, str]]:
    """Returns which questions are among others as well: their id, the other's, and how: as `metrics.leakage.LEVELS`.

    What is too short to be looked for by its text is compared as it stands, with its options in any order.
    """
    same = {_content(question): question.id for question in reversed(theirs)}
    found = {q.id: (q.id, same[_content(q)], "exact") for q in ours if _content(q) in same}
    rest = [q for q in ours if q.id not in found]
    if rest and theirs:
        with tempfile.TemporaryDirectory(prefix="ikyoku-") as folder:
            file = Path(folder) / "test.jsonl"
            write_exam(file, theirs)
            hits = find_overlap(rest, [file]).hits
        found |= {hit.question: (hit.question, theirs[hit.record - 1].id, hit.level) for hit in reversed(hits)}
    return [found[q.id] for q in ours if q.id in found]
