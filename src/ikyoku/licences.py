"""Licences of models, and what they ask of a merge: a table, and what follows when several hold at once.

A merged model holds weights of every parent, so the terms of every parent hold for it. What stands here is a reading
of the licences' own texts by the authors of a program. It is no legal advice and no substitute for the texts.

Reference:
    the licences' texts, at the addresses in the table; identifiers are those of the Hugging Face Hub.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from types import MappingProxyType

DISCLAIMER = (
    "This summary was put together by a program. It is no legal advice: read the licences themselves, and ask the "
    "office that is responsible for them before the model is passed on or used in care."
)


@dataclass(frozen=True, slots=True)
class Licence:
    """What one licence asks of who merges a model under it and passes the result on.

    `share_alike` names the group of licences one of which the result must have. `passes_on` is true where its terms
    bind everyone who gets the result. `begins` is what the result's name must begin with, `shown` a line to display,
    `notice` a line for the file NOTICE, `policy` the address of rules of use, `medicine` what it says of medical use,
    `family` the only models that it may improve, `more` what else there is to know.
    """

    id: str
    name: str
    url: str = ""
    attribution: bool = True
    share_alike: str = ""
    non_commercial: bool = False
    no_derivatives: bool = False
    passes_on: bool = False
    begins: str = ""
    shown: str = ""
    notice: str = ""
    policy: str = ""
    medicine: str = ""
    family: str = ""
    more: str = ""


@dataclass(frozen=True, slots=True)
class Terms:
    """What several licences ask together.

    Attributes:
        licences: those that are known, each once.
        unknown: those that are not, as they were found; "" for a parent whose licence is not stated.
        label: the Hub's identifier where all parents have the same known licence, else "other".
        begins: what the merged model's name must begin with, "" where it is free.
        shown: lines to display.
        notices: lines for the file NOTICE.
        non_commercial: use is restricted to what is not commercial.
        conflicts: what cannot be kept at once, one sentence each.
        sentences: everything, conflicts included, for a person to read.
    """

    licences: tuple[Licence, ...]
    unknown: tuple[str, ...]
    label: str
    begins: str
    shown: tuple[str, ...]
    notices: tuple[str, ...]
    non_commercial: bool
    conflicts: tuple[str, ...]
    sentences: tuple[str, ...]


def _creative_commons(parts: str, versions: Sequence[str]) -> Iterator[Licence]:
    for version in versions:
        yield Licence(
            f"cc-{parts}-{version}",
            f"CC {parts.upper()} {version}",
            f"https://creativecommons.org/licenses/{parts}/{version}/",
            share_alike=f"CC {parts.upper()}" if "sa" in parts.split("-") else "",
            non_commercial="nc" in parts.split("-"),
            no_derivatives="nd" in parts.split("-"),
            more="changes must be indicated",
        )


_UNLICENSED = "the practice of medicine without a licence to practise is forbidden"
_ADVICE = "medical advice and the interpretation of medical results with the model are forbidden"
_SCALE = "makers of services with more than {} million users a month need a licence of their own"


def _llama(
    id: str, version: str, *, begins: str = "Llama", shown: str = "Built with Llama", family: str = "", more: str = ""
) -> Licence:
    full = f"{'Meta ' * (version == '3')}Llama {version}"
    address = f"https://www.llama.com/{id.replace('.', '_')}/" if version != "2" else "https://ai.meta.com/llama/"
    return Licence(
        id,
        f"{full} Community License",
        f"{address}license/",
        passes_on=True,
        begins=begins,
        shown=shown,
        notice=f"{full} is licensed under the {'LLAMA 2' if version == '2' else full} Community License, "
        f"Copyright {'(c)' if version == '2' else '©'} Meta Platforms, Inc. All Rights Reserved.",
        policy=f"{address}use-policy/",
        medicine=_UNLICENSED,
        family=family,
        more=_SCALE.format(700) + more,
    )


_EU = "; its policy withholds multimodal models from persons and firms of the European Union"
_GOOGLE = "the use restrictions must bind whoever gets the model"


def _rail(id: str, name: str, address: str, medicine: str = "") -> Licence:
    restrictions = "the use restrictions of its attachment must bind whoever gets the model"
    return Licence(id, name, f"https://{address}", passes_on=True, medicine=medicine, more=restrictions)


_TABLE = (
    Licence("apache-2.0", "Apache License 2.0", "https://www.apache.org/licenses/LICENSE-2.0", more="keep its NOTICE"),
    Licence("mit", "MIT License", "https://opensource.org/license/mit"),
    *(
        Licence(f"bsd-{n}-clause", f"BSD {n}-Clause License", f"https://opensource.org/license/bsd-{n}-clause")
        for n in "23"
    ),
    Licence("cc0-1.0", "CC0 1.0", "https://creativecommons.org/publicdomain/zero/1.0/", attribution=False),
    Licence("unlicense", "The Unlicense", "https://unlicense.org/", attribution=False),
    Licence("cdla-permissive-2.0", "CDLA Permissive 2.0", "https://cdla.dev/permissive-2-0/"),
    *_creative_commons("by", ("4.0", "3.0")),
    *_creative_commons("by-sa", ("4.0", "3.0")),
    *_creative_commons("by-nc", ("4.0", "3.0")),
    *_creative_commons("by-nc-sa", ("4.0", "3.0")),
    *_creative_commons("by-nd", ("4.0",)),
    *_creative_commons("by-nc-nd", ("4.0",)),
    _llama("llama2", "2", begins="", shown="", family="Llama 2"),
    _llama("llama3", "3", begins="Llama 3", shown="Built with Meta Llama 3", family="Llama 3"),
    _llama("llama3.1", "3.1"),
    _llama("llama3.2", "3.2", more=_EU),
    _llama("llama3.3", "3.3"),
    _llama("llama4", "4", more=_EU),
    Licence(
        "gemma",
        "Gemma Terms of Use",
        "https://ai.google.dev/gemma/terms",
        passes_on=True,
        notice="Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms",
        policy="https://ai.google.dev/gemma/prohibited_use_policy",
        medicine=_UNLICENSED,
        more=_GOOGLE,
    ),
    Licence(
        "health-ai-developer-foundations",
        "Health AI Developer Foundations Terms of Use",
        "https://developers.google.com/health-ai-developer-foundations/terms",
        passes_on=True,
        notice="HAI-DEF is provided under and subject to the Health AI Developer Foundations Terms of Use found at "
        "https://developers.google.com/health-ai-developer-foundations/terms",
        policy="https://developers.google.com/health-ai-developer-foundations/prohibited-use-policy",
        medicine="use in diagnosis or treatment, in studies too, needs the health authority's authorisation",
        more=_GOOGLE,
    ),
    Licence(
        "qwen",
        "Qwen License Agreement",
        "https://huggingface.co/Qwen/Qwen2.5-72B-Instruct/blob/main/LICENSE",
        passes_on=True,
        shown="Built with Qwen",
        notice="Qwen is licensed under the Qwen LICENSE AGREEMENT, Copyright (c) Alibaba Cloud. All Rights Reserved.",
        more=_SCALE.format(100),
    ),
    Licence(
        "tongyi-qianwen",
        "Tongyi Qianwen License Agreement",
        "https://huggingface.co/Qwen/Qwen-72B/blob/main/LICENSE",
        passes_on=True,
        notice="Tongyi Qianwen is licensed under the Tongyi Qianwen LICENSE AGREEMENT, Copyright (c) Alibaba Cloud. "
        "All Rights Reserved.",
        family="Tongyi Qianwen",
        more=_SCALE.format(100),
    ),
    Licence(
        "qwen-research",
        "Qwen Research License Agreement",
        "https://huggingface.co/Qwen/Qwen2.5-3B-Instruct/blob/main/LICENSE",
        non_commercial=True,
        passes_on=True,
        shown="Built with Qwen",
        notice="Qwen is licensed under the Qwen RESEARCH LICENSE AGREEMENT, Copyright (c) Alibaba Cloud. "
        "All Rights Reserved.",
    ),
    _rail("bigscience-bloom-rail-1.0", "BigScience RAIL 1.0", "huggingface.co/spaces/bigscience/license", _ADVICE),
    _rail(
        "bigscience-openrail-m",
        "BigScience OpenRAIL-M",
        "bigscience.huggingface.co/blog/bigscience-openrail-m",
        _ADVICE,
    ),
    _rail(
        "creativeml-openrail-m",
        "CreativeML OpenRAIL-M",
        "huggingface.co/spaces/CompVis/stable-diffusion-license",
        _ADVICE,
    ),
    _rail("bigcode-openrail-m", "BigCode OpenRAIL-M", "www.bigcode-project.org/docs/pages/bigcode-openrail/"),
    _rail("deepseek", "DeepSeek License", "github.com/deepseek-ai/DeepSeek-LLM/blob/main/LICENSE-MODEL"),
    _rail(
        "openrail", "OpenRAIL", "www.licenses.ai", "some licences of this family forbid medical advice; see the parent"
    ),
    Licence(
        "mrl", "Mistral Research License", "https://mistral.ai/licenses/MRL-0.1.md", non_commercial=True, passes_on=True
    ),
    Licence(
        "plamo-community-license",
        "PLaMo Community License",
        "https://huggingface.co/pfnet/plamo-2-8b/blob/main/LICENSE/en",
        passes_on=True,
        shown="Built with PLaMo",
        more="it says how a derived model is named, and up to which revenue commercial use is free",
    ),
)

LICENCES: Mapping[str, Licence] = MappingProxyType({licence.id: licence for licence in _TABLE})
"""By the Hub's identifier, or by the `license_name` that models under `other` have."""

