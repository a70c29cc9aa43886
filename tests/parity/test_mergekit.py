"""`ikyoku merge` against mergekit 0.1.5, whose numbers on our random models are in mergekit/*.jsonl.

`mergekit_numbers.py` wrote them, with mergekit in an environment of its own. The models are made here again, bit for
bit, and merged with the same recipes. Where the definitions are the same, so are the results:

- task arithmetic, TIES, breadcrumbs, passthrough, DARE and DELLA that drop nothing: to the bit, in every format;
- linear, slerp and model stock: to 3 units in the last place in float32 and 1 in float16 and bfloat16. mergekit divides
  by the sum of the weights at another step, and adds up lengths and angles in float32, which on large tensors moves
  slerp further: its coefficients are then wrong in the sixth digit, ours are not.

Units are those at the size of the models' largest values, 1/8 to 1/4. Where the definitions differ, a test says how:
how many elements a trim keeps, ties at its threshold, the number format of the arithmetic, what DARE rescales by, and
which tokenizers can be united. Rows that only pad a vocabulary stand for no token and are not compared.
"""

from __future__ import annotations

import json
import os
import runpy
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import ikyoku
from ikyoku.assembly.plan import plan_merge, read_inputs
from ikyoku.checkpoints import Checkpoint, open_checkpoint
from ikyoku.merging import merge_tensor
from ikyoku.specs.recipe import RecipeSpec

HERE = Path(__file__).parent
made = SimpleNamespace(**runpy.run_path(str(HERE / "merge_material.py")))
recipes = SimpleNamespace(**runpy.run_path(str(HERE / "merge_recipes.py")))

STORED = HERE / "mergekit"
DIGITS = {"float32": 23, "float16": 10, "bfloat16": 7}
TINY = ("tiny-float32", "tiny-float16", "tiny-bfloat16", "near", "words")
MIDDLE = ("mid-float32", "mid-float16", "mid-bfloat16")

MEASURED = {"linear": 3.0, "slerp": 3.0, "model_stock": 2.0}
"""Methods whose coefficients are rounded otherwise: how many units a value may be off in float32."""
OTHERWISE = {
    "tiny-float32": {"ties, int and round", "ties, less than one", "dare_linear", "dare_linear, not rescaled"},
    "tiny-float16": {"task_arithmetic, in float16", "ties, in float16"},
    "tiny-bfloat16": {"task_arithmetic, in bfloat16", "ties, in bfloat16"},
    "near": {"ties, ties at the threshold", "task_arithmetic, in bfloat16", "ties, in bfloat16"},
    "mid-float32": {"slerp"},
}
"""By family: the cases whose definitions differ, or of which a test of its own says more."""


@dataclass
class Merged:
    """What one recipe gave, by tensor: mergekit's numbers and ours (dtype, shape, hash, sum, bits of some values)."""

    recipe: dict[str, Any]
    theirs: dict[str, list[Any]]
    ours: dict[str, list[Any]]


Merging = Callable[[str, str], Merged]


@cache
def stored(family: str) -> dict[str, dict[str, Any]]:
    """mergekit's numbers of a family by case."""
    _, *lines = (STORED / f"{family}.jsonl").read_text(encoding="utf-8").splitlines()
    return {line["case"]: line for line in map(json.loads, lines)}


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Returns a function from a family's name to the folder of its four models."""
    root = tmp_path_factory.mktemp("families")
    return cache(lambda name: made.write_family(name, root))


@pytest.fixture
def merging(families: Callable[[str], Path], tmp_path: Path) -> Merging:
    """Returns a function that merges with ikyoku, and returns the numbers beside mergekit's."""

    def merge(family: str, case: str) -> Merged:
        recipe = recipes.cases(family)[case]
        placed = RecipeSpec.model_validate(recipes.placed(recipe, families(family)))
        theirs, out = stored(family)[case], tmp_path / "out"
        if family in MIDDLE:
            return Merged(recipe, theirs["tensors"], made.numbers(in_memory(placed)))
        ikyoku.merge(ikyoku.MergeSpec(recipe=placed, out=str(out)), root=tmp_path / "runs")
        words = made.vocabulary(out) if "tokens" in theirs else None
        assert sorted(words or []) == theirs.get("tokens", [])
        return Merged(recipe, theirs["tensors"], made.numbers(made.read_tensors(out), words))

    return merge


def in_memory(recipe: RecipeSpec) -> dict[str, Any]:
    """The tensors of a merge without the run and the files around them: dtype, shape, bits."""
    import torch

    plan, found = plan_merge(recipe), {}
    for each in plan.tensors:
        assert each.method is not None
        base, parents = read_inputs(plan, each)
        merged = merge_tensor(each.method, base, parents, shared=each.shared, each=each.each, keys=each.keys)
        bits = merged.to(getattr(torch, each.dtype)).view(torch.uint32 if each.dtype == "float32" else torch.uint16)
        found[each.name] = each.dtype, each.shape, bits.numpy().ravel()
    return found


