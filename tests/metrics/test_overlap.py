"""Overlap metrics against the libraries that define them, on random and on Japanese texts."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.translate import bleu_score, meteor_score
from rouge_score import rouge_scorer, tokenizers
from sacrebleu.metrics import BLEU, CHRF

from ikyoku.metrics.overlap import (
    JRADIEVO,
    UNIFORM,
    bleu,
    chrf,
    common_subsequence,
    corpus_bleu,
    meteor,
    ngrams,
    rouge_l,
)
from ikyoku.morphology import words

REPORTS = [
    "右下肺野に浸潤影を認める。左胸水は認めない。心拡大なし。CTR 48%。",
    "左下肺野に浸潤影を認める。右胸水は認めない。心拡大あり。CTR 58%。",
    "両側肺野に異常陰影を認めない。胸水貯留なし。縦隔、肺門に異常を認めない。",
    "右気胸を認める。虚脱は軽度で、縦隔の偏位は認めない。胸腔ドレーン留置中。",
    "肺野は清明。",
    "前回と比較して右胸水は減少し、左胸水は消失している。左上肺野に 12mm の結節影あり、精査を勧める。",
    "A nodule of 12 mm in the left upper lobe; ｱｲｳ ＡＢＣ。",
]
WORDS = [words(text) for text in REPORTS]
PAIRS = [(a, b) for a in WORDS for b in WORDS]

few = st.lists(st.sampled_from("右左胸水あり。"), max_size=40)
some = st.lists(st.sampled_from("右左胸水あり。"), min_size=1, max_size=40)
many = st.lists(
    st.sampled_from([*"右左胸水肺野心拡大結節影認めるない。、", "CTR", "ctr", "Nodule"]), min_size=1, max_size=60
)


class Split(tokenizers.Tokenizer):
    def tokenize(self, text: str) -> list[str]:
        return text.split()


SCORER = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False, tokenizer=Split())
SMOOTH = bleu_score.SmoothingFunction().method1


class NoStems:
    """Neither stems nor meanings: NLTK's METEOR reduced to exact matches."""

    def stem(self, word: str) -> str:
        return word

    def synsets(self, word: str) -> list[Any]:
        return []


def nltk_meteor(a: Sequence[str], b: Sequence[str]) -> float:
    return float(meteor_score.single_meteor_score(b, a, stemmer=NoStems(), wordnet=NoStems()))


def nltk_bleu(a: Sequence[str], b: Sequence[str]) -> dict[int, float]:
    weights = [(*each, *(0.0,) * (4 - n)) for n, each in UNIFORM.items()]
    values = bleu_score.sentence_bleu([b], a, weights, smoothing_function=SMOOTH)
    return dict(zip(UNIFORM, values, strict=True))


def exactly(value: Any) -> Any:
    return pytest.approx(value, abs=1e-12, rel=0)


# against the libraries


def check(a: list[str], b: list[str]) -> None:
    assert rouge_l(a, b) == exactly(SCORER.score(" ".join(b), " ".join(a))["rougeL"].fmeasure)
    assert meteor(a, b) == exactly(nltk_meteor(a, b))
    assert bleu(a, b) == exactly(nltk_bleu(a, b))


@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_reports_score_as_in_the_libraries(a: list[str], b: list[str]) -> None:
    check(a, b)


@settings(max_examples=300, deadline=None)
@given(few, some)
def test_texts_of_few_words_score_as_in_the_libraries(a: list[str], b: list[str]) -> None:
    check(a, b)


@settings(max_examples=300, deadline=None)
@given(many, many)
def test_random_texts_score_as_in_the_libraries(a: list[str], b: list[str]) -> None:
    check(a, b)


@pytest.mark.parametrize("a", REPORTS)
@pytest.mark.parametrize("b", REPORTS)
def test_chrf_of_reports_is_that_of_sacrebleu(a: str, b: str) -> None:
    assert chrf(a, b) == exactly(CHRF().sentence_score(a, [b]).score / 100)


@settings(max_examples=300, deadline=None)
@given(st.text("右左胸水 \n　ab。", max_size=30), st.text("右左胸水 ab。", min_size=1, max_size=30))
def test_chrf_of_random_texts_is_that_of_sacrebleu(a: str, b: str) -> None:
    if b.split():
        assert chrf(a, b) == exactly(CHRF().sentence_score(a, [b]).score / 100)


