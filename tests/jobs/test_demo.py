"""`ikyoku demo` at size tiny, end to end: from nothing to the studies' table."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ikyoku
from ikyoku.jobs import start
from ikyoku.runs import sha256_of
from ikyoku.specs import DemoSpec

MODELS = ["tiny-ja", "tiny-ja+tuned", "tiny-en", "tiny-en+tuned"]


@pytest.fixture(scope="module")
def demo(tiny_bases: dict[str, Path], tiny_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The demo through the Python API, with the bases in the cache."""
    told: list[tuple[str, int, int]] = []
    root = tmp_path_factory.mktemp("runs")
    done = ikyoku.demo(
        DemoSpec(size="tiny", cache=str(tiny_cache)), root=root, progress=lambda *step: told.append(step)
    )
    assert told, "its progress is told"
    assert all(0 <= done <= total for _, done, total in told)
    return done


def test_both_bases_before_and_after_on_both_exams_in_both_shots(demo: Any) -> None:
    scores = json.loads((demo.folder / demo.result["evaluation"] / "scores.json").read_text(encoding="utf-8"))
    cells = [(c["model"], c["shots"], c["exam"]) for c in scores["cells"]]
    assert cells == [
        (model, shots, exam) for model in MODELS for shots in (0, 1) for exam in ("pocket exam", "retention exam")
    ]
    assert [c["n"] for c in scores["cells"]] == [30, 16] * 8
    compared = {c["model"]: c["against"]["model"] for c in scores["cells"] if c["against"]}
    assert compared == {"tiny-ja+tuned": "tiny-ja", "tiny-en+tuned": "tiny-en"}
    assert not any(c["finish"]["too_long"] for c in scores["cells"])


def test_the_bases_say_the_same_before_and_in_the_last_table(demo: Any) -> None:
    """The evaluation before tuning is not a rehearsal: its numbers are those of the table."""
    before, after = (
        {
            (c["model"], c["shots"], c["exam"]): c["metrics"]
            for c in json.loads((demo.folder / demo.result[part] / "scores.json").read_text(encoding="utf-8"))["cells"]
        }
        for part in ("before", "evaluation")
    )
    assert len(before) == 8
    assert before == {cell: metrics for cell, metrics in after.items() if cell in before}


def test_its_parts_are_ordinary_runs(demo: Any, tiny_bases: dict[str, Path], tiny_lab: Path) -> None:
    assert demo.result["bases"] == {name: str(folder) for name, folder in tiny_bases.items()}
    for name, place in demo.result["tunings"].items():
        folder = demo.folder / place
        assert json.loads((folder / "status.json").read_text(encoding="utf-8"))["state"] == "done"
        assert (folder / "artifact" / "adapter" / "adapter_model.safetensors").is_file()
        assert (folder / "summary.html").is_file()
        assert name in tiny_bases
    for file in tiny_lab.glob("*.jsonl"):
        assert sha256_of(demo.folder / "lab" / file.name) == sha256_of(file), "the demo asks the world of the tests"
    page = (demo.folder / "summary.html").read_text(encoding="utf-8")
    for name in (*MODELS, "pocket exam", "retention exam"):
        assert name in page
    assert "://" not in page.replace("http://www.w3.org", "")


def test_tuning_lowers_the_loss_of_both(demo: Any) -> None:
    for place in demo.result["tunings"].values():
        result = json.loads((demo.folder / place / "status.json").read_text(encoding="utf-8"))["result"]
        assert result["final_loss"] < result["first_loss"]


def test_the_command_prints_the_table_and_finishes_at_once_the_second_time(
    demo: Any, tiny_cache: Path, command: Callable[..., Any]
) -> None:
    before = {p: p.stat().st_mtime_ns for p in demo.folder.rglob("*")}
    arguments = ["demo", "--size", "tiny", "--set", f"cache={tiny_cache}", "--runs", demo.folder.parent]
    started = command(*arguments)
    out = started.finish()
    assert started.err.read_text(encoding="utf-8") == "", "quiet where nobody watches"
    assert "finished before" in out
    for text in (*MODELS, "pocket exam", "retention exam", "0-shot", "1-shot", str(demo.folder / "summary.html")):
        assert text in out
    told = json.loads(command(*arguments, "--json").finish())
    assert told == {"run": str(demo.folder), "result": demo.result}
    assert {p: p.stat().st_mtime_ns for p in demo.folder.rglob("*")} == before


def test_killed_it_is_continued_to_the_same_numbers(
    demo: Any, tiny_cache: Path, tmp_path: Path, command: Callable[..., Any]
) -> None:
    """Killed in the middle of the second tuning; the parts that were finished are only read."""
    arguments = ["demo", "--size", "tiny", "--set", f"cache={tiny_cache}", "--runs", tmp_path / "runs"]
    folder = tmp_path / "runs" / demo.folder.name
    command(*arguments).kill_at(folder / "runs", 2, pattern="tune-tiny-en-*/steps.jsonl")
    [first] = (folder / "runs").glob("tune-tiny-ja-*/status.json")
    finished_at = first.stat().st_mtime_ns
    told = json.loads(command(*arguments, "--json").finish())
    assert first.stat().st_mtime_ns == finished_at
    for name in ("tiny-ja", "tiny-en"):
        weights = [
            Path(run) / result["tunings"][name] / "artifact" / "adapter" / "adapter_model.safetensors"
            for run, result in ((told["run"], told["result"]), (demo.folder, demo.result))
        ]
        assert sha256_of(weights[0]) == sha256_of(weights[1]), name
    metrics = [
        [c["metrics"] for c in json.loads((run / result["evaluation"] / "scores.json").read_text())["cells"]]
        for run, result in ((folder, told["result"]), (demo.folder, demo.result))
    ]
    assert metrics[0] == metrics[1]


def test_start_tells_a_demo_from_other_jobs(demo: Any, tiny_cache: Path) -> None:
    again = start(DemoSpec(size="tiny", cache=str(tiny_cache)), root=demo.folder.parent)
    assert again.before and again.result == demo.result
