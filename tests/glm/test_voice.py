from __future__ import annotations

import gc
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Self

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.glm import tiny
from tests.waiting import PATIENCE
from voicerag_core import Answer, Audio, Passage, Sampling, Turn
from voicerag_core.cancellation import Cancellation
from voicerag_core.errors import (
    AudioError,
    CancelledError,
    CheckpointError,
    ConfigError,
    GenerationError,
)
from voicerag_core.glm.decoder import SpeechDecoder
from voicerag_core.glm.lm.interleave import AllowedTokens, Grammar
from voicerag_core.glm.lm.torch_lm import TorchLM
from voicerag_core.glm.speech_tokenizer.tokenizer import SpeechTokenizer
from voicerag_core.glm.text_tokenizer import TextTokenizer
from voicerag_core.glm.voice import GLMVoice, unet_dtype
from voicerag_core.testing import VoiceModelContract
from voicerag_core.types import Samples

FIRST_AUDIO, STOP = tiny.FIRST_AUDIO_ID, tiny.TEXT_SIZE + 7
SHORT = Sampling(temperature=1.0, top_p=1.0, seed=3, max_new_tokens=40)
PASSAGES = [Passage(f"p{n}", "the heat is on.", {"title": f"T{n}"}) for n in range(3)]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> tiny.Trees:
    return tiny.write_trees(tmp_path_factory.mktemp("glm"))


@pytest.fixture(scope="module")
def voice(trees: tiny.Trees) -> GLMVoice:
    return GLMVoice.load(trees.root, device="cpu")


@pytest.fixture(scope="module")
def clip() -> Audio:
    draw = np.random.default_rng(0)
    return Audio((0.1 * draw.standard_normal(16_000)).astype(np.float32), 16_000)


class ScriptedLM:
    """A language model that gives prepared ids, and notes its prompts and whether it was closed."""

    max_context = 8192
    table_size = tiny.VOCAB_SIZE
    masks_tokens = False

    def __init__(self, ids: Sequence[int]) -> None:
        self.ids = ids
        self.prompts: list[list[int]] = []
        self.given = 0
        self.closed = False
        self.warmed: list[str] = []
        self.quick: int | None = None
        """After how many ids the others take 20 ms each; None: none."""

    def warm(self, masks: Sequence[AllowedTokens]) -> None:
        self.warmed += [mask.name for mask in masks]

    def stream(
        self, prompt: Sequence[int], *, grammar: Grammar, sampling: Sampling
    ) -> Iterator[int]:
        self.prompts.append(list(prompt))
        try:
            for token in self.ids[: sampling.max_new_tokens]:
                grammar.push(token)
                if self.quick is not None and self.given >= self.quick:
                    time.sleep(0.02)
                self.given += 1
                yield token
        finally:
            self.closed = True

    def generate(
        self, prompts: Sequence[Sequence[int]], *, grammars: Sequence[Grammar], sampling: Sampling
    ) -> list[list[int]]:
        raise NotImplementedError


def scripted(
    trees: tiny.Trees, ids: Sequence[int], *, speak: bool = True
) -> tuple[GLMVoice, ScriptedLM]:
    lm = ScriptedLM(ids)
    decoder = SpeechDecoder.load(trees.decoder) if speak else None
    encoder = SpeechTokenizer.load(trees.speech_tokenizer)
    return GLMVoice(lm, TextTokenizer.load(trees.lm), encoder, decoder), lm  # type: ignore[arg-type]


def text_ids(trees: tiny.Trees, text: str) -> list[int]:
    return TextTokenizer.load(trees.lm).encode(text)


def block(trees: tiny.Trees, audio: int = 26) -> list[int]:
    return [*text_ids(trees, "zzzzzzzzzzzzz"), *range(FIRST_AUDIO, FIRST_AUDIO + audio)]


@pytest.fixture(scope="module")
def model(voice: GLMVoice) -> GLMVoice:
    return voice.silent()


@pytest.fixture(scope="module")
def question() -> str:
    return "how hot is it?"


@pytest.fixture(scope="module")
def passages() -> list[Passage]:
    return PASSAGES


class TestTextContract(VoiceModelContract):
    pass


def test_a_spoken_question_is_answered_in_words_and_sound(voice: GLMVoice, clip: Audio) -> None:
    pieces = list(voice.respond(clip, PASSAGES, sampling=SHORT))
    whole = sum(pieces, Answer())
    assert whole.text
    assert whole.audio is not None
    assert whole.audio.sample_rate == 22_050
    assert np.isfinite(whole.audio.samples).all()
    assert pieces[0].text
    assert {"encode", "first_text", "first_audio"} <= set(whole.timings)
    again = sum(voice.respond(clip, PASSAGES, sampling=SHORT), Answer())
    assert (again.text, again.audio) == (whole.text, whole.audio)


