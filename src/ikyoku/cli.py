"""The command line: one short function per verb. It reads a spec, lays `--set` over it, calls the job, prints.

Exit codes: 0 done; 1 a fault of ikyoku's own; 2 something the user can mend; 130 interrupted (the same command
continues).
"""

from __future__ import annotations

import errno
import json
import re
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ikyoku import console
from ikyoku.cli_data import app as data_app
from ikyoku.console import check_file, go_offline, progress_bars, read_spec, start, table, tell
from ikyoku.errors import IkyokuError, RunError, SpecError

if TYPE_CHECKING:
    from ikyoku.specs import MergeSpec

app = typer.Typer(
    help="ikyoku (医局): make, measure and run Japanese medical language models on your own machine.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    add_completion=False,
)

app.add_typer(data_app, name="data")

_NOT_OURS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ENOSPC, errno.EDQUOT)
"""What a path of the user's can refuse us, wherever it is noticed."""

SpecFile = Annotated[Path | None, typer.Argument(help="YAML spec; examples/ has one per verb.", show_default=False)]
Overrides = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Lay a value over the spec.")]
Runs = Annotated[Path, typer.Option("--runs", help="Folder of run folders.")]
New = Annotated[bool, typer.Option("--new", help="Start another run beside the one of this spec.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check everything, print the plan and the first sample.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object for programs.")]
Online = Annotated[
    bool, typer.Option("--online", help="Allow the network, for hub ids that are not in the local cache.")
]
Model = Annotated[str | None, typer.Option("--model", help="Model folder or hub id.", show_default=False)]


