"""Which studies a report is asked for: files, folders, and worklists that a hospital's systems export.

A study found in a file or folder is named by its place ("study-0001"): names of files and folders may be patients'.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ikyoku.datasets.base import natural_key
from ikyoku.datasets.sheets import read_records
from ikyoku.errors import DataError, together
from ikyoku.interchange import study_key
from ikyoku.text import fold

ID_COLUMNS = (
    *("id", "study", "studyid", "accession", "accessionnumber", "accessionno", "検査id", "検査番号", "受付番号"),
    *("アクセッション番号", "オーダ番号", "オーダー番号", "依頼番号"),
)
PATH_COLUMNS = (
    *("path", "file", "filename", "folder", "image", "imagepath", "パス", "ファイル", "ファイル名", "フォルダ"),
    *("フォルダー", "画像", "画像パス", "保存先"),
)
"""Names of a worklist's columns, without regard to width, case, spaces, - and _. All other columns are left unread."""

COPY_MARK = ".ikyoku-report"
"""A file in a copy that was handed on: it names the spec that made it, and another copy is never overwritten."""
_OURS = ("provenance.json", COPY_MARK)
"""Files that mark a folder as written by ikyoku: a run's record, a copy that was handed on."""
_WORKLISTS = (".csv", ".tsv")
_PICTURES = (".png", ".jpg", ".jpeg", ".dcm", ".dicom")
_LONGEST_ID = 200


@dataclass(frozen=True, slots=True)
class StudyFiles:
    """A study that a report is asked for, and its files; with a `fault` none can be made, and it says why."""

    id: str
    files: tuple[Path, ...]
    fault: str = ""


def read_studies(paths: Sequence[Path]) -> tuple[StudyFiles, ...]:
    """Returns the studies at the given places, in their order.

    A file is a study. In a folder and what is below it, DICOM files of one Study Instance UID are a study, and every
    PNG and JPEG is one by itself: nothing in it says whose it is, and two patients in one report are worse than two
    drafts of one. A worklist names a file or a folder a line; the files of a folder that it names are one study.

    Raises:
        DataError: a path is missing or holds nothing that could be an image, or a worklist cannot be read as one.
    """
    named: list[StudyFiles] = []
    found: list[tuple[Path, ...]] = []
    for path in paths:
        _check_there(path)
        if path.suffix.lower() in _WORKLISTS and path.is_file():
            named += read_worklist(path)
        elif path.is_file():
            found.append((path,))
        else:
            groups = _grouped(path)
            if not groups:
                raise DataError(f"{path}: no DICOM, PNG or JPEG file in this folder or below it.")
            found += groups
    studies = [*named, *(StudyFiles(f"study-{number:04d}", files) for number, files in enumerate(found, 1))]
    if len({study.id for study in studies}) < len(studies):
        raise DataError("the worklists name a study twice; give each id once.")
    return tuple(studies)


def read_worklist(path: Path) -> tuple[StudyFiles, ...]:
    """Returns the studies of a worklist: CSV or TSV in UTF-8 or cp932 with columns for the id and the path.

    Paths are taken from the worklist's folder. A path that is not there is a fault of its study, not of the list.

    Raises:
        DataError: the columns are missing, or a line has no id, no path, or the id of another line.
    """
    faults: list[str] = []
    rows = read_records(path, faults=faults)
    if not rows and not faults:
        raise DataError(f"{path}: names no study.")
    columns = list(rows[0][1]) if rows else []
    wanted = {"the study's id": ID_COLUMNS, "its path": PATH_COLUMNS}
    places = [_column(columns, names) for names in wanted.values()]
    for (what, names), place in zip(wanted.items(), places, strict=True):
        if place is None:  # a list without a line of names begins with a patient: what was found is not told
            faults.append(f"{path}, line 1: no column for {what}. Name it one of {', '.join(names)}.")
    if places[0] is None or places[1] is None:
        raise DataError(together(faults))
    studies: list[StudyFiles] = []
    seen: set[str] = set()
    for where, row in rows:
        name, place = (str(row.get(column, "")).strip() for column in (places[0], places[1]))
        if not name or not place:
            faults.append(f"{where}: {'no id' if not name else 'no path'}")
        elif name in seen:
            faults.append(f"{where}: the id of a line before; each study needs its own")
        elif len(name) > _LONGEST_ID or not name.isprintable():
            faults.append(f"{where}: the id is longer than {_LONGEST_ID} characters or holds one that cannot be shown")
        else:
            seen.add(name)
            studies.append(_named(name, path.parent, place))
    if faults:
        raise DataError(together(faults))
    return tuple(studies)


def _named(name: str, folder: Path, place: str) -> StudyFiles:
    """A line's study."""
    tried = (Path(place).expanduser(), Path(place.replace("\\", "/")).expanduser())
    try:
        there = next((folder / path for path in tried if (folder / path).exists()), None)
    except (OSError, ValueError):
        there = None
    if there is None:
        return StudyFiles(name, (), "there is no such file or folder as the worklist names")
    if there.is_file():
        return StudyFiles(name, (there,))
    files = tuple(file for file in _files(there) if _may_be_image(file, study_key(file)))
    if not files:
        return StudyFiles(name, (), "the folder that the worklist names holds no DICOM, PNG or JPEG file")
    if len({key for file in files if (key := study_key(file))}) > 1:
        return StudyFiles(name, files, "the folder that the worklist names holds files of several studies")
    return StudyFiles(name, files)


def _column(columns: Iterable[str], names: Sequence[str]) -> str | None:
    """The column that one of the names stands for, the first of the names that there is."""
    known = {"".join(c for c in fold(column).lower() if c not in " -_."): column for column in columns}
    return next((known[name] for name in names if name in known), None)


def _grouped(folder: Path) -> list[tuple[Path, ...]]:
    """The studies of a folder, in the order of their first files."""
    groups: dict[str, list[Path]] = {}
    for file in _files(folder):
        key = study_key(file)
        if _may_be_image(file, key):
            groups.setdefault(key or f"file {file}", []).append(file)
    return [tuple(files) for files in groups.values()]


def _files(folder: Path) -> list[Path]:
    """The files in a folder and below it in natural order, without hidden ones and what ikyoku itself wrote there.

    A run folder holds thumbnails and structured reports of earlier drafts: read again they would be other studies.
    """
    ours = {mark.parent for name in _OURS for mark in folder.rglob(name)}
    found = [
        (path.relative_to(folder), path)
        for path in folder.rglob("*")
        if path.is_file() and not ours.intersection(path.parents)
    ]
    shown = [(name, path) for name, path in found if not any(part.startswith(".") for part in name.parts)]
    return [path for _, path in sorted(shown, key=lambda each: natural_key(each[0].as_posix()))]


def _may_be_image(file: Path, key: str | None) -> bool:
    return key is not None or (file.suffix.lower() in _PICTURES)


def _check_there(path: Path) -> None:
    try:
        there = path.exists()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}.") from None
    if not there:
        raise DataError(f"{path}: no such file or folder. Name an image, a folder of studies or a worklist (.csv).")
