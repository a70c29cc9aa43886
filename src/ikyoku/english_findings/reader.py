"""What an English chest X-ray report says of which finding: the other side of a translation's back-check.

A table of words, and scopes of negation and doubt around them in the manner of NegEx: a cue reaches over the words of
its own clause, forward or backward, until a word that turns ("but") or the clause begins anew. The names are those of
`findings.FINDINGS`, so that both languages compare. It reads to check translations; it is no labeler for English
reports.

Reference:
    Chapman et al. 2001, A simple algorithm for identifying negated findings and diseases in discharge summaries,
    J Biomed Inform 34:301, for the scopes; the words are our own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from ikyoku.english_findings.words import ANEW, CHANGES, CUES, HEADING, NORMAL, SIDES, SITES, WORDS
from ikyoku.findings.types import Certainty, Change, Finding, Measurement, ReadReport, Side
from ikyoku.findings.vocabulary import FINDINGS

Section = Literal["findings", "impression", ""]

_PATTERNS = {name: re.compile(rf"\b(?:{'|'.join(words)})\b") for name, words in WORDS.items()}
_CUES = re.compile(rf"\b(?:{'|'.join(f'(?P<{kind}>{chr(124).join(words)})' for kind, words in CUES.items())})\b")
_JOINS = re.compile(
    r"[\s,/]*(?:\b(?:and/or|and|or|than|with|associated|adjacent|overlying|underlying|subjacent|compressive|secondary)\b"
    r"|[\s,/])*"
)
_MEANS = re.compile(
    r"\b(?:represent\w*|reflect\w*|likely|due to|suggest\w*|(?:consistent|compatible) with|favou?r\w*|versus|vs"
    r"|(?:suspicious|concerning|worrisome) for)\b"
)
_EITHER = re.compile(r"\b(?:versus|vs)\b")
_SUCH_AS = re.compile(r"(?:suspicious|concerning|worrisome|suggest)")
_PART = re.compile(r"\b(?:tips?|side ?(?:hole|port)s?|course|borders?|margins?)\b")  # not seeing it denies no tube
_MOVED = ("mediastinal_shift", "tracheal_deviation")
_TOWARD = re.compile(r"^\W*(?:[a-z]+ ){0,3}?to(?:wards?)? the (?P<side>right|left)\b")
_VERB = re.compile(r"\b(?:is|are|was|were|has|have|remains?|shows?|measures?)\b")
_SENTENCE = re.compile(r"(?<=[.;!?])(?<!\b[a-z]\.)(?<!\bdr\.)\s+|\n\s*\n|\n(?=\s*(?:\d+[.)]|-))|;|\.(?=$)")
_ITEM = re.compile(r"^\s*(?:\d+[.)]\s+|[-*•]\s+)")
_BY = r"\s*[x×]\s*"
_SIZE = re.compile(
    rf"(\d+(?:\.\d+)?)(?:{_BY}(\d+(?:\.\d+)?))?(?:{_BY}(\d+(?:\.\d+)?))?\s*-?\s*(mm|cm|(?:milli|centi)met\w+)\b"
)
_CTR = re.compile(r"(?:cardiothoracic ratio|\bctr)\D{0,25}?(\d+(?:\.\d+)?)\s*(%)?")
_NORMAL = re.compile(r"normal chest|no acute (?:cardiopulmonary|intrathoracic|cardiothoracic)")
_COMPARES = re.compile(r"compar(?:ed|ison)|(?:prior|previous) (?:study|exam|radiograph|film)|unchanged|interval")


@dataclass(frozen=True, slots=True)
class _Place:
    """A finding's word or a cue in a sentence; `kind` is the finding's name or the cue's kind."""

    kind: str
    text: str
    start: int
    end: int


def read_english(text: str) -> ReadReport:
    """Returns what an English report says, in the labeler's names.

    Args:
        text: A report or one section of it. Of a report with headings only findings and impression are read.

    >>> [(f.name, f.certainty, f.side) for f in read_english("No pneumothorax. Small left effusion.").findings]
    [('pneumothorax', 'absent', ''), ('pleural_effusion', 'present', 'left')]
    """
    findings_text, impression_text = english_sections(text)
    parts: list[tuple[str, Section]] = [(findings_text, "findings"), (impression_text, "impression")]
    if not impression_text:
        parts = [(findings_text, "")]
    found: list[Finding] = []
    for part, section in parts:
        start = max(text.find(part), 0)
        for at, sentence in _sentences(part):
            found += _read_sentence(sentence, start + at, section)
    low = text.lower()
    return ReadReport(
        tuple(found),
        tuple(_measurements(low)),
        normal=bool(_NORMAL.search(low)) and all(f.certainty == "absent" for f in found),
        compares=bool(_COMPARES.search(low)),
        findings_text=findings_text,
        impression_text=impression_text,
    )