def samples(entry: list[Any]) -> np.ndarray:
    """The values that were written down of a tensor, in float64."""
    dtype, _, _, _, text = entry
    kind, width = (np.uint32, 8) if dtype == "float32" else (np.uint16, 4)
    bits = [int(text[i : i + width], 16) for i in range(0, len(text), width)]
    return made.decoded(np.array(bits, dtype=kind), dtype)


def unit(dtype: str, at: float = 0.125) -> float:
    """The distance from a number to the next in a dtype."""
    return float(2.0 ** (np.floor(np.log2(at)) - DIGITS[dtype]))


def compare(found: Merged, *, units: float) -> None:
    """Checks names, dtypes, shapes, sums and values; with 0 units every bit."""
    assert list(found.ours) == list(found.theirs)
    for name, theirs in found.theirs.items():
        ours = found.ours[name]
        assert ours[:2] == theirs[:2], name
        if ours[2] != theirs[2]:
            most = units * unit(theirs[0])
            assert np.abs(samples(ours) - samples(theirs)).max() <= most, name
            assert abs(ours[3] - theirs[3]) <= most * np.prod([int(size) for size in theirs[1].split("x")]), name
            assert units, f"{name}: the same values where they were written down, but not everywhere"


def units_for(recipe: Mapping[str, Any], family: str) -> float:
    """How far a value of a recipe may be from mergekit's."""
    most = MEASURED.get(recipe["merge_method"], 0.0)
    written = recipe.get("out_dtype") or recipe.get("dtype") or made.FAMILIES[family].dtype
    return most if written == "float32" else min(most, 1.0)


# the numbers belong to the recipes


@pytest.mark.parametrize("family", made.FAMILIES)
def test_every_case_has_numbers(family: str) -> None:
    assert list(stored(family)) == list(recipes.cases(family))


def test_the_numbers_are_small() -> None:
    assert sum(path.stat().st_size for path in STORED.iterdir()) < 1_000_000


# the same definitions


def _same(*families: str) -> list[Any]:
    pairs = [(family, case) for family in families for case in recipes.cases(family)]
    return [pytest.param(*pair, id="/".join(pair)) for pair in pairs if pair[1] not in OTHERWISE.get(pair[0], ())]


@pytest.mark.parametrize(("family", "case"), _same(*TINY))
def test_tiny_models(merging: Merging, family: str, case: str) -> None:
    found = merging(family, case)
    compare(found, units=units_for(found.recipe, family))


@pytest.mark.parametrize(("family", "case"), _same(*MIDDLE))
def test_models_of_ten_to_twenty_million(merging: Merging, family: str, case: str) -> None:
    found = merging(family, case)
    compare(found, units=units_for(found.recipe, family))


# what differs


@dataclass
class Exact:
    """A merge of one tensor in float64, at the positions that were written down."""

    values: np.ndarray
    total: np.ndarray
    """The weighted sum of the trimmed task vectors, whose sign is elected."""
    at_threshold: np.ndarray
    """Whether an element of a parent is as large as the smallest that is kept."""


def exact(family: str, recipe: Mapping[str, Any], tensor: str, *, count: Callable[[float, int], int]) -> Exact:
    """Task arithmetic and TIES, straight from their definitions; `count` says how many of n elements a trim keeps."""
    shape = made.FAMILIES[family]
    base = made.values(shape, "base", tensor).astype(np.float64).ravel()
    at = made.positions(tensor, base.size)
    given = [(each["model"], each["parameters"]) for each in recipe["models"]]
    weighted, touched = [], np.zeros(at.size, dtype=bool)
    for model, parameters in given:
        delta = made.values(shape, model, tensor).astype(np.float64).ravel() - base
        if recipe["merge_method"] == "ties":
            kept = count(parameters["density"], base.size)
            smallest = np.sort(np.abs(delta))[base.size - kept] if kept else np.inf
            touched |= np.abs(delta[at]) == smallest
            delta = np.where(np.abs(delta) >= smallest, delta, 0.0)
        weighted.append(delta[at] * np.float64(np.float32(parameters["weight"])))
    total = np.sum(weighted, axis=0)
    if recipe["merge_method"] == "task_arithmetic":
        mixed = total * np.float64(np.float32(recipe.get("parameters", {}).get("lambda", 1.0)))
    else:
        sign = np.where(total >= 0, 1.0, -1.0)
        agree = [np.sign(each) == sign for each in weighted]
        divisor = sum(a * np.float64(np.float32(p["weight"])) for a, (_, p) in zip(agree, given, strict=True))
        mixed = np.sum([w * a for w, a in zip(weighted, agree, strict=True)], axis=0)
        mixed = mixed / np.where(divisor == 0, 1.0, divisor)
    return Exact(base[at] + mixed, total, touched)


