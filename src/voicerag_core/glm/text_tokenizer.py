"""Text to token ids and back, and the ids of roles and speech tokens.

Byte-pair encoding over the rank file that GLM-4-Voice ships (``tokenizer.model``: one
``base64 rank`` per line). The text of special tokens has no meaning here: ``<|assistant|>`` in a
document is encoded as its thirteen characters. Special ids are looked up by name.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from voicerag_core.errors import CheckpointError, MissingExtraError
from voicerag_core.files import read_json
from voicerag_core.text import clean_text

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["SPECIAL_TOKENS", "TextStream", "TextTokenizer", "Vocabulary", "build_tokenizer"]

SPLIT_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How text is cut into words before the merges. Source: tokenization_chatglm.py of
THUDM/glm-4-9b-chat, `pat_str`."""

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "[MASK]",
    "[gMASK]",
    "[sMASK]",
    "<sop>",
    "<eop>",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|observation|>",
    "<|begin_of_image|>",
    "<|end_of_image|>",
    "<|begin_of_video|>",
    "<|end_of_video|>",
    "<|begin_of_audio|>",
    "<|end_of_audio|>",
)
"""The ids after the ranks, in order. Source: tokenizer_config.json of zai-org/glm-4-voice-9b,
`added_tokens_decoder`; so is the first speech id of the released model."""

_SPECIAL = re.compile(r"(<\|[a-z_0-9]+\|>)")
_SPEECH = re.compile(r"<\|audio_(\d{1,6})\|>")

FIRST_AUDIO_ID = 152353
AUDIO_IDS = 16384
STOP_TOKENS = ("<|endoftext|>", "<|user|>", "<|observation|>")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Which ids are text, roles and speech.

    Args:
        text_size: Ids below this are text tokens.
        specials: Id of each special token that is not speech, by name.
        audio_start: Id of speech token 0.
        audio_size: Number of speech tokens.
    """

    text_size: int
    specials: Mapping[str, int]
    audio_start: int = FIRST_AUDIO_ID
    audio_size: int = AUDIO_IDS

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """Ids that end a reply."""
        return tuple(self.specials[name] for name in STOP_TOKENS)

    @property
    def size(self) -> int:
        """One past the largest id in use; a model's table may have more rows."""
        return max(self.audio_start + self.audio_size, *(i + 1 for i in self.specials.values()))

    def is_audio(self, token: int) -> bool:
        """Return whether an id is a speech token."""
        return self.audio_start <= token < self.audio_start + self.audio_size

    def is_text(self, token: int) -> bool:
        """Return whether an id is a text token."""
        return 0 <= token < self.text_size


class TextTokenizer:
    """Encodes and decodes text; safe to share between threads.

    Args:
        tokenizer: Of `build_tokenizer`, or read from a ``tokenizer.json``.
        where: What it was read from, for errors.

    Raises:
        CheckpointError: A role or the speech tokens are missing.
    """

    def __init__(self, tokenizer: Tokenizer, *, where: str = "the tokenizer") -> None:
        self._tokenizer = tokenizer
        tokenizer.encode_special_tokens = True
        self.vocabulary = _vocabulary(tokenizer, where)
        self._bytes = _token_bytes(tokenizer, self.vocabulary.text_size)

    @classmethod
    def load(cls, folder: Path) -> TextTokenizer:
        """Read ``tokenizer.json``, or else upstream's ``tokenizer.model`` with its config.

        Raises:
            CheckpointError: A file is missing or is not what its name says.
            MissingExtraError: The extra ``glm`` is not installed.
        """
        converted, ranks = folder / "tokenizer.json", folder / "tokenizer.model"
        if os.path.isfile(converted):
            return cls(_read_converted(converted), where=str(converted))
        if not os.path.isfile(ranks):
            raise CheckpointError(
                f"{folder} holds neither tokenizer.json nor tokenizer.model; give the folder of "
                "glm-4-voice-9b, as released or converted"
            )
        config = folder / "tokenizer_config.json"
        return cls(build_tokenizer(ranks, config), where=str(ranks))

    def save(self, path: Path) -> None:
        """Write a ``tokenizer.json`` that transformers and tokenizers read."""
        self._tokenizer.save(str(path))

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text, none of them special, whatever the text contains.

        Lone surrogates are encoded as question marks.
        """
        ids: list[int] = self._tokenizer.encode(clean_text(text), add_special_tokens=False).ids
        return ids

    def encode_prompt(self, prompt: str) -> list[int]:
        """Return the ids of a whole prompt in which names of special tokens are those tokens.

        This is what upstream's tokenizer does with every text. It is for prompts that a program
        assembles, never for what users and documents say.
        """
        specials = self.vocabulary.specials
        ids = [specials["[gMASK]"], specials["<sop>"]]
        for part in _SPECIAL.split(prompt):
            speech = _SPEECH.fullmatch(part)
            if part in specials:
                ids.append(specials[part])
            elif speech is not None and int(speech[1]) < self.vocabulary.audio_size:
                ids.append(self.vocabulary.audio_start + int(speech[1]))
            elif part:
                ids += self.encode(part)
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of ids; ids that are no text are left out, broken UTF-8 is replaced."""
        return b"".join(map(self.token_bytes, ids)).decode("utf-8", errors="replace")

    def token_bytes(self, token: int) -> bytes:
        """Return the bytes of one id, b"" when it is no text."""
        return self._bytes[token] if self.vocabulary.is_text(token) else b""


class TextStream:
    """Turns ids into text as they arrive, holding back the bytes of an unfinished character.

    Args:
        tokenizer: Knows the bytes of each id.
    """

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        """Take the next id and return the characters that it completes."""
        return self._decoder.decode(self._tokenizer.token_bytes(token))

    def flush(self) -> str:
        """Return the remaining text, an unfinished character replaced."""
        return self._decoder.decode(b"", final=True)


