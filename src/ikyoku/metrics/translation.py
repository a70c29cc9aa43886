"""The back-check of a translated report: what its Japanese says against what its English said.

Both are read by a labeler of their own language into the same names. A difference is a fault to be looked at, not a
proof: the labelers err too, and the reviewer decides. Beside the findings it compares what a fluent mistranslation gets
wrong unseen: numbers, marks of de-identification, words left in English, a text cut short or invented at length.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from ikyoku.findings.types import Certainty, Finding, ReadReport
from ikyoku.metrics.language import is_japanese
from ikyoku.text import fold

Kind = Literal[
    "empty",
    "cut",
    "language",
    "negation",
    "missing",
    "added",
    "side",
    "certainty",
    "site",
    "change",
    "number",
    "mark",
    "english",
    "length",
]
FAULTS: Mapping[Kind, str] = {
    "empty": "訳文なし",
    "cut": "訳文が途中で切れている",
    "language": "日本語でない",
    "negation": "否定と肯定が逆",
    "missing": "所見の訳し漏れ",
    "added": "原文にない所見",
    "side": "左右の不一致",
    "certainty": "確信度の不一致",
    "site": "部位の不一致",
    "change": "経過の不一致",
    "number": "数値の不一致",
    "mark": "伏せ字の不一致",
    "english": "英語の残り",
    "length": "長さの異常",
}
"""The kinds of fault, the gravest first, and their names for the reviewer."""

SHORTEST, LONGEST = 0.12, 1.1
"""Characters of Japanese for each character of English: below and above, something was left out or made up."""
_LONG_ENOUGH = 40  # characters of English from which the ratio says something

_OPAQUE = ("consolidation", "infiltrate", "ground_glass", "nodule", "linear", "reticular")
_KIN = (  # one English word, several Japanese ones, or the other way round: no fault
    *(frozenset(("opacity", name)) for name in _OPAQUE),
    frozenset(("infiltrate", "consolidation")),
    frozenset(("atelectasis", "linear")),
    frozenset(("mass", "malignancy")),
    frozenset(("nodule", "malignancy")),
    frozenset(("edema", "heart_failure")),
    frozenset(("calcification", "aortic_calcification")),
    frozenset(("calcification", "old_inflammation")),
    frozenset(("pleural_thickening", "old_inflammation")),
    frozenset(("emphysema", "hyperinflation")),
    frozenset(("hilar_enlargement", "lymphadenopathy")),
    frozenset(("mediastinal_widening", "aortic_enlargement")),
    frozenset(("mediastinal_shift", "tracheal_deviation")),
)
_CERTAINTY: Mapping[Certainty, str] = {"present": "あり", "possible": "疑い", "absent": "なし"}
_SIDE = {"right": "右", "left": "左", "both": "両側"}
_SITE = {"upper": "上", "middle": "中", "lower": "下", "apex": "肺尖", "hilum": "肺門", "mediastinum": "縦隔"}
_SITE |= {"costophrenic": "肋骨横隔膜角", "diffuse": "びまん性"}
_CHANGE = {"new": "新出", "increased": "増悪", "decreased": "改善", "unchanged": "不変", "resolved": "消失"}
_AGAINST: tuple[frozenset[str], ...] = (
    frozenset(("increased", "decreased")),
    frozenset(("increased", "resolved")),
    frozenset(("new", "resolved")),
)
_AGAINST += (frozenset(("increased", "unchanged")), frozenset(("decreased", "unchanged")))

_ORGANS = {  # what the reviewer reads, and a word that shows that something is said of it
    "heart": ("心臓", "心"),
    "mediastinum": ("縦隔・肺門", "縦隔|肺門|心"),
    "vessels": ("肺血管影", "血管|うっ血|肺紋理"),
    "trachea": ("気管", "気管"),
    "lungs": ("肺野", "肺|異常陰影|清明|異常(?:所見)?(?:は|を)?(?:ない|な[くし]|認め)|正常"),
    "pleura": ("胸膜", "胸膜|胸水|横隔膜角|横隔膜洞|C-?P"),
    "bones": ("骨", "骨|椎|異常(?:所見)?(?:は|を)?(?:ない|な[くし]|認め)"),
    "chest": ("急性病変", "急性|異常|活動性|病変|正常"),
}
_CONSISTENT = re.compile(r"(?:(?:consistent|compatible|in keeping) with|indicative of)[^.;]{0,60}$")
_NUMBER = re.compile(r"(?<![\d.])\d+(?:\.\d+)?")
_UNIT = re.compile(r"(\d+(?:\.\d+)?)(?=(?:\s*[x×]\s*\d+(?:\.\d+)?)*\s*-?\s*(cm|mm|センチ|ミリ))", re.IGNORECASE)
_ITEM = re.compile(r"(?m)^\s*\(?\d+[.)、](?!\d)\s*")
_SPELT = (
    ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    ("zeroth", "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"),
)
_MARK = re.compile(r"_{2,}|(?<![A-Za-z])[Xx]{3,}(?![A-Za-z])")
_WORD = re.compile(r"(?<![A-Za-z0-9_])[A-Za-z][a-z]{2,}(?:-[A-Za-z]+)*(?![A-Za-z0-9_])")
_NAMES = frozenset(
    ("kerley", "swan", "ganz", "swan-ganz", "hickman", "dobhoff", "dobbhoff", "broviac", "cobb", "port-a-cath")
) | frozenset(("chilaiditi", "bochdalek", "morgagni", "hampton", "westermark", "free", "air", "line", "lines", "sign"))


@dataclass(frozen=True, slots=True)
class Fault:
    """One difference between a report and its translation; `detail` says it in Japanese, with what stands on each side.

    `finding` is a name of the labeler's, "" where the fault is not about one.
    """

    kind: Kind
    detail: str = ""
    finding: str = ""

    def __str__(self) -> str:
        return f"{FAULTS[self.kind]}: {self.detail}" if self.detail else FAULTS[self.kind]


def translation_faults(
    source: str,
    translation: str,
    *,
    english: ReadReport,
    japanese: ReadReport,
    names: Mapping[str, str],
    normal: Mapping[str, frozenset[str]] = MappingProxyType({}),
    finish: str = "stop",
) -> tuple[Fault, ...]:
    """Returns what is wrong, or may be, with the translation of one section; the gravest first.

    Args:
        source: The section in English.
        translation: The same in Japanese.
        english: The source as its labeler read it.
        japanese: The translation as the Japanese labeler read it.
        names: What findings are called in Japanese, by name.
        normal: Organs that the source calls normal, each with the findings so denied: to say so in other words is no
            fault, to say nothing of it is one.
        finish: How the reply ended (`types.FinishReason`).
    """
    if not translation.strip():
        return (Fault("empty", "入力が長すぎる" if finish == "too_long" else ""),)
    found = [Fault("cut")] if finish == "length" else []
    if not is_japanese(translation):
        return (*found, Fault("language"))
    found += _finding_faults(source, translation, english, japanese, names, frozenset[str]().union(*normal.values()))
    found += _normal_lost(normal, translation, japanese)
    found += [*_numbers(source, translation), *_marks(source, translation), *_english_left(translation)]
    ratio = len(translation.strip()) / max(len(source.strip()), 1)
    if len(source.strip()) >= _LONG_ENOUGH and not SHORTEST <= ratio <= LONGEST:
        found.append(Fault("length", f"原文{len(source.strip())}字に対し{len(translation.strip())}字"))
    order = list(FAULTS)
    return tuple(sorted(dict.fromkeys(found), key=lambda fault: order.index(fault.kind)))


def _finding_faults(
    source: str,
    translation: str,
    english: ReadReport,
    japanese: ReadReport,
    names: Mapping[str, str],
    covered: frozenset[str],
) -> Iterator[Fault]:
    said, written = _by_name(_in_words(english)), _by_name(_in_words(japanese))
    pairs = {name: _partner(name, written, said) for name in said}
    taken = {partner for partner in pairs.values() if partner}
    for name, partner in pairs.items():
        word, ours = names.get(name, name), said[name]
        if not partner:
            if not _told_as_kin(name, said, written):
                yield Fault("missing", f"{word}（原文: {_stances(ours)}）", name)
            continue
        theirs = written[partner]
        yield from _compared(name, word, ours, theirs, source, translation)
    for name, theirs in written.items():
        if name in taken or name in said or _told_as_kin(name, written, said):
            continue
        denied = all(f.certainty == "absent" for f in theirs)
        if denied and (name in covered or english.normal):
            continue
        against = "（原文は正常とする）" if name in covered else f"（訳: {_stances(theirs)}）"
        yield Fault("negation" if name in covered else "added", f"{names.get(name, name)}{against}", name)


def _agreed(findings: Iterable[Finding], source: str) -> bool:
    """Whether a source calls something "consistent with" each: 矛盾しない, which is told as certain or in doubt."""
    return all(_CONSISTENT.search(source[: f.start].lower()) for f in findings)


def _normal_lost(normal: Mapping[str, frozenset[str]], translation: str, japanese: ReadReport) -> Iterator[Fault]:
    """Organs that the source calls normal and of which the translation has no word, nor of what may be found there."""
    written = {finding.name for finding in _in_words(japanese)}
    for organ, names in normal.items():
        word, words = _ORGANS[organ]
        if not names & written and not re.search(words, translation):
            yield Fault("missing", f"{word}（原文: 正常）")


def _compared(
    name: str, word: str, ours: list[Finding], theirs: list[Finding], source: str, translation: str
) -> Iterator[Fault]:
    """The differences of what both sides say of one finding."""
    there, here = {f.certainty for f in ours}, {f.certainty for f in theirs}
    sides = f"原文: {_stances(ours)} → 訳: {_stances(theirs)}"
    if ("absent" in there) != ("absent" in here) and not (there - {"absent"} and here - {"absent"}):
        yield Fault("negation", f"{word}（{sides}）", name)
        return
    if ("absent" in there) != ("absent" in here):
        yield Fault("missing" if "absent" in there else "added", f"{word}（{sides}）", name)
    elif (there - {"absent"}) != (here - {"absent"}) and len(there) == len(here) == 1 and not _agreed(ours, source):
        yield Fault("certainty", f"{word}（{sides}）", name)
    if _sides_differ(ours, theirs, source, translation):
        yield Fault("side", f"{word}（{sides}）", name)
    sited, written = _sites(ours), _sites(theirs)
    if sited and written and not sited & written:
        told = "・".join(_SITE[s] for s in sorted(sited)), "・".join(_SITE[s] for s in sorted(written))
        yield Fault("site", f"{word}（原文: {told[0]} → 訳: {told[1]}）", name)
    changed, now = {f.change for f in ours if f.change}, {f.change for f in theirs if f.change}
    if len(changed) == len(now) == 1 and changed | now in _AGAINST:
        yield Fault("change", f"{word}（原文: {_CHANGE[min(changed)]} → 訳: {_CHANGE[min(now)]}）", name)


def _in_words(report: ReadReport) -> Iterator[Finding]:
    """What a report says in words: a heart's size that a labeler takes from the ratio is compared as a number."""
    ratios = {(m.start, m.end) for m in report.measurements if m.name == "ctr"}
    return (f for f in report.findings if (f.start, f.end) not in ratios)


