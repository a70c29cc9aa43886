"""From a parameter vector to a live model: ikyoku's resident candidate beside mergekit's merge and reload.

    python benchmarks/bench_candidate.py --mergekit ENVIRONMENT/bin/python     # a quarter of an hour on two cores
    python benchmarks/bench_candidate.py --quick                               # tiny models, to see that it works
    python benchmarks/bench_candidate.py --device cuda --billions 8            # four parents of 8B, resident on a GPU

Both work in one warm process each, on the three parents and the base of `bench_merge.py` (random Llamas of 250 M
parameters in bfloat16, files in the page cache). mergekit merges to disk and loads the result; ikyoku writes into the
model that is already there: `in place`, or into a second one that is then copied over (`with a copy`). Every candidate
has other weights and densities. What ikyoku needs once (reading, order statistics, compiling) is given apart.

`of_limit` is the share of the time in which the memory could at best deliver the same bytes (base and parents read
once, the model written once) at the bandwidth of a plain copy in the same process.

With --device cuda there is no peer: the parents are random numbers made on the device, four of the shape of an 8B
model, and the seconds of a candidate are given.

The last line is a JSON object with all figures.
"""

from __future__ import annotations

import argparse
import json
import statistics
import struct
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import prod
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bench_merge import SHAPE, SMALL, models_for, shapes
from material import machine, say

from ikyoku.assembly.plan import MergePlan, plan_merge, read_inputs, reparametrised
from ikyoku.candidate import ResidentParents
from ikyoku.merging import merge_tensor
from ikyoku.models.loading import load_weights
from ikyoku.specs import RecipeSpec

METHODS = ("ties", "dare_ties", "linear", "jradievo")
PARENTS = "abcdefgh"
LLAMA_8B = {"hidden": 4096, "inner": 14336, "layers": 32, "vocabulary": 128_256}


def recipe(method: str, models: Path, number: int, *, parents: int = 3) -> dict[str, Any]:
    """Returns the recipe of the candidate with this number."""
    rows = []
    for i in range(parents):
        share = (number * 0.37 + i * 0.21) % 1
        row = {"weight": round(0.2 + 0.8 * share, 3)}
        if method != "linear":
            row["density"] = round(0.3 + 0.6 * ((share + 0.4) % 1), 3)
        rows.append({"model": str(models / PARENTS[i]), "parameters": row})
    base = {} if method == "linear" else {"base_model": str(models / "base")}
    shared = {"parameters": {"drop": 0.3}} if method == "jradievo" else {}
    return {"merge_method": method, "models": rows, "dtype": "bfloat16", **base, **shared}


def laid_out(method: str, models: Path, number: int, *, parents: int = 3) -> RecipeSpec:
    """Returns the same, checked."""
    return RecipeSpec.model_validate(recipe(method, models, number, parents=parents))


