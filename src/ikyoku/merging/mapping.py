"""Names of a language model's tensors inside vision-language models: on disk, and in transformers' live models.

A vision-language model is a vision tower, a projector, and a language model whose tensors have other names than the
plain model's: `model.layers.0.mlp.up_proj.weight` may be `language_model.model.layers.0.mlp.up_proj.weight`. `FAMILIES`
lists the spellings, one row a family; a model of no row is read by its structure. A gap is refused, never filled.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Literal

from ikyoku.errors import ModelError, together
from ikyoku.merging.structure import by_structure

Part = Literal["language", "vision tower", "projector"]
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Family:
    """How the vision-language models of one family name their tensors; each tuple holds prefixes.

    `language` pairs a prefix on disk with the plain language model's, `vision` and `projector` are the parts that no
    language model has.
    """

    types: tuple[str, ...]
    language: tuple[tuple[str, str], ...]
    vision: tuple[str, ...]
    projector: tuple[str, ...]


# Where the language model may sit: what a file says -> what the plain model's file says.
_OWN = (("model.", "model."), ("lm_head.", "lm_head."))
_OUTSIDE = (("language_model.model.", "model."), ("language_model.lm_head.", "lm_head."))
_INSIDE = (("model.language_model.", "model."), ("lm_head.", "lm_head."))
_TEXT = (("model.text_model.", "model."), ("lm_head.", "lm_head."))
_WHOLE = (("language_model.", ""),)  # of any architecture: InternLM2's head is output.weight
_LLM = (("llm.", ""),)

_MERGER = (  # sits in the tower: the longer prefix holds
    "visual.merger.",
    "visual.deepstack_merger_list.",
    "model.visual.merger.",
    "model.visual.deepstack_merger_list.",
)
_ORIGINAL = (  # model types of the original LLaVA code and of what was made from it
    "bunny-llama",
    "bunny-phi",
    "bunny-phi3",
    "bunny-qwen2",
    "bunny-stablelm",
    "llava_llama",
    "llava_mistral",
    "llava_qwen",
)
_TOWER = ("vision_tower.", "model.vision_tower.")
_CONNECTOR = ("multi_modal_projector.", "model.multi_modal_projector.", "image_newline", "model.image_newline")

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        "LLaVA": Family(("llava", "vipllava"), _OUTSIDE + _INSIDE, _TOWER, _CONNECTOR),
        "LLaVA-NeXT": Family(("llava_next", "llava_onevision"), _OUTSIDE + _INSIDE, _TOWER, _CONNECTOR),
        "Gemma 3": Family(("gemma3",), _OUTSIDE + _INSIDE, _TOWER, _CONNECTOR),
        "Mistral 3": Family(("mistral3",), _OUTSIDE + _INSIDE, _TOWER, _CONNECTOR),
        "PaliGemma": Family(("paligemma",), _OUTSIDE + _INSIDE, _TOWER, _CONNECTOR),
        "InternVL": Family(("internvl",), _OUTSIDE + _INSIDE, _TOWER, _CONNECTOR),
        "InternVL (remote code)": Family(("internvl_chat",), _WHOLE, ("vision_model.",), ("mlp1.",)),
        "Qwen-VL": Family(
            ("qwen2_vl", "qwen2_5_vl", "qwen3_vl"),
            _INSIDE + _OWN,
            ("visual.", "model.visual."),
            _MERGER,
        ),
        "Idefics 3": Family(("idefics3", "smolvlm"), _TEXT, ("model.vision_model.",), ("model.connector.",)),
        "Bunny": Family(_ORIGINAL, _OWN, ("model.vision_tower.",), ("model.mm_projector.", "model.image_newline")),
        "MiniCPM-V": Family(("minicpmv",), _LLM, ("vpm.",), ("resampler.",)),
    }
)

_PLAIN = ("model.", "lm_head.", "output.", "transformer.", "gpt_neox.", "embed_out.")
"""How tensors of plain language models begin."""
_ROWS = {"embed_tokens", "lm_head", "tok_embeddings", "output", "wte", "embed_in", "embed_out"}
"""Modules with one row a token."""
_DERIVED = re.compile(r"(^|\.)(inv_freq|original_inv_freq|position_ids|masked_bias|attention\.bias)$")
"""Buffers that old files hold and every model computes by itself."""


@dataclass(frozen=True, slots=True)
class NameMap:
    """Which tensor of a vision-language model holds which tensor of a language model.

    `pairs` go from the language model's names to the other's; `kept` are tensors that no language model has. `tied`:
    heads of the vision-language model for which the language model's embeddings stand, as it ties its head to them.
    `left`: tensors of the language model without a place, because the other ties its head or computes them. `rows`:
    pairs with other numbers of rows (language model's, vision-language model's): their vocabularies must be aligned.
    """

    family: str
    pairs: Mapping[str, str]
    kept: tuple[str, ...]
    tied: Mapping[str, str] = field(default_factory=dict)
    left: tuple[str, ...] = ()
    rows: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    def coverage(self) -> str:
        """Returns what is mapped and what is kept, in one paragraph for people.

        >>> NameMap("LLaVA", {"model.norm.weight": "language_model.model.norm.weight"}, ("vision_tower.a",)).coverage()
        'LLaVA: 1 of 1 language tensors mapped; 1 tensor of the vision tower kept'
        """
        mapped = Counter(normal(name)[0] for name in self.pairs)
        language = mapped.pop("language", 0)
        text = f"{self.family}: {language} of {language + len(self.left)} language tensors mapped"
        text += f"; {_of_parts(mapped)} mapped too" if mapped else ""
        text += f"; {_of_parts(Counter(normal(name)[0] for name in self.kept))} kept"
        for head, embeddings in self.tied.items():
            text += f"; {head} is made from {embeddings}, to which the language model ties its output"
        for name in self.left:
            why = "is computed, not stored" if _DERIVED.search(name) else "has no place, as the output is tied there"
            text += f"; {name} {why}"
        for name, (here, there) in self.rows.items():
            text += f"; {name} has {here} rows and {self.pairs[name]} {there}: aligned by token"
        return text


def normal(name: str) -> tuple[Part, str]:
    """Returns the part of the model that a tensor belongs to, and its name there, the same for every spelling.

    >>> normal("model.vision_tower.vision_tower.vision_model.post_layernorm.weight")
    ('vision tower', 'post_layernorm.weight')
    >>> normal("model.language_model.norm.weight")
    ('language', 'model.norm.weight')
    """
    for prefix, part, plain in _spellings():
        if name.startswith(prefix):
            rest = plain + name[len(prefix) :]
            # CLIP and SigLIP towers are written with and without the name of the model in the tower.
            return part, re.sub(r"^(vision_tower\.)?(vision_model\.)?", "", rest) if part == "vision tower" else rest
    return "language", name


def canonical(name: str) -> str | None:
    """Returns the plain language model's name of a tensor; None for one of a vision tower, a projector or unknown.

    >>> canonical("language_model.model.layers.0.mlp.up_proj.weight"), canonical("visual.blocks.0.norm1.weight")
    ('model.layers.0.mlp.up_proj.weight', None)
    """
    part, rest = normal(name)
    return rest if part == "language" and rest.startswith(_PLAIN) else None


def map_names(language: Shapes, vision: Shapes, *, model_type: str | None = None) -> NameMap:
    """Returns where each tensor of a language model sits in a vision-language model.

    Args:
        language: shapes by name of the language model's tensors, as its files have them.
        vision: the same of the vision-language model.
        model_type: of the vision-language model's config.json; without a row in `FAMILIES` the names decide: first by
            all known spellings, then by structure (ikyoku.merging.structure).

    Raises:
        ModelError: naming every tensor without a partner, or with one of another shape, in both spellings. Rows of
            embeddings and heads may differ in number.

    >>> shapes = {"model.norm.weight": (8,)}
    >>> dict(map_names(shapes, {"language_model.model.norm.weight": (8,), "vision_tower.a": (2,)}).pairs)
    {'model.norm.weight': 'language_model.model.norm.weight'}
    """
    known = next((name for name, family in FAMILIES.items() if model_type in family.types), None)
    family = known or _looks_like(vision)
    found = _by_table(language, vision, family or "names of known families")
    faults = _faults(found, language, vision)
    if faults and not (family and found.pairs):
        inferred = by_structure(_stored(language), _stored(vision))
        guess = _completed(f"unknown family, by structure{inferred.rule}", inferred.pairs, language, vision)
        guess_faults = list(inferred.faults) or _faults(guess, language, vision, trunk=inferred.trunk)
        if not (guess_faults and found.pairs):
            found, faults = guess, guess_faults
    if faults:
        raise ModelError(
            f"the language model does not fit into the vision-language model ({found.family}):\n"
            f"{together(faults)}\nMerge a language model of the architecture and size of the one in it."
        )
    return found


def memory_names(disk: Iterable[str], memory: Iterable[str]) -> Mapping[str, str]:
    """Returns the name in transformers' live model of each tensor on disk.

    Args:
        disk: names in the checkpoint's files, of any spelling in `FAMILIES`.
        memory: names of the live model's parameters (`named_parameters`).

    Returns:
        Live name by name on disk. Left out are a head that the live model ties to its embeddings, and buffers that it
        computes.

    Raises:
        ModelError: naming tensors of either side that have no partner on the other.

    >>> memory_names(["language_model.model.norm.weight"], ["model.language_model.norm.weight"])
    {'language_model.model.norm.weight': 'model.language_model.norm.weight'}
    """
    disk, live = list(disk), dict.fromkeys(memory)
    forms = {normal(name): name for name in live}
    # Exact names first: code that comes with a model may spell as no table knows.
    found = {name: name if name in live else forms.get(normal(name)) for name in disk}
    names = {name: there for name, there in found.items() if there}
    times = Counter(names.values())
    faults = [f"{n} of the files has no place in the model" for n in found if n not in names and not _may_miss(n)]
    faults += [f"{name} of the model is in no file" for name in live if not times[name] and not _may_miss(name)]
    faults += [f"{name} of the model is in the files under {n} names" for name, n in times.items() if n > 1]
    if faults:
        raise ModelError(
            f"the files' tensors are not those of the model in memory:\n{together(faults)}\n"
            "Load the model from this very folder; a model whose weights transformers converts on loading (fused "
            "experts, fused attention) cannot be written in place."
        )
    return names


@cache
def _spellings() -> tuple[tuple[str, Part, str], ...]:
    """Every prefix in `FAMILIES`, the longest first: prefix, part, what stands for it in the normal form."""
    rows: dict[str, tuple[Part, str]] = {}
    for family in FAMILIES.values():
        rows.update({prefix: ("language", plain) for prefix, plain in family.language})
        for prefix in family.projector:
            rows[prefix] = ("projector", prefix.removeprefix("model."))
        for prefix in family.vision:
            rows[prefix] = ("vision tower", "")
    return tuple((prefix, *rows[prefix]) for prefix in sorted(rows, key=len, reverse=True))


def _looks_like(vision: Shapes) -> str | None:
    """The first family whose prefixes explain every tensor, if one does."""
    for name, family in FAMILIES.items():
        others = (*family.vision, *family.projector)
        language = tuple(prefix for prefix, _ in family.language)
        if all(tensor.startswith(others + language) for tensor in vision) and any(t.startswith(others) for t in vision):
            return f"{name} or a family that spells as it does"
    return None


def _by_table(language: Shapes, vision: Shapes, family: str) -> NameMap:
    forms = {normal(name): name for name in vision}
    pairs = {name: there for name in language if (there := forms.get(normal(name)))}
    return _completed(family, pairs, language, vision)


def _completed(family: str, pairs: Mapping[str, str], language: Shapes, vision: Shapes) -> NameMap:
    """The pairs with what ties and buffers make of the rest."""
    placed = set(pairs.values())
    embeddings = [
        name for name in pairs if name.endswith(("embed_tokens.weight", "tok_embeddings.weight", "wte.weight"))
    ]
    has_head, wants_head = any(map(_is_head, language)), [n for n in vision if _is_head(n) and n not in placed]
    tied = dict.fromkeys(wants_head, embeddings[0]) if embeddings and not has_head else {}
    no_head = not any(map(_is_head, vision))
    left = tuple(n for n in language if n not in pairs and (_DERIVED.search(n) or (no_head and _is_head(n))))
    return NameMap(
        family=family,
        pairs=pairs,
        kept=tuple(name for name in vision if name not in placed and name not in tied),
        tied=tied,
        left=left,
        rows={a: (language[a][0], vision[b][0]) for a, b in pairs.items() if _other_rows(a, language[a], vision[b])},
    )


def _faults(found: NameMap, language: Shapes, vision: Shapes, *, trunk: str | None = None) -> list[str]:
    """What the map leaves open; with a trunk, the tensors of the vision-language model that must have a partner."""
    faults = []
    for name in language:
        if name not in found.pairs and name not in found.left:
            faults.append(f"{name}: no {_expected(name, found.pairs)} in the vision-language model")
    for name, there in found.pairs.items():
        here, wanted = language[name], vision[there]
        if here != wanted and name not in found.rows:
            faults.append(f"{name} is {_shape(here)} where {there} is {_shape(wanted)}")
    for name in found.kept:
        part, plain = normal(name)
        inside = name.startswith(trunk) if trunk is not None else part == "language"
        if inside and not _DERIVED.search(name):
            faults.append(f"{name} of the vision-language model: no {plain} in the language model")
    return faults


def _expected(name: str, pairs: Mapping[str, str]) -> str:
    """How the vision-language model would spell a name, by the spelling of the tensors that it has."""
    part, plain = normal(name)
    spellings = [(prefix, put) for prefix, kind, put in _spellings() if kind == part and put and plain.startswith(put)]
    for prefix, put in spellings:
        if any(there.startswith(prefix) for there in pairs.values()):
            return prefix + plain[len(put) :]
    return plain


def _stored(shapes: Shapes) -> Shapes:
    return {name: shape for name, shape in shapes.items() if not _DERIVED.search(name)}


def _other_rows(name: str, here: tuple[int, ...], there: tuple[int, ...]) -> bool:
    """Whether two tensors with one row a token differ in the number of rows, and in nothing else."""
    return (
        bool({*name.split(".")[-2:-1]} & _ROWS) and len(here) == len(there) and here[1:] == there[1:] and here != there
    )


def _is_head(name: str) -> bool:
    return name.endswith(("lm_head.weight", "embed_out.weight")) or normal(name)[1] == "output.weight"


def _may_miss(name: str) -> bool:
    return _is_head(name) or bool(_DERIVED.search(name))


def _of_parts(counts: Mapping[Part, int]) -> str:
    """'391 tensors of the vision tower and 4 of the projector'; of an unknown family all is 'other parts'."""
    if "language" in counts:
        total = sum(counts.values())
        return f"{total} tensor{'s' * (total != 1)} of other parts"
    words = [f"{n} of the {part}" for part, n in sorted(counts.items(), reverse=True)]
    first = sorted(counts.items(), reverse=True)[:1]
    words[:1] = [f"{n} tensor{'s' * (n != 1)} of the {part}" for part, n in first]
    return " and ".join(words) or "no other tensor"


def _shape(sizes: tuple[int, ...]) -> str:
    return " x ".join(map(str, sizes)) or "a number"
