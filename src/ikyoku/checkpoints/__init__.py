"""Checkpoints in safetensors, in Hugging Face's layout: a lazy reader and a writer that streams."""

from __future__ import annotations

from ikyoku.checkpoints.reader import (
    DTYPES,
    ITEM_BYTES,
    Checkpoint,
    TensorInfo,
    mapped,
    model_folder,
    open_checkpoint,
    read_header,
)

__all__ = [
    "DTYPES",
    "ITEM_BYTES",
    "Checkpoint",
    "TensorInfo",
    "mapped",
    "model_folder",
    "open_checkpoint",
    "read_header",
]
