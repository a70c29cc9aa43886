"""A draft as a DICOM structured report that lies beside its image: Enhanced SR, unverified, partial, preliminary.

The tree is the basic diagnostic imaging report (TID 2000): its language, the model as the observing device, the
findings with the images they were read from, the impression where the model wrote one, and the labels under a heading
of their own. Every file is read back before it is given out: what a character set cannot hold is refused, not replaced.

Reference:
    DICOM PS3.3 A.35.2 and C.17; PS3.16 TID 2000, 1204 and 1004.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from ikyoku.errors import DataError
from ikyoku.interchange.draft import DRAFT_MARK, FINDINGS_HEADING, IMPRESSION_HEADING, LABELS_HEADING, Draft, plain_text
from ikyoku.interchange.source import SourceStudy, attribute_text, hashed_uid

if TYPE_CHECKING:
    from pydicom import Dataset

CharacterSet = Literal["ISO_IR 192", "\\ISO 2022 IR 87", "ISO 2022 IR 13\\ISO 2022 IR 87"]
"""UTF-8; or, for systems that take nothing newer, JIS X 0208 with ASCII, or with the half-width katakana of JIS X 0201.

ISO_IR 100 is none of them: it holds no Japanese.
"""

TITLE = "未確認の下書き（AI生成）画像診断報告書"
"""How viewers name the document: the meaning of its title's code."""

_MAKER = "ikyoku"
_JIS = str.maketrans("～－∥￠￡￢—", "〜−‖¢£¬―")
"""Characters that Windows and JIS X 0208 write with two code points."""

_OPTIONAL = ("IssuerOfPatientID", "PatientAge", "StudyDescription")
_HEADER = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
)
"""Attributes that have to be there, empty where nothing is known (type 2)."""


