"""The English reader on sentences written for it."""

from __future__ import annotations

from pathlib import Path

from ruamel.yaml import YAML

from ikyoku.english_findings import english_sections, read_english
from ikyoku.findings import FINDINGS

GOLDEN = YAML(typ="safe").load((Path(__file__).parent / "golden" / "english_findings.yaml").read_text(encoding="utf-8"))


def _read(text: str) -> set[str]:
    return {":".join(filter(None, (f.name, f.certainty, f.side))) for f in read_english(text).findings}


def test_most_of_the_golden_sentences_are_read_as_a_person_reads_them() -> None:
    hits = misses = extras = 0
    for entry in GOLDEN:
        wanted, found = set(entry["found"]), _read(entry["text"])
        assert {unit.split(":")[0] for unit in wanted} <= set(FINDINGS)
        hits, misses, extras = hits + len(wanted & found), misses + len(wanted - found), extras + len(found - wanted)
    assert hits / (hits + misses) >= 0.95
    assert hits / (hits + extras) >= 0.95


def test_sections_and_sizes() -> None:
    text = "HISTORY: Cough.\nFINDINGS: A 1.2 x 2 cm nodule.\nIMPRESSION: Nodule."
    assert english_sections(text) == ("A 1.2 x 2 cm nodule.", "Nodule.")
    assert [m.value for m in read_english(text).measurements] == [12.0, 20.0]
