"""Japanese words: MeCab with unidic-lite, the segmenter and dictionary of the released study, loaded once when needed.

Metrics do not know this module: they take `words` or `wakati` as an argument.
"""

from __future__ import annotations

import threading
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fugashi import GenericTagger

_one_at_a_time = threading.Lock()  # a tagger keeps the sentence that it is at


def words(text: str) -> list[str]:
    """Returns the words of a text, signs among them, without white space; the text is taken as it is, not folded.

    >>> words("右胸水を認めない。")
    ['右', '胸水', 'を', '認め', 'ない', '。']
    """
    return wakati(text).split()


def wakati(text: str) -> str:
    r"""Returns the words with a space behind each and a line feed at the end: MeCab's output format of that name.

    Equal to what `MeCab.Tagger("-Owakati").parse` of mecab-python3 gives with unidic-lite, which the released study's
    metrics are computed on. A NUL, where MeCab would end, counts as a space.

    >>> wakati("心拡大なし。")
    '心 拡大 なし 。 \n'
    """
    readable = text.replace("\0", " ").encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair is no text
    with _one_at_a_time:
        # by words: fugashi strips the output of its own parse, and with it a carriage return that MeCab calls a word
        surfaces = [node.surface for node in _tagger().parseToNodeList(readable)] if readable else []
    return "".join(f"{surface} " for surface in surfaces) + "\n"


@cache
def _tagger() -> GenericTagger:
    """The tagger; its dictionary by name, since fugashi itself would take another one that is installed beside it."""
    import unidic_lite
    from fugashi import GenericTagger

    folder = Path(unidic_lite.DICDIR)
    return GenericTagger(f'-r "{folder / "dicrc"}" -d "{folder}"')
