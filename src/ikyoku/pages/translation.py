"""The page of a translation: how many reports passed the back-check, and what was wrong with the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ikyoku.charts import escaped
from ikyoku.pages.shell import both, details, listed, page, record, section

_MOST_CASES = 30
_SECTIONS = (("findings", "FINDINGS", "所見"), ("impression", "IMPRESSION", "診断"))
_VERDICTS = {"accepted": "採用", "corrected": "修正", "rejected": "除外", "open": "判定なし"}
_STYLE = (
    "<style>.case { margin-bottom: 12px; } .case .notes { margin: .3rem 0 .5rem; } .told { display: grid; "
    "grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); gap: 4px 24px; } .told p { margin: 0; "
    "white-space: pre-wrap; line-height: 1.65; } .told h4 { margin: .4rem 0 .1rem; } "
    ".kinds :is(th, td):nth-child(-n+2) { text-align: left; }</style>"
)

Check = Mapping[str, Any]


def translation_page(
    *,
    name: str,
    result: Mapping[str, Any],
    kinds: Mapping[Any, str],
    checks: Sequence[Check],
    corrected: Sequence[Check],
    decided: Mapping[str, str],
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
        corrected: The same of the reviewer's own texts, checked back; empty before a review.
        decided: The reviewer's verdicts by id; such reports are not shown as to be looked at.
        left_out: Ids of the reports that are no pair.
        provenance: What provenance.json holds.
        spec_text: The resolved spec as YAML.
    """
    order = list(kinds)

    def gravity(check: Check) -> tuple[int, int]:
        found = [order.index(fault["kind"]) for fault in _faults(check)]
        return min(found), -len(found)

    faulty = sorted((c for c in checks if _faults(c) and c["id"] not in decided), key=gravity)
    more = f'<p class="quiet">{len(faulty) - _MOST_CASES} more in review.csv</p>' if len(faulty) > _MOST_CASES else ""
    cases = "".join(map(_case, faulty[:_MOST_CASES])) + more
    body = [_STYLE, _lead(result, len(faulty)), section("Faults", "自動点検の指摘", _table(result, kinds))]
    if corrected:
        body.append(section("Corrected texts, checked back", "修正文の再点検", _corrections(corrected)))
    body.append(section("To be looked at, the gravest first", "要確認の報告書", cases or "<p>none</p>"))
    if left_out:
        label = both("Left out of the pairs", "採用しなかった報告書")
        body.append(details(f"{label}: {len(left_out)}", listed(left_out, "ids")))
    return page("translate", "翻訳", name, [*body, record(provenance, spec_text)])


def _lead(result: Mapping[str, Any], left: int) -> str:
    reviewed = result.get("reviewed", {})
    told = "".join(
        f'<span class="chip">{both(verdict, _VERDICTS[verdict])} {count}</span>' for verdict, count in reviewed.items()
    )
    if reviewed:
        told += f'<span class="chip">{both("still to be looked at", "未確認")} {left}</span>'
    return (
        f'<p class="lead"><b>{result["reports"]}</b> reports translated, <b>{result["faulty"]}</b> with something to '
        f'look at, <b>{result["pairs"]}</b> given out as pairs. <span lang="ja">翻訳{result["reports"]}件、'
        f"要確認{result['faulty']}件、採用{result['pairs']}件。</span></p>"
        + (f'<div class="chips">{told}</div>' if told else "")
        + '<p class="quiet">A fault is a difference between what two labelers read, not a proof. Open review.csv in a '
        "spreadsheet, fill in 判定, 修正文 and コメント, and read it back with "
        '<code>ikyoku data translate --reviewed</code>. <span lang="ja">指摘は英文と訳文の自動読み取りの差であり、'
        "誤訳とは限りません。review.csv の判定（採用・修正・除外）と修正文を記入し、読み込ませてください。</span></p>"
    )


def _table(result: Mapping[str, Any], kinds: Mapping[Any, str]) -> str:
    rows = "".join(
        f'<tr><th scope="row" lang="ja">{escaped(kinds[kind])}</th><td>{escaped(kind)}</td><td>{count}</td></tr>'
        for kind, count in result["faults"].items()
    )
    head = "".join(
        f'<th scope="col">{label}</th>' for label in (both("fault", "指摘"), "kind", both("reports", "報告書"))
    )
    table = f'<table class="kinds"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    return f'<div class="scroll close">{table}</div>' if rows else "<p>none</p>"


def _corrections(corrected: Sequence[Check]) -> str:
    faulty = [check for check in corrected if _faults(check)]
    told = (
        f"<p><b>{len(corrected)}</b> texts of the reviewer's, <b>{len(faulty)}</b> of them with something to look at. "
        "They are pairs all the same: the reviewer decides.</p>"
    )
    return told + "".join(map(_case, faulty[:_MOST_CASES]))


def _faults(check: Check) -> list[Mapping[str, str]]:
    return [fault for key, _, _ in _SECTIONS for fault in check[key]["faults"]]


def _case(check: Check) -> str:
    """A report: what is to be looked at, and its sections in both languages side by side."""
    texts = "".join(
        f'<div class="told"><div lang="en"><h4>{english}</h4><p>{escaped(check[key]["source"])}</p></div>'
        f'<div lang="ja"><h4>{japanese}</h4><p>{escaped(check[key]["translation"]) or "—"}</p></div></div>'
        for key, english, japanese in _SECTIONS
        if check[key]["source"]
    )
    notes = listed([fault["text"] for fault in _faults(check)], "notes")
    return f'<div class="card case"><h3>{escaped(check["id"])}</h3>{notes}{texts}</div>'
