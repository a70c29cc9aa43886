from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ikyoku.datasets.radiograph_layouts import english_sections
from ikyoku.datasets.radiographs import Radiograph, read_radiographs, write_radiographs
from ikyoku.dicom.write import write_dx
from ikyoku.errors import DataError, SpecError
from ikyoku.findings import split_sections
from ikyoku.pictures import read_picture

chest = runpy.run_path(str(Path(__file__).parents[1] / "drawn_chest.py"))["chest"]


def image(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(chest(bits=8, seed=seed)).save(path)
    return path


def rows(path: Path, *values: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values), encoding="utf-8")
    return path


# pairs


def test_pairs_are_written_and_read(tmp_path: Path) -> None:
    samples = (
        Radiograph("b", (image(tmp_path / "images" / "1.png"),), "心拡大を認める。", "心不全疑い", "p1"),
        Radiograph("a", (image(tmp_path / "2.png", 1), image(tmp_path / "3.png", 2)), "異常なし。\u2028"),
    )
    write_radiographs(tmp_path / "sets" / "pairs.jsonl", samples)
    text = (tmp_path / "sets" / "pairs.jsonl").read_text(encoding="utf-8")
    assert '"../images/1.png"' in text
    assert "心拡大" in text
    read = read_radiographs(tmp_path / "sets" / "pairs.jsonl")
    assert [(each.id, each.findings, each.impression, each.patient) for each in read.samples] == [
        (each.id, each.findings, each.impression, each.patient) for each in samples
    ]
    assert [[path.resolve() for path in each.images] for each in read.samples] == [
        list(each.images) for each in samples
    ]
    assert (read.layout, read.omitted) == ("pairs", ())
    assert read_picture(read.samples[1].images[0]).picture.pixels.shape == (240, 200)


def test_the_hash_of_a_set_is_that_of_its_texts_and_images(tmp_path: Path) -> None:
    one = Radiograph("1", (image(tmp_path / "1.png"),), "異常なし。", "", "p1")
    path = tmp_path / "pairs.jsonl"
    write_radiographs(path, [one])
    first = read_radiographs(path).sha256
    assert read_radiographs(path).sha256 == first
    seen = {first}
    changes = ({"findings": "異常"}, {"impression": "なし"}, {"patient": "p2"}, {"id": "2"})
    for change in changes:
        rows(path, {"id": "1", "images": ["1.png"], "findings": "異常なし。", "patient": "p1", **change})
        seen.add(read_radiographs(path).sha256)
    write_radiographs(path, [one])
    image(tmp_path / "1.png", 9)
    seen.add(read_radiographs(path).sha256)
    assert len(seen) == 2 + len(changes)


def test_all_faults_of_pairs_are_told_together_and_empty_findings_are_omitted(tmp_path: Path) -> None:
    image(tmp_path / "1.png")
    path = rows(
        tmp_path / "pairs.jsonl",
        {"id": "good", "images": ["1.png"], "findings": "異常なし。", "note": 3},
        {"id": "empty", "images": ["1.png"], "findings": " "},
        {"id": "none", "images": [], "findings": "異常なし。"},
    )
    read = read_radiographs(path)
    assert [each.id for each in read.samples] == ["good"]
    assert [(each.id, each.reason) for each in read.omitted] == [
        ("empty", "its report has no findings section"),
        ("none", "it has no image"),
    ]
    rows(
        path,
        {"id": "a", "images": ["1.png"], "findings": "x"},
        {"id": "a", "images": ["1.png"], "findings": "x"},
        {"id": "b", "images": ["nowhere.png"], "findings": "山田太郎"},
        {"id": "c", "images": "1.png", "findings": 5},
        {"images": ["1.png"], "findings": "x"},
    )
    with pytest.raises(DataError) as caught:
        read_radiographs(path)
    text = str(caught.value)
    assert text.count("\n") == 4
    for part in ("line 3: there is no image file", "line 4: 'images' is a text", "line 4: 'findings' is a number",
                 "line 5: no 'id'", "the id 'a' is there twice"):  # fmt: skip
        assert part in text
    assert "山田" not in text


