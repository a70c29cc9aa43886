"""The recipes that are compared with mergekit, in its keys; the models are called base, a, b and c.

At densities of 1/4, 1/2 and 3/4 the models of `merge_material.py` have no tie at the threshold. What is under
`_DIFFERENT` and `_COUNTS` has, or is defined differently on purpose.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

_MODELS = ("base", "a", "b", "c")


def _models(method: str, each: Mapping[str, Mapping[str, Any]], **rest: Any) -> dict[str, Any]:
    """Returns a recipe: the method, the models with their parameters, `base` as base, and what else is given."""
    listed = [
        {"model": model, "parameters": dict(given)} if given else {"model": model} for model, given in each.items()
    ]
    recipe = {"merge_method": method, "base_model": "base", "models": listed, **rest}
    if method == "linear":
        del recipe["base_model"]
    return recipe


def _weights(*weights: Any, **rest: Any) -> dict[str, dict[str, Any]]:
    """Returns the weights of the three parents, and other parameters that are the same for each."""
    return {model: {"weight": weight, **rest} for model, weight in zip("abc", weights, strict=True)}


def _parts(*parts: tuple[str | None, Any]) -> list[dict[str, Any]]:
    """Returns the conditions of a setting: parts of tensor names with their values."""
    return [{"filter": name, "value": value} if name else {"value": value} for name, value in parts]


_EVEN = {model: {} for model in "abc"}
_BASIC: dict[str, dict[str, Any]] = {
    "linear": _models("linear", _weights(0.6, 0.3, 0.4)),
    "slerp": _models("slerp", {"base": {}, "b": {}}, parameters={"t": 0.3}),
    "task_arithmetic": _models("task_arithmetic", _weights(0.5, 0.3, 0.7), parameters={"lambda": 0.8}),
    "ties": _models("ties", _weights(0.5, 0.3, 0.7, density=0.5)),
    "breadcrumbs_ties": _models("breadcrumbs_ties", _weights(0.5, 0.3, 0.7, density=0.5, gamma=0.25)),
    "model_stock": _models("model_stock", _EVEN),
}
_MORE: dict[str, dict[str, Any]] = {
    "linear, not normalized": _models("linear", _weights(0.6, 0.3, 0.4), parameters={"normalize": False}),
    "linear, with the base": _models("linear", {"base": {"weight": 0.25}, **_weights(0.6, -0.3, 0.4)}),
    "linear, gradients and filters": _models(
        "linear", _weights([0.2, 0.9], 0.4, _parts(("mlp", [0.1, 0.5, 1.0]), ("norm", 0.0), (None, 0.3)))
    ),
    "slerp, gradients and filters": _models(
        "slerp",
        {"base": {}, "a": {}},
        parameters={"t": _parts(("self_attn", [0, 0.5, 0.3, 0.7, 1]), ("mlp", [1, 0.5, 0.7, 0.3, 0]), (None, 0.5))},
    ),
    "slerp, base second": _models("slerp", {"a": {}, "base": {}}, parameters={"t": 0.2}),
    "slerp, the ends": _models("slerp", {"base": {}, "c": {}}, parameters={"t": [0, 1]}),
    "task_arithmetic, normalized": _models(
        "task_arithmetic", _weights(0.5, 0.3, 0.7), parameters={"normalize": True, "lambda": 1.5}
    ),
    "task_arithmetic, weights sum to zero": _models(
        "task_arithmetic", _weights(0.5, -0.25, -0.25), parameters={"normalize": True}
    ),
    "ties, densities": _models(
        "ties",
        {
            "a": {"weight": 1.0, "density": 0.25},
            "b": {"weight": 0.6, "density": 0.5},
            "c": {"weight": 0.3, "density": 0.75},
        },
    ),
    "ties, not normalized": _models(
        "ties", _weights(0.5, 0.3, 0.7, density=0.5), parameters={"normalize": False, "lambda": 1.3}
    ),
    "ties, a negative weight": _models("ties", _weights(0.5, -0.3, 0.7, density=0.5)),
    "ties, density by gradient and filter": _models(
        "ties", _weights([0.2, 0.8], 0.5, 0.4, density=_parts(("self_attn", [0.25, 0.75]), (None, 0.5)))
    ),
    "ties, dense and empty": _models(
        "ties",
        {
            "a": {"weight": 0.5, "density": 1.0},
            "b": {"weight": 0.3, "density": 0.0},
            "c": {"weight": 0.7, "density": 0.25},
        },
    ),
    "ties, int8 mask": _models("ties", _weights(0.5, 0.3, 0.7, density=0.5), parameters={"int8_mask": True}),
    "dare_ties, dense": _models("dare_ties", _weights(0.5, 0.3, 0.7, density=1.0)),
    "dare_ties, dense, normalized": _models(
        "dare_ties", _weights(0.5, 0.3, 0.7, density=1.0), parameters={"normalize": True, "lambda": 0.9}
    ),
    "dare_linear, dense": _models("dare_linear", _weights(0.5, 0.3, 0.7, density=1.0)),
    "della, dense": _models("della", _weights(0.5, 0.3, 0.7, density=1.0)),
    "della_linear, dense": _models("della_linear", _weights(0.5, 0.3, 0.7, density=1.0)),
    "breadcrumbs": _models("breadcrumbs", _weights(0.5, 0.3, 0.7, density=0.25, gamma=0.25)),
    "breadcrumbs, more than is left": _models("breadcrumbs", _weights(0.5, 0.3, 0.7, density=0.75, gamma=0.5)),
    "model_stock, by filter": _models("model_stock", _EVEN, parameters={"filter_wise": True}),
    "passthrough": {
        "merge_method": "passthrough",
        "slices": [
            {"sources": [{"model": "a", "layer_range": [0, 2]}]},
            {"sources": [{"model": "b", "layer_range": [1, 2]}]},
            {"sources": [{"model": "c", "layer_range": [0, 1]}]},
        ],
    },
    "slices": {
        "merge_method": "slerp",
        "base_model": "base",
        "slices": [
            {"sources": [{"model": model, "layer_range": [0, 1]} for model in ("base", "a")], "parameters": {"t": 0.4}},
            {
                "sources": [
                    {"model": "base", "layer_range": [1, 2]},
                    {"model": "b", "layer_range": [0, 1], "parameters": {"t": 0.9}},
                ]
            },
            {"sources": [{"model": model, "layer_range": [0, 2]} for model in ("base", "c")]},
        ],
        "parameters": {"t": [0.1, 0.6]},
    },
    "slices of ties": {
        "merge_method": "ties",
        "base_model": "base",
        "slices": [
            {
                "sources": [
                    {"model": "a", "layer_range": [1, 2], "parameters": {"weight": 0.8, "density": 0.25}},
                    {"model": "b", "layer_range": [0, 1], "parameters": {"weight": 0.4}},
                    {"model": "base", "layer_range": [1, 2]},
                ]
            }
        ],
        "parameters": {"density": 0.5, "weight": 0.1},
    },
    "bfloat16 out": _models("task_arithmetic", _weights(0.5, 0.3, 0.7), out_dtype="bfloat16"),
}
_WORDS: dict[str, dict[str, Any]] = {
    f"{recipe['merge_method']}, {source}": {**recipe, "tokenizer_source": source}
    for recipe in (
        _models("linear", {"base": {"weight": 0.25}, **_weights(0.6, 0.3, 0.4)}) | {"base_model": "base"},
        _BASIC["ties"],
        _BASIC["task_arithmetic"],
    )
    for source in ("union", "base")
}
_WORDS["ties, padded, one token forced"] = {
    **_BASIC["ties"],
    "tokenizer": {"source": "union", "pad_to_multiple_of": 16, "tokens": {"x1": {"source": "a", "force": True}}},
}
_DIFFERENT: dict[str, dict[str, Any]] = {
    "ties, ties at the threshold": _models("ties", _weights(0.5, 0.3, 0.7, density=0.3), dtype="float32"),
    "linear": {**_BASIC["linear"], "dtype": "float32", "out_dtype": "bfloat16"},
    "slerp, nearly parallel": {**_BASIC["slerp"], "dtype": "float32"},
    "model_stock": {**_BASIC["model_stock"], "dtype": "float32"},
    "ties, in bfloat16": _BASIC["ties"],
    "task_arithmetic, in bfloat16": _BASIC["task_arithmetic"],
}


_COUNTS: dict[str, dict[str, Any]] = {
    "ties, int and round": _models("ties", _weights(0.5, 0.3, 0.7, density=0.37)),
    "ties, less than one": _models("ties", _weights(0.5, 0.3, 0.7, density=0.001)),
    "dare_linear": _models("dare_linear", {"a": {"weight": 1.0, "density": 0.3}}),
    "dare_linear, not rescaled": _models(
        "dare_linear", {"a": {"weight": 1.0, "density": 0.3}}, parameters={"rescale": False}
    ),
}


def cases(family: str) -> dict[str, dict[str, Any]]:
    """Returns the recipes of a family by name."""
    if family in ("words", "near"):
        return {"words": _WORDS, "near": _DIFFERENT}[family]
    size, dtype = family.split("-")
    if family == "tiny-float32":
        return _BASIC | _MORE | _COUNTS
    exact = {name: {**recipe, "dtype": "float32", "out_dtype": dtype} for name, recipe in _BASIC.items()}
    own = {f"{name}, in {dtype}": _BASIC[name] for name in ("linear", "slerp", "task_arithmetic", "ties")}
    return exact if size == "mid" else exact | own


def placed(recipe: Any, folder: Path) -> Any:
    """Returns a recipe with the models' folders in place of their names."""
    if isinstance(recipe, list):
        return [placed(each, folder) for each in recipe]
    if not isinstance(recipe, dict):
        return recipe
    return {
        key: str(folder / value)
        if key in ("model", "base_model") or (key == "source" and value in _MODELS)
        else placed(value, folder)
        for key, value in recipe.items()
    }
