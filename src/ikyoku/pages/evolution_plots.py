"""The plots of a search's page: candidates, parameters, what matters, what each parent adds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ikyoku.charts import Mark, figure, forest
from ikyoku.charts.history import Kind, Level, Trace, Trial, front, history
from ikyoku.charts.levels import Change, Value, changes, values
from ikyoku.charts.parallel import Axis, Line, drawn_every, parallel
from ikyoku.pages.evolution_tables import search_table, system_name
from ikyoku.pages.shell import both, card, cards, details, listed
from ikyoku.tables.numbers import bounds, signed

MOST_AXES = 20
"""So many parameters are drawn at once; the rest is folded away."""
_MOST_NOTED = 90

Found = Mapping[str, Any]


def searched(scores: Found, timings: Found) -> str:
    """Returns fitness over the candidates (or one objective over the other), parameters, importances, counts, times."""
    several = len(scores["objectives"]) > 1
    drawn = [_front(scores) if several else _history(scores), *_parallel(scores), *_importances(scores)]
    note = "Seconds: the median. A minute: what one process manages; several at once manage more together."
    drawn.append(card("Candidates and time", "候補数と時間", search_table(scores, timings), note))
    return cards(drawn, "flow large")


def tested(test: Found) -> str:
    """Returns the accuracies of a test with their intervals as a plot."""
    marks = []
    for one in test["systems"]:
        found, name = one["accuracy"], system_name(one["system"])
        tip = f"{name}: {figure(found['value'])} [{bounds(found)}] of {found['n']}"
        winner = one["system"] == "winner"
        marks.append(Mark(name, found["value"], tip, "", found["low"], found["high"], winner))
    needed = (test.get("detectable") or {}).get("difference")
    scale = (needed, f"detectable difference {figure(needed)} (80 % power)") if needed and needed < 1 else None
    return forest(marks, [], label=f"accuracy on {test['name']}, with 95 % intervals", scale=scale)


def contributions(scores: Found) -> str:
    """Returns the winner without each of its parents, and the winner's parameters, a card a parent."""
    drawn = [_ablation(scores)]
    groups: dict[str, list[Found]] = {}
    for entry in scores["space"]:
        groups.setdefault(entry.get("parent") or "", []).append(entry)
    for parent, entries in sorted(groups.items(), key=lambda group: not group[0]):
        drawn.append(_parameters(parent, entries, scores))
    notes = [f"Without {one['parent']}: {one['reason']}" for one in scores["ablation"] if one["difference"] is None]
    return cards(drawn, "flow large") + listed([*notes, *filter(None, [at_bounds(scores)])])


def _ablation(scores: Found) -> str:
    """What the winner loses without each parent; those without which nothing could be asked are not drawn."""
    title = ("The winner without a parent", "除いたときの差")
    found = [one for one in scores["ablation"] if one["difference"] is not None]
    if not found:
        tried = bool(scores["ablation"])
        return card(*title, "", "Nothing could be asked." if tried else "The method gives parents no weight.")
    rows = []
    for one in sorted(found, key=lambda one: -one["difference"]):
        number = signed(one["difference"])
        tip = f"{one['parent']}: {number}, fitness {figure(one['all'], 4)} without it"
        rows.append(Change(one["parent"], one["difference"], number, tip))
    plot = changes(rows, left="better without 不要", right="adds 寄与", label="what each parent adds to the winner")
    note = (
        "The winner's fitness on all development questions less that of the same recipe without the parent. These are "
        "the questions that the winner was chosen by, so a gain looks larger than it is."
    )
    return card(*title, plot, note)


def at_bounds(scores: Found) -> str:
    """Returns which weights of the winner stand at a bound that a wider search could pass, empty for none."""
    found = []
    for entry in scores["space"]:
        low, high, value = entry["low"], entry["high"], scores["winner"]["values"][entry["name"]]
        near = (high - low) / 100
        edge = value > high - near or (low != 0 and value < low + near)  # a weight of 0 is a parent left out
        if entry.get("key") in ("weight", "lambda") and low < high and edge:
            found.append(entry["name"])
    if not found:
        return ""
    return f"At the edge of the bounds, so that wider ones may hold better merges: {', '.join(found)}."


