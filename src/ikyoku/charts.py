"""The SVG plots of a run's page: pure functions from numbers to SVG text.

Every plot is 360 units wide, so that its text stays readable on a narrow screen, and is its own legend: each row or
line is named beside its mark, marks differ in shape as well as in colour, and each has a tooltip. Colours are Okabe and
Ito's through CSS variables (`--c1` ... `--c4`), text and axes are `currentColor`: the page decides on light or dark.

Reference:
    Okabe & Ito 2008, "Color Universal Design".
"""

from __future__ import annotations

import html
import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

FONTS = (
    "system-ui, 'Hiragino Sans', 'Hiragino Kaku Gothic ProN', 'Yu Gothic UI', 'Yu Gothic', "
    "'Noto Sans CJK JP', 'Noto Sans JP', Meiryo, sans-serif"
)
"""Fonts with Japanese letters that readers' systems have; none is embedded."""

WIDTH = 360
"""Width of every plot in its own units."""

_COLOURS = ("var(--c1, #0072b2)", "var(--c2, #d55e00)", "var(--c3, #009e73)", "var(--c4, #a8578a)")
_LEFT, _RIGHT = 12.0, WIDTH - 12.0  # ends of the axis of scores from 0 to 1
_UNIT = 6.2  # width of a half-width letter at the size used, with some room
_MOST_POINTS = 500  # drawn in a loss curve; the smoothed line is computed from all
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Mark:
    """One score to plot, from 0 to 1, with its interval if there is one.

    `label` names it and is shortened where room is short, `detail` follows it in full, `tooltip` says everything.
    `emphasis` sets it apart by shape and colour: the tuned model among the base models.
    """

    label: str
    value: float
    tooltip: str
    detail: str = ""
    low: float | None = None
    high: float | None = None
    emphasis: bool = False


@dataclass(frozen=True, slots=True)
class Limit:
    """A score to compare with: a floor (what nothing gets) or the ceiling (what the right answers get)."""

    label: str
    value: float
    ceiling: bool = False


@dataclass(frozen=True, slots=True)
class Slope:
    """One score before and after, both from 0 to 1."""

    label: str
    before: float
    after: float
    tooltip: str
    detail: str = ""


def escaped(text: object) -> str:
    """Returns text that can stand in HTML, XML and attributes; what XML cannot hold becomes U+FFFD.

    >>> escaped('<b a="1">&')
    '&lt;b a=&quot;1&quot;&gt;&amp;'
    """
    return html.escape(_NOT_XML.sub("\ufffd", str(text)), quote=True)


def display_width(text: str) -> int:
    """Returns how many columns a text takes: full-width letters take two, combining marks none.

    >>> display_width("正答率 acc")
    10
    """
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def clipped(text: str, width: int, mark: str = "…") -> str:
    """Returns the text, cut to `width` columns with a mark at its end where it is wider.

    >>> clipped("循環器内科", 7)
    '循環器…'
    """
    if display_width(text) <= width:
        return text
    kept = ""
    for letter in text:
        if display_width(kept + letter + mark) > width:
            break
        kept += letter
    return kept + mark


def figure(value: float | None, digits: int = 3) -> str:
    """Returns a score as tables print it; a dash where there is none.

    >>> figure(0.8125, 2), figure(None)
    ('0.81', '–')
    """
    return "–" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def forest(rows: Sequence[Mark], limits: Sequence[Limit], *, label: str) -> str:
    """Returns a forest plot: a row per score with its interval, floors and ceiling as upright lines."""
    top, step = 8.0 + 13 * len(limits), 34.0
    bottom = top + step * len(rows)
    parts = [_grid(top, bottom)]
    for i, limit in enumerate(sorted(limits, key=lambda x: x.value)):
        parts.append(_limit(limit, 13.0 * (i + 1), bottom, dash=("2 3", "6 3", "1 5 6 5", "9 3")[i % 4]))
    for i, row in enumerate(rows):
        y = top + step * i + 26
        spread = "" if row.low is None or row.high is None else f" [{figure(row.low)}–{figure(row.high)}]"
        number = f"{figure(row.value)}{spread}"
        parts.append(_named(row.label, row.detail, number, y - 11))
        index = 1 if row.emphasis else 0
        bar = ""
        if row.low is not None and row.high is not None:
            x1, x2 = _x(row.low), _x(row.high)
            path = f"M{x1:.1f} {y}H{x2:.1f}M{x1:.1f} {y - 4}v8M{x2:.1f} {y - 4}v8"
            bar = f'<path d="{path}" style="stroke:{_COLOURS[index]};stroke-width:2;fill:none"/>'
        parts.append(_titled(row.tooltip, bar + _shape(_x(row.value), y, index)))
    return _svg(parts, bottom + 22, label)


