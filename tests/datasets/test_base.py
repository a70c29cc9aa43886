"""JSONL files as they come: marks, line ends, broken lines; hashes; writing all or nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ikyoku.datasets.base import content_hash, read_jsonl, write_jsonl
from ikyoku.errors import DataError


def _write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_mark_crlf_and_blank_lines_are_tolerated(tmp_path: Path) -> None:
    data = b"\xef\xbb\xbf" + '{"a": 1}\r\n\r\n   \r\n{"b": "語"}'.encode()
    assert list(read_jsonl(_write(tmp_path / "f.jsonl", data))) == [(1, {"a": 1}), (4, {"b": "語"})]


def test_a_line_separator_inside_a_text_is_no_line_end(tmp_path: Path) -> None:
    data = '{"a": "x\u2028y\x85z"}\n'.encode()
    assert list(read_jsonl(_write(tmp_path / "f.jsonl", data))) == [(1, {"a": "x\u2028y\x85z"})]


def test_broken_lines_are_named_together_without_their_text(tmp_path: Path) -> None:
    lines = ['{"n": 1}'] * 20
    lines[16] = '{"n": "患者の名前"'
    lines[18] = '["患者の名前"]'
    path = _write(tmp_path / "f.jsonl", "\n".join([*lines, '{"患者の名前": ']).encode())
    with pytest.raises(DataError) as caught:
        list(read_jsonl(path))
    shown = str(caught.value).splitlines()
    assert [line.split(":")[0] for line in shown] == [f"{path}, line {number}" for number in (17, 19, 21)]
    assert "a list, not a JSON object" in shown[1]
    assert "cut off" in shown[2]
    assert "患者" not in str(caught.value)


def test_whole_lines_are_yielded_before_the_fault_is_raised(tmp_path: Path) -> None:
    seen: list[int] = []
    with pytest.raises(DataError, match="line 2"):
        seen.extend(number for number, _ in read_jsonl(_write(tmp_path / "f.jsonl", b'{}\n{"a"\n{}\n')))
    faults: list[str] = []
    rows = list(read_jsonl(tmp_path / "f.jsonl", faults=faults))
    assert [number for number, _ in rows] == [1, 3]
    assert len(faults) == 1


def test_only_ten_of_many_broken_lines_are_shown(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        list(read_jsonl(_write(tmp_path / "f.jsonl", b"x\n" * 30)))
    assert len(str(caught.value).splitlines()) == 11
    assert "20 more" in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"\n \r\n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(DataError, match="empty"):
        list(read_jsonl(_write(tmp_path / "f.jsonl", data)))


@pytest.mark.parametrize("encoding", ["cp932", "utf-16"])
def test_another_encoding_is_named(tmp_path: Path, encoding: str) -> None:
    with pytest.raises(DataError, match="UTF-8"):
        list(read_jsonl(_write(tmp_path / "f.jsonl", '{"a": "語"}\n'.encode(encoding))))


@pytest.mark.parametrize(
    "line", [b'{"a": "\\ud800"}', b'{"a": ' + b"9" * 5000 + b"}", b'{"a":' * 200_000, b'{"a": "\t"}', b"null", b"{} {}"]
)
def test_odd_json_is_a_fault_of_its_line(tmp_path: Path, line: bytes) -> None:
    with pytest.raises(DataError, match=r"f\.jsonl, line 2: "):
        list(read_jsonl(_write(tmp_path / "f.jsonl", b"{}\n" + line + b"\n")))


def test_a_missing_file_and_a_folder_are_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_jsonl(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match="folder"):
        read_jsonl(tmp_path)
    with pytest.raises(DataError, match="cannot be read: File name too long"):
        read_jsonl(tmp_path / ("n" * 300))


@given(st.lists(st.text()), st.lists(st.text()))
def test_content_hash_tells_lists_apart(first: list[str], second: list[str]) -> None:
    assert (content_hash(first) == content_hash(second)) == (first == second)


def test_content_hash_is_pinned() -> None:
    assert content_hash([]) == hashlib.sha256(b"").hexdigest()
    assert content_hash(["語"]) == hashlib.sha256(bytes(7) + b"\x03" + "語".encode()).hexdigest()


def test_writing_is_all_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "made" / "f.jsonl"
    write_jsonl(path, [{"a": "語"}, {"b": [1]}])
    assert path.read_bytes() == '{"a": "語"}\n{"b": [1]}\n'.encode()

    def rows() -> Iterator[dict[str, object]]:
        yield {"a": 2}
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError):
        write_jsonl(path, rows())
    assert list(read_jsonl(path)) == [(1, {"a": "語"}), (2, {"b": [1]})]
    assert [file.name for file in path.parent.iterdir()] == ["f.jsonl"]
    with pytest.raises(DataError, match="folder"):
        write_jsonl(tmp_path, [])
    for wrong in (path / "below.jsonl", tmp_path / ("n" * 300)):
        with pytest.raises(DataError, match=r"cannot be written: (?:Not a directory|File exists|File name too long)"):
            write_jsonl(wrong, [{"a": 1}])
