"""The study's metrics under its names against figures of its released code (JRadiEvo, commit 7c55003).

The file holds them to 12 decimals. The word-level values that stand beside them are this project's own.
"""

import json
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from ikyoku.metrics.overlap import JRADIEVO, bleu, meteor, rouge_l
from ikyoku.metrics.reports import METRICS, report_scores
from ikyoku.morphology import wakati, words

NAMES = ["rouge_l", "bleu_1", "bleu_2", "bleu_3", "bleu_4", "meteor"]


@pytest.fixture(scope="module")
def rows(shared: Callable[[str], Path]) -> list[dict[str, Any]]:
    text = shared("reference/parity/jradievo_metrics.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="module")
def scored(rows: list[dict[str, Any]]) -> list[dict[str, float]]:
    return [report_scores(row["hypothesis"], row["reference"], words=words, wakati=wakati) for row in rows]


def test_every_row_is_there(rows: list[dict[str, Any]]) -> None:
    assert len(rows) == 68
    assert all(set(NAMES) <= row.keys() for row in rows)


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_is_reproduced(name: str, rows: list[dict[str, Any]], scored: list[dict[str, float]]) -> None:
    apart = [abs(found[f"jradievo_{name}"] - row[name]) for found, row in zip(scored, rows, strict=True)]
    assert max(apart) < 1e-12


def test_they_come_from_the_texts_as_they_are(rows: list[dict[str, Any]], scored: list[dict[str, float]]) -> None:
    """What the study did, step by step: no folding, words by white space, BLEU of the string itself."""
    for row, found in zip(rows, scored, strict=True):
        one, other = wakati(row["hypothesis"]), wakati(row["reference"])
        assert found["jradievo_rouge_l"] == rouge_l(one.split(), other.split())
        assert found["jradievo_meteor"] == meteor(one.split(), other.split())
        assert found["jradievo_bleu_3"] == bleu(one, other, weights=JRADIEVO)[3]


def test_the_values_of_words_stand_beside_them(scored: list[dict[str, float]]) -> None:
    assert all(found.keys() == METRICS.keys() for found in scored)
    means = {name: fmean(found[name] for found in scored) for name in METRICS}
    for n in range(1, 5):
        assert means[f"bleu_{n}"] < means[f"jradievo_bleu_{n}"], "characters and spaces flatter"
    assert means["rouge_l"] == pytest.approx(means["jradievo_rouge_l"], abs=0.02)
    assert means["meteor"] == pytest.approx(means["jradievo_meteor"], abs=0.02)
