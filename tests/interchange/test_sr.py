"""DICOM SR: what is in it, six character sets of the source, Japanese unchanged, no error of dciodvfy, no name lost."""

from __future__ import annotations

import dataclasses
import io
import os
import shutil
import subprocess
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pydicom
import pytest

from ikyoku.dicom.write import Subject, write_dx
from ikyoku.errors import DataError
from ikyoku.interchange import (
    DRAFT_MARK,
    Author,
    CharacterSet,
    Draft,
    Label,
    SourceStudy,
    deidentified,
    read_source,
    report_sr,
    sr_texts,
)
from ikyoku.interchange.sr import TITLE

KANJI = "YAMADA^TARO=山田^太郎=やまだ^たろう"
SETS = {
    "none": "YAMADA^TARO",
    "latin": "MÜLLER^JOSÉ",
    "kanji": KANJI,
    "ascii-kanji": KANJI,
    "kana-kanji": "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
    "utf-8": "TAKAHASHI^TARO=髙橋^太郎=たかはし^たろう",
}
TEXT = "両肺野に浸潤影を認めない。\n右胸水が少量～中等量。①心拡大（CTR 58％）。"
DRAFT = Draft(
    "A-1",
    datetime(2026, 11, 22, 9, 30, tzinfo=timezone(timedelta(hours=9))),
    TEXT,
    "右胸水。",
    Author("pocket 視", "0.1.0", "ab" * 32, "cd" * 32),
    (Label("pleural_effusion", "胸水", "present", "right"),),
    ("胸水（右）：ありとなし",),
    ("ef" * 32,),
)


def source_of(folder: Path, character_set: str = "utf-8", name: str = KANJI, **more: Any) -> SourceStudy:
    path = folder / f"{character_set}.dcm"
    pixels = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    write_dx(path, pixels, key=character_set, subject=Subject(name, "00123", "19500102", "F"),
             character_set=character_set, more={"AccessionNumber": "ACC7", **more})  # fmt: skip
    found = read_source([path])
    assert found is not None
    return found


def read(data: bytes) -> pydicom.Dataset:
    return pydicom.dcmread(io.BytesIO(data))


@pytest.mark.parametrize("character_set", SETS)
def test_text_and_name_come_back_whatever_the_image_declares(tmp_path: Path, character_set: str) -> None:
    source = source_of(tmp_path, character_set, SETS[character_set])
    assert source.values["PatientName"] == SETS[character_set]
    assert source.unread == ()
    data = report_sr(DRAFT, source)
    found = read(data)
    assert found.SpecificCharacterSet == "ISO_IR 192"
    assert str(found.PatientName) == SETS[character_set]
    assert (found.PatientID, found.PatientBirthDate, found.PatientSex) == ("00123", "19500102", "F")
    assert (found.StudyInstanceUID, found.AccessionNumber) == (source.study, "ACC7")
    assert sr_texts(data)["121071"] == [TEXT]
    assert sr_texts(data)["121073"] == ["右胸水。"]


@pytest.mark.parametrize("character_set", SETS)
def test_dciodvfy_has_no_error(tmp_path: Path, character_set: str) -> None:
    tool = shutil.which("dciodvfy")
    if tool is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no dciodvfy: CI has to install it (apt-get install dicom3tools)")
        pytest.skip("no dciodvfy on this machine (apt-get install dicom3tools)")
    source = source_of(tmp_path, character_set, SETS[character_set])
    short = dataclasses.replace(DRAFT, findings="右胸水を認める。", impression="", labels=(), contradictions=())
    others = {"utf-8": "ISO_IR 192", "kana-kanji": "ISO 2022 IR 13\\ISO 2022 IR 87"}
    asked = [(DRAFT, source, "ISO_IR 192"), (DRAFT, deidentified(source), "ISO_IR 192")]
    asked += [(short, source, others.get(character_set, "\\ISO 2022 IR 87"))] if character_set != "latin" else []
    asked.append((dataclasses.replace(DRAFT, findings=""), source, "ISO_IR 192"))
    for number, (draft, study, into) in enumerate(asked):
        path = tmp_path / f"{number}.sr.dcm"
        path.write_bytes(report_sr(draft, study, character_set=into))
        done = subprocess.run([tool, str(path)], capture_output=True, text=True, check=False)
        lines = (done.stdout + done.stderr).splitlines()
        assert (done.returncode, [line for line in lines if line.startswith("Error")]) == (0, [])
        assert "EnhancedSR" in lines


