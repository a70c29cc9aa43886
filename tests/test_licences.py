"""Licences: what the table holds, how names and texts are recognised, and what several licences ask together."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ikyoku.licences import DISCLAIMER, LICENCES, combined, find, recognised

IDS = st.lists(st.sampled_from([*LICENCES, "", "house rules"]), max_size=6)


@pytest.mark.parametrize("id", LICENCES)
def test_a_licence_of_the_table(id: str) -> None:
    licence = LICENCES[id]
    assert find(id) is licence
    assert find(licence.name.upper()) in (licence, None)
    assert licence.url.startswith("https://")
    assert not licence.policy or licence.policy.startswith("https://")
    assert not licence.more.endswith(".")
    assert combined([id]).label == id


@pytest.mark.parametrize(
    ("name", "id"),
    [
        ("Apache 2.0", "apache-2.0"),
        ("apache license 2.0", "apache-2.0"),
        ("MIT License", "mit"),
        ("llama-3.1", "llama3.1"),
        ("llama3_2", "llama3.2"),
        ("Llama 3.3 Community License Agreement", "llama3.3"),
        ("META LLAMA 3 COMMUNITY LICENSE", "llama3"),
        ("llama-2", "llama2"),
        ("cc-by-nc-sa", "cc-by-nc-sa-4.0"),
        ("Gemma Terms of Use", "gemma"),
        ("tongyi-qianwen-license-agreement", "tongyi-qianwen"),
        ("Qwen Licence", "qwen"),
        ("plamo_community_license", "plamo-community-license"),
    ],
)
def test_a_name_is_found(name: str, id: str) -> None:
    found = find(name)
    assert found is not None
    assert found.id == id


@pytest.mark.parametrize("name", ["", "other", "llama", "llama9", "cc", "gpl-3.0", "license"])
def test_a_name_that_is_not_known(name: str) -> None:
    assert find(name) is None
    terms = combined(["mit", name])
    assert terms.unknown == (name,)
    assert terms.label == "other"
    said = "not stated in its folder: ask its makers" if not name else f"The licence {name!r} is not known to ikyoku"
    assert said in terms.sentences[-1]


@pytest.mark.parametrize(
    ("text", "id"),
    [
        ("\n                                 Apache License\n                           Version 2.0", "apache-2.0"),
        ("MIT License\n\nCopyright (c) 2023", "mit"),
        ("Meta Llama 3 Community License Agreement", "llama3"),
        ("LLAMA 3.2 COMMUNITY LICENSE AGREEMENT", "llama3.2"),
        ("LLAMA 4 COMMUNITY LICENSE AGREEMENT", "llama4"),
        ("# Health AI Developer Foundations Terms of Use", "health-ai-developer-foundations"),
        ("Qwen RESEARCH LICENSE AGREEMENT", "qwen-research"),
        ("Tongyi Qianwen LICENSE AGREEMENT", "tongyi-qianwen"),
        ("Attribution-NonCommercial-ShareAlike 4.0 International", "cc-by-nc-sa-4.0"),
        ("Creative Commons Attribution-NonCommercial 4.0 International", "cc-by-nc-4.0"),
        ("Creative Commons Attribution 4.0 International Public License", "cc-by-4.0"),
        ("Attribution-ShareAlike 3.0 Unported", "cc-by-sa-3.0"),
        ("BigScience Open RAIL-M License", "bigscience-openrail-m"),
    ],
)
def test_a_text_is_recognised(text: str, id: str) -> None:
    assert recognised(text) == id
    assert id in LICENCES


def test_a_text_that_is_not_known() -> None:
    assert recognised("Our own rules") is None
    assert recognised("x" * 2000 + "MIT License") is None


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (
            ["cc-by-sa-4.0", "cc-by-nc-4.0"],
            "wants the result under CC BY-SA, which allows commercial use, and CC BY-NC 4.0",
        ),
        (
            ["cc-by-nc-4.0", "cc-by-sa-4.0"],
            "wants the result under CC BY-SA, which allows commercial use, and CC BY-NC 4.0",
        ),
        (["cc-by-sa-4.0", "cc-by-nc-sa-4.0"], "which allows commercial use, and CC BY-NC-SA 4.0 forbids it."),
        (
            ["cc-by-sa-4.0", "llama3"],
            "without further conditions, and the terms of Meta Llama 3 Community License add some.",
        ),
        (["gemma", "cc-by-nc-sa-4.0"], "without further conditions, and the terms of Gemma Terms of Use add some."),
        (["cc-by-nc-nd-4.0", "mit"], "CC BY-NC-ND 4.0 does not allow changed versions to be passed on"),
    ],
)
def test_a_conflict(names: list[str], said: str) -> None:
    terms = combined(names)
    assert any(said in conflict for conflict in terms.conflicts)
    assert terms.sentences[: len(terms.conflicts)] == terms.conflicts


@pytest.mark.parametrize(
    "names",
    [
        ["apache-2.0", "mit", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-sa-3.0"],
        ["cc-by-nc-4.0", "cc-by-nc-sa-4.0", "apache-2.0"],
        ["llama3", "llama3.1", "llama3.3", "gemma", "cc-by-nc-4.0"],
    ],
)
def test_what_can_be_kept_together(names: list[str]) -> None:
    assert combined(names).conflicts == ()


def test_the_parents_of_the_third_study() -> None:
    terms = combined(["llama3", "cc-by-nc-sa-4.0", "llama3", "apache-2.0"])
    assert [licence.id for licence in terms.licences] == ["llama3", "cc-by-nc-sa-4.0", "apache-2.0"]
    assert (terms.begins, terms.shown, terms.label) == ("Llama 3", ("Built with Meta Llama 3",), "other")
    assert terms.non_commercial
    assert terms.notices == (
        "Meta Llama 3 is licensed under the Meta Llama 3 Community License, "
        "Copyright © Meta Platforms, Inc. All Rights Reserved.",
    )
    text = "\n".join(terms.sentences)
    for said in (
        "Commercial use is not allowed (CC BY-NC-SA 4.0).",
        "Meta Llama 3 Community License: the practice of medicine without a licence to practise is forbidden.",
        "no large language model may be improved with it but Llama 3 and what derives from that. Ask",
        "Who passes the merged model on does so under CC BY-NC-SA",
        "its rules of use hold (https://www.llama.com/llama3/use-policy/)",
        "Apache License 2.0: keep its NOTICE.",
    ):
        assert said in text


def test_gemma_and_llama_both_hold() -> None:
    terms = combined(["gemma", "llama3.3"])
    assert (terms.begins, terms.conflicts) == ("Llama", ())
    assert len(terms.notices) == 2
    copies = [sentence for sentence in terms.sentences if sentence.startswith("A copy of ")]
    assert [sentence.split(" goes ")[0] for sentence in copies] == [
        "A copy of Gemma Terms of Use",
        "A copy of Llama 3.3 Community License",
    ]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "bigscience-openrail-m",
            "medical advice and the interpretation of medical results with the model are forbidden",
        ),
        ("health-ai-developer-foundations", "needs the health authority's authorisation"),
        ("gemma", "the practice of medicine without a licence to practise is forbidden"),
    ],
)
def test_what_a_licence_says_of_medicine(name: str, said: str) -> None:
    assert any(said in sentence for sentence in combined(["mit", name]).sentences)


@given(IDS, st.integers(0, 9))
def test_the_order_of_the_parents_changes_no_term(names: list[str], seed: int) -> None:
    shuffled = random.Random(seed).sample(names, len(names)) + names[:1]
    one, other = combined(names), combined(shuffled)
    assert {licence.id for licence in one.licences} == {licence.id for licence in other.licences}
    assert set(one.unknown) == set(other.unknown)
    assert (one.label, one.begins, one.non_commercial) == (other.label, other.begins, other.non_commercial)
    assert len(one.conflicts) == len(other.conflicts)


@given(IDS, st.sampled_from([*LICENCES]))
def test_one_more_parent_takes_no_duty_away(names: list[str], more: str) -> None:
    few, many = combined(names), combined([*names, more])
    assert few.non_commercial <= many.non_commercial
    assert set(few.notices) <= set(many.notices)
    assert set(few.conflicts) <= set(many.conflicts)
    assert many.begins.startswith(few.begins)


def test_it_is_no_legal_advice() -> None:
    assert "It is no legal advice" in DISCLAIMER
    assert combined([]).sentences == ()
    assert combined(["cc0-1.0"]).sentences == ()
