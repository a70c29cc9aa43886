"""Writes down what mergekit makes of settings: ../golden/recipe_settings.yaml, which `test_recipe.py` compares with.

Run with mergekit's own environment, one command, a few seconds:

    ENVIRONMENT/bin/python tests/parity/mergekit_settings.py

The environment: `pip install mergekit==0.1.5 torch==2.13.0`. A case is a setting as a recipe has it, whether the
parameter is a number or a flag, the tensor's name, where its layer stands, and what mergekit resolves it to: null where
no condition fits, "refused" where mergekit does not take the value.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

OUT = Path(__file__).parents[1] / "golden" / "recipe_settings.yaml"
MLP, ATTENTION, NORM = (
    "model.layers.3.mlp.up_proj.weight",
    "model.layers.3.self_attn.q_proj.weight",
    "model.norm.weight",
)
SLERP = [
    {"filter": "self_attn", "value": [0, 0.5, 0.3, 0.7, 1]},
    {"filter": "mlp", "value": [1, 0.5, 0.7, 0.3, 0]},
    {"value": 0.5},
]
NUMBERS: list[tuple[Any, tuple[str, ...], tuple[float, ...]]] = [
    (0.5, (MLP,), (0.0, 1.0)),
    (1, (MLP,), (0.3,)),
    ("1e-4", (MLP,), (0.0,)),
    (True, (MLP,), (0.0,)),
    ("half", (MLP,), (0.0,)),
    ([0, 1], (MLP,), (0.0, 1 / 31, 0.5, 30 / 31, 1.0)),
    ([0.2, 0.8, 0.3], (MLP,), (0.25, 0.5, 0.9)),
    (["1e-5", 1e-3], (MLP,), (0.5,)),
    ([0.7], (MLP,), (0.0, 1.0)),
    ([], (MLP,), (0.5,)),
    (SLERP, (MLP, ATTENTION, NORM), (0.0, 0.375, 1.0)),
    (SLERP[:2], (NORM,), (0.0,)),
    ({"filter": "*", "value": 0.25}, (NORM, ""), (0.0,)),
    ({"filter": "mlp", "value": 0.25}, (MLP, ATTENTION, ""), (0.0,)),
    ([{"filter": "mlp", "value": []}, {"value": 1}], (MLP, NORM), (0.0,)),
]
FLAGS: list[tuple[Any, tuple[str, ...], tuple[float, ...]]] = [
    (True, (MLP,), (0.0,)),
    (0, (MLP,), (0.0,)),
    ("yes", (MLP,), (0.0,)),
    ("Off", (MLP,), (0.0,)),
    ("maybe", (MLP,), (0.0,)),
    (2, (MLP,), (0.0,)),
    ([True, False], (MLP,), (0.0, 0.6, 1.0)),
    ([False, "on", 0], (MLP,), (0.4, 0.5, 1.0)),
]


def main() -> None:
    """Resolves every case with mergekit and writes the file, one case a line."""
    from mergekit.config import MergeConfiguration, evaluate_setting
    from pydantic import TypeAdapter, ValidationError

    lines = [f"# mergekit {version('mergekit')}; written by tests/parity/mergekit_settings.py"]
    for kind, cases in ((float, NUMBERS), (bool, FLAGS)):
        for setting, tensors, positions in cases:
            parsed = MergeConfiguration.model_validate(
                {"merge_method": "linear", "models": [{"model": "a"}], "parameters": {"weight": setting}}
            )
            for tensor, t in product(tensors, positions):
                try:
                    value: Any = evaluate_setting(
                        tensor, parsed.parameters["weight"], t, validate=TypeAdapter(kind).validate_python
                    )
                except ValidationError:
                    value = "refused"
                row = {"kind": kind.__name__, "setting": setting, "tensor": tensor, "t": t, "value": value}
                lines.append(f"- {json.dumps(row)}")
    OUT.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
