"""Studies of a report: files, folders grouped by what the files declare, worklists as hospitals export them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ikyoku.datasets.worklists import read_studies, read_worklist
from ikyoku.dicom.write import Subject, write_dx
from ikyoku.errors import DataError

PIXELS = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)


def dx(path: Path, study: str) -> Path:
    write_dx(path, PIXELS, key=str(path.name), study=study, subject=Subject("SECRET^NAME", "S1"))
    return path


def png(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((PIXELS // 16).astype(np.uint8)).save(path)
    return path


def names(paths: list[Path]) -> list[list[str]]:
    return [[file.name for file in study.files] for study in read_studies(paths)]


def test_a_file_is_a_study_named_by_its_place(tmp_path: Path) -> None:
    found = read_studies([dx(tmp_path / "SECRET.dcm", "a"), png(tmp_path / "b.png")])
    assert [(study.id, len(study.files), study.fault) for study in found] == [
        ("study-0001", 1, ""),
        ("study-0002", 1, ""),
    ]


def test_a_folder_is_grouped_by_the_study_that_files_declare(tmp_path: Path) -> None:
    dx(tmp_path / "x" / "1.dcm", "a")
    dx(tmp_path / "x" / "2.dcm", "b")
    dx(tmp_path / "y" / "3", "a")  # without a suffix, in another folder
    png(tmp_path / "y" / "4.png")
    png(tmp_path / "y" / "10.png")
    (tmp_path / "y" / "notes.txt").write_text("x")
    png(tmp_path / ".hidden" / "5.png")
    assert names([tmp_path]) == [["1.dcm", "3"], ["2.dcm"], ["4.png"], ["10.png"]]


def test_what_looks_like_an_image_and_is_none_stays_to_be_refused(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(b"junk")
    assert names([tmp_path]) == [["a.dcm"]]


def test_nothing_to_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DataError, match="no DICOM, PNG or JPEG"):
        read_studies([tmp_path])
    with pytest.raises(DataError, match="no such file or folder"):
        read_studies([tmp_path / "none"])


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp932"])
@pytest.mark.parametrize(
    "header",
    ["id,path", "患者氏名,検査番号,画像パス", "Accession Number,Patient,File", "Ａｃｃｅｓｓｉｏｎ＿Ｎｏ,パス"],
)
def test_worklists_as_they_are_exported(tmp_path: Path, encoding: str, header: str) -> None:
    png(tmp_path / "img" / "胸部.png")
    columns = header.split(",")
    row = ["img/胸部.png" if c in ("path", "画像パス", "File", "パス") else "山田太郎" for c in columns]
    place = next(i for i, c in enumerate(columns) if c not in ("患者氏名", "Patient") and row[i] == "山田太郎")
    row[place] = "検査-１"
    path = tmp_path / "list.csv"
    path.write_bytes(f"{header}\r\n{','.join(row)}\r\n".encode(encoding))
    (study,) = read_worklist(path)
    assert (study.id, [file.name for file in study.files], study.fault) == ("検査-１", ["胸部.png"], "")
    assert read_studies([path]) == (study,)


def test_a_line_may_name_a_folder_or_what_is_not_there(tmp_path: Path) -> None:
    dx(tmp_path / "one" / "1.dcm", "a")
    dx(tmp_path / "one" / "2.dcm", "a")
    dx(tmp_path / "two" / "1.dcm", "b")
    dx(tmp_path / "two" / "2.dcm", "c")
    (tmp_path / "empty").mkdir()
    png(tmp_path / "three" / "a.png")
    png(tmp_path / "three" / "b.png")
    path = tmp_path / "list.tsv"
    path.write_text("id\tpath\nA\tone\nB\ttwo\nC\tnone.dcm\nD\tempty\nE\tthree\nF\tone\\1.dcm\n", encoding="utf-8")
    found = {study.id: study for study in read_worklist(path)}
    assert [len(found[name].files) for name in "ABCDEF"] == [2, 2, 0, 0, 2, 1]
    assert not any(found[name].fault for name in "AEF")
    assert "several studies" in found["B"].fault
    assert "no such file or folder" in found["C"].fault
    assert "holds no DICOM" in found["D"].fault


def test_a_list_without_names_tells_nothing_of_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("山田太郎,a.png\n佐藤花子,b.png\n", encoding="utf-8")
    with pytest.raises(DataError, match="no column for the study's id") as caught:
        read_worklist(path)
    assert not any(name in str(caught.value) for name in ("山田", "佐藤", "a.png", "b.png"))


def test_faults_of_lines_come_together(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("id,path\n,a\nX,\nY,a\nY,b\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_worklist(path)
    lines = str(caught.value).splitlines()
    assert [line.split(", ", 1)[1] for line in lines] == [
        "line 2: no id",
        "line 3: no path",
        "line 5: the id of a line before; each study needs its own",
    ]
    path.write_text("id,path\n", encoding="utf-8")
    with pytest.raises(DataError, match="names no study"):
        read_worklist(path)


def test_two_lists_with_one_id_are_refused(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("id,path\nX,none\n", encoding="utf-8")
    with pytest.raises(DataError, match="twice"):
        read_studies([tmp_path / "a.csv", tmp_path / "b.csv"])


def test_what_ikyoku_wrote_below_a_folder_is_no_study(tmp_path: Path) -> None:
    dx(tmp_path / "a.dcm", "a")
    run = tmp_path / "runs" / "report-1"
    png(run / "thumbnails" / "study-0001.png")
    (run / "provenance.json").write_text("{}", encoding="utf-8")
    png(tmp_path / "handover" / "b.png")
    (tmp_path / "handover" / ".ikyoku-report").write_text("x", encoding="utf-8")
    assert names([tmp_path]) == [["a.dcm"]]
