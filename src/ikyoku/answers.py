"""What a completion says, and what a question asks for.

The studies score the reply's text, so what is read out here stays text. Only the question's own words are folded
(NFKC), to read from them how many options are to be chosen.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ikyoku.text import fold

RESPONSE_MARKERS = ("### 応答：", "### Response:", "### Answer:")
"""The headings after which the studies' prompt formats expect the reply."""

_HEADING = "###"
_NUMERALS = {"一": 1, "二": 2, "三": 3, "四": 4, "五": 5, "六": 6, "七": 7, "八": 8, "九": 9}
_WORDS = {"ひとつ": 1, "ふたつ": 2, "みっつ": 3, "よっつ": 4, "いつつ": 5}

# "2つ選べ", "二つを選びなさい", "3個だけ選択せよ", "すべて選べ"; not "5つ選択肢がある".
_ASKED = re.compile(
    r"(?:(?P<digits>(?<![0-9])(?<![0-9][.,])[1-9][0-9]?)\s*[つ個]"
    r"|(?P<kanji>[一二三四五六七八九])\s*[つ個]"
    rf"|(?P<word>{'|'.join(_WORDS)})"
    r"|(?P<all>すべて|全て|全部))"
    r"\s*(?:だけ|のみ)?\s*を?\s*(?:選(?!択肢)|えら[べびん])"
)


def read_reply(text: str, *, markers: Sequence[str] = RESPONSE_MARKERS) -> str:
    r"""Returns the reply inside a completion.

    That is what follows the last response marker where the model echoes one, and the whole text where it does not;
    cut at the next "###", stripped of white space. The characters are otherwise verbatim (no NFKC). It may be
    empty. A model that runs on into further questions of its own with the same markers is read at the last of
    them, so give the first "###" as a stop to the decoding where that can happen.

    Args:
        text: What the model wrote.
        markers: Headings after which a reply begins, compared verbatim.

    Reference:
        Sukeda et al. 2024 (arXiv 2406.14882), the authors' harness of June 2024: after the last marker (its
        Japanese rule), cut at the next "###" (its English rule).

    >>> read_reply("### 入力：\n胃癌,肝癌\n### 応答：\n 肝癌\n\n### 指示：\n次の")
    '肝癌'
    >>> read_reply(" 肝癌\n理由は…")
    '肝癌\n理由は…'
    """
    start = 0
    for marker in markers:
        found = text.rfind(marker) if marker else -1
        if found >= 0:
            start = max(start, found + len(marker))
    return text[start:].split(_HEADING, 1)[0].strip()


def read_completion(text: str) -> str:
    r"""Returns the reply inside what a model wrote after a prompt that it does not repeat.

    That is what stands before the first "###": a base model that runs on into further questions of its own is read at
    the first answer. Where nothing stands there, the model has repeated the marker first, and `read_reply` reads on.

    >>> read_completion("肝癌\n### 指示：\n次の問い\n### 応答：\n胃癌")
    '肝癌'
    >>> read_completion("### 応答：\n肝癌")
    '肝癌'
    """
    return text.split(_HEADING, 1)[0].strip() or read_reply(text)


def first_line(text: str) -> str:
    r"""Returns the first line that is not blank, stripped; empty where there is none.

    Reference:
        The authors' harness since October 2024 (commit ef9544a): strip, keep the first line, strip.

    >>> first_line("\n 肝癌 \n肝硬変から生じる。")
    '肝癌'
    """
    return text.strip().split("\n", 1)[0].strip()


def asked_count(question_text: str) -> int:
    """Returns how many options a question asks for, read from its own words.

    At least 1; 1 where the question names no number ("どれか。"), and 0 where it asks for all that apply
    ("すべて選べ"), which leaves the number unknown. Where several are named the last one counts: the exam puts its
    instruction at the end. Widths are folded (NFKC); the right answer is never looked at, so its size is not given
    away to the scorer.

    >>> asked_count("肝硬変でみられるのはどれか。２つ選べ。")
    2
    >>> asked_count("正しいのはどれか。"), asked_count("正しいものをすべて選べ。")
    (1, 0)
    """
    asked = list(_ASKED.finditer(fold(question_text)))
    if not asked:
        return 1
    last = asked[-1]
    if last["all"]:
        return 0
    if last["digits"]:
        return int(last["digits"])
    return _NUMERALS[last["kanji"]] if last["kanji"] else _WORDS[last["word"]]
