"""What a candidate is worth: development questions, asked as `ikyoku evaluate` asks them, or reports; one number each.

All candidates are asked the same questions in the same order, shuffled once by the seed and asked in batches, so that
two of them can be compared question by question after any batch. A test split does not fit in here: `Fitness` takes
`Development` alone.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ikyoku.datasets.radiographs import Radiograph
from ikyoku.datasets.splits import Development, Test, drawn, hold_out
from ikyoku.errors import ModelError, SpecError
from ikyoku.jobs.plan import plan
from ikyoku.jobs.records import sample_scores
from ikyoku.metrics.language import is_japanese
from ikyoku.metrics.reports import Reference, report_score
from ikyoku.morphology import wakati, words
from ikyoku.pictures import read_picture
from ikyoku.prompts import MOST_PIXELS, REPORT_INSTRUCTION, PromptFormat, report_prompt, set_letters, set_text
from ikyoku.specs import EvaluateSpec, ExamSpec, FitnessSpec, ModelSpec, RadiographsSpec
from ikyoku.tasks import answer_sets, likelihood_scores, reply_text
from ikyoku.types import Prompt, Question, Reply, SamplingParams

if TYPE_CHECKING:
    from ikyoku.models.local import LocalModel

LIKELIHOODS = ("likelihood", "probability")
"""Metrics for which no text is generated."""
CHOICE_ONLY = ("exact_match", "gestalt", *LIKELIHOODS)
"""Metrics that are not defined for a question without options."""
_DIGITS = 6  # of a score: what is recorded is what is counted
_TRIED = 8  # prompts of either kind in a warm-up: not every question's options branch


@dataclass(frozen=True, slots=True)
class Measure:
    """How questions are asked and what counts: one entry of a spec's fitness, or the test's own."""

    name: str
    metric: str
    form: PromptFormat
    weight: float = 1.0
    japanese: bool = False
    reports: bool = False


@dataclass(frozen=True, slots=True)
class Item:
    """One question or radiograph as it is put to every candidate; `part` tells the entry of the fitness it is of."""

    part: int
    measure: Measure
    sample: Question | Radiograph
    prompt: Prompt


@dataclass(frozen=True, slots=True)
class Judged:
    """One reply's score, and whether it was Japanese (None where none was generated); the reply itself of a report."""

    score: float
    japanese: bool | None
    text: str | None = None


