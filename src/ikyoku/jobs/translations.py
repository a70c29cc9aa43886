"""What is made of translated reports: the back-check, the pairs, the reviewer's sheet, the reviews."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ikyoku.datasets.base import write_jsonl
from ikyoku.datasets.english_reports import seen_from
from ikyoku.datasets.reviews import Review, ReviewRow, laid_out, mark_of, read_reviews, review_sheet
from ikyoku.english_findings import called_normal, read_english
from ikyoku.errors import RunError
from ikyoku.findings import FINDINGS, read_report
from ikyoku.metrics.translation import FAULTS, Fault, translation_faults
from ikyoku.pages.translation import translation_page
from ikyoku.runs import read_records, sha256_of, to_json, write_atomically

_THOUGHT = re.compile(r"(?s)^\s*<think>.*?</think>\s*")
_FENCE = re.compile(r"(?s)^\s*```\w*\n(.*?)\n?```\s*$")
_LABEL = re.compile(r"^\s*(?:\*\*)?(?:【?(?:所見|診断|印象|訳文|翻訳|日本語訳)】?)(?:\*\*)?\s*[:：]\s*")
_SECTIONS = {"findings": "所見", "impression": "診断"}


def reply_text(completion: str) -> str:
    """Returns the translation in a reply: without a thought before it, a code fence or a heading around it.

    >>> reply_text("所見：胸水を認めない。")
    '胸水を認めない。'
    """
    text = _THOUGHT.sub("", completion)
    fenced = _FENCE.match(text)
    return _LABEL.sub("", fenced[1] if fenced else text).strip()


def section_faults(source: str, translation: str, *, finish: str = "stop") -> tuple[Fault, ...]:
    """Returns the faults of one translated section, read by both labelers; see `metrics.translation`."""
    return translation_faults(
        source,
        translation,
        english=read_english(source),
        japanese=read_report(translation),
        names={name: term.japanese for name, term in FINDINGS.items()},
        normal=called_normal(source),
        finish=finish,
    )


def write_results(folder: Path) -> dict[str, Any]:
    """Checks the translations of a run and writes checks.jsonl, pairs.jsonl, review.csv, scores.json and summary.html.

    Returns:
        The run's short result: numbers of reports, of those with a fault, of pairs, and of faults by kind.
    """
    checks = _checks(folder)
    write_jsonl(folder / "checks.jsonl", checks)
    rows = [ReviewRow(c["id"], _source(c), _translation(c), _told(c)) for c in checks]
    write_atomically(folder / "review.csv", review_sheet(rows))
    return _finish(folder, checks, {}, {})


def apply_reviews(folder: Path, sheet: Path) -> dict[str, Any]:
    """Lays a reviewer's sheet over a finished run: writes its pairs, scores and page anew, and keeps the decisions.

    A report without verdict stays as the back-check left it. Corrected texts are checked back too; what is found in
    them is told and stands beside their pairs, and the reviewer's word still counts.

    Raises:
        DataError: the sheet is none of this run, with every fault of its rows.
        RunError: the folder is no finished translate run.
    """
    status = folder / "status.json"
    done = status.is_file() and json.loads(status.read_text(encoding="utf-8")).get("state") == "done"
    if not done or not (folder / "checks.jsonl").is_file():
        raise RunError(f"{folder}: no finished translate run. Name its folder with --run.")
    checks = list(read_records(folder / "checks.jsonl"))
    marks = {mark_of(c["id"], _source(c), _translation(c)): c for c in checks}
    reviews = read_reviews(sheet, {mark: bool(c["impression"]["source"]) for mark, c in marks.items()})
    by_id = {marks[r.mark]["id"]: r for r in reviews}
    sources = {c["id"]: c for c in checks}
    corrected = {name: _corrected(sources[name], r) for name, r in by_id.items() if r.verdict == "corrected"}
    records = [
        {"id": name, "verdict": r.verdict, "findings": r.findings, "impression": r.impression, "comment": r.comment}
        | ({"faults": _told(corrected[name])} if name in corrected else {})
        for name, r in by_id.items()
    ]
    write_jsonl(folder / "reviews.jsonl", records)
    result = _finish(folder, checks, by_id, corrected)
    return result | {"sheet": sha256_of(sheet)}


def _checks(folder: Path) -> list[dict[str, Any]]:
    """One record a report: source, translation and faults of both sections."""
    made = {(r["id"], r["section"]): r for r in read_records(folder / "translations.jsonl")}
    found: list[dict[str, Any]] = []
    for report in read_records(folder / "reports.jsonl"):
        check: dict[str, Any] = {key: report[key] for key in ("id", "images", "patient")}
        for section in _SECTIONS:
            record = made.get((report["id"], section))
            text, finish = (record["translation"], record["finish"]) if record else ("", "stop")
            check[section] = _checked(report[section] if record else "", text, finish)
        found.append(check)
    return found


def _checked(source: str, text: str, finish: str = "stop") -> dict[str, Any]:
    faults = section_faults(source, text, finish=finish) if source else ()
    listed = [{"kind": f.kind, "finding": f.finding, "text": str(f)} for f in faults]
    return {"source": source, "translation": text, "faults": listed}


def _corrected(check: Mapping[str, Any], review: Review) -> dict[str, Any]:
    """The check of a report with the reviewer's texts in place of the model's."""
    texts = {"findings": review.findings, "impression": review.impression}
    return dict(check) | {section: _checked(check[section]["source"], texts[section]) for section in _SECTIONS}


def _finish(
    folder: Path,
    checks: Sequence[Mapping[str, Any]],
    reviews: Mapping[str, Review],
    corrected: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """Writes pairs, scores and page; `corrected` holds the checks of the reviewer's own texts, by id."""
    spec = json.loads((folder / "translate.json").read_text(encoding="utf-8"))
    final = [(corrected.get(c["id"], c), r.verdict if (r := reviews.get(c["id"])) else "") for c in checks]
    pairs = [p for check, verdict in final if (p := _pair(folder, check, verdict, spec["keep_faulty"]))]
    write_atomically(folder / "pairs.jsonl", (json.dumps(p, ensure_ascii=False) + "\n" for p in pairs))
    kinds = Counter(kind for check in checks for kind in {f["kind"] for f in _faults(check)})
    result: dict[str, Any] = {
        "reports": len(checks),
        "faulty": sum(bool(_faults(check)) for check in checks),
        "pairs": len(pairs),
        "faults": {kind: kinds[kind] for kind in FAULTS if kinds[kind]},
    }
    if reviews:
        verdicts = Counter(r.verdict or "open" for r in reviews.values())
        result["reviewed"] = dict(verdicts)
        result["corrections"] = {name: [f["kind"] for f in _faults(c)] for name, c in corrected.items()}
    write_atomically(folder / "scores.json", to_json(result))
    provenance = folder / "provenance.json"
    page = translation_page(
        name=spec["name"],
        result=result,
        kinds=FAULTS,
        checks=checks,
        corrected=list(corrected.values()),
        decided={name: review.verdict for name, review in reviews.items() if review.verdict},
        left_out=sorted({c["id"] for c in checks} - {p["id"] for p in pairs}),
        provenance=json.loads(provenance.read_text(encoding="utf-8")) if provenance.is_file() else {},
        spec_text=(folder / "spec.yaml").read_text(encoding="utf-8") if (folder / "spec.yaml").is_file() else "",
    )
    write_atomically(folder / "summary.html", page)
    return result


