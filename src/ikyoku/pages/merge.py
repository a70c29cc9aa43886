"""The page of a merge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ikyoku.charts import escaped
from ikyoku.pages.shell import both, cards, facts, listed, page, record, section


def merging_page(
    *,
    name: str,
    coverage: str,
    notes: Sequence[str],
    parents: Sequence[Mapping[str, Any]],
    shards: Sequence[Mapping[str, Any]],
    result: Mapping[str, Any],
    recipe: str,
    provenance: Mapping[str, Any],
    spec_text: str,
) -> str:
    """Returns the page of a merge: what was merged of what, the recipe, the files with their hashes.

    Args:
        name: The run's name.
        coverage: What was merged and what was kept, as a sentence.
        notes: What the recipe says without effect.
        parents: Of each model what its row shows, its name first; all have the same keys.
        shards: Of each file its name, bytes and sha256.
        result: The run's short result.
        recipe: The recipe as YAML.
        provenance: What provenance.json holds.
        spec_text: The resolved spec as YAML.
    """
    lead = f'<p class="lead">{escaped(coverage)}.</p>{listed(notes)}'
    told = {key: value for key, value in result.items() if key != "sha256"}
    drawn = [
        f'<div class="card"><h3>{both("Result", "結果")}</h3>{facts(told)}</div>',
        f'<div class="card"><h3>{both("Recipe", "レシピ")}</h3><pre>{escaped(recipe)}</pre></div>',
    ]
    body = [
        lead,
        cards(drawn),
        section("Models", "元のモデル", _table(parents, tuple(parents[0]))),
        section("Files", "ファイル", _table(shards, ("file", "bytes", "sha256"))),
        record(provenance, spec_text),
    ]
    return page("merge", "マージ", name, body)


def _table(rows: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> str:
    head = "".join(f'<th scope="col">{escaped(key)}</th>' for key in keys)
    lines = []
    for row in rows:
        first, *rest = (f"{row[key]:,}" if isinstance(row[key], int) else escaped(str(row[key])) for key in keys)
        cells = "".join(f"<td>{cell}</td>" for cell in rest)
        lines.append(f'<tr><th scope="row">{first}</th>{cells}</tr>')
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'
