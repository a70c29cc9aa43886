"""The back-check's two rates, on phantoms whose truth is told in both languages: false alarms, and what is caught."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from ikyoku.jobs.translations import section_faults
from ikyoku.lab.phantoms.truth import phantom
from ikyoku.lab.phantoms.wording import report

PHANTOMS = 400
PAIRS = YAML(typ="safe").load(
    (Path(__file__).parents[1] / "golden" / "translated_pairs.yaml").read_text(encoding="utf-8")
)
_DENIED = {  # what a report of the lab may deny, in both languages
    "心拡大": "heart is not|no cardiomegaly",
    "胸水": r"\bno\b.*effusion",
    "気胸": r"\bno\b.*pneumothorax",
    "異常陰影": "no abnormal opacity|lungs are clear",
}
_NEGATION = (("認めない", "認める"), ("みられない", "みられる"), ("なし", "あり"))


def _told(japanese: str) -> list[str]:
    return [part + "。" for part in japanese.split("。") if part]


def _denied(text: str) -> set[str]:
    if re.search("[a-z]", text):
        parts = text.lower().split(".")
        return {name for name, words in _DENIED.items() if any(re.search(words, part) for part in parts)}
    denials = [part for part in _told(text) if any(no in part for no, _ in _NEGATION)]
    return {name for name in _DENIED if any(name in part for part in denials)}


def _translations() -> Iterator[tuple[str, str, random.Random]]:
    """English findings and Japanese ones that say the same: of a phantom's wordings, one that denies the same."""
    for number in range(PHANTOMS):
        truth = phantom(11, f"back-{number}")
        english = report(truth, "en", wording=number % 3).findings
        tried = (report(truth, "ja", wording=wording).findings for wording in range(400))
        japanese = next((text for text in tried if _denied(text) == _denied(english)), "")
        assert japanese, english
        rng = random.Random(number)
        ratio = rng.randint(38, 69)
        yield (
            f"{english} The cardiothoracic ratio is {ratio}%.",
            f"{japanese}心胸郭比は{ratio}%である。",
            rng,
        )


def _side(japanese: str, rng: random.Random) -> str | None:
    parts = _told(japanese)
    sided = [at for at, part in enumerate(parts) if ("右" in part) != ("左" in part)]
    if not sided:
        return None
    at = rng.choice(sided)
    parts[at] = parts[at].translate(str.maketrans("右左", "左右"))
    return "".join(parts)


def _negation(japanese: str, rng: random.Random) -> str | None:
    parts = _told(japanese)
    denials = [at for at, part in enumerate(parts) if any(no in part for no, _ in _NEGATION)]
    if not denials:
        return None
    at = rng.choice(denials)
    for no, yes in _NEGATION:
        parts[at] = parts[at].replace(no, yes)
    return "".join(parts)


def _sentence(japanese: str, rng: random.Random) -> str | None:
    parts = _told(japanese)
    del parts[rng.randrange(len(parts) - 1)]  # the last is the number's
    return "".join(parts)


def _number(japanese: str, rng: random.Random) -> str | None:
    return re.sub(r"\d+", lambda found: str(int(found[0]) + rng.choice((-7, -1, 1, 10))), japanese)


def test_a_right_translation_of_a_phantom_raises_no_fault() -> None:
    alarms = [(en, ja, faults) for en, ja, _ in _translations() if (faults := section_faults(en, ja))]
    assert len(alarms) <= PHANTOMS // 100, alarms[:3]


def test_false_alarms_on_right_translations_are_known() -> None:
    """Fewer than one pair in ten, and every one stands in the file."""
    assert len(PAIRS) >= 70
    for pair in PAIRS:
        found = {fault.kind for fault in section_faults(pair["english"], pair["japanese"])}
        assert found <= set(pair.get("alarms", ())), pair["english"]
    assert sum("alarms" in pair for pair in PAIRS) / len(PAIRS) < 0.1


@pytest.mark.parametrize(
    ("spoilt", "kinds", "least"),
    [
        (_side, {"side"}, 240),
        (_negation, {"negation", "added"}, 300),
        (_sentence, {"missing"}, 350),
        (_number, {"number"}, 400),
    ],
)
def test_a_spoilt_translation_of_a_phantom_is_caught(
    spoilt: Callable[[str, random.Random], str | None], kinds: set[str], least: int
) -> None:
    """99 in 100 are caught, and under the name of what was done."""
    tried = caught = named = 0
    missed = []
    for english, japanese, rng in _translations():
        wrong = spoilt(japanese, rng)
        if wrong is None:
            continue
        faults = {fault.kind for fault in section_faults(english, wrong)}
        tried, caught, named = tried + 1, caught + bool(faults), named + bool(faults & kinds)
        missed += [] if faults & kinds else [(english, wrong, faults)]
    assert tried >= least
    assert caught / tried >= 0.99, missed[:3]
    assert named / tried >= 0.98, missed[:3]
