"""A search space: named parameters between bounds, and the unit cube that optimizers work in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

DIGITS = 6
"""Decimals that a value is rounded to: values that agree in them are one candidate, and recipes stay readable."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A number that is searched between two bounds, both included; equal bounds keep it fixed.

    `uniform` is its value in the uniform merge, None for the middle; one beyond a bound stands for that bound.

    Raises:
        ValueError: the bounds are no numbers, or in the wrong order.
    """

    name: str
    low: float
    high: float
    uniform: float | None = None

    def __post_init__(self) -> None:
        if not (isfinite(self.low) and isfinite(self.high) and self.low <= self.high):
            raise ValueError(f"{self.name}: bounds {self.low} to {self.high}; wanted two numbers, the lower one first")

    @property
    def plain(self) -> float:
        """The value of the uniform merge, within the bounds."""
        middle = (self.low + self.high) / 2
        return min(max(middle if self.uniform is None else self.uniform, self.low), self.high)


@dataclass(frozen=True, slots=True)
class Space:
    """Parameters in a fixed order.

    Raises:
        ValueError: two parameters have one name, or there is none.

    >>> space = Space((Parameter("weight.a", 0.0, 2.0), Parameter("density.a", 0.5, 0.5), Parameter("drop", 0.0, 1.0)))
    >>> space.to_unit({"weight.a": 0.5, "density.a": 0.5, "drop": 1.0})
    (0.25, 1.0)
    >>> space.from_unit((0.25, 1.0))
    {'weight.a': 0.5, 'density.a': 0.5, 'drop': 1.0}
    """

    parameters: tuple[Parameter, ...]

    def __post_init__(self) -> None:
        names = [parameter.name for parameter in self.parameters]
        if not names:
            raise ValueError("a search space needs at least one parameter, there are none")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two parameters have the name {twice[0]}")

    def __iter__(self) -> Iterator[Parameter]:
        return iter(self.parameters)

    def __len__(self) -> int:
        return len(self.parameters)

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in order."""
        return tuple(parameter.name for parameter in self.parameters)

    @property
    def free(self) -> tuple[Parameter, ...]:
        """The parameters that are searched: all whose bounds differ. They are the unit cube's dimensions."""
        return tuple(parameter for parameter in self.parameters if parameter.low < parameter.high)

    def to_unit(self, values: Mapping[str, float]) -> tuple[float, ...]:
        """Returns a point as one number in [0, 1] for each free parameter.

        Raises:
            ValueError: as `checked`.
        """
        self.checked(values)
        return tuple((values[p.name] - p.low) / (p.high - p.low) for p in self.free)

    def from_unit(self, unit: Sequence[float]) -> dict[str, float]:
        """Returns the values at a point of the unit cube, rounded to `DIGITS` decimals and inside the bounds.

        Raises:
            ValueError: it has not one number for each free parameter, or one outside [0, 1].
        """
        free = self.free
        if len(unit) != len(free):
            raise ValueError(f"{len(unit)} numbers for {len(free)} free parameters")
        if beyond := [number for number in unit if not 0 <= number <= 1]:
            raise ValueError(f"{beyond[0]} is not in the unit cube: each number must be between 0 and 1")
        found = {p.name: p.low + (p.high - p.low) * float(number) for p, number in zip(free, unit, strict=True)}
        return self.rounded({p.name: found.get(p.name, p.low) for p in self.parameters})

    def rounded(self, values: Mapping[str, float]) -> dict[str, float]:
        """Returns values rounded to `DIGITS` decimals, in the space's order; a bound is never overstepped by it."""
        return {p.name: min(max(round(float(values[p.name]), DIGITS), p.low), p.high) for p in self.parameters}

    def checked(self, values: Mapping[str, float]) -> Mapping[str, float]:
        """Returns the values, if they are a point of this space.

        Raises:
            ValueError: a parameter is missing, unknown or out of its bounds; all that is wrong together.
        """
        faults = [f"{name}: not in this space" for name in values if name not in self.names]
        for p in self.parameters:
            if p.name not in values:
                faults.append(f"{p.name}: missing")
            elif not p.low <= values[p.name] <= p.high:
                faults.append(f"{p.name}: {values[p.name]} is not between {p.low} and {p.high}")
        if faults:
            raise ValueError("; ".join(faults))
        return values

    @property
    def hash(self) -> str:
        """Sixteen hexadecimal digits that names and bounds decide: studies of two spaces are never mixed."""
        text = json.dumps([[p.name, float(p.low), float(p.high)] for p in self.parameters])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def uniform(space: Space) -> dict[str, float]:
    """Returns the point of the uniform merge: equal weights, nothing dropped or trimmed, lambda 1.

    Where a bound excludes such a value, the nearest that is allowed.

    >>> uniform(Space((Parameter("weight.a", 0.0, 1.0, uniform=0.5), Parameter("lambda", 0.0, 0.8, uniform=1.0))))
    {'weight.a': 0.5, 'lambda': 0.8}
    """
    return space.rounded({p.name: p.plain for p in space.parameters})
