"""Findings and places as they come: which place belongs to which finding, and structures with a state."""

from __future__ import annotations

import re
from typing import Literal

from ikyoku.findings.clauses import (
    BARE,
    JOIN,
    TIGHT,
    TOPIC,
    Here,
    Mention,
    Reading,
    Spot,
    Structure,
    anatomy,
    fits,
    with_sides,
)
from ikyoku.findings.cues import DROPPED_AFTER
from ikyoku.findings.places import Anatomy, Place
from ikyoku.findings.tokens import Token
from ikyoku.findings.types import Side, Site
from ikyoku.findings.vocabulary import FindingTerm

_SUBJECT = re.compile("(?:陰影|影|像)?(?:は|が|も)、?")
_AT = re.compile("(?:側|部|内|末梢|優位|主体)?(?:に|で(?!あ)|は|、|から|とも)")
_OVERLAP = re.compile("背側|後方|に重な")
_THEN = re.compile("して?、?")
_WITHIN = re.compile("の[肺多単]?[内発]?")
_BRACKET = re.compile("(?:陰影|影)? ?[(:]")
_MOST_SPOTS = 6  # of one finding; a text that names more is none


def read_term(state: Reading, token: Token, following: Token | None) -> None:
    """Lets a finding wait for its predicate, with its place; one of which nothing is claimed is passed over."""
    term = token.row
    if not isinstance(term, FindingTerm):
        return
    name = term.name
    if name == "calcification" and any(s[0] == "aorta" for s in state.structures):
        name = "aortic_calcification"
    mention = Mention(name, token.start, token.end)
    if DROPPED_AFTER.match(state.text, token.end):
        if following is None or state.here is None or state.here.kind != "at":
            state.here = None
        return
    if (
        state.waiting
        and state.waiting[-1].name == name
        and fits(_WITHIN, state.text, state.waiting[-1].end, token.start)
    ):
        state.waiting[-1].end = token.end  # 肺癌の肺内転移 is one thing
        return
    mention.spots = _spots_for(state, mention)
    if state.change:
        mention.change, mention.changed_at = state.change, state.change_end
        state.change = ""
    mention.doubted = state.doubt
    state.doubt = False
    state.waiting.append(mention)


def _spots_for(state: Reading, mention: Mention) -> tuple[Spot, ...]:
    here = state.here
    previous = state.waiting[-1] if state.waiting else None
    if previous is not None and previous.spots and fits(_SUBJECT, state.text, previous.end, mention.start):
        return previous.spots  # 左肺の結節は石灰化
    if here is None:
        return ()
    if here.fresh:
        here.fresh = False
        state.structures = []  # 右肺門に結節: a place, and nothing is said of the hilum
        return here.spots if any(side or sites for side, sites in here.spots) else ()
    between = state.text[previous.end : mention.start] if previous else ""
    tight = bool(TIGHT.fullmatch(between))
    if (
        here.kind == "at"
        or between.startswith("に対し")
        or (here.kind == "of" and tight)
        or (here.kind == "compound" and between in ("・", "/"))
    ):
        return here.spots
    return ()


def read_place(state: Reading, token: Token, following: Token | None) -> None:
    """Makes a place the one that is here, joined with what was named right before it."""
    row = token.row
    spot: Spot
    if isinstance(row, Anatomy):
        spot = ("", frozenset({row.site} if row.site else ()))
    elif isinstance(row, Place):
        if row.reason == "same":
            _same_place(state, token)
            return
        if row.reason == "predominant":
            _predominant(state)
            return
        spot = (row.side, frozenset(row.sites))
    else:
        return
    here = state.here
    if (
        here is not None
        and here.fresh
        and here.spots[0][0]
        and isinstance(row, Anatomy)
        and _OVERLAP.match(state.text, token.end)
    ):
        return  # 左下肺野の心陰影背側に
    if here is not None and here.fresh and fits(JOIN, state.text, here.end, token.start):
        spots = _joined(here.spots, spot, tight=state.text[here.end : token.start] in ("", "の", "部", "側"))
        here = Here(spots, "compound", here.start, token.end)
    else:
        paired = not isinstance(row, Anatomy) or row.name in ("hilum", "angle")
        side = spot[0] or (state.topic if spot[1] and paired else "")
        here = Here(((side, spot[1]),), "compound", token.start, token.end)
    here.kind = _kind(state.text, token.end)
    if here.kind == "at" and len(here.spots) == 1 and not here.spots[0][1]:
        state.topic = here.spots[0][0]
    elif here.spots[0][0]:
        state.topic = here.spots[0][0] if here.kind == "at" else state.topic
    state.here = here
    if isinstance(row, Anatomy):
        own = frozenset({row.site} if row.site else ())
        sides: tuple[Side, ...] = tuple(dict.fromkeys(side for side, _ in here.spots if side)) or ("",)
        state.structures.append((row.name, tuple((side, own) for side in sides), token.start, token.end))
    else:
        _place_behind(state, here, following)


