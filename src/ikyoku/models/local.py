"""Models that run in this process, through transformers and PEFT."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ikyoku.errors import ModelError
from ikyoku.types import Completion, FinishReason, Prompt, SamplingParams

if TYPE_CHECKING:
    from collections.abc import Iterator


WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
ADAPTER_WEIGHTS = "adapter_model.safetensors"


class LocalModel:
    """A causal language model in this process, decoding greedily in left-padded batches.

    Prompts of one call form one batch: the caller sorts them by length and decides how many go together.
    """

    def __init__(self, model: Any, tokenizer: Any, *, name: str) -> None:
        self.name = name
        self._model = model
        self._tokenizer = tokenizer
        self._context = int(getattr(model.config, "max_position_embeddings", 1 << 30))
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        ends = getattr(model.generation_config, "eos_token_id", None)
        known = [ends] if isinstance(ends, int) else list(ends or [])
        self._ends = {*known, tokenizer.eos_token_id} - {None}
        model.eval()

    def generate(self, prompts: Sequence[Prompt], params: SamplingParams) -> list[Completion]:
        """Returns one completion per prompt; see `Model.generate`."""
        ids = [prompt_ids(p, self._tokenizer) for p in prompts]
        completions = [Completion("", "too_long", 0)] * len(prompts)
        room = [self._context - len(row) for row in ids]
        together = [i for i, left in enumerate(room) if left >= params.max_new_tokens]
        # A prompt with less room is asked alone: in one batch it would cut the other replies short.
        alone = [[i] for i, left in enumerate(room) if 0 < left < params.max_new_tokens]
        for group in [together, *alone]:
            for i, row in zip(group, self._decoded([ids[i] for i in group], params), strict=True):
                completions[i] = self._completion(row)
        return completions

    def _decoded(self, ids: Sequence[list[int]], params: SamplingParams) -> list[list[int]]:
        """Returns the new tokens of one batch, each row as long as the longest of them."""
        import torch
        from transformers import GenerationConfig

        if not ids:
            return []
        width = max(map(len, ids))
        pad = self._tokenizer.pad_token_id
        batch = torch.tensor([[pad] * (width - len(row)) + row for row in ids])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in ids])
        # Not the model's own generation settings: a repetition penalty in them would change the replies.
        config = GenerationConfig(
            max_new_tokens=min(params.max_new_tokens, self._context - width),
            do_sample=params.temperature > 0,
            **({"temperature": params.temperature} if params.temperature > 0 else {}),
            pad_token_id=pad,
            bos_token_id=self._tokenizer.bos_token_id,
            eos_token_id=sorted(self._ends),
        )
        with torch.inference_mode():
            out = self._model.generate(
                input_ids=batch.to(self._model.device),
                attention_mask=mask.to(self._model.device),
                generation_config=config,
            )
        rows: list[list[int]] = out[:, width:].tolist()
        return rows

    def _completion(self, row: list[int]) -> Completion:
        length = next((n for n, token in enumerate(row) if token in self._ends), len(row))
        finish: FinishReason = "stop" if length < len(row) else "length"
        return Completion(self._tokenizer.decode(row[:length], skip_special_tokens=True), finish, length)


def open_model(
    path: str,
    *,
    name: str,
    adapter: str | None = None,
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
    quantization: Literal["none", "nf4"] = "none",
    trust_remote_code: bool = False,
) -> LocalModel:
    """Returns a model from a folder or the local cache, with an adapter on it where one is named.

    Raises:
        ModelError: the folder or the adapter is missing or incomplete, or the two do not fit.
    """
    model = load_weights(path, dtype=dtype, quantization=quantization, trust_remote_code=trust_remote_code)
    if adapter:
        model = _with_adapter(model, path, adapter)
    tokenizer = load_tokenizer(path, trust_remote_code=trust_remote_code)
    return LocalModel(model, tokenizer, name=name)


def load_weights(path: str, *, dtype: str, quantization: str, trust_remote_code: bool) -> Any:
    """Returns the transformers model of a folder or a cached hub id, on the GPU where there is one."""
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    check_folder(path)
    gpu = torch.cuda.is_available()
    number = getattr(torch, dtype) if dtype != "auto" else (torch.bfloat16 if gpu else torch.float32)
    options: dict[str, Any] = {"dtype": number, "trust_remote_code": trust_remote_code}
    if quantization == "nf4":
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=number,
        )
    if gpu:
        options["device_map"] = {"": torch.cuda.current_device()}
    with quiet(), _readable(path):
        model = AutoModelForCausalLM.from_pretrained(_home(path), **options)
    keep_nf4_gradients(model)
    return model


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

    with _readable(path):
        return AutoTokenizer.from_pretrained(_home(path), trust_remote_code=trust_remote_code)


def prompt_ids(prompt: Prompt, tokenizer: Any) -> list[int]:
    """Returns a prompt's token ids, the beginning-of-text token included where the tokenizer sets one."""
    if prompt.messages:
        if not tokenizer.chat_template:
            raise ModelError(
                f"{tokenizer.name_or_path}: the tokenizer has no chat template. "
                "Use a text format such as alpaca-ja, or add chat_template to its tokenizer_config.json."
            )
        turns = [{"role": m.role, "content": m.content} for m in prompt.messages]
        text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        # The template writes its own beginning of text, where the model wants one.
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])
    return list(tokenizer(prompt.text)["input_ids"])


