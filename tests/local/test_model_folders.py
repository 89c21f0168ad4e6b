"""Models of the user's folders: ONNX encoders and cross-encoders, and Whisper models."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tokenizers
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from voicerag_core import CheckpointError, ConfigError, ModelError, load_settings, read_audio
from voicerag_core.local.cross_encoder import CrossEncoder
from voicerag_core.local.hearing.whisper import WEIGHTS, WhisperTranscriber
from voicerag_core.local.minilm import MiniLMEmbedder
from voicerag_core.local.onnx_embedder import OnnxEmbedder
from voicerag_core.local.weights.files import weight_folder, weight_path
from voicerag_core.stack import open_parts
from voicerag_core.stack.chosen import usual_prefixes

SAMPLE = Path(__file__).parents[2] / "examples" / "sample"
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "query", "passage", "tower", "tall", "bread"]
WIDTH = 6
TABLE = np.random.default_rng(7).normal(size=(len(WORDS), WIDTH)).astype(np.float32)
TEXTS = ["The tower is 48 metres tall.", "bread", "", "塔有多高？", "\ud800", "word " * 900]


def write(folder: Path, files: Mapping[str, object]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(content))


def tokenizer(folder: Path) -> None:
    made = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: i for i, word in enumerate(WORDS)}, "[UNK]")
    )
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.post_processor = tokenizers.processors.TemplateProcessing(
        "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", [("[CLS]", 2), ("[SEP]", 3)]
    )
    made.save(str(folder / "tokenizer.json"))


def network(
    folder: Path, nodes: Sequence[onnx.NodeProto], inputs: Sequence[str], output: str, rank: int
) -> None:
    """Write a network of a few nodes."""
    shape = [None] * rank
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, TensorProto.INT64, [None, None]) for name in inputs],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(TABLE, "table")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "model.onnx")


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A folder whose network looks a vector up for each token."""
    folder = tmp_path / "tiny-embedder"
    folder.mkdir()
    tokenizer(folder)
    nodes = [helper.make_node("Gather", ["table", "input_ids"], ["last_hidden_state"])]
    network(folder, nodes, ["input_ids"], "last_hidden_state", 3)
    return folder


def of(*words: str) -> NDArray[np.float32]:
    """The vectors of tokens."""
    return TABLE[[WORDS.index(word) for word in words]]


def unit(vector: NDArray[Any]) -> NDArray[Any]:
    normed: NDArray[Any] = vector / np.linalg.norm(vector)
    return normed


POOLED = of("[CLS]", "tower", "tall", "[SEP]")


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (None, POOLED.mean(0)),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}, POOLED.mean(0)),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, POOLED[0]),
        ({"pooling_mode_max_tokens": True}, POOLED.max(0)),
        ({"pooling_mode_lasttoken": True}, POOLED[-1]),
        ({"pooling_mode_mean_sqrt_len_tokens": True}, POOLED.sum(0)),
        (
            {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True},
            np.concatenate([POOLED[0], POOLED.mean(0)]),
        ),
    ],
)
def test_tokens_are_pooled_as_the_folder_says(
    tiny: Path, config: dict[str, bool] | None, expected: NDArray[Any]
) -> None:
    if config is not None:
        write(
            tiny,
            {
                "modules.json": [
                    {"path": "", "type": "sentence_transformers.models.Transformer"},
                    {"path": "pool", "type": "sentence_transformers.models.Pooling"},
                    {"path": "n", "type": "sentence_transformers.models.Normalize"},
                ],
                "pool/config.json": {"word_embedding_dimension": WIDTH, **config},
            },
        )
    one = OnnxEmbedder(tiny)
    rows = one.embed_passages(["tower tall", "bread bread bread bread bread"])
    np.testing.assert_allclose(rows[0], unit(expected), atol=1e-6)
    assert one.dim == len(expected)
    assert one.embed_passages([]).shape == (0, len(expected))


def test_prefixes_are_those_of_the_folder_the_caller_or_the_family(tiny: Path) -> None:
    plain = OnnxEmbedder(tiny)
    usual = OnnxEmbedder(tiny, usual=("query ", "passage "))
    write(tiny, {"config_sentence_transformers.json": {"prompts": {"query": "query "}}})
    told = OnnxEmbedder(tiny, usual=("bread ", "bread "))
    given = OnnxEmbedder(tiny, query_prefix="", passage_prefix="passage ")
    tower = of("[CLS]", "tower", "[SEP]").mean(0)
    query, passage = (of("[CLS]", word, "tower", "[SEP]").mean(0) for word in ("query", "passage"))
    for embedder, question, document in (
        (plain, tower, tower),
        (usual, query, passage),
        (told, query, tower),
        (given, tower, passage),
    ):
        np.testing.assert_allclose(
            embedder.embed_questions(["tower"])[0], unit(question), atol=1e-6
        )
        np.testing.assert_allclose(embedder.embed_passages(["tower"])[0], unit(document), atol=1e-6)
    assert len({one.model_id for one in (plain, usual, told, given)}) == 4


