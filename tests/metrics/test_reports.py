"""The metrics of reports together, from texts: what must be 1, what must be low, and what must be dangerous."""

import json
from typing import Any

import pytest

from ikyoku.metrics.dangers import DANGERS
from ikyoku.metrics.reports import (
    METRICS,
    Reference,
    ScoredReport,
    paired,
    report_score,
    report_scores,
    scored_report,
    summarised,
)
from ikyoku.metrics.structure import FAULTS
from ikyoku.morphology import wakati, words

REPORT = (
    "所見: 右下肺野に浸潤影を認める。左胸水を少量認める。気胸は認めない。心拡大なし。CTR 48%。\n"
    "診断: 右下葉肺炎の疑い。左胸水。"
)
NORMAL = "所見: 肺野に異常陰影を認めない。胸水なし。心拡大なし。\n診断: 異常なし。"
AIR = "所見: 右気胸を認める。胸水は認めない。\n診断: 右気胸。"
TO_WIDE = {code: code + 0xFEE0 for code in range(ord("!"), ord("~") + 1)}


def scored(text: str, reference: str = REPORT) -> ScoredReport:
    return scored_report(text, Reference(reference, words=words, wakati=wakati))


def swapped(text: str) -> str:
    return text.translate(str.maketrans("左右", "右左"))


def kinds(sample: ScoredReport) -> set[str]:
    return {error.kind for error in sample.dangers}


# one report


@pytest.mark.parametrize("text", [REPORT, NORMAL, AIR])
def test_a_report_against_itself_is_1(text: str) -> None:
    found = scored(text, text)
    for name in METRICS.keys() - {"dangerous", "meteor", "jradievo_meteor"}:
        assert found.scores[name] == pytest.approx(1), name
    assert 0.999 < found.scores["meteor"] < 1, "METEOR of one chunk is not quite 1"
    assert (found.scores["dangerous"], found.dangers, found.faults) == (0, (), ())


def test_full_and_half_width_are_equal() -> None:
    wide = REPORT.translate(TO_WIDE).replace(" ", "　")
    assert wide != REPORT and "４８％" in wide
    ours, theirs = scored(wide).scores, scored(REPORT).scores
    for name in METRICS:
        if name.startswith("jradievo_"):
            assert ours[name] < theirs[name], f"{name}: the study does not fold"
        else:
            assert ours[name] == theirs[name], name


def test_a_swapped_report_is_low_and_dangerous() -> None:
    found = scored(swapped(REPORT))
    assert found.scores["rouge_l"] > 0.85, "words hardly tell"
    assert found.scores["finding_f1"] == 0
    assert kinds(found) == {"side_swapped"}
    assert found.scores["dangerous"] == len(found.dangers) >= 2


@pytest.mark.parametrize(
    ("one", "other"), [("胸水を認めない。", "胸水を認める。"), ("胸水を認める。", "胸水を認めない。")]
)
def test_a_negation_is_an_error_for_every_clinical_metric(one: str, other: str) -> None:
    found = scored(one, other)
    assert (found.scores["finding_f1"], found.scores["label_f1"]) == (0, 0)
    assert [(e.kind, e.finding) for e in found.dangers] == [("negation_inverted", "pleural_effusion")]
    figures = summarised([found], key="a")
    for table in ("findings", "findings_by_name", "labels", "top_five"):
        assert (figures[table]["micro"]["f1"], figures[table]["macro"]["value"]) == (0, 0), table
    assert figures["polarity"]["value"] == 0
    assert figures["dangerous"]["negation_inverted"]["value"] == 100
    assert found.scores["rouge_l"] > 0.6, "words hardly tell"


def test_a_negated_report_is_low_and_dangerous() -> None:
    negated = REPORT.replace("浸潤影を認める", "浸潤影を認めない").replace("少量認める", "認めない")
    negated = negated.split("\n")[0] + "\n診断: 異常なし。"
    found = scored(negated)
    assert found.scores["finding_f1"] == 0
    assert kinds(found) == {"negation_inverted"}
    assert found.scores["rouge_l"] > 0.7, "words hardly tell"


def test_a_shuffled_report_is_low() -> None:
    tokens = words(REPORT)
    mixed = "".join(tokens[(i * 17) % len(tokens)] for i in range(len(tokens)))
    assert sorted(mixed) == sorted("".join(tokens))
    found = scored(mixed).scores
    assert found["dangerous"] >= 1
    assert max(found["rouge_l"], found["bleu_3"], found["bleu_4"], found["chrf"], found["finding_f1"]) < 0.5


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("所見: 気胸は認めない。\n診断: 異常なし。", "denied"),
        ("所見: 心拡大あり。\n診断: 心拡大。", "silent"),
        (NORMAL, "normal"),
    ],
)
def test_a_missed_pneumothorax(text: str, detail: str) -> None:
    found = scored(text, AIR)
    assert [(e.detail, e.side) for e in found.dangers if e.kind == "missed_pneumothorax"] == [(detail, "right")]


