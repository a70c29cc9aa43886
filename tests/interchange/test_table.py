"""The table of drafts, and the texts and names that go into every form."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ikyoku.interchange import DRAFT_MARK, drafts_csv, file_name, plain_text
from ikyoku.interchange.table import COLUMNS, cell


def record(**more: Any) -> dict[str, Any]:
    return {
        "id": "A-1",
        "state": "draft",
        "findings": "右胸水を認める。\n気胸なし。",
        "impression": "",
        "found": [{"name": "pleural_effusion", "japanese": "胸水", "certainty": "present", "side": "right", "sites": [],
                   "change": ""}],
        "contradictions": [],
        "warnings": ["注意"],
        "images": [{"sha256": "ab"}],
        "model": {"name": "m", "sha256": "cd"},
        "created": "2026-11-22T00:00:00+09:00",
    } | more  # fmt: skip


def rows(text: str) -> list[dict[str, str]]:
    assert text.startswith("\ufeff")
    return list(csv.DictReader(io.StringIO(text[1:], newline="")))


def test_a_table_reads_back_with_its_mark() -> None:
    refused = {"id": "=A1", "state": "refused", "reason": "it is a PDF", "model": {"name": "m", "sha256": ""},
               "created": "x"}  # fmt: skip
    first, second = rows(drafts_csv([record(), refused]))
    assert tuple(first) == COLUMNS
    assert first["注意"] == second["注意"] == DRAFT_MARK
    assert (first["所見"], first["診断"]) == ("右胸水を認める。\n気胸なし。", "")
    assert first["自動抽出ラベル"] == "胸水（右）：あり"
    assert (second["検査"], second["状態"], second["理由・警告"]) == ("'=A1", "読影不可", "it is a PDF")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", " =1", "＝1", "\t=1", "\u3000＠x", '=HYPERLINK("x")'])
def test_no_cell_is_a_formula(text: str) -> None:
    (row,) = rows(drafts_csv([record(findings=text, impression=text, id=text)]))
    assert row["所見"] == row["診断"] == row["検査"] == f"'{text}"


@given(st.text())
def test_a_cell_never_begins_as_a_formula(text: str) -> None:
    assert not cell(text).lstrip(" \u3000").startswith(("=", "+", "-", "@", "\t", "\r"))


@given(st.text(min_size=1))
def test_file_names_lead_nowhere(text: str) -> None:
    name = file_name(text)
    assert name not in ("", ".", "..")
    assert not set(name) & set('/\\:*?"<>|.\0\n')
    assert len(name) < 80


def test_different_ids_have_different_files() -> None:
    ids = ["a/b", "a_b", "a:b", "../a_b", "a b", "CON", "", "..", "検査１", "検査1"]
    assert len(set(map(file_name, ids))) == len(ids)


@given(st.text())
def test_plain_text_holds_no_controls(text: str) -> None:
    assert not set(plain_text(text)) & set("\x00\x1b\r\x7f\u202e\u200f\u2066\u2028")
    assert plain_text(plain_text(text)) == plain_text(text)
