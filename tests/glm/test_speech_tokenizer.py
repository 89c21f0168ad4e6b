"""The speech tokenizer against what the reference computed, and against itself."""

from __future__ import annotations

import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray

from tests.glm import tiny
from tests.glm.clips import clip
from voicerag_core import Audio, AudioError, ConfigError, ModelError, read_audio, resample
from voicerag_core.glm.speech_tokenizer import batches
from voicerag_core.glm.speech_tokenizer.log_mel import levels, log_mel, mirrored
from voicerag_core.glm.speech_tokenizer.tokenizer import SpeechTokenizer
from voicerag_core.glm.speech_tokenizer.whisper_vq import nearest_codes
from voicerag_core.glm.weights.configs import SpeechTokenizerConfig
from voicerag_core.mel import mel_filters

GOLDEN = Path(__file__).parent / "golden" / "speech_tokens.npz"
CASES = (
    (1, 1), (200, 2), (1280, 3), (1281, 4), (48_007, 5), (480_000, 6), (480_001, 7), (481_260, 9),
    (1_040_000, 8),
)  # fmt: skip
"""Samples and seed of the clips that the reference was given."""


def audio(samples: int, seed: int) -> Audio:
    return Audio(clip(samples, seed), 16_000)


@pytest.fixture(scope="module")
def golden() -> dict[str, NDArray[np.generic]]:
    with np.load(GOLDEN) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, golden: dict[str, NDArray[np.int16]]) -> Path:
    codebook = golden["codebook_x1024"].astype(np.float32) / np.float32(1024)
    return tiny.write_speech_tokenizer(
        tmp_path_factory.mktemp("checkpoint") / "tokenizer", codebook=codebook
    )


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> SpeechTokenizer:
    return SpeechTokenizer.load(folder)


@pytest.mark.parametrize(("samples", "seed"), CASES)
def test_the_ids_are_those_of_the_reference(
    tokenizer: SpeechTokenizer, golden: dict[str, NDArray[np.int16]], samples: int, seed: int
) -> None:
    (ids,) = tokenizer.encode([audio(samples, seed)])
    assert ids == golden[f"ids_{samples}_{seed}"].tolist()


def test_a_batch_gives_the_ids_of_the_reference(
    tokenizer: SpeechTokenizer, golden: dict[str, NDArray[np.int16]]
) -> None:
    ids = tokenizer.encode([audio(*case) for case in CASES], batch_size=3)
    assert ids == [golden[f"ids_{n}_{seed}"].tolist() for n, seed in CASES]
    assert ids == [golden[f"batch_{n}_{seed}"].tolist() for n, seed in CASES]
    assert len({one for clip_ids in ids for one in clip_ids}) >= 100


def test_other_sound_gives_other_ids(golden: dict[str, NDArray[np.int16]]) -> None:
    """Else positions alone, or one code for all, could make the comparisons above come true."""
    one, other = golden["ids_480000_6"], golden["ids_1040000_8"][:375]
    assert np.mean(one == other) < 0.1


