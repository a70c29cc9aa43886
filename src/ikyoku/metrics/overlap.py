"""Overlap of a text with a reference: ROUGE-L, BLEU, METEOR, chrF, and the BLEU that the released study computed.

All are in [0, 1], higher is better, with one reference. Words come in as lists: the segmenter is the caller's. A
hypothesis without a word scores 0; a reference without one is nothing to measure against and raises.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass
from itertools import pairwise
from math import exp, fsum, log

UNIFORM = {1: (1.0,), 2: (1 / 2,) * 2, 3: (1 / 3,) * 3, 4: (1 / 4,) * 4}
"""The weights of BLEU-1 to BLEU-4: the geometric mean of the n-gram precisions."""
JRADIEVO = {**UNIFORM, 3: (0.33, 0.33, 0.33)}
"""The same as the released study has them: its BLEU-3 is not quite a geometric mean."""

_EPSILON = 0.1  # what smoothing method 1 puts for no match
_CHRF_ORDER, _CHRF_BETA = 6, 2

_Counts = Counter[tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class NGrams:
    """The n-grams of a sequence of words or characters, counted once: by n from 1, and the sequence's length."""

    counts: tuple[_Counts, ...]
    length: int


def rouge_l(words: Sequence[str], reference: Sequence[str]) -> float:
    """Returns ROUGE-L: the F1 of the longest common subsequence of words, precision and recall weighing the same.

    Raises:
        ValueError: the reference has no word.

    Reference:
        Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries", equations 2-4 with β = 1, on whole reports
        (rouge_score's rougeL, the fitness of JRadiEvo).

    >>> rouge_l(["右", "胸水", "を", "認める"], ["左", "胸水", "を", "認める"])
    0.75
    """
    _something(reference)
    common = common_subsequence(words, reference)
    if not common:
        return 0.0
    precision, recall = common / len(words), common / len(reference)
    return 2 * precision * recall / (precision + recall)


def common_subsequence(a: Sequence[str], b: Sequence[str]) -> int:
    """Returns the length of the longest common subsequence of two sequences.

    A row of the table of dynamic programming is one integer, a bit for each word of `a`: 150 words against 150 take
    some 150 additions of integers instead of 22,500 comparisons in Python.

    Reference:
        Hyyrö 2004, "Bit-parallel LCS-length computation revisited", algorithm of figure 2 (after Crochemore et al.
        2001).

    >>> common_subsequence("abcbdab", "bdcaba")
    4
    """
    places: dict[str, int] = {}
    for i, word in enumerate(a):
        places[word] = places.get(word, 0) | 1 << i
    everywhere = (1 << len(a)) - 1
    row = everywhere
    for word in b:
        if here := row & places.get(word, 0):
            row = ((row + here) | (row - here)) & everywhere
    return len(a) - row.bit_count()


def ngrams(sequence: Sequence[str], order: int = 4) -> NGrams:
    """Returns the n-grams of a sequence of words, or of a text's characters, up to `order`.

    >>> ngrams("abab", 2).counts[1][("a", "b")]
    2
    """
    counts = tuple(Counter(zip(*(sequence[i:] for i in range(n)), strict=False)) for n in range(1, order + 1))
    return NGrams(counts, len(sequence))


def bleu(
    hypothesis: NGrams | Sequence[str],
    reference: NGrams | Sequence[str],
    *,
    weights: Mapping[int, Sequence[float]] = UNIFORM,
) -> dict[int, float]:
    """Returns the sentence BLEU of each order in `weights`, smoothed by method 1.

    That is BP · exp(Σ wₙ ln pₙ), where pₙ is the clipped precision of n-grams, 0.1 match standing for none; 0 where
    not one word matches. BP is exp(1 - r/c) where the hypothesis (c words) is no longer than the reference (r words).

    Raises:
        ValueError: the reference has no word.

    Reference:
        Papineni et al. 2002, "BLEU", section 2.3; smoothing 1 of Chen & Cherry 2014 with ε = 0.1, as in NLTK.

    >>> bleu(["右", "胸水", "あり"], ["左", "胸水", "あり"])[1].__round__(3)
    0.667
    """
    most = max(weights)
    found, wanted = _counted(hypothesis, most), _counted(reference, most)
    _something(wanted.counts[0])
    matches, totals = _matches(found, wanted, most)
    if not matches[0]:
        return dict.fromkeys(weights, 0.0)
    brevity = _brevity(found.length, wanted.length)
    logs = [log((m or _EPSILON) / max(1, n)) for m, n in zip(matches, totals, strict=True)]
    return {n: brevity * exp(fsum(w * p for w, p in zip(each, logs, strict=False))) for n, each in weights.items()}


