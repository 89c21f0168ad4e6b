"""Settings of voicerag, given as arguments or as ``VOICERAG_*`` variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias, TypeVar

import platformdirs
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from voicerag_core.audio import MAX_SECONDS
from voicerag_core.chunking import CHUNK_OVERLAP, CHUNK_SIZE
from voicerag_core.errors import ConfigError
from voicerag_core.languages import ANY, ENGLISH
from voicerag_core.ports import RERANKED
from voicerag_core.types import Sampling, SecondRound, Strategy

__all__ = ["Part", "RemoteSettings", "Settings", "load_settings", "make_settings"]

_Model = TypeVar("_Model", bound=BaseSettings)

READ_FIRST: Final = 4
"""Passages that the reader reads first, and its network therefore sorts."""

LOCAL_STRATEGY: Final = "adaptive"
"""Default strategy of the local embedder."""
SONAR_STRATEGY: Final = "e2e"
"""Default strategy of SONAR, whose vector space needs no transcript."""

FOREIGN_STRATEGY: Final = "asr"
"""Default strategy of languages that no speech encoder knows."""

Part: TypeAlias = Literal["chat", "transcriber", "embedder", "reranker", "voice", "glm_server"]
"""A model that may be behind a URL; also the first word of its settings."""

_Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]+$")]


@dataclass(frozen=True, slots=True)
class RemoteSettings:
    """The settings of one model behind a URL.

    Args:
        url: Base of its API, or None.
        model: Its name there, or "".
        key: Its key, or None.
        key_file: A file that holds the key, or None.
        timeout: Longest wait, in seconds.
        prefix: Of the variables, for messages: ``VOICERAG_CHAT``.
    """

    url: str | None = field(repr=False)
    model: str
    key: str | None = field(repr=False)
    key_file: Path | None
    timeout: float
    prefix: str


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
    chat: Literal["none", "http"] = Field(
        default="none",
        description="Chat model that writes the answers of the stack 'local': 'none' (a reader "
        "quotes the documents) or 'http' (an OpenAI-compatible server).",
    )
    embedder: str = Field(
        default="local",
        min_length=1,
        description="Embedding model: 'local' (MiniLM and a speech encoder, for languages besides "
        "English as 'multilingual'), 'multilingual' (multilingual-e5-small), 'sonar', 'http' (an "
        "OpenAI-compatible server), or a folder or hub name (OWNER/NAME) of an ONNX model in the "
        "form of sentence-transformers.",
    )
    transcriber: str | None = Field(
        default=None,
        min_length=1,
        description="Speech recognition: 'local' (Whisper tiny.en, for languages besides English "
        "Whisper base), 'glm' (GLM-4-Voice, only with "
        "its stack), 'sonar' (its text decoder), 'http' (an OpenAI-compatible server), or a folder "
        "or hub name (OWNER/NAME) of a Whisper model for CTranslate2; default: that of the stack.",
    )
    reranker: str | None = Field(
        default=None,
        min_length=1,
        description="Model that sorts the passages found anew: 'none', 'local' (the reader's "
        "network), 'http' (a /rerank endpoint), or a folder or hub name (OWNER/NAME) of an ONNX "
        "cross-encoder; default: 'local' where that network answers anyway, in English.",
    )
    voice: str = Field(
        default="local",
        min_length=1,
        description="Voice of the stack 'local': 'local' (Piper's Joe, English), 'http' (an "
        "OpenAI-compatible server), or the .onnx file of a Piper voice.",
    )
    language: str = Field(
        default="en",
        pattern=r"^(auto|[a-z]{2,3})$",
        description="Language of documents and questions, an ISO 639-1 code such as `zh` or `de`; "
        "`auto` finds it out for each question. It sets embedder, recogniser, reader, the words of "
        "new collections and what the program says itself.",
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
    read_database_url: SecretStr | None = Field(
        default=None,
        description="DSN of a replica of that Postgres, for searches; what is written goes to "
        "`VOICERAG_DATABASE_URL`.",
    )
    database_pooler: bool | None = Field(
        default=None,
        description="Whether a pooler that shares connections between transactions, such as "
        "PgBouncer, is before the database: nothing is prepared then; default: found out.",
    )
    data_dir: Path = Field(
        default_factory=lambda: platformdirs.user_data_path("voicerag", appauthor=False),
        description="Folder for the embedded database and downloaded weights.",
    )
    index: Literal["halfvec", "bit"] | None = Field(
        default=None,
        description="What the index of a large collection is over, when it is built: 'halfvec' "
        "(the vectors) or 'bit' (their signs: a fraction of disk and memory, and the vectors sort "
        "what it finds); default: as it was, or 'halfvec'.",
    )
    index_memory: int | None = Field(
        default=None,
        ge=64,
        description="Most memory, in MiB, that building an index takes on the database server; "
        "default: the server's `maintenance_work_mem`, embedded a quarter of the memory.",
    )
    collection: _Name = Field(default="default", description="Collection to index and ask.")
    words: bool | None = Field(
        default=None,
        description="Whether passages are found by words, too; without, they are written faster "
        "and found by their vectors alone. A collection keeps the choice that it was made with; "
        "default: that, and with words for a new one.",
    )
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
        f"{SONAR_STRATEGY} with SONAR, {FOREIGN_STRATEGY} with another language than English.",
    )
    second_round: SecondRound = Field(
        default="always",
        description="When the strategy `two_round` searches again: `always`, or where the model is "
        "`unsure` that the passages answer.",
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
    instructions: str = Field(
        default="",
        max_length=8000,
        description="Manner of speaking: emotion, tone, pace, dialect, role, in words. GLM-4-Voice "
        "and chat models follow all of it, the local voice pace and pauses.",
    )
    temperature: float | None = Field(
        default=None,
        ge=0,
        le=2,
        description="Temperature of the model that answers; default: 0.2 for GLM-4-Voice, "
        "`VOICERAG_CHAT_TEMPERATURE` for a chat model.",
    )
    top_p: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Share of the probability mass that it draws from; default: 0.8 for "
        "GLM-4-Voice, the server's for a chat model.",
    )
    max_new_tokens: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="Most tokens of one answer, of GLM-4-Voice text and speech together; default: "
        "2000 for GLM-4-Voice, the server's for a chat model.",
    )
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
        pattern=r"^(auto|(cpu|cuda(:\d+)?)(,(cpu|cuda(:\d+)?))*)$",
        description="Device for GLM-4-Voice: auto (a GPU if any), cpu, cuda or cuda:1; several, as "
        "in `cuda:0,cuda:1`, get a replica each, in a process of its own.",
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
    glm_rows: int | None = Field(
        default=None,
        ge=1,
        le=512,
        description="Replies that GLM-4-Voice's language model writes at a time; default: as many "
        "as fit into the free memory of a GPU, 64 at most, and 4 on a CPU.",
    )
    glm_replica_timeout: float = Field(
        default=60.0,
        ge=5,
        le=3600,
        description="Seconds without a sign of life, or of work on its calls, after which the "
        "process of a replica is ended and started again; ten times as many while it loads and "
        "warms, and until it has answered a first call.",
    )

    glm_lm: Literal["local", "vllm"] = Field(
        default="local",
        description="Where GLM-4-Voice's language model runs: 'local' (on `VOICERAG_GLM_DEVICE`) "
        "or 'vllm' (a vLLM server, named by the following).",
    )
    glm_server_url: SecretStr | None = Field(
        default=None,
        description="Base of the vLLM server's API, such as http://127.0.0.1:8000/v1.",
    )
    glm_server_model: str = Field(
        default="",
        description="Name of the model on that server; default: the one that it has.",
    )
    glm_server_key: SecretStr | None = Field(default=None, description="API key, if it needs one.")
    glm_server_key_file: Path | None = Field(
        default=None, description="File that holds the key, instead of `VOICERAG_GLM_SERVER_KEY`."
    )
    glm_server_timeout: float = Field(
        default=60.0,
        gt=0,
        le=3600,
        description="Longest wait in seconds for the first token, a full server's queue included, "
        "and for each next one.",
    )

    telemetry: Literal["none", "otlp", "console"] = Field(
        default="none",
        description="Where spans and metrics of OpenTelemetry go: 'otlp' (a collector, set by the "
        "`OTEL_*` variables), 'console' (standard error) or 'none'. They hold times and counts, "
        "never texts or sound.",
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="Form of the lines on standard error that report on the run."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="warning", description="Least level of what is logged."
    )

    chat_url: SecretStr | None = Field(
        default=None, description="Base of the API, such as http://127.0.0.1:11434/v1."
    )
    chat_model: str = Field(default="", description="Name of the model on that server.")
    chat_key: SecretStr | None = Field(default=None, description="API key, if it needs one.")
    chat_key_file: Path | None = Field(
        default=None, description="File that holds the key, instead of `VOICERAG_CHAT_KEY`."
    )
    chat_timeout: float = Field(
        default=60.0,
        gt=0,
        le=3600,
        description="Longest wait in seconds for the first words and for each next ones; a whole "
        "answer may take five times as long.",
    )
    chat_temperature: float | Literal["model"] = Field(
        default=0.0,
        ge=0,
        le=2,
        description="Temperature of sampling; `model` leaves it to the server.",
    )
    chat_prompt: Path | None = Field(
        default=None,
        description="Text file with the instructions to the model, instead of the built-in ones.",
    )
    chat_fallback: bool = Field(
        default=True,
        description="Let the reader answer, with a note, when the model fails or is too slow; "
        "otherwise the question fails.",
    )
    transcriber_url: SecretStr | None = Field(
        default=None, description="Base of the API, such as http://127.0.0.1:8000/v1."
    )
    transcriber_model: str = Field(default="", description="Name of the model on that server.")
    transcriber_key: SecretStr | None = Field(default=None, description="API key, if it needs one.")
    transcriber_key_file: Path | None = Field(
        default=None, description="File that holds the key, instead of `VOICERAG_TRANSCRIBER_KEY`."
    )
    transcriber_timeout: float = Field(
        default=60.0, gt=0, le=3600, description="Longest wait for a response, in seconds."
    )
    transcriber_revision: str | None = Field(
        default=None,
        description="Commit of a model on the hub; default: the newest when it is downloaded.",
    )
    embedder_url: SecretStr | None = Field(
        default=None, description="Base of the API, such as http://127.0.0.1:11434/v1."
    )
    embedder_model: str = Field(default="", description="Name of the model on that server.")
    embedder_key: SecretStr | None = Field(default=None, description="API key, if it needs one.")
    embedder_key_file: Path | None = Field(
        default=None, description="File that holds the key, instead of `VOICERAG_EMBEDDER_KEY`."
    )
    embedder_timeout: float = Field(
        default=60.0, gt=0, le=3600, description="Longest wait for a response, in seconds."
    )
    embedder_dim: int | None = Field(
        default=None,
        ge=1,
        le=4000,
        description="Width of the vectors, sent as `dimensions`; default: the model's, found by a "
        "first call.",
    )
    embedder_query_prefix: str | None = Field(
        default=None,
        description="Text put before a question, such as `query: `; default: that of the model's "
        "own configuration, or none.",
    )
    embedder_passage_prefix: str | None = Field(
        default=None,
        description="Text put before a passage, such as `passage: `; default: as above.",
    )
    embedder_batch: int = Field(
        default=64, ge=1, le=2048, description="Most texts of one call to an embedding server."
    )
    embedder_revision: str | None = Field(
        default=None,
        description="Commit of a model on the hub; default: the newest when it is downloaded.",
    )
    reranker_url: SecretStr | None = Field(
        default=None, description="Base of the API, such as http://127.0.0.1:8080."
    )
    reranker_model: str = Field(default="", description="Name of the model on that server.")
    reranker_key: SecretStr | None = Field(default=None, description="API key, if it needs one.")
    reranker_key_file: Path | None = Field(
        default=None, description="File that holds the key, instead of `VOICERAG_RERANKER_KEY`."
    )
    reranker_timeout: float = Field(
        default=10.0, gt=0, le=3600, description="Longest wait for a response, in seconds."
    )
    reranker_fallback: bool = Field(
        default=True,
        description="Keep the order found, with a note, when the model fails or is too slow; "
        "otherwise the question fails.",
    )
    reranker_passages: int | None = Field(
        default=None,
        ge=2,
        le=100,
        description=f"Passages that are sorted anew for a question; default: {RERANKED}, or the "
        f"{READ_FIRST} that are read first with 'local'.",
    )
    reranker_revision: str | None = Field(
        default=None,
        description="Commit of a model on the hub; default: the newest when it is downloaded.",
    )
    voice_url: SecretStr | None = Field(
        default=None, description="Base of the API, such as http://127.0.0.1:8880/v1."
    )
    voice_model: str = Field(default="", description="Name of the model on that server.")
    voice_key: SecretStr | None = Field(default=None, description="API key, if it needs one.")
    voice_key_file: Path | None = Field(
        default=None, description="File that holds the key, instead of `VOICERAG_VOICE_KEY`."
    )
    voice_timeout: float = Field(
        default=20.0,
        gt=0,
        le=3600,
        description="Longest wait for the sound of one sentence, in seconds.",
    )
    voice_in_words: bool = Field(
        default=False,
        description="Put dates, times, money, units and signs into words, in `VOICERAG_LANGUAGE`, "
        "before a server speaks them; most servers do so themselves, in the language of their "
        "voice. Markup, links and code are left out in any case.",
    )
    voice_fallback: bool = Field(
        default=True,
        description="Give the rest of the answer as text, with a note, when a voice behind a "
        "server fails or is too slow; otherwise the question fails.",
    )
    voice_name: str = Field(
        default="", description="Speaker of the model, such as `alloy`, for servers that ask."
    )
    voice_rate: int | None = Field(
        default=None,
        ge=8000,
        le=192_000,
        description="Sample rate in Hz of a server that sends raw PCM; default: ask for WAV, which "
        "says it.",
    )

    @property
    def sampling(self) -> Sampling:
        """How a generating model samples."""
        given = {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "max_new_tokens": self.max_new_tokens,
        }
        return Sampling(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]

    @property
    def table_collection(self) -> str | None:
        """The collection to ask within the table; None unless one was chosen."""
        return self.collection if "collection" in self.model_fields_set else None

    @property
    def question_strategy(self) -> Strategy:
        """The given strategy, or the default of the embedder and the language."""
        if self.strategy is not None:
            return self.strategy
        if self.embedder == "sonar":
            return SONAR_STRATEGY
        return LOCAL_STRATEGY if self.language in (ENGLISH, ANY) else FOREIGN_STRATEGY

    @property
    def multilingual(self) -> bool:
        """Whether the packaged multilingual embedder is the selected one."""
        foreign = self.language != ENGLISH
        return self.embedder == "multilingual" or (self.embedder == "local" and foreign)

    @property
    def collection_language(self) -> str | None:
        """The language that a collection must be in; None unless one was chosen."""
        chosen = "language" in self.model_fields_set and self.language != ANY
        return self.language if chosen else None

    @property
    def chosen_transcriber(self) -> str:
        """The selected transcriber, or the default of the stack."""
        return self.stack if self.transcriber is None else self.transcriber

    @property
    def chosen_reranker(self) -> str:
        """The selected reranker; the default is the reader's network where it is loaded anyway."""
        if self.reranker is not None:
            return self.reranker
        reads = self.chat == "none" or self.chat_rewords
        usual = self.stack == "local" and reads and self.language == ENGLISH
        return "local" if usual else "none"

    @property
    def reranked(self) -> int:
        """Passages that are sorted anew."""
        if self.reranker_passages is not None:
            return self.reranker_passages
        return READ_FIRST if self.chosen_reranker == "local" else RERANKED

    def choice(self, part: Part) -> str:
        """The value that selects a part."""
        if part == "glm_server":
            return self.glm_lm
        chosen = {"transcriber": self.chosen_transcriber, "reranker": self.chosen_reranker}
        return chosen[part] if part in chosen else str(getattr(self, part))

    def remote(self, part: Part) -> RemoteSettings:
        """The settings of the server of a part."""
        url: SecretStr | None = getattr(self, f"{part}_url")
        key: SecretStr | None = getattr(self, f"{part}_key")
        return RemoteSettings(
            url=None if url is None else url.get_secret_value(),
            model=getattr(self, f"{part}_model"),
            key=None if key is None else key.get_secret_value(),
            key_file=getattr(self, f"{part}_key_file"),
            timeout=getattr(self, f"{part}_timeout"),
            prefix=f"VOICERAG_{part.upper()}",
        )


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