def build_tokenizer(ranks: Path, config: Path) -> Tokenizer:
    """Make a byte-level BPE tokenizer from upstream's files.

    Args:
        ranks: ``tokenizer.model``.
        config: ``tokenizer_config.json``, whose `added_tokens_decoder` names the special ids.

    Raises:
        CheckpointError: A file is missing or of another form.
        MissingExtraError: The extra ``glm`` is not installed.
    """
    table = _read_ranks(ranks)
    specials = _read_specials(config)
    if min(specials) < len(table):
        raise CheckpointError(
            f"{config}: special id {min(specials)} is also the id of a word in {ranks}, which "
            f"has {len(table)}; the two files are not of one model"
        )
    try:
        from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
    except ImportError as e:
        raise MissingExtraError("glm", "reading GLM-4-Voice's tokenizer") from e
    letters = _byte_letters()
    words = {token: "".join(letters[byte] for byte in token) for token in table}
    vocabulary = {words[token]: rank for token, rank in table.items()}
    # Added tokens keep the ids that they have in the model's vocabulary.
    vocabulary.update({name: token for token, name in specials.items()})
    tokenizer = Tokenizer(
        models.BPE(vocab=vocabulary, merges=_merges(table, words), ignore_merges=True)
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [AddedToken(specials[token], normalized=False, special=True) for token in sorted(specials)]
    )
    return tokenizer


def _read_ranks(path: Path) -> dict[bytes, int]:
    """Read a rank file: one base64 token and its rank per line, the ranks without a gap."""
    try:
        pairs = [line.split() for line in path.read_bytes().splitlines() if line.strip()]
        table = {base64.b64decode(word, validate=True): int(rank) for word, rank in pairs}
    except OSError as e:
        raise CheckpointError(f"cannot read {path}: {e.strerror}") from e
    except (ValueError, binascii.Error) as e:
        raise CheckpointError(
            f"{path} is no rank file: each line must hold a word in base64 and its rank"
        ) from e
    if sorted(table.values()) != list(range(len(pairs))):
        raise CheckpointError(f"{path}: the ranks are not the numbers 0 to {len(pairs) - 1}")
    lacking = sum(bytes([byte]) not in table for byte in range(256))
    if lacking:
        raise CheckpointError(f"{path} is cut short: {lacking} of the 256 single bytes are missing")
    return table


def _read_specials(path: Path) -> dict[int, str]:
    """Read the special tokens by id."""
    try:
        decoder = read_json(path)["added_tokens_decoder"]
        return {int(token): str(entry["content"]) for token, entry in decoder.items()}
    except OSError as e:
        raise CheckpointError(f"cannot read {path}: {e.strerror}") from e
    except (ValueError, KeyError, TypeError, AttributeError) as e:
        raise CheckpointError(
            f"{path} does not name the special tokens: it must hold added_tokens_decoder, an "
            "object of ids with their content"
        ) from e


def _read_converted(path: Path) -> Tokenizer:
    try:
        from tokenizers import Tokenizer
    except ImportError as e:
        raise MissingExtraError("glm", "reading GLM-4-Voice's tokenizer") from e
    try:
        return Tokenizer.from_file(str(path))
    except Exception as e:  # tokenizers raises nothing more precise
        raise CheckpointError(f"{path} is no tokenizer.json: {e}") from e


def _merges(table: Mapping[bytes, int], words: Mapping[bytes, str]) -> list[tuple[str, str]]:
    """Return every pair of tokens whose concatenation is a token, by the rank of the latter.

    A rank file merges the neighbours whose concatenation has the lowest rank, wherever it is cut.
    """
    return [
        (words[token[:cut]], words[token[cut:]])
        for token in sorted(table, key=table.__getitem__)
        for cut in range(1, len(token))
        if token[:cut] in table and token[cut:] in table
    ]


def _byte_letters() -> list[str]:
    """Return the letter that represents each byte in a byte-level vocabulary.

    Source: the table of GPT-2's encoder.py: printable Latin-1 represents itself, every other
    byte the next letter from U+0100 on.
    """
    plain = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte) if byte in plain else chr(next(others)) for byte in range(256)]


def _token_bytes(tokenizer: Tokenizer, text_size: int) -> list[bytes]:
    """Return the bytes of every text id."""
    values = {letter: byte for byte, letter in enumerate(_byte_letters())}
    words: Sequence[str | None] = [tokenizer.id_to_token(token) for token in range(text_size)]
    return [bytes(values[letter] for letter in word or "") for word in words]


def _vocabulary(tokenizer: Tokenizer, where: str) -> Vocabulary:
    """Find the roles and the speech tokens by name."""
    found = {name: tokenizer.token_to_id(name) for name in SPECIAL_TOKENS}
    ids = {name: token for name, token in found.items() if token is not None}
    missing = [name for name in SPECIAL_TOKENS if name not in ids]
    audio: dict[int, int] = {}
    for token, added in tokenizer.get_added_tokens_decoder().items():
        number = added.content.removeprefix("<|audio_").removesuffix("|>")
        if number.isdecimal() and added.content == f"<|audio_{number}|>":
            audio[int(number)] = token
    if missing or not audio:
        lacking = ", ".join(missing) or "<|audio_0|>"
        raise CheckpointError(
            f"{where} has no token {lacking}: it is not the tokenizer of glm-4-voice-9b"
        )
    first = audio.get(0, -1)
    if sorted(audio.items()) != [(n, first + n) for n in range(len(audio))]:
        raise CheckpointError(f"{where}: the ids of the speech tokens do not follow one another")
    return Vocabulary(min(ids.values()), MappingProxyType(ids), first, len(audio))
