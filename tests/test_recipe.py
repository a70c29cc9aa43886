"""Recipes: what mergekit's YAML may say, what is refused and how, which value holds where, and the way back to YAML."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ikyoku.errors import SpecError
from ikyoku.merging import METHODS
from ikyoku.recipe import (
    OTHER_METHODS,
    check_recipe,
    model_reference,
    models_of,
    notes,
    parent_parameters,
    read_recipe,
    recipe_yaml,
    resolve,
    shared_parameters,
)
from ikyoku.settings import read
from ikyoku.specfile import parse, read_yaml, to_yaml
from ikyoku.specs import MergeSpec, RecipeSpec

ROOT = Path(__file__).parents[1]
GOLDEN = Path(__file__).parent / "golden" / "recipe_settings.yaml"
EXAMPLES = sorted((ROOT / "examples").glob("merge-*.yaml"))
MLP, ATTENTION = "model.layers.3.mlp.up_proj.weight", "model.layers.3.self_attn.q_proj.weight"
TWO = "merge_method: linear\nmodels:\n- {model: a, parameters: {weight: 1}}\n- {model: b, parameters: {weight: 1}}\n"

SLICES = """
merge_method: ties
base_model: base
slices:
- base_model: other-base
  parameters: {weight: 0.3, lambda: [0.5, 1]}
  sources:
  - {model: other-base, layer_range: [0, 8]}
  - {model: a, layer_range: [8, 16], parameters: {weight: {filter: mlp, value: 0.9}}}
- sources:
  - {model: base, layer_range: [0, 4]}
  - {model: a, layer_range: [4, 8]}
parameters: {weight: 0.1, density: 0.5, normalize: no}
"""
MODULES = """
merge_method: dare_ties
base_model: base
modules:
  text_decoder:
    models: [{model: a, parameters: {weight: 0.5}}, {model: b}]
    parameters: {density: 0.4, weight: 0.2}
  vision_tower:
    models: [{model: a}]
parameters: {density: 0.9, weight: 0.7}
"""
EVERYTHING = """
# a comment, an anchor, empty keys, both ways to name a model
name: everything
merge_method: della
base_model: {model: {path: org/base, revision: main}}
parameters: &all
  normalize: yes
  lambda: 1e-1
  int8_mask: true
models:
- model: org/one@v1+org/adapter@v2
  parameters: {weight: [0, 1e-4, 1], density: [{filter: mlp, value: [0.4, 0.6]}, {filter: "*", value: 0.5}]}
- model:
    model: {path: models/two, revision: null}
    lora: models/adapter
  parameters: {weight: .5, density: {value: 0.5}, epsilon: 0.1}
- model: org/base@main
  parameters:
slices:
dtype: torch.float32
out_dtype: bfloat16
tokenizer:
  source: union
  tokens:
    <|im_start|>: {source: models/two, force: true}
    <|a|>: {source: {kind: zero}}
    "on": {source: {kind: model_token, model: models/two, token: "no"}}
    "12:30": {source: {kind: model_token, model: {model: {path: models/two}}, token_id: 7}}
    plain: {}
  pad_to_multiple_of: 64
