"""Several GLM-4-Voices behind one: each question goes to the one with the least to do."""

from __future__ import annotations

import copy
import threading
import weakref
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from queue import SimpleQueue
from typing import Any

from voicerag_core.closing import Closing
from voicerag_core.errors import CancelledError, ConfigError, ModelError
from voicerag_core.glm.recent_replies import RecentReplies
from voicerag_core.glm.replicas.beats import HANG_SECONDS
from voicerag_core.glm.replicas.process import Loader, LostError
from voicerag_core.glm.replicas.replica import Replica
from voicerag_core.types import (
    Answer,
    Audio,
    Passage,
    Question,
    Sampling,
    Transcription,
    Turn,
)

__all__ = ["ReplicatedGLMVoice"]


class ReplicatedGLMVoice(Closing):
    """GLM-4-Voice on several devices, each with all its networks in a process of its own.

    Safe to share between threads, not with a fork. A question goes to the replica that runs the
    fewest calls; a conversation stays with the one that spoke its last reply. When a process ends
    or hangs, or its device fails, the replica is out of service until it has been started again,
    which goes on in the background; questions that it had not begun to answer go to another one,
    once each, and the other calls end with an error.

    An error that is not of voicerag's error tree comes as a `ModelError` with its text; the
    traceback of the process is the cause.

    Args:
        loaders: What loads the voice in each process, of the same checkpoint; by device.
        names: The devices, for messages; "cuda:1" is made the current one of its process.
        hangs_after: Seconds without a sign of life of a process, or without work on its calls,
            after which it is ended, since it hangs; ten times as many while it loads and warms, and
            without work until it has answered a call.

    Raises:
        ConfigError: There is no loader, or not a name for each.
        CheckpointError: A tree is missing or damaged.
        ModelError: A device has too little memory, or a process ended or hung while it loaded.
    """

    def __init__(
        self,
        loaders: Sequence[Loader],
        names: Sequence[str],
        *,
        hangs_after: float = HANG_SECONDS,
    ) -> None:
        if not loaders or len(loaders) != len(names):
            raise ConfigError(
                f"give a name for each replica: {len(loaders)} and {len(names)} given"
            )
        self._pool = _Pool(loaders, names, hangs_after)
        self._speaks = True

    def silent(self) -> ReplicatedGLMVoice:
        """Return the same replicas without their decoders; the processes are shared."""
        made = copy.copy(self)
        made._speaks = False
        return made

    def close(self) -> None:
        """End the processes, also for `silent` ones; calls that run end with an error."""
        self._pool.close()

    def warm(self) -> None:
        """Prepare now, on all devices at once, what the first replies would wait for."""
        self._pool.on_all(Replica.warm)

    @property
    def capacity(self) -> int:
        """Most answers at a time, of the replicas in service."""
        return sum(one.process.capacity for one in self._pool.in_service())

    @property
    def running(self) -> int:
        """Answers that are being written; a quarter of a second old at most."""
        return sum(one.process.running for one in self._pool.in_service())

    @property
    def waiting(self) -> int:
        """Questions that wait for their turn; a quarter of a second old at most."""
        return sum(one.process.waiting for one in self._pool.in_service())

    @property
    def out_of_service(self) -> tuple[str, ...]:
        """Devices that failed, and how."""
        return self._pool.out_of_service

    @property
    def end_token(self) -> int:
        """See `GLMVoice.end_token`."""
        return self._pool.replicas[0].process.end_token

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
        """See `GLMVoice.respond`. Closing it waits 0.2 s at most until the reply has stopped."""
        del transcript
        said: list[str] = []

        def spoke(replica: Replica) -> None:
            self._pool.spoken.keep(question, "".join(said), replica)

        pieces = self._pool.streamed(
            "respond",
            question,
            _plain(passages),
            sampling=sampling,
            history=[_bare(turn) for turn in history],
            instructions=instructions,
            speaks=self._speaks,
            last=history[-1] if history else None,
            spoke=spoke,
        )
        with closing(pieces):
            for piece in pieces:
                said.append(piece.text)
                yield piece

    def tokens(self, prompt: str, *, sampling: Sampling) -> Generator[int, None, None]:
        """See `GLMVoice.tokens`."""
        yield from self._pool.streamed("tokens", prompt, sampling=sampling, speaks=self._speaks)

    def cut(self, turn: Turn, heard: Turn, *, seconds: float) -> None:
        """Remember of a reply only what was heard; see `RemembersReplies.cut`."""
        replica = self._pool.spoken.find(turn)
        if replica is not None:
            self._pool.spoken.keep(turn.question, heard.answer.text, replica)
            replica.process.cut(_bare(turn), _bare(heard), seconds=seconds)

    def transcribe(self, audio: Audio) -> Transcription:
        """See `GLMVoice.transcribe`."""
        heard: Transcription = self._pool.called("transcribe", audio)
        return heard

    def further_query(
        self,
        question: Question,
        passages: Sequence[Passage],
        *,
        transcript: Transcription | None = None,
        only_unsure: bool = False,
    ) -> str | None:
        """See `GLMVoice.further_query`."""
        del transcript
        wanted: str | None = self._pool.called(
            "further_query", question, _plain(passages), only_unsure=only_unsure
        )
        return wanted


