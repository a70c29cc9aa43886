"""Which parameters decide the fitness."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ikyoku.search.space import Space

LEAST_POINTS = 20
"""Fewer points say nothing."""


def importances(
    space: Space, points: Sequence[Mapping[str, float]], fitness: Sequence[float], *, seed: int = 0
) -> dict[str, float] | None:
    """Returns each free parameter's share in the fitness' variance, most important first, together 1.

    None for fewer than `LEAST_POINTS` points, or where all have the same fitness. A random forest is fitted to the
    points, so the shares hold where the search has been, and repeat with the seed.

    Reference:
        fANOVA: Hutter, Hoos and Leyton-Brown, ICML 2014.
    """
    if len(points) < LEAST_POINTS or len(set(fitness)) < 2:
        return None
    import optuna
    from optuna.distributions import FloatDistribution
    from optuna.trial import create_trial

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    bounds = {p.name: FloatDistribution(p.low, p.high) for p in space.free}
    study = optuna.create_study()
    for point, value in zip(points, fitness, strict=True):
        study.add_trial(
            create_trial(params={name: point[name] for name in bounds}, distributions=bounds, value=float(value))
        )
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=seed)
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(share) for name, share in found.items()}
