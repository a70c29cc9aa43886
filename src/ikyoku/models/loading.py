"""Weights, tokenizers and adapters from folders and the local cache, through transformers and PEFT."""

from __future__ import annotations

import json
import logging
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ikyoku.errors import ModelError
from ikyoku.models.checks import CONVERT, check_adapter, check_fit, check_folder, check_loaded, has_tower

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_UNQUANTISED = ["lm_head", r".*(vision_tower|vision_model|visual|multi_modal_projector|mm_projector|connector)"]
"""What stays as it is of a quantised vision-language model, by name or expression."""


def context_of(config: Any, tokenizer: Any) -> int:
    """Returns how many tokens a model reads at most: its positions, or what its tokenizer names where that is less.

    A model without a limit of its own (ALiBi), and a tokenizer that names none, count as boundless (2^30).
    """
    positions = getattr(config.get_text_config(), "max_position_embeddings", None) or 1 << 30
    # transformers writes 1e30 where a tokenizer names no limit
    named = getattr(tokenizer, "model_max_length", None) or 1 << 30
    return int(min(positions, named if named <= 1e9 else 1 << 30))


def load_weights(path: str, *, dtype: str, quantization: str, trust_remote_code: bool) -> Any:
    """Returns the transformers model of a folder or a cached hub id, on the GPU where there is one.

    A vision-language model comes with its tower. nf4 and int8 are of its language model alone: towers are small, and
    lose more by it.

    Raises:
        ModelError: the weights are missing, incomplete, no safetensors, too large for the GPU, or need Python code of
            their own that is not allowed.
    """
    import torch
    from transformers import BitsAndBytesConfig

    check_folder(path)
    config = read_config(path)
    skipped = _UNQUANTISED if has_tower(config) else None
    gpu = torch.cuda.is_available()
    number = getattr(torch, dtype) if dtype != "auto" else torch.float32
    if gpu and dtype == "auto":
        number = torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    options: dict[str, Any] = {
        "dtype": number,
        "trust_remote_code": trust_remote_code,
        "use_safetensors": True,  # a hub id too loads no pickle
        "output_loading_info": True,
        "ignore_mismatched_sizes": True,  # check_loaded refuses them by name
    }
    if quantization == "nf4":
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=number,
            llm_int8_skip_modules=skipped,
        )
    if quantization == "int8":
        options["quantization_config"] = BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=skipped)
    if gpu:
        options["device_map"] = {"": torch.cuda.current_device()}
    advice = "Load it with quantization: nf4, or take a smaller model."
    with quiet(), readable(path), in_gpu_memory(f"{path}: loading the model", advice):
        model, info = auto_class(path, config, trust_remote_code).from_pretrained(home(path), **options)
    info["mismatched_keys"] = {*info["mismatched_keys"], *_wrong_nf4(model)}
    check_loaded(path, info)
    keep_nf4_gradients(model)
    return model


def auto_class(path: str, config: Mapping[str, Any], trust_remote_code: bool) -> Any:
    """Returns transformers' class that opens a model: with its tower where it has one.

    Raises:
        ModelError: the model sees only with Python code that comes with it, and that is not allowed.
    """
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

    if not has_tower(config):
        return AutoModelForCausalLM
    if not has_own_code(config):
        return AutoModelForImageTextToText
    if not trust_remote_code:
        raise ModelError(
            f"{path}: a vision-language model of type {config.get('model_type')}, which runs only with the Python code "
            "that comes with it. Read that code; where you trust it, set trust_remote_code: true. It is recorded."
        )
    return AutoModelForCausalLM


def has_own_code(config: Mapping[str, Any]) -> bool:
    """Returns whether a model of this config.json is none of transformers' own and brings its code along."""
    from transformers import CONFIG_MAPPING

    return bool(config.get("auto_map")) and config.get("model_type") not in CONFIG_MAPPING


