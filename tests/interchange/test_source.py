"""Patient and study of a source: decoded as declared, left out where it cannot be read, told to nobody."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest

from ikyoku.dicom.write import Subject, write_dx
from ikyoku.errors import DataError
from ikyoku.interchange import read_source, study_key

PIXELS = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)


def written(path: Path, **more: object) -> Path:
    write_dx(path, PIXELS, key=path.name, subject=Subject("A^B", "1", "19500101", "M"), more=more)
    return path


def spoilt(path: Path, before: bytes, after: bytes) -> Path:
    data = path.read_bytes()
    assert data.count(before) == 1
    assert len(before) == len(after)
    path.write_bytes(data.replace(before, after))
    return path


def test_a_kanji_with_the_byte_of_a_backslash_stays_one_name(tmp_path: Path) -> None:
    name = "A^B=構^本=かまえ"
    assert b"\\" in "構本".encode("iso2022_jp")
    path = tmp_path / "a.dcm"
    write_dx(path, PIXELS, key="a", subject=Subject(name, "1"), character_set="kanji")
    source = read_source([path])
    assert source is not None
    assert source.values["PatientName"] == name


@pytest.mark.parametrize(
    ("declared", "bytes_"),
    [("none", "山田".encode("cp932")), ("none", "山".encode() + b" "), ("utf-8", b"\xff\xfe\xfd\xfc")],
)
def test_a_name_in_another_set_than_declared_is_left_out(tmp_path: Path, declared: str, bytes_: bytes) -> None:
    path = tmp_path / "a.dcm"
    write_dx(path, PIXELS, key="a", subject=Subject("QXYZ", "77"), character_set=declared)
    source = read_source([spoilt(path, b"QXYZ", bytes_)])
    assert source is not None
    assert "PatientName" not in source.values
    assert source.unread == ("PatientName",)
    assert source.values["PatientID"] == "77"


def test_a_value_that_dicom_does_not_allow_is_left_out(tmp_path: Path) -> None:
    path = spoilt(written(tmp_path / "a.dcm"), b"19500101", b"1950-1-1")
    source = read_source([path])
    assert source is not None
    assert "PatientBirthDate" not in source.values
    assert source.unread == ("PatientBirthDate",)


def test_what_is_no_dicom_has_no_source(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert read_source([tmp_path / "a.png"]) is None
    assert study_key(tmp_path / "a.png") is None
    assert read_source([]) is None


def test_files_of_two_studies_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="several studies"):
        read_source([written(tmp_path / "a.dcm"), written(tmp_path / "b.dcm")])


def test_a_header_without_uids_is_refused_without_a_value(tmp_path: Path) -> None:
    path = written(tmp_path / "a.dcm")
    dataset = pydicom.dcmread(path)
    del dataset.StudyInstanceUID
    dataset.save_as(path)
    with pytest.raises(DataError, match="no valid StudyInstanceUID"):
        read_source([path])


def test_the_key_of_a_study_is_no_uid(tmp_path: Path) -> None:
    one = written(tmp_path / "a.dcm", StudyInstanceUID="1.2.3")
    other = written(tmp_path / "b.dcm", StudyInstanceUID="1.2.3")
    assert study_key(one) == study_key(other) is not None
    assert "1.2.3" not in str(study_key(one))
