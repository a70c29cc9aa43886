"""The merge of LoRA adapters of one base with one another: what `ikyoku merge` does where the models are adapters."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from ikyoku.adapters import Adapter
from ikyoku.assembly import adapters as adapter_merge
from ikyoku.assembly.adapters import AdapterMerge, AdapterPlan, plan_adapters
from ikyoku.checkpoints.room import check_free, check_room
from ikyoku.checkpoints.writer import sweep
from ikyoku.errors import SpecError
from ikyoku.jobs.merged import RECIPE, is_written, may_be_ours, notice, output_folder
from ikyoku.model_card import CardParent, licence_of, licence_texts, model_card
from ikyoku.pages import merging_page
from ikyoku.recipe import recipe_yaml
from ikyoku.runs import Run
from ikyoku.specfile import to_yaml
from ikyoku.specs import MergeSpec


def inputs(spec: MergeSpec) -> dict[str, Path]:
    """Returns the adapters' folders, after checking them."""
    plan = _plan(spec)
    if spec.out and not may_be_ours(spec, out := _out(spec, Path())):
        check_free(out)
        check_room(out, plan.bytes)
    return {str(Path(adapter.name)): adapter.folder for adapter in _adapters(plan)}


def merge(spec: MergeSpec, run: Run) -> dict[str, Any]:
    """Writes the merged adapter; returns the run's result."""
    begun = time.monotonic()
    plan = _plan(spec)
    out = _out(spec, run.folder)
    if is_written(run, out):  # by a start that was ended before the run's own end
        sweep(out)
        modules = run.records("modules")
        ranks, lost = ({one["module"]: one[key] for one in modules} for key in ("rank", "lost"))
        done = AdapterMerge(out, sum(file["bytes"] for file in run.records("shards")), ranks, lost)
    else:
        done = adapter_merge.merge_adapters(
            plan,
            out,
            progress=lambda module, at, count: run.progress("merging, modules", at, count),
            beside=lambda merged, files: _beside(spec, run, plan, merged, files),
        )
    return _finish(spec, run, plan, done, time.monotonic() - begun)


def _beside(
    spec: MergeSpec, run: Run, plan: AdapterPlan, done: AdapterMerge, files: Mapping[str, bytes]
) -> dict[str, bytes]:
    """What the folder holds beside the adapter; the run's record of the merge is written before the folder appears."""
    hashes = json.loads((run.folder / "provenance.json").read_text(encoding="utf-8"))["inputs"]
    adapters = _adapters(plan)
    parents = [CardParent(a.name, licence_of(a.folder), (hashes[str(Path(a.name))],)) for a in adapters]
    texts = licence_texts({adapter.name: (adapter.folder,) for adapter in adapters})
    card = model_card(
        spec.recipe,
        parents,
        name=done.folder.absolute().name,
        version=metadata.version("ikyoku"),
        seed=spec.seed,
        coverage=f"{plan.coverage}. {done.loss()}",
        notes=plan.notes,
        texts=texts,
    )
    run.rewrite(
        "modules", ({"module": name, "rank": done.ranks.get(name, 0), "lost": done.lost[name]} for name in done.lost)
    )
    run.rewrite(
        "shards",
        (
            {"file": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in files.items()
        ),
    )
    return {**texts, **notice(parents), "README.md": card.encode(), RECIPE: recipe_yaml(spec.recipe).encode()}


def _finish(spec: MergeSpec, run: Run, plan: AdapterPlan, done: AdapterMerge, seconds: float) -> dict[str, Any]:
    files, out = run.records("shards"), done.folder
    result = {
        "out": str(out.relative_to(run.folder)) if out.is_relative_to(run.folder) else str(out.absolute()),
        "bytes": done.bytes,
        "tensors": 2 * sum(rank > 0 for rank in done.ranks.values()),
        "merged": sum(rank > 0 for rank in done.ranks.values()),
        "lost": round(done.mean_lost, 6),
        "seconds": round(seconds, 2),
        "sha256": {file["file"]: file["sha256"] for file in files},
    }
    page = merging_page(
        name=spec.name,
        coverage=f"{plan.coverage}; {done.loss().rstrip('.')}",
        notes=plan.notes,
        parents=[_row(plan, adapter) for adapter in _adapters(plan)],
        shards=files,
        result=result,
        recipe=recipe_yaml(spec.recipe),
        provenance=json.loads((run.folder / "provenance.json").read_text(encoding="utf-8")),
        spec_text=to_yaml(spec),
    )
    run.write("summary.html", page)
    return result


def dry_run(spec: MergeSpec) -> str:
    """Returns what a merge of adapters would do."""
    plan = _plan(spec)
    out = _out(spec, Path("RUN"))
    place = Path(spec.out).expanduser() if spec.out else Path("out")
    if spec.out:
        check_free(place)
    free = check_room(place, plan.bytes)
    found = [_row(plan, adapter) for adapter in _adapters(plan)]
    rows = [f"{row['model']}: {row['modules']} modules, rank {row['rank']} ({row['role']})" for row in found]
    return "\n".join(
        [
            f"method     {plan.method.name}: {plan.method.title} ({plan.method.reference})",
            *(f"{'' if i else 'adapters':<10} {told}" for i, told in enumerate(rows)),
            f"base       {plan.base_model}",
            f"modules    {plan.coverage}",
            *(f"note       {note}" for note in plan.notes),
            f"output     {out}: {plan.dtype}, at most {plan.bytes / 10**6:,.2f} MB; {free / 10**9:,.2f} GB free",
        ]
    )


def _plan(spec: MergeSpec) -> AdapterPlan:
    if spec.into:
        raise SpecError("into: adapters are merged into an adapter. Write BASE+ADAPTER to merge whole models.")
    return plan_adapters(spec.recipe, seed=spec.seed)


def _out(spec: MergeSpec, run: Path) -> Path:
    return output_folder(spec, run, "adapter")


def _adapters(plan: AdapterPlan) -> list[Adapter]:
    return [*([plan.base] if plan.base else []), *plan.parents]


def _row(plan: AdapterPlan, adapter: Adapter) -> dict[str, Any]:
    ranks = sorted({module.rank for module in adapter.modules.values()})
    return {
        "model": adapter.name,
        "role": "base" if adapter is plan.base else "parent",
        "modules": len(adapter.modules),
        "rank": " and ".join(map(str, ranks)),
    }
