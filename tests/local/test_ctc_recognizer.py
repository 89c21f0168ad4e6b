"""The loading, batching and judgement of the speech encoder, on a network that hears tones."""

from __future__ import annotations

import gc
import io
import json
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest

from tests.local import tones
from voicerag_core.cancellation import Cancellation
from voicerag_core.errors import (
    AudioError,
    CancelledError,
    CheckpointError,
    ConfigError,
    ModelError,
)
from voicerag_core.local.hearing import ctc_recognizer
from voicerag_core.local.hearing.beam_search import beam_search
from voicerag_core.local.hearing.ctc_recognizer import CTCRecognizer
from voicerag_core.local.weights import files as weights
from voicerag_core.types import Audio

TEXTS = ["who discovered penicillin", "when does the bakery open", "a", "zebra quiz jam"]


@pytest.fixture
def use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tones.Use:
    """Write a tone encoder, list it in the manifest, and return the product's encoder on it."""
    return tones.user_of(tmp_path, monkeypatch)


def noise(seconds: float, level: float = 0.1) -> Audio:
    samples = level * np.random.default_rng(3).standard_normal(round(16_000 * seconds))
    return Audio(samples.astype(np.float32), 16_000)


@pytest.mark.parametrize("beams", [1, 8])
def test_words_are_heard_in_the_sound(use: tones.Use, beams: int) -> None:
    heard = use(beams=beams).hear([tones.spell(text) for text in TEXTS], most=4)
    assert [one.hypotheses[0].text for one in heard] == TEXTS
    assert all(-0.1 < one.token_log_prob <= 0 for one in heard)
    for one in heard:
        scores = [hypothesis.log_prob for hypothesis in one.hypotheses]
        assert scores == sorted(scores, reverse=True)


def test_a_language_model_is_used_where_it_is_listed(use: tones.Use) -> None:
    # Two sounds at a time leave the letter open; only the language model knows which it is.
    unsure = tones.spell("the rhine")
    other = tones.spell("the shine", level=0.34)
    mixed = Audio(unsure.samples + other.samples, 16_000)
    plain = use().hear([mixed], most=8)[0]
    assert plain.hypotheses[0].text != "the rhine"
    schooled = use(sentences=["the rhine"] * 50).hear([mixed], most=8)[0]
    assert schooled.hypotheses[0].text == "the rhine"


def test_a_language_model_puts_no_words_into_silence(use: tones.Use) -> None:
    encoder = use(sentences=["a"] * 50)
    network = encoder._loaded()
    # Silence is the likeliest in every frame, and yet some "a" likelier than none at all.
    frames = np.full((4, len(tones.PIECES) + 1), np.log(1e-6), np.float32)
    frames[:, tones.PIECES.index("a")], frames[:, -1] = np.log(0.4), np.log(0.6)
    assert beam_search(frames, network.tokens, model=network.language)[0].text
    (only,) = encoder._read(network, frames, 4, None).hypotheses
    assert only.text == ""


def test_a_language_model_of_other_pieces_is_refused(use: tones.Use) -> None:
    other = io.BytesIO()
    arrays = tones.bigrams([["a", "b"]], ["a", "b"])
    arrays["word"] = np.diff(arrays["word"], prepend=np.uint16(0))
    np.savez(other, **arrays)
    with pytest.raises(CheckpointError, match="not of one training"):
        use(files={"speech_piece_model.npz": other.getvalue()}).warm()


