"""The model card: what it says of parents, licences and recipe; no path of this machine is in it, no foreign markup."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from ikyoku.model_card import CardParent, licence_of, licence_texts, model_card
from ikyoku.recipe import read_recipe
from ikyoku.specfile import parse
from ikyoku.specs import RecipeSpec

ROOT = Path(__file__).parents[1]
HASH = "ab" * 32


def _recipe(models: list[str], **more: object) -> RecipeSpec:
    values = {"merge_method": "ties", "base_model": models[0], "parameters": {"weight": 0.5}, **more}
    return parse(RecipeSpec, {**values, "models": [{"model": name} for name in models[1:]]}, source="")


def _card(models: list[str], licences: list[str], *, name: str = "merged", **more: object) -> str:
    parents = [CardParent(model, (licence,), (HASH,)) for model, licence in zip(models, licences, strict=True)]
    return model_card(_recipe(models), parents, name=name, version="0.1.0", **more)  # type: ignore[arg-type]


def _matter(card: str) -> dict[str, object]:
    _, matter, _ = card.split("---\n", 2)
    return dict(YAML(typ="safe", pure=True).load(matter))


def _read_back(card: str, folder: Path) -> RecipeSpec:
    found = re.search(r"^(`{3,})yaml\n(.*?)\n\1$", card, re.M | re.S)
    assert found
    (folder / "recipe.yaml").write_text(found[2], encoding="utf-8")
    return read_recipe(folder / "recipe.yaml")


def test_the_card_of_the_third_study(tmp_path: Path) -> None:
    recipe = read_recipe(ROOT / "examples" / "merge-jradievo.yaml")
    models = [recipe.base_model, *(entry.model for entry in recipe.models)]
    licences = ["llama3", "llama3", "cc-by-nc-4.0", "llama3", "llama3"]
    parents = [CardParent(str(m), (licence,), (HASH,)) for m, licence in zip(models, licences, strict=True)]
    card = model_card(
        recipe, parents, name="Llama 3 merged", version="0.1.0", seed=7, into=models[1], coverage="291 of 291 mapped."
    )
    matter = _matter(card)
    assert matter["base_model"] == models
    assert (matter["license"], matter["library_name"], matter["tags"]) == ("other", "transformers", ["merge", "ikyoku"])
    assert "\n291 of 291 mapped.\n" in card
    assert (
        "| meta-llama/Meta-Llama-3-8B | base | [Meta Llama 3 Community License](https://www.llama.com/llama3/" in card
    )
    assert "| BAAI/Bunny-v1\\_1-Llama-3-8B-V | merged, the output is built on it | " in card
    assert card.count(HASH) == 5
    assert "- Its documentation shows: Built with Meta Llama 3." in card
    assert "- Commercial use is not allowed (CC BY-NC 4.0)." in card
    assert "rules of use hold (https://www.llama.com/llama3/use-policy/)." in card
    assert "Rename it" not in card
    assert "DARE, then TIES over the whole model (`jradievo`)" in card
    assert "arXiv 2411.09933" in card
    assert "follows from the seed, 7." in card
    assert "It is no legal advice" in card
    assert "Not a medical device" in card
    assert "医師が内容を確認してください" in card
    assert _read_back(card, tmp_path) == recipe


def test_no_path_of_this_machine(tmp_path: Path) -> None:
    names = ["base", "a/artifact/model", "b/artifact/model", "adapter"]
    for name in names:
        (tmp_path / name).mkdir(parents=True)
    base, one, other, adapter = (str(tmp_path / name) for name in names)
    models = [base, f"{one}+{adapter}", other]
    parents = [CardParent(model, ("",), (HASH,) * (1 + ("+" in model))) for model in models]
    recipe = _recipe(models, tokenizer={"tokens": {"<a>": {"source": other}}}, chat_template=f"{base}/chat.jinja")
    card = model_card(
        recipe,
        parents,
        name="merged",
        version="0.1.0",
        coverage=f"9 tensors kept from {base}, cached in /somewhere/else/snapshots/1.",
        notes=[f"nothing of {other} is used"],
    )
    assert str(tmp_path) not in card
    assert "/somewhere" not in card
    assert "9 tensors kept from base, cached in 1." in card
    assert "- nothing of b/artifact/model is used" in card
    assert f"| a/artifact/model+adapter | merged | not stated | {HASH} + {HASH} |" in card
    assert "base_model" not in _matter(card)
    back = _read_back(card, tmp_path)
    assert [entry.model for entry in back.models] == ["a/artifact/model+adapter", "b/artifact/model"]
    assert (back.base_model, back.chat_template) == ("base", "chat.jinja")


@pytest.mark.parametrize(
    "name",
    [
        "x | y |\n\n# Title",
        "[a](http://example.invalid)",
        "<script>alert(1)</script>",
        "a\n---\nlicense: mit\n---",
        "```\n# out of the fence",
        "\u202eabc\u2028# d",
        "&lt;b&gt; **bold** ![i](j)",
    ],
)
def test_a_name_formats_nothing(name: str, tmp_path: Path) -> None:
    plain = _card(["org/base", "org/a"], ["mit", "mit"])
    card = _card(["org/base", f"./{name}"], ["mit", name], name=name, coverage=name, notes=[name])
    assert [line for line in card.splitlines() if line.startswith("#")] == [
        line if line != "# merged" else next(found for found in card.splitlines() if found.startswith("# "))
        for line in plain.splitlines()
        if line.startswith("#")
    ]
    keys = {"base_model", "library_name", "license", "license_name", "parent_licenses", "tags"}
    assert _matter(card).keys() == keys
    assert len(_matter(card)["parent_licenses"]) == 2  # type: ignore[arg-type]
    outside = re.sub(r"^(`{3,})yaml\n.*?\n\1$", "", card, flags=re.M | re.S)
    assert "<script" not in outside.replace("\\<", "")
    assert not re.search(r"(?<!\\)\]\((http://example|j\))", outside)
    assert len([line for line in card.splitlines() if line.startswith("|")]) == 4
    assert _read_back(card, tmp_path).base_model == "org/base"


def test_the_name_that_a_licence_wants() -> None:
    models = ["org/base", "org/a"]
    said = "**Rename it before it is passed on**: my model does not begin with Llama 3."
    assert said in _card(models, ["llama3", "llama3.1"], name="my model")
    assert "Rename it" not in _card(models, ["llama3", "llama3.1"], name="Llama 3 of ours")
    assert _matter(_card(models, ["llama3", "llama3"]))["license"] == "llama3"


def test_notes_and_seed_are_said_where_there_are_some() -> None:
    models = ["org/base", "org/a"]
    assert "seed" not in _card(models, ["mit", "mit"], seed=3)
    assert _card(models, ["mit", "mit"], notes=("x has no effect.",)).endswith("\n- x has no effect.\n")


# the licence in a folder


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"README.md": "---\nlicense: llama3\n---\n# x"}, ("llama3",)),
        ({"README.md": "\ufeff---\r\nlicense: [llama3.3, gemma]\r\n---\r\n"}, ("llama3.3", "gemma")),
        ({"README.md": "---\nlicense: other\nlicense_name: qwen-research\n---\n"}, ("qwen-research",)),
        ({"README.md": "---\nlicense: other\n---\n", "LICENSE": "Gemma Terms of Use\nLast modified"}, ("gemma",)),
        (
            {
                "README.md": "---\nlicense: other\nlicense_name: house\n---\n",
                "LICENSE.txt": "META LLAMA 3 COMMUNITY LICENSE",
            },
            ("house", "llama3"),
        ),
        ({"README.md": "no front matter, license: mit"}, ("",)),
        ({"README.md": "---\nlicense: [\n---\n"}, ("",)),
        ({"README.md": "---\n- a\n---\n"}, ("",)),
        ({"README.md": "---\nlicense: 3\n---\n"}, ("3",)),
        (
            {"LICENSE.md": "                    Apache License\n              Version 2.0, January 2004"},
            ("apache-2.0",),
        ),
        ({"licence": "Permission is hereby granted, free of charge, to any person"}, ("mit",)),
        ({"LICENSE": "our own rules"}, ("in LICENSE",)),
        ({}, ("",)),
    ],
)
def test_the_licence_of_a_folder(files: dict[str, str], found: tuple[str, ...], tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).write_bytes(text.encode())
    assert licence_of(tmp_path) == found


def test_a_merge_of_merges_knows_every_licence(tmp_path: Path) -> None:
    card = _card(["org/base", "org/a", "org/b"], ["llama3", "", 'house "rules": \\ no'])
    (tmp_path / "README.md").write_text(card, encoding="utf-8")
    assert licence_of(tmp_path) == ("llama3", "", "house rules no")


def test_the_licences_of_a_model_and_its_adapter(tmp_path: Path) -> None:
    (tmp_path / "LICENSE").mkdir()
    (tmp_path / "README.md").write_bytes(b"---\nlicense: mit\n---\n\xff")
    assert licence_of(tmp_path, tmp_path / "no such folder") == ("mit", "")
    assert licence_of() == ()


def test_the_texts_of_the_licences(tmp_path: Path) -> None:
    for model in ("m", "n"):
        (tmp_path / model).mkdir()
        (tmp_path / model / "LICENSE").write_text("same", encoding="utf-8")
    odd = tmp_path / "m" / "notice \n of <x>.txt"
    odd.write_text("own", encoding="utf-8")
    (tmp_path / "m" / "license.bin").write_bytes(bytes(2 << 20))
    (tmp_path / "m" / "COPYING").mkdir()
    (tmp_path / "m" / "terms").symlink_to(tmp_path / "nowhere")
    given = {str(tmp_path / "m"): [tmp_path / "m"], "org/n": [tmp_path / "n", tmp_path / "none"]}
    assert licence_texts(given) == {"licences/m/LICENSE": b"same", "licences/m/notice--of--x--.txt": b"own"}
    assert licence_texts({"org/n": [tmp_path / "n"]}) == {"licences/org--n/LICENSE": b"same"}
    assert licence_texts({"..": [tmp_path / "n"]}).keys() <= {
        "licences/model/LICENSE",
        f"licences/{tmp_path.name}/LICENSE",
    }


def test_folders_whose_names_look_like_hub_ids_or_revisions(tmp_path: Path) -> None:
    names = ["org/name", str(tmp_path / "org" / "name"), str(tmp_path / "z" / "name"), str(tmp_path / "@main")]
    for name in names[1:]:
        Path(name).mkdir(parents=True)
    entries = [{"model": name, "parameters": {"weight": 1}} for name in names]
    recipe = RecipeSpec.model_validate({"merge_method": "linear", "models": entries})
    card = model_card(recipe, [CardParent(name, ("mit",), ("0",)) for name in names], name="m", version="1")
    assert str(tmp_path) not in card
    shown = [line.split("model: ")[1] for line in card.splitlines() if line.startswith("- model: ")]
    assert len(set(shown)) == 4 and shown[0] == "org/name" and shown[3] == "main"


def test_a_folder_named_by_a_dot_changes_no_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = _recipe([".", "a", f"{tmp_path}/a-2"])
    parents = [CardParent(name, ("mit",), (HASH,)) for name in (".", "a", f"{tmp_path}/a-2")]
    told = f"1 of 2 tensors merged. 1 kept from {tmp_path}/a-2. . has more than {tmp_path}/a."
    card = model_card(recipe, parents, name="m", version="1", coverage=told)
    assert f"1 of 2 tensors merged. 1 kept from a-2. {tmp_path.name} has more than a." in card.replace("\\", "")


def test_a_front_matter_that_grows_is_not_unfolded(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12))]
    (tmp_path / "README.md").write_text("---\n" + "\n".join([*lines, "license: *a11"]) + "\n---\n", encoding="utf-8")
    assert licence_of(tmp_path) == ("",)
