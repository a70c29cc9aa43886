"""One setting of a merge recipe: a value, a gradient over the layers, or conditions on tensors' names.

Reference:
    mergekit 0.1.5, README ("Parameter Specification").
"""

from __future__ import annotations

from collections.abc import Iterator

from ikyoku.errors import SpecError
from ikyoku.specs.recipe import ConditionSpec, Scalar, Setting

Value = float | bool | str
_TRUE = frozenset(("1", "on", "t", "true", "y", "yes"))
_FALSE = frozenset(("0", "off", "f", "false", "n", "no"))


def position(layer: int, layers: int) -> float:
    """Returns where a layer stands in a gradient: 0 is the first layer, 1 the last; a single layer stands at 1.

    Tensors outside the layers (embeddings, the last norm, the output head) stand at 0.

    >>> position(0, 5), position(1, 5), position(4, 5), position(0, 1)
    (0.0, 0.25, 1.0, 1.0)
    """
    return layer / (layers - 1) if layers > 1 else 1.0


def resolve(setting: Setting, tensor: str, t: float = 0.0, kind: type[Value] = float) -> Value | None:
    """Returns the value of a setting for one tensor, None where no condition fits.

    A gradient of numbers is interpolated linearly between its values at 0, 1/(n-1), …, 1; one of flags takes the value
    that was reached last.

    Args:
        setting: a value, a gradient, or conditions, of which the first holds whose filter is in the name.
        tensor: name of the tensor.
        t: where its layer stands, 0 to 1; see `position`.
        kind: what the parameter is: float, bool, or str for a flag that may also be a word.

    Raises:
        SpecError: a value is not of the kind.

    >>> resolve((0.0, 0.5, 0.3, 0.7, 1.0), "model.layers.3.mlp.up_proj.weight", t=0.375)
    0.4
    >>> resolve((ConditionSpec(filter="mlp", value=1), ConditionSpec(value=0.5)), "model.norm.weight")
    0.5
    """
    values: list[Value] = []
    for entry in setting if isinstance(setting, tuple) else (setting,):
        if not isinstance(entry, ConditionSpec):
            values.append(read(entry, kind))
        elif entry.filter in (None, "*") or (tensor and str(entry.filter) in tensor):
            return resolve(entry.value, tensor, t, kind)
    if not values:
        return None
    along = t * (len(values) - 1)
    below = int(along)
    lower, upper, share = values[below], values[min(below + 1, len(values) - 1)], along - below
    if kind is not float or isinstance(lower, str) or isinstance(upper, str):
        return lower
    return (1 - share) * lower + share * upper


def scalars(setting: Setting) -> Iterator[Scalar]:
    """Yields every value that a setting may take at the ends of its gradients, in its own order.

    >>> list(scalars((ConditionSpec(filter="mlp", value=(0, 1)), ConditionSpec(value=0.5))))
    [0, 1, 0.5]
    """
    for entry in setting if isinstance(setting, tuple) else (setting,):
        if isinstance(entry, ConditionSpec):
            yield from scalars(entry.value)
        else:
            yield entry


def filters(setting: Setting) -> Iterator[str]:
    """Yields the parts of names that a setting's conditions ask for.

    >>> list(filters((ConditionSpec(filter="mlp", value=1), ConditionSpec(value=0.5))))
    ['mlp']
    """
    for entry in setting if isinstance(setting, tuple) else (setting,):
        if isinstance(entry, ConditionSpec) and entry.filter not in (None, "*"):
            yield str(entry.filter)


def read(value: Scalar, kind: type[Value]) -> Value:
    """Returns one value as what its parameter is: mergekit takes texts such as "1e-4" and "yes" for it too.

    Raises:
        SpecError: it is none.

    >>> read("1e-4", float), read("yes", bool), read(True, float), read("l1", str)
    (0.0001, True, 1.0, 'l1')
    """
    if kind is float:
        try:
            number = float(value)
        except (ValueError, OverflowError):
            number = float("nan")
        if number - number != 0:
            raise SpecError(f"{value!r} is no number")
        return number
    text = str(value).lower()
    if text in _TRUE or value == 1:
        return True
    if text in _FALSE or value == 0:
        return False
    if kind is str:
        return text
    raise SpecError(f"{value!r} is neither true nor false")
