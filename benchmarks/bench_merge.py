"""Merging three models of 250 M parameters and their base: ikyoku beside mergekit, whole processes, in the same run.

    python benchmarks/bench_merge.py --mergekit ENVIRONMENT/bin/mergekit-yaml    # half an hour on two cores
    python benchmarks/bench_merge.py --quick                                     # tiny models, to see that it works

Both get the same recipe, the same files and as many threads. The models are random Llamas in bfloat16: a base, and
parents that differ from it by noise of a sixteenth of its size; they are made once, from a seed, into a cache folder.
mergekit runs with its defaults, in an environment of its own; without it, ikyoku is measured alone. ikyoku computes in
float32 always; mergekit in bfloat16, which is faster for it, unless `--dtype float32` tells both otherwise.

- The two take turns, each goes first as often, and medians are compared.
- The models are in the page cache when a turn begins, and nothing is left to be flushed. A turn ends when what was
  written has reached the disk, whether the program waits for that or not.
- Peak memory is the largest resident set of the process; mapped pages of the models' files count in it.
- Bytes come from /proc/PID/io at the end of the process. `written` is what it made dirty. Reads of mapped files are in
  no counter while the page cache is warm, so each has one more turn, untimed, with the models dropped from it: `read`
  is what had to come from the disk then, and `read_calls` what read() returned, where a second pass counts again.
- `copy` is what moving the same bytes costs: reading the four models once and writing one.

The last line is a JSON object with all figures.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from math import prod
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from material import machine, say

MODELS = ("base", "a", "b", "c")
SHAPE = {"hidden": 1024, "inner": 2816, "layers": 16, "vocabulary": 32_000}
SMALL = {"hidden": 64, "inner": 128, "layers": 2, "vocabulary": 200}
METHODS = ("ties", "dare_ties", "linear", "slerp", "task_arithmetic")
EXACT = ("ties", "linear", "slerp", "task_arithmetic")
"""Methods without chance: what the two write can be compared."""


def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """Returns what a function returns in a process of its own.

    A child's largest resident set begins with its parent's: this process has to stay small.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


# models


