"""A folded sentence as a row of tokens: findings, places, states and cues."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from heapq import heapify, heappop, heappush
from typing import Literal

from ikyoku.findings.cues import CUES, Cue
from ikyoku.findings.places import ANATOMY, PREDOMINANT, SAME_PLACE, SIDES, SITES, STATES, Anatomy, Place
from ikyoku.findings.vocabulary import FINDINGS, FindingTerm

Kind = Literal["term", "place", "anatomy", "state", "cue"]
Row = FindingTerm | Place | Anatomy | Cue | str

_STOP = re.compile(r"(?:[^。!?;\n.]|\.(?=[0-9A-Za-z]))*[。!?;\n.]*")
_GOES_ON = re.compile(
    "(?:[をにはがのとやも、,(・]|および|及び|ならびに)[ ]{0,8}$"
)  # a line that ends so is wrapped, not over
_CONTINUED = re.compile(
    "[ ]{0,8}(?:[をはがもで](?![あいうえお])|に(?!ぶ)|認め|みとめ|みられ|見られ|られ|なし|無し|ない|なく|ありま|"
    "あり(?!ふ)|ません|ず(?:[。、]|$)|指摘|疑[わうい]|否定|目立|伴|呈|存在|いる|れる|る(?:[。、]|$))"
)
_LONGEST = 400  # a sentence of several lines is no longer than that
_JAPANESE = re.compile("[ぁ-んァ-ヺ一-鿿]|(?<![A-Za-z])CPA(?![A-Za-z])")


@dataclass(frozen=True, slots=True)
class Token:
    """Words of one table row at text[start:end]."""

    kind: Kind
    start: int
    end: int
    row: Row


@lru_cache(maxsize=1)
def _rows() -> tuple[tuple[re.Pattern[str], Kind, Row], ...]:
    """Every row of every table, compiled; earlier rows win where two matches are as long."""
    rows: list[tuple[str, Kind, Row]] = []
    rows += [("|".join(term.words), "term", term) for term in FINDINGS.values() if term.words]
    rows += [(PREDOMINANT, "place", Place(PREDOMINANT, "", (), "predominant"))]
    rows += [(SAME_PLACE, "place", Place(SAME_PLACE, "", (), "same"))]
    rows += [(anatomy.words, "anatomy", anatomy) for anatomy in ANATOMY]
    rows += [(place.words, "place", place) for place in (*SITES, *SIDES)]
    rows += [(words, "state", name) for name, (words, _) in STATES.items()]
    rows += [(cue.words, "cue", cue) for cue in CUES]
    return tuple((re.compile(words, re.IGNORECASE), kind, row) for words, kind, row in rows)


def tokens(text: str, start: int, end: int) -> list[Token]:
    """Returns the tokens of text[start:end] in order: what starts first counts, of those the longest match.

    What is left of a row's match behind another token is tried again: 左胸腔 + ドレーン. A state and the change of the
    same words (増強) both stay, the state first.
    """
    rows = _rows()
    found = [
        (m.start(), -m.end(), i)
        for i, (pattern, _, _) in enumerate(rows)
        for m in pattern.finditer(text, start, end)
        if m.end() > m.start()
    ]
    heapify(found)
    kept: list[Token] = []
    at = start
    while found:
        begin, negative_end, i = heappop(found)
        pattern, kind, row = rows[i]
        stop = -negative_end
        last = kept[-1] if kept else None
        if last is None or begin >= at:
            kept.append(Token(kind, begin, stop, row))
            at = stop
        elif last.kind == "state" and (begin, stop) == (last.start, last.end) and kind != "state":
            kept.append(Token(kind, begin, stop, row))
        elif kind == "state" and begin == last.start and (last.kind == "cue" or stop == last.end):
            kept.insert(len(kept) - 1, Token(kind, begin, stop, row))
        elif stop > at and (m := pattern.search(text, at, stop)) and m.end() > m.start():
            heappush(found, (m.start(), -m.end(), i))
    return kept


def sentences(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yields the sentences of text[start:end]; a line break within one does not end it."""
    begin = start
    at = start
    while at < end:
        m = _STOP.match(text, at, end)
        stop = m.end() if m and m.end() > at else at + 1
        body = text[begin:stop]
        wrapped = body.endswith("\n") and not body.endswith("\n\n") and body[-2:-1] not in ("。", "!", "?", ";")
        if not (wrapped and stop < end and stop - begin < _LONGEST and _wraps(text, stop)):
            if _JAPANESE.search(body):
                yield begin, stop
            begin = stop
        at = stop


def _wraps(text: str, at: int) -> bool:
    """Whether the line before position `at` goes on behind it."""
    return bool(_GOES_ON.search(text[max(0, at - 24) : at - 1]) or _CONTINUED.match(text, at))
