"""Models to merge, made from nothing but integers, and what is kept of a merged one.

Both sides make the same bits from this file, with numpy alone: mergekit in its own environment, where its numbers are
written down (`mergekit_numbers.py`), and ikyoku in the tests (`test_mergekit.py`).

A value is a whole number times a power of two, small enough to be exact in the model's number format, and so is every
difference between a parent and its base. A tensor's magnitudes of differences are all distinct (float32), or fall into
four bands of n/4 elements (float16 and bfloat16, which have too few numbers): at a density of
1/4, 1/2 or 3/4 there is no tie at the threshold, and density * n is whole. The family `near` is drawn as fine-tuned
models are, a base and small noise rounded to bfloat16: it has ties everywhere.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import gcd, prod
from pathlib import Path
from typing import Any

import numpy as np

MODELS = ("base", "a", "b", "c")
SAMPLES = 16
"""Values of a tensor that are written down."""


@dataclass(frozen=True)
class Family:
    """A base and three parents of one shape."""

    dtype: str
    hidden: int
    inner: int
    layers: int
    vocabulary: int
    architecture: str = "llama"
    tied: bool = False
    near: bool = False
    """A base and small noise, rounded, instead of the grid without ties."""
    words: bool = False
    """The models' vocabularies differ."""


FAMILIES = {
    "tiny-float32": Family("float32", 64, 128, 2, 200),
    "tiny-bfloat16": Family("bfloat16", 64, 96, 3, 200, architecture="qwen2", tied=True),
    "tiny-float16": Family("float16", 48, 80, 2, 160),
    "near": Family("bfloat16", 64, 128, 2, 200, near=True),
    "words": Family("float32", 32, 64, 1, 200, words=True),
    "mid-float32": Family("float32", 320, 832, 6, 6000),
    "mid-bfloat16": Family("bfloat16", 320, 832, 7, 8000, architecture="qwen2", tied=True),
    "mid-float16": Family("float16", 384, 1024, 4, 6000),
}

_GRIDS = {"float32": (22, 21, 25), "float16": (10, 9, 13), "bfloat16": (7, 6, 10)}
"""By dtype: the bits of a base's values, those of a difference, and the power of two that both are divided by."""

_LABELS = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}


# numbers


def _seed(*names: object) -> int:
    return zlib.crc32("/".join(map(str, names)).encode())


def _hash(seed: int, count: int) -> np.ndarray:
    """Returns `count` 64-bit numbers that look random: splitmix64 of the seed and the position."""
    with np.errstate(over="ignore"):
        x = np.arange(1, count + 1, dtype=np.uint64)
        x += np.uint64(seed << 32)
        x *= np.uint64(0x9E3779B97F4A7C15)
        x ^= x >> np.uint64(30)
        x *= np.uint64(0xBF58476D1CE4E5B9)
        x ^= x >> np.uint64(27)
        x *= np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    return x


def _ranks(seed: int, count: int) -> np.ndarray:
    """Returns the numbers from 0 to count - 1, each once, in another order."""
    step = int(count * (0.3 + 0.4 * (seed % 997) / 997)) | 1
    while gcd(step, count) > 1:
        step += 2
    return (np.arange(count, dtype=np.int64) * step + seed % count) % count