def _by_name(findings: Iterable[Finding]) -> dict[str, list[Finding]]:
    found: dict[str, list[Finding]] = {}
    for finding in findings:
        found.setdefault(finding.name, []).append(finding)
    return found


def _partner(name: str, others: Mapping[str, list[Finding]], own: Mapping[str, list[Finding]]) -> str:
    """The name under which the other side says it: its own, else one of its kin that this side does not say too."""
    if name in others:
        return name
    kin = sorted(other for pair in _KIN if name in pair for other in pair - {name})
    return next((other for other in kin if other in others and other not in own), "")


def _told_as_kin(name: str, own: Mapping[str, list[Finding]], others: Mapping[str, list[Finding]]) -> bool:
    """Whether the other side says a kindred finding of the same certainty: two words may become one."""
    polarity = {f.certainty == "absent" for f in own[name]}
    kin = {other for pair in _KIN if name in pair for other in pair - {name}}
    return any({f.certainty == "absent" for f in others[other]} == polarity for other in kin if other in others)


def _sided(findings: Iterable[Finding]) -> dict[bool, set[str]]:
    """The sides of what is there and of what is not; both sides are right and left."""
    found: dict[bool, set[str]] = {True: set(), False: set()}
    for finding in findings:
        sides = {"right", "left"} if finding.side == "both" else {finding.side} - {""}
        found[finding.certainty != "absent"] |= sides
    return found


