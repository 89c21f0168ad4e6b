"""What LangChain asks of every component here."""

from __future__ import annotations

from typing import Any

from langchain_core.runnables import RunnableConfig
from pydantic import BaseModel

from voicerag_integrations.langchain.questions import VoiceInput
from voicerag_integrations.langchain.schemas import VoiceQuestion

__all__ = ["Dumpable", "TakesQuestions"]


class Dumpable:
    """Lets ``dumps`` write the settings of a component, and never the pipeline."""

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Say yes: ``dumps`` writes the settings."""
        return True

    @classmethod
    def get_lc_namespace(cls) -> list[str]:
        """Name the module that ``dumps`` notes down."""
        return ["voicerag_integrations", "langchain"]


class TakesQuestions(Dumpable):
    """A component whose input is a question, spoken or typed."""

    @property
    def InputType(self) -> Any:  # noqa: ANN401, N802 - named by LangChain
        """What `invoke` takes."""
        return VoiceInput

    def get_input_schema(self, config: RunnableConfig | None = None) -> type[BaseModel]:
        """Describe what `invoke` takes, as far as JSON can hold it."""
        del config
        return VoiceQuestion
