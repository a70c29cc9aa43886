"""Vision-language models in this process: any family that transformers opens as AutoModelForImageTextToText."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ikyoku.errors import ModelError
from ikyoku.models.chat import chat_ids, prompt_ids
from ikyoku.models.checks import has_tower
from ikyoku.models.features import FeatureCache, Features, Tower
from ikyoku.models.loading import (
    auto_class,
    context_of,
    has_own_code,
    load_config,
    load_tokenizer,
    load_weights,
    read_config,
    with_adapter,
)
from ikyoku.models.local import LocalModel, Row
from ikyoku.models.processors import PromptProcessor, Shown, open_processor
from ikyoku.types import Message, Picture, Prompt

_OTHER_TYPES = frozenset({"paligemma"})  # its token types say what was asked, not what is a picture


@dataclass(frozen=True, slots=True)
class Seen:
    """A picture of a prompt: how it stands in the text, and its features."""

    shown: Shown
    features: Features


class Eyes:
    """What a model sees with: the processor, the tower and the projector, and what was seen before.

    How a picture stands in a text is kept for each picture (no pixels), its features as the cache decides.
    """

    def __init__(self, model: Any, processor: PromptProcessor, settings: str, cache: FeatureCache | None) -> None:
        """Takes a model, bare or with an adapter on it, and what `open_processor` returned for its folder."""
        self._model = model.get_base_model() if hasattr(model, "get_base_model") else model
        self.processor = processor
        self.tower = Tower(self._model, settings, cache)
        self._shown: dict[str, Shown] = {}
        self._named = frozenset(inspect.signature(self._model.forward).parameters)

    def see(self, picture: Picture) -> Seen:
        """Returns a picture as it goes into a prompt and into the model.

        Raises:
            ModelError: the processor counts other image tokens than the model makes features.
        """
        if known := self.recall(picture.sha256):
            return known
        shown = self.processor.show(picture)
        features = self.tower.look(picture.sha256, shown.inputs)
        if features.tokens != shown.tokens:
            raise ModelError(
                f"{self._model.name_or_path}: its processor gives a picture {shown.tokens} image tokens, the model "
                f"makes features for {features.tokens}. processor_config.json or preprocessor_config.json is not of "
                "this model: copy them again."
            )
        beside = {n: v for n, v in shown.inputs.items() if n in self._named and not n.startswith("pixel")}
        shown = self._shown[picture.sha256] = Shown(shown.text, shown.tokens, beside)
        return Seen(shown, features)

    def row(self, prompt: Prompt) -> Row:
        """Returns a prompt's token ids with those of its pictures, and the pictures as they are seen.

        Raises:
            ModelError: a text holds an image token without a picture, or the chat template refuses the messages.
        """
        seen = tuple(self.see(picture) for picture in prompt.pictures)
        return Row(_ids(self.processor, prompt, [each.shown for each in seen]), seen)

    def recall(self, picture: str) -> Seen | None:
        """Returns a picture that was seen before, by its sha256, where its features were kept."""
        shown = self._shown.get(picture)
        features = self.tower.kept(picture) if shown else None
        return Seen(shown, features) if shown and features else None

    def beside(self, seen: Sequence[Seen], ids: Any) -> dict[str, Any]:
        """Returns what the model is called with beside the ids (B, W) of a batch, for its pictures in their order."""
        import torch

        if not seen:
            return {}
        found: dict[str, Any] = {"mm_encoder_outputs": self.tower.outputs([each.features for each in seen])}
        for name in seen[0].shown.inputs:
            found[name] = torch.cat([each.shown.inputs[name] for each in seen]).to(ids.device)
        if self._model.config.model_type not in _OTHER_TYPES:
            types = (ids == self._model.config.image_token_id).long()
            found |= {name: types for name in ("mm_token_type_ids", "token_type_ids") if name in self._named}
        return found


class VisionModel(LocalModel):
    """A vision-language model in this process; see `LocalModel`.

    Prompts with and without pictures may stand side by side. Log-likelihoods are of prompts without pictures alone.
    """

    def __init__(self, model: Any, tokenizer: Any, eyes: Eyes, *, name: str, batch_size: int | None = None) -> None:
        """Takes a loaded model and its eyes; see `LocalModel` for the others."""
        super().__init__(model, tokenizer, name=name, batch_size=batch_size)
        self.eyes = eyes

    @property
    def features(self) -> FeatureCache | None:
        """Where features of pictures are kept."""
        return self.eyes.tower.cache

    def refresh(self) -> None:
        """Has to be called after weights of the tower or the projector were changed in place; no need for others'."""
        self.eyes.tower.refresh()

    def _row(self, prompt: Prompt) -> Row:
        return self.eyes.row(prompt)

    def _chat(self, messages: Sequence[Message]) -> str:
        return self.eyes.processor.chat(messages, (), asked=True, where="the prompt")

    def _beside(self, rows: Sequence[Row], ids: Any) -> dict[str, Any]:
        return self.eyes.beside([seen for row in rows for seen in row.pictures], ids)