def test_an_invented_comparison() -> None:
    found = scored(REPORT.replace("左胸水を少量認める", "前回と比較して左胸水は増加している"))
    assert kinds(found) == {"invented_comparison"}


@pytest.mark.parametrize(
    ("impression", "details"),
    [
        ("胸水を認めない。", {"denied"}),
        ("異常なし。", {"normal"}),
        ("右胸水。", {"sides"}),
        ("左胸水。他に異常なし。", set()),
        ("その他異常なし。", set()),
        ("右下葉肺炎。その他に胸水なし。", set()),
        ("骨に異常なし。", set()),
    ],
)
def test_a_contradiction_inside(impression: str, details: set[str]) -> None:
    found = scored(REPORT.split("診断")[0] + f"診断: {impression}")
    assert {e.detail for e in found.dangers if e.kind == "contradiction"} == details
    assert kinds(found) <= {"contradiction"}


@pytest.mark.parametrize("reply", ["", " \n", "No acute cardiopulmonary abnormality.", "。。。", "です。ます。です。"])
@pytest.mark.parametrize("reference", [REPORT, NORMAL])
def test_a_reply_that_says_nothing_scores_nothing(reply: str, reference: str) -> None:
    found = scored(reply, reference)
    for name in ("finding_f1", "label_f1", "rouge_l", "bleu_4", "meteor"):
        assert found.scores[name] < 0.3, name
    assert found.scores["finding_f1"] == found.scores["label_f1"] == 0


def test_the_places_of_an_error_are_those_of_its_words() -> None:
    text = "右胸水は認めない。"
    (error,) = scored(text, "右胸水を認める。").dangers
    assert [text[start:end] for start, end in error.hypothesis] == ["胸水"]


def test_of_a_blank_reference_there_is_no_metric() -> None:
    for blank in ("", " \n　"):
        with pytest.raises(ValueError, match="nothing to measure"):
            report_scores("胸水あり。", blank, words=words, wakati=wakati)


def test_a_reference_once_read_gives_the_same() -> None:
    known = Reference(REPORT, words=words, wakati=wakati)
    for text in (NORMAL, AIR, swapped(REPORT)):
        assert report_scores(text, known, words=words, wakati=wakati) == report_scores(
            text, REPORT, words=words, wakati=wakati
        )


@pytest.mark.parametrize(
    "metric", ["rouge_l", "jradievo_rouge_l", "bleu_4", "meteor", "chrf", "finding_f1", "label_f1"]
)
def test_one_score_is_that_of_all(metric: str) -> None:
    wide = REPORT.translate(TO_WIDE)
    for text in (REPORT, wide, NORMAL, AIR, swapped(REPORT), "", "Normal.", "です。"):
        for reference in (REPORT, NORMAL):
            known = Reference(reference, words=words, wakati=wakati)
            assert report_score(metric, text, known) == scored_report(text, known).scores[metric]


# a system


TEXTS = [REPORT, NORMAL, AIR, "右胸水を認める。", "左上肺野に結節影を認める。", "心拡大を認める。"]


def figures_of(replies: list[str], key: str = "k") -> dict[str, Any]:
    return summarised([scored(a, b) for a, b in zip(replies, TEXTS, strict=True)], key=key)


def test_the_figures_of_a_perfect_system() -> None:
    found = figures_of(TEXTS)
    assert found["n"] == 6
    assert found["metrics"].keys() == METRICS.keys()
    assert found["metrics"]["finding_f1"] == {"value": 1.0, "n": 6, "low": 1.0, "high": 1.0}
    assert list(found["dangerous"]) == ["all", *DANGERS]
    assert found["dangerous"]["all"]["errors"] == 0
    for table in ("findings", "findings_by_name", "labels", "top_five"):
        assert (found[table]["micro"]["f1"], found[table]["macro"]["value"]) == (1, 1)
    assert found["polarity"]["value"] == 1
    assert list(found["faults"]) == list(FAULTS)
    assert found["faults"]["no_impression"]["value"] == pytest.approx(0.5)
    json.dumps(found, allow_nan=False)


