"""The readers of the local stack: English, and those of the language of the settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voicerag_core.languages import ANY, ENGLISH
from voicerag_core.ports import AnswerWriter, TextEmbedder
from voicerag_core.settings import Settings

if TYPE_CHECKING:
    from voicerag_core.local.reading.reader import Reader

__all__ = ["reader_of_languages"]

CHINESE = "zh"


def reader_of_languages(settings: Settings, english: Reader, embedder: object) -> AnswerWriter:
    """Return the reader of questions in the language of the settings.

    Args:
        settings: Name the language.
        english: The reader of English.
        embedder: Of the stack; its text model is shared if it is the one that Chinese is read by.
    """
    if settings.language == ENGLISH:
        return english
    from voicerag_core.local.reading.by_language import ReaderByLanguage

    readers: dict[str, AnswerWriter] = {ENGLISH: english}
    if settings.language in (ANY, CHINESE):
        from voicerag_core.local.reading.chinese import ChineseReader

        readers[CHINESE] = ChineseReader(_multilingual(settings, embedder))
    return ReaderByLanguage(readers, language=settings.language)


def _multilingual(settings: Settings, embedder: object) -> TextEmbedder:
    """Return the multilingual embedder of the stack, or another one."""
    from voicerag_core.local.multilingual.embedder import MultilingualEmbedder

    texts = getattr(embedder, "texts", None)
    if isinstance(texts, MultilingualEmbedder):
        return texts
    return MultilingualEmbedder(settings.threads, data_dir=settings.data_dir / "weights")
