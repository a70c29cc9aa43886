"""Drafts in a real browser: image large and beside the text, in the reader's language, light and dark, no request."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ikyoku.interchange import DRAFT_MARK, DRAFT_MARK_EN
from ikyoku.jobs.drafts import png_uri
from ikyoku.lab.phantoms.film import drawn
from ikyoku.lab.phantoms.truth import phantom
from ikyoku.pages import reports_page, study_page
from ikyoku.types import Picture

TEXT = "右中肺野に浸潤影を認める。" + "胸水、気胸を認めない。" * 12
FILM = Picture("0", (drawn(phantom(1, "a"), size=256) // 16).astype(np.uint8))
FOUND = [
    {"name": "infiltrate", "japanese": "浸潤影", "certainty": c, "side": "right", "sites": ["middle"], "change": ""}
    for c in ("present", "possible", "absent")
]
RECORD = {
    "id": "検査-1",
    "state": "draft",
    "text": TEXT,
    "findings": TEXT,
    "impression": "右肺炎疑い。",
    "found": FOUND,
    "contradictions": [{"text": "浸潤影：矛盾", "english": "infiltrate: both", "spans": [[5, 8]]}],
    "warnings": ["側面像"],
    "thumbnail": png_uri(FILM, 128),
    "page": "studies/x.html",
}
MADE = {"モデル": "m", "重み SHA-256": "ab" * 32}
PAGES = {
    "study": study_page(RECORD, pictures=[("DX PA", png_uri(FILM, 1600))], made=MADE),
    "list": reports_page(name="run", drafts=[RECORD, RECORD | {"id": "B"}, {"id": "C", "state": "refused",
                         "reason": "x"}], made=MADE),
}  # fmt: skip
PLACE = (
    "(e => {const b = document.querySelector(e).getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom]})"
)


def read_as(browser: Any, languages: str) -> None:
    agent = browser.js("navigator.userAgent")
    browser.call("Emulation.setUserAgentOverride", userAgent=agent, acceptLanguage=languages)


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", [360, 1400])
def test_pages_fit_and_ask_for_nothing(browser: Any, name: str, width: int) -> None:
    browser.open(PAGES[name], width=width)
    assert browser.js("document.documentElement.scrollWidth") <= width
    assert [url for url in browser.requested() if not url.startswith("data:")] == []
    assert browser.complaints() == []
    assert browser.js("[...document.images].every(i => i.complete && i.naturalWidth > 0)")


def test_the_image_is_large_and_beside_the_text(browser: Any) -> None:
    browser.open(PAGES["study"], width=1400, height=900)
    image, text = (browser.js(f"{PLACE}('{place}')") for place in (".r-view img", ".r-text"))
    assert image[2] < text[0]
    assert image[2] - image[0] > 700
    assert image[3] - image[1] > 600
    assert image[3] <= 900
    browser.open(PAGES["study"], width=390, height=900)
    image, text = (browser.js(f"{PLACE}('{place}')") for place in (".r-view img", ".r-text"))
    assert image[3] < text[1]


def test_the_mark_stays_in_sight_and_a_click_enlarges(browser: Any) -> None:
    browser.open(PAGES["study"], width=1400, height=500)
    browser.js("scrollTo(0, 400)")
    assert browser.js("scrollY") > 0
    assert browser.js(f"{PLACE}('.r-banner')")[1] >= 0
    before = browser.js("document.querySelector('.r-view img').getBoundingClientRect().width")
    browser.js("document.querySelector('.r-view label').click()")
    assert browser.js("document.querySelector('.r-view img').getBoundingClientRect().width") > 1.9 * before


def test_labels_follow_the_readers_language(browser: Any) -> None:
    shown = "document.querySelector('main').innerText"
    try:
        for languages, japanese in (("ja,en", True), ("en-US,ja", False), ("fr", True)):
            read_as(browser, languages)
            for page in PAGES.values():
                browser.open(page)
                text = browser.js(shown)
                assert DRAFT_MARK in text
                assert (DRAFT_MARK_EN in text) == (not japanese)
                assert ("所見\n" in text) == japanese
                assert ("Findings" in text) == (not japanese)
                assert TEXT[:12] in text
    finally:
        browser.call("Emulation.setUserAgentOverride", userAgent="", acceptLanguage="")


def test_light_and_dark(browser: Any) -> None:
    grounds = []
    for dark in (False, True):
        browser.open(PAGES["study"], dark=dark)
        grounds.append(browser.js("getComputedStyle(document.querySelector('.r-banner')).backgroundColor"))
    assert len(set(grounds)) == 2


def test_kinds_of_labels_differ_without_colour(browser: Any) -> None:
    browser.open(PAGES["study"])
    styles = browser.js(
        "[...document.querySelectorAll('.r-chip')].map(c => getComputedStyle(c).borderTopStyle + c.innerText)"
    )
    assert len(set(styles)) == 3
    assert styles[1].startswith("dashed")
