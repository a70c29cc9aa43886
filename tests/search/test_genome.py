from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ikyoku.errors import SpecError
from ikyoku.merging.methods import METHODS
from ikyoku.search.genome import recipe_values, space_of
from ikyoku.search.space import uniform
from ikyoku.specs import RecipeSpec

PARENTS = {"ja": "models/ja", "medical": "models/medical"}
FOUR = ("bunny", "mmed", "openbio", "swallow")
SEARCHED = sorted(set(METHODS) - {"model_stock", "passthrough"})


@settings(max_examples=40)
@given(st.data())
def test_every_point_is_a_recipe(data: st.DataObject) -> None:
    method = METHODS[data.draw(st.sampled_from(SEARCHED))]
    parents = dict(list(PARENTS.items())[: method.most])
    space = space_of(
        method,
        list(parents),
        preset="jradievo" if "drop" in method.shared and data.draw(st.booleans()) else "method",
        scale=data.draw(st.sampled_from([None, (0.5, 1.5)])),
        layer_groups=data.draw(st.integers(1, 3)),
        module_kinds=data.draw(st.booleans()),
        layers=7,
    )
    unit = data.draw(st.lists(st.floats(0, 1), min_size=len(space), max_size=len(space)))
    values = space.from_unit(unit)
    recipe = recipe_values(space, values, method=method, base="models/base", parents=parents, dtype="bfloat16")
    spec = RecipeSpec.model_validate(recipe)
    assert spec.merge_method == method.name
    assert set(_numbers(recipe)) == set(values.values())
    assert method.whole_model or len(_numbers(recipe)) == len(values)
    for piece in recipe.get("slices", ()):
        ranges = {tuple(source["layer_range"]) for source in piece["sources"]}
        assert len(ranges) == 1
    ends = [piece["sources"][0]["layer_range"] for piece in recipe.get("slices", ())]
    assert not ends or (ends[0][0], ends[-1][1]) == (0, 7)
    assert all(before[1] == after[0] for before, after in pairwise(ends))


def _numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [n for k, v in value.items() if k != "layer_range" for n in _numbers(v)]
    if isinstance(value, list):
        return [n for v in value for n in _numbers(v)]
    return [value] if isinstance(value, float) else []


def test_one_group_is_models() -> None:
    method = METHODS["ties"]
    space = space_of(method, list(PARENTS))
    assert space.names == ("weight.ja", "weight.medical", "density.ja", "density.medical", "lambda")
    values = dict(zip(space.names, (0.25, 0.5, 0.75, 1.0, 1.25), strict=True))
    assert recipe_values(space, values, method=method, base="models/base", parents=PARENTS, dtype="float32") == {
        "merge_method": "ties",
        "base_model": "models/base",
        "models": [
            {"model": "models/ja", "parameters": {"weight": 0.25, "density": 0.75}},
            {"model": "models/medical", "parameters": {"weight": 0.5, "density": 1.0}},
        ],
        "parameters": {"lambda": 1.25},
        "dtype": "float32",
    }


def test_groups_are_slices_and_kinds_are_filters() -> None:
    method = METHODS["task_arithmetic"]
    space = space_of(method, ["ja"], layer_groups=2, module_kinds=True, layers=5, scale=None)
    assert space.names == (
        *("weight.ja.layers0-1.attention", "weight.ja.layers0-1.mlp", "weight.ja.layers0-1.rest"),
        *("weight.ja.layers2-4.attention", "weight.ja.layers2-4.mlp", "weight.ja.layers2-4.rest"),
    )
    values = dict(zip(space.names, (0.1, 0.2, 0.3, 0.4, 0.5, 0.6), strict=True))
    recipe = recipe_values(space, values, method=method, base="b", parents={"ja": "j"}, fixed={"normalize": True})

    def piece(layers: list[int], attention: float, mlp: float, rest: float) -> dict[str, Any]:
        conditions = [{"filter": "self_attn", "value": attention}, {"filter": "mlp", "value": mlp}, {"value": rest}]
        return {
            "sources": [
                {"model": "b", "layer_range": layers},
                {"model": "j", "layer_range": layers, "parameters": {"weight": conditions}},
            ]
        }

    assert recipe == {
        "merge_method": "task_arithmetic",
        "base_model": "b",
        "slices": [piece([0, 2], 0.1, 0.2, 0.3), piece([2, 5], 0.4, 0.5, 0.6)],
        "parameters": {"normalize": True},
    }


def test_the_third_studys_ten() -> None:
    space = space_of(METHODS["jradievo"], FOUR, preset="jradievo")
    bounds = {p.name: (p.low, p.high) for p in space}
    assert bounds == {
        "drop": (0, 1),
        **{f"weight.{parent}": (0, 1) for parent in FOUR},
        **{f"density.{parent}": (0, 1) for parent in FOUR},
        "lambda": (0, 2),
    }
    assert uniform(space) == {name: 0.0 if name == "drop" else 1.0 for name in bounds}


def test_a_trim_over_the_whole_model_has_one_density_for_each_parent() -> None:
    space = space_of(METHODS["jradievo"], ["ja"], layer_groups=2, layers=4)
    assert space.names == ("weight.ja.layers0-1", "weight.ja.layers2-3", "density.ja", "lambda")
    recipe = recipe_values(space, uniform(space), method=METHODS["jradievo"], base="b", parents={"ja": "j"})
    assert [piece["sources"][1]["parameters"]["density"] for piece in recipe["slices"]] == [1.0, 1.0]


def test_uniform_is_the_mean_of_the_parents() -> None:
    assert uniform(space_of(METHODS["linear"], ["a", "b"])) == {"weight.a": 0.5, "weight.b": 0.5}
    assert uniform(space_of(METHODS["slerp"], ["a"])) == {"t": 0.5}
    dare = uniform(space_of(METHODS["dare_ties"], ["a", "b", "c"]))
    assert dare == {f"weight.{p}": 0.333333 for p in "abc"} | {f"density.{p}": 1.0 for p in "abc"} | {"lambda": 1.0}
    assert "base_model" not in recipe_values(
        space_of(METHODS["linear"], ["a"]), {"weight.a": 1.0}, method=METHODS["linear"], base="b", parents={"a": "a"}
    )


def test_what_cannot_be_searched() -> None:
    with pytest.raises(SpecError, match="method: model_stock has nothing to search"):
        space_of(METHODS["model_stock"], ["a", "b"])
    with pytest.raises(SpecError, match="has nothing to search within these bounds"):
        space_of(METHODS["ties"], ["a"], weight=(1, 1), density=(1, 1), scale=None)
    with pytest.raises(SpecError) as caught:
        space_of(METHODS["slerp"], ["a", "a"], preset="jradievo", layer_groups=9, layers=4)
    assert str(caught.value).splitlines() == [
        "parents: slerp merges 1 beside the base; found 2",
        "parents: two are called a; give one a label of its own",
        "space.preset: jradievo searches the method jradievo; found slerp",
        "space.layer_groups: 9 groups for 4 layers; give at most 4",
    ]
    with pytest.raises(SpecError, match="the number of layers is not known"):
        space_of(METHODS["ties"], ["a"], layer_groups=2)
