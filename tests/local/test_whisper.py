"""Speech recognition with the real model."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.waiting import PATIENCE
from voicerag_core.audio import read_audio, resample
from voicerag_core.cancellation import Cancellation
from voicerag_core.errors import (
    AudioError,
    CancelledError,
    CheckpointError,
    ConfigError,
    ModelError,
)
from voicerag_core.local.hearing import whisper as whisper_module
from voicerag_core.local.hearing import whisper_network as network_module
from voicerag_core.local.hearing.ctc_recognizer import CTCRecognizer
from voicerag_core.local.hearing.whisper import Recognition, WhisperTranscriber
from voicerag_core.local.hearing.windows import windows_of
from voicerag_core.local.speaking.speaker import PiperSpeaker
from voicerag_core.testing.speech import FakeTranscriber, TranscriberContract
from voicerag_core.types import Audio, Vocabulary

RATE = 16_000
SHARED = Path(__file__).parents[3] / "shared" / "data"
QUESTION = "Which player was criticized for not jumping into the pile to recover the ball?"


@pytest.fixture(scope="module")
def whisper() -> WhisperTranscriber:
    transcriber = WhisperTranscriber()
    transcriber.warm()
    return transcriber


@pytest.fixture(scope="module")
def speaker() -> Iterator[PiperSpeaker]:
    with PiperSpeaker() as opened:
        yield opened


@pytest.fixture(scope="module")
def question() -> Audio:
    """A stored clip that is heard without doubt; no two clips of Piper are the same."""
    sample = Path(__file__).parents[2] / "examples" / "sample" / "audio" / "report-02.flac"
    return resample(read_audio(sample), RATE)


def plain(text: str) -> str:
    return " ".join(re.findall(r"[a-z']+", text.lower()))


def clip_of(samples: object) -> Audio:
    return Audio(np.asarray(samples, dtype=np.float32), RATE)


def test_a_call_that_is_called_off_takes_up_no_window(
    whisper: WhisperTranscriber, question: Audio
) -> None:
    call = Cancellation()
    call.cancel()
    with call.active(), pytest.raises(CancelledError):
        whisper.recognise(question)


class TestWhisper(TranscriberContract):
    @pytest.fixture
    def transcriber(self, whisper: WhisperTranscriber) -> WhisperTranscriber:
        return whisper

    @pytest.fixture
    def clip(self, question: Audio) -> Audio:
        return question

    @pytest.fixture
    def words(self) -> str:
        return "jumping into the pile"


class TestFake(TranscriberContract):
    @pytest.fixture
    def transcriber(self) -> FakeTranscriber:
        return FakeTranscriber(otherwise="not jumping into the pile")

    @pytest.fixture
    def clip(self) -> Audio:
        return clip_of(0.1 * np.sin(np.arange(RATE)))

    @pytest.fixture
    def words(self) -> str:
        return "jumping into the pile"


def test_our_own_speech_is_understood(whisper: WhisperTranscriber, question: Audio) -> None:
    heard = whisper.recognise(question)
    told = whisper.transcribe(question)
    assert (told.text, told.language) == (heard.text, "en")
    assert told.confidence == pytest.approx(np.exp(heard.avg_logprob))
    assert plain(heard.text) == plain(QUESTION)
    assert heard.heard
    assert heard.no_speech_prob < 0.1
    assert -0.5 < heard.avg_logprob < 0
    assert heard.tokens >= 10


@pytest.mark.parametrize(
    ("text", "confidence"),
    [
        ("What is the capital of Australia?", np.exp(-0.6)),
        ("No, no, no, not in the year 2000.", np.exp(-0.6)),
        ("We are now at the bumpenbumpenbumpenbumpenbumpenbumpen", 0.4),
        ("1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2,", 0.2),
        ("to be the first to be the first to be the first to be the first to be", 0.2),
    ],
)
def test_words_in_a_loop_are_not_believed(
    whisper: WhisperTranscriber,
    question: Audio,
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    confidence: float,
) -> None:
    outcome = Recognition(text, 0.1, -0.6, 1.8, 20)
    monkeypatch.setattr(whisper, "recognise", lambda audio: outcome)
    heard = whisper.transcribe(question)
    assert heard.confidence is not None
    if confidence == np.exp(-0.6):
        assert heard.confidence == pytest.approx(confidence, rel=0.15)
    else:
        assert heard.confidence < confidence


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("human/spk1_snt1.wav", "the child almost hurt the small dog"),
        ("human/spk2_snt4.wav", "mend the coat before you go out"),
        ("human/spk1_snt3.wav", "at that high level the air is pure"),
        ("llama_questions/4.flac", "who was the first president of the united states"),
    ],
)
def test_people_are_understood(whisper: WhisperTranscriber, file: str, words: str) -> None:
    if not (SHARED / file).exists():
        pytest.skip("the shared recordings are not here")
    assert plain(whisper.transcribe(read_audio(SHARED / file)).text) == words


@pytest.mark.parametrize("gain", [0.003, 1.0, 30.0])
def test_loudness_hardly_matters(whisper: WhisperTranscriber, question: Audio, gain: float) -> None:
    assert (
        "jumping into the pile"
        in whisper.transcribe(clip_of(question.samples * np.float32(gain))).text
    )


def _noise(kind: str, seconds: float) -> Audio:
    random = np.random.default_rng(7)
    count = int(seconds * RATE)
    time = np.arange(count) / RATE
    white = random.standard_normal(count)
    spectrum = np.fft.rfft(white) / np.sqrt(np.maximum(1, np.arange(count // 2 + 1)))
    pink = np.fft.irfft(spectrum, count)
    hum = sum(np.sin(2 * np.pi * 50 * k * time) / k for k in range(1, 8))
    clicks = (random.random(count) < 3 / RATE) * 0.8
    sounds = {
        "white": white,
        "pink": pink,
        "hum": hum,
        "clicks": clicks,
        "tone": np.sin(2764 * time),
    }
    sound = sounds[kind]
    return clip_of(0.2 * sound / np.abs(sound).max())


@pytest.mark.parametrize("kind", ["white", "pink", "hum", "clicks", "tone"])
def test_no_speech_is_heard_in_noise(whisper: WhisperTranscriber, kind: str) -> None:
    with pytest.raises(AudioError, match=r"no speech was heard in the clip of 8\.0 s"):
        whisper.transcribe(_noise(kind, 8))


@pytest.mark.parametrize("second", [0, 40, 80])
def test_no_speech_is_heard_in_a_kitchen(whisper: WhisperTranscriber, second: int) -> None:
    file = SHARED / "noise" / "kitchen.wav"
    if not file.exists():
        pytest.skip("the shared recordings are not here")
    kitchen = read_audio(file, max_seconds=600).samples
    piece = clip_of(kitchen[second * RATE : (second + 8) * RATE])
    with pytest.raises(AudioError, match="no speech"):
        whisper.transcribe(piece)


@pytest.mark.parametrize(
    ("samples", "told"),
    [
        (np.full(RATE, np.nan, np.float32), "not finite"),
        (np.full(RATE, np.inf, np.float32), "not finite"),
        (np.zeros(0, np.float32), "empty"),
    ],
)
def test_unusable_samples_are_refused(
    whisper: WhisperTranscriber, samples: np.typing.NDArray[np.float32], told: str
) -> None:
    with pytest.raises(AudioError, match=told):
        whisper.transcribe(Audio(samples, RATE))


@pytest.mark.parametrize("count", [1, 100, 400, 3200])
def test_a_very_short_clip_gives_no_words_or_some_but_no_fault(
    whisper: WhisperTranscriber, count: int
) -> None:
    tone = clip_of(0.1 * np.sin(np.arange(count)))
    with pytest.raises(AudioError, match="no speech"):
        whisper.transcribe(tone)


def test_a_long_clip_is_cut_and_joined(whisper: WhisperTranscriber, question: Audio) -> None:
    pause = np.zeros(6 * RATE, np.float32)
    times = 4
    long = clip_of(np.concatenate([question.samples, pause] * times))
    assert 32 < long.seconds < 60
    heard = whisper.recognise(long)
    assert plain(heard.text).count("jumping into the pile") == times
    assert heard.heard


def test_a_window_without_speech_is_left_out(whisper: WhisperTranscriber, question: Audio) -> None:
    noise = 0.02 * np.random.default_rng(1).standard_normal(45 * RATE)
    heard = whisper.recognise(clip_of(np.concatenate([question.samples, noise])))
    assert plain(heard.text).startswith("which player was criticized")
    assert heard.heard


def test_windows_end_where_it_is_quiet() -> None:
    sound = np.random.default_rng(2).standard_normal(100 * RATE).astype(np.float32)
    for second in (25, 47, 71):
        sound[int(second * RATE) : int((second + 0.5) * RATE)] *= 1e-3
    windows = windows_of(sound)
    assert np.array_equal(np.concatenate(windows), sound)
    assert all(len(window) <= 30 * RATE for window in windows)
    borders = np.cumsum([len(window) for window in windows])[:-1] / RATE
    for border, second in zip(borders, (25, 47, 71), strict=True):
        assert second < border < second + 0.5


def test_a_clip_of_one_window_is_not_cut() -> None:
    assert [len(window) for window in windows_of(np.zeros(30 * RATE, np.float32))] == [30 * RATE]


def test_a_repetition_is_tried_again_at_other_temperatures(
    whisper: WhisperTranscriber, question: Audio, monkeypatch: pytest.MonkeyPatch
) -> None:
    whisper.warm()
    model = whisper._model
    assert model is not None
    real, asked = model._decode, []

    def loops_at_first(
        encoded: object, temperature: float, limit: int, prompt: list[int]
    ) -> Recognition:
        asked.append(temperature)
        if temperature < 0.8:
            return Recognition("the the " * 40, 0.01, -0.2, 9.0, 80)
        return real(encoded, temperature, limit, prompt)

    monkeypatch.setattr(model, "_decode", loops_at_first)
    assert "player" in whisper.transcribe(question).text
    assert asked == [0.0, *network_module.TEMPERATURES], "a loop is heard again in full"


class Windows:
    """The lengths of the windows that a model encodes, in seconds."""

    def __init__(self, whisper: WhisperTranscriber, monkeypatch: pytest.MonkeyPatch) -> None:
        whisper.warm()
        model = whisper._model
        assert model is not None
        self.seconds: list[float] = []
        self.model, real = model, model._network.encode

        def encode(features: Any) -> Any:
            self.seconds.append(features.shape[2] / 100)
            return real(features)

        monkeypatch.setattr(model, "_network", Encoding(model._network, encode))
        monkeypatch.setattr(model, "_encoded", None)


class Encoding:
    """A network whose encoder is watched."""

    def __init__(self, network: Any, encode: Any) -> None:
        self._network, self.encode = network, encode

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)


def test_a_clip_that_is_surely_heard_is_heard_once_with_little_padding(
    whisper: WhisperTranscriber, question: Audio, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows = Windows(whisper, monkeypatch)
    heard = plain(whisper.transcribe(question).text)
    assert heard.startswith("which player was criticized for not jumping into the pile")
    assert windows.seconds == [15.0]


@pytest.mark.parametrize(
    "doubt",
    [
        Recognition("yes", 0.3, -0.1, 1.0, 1),
        Recognition("yes yes", 0.0, -0.1, 2.5, 1),
        Recognition("", 0.0, -0.1, 1.0, 1),
    ],
)
def test_a_clip_without_speech_or_with_a_loop_is_heard_again_in_full(
    whisper: WhisperTranscriber,
    question: Audio,
    monkeypatch: pytest.MonkeyPatch,
    doubt: Recognition,
) -> None:
    windows = Windows(whisper, monkeypatch)
    real, given = windows.model._decode, [doubt]

    def decode(*args: Any) -> Recognition:
        return given.pop() if given else real(*args)

    monkeypatch.setattr(windows.model, "_decode", decode)
    assert plain(whisper.transcribe(question).text) == plain(QUESTION)
    assert windows.seconds == [15.0, 30.0]


@pytest.mark.parametrize(
    "unsure",
    [
        Recognition("Yes.", 0.0, -0.1, 1.0, 1, others=(("yet", -0.3),)),
        Recognition("Yes.", 0.0, -0.6, 1.0, 1),
    ],
)
def test_a_clip_whose_words_are_unsure_is_not_heard_again(
    whisper: WhisperTranscriber,
    question: Audio,
    monkeypatch: pytest.MonkeyPatch,
    unsure: Recognition,
) -> None:
    windows = Windows(whisper, monkeypatch)
    monkeypatch.setattr(windows.model, "_decode", lambda *_: unsure)
    assert whisper.transcribe(question).text == "Yes."
    assert windows.seconds == [15.0]


def test_a_longer_clip_and_another_model_are_heard_in_full_at_once(
    whisper: WhisperTranscriber, question: Audio, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows = Windows(whisper, monkeypatch)
    long = clip_of(np.pad(question.samples, (0, 15 * RATE - len(question.samples))))
    whisper.recognise(long)
    assert windows.seconds == [30.0]
    monkeypatch.setattr(windows.model, "_shortens", False)
    whisper.recognise(question)
    assert windows.seconds == [30.0, 30.0]


def test_expected_words_are_listened_for_in_the_window_that_was_heard(
    whisper: WhisperTranscriber, question: Audio, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows = Windows(whisper, monkeypatch)
    alone = whisper.recognise(question)
    heard, expecting = whisper._recognise_both(question, ["Valetudo"])
    assert heard == alone
    assert expecting is not None
    assert expecting.log_prob != alone.log_prob, "it had a text before it"
    assert windows.seconds == [15.0]
    monkeypatch.setattr(network_module, "_is_usable", lambda _: False)
    whisper._recognise_both(clip_of(question.samples[: -RATE // 10]), ["Valetudo"])
    assert windows.seconds == [15.0, 15.0, 30.0]


def test_a_loop_in_a_short_clip_ends_early(
    whisper: WhisperTranscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = whisper._model
    assert model is not None
    limits = []

    def decode(encoded: object, temperature: float, limit: int, prompt: list[int]) -> Recognition:
        limits.append(limit)
        return Recognition("yes", 0.0, -0.1, 1.0, 1)

    monkeypatch.setattr(model, "_decode", decode)
    whisper.recognise(_noise("pink", 4))
    whisper.recognise(_noise("pink", 29))
    assert limits == [68, 224]


def test_threads_load_it_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    class Slow:
        def __init__(self, folder: Path, threads: int, language: str, **_: object) -> None:
            made.append(threads)

    monkeypatch.setattr(whisper_module, "WhisperNetwork", Slow)
    transcriber = WhisperTranscriber(threads=3)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: transcriber.warm(), range(8)))
    assert made == [3]


def test_a_failing_model_is_told(
    whisper: WhisperTranscriber, question: Audio, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = whisper._model
    assert model is not None

    def fail(*_: object) -> Recognition:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(model, "_decode", fail)
    with pytest.raises(ModelError, match="out of memory"):
        whisper.transcribe(question)


def test_a_folder_that_is_no_model_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whisper_module, "weight_folder", lambda name, data_dir: tmp_path)
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        WhisperTranscriber().warm()


def test_no_thread_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        WhisperTranscriber(threads=0)


def test_the_thread_that_loaded_the_model_stays_with_it() -> None:
    """Recognition takes 2 to 4 times longer once that thread has ended (CTranslate2 4.8.5)."""
    transcriber = WhisperTranscriber()
    before = set(threading.enumerate())
    first = threading.Thread(target=transcriber.warm)
    first.start()
    first.join()
    (loader,) = set(threading.enumerate()) - before
    assert loader.name.startswith("voicerag-whisper")
    del transcriber
    loader.join(PATIENCE)
    assert not loader.is_alive()


WORDS = Vocabulary(
    (("Tock", 27), ("Valetudo", 35), ("timecard", 4), ("Metallo", 2), ("BYOD", 7), ("leave", 90))
)


def test_words_of_a_collection_are_heard(
    whisper: WhisperTranscriber, speaker: PiperSpeaker
) -> None:
    knowing = WhisperTranscriber(listener=CTCRecognizer())
    found = missed = 0
    for said, word in (
        ("What is Tock?", "Tock"),
        ("Why is there no reboot button in Valetudo?", "Valetudo"),
        ("Which payment terms do we have with Metallo?", "Metallo"),
    ):
        clips = [resample(speaker.speak(said), RATE) for _ in range(2)]  # the voice varies
        without = [knowing.transcribe_with(clip, Vocabulary()).text for clip in clips]
        assert without[0] == whisper.transcribe(clips[0]).text
        missed += sum(word not in text for text in without)
        found += sum(
            word in knowing.transcribe_with(clip, WORDS).text and word not in text
            for clip, text in zip(clips, without, strict=True)
        )
    assert found >= missed / 3, f"{found} of {missed} words that were misheard"


def test_words_that_were_not_said_are_not_heard(
    whisper: WhisperTranscriber, question: Audio
) -> None:
    knowing = WhisperTranscriber(listener=CTCRecognizer())
    foreign = Vocabulary((*WORDS.words, ("player", 9), ("Urope", 50), ("sees", 40), ("Rich", 40)))
    heard = knowing.transcribe_with(question, foreign).text
    assert plain(heard) == plain(QUESTION) == plain(whisper.transcribe(question).text)


def test_without_a_listener_nothing_is_expected(
    whisper: WhisperTranscriber, question: Audio
) -> None:
    assert whisper.transcribe_with(question, WORDS) == whisper.transcribe(question)


def test_a_buffer_that_is_filled_anew_is_heard_anew(
    whisper: WhisperTranscriber, question: Audio
) -> None:
    buffer = question.samples.copy()
    assert whisper.recognise(clip_of(buffer)).heard
    buffer[:] = 0
    assert not whisper.recognise(clip_of(buffer)).heard


SAMPLE = Path(__file__).parents[2] / "examples" / "sample" / "audio"


@pytest.mark.parametrize(
    ("file", "words"), [("dev-08", "what are associated with"), ("dev-11", "persian geologists")]
)
def test_what_the_listener_is_sure_of_stands_in(
    whisper: WhisperTranscriber, file: str, words: str
) -> None:
    clip = read_audio(SAMPLE / f"{file}.flac")
    with pytest.raises(AudioError, match="no speech was heard"):
        whisper.transcribe(clip)
    heard = WhisperTranscriber(listener=CTCRecognizer()).transcribe(clip)
    assert words in heard.text
    assert heard.confidence is not None
    assert heard.confidence > 0.75


@pytest.mark.parametrize("kind", ["white", "pink", "hum", "clicks", "tone"])
def test_a_listener_hears_nothing_in_noise_either(kind: str) -> None:
    with pytest.raises(AudioError, match="no speech was heard"):
        WhisperTranscriber(listener=CTCRecognizer()).transcribe(_noise(kind, 4))


def test_other_wordings_differ_in_their_words_and_come_likeliest_first() -> None:
    own = [("A tan.", -1.0), ("a tan", -0.5), ("A tank?", -2.0), ("A can", -3.0), ("A ten", -4.0)]
    assert whisper_module._others("A tan", own, ["a tonne"]) == (
        "A tank?", "a tonne", "A can", "A ten",
    )  # fmt: skip


def test_a_clip_has_other_wordings(whisper: WhisperTranscriber, question: Audio) -> None:
    heard = whisper.transcribe(question)
    assert heard.others
    assert plain(heard.text) not in map(plain, heard.others)
