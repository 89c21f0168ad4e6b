from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from voicerag_core.errors import CheckpointError
from voicerag_core.local.onnx_tensors import read_tensors
from voicerag_core.local.weights.files import weight_path


def write(path: Path) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    weights: dict[str, np.ndarray] = {
        "rows": rng.integers(-128, 128, (300, 7)).astype(np.int8),
        "scale": rng.standard_normal((300, 1)).astype(np.float32),
        "steps": np.arange(5, dtype=np.int64),
    }
    tensors = [numpy_helper.from_array(values, name) for name, values in weights.items()]
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, [300, 1])
    node = helper.make_node("Identity", ["scale"], ["out"])
    onnx.save(helper.make_model(helper.make_graph([node], "g", [], [out], tensors)), path)
    return weights


def test_weights_are_read_as_they_were_written(tmp_path: Path) -> None:
    weights = write(tmp_path / "model.onnx")
    found = read_tensors(tmp_path / "model.onnx", {"rows", "scale"})
    assert found.keys() == {"rows", "scale"}
    for name, values in found.items():
        assert values.dtype == weights[name].dtype
        np.testing.assert_array_equal(values, weights[name])


def test_the_packaged_embeddings_are_those_that_onnx_reads() -> None:
    path = weight_path("minilm-int8/model.onnx")
    name = "inner.embeddings.word_embeddings.weight_q"
    held = {one.name: one for one in onnx.load(path).graph.initializer}
    found = read_tensors(path, {name})[name]
    assert found.shape == (30522, 384)
    np.testing.assert_array_equal(found, numpy_helper.to_array(held[name]))


@pytest.mark.parametrize(("names", "told"), [({"rows", "absent"}, "absent"), ({"steps"}, "type 7")])
def test_weights_that_are_not_there_are_named(tmp_path: Path, names: set[str], told: str) -> None:
    write(tmp_path / "model.onnx")
    with pytest.raises(CheckpointError, match=told):
        read_tensors(tmp_path / "model.onnx", names)


@pytest.mark.parametrize("keep", [0, 1, 100, 1500])
def test_a_file_cut_short_is_refused(tmp_path: Path, keep: int) -> None:
    write(tmp_path / "model.onnx")
    whole = (tmp_path / "model.onnx").read_bytes()
    (tmp_path / "cut.onnx").write_bytes(whole[:keep])
    with pytest.raises(CheckpointError, match=r"cut\.onnx"):
        read_tensors(tmp_path / "cut.onnx", {"rows", "scale"})


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_text("This is no model. " * 50, encoding="utf-8")
    with pytest.raises(CheckpointError):
        read_tensors(tmp_path / "model.onnx", {"rows"})


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.onnx")
    with pytest.raises(CheckpointError, match="no file"):
        read_tensors(tmp_path / "model.onnx", {"rows"})
