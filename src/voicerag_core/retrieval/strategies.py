"""Ways from a question to passages: one function each, in a table.

With ``e2e`` the embedder's speech vector finds the passages and no transcriber runs. Only SONAR
goes without words altogether: the local embedder's one fast CTC pass, with a beam search and a
small n-gram model over subwords, proposes up to eight wordings, whose text vectors are averaged;
no autoregressive decoder runs and no single transcript is chosen. ``asr`` searches by the
transcript: by its vector and by its words, in one ranking. ``hybrid`` does so with the vector of
speech and transcript together, if the speech encoder knows the language that was heard, and by
speech alone where no words are made out.
``adaptive`` is ``e2e``, and ``hybrid`` where that is unsure. ``two_round`` lets the model read what
was found and say in one sentence what it needs to know; that text searches again, and the two
rankings are fused. Typed questions are searched by their vector and their words, whatever the
strategy; ``two_round`` searches again for them too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TypeAlias, get_args

from voicerag_core.errors import AudioError, ConfigError
from voicerag_core.ports import Embedder
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
the next, at which ``adaptive`` does without a transcript; an embedder whose vectors lie closer
together has a ``sure_gap`` of its own. Chosen by training/thresholds/adaptive.py on development
questions."""

BySpeech: TypeAlias = Callable[[Search, Audio], Retrieved]
ByText: TypeAlias = Callable[[Search, str], Retrieved]


def e2e(search: Search, audio: Audio) -> Retrieved:
    """Search by the speech vector; nothing is transcribed."""
    return search.find(search.embed_speech(audio))


def asr(search: Search, audio: Audio) -> Retrieved:
    """Search by the vector of the transcript, and by its words."""
    return find_by_words(search, search.transcribe(audio), None)


def hybrid(search: Search, audio: Audio) -> Retrieved:
    """Search by the vector of speech and transcript, and by the words."""
    if search.embedder.needs_transcriber:  # its speech vector would be that of the same words
        return find_by_words(search, search.transcribe(audio), None)
    speech = search.judge_speech(audio)[0]
    search.tell_early(speech)
    return _with_words(search, audio, speech)


def adaptive(search: Search, audio: Audio) -> Retrieved:
    """Search by the speech vector, and ask the transcriber too where that is not sure.

    Behind an earlier turn it never is: only words show whether a question leans on it.
    """
    embedding, confidence = search.judge_speech(audio)
    chosen = search.thresholds()
    least = SURE_CONFIDENCE if chosen.confidence is None else chosen.confidence
    candidates = None
    if embedding is not None and confidence >= least and not search.history:
        candidates = search.candidates(embedding, least=2)
        if _lead(candidates) >= _sure_gap(search.embedder, chosen.gap):
            return search.retrieved(embedding, candidates)
    search.tell_early(embedding, candidates)
    return _with_words(search, audio, embedding)


def _with_words(search: Search, audio: Audio, speech: Embedding | None) -> Retrieved:
    """Search by sound and words; by sound alone if no words are made out where speech was heard."""
    try:
        heard = search.transcribe(audio)
    except AudioError:
        if speech is None:
            raise
        return search.find(speech)
    return find_by_words(search, heard, speech)


def typed(search: Search, text: str) -> Retrieved:
    """Search by the vector of typed words, and by the words."""
    return search.find(search.embed_text(text), words=text)


def two_round(search: Search, question: Question) -> Retrieved:
    """Search; let the model say what it needs to know; search by that too, and fuse both.

    The first round is ``hybrid`` where there is a transcriber, else ``e2e``.
    """
    if isinstance(question, str):
        first = typed(search, question)
    else:
        first = e2e(search, question) if search.transcriber is None else hybrid(search, question)
    query = search.further_query(question, first)
    if query is None or not query.strip():
        return first
    return search.joined(first, search.find(search.embed_text(query), words=query))


@dataclass(frozen=True, slots=True)
class SearchStrategy:
    """How a question becomes a search.

    Args:
        by_speech: Searches for a spoken one.
        needs_transcriber: Whether a spoken question may have to be transcribed.
        needs_speech_vectors: Whether the embedder has to embed speech without a transcriber.
        by_text: Searches for a typed one.
        needs_model: Whether a model has to say what it needs to know.
    """

    by_speech: BySpeech
    needs_transcriber: bool = True
    needs_speech_vectors: bool = False
    by_text: ByText = typed
    needs_model: bool = False


