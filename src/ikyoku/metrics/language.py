"""Whether a reply is Japanese: the gate of a search, which must not be won by a model that forgot the language.

Medical Japanese is full of Latin: drug names, ACTH, mmHg, option letters. So what is neutral is left out first, and the
rest is counted in letters.
"""

from __future__ import annotations

import re

from ikyoku.text import fold

LEAST_SHARE = 0.5
"""Share of the letters counted that must be kana or kanji."""
KANJI_A_KANA = 20
"""So many kanji may stand for each kana: a diagnosis may be kanji alone, a sentence is not."""

_KANA = re.compile("[ぁ-ゖァ-ヺー]")
_KANJI = re.compile("[々〆㐀-䶿一-鿿]")
_WORD = re.compile(r"(?:(?![ぁ-ゖァ-ヺー々〆㐀-䶿一-鿿])[^\W\d_])+")  # letters of any script but Japanese
_ABBREVIATION = re.compile(r".$|.+[A-Z]")  # one letter, or a capital behind the first


def is_japanese(reply: str, *, known: str = "") -> bool:
    """Returns whether a reply is written in Japanese.

    Counted are kana, kanji, and the letters of words in other scripts. Not counted, since they stand in Japanese texts
    and outside them alike, are digits and signs, single letters (an option's), abbreviations (a capital behind the
    first letter: ACTH, mmHg), a word that touches a digit (HbA1c, IL6), and every word that is also in `known`. A reply
    is Japanese where

    - at least half of the letters counted are kana or kanji;
    - it has no more than 20 kanji, or a kana for every 20 of them; and
    - no more than one kanji in 20 is outside Japan's own character set, in which simplified Chinese is not written.

    Where nothing is left to count ("ACTH", "b,d", "12.5") it is; a reply without any letter or digit is not.

    Args:
        reply: what the model wrote.
        known: the question with its options: their own words are no sign of another language.

    Reference:
        The character set is JIS X 0213:2004.

    >>> is_japanese("急性心筋梗塞"), is_japanese("ACTH"), is_japanese("acute myocardial infarction")
    (True, True, False)
    >>> is_japanese("warfarin", known="抗凝固薬はどれか。 warfarin insulin"), is_japanese("这是肺炎的症状，选ア")
    (True, False)
    """
    text = fold(reply)
    familiar = {word.casefold() for word in _WORD.findall(fold(known))}
    foreign = 0
    for found in _WORD.finditer(text):
        word, beside = found[0], text[max(0, found.start() - 1) : found.start()] + text[found.end() : found.end() + 1]
        neutral = _ABBREVIATION.match(word) or any(sign.isdigit() for sign in beside) or word.casefold() in familiar
        foreign += 0 if neutral else len(word)
    kana, kanji = len(_KANA.findall(text)), _KANJI.findall(text)
    if not kana + len(kanji) + foreign:
        return any(sign.isalnum() for sign in text)
    if kana + len(kanji) < LEAST_SHARE * (kana + len(kanji) + foreign):
        return False
    outside = sum(not _in_jis(sign) for sign in kanji)
    return max(kana, 1) * KANJI_A_KANA >= len(kanji) and outside * KANJI_A_KANA <= len(kanji)


def _in_jis(sign: str) -> bool:
    try:
        sign.encode("euc_jis_2004")
    except UnicodeEncodeError:
        return False
    return True
