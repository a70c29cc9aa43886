"""The plan of a merge: whose tensor stands where, with which parameters, and what is refused beforehand."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from ikyoku.assembly.plan import (
    Input,
    MergePlan,
    TensorPlan,
    model_thresholds,
    plan_merge,
    read_inputs,
    reparametrised,
    unmerged_rows,
)
from ikyoku.checkpoints import mapped
from ikyoku.errors import ModelError, SpecError
from ikyoku.merging import merge_tensor
from ikyoku.specs import RecipeSpec

folders = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "merge_folders.py")))
Q, NORM, HEAD, ROWS = (
    "model.layers.0.self_attn.q_proj.weight",
    "model.norm.weight",
    "lm_head.weight",
    "model.embed_tokens.weight",
)


@pytest.fixture(autouse=True)
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models are named by their folders' last part."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def family(tmp_path: Path) -> Path:
    """Returns a folder with a base and three models of it: a in float32, b in bfloat16, c in float16 and two shards."""
    folders.llama(tmp_path / "base", seed=0, scale=0.0)
    folders.llama(tmp_path / "a", seed=1)
    folders.llama(tmp_path / "b", seed=2, dtype=torch.bfloat16)
    folders.llama(tmp_path / "c", seed=3, dtype=torch.float16, shards=2)
    return tmp_path


def recipe(*models: str, method: str = "task_arithmetic", base: str | None = "base", **more: Any) -> RecipeSpec:
    entries = [{"model": model, "parameters": {"weight": 0.5}} for model in models]
    base_model = {"base_model": base} if base else {}
    return RecipeSpec.model_validate({"merge_method": method, **base_model, "models": entries, **more})


def sliced(*pieces: Any, method: str = "passthrough", **more: Any) -> RecipeSpec:
    """Each piece is a list of (model, first layer, layer after the last)."""
    slices = [{"sources": [{"model": m, "layer_range": [i, j]} for m, i, j in piece]} for piece in pieces]
    return RecipeSpec.model_validate({"merge_method": method, "slices": slices, **more})


def tensor(plan: MergePlan, name: str) -> TensorPlan:
    return next(t for t in plan.tensors if t.name == name)


def refused(asked: RecipeSpec, **options: Any) -> str:
    with pytest.raises((ModelError, SpecError)) as told:
        plan_merge(asked, **options)
    return str(told.value)


def change(folder: Path, edit: Callable[[dict[str, torch.Tensor]], object]) -> None:
    path = folder / "model.safetensors"
    weights = {name: w.clone() for name, w in load_file(path).items()}
    edit(weights)
    save_file(weights, path, metadata={"format": "pt"})


# language models of one architecture


def test_every_tensor_has_its_base_and_its_parents(family: Path) -> None:
    plan = plan_merge(recipe("a", "b", "c"))
    assert [model.name for model in plan.parents] == ["base", "a", "b", "c"]
    assert [t.name for t in plan.tensors] == list(load_file(family / "base" / "model.safetensors"))
    for found in plan.tensors:
        assert found.base == Input(0, found.name)
        assert found.inputs == tuple(Input(i, found.name) for i in (1, 2, 3))
        assert found.method and found.method.name == "task_arithmetic" and found.dtype == "float32"
        assert [one["weight"] for one in found.each] == [0.5] * 3 and len(set(found.keys)) == 3
    assert (plan.coverage, plan.layers, plan.into) == ("21 of 21 tensors merged by task_arithmetic", 2, 0)
    base, parents = read_inputs(plan, tensor(plan, Q))
    assert base is not None and torch.equal(base, load_file(family / "base" / "model.safetensors")[Q])
    assert [p.dtype for p in parents] == [torch.float32, torch.bfloat16, torch.float16]


def test_a_base_among_the_models_is_no_parent(family: Path) -> None:
    plan = plan_merge(recipe("base", "a"))
    assert {t.inputs for t in plan.tensors} == {(Input(1, t.name),) for t in plan.tensors}


def test_the_output_has_the_number_format_that_is_asked_for(family: Path) -> None:
    def dtypes(asked: RecipeSpec) -> set[str]:
        return {t.dtype for t in plan_merge(asked).tensors}

    assert dtypes(recipe("a", base="b")) == {"bfloat16"}
    assert dtypes(recipe("c", "b", method="linear", base=None)) == {"float16"}
    assert dtypes(recipe("a", "b", dtype="float16")) == {"float16"}
    assert dtypes(recipe("a", "b", dtype="float16", out_dtype="bfloat16")) == {"bfloat16"}


def test_parameters_follow_the_layer_and_the_name(family: Path) -> None:
    weight = [{"filter": "self_attn", "value": [0.5, 1]}, {"value": 0.25}]
    asked = {"merge_method": "linear", "models": [{"model": m, "parameters": {"weight": weight}} for m in "ab"]}
    plan = plan_merge(RecipeSpec.model_validate(asked))
    found = {name: tensor(plan, name).each[0]["weight"] for name in (Q, Q.replace("s.0", "s.1"), NORM)}
    assert list(found.values()) == [0.5, 1.0, 0.25]


def test_masks_depend_on_the_seed_the_tensor_and_the_parent(family: Path) -> None:
    first, again, other = (plan_merge(recipe("a", "b"), seed=seed) for seed in (0, 0, 1))
    keys = [[t.keys for t in plan.tensors] for plan in (first, again, other)]
    assert keys[0] == keys[1] != keys[2]
    assert len({key for pair in keys[0] for key in pair}) == 42


def test_another_recipe_for_the_same_models(family: Path) -> None:
    plan = plan_merge(recipe("a", "b"))
    made = reparametrised(plan, recipe("a", "b", parameters={"lambda": 0.7}))
    assert {t.shared["lambda"] for t in made.tensors} == {0.7}
    assert made == plan_merge(recipe("a", "b", parameters={"lambda": 0.7}))
    layers = sliced([("base", 0, 1), ("a", 0, 1), ("b", 0, 1)], [("base", 1, 2), ("a", 1, 2), ("b", 1, 2)])
    values = layers.model_dump() | {
        "merge_method": "task_arithmetic",
        "base_model": "base",
        "parameters": {"weight": 1},
    }
    assert {t.each[0]["weight"] for t in reparametrised(plan, RecipeSpec.model_validate(values)).tensors} == {1.0}
    for other, told in ((recipe("a", "c"), "c: not among the models"), (recipe("a"), "takes other tensors")):
        with pytest.raises(SpecError, match=told):
            reparametrised(plan, other)


def test_faults_of_all_models_are_told_together(family: Path) -> None:
    change(family / "a", lambda w: w.pop(Q))
    change(family / "b", lambda w: w.update({NORM: torch.ones(3)}))
    assert refused(recipe("a", "b")) == f"a: no tensor {Q}, which base has."
    change(family / "a", lambda w: w.update({Q: torch.ones(16, 8), NORM: torch.ones(4)}))
    assert refused(recipe("a", "b")).splitlines() == [
        f"a: {Q} is 16 x 8 where base has 16 x 16.",
        f"a: {NORM} is 4 where base has 16.",
        f"b: {NORM} is 3 where base has 16.",
    ]
    (family / "a" / "model.safetensors").unlink()
    (family / "c" / "model-00001-of-00002.safetensors").unlink()
    assert [line.split(":")[0] for line in refused(recipe("a", "c")).splitlines()] == [
        "a",
        "c/model-00001-of-00002.safetensors",
    ]


def test_another_architecture_is_one_sentence(family: Path) -> None:
    weights = {name.replace("model.layers", "transformer.h"): w for name, w in folders.llama_weights().items()}
    folders.write_model(family / "other", weights, folders.llama_config() | {"model_type": "gpt2"})
    assert refused(recipe("a", "other")) == (
        "other: not of the architecture of base (gpt2 and llama); it has no model.layers.0.input_layernorm.weight."
    )
    folders.llama(family / "deep", layers=3)
    told = refused(recipe("deep")).splitlines()
    assert len(told) == 9 and told[0].startswith("deep: model.layers.2.") and told[0].endswith("no place in base.")


def test_a_tied_head_stands_for_its_embeddings(family: Path) -> None:
    folders.llama(family / "tied", seed=4, tied=True)
    plan = plan_merge(recipe("tied"))
    assert tensor(plan, HEAD).inputs == (Input(1, ROWS),)
    folders.llama(family / "tied-base", seed=4, tied=True, scale=0.0)
    assert len(plan_merge(recipe("tied", base="tied-base")).tensors) == 20
    assert refused(recipe("a", base="tied-base")) == (
        f"a: {HEAD} has no place in tied-base, whose output head is its embeddings. Name a as into (--into), so that "
        "the output has a head."
    )
    plan = plan_merge(recipe("a", base="tied-base"), into="a")
    assert tensor(plan, HEAD).base == Input(0, ROWS) and tensor(plan, HEAD).inputs == (Input(1, HEAD),)


def test_whole_numbers_are_copied_where_all_have_the_same(family: Path) -> None:
    for name in ("base", "a", "b"):
        change(family / name, lambda w: w.update({"model.steps": torch.arange(4)}))
    plan = plan_merge(recipe("a", "b", dtype="bfloat16"))
    assert tensor(plan, "model.steps").method is None and tensor(plan, "model.steps").dtype == "int64"
    assert plan.coverage == "21 of 22 tensors merged by task_arithmetic, 1 kept from base"
    change(family / "b", lambda w: w.update({"model.steps": torch.arange(4) + 1}))
    assert refused(recipe("a", "b")) == (
        "b: model.steps holds int64 that differ from those of base (int64). "
        "Only float32, float16 and bfloat16 are merged."
    )


def test_buffers_that_a_model_computes_may_be_missing(family: Path) -> None:
    change(family / "a", lambda w: w.update({"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}))
    assert len(plan_merge(recipe("a")).tensors) == 21
    plan = plan_merge(recipe("b", base="a"))
    assert tensor(plan, "model.layers.0.self_attn.rotary_emb.inv_freq").method is None


def test_parameters_out_of_range_are_refused_with_the_plan(family: Path) -> None:
    asked = recipe("a", "b", method="ties", parameters={"density": 2})
    assert "density is 2.0, it must be between 0 and 1" in refused(asked)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("model", ["a", "b", "base"])
def test_numbers_that_are_none_are_found_while_reading(family: Path, value: float, model: str) -> None:
    change(family / model, lambda w: w[Q].view(-1)[:3].fill_(value))
    plan = plan_merge(recipe("a", "b"))
    read_inputs(plan, tensor(plan, NORM))
    with pytest.raises(ModelError, match=f"^{model}: {Q} holds 3 of 256 values that are no finite numbers"):
        read_inputs(plan, tensor(plan, Q))


# slices and modules


def test_layers_of_two_models_one_after_the_other(family: Path) -> None:
    plan = plan_merge(sliced([("a", 0, 2)], [("b", 1, 2)], [("a", 0, 1)]))
    layers = [tensor(plan, Q.replace("layers.0", f"layers.{i}")).inputs for i in range(4)]
    names = [model.name for model in plan.parents]
    taken = [(names[one.parent], one.name.split(".")[2]) for (one,) in layers]
    assert taken == [("a", "0"), ("a", "1"), ("b", "1"), ("a", "0")]
    assert (plan.layers, len(plan.tensors)) == (4, 4 * 9 + 3)
    assert [names[tensor(plan, n).inputs[0].parent] for n in (ROWS, NORM, HEAD)] == ["a", "a", "a"]
    assert plan_merge(sliced([("a", 0, 1)], [("b", 1, 2)])).tensors[-1].inputs[0].parent == 1, "the norm of the last"


def test_slices_may_take_layers_of_deeper_models(family: Path) -> None:
    folders.llama(family / "deep", seed=7, layers=4)
    plan = plan_merge(sliced([("a", 0, 2)], [("deep", 2, 4)]))
    assert tensor(plan, Q.replace("layers.0", "layers.3")).inputs == (Input(1, Q.replace("layers.0", "layers.3")),)
    assert "a: no tensor model.layers.2." in refused(sliced([("a", 0, 3)]))


def test_gradients_run_within_a_slice(family: Path) -> None:
    asked = sliced(
        [("a", 0, 2), ("b", 0, 2)], [("a", 0, 2), ("b", 0, 2)], method="linear", parameters={"weight": [0.5, 1.0]}
    )
    plan = plan_merge(asked)
    found = [tensor(plan, Q.replace("layers.0", f"layers.{i}")).each[0]["weight"] for i in range(4)]
    assert found == [0.5, 1.0, 0.5, 1.0]


def test_modules_are_merged_each_by_its_own(family: Path) -> None:
    folders.llava(family / "vlm")
    folders.llava(family / "vlm2", seed=10)
    entries = [{"model": m, "parameters": {"weight": 0.5}} for m in ("vlm", "vlm2")]
    asked = {"merge_method": "linear", "modules": {"text_decoder": {"models": entries}}}
    plan = plan_merge(RecipeSpec.model_validate(asked))
    merged = {t.name.split(".")[0] for t in plan.tensors if t.method}
    assert merged == {"language_model"}
    asked["modules"] = {"vision_tower": {"models": entries}}
    assert {t.name.split(".")[0] for t in plan_merge(RecipeSpec.model_validate(asked)).tensors if t.method} == {
        "vision_tower"
    }
    asked["modules"] = {"hands": {"models": entries}}
    assert refused(RecipeSpec.model_validate(asked)) == (
        "modules.hands: no such module. Allowed: text_decoder, vision_tower, multi_modal_projector."
    )


# a language model into a vision-language model


@pytest.fixture
def seeing(tmp_path: Path) -> Path:
    """Returns a folder with a language model, a model of it, and a vision-language model with an image token."""
    folders.llama(tmp_path / "base", scale=0.0, words=folders.WORDS)
    folders.llama(tmp_path / "medical", seed=1, words=folders.WORDS)
    folders.llava(tmp_path / "vlm", words=folders.WORDS, added=("<image>",))
    return tmp_path


def test_a_language_model_is_mapped_into_a_vision_language_model(seeing: Path) -> None:
    plan = plan_merge(recipe("vlm", "medical"))
    assert plan.parents[plan.into].name == "vlm"
    found = tensor(plan, f"language_model.{Q}")
    assert (found.base, found.inputs) == (Input(0, Q), (Input(1, f"language_model.{Q}"), Input(2, Q)))
    kept = [t for t in plan.tensors if t.method is None]
    assert {t.name.split(".")[0] for t in kept} == {"vision_tower", "multi_modal_projector"}
    assert all(t.inputs == (Input(1, t.name),) for t in kept)
    assert "21 of 21 language tensors mapped" in plan.coverage and "1 kept from vlm" in plan.coverage


def test_its_image_token_is_kept(seeing: Path) -> None:
    plan = plan_merge(recipe("vlm", "medical"))
    found = tensor(plan, f"language_model.{ROWS}")
    assert found.shape == (49, 16)
    base, (vlm, medical) = read_inputs(plan, found)
    own = load_file(seeing / "vlm" / "model.safetensors")[found.name]
    assert base is not None and torch.equal(vlm, own)
    assert torch.equal(base[-1], own[-1]) and torch.equal(medical[-1], own[-1])
    assert torch.equal(medical[:-1], load_file(seeing / "medical" / "model.safetensors")[ROWS])


def test_a_gap_is_refused_with_the_tensors_name(seeing: Path) -> None:
    change(seeing / "medical", lambda w: w.pop(Q))
    assert f"language_model.{Q} of the vision-language model" in refused(recipe("vlm", "medical"))


def test_two_kinds_of_vision_language_model_need_a_choice(seeing: Path) -> None:
    folders.llava(seeing / "vlm2", seed=3)
    change(seeing / "vlm2", lambda w: w.update({"image_newline": torch.ones(16)}))
    assert refused(recipe("vlm", "vlm2")).startswith("into: vlm, vlm2 are vision-language models of different kinds.")
    assert plan_merge(recipe("vlm"), into="vlm").into == 1


# vocabularies


def vocabularies(place: Path) -> None:
    """Writes a base, and models with one more token, with two more, with padding, and with an other order."""
    words = folders.WORDS
    folders.llama(place / "base", scale=0.0, words=words)
    folders.llama(place / "more", seed=1, vocab=49, words=words, added=("<pad>",))
    folders.llama(place / "most", seed=2, vocab=50, words=words, added=("<call>", "<pad>"))
    folders.llama(place / "padded", seed=3, vocab=64, words=words)
    folders.llama(place / "turned", seed=4, words=(*words[:3], *reversed(words[3:])))


def test_other_vocabularies_need_a_rule(tmp_path: Path) -> None:
    vocabularies(tmp_path)
    told = refused(recipe("more", "turned")).splitlines()
    assert told[:2] == [
        "more: its vocabulary is not that of base: 1 tokens more, 0 less, 0 with another id.",
        "turned: its vocabulary is not that of base: 0 tokens more, 0 less, 44 with another id.",
    ]
    assert told[2].startswith("Say in the recipe whose tokenizer the output has: `tokenizer: {source: union}`")


def test_padding_is_brought_together_without_a_rule(tmp_path: Path) -> None:
    vocabularies(tmp_path)
    plan = plan_merge(recipe("padded"))
    assert tensor(plan, ROWS).shape == (48, 16)
    plan = plan_merge(recipe("padded"), into="padded")
    assert tensor(plan, ROWS).shape == (64, 16)
    base, (padded,) = read_inputs(plan, tensor(plan, ROWS))
    assert base is not None and torch.equal(base[48:], padded[48:])


def test_a_union_keeps_every_token(tmp_path: Path) -> None:
    vocabularies(tmp_path)
    plan = plan_merge(recipe("more", "most", tokenizer={"source": "union"}))
    assert plan.vocabulary.target["<pad>"] == 48 and plan.vocabulary.target["<call>"] == 49
    assert plan.vocabulary.built is not None and plan.vocabulary.source == Path("base")
    base, (more, most) = read_inputs(plan, tensor(plan, ROWS))
    own = [load_file(tmp_path / name / "model.safetensors")[ROWS] for name in ("more", "most")]
    assert torch.equal(more[48], own[0][48]) and torch.equal(most[48:], own[1][[49, 48]])
    assert torch.equal(more[49], own[1][48]), "the only model that has it"
    assert base is not None and torch.allclose(base[48], (own[0][48] + own[1][49]) / 2), "the mean of those that do"


def test_the_rule_may_name_one_models_tokenizer(tmp_path: Path) -> None:
    vocabularies(tmp_path)
    plan = plan_merge(recipe("turned", tokenizer_source="base"))
    assert plan.vocabulary.source == Path("base")
    _, (turned,) = read_inputs(plan, tensor(plan, ROWS))
    own = load_file(tmp_path / "turned" / "model.safetensors")[ROWS]
    assert torch.equal(turned[3:], own[3:].flip(0)) and torch.equal(turned[:3], own[:3])
    plan = plan_merge(recipe("turned", "more", tokenizer={"source": "more", "pad_to_multiple_of": 8}))
    assert tensor(plan, ROWS).shape == (56, 16) and plan.vocabulary.source == Path("more")
    assert plan.vocabulary.built is None


def test_single_tokens_may_come_from_elsewhere(tmp_path: Path) -> None:
    vocabularies(tmp_path)
    tokens = {
        "<pad>": {"source": {"kind": "zero"}},
        "w0": {"source": {"kind": "model_token", "model": "more", "token": "w1"}, "force": True},
    }
    plan = plan_merge(recipe("more", tokenizer={"source": "union", "tokens": tokens}))
    base, (more,) = read_inputs(plan, tensor(plan, ROWS))
    own = load_file(tmp_path / "more" / "model.safetensors")[ROWS]
    assert base is not None and not base[48].any() and torch.equal(more[48], own[48])
    assert torch.equal(base[3], own[4]) and torch.equal(more[3], own[4])
    kept = unmerged_rows(plan, tensor(plan, ROWS))
    assert kept is not None and kept[0].tolist() == [3], "the one that is forced; <pad> is merged with what was asked"
    for tokens, told in (
        ({"<none>": {"source": "more"}}, "tokenizer.tokens.<none>: more has no row for it"),
        ({"w0": {"source": "other"}}, "other is not among the models. Allowed: base, more"),
    ):
        assert told in refused(recipe("more", tokenizer={"source": "union", "tokens": tokens}))


def test_a_recipe_may_add_tokens(tmp_path: Path) -> None:
    vocabularies(tmp_path)
    tokens = {"<|im_start|>": {"source": {"kind": "model_token", "model": "more", "token": "<pad>"}}}
    plan = plan_merge(recipe("more", tokenizer={"source": "base", "tokens": tokens}))
    base, (more,) = read_inputs(plan, tensor(plan, ROWS))
    own = load_file(tmp_path / "more" / "model.safetensors")[ROWS]
    assert base is not None and torch.equal(base[48], own[48]) and torch.equal(more[48], own[48])
    assert plan.vocabulary.built is not None and plan.vocabulary.target["<|im_start|>"] == 48
    assert "1 token ('<|im_start|>') of tokenizer.tokens that no model has, added to the vocabulary" in plan.coverage


def test_pieces_of_another_tokenizer_are_added_and_told(tmp_path: Path) -> None:
    vocabularies(tmp_path)
    folders.llama(tmp_path / "ja", seed=5, vocab=51, words=(*folders.WORDS, "肺", "胸水", "心"))
    plan = plan_merge(recipe("more", "ja", tokenizer={"source": "union"}))
    assert plan.vocabulary.target["心"] == 51 and tensor(plan, ROWS).shape == (52, 16)
    told = (
        "3 pieces ('肺', '胸水', '心') of ja that base does not have, added as whole tokens: they are found in a text"
    )
    assert told in plan.coverage and "never found" not in plan.coverage


def test_a_vocabulary_with_gaps_is_refused_where_tokens_would_move(tmp_path: Path) -> None:
    vocabularies(tmp_path)
    path = tmp_path / "base" / "tokenizer.json"
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    tokenizer["model"]["vocab"]["w44"] = 60
    path.write_text(json.dumps(tokenizer), encoding="utf-8")
    assert "the vocabulary that the others are added to has gaps" in refused(
        recipe("more", tokenizer={"source": "union"})
    )


def test_a_recipe_that_merges_nothing_is_refused(family: Path) -> None:
    entries = [{"model": m, "parameters": {"weight": 0.5}} for m in "ab"]
    asked = {"merge_method": "linear", "modules": {"vision_tower": {"models": entries}}}
    assert refused(RecipeSpec.model_validate(asked)) == (
        "the recipe merges no tensor of a: none of its models but a has what it names."
    )


def test_the_output_head_is_of_the_last_slice_whatever_it_is_called(family: Path) -> None:
    for name, seed in (("neox", 1), ("neox2", 2)):
        weights = {n.replace(HEAD, "embed_out.weight"): w for n, w in folders.llama_weights(seed=seed).items()}
        folders.write_model(family / name, weights, folders.llama_config())
    plan = plan_merge(sliced([("neox", 0, 1)], [("neox2", 1, 2)]))
    assert [tensor(plan, n).inputs[0].parent for n in (ROWS, NORM, "embed_out.weight")] == [0, 1, 1]


def test_a_matrix_is_read_once_for_all_who_need_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vocabularies(tmp_path)
    plan = plan_merge(recipe("more", "most", tokenizer={"source": "union"}))
    read: list[str] = []
    monkeypatch.setattr(
        type(plan.parents[0]), "read", lambda model, name: (read.append(model.name), mapped(model.tensors[name]))[1]
    )
    read_inputs(plan, tensor(plan, ROWS))
    assert sorted(read) == ["base", "more", "most"]


def test_tokens_cannot_be_matched_without_a_tokenizer(tmp_path: Path) -> None:
    vocabularies(tmp_path)
    (tmp_path / "more" / "tokenizer.json").unlink()
    assert refused(recipe("more", tokenizer_source="base")).startswith("more: no tokenizer.json, so tokens cannot be")


# adapters in their bases


def test_an_adapter_is_merged_when_it_is_read(family: Path) -> None:
    folders.write_lora(family / "lora", family / "a", rank=2, alpha=4)
    plan = plan_merge(recipe("a+lora", "b"))
    _, (adapted, _) = read_inputs(plan, tensor(plan, Q))
    weight = load_file(family / "a" / "model.safetensors")[Q]
    pair = load_file(family / "lora" / "adapter_model.safetensors")
    a, b = (pair[f"base_model.model.{Q.removesuffix('.weight')}.lora_{side}.weight"] for side in "AB")
    assert torch.allclose(adapted, weight + 2 * b @ a)
    _, (untouched, _) = read_inputs(plan, tensor(plan, NORM))
    assert torch.equal(untouched, load_file(family / "a" / "model.safetensors")[NORM])
    folders.write_lora(family / "dora", family / "a", use_dora=True)
    assert "DoRA" in refused(recipe("a+dora", "b"))


# thresholds over the whole model


@pytest.mark.parametrize("quirks", [{}, {"bisection": True}])
def test_one_threshold_over_the_whole_model(family: Path, quirks: dict[str, bool]) -> None:
    entries = [
        {"model": m, "parameters": {"weight": w, "density": d}} for m, w, d in (("a", 0.6, 0.3), ("b", 0.9, 0.5))
    ]
    values = {
        "merge_method": "jradievo",
        "base_model": "base",
        "models": entries,
        "parameters": {"lambda": 1.1, **quirks},
    }
    plan = plan_merge(RecipeSpec.model_validate(values))
    whole = model_thresholds(plan)
    assert whole is not None
    thresholds, majority = whole
    inputs = [read_inputs(plan, t) for t in plan.tensors]
    base = torch.cat([b.reshape(-1) for b, _ in inputs if b is not None])
    parents = [torch.cat([p[i].float().reshape(-1) for _, p in inputs]) for i in (0, 1)]
    first = plan.tensors[0]
    assert first.method is not None
    given = {"shared": first.shared, "each": first.each, "keys": first.keys}
    wanted = merge_tensor(first.method, base, parents, **given)  # type: ignore[arg-type]  # the model as one tensor
    made = [
        merge_tensor(first.method, b, p, **given, thresholds=thresholds, majority=majority)  # type: ignore[arg-type]
        for b, p in inputs
    ]
    assert torch.equal(torch.cat([m.reshape(-1) for m in made]), wanted)
    kept = int(((parents[0] - base).abs() >= thresholds[0]).sum())
    assert quirks or kept == round(0.3 * base.numel())


def test_it_needs_one_density_for_all_layers(family: Path) -> None:
    asked = recipe("a", method="jradievo", parameters={"density": [0.1, 0.9]})
    assert "jradievo trims the whole model at once: give these once" in refused(asked)
    assert model_thresholds(plan_merge(recipe("a"))) is None


def test_a_recipe_without_models_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "adapter_config.json").write_text(json.dumps({}), encoding="utf-8")
    assert refused(recipe("./a")).splitlines() == [
        "base: no config.json, so this is no model folder. It holds an adapter: write BASE+base, BASE being the model "
        "it was trained on.",
        "./a: no such model folder. Give a folder in Hugging Face's layout, or a hub id.",
    ]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"parameters": {"foo": 1}}, r"parameters\.foo: no such parameter\. ties has weight"),
        ({"merge_method": "平均"}, r"no method '平均'\. Methods: linear"),
        (
            {"merge_method": "linear", "base_model": None, "parameters": {"weight": 0}},
            r"the weights sum to 0, which cannot be normalised",
        ),
    ],
)
def test_what_is_like_nothing_known_is_refused_in_words(change: dict[str, Any], told: str, tmp_path: Path) -> None:
    for seed, name in enumerate(("base", "a", "b")):
        folders.llama(tmp_path / name, seed=seed)
    models = [{"model": str(tmp_path / name)} for name in "ab"]
    asked = {"merge_method": "ties", "base_model": str(tmp_path / "base"), "models": models}
    with pytest.raises((SpecError, ModelError), match=told):
        plan_merge(RecipeSpec.model_validate(asked | {"parameters": {"weight": 1.0}} | change))


def test_a_filter_that_no_tensor_fits_is_told(tmp_path: Path) -> None:
    for seed, name in enumerate(("base", "a")):
        folders.llama(tmp_path / name, seed=seed)
    density = [{"filter": "self_atn", "value": 0.3}, {"filter": "mlp", "value": 0.5}, {"value": 1.0}]
    parents = [{"model": str(tmp_path / "a"), "parameters": {"weight": 1.0, "density": density}}]
    recipe = RecipeSpec.model_validate(
        {"merge_method": "ties", "base_model": str(tmp_path / "base"), "models": parents}
    )
    assert plan_merge(recipe).notes == ("models.0.parameters.density: no tensor's name holds the filter 'self_atn'.",)
