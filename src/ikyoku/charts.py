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

STYLE = (
    """
:root { color-scheme: light dark; --page: #f4f5f7; --card: #fff; --ink: #16191d; --quiet: #565d66; --line: #d5d9de;
  --c1: #0072b2; --c2: #c44e00; --c3: #00815e; --c4: #a8578a; --tint: 0 114 178; --strength: .42; }
@media screen and (prefers-color-scheme: dark) {
  :root { --page: #101317; --card: #1a1e24; --ink: #e9ecef; --quiet: #a4acb5; --line: #39404a;
    --c1: #56b4e9; --c2: #e69f00; --c3: #2fc79b; --c4: #e39cc8; --tint: 86 180 233; --strength: .52; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); line-height: 1.5; font-size: 15px;
  font-family: FONTS; overflow-wrap: anywhere; }
main { max-width: 1400px; margin: 0 auto; padding: 16px; }
h1 { font-size: 1.5rem; margin: 0 0 .75rem; } h2 { font-size: 1.15rem; margin: 1.75rem 0 .6rem; }
h3 { font-size: .95rem; margin: 0 0 .5rem; } header p { margin: 0; }
.ja { font-weight: 400; color: var(--quiet); } .quiet { color: var(--quiet); font-size: .85rem; }
.lead { font-size: 1.1rem; max-width: 76rem; margin: .4rem 0; }
.notes { border-left: 4px solid var(--c2); margin: .75rem 0; padding: .25rem 0 .25rem 1.5rem; }
.scroll { overflow-x: auto; margin-top: 1rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
th, td { padding: .35rem .6rem; text-align: right; white-space: nowrap; font-weight: 400;
  border-top: 1px solid var(--line); }
thead th { vertical-align: bottom; font-weight: 600; border-top: 0; }
.exam { text-align: left; } .exam span { position: sticky; left: 9.5rem; display: inline-block; }
tbody th, thead tr:first-child th:first-child { text-align: left; }
small { display: block; font-size: .75rem; font-weight: 400; color: var(--quiet); }
tbody th, thead tr:first-child th:first-child { position: sticky; left: 0; background: var(--card); z-index: 1;
  white-space: normal; min-width: 8.5rem; max-width: 16rem; overflow-wrap: anywhere; font-weight: 600; }
.exam, .first { border-left: 1px solid var(--line); }
.tint { background: rgb(var(--tint) / calc(var(--t) * var(--strength))); }
.tint small { color: inherit; } .references { border-top: 3px double var(--quiet); }
.references th { font-weight: 400; } .references td { font-style: italic; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 330px), 448px)); gap: 12px;
  align-items: start; }
.whole { white-space: nowrap; }
.scroll, .card, details { background: var(--card); border: 1px solid var(--line); border-radius: 8px; min-width: 0; }
.card, details { padding: 12px; }
.card p { margin: .5rem 0 0; } svg { display: block; width: 100%; max-width: 460px; height: auto; }
details { margin-top: 12px; } summary { cursor: pointer; font-weight: 600; } details h3 { margin-top: .75rem; }
pre { white-space: pre-wrap; font-size: .8rem; } .fact { white-space: pre-wrap; } .ids { font-size: .8rem; margin: 0; }
dt { font-weight: 600; margin-top: .5rem; } dd { margin: 0; } ul { padding-left: 1.25rem; }
@media (max-width: 480px) { main { padding: 10px; } .card { padding: 10px 6px; } .lead { font-size: 1rem; }
  th, td { padding: .3rem .45rem; } tbody th { max-width: 9rem; } }
@page { size: A4 landscape; margin: 12mm; }
@media print { :root { --page: #fff; } html, body { font-size: 9px; } .scroll { overflow: visible; }
  tbody th { position: static; }
  .cards { grid-template-columns: repeat(3, 1fr); } .card, tr { break-inside: avoid; } h2 { break-after: avoid; }
  details::details-content { content-visibility: visible; block-size: auto; } * { print-color-adjust: exact; } }
"""
).replace("FONTS", FONTS)
"""The page's style sheet: light or dark as the reader's system, with the plots' colours in both."""

WIDTH = 360
"""Width of every plot in its own units."""

