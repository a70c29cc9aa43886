"""FHIR: structure by an R4B library, JP Core's rules by our own check, Japanese unchanged, nothing is markup."""

from __future__ import annotations

import copy
import dataclasses
import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ikyoku.dicom.write import Subject, write_dx
from ikyoku.interchange import (
    DRAFT_MARK,
    Author,
    Draft,
    Label,
    SourceStudy,
    deidentified,
    diagnostic_report,
    jp_core_faults,
    read_source,
)

SETS = {
    "none": "YAMADA^TARO",
    "latin": "MÜLLER^JOSÉ",
    "kanji": "YAMADA^TARO=山田^太郎=やまだ^たろう",
    "ascii-kanji": "YAMADA^TARO=山田^太郎=やまだ^たろう",
    "kana-kanji": "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
    "utf-8": "TAKAHASHI^TARO=髙橋^太郎=たかはし^たろう",
}
TEXT = "両肺野に浸潤影を認めない。\n右胸水が少量～中等量。①"
DRAFT = Draft(
    "A-1",
    datetime(2026, 11, 22, 0, 30, tzinfo=UTC),
    TEXT,
    "右胸水。",
    Author("pocket", "0.1.0", "ab" * 32, "cd" * 32),
    (Label("pleural_effusion", "胸水", "present", "right"),),
    images=("ef" * 32,),
)


def source_of(folder: Path, character_set: str = "utf-8") -> SourceStudy:
    path = folder / f"{character_set}.dcm"
    pixels = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    write_dx(path, pixels, key=character_set, subject=Subject(SETS[character_set], "00123", "19500102", "F"),
             character_set=character_set, more={"AccessionNumber": "ACC7"})  # fmt: skip
    found = read_source([path])
    assert found is not None
    return found


