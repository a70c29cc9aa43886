"""What a frozen vision tower and its projector make of a picture, computed once and kept.

A search asks thousands of candidates about the same few pictures, and training sees its pictures in every epoch; only
the language model changes. Kept are the projected features that stand in the text (of Qwen3-VL also those that are
added in deeper layers), nothing of the language model. transformers' vision-language models take them ready-made, as
`mm_encoder_outputs`.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from ikyoku.errors import ModelError

if TYPE_CHECKING:
    import torch

_GIB = 2**30


@dataclass(frozen=True, slots=True)
class Features:
    """What the tower and the projector say of one picture, in the family's own form.

    `pooled` and each of `deep` are tensors with a row for each image token, in one piece or more. `listed` tells
    whether the family hands over a list of pieces or one tensor; `kind` is the type that holds them.
    """

    kind: type
    pooled: tuple[torch.Tensor, ...]
    deep: tuple[tuple[torch.Tensor, ...], ...]
    listed: bool

    @property
    def tokens(self) -> int:
        """How many image tokens they fill."""
        return sum(piece.shape[:-1].numel() for piece in self.pooled)

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(piece.nbytes for piece in chain(self.pooled, *self.deep))

    def to(self, device: Any) -> Features:
        """Returns them on a device."""
        pooled = tuple(piece.to(device) for piece in self.pooled)
        return Features(self.kind, pooled, tuple(tuple(p.to(device) for p in d) for d in self.deep), self.listed)


class FeatureCache:
    """Features of pictures in main memory, up to a number of bytes.

    What is in stays in: pictures are asked for in the same order again and again, so that throwing out the oldest
    would throw out the next one. A picture that does not fit any more is computed each time.

    Features of different towers (other weights, another picture size) lie beside each other and are not mixed up, so
    that one cache serves a whole search with its parents.
    """

    def __init__(self, *, limit: int = 4 * _GIB) -> None:
        """Makes an empty cache.

        Args:
            limit: bytes that it may hold. A picture has 0.5 to 40 MB for models of 4 to 8 billion parameters.
        """
        self.limit = limit
        self.nbytes = 0
        self.hits = 0
        self.misses = 0
        self._kept: dict[tuple[str, str], Features] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, tower: str, picture: str) -> Features | None:
        """Returns what is kept of a picture (by its sha256) under a tower (by its fingerprint)."""
        found = self._kept.get((tower, picture))
        self.hits += found is not None
        self.misses += found is None
        return found

    def put(self, tower: str, picture: str, features: Features) -> None:
        """Keeps features where there is room for them."""
        if (tower, picture) in self._kept or self.nbytes + features.nbytes > self.limit:
            return
        self._kept[tower, picture] = features.to("cpu")
        self.nbytes += features.nbytes


class Tower:
    """The part of a vision-language model that turns pictures into features for its language model.

    One picture at a time goes through it, so that what a picture becomes does not depend on its neighbours.
    """

    def __init__(self, model: Any, settings: str, cache: FeatureCache | None) -> None:
        """Takes the tower of a model.

        Args:
            model: transformers' vision-language model, without PEFT's around it.
            settings: what else the features depend on: the image processor's settings.
            cache: where features are kept; None computes them each time.

        Raises:
            ModelError: the family takes no ready-made features.
        """
        self._model, self._settings, self.cache = model, settings, cache
        self._encode = getattr(model.base_model, "get_image_features", None)
        if self._encode is None or "mm_encoder_outputs" not in inspect.signature(model.forward).parameters:
            raise ModelError(
                f"{model.name_or_path}: pictures cannot be put to models of type {model.config.model_type}: their code "
                "takes no features of pictures. LLaVA, Qwen-VL, Gemma 3, InternVL, Mistral 3 and other families that "
                "AutoModelForImageTextToText knows do."
            )
        self._wanted = frozenset(inspect.signature(self._encode).parameters) - {"kwargs", "self"}
        self._print: str | None = None

    @property
    def fingerprint(self) -> str:
        """The sha256 of the weights and settings that features come from; taken once, see `refresh`."""
        if self._print is None:
            config = self._model.config
            layers = [getattr(config, f"vision_feature_{what}", None) for what in ("layer", "select_strategy")]
            self._print = fingerprint(_of_the_tower(self._model), f"{self._settings} {layers}")
        return self._print

    def refresh(self) -> None:
        """Notes that weights may have changed in place: the fingerprint is taken again."""
        self._print = None

    def look(self, picture: str, inputs: Mapping[str, Any]) -> Features:
        """Returns the features of a picture, given its sha256 and what the image processor made of it."""
        found = self.cache.get(self.fingerprint, picture) if self.cache is not None else None
        if found is None:
            found = self._compute(inputs)
            if self.cache is not None:
                self.cache.put(self.fingerprint, picture, found)
        return found

    def kept(self, picture: str) -> Features | None:
        """Returns the features of a picture where they are in the cache."""
        return self.cache.get(self.fingerprint, picture) if self.cache is not None else None

    def outputs(self, pictures: Sequence[Features]) -> dict[str, Any]:
        """Returns what the model's `mm_encoder_outputs` is for the pictures of a batch, in their order."""
        import torch

        here = [features.to(self._model.device) for features in pictures]
        first = here[0]
        pooled: Any = [piece for features in here for piece in features.pooled]
        out = {"pooler_output": pooled if first.listed else torch.cat(pooled)}
        if first.deep:
            layers = range(len(first.deep))
            out["deepstack_features"] = [[piece for f in here for piece in f.deep[layer]] for layer in layers]
        return {"image": first.kind(**out)}

    def _compute(self, inputs: Mapping[str, Any]) -> Features:
        import torch

        device, dtype = self._model.device, self._model.dtype
        given = {
            name: value.to(device, dtype if value.is_floating_point() else None)
            for name, value in inputs.items()
            if name in self._wanted
        }
        with torch.no_grad():  # in inference mode they could not be trained on
            found = self._encode(**given, return_dict=True)  # type: ignore[misc]  # checked in __init__
        pooled, deep = found.pooler_output, getattr(found, "deepstack_features", None) or ()
        listed = not isinstance(pooled, torch.Tensor)
        return Features(
            type(found),
            tuple(pooled) if listed else (pooled,),
            tuple((each,) if isinstance(each, torch.Tensor) else tuple(each) for each in deep),
            listed,
        )


def fingerprint(parameters: Iterable[tuple[str, Any]], settings: str) -> str:
    """Returns the sha256 of named tensors, their types and shapes included, and of settings."""
    import torch

    digest = hashlib.sha256(settings.encode())
    for name, parameter in parameters:
        digest.update(f"{name} {parameter.dtype} {tuple(parameter.shape)}".encode())
        digest.update(parameter.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _of_the_tower(model: Any) -> list[tuple[str, Any]]:
    """All weights but the language model's and the head's."""
    parts = (model.get_decoder(), model.get_output_embeddings())
    language = {id(parameter) for part in parts if part is not None for parameter in part.parameters()}
    return [(name, parameter) for name, parameter in model.named_parameters() if id(parameter) not in language]
