"""LoRA adapters as parents: what PEFT writes is read, merged, written, and loaded by PEFT again."""

from __future__ import annotations

import json
import os
import runpy
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ikyoku.adapters import adapted, is_adapter, places_in, read_adapter
from ikyoku.assembly.adapters import AdapterMerge, AdapterPlan, merge_adapters, merges_adapters, plan_adapters
from ikyoku.checkpoints import open_checkpoint
from ikyoku.errors import ModelError, RunError, SpecError
from ikyoku.merging import METHODS, merge_tensor
from ikyoku.merging.low_rank import delta
from ikyoku.models.loading import quiet
from ikyoku.specs.recipe import RecipeSpec

made = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "merging" / "families.py")))
IDS = torch.arange(2, 34).reshape(2, 16)
Folders = dict[str, Path]


def _adapter(
    base: Path, folder: Path, *, seed: int, kind: str = "llama", embeddings: bool = False, **settings: Any
) -> Path:
    """An adapter as PEFT writes it, with random numbers in A and B."""
    from peft import LoraConfig, get_peft_model

    with quiet():
        wanted = {"target_modules": ["q_proj", "down_proj"], **settings}
        model = get_peft_model(_loaded(base, kind), LoraConfig(**wanted))
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.normal_(std=0.2)
    model.save_pretrained(folder, save_embedding_layers=embeddings)
    return folder