STRATEGIES: Mapping[Strategy, SearchStrategy] = MappingProxyType(
    {
        "e2e": SearchStrategy(e2e, needs_transcriber=False, needs_speech_vectors=True),
        "asr": SearchStrategy(asr),
        "hybrid": SearchStrategy(hybrid),
        "adaptive": SearchStrategy(adaptive, needs_speech_vectors=True),
        "two_round": SearchStrategy(
            two_round, needs_transcriber=False, by_text=two_round, needs_model=True
        ),
    }
)
"""Every strategy, by name."""

assert set(STRATEGIES) == set(get_args(Strategy)), "a strategy lacks its function or its name"


def find_passages(search: Search, strategy: Strategy, question: Question | Embedding) -> Retrieved:
    """Find the passages for a question, or for a vector that the caller has already.

    Raises:
        ConfigError: The parts of the search cannot carry out the strategy.
    """
    if isinstance(question, Audio):
        _check_parts(search, strategy)
        return STRATEGIES[strategy].by_speech(search, question)
    if isinstance(question, str):
        _check_model(search, strategy)
        return STRATEGIES[strategy].by_text(search, question)
    return search.find(question)


def _check_parts(search: Search, strategy: Strategy) -> None:
    """Refuse a strategy that the parts cannot carry out for a spoken question."""
    needs = STRATEGIES[strategy]
    if needs.needs_model:
        _check_model(search, strategy)
        if search.transcriber is None:
            _check_parts(search, "e2e")
    if needs.needs_transcriber and search.transcriber is None:
        raise ConfigError(
            f"strategy {strategy!r} turns a spoken question into words, and this "
            "VoiceRAG has no transcriber; give it one or use strategy 'e2e'"
        )
    if not needs.needs_speech_vectors:
        return
    why = getattr(search.embedder, "why_not_by_sound", None)
    if why is not None and (search.embedder.needs_transcriber or not needs.needs_transcriber):
        raise ConfigError(
            f"the strategy {strategy!r} searches by the sound of a question, and {why}"
        )
    if search.embedder.needs_transcriber:
        raise ConfigError(
            f"strategy {strategy!r} finds passages without a transcript, and the embedder "
            f"{search.embedder.model_id!r} makes one; use strategy 'asr' or an embedder "
            "with a speech encoder"
        )


def _check_model(search: Search, strategy: Strategy) -> None:
    """Refuse a strategy that asks a model where there is none that can be asked."""
    if STRATEGIES[strategy].needs_model and search.model is None:
        raise ConfigError(
            f"strategy {strategy!r} lets the model say what it still needs to know, and this one "
            "cannot (it lacks the method further_query of voicerag_core.ports.AsksFurther); use "
            "another strategy or model"
        )


def find_by_words(search: Search, heard: Transcription, speech: Embedding | None) -> Retrieved:
    """Search by the words of a transcript and by one vector, that of transcript and speech."""
    # Words find names and numbers that no vector holds; vectors find what is said in other words.
    embedding = search.embed_text(heard.text)
    by_sound = speech is not None and _understands(search.embedder, heard)
    if speech is not None and by_sound:
        embedding = mixed(speech, embedding)
    found = search.find(embedding, words=heard.text, transcription=heard)
    return replace(found, by_sound=by_sound)


def _understands(embedder: Embedder, heard: Transcription) -> bool:
    """Return whether the embedder's speech encoder knows the language of a clip, or may know it."""
    known = getattr(embedder, "ears_language", None)
    return known is None or heard.language is None or heard.language == known


def _sure_gap(embedder: Embedder, chosen: float | None) -> float:
    """Return the lead that makes a passage sure: some models rank all passages closely together.

    Args:
        embedder: May know its own.
        chosen: For the collection; None: none was.
    """
    if chosen is not None:
        return chosen
    gap: float | None = getattr(embedder, "sure_gap", None)
    return SURE_GAP if gap is None else gap


def _lead(hits: Sequence[Hit]) -> float:
    """Say by how much the best passage leads; without a second one by all of its score."""
    if not hits:
        return 0.0
    return hits[0].score - (hits[1].score if len(hits) > 1 else 0.0)
