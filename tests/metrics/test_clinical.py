"""Finding F1, label F1, agreement on negation, on reports whose reading is written by hand."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import f1_score

from ikyoku.findings.types import Certainty, Finding, ReadReport, Side, Site
from ikyoku.metrics.clinical import (
    TOP_FIVE,
    Counts,
    Unit,
    counts_of,
    finding_f1,
    finding_table,
    label_f1,
    label_table,
    paired_tables,
    polarity,
    speaks,
    units,
)


def said(name: str, certainty: Certainty = "present", side: Side = "", *sites: Site) -> Finding:
    return Finding(name, certainty, side, frozenset(sites))


def report(*findings: Finding, normal: bool = False) -> ReadReport:
    return ReadReport(findings, normal=normal)


NOTHING = report()
NORMAL = report(normal=True)
EFFUSION = report(said("pleural_effusion", "present", "right"), said("pneumothorax", "absent"))
DENIED = report(said("pleural_effusion", "absent"))
RICH = report(
    said("pleural_effusion", "present", "both"),
    said("nodule", "possible", "left", "upper", "middle"),
    said("cardiomegaly"),
    said("pneumothorax", "absent"),
)


# units


def test_both_sides_are_two_units_and_sites_as_many() -> None:
    assert units(RICH, detail="name") == {("pleural_effusion", "", ""), ("nodule", "", ""), ("cardiomegaly", "", "")}
    sides = {Unit("pleural_effusion", "right"), Unit("pleural_effusion", "left"), Unit("nodule", "left")}
    assert units(RICH) == sides | {Unit("cardiomegaly")}
    assert {u.site for u in units(RICH, detail="site") if u.name == "nodule"} == {"upper", "middle"}


def test_what_is_possible_counts_unless_only_the_certain_is_asked_for() -> None:
    assert Unit("nodule", "left") in units(RICH)
    assert units(RICH, certain=True) == units(replace(RICH, findings=(RICH.findings[0], RICH.findings[2])))


def test_a_mention_that_says_less_is_no_unit() -> None:
    repeated = report(
        said("pleural_effusion", "present", "right", "lower"),
        said("pleural_effusion", "present", "right"),
        said("pleural_effusion"),
        said("nodule"),
    )
    assert units(repeated) == {Unit("pleural_effusion", "right"), Unit("nodule")}
    assert units(repeated, detail="site") == {Unit("pleural_effusion", "right", "lower"), Unit("nodule")}
    apart = report(said("nodule", "present", "right"), said("nodule", "present", "", "upper"))
    assert len(units(apart, detail="site")) == 2, "one says the side, the other the site: neither says all of the other"


def test_who_speaks_of_findings() -> None:
    assert [speaks(r) for r in (NOTHING, NORMAL, DENIED, EFFUSION)] == [False, True, True, True]


# one report


@pytest.mark.parametrize("one", [NORMAL, DENIED, EFFUSION, RICH])
@pytest.mark.parametrize("detail", ["name", "side", "site"])
def test_a_report_against_itself_is_1(one: ReadReport, detail: str) -> None:
    assert finding_f1(one, one, detail=detail) == 1
    assert polarity(one, one)[0] == polarity(one, one)[1]


def test_a_negation_is_an_error_for_every_clinical_metric() -> None:
    affirmed = report(said("pleural_effusion"))
    for one, other in ((affirmed, DENIED), (DENIED, affirmed)):
        assert finding_f1(one, other) == finding_f1(one, other, detail="name") == 0
        assert polarity(one, other) == (0, 1)
        assert finding_table([one], [other]).micro.f1 == 0
    labels: list[dict[str, Certainty | None]] = [{"pleural_effusion": "present"}, {"pleural_effusion": "absent"}]
    assert label_f1(labels[0], labels[1]) == label_f1(labels[1], labels[0]) == 0


def test_a_swapped_side_is_an_error_where_sides_count() -> None:
    other = report(said("pleural_effusion", "present", "left"), said("pneumothorax", "absent"))
    assert finding_f1(other, EFFUSION) == 0
    assert finding_f1(other, EFFUSION, detail="name") == 1


def test_a_side_of_two_is_half_found() -> None:
    both, right, bare = (report(said("pleural_effusion", "present", side)) for side in ("both", "right", ""))
    assert counts_of(units(right), units(both)) == Counts(1, 0, 1)
    assert finding_f1(right, both) == pytest.approx(2 / 3)
    assert counts_of(units(bare), units(right)) == Counts(0, 1, 1), "a side that is left out is missed"
    assert finding_f1(bare, right, detail="name") == 1


def test_a_reply_that_says_nothing_is_no_normal_report() -> None:
    assert finding_f1(NOTHING, NORMAL) == finding_f1(NOTHING, DENIED) == 0
    assert finding_f1(DENIED, NORMAL) == finding_f1(NORMAL, DENIED) == 1
    assert finding_f1(NOTHING, NOTHING) == 1, "where nothing could be read in the reference nothing was asked for"
    assert finding_f1(NORMAL, EFFUSION) == 0


def test_f1_by_hand() -> None:
    # right effusion and heart found; left effusion and nodule missed; a mass is extra: 2·2 / (2·2 + 1 + 2)
    reply = report(said("pleural_effusion", "present", "right"), said("cardiomegaly"), said("mass", "present", "left"))
    assert finding_f1(reply, RICH) == pytest.approx(4 / 7)


def test_labels_by_hand() -> None:
    reference: dict[str, Certainty | None] = {"edema": "present", "atelectasis": "possible", "pneumothorax": "absent"}
    reply: dict[str, Certainty | None] = {"edema": "possible", "atelectasis": None, "pneumothorax": "absent"}
    assert label_f1(reply, reference) == pytest.approx(2 / 3)
    assert label_f1(reply, reference, certain=True) == 0
    assert label_f1({"pneumothorax": "absent"}, {}) == 1


def test_polarity_is_of_what_both_speak_of() -> None:
    one = report(said("nodule", "possible"), said("edema", "absent"), said("mass"))
    other = report(said("nodule"), said("edema"), said("pneumothorax", "absent"))
    assert polarity(one, other) == (1, 2)
    assert polarity(report(said("edema", "absent", "right"), said("edema", "present", "left")), other) == (1, 1)


# tables


def chance_reports(rng: np.random.Generator, n: int, share: float = 0.4) -> list[ReadReport]:
    names = ["nodule", "edema", "mass", "pleural_effusion"]
    return [
        report(*(said(name) for name in names if rng.random() < share), *[said("pneumothorax", "absent")])
        for _ in range(n)
    ]


def test_the_table_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    ours, theirs = chance_reports(rng, 60), chance_reports(rng, 60)
    table = finding_table(ours, theirs)
    names = list(table.findings)
    assert sorted(names) == ["edema", "mass", "nodule", "pleural_effusion"]
    truth, said_ = (
        np.array([[name in {u.name for u in units(r)} for name in names] for r in side]) for side in (theirs, ours)
    )
    assert table.micro.f1 == pytest.approx(f1_score(truth, said_, average="micro"))
    assert table.macro == pytest.approx(f1_score(truth, said_, average="macro"))
    assert [row.f1 for row in table.findings.values()] == pytest.approx(list(f1_score(truth, said_, average=None)))
    assert (table.n, table.micro.low) == (60, None)
    often = [row.both + row.missed for row in table.findings.values()]
    assert often == sorted(often, reverse=True), "the most frequent first"


def test_the_intervals_hold_the_values_and_repeat() -> None:
    rng = np.random.default_rng(2)
    ours, theirs = chance_reports(rng, 50), chance_reports(rng, 50)
    table, again = (finding_table(ours, theirs, rng=np.random.default_rng(3)) for _ in range(2))
    assert table == again
    for score in (table.micro, *table.findings.values()):
        assert score.low is not None and score.f1 is not None and score.high is not None
        assert score.low < score.f1 < score.high
    assert table.macro_low is not None and table.macro is not None and table.macro_high is not None
    assert table.macro_low < table.macro < table.macro_high
    wide = finding_table(ours[:10], theirs[:10], rng=np.random.default_rng(3)).micro
    assert wide.high - wide.low > table.micro.high - table.micro.low, "fewer reports tell less"  # type: ignore[operator]


def test_the_bootstrap_is_of_reports() -> None:
    """The same table counted by drawing reports one by one gives about the same interval."""
    rng = np.random.default_rng(4)
    ours, theirs = chance_reports(rng, 40), chance_reports(rng, 40)
    found = finding_table(ours, theirs, rng=np.random.default_rng(5)).micro
    values = []
    for _ in range(600):
        drawn = rng.integers(0, 40, size=40)
        values.append(finding_table([ours[i] for i in drawn], [theirs[i] for i in drawn]).micro.f1)
    low, high = np.quantile(np.array(values, dtype=float), [0.025, 0.975])
    assert (found.low, found.high) == (pytest.approx(low, abs=0.03), pytest.approx(high, abs=0.03))


def test_a_table_of_normal_reports_has_no_f1() -> None:
    table = finding_table([NORMAL, DENIED], [DENIED, NORMAL], rng=np.random.default_rng(0))
    assert (table.n, table.findings, table.macro, table.micro.f1) == (2, {}, None, None)
    assert (table.micro.precision, table.micro.low, table.macro_low) == (None, None, None)


def test_the_record_is_plain() -> None:
    record = finding_table([EFFUSION], [RICH], rng=np.random.default_rng(0)).record()
    assert record["n"] == 1
    assert record["micro"]["both"] == 1
    assert record["macro"]["value"] == pytest.approx((2 / 3 + 0 + 0) / 3)
    assert record["findings"]["pleural_effusion"]["precision"] == 1
    assert record["findings"]["nodule"]["precision"] is None


def test_a_metric_of_nothing_raises() -> None:
    with pytest.raises(ValueError, match="0 reports and 0 references"):
        finding_table([], [])
    with pytest.raises(ValueError, match="1 reports and 2 references"):
        finding_table([NORMAL], [NORMAL, NORMAL])
    with pytest.raises(ValueError, match="0 reports"):
        label_table([], [])
    with pytest.raises(ValueError, match="0 reports"):
        paired_tables([], [], [], rng=np.random.default_rng(0))


def test_the_five_of_the_competition() -> None:
    reference: dict[str, Certainty | None] = {"edema": "present", "fracture": "present"}
    table = label_table([{"edema": "present"}], [reference], only=TOP_FIVE)
    assert (list(table.findings), table.micro.f1) == (["edema"], 1)
    assert label_table([{"edema": "present"}], [reference]).micro.f1 == pytest.approx(2 / 3)


# two systems


def test_a_better_system_is_told_apart_and_an_equal_one_is_not() -> None:
    rng = np.random.default_rng(6)
    theirs = chance_reports(rng, 60)
    poor = [report() if rng.random() < 0.4 else one for one in theirs]
    found = paired_tables(theirs, poor, theirs, rng=np.random.default_rng(0))
    for kind in ("micro", "macro"):
        test = found[kind]
        assert test["low"] is not None and test["difference"] is not None and test["high"] is not None
        assert 0 < test["low"] < test["difference"] < test["high"]
        assert test["p_value"] == pytest.approx(1 / 2001)
    assert found["micro"]["difference"] == pytest.approx(1 - (finding_table(poor, theirs).micro.f1 or 0))
    same = paired_tables(poor, poor, theirs, rng=np.random.default_rng(0))
    assert same["micro"] == {"difference": 0, "low": 0, "high": 0, "p_value": 1}


def test_chance_alone_gives_p_values_spread_over_the_whole_range() -> None:
    rng = np.random.default_rng(7)
    small = 0
    for _ in range(60):
        theirs, a, b = (chance_reports(rng, 30) for _ in range(3))
        p_value = paired_tables(a, b, theirs, rng=rng, resamples=200)["micro"]["p_value"]
        small += (p_value or 1) <= 0.2
    assert 4 <= small <= 22, "about 12 of 60 are below 0.2"


def test_what_neither_has_is_not_compared() -> None:
    found = paired_tables([NORMAL], [NORMAL], [NORMAL], rng=np.random.default_rng(0))
    assert found["micro"] == dict.fromkeys(("difference", "low", "high", "p_value"))
