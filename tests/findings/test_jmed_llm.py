"""Japanese radiology reports of others (CT, mostly of lung cancer): what carries over from them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ikyoku.findings import FINDINGS, labels, read_report

Shared = Callable[[str], Path]


def _texts(folder: Path) -> Iterator[str]:
    """Every long Japanese string in the folder's tables, whatever their columns are called."""
    for path in sorted(p for p in folder.rglob("*") if p.suffix in (".csv", ".tsv", ".json", ".jsonl", ".txt")):
        text = path.read_text(encoding="utf-8-sig", errors="replace")
        if path.suffix in (".csv", ".tsv"):
            import csv

            cells = [
                c
                for row in csv.reader(text.splitlines(keepends=True), delimiter="\t" if path.suffix == ".tsv" else ",")
                for c in row
            ]
        elif path.suffix == ".jsonl":
            cells = [c for line in text.splitlines() if line.strip() for c in _strings(json.loads(line))]
        else:
            cells = list(_strings(json.loads(text))) if path.suffix == ".json" else [text]
        yield from (c for c in cells if len(c) > 60 and any("ぁ" <= x <= "ん" for x in c))


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)


def test_reports_of_computed_tomography_are_read(shared: Shared) -> None:
    texts = list(dict.fromkeys(_texts(shared("data/jmed_llm"))))
    reports = [t for t in texts if any(word in t for word in ("肺", "胸水", "結節", "腫瘤"))]
    if len(reports) < 20:
        pytest.skip(f"{len(reports)} reports were recognised in jmed_llm: its files have another form")
    with_findings = stated = 0
    for text in reports:
        report = read_report(text)
        with_findings += any(f.certainty != "absent" for f in report.findings)
        stated += len(report.findings)
        for f in report.findings:
            assert f.name in FINDINGS and 0 <= f.start < f.end <= len(text)
        assert (labels(report)["no_finding"] == "present") <= all(
            f.certainty == "absent" or FINDINGS[f.name].device for f in report.findings
        )
        swapped = read_report(text.translate(str.maketrans("右左", "左右")))
        assert sum(f.side == "right" for f in report.findings) == sum(f.side == "left" for f in swapped.findings)
    assert with_findings / len(reports) > 0.7
    assert stated / len(reports) > 2
