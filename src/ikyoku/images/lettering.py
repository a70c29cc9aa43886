"""Lines of letters drawn into a radiograph, told from side markers.

A side marker (R, L, a ring, PA, the initials of whoever took it) is a few glyphs, and normal. A name, a date or a
number is a line: five or more separate marks, all pure white (or pure black), each far brighter (darker) than what is
around it, of one height, one beside the other. Ribs and lines are not separate marks of one height; electrodes are few
and far apart. What it misses: letters in grey, letters of less than some 25 pixels, letters that touch or lie
over bone as bright as they, fewer than five, upright lines of text. It is a reason to look, not a proof of either.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

LEAST_GLYPHS = 5
_HEIGHTS = (5, 0.08)  # of a glyph: pixels, share of the image's longer side
_CONTRAST = 60
_ALIKE = 0.45  # heights differ by at most this share
_GAP = 1.6  # between neighbours, in heights

Box = tuple[int, int, int, int]
"""Top, bottom, left, right; the second and the fourth are outside."""


def text_lines(pixels: npt.NDArray[np.uint8]) -> int:
    """Returns how many lines of letters seem to be drawn into an image, uint8 of shape (height, width).

    >>> text_lines(np.full((200, 200), 90, np.uint8))
    0
    """
    lines = 0
    for plane in (pixels, 255 - pixels):
        lines += len(_lines(_glyphs(plane)))
    return lines


def _glyphs(pixels: npt.NDArray[np.uint8]) -> list[Box]:
    """Returns the boxes of pure white marks that stand out from what is around them."""
    from scipy import ndimage

    white = pixels >= max(250, int(pixels.max()) - 2)
    if not white.any() or white.mean() > 0.3:
        return []
    labels, count = ndimage.label(white, np.ones((3, 3)))
    if count > 20_000:  # noise at the top of the scale
        return []
    most = _HEIGHTS[1] * max(pixels.shape)
    boxes = []
    for index, (down, across) in enumerate(ndimage.find_objects(labels), start=1):
        height, width = down.stop - down.start, across.stop - across.start
        if not _HEIGHTS[0] <= height <= most or width > 1.6 * height or height > 9 * width:
            continue
        rim = max(2, height // 6)
        top, left = max(0, down.start - rim), max(0, across.start - rim)
        around = pixels[top : down.stop + rim, left : across.stop + rim]
        inside = labels[top : down.stop + rim, left : across.stop + rim] == index
        ink = inside.sum() / (height * width)
        ground = float(np.median(around[~inside]))
        if 0.08 <= ink <= 0.95 and ground <= 255 - _CONTRAST:
            boxes.append((down.start, down.stop, across.start, across.stop))
    return boxes


def _lines(boxes: list[Box]) -> list[list[Box]]:
    """Returns the groups of boxes that stand in a row, each of at least five."""
    left = sorted(boxes, key=lambda box: box[2])
    lines: list[list[Box]] = []
    while left:
        line = [left.pop(0)]
        for box in list(left):
            if _follows(line[-1], box, max(b - a for a, b, _, _ in line)):
                line.append(box)
                left.remove(box)
        if len(line) >= LEAST_GLYPHS and _alike(line):
            lines.append(line)
    return lines


def _follows(last: Box, box: Box, height: int) -> bool:
    overlap = min(last[1], box[1]) - max(last[0], box[0])
    least = min(last[1] - last[0], box[1] - box[0])
    return overlap >= 0.5 * least and box[2] - last[3] <= _GAP * height and box[2] > last[2]


def _alike(line: list[Box]) -> bool:
    heights = sorted(b - a for a, b, _, _ in line)
    middle = heights[len(heights) // 2]
    return sum(abs(h - middle) <= _ALIKE * middle for h in heights) >= LEAST_GLYPHS
