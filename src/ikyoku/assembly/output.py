"""What a merged checkpoint holds beside its weights: config, generation config, tokenizer, chat template.

The config is that of `into`, with what the merge changed: number format, layers, rows, and ids of special tokens where
the output's vocabulary is another. The tokenizer is that of the recipe's rule.
"""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ikyoku.assembly.places import source_layers
from ikyoku.assembly.plan import MergePlan
from ikyoku.errors import ModelError, SpecError

__all__ = ["chat_template", "output_config", "output_files"]

_TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "chat_template.json",
)
_SLOW = ("added_tokens.json", "tokenizer.model", "vocab.json", "merges.txt")
"""Files that hold the vocabulary a second time: left out where the tokenizer is built anew."""
_PROCESSOR = ("preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json")
_TEMPLATE = "chat_template.jinja"


def output_config(plan: MergePlan) -> dict[str, Any]:
    """Returns the config.json of the output.

    Raises:
        ModelError: a token that the config needs (an image's) is not in the output's vocabulary.
    """
    into = plan.parents[plan.into]
    config = copy.deepcopy(into.config)
    texts = [
        part for key in ("text_config", "llm_config", "language_config") if isinstance(part := config.get(key), dict)
    ]
    text = texts[0] if texts else config
    _set_layers(text, plan)
    if plan.vocabulary.rows:
        size = next(iter(plan.vocabulary.rows.values())).alignment.size
        for part in (config, text):
            if "vocab_size" in part or part is text:
                part["vocab_size"] = size
    dtype = _dtype(plan)
    for part in _parts(config):
        part.pop("_name_or_path", None)  # where its maker kept it
        for key in ("dtype", "torch_dtype"):
            if key in part:
                part[key] = dtype
    if not {"dtype", "torch_dtype"} & set(config):
        config["torch_dtype"] = dtype
    _renumber(config, plan)
    return config


def output_files(plan: MergePlan) -> dict[str, bytes]:
    """Returns the files of the output beside weights, card and recipe: by name, what they hold.

    Raises:
        ModelError: as `output_config`, or a file cannot be read.
        SpecError: the recipe's chat template cannot be found.
    """
    into, source = plan.parents[plan.into].folder, plan.vocabulary.source
    built = plan.vocabulary.built
    files = {"config.json": _json(output_config(plan))}
    for name in _TOKENIZER:
        if (source / name).is_file() and not (built and name in _SLOW):
            files[name] = _read(source / name)
    if built:
        files["tokenizer.json"] = json.dumps(built, ensure_ascii=False).encode()
    names = [name for name in _PROCESSOR if (into / name).is_file()]
    names += sorted(path.name for path in into.glob("*.py")) if "auto_map" in plan.parents[plan.into].config else []
    files |= {name: _read(into / name) for name in names}
    if (into / "generation_config.json").is_file():
        generation = _object(into / "generation_config.json")
        _renumber(generation, plan)
        files["generation_config.json"] = _json(generation)
    template = chat_template(plan)
    if template is not None:
        files.pop("chat_template.json", None)
        files[_TEMPLATE] = template.encode()
        if "tokenizer_config.json" in files:
            settings = json.loads(files["tokenizer_config.json"])
            if settings.pop("chat_template", None) is not None:
                files["tokenizer_config.json"] = _json(settings)
    return files


def chat_template(plan: MergePlan) -> str | None:
    """Returns the chat template that the recipe asks for; None where the tokenizer's own stays.

    Raises:
        SpecError: it is neither auto, nor a template's text, nor a file.
    """
    asked = plan.recipe.chat_template
    if not asked:
        return None
    if asked == "auto":  # the one that most models have, the first of those in a draw
        found = Counter(text for model in plan.parents if (text := template_of(model.folder)))
        return found.most_common(1)[0][0] if found else None
    if asked.endswith(".jinja"):
        path = Path(asked).expanduser()
        if path.is_file():
            return _read(path).decode("utf-8")
        raise SpecError(f"chat_template: {asked}: no such file.")
    if "{" in asked:
        return asked
    raise SpecError(f"chat_template: {asked!r} is none of auto, a template's text, and a path ending in .jinja.")


def template_of(folder: Path) -> str | None:
    """Returns the chat template of a model, from the file of its own or the tokenizer's settings."""
    if (folder / _TEMPLATE).is_file():
        return _read(folder / _TEMPLATE).decode("utf-8").strip() or None
    for name in ("chat_template.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            found = _object(folder / name).get("chat_template")
            if isinstance(found, list):  # several by name
                found = next((t.get("template") for t in found if t.get("name") == "default"), None)
            if isinstance(found, str) and found.strip():
                return found.strip()
    return None


def _set_layers(text: dict[str, Any], plan: MergePlan) -> None:
    """The number of layers, and what the config lists layer by layer."""
    taken = source_layers(plan.recipe)
    if not taken:
        return
    before = plan.parents[plan.into].layers
    for key in ("num_hidden_layers", "n_layer", "num_layers"):
        if key in text:
            text[key] = len(taken)
    for key, value in text.items():
        if isinstance(value, list) and len(value) == before and key.startswith("layer"):
            text[key] = [value[layer % before] for layer in taken]


def _dtype(plan: MergePlan) -> str:
    """The number format of most of the output."""
    counts: Counter[str] = Counter()
    for tensor in plan.tensors:
        counts[tensor.dtype] += tensor.bytes
    return counts.most_common(1)[0][0]


def _parts(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield config
    for key, part in config.items():
        if key.endswith("_config") and isinstance(part, dict):
            yield part


def _renumber(config: dict[str, Any], plan: MergePlan) -> None:
    """Gives special tokens the ids that they have in the output's vocabulary."""
    target = plan.vocabulary.target
    if not target:
        return
    before = {at: token for token, at in plan.parents[plan.into].vocabulary().items()}
    for part in _parts(config):
        for key, value in part.items():
            if not key.endswith(("token_id", "token_ids", "token_index")):
                continue
            ids = value if isinstance(value, list) else [value]
            lost = [i for i in ids if i in before and before[i] not in target]
            if lost and any(word in key for word in ("image", "video", "vision", "audio")):
                raise ModelError(
                    f"{plan.parents[plan.into].name}: its {key} is {before[lost[0]]!r}, which the output's tokenizer "
                    f"({plan.vocabulary.source}) does not have. Take `tokenizer: {{source: union}}`."
                )
            found = [target[before[i]] if i in before else i for i in ids if i not in lost]
            part[key] = found if isinstance(value, list) else (found or [None])[0]


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=2) + "\n").encode()


def _object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(_read(path))
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ModelError(f"{path}: not a JSON object. Copy the model again.")
    return value


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}.") from None
