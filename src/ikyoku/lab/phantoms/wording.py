"""Reports of phantoms: Japanese and English in several wordings from the same truth.

A report says what there is, in an order of its own, and what there is not of what a reader would look for. The
sentences are the project's own. A Japanese sentence is made so that a labeler can read its truth back; an English one
can be looked up (`read_english`), because the English sentences are finite in number.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from ikyoku.findings.types import Finding, Side, Site
from ikyoku.lab.phantoms.truth import OPACITIES, Phantom

Language = Literal["ja", "en"]

_SIDES: Mapping[Language, Mapping[Side, str]] = {
    "ja": {"right": "右", "left": "左", "both": "両側"},
    "en": {"right": "right", "left": "left", "both": "bilateral"},
}
_PLACES: Mapping[Language, Mapping[Site, str]] = {
    "ja": {"upper": "上肺野", "middle": "中肺野", "lower": "下肺野"},
    "en": {"upper": "upper", "middle": "middle", "lower": "lower"},
}

_POSITIVE: Mapping[Language, Mapping[str, tuple[str, ...]]] = {
    "ja": {
        "infiltrate": (
            "{side}{zone}に浸潤影を認める。",
            "{side}{zone}に浸潤影がみられる。",
            "{side}{zone}に境界不明瞭な浸潤影あり。",
        ),
        "nodule": (
            "{side}{zone}に結節影を認める。",
            "{side}{zone}に結節影がみられる。",
            "{side}{zone}に境界明瞭な結節影あり。",
        ),
        "mass": (
            "{side}{zone}に腫瘤影を認める。",
            "{side}{zone}に腫瘤影がみられる。",
            "{side}{zone}に境界明瞭な腫瘤影あり。",
        ),
        "atelectasis": (
            "{side}{zone}に無気肺を認める。",
            "{side}{zone}に無気肺がみられる。",
            "{side}{zone}に容積減少を伴う無気肺あり。",
        ),
        "pleural_effusion": ("{side}胸水を認める。", "{side}に胸水貯留を認める。", "{side}胸水あり。"),
        "costophrenic_blunting": (
            "{side}肋骨横隔膜角は鈍で、胸水貯留を疑う。",
            "{side}肋骨横隔膜角の鈍化を認め、胸水が疑われる。",
            "{side}肋骨横隔膜角は鈍化しており、少量の胸水の可能性がある。",
        ),
        "pneumothorax": ("{side}気胸を認める。", "{side}に気胸がみられる。", "{side}気胸あり。"),
        "cardiomegaly": ("心拡大を認める。", "心陰影の拡大を認める。", "心拡大あり。"),
        "edema": ("{side}肺門周囲に肺うっ血を認める。", "{side}に肺うっ血がみられる。", "{side}に肺うっ血あり。"),
        "cv_catheter": (
            "{side}から中心静脈カテーテルが挿入されている。",
            "{side}より中心静脈カテーテルを認める。",
            "中心静脈カテーテルが{side}から留置されている。",
        ),
        "pacemaker": (
            "{side}前胸部にペースメーカーを認める。",
            "{side}にペースメーカーが留置されている。",
            "ペースメーカーが{side}前胸部に留置されている。",
        ),
        "endotracheal_tube": (
            "気管挿管チューブを認める。",
            "気管チューブが挿入されている。",
            "気管挿管チューブが留置されている。",
        ),
        "gastric_tube": ("胃管を認める。", "胃管が挿入されている。", "胃管が留置されている。"),
        "chest_drain": (
            "{side}に胸腔ドレーンを認める。",
            "{side}胸腔ドレーンが留置されている。",
            "胸腔ドレーンが{side}に挿入されている。",
        ),
    },
    "en": {
        "infiltrate": (
            "There is an infiltrate in the {side} {zone} zone.",
            "An infiltrate is seen in the {side} {zone} zone.",
            "Ill-defined infiltrate in the {side} {zone} zone.",
        ),
        "nodule": (
            "There is a nodule in the {side} {zone} zone.",
            "A nodule is seen in the {side} {zone} zone.",
            "Well-defined nodule in the {side} {zone} zone.",
        ),
        "mass": (
            "There is a mass in the {side} {zone} zone.",
            "A mass is seen in the {side} {zone} zone.",
            "Well-defined mass in the {side} {zone} zone.",
        ),
        "atelectasis": (
            "There is atelectasis in the {side} {zone} zone.",
            "Atelectasis is seen in the {side} {zone} zone.",
            "Atelectasis with volume loss in the {side} {zone} zone.",
        ),
        "pleural_effusion": (
            "There is a {side} pleural effusion.",
            "A {side} pleural effusion is seen.",
            "Pleural effusion on the {side} side.",
        ),
        "costophrenic_blunting": (
            "The {side} costophrenic angle is blunted, suspicious for effusion.",
            "Blunting of the {side} costophrenic angle, possible effusion.",
            "The {side} costophrenic angle is blunted, which may be a small effusion.",
        ),
        "pneumothorax": (
            "There is a {side} pneumothorax.",
            "A {side} pneumothorax is seen.",
            "Pneumothorax on the {side} side.",
        ),
        "cardiomegaly": ("The heart is enlarged.", "There is cardiomegaly.", "Cardiomegaly is seen."),
        "edema": (
            "There is {side} pulmonary congestion.",
            "Pulmonary congestion is seen, {side}.",
            "{side} perihilar pulmonary congestion.",
        ),
        "cv_catheter": (
            "A central venous catheter enters from the {side}.",
            "There is a central venous catheter from the {side}.",
            "Central venous catheter inserted from the {side}.",
        ),
        "pacemaker": (
            "There is a pacemaker in the {side} chest wall.",
            "A pacemaker is seen on the {side}.",
            "Pacemaker on the {side} side.",
        ),
        "endotracheal_tube": (
            "An endotracheal tube is in place.",
            "There is an endotracheal tube.",
            "Endotracheal tube is seen.",
        ),
        "gastric_tube": ("A gastric tube is in place.", "There is a gastric tube.", "Gastric tube is seen."),
        "chest_drain": (
            "There is a chest drain on the {side}.",
            "A {side} chest drain is in place.",
            "Chest drain on the {side} side.",
        ),
    },
}

_NEGATIVE: Mapping[Language, Mapping[tuple[str, ...], tuple[str, ...]]] = {
    "ja": {
        ("cardiomegaly",): ("心拡大なし。", "心拡大を認めない。"),
        ("pleural_effusion", "pneumothorax"): ("胸水、気胸を認めない。", "胸水や気胸はみられない。"),
        ("pleural_effusion",): ("胸水を認めない。", "胸水なし。"),
        ("pneumothorax",): ("気胸を認めない。", "気胸なし。"),
        ("opacity",): ("肺野に異常陰影を認めない。", "肺野に明らかな異常陰影なし。"),
    },
    "en": {
        ("cardiomegaly",): ("The heart is not enlarged.", "No cardiomegaly."),
        ("pleural_effusion", "pneumothorax"): (
            "No pleural effusion or pneumothorax.",
            "There is no effusion or pneumothorax.",
        ),
        ("pleural_effusion",): ("No pleural effusion.", "There is no effusion."),
        ("pneumothorax",): ("No pneumothorax.", "There is no pneumothorax."),
        ("opacity",): ("The lungs are clear.", "No abnormal opacity in the lungs."),
    },
}

_IMPRESSION: Mapping[Language, Mapping[str, str]] = {
    "ja": {
        "infiltrate": "{side}{zone}浸潤影",
        "nodule": "{side}{zone}結節影",
        "mass": "{side}{zone}腫瘤影",
        "atelectasis": "{side}{zone}無気肺",
        "pleural_effusion": "{side}胸水",
        "costophrenic_blunting": "{side}胸水疑い",
        "pneumothorax": "{side}気胸",
        "cardiomegaly": "心拡大",
        "edema": "両側肺うっ血",
        "": "異常所見なし",
    },
    "en": {
        "infiltrate": "{side} {zone} zone infiltrate",
        "nodule": "{side} {zone} zone nodule",
        "mass": "{side} {zone} zone mass",
        "atelectasis": "{side} {zone} zone atelectasis",
        "pleural_effusion": "{side} pleural effusion",
        "costophrenic_blunting": "possible {side} pleural effusion",
        "pneumothorax": "{side} pneumothorax",
        "cardiomegaly": "cardiomegaly",
        "edema": "bilateral pulmonary congestion",
        "": "no abnormality",
    },
}


@dataclass(frozen=True, slots=True)
class Wording:
    """A report in one language: the findings (所見) and the impression (診断)."""

    findings: str
    impression: str


def report(truth: Phantom, language: Language, *, wording: int = 0) -> Wording:
    """Returns a report of a phantom.

    Args:
        truth: what the phantom shows.
        language: "ja" or "en".
        wording: which of many; the same number gives the same sentences.
    """
    rng = random.Random(f"{truth.seed}/{truth.id}/{language}/{wording}")
    there = [sentence(f, language, rng) for f in shown(truth.findings)]
    not_there = [rng.choice(_NEGATIVE[language][names]) for names in _absent(truth, rng)]
    rng.shuffle(there)
    parts = [*there, *not_there] if rng.random() < 0.8 else [*not_there, *there]
    return Wording(("" if language == "ja" else " ").join(parts), _impression(truth, language))


def shown(findings: Sequence[Finding]) -> list[Finding]:
    """Returns the findings that have a sentence of their own: a possible effusion is told with its blunted angle."""
    return [finding for finding in findings if finding.certainty == "present"]


def sentence(finding: Finding, language: Language, rng: random.Random) -> str:
    """Returns one sentence that says that a finding is there."""
    return _filled(rng.choice(_POSITIVE[language][finding.name]), finding, language)


def listed(findings: Sequence[Finding]) -> str:
    """Returns findings as the list of terms that stands for a picture where a model has only text.

    >>> listed([Finding("infiltrate", "present", "left", frozenset({"lower"})), Finding("cardiomegaly", "present")])
    'left lower infiltrate; cardiomegaly'
    """
    items = []
    for finding in shown(findings):
        words = [finding.side, *finding.sites, finding.name.replace("_", " ")]
        items.append(" ".join(word for word in words if word))
    return "; ".join(items) or "nothing abnormal"


def read_english(text: str) -> frozenset[tuple[str, Side]]:
    """Returns the names and sides of the findings that an English report of ours calls present or possible.

    Sentences that are none of ours are passed over.

    >>> sorted(read_english("There is a left pneumothorax. No pleural effusion."))
    [('pneumothorax', 'left')]
    """
    found: set[tuple[str, Side]] = set()
    for part in text.replace("\n", " ").split("."):
        for name, side in _english_sentences().get(part.strip().lower(), ()):
            found.add((name, side))
    return frozenset(found)


def all_texts() -> list[str]:
    """Returns every sentence and impression there is, in both languages: the words that a tokenizer has to know."""
    texts: list[str] = []
    for language in ("ja", "en"):
        for wordings in _POSITIVE[language].values():
            texts += [
                text.format(side=side, zone=zone)
                for text in wordings
                for side in _SIDES[language].values()
                for zone in _PLACES[language].values()
            ]
        texts += [text for wordings in _NEGATIVE[language].values() for text in wordings]
    return list(dict.fromkeys(texts))


@cache
def _english_sentences() -> Mapping[str, tuple[tuple[str, Side], ...]]:
    table: dict[str, tuple[tuple[str, Side], ...]] = {}
    for name, wordings in _POSITIVE["en"].items():
        names = (name, "pleural_effusion") if name == "costophrenic_blunting" else (name,)
        for text in wordings:
            sides: tuple[Side, ...] = ("right", "left", "both") if "{side}" in text else ("",)
            for side in sides:
                for site in _PLACES["en"]:
                    made = Finding(name, "present", side, frozenset({site}))
                    key = _filled(text, made, "en").rstrip(".").lower()
                    table[key] = tuple((each, side) for each in names)
    return table


def _filled(text: str, finding: Finding, language: Language) -> str:
    zone = next(iter(finding.sites), None)
    place = _PLACES[language][zone] if zone else ""
    made = text.format(side=_SIDES[language].get(finding.side, ""), zone=place)
    return made[:1].upper() + made[1:]


def _absent(truth: Phantom, rng: random.Random) -> list[tuple[str, ...]]:
    """What the report says is not there: two to three of what a reader looks for, never what is there."""
    names = {finding.name for finding in truth.findings}
    groups: list[tuple[str, ...]] = []
    if "cardiomegaly" not in names:
        groups.append(("cardiomegaly",))
    pleura = [name for name in ("pleural_effusion", "pneumothorax") if name not in names]
    if pleura:
        groups.append(tuple(pleura))
    if not names & {*OPACITIES, "edema"}:
        groups.append(("opacity",))
    rng.shuffle(groups)
    return groups if not names else groups[: rng.choice((1, 2, 2, 3))]


def _impression(truth: Phantom, language: Language) -> str:
    table = _IMPRESSION[language]
    parts = [_filled(table[f.name], f, language) for f in shown(truth.findings) if f.name in table]
    if not parts:
        parts = [_filled(table[""], Finding("", "present"), language)]
    return "。".join(parts) + "。" if language == "ja" else ". ".join(parts) + "."