_ALIASES = {
    "apache": "apache-2.0",
    "apache2": "apache-2.0",
    "apache-license-2.0": "apache-2.0",
    "meta-llama-3": "llama3",
    "gemma-terms-of-use": "gemma",
    "hai-def": "health-ai-developer-foundations",
    "cc-by": "cc-by-4.0",
    "cc-by-sa": "cc-by-sa-4.0",
    "cc-by-nc": "cc-by-nc-4.0",
    "cc-by-nc-sa": "cc-by-nc-sa-4.0",
    "cc-by-nc-nd": "cc-by-nc-nd-4.0",
    "mistral-ai-research": "mrl",
    "mistral-research": "mrl",
}

_TITLES = (
    (r"Apache License\s+Version 2\.0", "apache-2.0"),
    (r"LLAMA 2 COMMUNITY LICENSE", "llama2"),
    (r"META LLAMA 3 COMMUNITY LICENSE", "llama3"),
    (r"LLAMA (3\.[123]|4) COMMUNITY LICENSE", "llama{}"),
    (r"Health AI Developer Foundations Terms of Use", "health-ai-developer-foundations"),
    (r"Gemma Terms of Use", "gemma"),
    (r"Qwen RESEARCH LICENSE AGREEMENT", "qwen-research"),
    (r"Tongyi Qianwen LICENSE AGREEMENT", "tongyi-qianwen"),
    (r"Qwen LICENSE AGREEMENT", "qwen"),
    (r"BigScience RAIL License", "bigscience-bloom-rail-1.0"),
    (r"BigScience Open ?RAIL-M", "bigscience-openrail-m"),
    (r"CreativeML Open ?RAIL-M", "creativeml-openrail-m"),
    (r"BigCode Open ?RAIL-M", "bigcode-openrail-m"),
    (r"DEEPSEEK LICENSE AGREEMENT", "deepseek"),
    (r"PLaMo Community License", "plamo-community-license"),
    (r"Mistral AI Research License", "mrl"),
    (r"Attribution-NonCommercial-ShareAlike ([34]\.0)", "cc-by-nc-sa-{}"),
    (r"Attribution-NonCommercial-NoDerivatives (4\.0)", "cc-by-nc-nd-{}"),
    (r"Attribution-NonCommercial ([34]\.0)", "cc-by-nc-{}"),
    (r"Attribution-ShareAlike ([34]\.0)", "cc-by-sa-{}"),
    (r"Attribution-NoDerivatives (4\.0)", "cc-by-nd-{}"),
    (r"(?:Creative Commons )?Attribution ([34]\.0)", "cc-by-{}"),
    (r"CC0 1\.0", "cc0-1.0"),
    (r"MIT License|Permission is hereby granted, free of charge", "mit"),
)
"""How the texts of licences begin."""


