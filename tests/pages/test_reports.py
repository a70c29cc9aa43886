"""The pages of drafts: marked, escaped, self-contained, true to the records."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from ikyoku.interchange import DRAFT_MARK
from ikyoku.pages import report_cards, reports_page, study_page

PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)
NASTY = "<script>alert('x')</script>\"&|\u202e"
VOID = {"meta", "link", "br", "img", "input"}


def label(**more: Any) -> dict[str, Any]:
    usual = {"name": "pleural_effusion", "japanese": "胸水", "certainty": "present", "side": "right",
             "sites": ["lower"], "change": "", "section": "findings", "start": 1, "end": 3}  # fmt: skip
    return usual | more


def record(**more: Any) -> dict[str, Any]:
    text = "右胸水を認める。気胸なし。"
    return {
        "id": "A-1",
        "state": "draft",
        "text": text,
        "findings": text,
        "impression": "",
        "found": [label(), label(name="pneumothorax", japanese="気胸", certainty="absent", side="", sites=[])],
        "contradictions": [],
        "warnings": [],
        "thumbnail": PIXEL,
        "page": "studies/A-1.html",
    } | more


class Balance(HTMLParser):
    """Tags that are opened and closed, and the attributes with addresses."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.addresses: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        self.scripts += tag == "script"
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


def parsed(page: str) -> Balance:
    found = Balance()
    found.feed(page)
    assert (found.wrong, found.open) == ([], [])
    return found


def pages(one: dict[str, Any]) -> list[str]:
    study = study_page(one, pictures=[("DX PA", PIXEL)], made={"モデル": "m"})
    return [study, reports_page(name="run", drafts=[one], made={"モデル": "m"})]


def test_pages_are_marked_and_load_nothing() -> None:
    for page in pages(record()):
        found = parsed(page)
        assert page.count(DRAFT_MARK) >= 1
        assert all(a.startswith(("data:", "studies/", "../summary.html")) for a in found.addresses)
        assert "default-src 'none'" in page
        assert found.scripts == 1


def test_text_stands_beside_the_picture_with_its_labels() -> None:
    study, listed = pages(record())
    for page in (study, listed):
        assert "右胸水を認める。気胸なし。" in page
        assert "胸水（右・下肺野）" in page
        assert "pleural effusion (right, lower)" in page
        assert "モデルは診断を書いていません" in page
        assert PIXEL in page
    assert '<li class="r-chip r-absent">' in study
    assert '<li class="r-chip r-absent">' not in listed  # what is not there is told on the study's page
    assert "自動抽出ラベル" in study


def test_an_impression_is_shown_as_written() -> None:
    study, _ = pages(record(impression="右胸水。"))
    assert re.search(r'診断</span>.*?<p class="r-words" lang="ja">右胸水。</p>', study)


def test_contradictions_are_marked_in_both_sections() -> None:
    text = "所見：右胸水\n診断：左胸水"
    clash = {"text": "胸水：左右", "english": "effusion: sides", "spans": [[4, 6], [11, 13]]}
    one = record(text=text, findings="右胸水", impression="左胸水", contradictions=[clash])
    assert text[4:6] == text[11:13] == "胸水"
    study, listed = pages(one)
    for page in (study, listed):
        assert "右<mark>胸水</mark>" in page
        assert "左<mark>胸水</mark>" in page
        assert "胸水：左右" in page
    assert "文中に矛盾" in listed


def test_states_are_counted_and_reasons_given() -> None:
    refused = {"id": "B", "state": "refused", "reason": "it is a PDF"}
    empty = record(id="C", state="empty", text="", findings="", found=[])
    page = reports_page(name="run", drafts=[record(), refused, empty], made={})
    parsed(page)
    assert [re.sub("<[^>]+>", "", item) for item in re.findall(r"<li><b>(\d)</b>", page)] == ["1", "1", "1"]
    assert "it is a PDF" in page
    assert "モデルは何も書きませんでした" in page
    assert "href" not in report_cards([refused])


@pytest.mark.parametrize("key", ["id", "text", "warnings", "reason", "japanese", "clash", "made", "caption"])
def test_nothing_becomes_markup(key: str) -> None:
    one = record(contradictions=[{"text": "x", "english": "x", "spans": []}])
    one |= {"text": {"text": NASTY, "findings": NASTY, "impression": NASTY}, "warnings": {"warnings": [NASTY]}}.get(
        key, {key: NASTY} if key in ("id",) else {}
    )
    if key == "japanese":
        one["found"] = [label(japanese=NASTY, name=NASTY)]
    if key == "clash":
        one["contradictions"] = [{"text": NASTY, "english": NASTY, "spans": []}]
    made = {NASTY: NASTY} if key == "made" else {}
    found = [study_page(one, pictures=[(NASTY if key == "caption" else "c", PIXEL)], made=made)]
    drafts = [one, {"id": "B", "state": "refused", "reason": NASTY}]
    found += [reports_page(name=NASTY, drafts=drafts, made=made)]
    for page in found:
        assert parsed(page).scripts == 1
        assert "<script>alert" not in page


def test_cards_bring_their_style_to_any_page() -> None:
    cards = report_cards([record(), record(thumbnail="", page="")])
    assert cards.startswith("<style>")
    assert cards.count('class="r-card"') == 2
    parsed(cards)
