"""Chest X-rays in, Japanese draft reports out: a record, a page, a DICOM SR and a FHIR report a study."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ikyoku.checkpoints.room import check_free
from ikyoku.datasets.worklists import COPY_MARK, StudyFiles, read_studies
from ikyoku.errors import DataError, RunError, SpecError
from ikyoku.interchange import drafts_csv
from ikyoku.jobs.drafts import (
    Viewed,
    drafted,
    drafts_of,
    hand_over,
    made_of,
    model_record,
    recipe_file,
    refused,
    view_study,
)
from ikyoku.models.base import Model
from ikyoku.models.checks import check_adapter, check_folder
from ikyoku.models.vision import check_sight, open_vision_model
from ikyoku.pages import reports_page
from ikyoku.prompts import PromptFormat, report_prompt
from ikyoku.runs import Run, spec_hash
from ikyoku.specfile import read_format
from ikyoku.specs import ReportSpec
from ikyoku.types import SamplingParams

_SHARED = ("drafts.csv", "sr", "fhir")
"""What a copy for other systems holds."""


def inputs(spec: ReportSpec) -> dict[str, Path]:
    """Returns the files and folders that the result depends on, after checking them: a run starts on good input.

    Images go by their study's id: the record of a run holds no name of a patient's file.
    """
    check_folder(spec.model.path)
    check_sight(spec.model.path, trust_remote_code=spec.model.trust_remote_code)
    if spec.model.adapter:
        check_adapter(spec.model.adapter)
    read_format(spec.format)
    if spec.recipe and not Path(spec.recipe).expanduser().is_file():
        raise SpecError(f"recipe: {spec.recipe}: no such file. Name the YAML file that the model was merged by.")
    if spec.out and not _is_ours(spec.model_dump(mode="json"), out := Path(spec.out).expanduser()):
        check_free(out)
    found = {str(Path(name)): Path(name).expanduser() for name in (spec.model.path, spec.model.adapter) if name}
    found = {name: folder for name, folder in found.items() if folder.is_dir()}
    if recipe := recipe_file(spec):
        found["recipe"] = recipe
    for study in _studies(spec):
        readable = [path for path in study.files if os.access(path, os.R_OK)]  # of the others the draft is refused
        found |= {f"{study.id}, file {number}": path for number, path in enumerate(readable, 1)}
    return found


def report(spec: ReportSpec, run: Run) -> dict[str, Any]:
    """Drafts the reports of all studies that have none yet; returns the run's result.

    A study that cannot be read is recorded as refused, with the reason, and the others go on.
    """
    studies = _studies(spec)
    done = {record["id"] for record in run.records("drafts")}
    author = model_record(spec, run)
    if recipe := recipe_file(spec):
        run.write("recipe.yaml", recipe.read_text(encoding="utf-8", errors="replace"))
    if any(study.id not in done for study in studies):
        run.progress("loading the model", len(done), len(studies))
        model, size = _opened(spec)
        for records in _drafts(spec, run, studies, done, model, size, author):
            run.append("drafts", records)
            done |= {record["id"] for record in records}
            run.progress("drafting", len(done), len(studies))
    return _finish(spec, run, studies)


def _drafts(
    spec: ReportSpec,
    run: Run,
    studies: Sequence[StudyFiles],
    done: set[str],
    model: Model,
    size: int,
    author: Mapping[str, Any],
) -> Iterator[list[dict[str, Any]]]:
    """Yields new records, a batch at a time.

    A batch is always asked whole, so that its replies do not depend on what an interruption left of it.
    """
    form = read_format(spec.format)
    params = SamplingParams(max_new_tokens=spec.max_new_tokens, stop=form.stop)
    for batch in (studies[start : start + size] for start in range(0, len(studies), size)):
        if all(study.id in done for study in batch):
            continue
        viewed, records = _viewed(spec, batch, author)
        prompts = [report_prompt(each.pictures, form, instruction=spec.instruction) for each in viewed]
        completions = model.generate(prompts, params) if prompts else []
        for each, completion in zip(viewed, completions, strict=True):
            if each.study.id in done:
                continue
            if completion.finish == "too_long":
                reason = "its pictures do not fit the model's context; show fewer views, or shorten the instruction"
                records.append(refused(each.study, reason, model=author))
            else:
                records.append(hand_over(spec, run, drafted(each, completion, model=author), each))
        made = {record["id"]: record for record in records}
        yield [made[study.id] for study in batch if study.id not in done]


def _viewed(
    spec: ReportSpec, batch: Sequence[StudyFiles], author: Mapping[str, Any]
) -> tuple[list[Viewed], list[dict[str, Any]]]:
    """The studies of a batch that can be read, and the records of those that cannot."""
    viewed, records = [], []
    for study in batch:
        try:
            viewed.append(view_study(study, views=spec.views))
        except DataError as error:
            records.append(refused(study, str(error), model=author))
    return viewed, records


def _opened(spec: ReportSpec) -> tuple[Model, int]:
    """The model, and how many studies are put to it at a time."""
    model = open_vision_model(
        spec.model.path,
        name=spec.model.name,
        adapter=spec.model.adapter,
        dtype=spec.model.dtype,
        quantization=spec.model.quantization,
        trust_remote_code=spec.model.trust_remote_code,
        batch_size=None if spec.batch_size == "auto" else spec.batch_size,
    )
    return model, model.batch_size


def dry_run(spec: ReportSpec) -> str:
    """Returns what would be drafted by whom, and the first prompt; no weights are loaded and nothing is written."""
    inputs(spec)
    studies = _studies(spec)
    form = read_format(spec.format)
    outputs = {"sr": f"DICOM SR in {spec.character_set}", "fhir": "FHIR DiagnosticReport"}
    whose = "without patient and study" if spec.deidentified else "with the patient and study that the image declares"
    lines = [
        f"model     {spec.model.name} ({spec.model.path})",
        f"studies   {len(studies)} with {sum(len(study.files) for study in studies)} files; {_shown_views(spec)}",
        *(f"refused   {study.id}: {study.fault}" for study in studies if study.fault),
        f"reply     at most {spec.max_new_tokens} tokens each",
        f"writes    {', '.join(['table and pages', *(outputs[each] for each in spec.outputs)])}; {whose}",
    ]
    for study in studies:
        try:
            viewed = view_study(study, views=spec.views)
        except DataError as error:
            if not study.fault:
                lines.append(f"refused   {study.id}: {error}")
            continue
        return "\n".join([*lines, *_first_prompt(viewed, form, spec.instruction)])
    return "\n".join([*lines, "", "No study can be read."])


def _shown_views(spec: ReportSpec) -> str:
    return "every view is shown" if spec.views == "all" else "the first frontal view is shown"


def _first_prompt(viewed: Viewed, form: PromptFormat, instruction: str) -> list[str]:
    prompt = report_prompt(viewed.pictures, form, instruction=instruction)
    text = prompt.text or "\n".join(f"[{m.role}] {'<image>' * len(m.images)}{m.content}" for m in prompt.messages)
    sizes = ", ".join(f"{p.pixels.shape[1]} x {p.pixels.shape[0]} ({p.sha256[:12]})" for p in prompt.pictures)
    return [f"picture   {sizes}", "", f"First prompt ({form.name}, {viewed.study.id}):", "", text]


def _studies(spec: ReportSpec) -> tuple[StudyFiles, ...]:
    return read_studies([Path(path).expanduser() for path in spec.studies])


def _finish(spec: ReportSpec, run: Run, studies: Sequence[StudyFiles]) -> dict[str, Any]:
    """Writes what is of all studies together, in their order."""
    known = {record["id"]: record for record in run.records("drafts")}
    records = [known[study.id] for study in studies]
    run.write("drafts.csv", drafts_csv(records))
    made = made_of(spec, {"model": records[0]["model"]})
    run.write("summary.html", reports_page(name=spec.name, drafts=drafts_of(run.folder, records), made=made))
    if spec.out:
        _hand_on(run, Path(spec.out).expanduser())
    return {
        "studies": len(records),
        **{f"{state}s" if state == "draft" else state: sum(r["state"] == state for r in records) for state in _STATES},
        "sr": sum(bool(record.get("sr")) for record in records),
        "fhir": sum(bool(record.get("fhir")) for record in records),
        "contradicting": sum(bool(record.get("contradictions")) for record in records),
        "reasons": {record["id"]: record["reason"] for record in records if record["state"] == "refused"},
    }


_STATES = ("draft", "empty", "refused")


def _is_ours(spec: Mapping[str, Any], out: Path) -> bool:
    """Whether a folder holds the copy of a run of this very spec."""
    try:
        return (out / COPY_MARK).read_text(encoding="utf-8").strip() == spec_hash(spec)
    except (OSError, UnicodeDecodeError):
        return False


def _hand_on(run: Run, out: Path) -> None:
    """Copies what other systems take to a folder of the user's, whole or not at all."""
    if not _is_ours(run.spec, out):
        check_free(out)
    aside = out.with_name(f".{out.name}.part")
    try:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True, mode=0o700)
        for name in _SHARED:
            source = run.folder / name
            if source.is_dir():
                shutil.copytree(source, aside / name)
            elif source.is_file():
                shutil.copy2(source, aside / name)
        (aside / COPY_MARK).write_text(spec_hash(run.spec) + "\n", encoding="utf-8")
        if out.is_dir():
            shutil.rmtree(out)
        aside.replace(out)
    except OSError as error:
        raise RunError(f"{out}: cannot be written: {error.strerror}. Name another folder in out.") from None
