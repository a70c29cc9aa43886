"""The golden set, read, and how well the labeler does on it: run this file for the table (--units: what was read)."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from ruamel.yaml import YAML

from ikyoku.findings import FINDINGS, Change, ReadReport, Side, Site, read_report

TABLE: Mapping[str, Any] = YAML(typ="safe").load(Path(__file__).parents[1] / "golden" / "findings.yaml")
SIGNS = {"+": "present", "?": "possible", "-": "absent"}

Unit = tuple[str, str, str, tuple[str, ...], str]


@dataclass(frozen=True)
class Row:
    """A sentence and what it says: (name, certainty, side, sites, change), in the order of the names."""

    part: str
    group: str
    text: str
    said: tuple[Unit, ...]


def parse(words: str | None) -> tuple[Unit, ...]:
    """Returns the units of a label such as "+pleural_effusion right new; -pneumothorax"."""
    units: list[Unit] = []
    for item in (words or "").split(";"):
        if not item.strip():
            continue
        first, *rest = item.split()
        if first == "normal":
            units.append(("normal", "present", "", (), ""))
            continue
        name, certainty = first[1:], SIGNS[first[0]]
        assert name in FINDINGS, name
        side = [w for w in rest if w in get_args(Side)]
        sites = [w for w in rest if w in get_args(Site)]
        change = [w for w in rest if w in get_args(Change)]
        assert len(side) <= 1 and len(change) <= 1 and len(side) + len(sites) + len(change) == len(rest), item
        units.append((name, certainty, "".join(side), tuple(sorted(sites)), "".join(change)))
    return tuple(sorted(units))


def rows(*parts: str) -> list[Row]:
    """Returns the rows of the named parts of the table, of all without a name."""
    return [
        Row(part, group, text, parse(words))
        for part, groups in TABLE.items()
        if part != "misses" and (not parts or part in parts)
        for group, table in groups.items()
        for text, words in table.items()
    ]


def said(report: ReadReport) -> tuple[Unit, ...]:
    """Returns the units of a report as it was read."""
    units = [(f.name, f.certainty, f.side, tuple(sorted(f.sites)), f.change) for f in report.findings]
    if report.normal:
        units.append(("normal", "present", "", (), ""))
    return tuple(sorted(units))


def misses(table: Iterable[Row]) -> Iterator[tuple[Row, tuple[Unit, ...]]]:
    """Yields the rows that are read otherwise than they should be, with what was read."""
    for row in table:
        got = said(read_report(row.text))
        if got != row.said:
            yield row, got


VIEWS = {
    "finding": lambda u: (u[0],),
    "finding, certainty": lambda u: u[:2],
    "… and side": lambda u: u[:3],
    "… and site": lambda u: u[:4],
    "… and change": lambda u: u,
}


def precision_and_recall(table: Iterable[Row]) -> dict[str, tuple[float, float, int, int]]:
    """Returns, for each view of a unit, precision, recall, how many were read and how many there are."""
    table = list(table)
    read = [said(read_report(row.text)) for row in table]
    figures = {}
    for name, view in VIEWS.items():
        right = got = there = 0
        for row, units in zip(table, read, strict=True):
            a, b = Counter(map(view, row.said)), Counter(map(view, units))
            right, got, there = right + (a & b).total(), got + b.total(), there + a.total()
        figures[name] = (right / max(got, 1), right / max(there, 1), got, there)
    return figures


def table_of_figures(table: Iterable[Row]) -> str:
    """Returns the figures as lines of text."""
    lines = [f"{'':20} precision  recall    read  stated"]
    for name, (precision, recall, got, there) in precision_and_recall(table).items():
        lines.append(f"{name:20} {precision:9.3f} {recall:7.3f} {got:7} {there:7}")
    return "\n".join(lines)


def note() -> str:
    """Returns precision / recall of every part as a table in Markdown, and every miss with its reason."""
    lines = [
        "precision / recall | sentences | stated | " + " | ".join(VIEWS) + " | not as expected",
        "---|--:|--:|" + "--:|" * (len(VIEWS) + 1),
    ]
    for part in [*(name for name in TABLE if name != "misses"), "all"]:
        chosen = rows(*([] if part == "all" else [part]))
        figures = precision_and_recall(chosen)
        shares = [f"{precision:.3f} / {recall:.3f}" for precision, recall, *_ in figures.values()]
        stated = figures["finding"][3]
        wrong = sum(1 for _ in misses(chosen))
        lines.append(f"{part} | {len(chosen)} | {stated} | " + " | ".join(shares) + f" | {wrong}")
    lines += ["", "Not read as expected:", *(f"- {text} ({reason})" for text, reason in TABLE["misses"].items())]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(f"{note()}\n")
    for row, got in misses(rows()) if "--units" in sys.argv else ():
        sys.stdout.write(f"\n{row.text!r} ({row.part})\n   should {row.said}\n   read   {got}\n")
