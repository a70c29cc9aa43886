"""The tables of a search's page: the untouched test, the development questions, the searches, what was asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from ikyoku.charts import escaped, figure
from ikyoku.pages.shell import both, details, facts, listed
from ikyoku.tables.comparison import told_apart
from ikyoku.tables.numbers import bounds, holm_p, narrow_p, share, signed

SYSTEMS = {
    "winner": ("winner", "最良候補"),
    "random": ("best of random search", "ランダム探索の最良"),
    "uniform": ("uniform merge", "均等マージ"),
    "base": ("base", "基盤モデル"),
}
"""What is compared besides the parents: English and Japanese."""
_PARENT = "parent "
_TUNED = "tuned "
_MOST_REASONS, _MOST_FINALISTS = 12, 20


def system_name(system: str) -> str:
    """Returns what a system is called in a sentence.

    >>> system_name("parent a"), system_name("random")
    ('a', 'best of random search')
    """
    return SYSTEMS[system][0] if system in SYSTEMS else system.removeprefix(_PARENT)


def test_table(test: Mapping[str, Any]) -> str:
    """Returns what each system scored on an untouched test, and the winner's difference to it."""
    against = {pair["b"]: pair for pair in test["pairs"]}
    japanese = any(one.get("japanese") is not None for one in test["systems"])
    heads = ["accuracy 正答率", "n 設問数", "winner − it 差", "right: only winner 最良のみ", "only it 相手のみ"]
    heads += ["p", "p (Holm) 補正"]
    heads += ["Japanese 日本語"] * japanese
    best = max(one["accuracy"]["value"] for one in test["systems"])
    lines = []
    for one in test["systems"]:
        found, pair = one["accuracy"], against.get(one["system"])
        mark = ' class="best"' if found["value"] == best else ""
        cells = [f"<span{mark}>{figure(found['value'])}</span><small>{bounds(found)}</small>", f"{found['n']:,}"]
        cells += [""] * 5 if pair is None else _difference(pair)
        cells += [share(one["japanese"])] * japanese
        lines.append(system_row(one["system"], cells))
    return named_table(heads, [lines], test["name"])


def _difference(pair: Mapping[str, Any]) -> list[str]:
    kind = {1: "good", -1: "bad", 0: ""}[told_apart(pair)]
    interval = f"<small>{signed(pair['low'])} to {signed(pair['high'])}</small>"
    texts = [str(pair["only_a"]), str(pair["only_b"]), narrow_p(pair["p_value"]), narrow_p(holm_p(pair))]
    return [f'<span class="{kind}">{signed(pair["difference"])}</span>{interval}', *map(escaped, texts)]


def development_table(scores: Mapping[str, Any]) -> str:
    """Returns the fitness of the finalists and of the baselines on searched, held-out and all questions."""
    parts = [entry["name"] for entry in scores["development"]]
    several = parts if len(parts) > 1 else []
    japanese = any(one.get("japanese") is not None for one in [scores["winner"], *scores["baselines"]])
    heads = ["searched 探索用", "held out 取り置き", "all 全体", *several, *["Japanese 日本語"] * japanese]
    groups: list[list[str]] = []
    for history in scores["searches"]:
        ranked = sorted(history["finalists"], key=lambda one: (one["number"] != history["winner"], -one["all"]))
        groups.append([])
        for one in ranked[:_MOST_FINALISTS]:
            chosen = one["number"] == history["winner"]
            key = "winner" if history["search"] == "search" else "random"
            name = key if chosen else ""
            cells = _fitness(one, bool(several), japanese=japanese)
            groups[-1].append(system_row(name, cells, f"candidate {one['number']}", chosen=chosen))
    order = {"uniform": 0, "base": 2}
    rest = sorted(scores["baselines"], key=lambda one: order.get(one["system"], 1))
    groups.append([system_row(one["system"], _fitness(one, bool(several), japanese=japanese)) for one in rest])
    return named_table(heads, groups, "development")


def _fitness(one: Mapping[str, Any], several: bool, *, japanese: bool) -> list[str]:
    means = one["means"] if several else []
    told = [figure(value) for value in (one["search"], one["held_out"], one["all"], *means)]
    return told + [share(one["japanese"])] * japanese


def curse(scores: Mapping[str, Any]) -> str:
    """Returns how much the winner loses from the searched to the held-out questions, beside the uniform merge."""
    rows = [("the winner", scores["winner"])]
    rows += [("the uniform merge", one) for one in scores["baselines"] if one["system"] == "uniform"]
    told = [
        f"{name} {figure(one['search'])} and {figure(one['held_out'])} ({signed(one['held_out'] - one['search'])})"
        for name, one in rows
        if one["held_out"] is not None
    ]
    if not told:
        return "No question was held out, so nothing here shows by how much the best of many looks better than it is."
    return (
        "The best of many candidates looks better on the questions it was searched on than it is (winner's curse). So "
        "the finalists are asked held-out questions too, and one is chosen on all. Searched and held out: "
        f"{'; '.join(told)}. The held-out questions may be easier or harder for all: compare the falls. Only the "
        "untouched test counts."
    )


