"""What the verbs of the command line share: specs out of files and options, progress bars, what is printed."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ikyoku.errors import SpecError

if TYPE_CHECKING:
    from ikyoku.jobs import Finished
    from ikyoku.runs import Progress
    from ikyoku.specfile import AnySpec
    from ikyoku.specs import Spec

_PACE = 1800.0  # seconds from which the time left is told: a candidate of a large model takes minutes


def check_file(path: Path) -> None:
    """Refuses a file that could not be written, before the work for it is done."""
    if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise SpecError(f"{path}: cannot be written. Name a file in a folder that is there and can be written to.")


def read_spec(kind: type[AnySpec], path: Path | None, given: Mapping[str, Any], overrides: list[str] | None) -> AnySpec:
    """The spec of a file, or of the options where there is none, with --set laid over it."""
    from ikyoku.specfile import load, override, parse

    if path:
        if given:
            raise SpecError(
                f"{', '.join(given)}: given beside {path}. Change a spec with --set, for example --set data=FILE."
            )
        return load(kind, path, overrides or [])
    return parse(kind, override(given, overrides or []), source="options")


def start(spec: Spec, runs: Path, new: bool, online: bool) -> Finished:
    """Does what a spec asks, under a progress bar."""
    go_offline(online)
    from ikyoku import jobs

    with progress_bars() as progress:
        return jobs.start(spec, root=runs, new=new, online=online, progress=progress)


def go_offline(online: bool) -> None:
    """Switches the network guard on, or with `online` only telemetry off."""
    from ikyoku import offline

    offline.switch_off_telemetry() if online else offline.switch_on()


def tell(done: Finished, as_json: bool, text: str) -> None:
    """Prints what a run came to, for a person or as JSON, and where its folder is."""
    if as_json:
        typer.echo(json.dumps({"run": str(done.folder), "result": done.result}, ensure_ascii=False))
        return
    typer.echo(text)
    again = " (finished before; --new runs it again)" if done.before else ""
    typer.echo(f"\nrun: {done.folder}{again}\npage: {done.folder / 'summary.html'}")


Encoder = Annotated[
    str | None, typer.Option("--bertscore", help="Folder of an encoder: adds BERTScore.", show_default=False)
]
Layer = Annotated[
    int | None, typer.Option("--layer", min=1, help="Layer of it; by default three quarters up.", show_default=False)
]
Judge = Annotated[
    str | None, typer.Option("--judge", help="Model folder or server: adds its counts of errors.", show_default=False)
]
Served = Annotated[str | None, typer.Option("--served", help="The judge's name on that server.", show_default=False)]


def scored(run: Path, bertscore: str | None, layer: int | None, judge: str | None, served: str | None) -> Any:
    """Returns the scores of a run, computed anew, under a progress bar."""
    from ikyoku.jobs.score import score
    from ikyoku.specfile import parse
    from ikyoku.specs import ModelSpec

    if layer is not None and not bertscore:
        raise SpecError("--layer: goes with --bertscore.")
    server = bool(judge) and str(judge).startswith(("http://", "https://"))
    if bool(served) != server:
        raise SpecError("--served: goes with --judge and a server's address, such as http://localhost:8000/v1.")
    told = {"path": judge} | ({"endpoint": {"served": served}} if served else {})
    asked = parse(ModelSpec, told, source="--judge") if judge else None
    with progress_bars() as progress:
        return score(run, bertscore=bertscore, layer=layer, judge=asked, progress=progress)


def scored_text(run: Path, scores: Mapping[str, Any]) -> str:
    """Returns the table of what `scored` gave."""
    from ikyoku.tables import report_scores_text

    return report_scores_text(scores) if "report_tests" in scores else table(run)


def table(folder: Path) -> str:
    """Returns the table of a finished evaluation as text."""
    from ikyoku.pages import evaluation_table

    return evaluation_table(json.loads((folder / "scores.json").read_text(encoding="utf-8")))


@contextmanager
def progress_bars() -> Iterator[Progress]:
    """A progress bar per kind of work, on a terminal; nothing elsewhere."""
    from ikyoku.runs import silent

    if not sys.stderr.isatty():
        yield silent
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),  # a label may hold brackets
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), speed_estimate_period=_PACE) as bars:
        tasks: dict[str, Any] = {}

        def progress(what: str, done: int, total: int) -> None:
            key = what.split(",")[0].split(" · ")[0]
            if key not in tasks:
                tasks[key] = bars.add_task(what, total=total)
            bars.update(tasks[key], description=what, completed=done, total=total)

        yield progress
