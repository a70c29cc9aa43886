"""The candidates of a study in its storage: begun, taken over, closed, each of them once."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from ikyoku.search.ledger import OUTCOME, RETRY, WITHDRAWN, WORKER, Slot, slots
from ikyoku.search.samplers import Tried
from ikyoku.search.space import Space
from ikyoku.study.heartbeat import Heartbeat
from ikyoku.study.storages import Storage


class Register:
    """The register of one study, as this process writes and reads it.

    Args:
        storage: where it is.
        study: its number there.
        space: what is searched.
        heartbeat: seconds between signs of life where other processes work on the study; None where nobody does.

    Attributes:
        worker: what records call this process.
    """

    def __init__(self, storage: Storage, study: int, space: Space, *, heartbeat: float | None) -> None:
        self.worker = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._storage, self._id, self._space = storage, study, space
        with storage.talking():
            self._life = None if heartbeat is None else Heartbeat(storage, study, self.worker, heartbeat)

    def slots(self) -> list[Slot]:
        """Returns all candidates, in order."""
        return slots(self._trials())

    def settled(self) -> list[Slot]:
        """Returns all candidates, after those of dead processes were marked as lost; a trial is marked once only."""
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        trials = self._trials()
        gone = [trial for trial in trials if trial.state == TrialState.RUNNING and self._is_lost(trial)]
        for trial in gone:
            with self._storage.talking(), suppress(UpdateFinishedTrialError):
                self._storage.optuna.set_trial_state_values(trial._trial_id, TrialState.FAIL)
        return self.slots() if gone else slots(trials)

    def _is_lost(self, trial: Any) -> bool:
        worker = trial.system_attrs.get(WORKER, self.worker)  # a trial without is somebody else's affair
        return worker != self.worker and (self._life is None or self._life.dead(worker))

    def begin(self, values: Mapping[str, float], *, budget: int) -> tuple[int, Slot | None]:
        """Begins a candidate; returns its trial's key and the candidate, None where another process was faster.

        That is where it is one too many by now, or somebody is just evaluating the same values.
        """
        trial, mine, found = self._create(values, {})
        if mine is None or mine.number >= budget or any(_twins(mine, slot) for slot in found[: mine.number]):
            self._withdraw(trial)
            return trial, None
        return trial, mine

    def take_over(self, lost: Slot) -> tuple[int, Slot | None]:
        """Begins another evaluation of a candidate whose process died; likewise."""
        trial, mine, _ = self._create(lost.values, {RETRY: lost.trial.number})
        if mine is None:
            self._withdraw(trial)
        return trial, mine

    def close(self, trial: int, outcome: Mapping[str, Any], fitness: Sequence[float]) -> bool:
        """Records an outcome and returns whether it counts: not where another process took the candidate over."""
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        state = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "fail": TrialState.FAIL}
        kept = self._storage.optuna
        try:
            with self._storage.talking():
                kept.set_trial_system_attr(trial, OUTCOME, dict(outcome))
                for key in ("reason", "duplicate_of"):
                    if key in outcome:
                        kept.set_trial_user_attr(trial, key, outcome[key])
                kept.set_trial_state_values(trial, state[outcome["state"]], list(fitness) or None)
        except UpdateFinishedTrialError:
            return False
        return True

    def leave(self) -> None:
        """Says good-bye to the other processes and closes the storage."""
        if self._life is not None:
            self._life.stop()
        self._storage.close()

    def _trials(self) -> list[Any]:
        with self._storage.talking():
            return list(self._storage.optuna.get_all_trials(self._id, deepcopy=False))

    def _create(self, values: Mapping[str, float], marks: Mapping[str, Any]) -> tuple[int, Slot | None, list[Slot]]:
        """Begins a trial, all of it at once; returns its key, the candidate it counts for if any, all candidates."""
        from optuna.distributions import FloatDistribution
        from optuna.trial import TrialState, create_trial

        bounds = {p.name: FloatDistribution(p.low, p.high) for p in self._space}
        trial = create_trial(
            state=TrialState.RUNNING,
            params=dict(values),
            distributions=bounds,
            system_attrs={WORKER: self.worker, **marks},
            user_attrs={"worker": self.worker},
        )
        with self._storage.talking():
            key = self._storage.optuna.create_new_trial(self._id, trial)
        found = self.slots()
        return key, next((slot for slot in found if slot.trial._trial_id == key), None), found

    def _withdraw(self, trial: int) -> None:
        from optuna.exceptions import UpdateFinishedTrialError
        from optuna.trial import TrialState

        with self._storage.talking(), suppress(UpdateFinishedTrialError):
            self._storage.optuna.set_trial_system_attr(trial, WITHDRAWN, True)
            self._storage.optuna.set_trial_state_values(trial, TrialState.FAIL)


def _twins(mine: Slot, other: Slot) -> bool:
    return not other.finished and other.values == mine.values


def record_of(slot: Slot) -> dict[str, Any]:
    """Returns what is known of a candidate, as plain values; see `ikyoku.study.Study.records`."""
    outcome, trial = slot.outcome, slot.trial
    took = (trial.datetime_complete - trial.datetime_start).total_seconds() if slot.finished else 0.0
    reason = outcome.get("reason", f"{len(slot.attempts)} processes died over it") if slot.state == "fail" else None
    return {
        "number": slot.number,
        "values": slot.values,
        "fitness": list(trial.values) if slot.state in ("complete", "pruned") else None,
        "state": slot.state,
        "seconds": max(took, 0.0) if slot.finished else None,  # another machine's clock may have ended it
        "worker": trial.system_attrs[WORKER],
        "attempts": len(slot.attempts),
        "reason": reason,
        "duplicate_of": outcome.get("duplicate_of"),
    }


def tried_of(slot: Slot) -> Tried:
    """Returns what a sampler learns of a candidate."""
    if slot.state == "complete":
        return Tried(slot.values, True, tuple(slot.trial.values))
    if slot.state == "pruned":
        return Tried(slot.values, True, (slot.outcome.get("estimate", slot.trial.values[0]),))
    return Tried(slot.values, slot.state == "fail")
