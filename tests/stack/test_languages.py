"""What the setting of the language chooses, from one end to the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.local.packed_weights import write_packed
from voicerag_core import (
    Audio,
    ConfigError,
    HearingEmbedder,
    Passage,
    load_settings,
    open_voicerag,
    read_audio,
)
from voicerag_core.errors import CheckpointError, MissingExtraError, StoreError
from voicerag_core.local.multilingual.embedder import WEIGHTS, MultilingualEmbedder
from voicerag_core.local.multilingual.hearing import TranscriptEmbedder
from voicerag_core.local.speaking.speaker import PiperSpeaker
from voicerag_core.local.weights import joining
from voicerag_core.local.weights.files import weight_folder, weight_path
from voicerag_core.local.weights.joining import joined_folder
from voicerag_core.stack.chosen import chosen_speaker, lacks_voice
from voicerag_core.store import PgVectorStore
from voicerag_core.testing import FakeVoiceModel, InMemoryStore
from voicerag_core.types import Transcription

CLIP = Audio(np.zeros(16_000, np.float32) + 0.1, 16_000)


@pytest.fixture
def tiny(tmp_path: Path) -> MultilingualEmbedder:
    write_packed(tmp_path / "tiny.bin")
    return MultilingualEmbedder(1, weights=tmp_path / "tiny.bin")


def test_english_is_as_before(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path)
    assert settings.question_strategy == "adaptive"
    assert settings.collection_language is None
    with open_voicerag(settings, store=InMemoryStore(384)) as rag:
        assert rag.embedder.model_id.startswith("all-MiniLM-L6-v2")
        assert not rag.embedder.needs_transcriber
        assert rag.speaker is not None


@pytest.mark.parametrize("language", ["zh", "de"])
def test_another_language_is_searched_by_words(tmp_path: Path, language: str) -> None:
    settings = load_settings(data_dir=tmp_path, language=language)
    assert settings.question_strategy == "asr"
    with open_voicerag(settings, store=InMemoryStore(384)) as rag:
        assert rag.embedder.model_id.startswith("multilingual-e5-small")
        assert isinstance(rag.embedder, TranscriptEmbedder)
        assert rag.strategy == "asr"
        assert rag.speaker is None


def test_with_any_language_each_question_decides(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path, language="auto")
    assert settings.question_strategy == "adaptive"
    with open_voicerag(settings, store=InMemoryStore(384)) as rag:
        assert rag.embedder.model_id.startswith("multilingual-e5-small")
        assert isinstance(rag.embedder, HearingEmbedder)
        assert rag.strategy == "adaptive"
        assert rag.speaker is not None


@pytest.mark.parametrize("english", [True, False])
def test_only_what_is_surely_english_is_searched_by_its_sound(
    tmp_path: Path, tiny: MultilingualEmbedder, monkeypatch: pytest.MonkeyPatch, english: bool
) -> None:
    monkeypatch.setattr(tiny, "sure_gap", 0.0, raising=False)
    clip = read_audio(Path(__file__).parents[2] / "examples/sample/audio/dev-04.flac")
    if not english:  # backwards, speech is in no language
        clip = Audio(np.ascontiguousarray(clip.samples[::-1]), clip.sample_rate)
    settings = load_settings(data_dir=tmp_path, language="auto", speak=False)
    ears = _Hears(Transcription("Wie hoch ist der Turm", 0.9, "de"))
    with open_voicerag(settings, embedder=tiny, store=InMemoryStore(64), transcriber=ears) as rag:
        rag.index([Passage("a", "Cauchy's inequality")])
        found = rag.retrieve(clip)
    assert (found.transcription is None) == english


@pytest.mark.parametrize("strategy", ["e2e", "adaptive"])
def test_the_sound_of_another_language_is_refused_with_the_reason(
    tmp_path: Path, strategy: str, tiny: MultilingualEmbedder
) -> None:
    settings = load_settings(data_dir=tmp_path, language="zh", strategy=strategy)
    with (
        pytest.raises(ConfigError, match="speech encoder knows English alone, and not Chinese"),
        open_voicerag(settings, store=InMemoryStore(384)),
    ):
        pass
    asked = load_settings(data_dir=tmp_path, language="auto")
    with open_voicerag(asked, embedder=tiny, store=InMemoryStore(64)) as rag:
        rag.index([Passage("a", "塔高。")])
        if strategy == "e2e":
            with pytest.raises(ConfigError, match=r"VOICERAG_LANGUAGE=auto.*'adaptive'"):
                rag.retrieve(CLIP, strategy="e2e")


def test_any_language_cannot_be_searched_by_sound_alone(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path, language="auto", strategy="e2e")
    with (
        pytest.raises(ConfigError, match=r"VOICERAG_LANGUAGE=auto.*'adaptive'"),
        open_voicerag(settings, store=InMemoryStore(384)),
    ):
        pass


@pytest.mark.parametrize(
    ("heard", "said"),
    [
        (Transcription("塔有多高", 0.9, "zh"), "文档没有回答这个问题"),
        (Transcription("Wie hoch ist der Turm", 0.9, "de"), "Deutsch"),
    ],
)
def test_a_spoken_question_is_answered_in_the_language_that_was_heard(
    tmp_path: Path, tiny: MultilingualEmbedder, heard: Transcription, said: str
) -> None:
    settings = load_settings(data_dir=tmp_path, language="auto", speak=False)
    ears = _Hears(heard)
    with open_voicerag(settings, embedder=tiny, store=InMemoryStore(64), transcriber=ears) as rag:
        rag.index([Passage("a", "面包用水做。")])
        answer = rag.ask(CLIP)
    assert not answer.answered
    assert said in answer.text
    assert answer.transcript == heard.text


class _Hears:
    """Hears one thing."""

    def __init__(self, heard: Transcription) -> None:
        self._heard = heard

    def transcribe(self, audio: Audio) -> Transcription:
        return self._heard


def test_a_language_without_a_voice_says_what_to_set(tmp_path: Path) -> None:
    from contextlib import ExitStack

    settings = load_settings(data_dir=tmp_path, language="zh")
    assert lacks_voice(settings)
    with (
        ExitStack() as stack,
        pytest.raises(ConfigError, match=r"voice for Chinese.*VOICERAG_VOICE"),
    ):
        chosen_speaker(settings, stack)


@pytest.mark.parametrize(
    ("told", "language"),
    [
        ('{"language": {"family": "de", "code": "de_DE"}, "espeak": {"voice": "de"}}', "de"),
        ('{"espeak": {"voice": "cmn-latn-pinyin"}}', "zh"),
        ('{"espeak": {"voice": "en-gb-x-rp"}}', "en"),
        ("{}", "fr"),
        ("[]", "fr"),
        ("no JSON", "fr"),
    ],
)
def test_a_piper_voice_reads_figures_in_its_own_language(
    tmp_path: Path, told: str, language: str
) -> None:
    from contextlib import ExitStack

    voice = tmp_path / "voice.onnx"
    voice.write_bytes(b"")
    voice.with_name("voice.onnx.json").write_text(told, "utf-8")
    settings = load_settings(data_dir=tmp_path, language="fr", voice=str(voice))
    with ExitStack() as stack:
        speaker = chosen_speaker(settings, stack)
        assert isinstance(speaker, PiperSpeaker)
        assert speaker.language == language


def test_a_collection_keeps_the_language_of_its_words(dsn: str, tenant: str) -> None:
    def opened(language: str | None) -> PgVectorStore:
        return PgVectorStore.open(
            dsn, collection="words", tenant=tenant, model_id="t", dim=2, language=language
        )

    with opened("german") as store:
        store.add([Passage("a", "Die Häuser stehen leer.")], np.eye(2, dtype=np.float32)[:1])
        assert [hit.passage.id for hit in store.search(None, text="Haus", limit=1)] == ["a"]
    with opened(None) as store:
        assert store.count() == 1
    with pytest.raises(StoreError, match=r"indexed as 'german', and 'english' is asked for"):
        opened("english")


def test_halves_are_put_together_once_and_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hashlib

    first, second = tmp_path / "one", tmp_path / "two"
    first.mkdir()
    second.mkdir()
    (first / "model.bin.part1").write_bytes(b"abc")
    (first / "config.json").write_text("{}")
    (second / "model.bin.part2").write_bytes(b"def")
    monkeypatch.setattr(
        joining, "weight_folder", lambda name, data_dir: first if name.endswith("1") else second
    )
    monkeypatch.setattr(joining, "_SIZE", 6)
    with pytest.raises(CheckpointError, match="halves of Whisper base give SHA-256"):
        joined_folder(tmp_path / "data")
    assert not list((tmp_path / "data").rglob("model*"))
    monkeypatch.setattr(joining, "_SHA256", hashlib.sha256(b"abcdef").hexdigest())
    folder = joined_folder(tmp_path / "data")
    assert (folder / "model.bin").read_bytes() == b"abcdef"
    assert (folder / "config.json").read_text() == "{}"
    written = (folder / "model.bin").stat().st_mtime_ns
    assert joined_folder(tmp_path / "data") == folder
    assert (folder / "model.bin").stat().st_mtime_ns == written


def test_chinese_is_indexed_and_asked_from_wheels_alone(tmp_path: Path) -> None:
    try:
        weight_path(WEIGHTS)
    except (MissingExtraError, CheckpointError):
        pytest.skip("the extra 'multilingual' is not installed")
    passages = [
        Passage("t", "铁塔位于巴黎。它高330米。铁塔建于1889年。", {"title": "铁塔"}),
        Passage("b", "面包用面粉、水和盐制作。烘烤需要四十分钟。", {"title": "面包"}),
    ]
    settings = load_settings(data_dir=tmp_path, language="auto", speak=False)
    with open_voicerag(settings, store=InMemoryStore(384)) as rag:
        rag.index(passages)
        assert rag.ask("铁塔是哪一年建成的？").text == "铁塔建于1889年。"
        assert rag.retrieve("How long is bread baked?").hits[0].passage.id == "b"


def test_english_speech_is_heard_by_the_multilingual_recogniser(tmp_path: Path) -> None:
    from voicerag_core.local.hearing.whisper import WhisperTranscriber

    try:
        weight_folder("whisper-base-part1")
        weight_folder("whisper-base-part2")
    except (MissingExtraError, CheckpointError):
        pytest.skip("the extra 'multilingual' is not installed")
    clip = read_audio(Path(__file__).parents[2] / "examples/sample/audio/dev-04.flac")
    transcriber = WhisperTranscriber(multilingual=True, language=None, data_dir=tmp_path)
    heard = transcriber.transcribe(clip)
    transcriber.close()
    assert heard.language == "en"
    assert "inequality" in heard.text


@pytest.mark.parametrize("question", ["塔高", "a b"])
def test_glm_finds_passages_in_chinese_and_english(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: MultilingualEmbedder, question: str
) -> None:
    monkeypatch.setattr("voicerag_core.stack.parts.open_glm_voice", lambda *_: FakeVoiceModel())
    monkeypatch.setattr("voicerag_core.stack.parts.chosen_text_embedder", lambda *_: tiny)
    settings = load_settings(data_dir=tmp_path, language="auto", stack="glm")
    with open_voicerag(settings, store=InMemoryStore(64)) as rag:
        rag.index([Passage("zh", "塔高 塔高"), Passage("en", "a b a b")])
        answer = rag.ask(question)
    assert answer.hits[0].passage.id == ("zh" if question == "塔高" else "en")
    assert answer.text
