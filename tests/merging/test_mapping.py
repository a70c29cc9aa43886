"""Names of language-model tensors in vision-language models, on files that transformers itself writes and reads."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from ikyoku.errors import ModelError
from ikyoku.merging.mapping import FAMILIES, NameMap, canonical, map_names, memory_names, normal

made = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("families.py"))))
Folders = dict[str, Path]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """Every family and every plain model once, as transformers writes it, and the other spellings."""
    root = tmp_path_factory.mktemp("families")
    found = {kind: made.save(made.make(kind), root / kind) for kind in (*made.LANGUAGE, *made.VISION)}
    for name, (kind, rename) in made.SPELLINGS.items():
        found[name] = made.renamed(found[kind], root / name, rename)
    return found


def _family(name: str) -> str:
    return made.SPELLINGS[name][0] if name in made.SPELLINGS else name


@pytest.mark.parametrize("name", [*made.VISION, *made.SPELLINGS])
def test_every_language_tensor_has_its_place(folders: Folders, name: str) -> None:
    kind = _family(name)
    language, vision = made.shapes(folders[made.VISION[kind][0]]), made.shapes(folders[name])
    found = map_names(language, vision, model_type=kind)
    assert {*found.pairs, *found.left} == set(language)
    assert {*found.pairs.values(), *found.kept} == set(vision)
    for here, there in found.pairs.items():
        assert language[here] == vision[there]
        assert there.endswith(here.removeprefix("model."))
        assert canonical(there) == canonical(here) == here
    parts = {normal(name)[0] for name in found.kept}
    assert parts == {"vision tower", "projector"}
    assert all(canonical(name) is None for name in found.kept)
    # A family that says nothing of its type is read all the same.
    assert map_names(language, vision).pairs == map_names(language, vision, model_type="new").pairs == found.pairs


def test_the_coverage_is_said_in_words(folders: Folders) -> None:
    language = made.shapes(folders["llama"])
    assert map_names(language, made.shapes(folders["llava"]), model_type="llava").coverage() == (
        "LLaVA: 21 of 21 language tensors mapped; 23 tensors of the vision tower and 4 of the projector kept"
    )
    mistral, vision = made.shapes(folders["mistral"]), made.shapes(folders["mistral3"])
    assert map_names(mistral, vision, model_type="mistral3").coverage() == (
        "Mistral 3: 20 of 21 language tensors mapped; 11 tensors of the vision tower and 4 of the projector kept; "
        "lm_head.weight has no place, as the output is tied there"
    )
    assert NameMap("plain", {"model.norm.weight": "model.norm.weight"}, ()).coverage() == (
        "plain: 1 of 1 language tensors mapped; no other tensor kept"
    )


def test_bunny_keeps_the_plain_names(folders: Folders) -> None:
    language = made.shapes(folders["llama"])
    vision = {made.BUNNY(name): shape for name, shape in made.shapes(folders["llava"]).items()}
    assert "model.vision_tower.vision_tower.vision_model.post_layernorm.weight" in vision
    assert "model.mm_projector.2.bias" in vision
    found = map_names(language, vision, model_type="bunny-llama")
    assert found.pairs == {name: name for name in language}
    assert found.coverage().startswith(
        "Bunny: 21 of 21 language tensors mapped; 23 tensors of the vision tower and 4 of"
    )


def test_an_8b_model_maps_whole() -> None:
    """Names and shapes of the third study's size, made from configs without memory: 291 tensors."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

    text = {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_key_value_heads": 8}
    text |= {"model_type": "llama", "vocab_size": 128256}
    vision = {
        "model_type": "clip_vision_model",
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
    }
    with torch.device("meta"):
        plain = AutoModelForCausalLM.from_config(AutoConfig.for_model(**text))
        config = AutoConfig.for_model("llava_next", text_config=text, vision_config=vision)
        seeing = AutoModelForImageTextToText.from_config(config)
    language, both = ({n: tuple(p.shape) for n, p in m.named_parameters()} for m in (plain, seeing))
    assert map_names(language, both, model_type="llava_next").coverage() == (
        "LLaVA-NeXT: 291 of 291 language tensors mapped; 391 tensors of the vision tower and 5 of the projector kept"
    )


def test_internvl_in_its_own_spelling(folders: Folders) -> None:
    language, vision = made.shapes(folders["qwen2"]), made.internvl_chat(folders["internvl"])
    found = map_names(language, vision, model_type="internvl_chat")
    assert found.pairs["model.layers.1.mlp.up_proj.weight"] == "language_model.model.layers.1.mlp.up_proj.weight"
    assert found.left == ("lm_head.weight",)
    assert "10 tensors of the vision tower and 3 of the projector kept" in found.coverage()
    # Its other language model has names of its own, which are kept behind the prefix.
    other = {"model.tok_embeddings.weight": (40, 16), "model.layers.0.attention.wqkv.weight": (32, 16)}
    other |= {"model.norm.weight": (16,), "output.weight": (40, 16)}
    wrapped = {f"language_model.{name}": shape for name, shape in other.items()} | {"vision_model.a": (1,)}
    assert (
        map_names(other, wrapped, model_type="internvl_chat").pairs["output.weight"] == "language_model.output.weight"
    )
    assert canonical("language_model.output.weight") == "output.weight"


def test_minicpm_v() -> None:
    language = {"model.layers.0.mlp.up_proj.weight": (4, 2), "lm_head.weight": (9, 2)}
    vision = {f"llm.{name}": shape for name, shape in language.items()} | {"vpm.a": (1,), "resampler.b": (1,)}
    found = map_names(language, vision, model_type="minicpmv")
    assert found.pairs["lm_head.weight"] == "llm.lm_head.weight"
    assert found.kept == ("vpm.a", "resampler.b")


# gaps


def test_a_gap_is_refused_in_both_spellings(folders: Folders) -> None:
    language, vision = made.shapes(folders["llama"]), made.shapes(folders["llava"])
    del vision["language_model.model.layers.1.mlp.up_proj.weight"]
    with pytest.raises(ModelError) as caught:
        map_names(language, vision, model_type="llava")
    assert "model.layers.1.mlp.up_proj.weight: no language_model.model.layers.1.mlp.up_proj.weight" in str(caught.value)
    with pytest.raises(
        ModelError, match=r"language_model.model.norm.weight of the vision-language model: no model.norm"
    ):
        map_names(
            {k: v for k, v in language.items() if k != "model.norm.weight"},
            made.shapes(folders["llava"]),
            model_type="llava",
        )


def test_fewer_layers_are_a_gap_however_the_family_is_read(folders: Folders) -> None:
    vision = made.shapes(folders["llava"])
    language = {name: shape for name, shape in made.shapes(folders["llama"]).items() if ".layers.1." not in name}
    for kind in ("llava", None):
        with pytest.raises(ModelError, match=r"layers.1.mlp.up_proj.weight of the vision-language model"):
            map_names(language, vision, model_type=kind)


def test_another_shape_is_refused_and_other_rows_are_told(folders: Folders) -> None:
    language, vision = made.shapes(folders["llama"]), made.shapes(folders["llava"])
    wider = language | {"model.norm.weight": (32,)}
    with pytest.raises(ModelError, match=r"model.norm.weight is 32 where language_model.model.norm.weight is 16"):
        map_names(wider, vision, model_type="llava")
    longer = language | {"model.embed_tokens.weight": (64, 16), "lm_head.weight": (64, 16)}
    found = map_names(longer, vision, model_type="llava")
    assert found.rows == {"model.embed_tokens.weight": (64, 40), "lm_head.weight": (64, 40)}
    assert "lm_head.weight has 64 rows and language_model.lm_head.weight 40: aligned by token" in found.coverage()
    with pytest.raises(ModelError, match=r"model.embed_tokens.weight is 40 x 32 where language_model.model.embed_tok"):
        map_names(language | {"model.embed_tokens.weight": (40, 32)}, vision, model_type="llava")


def test_another_architecture_is_refused(folders: Folders) -> None:
    with pytest.raises(ModelError, match=r"layers.0.self_attn.q_norm.weight: no language_model.model.layers.0.self_at"):
        map_names(made.shapes(folders["qwen3"]), made.shapes(folders["llava"]), model_type="llava")


def test_a_tied_language_model_gives_its_embeddings_to_the_head(folders: Folders) -> None:
    vision = made.shapes(folders["llava"])
    language = {name: shape for name, shape in made.shapes(folders["llama"]).items() if name != "lm_head.weight"}
    found = map_names(language, vision, model_type="llava")
    assert found.tied == {"language_model.lm_head.weight": "model.embed_tokens.weight"}
    assert "language_model.lm_head.weight" not in found.kept
    assert "language_model.lm_head.weight is made from model.embed_tokens.weight, to which" in found.coverage()


def test_old_buffers_need_no_place(folders: Folders) -> None:
    language = made.shapes(folders["llama"]) | {"model.layers.0.self_attn.rotary_emb.inv_freq": (4,)}
    found = map_names(language, made.shapes(folders["llava"]), model_type="llava")
    assert found.left == ("model.layers.0.self_attn.rotary_emb.inv_freq",)
    assert "21 of 22 language tensors mapped" in found.coverage()
    assert "rotary_emb.inv_freq is computed, not stored" in found.coverage()


def test_two_vision_language_models_map_whole(folders: Folders) -> None:
    old, new = made.shapes(folders["llava, older towers"]), made.shapes(folders["llava"])
    found = map_names(old, new, model_type="llava")
    assert len(found.pairs) == len(new)
    assert found.kept == ()
    assert "23 tensors of the vision tower and 4 of the projector mapped too; no other tensor kept" in found.coverage()


# unknown families


def _odd(shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    rules = [("language_model.model.layers", "core.stack"), ("language_model.model", "core"), ("language_model", "out")]
    for old, new in [*rules, ("vision_tower", "eye"), ("multi_modal_projector", "bridge")]:
        shapes = {name.replace(old, new): shape for name, shape in shapes.items()}
    return shapes


def test_an_unknown_family_is_read_by_structure(folders: Folders) -> None:
    language, vision = made.shapes(folders["llama"]), _odd(made.shapes(folders["llava"]))
    found = map_names(language, vision, model_type="new")
    assert found.pairs["model.layers.1.mlp.up_proj.weight"] == "core.stack.1.mlp.up_proj.weight"
    assert found.pairs["model.embed_tokens.weight"] == "core.embed_tokens.weight"
    assert found.pairs["lm_head.weight"] == "out.lm_head.weight"
    assert {name.split(".")[0] for name in found.kept} == {"eye", "bridge"}
    assert found.coverage() == (
        "unknown family, by structure: model.layers.* is core.stack.*: 21 of 21 language tensors mapped; "
        "27 tensors of other parts kept"
    )


def test_an_unknown_family_may_keep_the_plain_names(folders: Folders) -> None:
    language = made.shapes(folders["llama"])
    vision = language | {"model.vision_embed_tokens.encoder.layers.0.mlp.up_proj.weight": (3, 3)}
    found = map_names(language, vision, model_type="phi3_v")
    assert found.pairs == {name: name for name in language}
    assert found.coverage().endswith("21 of 21 language tensors mapped; 1 tensor of other parts kept")


def test_an_ambiguous_structure_is_refused_with_the_names(folders: Folders) -> None:
    language, vision = made.shapes(folders["llama"]), _odd(made.shapes(folders["llava"]))
    twice = vision | {name.replace("core.", "voice."): s for name, s in vision.items() if name.startswith("core.")}
    with pytest.raises(ModelError, match=r"fits more than one place: core.stack.0\S+ and voice.stack.0"):
        map_names(language, twice, model_type="new")


def test_an_incomplete_structure_is_refused_with_the_names(folders: Folders) -> None:
    language, vision = made.shapes(folders["llama"]), _odd(made.shapes(folders["llava"]))
    less = {name: shape for name, shape in vision.items() if name != "core.stack.1.mlp.up_proj.weight"}
    with pytest.raises(ModelError, match=r"model.layers.1.mlp.up_proj.weight: no core.stack.1.mlp.up_proj.weight"):
        map_names(language, less, model_type="new")
    less = {name: shape for name, shape in vision.items() if name != "core.norm.weight"}
    with pytest.raises(ModelError, match=r"model.norm.weight: nothing fits it"):
        map_names(language, less, model_type="new")
    shorter = {name: shape for name, shape in language.items() if ".layers.1." not in name}
    with pytest.raises(ModelError, match=r"core.stack.1\S+ of the vision-language model: no"):
        map_names(shorter, vision, model_type="new")
    with pytest.raises(ModelError, match=r"no tensor of the vision-language model ends in 0.input_layernorm.weight"):
        map_names(language, {"eye.a": (1,)}, model_type="new")
    with pytest.raises(ModelError, match="one stack of layers; found none"):
        map_names({"norm.weight": (3,)}, {"eye.a": (1,)}, model_type="new")


# the live model


@pytest.mark.parametrize("name", [*made.LANGUAGE, *made.VISION, *made.SPELLINGS])
def test_live_names_hold_what_the_file_holds(folders: Folders, name: str) -> None:
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

    auto = AutoModelForCausalLM if name in made.LANGUAGE else AutoModelForImageTextToText
    live = dict(auto.from_pretrained(folders[name], dtype=torch.float32).named_parameters())
    stored = load_file(folders[name] / "model.safetensors")
    names = memory_names(stored, live)
    assert set(names) == set(stored)
    assert sorted(names.values()) == sorted(live)
    assert all(torch.equal(stored[disk], live[there]) for disk, there in names.items())


def test_what_the_live_model_ties_or_computes_is_left_out() -> None:
    disk = ["model.embed_tokens.weight", "lm_head.weight", "model.layers.0.self_attn.rotary_emb.inv_freq"]
    assert memory_names(disk, ["model.embed_tokens.weight"]) == {
        "model.embed_tokens.weight": "model.embed_tokens.weight"
    }
    assert list(memory_names(disk[:1], ["model.embed_tokens.weight", "lm_head.weight"])) == disk[:1]


def test_live_names_that_do_not_agree_are_refused() -> None:
    with pytest.raises(ModelError) as caught:
        memory_names(["model.a.weight", "x"], ["model.language_model.b.weight"])
    assert "model.a.weight of the files has no place in the model" in str(caught.value)
    assert "model.language_model.b.weight of the model is in no file" in str(caught.value)
    with pytest.raises(ModelError, match="in the files under 2 names"):
        memory_names(["model.a", "language_model.model.a"], ["model.a"])


def test_no_prefix_stands_for_two_things() -> None:
    seen: dict[str, object] = {}
    for family in FAMILIES.values():
        rows = dict(family.language) | dict.fromkeys(family.vision, "vision") | dict.fromkeys(family.projector, "proj")
        for prefix, meaning in rows.items():
            assert seen.setdefault(prefix, meaning) == meaning, prefix
