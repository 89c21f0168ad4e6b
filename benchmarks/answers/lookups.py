"""What the search finds for questions over one collection of several sets, kept between runs."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks.speech.typed_sets import Asked, CachedEmbedder
from voicerag_core import Passage, VoiceRAG, load_settings, open_voicerag
from voicerag_core.store import EmbeddedPostgres, PgVectorStore, migrate
from voicerag_core.testing import FakeVoiceModel

__all__ = ["Lookup", "look_up"]

DEEP = 60
"""Passages looked for where some of them are taken away afterwards."""

READ = 10
"""Passages that the reader is given at most."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """Ids of the passages found for a question, best first.

    Args:
        vector: By the vector alone, over vectors of the bare texts.
        default: As `VoiceRAG.retrieve` finds them.
    """

    vector: tuple[str, ...]
    default: tuple[str, ...]


def look_up(
    passages: Sequence[Passage],
    asked: Sequence[Asked],
    *,
    vectors: Path | None,
    kept: Path | None,
) -> list[Lookup]:
    """Search for questions, or read what an earlier run found.

    Args:
        passages: Of the collection.
        asked: The questions; of the set "RGB" more passages are looked for.
        vectors: File that keeps vectors between runs, or None.
        kept: File that keeps what was found between runs, or None; delete it after a change of the
            search.
    """
    known = json.loads(kept.read_text("utf-8")) if kept is not None and kept.exists() else {}
    fresh = [one for one in asked if _key(one) not in known]
    if fresh:
        found = _searched(passages, fresh, vectors)
        known |= {_key(one): asdict(own) for one, own in zip(fresh, found, strict=True)}
    if kept is not None and fresh:
        kept.write_text(json.dumps(known), "utf-8")
    return [
        Lookup(tuple(known[_key(one)]["vector"]), tuple(known[_key(one)]["default"]))
        for one in asked
    ]


def _key(one: Asked) -> str:
    return f"{one.set}: {one.question}"


def _searched(
    passages: Sequence[Passage], asked: Sequence[Asked], vectors: Path | None
) -> list[Lookup]:
    """Index the passages with their titles and without, and search for every question."""
    with (
        tempfile.TemporaryDirectory() as folder,
        open_voicerag(load_settings(data_dir=Path(folder), speak=False)) as opened,
        EmbeddedPostgres(Path(folder) / "sets") as server,
    ):
        embedder = CachedEmbedder(opened.embedder, vectors)
        migrate(server.dsn)

        def store(name: str) -> PgVectorStore:
            return PgVectorStore.open(
                server.dsn, collection=name, model_id=embedder.model_id, dim=embedder.dim
            )

        with store("titled") as titled, store("bare") as bare:
            rag = VoiceRAG(embedder, titled, FakeVoiceModel(), sentence_vectors=True)
            plain = VoiceRAG(embedder, bare, FakeVoiceModel(), sentence_vectors=True)
            rag.index(passages)
            plain.index([replace(passage, metadata={}) for passage in passages])
            found = []
            for one in asked:
                limit = DEEP if one.set == "RGB" else READ
                near = bare.search(embedder.embed_passages([one.question])[0], limit=READ)
                hits = rag.retrieve(one.question, limit=limit).hits
                ids = [tuple(hit.passage.id for hit in own) for own in (near, hits)]
                found.append(Lookup(*ids))
        embedder.keep()
    return found
