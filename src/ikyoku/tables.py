"""An evaluation's scores as rows of a table, and the table as text for the terminal and as Markdown.

Beside the table: how the figures in it are written, shared with the run's page.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ikyoku.charts import clipped, display_width, figure

METRICS: Mapping[str, tuple[str, str, str]] = {
    "accuracy": ("accuracy", "正答率", "Acc."),
    "exact_match": ("exact match", "完全一致率", "Exact"),
    "gestalt_score": ("Gestalt score", "ゲシュタルトスコア", "Gest."),
}
"""The metrics of the studies: name, Japanese name, head of a narrow column."""

_HARNESS = "harness_accuracy"

CEILING = "gold"
"""The reference that is a ceiling; all others are floors."""

REFERENCES = {"empty reply": "空の返答", "letters": "記号だけの返答", "chance": "無作為", "gold": "正解そのもの"}
"""Japanese names of the references."""

GLOSSARY = {
    (
        "accuracy",
        "正答率",
    ): "1 if the options nearest to the reply by Gestalt similarity, as many as the question asks for, "
    "are the right ones (JMedLoRA's Accuracy). A reply that shares no letter with any option is wrong.",
    ("exact match", "完全一致率"): "1 if the reply is the right options' texts, letter for letter.",
    ("Gestalt score", "ゲシュタルトスコア"): "similarity of the reply and the right options' texts, from 0 to 1: "
    "2|K| / (|reply| + |right|), K being the matching blocks (Ratcliff and Obershelp).",
    ("harness", "公開ハーネスの規則"): "accuracy, and exact match (EM), by the authors' published rule "
    "(japanese-lm-med-harness), faults included: a model that answers nothing gets about 0.17. It serves only to "
    "compare with published numbers.",
    ("floor, ceiling", "下限・上限"): "what replies without knowledge get, and what the right answers themselves get.",
    (
        "Δ",
        "差",
    ): "difference of the accuracy from the base model on the same questions, with p by the test named below the "
    "table. The interval of the difference in the first sentence is Bonett and Price's (2012) for paired proportions.",
    ("[low–high]", "95 % 信頼区間"): "two-sided 95 % interval of a score.",
}
"""What the columns mean, by name and Japanese name."""

_TERMINAL = 110  # columns a terminal table should keep to
_MOST_NOTES = 8
_MANY_CUT = 0.05  # share of replies that were cut, or hold no answer, from which a reader is warned first


class Row(NamedTuple):
    """One row of the table: what was asked, and how."""

    model: str
    format: str
    shots: int


class Table:
    """The scores of an evaluate run, by row and exam, in the order of their first appearance."""

    def __init__(self, scores: Mapping[str, Any]) -> None:
        """Takes what scores.json holds."""
        self.headline = str(scores.get("headline", "accuracy"))
        self.test = str(scores.get("test", ""))
        self.exams: list[Mapping[str, Any]] = list(scores.get("exams", ()))
        self.cells: dict[tuple[Row, str], Mapping[str, Any]] = {
            (Row(c["model"], c["format"], c["shots"]), c["exam"]): c for c in scores.get("cells", ())
        }
        self.rows = list(dict.fromkeys(row for row, _ in self.cells))
        names = [name for exam in self.exams for name in exam.get("reference") or {}]
        self.references = sorted(dict.fromkeys(names), key=lambda name: name == CEILING)
        self.compared = any(c.get("against") for c in self.cells.values())
        self.formats = len({r.format for r in self.rows}) > 1
        self.shots = len({r.shots for r in self.rows}) > 1

    def detail(self, row: Row) -> str:
        """Returns what tells rows of one model apart: the format and the shots, where they differ at all."""
        return " · ".join([row.format] * self.formats + [f"{row.shots}-shot"] * self.shots)

    def of(self, exam: str) -> list[tuple[Row, Mapping[str, Any]]]:
        """Returns the rows that were asked an exam and hold its headline score, with their cells."""
        found = [(row, self.cells[row, exam]) for row in self.rows if (row, exam) in self.cells]
        return [(row, cell) for row, cell in found if score(cell, self.headline) is not None]

    def before(self, row: Row, cell: Mapping[str, Any]) -> float:
        """Returns the headline score of the model that a cell is compared with, in the same format and shots."""
        against = cell["against"]
        value = score(self.cells.get((row._replace(model=against["model"]), cell["exam"]), {}), self.headline)
        return float(cell["metrics"][self.headline]["value"] - against["difference"]) if value is None else value

    def warnings(self) -> list[str]:
        """Returns what a reader must know before trusting a number: exams asked in part, many cut or empty replies."""
        asked = [
            f"{exam['exam']}: only the first {exam['limit']} questions were asked (limit): a trial, not a result."
            for exam in self.exams
            if exam.get("limit")
        ]
        return asked + self._cut(frequent=True)

    def notes(self) -> list[str]:
        """Returns where single replies were cut or hold no answer, as far as `warnings` does not say it."""
        return self._cut(frequent=False)

    def _cut(self, *, frequent: bool) -> list[str]:
        lines = []
        for (row, exam), cell in self.cells.items():
            finish = cell.get("finish") or {}
            unread = round((cell.get("unread") or {}).get("value", 0) * cell["n"])
            counts = (
                (finish.get("length", 0), "cut at the length limit"),
                (finish.get("too_long", 0), "too long for the model"),
                (unread, "without an answer"),
            )
            texts = [f"{count} {what}" for count, what in counts if count]
            # a reply without an answer is often a cut one as well
            most = max(counts[0][0] + counts[1][0], unread)
            if texts and (most >= _MANY_CUT * cell["n"]) is frequent:
                where = ", ".join([row.model, *filter(None, self.detail(row).split(" · "))])
                lines.append(f"{where}, on {exam}: of {cell['n']} replies {', '.join(texts)}.")
        more = [f"{len(lines) - _MOST_NOTES} more rows hold such replies."] if len(lines) > _MOST_NOTES else []
        return lines[:_MOST_NOTES] + more


def evaluation_table(scores: Mapping[str, Any]) -> str:
    """Returns the table for a terminal, aligned by display width, with a legend below.

    Exams stand side by side as far as about 110 columns allow, else one below the other; intervals of exact match and
    Gestalt score are shown where they fit. Apart from names it is ASCII: no terminal can misjudge a letter's width.
    """
    table = Table(scores)
    names = [exam["exam"] for exam in table.exams]
    lines = _terminal(table, names, wide=True)
    if max(map(display_width, lines)) > _TERMINAL:
        lines = _terminal(table, names, wide=False)
    if max(map(display_width, lines)) > _TERMINAL * 1.1 and len(names) > 1:
        blocks = [_terminal(table, [name], wide=True) for name in names]
        lines = [line for block in blocks for line in [*block, ""]][:-1]
    return "\n".join([*lines, "", *map(_plain, _legend(table))])


def evaluation_markdown(scores: Mapping[str, Any]) -> str:
    """Returns the same table in Markdown, with the legend as a list."""
    table = Table(scores)
    heads = ["model", "format", "shots"]
    for exam in table.exams:
        titles = [f"{METRICS[m][0]} [95 %]" for m in METRICS] + ["harness"] + ["Δ (p)"] * table.compared
        heads += [f"{exam['exam']}: {title}" for title in titles]
    rows = []
    for row in table.rows:
        texts = [row.model, row.format, str(row.shots)]
        for exam in table.exams:
            cell = table.cells.get((row, exam["exam"]), {})
            texts += [_with_interval(cell, metric, digits=3) for metric in (*METRICS, _HARNESS)]
            if table.compared:
                against = cell.get("against")
                texts.append(f"{signed(against['difference'])} ({p_text(holm_p(against))})" if against else "")
        rows.append(texts)
    for name in table.references:
        texts = [reference_label(name), "", ""]
        for exam in table.exams:
            values = reference_values(exam, name)
            texts += [figure(values.get(metric)) for metric in (*METRICS, _HARNESS)] + [""] * table.compared
        rows.append(texts)
    lines = [heads, ["---"] * 3 + ["---:"] * (len(heads) - 3), *rows]
    drawn = ["| " + " | ".join(map(_in_markdown, line)) + " |" for line in lines]
    return "\n".join([*drawn, "", *(f"- {_in_markdown(line)}" for line in _legend(table))]) + "\n"


def score(cell: Mapping[str, Any], metric: str) -> float | None:
    """Returns the value of a metric in a cell, or None where there is none."""
    value = (cell.get("metrics", {}).get(metric) or {}).get("value")
    return None if value is None or not math.isfinite(value) else float(value)


def interval(cell: Mapping[str, Any], metric: str, *, digits: int = 3, dash: str = "–") -> str:
    """Returns the interval of a metric in a cell as "low–high", empty where there is none."""
    found = cell.get("metrics", {}).get(metric) or {}
    if found.get("low") is None or found.get("high") is None:
        return ""
    return f"{found['low']:.{digits}f}{dash}{found['high']:.{digits}f}"


def reference_values(exam: Mapping[str, Any], name: str) -> dict[str, float]:
    """Returns the scores of a floor or the ceiling, given as numbers or as estimates."""
    given = (exam.get("reference") or {}).get(name) or {}
    values = {k: v["value"] if isinstance(v, Mapping) else v for k, v in given.items()}
    return {k: float(v) for k, v in values.items() if v is not None}


def reference_label(name: str) -> str:
    """Returns how tables name a reference.

    >>> reference_label("chance"), reference_label("gold")
    ('floor: chance', 'ceiling: gold')
    """
    return f"{'ceiling' if name == CEILING else 'floor'}: {name}"


def signed(value: float, minus: str = "−") -> str:
    """Returns a difference with its sign; one that rounds to nothing has none.

    >>> signed(0.6), signed(-0.0123), signed(-0.0001)
    ('+0.600', '−0.012', '0.000')
    """
    text = f"{abs(value):.3f}"
    return text if float(text) == 0 else f"{'+' if value > 0 else minus}{text}"


def p_text(value: float | None) -> str:
    """Returns a p-value in the usual style.

    >>> p_text(4e-20), p_text(0.0312), p_text(1.0)
    ('p < 0.001', 'p = 0.031', 'p = 1')
    """
    if value is None:
        return "p not given"
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}" if value < 0.9995 else "p = 1"


def holm_p(against: Mapping[str, Any]) -> float | None:
    """Returns a comparison's corrected p-value, or the plain one where no correction was made."""
    value = against.get("p_holm", against.get("p_value"))
    return None if value is None else float(value)


