"""Pixels to model-ready pixels: values in, values out, no files."""

from ikyoku.images.grey import (
    Function,
    Table,
    Window,
    display,
    fit,
    lookup,
    picture,
    resize,
    robust_window,
    to_uint8,
    window,
)
from ikyoku.images.judging import MOST_PIXELS, colour_fault, grey_fault, shape_fault, to_grey
from ikyoku.images.lettering import text_lines

__all__ = [
    "MOST_PIXELS",
    "Function",
    "Table",
    "Window",
    "colour_fault",
    "display",
    "fit",
    "grey_fault",
    "lookup",
    "picture",
    "resize",
    "robust_window",
    "shape_fault",
    "text_lines",
    "to_grey",
    "to_uint8",
    "window",
]
