"""The merge methods, as one table: what each needs, which parameters it has, and from which parts it is put together.

The names are mergekit's, so that recipes can be exchanged; the third study's operator is called jradievo. Where a
definition differs from mergekit 0.1.5, it is on purpose:

- A trim keeps round(density * n) of n elements, not int(density * n), and all that are as large as the smallest kept.
- The arithmetic is in float32, whatever the number format of the models.
- `rescale: true` divides what is kept at random by the probability with which it was kept, as the papers of DARE and
  DELLA have it; `rescale: l1` gives a task vector the sum of magnitudes that it had before, which is what mergekit's
  true does. Methods that do not draw at random (ties, breadcrumbs) have only the second; true means it there.
- Which elements are dropped follows from the seed, the tensor's name and the parent, not from a generator's state.
- DELLA gives equal magnitudes the same probability, that of their mean rank.
- A density outside [0, 1] is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from types import MappingProxyType
from typing import Literal, TypeGuard

Value = float | bool | str | None
Sparsify = Literal["none", "magnitude", "random", "outliers", "magprune", "random-magnitude"]
Consensus = Literal["none", "sum", "unweighted"]

L1 = "l1"
"""The value of `rescale` that keeps the sum of magnitudes."""


@dataclass(frozen=True, slots=True)
class Method:
    """One way of merging tensors.

    Attributes:
        name: what a recipe calls it.
        title: what a person calls it.
        reference: the paper.
        needs_base: whether it merges differences to a base (or, slerp, has the base as one end).
        least: fewest parents beside the base.
        most: most of them, or None.
        shared: parameters of the whole tensor with their defaults; None: it must be given.
        each: parameters of each parent with their defaults; None: it must be given.
        ignored: those of both that are accepted because recipes have them, and change nothing.
        sparsify: how task vectors are thinned: by magnitude, at random (DARE), by magnitude without the outliers
            (breadcrumbs), at random with a probability by rank (DELLA), or at random and then by magnitude (jradievo).
        consensus: how a sign is elected for each element: by the weighted sum (TIES), by the unweighted, or not.
        whole_model: whether a parent is trimmed by one threshold over the whole model, not by one for each tensor.
    """

    name: str
    title: str
    reference: str
    needs_base: bool
    least: int
    most: int | None
    shared: Mapping[str, Value]
    each: Mapping[str, float | None]
    ignored: tuple[str, ...] = ()
    sparsify: Sparsify = "none"
    consensus: Consensus = "none"
    whole_model: bool = False

    @property
    def draws(self) -> bool:
        """Whether it drops elements at random."""
        return self.sparsify in ("random", "magprune", "random-magnitude")


_SOUP = "Wortsman et al. 2022, Model soups (arXiv 2203.05482)"
_SLERP = "Shoemake 1985, Animating rotation with quaternion curves (SIGGRAPH)"
_ARITHMETIC = "Ilharco et al. 2023, Editing models with task arithmetic (arXiv 2212.04089)"
_TIES = "Yadav et al. 2023, TIES-Merging (arXiv 2306.01708)"
_DARE = "Yu et al. 2024, Language models are super Mario (arXiv 2311.03099)"
_DELLA = "Deep et al. 2024, DELLA-Merging (arXiv 2406.11617)"
_BREADCRUMBS = "Davari & Belilovsky 2024, Model breadcrumbs (arXiv 2312.06795)"
_STOCK = "Jang et al. 2024, Model stock (arXiv 2403.19522)"
_JRADIEVO = "Baba et al. 2024, JRadiEvo (arXiv 2411.09933)"

_GAMMA = MappingProxyType({"gamma": 0.01})
_EPSILON = MappingProxyType({"epsilon": 0.15})


def _task_vectors(
    name: str,
    title: str,
    reference: str,
    *,
    sparsify: Sparsify = "none",
    consensus: Consensus = "none",
    normalize: bool = False,
    rescale: bool = False,
    each: Mapping[str, float | None] = MappingProxyType({}),
    ignored: tuple[str, ...] = (),
) -> Method:
    shared: dict[str, Value] = {"lambda": 1.0, "normalize": normalize, "rescale": rescale, "int8_mask": False}
    return Method(
        name,
        title,
        reference,
        needs_base=True,
        least=1,
        most=None,
        shared=MappingProxyType(shared),
        each=MappingProxyType({"weight": None, "density": 1.0, **each}),
        ignored=("int8_mask", *ignored),
        sparsify=sparsify,
        consensus=consensus,
    )


def _plain(
    name: str,
    title: str,
    reference: str,
    *,
    base: bool,
    least: int = 1,
    most: int | None = None,
    shared: Mapping[str, Value] = MappingProxyType({}),
    each: Mapping[str, float | None] = MappingProxyType({}),
) -> Method:
    return Method(name, title, reference, base, least, most, MappingProxyType({**shared}), MappingProxyType({**each}))


_ROWS = (
    _plain("linear", "Linear", _SOUP, base=False, shared={"normalize": True}, each={"weight": None}),
    _plain("slerp", "Spherical interpolation", _SLERP, base=True, most=1, shared={"t": None}),
    _task_vectors("task_arithmetic", "Task arithmetic", _ARITHMETIC, ignored=("rescale", "density")),
    _task_vectors("ties", "TIES", _TIES, sparsify="magnitude", consensus="sum", normalize=True),
    _task_vectors("dare_linear", "DARE, linear", _DARE, sparsify="random", rescale=True),
    _task_vectors("dare_ties", "DARE, TIES", _DARE, sparsify="random", consensus="sum", rescale=True),
    Method(
        "jradievo",
        "DARE, then TIES over the whole model",
        _JRADIEVO,
        needs_base=True,
        least=1,
        most=None,
        shared=MappingProxyType(
            {"lambda": 1.0, "drop": 0.0, "shared_masks": False, "bisection": False, "half": False},
        ),
        each=MappingProxyType({"weight": 1.0, "density": 1.0}),
        sparsify="random-magnitude",
        consensus="unweighted",
        whole_model=True,
    ),
    _task_vectors("breadcrumbs", "Breadcrumbs", _BREADCRUMBS, sparsify="outliers", each=_GAMMA),
    _task_vectors(
        "breadcrumbs_ties", "Breadcrumbs, TIES", _BREADCRUMBS, sparsify="outliers", consensus="sum", each=_GAMMA
    ),
    _task_vectors(
        "della",
        "DELLA",
        _DELLA,
        sparsify="magprune",
        consensus="sum",
        normalize=True,
        rescale=True,
        each=_EPSILON,
    ),
    _task_vectors("della_linear", "DELLA, linear", _DELLA, sparsify="magprune", rescale=True, each=_EPSILON),
    _plain("model_stock", "Model stock", _STOCK, base=True, least=2, shared={"filter_wise": False}),
    _plain("passthrough", "One model as it is", "no paper: x * scale", base=False, most=1, each={"scale": 1.0}),
)

METHODS: Mapping[str, Method] = MappingProxyType({row.name: row for row in _ROWS})
"""The methods by name."""


def completed(
    method: Method, shared: Mapping[str, Value], each: Sequence[Mapping[str, Value]]
) -> tuple[dict[str, Value], list[dict[str, float]]]:
    """Returns the parameters of a tensor and of each parent with the defaults filled in.

    What the method does not know is left out: recipes give one set of parameters to several methods.

    Raises:
        ValueError: with all that is missing or out of range, one a line.

    >>> completed(METHODS["ties"], {}, [{"weight": 1}])[1]
    [{'weight': 1.0, 'density': 1.0}]
    """
    found = faults(method, shared, each)
    if found:
        raise ValueError("\n".join(found))
    whole = {key: shared[key] if shared.get(key) is not None else default for key, default in method.shared.items()}
    rows = [
        # no None among them: `faults` refuses what must be given and is not
        {key: float(_given(one, key, default) or 0.0) for key, default in method.each.items()}
        for one in each
    ]
    return whole, rows


def faults(method: Method, shared: Mapping[str, Value], each: Sequence[Mapping[str, Value]]) -> list[str]:
    """Returns what is wrong with the parameters of one tensor, one sentence for each fault; [] if nothing is.

    Args:
        method: the method.
        shared: parameters of the whole tensor.
        each: those of each parent beside the base, in the parents' order.

    >>> faults(METHODS["ties"], {}, [{"weight": 1.0, "density": 2.0}, {"density": 0.5}])
    ['parent 1: density is 2.0, it must be between 0 and 1', 'parent 2: ties needs its weight']
    """
    found = [*_count_faults(method, len(each)), *_shared_faults(method, shared), *_each_faults(method, each)]
    normalised = not found and method.name == "linear" and _given(shared, "normalize", True)
    if normalised and sum(float(row["weight"] or 0.0) for row in each) == 0:
        found.append("the weights sum to 0, which cannot be normalised; write other weights, or normalize: false")
    return found


def _given(values: Mapping[str, Value], key: str, default: Value) -> Value:
    value = values.get(key)
    return default if value is None else value


def _count_faults(method: Method, count: int) -> Iterator[str]:
    if count < method.least or (method.most is not None and count > method.most):
        most = "" if method.most is None else f" and at most {method.most}"
        beside = " beside the base" if method.needs_base else ""
        yield f"{method.name} merges at least {method.least}{most} models{beside}, found {count}"


def _shared_faults(method: Method, shared: Mapping[str, Value]) -> Iterator[str]:
    for key, default in method.shared.items():
        value = _given(shared, key, default)
        if value is None:
            yield f"{method.name} needs {key}"
        elif isinstance(default, bool):
            allowed = (True, False, L1) if key == "rescale" else (True, False)
            if value not in allowed:
                yield f"{key} is {value!r}, it must be one of {', '.join(str(one).lower() for one in allowed)}"
        elif not _number(value):
            yield f"{key} is {value!r}, it must be a number"
        elif key == "drop" and not 0 <= float(value) <= 1:
            yield f"drop is {value}, it must be between 0 and 1"


def _each_faults(method: Method, each: Sequence[Mapping[str, Value]]) -> Iterator[str]:
    for number, values in enumerate(each, start=1):
        for key, default in method.each.items():
            value = _given(values, key, default)
            if value is None:
                yield f"parent {number}: {method.name} needs its {key}"
            elif not _number(value):
                yield f"parent {number}: {key} is {value!r}, it must be a number"
            elif key in ("density", "gamma") and not 0 <= float(value) <= 1:
                yield f"parent {number}: {key} is {value}, it must be between 0 and 1"
            elif key == "epsilon" and not _fits(float(value), _given(values, "density", method.each["density"])):
                yield (
                    f"parent {number}: epsilon is {value}, but density - epsilon must not be below 0 nor "
                    "density + epsilon above 1"
                )


def _fits(epsilon: float, density: Value) -> bool:
    """Whether DELLA's probabilities, density ± epsilon, are such; where all or nothing is kept they do not matter."""
    if not _number(density) or not 0 < float(density) < 1:
        return True
    return float(density) >= abs(epsilon) and float(density) + abs(epsilon) <= 1


def _number(value: Value) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