def test_another_network_is_another_model(tiny: Path) -> None:
    before = OnnxEmbedder(tiny).model_id
    assert OnnxEmbedder(tiny).model_id == before
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["a"]),
        helper.make_node("Neg", ["a"], ["last_hidden_state"]),
    ]
    network(tiny, nodes, ["input_ids"], "last_hidden_state", 3)
    assert OnnxEmbedder(tiny).model_id != before


def test_texts_are_cut_at_the_length_of_the_folder(tiny: Path) -> None:
    write(tiny, {"sentence_bert_config.json": {"max_seq_length": 4}})
    row = OnnxEmbedder(tiny).embed_passages(["tower tall bread bread"])[0]
    np.testing.assert_allclose(row, unit(POOLED.mean(0)), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("intfloat/multilingual-e5-small", "query: "),
        ("e5-base-v2", "query: "),
        ("multilingual-e5-large-instruct", ""),
        ("e5-mistral-7b-instruct", ""),
        ("nomic-embed-text", "search_query: "),
        ("BAAI/bge-small-en-v1.5", "Represent this sentence for searching relevant passages: "),
        ("bge-m3", ""),
        ("all-MiniLM-L6-v2", ""),
    ],
)
def test_families_have_their_prefixes(name: str, expected: str) -> None:
    assert usual_prefixes(name)[0] == expected


def test_a_folder_with_minilm_is_minilm(tmp_path: Path) -> None:
    folder = tmp_path / "all-MiniLM-L6-v2"
    (folder / "onnx").mkdir(parents=True)
    shutil.copy(weight_path("minilm-int8/model.onnx"), folder / "onnx" / "model.onnx")
    shutil.copy(weight_path("minilm-tokenizer/minilm_tokenizer.json"), folder / "tokenizer.json")
    write(
        folder,
        {
            "sentence_bert_config.json": {"max_seq_length": 256, "do_lower_case": False},
            "1_Pooling/config.json": {"pooling_mode_mean_tokens": True},
            "config.json": {"max_position_embeddings": 512},
        },
    )
    settings = load_settings(embedder=str(folder), data_dir=tmp_path, speak=False)
    with open_parts(settings) as parts:
        rows = parts.embedder.embed_passages(TEXTS)
        assert parts.embedder.dim == 384
        assert parts.embedder.model_id.startswith("all-MiniLM-L6-v2@")
        clip = read_audio(SAMPLE / "audio" / "dev-01.flac")
        spoken = parts.embedder.embed_speech([clip])
    expected = MiniLMEmbedder().embed_passages(TEXTS)
    assert (rows * expected).sum(1).min() > 0.9999
    assert spoken.shape == (1, 384)


