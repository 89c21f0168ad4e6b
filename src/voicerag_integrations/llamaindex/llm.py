"""A voice model as a chat model of LlamaIndex, behind synthesizers, chat engines and agents."""

from __future__ import annotations

import itertools
import re
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from llama_index.core.base.llms.types import (
    AudioBlock,
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseGen,
    LLMMetadata,
    MessageRole,
    TextBlock,
)
from llama_index.core.bridge.pydantic import Field, PrivateAttr
from llama_index.core.callbacks import CallbackManager
from llama_index.core.llms import CustomLLM
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback

from voicerag_core import (
    Answer,
    Audio,
    AudioError,
    ConfigError,
    JSONValue,
    Passage,
    Question,
    Sampling,
    Turn,
    VoiceModel,
    read_audio,
    to_wav_bytes,
)
from voicerag_core.aio import run_in_thread
from voicerag_integrations.llamaindex.response import METADATA_KEY, AnswerFeed

__all__ = ["VoiceLLM"]

_CONTEXT_WINDOW = 131_072
"""Tokens that a synthesizer may pack into one prompt; large, because refining needs a model that
follows instructions."""

_RULE = re.compile(r"^-{10,}[ \t]*$", re.MULTILINE)
_QUERY = re.compile(r"Query:\s*(.*?)\s*Answer:\s*\Z", re.DOTALL)
"""Source: LlamaIndex, prompts/default_prompts.py and prompts/chat_prompts.py: the templates of
question answering and tree summaries put the context between two rules and the query after."""

_NO_HEADER = "_: \n\n\n"

_HEADER = re.compile(r"(?:^|\n\n)((?:[a-z_]\w*: .*\n)+)(?=\n|\Z)")
"""Source: LlamaIndex, schema.py: ``{key}: {value}`` per line, an empty line, then the text."""


