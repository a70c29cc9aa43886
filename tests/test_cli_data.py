"""`ikyoku data` as a user meets it: what is refused in words, and files that cannot be copied."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def _ikyoku(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ikyoku", "data", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("translate --data none.jsonl --model m", "none.jsonl"),
        ("translate --reviewed back.csv --data x", "--reviewed: the run holds all else"),
        ("translate --reviewed back.csv", "no finished translate run"),
        ("deidentify none out", "none: no such file or folder."),
    ],
)
def test_what_is_refused(tmp_path: Path, command: str, words: str) -> None:
    done = _ikyoku(tmp_path, *command.split())
    assert (done.returncode, words in done.stderr) == (2, True), done.stderr


def test_a_file_that_is_no_radiograph_is_named_and_not_copied(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "note.dcm").write_text("山田花子", encoding="utf-8")
    done = _ikyoku(tmp_path, "deidentify", "in", "out")
    assert done.returncode == 2, done.stderr
    assert "note.dcm" in done.stderr
    assert "山田" not in done.stdout + done.stderr
    assert "0 of 1 files written" in done.stdout
    assert list((tmp_path / "out").iterdir()) == []
