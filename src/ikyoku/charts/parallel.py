"""Candidates as lines over the parameters of a search, one row a parameter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ikyoku.charts.points import point
from ikyoku.charts.svg import (
    COLOURS,
    HAIR,
    LEFT,
    LINE,
    RIGHT,
    UNIT,
    WIDTH,
    clipped,
    display_width,
    figure,
    shape,
    svg,
    text,
    titled,
)
from ikyoku.charts.svg import escaped as safe

_START, _END, _TOP = 176.0, RIGHT - 20.0, 16.0
_ROOM = int((_START - 30 - LEFT) / UNIT)
_MOST_POINTS = 24_000
_BANDS = (
    (0.5, "the lower half", "currentColor", 0.7, 0.2),
    (0.75, "third quarter", COLOURS[0], 0.8, 0.3),
    (0.9, "up to the best tenth", COLOURS[0], 1.0, 0.55),
    (1.0, "the best tenth", COLOURS[0], 1.5, 0.95),
)
"""Up to which rank, what it is called, colour, width and opacity of its lines."""
_FEW = 200  # so many lines are drawn at full strength


@dataclass(frozen=True, slots=True)
class Axis:
    """A parameter with its bounds; `detail` stands below its name, `name` is all of it, in tooltips."""

    label: str
    low: float
    high: float
    detail: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """A candidate: a value for each axis, its fitness, and a tooltip."""

    values: Sequence[float]
    fitness: float
    tooltip: str


def parallel(
    axes: Sequence[Axis],
    lines: Sequence[Line],
    *,
    winner: Line | None = None,
    uniform: Line | None = None,
    label: str,
) -> str:
    """Returns parallel coordinates: a row for each parameter from its lower to its upper bound, a line per candidate.

    The rows lie one below the other, so that names stay readable and forty of them fit. The better a candidate, the
    stronger its line, in four classes by rank; where there are too many for a page every second, third, … by rank is
    drawn, the best among them.

    Args:
        axes: the parameters, in the order in which they are drawn.
        lines: candidates that were evaluated to the end.
        winner: the one that was chosen, drawn on top.
        uniform: the uniform merge, to compare with.
        label: what the plot shows, for readers who hear it.
    """
    if not axes or not lines:
        return svg([text(WIDTH / 2, 30, "no candidate was evaluated", anchor="middle", muted=True)], 50, label)
    step = 34.0 if any(axis.detail for axis in axes) else 24.0
    rows = [_TOP + step * i for i in range(len(axes))]
    best_last = sorted(lines, key=lambda line: line.fitness)
    parts, legend = _bands(axes, best_last, rows)
    parts += [_axis(axis, y, step) for axis, y in zip(axes, rows, strict=True)]
    for line, name, chosen in ((uniform, "uniform merge 均等マージ", False), (winner, "chosen 選択", True)):
        if line is not None:
            parts.append(_marked(axes, line, rows, name, winner=chosen))
            sample = f'<path d="M12 0H34" style="{_stroke(chosen)}"/>{_mark(23, 0, chosen)}'
            legend.append((sample, name, figure(line.fitness, 4)))
    y = rows[-1] + 22
    for mark, name, number in legend:
        y += LINE + 3
        room = int((RIGHT - 42) / UNIT) - display_width(number) - 1
        parts.append(f'<g transform="translate(0 {y - 4:g})"><title>{safe(name)}</title>{mark}</g>')
        parts += [text(42, y, clipped(name, room)), text(RIGHT, y, number, anchor="end", muted=True)]
    return svg(parts, y + 8, label)


def drawn_every(lines: int, axes: int) -> int:
    """Returns which of so many candidates are drawn: 1 for all, 2 for every second by rank, and so on.

    >>> drawn_every(400, 10), drawn_every(1000, 40)
    (1, 2)
    """
    return max(1, math.ceil(lines * axes / _MOST_POINTS))


def _bands(
    axes: Sequence[Axis], lines: Sequence[Line], rows: Sequence[float]
) -> tuple[list[str], list[tuple[str, str, str]]]:
    """The lines from the worst to the best, a group for each class, and what the legend says of the classes."""
    stride, parts, legend, first = drawn_every(len(lines), len(axes)), [], [], 0
    thin = math.sqrt(min(1.0, _FEW / (len(lines) / stride)))
    for upto, name, colour, width, opacity in _BANDS:
        last = min(len(lines), round(upto * len(lines))) if upto < 1 else len(lines)
        found = [line for i, line in enumerate(lines) if first <= i < last and (len(lines) - 1 - i) % stride == 0]
        if last > first:
            low, high = lines[first].fitness, lines[last - 1].fitness
            drawn = "".join(
                f'<path d="{_path(axes, line, rows)}"><title>{safe(line.tooltip)}</title></path>' for line in found
            )
            style = f"stroke:{colour};stroke-width:{width * thin:.2f};stroke-opacity:{opacity * thin:.2f};fill:none"
            parts.append(f'<g style="{style}"><title>{name}</title>{drawn}</g>')
            sample = f'<path d="M12 0H34" style="stroke:{colour};stroke-width:2.4;stroke-opacity:{opacity}"/>'
            legend.append((sample, name, f"{figure(low)} to {figure(high)}"))
        first = last
    return parts, legend[::-1]


def _x(axis: Axis, value: float) -> float:
    span = axis.high - axis.low
    share = (value - axis.low) / span if span else 0.5
    return _START + (_END - _START) * min(1.0, max(0.0, share))


def _path(axes: Sequence[Axis], line: Line, rows: Sequence[float]) -> str:
    places = [f"{_x(a, v):.1f} {y:g}" for a, v, y in zip(axes, line.values, rows, strict=True)]
    return f"M{'L'.join(places)}" if len(places) > 1 else f"M{places[0]}v6"


def _stroke(winner: bool) -> str:
    kind = "currentColor;stroke-width:2.6" if winner else f"{COLOURS[2]};stroke-width:2;stroke-dasharray:5 3"
    return f"fill:none;stroke:{kind}"


def _mark(x: float, y: float, winner: bool) -> str:
    """The chosen one's mark is a ringed circle in the colour of the text, the uniform merge's a square."""
    if not winner:
        return shape(x, y, 2, 3.4)
    style = "fill:currentColor;stroke:var(--card, #fff);stroke-width:1.4"
    return f'<path d="{point(x, y, 0, 4.4)}" style="{style}"/>'


def _axis(axis: Axis, y: float, step: float) -> str:
    """The axis over the lines, its bounds at its ends, its name at the left."""
    line = f'<path d="M{_START:g} {y:g}H{_END:g}M{_START:g} {y - 4:g}v8M{_END:g} {y - 4:g}v8" style="{_AXIS}"/>'
    ends = text(_START - 6, y + 4, f"{axis.low:g}", anchor="end", muted=True) + text(
        _END + 6, y + 4, f"{axis.high:g}", muted=True
    )
    middle = y + 4 - (LINE / 2 - 1) * bool(axis.detail)
    name = text(LEFT, middle, clipped(axis.label, _ROOM), bold=True)
    detail = text(LEFT, middle + LINE - 1, clipped(axis.detail, _ROOM), muted=True) if axis.detail else ""
    tip = f"{_full(axis)}: {axis.low:g} to {axis.high:g}"
    return titled(tip, line + ends + name + detail)


def _full(axis: Axis) -> str:
    return axis.name or " ".join(filter(None, [axis.label, axis.detail]))


_AXIS = f"{HAIR};stroke-opacity:.7"


def _marked(axes: Sequence[Axis], line: Line, rows: Sequence[float], name: str, *, winner: bool) -> str:
    """One candidate over all others, with a mark on each axis."""
    path = _path(axes, line, rows)
    edge = f'<path d="{path}" style="stroke:var(--card, #fff);stroke-width:5;fill:none;stroke-opacity:.9"/>'
    drawn = [titled(f"{name}: {line.tooltip}", f'{edge}<path d="{path}" style="{_stroke(winner)}"/>')]
    for axis, value, y in zip(axes, line.values, rows, strict=True):
        drawn.append(titled(f"{name}: {_full(axis)} = {value:g}", _mark(_x(axis, value), y, winner)))
    return "".join(drawn)
