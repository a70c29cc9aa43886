from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import ikyoku
from ikyoku.assembly.plan import plan_merge, reparametrised
from ikyoku.candidate import ResidentParents
from ikyoku.errors import ModelError
from ikyoku.merging import METHODS
from ikyoku.models.loading import load_weights
from ikyoku.recipe import recipe_yaml
from ikyoku.specs import RecipeSpec

_folders = runpy.run_path(str(Path(__file__).with_name("merge_folders.py")))
llama, llama_weights = _folders["llama"], _folders["llama_weights"]
NAMES = ("base", "a", "b")
BY_WEIGHT = ("linear", "task_arithmetic")


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def models(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    for seed, name in enumerate(NAMES):
        llama(folder / name, seed=seed, dtype=getattr(torch, request.param))
    return folder


def _recipe(models: Path, method: str, *, weights: tuple[float, float] = (0.7, 0.4), **shared: Any) -> RecipeSpec:
    row = METHODS[method]
    parents = [
        {
            "model": str(models / name),
            "parameters": {"weight": weight, **({"density": 0.6} if "density" in row.each else {})}
            if "weight" in row.each
            else {},
        }
        for name, weight in zip("ab"[: row.most or 2], weights, strict=False)
    ]
    given = {"merge_method": method, "models": parents, "parameters": shared}
    return RecipeSpec.model_validate(given | ({"base_model": str(models / "base")} if row.needs_base else {}))


def _live(folder: Path, dtype: str = "float32") -> Any:
    return load_weights(str(folder), dtype=dtype, quantization="none", trust_remote_code=False)


def _weights(model: Any) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def _merged(recipe: RecipeSpec, out: Path, root: Path) -> dict[str, torch.Tensor]:
    """What `ikyoku merge` writes."""
    ikyoku.merge(ikyoku.MergeSpec(recipe=recipe, out=str(out)), root=root)
    return {name: value for path in out.glob("*.safetensors") for name, value in load_file(path).items()}


SHARED: dict[str, dict[str, Any]] = {"slerp": {"t": 0.3}, "jradievo": {"drop": 0.3, "lambda": 1.2}}


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"passthrough"}))
def test_a_candidate_is_what_the_merge_writes_bit_for_bit(models: Path, method: str, tmp_path: Path) -> None:
    recipe = _recipe(models, method, **SHARED.get(method, {}))
    first = _recipe(models, method, weights=(0.1, 0.9), **SHARED.get(method, {}))
    plan = plan_merge(first)
    live = _live(models / "base", plan.tensors[0].dtype)
    resident = ResidentParents(plan, compiled=False)
    resident.attach(live)
    resident.write(plan)
    resident.write(reparametrised(plan, recipe))
    wanted = _merged(recipe, tmp_path / "out", tmp_path / "runs")
    for name, value in _weights(live).items():
        assert torch.equal(value, wanted[name]), name


@pytest.fixture(scope="module")
def compiler() -> Iterator[None]:
    if not any(map(shutil.which, ("g++", "clang++", "c++"))):
        pytest.skip("no C++ compiler here, which torch.compile needs on a CPU")
    yield
    torch._dynamo.reset()


@pytest.mark.usefixtures("compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("method", ["ties", "jradievo"])
def test_a_compiled_candidate_has_the_same_bits(tmp_path: Path, method: str) -> None:
    for seed, name in enumerate(NAMES):  # larger: small tensors are not compiled
        llama(tmp_path / name, seed=seed, hidden=64, vocab=512)
    plan = plan_merge(_recipe(tmp_path, method, **SHARED.get(method, {})))
    found = []
    for compiled in (False, True):
        live = _live(tmp_path / "base")
        resident = ResidentParents(plan, compiled=compiled)
        resident.attach(live)
        resident.write(plan)
        found.append(_weights(live))
    for name, value in found[0].items():
        assert torch.equal(value, found[1][name]), name


@pytest.mark.parametrize(("method", "drop"), [("ties", None), ("breadcrumbs", None), ("jradievo", 0.0)])
def test_counting_gives_what_the_statistics_give(models: Path, method: str, drop: float | None) -> None:
    plan = plan_merge(_recipe(models, method, **({} if drop is None else {"drop": drop})))
    found = []
    for statistics in (True, False):
        live = _live(models / "base")
        resident = ResidentParents(plan, compiled=False, statistics=statistics)
        resident.attach(live)
        assert (resident.statistics_held > 0) == statistics
        resident.write(plan)
        found.append(_weights(live))
    assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())


