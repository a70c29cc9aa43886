"""The rules of JP Core's radiology report that a library of plain FHIR does not know, and our own for drafts."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ikyoku.interchange.fhir import DICOM, DOCUMENT_CODES, DRAFT_TAGS, JP_CORE, LOINC, OBSERVATION_CATEGORIES

_XHTML = "{http://www.w3.org/1999/xhtml}"
_ALLOWED = {"div", "p", "b", "br", "h3", "ul", "li"}
_ZONED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_UNSIGNED = ("performer", "resultsInterpreter", "issued")
"""What only a physician's confirmation brings: who answers for the report, who read, when it was confirmed."""


def jp_core_faults(bundle: Mapping[str, Any]) -> list[str]:
    """Returns what in a bundle breaks JP Core's rules for a radiology report, or ours for an unsigned draft.

    An empty list means none. A report of an image that was no DICOM file names no imaging study, and is not faulted
    for it: the profile's cardinality allows it.

    Args:
        bundle: as of `fhir.diagnostic_report`.
    """
    entries = {entry.get("fullUrl"): entry.get("resource", {}) for entry in bundle.get("entry", ())}
    reports = [each for each in entries.values() if each.get("resourceType") == "DiagnosticReport"]
    if len(reports) != 1:
        return [f"the bundle holds {len(reports)} DiagnosticReports; one is needed"]
    faults = [fault for rule in _RULES for fault in rule(reports[0], entries)]
    faults += [f"{place}: refers to {url}, which is not in the bundle" for place, url in _dangling(entries)]
    return faults


_Entries = Mapping[Any, Mapping[str, Any]]
_Rule = Callable[[Mapping[str, Any], _Entries], Iterator[str]]


def _head(report: Mapping[str, Any], _: _Entries) -> Iterator[str]:
    if JP_CORE + "JP_DiagnosticReport_Radiology" not in report.get("meta", {}).get("profile", ()):
        yield "DiagnosticReport.meta.profile: does not name JP_DiagnosticReport_Radiology"
    if not report.get("identifier"):
        yield "DiagnosticReport.identifier: missing"
    if report.get("status") != "preliminary":
        yield f"DiagnosticReport.status: {report.get('status')}, a draft is preliminary"
    for key in _UNSIGNED:
        if key in report:
            yield f"DiagnosticReport.{key}: there, on a report that nobody has confirmed"
    if not _ZONED.fullmatch(str(report.get("effectiveDateTime"))):
        yield "DiagnosticReport.effectiveDateTime: no date and time with a zone"
    if "effectivePeriod" in report:
        yield "DiagnosticReport.effectivePeriod: JP Core takes a dateTime only"
    if not any(tag.get("system") == DRAFT_TAGS for tag in report.get("meta", {}).get("tag", ())):
        yield "DiagnosticReport.meta.tag: the mark of an unverified draft is missing"


def _coded(report: Mapping[str, Any], _: _Entries) -> Iterator[str]:
    categories = [_codes(each) for each in report.get("category", ())]
    if sum((LOINC, "LP29684-5") in codes for codes in categories) != 1:
        yield "DiagnosticReport.category: LP29684-5 of LOINC is needed exactly once"
    if categories and (LOINC, "LP29684-5") not in categories[0]:
        yield "DiagnosticReport.category: LP29684-5 is to be the first"
    for codes in categories[1:]:
        if not all(system == DICOM and re.fullmatch("[A-Z]{2,16}", code) for system, code in codes):
            yield "DiagnosticReport.category: after the first, DICOM modalities are needed"
    codes = _codes(report.get("code", {}))
    if (DOCUMENT_CODES, "18748-4") not in codes:
        yield "DiagnosticReport.code: 18748-4 of JP_DocumentCodes_CS is missing"
    if any(code != "18748-4" for system, code in codes if system in (DOCUMENT_CODES, LOINC)):
        yield "DiagnosticReport.code: another code than 18748-4"