class _Pool(Closing):
    """The replicas, and the choice among them.

    Args:
        loaders: As of `ReplicatedGLMVoice`.
        names: As of `ReplicatedGLMVoice`.
        hangs_after: As of `ReplicatedGLMVoice`.
    """

    def __init__(self, loaders: Sequence[Loader], names: Sequence[str], hangs_after: float) -> None:
        self.replicas: list[Replica] = []
        self._lock = threading.Lock()
        self.spoken: RecentReplies[Replica] = RecentReplies(len(loaders))
        self._end = weakref.finalize(self, _close_all, self.replicas)
        try:
            for name, loader in zip(names, loaders, strict=True):
                self.replicas.append(Replica(name, loader, hangs_after=hangs_after))
            self.on_all(Replica.wait)
        except BaseException:
            self.close()
            raise

    @property
    def out_of_service(self) -> tuple[str, ...]:
        """Devices that failed, and how."""
        broken = [(one.name, one.broken) for one in self.replicas]
        return tuple(f"{name}: {why}" for name, why in broken if why)

    def close(self) -> None:
        """End the processes."""
        self._end()

    def in_service(self) -> list[Replica]:
        """Return the replicas that work."""
        return [one for one in self.replicas if one.broken is None]

    def on_all(self, call: Callable[[Replica], None]) -> None:
        """Do something with all replicas at once.

        Raises:
            ModelError: A process ended meanwhile.
            VoiceRAGError: What the first one raised; the others are not waited for.
        """
        results: SimpleQueue[BaseException | None] = SimpleQueue()

        def one(replica: Replica) -> None:
            try:
                call(replica)
            except LostError as error:
                results.put(ModelError(f"{replica.name}: {error}"))
            except BaseException as error:  # noqa: BLE001 - raised below
                results.put(error)
            else:
                results.put(None)

        for replica in self.replicas:
            threading.Thread(target=one, args=(replica,), daemon=True).start()
        for _ in self.replicas:
            error = results.get()
            if error is not None:
                raise error

    def called(self, method: str, *args: object, **named: object) -> Any:  # noqa: ANN401
        """Return what a replica returns; another one's if it is lost."""
        tried: list[Replica] = []
        while True:
            with self._chosen(tried) as replica:
                try:
                    value = replica.process.call(method, *args, **named)
                except LostError:
                    continue
                replica.answered()
                return value

    def streamed(
        self,
        method: str,
        *args: object,
        last: Turn | None = None,
        spoke: Callable[[Replica], None] | None = None,
        **named: Any,  # noqa: ANN401
    ) -> Generator[Any, None, None]:
        """Yield what a replica yields; another one's if it is lost before the first piece.

        Args:
            method: Of the voice.
            args: Of the method.
            last: The latest turn of the history; whoever spoke it is asked.
            spoke: Called with the replica whose stream ended, or was left, unless it was lost.
            named: Of the method.
        """
        tried: list[Replica] = []
        while True:
            begun = False
            with self._chosen(tried, last) as replica:
                try:
                    with closing(replica.process.stream(method, *args, **named)) as pieces:
                        for piece in pieces:
                            begun = True
                            yield piece
                    replica.answered()
                except LostError as error:
                    if begun:
                        raise ModelError(
                            f"{replica.name} failed in the middle of the answer ({error}); ask "
                            "again"
                        ) from error
                    continue
                except (GeneratorExit, CancelledError):
                    _say(spoke, replica)
                    raise
                _say(spoke, replica)
                return

    @contextmanager
    def _chosen(self, tried: list[Replica], last: Turn | None = None) -> Iterator[Replica]:
        """Choose a replica that was not tried, and count the call of the block as its own.

        Raises:
            ModelError: There is none.
        """
        known = None if last is None else self.spoken.find(last)
        with self._lock:
            able = [one for one in self.in_service() if one not in tried]
            if not able:
                raise ModelError(self._why_none(tried))
            replica = known if known in able else min(able, key=lambda one: one.active)
            assert replica is not None
            replica.active += 1
        tried.append(replica)
        try:
            yield replica
        finally:
            with self._lock:
                replica.active -= 1

    def _why_none(self, tried: Sequence[Replica]) -> str:
        if self._end.alive is False:
            return "the voice was closed; open it again"
        if tried:
            return (
                f"{' and '.join(one.name for one in tried)} failed with this question, and no "
                "other replica is in service; look into the log"
            )
        return (
            f"every replica is out of service ({'; '.join(self.out_of_service)}); they are started "
            "again: ask later, and look into the log"
        )


def _say(spoke: Callable[[Replica], None] | None, replica: Replica) -> None:
    if spoke is not None:
        spoke(replica)


def _close_all(replicas: Sequence[Replica]) -> None:
    for replica in replicas:
        replica.close()


def _bare(turn: Turn) -> Turn:
    """Return what a replica needs of a turn."""
    return Turn(turn.question, Answer(turn.answer.text))


def _plain(passages: Sequence[Passage]) -> list[Passage]:
    """Return passages whose metadata can be sent, whatever kind of mapping it is."""
    return [Passage(one.id, one.text, dict(one.metadata)) for one in passages]
