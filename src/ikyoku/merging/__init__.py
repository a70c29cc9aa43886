"""Merging of models: arithmetic on tensors, no files."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ikyoku.merging.methods import METHODS, Method

if TYPE_CHECKING:
    from ikyoku.merging.coefficients import ModelTrim, model_trim_threshold
    from ikyoku.merging.combine import Constants, constants, elected, merge_tensor
    from ikyoku.merging.magnitudes import MagnitudeCounter, OrderStatistics
    from ikyoku.merging.sparsify import kept, mask_key, random_mask, threshold

__all__ = [
    "METHODS",
    "Constants",
    "MagnitudeCounter",
    "Method",
    "ModelTrim",
    "OrderStatistics",
    "constants",
    "elected",
    "kept",
    "mask_key",
    "merge_tensor",
    "model_trim_threshold",
    "random_mask",
    "threshold",
]

_WHERE = {
    **dict.fromkeys(("Constants", "constants", "elected", "merge_tensor"), "combine"),
    **dict.fromkeys(("ModelTrim", "model_trim_threshold"), "coefficients"),
    **dict.fromkeys(("MagnitudeCounter", "OrderStatistics"), "magnitudes"),
    **dict.fromkeys(("kept", "mask_key", "random_mask", "threshold"), "sparsify"),
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"ikyoku.merging.{_WHERE[name]}"), name)
