"""Pictures and prompts as a vision-language family wants them: pixels, image tokens, and the text around these."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from ikyoku.errors import ModelError
from ikyoku.models.chat import chat_text
from ikyoku.models.loading import home, load_config, load_tokenizer, quiet
from ikyoku.types import IMAGE_MARK, Message, Picture, Prompt

_PROBE = "\ue000"
_TEXT_KEYS = frozenset(
    {"input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids", "text_replacement_offsets", "labels"}
)


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture as the family's processor sees it.

    `text` stands for it in a prompt and holds `tokens` image tokens. `inputs` are the tensors that the model is given
    for it, pixels among them.
    """

    text: str
    tokens: int
    inputs: Mapping[str, Any]


class PromptProcessor:
    """Lays prompts with pictures out for one model.

    transformers' processors look for the image token in a text; a verbatim prompt gets it with the tokens that the
    family sets around a picture.
    """

    def __init__(self, tokenizer: Any, read: Callable[[Any], Shown], config: Any, image_token: str) -> None:
        """Takes what is needed of a family.

        Args:
            tokenizer: with the chat template that knows pictures, where there is one.
            read: makes of an RGB image of PIL what the model is given.
            config: of the model.
            image_token: what `Shown.text` takes the place of.
        """
        self.tokenizer, self._read, self._image_token = tokenizer, read, image_token
        self._mark = _around(image_token, config, tokenizer)
        self._image_id = int(config.image_token_id)
        self._in_parts: bool | None = None

    def show(self, picture: Picture) -> Shown:
        """Returns a picture as the model is given it: its grey values as red, green and blue."""
        from PIL import Image

        return self._read(Image.fromarray(picture.pixels).convert("RGB"))

    def text(self, prompt: Prompt, shown: Sequence[Shown], *, where: str = "the prompt") -> str:
        """Returns a prompt as one text with its pictures' image tokens in it.

        Args:
            prompt: a text or messages.
            shown: its pictures, in order.
            where: what it is, for the message: a sample's id.

        Raises:
            ModelError: the chat template refuses the messages, or a text holds image tokens without a picture.
        """
        if prompt.messages:
            return self.chat(prompt.messages, shown, asked=True, where=where)
        text = prompt.text.replace(IMAGE_MARK, self._mark) if prompt.images else prompt.text
        return self._expanded(text, shown, where) if shown else text

    def chat(self, messages: Sequence[Message], shown: Sequence[Shown], *, asked: bool, where: str) -> str:
        """Returns messages through the chat template, with their pictures' image tokens; see `chat_text`.

        `shown` are the pictures of the messages, in order, and may be followed by those of later ones.
        """
        content = self._parts if self._takes_parts() else self._marked
        text = chat_text(messages, self.tokenizer, asked=asked, where=where, content=content)
        count = sum(len(turn.images) for turn in messages)
        return self._expanded(text, shown[:count], where) if count else text

    def check(self, ids: Sequence[int], shown: Sequence[Shown], *, where: str) -> None:
        """Refuses ids whose image tokens are not those of its pictures: the model would mix texts and pictures up.

        Raises:
            ModelError: a text holds the model's image token without a picture.
        """
        found, wanted = ids.count(self._image_id), sum(each.tokens for each in shown)
        if found != wanted:
            raise ModelError(
                f"{self.tokenizer.name_or_path}: {where} has {found} image tokens, and its {len(shown)} pictures fill "
                f"{wanted}. Take the model's own image token out of the text."
            )

    def decode(self, ids: Sequence[int]) -> str:
        """Returns ids as text for a person: the tokens of a picture are counted, "<image>×576"."""
        parts = []
        for image, run in groupby(ids, key=lambda token: token == self._image_id):
            held = list(run)
            name = self.tokenizer.convert_ids_to_tokens(self._image_id)
            parts.append(f"{name}×{len(held)}" if image else str(self.tokenizer.decode(held)))
        return "".join(parts)

    def _expanded(self, text: str, shown: Sequence[Shown], where: str) -> str:
        pieces = text.split(self._image_token)
        if len(pieces) != len(shown) + 1:
            raise ModelError(
                f"{self.tokenizer.name_or_path}: {where} has {len(shown)} pictures, and its text {len(pieces) - 1} "
                f"places for them ({self._image_token}). Take such marks out of the text; if there are none in it, the "
                "chat template leaves pictures out: use a text format such as vicuna."
            )
        return "".join(piece + each.text for piece, each in zip(pieces, shown, strict=False)) + pieces[-1]

    def _takes_parts(self) -> bool:
        """Whether the chat template takes a turn as a list of parts, pictures among them, as newer ones do."""
        if self._in_parts is None:
            turn = Message("user", _PROBE)
            try:
                text = chat_text(
                    [turn],
                    self.tokenizer,
                    asked=True,
                    where="a turn",
                    content=lambda turn: [{"type": "image"}, {"type": "text", "text": turn.content}],
                )
            except ModelError:
                text = ""
            # one that takes texts alone would print the list
            self._in_parts = text.count(self._image_token) == 1 and _PROBE in text and "'type'" not in text
        return self._in_parts

    def _parts(self, turn: Message) -> list[dict[str, str]]:
        return [*({"type": "image"} for _ in turn.images), {"type": "text", "text": turn.content}]

    def _marked(self, turn: Message) -> str:
        return "".join(f"{self._mark}\n" for _ in turn.images) + turn.content


