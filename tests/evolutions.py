"""Makes what `ikyoku evolve` leaves behind: scores.json and timings.json, all fields filled.

The fitness follows from the values by a formula with some noise, and answers on the test are drawn, so that pages and
tables are tested on numbers that hang together. The same arguments give the same search.
"""

from __future__ import annotations

import math
import random
from itertools import pairwise
from typing import Any

from ikyoku.metrics import stats, summary

PARENTS = ("medical-swallow-8b", "Llama-3-ELYZA-JP-8B", "英語医療モデル-meditron")
LAYERS = 32

Space = list[dict[str, Any]]


def space(parents: tuple[str, ...] = PARENTS, *, groups: int = 1, kinds: bool = False, density: bool = True) -> Space:
    """The parameters, as scores.json tells them."""
    found: Space = []
    ends = [round(i * LAYERS / groups) for i in range(groups + 1)]
    spans: list[list[int] | None] = [list(pair) for pair in pairwise(ends)] if groups > 1 else [None]
    modules: list[str | None] = ["attention", "mlp", "rest"] if kinds else [None]
    for key, usual in (("weight", 1 / len(parents)), ("density", 1.0))[: 1 + density]:
        for span in spans:
            for module in modules:
                for parent in parents:
                    parts = [key, parent, f"layers{span[0]}-{span[1] - 1}" if span else "", module or ""]
                    place = {"key": key, "parent": parent, "layers": span, "module": module}
                    name = ".".join(filter(None, parts))
                    found.append({"name": name, "low": 0.0, "high": 1.0, "uniform": usual} | place)
    place = {"key": "lambda", "parent": None, "layers": None, "module": None}
    return [*found, {"name": "lambda", "low": 0.0, "high": 2.0, "uniform": 1.0} | place]


def evolution(
    parents: tuple[str, ...] = PARENTS,
    *,
    trials: int = 200,
    groups: int = 1,
    kinds: bool = False,
    tests: tuple[tuple[str, int], ...] = (("医師国家試験 2023", 395),),
    objectives: tuple[str, ...] = ("fitness",),
    random_baseline: bool = True,
    gain: float = 0.12,
    trouble: float = 0.04,
    seed: int = 0,
) -> dict[str, Any]:
    """What scores.json holds.

    Args:
        parents: their labels.
        trials: candidates of each search.
        groups: groups of layers.
        kinds: whether kinds of modules have parameters of their own.
        tests: names and numbers of questions.
        objectives: more than one for several.
        random_baseline: whether there was a random search.
        gain: how much better the best point is than the uniform merge.
        trouble: the share of candidates that fail, and of those that were there before.
        seed: of everything that is drawn.
    """
    draw = random.Random(seed)
    names = space(parents, groups=groups, kinds=kinds)
    best = {p["name"]: draw.uniform(p["low"], p["high"]) for p in names}
    plain = {p["name"]: p["uniform"] for p in names}

    def fitness(values: dict[str, float]) -> list[float]:
        found = []
        for number in range(len(objectives)):
            far = sum(
                (1 / (1 + i)) * ((values[p["name"]] - best[p["name"]]) / (p["high"] - p["low"]) + 0.25 * number) ** 2
                for i, p in enumerate(names)
            )
            near = sum((1 / (1 + i)) * (plain[p["name"]] - best[p["name"]]) ** 2 for i, p in enumerate(names))
            found.append(max(0.02, 0.5 + gain - gain * far / max(near, 0.05) + draw.gauss(0, 0.012)))
        return found

    searches = [
        _search("search", "nsga2" if len(objectives) > 1 else "cmaes", names, plain, fitness, trials, trouble, draw)
    ]
    if random_baseline:
        searches.append(_search("random", "random", names, plain, fitness, trials, trouble, draw))
    winner = next(f for f in searches[0]["finalists"] if f["number"] == searches[0]["winner"])
    levels = {"base": 0.36} | {f"parent {p}": 0.41 + 0.02 * i for i, p in enumerate(parents)} | {"uniform": 0.5}
    baselines = [
        {"system": key, "label": key.removeprefix("parent ") if key != "uniform" else "uniform merge"}
        | _asked(level, len(objectives), draw, optimism=0.0)
        for key, level in levels.items()
    ]
    ablation = []
    for i, parent in enumerate(parents):
        without = _asked(winner["all"] - 0.07 / (1 + i) + 0.05 * (i > 1), len(objectives), draw, optimism=0.0)
        ablation.append({"parent": parent} | without | {"difference": winner["all"] - without["all"], "reason": None})
    order = ["uniform", *(f"parent {p}" for p in parents), "base"]
    levels = {"winner": 0.5 + 0.7 * gain, "random": 0.5 + 0.5 * gain} | {key: levels[key] for key in order}
    if not random_baseline:
        del levels["random"]
    return {
        "method": "dare_ties",
        "base": "models/Llama-3-8B",
        "into": "models/Llama-3-8B",
        "parents": [{"label": p, "path": f"models/{p}", "adapter": None} for p in parents],
        "coverage": "291 of 291 tensors merged by dare_ties",
        "objectives": list(objectives),
        "space": names,
        "uniform": plain,
        "development": [_development(o, len(objectives)) for o in objectives],
        "baselines": baselines,
        "searches": searches,
        "winner": winner,
        "ablation": ablation,
        "tests": _tests(tests, levels, draw),
        "test": "exact McNemar test of the winner against each other system on the same questions, two-sided",
        "recipe": _recipe(parents, winner["values"]),
        "notes": [] if tests else ["No test split was given: nothing here says how good the winner is."],
    }


