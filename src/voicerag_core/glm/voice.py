"""GLM-4-Voice as a voice model and a transcriber: question in, text and speech out, streamed."""

from __future__ import annotations

import copy
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self

import torch

from voicerag_core.errors import AudioError, GenerationError
from voicerag_core.glm.decoder import SpeechDecoder
from voicerag_core.glm.lm.interleave import Interleave, ReplyForm, TokenKind
from voicerag_core.glm.lm.torch_lm import LanguageModel, LocalLM, Quantization
from voicerag_core.glm.prompt import EarlierTurn, Prompt, PromptBuilder, UserInput
from voicerag_core.glm.speech_tokenizer.tokenizer import SpeechTokenizer
from voicerag_core.glm.text_tokenizer import TextStream, TextTokenizer
from voicerag_core.glm.weights.checkpoints import open_checkpoint
from voicerag_core.types import (
    Answer,
    Audio,
    Passage,
    Question,
    Samples,
    Sampling,
    Transcription,
    Turn,
)

__all__ = ["Decoder", "DecoderStream", "GLMVoice", "SpeechEncoder"]

_logger = logging.getLogger(__name__)

REMEMBERED_TURNS = 32
"""Turns whose ids are kept, so that a conversation goes on from the very ids it had."""
LONGEST_REPLY_SHARE = 4
"""A reply may claim up to this part (one in ...) of the context from its prompt."""
TRANSCRIPTION = Sampling(temperature=0.0, top_p=1.0, max_new_tokens=1500)


class SpeechEncoder(Protocol):
    """Turns clips into speech tokens."""

    def encode(self, clips: Sequence[Audio]) -> list[list[int]]:
        """Return the tokens of each clip."""
        ...


