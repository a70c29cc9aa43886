"""A run's scores as tables: for the terminal, in Markdown, CSV and LaTeX, and shared with the run's page."""

from ikyoku.tables.comparison import comparison_text
from ikyoku.tables.evolution import evolution_text, report_scores_text
from ikyoku.tables.latex import evaluation_latex
from ikyoku.tables.markdown import evaluation_markdown
from ikyoku.tables.scores import Row, Table
from ikyoku.tables.terminal import evaluation_table
from ikyoku.tables.tidy import evaluation_csv

__all__ = [
    "Row",
    "Table",
    "comparison_text",
    "evaluation_csv",
    "evaluation_latex",
    "evaluation_markdown",
    "evaluation_table",
    "evolution_text",
    "report_scores_text",
]