_COLOURS = ("var(--c1, #0072b2)", "var(--c2, #d55e00)", "var(--c3, #009e73)", "var(--c4, #a8578a)")
_LEFT, _RIGHT = 12.0, WIDTH - 12.0  # ends of the axis of scores from 0 to 1
_UNIT = 7.0  # width of a half-width letter in a wide font at the size used
_LINE = 14.0  # from one line of text to the next
_MOST_POINTS = 500  # drawn in a loss curve; the smoothed line is computed from all
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Mark:
    """One score to plot, from 0 to 1, with its interval if there is one.

    `label` names it and is shortened where room is short, `detail` follows it in full, `tooltip` says everything.
    `emphasis` sets it apart by shape and colour: the tuned model among base models, the ceiling among floors.
    """

    label: str
    value: float
    tooltip: str
    detail: str = ""
    low: float | None = None
    high: float | None = None
    emphasis: bool = False


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
    """Returns the text; where it is wider than `width` columns, with a mark in place of its middle.

    Both ends are kept because names of models often differ only there.

    >>> clipped("base-model+adapter-two", 13)
    'base-m…er-two'
    """
    if display_width(text) <= width:
        return text
    head, tail = text[: len(text) // 2], text[len(text) // 2 :]
    while tail and display_width(head + mark + tail) > width:
        head, tail = (head[:-1], tail) if len(head) >= len(tail) else (head, tail[1:])
    return head + mark + tail


def figure(value: float | None, digits: int = 3) -> str:
    """Returns a score as tables print it; a dash where there is none.

    >>> figure(0.8125, 2), figure(None)
    ('0.81', '–')
    """
    return "–" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def forest(rows: Sequence[Mark], limits: Sequence[Mark], *, label: str) -> str:
    """Returns a forest plot: a row per score with its interval, floors and ceiling as upright lines."""
    extra = _LINE * any(_too_wide(row) for row in rows)
    top, step = 10.0 + _LINE * len(limits), 36.0 + extra
    bottom = top + step * len(rows)
    parts = [_grid(top, bottom)]
    for i, limit in enumerate(sorted(limits, key=lambda x: x.value)):
        parts.append(_limit(limit, _LINE * (i + 1), bottom, dash=("2 3", "6 3", "1 5 6 5", "9 3")[i % 4]))
    for i, row in enumerate(rows):
        y = top + step * i + 28 + extra
        index = 1 if row.emphasis else 0
        parts.append(_named(row, _spread(row), y - 12 - extra, below=bool(extra)))
        bar = ""
        if row.low is not None and row.high is not None:
            x1, x2 = _x(row.low), _x(row.high)
            path = f"M{x1:.1f} {y:g}H{x2:.1f}M{x1:.1f} {y - 4:g}v8M{x2:.1f} {y - 4:g}v8"
            bar = f'<path d="{path}" style="stroke:{_COLOURS[index]};stroke-width:2;fill:none"/>'
        parts.append(_titled(row.tooltip, bar + _shape(_x(row.value), y, index)))
    return _svg(parts, bottom + 22, label)


def strips(groups: Sequence[tuple[str, Sequence[Mark]]], *, label: str) -> str:
    """Returns dot strips: a row per group with a dot per score and a bar from the lowest to the highest."""
    step = 36.0
    bottom = 6 + step * len(groups)
    parts = [_grid(6, bottom)]
    for i, (name, marks) in enumerate(groups):
        y = 6 + step * i + 28
        low, high = min(m.value for m in marks), max(m.value for m in marks)
        number = f"{figure(low)} to {figure(high)}" if len(marks) > 1 else figure(low)
        parts.append(_named(Mark(name, low, ""), ("", number), y - 12, below=False))
        bar = f"M{_x(low):.1f} {y:g}H{_x(high):.1f}"
        line = f'<path d="{bar}" style="stroke:{_COLOURS[0]};stroke-width:7;stroke-opacity:.28;stroke-linecap:round"/>'
        parts.append(_titled(f"{name}: {number}", line))
        parts += [_titled(m.tooltip, _shape(_x(m.value), y, 1 if m.emphasis else 0)) for m in marks]
    return _svg(parts, bottom + 22, label)


def slopes(lines: Sequence[Slope], *, label: str) -> str:
    """Returns a slope chart: a line per pair from the score before (left) to the score after (right)."""
    gap = 2 * _LINE + 2 if any(line.detail for line in lines) else _LINE + 2
    top, height, left, right = 30.0, max(150.0, gap * len(lines)), 68.0, 160.0
    bottom = top + height

    def y(value: float) -> float:
        return bottom - min(1.0, max(0.0, value)) * height

    parts = [f'<path d="M{left:g} {top:g}V{bottom:g}M{right:g} {top:g}V{bottom:g}" style="{_HAIR}"/>']
    parts += [_text(x, 14, word, anchor="middle", bold=True) for x, word in ((left, "before 前"), (right, "after 後"))]
    parts += [_text(2, y(v) + 4, f"{v:g}", muted=True) for v in (0, 0.5, 1)]
    befores = {figure(line.before): y(line.before) for line in lines}
    for text, at in zip(befores, _apart(list(befores.values()), _LINE, top, bottom), strict=True):
        parts.append(_text(left - 8, at + 4, text, anchor="end"))
    places = _apart([y(line.after) for line in lines], gap, top + 4, bottom)
    for i, (line, at) in enumerate(zip(lines, places, strict=True)):
        style = f"stroke:{_COLOURS[i % 4]};stroke-width:2;fill:none"
        dash = "" if i < 4 else f' stroke-dasharray="{("6 3", "2 3")[i // 4 % 2]}"'
        drawn = f'<path d="M{left:g} {y(line.before):.1f}L{right:g} {y(line.after):.1f}" style="{style}"{dash}/>'
        drawn += _shape(left, y(line.before), i) + _shape(right, y(line.after), i)
        drawn += f'<path d="M{right + 6:g} {y(line.after):.1f}L{right + 16:g} {at:.1f}" style="{_HAIR}"/>'
        drawn += _shape(right + 22, at, i, size=3.6)
        room = int((WIDTH - right - 30) / _UNIT) - 6
        drawn += _text(right + 30, at + 4, f" {clipped(line.label, room)}", first=figure(line.after))
        drawn += _text(right + 30, at + 4 + _LINE, line.detail, muted=True) if line.detail else ""
        parts.append(_titled(line.tooltip, drawn))
    return _svg(parts, bottom + (_LINE if gap > 20 else 0) + 10, label)


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
        dot = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.2" style="fill:{_COLOURS[0]};fill-opacity:.6"/>'
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


def _limit(limit: Mark, y: float, bottom: float, *, dash: str) -> str:
    """An upright line with its name at its head, on the side where there is room."""
    x, colour = _x(limit.value), _COLOURS[2] if limit.emphasis else _COLOURS[3]
    name = f"{limit.label} {figure(limit.value)}"
    line = f'<path d="M{x:.1f} {y - 9}V{bottom}" stroke-dasharray="{dash}" style="stroke:{colour};stroke-width:1.5"/>'
    to_right = limit.value < 0.5
    return _titled(name, line + _text(x + (4 if to_right else -4), y, name, anchor="start" if to_right else "end"))


def _spread(row: Mark) -> tuple[str, str]:
    """A score and its interval as they stand at the right of a row."""
    bounded = row.low is not None and row.high is not None
    return figure(row.value), f" [{figure(row.low)}–{figure(row.high)}]" if bounded else ""


def _too_wide(row: Mark) -> bool:
    """Whether name and detail need a line each."""
    number = sum(map(display_width, _spread(row)))
    return bool(row.detail) and (display_width(f"{row.label} {row.detail}") + number + 1) * _UNIT > _RIGHT - _LEFT


def _named(row: Mark, number: tuple[str, str], y: float, *, below: bool) -> str:
    """A row's text: name and detail at the left, on one line or two, the number at the right."""
    units = int((_RIGHT - _LEFT) / _UNIT) - sum(map(display_width, number)) - 1
    detail = _text(_LEFT, y + _LINE, clipped(row.detail, int((_RIGHT - _LEFT) / _UNIT)), muted=True) if below else ""
    right = _text(_RIGHT, y, number[1], anchor="end", first=number[0])
    if below or not row.detail:
        return _text(_LEFT, y, clipped(row.label, units)) + detail + right
    return _text(_LEFT, y, row.label, last=f" {row.detail}") + right


def _text(
    x: float,
    y: float,
    text: str,
    *,
    anchor: str = "start",
    bold: bool = False,
    muted: bool = False,
    first: str = "",
    last: str = "",
) -> str:
    """Text with a bolder `first` and a paler `last` part; a halo in the card's colour keeps lines behind it off."""
    style = ("font-weight:600;" if bold else "") + ("fill-opacity:.75;" if muted else "")
    style += "paint-order:stroke;stroke:var(--card, #fff);stroke-width:3px;stroke-linejoin:round"
    lead = f'<tspan style="font-weight:600">{escaped(first)}</tspan>' if first else ""
    tail = f'<tspan style="fill-opacity:.75">{escaped(last)}</tspan>' if last else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" style="{style}">{lead}{escaped(text)}{tail}</text>'


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
        f'aria-label="{escaped(label)}" font-family="{FONTS}" font-size="11.5" fill="currentColor">'
        f"{''.join(parts)}</svg>"
    )
