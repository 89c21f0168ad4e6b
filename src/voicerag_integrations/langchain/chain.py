"""Ears and a voice for a whole chain, graph or agent of an app."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.runnables import Runnable
from pydantic import Field

from voicerag_core import (
    Answer,
    ConfigError,
    Ears,
    Speaker,
    VoiceRAG,
    check_cancelled,
    ears_of,
    speak_answer,
)
from voicerag_integrations.langchain.questions import Asked, VoiceInput, read_question
from voicerag_integrations.langchain.streaming import AnswersInPieces

__all__ = ["SpeechRunnable"]

_MESSAGES = "messages"
_ANSWERS = ("answer", "output", "result", "text")
"""Keys under which chains return their text."""


class SpeechRunnable(AnswersInPieces):
    """Lets a chain, a graph or an agent be asked by sound and answer in speech; made by `over`.

    The chain gets the words of the question, and its text is spoken sentence by sentence while the
    chain still writes. The output is that of `VoiceRAGRunnable`: pieces of
    `voicerag_core.Answer`, or messages; `Answer.transcript` holds the words of a spoken question.

    Args:
        chain: The app's.
        ears: Hear.
        speaker: Speaks; None answers in text alone.
        key: Key of the question in the chain's input; "" when the input is the question itself.
    """

    chain: Any = Field(exclude=True, repr=False)
    ears: Ears = Field(exclude=True, repr=False)
    speaker: Any = Field(default=None, exclude=True, repr=False)
    key: str = ""

    @classmethod
    def over(
        cls,
        chain: Runnable[Any, Any] | Callable[..., Any],
        *,
        hear: Ears | VoiceRAG | None = None,
        speak: Speaker | VoiceRAG | None = None,
        key: str | None = None,
        output: str = "answer",
    ) -> SpeechRunnable:
        """Put ears and a voice around a chain; no database is touched.

        Args:
            chain: A runnable: a chain, a graph, an agent, or a function that can be one.
            hear: Ears, or a pipeline; None opens new ones.
            speak: A speaker, or a pipeline with one; None answers in text alone.
            key: Key of the question in the chain's input, such as ``input``; ``messages`` gives it
                as a human message after those of the conversation. None takes ``messages`` for a
                graph, and else the question itself.
            output: ``answer``, or ``message`` for AI messages.

        Raises:
            ConfigError: It is no chain, or there is no speaker in what was given.
        """
        if not isinstance(chain, Runnable):
            if not callable(chain):
                raise ConfigError(
                    f"SpeechRunnable.over takes a chain, not a {type(chain).__name__}; for a "
                    "retriever or a vector store use SpeechRetriever.over"
                )
            from langchain_core.runnables import RunnableLambda

            chain = RunnableLambda(chain)
        chosen = (_MESSAGES if _is_graph(chain) else "") if key is None else key
        return cls(
            chain=chain, ears=ears_of(hear), speaker=_speaker(speak), key=chosen,
            output=output,  # type: ignore[arg-type]
        )  # fmt: skip

    def _pieces(self, given: VoiceInput, options: dict[str, Any]) -> Generator[Answer, None, None]:
        asked = read_question(given, max_seconds=self.ears.max_question_seconds)
        if asked.options or options:
            raise ConfigError(
                f"the option {', '.join(sorted({**asked.options, **options}))} is for a voicerag "
                "pipeline; the chain has its own"
            )
        with closing(speak_answer(self._written(asked), self.speaker)) as pieces:
            for piece in pieces:
                yield piece
                check_cancelled()

    def _written(self, asked: Asked) -> Generator[Answer, None, None]:
        words = self._words(asked.question)
        if not isinstance(asked.question, str):
            yield Answer(transcript=words)
        check_cancelled()
        told = False
        for text in _texts(self.chain, self._input(words, asked)):
            told = told or bool(text.strip())
            if text:
                yield Answer(text)
        if not told:
            raise ConfigError(
                "the chain gave no text; its output is a text, a message, or a dict with messages "
                f"or one of {', '.join(_ANSWERS)}"
            )

    def _words(self, question: object) -> str:
        if isinstance(question, str):
            if not question.strip():
                raise ConfigError("the question is empty; give words or audio")
            return question
        return self.ears.transcribe(question).text  # type: ignore[arg-type]

    def _input(self, words: str, asked: Asked) -> object:
        if self.key == _MESSAGES:
            earlier: list[BaseMessage] = []
            for turn in asked.history:
                earlier.append(HumanMessage(self._words(turn.question)))
                earlier.append(AIMessage(turn.answer.text))
            return {_MESSAGES: [*earlier, HumanMessage(words)]}
        return {self.key: words} if self.key else words


def _texts(chain: Runnable[Any, Any], given: object) -> Iterator[str]:
    """Yield the text of a chain's output as it comes."""
    if _is_graph(chain):
        streamed = chain.stream(given, stream_mode=_MESSAGES)
        for message, _ in streamed:
            if isinstance(message, AIMessage | AIMessageChunk):
                yield str(message.text)
        return
    last: Any = None
    told = False
    for output in chain.stream(given):
        text = _text(output, whole=False)
        if text is not None:
            told = True
            yield text
        else:
            last = output if last is None else _joined(last, output)
    if not told and last is not None:
        yield _text(last, whole=True) or ""


def _text(output: object, *, whole: bool) -> str | None:
    """Return the text of an output or a part of one; None if it is none."""
    if isinstance(output, str):
        return output
    if isinstance(output, BaseMessage):
        return str(output.text)
    if isinstance(output, Mapping):
        for key in _ANSWERS:
            if isinstance(output.get(key), str | BaseMessage):
                return _text(output[key], whole=whole)
        messages = output.get(_MESSAGES)
        if whole and isinstance(messages, list) and messages:
            return _text(messages[-1], whole=True)
    return None


def _joined(before: object, output: object) -> object:
    if isinstance(before, Mapping) and isinstance(output, Mapping):
        return {**before, **output}
    return output


def _is_graph(chain: object) -> bool:
    """Whether it is a graph of LangGraph, whose streams are asked for by their mode."""
    return hasattr(chain, "stream_mode") and hasattr(chain, "get_graph")


def _speaker(speak: Speaker | VoiceRAG | None) -> Speaker | None:
    if not isinstance(speak, VoiceRAG):
        return speak
    speaker: Speaker | None = getattr(speak, "speaker", None)
    if speaker is None:
        raise ConfigError(
            "this pipeline has no speaker; open_voicerag() has, unless VOICERAG_SPEAK is false"
        )
    return speaker
