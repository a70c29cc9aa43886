"""Candidates per minute of a search on images: as the released study evaluates them, and as `ikyoku evolve` does.

    ikyoku lab lab/xray                                  # once: phantoms and pocket models
    python benchmarks/bench_evolve.py                    # 40 candidates searched, 8 of them timed in every way
    python benchmarks/bench_evolve.py --quick LAB        # 6 and 2, to see that it works

The peer is the released study's way of judging a candidate: each image by itself, through the vision tower every time,
all of them to the end. It runs here in our own process with our own merge, so that only the judging differs: batches
of images, features of the frozen tower kept across candidates, and candidates stopped once they are clearly worse are
added one after the other. Timed are the same candidates in every way, evenly spaced over one search by CMA-ES; their
replies have to be the same. The last line is a JSON object with the ratios.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from material import machine, say

import ikyoku
from ikyoku.jobs.demo_reports import search
from ikyoku.jobs.evolution import Evolution, evolution
from ikyoku.jobs.fitness import Judged, ask
from ikyoku.jobs.systems import Live
from ikyoku.models.features import FeatureCache
from ikyoku.runs import read_records

WAYS = {
    "one by one, tower each time": (1, False),
    "in batches": (0, False),
    "in batches, features kept": (0, True),
}
"""Batch size (0: the spec's) and whether features of images are kept."""
PEER, FULL = "one by one, tower each time", "in batches, features kept, losers stopped"


def main(arguments: Sequence[str] | None = None) -> None:
    """Searches, times some of the candidates in every way, prints a table and the ratios."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("lab", type=Path, nargs="?", default=Path("lab/xray"), help="folder of `ikyoku lab`")
    parser.add_argument("--candidates", type=int, default=40, help="of the search (default: %(default)s)")
    parser.add_argument("--timed", type=int, default=8, help="of them timed in every way (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="6 candidates, 2 of them timed")
    asked = parser.parse_args(arguments)
    trials, timed = (6, 2) if asked.quick else (asked.candidates, asked.timed)
    spec = search(asked.lab, trials=trials, seed=asked.seed).model_copy(update={"test_reports": ()})
    done = ikyoku.evolve(spec, root=Path(tempfile.mkdtemp(prefix="ikyoku-bench-evolve-")))
    lines = [line for line in read_records(done.folder / "candidates.jsonl") if line["duplicate_of"] is None]
    chosen = lines[:: max(1, len(lines) // timed)][:timed]
    ready = evolution(spec)
    seconds = {FULL: [line["seconds"] for line in chosen]}
    replies: dict[str, list[list[Judged]]] = {}
    differing: dict[str, int] = {}
    for name, (batch, kept) in WAYS.items():
        seconds[name], replies[name] = timed_candidates(ready, chosen, batch=batch or spec.batch_size, kept=kept)
        differing[name] = differing_replies(replies[PEER], replies[name])
        say(f"{name}: {differing[name]} replies differ from those written one by one")
    told = {name: statistics.mean(values) for name, values in seconds.items()}
    for name, each in sorted(told.items(), key=lambda item: -item[1]):
        say(f"{name:45} {each:8.2f} s  {60 / each:8.1f} candidates a minute  {told[PEER] / each:6.1f}x")
    pruned = sum(line["state"] == "pruned" for line in lines)
    say(f"{len(lines)} candidates searched, {pruned} of them stopped early; {len(chosen)} timed in every way")
    result = {
        "name": "evolve",
        "images": len(ready.fitness.search),
        "candidates": len(lines),
        "stopped": pruned,
        "timed": len(chosen),
        "differing_replies": differing,
        "candidates_per_minute": {name: round(60 / each, 2) for name, each in told.items()},
        "ratios": {name: round(told[PEER] / each, 2) for name, each in told.items() if name != PEER},
        "machine": machine(SimpleNamespace(num_parameters=lambda: None, dtype="float32")),
    }
    say(json.dumps(result, ensure_ascii=False))


def timed_candidates(
    ready: Evolution, chosen: Sequence[Mapping[str, Any]], *, batch: int, kept: bool
) -> tuple[list[float], list[list[Judged]]]:
    """Returns the seconds that each candidate took, and what was judged; loading and a first candidate do not count."""
    live = Live(ready, FeatureCache() if kept else None, progress=lambda *_: None)
    seconds, found = [], []
    for number, line in enumerate([chosen[0], *chosen]):
        began = time.perf_counter()
        model = live.become(ready.merge_plan(ready.recipe(line["values"])))
        judged = [
            one
            for part in ask(model, ready.fitness.search, batch_size=batch, max_new_tokens=ready.spec.max_new_tokens)
            for one in part
        ]
        if number:  # the first warms up, and fills the cache as the first of a search does
            seconds.append(time.perf_counter() - began)
            found.append(judged)
    return seconds, found


def differing_replies(peer: Sequence[Sequence[Judged]], ours: Sequence[Sequence[Judged]]) -> int:
    """Returns how many replies differ: a faster way that writes something else would be no faster way."""
    pairs = ((a.text, b.text) for x, y in zip(peer, ours, strict=True) for a, b in zip(x, y, strict=True))
    return sum(a != b for a, b in pairs)


if __name__ == "__main__":
    main()
