"""What a sentence says of its findings: the rules of scope.

A clause is read from left to right. Findings wait until a final predicate comes, which then holds for all that wait:
胸水、気胸を認めない denies two. A place before a finding is the finding's; with に or では it stays for the next ones.

Rules worth knowing, each tested by sentences of the golden set:

- A predicate without a finding of its own takes up the last ones, at the place it names: 左肺には認めない.
- A verb before a noun is an attribute: 肺炎を疑う陰影を認めない denies both, 空洞を伴わない結節 only the cavity.
- Denied change leaves the finding: 胸水の増加を認めない is an effusion that has not grown. Denied 新たな… is absence.
- What was seen before and is not seen now is resolved.
- A structure with a state is a finding (心陰影は拡大), a normal structure denies its finding (CPAは鋭).
- A tube is denied only by a predicate of its own: ペースメーカーの断線なし does not remove the pacemaker.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from ikyoku.findings.clauses import Mention, Reading, change_last, resolve
from ikyoku.findings.placing import read_place, read_state, read_term
from ikyoku.findings.predicates import read_cue
from ikyoku.findings.tokens import Kind, Token

_COPULA = re.compile(
    "(?:陰影|影|像)?(?:で(?:、|あり|あるが|す|ある)|だが|のため(?!に)|の?(?:所見)?に加え(?:て)?|"
    "し(?:ており(?!ませ)|、|て(?:い(?:る|ます)|おります)(?:が|ものの|けれど|一方)))"
)
_COLON = re.compile(" ?[:→]")  # 右下肺野結節: 肺癌疑い

_STEPS: Mapping[Kind, Callable[[Reading, Token, Token | None], None]] = {
    "term": read_term,
    "place": read_place,
    "anatomy": read_place,
    "state": read_state,
    "cue": read_cue,
}


def read_sentence(text: str, tokens: Sequence[Token], end: int, last: Sequence[Mention] = ()) -> Reading:
    """Returns what the tokens of one sentence say. `last` are the findings of the sentence before it."""
    state = Reading(text, end, last=list(last))
    for i, token in enumerate(tokens):
        if token.start < state.used:
            continue
        following = tokens[i + 1] if i + 1 < len(tokens) else None
        colon = token.kind == "term" and state.waiting and _COLON.match(text, state.waiting[-1].end, token.start)
        if state.waiting and (colon or _COPULA.match(text, state.waiting[-1].end)):
            resolve(state, "present")  # 鈍で、胸水を疑う
        _STEPS[token.kind](state, token, following)
    _close(state)
    return state


def _close(state: Reading) -> None:
    """Ends a sentence: what waits is there, as in 右胸水、心拡大."""
    if state.waiting:
        resolve(state, "present")
    elif state.change and state.last:
        change_last(state, state.change)
    for mention in state.done:
        mention.others = mention.certainty == "absent" and 0 <= state.aside < mention.start
