"""What provenance.json is made of: hashes of what a model is loaded from, and the machine."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from ikyoku.provenance import facts, hub_commits, machine, sha256_of


def test_the_hash_of_a_folder_is_of_names_and_contents(tmp_path: Path) -> None:
    def made(name: str, files: Mapping[str, str]) -> str:
        for path, text in files.items():
            file = tmp_path / name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        return sha256_of(tmp_path / name)

    same = made("one", {"b/c.json": "2", "a.safetensors": "1"})
    assert made("two", {"a.safetensors": "1", "b/c.json": "2"}) == same
    others = {
        made("three", {"a.safetensors": "1", "b/d.json": "2"}),
        made("four", {"a.safetensors": "1", "b/c.json": "3"}),
    }
    assert len(others | {same}) == 3
    assert sha256_of(tmp_path / "one" / "a.safetensors") == hashlib.sha256(b"1").hexdigest()


def test_only_what_a_model_is_loaded_from_is_hashed(tmp_path: Path) -> None:
    def written(*names: str) -> str:
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(name, encoding="utf-8")
        return sha256_of(tmp_path)

    first = written("model.safetensors", "config.json", "tokenizer.model", "chat_template.jinja", "vocab.txt")
    assert written("README.md", "old.bin", ".git/config.json", ".cache/huggingface/x.json", "b/.cache/y.json") == first
    for name in ("model-2.safetensors", "generation_config.json", "merges.txt", "modeling_x.py"):
        second = written(name)
        assert second != first, name
        first = second


def test_the_machine() -> None:
    found = machine()
    assert found["memory_gib"] > 0.1
    tool = shutil.which("nvidia-smi")
    listed = subprocess.run([tool, "-L"], capture_output=True, text=True, check=False).stdout if tool else ""
    assert len(found["gpus"]) == listed.count("GPU ")
    assert all(gpu.endswith("MiB") for gpu in found["gpus"])


def test_whose_code_is_trusted() -> None:
    assert facts({"models": [{"path": "a/b", "trust_remote_code": True}, {"path": "c"}]})["trust_remote_code"] == [
        "a/b"
    ]
    assert facts({"base": "a/b", "parents": [{"path": "c"}], "trust_remote_code": True})["trust_remote_code"] == [
        "a/b",
        "c",
    ]


def test_torch_is_not_loaded_for_it() -> None:
    code = "import sys; from ikyoku import provenance; provenance.facts({}); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    ("variable", "below"),
    [("HF_HUB_CACHE", ""), ("HUGGINGFACE_HUB_CACHE", ""), ("HF_HOME", "hub"), ("XDG_CACHE_HOME", "huggingface/hub")],
)
def test_where_the_hub_keeps_its_commits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, below: str
) -> None:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, str(tmp_path))
    refs = tmp_path / below / "models--a--b" / "refs"
    refs.mkdir(parents=True)
    (refs / "main").write_text("c0ffee\n", encoding="utf-8")
    assert hub_commits({"model": {"path": "a/b"}}) == {"a/b": "c0ffee"}
    assert hub_commits({"models": ({"path": "a/c"}, {"path": str(tmp_path)})}) == {"a/c": None}
    assert hub_commits({"model": {"path": "a/b", "adapter": "a/d"}}) == {"a/b": "c0ffee", "a/d": None}
    (refs.parent / "snapshots" / "beef").mkdir(parents=True)
    (refs / "v1").write_text("f00d\n", encoding="utf-8")
    recipe = {
        "base_model": "a/b@beef",
        "models": [{"model": f"{tmp_path}+a/b@v1", "parameters": {"weight": 1}}],
        "slices": [{"sources": [{"model": "a/e", "layer_range": [0, 1]}], "base_model": "a/b"}],
        "tokenizer": {"source": "union", "tokens": {"<x>": {"source": {"kind": "model_token", "model": "a/f"}}}},
        "tokenizer_source": "base",
    }
    found = {"a/b@beef": "beef", "a/b@v1": "f00d", "a/e": None, "a/b": "c0ffee", "a/f": None}
    assert hub_commits({"recipe": recipe, "into": "a/g"}) == found | {"a/g": None}
    search = {
        "base": "a/b",
        "parents": [{"path": "a/h", "adapter": None}, {"path": "a/h", "adapter": "a/i"}],
        "into": None,
    }
    assert hub_commits(search) == {"a/b": "c0ffee", "a/h": None, "a/i": None}
    code = "from huggingface_hub import constants; print(constants.HF_HUB_CACHE)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert Path(done.stdout.strip()) == tmp_path / below, "as huggingface_hub itself has it"
