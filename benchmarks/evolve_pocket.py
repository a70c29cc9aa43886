"""An evolution from nothing: pocket parents made here, 200 candidates, and what came out on the untouched test.

    python benchmarks/evolve_pocket.py                 # parents, CMA-ES and random search, 200 candidates each
    python benchmarks/evolve_pocket.py --quick         # tiny parents, 6 candidates, to see that it works

Makes the pocket parents of `ikyoku.lab.parents` (each knows a part of what the pocket exam asks), writes the exam's
development and test splits, and runs `ikyoku evolve` on them: the same as a user's own run. The table compares the
winner with the base, each parent alone, the uniform merge and random search's winner, all on the test split.

The last line is a JSON object with all figures.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from material import machine, say

import ikyoku
from ikyoku.lab.parents import make_parents, write_exams
from ikyoku.specs import CandidateParentSpec, EvolveSpec, ExamSpec, FitnessSpec, SearchSpec, SpaceSpec


def main(arguments: Sequence[str] | None = None) -> None:
    """Makes the parents, searches, and prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--method", default="task_arithmetic", help="merge method (default: %(default)s)")
    parser.add_argument("--metric", default="likelihood", choices=("likelihood", "probability", "extracted_accuracy"))
    parser.add_argument("--trials", type=int, default=200, help="candidates of each search (default: %(default)s)")
    parser.add_argument("--runs", type=Path, help="folder of the run (default: a new one below the temporary one)")
    parser.add_argument(
        "--cache", type=Path, default=Path("~/.cache/ikyoku").expanduser(), help="folder of the parents"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="tiny parents, 6 candidates")
    asked = parser.parse_args(arguments)
    size, trials = ("tiny", 6) if asked.quick else ("pocket", asked.trials)
    runs = asked.runs or Path(tempfile.mkdtemp(prefix="ikyoku-evolve-"))
    seconds: dict[str, float] = {}
    began = time.perf_counter()
    made = make_parents(size, seed=asked.seed, cache=asked.cache)
    seconds["parents"] = round(time.perf_counter() - began, 1)
    dev, test = write_exams(made, runs / "exam")
    spec = EvolveSpec(
        name=size,
        base=str(made.base),
        parents=tuple(CandidateParentSpec(path=str(path), label=name) for name, path in made.parents.items()),
        method=asked.method,
        space=SpaceSpec(weight=(0.0, 1.5), scale=None if asked.method == "jradievo" else (0.0, 2.0)),
        fitness=(FitnessSpec(exam=ExamSpec(path=str(dev)), metric=asked.metric),),
        test=(ExamSpec(path=str(test)),),
        search=SearchSpec(trials=trials, seed=asked.seed),
        batch_size=32,
        max_new_tokens=24,
    )
    began = time.perf_counter()
    done = ikyoku.evolve(spec, root=runs)
    seconds["evolve"] = round(time.perf_counter() - began, 1)
    scores: dict[str, Any] = json.loads((done.folder / "scores.json").read_text(encoding="utf-8"))
    from ikyoku.tables.evolution import evolution_text

    say(evolution_text(scores))
    say(f"page: {done.folder / 'summary.html'}")
    (tested,) = scores["tests"]
    line = {
        "name": "evolve",
        "test": {each["system"]: each["accuracy"] for each in tested["systems"]},
        "pairs": tested["pairs"],
        "winner": scores["winner"],
        "states": {each["search"]: each["states"] for each in scores["searches"]},
        "seconds": seconds,
        "machine": machine(SimpleNamespace(num_parameters=lambda: None, dtype="float32")),
    }
    say(json.dumps(line, ensure_ascii=False))


if __name__ == "__main__":
    main()