def find(name: str) -> Licence | None:
    """Returns the licence of this identifier or name, None where it is not in the table.

    >>> found = find("CC BY-SA 4.0")
    >>> found.id, found.share_alike
    ('cc-by-sa-4.0', 'CC BY-SA')
    >>> find("house rules") is None
    True
    """
    key = re.sub(r"[\s_]+", "-", name.strip().lower()).replace("licence", "license")
    key = re.sub(r"^llama-?(\d)(?:[-.](\d))?(?=-|$)", lambda m: f"llama{m[1]}" + f".{m[2]}" * bool(m[2]), key)
    short = re.sub(r"(-community)?(-license)?(-agreement)?$", "", key)
    for candidate in (key, _ALIASES.get(key, ""), short, _ALIASES.get(short, "")):
        if candidate in LICENCES:
            return LICENCES[candidate]
    return None


def recognised(text: str) -> str | None:
    """Returns the identifier of the licence that a text is, by its title; None where it is not known.

    >>> recognised("LLAMA 3.1 COMMUNITY LICENSE AGREEMENT. Llama 3.1 Version Release Date: July 23, 2024")
    'llama3.1'
    """
    beginning = text[:1500]
    for pattern, id in _TITLES:
        if found := re.search(pattern, beginning, re.IGNORECASE):
            return id.format(*found.groups())
    return None