def resources(bundle: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for entry in bundle["entry"]:
        each = entry["resource"]
        kind = each["resourceType"]
        found[each["code"]["coding"][0]["code"] if kind == "Observation" else kind] = each
    return found


def valid(bundle: dict[str, Any]) -> dict[str, Any]:
    """The bundle as an R4B library reads and writes it again."""
    from fhir.resources.R4B import get_fhir_model_class
    from fhir.resources.R4B.bundle import Bundle

    read = json.loads(Bundle.model_validate(json.loads(json.dumps(bundle))).model_dump_json())
    for entry in bundle["entry"]:
        get_fhir_model_class(entry["resource"]["resourceType"]).model_validate(entry["resource"])
    return dict(read)


@pytest.mark.parametrize("character_set", SETS)
@pytest.mark.parametrize("impression", ["右胸水。", ""])
def test_structure_rules_and_text(tmp_path: Path, character_set: str, impression: str) -> None:
    source = source_of(tmp_path, character_set)
    draft = dataclasses.replace(DRAFT, impression=impression)
    for study in (source, deidentified(source), None):
        bundle = diagnostic_report(draft, study)
        assert jp_core_faults(bundle) == []
        found = resources(valid(bundle))
        assert found["18782-3"]["valueString"] == TEXT
        assert found["DiagnosticReport"].get("conclusion", "") == impression
        assert ("19005-8" in found) == bool(impression)
    names = resources(valid(diagnostic_report(draft, source)))["Patient"]["name"]
    groups = [[*(name.get(part, "") for part in ("family",)), *name.get("given", ())] for name in names]
    assert groups == [group.split("^") for group in SETS[character_set].split("=")]
    assert [name["extension"][0]["valueCode"] for name in names] == ["ABC", "IDE", "SYL"][: len(names)]


def test_it_is_preliminary_unsigned_and_marked(tmp_path: Path) -> None:
    found = resources(diagnostic_report(DRAFT, source_of(tmp_path)))
    report = found["DiagnosticReport"]
    assert report["status"] == found["18782-3"]["status"] == found["19005-8"]["status"] == "preliminary"
    assert not {"performer", "resultsInterpreter", "issued"} & report.keys()
    assert report["meta"]["security"][0]["code"] == "AIAST"
    assert report["meta"]["tag"][0]["display"] == DRAFT_MARK
    assert DRAFT_MARK in report["text"]["div"]
    assert DRAFT_MARK in report["code"]["text"]
    assert [each["coding"][0]["code"] for each in report["category"]] == ["LP29684-5", "DX"]
    assert {each["value"] for each in found["Device"]["version"]} == {"ikyoku 0.1.0", "ab" * 32, "cd" * 32}
    assert found["Provenance"]["entity"][0]["what"]["identifier"]["value"] == "ef" * 32
    assert found["ImagingStudy"]["identifier"][0]["value"].startswith("urn:oid:")


def test_a_deidentified_study_leaves_nothing_of_the_patient(tmp_path: Path) -> None:
    source = source_of(tmp_path)
    text = json.dumps(diagnostic_report(DRAFT, deidentified(source)), ensure_ascii=False)
    for trace in ("髙橋", "TAKAHASHI", "00123", "1950", "ACC7", "2026-04-01", source.study, source.images[0].series):
        assert trace not in text


def test_nothing_in_a_text_becomes_markup(tmp_path: Path) -> None:
    nasty = '<script>alert("x")</script>&amp;<img src=x onerror=y>]]>\x1b[31m\u202e'
    draft = dataclasses.replace(DRAFT, findings=nasty, impression=nasty, contradictions=(nasty,))
    draft = dataclasses.replace(draft, labels=(Label("x", nasty, "present"),), author=Author(nasty, "0"))
    bundle = diagnostic_report(draft, source_of(tmp_path))
    assert jp_core_faults(bundle) == []
    found = resources(valid(bundle))
    div = ET.fromstring(found["DiagnosticReport"]["text"]["div"])
    assert {each.tag.split("}")[1] for each in div.iter()} == {"div", "p", "b", "h3", "ul", "li"}
    shown = '<script>alert("x")</script>&amp;<img src=x onerror=y>]]>[31m'
    assert "".join(div.itertext()).count(shown) == 4
    assert found["18782-3"]["valueString"] == shown


def test_ten_thousand_characters(tmp_path: Path) -> None:
    text = "肺野に異常なし。\n" * 1200
    found = resources(valid(diagnostic_report(dataclasses.replace(DRAFT, findings=text), source_of(tmp_path))))
    assert found["18782-3"]["valueString"] == text.strip()


def _set(*path: str | int, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(found: dict[str, Any]) -> None:
        target: Any = found
        for part in path[:-1]:
            target = target[part]
        if to is None:
            del target[path[-1]]
        else:
            target[path[-1]] = to

    return change


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (_set("DiagnosticReport", "status", to="final"), "status: final"),
        (_set("DiagnosticReport", "performer", to=[{"display": "x"}]), "performer: there"),
        (_set("DiagnosticReport", "issued", to="2026-01-01T00:00:00Z"), "issued: there"),
        (_set("DiagnosticReport", "identifier", to=None), "identifier: missing"),
        (_set("DiagnosticReport", "meta", "profile", to=[]), "meta.profile"),
        (_set("DiagnosticReport", "meta", "tag", to=[]), "mark of an unverified draft"),
        (_set("DiagnosticReport", "effectiveDateTime", to="2026-01-01"), "effectiveDateTime"),
        (_set("DiagnosticReport", "category", 0, "coding", 0, "code", to="RAD"), "LP29684-5"),
        (_set("DiagnosticReport", "category", 1, "coding", 0, "code", to="x-ray"), "DICOM modalities"),
        (_set("DiagnosticReport", "code", "coding", 0, "code", to="1-1"), "18748-4"),
        (_set("DiagnosticReport", "conclusion", to="別"), "mirror"),
        (_set("DiagnosticReport", "result", to=[]), "findings (18782-3) are missing"),
        (_set("DiagnosticReport", "text", "div", to="<div>"), "well-formed"),
        (_set("DiagnosticReport", "text", "div", to='<div xmlns="http://www.w3.org/1999/xhtml"/>'), "does not hold"),
        (_set("DiagnosticReport", "subject", "reference", to="urn:uuid:0"), "not in the bundle"),
        (_set("18782-3", "category", to=[]), "category imaging"),
        (_set("18782-3", "status", to="final"), "preliminary"),
        (_set("18782-3", "valueString", to=None), "neither a valueString"),
        (_set("ImagingStudy", "identifier", to=[]), "Study Instance UID"),
        (_set("ImagingStudy", "subject", to={"reference": "x"}), "ImagingStudy.subject"),
        (_set("Patient", "identifier", to=[]), "Patient.identifier"),
    ],
)
def test_the_check_sees_what_breaks_a_rule(tmp_path: Path, change: Callable[[Any], None], fault: str) -> None:
    bundle = copy.deepcopy(diagnostic_report(DRAFT, source_of(tmp_path)))
    assert jp_core_faults(bundle) == []
    change(resources(bundle))
    assert any(fault in each for each in jp_core_faults(bundle))


def test_the_check_wants_one_report() -> None:
    assert jp_core_faults({"entry": []}) == ["the bundle holds 0 DiagnosticReports; one is needed"]


def test_equal_drafts_have_equal_ids(tmp_path: Path) -> None:
    source = source_of(tmp_path)
    assert diagnostic_report(DRAFT, source) == diagnostic_report(DRAFT, source)
    other = diagnostic_report(dataclasses.replace(DRAFT, id="A-2"), source)
    assert (
        resources(other)["DiagnosticReport"]["id"]
        != resources(diagnostic_report(DRAFT, source))["DiagnosticReport"]["id"]
    )
