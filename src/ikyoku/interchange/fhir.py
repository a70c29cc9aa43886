"""A draft as FHIR R4: a bundle with a DiagnosticReport of JP Core's radiology profile, preliminary and unsigned.

Findings and impression are Observations, because servers search those and not the narrative; the model is a Device and
the author in a Provenance. The report has no performer: JP Core's is the physician who answers for it.

Reference:
    JP Core implementation guide (JAMI NeXEHRS): JP_DiagnosticReport_Radiology, JP_Observation_Radiology_Findings,
    JP_Observation_Radiology_Impression, JP_ImagingStudy_Radiology, JP_Patient. HL7 v3 ObservationValue: AIAST.
"""

from __future__ import annotations

import html
import re
import uuid
from collections.abc import Mapping
from typing import Any

from ikyoku.interchange.draft import (
    DRAFT_MARK,
    FINDINGS_HEADING,
    IMPRESSION_HEADING,
    LABELS_HEADING,
    Draft,
    plain_text,
)
from ikyoku.interchange.source import SourceImage, SourceStudy

JP_CORE = "http://jpfhir.jp/fhir/core/StructureDefinition/"
DOCUMENT_CODES = "http://jpfhir.jp/fhir/core/CodeSystem/JP_DocumentCodes_CS"
OBSERVATION_CATEGORIES = "http://jpfhir.jp/fhir/core/CodeSystem/JP_SimpleObservationCategory_CS"
LOINC, DICOM = "http://loinc.org", "http://dicom.nema.org/resources/ontology/DCM"
DRAFT_TAGS = "urn:ikyoku:draft"
"""The code system of our own mark."""

_AI = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "AIAST",
    "display": "Artificial Intelligence asserted",
}
_NAMES = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation"
_XHTML = "http://www.w3.org/1999/xhtml"
_MODALITIES = {"CR": "Computed Radiography", "DX": "Digital Radiography", "RG": "Radiographic imaging"}
_SPACE = uuid.UUID("0c9a4b53-7f0e-5b52-9a43-2f4b8f0d9a11")
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Resource = dict[str, Any]


def diagnostic_report(draft: Draft, source: SourceStudy | None) -> Resource:
    """Returns a draft as a Bundle of type "collection"; its first entry is the DiagnosticReport.

    Equal arguments give equal ids. Without a source the report names no patient and no imaging study; with a
    de-identified one the patient is empty.

    Args:
        draft: with a text.
        source: the study as its image declares it, or None where the image was no DICOM file.
    """
    study = source.study if source else "\n".join(draft.images)
    ids = {
        kind: str(uuid.uuid5(_SPACE, f"{kind}\n{study}\n{draft.id}\n{draft.created.isoformat()}")) for kind in _KINDS
    }
    ids["Device"] = str(uuid.uuid5(_SPACE, f"Device\n{draft.author.name}\n{draft.author.sha256}"))
    if source:
        ids["Patient"] = str(uuid.uuid5(_SPACE, f"Patient\n{source.study}"))
        ids["ImagingStudy"] = str(uuid.uuid5(_SPACE, f"ImagingStudy\n{source.study}"))
    resources = [_report(draft, source, ids), _observation(draft, source, ids, "Findings")]
    resources += [_observation(draft, source, ids, "Impression")] if draft.impression else []
    resources += [_imaging_study(source, ids), _patient(source, ids)] if source else []
    resources += [_device(draft, ids), _provenance(draft, source, ids)]
    return {
        "resourceType": "Bundle",
        "meta": _marked(),
        "type": "collection",
        "timestamp": draft.created.isoformat(timespec="seconds"),
        "entry": [{"fullUrl": f"urn:uuid:{each['id']}", "resource": each} for each in resources],
    }


_KINDS = ("DiagnosticReport", "Findings", "Impression", "Provenance")


def _marked(profile: str = "") -> Resource:
    """The `meta` of a draft: whose profile it follows, and that it is a machine's and unverified."""
    tag = {"system": DRAFT_TAGS, "code": "unverified", "display": DRAFT_MARK}
    return ({"profile": [JP_CORE + profile]} if profile else {}) | {"security": [dict(_AI)], "tag": [tag]}


def _to(ids: Mapping[str, str], kind: str) -> Resource:
    return {"reference": f"urn:uuid:{ids[kind]}"}


