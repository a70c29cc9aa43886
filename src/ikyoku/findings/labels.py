"""The 14 labels of CheXpert from what a report says."""

from __future__ import annotations

from ikyoku.findings.types import Certainty, ReadReport
from ikyoku.findings.vocabulary import CATEGORIES, FINDINGS

_ORDER: tuple[Certainty, ...] = ("present", "possible", "absent")


def labels(report: ReadReport) -> dict[str, Certainty | None]:
    """Returns each of `CATEGORIES` with the certainty of the report, None where it does not speak of it.

    The surest statement counts: an effusion on the left and none on the right is an effusion. `no_finding` follows
    from the others: "absent" where anything but a device is present or possible (also what has no label of its own,
    such as emphysema), "present" where the report states normal things only, None where it states nothing.

    Reference: Irvin et al., CheXpert, AAAI 2019, section 2.

    >>> from ikyoku.findings import read_report
    >>> found = labels(read_report("右胸水を認める。気胸なし。"))
    >>> found["pleural_effusion"], found["pneumothorax"], found["edema"], found["no_finding"]
    ('present', 'absent', None, 'absent')
    """
    said: dict[str, Certainty | None] = dict.fromkeys(CATEGORIES)
    ill = False
    for finding in report.findings:
        term = FINDINGS[finding.name]
        ill = ill or (finding.certainty != "absent" and not term.device)
        if term.category:
            old = said[term.category]
            if old is None or _ORDER.index(finding.certainty) < _ORDER.index(old):
                said[term.category] = finding.certainty
    stated = report.normal or any(not FINDINGS[f.name].device for f in report.findings)
    said["no_finding"] = "absent" if ill else "present" if stated else None
    return said