def read_config(path: str) -> dict[str, Any]:
    """Returns the config.json of a folder or a cached hub id.

    Raises:
        ModelError: there is none, or it is no JSON object.
    """
    from transformers.utils import cached_file

    with quiet(), readable(path):
        found = json.loads(Path(cached_file(home(path), "config.json")).read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("config.json is no JSON object.")
        return found


def load_config(path: str, *, trust_remote_code: bool = False) -> Any:
    """Returns the config of a folder or a cached hub id as transformers has it, with its defaults."""
    from transformers import AutoConfig

    with quiet(), readable(path):
        return AutoConfig.from_pretrained(home(path), trust_remote_code=trust_remote_code)


def is_vision_model(path: str) -> bool:
    """Returns whether the model of a folder or a cached hub id takes pictures, as its config.json tells.

    Raises:
        ModelError: there is no config.json to be read.
    """
    return has_tower(read_config(path))


def _wrong_nf4(model: Any) -> Iterator[tuple[str, tuple[int, ...], tuple[int, ...]]]:
    """Yields name, shape found and shape wanted of 4-bit weights: transformers compares the shapes of others only."""
    for name, module in model.named_modules():
        state = getattr(getattr(module, "weight", None), "quant_state", None)
        if state is not None and tuple(state.shape) != (module.out_features, module.in_features):
            yield f"{name}.weight", tuple(state.shape), (module.out_features, module.in_features)


def keep_nf4_gradients(model: Any) -> None:
    """Keeps bitsandbytes from repacking 4-bit weights on CPUs with AVX512-BF16.

    Seen with bitsandbytes 0.50.2: after one forward pass in eval mode a Linear4bit on such a CPU holds its weights in
    another layout, and a later backward pass through it gives wrong gradients without an error.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def load_tokenizer(path: str, *, trust_remote_code: bool = False) -> Any:
    """Returns the tokenizer of a folder or a cached hub id."""
    from transformers import AutoTokenizer

    with quiet(), readable(path):
        return AutoTokenizer.from_pretrained(home(path), trust_remote_code=trust_remote_code)


def with_adapter(model: Any, path: str, adapter: str) -> Any:
    """Returns a model with an adapter on it, as PEFT's model around the model that was given.

    Raises:
        ModelError: the adapter is incomplete or does not fit the model, which is loaded from `path`.
    """
    check_adapter(adapter)
    try:
        with quiet(), warnings.catch_warnings():
            from peft import PeftModel, get_peft_model_state_dict

            warnings.simplefilter("ignore", UserWarning)  # of missing tensors: check_fit refuses them by name
            folder = str(Path(adapter).expanduser())
            model = PeftModel.from_pretrained(model, folder, ignore_mismatched_sizes=True)
            wanted = get_peft_model_state_dict(model, save_embedding_layers=False)
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{adapter}: does not fit the base {path}: {_first_line(error)}") from None
    shapes = {key: tuple(tensor.shape) for key, tensor in wanted.items()}
    check_fit(adapter, path, shapes, model.state_dict().keys())
    keep_nf4_gradients(model)
    return model


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps the libraries' own chatter off the screen: the record and ikyoku's progress bar say what happens."""
    from transformers.utils import logging as theirs

    level, bar = theirs.get_verbosity(), theirs.is_progress_bar_enabled()
    theirs.set_verbosity_error()
    theirs.disable_progress_bar()
    # bitsandbytes, when it is first imported: that it found no kernels to download
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # peft and trl still ask transformers by the old name of activation checkpointing
            warnings.filterwarnings("ignore", r"`\w*gradient_checkpointing\w*` is deprecated", FutureWarning)
            yield
    finally:
        theirs.set_verbosity(level)
        if bar:
            theirs.enable_progress_bar()


@contextmanager
def in_gpu_memory(what: str, advice: str) -> Iterator[None]:
    """Turns the GPU's running out of memory into a message: what it did, and what to do."""
    import torch

    try:
        yield
    except torch.cuda.OutOfMemoryError:
        raise ModelError(f"{what} needs more memory than the GPU has free. {advice}") from None


@contextmanager
def readable(path: str) -> Iterator[None]:
    """Turns what transformers raises on unusable folders and missing cache entries into one message."""
    try:
        yield
    except (ImportError, OSError, ValueError, KeyError, RuntimeError) as error:
        if isinstance(error, ImportError) or "pip install" in str(error):
            raise ModelError(
                f"{path}: cannot be loaded: {_first_line(error)} Install the package that is named. A tokenizer "
                "without tokenizer.json needs `pip install sentencepiece tiktoken protobuf`."
            ) from None
        if "use_safetensors=True" in str(error):
            raise ModelError(
                f"{path}: no weights as safetensors in the local cache. A pickle (.bin) is not loaded: {CONVERT}"
            ) from None
        if Path(path).expanduser().is_dir():
            raise ModelError(
                f"{path}: cannot be loaded: {_first_line(error)} The folder is incomplete or damaged; copy it again."
            ) from None
        if "cached files" in str(error) or "Repo id" in str(error):  # transformers' words for a miss, hub's for no id
            raise ModelError(
                f"{path}: no such folder, and no such hub id in the local cache. Name a folder, put the model into "
                "the cache, or allow the download with --online."
            ) from None
        raise ModelError(f"{path}: cannot be loaded: {_first_line(error)}") from None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def home(path: str) -> str:
    """Returns the path with a leading ~ written out; a hub id stays as it is."""
    return str(Path(path).expanduser()) if path.startswith("~") else path
