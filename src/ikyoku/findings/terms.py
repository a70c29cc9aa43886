"""What a row of the vocabulary is: a finding with its words and the reason for its place.

`words` are regular expressions over folded text (`folding.folded`): case does not matter, a longer match of another row
wins. The category is the label of CheXpert under which the term counts, "" where CheXpert has no place for it.

Reference: Irvin et al., CheXpert, AAAI 2019, table 1 (the 14 observations).
"""

from __future__ import annotations

from dataclasses import dataclass

from ikyoku.findings.types import Site

CATEGORIES = (
    "no_finding",
    "enlarged_cardiomediastinum",
    "cardiomegaly",
    "lung_opacity",
    "lung_lesion",
    "edema",
    "consolidation",
    "pneumonia",
    "atelectasis",
    "pneumothorax",
    "pleural_effusion",
    "pleural_other",
    "fracture",
    "support_devices",
)
"""The 14 observations of CheXpert, in its order."""

DEVICES = "support_devices"


@dataclass(frozen=True, slots=True)
class FindingTerm:
    """One finding: its key, CheXpert category, Japanese name, words, and why it is read so.

    `sided` is False where a side says nothing of the finding (a heart has none). `home` is the site that the name
    already says, which is then not repeated among a finding's sites.
    """

    name: str
    category: str
    japanese: str
    words: tuple[str, ...]
    reason: str
    sided: bool = True
    home: Site | None = None

    @property
    def device(self) -> bool:
        """Whether it is a tube, line or implant, for which other rules of negation hold."""
        return self.category == DEVICES
