"""GLM-4-Voice as a voice model and a transcriber: question in, text and speech out, streamed."""

from __future__ import annotations

import copy
import logging
import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from voicerag_core.errors import AudioError, CancelledError, ConfigError, GenerationError
from voicerag_core.glm.decoder import SpeechDecoder
from voicerag_core.glm.device_memory import current_device
from voicerag_core.glm.lm.batched_lm import BatchedLM
from voicerag_core.glm.lm.interleave import (
    Interleave,
    ReplyForm,
    TokenKind,
)
from voicerag_core.glm.lm.language_model import (
    BatchingModel,
    LanguageModel,
    PacedModel,
)
from voicerag_core.glm.lm.loading import Quantization
from voicerag_core.glm.memory import ReplyMemory
from voicerag_core.glm.pace import Pace
from voicerag_core.glm.pieces import StageClock, Unspoken
from voicerag_core.glm.ports import SpeechStream, SpeechTokenDecoder, SpeechTokenEncoder
from voicerag_core.glm.prompt import (
    FURTHER_INTRO,
    FURTHER_UNLESS,
    EarlierTurn,
    Prompt,
    PromptBuilder,
    UserInput,
)
from voicerag_core.glm.speech_tokenizer.tokenizer import SpeechTokenizer
from voicerag_core.glm.text_tokenizer import TextStream, TextTokenizer
from voicerag_core.glm.turns import work_done
from voicerag_core.glm.weights.checkpoints import find_lm, open_checkpoint
from voicerag_core.sentences import sentence_spans
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

__all__ = ["GLMVoice"]

_logger = logging.getLogger(__name__)

LONGEST_REPLY_SHARE = 4
"""The prompt leaves up to one part in this many of the context to the reply."""
TRANSCRIPTION = Sampling(temperature=0.0, top_p=1.0, max_new_tokens=1500)
FURTHER = Sampling(temperature=0.0, top_p=1.0, max_new_tokens=300)
"""One sentence, text and the speech tokens between it, of which none is decoded."""
ENOUGH = re.compile(r"\W*enough\W*", re.IGNORECASE)

NO_SOUND: Samples = np.zeros(0, np.float32)


