"""Radiographs as development and test: who is held out, who is drawn, what a selection's hash tells."""

from __future__ import annotations

from pathlib import Path

import pytest

from ikyoku.datasets.radiographs import Radiograph, RadiographSet
from ikyoku.datasets.splits import GivenReports, drawn, hold_out, part_reports, select_reports
from ikyoku.errors import DataError


def of(patients: int, each: int, *, name: str = "s") -> list[Radiograph]:
    """So many studies of each patient."""
    return [
        Radiograph(f"{name}{p}-{n}", (Path(f"{name}{p}-{n}.png"),), "胸水を認めない。", "", f"patient {p}")
        for p in range(patients)
        for n in range(each)
    ]


def given(folder: Path, samples: list[Radiograph], *, name: str = "mine", limit: int | None = None) -> GivenReports:
    folder.mkdir(parents=True, exist_ok=True)
    kept = []
    for sample in samples:
        image = folder / sample.images[0].name
        if not image.exists():
            image.write_bytes(sample.images[0].name.encode())
        kept.append(Radiograph(sample.id, (image,), sample.findings, sample.impression, sample.patient))
    held = RadiographSet(folder / f"{name}.jsonl", "pairs", (), tuple(kept), ())
    return GivenReports(held.path, name, held, select_reports(held, limit=limit, seed=0))


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("seed", range(5))
def test_a_patient_is_held_out_with_all_studies_or_with_none(share: float, seed: int) -> None:
    first, second = of(12, 4), [*of(12, 4)[::3], *of(5, 2, name="other")]
    one, two = hold_out([first, second], share=share, seed=seed)
    sides: dict[str, set[bool]] = {}
    for samples, held in ((first, one), (second, two)):
        for sample in samples:
            sides.setdefault(sample.patient, set()).add(sample.id in held)
    assert all(len(found) == 1 for found in sides.values())
    assert abs(len(one) - share * 48) <= 4, "whole patients, as near to the share as they go"
    assert hold_out([first, second], share=share, seed=seed) == (one, two)


def test_studies_without_a_patient_are_held_out_one_by_one() -> None:
    samples = [Radiograph(str(n), (Path("x.png"),), "異常なし。") for n in range(20)]
    folds = {hold_out([samples], share=0.25, seed=seed) for seed in range(5)}
    assert all(len(held) == 5 for (held,) in folds) and len(folds) == 5, "the seed decides"


def test_a_limit_draws_studies_and_not_patients() -> None:
    samples = of(40, 10)
    taken = drawn(samples, 20, seed=0)
    patients = {sample.patient for sample in samples if sample.id in taken}
    assert len(taken) == 20 and len(patients) > 10, "as good as 20 patients, and not the first two of them"
    assert drawn(samples[::-1], 20, seed=0) == taken != drawn(samples, 20, seed=1)
    assert len(drawn(samples, 1, seed=0)) == 1 and len(drawn(samples, 1000, seed=0)) == 400


def test_a_selection_is_known_by_images_and_texts(tmp_path: Path) -> None:
    whole = given(tmp_path / "a", of(3, 2)).selection
    assert whole.count == len(whole.images) == 6
    assert given(tmp_path / "a", of(3, 2)).selection.sha256 == whole.sha256
    assert given(tmp_path / "a", of(3, 2), limit=5).selection.sha256 != whole.sha256
    (tmp_path / "a" / "s0-0.png").write_bytes(b"another")
    assert given(tmp_path / "a", of(3, 2)).selection.sha256 != whole.sha256
    with pytest.raises(DataError, match="holds no radiograph with a report"):
        given(tmp_path / "b", [])


def test_a_copy_of_an_image_under_another_name_is_found(tmp_path: Path) -> None:
    ours = given(tmp_path / "a", of(3, 1))
    theirs = given(tmp_path / "b", [Radiograph("x", (Path("x.png"),), "異常なし。", "", "another")], name="untouched")
    part_reports([ours], [theirs])
    (tmp_path / "b" / "x.png").write_bytes((tmp_path / "a" / "s1-0.png").read_bytes())
    theirs = given(tmp_path / "b", [Radiograph("x", (Path("x.png"),), "異常なし。", "", "another")], name="untouched")
    for fitness, training in (([ours], []), ([], [ours])):
        with pytest.raises(DataError, match=r"1 of 3 radiographs are of a patient or an image .*: s1-0\."):
            part_reports(fitness, [theirs], training)
