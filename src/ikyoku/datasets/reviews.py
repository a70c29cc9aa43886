"""The reviewer's sheet: a CSV that a spreadsheet opens as it is, and that is read back however one has saved it.

Spreadsheets change ids ("007" becomes 7, "1-2" a date), the encoding, the delimiter and line ends. So each row carries
a mark made of its texts, by which it is known again, and nothing else that they show is believed.
"""

from __future__ import annotations

import csv
import hashlib
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ikyoku.datasets.base import check_is_file
from ikyoku.errors import DataError, together
from ikyoku.text import fold

Verdict = Literal["accepted", "corrected", "rejected", ""]
"""As it stands; as the reviewer wrote it; not to be used; not looked at yet."""

COLUMNS = ("番号", "照合", "原文", "訳文", "自動点検", "判定", "修正文", "コメント")
VERDICTS: Mapping[str, Verdict] = {
    **dict.fromkeys(("採用", "可", "良", "○", "◯", "〇", "ok", "はい"), "accepted"),
    **dict.fromkeys(("修正", "訂正", "要修正", "△"), "corrected"),
    **dict.fromkeys(("除外", "不可", "不採用", "×", "✕", "x", "ng", "いいえ"), "rejected"),
    "": "",
}
"""What a reviewer writes under 判定."""

_MOST = 32_000  # characters of a cell; spreadsheets cut at 32,767
_FORMULA = re.compile(r"^'(?=[=+\-@\t\r])")
_HEADING = re.compile(r"(?m)^[ \t　]*(所見|診断|印象)[ \t　]*[:：][ \t　]*\n?")


@dataclass(frozen=True, slots=True)
class ReviewRow:
    """A row for the reviewer; the texts hold both sections."""

    id: str
    source: str
    translation: str
    faults: Sequence[str]


@dataclass(frozen=True, slots=True)
class Review:
    """What a reviewer decided on one report; `findings` and `impression` are the corrected texts."""

    mark: str
    verdict: Verdict
    findings: str = ""
    impression: str = ""
    comment: str = ""


def laid_out(findings: str, impression: str) -> str:
    """Returns both sections of a Japanese report as one text: with headings where there are two.

    >>> laid_out("胸水を認めない。", "")
    '胸水を認めない。'
    """
    return f"所見：\n{findings}\n診断：\n{impression}" if impression else findings


def taken_apart(text: str) -> tuple[str, str]:
    r"""Returns the sections of a text that `laid_out` made and somebody changed: 所見, and 診断 (or 印象).

    >>> taken_apart("所見：胸水を認める。診断は別。\n診断:\n左胸水。")
    ('胸水を認める。診断は別。', '左胸水。')
    """
    heads = list(_HEADING.finditer(text))
    parts = {"所見": text[: heads[0].start()].strip() if heads else text.strip(), "診断": ""}
    for head, after in zip(heads, [*heads[1:], None], strict=False):
        name = "所見" if head[1] == "所見" else "診断"
        told = text[head.end() : after.start() if after else len(text)].strip()
        parts[name] = f"{parts[name]}\n{told}".strip()
    return parts["所見"], parts["診断"]


def mark_of(name: str, source: str, translation: str) -> str:
    """Returns the mark by which a row is known again; its letters keep a spreadsheet from taking it for a number."""
    digest = hashlib.sha256("\0".join((name, source, translation)).encode()).hexdigest()
    return f"id-{digest[:16]}"


def review_sheet(rows: Iterable[ReviewRow]) -> str:
    """Returns the sheet's text: UTF-8 with a mark in front, so that a spreadsheet does not take it for cp932.

    A cell that begins like a formula gets an apostrophe before it, a cell beyond what a spreadsheet holds is cut.
    """
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for row in rows:
        mark = mark_of(row.id, row.source, row.translation)
        cells = (row.id, mark, row.source, row.translation, "\n".join(row.faults), "", "", "")
        writer.writerow([_safe(cell) for cell in cells])
    return "\ufeff" + out.getvalue()


