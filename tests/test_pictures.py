from __future__ import annotations

import hashlib
import io
import os
import runpy
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from ikyoku.dicom.write import write_dx
from ikyoku.errors import DataError
from ikyoku.pictures import read_picture, read_study

chest = runpy.run_path(str(Path(__file__).with_name("drawn_chest.py")))["chest"]
GREY = chest(bits=8)


def saved(path: Path, image: Image.Image, kind: str, **options: Any) -> Path:
    image.save(path, kind, **options)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_picture(path)
    assert caught.value.__context__ is None
    return str(caught.value).removeprefix(f"{path}: ")


def test_png_in_grey_colour_and_palette(tmp_path: Path) -> None:
    image = Image.fromarray(GREY)
    made = {
        "grey": image,
        "alpha": image.convert("LA"),
        "rgb": image.convert("RGB"),
        "rgba": image.convert("RGBA"),
        "palette": image.convert("P", palette=Image.Palette.ADAPTIVE),
    }
    for name, each in made.items():
        path = saved(tmp_path / f"{name}.png", each, "PNG")
        read = read_picture(path)
        assert (read.kind, read.header, read.warnings) == ("png", None, ())
        assert np.array_equal(read.picture.pixels, GREY), name
        assert read.file_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    hidden = image.convert("RGBA")
    hidden.putalpha(0)
    assert "one even field" in refusal(saved(tmp_path / "hidden.png", hidden, "PNG"))


@pytest.mark.parametrize("bits", [12, 16])
def test_png_of_16_bits_is_shown_by_its_own_range(tmp_path: Path, bits: int) -> None:
    stored = chest(bits=bits)
    read = read_picture(saved(tmp_path / "16.png", Image.fromarray(stored), "PNG"))
    shown = read.picture.pixels
    assert shown.dtype == np.uint8
    assert (shown.min(), shown.max()) == (0, 255)
    low, high = np.percentile(stored, (0.5, 99.5))
    assert np.abs(shown - np.clip((stored - low) / (high - low), 0, 1) * 255).max() <= 1


def test_jpeg_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    exif[0x013B] = "Yamada"
    read = read_picture(saved(tmp_path / "a.jpg", Image.fromarray(GREY.T[::-1]), "JPEG", exif=exif, quality=95))
    assert read.kind == "jpeg"
    assert np.abs(read.picture.pixels.astype(int) - GREY).mean() < 4
    assert "Yamada" not in repr(read)


def test_a_name_is_no_evidence_of_what_a_file_is(tmp_path: Path) -> None:
    png = saved(tmp_path / "image.dcm", Image.fromarray(GREY), "PNG")
    assert read_picture(png).kind == "png"
    write_dx(tmp_path / "image.png", chest(), key="1")
    assert read_picture(tmp_path / "image.png").kind == "dicom"


def test_a_picture_can_be_made_smaller(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.fromarray(GREY), "PNG")
    small = read_picture(path, longest=96).picture
    assert small.pixels.shape == (96, 80)
    assert small != read_picture(path).picture


def test_letters_in_the_image_are_warned_of(tmp_path: Path) -> None:
    image = Image.fromarray(chest(600, 500, bits=8))
    ImageDraw.Draw(image).text((250, 550), "YAMADA T", fill=255, font=ImageFont.load_default(30))
    read = read_picture(saved(tmp_path / "a.png", image, "PNG"))
    assert read.warnings == ("1 line(s) of what looks like letters are drawn into the image: look for a name",)


