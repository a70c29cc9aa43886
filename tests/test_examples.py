"""The examples: each spec loads and runs dry as it is, or, tuning and merging, with models that are on this machine."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from pathlib import Path

import pytest

from ikyoku.datasets.exams import write_exam
from ikyoku.datasets.instructions import read_instructions
from ikyoku.errors import DataError
from ikyoku.jobs import evaluate, merge, translate, tune
from ikyoku.recipe import models_of, notes, read_recipe, recipe_yaml
from ikyoku.specfile import load, to_yaml
from ikyoku.specs import EvaluateSpec, EvolveSpec, MergeSpec, RecipeSpec, Spec, TranslateSpec, TuneSpec
from ikyoku.types import Conversation, Instruction, Question

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
SPECS = sorted(EXAMPLES.glob("*.yaml"))
TUNE = [path for path in SPECS if path.name.startswith("tune-")]
MERGE = [path for path in SPECS if path.name.startswith("merge-")]
KINDS: dict[str, type[Spec]] = {"tune": TuneSpec, "evaluate": EvaluateSpec, "merge": RecipeSpec, "evolve": EvolveSpec}
KINDS["translate"] = TranslateSpec
EVALUATE = EXAMPLES / "evaluate-igakuqa.yaml"

each_tuning = pytest.mark.parametrize("path", TUNE, ids=lambda p: p.stem)
each_recipe = pytest.mark.parametrize("path", MERGE, ids=lambda p: p.stem)


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # the examples name their data from there


def _exam(folder: Path) -> Path:
    """Seven questions: five that the list of the example asks, one with an image, one with four choices."""
    five = ("甲", "乙", "丙", "丁", "戊")
    path = folder / "exam.jsonl"
    asked = [Question(f"112A{n}", f"第{n}問。正しいのはどれか。", five, (frozenset({n % 5}),)) for n in range(1, 6)]
    image = Question("112A6", "写真を示す。", five, (frozenset({0}),), text_only=False)
    four = Question("112A7", "どれか。", five[:4], (frozenset({0}),))
    write_exam(path, [*asked, image, four])
    return path


def test_every_example_belongs_to_a_verb() -> None:
    first = {path.stem.split("-")[0] for path in SPECS}
    assert {"tune", "evaluate", "merge", "evolve"} <= first <= {*KINDS, "jradievo", "pocket"}
    assert (len(TUNE), len(MERGE)) == (3, 4)


# tuning


@each_tuning
def test_a_tuning_runs_dry_as_it_is(path: Path) -> None:
    spec = load(TuneSpec, path)
    text = tune.dry_run(spec)
    assert f"base      {spec.model.path} " in text
    assert "12 instruction pairs" in text
    assert "The model is not on this machine, so nothing was tokenised" in text
    assert "胆汁を産生する臓器はどこか。" in text
    assert text.endswith("⟦肝臓⟧")
    for step in (*spec.keep_steps, spec.steps):
        assert f"step {step}" in text


def told(runs: str) -> list[str]:
    """The tokens of a line in which a token that repeats is written once, with how often."""
    found = (re.fullmatch(r"(.+?)(?:×(\d+))?", part) for part in runs.split())
    return [match[1] for match in found if match for _ in range(int(match[2] or 1))]


@each_tuning
@pytest.mark.parametrize("data", ["instructions", "conversations"])
def test_a_tuning_runs_dry_with_a_model(path: Path, data: str, tiny_bases: dict[str, Path]) -> None:
    for folder in tiny_bases.values():
        spec = load(TuneSpec, path, [f"model.path={folder}", f"data=examples/data/{data}.jsonl"])
        text = tune.dry_run(spec)
        assert "not on this machine" not in text
        assert re.search(r"^tokens    \d+ to \d+ a sample, median \d+; \d+% of them learnt$", text, re.M)
        ids, labels = (told(re.findall(rf"^{name} +(.*)$", text, re.M)[0]) for name in ("ids", "labels"))
        assert len(ids) == len(labels)
        assert 0 < sum(label != "·" for label in labels) < len(labels)
        assert all(label in ("·", token) for token, label in zip(ids, labels, strict=True))
        answer = "肝臓" if data == "instructions" else "右心房にある洞結節"
        assert answer in "".join(re.findall(r"⟦([^⟧]*)⟧", text.replace(" ", "")))


@each_tuning
def test_a_sample_that_is_too_long_is_refused_by_name(path: Path, tiny_bases: dict[str, Path]) -> None:
    spec = load(TuneSpec, path, [f"model.path={tiny_bases['tiny-ja']}", "max_length=8"])
    with pytest.raises(DataError, match=r"12 of 12 samples are longer than max_length 8 \(line-1: \d+ tokens; "):
        tune.dry_run(spec)


def test_the_studies_settings() -> None:
    """JMedLoRA, journal version, Table 1; the seven modules are `all linear layers` of Llama 2."""
    lora, qlora = (load(TuneSpec, EXAMPLES / f"tune-{name}.yaml") for name in ("opencalm-7b-lora", "llama2-70b-qlora"))
    found = [
        (s.model.quantization, s.learning_rate, s.batch_size, s.lora.rank, s.lora.alpha, s.lora.dropout)
        for s in (lora, qlora)
    ]
    assert found == [("none", 5e-5, 8, 8, 32, 0.05), ("nf4", 2e-4, 8, 64, 16, 0.1)]
    assert [(*s.keep_steps, s.steps) for s in (lora, qlora)] == [(1000, 3000, 10000), (900, 3000)]
    assert lora.max_length == qlora.max_length == 512 + 512
    assert (lora.lora.target_modules, len(qlora.lora.target_modules)) == (("query_key_value",), 7)
    assert qlora.micro_batch_size == 1


# evaluation


def test_the_evaluation_plans_every_cell(tmp_path: Path) -> None:
    exam = _exam(tmp_path)
    spec = load(EvaluateSpec, EVALUATE, [f"exams.0.path={exam}"])
    planned = evaluate.plan(spec)
    ((_, chosen),) = planned.selections
    assert [q.id for q in chosen.questions] == [f"112A{n}" for n in range(1, 6)]
    assert len({cell.key for cell in planned.cells}) == len(planned.cells) == 2 * 3 * 2
    assert {len(cell.asked) for cell in planned.cells} == {5}
    assert Counter(cell.model.name for cell in planned.cells) == {"Swallow-70B": 6, "MedSwallow-70B": 6}
    text = evaluate.dry_run(spec)
    assert "IgakuQA: text-only-5-choice, 5 questions" in text
    assert "1 omitted: needs an image that is not in the data" in text
    assert "replies   60 in 12 cells, at most 256 tokens each" in text


def test_the_evaluation_says_that_its_exam_is_not_here(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file"):
        evaluate.plan(load(EvaluateSpec, EVALUATE, [f"exams.0.path={tmp_path / 'igakuqa'}"]))


def test_the_own_exam_is_read_by_its_columns() -> None:
    spec = load(EvaluateSpec, EXAMPLES / "evaluate-own-exam.yaml")
    planned = evaluate.plan(spec)
    ((_, chosen),) = planned.selections
    assert [(q.id, sorted(q.answer), q.specialty) for q in chosen.questions][2] == ("院内-3", [0, 3], "血液")
    assert list(planned.formats) == ["medical-top-ja", "letters-ja", "chat-reasoning-ja", "format"]
    assert planned.replies == 2 * 4 * 2 * 3 * len(chosen.questions)
    template = next(c for c in planned.cells if c.form.name == "format" and c.shots == 3)
    text = next(a for a in template.asked if a.question.id == "院内-4" and a.order == 0).prompt.text
    assert text.startswith("あなたは当院の研修医です。設問に記号で答えてください。\n設問　")
    assert text.endswith("設問　成人の脳神経は何対か。\na. 8対\nb. 10対\nc. 12対\nd. 14対\ne. 31対\n解答　")
    assert text.count("解答　") == 4
    said = evaluate.dry_run(spec)
    assert "text-only, 4 questions" in said
    assert "options in 3 orders" in said
    assert "not ready runs/tune-8b/artifact/adapter: no adapter_config.json" in said


def test_the_server_is_planned_without_reaching_it(tmp_path: Path) -> None:
    spec = load(EvaluateSpec, EXAMPLES / "evaluate-server.yaml", [f"exams.0.path={_exam(tmp_path)}"])
    assert [m.name for m in spec.models] == ["70B on the server", "base-8b"]
    assert "replies   20 in 4 cells" in evaluate.dry_run(spec)


# merging


@each_recipe
def test_a_recipe_runs_dry_with_models(path: Path, tiny_bases: dict[str, Path], tmp_path: Path) -> None:
    """Copies of a tiny model stand in for the hub's, and its layers for theirs."""
    recipe = read_recipe(path)
    assert notes(recipe) == ()
    text = path.read_text(encoding="utf-8").replace("[0, 32]", "[0, 2]")
    for number, model in enumerate(models_of(recipe)):
        shutil.copytree(tiny_bases["tiny-ja"], tmp_path / f"model-{number}")
        text = text.replace(f"model: {model}\n", f"model: {tmp_path}/model-{number}\n")
    (tmp_path / "recipe.yaml").write_text(text, encoding="utf-8")
    said = merge.dry_run(MergeSpec(recipe=read_recipe(tmp_path / "recipe.yaml")))
    assert f"{recipe.merge_method}: " in said
    for number in range(len(models_of(recipe))):
        assert f"{tmp_path}/model-{number}" in said


