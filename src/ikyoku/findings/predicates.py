"""What cues do: predicates that affirm, doubt or deny, changes, and normal structures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from ikyoku.findings.clauses import (
    BARE,
    JOIN,
    RECENT,
    TOPIC,
    Mention,
    Reading,
    Structure,
    anatomy,
    change_last,
    fits,
    is_final,
    leave,
    resolve,
    take_up,
    with_sides,
)
from ikyoku.findings.cues import Cue, Role
from ikyoku.findings.tokens import Token
from ikyoku.findings.types import Certainty, Change

_PRESENT: Certainty = "present"
_ABSENT: Certainty = "absent"
_BESIDE = re.compile(
    "(?:の|は|が|も|とも|、|いずれも|透過性|辺縁|輪郭|含気|形態|位置|大きさ|陰影|部|側|両側|左右|に|ほぼ|概ね|"
    "おおむね|特に| |:)*"
)
_TOPIC_OF = re.compile("(?:陰影|影)?(?:は|に関しては|については)、?")
_IS_NOT_SAID = re.compile("と(?:は|まで)?(?:言|い)え")
_BUT = re.compile("[^。]{0,12}が、?")
_NEW = re.compile("新(?:たに?|規|出)[なの]?$")
_OF_PART = re.compile("([一-鿿々ァ-ヺーA-Za-z]+)に(?:は|も)?、?$")
_OF_FILM = re.compile("(?:胸部|心肺|胸腔内|胸郭内|写真|画像|検査|レントゲン|線|上|範囲|範囲内|全体|視野|今回|特)$")
_AT_PLACE = re.compile("(?:傾向)?[がを]")
_OF_CHANGE = re.compile("(?:傾向|所見|像)?(?:は|を|が|も|の)?(?:明らかに?は?|特に|認め)?")
_ATTRIBUTE = re.compile(
    "(?:した|している|してきた|しつつある|する|傾向の(?:ある)?|中の|の(?!疑|可|み)|な|"
    "著しい)(?=[ぁ-ん]{0,4}[右左両上中下心肺胸気結腫浸空陰網線索粒斑す無縦横皮骨石]|[一-鿿ァ-ヺ])"
)


def read_cue(state: Reading, token: Token, following: Token | None) -> None:
    """Does what a cue says with the findings that wait for it."""
    cue = token.row
    if not isinstance(cue, Cue):
        return
    if cue.role == "prior":
        state.seen_before = True
    elif cue.role == "unjudged":
        state.waiting = []
        leave(state)
    elif cue.role == "aside":
        if state.waiting:
            resolve(state, "present")
        state.aside = token.start
        state.structures = []
    elif cue.role in ("normal", "inactive", "sound"):
        _normal(state, token, cue.role)
    elif cue.role == "change":
        _changed(state, token, cue.change, following)
    elif cue.role == "absent":
        _absent(state, token, following)
    else:
        _affirmed(state, token, cue, following)


def _affirmed(state: Reading, token: Token, cue: Cue, following: Token | None) -> None:
    certainty: Certainty = "possible" if cue.role == "possible" else "present"
    if cue.before and not state.waiting:
        state.doubt = True
        return
    if certainty == "possible" and any(m.change_doubted for m in state.waiting):
        certainty = "present"  # 増悪の可能性 doubts the change
    if is_final(state, token.end):
        if state.waiting:
            if certainty == "possible":
                _topics(state)
            resolve(state, certainty, inferred=cue.role == "possible" or cue.inferred)
        else:
            take_up(state, token, certainty)
    elif certainty == "possible":
        for mention in state.waiting:
            mention.doubted = True


def _topics(state: Reading) -> None:
    """右下肺野の陰影は肺炎が疑われる: the topic is there, what is said of it is doubted."""
    for i in range(len(state.waiting) - 1, 0, -1):
        if _TOPIC_OF.match(state.text, state.waiting[i - 1].end):
            rest, state.waiting = state.waiting[i:], state.waiting[:i]
            here = state.here
            resolve(state, "present")
            if here is not None:
                state.before = here
            state.waiting = rest
            return


def _absent(state: Reading, token: Token, following: Token | None) -> None:
    added = state.added
    if added is not None and state.waiting and added.end == token.start:  # 胸水は右に少量、左なし
        for m in state.waiting:
            m.spots = tuple(s for s in m.spots if s not in added.spots)
        resolve(state, "present")
        state.here = replace(added, fresh=True)
    changed = [m for m in state.waiting if m.change and m.changed_at > m.end - 1]
    last = state.waiting[-1] if state.waiting else None
    if last is not None and last in changed and fits(_OF_CHANGE, state.text, last.changed_at, token.start):
        if last.change != "new":
            for m in changed:
                m.change = "unchanged"
            resolve(state, "present")
            return
        last.change = ""
    if not state.waiting:
        if state.change and state.last and fits(_OF_CHANGE, state.text, state.change_end, token.start):
            if state.change != "new":
                change_last(state, "unchanged")
            state.change = ""
        elif state.structures and state.text.startswith("目立", token.start):
            _normal(state, token, "sound")  # 縦隔は目立たない
        else:
            take_up(state, token, "absent")
        return
    if is_final(state, token.end) or following is None or following.kind != "term":
        resolve(state, "absent", at=token)
    else:  # 空洞を伴わない結節: only what the verb has before it
        waiting, state.waiting = state.waiting, state.waiting[-1:]
        here = state.here
        resolve(state, "absent", at=token)
        state.waiting = waiting[:-1]
        state.here = here
        if here is not None:
            here.fresh = True


def _normal(state: Reading, token: Token, role: Role) -> None:
    sound, before = role == "sound", state.text[max(0, token.start - 12) : token.start]
    if state.change == "new" or _IS_NOT_SAID.match(state.text, token.end):
        return  # no new lesion: what was there is not denied; 異常がないとは言えない
    here = state.here
    beside = _chain(state, token) if sound else state.structures
    if beside:
        if here is not None and here.end > beside[-1][3] and not any(side for s in beside for side, _ in s[1]):
            beside = [(name, with_sides(s, here), start, end) for name, s, start, end in beside]  # CPA 両側sharp
        state.done += _denied(beside)
        state.last_structures = beside
    elif here is not None and here.fresh and "肺" in state.text[here.start : here.end] and not state.waiting:
        if not sound or fits(_BESIDE, state.text, here.end, token.start):
            state.done.append(Mention("opacity", here.start, here.end, here.spots, "absent"))
    elif _overruled(state, token):
        state.last[-1].certainty = "absent"
    elif not sound and not state.waiting and state.aside < 0 and (here is None or not here.fresh) and _whole(before):
        state.normal = state.normal or role == "normal"
        state.inactive = True
    if state.waiting and not sound and not beside:
        devices = [m for m in state.waiting if m.term.device]
        others = [m for m in state.waiting if not m.term.device]
        for waiting, certainty in ((others, _ABSENT), (devices, _PRESENT)):
            state.waiting = waiting
            if waiting:
                resolve(state, certainty)
    elif state.waiting:
        resolve(state, "present")
    leave(state)


def _whole(before: str) -> bool:
    """Whether 異常なし behind these words is of the whole film: not of a part (走行に異常なし), or of what is new."""
    part = _OF_PART.search(before)
    return not _NEW.search(before) and (part is None or bool(_OF_FILM.search(part[1])))


def _chain(state: Reading, token: Token) -> list[Structure]:
    """The structures right before a token that are named in one row: 心・縦隔は正常."""
    chain: list[Structure] = []
    for structure in reversed(state.structures):
        follower = chain[0] if chain else None
        between = (JOIN, follower[2]) if follower else (_BESIDE, token.start)
        if not fits(between[0], state.text, structure[3], between[1]):
            break
        chain.insert(0, structure)
    return chain


def _overruled(state: Reading, token: Token) -> bool:
    """心陰影は大きく見えるが正常範囲内: the state before is taken back."""
    last = state.last[-1] if state.last and state.last_structures and not state.waiting else None
    return bool(
        last in state.done
        and last is not None
        and state.text.startswith("正常", token.start)
        and _BUT.fullmatch(state.text, last.end, token.start)
    )


def _denied(structures: Sequence[Structure]) -> list[Mention]:
    """縦隔・肺門に異常なし: what a normal structure has not."""
    rows = [(anatomy(name).denies, spots, start, end) for name, spots, start, end in structures]
    return [Mention(name, start, end, spots, "absent") for name, spots, start, end in rows if name]


def _changed(state: Reading, token: Token, change: Change, following: Token | None) -> None:
    if _of_next(state, token, change, following):
        state.change, state.change_end = change, token.end
    elif _elliptic_change(state, token, change):
        pass
    elif not state.waiting:
        state.change, state.change_end = change, token.end
        if following is None or _role(following) == "change":
            change_last(state, change)
    else:
        for mention in state.waiting:
            mention.change, mention.changed_at = change, token.end
        role = _role(following)
        gap = state.text[token.end : following.start] if following is not None else ""
        if (
            following is not None
            and following.kind == "place"
            and fits(_AT_PLACE, state.text, token.end, following.start)
        ):
            return  # 増強が両側下肺野に目立つ
        told = role in ("absent", "possible") or (role == "present" and change != "resolved")
        if told and len(gap) <= 8 and not re.search("[、。]", gap):
            for mention in state.waiting:  # 増悪が疑われる doubts the change; 出現が疑われる the finding
                mention.change_doubted = role == "possible" and change != "new"
        else:
            resolve(state, "absent" if change == "resolved" else "present", at=token)


def _role(token: Token | None) -> str:
    return token.row.role if token is not None and isinstance(token.row, Cue) else ""


def _of_next(state: Reading, token: Token, change: Change, following: Token | None) -> bool:
    """Whether a change is an attribute of the finding that follows: 増大した結節, 新たに右胸水が."""
    if following is None or following.kind not in ("term", "place", "anatomy"):
        return False
    verb = "出現" in state.text[token.start : token.end] and not state.text.startswith("た", token.end)
    attribute = change != "unchanged" and _ATTRIBUTE.match(state.text, token.end, state.end)
    if not attribute and (change != "new" or verb):
        return False
    behind = state.waiting and fits(TOPIC, state.text, state.waiting[-1].end, token.start)
    return not (change == "new" and behind)


def _elliptic_change(state: Reading, token: Token, change: Change) -> bool:
    """両側胸水は、右は増加、左は減少: the change of one side of the findings before it."""
    here = state.here
    if here is None or not here.fresh or any(sites for _, sites in here.spots):
        return False
    if not fits(BARE, state.text, here.end, token.start) or not here.spots[0][0]:
        return False
    if state.waiting:
        if any(side != "both" for m in state.waiting for side, _ in m.spots or (("", 0),)):
            return False
        state.last, state.waiting = state.waiting, []
    if not state.last:
        return False
    certainty: Certainty = "absent" if change == "resolved" else "present"
    state.done += [
        replace(m, spots=here.spots, certainty=certainty, change=change, start=here.start, end=here.end)
        for m in state.last[-RECENT:]
        if m.term.sided
    ]
    leave(state)
    return True
