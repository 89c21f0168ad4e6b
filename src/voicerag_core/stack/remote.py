"""Parts of a stack that run behind a URL, made from settings."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from voicerag_core.errors import ConfigError
from voicerag_core.ports import AnswerWriter
from voicerag_core.settings import Part, Settings

if TYPE_CHECKING:
    from voicerag_core.local.reading.chat import ChatFunction
    from voicerag_core.remote.endpoint import Endpoint

__all__ = ["HTTP", "NAMES", "chat_reader", "chosen_chat", "endpoint", "with_fallback"]

HTTP: Final = "http"
"""The choice of a part behind a URL."""

NAMES: Final[dict[Part, str]] = {
    "chat": "the chat model",
    "transcriber": "the speech recogniser",
    "embedder": "the embedding model",
    "reranker": "the reranker",
    "voice": "the voice",
    "glm_server": "the language model",
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
        chosen = "VOICERAG_GLM_LM=vllm" if part == "glm_server" else f"{given.prefix}={HTTP}"
        raise ConfigError(
            f"{chosen} needs {given.prefix}_URL, the address of the server, such as "
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


def chosen_chat(settings: Settings, stack: ExitStack) -> ChatFunction | None:
    """Return the chat model of the settings, or None; `stack` closes its connections.

    Raises:
        ConfigError: The settings of the model are missing or contradict each other.
    """
    if settings.chat == "none":
        return None
    from voicerag_core.remote.chat import ChatEndpoint

    temperature = settings.chat_temperature
    return stack.enter_context(
        ChatEndpoint(
            endpoint(settings, "chat"),
            temperature=None if isinstance(temperature, str) else temperature,
        )
    )


def chat_reader(settings: Settings, chat: ChatFunction) -> AnswerWriter:
    """Create the writer that lets a chat model answer, with the instructions of the settings.

    Raises:
        ConfigError: The file with the instructions cannot be used.
    """
    from voicerag_core.local.reading.chat import ChatReader

    prompt = _prompt(settings)
    return ChatReader(chat) if prompt is None else ChatReader(chat, instructions=prompt)


def with_fallback(settings: Settings, writer: AnswerWriter, reader: AnswerWriter) -> AnswerWriter:
    """Let the reader answer where a chat model of the settings fails, unless they forbid it."""
    from voicerag_core.local.reading.fallback import FallbackWriter

    wanted = settings.chat != "none" and settings.chat_fallback
    return FallbackWriter(writer, reader, language=settings.language) if wanted else writer


def _prompt(settings: Settings) -> str | None:
    """Read the file with the instructions to the model."""
    file = settings.chat_prompt
    if file is None:
        return None
    try:
        text = file.expanduser().read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        said = (error.strerror if isinstance(error, OSError) else None) or error
        raise ConfigError(f"VOICERAG_CHAT_PROMPT: {file} cannot be read as text: {said}") from error
    if not 0 < len(text) <= MOST_PROMPT_CHARACTERS:
        raise ConfigError(
            f"VOICERAG_CHAT_PROMPT: {file} has {len(text)} characters; write 1 to "
            f"{MOST_PROMPT_CHARACTERS} of instructions into it"
        )
    return text
