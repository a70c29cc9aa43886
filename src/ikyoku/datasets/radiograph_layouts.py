"""The layouts of radiograph data sets: pairs in a JSONL file, MIMIC-CXR's folders, Open-i's XML reports."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from ikyoku.datasets.base import natural_key, read_jsonl, text_field, texts_field
from ikyoku.datasets.sheets import read_records
from ikyoku.errors import DataError
from ikyoku.types import Omitted

IMAGE_SUFFIXES = (".dcm", ".png", ".jpg", ".jpeg")


@dataclass(frozen=True, slots=True)
class Radiograph:
    """The images of one study with its report: `findings` (所見) and `impression` (印象・診断), `patient` for splits.

    The first image is frontal where the data set tells; `patient` is "" where it does not say who is who.
    """

    id: str
    images: tuple[Path, ...]
    findings: str
    impression: str = ""
    patient: str = ""


@dataclass(slots=True)
class Found:
    """What a layout's reader finds: samples, what it left out, the files it read, and faults that must be mended."""

    samples: list[Radiograph] = field(default_factory=list)
    omitted: list[Omitted] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def take(self, sample: Radiograph, missing: Iterable[str] = ()) -> None:
        """Adds a sample, or says why it is left out: without findings there is nothing to learn or to score."""
        lost = list(missing)
        if lost:
            self.omitted.append(Omitted(sample.id, f"{len(lost)} of its image files are not here"))
        elif not sample.images:
            self.omitted.append(Omitted(sample.id, "it has no image"))
        elif not sample.findings.strip():
            self.omitted.append(Omitted(sample.id, "its report has no findings section"))
        else:
            self.samples.append(sample)


# pairs


def is_pairs(path: Path) -> bool:
    """Returns true for a JSONL file."""
    return path.is_file() and path.suffix.lower() == ".jsonl"


def read_pairs(path: Path, split: str) -> Found:
    """Reads ``{"id", "images", "findings", "impression"?, "patient"?}`` a line; paths are from the file's folder."""
    del split
    if not path.is_file():
        raise DataError(f"{path}: the layout 'pairs' is one JSONL file; give the file")
    found = Found(files=[path])
    for number, row in read_jsonl(path, faults=found.faults):
        faults: list[str] = []
        name = text_field(row, "id", faults)
        relative = texts_field(row, "images", faults)
        findings = text_field(row, "findings", faults, absent="")
        impression = text_field(row, "impression", faults, absent="")
        patient = text_field(row, "patient", faults, absent="")
        paths = tuple(path.parent / each for each in relative)
        faults += [fault for each in paths if (fault := _image_fault(each))]
        found.faults += [f"{path}, line {number}: {fault}" for fault in faults]
        if not faults:
            found.take(Radiograph(name, paths, findings, impression, patient))
    return found


def _image_fault(path: Path) -> str:
    try:
        if path.is_file():
            return ""
        return f"there is no image file {path}{', only a folder' if path.is_dir() else ''}"
    except OSError as error:
        return f"the image file {str(path)[:80]}… cannot be read: {error.strerror}"


# MIMIC-CXR

_STUDY, _PATIENT = re.compile(r"s\d+"), re.compile(r"p\d+")
_VIEWS = {"PA": 0, "AP": 1, "": 2}


def is_mimic(path: Path) -> bool:
    """Returns true where a folder holds reports or images as …/p10/p10000032/s50414267."""
    return path.is_dir() and any(_is_report(file) for file in _files(path))


def _files(path: Path) -> Iterator[Path]:
    """Walks once through a folder: the whole of MIMIC-CXR is some hundred thousand files."""
    for folder, _, names in os.walk(path):
        yield from (Path(folder, name) for name in names)


def _is_report(file: Path) -> bool:
    return file.suffix == ".txt" and bool(_STUDY.fullmatch(file.stem) and _PATIENT.fullmatch(file.parent.name))


def read_mimic(path: Path, split: str) -> Found:
    """Reads MIMIC-CXR's reports with their images (.dcm, or .jpg as MIMIC-CXR-JPG has them).

    The metadata and split tables, where they are there, order the views (PA, AP, others, lateral last) and choose the
    split. A report is a text with headings such as ``FINDINGS:`` and ``IMPRESSION:``.

    Reference:
        Johnson et al., MIMIC-CXR, Scientific Data 6, 317 (2019); https://physionet.org/content/mimic-cxr/
    """
    if not path.is_dir():
        raise DataError(f"{path}: the layout 'mimic-cxr' is a folder; give the one that holds p10, p11, …")
    found = Found()
    views = _mimic_column(path, "metadata", "ViewPosition", found)
    splits = _mimic_column(path, "split", "split", found)
    if split and split not in set(splits.values()):
        known = ", ".join(sorted(set(splits.values()))) or "none: its table *-split.csv is not here"
        raise DataError(f"{path}: no split '{split}'; there is {known}")
    images: dict[str, list[Path]] = {}
    reports: list[Path] = []
    for file in _files(path):
        if file.suffix.lower() in IMAGE_SUFFIXES and _STUDY.fullmatch(file.parent.name):
            images.setdefault(file.parent.name, []).append(file)
        elif _is_report(file):
            reports.append(file)
    for report in sorted(reports, key=lambda file: natural_key(file.stem)):
        files = images.get(report.stem, [])
        if split:
            files = [file for file in files if splits.get(file.stem) == split]
            if not files:
                continue
        files.sort(key=lambda file: (_VIEWS.get(views.get(file.stem, ""), 3), file.name))
        found.files.append(report)
        sections = english_sections(_text(report))
        findings, impression = sections.get("FINDINGS", ""), sections.get("IMPRESSION", "")
        found.take(Radiograph(report.stem, tuple(files), findings, impression, report.parent.name))
    return found


