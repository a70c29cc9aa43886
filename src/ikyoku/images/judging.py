"""What cannot be a radiograph, told from its pixels alone.

Told: sizes and shapes that no radiograph has, colour, an even field, a page of a few tones or mostly white. Not told:
which part of the body it is, whether it was taken of a person, a negative of a radiograph, a screenshot in grey. Those
need the header, or a reader.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

LEAST_SIDE = 64
MOST_SIDE = 16_384
MOST_PIXELS = 1 << 26
MOST_ASPECT = 2.5
LEAST_TONES = 16
MOST_WHITE = 0.6
COLOURED = 40
"""How far apart the channels of a pixel are at least that is coloured: JPEG alone makes greys differ by some 20."""
MOST_COLOURED = 0.02
TINT = 12.0


def shape_fault(rows: int, columns: int) -> str:
    """Returns why an image of this size is no chest radiograph, "" where it may be one.

    >>> shape_fault(1000, 100)
    '1000 x 100 pixels are too long for a chest radiograph: one side is at most 2.5 times the other'
    """
    found = f"{rows} x {columns} pixels are"
    if min(rows, columns) < LEAST_SIDE:
        return f"{found} too small: a radiograph has at least {LEAST_SIDE} on each side"
    if max(rows, columns) > MOST_SIDE or rows * columns > MOST_PIXELS:
        return f"{found} too many: at most {MOST_SIDE} on a side and {MOST_PIXELS >> 20} Mi in all are read"
    if max(rows, columns) > MOST_ASPECT * min(rows, columns):
        return f"{found} too long for a chest radiograph: one side is at most {MOST_ASPECT:g} times the other"
    return ""


def grey_fault(pixels: npt.NDArray[np.uint8], *, white: bool = True) -> str:
    """Returns why a grey image is no radiograph, "" where it may be one.

    Args:
        pixels: uint8 of shape (height, width).
        white: also refuse what is mostly pure white, as a scanned page is.

    >>> grey_fault(np.full((64, 64), 7, np.uint8))
    'the image is one even field: there is nothing on it'
    """
    counts = np.bincount(pixels.ravel(), minlength=256)
    tones = int((counts > 0).sum())
    if tones == 1:
        return "the image is one even field: there is nothing on it"
    if tones < LEAST_TONES:
        return f"the image has {tones} tones of grey, as a drawing or a text has; a radiograph has many"
    if white and counts[255] > MOST_WHITE * pixels.size:
        share = f"{counts[255] / pixels.size:.0%} of the image are pure white"
        return f"{share}, as on a page; a radiograph has a dark background"
    return ""


def colour_fault(pixels: npt.NDArray[np.uint8]) -> str:
    """Returns why an image in colour is no radiograph, "" where it is grey or has only a small coloured mark.

    Args:
        pixels: uint8 RGB of shape (height, width, 3).

    >>> colour_fault(np.tile(np.array([200, 120, 90], np.uint8), (64, 64, 1)))
    '100% of the image are coloured: a photograph, no radiograph; a tinted scan must be saved in grey first'
    """
    spread = pixels.max(axis=2).astype(np.int16) - pixels.min(axis=2)
    coloured = float((spread >= COLOURED).mean())
    if coloured > MOST_COLOURED:
        share = f"{coloured:.0%} of the image are coloured"
    elif float(spread.mean()) > TINT:
        share = "the whole image is tinted"
    else:
        return ""
    return f"{share}: a photograph, no radiograph; a tinted scan must be saved in grey first"


def to_grey(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Returns an RGB image, shape (height, width, 3), in grey by the luma of BT.601.

    >>> to_grey(np.full((1, 2, 3), 77, np.uint8)).tolist()
    [[77, 77]]
    """
    luma = pixels.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    return np.clip(np.rint(luma), 0, 255).astype(np.uint8)
