"""Search, ask, transcribe and speak for the callers of a server."""

from __future__ import annotations

import base64
import binascii
import os
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Protocol, runtime_checkable

from voicerag_core.audio import read_audio
from voicerag_core.errors import AudioError, ConfigError, ModelError, NotFoundError
from voicerag_core.filters import And, Eq, Filter, In
from voicerag_core.ingest.digests import Cutting, file_digest, is_recording
from voicerag_core.serving.clips import ClipStore, KeptClip, KeptSpeech, save_speech
from voicerag_core.serving.jobs import Job
from voicerag_core.serving.limits import Limits
from voicerag_core.serving.messages import message_for_caller
from voicerag_core.serving.passages import passage_in_document
from voicerag_core.serving.paths import AllowedPaths
from voicerag_core.serving.tenants import Tenants
from voicerag_core.serving.values import (
    Asked,
    Found,
    PassageInDocument,
    Query,
    QuestionSource,
    SpeechPlace,
    Spoken,
    Transcribed,
    Where,
)
from voicerag_core.types import Answer, Audio, Embeddings, Question, Sampling

__all__ = ["Asking", "metadata_filter"]


@runtime_checkable
class _BareModel(Protocol):
    """A model whose language model can be asked without documents."""

    @property
    def end_token(self) -> int: ...

    def tokens(self, prompt: str, *, sampling: Sampling) -> Generator[int, None, None]: ...