def _mimic_column(path: Path, table: str, column: str, found: Found) -> dict[str, str]:
    """Returns one column of a table of MIMIC-CXR-JPG by dicom_id, {} where the table is not there."""
    pattern = f"mimic-cxr-2.*-{table}.csv"
    files = sorted([*path.glob(pattern), *path.glob(f"*/{pattern}")])
    if not files:
        packed = [*path.glob(f"{pattern}.gz"), *path.glob(f"*/{pattern}.gz")]
        found.faults += [f"{file}: is packed; unpack it first (gunzip)" for file in packed]
        return {}
    found.files.append(files[0])
    rows = read_records(files[0], faults=found.faults)
    if rows and not {"dicom_id", column} <= rows[0][1].keys():
        found.faults.append(f"{files[0]}: no columns 'dicom_id' and '{column}'")
        return {}
    return {str(row["dicom_id"]): str(row[column]).strip() for _, row in rows if row.get("dicom_id")}


_HEADING = re.compile(r"^[ \t]*([A-Z][A-Z /&()-]{2,40}):", re.MULTILINE)


def english_sections(text: str) -> dict[str, str]:
    r"""Returns the sections of an English report by heading, each in one line; of equal headings the first with text.

    >>> english_sections("EXAM: chest\n\nFINDINGS:  Heart is\n normal.\nIMPRESSION: No change.")["FINDINGS"]
    'Heart is normal.'
    """
    marks = list(_HEADING.finditer(text))
    sections: dict[str, str] = {}
    for mark, following in zip(marks, [*marks[1:], None], strict=False):
        name = mark.group(1).strip()
        body = " ".join(text[mark.end() : following.start() if following else len(text)].split())
        name = {"CONCLUSION": "IMPRESSION", "FINDING": "FINDINGS"}.get(name, name)
        sections[name] = sections.get(name) or body
    both = sections.get("FINDINGS AND IMPRESSION") or sections.get("FINDINGS/IMPRESSION")
    if both and not sections.get("FINDINGS"):
        sections["FINDINGS"] = both
    return sections


# Open-i


def is_open_i(path: Path) -> bool:
    """Returns true where a folder holds Open-i's XML reports."""
    return path.is_dir() and any(_citation(file) is not None for file in sorted(path.rglob("*.xml"))[:1])


def read_open_i(path: Path, split: str) -> Found:
    """Reads Open-i's (Indiana University) reports with the images that they name.

    No patient is named in the files: each report stands for one, as the collection was made.

    Reference:
        Demner-Fushman et al., J Am Med Inform Assoc 23 (2016) 304-310; https://openi.nlm.nih.gov/
    """
    del split
    if not path.is_dir():
        raise DataError(f"{path}: the layout 'open-i' is a folder; give the one that holds the reports and the images")
    images = {file.stem: file for file in sorted(path.rglob("*")) if file.suffix.lower() in IMAGE_SUFFIXES}
    found = Found()
    for file in sorted(path.rglob("*.xml"), key=lambda each: natural_key(each.as_posix())):
        root = _citation(file)
        if root is None:
            found.faults.append(f"{file}: no report of Open-i (an XML file with eCitation)")
            continue
        found.files.append(file)
        parts = {
            part.get("Label", "").upper(): " ".join("".join(part.itertext()).split())
            for part in root.iter("AbstractText")
        }
        unit = root.find(".//uId")
        name = (unit.get("id") if unit is not None else None) or file.stem
        named = [part.get("id") or "" for part in root.iter("parentImage")]
        there = tuple(images[each] for each in named if each in images)
        missing = [each for each in named if each not in images]
        sample = Radiograph(name, there, parts.get("FINDINGS", ""), parts.get("IMPRESSION", ""), name)
        found.take(sample, missing)
    return found


def _citation(file: Path) -> ElementTree.Element | None:
    """Returns the root of a report, None for anything else. A file that declares entities is none."""
    text = _text(file)
    if "<!ENTITY" in text or "<!DOCTYPE" in text:
        return None
    try:
        root = ElementTree.fromstring(text.encode())  # noqa: S314 - without entities it is as large as its file
    except ElementTree.ParseError:
        return None
    return root if root.tag == "eCitation" else None


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class RadiographLayout:
    """How a layout is known, and how it is read; the reader is given the path and the split ("" for all)."""

    holds: Callable[[Path], bool]
    read: Callable[[Path, str], Found]


RADIOGRAPH_LAYOUTS: Mapping[str, RadiographLayout] = {
    "pairs": RadiographLayout(is_pairs, read_pairs),
    "mimic-cxr": RadiographLayout(is_mimic, read_mimic),
    "open-i": RadiographLayout(is_open_i, read_open_i),
}
"""The layouts by name, in the order in which they are tried."""