def test_the_bleu_of_a_corpus_is_that_of_both_libraries() -> None:
    pairs = [*pairwise(WORDS), (WORDS[0], WORDS[0])]
    found = corpus_bleu(pairs)
    assert 0.1 < found < 0.9
    assert found == exactly(bleu_score.corpus_bleu([[b] for _, b in pairs], [a for a, _ in pairs]))
    theirs = BLEU(tokenize="none", smooth_method="none").corpus_score(
        [" ".join(a) for a, _ in pairs], [[" ".join(b) for _, b in pairs]]
    )
    assert found == exactly(theirs.score / 100)


@given(some, some, st.lists(st.tuples(some, some), max_size=4))
def test_the_bleu_of_a_random_corpus_is_that_of_the_library(
    a: list[str], b: list[str], more: list[tuple[list[str], list[str]]]
) -> None:
    pairs = [(a, b), *more]
    theirs = BLEU(tokenize="none", smooth_method="none", max_ngram_order=2, force=True).corpus_score(
        [" ".join(x) for x, _ in pairs], [[" ".join(y) for _, y in pairs]]
    )
    assert corpus_bleu(pairs, order=2) == exactly(theirs.score / 100)


@given(few, few)
def test_the_common_subsequence_is_that_of_the_table(a: list[str], b: list[str]) -> None:
    table = rouge_scorer._lcs_table(a, b)
    assert common_subsequence(a, b) == table[len(a)][len(b)] == common_subsequence(b, a)


# by hand


def test_the_released_bleu_counts_characters_and_spaces() -> None:
    one, other = "胸水 を 認め ない \n", "胸水 を 認める \n"
    found = bleu(one, other, weights=JRADIEVO)
    characters = bleu(list(one), list(other))
    assert found[1] == characters[1] > bleu(one.split(), other.split())[1]
    assert found[2] == characters[2]
    assert found[3] > characters[3], "three times 0.33 is not 1: the released BLEU-3 is a little higher"
    assert found[4] == characters[4]


def test_bleu_by_hand() -> None:
    # 3 of 4 words, 2 of 3 pairs, 1 of 2 triples, no run of four (0.1 of 1); no brevity penalty at equal length
    found = bleu(["右", "胸水", "を", "認める"], ["左", "胸水", "を", "認める"])
    steps = [3 / 4, 2 / 3, 1 / 2, 0.1]
    assert found[1] == pytest.approx(steps[0])
    assert found[4] == pytest.approx((steps[0] * steps[1] * steps[2] * steps[3]) ** 0.25)
    # half as long: every word right, a penalty of exp(1 - 4 / 2)
    assert bleu(["右", "胸水"], ["右", "胸水", "を", "認める"])[1] == pytest.approx(0.36787944117144233)


def test_counted_ngrams_give_the_same() -> None:
    a, b = WORDS[0], WORDS[1]
    assert bleu(ngrams(a), ngrams(b)) == bleu(a, b)


@pytest.mark.parametrize("text", WORDS, ids=REPORTS)
def test_a_text_against_itself(text: list[str]) -> None:
    assert rouge_l(text, text) == 1
    assert bleu(text, text)[1] == pytest.approx(1)
    assert chrf("".join(text), "".join(text)) == pytest.approx(1)
    assert meteor(text, text) == pytest.approx(1 - 0.5 / len(text) ** 3)
    assert corpus_bleu([(text, text)], order=2) == pytest.approx(1)


def test_of_nothing_there_is_no_metric() -> None:
    for metric in (rouge_l, bleu, meteor):
        with pytest.raises(ValueError, match="no words"):
            metric(["胸水"], [])
    for blank in ("", " \n　"):
        with pytest.raises(ValueError, match="no words"):
            chrf("胸水", blank)
    with pytest.raises(ValueError, match="there are none"):
        corpus_bleu([])
    with pytest.raises(ValueError, match="no words"):
        corpus_bleu([(["胸水"], [])])


def test_an_empty_reply_scores_nothing() -> None:
    reference = ["胸水", "を", "認める"]
    assert (rouge_l([], reference), meteor([], reference), chrf("", "胸水")) == (0, 0, 0)
    assert set(bleu([], reference).values()) == {0.0}
    assert corpus_bleu([([], reference)]) == 0


def test_shuffled_words_score_low_where_order_counts() -> None:
    text = WORDS[5]
    mixed = [text[i] for i in sorted(range(len(text)), key=lambda i: (i * 7) % len(text))]
    assert sorted(mixed) == sorted(text)
    assert rouge_l(mixed, text) < 0.5
    assert bleu(mixed, text)[4] < 0.2
    assert meteor(mixed, text) < 0.7