def _photograph() -> Image.Image:
    y, x = np.mgrid[:200, :240]
    planes = np.stack([x, y, 255 - (x + y) // 2], axis=2)
    return Image.fromarray(planes.astype(np.uint8))


def test_what_is_no_radiograph_is_refused_with_the_reason(tmp_path: Path) -> None:
    page = Image.new("L", (400, 500), 255)
    for row in range(10):
        ImageDraw.Draw(page).text((20, 20 + 40 * row), "a letter to a colleague", font=ImageFont.load_default(24))
    cases = {
        "photo.jpg": (_photograph(), "JPEG", "coloured: a photograph"),
        "photo.png": (_photograph(), "PNG", "coloured: a photograph"),
        "page.png": (page, "PNG", "pure white, as on a page"),
        "bilevel.png": (Image.fromarray(GREY).convert("1"), "PNG", "2 tones"),
        "small.png": (Image.fromarray(GREY[:40, :40]), "PNG", "40 x 40 pixels are too small"),
        "long.png": (Image.fromarray(np.tile(GREY, (4, 1))), "PNG", "too long"),
        "flat.png": (Image.new("L", (100, 100), 9), "PNG", "one even field"),
        "flat16.png": (Image.fromarray(np.full((100, 100), 999, np.uint16)), "PNG", "one even field"),
        "cmyk.jpg": (Image.fromarray(GREY).convert("CMYK"), "JPEG", "its colours are CMYK"),
        "a.gif": (Image.fromarray(GREY), "GIF", "it is a GIF; DICOM, PNG and JPEG are read"),
        "a.tif": (Image.fromarray(GREY), "TIFF", "it is a TIFF"),
        "a.bmp": (Image.fromarray(GREY), "BMP", "it is a BMP"),
        "a.webp": (Image.fromarray(GREY), "WEBP", "it is a WebP file"),
    }
    for name, (image, kind, reason) in cases.items():
        assert reason in refusal(saved(tmp_path / name, image, kind)), name
    frames = [Image.fromarray(np.roll(GREY, i)) for i in range(3)]
    moving = saved(tmp_path / "moving.png", frames[0], "PNG", save_all=True, append_images=frames[1:])
    assert "several frames" in refusal(moving)


def test_files_that_are_nothing(tmp_path: Path) -> None:
    for name, data, reason in (
        ("empty", b"", "it is empty"),
        ("text.txt", b"a letter", "it is of no known kind"),
        ("a.pdf", b"%PDF-1.7", "it is a PDF"),
        ("a.png", b"\x89PNG\r\n\x1a\n" + bytes(50), "it is damaged, or no PNG file"),
    ):
        (tmp_path / name).write_bytes(data)
        assert refusal(tmp_path / name).startswith(reason)
    os.mkfifo(tmp_path / "pipe.png")
    for path, reason in (
        (tmp_path / "nowhere.png", "cannot be read: No such file"),
        (tmp_path, "is a folder"),
        (tmp_path / "pipe.png", "is a pipe or a device"),
        (tmp_path / "a\0b.png", "no file has such a name"),
        (tmp_path / ("x" * 300), "File name too long"),
    ):
        with pytest.raises(DataError, match=reason):
            read_picture(path)
    whole = saved(tmp_path / "cut.png", Image.fromarray(GREY), "PNG").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    assert refusal(tmp_path / "cut.png") == "it is damaged, or no PNG file"


def test_bombs_are_not_decoded(tmp_path: Path) -> None:
    head = struct.pack(">LLBBBBB", 50_000, 50_000, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(bytes(1 << 20))), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">L", len(body)) + name + body + struct.pack(">L", zlib.crc32(name + body)) for name, body in chunks
    )
    (tmp_path / "bomb.png").write_bytes(data)
    assert "Mi pixels" in refusal(tmp_path / "bomb.png")
    (tmp_path / "less.png").write_bytes(data.replace(head, struct.pack(">LLBBBBB", 12_000, 12_000, 8, 0, 0, 0, 0)))
    assert refusal(tmp_path / "less.png")
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "Yamada " * 2_000_000, zip=True)
    Image.fromarray(GREY).save(tmp_path / "text.png", pnginfo=text)
    try:
        assert "Yamada" not in repr(read_picture(tmp_path / "text.png"))
    except DataError as error:
        assert "Yamada" not in str(error)  # either is right


def test_the_views_of_a_study(tmp_path: Path) -> None:
    for name, view in (("1-lateral", "LL"), ("2-frontal", "PA")):
        write_dx(tmp_path / f"{name}.dcm", chest(), key=name, study="one", view_position=view)
    (tmp_path / "notes.txt").write_text("not an image")
    saved(tmp_path / "3.png", Image.fromarray(GREY), "PNG")
    read = read_study(tmp_path)
    assert [each.header.view if each.header else "png" for each in read] == ["frontal", "png", "lateral"]
    assert read_study(tmp_path / "2-frontal.dcm") == (read_picture(tmp_path / "2-frontal.dcm"),)
    write_dx(tmp_path / "4.dcm", chest(), key="4", study="another")
    with pytest.raises(DataError, match="files of 2 studies"):
        read_study(tmp_path)
    (tmp_path / "4.dcm").write_bytes(b"nothing")
    (tmp_path / "5.dcm").write_bytes(b"nothing")
    with pytest.raises(DataError) as caught:
        read_study(tmp_path)
    assert len(str(caught.value).splitlines()) == 2
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="no DICOM, PNG or JPEG file"):
        read_study(tmp_path / "none")


def test_damaged_png_and_jpeg_files(tmp_path: Path, capfd: Any) -> None:
    rng = np.random.default_rng(3)
    info = PngImagePlugin.PngInfo()
    info.add_text("Author", "Yamada")
    wholes = []
    for kind, options in (("PNG", {"pnginfo": info}), ("JPEG", {"comment": b"Yamada"})):
        buffer = io.BytesIO()
        Image.fromarray(GREY).save(buffer, kind, **options)
        wholes.append(buffer.getvalue())
    outcomes = set()
    for number in range(120):
        data = bytearray(wholes[number % 2])
        for place in rng.integers(8, len(data), rng.choice([1, 4, 20])):
            data[place] = rng.integers(256)
        path = tmp_path / "damaged"
        path.write_bytes(bytes(data))
        try:
            outcomes.add("read")
            said = repr(read_picture(path))
        except DataError as error:
            outcomes.add("refused")
            said = str(error)
        assert "Yamada" not in said
    assert outcomes == {"read", "refused"}
    assert "Yamada" not in "".join(capfd.readouterr())
