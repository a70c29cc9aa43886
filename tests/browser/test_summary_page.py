"""The run's page in a real browser: its text is there, it is drawn, and it fits narrow and wide windows.

Needs Chromium and a Japanese font (`apt-get install chromium fonts-noto-cjk`); without Chromium these tests are
skipped, but fail where CI is set to "true".
"""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import struct
import subprocess
import zlib
from pathlib import Path
from typing import Any

import pytest

from ikyoku.pages import demo_page, evaluation_page, tuning_page

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
)
LONG = "Swallow-70b-instruct-hf+MedSwallow-70b-step-000900"

MEASURE = """
<script>
onload = () => {
  const inner = document.getElementById("page").contentDocument, root = inner.documentElement;
  const place = e => e.getBoundingClientRect();
  const found = {scroll: root.scrollWidth, client: root.clientWidth, outside: [], upon: [], small: []};
  found.background = getComputedStyle(inner.body).backgroundColor;
  found.family = getComputedStyle(inner.querySelector("svg text")).fontFamily;
  for (const svg of inner.querySelectorAll("svg")) {
    const box = place(svg), texts = [...svg.querySelectorAll("text")];
    for (const [i, text] of texts.entries()) {
      const a = place(text);
      if (a.left < box.left - 2 || a.right > box.right + 2 || a.top < box.top - 2 || a.bottom > box.bottom + 2)
        found.outside.push(text.textContent);
      if (11.5 * box.width / 360 < 9.5) found.small.push(text.textContent);
      for (const other of texts.slice(i + 1)) {
        const b = place(other);
        const x = Math.min(a.right, b.right) - Math.max(a.left, b.left);
        const y = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
        if (x > 2 && y > 5) found.upon.push([text.textContent, other.textContent]);
      }
    }
  }
  document.getElementById("found").textContent = JSON.stringify(found);
};
</script>
"""


@pytest.fixture(scope="module")
def browser() -> str:
    if CHROMIUM is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no Chromium: CI has to install it (apt-get install chromium fonts-noto-cjk)")
        pytest.skip("no Chromium on this machine (apt-get install chromium fonts-noto-cjk)")
    return CHROMIUM


