"""What a running voicerag can be told, by argument or by ``VOICERAG_*`` variable."""

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
"""How the local embedder searches for spoken questions unless it is told otherwise."""
SONAR_STRATEGY: Final = "e2e"
"""The same for SONAR, whose space needs no transcript."""

_Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]+$")]


class Settings(BaseSettings):
    """All settings, with their defaults; each is read from ``VOICERAG_<NAME>``.

    Unknown arguments are refused. Build it with `load_settings` to get errors of our own tree.
    """

    model_config = SettingsConfigDict(
        env_prefix="VOICERAG_", extra="forbid", frozen=True, env_ignore_empty=True
    )

    stack: Literal["local", "glm"] = Field(
        default="local",
        description="Which models answer: 'local' is CPU only, from wheels; 'glm' is GLM-4-Voice.",
    )
    embedder: Literal["local", "sonar"] = Field(
        default="local",
        description="What makes vectors: 'local' (MiniLM and a speech encoder) or 'sonar'.",
    )
    transcriber: Literal["local", "glm", "sonar"] | None = Field(
        default=None,
        description="What turns speech into words: 'local' (Whisper tiny.en), 'glm' (GLM-4-Voice, "
        "in its stack alone) or 'sonar' (its text decoder); default: that of the stack.",
    )
    sonar_weights: Path | None = Field(
        default=None,
        description="Folder of SONAR's files; default: weights/sonar in the data folder.",
    )
    sonar_language: str = Field(
        default="eng_Latn", description="Language of documents and questions, for SONAR."
    )
    sonar_speech_language: str | None = Field(
        default=None, description="Language of spoken questions, where it is another."
    )
    sonar_device: str = Field(
        default="auto", description="Where SONAR runs: auto, cpu, cuda, cuda:1, mps."
    )
    sonar_dtype: Literal["float32", "bfloat16", "float16"] = Field(
        default="float32", description="In which SONAR runs."
    )
    sonar_heads: int | None = Field(
        default=None,
        ge=1,
        description="Attention heads of a SONAR text encoder and decoder that are not 1024 wide.",
    )
    database_url: SecretStr | None = Field(
        default=None,
        description="DSN of a Postgres with pgvector; without one, an embedded server is started.",
    )
    data_dir: Path = Field(
        default_factory=lambda: platformdirs.user_data_path("voicerag", appauthor=False),
        description="Folder of the embedded database and of downloaded weights.",
    )
    collection: _Name = Field(default="default", description="Collection to index and ask.")
    tenant: _Name = Field(default="default", description="Whose rows are seen and written.")
    strategy: Strategy | None = Field(
        default=None,
        description=f"How a spoken question is searched; default: {LOCAL_STRATEGY}, with SONAR "
        f"{SONAR_STRATEGY}.",
    )
    limit: int = Field(default=4, ge=1, le=1000, description="Passages found for a question.")
    max_question_seconds: float = Field(
        default=MAX_SECONDS, gt=0, le=3600, description="Longest spoken question."
    )
    sentence_vectors: bool = Field(
        default=True, description="Index a vector for each sentence beside the whole passage."
    )
    chunk_size: int = Field(default=CHUNK_SIZE, ge=1, description="Most characters of a passage.")
    chunk_overlap: int = Field(
        default=CHUNK_OVERLAP, ge=0, description="Characters repeated between passages."
    )
    threads: int | None = Field(
        default=None, ge=1, description="CPU threads of each model; default: one a core, 4 at most."
    )
    speak: bool = Field(default=True, description="Answer in speech too, not in text alone.")
    glm_dir: Path | None = Field(
        default=None,
        description="Folder of GLM-4-Voice's weights; default: where voicerag download puts them.",
    )
    glm_device: str = Field(
        default="auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="Where GLM-4-Voice runs: cpu, cuda, cuda:1; auto takes a GPU if there is one.",
    )
    glm_dtype: Literal["bfloat16", "float32"] | None = Field(
        default=None,
        description="Numbers of the language model; default: those of its files. On a GPU the "
        "decoder's U-Net runs in bfloat16 unless this is float32.",
    )
    glm_quantization: Literal["none", "int8", "int4"] = Field(
        default="none",
        description="Bits of the language model's weights, to need less memory; int4 takes widths "
        "that are multiples of 128.",
    )
    glm_english_only: bool = Field(
        default=False, description="Let GLM-4-Voice write no Chinese, Japanese or Korean."
    )
    glm_max_context: int | None = Field(
        default=None,
        ge=1024,
        description="Most tokens of a GLM-4-Voice prompt and its reply; default: those of the "
        "checkpoint, 8192 at most.",
    )

    @property
    def question_strategy(self) -> Strategy:
        """How a spoken question is searched: as told, or as suits the embedder."""
        if self.strategy is not None:
            return self.strategy
        return SONAR_STRATEGY if self.embedder == "sonar" else LOCAL_STRATEGY

    @property
    def chosen_transcriber(self) -> Literal["local", "glm", "sonar"]:
        """What turns speech into words: as told, or as suits the stack."""
        return self.stack if self.transcriber is None else self.transcriber


def load_settings(**values: object) -> Settings:
    """Make settings from the environment and from values given by name, which win.

    Values that are None count as not given.

    Raises:
        ConfigError: A value is unknown or out of its range; the message names the setting.
    """
    return make_settings(Settings, values, "an argument")


def make_settings(model: type[_Model], values: Mapping[str, object], given_as: str) -> _Model:
    """Make settings of any model from the environment and from values given by name, which win.

    Args:
        model: Names its variables by ``env_prefix``.
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
