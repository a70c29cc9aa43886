"""Many points in little markup: the style stands once in a group, a point is a path with its tooltip."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from ikyoku.charts.svg import COLOURS, escaped

Glyph = Literal["filled", "hollow", "plus", "cross", "below"]
"""What marks a point; filled and hollow ones are circles (index 0) or diamonds (index 1)."""

GLYPHS: tuple[Glyph, ...] = ("filled", "hollow", "plus", "cross", "below")


def point(x: float, y: float, index: int, size: float, glyph: Glyph = "filled") -> str:
    """Returns the path of a point.

    >>> point(10, 20, 0, 2, "plus")
    'M8.0 20.0h4M10.0 18.0v4'
    """
    s, d = round(size, 2), round(size * 1.3, 2)
    if glyph == "plus":
        return f"M{x - s:.1f} {y:.1f}h{2 * s:g}M{x:.1f} {y - s:.1f}v{2 * s:g}"
    if glyph == "cross":
        return f"M{x - s:.1f} {y - s:.1f}l{2 * s:g} {2 * s:g}m0 {-2 * s:g}l{-2 * s:g} {2 * s:g}"
    if glyph == "below":
        return f"M{x - s:.1f} {y - s:.1f}h{2 * s:g}l{-s:g} {d:g}z"
    if index % 2:
        return f"M{x:.1f} {y - d:.1f}l{d:g} {d:g}l{-d:g} {d:g}l{-d:g} {-d:g}z"
    return f"M{x - s:.1f} {y:.1f}a{s:g} {s:g} 0 1 0 {2 * s:g} 0a{s:g} {s:g} 0 1 0 {-2 * s:g} 0z"


def glyph_style(index: int, glyph: Glyph) -> str:
    """Returns the style of points of a kind: four colours, filled or as outlines."""
    colour = COLOURS[index % 4]
    if glyph in ("filled", "below"):
        return f"fill:{colour};fill-opacity:.8"
    return f"fill:none;stroke:{colour};stroke-width:1.1;stroke-opacity:.8"


def scattered(
    points: Iterable[tuple[float, float, str]], index: int, *, title: str, size: float, glyph: Glyph = "filled"
) -> str:
    """Returns points of one kind as a group, nothing for none.

    Args:
        points: x, y and tooltip of each.
        index: shape and colour, by the number of what they belong to.
        title: what they are, for the whole group.
        size: half their width.
        glyph: how they are drawn.
    """
    drawn = "".join(
        f'<path d="{point(x, y, index, size, glyph)}"><title>{escaped(tip)}</title></path>' for x, y, tip in points
    )
    return f'<g style="{glyph_style(index, glyph)}"><title>{escaped(title)}</title>{drawn}</g>' if drawn else ""
