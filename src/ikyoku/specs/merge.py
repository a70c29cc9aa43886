"""What `ikyoku merge` is asked."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from ikyoku.specs.base import Flag, Integer, Name, Spec
from ikyoku.specs.recipe import RecipeSpec


def _size(text: str) -> str:
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)? ?(KB|MB|GB|TB)", text) or float(text.rstrip("KMGTB ")) == 0:
        raise ValueError("write a size as a number above 0 and KB, MB, GB or TB, such as 5GB")
    return text


class MergeSpec(Spec):
    """`ikyoku merge`: a recipe in, one checkpoint out."""

    name: str = Name
    """Names the run folder."""
    recipe: RecipeSpec
    """The recipe, in mergekit's keys: what stands in a recipe's own file."""
    out: str | None = None
    """Folder of the checkpoint, which must not be there yet; by default artifact/model in the run folder."""
    into: str | None = None
    """Model that the output is built on: its config, and the tensors that no other parent has (vision tower,
    projector). By default the only vision-language model among the parents, else the base, else the first."""
    shard_size: Annotated[str, AfterValidator(_size)] = "5GB"
    """Largest file of the output's weights; a tensor that is larger has a file to itself."""
    seed: Integer = Field(default=0, ge=0)
    """Seed of what is dropped at random, by methods with DARE or DELLA in them."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the arithmetic runs."""
    trust_remote_code: Flag = False
    """Take along Python code that comes with the model that the output is built on. Merging runs none of it."""
