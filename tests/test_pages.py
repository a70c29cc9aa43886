"""The run's page and the tables: escaped, self-contained, complete, and true to the numbers."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from typing import Any

import pytest

from ikyoku.charts import display_width
from ikyoku.pages import demo_page, evaluation_markdown, evaluation_page, evaluation_table, tuning_page

NASTY = "<script>alert('x')</script>\"&|\x1b[31m"
PROVENANCE: dict[str, Any] = {
    "command": ["ikyoku", "evaluate", "--model", "a b"],
    "revision": "0123abc",
    "python": "3.11.2",
    "packages": {"torch": "2.13.0"},
    "machine": {"cores": 2, "processor": None},
    "seed": 0,
    "inputs": {"exam:pocket": "ab" * 32},
}
VOID = {"meta", "link", "br", "wbr"}


def estimate(value: float, n: int = 150) -> dict[str, float]:
    return {"value": value, "n": n, "low": max(0.0, value - 0.06), "high": min(1.0, value + 0.06)}


def cell(
    model: str, exam: str, value: float, *, shots: int = 0, base: str | None = None, **more: Any
) -> dict[str, Any]:
    against = {"model": base, "difference": 0.5987, "only_this": 95, "only_that": 3, "p_value": 1e-20, "p_holm": 4e-20}
    metrics = {
        "accuracy": estimate(value),
        "exact_match": estimate(value * 0.7),
        "gestalt_score": estimate(value * 0.9),
        "harness_accuracy": estimate(value * 0.95),
        "harness_exact_match": estimate(value * 0.71),
    }
    common = {"model": model, "adapter": bool(base), "format": "alpaca-ja", "shots": shots, "exam": exam, "n": 150}
    finish = {"stop": 150, "length": 0, "too_long": 0}
    return {**common, "finish": finish, "metrics": metrics, "against": against if base else None, **more}


def exam(name: str, **more: Any) -> dict[str, Any]:
    full = {"exact_match": 0.0, "gestalt_score": 0.0, "harness_accuracy": 0.1697, "harness_exact_match": 0.0}
    reference = {
        "empty reply": {"accuracy": 0.0, **full},
        "letters": {"accuracy": 0.0123, **full},
        "chance": {"accuracy": 0.1847},
        "gold": {"accuracy": 0.9987, "exact_match": 1.0, "gestalt_score": 1.0, "harness_accuracy": 0.9924},
    }
    omitted = {"needs an image that is not in the data": ["112B19", "112B20"], "no reason": []}
    given = {
        "exam": name,
        "items": "text-only-5-choice",
        "asked": 150,
        "sha256": "ab12cd34ef56" + "0" * 52,
        "limit": None,
    }
    return {**given, "omitted": omitted, "reference": reference, **more}


def scores(exams: list[dict[str, Any]], cells: list[dict[str, Any]]) -> dict[str, Any]:
    return {"exams": exams, "cells": cells, "headline": "accuracy", "test": "exact McNemar test; Holm's correction"}


def study() -> dict[str, Any]:
    cells = [
        cell(model, name, value + shots / 50, shots=shots, base=base)
        for model, base, value in (("pocket-ja", None, 0.2123), ("pocket-ja+tuned", "pocket-ja", 0.8111))
        for shots in (0, 1)
        for name in ("pocket", "国家試験")
    ]
    return scores([exam("pocket"), exam("国家試験")], cells)


def big() -> dict[str, Any]:
    names = ["exam-a", "exam-b", "exam-c"]
    cells = [cell(f"model-{i}", name, i / 50, base="model-0" if i else None) for i in range(40) for name in names]
    return scores([exam(name) for name in names], cells)


def one() -> dict[str, Any]:
    return scores([exam("pocket", omitted={}, reference={})], [cell("only", "pocket", 0.5)])


def nasty() -> dict[str, Any]:
    return scores(
        [exam(NASTY, omitted={NASTY: [NASTY]}, items=NASTY)],
        [cell(NASTY, NASTY, 0.2, format=NASTY), cell(NASTY + "2", NASTY, 0.8, base=NASTY, format=NASTY)],
    )


STEPS = [{"step": 10 * i, "loss": 2.3 / i, "learning_rate": 1e-3, "tokens": 5120 * i} for i in range(1, 60)]
RESULT = {
    "adapter": "artifact/adapter",
    "kept": {"300": "artifact/a"},
    "trained_parameters": 123456,
    "final_loss": 0.12,
}


def pages() -> dict[str, str]:
    def evaluated(given: dict[str, Any], name: str = "run") -> str:
        return evaluation_page(name=name, scores=given, provenance=PROVENANCE, spec_text="name: run\nseed: 0\n")

    def tuned(steps: list[dict[str, Any]], name: str = "run") -> str:
        return tuning_page(name=name, steps=steps, result=RESULT, provenance=PROVENANCE, spec_text="name: run\n")

    def shown(given: dict[str, Any], tunings: list[tuple[str, list[dict[str, Any]]]], notes: list[str]) -> str:
        return demo_page(name="demo", evaluation=given, tunings=tunings, provenance=PROVENANCE, notes=notes)

    nasty_provenance = {NASTY: {NASTY: NASTY}, "command": [NASTY]}
    return {
        "study": evaluated(study()),
        "big": evaluated(big()),
        "one": evaluated(one()),
        "none": evaluated(scores([], [])),
        "nasty": evaluation_page(name=NASTY, scores=nasty(), provenance=nasty_provenance, spec_text=NASTY),
        "tuning": tuned(STEPS),
        "tuning-empty": tuned([]),
        "tuning-nasty": tuning_page(
            name=NASTY, steps=STEPS[:1], result={NASTY: [NASTY]}, provenance=nasty_provenance, spec_text=NASTY
        ),
        "demo": shown(study(), [("pocket-ja+tuned", STEPS)], ["made <here>"]),
        "demo-nasty": shown(nasty(), [(NASTY, STEPS)], [NASTY]),
    }


PAGES = pages()


class Reader(HTMLParser):
    """Keeps what a page holds, and refuses tags that do not nest."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(tag, key, value or "") for key, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert not reader.open
    return reader