def timings(scores: dict[str, Any], *, seconds: float = 2.4) -> dict[str, Any]:
    """What timings.json holds."""
    draw = random.Random(1)
    candidates = {
        h["search"]: [None if t["duplicate_of"] is not None else draw.uniform(0.6, 1.4) * seconds for t in h["trials"]]
        for h in scores["searches"]
    }
    return {
        "candidates": candidates,
        "evaluations": {"search": 41.5, "held-out": 17.25, "test 医師国家試験 2023": 512.0},
    }


def _search(
    label: str,
    sampler: str,
    names: Space,
    plain: dict[str, float],
    fitness: Any,
    trials: int,
    trouble: float,
    draw: Any,
) -> dict[str, Any]:
    found: list[dict[str, Any]] = []
    best: list[float | None] = []
    centre = dict(plain)
    for number in range(trials):
        width = 0.5 if sampler == "random" else 0.32 * math.exp(-2.5 * number / trials)
        values = {p["name"]: _drawn(p, centre, width, draw, sampler) for p in names} if number else dict(plain)
        trial = {"number": number, "values": values, "fitness": fitness(values), "state": "complete", "reason": None}
        trial |= {"duplicate_of": None, "asked": 37}
        whole = [t for t in found if t["state"] == "complete"]
        if number and draw.random() < trouble:
            trial |= {"fitness": None, "state": "fail", "reason": "weights that are no numbers", "asked": 0}
        elif number > 20 and draw.random() < trouble:
            trial |= {key: whole[-1][key] for key in ("values", "fitness")} | {"asked": 0}
            trial["duplicate_of"] = whole[-1]["number"]
        elif len(trial["fitness"]) == 1 and best and trial["fitness"][0] < (best[-1] or 0.0) - 0.09:
            trial |= {"state": "pruned", "asked": 16, "fitness": [trial["fitness"][0] + draw.gauss(0, 0.04)]}
        found.append(trial)
        value = trial["fitness"][0] if trial["state"] == "complete" else None
        last = best[-1] if best else None
        if value is not None and (last is None or value > last):
            centre = dict(values)
            last = value
        best.append(last)
    return _history(label, sampler, found, best, draw, len(found[0]["fitness"]), names)


def _drawn(p: dict[str, Any], centre: dict[str, float], width: float, draw: Any, sampler: str) -> float:
    value: float = draw.uniform(p["low"], p["high"])
    if sampler != "random":
        value = draw.gauss(centre[p["name"]], width * (p["high"] - p["low"]))
    return round(min(float(p["high"]), max(float(p["low"]), value)), 6)


