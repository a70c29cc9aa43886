from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from ikyoku.search.importance import importances
from ikyoku.search.ledger import ranked
from ikyoku.search.samplers import Direction, SamplerName, Tried, sampler_of
from ikyoku.search.space import Parameter, Space

SPACE = Space((*(Parameter(f"p{k}", 0.0, 1.0 + k) for k in range(4)), Parameter("fixed", 2.0, 2.0)))
NAMES: tuple[SamplerName, ...] = ("cmaes", "tpe", "nsga2", "random")
EACH = pytest.mark.parametrize("name", NAMES)


def _fitness(values: dict[str, float]) -> float:
    return -sum((values[p.name] - (p.low + 0.2 * (p.high - p.low))) ** 2 / (1 + p.high) ** 2 for p in SPACE)


def _searched(name: SamplerName, trials: int, *, direction: Direction = "maximize", seed: int = 0) -> list[Tried]:
    sampler, tried = sampler_of(name, SPACE, seed=seed, directions=(direction,), trials=trials), list[Tried]()
    sign = 1 if direction == "maximize" else -1
    for _ in range(trials):
        values = sampler.propose(tried)
        failed = len(tried) % 7 == 3
        tried.append(Tried(values, True, None if failed else (sign * _fitness(values),)))
    return tried


@EACH
def test_a_proposal_follows_from_what_was_tried_alone(name: SamplerName) -> None:
    tried = _searched(name, 60)
    for n in (0, 1, 9, 10, 11, 23, 37, 59):
        fresh = sampler_of(name, SPACE, seed=0, trials=60)
        assert fresh.propose(tried[:n]) == tried[n].values
        assert fresh.propose(tried[:n]) == tried[n].values  # and asking changes nothing
    assert _searched(name, 4, seed=1) != tried[:4]
    assert all(SPACE.checked(one.values) for one in tried)
    assert all(one.values["fixed"] == 2.0 for one in tried)


@EACH
def test_a_history_that_changes_is_read_again(name: SamplerName) -> None:
    tried, other = _searched(name, 40), _searched(name, 40, seed=1)
    sampler = sampler_of(name, SPACE, seed=0, trials=40)
    sampler.propose(other[:39])
    assert sampler.propose(tried[:39]) == tried[39].values
    assert sampler.propose(tried[:20]) == tried[20].values


@pytest.mark.parametrize("name", NAMES[:3])
@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_they_find_better_points_than_chance(name: SamplerName, direction: Direction) -> None:
    def last(tried: Sequence[Tried]) -> float:
        return float(np.median([_fitness(dict(one.values)) for one in tried[-30:]]))

    found = _searched(name, 150, direction=direction)
    assert last(found) > last(_searched("random", 150)) / 3
    if direction == "minimize":
        assert [one.values for one in found] == [one.values for one in _searched(name, 150)]


@EACH
def test_candidates_that_run_meanwhile(name: SamplerName) -> None:
    sampler, tried = sampler_of(name, SPACE, seed=0, trials=60), list[Tried]()
    for n in range(60):  # three processes: an outcome comes two candidates later
        tried.append(Tried(sampler.propose(tried)))
        if n >= 2:
            old = tried[n - 2]
            tried[n - 2] = replace(old, finished=True, fitness=(_fitness(dict(old.values)),))
    assert len({tuple(one.values.values()) for one in tried}) >= (50 if name == "nsga2" else 60)  # it may repeat some


def test_cmaes_is_that_of_cmaes() -> None:
    from cmaes import CMA

    tried = _searched("cmaes", 20)
    cma = CMA(mean=np.full(4, 0.5), sigma=1 / 6, bounds=np.array([[0, 1]] * 4), n_max_resampling=40)
    assert cma.population_size == 8
    told = [one for one in tried[1:] if one.fitness]
    cma.tell([(np.array(SPACE.to_unit(one.values)), -one.fitness[0]) for one in told[:8] if one.fitness])
    index = tried.index(told[7]) + 1
    cma.reseed_rng(int(np.random.SeedSequence([0, index]).generate_state(1)[0]))
    assert SPACE.from_unit(np.clip(cma.ask(), 0, 1).tolist()) == tried[index].values
    middle = np.mean([SPACE.to_unit(one.values) for one in tried[1:9]], axis=0)
    assert np.all(abs(middle - 0.5) < 0.25)


@EACH
def test_the_first_can_be_given(name: SamplerName) -> None:
    first = {"p0": 0.5, "p1": 0.5, "p2": 0.5, "p3": 0.5, "fixed": 2.0}
    assert sampler_of(name, SPACE, seed=0, first=first).propose([]) == first
    with pytest.raises(ValueError, match="p0: missing"):
        sampler_of(name, SPACE, seed=0, first={})


def test_one_free_parameter_is_enough() -> None:
    line = Space((Parameter("t", 0.0, 1.0),))
    sampler, tried = sampler_of("cmaes", line, seed=0), list[Tried]()
    for _ in range(60):
        values = sampler.propose(tried)
        tried.append(Tried(values, True, (-abs(values["t"] - 0.9),)))
    assert abs(tried[-1].values["t"] - 0.9) < 0.05


def test_cmaes_refuses_two_objectives() -> None:
    with pytest.raises(ValueError, match="one objective"):
        sampler_of("cmaes", SPACE, seed=0, directions=("maximize", "maximize"))


def test_importance_finds_what_decides() -> None:
    rng = np.random.default_rng(0)
    points = [SPACE.from_unit(rng.random(4).tolist()) for _ in range(80)]
    shares = importances(SPACE, points, [10 * p["p2"] - p["p0"] for p in points])
    assert shares is not None
    assert next(iter(shares)) == "p2"
    assert set(shares) == {"p0", "p1", "p2", "p3"}
    assert importances(SPACE, points[:19], [p["p2"] for p in points[:19]]) is None
    assert importances(SPACE, points, [0.5] * 80) is None


def test_ranks_of_several_objectives_are_pareto_fronts() -> None:
    points = [(0.0, 0.0), (2.0, 1.0), (1.0, 2.0), (1.0, 1.0), (2.0, 1.0)]
    assert ranked(points) == [1, 2, 4, 3, 0]
    assert ranked([]) == []
    for most in range(6):
        assert ranked(points, most=most) == [1, 2, 4, 3, 0][:most]
