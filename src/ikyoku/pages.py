"""The run's page (`summary.html`), one self-contained file that loads nothing, and its table for terminal and Markdown.

All of it is computed from what a run keeps in scores.json, steps.jsonl and provenance.json. Text that comes from there is
escaped; a content security policy in the page forbids scripts and every request besides.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ikyoku.charts import (
    FONTS,
    Limit,
    Mark,
    Slope,
    clipped,
    display_width,
    escaped,
    figure,
    forest,
    loss_curve,
    slopes,
    strips,
)

_METRICS = {
    "accuracy": ("accuracy", "正答率", "Acc."),
    "exact_match": ("exact match", "完全一致率", "Exact"),
    "gestalt_score": ("Gestalt score", "ゲシュタルトスコア", "Gest."),
    "harness_accuracy": ("harness", "公開ハーネスの規則", "Harn."),
}
_REFERENCES = {
    "empty reply": "空の返答",
    "letters": "記号だけの返答",
    "chance": "でたらめに選ぶ",
    "gold": "正解そのものの返答",
}
_CEILING = "gold"
_TERMINAL = 110  # columns a terminal table should keep to
_MOST_IDS, _MOST_TEXT, _MOST_ROWS = 2000, 200_000, 80
_GLOSSARY = (
    (
        "accuracy 正答率",
        "1 if the options nearest to the reply by Gestalt similarity, as many as the question asks for, "
        "are the right ones (JMedLoRA's Accuracy). A reply that shares no letter with any option is wrong.",
    ),
    ("exact match 完全一致率", "1 if the reply is the right options' texts, letter for letter."),
    (
        "Gestalt score ゲシュタルトスコア",
        "similarity of the reply and the right options' texts from 0 to 1: 2|K| / (|reply| + |right|), "
        "K being the matching blocks (Ratcliff and Obershelp).",
    ),
    (
        "harness 公開ハーネスの規則",
        "accuracy and exact match (EM) by the authors' published rule (japanese-lm-med-harness), faults "
        "included: an empty reply scores about 0.17. Only for comparison with published numbers.",
    ),
    ("floor 下限, ceiling 上限", "what replies without knowledge get, and what the right answers themselves get."),
    (
        "Δ 差",
        "difference of the accuracy from the base model on the same questions. Its interval in the sentence on "
        "top is Bonett and Price's (2012) for paired proportions.",
    ),
    ("[low–high]", "two-sided 95 % interval of the score 95 % 信頼区間."),
)


class _Row(NamedTuple):
    """One line of the table: what was asked how."""

    model: str
    format: str
    shots: int


class _Table:
    """The scores of an evaluate run, by row and exam."""

    def __init__(self, scores: Mapping[str, Any]) -> None:
        self.headline = str(scores.get("headline", "accuracy"))
        self.test = str(scores.get("test", ""))
        self.exams: list[Mapping[str, Any]] = list(scores.get("exams", ()))
        self.cells = {(_Row(c["model"], c["format"], c["shots"]), c["exam"]): c for c in scores.get("cells", ())}
        self.rows = list(dict.fromkeys(row for row, _ in self.cells))
        names = [name for exam in self.exams for name in exam.get("reference", {})]
        self.references = sorted(dict.fromkeys(names), key=lambda name: name == _CEILING)
        self.compared = any(c.get("against") for c in self.cells.values())
        self.formats = len({r.format for r in self.rows}) > 1
        self.shots = len({r.shots for r in self.rows}) > 1

    def detail(self, row: _Row) -> str:
        """What tells rows of one model apart: the format and the shots, where they differ at all."""
        return " · ".join([row.format] * self.formats + [f"{row.shots}-shot"] * self.shots)

    def of(self, exam: str) -> list[tuple[_Row, Mapping[str, Any]]]:
        """The rows that were asked an exam and hold its headline, with their cells."""
        found = [(row, self.cells[row, exam]) for row in self.rows if (row, exam) in self.cells]
        return [(row, cell) for row, cell in found if _value(cell, self.headline) is not None]

    def before(self, row: _Row, cell: Mapping[str, Any]) -> float:
        """The headline of the model that a cell is compared with, in the same format and shots."""
        base = self.cells.get((row._replace(model=cell["against"]["model"]), cell["exam"]), {})
        value = _value(base, self.headline)
        return self.value(cell) - cell["against"]["difference"] if value is None else value

    def value(self, cell: Mapping[str, Any]) -> float:
        """The headline of a cell that has one."""
        return float(cell["metrics"][self.headline]["value"])


def evaluation_page(*, name: str, scores: Mapping[str, Any], provenance: Mapping[str, Any], spec_text: str) -> str:
    """Returns the page of an evaluation: the result in words, the table, plots, what was omitted, how it was made.

    Args:
        name: The run's name.
        scores: What scores.json holds.
        provenance: What provenance.json holds.
        spec_text: The resolved spec as YAML.
    """
    table = _Table(scores)
    body = [_findings(table), _html_table(table), _exam_lines(table)]
    body += _charts(table, with_forest=True)
    body += [_omitted(table), _glossary(), _record(provenance, spec_text)]
    return _page("evaluation", "評価", name, body)


def tuning_page(
    *,
    name: str,
    steps: Sequence[Mapping[str, Any]],
    result: Mapping[str, Any],
    provenance: Mapping[str, Any],
    spec_text: str,
) -> str:
    """Returns the page of a tuning: the loss in words and as a curve, what came out, how it was made.

    Args:
        name: The run's name.
        steps: The records of steps.jsonl.
        result: The run's short result; the keys of its "kept" are steps.
        provenance: What provenance.json holds.
        spec_text: The resolved spec as YAML.
    """
    kept = [int(step) for step in result.get("kept") or {} if str(step).isdigit()]
    body = [
        f'<section class="lead"><p>{_loss_sentence(steps)}</p><p class="quiet">The loss is measured on the answers the '
        "model learns from. Whether it learnt medicine is for <code>ikyoku evaluate</code> to say.</p></section>",
        f'<section><h2>Training loss <span lang="ja">学習損失</span></h2><div class="cards">{_loss_card(name, steps, kept)}'
        f'<div class="card"><h3>Result <span lang="ja">結果</span></h3>{_facts(result)}</div></div></section>',
        _record(provenance, spec_text),
    ]
    return _page("tuning", "学習", name, body)


def demo_page(
    *,
    name: str,
    evaluation: Mapping[str, Any],
    tunings: Sequence[tuple[str, Sequence[Mapping[str, Any]]]],
    provenance: Mapping[str, Any],
    notes: Sequence[str],
) -> str:
    """Returns the demo's page: the table, before and after, the loss curve of each tuning, how it was made.

    Args:
        name: The run's name.
        evaluation: The evaluation's scores, as in scores.json.
        tunings: Name and steps of each tuning.
        provenance: What provenance.json holds.
        notes: How it was made, one paragraph each.
    """
    table = _Table(evaluation)
    body = [_findings(table), _html_table(table), _exam_lines(table)]
    body += _charts(table, with_forest=False)
    if tunings:
        cards = "".join(_loss_card(title, steps, ()) for title, steps in tunings)
        body.append(f'<section><h2>Training loss <span lang="ja">学習損失</span></h2><div class="cards">{cards}</div></section>')
    if notes:
        items = "".join(f"<li>{escaped(note)}</li>" for note in notes)
        body.append(f'<section><h2>How it was made <span lang="ja">作り方</span></h2><ul>{items}</ul></section>')
    body += [_omitted(table), _glossary(), _record(provenance, "")]
    return _page("demo", "デモ", name, body)


def evaluation_table(scores: Mapping[str, Any]) -> str:
    """Returns the table for a terminal, aligned by display width, with a legend below.

    Exams stand side by side as far as about 110 columns allow, else one below the other; intervals of exact match and
    Gestalt score are shown where they fit. Apart from names it is ASCII, so that no terminal misjudges a letter's width.
    """
    table = _Table(scores)
    names = [exam["exam"] for exam in table.exams]
    lines = _terminal(table, names, wide=True)
    if max(map(display_width, lines)) > _TERMINAL:
        lines = _terminal(table, names, wide=False)
    if max(map(display_width, lines)) > _TERMINAL + 10 and len(names) > 1:
        blocks = [_terminal(table, [name], wide=True) for name in names]
        lines = [line for block in blocks for line in [*block, ""]][:-1]
    return "\n".join([*lines, "", *_legend(table, scores)])


def evaluation_markdown(scores: Mapping[str, Any]) -> str:
    """Returns the same table in Markdown, with the legend as a list."""
    table = _Table(scores)
    heads = ["model", "format", "shots"]
    for exam in table.exams:
        titles = ["accuracy [95 %]", "exact match", "Gestalt score", *["Δ (p)"] * table.compared]
        heads += [f"{exam['exam']}: {title}" for title in titles]
    rows = []
    for row in table.rows:
        found = [table.cells.get((row, exam["exam"]), {}) for exam in table.exams]
        rows.append([row.model, row.format, str(row.shots), *(t for c in found for t in _markdown_cells(table, c))])
    for name in table.references:
        values = [_reference_values(exam, name) for exam in table.exams]
        each = [[figure(v.get(m)) for m in list(_METRICS)[:3]] + [""] * table.compared for v in values]
        rows.append([_reference_label(name), "", "", *(text for texts in each for text in texts)])
    lines = [heads, ["---"] * 3 + ["---:"] * (len(heads) - 3), *rows]
    drawn = ["| " + " | ".join(_in_markdown(text) for text in line) + " |" for line in lines]
    return "\n".join([*drawn, "", *(f"- {_in_markdown(line)}" for line in _legend(table, scores))]) + "\n"


def _value(cell: Mapping[str, Any], metric: str) -> float | None:
    value = cell.get("metrics", {}).get(metric, {}).get("value")
    return None if value is None or not math.isfinite(value) else float(value)


def _interval(cell: Mapping[str, Any], metric: str, digits: int = 3, dash: str = "–") -> str:
    """The interval of a score as "low–high", empty where there is none."""
    found = cell.get("metrics", {}).get(metric, {})
    if found.get("low") is None or found.get("high") is None:
        return ""
    return f"{found['low']:.{digits}f}{dash}{found['high']:.{digits}f}"


def _reference_values(exam: Mapping[str, Any], name: str) -> dict[str, float]:
    """A floor's or the ceiling's scores, given as numbers or as estimates."""
    given = exam.get("reference", {}).get(name, {})
    return {k: float(v["value"] if isinstance(v, Mapping) else v) for k, v in given.items()}


def _reference_label(name: str) -> str:
    return f"ceiling: {name}" if name == _CEILING else f"floor: {name}"


def _signed(value: float, minus: str = "−") -> str:
    """A difference with its sign; one that rounds to nothing has none."""
    text = f"{abs(value):.3f}"
    return text if float(text) == 0 else f"{'+' if value > 0 else minus}{text}"


def _p(value: float | None) -> str:
    """A p-value in the usual style: "p < 0.001", "p = 0.031"."""
    if value is None:
        return "p not given"
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}" if value < 0.9995 else "p = 1"


def _holm(against: Mapping[str, Any]) -> float | None:
    """The corrected p-value, or the plain one where no correction was made."""
    value = against.get("p_holm", against.get("p_value"))
    return None if value is None else float(value)


def _difference_interval(against: Mapping[str, Any], n: int) -> tuple[float, float]:
    """The 95 % interval of a paired difference of proportions, from the items that only one side got right.

    Reference:
        Bonett & Price 2012, J. Educ. Behav. Stat. 37(4), 479-488: Wald's interval with one item added to either count.
    """
    if against.get("low") is not None and against.get("high") is not None:
        return float(against["low"]), float(against["high"])
    this, that = (against["only_this"] + 1) / (n + 2), (against["only_that"] + 1) / (n + 2)
    half = 1.959964 * math.sqrt((this + that - (this - that) ** 2) / (n + 2))
    return max(-1.0, this - that - half), min(1.0, this - that + half)


def _tooltip(table: _Table, row: _Row, cell: Mapping[str, Any]) -> str:
    """Everything about one cell's headline in a line."""
    text = f"{row.model}, {row.format}, {row.shots}-shot, {cell['exam']}: {table.headline} "
    text += f"{figure(_value(cell, table.headline))} [{_interval(cell, table.headline)}], n = {cell['n']}"
    if against := cell.get("against"):
        text += f"; {_against(against)}"
    return text


