"""Settings of voicerag, given as arguments or as ``VOICERAG_*`` variables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, TypeVar

import platformdirs
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from voicerag_core.audio import MAX_SECONDS
from voicerag_core.chunking import CHUNK_OVERLAP, CHUNK_SIZE
from voicerag_core.errors import ConfigError
from voicerag_core.types import Strategy

__all__ = ["Settings", "load_settings", "make_settings"]

_Model = TypeVar("_Model", bound=BaseSettings)

LOCAL_STRATEGY: Final = "adaptive"
"""Default strategy of the local embedder."""
SONAR_STRATEGY: Final = "e2e"
"""Default strategy of SONAR, whose vector space needs no transcript."""

_Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]+$")]


class Settings(BaseSettings):
    """All settings, with their defaults; each is read from ``VOICERAG_<NAME>``.

    Unknown arguments are rejected. Use `load_settings` to get a `ConfigError` for invalid values.
    """

    model_config = SettingsConfigDict(
        env_prefix="VOICERAG_", extra="forbid", frozen=True, env_ignore_empty=True
    )

    stack: Literal["local", "glm"] = Field(
        default="local",
        description="Models that answer: 'local' (on the CPU, from wheels) or 'glm' (GLM-4-Voice).",
    )
    embedder: Literal["local", "sonar"] = Field(
        default="local",
        description="Embedding model: 'local' (MiniLM and a speech encoder) or 'sonar'.",
    )
    transcriber: Literal["local", "glm", "sonar"] | None = Field(
        default=None,
        description="Speech recognition: 'local' (Whisper tiny.en), 'glm' (GLM-4-Voice, only with "
        "its stack) or 'sonar' (its text decoder); default: that of the stack.",
    )
    sonar_weights: Path | None = Field(
        default=None,
        description="Folder of SONAR's checkpoints; default: weights/sonar in the data folder.",
    )
    sonar_language: str = Field(
        default="eng_Latn", description="Language of documents and questions for SONAR."
    )
    sonar_speech_language: str | None = Field(
        default=None, description="Language of spoken questions, if it differs."
    )
    sonar_device: str = Field(
        default="auto", description="Device for SONAR: auto, cpu, cuda, cuda:1 or mps."
    )
    sonar_dtype: Literal["float32", "bfloat16", "float16"] = Field(
        default="float32", description="Data type for SONAR."
    )
    sonar_heads: int | None = Field(
        default=None,
        ge=1,
        description="Attention heads of a SONAR text encoder and decoder if not 1024 wide.",
    )
    database_url: SecretStr | None = Field(
        default=None,
        description="DSN of a Postgres with pgvector; default: an embedded server is started.",
    )
    data_dir: Path = Field(
        default_factory=lambda: platformdirs.user_data_path("voicerag", appauthor=False),
        description="Folder for the embedded database and downloaded weights.",
    )
    collection: _Name = Field(default="default", description="Collection to index and ask.")
    table: str | None = Field(
        default=None,
        min_length=1,
        description="Table of Postgres that another program fills, to ask in place of a "
        "collection: its name, or SCHEMA.NAME. It is only read.",
    )
    table_id: str | None = Field(default=None, description="Its column of ids.")
    table_text: str | None = Field(
        default=None,
        description="Its column of texts, or an entry of a JSON column: `payload->>data`.",
    )
    table_embedding: str | None = Field(
        default=None, description="Its column of vectors, if it has several."
    )
    table_metadata: str | None = Field(
        default=None, description="Its column of metadata, json or jsonb."
    )
    table_columns: str | None = Field(
        default=None, description="Further columns that become metadata, separated by ','."
    )
    table_title: str | None = Field(
        default=None, description="Column or metadata key of the title of a passage."
    )
    table_source: str | None = Field(
        default=None, description="Column or metadata key of the source of a passage."
    )
    table_only: str | None = Field(
        default=None,
        description="Condition in SQL that every row must meet, such as `deleted_at IS NULL`.",
    )
    table_tenant_column: str | None = Field(
        default=None,
        description="Column that must hold the tenant; without it the table is that of one tenant.",
    )
    tenant: _Name = Field(default="default", description="Tenant to read and write as.")
    strategy: Strategy | None = Field(
        default=None,
        description=f"How a spoken question is searched; default: {LOCAL_STRATEGY}, or "
        f"{SONAR_STRATEGY} with SONAR.",
    )
    limit: int = Field(
        default=4, ge=1, le=1000, description="Number of passages to find for a question."
    )
    max_question_seconds: float = Field(
        default=MAX_SECONDS, gt=0, le=3600, description="Longest spoken question, in seconds."
    )
    sentence_vectors: bool = Field(
        default=True, description="Index a vector per sentence in addition to the whole passage."
    )
    chunk_size: int = Field(
        default=CHUNK_SIZE, ge=1, description="Maximum length of a passage, in characters."
    )
    chunk_overlap: int = Field(
        default=CHUNK_OVERLAP, ge=0, description="Overlap of consecutive passages, in characters."
    )
    threads: int | None = Field(
        default=None, ge=1, description="CPU threads per model; default: one per core, at most 4."
    )
    speak: bool = Field(default=True, description="Answer in speech as well as text.")
    chat_rewords: bool = Field(
        default=False,
        description="Let a chat model only reword what the reader quotes; for small models. Where "
        "it changes a figure, a name or the sense, the quote itself is given.",
    )
    glm_dir: Path | None = Field(
        default=None,
        description="GLM-4-Voice's weights; default: the folder of `voicerag download glm`.",
    )
    glm_device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="Device for GLM-4-Voice: auto (a GPU if any), cpu, cuda or cuda:1.",
    )
    glm_dtype: Literal["bfloat16", "float32"] | None = Field(
        default=None,
        description="Data type of the language model; default: that of the checkpoint. On a GPU "
        "the decoder's U-Net runs in bfloat16 unless this is float32.",
    )
    glm_quantization: Literal["none", "int8", "int4"] = Field(
        default="none",
        description="Quantization of the language model's weights, to save memory; int4 takes "
        "widths that are multiples of 128.",
    )
    glm_english_only: bool = Field(
        default=False, description="Keep GLM-4-Voice from writing Chinese, Japanese or Korean."
    )
    glm_max_context: int | None = Field(
        default=None,
        ge=1024,
        description="Maximum tokens of a GLM-4-Voice prompt and its reply; default: the limit of "
        "the checkpoint, at most 8192.",
    )

    @property
    def table_collection(self) -> str | None:
        """The collection to ask within the table; None unless one was chosen."""
        return self.collection if "collection" in self.model_fields_set else None

    @property
    def question_strategy(self) -> Strategy:
        """The given strategy, or the default of the embedder."""
        if self.strategy is not None:
            return self.strategy
        return SONAR_STRATEGY if self.embedder == "sonar" else LOCAL_STRATEGY

    @property
    def chosen_transcriber(self) -> Literal["local", "glm", "sonar"]:
        """The selected transcriber, or the default of the stack."""
        return self.stack if self.transcriber is None else self.transcriber


def load_settings(**values: object) -> Settings:
    """Build settings from the environment and from keyword arguments, which take precedence.

    Values that are None count as not given.

    Raises:
        ConfigError: A value is unknown or out of its range; the message names the setting.
    """
    return make_settings(Settings, values, "an argument")


def make_settings(model: type[_Model], values: Mapping[str, object], given_as: str) -> _Model:
    """Build settings of any model from the environment and from `values`, which take precedence.

    Args:
        model: Its ``env_prefix`` names the variables.
        values: None counts as not given.
        given_as: What a value is to the user, such as "an argument", for error messages.

    Raises:
        ConfigError: A value is unknown or out of its range; the message names the setting.
    """
    given = {name: value for name, value in values.items() if value is not None}
    try:
        return model(**given)  # type: ignore[arg-type]
    except ValidationError as e:
        problems = "; ".join(
            f"{'.'.join(map(str, error['loc']))}: {error['msg']}"
            for error in e.errors(include_input=False, include_url=False)
        )
        raise ConfigError(
            f"settings are not valid: {problems} (each setting is {given_as} or a "
            f"{model.model_config['env_prefix']}<NAME> variable)"
        ) from None
