"""The glossary: its size, its uniqueness, and that the labeler knows what it tells a translator to write."""

from __future__ import annotations

import re

from ikyoku.findings import read_report
from ikyoku.glossary import TERMS, terms_in, translation_request


def test_it_is_a_table_of_japanese_words_without_doubles() -> None:
    forms = [form.strip().lower() for term in TERMS for form in term.english.split("/")]
    assert len(TERMS) >= 150
    assert len(forms) == len(set(forms))
    assert all(term.japanese for term in TERMS)


def test_the_labeler_reads_its_findings() -> None:
    wanted = {"pneumothorax": "pneumothorax", "pleural effusion": "pleural_effusion", "consolidation": "infiltrate"}
    wanted |= {"atelectasis": "atelectasis", "nodule": "nodule", "cardiomegaly": "cardiomegaly", "fracture": "fracture"}
    for english, name in wanted.items():
        (term,) = terms_in(english)
        assert name in {f.name for f in read_report(f"{term.japanese}を認める。").findings}, english


def test_only_the_words_of_the_text_are_shown() -> None:
    request = translation_request("No pneumothorax. PA view.", "findings")
    assert re.findall(r"(?m)^- (.*)：", request) == ["pneumothorax", "pa view"]
    assert request.endswith("No pneumothorax. PA view.")
