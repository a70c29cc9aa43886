"""Dangerous errors of a report against its reference: those that could change what is done to the patient.

A claim is a finding that a report affirms, as present or as possible; a denial is one that it says is absent. The
rules, each with its reason:

- A denial without a side, or of both sides, denies the finding on either ("胸水なし"); one of a side only there. A
  denial without a site denies it at every site. A claim without a side is denied only where both sides are.
- Of one finding, one error is counted between report and reference, the first that fits in the order of `DANGERS`: a
  pneumothorax that is denied is missed, and is not counted as an inverted negation too.
- Where a report itself both affirms and denies a finding, it contradicts itself: that is what is counted, not what one
  half of it makes of the reference.
- Findings of different names are not set against each other: "浸潤影なし" does not deny a nodule. Inside one report
  neither are different words of one name, where the difference may be meant: "肺癌を疑う。転移なし".
- A denial of others (他に結節なし) contradicts no finding of its report, but denies one that only the reference has.
- A report that calls the whole film normal (異常なし) and mentions no finding has missed them, which the finding F1
  tells; only a pneumothorax missed so is dangerous by these rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from ikyoku.findings.types import Finding, ReadReport, Side
from ikyoku.findings.vocabulary import FINDINGS

DangerKind = Literal["missed_pneumothorax", "side_swapped", "negation_inverted", "invented_comparison", "contradiction"]
How = Literal["silent", "denied", "normal", "affirmed", "sides", ""]

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Danger:
    """What a kind of dangerous error, or a detail of one, is called, and what it is."""

    japanese: str
    english: str
    meaning: str = ""


DANGERS: dict[DangerKind, Danger] = {
    "missed_pneumothorax": Danger(
        "気胸の見落とし",
        "missed pneumothorax",
        "the reference has a pneumothorax, present or possible, and the report none on that side",
    ),
    "side_swapped": Danger(
        "左右の取り違え", "side swapped", "the reference has the finding on one side, the report only on the other"
    ),
    "negation_inverted": Danger(
        "有無の反転", "negation inverted", "the report denies what the reference affirms, or affirms what it denies"
    ),
    "invented_comparison": Danger(
        "根拠のない前回比較",
        "invented comparison",
        "the report compares with a prior study of which the reference knows nothing",
    ),
    "contradiction": Danger(
        "レポート内の矛盾",
        "contradiction inside the report",
        "the report affirms and denies a finding, calls a film with findings normal, or changes sides in 診断",
    ),
}
"""The kinds in the order in which they are tried."""

DETAILS: dict[How, Danger] = {
    "silent": Danger("記載なし", "not mentioned"),
    "denied": Danger("否定している", "denied"),
    "normal": Danger("異常なしとしている", "called normal"),
    "affirmed": Danger("参照では否定", "affirmed, the reference denies it"),
    "sides": Danger("所見と診断で左右が異なる", "another side in 診断 than in 所見"),
    "": Danger("", ""),
}
"""How the error was made."""


@dataclass(frozen=True, slots=True)
class DangerousError:
    """One dangerous error.

    `finding` is a key of `findings.FINDINGS` and `side` where it went wrong, both "" where there is none. `hypothesis`
    and `reference` are the places (start, end) of the words in the two texts, empty where nothing is written.
    """

    kind: DangerKind
    finding: str = ""
    side: Side = ""
    detail: How = ""
    hypothesis: tuple[Span, ...] = ()
    reference: tuple[Span, ...] = ()


def dangerous_errors(hypothesis: ReadReport, reference: ReadReport) -> tuple[DangerousError, ...]:
    """Returns the dangerous errors of a report: at most one a finding against the reference, and those inside itself.

    >>> seen, denied = (ReadReport((Finding("pneumothorax", c, "right"),)) for c in ("present", "absent"))
    >>> [(e.kind, e.finding, e.detail) for e in dangerous_errors(denied, seen)]
    [('missed_pneumothorax', 'pneumothorax', 'denied')]
    """
    names = dict.fromkeys(f.name for f in (*reference.findings, *hypothesis.findings))
    found = [error for name in names if (error := _of_finding(name, hypothesis, reference))]
    if compares(hypothesis) and not compares(reference):
        places = _places(f for f in hypothesis.findings if f.change)
        found.append(DangerousError("invented_comparison", hypothesis=places))
    return (*found, *contradictions(hypothesis))


def contradictions(report: ReadReport) -> tuple[DangerousError, ...]:
    """Returns where a report contradicts itself; only what it says is present counts, not what may be.

    It affirms and denies one finding (also between 所見 and 診断), calls the film normal beside a finding that is no
    device, or has a finding on one side in 所見 and on the other in 診断. A denial of others (他に結節なし) contradicts
    nothing.

    >>> both = ReadReport((Finding("nodule", "present", "left"), Finding("nodule", "absent")))
    >>> [(e.finding, e.side, e.detail) for e in contradictions(both)]
    [('nodule', 'left', 'denied')]
    """
    found = []
    present = [f for f in report.findings if f.certainty == "present"]
    for name in dict.fromkeys(f.name for f in present):
        claims = [f for f in present if f.name == name]
        denied = [(c, d) for c in claims for d in _denials(c, report) if not d.others]
        against = [(c, d) for c, d in denied if c.word in d.word or d.word in c.word]
        if against:
            found.append(_error("contradiction", "denied", against, inside=True))
        sides = [_sides(f for f in _claims(report, name) if f.section == s) for s in ("findings", "impression")]
        if not against and _opposite(*sides):
            places = _places(f for f in _claims(report, name) if f.section)
            found.append(DangerousError("contradiction", name, _side(sides[0] | sides[1]), "sides", places))
    abnormal = [f for f in present if _category(f.name) != "support_devices"]
    if report.normal:
        found += [
            DangerousError("contradiction", name, _side(_sides(these)), "normal", _places(these))
            for name in dict.fromkeys(f.name for f in abnormal)
            for these in [[f for f in abnormal if f.name == name]]
        ]
    return tuple(found)


def compares(report: ReadReport) -> bool:
    """Returns whether a report speaks of a prior study, or of a change since one."""
    return report.compares or any(f.change for f in report.findings)


def _of_finding(name: str, hypothesis: ReadReport, reference: ReadReport) -> DangerousError | None:
    """The first error that fits what both say of one finding."""
    theirs, ours = _claims(reference, name), _claims(hypothesis, name)
    wanted, found = _sides(theirs), _sides(ours)
    places = _places(ours), _places(theirs)
    if _category(name) == "pneumothorax" and wanted and (missed := _missed(wanted, found)):
        denials = [f for f in hypothesis.findings if f.name == name and f.certainty == "absent"]
        how: How = "denied" if denials else "normal" if hypothesis.normal else "silent"
        return DangerousError("missed_pneumothorax", name, _side(missed), how, _places(denials), places[1])
    if _opposite(wanted, found):
        return DangerousError("side_swapped", name, _side(found), "", *places)
    inverted: How = "denied"
    against = [(c, d) for c in theirs if not _overlapping(c, ours) for d in _denials(c, hypothesis)]
    if not against:
        inverted = "affirmed"
        against = [(c, d) for c in ours if not _overlapping(c, theirs) for d in _denials(c, reference)]
    return _error("negation_inverted", inverted, against) if against else None


def _missed(wanted: frozenset[Side], found: frozenset[Side]) -> frozenset[Side]:
    """The sides of a pneumothorax that a report leaves out; on the opposite side alone it is swapped, not missed."""
    if not found:
        return wanted
    if "" in wanted | found or _opposite(wanted, found):
        return frozenset()
    return wanted - found


def _opposite(one: frozenset[Side], other: frozenset[Side]) -> bool:
    return bool(one and other) and "" not in one | other and not one & other


def _error(
    kind: DangerKind, detail: How, against: Sequence[tuple[Finding, Finding]], *, inside: bool = False
) -> DangerousError:
    """The error of claims and the denials that they meet; the side is where both speak."""
    claims, denials = _places(c for c, _ in against), _places(d for _, d in against)
    named = [d.side if c.side == "both" and d.side in ("right", "left") else c.side for c, d in against]
    side = _side(frozenset(s for each in named for s in _each(each)))
    places = (tuple(sorted({*claims, *denials})), ()) if inside else (denials, claims)
    return DangerousError(kind, against[0][0].name, side, detail, *(places if detail == "denied" else places[::-1]))


def _claims(report: ReadReport, name: str) -> list[Finding]:
    return [f for f in report.findings if f.name == name and f.certainty != "absent"]


def _denials(claim: Finding, report: ReadReport) -> list[Finding]:
    """What a report says against a claim; see the rules above."""
    denials = [
        f for f in report.findings if f.name == claim.name and f.certainty == "absent" and _at_one_site(f, claim)
    ]
    found = [f for f in denials if f.side in ("", "both") or claim.side in (f.side, "both")]
    if not found and not claim.side and {f.side for f in denials} >= {"right", "left"}:
        return denials
    return found


def _at_one_site(one: Finding, other: Finding) -> bool:
    """Whether what is said of the first, without a site of all of them, is said of the other's."""
    everywhere = not one.sites or "diffuse" in one.sites | other.sites
    return everywhere or bool(one.sites & other.sites)


def _overlapping(claim: Finding, others: Iterable[Finding]) -> bool:
    """Whether one of the other claims of the finding may be of the same place."""
    for other in others:
        side = not (claim.side and other.side) or bool({*_each(claim.side)} & {*_each(other.side)})
        if side and (_at_one_site(claim, other) or not other.sites):
            return True
    return False


def _sides(claims: Iterable[Finding]) -> frozenset[Side]:
    """The sides of claims, right and left for both; "" stands for a claim without one, where none names a side."""
    sides = frozenset(side for f in claims for side in _each(f.side))
    return sides - {""} or sides


def _each(side: Side) -> Iterator[Side]:
    yield from (("right", "left") if side == "both" else (side,))


def _side(sides: frozenset[Side]) -> Side:
    return "both" if sides >= {"right", "left"} else next(iter(sides - {""}), "")


def _places(findings: Iterable[Finding]) -> tuple[Span, ...]:
    return tuple(sorted({(f.start, f.end) for f in findings if f.end > f.start}))


def _category(name: str) -> str:
    return FINDINGS[name].category if name in FINDINGS else ""