def difference_interval(against: Mapping[str, Any], n: int) -> tuple[float, float]:
    """Returns the 95 % interval of a paired difference of proportions of `n` items.

    It is computed from the numbers of items that only one side got right, unless the comparison brings its own.

    Reference:
        Bonett & Price 2012, J. Educ. Behav. Stat. 37(4), 479-488: Wald's interval with one item added to either number.

    >>> low, high = difference_interval({"only_this": 95, "only_that": 3}, 150)
    >>> print(f"{low:.3f} {high:.3f}")
    0.519 0.691
    """
    if against.get("low") is not None and against.get("high") is not None:
        return float(against["low"]), float(against["high"])
    this, that = (against["only_this"] + 1) / (n + 2), (against["only_that"] + 1) / (n + 2)
    half = 1.959964 * math.sqrt((this + that - (this - that) ** 2) / (n + 2))
    return max(-1.0, this - that - half), min(1.0, this - that + half)


def comparison(against: Mapping[str, Any]) -> str:
    """Returns a comparison with a base model in a line."""
    text = (
        f"{signed(against['difference'])} against {against['model']}: {against['only_this']} right only here, "
        f"{against['only_that']} right only there; p = {against['p_value']:.2g}, by Holm {p_text(holm_p(against))}"
    )
    if "gestalt_p" in against:
        text += f"; Gestalt score {signed(against['gestalt_difference'])}, {p_text(against['gestalt_p'])}"
    return text


