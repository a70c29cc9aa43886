"""The sections of a report: 所見, 診断, and what comes from the referral and describes no film."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ikyoku.findings.folding import Folded, folded

Kind = Literal["findings", "impression", "referral", ""]

HEADINGS: dict[Kind, tuple[str, str]] = {
    "findings": ("(?:画像|読影|胸部X線|X線|胸部|主な|単純X線)?(?:の)?所見|FINDINGS?|レポート本文|本文", "what is seen"),
    "impression": (
        "(?:画像|読影|放射線科?|X線|最終)?(?:の)?"
        "(?:診断|印象|結論|まとめ|総合(?:判定|評価|所見|診断)|所見まとめ|診断名|要約|コメント)(?:・印象)?|"
        "IMPRESSIONS?|CONCLUSIONS?|ASSESSMENT",
        "what it means",
    ),
    "referral": (
        "(?:依頼|検査|撮影|紹介)(?:の)?(?:目的|内容|理由|事項|情報|部位|法|項目|日時?)|目的|"
        "臨床(?:診断|情報|経過|所見|症状)?(?:名)?|主訴|現病歴|既往歴?|病歴|病名|適応|患者(?:情報|背景)?|年齢|性別|"
        "比較(?:画像|対象)|手技|撮影(?:条件|体位)|モダリティ|検査名|HISTORY|INDICATIONS?|"
        "CLINICAL (?:INFORMATION|HISTORY)|COMPARISON|TECHNIQUE|EXAMINATION|推奨|今後の方針|方針|RECOMMENDATIONS?",
        "why the film was taken, or what to do: it describes nothing that is seen",
    ),
}
"""Headings by kind: words, and what stands under them."""

_OPEN = "[\\[【<((■□●○◆◇▼★#*・\\-=> ]"
_CLOSE = "[\\]】>))#*=]"
_HEADING = re.compile(
    rf"(?:^|(?<=[\n。 ]))(?P<open>{_OPEN}{{0,8}})(?:[0-9][.)] ?)?(?:"
    + "|".join(f"(?P<{kind}>{words})" for kind, (words, _) in HEADINGS.items())
    + rf")(?P<tail>(?:/|・|および|及び)(?:所見|診断|印象))? ?(?P<close>{_CLOSE}{{0,6}})"
    r"(?P<colon> ?[::])?(?P<end>[ ]{0,8}(?=\n|$))?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Section:
    """A stretch of a folded text under one heading; `kind` is "" before any heading."""

    kind: Kind
    start: int
    end: int


def sections(text: str) -> list[Section]:
    """Returns the stretches of a folded text, without their headings.

    >>> text = "所見: 気胸なし。 診断: 正常"
    >>> [(s.kind, text[s.start : s.end].strip()) for s in sections(text)]
    [('findings', '気胸なし。'), ('impression', '正常')]
    """
    found: list[Section] = []
    kind: Kind = ""
    start = 0
    headings = list(_headings(text))
    for i, m in enumerate(headings):
        found.append(Section(kind, start, m.start()))
        kind, start = _kind(m), m.end()
        line = text.find("\n", start) + 1
        if kind == "referral" and line and m["end"] is None and all(_kind(n) == kind for n in headings[i + 1 :]):
            # No heading tells where the report begins: "既往歴: 肺結核" is one line.
            found.append(Section(kind, start, line))
            kind, start = "", line
    found.append(Section(kind, start, len(text)))
    return [s for s in found if text[s.start : s.end].strip()]


def _headings(text: str) -> Iterator[re.Match[str]]:
    for m in _HEADING.finditer(text):
        alone = m["end"] is not None
        bracketed = bool(m["close"]) and bool(m["open"].strip(" "))
        starts = (
            not text[max(0, m.start() - 40) : m.start()].rstrip(" ")[-1:].strip("\n。")
        )  # a line or sentence, not a word after a space
        if m["colon"] or (starts and (bracketed or alone)):
            yield m


def _kind(m: re.Match[str]) -> Kind:
    for kind in HEADINGS:
        if m[kind] is not None:
            return kind
    return ""


def split_sections(text: str) -> tuple[str, str]:
    """Returns the texts under 所見 and under 診断 without headings; a report without headings is all findings.

    >>> split_sections("【所見】右胸水を認める。【診断】右胸水")
    ('右胸水を認める。', '右胸水')
    """
    return section_texts(text, folded(text))


def section_texts(text: str, form: Folded) -> tuple[str, str]:
    """Returns what `split_sections` does, for a text that is folded already."""
    parts: dict[Kind, list[str]] = {"findings": [], "impression": []}
    for s in sections(form.text):
        if s.kind == "referral":
            continue
        start, end = form.span(s.start, s.end)
        parts["impression" if s.kind == "impression" else "findings"].append(text[start:end].strip())
    return "\n".join(parts["findings"]), "\n".join(parts["impression"])
