"""The merge of LoRA adapters of one base with one another: what `ikyoku merge` does where the models are adapters."""

from __future__ import annotations

import json
import shutil
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from ikyoku.adapters import CONFIG, WEIGHTS, Adapter
from ikyoku.assembly import adapters as adapter_merge
from ikyoku.assembly.adapters import AdapterPlan, plan_adapters
from ikyoku.checkpoints.writer import check_free, check_room
from ikyoku.errors import SpecError
from ikyoku.model_card import CardParent, licence_of, model_card
from ikyoku.pages import merging_page
from ikyoku.recipe import recipe_yaml
from ikyoku.runs import Run, sha256_of, write_atomically
from ikyoku.specfile import to_yaml
from ikyoku.specs import MergeSpec

RECIPE = "mergekit_config.yml"


def inputs(spec: MergeSpec) -> dict[str, Path]:
    """Returns the adapters' folders, after checking them."""
    plan = _plan(spec)
    out = _out(spec, Path())
    if spec.out and not (out / RECIPE).is_file():
        check_free(out)
        check_room(out, plan.bytes)
    return {str(Path(adapter.name)): adapter.folder for adapter in _adapters(plan)}


def merge(spec: MergeSpec, run: Run) -> dict[str, Any]:
    """Writes the merged adapter; returns the run's result."""
    begun = time.monotonic()
    plan = _plan(spec)
    out = _out(spec, run.folder)
    if not spec.out:
        shutil.rmtree(out, ignore_errors=True)  # of this run, when it was ended before its own end
    done = adapter_merge.merge_adapters(
        plan, out, progress=lambda module, at, count: run.progress("merging, modules", at, count)
    )
    hashes = json.loads((run.folder / "provenance.json").read_text(encoding="utf-8"))["inputs"]
    files = [{"file": name, "bytes": (out / name).stat().st_size, "sha256": sha256_of(out / name)} for name in _FILES]
    parents = [CardParent(a.name, licence_of(a.folder), (hashes[str(Path(a.name))],)) for a in _adapters(plan)]
    card = model_card(
        spec.recipe,
        parents,
        name=out.absolute().name,
        version=metadata.version("ikyoku"),
        seed=spec.seed,
        coverage=f"{plan.coverage}. {done.loss()}",
        notes=plan.notes,
    )
    write_atomically(out / "README.md", card)
    write_atomically(out / RECIPE, recipe_yaml(spec.recipe))
    result = {
        "out": str(out.relative_to(run.folder)) if out.is_relative_to(run.folder) else str(out.absolute()),
        "bytes": done.bytes,
        "tensors": 2 * len(done.ranks),
        "merged": len(done.ranks),
        "lost": round(done.mean_lost, 6),
        "seconds": round(time.monotonic() - begun, 2),
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


_FILES = (WEIGHTS, CONFIG)


def _plan(spec: MergeSpec) -> AdapterPlan:
    if spec.into:
        raise SpecError("into: adapters are merged into an adapter. Write BASE+ADAPTER to merge whole models.")
    return plan_adapters(spec.recipe, seed=spec.seed)


def _out(spec: MergeSpec, folder: Path) -> Path:
    return Path(spec.out).expanduser() if spec.out else folder / "artifact" / "adapter"


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
