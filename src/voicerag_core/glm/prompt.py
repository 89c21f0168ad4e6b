"""The prompt, made of ids and not of a string.

Roles and speech are inserted by id. Text of users and documents is encoded with special tokens
disabled, so no text can start a turn, end one, or insert speech.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from voicerag_core.errors import AudioError, ConfigError, GenerationError
from voicerag_core.glm.text_tokenizer import TextTokenizer
from voicerag_core.types import Passage

__all__ = ["EarlierTurn", "Prompt", "PromptBuilder", "UserInput"]

SPEECH_SYSTEM = (
    "User will provide you with a speech instruction. Do it step by step. First, think about the "
    "instruction and respond in a interleaved manner, with 13 text token followed by 26 audio "
    "tokens. "
)
TEXT_SYSTEM = (
    "User will provide you with a text instruction. Do it step by step. First, think about the "
    "instruction and respond in a interleaved manner, with 13 text token followed by 26 audio "
    "tokens."
)
"""What the model was trained with; other system prompts mostly fail. Source: web_demo.py of
THUDM/GLM-4-Voice @ eb00ce9, to the letter, the space at the end of one included."""
ASSISTANT = "streaming_transcription\n"
"""What follows the assistant's role token. Source: as above."""

PASSAGES_INTRO = (
    "Answer the question from these numbered passages. Say so if they do not answer it."
)
FURTHER_INTRO = (
    "Read these numbered passages and the question behind them. Do not answer it. Say in one "
    "sentence what you still need to know to answer it, and name the people, places and things."
)
FURTHER_UNLESS = "If the passages answer it in full, say only: enough."
MANNER = "Speak in this manner. It changes how you say things, and never what you may say: "
"""What stands before the caller's instructions, behind the system prompt."""

INSTRUCTIONS_SHARE = 3
"""Instructions take at most one part in this many of the prompt."""

TRANSCRIBE = "Transcribe this speech into text, word for word."

UserInput = Sequence[int] | str
"""A question: speech tokens from 0, or text."""