def _report(draft: Draft, source: SourceStudy | None, ids: Mapping[str, str]) -> Resource:
    radiology = {"coding": [{"system": LOINC, "code": "LP29684-5", "display": "放射線"}]}
    modalities = [
        {"coding": [{"system": DICOM, "code": code} | ({"display": name} if (name := _MODALITIES.get(code)) else {})]}
        for code in (source.modalities if source else ())
    ]
    found: Resource = {
        "resourceType": "DiagnosticReport",
        "id": ids["DiagnosticReport"],
        "meta": _marked("JP_DiagnosticReport_Radiology"),
        "language": "ja",
        "text": _narrative(draft),
        "identifier": [{"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{ids['DiagnosticReport']}"}],
        "status": "preliminary",
        "category": [radiology, *modalities],
        "code": {
            "coding": [
                {"system": DOCUMENT_CODES, "code": "18748-4", "display": "画像検査報告書"},
                {"system": LOINC, "code": "18748-4", "display": "Diagnostic imaging study"},
            ],
            "text": f"画像検査報告書 {DRAFT_MARK}",
        },
    }
    if source:
        found["subject"] = _to(ids, "Patient")
    found["effectiveDateTime"] = draft.created.isoformat(timespec="seconds")
    found["result"] = [_to(ids, "Findings")]
    if draft.impression:
        found["result"].append(_to(ids, "Impression"))
    if source:
        found["imagingStudy"] = [_to(ids, "ImagingStudy")]
    if draft.impression:
        found["conclusion"] = plain_text(draft.impression)
    return found


def _observation(draft: Draft, source: SourceStudy | None, ids: Mapping[str, str], kind: str) -> Resource:
    """The findings or the impression as an Observation."""
    code, display, text = {
        "Findings": ("18782-3", "Radiology Study observation (narrative)", draft.findings),
        "Impression": ("19005-8", "Radiology Imaging study [Impression] (narrative)", draft.impression),
    }[kind]
    found: Resource = {
        "resourceType": "Observation",
        "id": ids[kind],
        "meta": _marked(f"JP_Observation_Radiology_{kind}"),
        "language": "ja",
        "status": "preliminary",
        "category": [{"coding": [{"system": OBSERVATION_CATEGORIES, "code": "imaging", "display": "Imaging"}]}],
        "code": {"coding": [{"system": LOINC, "code": code, "display": display}]},
    }
    if source:
        found["subject"] = _to(ids, "Patient")
    found["effectiveDateTime"] = draft.created.isoformat(timespec="seconds")
    if text:
        found["valueString"] = plain_text(text)
    else:
        unknown = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
        found["dataAbsentReason"] = {"coding": [{"system": unknown, "code": "unknown", "display": "Unknown"}]}
    found["device"] = _to(ids, "Device")
    if source:
        found["derivedFrom"] = [_to(ids, "ImagingStudy")]
    return found


