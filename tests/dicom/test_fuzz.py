"""Damaged files: 500 of them, always the same, each read or refused, without a word of whose they are."""

from __future__ import annotations

import logging
import random
import runpy
import time
from pathlib import Path
from typing import Any

import pytest

from ikyoku.dicom import vocabulary
from ikyoku.dicom.write import Subject, write_dx
from ikyoku.errors import DataError
from ikyoku.pictures import read_picture

chest = runpy.run_path(str(Path(__file__).parents[1] / "drawn_chest.py"))["chest"]

FILES, MOST_SECONDS = 500, 20.0
PERSON = Subject("Yamada^Tarou=山田^太郎=やまだ^たろう", "98765432", "19500102", "M")
WORDS = ("Yamada", "Tarou", "山田", "太郎", "やまだ", "たろう", "98765432", "19500102")
HTJ2K = (vocabulary.HTJ2K, vocabulary.HTJ2K_LOSSLESS, vocabulary.HTJ2K_RPCL)


def _flip(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 3, 10, 50))):
        data[rng.randrange(len(data))] = rng.randrange(256)


def _cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def _flip_in_header(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 3, 8))):
        data[rng.randrange(min(len(data), 1600))] = rng.choice((0, 255, rng.randrange(256)))


def _length(data: bytearray, rng: random.Random) -> None:
    at = rng.randrange(132, min(len(data), 1800) - 4)
    data[at : at + 4] = rng.choice((b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\0", rng.randbytes(4)))


def _swap(data: bytearray, rng: random.Random) -> None:
    most, size = min(len(data), 1600), rng.randrange(1, 80)
    one, other = rng.randrange(132, most), rng.randrange(132, most)
    data[one : one + size], data[other : other + size] = data[other : other + size], data[one : one + size]


def _code_stream(data: bytearray, rng: random.Random) -> None:
    start = max(data.find(b"\xfe\xff\x00\xe0", 200), len(data) // 4)
    for _ in range(rng.choice((1, 5, 30))):
        data[rng.randrange(start, len(data))] = rng.randrange(256)


CHANGES = (_flip, _cut, _flip_in_header, _length, _swap, _code_stream)


@pytest.fixture(scope="module")
def wholes(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    path = tmp_path_factory.mktemp("whole") / "image.dcm"
    files = []
    for syntax in vocabulary.TRANSFER_SYNTAXES:
        for character_set in ("utf-8", "kanji"):
            if syntax not in HTJ2K:
                bits = 8 if syntax == vocabulary.JPEG_BASELINE else 12
                more = {"PatientComments": "Yamada Tarou 98765432", "OtherPatientIDs": "98765432"}
                write_dx(
                    path,
                    chest(128, 100, bits=bits),
                    key="whole",
                    subject=PERSON,
                    character_set=character_set,
                    transfer_syntax=syntax,
                    bits_stored=bits,
                    more=more,
                )
                read_picture(path)
                files.append(path.read_bytes())
    return files


def test_damaged_files_neither_crash_nor_hang_nor_name_the_patient(
    tmp_path: Path, wholes: list[bytes], caplog: Any, capfd: Any, recwarn: pytest.WarningsRecorder
) -> None:
    caplog.set_level(logging.DEBUG)
    rng = random.Random(5)
    read, refused, slowest = 0, [], 0.0
    path = tmp_path / "damaged.dcm"
    for _ in range(FILES):
        data = bytearray(rng.choice(wholes))
        rng.choice(CHANGES)(data, rng)
        path.write_bytes(bytes(data))
        start = time.monotonic()
        try:
            found = read_picture(path)
            read += 1
            said = repr(found.header) + " ".join(found.warnings)
        except DataError as error:
            said = str(error)
            refused.append(said)
            assert error.__cause__ is None
            assert error.__context__ is None
        slowest = max(slowest, time.monotonic() - start)
        assert [word for word in WORDS if word in said] == []
    heard = caplog.text + "".join(capfd.readouterr()) + " ".join(str(each.message) for each in recwarn)
    assert [word for word in WORDS if word in heard] == []
    assert read > FILES // 10
    assert len(refused) > FILES // 10  # the changes do damage
    assert slowest < MOST_SECONDS
