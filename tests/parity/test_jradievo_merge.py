"""The third study's merge as its released code computed it, against the operator with the study's quirks on."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from ikyoku.merging import METHODS, ModelTrim, constants, elected, mask_key, merge_tensor

JRADIEVO = METHODS["jradievo"]
CASES = ("plain", "trim", "weights", "dare")
PARENTS = ("mmedlm", "openbio", "llama-3-swallow", "vlm")
QUIRKS = {"shared_masks": True, "bisection": True, "half": True}

Tensors = Mapping[str, torch.Tensor]
Shared = Callable[[str], Path]
_load = cache(load_file)


def _merge(folder: Path, case: Mapping[str, Any], quirks: Mapping[str, bool]) -> Tensors:
    """The merged model in float16, by way of the thresholds and the majority of the whole model."""
    base: Tensors = _load(folder / "base.safetensors")
    parents: list[Tensors] = [_load(folder / f"{name}.safetensors") for name in PARENTS]
    shared = {"drop": case["dare"], "lambda": case["scale"], **quirks}
    each = [{"weight": case["weight"][name], "density": 1 - case["trim"][name]} for name in PARENTS]
    keys = {name: [mask_key(0, name, number) for number in range(len(PARENTS))] for name in base}
    thresholds = []
    for number, (parent, row) in enumerate(zip(parents, each, strict=True)):
        trim = ModelTrim(JRADIEVO, shared=shared, each=row)
        for last in (False, True):
            for name in base:
                trim.add(base[name], parent[name], key=keys[name][number])
            if not last:
                trim.refine()
        thresholds.append(trim.threshold())
    given: dict[str, Any] = {"shared": shared, "each": each, "thresholds": thresholds}
    balance = 0
    for name in base:
        rest = [parent[name] for parent in parents]
        known = constants(JRADIEVO, base[name], rest, keys=keys[name], majority=0.0, **given)
        balance += int(elected(JRADIEVO, base[name].reshape(-1), [one.reshape(-1) for one in rest], known))
    return {
        name: merge_tensor(
            JRADIEVO, base[name], [parent[name] for parent in parents], keys=keys[name], majority=balance, **given
        ).half()
        for name in base
    }


def _both(shared: Shared, name: str, quirks: Mapping[str, bool]) -> tuple[torch.Tensor, torch.Tensor]:
    """All elements of our merge and of the released one."""
    folder = shared("reference/parity/jradievo_merge")
    case = next(one for one in json.loads((folder / "cases.json").read_text()) if one["name"] == name)
    made, wanted = _merge(folder, case, quirks), _load(folder / f"merged_{name}.safetensors")
    assert made.keys() == wanted.keys()
    return tuple(torch.cat([tensors[key].flatten() for key in wanted]) for tensors in (made, wanted))  # type: ignore


@pytest.mark.parametrize("name", CASES)
def test_with_its_quirks_every_bit_is_that_of_the_released_code(shared: Shared, name: str) -> None:
    made, wanted = _both(shared, name, QUIRKS)
    assert made.numel() == 24_736
    assert torch.equal(made.view(torch.int16), wanted.view(torch.int16))


@pytest.mark.parametrize(("name", "whole"), [("plain", 0), ("trim", 2), ("weights", 7), ("dare", 3)])
def test_in_float32_it_is_the_same_but_for_rounding(shared: Shared, name: str, whole: int) -> None:
    """A third of the entries differs, by rounding alone: weights and task vectors are below 1/8, a step is 2**-14.

    A few whole entries differ where rounding decides: a magnitude that in float16 lies on the other side of the
    threshold, or a sum of task vectors that is zero in float16 and a little more or less in float32.
    """
    made, wanted = _both(shared, name, QUIRKS | {"half": False})
    error = (made.float() - wanted.float()).abs()
    assert int((error > 2**-13).sum()) <= whole
    assert float((error > 0).float().mean()) < 0.4


def test_the_corrections_matter_only_where_they_should(shared: Shared) -> None:
    """Independent masks give another merge; where nothing is dropped they change nothing."""
    for name, same in (("weights", True), ("dare", False)):
        made, _ = _both(shared, name, {"bisection": True, "half": True})
        quirky, _ = _both(shared, name, QUIRKS)
        assert torch.equal(made, quirky) == same