def everything(table: Table, row: Row, cell: Mapping[str, Any]) -> str:
    """Returns all about a cell's headline score in a line, for a tooltip."""
    text = f"{row.model}, {row.format}, {row.shots}-shot, {cell['exam']}: {table.headline} "
    text += f"{figure(score(cell, table.headline))} [{interval(cell, table.headline)}], n = {cell['n']}"
    return f"{text}; {comparison(cell['against'])}" if cell.get("against") else text


def exam_line(exam: Mapping[str, Any]) -> str:
    """Returns what was asked of an exam in a line: item list, number, hash, what was omitted and why."""
    omitted = {reason: len(ids) for reason, ids in (exam.get("omitted") or {}).items() if ids}
    text = f"{exam['exam']}: {exam.get('items', 'all')}, {exam.get('asked', 0)} questions asked"
    text += f", sha256 {str(exam.get('sha256', ''))[:12]}; omitted {sum(omitted.values())}"
    return text + "".join(f"{': ' if i == 0 else ', '}{r} ({n})" for i, (r, n) in enumerate(omitted.items()))


def _terminal(table: Table, exams: Sequence[str], *, wide: bool) -> list[str]:
    """The table's lines: a block of columns for the rows' names and one for each exam."""
    blank = [""] * len(table.references)
    names = [
        ("model", [clipped(_plain(r.model), 32, "..") for r in table.rows] + list(map(_reference, table.references)))
    ]
    if table.formats:
        names.append(("format", [r.format for r in table.rows] + blank))
    if table.shots:
        names.append(("shots", [str(r.shots) for r in table.rows] + blank))
    gap = "  " if wide else " "
    blocks = [_block("", names, gap, left=True)]
    by_name = {exam["exam"]: exam for exam in table.exams}
    for exam in exams:
        cells = [table.cells.get((row, exam), {}) for row in table.rows]
        columns = []
        for metric, (_, _, head) in METRICS.items():
            shown = wide or metric == "accuracy"
            texts = [_with_interval(c, metric, digits=2 if shown else 0, dash="-") for c in cells]
            values = [reference_values(by_name[exam], name).get(metric) for name in table.references]
            room = max([len(t) - 5 for t in texts if t.endswith("]")], default=0)
            columns.append((head, texts + [("-" if v is None else figure(v)) + " " * room for v in values]))
        if table.compared:
            against = [c.get("against") for c in cells]
            columns.append(("diff.", [signed(a["difference"], "-") if a else "" for a in against] + blank))
            columns.append(("p", [_narrow_p(holm_p(a)) if a else "" for a in against] + blank))
        blocks.append(_block(_plain(exam), columns, gap, left=False))
    lines = [" | ".join(parts) for parts in zip(*blocks, strict=True)]
    rule = "-+-".join("-" * display_width(block[0]) for block in blocks)
    end = 2 + len(table.rows)
    body = [*lines[:2], rule, *lines[2:end], *([rule] if table.references else []), *lines[end:]]
    return [line.rstrip() for line in body]


