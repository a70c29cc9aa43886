"""The header that identifies nobody, and what in it shows that a file is no chest radiograph."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ikyoku.dicom import vocabulary
from ikyoku.dicom.parsing import Unreadable, first, items, number, numbers, whole, word

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

View = Literal["frontal", "lateral", ""]


@dataclass(frozen=True, slots=True)
class Header:
    r"""What may be known of a radiograph without knowing whose it is.

    Words come from DICOM's closed lists; a word that is not in them reads "". `pixel_spacing` is (row, column) in mm,
    at the detector where the file says no other. `burned_in` is None where the file does not say. `orientation` is the
    direction of a row and of a column, such as `L\F`, "" where unknown. `study`, `series` and `instance` are the
    SHA-256 of the UIDs, to tell files apart and to group them: whoever has a UID can tell that it is this one, so they
    are as confidential as a list of examinations.
    """

    modality: str
    view_position: str
    laterality: str
    body_part: str
    photometric: str
    rows: int
    columns: int
    bits_stored: int
    signed: bool
    pixel_spacing: tuple[float, float] | None
    burned_in: bool | None
    orientation: str
    transfer_syntax: str
    lossy: bool
    character_sets: tuple[str, ...]
    study: str
    series: str
    instance: str

    @property
    def view(self) -> View:
        """Frontal, lateral, or "" where the view position does not tell."""
        if self.view_position in vocabulary.FRONTAL:
            return "frontal"
        return "lateral" if self.view_position in vocabulary.LATERAL else ""


def read_header(dataset: Dataset, syntax: str) -> Header:
    """Returns the header of a data set. Call it inside `parsing.quiet`.

    Raises:
        Unreadable: when the image's size or depth is absent or beyond what is read.

    Reference:
        DICOM PS3.3 C.7.6.3 (Image Pixel), C.8.11 (Digital X-Ray).
    """
    photometric = word(dataset, "PhotometricInterpretation")
    if photometric not in (*vocabulary.GREY, *vocabulary.COLOUR):
        found = photometric if photometric in vocabulary.OTHER_PHOTOMETRIC else "absent or unknown"
        raise Unreadable(f"PhotometricInterpretation is {found}; MONOCHROME1, MONOCHROME2, RGB and YBR are read")
    if (number(dataset, "NumberOfFrames") or 1) != 1:
        raise Unreadable("it has several frames; a radiograph is one image")
    allocated = whole(dataset, "BitsAllocated", least=1, most=64)
    if allocated not in (8, 16):
        raise Unreadable(f"BitsAllocated is {allocated}; 8 and 16 are read")
    lossy = word(dataset, "LossyImageCompression") == "01" or syntax in vocabulary.LOSSY
    view = word(dataset, "ViewPosition")
    side = word(dataset, "ImageLaterality") or word(dataset, "Laterality")
    spacing = numbers(dataset, "PixelSpacing") or numbers(dataset, "ImagerPixelSpacing")
    return Header(
        modality=(modality := word(dataset, "Modality")) * (modality in vocabulary.MODALITIES),
        view_position=view * (view in vocabulary.VIEWS),
        laterality=side * (side in vocabulary.LATERALITIES),
        body_part="CHEST" if _is_chest(dataset) else "",
        photometric=photometric,
        rows=whole(dataset, "Rows", least=1, most=65_535),
        columns=whole(dataset, "Columns", least=1, most=65_535),
        bits_stored=whole(dataset, "BitsStored", least=1, most=allocated, absent=allocated),
        signed=whole(dataset, "PixelRepresentation", least=0, most=1, absent=0) == 1,
        pixel_spacing=(spacing[0], spacing[1]) if len(spacing) == 2 and min(spacing) > 0 else None,
        burned_in={"YES": True, "NO": False}.get(word(dataset, "BurnedInAnnotation")),
        orientation=_orientation(dataset),
        transfer_syntax=syntax,
        lossy=lossy,
        character_sets=_character_sets(dataset),
        study=_hash(dataset, "StudyInstanceUID"),
        series=_hash(dataset, "SeriesInstanceUID"),
        instance=_hash(dataset, "SOPInstanceUID"),
    )


def check_chest(dataset: Dataset) -> list[str]:
    """Returns what is unsure about a data set being a chest radiograph. Call it inside `parsing.quiet`.

    Raises:
        Unreadable: when its modality or body part says that it is none.
    """
    if "PixelData" not in dataset:
        raise Unreadable("there is no image in it (no PixelData)")
    unsure = []
    modality, kind = word(dataset, "Modality"), word(dataset, "SOPClassUID")
    if modality not in vocabulary.MODALITIES:
        allowed = ", ".join(vocabulary.MODALITIES)
        if modality in vocabulary.OTHER_MODALITIES:
            raise Unreadable(f"its modality is {modality}; a radiograph is {allowed}")
        if modality or kind not in vocabulary.RADIOGRAPHS:
            raise Unreadable(f"its modality is {'no known one' if modality else 'absent'}; a radiograph is {allowed}")
        unsure.append(f"the header names no modality, only {vocabulary.RADIOGRAPHS[kind]}")
    elif modality == "OT":
        unsure.append("the modality is OT (other): whether this is a radiograph, a reader must say")
    if kind == vocabulary.FOR_PROCESSING:
        unsure.append("the image is for processing: raw values of the detector, not what a reader is shown")
    part = word(dataset, "BodyPartExamined")
    if part and part not in vocabulary.CHEST:
        found = part if part in vocabulary.OTHER_BODY_PARTS else "none of the chest"
        raise Unreadable(f"its body part is {found}; only radiographs of the chest are read")
    if not part and items(dataset, "AnatomicRegionSequence") and not _is_chest(dataset):
        raise Unreadable("its anatomic region is another than the chest; only radiographs of the chest are read")
    if not _is_chest(dataset):
        unsure.append("the header names no body part: whether this is a chest, a reader must say")
    return unsure


def _is_chest(dataset: Dataset) -> bool:
    codes = [
        (word(item, "CodingSchemeDesignator"), word(item, "CodeValue"))
        for item in items(dataset, "AnatomicRegionSequence")
    ]
    return word(dataset, "BodyPartExamined") in vocabulary.CHEST or any(
        code in vocabulary.CHEST_CODES for code in codes
    )


def _orientation(dataset: Dataset) -> str:
    """Returns the patient orientation where both directions are among the six of a frontal or lateral view."""
    try:
        found = [str(x).strip().upper() for x in dataset.get("PatientOrientation") or ()]
    except Exception:  # see `parsing.first`
        return ""
    return "\\".join(found) if len(found) == 2 and all(x in set("LRAPHF") for x in found) else ""


def _character_sets(dataset: Dataset) -> tuple[str, ...]:
    try:
        value = dataset.get("SpecificCharacterSet") or ""
        found = [str(x).strip() for x in ([value] if isinstance(value, str) else value)]
    except Exception:  # see `parsing.first`
        return ()
    return tuple(x for x in found if x in vocabulary.CHARACTER_SETS) if any(found) else ()


def _hash(dataset: Dataset, keyword: str) -> str:
    value = first(dataset, keyword)
    return hashlib.sha256(str(value).encode("utf-8", "replace")).hexdigest() if value is not None else ""