def rows(page: str) -> list[list[str]]:
    """The table's rows as texts."""
    body = page[page.index("<table>") : page.index("</table>")]
    lines = re.findall(r"<tr>(.*?)</tr>", body)
    return [[re.sub(r"<[^>]+>", " ", c).strip() for c in re.split(r"<t[hd](?: [^>]*)?>", line)[1:]] for line in lines]


@pytest.mark.parametrize("name", PAGES)
def test_pages_nest_hold_no_script_and_refer_to_nothing_outside(name: str) -> None:
    page = PAGES[name]
    reader = read(page)
    assert not reader.tags & {"script", "iframe", "object", "embed", "img", "base", "form"}
    for tag, key, value in reader.attributes:
        assert not key.startswith("on"), (tag, key)
        if key in ("href", "src", "srcset", "action", "xlink:href"):
            assert value == "data:,"
        if key != "xmlns":
            assert "//" not in value, (tag, key, value)
    assert "@import" not in page
    assert "url(" not in page
    assert "default-src 'none'" in page
    assert "<script" not in page.lower()


@pytest.mark.parametrize("name", PAGES)
def test_every_plot_in_a_page_is_well_formed(name: str) -> None:
    drawn = re.findall(r"<svg.*?</svg>", PAGES[name], flags=re.S)
    for svg in drawn:
        ET.fromstring(svg)
    assert drawn or name == "none"


@pytest.mark.parametrize("name", PAGES)
def test_pages_are_utf8_and_small(name: str) -> None:
    assert len(PAGES[name].encode("utf-8")) < 1_000_000


def test_nasty_names_are_shown_as_they_are() -> None:
    assert "<script>alert('x')</script>" in read(PAGES["nasty"]).text
    assert "<script>alert('x')</script>" in read(PAGES["demo-nasty"]).text


def test_the_first_sentence_says_the_result() -> None:
    text = read(PAGES["study"]).text
    assert "pocket-ja+tuned (1-shot): 0.831 [0.771–0.891] on pocket, +0.599 against pocket-ja (95 % +0.5" in text
    assert "p < 0.001)" in text
    assert "2 above the base" in text
    assert "floor 0.185 (chance)" in text
    assert text.index("+0.599 against") < text.index("exact match")


def test_a_score_at_the_floor_is_said_to_be_there() -> None:
    given = scores([exam("pocket")], [cell("m", "pocket", 0.2)])
    text = read(evaluation_page(name="r", scores=given, provenance={}, spec_text="")).text
    assert "floor 0.185 (chance), which this is not told apart from" in text


def test_the_table_holds_the_given_numbers() -> None:
    lines = rows(PAGES["study"])
    found = next(line for line in lines if "tuned" in line[0] and "0-shot" in line[0])
    joined = " ".join(found)
    for value in (0.8111, 0.8111 * 0.7, 0.8111 * 0.9, 0.8111 * 0.95, 0.8111 * 0.71):
        assert f"{value:.3f}" in joined
    assert "0.751–0.871" in joined
    assert "+0.599" in joined
    assert "p < 0.001".replace("<", "&lt;") in joined
    assert len(found) == 1 + 2 * 5


