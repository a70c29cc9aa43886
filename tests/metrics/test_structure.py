"""The outward form of reports."""

import pytest

from ikyoku.findings.types import ReadReport
from ikyoku.metrics.structure import FAULTS, MOST, Fault, form_faults, identifier_places
from ikyoku.text import fold

WHOLE = ReadReport((), findings_text="右胸水を認める。", impression_text="右胸水。")


def kinds(text: str, report: ReadReport = WHOLE) -> dict[str, int]:
    return {fault.kind: fault.count for fault in form_faults(text, report)}


def test_a_report_in_order_has_no_fault() -> None:
    assert form_faults("所見:右胸水を認める。\n診断:右胸水。", WHOLE) == ()
    assert kinds("異常なし。") == {}


def test_missing_sections() -> None:
    assert kinds("右胸水を認める。", ReadReport((), findings_text="右胸水を認める。")) == {"no_impression": 1}
    assert kinds("右胸水を認める。", ReadReport(())) == {"no_findings": 1, "no_impression": 1}


def test_length_is_without_white_space() -> None:
    assert kinds("胸 水 。\n") == {"too_short": 3}
    assert kinds("") == {"too_short": 1}
    assert kinds("あ" * MOST) == {}
    assert kinds("あ" * MOST + "い" + " ") == {"too_long": MOST + 1}
    assert form_faults("右胸水", WHOLE, least=3, most=3) == ()


def test_a_model_that_turns_in_circles() -> None:
    assert kinds("胸水なし。胸水なし。") == {}
    assert kinds("胸水なし。胸水なし。\n胸水なし。") == {"repeats": 3}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("患者氏名:山田", "患者氏名:"),
        ("ID:００１２３４", "ID:001234"),
        ("患者ID 1234567", "患者ID 1234567"),
        ("番号は12345678です。", "12345678"),
        ("2024年3月5日の前回と比較", "2024年3月5"),
        ("2023/12/01 と比較", "2023/12/01"),
        ("令和5年3月に", "令和5年3月"),
        ("H30.4.と比較", "H30.4."),
        ("山田太郎さんの", "山田太郎さん"),
        ("佐藤 氏は", "佐藤 氏"),
        ("山田 太郎 様\n右胸水あり。", "山田 太郎 様"),
    ],
)
def test_what_may_name_a_person(text: str, what: str) -> None:
    assert [fold(text)[start:end] for start, end in identifier_places(text)] == [what]
    assert kinds(text)["identifier"] == 1


@pytest.mark.parametrize(
    "text",
    [
        "結節様の陰影、索状様。前回と同様。",
        "CTR 52.5%、12mm の結節、T4 から Th12。",
        "右第3〜第5肋骨骨折。100-200 mm。",
        "患者さんの体位による。",
        "S3 に 8mm の結節、H2 と比べて、R5.5 の位置",
        "心胸郭比 0.48123",
        "一様な濃度上昇。同様",
    ],
)
def test_what_names_nobody(text: str) -> None:
    assert identifier_places(text) == ()


def test_overlapping_places_are_one() -> None:
    assert identifier_places("患者ID:20240305") == ((0, 13),)


def test_every_fault_has_both_names() -> None:
    assert all(len(names) == 2 and all(names) for names in FAULTS.values())
    assert Fault("repeats", 3).kind in FAULTS
