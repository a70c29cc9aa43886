"""The result of a search for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ikyoku.charts import clipped, display_width
from ikyoku.tables.numbers import estimate_text, holm_p, narrow_p, printable, signed

_WIDEST_NAME = 40


def evolution_text(scores: Mapping[str, Any]) -> str:
    """Returns the result of a search: fitness on the development questions, accuracy on each test, what is to be said.

    Args:
        scores: what scores.json of `ikyoku evolve` holds.
    """
    winner = scores["winner"]
    rows = [("development", "searched", "held out", "all")]
    rows.append(("winner", *_fitness(winner)))
    for history in scores["searches"][1:]:
        best = next(one for one in history["finalists"] if one["number"] == history["winner"])
        rows.append(("best of random search", *_fitness(best)))
    rows += [(printable(one["label"]), *_fitness(one)) for one in reversed(scores["baselines"])]
    lines = _table(rows)
    for test in scores["tests"]:
        against = {pair["b"]: pair for pair in test["pairs"]}
        rows = [(f"test {printable(test['name'])}, n = {test['asked']}", "accuracy [95 %]", "winner -", "p (Holm)")]
        for one in test["systems"]:
            pair = against.get(one["system"])
            told = (signed(pair["difference"], "-"), narrow_p(holm_p(pair))) if pair else ("", "")
            rows.append((printable(one["system"]), estimate_text(one["accuracy"], dash="-"), *told))
        lines += ["", *_table(rows)]
    for test in scores.get("report_tests") or ():
        lines += ["", *_table(_report_rows(test))]
    lines += ["", *(f"note: {printable(note)}" for note in scores["notes"])] if scores["notes"] else []
    return "\n".join(lines)


def report_scores_text(found: Mapping[str, Any]) -> str:
    """Returns the reports' scores as `jobs.score_reports` has them: the table, BERTScore, the judge's counts."""
    lines: list[str] = []
    for number, test in enumerate(found["report_tests"]):
        lines += ["", *_table(_report_rows(test))]
        if found["bertscore"]:
            held = found["bertscore"]["tests"][number]
            lines += ["", *_table(_compared(held, f"layer {found['bertscore']['layer']}", "BERTScore F1", "f1"))]
        if found["judge"]:
            held = found["judge"]["tests"][number]
            rows = _compared(held, f"judge {found['judge']['model']}", "errors a report", "errors_per_report")
            unread = ["unread", *(f"{100 * one['unread']['value']:.0f} %" for one in held["systems"])]
            lines += ["", *_table([(*row, share) for row, share in zip(rows, unread, strict=True)])]
    if not found["as_recorded"]:
        lines += ["", "note: the run's scores.json has other figures: made by another ikyoku, or changed since"]
    return "\n".join(lines[1:])


def _compared(test: Mapping[str, Any], by: str, title: str, key: str) -> list[tuple[str, ...]]:
    """One more metric, a row a system, each other one beside the winner."""
    heads = (f"{printable(by)}, n = {test['n']}", f"{title} [95 %]", "winner -", "p (Holm)")
    rows: list[tuple[str, ...]] = [heads]
    against = {pair["b"]: pair for pair in test["pairs"]}
    for one in test["systems"]:
        pair = against.get(one["system"])
        told = (signed(pair["difference"], "-"), narrow_p(holm_p(pair))) if pair else ("", "")
        rows.append((printable(one["system"]), estimate_text(one[key], dash="-"), *told))
    return rows


def _report_rows(test: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """What each system wrote of untouched radiographs, a row a system."""
    heads = (f"test {printable(test['name'])}, n = {test['n']}", "Japanese", "ROUGE-L", "finding F1", "dangerous/100")
    rows: list[tuple[str, ...]] = [heads]
    for one in test["systems"]:
        metrics = one["metrics"]
        told = [estimate_text(metrics[name], dash="-") for name in ("rouge_l", "finding_f1")]
        share = f"{100 * metrics['japanese']['value']:.0f} %"
        rows.append((printable(one["system"]), share, *told, f"{one['dangerous']['all']['value']:.0f}"))
    return rows


def _fitness(one: Mapping[str, Any]) -> tuple[str, str, str]:
    held = one["held_out"]
    return f"{one['search']:.4f}", "-" if held is None else f"{held:.4f}", f"{one['all']:.4f}"


def _table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """The rows as lines, the first one set off; the first column to the left, the others to the right."""
    texts = [(clipped(row[0], _WIDEST_NAME, ".."), *row[1:]) for row in rows]
    widths = [max(map(display_width, column)) for column in zip(*texts, strict=True)]
    lines = []
    for row in texts:
        pads = [" " * (width - display_width(text)) for text, width in zip(row, widths, strict=True)]
        lines.append(
            "  ".join(t + p if i == 0 else p + t for i, (t, p) in enumerate(zip(row, pads, strict=True))).rstrip()
        )
    return [lines[0], "-" * max(map(display_width, lines)), *lines[1:]]
