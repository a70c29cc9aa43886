"""Stored values to what a person sees: look-up tables, windows, polarity, eight bits, size."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from ikyoku.types import Picture

Function = Literal["LINEAR", "LINEAR_EXACT", "SIGMOID"]
Floats = npt.NDArray[np.float32]
Grey = npt.NDArray[np.uint8]

ROBUST = (0.5, 99.5)
"""Percentiles that become black and white where an image says no window: one marker or dead pixel does not set them."""


@dataclass(frozen=True, slots=True)
class Window:
    """The values that are shown: `center` and `width` in the units of the values, and the shape between them."""

    center: float
    width: float
    function: Function = "LINEAR"


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A look-up table: `first` is the value that its first entry belongs to, `bits` the depth of its entries."""

    first: int
    entries: npt.NDArray[np.uint16]
    bits: int


def lookup(values: npt.NDArray[np.generic], table: Table) -> Floats:
    """Returns the table's entry for each value; values before its first and after its last get those.

    >>> table = Table(10, np.array([0, 5, 9], np.uint16), 8)
    >>> lookup(np.array([[3, 11, 40]]), table).tolist()
    [[0.0, 5.0, 9.0]]

    Reference:
        DICOM PS3.3 C.11.1.1 and C.11.2.1.1.
    """
    index = np.clip(np.rint(values.astype(np.float64)) - table.first, 0, table.entries.size - 1)
    return np.asarray(table.entries[index.astype(np.intp)], np.float32)


def window(values: npt.NDArray[np.generic], center: float, width: float, *, function: Function = "LINEAR") -> Floats:
    """Returns values through a window: 0 is black, 1 is white.

    Args:
        values: any shape.
        center: in the units of the values.
        width: at least 1 for LINEAR, above 0 for the others.
        function: LINEAR takes the window as centred between whole numbers, LINEAR_EXACT as it stands, SIGMOID bends.

    Raises:
        ValueError: when the width is too small or a number is not finite.

    >>> window(np.array([0, 50, 100]), 50.5, 101).tolist()
    [0.0, 0.5, 1.0]

    Reference:
        DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3.
    """
    least = 1.0 if function == "LINEAR" else 0.0
    if not (np.isfinite(center) and np.isfinite(width)) or width < least or width == 0:
        raise ValueError(f"a window of width {width:g} at {center:g}; {function} needs a width of at least 1")
    x = values.astype(np.float32)
    with np.errstate(over="ignore"):
        if function == "SIGMOID":
            return np.asarray(1 / (1 + np.exp(-4 * (x - np.float32(center)) / np.float32(width))), np.float32)
        if function == "LINEAR":
            if width == 1:
                return (x > center - 0.5).astype(np.float32)
            unit = (x - np.float32(center - 0.5)) / np.float32(width - 1) + np.float32(0.5)
        else:
            unit = (x - np.float32(center)) / np.float32(width) + np.float32(0.5)
    return np.asarray(np.clip(unit, 0, 1), np.float32)


def robust_window(values: npt.NDArray[np.generic], *, outside: npt.NDArray[np.bool_] | None = None) -> Window:
    """Returns the window from one robust percentile to the other, without the pixels that lie outside the image.

    >>> robust_window(np.arange(1001))
    Window(center=500.0, width=990.0, function='LINEAR_EXACT')
    """
    inside = values.ravel() if outside is None or outside.all() else values[~outside]
    low, high = (float(x) for x in np.percentile(inside.astype(np.float32), ROBUST))
    if high <= low:  # more than 99 of 100 pixels are alike
        low, high = float(inside.min()), float(inside.max())
    return Window((low + high) / 2, max(high - low, 1e-6), "LINEAR_EXACT")


def to_uint8(unit: Floats) -> Grey:
    """Returns 0 to 1 as 0 to 255, rounded to the nearest."""
    return np.asarray(np.rint(unit * np.float32(255)), np.uint8)


def display(
    values: npt.NDArray[np.generic],
    voi: Window | Table | None,
    *,
    inverted: bool = False,
    outside: npt.NDArray[np.bool_] | None = None,
) -> Grey:
    """Returns an image as it is shown: uint8, 0 black, of the same shape.

    Args:
        values: after the modality transformation, shape (height, width).
        voi: a window, a look-up table, or None: then the robust percentiles are black and white.
        inverted: true where low values are bright (MONOCHROME1).
        outside: true where there is no image (padding); these pixels come out black.

    >>> display(np.array([[0, 50, 100]]), Window(50.5, 101), inverted=True).tolist()
    [[255, 128, 0]]

    Reference:
        The grayscale transformations of DICOM PS3.4 N.2.
    """
    chosen = robust_window(values, outside=outside) if voi is None else voi
    if isinstance(chosen, Table):
        unit = np.clip(lookup(values, chosen) / np.float32((1 << chosen.bits) - 1), 0, 1)
    else:
        unit = window(values, chosen.center, chosen.width, function=chosen.function)
    pixels = to_uint8(1 - unit if inverted else unit)
    if outside is not None:
        pixels[outside] = 0
    return pixels


def resize(pixels: Grey, height: int, width: int) -> Grey:
    """Returns an image in another size, shape (height, width).

    Each new pixel is the mean of the old ones under a triangle as wide as two new pixels (two old ones when enlarging):
    bilinear, without the false lines that skipping pixels would draw.

    >>> resize(np.array([[0, 100], [100, 200]], np.uint8), 1, 1).tolist()
    [[100]]
    """
    if min(height, width) < 1:
        raise ValueError(f"an image of {height} x {width} pixels; at least 1 x 1 is needed")
    rows, columns = pixels.shape
    if (rows, columns) == (height, width):
        return pixels.copy()
    part = _weights(rows, height) @ pixels.astype(np.float32)
    return np.asarray(np.clip(np.rint(part @ _weights(columns, width).T), 0, 255), np.uint8)


def _weights(before: int, after: int) -> Floats:
    """Returns the share of each old line in each new one, shape (after, before); rows sum to 1."""
    scale = before / after
    reach = max(scale, 1.0)
    centres = (np.arange(after) + 0.5) * scale
    distance = np.abs(np.arange(before)[None, :] + 0.5 - centres[:, None])
    weights = np.maximum(0.0, 1.0 - distance / reach)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)


def fit(pixels: Grey, longest: int) -> Grey:
    """Returns an image whose longer side has at most `longest` pixels, in its own proportions; never enlarged.

    >>> fit(np.zeros((300, 200), np.uint8), 150).shape
    (150, 100)
    """
    height, width = pixels.shape
    share = longest / max(height, width)
    if share >= 1:
        return pixels
    return resize(pixels, max(1, round(height * share)), max(1, round(width * share)))


def picture(pixels: Grey) -> Picture:
    """Returns the value that models are given, with its hash.

    Args:
        pixels: uint8 of shape (height, width), bone bright.

    Raises:
        ValueError: for another type or shape.

    >>> picture(np.zeros((2, 3), np.uint8)).sha256[:8]
    '98be973b'
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 2 or not pixels.size:
        raise ValueError(f"{pixels.dtype} of shape {pixels.shape}; a picture is uint8 of shape (height, width)")
    held = np.ascontiguousarray(pixels)
    digest = hashlib.sha256(f"{held.shape[0]}x{held.shape[1]}:".encode())
    digest.update(held.data)
    return Picture(digest.hexdigest(), held)