def combined(names: Iterable[str]) -> Terms:
    """Returns what the licences of all parents ask of a merge.

    Args:
        names: one for each licence of each parent, as it was found; "" where a parent's is not stated.

    >>> terms = combined(["llama3", "cc-by-nc-4.0", "llama3.1"])
    >>> terms.begins, terms.non_commercial, terms.label
    ('Llama 3', True, 'other')
    >>> combined(["cc-by-sa-4.0", "cc-by-nc-4.0"]).conflicts[0]
    'CC BY-SA 4.0 wants the result under CC BY-SA, which allows commercial use, and CC BY-NC 4.0 forbids it.'
    """
    found = {name: find(name) for name in dict.fromkeys(names)}
    known = tuple({licence.id: licence for licence in found.values() if licence}.values())
    unknown = tuple(name for name, licence in found.items() if licence is None)
    prefixes = sorted({licence.begins for licence in known if licence.begins}, key=len)
    conflicts = tuple(_conflicts(known))
    return Terms(
        licences=known,
        unknown=unknown,
        label=known[0].id if len(known) == 1 and not unknown else "other",
        begins=prefixes[-1] if prefixes else "",
        shown=tuple(dict.fromkeys(licence.shown for licence in known if licence.shown)),
        notices=tuple(dict.fromkeys(licence.notice for licence in known if licence.notice)),
        non_commercial=any(licence.non_commercial for licence in known),
        conflicts=conflicts,
        sentences=(*conflicts, *_duties(known, prefixes), *_unknown(unknown)),
    )


def _conflicts(known: Sequence[Licence]) -> Iterator[str]:
    for licence in known:
        if licence.no_derivatives:
            yield f"{licence.name} does not allow changed versions to be passed on: keep the merged model to yourself."
    for one, other in combinations(known, 2):
        for first, second in ((one, other), (other, one)):
            if not first.share_alike or second.share_alike == first.share_alike:
                continue
            wants = f"{first.name} wants the result under {first.share_alike}"
            if second.non_commercial and not first.non_commercial:
                yield f"{wants}, which allows commercial use, and {second.name} forbids it."
            elif second.passes_on:
                yield f"{wants} without further conditions, and the terms of {second.name} add some."
    begun = sorted({licence.begins for licence in known if licence.begins}, key=len)
    for begins in begun[:-1]:
        if not begun[-1].startswith(begins):
            yield f"One licence wants the model's name to begin with {begins!r}, another with {begun[-1]!r}."


def _duties(known: Sequence[Licence], prefixes: Sequence[str]) -> Iterator[str]:
    """What is to be kept, the gravest first."""
    if names := [licence.name for licence in known if licence.non_commercial]:
        yield f"Commercial use is not allowed ({', '.join(names)}). Ask whether a hospital's own use counts as such."
    for licence in known:
        if licence.medicine:
            yield f"{licence.name}: {licence.medicine}."
    for licence in known:
        if licence.family and len(known) > 1:
            only = f"no large language model may be improved with it but {licence.family} and what derives from that"
            yield f"{licence.name}: {only}. Ask, unless every parent does."
    for group in dict.fromkeys(licence.share_alike for licence in known if licence.share_alike):
        yield f"Who passes the merged model on does so under {group}, or a licence that it names as equal."
    if prefixes:
        yield f"The name of the merged model, once passed on, begins with {prefixes[-1]!r}."
    for shown in dict.fromkeys(licence.shown for licence in known if licence.shown):
        yield f"Its documentation shows: {shown}."
    for licence in known:
        if licence.passes_on:
            policy = f", and its rules of use hold ({licence.policy})" if licence.policy else ""
            yield f"A copy of {licence.name} goes with the merged model{policy}."
    for notice in dict.fromkeys(licence.notice for licence in known if licence.notice):
        yield f"A file NOTICE with the model says: {notice.rstrip('.')}."
    if names := [licence.name for licence in known if licence.attribution and not licence.passes_on]:
        yield f"The parents' makers, copyright notices and licence texts stay with the model ({', '.join(names)})."
    for licence in known:
        if licence.more:
            yield f"{licence.name}: {licence.more}."


def _unknown(names: Sequence[str]) -> Iterator[str]:
    for name in names:
        if name:
            yield f"The licence {name!r} is not known to ikyoku: read its text, and ask its makers where it is unclear."
        else:
            yield "The licence of a parent is not stated in its folder: ask its makers before anything is passed on."
