"""Scores of generated reports: the table of metrics, one report's scores, a system's figures, two systems compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ikyoku.findings import ReadReport, labels, read_report
from ikyoku.metrics import clinical, overlap, stats, summary
from ikyoku.metrics.dangers import DANGERS, DangerousError, dangerous_errors
from ikyoku.metrics.language import is_japanese
from ikyoku.metrics.structure import FAULTS, Fault, form_faults
from ikyoku.text import fold

Words = Callable[[str], list[str]]
Wakati = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class ReportMetric:
    """A metric of reports: its titles, whether more is better, and what a search that maximises it is rewarded for."""

    japanese: str
    english: str
    rewards: str
    higher: bool = True


_STUDY = "as in the released study: text not folded to NFKC"
_CHARACTERS = "characters and the spaces that MeCab puts between words, as the released study has it: long common runs"

METRICS: dict[str, ReportMetric] = {
    "rouge_l": ReportMetric(
        "ROUGE-L", "ROUGE-L", "the same words in the same order: the wording of normal sentences weighs most"
    ),
    "bleu_1": ReportMetric("BLEU-1(単語)", "BLEU-1 (words)", "the same words, no longer than the reference"),
    "bleu_2": ReportMetric("BLEU-2(単語)", "BLEU-2 (words)", "the same pairs of words"),
    "bleu_3": ReportMetric("BLEU-3(単語)", "BLEU-3 (words)", "the same runs of three words"),
    "bleu_4": ReportMetric("BLEU-4(単語)", "BLEU-4 (words)", "the same runs of four words: the same phrasing"),
    "meteor": ReportMetric("METEOR", "METEOR", "to have the reference's words, in few pieces; length costs little"),
    "chrf": ReportMetric("chrF2", "chrF2", "the same runs of up to six characters, recall above precision"),
    "finding_f1": ReportMetric(
        "所見F1", "finding F1", "the same findings on the same sides; no reward for wording or for what is denied"
    ),
    "label_f1": ReportMetric(
        "14ラベルF1", "14-label F1", "the same of CheXpert's 14 labels; side and site do not count, normal films do"
    ),
    "dangerous": ReportMetric(
        "危険な誤り(件/報告)",
        "dangerous errors a report",
        "fewer missed pneumothoraces, swapped sides, inverted negations, invented comparisons and contradictions",
        higher=False,
    ),
    "japanese": ReportMetric("日本語の割合", "share in Japanese", "to answer in Japanese at all"),
    "jradievo_rouge_l": ReportMetric("ROUGE-L(原著)", "ROUGE-L (as released)", _STUDY),
    **{
        f"jradievo_bleu_{n}": ReportMetric(f"BLEU-{n}(原著・文字)", f"BLEU-{n} (as released)", _CHARACTERS)
        for n in (1, 2, 3, 4)
    },
    "jradievo_meteor": ReportMetric("METEOR(原著)", "METEOR (as released)", _STUDY),
}
"""Every key of `report_scores`, in the order of tables."""


class Reference:
    """A reference report, read and cut into words once for the many replies that are held against it.

    Raises:
        ValueError: the text is blank: there is nothing to measure against.
    """

    def __init__(self, text: str, *, words: Words, wakati: Wakati) -> None:
        if not text.strip():
            raise ValueError("the reference is blank: there is nothing to measure against")
        self.text, self.folded = text, fold(text)
        self.words, self.wakati = words, wakati
        self.tokens = words(self.folded)
        self.cut = wakati(text)

    @cached_property
    def report(self) -> ReadReport:
        """What the labeler reads in it."""
        return read_report(self.text)

    @cached_property
    def word_ngrams(self) -> overlap.NGrams:
        """Its n-grams of words, folded."""
        return overlap.ngrams(self.tokens)

    @cached_property
    def character_ngrams(self) -> overlap.NGrams:
        """Those of the characters that the released study counts."""
        return overlap.ngrams(self.cut)


@dataclass(frozen=True, slots=True)
class ScoredReport:
    """One reply against its reference: `scores` by the keys of `METRICS`, what was read in both, and what is wrong."""

    scores: dict[str, float]
    report: ReadReport
    reference: Reference
    dangers: tuple[DangerousError, ...]
    faults: tuple[Fault, ...]


def scored_report(text: str, reference: Reference) -> ScoredReport:
    """Returns a reply with all its scores.

    The overlap metrics fold both texts to NFKC first, so that full-width and half-width signs are equal; those named
    `jradievo_…` do not. A reply in which the labeler finds nothing said has a finding F1 and a label F1 of 0 against a
    reference that says something, also where that is normal.
    """
    tokens, cut = reference.words(fold(text)), reference.wakati(text)
    report, wanted = read_report(text), reference.report
    dangers = dangerous_errors(report, wanted)
    silent = clinical.speaks(wanted) and not clinical.speaks(report)
    study, study_reference = cut.split(), reference.cut.split()
    found = overlap.bleu(tokens, reference.word_ngrams)
    characters = overlap.bleu(cut, reference.character_ngrams, weights=overlap.JRADIEVO)
    scores = {
        "rouge_l": overlap.rouge_l(tokens, reference.tokens),
        **{f"bleu_{n}": value for n, value in found.items()},
        "meteor": overlap.meteor(tokens, reference.tokens),
        "chrf": overlap.chrf(fold(text), reference.folded),
        "finding_f1": clinical.finding_f1(report, wanted),
        "label_f1": 0.0 if silent else clinical.label_f1(labels(report), labels(wanted)),
        "dangerous": float(len(dangers)),
        "japanese": float(is_japanese(text)),
        "jradievo_rouge_l": overlap.rouge_l(study, study_reference),
        **{f"jradievo_bleu_{n}": value for n, value in characters.items()},
        "jradievo_meteor": overlap.meteor(study, study_reference),
    }
    return ScoredReport(scores, report, reference, dangers, form_faults(text, report))


def report_scores(text: str, reference: str | Reference, *, words: Words, wakati: Wakati) -> dict[str, float]:
    """Returns the scores of one reply by the keys of `METRICS`; see `scored_report`.

    Args:
        text: The reply.
        reference: The report that it is held against; as a `Reference` where it is used more than once.
        words: Cuts a folded text into words.
        wakati: Cuts a text as the released study's tagger does: words with a space behind each, and a line feed.

    Raises:
        ValueError: the reference is blank.
    """
    known = reference if isinstance(reference, Reference) else Reference(reference, words=words, wakati=wakati)
    return scored_report(text, known).scores


def report_score(metric: str, text: str, reference: Reference) -> float:
    """Returns one score of a reply, as `scored_report` has it, without computing the others: a search asks often.

    Args:
        metric: rouge_l, jradievo_rouge_l, bleu_4, meteor, chrf, finding_f1 or label_f1.
        text: The reply.
        reference: The report that it is held against.
    """
    if metric == "chrf":
        return overlap.chrf(fold(text), reference.folded)
    if metric in ("finding_f1", "label_f1"):
        report, wanted = read_report(text), reference.report
        if metric == "finding_f1":
            return clinical.finding_f1(report, wanted)
        silent = clinical.speaks(wanted) and not clinical.speaks(report)
        return 0.0 if silent else clinical.label_f1(labels(report), labels(wanted))
    if metric == "jradievo_rouge_l":
        return overlap.rouge_l(reference.wakati(text).split(), reference.cut.split())
    tokens = reference.words(fold(text))
    if metric == "bleu_4":
        return overlap.bleu(tokens, reference.word_ngrams)[4]
    return {"rouge_l": overlap.rouge_l, "meteor": overlap.meteor}[metric](tokens, reference.tokens)


def summarised(samples: Sequence[ScoredReport], *, key: str) -> dict[str, Any]:
    """Returns a system's figures over its replies, as scores.json holds them.

    `metrics` has value, n and 95 % interval of every metric; `dangerous` errors by kind (number, reports with one, and
    errors per 100 reports with interval, "all" first); `findings` and `labels` the F1 tables (micro, macro, per name),
    `findings_by_name` the same without sides, `top_five` CheXpert's five; `polarity` the share of findings that both
    speak of and agree on; `faults` the share of replies with each fault of form. Intervals are bootstraps over replies.

    Args:
        samples: The scored replies.
        key: What the figures are of: it seeds the resampling.

    Raises:
        ValueError: there are no samples.
    """
    if not samples:
        raise ValueError("there are no reports to summarise")
    ours, theirs = [s.report for s in samples], [s.reference.report for s in samples]
    # a report that says nothing has no label, not even "no finding"
    own_labels, their_labels = ([labels(r) if clinical.speaks(r) else {} for r in side] for side in (ours, theirs))

    def rng(name: str) -> Any:
        return summary.generator(f"{key}|{name}")

    both = [clinical.polarity(*pair) for pair in zip(ours, theirs, strict=True)]
    agreed, spoken = sum(one for one, _ in both), sum(n for _, n in both)
    return {
        "n": len(samples),
        "metrics": {name: _mean([s.scores[name] for s in samples], rng(name)) for name in METRICS},
        "dangerous": {
            kind: _per_100([s.dangers for s in samples], kind, rng(f"dangerous|{kind}")) for kind in ("all", *DANGERS)
        },
        "findings": clinical.finding_table(ours, theirs, rng=rng("findings")).record(),
        "findings_by_name": clinical.finding_table(ours, theirs, detail="name", rng=rng("by name")).record(),
        "labels": clinical.label_table(own_labels, their_labels, rng=rng("labels")).record(),
        "top_five": clinical.label_table(
            own_labels, their_labels, only=clinical.TOP_FIVE, rng=rng("top five")
        ).record(),
        "polarity": summary.proportion([1.0] * agreed + [0.0] * (spoken - agreed)) if spoken else None,
        "faults": {
            kind: summary.proportion([float(any(f.kind == kind for f in s.faults)) for s in samples]) for kind in FAULTS
        },
    }


def paired(a: Sequence[ScoredReport], b: Sequence[ScoredReport], *, key: str) -> dict[str, dict[str, Any]]:
    """Returns the paired comparison of two systems, a minus b, of every metric and of the F1 tables.

    Of each n, difference, its 95 % bootstrap interval (low, high) and the two-sided p-value of a paired permutation
    test; None where it is undefined. `finding_micro` and `finding_macro` are the tables' F1. Holm's correction over
    what else is compared is the caller's.

    Args:
        a: The replies of one system.
        b: Those of the other to the same references, in the same order.
        key: What is compared: it seeds the resampling.

    Raises:
        ValueError: there are no samples, or they are not of the same references.
    """
    if [s.reference.text for s in a] != [s.reference.text for s in b]:
        raise ValueError(f"{len(a)} and {len(b)} replies: a paired test needs both systems' to the same references")
    found: dict[str, dict[str, Any]] = {}
    for name in METRICS:
        x, y = ([s.scores[name] for s in side] for side in (a, b))
        found[name] = difference(x, y, key=f"{key}|{name}")
    theirs = [s.reference.report for s in a]
    one, other = [s.report for s in a], [s.report for s in b]
    tables = clinical.paired_tables(one, other, theirs, rng=summary.generator(f"{key}|tables"))
    return found | {f"finding_{kind}": {"n": len(a)} | test for kind, test in tables.items()}


def _mean(values: Sequence[float], rng: Any) -> summary.Estimate:
    return summary.mean(values, rng=rng)


def _per_100(dangers: Sequence[Sequence[DangerousError]], kind: str, rng: Any) -> dict[str, float]:
    """Errors of a kind: how many, in how many reports, and per 100 reports with the interval."""
    each = [float(sum(kind in ("all", e.kind) for e in errors)) for errors in dangers]
    per_100: Mapping[str, float] = _mean([100 * n for n in each], rng)
    return {"errors": sum(each), "reports": float(sum(n > 0 for n in each)), **per_100}


def difference(x: Sequence[float], y: Sequence[float], *, key: str) -> dict[str, Any]:
    """Returns what `summary.paired` gives for right and wrong answers, for scores of any size: x minus y, in pairs.

    Args:
        x: The scores of one system.
        y: Those of the other on the same items, in the same order.
        key: What is compared: it seeds the resampling.
    """
    gaps = [p - q for p, q in zip(x, y, strict=True)]
    p_value = stats.paired_permutation(x, y, rng=summary.generator(f"{key}|permutation"))
    low, high = stats.bootstrap_mean(gaps, rng=summary.generator(f"{key}|difference"))
    return {"n": len(gaps), "difference": sum(gaps) / len(gaps), "low": low, "high": high, "p_value": p_value}
