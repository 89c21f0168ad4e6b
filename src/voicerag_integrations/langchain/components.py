"""The common interface of the LangChain components."""

from __future__ import annotations

from typing import Any

from langchain_core.runnables import RunnableConfig
from pydantic import BaseModel

from voicerag_integrations.langchain.questions import VoiceInput
from voicerag_integrations.langchain.schemas import VoiceQuestion

__all__ = ["Dumpable", "TakesQuestions"]


class Dumpable:
    """Lets ``dumps`` serialize the settings of a component, but never the pipeline."""

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Return True: ``dumps`` serializes the settings."""
        return True

    @classmethod
    def get_lc_namespace(cls) -> list[str]:
        """Return the module that ``dumps`` records."""
        return ["voicerag_integrations", "langchain"]


class TakesQuestions(Dumpable):
    """A component whose input is a question, spoken or typed."""

    @property
    def InputType(self) -> Any:  # noqa: ANN401, N802 - named by LangChain
        """The input type of `invoke`."""
        return VoiceInput

    def get_input_schema(self, config: RunnableConfig | None = None) -> type[BaseModel]:
        """Return the JSON schema of the input of `invoke`."""
        del config
        return VoiceQuestion