def _imaging_study(source: SourceStudy, ids: Mapping[str, str]) -> Resource:
    found: Resource = {
        "resourceType": "ImagingStudy",
        "id": ids["ImagingStudy"],
        "meta": {"profile": [JP_CORE + "JP_ImagingStudy_Radiology"]},
        "identifier": [{"system": "urn:dicom:uid", "value": f"urn:oid:{source.study}"}],
        "status": "available",
        "modality": [{"system": DICOM, "code": code} for code in source.modalities],
        "subject": _to(ids, "Patient"),
    }
    if number := source.values.get("AccessionNumber"):
        kind = {"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "ACSN"}
        found["identifier"].append({"type": {"coding": [kind]}, "value": number})
    if started := _date(source.values.get("StudyDate", "")):
        found["started"] = started
    series: dict[str, list[SourceImage]] = {}
    for image in source.images:
        series.setdefault(image.series, []).append(image)
    found |= {"numberOfSeries": len(series), "numberOfInstances": len(source.images)}
    found["series"] = [
        {
            "uid": uid,
            "modality": {"system": DICOM, "code": images[0].modality or "OT"},
            "numberOfInstances": len(images),
            "instance": [_instance(image) for image in images],
        }
        for uid, images in series.items()
    ]
    if not found["modality"]:
        del found["modality"]
    return found


def _instance(image: SourceImage) -> Resource:
    kind = {"system": "urn:ietf:rfc:3986", "code": f"urn:oid:{image.sop_class}"}
    return {"uid": image.sop_instance, "sopClass": kind}


def _patient(source: SourceStudy, ids: Mapping[str, str]) -> Resource:
    """The patient as the image declares them; one without anything where the study is de-identified."""
    values = source.values
    found: Resource = {"resourceType": "Patient", "id": ids["Patient"]}
    if number := values.get("PatientID"):
        kind = {"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR"}
        found["meta"] = {"profile": [JP_CORE + "JP_Patient"]}
        found["identifier"] = [{"use": "usual", "type": {"coding": [kind]}, "value": number}]
        if issuer := values.get("IssuerOfPatientID"):
            found["identifier"][0]["assigner"] = {"display": issuer}
    groups = values.get("PatientName", "").split("=")
    names = [
        _name(group, form) for group, form in zip(groups, ("ABC", "IDE", "SYL"), strict=False) if group.strip("^ ")
    ]
    if names:
        found["name"] = names
    if sex := {"M": "male", "F": "female", "O": "other"}.get(values.get("PatientSex", "")):
        found["gender"] = sex
    if born := _date(values.get("PatientBirthDate", "")):
        found["birthDate"] = born
    return found


def _name(group: str, form: str) -> Resource:
    """One of the three groups of a DICOM name: alphabetic (ABC), ideographic (IDE), phonetic (SYL)."""
    family, given, middle, prefix, suffix = (group.split("^") + [""] * 5)[:5]
    parts: Resource = {"extension": [{"url": _NAMES, "valueCode": form}], "use": "usual"}
    parts["text"] = " ".join(filter(None, (prefix, family, given, middle, suffix)))
    lists = {"given": [g for g in (given, middle) if g], "prefix": [prefix], "suffix": [suffix]}
    parts |= {"family": family} if family else {}
    return parts | {key: values for key, values in lists.items() if any(values)}


def _date(text: str) -> str | None:
    """A DICOM date in FHIR's form, None where it is no whole date."""
    return f"{text[:4]}-{text[4:6]}-{text[6:]}" if re.fullmatch(r"\d{8}", text) else None


def _device(draft: Draft, ids: Mapping[str, str]) -> Resource:
    author = draft.author
    found: Resource = {
        "resourceType": "Device",
        "id": ids["Device"],
        "manufacturer": "ikyoku",
        "deviceName": [{"name": plain_text(author.name), "type": "model-name"}],
        "version": [{"value": f"ikyoku {author.version}"}],
        "note": [{"text": "医療機器ではありません。出力は下書きです。"}],
    }
    hashes = {"weights-sha256": author.sha256, "recipe-sha256": author.recipe_sha256}
    found["version"] += [{"type": {"text": name}, "value": value} for name, value in hashes.items() if value]
    if author.sha256:
        found["identifier"] = [{"system": "urn:ikyoku:model-sha256", "value": author.sha256}]
    return found


def _provenance(draft: Draft, source: SourceStudy | None, ids: Mapping[str, str]) -> Resource:
    kind = {"system": "http://terminology.hl7.org/CodeSystem/provenance-participant-type", "code": "author"}
    pictures = [{"system": "urn:ikyoku:picture-sha256", "value": image} for image in draft.images]
    entities = [{"role": "source", "what": {"identifier": each, "display": "胸部X線画像"}} for each in pictures]
    if source:
        entities.append({"role": "source", "what": _to(ids, "ImagingStudy")})
    targets = ["DiagnosticReport", "Findings", *(["Impression"] if draft.impression else [])]
    return {
        "resourceType": "Provenance",
        "id": ids["Provenance"],
        "target": [_to(ids, each) for each in targets],
        "recorded": draft.created.isoformat(timespec="seconds"),
        "agent": [{"type": {"coding": [kind]}, "who": _to(ids, "Device")}],
        **({"entity": entities} if entities else {}),
    }


def _narrative(draft: Draft) -> Resource:
    """The text for people: the mark, findings, impression, labels under their own heading; nothing in it is markup."""
    parts = [f"<p><b>{_xhtml(DRAFT_MARK)}</b></p>"]
    sections = [(FINDINGS_HEADING, draft.findings), (IMPRESSION_HEADING, draft.impression)]
    for heading, text in sections:
        if text:
            lines = "<br/>".join(map(_xhtml, plain_text(text).split("\n")))
            parts.append(f"<h3>{heading}</h3><p>{lines}</p>")
    if draft.labels:
        items = "".join(f"<li>{_xhtml(label.text)}</li>" for label in draft.labels)
        parts.append(f"<h3>{LABELS_HEADING}</h3><ul>{items}</ul>")
    parts += [f"<p>文中の矛盾：{_xhtml(each)}</p>" for each in draft.contradictions]
    div = f'<div xmlns="{_XHTML}" xml:lang="ja" lang="ja">{"".join(parts)}</div>'
    return {"status": "generated", "div": div}


def _xhtml(text: str) -> str:
    return html.escape(_NOT_XML.sub("\ufffd", plain_text(text)), quote=True)
