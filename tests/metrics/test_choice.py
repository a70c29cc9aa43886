"""The studies' scores of a reply. The harness' own figures are held against ours in tests/parity."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ikyoku.metrics.choice import (
    accuracy,
    exact_match,
    gestalt_distance,
    gestalt_score,
    harness_exact_match,
    harness_gestalt,
    harness_gestalt_match,
    nearest,
)

ORGANS = ["胃癌", "膵炎", "肝癌", "胆石症", "大腸癌"]
TEXT = st.text(alphabet="胃肝癌炎,.、 2a", max_size=12)
CHOICES = st.lists(TEXT, min_size=1, max_size=6)


def accepted(*indices: int) -> list[frozenset[int]]:
    return [frozenset(indices)]


@pytest.mark.parametrize(
    ("a", "b", "value"),
    [
        ("", "", 1.0),
        ("", "肝癌", 0.0),
        ("肝癌", "肝癌", 1.0),
        ("肝癌", "肝癌です", 4 / 6),
        ("肝細胞癌", "肝癌", 4 / 6),
        ("abcd", "bcde", 6 / 8),
        ("Ａ", "A", 0.0),
        ("tide", "diet", 2 / 8),
        ("diet", "tide", 4 / 8),
    ],
)
def test_gestalt_distance(a: str, b: str, value: float) -> None:
    assert gestalt_distance(a, b) == pytest.approx(value)


def test_gestalt_distance_keeps_python_s_autojunk() -> None:
    assert gestalt_distance("肝癌", "癌" * 199) == pytest.approx(2 / 201)
    assert gestalt_distance("肝癌", "癌" * 200) == 0.0
    assert gestalt_distance("癌" * 200, "肝癌") == pytest.approx(2 / 202)


@given(TEXT, TEXT)
def test_gestalt_distance_is_a_share_and_1_only_for_equal_texts(a: str, b: str) -> None:
    assert 0 <= gestalt_distance(a, b) <= 1
    assert (gestalt_distance(a, b) == 1) == (a == b)
    assert gestalt_score(a, [b]) == gestalt_distance(a, b)


def test_exact_match_wants_the_texts_in_order() -> None:
    assert exact_match("胃癌,肝癌", ["胃癌", "肝癌"]) == 1.0
    assert exact_match("肝癌,胃癌", ["胃癌", "肝癌"]) == 0.0
    assert exact_match("胃癌", ["胃癌", "肝癌"]) == 0.0
    assert exact_match("肝癌.", ["肝癌"]) == 0.0


def test_nearest_gives_ties_to_the_earlier_choice() -> None:
    assert nearest("", ORGANS, count=2) == {0, 1}
    assert nearest("膵炎", ["膵炎", "胃癌", "膵炎"], count=1) == {0}


@given(TEXT, CHOICES, st.data())
def test_nearest_holds_what_was_asked_and_grows(reply: str, choices: list[str], data: st.DataObject) -> None:
    count = data.draw(st.integers(1, len(choices)))
    chosen = nearest(reply, choices, count=count)
    assert len(chosen) == count
    assert chosen >= nearest(reply, choices, count=count - 1)
    if chosen != set(range(len(choices))):
        worst = min(gestalt_distance(reply, choices[i]) for i in chosen)
        assert all(gestalt_distance(reply, c) <= worst for i, c in enumerate(choices) if i not in chosen)


@given(CHOICES, st.data())
def test_the_text_of_a_choice_is_read_as_that_choice(choices: list[str], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(choices) - 1))
    (chosen,) = nearest(choices[index], choices, count=1)
    assert choices[chosen] == choices[index]


@pytest.mark.parametrize(
    ("reply", "count", "right", "value"),
    [
        ("肝癌です", 1, accepted(2), 1.0),
        ("肝癌です", 1, accepted(0), 0.0),
        ("肝癌", 1, [frozenset({0}), frozenset({2})], 1.0),
        ("膵炎", 1, [frozenset({0}), frozenset({2})], 0.0),
        # two right answers, in any order; one right and one wrong is wrong (peers.md, appendix C, case 8)
        ("膵炎,胆石症", 2, accepted(1, 3), 1.0),
        ("胆石症,膵炎", 2, accepted(1, 3), 1.0),
        ("膵炎,大腸癌", 2, accepted(1, 3), 0.0),
        # the question asks for one: naming one of two is not enough, nor does the gold's size leak
        ("膵炎", 1, accepted(1, 3), 0.0),
        ("膵炎", 0, accepted(1), 0.0),
    ],
)
def test_accuracy(reply: str, count: int, right: list[frozenset[int]], value: float) -> None:
    assert accuracy(reply, ORGANS, right, count=count) == value


@pytest.mark.parametrize(
    "choices", [["500mL", "1,000mL", "1,500mL", "2,500mL", "4,000mL"], ["胸痛、発熱", "胸痛", "発熱", "咳、痰", "咳"]]
)
def test_options_with_a_comma_inside_survive(choices: list[str]) -> None:
    # peers.md, appendix C, case 7
    for index, choice in enumerate(choices):
        assert accuracy(choice, choices, accepted(index), count=1) == 1.0
        assert exact_match(choice, [choice]) == 1.0
        # the harness splits its gold at "," and so loses such an option; its rule is kept under its name
        assert harness_gestalt_match(choice, choices, [choice]) == float("," not in choice)
        assert harness_exact_match(choice, [choice]) == 1.0


def test_harness_removes_stops_from_the_reply_and_not_from_the_choice() -> None:
    assert harness_gestalt(".肝癌.", "肝癌") == 1.0
    assert harness_gestalt("PM2.5", "PM2.5") == pytest.approx(8 / 9)
    assert harness_exact_match("PM25", ["PM2.5"]) == 1.0
    assert harness_exact_match(" 肝癌 ", ["肝癌"]) == 1.0
    assert harness_exact_match("肝癌。", ["肝癌"]) == 0.0
    assert harness_gestalt_match("PM2.5", ["PM1.0", "PM2.5"], ["PM2.5"]) == 1.0


def test_harness_is_the_mean_of_both_orders() -> None:
    assert harness_gestalt("tide", "diet") == pytest.approx((2 / 8 + 4 / 8) / 2)


def test_harness_reads_the_number_of_answers_off_the_gold() -> None:
    assert harness_gestalt_match("", ORGANS, ORGANS[:1]) == 1.0
    assert harness_gestalt_match("", ORGANS, ORGANS[:3]) == 1.0
    assert harness_gestalt_match("肝癌ではない", ORGANS, ["肝癌"]) == 1.0
    assert harness_gestalt_match("大腸癌,膵炎", ORGANS, ["膵炎", "大腸癌"]) == 1.0
    assert harness_gestalt_match("大腸癌,胆石症", ORGANS, ["膵炎", "大腸癌"]) == 0.0


@given(TEXT, TEXT)
def test_harness_gestalt_is_a_share(reply: str, choice: str) -> None:
    assert 0 <= harness_gestalt(reply, choice) <= 1
    assert harness_gestalt(reply, choice) == harness_gestalt(f" .{reply}. ", choice)


@given(st.text(alphabet="胃肝癌炎", max_size=12), st.text(alphabet="胃肝癌炎", max_size=12))
def test_harness_gestalt_is_symmetric_where_nothing_is_removed(a: str, b: str) -> None:
    assert harness_gestalt(a, b) == harness_gestalt(b, a)


@given(st.permutations(ORGANS), TEXT, st.integers(1, 4))
def test_the_order_of_the_gold_never_matters_to_the_harness(gold: list[str], reply: str, count: int) -> None:
    given_order = harness_gestalt_match(reply, ORGANS, gold[:count])
    assert given_order == harness_gestalt_match(reply, ORGANS, gold[:count][::-1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: exact_match("", []), "no gold"),
        (lambda: gestalt_score("", []), "no gold"),
        (lambda: exact_match("肝癌", "肝癌"), "sequence"),
        (lambda: harness_exact_match("", []), "no gold"),
        (lambda: harness_gestalt_match("", ORGANS, []), "no gold"),
        (lambda: harness_gestalt_match("", [], ["肝癌"]), "no choices"),
        (lambda: nearest("", [], count=0), "no choices"),
        (lambda: nearest("", ORGANS, count=6), "count is 6"),
        (lambda: nearest("", ORGANS, count=-1), "count is -1"),
        (lambda: accuracy("", ORGANS, [], count=1), "no accepted"),
    ],
)
def test_a_score_of_nothing_raises(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