def test_floors_and_ceiling_are_set_apart() -> None:
    page = PAGES["study"]
    apart = page[page.index('<tbody class="references">') :]
    assert [n for n in ("floor: empty reply", "floor: letters", "floor: chance", "ceiling: gold") if n in apart]
    assert apart.index("ceiling: gold") > apart.index("floor: chance")
    assert "0.170" in apart  # the harness gives points for nothing
    assert "floor: chance" not in page[page.index("<table>") : page.index('<tbody class="references">')]


def test_japanese_names_stand_beside_the_english_ones() -> None:
    text = read(PAGES["study"]).text
    for name in (
        "正答率",
        "完全一致率",
        "ゲシュタルトスコア",
        "公開ハーネス",
        "差",
        "空の返答",
        "学習の前後",
        "出題しなかった問題",
    ):
        assert name in text
    assert "学習損失" in read(PAGES["tuning"]).text


def test_omitted_questions_are_counted_and_named() -> None:
    text = read(PAGES["study"]).text
    assert "omitted 2: needs an image that is not in the data (2)" in text
    assert "112B19, 112B20" in text
    assert "no reason" not in text


def test_nothing_omitted_shows_no_list() -> None:
    text = read(PAGES["one"]).text
    assert "omitted 0" in text
    assert "Omitted questions" not in text


def test_one_cell_without_comparison_has_no_difference_and_no_slopes() -> None:
    page = PAGES["one"]
    assert "only: 0.500" in read(page).text
    assert "before and after" not in page
    assert "format and shots alone" not in page
    assert "Δ" not in page[page.index("<table>") : page.index("</table>")]


def test_how_far_format_and_shots_move_a_model() -> None:
    assert "moves by up to 0.020." in read(PAGES["study"]).text
    assert "moves by up to" not in read(PAGES["big"]).text


def test_forty_rows_and_three_exams_are_all_there() -> None:
    lines = rows(PAGES["big"])
    assert sum(line[0].split()[0].startswith("model-") for line in lines if line[0].split()) == 40
    assert {len(line) for line in lines[2:]} == {1 + 3 * 5}
    assert "39 compared rows" in read(PAGES["big"]).text


def test_rows_beyond_the_plots_are_announced() -> None:
    given = scores([exam("e")], [cell(f"m{i}", "e", 0.3) for i in range(75)])
    page = evaluation_page(name="r", scores=given, provenance={}, spec_text="")
    assert "15 more rows are in the table only" in page
    assert "m74" in page


def test_a_limit_and_many_cut_replies_are_warned_of_first() -> None:
    cut = {"stop": 100, "length": 45, "too_long": 5}
    given = scores([exam("pocket", limit=20)], [cell("m", "pocket", 0.3, finish=cut)])
    page = evaluation_page(name="r", scores=given, provenance={}, spec_text="")
    head = read(page[: page.index("<section>")] + "</main></body></html>").text
    assert "only the first 20 questions" in head
    assert "of 150 replies 45 cut at the length limit, 5 too long for the model" in head
    assert "45 cut" in evaluation_table(given)


def test_replies_without_an_answer_are_noted() -> None:
    few, many = ({"value": count / 150, "n": 150} for count in (2, 60))
    for unread, early in ((few, False), (many, True)):
        given = scores([exam("pocket")], [cell("m", "pocket", 0.3, unread=unread)])
        text = f"m, on pocket: of 150 replies {round(unread['value'] * 150)} without an answer."
        page = evaluation_page(name="r", scores=given, provenance={}, spec_text="")
        assert text in page and text in evaluation_table(given)
        assert (page.index(text) < page.index("<table>")) is early
    none = scores([exam("pocket")], [cell("m", "pocket", 0.3, unread={"value": 0.0, "n": 150})])
    assert "without an answer" not in evaluation_table(none)


def test_missing_values_are_dashes() -> None:
    empty = cell("m", "pocket", 0.3)
    empty["metrics"] = {"accuracy": {"value": math.nan, "n": 150}}
    given = scores([exam("pocket"), exam("other")], [empty, cell("n", "other", 0.4)])
    assert "–" in evaluation_page(name="r", scores=given, provenance={}, spec_text="")
    assert " - " in evaluation_table(given)
    assert "nan" not in evaluation_table(given)


def test_spec_and_provenance_are_there() -> None:
    text = read(PAGES["study"]).text
    assert "name: run\nseed: 0\n" in text
    assert "ikyoku evaluate --model 'a b'" in text
    assert "torch: 2.13.0" in text
    assert "ab" * 32 in text
    page = evaluation_page(name="r", scores=one(), provenance={**PROVENANCE, "files": {"x": "FILES"}}, spec_text="")
    assert "FILES" not in page