def test_a_cross_encoder_scores_pairs(tmp_path: Path) -> None:
    tokenizer(tmp_path)
    nodes = [  # the sum of the ids of the second text
        helper.make_node("Mul", ["input_ids", "token_type_ids"], ["a"]),
        helper.make_node("Cast", ["a"], ["b"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["b", "axes"], ["logits"], keepdims=1),
    ]
    nodes.insert(
        0,
        helper.make_node(
            "Constant", [], ["axes"], value=numpy_helper.from_array(np.array([1], np.int64))
        ),
    )
    network(tmp_path, nodes, ["input_ids", "token_type_ids"], "logits", 2)
    one = CrossEncoder(tmp_path)
    texts = ["bread", "tower tall bread", "tower", "tall", "tower tall", "query"]
    separator = WORDS.index("[SEP]")
    expected = [sum(map(WORDS.index, text.split())) + separator for text in texts]
    assert one.score("tower", texts).tolist() == expected
    assert one.score("tower", []).shape == (0,)


def test_an_embedder_is_no_cross_encoder(tiny: Path) -> None:
    with pytest.raises(CheckpointError, match="one score a pair"):
        CrossEncoder(tiny).score("tower", ["tall"])


WRONG: Mapping[str, tuple[str, object]] = {
    "module": ("modules.json", [{"type": "sentence_transformers.models.Dense"}]),
    "modules": ("modules.json", ["sentence_transformers.models.Pooling"]),
    "pooling": ("1_Pooling/config.json", {"pooling_mode_weightedmean_tokens": True}),
    "list": ("1_Pooling/config.json", ["mean"]),
    "prompt": ("1_Pooling/config.json", {"include_prompt": False}),
    "number": ("tokenizer_config.json", 1.5),
}
"""Files that say what is not known here, by the fault."""


def spoil(folder: Path, fault: str) -> None:
    if fault in WRONG:
        write(folder, dict([WRONG[fault]]))
    elif fault == "tokenizer":
        (folder / "tokenizer.json").unlink()
    elif fault == "network":
        (folder / "model.onnx").unlink()
    elif fault == "rubbish":
        (folder / "model.onnx").write_bytes(b"rubbish")
    elif fault == "pipe":
        (folder / "model.onnx").unlink()
        os.mkfifo(folder / "model.onnx")
    elif fault in ("config", "nested"):
        (folder / "config.json").write_text("{" if fault == "config" else "[" * 100_000)
    else:
        nodes = [helper.make_node("Gather", ["table", "past"], ["last_hidden_state"])]
        network(folder, nodes, ["past"], "last_hidden_state", 3)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("tokenizer", "no tokenizer.json"),
        ("network", "model.onnx"),
        ("rubbish", "cannot be loaded"),
        ("config", "cannot be read"),
        ("nested", "nested too deeply"),
        ("number", "no JSON object"),
        ("list", "no JSON object"),
        ("modules", "no list of JSON objects"),
        ("pipe", "no network"),
        ("module", "'Dense'"),
        ("pooling", "weightedmean_tokens"),
        ("prompt", "include_prompt"),
        ("inputs", "takes the inputs"),
    ],
)
def test_a_folder_that_cannot_be_used_says_why(tiny: Path, fault: str, message: str) -> None:
    spoil(tiny, fault)
    with pytest.raises(CheckpointError, match=message):
        OnnxEmbedder(tiny).embed_passages(["tower"])


def test_whisper_is_read_from_a_folder(tmp_path: Path) -> None:
    clip = read_audio(SAMPLE / "audio" / "report-16.flac")
    folder = weight_folder(WEIGHTS)
    expected = WhisperTranscriber().transcribe(clip)
    settings = load_settings(transcriber=str(folder), language="auto", data_dir=tmp_path)
    with open_parts(settings) as parts:
        assert parts.transcriber is not None
        heard = parts.transcriber.transcribe(clip)
    assert heard.text == expected.text
    assert heard.language == "en"


@pytest.mark.parametrize("place", ["config.json", "model.bin"])
def test_a_pipe_in_a_folder_of_whisper_is_refused(tmp_path: Path, place: str) -> None:
    for file in weight_folder(WEIGHTS).iterdir():
        if file.name != place:
            (tmp_path / file.name).symlink_to(file)
    os.mkfifo(tmp_path / place)
    with pytest.raises(CheckpointError, match=f"{place} is no file"):
        WhisperTranscriber(folder=tmp_path).warm()


def test_a_vocabulary_of_another_model_is_an_error_of_ours(tmp_path: Path) -> None:
    for file in weight_folder(WEIGHTS).iterdir():
        if file.name != "vocabulary.txt":
            (tmp_path / file.name).symlink_to(file)
    (tmp_path / "vocabulary.txt").write_text("other\nwords\n")
    with pytest.raises(ModelError):
        WhisperTranscriber(folder=tmp_path).transcribe(
            read_audio(SAMPLE / "audio" / "report-16.flac")
        )


@pytest.mark.parametrize("part", ["embedder", "transcriber", "reranker", "voice"])
def test_a_choice_that_is_nothing_says_what_there_is(part: str, tmp_path: Path) -> None:
    settings = load_settings(**{part: "Local", "data_dir": tmp_path})
    with (
        pytest.raises((ConfigError, CheckpointError), match=f"VOICERAG_{part.upper()} is"),
        open_parts(settings),
    ):
        pass


def test_a_model_of_the_hub_is_not_fetched_unasked(tmp_path: Path) -> None:
    settings = load_settings(embedder="intfloat/multilingual-e5-small", data_dir=tmp_path)
    with (
        pytest.raises(CheckpointError, match="download model intfloat/multilingual-e5-small"),
        open_parts(settings),
    ):
        pass
