"""`ikyoku data` as a user meets it: what is refused in words, and folders of which some files cannot be copied."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ikyoku.dicom import vocabulary
from ikyoku.dicom.write import Subject, write_dx
from ikyoku.pictures import read_picture

chest = runpy.run_path(str(Path(__file__).parent / "drawn_chest.py"))["chest"]

SUBJECT = Subject("Yamada^Tarou=山田^太郎=やまだ^たろう", "98765432", "19500102", "M")
IDENTIFYING = ("Yamada", "YAMADA", "Tarou", "山田", "太郎", "やまだ", "98765432", "19500102", "桜病院")
ENCODINGS = ("utf-8", "cp932", "iso2022_jp", "euc_jp")
SECRET = "a secret of the hospital's"


def _ikyoku(folder: Path, *arguments: str, secret: str = SECRET) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ikyoku", "data", *arguments]
    return subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | {"COPY_SECRET": secret},
    )


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("translate --data none.jsonl --model m", "none.jsonl"),
        ("translate --reviewed back.csv --data x", "--reviewed: the run holds all else"),
        ("translate --reviewed back.csv", "no finished translate run"),
        ("deidentify none out", "none: no such file or folder."),
        ("deidentify . out --secret-variable NOT_SET", "the environment variable NOT_SET is empty"),
    ],
)
def test_what_is_refused(tmp_path: Path, command: str, words: str) -> None:
    done = _ikyoku(tmp_path, *command.split())
    assert (done.returncode, words in done.stderr) == (2, True), done.stderr


def _study(folder: Path) -> dict[str, Path]:
    """Three good files of one patient in three character sets and syntaxes, and five that cannot be copied."""
    made = {name: folder / "in" / f"{name}.dcm" for name in ("kanji", "sub/deep", "packed")}
    made["sub/deep"].parent.mkdir(parents=True)
    write_dx(made["kanji"], chest(), key="1", study="s", subject=SUBJECT, character_set="kanji")
    write_dx(made["sub/deep"], chest(seed=1), key="2", study="s", subject=SUBJECT, photometric="MONOCHROME1")
    more = {"InstitutionName": "桜病院"}
    syntax = vocabulary.JPEG_LS
    write_dx(made["packed"], chest(seed=2), key="3", subject=SUBJECT, transfer_syntax=syntax, more=more)
    whole = made["kanji"].read_bytes()
    (folder / "in" / "cut.dcm").write_bytes(whole[:-5000])
    (folder / "in" / "note.txt").write_text("山田太郎 98765432", encoding="utf-8")
    (folder / "in" / "empty.dcm").write_bytes(b"")
    write_dx(folder / "in" / "ct.dcm", chest(), key="4", subject=SUBJECT, more={"Modality": "CT"})
    burned = {"BurnedInAnnotation": "YES"}
    write_dx(folder / "in" / "burned.dcm", chest(), key="5", subject=SUBJECT, more=burned)
    return made


def _names_nobody(folder: Path, done: subprocess.CompletedProcess[str]) -> None:
    said = done.stdout + done.stderr
    assert not [word for word in IDENTIFYING if word in said]
    written = b"".join(path.name.encode() + path.read_bytes() for path in sorted(folder.iterdir()))
    assert not [word for word in IDENTIFYING for code in ENCODINGS if word.encode(code, "replace") in written]


def test_a_folder_of_good_and_broken_files(tmp_path: Path) -> None:
    """Good ones are copied and look the same, each broken one is named with its reason, nobody's name is told."""
    good, out = _study(tmp_path), tmp_path / "out"
    done = _ikyoku(tmp_path, "deidentify", "in", "out", "--secret-variable", "COPY_SECRET", "--json")
    assert done.returncode == 2, done.stderr
    told = json.loads(done.stdout)
    assert (told["files"], told["written"], len(told["failed"])) == (8, 3, 5)
    reasons = {
        "cut.dcm": "cut off",
        "note.txt": "",
        "empty.dcm": "",
        "ct.dcm": "modality is CT",
        "burned.dcm": "burned",
    }
    for name, reason in reasons.items():
        [fault] = [fault for fault in told["failed"] if name in fault]
        assert reason in fault
    _names_nobody(out, done)
    copies = [read_picture(path) for path in sorted(out.iterdir())]
    sources = [read_picture(path) for path in good.values()]
    assert {c.picture.sha256 for c in copies} == {s.picture.sha256 for s in sources}
    for copy in copies:
        [source] = [s for s in sources if s.picture.sha256 == copy.picture.sha256]
        assert np.array_equal(copy.picture.pixels, source.picture.pixels)
        assert copy.kind == "dicom"


def test_copies_that_exist_are_kept_as_they_are(tmp_path: Path) -> None:
    _study(tmp_path)
    for _ in range(2):
        done = _ikyoku(tmp_path, "deidentify", "in", "out", "--secret-variable", "COPY_SECRET")
    assert done.returncode == 2
    assert done.stderr.count("exists already") == 3
    assert "0 of 8 files written to out, 8 failed" in done.stdout
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    other = "another secret, as long"
    again = _ikyoku(tmp_path, "deidentify", "in/kanji.dcm", "out", "--secret-variable", "COPY_SECRET", secret=other)
    assert (again.returncode, "1 of 1 files written" in again.stdout) == (0, True), again.stderr
    assert len(list((tmp_path / "out").iterdir())) == 4
    assert all(path.read_bytes() == data for path, data in before.items())
    short = _ikyoku(tmp_path, "deidentify", "in", "out", "--secret-variable", "COPY_SECRET", secret="short")
    assert (short.returncode, "at least 16" in short.stderr) == (2, True)


def test_a_folder_within_the_source_is_not_copied_again(tmp_path: Path) -> None:
    write_dx(tmp_path / "one.dcm", chest(), key="1", subject=SUBJECT)
    for written in (1, 2):  # a secret is drawn for each call, so the second copy has another name
        done = _ikyoku(tmp_path, "deidentify", ".", "copies")
        assert (done.returncode, "1 of 1 files written" in done.stdout) == (0, True), done.stderr
        assert len(list((tmp_path / "copies").iterdir())) == written
        _names_nobody(tmp_path / "copies", done)
