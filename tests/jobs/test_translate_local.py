"""Translation by a local model: killed and continued, and over data sets of radiographs."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ikyoku
from ikyoku.datasets.radiographs import read_radiographs
from ikyoku.lab.phantoms.truth import phantom
from ikyoku.lab.phantoms.wording import report
from ikyoku.specfile import to_yaml

RESULTS = ("pairs.jsonl", "checks.jsonl", "review.csv", "scores.json")
REPORTS = 24


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of reports with both sections, of different lengths."""
    path = tmp_path_factory.mktemp("reports") / "reports.jsonl"
    told = [report(phantom(3, f"r{number}"), "en", wording=number) for number in range(REPORTS)]
    rows = [
        json.dumps({"id": f"r{at}", "findings": each.findings, "impression": each.impression})
        for at, each in enumerate(told)
    ]
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def spec(base: Path, data: Path, **values: Any) -> ikyoku.TranslateSpec:
    values = {"max_new_tokens": 16, "batch_size": 4, "format": "vicuna", "keep_faulty": True} | values
    return ikyoku.TranslateSpec(data=str(data), model=ikyoku.ModelSpec(path=str(base)), **values)


@pytest.fixture(scope="module")
def finished(tiny_bases: dict[str, Path], reports: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an uninterrupted run."""
    done = ikyoku.translate(spec(tiny_bases["tiny-ja"], reports), root=tmp_path_factory.mktemp("runs"))
    assert done.result["reports"] == REPORTS
    return done.folder


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("counts", [[1], [9, 30]])
def test_killed_it_is_continued_to_the_same_bits(
    finished: Path,
    tiny_bases: dict[str, Path],
    reports: Path,
    tmp_path: Path,
    command: Callable[..., Any],
    counts: list[int],
) -> None:
    """Killed when so many sections are translated; the rest is done by other processes, by the command line."""
    file, runs = tmp_path / "spec.yaml", tmp_path / "runs"
    file.write_text(to_yaml(spec(tiny_bases["tiny-ja"], reports)), encoding="utf-8")
    folder = runs / finished.name
    for count in counts:
        command("data", "translate", file, "--runs", runs).kill_at(folder / "translations.jsonl", count)
        assert not (folder / "pairs.jsonl").exists()
    out = command("data", "translate", file, "--runs", runs).finish()
    assert f"{REPORTS} reports" in out
    for name in RESULTS:
        assert (folder / name).read_bytes() == (finished / name).read_bytes(), name
    done = [(r["id"], r["section"]) for r in lines(folder / "translations.jsonl")]
    assert len(done) == len(set(done)) == 2 * REPORTS
    assert len(lines(folder / "pairs.jsonl")) == REPORTS


def test_replies_are_records_with_the_prompt_that_was_asked(finished: Path, reports: Path) -> None:
    [first] = [r for r in lines(finished / "translations.jsonl") if (r["id"], r["section"]) == ("r0", "findings")]
    source = json.loads(reports.read_text(encoding="utf-8").splitlines()[0])["findings"]
    assert source in first["prompt"]
    assert first["finish"] in ("stop", "length")
    sheet = list(csv.DictReader(io.StringIO((finished / "review.csv").read_text(encoding="utf-8-sig"), newline="")))
    assert [row["番号"] for row in sheet] == [f"r{number}" for number in range(REPORTS)]
    assert all(row["自動点検"] for row in sheet)  # a model that knows nothing translates nothing rightly


def _english(lab: Path, folder: Path) -> Path:
    """The lab's pairs with English texts in place of the Japanese ones, and their pictures."""
    shutil.copytree(lab, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    rows = lines(folder / "pairs-50.jsonl")[:6]
    told = [report(phantom(5, row["id"]), "en") for row in rows]
    english = [
        json.dumps(row | {"findings": each.findings, "impression": each.impression})
        for row, each in zip(rows, told, strict=True)
    ]
    path = folder / "english.jsonl"
    path.write_text("\n".join(english) + "\n", encoding="utf-8")
    return path


def test_a_data_set_of_radiographs_keeps_its_images(
    tiny_bases: dict[str, Path], tiny_xray_lab: Path, tmp_path: Path
) -> None:
    """What comes out is a data set again: every other verb reads it as pairs, with the images where they were."""
    data = _english(tiny_xray_lab, tmp_path / "lab")
    done = ikyoku.translate(
        spec(tiny_bases["tiny-ja"], data, layout="pairs", max_new_tokens=8), root=tmp_path / "runs" / "deep"
    )
    source, made = read_radiographs(data), read_radiographs(done.folder / "pairs.jsonl")
    assert made.layout == "pairs"
    assert 1 <= len(made.samples) <= 6
    images = {each.id: [path.resolve() for path in each.images] for each in source.samples}
    patients = {each.id: each.patient for each in source.samples}
    for each in made.samples:
        assert [path.resolve() for path in each.images] == images[each.id]
        assert each.patient == patients[each.id]


_OPEN_I = """<?xml version="1.0" encoding="utf-8"?>
<eCitation><uId id="CXR{number}"/><MedlineCitation><Article><Abstract>
<AbstractText Label="FINDINGS">{findings}</AbstractText>
<AbstractText Label="IMPRESSION">No acute disease.</AbstractText>
</Abstract></Article></MedlineCitation>
<parentImage id="CXR{number}_IM-1"><figureId>F</figureId></parentImage></eCitation>
"""


def test_the_layout_of_open_i_is_translated(tiny_bases: dict[str, Path], tiny_xray_lab: Path, tmp_path: Path) -> None:
    root = tmp_path / "open-i"
    for folder in ("ecgen-radiology", "NLMCXR_png"):
        (root / folder).mkdir(parents=True)
    picture = next(tiny_xray_lab.rglob("*.png"))
    for number, findings in ((1, "The lungs are clear. No effusion."), (2, "")):
        text = _OPEN_I.format(number=number, findings=findings)
        (root / "ecgen-radiology" / f"{number}.xml").write_text(text, encoding="utf-8")
        shutil.copy(picture, root / "NLMCXR_png" / f"CXR{number}_IM-1.png")
    done = ikyoku.translate(spec(tiny_bases["tiny-ja"], root, sections=("findings",)), root=tmp_path / "runs")
    assert done.result["reports"] == 1
    assert [r["section"] for r in lines(done.folder / "translations.jsonl")] == ["findings"]
    [omitted] = lines(done.folder / "omitted.jsonl")
    assert omitted["id"] == "CXR2"
    assert "no findings" in omitted["reason"]