def strips(groups: Sequence[tuple[str, Sequence[Mark]]], *, label: str) -> str:
    """Returns dot strips: a row per group with a dot per score and a bar from the lowest to the highest."""
    step = 34.0
    bottom = 6 + step * len(groups)
    parts = [_grid(6, bottom)]
    for i, (name, marks) in enumerate(groups):
        y = 6 + step * i + 26
        low, high = min(m.value for m in marks), max(m.value for m in marks)
        number = f"{figure(low)} to {figure(high)}"
        parts.append(_named(name, "", number, y - 11))
        bar = f"M{_x(low):.1f} {y}H{_x(high):.1f}"
        line = f'<path d="{bar}" style="stroke:{_COLOURS[0]};stroke-width:7;stroke-opacity:.28;stroke-linecap:round"/>'
        parts.append(_titled(f"{name}: {number}", line))
        parts += [_titled(m.tooltip, _shape(_x(m.value), y, 1 if m.emphasis else 0)) for m in marks]
    return _svg(parts, bottom + 22, label)


def slopes(lines: Sequence[Slope], *, label: str) -> str:
    """Returns a slope chart: a line per pair from the score before (left) to the score after (right)."""
    top, height, left, right = 30.0, max(150.0, 16.0 * len(lines)), 62.0, 168.0
    bottom = top + height

    def y(value: float) -> float:
        return bottom - min(1.0, max(0.0, value)) * height

    parts = [
        f'<path d="M{left} {top}V{bottom}M{right} {top}V{bottom}" style="{_HAIR}"/>',
        _text(left, 14, "before 前", anchor="middle", bold=True),
        _text(right, 14, "after 後", anchor="middle", bold=True),
    ]
    # The ends of the axis stand left of it, where the values are kept out of their way.
    parts += [_text(4, y(v) + 4, f"{v:g}", muted=True) for v in (0, 0.5, 1)]
    befores = {figure(line.before): y(line.before) for line in lines}
    for text, at in zip(befores, _apart(list(befores.values()), 12, top, bottom), strict=True):
        parts.append(_text(left - 8, at + 4, text, anchor="end"))
    places = _apart([y(line.after) for line in lines], 13, top, bottom)
    for i, (line, at) in enumerate(zip(lines, places, strict=True)):
        style = f"stroke:{_COLOURS[i % 4]};stroke-width:2;fill:none"
        dash = "" if i < 4 else f' stroke-dasharray="{("6 3", "2 3")[i // 4 % 2]}"'
        drawn = f'<path d="M{left} {y(line.before):.1f}L{right} {y(line.after):.1f}" style="{style}"{dash}/>'
        drawn += _shape(left, y(line.before), i) + _shape(right, y(line.after), i)
        drawn += f'<path d="M{right + 6} {y(line.after):.1f}L{right + 14} {at:.1f}" style="{_HAIR}"/>'
        drawn += _shape(right + 20, at, i, size=3.2)
        number = figure(line.after)
        drawn += _text(right + 27, at + 4, number, bold=True)
        drawn += _label(right + 61, at + 4, line.label, line.detail, WIDTH - right - 63)
        parts.append(_titled(line.tooltip, drawn))
    return _svg(parts, bottom + 12, label)


