"""A key-value cache that is written in place.

transformers' own copies all keys and values of all layers for each new token. For short models and many rows, such as a
search's candidates, that copying takes longer than the model: three quarters of the time of 50 replies where it was
tried (6 M parameters, two cores).
"""

from __future__ import annotations

from functools import cache
from typing import Any

_STEP = 64  # tokens that room is made for at a time


def growing_cache(model: Any) -> Any:
    """Returns an empty cache for one call of a model's `generate`, which holds the same numbers as transformers' own.

    None where the model keeps something else than keys and values, or comes with code of its own: it makes its cache.
    """
    from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    own_code = not type(base).__module__.startswith("transformers.")
    if own_code or base.config.is_encoder_decoder or not base._supports_default_dynamic_cache():
        return None
    made = DynamicCache(config=base.config.get_text_config(decoder=True))
    if not made.layers or not {type(layer) for layer in made.layers} <= {DynamicLayer, DynamicSlidingWindowLayer}:
        return None
    made.layers = [_growing_layer()() if type(layer) is DynamicLayer else layer for layer in made.layers]
    return made


@cache
def _growing_layer() -> type:
    import torch
    from transformers.cache_utils import DynamicLayer

    class GrowingLayer(DynamicLayer):  # type: ignore[misc]  # transformers is not followed
        """Keys and values (B, heads, tokens, width) as views of tensors with room for more."""

        keys: Any
        values: Any
        room: tuple[Any, Any] = (None, None)

        def update(self, key_states: Any, value_states: Any, *_: Any, **__: Any) -> tuple[Any, Any]:
            """Writes keys and values of new tokens behind those that are there, and returns all."""
            if not self.is_initialized:
                self.lazy_initialization(key_states, value_states)
            held = self.get_seq_length()
            whole = held + key_states.shape[-2]
            self.keys = self._written(0, self.keys, key_states, held, whole)
            self.values = self._written(1, self.values, value_states, held, whole)
            return self.keys, self.values

        def _written(self, place: int, old: Any, new: Any, held: int, whole: int) -> Any:
            buffer = self.room[place]
            # rows may have been chosen or repeated in the meantime, which makes other tensors
            own = buffer is not None and (not held or (old.data_ptr() == buffer.data_ptr() and len(old) == len(buffer)))
            if not own or whole > buffer.shape[-2]:
                buffer = new.new_empty(*new.shape[:-2], whole + _STEP, new.shape[-1])
                if held:
                    buffer[..., :held, :] = old
                self.room = (buffer, self.room[1]) if place == 0 else (self.room[0], buffer)
            buffer[..., held:whole, :] = new
            return torch.narrow(buffer, -2, 0, whole)

    return GrowingLayer
