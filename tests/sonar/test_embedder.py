"""The embedder: its port, its guards, what it reads and what it refuses."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from tests.sonar import recipe
from tests.sonar.conftest import state
from voicerag_core import (
    Audio,
    AudioError,
    CheckpointError,
    ConfigError,
    ModelError,
    read_audio,
    resample,
)
from voicerag_core.sonar import SonarEmbedder
from voicerag_core.sonar.guards import MAX_SPEECH_SECONDS
from voicerag_core.testing import EmbedderContract

RATE = 16_000


@pytest.fixture(scope="module")
def clip() -> Audio:
    return Audio(recipe.sound(5, 1.5), RATE)


@pytest.mark.filterwarnings("ignore:.*was cut at character:UserWarning")
class TestContract(EmbedderContract):
    @pytest.fixture
    def embedder(self, embedder: SonarEmbedder) -> SonarEmbedder:
        return embedder

    @pytest.fixture
    def clip(self, clip: Audio) -> Audio:
        return clip


def nearest(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max())


def test_no_words_come_between(embedder: SonarEmbedder) -> None:
    assert not embedder.needs_transcriber
    assert embedder.dim == recipe.WIDTH


def test_no_input_gives_no_rows(embedder: SonarEmbedder) -> None:
    assert embedder.embed_passages([]).shape == (0, recipe.WIDTH)
    assert embedder.embed_speech([]).shape == (0, recipe.WIDTH)


def test_rows_keep_their_order_and_padding_is_of_no_effect(embedder: SonarEmbedder) -> None:
    texts = [text * (1 + place % 7) for place, text in enumerate(recipe.strings(40, 3))]
    together = embedder.embed_passages(texts)
    alone = np.concatenate([embedder.embed_passages([text]) for text in texts])
    assert nearest(together, alone) < 2e-6
    assert nearest(together, alone[::-1]) > 0.01
    clips = [
        Audio(recipe.sound(seed, seconds), RATE)
        for seed, seconds in enumerate((0.3, 4.7, 1.11, 0.05, 2.0, 2.0))
    ]
    spoken = embedder.embed_speech(clips)
    single = np.concatenate([embedder.embed_speech([one]) for one in clips])
    assert nearest(spoken, single) < 2e-6
    assert nearest(spoken, single[::-1]) > 0.01


def test_the_loudness_of_a_clip_does_not_count(embedder: SonarEmbedder, clip: Audio) -> None:
    quiet = Audio(clip.samples * np.float32(0.25), RATE)
    assert nearest(embedder.embed_speech([quiet]), embedder.embed_speech([clip])) < 1e-5


def test_a_stereo_file_counts_as_its_mix(embedder: SonarEmbedder) -> None:
    left, right = recipe.sound(1, 1.0), recipe.sound(2, 1.0)
    file = io.BytesIO()
    soundfile.write(file, np.stack((left, right), axis=1), RATE, "FLOAT", format="WAV")
    stereo = embedder.embed_speech([read_audio(file.getvalue())])
    mixed = embedder.embed_speech([Audio((left + right) / np.float32(2), RATE)])
    assert nearest(stereo, mixed) < 1e-6
    assert nearest(stereo, embedder.embed_speech([Audio(left, RATE)])) > 0.01
    with pytest.raises(AudioError, match="mono"):
        Audio(np.stack((left, right), axis=1), RATE)


def test_another_rate_is_refused_and_conversion_gives_the_same_vector(
    embedder: SonarEmbedder,
) -> None:
    time = np.arange(2 * 44_100) / 44_100
    tone = (np.sin(2 * np.pi * (300 * time + 200 * time**2)) * 0.3).astype(np.float32)
    with pytest.raises(AudioError, match=r"44100 Hz.*resample"):
        embedder.embed_speech([Audio(tone, 44_100)])
    file = io.BytesIO()
    soundfile.write(file, tone, 44_100, "FLOAT", format="WAV")
    by_file = embedder.embed_speech([read_audio(file.getvalue())])
    by_hand = embedder.embed_speech([resample(Audio(tone, 44_100), RATE)])
    assert nearest(by_file, by_hand) < 1e-6


@pytest.mark.parametrize(
    ("samples", "told"),
    [
        (np.zeros(0, np.float32), "no samples"),
        (np.zeros(RATE, np.float32), "silent"),
        (np.full(RATE, 0.25, np.float32), "silent or constant"),
        (recipe.sound(1, 0.02), "20.0 ms"),
        (recipe.sound(1, 0.03), "35 ms"),
        (np.full(RATE, np.nan, np.float32), "not finite"),
        (recipe.sound(1, MAX_SPEECH_SECONDS + 1), r"82.9 s.*speech_windows"),
    ],
    ids=["empty", "silence", "constant", "20 ms", "one frame", "NaN", "too long"],
)
def test_a_clip_without_usable_speech_is_refused(
    embedder: SonarEmbedder, samples: np.ndarray, told: str
) -> None:
    with pytest.raises(AudioError, match=told):
        embedder.embed_speech([Audio(samples, RATE)])


def test_a_clip_at_the_limits_is_embedded(embedder: SonarEmbedder) -> None:
    ends = [Audio(recipe.sound(1, 0.035), RATE), Audio(recipe.sound(1, 40.0), RATE)]
    assert np.isfinite(embedder.embed_speech(ends)).all()


def test_a_long_text_is_cut_with_a_warning_that_says_where(embedder: SonarEmbedder) -> None:
    text = " ".join(recipe.strings(400, 21))
    tokens = embedder._text.tokenizer.encode(text, "eng_Latn")
    assert len(tokens) > 2000
    with pytest.warns(UserWarning, match="text 1 has") as warned:
        rows = embedder.embed_passages(["short", text])
    said = str(warned[0].message)
    assert f"{len(tokens)} tokens" in said
    cut = int(said.partition("character ")[2].partition(" ")[0])
    assert f"of {len(text)}, behind {text[cut - 30 : cut]!r}" in said
    kept = embedder._text.tokenizer.encode(text[:cut], "eng_Latn")
    assert kept[:-1] == tokens[:514]
    assert warned[0].filename == __file__
    with pytest.warns(UserWarning, match="was cut"):
        again = embedder.embed_passages([text[: cut + 200]])
    assert nearest(rows[1:], again) < 1e-6


def test_a_text_that_looks_like_a_path_is_never_read(
    embedder: SonarEmbedder, tmp_path: Path
) -> None:
    file = tmp_path / "question.txt"
    before = embedder.embed_passages([str(file)])
    file.write_text("something else\n" * 10)
    assert np.array_equal(embedder.embed_passages([str(file)]), before)
    with pytest.raises(ConfigError, match="list of texts"):
        embedder.embed_passages(str(file))


@pytest.mark.parametrize("language", ["eng_Latin", "xx", "", "EN"])
def test_an_unknown_language_is_refused(models: Path, language: str) -> None:
    with pytest.raises(ConfigError, match="eng_Latn"):
        SonarEmbedder(
            models / "sonar_text_encoder.pt", language=language, device="cpu", heads=recipe.HEADS
        )


def test_either_code_names_a_language(models: Path) -> None:
    text = models / "sonar_text_encoder.pt"
    by_speech = SonarEmbedder(
        text, models / "spenc.v3ap.deu.pt", language="deu", device="cpu", heads=recipe.HEADS
    )
    assert (by_speech.language, by_speech.speech_language) == ("deu_Latn", "deu")
    by_text = SonarEmbedder(
        text, models / "spenc.v3ap.deu.pt", language="deu_Latn", device="cpu", heads=recipe.HEADS
    )
    assert (by_text.language, by_text.speech_language) == ("deu_Latn", "deu")


def test_the_language_of_a_text_counts(embedder: SonarEmbedder) -> None:
    english = embedder.embed_passages(["Gift"])
    assert nearest(embedder.embed_passages(["Gift"], language="deu"), english) > 0.001
    assert nearest(embedder.embed_passages(["Gift"], language="eng"), english) == 0


def test_a_wrong_pair_of_languages_is_refused(models: Path) -> None:
    text, english = models / "sonar_text_encoder.pt", models / "spenc.eng.pt"
    with pytest.raises(ConfigError, match=r"spenc.eng.pt is the speech encoder of 'eng'.*'deu'"):
        SonarEmbedder(text, english, language="deu_Latn", device="cpu", heads=recipe.HEADS)
    with pytest.raises(ConfigError, match="two languages"):
        SonarEmbedder(
            text, english, language="deu", speech_language="eng", device="cpu", heads=recipe.HEADS
        )
    with pytest.raises(ConfigError, match="no SONAR speech encoder for 'zul_Latn'"):
        SonarEmbedder(text, english, language="zul_Latn", device="cpu", heads=recipe.HEADS)
    wanted = SonarEmbedder(
        text,
        english,
        language="deu",
        speech_language="eng",
        cross_lingual=True,
        device="cpu",
        heads=recipe.HEADS,
    )
    assert (wanted.language, wanted.speech_language) == ("deu_Latn", "eng")


def test_licences_are_shown(embedder: SonarEmbedder, models: Path) -> None:
    assert embedder.licences == {
        "sonar_text_encoder.pt": "CC-BY-NC-4.0",
        "spenc.eng.pt": "not stated by its authors",
    }
    german = SonarEmbedder(
        models / "sonar_text_encoder.pt",
        models / "spenc.v3ap.deu.pt",
        language="deu",
        device="cpu",
        heads=recipe.HEADS,
    )
    assert german.licences["spenc.v3ap.deu.pt"] == "MIT"


def test_without_a_speech_encoder_speech_is_refused(models: Path, clip: Audio) -> None:
    typed = SonarEmbedder(models / "sonar_text_encoder.pt", device="cpu", heads=recipe.HEADS)
    assert typed.embed_passages(["a"]).shape == (1, recipe.WIDTH)
    with pytest.raises(ConfigError, match="without a speech encoder"):
        typed.embed_speech([clip])


@pytest.mark.parametrize("options", [{"device": "tpu"}, {"device": "cuda:77"}, {"dtype": "int8"}])
def test_what_cannot_be_run_on_is_refused(models: Path, options: dict[str, str]) -> None:
    chosen = {"device": "cpu", **options}
    with pytest.raises(ConfigError, match=r"give auto|choose of"):
        SonarEmbedder(models / "sonar_text_encoder.pt", **chosen)  # type: ignore[arg-type]


@pytest.mark.parametrize(("dtype", "allowed"), [("bfloat16", 0.03), ("float16", 0.005)])
def test_half_precision_is_near(
    models: Path, embedder: SonarEmbedder, clip: Audio, dtype: str, allowed: float
) -> None:
    half = SonarEmbedder(
        models / "sonar_text_encoder.pt",
        models / "spenc.eng.pt",
        device="cpu",
        heads=recipe.HEADS,
        dtype=dtype,
    )
    texts = ["Where does the river reach the sea?", "A"]
    longer = Audio(recipe.sound(8, 2.5), RATE)
    assert 0 < nearest(half.embed_passages(texts), embedder.embed_passages(texts)) < allowed
    spoken = half.embed_speech([clip, longer])
    assert spoken.dtype == np.float32
    assert 0 < nearest(spoken, embedder.embed_speech([clip, longer])) < allowed
    assert half.model_id == embedder.model_id


def test_a_model_that_gives_no_numbers_is_an_error(models: Path, tmp_path: Path) -> None:
    weights = state("text")
    weights["encoder.layers.0.ffn.output_proj.weight"] *= 1e30
    weights["encoder.layers.1.ffn.output_proj.weight"] *= 1e30
    torch.save({"model": weights}, tmp_path / "text.pt")
    broken = SonarEmbedder(
        tmp_path / "text.pt",
        tokenizer=models / "sentencepiece.source.256000.model",
        device="cpu",
        heads=recipe.HEADS,
        dtype="float16",
    )
    with pytest.raises(ModelError, match="not finite"):
        broken.embed_passages(["a"])


def test_widths_must_agree(models: Path, tmp_path: Path) -> None:
    narrow = state("text")
    for name, tensor in narrow.items():
        kept = tuple(slice(0, size // 2 if size == recipe.WIDTH else size) for size in tensor.shape)
        narrow[name] = tensor[kept].clone()
    torch.save(narrow, tmp_path / "text.pt")
    mixed = SonarEmbedder(
        tmp_path / "text.pt",
        models / "spenc.eng.pt",
        models / "sentencepiece.source.256000.model",
        device="cpu",
        heads=recipe.HEADS,
    )
    with pytest.raises(CheckpointError, match="not of one space"):
        mixed.warm()


def test_nothing_is_loaded_before_its_time(tmp_path: Path) -> None:
    absent = SonarEmbedder(tmp_path / "sonar_text_encoder.pt", device="cpu", heads=recipe.HEADS)
    with pytest.raises(CheckpointError, match="voicerag download sonar"):
        absent.embed_passages(["a"])
    with pytest.raises(CheckpointError, match="there is no checkpoint at"):
        _ = absent.model_id


def test_the_library_stays_silent(
    embedder: SonarEmbedder, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.DEBUG):
        embedder.embed_passages(["a"])
    assert capfd.readouterr() == ("", "")