def test_what_is_looked_up_is_what_the_reference_looks_up(
    tokenizer: SpeechTokenizer, golden: dict[str, NDArray[np.float32]]
) -> None:
    samples = clip(48_007, 5)
    features = log_mel(samples, bands=128, multiple=1280)[None]
    lengths = torch.tensor([-(-48_007 // 320)])
    with torch.inference_mode():
        (hidden,) = tokenizer._network.encode(features, lengths)
    np.testing.assert_allclose(hidden.numpy(), golden["pooled_48007_5"], atol=1e-5)


def test_the_features_are_those_of_the_reference(golden: dict[str, NDArray[np.float32]]) -> None:
    for samples, seed in ((1280, 3), (48_007, 5)):
        expected = golden[f"features_{samples}_{seed}"]
        features = log_mel(clip(samples, seed), bands=128, multiple=1280).numpy()
        assert features.shape == (128, -(-samples // 1280) * 8)
        np.testing.assert_allclose(features[:, -expected.shape[1] :], expected, atol=2e-5)
    np.testing.assert_allclose(mel_filters(128).T[:, ::16], golden["filters"], atol=1e-8)


def test_the_end_of_a_later_piece_sees_zeros(
    tokenizer: SpeechTokenizer, golden: dict[str, NDArray[np.float32]]
) -> None:
    """As in the reference, which fills the last piece of a long clip to the length of the first."""
    heard: list[torch.Tensor] = []
    hook = tokenizer._network.register_forward_pre_hook(lambda _, given: heard.append(given[0][0]))
    tokenizer.encode([audio(481_260, 9)], batch_size=1)
    hook.remove()
    expected = golden["features_481260_9"]
    np.testing.assert_allclose(heard[0].numpy(), expected, atol=2e-5)
    mirrored = log_mel(clip(481_260, 9)[480_000:], bands=128, multiple=1280).numpy()
    assert np.abs(mirrored[:, -1] - expected[:, -1]).max() > 1e-3


@pytest.mark.parametrize("samples", [1, 2, 1279, 1280, 1281, 480_001])
def test_a_token_for_every_80_ms_begun(tokenizer: SpeechTokenizer, samples: int) -> None:
    pieces = [min(480_000, samples - start) for start in range(0, samples, 480_000)]
    (ids,) = tokenizer.encode([audio(samples, 20)])
    assert len(ids) == sum(-(-piece // 1280) for piece in pieces)
    assert all(0 <= one < tiny.CODES for one in ids)


def test_samples_that_may_not_be_written_are_taken(
    tokenizer: SpeechTokenizer, golden: dict[str, NDArray[np.int16]]
) -> None:
    samples = np.frombuffer(clip(48_007, 5).tobytes(), np.float32)
    assert not samples.flags.writeable
    assert tokenizer.encode([Audio(samples, 16_000)]) == [golden["ids_48007_5"].tolist()]


def test_no_sound_has_no_tokens(tokenizer: SpeechTokenizer) -> None:
    silent = Audio(np.zeros(3000, np.float32), 16_000)
    nothing = Audio(np.zeros(0, np.float32), 8_000)
    assert tokenizer.encode([]) == []
    ids = tokenizer.encode([nothing, silent, nothing])
    assert [len(one) for one in ids] == [0, 3, 0]


def test_reference_defect_only_the_first_channel_was_heard(tokenizer: SpeechTokenizer) -> None:
    """The reference takes channel 0 of a stereo file, and is deaf to a speaker on the other."""
    voice = clip(32_000, 31)
    files = []
    for channels in ([voice, 0 * voice], [0 * voice, voice]):
        stream = io.BytesIO()
        soundfile.write(stream, np.stack(channels, 1), 16_000, "FLOAT", format="WAV")
        files.append(read_audio(stream.getvalue()))
    left, right = tokenizer.encode(files)
    (silence,) = tokenizer.encode([Audio(np.zeros(32_000, np.float32), 16_000)])
    assert left == right == tokenizer.encode([Audio(voice / np.float32(2), 16_000)])[0]
    assert left != silence


def test_reference_defect_neighbours_changed_the_last_window(tokenizer: SpeechTokenizer) -> None:
    """The reference mirrors the end of the longest clip of a batch only; here of each clip."""
    loud = np.concatenate((0.01 * clip(1240, 40), clip(40, 41) * 30)).astype(np.float32)
    alone = log_mel(loud, bands=128, multiple=1280)
    beside = log_mel(loud, bands=128, multiple=1280, reflect=False)
    assert not torch.allclose(alone[:, -1], beside[:, -1], atol=1e-3)
    heard: list[torch.Tensor] = []
    hook = tokenizer._network.register_forward_pre_hook(
        lambda _, given: heard.append(given[0][0, :, :8])
    )
    tokenizer.encode([Audio(loud, 16_000)])
    tokenizer.encode([Audio(loud, 16_000), audio(99_000, 42)])
    hook.remove()
    assert torch.equal(heard[0], alone)
    assert torch.equal(heard[1], alone)


def test_sound_at_other_rates_is_resampled(tokenizer: SpeechTokenizer) -> None:
    slow = Audio(clip(16_000, 50), 8_000)
    (ids,) = tokenizer.encode([slow])
    assert len(ids) == 25
    assert [ids] == tokenizer.encode([resample(slow, 16_000)])
    assert [ids[:12]] != tokenizer.encode([Audio(slow.samples[:16_000], 16_000)])


def test_a_sample_that_is_not_finite_is_refused(tokenizer: SpeechTokenizer) -> None:
    samples = clip(16_000, 60)
    samples[500] = np.nan
    with pytest.raises(AudioError, match="NaN"):
        tokenizer.encode([Audio(samples, 16_000)])


def test_bfloat16_keeps_most_ids(folder: Path, golden: dict[str, NDArray[np.int16]]) -> None:
    coarse = SpeechTokenizer.load(folder, dtype=torch.bfloat16)
    (ids,) = coarse.encode([audio(48_007, 5)])
    assert np.mean(np.array(ids) == golden["ids_48007_5"]) > 0.8
    with pytest.raises(ConfigError, match="float16"):
        SpeechTokenizer.load(folder, dtype=torch.float16)


def test_threads_share_a_tokenizer(
    tokenizer: SpeechTokenizer, golden: dict[str, NDArray[np.int16]]
) -> None:
    found: list[list[int]] = []
    threads = [
        threading.Thread(target=lambda: found.extend(tokenizer.encode([audio(48_007, 5)])))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [golden["ids_48007_5"].tolist()] * 4


def test_the_first_of_equally_near_codes_is_taken() -> None:
    codes = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    rows = torch.tensor([[0.0, 2.0], [0.9, 0.0]])
    assert nearest_codes(rows, codes).tolist() == [1, 0]


def test_an_earlier_block_does_not_hear_a_later_one(folder: Path) -> None:
    """Within 4 s every frame hears every other; what comes after those changes nothing."""
    tokenizer = SpeechTokenizer.load(folder)
    assert SpeechTokenizerConfig().block_frames == tiny.SPEECH_TOKENIZER.block_frames == 200
    features = torch.zeros(2, 128, 800)
    features[1, :, 400:] = 1.0
    with torch.inference_mode():
        one, other = tokenizer._network.encode(features, torch.tensor([400, 400]))
    assert torch.equal(one[:50], other[:50])
    assert not torch.allclose(one[50:], other[50:])


@pytest.fixture
def prepared(folder: Path, monkeypatch: pytest.MonkeyPatch) -> SpeechTokenizer:
    """Return a tokenizer with a few prepared lengths, run again where a GPU replays."""
    monkeypatch.setattr(batches, "LENGTHS", (13, 25, 50))
    monkeypatch.setattr(batches, "ROWS", (1, 2, 4))
    made = SpeechTokenizer.load(folder)
    made.prepare(tiny.eager)
    return made


LENGTHS = (1, 201, 9_000, 16_640, 16_641, 31_999, 32_000, 40_007, 64_000)


def test_prepared_lengths_give_the_ids_of_each_clip_alone(
    tokenizer: SpeechTokenizer, prepared: SpeechTokenizer
) -> None:
    clips = [audio(samples, 70 + seed) for seed, samples in enumerate(LENGTHS)]
    alone = [tokenizer.encode([one])[0] for one in clips]
    assert [prepared.encode([one])[0] for one in clips] == alone
    assert prepared.encode(clips) == alone


def test_padding_changes_no_feature() -> None:
    """Of a clip that is loudest behind the middle of its last window."""
    late = np.concatenate((np.zeros(11_480, np.float32), 3 * clip(40, 79)))
    alone = log_mel(late, bands=128, multiple=1280)
    frames = alone.shape[1]
    wave = np.pad(mirrored(late, multiple=1280), (0, 16 * 160))
    filters, window = torch.from_numpy(mel_filters(128)), torch.hann_window(400)
    padded = levels(torch.from_numpy(wave)[None], filters, window, torch.tensor([frames]))[0]
    torch.testing.assert_close(padded[:, :frames], alone, rtol=0, atol=1e-5)
    assert padded[:, frames:].abs().max() == 0


def test_after_preparing_no_clip_meets_a_new_shape(prepared: SpeechTokenizer) -> None:
    seen: set[tuple[str, tuple[int, ...]]] = set()
    for name, module in prepared._network.named_modules():
        if not list(module.children()):
            module.register_forward_pre_hook(
                lambda _, given, name=name: seen.add((name, tuple(given[0].shape)))
            )
    prepared.prepare(tiny.eager)
    expected = set(seen)
    lengths = np.random.default_rng(6).integers(1, 64_001, 40).tolist()
    with ThreadPoolExecutor(6) as threads:
        ids = list(
            threads.map(lambda samples: prepared.encode([audio(samples, samples)])[0], lengths)
        )
    assert [len(one) for one in ids] == [-(-samples // 1280) for samples in lengths]
    assert seen == expected


def test_calls_that_wait_share_a_batch(
    prepared: SpeechTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[int] = []
    plain = batches.PreparedBatches.encode

    def noted(self: batches.PreparedBatches, pieces: list[batches.Piece], length: int) -> object:
        rows.append(len(pieces))
        return plain(self, pieces, length)

    monkeypatch.setattr(batches.PreparedBatches, "encode", noted)
    clips = [audio(9_000 + 100 * number, 80 + number) for number in range(6)]
    alone = [prepared.encode([one]) for one in clips]
    rows.clear()
    with ThreadPoolExecutor(6) as threads:
        with prepared._turn:
            running = [threads.submit(prepared.encode, [one]) for one in clips]
            for _ in range(2000):
                if len(prepared._waiting) == 6:
                    break
                time.sleep(0.005)
        assert [one.result() for one in running] == alone
    assert sorted(rows) == [2, 4]
    assert not prepared._waiting


def test_the_error_of_a_call_leaves_the_others(
    prepared: SpeechTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = batches.PreparedBatches.encode

    def failing(self: batches.PreparedBatches, pieces: list[batches.Piece], length: int) -> object:
        if any(len(piece.samples) == 9_999 for piece in pieces):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return plain(self, pieces, length)

    clips = [audio(samples, 90) for samples in (9_000, 9_999, 9_500)]
    alone = [prepared.encode([one]) for one in (clips[0], clips[2])]
    monkeypatch.setattr(batches.PreparedBatches, "encode", failing)
    with ThreadPoolExecutor(3) as threads:
        with prepared._turn:
            running = [threads.submit(prepared.encode, [one]) for one in clips]
            for _ in range(2000):
                if len(prepared._waiting) == 3:
                    break
                time.sleep(0.005)
        assert [running[0].result(), running[2].result()] == alone
        with pytest.raises(ModelError, match="the speech tokenizer takes"):
            running[1].result()
