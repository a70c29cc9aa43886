"""Dangerous errors, mostly on reports whose reading is written by hand."""

from dataclasses import replace
from typing import Any

import pytest

from ikyoku.findings import read_report
from ikyoku.findings.types import Certainty, Change, Finding, ReadReport, Side, Site
from ikyoku.metrics.dangers import (
    DANGERS,
    DETAILS,
    DangerousError,
    compares,
    contradictions,
    dangerous_errors,
)


def said(name: str, certainty: Certainty = "present", side: Side = "", *sites: Site, **more: Any) -> Finding:
    return Finding(name, certainty, side, frozenset(sites), **more)


def report(*findings: Finding, normal: bool = False, compares: bool = False) -> ReadReport:
    return ReadReport(findings, normal=normal, compares=compares)


def kinds(hypothesis: ReadReport, reference: ReadReport) -> list[tuple[str, str, str, str]]:
    return [(e.kind, e.finding, e.side, e.detail) for e in dangerous_errors(hypothesis, reference)]


NOTHING, NORMAL = report(), report(normal=True)
AIR = "pneumothorax"
EFFUSION = "pleural_effusion"


# missed pneumothorax


@pytest.mark.parametrize(
    ("hypothesis", "detail"),
    [
        (NOTHING, "silent"),
        (report(said("nodule", "absent")), "silent"),
        (NORMAL, "normal"),
        (report(said(AIR, "absent")), "denied"),
        (report(said(AIR, "absent", "right")), "denied"),
    ],
)
@pytest.mark.parametrize("certainty", ["present", "possible"])
def test_a_missed_pneumothorax(hypothesis: ReadReport, detail: str, certainty: Certainty) -> None:
    reference = report(said(AIR, certainty, "right"))
    assert kinds(hypothesis, reference) == [("missed_pneumothorax", AIR, "right", detail)]


def test_a_pneumothorax_that_is_found_is_not_missed() -> None:
    right, bare, both, left = (report(said(AIR, "possible", side)) for side in ("right", "", "both", "left"))
    for hypothesis, reference in ((right, right), (bare, right), (right, bare), (both, right)):
        assert kinds(hypothesis, reference) == []
    assert kinds(right, both) == [("missed_pneumothorax", AIR, "left", "silent")]
    assert kinds(left, right) == [("side_swapped", AIR, "left", "")]
    assert kinds(report(said(AIR, "present", "left"), said(AIR, "absent", "right")), right) == [
        ("side_swapped", AIR, "left", "")
    ], "one error of one finding"


# sides


def test_a_side_is_swapped() -> None:
    right, left, both, bare = (
        report(said("nodule", "present", s), said("edema")) for s in ("right", "left", "both", "")
    )
    assert kinds(left, right) == [("side_swapped", "nodule", "left", "")]
    for hypothesis, reference in ((right, both), (both, right), (bare, right), (right, bare)):
        assert kinds(hypothesis, reference) == [], "half right, or not told: no swap"


def test_denials_have_no_side_to_swap() -> None:
    assert kinds(report(said("nodule", "absent", "left")), report(said("nodule", "absent", "right"))) == []


def test_a_repeated_mention_without_its_side_hides_no_swap() -> None:
    one = report(said("nodule", "present", "left", section="findings"), said("nodule", section="impression"))
    assert kinds(one, report(said("nodule", "present", "right"))) == [("side_swapped", "nodule", "left", "")]


# negation


def test_the_effusion_that_is_denied_is_inverted_both_ways() -> None:
    affirmed, denied = report(said(EFFUSION)), report(said(EFFUSION, "absent"))
    assert kinds(denied, affirmed) == [("negation_inverted", EFFUSION, "", "denied")]
    assert kinds(affirmed, denied) == [("negation_inverted", EFFUSION, "", "affirmed")]


@pytest.mark.parametrize(
    ("claim", "denial", "where"),
    [
        ("right", "", "right"),
        ("right", "right", "right"),
        ("right", "both", "right"),
        ("both", "right", "right"),
        ("both", "", "both"),
        ("", "", ""),
        ("right", "left", None),
        ("", "left", None),
    ],
)
def test_which_side_a_denial_denies(claim: Side, denial: Side, where: str | None) -> None:
    affirmed, denied = report(said("edema", "possible", claim)), report(said("edema", "absent", denial))
    wanted = [] if where is None else [("negation_inverted", "edema", where, "denied")]
    assert kinds(denied, affirmed) == wanted
    assert len(kinds(affirmed, denied)) == len(wanted)