class Fitness:
    """The development questions of a search: `search` is what candidates are asked, `held_out` what only the best are.

    `left_out` counts, by entry, the questions that its metric is not defined for.
    """

    def __init__(
        self,
        developments: Sequence[Development],
        specs: Sequence[FitnessSpec],
        forms: Sequence[PromptFormat],
        *,
        held_out: float,
        seed: int,
    ) -> None:
        """Lays out the questions.

        Args:
            developments: one for each entry of the spec's fitness.
            specs: the entries.
            forms: their prompt formats.
            held_out: share of the questions of each that no candidate is searched on.
            seed: decides which these are, and the order of all.

        Raises:
            TypeError: something else than a development split is given.
            SpecError: a metric and a format do not go together, or an entry has no question.
            DataError: a demonstration is among the questions.
        """
        if wrong := [type(d).__name__ for d in developments if not isinstance(d, Development)]:
            raise TypeError(f"a fitness takes development splits, not {wrong[0]}: nothing is chosen by a test")
        self.measures = tuple(map(_measure, specs, forms))
        found: list[list[Item]] = []
        left_out: list[int] = []
        for part, (development, spec, measure) in enumerate(zip(developments, specs, self.measures, strict=True)):
            if spec.reports:
                items = report_items(part, measure, development, spec.instruction)
            else:
                taken = drawn(development.samples, spec.limit or development.selection.count, seed=seed)
                items = [i for i in _items(part, measure, development, spec) if i.sample.id in taken]
            found.append([i for i in items if _defined(i)])
            left_out.append(len(items) - len(found[-1]))
            if not found[-1]:
                raise SpecError(
                    f"fitness.{part}: {measure.metric} is defined for none of the questions of {spec.source.path}."
                )
        self.left_out = tuple(left_out)
        folds = hold_out([[i.sample for i in items] for items in found], share=held_out, seed=seed)
        order = [item for items in found for item in items]
        random.Random(f"{seed}|order").shuffle(order)
        self.search = tuple(i for i in order if i.sample.id not in folds[i.part])
        self.held_out = tuple(i for i in order if i.sample.id in folds[i.part])
        if missing := {*range(len(specs))} - {i.part for i in self.search}:
            raise SpecError(f"held_out: leaves no question to search on of fitness.{min(missing)}. Lower it.")

    @property
    def everything(self) -> tuple[Item, ...]:
        """The questions of both folds, those of the search first."""
        return self.search + self.held_out

    def means(self, items: Sequence[Item], scores: Sequence[float]) -> tuple[float | None, ...]:
        """Returns the mean score of each entry over `items`, None for one of which there are none."""
        found: list[list[float]] = [[] for _ in self.measures]
        for item, score in zip(items, scores, strict=True):
            found[item.part].append(score)
        return tuple(math.fsum(values) / len(values) if values else None for values in found)

    def value(self, items: Sequence[Item], scores: Sequence[float]) -> float:
        """Returns the weighted mean of the entries' means: what is maximised.

        Raises:
            ValueError: there are no items.
        """
        means = self.means(items, scores)
        there = [(m.weight, mean) for m, mean in zip(self.measures, means, strict=True) if mean is not None]
        if not there:
            raise ValueError("no items: there is nothing to take the mean of")
        return math.fsum(w * mean for w, mean in there) / math.fsum(w for w, _ in there)

    def shares(self, items: Sequence[Item]) -> tuple[float, ...]:
        """Returns what each item's score is multiplied with so that the plain mean over the items is `value`."""
        total = math.fsum(m.weight for m in self.measures)
        counts = [sum(i.part == part for i in items) for part in range(len(self.measures))]
        return tuple(i.measure.weight / total * len(items) / counts[i.part] for i in items)


def final_items(
    test: Test, given: ExamSpec | RadiographsSpec, like: FitnessSpec, form: PromptFormat
) -> tuple[Item, ...]:
    """Returns the questions of a test split as a fitness is asked, scored as right or wrong.

    Where that fitness generates, by the answer read out of the reply; else by the likeliest option. The longest prompt
    is first; the gate is off: whether replies are Japanese is counted beside it. Of radiographs the first metric is the
    study's; the replies are kept, and all metrics are computed of them.
    """
    if not isinstance(test, Test):
        raise TypeError(f"the final evaluation takes a test split, not {type(test).__name__}")
    if isinstance(given, RadiographsSpec):
        return tuple(report_items(0, Measure(test.name, "rouge_l", form, reports=True), test, like.instruction))
    metric = "likelihood" if like.metric in LIKELIHOODS else "extracted_accuracy"
    asked = like.model_copy(update={"exam": given, "reports": None})
    return tuple(i for i in _items(0, Measure(test.name, metric, form), test, asked) if _defined(i))


