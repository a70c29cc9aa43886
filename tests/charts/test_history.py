"""Fitness over candidates, and one objective against another: well-formed, within the plot, true to the numbers."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from ikyoku.charts import WIDTH
from ikyoku.charts.history import Kind, Level, Trace, Trial, front, history

SVG = "{http://www.w3.org/2000/svg}"
NASTY = '<script>alert("1")</script>&\x00\ud800'
KINDS: tuple[Kind, ...] = ("complete", "complete", "pruned", "duplicate", "fail")


def trial(number: int, *values: float, kind: Kind = "complete") -> Trial:
    return Trial(number, values, kind, f"candidate {number}")


def trace(label: str = "cmaes", count: int = 20, parts: int = 1) -> Trace:
    kinds = [KINDS[n % 5] for n in range(count)]
    values = [[0.4 + 0.01 * n + 0.02 * part for part in range(parts)] for n in range(count)]
    trials = [trial(n, *(() if k == "fail" else values[n]), kind=k) for n, k in enumerate(kinds)]
    best = [max(v[0] for v, k in zip(values[: n + 1], kinds, strict=False) if k == "complete") for n in range(count)]
    return Trace(label, trials, best, winner=count // 5 * 5 - 4, front=[count // 5 * 5 - 4])


LEVELS = (Level("uniform merge", 0.45, 2), Level("親モデル", 0.44), Level(NASTY * 3, 0.41))
PLOTS = {
    "usual": history([trace(), trace("random", 20)], LEVELS, label="適応度"),
    "one": history([trace(count=6)], (), label="x"),
    "single": history([Trace("cmaes", [trial(0, 0.5)], [0.5], 0)], (), label="x"),
    "flat": history([Trace("cmaes", [trial(n, 0.0) for n in range(3)], [0.0] * 3)], LEVELS[:1], label="x"),
    "many": history([trace(count=1000), trace(NASTY, 1000)], LEVELS * 9, label=NASTY),
    "failed": history([Trace("cmaes", [trial(0, kind="fail")], [None])], LEVELS, label="x"),
    "front": front([trace(parts=2), trace("random", parts=2)], [("uniform", 0.4, 0.5)], names=("a", "b"), label="x"),
    "front-nasty": front([trace(NASTY, parts=3)], [(NASTY, 0.4, 0.5)], names=(NASTY * 5, NASTY), label=NASTY),
    "front-none": front([trace()], [], names=("a", "b"), label="x"),
}


def texts(plot: ET.Element) -> list[str]:
    return ["".join(text.itertext()) for text in plot.iter(f"{SVG}text")]


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
        for x, y in re.findall(r"M([\d.-]+) ([\d.-]+)", path.get("d", "")):
            assert 0 <= float(x) <= WIDTH
            assert -12 <= float(y) <= height  # samples of the legend stand around 0 in a group that is moved


def test_every_group_has_a_tooltip_first(plot: ET.Element) -> None:
    assert all(group[0].tag == f"{SVG}title" for group in plot.iter(f"{SVG}g"))


def test_kinds_of_candidates_are_told_apart_by_shape() -> None:
    given = Trace("cmaes", [trial(n, 0.5 + n / 100, kind=k) for n, k in enumerate(KINDS[1:4])])
    plot = ET.fromstring(history([given], (), label="x"))
    marks = {p[0].text: p.get("d", "") for p in plot.iter(f"{SVG}path") if len(p)}
    assert "a2.6" in marks["candidate 0"] and "a2.6" in marks["candidate 1"]
    assert re.fullmatch(r"M\S+ \S+h5.2M\S+ \S+v5.2", marks["candidate 2"])
    styles = [g.get("style", "") for g in plot.iter(f"{SVG}g") if g.get("style")]
    assert sum("fill:none" in s for s in styles) == 2


def test_two_searches_differ_in_shape_and_colour() -> None:
    plot = ET.fromstring(PLOTS["usual"])
    groups = {g[0].text: g for g in plot.iter(f"{SVG}g") if g.get("style")}
    first, second = (groups[f"{name}: evaluated to the end 評価完了"] for name in ("cmaes", "random"))
    assert "--c1" in first.get("style", "") and "--c2" in second.get("style", "")
    assert "a2.6" in first[1].get("d", "") and "l3.38" in second[1].get("d", "")


def test_the_best_so_far_is_a_line_of_steps() -> None:
    given = Trace("cmaes", [trial(n, v) for n, v in enumerate((0.4, 0.3, 0.6))], [0.4, 0.4, 0.6])
    plot = ET.fromstring(history([given], (), label="x"))
    line = next(p.get("d", "") for p in plot.iter(f"{SVG}path") if "stroke-width:2;" in p.get("style", ""))
    assert re.fullmatch(r"M48.0 [\d.]+H330.0V[\d.]+H330.0", line)
    assert "cmaes: best so far, at last 0.6000" in [t.text for t in plot.iter(f"{SVG}title")]


def test_failed_candidates_stand_below_the_axis() -> None:
    plot = ET.fromstring(PLOTS["usual"])
    assert "failed" in texts(plot)
    failed = [p for p in plot.iter(f"{SVG}path") if len(p) and p[0].text == "candidate 4"]
    assert len(failed) == 2
    assert all(float(p.get("d", "").split(" ")[1].split("l")[0]) > 214 for p in failed)


def test_what_is_far_below_stands_at_the_edge_and_is_counted() -> None:
    given = Trace("cmaes", [trial(n, 0.5 + n / 1000) for n in range(40)] + [trial(40, 0.001)])
    plot = ET.fromstring(history([given], (), label="x"))
    assert next(t for t in texts(plot) if t.startswith("lower than")) == "lower than 0.5, at the edge 枠外"
    values = [float(t) for t in texts(plot) if re.fullmatch(r"0\.\d+", t)]
    assert min(values) == 0.5


def test_levels_are_lettered_from_the_highest_with_their_values() -> None:
    found = texts(ET.fromstring(PLOTS["usual"]))
    assert found.index("a  uniform merge") < found.index("b  親モデル")
    assert found[found.index("b  親モデル") + 1] == "0.4400"


def test_the_front_passes_through_what_is_not_beaten() -> None:
    given = Trace(
        "nsga2", [trial(0, 0.0, 1.0), trial(1, 0.5, 0.5), trial(2, 1.0, 0.0), trial(3, 0.2, 0.2)], (), 1, [0, 1, 2]
    )
    plot = ET.fromstring(front([given], [], names=("one", "two"), label="x"))
    stairs = next(p.get("d", "") for p in plot.iter(f"{SVG}path") if "stroke-opacity:.6" in p.get("style", ""))
    assert stairs == "M48.0 22.0V118.0H189.0V214.0H330.0"
    assert "↑ two" in texts(plot) and "one →" in texts(plot)
