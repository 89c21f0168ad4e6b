"""Tools for agents to search and ask the documents."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from contextvars import ContextVar
from typing import Annotated, Any, Literal, TypeAlias, cast

from langchain_core.callbacks import (
    AsyncCallbackManagerForToolRun,
    CallbackManagerForToolRun,
)
from langchain_core.documents import Document
from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, ToolException
from pydantic import BaseModel, BeforeValidator, Field

from voicerag_core import (
    Answer,
    AudioError,
    ConfigError,
    Hit,
    Question,
    Strategy,
    VoiceRAG,
    check_cancelled,
)
from voicerag_core.aio import run_in_thread
from voicerag_integrations.langchain.components import Dumpable
from voicerag_integrations.langchain.documents import found_document
from voicerag_integrations.langchain.messages import AnswerToolMessage
from voicerag_integrations.langchain.questions import VoiceInput, read_question
from voicerag_integrations.langchain.redaction import redacted
from voicerag_integrations.langchain.searching import search_options

__all__ = ["ClipSource", "VoiceAskTool", "VoiceSearchTool"]

ClipSource: TypeAlias = Callable[[str], VoiceInput]
"""Returns the sound of a clip by id; raises KeyError for an unknown id."""


_Text: TypeAlias = Annotated[str, BeforeValidator(lambda given: "" if given is None else given)]
"""A text for which models also give null when they leave it out."""


class TypedQuestion(BaseModel):
    """A typed question."""

    question: _Text = Field(description="The question, as a full sentence.")


class TypedOrSpokenQuestion(BaseModel):
    """A typed question, or the id of a recorded one."""

    question: _Text = Field(
        default="", description="The question, as a full sentence; leave empty with clip_id."
    )
    clip_id: _Text = Field(
        default="", description="Id of a recorded question; the recording itself is searched."
    )


class _VoiceTool(Dumpable, BaseTool):
    """The common fields of both tools: the pipeline, search options and clips."""

    response_format: Literal["content", "content_and_artifact"] = "content_and_artifact"
    args_schema: Any = Field(default=TypedQuestion, exclude=True)
    handle_tool_error: Any = True

    rag: VoiceRAG = Field(exclude=True, repr=False)
    clips: ClipSource | None = Field(default=None, exclude=True, repr=False)
    k: int | None = Field(default=None, ge=1)
    filter: Any = None
    strategy: Strategy | None = None
    min_score: float | None = None

    def model_post_init(self, context: Any) -> None:  # noqa: ANN401
        """Offer clips to the model only if there are any."""
        super().model_post_init(context)
        if self.clips is not None and self.args_schema is TypedQuestion:
            self.args_schema = TypedOrSpokenQuestion

    async def _arun(
        self,
        question: str = "",
        clip_id: str = "",
        run_manager: AsyncCallbackManagerForToolRun | None = None,
    ) -> tuple[str, Any]:
        del run_manager
        result: tuple[str, Any] = await run_in_thread(self._run, question, clip_id)
        return result

    def _question(self, question: str, clip_id: str) -> Question:
        """Choose between text and clip; errors that the model can correct are returned as text."""
        if bool(question.strip()) == bool(clip_id.strip()):
            raise ToolException("give either a question or a clip_id, and not both")
        if not clip_id:
            return question
        if self.clips is None:
            raise ToolException("this tool knows no clips; give the question in words")
        try:
            clip = self.clips(clip_id)
        except KeyError as error:
            raise ToolException(f"there is no clip {clip_id!r}") from error
        return read_question(clip, max_seconds=self.rag.max_question_seconds).question


class VoiceSearchTool(_VoiceTool):
    """Finds passages for an agent: numbered text for the model, documents as the artifact.

    Args:
        rag: The pipeline; its owner closes it.
        clips: Returns the sound of recorded questions by id; None: typed questions only.
        k: Maximum number of passages; None uses the pipeline's limit.
        filter: Metadata filter that the model cannot change.
        strategy: How a spoken question is searched.
        min_score: Minimum cosine similarity.
    """

    name: str = "voice_search"
    description: str = (
        "Find passages in the knowledge base. Returns the best passages, numbered, each "
        "with its title."
    )

    def _run(
        self,
        question: str = "",
        clip_id: str = "",
        run_manager: CallbackManagerForToolRun | None = None,
    ) -> tuple[str, list[Document]]:
        del run_manager
        with _mendable():
            asked = self._question(question, clip_id)
            found = self.rag.retrieve(asked, **search_options(self, {}))
        documents = [found_document(hit) for hit in found.hits]
        return _numbered(found.hits) or "No passage was found.", documents


class VoiceAskTool(_VoiceTool):
    """Answers a question for an agent: text for the model, the `Answer` as the artifact.

    The artifact of the message that `invoke` returns contains the sound; tracers do not see it.

    Args:
        rag: The pipeline; its owner closes it.
        clips: Returns the sound of recorded questions by id; None: typed questions only.
        k: Maximum number of passages; None uses the pipeline's limit.
        filter: Metadata filter that the model cannot change.
        strategy: How a spoken question is searched.
        min_score: Minimum cosine similarity.
    """

    name: str = "voice_ask"
    description: str = (
        "Answer a question from the knowledge base. Returns the answer with its sources, or says "
        "that the documents do not answer."
    )

    def invoke(
        self,
        input: Any,  # noqa: A002, ANN401 - named by LangChain
        config: RunnableConfig | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """Answer; see `BaseTool.invoke`."""
        with _spoken() as answers:
            return _with_sound(super().invoke(input, config, **kwargs), answers)

    async def ainvoke(
        self,
        input: Any,  # noqa: A002, ANN401 - named by LangChain
        config: RunnableConfig | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """Answer in a thread; see `BaseTool.ainvoke`."""
        with _spoken() as answers:
            return _with_sound(await super().ainvoke(input, config, **kwargs), answers)

    def _run(
        self,
        question: str = "",
        clip_id: str = "",
        run_manager: CallbackManagerForToolRun | None = None,
    ) -> tuple[str, Answer]:
        del run_manager
        with _mendable():
            asked = self._question(question, clip_id)
            pieces = self.rag.stream(asked, **search_options(self, {}))
            answer = Answer()
            with closing(cast("Generator[Answer, None, None]", pieces)):
                for piece in pieces:
                    answer += piece
                    check_cancelled()
        if (answers := _answers.get()) is not None:
            answers.append(answer)
        return _cited(answer), redacted(answer)


_answers: ContextVar[list[Answer] | None] = ContextVar("voicerag_tool_answers", default=None)


@contextmanager
def _spoken() -> Generator[list[Answer], None, None]:
    """Collect the answers with their sound while LangChain traces them without it."""
    answers: list[Answer] = []
    token = _answers.set(answers)
    try:
        yield answers
    finally:
        _answers.reset(token)


def _with_sound(output: Any, answers: list[Answer]) -> Any:  # noqa: ANN401
    if answers and isinstance(output, ToolMessage):
        fields = {name: getattr(output, name) for name in type(output).model_fields}
        return AnswerToolMessage(**{**fields, "artifact": answers[-1]})
    return output


@contextmanager
def _mendable() -> Generator[None, None, None]:
    """Report an unusable question to the model; every other error ends the call."""
    try:
        yield
    except AudioError as error:
        raise ToolException(f"the clip cannot be used: {error}") from error
    except ConfigError as error:
        raise ToolException(str(error)) from error


def _numbered(hits: tuple[Hit, ...]) -> str:
    return "\n\n".join(
        f"[{number}] {hit.passage.title}\n{hit.passage.text}" for number, hit in enumerate(hits, 1)
    )


def _cited(answer: Answer) -> str:
    cited = {place.passage_id for place in answer.citations}
    titles = dict.fromkeys(hit.passage.title for hit in answer.hits if hit.passage.id in cited)
    named = "; ".join(title for title in titles if title)
    return f"{answer.text}\n\nSources: {named}" if named else answer.text
