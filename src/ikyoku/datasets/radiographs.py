"""Radiographs with their reports: pairs of a hospital's own, MIMIC-CXR, Open-i; with Japanese texts from a table."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ikyoku.datasets.base import content_hash, write_jsonl
from ikyoku.datasets.radiograph_layouts import RADIOGRAPH_LAYOUTS, Found, Radiograph
from ikyoku.datasets.sheets import read_records
from ikyoku.errors import DataError, SpecError, together
from ikyoku.findings import split_sections
from ikyoku.runs import sha256_of
from ikyoku.types import Omitted

__all__ = ["RADIOGRAPH_LAYOUTS", "Radiograph", "RadiographSet", "read_radiographs", "write_radiographs"]

Layout = Literal["auto", "pairs", "mimic-cxr", "open-i"]


@dataclass(frozen=True, slots=True)
class RadiographSet:
    """A data set as it was read: the files that name the samples (not the images), the samples, what was omitted."""

    path: Path
    layout: str
    files: tuple[Path, ...]
    samples: tuple[Radiograph, ...]
    omitted: tuple[Omitted, ...]

    @property
    def sha256(self) -> str:
        """The hash of ids, texts, patients and image files in order; the images are read each time."""
        return content_hash(
            part
            for each in self.samples
            for part in (
                each.id,
                each.findings,
                each.impression,
                each.patient,
                str(len(each.images)),
                *(sha256_of(image) for image in each.images),
            )
        )


def read_radiographs(
    path: Path, *, layout: Layout = "auto", translations: Path | None = None, split: str = ""
) -> RadiographSet:
    """Reads radiographs with their reports. Images are named, not opened.

    Args:
        path: a JSONL file of pairs, or a data set's folder.
        layout: a name in `RADIOGRAPH_LAYOUTS`, or "auto", which looks.
        translations: JSONL or CSV with the study ("id", "study_id" or "study"; in MIMIC-CXR with or without the s) and
            its Japanese report: a "text", which is cut as `findings.split_sections` does, or "findings" and
            "impression". They take the place of the data set's; a study without one is omitted.
        split: in MIMIC-CXR, only this split of its table; no other layout has any.

    Returns:
        The samples in natural order of their ids (pairs: in the file's order). A study without findings, image or
        translation is in `omitted` with the reason.

    Raises:
        SpecError: for an unknown layout.
        DataError: with all faults together (ten are shown): broken lines, an id twice, an image of a pair that is not
            there; when no layout fits; when nothing is left.
    """
    if layout not in ("auto", *RADIOGRAPH_LAYOUTS):
        raise SpecError(f"unknown layout '{layout}'; allowed are auto, {', '.join(RADIOGRAPH_LAYOUTS)}")
    if not path.exists():
        raise DataError(f"{path}: there is no such file or folder")
    fitting = (name for name, known in RADIOGRAPH_LAYOUTS.items() if known.holds(path))
    name = next(fitting, "") if layout == "auto" else layout
    if not name:
        raise DataError(
            f"{path}: no data set of radiographs: neither a JSONL file of pairs, nor a folder with MIMIC-CXR's reports "
            "(p10/p10000032/s50414267.txt) or Open-i's (XML with eCitation)"
        )
    if split and name != "mimic-cxr":
        raise DataError(f"{path}: the layout '{name}' has no splits, and '{split}' was asked for; only mimic-cxr has")
    found = RADIOGRAPH_LAYOUTS[name].read(path, split)
    found.faults += _repeated(path, found.samples)
    if not found.faults and translations is not None:
        _translate(found, translations)
    if found.faults:
        raise DataError(together(found.faults))
    if not found.samples:
        reasons = ", ".join(sorted({each.reason for each in found.omitted})) or "no study was found"
        raise DataError(f"{path}: no study is left: {reasons}")
    return RadiographSet(path, name, tuple(found.files), tuple(found.samples), tuple(found.omitted))


def write_radiographs(path: Path, samples: Iterable[Radiograph]) -> None:
    """Writes samples in the layout "pairs", all or nothing; image paths are written relative to the file's folder.

    Raises:
        DataError: when there is none, an id is there twice, or the file cannot be written.
    """
    held = tuple(samples)
    if not held or (repeated := _repeated(path, held)):
        raise DataError(together(repeated) if held else f"{path}: no radiograph to write; at least one is needed")
    folder = path.resolve().parent
    rows = (
        {
            "id": each.id,
            "images": [Path(os.path.relpath(image.resolve(), folder)).as_posix() for image in each.images],
            "findings": each.findings,
            "impression": each.impression,
            "patient": each.patient,
        }
        for each in held
    )
    write_jsonl(path, rows)


def _repeated(path: Path, samples: Iterable[Radiograph]) -> list[str]:
    seen: set[str] = set()
    faults = []
    for each in samples:
        if each.id in seen:
            faults.append(f"{path}: the id '{each.id[:40]}' is there twice; a study has one id")
        seen.add(each.id)
    return faults


def _translate(found: Found, file: Path) -> None:
    """Puts the texts of a table of translations in the place of the reports'."""
    texts: dict[str, tuple[str, str]] = {}
    for where, row in read_records(file, faults=found.faults):
        name = next((str(row[key]) for key in ("id", "study_id", "study") if row.get(key)), "")
        given = {key: row[key] for key in ("text", "findings", "impression") if row.get(key) is not None}
        if not name or given.keys() <= {"impression"} or not all(isinstance(x, str) for x in given.values()):
            found.faults.append(f"{where}: a translation has a study ('id') and texts: 'text', or 'findings'")
        elif name in texts:
            found.faults.append(f"{where}: the study '{name[:40]}' is translated twice")
        elif findings := str(given.get("findings", "")).strip():
            texts[name] = (findings, str(given.get("impression", "")).strip())
        else:
            texts[name] = split_sections(str(given.get("text", "")))
    found.files.append(file)
    samples, found.samples = found.samples, []
    for each in samples:
        text = texts.get(each.id) or texts.get(each.id.removeprefix("s"))
        if text is None:
            found.omitted.append(Omitted(each.id, "it has no translation"))
        else:
            found.take(replace(each, findings=text[0], impression=text[1]))