def report_sr(draft: Draft, source: SourceStudy, *, character_set: CharacterSet = "ISO_IR 192") -> bytes:
    """Returns a draft as a DICOM file that a PACS files under the source's study.

    Equal arguments give equal UIDs, so that a report written twice is one instance.

    Args:
        draft: with a text; a draft without one is no report.
        source: patient, study and images; see `source.deidentified`.
        character_set: of the texts.

    Raises:
        DataError: the draft is empty, or the character set cannot hold its text or the patient's name.
    """
    if not draft.findings and not draft.impression:
        raise DataError("the draft has no text, so there is no report to write.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they hold values; what matters is compared below
        document, values = _document(draft, source, character_set)
        data = _written(document)
        lost = _lost(document, data, values)
    if lost:
        raise DataError(
            f"{character_set} cannot hold {' and '.join(lost)} as written. Write the report in ISO_IR 192 (UTF-8)."
        )
    return data


def sr_texts(data: bytes) -> dict[str, list[str]]:
    """Returns the texts of a structured report by the code of their heading, as pydicom reads them.

    The code 121071 stands before findings, 121073 before impressions, 121106 before comments.
    """
    from pydicom import dcmread

    return _texts(dcmread(io.BytesIO(data)))


def _document(draft: Draft, source: SourceStudy, character_set: CharacterSet) -> tuple[Dataset, dict[str, str]]:
    """The data set, and the values of patient and study that it should hold."""
    from highdicom.sr import EnhancedSR

    key = "\n".join([source.study, draft.id, draft.created.isoformat(), draft.findings, draft.impression])
    document = EnhancedSR(
        evidence=[_evidence(source, place) for place in range(len(source.images))],
        content=_content(draft, source, character_set),
        series_instance_uid=hashed_uid(f"series\n{key}"),
        series_number=9000,
        sop_instance_uid=hashed_uid(f"instance\n{key}"),
        instance_number=1,
        manufacturer=_MAKER,
        manufacturer_model_name=_short(draft.author.name, character_set),
        software_versions=draft.author.version[:64],
        device_serial_number=draft.author.sha256[:64] or None,
        series_description=DRAFT_MARK,
        specific_character_set="ISO_IR 192",
        contributing_equipment=[_equipment(draft, character_set)],
    )
    # The patient is put in here and not through highdicom, which would log a name that looks unusual to it.
    values = {name: _encodable(text, character_set) for name, text in source.values.items()}
    for name in _HEADER:
        setattr(document, name, values.get(name, ""))
    for name in _OPTIONAL:
        if values.get(name):
            setattr(document, name, values[name])
    for name, value in _times(draft.created).items():
        setattr(document, name, value)
    document.TimezoneOffsetFromUTC = draft.created.strftime("%z")
    for equipment in document.ContributingEquipmentSequence:
        setattr(equipment, "ContributionDateTime", draft.created.strftime("%Y%m%d%H%M%S%z"))  # noqa: B010
    if character_set != "ISO_IR 192":  # highdicom knows no list that begins with the default
        document.SpecificCharacterSet = character_set.split("\\")
    return document, values


def _times(moment: datetime) -> dict[str, str]:
    day, time = moment.strftime("%Y%m%d"), moment.strftime("%H%M%S")
    return {f"{what}{kind}": value for what in ("Content", "InstanceCreation", "Series") for kind, value in
            (("Date", day), ("Time", time))}  # fmt: skip


def _evidence(source: SourceStudy, place: int) -> Dataset:
    """What highdicom needs of an image to point to it: UIDs, and no word of the patient."""
    from pydicom import Dataset

    image, found = source.images[place], Dataset()
    found.StudyInstanceUID, found.SeriesInstanceUID = source.study, image.series
    found.SOPClassUID, found.SOPInstanceUID = image.sop_class, image.sop_instance
    for name in _HEADER:
        setattr(found, name, None)
    return found


def _content(draft: Draft, source: SourceStudy, character_set: CharacterSet) -> Dataset:
    """The tree of the report: its language, who observed, then what is said."""
    from highdicom.sr import (
        CodeContentItem,
        CodedConcept,
        ContainerContentItem,
        ContentSequence,
        RelationshipTypeValues,
        TextContentItem,
        UIDRefContentItem,
    )
    from pydicom.sr.codedict import codes

    author, observer = draft.author, RelationshipTypeValues.HAS_OBS_CONTEXT

    def told(name: Any, value: str) -> Any:
        return TextContentItem(name, _encodable(value, character_set), observer)

    language = CodeContentItem(
        codes.DCM.LanguageOfContentItemAndDescendants,
        CodedConcept("ja", "RFC5646", "Japanese"),
        RelationshipTypeValues.HAS_CONCEPT_MOD,
    )
    items: list[Any] = [
        language,
        CodeContentItem(codes.DCM.ObserverType, codes.DCM.Device, observer),
        UIDRefContentItem(codes.DCM.DeviceObserverUID, hashed_uid(f"{author.name}\n{author.sha256}"), observer),
        told(codes.DCM.DeviceObserverName, author.name),
        told(codes.DCM.DeviceObserverManufacturer, _MAKER),
        told(codes.DCM.DeviceObserverModelName, f"{_MAKER} {author.version}"),
    ]
    if author.sha256:
        items.append(told(codes.DCM.DeviceObserverSerialNumber, author.sha256))
    items += _sections(draft, source, character_set)
    root = ContainerContentItem(CodedConcept("18748-4", "LN", TITLE), is_content_continuous=False, template_id="2000")
    root.ContentSequence = ContentSequence(items)
    return root


def _sections(draft: Draft, source: SourceStudy, character_set: CharacterSet) -> list[Any]:
    """What the report says, a container a heading: the mark, findings and impression with their images, labels."""
    from highdicom.sr import (
        CodedConcept,
        ContainerContentItem,
        ContentSequence,
        ImageContentItem,
        RelationshipTypeValues,
        TextContentItem,
    )
    from pydicom.sr.codedict import codes

    contains, inferred = RelationshipTypeValues.CONTAINS, RelationshipTypeValues.INFERRED_FROM
    seen = codes.DCM.SourceOfMeasurement
    images = [ImageContentItem(seen, i.sop_class, i.sop_instance, relationship_type=inferred) for i in source.images]
    private = "99IKYOKU"

    def text(name: Any, value: str, below: Sequence[Any] = ()) -> Any:
        item = TextContentItem(name, _encodable(value, character_set), contains)
        if below:
            item.ContentSequence = ContentSequence(below)
        return item

    def container(code: str, scheme: str, heading: str, items: Sequence[Any]) -> Any:
        found = ContainerContentItem(
            CodedConcept(code, scheme, heading), is_content_continuous=False, relationship_type=contains
        )
        found.ContentSequence = ContentSequence(items)
        return found

    notices = [DRAFT_MARK, *(f"文中の矛盾：{each}" for each in draft.contradictions)]
    found = [container("notice", private, "注意", [text(codes.DCM.Comment, each) for each in notices])]
    if draft.findings:
        said = text(codes.DCM.Finding, draft.findings, images)
        found.append(container("59776-5", "LN", FINDINGS_HEADING, [said]))
    if draft.impression:
        said = text(codes.DCM.Impression, draft.impression, images)
        found.append(container("19005-8", "LN", IMPRESSION_HEADING, [said]))
    if draft.labels:
        name = CodedConcept("label", private, "ラベル")
        found.append(container("labels", private, LABELS_HEADING, [text(name, each.text) for each in draft.labels]))
    return found


def _equipment(draft: Draft, character_set: CharacterSet) -> Any:
    from highdicom import ContributingEquipment
    from pydicom.sr.codedict import codes

    author = draft.author
    told = [f"model {author.name}", f"weights sha256 {author.sha256 or 'not known'}"]
    told += [f"merge recipe sha256 {author.recipe_sha256}"] if author.recipe_sha256 else []
    told += [f"image sha256 {image}" for image in draft.images]
    return ContributingEquipment(
        _MAKER,
        codes.DCM.ProcessingEquipment,
        manufacturer_model_name=_short(author.name, character_set),
        software_versions=author.version[:64],
        device_serial_number=author.sha256[:64] or None,
        contribution_datetime=draft.created.strftime("%Y%m%d%H%M%S%z"),
        contribution_description=_encodable("; ".join(told), character_set)[:1024],
    )


def _short(text: str, character_set: CharacterSet) -> str:
    """A name as a value of at most 64 characters, without the character that separates values."""
    return _encodable(text, character_set).replace("\\", "/").replace("\n", " ")[:64]


def _encodable(text: str, character_set: CharacterSet) -> str:
    text = plain_text(text)
    return text if character_set == "ISO_IR 192" else text.translate(_JIS)


def _written(document: Dataset) -> bytes:
    out = io.BytesIO()
    document.save_as(out, enforce_file_format=True)
    return out.getvalue()


def _lost(document: Dataset, data: bytes, values: Mapping[str, str]) -> list[str]:
    """What does not come back out of a written file as it went in."""
    from pydicom import dcmread

    read = dcmread(io.BytesIO(data))
    names = [name for name in values if attribute_text(read, name) != values[name].strip()]
    lost = ["the report's text"] if _texts(read) != _texts(document) else []
    return lost + ([f"the study's {', '.join(names)}"] if names else [])


def _texts(document: Any) -> dict[str, list[str]]:
    """The texts of a content tree by their concept's code, in their order."""
    found: dict[str, list[str]] = {}
    for item in document.get("ContentSequence") or ():
        if item.ValueType == "TEXT":
            text = re.sub(r"\r\n?", "\n", str(item.TextValue))
            found.setdefault(item.ConceptNameCodeSequence[0].CodeValue, []).append(text)
        for code, texts in _texts(item).items():
            found.setdefault(code, []).extend(texts)
    return found
