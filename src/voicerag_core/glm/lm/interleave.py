"""The form of a reply: 13 text tokens, 26 speech tokens, and so on, then only speech.

The form is a grammar, so ids that it does not allow can be masked before one is sampled. A text
block shorter than 13 is the last one; speech then continues until a stop id.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, Protocol
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from voicerag_core.errors import GenerationError
from voicerag_core.glm.text_tokenizer import TextTokenizer, Vocabulary

__all__ = ["AllowedTokens", "Grammar", "GrammarTable", "Interleave", "ReplyForm", "TokenKind"]

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


@dataclass(frozen=True, slots=True, eq=False)
class GrammarTable:
    """A grammar as a finite state machine, which a device can follow by itself.

    Args:
        allowed: What may come next in each state; state 0 is where the reply is.
        following: [states, kinds] int64, the state after an id of a kind, in the order of
            `TokenKind`.
        kinds: [V] int64, the number of each id's kind; ids of no kind have that of a stop.
    """

    allowed: tuple[AllowedTokens, ...]
    following: NDArray[np.int64]
    kinds: NDArray[np.int64]

    def same(self, other: GrammarTable) -> bool:
        """Return whether another table says the same."""
        return (
            self.allowed == other.allowed
            and self.kinds is other.kinds
            and np.array_equal(self.following, other.following)
        )


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
        self.kinds = np.full(table_size, 2, np.int64)
        self.kinds[text], self.kinds[audio] = 0, 1
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


class _Place(NamedTuple):
    """How far a reply has come: tokens of the running text block and of the speech behind it."""

    text: int = 0
    audio: int = 0
    text_done: bool = False

    def allowed(self, form: ReplyForm) -> AllowedTokens:
        """Return the ids that may come next."""
        if self.audio or self.text_done:
            if self.text_done or self.audio < AUDIO_BLOCK:
                return form.audio_or_stop
            return form.any
        if not self.text:
            return form.text
        return form.any if self.text < TEXT_BLOCK else form.audio

    def after(self, kind: TokenKind) -> _Place:
        """Return where the reply is after an id of a kind that is allowed here."""
        if kind is TokenKind.TEXT:
            return _Place(text=1 if self.audio else min(self.text + 1, TEXT_BLOCK))
        last = self.text_done or self.text < TEXT_BLOCK or self.audio == AUDIO_BLOCK
        if kind is TokenKind.STOP or last:
            return _Place(text_done=True)
        return _Place(self.text, self.audio + 1)


class Interleave:
    """One spoken reply.

    Args:
        form: Of the vocabulary.
    """

    def __init__(self, form: ReplyForm) -> None:
        self._form = form
        self._place = _Place()

    @property
    def text_done(self) -> bool:
        """Whether no more text can follow."""
        return self._place.text_done

    def allowed(self) -> AllowedTokens:
        """Return the ids that may come next."""
        return self._place.allowed(self._form)

    def push(self, token: int) -> TokenKind:
        """Take the next id.

        Raises:
            GenerationError: It is not allowed here.
        """
        kind = self._form.checked(token, self.allowed())
        self._place = self._place.after(kind)
        return kind

    @property
    def in_text(self) -> bool:
        """Whether text may come next."""
        place = self._place
        return not place.text_done and (
            place.audio == AUDIO_BLOCK or (not place.audio and place.text < TEXT_BLOCK)
        )

    @property
    def run(self) -> int:
        """How many more ids of the present kind come, if none of its block is left out."""
        place = self._place
        if self.in_text:
            return TEXT_BLOCK - (0 if place.audio else place.text)
        return AUDIO_BLOCK - (0 if place.text_done else place.audio)

    def ids_until(self, speech: int) -> int:
        """Return how many more ids come until so many more speech tokens, if the text goes on.

        Args:
            speech: Speech tokens, at least 0.
        """
        place = self._place
        if place.text_done:
            return speech
        text = 0 if place.audio else TEXT_BLOCK - place.text
        here = AUDIO_BLOCK - place.audio
        blocks = max(0, -(-(speech - here) // AUDIO_BLOCK))
        return speech + (text + blocks * TEXT_BLOCK if speech else 0)

    def table(self) -> GrammarTable:
        """Return the grammar as a finite state machine that starts where this reply is."""
        known = _tables.setdefault(self._form, {})
        if self._place in known:
            return known[self._place]
        places = [self._place]
        following: list[list[int]] = []
        for place in places:  # grows on the way
            after = [place.after(kind) for kind in TokenKind]
            places += dict.fromkeys(new for new in after if new not in places)
            following.append([places.index(new) for new in after])
        allowed = tuple(place.allowed(self._form) for place in places)
        table = GrammarTable(allowed, np.array(following), self._form.kinds)
        known[self._place] = table
        return table


_tables: WeakKeyDictionary[ReplyForm, dict[_Place, GrammarTable]] = WeakKeyDictionary()
"""Of a form, by where a reply is: there are no more than a table has states. They are not in the
form, whose copy may have other ids."""


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
