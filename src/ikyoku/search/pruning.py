"""Whether a candidate is clearly worse than the best so far, question by question."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from math import isfinite
from statistics import fmean
from typing import Any

from ikyoku.search.samplers import Direction

P_VALUE = 0.05
"""A candidate is pruned below it. The test is repeated at every report, so false alarms are more frequent than that:
of 300 simulated candidates as good as the best, scored by a probability, it stopped 8 % on 38 questions and 15 % on
100, looked at every 16, and 19 % looked at every 4; of 80 scored right or wrong, 4 % and 5 %. Of candidates nine points
worse by probability it stopped 90 % and all, of those 14 points worse by right or wrong 42 % and 84 %. At 0.01 it would
be a third of the false alarms, and of the losers 71 %, 99 %, 9 % and 58 %."""
LEAST_ITEMS = 10
"""No candidate is pruned before so many questions."""


class Rival:
    """The best candidate so far, to compare others with on the questions that both were asked.

    Args:
        value: its fitness, the mean over all questions.
        items: its value on each question.
        direction: whether more or less is better.

    Reference:
        Wilcoxon 1945, Biometrics Bulletin 1, 80-83; as optuna.pruners.WilcoxonPruner applies it.

    >>> rival = Rival(0.8, {step: float(step % 5 > 0) for step in range(30)}, "maximize")
    >>> [rival.beats(dict.fromkeys(range(n), 0.0)) for n in (5, 20)]
    [False, True]
    >>> round(rival.estimate(dict.fromkeys(range(1, 5), 0.5)), 6)
    0.3
    """

    def __init__(self, value: float, items: Mapping[int, float], direction: Direction) -> None:
        import optuna
        from optuna.study import StudyDirection

        self.direction = StudyDirection[direction.upper()]  # this and the next are what the pruner reads of a study
        self.best_trial = _trial(items, value)
        self._value, self._items = value, items
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._test = optuna.pruners.WilcoxonPruner(p_threshold=P_VALUE, n_startup_steps=LEAST_ITEMS)

    def beats(self, items: Mapping[int, float]) -> bool:
        """Returns whether it is clearly better on the questions that both were asked."""
        shared = {step: value for step, value in items.items() if step in self._items}
        if len(shared) < LEAST_ITEMS or not all(map(isfinite, shared.values())):
            return False
        study: Any = self
        return bool(self._test.prune(study, _trial(shared, None)))

    def estimate(self, items: Mapping[int, float]) -> float:
        """Returns what a candidate's mean over all questions would be, if its distance to the best stays as it is."""
        apart = [value - self._items[step] for step, value in items.items() if step in self._items]
        return self._value + fmean(apart) if apart else fmean(items.values())


def _trial(items: Mapping[int, float], value: float | None) -> Any:
    from optuna.trial import TrialState, create_trial

    state = TrialState.RUNNING if value is None else TrialState.COMPLETE
    return create_trial(state=state, value=value, intermediate_values=dict(items))