def test_a_claim_without_a_side_is_denied_by_both() -> None:
    both = report(said("edema", "absent", "right"), said("edema", "absent", "left"))
    assert kinds(both, report(said("edema"))) == [("negation_inverted", "edema", "", "denied")]


def test_which_site_a_denial_denies() -> None:
    upper = report(said("nodule", "present", "right", "upper"))
    assert kinds(report(said("nodule", "absent", "right", "lower")), upper) == []
    assert len(kinds(report(said("nodule", "absent", "right", "upper", "middle")), upper)) == 1
    assert len(kinds(report(said("nodule", "absent", "", "diffuse")), upper)) == 1
    assert kinds(report(said("nodule", "absent", "right", "upper")), report(said("nodule", "present", "right"))) == []


def test_names_are_not_set_against_each_other() -> None:
    assert kinds(report(said("infiltrate", "absent")), report(said("nodule"))) == []


def test_a_finding_left_out_or_added_is_no_inversion() -> None:
    assert kinds(NOTHING, report(said("nodule"), said("edema", "absent"))) == []
    assert kinds(report(said("nodule"), said("edema", "absent")), NORMAL) == []


def test_each_finding_has_one_error() -> None:
    reference = report(said(AIR, "present", "right"), said(EFFUSION, "present", "right"), said("nodule"), said("mass"))
    hypothesis = report(said(AIR, "absent"), said(EFFUSION, "present", "left"), said("nodule", "absent"), said("mass"))
    assert [k[:2] for k in kinds(hypothesis, reference)] == [
        ("missed_pneumothorax", AIR),
        ("side_swapped", EFFUSION),
        ("negation_inverted", "nodule"),
    ]


# comparison


@pytest.mark.parametrize("change", ["new", "increased", "unchanged", "resolved"])
def test_an_invented_comparison(change: Change) -> None:
    changed = report(said("nodule", "present", "left", change=change, start=3, end=5))
    bare = report(said("nodule", "present", "left"))
    (error,) = dangerous_errors(changed, bare)
    assert (error.kind, error.hypothesis, error.reference) == ("invented_comparison", ((3, 5),), ())
    assert dangerous_errors(changed, changed) == dangerous_errors(bare, changed) == ()
    assert kinds(report(compares=True), NORMAL) == [("invented_comparison", "", "", "")]
    assert (compares(changed), compares(bare), compares(report(compares=True))) == (True, False, True)


# contradiction


@pytest.mark.parametrize(
    ("findings", "side", "detail"),
    [
        ([said("nodule", "present", "left"), said("nodule", "absent")], "left", "denied"),
        ([said("nodule", "absent", "right"), said("nodule", "present", "both")], "right", "denied"),
        ([said("nodule", word="結節影"), said("nodule", "absent", word="結節")], "", "denied"),
        (
            [
                said("nodule", "present", "left", section="findings"),
                said("nodule", "present", "right", section="impression"),
            ],
            "both",
            "sides",
        ),
    ],
)
def test_a_report_against_itself(findings: list[Finding], side: str, detail: str) -> None:
    wanted = [("contradiction", "nodule", side, detail)]
    one = report(*findings)
    assert [(e.kind, e.finding, e.side, e.detail) for e in contradictions(one)] == wanted
    assert kinds(one, one) == wanted, "copied from a reference it is still one"


@pytest.mark.parametrize(
    "findings",
    [
        [said("nodule", "present", "left"), said("nodule", "absent", "right")],
        [said("nodule", "present", "left", "upper"), said("nodule", "absent", "left", "lower")],
        [said("nodule", "possible"), said("nodule", "absent")],
        [said("nodule", "present", "left"), said("mass", "absent")],
        [
            said("nodule", "present", "both", section="findings"),
            said("nodule", "present", "left", section="impression"),
        ],
        [said("nodule", "present", "left", section="findings"), said("nodule", section="impression")],
        [said("malignancy", word="肺癌"), said("malignancy", "absent", word="転移")],
    ],
)
def test_a_report_at_one_with_itself(findings: list[Finding]) -> None:
    assert contradictions(report(*findings)) == ()