def test_it_says_everywhere_that_it_is_a_draft_and_whose(tmp_path: Path) -> None:
    source = source_of(tmp_path)
    found = read(report_sr(DRAFT, source))
    flags = (found.VerificationFlag, found.CompletionFlag, found.PreliminaryFlag)
    assert flags == ("UNVERIFIED", "PARTIAL", "PRELIMINARY")
    assert "VerifyingObserverSequence" not in found
    assert found.ConceptNameCodeSequence[0].CodeMeaning == TITLE
    assert "未確認" in TITLE
    assert found.SeriesDescription == DRAFT_MARK
    assert DRAFT_MARK in sr_texts(report_sr(DRAFT, source))["121106"]
    machine = found.ContributingEquipmentSequence[0]
    assert (machine.ManufacturerModelName, machine.SoftwareVersions) == ("pocket 視", "0.1.0")
    assert machine.DeviceSerialNumber == "ab" * 32
    assert "cd" * 32 in machine.ContributionDescription
    assert machine.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
    reference = found.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    image = reference.ReferencedSOPSequence[0]
    assert (image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID) == (
        source.images[0].sop_class,
        source.images[0].sop_instance,
    )
    headings = [
        item.ConceptNameCodeSequence[0].CodeValue for item in found.ContentSequence if "ContentSequence" in item
    ]
    assert headings == ["notice", "59776-5", "19005-8", "labels"]


def test_without_an_impression_there_is_no_heading_for_it(tmp_path: Path) -> None:
    data = report_sr(dataclasses.replace(DRAFT, impression=""), source_of(tmp_path))
    meanings = [item.ConceptNameCodeSequence[0].CodeMeaning for item in read(data).ContentSequence]
    assert "診断" not in meanings
    assert "自動抽出ラベル" in meanings
    assert "121073" not in sr_texts(data)


@pytest.mark.parametrize("into", get_args(CharacterSet)[1:])
def test_older_character_sets_hold_the_text_or_refuse(tmp_path: Path, into: CharacterSet) -> None:
    source = source_of(tmp_path, "kanji")
    plain = dataclasses.replace(DRAFT, findings="右胸水～少量、縮小－増大。", author=Author("m", "0.1"))
    data = report_sr(plain, source, character_set=into)
    assert list(read(data).SpecificCharacterSet) == into.split("\\")
    assert b"\x1b$B" in data
    assert sr_texts(data)["121071"] == ["右胸水〜少量、縮小−増大。"]  # the same signs at their places in JIS X 0208
    assert str(read(data).PatientName) == KANJI
    for text in ("①胸水", "心膜\U00020b9f"):
        with pytest.raises(DataError, match="cannot hold the report's text") as caught:
            report_sr(dataclasses.replace(plain, findings=text), source, character_set=into)
        assert text not in str(caught.value)
    rare = source_of(tmp_path, "utf-8", SETS["utf-8"])
    with pytest.raises(DataError, match="cannot hold the study's PatientName") as caught:
        report_sr(plain, rare, character_set=into)
    assert "髙" not in str(caught.value)


def test_half_width_katakana_need_their_own_set(tmp_path: Path) -> None:
    source = source_of(tmp_path, "kana-kanji", SETS["kana-kanji"])
    plain = dataclasses.replace(DRAFT, findings="異常なし", author=Author("m", "0.1"))
    with pytest.raises(DataError, match="PatientName"):
        report_sr(plain, source, character_set="\\ISO 2022 IR 87")
    data = report_sr(plain, source, character_set="ISO 2022 IR 13\\ISO 2022 IR 87")
    assert str(read(data).PatientName) == SETS["kana-kanji"]


def test_ten_thousand_characters_and_hidden_controls(tmp_path: Path) -> None:
    text = "肺野に異常なし。\n" * 1200
    data = report_sr(dataclasses.replace(DRAFT, findings=text), source_of(tmp_path))
    assert sr_texts(data)["121071"] == [text.strip()]
    hidden = "右\x1b$B胸水\x00\u202eなし\r\n終わり<b>&"
    data = report_sr(dataclasses.replace(DRAFT, findings=hidden), source_of(tmp_path))
    assert sr_texts(data)["121071"] == ["右$B胸水なし\n終わり<b>&"]


def test_the_same_draft_is_the_same_instance(tmp_path: Path) -> None:
    source = source_of(tmp_path)
    one, again = report_sr(DRAFT, source), report_sr(DRAFT, source)
    assert one == again
    other = report_sr(dataclasses.replace(DRAFT, findings="左胸水。"), source)
    assert read(other).SOPInstanceUID != read(one).SOPInstanceUID
    assert read(other).StudyInstanceUID == read(one).StudyInstanceUID


def test_a_deidentified_study_leaves_nothing_of_the_patient(tmp_path: Path) -> None:
    source = source_of(tmp_path)
    data = report_sr(DRAFT, deidentified(source))
    for trace in ("山田".encode(), b"YAMADA", b"00123", b"19500102", b"ACC7", b"20260401", source.study.encode()):
        assert trace not in data
    found = read(data)
    assert (found.PatientName, found.PatientID, found.StudyDate) == ("", "", "")
    assert found.StudyInstanceUID == deidentified(source).study


def test_an_empty_draft_is_no_report(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no text"):
        report_sr(dataclasses.replace(DRAFT, findings="", impression=""), source_of(tmp_path))


def test_a_name_goes_into_no_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = source_of(tmp_path, "utf-8", "山田太郎")  # no caret: highdicom would log it
    report_sr(DRAFT, source)
    assert "山田" not in caplog.text
    assert "山田" not in repr(source) + repr(source.images)
