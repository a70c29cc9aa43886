"""mergekit in one warm process, for `bench_candidate.py`; run by the Python of mergekit's own environment.

Reads lines from standard input, each the path of a recipe; merges it to disk, loads the result into a model that could
generate, and prints the seconds as JSON. What it imports, it has imported before the first line is read.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path

import torch
import yaml
from mergekit.config import MergeConfiguration
from mergekit.merge import run_merge
from mergekit.options import MergeOptions
from transformers import AutoModelForCausalLM


def main() -> None:
    """Merges and loads as often as it is told."""
    print(json.dumps({"ready": True}), flush=True)  # noqa: T201 read by the benchmark
    for line in sys.stdin:
        path = Path(line.strip())
        out = path.with_suffix(".merged")
        config = MergeConfiguration.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
        began = time.perf_counter()
        run_merge(config, str(out), options=MergeOptions(quiet=True, lazy_unpickle=True, copy_tokenizer=False))
        merged = time.perf_counter()
        model = AutoModelForCausalLM.from_pretrained(out, dtype=torch.bfloat16)
        loaded = time.perf_counter()
        del model
        shutil.rmtree(out)
        print(json.dumps({"merge": merged - began, "load": loaded - merged}), flush=True)  # noqa: T201 read by the benchmark


if __name__ == "__main__":
    main()