def open_processor(path: str, config: Any = None, *, trust_remote_code: bool) -> tuple[PromptProcessor, str]:
    """Returns how prompts are laid out for the model of a folder, and the sha256 of its image processor's settings.

    `config` is the loaded model's, where it is loaded.

    transformers' own processor is used where it can be made. Without torchvision those of families that also read
    films cannot: their image processor is used, and the text is put together here.

    Raises:
        ModelError: the folder has no image processor, or its tokenizer does not know the image token.
    """
    from transformers import AutoImageProcessor, AutoProcessor

    options = {"trust_remote_code": trust_remote_code}
    tokenizer = load_tokenizer(path, **options)
    if config is None:
        config = load_config(path, **options)
    with quiet():
        try:
            processor = AutoProcessor.from_pretrained(home(path), **options)
            images = getattr(processor, "image_processor", None)
        except (ImportError, OSError, ValueError, KeyError, TypeError, AttributeError):
            processor = images = None
        if images is None:
            processor = None
            try:
                images = AutoImageProcessor.from_pretrained(home(path), **options)
            except (ImportError, OSError, ValueError, KeyError, TypeError, AttributeError):
                raise ModelError(
                    f"{path}: says nowhere how pictures are made ready for it: no processor_config.json or "
                    "preprocessor_config.json with an image processor that can be read. Copy these files from the "
                    "model that it was made of."
                ) from None
    if processor is None:
        token = tokenizer.convert_ids_to_tokens(config.image_token_id)
        count = _counted_by(config, images, path)
        around = ("", "")
        if config.model_type == "internvl":
            around = (str(tokenizer.start_image_token), str(tokenizer.end_image_token))
        found = PromptProcessor(tokenizer, _Assembled(images, token, count, around).show, config, token)
    else:
        _complete(processor, config)
        tokenizer.chat_template = processor.chat_template or tokenizer.chat_template
        token = processor.image_token
        found = PromptProcessor(tokenizer, _Whole(processor, config.image_token_id).show, config, token)
    if token is None or tokenizer.convert_tokens_to_ids(token) in (None, tokenizer.unk_token_id):
        raise ModelError(
            f"{path}: its tokenizer does not know the token that stands for a picture ({token}). "
            "Copy the tokenizer and processor files of the model again."
        )
    return found, hashlib.sha256(images.to_json_string().encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class _Whole:
    """transformers' processor, asked for one picture at a time."""

    processor: Any
    image_id: int

    def show(self, image: Any) -> Shown:
        given = self.processor(
            text=[self.processor.image_token], images=[image], return_text_replacement_offsets=True, return_tensors="pt"
        )
        ((place,),) = given["text_replacement_offsets"]
        tokens = int((given["input_ids"] == self.image_id).sum())
        inputs = {name: value for name, value in given.items() if name not in _TEXT_KEYS}
        return Shown(place["replacement"], tokens, inputs)


@dataclass(frozen=True, slots=True)
class _Assembled:
    """An image processor, and how many image tokens a picture has."""

    images: Any
    token: str
    count: Callable[[Mapping[str, Any]], int]
    around: tuple[str, str]

    def show(self, image: Any) -> Shown:
        inputs = dict(self.images(images=[image], return_tensors="pt"))
        tokens = self.count(inputs)
        start, end = self.around
        return Shown(f"{start}{self.token * tokens}{end}", tokens, inputs)


def _counted_by(config: Any, images: Any, path: str) -> Callable[[Mapping[str, Any]], int]:
    """How many image tokens a picture has where no processor of transformers tells it."""

    def by_grid(inputs: Mapping[str, Any]) -> int:
        return int(math.prod(inputs["image_grid_thw"][0].tolist())) // int(images.merge_size) ** 2

    def by_tiles(inputs: Mapping[str, Any]) -> int:
        vision = config.vision_config
        cells = math.prod(s // p for s, p in zip(vision.image_size, vision.patch_size, strict=True))
        return round(float(cells * config.downsample_ratio**2)) * int(inputs["num_patches"][0])

    if hasattr(images, "merge_size"):
        return by_grid
    if config.model_type == "internvl":
        return by_tiles
    raise ModelError(
        f"{path}: the processor of {config.model_type} cannot be made here; it needs torchvision. Install the "
        "torchvision that belongs to this torch, or take a model of another family."
    )


def _around(token: str, config: Any, tokenizer: Any) -> str:
    """An image token with the tokens that the family sets around a picture in a text."""
    for kind in ("vision", "image"):
        ends = [getattr(config, f"{kind}_{end}_token_id", None) for end in ("start", "end")]
        if None not in ends:
            start, end = tokenizer.convert_ids_to_tokens(ends)
            return f"{start}{token}{end}"
    return token


def _complete(processor: Any, config: Any) -> None:
    """Fills in what processors saved by older versions leave to the model's config."""
    if getattr(processor, "patch_size", 0) is None:
        processor.patch_size = config.vision_config.patch_size
        processor.vision_feature_select_strategy = config.vision_feature_select_strategy
        # the class token of a CLIP tower, which the strategy "default" takes off
        processor.num_additional_image_tokens = int(config.vision_config.model_type == "clip_vision_model")
