"""Models that run in this process, through transformers and PEFT."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ikyoku.errors import ModelError
from ikyoku.models.cache import growing_cache
from ikyoku.models.chat import chat_text, prompt_ids
from ikyoku.models.checks import ADAPTER_WEIGHTS, tensor_names
from ikyoku.models.likelihood import ContinuationScorer, PrefixTree, Way, continuation_ids, prefix_tree
from ikyoku.models.loading import context_of, is_vision_model, load_tokenizer, load_weights, quiet, with_adapter
from ikyoku.types import Completion, FinishReason, Message, Prompt, SamplingParams

if TYPE_CHECKING:
    from ikyoku.models.features import FeatureCache

_ON_CPU = 16  # prompts at a time: more gains nothing there, the cores are busy
_ON_GPU = 128


@dataclass(frozen=True, slots=True)
class Row:
    """A prompt as it goes through a model: its token ids, and its pictures as the model is given them."""

    ids: list[int]
    pictures: tuple[Any, ...] = ()


class LocalModel:
    """A causal language model in this process, decoding greedily in left-padded batches.

    Prompts of one call go through it together, as many at a time as fit the memory; the caller sorts them by length.
    """

    def __init__(self, model: Any, tokenizer: Any, *, name: str, batch_size: int | None = None) -> None:
        """Takes a loaded model.

        Args:
            model: transformers' model, or PEFT's around it.
            tokenizer: its tokenizer.
            name: how tables name it.
            batch_size: prompts at a time; by default 16 on a CPU and what the memory holds on a GPU, at most 128.
        """
        self.name = name
        self._model = model
        self._tokenizer = tokenizer
        self._context = context_of(model.config, tokenizer)
        self._together = batch_size or (_ON_GPU if model.device.type == "cuda" else _ON_CPU)
        ends = getattr(model.generation_config, "eos_token_id", None)
        known = [ends] if isinstance(ends, int) else list(ends or [])
        self._ends = {*known, tokenizer.eos_token_id} - {None}
        # Any token will do where the tokenizer has none for padding: a mask hides it.
        self._pad = next((t for t in (tokenizer.pad_token_id, tokenizer.eos_token_id) if t is not None), 0)
        model.eval()

    @property
    def batch_size(self) -> int:
        """How many prompts go through the model at a time: less than at first where the memory did not hold them."""
        return self._together

    def generate(self, prompts: Sequence[Prompt], params: SamplingParams) -> list[Completion]:
        """Returns one completion per prompt; see `Model.generate`."""
        rows = [self._row(p) for p in prompts]
        completions = [Completion("", "too_long", 0)] * len(prompts)
        room = [self._context - self._length(row) for row in rows]
        together = [i for i, left in enumerate(room) if left >= params.max_new_tokens]
        # A prompt with less room is asked alone: in one batch it would cut the other replies short.
        alone = [[i] for i, left in enumerate(room) if 0 < left < params.max_new_tokens]
        for group in [together, *alone]:
            for i, done in zip(group, self._in_parts([rows[i] for i in group], params), strict=True):
                completions[i] = done
        return completions

    def loglikelihood(
        self, prompts: Sequence[Prompt], continuations: Sequence[Sequence[str]]
    ) -> list[list[float] | None]:
        """Returns the log-likelihood of each continuation of each prompt; see `ScoringModel.loglikelihood`."""
        import torch

        found: list[list[float] | None] = [None] * len(prompts)
        fitting: dict[int, PrefixTree] = {}
        for i, (prompt, texts) in enumerate(zip(prompts, continuations, strict=True)):
            context, ids = continuation_ids(prompt, texts, self._tokenizer, lay_out=self._chat)
            if len(context) + max(map(len, ids), default=0) <= self._context:
                fitting[i] = prefix_tree(context, ids)
        try:
            scores = self._scorer.score(list(fitting.values()))
        except torch.cuda.OutOfMemoryError:
            raise ModelError(
                f"{self.name}: ranking the options of one question needs more memory than the GPU has free. "
                "Load the model with quantization: nf4, or set likelihood: false."
            ) from None
        for i, values in zip(fitting, scores, strict=True):
            if not all(map(isfinite, values)):
                raise ModelError(
                    f"{self.name}: a likelihood is not a number: the weights are damaged, or too large for float16. "
                    "Load the model with dtype: bfloat16 or float32, or set likelihood: false."
                )
            found[i] = values
        return found

    @cached_property
    def _scorer(self) -> ContinuationScorer:
        tokens = 32_768 if self._model.device.type == "cuda" else 4096
        return ContinuationScorer(self._model, self._pad, tokens_per_batch=tokens)

    @property
    def way(self) -> Way:
        """How continuations are scored: behind a prompt that goes through the model once, or one by one."""
        return self._scorer.way

    def _row(self, prompt: Prompt) -> Row:
        """Returns a prompt as it goes through the model."""
        return Row(prompt_ids(prompt, self._tokenizer))

    def _length(self, row: Row) -> int:
        """Returns how many places of the context a prompt takes."""
        return len(row.ids)

    def _chat(self, messages: Sequence[Message]) -> str:
        """Returns messages as a text that ends where the model's answer begins."""
        return chat_text(messages, self._tokenizer, asked=True, where="the prompt")

    def _beside(self, rows: Sequence[Row], ids: Any) -> dict[str, Any]:
        """Returns what the model is called with beside the ids (B, W), which are padded on the left, and their mask."""
        return {}

    def _in_parts(self, rows: Sequence[Row], params: SamplingParams) -> list[Completion]:
        """Returns the completions of prompts, halving the batch as often as the memory does not hold it."""
        import torch

        done: list[Completion] = []
        while len(done) < len(rows):
            part = rows[len(done) : len(done) + self._together]
            try:
                done += self._replies(part, params)
            except torch.cuda.OutOfMemoryError:
                if len(part) == 1:
                    raise ModelError(
                        f"{self.name}: one prompt of {len(part[0].ids)} tokens needs more memory than the GPU has "
                        "free. Lower max_new_tokens, or load the model with quantization: nf4."
                    ) from None
                self._together = len(part) // 2
                torch.cuda.empty_cache()
        return done

    def _replies(self, rows: Sequence[Row], params: SamplingParams) -> list[Completion]:
        """Returns the completions of one batch."""
        import torch
        from transformers import GenerationConfig

        width = max(len(row.ids) for row in rows)
        pad, device = self._pad, self._model.device
        batch = torch.tensor([[pad] * (width - len(row.ids)) + row.ids for row in rows], device=device)
        mask = torch.tensor([[0] * (width - len(row.ids)) + [1] * len(row.ids) for row in rows], device=device)
        # Not the model's own generation settings: a repetition penalty in them would change the replies.
        config = GenerationConfig(
            max_new_tokens=min(params.max_new_tokens, self._context - max(map(self._length, rows))),
            do_sample=params.temperature > 0,
            **({"temperature": params.temperature} if params.temperature > 0 else {}),
            pad_token_id=pad,
            bos_token_id=self._tokenizer.bos_token_id,
            eos_token_id=sorted(self._ends) or None,
        )
        with torch.inference_mode():
            out = self._model.generate(
                batch,
                attention_mask=mask,
                **self._beside(rows, batch),
                **({"past_key_values": kept} if (kept := growing_cache(self._model)) is not None else {}),
                generation_config=config,
                stopping_criteria=[_StopAt(params.stop, self._tokenizer, width)] if params.stop else [],
            )
        written: list[list[int]] = out[:, width:].tolist()
        return [self._completion(row, params.stop) for row in written]

    def _completion(self, row: list[int], stop: Sequence[str]) -> Completion:
        length = next((n for n, token in enumerate(row) if token in self._ends), len(row))
        finish: FinishReason = "stop" if length < len(row) else "length"
        text = self._text(row[:length])
        cuts = [text.find(s) for s in stop if s in text]
        if cuts:
            text, finish = text[: min(cuts)], "stop"
            # the fewest tokens that hold the text that is kept
            length = bisect_left(range(length), True, key=lambda n: self._text(row[:n]).startswith(text))
        return Completion(text, finish, length)

    def _text(self, row: Sequence[int]) -> str:
        return str(self._tokenizer.decode(row, skip_special_tokens=True))