def test_it_is_seen_that_a_voice_works(voice: GLMVoice, clip: Audio) -> None:
    seen = [voice.worked]
    seen += [voice.worked for _ in voice.respond(clip, PASSAGES, sampling=SHORT)]
    assert seen[1] > seen[0] + 1  # the clip was encoded, and the prompt read
    assert seen[-1] > seen[1]
    assert voice.worked == seen[-1]


@pytest.mark.parametrize("ending", ["stop", "limit", "end"])
@pytest.mark.parametrize("audio", [3, 10, 26])
def test_defect_4_no_sound_is_lost_whatever_ends_the_reply(
    trees: tiny.Trees, ending: str, audio: int
) -> None:
    ids = block(trees, audio)
    limit = len(ids) if ending == "limit" else 500
    tail = {"stop": [STOP], "limit": [FIRST_AUDIO] * 9, "end": []}[ending]
    voice, lm = scripted(trees, ids + tail)
    whole = sum(voice.respond("q", PASSAGES, sampling=Sampling(max_new_tokens=limit)), Answer())
    decoder = SpeechDecoder.load(trees.decoder)
    assert whole.audio is not None
    assert len(whole.audio.samples) == decoder.samples(audio)
    assert whole.audio == decoder.decode(range(audio))
    assert whole.text == "z" * 13
    assert lm.closed


def test_the_first_words_and_sound_leave_before_the_rest_is_generated(trees: tiny.Trees) -> None:
    """The first block of sound is 10 ids; what comes behind it takes half a minute."""
    voice, lm = scripted(trees, [*(40 * block(trees)), STOP])
    lm.quick = 13 + 10
    with closing(voice.respond("q", PASSAGES, sampling=Sampling())) as pieces:
        assert next(pieces).text == "z"
        assert lm.given == 1
        assert next(piece for piece in pieces if piece.audio is not None).timings["first_audio"]
        assert lm.given < len(lm.ids)
    assert lm.closed


def test_an_unfinished_character_at_the_end_is_replaced_not_lost(trees: tiny.Trees) -> None:
    cut = text_ids(trees, "a😀")[:-1]
    voice, _ = scripted(trees, [*cut, STOP])
    whole = sum(voice.respond("q", PASSAGES, sampling=Sampling()), Answer())
    assert (whole.text, whole.audio) == ("a\ufffd", None)


def test_a_reply_without_speech_is_text_and_one_without_words_an_error(trees: tiny.Trees) -> None:
    voice, _ = scripted(trees, [*text_ids(trees, "yes"), STOP])
    assert sum(voice.respond("q", PASSAGES, sampling=Sampling()), Answer()).audio is None
    voice, _ = scripted(trees, [])
    with pytest.raises(GenerationError, match="without a word"):
        list(voice.respond("q", PASSAGES, sampling=Sampling()))


def test_speech_out_of_range_is_refused(trees: tiny.Trees) -> None:
    voice, lm = scripted(trees, [*block(trees), FIRST_AUDIO + tiny.CODES])
    with pytest.raises(GenerationError, match=str(FIRST_AUDIO + tiny.CODES)):
        list(voice.respond("q", PASSAGES, sampling=Sampling()))
    assert lm.closed


def test_a_clip_without_samples_is_refused(voice: GLMVoice) -> None:
    empty = Audio(np.zeros(0, np.float32), 16_000)
    with pytest.raises(AudioError, match="80 ms"):
        list(voice.respond(empty, PASSAGES, sampling=SHORT))
    with pytest.raises(AudioError, match="80 ms"):
        voice.transcribe(empty)


def test_passages_that_do_not_fit_are_left_out_and_named(
    trees: tiny.Trees, caplog: pytest.LogCaptureFixture
) -> None:
    voice, lm = scripted(trees, [*text_ids(trees, "yes"), STOP])
    many = [Passage(f"big{n}", "zq" * 1500, {"title": "T"}) for n in range(4)]
    with caplog.at_level(logging.WARNING, "voicerag_core.glm.voice"):
        list(voice.respond("q", many, sampling=Sampling()))
    assert len(lm.prompts[0]) <= 8192 - 2000
    assert "left out 3 passages (big1, big2, big3)" in caplog.text


def test_the_next_turn_goes_on_from_the_very_ids_of_the_last(
    trees: tiny.Trees, clip: Audio
) -> None:
    voice, lm = scripted(trees, [*block(trees, 7), STOP])
    first = sum(voice.respond(clip, PASSAGES, sampling=Sampling()), Answer())
    list(voice.respond("and?", [], sampling=Sampling(), history=[Turn(clip, first)]))
    before = lm.prompts[0] + block(trees, 7)
    assert lm.prompts[1][: len(before)] == before
    list(voice.respond("and?", [], sampling=Sampling(), history=[Turn("other", Answer("zz"))]))
    assert text_ids(trees, "zz")[0] in lm.prompts[2]


