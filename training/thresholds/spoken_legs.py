"""What the legs of ``hybrid`` say of development questions: cosines and shares of words.

Questions are spoken, heard and embedded by the parts that `voicerag eval` uses, each over the store
that it belongs to, since both the encoder and the recogniser expect the words of the store.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg.types.json import Jsonb
from pydantic import SecretStr

from voicerag_core import Passage, load_settings
from voicerag_core.audio import read_audio
from voicerag_core.errors import AudioError
from voicerag_core.evaluation.datasets import EvalSet, load_set
from voicerag_core.evaluation.datasets.values import EvalQuestion
from voicerag_core.evaluation.runs.config import StoreMode, clip_folder
from voicerag_core.evaluation.runs.shared import RememberedTexts
from voicerag_core.evaluation.speech.degrading import CLEAN, TELEPHONE, Degrader
from voicerag_core.evaluation.speech.voices import Clips, installed_voices, voice_of
from voicerag_core.rag import embed_passages
from voicerag_core.retrieval import Search
from voicerag_core.retrieval.fusion import mixed
from voicerag_core.settings import Settings
from voicerag_core.stack import GivenParts, Parts, open_parts, open_store
from voicerag_core.store import EmbeddedPostgres, migrate
from voicerag_core.types import Embedding, Embeddings, JSONValue

__all__ = ["SETS", "Clip", "Heard", "Legs", "heard", "legs"]

SETS: tuple[tuple[str, StoreMode], ...] = (
    ("rgb-en", "own"),
    ("rgb-en", "shared"),
    ("hotpotqa", "own"),
    ("hotpotqa", "shared"),
    ("xquad-en", "shared"),
    ("heysquad-original", "shared"),
)
HARD = (TELEPHONE, "10 dB", "5 dB")
MOST_HARD = 60
"""Questions of a set that are also asked under the conditions `HARD`."""
FEW = 100
"""A set of fewer development questions is asked in every voice."""
BATCH = 64
K1, LENGTH = 0.6, 0.6
"""As in `voicerag_core.store.word_sql`."""

Scores = NDArray[np.float64]
"""[P], of each passage of a question's store."""


@dataclass(frozen=True, slots=True)
class Clip:
    """A question as it was heard.

    Args:
        question: Its id.
        form: `CLEAN` or one of `HARD`.
        right: Ids of the passages that answer it.
        own: Ids of the passages of its store; None: all.
        sound: Vector of its sound, [D]; None: no speech was heard.
        transcript: Vector of its words, [D]; None: none were made out.
        words: The lexemes of these words.
    """

    question: str
    form: str
    right: frozenset[str]
    own: tuple[str, ...] | None
    sound: Embedding | None
    transcript: Embedding | None
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Heard:
    """The development questions of a set, over one store or over one each.

    Args:
        set: Its name.
        store: "shared" or "own".
        ids: Of the passages, [P].
        vectors: Of passages and their sentences, [M, D].
        owners: Row of the passage of each vector, ascending, [M].
        lexemes: How often each word stands in each passage, [P].
        clips: What was heard.
    """

    set: str
    store: StoreMode
    ids: list[str]
    vectors: Embeddings
    owners: NDArray[np.int64]
    lexemes: list[dict[str, int]]
    clips: list[Clip]


@dataclass(frozen=True, slots=True)
class Legs:
    """What each leg says of the passages of a question's store.

    Args:
        set: Name of the set.
        store: "shared" or "own".
        clip: The question.
        right: Which passages answer it, [P].
        sound: Cosines of the sound's vector; None: no speech was heard.
        transcript: Cosines of the transcript's vector.
        both: Cosines of the vector that ``hybrid`` searches by: that of sound and transcript, or
            of the one that there is.
        rarity: Weight of each word, ln(1 + P / passages with it), [W].
        filled: How far each word is held by each passage, 0..1, saturating, [W, P].
        spread: Share of the passages that hold each word, [W].
    """

    set: str
    store: StoreMode
    clip: Clip
    right: NDArray[np.bool_]
    sound: Scores | None
    transcript: Scores
    both: Scores
    rarity: Scores
    filled: Scores
    spread: Scores

    @property
    def share(self) -> Scores:
        """The share of the question's words that each passage holds, 0..1, [P]."""
        return np.asarray(self.rarity @ self.filled / max(float(self.rarity.sum()), 1e-9))


def heard(data: Path, folder: Path) -> Iterator[Heard]:
    """Speak and hear the development questions of `SETS`.

    Args:
        data: Folder of the published sets.
        folder: Keeps the clips and the database.
    """
    settings = load_settings(data_dir=folder, speak=False)
    with ExitStack() as stack:
        server = stack.enter_context(EmbeddedPostgres(folder / "legs"))
        migrate(server.dsn)
        settings = settings.model_copy(
            update={"database_url": SecretStr(server.dsn), "tenant": "legs"}
        )
        parts = stack.enter_context(open_parts(settings, given=GivenParts()))
        clips = Clips(clip_folder(settings.data_dir), installed_voices("en"))
        hearing = _Hearing(settings, parts, stack.enter_context(clips), Degrader(data))
        connection = stack.enter_context(psycopg.connect(server.dsn))
        for name, store in SETS:
            yield hearing.of(load_set(name, data), store, connection)


