"""What to try next, decided by what was tried: CMA-ES, TPE, NSGA-II, random search.

A sampler is a function of its settings and of the candidates so far, in their order, and of nothing else: its random
numbers come from (seed, how many candidates there are), and the salt of a process that is not alone. So a search that
was interrupted goes on exactly as it would have, and nothing of a sampler has to be stored. (Optuna's own CmaEsSampler
stores a pickle in the trials, which is code that every machine of a joint search would run, and mixes trial numbers
into its seed, which a killed trial shifts.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from ikyoku.search.space import Space

if TYPE_CHECKING:
    from cmaes import CMA

SamplerName = Literal["cmaes", "tpe", "nsga2", "random"]
Direction = Literal["maximize", "minimize"]

_STALE = 1  # generations: a result that comes later than this tells nothing about the present distribution


@dataclass(frozen=True, slots=True)
class Tried:
    """A candidate that was begun: its values; whether it is finished; and its fitness, None where it failed."""

    values: Mapping[str, float]
    finished: bool = False
    fitness: tuple[float, ...] | None = None


class Sampler(Protocol):
    """Something that proposes candidates."""

    def propose(self, tried: Sequence[Tried], *, salt: int | None = None) -> dict[str, float]:
        """Returns the values of the candidate after those in `tried`.

        Processes that search together give a `salt`, which no two proposals share, or they might propose the same.
        """


def sampler_of(
    name: SamplerName,
    space: Space,
    *,
    seed: int,
    directions: Sequence[Direction] = ("maximize",),
    trials: int = 200,
    first: Mapping[str, float] | None = None,
) -> Sampler:
    """Returns a sampler.

    Args:
        name: "cmaes" starts in the middle of the bounds with a step of a sixth of them and knows the bounds; "tpe" and
            "nsga2" are Optuna's; "random" is uniform.
        space: what is searched.
        seed: of its random numbers.
        directions: one for each objective; CMA-ES takes one only.
        trials: candidates planned; NSGA-II makes its populations a tenth of them, between 10 and 50.
        first: the first candidate. Without it the first of CMA-ES is uniformly random, as in the third study. CMA-ES
            never learns from the first: it was not drawn from its distribution.

    Raises:
        ValueError: CMA-ES was asked for several objectives, or `first` is no point of the space.

    Reference:
        Hansen and Ostermeier 2001, Evol. Comput. 9, 159-195; Hansen, arXiv 1604.00772.
        Bergstra et al., NeurIPS 2011. Deb et al. 2002, IEEE Trans. Evol. Comput. 6, 182-197.

    >>> from ikyoku.search.space import Parameter
    >>> space = Space((Parameter("weight", 0.0, 2.0),))
    >>> sampler_of("random", space, seed=0, first={"weight": 0.5}).propose([])
    {'weight': 0.5}
    """
    started = None if first is None else space.rounded(space.checked(first))
    if name == "cmaes":
        if len(directions) > 1:
            raise ValueError("CMA-ES searches for one objective; take nsga2, tpe or random for several")
        return _Cmaes(space, seed, 1.0 if directions[0] == "minimize" else -1.0, started)
    if name == "random":
        return _Random(space, seed, started)
    return _Optuna(name, space, seed, tuple(directions), max(10, min(50, trials // 10)), started)


def population(dimensions: int) -> int:
    """Returns CMA-ES's population, 4 + floor(3 ln n).

    >>> population(10), population(1)
    (10, 4)
    """
    return 4 + math.floor(3 * math.log(dimensions))


def _seed(seed: int, index: int, salt: int | None = None) -> int:
    parts = [seed, index] if salt is None else [seed, index, salt]
    return int(np.random.SeedSequence(parts).generate_state(1)[0])


class _Random:
    """Uniformly random within the bounds."""

    def __init__(self, space: Space, seed: int, first: dict[str, float] | None) -> None:
        self._space, self._seed, self._first = space, seed, first

    def propose(self, tried: Sequence[Tried], *, salt: int | None = None) -> dict[str, float]:
        if not tried and self._first is not None:
            return dict(self._first)
        rng = np.random.default_rng(_seed(self._seed, len(tried), salt))
        return self._space.from_unit(rng.random(len(self._space.free)).tolist())


class _Cmaes:
    """CMA-ES in the unit cube: asked one at a time, told a population at a time in the order of its candidates.

    Where several processes search together, candidates are asked before their population is whole: one that comes in a
    generation late still counts in the next, a later one does not.
    """

    def __init__(self, space: Space, seed: int, sign: float, first: dict[str, float] | None) -> None:
        self._space, self._seed, self._sign = space, seed, sign
        self._random = _Random(space, seed, first)
        self._begin()

    def _begin(self) -> None:
        from cmaes import CMA

        n = len(self._space.free)
        bounds = np.array([[0.0, 1.0]] * n)
        self._cma: CMA = CMA(mean=np.full(n, 0.5), sigma=1 / 6, bounds=bounds, n_max_resampling=10 * n, seed=self._seed)
        self._known: list[Tried] = []
        self._born: list[int] = []  # the generation in which each candidate was first seen
        self._waiting: list[tuple[Any, float]] = []

    def propose(self, tried: Sequence[Tried], *, salt: int | None = None) -> dict[str, float]:
        if not tried:
            return self._random.propose(tried, salt=salt)
        if not _goes_on(self._known, tried):
            self._begin()
        for index, one in enumerate(tried):
            if index >= len(self._born):
                self._born.append(self._cma.generation)
            before = index < len(self._known) and self._known[index].finished
            if index and one.finished and not before:
                self._tell(index, one)
        self._known = list(tried)
        self._cma.reseed_rng(_seed(self._seed, len(tried), salt))
        return self._space.from_unit(np.clip(self._cma.ask(), 0.0, 1.0).tolist())

    def _tell(self, index: int, one: Tried) -> None:
        if one.fitness is None or self._cma.generation - self._born[index] > _STALE:
            return
        self._waiting.append((np.array(self._space.to_unit(one.values)), self._sign * one.fitness[0]))
        if len(self._waiting) == self._cma.population_size:
            self._cma.tell(self._waiting)
            self._waiting = []


class _Optuna:
    """A sampler of Optuna's, on a copy of the study in memory in which candidates and trials have the same numbers."""

    def __init__(
        self,
        name: Literal["tpe", "nsga2"],
        space: Space,
        seed: int,
        directions: tuple[Direction, ...],
        population: int,
        first: dict[str, float] | None,
    ) -> None:
        from optuna.distributions import FloatDistribution

        self._name, self._space, self._seed, self._directions = name, space, seed, directions
        self._population, self._first = population, first
        self._bounds = {p.name: FloatDistribution(p.low, p.high) for p in space.free}
        self._begin()

    def _begin(self) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._storage = optuna.storages.InMemoryStorage()
        self._study = optuna.create_study(storage=self._storage, study_name="copy", directions=list(self._directions))
        self._id = self._storage.get_study_id_from_name("copy")
        self._known: list[Tried] = []
        self._trials: list[int] = []

    def propose(self, tried: Sequence[Tried], *, salt: int | None = None) -> dict[str, float]:
        if not tried and self._first is not None:
            return dict(self._first)
        if not _goes_on(self._known, tried):
            self._begin()
        for index, one in enumerate(tried):
            if index >= len(self._trials):
                self._add(index, one)
            if one.finished and not (index < len(self._known) and self._known[index].finished):
                self._finish(self._trials[index], one)
        self._known = list(tried)
        self._study.sampler = self._sampler(_seed(self._seed, len(tried), salt))
        trial = self._study.ask(self._bounds)
        values = self._space.rounded({p.name: trial.params.get(p.name, p.low) for p in self._space})
        number = self._storage.get_trial_id_from_study_id_trial_number(self._id, trial.number)
        for name, bounds in self._bounds.items():
            self._storage.set_trial_param(number, name, values[name], bounds)  # rounded, as it will be evaluated
        self._trials.append(number)
        self._known.append(Tried(values))
        return values

    def _add(self, index: int, one: Tried) -> None:
        import optuna
        from optuna.trial import TrialState, create_trial

        values = {name: one.values[name] for name in self._bounds}
        running = create_trial(state=TrialState.RUNNING, params=values, distributions=self._bounds)
        self._trials.append(self._storage.create_new_trial(self._id, running))
        if self._name == "nsga2":  # the generation that it belonged to, and the parents of that generation
            sampler, trial = self._sampler(0), self._storage.get_trial(self._trials[-1])
            study = optuna.load_study(study_name="copy", storage=self._storage)  # a new one: they keep what they read
            sampler.get_parent_population(study, sampler.get_trial_generation(study, trial))

    def _finish(self, trial: int, one: Tried) -> None:
        from optuna.trial import TrialState

        state = TrialState.FAIL if one.fitness is None else TrialState.COMPLETE
        self._storage.set_trial_state_values(trial, state, one.fitness)

    def _sampler(self, seed: int) -> Any:
        import optuna

        if self._name == "nsga2":
            return optuna.samplers.NSGAIISampler(population_size=self._population, seed=seed)
        return optuna.samplers.TPESampler(seed=seed)


def _goes_on(known: Sequence[Tried], tried: Sequence[Tried]) -> bool:
    """Whether `tried` is `known` with more outcomes and more candidates."""
    return len(tried) >= len(known) and all(
        a.values == b.values and (not a.finished or a == b) for a, b in zip(known, tried, strict=False)
    )