def test_transcribing_gives_the_text_and_stops_with_it(trees: tiny.Trees, clip: Audio) -> None:
    ids = [*block(trees), *text_ids(trees, "qq"), *[FIRST_AUDIO] * 50, STOP]
    voice, lm = scripted(trees, ids, speak=False)
    assert voice.transcribe(clip).text == "z" * 13 + "qq"
    assert lm.given == 39 + len(text_ids(trees, "qq")) + 1
    voice, _ = scripted(trees, [*text_ids(trees, " "), STOP])
    with pytest.raises(AudioError, match="no words"):
        voice.transcribe(clip)


def test_what_it_needs_to_know_is_one_sentence_of_text(trees: tiny.Trees, clip: Audio) -> None:
    said = text_ids(trees, "the river of Torvik. And more of it")
    ids = [*said[:13], *[FIRST_AUDIO] * 26, *said[13:], *[FIRST_AUDIO] * 50, STOP]
    voice, lm = scripted(trees, ids)
    known = [Passage("a", "Quill is from Torvik.")]
    assert voice.further_query(clip, known) == "the river of Torvik."
    assert lm.given < len(ids), "the speech behind the last word is not waited for"
    assert voice.further_query(clip, []) is None
    enough, _ = scripted(trees, [*text_ids(trees, "Enough."), STOP])
    assert enough.further_query("who is it", known, only_unsure=True) is None


def test_a_cancelled_answer_stops_everything_below(voice: GLMVoice) -> None:
    call = Cancellation()
    with call.active(), closing(voice.respond("q", PASSAGES, sampling=SHORT)) as pieces:
        next(pieces)
        call.cancel()
        with pytest.raises(CancelledError):
            list(pieces)
    assert sum(voice.respond("q", PASSAGES, sampling=SHORT), Answer()).text


class CountedStream:
    """Counts open decoder streams."""

    opened = closed = 0

    def __enter__(self) -> Self:
        type(self).opened += 1
        return self

    def __exit__(self, *_: object) -> None:
        type(self).closed += 1

    wants = 0

    def feed(self, tokens: Sequence[int], *, ids: int = 1) -> Samples:
        return np.zeros(len(tokens), np.float32)

    def rest(self) -> Iterator[Samples]:
        yield from ()


class CountedDecoder:
    sample_rate = 22_050
    warmed = 0

    def warm(self) -> None:
        self.warmed += 1

    def open_stream(self, *, ids_until: object = None, pace: object = None) -> CountedStream:
        return CountedStream()


def test_warming_prepares_the_language_model_and_the_decoder(trees: tiny.Trees) -> None:
    lm, decoder = ScriptedLM([]), CountedDecoder()
    encoder = SpeechTokenizer.load(trees.speech_tokenizer)
    voice = GLMVoice(lm, TextTokenizer.load(trees.lm), encoder, decoder)  # type: ignore[arg-type]
    voice.warm()
    assert (lm.warmed, decoder.warmed) == (["text", "speech or the end"], 1)
    voice.silent().warm()
    assert (len(lm.warmed), decoder.warmed) == (4, 1)


def test_a_model_that_only_checks_ends_its_reply_at_the_first_id_out_of_form(
    trees: tiny.Trees,
) -> None:
    voice, lm = scripted(trees, [*text_ids(trees, "zz"), STOP, STOP], speak=False)
    assert sum(voice.respond("q", PASSAGES, sampling=Sampling()), Answer()).text == "zz"
    voice, lm = scripted(trees, [FIRST_AUDIO], speak=False)
    with pytest.raises(GenerationError, match=r"gave audio \(id \d+\) instead of text"):
        list(voice.respond("q", PASSAGES, sampling=Sampling()))
    assert lm.closed


def test_english_alone_needs_a_model_that_masks_tokens(trees: tiny.Trees) -> None:
    encoder = SpeechTokenizer.load(trees.speech_tokenizer)
    with pytest.raises(ConfigError, match="english_only is kept by masking tokens"):
        GLMVoice(ScriptedLM([]), TextTokenizer.load(trees.lm), encoder, english_only=True)  # type: ignore[arg-type]
    voice = GLMVoice.load(trees.root, device="cpu", speak=False, english_only=True)
    assert next(voice.respond("q", (), sampling=SHORT)).text


