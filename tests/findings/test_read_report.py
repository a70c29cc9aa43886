"""What a report says as a whole: offsets, numbers, sections, prior studies, widths; and that no text breaks it."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ikyoku.findings import FINDINGS, Finding, ReadReport, labels, read_report, split_sections
from ikyoku.findings.folding import folded
from ikyoku.text import fold

REPORT = """【所見】
ＣＴＲ：５８％。心拡大を認める。
右下肺野に径１２㎜大の結節影あり、前回より増大している。
両側胸水（右優位）。気胸（－）。
【診断】
１．右下肺野結節：肺癌疑い
２．心拡大
"""


def _said(text: str) -> list[tuple[str, str, str]]:
    return [(f.name, f.certainty, f.side) for f in read_report(text).findings]


def test_a_whole_report() -> None:
    report = read_report(REPORT)
    assert [(f.name, f.certainty, f.side, f.change, f.section) for f in report.findings] == [
        ("cardiomegaly", "present", "", "", "findings"),
        ("nodule", "present", "right", "increased", "findings"),
        ("pleural_effusion", "present", "both", "", "findings"),
        ("pneumothorax", "absent", "", "", "findings"),
        ("nodule", "present", "right", "", "impression"),
        ("malignancy", "possible", "right", "", "impression"),
        ("cardiomegaly", "present", "", "", "impression"),
    ]
    assert [(m.name, m.value) for m in report.measurements] == [("ctr", 58.0), ("size", 12.0)]
    assert report.compares and not report.normal
    assert report.impression_text.startswith("１．右下肺野結節") and "【" not in report.findings_text


def test_offsets_are_those_of_the_text_as_written() -> None:
    report = read_report(REPORT)
    for finding in report.findings:
        assert folded(REPORT[finding.start : finding.end]).text == finding.word
    assert [REPORT[m.start : m.end] for m in report.measurements] == ["ＣＴＲ：５８％", "１２㎜"]


@pytest.mark.parametrize(
    "text", ["ＣＴＲ５５％、ＣＰＡは鋭。", "胸水（－）　気胸（＋）", "ﾍﾟｰｽﾒｰｶｰ留置中。ｽﾘｶﾞﾗｽ影あり。"]
)
def test_full_and_half_width_are_read_alike(text: str) -> None:
    assert _said(text) == _said(fold(text)) != []


def test_a_small_kana_with_its_mark_is_one_letter_with_one_place() -> None:
    form = folded("ｽﾘｶﾞﾗｽ影")
    assert form.text == "スリガラス影" and form.span(2, 3) == (2, 4)


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("CTR 48%", "ctr", 48),
        ("CTRは52.5%である", "ctr", 52.5),
        ("心胸郭比0.56", "ctr", 56),
        ("CTR=61", "ctr", 61),
        ("径3cmの腫瘤", "size", 30),
        ("８ミリの結節", "size", 8),
        ("2.5センチ", "size", 25),
    ],
)
def test_numbers(text: str, name: str, value: float) -> None:
    assert [(m.name, m.value) for m in read_report(text).measurements] == [(name, value)]


def test_two_diameters_and_what_is_no_ratio() -> None:
    assert [m.value for m in read_report("30×20mm大の腫瘤").measurements] == [30, 20]
    assert read_report("CTR 5%、CTR 480%、40歳、3回").measurements == ()


@pytest.mark.parametrize(
    ("text", "certainty"),
    [
        ("CTR 58%。", "possible"),
        ("CTR 50%。", "absent"),
        ("CTR 58%だが心拡大なし。", "absent"),
        ("CTR 58%、心拡大あり。", "present"),
    ],
)
def test_the_ratio_speaks_only_where_the_report_does_not(text: str, certainty: str) -> None:
    assert [(f.name, f.certainty) for f in read_report(text).findings] == [("cardiomegaly", certainty)]


@pytest.mark.parametrize(
    "text", ["前回と比較して著変なし。", "胸水は前回より増加。", "新出の結節影あり。", "陰影は不変。"]
)
def test_a_prior_study_is_seen(text: str) -> None:
    assert read_report(text).compares


@pytest.mark.parametrize("text", ["胸水を認める。", "左右とも同様に鋭。", REPORT.replace("前回より増大している", "")])
def test_no_prior_study_is_invented(text: str) -> None:
    assert not read_report(text).compares


@pytest.mark.parametrize("text", ["異常なし。ただし右胸水を認める。", "特記すべき所見なし。肺炎疑い。"])
def test_a_film_with_a_finding_is_not_normal(text: str) -> None:
    report = read_report(text)
    assert labels(report)["no_finding"] == "absent"
    assert report.normal  # as it is said: what contradicts it stands beside it


@pytest.mark.parametrize(
    "text",
    [
        "右胸水を認める。その他、異常なし。",
        "右胸水を認める。他に異常所見なし。",
        "右胸水を認め、それ以外に異常なし。",
        "陳旧性変化のみ。活動性病変なし。",
    ],
)
def test_what_is_said_of_the_rest_calls_no_film_normal(text: str) -> None:
    assert not read_report(text).normal


def test_no_active_disease_is_normal_where_nothing_else_is_said() -> None:
    assert read_report("活動性病変なし。心拡大なし。").normal


def test_a_tube_alone_leaves_the_film_normal() -> None:
    assert read_report("胃管が留置されている。異常所見なし。").normal


def test_english_and_nonsense_say_nothing() -> None:
    for text in ("", "No pleural effusion. The heart is enlarged.", "胃", "あ" * 50, "\n\n", "12345"):
        assert read_report(text) == ReadReport((), findings_text=text.strip())


def test_negation_is_told_from_its_opposite() -> None:
    assert _said("胸水を認めない。") == [("pleural_effusion", "absent", "")]
    assert _said("胸水を認める。") == [("pleural_effusion", "present", "")]


# sections


@pytest.mark.parametrize(
    ("text", "findings", "impression"),
    [
        ("右胸水を認める。", "右胸水を認める。", ""),
        ("所見：右胸水を認める。\n印象：右胸水", "右胸水を認める。", "右胸水"),
        ("【所見】右胸水を認める。【診断】右胸水", "右胸水を認める。", "右胸水"),
        ("＜読影所見＞\n気胸なし。\n＜画像診断＞\n異常なし", "気胸なし。", "異常なし"),
        ("■所見\n気胸なし。\n■結論\n異常なし", "気胸なし。", "異常なし"),
        ("FINDINGS: 気胸なし。\nIMPRESSION: 異常なし", "気胸なし。", "異常なし"),
        ("所見\n気胸なし。\n\n診断\n異常なし", "気胸なし。", "異常なし"),
        ("依頼目的：肺炎疑い\n【所見】気胸なし。", "気胸なし。", ""),
        ("異常所見なし。", "異常所見なし。", ""),
        ("診断：左気胸", "", "左気胸"),
        ("", "", ""),
    ],
)
def test_sections(text: str, findings: str, impression: str) -> None:
    assert split_sections(text) == (findings, impression)
    report = read_report(text)
    assert (report.findings_text, report.impression_text) == (findings, impression)


# labels


def test_the_surest_statement_of_a_category_counts() -> None:
    said = labels(read_report("右胸水なし。左胸水を認める。肺炎疑い。肺炎なし。縦隔拡大なし。CVカテーテル留置中。"))
    assert {name: value for name, value in said.items() if value} == {
        "no_finding": "absent",
        "pleural_effusion": "present",
        "pneumonia": "possible",
        "enlarged_cardiomediastinum": "absent",
        "support_devices": "present",
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("異常なし。", "present"),
        ("心拡大なし。胸水なし。", "present"),
        ("胃管が留置されている。異常なし。", "present"),
        ("右胸水を疑う。", "absent"),
        ("両側に気腫性変化を認める。", "absent"),
        ("胃管が留置されている。", None),
        ("The lungs are clear.", None),
        ("", None),
    ],
)
def test_no_finding(text: str, expected: str | None) -> None:
    assert labels(read_report(text))["no_finding"] == expected


# any text

_WORDS = [
    *"右左両上中下肺野心影のにをは、。・():\n－？１",
    *[
        "胸水",
        "気胸",
        "認める",
        "認めない",
        "なし",
        "疑い",
        "結節影",
        "CPA",
        "鈍化",
        "消失し",
        "増加",
        "前回",
        "縦隔",
        "肺門",
        "異常",
    ],
    *[
        "CTR",
        "58%",
        "否定できない",
        "【所見】",
        "診断：",
        "その他",
        "新たな",
        "後",
        "場合",
        "右優位",
        "び",
        "\u3099",
        "ﾞ",
        "\ud800",
    ],
]


@given(st.one_of(st.text(max_size=300), st.lists(st.sampled_from(_WORDS), max_size=80).map("".join)))
@settings(max_examples=400, deadline=None)
def test_any_text_is_read(text: str) -> None:
    report = read_report(text)
    assert read_report(text) == report
    for finding in report.findings:
        assert isinstance(finding, Finding) and finding.name in FINDINGS
        assert 0 <= finding.start < finding.end <= len(text)
    assert labels(report)["no_finding"] in ("present", "absent", None)
    ill = any(f.certainty != "absent" and not FINDINGS[f.name].device for f in report.findings)
    assert not (ill and labels(report)["no_finding"] == "present")
    assert all(f.certainty == "absent" for f in report.findings if f.others)


@pytest.mark.parametrize(
    "piece",
    [
        "右胸水",
        "胸水、",
        "の",
        "認め",
        "ない",
        "(",
        "(-",
        "a,\n",
        " ",
        "【",
        "ともに",
        "右上肺野と左下肺野に",
        "心・縦隔・肺門",
        "胸水増加、",
        "CTR:(= ",
        "左には認めない、",
        "可能性は",
        "\u3099",
        "1.1x",
        "右下肺野に浸潤影を認める。胸水なし。\n",
        "前回",
        "S1・",
        "\n",
    ],
)
def test_time_grows_with_the_length_and_not_faster(piece: str) -> None:
    read_report("胸水なし。")  # compiles the tables

    def seconds(length: int) -> float:
        text = piece * (length // len(piece))
        best = float("inf")
        for _ in range(2):
            start = time.process_time()
            read_report(text)
            best = min(best, time.process_time() - start)
        return best

    short, long = seconds(10_000), seconds(40_000)
    assert long < 4 * 3 * max(short, 0.02)  # 16 times as long if it were quadratic: 3 is for noise
    assert short < 3


def test_every_row_of_the_tables_has_words_and_a_reason() -> None:
    from ikyoku.findings.cues import CUES
    from ikyoku.findings.places import ANATOMY, SIDES, SITES, STATES

    made = {name for row in ANATOMY for name in row.states.values()} | {row.denies for row in ANATOMY}
    assert made - {""} <= FINDINGS.keys()
    assert {state for row in ANATOMY for state in row.states} <= STATES.keys()
    for term in FINDINGS.values():
        assert term.reason and term.japanese and (term.words or term.name in made), term.name
    for row in (*CUES, *SIDES, *SITES, *ANATOMY):
        assert row.reason and re.compile(row.words)
        assert not re.compile(row.words).match(""), row.words


@pytest.mark.parametrize("text", ["気胸がなければ退院。", "胸水を認めなければ経過観察。"])
def test_a_denied_condition_claims_nothing(text: str) -> None:
    assert read_report(text).findings == ()
