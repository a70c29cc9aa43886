"""F1 of sets of units over many reports: micro, macro and for each name, with intervals and paired tests.

A unit is a tuple of texts whose first is the name that it is counted under: ("nodule", "right"), or ("edema",).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Units = frozenset[tuple[str, ...]]

_Tally = npt.NDArray[np.float64]  # [..., names, 3]: units that both have, only the report, only the reference


@dataclass(frozen=True, slots=True)
class Score:
    """Precision, recall and F1 with its 95 % interval; None where a share of nothing would be needed.

    `both`, `extra` and `missed` are numbers of units, over all reports.
    """

    both: int
    extra: int
    missed: int
    precision: float | None
    recall: float | None
    f1: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class FindingTable:
    """F1 of the findings of `n` reports.

    `micro` counts all units alike; `macro` is the mean F1 of the `findings` of which either side has a unit, in the
    table's order (most frequent in the references first), and None where there is none.
    """

    n: int
    micro: Score
    macro: float | None
    macro_low: float | None
    macro_high: float | None
    findings: dict[str, Score]

    def record(self) -> dict[str, Any]:
        """Returns the table as scores.json holds it."""
        macro = {"value": self.macro, "n": self.n, "low": self.macro_low, "high": self.macro_high}
        rows = {name: asdict(score) for name, score in self.findings.items()}
        return {"n": self.n, "micro": asdict(self.micro), "macro": macro, "findings": rows}


def unit_table(
    reports: Sequence[Units],
    references: Sequence[Units],
    *,
    rng: np.random.Generator | None = None,
    resamples: int = 2000,
) -> FindingTable:
    """Returns micro, macro and per-name F1 over reports, with bootstrap intervals where a generator is given.

    Args:
        reports: The units of the reports.
        references: The units of their references, in the same order.
        rng: Where the resampling of reports draws from; without it there are no intervals.
        resamples: How many tables are drawn.

    Raises:
        ValueError: there are no reports, or not as many of the one as of the other.

    Reference:
        Percentile bootstrap over reports, Efron 1979.

    >>> unit_table([frozenset({("edema",), ("mass",)})], [frozenset({("edema",)})]).micro.precision
    0.5
    """
    often: dict[str, int] = {unit[0]: 0 for side in (reports, references) for report in side for unit in report}
    for report in references:
        for name in {unit[0] for unit in report}:
            often[name] += 1
    names = sorted(often, key=lambda each: (-often[each], each))
    tallies = _tallies(reports, references, names)
    total, n = tallies.sum(axis=0), len(tallies)
    drawn = None if rng is None else _resampled(rng.multinomial(n, [1 / n] * n, size=resamples), tallies)
    rows = [_score(total[[i]], None if drawn is None else drawn[:, [i]]) for i in range(len(names))]
    low, high = (None, None) if drawn is None else _interval(_macro(drawn))
    return FindingTable(n, _score(total, drawn), _known(_macro(total)), low, high, dict(zip(names, rows, strict=True)))


def paired_unit_tables(
    a: Sequence[Units],
    b: Sequence[Units],
    references: Sequence[Units],
    *,
    rng: np.random.Generator,
    resamples: int = 2000,
) -> dict[str, dict[str, float | None]]:
    """Returns the paired comparison, a minus b, of the micro and macro F1 of two systems on the same references.

    Of each: difference, its bootstrap interval (low, high) and the two-sided p-value by random exchange of the two
    systems' reports; None where the F1 of one is undefined.

    Raises:
        ValueError: there are no reports, or not as many of each.

    Reference:
        Noreen 1989, "Computer-Intensive Methods for Testing Hypotheses" (approximate randomisation); p as in Phipson &
        Smyth 2010.
    """
    names = sorted({unit[0] for side in (a, b, references) for report in side for unit in report})
    one, other = (_tallies(side, references, names) for side in (a, b))
    n = len(one)
    draws = rng.multinomial(n, [1 / n] * n, size=resamples)
    swaps = rng.integers(0, 2, size=(resamples, n))
    pairs = [_resampled(draws, each) for each in (one, other)]
    exchanged = [_resampled(1 - swaps, x) + _resampled(swaps, y) for x, y in ((one, other), (other, one))]
    found: dict[str, dict[str, float | None]] = {}
    for kind, score in (("micro", _micro), ("macro", _macro)):
        observed = float(score(one.sum(axis=0)) - score(other.sum(axis=0)))
        if np.isnan(observed):
            found[kind] = dict.fromkeys(("difference", "low", "high", "p_value"))
            continue
        low, high = _interval(score(pairs[0]) - score(pairs[1]))
        chance = np.abs(np.nan_to_num(score(exchanged[0]) - score(exchanged[1]))) >= abs(observed) - 1e-12
        p_value = (int(np.count_nonzero(chance)) + 1) / (resamples + 1)
        found[kind] = {"difference": observed, "low": low, "high": high, "p_value": p_value}
    return found


def _tallies(ours: Sequence[Units], theirs: Sequence[Units], names: Sequence[str]) -> _Tally:
    """Shape [reports, names, 3]: what is common, extra and missed of each report."""
    if not ours or len(ours) != len(theirs):
        raise ValueError(f"{len(ours)} reports and {len(theirs)} references: as many of each are needed, at least one")
    place = {each: i for i, each in enumerate(names)}
    found = np.zeros((len(ours), len(names), 3))
    for row, one, other in zip(found, ours, theirs, strict=True):
        for column, group in enumerate((one & other, one - other, other - one)):
            for unit in group:
                row[place[unit[0]], column] += 1
    return found


def _resampled(weights: npt.NDArray[np.int64], tallies: _Tally) -> _Tally:
    """Shape [resamples, names, 3]: the sum of the reports, each as often as it was drawn."""
    flat = tallies.reshape(len(tallies), -1)
    found: _Tally = (weights @ flat).reshape(len(weights), *tallies.shape[1:])
    return found


def _f1(tally: _Tally) -> npt.NDArray[np.float64]:
    """2 TP / (2 TP + FP + FN) over the last axis; not a number where there is nothing."""
    total = 2 * tally[..., 0] + tally[..., 1] + tally[..., 2]
    return _ratio(2 * tally[..., 0], total)


def _micro(tally: _Tally) -> npt.NDArray[np.float64]:
    return _f1(tally.sum(axis=-2))


def _macro(tally: _Tally) -> npt.NDArray[np.float64]:
    each = _f1(tally)
    some = (~np.isnan(each)).sum(axis=-1)
    return _ratio(np.nansum(each, axis=-1), some)


def _ratio(part: npt.NDArray[Any], whole: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    found: npt.NDArray[np.float64] = np.full(np.shape(whole), np.nan)
    np.divide(part, whole, out=found, where=whole > 0)
    return found


def _score(total: _Tally, drawn: _Tally | None) -> Score:
    both, extra, missed = (int(x) for x in total.sum(axis=0))
    low, high = (None, None) if drawn is None else _interval(_micro(drawn))
    return Score(
        both,
        extra,
        missed,
        both / (both + extra) if both + extra else None,
        both / (both + missed) if both + missed else None,
        _known(_micro(total)),
        low,
        high,
    )


def _interval(values: npt.NDArray[np.float64]) -> tuple[float | None, float | None]:
    if np.isnan(values).all():
        return None, None
    low, high = np.nanquantile(values, [0.025, 0.975])
    return float(low), float(high)


def _known(value: npt.NDArray[np.float64]) -> float | None:
    return None if np.isnan(value) else float(value)