chat_template: "{% for m in messages %}{{ m.content }}\\n{% endfor %}"
"""


def _file(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def _read(folder: Path, text: str) -> RecipeSpec:
    return read_recipe(_file(folder, text))


def _refused(folder: Path, text: str) -> str:
    with pytest.raises(SpecError) as caught:
        _read(folder, text)
    return str(caught.value).replace(f"{folder}/recipe.yaml:\n", "")


# one setting


@pytest.mark.parametrize("case", [json.loads(line[2:]) for line in GOLDEN.read_text("utf-8").splitlines()[1:]], ids=str)
def test_a_setting_is_what_mergekit_makes_of_it(case: dict[str, Any]) -> None:
    """Bit for bit: the file was written by tests/parity/mergekit_settings.py."""
    recipe = parse(
        RecipeSpec,
        {"merge_method": "linear", "models": [{"model": "a"}], "parameters": {"x": case["setting"]}},
        source="",
    )
    setting, kind = recipe.parameters["x"], {"float": float, "bool": bool}[case["kind"]]
    if case["value"] == "refused":
        with pytest.raises(SpecError, match=r"is (no number|neither true nor false)"):
            resolve(setting, case["tensor"], case["t"], kind)
        return
    found = resolve(setting, case["tensor"], case["t"], kind)
    assert (found, type(found)) == (case["value"], type(case["value"]))


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.floats(0, 1))
def test_a_gradient_stays_between_its_values(values: list[float], t: float) -> None:
    found = resolve(tuple(values), "", t)
    assert isinstance(found, float)
    assert min(values) - 1e-12 <= found <= max(values) + 1e-12
    ends = [resolve(tuple(values), "", end) for end in (0.0, 1.0)]
    assert ends == [values[0], values[-1]]


# which of several settings holds


def test_a_source_comes_before_its_slice_and_that_before_the_recipe(tmp_path: Path) -> None:
    recipe = _read(tmp_path, SLICES)
    first, second = recipe.slices
    method = METHODS["ties"]

    def weight(piece: Any, tensor: str) -> float:
        return parent_parameters(recipe, piece, None, piece.sources[1], tensor, 0.0, method)["weight"]

    assert [weight(first, MLP), weight(first, ATTENTION), weight(second, MLP)] == [0.9, 0.3, 0.1]
    shared = [shared_parameters(recipe, piece, None, MLP, t, method) for piece, t in ((first, 0.5), (second, 0.5))]
    assert [one["lambda"] for one in shared] == [0.75, 1.0]
    assert shared[0]["normalize"] is False
    assert parent_parameters(recipe, first, None, first.sources[1], MLP, 0.0, method)["density"] == 0.5
    assert models_of(recipe) == ("base", "other-base", "a")


def test_a_model_comes_before_its_module_and_that_before_the_recipe(tmp_path: Path) -> None:
    recipe = _read(tmp_path, MODULES)
    found = [
        parent_parameters(recipe, None, module, entry, MLP, 0.0, METHODS["dare_ties"])
        for module in recipe.modules.values()
        for entry in module.models
    ]
    assert [(row["weight"], row["density"]) for row in found] == [(0.5, 0.4), (0.2, 0.4), (0.7, 0.9)]


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_its_defaults(name: str) -> None:
    method = METHODS[name]
    needed = {key: 0.25 for part in (method.shared, method.each) for key, default in part.items() if default is None}
    values = {
        "merge_method": name,
        "base_model": "base",
        "models": [{"model": "a"}, {"model": "b"}],
        "parameters": needed,
    }
    values["models"] = values["models"][: method.most]
    values["base_model"] = "base" if method.needs_base else None
    recipe = parse(RecipeSpec, values, source="")
    check_recipe(recipe)
    assert notes(recipe) == ()
    assert shared_parameters(recipe, None, None, MLP, 0.5, method) == {
        key: needed.get(key, default) for key, default in method.shared.items()
    }
    found = parent_parameters(recipe, None, None, recipe.models[0], MLP, 0.5, method)
    assert found == {key: needed.get(key, default) for key, default in method.each.items()}


@pytest.mark.parametrize("name", METHODS)
def test_the_how_to_has_every_method_and_parameter(name: str) -> None:
    text = (ROOT / "docs" / "how-to-merge.md").read_text("utf-8")
    (row,) = (line for line in text.splitlines() if line.startswith("| `") and f"`{name}`" in line.split("|")[1])
    method, (_, _, _, each, whole, _) = METHODS[name], row.split("|")
    quirks = {"shared_masks", "bisection", "half"}
    for cell, parameters in ((each, method.each), (whole, method.shared)):
        assert set(re.findall(r"`(\w+)`", cell)) == set(parameters) - {*method.ignored, *quirks}
    for parameter in {*method.each, *method.shared} & quirks:
        assert f"`{parameter}`" in text


@pytest.mark.parametrize("size", ["5", "0GB", "five GB", "5 gb", "1.5.2GB"])
def test_a_size_of_shards(size: str) -> None:
    recipe = {"merge_method": "linear", "models": [{"model": "a"}]}
    assert parse(MergeSpec, {"recipe": recipe, "shard_size": "0.5 MB"}, source="").shard_size == "0.5 MB"
    with pytest.raises(SpecError, match=f"shard_size: found '{size}'; write a size as a number above 0 and KB, MB, GB"):
        parse(MergeSpec, {"recipe": recipe, "shard_size": size}, source="")


def test_rescale_is_a_flag_or_a_word(tmp_path: Path) -> None:
    text = TWO.replace("linear", "dare_ties\nbase_model: base")
    found = []
    for value in ("true", "no", "L1"):
        recipe = _read(tmp_path, f"{text}parameters: {{rescale: {value}}}\n")
        found.append(shared_parameters(recipe, None, None, MLP, 0.0, METHODS["dare_ties"])["rescale"])
    assert found == [True, False, "l1"]
    assert "rescale is 'l2', it must be one of true, false, l1" in _refused(
        tmp_path, f"{text}parameters: {{rescale: l2}}\n"
    )


def test_a_missing_parameter_is_named_with_model_and_tensor(tmp_path: Path) -> None:
    recipe = _read(tmp_path, TWO.replace("weight: 1}}\n", "weight: {filter: mlp, value: 1}}}\n", 1))
    assert parent_parameters(recipe, None, None, recipe.models[0], MLP, 0.0, METHODS["linear"]) == {"weight": 1}
    with pytest.raises(SpecError) as caught:
        parent_parameters(recipe, None, None, recipe.models[0], ATTENTION, 0.0, METHODS["linear"])
    assert str(caught.value) == (
        f"{ATTENTION}: no weight of a, and there is no default. Write parameters: {{weight: 0.5}} under the model, or "
        "for all of them in the recipe; where it has conditions, end them with one that has no filter, - value: 0.5."
    )


def test_dellas_probabilities_stay_probabilities(tmp_path: Path) -> None:
    text = (
        "merge_method: della\nbase_model: base\nmodels: [{model: a, parameters: {weight: 1, density: [0.5, 0.95]}}]\n"
    )
    recipe = _read(tmp_path, text)
    assert parent_parameters(recipe, None, None, recipe.models[0], MLP, 0.0, METHODS["della"])["density"] == 0.5
    with pytest.raises(SpecError, match=rf"a, {MLP}: epsilon is 0.15"):
        parent_parameters(recipe, None, None, recipe.models[0], MLP, 1.0, METHODS["della"])


# what is refused


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("merge_method: teis", "no method 'teis'. Did you mean 'ties'? Methods: linear, slerp,"),
        (
            "parameters: {wieght: 1}",
            "parameters.wieght: no such parameter. Did you mean 'weight'? linear has weight, normal",
        ),
        ("parameters: {weight: heavy}", "parameters.weight: 'heavy' is no number."),
        ("parameters: {normalize: [true, maybe]}", "parameters.normalize: 'maybe' is neither true nor false."),
        (
            "parameters: {weight: {pattern: mlp, value: 1}}",
            "parameters.weight: pattern is the word of mergekit's first",
        ),
        ("parameters: {weight: [{value: 1}, 2]}", "2 stands among conditions; write it as - value: 2"),
        ("parameters: {weight: [{filter: 7, value: 1}]}", "filter is 7; it is a part of tensors' names"),
        ("parameters: {weight: {value: {a: 1}}}", "{'a': 1} is no value; give a number, true or false, a list"),
        ("parameters: {weight: {filter: mlp}}", "nothing is no value"),
        ("parameters: {weight: .inf}", "inf is no value"),
        ("weight: 1", "weight: belongs under parameters:"),
        ("out_path: x", "out_path: is given as OUT on the command line"),
        ("base_modell: x", "base_modell: no such key. Did you mean 'base_model'?"),
        ("base_model: c", "models: linear has no base, so that mergekit merges base_model c as one more model. Name"),
        ("base_model: a+b+c", "a + stands between a model and one adapter"),
        ("base_model: a@b@c", "an @ stands between a hub id and one revision"),
        ("base_model: {model: a, override_architecture: X}", "override_architecture is not known here"),
        ("base_model: {model: {path: a, branch: b}}", "a text, or a mapping of path and revision"),
        ("dtype: float64", "dtype: found 'float64'; it should be 'float32', 'float16' or 'bfloat16'."),
        ("tokenizer: {source: base}\ntokenizer_source: base", "give tokenizer or tokenizer_source, not both"),
        (
            "tokenizer: {tokens: {a: {source: {kind: zero, model: b}}}}",
            "a source is a model, {kind: zero}, or {kind: mod",
        ),
        ("slices: [{sources: [{model: a, layer_range: [0, 1]}]}]", "one of the three; found models, slices"),
        ("---\nmerge_method: linear", "not valid YAML"),
    ],
)
def test_a_fault_of_a_recipe(text: str, said: str, tmp_path: Path) -> None:
    given = TWO.replace("merge_method: linear\n", "") if text.startswith("merge_method") else TWO
    assert said in _refused(tmp_path, f"{given}{text}\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("merge_method: ties", "models: ties needs base_model, the model that the others were tuned from."),
        (
            "merge_method: slerp\nbase_model: b\nparameters: {t: 0.5}",
            "models: found 2 models beside the base; slerp merges 1.",
        ),
        ("merge_method: passthrough", "models: found 3 models; passthrough merges 1."),
        (
            "merge_method: ties\nbase_model: b",
            "models: no weight of a, and there is no default. Write parameters: {wei",
        ),
        (
            "merge_method: slerp\nbase_model: b",
            "models: no t, and there is no default. Write parameters: {t: 0.5} in the",
        ),
        (
            "merge_method: dare_ties\nbase_model: b\nparameters: {density: 1.5}",
            "density is 1.5, it must be between 0 and 1.",
        ),
        ("merge_method: jradievo\nbase_model: b\nparameters: {drop: -1}", "drop is -1.0, it must be between 0 and 1."),
        ("merge_method: ties\nbase_model: b\nexperts: []", "experts: belongs to a recipe for mergekit-moe"),
    ],
)
def test_a_fault_of_method_and_models(text: str, said: str, tmp_path: Path) -> None:
    assert said in _refused(tmp_path, f"{text}\nmodels: [{{model: a}}, {{model: b}}, {{model: c}}]\n")


@pytest.mark.parametrize("name", OTHER_METHODS)
def test_a_method_that_only_mergekit_has(name: str, tmp_path: Path) -> None:
    said = _refused(tmp_path, TWO.replace("linear", name))
    assert said.startswith(f"merge_method: ikyoku does not have mergekit's {name}. Methods: linear,")


@pytest.mark.parametrize(
    ("models", "said"),
    [
        ("[a, b]", "models.0: found 'a'; a model is written as - model: a."),
        ("[{model: a, weight: 1}]", "models.0: weight: belongs under parameters: of this model"),
        ("[{model: a}, {model: a}]", "a stands twice among the models; give one entry with the sum of its weights."),
        ("[{model: {model: a+b, lora: c}}]", "each a path without a +"),
        ("[{model: ''}]", "a + stands between"),
    ],
)
def test_a_fault_of_the_models(models: str, said: str, tmp_path: Path) -> None:
    assert said in _refused(tmp_path, f"merge_method: linear\nparameters: {{weight: 1}}\nmodels: {models}\n")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "layer_range: [8, 16]",
            "layer_range: [8, 17]",
            "a slice have as many layers each; found other-base [0, 8], a [8, 17]",
        ),
        ("layer_range: [4, 8]", "layer_range: [8, 4]", "layer_range [8, 4] holds no layer"),
        (
            "- sources:",
            "- residual_weight: 0.1\n  sources:",
            "slices.1: residual_weight: mergekit 0.1.5 reads it and does no",
        ),
        (
            "- {model: base,",
            "- {model: b,",
            "slices.1.sources: the base base is not among them; name it there too, with it",
        ),
        ("parameters: {weight: 0.1,", "parameters: {", "slices.1.sources: no weight of a"),
    ],
)
def test_a_fault_of_slices(old: str, new: str, said: str, tmp_path: Path) -> None:
    assert old in SLICES
    assert said in _refused(tmp_path, SLICES.replace(old, new))


def test_faults_are_told_together(tmp_path: Path) -> None:
    said = _refused(tmp_path, TWO.replace("linear", "ties") + "parameters: {densty: 1, lambda: a}\n")
    assert [line.partition(":")[0] for line in said.splitlines()] == [
        "parameters.densty",
        "parameters.lambda",
        "models",
    ]


def test_what_has_no_effect_is_said_and_not_refused(tmp_path: Path) -> None:
    recipe = _read(
        tmp_path,
        "merge_method: task_arithmetic\nbase_model: b\nmodels:\n"
        "- {model: b, parameters: {weight: 1}}\n- {model: a, parameters: {weight: 1, lambda: 2, select_topk: 1}}\n"
        "parameters: {t: 0.5, density: 0.5, int8_mask: true}\n",
    )
    assert notes(recipe) == (
        "parameters.t has no effect: task_arithmetic has no such parameter.",
        "parameters.density has no effect: task_arithmetic takes it and does not use it.",
        "models.0.parameters.weight has no effect: the base is what the others are compared with.",
        "models.1.parameters.lambda has no effect: it is of whole tensors; write it outside the model.",
        "models.1.parameters.select_topk has no effect: task_arithmetic has no such parameter.",
    )


# names of models, and the way back


def test_models_are_named_in_two_ways(tmp_path: Path) -> None:
    recipe = _read(tmp_path, EVERYTHING)
    assert models_of(recipe) == ("org/base@main", "org/one@v1+org/adapter@v2", "models/two+models/adapter")
    assert [model_reference(model) for model in models_of(recipe)] == [
        ("org/base@main", None),
        ("org/one@v1", "org/adapter@v2"),
        ("models/two", "models/adapter"),
    ]
    assert recipe.dtype == "float32"


@pytest.mark.parametrize("text", [TWO, SLICES, MODULES, EVERYTHING, *[path.read_text("utf-8") for path in EXAMPLES]])
def test_a_recipe_comes_back_from_yaml(text: str, tmp_path: Path) -> None:
    recipe = _read(tmp_path, text)
    assert _read(tmp_path, recipe_yaml(recipe)) == recipe
    spec = MergeSpec(recipe=recipe)
    assert parse(MergeSpec, read_yaml(_file(tmp_path, to_yaml(spec))), source="") == spec


TEXTS = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12) | st.sampled_from(
    [
        "no",
        "Yes",
        "~",
        "null",
        "1e-4",
        "0o7",
        "1_000",
        "12:30",
        "2020-01-01",
        "<<",
        "=",
        "- a",
        "a: b",
        "a #b",
        ".5",
        "y",
    ]
)


@given(TEXTS, st.floats(allow_nan=False, allow_infinity=False))
def test_any_text_and_number_comes_back_from_yaml(text: str, number: float) -> None:
    from io import StringIO

    from ruamel.yaml import YAML

    recipe = RecipeSpec.model_validate(
        {
            "merge_method": "ties",
            "models": [{"model": "a", "parameters": {"weight": [{"filter": text, "value": number}]}}],
            "tokenizer": {"tokens": {text: {}}},
        }
    )
    written = recipe_yaml(recipe)
    for version in ((1, 1), (1, 2)):
        yaml = YAML(typ="safe", pure=True)
        yaml.version = version
        assert RecipeSpec.model_validate(yaml.load(StringIO(written))) == recipe


MERGEKIT = """
import json, sys, yaml
from mergekit.config import MergeConfiguration
for line in sys.stdin:
    theirs, ours = (MergeConfiguration.model_validate(yaml.safe_load(text)) for text in json.loads(line))
    print("equal" if theirs == ours else (theirs, ours))
