"""The benchmarks in small: that both sides of each come to the same answers. How fast they are is not tested."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"


def _figures(script: str, *arguments: object) -> dict[str, Any]:
    """Runs a benchmark in small and returns the JSON object with which it ends."""
    command = [sys.executable, str(FOLDER / script), "--quick", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def test_likelihoods_are_those_of_lm_eval() -> None:
    if find_spec("lm_eval") is None:
        pytest.skip("lm_eval is not installed: python -m pip install -c constraints.txt '.[bench]'")
    figures = _figures("bench_likelihood.py")
    for view in ("options", "letters"):
        found = figures[view]
        assert found["same_argmax"] == found["questions"] == 8
        assert found["largest_difference"] < 1e-4
        assert found["way"] == "shared prefix"
        work = {name.split(",")[0]: done for name, done in found["work"].items()}
        assert work["ikyoku"]["tokens"] < work["lm-eval"]["tokens"]
        assert work["ikyoku"]["rows"] < work["lm-eval"]["rows"] / 5


def test_replies_do_not_depend_on_the_batch() -> None:
    figures = _figures("bench_generate.py")
    for workload in ("replies", "short"):
        found = figures[workload]
        assert found["same_replies"] == found["questions"] == 8
        assert found["ended_by_themselves"] > 0


def test_a_merge_is_measured_beside_mergekit_where_that_is(tmp_path: Path) -> None:
    figures = _figures("bench_merge.py", "--cache", tmp_path)
    found = figures["methods"]["ties"]
    weights = figures["machine"]["parameters"] * 2
    assert figures["name"] == "merge"
    assert found["ikyoku"]["written"] >= weights
    assert found["ikyoku"]["peak_bytes"] == figures["peak_bytes"] > weights
    assert found["copy"]["read_calls"] >= 4 * weights
    assert list(tmp_path.glob("*/.*")) == []
    if "mergekit" in found:
        assert figures["ratios"]["ties"] > 0
        assert found["difference"]["largest"] < 0.01


def test_a_candidate_is_what_the_merge_writes() -> None:
    figures = _figures("bench_candidate.py", "--method", "ties", "--method", "dare_ties")
    assert figures["name"] == "candidate"
    for found in figures["methods"].values():
        assert found["different_from_merge"] == 0
        assert 0 < found["of_limit"] <= 1.5
        assert len(found["seconds"]) == 3


def test_an_evolution_on_pocket_parents_ends_with_a_table(tmp_path: Path, tiny_cache: Path) -> None:
    figures = _figures("evolve_pocket.py", "--cache", tiny_cache, "--runs", tmp_path)
    assert figures["states"]["search"] == {"complete": 6, "pruned": 0, "fail": 0}
    compared = {"winner", "random", "uniform", "base", "parent general-ja", "parent medical-ja", "parent medical-en"}
    assert set(figures["test"]) == compared
    assert all(found["n"] == 28 for found in figures["test"].values())


def test_a_search_on_images_is_faster_and_writes_the_same(tiny_xray_lab: Path) -> None:
    figures = _figures("bench_evolve.py", tiny_xray_lab)
    assert set(figures["differing_replies"].values()) == {0}
    assert (figures["images"], figures["candidates"], figures["timed"]) == (50, 6, 2)
    assert len(figures["ratios"]) == 3
