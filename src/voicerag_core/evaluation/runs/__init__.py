"""Runs: what is asked, a record for each question and strategy, and going on after a stop."""

from voicerag_core.evaluation.runs.config import QUICK, RunConfig
from voicerag_core.evaluation.runs.records import Record, RunFolder
from voicerag_core.evaluation.runs.running import run
from voicerag_core.evaluation.runs.tasks import Progress

__all__ = ["QUICK", "Progress", "Record", "RunConfig", "RunFolder", "run"]
