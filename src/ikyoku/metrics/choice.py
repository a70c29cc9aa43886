"""Scores of a reply to a multiple-choice question, as the studies define them, on the texts of the options.

Two families live here. The first is the paper's (JMedLoRA: exact match, Gestalt score, accuracy), with the number of
options to choose read from the question and handed in as `count`. The second, `harness_…`, is the rule of the
authors' published harness bit for bit, its faults included; it serves to compare with published numbers.

Every text is compared verbatim: no width folding (NFKC), no lower case, because the studies' metrics do none.

Reference:
    Sukeda et al. 2023, JMedLoRA (arXiv 2310.10083); AIH 2024 1(2), p. 117, "Evaluation metrics".
    Sukeda et al. 2024 (arXiv 2406.14882); stardust-coder/japanese-lm-med-harness, commit ef9544a.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher

_SEPARATOR = ","


def gestalt_distance(a: str, b: str) -> float:
    """Returns the Gestalt similarity 2|K| / (|a| + |b|) in [0, 1]; 1 is identical, in spite of the paper's name.

    |K| is the number of characters in the matching blocks found by Ratcliff and Obershelp's recursion, which is
    `difflib.SequenceMatcher(None, a, b).ratio()`. Two empty texts give 1. The order of the arguments can change the
    value, for two reasons: equally long blocks are settled by position, and Python's default `autojunk`, kept
    here because the studies keep it, starts no match at a character that makes up more than 1 % of a `b` of 200 or
    more.

    Reference:
        JMedLoRA, GestaltDistance(R, C) = 2|K| / (|R| + |C|). Ratcliff & Metzener 1988, "Pattern matching: the
        Gestalt approach".

    >>> gestalt_distance("肝細胞癌", "肝癌")
    0.6666666666666666
    """
    return SequenceMatcher(None, a, b).ratio()


def exact_match(reply: str, gold: Sequence[str]) -> float:
    """Returns 1.0 if the reply is the right options' texts joined by ",", in their order; else 0.0.

    Raises:
        ValueError: `gold` is empty.

    Reference:
        JMedLoRA, ExactMatch(R) = 1 if R = C*.

    >>> exact_match("肝癌,胃癌", ["肝癌", "胃癌"]), exact_match("肝癌。", ["肝癌"])
    (1.0, 0.0)
    """
    return float(reply == _joined(gold))


def gestalt_score(reply: str, gold: Sequence[str]) -> float:
    """Returns the Gestalt similarity of the reply and the right options' texts joined by ",", in [0, 1].

    Raises:
        ValueError: `gold` is empty.

    Reference:
        JMedLoRA, GestaltScore(R) = GestaltDistance(R, C*).

    >>> gestalt_score("肝癌です", ["肝癌"])
    0.6666666666666666
    """
    return gestalt_distance(reply, _joined(gold))


def nearest(reply: str, choices: Sequence[str], *, count: int) -> frozenset[int]:
    """Returns the indices of the `count` choices that are nearest to the reply by `gestalt_distance(reply, choice)`.

    Ties go to the earlier choice, so an empty reply picks the first ones. It always holds exactly `count` indices;
    `count` 0 (the question asks for all that apply) gives the empty set.

    Raises:
        ValueError: there are no choices, or `count` is not between 0 and their number.

    >>> sorted(nearest("肝癌と胃癌", ["胃癌", "膵炎", "肝癌"], count=2))
    [0, 2]
    """
    if not choices:
        raise ValueError("no choices to compare the reply with")
    if not 0 <= count <= len(choices):
        raise ValueError(f"count is {count}: it must be between 0 and the number of choices, {len(choices)}")
    near = [gestalt_distance(reply, choice) for choice in choices]
    return frozenset(sorted(range(len(choices)), key=lambda i: -near[i])[:count])


def accuracy(reply: str, choices: Sequence[str], accepted: Sequence[frozenset[int]], *, count: int) -> float:
    """Returns 1.0 if the `count` choices nearest to the reply are one of the accepted sets, else 0.0.

    With `count` 1 it is the paper's Accuracy; more is its plain generalisation. Take `count` from the question's
    words (`answers.asked_count`), not from the gold. With `count` 0, the number being unknown, nothing is chosen
    and the reply counts as wrong. So does a reply that shares no character with any option: it is nearest to none of
    them (the formula's argmax would call the first option nearest and give empty replies a fifth of the points).

    Args:
        reply: The reply's text.
        choices: The options' texts.
        accepted: Every set of indices into `choices` that is right.
        count: How many options the question asks for.

    Raises:
        ValueError: `accepted` or `choices` is empty, or `count` is out of range.

    Reference:
        JMedLoRA, Accuracy(R) = 1 if argmax over C of GestaltDistance(R, C) is C*.

    >>> accuracy("肝癌です", ["胃癌", "膵炎", "肝癌"], [frozenset({2})], count=1)
    1.0
    """
    if not accepted:
        raise ValueError("no accepted set of options: the question has no right answer to compare with")
    if not any(gestalt_distance(reply, choice) for choice in choices):
        return 0.0
    return float(nearest(reply, choices, count=count) in accepted)


def harness_exact_match(reply: str, gold: Sequence[str]) -> float:
    """Returns 1.0 if reply and comma-joined gold are equal once "." is removed and the ends are stripped; else 0.0.

    Every ASCII full stop goes, also a decimal point ("PM2.5" equals "PM25"); the Japanese "。" stays.

    Raises:
        ValueError: `gold` is empty.

    Reference:
        japanese-lm-med-harness, commit ef9544a, `evaluate()`.

    >>> harness_exact_match(" 肝癌. ", ["肝癌"]), harness_exact_match("肝癌。", ["肝癌"])
    (1.0, 0.0)
    """
    return float(_without_stops(reply) == _without_stops(_joined(gold)))


def harness_gestalt(reply: str, choice: str) -> float:
    """Returns the harness' similarity of a reply and one choice, in [0, 1]: the mean of both orders' ratios.

    "." is removed from the reply and its ends are stripped, while the choice stays as it is: an option with
    a decimal point is never matched in full.

    Reference:
        japanese-lm-med-harness, commit ef9544a: g(c) = (ratio(c, R) + ratio(R, c)) / 2.

    >>> harness_gestalt("肝癌.", "肝癌"), harness_gestalt("2.5", "2.5")
    (1.0, 0.8)
    """
    text = _without_stops(reply)
    return (gestalt_distance(choice, text) + gestalt_distance(text, choice)) / 2


def harness_gestalt_match(reply: str, choices: Sequence[str], gold: Sequence[str]) -> float:
    """Returns the harness' Accuracy of one reply: 1.0 if the n nearest choices are the gold's texts, else 0.0.

    n is the number of pieces of the comma-joined gold, so the gold gives its size away, and a right option with
    a comma inside can never be matched. Ties go to the earlier choice.

    Raises:
        ValueError: `choices` or `gold` is empty.

    Reference:
        japanese-lm-med-harness, commit ef9544a, `evaluate()`.

    >>> harness_gestalt_match("肝癌です", ["胃癌", "膵炎", "肝癌"], ["肝癌"])
    1.0
    >>> harness_gestalt_match("2,500mL", ["500mL", "2,500mL"], ["2,500mL"])
    0.0
    """
    if not choices:
        raise ValueError("no choices to compare the reply with")
    pieces = _joined(gold).split(_SEPARATOR)
    near = [harness_gestalt(reply, choice) for choice in choices]
    order = sorted(range(len(choices)), key=lambda i: -near[i])
    return float({choices[i] for i in order[: len(pieces)]} == set(pieces))


def _joined(gold: Sequence[str]) -> str:
    """The gold as the studies write it; a question without a right answer is refused."""
    if not gold:
        raise ValueError("no gold text: the question has no right answer to compare with")
    if isinstance(gold, str):
        raise ValueError("gold is one text: it must be a sequence of the right options' texts")
    return _SEPARATOR.join(gold)


def _without_stops(text: str) -> str:
    return text.replace(".", "").strip()
