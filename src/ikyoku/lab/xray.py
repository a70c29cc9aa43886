"""The X-ray lab: phantoms with reports, and the third study's kind of parents made from one pocket base.

No parent writes Japanese reports from images: `vlm-en` sees and writes English, whatever it is asked in; `report-ja`
writes Japanese and cannot see; `medical` knows what findings are. The folder that is written is an ordinary one:

    base/  vlm-en/  report-ja/  medical/      models
    pairs-50.jsonl  pairs-2000.jsonl          to search with, to tune rivals on; the 50 are the first of the 2,000
    dev-100.jsonl   test-200.jsonl            phantoms that nothing was trained on
    images/  dicom/                           PNG files of the pairs; three DX files for `ikyoku report`

Everything is made by child processes of one thread each, kept in a cache under the hash of what it is made from, and
continued where it was interrupted.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ikyoku.errors import IkyokuError
from ikyoku.lab import xray_models as models
from ikyoku.lab import xray_tower as tower
from ikyoku.lab.phantoms import drawn, phantom, report, write_dicom, write_pairs
from ikyoku.lab.workers import Progress, Worker, made_together, reported, written_in_one_step
from ikyoku.lab.xray_recipes import RECIPES, Recipe, Say
from ikyoku.lab.xray_texts import passages, picture_prompt

_STAGES: tuple[tuple[str, ...], ...] = (
    ("pictures-0", "pictures-1"),
    ("tower", "base", "files"),
    ("vlm-en", "report-ja", "medical"),
)
"""What is made at the same time; each stage stands on those before it."""
MODELS = ("base", "vlm-en", "report-ja", "medical")
PAIRS = {"pairs-2000": 2000, "pairs-50": 50, "dev-100": 100, "test-200": 200}


@dataclass(frozen=True, slots=True)
class XrayLab:
    """The folders and files of a lab, all below `folder`; `models` by name."""

    folder: Path
    models: dict[str, Path]
    pairs: Path
    many_pairs: Path
    dev: Path
    test: Path
    dicom: Path


def make_xray_lab(size: str, *, seed: int, folder: Path, cache: Path, progress: Progress | None = None) -> XrayLab:
    """Makes the lab of a size, or finds it in the cache, and writes it to a folder.

    Args:
        size: a key of RECIPES: "tiny" has the mechanism only and knows nothing, "pocket" takes some twenty minutes on
            two cores.
        seed: of phantoms, texts, initial weights and order.
        folder: where the lab goes; files of the lab that are there are replaced.
        cache: folder of finished and half-made parts; an interrupted one is continued.
        progress: called about twice a second while something is made.
    """
    kept = cache / "lab" / f"xray-{size}-{_content_hash(RECIPES[size], seed)}"
    for stage in _STAGES:
        missing = [name for name in stage if not (kept / name).exists()]
        module = "ikyoku.lab.xray"
        made_together([Worker(name, [module, name, size, str(seed), str(kept)], progress) for name in missing])
    folder.mkdir(parents=True, exist_ok=True)
    for name in MODELS:
        shutil.copytree(kept / name, folder / name, dirs_exist_ok=True)
    shutil.copytree(kept / "files", folder, dirs_exist_ok=True)
    lists = {name: folder / f"{name}.jsonl" for name in PAIRS}
    return XrayLab(
        folder=folder,
        models={name: folder / name for name in MODELS},
        pairs=lists["pairs-50"],
        many_pairs=lists["pairs-2000"],
        dev=lists["dev-100"],
        test=lists["test-200"],
        dicom=folder / "dicom",
    )


def _content_hash(recipe: Recipe, seed: int) -> str:
    """The hash of what a lab is made from: the recipe, samples of texts and pictures, the code that teaches."""
    about = [asdict(recipe), seed, PAIRS, picture_prompt("ja"), picture_prompt("en")]
    digest = hashlib.sha256(json.dumps(about).encode())
    for name in ("base", "report-ja", "medical"):
        for text in passages(name, seed=seed, block=0):
            digest.update(f"{text.prompt}\0{text.answer}\0".encode())
    for number in range(40):
        truth = tower.taught(seed, number)
        said = report(truth, "en")
        digest.update(drawn(truth, size=recipe.picture).tobytes() + f"{said.findings}\0{said.impression}".encode())
    for module in ("xray_models", "xray_tower", "xray_texts", "lessons"):
        digest.update(Path(__file__).with_name(f"{module}.py").read_bytes())
    return digest.hexdigest()[:12]


def make_part(name: str, size: str, *, seed: int, kept: Path, progress: Say) -> None:
    """Makes one part of the lab in this process, in one step; the parts it stands on are there."""
    recipe = RECIPES[size]
    if not name.startswith(("pictures", "files")):
        import torch

        torch.set_num_threads(1)
    with written_in_one_step(kept / name) as aside:
        if aside is None:
            return
        about: dict[str, Any] = {"seed": seed, "folder": aside, "progress": progress}
        if name.startswith("pictures"):
            tower.make_pictures(recipe, part=int(name[-1]), **about)
        elif name == "files":
            _write_files(recipe, **about)
        elif name == "base":
            models.make_base(recipe, **about)
        elif name == "tower":
            tower.make_tower(recipe, tower.Pictures.of(kept), **about)
        elif name == "vlm-en":
            about |= {"base": kept / "base", "tower": kept / "tower"}
            models.make_vision_model(recipe, tower.Pictures.of(kept), **about)
        else:
            lesson = recipe.report if name == "report-ja" else recipe.medical
            models.make_text_model(name, lesson, base=kept / "base", **about)


def _write_files(recipe: Recipe, *, seed: int, folder: Path, progress: Say) -> None:
    finished, total = 0, PAIRS["pairs-2000"] + PAIRS["dev-100"] + PAIRS["test-200"]
    for name, count in PAIRS.items():
        kind = name.partition("-")[0]
        truths = [phantom(seed, f"{kind}-{number:04d}") for number in range(1, count + 1)]
        if name == "pairs-50":  # the first of the 2,000
            write_pairs(folder / f"{name}.jsonl", truths, size=recipe.drawn)
            continue

        def say(done: int, before: int = finished) -> None:
            progress(before + done, total)

        write_pairs(folder / f"{name}.jsonl", truths, size=recipe.drawn, progress=say)
        finished += count
    (folder / "dicom").mkdir(exist_ok=True)
    for number, wanted in enumerate(
        (("pneumothorax",), ("infiltrate", "pleural_effusion"), ("cardiomegaly", "pacemaker"))
    ):
        names = (f"study-{number + 1}-{i}" for i in range(10_000))
        truth = next(t for t in (phantom(seed, n) for n in names) if set(wanted) == {f.name for f in t.findings})
        write_dicom(folder / "dicom" / f"study-{number + 1}.dcm", truth, patient=number)


def _main(arguments: Sequence[str]) -> None:
    name, size, seed, kept = arguments
    reported(lambda say: make_part(name, size, seed=int(seed), kept=Path(kept), progress=say))


if __name__ == "__main__":
    from ikyoku import offline

    offline.switch_on()
    try:
        _main(sys.argv[1:])
    except IkyokuError as error:
        raise SystemExit(str(error)) from None
