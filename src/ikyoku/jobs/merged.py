"""What the merges of models and of adapters share: where the output lies, whether it is there, what goes with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ikyoku.licences import combined
from ikyoku.model_card import CardParent
from ikyoku.recipe import recipe_yaml
from ikyoku.runs import Run, sha256_of
from ikyoku.specs import MergeSpec

RECIPE = "mergekit_config.yml"
"""The recipe's name in an output folder, which is mergekit's."""


def output_folder(spec: MergeSpec, run: Path, kind: str) -> Path:
    """Returns where the output of a spec lies, by default in the run's folder."""
    return Path(spec.out).expanduser() if spec.out else run / "artifact" / kind


def may_be_ours(spec: MergeSpec, out: Path) -> bool:
    """Returns whether an output that is there may be that of this very spec: its run will tell."""
    try:
        return (out / RECIPE).read_text(encoding="utf-8") == recipe_yaml(spec.recipe)
    except (OSError, UnicodeDecodeError):
        return False


def is_written(run: Run, out: Path) -> bool:
    """Returns whether the output of this run got its name, and only the run's own end is missing.

    The files are read again: another run may have written a folder of this name since, with files of the same sizes.
    """
    wanted = {out / shard["file"]: shard for shard in run.records("shards")}
    return bool(wanted) and all(
        path.is_file() and path.stat().st_size == shard["bytes"] and sha256_of(path) == shard["sha256"]
        for path, shard in wanted.items()
    )


def notice(parents: Sequence[CardParent]) -> dict[str, bytes]:
    """Returns the file NOTICE that the parents' licences want, by its name; none where they want none."""
    lines = combined(licence for parent in parents for licence in parent.licences).notices
    return {"NOTICE": "".join(f"{line}\n" for line in lines).encode()} if lines else {}
