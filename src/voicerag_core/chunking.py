"""Text to passages: cut on sentence borders, with size and overlap."""

from __future__ import annotations

import hashlib
import itertools
import re

from voicerag_core.errors import ConfigError
from voicerag_core.types import Document, JSONValue, Passage

__all__ = [
    "CHUNK_OVERLAP",
    "CHUNK_SIZE",
    "chunk_document",
    "passage_id",
    "sentence_spans",
    "split_sentences",
]

CHUNK_SIZE = 1200
"""Default most characters of a passage: about the 256 tokens that MiniLM reads of English."""

CHUNK_OVERLAP = 0
"""Default most characters that a passage repeats of the one before it, in whole sentences."""

_CJK = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]")
_SPACE = re.compile(r"\s")
_EMPTY_LINE = re.compile(r"\n\s*\n")


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Find the sentences of English, Chinese or mixed text.

    A line break inside a paragraph does not end a sentence, an empty line does. Sentences are
    found with sentencex.

    Returns:
        Start and end of each sentence in characters, without surrounding white space, in order.
    """
    import sentencex

    spans: list[tuple[int, int]] = []
    language = "zh" if _CJK.search(text) else "en"
    borders = [0, *(border.end() for border in _EMPTY_LINE.finditer(text)), len(text)]
    for block_start, block_end in itertools.pairwise(borders):
        flat = _SPACE.sub(" ", text[block_start:block_end])
        position = 0
        for sentence in sentencex.segment(language, flat):
            words = sentence.strip()
            if not words:
                continue
            start = flat.index(words, position)
            position = start + len(words)
            spans.append((block_start + start, block_start + position))
    return spans


def split_sentences(text: str) -> list[str]:
    """Return the sentences of a text, each on one line."""
    return [_SPACE.sub(" ", text[start:end]) for start, end in sentence_spans(text)]


def chunk_document(
    document: Document, *, size: int = CHUNK_SIZE, overlap: int = CHUNK_OVERLAP
) -> list[Passage]:
    """Cut a document into passages of whole sentences.

    A sentence longer than `size` is cut at white space, and where there is none, at `size`.
    Passages carry the document's metadata and `source`, `title` (when there is one), `position`
    (0, 1, ...), `start` and `end` (characters of the document's text).

    Args:
        document: What to cut; a document without text gives no passage.
        size: Most characters of a passage.
        overlap: Most characters repeated from the passage before, in whole sentences.

    Raises:
        ConfigError: `size` is below 1, or `overlap` is not in 0..size-1.
    """
    if size < 1 or not 0 <= overlap < size:
        raise ConfigError(
            f"passages need a size of at least 1 and an overlap of 0 to size - 1, "
            f"not size {size} and overlap {overlap}"
        )
    pieces = [
        piece
        for start, end in sentence_spans(document.text)
        for piece in _cut_long(document.text, start, end, size)
    ]
    passages: list[Passage] = []
    first = 0
    while first < len(pieces):
        last = first
        start = pieces[first][0]
        while last + 1 < len(pieces) and pieces[last + 1][1] - start <= size:
            last += 1
        end = pieces[last][1]
        passages.append(_passage(document, len(passages), start, end))
        if last + 1 == len(pieces):
            break
        following = last + 1
        while following - 1 > first and end - pieces[following - 1][0] <= overlap:
            following -= 1
        first = following
    return passages


def passage_id(source: str, position: int, text: str) -> str:
    """Make the default id of a passage: 32 hexadecimal digits of a hash.

    Equal texts at two places get two ids, and indexing the same document again the same ids.
    """
    parts = (source, str(position), text)
    framed = b"".join(b"%d:%b" % (len(p), p) for p in (part.encode() for part in parts))
    return hashlib.blake2b(framed, digest_size=16).hexdigest()


def _cut_long(text: str, start: int, end: int, size: int) -> list[tuple[int, int]]:
    pieces = []
    while end - start > size:
        cut = start + size
        space = max(
            (match.start() for match in _SPACE.finditer(text, start + 1, cut + 1)), default=cut
        )
        pieces.append((start, start + len(text[start:space].rstrip())))
        start = space + len(text[space:end]) - len(text[space:end].lstrip())
    pieces.append((start, end))
    return pieces


def _passage(document: Document, position: int, start: int, end: int) -> Passage:
    text = document.text[start:end]
    metadata: dict[str, JSONValue] = {
        **document.metadata,
        "source": document.source,
        "position": position,
        "start": start,
        "end": end,
    }
    if document.title:
        metadata["title"] = document.title
    return Passage(passage_id(document.source, position, text), text, metadata)
