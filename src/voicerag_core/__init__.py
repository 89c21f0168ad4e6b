"""Ask documents by voice: find passages for a spoken question, and answer in text and speech.

Importing this package loads numpy and nothing heavier; settings, store and the parts that
`open_voicerag` assembles are loaded when their names are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import voicerag_core.ending  # noqa: F401 - first: signals that come during the imports below

# isort: split
from voicerag_core.audio import (
    MAX_SECONDS,
    SPEECH_RATE_HZ,
    check_audio,
    read_audio,
    resample,
    to_wav_bytes,
    write_wav,
)
from voicerag_core.blocks import Block, Place
from voicerag_core.cancellation import Cancellation, check_cancelled
from voicerag_core.chunking import chunk_document, passage_id, sentence_spans, split_sentences
from voicerag_core.conversation import Conversation, Speculation
from voicerag_core.errors import (
    AudioError,
    BusyError,
    CancelledError,
    CheckpointError,
    ConfigError,
    DocumentError,
    EmbeddingMismatchError,
    EmptyCollectionError,
    EndpointError,
    FilterError,
    ForbiddenError,
    GenerationError,
    MissingExtraError,
    ModelError,
    NotFoundError,
    SchemaError,
    SilentError,
    StoreError,
    StoreUnavailableError,
    VoiceRAGError,
)
from voicerag_core.lazy import lazy_names
from voicerag_core.passages import (
    CitedPlace,
    PassageBlock,
    PassageSentence,
    cited_place,
    passage_blocks,
    passage_sentences,
    searched_text,
)
from voicerag_core.ports import (
    AnswerWriter,
    AsksFurther,
    CalibratedStore,
    DocumentStore,
    Embedder,
    PassageStore,
    ReadsOn,
    RemembersReplies,
    Reranker,
    SelfAssessingEmbedder,
    SelfAssessingModel,
    ServesMany,
    Speaker,
    TextEmbedder,
    Transcriber,
    TurnDetector,
    VoiceModel,
)
from voicerag_core.rag import IndexProgress, VoiceRAG
from voicerag_core.retrieval import STRATEGIES, maximal_marginal_relevance
from voicerag_core.types import (
    Answer,
    Audio,
    Citation,
    Document,
    Embedding,
    Embeddings,
    Found,
    Hit,
    JSONValue,
    MatchedBy,
    Passage,
    Question,
    Retrieved,
    Sampling,
    SecondRound,
    Strategy,
    Thresholds,
    Transcription,
    Turn,
    TurnEvent,
)

if TYPE_CHECKING:
    from voicerag_core.ingest import FileProgress, FileReport, index_documents, index_files
    from voicerag_core.local.embedder import HearingEmbedder
    from voicerag_core.local.function_embedder import FunctionEmbedder
    from voicerag_core.local.hearing.ears import Ears, Wordings
    from voicerag_core.local.speaking.answer_speech import speak_answer
    from voicerag_core.local.turns.detector import TurnRules, open_turn_detector
    from voicerag_core.settings import Settings, load_settings
    from voicerag_core.stack import ears_of, open_ears, open_store, open_voicerag
    from voicerag_core.store import ExistingTable, PgVectorStore

_LAZY = {
    "Ears": "voicerag_core.local.hearing.ears",
    "ExistingTable": "voicerag_core.store",
    "FileProgress": "voicerag_core.ingest",
    "FileReport": "voicerag_core.ingest",
    "FunctionEmbedder": "voicerag_core.local.function_embedder",
    "HearingEmbedder": "voicerag_core.local.embedder",
    "PgVectorStore": "voicerag_core.store",
    "TurnRules": "voicerag_core.local.turns.detector",
    "open_turn_detector": "voicerag_core.local.turns.detector",
    "Settings": "voicerag_core.settings",
    "ears_of": "voicerag_core.stack",
    "index_documents": "voicerag_core.ingest",
    "index_files": "voicerag_core.ingest",
    "Wordings": "voicerag_core.local.hearing.ears",
    "load_settings": "voicerag_core.settings",
    "open_ears": "voicerag_core.stack",
    "open_store": "voicerag_core.stack",
    "open_voicerag": "voicerag_core.stack",
    "speak_answer": "voicerag_core.local.speaking.answer_speech",
}

__all__ = [
    "MAX_SECONDS",
    "SPEECH_RATE_HZ",
    "STRATEGIES",
    "Answer",
    "AnswerWriter",
    "AsksFurther",
    "Audio",
    "AudioError",
    "Block",
    "BusyError",
    "CalibratedStore",
    "Cancellation",
    "CancelledError",
    "CheckpointError",
    "Citation",
    "CitedPlace",
    "ConfigError",
    "Conversation",
    "Document",
    "DocumentError",
    "DocumentStore",
    "Ears",
    "Embedder",
    "Embedding",
    "EmbeddingMismatchError",
    "Embeddings",
    "EmptyCollectionError",
    "EndpointError",
    "ExistingTable",
    "FileProgress",
    "FileReport",
    "FilterError",
    "ForbiddenError",
    "Found",
    "FunctionEmbedder",
    "GenerationError",
    "HearingEmbedder",
    "Hit",
    "IndexProgress",
    "JSONValue",
    "MatchedBy",
    "MissingExtraError",
    "ModelError",
    "NotFoundError",
    "Passage",
    "PassageBlock",
    "PassageSentence",
    "PassageStore",
    "PgVectorStore",
    "Place",
    "Question",
    "ReadsOn",
    "RemembersReplies",
    "Reranker",
    "Retrieved",
    "Sampling",
    "SchemaError",
    "SecondRound",
    "SelfAssessingEmbedder",
    "SelfAssessingModel",
    "ServesMany",
    "Settings",
    "SilentError",
    "Speaker",
    "Speculation",
    "StoreError",
    "StoreUnavailableError",
    "Strategy",
    "TextEmbedder",
    "Thresholds",
    "Transcriber",
    "Transcription",
    "Turn",
    "TurnDetector",
    "TurnEvent",
    "TurnRules",
    "VoiceModel",
    "VoiceRAG",
    "VoiceRAGError",
    "Wordings",
    "check_audio",
    "check_cancelled",
    "chunk_document",
    "cited_place",
    "ears_of",
    "index_documents",
    "index_files",
    "load_settings",
    "maximal_marginal_relevance",
    "open_ears",
    "open_store",
    "open_turn_detector",
    "open_voicerag",
    "passage_blocks",
    "passage_id",
    "passage_sentences",
    "read_audio",
    "resample",
    "searched_text",
    "sentence_spans",
    "speak_answer",
    "split_sentences",
    "to_wav_bytes",
    "write_wav",
]

_load, __dir__ = lazy_names(__name__, _LAZY)


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any of the names
    """Load a name on first use; the version is that of the installed distribution."""
    if name == "__version__":
        from importlib.metadata import version

        return version("voicerag-core")
    return _load(name)
