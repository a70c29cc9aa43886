"""Parallel coordinates, values within bounds, gains and losses: well-formed, within the plot, true to the numbers."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from ikyoku.charts import WIDTH
from ikyoku.charts.levels import Change, Value, changes, values
from ikyoku.charts.parallel import Axis, Line, drawn_every, parallel

SVG = "{http://www.w3.org/2000/svg}"
NASTY = '<script>alert("1")</script>&\x00\ud800'
AXES = [
    Axis("医療モデル", 0.0, 1.0, "weight L0–7", "weight.医療モデル.layers0-7"),
    Axis("lambda", 0.0, 2.0),
    Axis("c", -1.0, 1.0),
]


def line(number: int, count: int = 3, fitness: float | None = None) -> Line:
    return Line([0.1 * (number % 9)] * count, number / 100 if fitness is None else fitness, f"candidate {number}")


PLOTS = {
    "usual": parallel(AXES, [line(n) for n in range(40)], winner=line(39), uniform=line(0), label="平行座標"),
    "one-axis": parallel(AXES[:1], [line(n, 1) for n in range(3)], label="x"),
    "one-line": parallel(AXES, [line(1)], winner=line(1), label="x"),
    "outside": parallel(AXES, [Line([9.0, -9.0, 0.0], 0.1, "t")], label="x"),
    "fixed": parallel([Axis("x", 1.0, 1.0)], [line(1, 1)], label="x"),
    "many": parallel([Axis(f"p{i}", 0, 1) for i in range(40)], [line(n, 40) for n in range(1000)], label="x"),
    "nasty": parallel([Axis(NASTY, 0, 1, NASTY, NASTY)] * 2, [Line([0.5] * 2, 1.0, NASTY)], label=NASTY),
    "none": parallel(AXES, [], label="x"),
    "values": values(
        [Value("weight", 0.3, 0.0, 1.0, "0.300", "tip", 0.5), Value(NASTY * 3, 0, -1, 1, "0", NASTY)], label="x"
    ),
    "values-fixed": values([Value("t", 1.0, 1.0, 1.0, "1 (fixed)", "tip")], label="x"),
    "values-none": values([], label="x"),
    "changes": changes(
        [Change("a", 0.07, "+0.070", "tip"), Change(NASTY, -0.01, "−0.010", NASTY)], left="l", right="r", label="x"
    ),
    "changes-zero": changes([Change("a", 0.0, "0.000", "tip")], left="l" * 90, right="r" * 90, label="x"),
    "changes-none": changes([], left="l", right="r", label="x"),
}


def texts(plot: ET.Element) -> list[str]:
    return ["".join(text.itertext()) for text in plot.iter(f"{SVG}text")]


def tips(plot: ET.Element) -> list[str | None]:
    return [title.text for title in plot.iter(f"{SVG}title")]


@pytest.fixture(params=list(PLOTS))
def plot(request: pytest.FixtureRequest) -> ET.Element:
    return ET.fromstring(PLOTS[request.param])


def test_every_plot_is_named_and_within_its_box(plot: ET.Element) -> None:
    assert plot.get("role") == "img" and plot.get("aria-label")
    height = float(plot.get("viewBox", "").split()[3])
    assert plot.get("viewBox", "").startswith(f"0 0 {WIDTH} ")
    for text in plot.iter(f"{SVG}text"):
        assert 0 <= float(text.get("x", "-1")) <= WIDTH
        assert 0 < float(text.get("y", "-1")) <= height
    for path in plot.iter(f"{SVG}path"):
        for x, y in re.findall(r"[ML]([\d.-]+) ([\d.-]+)", path.get("d", "")):
            assert 0 <= float(x) <= WIDTH
            assert -6 <= float(y) <= height  # samples of the legend stand around 0 in a group that is moved


def test_every_group_has_a_tooltip_first(plot: ET.Element) -> None:
    assert all(group[0].tag == f"{SVG}title" for group in plot.iter(f"{SVG}g"))


def test_a_line_passes_its_values_between_the_bounds() -> None:
    plot = ET.fromstring(parallel(AXES, [Line([0.5, 2.0, -1.0], 0.1, "the tip")], label="x"))
    path = next(p.get("d", "") for p in plot.iter(f"{SVG}path") if len(p) and p[0].text == "the tip")
    assert path == "M252.0 16L328.0 50L176.0 84"
    assert texts(plot)[:2] == ["0", "1"]
    assert "weight.医療モデル.layers0-7: 0 to 1" in tips(plot)


def test_better_candidates_are_drawn_later_and_stronger() -> None:
    plot = ET.fromstring(PLOTS["usual"])
    groups = [g for g in plot if g.tag == f"{SVG}g" and "stroke-width" in g.get("style", "")]
    assert [g[0].text for g in groups] == ["the lower half", "third quarter", "up to the best tenth", "the best tenth"]
    assert [len(g) - 1 for g in groups] == [20, 10, 6, 4]
    assert groups[-1][-1][0].text == "candidate 39"
    widths = [float(re.findall(r"stroke-width:([\d.]+)", g.get("style", ""))[0]) for g in groups]
    assert widths == sorted(widths)
    assert "0.360 to 0.390" in texts(plot)


def test_the_winner_is_on_top_of_the_uniform_merge() -> None:
    found = tips(ET.fromstring(PLOTS["usual"]))
    assert found.index("uniform merge 均等マージ: candidate 0") < found.index("chosen 選択: candidate 39")
    assert "chosen 選択: lambda = 0.3" in found


def test_of_too_many_candidates_every_second_is_drawn_with_the_best() -> None:
    assert drawn_every(1000, 40) == 2
    plot = ET.fromstring(PLOTS["many"])
    drawn = [p[0].text for p in plot.iter(f"{SVG}path") if len(p)]
    assert len(drawn) == 500 and drawn[-1] == "candidate 999"


def test_values_are_bars_from_zero_with_the_other_value_beside() -> None:
    plot = ET.fromstring(values([Value("w", -0.5, -1.0, 1.0, "−0.500", "tip", 0.5)], label="x"))
    paths = [p.get("d", "") for p in plot.iter(f"{SVG}path")]
    assert "M96.0 19.0h84.0v8h-84.0z" in paths  # from −0.5 to 0 of −1 to 1
    assert texts(plot) == ["w", "−0.500"]


def test_gains_go_right_and_losses_left() -> None:
    plot = ET.fromstring(PLOTS["changes"])
    bars = [p.get("d", "") for p in plot.iter(f"{SVG}path") if "fill:var" in p.get("style", "")]
    assert [bar.split(" ")[0] for bar in bars] == ["M180.0", "M156.0"]
    assert "◂ l" in texts(plot) and "r ▸" in texts(plot)
