"""What the task of an examination makes of a reply."""

from __future__ import annotations

from ikyoku.tasks import harness_scores, paper_scores
from ikyoku.types import Question, Reply

EITHER = Question("1", "どれか。", ("胃癌", "肝癌", "膵癌", "肺癌", "腎癌"), (frozenset({0}), frozenset({3})))


def test_every_accepted_set_counts_in_every_metric_of_the_paper() -> None:
    for reply in ("胃癌", "肺癌"):
        assert paper_scores(Reply(reply), EITHER) == {"accuracy": 1.0, "exact_match": 1.0, "gestalt_score": 1.0}
    assert paper_scores(Reply("肺癌です"), EITHER)["gestalt_score"] == 2 * 2 / (4 + 2)
    assert paper_scores(Reply("肝癌"), EITHER) == {"accuracy": 0.0, "exact_match": 0.0, "gestalt_score": 0.5}


def test_the_harness_knows_the_first_set_only() -> None:
    assert harness_scores(Reply("胃癌"), EITHER) == {"harness_accuracy": 1.0, "harness_exact_match": 1.0}
    assert harness_scores(Reply("肺癌"), EITHER) == {"harness_accuracy": 0.0, "harness_exact_match": 0.0}


def test_the_harness_reads_the_first_line_and_the_paper_all() -> None:
    reply = Reply("胃癌\n肝癌ではない。肝癌は肝臓の癌である。")
    assert harness_scores(reply, EITHER) == {"harness_accuracy": 1.0, "harness_exact_match": 1.0}
    assert paper_scores(reply, EITHER)["exact_match"] == 0.0
