"""The English reader on sentences written for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from ikyoku.english_findings import english_sections, read_english
from ikyoku.findings import FINDINGS

FOLDER = Path(__file__).parent / "golden"
GOLDEN, HELD_OUT = (
    YAML(typ="safe").load((FOLDER / f"english_{name}.yaml").read_text(encoding="utf-8"))
    for name in ("findings", "held_out")
)


def _read(text: str) -> set[str]:
    return {":".join(filter(None, (f.name, f.certainty, f.side))) for f in read_english(text).findings}


@pytest.mark.parametrize(("entries", "count"), [(GOLDEN, 40), (HELD_OUT, 160)])
def test_golden_sentences_are_read_as_a_person_reads_them(entries: list[dict[str, Any]], count: int) -> None:
    assert len(entries) == count
    hits = misses = extras = 0
    for entry in entries:
        wanted, found = set(entry["found"]), _read(entry["text"])
        assert {unit.split(":")[0] for unit in wanted} <= set(FINDINGS)
        hits, misses, extras = hits + len(wanted & found), misses + len(wanted - found), extras + len(found - wanted)
    assert hits / (hits + misses) >= 0.95
    assert hits / (hits + extras) >= 0.95


def test_what_is_misread_is_known() -> None:
    """Every miss stands in the file, and nothing stands there that is read rightly."""
    for entry in HELD_OUT:
        wanted, found = set(entry["found"]), _read(entry["text"])
        assert wanted - found == set(entry.get("missed", ())), entry["text"]
        assert found - wanted == set(entry.get("extra", ())), entry["text"]


def test_sections_and_sizes() -> None:
    text = "HISTORY: Cough.\nFINDINGS: A 1.2 x 2 cm nodule.\nIMPRESSION: Nodule."
    assert english_sections(text) == ("A 1.2 x 2 cm nodule.", "Nodule.")
    assert [m.value for m in read_english(text).measurements] == [12.0, 20.0]