def _loaded(base: Path, kind: str = "llama") -> Any:
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

    auto = AutoModelForCausalLM if kind in made.LANGUAGE else AutoModelForImageTextToText
    return auto.from_pretrained(base, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """A tiny Llama, adapters of it, and another Llama with one of its own."""
    root = tmp_path_factory.mktemp("adapters")
    base, other = made.save(made.make("llama"), root / "base"), made.save(made.make("llama", seed=5), root / "other")
    return {
        "base": base,
        "other": other,
        "first": _adapter(base, root / "first", seed=1, r=4, lora_alpha=8),
        "second": _adapter(base, root / "second", seed=2, r=2, lora_alpha=3, use_rslora=True),
        "wide": _adapter(base, root / "wide", seed=3, r=3, target_modules=["q_proj", "up_proj", "down_proj"]),
        "patterns": _adapter(
            base, root / "patterns", seed=4, r=4, rank_pattern={"down_proj": 2}, alpha_pattern={"q_proj": 5}
        ),
        "stranger": _adapter(other, root / "stranger", seed=1, r=4),
    }


def _recipe(method: str, folders: Folders, names: tuple[str, ...] = ("first", "second"), **more: Any) -> RecipeSpec:
    entries = tuple({"model": str(folders[name]), "parameters": more.pop(name, {"weight": 0.7})} for name in names)
    base = str(folders["base"]) if METHODS[method].needs_base else None
    return RecipeSpec(merge_method=method, base_model=base, models=entries, **more)  # type: ignore[arg-type]


def _logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(IDS).logits
    return found


def _with(base: Path, adapter: Path, kind: str = "llama") -> Any:
    from peft import PeftModel

    with quiet():
        return PeftModel.from_pretrained(_loaded(base, kind), str(adapter)).eval()


@contextmanager
def _changed(folder: Path, **settings: Any) -> Iterator[None]:
    path = folder / "adapter_config.json"
    text = path.read_text(encoding="utf-8")
    path.write_text(json.dumps(json.loads(text) | settings), encoding="utf-8")
    yield
    path.write_text(text, encoding="utf-8")


# reading


@pytest.mark.parametrize("name", ["first", "second", "wide", "patterns"])
def test_updates_are_those_that_peft_merges(folders: Folders, name: str) -> None:
    adapter = read_adapter(str(folders[name]))
    merged = _with(folders["base"], folders[name]).merge_and_unload()
    weights, base = dict(merged.named_parameters()), dict(_loaded(folders["base"]).named_parameters())
    for module in adapter.modules:
        update = adapter.read(module)
        assert update is not None
        torch.testing.assert_close(delta(update), weights[f"{module}.weight"] - base[f"{module}.weight"])
    changed = {n for n in weights if not weights[n].equal(base[n])}
    assert changed == {f"{module}.weight" for module in adapter.modules}


@pytest.mark.parametrize("kind", ["llama", "llava", "qwen2_5_vl"])
def test_a_base_with_an_adapter_reads_as_the_merged_model(kind: str, tmp_path: Path) -> None:
    base = made.save(made.make(kind), tmp_path / "base")
    target = r".*language_model.*\.(q_proj|down_proj)" if kind != "llama" else ["q_proj", "down_proj"]
    path = _adapter(base, tmp_path / "adapter", seed=1, kind=kind, r=4, target_modules=target)
    merged = _with(base, path, kind).merge_and_unload()
    merged.save_pretrained(tmp_path / "merged")
    wanted = open_checkpoint(str(tmp_path / "merged"))
    found = adapted(open_checkpoint(str(base)), str(path))
    assert set(found.tensors) == set(wanted.tensors)
    assert len(found.places) == 4
    for name in wanted.tensors:
        torch.testing.assert_close(found.read(name), wanted.read(name), rtol=1e-6, atol=1e-6)


def test_a_base_in_bfloat16_is_rounded_once(folders: Folders, tmp_path: Path) -> None:
    model = _loaded(folders["base"]).bfloat16()
    model.save_pretrained(tmp_path / "half")
    base, adapter = open_checkpoint(str(tmp_path / "half")), read_adapter(str(folders["first"]))
    found = adapted(base, str(folders["first"]))
    for name, module in places_in(adapter, {n: i.shape for n, i in base.tensors.items()})[0].items():
        update = adapter.read(module)
        assert update is not None
        assert found.read(name).equal((base.read(name).float() + delta(update)).bfloat16())


def test_an_adapter_of_another_size_does_not_fit_a_base(folders: Folders, tmp_path: Path) -> None:
    small = made.save(made.make("qwen3"), tmp_path / "qwen3")
    with pytest.raises(ModelError, match=r"layers.0.self_attn.q_proj.weight is 16 x 16 in the base and 8 x 16 in the"):
        path = _copied(folders["first"], tmp_path / "odd")
        _rewritten(path, lambda n, t: t[:8] if n.endswith("q_proj.lora_B.weight") else t)
        adapted(open_checkpoint(str(folders["base"])), str(path))
    path = _copied(folders["first"], tmp_path / "named")
    _rewritten(path, lambda n, t: t, rename=lambda n: n.replace("q_proj", "qkv_proj"))
    with pytest.raises(ModelError, match=r"self_attn.qkv_proj.weight: no such tensor in the base"):
        adapted(open_checkpoint(str(small)), str(path))


def _copied(folder: Path, target: Path) -> Path:
    shutil.copytree(folder, target)
    return target


def _rewritten(
    folder: Path,
    change: Callable[[str, torch.Tensor], torch.Tensor | None],
    *,
    rename: Callable[[str], str] = str,
) -> None:
    from safetensors.torch import load_file, save_file

    path = folder / "adapter_model.safetensors"
    tensors = {rename(n): new.contiguous() for n, t in load_file(path).items() if (new := change(n, t)) is not None}
    save_file(tensors, path)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"peft_type": "IA3"}, "a PEFT adapter of the type IA3; only LoRA"),
        ({"use_dora": True}, "use_dora: DoRA also scales every row"),
        ({"bias": "all"}, "bias: all: it brings biases"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save: it brings whole modules"),
        ({"trainable_token_indices": [1]}, "trainable_token_indices: it brings rows"),
        ({"lora_bias": True}, "lora_bias: its B has a bias"),
        ({"r": 8}, "A and B are 4 x 16 and 16 x 4 where adapter_config.json tells rank 8"),
        ({"rank_pattern": {"(": 4}}, "its rank and alpha cannot be read from adapter_config.json"),
        ({"rank_pattern": [4]}, "its rank and alpha cannot be read"),
        ({"lora_alpha": None}, "its rank and alpha cannot be read"),
        ({"r": 0}, "rank 0 and alpha 8 in adapter_config.json; a rank is 1 or more"),
    ],
)
def test_other_adapters_are_refused_with_the_reason(folders: Folders, settings: dict[str, Any], reason: str) -> None:
    with _changed(folders["first"], **settings), pytest.raises(ModelError) as caught:
        read_adapter(str(folders["first"]))
    assert reason in str(caught.value)
    assert str(folders["first"]) in str(caught.value)