def ask(
    model: LocalModel, items: Sequence[Item], *, batch_size: int, max_new_tokens: int, done: Sequence[Judged] = ()
) -> Iterator[list[Judged]]:
    """Yields the scores of items in order, a batch at a time.

    A prompt that stands in several items, under several metrics, is answered once.

    Args:
        model: what is asked.
        items: the questions and radiographs.
        batch_size: items in a batch.
        max_new_tokens: longest reply.
        done: what was found of the first items before, whole batches of them: they are not asked again, and replies
            among them not made again for a later metric.

    Raises:
        ModelError: a likelihood is not a number.
    """
    known = zip(items, done, strict=False)
    replies = {(i.prompt, i.measure.form.stop): j.text for i, j in known if j.text is not None}
    for first in range(len(done), len(items), batch_size):
        batch = items[first : first + batch_size]
        found: dict[int, Judged] = {}
        for measure in dict.fromkeys(i.measure for i in batch):
            places = [n for n, i in enumerate(batch) if i.measure == measure]
            asked = [batch[n] for n in places]
            if measure.metric in LIKELIHOODS:
                judged = _ranked(model, measure, asked)
            else:
                _answer(model, measure, asked, replies, max_new_tokens)
                texts = [replies[i.prompt, measure.form.stop] for i in asked]
                judged = (_reported if measure.reports else _generated)(measure, asked, texts)
            found |= zip(places, judged, strict=True)
        yield [found[n] for n in range(len(batch))]


def warm_up(model: LocalModel, items: Sequence[Item]) -> None:
    """Has likelihoods scored once for the longest and the shortest prompts, on weights that are sound.

    At its first prompts a model is tried out for which of two ways of scoring it allows. That must not depend on which
    candidate happens to be the first, here or after an interruption.
    """
    ranked = sorted((i for i in items if i.measure.metric in LIKELIHOODS), key=lambda i: len(str(i.prompt)))
    some = dict.fromkeys([*ranked[-_TRIED:], *ranked[:_TRIED]])
    for measure in dict.fromkeys(i.measure for i in some):
        _ranked(model, measure, [i for i in some if i.measure == measure])


def check_finite(model: Any) -> None:
    """Refuses a model with a weight that is no number: generation would go on with it and answer anything.

    Raises:
        ModelError: naming the first such tensor.
    """
    import torch

    for name, tensor in model.named_parameters():
        if not torch.isfinite(tensor.sum(dtype=torch.float32)):
            raise ModelError(f"{name}: a weight of this candidate is not a finite number")


def probability(loglikelihoods: Sequence[float], right: Sequence[bool]) -> float:
    """Returns the probability of the right answers among all that are allowed: a softmax of their log-likelihoods.

    >>> round(probability([-1.0, -1.0, -1.0, -1.0], [True, False, False, False]), 3)
    0.25
    """
    most = max(loglikelihoods)
    shares = [math.exp(value - most) for value in loglikelihoods]
    return math.fsum(s for s, r in zip(shares, right, strict=True) if r) / math.fsum(shares)


def _measure(spec: FitnessSpec, form: PromptFormat) -> Measure:
    if spec.measured in LIKELIHOODS and form.reasoning:
        raise SpecError(f"fitness: {spec.metric} cannot be had of {form.name}, in which a model reasons first.")
    if spec.measured in LIKELIHOODS and spec.japanese:
        raise SpecError(f"fitness: japanese looks at replies, and {spec.metric} generates none. Leave one of them out.")
    return Measure(spec.name, spec.measured, form, spec.weight, spec.japanese, spec.reports is not None)


def report_items(part: int, measure: Measure, split: Development | Test, instruction: str | None) -> list[Item]:
    """Returns radiographs as they are put to a model: the first view, of at most `MOST_PIXELS` pixels a side.

    Raises:
        DataError: an image cannot be read, or is no chest X-ray.
    """
    found = []
    for sample in split.samples:
        if not isinstance(sample, Radiograph):
            raise TypeError(f"{split.name}: no radiographs")
        picture = read_picture(sample.images[0], longest=MOST_PIXELS).picture
        prompt = report_prompt([picture], measure.form, instruction=instruction or REPORT_INSTRUCTION)
        found.append(Item(part, measure, sample, prompt))
    return found


