"""What all specs share: strict values, names, the base class."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, Strict

# A value is what it is written as: "100" and true are no numbers.
Integer = Annotated[int, Strict()]
Number = Annotated[float, Strict()]
Flag = Annotated[bool, Strict()]
Label = Annotated[str, Field(min_length=1, max_length=60)]
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
Name = Field(default="run", pattern=NAME)


class Spec(BaseModel):
    """What all specs share: frozen, unknown keys refused, attribute docstrings as field descriptions."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False, protected_namespaces=()
    )
