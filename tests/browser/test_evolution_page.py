"""A search's page in a real browser: drawn, legible, within narrow and wide windows, and silent."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ikyoku.pages import evolution_page

tests = Path(__file__).parents[1]
made = SimpleNamespace(**runpy.run_path(str(tests / "evolutions.py")))
seen = SimpleNamespace(**runpy.run_path(str(tests / "browser" / "test_summary_page.py")))
LONG = ("medical-" + "swallow-" * 9, "英語医療大規模言語モデル・国立病院機構版・第二次改良型", "c")


def page(scores: dict[str, Any]) -> str:
    return evolution_page(
        name="進化 run",
        scores=scores,
        timings=made.timings(scores),
        provenance={"seed": 0},
        spec_text="a: " + "b" * 500,
    )


PAGES = {
    "seven": page(made.evolution(trials=200)),
    "forty": page(made.evolution(LONG, groups=2, kinds=True, trials=60)),
    "several": page(made.evolution(trials=60, objectives=("自施設の問題 (probability)", "IgakuQA dev (exact_match)"))),
}


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", [360, 1400])
def test_the_page_opens_in_silence_and_is_legible(browser: Any, name: str, width: int) -> None:
    browser.open(PAGES[name].replace("<details>", "<details open>"), width=width, dark=width == 360)
    assert browser.requested() == []
    assert browser.complaints() == []
    found = browser.js(seen.MEASURE)
    assert found["scroll"] <= found["client"] == width
    assert found["outside"] == found["upon"] == found["small"] == []
    assert browser.js("document.querySelectorAll('table.systems tbody tr').length") >= 20
    heights = browser.js("[...document.querySelectorAll('svg')].map(s => s.getBoundingClientRect().height)")
    assert len(heights) >= 7 and min(heights) > 20
    assert seen.inked(browser.picture()) > 20_000


def test_one_click_selects_the_recipe(browser: Any) -> None:
    browser.open(PAGES["seven"])
    assert browser.js("getComputedStyle(document.querySelector('pre.recipe')).userSelect") == "all"
