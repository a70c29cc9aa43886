"""What a search will do: its models, its space, its questions, read, checked and laid out before a weight is read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ikyoku.assembly.models import is_vision_language
from ikyoku.assembly.plan import MergePlan, plan_merge, reparametrised
from ikyoku.checkpoints import Checkpoint, open_checkpoint
from ikyoku.datasets.radiographs import read_radiographs
from ikyoku.datasets.splits import (
    Development,
    Given,
    GivenReports,
    Test,
    part,
    part_reports,
    select_reports,
)
from ikyoku.errors import IkyokuError, SpecError, together
from ikyoku.jobs.fitness import Fitness, Item, final_items
from ikyoku.jobs.plan import plan, read_by
from ikyoku.prompts import PromptFormat
from ikyoku.recipe import method_of, model_reference
from ikyoku.runs import spec_hash
from ikyoku.search.genome import Gene, recipe_values, space_of
from ikyoku.search.space import Space, uniform
from ikyoku.specfile import parse, read_format
from ikyoku.specs import EvaluateSpec, EvolveSpec, ExamSpec, ModelSpec, RadiographsSpec, RecipeSpec
from ikyoku.specs.recipe import ParentSpec
from ikyoku.types import IMAGE_MARK

if TYPE_CHECKING:
    from ikyoku.merging import Method

_Asked = TypeVar("_Asked")
_Read = TypeVar("_Read")


@dataclass(frozen=True)
class Evolution:
    """A search, ready to begin.

    `parents` are references as recipes have them, by the names that parameters have; `plan` is that of the uniform
    merge; `finals` are the questions of each of `tests`, `report_finals` the radiographs of each of `report_tests`.
    """

    spec: EvolveSpec
    method: Method
    parents: Mapping[str, str]
    space: Space
    plan: MergePlan
    developments: tuple[Development, ...]
    fitness: Fitness
    tests: tuple[Test, ...]
    finals: tuple[tuple[Item, ...], ...]
    report_tests: tuple[Test, ...] = ()
    report_finals: tuple[tuple[Item, ...], ...] = ()

    @property
    def into(self) -> str:
        """The model that candidates are written in, as a folder or hub id."""
        return model_reference(self.plan.parents[self.plan.into].name)[0]

    @property
    def sees(self) -> bool:
        """Whether radiographs are asked, in the search or at the end."""
        return any(fitness.reports for fitness in self.spec.fitness) or bool(self.report_tests)

    @property
    def fingerprint(self) -> str:
        """The hash of what is searched, as far as the spec tells: a study holds it, and others cannot join.

        It covers the spec but for the storage's address, which may differ between machines, and the questions.
        """
        values = self.spec.model_dump(mode="json")
        values["search"] = {key: value for key, value in values["search"].items() if key != "storage"}
        questions = "".join(d.selection.sha256 for d in (*self.developments, *self.tests, *self.report_tests))
        return hashlib.sha256(f"{spec_hash(values)}|{questions}".encode()).hexdigest()[:16]

    def recipe(self, values: Mapping[str, float], *, space: Space | None = None) -> RecipeSpec:
        """Returns the recipe at a point of the space."""
        return _recipe(self.spec, self.method, self.parents, space or self.space, values)

    def merge_plan(self, recipe: RecipeSpec) -> MergePlan:
        """Returns the plan of a candidate's recipe; no file is read."""
        return reparametrised(self.plan, recipe)

    def without(self, values: Mapping[str, float], parent: str) -> RecipeSpec | None:
        """Returns the recipe of the same point without one parent, None where the method gives parents no weight.

        Its weight is 0, and where the method trims its density too: a parent of weight 0 would still vote on the signs
        of an unweighted election and count in its mean.
        """
        own = [g for g in self._of_parents() if g.parent == parent]
        if not any(gene.key == "weight" for gene in own):
            return None
        return self._beyond(dict(values) | {gene.name: 0.0 for gene in own})

    def only(self, parent: str | None) -> RecipeSpec | None:
        """Returns the recipe that puts one parent's language model, or the base's, in the place of the merged one.

        None where the method does not allow it: it gives parents no weight, or takes the mean by the weights alone.
        """
        own = [g for g in self._of_parents() if g.parent == parent]
        if parent is not None and not any(gene.key == "weight" for gene in own):
            return None
        whole = {"lambda": 0.0 if parent is None else 1.0, "drop": 0.0}
        if parent is None and not any(gene.key == "lambda" for gene in self._genes()):
            return None
        values = {gene.name: float(gene in own or parent is None) for gene in self._of_parents()}
        return self._beyond(
            uniform(self.space) | values | {g.name: whole[g.key] for g in self._genes() if g.key in whole}
        )

    def _genes(self) -> list[Gene]:
        return [gene for gene in self.space if isinstance(gene, Gene)]

    def _of_parents(self) -> list[Gene]:
        return [gene for gene in self._genes() if gene.parent and gene.key in ("weight", "density")]

    def _beyond(self, values: Mapping[str, float]) -> RecipeSpec:
        """The recipe at a point that may lie outside the bounds of what is searched."""
        wider = Space(
            tuple(replace(p, low=min(p.low, values[p.name]), high=max(p.high, values[p.name])) for p in self.space)
        )
        return self.recipe(values, space=wider)