class VoiceLLM(CustomLLM):
    """A `VoiceModel` as a chat model: text or sound in, text and sound out.

    The question is the last user message: its audio block if it has one, else its text. In the
    prompts of the built-in synthesizers, the text between the rules becomes the passage to answer
    from, and the query the question; audio blocks in the context are ignored. Replies contain text
    first and speech as a WAV audio block; in a stream every chunk's audio block is the next part.
    ``additional_kwargs["voicerag"]`` of a reply says whether the question was answered, and holds
    its citations. Events contain placeholders in place of sound.

    Args:
        model: Generates the answers.
        model_name: Shown in traces.
        context_window: Maximum tokens of a prompt, for components that pack them.
        num_output: Maximum tokens of an answer.
        sampling: For models that generate.
        callback_manager: Notified of every call.
    """

    model_name: str = Field(default="voicerag", description="Shown in traces.")
    context_window: int = Field(default=_CONTEXT_WINDOW, description="Tokens of a prompt.", gt=0)
    num_output: int = Field(default=1024, description="Maximum tokens of an answer.", gt=0)

    _voice_model: VoiceModel | None = PrivateAttr(default=None)
    _sampling: Sampling = PrivateAttr(default_factory=Sampling)

    def __init__(
        self,
        model: VoiceModel | None = None,
        *,
        model_name: str = "voicerag",
        context_window: int = _CONTEXT_WINDOW,
        num_output: int = 1024,
        sampling: Sampling | None = None,
        callback_manager: CallbackManager | None = None,
    ) -> None:
        super().__init__(
            model_name=model_name,
            context_window=context_window,
            num_output=num_output,
            callback_manager=callback_manager or CallbackManager([]),
        )
        self._voice_model = model
        self._sampling = sampling or Sampling()

    @classmethod
    def from_dict(cls, data: dict[str, Any], **kwargs: Any) -> VoiceLLM:  # noqa: ANN401
        """Create it from its settings; pass the model as ``model=...``."""
        known = {key: data[key] for key in cls.__annotations__ if key in data}
        return cls(**known, **kwargs)

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which the settings are serialized."""
        return "VoiceLLM"

    @property
    def metadata(self) -> LLMMetadata:
        """The metadata that synthesizers and agents need."""
        return LLMMetadata(
            context_window=self.context_window,
            num_output=self.num_output,
            is_chat_model=True,
            is_function_calling_model=False,
            model_name=self.model_name,
        )

    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:  # noqa: ANN401
        """Answer the last message.

        Raises:
            AudioError: The sound of the message cannot be used.
            ConfigError: There is no question.
            ModelError: The model failed.
        """
        answers: list[Answer] = []

        @llm_chat_callback()
        def observed(llm: VoiceLLM, _: Sequence[ChatMessage], **__: Any) -> ChatResponse:  # noqa: ANN401
            answers.append(llm._whole(messages))
            return _reply(answers[0].text, answers[0])

        response = observed(self, _without_sound(messages), **_refused(kwargs))
        return _voiced(response, answers[0].audio)

    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:  # noqa: ANN401
        """Answer the last message; see `chat`."""
        answers: list[Answer] = []

        @llm_chat_callback()
        async def observed(llm: VoiceLLM, _: Sequence[ChatMessage], **__: Any) -> ChatResponse:  # noqa: ANN401
            answers.append(await run_in_thread(lambda: llm._whole(messages)))
            return _reply(answers[0].text, answers[0])

        response = await observed(self, _without_sound(messages), **_refused(kwargs))
        return _voiced(response, answers[0].audio)

    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:  # noqa: ANN401
        """Answer the last message piece by piece; closing the generator stops the model."""
        feed = self._feed(messages)
        sounds: list[Audio | None] = []

        @llm_chat_callback()
        def observed(_: VoiceLLM, __: Sequence[ChatMessage], **___: Any) -> ChatResponseGen:  # noqa: ANN401
            def replies() -> ChatResponseGen:
                text = ""
                for piece in feed.read(feed.next_piece):
                    text += piece.text
                    sounds.append(piece.audio)
                    yield _reply(text, piece, delta=piece.text)

            return replies()

        source = observed(self, _without_sound(messages), **_refused(kwargs))

        def voiced() -> ChatResponseGen:
            try:
                for response in source:
                    yield _voiced(response, sounds.pop())
            except GeneratorExit:
                feed.close()
                raise

        return voiced()

    async def astream_chat(
        self,
        messages: Sequence[ChatMessage],
        **kwargs: Any,  # noqa: ANN401 - as in the base class
    ) -> ChatResponseAsyncGen:
        """Answer the last message piece by piece; closing the generator stops the model."""
        feed = await run_in_thread(lambda: self._feed(messages))
        sounds: list[Audio | None] = []

        @llm_chat_callback()
        async def observed(
            _: VoiceLLM,
            __: Sequence[ChatMessage],
            **___: Any,  # noqa: ANN401
        ) -> ChatResponseAsyncGen:
            async def replies() -> ChatResponseAsyncGen:
                text = ""
                async for piece in feed.aread(feed.next_piece):
                    text += piece.text
                    sounds.append(piece.audio)
                    yield _reply(text, piece, delta=piece.text)

            return replies()

        source = await observed(self, _without_sound(messages), **_refused(kwargs))

        async def voiced() -> ChatResponseAsyncGen:
            try:
                async for response in source:
                    yield _voiced(response, sounds.pop())
            except GeneratorExit:
                await run_in_thread(feed.close)
                raise

        return voiced()

    @llm_completion_callback()
    def complete(
        self,
        prompt: str,
        formatted: bool = False,
        **kwargs: Any,  # noqa: ANN401
    ) -> CompletionResponse:
        """Answer a prompt in text."""
        _refused(kwargs)
        return CompletionResponse(text=self._whole([ChatMessage(prompt)]).text)

    @llm_completion_callback()
    async def acomplete(
        self,
        prompt: str,
        formatted: bool = False,
        **kwargs: Any,  # noqa: ANN401
    ) -> CompletionResponse:
        """Answer a prompt in text."""
        _refused(kwargs)
        answer = await run_in_thread(lambda: self._whole([ChatMessage(prompt)]))
        return CompletionResponse(text=answer.text)

    @llm_completion_callback()
    def stream_complete(
        self,
        prompt: str,
        formatted: bool = False,
        **kwargs: Any,  # noqa: ANN401
    ) -> CompletionResponseGen:
        """Answer a prompt in text, piece by piece."""
        _refused(kwargs)
        feed = self._feed([ChatMessage(prompt)])

        def replies() -> CompletionResponseGen:
            text = ""
            for piece in feed.read(feed.next_text):
                text += piece
                yield CompletionResponse(text=text, delta=piece)

        return replies()

    @llm_completion_callback()
    async def astream_complete(
        self,
        prompt: str,
        formatted: bool = False,
        **kwargs: Any,  # noqa: ANN401
    ) -> AsyncGenerator[CompletionResponse, None]:
        """Answer a prompt in text, piece by piece."""
        _refused(kwargs)
        feed = await run_in_thread(lambda: self._feed([ChatMessage(prompt)]))

        async def replies() -> AsyncGenerator[CompletionResponse, None]:
            text = ""
            async for piece in feed.aread(feed.next_text):
                text += piece
                yield CompletionResponse(text=text, delta=piece)

        return replies()

    def _whole(self, messages: Sequence[ChatMessage]) -> Answer:
        feed = self._feed(messages)
        while feed.pull():
            pass
        return feed.answer()

    def _feed(self, messages: Sequence[ChatMessage]) -> AnswerFeed:
        if self._voice_model is None:
            raise ConfigError(
                "this VoiceLLM has settings and no model; load it with from_dict(data, model=...)"
            )
        question, passages, history = _conversation(messages)
        pieces = self._voice_model.respond(
            question, passages, sampling=self._sampling, history=history
        )
        return AnswerFeed(pieces, {METADATA_KEY: {}})


def _conversation(
    messages: Sequence[ChatMessage],
) -> tuple[Question, list[Passage], list[Turn]]:
    """Split a chat into the question, the context to answer from, and earlier turns."""
    spoken = [one for one in messages if one.role in (MessageRole.USER, MessageRole.ASSISTANT)]
    if not spoken or spoken[-1].role != MessageRole.USER:
        raise ConfigError("the last message has to be the user's question")
    history = []
    for before, after in itertools.pairwise(spoken):
        if (before.role, after.role) == (MessageRole.USER, MessageRole.ASSISTANT):
            asked, _ = _asked(before)
            history.append(Turn(asked, Answer(after.content or "")))
    question, context = _asked(spoken[-1])
    if isinstance(question, str) and not question.strip():
        raise ConfigError("the question is empty; give words or an audio block")
    return question, _passages(context), history


def _passages(context: str) -> list[Passage]:
    """Split a template's context at the metadata that LlamaIndex writes above a node's text."""
    passages: list[Passage] = []
    _, *pieces = _HEADER.split("\n\n" + _NO_HEADER + context)
    for header, text in zip(pieces[::2], pieces[1::2], strict=True):
        lines = [line.partition(": ") for line in header.splitlines()]
        metadata: dict[str, JSONValue] = {key: value for key, _, value in lines if key != "_"}
        if text.strip():
            passages.append(Passage(f"context-{len(passages) + 1}", text.strip(), metadata))
    return passages


def _asked(message: ChatMessage) -> tuple[Question, str]:
    """Return a message's question, and the context from a synthesizer's template."""
    text, sounds = "", []
    for block in message.blocks:
        if isinstance(block, TextBlock):
            text += block.text + "\n"
        elif isinstance(block, AudioBlock):
            sounds.append((len(text), block))
    rules = list(_RULE.finditer(text))
    start = rules[-1].end() if len(rules) > 1 else 0
    context = text[rules[0].end() : rules[-1].start()].strip() if len(rules) > 1 else ""
    heard = [block for place, block in sounds if place >= start]
    if heard:
        return _clip(heard[-1]), context
    query = _QUERY.search(text, start)
    return (query[1] if query and start else text[start:].strip()), context


def _clip(block: AudioBlock) -> Audio:
    try:
        data = block.resolve_audio().read()
    except (OSError, ValueError) as error:
        raise AudioError(f"the sound of an audio block cannot be loaded: {error}") from error
    return read_audio(data)


def _reply(text: str, answer: Answer, *, delta: str | None = None) -> ChatResponse:
    known = {
        "answered": answer.answered,
        "citations": [(place.passage_id, place.start, place.end) for place in answer.citations],
    }
    message = ChatMessage(
        role=MessageRole.ASSISTANT, content=text, additional_kwargs={METADATA_KEY: known}
    )
    return ChatResponse(message=message, delta=delta)


def _voiced(response: ChatResponse, audio: Audio | None) -> ChatResponse:
    """Add speech to a reply after its events were fired."""
    if audio is None:
        return response
    sound = AudioBlock(audio=to_wav_bytes(audio), format="wav")
    message = ChatMessage(
        role=MessageRole.ASSISTANT,
        blocks=[*response.message.blocks, sound],
        additional_kwargs=response.message.additional_kwargs,
    )
    return ChatResponse(message=message, delta=response.delta)


def _without_sound(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """Replace every audio block by a placeholder, for events and traces."""
    return [
        ChatMessage(
            role=message.role,
            blocks=[
                TextBlock(text="[audio]") if isinstance(block, AudioBlock) else block
                for block in message.blocks
            ],
            additional_kwargs=message.additional_kwargs,
        )
        for message in messages
    ]


def _refused(options: dict[str, Any]) -> dict[str, Any]:
    if options:
        raise ConfigError(
            f"VoiceLLM has no option {', '.join(sorted(options))}; give sampling to its constructor"
        )
    return options