def check_sight(path: str, *, trust_remote_code: bool, prompts: Iterable[Prompt] = ()) -> None:
    """Refuses a model that could not be asked about pictures, before its weights are read.

    Args:
        path: its folder or hub id.
        trust_remote_code: whether Python code that comes with the model may run.
        prompts: some that it will be asked; those of a model with code of its own are not looked at.

    Raises:
        ModelError: it is a language model without a tower, needs Python code of its own that is not allowed, its
            processor's files are missing, or a prompt leaves no room for a reply.
    """
    config = read_config(path)
    if not has_tower(config):
        raise ModelError(
            f"{path}: a language model without a vision tower, so it sees no pictures. Name a vision-language model."
        )
    auto_class(path, config, trust_remote_code)
    if has_own_code(config):
        return
    processor, _ = open_processor(path, trust_remote_code=trust_remote_code)
    context = context_of(load_config(path, trust_remote_code=trust_remote_code), processor.tokenizer)
    for prompt in prompts:
        length = len(_ids(processor, prompt, [processor.show(picture) for picture in prompt.pictures]))
        if length >= context:
            raise ModelError(
                f"{path}: reads {context} tokens, and a picture with its instruction takes {length}: no room is left "
                "for a report. Shorten the instruction, or take a model that reads more."
            )


def _ids(processor: PromptProcessor, prompt: Prompt, shown: Sequence[Shown]) -> list[int]:
    """A prompt's token ids with those of its pictures."""
    text, tokenizer = processor.text(prompt, shown), processor.tokenizer
    ids = chat_ids(text, tokenizer) if prompt.messages else prompt_ids(Prompt(text=text), tokenizer)
    processor.check(ids, shown, where="the prompt")
    return ids


def load_vision_weights(path: str, *, dtype: str, quantization: str, trust_remote_code: bool) -> Any:
    """Returns the transformers model of a vision-language folder or a cached hub id; see `load_weights`.

    Raises:
        ModelError: it cannot be asked about pictures, see `check_sight`, or cannot be loaded.
    """
    check_sight(path, trust_remote_code=trust_remote_code)
    return load_weights(path, dtype=dtype, quantization=quantization, trust_remote_code=trust_remote_code)


def with_eyes(
    weights: Any,
    path: str,
    *,
    name: str,
    batch_size: int | None = None,
    features: FeatureCache | None = None,
    trust_remote_code: bool = False,
) -> LocalModel:
    """Returns loaded weights, bare or with an adapter, as a model that sees.

    Args:
        weights: of `load_vision_weights`, or PEFT's model around them.
        path: the folder or hub id of the processor's files.
        name: how tables name it.
        batch_size: prompts at a time; see `LocalModel`.
        features: where features of pictures are kept; None computes them each time.
        trust_remote_code: run Python code that comes with the model.

    Raises:
        ModelError: the processor's files are missing, or the family cannot be asked about pictures.
    """
    if has_own_code(read_config(path)):
        from ikyoku.models.bunny import BunnyModel

        tokenizer = load_tokenizer(path, trust_remote_code=trust_remote_code)
        return BunnyModel(weights, tokenizer, name=name, features=features)
    eyes = open_eyes(weights, path, features=features, trust_remote_code=trust_remote_code)
    return VisionModel(weights, eyes.processor.tokenizer, eyes, name=name, batch_size=batch_size)


def open_eyes(weights: Any, path: str, *, features: FeatureCache | None, trust_remote_code: bool) -> Eyes:
    """Returns the eyes of loaded weights; see `with_eyes`."""
    processor, settings = open_processor(path, weights.config, trust_remote_code=trust_remote_code)
    return Eyes(weights, processor, settings, features)


def open_vision_model(
    path: str,
    *,
    name: str,
    adapter: str | None = None,
    dtype: str = "auto",
    quantization: str = "none",
    trust_remote_code: bool = False,
    batch_size: int | None = None,
    features: FeatureCache | None = None,
) -> LocalModel:
    """Returns a vision-language model from a folder or the local cache, with an adapter on it where one is named.

    Raises:
        ModelError: it is no vision-language model, the folder or the adapter is incomplete, or the two do not fit.
    """
    weights = load_vision_weights(path, dtype=dtype, quantization=quantization, trust_remote_code=trust_remote_code)
    if adapter:
        weights = with_adapter(weights, path, adapter)
    return with_eyes(
        weights, path, name=name, batch_size=batch_size, features=features, trust_remote_code=trust_remote_code
    )