def evolution(spec: EvolveSpec) -> Evolution:
    """Returns a search, ready to begin, after checking everything that can be told before weights are read.

    Raises:
        SpecError: the method, the space or a format cannot be used so.
        DataError: an exam cannot be read, or is no development or no test split; see `datasets.splits.part`.
        ModelError: the models cannot be merged.
    """
    developments, tests, report_tests = _splits(spec)
    forms = [read_format(fitness.format) for fitness in spec.fitness]
    fitness = Fitness(developments, spec.fitness, forms, held_out=spec.search.held_out, seed=spec.search.seed)
    exam, reports = spec.asked_like(reports=False), spec.asked_like(reports=True)
    finals = [
        final_items(test, given, spec.fitness[exam], forms[exam]) for test, given in zip(tests, spec.test, strict=True)
    ]
    report_finals = [
        final_items(test, given, spec.fitness[reports], forms[reports])
        for test, given in zip(report_tests, spec.test_reports, strict=True)
    ]
    if empty := [test.name for test, items in zip(tests, finals, strict=True) if not items]:
        raise SpecError(f"test: {', '.join(empty)} has no question that can be asked as the fitness is.")
    parents = {parent.name: parent.reference for parent in spec.parents}
    method = method_of(RecipeSpec(merge_method=spec.method, models=(ParentSpec(model=spec.base),)))
    if method.needs_base and spec.base in parents.values():
        raise SpecError(f"parents: {spec.base} is the base, and its difference to the base is nothing. Leave it out.")
    grouped = spec.space.layer_groups > 1
    space = space_of(
        method,
        list(parents),
        layers=open_checkpoint(spec.base).layers if grouped else None,
        **spec.space.model_dump(),
    )
    recipe = _recipe(spec, method, parents, space, uniform(space))
    sees = bool(report_tests) or any(entry.reports for entry in spec.fitness)
    if sees and spec.into:  # before it is matched with models that it may not be like
        _check_tower(open_checkpoint(model_reference(spec.into)[0]))
    merge = plan_merge(recipe, into=spec.into, seed=spec.search.seed)
    if sees:
        _check_tower(merge.parents[merge.into])
    return Evolution(
        spec,
        method,
        parents,
        space,
        merge,
        developments,
        fitness,
        tests,
        tuple(finals),
        report_tests,
        tuple(report_finals),
    )


def _check_tower(into: Checkpoint) -> None:
    if not is_vision_language(into):
        raise SpecError(
            f"into: {into.name} has no vision tower, and radiographs are asked. Name the vision-language model whose "
            "language model is to be replaced."
        )


