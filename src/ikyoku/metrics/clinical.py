"""What a report says of findings against its reference: finding F1, label F1, agreement on negation.

A report is compared unit by unit. A unit is a finding that it affirms, as present or as possible, with its side and,
where asked for, its site:

- "both" sides is a right unit and a left one; several sites are as many units.
- A mention that names less than another of the same finding says nothing new and is no unit: 診断 may repeat "胸水"
  after 所見 said "右胸水".
- A unit without a side is one of its own. It does not match one with a side: a report that leaves the side out has
  missed it.
- What is denied is no unit. Denials are compared by `polarity` and by `dangerous_errors`.

Everything here works on `ReadReport`s: no text is read again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from ikyoku.findings.types import Certainty, Finding, ReadReport
from ikyoku.metrics.dangers import DANGERS, DangerousError, contradictions, dangerous_errors
from ikyoku.metrics.unit_tables import FindingTable, Score, Units, paired_unit_tables, unit_table

__all__ = [
    "DANGERS",
    "TOP_FIVE",
    "Counts",
    "DangerousError",
    "FindingTable",
    "Score",
    "Unit",
    "contradictions",
    "counts_of",
    "dangerous_errors",
    "finding_f1",
    "finding_table",
    "label_f1",
    "label_table",
    "paired_tables",
    "polarity",
    "speaks",
    "units",
]

Labels = Mapping[str, Certainty | None]
Detail = Literal["name", "side", "site"]
"""What of a finding is compared: its name alone, with the side, or with side and site."""

TOP_FIVE = ("atelectasis", "cardiomegaly", "consolidation", "edema", "pleural_effusion")
"""The five labels of CheXpert's competition, of which papers give the F1 beside that of all 14.

Reference:
    Irvin et al. 2019, "CheXpert", section 5.
