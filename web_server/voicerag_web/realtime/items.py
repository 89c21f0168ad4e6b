"""The items of a conversation: what was said by whom, in order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol, TypeAlias

from voicerag_core import Answer, Audio, Question, Turn
from voicerag_web.errors import RequestError

__all__ = ["Content", "Exchange", "Item", "Items"]

MOST_TURNS: Final = 20
"""Turns that are remembered as they were, with their sound; of older ones only the words are."""

Role: TypeAlias = Literal["user", "assistant", "system"]
Kind: TypeAlias = Literal["input_text", "input_audio", "output_text", "output_audio"]
Status: TypeAlias = Literal["completed", "incomplete", "in_progress"]


class Exchange(Protocol):
    """A question of the conversation and its answer, as the core keeps them."""

    @property
    def turn(self) -> Turn | None:
        """Both, the answer as far as it was heard; None before its first piece."""
        ...

    def truncate(self, seconds: float) -> Turn | None:
        """Keep of the answer only what was heard."""
        ...


@dataclass(slots=True)
class Content:
    """A part of an item.

    Args:
        kind: What it is.
        text: Its words; of sound, its transcript.
        audio: The sound of a question, until it is answered.
        audio_ms: Milliseconds of sound that were sent of an answer.
    """

    kind: Kind
    text: str = ""
    audio: Audio | None = None
    known: bool = True
    audio_ms: int = 0

    def described(self) -> dict[str, object]:
        """Return it as clients know it; sound is not sent back."""
        if self.kind in {"input_audio", "output_audio"}:
            return {"type": self.kind, "transcript": self.text if self.known else None}
        return {"type": self.kind, "text": self.text}


@dataclass(slots=True, eq=False)
class Item:
    """A message, or the output of a function.

    Args:
        id: Unique in the conversation.
        role: Who said it.
        content: What was said.
        status: Whether it is complete.
        exchange: Question and answer, of an answer of this server.
        output: Of the output of a function: call id and text.
        failed: Whether nothing was heard in its sound.
    """

    id: str
    role: Role
    content: list[Content] = field(default_factory=list)
    status: Status = "completed"
    exchange: Exchange | None = None
    output: tuple[str, str] | None = None
    failed: bool = False

    def described(self) -> dict[str, object]:
        """Return it as clients know it."""
        head: dict[str, object] = {
            "id": self.id,
            "object": "realtime.item",
            "status": self.status,
        }
        if self.output is not None:
            call_id, text = self.output
            return {**head, "type": "function_call_output", "call_id": call_id, "output": text}
        return {
            **head,
            "type": "message",
            "role": self.role,
            "content": [part.described() for part in self.content],
        }

    @property
    def text(self) -> str:
        """Its words."""
        return "\n".join(part.text for part in self.content if part.text)

    @property
    def question(self) -> Question | None:
        """The question that it asks, by its sound if it has any."""
        for part in self.content:
            if part.kind == "input_audio" and part.audio is not None:
                return part.audio
        return self.text.strip() or None


class Items:
    """The items in their order.

    Args:
        most: Items that are kept; the oldest ones make room.
    """

    def __init__(self, most: int = 200) -> None:
        self._most = most
        self._items: list[Item] = []

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def get(self, name: str) -> Item:
        """Return an item.

        Raises:
            RequestError: There is none of this id.
        """
        for item in self._items:
            if item.id == name:
                return item
        raise RequestError(
            f"the conversation has no item {name[:64]!r}", "item_id", "item_not_found"
        )

    def add(self, item: Item, after: str | None = None) -> str | None:
        """Insert an item; return the id of the one before it.

        Args:
            item: The item.
            after: Id of the item before it; "root" puts it first, None last.

        Raises:
            RequestError: Its id is taken, or there is no item `after`.
        """
        if any(known.id == item.id for known in self._items):
            raise RequestError(
                f"the conversation has an item {item.id[:64]!r} already", "item.id", "duplicate_id"
            )
        place = len(self._items)
        if after == "root":
            place = 0
        elif after is not None:
            place = self._items.index(self.get(after)) + 1
        self._items.insert(place, item)
        before = self._items[place - 1].id if place else None
        del self._items[: -self._most]
        answers = [known for known in self._items if known.exchange is not None]
        for old in answers[:-MOST_TURNS]:
            old.exchange = None  # it holds the sound of its question; the words stay
        return before

    def remove(self, name: str) -> None:
        """Delete an item.

        Raises:
            RequestError: There is none of this id.
        """
        self._items.remove(self.get(name))

    def discard(self, item: Item) -> None:
        """Delete an item, if it is there."""
        if item in self._items:
            self._items.remove(item)

    def last_question(self) -> Item | None:
        """Return the last thing that the user said."""
        users = [item for item in self._items if item.role == "user" and item.output is None]
        return users[-1] if users else None

    def turns(self, before: Item | None = None) -> tuple[Turn, ...]:
        """Pair questions with their answers, oldest first.

        Args:
            before: Only what comes before this item.
        """
        turns: list[Turn] = []
        asked: Item | None = None
        for item in self._items:
            if item is before:
                break
            if item.role == "user" and item.output is None:
                asked = item
            elif item.role == "assistant" and item.exchange is not None:
                if item.exchange.turn is not None:
                    turns.append(item.exchange.turn)
                asked = None
            elif item.role == "assistant" and asked is not None:
                turns.append(Turn(asked.text or "(a spoken question)", Answer(item.text)))
                asked = None
        return tuple(turns)

    def instructions(self) -> list[str]:
        """Return what system messages say."""
        return [item.text for item in self._items if item.role == "system" and item.text]
