"""What the runnables have in common that answer in pieces of text and sound."""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import aclosing, closing
from typing import Any, Literal, TypeAlias, cast
from uuid import uuid4

from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig, RunnableSerializable
from pydantic import BaseModel, ConfigDict

from voicerag_core import Answer
from voicerag_core.aio import run_in_thread, stream_in_thread
from voicerag_integrations.langchain.components import TakesQuestions
from voicerag_integrations.langchain.messages import MessageStream, answer_message
from voicerag_integrations.langchain.questions import VoiceInput
from voicerag_integrations.langchain.redaction import redacted
from voicerag_integrations.langchain.schemas import VoiceAnswer

__all__ = ["AnswersInPieces", "VoiceOutput"]

VoiceOutput: TypeAlias = Any
"""An `Answer` or, with ``output="message"``, an AIMessage; in a stream, a piece or a chunk."""


class AnswersInPieces(TakesQuestions, RunnableSerializable[Any, Any]):
    """Answers a question in text and speech.

    The sum of the outputs of `stream` equals that of `invoke`, with identical sound. Callbacks,
    tracers and events see a description in place of the sound; only `stream` and `invoke` return
    the sound itself.

    Args:
        output: ``answer`` for `voicerag_core.Answer`, ``message`` for an AIMessage.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    output: Literal["answer", "message"] = "answer"

    @property
    def OutputType(self) -> Any:  # noqa: ANN401, N802 - named by LangChain
        """The output type of `invoke`."""
        return AIMessage if self.output == "message" else Answer

    def get_output_schema(self, config: RunnableConfig | None = None) -> type[BaseModel]:
        """Return the JSON schema of the output of `invoke`."""
        del config
        return AIMessage if self.output == "message" else VoiceAnswer

    def invoke(
        self,
        input: VoiceInput,  # noqa: A002 - named by LangChain
        config: RunnableConfig | None = None,
        **kwargs: Any,  # noqa: ANN401 - k, filter, strategy, min_score
    ) -> VoiceOutput:
        """Answer a question.

        Raises:
            AudioError: The sound cannot be used.
            ConfigError: The question is empty or of an unknown form, or an option is unknown.
            FilterError: The filter is invalid.
            StoreError: The store is closed or failed.
            ModelError: A model failed.
        """
        answers: list[VoiceOutput] = []

        def work(_: object) -> Any:  # noqa: ANN401
            answers.append(self._answer(input, kwargs))
            return redacted(answers[0])

        self._call_with_config(work, redacted(input), config)
        return answers[0]

    async def ainvoke(
        self,
        input: VoiceInput,  # noqa: A002 - named by LangChain
        config: RunnableConfig | None = None,
        **kwargs: Any,  # noqa: ANN401 - k, filter, strategy, min_score
    ) -> VoiceOutput:
        """Answer a question in a thread; see `invoke`."""
        answers: list[VoiceOutput] = []

        async def work(_: object) -> Any:  # noqa: ANN401
            answers.append(await run_in_thread(self._answer, input, kwargs))
            return redacted(answers[0])

        await self._acall_with_config(work, redacted(input), config)
        return answers[0]

    def stream(
        self,
        input: VoiceInput,  # noqa: A002 - named by LangChain
        config: RunnableConfig | None = None,
        **kwargs: Any,  # noqa: ANN401 - k, filter, strategy, min_score
    ) -> Iterator[VoiceOutput]:
        """Stream the answer; the first piece carries the hits. Closing the stream stops it."""
        ready: deque[VoiceOutput] = deque()
        with closing(self._outputs(input, kwargs)) as outputs:

            def traced(_: Iterator[Any]) -> Iterator[Any]:
                for output in outputs:
                    ready.append(output)
                    yield redacted(output)

            seen = self._transform_stream_with_config(iter([redacted(input)]), traced, config)
            with closing(cast("Generator[Any, None, None]", seen)):
                for _ in seen:
                    yield ready.popleft()

    async def astream(
        self,
        input: VoiceInput,  # noqa: A002 - named by LangChain
        config: RunnableConfig | None = None,
        **kwargs: Any,  # noqa: ANN401 - k, filter, strategy, min_score
    ) -> AsyncIterator[VoiceOutput]:
        """Stream the answer from a thread; see `stream`."""
        ready: deque[VoiceOutput] = deque()
        async with aclosing(stream_in_thread(lambda: self._outputs(input, kwargs))) as outputs:

            async def traced(_: AsyncIterator[Any]) -> AsyncIterator[Any]:
                async for output in outputs:
                    ready.append(output)
                    yield redacted(output)

            seen = self._atransform_stream_with_config(_once(redacted(input)), traced, config)
            async with aclosing(cast("AsyncGenerator[Any, None]", seen)):
                async for _ in seen:
                    yield ready.popleft()

    def astream_events(  # type: ignore[override]
        self,
        input: VoiceInput,  # noqa: A002 - named by LangChain
        config: RunnableConfig | None = None,
        **kwargs: Any,  # noqa: ANN401 - version, include_names, ...
    ) -> AsyncIterator[Any]:
        """Stream events, with descriptions in place of sound."""
        events: Any = super().astream_events(input, config, **kwargs)
        return _described(events) if hasattr(events, "__aiter__") else events

    def _answer(self, given: VoiceInput, options: dict[str, Any]) -> VoiceOutput:
        with closing(self._pieces(given, options)) as pieces:
            answer = sum(pieces, Answer())
        return answer_message(answer) if self.output == "message" else answer

    def _outputs(
        self, given: VoiceInput, options: dict[str, Any]
    ) -> Generator[VoiceOutput, None, None]:
        with closing(self._pieces(given, options)) as pieces:
            if self.output == "answer":
                yield from pieces
                return
            message = MessageStream(f"voicerag-{uuid4()}")
            for piece in pieces:
                chunk = message.chunk(piece)
                if chunk is not None:
                    yield chunk
            yield message.last()

    @abstractmethod
    def _pieces(self, given: VoiceInput, options: dict[str, Any]) -> Generator[Answer, None, None]:
        """Answer a question with the options of the call."""


async def _once(value: object) -> AsyncIterator[Any]:
    yield value


async def _described(events: AsyncGenerator[Any, None]) -> AsyncIterator[Any]:
    async with aclosing(events):
        async for event in events:
            yield {**event, "data": redacted(event["data"])}
