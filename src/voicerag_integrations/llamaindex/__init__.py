"""voicerag for LlamaIndex: questions as sound through retrievers, query engines and agents.

Everything here uses parts of voicerag that are already open and never closes them. Async methods
run in one worker thread; a cancelled caller is released at once, and no further stage of its call
starts.
"""

from voicerag_core import MissingExtraError

try:
    import llama_index.core  # noqa: F401
except ImportError as error:
    raise MissingExtraError("llamaindex", "voicerag_integrations.llamaindex") from error

from voicerag_integrations.llamaindex.bundle import ClipSource, SpeechQueryBundle
from voicerag_integrations.llamaindex.embedding import VoiceRAGEmbedding
from voicerag_integrations.llamaindex.events import SpeechAnswerEvent, SpeechRetrievalEvent
from voicerag_integrations.llamaindex.filters import to_filter
from voicerag_integrations.llamaindex.hearing import HearingQueryEngine, HearingRetriever
from voicerag_integrations.llamaindex.llm import VoiceLLM
from voicerag_integrations.llamaindex.models import LlamaIndexChat, LlamaIndexEmbedder
from voicerag_integrations.llamaindex.nodes import audio_node
from voicerag_integrations.llamaindex.query_engine import SpeechQueryEngine
from voicerag_integrations.llamaindex.response import (
    AsyncStreamingSpeechResponse,
    SpeechResponse,
    StreamingSpeechResponse,
)
from voicerag_integrations.llamaindex.retriever import SpeechRetriever
from voicerag_integrations.llamaindex.tool import speech_query_tool
from voicerag_integrations.llamaindex.vector_store import VoiceRAGVectorStore

__all__ = [
    "AsyncStreamingSpeechResponse",
    "ClipSource",
    "HearingQueryEngine",
    "HearingRetriever",
    "LlamaIndexChat",
    "LlamaIndexEmbedder",
    "SpeechAnswerEvent",
    "SpeechQueryBundle",
    "SpeechQueryEngine",
    "SpeechResponse",
    "SpeechRetrievalEvent",
    "SpeechRetriever",
    "StreamingSpeechResponse",
    "VoiceLLM",
    "VoiceRAGEmbedding",
    "VoiceRAGVectorStore",
    "audio_node",
    "speech_query_tool",
    "to_filter",
]
