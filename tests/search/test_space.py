from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ikyoku.search.space import Parameter, Space, uniform

NUMBERS = st.floats(-1e6, 1e6).map(lambda x: round(x, 6))


@st.composite
def spaces(draw: st.DrawFn) -> Space:
    bounds = draw(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=6))
    return Space(tuple(Parameter(f"p{k}", min(pair), max(pair)) for k, pair in enumerate(bounds)))


@given(spaces(), st.data())
def test_the_cube_and_back(space: Space, data: st.DataObject) -> None:
    unit = data.draw(st.lists(st.floats(0, 1), min_size=len(space.free), max_size=len(space.free)))
    values = space.from_unit(unit)
    assert tuple(values) == space.names
    assert space.checked(values) is values
    assert space.rounded(values) == values
    back = space.to_unit(values)
    for there, here, p in zip(unit, back, space.free, strict=True):
        assert here == pytest.approx(there, abs=1e-6 / (p.high - p.low) + 1e-9)
    assert space.from_unit(back) == pytest.approx(values, abs=1e-6)


@given(spaces())
def test_the_ends_of_the_cube_are_the_bounds(space: Space) -> None:
    n = len(space.free)
    assert space.from_unit([0.0] * n) == pytest.approx({p.name: p.low for p in space}, abs=1e-9)
    assert space.from_unit([1.0] * n) == pytest.approx({p.name: p.high for p in space}, abs=1e-9)
    assert space.checked(uniform(space))


def test_the_hash_is_of_names_and_bounds_alone() -> None:
    space = Space((Parameter("a", 0.0, 1.0), Parameter("b", 0.0, 2.0)))
    assert space.hash == Space((Parameter("a", 0, 1, uniform=0.3), Parameter("b", 0, 2))).hash
    others = [
        (Parameter("b", 0.0, 2.0), Parameter("a", 0.0, 1.0)),
        (Parameter("a", 0.0, 1.0), Parameter("b", 0.0, 1.0)),
        (Parameter("a", 0.0, 1.0), Parameter("c", 0.0, 2.0)),
        (Parameter("a", 0.0, 1.0),),
    ]
    assert len({space.hash, *(Space(other).hash for other in others)}) == 5


def test_what_is_no_space() -> None:
    for low, high in ((1.0, 0.0), (0.0, float("inf")), (float("nan"), 1.0)):
        with pytest.raises(ValueError, match=r"a: bounds .* wanted two numbers, the lower one first"):
            Parameter("a", low, high)
    with pytest.raises(ValueError, match="at least one parameter"):
        Space(())
    with pytest.raises(ValueError, match="two parameters have the name a"):
        Space((Parameter("a", 0, 1), Parameter("a", 0, 2)))


def test_what_is_no_point() -> None:
    space = Space((Parameter("a", 0.0, 1.0), Parameter("b", 0.0, 1.0)))
    with pytest.raises(ValueError, match=r"^c: not in this space; a: 1\.5 is not between 0\.0 and 1\.0; b: missing$"):
        space.checked({"a": 1.5, "c": 0.0})
    with pytest.raises(ValueError, match="a: nan is not between"):
        space.checked({"a": float("nan"), "b": 0.0})
    with pytest.raises(ValueError, match="3 numbers for 2 free parameters"):
        space.from_unit([0, 0, 0])
    with pytest.raises(ValueError, match="not in the unit cube"):
        space.from_unit([0, 1.01])