def loss_curve(points: Sequence[tuple[float, float, str]], *, kept: Sequence[int] = (), label: str) -> str:
    """Returns a loss curve: raw points, a running mean over them, and upright lines at the kept steps.

    Args:
        points: (step, loss, tooltip) in the order of the steps; losses that are not finite are left out.
        kept: Steps whose weights were kept.
        label: What the plot shows, for readers who hear it.
    """
    points = [p for p in points if math.isfinite(p[1])]
    if not points:
        return _svg([_text(WIDTH / 2, 30, "no loss was recorded", anchor="middle", muted=True)], 50, label)
    left, right, top, bottom = 42.0, WIDTH - 10.0, 20.0, 190.0
    last = max([p[0] for p in points] + [float(k) for k in kept])
    x_ticks, y_ticks = ticks(0, last), ticks(min(0.0, *(p[1] for p in points)), max(p[1] for p in points))
    low, high = y_ticks[0], max(y_ticks[-1], y_ticks[0] + 1e-12)

    def at(step: float, loss: float) -> tuple[float, float]:
        return left + (right - left) * step / max(last, 1e-12), bottom - (bottom - top) * (loss - low) / (high - low)

    parts = [f'<path d="M{left} {at(0, v)[1]:.1f}H{right}" style="{_HAIR}"/>' for v in y_ticks]
    parts += [_text(left - 6, at(0, v)[1] + 4, f"{v:g}", anchor="end", muted=True) for v in y_ticks]
    parts += [_text(at(v, low)[0], bottom + 16, f"{v:g}", anchor="middle", muted=True) for v in x_ticks if v <= last]
    parts.append(_text(left, 11, "loss 損失", bold=True))
    parts.append(_text(right, bottom + 32, "step 学習ステップ", anchor="end", bold=True))
    upright = f"stroke:{_COLOURS[2]};stroke-width:1.5"
    for number in sorted(kept):
        x = at(number, low)[0]
        line = f'<path d="M{x:.1f} {top - 4}V{bottom}" stroke-dasharray="4 3" style="{upright}"/>'
        line += _text(x - 3, top + 4, f"kept {number}", anchor="end") if len(kept) <= 6 else ""
        parts.append(_titled(f"adapter of step {number} kept", line))
    stride = max(1, math.ceil(len(points) / _MOST_POINTS))
    for step, loss, tooltip in points[::stride]:
        x, y = at(step, loss)
        dot = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.2" style="fill:{_COLOURS[0]};fill-opacity:.4"/>'
        parts.append(_titled(tooltip, dot))
    if len(points) > 1:
        smooth = list(zip((p[0] for p in points), running_mean([p[1] for p in points]), strict=True))
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*p) for p in [*smooth[:-1:stride], smooth[-1]]))
        style = f"stroke:{_COLOURS[1]};stroke-width:2;fill:none;stroke-linejoin:round"
        parts.append(_titled("running mean of the recorded losses", f'<polyline points="{path}" style="{style}"/>'))
    return _svg(parts, bottom + 40, label)


def running_mean(values: Sequence[float]) -> list[float]:
    """Returns the mean of each value and its neighbours, a twentieth of all on either side, fewer at the ends.

    >>> running_mean([1.0, 2.0, 6.0])
    [1.5, 3.0, 4.0]
    """
    reach = max(1, len(values) // 20)
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    result = []
    for i in range(len(values)):
        side = min(reach, max(i, 1), max(len(values) - 1 - i, 1))
        first, after = max(0, i - side), min(len(values), i + side + 1)
        result.append((sums[after] - sums[first]) / (after - first))
    return result


def ticks(low: float, high: float, *, most: int = 5) -> list[float]:
    """Returns round numbers from at or below `low` to at or above `high`, about `most` of them.

    >>> ticks(0, 2.31)
    [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]
    """
    span = max(high - low, 1e-9)
    rough = span / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, max(last, first + 1) + 1)]


_HAIR = "stroke:currentColor;stroke-opacity:.28;stroke-width:1;fill:none"


def _x(value: float) -> float:
    return _LEFT + (_RIGHT - _LEFT) * min(1.0, max(0.0, value))


