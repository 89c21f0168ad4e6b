"""voicerag for LangChain: embeddings, retriever, vector store, runnable and tools.

Needs the extra ``langchain``. Everything takes a `voicerag_core.VoiceRAG` or parts of one.
"""

from voicerag_core import MissingExtraError

try:
    from voicerag_integrations.langchain.chain import SpeechRunnable
    from voicerag_integrations.langchain.embeddings import VoiceRAGEmbeddings
    from voicerag_integrations.langchain.hearing import HearingRetriever, SpeechToQuestion
    from voicerag_integrations.langchain.messages import answer_message, message_audio
    from voicerag_integrations.langchain.metadata_filters import read_filter
    from voicerag_integrations.langchain.models import LangChainChat, LangChainEmbedder
    from voicerag_integrations.langchain.redaction import redacted
    from voicerag_integrations.langchain.retriever import SpeechRetriever
    from voicerag_integrations.langchain.runnable import VoiceRAGRunnable
    from voicerag_integrations.langchain.tools import VoiceAskTool, VoiceSearchTool
    from voicerag_integrations.langchain.vector_store import VoiceRAGVectorStore
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "langchain_core":
        raise
    raise MissingExtraError("langchain", "voicerag_integrations.langchain") from error

__all__ = [
    "HearingRetriever",
    "LangChainChat",
    "LangChainEmbedder",
    "SpeechRetriever",
    "SpeechRunnable",
    "SpeechToQuestion",
    "VoiceAskTool",
    "VoiceRAGEmbeddings",
    "VoiceRAGRunnable",
    "VoiceRAGVectorStore",
    "VoiceSearchTool",
    "answer_message",
    "message_audio",
    "read_filter",
    "redacted",
]
