"""What `ikyoku demo` is asked."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ikyoku.specs.base import NAME, Flag, Integer, Spec


class DemoSpec(Spec):
    """`ikyoku demo`: pocket models made on this machine, evaluated, tuned, evaluated again."""

    name: str = Field(default="pocket-lab", pattern=NAME)
    """Names the run folder."""
    size: Literal["tiny", "pocket"] = "pocket"
    """tiny shows the mechanism in under a minute; pocket shows the effect."""
    reports: Flag = False
    """Show the third study instead: phantom X-rays, a search for a merge, Japanese drafts."""
    cache: str = "~/.cache/ikyoku"
    """Where pocket models are kept between runs."""
    seed: Integer = Field(default=0, ge=0)
    """Seed of everything that is random."""