def test_the_figures_count_errors_by_kind() -> None:
    found = figures_of([swapped(text) for text in TEXTS])
    sides = found["dangerous"]["side_swapped"]
    assert sides["errors"] == found["dangerous"]["all"]["errors"] >= 5
    assert sides["reports"] == 4
    assert sides["value"] == pytest.approx(100 * sides["errors"] / 6)
    assert sides["low"] < sides["value"] < sides["high"]
    assert found["findings_by_name"]["micro"]["f1"] == 1
    assert found["findings"]["micro"]["f1"] < 0.4


def test_replies_that_say_nothing_have_no_labels() -> None:
    found = figures_of(["The lungs are clear."] * 6)
    assert found["metrics"]["japanese"]["value"] == 0
    assert found["labels"]["micro"]["precision"] is None
    assert found["labels"]["micro"]["f1"] == 0
    assert found["polarity"] is None
    json.dumps(found, allow_nan=False)


def test_the_same_key_gives_the_same_intervals() -> None:
    replies = TEXTS[::-1]
    assert figures_of(replies, "a") == figures_of(replies, "a") != figures_of(replies, "b")


def test_of_no_reports_there_are_no_figures() -> None:
    with pytest.raises(ValueError, match="no reports"):
        summarised([], key="k")
    with pytest.raises(ValueError, match="at least one item"):
        paired([], [], key="k")


# two systems


def test_two_systems_are_compared_report_by_report() -> None:
    many = TEXTS * 4
    good = [scored(text, text) for text in many]
    poor = [scored(swapped(text), text) for text in many]
    found = paired(good, poor, key="k")
    assert found.keys() == METRICS.keys() | {"finding_micro", "finding_macro"}
    assert all(test.keys() == {"n", "difference", "low", "high", "p_value"} for test in found.values())
    for name in ("finding_f1", "finding_micro", "finding_macro"):
        assert found[name]["p_value"] < 0.01 and found[name]["low"] > 0, name
    assert found["dangerous"]["difference"] < 0 and found["dangerous"]["p_value"] < 0.01
    assert found["japanese"] == {"n": 24, "difference": 0, "low": 0, "high": 0, "p_value": 1}
    back = paired(poor, good, key="k")
    assert back["rouge_l"]["p_value"] == found["rouge_l"]["p_value"]
    assert back["rouge_l"]["difference"] == -found["rouge_l"]["difference"]
    json.dumps(found, allow_nan=False)


def test_other_references_are_refused() -> None:
    with pytest.raises(ValueError, match="same references"):
        paired([scored(REPORT)], [scored(REPORT, NORMAL)], key="k")
    with pytest.raises(ValueError, match="same references"):
        paired([scored(REPORT)], [], key="k")


# the table


def test_every_metric_is_named_and_told() -> None:
    scores = report_scores(NORMAL, REPORT, words=words, wakati=wakati)
    assert list(scores) == list(METRICS)
    assert all(m.japanese and m.english and m.rewards for m in METRICS.values())
    assert [name for name, m in METRICS.items() if not m.higher] == ["dangerous"]


# what the metrics reward


def test_words_prefer_a_swapped_report_to_a_right_one_in_other_words() -> None:
    """Reports of phantoms: in other words, with the sides swapped, of another patient."""
    from ikyoku.lab.phantoms.truth import phantom
    from ikyoku.lab.phantoms.wording import report

    def text(number: int, wording: int) -> str:
        made = report(phantom(0, f"phantom {number}"), "ja", wording=wording)
        return f"所見: {made.findings}\n診断: {made.impression}"

    references = [Reference(text(n, 0), words=words, wakati=wakati) for n in range(60)]
    right = [scored_report(text(n, 1), known) for n, known in enumerate(references)]
    turned = [scored_report(swapped(known.text), known) for known in references]
    strange = [scored_report(text((n + 1) % 60, 0), known) for n, known in enumerate(references)]
    assert all(sample.scores["finding_f1"] == 1 and not sample.dangers for sample in right)
    found = {name: summarised(s, key=name) for name, s in (("right", right), ("turned", turned), ("strange", strange))}

    def means(metric: str) -> list[float]:
        return [found[name]["metrics"][metric]["value"] for name in ("right", "turned", "strange")]

    a, b, c = means("rouge_l")
    assert c < a < b - 0.15, "ROUGE-L likes the dangerous one best"
    a, b, c = means("finding_f1")
    assert c < b < a == 1
    a, b, c = means("dangerous")
    assert a == 0 < c < b
    assert found["turned"]["dangerous"]["side_swapped"]["errors"] == found["turned"]["dangerous"]["all"]["errors"]
    test = paired(right, turned, key="k")
    assert test["rouge_l"]["high"] < 0 < test["finding_f1"]["low"]