def test_a_token_of_one_model_alone_keeps_its_row(tmp_path: Path) -> None:
    words, more = _folders["WORDS"], ("<image>",)
    llama(tmp_path / "base", seed=0, vocab=48, words=words)
    llama(tmp_path / "a", seed=1, vocab=49, words=words, added=more)
    llama(tmp_path / "b", seed=2, vocab=48, words=words)
    asked = _recipe(tmp_path, "slerp", t=0.3).model_dump() | {"tokenizer_source": str(tmp_path / "a")}
    recipe = RecipeSpec.model_validate(asked)
    written = _merged(recipe, tmp_path / "out", tmp_path / "runs")
    own = load_file(tmp_path / "a" / "model.safetensors")
    live = _live(tmp_path / "out")
    resident = ResidentParents(plan_merge(recipe), compiled=False)
    resident.attach(live)
    resident.write(plan_merge(recipe))
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        assert torch.equal(written[name][48], own[name][48])
        assert torch.equal(written[name], _weights(live)[name])
        assert not torch.equal(written[name][5], own[name][5])


def test_the_live_model_keeps_its_memory(models: Path) -> None:
    plan = plan_merge(_recipe(models, "ties"))
    live = _live(models / "base")
    before = {name: value.data_ptr() for name, value in live.named_parameters()}
    resident = ResidentParents(plan, compiled=False)
    resident.attach(live)
    resident.write(plan)
    assert {name: value.data_ptr() for name, value in live.named_parameters()} == before


def test_memory_is_told_beforehand(models: Path) -> None:
    plan = plan_merge(_recipe(models, "ties"))
    resident = ResidentParents(plan)
    size = sum(v.numel() for v in llama_weights().values())
    item = 2 if models.name.startswith("bfloat16") else 4
    assert resident.parent_bytes == 3 * size * item
    assert resident.needed == 4 * size * item
    assert resident.statistics_bytes == 2 * 4 * size
    assert "order statistics" in resident.describe()
    resident.attach(_live(models / "base"))
    assert 0 < resident.statistics_held <= resident.statistics_bytes


def test_a_model_of_another_shape_is_refused(models: Path, tmp_path: Path) -> None:
    llama(tmp_path / "wide", hidden=32)
    resident = ResidentParents(plan_merge(_recipe(models, "ties")))
    with pytest.raises(ModelError, match=r"model\.embed_tokens\.weight is \(48, 16\) in the plan and \(48, 32\)"):
        resident.attach(_live(tmp_path / "wide"))


def test_a_candidate_without_a_model_is_refused(models: Path) -> None:
    plan = plan_merge(_recipe(models, "ties"))
    with pytest.raises(ModelError, match="attach"):
        ResidentParents(plan).write(plan)


BROKEN = """
import sys
from pathlib import Path
import torch
from ikyoku import candidate
from ikyoku.assembly.plan import plan_merge
from ikyoku.recipe import read_recipe
from ikyoku.models.loading import load_weights

candidate._WORTH_COMPILING = candidate._SMALL = 0
plan = plan_merge(read_recipe(Path("ties.yaml")))
found = []
for options in ({}, {"compiled": False}, {"compiled": True}):
    live = load_weights("base", dtype="float32", quantization="none", trust_remote_code=False)
    resident = candidate.ResidentParents(plan, **options)
    resident.attach(live)
    try:
        resident.write(plan)
    except RuntimeError as error:
        print("required:", "No working C++ compiler" in str(error))
    found.append({name: value.detach().clone() for name, value in live.named_parameters()})
print("same:", all(torch.equal(value, found[1][name]) for name, value in found[0].items()))
"""


@pytest.mark.skipif(not any(map(shutil.which, ("g++", "clang++", "c++"))), reason="needs a C++ compiler in the path")
def test_a_compiler_that_does_not_work_is_done_without(tmp_path: Path) -> None:
    for seed, name in enumerate(NAMES):
        llama(tmp_path / name, seed=seed)
    recipe = _recipe(Path(), "ties")
    (tmp_path / "ties.yaml").write_text(recipe_yaml(recipe), encoding="utf-8")
    surroundings = {**os.environ, "CXX": "/bin/false", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache")}
    command = [sys.executable, "-c", BROKEN]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=surroundings, cwd=tmp_path)
    assert done.stdout.splitlines() == ["required: True", "same: True"], done.stderr[-2000:]
