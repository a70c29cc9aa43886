"""The page of the demo on X-rays: three drafts, and what the search for their author came to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ikyoku.charts import escaped
from ikyoku.pages.evolution_reports import report_section, reports_sentence
from ikyoku.pages.reports import SCRIPT, report_cards
from ikyoku.pages.shell import page, record, section


def demo_reports_page(
    *,
    name: str,
    drafts: Sequence[Mapping[str, Any]],
    scores: Mapping[str, Any],
    provenance: Mapping[str, Any],
    notes: Sequence[str],
) -> str:
    """Returns the demo's page: the drafts, the comparison on untouched phantoms, how it was made.

    Args:
        name: The run's name.
        drafts: As of `report_cards`.
        scores: What scores.json of the search holds.
        provenance: What provenance.json holds.
        notes: How it was made, one paragraph each.
    """
    items = "".join(f"<li>{escaped(note)}</li>" for note in notes)
    body = [
        section("Drafts of phantom X-rays", "模擬X線写真の読影下書き", report_cards(drafts)),
        *(reports_sentence(test) for test in scores["report_tests"]),
        report_section(scores["report_tests"], scores["report_test"], {}),
        section("How it was made", "作り方", f"<ul>{items}</ul>"),
        record(provenance, ""),
    ]
    return page("demo", "デモ", name, body, script=SCRIPT)
