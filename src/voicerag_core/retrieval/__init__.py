"""From a question to passages: the strategies, and a re-ranking for variety."""

from voicerag_core.retrieval.mmr import maximal_marginal_relevance
from voicerag_core.retrieval.search import Search
from voicerag_core.retrieval.strategies import (
    STRATEGIES,
    SearchStrategy,
    find_by_words,
    find_passages,
)

__all__ = [
    "STRATEGIES",
    "Search",
    "SearchStrategy",
    "find_by_words",
    "find_passages",
    "maximal_marginal_relevance",
]
