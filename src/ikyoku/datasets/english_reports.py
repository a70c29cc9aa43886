"""English reports to be translated: a file of texts, or the reports of a radiograph data set; and a glossary's file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ikyoku.datasets.base import content_hash, text_field, texts_field
from ikyoku.datasets.sheets import SUFFIXES, read_records
from ikyoku.english_findings import english_sections
from ikyoku.errors import DataError, together
from ikyoku.glossary import Term
from ikyoku.types import Omitted

Layout = Literal["auto", "texts", "pairs", "mimic-cxr", "open-i"]


@dataclass(frozen=True, slots=True)
class EnglishReport:
    """One report: its two sections, and the image files that it is about, where there are any."""

    id: str
    findings: str
    impression: str = ""
    images: tuple[Path, ...] = ()
    patient: str = ""


@dataclass(frozen=True, slots=True)
class EnglishReports:
    """The reports of a data set, the files that were read, and what was left out with the reason."""

    reports: tuple[EnglishReport, ...]
    files: tuple[Path, ...]
    omitted: tuple[Omitted, ...] = ()

    @property
    def sha256(self) -> str:
        """Of ids and texts in their order."""
        return content_hash(text for r in self.reports for text in (r.id, r.findings, r.impression))


def read_english_reports(path: Path, *, layout: Layout = "auto") -> EnglishReports:
    """Reads the English reports of a file of texts or of a radiograph data set.

    A row of texts has `id` and either `text` (cut at its headings FINDINGS and IMPRESSION; without any it is all
    findings) or `findings` and, where there is one, `impression`. In JSON it may have `images`, paths seen from the
    file, and `patient`. A report without findings is omitted.

    Args:
        path: a .jsonl, .json, .csv or .tsv file, or the folder of a data set.
        layout: how it is laid out; "auto" takes such a file for texts.

    Raises:
        DataError: the file or folder cannot be read, or every fault of a file's rows, together; or no report is left.
    """
    try:
        file = path.is_file()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}.") from None
    texts = layout == "texts" or (layout == "auto" and file)
    found = _read_texts(path) if texts else _of_radiographs(path, layout)
    if not found.reports:
        left = f"; {len(found.omitted)} have no findings" if found.omitted else ""
        raise DataError(f"{path}: no report to translate{left}. A report needs a findings section.")
    return found


def _of_radiographs(path: Path, layout: Layout) -> EnglishReports:
    from ikyoku.datasets.radiographs import read_radiographs

    if layout == "texts":
        raise DataError(f"{path}: a file of texts is wanted, ending in {', '.join(SUFFIXES)}.")
    held = read_radiographs(path, layout=layout)
    reports = tuple(EnglishReport(s.id, s.findings, s.impression, s.images, s.patient) for s in held.samples)
    return EnglishReports(reports, held.files, held.omitted)


def _read_texts(path: Path) -> EnglishReports:
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"{path}: a file of texts ends in {', '.join(SUFFIXES)}; name one, or a data set's folder.")
    faults: list[str] = []
    reports: list[EnglishReport] = []
    omitted: list[Omitted] = []
    first: dict[str, str] = {}
    for where, row in read_records(path, faults=faults):
        wrong: list[str] = []
        report = _report(path, row, wrong)
        if report.id in first and not wrong:
            wrong.append(f"has the id of {first[report.id]}; ids are given once")
        faults += [f"{where}: {fault}" for fault in wrong]
        if wrong:
            continue
        first[report.id] = where.rpartition(", ")[2]
        if report.findings:
            reports.append(report)
        else:
            omitted.append(Omitted(report.id, "no findings section"))
    if faults:
        raise DataError(together(faults))
    return EnglishReports(tuple(reports), (path,), tuple(omitted))


def _report(path: Path, row: dict[str, object], wrong: list[str]) -> EnglishReport:
    """A row as a report; what is wrong with it is appended, without its words."""
    name = row.get("id")
    if isinstance(name, int) and not isinstance(name, bool):
        row = row | {"id": str(name)}
    name = text_field(row, "id", wrong).strip()
    if "findings" in row or "text" not in row:
        if "findings" not in row:
            wrong.append("neither 'text' nor 'findings'; a row is an id and a report")
            return EnglishReport(name, "")
        findings = text_field(row, "findings", wrong, absent="").strip()
        impression = text_field(row, "impression", wrong, absent="").strip()
    else:
        findings, impression = english_sections(text_field(row, "text", wrong))
    images = texts_field(row, "images", wrong) if row.get("images") else ()
    patient = text_field(row, "patient", wrong, absent="")
    return EnglishReport(name, findings, impression, tuple(path.parent / image for image in images), patient)


def seen_from(image: Path, folder: Path) -> str:
    """Returns an image's path as it is written into a file of pairs that lies in `folder`."""
    return Path(os.path.relpath(image.expanduser().resolve(), folder.resolve())).as_posix()


def read_glossary(path: Path) -> tuple[Term, ...]:
    """Reads a hospital's own words: CSV or JSONL with `english` (forms split by "/"), `japanese` and, if any, `note`.

    Raises:
        DataError: the file cannot be read, or every fault of its rows, together.
    """
    faults: list[str] = []
    terms: list[Term] = []
    for where, row in read_records(path, faults=faults):
        wrong: list[str] = []
        term = Term(
            text_field(row, "english", wrong).strip(),
            text_field(row, "japanese", wrong).strip(),
            text_field(row, "note", wrong, absent=""),
        )
        faults += [f"{where}: {fault}" for fault in wrong]
        terms += [] if wrong else [term]
    if faults:
        raise DataError(together(faults))
    return tuple(terms)
