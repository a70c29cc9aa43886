"""The run's page (`summary.html`): one self-contained file that loads nothing.

All of it is computed from what a run keeps in scores.json, steps.jsonl and provenance.json. Text from there is escaped;
a content security policy in the page forbids scripts and every request besides.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from ikyoku.charts import STYLE, Mark, Slope, escaped, figure, forest, loss_curve, slopes, strips
from ikyoku.tables import (
    CEILING,
    GLOSSARY,
    METRICS,
    REFERENCES,
    Row,
    Table,
    comparison,
    difference_interval,
    evaluation_markdown,
    evaluation_table,
    everything,
    exam_line,
    holm_p,
    interval,
    p_text,
    reference_label,
    reference_values,
    score,
    signed,
)

__all__ = ["demo_page", "evaluation_markdown", "evaluation_page", "evaluation_table", "tuning_page"]

_MOST_IDS, _MOST_TEXT, _MOST_ROWS = 2000, 200_000, 60


def evaluation_page(*, name: str, scores: Mapping[str, Any], provenance: Mapping[str, Any], spec_text: str) -> str:
    """Returns the page of an evaluation: the result in words, the table, plots, what was omitted, how it was made.

    Args:
        name: The run's name.
        scores: What scores.json holds.
        provenance: What provenance.json holds.
        spec_text: The resolved spec as YAML.
    """
    table = Table(scores)
    body = [_findings(table), _html_table(table), _charts(table, with_forest=True)]
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
    lead = (
        f'<p class="lead">{_loss_sentence(steps)}</p><p class="quiet">The loss is measured on the answers that the '
        "model learns from. Whether it learnt medicine is for <code>ikyoku evaluate</code> to say.</p>"
    )
    facts = f'<div class="card"><h3>{_both("Result", "結果")}</h3>{_facts(result)}</div>'
    cards = _cards([_loss_card(name, steps, kept), facts])
    return _page(
        "tuning", "学習", name, [lead, _section("Training loss", "学習損失", cards), _record(provenance, spec_text)]
    )


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
    table = Table(evaluation)
    body = [_findings(table), _html_table(table), _charts(table, with_forest=False)]
    if tunings:
        cards = [_loss_card(title, steps, ()) for title, steps in tunings]
        body.append(_section("Training loss", "学習損失", _cards(cards)))
    if notes:
        items = "".join(f"<li>{escaped(note)}</li>" for note in notes)
        body.append(_section("How it was made", "作り方", f"<ul>{items}</ul>"))
    return _page("demo", "デモ", name, [*body, _omitted(table), _glossary(), _record(provenance, "")])


def _both(english: str, japanese: str) -> str:
    return f'{escaped(english)} <span class="ja" lang="ja">{escaped(japanese)}</span>'


def _whole(text: str) -> str:
    return f'<span class="whole">{escaped(text)}</span>'


def _section(english: str, japanese: str, content: str) -> str:
    return f"<section><h2>{_both(english, japanese)}</h2>{content}</section>"


def _details(summary: str, content: str) -> str:
    return f"<details><summary>{summary}</summary>{content}</details>"


def _findings(table: Table) -> str:
    """The result in words, an exam a paragraph, and what a reader must know before trusting it."""
    texts = [_finding(table, exam) for exam in table.exams if table.of(exam["exam"])]
    warnings = "".join(f"<li>{escaped(text)}</li>" for text in table.warnings())
    texts += [f'<ul class="notes">{warnings}</ul>'] if warnings else []
    return "".join(texts) or '<p class="lead">No model was asked anything.</p>'


def _finding(table: Table, exam: Mapping[str, Any]) -> str:
    """The best compared row of an exam (the best of all where none is compared), its gain, and the floor."""
    found = table.of(exam["exam"])
    compared = [pair for pair in found if pair[1].get("against")]
    row, cell = max(compared or found, key=lambda pair: score(pair[1], table.headline) or 0.0)
    setting = f" ({escaped(table.detail(row))})" if table.detail(row) else ""
    bounds = interval(cell, table.headline)
    text = f"<b>{escaped(row.model)}</b>{setting}: <b>{figure(score(cell, table.headline))}</b>"
    text += f"{f' [{bounds}]' if bounds else ''} on {escaped(exam['exam'])}"
    if against := cell.get("against"):
        low, high = difference_interval(against, cell["n"])
        text += f", <b>{signed(against['difference'])}</b> against {escaped(against['model'])} "
        text += f"(95 % {signed(low)} to {signed(high)}; {_whole(p_text(holm_p(against)))})"
    more = [f"{table.headline} of {cell['n']} questions"]
    if len(compared or found) > 1:
        more.append(f"the highest of {len(compared or found)} {'compared ' * bool(compared)}rows")
    if len(compared) > 1:
        sure = [c["against"]["difference"] for _, c in compared if (holm_p(c["against"]) or 0.0) < 0.05]
        up, down = sum(d > 0 for d in sure), sum(d < 0 for d in sure)
        counts = ((up, "above"), (down, "below"), (len(compared) - up - down, "not told apart from"))
        more.append(f"{', '.join(f'{n} {word}' for n, word in counts if n)} the base at p < 0.05")
    floors = {n: reference_values(exam, n).get(table.headline) for n in table.references if n != CEILING}
    name, floor = max(((n, v) for n, v in floors.items() if v is not None), key=lambda x: x[1], default=("", None))
    if floor is not None:
        low_end = cell["metrics"][table.headline].get("low")
        apart = "" if low_end is None or low_end > floor else ", which this is not told apart from"
        more.append(f"floor {figure(floor)} ({name}){apart}")
    return f'<p class="lead">{text}.<br><span class="quiet">{escaped("; ".join(more))}.</span></p>'


def _html_table(table: Table) -> str:
    """The table in a box of its own that scrolls sideways, and what was asked below it."""
    wide = len(METRICS) + 1 + table.compared
    heads = "".join(
        f'<th colspan="{wide}" scope="colgroup" class="exam"><span>{escaped(e["exam"])}'
        f"<small>{escaped(e.get('items', ''))}, {escaped(e.get('asked', ''))} questions</small></span></th>"
        for e in table.exams
    )
    names = [*((english, japanese) for english, japanese, _ in METRICS.values()), ("harness", "公開ハーネス")]
    names += [("Δ", "差")] * table.compared
    each = "".join(f'<th scope="col">{e}<small class="ja" lang="ja">{j}</small></th>' for e, j in names)
    first = '<th rowspan="2" scope="col">model<small class="ja" lang="ja">モデル・形式・例示数</small></th>'
    best = {
        e["exam"]: max([score(c, table.headline) or 0.0 for _, c in table.of(e["exam"])], default=0.0)
        for e in table.exams
    }
    rows = []
    for row in table.rows:
        setting = f"<small>{_whole(row.format)} · {_whole(f'{row.shots}-shot')}</small>"
        cells = "".join(_html_cells(table, row, e["exam"], best[e["exam"]]) for e in table.exams)
        rows.append(f'<tr><th scope="row">{escaped(row.model).replace("+", "+<wbr>")}{setting}</th>{cells}</tr>')
    references = []
    for name in table.references:
        cells = "".join(_reference_cells(table, reference_values(e, name)) for e in table.exams)
        note = f'<small class="ja" lang="ja">{REFERENCES.get(name, "")}</small>'
        references.append(f'<tr><th scope="row">{escaped(reference_label(name))}{note}</th>{cells}</tr>')
    test = f"<li>Δ, p: {escaped(table.test)}</li>" if table.compared else ""
    lines = "".join(f"<li>{escaped(line)}</li>" for line in [*map(exam_line, table.exams), *table.notes()])
    return (
        '<section><div class="scroll" role="region" tabindex="0" aria-label="scores"><table>'
        f"<thead><tr>{first}{heads}</tr><tr>{each * len(table.exams)}</tr></thead><tbody>{''.join(rows)}</tbody>"
        f'<tbody class="references">{"".join(references)}</tbody></table></div>'
        f'<ul class="quiet">{lines}{test}</ul></section>'
    )


def _html_cells(table: Table, row: Row, exam: str, best: float) -> str:
    """The cells of one row and exam."""
    cell = table.cells.get((row, exam))
    if cell is None:
        return '<td class="none first">–</td>' + '<td class="none">–</td>' * (len(METRICS) + table.compared)
    cells: list[str] = []
    for metric in METRICS:
        value, text = score(cell, metric), figure(score(cell, metric))
        classes, more = ["first"] * (not cells), ""
        if metric == table.headline and value is not None:
            classes.append("tint")
            more = f' style="--t:{value:.3f}" title="{escaped(everything(table, row, cell))}"'
            text = f"<b>{text}</b>" if value == best else text
        cells.append(f'<td class="{" ".join(classes)}"{more}>{text}<small>{interval(cell, metric)}</small></td>')
    match = f"EM {figure(score(cell, 'harness_exact_match'))}"
    cells.append(f"<td>{figure(score(cell, 'harness_accuracy'))}<small>{match}</small></td>")
    if table.compared:
        against = cell.get("against")
        cells.append(
            f'<td title="{escaped(comparison(against))}">{signed(against["difference"])}'
            f"<small>{escaped(p_text(holm_p(against)))}</small></td>"
            if against
            else "<td></td>"
        )
    return "".join(cells)


def _reference_cells(table: Table, values: Mapping[str, float]) -> str:
    texts = [figure(values.get(m)) for m in (*METRICS, "harness_accuracy")]
    if "harness_exact_match" in values:
        texts[-1] += f"<small>EM {figure(values['harness_exact_match'])}</small>"
    cells = [f"<td{' class=first' if i == 0 else ''}>{text}</td>" for i, text in enumerate(texts)]
    return "".join(cells) + "<td></td>" * table.compared


def _charts(table: Table, *, with_forest: bool) -> str:
    """The plots: an exam a section, or before and after of all exams in one."""
    english, japanese, _ = METRICS.get(table.headline, (table.headline, "", ""))
    sections: list[str] = []
    slope_cards: list[str] = []
    for exam in table.exams:
        found, where = table.of(exam["exam"])[:_MOST_ROWS], f"{english} on {exam['exam']}"
        cards = _forest_cards(table, exam, found, where) if with_forest else []
        compared = [pair for pair in found if pair[1].get("against")]
        if compared:
            drawn = slopes([_slope(table, *pair) for pair in compared], label=f"{where}, before and after tuning")
            title = ("before and after tuning", "学習の前後") if with_forest else (where, japanese)
            (cards if with_forest else slope_cards).append(_card(*title, drawn))
        if cards:
            sections.append(_section(where, japanese, _cards(cards)))
    return "".join(sections) + (
        _section("Before and after tuning", "学習の前後", _cards(slope_cards)) if slope_cards else ""
    )


def _forest_cards(
    table: Table, exam: Mapping[str, Any], found: Sequence[tuple[Row, Mapping[str, Any]]], where: str
) -> list[str]:
    """The forest plot of an exam, and how far each model moves with format and shots if they differ at all."""
    marks = [_mark(table, row, cell) for row, cell in found]
    if not marks:
        return []
    given = {n: reference_values(exam, n).get(table.headline) for n in table.references}
    limits = [Mark(reference_label(n), v, "", emphasis=n == CEILING) for n, v in given.items() if v is not None]
    more = len(table.of(exam["exam"])) - len(found)
    note = f"{more} more rows are in the table only." if more else ""
    drawn = forest(marks, limits, label=f"{where}, with 95 % intervals")
    cards = [_card("with 95 % intervals", "信頼区間つき", drawn, note)]
    groups: dict[str, list[Mark]] = {}
    for mark in marks:
        groups.setdefault(mark.label, []).append(mark)
    if any(len(group) > 1 for group in groups.values()):
        most = max(max(m.value for m in group) - min(m.value for m in group) for group in groups.values())
        note = f"The same model, asked in another format or with other shots, moves by up to {figure(most)}."
        drawn = strips(list(groups.items()), label=f"{where}, by format and shots alone")
        cards.append(_card("format and shots alone", "形式と例示数だけの差", drawn, note))
    return cards


def _slope(table: Table, row: Row, cell: Mapping[str, Any]) -> Slope:
    after, tooltip = float(cell["metrics"][table.headline]["value"]), everything(table, row, cell)
    return Slope(row.model, table.before(row, cell), after, tooltip, table.detail(row))


def _mark(table: Table, row: Row, cell: Mapping[str, Any]) -> Mark:
    found, tuned = cell["metrics"][table.headline], bool(cell.get("against"))
    tooltip = everything(table, row, cell)
    return Mark(row.model, found["value"], tooltip, table.detail(row), found.get("low"), found.get("high"), tuned)


def _cards(cards: Sequence[str]) -> str:
    return f'<div class="cards">{"".join(cards)}</div>'


def _card(english: str, japanese: str, drawn: str, note: str = "") -> str:
    tail = f'<p class="quiet">{escaped(note)}</p>' if note else ""
    return f'<div class="card"><h3>{_both(english, japanese)}</h3>{drawn}{tail}</div>'


def _loss_sentence(steps: Sequence[Mapping[str, Any]]) -> str:
    if not steps:
        return "No step was recorded."
    first, last = steps[0], steps[-1]
    text = f"Training loss <b>{float(first['loss']):.3f}</b> (step {first['step']}) to <b>{float(last['loss']):.3f}</b>"
    tokens = f", {last['tokens']:,} tokens" if last.get("tokens") else ""
    return f"{text} (step {last['step']}{tokens})."


def _loss_card(name: str, steps: Sequence[Mapping[str, Any]], kept: Sequence[int]) -> str:
    points = []
    for step in steps:
        rest = [
            f"{k.replace('_', ' ')} {v:,.6g}" for k, v in step.items() if k not in ("step", "loss") and _is_number(v)
        ]
        points.append(
            (
                float(step["step"]),
                float(step["loss"]),
                ", ".join([f"step {step['step']}: loss {step['loss']:.4f}", *rest]),
            )
        )
    left_out = sum(not math.isfinite(p[1]) for p in points)
    note = "points: mean over the answers' tokens since the point before; line: running mean"
    note += f"; {left_out} losses were not finite and are left out" if left_out else ""
    return _card(name, "損失の推移", loss_curve(points, kept=kept, label=f"training loss of {name}"), note)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _omitted(table: Table) -> str:
    """The questions that were not asked, by exam and reason."""
    texts = []
    for exam in table.exams:
        for reason, ids in (exam.get("omitted") or {}).items():
            if ids:
                more = f" … and {len(ids) - _MOST_IDS} more" if len(ids) > _MOST_IDS else ""
                names = escaped(", ".join(map(str, ids[:_MOST_IDS])) + more)
                texts.append(
                    f"<h3>{escaped(exam['exam'])}: {escaped(reason)} ({len(ids)})</h3><p class='ids'>{names}</p>"
                )
    return _details(_both("Omitted questions", "出題しなかった問題"), "".join(texts)) if texts else ""


def _glossary() -> str:
    items = "".join(f"<dt>{_both(*names)}</dt><dd>{escaped(text)}</dd>" for names, text in GLOSSARY.items())
    return _details(_both("What the columns mean", "用語"), f"<dl>{items}</dl>")


def _record(provenance: Mapping[str, Any], spec_text: str) -> str:
    """The resolved spec and the provenance, folded away."""
    known = {key: value for key, value in provenance.items() if key != "files"}  # inputs holds their hashes
    if isinstance(known.get("command"), list | tuple):
        known["command"] = shlex.join(map(str, known["command"]))
    cut = "\n… (cut; spec.yaml in the run folder holds all)" if len(spec_text) > _MOST_TEXT else ""
    spec = f"<pre>{escaped(spec_text[:_MOST_TEXT] + cut)}</pre>"
    parts = [_details(_both("Spec", "設定"), spec)] if spec_text else []
    return "".join([*parts, _details(_both("Provenance", "来歴"), _facts(known))])


def _facts(values: Mapping[str, Any]) -> str:
    """Keys and values as a list; nested ones a line each."""
    items = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            text = "\n".join(f"{k}: {_plain(v)}" for k, v in value.items()) or "none"
        else:
            text = _plain(value)
        items.append(
            f"<dt>{escaped(str(key).replace('_', ' '))}</dt><dd class='fact'>{escaped(text[:_MOST_TEXT])}</dd>"
        )
    return f"<dl>{''.join(items)}</dl>"


def _plain(value: object) -> str:
    if value is None:
        return "none"
    if _is_number(value):
        return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _page(verb: str, japanese: str, name: str, body: Sequence[str]) -> str:
    """The whole file around the body."""
    policy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}"><meta name="referrer" content="no-referrer">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'
        f"<title>{escaped(name)} – ikyoku {verb}</title><style>{STYLE}</style></head>"
        f'<body><main><header><p class="quiet">ikyoku {_both(verb, japanese)}</p><h1>{escaped(name)}</h1></header>'
        f"{''.join(body)}</main></body></html>\n"
    )