@pytest.mark.parametrize(
    "others", ["他に結節なし。", "その他の肺野に結節なし。", "これ以外に結節なし。", "上記を除き結節なし。"]
)
def test_a_denial_of_others_contradicts_nothing(others: str) -> None:
    one = read_report(f"左上肺野に結節あり。{others}")
    assert [(f.certainty, f.others) for f in one.findings] == [("present", False), ("absent", True)]
    assert contradictions(one) == dangerous_errors(one, one) == ()
    whole = ReadReport(tuple(replace(f, others=False) for f in one.findings))
    assert len(contradictions(whole)) == 1
    elsewhere = read_report("左上肺野に結節あり。右下肺野に結節あり。")
    assert [(e.kind, e.side) for e in dangerous_errors(one, elsewhere)] == [("negation_inverted", "right")]


@pytest.mark.parametrize(
    ("normal", "count"),
    [
        ("異常なし。", 1),
        ("特記すべき異常所見を認めない。", 1),
        ("胸部X線写真は正常範囲内。", 1),
        ("その他、異常なし。", 0),
        ("他に異常を認めない。", 0),
        ("肺野以外に異常なし。", 0),
        ("右肺に異常なし。", 0),
        ("縦隔に異常なし。", 0),
        ("活動性病変を認めない。", 0),
        ("新たな異常なし。", 0),
        ("結節影は以前と同様で、新たな異常なし。", 0),
        ("CVカテーテルの走行に異常なし。", 0),
        ("先端の位置に問題はない。", 0),
        ("胸部に異常なし。", 1),
        ("撮影範囲に明らかな異常を認めない。", 1),
    ],
)
def test_a_film_called_normal_beside_a_finding(normal: str, count: int) -> None:
    for text in (f"左上肺野に結節影を認める。{normal}", f"{normal}左上肺野に結節影を認める。"):
        assert [e.detail for e in contradictions(read_report(text))] == ["normal"] * count, text


def test_a_normal_film_with_findings() -> None:
    one = report(said("nodule", "present", "left"), said("edema", "absent"), said("pacemaker"), normal=True)
    assert [(e.finding, e.side, e.detail) for e in contradictions(one)] == [("nodule", "left", "normal")]
    assert contradictions(report(said("pacemaker"), said("nodule", "possible"), normal=True)) == ()


def test_what_contradicts_itself_is_not_held_against_the_reference_too() -> None:
    one = report(said(EFFUSION, "present", "right"), said(EFFUSION, "absent"))
    for reference in (report(said(EFFUSION, "present", "right")), report(said(EFFUSION, "absent", "right"))):
        found = [k[0] for k in kinds(one, reference)]
        assert found.count("contradiction") == 1
    assert kinds(one, report(said(EFFUSION, "present", "right"))) == [("contradiction", EFFUSION, "right", "denied")]


# values


def test_the_places_of_both_texts() -> None:
    hypothesis = report(said(EFFUSION, "absent", start=1, end=3))
    reference = report(said(EFFUSION, "present", "right", start=10, end=12))
    (denied,) = dangerous_errors(hypothesis, reference)
    assert (denied.hypothesis, denied.reference) == (((1, 3),), ((10, 12),))
    (affirmed,) = dangerous_errors(reference, hypothesis)
    assert (affirmed.hypothesis, affirmed.reference) == (((10, 12),), ((1, 3),))
    inside = report(*hypothesis.findings, *reference.findings)
    (contradiction,) = contradictions(inside)
    assert (contradiction.hypothesis, contradiction.reference) == (((1, 3), (10, 12)), ())


def test_every_kind_and_detail_has_both_names() -> None:
    assert list(DANGERS) == [
        "missed_pneumothorax",
        "side_swapped",
        "negation_inverted",
        "invented_comparison",
        "contradiction",
    ]
    assert all(d.japanese and d.english and d.meaning for d in DANGERS.values())
    assert all(bool(detail) == bool(d.japanese and d.english) for detail, d in DETAILS.items())
    assert DangerousError("contradiction").detail in DETAILS