def browse(browser: str, folder: Path, page: str, *flags: str) -> str:
    """Opens a page in a fresh profile and returns what the browser prints."""
    file = folder / "page.html"
    file.write_text(page, encoding="utf-8")
    command = [browser, *FLAGS, f"--user-data-dir={folder / 'profile'}", *flags, file.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def measured(browser: str, folder: Path, page: str, width: int, *flags: str) -> dict[str, Any]:
    """Lays a page out in a frame of a width and returns what the script above measures in it."""
    frame = f'<iframe id="page" style="width:{width}px;height:900px;border:0" srcdoc="{html.escape(page)}"></iframe>'
    dom = browse(
        browser,
        folder,
        f'<!doctype html><meta charset="utf-8">{frame}<pre id="found"></pre>{MEASURE}',
        "--dump-dom",
        *flags,
    )
    found = re.search(r'<pre id="found">(.+?)</pre>', dom, flags=re.S)
    assert found, dom[-2000:]
    return dict(json.loads(html.unescape(found[1])))


def drawn(png: bytes) -> tuple[int, int, int]:
    """Width and height of a PNG and how many of its filtered bytes are not zero: next to none in a blank picture."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", png[16:24])
    data, place = b"", 8
    while place < len(png):
        length, kind = struct.unpack(">I4s", png[place : place + 8])
        data += png[place + 8 : place + 8 + length] if kind == b"IDAT" else b""
        place += 12 + length
    pixels = zlib.decompress(data)
    return width, height, len(pixels) - pixels.count(0)


def cell(model: str, exam: str, value: float, shots: int, base: str | None) -> dict[str, Any]:
    estimate = {"value": value, "n": 150, "low": value - 0.06, "high": value + 0.06}
    metrics = ("accuracy", "exact_match", "gestalt_score", "harness_accuracy", "harness_exact_match")
    against = {"model": base, "difference": 0.3, "only_this": 60, "only_that": 15, "p_value": 1e-8, "p_holm": 3e-8}
    return {
        "model": model,
        "adapter": bool(base),
        "format": "medical-inside-ja" if shots else "alpaca-ja",
        "shots": shots,
        "exam": exam,
        "n": 150,
        "finish": {"stop": 149, "length": 1, "too_long": 0},
        "metrics": dict.fromkeys(metrics, estimate),
        "against": against if base else None,
    }


def scores() -> dict[str, Any]:
    exams: list[dict[str, Any]] = [
        {
            "exam": name,
            "items": "text-only-5-choice",
            "asked": 150,
            "sha256": "ab" * 32,
            "limit": None,
            "omitted": {"needs an image that is not in the data": [f"112B{i}" for i in range(60)]},
            "reference": {"letters": {"accuracy": 0.17}, "chance": {"accuracy": 0.19}, "gold": {"accuracy": 1.0}},
        }
        for name in ("pocket", "医師国家試験 2022")
    ]
    rows = (("pocket-ja", 0.2, None), ("pocket-ja+tuned", 0.5, "pocket-ja"), (LONG, 0.52, "pocket-ja"))
    cells = [cell(m, e["exam"], v + s / 50, s, base) for m, v, base in rows for s in (0, 1) for e in exams]
    return {"exams": exams, "cells": cells, "headline": "accuracy", "test": "exact McNemar test"}


STEPS = [{"step": 10 * i, "loss": 2.3 / i, "learning_rate": 1e-3, "tokens": 512 * i} for i in range(1, 60)]
PROVENANCE = {"command": ["ikyoku", "x" * 300], "revision": "0" * 40, "inputs": {"exam": "ab" * 32}, "seed": 0}
PAGES = {
    "evaluation": evaluation_page(name="評価 run", scores=scores(), provenance=PROVENANCE, spec_text="a: " + "b" * 500),
    "tuning": tuning_page(
        name="tuned", steps=STEPS, result={"kept": {"300": "a" * 90}}, provenance=PROVENANCE, spec_text="a: b"
    ),
    "demo": demo_page(
        name="demo", evaluation=scores(), tunings=[("t", STEPS)], provenance=PROVENANCE, notes=["how " + "x" * 200]
    ),
}


def test_the_browser_shows_the_text(browser: str, tmp_path: Path) -> None:
    dom = browse(browser, tmp_path, PAGES["evaluation"], "--dump-dom")
    for text in ("正答率", "0.520", "+0.300", "floor: chance", "医師国家試験 2022", "with 95 % intervals"):
        assert text in dom


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", [360, 1400])
def test_pages_do_not_scroll_sideways_and_plots_stay_legible(
    browser: str, tmp_path: Path, name: str, width: int
) -> None:
    opened = PAGES[name].replace("<details>", "<details open>")
    found = measured(browser, tmp_path, opened, width)
    assert found["client"] == width
    assert found["scroll"] <= width
    assert found["outside"] == []
    assert found["upon"] == []
    assert found["small"] == []
    assert "Noto Sans CJK JP" in found["family"]


def test_light_and_dark_follow_the_reader(browser: str, tmp_path: Path) -> None:
    grounds = [
        measured(browser, tmp_path, PAGES["tuning"], 800, f"--blink-settings=preferredColorScheme={scheme}")[
            "background"
        ]
        for scheme in (0, 1)
    ]
    assert grounds == ["rgb(16, 19, 23)", "rgb(244, 245, 247)"]


@pytest.mark.parametrize("name", PAGES)
def test_the_picture_is_not_blank(browser: str, tmp_path: Path, name: str) -> None:
    picture = tmp_path / "page.png"
    browse(browser, tmp_path, PAGES[name], "--window-size=1000,1400", f"--screenshot={picture}")
    width, height, inked = drawn(picture.read_bytes())
    assert (width, height) == (1000, 1400)
    assert inked > 20_000
    browse(browser, tmp_path, "<!doctype html>", "--window-size=1000,1400", f"--screenshot={picture}")
    assert drawn(picture.read_bytes())[2] < 10_000
