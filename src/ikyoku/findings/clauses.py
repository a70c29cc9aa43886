"""A clause while it is read: findings on their way to a certainty, and what a predicate does with them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Literal

from ikyoku.findings.cues import CONDITION, FINAL
from ikyoku.findings.places import ANATOMY, Anatomy
from ikyoku.findings.tokens import Token
from ikyoku.findings.types import Certainty, Change, Side, Site
from ikyoku.findings.vocabulary import FINDINGS, FindingTerm

Spot = tuple[Side, frozenset[Site]]
"""A side and sites."""
Structure = tuple[str, tuple[Spot, ...], int, int]
"""The name of a row of `places.ANATOMY`, where it is, and where its words start and end."""

JOIN = re.compile(
    "(?:[・、,/~〜& -]|第[0-9]|[0-9]|と|や|の|および|及び|並びに|ならびに|から|かつ|部|に?かけて|さらに|両)*"
)
"""What may stand between two places of one group."""
TIGHT = re.compile(
    "(?:[・/&]|と|や|および|及び|並びに|ならびに|または|又は|あるいは|もしくは|若しくは|か)+(?:明らかな|有意な)?"
)
"""What may stand between two findings that share more than a predicate."""

_ADVERBS = (
    "(?:わずか|僅か|ごく|少量|軽度|中等量?度?|多量|大量|明らか|有意|やや|比較的|淡い?|小さな|小|一部|特|著明|高度|"
    "散在性|多発性|なだらか|約|以前より|前回より|に|な|の|には|では|で|、| )*"
)
TOPIC = re.compile(f"(?:陰影|影|像)?(?:を|は|が|も| )、?{_ADVERBS}")
"""Behind a finding of which something is to be said."""
BARE = re.compile(
    f"(?:側|肺|部|野|葉)?(?:に|で|は|も|の(?:方|ほう)|側){{0,3}}、?{_ADVERBS}(?:同様[のに]?|同じく|も)?(?:所見|もの|"
    f"陰影)?(?:は|を|が|も)?{_ADVERBS}"
)
"""Between a place and a predicate that has no finding of its own."""

_OWN = re.compile(
    f"(?:{_ADVERBS})?(?:陰影|影|像|所見|が疑われる所見)?(?:類|など|等)?(?:は|を|が|も|、|"
    f"の(?:所見|像|貯留|出現|存在)(?:は|を|が|も)?| )*{_ADVERBS}"
)
RECENT = 12
"""How many findings a predicate without one of its own takes up at most."""
_FINAL_FORMS = (")", "+", "-", "±", "?", "認め", "られ", "呈し", "伴い", "あり", "おり")
_LONGEST = 40  # no words between two tokens that belong together are longer; it keeps the time linear


@dataclass(slots=True)
class Mention:
    """A finding in a sentence, on its way to a certainty."""

    name: str
    start: int
    end: int
    spots: tuple[Spot, ...] = ()
    certainty: Certainty | None = None
    doubted: bool = False  # an attribute has doubted it: 肺炎を疑う陰影
    change: Change = ""
    changed_at: int = -1  # where the words of the change end
    change_doubted: bool = False
    behind: bool = False  # its place stands behind it
    others: bool = False  # denied of others than those named before: 他に結節なし

    @property
    def term(self) -> FindingTerm:
        """The row of the table."""
        return FINDINGS[self.name]


@dataclass(slots=True)
class Here:
    """The place that was named last. `kind` says how: 右胸水, 右の胸水, 右肺に."""

    spots: tuple[Spot, ...]
    kind: Literal["compound", "of", "at"]
    start: int
    end: int
    fresh: bool = True
    of_structure: bool = False


@dataclass(slots=True)
class Reading:
    """The state of reading a sentence."""

    text: str
    end: int
    done: list[Mention] = field(default_factory=list)
    waiting: list[Mention] = field(default_factory=list)
    last: list[Mention] = field(default_factory=list)  # the findings that were spoken of last
    here: Here | None = None
    topic: Side = ""
    before: Here | None = None
    structures: list[Structure] = field(default_factory=list)
    last_structures: list[Structure] = field(default_factory=list)
    change: Change = ""  # for the next finding
    change_end: int = -1
    seen_before: bool = False
    doubt: bool = False
    normal: bool = False
    inactive: bool = False  # no active disease: normal where the report has no finding
    aside: int = -1  # where the words stand that leave out what went before: 他に
    added: Here | None = None  # the place that was added last to what waits
    used: int = 0  # what stands before it has been read


def fits(pattern: re.Pattern[str], text: str, start: int, end: int) -> bool:
    """Returns whether the pattern matches all of text[start:end], which is short."""
    return end - start <= _LONGEST and pattern.fullmatch(text, start, end) is not None


def anatomy(name: str) -> Anatomy:
    """Returns the row of a structure."""
    return next(row for row in ANATOMY if row.name == name)


def with_sides(spots: tuple[Spot, ...], here: Here) -> tuple[Spot, ...]:
    """Returns a structure's own sites, on the sides that stand beside it."""
    sides: tuple[Side, ...] = tuple(dict.fromkeys(side for side, _ in here.spots if side)) or ("",)
    return tuple((side, spots[0][1]) for side in sides)