class Peer:
    """mergekit in a warm process of its own."""

    def __init__(self, python: str, scratch: Path) -> None:
        worker = Path(__file__).with_name("mergekit_worker.py")
        self._scratch = scratch
        self._process = subprocess.Popen(  # noqa: S603 the user names it
            [python, str(worker)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._answer()

    def _answer(self) -> dict[str, float]:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise SystemExit("mergekit's process ended; is --mergekit the Python of its environment?")
        return dict(json.loads(line))

    def seconds(self, method: str, models: Path, number: int) -> float:
        """Returns how long a merge and a load take."""
        path = self._scratch / f"{method}-{number}.yaml"
        path.write_text(json.dumps(recipe(method, models, number)), encoding="utf-8")
        if self._process.stdin:
            self._process.stdin.write(f"{path}\n")
            self._process.stdin.flush()
        return sum(self._answer().values())

    def close(self) -> None:
        """Ends the process."""
        if self._process.stdin:
            self._process.stdin.close()
        self._process.wait()


def timed(action: Callable[[], Any]) -> float:
    """Returns the seconds that something takes, on a GPU until it is done there."""
    import torch

    began = time.perf_counter()
    action()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


def bandwidth(device: str) -> float:
    """Returns the bytes that are read and written in a second by copying a large tensor."""
    import torch

    source = torch.zeros(1 << (27 if device == "cpu" else 30), dtype=torch.bfloat16, device=device)
    target = torch.empty_like(source)
    best = min(timed(lambda: target.copy_(source)) for _ in range(5))
    return 2 * source.numel() * source.element_size() / best


def contest(method: str, models: Path, peer: Peer | None, *, repeats: int) -> dict[str, Any]:
    """Measures one method and returns its figures."""
    live = load_weights(str(models / "base"), dtype="bfloat16", quantization="none", trust_remote_code=False)
    other = load_weights(str(models / "base"), dtype="bfloat16", quantization="none", trust_remote_code=False)
    plan = plan_merge(laid_out(method, models, 0))
    resident = ResidentParents(plan, compiled=True)
    once = {"read": timed(lambda: resident.attach(live))}
    once["first_candidate"] = timed(lambda: resident.write(plan))
    once["second_form"] = timed(lambda: resident.write(candidate(plan, method, models, 1)))
    ours: list[float] = []
    copies: list[float] = []
    theirs: list[float] = []
    for turn in range(repeats):
        for number in range(10 * turn + 2, 10 * turn + 5):
            ours.append(timed(lambda n=number: resident.write(candidate(plan, method, models, n))))
            copies.append(timed(lambda: copied(live, other)))
        if peer:
            theirs.append(peer.seconds(method, models, turn))
    last = candidate(plan, method, models, 10 * (repeats - 1) + 4)
    moved = resident.parent_bytes + plan.bytes
    median = statistics.median(ours)
    found: dict[str, Any] = {
        "seconds": [round(each, 3) for each in ours],
        "copy_seconds": round(statistics.median(copies), 3),
        "once": {key: round(value, 1) for key, value in once.items()},
        "statistics_bytes": resident.statistics_held,
        "of_limit": round(moved / bandwidth("cpu") / median, 3),
        "different_from_merge": None if method == "jradievo" else different(last, live),
    }
    if theirs:
        found |= {
            "mergekit_seconds": [round(each, 2) for each in theirs],
            "ratio": round(statistics.median(theirs) / median, 1),
            "ratio_with_copy": round(statistics.median(theirs) / (median + statistics.median(copies)), 1),
        }
    say(f"{method}: {json.dumps(found)}")
    return found


def candidate(plan: MergePlan, method: str, models: Path, number: int, *, parents: int = 3) -> MergePlan:
    """Returns the plan of a candidate."""
    return reparametrised(plan, laid_out(method, models, number, parents=parents))


def copied(source: Any, target: Any) -> None:
    """Copies one model's weights into another's."""
    import torch

    with torch.no_grad():
        for one, two in zip(source.parameters(), target.parameters(), strict=True):
            two.copy_(one)


def different(plan: MergePlan, live: Any) -> int:
    """Returns how many weights of a live model are not those that the streamed merge would write."""
    weights, count = dict(live.named_parameters()), 0
    for tensor in plan.tensors[:12]:
        base, parents = read_inputs(plan, tensor)
        if tensor.method is None:
            continue
        made = merge_tensor(tensor.method, base, parents, shared=tensor.shared, each=tensor.each, keys=tensor.keys)
        count += int((made.to(weights[tensor.name].dtype) != weights[tensor.name]).sum())
    return count


# on a GPU, with parents that are in no file


def headers_only(folder: Path, sizes: Mapping[str, int]) -> None:
    """Writes a model folder whose weights are a hole in the file: names and shapes, no numbers, no disk."""
    folder.mkdir(parents=True)
    header: dict[str, Any] = {}
    at = 0
    for name, shape in shapes(**sizes):
        size = 2 * prod(shape)
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + at)
    config = {"model_type": "llama", "num_hidden_layers": sizes["layers"], "vocab_size": sizes["vocabulary"]}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


class Noise:
    """A checkpoint whose tensors are random numbers, made on a device when they are read."""

    def __init__(self, checkpoint: Any, device: str, seed: int) -> None:
        self._checkpoint, self._device, self._seed = checkpoint, device, seed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._checkpoint, name)

    def read(self, name: str) -> Any:
        """Returns the tensor of that name: the base's numbers, and for a parent a little noise on them."""
        import torch

        shape = self._checkpoint.tensors[name].shape
        first, second = (torch.Generator(self._device).manual_seed(hash((name, s)) % 2**31) for s in (0, self._seed))
        value = torch.randn(shape, generator=first, device=self._device, dtype=torch.bfloat16) * 0.02
        if self._seed:
            value += torch.randn(shape, generator=second, device=self._device, dtype=torch.bfloat16) * 0.001
        return value


