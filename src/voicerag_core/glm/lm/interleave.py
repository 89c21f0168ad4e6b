"""The form of a reply: 13 text tokens, 26 speech tokens, and so on, then only speech.

The form is a grammar, so ids that it does not allow can be masked before one is sampled. A text
block shorter than 13 is the last one; speech then continues until a stop id.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from voicerag_core.errors import GenerationError
from voicerag_core.glm.text_tokenizer import TextTokenizer, Vocabulary

__all__ = ["AllowedTokens", "Grammar", "Interleave", "ReplyForm", "TokenKind"]

TEXT_BLOCK, AUDIO_BLOCK = 13, 26
"""Tokens of a block. Source: the system prompt of THUDM/GLM-4-Voice @ eb00ce9, web_demo.py."""


class TokenKind(Enum):
    """What a generated id is."""

    TEXT = "text"
    AUDIO = "audio"
    STOP = "stop"


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class AllowedTokens:
    """A mask of the ids that may come next; compared by identity, so that a backend can cache it.

    Args:
        name: What they are, for error messages.
        mask: [V] bool, True where the id is allowed.
        start: No id before this one is allowed; a backend need not score them.
    """

    name: str
    mask: NDArray[np.bool_]
    start: int = 0


class Grammar(Protocol):
    """Says which ids may come next in a reply."""

    def allowed(self) -> AllowedTokens:
        """Return the ids that may come next."""
        ...

    def push(self, token: int) -> TokenKind:
        """Take the next id.

        Raises:
            GenerationError: It is not allowed here.
        """
        ...


class ReplyForm:
    """The token masks of a vocabulary, made once and shared by all replies.

    Args:
        tokenizer: Knows the ids.
        table_size: Rows of the model's output table, at least the ids in use.
        english_only: Mask text ids that hold Chinese, Japanese or Korean, as the paper does for its
            English evaluations (arXiv 2412.02612, section 5).
    """

    def __init__(
        self, tokenizer: TextTokenizer, table_size: int, *, english_only: bool = False
    ) -> None:
        vocabulary = tokenizer.vocabulary
        if table_size < vocabulary.size:
            raise GenerationError(
                f"the model's table has {table_size} rows and the tokenizer {vocabulary.size} "
                "ids: they are not of one model"
            )
        self.vocabulary: Vocabulary = vocabulary
        text, audio, stop = (np.zeros(table_size, np.bool_) for _ in range(3))
        text[: vocabulary.text_size] = True
        audio[vocabulary.audio_start : vocabulary.audio_start + vocabulary.audio_size] = True
        stop[list(vocabulary.stop_ids)] = True
        if english_only:
            east_asian = [
                token
                for token in range(vocabulary.text_size)
                if _is_east_asian(tokenizer.token_bytes(token))
            ]
            text[east_asian] = False
        self.text = AllowedTokens("text", text)
        self.audio = AllowedTokens("speech", audio, vocabulary.text_size)
        self.any = AllowedTokens("text, speech or the end", text | audio | stop)
        self.audio_or_stop = AllowedTokens("speech or the end", audio | stop, vocabulary.text_size)

    def kind(self, token: int) -> TokenKind:
        """Return the kind of an id.

        Raises:
            GenerationError: It is neither text, speech nor a stop.
        """
        vocabulary = self.vocabulary
        if vocabulary.is_audio(token):
            return TokenKind.AUDIO
        if vocabulary.is_text(token):
            return TokenKind.TEXT
        if token in vocabulary.stop_ids:
            return TokenKind.STOP
        raise GenerationError(
            f"the model gave id {token}, which is neither text (below {vocabulary.text_size}), "
            f"speech ({vocabulary.audio_start} to "
            f"{vocabulary.audio_start + vocabulary.audio_size - 1}) nor a stop"
        )

    def checked(self, token: int, allowed: AllowedTokens) -> TokenKind:
        """Return the kind of an id, which must be allowed.

        Raises:
            GenerationError: It is not.
        """
        if not 0 <= token < len(allowed.mask) or not allowed.mask[token]:
            kind = self.kind(token)
            raise GenerationError(
                f"the model gave {kind.value} (id {token}) instead of {allowed.name}"
            )
        return self.kind(token)


class Interleave:
    """One spoken reply.

    Args:
        form: Of the vocabulary.
    """

    def __init__(self, form: ReplyForm) -> None:
        self._form = form
        self._text = self._audio = 0
        self._text_done = False

    @property
    def text_done(self) -> bool:
        """Whether no more text can follow."""
        return self._text_done

    def allowed(self) -> AllowedTokens:
        """Return the ids that may come next."""
        form = self._form
        if self._audio:
            if self._text_done or self._audio < AUDIO_BLOCK:
                return form.audio_or_stop
            return form.any
        if not self._text:
            return form.text
        return form.any if self._text < TEXT_BLOCK else form.audio

    def push(self, token: int) -> TokenKind:
        """Take the next id.

        Raises:
            GenerationError: It is not allowed here.
        """
        kind = self._form.checked(token, self.allowed())
        if kind is TokenKind.TEXT:
            if self._audio:
                self._text = self._audio = 0
            self._text += 1
        elif kind is TokenKind.AUDIO:
            if self._text < TEXT_BLOCK or self._audio == AUDIO_BLOCK:
                self._text_done = True
            self._audio += 1
        else:
            self._text_done = True
        return kind


def _is_east_asian(word: bytes) -> bool:
    """Return whether UTF-8 bytes, perhaps cut, start a Chinese, Japanese or Korean character.

    Lead bytes E3..ED open U+3000..U+DFFF; EF BC..BE the full-width forms; F0 A0..AF U+20000 on. The
    bytes EF and F0 alone stay allowed: other characters start with them too.
    """
    return any(
        b"\xe3\0" <= pair < b"\xee\0"
        or b"\xef\xbc" <= pair <= b"\xef\xbe"
        or b"\xf0\xa0" <= pair <= b"\xf0\xaf"
        for pair in (word[at : at + 2].ljust(2, b"\0") for at in range(len(word)))
    )
