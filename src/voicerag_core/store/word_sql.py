"""The parts of a search statement that weigh words.

A passage holds a share of the question's words, 0..1, where each weighs by its rarity and counts by
how often it stands in the passage, saturating, for the passage's length. That is BM25 over its
greatest possible value. Source: Robertson and Zaragoza, The Probabilistic Relevance Framework,
2009, section 3.4, with k1 = 0.6.

The statistics are those of `count_words` in sql/0002_words.sql.
"""

from __future__ import annotations

from psycopg import sql

__all__ = ["word_parts"]

WORD_CANDIDATES = 300
"""Passages that a search by words weighs at most, besides the nearest; the question's rarest words
are taken until their passages add up to this, so that common words cost nothing."""

LENGTH_WEIGHT = 0.6
"""How far a passage's length counts, 0..1: the b of BM25. Chosen, as k1 and the sum of share and
cosine, by training/thresholds/word_fusion.py on development questions."""


def word_parts(names: dict[str, sql.Composable], *, by_vector: bool) -> dict[str, sql.Composable]:
    """Compose the parts up to ``shares``: rows of passage, distance and share.

    Those are the passages that hold the question's rarest words, and with `by_vector` those of
    ``nearest``, too, the only ones that have a distance.

    Args:
        names: The collection as ``n``, and its passages that pass the filter as ``passage``.
        by_vector: There is a part ``nearest``.
    """
    most = sql.Literal(WORD_CANDIDATES)
    parts: dict[str, sql.Composable] = {
        # One look into the index for each word: with a join the planner reads all words, because
        # row-level security and the age of its numbers let it take them for few.
        "terms": sql.SQL(
            "SELECT ('''' || replace(replace(t.lexeme, '\\', '\\\\'), '''', '''''') || '''')"
            "::tsquery AS term, coalesce((SELECT l.passages FROM voicerag.lexemes l "
            "WHERE l.collection_id = {n} AND l.lexeme = t.lexeme), 1) AS passages "
            "FROM unnest(to_tsvector(%(language)s::text::regconfig, "
            "voicerag.searchable(%(words)s::text))) t"
        ).format(**names),
        "weighed": sql.SQL(
            "SELECT term, ln(1 + %(passages)s::float8 / passages) AS weight, "
            "row_number() OVER rarest AS place, sum(passages) OVER rarest AS together "
            "FROM terms WINDOW rarest AS (ORDER BY passages, term)"
        ),
        # The copy that || makes lies in memory; of the column itself each use of a long one would
        # be read and unpacked again.
        "candidates": sql.SQL(
            "SELECT pid, words || ''::tsvector AS words FROM {passage} AND words @@ "
            "(SELECT string_agg(term::text, ' | ')::tsquery FROM weighed "
            "WHERE place = 1 OR together <= {most}) LIMIT {most}"
        ).format(most=most, **names),
    }
    pool: sql.Composable = sql.SQL(
        "SELECT pid AS passage, NULL::float8 AS distance, words FROM candidates"
    )
    if by_vector:
        pool = sql.SQL(
            "SELECT m.passage, m.distance, p.words || ''::tsvector AS words FROM nearest m "
            "JOIN voicerag.tenant_passages p ON p.pid = m.passage AND p.collection_id = {n} "
            "UNION ALL {pool} WHERE pid <> ALL (ARRAY(SELECT passage FROM nearest))"
        ).format(pool=pool, **names)
    # ts_rank of a word alone, with equal weights and without normalisation, is s = tf / (tf + 0.6)
    # within 3 %: the sum of 1 / i^2 over its tf occurrences, divided by the limit of that. From it
    # follows BM25 of a passage that is `stretch` times as long as the average: s / (s + stretch (1
    # - s)). Source: PostgreSQL 18, src/backend/utils/adt/tsrank.c, calc_rank_or.
    parts["shares"] = sql.SQL(
        "SELECT passage, distance, coalesce((SELECT sum(weight * s / (s + stretch * (1 - s))) "
        "FROM (SELECT weight, ts_rank('{{1,1,1,1}}', words, term)::float8 AS s "
        "FROM weighed OFFSET 0) w) / (SELECT sum(weight) FROM weighed), 0) AS share "
        "FROM (SELECT passage, distance, words, 1 - {b}::float8 + {b}::float8 * length(words) / "
        "(SELECT greatest(mean_words, 1) FROM voicerag.collections WHERE id = {n}) AS stretch "
        "FROM ({pool}) p OFFSET 0) p"
    ).format(b=sql.Literal(LENGTH_WEIGHT), pool=pool, **names)
    return parts
