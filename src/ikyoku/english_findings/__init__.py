"""English chest X-ray reports read into the names of the Japanese labeler, to check translations."""

from ikyoku.english_findings.reader import called_normal, english_sections, read_english

__all__ = ["called_normal", "english_sections", "read_english"]
