"""Ways from a question to passages: one function each, in a table.

With ``e2e`` the embedder's speech vector finds the passages and no transcriber runs. Only SONAR
goes without words altogether: the local embedder's one fast CTC pass, with a beam search and a
small n-gram model over subwords, proposes up to eight wordings, whose text vectors are averaged;
no autoregressive decoder runs and no single transcript is chosen. ``asr`` searches by the
transcript: by its vector and by its words, in one ranking. ``hybrid`` does so with the vector of
speech and transcript together. ``adaptive`` is ``e2e``, and ``hybrid`` where that is unsure. Typed
questions are searched by their vector and their words, whatever the strategy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

from voicerag_core.errors import ConfigError
from voicerag_core.retrieval.fusion import mixed
from voicerag_core.retrieval.search import Search
from voicerag_core.types import (
    Audio,
    Embedding,
    Hit,
    Question,
    Retrieved,
    Strategy,
    Transcription,
)

__all__ = [
    "STRATEGIES",
    "SURE_CONFIDENCE",
    "SURE_GAP",
    "SearchStrategy",
    "find_by_words",
    "find_passages",
]

SURE_CONFIDENCE = 0.85
SURE_GAP = 0.05
"""Least confidence of the embedder, and least lead in cosine similarity of the best passage over
the next, at which ``adaptive`` does without a transcript. Chosen by
training/thresholds/adaptive.py on development questions."""

BySpeech: TypeAlias = Callable[[Search, Audio], Retrieved]


def e2e(search: Search, audio: Audio) -> Retrieved:
    """Search by the speech vector; nothing is transcribed."""
    return search.find(search.embed_speech(audio))


def asr(search: Search, audio: Audio) -> Retrieved:
    """Search by the vector of the transcript, and by its words."""
    return find_by_words(search, search.transcribe(audio), None)


def hybrid(search: Search, audio: Audio) -> Retrieved:
    """Search by the vector of speech and transcript, and by the words."""
    heard = search.transcribe(audio)
    if search.embedder.needs_transcriber:  # its speech vector would be that of these very words
        return find_by_words(search, heard, None)
    return find_by_words(search, heard, search.judge_speech(audio)[0])


def adaptive(search: Search, audio: Audio) -> Retrieved:
    """Search by the speech vector, and ask the transcriber too where that is not sure.

    Behind an earlier turn it never is: only words show whether a question leans on it.
    """
    embedding, confidence = search.judge_speech(audio)
    if embedding is not None and confidence >= SURE_CONFIDENCE and not search.history:
        candidates = search.candidates(embedding, least=2)
        if _lead(candidates) >= SURE_GAP:
            return search.retrieved(embedding, candidates)
    return find_by_words(search, search.transcribe(audio), embedding)


def typed(search: Search, text: str) -> Retrieved:
    """Search by the vector of typed words, and by the words."""
    return search.find(search.embed_text(text), words=text)


@dataclass(frozen=True, slots=True)
class SearchStrategy:
    """How a spoken question becomes a search.

    Args:
        by_speech: Searches for it.
        needs_transcriber: Whether a spoken question may have to be transcribed.
        needs_speech_vectors: Whether the embedder has to embed speech without a transcriber.
    """

    by_speech: BySpeech
    needs_transcriber: bool = True
    needs_speech_vectors: bool = False


STRATEGIES: Mapping[Strategy, SearchStrategy] = MappingProxyType(
    {
        "e2e": SearchStrategy(e2e, needs_transcriber=False, needs_speech_vectors=True),
        "asr": SearchStrategy(asr),
        "hybrid": SearchStrategy(hybrid),
        "adaptive": SearchStrategy(adaptive, needs_speech_vectors=True),
    }
)
"""Every strategy, by name."""


def find_passages(search: Search, strategy: Strategy, question: Question | Embedding) -> Retrieved:
    """Find the passages for a question, or for a vector that the caller has already.

    Raises:
        ConfigError: The parts of the search cannot carry out the strategy.
    """
    if isinstance(question, Audio):
        _check_parts(search, strategy)
        return STRATEGIES[strategy].by_speech(search, question)
    if isinstance(question, str):
        return typed(search, question)
    return search.find(question)


def _check_parts(search: Search, strategy: Strategy) -> None:
    """Refuse a strategy that the parts cannot carry out for a spoken question."""
    needs = STRATEGIES[strategy]
    if needs.needs_transcriber and search.transcriber is None:
        raise ConfigError(
            f"strategy {strategy!r} turns a spoken question into words, and this "
            "VoiceRAG has no transcriber; give it one or use strategy 'e2e'"
        )
    if needs.needs_speech_vectors and search.embedder.needs_transcriber:
        why = getattr(search.embedder, "why_not_by_sound", None)
        if why is not None:
            raise ConfigError(
                f"the strategy {strategy!r} searches by the sound of a question, and {why}; use "
                "the strategy 'asr'"
            )
        raise ConfigError(
            f"strategy {strategy!r} finds passages without a transcript, and the embedder "
            f"{search.embedder.model_id!r} makes one; use strategy 'asr' or an embedder "
            "with a speech encoder"
        )


def find_by_words(search: Search, heard: Transcription, speech: Embedding | None) -> Retrieved:
    """Search by the words of a transcript and by one vector, that of transcript and speech."""
    # Words find names and numbers that no vector holds; vectors find what is said in other words.
    embedding = search.embed_text(heard.text)
    if speech is not None:
        embedding = mixed(speech, embedding)
    return search.find(embedding, words=heard.text, transcription=heard)


def _lead(hits: Sequence[Hit]) -> float:
    """Say by how much the best passage leads; without a second one by all of its score."""
    if not hits:
        return 0.0
    return hits[0].score - (hits[1].score if len(hits) > 1 else 0.0)