def whole(density: float, n: int) -> int:
    return round(density * n)


@pytest.mark.parametrize("case", ["ties, int and round", "ties, less than one"])
def test_a_trim_keeps_the_nearest_whole_number_and_mergekit_the_one_below(merging: Merging, case: str) -> None:
    """round(density * n) against max(1, int(density * n)): at most one element a parent and tensor."""
    found = merging("tiny-float32", case)
    below = {"ours": 0, "theirs": 0}
    for name in found.theirs:
        for side, count in (("ours", whole), ("theirs", lambda density, n: max(1, int(density * n)))):
            expected = exact("tiny-float32", found.recipe, name, count=count).values
            values = samples(getattr(found, side)[name])
            assert np.abs(values - expected).max() <= unit("float32"), (side, name)
        n = int(np.prod([int(size) for size in found.theirs[name][1].split("x")]))
        density = found.recipe["models"][0]["parameters"]["density"]
        same = whole(density, n) == max(1, int(density * n))
        assert (found.ours[name][2] == found.theirs[name][2]) == same, name
        below["theirs"] += not same
    assert below["theirs"] > 5


def test_all_ties_at_the_threshold_are_kept_and_mergekit_takes_some(merging: Merging) -> None:
    """In models of bfloat16 several elements are as large as the smallest kept; a sort decides which mergekit keeps."""
    found = merging("near", "ties, ties at the threshold")
    apart = 0
    for name in found.theirs:
        expected = exact("near", found.recipe, name, count=whole)
        ours, theirs = samples(found.ours[name]), samples(found.theirs[name])
        assert np.abs(ours - expected.values).max() <= unit("float32"), name
        differ = ours != theirs
        assert expected.at_threshold[differ].all(), name
        apart += int(differ.sum())
    assert 0 < apart < 0.1 * 16 * len(found.theirs)


@pytest.mark.parametrize(("family", "case"), [(f, c) for f, cases in OTHERWISE.items() for c in cases if ", in " in c])
def test_arithmetic_is_in_float32_and_mergekits_in_the_format_of_the_models(
    merging: Merging, family: str, case: str
) -> None:
    """Without `dtype: float32`, mergekit rounds every step; ours is the number nearest to the exact result."""
    found = merging(family, case)
    dtype = made.FAMILIES[family].dtype
    count = apart = 0
    for name in found.theirs:
        expected = exact(family, found.recipe, name, count=whole)
        clear = (np.abs(expected.total) > 1e-6) | (expected.total == 0)  # no sign hangs on the last digit
        clear &= ~expected.at_threshold if family == "near" else True
        ours, theirs = samples(found.ours[name]), samples(found.theirs[name])
        spacing = np.array([unit(dtype, max(abs(value), 2.0**-14)) for value in expected.values])
        error = np.abs(ours - expected.values) / spacing
        assert error[clear].max(initial=0.0) <= 0.5001, name
        differ = (ours != theirs) & clear
        assert (np.abs(theirs - expected.values) >= np.abs(ours - expected.values) - 1e-8)[differ].all(), name
        count += int(clear.sum())
        apart += int(differ.sum())
    assert 0.03 < apart / count < 0.35


def test_slerp_measures_angles_exactly_and_mergekit_in_float32(merging: Merging) -> None:
    """On tensors of millions of elements sums in float32 cost mergekit a few digits of the coefficients."""
    found = merging("mid-float32", "slerp")
    compare(found, units=64)
    family, t = made.FAMILIES["mid-float32"], found.recipe["parameters"]["t"]
    worst = {"ours": 0.0, "theirs": 0.0}
    for name in found.theirs:
        ends = [made.values(family, model, name).astype(np.float64).ravel() for model in ("base", "b")]
        cosine = ends[0] @ ends[1] / np.sqrt((ends[0] @ ends[0]) * (ends[1] @ ends[1]))
        angle = np.arccos(cosine)
        at = made.positions(name, ends[0].size)
        expected = (np.sin((1 - t) * angle) * ends[0][at] + np.sin(t * angle) * ends[1][at]) / np.sin(angle)
        for side in worst:
            far = np.abs(samples(getattr(found, side)[name]) - expected).max() / unit("float32")
            worst[side] = max(worst[side], far)
    assert worst["ours"] <= 2 < 8 < worst["theirs"], worst


