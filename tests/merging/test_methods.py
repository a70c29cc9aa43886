"""The table of merge methods, and what is refused of their parameters."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ikyoku.merging import METHODS, Method
from ikyoku.merging.methods import completed, faults

EACH = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())


def test_the_methods_are_those_of_the_documentation() -> None:
    assert list(METHODS) == [
        *("linear", "slerp", "task_arithmetic", "ties", "dare_linear", "dare_ties", "jradievo"),
        *("breadcrumbs", "breadcrumbs_ties", "della", "della_linear", "model_stock", "passthrough"),
    ]


@EACH
def test_each_row_is_complete(method: Method) -> None:
    assert METHODS[method.name] is method
    assert method.title
    assert method.reference
    assert method.least >= 1
    assert method.most is None or method.most >= method.least
    assert set(method.ignored) <= {*method.shared, *method.each}
    assert ("density" in method.each) == (method.sparsify != "none" or method.name == "task_arithmetic")
    assert method.draws == (method.sparsify in {"random", "magprune", "random-magnitude"})


@EACH
def test_parameters_that_have_no_default_must_be_given(method: Method) -> None:
    wanted = [key for key, default in method.shared.items() if default is None]
    each = [{}] * max(method.least, 1)
    found = faults(method, {}, each)
    assert len(found) == len(wanted) + len(each) * sum(default is None for default in method.each.values())
    shared = dict.fromkeys(wanted, 0.5)
    assert faults(method, shared, [{"weight": 1.0}] * len(each)) == []


def test_all_faults_are_told_together() -> None:
    each = [{"weight": "much"}, {"density": -0.1}, {"weight": 1, "density": 0.95, "epsilon": 0.2}]
    found = faults(METHODS["della"], {"lambda": True, "rescale": "l2"}, each)
    assert [fault.split(" is ")[0] for fault in found] == [
        *("lambda", "rescale", "parent 1: weight"),
        *("parent 2: della needs its weight", "parent 2: density", "parent 3: epsilon"),
    ]
    with pytest.raises(ValueError, match=r"(?s)lambda is True.*parent 3: epsilon"):
        completed(METHODS["della"], {"lambda": True, "rescale": "l2"}, each)


@pytest.mark.parametrize(
    ("name", "count", "fault"),
    [
        ("slerp", 2, "slerp merges at least 1 and at most 1 models beside the base, found 2"),
        ("model_stock", 1, "model_stock merges at least 2 models beside the base, found 1"),
        ("linear", 0, "linear merges at least 1 models, found 0"),
    ],
)
def test_the_number_of_parents_is_checked(name: str, count: int, fault: str) -> None:
    assert faults(METHODS[name], {"t": 0.5}, [{"weight": 1.0}] * count) == [fault]


def test_values_that_are_no_numbers_are_refused() -> None:
    for value in (float("nan"), float("inf"), True, "0.5"):
        assert len(faults(METHODS["linear"], {}, [{"weight": value}])) == 1
    assert len(faults(METHODS["jradievo"], {"drop": 1.5, "half": 1.0}, [{}])) == 1  # 1.0 is as good as true
    assert faults(METHODS["ties"], {"rescale": "l1", "normalize": False}, [{"weight": 1}]) == []


def test_what_a_method_does_not_know_is_left_out() -> None:
    shared, each = completed(METHODS["ties"], {"t": 0.5, "lambda": None}, [{"weight": 2, "gamma": 0.1}])
    assert shared == {"lambda": 1.0, "normalize": True, "rescale": False, "int8_mask": False}
    assert each == [{"weight": 2.0, "density": 1.0}]


def test_the_table_is_there_without_torch() -> None:
    code = "import sys, ikyoku.merging as m; m.METHODS['ties']; assert 'torch' not in sys.modules; m.merge_tensor"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_names_that_are_not_there_are_attribute_errors() -> None:
    import ikyoku.merging

    assert all(hasattr(ikyoku.merging, name) for name in ikyoku.merging.__all__)
    assert not hasattr(ikyoku.merging, "karcher")