def test_image_paths_that_are_no_files(tmp_path: Path) -> None:
    image(tmp_path / "1.png")
    (tmp_path / "sets").mkdir()
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    (tmp_path / "sets" / "link.png").symlink_to(tmp_path / "1.png")
    path = tmp_path / "sets" / "pairs.jsonl"
    wrong = {".": "only a folder", "": "only a folder", "../loop.png": "no image file", "a\0.png": "no image file",
             "x" * 5000: "cannot be read: File name too long"}  # fmt: skip
    for name, reason in wrong.items():
        rows(path, {"id": "a", "images": [name], "findings": "山田太郎"})
        with pytest.raises(DataError, match=reason) as caught:
            read_radiographs(path)
        assert len(str(caught.value)) < 1000
        assert "山田" not in str(caught.value)
    for name in ("link.png", "../1.png", str(tmp_path / "1.png")):
        rows(path, {"id": "a/b\n", "images": [name], "findings": "胸水なし。" * 2000})
        (sample,) = read_radiographs(path).samples
        assert (sample.id, len(sample.findings)) == ("a/b\n", 10_000)
        assert read_picture(sample.images[0]).kind == "png"


def test_pairs_of_any_editor(tmp_path: Path) -> None:
    image(tmp_path / "1.png")
    lines = [json.dumps({"id": each, "images": ["1.png"], "findings": "胸水なし。"}) for each in "abc"]
    path = tmp_path / "pairs.jsonl"
    path.write_bytes("\ufeff".encode() + f"{lines[0]}\r\n{lines[1]}\n\n{lines[2]}".encode())
    assert [each.id for each in read_radiographs(path).samples] == ["a", "b", "c"]
    for data, reason in ((b"", "is empty"), (b"\0\0\n", "not JSON"), ("\ufeff{}".encode("utf-16"), "UTF-16")):
        path.write_bytes(data)
        with pytest.raises(DataError, match=reason):
            read_radiographs(path)


# MIMIC-CXR


def _mimic(root: Path, *, suffix: str = ".jpg") -> Path:
    """Draws a few studies in MIMIC-CXR's layout, with reports of our own."""
    reports = {
        ("p10", "p10000032", "s50414267"): "EXAMINATION: chest\n\nFINDINGS:\n\n The heart is\n large. No effusion.\n\n"
        " IMPRESSION: Cardiomegaly.\n",
        ("p10", "p10000032", "s50414300"): "IMPRESSION:  No acute finding.\n",
        ("p11", "p11000011", "s9"): "FINDINGS AND IMPRESSION: Clear lungs.\n",
        ("p11", "p11000012", "s51000000"): "FINDINGS: Right pneumothorax.\n",
    }
    for number, ((group, patient, study), text) in enumerate(reports.items()):
        folder = root / "files" / group / patient
        (folder / study).mkdir(parents=True)
        (folder / f"{study}.txt").write_text(text, encoding="utf-8")
        if study == "s51000000":
            continue
        for view in ("a-lateral", "b-ap", "c-pa") if study == "s50414267" else ("only",):
            path = folder / study / f"{study}-{view}{suffix}"
            if suffix == ".dcm":
                write_dx(path, chest(seed=number), key=path.name)
            else:
                image(path, number)
    (root / "mimic-cxr-2.0.0-metadata.csv").write_text(
        "dicom_id,subject_id,study_id,ViewPosition\n"
        "s50414267-a-lateral,10000032,50414267,LATERAL\n"
        "s50414267-b-ap,10000032,50414267,AP\n"
        "s50414267-c-pa,10000032,50414267,PA\n"
    )
    (root / "mimic-cxr-2.0.0-split.csv").write_text(
        "dicom_id,study_id,subject_id,split\n"
        "s50414267-a-lateral,50414267,10000032,train\n"
        "s50414267-b-ap,50414267,10000032,train\n"
        "s50414267-c-pa,50414267,10000032,train\n"
        "s9-only,9,11000011,test\n"
    )
    return root


def test_mimic_cxr_is_read_with_patients_and_views_in_order(tmp_path: Path) -> None:
    read = read_radiographs(_mimic(tmp_path / "mimic"))
    assert read.layout == "mimic-cxr"
    assert [(each.id, each.patient) for each in read.samples] == [("s9", "p11000011"), ("s50414267", "p10000032")]
    large = read.samples[1]
    assert (large.findings, large.impression) == ("The heart is large. No effusion.", "Cardiomegaly.")
    assert [path.stem.split("-", 1)[1] for path in large.images] == ["c-pa", "b-ap", "a-lateral"]
    assert {each.id: each.reason for each in read.omitted} == {
        "s50414300": "its report has no findings section",
        "s51000000": "it has no image",
    }
    assert [path.name for path in read.files if path.suffix == ".csv"] == [
        "mimic-cxr-2.0.0-metadata.csv",
        "mimic-cxr-2.0.0-split.csv",
    ]


