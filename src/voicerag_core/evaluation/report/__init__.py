"""Figures of a run, as tables, as one page, beside another run, and for other tools."""

from voicerag_core.evaluation.report.comparing import compared_runs
from voicerag_core.evaluation.report.exporting import EXPORTS, exported
from voicerag_core.evaluation.report.figures import Row, rows, tables
from voicerag_core.evaluation.report.page import page

__all__ = ["EXPORTS", "Row", "compared_runs", "exported", "page", "rows", "tables"]
