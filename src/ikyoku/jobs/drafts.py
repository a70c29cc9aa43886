"""From a study's files to its draft: what the model is shown, what is made of its reply, what is written of it."""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from ikyoku import images
from ikyoku.datasets.worklists import StudyFiles
from ikyoku.dicom.files import write_bytes
from ikyoku.errors import DataError
from ikyoku.findings import FINDINGS, labels, read_report, split_sections
from ikyoku.interchange import (
    DRAFT_MARK,
    SourceStudy,
    deidentified,
    diagnostic_report,
    draft_of,
    file_name,
    jp_core_faults,
    plain_text,
    read_source,
    report_sr,
)
from ikyoku.interchange.draft import SIDES
from ikyoku.jobs.merged import RECIPE
from ikyoku.metrics.dangers import DangerousError, contradictions
from ikyoku.metrics.language import is_japanese
from ikyoku.pages import study_page
from ikyoku.pictures import ReadPicture, read_picture
from ikyoku.prompts import MOST_PIXELS
from ikyoku.runs import Run, to_json
from ikyoku.specs import ReportSpec
from ikyoku.types import Completion, Picture

_LONGEST_PICTURE, _LONGEST_THUMBNAIL = 1600, 320  # pixels of the longer side, on a study's page and in the list
_VIEWS = {"frontal": 0, "": 1, "lateral": 2}
_CLASHES = {
    "denied": ("「あり」と「なし」の両方が書かれています", "both affirmed and denied"),
    "normal": ("「異常なし」と書かれていますが所見があります", "a finding beside “normal”"),
    "sides": ("所見と診断で左右が異なります", "another side in 診断 than in 所見"),
}


@dataclass(frozen=True, slots=True)
class Viewed:
    """A study as the model is shown it: the pictures with their files, and what is to be said of the others."""

    study: StudyFiles
    shown: tuple[tuple[Path, ReadPicture], ...]
    warnings: tuple[str, ...]

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """The pictures of the prompt, as large as a search and a tuning show them."""
        return tuple(
            read.picture
            if max(read.picture.pixels.shape) <= MOST_PIXELS
            else images.picture(images.fit(read.picture.pixels, MOST_PIXELS))
            for _, read in self.shown
        )


def view_study(study: StudyFiles, *, views: str) -> Viewed:
    """Returns a study's pictures: the first frontal view, or with "all" every one that can be read, frontal first.

    Raises:
        DataError: none of the files can be read as a chest X-ray, with the reason of each, without their names.
    """
    if study.fault:
        raise DataError(study.fault)
    read: list[tuple[Path, ReadPicture]] = []
    faults: list[str] = []
    for number, path in enumerate(study.files, 1):
        try:
            read.append((path, read_picture(path)))
        except DataError as error:
            reason = str(error).removeprefix(f"{path}: ")
            faults.append(f"file {number}: {reason}" if len(study.files) > 1 else reason)
    if not read:
        raise DataError("; ".join(faults))
    read.sort(key=lambda each: _VIEWS[each[1].header.view if each[1].header else ""])
    shown = tuple(read if views == "all" else read[:1])
    notes = [warning for _, each in shown for warning in each.warnings]
    notes += [f"別の画像は読めませんでした（{fault}）" for fault in faults]
    if len(shown) < len(read):
        notes.append(f"{len(read)}枚のうち正面像1枚だけをモデルに見せました")
    return Viewed(study, shown, tuple(dict.fromkeys(notes)))


def model_record(spec: ReportSpec, run: Run) -> dict[str, Any]:
    """Returns who writes, as every draft records it; the hashes were taken when the run began."""
    known = json.loads((run.folder / "provenance.json").read_text(encoding="utf-8"))
    hashes, hub = known["inputs"], known.get("hub", {})
    parts = [str(Path(part)) for part in (spec.model.path, spec.model.adapter) if part]
    found = [hashes[part] for part in parts if part in hashes]
    whole = found[0] if len(found) == 1 else hashlib.sha256("\n".join(found).encode()).hexdigest()
    recipe = recipe_file(spec)
    return {
        "name": spec.model.name,
        "version": metadata.version("ikyoku"),
        "sha256": whole if len(found) == len(parts) else "",
        "commit": hub.get(spec.model.path) or "",
        "recipe_sha256": hashlib.sha256(recipe.read_bytes()).hexdigest() if recipe else "",
    }


