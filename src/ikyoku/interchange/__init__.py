"""Drafts in the forms that other systems take: DICOM SR, FHIR DiagnosticReport (JP Core), a table."""

from ikyoku.interchange.draft import (
    DRAFT_MARK,
    DRAFT_MARK_EN,
    Author,
    Draft,
    Label,
    draft_of,
    file_name,
    plain_text,
)
from ikyoku.interchange.fhir import diagnostic_report
from ikyoku.interchange.jp_core import jp_core_faults
from ikyoku.interchange.source import SourceImage, SourceStudy, deidentified, read_source, study_key
from ikyoku.interchange.sr import CharacterSet, report_sr, sr_texts
from ikyoku.interchange.table import drafts_csv

__all__ = [
    "DRAFT_MARK",
    "DRAFT_MARK_EN",
    "Author",
    "CharacterSet",
    "Draft",
    "Label",
    "SourceImage",
    "SourceStudy",
    "deidentified",
    "diagnostic_report",
    "draft_of",
    "drafts_csv",
    "file_name",
    "jp_core_faults",
    "plain_text",
    "read_source",
    "report_sr",
    "sr_texts",
    "study_key",
]
