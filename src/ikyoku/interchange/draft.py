"""A draft report as it is handed over: texts, labels, who wrote it, and the words that mark it as unverified."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

DRAFT_MARK = "未確認の下書き（AI生成・医師の確認が必要）"
"""Stands on every form of a draft."""

DRAFT_MARK_EN = "Unverified draft written by AI: a physician must check it"
"""The same for readers of English."""

FINDINGS_HEADING, IMPRESSION_HEADING, LABELS_HEADING = "所見", "診断", "自動抽出ラベル"
"""The headings of a draft. Labels are read out of the text by rules; they are no diagnosis and never stand as one."""

CERTAINTIES: Mapping[str, str] = {"present": "あり", "possible": "疑い", "absent": "なし"}
SIDES: Mapping[str, str] = {"right": "右", "left": "左", "both": "両側", "": ""}
SITES: Mapping[str, str] = {
    "upper": "上肺野",
    "middle": "中肺野",
    "lower": "下肺野",
    "apex": "肺尖",
    "hilum": "肺門",
    "mediastinum": "縦隔",
    "costophrenic": "肋骨横隔膜角",
    "diffuse": "びまん性",
}
CHANGES: Mapping[str, str] = {
    "new": "新出",
    "increased": "増加",
    "decreased": "減少",
    "unchanged": "不変",
    "resolved": "消失",
    "": "",
}

_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff\ufffe\uffff]"
)


@dataclass(frozen=True, slots=True)
class Author:
    """The model that wrote a draft.

    `version` is ikyoku's. `sha256` is that of the weights' folder with its adapter's (`provenance.sha256_of`), ""
    where the model came from the hub's cache or a server; `recipe_sha256` that of the recipe it was merged by.
    """

    name: str
    version: str
    sha256: str = ""
    recipe_sha256: str = ""


@dataclass(frozen=True, slots=True)
class Label:
    """A finding that was read out of a draft; `japanese` is its name in reports, the rest as in `findings.Finding`."""

    name: str
    japanese: str
    certainty: str
    side: str = ""
    sites: tuple[str, ...] = ()
    change: str = ""

    @property
    def text(self) -> str:
        """The label as a line of Japanese.

        >>> Label("pleural_effusion", "胸水", "possible", "right", ("lower",), "increased").text
        '胸水（右・下肺野・増加）：疑い'
        """
        places = [SIDES[self.side], *(SITES[site] for site in self.sites), CHANGES[self.change]]
        place = "・".join(filter(None, places))
        return f"{self.japanese}{f'（{place}）' if place else ''}：{CERTAINTIES[self.certainty]}"


@dataclass(frozen=True, slots=True)
class Draft:
    """A draft report of one study.

    `impression` is "" where the model wrote none: nothing is put in its place. `images` are the hashes of the pictures
    that the model was given (`types.Picture.sha256`). `created` has a time zone.
    """

    id: str
    created: datetime
    findings: str
    impression: str
    author: Author
    labels: tuple[Label, ...] = ()
    contradictions: tuple[str, ...] = ()
    images: tuple[str, ...] = ()


def draft_of(record: Mapping[str, Any]) -> Draft:
    """Returns the draft in a record of `drafts.jsonl`."""
    author = record["model"]
    return Draft(
        id=record["id"],
        created=datetime.fromisoformat(record["created"]),
        findings=record["findings"],
        impression=record["impression"],
        author=Author(**{key: author[key] for key in ("name", "version", "sha256", "recipe_sha256")}),
        labels=tuple(label_of(label) for label in record["found"]),
        contradictions=tuple(item["text"] for item in record["contradictions"]),
        images=tuple(image["sha256"] for image in record["images"]),
    )


def label_of(record: Mapping[str, Any]) -> Label:
    """Returns the label in an entry of a record's `found`."""
    keys = ("name", "japanese", "certainty", "side", "change")
    return Label(**{key: record[key] for key in keys}, sites=tuple(record["sites"]))


def plain_text(text: str) -> str:
    r"""Returns text as it may stand in a document: no control characters, none that turn the reading direction.

    An escape character would switch the character set in the middle of a DICOM text; a direction mark can show a
    sentence in another order than it is stored. Line feeds and tabs stay, other line ends become line feeds.

    >>> plain_text("右\r\n胸水\x1b$B \u202eなし")
    '右\n胸水$B なし'
    """
    return _CONTROLS.sub("", text.replace("\r\n", "\n").replace("\r", "\n").replace("\u2028", "\n")).strip()


def file_name(text: str, *, most: int = 60) -> str:
    """Returns a text as a name that every file system takes and that leads nowhere: letters, digits, - and _.

    Japanese letters stay. What was changed gets a part of the text's hash, so that two texts have two names.

    >>> file_name("A-0012"), file_name("../x/胸部 1")[:7]
    ('A-0012', 'x_胸部_1-')
    """
    import hashlib

    name = re.sub(r"[^\w-]+", "_", text).strip("_-")[:most]
    reserved = re.fullmatch(r"(?i)con|prn|aux|nul|com\d|lpt\d", name)
    if name == text and name and not reserved:
        return name
    return f"{name or 'study'}-{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:8]}"
