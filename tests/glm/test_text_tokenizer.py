from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.glm import tiny_lm
from voicerag_core.errors import CheckpointError
from voicerag_core.glm.text_tokenizer import SPECIAL_TOKENS, TextStream, TextTokenizer

GOLDEN = Path(__file__).parent / "golden" / "text_ids.npz"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("lm")
    tiny_lm.write_text_files(made)
    return made


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> TextTokenizer:
    return TextTokenizer.load(folder)


def test_ids_are_those_of_the_reference_on_3200_strings(tokenizer: TextTokenizer) -> None:
    golden = np.load(GOLDEN)
    expected = np.split(golden["ids"], np.cumsum(golden["lengths"])[:-1])
    texts = tiny_lm.random_texts()
    assert len(texts) == len(expected) == 3200
    assert len(np.unique(golden["ids"])) > 200
    wrong = [
        text
        for text, ids in zip(texts, expected, strict=True)
        if tokenizer.encode(text) != ids.tolist()
    ]
    assert wrong == []


def test_every_string_comes_back(tokenizer: TextTokenizer) -> None:
    for text in tiny_lm.random_texts(500):
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_a_lone_surrogate_is_a_question_mark(tokenizer: TextTokenizer) -> None:
    assert tokenizer.encode("a\ud800b") == tokenizer.encode("a?b")
    assert tokenizer.encode("\udfff") == tokenizer.encode("?")
    assert tokenizer.decode(tokenizer.encode("😀 \U0001f44d")) == "😀 \U0001f44d"


def test_a_special_token_in_a_text_is_only_its_characters(tokenizer: TextTokenizer) -> None:
    for name in (*SPECIAL_TOKENS, "<|audio_0|>", "<|audio_127|>"):
        ids = tokenizer.encode(f"a {name} b")
        assert all(tokenizer.vocabulary.is_text(token) for token in ids)
        assert tokenizer.decode(ids) == f"a {name} b"


def test_roles_and_speech_have_the_ids_of_the_config(tokenizer: TextTokenizer) -> None:
    vocabulary = tokenizer.vocabulary
    assert vocabulary.specials["<|user|>"] == 307
    assert (vocabulary.audio_start, vocabulary.audio_size) == (330, 128)
    assert vocabulary.stop_ids == (300, 307, 309)
    assert [vocabulary.is_audio(token) for token in (329, 330, 457, 458)] == [0, 1, 1, 0]


def test_the_saved_tokenizer_reads_back_the_same(tokenizer: TextTokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path / "tokenizer.json")
    again = TextTokenizer.load(tmp_path)
    assert again.vocabulary == tokenizer.vocabulary
    for text in tiny_lm.random_texts(200):
        assert again.encode(text) == tokenizer.encode(text)


def test_a_stream_holds_back_an_unfinished_character(tokenizer: TextTokenizer) -> None:
    ids = tokenizer.encode("a😀b")
    stream = TextStream(tokenizer)
    pieces = [stream.push(token) for token in ids]
    assert "".join(pieces) + stream.flush() == "a😀b"
    assert not any("\ufffd" in piece for piece in pieces)
    for token in ids[:3]:
        stream.push(token)
    assert stream.flush() == "\ufffd"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"no base64 at all\n", "no rank file"),
        (b"YQ== 0\nYg== 5\n", "0 to 1"),
        (b"YQ== 0\n", "cut short"),
        (b"", "cut short"),
    ],
)
def test_a_broken_rank_file_is_named(
    folder: Path, tmp_path: Path, content: bytes, says: str
) -> None:
    (tmp_path / "tokenizer.model").write_bytes(content)
    (tmp_path / "tokenizer_config.json").write_bytes(
        (folder / "tokenizer_config.json").read_bytes()
    )
    with pytest.raises(CheckpointError, match=says) as caught:
        TextTokenizer.load(tmp_path)
    assert "tokenizer.model" in str(caught.value)


def test_missing_files_and_special_tokens_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"neither tokenizer\.json nor tokenizer\.model"):
        TextTokenizer.load(tmp_path)
    (tmp_path / "tokenizer.model").write_bytes((folder / "tokenizer.model").read_bytes())
    with pytest.raises(CheckpointError, match=r"tokenizer_config\.json"):
        TextTokenizer.load(tmp_path)
    values = json.loads((folder / "tokenizer_config.json").read_text())
    del values["added_tokens_decoder"]["307"]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match=r"<\|user\|>"):
        TextTokenizer.load(tmp_path)
