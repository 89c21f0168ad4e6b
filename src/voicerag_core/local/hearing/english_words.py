"""How common English words are."""

from __future__ import annotations

import functools
from collections.abc import Mapping

from voicerag_core.errors import MissingExtraError
from voicerag_core.local.weights.files import weight_path

__all__ = ["english_ranks"]


@functools.cache
def english_ranks() -> Mapping[str, int]:
    """Return about 20,000 English words in lower case, each with its place by frequency.

    They are the whole words that MiniLM knows, whose list is in the order of their frequency.

    Raises:
        MissingExtraError: The extra ``local`` is not installed.
    """
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise MissingExtraError("local", "speech recognition") from error
    path = weight_path("minilm-tokenizer/minilm_tokenizer.json")
    listed = Tokenizer.from_file(str(path)).get_vocab()
    words = sorted((number, word) for word, number in listed.items() if word.isalpha())
    words = [(number, word) for number, word in words if len(word) > 1]
    return {word: place for place, (_, word) in enumerate(words)}