def test_a_row_does_not_depend_on_the_batch(use: tones.Use) -> None:
    encoder = use()
    clips = [tones.spell(text) for text in (*TEXTS, "b" * 40)]
    together = encoder.log_probs(clips)
    for clip, rows in zip(clips, together, strict=True):
        alone = encoder.log_probs([clip])[0]
        states = -(-(len(clip.samples) + ctc_recognizer.TAIL_SAMPLES) // 320)
        assert rows.shape == alone.shape == (states, len(tones.PIECES) + 1)
        assert np.allclose(rows, alone, atol=1e-4)


def test_nothing_is_asked_of_nothing(tmp_path: Path) -> None:
    assert CTCRecognizer(data_dir=tmp_path).hear([]) == []
    assert CTCRecognizer(data_dir=tmp_path).log_probs([]) == []


@pytest.mark.parametrize("seconds", [0.001, 0.1, 30.0, 31.0, 75.0])
def test_any_length_is_taken(use: tones.Use, seconds: float) -> None:
    samples = np.resize(tones.spell("the rhine").samples, round(16_000 * seconds))
    heard = use().hear([Audio(samples, 16_000)])[0]
    if seconds >= 30:
        words = heard.hypotheses[0].text
        assert words.count("the rhine") >= seconds // 1.1 - 3


def test_silence_has_no_words_and_noise_low_confidence(use: tones.Use) -> None:
    encoder = use()
    silence, hiss, speech = encoder.hear(
        [Audio(np.full(16_000, 1e-5, np.float32), 16_000), noise(2), tones.spell(TEXTS[0])]
    )
    assert silence.hypotheses[0].text == "" or silence.token_log_prob < -0.5
    assert hiss.token_log_prob < -0.5 < speech.token_log_prob


@pytest.mark.parametrize(
    "clip",
    [
        Audio(np.zeros(800, np.float32), 8_000),
        Audio(np.zeros(0, np.float32), 16_000),
        Audio(np.full(16_000, np.nan, np.float32), 16_000),
        Audio(np.full(16_000, np.inf, np.float32), 16_000),
    ],
)
def test_sound_that_cannot_be_used_is_refused(use: tones.Use, clip: Audio) -> None:
    with pytest.raises(AudioError):
        use().hear([clip])


def test_a_buffer_that_is_filled_anew_is_heard_anew(use: tones.Use) -> None:
    encoder = use()
    clips = [tones.spell(text).samples for text in TEXTS[:2]]
    buffer = np.zeros(max(map(len, clips)), np.float32)
    for text, samples in zip(TEXTS, clips, strict=False):
        buffer[:] = np.pad(samples, (0, len(buffer) - len(samples)))
        (heard,) = encoder.hear([Audio(buffer, 16_000)])
        assert heard.hypotheses[0].text == text


def test_threads_may_share_it(use: tones.Use) -> None:
    encoder = use()
    clips = [tones.spell(text) for text in TEXTS]
    with ThreadPoolExecutor(4) as pool:
        for heard in pool.map(lambda i: encoder.hear([clips[i % 4]])[0], range(24)):
            assert heard.hypotheses[0].text in TEXTS


def test_threads_are_positive() -> None:
    with pytest.raises(ConfigError, match="-1"):
        CTCRecognizer(threads=-1)


def test_a_call_that_is_called_off_ends_after_its_window(
    use: tones.Use, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = Cancellation()
    windows: list[int] = []
    run = ctc_recognizer._Network.run

    def noted(network: ctc_recognizer._Network, window: np.ndarray) -> np.ndarray:
        windows.append(window.shape[1])
        if len(windows) == 2:
            call.cancel()
        return run(network, window)

    monkeypatch.setattr(ctc_recognizer._Network, "run", noted)
    with call.active(), pytest.raises(CancelledError):
        use().hear([tones.spell("b" * count) for count in range(1, 21)])
    assert len(windows) == 2


def test_a_closed_encoder_loads_again(use: tones.Use) -> None:
    encoder = use()
    clip = tones.spell("open")
    encoder.hear([clip])
    encoder.close()
    encoder.close()
    assert encoder.hear([clip])[0].hypotheses[0].text == "open"


def test_without_the_files_it_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = tones.with_encoder(tones.write_encoder(tmp_path / "elsewhere"))
    monkeypatch.setattr(weights, "manifest", lambda: manifest)
    encoder = CTCRecognizer(data_dir=tmp_path)
    with pytest.raises(ImportError, match="speech-encoder"):
        encoder.warm()


def test_an_altered_file_is_refused(use: tones.Use, tmp_path: Path) -> None:
    encoder = use()
    with (tmp_path / "speech-encoder" / "speech_encoder.onnx").open("r+b") as file:
        file.seek(200)
        file.write(b"\0\0")
    with pytest.raises(CheckpointError, match="SHA-256"):
        encoder.warm()


def listed(**changes: object) -> bytes:
    right = {"pieces": tones.PIECES, "blank": len(tones.PIECES), "stride": 2}
    return json.dumps({**right, **changes}).encode()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"speech_encoder.onnx": b"not a network"}, "cannot be loaded"),
        ({"speech_encoder.onnx": tones.network(output="posteriors").SerializeToString()}, "gives"),
        ({"speech_pieces.json": b"[1"}, "list of tokens"),
        ({"speech_pieces.json": b"[]"}, "list of tokens"),
        ({"speech_pieces.json": listed(pieces=[])}, "not a list of texts"),
        ({"speech_pieces.json": listed(pieces=[1, 2], blank=2)}, "not a list of texts"),
        ({"speech_pieces.json": listed(blank=3)}, "the blank"),
        ({"speech_pieces.json": listed(stride=0)}, "the stride"),
        ({"speech_piece_model.npz": b"no"}, "not a subword model"),
    ],
)
def test_a_listed_file_of_another_form_is_refused(
    use: tones.Use, files: dict[str, bytes], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        use(files=files).warm()


@pytest.mark.parametrize(
    "files",
    [
        {"speech_pieces.json": listed(pieces=tones.PIECES[:-1], blank=len(tones.PIECES) - 1)},
        {"speech_pieces.json": listed(stride=4)},
        {"speech_encoder.onnx": tones.network(pieces=9).SerializeToString()},
    ],
)
def test_network_and_pieces_of_two_trainings_are_refused(
    use: tones.Use, files: dict[str, bytes]
) -> None:
    with pytest.raises(CheckpointError, match="one training"):
        use(files=files).hear([tones.spell("open")])


def test_a_network_that_gives_no_numbers_is_an_error(use: tones.Use) -> None:
    with pytest.raises(ModelError, match="not numbers"):
        use(files={"speech_encoder.onnx": tones.network(bias=np.nan).SerializeToString()}).hear(
            [tones.spell("open")]
        )


def resident() -> int:
    """Return this process's resident memory in bytes."""
    gc.collect()
    fields = Path("/proc/self/status").read_text().split("VmRSS:")[1].split()
    return 1024 * int(fields[0])


@pytest.mark.parametrize(
    "clips", [30, pytest.param(1000, marks=[pytest.mark.slow, pytest.mark.timeout(900)])]
)
def test_memory_stays_flat(use: tones.Use, clips: int) -> None:
    encoder = use()
    lengths = [1, 6, 3, 12, 2]
    sounds = [
        Audio(np.resize(tones.spell("the rhine").samples, 16_000 * n), 16_000) for n in lengths
    ]
    for sound in sounds * 2:
        encoder.hear([sound], most=4)
    before = resident()
    for i in range(clips):
        encoder.hear([sounds[i % len(sounds)]], most=4)
    assert resident() - before < 60e6


def test_the_network_of_the_tests_is_sound() -> None:
    onnx.checker.check_model(tones.network(), full_check=True)
    assert math.isclose(tones.hertz(10), 400, rel_tol=0.1)