def _history(
    label: str, sampler: str, found: list[dict[str, Any]], best: list[Any], draw: Any, objectives: int, names: Space
) -> dict[str, Any]:
    whole = [t for t in found if t["state"] == "complete" and t["duplicate_of"] is None]
    leaders = sorted(whole, key=lambda t: -sum(t["fitness"]))[:5]
    finalists = []
    for t in leaders:
        asked = _asked(sum(t["fitness"]) / objectives, objectives, draw, optimism=0.03)
        finalists.append({key: t[key] for key in ("number", "values", "fitness")} | asked)
    front = [
        t["number"]
        for t in whole
        if not any(
            o["fitness"] != t["fitness"] and all(a >= b for a, b in zip(o["fitness"], t["fitness"], strict=True))
            for o in whole
        )
    ]
    winner = max(finalists, key=lambda one: one["all"])
    shares = [1 / (1 + i) ** 1.5 for i in range(len(names))]
    mixed = [p["name"] for p in names]
    draw.shuffle(mixed)
    importances = {name: share / sum(shares) for name, share in zip(mixed, shares, strict=True)}
    states = [t["state"] for t in found]
    return {
        "search": label,
        "sampler": sampler,
        "budget": len(found),
        "study": "made" + ("-random" if label == "random" else ""),
        "storage": "study.db",
        "states": {state: states.count(state) for state in ("complete", "pruned", "fail")},
        "trials": found,
        "best_so_far": best if objectives == 1 else None,
        "importances": [importances if len(whole) >= 20 else None] * objectives,
        "front": front if objectives > 1 else None,
        "finalists": finalists,
        "winner": winner["number"],
        "values": winner["values"],
    }


def _asked(level: float, parts: int, draw: Any, *, optimism: float) -> dict[str, Any]:
    """Fitness on the searched questions, on the held-out ones, and on all."""
    held = level - optimism + draw.gauss(0, 0.012)
    every = 0.75 * level + 0.25 * held
    means = [every + 0.02 * (i - (parts - 1) / 2) for i in range(parts)]
    return {"search": level, "held_out": held, "all": every, "means": means, "japanese": 0.98}


def _development(objective: str, parts: int) -> dict[str, Any]:
    return {
        "name": objective if parts > 1 else "自施設の問題 (probability)",
        "items": "text-only-5-choice",
        "n": 50,
        "sha256": "ab" * 32,
        "metric": "probability",
        "format": "alpaca-ja",
        "shots": 0,
        "weight": 1.0,
        "japanese": False,
        "searched": 37,
        "held_out": 13,
        "left_out": 0,
    }


def _tests(tests: tuple[tuple[str, int], ...], levels: dict[str, float], draw: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for name, n in tests:
        hard = [draw.gauss(0, 0.25) for _ in range(n)]
        right = {key: [float(level + h + draw.gauss(0, 0.15) > 0.5) for h in hard] for key, level in levels.items()}
        pairs = [
            {"a": "winner", "b": key} | summary.paired(right["winner"], right[key]) for key in right if key != "winner"
        ]
        systems = [{"system": k, "accuracy": summary.proportion(r), "japanese": 0.97} for k, r in right.items()]
        found.append(
            {
                "name": name,
                "items": "text-only-5-choice",
                "n": n,
                "sha256": "cd" * 32,
                "asked": n,
                "metric": "likelihood",
            }
            | {"format": "alpaca-ja", "shots": 0, "systems": systems, "pairs": pairs}
            | {"detectable": summary.detectable(n, pairs)}
        )
    every = [pair for test in found for pair in test["pairs"]]
    for pair, p in zip(every, stats.holm([pair["p_value"] for pair in every]) if every else [], strict=True):
        pair["p_holm"] = p
    return found


def _recipe(parents: tuple[str, ...], values: dict[str, float]) -> str:
    lines = ["merge_method: dare_ties", "base_model: models/Llama-3-8B", "models:"]
    for parent in parents:
        lines += [f"- model: models/{parent}", "  parameters:"]
        lines += [f"    {key.split('.')[0]}: {value}" for key, value in values.items() if f".{parent}" in key]
    return "\n".join([*lines, "parameters:", f"  lambda: {values['lambda']}", "dtype: bfloat16", ""])
