"""The page of a search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ikyoku.charts import escaped
from ikyoku.pages.shell import both, facts, page, record, section


def evolution_page(
    *,
    name: str,
    scores: Mapping[str, Any],
    timings: Mapping[str, Any],
    provenance: Mapping[str, Any],
    spec_text: str,
) -> str:
    """Returns the page of a search: the winner against the rest on the untouched test, and its recipe.

    Args:
        name: The run's name.
        scores: What scores.json holds.
        timings: What timings.json holds.
        provenance: What provenance.json holds.
        spec_text: The resolved spec as YAML.
    """
    body = [
        section(
            escaped(test["name"]),
            "",
            facts({one["system"]: one["accuracy"]["value"] for one in test["systems"]}),
        )
        for test in scores["tests"]
    ]
    recipe = f"<h3>{both('Best recipe', '最良のレシピ')}</h3><pre>{escaped(scores['recipe'])}</pre>"
    return page("evolution", "進化的マージ", name, [*body, recipe, record(provenance, spec_text)])
