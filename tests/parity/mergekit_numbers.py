"""Writes down what mergekit makes of our random models: mergekit/*.jsonl, which `test_mergekit.py` compares with.

Run with mergekit's own environment, one command, a minute:

    ENVIRONMENT/bin/python tests/parity/mergekit_numbers.py              # into mergekit/ beside this file
    ENVIRONMENT/bin/python tests/parity/mergekit_numbers.py --out DIR    # elsewhere, to compare

The environment: `pip install mergekit==0.1.5 torch==2.13.0`. Of each tensor three things are kept: the beginning of the
SHA-256 of its bytes, the sum of its values in float64, and the bits of sixteen values at positions drawn by hash.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from merge_material import FAMILIES, numbers, read_tensors, vocabulary, write_family
from merge_recipes import cases, placed

HERE = Path(__file__).parent / "mergekit"


def main() -> None:
    """Merges every case of every family with mergekit and writes its numbers."""
    from mergekit.config import MergeConfiguration
    from mergekit.merge import run_merge
    from mergekit.options import MergeOptions

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("--keep", type=Path, help="folder for the models and what is made of them; by default none")
    parser.add_argument("--family", action="append", choices=list(FAMILIES))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    logging.disable(logging.ERROR)
    options = MergeOptions(quiet=True, random_seed=0, write_model_card=False)
    for family in asked.family or FAMILIES:
        with tempfile.TemporaryDirectory() as scratch:
            root = asked.keep or Path(scratch)
            folder = write_family(family, root)
            lines = []
            for i, (name, recipe) in enumerate(cases(family).items()):
                out = root / "merged" / family / str(i)
                run_merge(MergeConfiguration.model_validate(placed(recipe, folder)), str(out), options)
                words = vocabulary(out) if "tokenizer" in recipe or "tokenizer_source" in recipe else None
                found: dict[str, Any] = {"case": name, "tensors": numbers(read_tensors(out), words)}
                if words:
                    found["tokens"] = sorted(words)
                lines.append(json.dumps(found, ensure_ascii=False, separators=(",", ":")))
        head = {"made_with": {name: version(name) for name in ("mergekit", "torch", "transformers", "numpy")}}
        (asked.out / f"{family}.jsonl").write_text("\n".join([json.dumps(head), *lines]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
