"""What stands beside the merged weights: a config that tells of them, and a tokenizer that fits it."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ikyoku.assembly.output import output_config, output_files
from ikyoku.assembly.plan import MergePlan, plan_merge
from ikyoku.errors import ModelError, SpecError
from ikyoku.specs import RecipeSpec

folders = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "merge_folders.py")))


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two language models a and b, and a vision-language model with an image token; commands run beside them."""
    monkeypatch.chdir(tmp_path)
    folders.llama(tmp_path / "a", words=folders.WORDS)
    folders.llama(tmp_path / "b", seed=1, words=folders.WORDS)
    folders.llava(tmp_path / "vlm", words=folders.WORDS, added=("<image>",))
    return tmp_path


def plan(*names: str, **more: Any) -> MergePlan:
    entries = [{"model": name, "parameters": {"weight": 1}} for name in names]
    return plan_merge(RecipeSpec.model_validate({"merge_method": "linear", "models": entries, **more}))


def settings(folder: Path, name: str = "config.json", **values: Any) -> None:
    path = folder / name
    held = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    path.write_text(json.dumps(held | values), encoding="utf-8")


def test_the_config_tells_the_number_format_wherever_it_stood(models: Path) -> None:
    config = json.loads((models / "vlm" / "config.json").read_text(encoding="utf-8"))
    del config["torch_dtype"]
    settings(
        models / "vlm",
        dtype="float32",
        text_config=config["text_config"] | {"dtype": "float32", "_name_or_path": "/x"},
        _name_or_path="x",
    )
    made = output_config(plan("vlm", "a", dtype="bfloat16"))
    assert (made["dtype"], made["text_config"]["dtype"], made["torch_dtype"]) == ("bfloat16",) * 3
    assert "dtype" not in made["vision_config"] and "_name_or_path" not in json.dumps(made)
    assert made["image_token_index"] == 48 and made["text_config"]["vocab_size"] == 49


def test_what_a_config_lists_by_layer_follows_the_slices(models: Path) -> None:
    settings(models / "a", layer_types=["full", "sliding"])
    pieces = [{"sources": [{"model": "a", "layer_range": r}]} for r in ([0, 2], [1, 2], [0, 1])]
    made = plan_merge(RecipeSpec.model_validate({"merge_method": "passthrough", "slices": pieces}))
    config = output_config(made)
    assert config["layer_types"] == ["full", "sliding", "sliding", "full"] and config["num_hidden_layers"] == 4


def test_an_image_token_must_be_in_the_vocabulary() -> None:
    with pytest.raises(
        ModelError, match=r"vlm: its image_token_index is '<image>', which the output's tokenizer \(a\)"
    ):
        output_files(plan("vlm", "a", tokenizer_source="a"))
    files = output_files(plan("a", "vlm", tokenizer={"source": "union"}))
    assert json.loads(files["config.json"])["image_token_index"] == 48
    assert json.loads(files["tokenizer.json"])["added_tokens"][-1]["content"] == "<image>"


def test_the_processor_comes_with_the_vision_tower(models: Path) -> None:
    settings(models / "vlm", "preprocessor_config.json", size=8)
    settings(models / "a", "preprocessor_config.json", size=9)
    assert json.loads(output_files(plan("a", "vlm"))["preprocessor_config.json"]) == {"size": 8}


def test_chat_templates(models: Path) -> None:
    own = {"a": "A", "b": "B", "vlm": "B"}
    for name, text in own.items():
        settings(models / name, "tokenizer_config.json", chat_template=text)
    (models / "mine.jinja").write_text("M", encoding="utf-8")
    for asked, told in (("auto", b"B"), ("mine.jinja", b"M"), ("{{ x }}", b"{{ x }}")):
        files = output_files(plan("a", "b", "vlm", chat_template=asked))
        assert files["chat_template.jinja"] == told
        assert "chat_template" not in json.loads(files["tokenizer_config.json"])
    assert json.loads(output_files(plan("a", "b"))["tokenizer_config.json"])["chat_template"] == "A"
    for asked in ("none.jinja", "chatml"):
        with pytest.raises(SpecError, match="chat_template: "):
            output_files(plan("a", "b", chat_template=asked))


def test_a_built_vocabulary_leaves_no_second_one(models: Path) -> None:
    folders.write_tokenizer(models / "b", folders.WORDS, ("<call>",))
    (models / "a" / "vocab.json").write_text("{}", encoding="utf-8")
    assert "vocab.json" in output_files(plan("a", tokenizer={"source": "union"}))
    folders.llama(models / "c", vocab=49, words=folders.WORDS, added=("<call>",))
    assert "vocab.json" not in output_files(plan("a", "c", tokenizer={"source": "union"}))


def test_a_generation_config_keeps_its_tokens(models: Path) -> None:
    settings(models / "a", "generation_config.json", eos_token_id=[2, 3], temperature=0.5)
    made = json.loads(output_files(plan("a", "b"))["generation_config.json"])
    assert made == {"eos_token_id": [2, 3], "temperature": 0.5}