def _pair(folder: Path, check: Mapping[str, Any], verdict: str, keep_faulty: bool) -> dict[str, Any] | None:
    """A report as a pair, None where it is not to be used: rejected, or faulty and not looked at."""
    faults = _faults(check)
    if verdict == "rejected" or not check["findings"]["translation"]:
        return None
    if not verdict and faults and not keep_faulty:
        return None
    return {
        "id": check["id"],
        "images": [seen_from(Path(image), folder) for image in check["images"]],
        "findings": check["findings"]["translation"],
        "impression": check["impression"]["translation"],
        "patient": check["patient"],
        "checked": "reviewer" if verdict else "labeler",
        **({"faults": [f["kind"] for f in faults]} if faults and verdict != "accepted" else {}),
    }


def _faults(check: Mapping[str, Any]) -> list[dict[str, str]]:
    return [fault for section in _SECTIONS for fault in check[section]["faults"]]


def _told(check: Mapping[str, Any]) -> list[str]:
    both = bool(check["impression"]["source"])
    return [
        f"{heading} {fault['text']}" if both else fault["text"]
        for section, heading in _SECTIONS.items()
        for fault in check[section]["faults"]
    ]


def _source(check: Mapping[str, Any]) -> str:
    findings, impression = (check[s]["source"] for s in _SECTIONS)
    return f"FINDINGS:\n{findings}\nIMPRESSION:\n{impression}" if impression else findings


def _translation(check: Mapping[str, Any]) -> str:
    return laid_out(*(check[s]["translation"] for s in _SECTIONS))