def recipe_file(spec: ReportSpec) -> Path | None:
    """Returns the recipe that the model was merged by: the one that is named, or that lies in its folder."""
    if spec.recipe:
        return Path(spec.recipe).expanduser()
    beside = Path(spec.model.path).expanduser() / RECIPE
    return beside if beside.is_file() else None


def refused(study: StudyFiles, reason: str, *, model: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the record of a study of which no draft is made."""
    return {"id": study.id, "state": "refused", "reason": reason} | _always(model)


def drafted(viewed: Viewed, completion: Completion, *, model: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the record of a study's draft: the reply, its sections, what the labeler and the checks find in it.

    A model that writes no impression leaves it empty: none is made up from the labels.
    """
    text = plain_text(completion.text)
    read = read_report(text)
    findings, impression = split_sections(text)
    notes = list(viewed.warnings)
    if completion.finish == "length":
        notes.append("文章が最大長に達したため、途中で切れている可能性があります")
    if text and not is_japanese(text):
        notes.append("日本語だけの文章ではありません")
    found = [
        {
            "name": each.name,
            "japanese": FINDINGS[each.name].japanese,
            "certainty": each.certainty,
            "side": each.side,
            "sites": sorted(each.sites),
            "change": each.change,
            "section": each.section,
            "start": each.start,
            "end": each.end,
        }
        for each in read.findings
    ]
    return {
        "id": viewed.study.id,
        "state": "draft" if text else "empty",
        "text": text,
        "findings": findings,
        "impression": impression,
        "found": found,
        "labels": labels(read),
        "contradictions": [_clash(each) for each in contradictions(read)],
        "images": [_image(each) for _, each in viewed.shown],
        "reply": completion.text,
        "finish": completion.finish,
        "tokens": completion.tokens,
        "warnings": notes,
    } | _always(model)


def _always(model: Mapping[str, Any]) -> dict[str, Any]:
    created = datetime.now().astimezone().isoformat(timespec="seconds")
    return {"mark": DRAFT_MARK, "created": created, "model": dict(model)}


def _image(read: ReadPicture) -> dict[str, Any]:
    header = read.header
    return {
        "sha256": read.picture.sha256,
        "file_sha256": read.file_sha256,
        "kind": read.kind,
        "modality": header.modality if header else "",
        "view": header.view_position if header else "",
    }


def _clash(error: DangerousError) -> dict[str, Any]:
    japanese, english = _CLASHES[error.detail]
    name = FINDINGS[error.finding].japanese
    side = f"（{SIDES[error.side]}）" if error.side else ""
    return {
        "finding": error.finding,
        "side": error.side,
        "detail": error.detail,
        "text": f"{name}{side}：{japanese}",
        "english": f"{error.finding.replace('_', ' ')}{f' ({error.side})' if error.side else ''}: {english}",
        "spans": [list(span) for span in error.hypothesis],
    }


def hand_over(spec: ReportSpec, run: Run, record: dict[str, Any], viewed: Viewed) -> dict[str, Any]:
    """Writes a draft's files and returns its record with their places; why one was not written is among its warnings.

    Nothing of the patient is in the record or on the page. It is in SR and FHIR, in folders that only the owner reads.
    """
    name = file_name(record["id"])
    found = record | {"page": f"studies/{name}.html", "sr": "", "fhir": ""}
    if record["state"] == "draft" and spec.outputs:
        found |= _exchanged(spec, run, record, viewed, name)
    shown = [(_caption(read), png_uri(read.picture, _LONGEST_PICTURE)) for _, read in viewed.shown]
    _folder(run, "studies")
    run.write(found["page"], study_page(found, pictures=shown, made=made_of(spec, record)))
    thumbnail = _folder(run, "thumbnails") / f"{name}.png"
    write_bytes(thumbnail, _png(images.fit(viewed.shown[0][1].picture.pixels, _LONGEST_THUMBNAIL)))
    return found


def _exchanged(spec: ReportSpec, run: Run, record: dict[str, Any], viewed: Viewed, name: str) -> dict[str, Any]:
    """Writes SR and FHIR; returns what changes in the record."""
    found: dict[str, Any] = {"warnings": list(record["warnings"])}
    try:
        source = read_source([path for path, _ in viewed.shown])
    except DataError as error:
        found["warnings"].append(f"SRとFHIRは作成していません（{error}）")
        return found
    if source and source.unread:
        found["warnings"].append(f"画像の次の値は読めないため、SRとFHIRでは空欄です：{', '.join(source.unread)}")
    if source and spec.deidentified:
        source = deidentified(source)
    draft = draft_of(record)
    if "fhir" in spec.outputs:
        bundle = diagnostic_report(draft, source)
        if faults := jp_core_faults(bundle):
            found["warnings"].append(f"FHIRは作成していません（{'; '.join(faults)}）")
        else:
            _folder(run, "fhir", private=True)
            run.write(f"fhir/{name}.json", to_json(bundle))
            found["fhir"] = f"fhir/{name}.json"
    if "sr" in spec.outputs:
        found |= _structured(spec, run, draft, source, name, found["warnings"])
    return found


def _structured(
    spec: ReportSpec, run: Run, draft: Any, source: SourceStudy | None, name: str, notes: list[str]
) -> dict[str, Any]:
    """Writes the SR, where there is a study that it can be filed under."""
    if source is None:
        notes.append("画像がDICOMではないため、SRは作成していません")
        return {}
    try:
        data = report_sr(draft, source, character_set=spec.character_set)
    except DataError as error:
        notes.append(f"SRは作成していません（{error}）")
        return {}
    write_bytes(_folder(run, "sr", private=True) / f"{name}.dcm", data)
    return {"sr": f"sr/{name}.dcm"}


def _caption(read: ReadPicture) -> str:
    header = read.header
    return " ".join(filter(None, (header.modality, header.view_position))) if header else read.kind.upper()


def made_of(spec: ReportSpec, record: Mapping[str, Any]) -> dict[str, str]:
    """Returns how a draft was made, for its page: no path of this machine, nothing of the patient."""
    model = record["model"]
    return {
        "モデル": model["name"],
        "重み SHA-256": model["sha256"] or model["commit"],
        "レシピ SHA-256": model["recipe_sha256"],
        "画像 SHA-256": " ".join(image["sha256"] for image in record.get("images", ())),
        "ikyoku": model["version"],
        "書式": Path(spec.format).stem,
        "指示": spec.instruction,
        "作成日時": record.get("created", ""),
        "語数": f"{record['tokens']} / {spec.max_new_tokens} tokens" if "tokens" in record else "",
        "注意": "医療機器ではありません。診断には必ず医師が画像を確認してください。",
    }


def drafts_of(
    folder: Path, records: Sequence[Mapping[str, Any]], *, at: str = "", most_bytes: int = 24_000_000
) -> list[dict[str, Any]]:
    """Returns a run's records with their thumbnails, as `pages.report_cards` takes them.

    Args:
        folder: of the run.
        records: of its drafts.jsonl.
        at: the run's folder as the page that shows them has to name it, "" for the run's own page.
        most_bytes: that the thumbnails may take in a page; the records after that are without.
    """
    found, left = [], most_bytes
    for record in records:
        entry, path = dict(record), folder / "thumbnails" / f"{file_name(record['id'])}.png"
        if record["state"] != "refused" and path.is_file() and path.stat().st_size * 4 // 3 <= left:
            entry["thumbnail"] = _uri(data := path.read_bytes())
            left -= len(data) * 4 // 3
        if at and entry.get("page"):
            entry["page"] = f"{at.rstrip('/')}/{entry['page']}"
        found.append(entry)
    return found


def png_uri(picture: Picture, longest: int) -> str:
    """Returns a picture as a PNG in a data URI, its longer side at most `longest` pixels."""
    return _uri(_png(images.fit(picture.pixels, longest)))


def _uri(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode('ascii')}"


def _png(pixels: Any) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def _folder(run: Run, name: str, *, private: bool = False) -> Path:
    """A folder of the run; a private one is for its owner only."""
    path = run.folder / name
    path.mkdir(mode=0o700 if private else 0o777, exist_ok=True)
    return path