def is_final(state: Reading, at: int) -> bool:
    """Returns whether a predicate that ends at `at` closes its clause, and is not an attribute of what follows."""
    text = state.text
    return at >= state.end or text.endswith(_FINAL_FORMS, 0, at) or bool(FINAL.match(text, at, state.end))


def resolve(state: Reading, certainty: Certainty, *, at: Token | None = None, inferred: bool = False) -> None:
    """Gives all that waits its certainty and leaves the clause. `at` is the predicate that does so."""
    last = max(m.end for m in state.waiting)
    own = at is None or fits(_OWN, state.text, last, at.start)
    for mention in state.waiting:
        mention.certainty = "possible" if mention.doubted and certainty == "present" else certainty
        if certainty == "absent":
            if mention.term.device and not own:
                mention.certainty = "present"
            elif state.seen_before:
                mention.change = "resolved"
            elif mention.change != "resolved":
                mention.change = ""
        if (inferred or mention.doubted) and certainty != "absent" and not mention.spots and state.before is not None:
            mention.spots = _inherited(state.before, mention.term)
    if not CONDITION.search(state.text, last, min(state.end, (at.end if at else last) + 8)):
        state.done += state.waiting
        state.last = state.waiting
    state.waiting = []
    leave(state)


def _inherited(before: Here, term: FindingTerm) -> tuple[Spot, ...]:
    """The place of what is inferred from a finding before it; what lies in the pleura only has its side."""
    if before.of_structure or term.category in ("pleural_effusion", "pneumothorax", "pleural_other"):
        return tuple(dict.fromkeys((side, frozenset[Site]()) for side, _ in before.spots))
    return before.spots


def leave(state: Reading) -> None:
    """Forgets what holds within one clause only."""
    if state.here is not None and any(side or sites for side, sites in state.here.spots):
        state.before = state.here
    state.here = state.added = None
    state.structures = []
    state.seen_before = False
    state.change = ""


def take_up(state: Reading, token: Token, certainty: Certainty) -> None:
    """右肺に浸潤影を認め、左肺には認めない: the predicate takes up the findings before it, at its own place."""
    here = state.here
    if here is None or not here.fresh or not state.last or not fits(BARE, state.text, here.end, token.start):
        if here is not None and is_final(state, token.end):
            leave(state)
        return
    again = [
        replace(m, spots=here.spots, certainty=certainty, change="", start=here.start, end=here.end)
        for m in state.last[-RECENT:]
        if m.term.sided
    ]
    state.done += again
    leave(state)


def change_last(state: Reading, change: Change) -> None:
    """胸水を認め、前回より増加している: the change is that of the findings before it."""
    for mention in state.last:
        if mention.certainty != "absent":
            mention.change = change
            if change == "resolved":
                mention.certainty = "absent"
    state.change = ""
