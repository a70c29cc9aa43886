"""The run's page (`summary.html`): one self-contained file that loads nothing.

All of it is computed from what a run keeps in its folder. The tables for the terminal, Markdown, CSV and LaTeX are
named here too, so that a job finds everything that people read in one place.
"""

from ikyoku.pages.comparison import comparison_page
from ikyoku.pages.demo import demo_page
from ikyoku.pages.evaluation import evaluation_page
from ikyoku.pages.evolution import evolution_page
from ikyoku.pages.merge import merging_page
from ikyoku.pages.reports import report_cards, reports_page, study_page
from ikyoku.pages.tuning import tuning_page
from ikyoku.tables import (
    comparison_text,
    evaluation_csv,
    evaluation_latex,
    evaluation_markdown,
    evaluation_table,
    evolution_text,
)

__all__ = [
    "comparison_page",
    "comparison_text",
    "demo_page",
    "evaluation_csv",
    "evaluation_latex",
    "evaluation_markdown",
    "evaluation_page",
    "evaluation_table",
    "evolution_page",
    "evolution_text",
    "merging_page",
    "report_cards",
    "reports_page",
    "study_page",
    "tuning_page",
]