def _parameters(parent: str, entries: Sequence[Found], scores: Found) -> str:
    rows = []
    for entry in entries:
        value, plain = scores["winner"]["values"][entry["name"]], scores["uniform"][entry["name"]]
        fixed = entry["low"] >= entry["high"]
        label = " · ".join(filter(None, [entry.get("key") or entry["name"], _part(entry)]))
        tip = f"{entry['name']} = {value:g} of {entry['low']:g} to {entry['high']:g}; uniform merge {plain:g}"
        number = figure(value) + (" (fixed 固定)" if fixed else "")
        rows.append(Value(label, value, entry["low"], entry["high"], number, tip, None if fixed else plain))
    drawn = values(rows, label=f"the winner's parameters: {parent or 'of all parents'}")
    title = (parent, "") if parent else ("Parameters of all parents together", "共通パラメータ")
    return card(*title, drawn, "Bars: within the bounds of the search. □ the uniform merge.")


def _part(entry: Found) -> str:
    """For which part of the model a parameter is: its layers, first to last, and the kind of module."""
    layers = entry.get("layers")
    span = f"layers {layers[0]}–{layers[1] - 1}" if layers else ""
    return ", ".join(filter(None, [span, entry.get("module") or ""]))


def _trace(found: Found) -> Trace:
    name = "random search" if found["search"] == "random" else found["sampler"]
    trials = [_trial(trial, name) for trial in found["trials"]]
    return Trace(name, trials, found["best_so_far"] or (), found["winner"], found["front"] or ())


def _trial(trial: Found, name: str) -> Trial:
    kind: Kind = "duplicate" if trial["duplicate_of"] is not None else trial["state"]
    reached = tuple(trial["fitness"] or ())
    told = {
        "complete": ", ".join(figure(value, 4) for value in reached),
        "pruned": f"{figure(reached[0], 4) if reached else '–'}, stopped after {trial['asked']} questions",
        "duplicate": f"the same values as candidate {trial['duplicate_of']}",
        "fail": f"failed: {str(trial['reason'])[:_MOST_NOTED]}",
    }[kind]
    return Trial(trial["number"], reached, kind, f"{name}, candidate {trial['number']}: {told}")


def _history(scores: Found) -> str:
    colours = {"uniform": 2, "base": 3}
    levels = [
        Level(system_name(one["system"]), one["search"], colours.get(one["system"], 3)) for one in scores["baselines"]
    ]
    plot = history([_trace(h) for h in scores["searches"]], levels, label="fitness over candidates")
    note = "Fitness on the searched questions, where the best of many looks better than it is. Only the test counts."
    return card("Fitness over candidates", "候補ごとの適応度", plot, note)


def _front(scores: Found) -> str:
    names = tuple(map(str, scores["objectives"][:2]))
    traces = [_trace(h) for h in scores["searches"]]
    first = scores["searches"][0]["trials"][:1]
    levels = [
        ("uniform merge 均等マージ", t["fitness"][0], t["fitness"][1])
        for t in first
        if t["fitness"] and t["values"] == scores["uniform"]
    ]
    rest = len(scores["objectives"]) - 2
    plot = front(traces, levels, names=(names[0], names[1]), label="candidates on two objectives")
    note = "Right and up is better, on the searched questions. "
    note += f"{rest} more objectives are not shown, so that the front is seen from the side." if rest else ""
    return card("One objective against the other", "目的間のトレードオフ", plot, note.strip())


def _weighted(scores: Found, fitness: Sequence[float]) -> float:
    """One number for a candidate: its fitness, or the weighted mean of its objectives."""
    if len(fitness) == 1:
        return fitness[0]
    weights = [entry["weight"] for entry in scores["development"]]
    return float(sum(w * value for w, value in zip(weights, fitness, strict=True)) / sum(weights))