def search_table(scores: Mapping[str, Any], timings: Mapping[str, Any]) -> str:
    """Returns what became of the candidates of each search and how long they took, a column a search."""
    columns = []
    for history in scores["searches"]:
        trials = history["trials"]
        fresh = Counter(trial["state"] for trial in trials if trial["duplicate_of"] is None)
        best = [value for value in history["best_so_far"] or () if value is not None]
        seconds = [s for s in timings.get("candidates", {}).get(history["search"], ()) if s is not None]
        counts = [len(trials), *(fresh[state] for state in ("complete", "pruned", "fail"))]
        column = [f"{count:,}" for count in [*counts, len(trials) - fresh.total()]]
        column += [figure(best[-1], 4)] if best else ["–"]
        pace = 60 * len(seconds) / sum(seconds) if sum(seconds) else 0.0
        column += [f"{median(seconds):.3g}", f"{pace:,.0f}" if pace >= 100 else f"{pace:.3g}"] if pace else ["–"] * 2
        columns.append(column)
    names = (
        ("candidates", "候補"),
        ("evaluated to the end", "評価完了"),
        ("stopped early", "途中打切"),
        ("failed", "失敗"),
        ("evaluated before", "重複"),
        ("best fitness", "最良"),
        ("seconds each", "秒"),
        ("a minute", "毎分"),
    )
    lines = []
    for name, *cells in zip(names, *columns, strict=True):
        inner = "".join(f"<td>{cell}</td>" for cell in cells)
        if set(cells) != {"–"}:
            lines.append(f'<tr><th scope="row">{both(*name)}</th>{inner}</tr>')
    heads = ["random 探索" if h["search"] == "random" else f"{h['sampler']} 探索" for h in scores["searches"]]
    return named_table(heads, [lines], "searches")


def reasons(scores: Mapping[str, Any]) -> str:
    """Returns why candidates failed, most frequent first, folded away; nothing where none did."""
    found = Counter(
        str(trial["reason"])
        for history in scores["searches"]
        for trial in history["trials"]
        if trial["state"] == "fail" and trial["duplicate_of"] is None
    )
    if not found:
        return ""
    lines = [f"{count} × {reason}" for reason, count in found.most_common(_MOST_REASONS)]
    lines += ["… all are in candidates.jsonl"] * (len(found) > _MOST_REASONS)
    return details(both(f"Why candidates failed ({found.total()})", "失敗の理由"), listed(lines))


def asked(scores: Mapping[str, Any], timings: Mapping[str, Any]) -> str:
    """Returns what was merged and what was asked, folded away."""
    parts = [
        facts(
            {
                "method": scores["method"],
                "merged": scores["coverage"],
                "base": scores["base"],
                "written in": scores["into"],
                "parents": {p["label"]: "+".join(filter(None, (p["path"], p["adapter"]))) for p in scores["parents"]},
            }
        )
    ]
    for kind, entries in (("Development", scores["development"]), ("Test", scores["tests"])):
        for entry in entries:
            told = {k: v for k, v in entry.items() if k not in ("name", "systems", "pairs", "detectable")}
            parts.append(f"<h3>{escaped(kind)}: {escaped(entry['name'])}</h3>{facts(told)}")
    if spent := timings.get("evaluations"):
        told = {f"{what} (seconds)": seconds for what, seconds in spent.items()}
        parts.append(f"<h3>{both('Baselines, finalists and tests', '最終評価の時間')}</h3>{facts(told)}")
    return details(both("What was merged and asked", "対象と設問"), "".join(parts))


def system_row(system: str, cells: Sequence[str], note: str = "", *, chosen: bool = False) -> str:
    """Returns a line: what a system is called, in both languages, and its cells as markup."""
    if system in SYSTEMS:
        name = both(*SYSTEMS[system])
    else:
        name = escaped(system.removeprefix(_PARENT)) if system else f'<span class="quiet">{escaped(note)}</span>'
    small = note if system else ""
    small = "parent 元モデル" if system.startswith(_PARENT) else small
    small = "instead of merging 比較" if system.startswith(_TUNED) else small
    head = f"{name}{f'<small>{escaped(small)}</small>' if small else ''}"
    kind = ' class="chosen"' if chosen or system == "winner" else ""
    return f'<tr{kind}><th scope="row">{head}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def named_table(heads: Sequence[str], groups: Sequence[Sequence[str]], label: str) -> str:
    """Returns a table in a box that scrolls sideways; a head is English, then Japanese after a space."""
    drawn = ['<th scope="col"></th>']
    for head in heads:
        english, _, japanese = head.rpartition(" ")
        two = english and not japanese.isascii()
        small = f'<small class="ja" lang="ja">{escaped(japanese)}</small>' if two else ""
        drawn.append(f'<th scope="col">{escaped(english if two else head)}{small}</th>')
    bodies = "".join(f"<tbody>{''.join(lines)}</tbody>" for lines in groups if lines)
    return (
        f'<div class="scroll close" role="region" tabindex="0" aria-label="{escaped(label)}">'
        f'<table class="systems"><thead><tr>{"".join(drawn)}</tr></thead>{bodies}</table></div>'
    )
