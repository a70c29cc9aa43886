"""The search as an Optuna study: candidates asked for and told, on one machine or on many, resumed after anything."""

from __future__ import annotations

from ikyoku.study.study import Candidate, Study, open_study

__all__ = ["Candidate", "Study", "open_study"]