def _safe(cell: str) -> str:
    text = cell[:_MOST] + " …" * (len(cell) > _MOST)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def read_reviews(path: Path, known: Mapping[str, bool]) -> tuple[Review, ...]:
    """Reads a sheet that a reviewer has filled in.

    It may have become cp932 or UTF-16, with commas, semicolons or tabs. A text under 修正文 is a correction whatever
    stands under 判定, but not beside a rejection. A row that was left as it was gives a review without verdict.

    Args:
        path: the sheet.
        known: the marks of the run's reports, each with whether its report has a 診断 section.

    Returns:
        The rows' reviews in the order of the sheet.

    Raises:
        DataError: the file is no such sheet, or every fault of its rows, together: a mark that is not the run's or
            stands twice, a verdict that is none, a correction without text, without the 診断 that the report has, or
            with "?" where a spreadsheet had no letter in its encoding.
    """
    text, encoding = _text(path)
    lines = _lines(path, text)
    names = [cell.strip() for cell in lines[0][1]] if lines else []
    missing = [c for c in ("照合", "判定", "修正文") if c not in names]
    if missing:
        raise DataError(
            f"{path} ({encoding}): no column {'、'.join(missing)} in its first line. "
            "Give the review.csv of a translate run, with its columns as they were."
        )
    faults: list[str] = []
    reviews: dict[str, Review] = {}
    for number, cells in lines[1:]:
        row = {name: cells[at] if at < len(cells) else "" for at, name in enumerate(names)}
        wrong: list[str] = []
        review = _review(row, known, encoding, wrong)
        if review.mark in reviews:
            wrong.append("the same 照合 stands above; a report has one row")
        faults += [f"{path} ({encoding}), line {number}: {fault}" for fault in wrong]
        reviews[review.mark] = review
    if faults:
        raise DataError(together(faults))
    return tuple(reviews.values())


def _review(row: Mapping[str, str], known: Mapping[str, bool], encoding: str, wrong: list[str]) -> Review:
    mark = row["照合"].strip()
    said = fold(row["判定"]).strip().casefold()
    text = _FORMULA.sub("", row["修正文"].replace("\r\n", "\n").strip())
    verdict = VERDICTS.get(said, VERDICTS.get(row["判定"].strip(), ""))
    if mark not in known:
        wrong.append("its 照合 is no report's of this run; it belongs to another run, or was changed")
    if said and not verdict:
        wrong.append("判定 is none of 採用, 修正, 除外")
    if verdict == "rejected" and text:
        wrong.append("判定 rejects the report, yet there is a 修正文; take one of them out")
    if verdict == "corrected" and not text:
        wrong.append("判定 says 修正, yet 修正文 is empty; write the corrected report there")
    findings, impression = taken_apart(text)
    if text and known.get(mark) and not impression:
        wrong.append("修正文 has no line 診断：, which the report has; keep both headings")
    if text and not findings:
        wrong.append("修正文 has nothing under 所見：")
    if text and encoding == "cp932" and "?" in text:
        wrong.append("修正文 holds '?' where a letter may have been lost in cp932; save the sheet as CSV UTF-8")
    verdict = "corrected" if text else verdict
    return Review(mark, verdict, findings, impression, row.get("コメント", "").strip())


def _text(path: Path) -> tuple[str, str]:
    check_is_file(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}.") from None
    if data.startswith(b"PK\x03\x04"):
        raise DataError(f"{path}: is a workbook, not CSV. Save the sheet as CSV UTF-8.")
    encodings = ("utf-16",) if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig", "cp932")
    for encoding in encodings:
        try:
            return data.decode(encoding), encoding
        except UnicodeDecodeError:
            continue
    raise DataError(f"{path}: neither UTF-8 nor cp932. Save the sheet as CSV UTF-8.")


def _lines(path: Path, text: str) -> list[tuple[int, list[str]]]:
    """The lines that hold something, cut at the delimiter that the first line is made with."""
    first = text.lstrip("\r\n").split("\n", 1)[0]
    delimiter = max(",;\t", key=first.count)
    found, start = [], 1
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        for cells in reader:
            if any(cell.strip() for cell in cells):
                found.append((start, cells))
            start = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}: not CSV that can be read: {error}.") from None
    return found
