from __future__ import annotations

import random
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ikyoku.search.ledger import OUTCOME, RETRY, WITHDRAWN, WORKER, slots


class State(Enum):
    RUNNING = 0
    COMPLETE = 1
    PRUNED = 2
    FAIL = 3


@dataclass
class Row:
    number: int
    state: State
    system_attrs: dict[str, Any]
    params: dict[str, Any] = field(default_factory=dict)


def row(number: int, state: State, **marks: Any) -> Row:
    keys = {"retry": RETRY, "withdrawn": WITHDRAWN, "outcome": OUTCOME, "worker": WORKER}
    return Row(number, state, {WORKER: "w"} | {keys[key]: value for key, value in marks.items()})


def test_states() -> None:
    failed = {"state": "fail", "reason": "NaN"}
    rows = [
        row(0, State.COMPLETE),
        row(1, State.FAIL, outcome=failed),
        row(2, State.FAIL),  # its process died
        row(3, State.RUNNING),
        row(4, State.FAIL, withdrawn=True),
        Row(5, State.COMPLETE, {}),  # somebody else's
        row(6, State.PRUNED, retry=2),
        row(7, State.COMPLETE, retry=2),  # came later than the one before: it does not count
        row(8, State.FAIL),
        row(9, State.FAIL, outcome={"state": "complete"}),  # killed between outcome and state
    ]
    found = slots(rows)
    assert [s.number for s in found] == [0, 1, 2, 3, 4, 5]
    assert [s.state for s in found] == ["complete", "fail", "pruned", "running", "lost", "lost"]
    assert [[t.number for t in s.attempts] for s in found] == [[0], [1], [2, 6], [3], [8], [9]]
    assert [s.finished for s in found] == [True, True, True, False, False, False]


def test_five_deaths_are_a_failure() -> None:
    rows = [row(0, State.FAIL), *(row(n, State.FAIL, retry=n - 1) for n in range(1, 5))]
    assert [s.state for s in slots(rows[:4])] == ["lost"]
    assert [s.state for s in slots(rows)] == ["fail"]


@given(st.integers(0, 10_000))
def test_whatever_happens_each_candidate_counts_once(seed: int) -> None:
    """Several processes with an old view of the study: begin, finish, die, take over, at random."""
    rng, budget = random.Random(seed), 6
    rows: list[Row] = []
    for _ in range(200):
        view = [Row(r.number, r.state, dict(r.system_attrs)) for r in rows]  # what a process has read
        for _ in range(rng.randrange(3)):  # what others do meanwhile
            _act(rows, slots(rows)[:budget], rng, budget)
        _act(rows, slots(view)[:budget], rng, budget)
        counting = [s for s in slots(rows)[:budget] if s.finished]
        for s in counting:
            assert sum(t.state in (State.COMPLETE, State.PRUNED) for t in s.attempts) <= 1
    for _ in range(200):  # one process alone brings it to the end
        for r in rows:
            if r.state is State.RUNNING:
                r.state = State.FAIL
        seen = slots(rows)[:budget]
        if all(s.finished for s in seen) and len(seen) == budget:
            break
        lost = next((s for s in seen if s.state == "lost"), None)
        marks = {} if lost is None else {"retry": lost.trial.number}
        rows.append(row(len(rows), State.COMPLETE, **marks))
    found = slots(rows)[:budget]
    assert [s.finished for s in found] == [True] * budget


def _act(rows: list[Row], view: list[Any], rng: random.Random, budget: int) -> None:
    """One step of one process that sees `view`; the list of trials itself is changed in one step at a time."""
    running = [r for r in rows if r.state is State.RUNNING]
    choice = rng.randrange(4)
    if choice == 0 and running:
        rng.choice(running).state = rng.choice([State.COMPLETE, State.PRUNED])
    elif choice == 1 and running:
        rng.choice(running).state = State.FAIL  # taken for dead, rightly or not
    elif lost := next((s for s in view if s.state == "lost"), None):
        new = row(len(rows), State.RUNNING, retry=lost.trial.number)
        rows.append(new)
        if all(s.trial is not new for s in slots(rows)):
            new.system_attrs[WITHDRAWN], new.state = True, State.FAIL
    elif len(view) < budget:
        new = row(len(rows), State.RUNNING)
        rows.append(new)
        if not any(s.trial is new and s.number == len(view) for s in slots(rows)):
            new.system_attrs[WITHDRAWN], new.state = True, State.FAIL