def _on_grid(dtype: str, tensor: str, model: str, count: int) -> np.ndarray:
    """Returns a tensor's values in float32, without ties among the differences to the base."""
    bits, delta_bits, shift = _GRIDS[dtype]
    found = (_hash(_seed(tensor), count) >> np.uint64(63 - bits)).astype(np.int32) - 2**bits
    if model != "base":
        seed = _seed(tensor, model)
        drawn = _hash(seed, count)
        magnitude = _ranks(seed, count)
        if dtype == "float32":
            magnitude = (magnitude + 1) * (2**delta_bits // (count + 1))
        else:
            band = 2**delta_bits // 4
            magnitude = magnitude * 4 // count * band + 1
            magnitude += (drawn >> np.uint64(8)).astype(np.int64) & (band - 1)
        found += np.where(drawn & np.uint64(1), magnitude, -magnitude).astype(np.int32)
    return found.astype(np.float32) / np.float32(2**shift)


def _near(tensor: str, model: str, count: int) -> np.ndarray:
    """Returns a tensor's values as fine-tuning leaves them: the base, and noise of a twentieth of its size."""

    def drawn(*names: str) -> np.ndarray:  # the sum of four 16-bit numbers is nearly normal; sd 0.02
        parts = _hash(_seed(*names), count)
        total = sum(((parts >> np.uint64(16 * i)) & np.uint64(0xFFFF)).astype(np.int64) for i in range(4))
        return (total - 2 * 0xFFFF).astype(np.float32) / np.float32(2**21)

    base = _bfloat16(drawn(tensor))
    return base if model == "base" else _bfloat16(base + drawn(tensor, model) / np.float32(16))


def _bfloat16(values: np.ndarray) -> np.ndarray:
    """Returns float32 values rounded to bfloat16, to nearest, ties to even."""
    bits = values.view(np.uint32)
    return ((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) & np.uint32(0xFFFF0000)).view(
        np.float32
    )


def encoded(values: np.ndarray, dtype: str) -> np.ndarray:
    """Returns float32 values that are exact in a dtype as its bytes: uint16 or uint32."""
    if dtype == "float32":
        return values.view(np.uint32)
    return (
        values.astype(np.float16).view(np.uint16)
        if dtype == "float16"
        else (values.view(np.uint32) >> 16).astype(np.uint16)
    )


def decoded(bits: np.ndarray, dtype: str) -> np.ndarray:
    """Returns what such bytes stand for, in float64."""
    if dtype == "float32":
        return bits.view(np.float32).astype(np.float64)
    if dtype == "float16":
        return bits.view(np.float16).astype(np.float64)
    return (bits.astype(np.uint32) << 16).view(np.float32).astype(np.float64)


def positions(tensor: str, count: int) -> np.ndarray:
    """Returns the positions of a tensor of which the values are written down."""
    return (_hash(_seed("positions", tensor), SAMPLES) % np.uint64(count)).astype(np.int64)


# models


_ADDED = {"a": ["病", "薬", "ab", "x1", "x2", "x3", "x4", "x5"], "b": ["ab", "骨", "x1", "y1"]}
"""Tokens that two of the models of the family `words` have got beside their pieces."""


def tokens(family: Family, model: str) -> list[str]:
    """Returns the tokens of a model in the order of its rows."""
    found = ["<unk>", "<s>", "</s>", *(f"w{i}" for i in range(family.vocabulary - 3))]
    if family.words and model == "b":
        found[3:] = found[:2:-1][8:]  # in another order, and eight less
    return found + (_ADDED.get(model, []) if family.words else [])


def shapes(family: Family, model: str) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of a model's tensors by name."""
    hidden, inner, rows = family.hidden, family.inner, len(tokens(family, model))
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (rows, hidden)}
    for i in range(family.layers):
        layer = f"model.layers.{i}."
        for name, width in (("q", hidden), ("k", hidden // 2), ("v", hidden // 2)):
            found[f"{layer}self_attn.{name}_proj.weight"] = (width, hidden)
            if family.architecture == "qwen2":
                found[f"{layer}self_attn.{name}_proj.bias"] = (width,)
        found[f"{layer}self_attn.o_proj.weight"] = (hidden, hidden)
        found |= {f"{layer}mlp.{name}_proj.weight": (inner, hidden) for name in ("gate", "up")}
        found[f"{layer}mlp.down_proj.weight"] = (hidden, inner)
        found |= {f"{layer}{name}_layernorm.weight": (hidden,) for name in ("input", "post_attention")}
    found["model.norm.weight"] = (hidden,)
    if not family.tied:
        found["lm_head.weight"] = (rows, hidden)
    return found


def values(family: Family, model: str, tensor: str) -> np.ndarray:
    """Returns a tensor's values in float32."""
    shape = shapes(family, model)[tensor]
    if family.near:
        return _near(tensor, model, prod(shape)).reshape(shape)
    if not family.words or shape[0] != len(tokens(family, model)):
        return _on_grid(family.dtype, tensor, model, prod(shape)).reshape(shape)
    every = sorted({token for each in MODELS for token in tokens(family, each)})
    table = _on_grid(family.dtype, tensor, model, len(every) * shape[1]).reshape(-1, shape[1])
    return table[[every.index(token) for token in tokens(family, model)]]


def _config(family: Family, model: str) -> dict[str, Any]:
    heads = family.hidden // 16
    return {
        "architectures": ["Qwen2ForCausalLM" if family.architecture == "qwen2" else "LlamaForCausalLM"],
        "model_type": family.architecture,
        "hidden_size": family.hidden,
        "intermediate_size": family.inner,
        "num_hidden_layers": family.layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads // 2 if heads % 2 == 0 else 1,
        "head_dim": 16,
        "vocab_size": len(tokens(family, model)),
        "max_position_embeddings": 64,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": family.tied,
        "dtype": family.dtype,
    }


def _tokenizer(family: Family, model: str) -> dict[str, Any]:
    rows = {token: i for i, token in enumerate(tokens(family, model))}
    added = _ADDED.get(model, []) if family.words else []
    unused = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": rows[token], "content": token, "special": token not in added, **unused}
            for token in ("<unk>", "<s>", "</s>", *added)
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": None,
        "model": {
            "type": "WordLevel",
            "vocab": {token: row for token, row in rows.items() if token not in added},
            "unk_token": "<unk>",
        },
    }


def write_safetensors(path: Path, tensors: Iterator[tuple[str, tuple[int, ...], np.ndarray]], dtype: str) -> None:
    """Writes tensors of one dtype, each given as name, shape and bytes."""
    label = _LABELS[dtype]
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data, start = [], 0
    for name, shape, bits in tensors:
        header[name] = {"dtype": label, "shape": list(shape), "data_offsets": [start, start + bits.nbytes]}
        data.append(bits)
        start += bits.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for bits in data:
            file.write(bits.tobytes())


def write_family(name: str, folder: Path) -> Path:
    """Writes the four models of a family below a folder and returns that of the family."""
    family = FAMILIES[name]
    for model in MODELS:
        there = folder / name / model
        there.mkdir(parents=True)
        (there / "config.json").write_text(json.dumps(_config(family, model)), encoding="utf-8")
        (there / "tokenizer.json").write_text(json.dumps(_tokenizer(family, model)), encoding="utf-8")
        (there / "tokenizer_config.json").write_text(
            json.dumps(
                {
                    "tokenizer_class": "PreTrainedTokenizerFast",
                    "unk_token": "<unk>",
                    "bos_token": "<s>",
                    "eos_token": "</s>",
                }
            ),
            encoding="utf-8",
        )
        write_safetensors(
            there / "model.safetensors",
            (
                (tensor, shape, encoded(values(family, model, tensor), family.dtype))
                for tensor, shape in shapes(family, model).items()
            ),
            family.dtype,
        )
    return folder / name


# numbers of a merged model


Bits = Mapping[str, tuple[str, tuple[int, ...], np.ndarray]]
"""Tensors by name: dtype, shape, and their bytes as numbers, flat."""


def read_tensors(folder: Path) -> Bits:
    """Returns the tensors of a checkpoint."""
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        data = path.read_bytes()
        (length,) = struct.unpack("<Q", data[:8])
        for name, entry in json.loads(data[8 : 8 + length]).items():
            if name != "__metadata__":
                start, end = (8 + length + offset for offset in entry["data_offsets"])
                dtype = next(each for each, label in _LABELS.items() if label == entry["dtype"])
                bits = np.frombuffer(data[start:end], dtype=np.uint32 if dtype == "float32" else np.uint16)
                found[name] = dtype, tuple(entry["shape"]), bits
    return found


def vocabulary(folder: Path) -> dict[str, int]:
    """Returns the tokens of a checkpoint's tokenizer with their rows."""
    read = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    return read["model"]["vocab"] | {each["content"]: each["id"] for each in read["added_tokens"]}


def numbers(tensors: Bits, vocabulary: Mapping[str, int] | None = None) -> dict[str, list[Any]]:
    """Returns what is kept of a merged model, by tensor: dtype, shape, hash, sum, bits of some values.

    With a vocabulary, the rows of embedding and head are taken in the order of their tokens' texts, without padding: in
    mergekit's union of vocabularies, the order of the tokens differs from run to run.
    """
    rows = [row for _, row in sorted(vocabulary.items())] if vocabulary else []
    found = {}
    for name, (dtype, shape, bits) in sorted(tensors.items()):
        if rows and name in ("model.embed_tokens.weight", "lm_head.weight"):
            bits = bits.reshape(shape)[rows].ravel()
        drawn = bits[positions(name, bits.size)]
        found[name] = [
            dtype,
            "x".join(map(str, shape)),
            hashlib.sha256(bits.tobytes()).hexdigest()[:16],
            float(decoded(bits, dtype).sum()),
            "".join(f"{each:0{bits.itemsize * 2}x}" for each in drawn.tolist()),
        ]
    return found
