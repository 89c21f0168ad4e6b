"""Figures of a run, as tables, as one page, beside another run, and for other tools."""

from voicerag_core.evaluation.report.comparing import compared_runs
from voicerag_core.evaluation.report.exporting import EXPORTS, exported
from voicerag_core.evaluation.report.figures import Row, rows
from voicerag_core.evaluation.report.page import page
from voicerag_core.evaluation.report.tables import Table, tables

__all__ = ["EXPORTS", "Row", "Table", "compared_runs", "exported", "page", "rows", "tables"]
