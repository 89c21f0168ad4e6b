"""Every form in which a question may arrive, and every form that is refused."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.messages.content import create_audio_block
from langchain_core.prompts import ChatPromptTemplate

from voicerag_core import Answer, Audio, AudioError, ConfigError, Turn, to_wav_bytes
from voicerag_integrations.langchain.questions import Asked, read_question

TONE = Audio((0.3 * np.sin(np.arange(8000) / 7)).astype(np.float32), 16_000)
WAV = to_wav_bytes(TONE)
B64 = base64.b64encode(WAV).decode()
BLOCK: Any = create_audio_block(base64=B64, mime_type="audio/wav")


def read(given: Any) -> Asked:
    return read_question(given, max_seconds=30.0)


def near(question: object) -> bool:
    return (
        isinstance(question, Audio)
        and question.sample_rate == 16_000
        and np.allclose(question.samples, TONE.samples, atol=1e-3)
    )


@pytest.mark.parametrize(
    "given",
    [
        WAV,
        bytearray(WAV),
        memoryview(WAV),
        TONE,
        {"type": "audio", "base64": B64, "mime_type": "audio/wav"},
        BLOCK,
        {"type": "audio", "url": f"data:audio/wav;base64,{B64}"},
        HumanMessage([BLOCK]),
        HumanMessage([{"type": "input_audio", "input_audio": {"data": B64, "format": "wav"}}]),
        HumanMessage(
            [{"type": "audio", "source_type": "base64", "data": B64, "mime_type": "audio/wav"}]
        ),
        [HumanMessage([BLOCK])],
        {"question": WAV},
        {"question": {"type": "audio", "base64": B64, "mime_type": "audio/wav"}},
    ],
    ids=lambda given: type(given).__name__,
)
def test_sound_in_every_form_is_the_same_clip(given: Any) -> None:
    assert near(read(given).question)


def test_a_path_is_read_and_a_str_is_words(tmp_path: Path) -> None:
    (tmp_path / "q.wav").write_bytes(WAV)
    assert near(read(tmp_path / "q.wav").question)
    assert read(str(tmp_path / "q.wav")).question == str(tmp_path / "q.wav")


def test_bare_pcm_keeps_its_rate() -> None:
    pcm = base64.b64encode((TONE.samples * 32767).astype("<i2").tobytes()).decode()
    block = {"type": "audio", "base64": pcm, "mime_type": "audio/pcm;rate=8000"}
    question = read(block).question
    assert isinstance(question, Audio)
    assert (question.sample_rate, len(question.samples)) == (8000, 8000)


def test_words_in_every_form() -> None:
    prompt = ChatPromptTemplate.from_messages([("human", "Who made {what}?")])
    for given in (
        "Who made it?",
        HumanMessage("Who made it?"),
        {"type": "text", "text": "Who made it?"},
        prompt.invoke({"what": "it"}),
        {"question": "Who made it?"},
        {"question": [HumanMessage("Who made it?")]},
    ):
        assert read(given).question == "Who made it?"


def test_a_conversation_gives_its_turns() -> None:
    talk = [HumanMessage("A?"), AIMessage("B."), HumanMessage("C?"), AIMessage("D."),
            HumanMessage("E?")]  # fmt: skip
    turns = (Turn("A?", Answer("B.")), Turn("C?", Answer("D.")))
    assert read(talk).question == "E?"
    assert read(talk).history == turns
    assert read({"question": "E?", "history": talk[:-1]}).history == turns
    assert read({"question": "E?", "history": list(turns)}).history == turns


def test_options_come_with_a_dict() -> None:
    asked = read({"question": "E?", "k": 2, "filter": {"a": 1}, "strategy": None})
    assert asked.options == {"k": 2, "filter": {"a": 1}}


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (b"", AudioError, "no bytes"),
        (b"not a sound", AudioError, "cannot be read as audio"),
        (WAV[:200], AudioError, "truncated"),
        (Path("/nowhere/q.wav"), AudioError, "cannot be read"),
        ({"type": "audio", "base64": "?!", "mime_type": "audio/wav"}, AudioError, "base64"),
        ({"type": "audio", "base64": "AAAA", "mime_type": "audio/pcm"},
         AudioError, "names the rate"),
        ({"type": "audio", "base64": "AA==", "mime_type": "audio/pcm;rate=8000"},
         AudioError, "16-bit"),
        ({"type": "audio", "url": "https://example.com/a.wav"}, AudioError, "fetch it yourself"),
        ({"type": "audio", "url": "file:///etc/passwd"}, AudioError, "fetch it yourself"),
        ({"type": "audio", "file_id": "f1"}, AudioError, "holds no sound, only file_id"),
        (HumanMessage([{"type": "image", "url": "https://example.com/a.png"}]),
         ConfigError, "image"),
        (HumanMessage([{"type": "text", "text": "hi"},
                       BLOCK]),
         ConfigError, "either one clip or text"),
        (AIMessage("no question"), ConfigError, "HumanMessage"),
        ([SystemMessage("Be rude."), HumanMessage("Q?")], ConfigError, "instructions itself"),
        ({"query": "Q?"}, ConfigError, "'query'.*has the key 'question'"),
        ({"question": "Q?", "top_k": 3}, ConfigError, "top_k"),
        ({"question": "Q?", "history": "before"}, ConfigError, "history"),
        (3, ConfigError, "int is not a question"),
        (None, ConfigError, "NoneType is not a question"),
        ([], ConfigError, "list is not a question"),
    ],
    ids=lambda given: str(given)[:30],
)  # fmt: skip
def test_what_is_no_question_is_refused(given: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        read(given)


def test_a_clip_that_is_too_long_is_refused() -> None:
    with pytest.raises(AudioError, match=r"a question may last 0\.1 s"):
        read_question(WAV, max_seconds=0.1)


def test_the_schema_takes_what_json_can_hold() -> None:
    from voicerag_integrations.langchain.schemas import VoiceQuestion

    for given in ("Q?", {"type": "audio", "base64": B64, "mime_type": "audio/wav"},
                  {"question": "Q?", "k": 2}):  # fmt: skip
        assert (
            json.loads(VoiceQuestion.model_validate(given).model_dump_json(exclude_unset=True))
            == given
        )
