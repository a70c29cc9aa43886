"""Drafts as a table that a spreadsheet opens."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from typing import Any

from ikyoku.interchange.draft import DRAFT_MARK, label_of

_STATES = {"draft": "下書き", "empty": "返答なし", "refused": "読影不可"}
COLUMNS = (
    "注意",
    "検査",
    "状態",
    "所見",
    "診断",
    "自動抽出ラベル",
    "矛盾",
    "理由・警告",
    "モデル",
    "重みのSHA-256",
    "画像のSHA-256",
    "作成日時",
)
"""The columns of `drafts_csv`."""

_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r", "\n")
"""What a spreadsheet takes for the beginning of a formula, or strips before it looks."""


def drafts_csv(records: Iterable[Mapping[str, Any]]) -> str:
    """Returns the records of `drafts.jsonl` as CSV with a byte order mark, by which a spreadsheet knows it is UTF-8.

    A cell that a spreadsheet would compute begins with an apostrophe, which makes it text.
    """
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for record in records:
        writer.writerow(map(cell, _row(record)))
    return "\ufeff" + out.getvalue()


def cell(text: str) -> str:
    """Returns a cell's text that no spreadsheet takes for a formula.

    >>> cell("=1+1"), cell("胸水なし")
    ("'=1+1", '胸水なし')
    """
    return f"'{text}" if text.lstrip(" \u3000").startswith(_FORMULA) or text.startswith(_FORMULA) else text


def _row(record: Mapping[str, Any]) -> list[str]:
    notes = [record["reason"]] if record.get("reason") else []
    return [
        DRAFT_MARK,
        record["id"],
        _STATES[record["state"]],
        record.get("findings", ""),
        record.get("impression", ""),
        "、".join(label_of(label).text for label in record.get("found", ())),
        "／".join(item["text"] for item in record.get("contradictions", ())),
        "／".join([*notes, *record.get("warnings", ())]),
        record["model"]["name"],
        record["model"]["sha256"],
        " ".join(image["sha256"] for image in record.get("images", ())),
        record["created"],
    ]