@app.callback(invoke_without_command=True)
def about(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    """Make, measure and run Japanese medical language models on your own machine."""
    if version:
        from importlib import metadata

        typer.echo(f"ikyoku {metadata.version('ikyoku')}")
        raise typer.Exit


@app.command()
def tune(
    spec_file: SpecFile = None,
    model: Model = None,
    data: Annotated[str | None, typer.Option("--data", help="Instruction pairs, JSONL.", show_default=False)] = None,
    overrides: Overrides = None,
    runs: Runs = Path("runs"),
    new: New = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    online: Online = False,
) -> None:
    """Tune a base model on instruction pairs: LoRA or QLoRA adapters."""
    from ikyoku.specs import TuneSpec

    given: dict[str, Any] = {"model": {"path": model}} if model else {}
    spec = read_spec(TuneSpec, spec_file, given | ({"data": data} if data else {}), overrides)
    if dry_run:
        go_offline(online)
        from ikyoku.jobs import tune as job

        typer.echo(job.dry_run(spec))
        return
    done = start(spec, runs, new, online)
    tell(done, as_json, f"adapter: {done.folder / done.result['adapter']}")


@app.command()
def evaluate(
    spec_file: SpecFile = None,
    model: Model = None,
    adapter: Annotated[str | None, typer.Option("--adapter", help="Adapter folder.", show_default=False)] = None,
    served: Annotated[
        str | None,
        typer.Option("--served", help="With --model http://…/v1: the server's name for the model.", show_default=False),
    ] = None,
    exams: Annotated[list[str] | None, typer.Option("--exam", help="Exam file or folder; may be repeated.")] = None,
    formats: Annotated[
        list[str] | None, typer.Option("--format", help="Prompt format or template file; may be repeated.")
    ] = None,
    quantization: Annotated[
        Literal["none", "nf4", "int8"],
        typer.Option("--quantization", help="nf4: load base and adapter as QLoRA trained them."),
    ] = "none",
    overrides: Overrides = None,
    runs: Runs = Path("runs"),
    new: New = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    online: Online = False,
) -> None:
    """Ask exams of models and print one table: extraction, the studies' three metrics, likelihood."""
    from ikyoku.specs import EvaluateSpec

    given: dict[str, Any] = {"formats": formats} if formats else {}
    beside = {"--adapter": adapter, "--served": served, "--quantization": quantization != "none"}
    if (lone := [name for name, value in beside.items() if value]) and not model:
        raise SpecError(f"{', '.join(lone)}: goes with --model. In a spec it stands beside the model's path.")
    if model:  # what tuning adds shows only beside the base
        loaded: dict[str, Any] = {"path": model, "quantization": quantization}
        loaded |= {"endpoint": {"served": served}} if served else {}
        given["models"] = [loaded, loaded | {"adapter": adapter}] if adapter else [loaded]
    if exams:
        given["exams"] = [{"path": path} for path in exams]
    spec = read_spec(EvaluateSpec, spec_file, given, overrides)
    if dry_run:
        go_offline(online)
        from ikyoku.jobs import evaluate as job

        told = job.dry_run(spec)
        typer.echo(told)
        if any(line.startswith(job.NOT_READY) for line in told.splitlines()):
            raise typer.Exit(2)
        return
    done = start(spec, runs, new, online)
    tell(done, as_json, table(done.folder))


@app.command()
def merge(
    recipe: Annotated[Path, typer.Argument(help="Recipe, mergekit's YAML; or a spec.", show_default=False)],
    out: Annotated[Path | None, typer.Argument(help="New folder for the checkpoint.", show_default=False)] = None,
    into: Annotated[
        str | None,
        typer.Option("--into", help="Model that the output is built on, such as a VLM.", show_default=False),
    ] = None,
    overrides: Overrides = None,
    runs: Runs = Path("runs"),
    new: New = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    online: Online = False,
) -> None:
    """Merge models by a recipe into one checkpoint; language models also into a vision-language model's."""
    spec = _merge_spec(recipe, out, into, overrides or [])
    if dry_run:
        go_offline(online)
        from ikyoku.jobs import merge as job

        typer.echo(job.dry_run(spec))
        return
    done = start(spec, runs, new, online)
    place = done.folder / done.result["out"]
    if done.before and not place.is_dir():
        raise RunError(f"{place}: the run {done.folder} wrote it, and it is gone since. Write it again with --new.")
    tell(done, as_json, f"checkpoint: {place}")


def _merge_spec(path: Path, out: Path | None, into: str | None, overrides: list[str]) -> MergeSpec:
    """The spec of a recipe, whose keys --set may name too, or of a spec's file."""
    from ikyoku.specfile import override, parse, read_yaml
    from ikyoku.specs import MergeSpec
    from ikyoku.specs.base import NAME

    values: dict[str, Any] = read_yaml(path)
    if "recipe" not in values:
        named = {"name": path.stem} if re.fullmatch(NAME, path.stem) else {}
        values = {"recipe": values} | named
        known = MergeSpec.model_fields
        overrides = [text if re.split(r"[.=]", text)[0] in known else f"recipe.{text}" for text in overrides]
    values |= {key: str(value) for key, value in (("out", out), ("into", into)) if value is not None}
    return parse(MergeSpec, override(values, overrides), source=str(path))


@app.command()
def evolve(
    spec_file: SpecFile = None,
    join: Annotated[
        bool, typer.Option("--join", help="Help a search that another process began; needs search.storage.")
    ] = False,
    overrides: Overrides = None,
    runs: Runs = Path("runs"),
    new: New = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    online: Online = False,
) -> None:
    """Search for the best merge of several models on development questions, and test it on untouched ones."""
    from ikyoku.specs import EvolveSpec

    spec = read_spec(EvolveSpec, spec_file, {}, overrides)
    if dry_run:
        go_offline(online)
        from ikyoku.jobs import evolve as job

        typer.echo(job.dry_run(spec))
        return
    if join:
        from ikyoku.jobs.join import join as help_with

        with progress_bars() as progress:
            done = help_with(spec, root=runs, online=online, progress=progress)
        tell(done, as_json, ", ".join(f"{name}: {count} candidates" for name, count in done.result["joined"].items()))
        return
    done = start(spec, runs, new, online)
    from ikyoku.pages import evolution_text

    tell(done, as_json, evolution_text(json.loads((done.folder / "scores.json").read_text(encoding="utf-8"))))


@app.command()
def report(
    studies: Annotated[
        list[str],
        typer.Argument(help="X-rays, folders of studies, worklists (.csv); or one YAML spec.", show_default=False),
    ],
    model: Model = None,
    adapter: Annotated[str | None, typer.Option("--adapter", help="Adapter folder.", show_default=False)] = None,
    recipe: Annotated[
        str | None, typer.Option("--recipe", help="Recipe the model was merged by, for the record.", show_default=False)
    ] = None,
    form: Annotated[str | None, typer.Option("--format", help="Prompt format or template file.")] = None,
    out: Annotated[
        str | None, typer.Option("--out", help="New folder for a copy of drafts.csv, SR and FHIR.", show_default=False)
    ] = None,
    deidentified: Annotated[
        bool, typer.Option("--deidentified", help="Leave patient and study out of SR and FHIR.")
    ] = False,
    overrides: Overrides = None,
    runs: Runs = Path("runs"),
    new: New = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    online: Online = False,
) -> None:
    """Draft Japanese reports of chest X-rays. Exit code 2 where a study was refused; the others are drafted."""
    from ikyoku.specs import ReportSpec

    file = Path(studies[0]) if len(studies) == 1 and studies[0].endswith((".yaml", ".yml")) else None
    beside = {"recipe": recipe, "format": form, "out": out, "deidentified": deidentified}
    given: dict[str, Any] = {key: value for key, value in beside.items() if value}
    if adapter and not model:
        raise SpecError("--adapter: goes with --model. In a spec it stands beside the model's path.")
    given |= {"model": {"path": model} | ({"adapter": adapter} if adapter else {})} if model else {}
    given |= {} if file else {"studies": studies}
    spec = read_spec(ReportSpec, file, given, overrides)
    if dry_run:
        go_offline(online)
        from ikyoku.jobs import report as job

        typer.echo(job.dry_run(spec))
        return
    done = start(spec, runs, new, online)
    found = done.result
    lines = [f"{found['drafts']} drafts of {found['studies']} studies, all unverified: a physician must check them"]
    lines += [f"{found['empty']} empty replies"] * bool(found["empty"])
    lines += [f"{found['contradicting']} drafts contradict themselves"] * bool(found["contradicting"])
    lines += [f"refused {name}: {reason}" for name, reason in found["reasons"].items()]
    tell(done, as_json, "\n".join(lines))
    if found["refused"]:
        raise typer.Exit(2)


@app.command()
def score(
    run: Annotated[Path, typer.Argument(help="Folder of a finished evaluate or evolve run.", show_default=False)],
    bertscore: console.Encoder = None,
    layer: console.Layer = None,
    judge: console.Judge = None,
    served: console.Served = None,
    as_json: AsJson = False,
) -> None:
    """Compute scores anew from saved replies, without a model; for an evolve run's reports other metrics too."""
    found = console.scored(run, bertscore, layer, judge, served)
    typer.echo(json.dumps(found, ensure_ascii=False) if as_json else console.scored_text(run, found))


@app.command()
def compare(
    run_a: Annotated[Path, typer.Argument(help="Folder of a finished evaluate run.", show_default=False)],
    run_b: Annotated[Path, typer.Argument(help="Folder of another one.", show_default=False)],
    page: Annotated[Path | None, typer.Option("--page", help="Also write the comparison as a page to a file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare two evaluations by paired tests on the questions that both asked."""
    from ikyoku.jobs.compare import compare as job
    from ikyoku.pages import comparison_page, comparison_text
    from ikyoku.runs import write_atomically

    if page:
        check_file(page)
    found = job(run_a, run_b)
    if page:
        write_atomically(page, comparison_page(name=f"{found['a']} / {found['b']}", comparison=found))
    typer.echo(json.dumps(found, ensure_ascii=False) if as_json else comparison_text(found))


@app.command()
def demo(
    size: Annotated[
        Literal["tiny", "pocket"], typer.Option("--size", help="tiny: the mechanism; pocket: the effect.")
    ] = "pocket",
    reports: Annotated[
        bool, typer.Option("--reports", help="The third study: phantom X-rays, a search for a merge, Japanese drafts.")
    ] = False,
    overrides: Overrides = None,
    runs: Runs = Path("runs"),
    new: New = False,
    as_json: AsJson = False,
) -> None:
    """Make two pocket models on this machine, evaluate them, tune them, evaluate them again. No download."""
    from ikyoku.specs import DemoSpec

    given: dict[str, Any] = {"size": size} | ({"reports": True, "name": "pocket-reports"} if reports else {})
    done = start(read_spec(DemoSpec, None, given, overrides), runs, new, online=False)
    if reports:
        from ikyoku.pages import evolution_text

        found = json.loads((done.folder / done.result["evolution"] / "scores.json").read_text(encoding="utf-8"))
        tell(done, as_json, evolution_text(found))
        return
    tell(done, as_json, table(done.folder / done.result["evaluation"]))


@app.command()
def lab(
    folder: Annotated[Path, typer.Argument(help="New folder for phantoms, reports and models.")] = Path("lab/xray"),
    size: Annotated[
        Literal["tiny", "pocket"], typer.Option("--size", help="tiny: the mechanism; pocket: the effect.")
    ] = "pocket",
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of everything that is random.")] = 0,
    cache: Annotated[Path, typer.Option("--cache", help="Where made models are kept.")] = Path("~/.cache/ikyoku"),
) -> None:
    """Make phantom X-rays with reports, and the pocket models of the third study. No download."""
    go_offline(False)
    from ikyoku.lab.xray import make_xray_lab

    with progress_bars() as progress:
        make_xray_lab(size, seed=seed, folder=folder, cache=cache.expanduser(), progress=progress)
    typer.echo(f"lab: {folder}\nnext: ikyoku evolve examples/pocket-jradievo.yaml")


@app.command()
def doctor(
    offline: Annotated[bool, typer.Option("--offline", help="Prove that nothing leaves this machine.")] = False,
    out: Annotated[Path | None, typer.Option("--out", help="Also write the statement to a file.")] = None,
) -> None:
    """Check this machine. With --offline: run a small job under the network guard and print what it refused."""
    if not offline:
        raise SpecError("doctor: say what to check. At present: --offline.")
    if out:
        check_file(out)
    from ikyoku.jobs import doctor as job
    from ikyoku.runs import write_atomically

    proof = job.offline_proof(say=lambda line: typer.echo(line, err=True))
    statement = job.render(proof)
    if out:
        write_atomically(out, statement)
    typer.echo(statement)
    if proof.verdict != "PASS":
        raise typer.Exit(1)


def main() -> None:
    """Runs the command line and turns what went wrong into a paragraph and an exit code."""
    try:
        app()
    except IkyokuError as error:
        typer.echo(f"ikyoku: {error}", err=True)
        raise SystemExit(error.exit_code) from None
    except SystemExit as stop:  # typer makes this of a KeyboardInterrupt
        if stop.code == 130:
            typer.echo("\nikyoku: interrupted. The same command (without --new) continues where it stopped.", err=True)
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _NOT_OURS and error.filename:
            typer.echo(f"ikyoku: {error.filename}: {error.strerror}. Give another path, or mend this one.", err=True)
            raise SystemExit(2) from None
        # a fault of ours: one line for the user, the traceback in a file
        with tempfile.NamedTemporaryFile("w", prefix="ikyoku-", suffix=".txt", delete=False, encoding="utf-8") as file:
            traceback.print_exc(file=file)
        typer.echo(f"ikyoku: a fault of ikyoku's own ({type(error).__name__}). Please report {file.name}.", err=True)
        raise SystemExit(1) from None
