"""Questions with their answers and passages, typed and spoken."""

from voicerag_core.evaluation.datasets.loading import SETS, load_set
from voicerag_core.evaluation.datasets.values import EvalQuestion, EvalSet

__all__ = ["SETS", "EvalQuestion", "EvalSet", "load_set"]
