"""Text in NFKC form that still knows where each of its characters stood."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

_CLUSTER = re.compile("[\\s\\S][\u0300-\u036f\u3099\u309a\uff9e\uff9f]{0,4}")  # ｶﾞ is one letter
_ONE = str.maketrans(
    {
        **dict.fromkeys("‐‑‒–—―−─━", "-"),
        **dict.fromkeys("〔〈《", "("),
        **dict.fromkeys("〕〉》", ")"),
        **dict.fromkeys("\t\v\f\u200b\ufeff", " "),
        "頚": "頸",
        "囊": "嚢",
        "胷": "胸",
        "\r": "\n",
    }
)


@dataclass(frozen=True, slots=True)
class Folded:
    """A folded text; its character i stands for the original's characters starts[i] up to ends[i]."""

    text: str
    starts: tuple[int, ...]
    ends: tuple[int, ...]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Returns where text[start:end] stood in the original; (0, 0) for nothing."""
        return (self.starts[start], self.ends[end - 1]) if end > start else (0, 0)


def folded(text: str) -> Folded:
    """Returns the text in NFKC form, with one kind of dash and round bracket, and the original place of each character.

    >>> folded("ＣＴＲ：５８％").text
    'CTR:58%'
    """
    pieces: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for m in _CLUSTER.finditer(text):
        piece = m[0] if m[0] <= "\x7f" else unicodedata.normalize("NFKC", m[0])
        pieces.append(piece)
        starts += [m.start()] * len(piece)
        ends += [m.end()] * len(piece)
    return Folded("".join(pieces).translate(_ONE), tuple(starts), tuple(ends))