def on_device(method: str, device: str, sizes: Mapping[str, int], *, parents: int, repeats: int) -> dict[str, Any]:
    """Measures candidates of a method with all parents resident on a device, and returns the figures."""
    import torch

    with tempfile.TemporaryDirectory() as scratch:
        models = Path(scratch)
        for name in ("base", *PARENTS[:parents]):
            headers_only(models / name, sizes)
        plan = plan_merge(laid_out(method, models, 0, parents=parents))
        plan = replace(plan, parents=tuple(Noise(c, device, i) for i, c in enumerate(plan.parents)))
        weights = {
            tensor.name: torch.nn.Parameter(torch.empty(tensor.shape, dtype=torch.bfloat16, device=device))
            for tensor in plan.tensors
        }
        live = SimpleNamespace(device=torch.device(device), named_parameters=lambda: weights.items())
        resident = ResidentParents(plan, compiled=True)
        once = {"read": timed(lambda: resident.attach(live)), "first_candidate": timed(lambda: resident.write(plan))}
        seconds = [
            timed(lambda n=number: resident.write(candidate(plan, method, models, n, parents=parents)))
            for number in range(1, 2 + 3 * repeats)
        ][1:]
    moved = resident.parent_bytes + plan.bytes
    found = {
        "seconds": [round(each, 3) for each in seconds],
        "once": {key: round(value, 1) for key, value in once.items()},
        "parents": parents,
        "parent_bytes": resident.parent_bytes,
        "statistics_bytes": resident.statistics_held,
        "of_limit": round(moved / bandwidth(device) / statistics.median(seconds), 3),
    }
    say(f"{method}: {json.dumps(found)}")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark."""
    import torch

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mergekit", help="Python of mergekit's environment")
    parser.add_argument("--cache", type=Path, help="folder of the models (default: below the system's temporary one)")
    parser.add_argument("--method", action="append", choices=METHODS, help="one method; may be repeated")
    parser.add_argument("--repeats", type=int, default=3, help="turns (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu, or cuda for parents that are made there")
    parser.add_argument("--billions", type=int, choices=(0, 8), default=0, help="on a device: 8 for the shape of an 8B")
    parser.add_argument("--quick", action="store_true", help="tiny models, one method, one turn")
    asked = parser.parse_args(arguments)
    methods = asked.method or (["ties"] if asked.quick else list(METHODS))
    repeats = 1 if asked.quick else asked.repeats
    sizes = LLAMA_8B if asked.billions else SMALL if asked.quick else SHAPE
    if asked.device != "cpu" or asked.billions:
        found = {m: on_device(m, asked.device, sizes, parents=4, repeats=repeats) for m in methods}
    else:
        models = models_for(asked.cache or Path(tempfile.gettempdir()) / "ikyoku-bench-merge", sizes, seed=0)
        with tempfile.TemporaryDirectory() as scratch:
            peer = Peer(asked.mergekit, Path(scratch)) if asked.mergekit else None
            found = {
                m: contest(m, models, peer if m in ("ties", "dare_ties", "linear") else None, repeats=repeats)
                for m in methods
            }
            if peer:
                peer.close()
    parameters = sum(prod(shape) for _, shape in shapes(**sizes))
    described = machine(SimpleNamespace(num_parameters=lambda: parameters, dtype=torch.bfloat16))
    if asked.device != "cpu":
        described |= {"device": torch.cuda.get_device_name()}
    ratios = {m: each.get("ratio") for m, each in found.items()}
    say(json.dumps({"name": "candidate", "ratios": ratios, "methods": found, "machine": described}))


if __name__ == "__main__":
    main()