def test_dare_divides_by_the_density_and_mergekit_keeps_the_sum_of_magnitudes(merging: Merging) -> None:
    """What is kept is multiplied with 1 / density, as in the paper; with mergekit, by a number of each tensor."""
    found, family = merging("tiny-float32", "dare_linear"), made.FAMILIES["tiny-float32"]
    density = found.recipe["models"][0]["parameters"]["density"]
    factors: dict[str, list[float]] = {"ours": [], "theirs": []}
    for name in found.theirs:
        base, parent = (made.values(family, model, name).astype(np.float64).ravel() for model in ("base", "a"))
        at = made.positions(name, base.size)
        for side, means in factors.items():
            moved = samples(getattr(found, side)[name]) - base[at]
            kept = moved != 0
            ratio = moved[kept] / (parent - base)[at][kept]
            clear = np.abs(moved[kept]) > 2.0**-12
            if clear.any():
                assert np.ptp(ratio[clear]) < 1e-4, (side, name)
                means.append(float(ratio[clear].mean()))
    assert np.allclose(factors["ours"], 1 / density, rtol=1e-5)
    theirs = np.array(factors["theirs"])
    assert np.allclose(theirs, 1 / density, rtol=0.5)
    assert np.abs(theirs * density - 1).max() > 0.01


def test_dare_without_rescaling_keeps_values_as_they_are(merging: Merging) -> None:
    found, family = merging("tiny-float32", "dare_linear, not rescaled"), made.FAMILIES["tiny-float32"]
    shares = {"ours": [0, 0], "theirs": [0, 0]}
    for name in found.theirs:
        base, parent = (made.values(family, model, name).astype(np.float64).ravel() for model in ("base", "a"))
        at = made.positions(name, base.size)
        for side, counted in shares.items():
            values = samples(getattr(found, side)[name])
            assert ((values == base[at]) | (values == parent[at])).all(), (side, name)
            counted[0] += int((values == parent[at]).sum())
            counted[1] += at.size
    assert all(0.2 < kept / count < 0.4 for kept, count in shares.values()), shares


def test_a_union_makes_added_tokens_of_other_pieces(families: Callable[[str], Path], tmp_path: Path) -> None:
    """As mergekit does: whether a model has a token as a piece of its own or as an added one changes no row."""
    models = {model: tmp_path / model for model in ("base", "a")}
    for model, folder in models.items():
        folder.mkdir()
        for path in (families("words") / model).iterdir():
            (folder / path.name).symlink_to(path)
    recipe = RecipeSpec.model_validate(
        {
            "merge_method": "task_arithmetic",
            "base_model": str(models["base"]),
            "models": [{"model": str(models["a"]), "parameters": {"weight": 0.5}}],
            "tokenizer_source": "union",
        }
    )

    def merged(name: str) -> tuple[Checkpoint, str]:
        ikyoku.merge(ikyoku.MergeSpec(recipe=recipe, out=str(tmp_path / name)), root=tmp_path / name[:1])
        card = (tmp_path / name / "README.md").read_text(encoding="utf-8")
        return open_checkpoint(str(tmp_path / name)), card.replace("\\", "")

    added, card = merged("as-added-tokens")
    assert "added as whole tokens" not in card
    path = models["a"] / "tokenizer.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["added_tokens"], extra = content["added_tokens"][:3], content["added_tokens"][3:]
    content["model"]["vocab"] |= {each["content"]: each["id"] for each in extra}
    path.unlink()
    path.write_text(json.dumps(content), encoding="utf-8")
    pieces, card = merged("pieces")
    assert f"{len(extra)} pieces (" in card and "of a that base does not have, added as whole tokens" in card
    assert pieces.vocabulary() == added.vocabulary() and pieces.tensors.keys() == added.tensors.keys()
    assert all(pieces.read(name).equal(added.read(name)) for name in added.tensors)


# mergekit itself


def test_mergekit_gives_these_numbers(tmp_path: Path) -> None:
    python = os.environ.get("IKYOKU_MERGEKIT")
    if not python:
        pytest.skip("IKYOKU_MERGEKIT names no Python that has mergekit 0.1.5: the stored numbers stand for it")
    command = [python, str(HERE / "mergekit_numbers.py"), "--out", str(tmp_path)]
    command += [word for family in TINY for word in ("--family", family)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600, env=environment)
    assert done.returncode == 0, done.stderr[-4000:]
    for family in TINY:
        _, *lines = (tmp_path / f"{family}.jsonl").read_text(encoding="utf-8").splitlines()
        fresh = {line["case"]: line["tensors"] for line in map(json.loads, lines)}
        assert list(fresh) == list(stored(family))
        for case, tensors in fresh.items():
            recipe = recipes.cases(family)[case]
            units = 4.0 if recipe["merge_method"] in MEASURED or "tokenizer" in recipe else 0.0
            if not case.startswith("dare_linear"):  # drawn by torch's generator, which may differ between versions
                compare(Merged(recipe, stored(family)[case]["tensors"], tensors), units=units)
