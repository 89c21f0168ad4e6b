"""Fakes of the embedder and the voice model, and the contract suites of both ports.

The suites need nothing but their fixtures: subclass one under a name that starts with ``Test``,
define the fixtures that its docstring lists, and pytest checks your implementation.
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from voicerag_core.chunking import sentence_spans
from voicerag_core.errors import AudioError
from voicerag_core.ports import Embedder, VoiceModel
from voicerag_core.types import (
    Answer,
    Audio,
    Citation,
    Embedding,
    Embeddings,
    Passage,
    Question,
    Sampling,
    Transcription,
    Turn,
)

__all__ = ["EmbedderContract", "FakeEmbedder", "FakeVoiceModel", "VoiceModelContract"]

SPEECH_RATE = 16_000
TOLERANCE = 1e-4
"""Rounding allowed between two vectors of one text."""

_WORD = re.compile(r"[\u3400-\u9fff]|[^\W\u3400-\u9fff]+")


class FakeEmbedder:
    """Embeds counts of hashed words: deterministic, instant, and texts that share words are close.

    Args:
        dim: Width of the vectors.
        transcripts: Transcripts of clips. A clip that is not listed gets a unique vector, made from
            its samples.
        needs_transcriber: Value of the attribute.
        model_id: Value of the attribute.
    """

    def __init__(
        self,
        dim: int = 256,
        *,
        transcripts: Mapping[Audio, str] | None = None,
        needs_transcriber: bool = False,
        model_id: str = "fake-words",
    ) -> None:
        self.model_id = model_id
        self.dim = dim
        self.needs_transcriber = needs_transcriber
        self._transcripts = dict(transcripts or {})

    def embed_passages(self, texts: Sequence[str]) -> Embeddings:
        """Embed N texts as [N, D]."""
        return self._stack([self._text_vector(text) for text in texts])

    def embed_questions(self, texts: Sequence[str]) -> Embeddings:
        """Embed N questions as [N, D], as any other text."""
        return self.embed_passages(texts)

    def embed_speech(self, clips: Sequence[Audio]) -> Embeddings:
        """Embed N clips as [N, D], by their transcripts where known.

        Raises:
            AudioError: A clip is not at 16 kHz.
        """
        rows = []
        for clip in clips:
            if clip.sample_rate != SPEECH_RATE:
                raise AudioError(f"speech is embedded at 16000 Hz, not {clip.sample_rate} Hz")
            words = self._transcripts.get(clip)
            rows.append(
                self._hash_vector(clip.samples.tobytes())
                if words is None
                else self._text_vector(words)
            )
        return self._stack(rows)

    def _stack(self, rows: Sequence[Embedding]) -> Embeddings:
        return np.stack(rows) if rows else np.zeros((0, self.dim), np.float32)

    def _text_vector(self, text: str) -> Embedding:
        row = np.zeros(self.dim, np.float32)
        for word in _WORD.findall(text.lower()):
            row += self._hash_vector(word.encode())
        norm = float(np.linalg.norm(row))
        return row / norm if norm > 0 else self._hash_vector(b"")

    def _hash_vector(self, data: bytes) -> Embedding:
        """Draw a unit vector whose seed is the data: two of them are almost orthogonal."""
        seed = int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")
        row = np.random.default_rng(seed).standard_normal(self.dim)
        return (row / np.linalg.norm(row)).astype(np.float32)


class FakeVoiceModel:
    """Answers with the first sentence of the best passage, and a tone for each of its words.

    Args:
        speaks: False returns text only.
        sample_rate: Rate of the tones in Hz.
    """

    def __init__(self, *, speaks: bool = True, sample_rate: int = 22_050) -> None:
        self._speaks = speaks
        self._sample_rate = sample_rate

    def respond(
        self,
        question: Question,
        passages: Sequence[Passage],
        *,
        sampling: Sampling,
        transcript: Transcription | None = None,
        history: Sequence[Turn] = (),
        instructions: str = "",
    ) -> Iterator[Answer]:
        """Stream the sentence with its citation, then one tone of 50 ms per word."""
        del question, sampling, transcript, history, instructions
        answer = self._read(passages)
        yield answer
        if self._speaks:
            for word in answer.text.split():
                yield Answer(audio=self._tone(word), spoken=f"{word} ")

    def further_query(
        self,
        question: Question,
        passages: Sequence[Passage],
        *,
        transcript: Transcription | None = None,
        only_unsure: bool = False,
    ) -> str | None:
        """Return the sentence that it would answer with; None where it must be unsure."""
        del question, transcript
        answer = self._read(passages)
        return answer.text if answer.answered and not only_unsure else None

    def _read(self, passages: Sequence[Passage]) -> Answer:
        for passage in passages:
            for start, end in sentence_spans(passage.text)[:1]:
                place = Citation(passage.id, start, end)
                return Answer(passage.text[start:end], citations=(place,))
        return Answer("The documents do not answer this question.", answered=False)

    def _tone(self, word: str) -> Audio:
        hertz = 200 + 20 * len(word)
        times = np.arange(self._sample_rate // 20, dtype=np.float32) / self._sample_rate
        return Audio(
            (0.1 * np.sin(2 * np.pi * hertz * times)).astype(np.float32), self._sample_rate
        )


class EmbedderContract:
    """The rules of `voicerag_core.ports.Embedder`.

    Fixtures to define: ``embedder``, the object under test, and ``clip``, an `Audio` of speech at
    16 kHz that it can embed.
    """

    TEXTS = (
        "The river flows through three countries before it reaches the sea.",
        "Where does the river reach the sea?",
        "A bakery opened on Monday.",
        "Short.",
        "The river flows through three countries. " * 20,
    )

    def test_the_space_has_a_name_and_a_width(self, embedder: Embedder) -> None:
        assert embedder.model_id.strip()
        assert embedder.dim > 0
        assert embedder.needs_transcriber in (True, False)

    def test_nothing_gives_no_rows(self, embedder: Embedder) -> None:
        nothing = embedder.embed_passages([]), embedder.embed_questions([])
        for rows in (*nothing, embedder.embed_speech([])):
            assert rows.shape == (0, embedder.dim)
            assert rows.dtype == np.float32

    def test_text_rows_are_unit_vectors(self, embedder: Embedder) -> None:
        for embed in (embedder.embed_passages, embedder.embed_questions):
            _check_rows(embed(self.TEXTS), len(self.TEXTS), embedder.dim)

    def test_odd_texts_get_vectors_too(self, embedder: Embedder) -> None:
        odd = ["", " ", "?!", "\ud800", "漢字", "\0", "word " * 5000]
        _check_rows(embedder.embed_passages(odd), len(odd), embedder.dim)

    def test_a_row_does_not_depend_on_the_others(self, embedder: Embedder) -> None:
        together = embedder.embed_passages(self.TEXTS)
        alone = np.concatenate([embedder.embed_passages([text]) for text in self.TEXTS])
        assert np.allclose(together, alone, atol=TOLERANCE)

    def test_rows_keep_the_order_of_many_texts(self, embedder: Embedder) -> None:
        texts = [f"{'long ' * (i * 7 % 40)} number {i}" for i in range(40)]
        forward = embedder.embed_passages(texts)
        assert np.allclose(forward[::-1], embedder.embed_passages(texts[::-1]), atol=TOLERANCE)
        assert np.allclose(forward[17], embedder.embed_passages([texts[17]])[0], atol=TOLERANCE)

    def test_related_texts_are_nearer_than_others(self, embedder: Embedder) -> None:
        river, _, bakery = embedder.embed_passages(self.TEXTS[:3])
        (question,) = embedder.embed_questions(self.TEXTS[1:2])
        assert river @ question > bakery @ question

    def test_speech_rows_are_unit_vectors(self, embedder: Embedder, clip: Audio) -> None:
        rows = embedder.embed_speech([clip, clip])
        _check_rows(rows, 2, embedder.dim)
        assert np.allclose(rows[0], rows[1], atol=TOLERANCE)

    def test_speech_of_another_rate_is_refused(self, embedder: Embedder, clip: Audio) -> None:
        try:
            embedder.embed_speech([Audio(clip.samples, 8000)])
        except AudioError:
            return
        raise AssertionError("a clip at 8 kHz was accepted")

    def test_threads_may_share_it(self, embedder: Embedder) -> None:
        expected = embedder.embed_passages(self.TEXTS)
        with ThreadPoolExecutor(4) as pool:
            for rows in pool.map(embedder.embed_passages, [self.TEXTS] * 8):
                assert np.allclose(rows, expected, atol=TOLERANCE)


class VoiceModelContract:
    """The rules of `voicerag_core.ports.VoiceModel`.

    Fixtures to define: ``model``, the object under test; ``question``, a typed question;
    ``passages``, at least one of which answers it; ``clip``, the question spoken at 16 kHz.
    """

    def test_pieces_add_up_to_an_answer(
        self, model: VoiceModel, question: str, passages: Sequence[Passage]
    ) -> None:
        pieces = list(model.respond(question, passages, sampling=Sampling(seed=0)))
        answer = sum(pieces, Answer())
        assert answer.answered
        assert answer.text.strip()
        assert all(not piece.hits for piece in pieces)
        _check_places(answer, passages)

    def test_speech_is_finite_and_of_one_rate(
        self, model: VoiceModel, question: str, passages: Sequence[Passage]
    ) -> None:
        pieces = model.respond(question, passages, sampling=Sampling(seed=0))
        clips = [piece.audio for piece in pieces if piece.audio is not None]
        assert len({clip.sample_rate for clip in clips}) <= 1
        assert all(np.isfinite(clip.samples).all() for clip in clips)

    def test_without_passages_nothing_is_answered(self, model: VoiceModel, question: str) -> None:
        answer = sum(model.respond(question, [], sampling=Sampling(seed=0)), Answer())
        assert not answer.answered
        assert answer.text.strip()
        assert not answer.citations

    def test_a_spoken_question_with_known_words_is_answered(
        self, model: VoiceModel, question: str, passages: Sequence[Passage], clip: Audio
    ) -> None:
        known = Transcription(question)
        pieces = model.respond(clip, passages, sampling=Sampling(seed=0), transcript=known)
        answer = sum(pieces, Answer())
        assert answer.text.strip()
        _check_places(answer, passages)

    def test_earlier_turns_are_accepted(
        self, model: VoiceModel, question: str, passages: Sequence[Passage], clip: Audio
    ) -> None:
        history = [Turn("And before?", Answer("Before, too.")), Turn(clip, Answer("Yes."))]
        pieces = model.respond(question, passages, sampling=Sampling(seed=0), history=history)
        assert sum(pieces, Answer()).text.strip()

    def test_an_abandoned_answer_leaves_nothing_behind(
        self, model: VoiceModel, question: str, passages: Sequence[Passage]
    ) -> None:
        whole = sum(model.respond(question, passages, sampling=Sampling(seed=0)), Answer())
        threads = threading.active_count()
        for _ in range(5):
            pieces = model.respond(question, passages, sampling=Sampling(seed=0))
            next(iter(pieces))
            close = getattr(pieces, "close", None)
            assert close is not None, "the iterator of an answer can be closed"
            close()
        patience = time.monotonic() + 60
        while threading.active_count() > threads and time.monotonic() < patience:
            time.sleep(0.05)
        assert threading.active_count() <= threads
        again = sum(model.respond(question, passages, sampling=Sampling(seed=0)), Answer())
        assert again.text == whole.text


def _check_rows(rows: Embeddings, count: int, dim: int) -> None:
    assert rows.shape == (count, dim)
    assert rows.dtype == np.float32
    assert np.isfinite(rows).all()
    assert np.allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-3)


def _check_places(answer: Answer, passages: Sequence[Passage]) -> None:
    texts = {passage.id: passage.text for passage in passages}
    for place in answer.citations:
        assert 0 <= place.start < place.end <= len(texts[place.passage_id])
