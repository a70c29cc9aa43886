"""Values within their bounds, and gains and losses around none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ikyoku.charts.svg import (
    COLOURS,
    HAIR,
    LEFT,
    RIGHT,
    UNIT,
    WIDTH,
    bar,
    clipped,
    display_width,
    place,
    shape,
    svg,
    text,
    titled,
)


@dataclass(frozen=True, slots=True)
class Value:
    """A value between two bounds, as a bar from zero or from the bound nearest to it.

    `number` is how it is written, `other` is a value to compare with, drawn as a hollow mark. With equal bounds there
    is nothing to draw but the number.
    """

    label: str
    value: float
    low: float
    high: float
    number: str
    tooltip: str
    other: float | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A gain (above 0) or a loss, and how it is written."""

    label: str
    value: float
    number: str
    tooltip: str


def values(rows: Sequence[Value], *, label: str, mark: int = 2) -> str:
    """Returns a row for each value: its name and number, below them its bar between its bounds.

    Args:
        rows: the values.
        label: what the plot shows, for readers who hear it.
        mark: shape and colour of the hollow marks, by number.
    """
    if not rows:
        return _nothing(label)
    step, parts = 32.0, []
    for i, row in enumerate(rows):
        y = step * i + 13
        parts += _named(row.label, row.number, y)
        if row.low < row.high:
            zero = _at(min(max(0.0, row.low), row.high), row)
            here = _at(row.value, row)
            track = f'<path d="M{LEFT:g} {y + 6:g}H{RIGHT:g}v8H{LEFT:g}z" style="{HAIR}"/>'
            drawn = track + bar(min(zero, here), y + 6, abs(here - zero), 8, f"fill:{COLOURS[0]}")
            drawn += f'<path d="M{zero:.1f} {y + 4:g}v12" style="{HAIR};stroke-opacity:.8"/>' if row.low < 0 else ""
            drawn += "" if row.other is None else shape(_at(row.other, row), y + 10, mark, 3.8, hollow=True)
            parts.append(titled(row.tooltip, drawn))
    return svg(parts, step * len(rows) + 2, label)


def changes(rows: Sequence[Change], *, left: str, right: str, label: str) -> str:
    """Returns a row for each change: a bar to the right of an upright line where it is a gain, else to the left.

    Args:
        rows: the changes.
        left: what a loss means, at the left of the head.
        right: what a gain means.
        label: what the plot shows, for readers who hear it.
    """
    if not rows:
        return _nothing(label)
    reach = max([1e-9, *(abs(row.value) for row in rows)])
    top, step, middle = 22.0, 34.0, WIDTH / 2
    parts = []
    room = int((RIGHT - LEFT) / 2 / UNIT) - 2
    parts.append(text(middle - 8, 12, f"◂ {clipped(left, room)}", anchor="end", muted=True))
    parts.append(text(middle + 8, 12, f"{clipped(right, room)} ▸", muted=True))
    for i, row in enumerate(rows):
        y = top + step * i + 13
        parts += _named(row.label, row.number, y)
        length = (RIGHT - LEFT) / 2 * row.value / reach
        colour = COLOURS[0] if row.value >= 0 else COLOURS[1]
        drawn = bar(min(middle, middle + length), y + 5, abs(length), 10, f"fill:{colour}")
        drawn += f'<path d="M{middle:g} {y + 3:g}v14" style="{HAIR};stroke-opacity:.8"/>'
        parts.append(titled(row.tooltip, drawn))
    return svg(parts, top + step * len(rows) + 2, label)


def _nothing(label: str) -> str:
    return svg([text(WIDTH / 2, 30, "nothing to show", anchor="middle", muted=True)], 50, label)


def _at(value: float, row: Value) -> float:
    return place((value - row.low) / (row.high - row.low))


def _named(label: str, number: str, y: float) -> list[str]:
    room = int((RIGHT - LEFT) / UNIT) - display_width(number) - 1
    return [text(LEFT, y, clipped(label, room)), text(RIGHT, y, "", anchor="end", first=number)]