def test_real_adapters_of_other_kinds_are_refused(folders: Folders, tmp_path: Path) -> None:
    dora = _adapter(folders["base"], tmp_path / "dora", seed=1, use_dora=True)
    embedding = _adapter(folders["base"], tmp_path / "embedding", seed=1, target_modules=["embed_tokens", "q_proj"])
    with pytest.raises(ModelError, match="DoRA"):
        read_adapter(str(dora))
    with pytest.raises(ModelError, match="LoRA on embeddings is not merged"):
        read_adapter(str(embedding))
    whole = _adapter(folders["base"], tmp_path / "whole", seed=1, embeddings=True)
    with pytest.raises(ModelError, match=r"embed_tokens.weight: a whole tensor of the base, as PEFT keeps it"):
        read_adapter(str(whole))


def test_factors_of_whole_numbers_are_refused(folders: Folders, tmp_path: Path) -> None:
    odd = _copied(folders["first"], tmp_path / "odd")
    _rewritten(odd, lambda n, t: t.to(torch.int8) if "q_proj.lora_A" in n else t)
    with pytest.raises(ModelError, match="q_proj: numbers as int8; allowed: float32, float16, bfloat16"):
        read_adapter(str(odd))


def test_broken_folders_are_refused(folders: Folders, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no adapter_config.json, so this is no adapter folder"):
        read_adapter(str(folders["base"]))
    cut = _copied(folders["first"], tmp_path / "cut")
    weights = cut / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(ModelError, match="Copy it again"):
        read_adapter(str(cut))
    half = _copied(folders["first"], tmp_path / "half")
    _rewritten(half, lambda n, t: None if n.endswith("layers.1.self_attn.q_proj.lora_B.weight") else t)
    with pytest.raises(ModelError, match=r"model.layers.1.self_attn.q_proj: no lora_B"):
        read_adapter(str(half))
    (half / "adapter_config.json").write_text("[]", encoding="utf-8")
    with pytest.raises(ModelError, match="not a JSON object"):
        read_adapter(str(half))
    pickled = _copied(folders["first"], tmp_path / "pickled")
    (pickled / "adapter_model.safetensors").rename(pickled / "adapter_model.bin")
    with pytest.raises(ModelError, match="is a pickle and is not read"):
        read_adapter(str(pickled))


# merging


def _merge(recipe: RecipeSpec, out: Path, **more: Any) -> tuple[AdapterPlan, AdapterMerge]:
    plan = plan_adapters(recipe, **more)
    return plan, merge_adapters(plan, out)


@pytest.mark.parametrize("method", ["linear", "task_arithmetic"])
def test_a_sum_of_adapters_is_what_peft_makes_of_both(folders: Folders, tmp_path: Path, method: str) -> None:
    weights = {"first": {"weight": 0.7}, "second": {"weight": 0.4}}
    parameters = {"normalize": False}
    recipe = _recipe(method, folders, parameters=parameters, **weights)
    assert merges_adapters(recipe)
    plan, done = _merge(recipe, tmp_path / "out")
    assert plan.coverage.startswith(f"4 modules of {folders['base']} merged by {method}")
    assert done.loss() == "rank 6; the merge is exact."
    # Both adapters' updates added to the base's weights by hand, and PEFT's own sum of them
    model = _loaded(folders["base"])
    live = dict(model.named_parameters())
    with torch.no_grad():
        for name, weight in (("first", 0.7), ("second", 0.4)):
            adapter = read_adapter(str(folders[name]))
            for module in adapter.modules:
                live[f"{module}.weight"].add_(weight * delta(adapter.read(module)))  # type: ignore[arg-type]
    ours = _logits(_with(folders["base"], tmp_path / "out"))
    torch.testing.assert_close(ours, _logits(model), rtol=1e-5, atol=1e-5)
    both = _with(folders["base"], folders["first"])
    with quiet():
        both.load_adapter(str(folders["second"]), "second")
    both.add_weighted_adapter(["default", "second"], [0.7, 0.4], "both", combination_type="cat")
    both.set_adapter("both")
    torch.testing.assert_close(ours, _logits(both.eval()), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(ours, _logits(_loaded(folders["base"])), atol=1e-2)


@pytest.mark.parametrize("method", ["ties", "dare_ties", "jradievo"])
def test_other_methods_work_on_the_full_updates(folders: Folders, tmp_path: Path, method: str) -> None:
    parameters: dict[str, Any] = {"drop": 0.2} if method == "jradievo" else {}
    each = {"first": {"weight": 0.7, "density": 0.5}, "wide": {"weight": 0.6, "density": 0.4}}
    recipe = _recipe(method, folders, ("first", "wide"), parameters=parameters, **each)
    plan, done = _merge(recipe, tmp_path / "full", rank=16, seed=3)
    assert done.most_lost < 1e-6
    assert "2 of them are not adapted by all" in plan.coverage
    full, cut = read_adapter(str(tmp_path / "full")), _merge(recipe, tmp_path / "cut", seed=3)[1]
    narrow = read_adapter(str(tmp_path / "cut"))
    parents = [read_adapter(str(folders[name])) for name in each]
    for module in plan.modules:
        held = [p.read(module.name) for p in parents]
        wanted = delta(full.read(module.name))  # type: ignore[arg-type]
        if method != "jradievo":  # its threshold is that of the whole model
            dense = [torch.zeros(module.shape) if u is None else delta(u) for u in held]
            made_here = merge_tensor(
                METHODS[method],
                torch.zeros(module.shape),
                dense,
                shared=module.shared,
                each=module.each,
                keys=module.keys,
            )
            torch.testing.assert_close(wanted, made_here, rtol=1e-3, atol=1e-5)
        lost = (wanted - delta(narrow.read(module.name))).square().sum() / wanted.square().sum()  # type: ignore[arg-type]
        assert float(lost) == pytest.approx(cut.lost[module.name], abs=1e-4)
        assert narrow.modules[module.name].rank == sum(u.rank for u in held if u)
    assert 0 < cut.mean_lost <= cut.most_lost < 0.6
    assert "% is lost by it on average" in cut.loss()
    _logits(_with(folders["base"], tmp_path / "cut"))


def test_the_third_study_trims_all_modules_by_one_threshold(folders: Folders, tmp_path: Path) -> None:
    loud = _copied(folders["first"], tmp_path / "loud")
    _rewritten(loud, lambda n, t: t * 100 if "down_proj.lora_B" in n else t)
    names = folders | {"loud": loud}
    recipe = _recipe("jradievo", names, ("loud",), loud={"density": 0.3})
    _merge(recipe, tmp_path / "out", rank=16)
    found = read_adapter(str(tmp_path / "out"))
    # a third of all elements, and all of those are of the loud modules
    assert not any(
        "q_proj" in module and found.read(module) and delta(found.read(module)).abs().max() > 1e-6
        for module in found.modules
    )  # type: ignore[arg-type]
    shares = {m: float((delta(found.read(m)).abs() > 1e-3).float().mean()) for m in found.modules if "down" in m}  # type: ignore[arg-type]
    total = sum(
        read_adapter(str(loud)).modules[m].shape[0] * read_adapter(str(loud)).modules[m].shape[1] * share
        for m, share in shares.items()
    )
    elements = sum(a * b for a, b in (m.shape for m in read_adapter(str(loud)).modules.values()))
    assert total == pytest.approx(0.3 * elements, abs=2)


def test_ranks_may_differ_between_modules(folders: Folders, tmp_path: Path) -> None:
    recipe = _recipe("linear", folders, ("patterns", "wide"))
    _, done = _merge(recipe, tmp_path / "out")
    assert sorted(set(done.ranks.values())) == [3, 5, 7]
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["rank_pattern"] == config["alpha_pattern"]
    assert len(config["rank_pattern"]) == 4
    model = _loaded(folders["base"])
    live = dict(model.named_parameters())
    with torch.no_grad():
        for name in ("patterns", "wide"):
            adapter = read_adapter(str(folders[name]))
            for module in adapter.modules:
                live[f"{module}.weight"].add_(0.5 * delta(adapter.read(module)))  # type: ignore[arg-type]
    torch.testing.assert_close(_logits(_with(folders["base"], tmp_path / "out")), _logits(model), rtol=1e-5, atol=1e-5)


def test_layers_and_modules_may_have_weights_of_their_own(folders: Folders) -> None:
    setting = ({"filter": "q_proj", "value": (1.0, 0.0)}, {"value": 0.25})
    plan = plan_adapters(_recipe("linear", folders, first={"weight": setting}))
    weights = {module.name: module.each[0]["weight"] for module in plan.modules}
    assert weights == {
        "model.layers.0.mlp.down_proj": 0.25,
        "model.layers.0.self_attn.q_proj": 1.0,
        "model.layers.1.mlp.down_proj": 0.25,
        "model.layers.1.self_attn.q_proj": 0.0,
    }


def test_an_adapter_may_be_the_base_of_the_others(folders: Folders, tmp_path: Path) -> None:
    entries = [{"model": str(folders["second"])}]
    recipe = RecipeSpec(merge_method="slerp", base_model=str(folders["first"]), models=entries, parameters={"t": 0.5})  # type: ignore[arg-type]
    plan, done = _merge(recipe, tmp_path / "out")
    assert plan.base is not None
    assert plan.base_model == str(folders["base"])
    assert done.most_lost < 1e-6


def test_the_merge_is_of_megabytes(folders: Folders, tmp_path: Path) -> None:
    plan, done = _merge(_recipe("linear", folders, dtype="bfloat16"), tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    assert done.bytes == sum(path.stat().st_size for path in (tmp_path / "out").iterdir())
    assert plan.bytes == 2 * sum(6 * (a + b) for a, b in [(16, 16), (16, 24)] * 2)
    assert read_adapter(str(tmp_path / "out")).modules["model.layers.0.self_attn.q_proj"].a.dtype == "bfloat16"


# refusals


def test_adapters_of_other_bases_are_refused(folders: Folders) -> None:
    with pytest.raises(ModelError) as caught:
        plan_adapters(_recipe("linear", folders, ("first", "stranger")))
    assert "the adapters are not of one base" in str(caught.value)
    assert f"{folders['stranger']}: {folders['other']}" in str(caught.value)
    recipe = _recipe("ties", folders).model_copy(update={"base_model": str(folders["other"])})
    with pytest.raises(ModelError, match="not of one base"):
        plan_adapters(recipe)
    with _changed(folders["second"], base_model_name_or_path=str(folders["base"] / ".." / "base")):
        plan_adapters(_recipe("linear", folders))  # the same folder by another path
    with _changed(folders["second"], base_model_name_or_path=None), pytest.raises(ModelError, match="names no base"):
        plan_adapters(_recipe("linear", folders))


def test_a_base_that_is_not_here_is_told(folders: Folders) -> None:
    with _changed(folders["first"], base_model_name_or_path="org/base"):
        plan = plan_adapters(_recipe("linear", folders, ("first",)))
    assert plan.notes == ("the base org/base is not here: the adapters were compared with one another only.",)


def test_modules_of_another_shape_are_refused(folders: Folders, tmp_path: Path) -> None:
    odd = _copied(folders["second"], tmp_path / "odd")
    _rewritten(odd, lambda n, t: t[:8] if n.endswith("q_proj.lora_B.weight") else t)
    with pytest.raises(ModelError, match=r"model.layers.0.self_attn.q_proj is \(8, 16\) where .*first has \(16, 16\)"):
        plan_adapters(_recipe("linear", folders | {"odd": odd}, ("first", "odd")))


def test_models_and_adapters_are_not_mixed(folders: Folders) -> None:
    with pytest.raises(ModelError, match=r"other: no adapter folder.*Write BASE\+ADAPTER"):
        plan_adapters(_recipe("linear", folders, ("first", "other")))
    assert not merges_adapters(_recipe("linear", folders, ("base", "other")))
    both = f"{folders['base']}+{folders['first']}"
    assert not merges_adapters(RecipeSpec(merge_method="linear", models=({"model": both},)))  # type: ignore[arg-type]
    assert is_adapter(str(folders["first"])) and not is_adapter("nowhere/at/all")


def test_recipes_that_do_not_hold_for_adapters_are_refused(folders: Folders) -> None:
    sources = [{"model": str(folders["first"]), "layer_range": [0, 1], "parameters": {"weight": 1.0}}]
    recipe = RecipeSpec(merge_method="linear", slices=({"sources": sources},))  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="adapters are merged whole"):
        plan_adapters(recipe)
    with pytest.raises(SpecError, match="rank: 0"):
        plan_adapters(_recipe("linear", folders), rank=0)
    plan = plan_adapters(_recipe("linear", folders, tokenizer_source="base"))
    assert "tokenizer and chat_template have no effect: an adapter has none." in plan.notes
    setting = ({"filter": "q_proj", "value": 0.1}, {"value": 0.2})
    varied = plan_adapters(_recipe("jradievo", folders, first={"density": setting}))
    with pytest.raises(SpecError, match="one value each"):
        merge_adapters(varied, folders["base"].parent / "none")


def test_numbers_that_are_none_are_refused_and_leave_nothing(folders: Folders, tmp_path: Path) -> None:
    broken = _copied(folders["second"], tmp_path / "broken")
    _rewritten(broken, lambda n, t: t * float("nan") if "layers.1.mlp" in n else t)
    plan = plan_adapters(_recipe("linear", folders | {"broken": broken}, ("first", "broken")))
    with pytest.raises(ModelError, match=r"broken: model.layers.1.mlp.down_proj holds NaN or infinity"):
        merge_adapters(plan, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken"]
    zero = plan_adapters(_recipe("task_arithmetic", folders, first={"weight": 0.0}, second={"weight": 0.0}))
    with pytest.raises(ModelError, match="leaves no update"):
        merge_adapters(zero, tmp_path / "out")


def test_what_is_there_is_not_written_over(folders: Folders, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "kept").write_text("mine", encoding="utf-8")
    with pytest.raises(RunError, match="is there already and not empty"):
        _merge(_recipe("linear", folders), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["kept"]


def test_a_disk_that_is_full_leaves_nothing(folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match=r"out: the disk is full\. Make room there; the same command does it again"):
        _merge(_recipe("linear", folders), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_progress_is_told(folders: Folders, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    plan = plan_adapters(_recipe("linear", folders))
    merge_adapters(plan, tmp_path / "out", progress=lambda *state: seen.append(state))
    assert [done for _, done, _ in seen] == [1, 2, 3, 4]


def test_values_beyond_the_number_format_are_refused(folders: Folders, tmp_path: Path) -> None:
    recipe = _recipe("linear", folders, first={"weight": 1e12}, dtype="float16", parameters={"normalize": False})
    with pytest.raises(ModelError, match="merged values are beyond what float16 can hold"):
        _merge(recipe, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_what_goes_beside_is_there_when_the_folder_is(folders: Folders, tmp_path: Path) -> None:
    def beside(done: AdapterMerge, files: Mapping[str, bytes]) -> dict[str, bytes]:
        assert not done.folder.exists() and set(files) == {"adapter_config.json", "adapter_model.safetensors"}
        return {"README.md": done.loss().encode()}

    done = merge_adapters(plan_adapters(_recipe("linear", folders)), tmp_path / "out", beside=beside)
    assert (tmp_path / "out" / "README.md").read_text(encoding="utf-8") == done.loss()
    assert len(list((tmp_path / "out").iterdir())) == 3 and [p.name for p in tmp_path.iterdir()] == ["out"]
