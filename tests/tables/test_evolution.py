"""The result of a search for a terminal."""

from __future__ import annotations

from typing import Any

from ikyoku.tables import evolution_text


def scores(**changes: Any) -> dict[str, Any]:
    def fitness(search: float, held_out: float | None = None) -> dict[str, Any]:
        return {"search": search, "held_out": held_out, "all": search, "means": [search], "japanese": None}

    pair = {"a": "winner", "b": "parent 医療", "difference": 0.125, "p_value": 0.004, "p_holm": 0.012}
    estimate = {"value": 0.75, "n": 40, "low": 0.6, "high": 0.85}
    return {
        "winner": fitness(0.5, 0.4),
        "searches": [{}, {"finalists": [{"number": 3} | fitness(0.45, 0.41)], "winner": 3}],
        "baselines": [{"label": "base"} | fitness(0.3), {"label": "医療"} | fitness(0.35)],
        "tests": [
            {
                "name": "final",
                "asked": 40,
                "systems": [{"system": s, "accuracy": estimate} for s in ("winner", "parent 医療")],
                "pairs": [pair],
            }
        ],
        "notes": ["a note\x1b[2J"],
    } | changes


def test_fitness_tests_and_notes_are_told() -> None:
    lines = evolution_text(scores()).splitlines()
    assert lines[0].split() == ["development", "searched", "held", "out", "all"]
    assert lines[2].split() == ["winner", "0.5000", "0.4000", "0.5000"]
    assert lines[3].split()[-3:] == ["0.4500", "0.4100", "0.4500"]
    assert lines[4].split() == ["医療", "0.3500", "-", "0.3500"]
    (test,) = [line for line in lines if line.startswith("parent")]
    assert test.split() == ["parent", "医療", "0.750", "[0.600-0.850]", "+0.125", "0.012"]
    assert lines[-1] == "note: a note?[2J"


def test_columns_stand_below_each_other() -> None:
    lines = evolution_text(scores(tests=[], notes=[])).splitlines()
    assert {line.rindex("0.") + line.count("医") + line.count("療") for line in lines[2:]} == {lines[2].rindex("0.")}