def _grid(top: float, bottom: float) -> str:
    """The axis of scores from 0 to 1 with its numbers."""
    lines = "".join(f"M{_x(v):.1f} {top}V{bottom + 3}" for v in (0, 0.25, 0.5, 0.75, 1))
    numbers = [_text(_x(v), bottom + 16, f"{v:g}", anchor="middle", muted=True) for v in (0, 0.25, 0.5, 0.75, 1)]
    return f'<path d="{lines}" style="{_HAIR};stroke-opacity:.14"/>' + "".join(numbers)


def _limit(limit: Limit, y: float, bottom: float, *, dash: str) -> str:
    """An upright line with its name at its head, on the side where there is room."""
    x, colour = _x(limit.value), _COLOURS[2] if limit.ceiling else _COLOURS[3]
    name = f"{limit.label} {figure(limit.value)}"
    line = f'<path d="M{x:.1f} {y - 9}V{bottom}" stroke-dasharray="{dash}" style="stroke:{colour};stroke-width:1.5"/>'
    to_right = limit.value < 0.5
    return _titled(name, line + _text(x + (4 if to_right else -4), y, name, anchor="start" if to_right else "end"))


def _named(label: str, detail: str, number: str, y: float) -> str:
    """A row's line of text: name and detail at the left, number at the right."""
    room = _RIGHT - _LEFT - display_width(number) * _UNIT - 8
    return _label(_LEFT, y, label, detail, room) + _text(_RIGHT, y, number, anchor="end", bold=True)


def _label(x: float, y: float, label: str, detail: str, room: float) -> str:
    """A name with a paler detail, cut to the room: first the name to a third, then the detail."""
    units = int(room / _UNIT)
    name = clipped(label, max(units - display_width(detail) - 1, units // 3 if detail else units))
    rest = clipped(detail, max(0, units - display_width(name) - 1)) if detail else ""
    tail = f' <tspan style="fill-opacity:.72;font-weight:400">{escaped(rest)}</tspan>' if rest else ""
    return f'<text x="{x:g}" y="{y:g}">{escaped(name)}{tail}</text>'


def _text(x: float, y: float, text: str, *, anchor: str = "start", bold: bool = False, muted: bool = False) -> str:
    style = ("font-weight:600;" if bold else "") + ("fill-opacity:.72;" if muted else "")
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" style="{style}">{escaped(text)}</text>'


def _shape(x: float, y: float, index: int, size: float = 4.6) -> str:
    """One of four marks, told apart by shape and colour; a thin edge in the page's colour parts those that overlap."""
    s, d, t = round(size, 2), round(size * 1.3, 2), round(size * 1.2, 2)
    path = (
        f"M{x - s:.1f} {y:.1f}a{s} {s} 0 1 0 {2 * s} 0a{s} {s} 0 1 0 {-2 * s} 0z",
        f"M{x:.1f} {y - d:.1f}l{d} {d}l{-d} {d}l{-d} {-d}z",
        f"M{x - s:.1f} {y - s:.1f}h{2 * s}v{2 * s}h{-2 * s}z",
        f"M{x:.1f} {y - t:.1f}l{t} {2 * t}h{-2 * t}z",
    )[index % 4]
    return f'<path d="{path}" style="fill:{_COLOURS[index % 4]};stroke:var(--card, #fff);stroke-width:1"/>'


def _apart(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places near the wanted ones, at least `gap` from one another, pushed up again where they would run out below."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    placed = list(wanted)
    floor = low - gap
    for i in order:
        placed[i] = floor = max(wanted[i], floor + gap)
    roof = high + gap
    for i in reversed(order):
        placed[i] = roof = min(placed[i], roof - gap)
    return placed


def _titled(tooltip: str, drawn: str) -> str:
    return f"<g><title>{escaped(tooltip)}</title>{drawn}</g>"


def _svg(parts: Sequence[str], height: float, label: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" role="img" '
        f'aria-label="{escaped(label)}" font-family="{FONTS}" font-size="11" fill="currentColor">{"".join(parts)}</svg>'
    )
