"""`ikyoku data …` on the command line: translate reports, copy DICOM files without their patients' names."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ikyoku.console import go_offline, progress_bars, read_spec, start, tell
from ikyoku.errors import DataError, IkyokuError, SpecError, together

if TYPE_CHECKING:
    from collections.abc import Sequence

app = typer.Typer(help="Prepare data: translate reports, de-identify images.", no_args_is_help=True)


@app.command()
def translate(
    spec_file: Annotated[Path | None, typer.Argument(help="YAML spec.", show_default=False)] = None,
    data: Annotated[
        str | None, typer.Option("--data", help="English reports: a file, or a data set's folder.", show_default=False)
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="Model folder, hub id or http://…/v1.", show_default=False)
    ] = None,
    served: Annotated[
        str | None, typer.Option("--served", help="With a server: its name for the model.", show_default=False)
    ] = None,
    keep_faulty: Annotated[bool, typer.Option("--keep-faulty", help="Also give faulty reports out as pairs.")] = False,
    reviewed: Annotated[
        Path | None,
        typer.Option("--reviewed", help="The review.csv that a reviewer has filled in.", show_default=False),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option("--run", help="With --reviewed: the run's folder; else the sheet's own.", show_default=False),
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Lay a value over the spec.")
    ] = None,
    runs: Annotated[Path, typer.Option("--runs", help="Folder of run folders.")] = Path("runs"),
    new: Annotated[bool, typer.Option("--new", help="Start another run beside the one of this spec.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, print the first prompt.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for programs.")] = False,
    online: Annotated[bool, typer.Option("--online", help="Allow the network, for hub ids.")] = False,
) -> None:
    """Translate English chest X-ray reports into Japanese, check them back, and take in a reviewer's sheet."""
    given: dict[str, Any] = {"data": data} if data else {}
    given |= {"keep_faulty": True} if keep_faulty else {}
    if model:
        given["model"] = {"path": model} | ({"endpoint": {"served": served}} if served else {})
    elif served:
        raise SpecError("--served: goes with --model. In a spec it stands beside the model's path.")
    if run and not reviewed:
        raise SpecError("--run: goes with --reviewed.")
    if reviewed:
        if given or spec_file:
            raise SpecError("--reviewed: the run holds all else. Leave the other options out, or name it with --run.")
        _take_in(reviewed, run or reviewed.parent, as_json)
        return
    from ikyoku.specs import TranslateSpec

    spec = read_spec(TranslateSpec, spec_file, given, overrides)
    if dry_run:
        go_offline(online)
        from ikyoku.jobs import translate as job

        told = job.dry_run(spec)
        typer.echo(told)
        if "\nnot ready " in told:
            raise typer.Exit(2)
        return
    done = start(spec, runs, new, online)
    tell(done, as_json, f"{_told(done.result)}\nsheet: {done.folder / 'review.csv'}")


def _take_in(sheet: Path, folder: Path, as_json: bool) -> None:
    go_offline(online=False)
    from ikyoku.jobs.translations import apply_reviews

    result = apply_reviews(folder, sheet)
    if as_json:
        typer.echo(json.dumps({"run": str(folder), "result": result}, ensure_ascii=False))
        return
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in result.get("reviewed", {}).items())
    if corrections := result.get("corrections", {}):
        again = "; ".join(f"{name} ({', '.join(kinds)})" for name, kinds in corrections.items() if kinds) or "no fault"
        verdicts += f"\ncorrected texts checked back: {len(corrections)}, {again}"
    typer.echo(f"{_told(result)}\nreviewed: {verdicts}\npairs: {folder / 'pairs.jsonl'}")


def _told(result: dict[str, Any]) -> str:
    kinds = ", ".join(f"{kind} {count}" for kind, count in result["faults"].items()) or "none"
    return f"{result['reports']} reports, {result['faulty']} with faults ({kinds}), {result['pairs']} pairs"


@app.command()
def deidentify(
    source: Annotated[Path, typer.Argument(help="DICOM file, or a folder of them.", show_default=False)],
    out: Annotated[Path, typer.Argument(help="Folder for the copies.", show_default=False)],
    secret_variable: Annotated[
        str | None,
        typer.Option(
            "--secret-variable",
            help="Environment variable with a secret of 16 characters or more: the same one keeps patients and studies "
            "together over several calls. By default one is drawn for this call and forgotten.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for programs.")] = False,
) -> None:
    """Copy chest radiographs without what names their patients; files get new names. Exits with 2 if any failed."""
    go_offline(online=False)
    secret = os.environ.get(secret_variable, "") if secret_variable else secrets.token_hex(32)
    if secret_variable and not secret:
        raise SpecError(f"--secret-variable: the environment variable {secret_variable} is empty.")
    files = _files(source, out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{out}: cannot be made: {error.strerror}. Name another folder.") from None
    faults, warned, written = _copy_all(files, out, secret)
    if as_json:
        told = {"files": len(files), "written": written, "failed": faults, "warnings": warned}
        typer.echo(json.dumps(told, ensure_ascii=False))
    else:
        for line in warned:
            typer.echo(f"warning: {line}", err=True)
        if faults:
            typer.echo(together(faults, most=len(faults)), err=True)
        typer.echo(f"{written} of {len(files)} files written to {out}, {len(faults)} failed, {len(warned)} warnings")
    if faults:
        raise typer.Exit(2)


def _files(source: Path, out: Path) -> list[Path]:
    if not source.exists():
        raise DataError(f"{source}: no such file or folder.")
    if source.is_file():
        return [source]
    inside = out.resolve()
    files = sorted(p for p in source.rglob("*") if p.is_file() and inside not in p.resolve().parents)
    if not files:
        raise DataError(f"{source}: holds no file.")
    return files


def _copy_all(files: Sequence[Path], out: Path, secret: str) -> tuple[list[str], list[str], int]:
    """Returns what failed with the reasons, what is warned of, and how many copies were written."""
    from ikyoku.dicom.deidentify import write_deidentified

    faults: list[str] = []
    warned: list[str] = []
    written = 0
    with progress_bars() as progress:
        for number, path in enumerate(files, 1):
            try:
                # a source's own name may hold a patient's number
                digest = hmac.new(secret.encode(), path.read_bytes(), hashlib.sha256).hexdigest()
                made = write_deidentified(path, out / f"{digest[:16]}.dcm", secret=secret)
                warned += [f"{path}: {warning}" for warning in made.warnings]
                written += 1
            except SpecError:
                raise
            except IkyokuError as error:
                faults.append(str(error))
            except OSError as error:
                faults.append(f"{path}: cannot be read: {error.strerror}.")
            progress("de-identifying", number, len(files))
    return faults, warned, written