def _results(report: Mapping[str, Any], entries: _Entries) -> Iterator[str]:
    found = {}
    for reference in report.get("result", ()):
        observation = entries.get(reference.get("reference"), {})
        for _, code in _codes(observation.get("code", {})):
            found[code] = observation
    if "18782-3" not in found:
        yield "DiagnosticReport.result: the findings (18782-3) are missing"
    impression = found.get("19005-8", {}).get("valueString")
    if report.get("conclusion") != impression:
        yield "DiagnosticReport.conclusion: does not mirror the impression (19005-8)"
    names = {"18782-3": "Findings", "19005-8": "Impression"}
    for code, observation in found.items():
        place = f"Observation {code}"
        if JP_CORE + f"JP_Observation_Radiology_{names.get(code)}" not in observation.get("meta", {}).get(
            "profile", ()
        ):
            yield f"{place}: meta.profile does not name JP_Observation_Radiology_{names.get(code)}"
        if observation.get("status") != "preliminary" or "performer" in observation:
            yield f"{place}: a draft's is preliminary and has no performer"
        if (OBSERVATION_CATEGORIES, "imaging") not in [
            c for each in observation.get("category", ()) for c in _codes(each)
        ]:
            yield f"{place}: category imaging is missing"
        if not isinstance(observation.get("valueString"), str) and "dataAbsentReason" not in observation:
            yield f"{place}: neither a valueString nor the reason why there is none"
        if observation.get("subject") != report.get("subject"):
            yield f"{place}: another subject than the report's"


def _narrated(report: Mapping[str, Any], entries: _Entries) -> Iterator[str]:
    """The narrative must hold the findings (所見), as text and not as markup."""
    try:
        div = ET.fromstring(report.get("text", {}).get("div", ""))  # noqa: S314 # our own text
    except ET.ParseError:
        yield "DiagnosticReport.text: no well-formed XHTML"
        return
    strange = {each.tag.removeprefix(_XHTML) for each in div.iter()} - _ALLOWED
    if div.tag != f"{_XHTML}div" or strange:
        yield f"DiagnosticReport.text: holds markup that we do not write: {', '.join(sorted(strange)) or div.tag}"
    said = "".join(div.itertext())
    for reference in report.get("result", ()):
        value = entries.get(reference.get("reference"), {}).get("valueString", "")
        if value.replace("\n", "") not in said:
            yield "DiagnosticReport.text: does not hold what a result says"


def _study(report: Mapping[str, Any], entries: _Entries) -> Iterator[str]:
    for reference in report.get("imagingStudy", ()):
        study = entries.get(reference.get("reference"), {})
        identifiers = [each for each in study.get("identifier", ()) if each.get("system") == "urn:dicom:uid"]
        if len(identifiers) != 1 or not re.fullmatch(r"urn:oid:[\d.]+", identifiers[0].get("value", "")):
            yield "ImagingStudy.identifier: the Study Instance UID is needed once, as urn:oid"
        if "subject" not in study or study["subject"] != report.get("subject"):
            yield "ImagingStudy.subject: missing, or another than the report's"
        if not study.get("series"):
            yield "ImagingStudy.series: missing"
    patient = entries.get(report.get("subject", {}).get("reference"), {})
    profiled = JP_CORE + "JP_Patient" in patient.get("meta", {}).get("profile", ())
    numbers = patient.get("identifier", ())
    if profiled and not (numbers and all(each.get("value") for each in numbers)):
        yield "Patient.identifier: JP_Patient needs one with a value"


_RULES: tuple[_Rule, ...] = (_head, _coded, _results, _narrated, _study)


def _codes(concept: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(each.get("system", ""), each.get("code", "")) for each in concept.get("coding", ())]


def _dangling(entries: _Entries) -> Iterator[tuple[str, str]]:
    """References to nothing in the bundle."""

    def walk(value: Any, place: str) -> Iterator[tuple[str, str]]:
        if isinstance(value, Mapping):
            if isinstance(url := value.get("reference"), str) and url not in entries:
                yield place, url
            for key, inner in value.items():
                yield from walk(inner, f"{place}.{key}")
        elif isinstance(value, list):
            for inner in value:
                yield from walk(inner, place)

    for resource in entries.values():
        yield from walk(resource, str(resource.get("resourceType")))
