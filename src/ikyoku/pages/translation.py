"""The page of a translation: how many reports passed the back-check, and what was wrong with the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ikyoku.charts import escaped
from ikyoku.pages.shell import details, listed, page, record, section

_MOST_CASES = 30
_SECTIONS = (("findings", "所見"), ("impression", "診断"))


def translation_page(
    *,
    name: str,
    result: Mapping[str, Any],
    kinds: Mapping[Any, str],
    checks: Sequence[Mapping[str, Any]],
    left_out: Sequence[str],
    provenance: Mapping[str, Any],
    spec_text: str,
) -> str:
    """Returns the page of a translation.

    Args:
        name: The run's name.
        result: The run's short result.
        kinds: What each kind of fault is called, the gravest first.
        checks: The records of checks.jsonl.
        left_out: Ids of the reports that are no pair.
        provenance: What provenance.json holds.
        spec_text: The resolved spec as YAML.
    """
    lead = (
        f'<p class="lead"><b>{result["reports"]}</b> reports translated, <b>{result["faulty"]}</b> with something to '
        f'look at, <b>{result["pairs"]}</b> given out as pairs.</p><p class="quiet">A fault is a difference between '
        "what two labelers read, not a proof. Open review.csv in a spreadsheet, fill in 判定, 修正文 and コメント, and "
        "read it back with <code>ikyoku data translate --reviewed</code>.</p>"
    )
    rows = "".join(
        f'<tr><th scope="row">{escaped(kinds[kind])}</th><td>{escaped(kind)}</td><td>{count}</td></tr>'
        for kind, count in result["faults"].items()
    )
    head = '<thead><tr><th scope="col">指摘</th><th scope="col">kind</th><th scope="col">reports</th></tr></thead>'
    table = f'<div class="scroll"><table>{head}<tbody>{rows}</tbody></table></div>' if rows else "<p>none</p>"
    order = list(kinds)

    def gravity(check: Mapping[str, Any]) -> tuple[int, int]:
        found = [order.index(f["kind"]) for key, _ in _SECTIONS for f in check[key]["faults"]]
        return min(found), -len(found)

    faulty = sorted((c for c in checks if any(c[key]["faults"] for key, _ in _SECTIONS)), key=gravity)
    more = f'<p class="quiet">{len(faulty) - _MOST_CASES} more in review.csv</p>' if len(faulty) > _MOST_CASES else ""
    cases = "".join(_case(check) for check in faulty[:_MOST_CASES]) + more
    body = [
        lead,
        section("Faults", "自動点検の指摘", table),
        section("Worst cases", "要確認の報告書", cases or "<p>none</p>"),
    ]
    if left_out:
        body.append(details(f"Left out of the pairs: {len(left_out)}", listed(left_out, "ids")))
    return page("translate", "翻訳", name, [*body, record(provenance, spec_text)])


def _case(check: Mapping[str, Any]) -> str:
    faults = [f["text"] for key, _ in _SECTIONS for f in check[key]["faults"]]
    texts = "".join(
        f'<h4>{label}</h4><pre lang="en">{escaped(check[key]["source"])}</pre>'
        f'<pre lang="ja">{escaped(check[key]["translation"])}</pre>'
        for key, label in _SECTIONS
        if check[key]["source"]
    )
    return f'<div class="card"><h3>{escaped(check["id"])}</h3>{listed(faults, "notes")}{texts}</div>'
