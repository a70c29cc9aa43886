"""Merges and candidates on an accelerator: the masks of the CPU, and its numbers to the last digit or nearly."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
import torch

from ikyoku.assembly.plan import plan_merge, reparametrised
from ikyoku.candidate import ResidentParents
from ikyoku.merging import METHODS, merge_tensor, random_mask
from ikyoku.models.loading import load_weights
from ikyoku.specs import RecipeSpec

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]
_folders = runpy.run_path(str(Path(__file__).parents[1] / "merge_folders.py"))


def test_masks_are_those_of_the_cpu() -> None:
    for keep in (0.0, 0.3, 0.9, 1.0):
        assert torch.equal(random_mask(7, 5, 100_000, keep, "cuda").cpu(), random_mask(7, 5, 100_000, keep))


@pytest.mark.parametrize("method", ["linear", "ties", "dare_ties", "jradievo", "della", "breadcrumbs"])
def test_a_merge_gives_the_numbers_of_the_cpu(method: str) -> None:
    generator = torch.Generator().manual_seed(0)
    tensors = [torch.randn(300, 200, generator=generator).bfloat16() for _ in range(3)]
    row = METHODS[method]
    each = [{"weight": 0.7, **({"density": 0.6} if "density" in row.each else {})}] * 2

    def merged(device: str) -> torch.Tensor:
        base, *parents = (tensor.to(device) for tensor in tensors)
        first = base if row.needs_base else None
        return merge_tensor(row, first, parents, shared={}, each=each, keys=[1, 2]).cpu()

    torch.testing.assert_close(merged("cuda"), merged("cpu"), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("home", ["cuda", "cpu"])
@pytest.mark.parametrize("method", ["ties", "dare_ties", "jradievo"])
def test_a_candidate_on_the_gpu_is_that_of_the_cpu(tmp_path: Path, method: str, home: str) -> None:
    for seed, name in enumerate(("base", "a", "b")):
        _folders["llama"](tmp_path / name, seed=seed, hidden=64, vocab=512)
    rows = [{"model": str(tmp_path / n), "parameters": {"weight": 0.7, "density": 0.6}} for n in "ab"]
    asked = {"merge_method": method, "base_model": str(tmp_path / "base"), "models": rows}
    recipe = RecipeSpec.model_validate(asked)
    found: list[dict[str, Any]] = []
    for device, where in (("cpu", "cpu"), ("cuda", home)):
        live = load_weights(str(tmp_path / "base"), dtype="float32", quantization="none", trust_remote_code=False)
        plan = plan_merge(recipe)
        resident = ResidentParents(plan, device=where, compiled=device == "cuda")
        resident.attach(live.to(device))
        resident.write(reparametrised(plan, recipe))
        found.append({name: value.detach().cpu() for name, value in live.named_parameters()})
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, rtol=1e-6, atol=1e-7)