class GLMVoice:
    """Answers spoken and typed questions, and transcribes. Safe to share between threads.

    The language model that `load` takes writes many replies at a time; when all its places are
    taken, a reply waits its turn, first come, first served.

    Args:
        lm: The language model.
        tokenizer: Its text tokenizer.
        encoder: Speech to tokens.
        decoder: Tokens to speech; None answers in text only.
        english_only: Mask text tokens in Chinese, Japanese or Korean script.

    Raises:
        ConfigError: `english_only` is asked of a model that does not mask tokens.
    """

    def __init__(
        self,
        lm: LanguageModel,
        tokenizer: TextTokenizer,
        encoder: SpeechTokenEncoder,
        decoder: SpeechTokenDecoder | None = None,
        *,
        english_only: bool = False,
    ) -> None:
        if english_only and not lm.masks_tokens:
            raise ConfigError(
                "english_only is kept by masking tokens, and this language model only checks them "
                "afterwards: every other reply would end in an error; leave it out"
            )
        self._lm, self._tokenizer = lm, tokenizer
        self._encoder, self._decoder = encoder, decoder
        self._form = ReplyForm(tokenizer, lm.table_size, english_only=english_only)
        self._prompts = PromptBuilder(tokenizer)
        self._memory = ReplyMemory(tokenizer, self._form)

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
        max_context: int | None = None,
        rows: int | None = None,
        check_finite: bool = False,
        lm: LanguageModel | None = None,
    ) -> GLMVoice:
        """Load the three networks below a folder, as released or converted.

        Args:
            folder: Contains their trees.
            device: "cpu", "cuda" or "cuda:1"; "auto" takes a GPU if there is one.
            dtype: Data type of the language model; None keeps the file's. On a GPU the decoder's
                U-Net runs in bfloat16 unless this is "float32"; its mel then differs by 0.9 % of
                its norm.
            quantization: Bits of the language model's weights.
            speak: Load the decoder too.
            english_only: Mask text tokens in Chinese, Japanese or Korean script.
            max_context: Most tokens of prompt and reply; None takes what the checkpoint says, 8192
                at most. The cache takes 41 kB per token at the released size, in bfloat16.
            rows: Most replies at a time, each with a cache of `max_context` tokens; None takes as
                many as fit into the free memory, 64 at most on a GPU and 4 on a CPU.
            check_finite: Refuse weights that are NaN or infinite; loading takes longer.
            lm: A language model that runs elsewhere, such as a `ServerLM`; of the folder's, only
                the tokenizer is read then.

        Raises:
            CheckpointError: A tree is missing or damaged.
            ModelError: The device has too little memory.
            MissingExtraError: The extra ``glm`` is not installed.
        """
        found = open_checkpoint(folder) if lm is None else open_checkpoint(folder, without=["lm"])
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        lm_folder = found.part("lm").folder if lm is None else find_lm(folder)[0]
        encoder_dtype = torch.float32 if device == "cpu" else torch.bfloat16
        with current_device(device):
            return cls(
                lm
                or BatchedLM.load(
                    lm_folder,
                    device=device,
                    dtype=None if dtype is None else getattr(torch, dtype),
                    quantization=quantization,
                    max_context=max_context,
                    rows=rows,
                    check_finite=check_finite,
                ),
                TextTokenizer.load(lm_folder),
                SpeechTokenizer.load(
                    found.part("speech_tokenizer").folder,
                    device=device,
                    dtype=encoder_dtype,
                    check_finite=check_finite,
                ),
                SpeechDecoder.load(
                    found.part("decoder").folder,
                    device=device,
                    dtype=unet_dtype(device, dtype),
                    check_finite=check_finite,
                )
                if speak
                else None,
                english_only=english_only,
            )

    def silent(self) -> GLMVoice:
        """Return the same model without its decoder; the weights are shared."""
        made = copy.copy(self)
        made._decoder = None
        return made

    def warm(self) -> None:
        """Prepare now what the first reply would otherwise wait for."""
        self._lm.warm((self._form.text, self._form.audio_or_stop))
        self._encoder.warm()
        if self._decoder is not None:
            self._decoder.warm()

    @property
    def capacity(self) -> int:
        """Most answers at a time: those of the language model, one unless it states more."""
        return self._lm.capacity if isinstance(self._lm, BatchingModel) else 1

    @property
    def running(self) -> int:
        """Answers that are being written, as far as the language model says."""
        return self._lm.running if isinstance(self._lm, BatchingModel) else 0

    @property
    def waiting(self) -> int:
        """Questions that wait for their turn, as far as the language model says."""
        return self._lm.waiting if isinstance(self._lm, BatchingModel) else 0

    @property
    def out_of_service(self) -> tuple[str, ...]:
        """Nothing; see `ServesMany`."""
        return ()

    @property
    def worked(self) -> int:
        """A number that grows as long as networks of this process work for replies."""
        return work_done()

    def respond(
        self,
        question: Question,
        passages: Sequence[Passage],
        *,
        sampling: Sampling,
        transcript: Transcription | None = None,
        history: Sequence[Turn] = (),
        instructions: str = "",
    ) -> Generator[Answer, None, None]:
        """Stream the answer: text and audio as they are generated.

        Timings, in seconds from the first step: ``encode`` (the question as tokens),
        ``first_text`` and ``first_audio``. Without passages the model answers from its own
        knowledge, and `Answer.answered` is False. A reply is remembered by its ids, also one that
        is abandoned, so that the next prompt begins with those of this one and its reply.

        The text is ahead of the speech: `Answer.spoken` of a piece with audio gives half a text
        token out for each speech token, as the reply's form has them, and the rest with the last
        piece. That is approximate.

        Args:
            question: Spoken, or typed.
            passages: Best first; passages that do not fit are left out, from the end of the list,
                and named in a logged warning.
            sampling: How tokens are sampled.
            transcript: Not used: the model takes the audio of the question.
            history: Earlier turns, oldest first.
            instructions: Emotion, tone, pace, dialect, role; behind the system prompt, as ids.
                When they change, the next prompt shares no more than the system prompt.

        Raises:
            AudioError: The question's audio holds no speech token.
            ConfigError: The instructions take more than their part of the prompt.
            GenerationError: The question does not fit, or the reply cannot be used.
            ModelError: The device has too little memory.
        """
        del transcript
        clock = StageClock()
        # Behind the clip this would be work of many threads at once, for which steps wait.
        before = self._prompts.before_speech(passages) if _spoken(question) else ()
        heard = self._heard(question)
        clock.note("encode")
        earlier = [self._earlier(turn) for turn in history]
        prompt = self._prompts.build(
            heard,
            passages,
            history=earlier,
            limit=self._prompt_limit(sampling),
            instructions=instructions,
            before=before,
        )
        _say_what_was_dropped(prompt)
        reply: list[int] = []
        said: list[str] = []

        def remember() -> None:
            turn = EarlierTurn(prompt.user, tuple(reply), _spoken(question))
            self._memory.keep(question, "".join(said), turn)

        try:
            with closing(self._pieces(prompt, sampling, reply, clock)) as pieces:
                for piece in pieces:
                    said.append(piece.text)
                    yield piece if passages else replace(piece, answered=False)
        except (GeneratorExit, CancelledError):
            remember()
            raise
        if not any(said):
            raise GenerationError("the model ended its reply without a word; ask again")
        remember()

    def tokens(self, prompt: str, *, sampling: Sampling) -> Generator[int, None, None]:
        """Continue a whole prompt in GLM-4-Voice's own form; yield the ids of the reply.

        Names of special tokens in the prompt are those tokens, so it is for programs that speak to
        the bare model, as its web demo does. The id that ends the reply is yielded, too. Closing
        the generator stops the model.

        Raises:
            GenerationError: The prompt leaves no room.
            ModelError: The device has too little memory.
        """
        ids = self._tokenizer.encode_prompt(prompt)
        yield from self._lm.stream(ids, grammar=Interleave(self._form), sampling=sampling)

    @property
    def end_token(self) -> int:
        """The id with which a reply ends."""
        return self._tokenizer.vocabulary.specials["<|user|>"]

    def cut(self, turn: Turn, heard: Turn, *, seconds: float) -> None:
        """Remember of a reply only what was heard; see `RemembersReplies.cut`."""
        self._memory.cut(turn, heard, seconds)

    def transcribe(self, audio: Audio) -> Transcription:
        """Return the transcript of a clip.

        Raises:
            AudioError: No speech was heard.
            GenerationError: The clip is too long.
            ModelError: The device has too little memory.
        """
        prompt = self._prompts.transcription(
            self._encoder.encode([audio])[0], limit=self._prompt_limit(TRANSCRIPTION)
        )
        text = self._written(prompt, TRANSCRIPTION)
        if not text:
            raise AudioError("no words were heard in the clip")
        return Transcription(text)

    def further_query(
        self,
        question: Question,
        passages: Sequence[Passage],
        *,
        transcript: Transcription | None = None,
        only_unsure: bool = False,
    ) -> str | None:
        """Let the model say in one sentence what it still needs to know; None: nothing.

        Args:
            question: Spoken, or typed.
            passages: Best first; those that do not fit are left out, from the end of the list.
            transcript: Not used: the model takes the audio of the question.
            only_unsure: Let it say that the passages are enough.

        Raises:
            AudioError: The question's audio holds no speech token.
            GenerationError: The question does not fit.
            ModelError: The device has too little memory.
        """
        del transcript
        if not passages:
            return None
        intro = f"{FURTHER_INTRO} {FURTHER_UNLESS}" if only_unsure else FURTHER_INTRO
        prompt = self._prompts.build(
            self._heard(question), passages, limit=self._prompt_limit(FURTHER), intro=intro
        )
        text = " ".join(self._written(prompt, FURTHER).split())
        spans = sentence_spans(text)
        if not spans or ENOUGH.fullmatch(text):
            return None
        return text[slice(*spans[0])]

    def _written(self, prompt: Prompt, sampling: Sampling) -> str:
        """Return the text of a reply whose speech is not wanted."""
        grammar, words = Interleave(self._form), TextStream(self._tokenizer)
        said = []
        stops = self._tokenizer.vocabulary.stop_ids
        with closing(self._lm.stream(prompt.ids, grammar=grammar, sampling=sampling)) as tokens:
            for token in tokens:
                if token in stops:
                    break
                if self._form.kind(token) is TokenKind.TEXT:
                    said.append(words.push(token))
                if grammar.text_done:
                    break
        return ("".join(said) + words.flush()).strip()

    def _pieces(
        self, prompt: Prompt, sampling: Sampling, reply: list[int], clock: StageClock
    ) -> Generator[Answer, None, None]:
        """Yield text and audio; whatever ends the reply, its last text and audio are included."""
        words, grammar = TextStream(self._tokenizer), Interleave(self._form)
        unspoken = Unspoken()
        start = self._tokenizer.vocabulary.audio_start
        with ExitStack() as stack:
            sound: SpeechStream | None = None

            def wanted() -> int:
                if sound is None or not reply or not (wants := sound.wants):
                    return 1
                return min(grammar.run, grammar.ids_until(wants))

            pace = Pace(wanted, in_text=lambda: grammar.in_text)
            if self._decoder is not None:
                opened = self._decoder.open_stream(ids_until=grammar.ids_until, pace=pace)
                sound = stack.enter_context(opened)
            batches = stack.enter_context(closing(self._batches(prompt, grammar, sampling, pace)))
            for ids in batches:
                said, speech, ended = self._sorted(ids)
                reply += ids[: len(ids) - ended]
                yield from clock.text("".join(unspoken.add(words.push(token)) for token in said))
                if sound is not None and not (ended and len(ids) == 1):
                    samples = sound.feed([token - start for token in speech], ids=len(ids))
                    yield from self._heard_now(samples, unspoken, clock)
                if ended or (sound is None and speech and grammar.text_done):
                    break
            else:
                _logger.info("the reply was cut at %d tokens", len(reply))
            batches.close()
            yield from clock.text(unspoken.add(words.flush()))
            if sound is not None:
                for samples in sound.rest():
                    yield from self._heard_now(samples, unspoken, clock)
                yield from self._heard_now(NO_SOUND, unspoken, clock, last=True)

    def _batches(
        self, prompt: Prompt, grammar: Interleave, sampling: Sampling, pace: Pace
    ) -> Generator[Sequence[int], None, None]:
        """Yield the ids of a reply as the language model hands them over."""
        if isinstance(self._lm, PacedModel):
            yield from self._lm.batches(prompt.ids, grammar=grammar, sampling=sampling, pace=pace)
            return
        with closing(self._lm.stream(prompt.ids, grammar=grammar, sampling=sampling)) as tokens:
            for token in tokens:
                yield (token,)

    def _sorted(self, ids: Sequence[int]) -> tuple[list[int], list[int], bool]:
        """Return the text and the speech among ids, and whether the last one ends the reply."""
        ended = bool(ids) and ids[-1] in self._tokenizer.vocabulary.stop_ids
        said: list[int] = []
        speech: list[int] = []
        for token in ids[: len(ids) - ended]:
            (said if self._form.kind(token) is TokenKind.TEXT else speech).append(token)
        return said, speech, ended

    def _heard_now(
        self, samples: Samples, unspoken: Unspoken, clock: StageClock, *, last: bool = False
    ) -> Iterator[Answer]:
        """Yield sound with the words that it says, if there are any."""
        assert self._decoder is not None
        audio = Audio(samples, self._decoder.sample_rate) if len(samples) else None
        said = unspoken.said(0.0 if audio is None else audio.seconds, last=last)
        if audio is not None or said:
            timings = {} if audio is None else clock.once("first_audio")
            yield Answer(audio=audio, spoken=said, timings=timings)

    def _heard(self, question: Question) -> UserInput:
        return question if isinstance(question, str) else self._encoder.encode([question])[0]

    def _prompt_limit(self, sampling: Sampling) -> int:
        context = self._lm.max_context
        return context - min(sampling.max_new_tokens, context // LONGEST_REPLY_SHARE)

    def _earlier(self, turn: Turn) -> EarlierTurn:
        """Return the ids of a turn: the ones it had, or else its text encoded again."""
        known = self._memory.find(turn)
        if known is not None:
            return known
        user = self._prompts.user_ids(self._heard(turn.question))
        return EarlierTurn(user, self._prompts.text_ids(turn.answer.text), _spoken(turn.question))


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
    """Return the data type of the decoder's U-Net: bfloat16 on a GPU, unless told float32."""
    return torch.float32 if device == "cpu" or dtype == "float32" else torch.bfloat16
