"""Recognisers, voices and rerankers behind a URL."""

from __future__ import annotations

import io
import wave

import numpy as np
import pytest

from tests.remote import wire as faults
from tests.remote.conftest import endpoint_of
from tests.remote.wire import Fault, Handler, Request, Wire
from voicerag_core import Audio, AudioError, EndpointError, GenerationError
from voicerag_core.remote import transcriber
from voicerag_core.remote.reranker import RerankEndpoint
from voicerag_core.remote.speaker import SpeechEndpoint
from voicerag_core.remote.transcriber import TranscriptionEndpoint

CLIP = Audio((np.sin(np.arange(16_000) / 9) * 0.3).astype(np.float32), 16_000)


def sent_clip(request: Request) -> Audio:
    """The sound of a multipart request."""
    body = request.body
    with wave.open(io.BytesIO(body[body.index(b"RIFF") :])) as file:
        frames = file.readframes(file.getnframes())
        samples = np.frombuffer(frames, "<i2") / np.float32(32768)
        return Audio(samples.astype(np.float32), file.getframerate())


def test_a_clip_is_transcribed(wire: Wire) -> None:
    with TranscriptionEndpoint(endpoint_of(wire), language="en") as one:
        heard = one.transcribe(CLIP)
    assert (heard.text, heard.language, heard.confidence) == (wire.transcript, "en", None)
    body = wire.requests[0].body
    for name, value in (("model", "tiny"), ("language", "en"), ("response_format", "json")):
        assert f'name="{name}"\r\n\r\n{value}\r\n'.encode() in body
    np.testing.assert_allclose(sent_clip(wire.requests[0]).samples, CLIP.samples, atol=1e-3)


def test_the_language_can_be_left_to_the_server(wire: Wire) -> None:
    with TranscriptionEndpoint(endpoint_of(wire)) as one:
        assert one.transcribe(CLIP).language == "english"
    assert b'name="language"' not in wire.requests[0].body


@pytest.mark.parametrize("text", ["", "  ", "...", "♪"])
def test_no_words_are_no_speech(wire: Wire, text: str) -> None:
    wire.transcript = text
    with TranscriptionEndpoint(endpoint_of(wire)) as one, pytest.raises(AudioError):
        one.transcribe(CLIP)


def test_a_long_clip_is_cut_where_it_is_quiet(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcriber, "PART_SECONDS", 20)
    samples = np.tile(CLIP.samples, 50)
    samples[15 * 16_000 : 16 * 16_000] = 0
    with TranscriptionEndpoint(endpoint_of(wire)) as one:
        heard = one.transcribe(Audio(samples, 16_000))
    clips = [sent_clip(request) for request in wire.requests]
    assert heard.text == " ".join([wire.transcript] * len(clips))
    assert 15 <= clips[0].seconds <= 16
    assert all(clip.seconds <= 20 for clip in clips)
    assert sum(len(clip.samples) for clip in clips) == len(samples)


@pytest.mark.parametrize("fault", [faults.html, faults.refusing(200, {"segments": []})])
def test_no_transcript_is_an_error(wire: Wire, fault: Fault) -> None:
    wire.always = fault
    with TranscriptionEndpoint(endpoint_of(wire)) as one, pytest.raises(EndpointError):
        one.transcribe(CLIP)


@pytest.mark.parametrize("rate", [None, 24_000])
def test_text_is_spoken_as_wav_or_as_pcm(wire: Wire, rate: int | None) -> None:
    with SpeechEndpoint(endpoint_of(wire), voice="alloy", rate=rate) as one:
        sound = one.speak("The tower is tall.")
    assert sound.sample_rate == 24_000
    assert sound.seconds == pytest.approx(0.1)
    asked = wire.requests[0].json
    assert asked == {
        "input": "The tower is tall.",
        "response_format": "wav" if rate is None else "pcm",
        "model": "tiny",
        "voice": "alloy",
    }


def streamed_wav(handler: Handler) -> None:
    """Send WAV as servers stream it: with lengths that are not known yet."""
    samples = (np.sin(np.arange(3200) / 9) * 9000).astype("<i2").tobytes()
    head = b"RIFF\xff\xff\xff\xffWAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00"
    head += (16_000).to_bytes(4, "little") + (32_000).to_bytes(4, "little") + b"\x02\x00\x10\x00"
    handler.send_bytes(200, head + b"data\xff\xff\xff\xff" + samples, "audio/wav")


def test_a_streamed_wav_is_read_and_brought_to_the_first_rate(wire: Wire) -> None:
    with SpeechEndpoint(endpoint_of(wire)) as one:
        assert one.speak("One sentence.").sample_rate == 24_000
        wire.always = streamed_wav
        sound = one.speak("Another one.")
    assert sound.sample_rate == 24_000
    assert sound.seconds == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize("rate", [None, 24_000])
@pytest.mark.parametrize("fault", [faults.html, faults.refusing(200, {"detail": "no voice"})])
def test_no_sound_is_an_error(wire: Wire, fault: Fault, rate: int | None) -> None:
    wire.always = fault
    with SpeechEndpoint(endpoint_of(wire), rate=rate) as one:
        with pytest.raises(EndpointError, match="no sound"):
            one.speak("Hello there.")
        with pytest.raises(GenerationError, match="nothing to speak"):
            one.speak("...")


TEXTS = ["bread and butter", "the tower is tall", "how tall is the tower"]


@pytest.mark.parametrize("base", ["", "/v1"])
@pytest.mark.parametrize("model", ["", "tiny"])
def test_both_forms_of_rerankers_are_understood(wire: Wire, base: str, model: str) -> None:
    root = wire.url.removesuffix("/v1")
    with RerankEndpoint(endpoint_of(wire, url=root + base, model=model)) as one:
        scores = one.score("how tall is the tower", TEXTS)
        assert list(np.argsort(-scores)) == [2, 1, 0]
        before = len(wire.requests)
        one.score("how tall", TEXTS)
        assert len(wire.requests) == before + 1, "the form is known by now"
        assert one.score("how tall", []).shape == (0,)


def test_texts_that_are_left_out_come_last(wire: Wire) -> None:
    wire.always = faults.refusing(200, [{"index": 2, "score": 0.9}, {"index": 0, "score": 0.1}])
    with RerankEndpoint(endpoint_of(wire)) as one:
        assert list(np.argsort(-one.score("q", TEXTS))) == [2, 0, 1]


@pytest.mark.parametrize(
    "body", [[], {}, {"results": []}, [{"index": 3, "score": 1}], [{"index": 0}], "x", None]
)
def test_no_scores_are_an_error(wire: Wire, body: object) -> None:
    wire.always = faults.refusing(200, body)
    with RerankEndpoint(endpoint_of(wire)) as one, pytest.raises(EndpointError, match="no scores"):
        one.score("q", TEXTS)
