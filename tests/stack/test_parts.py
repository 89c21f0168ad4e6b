"""What the maker of each stack makes, what it leaves alone, and what it leaves behind."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest

from voicerag_core import (
    Answer,
    Audio,
    ConfigError,
    Passage,
    Sampling,
    Settings,
    load_settings,
)
from voicerag_core.local.hearing.whisper import WhisperTranscriber
from voicerag_core.local.reading import reader
from voicerag_core.local.speaking.speaker import PiperSpeaker
from voicerag_core.stack import OpenedVoiceRAG, Parts, open_parts, open_voicerag
from voicerag_core.stack.late import LateVoice
from voicerag_core.testing import (
    FakeEmbedder,
    FakeSpeaker,
    FakeTranscriber,
    FakeVoiceModel,
    InMemoryStore,
)

if TYPE_CHECKING:
    from voicerag_core.glm.voice import GLMVoice

LOADED = """
import json, sys
from voicerag_core import load_settings, open_voicerag
with open_voicerag(load_settings(data_dir=sys.argv[1], stack=sys.argv[2])) as rag:
    print(json.dumps([type(rag.transcriber).__name__, sorted(sys.modules)]))
"""


def opened(folder: Path, stack: str) -> tuple[str, set[str]]:
    """Open a stack in a process of its own: its transcriber, and the modules it loaded."""
    output = subprocess.check_output([sys.executable, "-c", LOADED, str(folder), stack])
    transcriber, modules = json.loads(output)
    return transcriber, {name for name in modules if name.startswith("voicerag_core.")}


def test_the_glm_stack_makes_no_local_reader_voice_or_recogniser(tmp_path: Path) -> None:
    transcriber, modules = opened(tmp_path, "glm")
    assert transcriber == "LateVoice"
    unwanted = (
        "voicerag_core.local.model",
        "voicerag_core.local.reading",
        "voicerag_core.local.speaking",
        "voicerag_core.local.hearing.whisper",
        "voicerag_core.sonar",
        "voicerag_core.store",
    )
    assert not {name for name in modules if name.startswith(unwanted)}
    assert "voicerag_core.local.embedder" in modules


def test_the_local_stack_knows_nothing_of_the_others(tmp_path: Path) -> None:
    transcriber, modules = opened(tmp_path, "local")
    assert transcriber == "WhisperTranscriber"
    assert not {name for name in modules if name.startswith(("voicerag_core.glm.", "torch"))}
    assert "voicerag_core.local.reading.reader" in modules


def settings(folder: Path, **values: Any) -> Settings:
    return load_settings(data_dir=folder, **values)


@pytest.mark.parametrize(
    ("stack", "chosen", "made"),
    [
        ("local", None, "WhisperTranscriber"),
        ("local", "sonar", "SonarTranscriber"),
        ("glm", None, "LateVoice"),
        ("glm", "glm", "LateVoice"),
        ("glm", "local", "WhisperTranscriber"),
    ],
)
def test_the_transcriber_suits_the_stack_or_is_the_one_asked_for(
    tmp_path: Path, stack: str, chosen: str | None, made: str
) -> None:
    if chosen == "sonar":
        pytest.importorskip("torch")
    with open_parts(settings(tmp_path, stack=stack, transcriber=chosen)) as parts:
        assert type(parts.transcriber).__name__ == made
        shared: object = parts.model
        assert (parts.transcriber is shared) == (made == "LateVoice")
        assert ("transcriber" in parts.loads) == (made != "LateVoice")
        assert ("model" in parts.loads) == (stack == "glm")
        assert ("reader" in parts.loads) == (stack == "local")


def test_glm_hears_in_its_own_stack_alone(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigError, match="VOICERAG_STACK=glm"),
        open_parts(settings(tmp_path, transcriber="glm")),
    ):
        pass


def test_a_chat_model_answers_in_the_local_stack_alone(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigError, match="of the stack 'local', not of 'glm'"),
        open_voicerag(settings(tmp_path, stack="glm"), chat=lambda messages: "x"),
    ):
        pass
    with open_parts(settings(tmp_path), chat=lambda messages: "Yes [1].") as parts:
        assert "reader" not in parts.loads


def test_a_small_chat_model_rewords_what_the_reader_quotes(tmp_path: Path) -> None:
    passages = [Passage("a", "The tower was built in 1642 by Anna Beck.", {"title": "Tower"})]
    wanted = settings(tmp_path, speak=False, chat_rewords=True)
    for reply, text in (
        ("Anna Beck built the tower in 1642.", "Anna Beck built the tower in 1642."),
        ("Anna Beck built the tower in 1650.", "The tower was built in 1642 by Anna Beck."),
    ):
        with open_parts(wanted, chat=lambda messages, reply=reply: reply) as parts:  # type: ignore[misc]
            assert "reader" in parts.loads
            pieces = parts.model.respond("Who built the tower?", passages, sampling=Sampling())
            assert sum(pieces, Answer()).text == text


def test_glm_is_loaded_once_and_its_text_model_shares_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Voice(FakeVoiceModel):
        made = 0

        def __init__(self, *, speaks: bool = True) -> None:
            super().__init__(speaks=speaks)
            Voice.made += 1

        def silent(self) -> FakeVoiceModel:
            return FakeVoiceModel(speaks=False)

    monkeypatch.setattr("voicerag_core.stack.parts.open_glm_voice", lambda *_: Voice())
    passages = [Passage("a", "The Rhine rises in the Alps.")]
    with open_parts(settings(tmp_path, stack="glm")) as made:
        assert Voice.made == 0
        store = InMemoryStore(FakeEmbedder().dim)
        parts = Parts(FakeEmbedder(), made.model, made.text_model)
        for speak in (True, False):
            rag = OpenedVoiceRAG(parts, store, settings(tmp_path, stack="glm"), speak=speak)
            rag.index(passages)
            answer = rag.ask("Where does the Rhine rise?")
            assert answer.text == "The Rhine rises in the Alps."
            assert (answer.audio is not None) is speak
        assert Voice.made == 1


class BrokenPartError(Exception):
    """A part that cannot be made."""


def test_a_part_that_cannot_be_made_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[type] = []
    for kind in (WhisperTranscriber, PiperSpeaker):
        monkeypatch.setattr(kind, "close", lambda self: closed.append(type(self)))

    def fail(*_: object, **__: object) -> None:
        raise BrokenPartError

    threads = threading.active_count()
    monkeypatch.setattr("voicerag_core.local.model.LocalVoiceModel.__init__", fail)
    with pytest.raises(BrokenPartError), open_voicerag(settings(tmp_path)):
        pass
    assert closed == [PiperSpeaker, WhisperTranscriber], "each once, the last one first"
    closed.clear()
    monkeypatch.setattr(reader.Reader, "__init__", fail)
    with pytest.raises(BrokenPartError), open_voicerag(settings(tmp_path)):
        pass
    assert closed == [WhisperTranscriber]
    assert threading.active_count() == threads
    assert list(tmp_path.iterdir()) == []


def test_parts_may_serve_several_collections(tmp_path: Path) -> None:
    embedder, speaker = FakeEmbedder(), FakeSpeaker()
    warmed: list[str] = []
    parts = Parts(
        embedder,
        FakeVoiceModel(),
        FakeVoiceModel(speaks=False),
        None,
        speaker,
        {
            "embedder": lambda: warmed.append("embedder"),
            "speaker": lambda: warmed.append("speaker"),
        },
    )
    chosen = settings(tmp_path, limit=1, strategy="e2e")
    stores = [InMemoryStore(embedder.dim), InMemoryStore(embedder.dim)]
    rivers, gases = (OpenedVoiceRAG(parts, store, chosen) for store in stores)
    rivers.index([Passage("rhine", "The Rhine rises in the Alps."), Passage("x", "The Elbe.")])
    gases.index([Passage("oxygen", "Oxygen is a gas.")])
    answers = [rag.ask("What is it?") for rag in (rivers, gases)]
    assert [len(answer.hits) for answer in answers] == [1, 1]
    assert answers[1].hits[0].passage.id == "oxygen"
    assert rivers.speaker is gases.speaker is speaker
    rivers.warm(speech=False)
    assert warmed == ["embedder"]
    rivers.warm(models=False)
    assert warmed == ["embedder"]


def test_a_late_voice_transcribes_too() -> None:
    heard = FakeTranscriber(otherwise="the rhine")
    voice = LateVoice(lambda: cast("GLMVoice", heard))
    clip = Audio(np.full(16_000, 0.1, np.float32), 16_000)
    assert voice.transcribe(clip).text == "the rhine"