def _block(title: str, columns: Sequence[tuple[str, list[str]]], gap: str, *, left: bool) -> list[str]:
    """Columns as lines of one width: the title, the heads, the rows."""
    lines = [""] * (1 + len(columns[0][1]))
    for number, (head, texts) in enumerate(columns):
        width = max(map(display_width, [head, *texts]))
        for i, text in enumerate([head, *texts]):
            pad = " " * (width - display_width(text))
            lines[i] += (gap if number else "") + (text + pad if left or (i == 0 and number == 0) else pad + text)
    width = display_width(lines[0])
    title = clipped(title, width, "..")
    return [title + " " * (width - display_width(title)), *lines]


def _legend(table: Table) -> list[str]:
    """The lines below a table."""
    lines = []
    if table.rows:
        same = ([] if table.formats else [table.rows[0].format]) + (
            [] if table.shots else [f"{table.rows[0].shots}-shot"]
        )
        lines += [f"all rows: {', '.join(same)}"] if same else []
    lines.append("accuracy (Acc.): the options nearest to the reply by Gestalt similarity are the right ones")
    lines.append("exact match (Exact): reply = right options' texts; Gestalt score (Gest.): their similarity, 0 to 1")
    lines.append("in brackets: two-sided 95 % interval")
    lines.append("harness (the authors' published rule, faults included): in summary.html and in the Markdown table")
    pairs = {f"{c['model']} against {c['against']['model']}": 0 for c in table.cells.values() if c.get("against")}
    if pairs:
        lines.append(f"diff., p: {'; '.join(pairs)}, same questions; {table.test}")
    return (
        lines
        + [exam_line(exam) for exam in table.exams]
        + [f"note: {note}" for note in table.warnings() + table.notes()]
    )


def _reference(name: str) -> str:
    return clipped(_plain(reference_label(name)), 30, "..")


def _with_interval(cell: Mapping[str, Any], metric: str, *, digits: int, dash: str = "–") -> str:
    """A score with its interval to so many digits, without for 0 digits."""
    value = score(cell, metric)
    if value is None:
        return dash
    text = interval(cell, metric, digits=digits, dash=dash) if digits else ""
    return f"{value:.3f} [{text}]" if text else f"{value:.3f}"


def _narrow_p(value: float | None) -> str:
    return "-" if value is None else "<.001" if value < 0.001 else f"{value:.3f}"


def _plain(text: str) -> str:
    """The text without what would steer a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _in_markdown(text: str) -> str:
    """The text as it can stand in a Markdown table's cell."""
    for special, written in (("&", "&amp;"), ("<", "&lt;"), ("|", "\\|"), ("*", "\\*"), ("_", "\\_"), ("`", "\\`")):
        text = text.replace(special, written)
    return " ".join(text.split())