def _sides_differ(ours: list[Finding], theirs: list[Finding], source: str, translation: str) -> bool:
    """Whether sides contradict each other, or one stands on one side only and nowhere in the other text."""
    there, here = _sided(ours), _sided(theirs)
    for polarity in (True, False):
        if there[polarity] and here[polarity] and there[polarity] != here[polarity]:
            return True
    asked, told = there[True] | there[False], here[True] | here[False]
    if asked and not told:
        return not any(word in translation for side in asked for word in (_SIDE[side], "両"))
    if told and not asked:
        return not any(re.search(rf"(?i)\b(?:{side}|both|bilateral|bi\w+)", source) for side in told)
    return False


def _sites(findings: Iterable[Finding]) -> set[str]:
    return {site for f in findings if f.certainty != "absent" for site in f.sites if site != "diffuse"}


def _stances(findings: Iterable[Finding]) -> str:
    return "・".join(dict.fromkeys(f"{_SIDE.get(f.side, '')}{_CERTAINTY[f.certainty]}" for f in findings))


def _numbers(source: str, translation: str) -> Iterator[Fault]:
    """Numbers that stand on one side only; lengths compare in millimetres, spelt-out ones count as figures."""
    asked, told = _values(source), _values(translation)
    low = source.lower()
    spelt = {str(i) for words in _SPELT for i, word in enumerate(words) if re.search(rf"\b{word}\b", low)}
    lost, made = sorted(asked - told, key=float), sorted(told - asked - spelt, key=float)
    if lost or made:
        parts = ["原文のみ " + "、".join(lost)] * bool(lost) + ["訳のみ " + "、".join(made)] * bool(made)
        yield Fault("number", "、".join(parts))


def _values(text: str) -> set[str]:
    plain = _ITEM.sub("", fold(text))
    lengths = {(m.start(), m[1]): 10.0 if m[2].lower() in ("cm", "センチ") else 1.0 for m in _UNIT.finditer(plain)}
    return {f"{float(m[0]) * lengths.get((m.start(), m[0]), 1.0):g}" for m in _NUMBER.finditer(plain)}


def _marks(source: str, translation: str) -> Iterator[Fault]:
    asked, told = len(_MARK.findall(source)), len(_MARK.findall(fold(translation)))
    if asked != told:
        yield Fault("mark", f"原文{asked}箇所、訳{told}箇所")


def _english_left(translation: str) -> Iterator[Fault]:
    words = [w for w in _WORD.findall(_MARK.sub(" ", fold(translation))) if w.lower() not in _NAMES]
    if words:
        yield Fault("english", "、".join(dict.fromkeys(words[:8])))
