"""The rule that tells whether a reply is Japanese."""

from __future__ import annotations

import pytest

from ikyoku.metrics.language import is_japanese


@pytest.mark.parametrize(
    "reply",
    [
        "肺炎",
        "急性心筋梗塞,肺血栓塞栓症",
        "ビタミンB1",
        "ﾋﾞﾀﾐﾝB12",
        "はい",
        "a",
        "b,d",
        "Ｃ",
        "12.5",
        "ACTH",
        "HbA1c",
        "CA19-9",
        "mmHg",
        "β2刺激薬",
        "CTで膵頭部にmassを認め、dynamic studyで遅延濃染を示す。",
        "診断はSLE(systemic lupus erythematosus)である。腎生検とステロイドの投与を考える必要がある患者と思われる。",
    ],
)
def test_japanese(reply: str) -> None:
    assert is_japanese(reply)


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "、。",
        "acute pneumonia",
        "The answer is 肺炎.",
        "Pneumonia",
        "这是肺炎的症状",
        "患者有发热和咳嗽",
        "폐렴입니다",
        "Острая пневмония",
        "患者發熱三日咳嗽不止血壓正常體溫高考慮肺部感染建議立即住院治療",
    ],
)
def test_not_japanese(reply: str) -> None:
    assert not is_japanese(reply)


def test_the_words_of_the_question_are_no_other_language() -> None:
    asked = "抗凝固薬はどれか。 warfarin insulin 小柴胡湯"
    assert is_japanese("warfarin", known=asked)
    assert is_japanese("Warfarin, insulin", known=asked)
    assert not is_japanese("heparin", known=asked)
