"""Whatever JSON a server sends, it is a completion or a fault in words that are not the server's."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ikyoku.errors import ModelError
from ikyoku.models.completions import PassingError, completion, request, verdict
from ikyoku.types import Completion, Message, Picture, Prompt, SamplingParams

LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner))


def maybe(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A JSON object with some of the fields, each as it should be or anything else."""
    return st.fixed_dictionaries({}, optional={name: field | JSON for name, field in fields.items()})


REASONS = st.sampled_from(["stop", "length", "abort", "患者"])
MESSAGE = maybe(content=st.text(), reasoning=st.text(), reasoning_content=st.text())
CHOICE = maybe(text=st.text(), message=MESSAGE, finish_reason=REASONS)
ANSWER = maybe(choices=st.lists(CHOICE, max_size=2), usage=maybe(completion_tokens=st.integers()))
ERROR = maybe(code=st.integers(100, 999), type=st.text(max_size=12), message=st.text())


@given(ANSWER, st.lists(st.text(min_size=1, max_size=3), max_size=2))
def test_any_answer_is_a_completion_or_may_pass(answer: dict[str, Any], stop: list[str]) -> None:
    try:
        found = completion(answer, stop)
    except PassingError as fault:
        assert re.fullmatch(r"an answer without a reply|a reply that did not end \([\w. -]+\)", str(fault), re.ASCII)
        return
    assert isinstance(found, Completion) and isinstance(found.tokens, int)
    assert found.finish in ("stop", "length")
    found.text.encode()  # no half of a character
    reply = found.text.rpartition("</think>\n")[2]
    assert not any(s in reply for s in stop) or "</think>" in "".join(stop)


@given(
    st.integers(100, 599), maybe(error=ERROR, code=st.text(), type=st.text(), message=st.text(), choices=JSON) | JSON
)
def test_no_verdict_quotes_the_server(status: int, answer: Any) -> None:
    meaning, words = verdict(status, answer)
    assert (meaning == "fine") == (words == "")
    assert re.fullmatch(
        r"|an answer that is no JSON object|HTTP \d{3}( \([\w.-]+(, [\w.-]+)*\))?(, its context is full)?",
        words,
        re.ASCII,
    )


@pytest.mark.parametrize("code", ["a b", "患者", "x" * 61, "-1", "1"])
def test_codes_that_are_no_identifiers_are_not_shown(code: str) -> None:
    assert verdict(400, {"error": {"code": code, "type": "invalid_request_error"}}) == (
        "refused",
        "HTTP 400 (invalid_request_error)",
    )


def test_pictures_are_refused_and_not_left_out() -> None:
    picture = Picture("0", np.zeros((2, 2), np.uint8))
    for prompt in (Prompt("<image> 影", images=(picture,)), Prompt(messages=(Message("user", "影", (picture,)),))):
        with pytest.raises(ModelError, match="m: a prompt has pictures"):
            request(prompt, SamplingParams(), served="m", room=8)
