"""Which trials of a study count, and for which candidate: a function of the list of trials alone.

A candidate is begun by one trial. If the process that evaluates it dies, the trial is marked as failed without a
reason, and another trial takes the candidate over; of several that do, the first counts. So whatever happens between
processes, each candidate has one history, everyone reads the same one, and a budget of candidates is met exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

WORKER, RETRY, WITHDRAWN, OUTCOME = "ikyoku:worker", "ikyoku:retry_of", "ikyoku:withdrawn", "ikyoku:outcome"
"""Keys of a trial: who evaluates it; the number of the trial that it takes over; that it does not count; its outcome,
an object with "state", "items", "estimate", "reason", "duplicate_of" as far as it has them."""
MOST_ATTEMPTS = 5
"""So many processes may die over a candidate; then it is a failed one."""

State = Literal["complete", "pruned", "fail", "running", "lost"]


class Trial(Protocol):
    """What is read of Optuna's FrozenTrial."""

    @property
    def number(self) -> int:
        """Its number in the study, in the order in which trials were begun."""

    @property
    def state(self) -> Any:
        """Its state, an enumeration with names."""

    @property
    def params(self) -> Mapping[str, Any]:
        """Its values."""

    @property
    def system_attrs(self) -> Mapping[str, Any]:
        """What we keep of it."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One candidate: its number, from 0 and without gaps, and the trials that evaluated it, the last one now."""

    number: int
    attempts: tuple[Any, ...]

    @property
    def trial(self) -> Any:
        """The trial that counts, or would."""
        return self.attempts[-1]

    @property
    def values(self) -> dict[str, float]:
        """The candidate's values."""
        return dict(self.attempts[0].params)

    @property
    def outcome(self) -> Mapping[str, Any]:
        """What was kept with the result."""
        return dict(self.trial.system_attrs.get(OUTCOME, {}))

    @property
    def state(self) -> State:
        """Where it stands; "lost": its process died, and nobody has taken it over."""
        name = self.trial.state.name
        if name in ("COMPLETE", "PRUNED"):
            return "complete" if name == "COMPLETE" else "pruned"
        if name != "FAIL":
            return "running"
        failed = self.outcome.get("state") == "fail" or len(self.attempts) >= MOST_ATTEMPTS
        return "fail" if failed else "lost"

    @property
    def finished(self) -> bool:
        """Whether it has an outcome."""
        return self.state in ("complete", "pruned", "fail")


def slots(trials: Iterable[Trial]) -> list[Slot]:
    """Returns the candidates in the order in which they were begun, from all trials of a study.

    Trials that others put into the study (from a dashboard, say) are left out, and so are withdrawn ones.
    """
    begun: list[Trial] = []
    heirs: dict[int, Trial] = {}
    for trial in sorted(trials, key=lambda t: t.number):
        marks = trial.system_attrs
        if WORKER not in marks or marks.get(WITHDRAWN):
            continue
        if RETRY in marks:
            heirs.setdefault(marks[RETRY], trial)
        else:
            begun.append(trial)
    found = []
    for number, trial in enumerate(begun):
        attempts = [trial]
        while (heir := heirs.get(attempts[-1].number)) is not None:
            attempts.append(heir)
        found.append(Slot(number, tuple(attempts)))
    return found


def ranked(points: Sequence[Sequence[float]], *, most: int | None = None) -> list[int]:
    """Returns the order of points from best to worst, where more is better; of several numbers, by Pareto fronts.

    In a front, and among equals, the earlier comes first. With `most`, only so many are found.

    >>> ranked([(1.0,), (3.0,), (2.0,)])
    [1, 2, 0]
    >>> ranked([(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)])
    [1, 2, 0]
    """
    if points and len(points[0]) == 1:
        return sorted(range(len(points)), key=lambda i: (-points[i][0], i))[:most]
    left, order = list(range(len(points))), list[int]()
    while left and (most is None or len(order) < most):
        front = {i for i in left if not any(_beats(points[j], points[i]) for j in left)}
        order += sorted(front)
        left = [i for i in left if i not in front]
    return order[:most]


def _beats(a: Sequence[float], b: Sequence[float]) -> bool:
    return all(x >= y for x, y in zip(a, b, strict=True)) and tuple(a) != tuple(b)
