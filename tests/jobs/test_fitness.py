"""What a candidate is worth: the same questions in the same order, scored as an evaluation scores them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import ikyoku
from ikyoku.datasets import splits
from ikyoku.datasets.exams import read_exam, select, write_exam
from ikyoku.errors import ModelError, SpecError
from ikyoku.jobs.fitness import Fitness, ask, check_finite, final_items, probability, warm_up
from ikyoku.lab.pocket import world_of
from ikyoku.models.local import LocalBase, LocalModel
from ikyoku.prompts import PROMPT_FORMATS
from ikyoku.specs import ExamSpec, FitnessSpec
from ikyoku.types import Completion, Prompt, Question, SamplingParams

WORLD = world_of("tiny", seed=0)


class Parrot:
    """Answers every prompt with the same text."""

    def __init__(self, text: str) -> None:
        self.text = text

    def generate(self, prompts: Sequence[Prompt], params: SamplingParams) -> list[Completion]:
        return [Completion(self.text, "stop", 1) for _ in prompts]


def given(path: Path, questions: Sequence[Question]) -> splits.Given:
    write_exam(path, questions)
    exam = read_exam(path)
    return splits.Given(path, path.stem, exam, select(exam, "text-only"))


def fitness(
    folder: Path, *metrics: str, questions: Sequence[Question] = WORLD.dev, held_out: float = 0.0, **more: Any
) -> Fitness:
    one = given(folder / "mine.jsonl", questions)
    developments, _ = splits.part([one] * len(metrics), [])
    exam = ExamSpec(path=str(one.path), items="text-only")
    specs = [FitnessSpec.model_validate({"exam": exam.model_dump(), "metric": m} | more) for m in metrics]
    forms = [PROMPT_FORMATS[s.format] for s in specs]
    return Fitness(developments, specs, forms, held_out=held_out, seed=0)


@pytest.fixture(scope="module")
def tuned(tiny_bases: dict[str, Path], tiny_tuned: Path) -> LocalModel:
    return LocalBase(str(tiny_bases["tiny-ja"])).model(name="tuned", adapter=str(tiny_tuned), batch_size=8)


def test_a_test_split_does_not_fit_in(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    _, (test,) = splits.part([given(tmp_path / "a.jsonl", WORLD.dev)], [given(tmp_path / "b/c.jsonl", WORLD.test)])
    spec = FitnessSpec(exam=ExamSpec(path=str(tmp_path / "b/c.jsonl")))
    with pytest.raises(TypeError, match="not Test: nothing is chosen by a test"):
        Fitness([test], [spec], [PROMPT_FORMATS["alpaca-ja"]], held_out=0, seed=0)  # type: ignore[list-item]
    items = final_items(test, spec.exam, spec, PROMPT_FORMATS["alpaca-ja"])
    assert sorted(i.sample.id for i in items) == sorted(q.id for q in WORLD.test)
    with pytest.raises(ValueError, match="not the questions of"):
        final_items(test, ExamSpec(path=str(tmp_path / "a.jsonl")), spec, PROMPT_FORMATS["alpaca-ja"])


def test_one_order_for_all_and_the_held_out_apart(tmp_path: Path) -> None:
    asked = [fitness(tmp_path, "likelihood", "gestalt", held_out=0.3) for _ in range(2)]
    assert asked[0].search == asked[1].search and len(asked[0].search) == 14 and len(asked[0].held_out) == 6
    searched = {i.sample.id for i in asked[0].search}
    assert not searched & {i.sample.id for i in asked[0].held_out}, "held out for both metrics"
    assert {i.part for i in asked[0].search[:7]} == {0, 1}, "the entries are mixed"


def test_weights_and_shares_agree(tmp_path: Path) -> None:
    numbers = [replace(q, id=f"n{i}", choices=(), accepted=(), numbers=("3",)) for i, q in enumerate(WORLD.retention)]
    made = fitness(tmp_path, "extracted_accuracy", "exact_match", questions=[*WORLD.dev, *numbers[:4]], weight=1.5)
    assert made.left_out == (0, 4)
    scores = [(n * 7 % 5) / 4 for n in range(len(made.search))]
    first, second = made.means(made.search, scores)
    assert first is not None and second is not None
    assert made.value(made.search, scores) == pytest.approx((first + second) / 2)
    contributions = [s * share for s, share in zip(scores, made.shares(made.search), strict=True)]
    assert math.fsum(contributions) / len(contributions) == pytest.approx(made.value(made.search, scores))
    only = [i for i in made.search if i.part == 0]
    assert made.means(only, [1.0] * len(only)) == (1.0, None) and made.value(only, [1.0] * len(only)) == 1.0
    with pytest.raises(ValueError, match="no items"):
        made.value((), ())


def test_scores_are_those_of_an_evaluation(
    tuned: LocalModel, tiny_bases: dict[str, Path], tiny_tuned: Path, tmp_path: Path
) -> None:
    questions = [*WORLD.dev, *WORLD.test[:6]]
    made = fitness(tmp_path, "extracted_accuracy", "gestalt", "likelihood", questions=questions)
    found: dict[tuple[str, str], float] = {}
    batches = list(ask(tuned, made.search, batch_size=5, max_new_tokens=8))
    assert [len(b) for b in batches] == [5] * 9 + [3]
    for item, judged in zip(made.search, (j for b in batches for j in b), strict=True):
        found[item.measure.metric, item.sample.id] = judged.score
    spec = ikyoku.EvaluateSpec.model_validate(
        {
            "models": [{"path": str(tiny_bases["tiny-ja"]), "adapter": str(tiny_tuned)}],
            "exams": [{"path": str(tmp_path / "mine.jsonl")}],
            "max_new_tokens": 8,
            "batch_size": 8,
        }
    )
    done = ikyoku.evaluate(spec, root=tmp_path / "runs")
    lines = (done.folder / "samples.jsonl").read_text(encoding="utf-8").splitlines()
    wanted = {}
    for record in map(json.loads, lines):
        for metric, name in (("extracted_accuracy",) * 2, ("gestalt", "gestalt_score"), ("likelihood", "acc")):
            wanted[metric, record["id"]] = round(record["scores"][name], 6)
    assert found == wanted
    assert 0 < sum(found.values()) < len(found), "some are right and some are wrong"
    before = [j for b in batches[:8] for j in b]
    tail = [j for b in ask(tuned, made.search, batch_size=5, max_new_tokens=8, done=before) for j in b]
    assert tail == [j for b in batches[8:] for j in b], "an interrupted evaluation goes on"


def test_the_probability_is_finer_than_the_likelihood(tuned: LocalModel, tmp_path: Path) -> None:
    fine, coarse = (fitness(tmp_path, metric) for metric in ("probability", "likelihood"))
    warm_up(tuned, fine.search)
    scores = [
        {
            i.sample.id: j.score
            for i, j in zip(
                f.search, (j for b in ask(tuned, f.search, batch_size=4, max_new_tokens=1) for j in b), strict=True
            )
        }
        for f in (fine, coarse)
    ]
    assert all(0 <= p <= 1 for p in scores[0].values()) and any(0 < p < 1 for p in scores[0].values())
    assert all(scores[1][name] == 1 for name, p in scores[0].items() if p > 0.5)
    letters = fitness(tmp_path, "probability", format="letters-ja")
    assert all(0 <= j.score <= 1 for b in ask(tuned, letters.search, batch_size=16, max_new_tokens=1) for j in b)


def test_the_gate_counts_other_languages_as_wrong(tmp_path: Path) -> None:
    right = Question("1", "診断はどれか。", ("pneumonia", "肺癌"), (frozenset({0}),))
    other = Question("2", "下垂体が出すのはどれか。", ("ACTH", "インスリン"), (frozenset({0}),))
    for gate in (False, True):
        made = fitness(tmp_path, "gestalt", questions=[right, other], japanese=gate)
        for text, scores in (("ACTH", 1.0), ("pneumonia", 1.0), ("ACTH is the answer", 0.0 if gate else 0.4)):
            judged = [j for b in ask(Parrot(text), made.search, batch_size=2, max_new_tokens=9) for j in b]  # type: ignore[arg-type]
            best = max(j.score for j in judged)
            assert best == 1.0 if scores == 1.0 else (best == 0.0) == gate, text
            assert all(j.japanese for j in judged) == (text == "ACTH") or text == "pneumonia"


def test_what_cannot_be_had_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="a model reasons first"):
        fitness(tmp_path, "likelihood", format="reasoning-ja")
    with pytest.raises(SpecError, match="japanese looks at replies"):
        fitness(tmp_path, "probability", japanese=True)
    number = Question("1", "何日か。", (), (), numbers=("3",))
    with pytest.raises(SpecError, match="gestalt is defined for none"):
        fitness(tmp_path, "gestalt", questions=[number])
    with pytest.raises(SpecError, match="leaves no question to search on"):
        fitness(tmp_path, "gestalt", questions=WORLD.dev[:1], held_out=0.9)


def test_a_limit_takes_part_of_the_questions(tmp_path: Path) -> None:
    made = fitness(tmp_path, "gestalt", "likelihood", limit=6, held_out=0.5)
    assert len(made.search) == 6 and len(made.held_out) == 6
    assert len({i.sample.id for i in made.everything}) == 6, "the same ones for both"


def test_weights_that_are_no_numbers_are_refused(tiny_bases: dict[str, Path]) -> None:
    import torch

    from ikyoku.models.loading import load_weights

    model = load_weights(str(tiny_bases["tiny-ja"]), dtype="auto", quantization="none", trust_remote_code=False)
    check_finite(model)
    with torch.no_grad():
        model.model.norm.weight[3] = torch.nan
    with pytest.raises(ModelError, match=r"norm\.weight: a weight of this candidate is not a finite number"):
        check_finite(model)


def test_the_probability_of_sums() -> None:
    assert probability([-1000.0, -1000.0], [True, False]) == 0.5, "no underflow"
    assert probability([-1.0, -50.0, -1.0], [True, False, True]) == pytest.approx(1.0)
