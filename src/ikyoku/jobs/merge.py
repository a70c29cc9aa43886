"""A recipe in, one checkpoint out: read, merged and written tensor by tensor."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from ikyoku.assembly.adapters import merges_adapters
from ikyoku.assembly.output import output_files
from ikyoku.assembly.plan import MergePlan, TensorPlan, plan_merge
from ikyoku.assembly.stream import memory_needed, merged_tensors
from ikyoku.checkpoints import Checkpoint, model_folder
from ikyoku.checkpoints.room import check_free, check_room, size_in_bytes
from ikyoku.checkpoints.writer import CheckpointWriter, sweep
from ikyoku.errors import IkyokuError, ModelError, SpecError
from ikyoku.jobs import merge_adapters
from ikyoku.jobs.merged import RECIPE, is_written, may_be_ours, notice, output_folder
from ikyoku.licences import combined
from ikyoku.model_card import CardParent, licence_of, licence_texts, model_card
from ikyoku.pages import merging_page
from ikyoku.recipe import model_reference, recipe_yaml
from ikyoku.runs import Run
from ikyoku.specfile import to_yaml
from ikyoku.specs import MergeSpec


def inputs(spec: MergeSpec) -> dict[str, Path]:
    """Returns the folders that the result depends on, after checking them: a run starts on good input."""
    if merges_adapters(spec.recipe):
        return merge_adapters.inputs(spec)
    plan = _plan(spec)
    _device(spec)
    if spec.out and not may_be_ours(spec, out := _out(spec, Path())):
        check_free(out)
        check_room(out, plan.bytes)
    found = {part: model_folder(part) for model in plan.parents for part in model_reference(model.name) if part}
    tokenizer, template = plan.vocabulary.source, spec.recipe.chat_template or ""
    if tokenizer not in found.values():
        found[str(tokenizer)] = tokenizer
    if template.endswith(".jinja"):
        found[template] = Path(template).expanduser()
    return {str(Path(name)): place for name, place in found.items()}


def merge(spec: MergeSpec, run: Run) -> dict[str, Any]:
    """Writes the checkpoint of a spec, after the shards that an interrupted run finished; returns the run's result."""
    if merges_adapters(spec.recipe):
        return merge_adapters.merge(spec, run)
    begun = time.monotonic()
    plan = _plan(spec)
    out = _out(spec, run.folder)
    if is_written(run, out):
        sweep(out)
    else:
        try:
            check_free(out)
            check_room(out, plan.bytes)
            _write(spec, run, plan, out)
        except IkyokuError:
            with suppress(OSError):
                (run.folder / "artifact").rmdir()  # only where it is empty: nothing stays of what was refused
            raise
    return _finish(spec, run, plan, out, time.monotonic() - begun)


def dry_run(spec: MergeSpec) -> str:
    """Returns what a spec would do, after checking all that can be checked without reading weights."""
    if merges_adapters(spec.recipe):
        return merge_adapters.dry_run(spec)
    plan = _plan(spec)
    out = _out(spec, Path("RUN"))
    place = Path(spec.out).expanduser() if spec.out else Path("out")
    if spec.out:
        check_free(place)
    free = check_room(place, plan.bytes)
    output_files(plan)
    method = next(tensor.method for tensor in plan.tensors if tensor.method)
    terms = combined(licence for model in plan.parents for licence in _licences(model))
    lines = [
        f"method     {method.name}: {method.title} ({method.reference})",
        *(f"{'parents' if not i else '':<10} {_described(plan, i)}" for i in range(len(plan.parents))),
        f"tensors    {plan.coverage}",
        *(f"licence    {sentence}" for sentence in terms.sentences),
        *(f"note       {note}" for note in plan.notes),
        f"output     {out}: {len(plan.tensors)} tensors, {_gb(plan.bytes)}, {_formats(plan)}, {plan.layers} layers",
        f"tokenizer  of {plan.vocabulary.source}"
        + (", with the tokens of all models" if plan.vocabulary.built else ""),
        f"memory     about {_gb(memory_needed(plan))}",
        f"disk       {_gb(plan.bytes)} to write, {_gb(free)} free",
        "",
        "First tensors:",
        *(_first(tensor) for tensor in plan.tensors[:8]),
    ]
    return "\n".join(lines)


def _plan(spec: MergeSpec) -> MergePlan:
    plan = plan_merge(spec.recipe, into=spec.into, seed=spec.seed)
    into = plan.parents[plan.into]
    if "auto_map" in into.config and not spec.trust_remote_code:
        raise SpecError(
            f"into: {into.name} is loaded with Python code that comes with it, and the output would be too. "
            "Say trust_remote_code: true to take the code along; merging does not run it."
        )
    output_files(plan)
    return plan


