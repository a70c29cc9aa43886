from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ikyoku.images import (
    Table,
    colour_fault,
    display,
    fit,
    grey_fault,
    lookup,
    picture,
    resize,
    robust_window,
    shape_fault,
    text_lines,
    to_grey,
    window,
)

chest = runpy.run_path(str(Path(__file__).parents[1] / "drawn_chest.py"))["chest"]


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("center", "width"), [(2048, 4096), (600.5, 1), (1000, 333), (-40, 12.5)])
def test_windows_are_those_of_the_standard(function: str, center: float, width: float) -> None:
    from pydicom.dataset import Dataset
    from pydicom.pixels import apply_windowing

    values = np.arange(-500, 4096, 7, dtype=np.int16).reshape(1, -1)
    ds = Dataset()
    ds.PhotometricInterpretation, ds.BitsStored, ds.PixelRepresentation = "MONOCHROME2", 16, 1
    ds.WindowCenter, ds.WindowWidth, ds.VOILUTFunction = center, width, function
    with np.errstate(over="ignore"):
        wanted = apply_windowing(values, ds)
    unit = window(values, center, width, function=function)  # type: ignore[arg-type]
    assert np.allclose(unit * 65535 - 32768, wanted, atol=0.6 if function != "SIGMOID" else 1)


def test_a_window_without_a_width_is_an_error() -> None:
    for width, function in ((0.5, "LINEAR"), (0, "LINEAR_EXACT"), (-1, "SIGMOID"), (float("nan"), "SIGMOID")):
        with pytest.raises(ValueError, match="a width of at least 1"):
            window(np.zeros(3), 0, width, function=function)  # type: ignore[arg-type]


def test_a_table_keeps_its_ends() -> None:
    table = Table(-2, np.array([7, 8, 200], np.uint16), 8)
    assert lookup(np.array([-9, -2, -1, 0, 5]), table).tolist() == [7, 7, 8, 200, 200]
    assert display(np.array([[-9, 5]]), table).tolist() == [[7, 200]]
    assert display(np.array([[-9, 5]]), table, inverted=True).tolist() == [[248, 55]]


def test_one_bright_marker_does_not_darken_the_rest() -> None:
    values = chest().astype(np.int64)
    values[100, 100] = 60_000
    shown = display(values, None)
    assert shown[100, 100] == 255
    assert np.ptp(shown[values < 4096].astype(int)) > 200
    outside = values == 0
    low, high = np.percentile(values[~outside], (0.5, 99.5))
    found = robust_window(values, outside=outside)
    assert (found.center, found.width) == pytest.approx(((low + high) / 2, high - low))
    assert robust_window(np.full((9, 9), 5)).width > 0


@pytest.mark.parametrize("size", [(120, 100), (97, 31), (64, 64), (480, 400), (240, 50)])
def test_resizing_is_pillows_bilinear(size: tuple[int, int]) -> None:
    from PIL import Image

    pixels = chest(bits=8)
    wanted = np.asarray(Image.fromarray(pixels).resize((size[1], size[0]), Image.Resampling.BILINEAR))
    found = resize(pixels, *size)
    assert found.shape == size
    assert np.abs(found.astype(int) - wanted).max() <= 1


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 255), st.integers(1, 60))
def test_an_even_field_stays_even(height: int, width: int, grey: int, longest: int) -> None:
    pixels = np.full((height, width), grey, np.uint8)
    small = fit(pixels, longest)
    assert max(small.shape) == min(longest, max(height, width))
    assert (small == grey).all()


def test_a_picture_is_its_shape_and_its_pixels() -> None:
    pixels = chest(bits=8)
    one = picture(pixels)
    assert picture(np.asfortranarray(pixels)) == one
    assert picture(pixels.T) != one
    assert picture(pixels.reshape(1, -1)) != one
    other = pixels.copy()
    other[3, 3] ^= 1
    assert picture(other) != one
    for wrong in (pixels.astype(np.uint16), pixels[None], np.zeros((0, 4), np.uint8)):
        with pytest.raises(ValueError, match="uint8 of shape"):
            picture(wrong)


