"""The multilingual embedder, on made-up weights of the same form and on the packaged ones."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.local import packed_weights
from tests.local.packed_weights import HEADS, LAYERS, PIECES, WIDTH, write_packed
from voicerag_core.errors import CheckpointError, MissingExtraError
from voicerag_core.local.multilingual.embedder import DIM, MODEL_ID, WEIGHTS, MultilingualEmbedder
from voicerag_core.local.multilingual.packed_file import read_packed
from voicerag_core.local.weights.files import weight_path

Tensors = dict[str, NDArray[np.float32]]


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Tensors]:
    path = tmp_path_factory.mktemp("packed") / "tiny.bin"
    return path, write_packed(path)


@pytest.fixture(scope="module")
def tiny(made_up: tuple[Path, Tensors]) -> MultilingualEmbedder:
    return MultilingualEmbedder(1, weights=made_up[0])


@pytest.fixture(scope="module")
def real() -> MultilingualEmbedder:
    try:
        weight_path(WEIGHTS)
    except (MissingExtraError, CheckpointError):
        pytest.skip("the extra 'multilingual' is not installed")
    return MultilingualEmbedder()


def normalised(states: NDArray[np.float32], known: Tensors, name: str) -> NDArray[np.float32]:
    mean = states.mean(axis=1, keepdims=True)
    spread = np.sqrt(states.var(axis=1, keepdims=True) + 1e-12)
    found: NDArray[np.float32] = (states - mean) / spread * known[f"{name}.w"] + known[f"{name}.b"]
    return found


def by_hand(known: Tensors, ids: list[int]) -> NDArray[np.float32]:
    """Embed tokens in plain float32: one vector of unit length."""
    states = known["emb.word"][ids] + known["emb.pos"].reshape(-1, WIDTH)[: len(ids)]
    states = states + known["emb.type"][:WIDTH]
    states = normalised(states.astype(np.float32), known, "emb.ln")
    for layer in range(LAYERS):
        at = f"l{layer}"
        query, key, value = (
            (states @ known[f"{at}.{one}.w"].T + known[f"{at}.{one}.b"]).reshape(
                len(ids), HEADS, -1
            )
            for one in "qkv"
        )
        weights = np.exp(np.einsum("thd,shd->hts", query, key) / math.sqrt(WIDTH / HEADS))
        weights /= weights.sum(axis=2, keepdims=True)
        mixed = np.einsum("hts,shd->thd", weights, value).reshape(len(ids), WIDTH)
        added = states + mixed @ known[f"{at}.ao.w"].T + known[f"{at}.ao.b"]
        states = normalised(added.astype(np.float32), known, f"{at}.aln")
        inner = states @ known[f"{at}.fi.w"].T + known[f"{at}.fi.b"]
        inner *= 0.5 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
        added = states + inner @ known[f"{at}.fo.w"].T + known[f"{at}.fo.b"]
        states = normalised(added.astype(np.float32), known, f"{at}.oln")
    mean = states.mean(axis=0)
    row: NDArray[np.float32] = mean / np.linalg.norm(mean)
    return row


def test_the_packed_weights_give_the_vectors_of_the_plain_network(
    made_up: tuple[Path, Tensors], tiny: MultilingualEmbedder
) -> None:
    ids = [PIECES.index(piece) for piece in ("<s>", "▁query", ":", "▁塔", "高", "</s>")]
    (row,) = tiny.embed_questions(["塔高"])
    assert row.shape == (WIDTH,)
    assert float(row @ by_hand(made_up[1], ids)) > 0.999


def test_questions_and_passages_have_prefixes_of_their_own(tiny: MultilingualEmbedder) -> None:
    question, passage = tiny.embed_questions(["a b"])[0], tiny.embed_passages(["a b"])[0]
    assert float(question @ passage) < 0.999
    assert "query: " in tiny.model_id
    assert "passage: " in tiny.model_id


def test_a_row_does_not_depend_on_the_other_texts_of_its_call(tiny: MultilingualEmbedder) -> None:
    texts = ["塔高", "a", "b a b a b a b a", "", "a \ud800"]
    together = tiny.embed_passages(texts)
    for text, row in zip(texts, together, strict=True):
        np.testing.assert_allclose(tiny.embed_passages([text])[0], row, atol=1e-5)
    assert np.allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-5)


def test_characters_are_replaced_and_white_space_is_one(tiny: MultilingualEmbedder) -> None:
    plain, other = tiny.embed_passages(["a b", "\t\u0001Ａ \t b "])
    np.testing.assert_allclose(plain, other, atol=1e-6)


def test_a_text_longer_than_the_network_takes_is_cut(tiny: MultilingualEmbedder) -> None:
    long, longer = tiny.embed_passages(["a b " * 10, "a b " * 40])
    np.testing.assert_allclose(long, longer, atol=1e-6)


def test_no_texts_are_no_rows(tiny: MultilingualEmbedder) -> None:
    assert tiny.embed_questions([]).shape == (0, WIDTH)


@pytest.mark.parametrize("size", [3, 60, 400, 5000])
def test_a_file_that_is_cut_off_is_refused(
    made_up: tuple[Path, Tensors], tmp_path: Path, size: int
) -> None:
    cut = tmp_path / "cut.bin"
    cut.write_bytes(made_up[0].read_bytes()[:size])
    with pytest.raises(CheckpointError, match=r"cut\.bin cannot be read as packed weights"):
        MultilingualEmbedder(1, weights=cut).warm()


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CheckpointError, match="no file"):
        read_packed(tmp_path / "pipe")


def test_another_file_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.bin"
    other.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(CheckpointError, match="does not begin with E5S1"):
        read_packed(other)


def test_without_the_extra_the_message_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    embedder = MultilingualEmbedder(1, data_dir=tmp_path)
    assert (embedder.model_id, embedder.dim) == (MODEL_ID, DIM)
    with pytest.raises(MissingExtraError, match=r"voicerag-core\[multilingual\]"):
        embedder.embed_questions(["a"])


def test_the_packaged_weights_find_passages_across_languages(real: MultilingualEmbedder) -> None:
    passages = real.embed_passages(
        [
            "埃菲尔铁塔高330米，位于巴黎。",
            "The printer on the third floor needs new toner.",
            "Der Urlaub dauert 30 Tage.",
        ]
    )
    questions = real.embed_questions(
        ["How tall is the Eiffel Tower?", "Which printer is out of toner?", "假期有多少天？"]
    )
    assert (questions @ passages.T).argmax(axis=1).tolist() == [0, 1, 2]


def test_the_tiny_file_is_read_as_it_was_written(made_up: tuple[Path, Tensors]) -> None:
    path, known = made_up
    found = read_packed(path)
    rows = found.rows("emb.word", np.array([[0, 5]], np.int64))
    np.testing.assert_allclose(rows[0], known["emb.word"][[0, 5]], atol=1e-6)
    assert [piece for piece, _ in found.pieces] == list(packed_weights.PIECES)
    assert found.characters == packed_weights.CHARACTERS