def english_sections(text: str) -> tuple[str, str]:
    r"""Returns the findings and the impression of an English report; without headings all of it is findings.

    >>> english_sections("FINDINGS: Clear lungs.\nIMPRESSION: Normal.")
    ('Clear lungs.', 'Normal.')
    """
    heads = list(HEADING.finditer(text))
    wanted = {"findings": "", "impression": "", "conclusion": ""}
    if not any(head[1].lower() in wanted for head in heads):
        return text.strip(), ""
    for head, after in zip(heads, [*heads[1:], None], strict=True):
        name = head[1].lower()
        if name in wanted:
            wanted[name] = f"{wanted[name]}\n{text[head.end() : after.start() if after else len(text)].strip()}".strip()
    return wanted["findings"], wanted["impression"] or wanted["conclusion"]


def called_normal(text: str) -> dict[str, frozenset[str]]:
    """Returns the organs that an English text calls normal ("The lungs are clear"), each with the findings so denied.

    The organs are heart, mediastinum, vessels, trachea, lungs, pleura, bones, and chest for the whole film.

    >>> sorted(called_normal("Heart size is normal."))
    ['heart']
    """
    low = " ".join(text.lower().split())
    return {organ: names for organ, pattern, names in NORMAL if re.search(pattern, low)}


def _sentences(text: str) -> Iterator[tuple[int, str]]:
    """Yields each sentence in small letters with its place; an item's number is no part of it."""
    low, at = text.lower(), 0
    for border in [*_SENTENCE.finditer(low), None]:
        sentence = low[at : border.start() if border else len(low)]
        item = _ITEM.match(sentence)
        skip = item.end() if item else 0
        if sentence[skip:].strip():
            yield at + skip, sentence[skip:].replace("\n", " ")
        at = border.end() if border else at


def _mentions(sentence: str) -> list[_Place]:
    """The findings' words; where two overlap, the longer."""
    found = [_Place(n, m[0], m.start(), m.end()) for n, p in _PATTERNS.items() for m in p.finditer(sentence)]
    kept: list[_Place] = []
    for each in sorted(found, key=lambda m: m.start - m.end):
        if all(each.end <= other.start or other.end <= each.start for other in kept):
            kept.append(each)
    return sorted(kept, key=lambda m: m.start)


def _read_sentence(sentence: str, offset: int, section: Section) -> Iterator[Finding]:
    mentions = _mentions(sentence)
    cues = [_Place(str(m.lastgroup), m[0], m.start(), m.end()) for m in _CUES.finditer(sentence)]
    borders = [m.start() for m in ANEW.finditer(sentence)]
    borders += [c.start for c in cues if c.kind == "turn"]
    for index, mention in enumerate(mentions):
        asides = [c.start for c in cues if c.text == "which"]  # what "which" tells is about the same thing
        left, right = _surroundings(sentence, mentions, index, [b for b in borders if b not in asides])
        around = f"{sentence[left : mention.start]} {mention.text} {sentence[mention.end : right]}"
        certainty = _certainty(sentence, mention, mentions, cues, borders)
        change: Change = next((c for c, words in CHANGES if re.search(rf"\b(?:{words})\b", around)), "")
        yield Finding(
            mention.kind,
            certainty,
            _side(sentence, mention, left, right) if FINDINGS[mention.kind].sided else "",
            frozenset(site for site, words in SITES if re.search(rf"\b(?:{words})\b", around)),
            "" if certainty == "absent" and change != "resolved" else change,
            section,
            mention.text,
            offset + mention.start,
            offset + mention.end,
        )


