"""A Japanese chest X-ray report, read: its findings, numbers and sections."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from ikyoku.findings.clauses import Mention
from ikyoku.findings.cues import COMPARES
from ikyoku.findings.folding import Folded, folded
from ikyoku.findings.scopes import read_sentence
from ikyoku.findings.sections import Section, section_texts, sections
from ikyoku.findings.tokens import sentences, tokens
from ikyoku.findings.types import Finding, Measurement, ReadReport
from ikyoku.findings.vocabulary import FINDINGS

_CTR = re.compile(
    r"(?:(?<![A-Za-z])CTR|心胸郭?比|心胸郭係数)(?:は|が|=|:|≒|~|約|\(|\)| |"
    r"、){0,4}(?P<n>[0-9]{1,3}(?:\.[0-9]{1,3})?)(?![0-9.]) ?(?P<unit>%)?",
    re.IGNORECASE,
)
_SIZE = re.compile(
    r"(?<![0-9.])(?P<n>[0-9]{1,4}(?:\.[0-9]{1,2})?)(?: ?(?:x|×|\*|~|〜|"
    r"-) ?(?P<m>[0-9]{1,4}(?:\.[0-9]{1,2})?))? ?(?P<unit>mm|cm|ミリ|センチ)",
    re.IGNORECASE,
)
_LIMIT = 50.0
"""The cardiothoracic ratio, in percent, above which an adult's heart is called enlarged on a PA film."""


def read_report(text: str) -> ReadReport:
    """Returns what a Japanese chest X-ray report says; a text in another language says nothing.

    A cardiothoracic ratio without a word on the heart's size counts: over 50 % as possible cardiomegaly (an AP film
    of a patient in bed makes hearts look larger), otherwise as its absence.

    >>> report = read_report("右胸水は消失し、左胸水が増加している。")
    >>> [(f.name, f.certainty, f.side, f.change) for f in report.findings]
    [('pleural_effusion', 'absent', 'right', 'resolved'), ('pleural_effusion', 'present', 'left', 'increased')]
    """
    form = folded(text)
    found: list[Finding] = []
    numbers: list[Measurement] = []
    normal = inactive = compares = False
    for section in sections(form.text):
        if section.kind == "referral":
            continue
        numbers += _measurements(form, section)
        compares = compares or bool(COMPARES.search(form.text, section.start, section.end))
        last: list[Mention] = []
        said: list[Mention] = []
        for start, end in sentences(form.text, section.start, section.end):
            reading = read_sentence(form.text, tokens(form.text, start, end), end, last)
            normal, inactive = normal or reading.normal, inactive or reading.inactive
            last = reading.last
            said += reading.done
        found += _findings(form, said, section)
    found += _from_ratio(numbers, found, text)
    found.sort(key=lambda f: (f.start, f.end))
    findings_text, impression_text = section_texts(text, form)
    ill = any(f.certainty != "absent" and not FINDINGS[f.name].device for f in found)
    normal = normal or (inactive and not ill)
    return ReadReport(tuple(found), tuple(numbers), normal, compares, findings_text, impression_text)


def _findings(form: Folded, mentions: list[Mention], section: Section) -> Iterator[Finding]:
    for m in mentions:
        if m.certainty is None:
            continue
        start, end = form.span(m.start, m.end)
        kind: Literal["findings", "impression"] = "impression" if section.kind == "impression" else "findings"
        for side, sites in m.spots or (("", frozenset()),):
            yield Finding(
                m.name,
                m.certainty,
                side if m.term.sided else "",
                frozenset(s for s in sites if s != m.term.home),
                m.change,
                kind,
                form.text[m.start : m.end],
                start,
                end,
                m.others,
            )


def _measurements(form: Folded, section: Section) -> Iterator[Measurement]:
    for m in _CTR.finditer(form.text, section.start, section.end):
        value = float(m["n"])
        value = value * 100 if value <= 1 and not m["unit"] else value
        if 20 <= value <= 100:
            yield Measurement("ctr", round(value, 3), *form.span(m.start(), m.end()))
    for m in _SIZE.finditer(form.text, section.start, section.end):
        scale = 10 if m["unit"].lower() in ("cm", "センチ") else 1
        for n in (m["n"], m["m"]):
            if n:
                yield Measurement("size", round(float(n) * scale, 3), *form.span(m.start(), m.end()))


def _from_ratio(numbers: list[Measurement], found: list[Finding], text: str) -> Iterator[Finding]:
    ratios = [n for n in numbers if n.name == "ctr"]
    if not ratios or any(f.name == "cardiomegaly" for f in found):
        return
    largest = max(ratios, key=lambda n: n.value)
    absent = Finding(
        "cardiomegaly", "absent", word=text[largest.start : largest.end], start=largest.start, end=largest.end
    )
    yield replace(absent, certainty="possible" if largest.value > _LIMIT else "absent", section="findings")
