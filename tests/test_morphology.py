"""Words of MeCab: equal to what the released study's tagger gives, whoever asks at the same time."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import MeCab
from hypothesis import given
from hypothesis import strategies as st

from ikyoku.morphology import wakati, words

TEXTS = [
    "右下肺野に浸潤影を認める。\n左胸水は消失。",
    "ＣＴＲ　５５％、CTR 55 %",
    " 先頭と末尾の空白 ",
    "改行\r\nと\tタブ\n",
    "spicula を伴う 30mm の結節",
    "\u200bゼロ幅\ufeffと😀",
    "\n\n",
    "",
]
STUDY = MeCab.Tagger("-Owakati")


def test_wakati_is_that_of_the_study() -> None:
    assert [wakati(text) for text in TEXTS] == [STUDY.parse(text) for text in TEXTS]


@given(
    st.text(
        st.sampled_from("右左肺野胸水心拡大をにはがの認めるないなし、。 　\n\r\t()0１5%CTRaｱア\u0301々ー"), max_size=60
    )
)
def test_wakati_of_any_text_is_that_of_the_study(text: str) -> None:
    assert wakati(text) == STUDY.parse(text)


@given(st.text(max_size=30))
def test_nothing_is_lost_but_white_space(text: str) -> None:
    assert "".join(words(text)) == "".join(text.replace("\0", " ").split())


def test_what_mecab_cannot_take_is_a_space_or_a_mark() -> None:
    assert words("右\0左") == ["右", "左"]
    assert words("右\ud800左") == ["右", "?", "左"]


def test_many_threads_get_their_own_words() -> None:
    texts = [f"{side}{site}肺野に{n}個の結節を認める。" * 5 for side in "右左" for site in "上中下" for n in range(20)]
    alone = [words(text) for text in texts]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(words, texts * 5)) == alone * 5


def test_the_dictionary_is_loaded_when_it_is_needed() -> None:
    code = "import ikyoku.morphology, sys; print('fugashi' in sys.modules, 'unidic_lite' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["False", "False"]
