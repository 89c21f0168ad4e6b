"""The ids of earlier turns, so that a conversation goes on from exactly the ids it had.

A reply may have been interrupted: then a history holds less text than was generated. What was
generated is still the beginning of the next prompt, as far as it was heard, and so are the passages
of its question; only then does the language model find its keys and values again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from voicerag_core.glm.lm.interleave import ReplyForm, TokenKind
from voicerag_core.glm.prompt import EarlierTurn
from voicerag_core.glm.recent_replies import RecentReplies
from voicerag_core.glm.text_tokenizer import TextStream, TextTokenizer
from voicerag_core.types import Question, Turn

__all__ = ["TOKENS_PER_SECOND", "ReplyMemory"]

TOKENS_PER_SECOND = 12.5
"""Speech tokens of a second. Source: arXiv 2412.02612, section 3.1."""


@dataclass(frozen=True, slots=True)
class _Reply:
    """A reply as it was generated, or as much of it as was heard."""

    text: str
    turn: EarlierTurn


class ReplyMemory:
    """Remembers the ids of the latest turns by their question and the text of their reply.

    Thread-safe.

    Args:
        tokenizer: Of the model.
        form: Tells speech from text.
    """

    def __init__(self, tokenizer: TextTokenizer, form: ReplyForm) -> None:
        self._tokenizer, self._form = tokenizer, form
        self._replies: RecentReplies[_Reply] = RecentReplies()

    def keep(self, question: Question, text: str, turn: EarlierTurn) -> None:
        """Remember a turn, complete or not.

        Args:
            question: As it was asked.
            text: The text of the reply so far.
            turn: Its ids.
        """
        self._replies.keep(question, text, _Reply(text, turn))

    def find(self, turn: Turn) -> EarlierTurn | None:
        """Return the ids of a turn, those of a longer reply cut to its text, or None."""
        reply = self._replies.find(turn)
        if reply is None or reply.text == turn.answer.text:
            return None if reply is None else reply.turn
        return replace(reply.turn, reply=self._until_text(reply, turn.answer.text))

    def cut(self, turn: Turn, heard: Turn, seconds: float) -> None:
        """Remember of a reply the ids up to the last speech token that was heard.

        Args:
            turn: As it is remembered.
            heard: As the history will hold it.
            seconds: How much of its speech was heard.
        """
        reply = self._replies.find(turn)
        if reply is not None:
            ids = self._until_speech(reply.turn.reply, int(seconds * TOKENS_PER_SECOND))
            self.keep(turn.question, heard.answer.text, replace(reply.turn, reply=ids))

    def _until_speech(self, ids: tuple[int, ...], tokens: int) -> tuple[int, ...]:
        """Return the ids up to the last of some speech tokens."""
        end = heard = 0
        for place, token in enumerate(ids, 1):
            if heard == tokens:
                break
            if self._form.kind(token) is TokenKind.AUDIO:
                heard += 1
                end = place
        return ids[:end]

    def _until_text(self, reply: _Reply, text: str) -> tuple[int, ...]:
        """Return the ids until a text is written, with the speech that follows it at once."""
        stream = TextStream(self._tokenizer)
        written = ""
        for place, token in enumerate(reply.turn.reply):
            if self._form.kind(token) is TokenKind.TEXT:
                if len(written) >= len(text):
                    return reply.turn.reply[:place]
                written += stream.push(token)
        return reply.turn.reply
