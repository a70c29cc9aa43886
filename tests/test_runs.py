"""The run folder: its states, what an interruption leaves, the lock between processes, what is refused."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ikyoku.errors import DataError, RunError
from ikyoku.runs import Run, open_run, read_records, spec_hash, to_json, write_atomically

SPEC = {"name": "x", "seed": 7}
FOLDER = f"verb-x-{spec_hash(SPEC)}"


def _open(root: Path, *, new: bool = False, **inputs: Path) -> AbstractContextManager[Run]:
    return open_run("verb", "x", SPEC, spec_text="name: x\n", root=root, inputs=inputs, new=new)


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _status(root: Path, folder: str = FOLDER) -> Any:
    return _json(root / folder / "status.json")


def _names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


# states


def test_a_new_run_and_its_record(tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text("医\n", encoding="utf-8")
    root = tmp_path / "runs"
    with _open(root, data=data) as run:
        assert run.folder == root / FOLDER
        assert run.state == "running"
        assert _status(root) == {"state": "running"}
        assert (run.folder / "spec.yaml").read_text(encoding="utf-8") == "name: x\n"
        assert run.artifact == run.folder / "artifact"
        assert run.artifact.is_dir()
        run.append("steps", [{"id": "甲", "loss": 0.5}])
        assert run.write("scores.json", to_json({"n": 1})) == run.folder / "scores.json"
        run.finish({"answer": 42})
        assert run.state == "done"
        assert run.result() == {"answer": 42}
    assert _status(root) == {"state": "done", "result": {"answer": 42}}
    wanted = [".lock", "artifact", "provenance.json", "scores.json", "spec.yaml", "status.json", "steps.jsonl"]
    assert _names(root / FOLDER) == wanted
    record = _json(root / FOLDER / "provenance.json")
    assert record["inputs"] == {"data": hashlib.sha256("医\n".encode()).hexdigest()}
    assert [(s["command"], s["online"]) for s in record["starts"]] == [(sys.argv, False)]
    assert record["online"] is False
    assert record["seed"] == 7
    assert record["command"] == sys.argv
    assert record["packages"]["ikyoku"] != "absent"
    assert record["machine"]["cores"] >= 1
    assert "甲" in (root / FOLDER / "steps.jsonl").read_text(encoding="utf-8")  # readable, not \\u escapes


def test_a_finished_run_is_only_read(tmp_path: Path) -> None:
    with _open(tmp_path) as run:
        run.append("steps", [{"id": 1}])
        run.finish({"a": 1})
    before = {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in run.folder.iterdir()}
    with _open(tmp_path) as run:
        assert (run.state, run.result(), run.records("steps")) == ("done", {"a": 1}, [{"id": 1}])
    assert {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in run.folder.iterdir()} == before


def test_done_is_written_last(tmp_path: Path) -> None:
    with _open(tmp_path) as run:
        run.append("steps", [{"id": 1}])
        run.write("summary.html", "x")
        run.finish({})
    times = {p.name: p.stat().st_mtime_ns for p in run.folder.iterdir()}
    assert max(times, key=lambda name: times[name]) == "status.json"


def test_a_run_left_without_finishing_is_continued(tmp_path: Path) -> None:
    with _open(tmp_path) as run:
        run.append("steps", [{"id": 1}])
    provenance = _json(run.folder / "provenance.json")
    with _open(tmp_path) as run:
        assert run.state == "running"
        assert run.records("steps") == [{"id": 1}]
        run.append("steps", [{"id": 2}])
        assert run.records("steps") == [{"id": 1}, {"id": 2}]
    again = _json(run.folder / "provenance.json")
    assert [len(p.pop("starts")) for p in (provenance, again)] == [1, 2]
    assert again == provenance


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_an_interruption_is_no_failure(tmp_path: Path, stop: type[BaseException]) -> None:
    with pytest.raises(stop), _open(tmp_path) as run:
        run.append("steps", [{"id": 1}])
        raise stop
    assert _status(tmp_path) == {"state": "running"}
    assert run.records("steps") == [{"id": 1}]


def test_a_fault_of_the_user_is_recorded_without_traceback(tmp_path: Path) -> None:
    with pytest.raises(DataError), _open(tmp_path) as run:
        run.append("steps", [{"id": 1}])
        raise DataError("data.jsonl, line 17: not JSON")
    assert _status(tmp_path) == {"state": "failed", "error": "data.jsonl, line 17: not JSON"}
    assert not (run.folder / "traceback.txt").exists()


def test_a_run_refused_before_anything_was_done_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError), _open(tmp_path):
        raise DataError("data.jsonl, line 17: not JSON")
    assert list(tmp_path.iterdir()) == []


def test_a_bug_is_recorded_by_name_with_its_traceback(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), _open(tmp_path) as run:
        1 / 0  # noqa: B018
    assert _status(tmp_path) == {"state": "failed", "error": "ZeroDivisionError"}
    text = (run.folder / "traceback.txt").read_text(encoding="utf-8")
    assert "ZeroDivisionError: division by zero" in text
    assert "test_runs.py" in text


def test_a_failed_run_is_continued(tmp_path: Path) -> None:
    with pytest.raises(DataError), _open(tmp_path) as run:
        run.append("steps", [{"id": 1}])
        raise DataError("x")
    with _open(tmp_path) as run:
        assert _status(tmp_path) == {"state": "running"}
        run.append("steps", [{"id": 2}])
        run.finish({})
    assert run.records("steps") == [{"id": 1}, {"id": 2}]
    assert _status(tmp_path)["state"] == "done"


def test_new_makes_folders_beside(tmp_path: Path) -> None:
    for _ in range(2):
        with _open(tmp_path) as run:
            run.state  # noqa: B018
    for _ in range(2):
        with _open(tmp_path, new=True) as run:
            assert run.records("steps") == []
            run.append("steps", [{"id": 1}])
            run.finish({})
    assert _names(tmp_path) == [FOLDER, f"{FOLDER}-2", f"{FOLDER}-3"]
    assert _status(tmp_path) == {"state": "running"}
    with _open(tmp_path / "empty", new=True) as run:
        assert run.folder.name == FOLDER


def test_the_hash_is_of_the_values_alone() -> None:
    assert spec_hash({"a": 1, "b": [1, 2]}) == spec_hash({"b": [1, 2], "a": 1})
    assert spec_hash({"a": 1}) != spec_hash({"a": 2})
    assert len(spec_hash({})) == 10


# what an interruption leaves in a record


@settings(deadline=None)
@given(
    records=st.lists(st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=3), max_size=5), cut=st.data()
)
def test_a_record_cut_anywhere_is_continued_byte_exactly(
    tmp_path_factory: pytest.TempPathFactory, records: list[dict[str, str]], cut: Any
) -> None:
    root = tmp_path_factory.mktemp("cut")
    with _open(root) as run:
        run.append("steps", records)
    path = run.folder / "steps.jsonl"
    whole = path.read_bytes()
    kept = cut.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:kept])
    with _open(root) as run:
        done = run.records("steps")
        assert done == records[: len(done)]
        assert len(done) == whole[:kept].count(b"\n")
        run.append("steps", records[len(done) :])
        assert run.records("steps") == records
    assert path.read_bytes() == whole


@pytest.mark.parametrize("line", ['{"id": 1', "not JSON", "", "\x00\x00\x00", "3"])
def test_a_damaged_line_in_the_middle(tmp_path: Path, line: str) -> None:
    with _open(tmp_path) as run:
        run.append("steps", [{"id": 1}])
    path = run.folder / "steps.jsonl"
    path.write_text(f'{{"id": 1}}\n{line}\n{{"id": 3}}\n', encoding="utf-8")
    with pytest.raises(RunError, match=r"steps\.jsonl, line 2: not a JSON record"), _open(tmp_path) as run:
        run.records("steps")


def test_records_of_nothing(tmp_path: Path) -> None:
    assert list(read_records(tmp_path / "none.jsonl")) == []
    (tmp_path / "empty.jsonl").touch()
    assert list(read_records(tmp_path / "empty.jsonl")) == []


def test_rewrite_takes_records_back(tmp_path: Path) -> None:
    with _open(tmp_path) as run:
        run.append("steps", [{"id": i} for i in range(5)])
        run.rewrite("steps", [{"id": 0}])
        run.append("steps", [{"id": 9}])
        assert run.records("steps") == [{"id": 0}, {"id": 9}]
        run.rewrite("other", [{"id": "新"}])
        assert run.records("other") == [{"id": "新"}]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_is_refused(tmp_path: Path, value: float) -> None:
    with _open(tmp_path) as run:
        run.append("steps", [{"loss": 1.0}])
        for write in (run.append, run.rewrite):
            with pytest.raises(ValueError, match="not JSON compliant"):
                write("steps", [{"loss": value}])
        assert run.records("steps") == [{"loss": 1.0}]
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json({"loss": value})
    with pytest.raises(ValueError, match="not JSON compliant"), _open(tmp_path) as run:
        run.finish({"loss": value})
    assert _status(tmp_path) == {"state": "failed", "error": "ValueError"}


# inputs


def test_a_changed_input_is_refused(tmp_path: Path) -> None:
    data, model = tmp_path / "data", tmp_path / "model"
    model.mkdir()
    (model / "a.json").write_text("1", encoding="utf-8")
    data.write_text("1", encoding="utf-8")
    root = tmp_path / "runs"
    with _open(root, data=data, model=model):
        pass
    with _open(root, data=data, model=model):
        pass
    (model / "a.json").write_text("2", encoding="utf-8")
    data.write_text("2", encoding="utf-8")
    with (
        pytest.raises(RunError, match=r"changed since this run began: data, model\. .*--new"),
        _open(root, data=data, model=model),
    ):
        raise AssertionError("must not be entered")
    assert _status(root) == {"state": "running"}  # the run itself is as it was
    with _open(root, new=True, data=data, model=model) as run:
        assert run.folder.name == f"{FOLDER}-2"


def test_an_input_of_a_finished_run_is_checked_too(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.write_text("1", encoding="utf-8")
    with _open(tmp_path / "runs", data=data) as run:
        run.finish({})
    data.write_text("2", encoding="utf-8")
    with pytest.raises(RunError, match="changed since this run began: data"), _open(tmp_path / "runs", data=data):
        raise AssertionError("must not be entered")


@pytest.mark.parametrize("text", ["", "{", "[1]", "3"])
@pytest.mark.parametrize("name", ["status.json", "provenance.json"])
def test_a_damaged_record_of_the_run(tmp_path: Path, name: str, text: str) -> None:
    with _open(tmp_path) as run:
        pass
    (run.folder / name).write_text(text, encoding="utf-8")
    with pytest.raises(RunError, match=rf"{name}: not a JSON object"), _open(tmp_path):
        raise AssertionError("must not be entered")


def test_a_file_that_did_not_change_is_not_read_again(tmp_path: Path) -> None:
    """Seen by changing a file behind its size and time; a changed time alone is looked into and forgiven."""
    weights, told = tmp_path / "model" / "model.safetensors", []
    weights.parent.mkdir()
    weights.write_bytes(b"1" * 2_500_000)
    os.utime(weights, ns=(10**18, 10**18))

    def opened() -> AbstractContextManager[Run]:
        inputs = {"model": weights.parent}
        progress = lambda *step: told.append(step)  # noqa: E731
        return open_run("verb", "x", SPEC, spec_text="", root=tmp_path / "runs", inputs=inputs, progress=progress)

    with opened() as run:
        pass
    assert told == [("hashing inputs, MB", 2, 2)]
    before = _json(run.folder / "provenance.json")
    weights.write_bytes(b"2" * 2_500_000)
    os.utime(weights, ns=(10**18, 10**18))
    with opened() as run:
        assert len(told) == 1
        run.finish({})
    with opened() as run:
        assert (run.state, len(told)) == ("done", 1)
    weights.write_bytes(b"1" * 2_500_000)  # with a time of its own
    with opened() as run:
        assert (run.state, len(told)) == ("done", 2)
    assert _json(run.folder / "provenance.json")["inputs"] == before["inputs"]
    weights.write_bytes(b"3" * 2_500_000)
    with pytest.raises(RunError, match="changed since this run began: model"), opened():
        raise AssertionError("must not be entered")


def test_a_file_that_was_just_written_is_read_again(tmp_path: Path) -> None:
    """Its time of change may be too coarse to tell the next change."""
    data = tmp_path / "data"
    data.write_text("1", encoding="utf-8")
    with _open(tmp_path / "runs", data=data):
        stat = data.stat()
    data.write_text("2", encoding="utf-8")
    os.utime(data, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    with pytest.raises(RunError, match="changed since this run began: data"), _open(tmp_path / "runs", data=data):
        raise AssertionError("must not be entered")


# what the machine refuses


def test_an_input_that_cannot_be_read(tmp_path: Path) -> None:
    with (
        pytest.raises(DataError, match=r"mem: cannot be read: Input/output error\."),
        _open(tmp_path, data=Path("/proc/self/mem")),
    ):
        raise AssertionError("must not be entered")
    assert _names(tmp_path) == []


def test_a_place_where_no_folder_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for root in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / ("n" * 300)):
        with pytest.raises(RunError, match=r"no run folder can be made here: .*--runs"), _open(root):
            raise AssertionError("must not be entered")


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    full = "No space left on device. Make room there; the same command continues."
    with _open(tmp_path) as run:
        run.append("steps", [{"id": 1}])
        run.write("page.html", "old")
        (run.folder / "samples.jsonl").symlink_to("/dev/full")
        (run.folder / f".page.html.{os.getpid()}.part").symlink_to("/dev/full")
        with pytest.raises(RunError, match=rf"samples\.jsonl: cannot be written: {full}"):
            run.append("samples", [{"id": 1}])
        with pytest.raises(RunError, match=rf"page\.html: cannot be written: {full}"):
            run.write("page.html", "new")
        assert (run.folder / "page.html").read_text(encoding="utf-8") == "old"
    assert _status(tmp_path) == {"state": "running"}


def test_a_full_disk_that_a_library_reports(tmp_path: Path) -> None:
    """The status cannot be written either: the message must come through."""
    with pytest.raises(RunError, match="the disk is full"), _open(tmp_path) as run:
        run.append("steps", [{"id": 1}])
        (run.folder / f".status.json.{os.getpid()}.part").symlink_to("/dev/full")
        with Path("/dev/full").open("w", encoding="utf-8") as file:
            file.write("x")
    assert _status(tmp_path) == {"state": "running"}
    with pytest.raises(RunError, match="the disk is full"), _open(tmp_path):
        raise RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")
    assert _status(tmp_path)["error"].endswith("the disk is full. Make room there; the same command continues.")


# the record of starts


def test_online_is_never_forgotten(tmp_path: Path) -> None:
    for online in (False, True, False):
        with open_run("verb", "x", SPEC, spec_text="", root=tmp_path, inputs={}, online=online) as run:
            run.append("steps", [{"id": 1}])
    record = _json(run.folder / "provenance.json")
    assert (record["online"], [start["online"] for start in record["starts"]]) == (True, [False, True, False])
    assert all(start["time"].endswith("+00:00") for start in record["starts"])


def test_a_record_of_an_older_version_is_continued(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.write_text("1", encoding="utf-8")
    with _open(tmp_path / "runs", data=data) as run:
        pass
    record = _json(run.folder / "provenance.json")
    old = {key: record[key] for key in ("command", "packages", "inputs", "online")}
    (run.folder / "provenance.json").write_text(json.dumps(old), encoding="utf-8")
    with _open(tmp_path / "runs", data=data) as run:
        run.finish({})
    assert len(_json(run.folder / "provenance.json")["starts"]) == 1


def test_the_commit_of_a_hub_model_is_recorded_once_it_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    spec = {"models": [{"path": "some/model", "trust_remote_code": True}, {"path": str(tmp_path)}]}
    with open_run("verb", "x", spec, spec_text="", root=tmp_path / "runs", inputs={}) as run:
        record = _json(run.folder / "provenance.json")
        assert (record["hub"], record["trust_remote_code"]) == ({"some/model": None}, ["some/model"])
        refs = tmp_path / "cache" / "models--some--model" / "refs"
        refs.mkdir(parents=True)
        (refs / "main").write_text("0123abcd", encoding="utf-8")
        run.finish({})
    assert _json(run.folder / "provenance.json")["hub"] == {"some/model": "0123abcd"}


# processes

CHILD = """
import sys, time
from pathlib import Path
from ikyoku.runs import open_run
def opened(root):
    return open_run("verb", "x", {"name": "x", "seed": 7}, spec_text="", root=Path(root), inputs={})
