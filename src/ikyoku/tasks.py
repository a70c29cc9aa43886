"""A task is a prompt, scorers and a headline: pure functions with names, in the table TASKS."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ikyoku.answers import asked_count, first_line
from ikyoku.metrics import choice
from ikyoku.prompts import exam_prompt
from ikyoku.types import Prompt, Question, Reply

Scorer = Callable[[Reply, Question], Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class Task:
    """What is asked and how it is scored.

    `prompt` lays out a question (arguments as those of `exam_prompt`); `headline` is the score that tables put first
    and tests compare.
    """

    name: str
    prompt: Callable[..., Prompt]
    scorers: Mapping[str, Scorer]
    headline: str


def paper_scores(reply: Reply, question: Question) -> dict[str, float]:
    """Returns the three metrics of JMedLoRA, each from 0 to 1.

    The paper defines them for one right option. Where a question asks for more ("2つ選べ"), the reply is compared with
    the right options' texts joined by commas, and the accuracy asks whether the nearest options, as many as the
    question asks for, are the right ones. Where several sets of options are accepted (a key such as "a or d"), each
    metric is that of the set which the reply is best for.

    Reference:
        Sukeda et al., "Development and analysis of medical instruction-tuning for Japanese large language models",
        Artificial Intelligence in Health 1(2), 2024, Evaluation metrics.
    """
    count = min(asked_count(question.text), len(question.choices))
    golds = [[question.choices[i] for i in sorted(accepted)] for accepted in question.accepted]
    return {
        "accuracy": choice.accuracy(reply.text, question.choices, question.accepted, count=count),
        "exact_match": max(choice.exact_match(reply.text, gold) for gold in golds),
        "gestalt_score": max(choice.gestalt_score(reply.text, gold) for gold in golds),
    }


def harness_scores(reply: Reply, question: Question) -> dict[str, float]:
    """Returns the two figures of the authors' published harness, faults included.

    Like the harness since October 2024 (commit ef9544a) it looks at the reply's first line only, and knows one set of
    right options, the first.
    """
    line = first_line(reply.text)
    return {
        "harness_accuracy": choice.harness_gestalt_match(line, question.choices, question.gold),
        "harness_exact_match": choice.harness_exact_match(line, question.gold),
    }


TASKS: Mapping[str, Task] = {
    "exam": Task("exam", exam_prompt, {"paper": paper_scores, "harness": harness_scores}, "accuracy"),
}
