"""SONAR's tokenizer: NLLB's sentencepiece model, with a language token and an end token."""

from __future__ import annotations

import os
from pathlib import Path

from voicerag_core.errors import CheckpointError, MissingExtraError
from voicerag_core.sonar.languages import TEXT_CODES
from voicerag_core.text import clean_text

__all__ = ["END", "PADDING", "NllbTokenizer"]

PADDING, UNKNOWN, START, END = 0, 1, 2, 3
"""Ids of the control tokens. Source: fairseq2 0.8.1, models/nllb/tokenizer.py."""

_SHIFT = 1
"""Offset of the model's pieces (the first are unknown, start and end): padding comes before."""


class NllbTokenizer:
    """Turns text into token ids and back. Safe to share between threads.

    Args:
        path: The sentencepiece model; it has no padding token.
        languages: Codes in the order of their tokens.

    Raises:
        MissingExtraError: The extra ``sonar`` is not installed.
        CheckpointError: The file is absent or is no such model.
    """

    def __init__(
        self, path: str | os.PathLike[str], languages: tuple[str, ...] = TEXT_CODES
    ) -> None:
        try:
            import sentencepiece
        except ImportError as error:
            raise MissingExtraError("sonar", "SONAR's tokenizer") from error
        file = Path(path)
        if not os.path.isfile(file):
            raise CheckpointError(
                f"there is no tokenizer at {file}; expected SONAR's sentencepiece model, "
                "sentencepiece.source.256000.model (voicerag download sonar)"
            )
        self._pieces = sentencepiece.SentencePieceProcessor()
        try:
            self._pieces.LoadFromSerializedProto(file.read_bytes())
        except (OSError, RuntimeError) as error:
            raise CheckpointError(
                f"{file} cannot be read as a sentencepiece model: {error}"
            ) from error
        control = [self._pieces.unk_id(), self._pieces.bos_id(), self._pieces.eos_id()]
        if control != [0, 1, 2] or self._pieces.pad_id() != -1:
            raise CheckpointError(
                f"{file} is not NLLB's tokenizer: unknown, start and end are pieces {control}, "
                f"padding is {self._pieces.pad_id()}; expected 0, 1, 2 and no padding"
            )
        first = self._pieces.get_piece_size() + _SHIFT
        self._languages = {code: first + place for place, code in enumerate(languages)}

    @property
    def least_vocabulary(self) -> int:
        """Rows that an embedding table needs for the pieces and the languages."""
        return self._pieces.get_piece_size() + _SHIFT + len(self._languages)

    def language_token(self, language: str) -> int:
        """Return the id of a language's token."""
        return self._languages[language]

    def encode(self, text: str, language: str) -> list[int]:
        """Return the ids of a text: language, pieces, end."""
        pieces = self._pieces.encode(clean_text(text))
        return [self._languages[language], *(piece + _SHIFT for piece in pieces), END]

    def offset(self, text: str, token: int) -> int:
        """Return the character of a text at which a token starts, given its index among the ids."""
        spans = self._pieces.encode(clean_text(text), out_type="offset_mapping")["offsets"]
        return int(spans[token - 1][0]) if token - 1 < len(spans) else len(text)

    def decode(self, ids: list[int]) -> str:
        """Return the text of ids; control and language tokens are skipped."""
        limit = self._pieces.get_piece_size()
        pieces = [i - _SHIFT for i in ids if i > END and i - _SHIFT < limit]
        return str(self._pieces.decode(pieces))
