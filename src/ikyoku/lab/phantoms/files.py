"""Phantoms as files: PNG, 12-bit DICOM of invented patients, and pairs of image and report."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ikyoku.datasets.radiographs import Radiograph, write_radiographs
from ikyoku.dicom.files import write_bytes
from ikyoku.dicom.write import Subject, write_dx
from ikyoku.lab.phantoms.film import WHITE, drawn
from ikyoku.lab.phantoms.truth import Phantom
from ikyoku.lab.phantoms.wording import report

PATIENTS: tuple[tuple[str, str], ...] = (
    ("Igarashi^Hanako=五十嵐^花子=いがらし^はなこ", "kanji"),
    ("ﾀｶﾊｼ^ｲﾁﾛｳ=高橋^一郎=たかはし^いちろう", "kana-kanji"),
    ("Takasaki^Yoshiko=髙﨑^𠮷子=タカサキ^ヨシコ", "utf-8"),
    ("Watanabe^Jiro=渡辺^次郎=わたなべ^じろう", "ascii-kanji"),
)
"""Names of invented patients, each with the character set in which a hospital would send it."""


def grey(picture: NDArray[np.uint16]) -> NDArray[np.uint8]:
    """Returns a 12-bit picture in 8 bits.

    >>> grey(np.array([[0, 4095]], np.uint16)).tolist()
    [[0, 255]]
    """
    return (picture >> 4).astype(np.uint8)


def write_png(path: Path, picture: NDArray[np.uint16]) -> None:
    """Writes a 12-bit picture as a grey PNG of 8 bits, all or nothing."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(grey(picture)).save(buffer, "PNG", compress_level=1)
    write_bytes(path, buffer.getvalue())


def write_dicom(path: Path, truth: Phantom, *, patient: int = 0, **how: object) -> None:
    """Writes the master picture of a phantom as a DX of 12 bits.

    Args:
        path: the file.
        truth: what is drawn.
        patient: which of `PATIENTS`; name and character set follow from it.
        how: other arguments of `dicom.write.write_dx`, such as `transfer_syntax`; with photometric MONOCHROME1 the
            stored values are turned round, so that the same chest is seen.
    """
    name, character_set = PATIENTS[patient % len(PATIENTS)]
    rng = random.Random(f"{truth.seed}/{truth.id}/patient")
    birth = f"{rng.randrange(1935, 2005)}{rng.randrange(1, 13):02d}{rng.randrange(1, 29):02d}"
    pixels = drawn(truth)
    if how.get("photometric") == "MONOCHROME1":
        pixels = (WHITE - pixels).astype(np.uint16)
    options: dict[str, object] = {"character_set": character_set, "window": ((WHITE + 1) / 2, WHITE + 1.0), **how}
    subject = Subject(name, f"{rng.randrange(10**8):08d}", birth, rng.choice("MF"))
    write_dx(path, pixels, key=f"phantom {truth.seed}/{truth.id}", subject=subject, **options)  # type: ignore[arg-type]


def write_pairs(
    path: Path, truths: Sequence[Phantom], *, size: int, progress: Callable[[int], None] = lambda _: None
) -> None:
    """Writes phantoms with their Japanese reports in the layout "pairs"; images go to `images/` beside the file.

    Args:
        path: the JSONL file.
        truths: the phantoms; each is a patient of its own.
        size: of the images in pixels; an image that is there is not drawn again.
        progress: called with the number of finished images.
    """
    samples = []
    for count, truth in enumerate(truths, 1):
        image = path.parent / "images" / f"{truth.id}.png"
        image.parent.mkdir(parents=True, exist_ok=True)
        if not image.is_file():
            write_png(image, drawn(truth, size=size))
        text = report(truth, "ja")
        samples.append(Radiograph(truth.id, (image,), text.findings, text.impression, f"patient-{truth.id}"))
        progress(count)
    write_radiographs(path, samples)