class _StopAt:
    """Ends a row of a batch once it has written a stop text: one of transformers' stopping criteria.

    What follows in such a row is padding or more text; the completion is cut before either.
    """

    def __init__(self, stop: Sequence[str], tokenizer: Any, width: int) -> None:
        self._stop, self._tokenizer, self._width = stop, tokenizer, width
        # A token is at least a byte: a stop text that ends in the newest token begins in one of these.
        self._recent = max(len(s.encode()) for s in stop) + 1

    def __call__(self, ids: Any, scores: Any, **_: Any) -> Any:
        import torch

        start = max(self._width, ids.shape[1] - self._recent)
        texts = self._tokenizer.batch_decode(ids[:, start:].tolist(), skip_special_tokens=True)
        return torch.tensor([any(s in text for s in self._stop) for text in texts], device=ids.device)


class LocalBase:
    """A base model in memory that answers bare or with an adapter on it; adapters are changed without loading it again.

    One model at a time: what `model` returned before is no longer to be used once it is called again.
    """

    def __init__(
        self, path: str, *, dtype: str = "auto", quantization: str = "none", trust_remote_code: bool = False
    ) -> None:
        """Notes what to load; the first call of `model` loads it.

        Args:
            path: a folder, or a hub id that the local cache holds.
            dtype: auto, float32, bfloat16 or float16.
            quantization: none, nf4 or int8.
            trust_remote_code: run Python code that comes with the model.
        """
        self.path = path
        self._options: dict[str, Any] = {
            "dtype": dtype,
            "quantization": quantization,
            "trust_remote_code": trust_remote_code,
        }
        self._weights: Any = None
        self._adapted: Any = None
        self._spoilt = False

    def model(
        self,
        *,
        name: str,
        adapter: str | None = None,
        batch_size: int | None = None,
        features: FeatureCache | None = None,
    ) -> LocalModel:
        """Returns the base, with an adapter on it where one is named; a vision-language model is one that sees.

        `features` is where a vision-language model keeps those of pictures.

        Raises:
            ModelError: the folder or the adapter is missing or incomplete, or the two do not fit.
        """
        if self._adapted is not None and not self._spoilt:
            with quiet():
                self._weights = self._adapted.unload()
        self._adapted = None
        if self._weights is None or self._spoilt:
            self._weights, self._spoilt = None, False  # not two bases in memory
            self._weights = load_weights(self.path, **self._options)
        if adapter:
            self._spoilt = True  # until it is known that it can be taken off again
            self._adapted = with_adapter(self._weights, self.path, adapter)
            self._spoilt = _changes_the_base(adapter, self._adapted)
        weights, trusted = self._adapted or self._weights, self._options["trust_remote_code"]
        if is_vision_model(self.path):
            from ikyoku.models.vision import with_eyes

            about: dict[str, Any] = {"features": features, "trust_remote_code": trusted}
            return with_eyes(weights, self.path, name=name, batch_size=batch_size, **about)
        tokenizer = load_tokenizer(self.path, trust_remote_code=trusted)
        return LocalModel(weights, tokenizer, name=name, batch_size=batch_size)


def _changes_the_base(adapter: str, adapted: Any) -> bool:
    """Whether an adapter does more than add low-rank updates beside the base's own weights: trained heads, biases."""
    config = adapted.active_peft_config
    names = tensor_names(Path(adapter).expanduser() / ADAPTER_WEIGHTS)
    return config.peft_type != "LORA" or config.bias != "none" or not all(".lora_" in name for name in names)


def open_model(path: str, *, name: str, adapter: str | None = None, **options: Any) -> LocalModel:
    """Returns a model of either kind, with or without eyes, from a folder or the local cache; options of `LocalBase`.

    Raises:
        ModelError: the folder or the adapter is missing or incomplete, or the two do not fit.
    """
    return LocalBase(path, **options).model(name=name, adapter=adapter)