def _write(spec: MergeSpec, run: Run, plan: MergePlan, out: Path) -> None:
    files = output_files(plan) | _beside(spec, run, plan, out)
    asked = {key: value for key, value in run.spec.items() if key not in ("name", "out")}
    work = json.dumps([asked, _inputs(run), metadata.version("ikyoku")], sort_keys=True)
    tensors = [(tensor.name, tensor.shape, tensor.dtype) for tensor in plan.tensors]
    done, total = 0, plan.bytes // 10**6
    with CheckpointWriter(out, tensors, shard_size=size_in_bytes(spec.shard_size), key=work) as writer:
        pending = writer.pending()
        sizes = {tensor.name: tensor.bytes for tensor in plan.tensors}
        done = plan.bytes - sum(sizes[name] for name in pending)
        try:
            with closing(merged_tensors(plan, pending, device=_device(spec), progress=run.progress)) as made:
                for name, tensor in made:
                    writer.write(name, tensor)
                    done += sizes[name]
                    run.progress("merging, MB", done // 10**6, total)
        except ModelError:
            writer.discard()
            raise
        shards = writer.flush()
        writer.add(files)
        run.rewrite("shards", (asdict(shard) for shard in shards))
        writer.finish()


def _finish(spec: MergeSpec, run: Run, plan: MergePlan, out: Path, seconds: float) -> dict[str, Any]:
    shards = run.records("shards")
    result = {
        "out": str(out.relative_to(run.folder)) if out.is_relative_to(run.folder) else str(out.absolute()),
        "bytes": plan.bytes,
        "tensors": len(plan.tensors),
        "merged": sum(tensor.method is not None for tensor in plan.tensors),
        "seconds": round(seconds, 2),
        "sha256": {shard["file"]: shard["sha256"] for shard in shards},
    }
    provenance = json.loads((run.folder / "provenance.json").read_text(encoding="utf-8"))
    page = merging_page(
        name=spec.name,
        coverage=plan.coverage,
        notes=plan.notes,
        parents=[_row(plan, i) for i in range(len(plan.parents))],
        shards=shards,
        result=result,
        recipe=recipe_yaml(spec.recipe),
        provenance=provenance,
        spec_text=to_yaml(spec),
    )
    run.write("summary.html", page)
    return result


def _beside(spec: MergeSpec, run: Run, plan: MergePlan, out: Path) -> dict[str, bytes]:
    """The recipe, the model card, and what the parents' licences want to go with the model."""
    hashes = _inputs(run)
    texts = licence_texts({model.name: _folders(model) for model in plan.parents})
    parents = [
        CardParent(
            model.name,
            _licences(model),
            tuple(hashes[str(Path(part))] for part in model_reference(model.name) if part),
        )
        for model in plan.parents
    ]
    card = model_card(
        spec.recipe,
        parents,
        name=out.absolute().name,
        version=metadata.version("ikyoku"),
        into=plan.parents[plan.into].name,
        seed=spec.seed,
        coverage=f"{plan.coverage}.",
        notes=plan.notes,
        texts=texts,
    )
    return {**texts, **notice(parents), "README.md": card.encode(), RECIPE: recipe_yaml(spec.recipe).encode()}


def _folders(model: Checkpoint) -> tuple[Path, ...]:
    """Where a model lies, and the adapter in it."""
    return tuple(model_folder(part) for part in model_reference(model.name) if part)


def _licences(model: Checkpoint) -> tuple[str, ...]:
    """What the folders of a model, and of the adapter in it, state."""
    return licence_of(*_folders(model))


def _inputs(run: Run) -> dict[str, str]:
    """The hashes of the models, which were taken when the run began."""
    found = json.loads((run.folder / "provenance.json").read_text(encoding="utf-8"))["inputs"]
    return dict(found)


def _out(spec: MergeSpec, run: Path) -> Path:
    return output_folder(spec, run, "model")


def _device(spec: MergeSpec) -> str:
    import torch

    there = torch.cuda.is_available()
    if spec.device == "cuda" and not there:
        raise SpecError("device: cuda, and there is no CUDA device here. Say device: cpu.")
    return "cuda" if there and spec.device != "cpu" else "cpu"


def _row(plan: MergePlan, index: int) -> dict[str, Any]:
    model = plan.parents[index]
    return {
        "model": model.name,
        "role": " and ".join(_roles(plan, model, index)),
        "dtype": model.dtype,
        "bytes": model.bytes,
        "layers": model.layers,
    }


def _roles(plan: MergePlan, model: Checkpoint, index: int) -> Iterator[str]:
    if any(tensor.base and tensor.base.parent == index for tensor in plan.tensors):
        yield "base"
    if any(one.parent == index for tensor in plan.tensors if tensor.method for one in tensor.inputs):
        yield "parent"
    if index == plan.into:
        yield "what the output is built on"


def _described(plan: MergePlan, index: int) -> str:
    row = _row(plan, index)
    licence = ", ".join(_licences(plan.parents[index])) or "licence not stated"
    return f"{row['model']}: {row['dtype']}, {_gb(row['bytes'])}, {row['layers']} layers, {licence} ({row['role']})"


def _formats(plan: MergePlan) -> str:
    return ", ".join(sorted({tensor.dtype for tensor in plan.tensors}))


def _first(tensor: TensorPlan) -> str:
    shape = " x ".join(map(str, tensor.shape))
    if tensor.method is None:
        return f"  {tensor.name} ({shape}): copied"
    shared = ", ".join(f"{key} {value}" for key, value in tensor.shared.items())
    each = " | ".join(", ".join(f"{key} {value:g}" for key, value in one.items()) for one in tensor.each)
    return f"  {tensor.name} ({shape}): {'; '.join(part for part in (shared, each) if part)}"


def _gb(size: int) -> str:
    return f"{size / 10**9:,.2f} GB" if size >= 10**8 else f"{size / 10**6:,.2f} MB"