class DecoderStream(Protocol):
    """Turns the speech tokens of one reply into sound."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def push(self, tokens: Iterable[int]) -> Samples:
        """Take tokens; return the sound that is final."""
        ...

    def finish(self) -> Samples:
        """Return the rest."""
        ...


class Decoder(Protocol):
    """Opens decoder streams."""

    @property
    def sample_rate(self) -> int:
        """Hz."""
        ...

    def open_stream(self) -> DecoderStream:
        """Begin a reply."""
        ...


class GLMVoice:
    """Answers spoken and typed questions, and transcribes. Safe to share between threads.

    A device serves one reply at a time, in the order of asking; the others wait. A reply that is
    neither read to its end nor closed keeps the device.

    Args:
        lm: The language model.
        tokenizer: Its text tokenizer.
        encoder: Speech to tokens.
        decoder: Tokens to speech; None answers in text alone.
        english_only: Let the model write no Chinese, Japanese or Korean.
    """

    def __init__(
        self,
        lm: LanguageModel,
        tokenizer: TextTokenizer,
        encoder: SpeechEncoder,
        decoder: Decoder | None = None,
        *,
        english_only: bool = False,
    ) -> None:
        self._lm, self._tokenizer = lm, tokenizer
        self._encoder, self._decoder = encoder, decoder
        self._form = ReplyForm(tokenizer, lm.table_size, english_only=english_only)
        self._prompts = PromptBuilder(tokenizer)
        self._turns: OrderedDict[tuple[Question, str], EarlierTurn] = OrderedDict()
        self._lock = threading.Lock()

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        device: str = "auto",
        dtype: Literal["bfloat16", "float32"] | None = None,
        quantization: Quantization = "none",
        speak: bool = True,
        english_only: bool = False,
        finite: bool = False,
    ) -> GLMVoice:
        """Load the three trees below a folder, as released or converted.

        Args:
            folder: Holds them.
            device: "cpu", "cuda" or "cuda:1"; "auto" takes a GPU if there is one.
            dtype: Of the language model; None keeps the file's. On a GPU the decoder's U-Net runs
                in bfloat16 unless this is "float32"; its mel then differs by 0.9 % of its norm.
            quantization: Of the language model's weights.
            speak: Load the decoder too.
            english_only: Let the model write no Chinese, Japanese or Korean.
            finite: Refuse weights that are NaN or infinite; it takes longer.

        Raises:
            CheckpointError: A tree is missing or damaged.
            ModelError: The device has too little memory.
            MissingExtraError: The extra ``glm`` is not installed.
        """
        found = open_checkpoint(folder)
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        lm = found.part("lm").folder
        encoder_dtype = torch.float32 if device == "cpu" else torch.bfloat16
        return cls(
            LocalLM.load(
                lm,
                device=device,
                dtype=None if dtype is None else getattr(torch, dtype),
                quantization=quantization,
                finite=finite,
            ),
            TextTokenizer.load(lm),
            SpeechTokenizer.load(
                found.part("speech_tokenizer").folder,
                device=device,
                dtype=encoder_dtype,
                finite=finite,
            ),
            SpeechDecoder.load(
                found.part("decoder").folder,
                device=device,
                dtype=unet_dtype(device, dtype),
                finite=finite,
            )
            if speak
            else None,
            english_only=english_only,
        )

    def silent(self) -> GLMVoice:
        """Return the same model without its voice; the weights are shared."""
        made = copy.copy(self)
        made._decoder = None
        return made

    def warm(self) -> None:
        """Prepare now what the first reply would prepare."""
        if isinstance(self._lm, LocalLM):
            form = self._form
            self._lm.warm((form.text, form.audio_or_stop))
        prepare = getattr(self._decoder, "warm", None)
        if callable(prepare):
            prepare()

    def respond(
        self,
        question: Question,
        passages: Sequence[Passage],
        *,
        sampling: Sampling,
        transcript: Transcription | None = None,
        history: Sequence[Turn] = (),
    ) -> Generator[Answer, None, None]:
        """Stream the answer: words and sound as they come.

        Timings, in seconds from the first step: ``encode`` (the question as tokens),
        ``first_text`` and ``first_audio``. Without passages the model speaks from what it knows,
        and `Answer.answered` is False.

        Args:
            question: Spoken, or typed.
            passages: Best first; those that do not fit are left out, from the last on, and a
                warning is logged that names them.
            sampling: How tokens are drawn.
            transcript: Not used: the model hears the question itself.
            history: Earlier turns, oldest first.

        Raises:
            AudioError: The question's audio holds no speech token.
            GenerationError: The question does not fit, or the reply cannot be used.
            ModelError: The device has too little memory.
        """
        del transcript
        clock = _Clock()
        heard = self._heard(question)
        clock.note("encode")
        earlier = [self._earlier(turn) for turn in history]
        prompt = self._prompts.build(
            heard, passages, history=earlier, limit=self._prompt_limit(sampling)
        )
        _say_what_was_dropped(prompt)
        reply: list[int] = []
        said: list[str] = []
        with closing(self._pieces(prompt, sampling, reply, clock)) as pieces:
            for piece in pieces:
                said.append(piece.text)
                yield piece if passages else replace(piece, answered=False)
        text = "".join(said)
        if not text:
            raise GenerationError("the model ended its reply without a word; ask again")
        self._remember(question, text, EarlierTurn(prompt.user, tuple(reply), _spoken(question)))

    def transcribe(self, audio: Audio) -> Transcription:
        """Return the words of a clip, as the model hears them; it gives no confidence.

        Raises:
            AudioError: No speech was heard.
            GenerationError: The clip is too long.
            ModelError: The device has too little memory.
        """
        prompt = self._prompts.transcription(
            self._encoder.encode([audio])[0], limit=self._prompt_limit(TRANSCRIPTION)
        )
        guide, words = Interleave(self._form), TextStream(self._tokenizer)
        said = []
        with closing(self._lm.stream(prompt.ids, guide=guide, sampling=TRANSCRIPTION)) as tokens:
            for token in tokens:
                said.append(words.push(token))
                if guide.text_done:
                    break
        text = ("".join(said) + words.flush()).strip()
        if not text:
            raise AudioError("no words were heard in the clip")
        return Transcription(text)

    def _pieces(
        self, prompt: Prompt, sampling: Sampling, reply: list[int], clock: _Clock
    ) -> Generator[Answer, None, None]:
        """Yield words and sound; whatever ends the reply, its last words and sound come too."""
        words, guide = TextStream(self._tokenizer), Interleave(self._form)
        start = self._tokenizer.vocabulary.audio_start
        with ExitStack() as stack:
            sound = None
            if self._decoder is not None:
                sound = stack.enter_context(self._decoder.open_stream())
            tokens = stack.enter_context(
                closing(self._lm.stream(prompt.ids, guide=guide, sampling=sampling))
            )
            for token in tokens:
                if token in self._tokenizer.vocabulary.stop_ids:
                    break
                reply.append(token)
                if self._form.kind(token) is TokenKind.TEXT:
                    yield from clock.text(words.push(token))
                elif sound is not None:
                    yield from self._heard_now(sound.push((token - start,)), clock)
                elif guide.text_done:
                    break
            else:
                _logger.info("the reply was cut at %d tokens", len(reply))
            tokens.close()
            yield from clock.text(words.flush())
            if sound is not None:
                yield from self._heard_now(sound.finish(), clock)

    def _heard_now(self, samples: Samples, clock: _Clock) -> Iterator[Answer]:
        assert self._decoder is not None
        if len(samples):
            yield Answer(
                audio=Audio(samples, self._decoder.sample_rate), timings=clock.once("first_audio")
            )

    def _heard(self, question: Question) -> UserInput:
        return question if isinstance(question, str) else self._encoder.encode([question])[0]

    def _prompt_limit(self, sampling: Sampling) -> int:
        context = self._lm.max_context
        return context - min(sampling.max_new_tokens, context // LONGEST_REPLY_SHARE)

    def _earlier(self, turn: Turn) -> EarlierTurn:
        """Return the ids of a turn: those it had, or else its words encoded anew."""
        with self._lock:
            known = self._turns.get((turn.question, turn.answer.text))
        if known is not None:
            return known
        user = self._prompts.user_ids(self._heard(turn.question))
        return EarlierTurn(user, self._prompts.text_ids(turn.answer.text), _spoken(turn.question))

    def _remember(self, question: Question, text: str, turn: EarlierTurn) -> None:
        with self._lock:
            self._turns[question, text] = turn
            while len(self._turns) > REMEMBERED_TURNS:
                self._turns.popitem(last=False)


class _Clock:
    """Notes on the first piece of each kind when it came."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._noted: dict[str, float] = {}
        self._given: set[str] = set()

    def note(self, stage: str) -> None:
        """Note a stage, to be given with the first words."""
        self._noted[stage] = time.perf_counter() - self._start

    def once(self, stage: str) -> dict[str, float]:
        """Return the time on the first call for a stage."""
        if stage in self._given:
            return {}
        self._given.add(stage)
        return {stage: time.perf_counter() - self._start}

    def text(self, words: str) -> Iterator[Answer]:
        """Yield a piece of text, if there is any."""
        if words:
            timings = self._noted | self.once("first_text")
            self._noted = {}
            yield Answer(words, timings=timings)


def _spoken(question: Question) -> bool:
    return not isinstance(question, str)


def _say_what_was_dropped(prompt: Prompt) -> None:
    if prompt.dropped_passages or prompt.dropped_turns:
        _logger.warning(
            "the prompt was too long: left out %d passages (%s) and the %d earliest turns",
            len(prompt.dropped_passages),
            ", ".join(passage.id for passage in prompt.dropped_passages),
            prompt.dropped_turns,
        )


def unet_dtype(device: str, dtype: Literal["bfloat16", "float32"] | None) -> torch.dtype:
    """Return what the decoder's U-Net runs in: bfloat16 on a GPU, unless float32 is asked for."""
    return torch.float32 if device == "cpu" or dtype == "float32" else torch.bfloat16
