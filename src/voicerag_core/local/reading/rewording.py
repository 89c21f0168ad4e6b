"""A small chat model that only rewords what the reader quotes."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace

from voicerag_core.follow_ups import in_full, turn_before
from voicerag_core.local.reading.chat import ChatFunction, ChatMessage, replies, with_manner
from voicerag_core.local.reading.features import content_words
from voicerag_core.local.reading.reader import Reader
from voicerag_core.local.reading.support import Support
from voicerag_core.types import Answer, Passage, Turn

__all__ = ["RewordingReader", "rewording_messages"]

INSTRUCTIONS = "You answer a question in one or two short sentences. Use only the facts given."

LEAST_KEPT = 0.5
"""Share of the quote's words, those of the question aside, that a rewording of it keeps."""

LONGEST = 1.5
"""Of the quote's length and the question's together, what a rewording may have."""

SHORT = 60
"""Characters that a rewording may have in any case."""


class RewordingReader:
    """Quotes what answers a question, reworded by a chat model if that changes nothing in it.

    The model sees the question and the quote alone. What it says is given only when every figure
    and name in it stands in the quote or the question, those of the quote are all there, it keeps
    half of the quote's words, and it is not much longer; else the quote is given as it is. It is
    asked nothing when the passages do not answer.

    Args:
        reader: Finds the quote.
        chat: The model.
    """

    follows_instructions = True

    def __init__(self, reader: Reader, chat: ChatFunction) -> None:
        self.reader = reader
        self._chat = chat
        self.most_passages = reader.most_passages

    def answer(
        self,
        question: str,
        passages: Sequence[Passage],
        *,
        history: Sequence[Turn] = (),
        instructions: str = "",
    ) -> Generator[Answer, None, None]:
        """Give the answer in one piece, or report that the passages do not answer.

        Args:
            question: As text.
            passages: Best first.
            history: Earlier turns, for the reader.
            instructions: The manner that the chat model rewords in.

        Raises:
            ModelError: The reader failed.
            GenerationError: The chat model failed; its error is the cause.
        """
        before = turn_before(history)
        full = () if before is None else in_full(question, before)
        for piece in self.reader.answer(question, passages, history=history):
            if not piece.answered or not piece.text.strip() or "\n" in piece.text:
                yield piece
                continue
            question = full[0] if full else question
            said = " ".join("".join(self._asked(question, piece.text, instructions)).split())
            yield replace(piece, text=said) if keeps(question, piece.text, said) else piece

    def further_query(
        self, question: str, passages: Sequence[Passage], *, only_unsure: bool
    ) -> str | None:
        """Return what the reader would search for next; see `Reader.further_query`."""
        return self.reader.further_query(question, passages, only_unsure=only_unsure)

    def answer_probability(self, question: str, passages: Sequence[Passage]) -> float:
        """Return the reader's probability that passages answer a question."""
        return self.reader.answer_probability(question, passages)

    def declining_below(self, probability: float) -> RewordingReader:
        """Return the same with a reader that declines below another probability."""
        return RewordingReader(self.reader.declining_below(probability), self._chat)

    def _asked(self, question: str, quote: str, instructions: str) -> Generator[str, None, None]:
        longest = LONGEST * (len(quote) + len(question)) + SHORT
        length = 0
        source = replies(self._chat, rewording_messages(question, quote, instructions))
        try:
            for reply in source:
                yield reply
                length += len(reply)
                if length > longest:
                    return
        finally:
            source.close()


def rewording_messages(question: str, quote: str, instructions: str = "") -> list[ChatMessage]:
    """Build the messages: a short instruction and the manner, then the quote and the question."""
    asked = f"Facts: {quote}\n\nQuestion: {question}\n\nAnswer with the facts only:"
    return [
        ChatMessage("system", with_manner(INSTRUCTIONS, instructions)),
        ChatMessage("user", asked),
    ]


def keeps(question: str, quote: str, said: str) -> bool:
    """Tell whether a rewording says what the quote says, and no more.

    Args:
        question: That was asked.
        quote: Of the documents.
        said: By the model.
    """
    if not said or len(said) > max(SHORT, LONGEST * (len(quote) + len(question))):
        return False
    if Support([question, quote]).invents(said) or _denies(said) != _denies(quote):
        return False
    if Support([question, said]).invents(quote):
        return False
    asked, told = set(content_words(question)), set(content_words(said))
    answer = set(content_words(quote)) - asked
    added = told - asked - answer
    return len(told & answer) >= LEAST_KEPT * len(answer) and len(added) <= len(told & answer)


def _denies(text: str) -> bool:
    words = text.lower().replace("\u2019", "'").split()
    plain = [word.strip(".,;:!?\"'()") for word in words]
    return any(
        word in ("no", "not", "never", "none", "nothing", "cannot", "without", "nor", "neither")
        or word.endswith("n't")
        for word in plain
    )