class _Hearing:
    def __init__(self, settings: Settings, parts: Parts, clips: Clips, degrader: Degrader) -> None:
        self._settings, self._parts = settings, parts
        self._clips, self._degrader = clips, degrader
        self._texts = RememberedTexts(parts.embedder)

    def of(
        self, found: EvalSet, store: StoreMode, connection: psycopg.Connection[tuple[object, ...]]
    ) -> Heard:
        """Hear the development questions of a set."""
        known = {one.id: one for one in found.passages}
        asked = [one for one in found.questions if one.development and one.sources]
        asked.sort(key=lambda one: hashlib.sha256(f"fuse:{one.id}".encode()).digest())
        groups = [asked] if store == "shared" else [[one] for one in asked]
        kept = dict.fromkeys(name for one in asked for name in one.own)
        passages = list(found.passages) if store == "shared" else [known[one] for one in kept]
        rows, owners = self._embedded(passages)
        clips: list[Clip] = []
        for number, group in enumerate(groups):
            own = passages if store == "shared" else [known[name] for name in group[0].own]
            clips += self._heard(found, f"{found.name}-{store}-{number}", own, group, connection)
        words = [_lexemes(connection, one.text, one.metadata) for one in passages]
        ids = [one.id for one in passages]
        return Heard(found.name, store, ids, rows, owners, words, clips)

    def _embedded(self, passages: Sequence[Passage]) -> tuple[Embeddings, NDArray[np.int64]]:
        return embed_passages(self._texts, passages, sentences=True)  # type: ignore[arg-type]

    def _heard(
        self, found: EvalSet, collection: str, passages: Sequence[Passage],
        asked: Sequence[EvalQuestion], connection: psycopg.Connection[tuple[object, ...]],
    ) -> Iterator[Clip]:  # fmt: skip
        own = None if len(passages) == len(found.passages) else tuple(one.id for one in passages)
        settings = self._settings.model_copy(update={"collection": collection})
        with open_store(settings, self._parts.embedder) as store:
            for start in range(0, len(passages), BATCH):
                batch = passages[start : start + BATCH]
                rows, owners = self._embedded(batch)
                store.add(batch, rows, owners=owners)
            for one, form, voice in self._ways(found, asked, own is None):
                audio = read_audio(self._clips.spoken(one.text, voice), max_seconds=120)
                audio = self._degrader.apply(audio, form, f"{found.name}/{one.id}")
                search = Search(self._parts.embedder, store, self._parts.transcriber, limit=1)
                sound = search.judge_speech(audio)[0]
                transcript, words = None, tuple[str, ...]()
                with suppress(AudioError):  # no words were made out
                    text = search.transcribe(audio).text
                    transcript = search.embed_text(text)
                    words = tuple(_lexemes(connection, text, {}))
                right = frozenset(one.sources)
                yield Clip(one.id, form, right, own, sound, transcript, words)

    def _ways(
        self, found: EvalSet, asked: Sequence[EvalQuestion], shared: bool
    ) -> Iterator[tuple[EvalQuestion, str, str]]:
        voices = list(self._clips.voices)
        few = sum(one.development for one in found.questions) < FEW
        for one in asked:
            for voice in voices if few else [voice_of(one.id, voices)]:
                yield one, CLEAN, voice
        for one in asked[:MOST_HARD] if shared else ():
            for form in HARD:
                yield one, form, voice_of(one.id, voices)


def _lexemes(
    connection: psycopg.Connection[tuple[object, ...]], text: str, metadata: Mapping[str, JSONValue]
) -> dict[str, int]:
    rows = connection.execute(
        "SELECT lexeme, cardinality(positions) FROM "
        "unnest(voicerag.passage_words('english', %s, %s::jsonb))",
        (text, Jsonb(dict(metadata))),
    )
    return {str(word): int(str(count)) for word, count in rows}


def legs(bases: Iterable[Heard]) -> Iterator[Legs]:
    """Compare every question in which words were made out with the passages of its store."""
    for base in bases:
        starts = np.searchsorted(base.owners, np.arange(len(base.ids)))
        columns = {name: column for column, name in enumerate(base.ids)}
        lengths = np.array([len(one) for one in base.lexemes], np.float64)
        held: dict[str, dict[int, int]] = {}
        for column, words in enumerate(base.lexemes):
            for word, count in words.items():
                held.setdefault(word, {})[column] = count
        vectors = base.vectors.astype(np.float32)
        for clip in base.clips:
            if clip.transcript is None:
                continue
            names = base.ids if clip.own is None else clip.own
            own = np.array([columns[name] for name in names])

            def cosines(vector: Embedding, own: NDArray[np.int64] = own) -> Scores:
                nearest = np.maximum.reduceat(vectors @ vector, starts)  # noqa: B023 - at once
                return np.asarray(nearest[own], np.float64)

            table = np.array(
                [[held.get(word, {}).get(column, 0) for column in own] for word in clip.words]
            ).reshape(len(clip.words), len(own))
            count = np.maximum((table > 0).sum(axis=1), 1)
            part = lengths[own]
            stretch = K1 * (1 - LENGTH + LENGTH * part / max(float(part.mean()), 1.0))
            both = clip.transcript if clip.sound is None else mixed(clip.sound, clip.transcript)
            yield Legs(
                base.set, base.store, clip, np.array([name in clip.right for name in names]),
                None if clip.sound is None else cosines(clip.sound), cosines(clip.transcript),
                cosines(both), np.log(1 + len(own) / count), table / (table + stretch),
                count / len(own),
            )  # fmt: skip
