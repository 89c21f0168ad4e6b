"""Scores of rankings, by ir-measures (trec_eval)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from voicerag_core.errors import MissingExtraError

__all__ = ["CUTS", "RANKING", "found_all", "ranking_scores"]

CUTS = (1, 4, 5, 8, 10)
"""Numbers of hits at which recall is measured; 4 and 8 are those of the two rounds."""

RANKING = ("R@1", "R@5", "R@10", "MRR", "nDCG@10")
"""Names of the usual scores. R@k is the share of questions with a right passage among the first k,
as in the literature on spoken questions; for one right passage it equals recall."""


def ranking_scores(
    rankings: Mapping[str, Sequence[str]], right: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, float]]:
    """Return the scores of each question, by name.

    Args:
        rankings: Ids of the passages found for each question, best first, without duplicates.
        right: Ids of the right ones; questions without any are left out.

    Raises:
        MissingExtraError: The extra ``eval`` is not installed.
    """
    try:
        import ir_measures
    except ImportError as error:
        raise MissingExtraError("eval", "scores of rankings") from error
    names = {
        **{f"R@{cut}": ir_measures.Success @ cut for cut in CUTS},
        "MRR": ir_measures.RR @ 10,
        "nDCG@10": ir_measures.nDCG @ 10,
    }
    qrels = {
        question: dict.fromkeys(ids, 1)
        for question, ids in right.items()
        if ids and question in rankings
    }
    if not qrels:
        return {}
    # trec_eval sorts by score: descending whole numbers keep the order that was found.
    run = {
        question: {name: float(-place) for place, name in enumerate(rankings[question])}
        for question in qrels
    }
    # A question for which nothing was found is not in a run, and would drop out of the mean.
    scores = {question: dict.fromkeys(names, 0.0) for question in qrels}
    shown = {measure: name for name, measure in names.items()}
    found = {question: ranking for question, ranking in run.items() if ranking}
    if found:
        for one in ir_measures.iter_calc(list(names.values()), qrels, found):
            scores[one.query_id][shown[one.measure]] = float(one.value)
    return scores


def found_all(ranking: Sequence[str], right: Sequence[str], cut: int) -> float:
    """Return 1 if every right passage is among the first `cut`, as two hops need."""
    return float(bool(right) and set(right) <= set(ranking[:cut]))
