"""What report metrics prefer: four replies to each phantom, one of them right, and how every metric ranks them.

    python benchmarks/report_metrics.py                  # 300 phantoms

Each reference is a phantom's Japanese report. The replies to it: the same findings in other words, the reference with
right and left swapped, another phantom's report, and one normal report for all. A metric that is to be searched by, or
trusted, has to put the first above the others. The last line is a JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence

from material import say

from ikyoku.lab.phantoms.truth import phantom
from ikyoku.lab.phantoms.wording import report
from ikyoku.metrics.reports import METRICS, Reference, scored_report
from ikyoku.morphology import wakati, words

NORMAL = "肺野に異常陰影を認めない。胸水、気胸を認めない。心拡大を認めない。"
SHOWN = ("rouge_l", "bleu_4", "meteor", "chrf", "jradievo_bleu_4", "finding_f1", "label_f1", "dangerous")


def main(arguments: Sequence[str] | None = None) -> None:
    """Scores the replies and prints a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--phantoms", type=int, default=300, help="how many (default: %(default)s)")
    asked = parser.parse_args(arguments)
    truths = [phantom(0, f"metrics-{number}") for number in range(asked.phantoms)]
    texts = [report(truth, "ja", wording=0).findings for truth in truths]
    replies = {
        "right, in other words": [report(truth, "ja", wording=1).findings for truth in truths],
        "right and left swapped": [text.translate(str.maketrans("右左", "左右")) for text in texts],
        "another phantom's report": [*texts[1:], texts[0]],
        "one normal report": [NORMAL] * len(texts),
    }
    references = [Reference(text, words=words, wakati=wakati) for text in texts]
    found: dict[str, dict[str, float]] = {}
    for name, written in replies.items():
        scored = [scored_report(text, ref).scores for text, ref in zip(written, references, strict=True)]
        found[name] = {metric: statistics.mean(one[metric] for one in scored) for metric in SHOWN}
    say(f"{'':26}" + "".join(f"{METRICS[metric].english[:18]:>20}" for metric in SHOWN))
    for name, scores in found.items():
        say(f"{name:26}" + "".join(f"{scores[metric]:20.3f}" for metric in SHOWN))
    say(json.dumps({"name": "report_metrics", "phantoms": len(texts), "scores": found}, ensure_ascii=False))


if __name__ == "__main__":
    main()
