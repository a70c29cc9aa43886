"""A search that survives: candidates are asked for and told, kept in Optuna's storage, and counted once.

    with open_study(path, "search", space, trials=200, first=uniform(space)) as study:
        while candidate := study.ask():
            …  # for each question: if candidate.report(index, value): pruned
            study.tell(candidate, mean)

One process: a study that is continued after any interruption equals one that never was, number for number. Several
processes (`join`): only the record is exact, not the order, and a budget is met exactly, whoever dies.

A candidate that is clearly worse than the best on the questions that both were asked is pruned; its value is the mean
over what it was asked. Samplers learn from it too, or they would stay where all is pruned; but what they learn is the
best's value less its lead on the same questions, as the first questions may be easier than the rest.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from statistics import fmean
from types import TracebackType
from typing import Any, Literal

from ikyoku.errors import RunError, SpecError
from ikyoku.search.importance import importances
from ikyoku.search.ledger import WORKER, Slot, ranked
from ikyoku.search.pruning import Rival
from ikyoku.search.samplers import Direction, Sampler, SamplerName, sampler_of
from ikyoku.search.space import Space
from ikyoku.study.register import Register, record_of, tried_of
from ikyoku.study.settings import check_settings
from ikyoku.study.storages import open_storage

Outcome = Literal["complete", "pruned", "fail"]

MOST_FAILURES = 10
"""So many candidates in a row may fail."""


class Candidate:
    """One point that is to be evaluated.

    Attributes:
        number: which candidate of the study it is, from 0.
        values: value of each parameter.
    """

    def __init__(self, number: int, values: dict[str, float], trial: int, rival: Rival | None) -> None:
        self.number, self.values = number, values
        self._trial, self._rival = trial, rival
        self._items: dict[int, float] = {}

    def report(self, step: int, value: float) -> bool:
        """Keeps the value of question `step`, and returns whether to stop: the best is clearly better."""
        return self.reports({step: value})

    def reports(self, values: Mapping[int, float]) -> bool:
        """The same for several questions at once, with one test at the end."""
        self._items |= {int(step): float(value) for step, value in values.items()}
        return self._rival is not None and self._rival.beats(self._items)

    @property
    def items(self) -> dict[int, float]:
        """What was reported so far."""
        return dict(self._items)

    @property
    def mean(self) -> float:
        """The mean of what was reported so far: the value of a pruned candidate.

        Raises:
            ValueError: nothing was reported.
        """
        if not self._items:
            raise ValueError("a candidate of which nothing was reported has no mean")
        return fmean(self._items.values())

    @property
    def estimate(self) -> float:
        """What the mean over all questions would be, as far as the best tells how hard the rest are."""
        return self.mean if self._rival is None else self._rival.estimate(self._items)


class Study:
    """A search. Use `open_study` and a `with` block.

    Attributes:
        space: what is searched.
        trials: the budget, of all processes together.
        directions: one for each objective.
        worker: what records call this process.
    """

    def __init__(
        self,
        register: Register,
        space: Space,
        sampler: Sampler,
        *,
        trials: int,
        directions: Sequence[Direction],
        prune: bool,
        join: bool,
        pause: float,
    ) -> None:
        self.space, self.trials, self.directions, self.worker = space, trials, tuple(directions), register.worker
        self._register, self._sampler, self._pause = register, sampler, pause
        self._prune, self._join = prune and len(directions) == 1, join
        self._failures = self._proposals = 0
        self._begun, self._at_start = time.monotonic(), self.finished

    def ask(self) -> Candidate | None:
        """Returns the next candidate to evaluate, or None when all of the budget have an outcome.

        A candidate whose process died is evaluated again before new ones. One whose values were evaluated before gets
        the outcome of then, and is not returned. Where the last candidates are with other processes, it waits for them.

        Raises:
            RunError: the storage fails.
        """
        while True:
            found = self._register.settled()[: self.trials]
            if all(slot.finished for slot in found) and len(found) >= self.trials:
                return None
            lost = next((slot for slot in found if slot.state == "lost"), None)
            if lost is not None:
                candidate = self._retry(lost)
            elif len(found) < self.trials:
                candidate = self._begin(found)
            else:
                candidate = None
                self._wait(found)
            if candidate is not None:
                return candidate

    def tell(
        self,
        candidate: Candidate,
        values: Sequence[float] | float | None = None,
        *,
        state: Outcome = "complete",
        reason: str = "",
    ) -> bool:
        """Records the outcome of a candidate and returns whether it counts.

        It does not count where another process has taken the candidate over, since this one gave no sign of life.

        Args:
            candidate: from `ask`.
            values: the fitness, one number for each objective; of a pruned candidate the mean of its reports unless
                given. One that is not finite makes the candidate a failed one.
            state: "complete", "pruned" or "fail".
            reason: why it failed, in a few words, without anyone's text in it.

        Raises:
            RunError: so many candidates in a row have failed that the fault is not theirs; or the storage fails.
        """
        if values is None and state == "pruned":
            values = candidate.mean
        given = [values] if isinstance(values, int | float) else list(values or ())
        fitness = [float(value) for value in given]
        if state != "fail" and len(fitness) != len(self.directions):
            raise ValueError(f"{len(fitness)} values for {len(self.directions)} objectives")
        if state != "fail" and not all(map(isfinite, fitness)):
            state, reason = "fail", "its fitness is not a finite number"
        outcome: dict[str, Any] = {"state": state, "items": list(candidate.items.items())}
        if state == "pruned":
            outcome["estimate"] = candidate.estimate if candidate.items else fitness[0]
        if state == "fail":
            outcome["reason"], fitness = reason or "no reason was given", []
        counts = self._register.close(candidate._trial, outcome, fitness)
        self._failures = self._failures + 1 if state == "fail" else 0
        if self._failures >= MOST_FAILURES:
            raise RunError(
                f"{self._failures} candidates in a row failed, the last one: {outcome['reason']}. "
                "They are on record as failed; mend the cause, and the same command goes on with the next."
            )
        return counts

    @property
    def finished(self) -> int:
        """How many candidates have an outcome."""
        return sum(slot.finished for slot in self._slots())

    @property
    def done(self) -> bool:
        """Whether all candidates of the budget have an outcome."""
        return self.finished >= self.trials

    def best(self, k: int = 1) -> list[dict[str, Any]]:
        """Returns the records of the best complete candidates, best first, by Pareto fronts for several objectives.

        Equals in order of their numbers; duplicates are left out, pruned ones too.
        """
        whole = [r for r in self.records() if r["state"] == "complete" and r["duplicate_of"] is None]
        signs = [1 if direction == "maximize" else -1 for direction in self.directions]
        points = [[sign * value for sign, value in zip(signs, r["fitness"], strict=True)] for r in whole]
        return [whole[index] for index in ranked(points, most=k)]

    def records(self) -> list[dict[str, Any]]:
        """Returns what is known of each candidate, in order.

        Each has: number, values, fitness (a list; None where it failed or runs), state ("complete", "pruned", "fail",
        "running", "lost"), seconds of its last evaluation (or None), worker, attempts, reason (or None), duplicate_of
        (a candidate's number, or None).
        """
        return [record_of(slot) for slot in self._slots()]

    def items(self, number: int) -> dict[int, float]:
        """Returns what a candidate's evaluation reported, question by question; a duplicate's is empty."""
        return {int(step): float(value) for step, value in self._slots()[number].outcome.get("items", ())}

    def importances(self, objective: int = 0) -> dict[str, float] | None:
        """Returns each free parameter's share in what decides the fitness, most important first, together 1.

        None with fewer than 20 complete candidates, or all of one fitness; see `ikyoku.search.importance`.
        """
        whole = [s for s in self._slots() if s.state == "complete" and "duplicate_of" not in s.outcome]
        return importances(self.space, [s.values for s in whole], [s.trial.values[objective] for s in whole])

    def progress(self) -> dict[str, Any]:
        """Returns finished, trials, best (its fitness, a list, or None), per_minute and seconds_left (or None).

        The pace is that of all processes since this one opened the study.
        """
        finished, best = self.finished, self.best(1)
        minutes = (time.monotonic() - self._begun) / 60
        pace = (finished - self._at_start) / minutes if finished > self._at_start and minutes > 0 else None
        left = None if pace is None else max(0, self.trials - finished) / pace * 60
        fitness = best[0]["fitness"] if best else None
        return {
            "finished": finished,
            "trials": self.trials,
            "best": fitness,
            "per_minute": pace,
            "seconds_left": left,
        }

    def close(self) -> None:
        """Stops the signs of life and closes the storage."""
        self._register.leave()

    def __enter__(self) -> Study:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _slots(self) -> list[Slot]:
        return self._register.slots()[: self.trials]

    def _wait(self, found: Sequence[Slot]) -> None:
        if all(slot.finished or slot.trial.system_attrs[WORKER] == self.worker for slot in found):
            raise RuntimeError("the last candidates were asked for and never told")
        time.sleep(self._pause)

    def _begin(self, found: Sequence[Slot]) -> Candidate | None:
        """Begins a new candidate; None if another process was faster, or its values were tried before."""
        self._proposals += 1
        salt = zlib.crc32(f"{self.worker} {self._proposals}".encode()) if self._join else None
        values = self._sampler.propose([tried_of(slot) for slot in found], salt=salt)
        trial, mine = self._register.begin(values, budget=self.trials)
        if mine is None:
            return None
        before = next((slot for slot in found if slot.finished and slot.values == values), None)
        if before is None:
            return Candidate(mine.number, values, trial, self._rival(found))
        outcome = {key: value for key, value in before.outcome.items() if key != "items"} | {"state": before.state}
        original = before.outcome.get("duplicate_of", before.number)
        self._register.close(trial, outcome | {"duplicate_of": original}, list(before.trial.values or ()))
        return None

    def _retry(self, lost: Slot) -> Candidate | None:
        """Takes over a candidate whose process died; None if another process was faster."""
        trial, mine = self._register.take_over(lost)
        return None if mine is None else Candidate(mine.number, lost.values, trial, self._rival(self._slots()))

    def _rival(self, found: Sequence[Slot]) -> Rival | None:
        if not self._prune:
            return None
        sign = 1 if self.directions[0] == "maximize" else -1
        whole = [s for s in found if s.state == "complete" and s.outcome.get("items")]
        if not whole:
            return None
        best = max(whole, key=lambda s: (sign * s.trial.values[0], -s.number))
        return Rival(best.trial.values[0], {int(k): v for k, v in best.outcome["items"]}, self.directions[0])


def open_study(
    storage: str | Path,
    name: str,
    space: Space,
    *,
    sampler: SamplerName = "cmaes",
    trials: int = 200,
    seed: int = 0,
    directions: Sequence[Direction] = ("maximize",),
    metrics: Sequence[str] = ("fitness",),
    prune: bool = True,
    first: Mapping[str, float] | None = None,
    fingerprint: str = "",
    join: bool = False,
    heartbeat: float = 10.0,
) -> Study:
    """Opens or continues a study.

    Args:
        storage: a path, where a SQLite file is or will be; or an address, see `ikyoku.study.storages`.
        name: the study's name in the storage, which may hold several.
        space: what is searched.
        sampler: how; see `ikyoku.search.samplers`.
        trials: the budget: complete, pruned and failed candidates, of all processes together.
        seed: of the sampler.
        directions: one for each objective.
        metrics: the objectives' names.
        prune: whether a candidate's reports may say stop. With several objectives none does.
        first: the first candidate, such as `uniform(space)`.
        fingerprint: a hash of whatever else the fitness depends on, such as parents and questions.
        join: whether other processes work on this study at the same time. Without it nobody may: candidates that
            others evaluate are taken for lost.
        heartbeat: seconds between two signs of life with `join`; who misses six of them is taken for dead.

    Raises:
        SpecError: the settings contradict each other, or `storage` is no address.
        RunError: the storage cannot be opened, or holds another study of this name.
        OfflineError: the database is not inside the hospital.
    """
    import optuna

    if trials < 1 or len(directions) != len(metrics) or not directions:
        raise SpecError(f"a study needs candidates and named objectives; found {trials}, {len(metrics)} names")
    if sampler == "cmaes" and len(directions) > 1:
        raise SpecError("search.sampler: cmaes searches for one objective; take nsga2, tpe or random for several")
    proposer = sampler_of(sampler, space, seed=seed, directions=directions, trials=trials, first=first)
    opened = open_storage(storage)
    try:
        with opened.talking():
            study = optuna.create_study(
                study_name=name, storage=opened.optuna, directions=list(directions), load_if_exists=True
            )
            settings = {
                "space": space.hash,
                "parameters": list(space.names),
                "sampler": sampler,
                "seed": seed,
                "directions": list(directions),
                "metrics": list(metrics),
                "prune": prune,
                "first": None if first is None else dict(first),
                "fingerprint": fingerprint,
            }
            check_settings(opened, study, settings)
            identity = opened.optuna.get_study_id_from_name(name)
        register = Register(opened, identity, space, heartbeat=heartbeat if join else None)
    except BaseException:
        opened.close()
        raise
    return Study(
        register,
        space,
        proposer,
        trials=trials,
        directions=directions,
        prune=prune,
        join=join,
        pause=min(heartbeat, 1.0),
    )