"""


class Unit(NamedTuple):
    """What is compared: a finding, its side and site, each "" where none is named or compared."""

    name: str
    side: str = ""
    site: str = ""


class Counts(NamedTuple):
    """Units that both have, that only the report has, and that only the reference has."""

    both: int
    extra: int
    missed: int


def units(report: ReadReport, *, detail: Detail = "side", certain: bool = False) -> Units:
    """Returns the units of a report.

    Args:
        report: What was read.
        detail: Whether findings are compared by name alone, with the side, or with side and site.
        certain: Whether what is only possible is left out.

    >>> sorted(units(ReadReport((Finding("pleural_effusion", "present", "both"), Finding("nodule", "absent")))))
    [Unit(name='pleural_effusion', side='left', site=''), Unit(name='pleural_effusion', side='right', site='')]
    """
    kept = ("present",) if certain else ("present", "possible")
    found = {each for f in report.findings if f.certainty in kept for each in _units(f, detail)}
    # a unit is dropped where another of the same finding says all that it says, and more
    return frozenset(
        u
        for u in found
        if not any(v != u and v.name == u.name and u.side in ("", v.side) and u.site in ("", v.site) for v in found)
    )


def speaks(report: ReadReport) -> bool:
    """Returns whether a report says anything at all of findings: present, possible, absent, or all normal."""
    return report.normal or bool(report.findings)


def counts_of(hypothesis: Units, reference: Units) -> Counts:
    """Returns how many of two sets of units are common, extra and missed.

    >>> counts_of(frozenset({("mass",), ("edema",)}), frozenset({("edema",)}))
    Counts(both=1, extra=1, missed=0)
    """
    return Counts(len(hypothesis & reference), len(hypothesis - reference), len(reference - hypothesis))


def finding_f1(
    hypothesis: ReadReport,
    reference: ReadReport,
    *,
    detail: Detail = "side",
    certain: bool = False,
) -> float:
    """Returns the F1 of the units of one report, in [0, 1]: 2 TP / (2 TP + FP + FN).

    Where neither has a unit it is 1, but 0 if the reference speaks of findings and the report does not: a reply that
    is empty, or in a language that the labeler does not read, must not pass for a normal report.

    >>> right, left = (ReadReport((Finding("nodule", "present", side),)) for side in ("right", "left"))
    >>> finding_f1(right, right), finding_f1(left, right), finding_f1(left, right, detail="name")
    (1.0, 0.0, 1.0)
    """
    ours, theirs = (units(r, detail=detail, certain=certain) for r in (hypothesis, reference))
    silent = speaks(reference) and not speaks(hypothesis)
    return _f1_of(counts_of(ours, theirs), silent=silent)


def label_f1(hypothesis: Labels, reference: Labels, *, certain: bool = False) -> float:
    """Returns the F1 of the positive ones of the 14 labels of one report, in [0, 1]; 1 where neither has any.

    `Labels` are `findings.labels(report)`. An uncertain label counts as positive, as F1-CheXbert takes it for reports;
    with `certain` as negative.

    Reference:
        Smit et al. 2020, "CheXbert", section 3 (labels); Delbrouck et al. 2022 for uncertain as positive.

    >>> label_f1({"edema": "possible", "nodule": None}, {"edema": "present"})
    1.0
    """
    ours, theirs = (_positive(labels, certain=certain) for labels in (hypothesis, reference))
    return _f1_of(counts_of(ours, theirs))


def polarity(hypothesis: ReadReport, reference: ReadReport) -> tuple[int, int]:
    """Returns of how many findings both reports speak, and of how many of these both say the same: (agreed, n).

    The same is affirmed (present or possible) or denied, by name: a finding that a report affirms anywhere it affirms.

    >>> a, b = (ReadReport((Finding("edema", "absent"), Finding("nodule", c))) for c in ("absent", "present"))
    >>> polarity(a, b)
    (1, 2)
    """
    ours, theirs = ({f.name: False for f in r.findings} for r in (hypothesis, reference))
    for says, report in ((ours, hypothesis), (theirs, reference)):
        says.update({f.name: True for f in report.findings if f.certainty != "absent"})
    spoken = ours.keys() & theirs.keys()
    return sum(ours[name] == theirs[name] for name in spoken), len(spoken)


def finding_table(
    hypotheses: Sequence[ReadReport],
    references: Sequence[ReadReport],
    *,
    detail: Detail = "side",
    certain: bool = False,
    rng: np.random.Generator | None = None,
    resamples: int = 2000,
) -> FindingTable:
    """Returns micro, macro and per-finding F1 over reports, with bootstrap intervals where a generator is given.

    Args:
        hypotheses: What was read of the reports.
        references: What was read of their references, in the same order.
        detail: Whether findings are compared by name alone, with the side, or with side and site.
        certain: Whether what is only possible is left out.
        rng: Where the resampling of reports draws from; without it there are no intervals.
        resamples: How many tables are drawn.

    Raises:
        ValueError: there are no reports, or not as many of the one as of the other.

    Reference:
        Percentile bootstrap over reports, Efron 1979.
    """
    sets = [[units(r, detail=detail, certain=certain) for r in side] for side in (hypotheses, references)]
    return unit_table(*sets, rng=rng, resamples=resamples)


def label_table(
    hypotheses: Sequence[Labels],
    references: Sequence[Labels],
    *,
    only: Sequence[str] = (),
    certain: bool = False,
    rng: np.random.Generator | None = None,
    resamples: int = 2000,
) -> FindingTable:
    """Returns micro, macro and per-label F1 over reports; see `label_f1` and `finding_table`.

    Unlike scikit-learn's, which F1-CheXbert uses, the macro mean leaves out a label that neither side has, instead of
    counting it as 0.

    Args:
        hypotheses: The labels of the reports, as `findings.labels` gives them.
        references: Those of their references, in the same order.
        only: The labels to count, such as `TOP_FIVE`; by default all.
        certain: Whether an uncertain label counts as negative.
        rng: Where the resampling of reports draws from; without it there are no intervals.
        resamples: How many tables are drawn.

    Raises:
        ValueError: there are no reports, or not as many of the one as of the other.
    """
    sets = [[_positive(x, certain=certain, only=only) for x in side] for side in (hypotheses, references)]
    return unit_table(*sets, rng=rng, resamples=resamples)


def paired_tables(
    a: Sequence[ReadReport],
    b: Sequence[ReadReport],
    references: Sequence[ReadReport],
    *,
    detail: Detail = "side",
    certain: bool = False,
    rng: np.random.Generator,
    resamples: int = 2000,
) -> dict[str, dict[str, float | None]]:
    """Returns the paired comparison, a minus b, of the micro and macro F1 of two systems; see `paired_unit_tables`."""
    sets = [[units(r, detail=detail, certain=certain) for r in side] for side in (a, b, references)]
    return paired_unit_tables(*sets, rng=rng, resamples=resamples)


def _units(finding: Finding, detail: str) -> list[Unit]:
    sides = [""] if detail == "name" else ["right", "left"] if finding.side == "both" else [finding.side]
    sites = sorted(finding.sites) if detail == "site" and finding.sites else [""]
    return [Unit(finding.name, side, site) for side in sides for site in sites]


def _positive(labels: Labels, *, certain: bool, only: Sequence[str] = ()) -> Units:
    kept = ("present",) if certain else ("present", "possible")
    return frozenset((name,) for name, value in labels.items() if value in kept and (not only or name in only))


def _f1_of(counts: Counts, *, silent: bool = False) -> float:
    total = 2 * counts.both + counts.extra + counts.missed
    return 2 * counts.both / total if total else 0.0 if silent else 1.0