def _items(part: int, measure: Measure, split: Development | Test, spec: FitnessSpec) -> list[Item]:
    """The questions of a split as `ikyoku evaluate` lays them out, the longest prompt first."""
    if spec.exam is None:
        raise ValueError(f"{spec.name}: no exam")
    laid_out = EvaluateSpec(
        models=(ModelSpec(path="candidate"),), exams=(spec.exam,), formats=(spec.format,), shots=(spec.shots,)
    )
    (cell,) = plan(laid_out).cells
    if {a.question for a in cell.asked} != {*split.samples}:
        raise ValueError(f"{split.name}: not the questions of {spec.exam.path}")
    return [Item(part, measure, asked.question, asked.prompt) for asked in cell.asked]


def _defined(item: Item) -> bool:
    if item.measure.reports:
        return True
    if item.measure.metric in LIKELIHOODS:
        return bool(answer_sets(_question(item)))
    return bool(_question(item).choices) or item.measure.metric not in CHOICE_ONLY


def _question(item: Item) -> Question:
    if not isinstance(item.sample, Question):
        raise TypeError(f"{item.measure.name}: {item.sample.id} is no question")
    return item.sample


def _answer(
    model: LocalModel,
    measure: Measure,
    items: Sequence[Item],
    replies: dict[tuple[Prompt, tuple[str, ...]], str],
    most: int,
) -> None:
    """Generates the replies to prompts that are not among `replies`, and adds them."""
    params = SamplingParams(max_new_tokens=most, stop=measure.form.stop)
    new = list(dict.fromkeys(i.prompt for i in items if (i.prompt, params.stop) not in replies))
    for prompt, completion in zip(new, model.generate(new, params) if new else [], strict=True):
        replies[prompt, params.stop] = reply_text(completion.text, measure.form)


def _generated(measure: Measure, items: Sequence[Item], texts: Sequence[str]) -> list[Judged]:
    name = "gestalt_score" if measure.metric == "gestalt" else measure.metric
    found = []
    for item, text in zip(items, texts, strict=True):
        question = _question(item)
        known = "\n".join((question.case, question.text, *question.choices))
        japanese = is_japanese(text, known=known)
        score = sample_scores(Reply(text), question)[name]
        found.append(Judged(0.0 if measure.japanese and not japanese else round(score, _DIGITS), japanese))
    return found


def _reported(measure: Measure, items: Sequence[Item], texts: Sequence[str]) -> list[Judged]:
    found = []
    for item, text in zip(items, texts, strict=True):
        if not isinstance(item.sample, Radiograph):
            raise TypeError(f"{measure.name}: {item.sample.id} is no radiograph")
        japanese = is_japanese(text)
        score = report_score(measure.metric, text, _reference(item.sample.findings))
        found.append(Judged(0.0 if measure.japanese and not japanese else round(score, _DIGITS), japanese, text))
    return found


@lru_cache(maxsize=4096)  # every candidate's replies are held against the same references
def _reference(text: str) -> Reference:
    return Reference(text, words=words, wakati=wakati)


def _ranked(model: LocalModel, measure: Measure, items: Sequence[Item]) -> list[Judged]:
    form = measure.form
    letters = form.answer == "letters"
    questions = [_question(i) for i in items]
    sets = [answer_sets(question) for question in questions]
    texts = [
        [form.lead + (set_letters(s) if letters else set_text(question, s)) for s in own]
        for question, own in zip(questions, sets, strict=True)
    ]
    found = []
    scored = model.loglikelihood([i.prompt for i in items], texts)
    for question, own, values in zip(questions, sets, scored, strict=True):
        if values is None:  # too long for the model: wrong, as in an evaluation
            found.append(Judged(0.0, None))
        elif measure.metric == "probability":
            right = [frozenset(s) in question.accepted for s in own]
            found.append(Judged(round(probability(values, right), _DIGITS), None))
        else:
            reply = Reply("", letters=tuple(values)) if letters else Reply("", options=tuple(values))
            scores = likelihood_scores(reply, question)
            found.append(Judged(scores["letters_acc" if letters else "acc"], None))
    return found