def shapes(*, hidden: int, inner: int, layers: int, vocabulary: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yields names and shapes of a Llama's tensors; half as many key and value heads as heads."""
    yield "model.embed_tokens.weight", (vocabulary, hidden)
    for i in range(layers):
        for name, shape in (
            ("input_layernorm", (hidden,)),
            ("self_attn.q_proj", (hidden, hidden)),
            ("self_attn.k_proj", (hidden // 2, hidden)),
            ("self_attn.v_proj", (hidden // 2, hidden)),
            ("self_attn.o_proj", (hidden, hidden)),
            ("post_attention_layernorm", (hidden,)),
            ("mlp.gate_proj", (inner, hidden)),
            ("mlp.up_proj", (inner, hidden)),
            ("mlp.down_proj", (hidden, inner)),
        ):
            yield f"model.layers.{i}.{name}.weight", shape
    yield "model.norm.weight", (hidden,)
    yield "lm_head.weight", (vocabulary, hidden)


def models_for(cache: Path, sizes: Mapping[str, int], *, seed: int) -> Path:
    """Returns the folder of the four models; makes them if they are not there."""
    folder = cache / "-".join([*(f"{value}" for value in sizes.values()), f"seed{seed}"])
    if not folder.is_dir():
        apart(make_models, folder, sizes, seed)
    return folder


def make_models(folder: Path, sizes: Mapping[str, int], seed: int) -> None:
    """Makes the four models."""
    import torch
    from safetensors.torch import save_file

    aside = folder.with_name(f".{folder.name}.{os.getpid()}")
    listed = list(shapes(**sizes))
    for number, name in enumerate(MODELS):
        say(f"making {name} ({sum(prod(shape) for _, shape in listed) / 1e6:.0f} M parameters)")
        base, noise = (torch.Generator().manual_seed(each) for each in (seed, seed + number))
        tensors = {}
        for tensor, shape in listed:
            value = torch.randn(shape, generator=base) * 0.02
            if number:
                value += torch.randn(shape, generator=noise) * (0.02 / 16)
            tensors[tensor] = value.bfloat16()
        (aside / name).mkdir(parents=True)
        save_file(tensors, aside / name / "model.safetensors", metadata={"format": "pt"})
        _write_small_files(aside / name, sizes)
    aside.rename(folder)


def _write_small_files(folder: Path, sizes: Mapping[str, int]) -> None:
    """Writes a model's config and tokenizer."""
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": sizes["hidden"],
        "intermediate_size": sizes["inner"],
        "num_hidden_layers": sizes["layers"],
        "num_attention_heads": sizes["hidden"] // 32,
        "num_key_value_heads": sizes["hidden"] // 64,
        "vocab_size": sizes["vocabulary"],
        "max_position_embeddings": 2048,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "tie_word_embeddings": False,
        "dtype": "bfloat16",
    }
    tokenizer = {
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": {"type": "Whitespace"},
        "model": {
            "type": "WordLevel",
            "vocab": {f"w{i}" if i else "<unk>": i for i in range(sizes["vocabulary"])},
            "unk_token": "<unk>",
        },
    }
    loaded = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<unk>"}
    for name, content in (("config", config), ("tokenizer", tokenizer), ("tokenizer_config", loaded)):
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")


def recipe(method: str, models: Path, *, dtype: str) -> dict[str, Any]:
    """Returns a recipe as people write them."""
    each = {"linear": {}, "task_arithmetic": {}}.get(method, {"density": 0.5})
    parents = [
        {"model": str(models / name), "parameters": {"weight": weight, **each}}
        for name, weight in zip("abc", (0.5, 0.3, 0.4), strict=True)
    ]
    base = {"base_model": str(models / "base")}
    number = {"dtype": dtype, "out_dtype": "bfloat16"} if dtype == "float32" else {"dtype": dtype}
    if method == "linear":
        base = {}
    if method == "slerp":
        parents = [{"model": str(models / name)} for name in ("base", "a")]
        return {"merge_method": method, **base, "models": parents, "parameters": {"t": 0.4}, **number}
    return {"merge_method": method, **base, "models": parents, **number}


# processes


@dataclass
class Turn:
    """What one process took."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    read: int | None = None
    read_calls: int | None = None
    written: int | None = None
    flush_seconds: float = 0.0


@dataclass
class Contender:
    """One of the programs, with the figures of its turns."""

    name: str
    command: Sequence[str]
    turns: list[Turn] = field(default_factory=list)
    cold: Turn | None = None

    def median(self, figure: str) -> float:
        """Returns the median of a figure over the turns."""
        return statistics.median(getattr(turn, figure) for turn in self.turns)

    def figures(self) -> dict[str, Any]:
        """Returns all that was measured."""
        cold = asdict(self.cold) if self.cold else {}
        return {
            "seconds": [round(turn.seconds, 2) for turn in self.turns],
            "cpu_seconds": [round(turn.cpu_seconds, 2) for turn in self.turns],
            "flush_seconds": [round(turn.flush_seconds, 2) for turn in self.turns],
            "peak_bytes": max(turn.peak_bytes for turn in self.turns),
            **{name: cold.get(name) for name in ("read", "read_calls", "written")},
        }


def run(command: Sequence[str], scratch: Path) -> Turn:
    """Runs a command to its end and until what it wrote is on the disk."""
    os.sync()
    log = scratch / "log"
    start = time.perf_counter()
    with log.open("wb") as out:
        environment = os.environ | {"HF_HUB_OFFLINE": "1"}
        process = subprocess.Popen(command, cwd=scratch, stdout=out, stderr=subprocess.STDOUT, env=environment)  # noqa: S603 ours
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended, but its counters are still there
        ended = time.perf_counter()
        counted = _counters(process.pid)
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command[0]} failed:\n{log.read_text(encoding='utf-8', errors='replace')[-4000:]}")
    os.sync()
    done = time.perf_counter()
    return Turn(
        seconds=done - start,
        cpu_seconds=used.ru_utime + used.ru_stime,
        peak_bytes=used.ru_maxrss * 1024,
        read=counted.get("read_bytes"),
        read_calls=counted.get("rchar"),
        written=counted.get("write_bytes"),
        flush_seconds=done - ended,
    )


def _counters(pid: int) -> dict[str, int]:
    """Returns the kernel's counters of a process, or nothing where there are none."""
    path = Path(f"/proc/{pid}/io")
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return {}
    return {name: int(value) for name, _, value in (line.partition(": ") for line in lines)}


def warm(models: Path, *, dropped: bool = False) -> None:
    """Brings the models' files into the page cache, or drops them from it."""
    for path in models.glob("*/model.safetensors"):
        with path.open("rb", buffering=0) as file:
            if dropped:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            else:
                while file.read(2**24):
                    pass


def contest(contenders: Sequence[Contender], models: Path, *, repeats: int, scratch: Path) -> None:
    """Lets the programs take turns at one recipe; the outputs of the last are left in `scratch`/NAME."""
    for number in range(repeats + 1):
        cold = number == repeats
        for each in contenders if number % 2 == 0 else reversed(contenders):
            shutil.rmtree(scratch / each.name, ignore_errors=True)
            shutil.rmtree(scratch / "runs", ignore_errors=True)
            warm(models, dropped=cold)
            turn = run(each.command, scratch)
            if cold:
                each.cold = turn
                continue
            each.turns.append(turn)
            say(
                f"  {each.name:9} {turn.seconds:7.2f} s, {turn.cpu_seconds:7.2f} s of CPU, "
                f"peak {turn.peak_bytes / 1e9:.2f} GB, load {os.getloadavg()[0]:.2f}"
            )
    warm(models)


def difference(ours: Path, theirs: Path) -> dict[str, float]:
    """Returns how far two checkpoints are apart: the largest difference, and the share of values that are the same."""
    import torch
    from safetensors import safe_open

    same = count = 0
    largest = 0.0
    files = [safe_open(next(folder.glob("*.safetensors")), framework="pt") for folder in (ours, theirs)]
    names = [set(file.keys()) for file in files]
    if names[0] != names[1]:
        raise SystemExit(f"the two write different tensors: {sorted(names[0] ^ names[1])[:5]}")
    for name in sorted(names[0]):
        a, b = (file.get_tensor(name) for file in files)
        same += int(torch.eq(a, b).sum())
        count += a.numel()
        largest = max(largest, float((a.float() - b.float()).abs().max()))
    return {"largest": largest, "same": round(same / count, 4)}


def copying(models: Path, scratch: Path) -> list[str]:
    """Returns the command of a plain copy: reads all four models, writes one."""
    sources = [str(models / name / "model.safetensors") for name in MODELS]
    script = 'mkdir "$1" && cat "$3" "$4" "$5" > /dev/null && cp --reflink=never "$2" "$1"'
    return ["/bin/sh", "-c", script, "copy", str(scratch / "copy"), *sources]


def merge_with(method: str, models: Path, mergekit: str | None, asked: argparse.Namespace) -> dict[str, Any]:
    """Measures one method and returns its figures."""
    scratch = Path(tempfile.mkdtemp(prefix=f".{method}-", dir=models.parent))
    try:
        path = scratch / "recipe.yaml"
        path.write_text(json.dumps(recipe(method, models, dtype=asked.dtype), indent=1), encoding="utf-8")
        ikyoku = [sys.executable, "-m", "ikyoku", "merge", str(path), str(scratch / "ikyoku")]
        contenders = [
            Contender("ikyoku", [*ikyoku, "--runs", str(scratch / "runs")]),
            Contender("copy", copying(models, scratch)),
        ]
        if mergekit:
            contenders.insert(0, Contender("mergekit", [mergekit, "--quiet", str(path), str(scratch / "mergekit")]))
        say(method)
        contest(contenders, models, repeats=asked.repeats, scratch=scratch)
        found: dict[str, Any] = {each.name: each.figures() for each in contenders}
        found |= ratios({each.name: each for each in contenders})
        if mergekit and method in EXACT:
            found["difference"] = apart(difference, scratch / "ikyoku", scratch / "mergekit")
        return found
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def ratios(contenders: Mapping[str, Contender]) -> dict[str, Any]:
    """Returns how many times the others take what ikyoku takes, by medians."""
    ours, copy, theirs = contenders["ikyoku"], contenders["copy"], contenders.get("mergekit")
    found: dict[str, Any] = {"over_copy": round(ours.median("seconds") / copy.median("seconds"), 2)}
    if theirs:
        for name, figure in (("ratio", "seconds"), ("ratio_cpu", "cpu_seconds"), ("ratio_peak", "peak_bytes")):
            found[name] = round(theirs.median(figure) / ours.median(figure), 2)
        say(f"  {found['ratio']} times as fast, {found['ratio_cpu']} by CPU; {found['ratio_peak']} times less memory")
    return found


def find_mergekit(asked: str | None) -> str | None:
    """Returns the program mergekit-yaml: as asked, beside the Python in IKYOKU_MERGEKIT, or on the path."""
    beside = os.environ.get("IKYOKU_MERGEKIT")
    named = asked or (str(Path(beside).with_name("mergekit-yaml")) if beside else "mergekit-yaml")
    found = shutil.which(named) or shutil.which("mergekit-yaml", path=named)  # the program, or the folder it is in
    if asked and not found:
        raise SystemExit(f"no program {asked}; name mergekit-yaml or the folder that holds it")
    return found


def _versions_beside(program: str | None) -> dict[str, str]:
    """Returns the versions in mergekit's environment."""
    if not program:
        return {}
    python = Path(program).with_name("python")
    names = ("mergekit", "torch", "transformers")
    code = f"import json; from importlib.metadata import version; print(json.dumps({{n: version(n) for n in {names}}}))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603 the user names it
    return json.loads(done.stdout) if done.returncode == 0 else {}


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mergekit", help="program mergekit-yaml, or the folder it is in")
    parser.add_argument("--cache", type=Path, help="folder of the models (default: below the system's temporary one)")
    parser.add_argument("--method", action="append", choices=METHODS, help="one method; may be repeated")
    parser.add_argument("--repeats", type=int, default=3, help="turns of each program (default: %(default)s)")
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16", help="the recipe's dtype")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="tiny models, one method, one turn")
    asked = parser.parse_args(arguments)
    if asked.quick:
        asked.repeats, asked.method = 1, asked.method or ["ties"]
    began = time.perf_counter()
    sizes = SMALL if asked.quick else SHAPE
    cache = asked.cache or Path(tempfile.gettempdir()) / "ikyoku-bench-merge"
    models = models_for(cache, sizes, seed=asked.seed)
    mergekit = find_mergekit(asked.mergekit)
    if not mergekit:
        say("mergekit is not here: ikyoku is measured alone; name it with --mergekit ENVIRONMENT/bin/mergekit-yaml")
    found = {method: merge_with(method, models, mergekit, asked) for method in asked.method or METHODS}
    import torch

    parameters = sum(prod(shape) for _, shape in shapes(**sizes))
    described = machine(SimpleNamespace(num_parameters=lambda: parameters, dtype=torch.bfloat16))
    line = {
        "name": "merge",
        "ratios": {method: each.get("ratio") for method, each in found.items()},
        "seconds": round(time.perf_counter() - began, 1),
        "peak_bytes": max(each["ikyoku"]["peak_bytes"] for each in found.values()),
        "methods": found,
        "machine": described | {"recipe_dtype": asked.dtype, "peer": _versions_beside(mergekit)},
    }
    say(json.dumps(line))


if __name__ == "__main__":
    main()