"""


def test_mergekit_reads_the_same_recipe(tmp_path: Path) -> None:
    """What mergekit makes of a recipe and of the recipe that was read and written here is equal."""
    python = os.environ.get("IKYOKU_MERGEKIT")
    if not python:
        pytest.skip("IKYOKU_MERGEKIT does not name the python of an environment with mergekit 0.1.5")
    texts = [TWO, SLICES, MODULES, EVERYTHING, *(path.read_text("utf-8") for path in EXAMPLES)]
    # What YAML 1.1 and 1.2 read differently means the same as a parameter; here the objects must be equal.
    for old, new in (("1e-", "1.0e-"), ("normalize: yes", "normalize: true"), ("normalize: no}", "normalize: false}")):
        texts = [text.replace(old, new).replace("torch.float32", "float32") for text in texts]
    pairs = [json.dumps([text, recipe_yaml(_read(tmp_path, text))]) for text in texts]
    done = subprocess.run(
        [python, "-c", MERGEKIT], input="\n".join(pairs), capture_output=True, text=True, check=False, timeout=300
    )
    assert done.stdout.splitlines() == ["equal"] * len(texts), done.stdout + done.stderr


def test_a_number_beyond_all_is_no_number() -> None:
    with pytest.raises(SpecError, match="is no number"):
        read(10**400, float)
