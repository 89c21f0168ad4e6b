"""What of free instructions the local stack follows, and what it says it does not."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence

import numpy as np
import pytest

from voicerag_core import Answer, Audio, Passage, Sampling, Turn
from voicerag_core.local.model import LocalVoiceModel
from voicerag_core.local.reading.chat import MANNER, ChatMessage, ChatReader
from voicerag_core.local.speaking.answer_speech import spoken_answer
from voicerag_core.local.speaking.manner import PLAIN, Manner, manner_of
from voicerag_core.testing import FakeSpeaker

PASSAGE = Passage("p", "The tower is 48 metres tall. It is old.", {"title": "Tower"})


@pytest.mark.parametrize(
    ("instructions", "pace", "pause"),
    [
        ("", 1.0, 0.0),
        ("Speak slowly.", 0.8, 0.0),
        ("Please speak a bit slower", 0.9, 0.0),
        ("talk very fast!", 1.35, 0.0),
        ("quickly, with short pauses", 1.2, 0.15),
        ("Take your time and make long pauses between sentences.", 0.8, 0.8),
        ("pause for 1.5 seconds after each sentence", 1.0, 1.5),
        ("pauses of 300 ms", 1.0, 0.3),
        ("at 1.5x speed", 1.5, 0.0),
        ("speed 80 %", 0.8, 0.0),
        ("20 % slower", 0.8, 0.0),
        ("twice as fast", 2.0, 0.0),
        ("at half speed", 0.5, 0.0),
        ("100x speed", 2.0, 0.0),
        ("not too fast", 0.9, 0.0),
        ("slowly; no, at a normal pace", 1.0, 0.0),
        ("without pauses", 1.0, 0.0),
        ("pause of 100 seconds", 1.0, 3.0),
        ("Sprich langsam", 0.8, 0.0),
        ("Parlez plus lentement, avec des pauses longues", 0.8, 0.8),
        ("\u8bf7\u8bf4\u5feb\u4e00\u70b9", 1.1, 0.0),
        ("\u8bed\u901f\u5f88\u6162\u3002", 0.65, 0.0),
    ],
)
def test_pace_and_pauses_are_read_out_of_instructions(
    instructions: str, pace: float, pause: float
) -> None:
    manner, others = manner_of(instructions)
    assert manner.pace == pytest.approx(pace)
    assert manner.pause == pytest.approx(pause)
    assert not [one for one in others if one.lower() != "no"]


def test_what_no_local_voice_can_do_is_named() -> None:
    manner, others = manner_of("You are a pirate. Speak slowly, sound sad and use Cantonese.")
    assert manner == Manner(pace=0.8)
    assert others == ("You are a pirate", "sound sad", "use Cantonese")


class Paced(FakeSpeaker):
    def __init__(self) -> None:
        super().__init__()
        self.paces: list[float] = []

    def speak_at(self, text: str, *, pace: float) -> Audio:
        self.paces.append(pace)
        return self.speak(text)


class Quoting:
    def answer(
        self,
        question: str,
        passages: Sequence[Passage],
        *,
        history: Sequence[Turn] = (),
        instructions: str = "",
    ) -> Generator[Answer, None, None]:
        yield Answer("The tower is 48 metres tall. It is old.")


def answered(model: LocalVoiceModel, instructions: str) -> Answer:
    pieces = model.respond(
        "How tall is the tower?",
        [PASSAGE],
        sampling=Sampling(),
        instructions=instructions,
    )
    return sum(pieces, Answer())


def test_the_voice_follows_pace_and_pauses_and_says_what_it_cannot() -> None:
    speaker = Paced()
    answer = answered(LocalVoiceModel(Quoting(), speaker), "fast, pauses of 1 s, be sad")
    assert speaker.paces == [1.2, 1.2]
    assert answer.audio is not None
    usual = answered(LocalVoiceModel(Quoting(), FakeSpeaker()), "").audio
    assert usual is not None
    assert answer.audio.seconds == pytest.approx(usual.seconds + 2.0)
    (note,) = answer.notes
    assert '"be sad"' in note
    assert "pace and pauses" in note


def test_a_voice_of_one_pace_says_so() -> None:
    answer = answered(LocalVoiceModel(Quoting(), FakeSpeaker()), "slowly")
    assert answer.notes == ("This voice cannot change its pace.",)
    assert answered(LocalVoiceModel(Quoting(), Paced()), "slowly").notes == ()
    silent = answered(LocalVoiceModel(Quoting()), "slowly, be sad")
    assert silent.notes == ('Quotes keep their own words; not followed: "be sad".',)


def test_a_chat_model_gets_the_manner_behind_its_rules() -> None:
    seen: list[list[ChatMessage]] = []

    def chat(messages: list[ChatMessage]) -> Iterator[str]:
        seen.append(messages)
        yield "Arr, it is 48 metres tall [1]."

    model = LocalVoiceModel(ChatReader(chat), Paced())
    answer = answered(model, "Talk like a pirate")
    system = seen[0][0]
    assert system.role == "system"
    assert system.content.endswith(MANNER.format(manner="Talk like a pirate"))
    assert "Use only what the sources say" in system.content
    assert "the voice cannot" in answer.notes[0]
    answered(model, "")
    assert "manner" not in seen[1][0].content


def test_spoken_words_are_those_of_the_sound_they_come_with() -> None:
    text = "**The tower** is 48 metres tall. It is [old](https://example.com).\n\n- One\n- Two\n"

    def written() -> Generator[Answer, None, None]:
        for at in range(0, len(text), 7):
            yield Answer(text[at : at + 7])

    speaker = FakeSpeaker()
    pieces = list(spoken_answer(written(), speaker))
    sounds = [piece for piece in pieces if piece.audio is not None]
    assert [piece.spoken.strip() for piece in sounds] == speaker.spoken
    assert all(not piece.spoken for piece in pieces if piece.audio is None)
    answer = sum(pieces, Answer())
    assert answer.spoken == "The tower is 48 metres tall. It is old. One. Two."
    halves = sum(pieces[:5], Answer()) + sum(pieces[5:], Answer())
    assert (halves.spoken, halves.text) == (answer.spoken, answer.text)


def test_a_pause_stands_behind_sentences_and_not_within_them() -> None:
    long = "The tower, which was built of grey stone by a man from the north, is old. It stands."

    def written() -> Generator[Answer, None, None]:
        yield Answer(long)

    pieces = [
        piece
        for piece in spoken_answer(written(), FakeSpeaker(), manner=Manner(pause=0.5))
        if piece.audio is not None
    ]
    assert len(pieces) > 2
    for piece in pieces:
        assert piece.audio is not None
        tail = piece.audio.samples[-piece.audio.sample_rate // 4 :]
        assert (np.abs(tail).max() == 0) == piece.spoken.endswith(".")
    assert Manner(1.0, 0.0) == PLAIN