def check_folder(path: str) -> None:
    """Refuses a folder that is no complete model before anything is loaded from it.

    Raises:
        ModelError: with what is missing. A path that is no folder is taken as a hub id, where it can be one.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        if folder.is_file() or path.startswith((".", "/", "~")) or path.count("/") > 1:
            raise ModelError(f"{path}: no such model folder. Give a folder in Hugging Face's layout, or a hub id.")
        return
    if not (folder / "config.json").is_file():
        hint = " It holds an adapter: name it as `adapter`." if (folder / "adapter_config.json").is_file() else ""
        raise ModelError(f"{path}: no config.json, so this is no model folder.{hint}")
    found = [name for name in WEIGHTS if (folder / name).is_file()]
    if not found:
        raise ModelError(
            f"{path}: no weights. Wanted model.safetensors, or shards with model.safetensors.index.json; "
            f"{_what_is_there(folder)}"
        )
    _check_shards(folder, found[0])


def check_adapter(path: str) -> None:
    """Refuses a folder that is no complete PEFT adapter.

    Raises:
        ModelError: with what is missing.
    """
    folder = Path(path).expanduser()
    if not (folder / "adapter_config.json").is_file():
        raise ModelError(f"{path}: no adapter_config.json, so this is no adapter folder.")
    check_safetensors(folder / ADAPTER_WEIGHTS)


def _check_shards(folder: Path, name: str) -> None:
    """Checks that every shard is there and as long as its header says: a broken copy is found before the load."""
    names = [name]
    if name.endswith(".json"):
        try:
            index = json.loads((folder / name).read_text(encoding="utf-8"))
            names = sorted(set(index["weight_map"].values()))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ModelError(f"{folder / name}: no index of shards. Copy the model again.") from None
    for shard in names:
        check_safetensors(folder / shard)


def check_safetensors(path: Path) -> None:
    """Refuses a safetensors file that is missing, cut short or no safetensors file.

    Raises:
        ModelError: with the sizes found and wanted.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise ModelError(f"{path}: missing. The model is incomplete; copy it again.")
    try:
        with safe_open(str(path), framework="np"):
            pass
    except (SafetensorError, OSError) as error:
        raise ModelError(
            f"{path}: not a whole safetensors file ({path.stat().st_size} bytes; {error}). Copy it again."
        ) from None


def _with_adapter(model: Any, path: str, adapter: str) -> Any:
    check_adapter(adapter)
    try:
        with quiet():
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, str(Path(adapter).expanduser()))
    except (RuntimeError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise ModelError(f"{adapter}: does not fit the base {path}: {first}") from None
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
def _readable(path: str) -> Iterator[None]:
    """Turns what transformers raises on unusable folders and missing cache entries into one message."""
    try:
        yield
    except (OSError, ValueError, KeyError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(
            f"{path}: cannot be loaded: {first} "
            "Offline, a hub id must lie in the local cache; put the model's folder there or name the folder."
        ) from None


def _home(path: str) -> str:
    """Returns the path with a leading ~ written out; a hub id stays as it is."""
    return str(Path(path).expanduser()) if path.startswith("~") else path


def _what_is_there(folder: Path) -> str:
    names = sorted(p.name for p in folder.iterdir())
    other = [n for n in names if n.endswith((".bin", ".pt", ".pth"))]
    if other:
        return f"{', '.join(other[:3])} is a pickle and is not loaded: convert it to safetensors."
    return f"the folder holds {', '.join(names[:6])}."
