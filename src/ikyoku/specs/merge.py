"""What `ikyoku merge` is asked."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ikyoku.specs.base import Flag, Integer, Name, Spec
from ikyoku.specs.recipe import RecipeSpec


class MergeSpec(Spec):
    """`ikyoku merge`: a recipe in, one checkpoint out."""

    name: str = Name
    """Names the run folder."""
    recipe: RecipeSpec
    """The recipe, in mergekit's keys."""
    out: str | None = None
    """Folder of the checkpoint, which must not be there yet; by default artifact/model in the run folder."""
    into: str | None = None
    """Model that the output is built on: its config, and the tensors that no other parent has (vision tower,
    projector). By default the only vision-language model among the parents, else the base, else the first."""
    shard_size: str = Field(default="5GB", pattern=r"^[0-9]+(\.[0-9]+)? ?(KB|MB|GB|TB)$")
    """Largest shard of the output."""
    seed: Integer = Field(default=0, ge=0)
    """Seed of DARE's and DELLA's masks."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the arithmetic runs."""
    trust_remote_code: Flag = False
    """Read parents whose config needs Python code that comes with the model."""
