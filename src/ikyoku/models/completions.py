"""OpenAI's protocol of completions: a prompt as a request, an answer as a completion, an error as what it means.

Reference:
    OpenAI's API reference, "Completions" and "Chat Completions"; RFC 9110, section 10.2.3 (Retry-After).
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any, Literal

from ikyoku.errors import ModelError
from ikyoku.types import Completion, FinishReason, Prompt, SamplingParams

_ENDS: Mapping[str, FinishReason] = {
    **dict.fromkeys(("stop", "eos", "eos_token", "stop_sequence", "tool_calls", "content_filter"), "stop"),
    **dict.fromkeys(("length", "max_tokens"), "length"),
}
"""Why a reply ended. Any other reason, such as vLLM's "abort" of a server that stops, means that it did not end."""

_PASSING = (408, 409, 425, 429)  # beside every 5xx
_TOO_LONG = {"context_length_exceeded", "context_window_exceeded", "exceed_context_size_error"}
_CONTEXT = re.compile(  # how vLLM, SGLang, TGI, llama.cpp and Ollama say it where no code does
    r"context (?:length|size|window)|max_model_len|max(?:imum)? model length|input length|longer than the model"
    r"|max_new_tokens|max_tokens must be at least 1|prompt is too long",
    re.IGNORECASE,
)
_IDENTIFIER = re.compile(r"[A-Za-z][\w.-]{0,59}", re.ASCII)
_HALF_A_PAIR = re.compile("[\ud800-\udfff]")


class PassingError(Exception):
    """Something that may pass: in words, with the seconds that the server asks to wait."""

    def __init__(self, what: str, wait: float = 0.0) -> None:
        super().__init__(what)
        self.wait = wait


def request(prompt: Prompt, params: SamplingParams, *, served: str, room: int) -> tuple[str, dict[str, Any]]:
    """Returns the path and the body of the request for one prompt, with `room` tokens for the reply.

    Raises:
        ModelError: the prompt has pictures.

    >>> request(Prompt("問題："), SamplingParams(stop=("###",)), served="m", room=8)[0]
    '/completions'
    """
    if prompt.pictures:
        raise ModelError(f"{served}: a prompt has pictures, and servers are asked with texts. Open the model's folder.")
    body: dict[str, Any] = {"model": served, "max_tokens": room, "temperature": params.temperature, "seed": 0}
    if params.stop:
        body["stop"] = list(params.stop)
    if prompt.messages:
        return "/chat/completions", body | {
            "messages": [{"role": m.role, "content": m.content} for m in prompt.messages]
        }
    return "/completions", body | {"prompt": prompt.text}


def completion(answer: Mapping[str, Any], stop: Sequence[str]) -> Completion:
    r"""Returns the completion in an answer, ended before the first of the texts in `stop`.

    A reasoning model's thoughts, which servers give beside the reply, stand before it in a <think> block.

    Raises:
        PassingError: the answer is not whole.

    >>> choice = {"message": {"content": "答えはc ###", "reasoning": "胸痛"}, "finish_reason": "length"}
    >>> completion({"choices": [choice], "usage": {"completion_tokens": 9}}, ["###"])
    Completion(text='<think>\n胸痛\n</think>\n答えはc ', finish='stop', tokens=9)
    """
    choices = answer.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict):
        raise PassingError("an answer without a reply")
    message = choice.get("message")
    holder, key = (message, "content") if isinstance(message, dict) else (choice, "text")
    thoughts = holder.get("reasoning_content") or holder.get("reasoning") or ""
    text = holder.get(key, "" if thoughts else 0)
    text = "" if text is None else text  # a reply of thoughts alone, or of nothing
    if not isinstance(text, str) or not isinstance(thoughts, str):
        raise PassingError("an answer without a reply")
    reason = choice.get("finish_reason")
    finish = _ENDS.get(reason) if isinstance(reason, str) else None
    if finish is None:
        known = isinstance(reason, str) and _IDENTIFIER.fullmatch(reason)
        raise PassingError(f"a reply that did not end ({reason if known else 'no reason given'})")
    if cuts := [text.find(s) for s in stop if s in text]:
        text, finish = text[: min(cuts)], "stop"
    if thoughts and not text.lstrip().startswith("<think>"):  # llama.cpp can give them twice
        text = f"<think>\n{thoughts.strip()}\n</think>\n{text}"
    usage = answer.get("usage")
    tokens = usage.get("completion_tokens") if isinstance(usage, dict) else None
    # A text cut inside a character may hold half of it, which no file could take.
    return Completion(_HALF_A_PAIR.sub("\ufffd", text), finish, tokens if isinstance(tokens, int) else 0)


def verdict(status: int, answer: Any) -> tuple[Literal["fine", "too long", "passing", "refused"], str]:
    """Returns what an answer's HTTP status and JSON mean, and that in words: none of the server's, which may quote.

    >>> verdict(503, None), verdict(400, {"error": {"code": "context_length_exceeded"}})
    (('passing', 'HTTP 503'), ('too long', 'HTTP 400 (context_length_exceeded)'))
    """
    error = answer.get("error") if isinstance(answer, dict) else None
    if 200 <= status < 300:
        if not isinstance(answer, dict):
            return "passing", "an answer that is no JSON object"
        if not error or answer.get("choices"):
            return "fine", ""
        code = error.get("code") if isinstance(error, dict) else None
        status = code if isinstance(code, int) and 400 <= code < 600 else 500  # an error in a success
    held = [error, answer] if isinstance(error, dict) else [answer]  # vLLM gave it without "error" around it
    fields = [part[key] for part in held if isinstance(part, dict) for key in ("code", "type") if key in part]
    kinds = sorted({f for f in fields if isinstance(f, str) and _IDENTIFIER.fullmatch(f)})
    said = [error, *(part.get("message") for part in held if isinstance(part, dict))]
    full = any(isinstance(text, str) and _CONTEXT.search(text) for text in said)
    words = f"HTTP {status}" + (f" ({', '.join(kinds)})" if kinds else "")
    if _TOO_LONG & set(kinds) or (full and status in (400, 413, 422)):
        return "too long", words
    if status in _PASSING or status >= 500:
        return "passing", words + (", its context is full" if full else "")
    return "refused", words


def seconds_of(retry_after: str | None) -> float:
    """Returns how long a Retry-After asks to wait, given in seconds or as a date; 0 where it asks nothing.

    >>> seconds_of("7"), seconds_of("Wed, 21 Oct 2015 07:28:00 GMT"), seconds_of("soon"), seconds_of(None)
    (7.0, 0.0, 0.0, 0.0)
    """
    text = (retry_after or "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0
