"""The labeler against the golden set: every miss is on the list, and the list holds nothing but misses."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import pytest

from ikyoku.findings import FINDINGS, Certainty, read_report
from ikyoku.text import fold

golden = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("golden.py"))))
PARTS = tuple(part for part in golden.TABLE if part != "misses")


def test_the_set_is_large_and_of_every_kind() -> None:
    rows = golden.rows()
    assert len(golden.rows("first")) >= 330
    assert len(rows) - len(golden.rows("first")) >= 80
    assert len({row.text for row in rows}) == len(rows)
    units = [unit for row in rows for unit in row.said]
    for certainty in get_args(Certainty):
        assert sum(unit[1] == certainty for unit in units) >= 60, certainty
    assert {change for *_, change in units} == {"", "new", "increased", "decreased", "unchanged", "resolved"}
    assert sum(not row.said for row in rows) >= 30  # what claims nothing of the film


def test_every_finding_is_read_where_it_is_named() -> None:
    named = {unit[0] for row in golden.rows() for unit in row.said}
    assert sorted(set(FINDINGS) - named) == []


def test_the_misses_are_those_on_the_list() -> None:
    missed = {row.text: got for row, got in golden.misses(golden.rows())}
    listed = golden.TABLE["misses"]
    assert sorted(missed.keys() - listed.keys()) == [], {text: missed[text] for text in missed.keys() - listed.keys()}
    assert sorted(listed.keys() - missed.keys()) == []
    assert all(listed.values())  # each with its reason


@pytest.mark.parametrize("part", PARTS)
def test_precision_and_recall(part: str) -> None:
    rows = golden.rows(part)
    print(f"{part}, {len(rows)} sentences\n{golden.table_of_figures(rows)}")  # noqa: T201
    floor = 0.80 if part == "unmended" else 0.93
    for view, (precision, recall, _, stated) in golden.precision_and_recall(rows).items():
        least = floor if "change" not in view and "site" not in view else floor - 0.1
        assert stated > 30 and precision >= least and recall >= least, (view, precision, recall)


def test_the_figures_tell_a_reader_that_denies_nothing_from_ours() -> None:
    rows = [row for row in golden.rows("first") if row.group == "negation"]
    shuffled = [
        golden.Row(row.part, row.group, row.text, ((*row.said[0][:1], "present", *row.said[0][2:]),)) for row in rows
    ]
    assert golden.precision_and_recall(rows)["finding, certainty"][0] > 0.98
    assert golden.precision_and_recall(shuffled)["finding, certainty"][0] < 0.1
    assert golden.precision_and_recall(shuffled)["finding"][0] > 0.9


def test_the_mirror_image_of_a_sentence_has_the_other_sides() -> None:
    mirror = str.maketrans("右左", "左右")
    sides = {"right": "left", "left": "right"}
    for row in golden.rows():
        if "左舌区" in row.text:  # the right lung has none
            continue
        swapped = tuple(sorted((n, c, sides.get(s, s), *rest) for n, c, s, *rest in golden.said(read_report(row.text))))
        assert golden.said(read_report(row.text.translate(mirror))) == swapped, row.text


def test_widths_change_nothing() -> None:
    wide = {i: i + 0xFEE0 for i in range(0x21, 0x7F)}
    for row in golden.rows():
        as_read = golden.said(read_report(row.text))
        assert golden.said(read_report(fold(row.text))) == as_read, row.text
        assert golden.said(read_report(row.text.translate(wide))) == as_read, row.text
