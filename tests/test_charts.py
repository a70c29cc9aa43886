"""The plots: well-formed, labelled, tipped, and true to the numbers."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest

from ikyoku.charts import (
    FONTS,
    STYLE,
    WIDTH,
    Mark,
    Slope,
    clipped,
    display_width,
    escaped,
    figure,
    forest,
    loss_curve,
    running_mean,
    slopes,
    strips,
    ticks,
)

SVG = "{http://www.w3.org/2000/svg}"
NASTY = '<script>alert("1")</script>&\x00\ud800'


def marks(count: int = 3) -> list[Mark]:
    return [
        Mark(f"模型-{i}", i / 10, f"tip {i}", detail="alpaca-ja · 1-shot", low=i / 10 - 0.05, high=i / 10 + 0.05)
        for i in range(1, count + 1)
    ]


def limits() -> list[Mark]:
    return [Mark("floor: chance", 0.19, ""), Mark("ceiling: gold", 1.0, "", emphasis=True)]


def plots() -> dict[str, str]:
    points = [(float(i), 2 / i, f"step {i}") for i in range(1, 50)]
    return {
        "forest": forest(marks(), limits(), label="正答率"),
        "forest-nasty": forest([Mark(NASTY, 0.5, NASTY, detail=NASTY)], [Mark(NASTY, 0.2, "")], label=NASTY),
        "forest-tall": forest(marks(9) * 8, limits(), label="many"),
        "strips": strips([("a", marks()), (NASTY, marks(1))], label="幅"),
        "slopes": slopes([Slope(NASTY, 0.2, 0.8, NASTY, "0-shot"), Slope("b", 0.2, 0.81, "tip")], label="前後"),
        "slopes-tall": slopes([Slope(f"m{i}", 0.2, 0.5, "tip", "1-shot") for i in range(30)], label="many"),
        "loss": loss_curve(points, kept=[10, 49], label="損失"),
        "loss-one": loss_curve(points[:1], label="損失"),
        "loss-none": loss_curve([], label="損失"),
        "loss-flat": loss_curve([(1, 0.0, "a"), (2, 0.0, "b")], label="損失"),
    }


@pytest.fixture(params=list(plots()))
def plot(request: pytest.FixtureRequest) -> ET.Element:
    return ET.fromstring(plots()[request.param])


def texts(plot: ET.Element) -> list[str]:
    return ["".join(text.itertext()) for text in plot.iter(f"{SVG}text")]


def test_every_plot_is_well_formed_and_named(plot: ET.Element) -> None:
    assert plot.tag == f"{SVG}svg"
    assert plot.get("role") == "img"
    assert plot.get("aria-label")
    assert plot.get("viewBox", "").startswith(f"0 0 {WIDTH} ")
    assert plot.get("fill") == "currentColor"
    assert "Noto Sans CJK JP" in plot.get("font-family", "")


def test_every_plot_draws_within_its_box(plot: ET.Element) -> None:
    height = float(plot.get("viewBox", "").split()[3])
    for text in plot.iter(f"{SVG}text"):
        assert 0 <= float(text.get("x", "-1")) <= WIDTH
        assert 0 < float(text.get("y", "-1")) <= height
    for path in plot.iter(f"{SVG}path"):
        for x, y in re.findall(r"M([\d.-]+) ([\d.-]+)", path.get("d", "")):
            assert 0 <= float(x) <= WIDTH
            assert 0 <= float(y) <= height


def test_every_mark_has_a_tooltip(plot: ET.Element) -> None:
    for group in plot.iter(f"{SVG}g"):
        assert group[0].tag == f"{SVG}title"
    coloured = [e for e in plot.iter() if re.search(r"--c\d", e.get("style", ""))]
    titled = [e for group in plot.iter(f"{SVG}g") for e in group.iter()]
    assert all(any(e is t for t in titled) for e in coloured)


def test_nothing_but_svg_and_no_address(plot: ET.Element) -> None:
    allowed = {f"{SVG}{name}" for name in ("svg", "g", "title", "path", "circle", "polyline", "text", "tspan")}
    assert {e.tag for e in plot.iter()} <= allowed
    assert not any("url(" in value or "href" in key for e in plot.iter() for key, value in e.attrib.items())


def test_forest_shows_the_numbers_at_their_places() -> None:
    plot = ET.fromstring(forest([Mark("m", 0.5, "the tip", low=0.25, high=0.75)], limits(), label="x"))
    assert "0.500 [0.250–0.750]" in texts(plot)
    assert "floor: chance 0.190" in texts(plot)
    assert "ceiling: gold 1.000" in texts(plot)
    bar = next(p for p in plot.iter(f"{SVG}path") if "H264.0" in p.get("d", ""))
    assert bar.get("d", "").startswith("M96.0 ")  # 12 + 336 * 0.25; its end 12 + 336 * 0.75
    assert "the tip" in [t.text for t in plot.iter(f"{SVG}title")]


def test_forest_without_interval_draws_the_point_alone() -> None:
    assert "0.500" in texts(ET.fromstring(forest([Mark("m", 0.5, "tip")], [], label="x")))


def test_long_names_go_on_a_line_of_their_own_and_keep_their_end() -> None:
    name = "Swallow-70b-instruct-hf+" + "x" * 30 + "-END"
    drawn = texts(ET.fromstring(forest([Mark(name, 0.5, "t", "medical-top-ja · 3-shot", 0.4, 0.6)], [], label="x")))
    assert "medical-top-ja · 3-shot" in drawn
    assert any(t.startswith("Swal") and t.endswith("END") and "…" in t for t in drawn)


def test_slopes_go_up_where_the_score_goes_up() -> None:
    plot = ET.fromstring(slopes([Slope("m", 0.2, 0.8, "tip")], label="x"))
    assert {"0.200", "0.800 m"} <= set(texts(plot))
    line = next(p.get("d", "") for p in plot.iter(f"{SVG}path") if p.get("style", "").startswith("stroke:var(--c1"))
    (_, before), (_, after) = re.findall(r"[ML]([\d.]+) ([\d.]+)", line)
    assert float(after) < float(before)


def test_labels_of_equal_slopes_do_not_lie_upon_each_other() -> None:
    plot = ET.fromstring(slopes([Slope(f"m{i}", 0.2, 0.5, "tip") for i in range(6)], label="x"))
    heights = sorted(float(t.get("y", "0")) for t in plot.iter(f"{SVG}text") if "m" in "".join(t.itertext()))
    assert len(heights) == 6
    assert all(b - a >= 12 for a, b in pairwise(heights))


def test_lines_and_shapes_differ_beyond_colour() -> None:
    drawn = slopes([Slope(f"m{i}", 0.1, 0.1 * i, "tip") for i in range(8)], label="x")
    assert drawn.count("stroke-dasharray") == 4
    shapes = set(re.findall(r'<path d="M[\d.-]+ [\d.-]+([alh])', drawn))
    assert shapes == {"a", "l", "h"}


def test_loss_curve_marks_kept_steps_and_leaves_out_what_is_not_finite() -> None:
    points = [(1.0, 2.0, "one"), (2.0, math.nan, "two"), (3.0, math.inf, "three"), (4.0, 1.0, "four")]
    plot = ET.fromstring(loss_curve(points, kept=[2, 4], label="x"))
    titles = [t.text for t in plot.iter(f"{SVG}title")]
    assert len(list(plot.iter(f"{SVG}circle"))) == 2
    assert {"one", "four", "adapter of step 2 kept", "adapter of step 4 kept"} <= set(titles)
    assert not {"two", "three"} & set(titles)


def test_a_long_loss_curve_stays_small() -> None:
    drawn = loss_curve([(float(i), 1 / (i + 1), f"step {i}") for i in range(100_000)], label="x")
    assert len(drawn) < 150_000
    assert 250 <= drawn.count("<circle") <= 500


@pytest.mark.parametrize(("low", "high"), [(0, 2.31), (0, 0.0), (0, 1e-9), (0, 12345), (-0.3, 0.2), (0, 3)])
def test_ticks_enclose_the_range_with_even_steps(low: float, high: float) -> None:
    found = ticks(low, high)
    assert found[0] <= low + 1e-9
    assert found[-1] >= high - 1e-9
    assert 2 <= len(found) <= 8
    steps = [b - a for a, b in pairwise(found)]
    assert max(steps) == pytest.approx(min(steps))


def test_running_mean_keeps_a_constant_and_the_number_of_values() -> None:
    assert running_mean([2.0] * 77) == pytest.approx([2.0] * 77)
    assert running_mean([5.0]) == [5.0]


def test_widths() -> None:
    assert display_width("正答率abc") == 9
    assert clipped("abc", 3) == "abc"
    for width in range(3, 20):
        assert display_width(clipped("循環器内科abc循環器", width)) <= width


def test_escaped_holds_nothing_that_xml_refuses() -> None:
    ET.fromstring(f'<a b="{escaped(NASTY)}">{escaped(NASTY)}</a>')
    escaped(NASTY).encode()


def test_figures() -> None:
    assert [figure(x) for x in (None, math.nan, 0.12345, 1)] == ["–", "–", "0.123", "1.000"]


def _luminance(colour: str) -> float:
    values = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
    return sum(w * v for w, v in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("scheme", [0, 1])
def test_colours_stand_out_from_the_card_in_light_and_dark(scheme: int) -> None:
    found = re.findall(r"--(card|ink|quiet|c\d): (#[0-9a-f]{3,6})", STYLE)
    assert len(found) == 14
    colours = dict(found[scheme * 7 : scheme * 7 + 7])
    card = colours.pop("card")
    card = card if len(card) == 7 else "#" + "".join(c * 2 for c in card[1:])
    for name, colour in colours.items():
        a, b = sorted((_luminance(colour), _luminance(card)))
        assert (b + 0.05) / (a + 0.05) >= (4.5 if name in ("ink", "quiet") else 3), name


def test_fonts_are_the_systems() -> None:
    assert "Hiragino" in FONTS
    assert "@font-face" not in STYLE
