"""The outward form of a report: its sections, its length, and what looks like a person's identity.

Faults of form, not of content; a report with faults is still read and scored.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Literal

from ikyoku.findings.types import ReadReport
from ikyoku.text import fold

FaultKind = Literal["no_findings", "no_impression", "too_short", "too_long", "repeats", "identifier"]

FAULTS: dict[FaultKind, tuple[str, str]] = {
    "no_findings": ("所見がない", "no 所見"),
    "no_impression": ("診断がない", "no 診断"),
    "too_short": ("短すぎる", "too short"),
    "too_long": ("長すぎる", "too long"),
    "repeats": ("同じ文の繰り返し", "one sentence three times"),
    "identifier": ("個人を特定しうる記載", "may identify a person"),
}
"""What each fault is called in Japanese and in English."""

LEAST, MOST = 5, 1500
"""Characters, white space left out: 異常なし。 is a report, and more than a page is none of a chest X-ray."""

_SENTENCE = re.compile(r"[^。\n]+")

IDENTIFIERS: tuple[tuple[str, str], ...] = (
    (r"(?:患者)?(?:氏名|患者名|名前|住所|生年月日|電話(?:番号)?|カルテ番号|被保険者番号) ?[::]", "a field of a form"),
    (r"(?i)(?<![A-Za-z])(?:患者 ?)?ID ?(?:番号)? ?[::]? ?[0-9]{4,}", "a patient's number"),
    (r"(?<![0-9.])[0-9]{6,}(?![0-9.])", "six digits and more: no measurement is so long, a patient's number is"),
    (r"(?:19|20)[0-9]{2} ?[年/.-] ?[0-9]{1,2} ?[月/.-] ?[0-9]{1,2}", "a date"),
    (r"(?:明治|大正|昭和|平成|令和)(?:[0-9]{1,2}|元)年(?:[0-9]{1,2}月)?", "a date of an era"),
    (r"(?<![A-Za-z])[MTSHR][0-9]{1,2}[年.][0-9]{1,2}[月.]", "the same, short; R5.5 alone may be a place"),
    (r"(?<![一-鿿々])(?!患者|皆|奥|先生)[一-鿿々]{2,4} ?(?:さん|氏|殿)(?![一-鿿])", "a name with a title"),
    (r"(?m)^ *[一-鿿々]{1,4} ?[一-鿿々]{1,4} ?様 *$", "a name as in a letter's first line"),
)
"""What looks like a person's identity in NFKC text, with the reason.

Elsewhere 様 is no sign of a name: 結節様, 同様 and 索状様の陰影 are everyday words of reports. Dates are taken as such
even where they are only those of a prior study: a draft has no business inventing one.
"""

_IDENTIFIERS = tuple(re.compile(pattern) for pattern, _ in IDENTIFIERS)


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of form; `count` is how often, or the length in characters."""

    kind: FaultKind
    count: int


def form_faults(text: str, report: ReadReport, *, least: int = LEAST, most: int = MOST) -> tuple[Fault, ...]:
    """Returns the faults of a report's form, none for a report in order.

    Args:
        text: The report as it was written.
        report: What was read of it.
        least: Fewest characters, white space left out.
        most: Most characters.

    >>> report = ReadReport((), findings_text="右胸水を認める。")
    >>> [fault.kind for fault in form_faults("右胸水を認める。", report)]
    ['no_impression']
    """
    length = sum(not sign.isspace() for sign in text)
    sentences = [part.strip() for part in _SENTENCE.findall(text)]
    most_often = max(Counter(filter(None, sentences)).values(), default=0)
    names = len(identifier_places(text))
    faults: dict[FaultKind, int] = {
        "no_findings": int(not report.findings_text.strip()),
        "no_impression": int(not report.impression_text.strip()),
        "too_short": length if length < least else 0,
        "too_long": length if length > most else 0,
        "repeats": most_often if most_often > 2 else 0,
        "identifier": names,
    }
    if not length:
        faults["too_short"] = 1  # of nothing there is no length to tell
    return tuple(Fault(kind, count) for kind, count in faults.items() if count)


def identifier_places(text: str) -> tuple[tuple[int, int], ...]:
    """Returns where the NFKC form of a text looks as if it named a person: (start, end), in order, none overlapping.

    A simple rule and no proof of absence; see `IDENTIFIERS`.

    >>> identifier_places("結節様陰影。CTR 52%。"), identifier_places("山田太郎殿 ID:０１２３４５６")
    ((), ((0, 5), (6, 16)))
    """
    found: list[tuple[int, int]] = []
    for place in sorted(match.span() for pattern in _IDENTIFIERS for match in pattern.finditer(fold(text))):
        if found and place[0] < found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], place[1]))
        else:
            found.append(place)
    return tuple(found)
