"""The models that a search asks: each parent alone, and the live one that candidates are written into; their record.

What a model scored is kept in evaluations.jsonl, a batch a line, so that an interrupted evaluation goes on with the
next batch and a finished one is only read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ikyoku.assembly.plan import MergePlan
from ikyoku.candidate import ResidentParents
from ikyoku.jobs.evolution import Evolution
from ikyoku.jobs.fitness import Item, Judged, ask, check_finite, warm_up
from ikyoku.models.features import FeatureCache
from ikyoku.models.loading import is_vision_model, load_tokenizer, load_weights
from ikyoku.models.local import LocalBase, LocalModel
from ikyoku.models.vision import with_eyes
from ikyoku.runs import Progress, Run
from ikyoku.specs import EvolveSpec, RecipeSpec

RECORD = "evaluations"
BASE, UNIFORM, WINNER, RANDOM = "base", "uniform", "winner", "random"


def parent_key(label: str) -> str:
    """Returns the key of a parent by itself."""
    return f"parent {label}"


def rival_key(label: str) -> str:
    """Returns the key of a rival: the model that candidates are written in, tuned instead of merged."""
    return f"tuned {label}"


class Systems:
    """Loads what is asked, one at a time beside the live model, and keeps what it answered.

    A model is loaded only where something is left to ask it.
    """

    def __init__(self, evolution: Evolution, run: Run) -> None:
        self.evolution, self.run, self.spec = evolution, run, evolution.spec
        self._features = FeatureCache()  # no candidate changes the tower: an image goes through it once in a search
        self._live: Live | None = None
        self._alone: LocalBase | None = None
        self._kept: dict[tuple[str, str], list[Judged]] = {}
        for record in run.records(RECORD):
            self._keep(record)

    @property
    def live(self) -> Live:
        """The live model with the parents beside it, loaded at its first use."""
        if self._live is None:
            self.release()
            self._live = Live(self.evolution, self._features, progress=self.run.progress)
        return self._live

    def release(self) -> None:
        """Frees what is loaded: the live model with the parents, or a model of its own."""
        import gc

        import torch

        if self._live is not None or self._alone is not None:
            self._live = self._alone = None
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def of_recipe(self, recipe: RecipeSpec) -> Callable[[], LocalModel]:
        """Returns how the live model becomes a recipe's merge; asked for twice in a row, it is written once."""
        plan = self.evolution.merge_plan(recipe)
        return lambda: self.live.become(plan)

    def of_folder(self, path: str, adapter: str | None = None) -> Callable[[], LocalModel]:
        """Returns how a model of its own is loaded; the live one is freed."""

        def load() -> LocalModel:
            if self._alone is None or self._alone.path != path:
                self.release()
                self._alone = LocalBase(path, **_options(self.spec))
            model = self._alone.model(
                name=Path(path).name, adapter=adapter, batch_size=self.spec.batch_size, features=self._features
            )
            warm_up(model, self.evolution.fitness.everything)
            return model

        return load

    def scores(self, who: str, what: str, items: Sequence[Item], model: Callable[[], LocalModel]) -> list[Judged]:
        """Returns what a system scored on items, asking only for what is not on record.

        Args:
            who: the system's key in the record.
            what: the key of the items.
            items: the questions, in an order that is always the same.
            model: gives the model when something is left to ask.
        """
        done = self._kept.get((who, what), [])
        if len(done) >= len(items):
            return done
        label = f"evaluating · {who}, {what}"
        self.run.progress(label, len(done), len(items))
        asked, began, at = model(), time.monotonic(), len(done)
        for judged in ask(
            asked, items, batch_size=self.spec.batch_size, max_new_tokens=self.spec.max_new_tokens, done=[*done]
        ):
            now = time.monotonic()
            record = {
                "who": who,
                "what": what,
                "from": at,
                "scores": [j.score for j in judged],
                "japanese": [j.japanese for j in judged],
                "seconds": round(now - began, 4),
            }
            if any(j.text is not None for j in judged):
                record["texts"] = [j.text for j in judged]
            self.run.append(RECORD, [record])
            self._keep(record)
            at, began = at + len(judged), now
            self.run.progress(label, at, len(items))
        return self._kept[who, what]

    def _keep(self, record: dict[str, Any]) -> None:
        texts = record.get("texts") or [None] * len(record["scores"])
        judged = [Judged(*each) for each in zip(record["scores"], record["japanese"], texts, strict=True)]
        self._kept.setdefault((record["who"], record["what"]), []).extend(judged)


class Live:
    """One loaded model, and the parents in memory: any candidate is written into it in place."""

    def __init__(self, evolution: Evolution, features: FeatureCache | None, *, progress: Progress) -> None:
        spec, path = evolution.spec, evolution.into
        weights = load_weights(path, **_options(spec))
        if is_vision_model(path):
            self._model = with_eyes(
                weights,
                path,
                name="candidate",
                batch_size=spec.batch_size,
                features=features,
                trust_remote_code=spec.trust_remote_code,
            )
        else:
            tokenizer = load_tokenizer(path, trust_remote_code=spec.trust_remote_code)
            self._model = LocalModel(weights, tokenizer, name="candidate", batch_size=spec.batch_size)
        self._weights = weights
        warm_up(self._model, evolution.fitness.everything)
        self._parents = ResidentParents(evolution.plan)
        self._parents.attach(weights, progress=progress)
        self._now: MergePlan | None = None

    def become(self, plan: MergePlan) -> LocalModel:
        """Writes a candidate and returns the model, which is that candidate until the next call.

        Raises:
            ModelError: a weight of it is not a finite number.
        """
        if self._now is not plan:
            self._now = None
            self._parents.write(plan)
            self._now = plan
        check_finite(self._weights)
        return self._model


def _options(spec: EvolveSpec) -> dict[str, Any]:
    return {"dtype": spec.dtype, "quantization": "none", "trust_remote_code": spec.trust_remote_code}
