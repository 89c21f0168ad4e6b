"""Parts of a stack that run behind a URL, made from settings."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from voicerag_core.errors import ConfigError
from voicerag_core.ports import AnswerWriter
from voicerag_core.settings import Part, Settings

if TYPE_CHECKING:
    from voicerag_core.remote.endpoint import Endpoint

__all__ = ["HTTP", "NAMES", "chat_writer", "endpoint"]

HTTP: Final = "http"
"""The choice of a part behind a URL."""

NAMES: Final[dict[Part, str]] = {
    "chat": "the chat model",
    "transcriber": "the speech recogniser",
    "embedder": "the embedding model",
    "reranker": "the reranker",
    "voice": "the voice",
}
MOST_PROMPT_CHARACTERS = 20_000


def endpoint(settings: Settings, part: Part) -> Endpoint:
    """Return where a part is, with its key read.

    Raises:
        ConfigError: The settings of its server are missing or contradict each other.
    """
    from voicerag_core.remote.endpoint import Endpoint, read_key

    given = settings.remote(part)
    if given.url is None:
        raise ConfigError(
            f"{given.prefix}={HTTP} needs {given.prefix}_URL, the address of the server, such as "
            "http://127.0.0.1:8000/v1"
        )
    return Endpoint(
        given.url.strip(),
        NAMES[part],
        given.prefix,
        model=given.model,
        key=read_key(given.key, given.key_file, given.prefix),
        timeout=given.timeout,
    )


def chat_writer(settings: Settings, stack: ExitStack, reader: AnswerWriter) -> AnswerWriter:
    """Create the writer that lets the chat model of the settings answer; `stack` closes it.

    Args:
        settings: Where the model is, and whether the reader answers when it fails.
        stack: Closes its connections.
        reader: Answers then.

    Raises:
        ConfigError: The settings of the model are missing or contradict each other.
    """
    from voicerag_core.local.reading.chat import ChatReader
    from voicerag_core.local.reading.fallback import FallbackWriter
    from voicerag_core.remote.chat import ChatEndpoint

    temperature = settings.chat_temperature
    chat = stack.enter_context(
        ChatEndpoint(
            endpoint(settings, "chat"),
            temperature=None if isinstance(temperature, str) else temperature,
        )
    )
    prompt = _prompt(settings)
    writer = ChatReader(chat) if prompt is None else ChatReader(chat, instructions=prompt)
    return FallbackWriter(writer, reader) if settings.chat_fallback else writer


def _prompt(settings: Settings) -> str | None:
    """Read the file with the instructions to the model."""
    file = settings.chat_prompt
    if file is None:
        return None
    try:
        text = file.expanduser().read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"VOICERAG_CHAT_PROMPT: {file} cannot be read as text: {error}") from (
            error
        )
    if not 0 < len(text) <= MOST_PROMPT_CHARACTERS:
        raise ConfigError(
            f"VOICERAG_CHAT_PROMPT: {file} has {len(text)} characters; write 1 to "
            f"{MOST_PROMPT_CHARACTERS} of instructions into it"
        )
    return text
