"""A reader for each language that there is one for."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence

from voicerag_core.languages import ANY
from voicerag_core.local.reading.further import further_query
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

    def further_query(
        self, question: str, passages: Sequence[Passage], *, only_unsure: bool
    ) -> str | None:
        """Return what the reader of the question's language would search for next, or None.

        Raises:
            ModelError: The reader failed.
        """
        reader = self._readers.get(language_of(question, self._language))
        if reader is None:
            return None
        return further_query(reader, question, passages, only_unsure=only_unsure)

    def answer_probability(self, question: str, passages: Sequence[Passage]) -> float | None:
        """Return the probability that passages answer; None if the reader does not know it."""
        reader = self._readers.get(language_of(question, self._language))
        assess = getattr(reader, "answer_probability", None)
        return None if assess is None else assess(question, passages)

    def declining_below(self, probability: float) -> ReaderByLanguage:
        """Return the same readers; those that know probabilities decline below this one."""
        changed = {
            code: getattr(reader, "declining_below", lambda _, same=reader: same)(probability)
            for code, reader in self._readers.items()
        }
        return ReaderByLanguage(changed, language=self._language)
