"""The fitness of every candidate of a search, with the best so far; two fitnesses against each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from ikyoku.charts.loss import ticks
from ikyoku.charts.points import Glyph, glyph_style, point, scattered
from ikyoku.charts.svg import (
    COLOURS,
    HAIR,
    LEFT,
    RIGHT,
    UNIT,
    WIDTH,
    apart,
    clipped,
    display_width,
    escaped,
    figure,
    shape,
    svg,
    text,
    titled,
)

Kind = Literal["complete", "pruned", "duplicate", "fail"]
Scale = Callable[[float], float]

_START, _END, _TOP, _BOTTOM, _ROW = 44.0, WIDTH - 26.0, 22.0, 214.0, 17.0
_GLYPHS: dict[Kind, Glyph] = {"pruned": "hollow", "duplicate": "plus", "complete": "filled", "fail": "cross"}
_WORDS: dict[Kind, str] = {
    "pruned": "stopped early (partial) 途中打切",
    "duplicate": "values evaluated before 重複",
    "complete": "evaluated to the end 評価完了",
    "fail": "failed 失敗",
}


@dataclass(frozen=True, slots=True)
class Trial:
    """One candidate: its fitness on each objective, none where it failed."""

    number: int
    values: tuple[float, ...]
    kind: Kind
    tooltip: str


@dataclass(frozen=True, slots=True)
class Trace:
    """One search: its candidates, the best fitness so far at each of them, and the number of the one that won.

    `front` holds the numbers of those that no other beats where there are several objectives.
    """

    label: str
    trials: Sequence[Trial]
    best: Sequence[float | None] = ()
    winner: int | None = None
    front: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Level:
    """A fitness to compare with, drawn as a line over the whole plot; `index` is its colour."""

    label: str
    value: float
    index: int = 3


def history(traces: Sequence[Trace], levels: Sequence[Level], *, label: str) -> str:
    """Returns the fitness over the candidates: a mark each, a line for the best so far, and what to compare with.

    Values far below the rest stand at the bottom edge, so that what matters is not pressed together.

    Args:
        traces: one search, or two: the first one's marks are circles, the second one's diamonds.
        levels: the baselines, on the same questions.
        label: what the plot shows, for readers who hear it.
    """
    values = [t.values[0] for trace in traces for t in trace.trials if t.values]
    if not values:
        return _nothing(label)
    marks, numbers = ticks(_floor(values, levels), max([*values, *(level.value for level in levels)])), _last(traces)
    low, high = marks[0], marks[-1]

    def x(number: float) -> float:
        return _START + 4 + (_END - _START - 8) * number / max(1, numbers)

    def y(value: float) -> float:
        return _BOTTOM - (_BOTTOM - _TOP) * max(0.0, value - low) / (high - low)

    # Below the axis, or it would seem that they have a value.
    strip = 7.0 * len(traces) + 11 if any(map(_lost, traces)) else 0.0
    end = _BOTTOM + strip + 32
    parts = [*_grid(marks, y), *_numbers([v for v in ticks(0, numbers) if v <= numbers], x, strip)]
    parts += [text(_START - 5, _BOTTOM + strip / 2 + 8, "failed", anchor="end", muted=True)] if strip else []
    parts += [text(LEFT, 12, "fitness 適応度", bold=True), text(_END, end, "candidate 候補", anchor="end", bold=True)]
    ordered = sorted(levels, key=lambda level: -level.value)
    parts += _levels(ordered, y)
    size = 2.6 if numbers < 300 else 2.0
    behind = list(reversed(list(enumerate(traces))))  # the first one is drawn last, on top
    for index, trace in behind:
        parts += _points(trace, index, size, low, x, y)
    parts += [_best(trace, index, x, y) for index, trace in behind]
    parts += [
        _chosen(x(t.number), y(t.values[0]), index, f"{trace.label}: chosen. {t.tooltip}")
        for index, trace in behind
        for t in trace.trials
        if t.number == trace.winner and t.values
    ]
    below = sum(value < low for value in values)
    drawn, bottom = _legend(traces, ordered, below, low, end + 10)
    return svg([*parts, *drawn], bottom, label)


def front(
    traces: Sequence[Trace], levels: Sequence[tuple[str, float, float]], *, names: tuple[str, str], label: str
) -> str:
    """Returns the candidates on two objectives, with a line through those that no other beats.

    Args:
        traces: one search, or two.
        levels: name and values of what to compare with.
        names: what the two objectives are called.
        label: what the plot shows, for readers who hear it.
    """
    drawn = [(t, i) for i, trace in enumerate(traces) for t in trace.trials if len(t.values) > 1]
    if not drawn:
        return _nothing(label)
    places = [t.values[:2] for t, _ in drawn] + [(a, b) for _, a, b in levels]
    across, up = (ticks(min(p[i] for p in places), max(p[i] for p in places)) for i in (0, 1))

    def x(value: float) -> float:
        return _START + 4 + (_END - _START - 8) * (value - across[0]) / (across[-1] - across[0])

    def y(value: float) -> float:
        return _BOTTOM - (_BOTTOM - _TOP) * (value - up[0]) / (up[-1] - up[0])

    room = int((RIGHT - LEFT) / UNIT) - 2
    parts = [*_grid(up, y), *_numbers(across, x)]
    parts += [text(LEFT, 12, f"↑ {clipped(names[1], room)}", bold=True)]
    parts += [text(_END, _BOTTOM + 32, f"{clipped(names[0], room)} →", anchor="end", bold=True)]
    for index, trace in reversed(list(enumerate(traces))):
        whole = {t.number: t for t in trace.trials if len(t.values) > 1}
        rest = [(x(t.values[0]), y(t.values[1]), t.tooltip) for n, t in whole.items() if n not in trace.front]
        best = sorted((whole[n] for n in trace.front if n in whole), key=lambda t: t.values)
        parts.append(scattered(rest, index, title=trace.label, size=2.2, glyph="hollow"))
        corners = [(x(t.values[0]), y(t.values[1]), t.tooltip) for t in best]
        parts.append(_stairs(corners, index, f"{trace.label}: not beaten by another"))
        parts.append(scattered(corners, index, title=f"{trace.label}: not beaten by another", size=3.2))
        chosen = [t for t in best if t.number == trace.winner]
        parts += [_chosen(x(t.values[0]), y(t.values[1]), index, f"chosen. {t.tooltip}") for t in chosen]
    for name, a, b in levels:
        parts.append(titled(f"{name}: {figure(a)}, {figure(b)}", shape(x(a), y(b), 2, 5)))
    rows = [(_sample(i, "filled"), f"{t.label}: not beaten 非劣解", str(len(t.front))) for i, t in enumerate(traces)]
    rows += [(_sample(i, "hollow"), f"{t.label}: the others", _count(t, t.front)) for i, t in enumerate(traces)]
    rows += [(_chosen(23, 0, 0, "chosen", 3.4), "chosen by the weighted mean 選択", "")]
    rows += [(shape(23, 0, 2, 5), name, f"{figure(a)}, {figure(b)}") for name, a, b in levels]
    rows += [(_sample(i, "cross"), f"{t.label}: failed 失敗", str(n)) for i, t in enumerate(traces) if (n := _lost(t))]
    found, bottom = _rows(rows, _BOTTOM + 42)
    return svg([*parts, *found], bottom, label)


def _nothing(label: str) -> str:
    return svg([text(WIDTH / 2, 30, "no candidate was evaluated", anchor="middle", muted=True)], 50, label)


def _last(traces: Sequence[Trace]) -> int:
    return max(t.number for trace in traces for t in trace.trials)


def _lost(trace: Trace) -> int:
    return sum(not t.values for t in trace.trials)


def _count(trace: Trace, front: Sequence[int]) -> str:
    return str(sum(bool(t.values) for t in trace.trials) - len(front))


def _floor(values: Sequence[float], levels: Sequence[Level]) -> float:
    """The lowest value that is not far below the rest: Tukey's fence, at or below every level."""
    ordered = sorted(values)
    first, third = ordered[len(ordered) // 4], ordered[3 * len(ordered) // 4]
    fence = min([first - 1.5 * (third - first), *(level.value for level in levels)])
    return min([v for v in ordered if v >= fence] + [level.value for level in levels])


def _grid(marks: Sequence[float], y: Scale) -> list[str]:
    lines = "".join(f"M{_START:g} {y(v):.1f}H{_END:g}" for v in marks)
    drawn = [f'<path d="{lines}" style="{HAIR};stroke-opacity:.14"/>']
    return drawn + [text(_START - 5, y(v) + 4, f"{v:g}", anchor="end", muted=True) for v in marks]


def _numbers(marks: Sequence[float], x: Scale, strip: float = 0.0) -> list[str]:
    axis = f'<path d="M{_START:g} {_BOTTOM:g}H{_END:g}" style="{HAIR}"/>'
    return [axis] + [text(x(v), _BOTTOM + strip + 17, f"{v:g}", anchor="middle", muted=True) for v in marks]


def _levels(levels: Sequence[Level], y: Scale) -> list[str]:
    """Lines of what is compared with, highest first, each with its letter at the right."""
    parts = []
    gap = min(11.0, (_BOTTOM - _TOP) / max(1, len(levels) - 1))
    places = apart([y(level.value) for level in levels], gap, _TOP, _BOTTOM)
    for i, (level, at) in enumerate(zip(levels, places, strict=True)):
        colour, height = COLOURS[level.index % 4], y(level.value)
        path = f"M{_START:g} {height:.1f}H{_END:g}"
        style = f"stroke:{colour};stroke-width:1.3;fill:none;stroke-dasharray:5 3"
        link = f'<path d="M{_END:g} {height:.1f}L{_END + 8:g} {at:.1f}" style="{HAIR}"/>'
        letter = text(_END + 10, at + 4, _letter(i), bold=True)
        parts.append(
            titled(f"{level.label}: {figure(level.value)}", f'<path d="{path}" style="{style}"/>{link}{letter}')
        )
    return parts


def _letter(index: int) -> str:
    return "abcdefghijklmnopqrstuvwxyz"[index] if index < 26 else "·"


def _points(trace: Trace, index: int, size: float, low: float, x: Scale, y: Scale) -> list[str]:
    parts = []
    for kind, glyph in _GLYPHS.items():
        found = [t for t in trace.trials if t.kind == kind]
        title = f"{trace.label}: {_WORDS[kind]}"
        inside = [(x(t.number), y(t.values[0]), t.tooltip) for t in found if t.values and t.values[0] >= low]
        under = [(x(t.number), _BOTTOM, t.tooltip) for t in found if t.values and t.values[0] < low]
        lost = [(x(t.number), _BOTTOM + 11 + 7 * index, t.tooltip) for t in found if not t.values]
        parts.append(scattered(under, index, title=title, size=size + 0.6, glyph="below"))
        parts.append(scattered(inside, index, title=title, size=size, glyph=glyph))
        parts.append(scattered(lost, index, title=title, size=size, glyph="cross"))
    return parts


def _best(trace: Trace, index: int, x: Scale, y: Scale) -> str:
    """The best so far as steps, nothing where there is none."""
    path, last = "", None
    for trial, value in zip(trace.trials, trace.best, strict=False):
        if value is not None and value != last:
            at = f"{x(trial.number):.1f}"
            path += f"H{at}V{y(value):.1f}" if path else f"M{at} {y(value):.1f}"
            last = value
    if last is None:
        return ""
    path += f"H{x(trace.trials[-1].number):.1f}"
    edge = f'<path d="{path}" style="stroke:var(--card, #fff);stroke-width:4.5;fill:none;stroke-opacity:.8"/>'
    line = f'<path d="{path}" style="{_line(index)}"/>'
    return titled(f"{trace.label}: best so far, at last {figure(last, 4)}", edge + line)


def _chosen(x: float, y: float, index: int, title: str, size: float = 5.2) -> str:
    """A larger mark in a ring."""
    ring = f'<path d="{point(x, y, index, size * 1.45)}" style="fill:none;stroke:currentColor;stroke-width:1.6"/>'
    return titled(title, ring + shape(x, y, index, size))


def _stairs(corners: Sequence[tuple[float, float, str]], index: int, title: str) -> str:
    """The edge of what is reached: right of and above it nothing was found."""
    if len(corners) < 2:
        return ""
    path = f"M{corners[0][0]:.1f} {corners[0][1]:.1f}" + "".join(f"V{y:.1f}H{x:.1f}" for x, y, _ in corners[1:])
    return titled(title, f'<path d="{path}" style="{_line(index)};stroke-opacity:.6"/>')


def _line(index: int) -> str:
    return f"stroke:{COLOURS[index % 4]};stroke-width:2;fill:none" + (";stroke-dasharray:7 3" if index % 2 else "")


def _sample(index: int, glyph: Glyph) -> str:
    """A mark as the legend shows it, around y = 0."""
    return f'<path d="{point(23, 0, index, 3.2, glyph)}" style="{glyph_style(index, glyph)}"/>'


def _legend(
    traces: Sequence[Trace], levels: Sequence[Level], below: int, low: float, y: float
) -> tuple[list[str], float]:
    rows: list[tuple[str, str, str]] = []
    for i, trace in enumerate(traces):
        best = next((value for value in reversed(trace.best) if value is not None), None)
        line = f'<path d="M12 0H34" style="{_line(i)}"/>' + _sample(i, "filled")
        rows.append((line, f"{trace.label}, best so far 最良値", figure(best, 4)))
    marks = "".join(_chosen(23 + 14 * i - 7 * (len(traces) - 1), 0, i, t.label, 3.4) for i, t in enumerate(traces))
    rows.append((marks, "chosen of the finalists 選択", ""))
    for kind in ("pruned", "duplicate", "fail"):
        counts = [sum(t.kind == kind for t in trace.trials) for trace in traces]
        if any(counts):
            marks = "".join(
                f'<g transform="translate({12 * i - 6 * (len(traces) - 1)} 0)"><title>{escaped(trace.label)}</title>'
                f"{_sample(i, _GLYPHS[kind])}</g>"
                for i, trace in enumerate(traces)
            )
            rows.append((marks, _WORDS[kind], " + ".join(map(str, counts))))
    if below:
        rows.append((_sample(0, "below"), f"lower than {low:g}, at the edge 枠外", str(below)))
    for i, level in enumerate(levels):
        style = f"stroke:{COLOURS[level.index % 4]};stroke-width:1.3;fill:none;stroke-dasharray:5 3"
        line = f'<path d="M12 0H34" style="{style}"/>'
        rows.append((line, f"{_letter(i)}  {level.label}", figure(level.value, 4)))
    return _rows(rows, y)


def _rows(rows: Sequence[tuple[str, str, str]], y: float) -> tuple[list[str], float]:
    """Lines of a legend: a mark, a name, a number; and where they end."""
    parts = []
    for mark, name, number in rows:
        y += _ROW
        room = int((RIGHT - 42) / UNIT) - display_width(number) - 1
        drawn = f'<g transform="translate(0 {y - 4:g})"><title>{escaped(name)}</title>{mark}</g>' if mark else ""
        parts += [
            drawn,
            text(42, y, clipped(name, room)),
            text(RIGHT, y, "", anchor="end", first=number) if number else "",
        ]
    return parts, y + 8