def corpus_bleu(pairs: Iterable[tuple[Sequence[str], Sequence[str]]], *, order: int = 4) -> float:
    """Returns the BLEU of a corpus of (hypothesis, reference): matches and lengths are summed first, nothing smoothed.

    0 where some order has no match at all.

    Raises:
        ValueError: there are no pairs, or a reference has no word.

    Reference:
        Papineni et al. 2002, section 2.3 (the metric that BLEU was defined as).

    >>> corpus_bleu([(["胸水", "あり"], ["胸水", "あり"])], order=2)
    1.0
    """
    matches, totals, lengths = [0] * order, [0] * order, [0, 0]
    for hypothesis, reference in pairs:
        _something(reference)
        found, wanted = ngrams(hypothesis, order), ngrams(reference, order)
        for n, (m, total) in enumerate(zip(*_matches(found, wanted, order), strict=True)):
            matches[n] += m
            totals[n] += total
        lengths = [lengths[0] + found.length, lengths[1] + wanted.length]
    if not lengths[1]:
        raise ValueError("BLEU needs at least one pair of texts, there are none")
    if not all(matches):
        return 0.0
    return _brevity(*lengths) * exp(fsum(log(m / n) for m, n in zip(matches, totals, strict=True)) / order)


def meteor(words: Sequence[str], reference: Sequence[str]) -> float:
    """Returns METEOR with exact matches (α = 0.9, β = 3, γ = 0.5): what it is on Japanese words.

    Fmean · (1 - γ · (chunks / matches)^β), with Fmean = PR / (αP + (1 - α)R). Case does not count. NLTK's is the same
    except that it also matches Latin words of one stem or, in English, of one meaning. As there, words are matched
    from the end, each with the last free one of its kind, and not with the fewest crossings. A text of one chunk in n
    words has a penalty of γ / n³: a text against itself is a little below 1.

    Raises:
        ValueError: the reference has no word.

    Reference:
        Lavie & Agarwal 2007, "METEOR: An Automatic Metric for MT Evaluation with High Levels of Correlation with Human
        Judgments", section 2 (α, β, γ of section 3 as in NLTK's defaults).

    >>> meteor(["胸水", "あり"], ["胸水", "あり"])
    0.9375
    """
    _something(reference)
    free: dict[str, list[int]] = {}
    for i, word in enumerate(reference):
        free.setdefault(word.lower(), []).append(i)
    pairs = [
        (i, places.pop())
        for i in range(len(words) - 1, -1, -1)
        if (places := free.get(words[i].lower())) is not None and places
    ]
    if not pairs:
        return 0.0
    chunks = 1 + sum(i != later_i - 1 or j != later_j - 1 for (later_i, later_j), (i, j) in pairwise(pairs))
    precision, recall = len(pairs) / len(words), len(pairs) / len(reference)
    mean = precision * recall / (0.9 * precision + (1 - 0.9) * recall)
    return float((1 - 0.5 * (chunks / len(pairs)) ** 3.0) * mean)


def chrf(text: str, reference: str) -> float:
    """Returns chrF2: the F-score of character n-grams up to 6, white space left out, recall weighing twice.

    Precision and recall are averaged over the orders that both texts are long enough for.

    Raises:
        ValueError: the reference has no character.

    Reference:
        Popović 2015, "chrF: character n-gram F-score for automatic MT evaluation", equation 1; sacreBLEU's defaults.

    >>> chrf("胸水を認める", "胸水を認める")
    1.0
    """
    found, wanted = ("".join(each.split()) for each in (text, reference))
    _something(wanted)
    precision = recall = 0.0
    orders = min(_CHRF_ORDER, len(found), len(wanted))
    for n in range(1, orders + 1):
        ours, theirs = (Counter([t[i : i + n] for i in range(len(t) - n + 1)]) for t in (found, wanted))
        matched = sum(min(count, theirs[gram]) for gram, count in ours.items() if gram in theirs)
        precision += matched / (len(found) - n + 1)
        recall += matched / (len(wanted) - n + 1)
    if not precision + recall:
        return 0.0
    precision, recall, factor = precision / orders, recall / orders, _CHRF_BETA**2
    return (1 + factor) * precision * recall / (factor * precision + recall)


def _something(reference: Sized) -> None:
    if not len(reference):
        raise ValueError("the reference has no words: there is nothing to measure against")


def _counted(sequence: NGrams | Sequence[str], order: int) -> NGrams:
    return sequence if isinstance(sequence, NGrams) else ngrams(sequence, order)


def _matches(found: NGrams, wanted: NGrams, order: int) -> tuple[list[int], list[int]]:
    """By order, the n-grams of the hypothesis that are in the reference (as often as there), and all of them."""
    matches = [
        sum(min(count, theirs[gram]) for gram, count in ours.items() if gram in theirs)
        for ours, theirs in zip(found.counts[:order], wanted.counts[:order], strict=True)
    ]
    return matches, [max(0, found.length - n) for n in range(order)]


def _brevity(length: int, reference: int) -> float:
    return 1.0 if length > reference else exp(1 - reference / length)
