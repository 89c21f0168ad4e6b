"""A reader for each language that there is one for."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence

from voicerag_core.languages import ANY
from voicerag_core.local.reading.language import language_of
from voicerag_core.local.replies import no_reader
from voicerag_core.ports import AnswerWriter, ReadsOn
from voicerag_core.types import Answer, Passage, Turn

__all__ = ["ReaderByLanguage"]


class ReaderByLanguage:
    """Lets the reader of a question's language answer, and says where there is none.

    Args:
        readers: By the code of their language.
        language: Code of the questions' language, or "auto": it is found out for each question.
    """

    def __init__(self, readers: Mapping[str, AnswerWriter], *, language: str = ANY) -> None:
        self._readers = readers
        self._language = language

    @property
    def most_passages(self) -> int:
        """Most passages that one of the readers reads."""
        reading = [one.most_passages for one in self._readers.values() if isinstance(one, ReadsOn)]
        return max(reading, default=0)

    def answer(
        self,
        question: str,
        passages: Sequence[Passage],
        *,
        history: Sequence[Turn] = (),
        instructions: str = "",
    ) -> Generator[Answer, None, None]:
        """Stream the answer; see `AnswerWriter.answer`.

        Raises:
            ModelError: The reader failed.
        """
        code = language_of(question, self._language)
        reader = self._readers.get(code)
        if reader is None:
            yield Answer(no_reader(code), answered=False)
        else:
            yield from reader.answer(question, passages, history=history, instructions=instructions)