def exams_of(spec: EvolveSpec) -> tuple[ExamSpec, ...]:
    """Returns every exam of a spec, of development and of test."""
    return (*(fitness.exam for fitness in spec.fitness if fitness.exam), *spec.test)


def radiographs_of(spec: EvolveSpec) -> tuple[RadiographsSpec, ...]:
    """Returns all radiographs of a spec: of development, of test, of its rivals' training."""
    given = [fitness.reports for fitness in spec.fitness if fitness.reports]
    return (*given, *spec.test_reports, *(RadiographsSpec(path=rival.data) for rival in spec.rivals))


def _splits(spec: EvolveSpec) -> tuple[tuple[Development, ...], tuple[Test, ...], tuple[Test, ...]]:
    """The exams and radiographs as development and test splits, every fault together; developments as the fitness."""
    faults: list[str] = []

    def read(given: Sequence[_Asked], reader: Callable[[_Asked], _Read]) -> list[_Read]:
        found = []
        for one in given:
            try:
                found.append(reader(one))
            except IkyokuError as error:
                faults.extend(str(error).splitlines())
        return found

    seed = spec.search.seed
    exams = [read([f.exam for f in spec.fitness if f.exam], _given), read(spec.test, _given)]
    training = [RadiographsSpec(path=rival.data) for rival in spec.rivals]
    reports = [
        read(given, lambda one: given_reports(one, seed))
        for given in ([f.reports for f in spec.fitness if f.reports], spec.test_reports, training)
    ]
    if faults:
        raise SpecError(together(dict.fromkeys(faults)))
    (asked, tests), (written, report_tests) = part(*exams), part_reports(*reports)
    of_exams, of_reports = iter(asked), iter(written)
    developments = tuple(next(of_reports if f.reports else of_exams) for f in spec.fitness)
    return developments, tests, report_tests


def given_reports(given: RadiographsSpec, seed: int) -> GivenReports:
    """Returns radiographs as a spec names them, read and drawn by the seed; every image is hashed."""
    path = Path(given.path).expanduser()
    translations = Path(given.translations).expanduser() if given.translations else None
    held = read_radiographs(path, layout=given.layout, translations=translations)
    return GivenReports(path, given.name, held, select_reports(held, limit=given.limit, seed=seed))


def _given(exam: ExamSpec) -> Given:
    laid_out = plan(EvaluateSpec(models=(ModelSpec(path="candidate"),), exams=(exam,)))
    return Given(Path(exam.path).expanduser(), exam.name, read_by(exam), laid_out.selections[0][1])


def _recipe(
    spec: EvolveSpec, method: Method, parents: Mapping[str, str], space: Space, values: Mapping[str, float]
) -> RecipeSpec:
    dtype = None if spec.dtype == "auto" else spec.dtype
    plain = recipe_values(space, values, method=method, base=spec.base, parents=parents, dtype=dtype)
    return parse(RecipeSpec, plain, source="the candidate's recipe")


def described(space: Space) -> list[dict[str, Any]]:
    """Returns the parameters of a space as scores.json holds them."""
    plain = uniform(space)
    return [
        {"name": p.name, "low": p.low, "high": p.high, "uniform": plain[p.name]}
        | (
            {"key": p.key, "parent": p.parent, "layers": list(p.layers) if p.layers else None, "module": p.module}
            if isinstance(p, Gene)
            else {}
        )
        for p in space
    ]


def shown(form: PromptFormat, items: Sequence[Item]) -> str:
    """Returns the first prompt, verbatim, under a line that says what it is."""
    first = items[0]
    text = first.prompt.text or "\n".join(
        f"[{m.role}] {IMAGE_MARK * len(m.images)}{m.content}" for m in first.prompt.messages
    )
    return f"First prompt ({form.name}, {first.sample.id}):\n\n{text}"