def test_mimic_cxr_as_dicom_and_one_split_of_it(tmp_path: Path) -> None:
    root = _mimic(tmp_path / "mimic", suffix=".dcm")
    read = read_radiographs(root, layout="mimic-cxr", split="test")
    assert [each.id for each in read.samples] == ["s9"]
    assert read_picture(read.samples[0].images[0]).kind == "dicom"
    with pytest.raises(DataError, match="no split 'dev'; there is test, train"):
        read_radiographs(root, split="dev")
    table = root / "mimic-cxr-2.0.0-metadata.csv"
    table.rename(root / "mimic-cxr-2.0.0-metadata.csv.gz")
    with pytest.raises(DataError, match="is packed; unpack it first"):
        read_radiographs(root)
    (root / "mimic-cxr-2.0.0-metadata.csv.gz").unlink()
    table.write_text("dicom_id,view\nx,PA\n")
    with pytest.raises(DataError, match="no columns 'dicom_id' and 'ViewPosition'"):
        read_radiographs(root)


def test_translations_take_the_place_of_the_reports(tmp_path: Path) -> None:
    root = _mimic(tmp_path / "mimic")
    table = rows(
        tmp_path / "ja.jsonl", {"study_id": "50414267", "text": "所見: 心拡大を認める。胸水なし。\n印象：心拡大"}
    )
    read = read_radiographs(root, translations=table)
    assert [(each.id, each.findings, each.impression) for each in read.samples] == [
        ("s50414267", "心拡大を認める。胸水なし。", "心拡大")
    ]
    assert read.samples[0].patient == "p10000032"
    assert {each.reason for each in read.omitted} >= {"it has no translation"}
    assert table in read.files
    (tmp_path / "ja.csv").write_text("id,findings,impression\ns9,肺野清明。,異常なし\n", encoding="utf-8")
    again = read_radiographs(root, translations=tmp_path / "ja.csv")
    assert [(each.id, each.findings, each.impression) for each in again.samples] == [("s9", "肺野清明。", "異常なし")]
    assert again.sha256 != read.sha256
    rows(table, {"id": "s9", "text": "所見：あ"}, {"id": "s9", "text": "所見：い"}, {"id": "s50414267"})
    with pytest.raises(DataError) as caught:
        read_radiographs(root, translations=table)
    assert "the study 's9' is translated twice" in str(caught.value)
    assert "line 3: a translation has a study" in str(caught.value)
    rows(table, {"id": "s9", "findings": "あ", "impression": ["い"]}, {"id": "s8", "impression": "い"})
    with pytest.raises(DataError, match=r"(?s)line 1: a translation has .*line 2: a translation has"):
        read_radiographs(root, translations=table)
    (tmp_path / "ja.csv").write_text("id,text,findings\ns9,,\ns50414267,心拡大。,\n", encoding="utf-8")
    half = read_radiographs(root, translations=tmp_path / "ja.csv")
    assert [each.id for each in half.samples] == ["s50414267"]  # one that is still to be translated is left out
    rows(table, {"id": "s9", "text": "所見：\n印象：異常なし"})
    with pytest.raises(DataError, match=r"no study is left: .*it has no translation, .*no findings section"):
        read_radiographs(root, translations=table)


# Open-i

_REPORT = """<?xml version="1.0" encoding="utf-8"?>
<eCitation><uId id="{name}"/><MedlineCitation><Article><Abstract>
<AbstractText Label="COMPARISON">None.</AbstractText>
<AbstractText Label="FINDINGS">{findings}</AbstractText>
<AbstractText Label="IMPRESSION">No acute disease.</AbstractText>
</Abstract></Article></MedlineCitation>{images}</eCitation>
"""


