"""The page of a search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ikyoku.charts import escaped, figure
from ikyoku.pages.evolution_plots import contributions, searched, tested
from ikyoku.pages.evolution_reports import report_section, reports_sentence
from ikyoku.pages.evolution_tables import (
    asked,
    curse,
    development_table,
    reasons,
    system_name,
    test_table,
)
from ikyoku.pages.shell import both, card, details, listed, page, record, section, whole
from ikyoku.tables.comparison import told_apart
from ikyoku.tables.numbers import bounds, holm_p, p_text, signed

_VERDICTS = {1: "better than", 0: "not told apart from", -1: "worse than"}
_WORDS = (
    ("fitness", "適応度", "What the search maximises: the weighted mean of the development entries' mean scores."),
    (
        "searched, held out",
        "探索用・取り置き",
        "Development questions that candidates are searched on, and those that only finalists and baselines are asked.",
    ),
    (
        "uniform merge",
        "均等マージ",
        "The same method with equal weights, nothing trimmed, λ 1: what one gets without a search.",
    ),
    ("random search", "ランダム探索", "As many candidates, drawn at random: what one gets without an optimizer."),
    (
        "stopped early",
        "途中打切",
        "Clearly worse than the best on the questions that both were asked (Wilcoxon signed rank); its fitness is the "
        "mean over those alone.",
    ),
    (
        "importance",
        "重要度",
        "The share of the fitness' variance that follows from one parameter by itself, by a random forest over the "
        "candidates (fANOVA; Hutter, Hoos and Leyton-Brown 2014).",
    ),
)
_OF_EXAMS = (
    (
        "95 %",
        "信頼区間",
        "Wilson's interval of an accuracy, Bonett and Price's of a difference on the same questions.",
    ),
    (
        "p (Holm)",
        "補正p値",
        "Exact McNemar test on the same questions, two-sided, with Holm's correction over all comparisons of all "
        "tests. Below 0.05 two systems are told apart.",
    ),
)
_OF_REPORTS = (
    ("95 %, of reports", "読影の信頼区間", "Bootstrap over the radiographs."),
    (
        "p (Holm), of reports",
        "読影の補正p値",
        "Permutation test on the same radiographs, two-sided, with Holm's correction over all comparisons of all "
        "radiograph tests. Below 0.05 two systems are told apart.",
    ),
)


def evolution_page(
    *,
    name: str,
    scores: Mapping[str, Any],
    timings: Mapping[str, Any],
    provenance: Mapping[str, Any],
    spec_text: str,
    pictures: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """Returns the page of a search: what came out in words, tests, plots, the winner's recipe, how it was made.

    Args:
        name: The run's name.
        scores: What scores.json holds.
        timings: What timings.json holds.
        provenance: What provenance.json holds.
        spec_text: The resolved spec as YAML.
        pictures: By test of reports, the images of its examples as data URIs.
    """
    written = scores.get("report_tests") or []
    body = [f'<div id="result">{_findings(scores)}{listed(scores["notes"], "notes")}</div>']
    body += [_test(scores)] if scores["tests"] else []
    body += [report_section(written, scores["report_test"], pictures or {})] if written else []
    body += [
        section("Development", "開発用設問での適応度", _development(scores), anchor="development"),
        section("The search", "探索の経過", searched(scores, timings) + reasons(scores), anchor="search"),
        section("What each parent contributes", "各モデルの寄与", contributions(scores), anchor="parents"),
        section("The best recipe", "最良のレシピ", _recipe(scores), anchor="recipe"),
        f'<div id="rest">{asked(scores, timings)}{_glossary(scores)}{record(provenance, spec_text)}</div>',
    ]
    jumps = [("result", both("Result", "結果"))]
    jumps += [("test", both("Untouched test", "テスト"))] if scores["tests"] else []
    jumps += [("reports", both("Untouched radiographs", "画像テスト"))] if written else []
    jumps += [
        ("development", both("Development", "開発用設問")),
        ("search", both("Search", "探索")),
        ("parents", both("Parents", "元モデル")),
        ("recipe", both("Recipe", "レシピ")),
        ("rest", both("How it was made", "作成条件")),
    ]
    return page("evolution", "進化的マージ", name, body, jumps=jumps)


def _findings(scores: Mapping[str, Any]) -> str:
    """What came out, a sentence a test; what must be known to read it, below."""
    tests = scores["tests"]
    written = scores.get("report_tests") or []
    texts = [f'<p class="lead">{_sentence(test)}</p>' for test in tests]
    texts = texts + [reports_sentence(test) for test in written] or [_untested(scores)]
    notes = []
    if scores["winner"]["values"] == scores["uniform"]:
        notes.append("The winner is the uniform merge itself: no candidate was better on the development questions.")
    if not any(history["search"] == "random" for history in scores["searches"]) and _sampler(scores) != "random":
        notes.append("There was no random search: nobody can tell whether the optimizer did anything.")
    notes += _beaten(scores)
    for test in tests:
        notes += _power(test)
    counts = [str(sum(len(test["pairs"]) for test in group)) for group in (tests, written) if group]
    if counts:
        notes.append(
            f"p is corrected for all {' and all '.join(counts)} comparisons of all tests (Holm); an interval is "
            "that of its pair alone. “Not told apart” is no proof that two are equal."
        )
    return "".join(texts) + listed(notes)


def _sampler(scores: Mapping[str, Any]) -> str:
    return str(scores["searches"][0]["sampler"])


def _sentence(test: Mapping[str, Any]) -> str:
    """The winner against the best model that went in, the uniform merge and random search, by verdict."""
    score = {one["system"]: one["accuracy"] for one in test["systems"]}
    against = {pair["b"]: pair for pair in test["pairs"]}
    alone = [system for system in score if system == "base" or system.startswith("parent ")]
    best = max(alone, key=lambda system: (score[system]["value"], system != "base"))
    names = {
        best: f"the base, which no parent beats ({figure(score[best]['value'])})"
        if best == "base"
        else f"the best parent, {system_name(best)} ({figure(score[best]['value'])})"
    }
    names |= {"uniform": f"the uniform merge ({figure(score['uniform']['value'])})"}
    if "random" in score:
        names["random"] = f"random search’s best ({figure(score['random']['value'])})"
    groups: dict[int, list[str]] = {}
    for system, text in names.items():
        groups.setdefault(told_apart(against[system]), []).append(f"{escaped(text)}: {_told(against[system])}")
    parts = [f"<b>{_VERDICTS[verdict]}</b> {'; '.join(groups[verdict])}" for verdict in (1, 0, -1) if verdict in groups]
    found = score["winner"]
    return (
        f"On the untouched test {escaped(test['name'])} ({test['asked']:,} questions) the winner is right in "
        f"<b>{figure(found['value'])}</b> [{bounds(found)}]: {', and '.join(parts)}."
    )


def _told(pair: Mapping[str, Any]) -> str:
    texts = f"{signed(pair['low'])} to {signed(pair['high'])}"
    return f"{signed(pair['difference'])} (95 % {escaped(texts)}, {whole(p_text(holm_p(pair)))})"


def _beaten(scores: Mapping[str, Any]) -> list[str]:
    """Who is better than the winner even on the questions that it was chosen by."""
    found = [(system_name(one["system"]), one["all"]) for one in scores["baselines"]]
    for history in scores["searches"][1:]:
        best = next(one for one in history["finalists"] if one["number"] == history["winner"])
        found.append((system_name("random"), best["all"]))
    reached = scores["winner"]["all"]
    better = [f"{name} ({figure(value)})" for name, value in found if value > reached]
    if not better:
        return []
    return [
        f"Even on the development questions these are better than the winner ({figure(reached)}): {', '.join(better)}."
    ]


def _power(test: Mapping[str, Any]) -> list[str]:
    """What a test of this size could have found."""
    found = test.get("detectable") or {}
    if found.get("difference") is None:
        return []
    if found["difference"] >= 1:
        return [f"{test['name']}: {found['n']:,} questions are too few to find any difference four times in five."]
    return [f"{test['name']}: a true difference of {figure(found['difference'])} would be found four times in five."]


def _untested(scores: Mapping[str, Any]) -> str:
    """What is known without a test: the fitness on the questions that the winner was chosen by."""
    fitness = {one["system"]: one["all"] for one in scores["baselines"]}
    alone = {system: value for system, value in fitness.items() if system != "uniform"}
    best = max(alone, key=lambda system: alone[system])
    named = "the base" if best == "base" else f"the best parent, {system_name(best)},"
    told = [f"{named} {figure(alone[best])}", f"the uniform merge {figure(fitness['uniform'])}"]
    for history in scores["searches"][1:]:
        last = next(one for one in history["finalists"] if one["number"] == history["winner"])
        told.append(f"random search’s best {figure(last['all'])}")
    return (
        '<p class="lead"><b>Nothing here says how good the winner is on new questions:</b> no test was given. On the '
        f"development questions that it was chosen by, its fitness is <b>{figure(scores['winner']['all'])}</b>; "
        f"{escaped(', '.join(told))}.</p>"
    )


def _test(scores: Mapping[str, Any]) -> str:
    parts = []
    for test in scores["tests"]:
        about = f"{test['metric']}, {test['format']}, {test['shots']}-shot, {test['asked']:,} questions"
        plot = card("with 95 % intervals", "信頼区間つき", tested(test))
        parts.append(
            f'<h3>{escaped(test["name"])} <span class="quiet">{escaped(about)}</span></h3>'
            f'<div class="beside">{test_table(test)}{plot}</div>'
        )
    return section(
        "Untouched test", "未使用テストでの正答率", f"{''.join(parts)}{listed([scores['test']])}", anchor="test"
    )


def _development(scores: Mapping[str, Any]) -> str:
    lines = []
    for entry in scores["development"]:
        what = "radiographs" if entry.get("kind") == "reports" else "questions"
        told = f"{entry['name']}: {entry['searched']} {what} searched, {entry['held_out']} held out"
        told += f", {entry['left_out']} left out" if entry["left_out"] else ""
        lines.append(told + (f", weight {entry['weight']:g}" if len(scores["development"]) > 1 else ""))
    note = f"<p>{escaped(curse(scores))}</p>{listed(lines)}"
    told = card("How to read it", "読み方", note)
    return f'<div class="beside">{development_table(scores)}{told}</div>'


def _recipe(scores: Mapping[str, Any]) -> str:
    winner = scores["winner"]
    return (
        f'<p class="quiet">Candidate {winner["number"]} of {escaped(_sampler(scores))}, as mergekit’s YAML: '
        "<code>artifact/recipe.yml</code>. One click selects all of it. Its checkpoint is <code>artifact/model</code>; "
        "<code>ikyoku merge recipe.yml OUT</code> makes it again.</p>"
        f'<div class="card"><pre class="recipe" tabindex="0">{escaped(scores["recipe"])}</pre></div>'
    )


def _glossary(scores: Mapping[str, Any]) -> str:
    words = _WORDS + (_OF_EXAMS if scores["tests"] else ()) + (_OF_REPORTS if scores.get("report_tests") else ())
    items = "".join(f"<dt>{both(term, japanese)}</dt><dd>{escaped(text)}</dd>" for term, japanese, text in words)
    return details(both("What the words mean", "用語"), f"<dl>{items}</dl>")
