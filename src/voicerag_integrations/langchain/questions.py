"""Convert the inputs of LangChain apps to voicerag questions."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.prompt_values import PromptValue

from voicerag_core import Answer, Audio, ConfigError, Question, Turn, read_audio
from voicerag_integrations.langchain.messages import block_audio, message_audio

__all__ = ["Asked", "VoiceInput", "read_question"]

VoiceInput: TypeAlias = (
    str | bytes | os.PathLike[str] | Audio | BaseMessage | PromptValue
    | Sequence[BaseMessage] | Mapping[str, Any]
)  # fmt: skip
"""Words; a sound file as bytes or path; `Audio`; a human message with text or an audio block; a
conversation that ends in one; a content block; or a dict with ``question`` and options."""

_OPTIONS: Final = ("question", "history", "k", "filter", "strategy", "min_score")


@dataclass(frozen=True, slots=True)
class Asked:
    """A question with its conversation and search options.

    Args:
        question: Spoken or typed.
        history: Earlier turns, oldest first.
        options: ``k``, ``filter``, ``strategy`` and ``min_score``, if given.
    """

    question: Question
    history: tuple[Turn, ...]
    options: Mapping[str, Any]


def read_question(given: object, *, max_seconds: float) -> Asked:
    """Read a question from any form of `VoiceInput`.

    A str is always words, never a path. Nothing is fetched from URLs.

    Args:
        given: The input value.
        max_seconds: Longest clip to accept.

    Raises:
        AudioError: The sound cannot be read.
        ConfigError: There is no question, more than one, or an unknown form.
    """
    if isinstance(given, Mapping) and "type" not in given:
        return _with_options(given, max_seconds)
    if isinstance(given, PromptValue):
        given = given.to_messages()
    if isinstance(given, list | tuple) and given and isinstance(given[-1], BaseMessage):
        *earlier, last = given
        return Asked(_of_message(last, max_seconds), _turns(earlier, max_seconds), {})
    return Asked(_single(given, max_seconds), (), {})


def _with_options(given: Mapping[str, Any], max_seconds: float) -> Asked:
    unknown = sorted(set(map(str, given)) - set(_OPTIONS))
    if unknown or "question" not in given:
        raise ConfigError(
            f"a dict with the keys {sorted(map(str, given))} is not a question; it has the key "
            f"'question' and may have {', '.join(_OPTIONS[1:])}"
        )
    asked = read_question(given["question"], max_seconds=max_seconds)
    options = {key: given[key] for key in _OPTIONS[2:] if given.get(key) is not None}
    history = _history(given.get("history") or (), max_seconds)
    return Asked(asked.question, history + asked.history, {**asked.options, **options})


def _single(given: object, max_seconds: float) -> Question:
    match given:
        case str() | Audio():
            return given
        case bytes() | bytearray() | memoryview() | os.PathLike():
            return read_audio(given, max_seconds=max_seconds)
        case BaseMessage():
            return _of_message(given, max_seconds)
        case Mapping():
            return _of_message(HumanMessage([dict(given)]), max_seconds)
    raise ConfigError(
        f"{type(given).__name__} is not a question; give words, the bytes or the path of a sound "
        "file, Audio, a message with a text or an audio block, or a dict with 'question'"
    )


def _of_message(message: BaseMessage, max_seconds: float) -> Question:
    if not isinstance(message, HumanMessage):
        raise ConfigError(
            f"a {type(message).__name__} is not a question; the last message is a HumanMessage"
        )
    blocks = message.content_blocks
    foreign = sorted({block["type"] for block in blocks} - {"text", "audio"})
    if foreign:
        raise ConfigError(
            f"a question is a text or an audio block; the message holds {', '.join(foreign)}"
        )
    words = "".join(str(block["text"]) for block in blocks if block["type"] == "text").strip()
    clips = [block for block in blocks if block["type"] == "audio"]
    if len(clips) > 1 or (clips and words):
        raise ConfigError(
            f"the message holds {len(clips)} audio blocks and {'some' if words else 'no'} text; "
            "a question is either one clip or text"
        )
    return block_audio(clips[0], max_seconds=max_seconds) if clips else words


def _history(given: object, max_seconds: float) -> tuple[Turn, ...]:
    if not isinstance(given, list | tuple):
        raise ConfigError(f"history is a list of messages or turns, not {type(given).__name__}")
    if all(isinstance(turn, Turn) for turn in given):
        return tuple(given)
    return _turns(given, max_seconds)


def _turns(messages: Sequence[object], max_seconds: float) -> tuple[Turn, ...]:
    """Pair each question of a conversation with its answer."""
    turns: list[Turn] = []
    question: Question | None = None
    for message in messages:
        if isinstance(message, HumanMessage):
            question = _of_message(message, max_seconds)
        elif isinstance(message, AIMessage):
            if question is not None:
                turns.append(Turn(question, Answer(message.text, message_audio(message))))
            question = None
        else:
            raise ConfigError(
                f"a conversation is made of human and AI messages, not {type(message).__name__}; "
                "voicerag gives the model its instructions itself"
            )
    return tuple(turns)