def _joined(spots: tuple[Spot, ...], new: Spot, *, tight: bool) -> tuple[Spot, ...]:
    """右 + 下肺野 is one place; 右上肺野 + 左下肺野 are two; 上 + 下肺野 of one side are one with two sites."""
    if len(spots) >= _MOST_SPOTS:
        return spots
    *rest, (side, sites) = spots
    if new[0] and side and new[0] != side:
        if not sites and not new[1] and not rest:
            return (("both", frozenset()),)
        return (*spots, new)
    if new[0] and not side and sites and not tight:
        return (*spots, new)
    return (*rest, (side or new[0], sites | new[1]))


def _kind(text: str, at: int) -> Literal["compound", "of", "at"]:
    if _AT.match(text, at):
        return "at"
    return "of" if text.startswith("の", at) else "compound"


def _place_behind(state: Reading, here: Here, following: Token | None) -> None:
    """浸潤影を右下肺野に認める, 胸水は右に, 胸水(右): the place belongs to the finding before it."""
    if not state.waiting:
        return
    previous = state.waiting[-1]
    if previous.spots and not previous.behind and (previous.spots[0][0] or not here.spots[0][0]):
        return
    if following is not None and following.kind in ("place", "anatomy") and following.start - here.end <= 1:
        return  # the group goes on
    bracket = fits(_BRACKET, state.text, previous.end, here.start)
    if previous.behind or not (bracket or fits(TOPIC, state.text, max(previous.end, previous.changed_at), here.start)):
        if previous.behind and not (following is not None and following.kind == "term"):
            _add_place(state, here)
        return
    if not bracket and following is not None and following.kind == "term":
        gap = state.text[here.end : following.start]
        if not re.match("[にで、]", gap) or not re.search("[、,]", gap):
            return
    for mention in reversed(state.waiting):
        if mention.spots and mention is not previous:
            break
        mention.spots = here.spots if not mention.spots else tuple((here.spots[0][0], s[1]) for s in mention.spots)
        mention.behind = True
    here.fresh = False
    here.kind = "compound"


def _same_place(state: Reading, token: Token) -> None:
    spots = next((m.spots for m in reversed([*state.last, *state.waiting]) if m.spots), ())
    if spots:
        state.here = Here(spots, "at", token.start, token.end)


def _add_place(state: Reading, here: Here) -> None:
    """ドレーンは右に1本、左に2本; 右側胸部から頸部に広範に: one more place of the same findings."""
    for mention in state.waiting:
        if mention.behind:
            *rest, (side, sites) = mention.spots
            new_side, new_sites = here.spots[0]
            if not new_side:
                mention.spots = (*rest, (side, sites | new_sites))
            elif here.spots[0] not in mention.spots:
                mention.spots = (*mention.spots, *here.spots)
                state.added = here
    here.fresh = False


def _predominant(state: Reading) -> None:
    """右優位: there is some on the other side too."""
    for mention in state.waiting:
        if not any(side for side, _ in mention.spots):
            sites = frozenset[Site]().union(*(s for _, s in mention.spots))
            mention.spots = (("both", sites),)
    if not state.waiting and (state.here is None or not state.here.fresh):
        state.here = Here((("both", frozenset()),), "at", 0, 0)


def read_state(state: Reading, token: Token, following: Token | None) -> None:
    """心陰影 + 拡大: a finding, for each structure that has that state."""
    name = str(token.row)
    here = state.here
    structures = state.structures or _taken_up(state, token)
    made = False
    for structure, spots, start, end in structures:
        found = anatomy(structure).states.get(name)
        if found is None:
            continue
        if here is not None and here.end > end and not any(side for side, _ in spots):
            spots = with_sides(spots, here)
        if any(m.name == found and m.spots == spots for m in state.waiting):
            continue
        state.waiting.append(Mention(found, start, token.end, spots, change=state.change, doubted=state.doubt))
        state.change, state.doubt, made = "", False, True
    if made:
        state.used = token.end
        state.last_structures, state.structures = structures, []
        if here is not None:
            here.fresh, here.of_structure = False, True


def _taken_up(state: Reading, token: Token) -> list[Structure]:
    """The structures spoken of last, where a state has none: 左CPAは鋭、右は鈍; 縦隔の偏位や拡大; 蛇行し石灰化."""
    here = state.here
    if here is not None and here.fresh and fits(BARE, state.text, here.end, token.start):
        return [(name, here.spots, here.start, here.end) for name, *_ in state.last_structures]
    before = state.waiting or state.last
    if before and any(fits(p, state.text, before[-1].end, token.start) for p in (TIGHT, _THEN)):
        return state.last_structures
    return []
