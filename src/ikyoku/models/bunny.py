"""Bunny (BAAI/Bunny-v1_1-Llama-3-8B-V, the third study's model), which runs with the Python code that comes with it.

Its calling convention is LLaVA's first: the id -200 stands for a picture, `process_images` makes its pixels, `generate`
takes these as `images`, and `encode_images` is the tower with its projector. Models of other kinds whose own code does
the same work too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from ikyoku.errors import ModelError
from ikyoku.models.chat import chat_ids, chat_text
from ikyoku.models.features import FeatureCache, Features, fingerprint
from ikyoku.models.local import LocalModel, Row
from ikyoku.types import IMAGE_MARK, Completion, Message, Picture, Prompt, SamplingParams

IMAGE_ID = -200
"""What stands for a picture among the token ids."""
_TOWER = ("vision_tower", "mm_projector")
_MOST_TOKENS = 729  # of a picture, SigLIP's at 384 px, where the tower does not tell


class BunnyModel(LocalModel):
    """A model of Bunny's calling convention, asked one prompt at a time: its code pads batches on the right.

    Log-likelihoods are of prompts without pictures alone.
    """

    def __init__(self, model: Any, tokenizer: Any, *, name: str, features: FeatureCache | None = None) -> None:
        """Takes a loaded model.

        Args:
            model: transformers' model with code of its own, or PEFT's around it.
            tokenizer: its tokenizer.
            name: how tables name it.
            features: where features of pictures are kept; None computes them each time.

        Raises:
            ModelError: the model's code has another convention.
        """
        super().__init__(model, tokenizer, name=name, batch_size=1)
        self._base = model.get_base_model() if hasattr(model, "get_base_model") else model
        if missing := [m for m in ("process_images", "encode_images") if not hasattr(self._base, m)]:
            raise ModelError(
                f"{self._base.name_or_path}: its own code has no {' and no '.join(missing)}, so it is not asked as "
                "Bunny is, the only such convention that is known here. Convert it to a family of transformers."
            )
        self.features = features
        self._print: str | None = None

    def refresh(self) -> None:
        """Has to be called after weights of the tower or the projector were changed in place; no need for others'."""
        self._print = None

    def _row(self, prompt: Prompt) -> Row:
        if not prompt.pictures:
            return super()._row(prompt)
        if prompt.messages:
            asked = chat_text(prompt.messages, self._tokenizer, asked=True, where="the prompt", content=_marked)
            chunks = [chat_ids(chunk, self._tokenizer) for chunk in asked.split(IMAGE_MARK)]
        else:
            chunks = [self._tokenizer(chunk, verbose=False)["input_ids"] for chunk in prompt.text.split(IMAGE_MARK)]
        if len(chunks) != len(prompt.pictures) + 1:
            raise ModelError(
                f"{self.name}: a prompt has {len(prompt.pictures)} pictures and {len(chunks) - 1} marks {IMAGE_MARK}. "
                "Take such marks out of the text."
            )
        ids = chunks[0]
        for chunk in chunks[1:]:  # the tokenizer begins each with the token that begins a text
            ids = [*ids, IMAGE_ID, *(chunk[1:] if chunk[:1] == [self._tokenizer.bos_token_id] else chunk)]
        return Row(ids, prompt.pictures)

    def _length(self, row: Row) -> int:
        tower = self._base.get_vision_tower() if hasattr(self._base, "get_vision_tower") else None
        most = int(getattr(tower, "num_patches", _MOST_TOKENS))
        return len(row.ids) + len(row.pictures) * (most - 1)

    def _replies(self, rows: Sequence[Row], params: SamplingParams) -> list[Completion]:
        pictures = rows[0].pictures
        if not pictures:
            return super()._replies(rows, params)
        features = [self._seen(picture) for picture in pictures]
        self._base.encode_images = lambda images: _joined(features, self._base.device)
        try:
            return super()._replies(rows, params)
        finally:
            del self._base.encode_images  # the class's own is found again

    def _beside(self, rows: Sequence[Row], ids: Any) -> dict[str, Any]:
        import torch

        count = len(rows[0].pictures)
        # only their number is looked at: the features are there
        return {"images": torch.zeros(count, 3, 1, 1, dtype=self._base.dtype, device=ids.device)} if count else {}

    def _seen(self, picture: Picture) -> Features:
        """Returns what the tower and the projector make of a picture."""
        import torch
        from PIL import Image

        found = self.features.get(self._tower, picture.sha256) if self.features is not None else None
        if found is None:
            image = Image.fromarray(picture.pixels).convert("RGB")
            pixels = self._base.process_images([image], self._base.config)
            with torch.no_grad():
                made = self._base.encode_images(pixels.to(dtype=self._base.dtype, device=self._base.device))
            found = Features(torch.Tensor, (made,), (), listed=False)
            if self.features is not None:
                self.features.put(self._tower, picture.sha256, found)
        return found

    @property
    def _tower(self) -> str:
        if self._print is None:
            settings = json.dumps(self._base.config.to_diff_dict(), sort_keys=True, default=str)
            own = [(n, p) for n, p in self._base.named_parameters() if any(part in n for part in _TOWER)]
            self._print = fingerprint(own, hashlib.sha256(settings.encode()).hexdigest())
        return self._print


def _joined(features: Sequence[Features], device: Any) -> Any:
    """Returns the features of pictures (pictures, tokens, hidden)."""
    import torch

    return torch.cat([piece.to(device) for each in features for piece in each.pooled])


def _marked(turn: Message) -> str:
    return "".join(f"{IMAGE_MARK}\n" for _ in turn.images) + turn.content