def _against(against: Mapping[str, Any]) -> str:
    holm = f"; {_p(_holm(against))} after Holm's correction" if "p_holm" in against else ""
    return (
        f"{_signed(against['difference'])} against {against['model']}: {against['only_this']} right only here, "
        f"{against['only_that']} only there; p = {against['p_value']:.2g}{holm}"
    )


# ---- terminal and Markdown ----


def _terminal(table: _Table, exams: Sequence[str], *, wide: bool) -> list[str]:
    """The table's lines: a block of columns for the rows' names, one per exam."""
    by_name = {exam["exam"]: exam for exam in table.exams}
    names = [["", "model", *(row.model for row in table.rows), None, *map(_reference_label, table.references)]]
    if table.formats:
        names.append(["", "format", *(row.format for row in table.rows), None, *("" for _ in table.references)])
    if table.shots:
        names.append(["", "shots", *(str(row.shots) for row in table.rows), None, *("" for _ in table.references)])
    blocks = [_block(names, left=True)]
    for exam in exams:
        cells = [table.cells.get((row, exam), {}) for row in table.rows]
        columns: list[list[str | None]] = []
        for metric, (_, _, head) in list(_METRICS.items())[:3]:
            texts = [_with_interval(c, metric, shown=wide or metric == "accuracy") for c in cells]
            floors = [_reference_values(by_name[exam], name).get(metric) for name in table.references]
            columns.append(["", head, *texts, None, *(_ascii(figure(v)) for v in floors)])
        if table.compared:
            against = [c.get("against") for c in cells]
            signed = [_signed(a["difference"], "-") if a else "" for a in against]
            p_values = [_p(_holm(a)).removeprefix("p").replace("= ", "").replace("< 0", "<").strip() if a else "" for a in against]
            empty = [None, *("" for _ in table.references)]
            columns += [["", "diff.", *signed, *empty], ["", "p", *p_values, *empty]]
        columns[0][0] = exam
        blocks.append(_block(columns, left=False))
    return [" | ".join(parts).rstrip() if parts[0][0] != "-" else "-+-".join(parts) for parts in zip(*blocks, strict=True)]


def _with_interval(cell: Mapping[str, Any], metric: str, *, shown: bool) -> str:
    value = _value(cell, metric)
    if value is None:
        return "-"
    text = _interval(cell, metric, 2, "-") if shown else ""
    return f"{value:.3f} [{text}]" if text else f"{value:.3f}"
