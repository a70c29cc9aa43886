"""The language model inside an unknown vision-language model, found by the shapes and the ends of its names.

The layers are looked for first: the one prefix under which every tensor of every layer of the language model has a
partner of its shape. What stands outside the layers (embeddings, last norm, head) is then looked for around it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Structure:
    """What was found.

    `pairs` go from the language model's names to the other's, `rule` says how in words (the end of a phrase), `trunk`
    is the prefix of the layers in the vision-language model, `faults` are what keeps it from being used.
    """

    pairs: Mapping[str, str]
    rule: str = ""
    trunk: str = ""
    faults: tuple[str, ...] = ()


def by_structure(language: Shapes, vision: Shapes) -> Structure:
    """Returns the partners of a language model's tensors in a vision-language model of unknown spelling.

    A tensor outside the layers may differ in its first size (rows of an embedding); more than one fitting place is a
    fault, as is none.

    >>> found = by_structure(
    ...     {"model.layers.0.up.weight": (4, 2), "model.norm.weight": (2,)},
    ...     {"tower.blocks.0.up.weight": (9, 3), "text.core.0.up.weight": (4, 2), "text.norm.weight": (2,)},
    ... )
    >>> found.rule, found.pairs["model.norm.weight"]
    (': model.layers.* is text.core.*', 'text.norm.weight')
    """
    prefixes = sorted({match[1] for name in language if (match := re.match(r"(.*?\.)\d+\.", name))})
    if len(prefixes) != 1:
        found = ", ".join(f"{p}*" for p in prefixes) or "none"
        return Structure({}, faults=(f"the language model should have one stack of layers; found {found}",))
    (here,) = prefixes
    layers = [name.removeprefix(here) for name in language if name.startswith(here)]
    places = sorted({name.removesuffix(layers[0]) for name in vision if name.endswith(f".{layers[0]}")})
    fitting = [p for p in places if all(vision.get(p + end) == language[here + end] for end in layers)]
    if len(fitting) > 1:
        names = " and ".join(f"{p}{layers[0]}" for p in fitting)
        return Structure({}, faults=(f"{here}{layers[0]} fits more than one place: {names}",))
    if not fitting:
        return Structure({}, faults=tuple(_gaps(here, layers, places, language, vision)))
    (there,) = fitting
    pairs = {here + end: there + end for end in layers}
    faults = []
    for name in language:
        if name not in pairs:
            partners = _outside(name, here, there, language, vision)
            if len(partners) == 1:
                pairs[name] = partners[0]
            elif partners or not name.endswith("lm_head.weight"):  # a head may be tied
                faults.append(f"{name}: {' and '.join(partners) or 'nothing'} fits it in the vision-language model")
    return Structure(pairs, f": {here}* is {there}*", there, tuple(faults))


def _outside(name: str, here: str, there: str, language: Shapes, vision: Shapes) -> list[str]:
    """Places for a tensor outside the layers: beside them by the same rule, else anywhere by its last two words."""
    around, beside = _parent(here), _parent(there)
    if name.startswith(around) and _fits(name, beside + name.removeprefix(around), language, vision):
        return [beside + name.removeprefix(around)]
    end = ".".join(name.split(".")[-2:])
    found = [n for n in vision if (n == end or n.endswith(f".{end}")) and not n.startswith(there)]
    return [n for n in found if _fits(name, n, language, vision)]


def _fits(name: str, there: str, language: Shapes, vision: Shapes) -> bool:
    here, wanted = language[name], vision.get(there)
    return wanted is not None and (here == wanted or (len(here) == len(wanted) == 2 and here[1] == wanted[1]))


def _gaps(here: str, layers: list[str], places: list[str], language: Shapes, vision: Shapes) -> list[str]:
    """What is wrong with the place that fits most tensors."""
    if not places:
        return [f"{here}{layers[0]}: no tensor of the vision-language model ends in {layers[0]}"]
    best = max(places, key=lambda p: sum(vision.get(p + end) == language[here + end] for end in layers))
    faults = []
    for end in layers:
        shape = vision.get(best + end)
        if shape is None:
            faults.append(f"{here}{end}: no {best}{end} in the vision-language model")
        elif shape != language[here + end]:
            faults.append(f"{here}{end} is {language[here + end]} where {best}{end} is {shape}")
    return faults


def _parent(prefix: str) -> str:
    """The prefix without its last word: `model.layers.` -> `model.`."""
    return re.sub(r"[^.]*\.$", "", prefix)
