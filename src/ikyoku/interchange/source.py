"""Whose study a draft belongs to: patient and study as the source image declares them.

This is the one place of the project that reads a patient's name. What is read goes into the DICOM SR and the FHIR
report that stay in the hospital, and nowhere else: none of these values prints itself, and no message holds one.
"""

from __future__ import annotations

import hashlib
import re
import uuid
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ikyoku.errors import DataError

if TYPE_CHECKING:
    from pydicom import Dataset

_PERSONS = ("PatientName", "ReferringPhysicianName")
_TEXTS = (
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "PatientAge",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "StudyDescription",
)
ATTRIBUTES = (*_PERSONS, *_TEXTS)
"""What is taken over, by DICOM keyword: of the modules Patient, Patient Study and General Study."""

_UNIQUE = ("StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID", "SOPInstanceUID")
_UID = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+")
_ASCII = ("", "ISO_IR 6", "ISO 2022 IR 6")
_SPACE = uuid.UUID("6f1e0d5e-4a5b-5d38-9f0a-3f4f6c1b7a52")


@dataclass(frozen=True, slots=True, repr=False)
class SourceImage:
    """An image of the study: its UIDs and modality ("DX")."""

    series: str
    sop_class: str
    sop_instance: str
    modality: str


@dataclass(frozen=True, slots=True, repr=False)
class SourceStudy:
    """The study that a draft is attached to.

    `values` holds what the image declares, by DICOM keyword of `ATTRIBUTES`, decoded from its character set; an
    attribute that is absent, empty or not readable is absent. `unread` names those that were there and could not be
    read: a wrong name is worse than none.
    """

    study: str
    images: tuple[SourceImage, ...]
    values: dict[str, str] = field(default_factory=dict)
    unread: tuple[str, ...] = ()

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities of the images, each once."""
        return tuple(dict.fromkeys(image.modality for image in self.images if image.modality))


def read_source(paths: Sequence[Path]) -> SourceStudy | None:
    """Returns the study of DICOM files, from the first one's header, or None where one of them is no DICOM file.

    Args:
        paths: files of one study.

    Raises:
        DataError: a header cannot be read, lacks a UID, or the files are of several studies.
    """
    headers = [_header(path) for path in paths]
    if not headers or any(header is None for header in headers):
        return None
    found = [header for header in headers if header is not None]
    uids = [_uids(path, header) for path, header in zip(paths, found, strict=True)]
    if len({each["StudyInstanceUID"] for each in uids}) > 1:
        raise DataError("the images are of several studies; give each study by itself.")
    values, unread = {}, []
    for keyword in ATTRIBUTES:
        text = attribute_text(found[0], keyword)
        if text is None or not _is_valid(keyword, text):
            unread.append(keyword)
        elif text:
            values[keyword] = text
    modalities = [re.sub(r"[^A-Z]", "", attribute_text(header, "Modality") or "")[:16] for header in found]
    images = tuple(
        SourceImage(each["SeriesInstanceUID"], each["SOPClassUID"], each["SOPInstanceUID"], modality)
        for each, modality in zip(uids, modalities, strict=True)
    )
    return SourceStudy(uids[0]["StudyInstanceUID"], images, values, tuple(unread))


def study_key(path: Path) -> str | None:
    """Returns the hash of the study that a DICOM file says it belongs to, or None where there is none to be read."""
    try:
        header = _header(path)
    except DataError:
        return None
    uid = str(header.get("StudyInstanceUID", "")) if header is not None else ""
    return hashlib.sha256(uid.encode()).hexdigest() if uid else None


def deidentified(source: SourceStudy) -> SourceStudy:
    """Returns a study without any value of its patient, with UIDs that are hashes of its own.

    Equal UIDs stay equal, so that the reports of one study still belong together. Someone who knows a UID can make the
    same hash: this protects against reading, not against recognising a study that one holds.
    """
    images = tuple(
        replace(image, series=hashed_uid(image.series), sop_instance=hashed_uid(image.sop_instance))
        for image in source.images
    )
    return SourceStudy(hashed_uid(source.study), images)


def hashed_uid(text: str) -> str:
    """Returns a UID made of a text's hash, of the form that needs no registered root.

    >>> hashed_uid("1.2.3") == hashed_uid("1.2.3"), hashed_uid("1.2.3")[:5], len(hashed_uid("1.2.3")) <= 64
    (True, '2.25.', True)

    Reference:
        DICOM PS3.5 annex B.2: UIDs derived from UUIDs.
    """
    return f"2.25.{uuid.uuid5(_SPACE, text).int}"


def _header(path: Path) -> Dataset | None:
    """A file's header without its pixels, or None where it is no DICOM file."""
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they hold values
            return dcmread(path, stop_before_pixels=True)
    except InvalidDicomError:
        return None
    except Exception as error:  # a broken file breaks pydicom in many ways, and its words hold values
        raise DataError(f"the DICOM header cannot be read ({type(error).__name__}).") from None


def _is_valid(keyword: str, text: str) -> bool:
    """Whether a value is what DICOM allows for its attribute: an SR with a value that is not is refused by archives."""
    from pydicom.config import RAISE
    from pydicom.datadict import dictionary_VR, tag_for_keyword
    from pydicom.valuerep import validate_value

    vr = dictionary_VR(tag_for_keyword(keyword) or 0)
    try:
        validate_value(vr, text, RAISE)
    except ValueError:
        return False
    return "\\" not in text or vr == "PN"


def _uids(path: Path, header: Dataset) -> dict[str, str]:
    found = {keyword: attribute_text(header, keyword) or "" for keyword in _UNIQUE}
    if lacking := [keyword for keyword, uid in found.items() if not _UID.fullmatch(uid) or len(uid) > 64]:
        raise DataError(f"the DICOM header has no valid {', '.join(lacking)}.")
    return found


def attribute_text(header: Dataset, keyword: str) -> str | None:
    """Returns an attribute as text, "" where it is absent or empty, None where it cannot be read in its character set.

    Decoded from its bytes as one value: a kanji in ISO 2022 may hold the byte of a backslash, which separates values.
    """
    from pydicom.charset import convert_encodings, decode_bytes
    from pydicom.dataelem import RawDataElement
    from pydicom.valuerep import PN_DELIMS, TEXT_VR_DELIMS

    declared = header.get("SpecificCharacterSet") or ""
    sets = [declared] if isinstance(declared, str) else list(declared)
    try:
        with warnings.catch_warnings(record=True) as complaints:
            warnings.simplefilter("always")
            item: Any = header.get_item(keyword)
            raw = item.value if item is not None else None
            if isinstance(item, RawDataElement) and isinstance(raw, bytes):
                delimiters = PN_DELIMS if keyword in _PERSONS else TEXT_VR_DELIMS
                text = decode_bytes(raw, convert_encodings(sets or [""]), delimiters)
            else:
                text = str(raw) if raw is not None else ""
    except Exception:  # not text in any of the character sets
        return None
    text = text.strip(" \x00")
    readable = not complaints and not re.search(r"[\x00-\x1f\x7f-\x9f\ufffd]", text)
    if all(name in _ASCII for name in sets):
        readable = readable and text.isascii()
    return text if readable else None