def _certainty(
    sentence: str, mention: _Place, mentions: Sequence[_Place], cues: Sequence[_Place], borders: Sequence[int]
) -> Certainty:
    """What the nearest cue behind, else the nearest before, says; doubt that is itself denied is denial."""
    for cue in (c for c in cues if c.start >= mention.end and c.kind.endswith("_after")):
        between = sentence[mention.end : cue.start]
        apart = _VERB.search(between) or any(mention.end <= b < cue.start for b in borders)
        if not apart and not _PART.search(between):
            return "possible" if cue.kind == "maybe_after" else "absent"
        break
    start = max((b for b in borders if b < mention.start), default=-1)
    before = [c for c in cues if start <= c.start < mention.end and c.kind in ("no", "maybe", "pseudo")]
    # A denial between the verb of an aside and the word does not reach it: "is not enlarged and a nodule is seen".
    if not before or before[-1].kind == "pseudo":
        return "possible" if _alternative(sentence, mention, mentions) else "present"
    if before[-1].kind == "no":
        return "absent"
    if len(before) < 2 or before[-2].kind != "no":
        return "possible"
    denied = [m for m in mentions if before[-2].end <= m.start < before[-1].start]
    return "possible" if denied and not _adds_to(sentence, denied[-1], before[-1]) else "absent"


def _adds_to(sentence: str, mention: _Place, cue: _Place) -> bool:
    """Whether a doubt only says what the mention before it would mean.

    "No opacity suspicious for pneumonia" denies both; "no effusion, possible pneumonia" does not.
    """
    gap = sentence[mention.end : cue.start].strip()
    return gap in ("", "to", "that would") and bool(_SUCH_AS.match(cue.text))


def _alternative(sentence: str, mention: _Place, mentions: Sequence[_Place]) -> bool:
    """Whether a mention is the first of two readings: "pneumonia versus atelectasis"."""
    following = min((m.start for m in mentions if m.start >= mention.end), default=len(sentence))
    either = _EITHER.search(sentence, mention.end, following)
    if not either:
        return False
    return not re.search(rf"[.,;]|{_VERB.pattern}", sentence[mention.end : either.start()])


def _surroundings(sentence: str, mentions: Sequence[_Place], index: int, borders: Sequence[int]) -> tuple[int, int]:
    """Where the words about a mention begin and end: at borders, and at mentions that it is not joined to."""
    mention = mentions[index]
    left = max((b for b in borders if b < mention.start), default=0)
    right = min((b for b in borders if b >= mention.end), default=len(sentence))
    for other, after in zip(reversed(mentions[:index]), reversed(mentions[1 : index + 1]), strict=True):
        if not _belong(sentence, other, after):
            left = max(left, other.end)
            break
    for other, after in zip(mentions[index:], mentions[index + 1 :], strict=False):
        if not _JOINS.fullmatch(sentence, other.end, after.start):
            right = min(right, after.start)
            break
    for comma in re.finditer(",", sentence[: mention.start]):
        if comma.start() >= left and SIDES.search(sentence, comma.end(), mention.start):
            left = comma.end()  # the side behind the comma is the one that is meant
    return left, right


def _belong(sentence: str, one: _Place, other: _Place) -> bool:
    """Whether the words about a mention are also about the next: a list, or what the first is taken for."""
    between = sentence[one.end : other.start]
    return bool(_JOINS.fullmatch(between) or _MEANS.search(between))


def _side(sentence: str, mention: _Place, left: int, right: int) -> Side:
    """The side inside the mention, else the last before it, else the one behind it."""
    inside = [m.lastgroup for m in SIDES.finditer(mention.text)]
    before = [m.lastgroup for m in SIDES.finditer(sentence, left, mention.start)]
    behind = [m.lastgroup for m in SIDES.finditer(sentence, mention.end, right)]
    toward = _TOWARD.match(sentence[mention.end : right]) if mention.kind in _MOVED else None
    if toward:
        return "right" if toward["side"] == "right" else "left"
    for sides in (inside, before, behind):
        if "both" in sides or {"right", "left"} <= set(sides):
            return "both"
        if sides:
            return "right" if sides[-1] == "right" else "left"
    return ""


def _measurements(low: str) -> Iterator[Measurement]:
    for found in _CTR.finditer(low):
        value = float(found[1])
        yield Measurement("ctr", value if found[2] or value > 1 else value * 100, found.start(), found.end())
    for found in _SIZE.finditer(low):
        factor = 10.0 if found[4].startswith("c") else 1.0
        for size in found.groups()[:3]:
            if size:
                yield Measurement("size", float(size) * factor, found.start(), found.end())