def _parallel(scores: Found) -> list[str]:
    """Parallel coordinates of the search, the most important parameters first; the rest folded away."""
    found = scores["searches"][0]
    shares = found["importances"][0] or {}
    free = [entry for entry in scores["space"] if entry["low"] < entry["high"]]
    free.sort(key=lambda entry: -shares.get(entry["name"], 0.0))
    whole = [t for t in found["trials"] if t["state"] == "complete" and t["duplicate_of"] is None]
    winner = scores["winner"]
    plain = next((t for t in whole if t["values"] == scores["uniform"]), None)
    every = drawn_every(len(whole), min(len(free), MOST_AXES))
    notes = [f"{len(whole)} candidates of {found['sampler']} that were evaluated to the end"]
    notes += [f"every {every}th by rank is drawn"] if every > 1 else []
    notes += ["the most important parameter first"] if shares else []
    notes += ["L: layers"] if any(entry.get("layers") for entry in free) else []
    drawn = []
    for first in range(0, len(free), MOST_AXES):
        part = free[first : first + MOST_AXES]
        axes = [
            Axis(e.get("parent") or e.get("key") or e["name"], e["low"], e["high"], _detail(e), e["name"]) for e in part
        ]

        def line(one: Found, part: Sequence[Found] = part) -> Line:
            reached = _weighted(scores, one["fitness"])
            tip = f"candidate {one['number']}: {figure(reached, 4)}"
            return Line([one["values"][entry["name"]] for entry in part], reached, tip)

        plot = parallel(
            axes,
            [line(t) for t in whole],
            winner=line(winner),
            uniform=line(plain) if plain else None,
            label="parameters of the candidates, parallel coordinates",
        )
        drawn.append(plot)
    if len(drawn) > 1:
        title = both(f"{len(free) - MOST_AXES} less important parameters", "その他のパラメータ")
        drawn[1:] = [details(title, "".join(drawn[1:]))]
    return [card("Parameters of the candidates", "平行座標", "".join(drawn), "; ".join(notes) + ".")] if drawn else []


def _detail(entry: Found) -> str:
    """What stands below a parent's name on an axis: whose parameter it is stands above."""
    if not entry.get("parent"):
        return "all parents" if entry.get("key") else ""
    layers = entry.get("layers")
    span = f"L{layers[0]}–{layers[1] - 1}" if layers else ""
    module = {"attention": "attn"}.get(entry.get("module") or "", entry.get("module") or "")
    return " ".join(filter(None, [entry["key"], span, module]))


def _importances(scores: Found) -> list[str]:
    """What decides the fitness, a card an objective; the search's shares, random search's as hollow marks."""
    drawn = []
    by_name = {entry["name"]: entry for entry in scores["space"]}
    random = next((h for h in scores["searches"] if h["search"] == "random"), None)
    for number, objective in enumerate(scores["objectives"]):
        shares = scores["searches"][0]["importances"][number]
        name = "" if len(scores["objectives"]) == 1 else f": {objective}"
        if not shares:
            note = "Too few candidates were evaluated to the end (fewer than 20), or all have the same fitness."
            drawn.append(card(f"Importance{name}", "パラメータ重要度", "", note))
            continue
        others = (random or {}).get("importances") or [None] * (number + 1)
        most = max([*shares.values(), *(others[number] or {}).values()])
        rows = []
        for key, share in list(shares.items())[:MOST_AXES]:
            entry, other = by_name.get(key, {}), (others[number] or {}).get(key)
            label = " · ".join(filter(None, [entry.get("key") or key, entry.get("parent") or "", _part(entry)]))
            tip = f"{key}: {share:.1%}" + (f"; by random search {other:.1%}" if other is not None else "")
            rows.append(Value(label, share, 0.0, most, f"{share:.0%}", tip, other))
        rest = list(shares.values())[MOST_AXES:]
        note = (
            "Share of the fitness' variance that follows from a parameter by itself, where the search has been (fANOVA)"
        )
        note += "; ◇ where random search has been" if others[number] else ""
        note += f". {len(rest)} more parameters together {sum(rest):.0%}" if rest else ""
        plot = values(rows, label=f"importance of the parameters{name}", mark=1)
        drawn.append(card(f"Importance{name}", "パラメータ重要度", plot, f"{note}. It says nothing of the direction."))
    return drawn