def _open_i(root: Path) -> Path:
    (root / "ecgen-radiology").mkdir(parents=True)
    for number, findings in ((1, "Heart size is normal &amp; lungs are clear."), (2, ""), (10, "Low volumes.")):
        names = [f"CXR{number}_IM-0001-{1001 * k}" for k in (1, 2)]
        images = "".join(f'<parentImage id="{name}"><figureId>F</figureId></parentImage>' for name in names)
        text = _REPORT.format(name=f"CXR{number}", findings=findings, images=images)
        (root / "ecgen-radiology" / f"{number}.xml").write_text(text, encoding="utf-8")
        for name in names[: 1 if number == 10 else 2]:
            image(root / "NLMCXR_png" / f"{name}.png", number)
    return root


def test_open_i_is_read(tmp_path: Path) -> None:
    read = read_radiographs(_open_i(tmp_path / "open-i"))
    assert (read.layout, [each.id for each in read.samples]) == ("open-i", ["CXR1"])
    sample = read.samples[0]
    assert (sample.findings, sample.impression) == ("Heart size is normal & lungs are clear.", "No acute disease.")
    assert [path.name for path in sample.images] == ["CXR1_IM-0001-1001.png", "CXR1_IM-0001-2002.png"]
    assert sample.patient == "CXR1"
    assert {each.id: each.reason for each in read.omitted} == {
        "CXR2": "its report has no findings section",
        "CXR10": "1 of its image files are not here",
    }


def test_an_xml_file_that_grows_is_no_report(tmp_path: Path) -> None:
    root = _open_i(tmp_path / "open-i")
    bomb = '<!DOCTYPE e [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><eCitation>&b;</eCitation>'
    (root / "ecgen-radiology" / "3.xml").write_text(bomb)
    (root / "ecgen-radiology" / "4.xml").write_text("<eCitation>")
    with pytest.raises(DataError) as caught:
        read_radiographs(root)
    assert str(caught.value).count("no report of Open-i") == 2


# all


def test_what_is_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no data set of radiographs"):
        read_radiographs(tmp_path)
    with pytest.raises(DataError, match="no such file"):
        read_radiographs(tmp_path / "nowhere")
    with pytest.raises(SpecError, match="allowed are auto, pairs, mimic-cxr, open-i"):
        read_radiographs(tmp_path, layout="chexpert")  # type: ignore[arg-type]
    for layout in ("pairs", "mimic-cxr", "open-i"):
        path = tmp_path if layout == "pairs" else rows(tmp_path / "a.jsonl", {"id": "a"})
        with pytest.raises(DataError, match=f"the layout '{layout}' is"):
            read_radiographs(path, layout=layout)  # type: ignore[arg-type]
    (tmp_path / "1.jsonl").write_text('{"id": "1", "images": [], "findings": "x"}')
    with pytest.raises(DataError, match="the layout 'pairs' has no splits, and 'train' was asked for"):
        read_radiographs(tmp_path / "1.jsonl", split="train")
    with pytest.raises(DataError, match="no radiograph to write"):
        write_radiographs(tmp_path / "b.jsonl", [])
    one = Radiograph("1", (image(tmp_path / "1.png"),), "あ")
    with pytest.raises(DataError, match="is there twice"):
        write_radiographs(tmp_path / "b.jsonl", [one, one])
    assert not (tmp_path / "b.jsonl").exists()


@pytest.mark.parametrize(
    ("text", "findings", "impression"),
    [
        ("所見：心拡大。\n印象：心不全", "心拡大。", "心不全"),
        ("【所見】：心拡大。\n【診断】：心不全", "心拡大。", "心不全"),
        ("所見: 心拡大。印象: 心不全", "心拡大。", "心不全"),
        ("印象：心不全\n所見：心拡大", "心拡大", "心不全"),
        ("心拡大を認める。", "心拡大を認める。", ""),
        ("所見：異常所見：なし", "異常所見：なし", ""),
    ],
)
def test_japanese_sections(text: str, findings: str, impression: str) -> None:
    assert split_sections(text) == (findings, impression)


def test_english_sections() -> None:
    text = "FINAL REPORT\nWET READ: ___ 5:00 PM\n\nFINDINGS:\nNote: stable.\n\nFINDINGS:  second\nCONCLUSION: none"
    found = english_sections(text)
    assert found["FINDINGS"] == "Note: stable."
    assert found["IMPRESSION"] == "none"
    assert english_sections("no headings") == {}