def test_what_cannot_be_a_radiograph() -> None:
    assert shape_fault(64, 64) == shape_fault(4000, 5000) == ""
    assert "too small" in shape_fault(63, 500)
    assert "too many" in shape_fault(20_000, 20_000)
    assert "too long" in shape_fault(100, 251)
    rng = np.random.default_rng(0)
    page = np.where(rng.random((200, 200)) < 0.08, rng.integers(0, 200, (200, 200)), 255).astype(np.uint8)
    assert "pure white" in grey_fault(page)
    assert grey_fault(page, white=False) == ""
    assert "8 tones" in grey_fault((chest(bits=8) // 32).astype(np.uint8))
    assert grey_fault(chest(bits=8)) == ""


def test_colour_is_told_from_grey_with_a_coloured_mark() -> None:
    grey = np.repeat(chest(bits=8)[..., None], 3, axis=2)
    assert colour_fault(grey) == ""
    marked = grey.copy()
    marked[10:20, 10:60] = (255, 60, 0)
    assert colour_fault(marked) == ""
    assert np.array_equal(to_grey(grey), grey[..., 0])
    photograph = np.stack([chest(bits=8, seed=seed).T[:200] for seed in range(3)], axis=2)
    photograph[..., 1] //= 2
    assert "coloured" in colour_fault(photograph)
    tinted = grey.copy()
    tinted[..., 2] = np.minimum(grey[..., 2].astype(int) + 25, 255)
    assert "tinted" in colour_fault(tinted)


WORDS = ("YAMADA TARO", "1950/01/02", "ID 98765432", "2026-04-01 09:12", "Hospital X")
MARKERS = ("R", "L", "PA", "R PA", "AP 45", "T.S.", "R 3")


def _lettered(rows: int, columns: int, text: str, height: int, place: str, *, fill: int = 255) -> int:
    from PIL import Image, ImageDraw, ImageFont

    image = Image.fromarray(chest(rows, columns, bits=8))
    at = {"top": (12, 12), "bottom": (columns // 2, rows - 2 * height), "middle": (columns // 5, rows // 2)}[place]
    ImageDraw.Draw(image).text(at, text, fill=fill, font=ImageFont.load_default(height))
    return text_lines(np.asarray(image))


@pytest.mark.parametrize("place", ["top", "bottom", "middle"])
@pytest.mark.parametrize(("rows", "columns", "height"), [(600, 500, 32), (900, 800, 26)])
def test_lines_of_letters_are_seen_and_side_markers_are_not(rows: int, columns: int, height: int, place: str) -> None:
    assert [text for text in WORDS if _lettered(rows, columns, text, height, place) != 1] == []
    assert [text for text in MARKERS if _lettered(rows, columns, text, height, place)] == []


def test_black_letters_on_a_bright_ground() -> None:
    from PIL import Image, ImageDraw, ImageFont

    image = Image.fromarray(np.clip(chest(600, 500, bits=8).astype(int) + 40, 40, 250).astype(np.uint8))
    ImageDraw.Draw(image).rectangle((0, 0, 500, 60), fill=230)
    ImageDraw.Draw(image).text((20, 10), "YAMADA 1950", fill=0, font=ImageFont.load_default(36))
    assert text_lines(np.asarray(image)) == 1


def test_chests_without_letters_raise_no_alarm() -> None:
    assert [seed for seed in range(30) if text_lines(chest(480, 400, bits=8, seed=seed))] == []
    white = chest(480, 400, bits=8)
    white[200:205, 50:350] = 255  # a catheter
    for x in (60, 150, 240, 330):  # electrodes
        white[100:112, x : x + 12] = 255
    assert text_lines(white) == 0
