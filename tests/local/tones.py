"""A speech encoder that hears an alphabet of tones: real files and a real network, no training.

Each letter is a tone of its own. The network averages pairs of mel frames, weighs the bands around
each letter's tone, and takes the blank where all is quiet; so a spelled clip has a known text.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from voicerag_core.local.hearing.ctc_recognizer import CTCRecognizer
from voicerag_core.local.hearing.log_mel import MELS
from voicerag_core.local.hearing.subword_model import STEPS_PER_NAT, SubwordModel
from voicerag_core.local.weights import files as weights
from voicerag_core.local.weights.files import WeightFile, WeightSet
from voicerag_core.mel import mel_filters
from voicerag_core.types import Audio

Use = Callable[..., CTCRecognizer]

RATE = 16_000
PIECES = ["▁", *"abcdefghijklmnopqrstuvwxyz"]
BANDS = [4 + 2 * i for i in range(len(PIECES))]
"""The mel band of each piece's tone."""
SHARPNESS = 30.0
LOUD = 0.6
"""Log-mel level, as Whisper scales it, above which a tone sounds rather than not."""
TONE_SECONDS, GAP_SECONDS = 0.06, 0.04


def spell(text: str, *, level: float = 0.3) -> Audio:
    """Sound a text, a tone a letter and a gap after each."""
    clip = [np.zeros(int(GAP_SECONDS * RATE))]
    for letter in "▁" + text.lower().replace(" ", "▁"):
        time = np.arange(int(TONE_SECONDS * RATE)) / RATE
        clip.append(level * np.sin(2 * np.pi * hertz(BANDS[PIECES.index(letter)]) * time))
        clip.append(np.zeros(int(GAP_SECONDS * RATE)))
    return Audio(np.concatenate(clip).astype(np.float32), RATE)


def hertz(band: int) -> float:
    """Return the frequency that a mel band is centred on."""
    filters = mel_filters(MELS)[band]
    return float((filters * np.linspace(0, RATE / 2, len(filters))).sum() / filters.sum())


def network(
    *, pieces: int = len(PIECES), output: str = "log_probs", bias: float = 0.0
) -> onnx.ModelProto:
    """Build the network; rows of a batch do not touch one another."""
    weight = np.zeros((MELS, pieces + 1), np.float32)
    for column, band in enumerate(BANDS[:pieces]):
        weight[band, column] = SHARPNESS
    offsets = np.full(pieces + 1, bias, np.float32)
    offsets[pieces] += SHARPNESS * LOUD
    constants = {"weight": weight, "bias": offsets}
    nodes = [
        helper.make_node("AveragePool", ["log_mel"], ["pairs"], kernel_shape=[2], strides=[2]),
        helper.make_node("Transpose", ["pairs"], ["frames"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["frames", "weight"], ["products"]),
        helper.make_node("Add", ["products", "bias"], ["logits"]),
        helper.make_node("LogSoftmax", ["logits"], ["softmax"], axis=-1),
        # The lengths take part, as they do in a network with attention.
        helper.make_node("ReduceMax", ["lengths"], ["longest"], keepdims=0),
        helper.make_node("Cast", ["longest"], ["longest_float"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["longest_float", "longest_float"], ["nothing"]),
        helper.make_node("Add", ["softmax", "nothing"], [output]),
    ]
    graph = helper.make_graph(
        nodes,
        "tones",
        [
            helper.make_tensor_value_info("log_mel", TensorProto.FLOAT, ["B", MELS, "T"]),
            helper.make_tensor_value_info("lengths", TensorProto.INT64, ["B"]),
        ],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["B", "S", pieces + 1])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 9
    onnx.checker.check_model(model)
    return model


def write_encoder(
    home: Path, *, sentences: Iterable[str] = (), files: dict[str, bytes] | None = None
) -> WeightSet:
    """Write the files of the tone encoder into a data folder, and give their manifest entry.

    Args:
        home: The data folder; the set's own folder is made in it.
        sentences: Texts for a language model; none for no language model.
        files: Bytes to write in place of the right ones, by file name.
    """
    folder = home / "speech-encoder"
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(network(), str(folder / "speech_encoder.onnx"))
    listed = {"format": 1, "pieces": PIECES, "blank": len(PIECES), "stride": 2}
    (folder / "speech_pieces.json").write_text(json.dumps(listed), encoding="utf-8")
    if sentences:
        spelled = [["▁", *text.replace(" ", "▁")] for text in sentences]
        arrays = bigrams(spelled, PIECES)
        arrays["word"] = np.diff(arrays["word"], prepend=np.uint16(0))
        np.savez(folder / "speech_piece_model.npz", **arrays)
    for name, content in (files or {}).items():
        (folder / name).write_bytes(content)
    return WeightSet(
        name="speech-encoder",
        purpose="speech embedding",
        package="no_such_package",
        folder="",
        wheel="voicerag-core",
        licence="MIT",
        origin="a test",
        files=tuple(
            WeightFile(
                path.name, path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()
            )
            for path in sorted(folder.iterdir())
        ),
    )


def bigrams(texts: Iterable[Sequence[str]], pieces: Sequence[str]) -> dict[str, Any]:
    """Count pairs of pieces, each of them a hundredth more often: the arrays of a piece model."""
    size = len(pieces)
    met: Counter[tuple[int, int]] = Counter()
    for text in texts:
        path = [size + 1, *(pieces.index(piece) for piece in text), size]
        met.update(itertools.pairwise(path))
    table = np.full((size + 2, size + 1), 0.01)
    for (first, second), count in met.items():
        table[first, second] += count
    single = np.append(table.sum(axis=0) / table.sum(), 1e-9)
    follow = table / table.sum(axis=1, keepdims=True)
    every = np.arange(size + 2)
    chances = np.concatenate(([1.0], single, follow.ravel()))
    return {
        "pieces": np.int64(size),
        "word": np.concatenate(([0], every, np.tile(every[:-1], size + 2))).astype(np.uint16),
        "children": np.concatenate(
            ([size + 2], np.full(size + 2, size + 1), np.zeros(follow.size))
        ).astype(np.uint16),
        "prob": np.clip(np.round(-np.log(chances) * STEPS_PER_NAT), 0, 255).astype(np.uint8),
        "backoff": np.zeros(len(chances), np.uint8),
    }


def piece_model(texts: Iterable[Sequence[str]], pieces: Sequence[str]) -> SubwordModel:
    """Make a piece model of such pairs."""
    arrays = bigrams(texts, pieces)
    return SubwordModel(int(arrays.pop("pieces")), **arrays)


def user_of(home: Path, monkeypatch: pytest.MonkeyPatch) -> Use:
    """Return a function that writes a tone encoder, lists it, and opens the product's encoder."""

    def use(
        *, beams: int = 8, sentences: Iterable[str] = (), files: dict[str, bytes] | None = None
    ) -> CTCRecognizer:
        encoder = write_encoder(home, sentences=sentences, files=files)
        manifest = with_encoder(encoder)
        monkeypatch.setattr(weights, "manifest", lambda: manifest)
        return CTCRecognizer(data_dir=home, beams=beams, threads=2)

    return use


def with_encoder(encoder: WeightSet) -> tuple[WeightSet, ...]:
    """Return the manifest with this speech encoder in the place of the shipped one."""
    others = tuple(one for one in weights.manifest() if one.name != encoder.name)
    return (*others, encoder)