def test_an_endless_spec_is_cut() -> None:
    page = evaluation_page(name="r", scores=one(), provenance={}, spec_text="x" * 3_000_000)
    assert len(page) < 300_000
    assert "spec.yaml in the run folder" in page


def test_tuning_says_the_loss_and_marks_what_was_kept() -> None:
    text = read(PAGES["tuning"]).text
    assert "Training loss 2.300 (step 10) to 0.039 (step 590, 302,080 tokens)." in text
    assert "adapter of step 300 kept" in text
    assert "step 10: loss 2.3000, learning rate 0.001, tokens 5,120" in text
    assert "123,456" in text
    assert "No step was recorded" in read(PAGES["tuning-empty"]).text


def test_a_long_tuning_stays_small() -> None:
    steps = [{"step": i, "loss": 1.0, "learning_rate": 1e-4, "tokens": i} for i in range(1, 50_000)]
    assert len(tuning_page(name="r", steps=steps, result={}, provenance={}, spec_text="")) < 300_000


def test_demo_shows_table_slopes_losses_and_how_it_was_made() -> None:
    text = read(PAGES["demo"]).text
    for part in ("0.811", "Before and after tuning", "Training loss", "How it was made", "made <here>", "Provenance"):
        assert part in text


# ---- terminal and Markdown ----


def widths(table: str) -> list[int]:
    """Where the column separators stand, by display width, in each line of the table."""
    lines = [line.replace("-+-", "-|-") for line in table.split("\n\n")[0].split("\n")]
    places = [tuple(display_width(line[:i]) for i, c in enumerate(line) if c == "|") for line in lines]
    assert len(set(places)) == 1, table
    return list(places[0])


def test_the_terminal_table_is_aligned_by_display_width() -> None:
    given = study()
    given["cells"] += [cell("日本語医療モデル", name, 0.5) for name in ("pocket", "国家試験")]
    assert len(widths(evaluation_table(given))) == 2


def test_two_exams_stand_side_by_side_in_about_110_columns() -> None:
    table = evaluation_table(study())
    block = table.split("\n\n")[0].split("\n")
    assert max(map(display_width, block)) <= 116
    line = next(x for x in block if x.startswith("pocket-ja+tuned") and "0.811" in x)
    assert line.count("0.811 [0.75-0.87]") == 2
    assert line.count("+0.599 <.001") == 2


def test_one_exam_shows_all_intervals() -> None:
    table = evaluation_table(one())
    assert table.split("\n\n")[0].count("[") == 3
    assert "all rows: alpaca-ja, 0-shot" in table


def test_three_exams_stand_below_one_another() -> None:
    table = evaluation_table(big())
    assert all(display_width(line) <= 116 for line in table.split("\n\n")[0].split("\n"))
    assert table.count("model-39") >= 3


def test_the_terminal_legend_names_the_comparison_and_the_questions() -> None:
    table = evaluation_table(study())
    assert "pocket-ja+tuned against pocket-ja" in table
    assert "exact McNemar test" in table
    assert "pocket: text-only-5-choice, 150 questions asked, sha256 ab12cd34ef56; omitted 2" in table
    assert "floor: chance" in table
    assert "ceiling: gold" in table


def test_names_cannot_steer_the_terminal() -> None:
    assert "\x1b" not in evaluation_table(nasty())


def test_apart_from_names_the_terminal_table_is_ascii() -> None:
    assert evaluation_table(study()).replace("国家試験", "").isascii()


def test_an_empty_evaluation_still_prints() -> None:
    assert "accuracy" in evaluation_table(scores([], []))
    assert evaluation_markdown(scores([], [])).startswith("| model")


def test_markdown_has_a_cell_for_every_column() -> None:
    for given in (study(), big(), one(), nasty()):
        lines = [line for line in evaluation_markdown(given).splitlines() if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    text = evaluation_markdown(study())
    assert "| pocket-ja+tuned | alpaca-ja | 0 | 0.811 [0.751–0.871] |" in text
    assert "+0.599 (p &lt; 0.001)" in text
    assert "| pocket: harness | pocket: Δ (p) |" in text
    harness = {"harness_accuracy": {"value": 0.4321, "n": 150}}
    given = one()
    given["cells"][0]["metrics"] |= harness
    assert "| 0.432 |" in evaluation_markdown(given)
    assert "0.432" not in evaluation_table(given)
    assert "harness (the authors' published rule, faults included): in summary.html" in evaluation_table(given)
    assert "<script" not in evaluation_markdown(nasty())
