"""What a search's page says of the untouched radiographs: who writes what, in tables, plots and three examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ikyoku.charts import Mark, escaped, figure, forest
from ikyoku.findings import FINDINGS
from ikyoku.metrics.dangers import DANGERS
from ikyoku.metrics.reports import METRICS
from ikyoku.pages.evolution_tables import named_table, system_name, system_row
from ikyoku.pages.shell import both, card, cards, details, listed, section
from ikyoku.tables.comparison import told_apart
from ikyoku.tables.numbers import bounds, holm_p, p_text, share, signed

Found = Mapping[str, Any]

_SHOWN = ("japanese", "rouge_l", "finding_f1", "dangerous")
"""The metrics of the table and of the plots."""


_UNREAD = (
    "Findings are read from Japanese alone. A reply in another language has none, so the few dangerous errors of a "
    "system that does not write Japanese are no merit."
)


def reports_sentence(test: Found) -> str:
    """Returns what came out on one set of untouched radiographs, as a paragraph."""
    winner = next(one for one in test["systems"] if one["system"] == "winner")
    told = [
        f"Japanese in <b>{share(winner['metrics']['japanese']['value'])}</b>",
        f"ROUGE-L <b>{figure(winner['metrics']['rouge_l']['value'])}</b> [{bounds(winner['metrics']['rouge_l'])}]",
        f"finding F1 <b>{figure(winner['metrics']['finding_f1']['value'])}</b> "
        f"[{bounds(winner['metrics']['finding_f1'])}]",
        f"<b>{winner['dangerous']['all']['value']:.0f}</b> dangerous errors in 100 reports",
    ]
    against = "".join(f"<li>{_against(test, metric)}</li>" for metric in ("finding_f1", "rouge_l"))
    return (
        f'<p class="lead">On the untouched radiographs {escaped(test["name"])} ({winner["n"]:,}) the winner: '
        f"{', '.join(told)}.</p><ul>{against}</ul>"
    )


def _against(test: Found, metric: str) -> str:
    """By one metric: which systems the winner is better than, not told apart from, worse than."""
    values = {one["system"]: one["metrics"][metric]["value"] for one in test["systems"]}
    groups: dict[int, list[str]] = {1: [], 0: [], -1: []}
    for pair in test["pairs"]:
        if pair["metric"] == metric:
            told = f"{signed(pair['difference'])}, {p_text(holm_p(pair))}"
            groups[_verdict(pair)].append(f"{system_name(pair['b'])} {figure(values[pair['b']])} ({told})")
    words = {1: "better than", 0: "not told apart from", -1: "worse than"}
    parts = [f"<b>{words[verdict]}</b> {escaped('; '.join(names))}" for verdict, names in groups.items() if names]
    return f"{escaped(METRICS[metric].english)}: {'. '.join(parts)}."


def _verdict(pair: Found) -> int:
    """1 where the winner is better, -1 where it is worse, 0 where the two are not told apart."""
    return told_apart(pair) * (1 if METRICS[pair["metric"]].higher else -1)


def report_section(tests: Sequence[Found], note: str, pictures: Mapping[str, Sequence[str]]) -> str:
    """Returns the section on untouched radiographs.

    Args:
        tests: The entries of report_tests in scores.json.
        note: How it was tested.
        pictures: By test, the images of its examples as data URIs.
    """
    parts = []
    for test in tests:
        about = f"{test['n']:,} radiographs, {test['format']}"
        parts.append(f'<h3>{escaped(test["name"])} <span class="quiet">{escaped(about)}</span></h3>')
        parts.append(_table(test))
        plots = [_card(test, m) for m in _SHOWN[:3]]
        parts.append(cards(plots, "flow"))
        parts.append(_examples(test, pictures.get(test["name"], ())))
        parts.append(details(both("Dangerous errors by kind", "危険な誤りの内訳"), _dangers(test)))
        parts.append(details(both("Finding by finding", "所見ごとの成績"), _by_finding(test)))
        parts.append(details(both("All metrics", "すべての指標"), _all(test)))
    rewards = [f"{METRICS[m].english}: it rewards {METRICS[m].rewards}." for m in _SHOWN]
    told = listed([*rewards, _UNREAD, note])
    return section("Untouched radiographs", "未使用画像での読影", f"{''.join(parts)}{told}", anchor="reports")


def _cell(estimate: Found, *, digits: int = 3, best: bool = False) -> str:
    mark = ' class="best"' if best else ""
    value = figure(estimate["value"], digits)
    return f"<span{mark}>{value}</span><small>{bounds(estimate, digits=digits)}</small>"


def _table(test: Found) -> str:
    heads = ["Japanese 日本語", "ROUGE-L 一致", "winner − it 差", "finding F1 所見", "winner − it 差"]
    heads += ["finding F1, pooled 全体", "dangerous errors in 100 危険な誤り", "winner − it 差"]
    pairs = {(pair["b"], pair["metric"]): pair for pair in test["pairs"]}
    best = {}
    for metric in ("rouge_l", "finding_f1"):
        values = {one["metrics"][metric]["value"] for one in test["systems"]}
        best[metric] = max(values) if len(values) > 1 else None  # where all are alike none is the best
    lines = []
    for one in test["systems"]:
        key, metrics = one["system"], one["metrics"]
        cells = [f"{share(metrics['japanese']['value'])}"]
        for metric in ("rouge_l", "finding_f1"):
            cells.append(_cell(metrics[metric], best=metrics[metric]["value"] == best[metric]))
            cells.append(_difference(pairs.get((key, metric))))
        micro = one["findings"]["micro"]
        cells.append(f"{figure(micro['f1'])}<small>{bounds(micro)}</small>")
        cells.append(_cell(one["dangerous"]["all"], digits=0))
        cells.append(_difference(pairs.get((key, "dangerous")), times=100, digits=0))
        lines.append(system_row(key, cells))
    return named_table(heads, [lines], test["name"])


def _difference(pair: Found | None, *, times: int = 1, digits: int = 3) -> str:
    if pair is None:
        return ""
    kind = {1: "good", -1: "bad", 0: ""}[_verdict(pair)]
    value = pair["difference"] * times
    text = signed(value) if digits else f"{'+' if value > 0 else '−' if value < 0 else ''}{abs(value):.0f}"
    return f'<span class="{kind}">{text}</span><small>{escaped(p_text(holm_p(pair)))}</small>'


def _card(test: Found, metric: str) -> str:
    known = METRICS[metric]
    return card(known.english, known.japanese if known.japanese != known.english else "", _plot(test, metric))


def _plot(test: Found, metric: str) -> str:
    marks = []
    for one in test["systems"]:
        found, name = one["metrics"][metric], system_name(one["system"])
        tip = f"{name}: {figure(found['value'])} [{bounds(found)}]"
        winner = one["system"] == "winner"
        marks.append(Mark(name, found["value"], tip, "", found["low"], found["high"], winner))
    return forest(marks, [], label=f"{METRICS[metric].english} on {test['name']}, with 95 % intervals")


def _examples(test: Found, pictures: Sequence[str]) -> str:
    if not pictures:
        return ""
    drawn = []
    for number, example in enumerate(test["examples"]):
        image = f'<img alt="{escaped(test["ids"][example["place"]])}" src="{escaped(pictures[number])}">'
        texts = [("reference", "正解", example["reference"])]
        texts += [(system_name(key), "", text) for key, text in example["replies"].items()]
        rows = "".join(
            f'<dt>{both(name, japanese) if japanese else escaped(name)}</dt><dd lang="ja">{escaped(text) or "–"}</dd>'
            for name, japanese, text in texts
        )
        drawn.append(f'<div class="card example">{image}<dl>{rows}</dl></div>')
    return f'<div class="examples">{"".join(drawn)}</div>'


def _dangers(test: Found) -> str:
    heads = [f"{danger.english} {danger.japanese}" for danger in DANGERS.values()]
    lines = [
        system_row(one["system"], [f"{one['dangerous'][kind]['errors']:.0f}" for kind in DANGERS])
        for one in test["systems"]
    ]
    return named_table(heads, [lines], "dangerous errors")


def _by_finding(test: Found) -> str:
    """F1 of every finding that the references have, by system."""
    winner = next(one for one in test["systems"] if one["system"] == "winner")
    rows = winner["findings_by_name"]["findings"]
    support = {name: row["both"] + row["missed"] for name, row in rows.items()}
    names = [name for name in rows if support[name]]
    heads = [f"{name.replace('_', ' ')}, {support[name]} {FINDINGS[name].japanese}" for name in names]
    lines = []
    for one in test["systems"]:
        scores = one["findings_by_name"]["findings"]
        lines.append(
            system_row(one["system"], [figure(scores[name]["f1"] if name in scores else None) for name in names])
        )
    return named_table(heads, [lines], "F1 by finding")


def _all(test: Found) -> str:
    names = [name for name in METRICS if name not in ("dangerous", "japanese")]
    lines = [system_row(one["system"], [_cell(one["metrics"][name]) for name in names]) for one in test["systems"]]
    return named_table([METRICS[name].english for name in names], [lines], "all metrics")