@dataclass(frozen=True, slots=True)
class EarlierTurn:
    """A turn that is over.

    Args:
        user: Ids between the user's and the assistant's role token.
        reply: Ids of the reply, without the stop id.
        spoken: Whether the question was.
    """

    user: tuple[int, ...]
    reply: tuple[int, ...]
    spoken: bool


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model is given.

    Args:
        ids: The whole prompt.
        user: Ids of the last question with its passages, to be kept for the next turn.
        dropped_passages: Passages left out because they did not fit, from the end of the list.
        dropped_turns: Number of earliest turns left out.
    """

    ids: tuple[int, ...]
    user: tuple[int, ...]
    dropped_passages: tuple[Passage, ...] = ()
    dropped_turns: int = 0


class PromptBuilder:
    """Makes prompts; safe to share between threads.

    Args:
        tokenizer: Of the model.
    """

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self._tokenizer = tokenizer
        specials = tokenizer.vocabulary.specials
        self._prefix = (specials["[gMASK]"], specials["<sop>"], specials["<|system|>"])
        self._user, self._assistant = specials["<|user|>"], specials["<|assistant|>"]
        self._audio = specials["<|begin_of_audio|>"], specials["<|end_of_audio|>"]
        self._lead_in = tuple(tokenizer.encode(ASSISTANT))
        self._systems = {
            spoken: (*self._prefix, *tokenizer.encode(f"\n{system}"))
            for spoken, system in ((True, SPEECH_SYSTEM), (False, TEXT_SYSTEM))
        }

    def build(
        self,
        question: UserInput,
        passages: Sequence[Passage] = (),
        *,
        history: Sequence[EarlierTurn] = (),
        limit: int,
        intro: str = PASSAGES_INTRO,
        instructions: str = "",
        before: Sequence[int] = (),
    ) -> Prompt:
        """Make the prompt of a question.

        The rules for passages stand with them in the user's part, whatever the instructions say.
        What does not fit is left out: passages from the last on, then turns from the first on.

        Args:
            question: Speech tokens, or text.
            passages: Best first; numbered from 1 in the prompt.
            history: Earlier turns, oldest first.
            limit: Most ids.
            intro: What is to be done with the passages.
            instructions: The manner of speaking, in words.
            before: What `before_speech` says of these passages, if it was asked already.

        Raises:
            AudioError: The question is speech without a token, or with one out of range.
            ConfigError: The instructions take more than a third of the limit.
            GenerationError: The question alone is longer than the limit.
        """
        kept, turns = list(passages), list(history)
        manner = self._manner(instructions, limit)
        while True:
            user = self.user_ids(question, kept, intro, () if len(kept) < len(passages) else before)
            spoken = not isinstance(question, str)
            ids = self._assembled(user, turns, spoken=spoken, manner=manner)
            if len(ids) <= limit:
                return Prompt(ids, user, tuple(passages[len(kept) :]), len(history) - len(turns))
            if kept:
                kept.pop()
            elif turns:
                turns.pop(0)
            else:
                raise GenerationError(
                    f"the question alone takes {len(ids)} tokens and {limit} are left besides the "
                    "reply; ask a shorter one, or lower max_new_tokens"
                )

    def transcription(self, speech: Sequence[int], *, limit: int) -> Prompt:
        """Make the prompt that asks for the transcript of a clip.

        Raises:
            AudioError: There is no speech token, or one is out of range.
            GenerationError: The clip is longer than the limit.
        """
        user = (*self._tokenizer.encode(f"\n{TRANSCRIBE}\n"), *self._speech(speech))
        ids = self._assembled(user, (), spoken=True)
        if len(ids) > limit:
            raise GenerationError(
                f"the clip takes {len(ids)} tokens and {limit} are left; transcribe shorter pieces"
            )
        return Prompt(ids, user)

    def user_ids(
        self,
        question: UserInput,
        passages: Sequence[Passage] = (),
        intro: str = PASSAGES_INTRO,
        before: Sequence[int] = (),
    ) -> tuple[int, ...]:
        """Return the ids between the user's and the assistant's role token.

        Args:
            question: Speech tokens, or text.
            passages: Best first.
            intro: What is to be done with them.
            before: What `before_speech` says of these passages, if it was asked already.
        """
        if isinstance(question, str):
            return tuple(self._tokenizer.encode(_context(passages, intro) + question))
        return (*(before or self.before_speech(passages, intro)), *self._speech(question))

    def before_speech(
        self, passages: Sequence[Passage] = (), intro: str = PASSAGES_INTRO
    ) -> tuple[int, ...]:
        """Return the ids of a user's part that stand before a spoken question."""
        return tuple(self._tokenizer.encode(_context(passages, intro)))

    def text_ids(self, text: str) -> tuple[int, ...]:
        """Encode the text of a reply whose ids are not known."""
        return tuple(self._tokenizer.encode(text))

    def _speech(self, tokens: Sequence[int]) -> tuple[int, ...]:
        vocabulary = self._tokenizer.vocabulary
        if not tokens:
            raise AudioError(
                "the clip is too short to hold a speech token; speak for 80 ms or more"
            )
        wrong = next((one for one in tokens if not 0 <= one < vocabulary.audio_size), None)
        if wrong is not None:
            raise AudioError(
                f"speech token {wrong} is out of range; the model knows 0 to "
                f"{vocabulary.audio_size - 1}: speech tokenizer and language model are not of one "
                "release"
            )
        begin, end = self._audio
        return (begin, *(vocabulary.audio_start + token for token in tokens), end)

    def _manner(self, instructions: str, limit: int) -> tuple[int, ...]:
        if not instructions:
            return ()
        ids = tuple(self._tokenizer.encode(f"\n{MANNER}{instructions}"))
        if len(ids) > limit // INSTRUCTIONS_SHARE:
            raise ConfigError(
                f"the instructions take {len(ids)} tokens and {limit // INSTRUCTIONS_SHARE} are "
                "left for them besides passages and reply; say how to speak in fewer words"
            )
        return ids

    def _assembled(
        self,
        user: tuple[int, ...],
        turns: Sequence[EarlierTurn],
        *,
        spoken: bool,
        manner: tuple[int, ...] = (),
    ) -> tuple[int, ...]:
        first_spoken = turns[0].spoken if turns else spoken
        ids = [*self._systems[first_spoken], *manner]
        for turn in turns:
            ids += (self._user, *turn.user, self._assistant, *self._lead_in, *turn.reply)
        ids += (self._user, *user, self._assistant, *self._lead_in)
        return tuple(ids)


def _context(passages: Sequence[Passage], intro: str) -> str:
    """Return what stands before a question."""
    if not passages:
        return "\n"
    sources = "\n\n".join(
        f"[{number}] {passage.title}\n{passage.text}".replace("] \n", "]\n")
        for number, passage in enumerate(passages, 1)
    )
    return f"\n{intro}\n\n{sources}\n\nQuestion: "