def test_the_third_studys_recipe() -> None:
    """What it merges and searches: JRadiEvo, released code; its base and four models are the paper's."""
    recipe = read_recipe(EXAMPLES / "merge-jradievo.yaml")
    assert (recipe.base_model, len(recipe.models)) == ("meta-llama/Meta-Llama-3-8B", 4)
    assert recipe.parameters == {"weight": 0.5, "density": 0.5, "drop": 0.5, "lambda": 1.0}


@each_recipe
def test_a_recipe_comes_back_from_what_is_written(path: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text(recipe_yaml(read_recipe(path)), encoding="utf-8")
    assert read_recipe(tmp_path / "recipe.yaml") == read_recipe(path)


# translating


def test_the_translation_runs_dry_with_the_hospitals_words() -> None:
    said = translate.dry_run(load(TranslateSpec, EXAMPLES / "translate-reports.yaml"))
    assert "reports   4, 4 findings, 3 impression" in said
    assert "First prompt (a1, findings):" in said
    assert "- pleural effusion：胸水貯留\n" in said
    assert "- pneumothorax：気胸\n" in said


# the files


@pytest.mark.parametrize("path", SPECS, ids=lambda p: p.stem)
def test_the_record_of_an_example_gives_it_back(path: Path, tmp_path: Path) -> None:
    kind = KINDS.get(path.stem.split("-")[0], EvolveSpec)  # the third study's bear its name
    spec = load(kind, path)
    (tmp_path / "spec.yaml").write_text(to_yaml(spec), encoding="utf-8")
    assert load(kind, tmp_path / "spec.yaml") == spec
    assert spec.model_dump()["name"] != "run"


def test_the_data() -> None:
    pairs = read_instructions(EXAMPLES / "data" / "instructions.jsonl")
    assert len(pairs) == 12
    assert {type(p) for p in pairs} == {Instruction}
    assert len({(p.instruction, p.input) for p in pairs if isinstance(p, Instruction)}) == 12
    chats = read_instructions(EXAMPLES / "data" / "conversations.jsonl")
    assert len(chats) == 4
    assert {type(c) for c in chats} == {Conversation}
