"""Japanese text as a value: folding of widths."""

from __future__ import annotations

import unicodedata


def fold(text: str) -> str:
    """Returns the text in NFKC form, in which full-width letters and digits equal the plain ones.

    >>> fold("２つ選べ")
    '2つ選べ'
    """
    return unicodedata.normalize("NFKC", text)
