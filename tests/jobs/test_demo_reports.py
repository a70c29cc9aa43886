"""`ikyoku demo --reports` at size tiny, end to end: phantoms, a search, three drafts on one page."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any


def test_it_ends_with_three_drafts(
    tiny_xray_lab: Path, tiny_cache: Path, tmp_path: Path, command: Callable[..., Any]
) -> None:
    arguments = ["demo", "--reports", "--size", "tiny", "--set", f"cache={tiny_cache}", "--runs", tmp_path, "--json"]
    told = json.loads(command(*arguments).finish())
    folder = Path(told["run"])
    assert told["result"]["connections_tried"] == 0
    page = (folder / "summary.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 3
    assert "未確認の下書き" in page
    drafts = folder / told["result"]["drafts"]
    records = [json.loads(line) for line in (drafts / "drafts.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [r["id"] for r in records] == ["study-0001", "study-0002", "study-0003"]
    for record in records:
        if record["state"] == "draft":  # where a card leads
            assert f"{told['result']['drafts']}/studies/" in page
    scores = json.loads((folder / told["result"]["evolution"] / "scores.json").read_text(encoding="utf-8"))
    assert scores["report_tests"][0]["n"] == 200