"""


def _child(code: str, root: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", CHILD + code, str(root)], stdout=subprocess.PIPE, text=True)


def test_another_process_holds_the_lock(tmp_path: Path) -> None:
    code = "with opened(sys.argv[1]) as run:\n    print('open', flush=True)\n    time.sleep(60)\n"
    with _child(code, tmp_path) as child:
        try:
            assert child.stdout is not None
            assert child.stdout.readline() == "open\n"
            with pytest.raises(RunError, match="another process is working in this run"), _open(tmp_path):
                raise AssertionError("must not be entered")
            assert _status(tmp_path) == {"state": "running"}
        finally:
            child.kill()
    with _open(tmp_path) as run:  # the lock dies with its process
        assert run.folder.name == FOLDER


def test_a_new_run_stands_beside_a_locked_one_and_is_the_one_continued(tmp_path: Path) -> None:
    with _open(tmp_path) as first, _open(tmp_path, new=True) as second:
        assert (first.folder.name, second.folder.name) == (FOLDER, f"{FOLDER}-2")
    with _open(tmp_path) as run:
        assert run.folder.name == f"{FOLDER}-2"


@pytest.mark.parametrize("seconds", [0.05, 0.11, 0.2])
def test_a_process_killed_while_it_appends(tmp_path: Path, seconds: float) -> None:
    code = (
        "with opened(sys.argv[1]) as run:\n"
        "    for n in range(10**9):\n"
        "        run.append('steps', [{'id': n, 'text': '医' * 100_000}])\n"
        "        n or print('open', flush=True)\n"
    )
    with _child(code, tmp_path) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "open\n"
        time.sleep(seconds)
        child.kill()
        assert child.wait() == -signal.SIGKILL
    with _open(tmp_path) as run:
        assert run.state == "running"
        found = run.records("steps")
        assert [r["id"] for r in found] == list(range(len(found)))
        assert len(found) >= 1
        assert {len(r["text"]) for r in found} == {100_000}
        run.append("steps", [{"id": len(found), "text": "医"}])
        assert [r["id"] for r in run.records("steps")] == list(range(len(found) + 1))


# files


def test_write_atomically(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_atomically(path, "古い\n")
    write_atomically(path, "新しい\n")
    assert path.read_bytes() == "新しい\n".encode()
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "half \ud800 of a pair")
    assert path.read_bytes() == "新しい\n".encode()
    assert _names(tmp_path) == ["a.txt"]
    (tmp_path / "folder").mkdir()
    with pytest.raises(RunError, match="folder: cannot be written: Is a directory"):
        write_atomically(tmp_path / "folder", "x")
    with pytest.raises(RunError, match=r"a\.txt: cannot be written: No such file or directory"):
        write_atomically(tmp_path / "none" / "a.txt", "x")
    assert _names(tmp_path) == ["a.txt", "folder"]