class Asking:
    """Searches, answers, transcribes and speaks for callers.

    The methods block. Each runs as a `Job`, which receives its progress and can stop it.

    Args:
        tenants: Models and collections.
        clips: Sound that is kept temporarily.
        paths: Folders whose files calls may name.
        limits: Limits of the server.
    """

    def __init__(
        self, tenants: Tenants, clips: ClipStore, paths: AllowedPaths, limits: Limits
    ) -> None:
        self._tenants = tenants
        self._clips = clips
        self._paths = paths
        self._limits = limits

    def search(self, job: Job, tenant: str, query: Query) -> Found:
        """Find the passages for a question.

        Raises:
            VoiceRAGError: The question cannot be used, or a part failed.
        """
        started = time.perf_counter()
        question = self.question(tenant, query.source)
        job.report("searching")
        with self._tenants.rag(job, tenant, query.collection) as rag:
            found = rag.retrieve(
                question,
                limit=query.limit,
                where=metadata_filter(query.where),
                strategy=query.strategy,
                history=query.history,
            )
        return Found(
            found.hits,
            self._collection(query),
            None if found.transcription is None else found.transcription.text,
            _since(started),
            found.notes,
        )

    def stream(
        self, job: Job, tenant: str, query: Query, *, speak: bool = True
    ) -> Generator[Answer, None, None]:
        """Answer a question in pieces: first the hits, then text and speech as they are generated.

        Closing the generator stops the stages below it.

        Raises:
            VoiceRAGError: The question cannot be used, or a part failed.
        """
        question = self.question(tenant, query.source)
        yield from self._pieces(job, tenant, question, query, speak=speak)

    def ask(
        self, job: Job, tenant: str, query: Query, *, speech: SpeechPlace | None = "clip"
    ) -> Asked:
        """Answer a question: the sum of `stream`.

        Args:
            job: Receives the progress.
            tenant: Tenant of the caller.
            query: The question.
            speech: Where the speech is kept; None answers in text only.

        Raises:
            VoiceRAGError: The question cannot be used, or a part failed.
        """
        started = time.perf_counter()
        question = self.question(tenant, query.source)
        if speech == "file":
            self._speech_folder()
        pieces = self._pieces(job, tenant, question, query, speak=speech is not None)
        answer = sum(pieces, Answer())
        seconds = _since(started)
        kept = (
            None
            if speech is None or answer.audio is None
            else self._kept(tenant, answer.audio, speech, "answer")
        )
        return Asked(answer, kept, self._collection(query), seconds)

    def transcribe(
        self,
        job: Job,
        tenant: str,
        source: QuestionSource,
        *,
        max_seconds: float | None = None,
    ) -> Transcribed:
        """Transcribe a clip.

        Args:
            job: Receives the progress.
            tenant: Tenant of the caller.
            source: The sound.
            max_seconds: Longest sound of `source.data`; None: that of a question.

        Raises:
            ConfigError: This server cannot transcribe, or not exactly one source was given.
            VoiceRAGError: The sound cannot be used, or something failed.
        """
        started = time.perf_counter()
        if source.data is not None and max_seconds is not None:
            sound: Question = read_audio(source.data, max_seconds=max_seconds)
        else:
            sound = self.question(tenant, source)
        if isinstance(sound, str):
            raise ConfigError("give sound in exactly one of clip, audio_path, audio_base64")
        job.report("transcribing")
        transcriber = self._tenants.parts.transcriber
        if transcriber is None:
            raise ConfigError("this server cannot transcribe")
        words = transcriber.transcribe(sound)
        return Transcribed(
            words.text, sound.seconds, _since(started), words.language, words.confidence
        )

    def speak(self, job: Job, tenant: str, text: str, *, speech: SpeechPlace = "clip") -> Spoken:
        """Speak a text with the answering voice.

        Raises:
            ConfigError: There is no voice, or the text cannot be spoken.
            VoiceRAGError: Something failed.
        """
        started = time.perf_counter()
        if speech == "file":
            self._speech_folder()
        sound: Audio | None = None
        for piece in self.stream_speech(job, text):
            sound = piece if sound is None else sound + piece
        assert sound is not None
        seconds = _since(started)
        return Spoken(self._kept(tenant, sound, speech, "speech"), seconds)

    def stream_speech(self, job: Job, text: str) -> Generator[Audio, None, None]:
        """Speak a text sentence by sentence.

        Raises:
            ConfigError: There is no voice, or the text cannot be spoken.
        """
        speaker, most = self._tenants.parts.speaker, self._limits.max_speech_chars
        if speaker is None:
            raise ConfigError("this server has no voice (VOICERAG_SPEAK is off)")
        if len(text) > most:
            raise ConfigError(
                f"the text has {len(text)} characters, and {most} are spoken in one call; cut it "
                "into several"
            )
        sentences = _sentences_to_speak(text, self._tenants.settings.language)
        if not sentences:
            raise ConfigError("the text holds nothing that can be said; give words")
        for number, sentence in enumerate(sentences):
            job.report("speaking", number, len(sentences))
            yield speaker.speak(sentence)

    def passage(
        self, job: Job, tenant: str, passage_id: str, *, collection: str | None = None
    ) -> PassageInDocument:
        """Return a passage and its surroundings in the document.

        Raises:
            NotFoundError: There is no such passage or collection.
            VoiceRAGError: Something failed.
        """
        with self._tenants.rag(job, tenant, collection) as rag:
            return passage_in_document(rag, passage_id)

    def recording(
        self, job: Job, tenant: str, passage_id: str, *, collection: str | None = None
    ) -> Path:
        """Return the file of the recording that a passage is a part of.

        Only a file whose content is that which was indexed is handed out: a caller who names a
        file as the source of a text does not get to read it.

        Raises:
            NotFoundError: There is no such passage, it is no part of a recording, or the recording
                is gone or changed.
            VoiceRAGError: Something failed.
        """
        with self._tenants.rag(job, tenant, collection) as rag:
            found = rag.store.get([passage_id])
            source = found[0].source if found else ""
            known = rag.document_store.document_digests().get(source) if found else None
        if not found:
            raise NotFoundError(f"there is no passage {passage_id!r}")
        path = Path(source)
        if known is not None and is_recording(path) and os.path.isfile(path):
            try:
                if file_digest(path, Cutting()) == known:
                    return path
            except AudioError:
                pass  # it went away meanwhile
        raise NotFoundError(f"the passage {passage_id!r} is no part of a recording that is here")

    def tokens(
        self, job: Job, prompt: str, sampling: Sampling
    ) -> Generator[tuple[int, str], None, None]:
        """Continue a prompt of the bare language model; yield its ids, and what went wrong.

        An error comes as a last pair: the id that ends a reply, and the words; so a reader that
        knows ids alone ends well.

        Raises:
            ConfigError: The answering model is not GLM-4-Voice.
        """
        model: object = self._tenants.parts.model
        if not isinstance(model, _BareModel):
            raise ConfigError("only the stack 'glm' continues prompts; set VOICERAG_STACK=glm")
        job.report("generating")
        try:
            for token in model.tokens(prompt, sampling=sampling):
                job.check()
                yield token, ""
        except ModelError as error:
            yield model.end_token, message_for_caller(error)

    def embed(self, job: Job, texts: Sequence[str], *, questions: bool = False) -> Embeddings:
        """Embed N texts as [N, D], as passages or as questions.

        Raises:
            ModelError: The model failed.
        """
        job.report("embedding")
        embedder = self._tenants.parts.embedder
        return embedder.embed_questions(texts) if questions else embedder.embed_passages(texts)

    def keep_clip(self, job: Job, tenant: str, data: bytes) -> KeptClip:
        """Store an uploaded clip for later calls.

        Raises:
            AudioError: The bytes are not the sound of a question.
        """
        job.check()
        return self._clips.add(tenant, self.decoded(data))

    def sampling(
        self, temperature: float | None, top_p: float | None, max_new_tokens: int | None
    ) -> Sampling | None:
        """Return the server's sampling with what a call says otherwise; None: nothing.

        Args:
            temperature: 0 always takes the most likely token.
            top_p: Above 0 and at most 1.
            max_new_tokens: At least 1.
        """
        if temperature is None and top_p is None and max_new_tokens is None:
            return None
        usual = self._tenants.settings.sampling
        return replace(
            usual,
            temperature=usual.temperature if temperature is None else temperature,
            top_p=usual.top_p if top_p is None else top_p,
            max_new_tokens=usual.max_new_tokens if max_new_tokens is None else max_new_tokens,
        )

    def question(self, tenant: str, source: QuestionSource) -> Question:
        """Return the question of a call: its text, or checked sound.

        Raises:
            ConfigError: Not exactly one source was given.
            AudioError: The sound cannot be used.
            DocumentError: The path may not be read.
            NotFoundError: There is no such clip.
        """
        ways = {
            "text": source.text,
            "clip": source.clip,
            "audio_path": source.audio_path,
            "audio_base64": source.audio_base64,
        }
        if source.audio is not None:
            return source.audio
        if source.data is not None:
            return self.decoded(source.data)
        used = [name for name, value in ways.items() if value is not None]
        if len(used) != 1:
            raise ConfigError(
                f"give the question in exactly one of {', '.join(ways)}; given: "
                f"{', '.join(used) or 'none'}"
            )
        most = self._limits.max_audio_bytes
        if source.clip is not None:
            return self.decoded(self._clips.get(tenant, source.clip).wav)
        if source.audio_path is not None:
            return self.decoded(self._paths.read(source.audio_path, most))
        if source.audio_base64 is not None:
            return self.decoded(_from_base64(source.audio_base64, most))
        assert source.text is not None
        return source.text

    def decoded(self, data: bytes) -> Audio:
        """Decode and check the bytes of a sound file."""
        return read_audio(data, max_seconds=self._tenants.settings.max_question_seconds)

    def _pieces(
        self, job: Job, tenant: str, question: Question, query: Query, *, speak: bool
    ) -> Generator[Answer, None, None]:
        job.report("searching")
        with (
            self._tenants.rag(job, tenant, query.collection, speak=speak) as rag,
            closing(  # type: ignore[type-var] # a generator
                rag.stream(
                    question,
                    limit=query.limit,
                    where=metadata_filter(query.where),
                    strategy=query.strategy,
                    sampling=query.sampling,
                    history=query.history,
                    instructions=query.instructions,
                )
            ) as pieces,
        ):
            first = next(pieces)
            job.report(f"found {len(first.hits)} passages, answering")
            yield first
            spoken = 0.0
            for piece in pieces:
                if piece.audio is not None:
                    spoken += piece.audio.seconds
                    job.report(f"spoke {spoken:.1f} s")
                elif piece.text:
                    job.report("answered, speaking")
                else:
                    job.check()
                yield piece

    def _collection(self, query: Query) -> str:
        return query.collection or self._tenants.settings.collection

    def _kept(self, tenant: str, audio: Audio, place: SpeechPlace, name: str) -> KeptSpeech:
        if place == "file":
            return save_speech(self._speech_folder(), audio, name)
        clip = self._clips.add(tenant, audio)
        return KeptSpeech(clip.seconds, len(clip.wav), clip=clip)

    def _speech_folder(self) -> Path:
        folder = self._limits.output_dir
        if folder is None:
            raise ConfigError(
                "this server saves no files; take audio='link', or let whoever runs the server "
                f"set {self._limits.prefix}OUTPUT_DIR"
            )
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"the folder for spoken answers cannot be made: {error.strerror or error}; let "
                f"whoever runs the server see to {self._limits.prefix}OUTPUT_DIR"
            ) from error
        return folder


def metadata_filter(where: Where | None) -> Filter | None:
    """Return a filter of what metadata must equal; a list means any of its values."""
    if not where:
        return None
    return And(
        tuple(
            In(key, tuple(value)) if isinstance(value, list) else Eq(key, value)
            for key, value in where.items()
        )
    )


def _from_base64(text: str, most_bytes: int) -> bytes:
    body = text.partition(";base64,")[2] if text.startswith("data:") else text
    if len(body) > most_bytes * 4 // 3 + 4:
        raise AudioError(
            f"the sound has about {len(body) * 3 // 4} bytes, and {most_bytes} are taken; give a "
            "shorter or a compressed clip (ogg, mp3), or upload it"
        )
    try:
        return base64.b64decode("".join(body.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise AudioError(
            f"the sound is not base64 ({error}); give the bytes of a wav, flac, ogg or mp3 "
            "file in the standard alphabet"
        ) from error


def _since(started: float) -> float:
    return time.perf_counter() - started


def _sentences_to_speak(text: str, language: str) -> list[str]:
    """Return all sentences of a text without marks of layout, links and code."""
    from voicerag_core.local.speaking.speech_stream import spoken_sentences

    return spoken_sentences(text, language)