def test_the_decoder_is_in_bfloat16_on_a_gpu_alone() -> None:
    assert unet_dtype("cuda:1", None) == unet_dtype("cuda", "bfloat16") == torch.bfloat16
    assert unet_dtype("cuda", "float32") == torch.float32
    assert unet_dtype("cpu", None) == unet_dtype("cpu", "bfloat16") == torch.float32


@pytest.mark.parametrize("count", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_defect_8_abandoned_answers_leak_nothing(trees: tiny.Trees, count: int) -> None:
    lm = TorchLM.load(trees.lm)
    text = TextTokenizer.load(trees.lm)
    voice = GLMVoice(lm, text, SpeechTokenizer.load(trees.speech_tokenizer), CountedDecoder())  # type: ignore[arg-type]
    threads, opened = threading.active_count(), CountedStream.opened

    def abandon(count: int) -> None:
        for number in range(count):
            pieces = voice.respond("q", (), sampling=Sampling(seed=number))
            for _ in range(1 + number % 2):
                next(pieces)
            if number % 2:
                pieces.close()
            del pieces

    abandon(20)
    gc.collect()
    before = len(gc.get_objects())
    abandon(count)
    gc.collect()
    assert len(gc.get_objects()) - before < min(200, count)
    assert CountedStream.opened == CountedStream.closed == opened + 20 + count
    assert threading.active_count() == threads


def test_20_threads_ask_at_once_and_each_gets_its_own_answer(model: GLMVoice, clip: Audio) -> None:
    questions: list[str | Audio] = [clip if n % 5 == 0 else f"question {n}" for n in range(20)]
    sampling = Sampling(temperature=1.0, top_p=1.0, seed=1, max_new_tokens=9)
    expected = [sum(model.respond(q, (), sampling=sampling), Answer()).text for q in questions]
    found: dict[int, str] = {}

    def ask(number: int) -> None:
        pieces = model.respond(questions[number], (), sampling=sampling)
        found[number] = sum(pieces, Answer()).text

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert [found[number] for number in range(20)] == expected


def test_the_silent_model_shares_the_weights(voice: GLMVoice, clip: Audio) -> None:
    answer = sum(voice.silent().respond(clip, PASSAGES, sampling=SHORT), Answer())
    assert answer.text
    assert answer.audio is None
    assert sum(voice.respond(clip, PASSAGES, sampling=SHORT), Answer()).audio is not None


def test_a_lone_surrogate_in_a_question_or_a_passage_is_no_error(trees: tiny.Trees) -> None:
    voice, lm = scripted(trees, [*text_ids(trees, "yes"), STOP], speak=False)
    odd = [Passage("p", "odd \ud800 text", {"title": "T\udc00"})]
    assert sum(voice.respond("wh\ud83dy", odd, sampling=Sampling()), Answer()).text == "yes"
    plain = [Passage("p", "odd ? text", {"title": "T?"})]
    list(voice.respond("wh?y", plain, sampling=Sampling()))
    assert lm.prompts[0] == lm.prompts[1]


def test_the_context_is_bounded_as_asked(trees: tiny.Trees) -> None:
    voice = GLMVoice.load(trees.root, device="cpu", speak=False, max_context=400)
    with pytest.raises(GenerationError, match="300 are left besides the reply"):
        next(voice.respond("zq" * 400, (), sampling=Sampling(max_new_tokens=500)))


def test_a_folder_without_the_decoder_says_so(trees: tiny.Trees, tmp_path: Path) -> None:
    (tmp_path / "lm").symlink_to(trees.lm)
    (tmp_path / "tok").symlink_to(trees.speech_tokenizer)
    with pytest.raises(CheckpointError, match="decoder"):
        GLMVoice.load(tmp_path, device="cpu")
    silent = GLMVoice.load(tmp_path, device="cpu", speak=False)
    assert next(silent.respond("q", (), sampling=SHORT)).text


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("speech_tokenizer", "model.safetensors"),
        ("lm", "model-00002-of-00002.safetensors"),
        ("decoder", "flow.pt"),
    ],
)
def test_weights_that_are_not_finite_are_refused_on_request(
    tmp_path: Path, kind: str, name: str
) -> None:
    trees = tiny.write_trees(tmp_path)
    file: Path = getattr(trees, kind) / name
    state = load_file(file) if name.endswith("safetensors") else torch.load(file)
    next(tensor for tensor in state.values() if tensor.is_floating_point()).view(-1)[0] = torch.nan
    if name.endswith("safetensors"):
        save_file(state, file, metadata={"format": "pt"})
    else:
        torch.save(state, file)
    GLMVoice.load(tmp_path, device="cpu")
    with pytest.raises(CheckpointError, match=rf"{name}: .* 1 of \d+ values that are NaN"):
        GLMVoice.load(tmp_path, device="cpu", check_finite=True)
