r"""Export trained weights to the file that the package runs.

    python -m training.speech_encoder.export --data DATA --run RUN [--run RUN ...] --keep 0.55 \
        --out OUT

Averages the runs, mixes the encoder with Whisper's own (`--keep` is the tuned share), writes
speech_encoder.onnx with 8-bit weights and speech_pieces.json, and compares both with the float32
network on a real clip.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import soundfile
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.shape_inference import quant_pre_process
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor

from training.speech_encoder.model import SpeechReader
from training.speech_encoder.subwords import listed
from voicerag_core.local.hearing.log_mel import log_mel

TAIL_SAMPLES = 8_000
CLIP_STEP = 320
OPSET = 17


def mixed(data: Path, runs: list[Path], keep: float) -> dict[str, Tensor]:
    """Average runs and interpolate the encoder with the original."""
    original = {
        f"encoder.{name}": value.float()
        for name, value in load_file(data / "whisper.safetensors").items()
    }
    states = []
    for run in runs:
        tuned = {
            name: value.float()
            for part in ("encoder", "head")
            for name, value in load_file(run / f"{part}.safetensors").items()
        }
        states.append({**original, **tuned})
    mean = {name: torch.stack([state[name] for state in states]).mean(0) for name in states[0]}
    return {
        name: value * keep + original[name] * (1 - keep) if name in original else value
        for name, value in mean.items()
    }


def features(samples: np.ndarray) -> tuple[Tensor, Tensor]:
    """Return the network's inputs for one clip, float32 [T] at 16 kHz, as in the package."""
    padded = np.pad(samples, (0, TAIL_SAMPLES + -(len(samples) + TAIL_SAMPLES) % CLIP_STEP))
    mel = torch.from_numpy(log_mel(padded.astype(np.float32)))[None]
    return mel, torch.tensor([mel.shape[-1]])


def export(model: SpeechReader, path: Path) -> None:
    """Write the float32 network and the one with 8-bit weights."""
    example = torch.zeros(2, 80, 300), torch.tensor([300, 240])
    axes = {
        "log_mel": {0: "batch", 2: "frames"},
        "lengths": {0: "batch"},
        "log_probs": {0: "batch", 1: "states"},
    }
    with tempfile.TemporaryDirectory() as folder:
        whole, ready = Path(folder) / "float.onnx", Path(folder) / "ready.onnx"
        torch.onnx.export(
            model,
            example,
            str(whole),
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
            input_names=["log_mel", "lengths"],
            output_names=["log_probs"],
        )
        quant_pre_process(str(whole), str(ready), skip_symbolic_shape=True)
        quantize_dynamic(
            str(ready),
            str(path),
            weight_type=QuantType.QInt8,
            per_channel=True,
            op_types_to_quantize=["MatMul"],
        )
        path.with_suffix(".float.onnx").write_bytes(whole.read_bytes())
    shrink(path)


def shrink(path: Path) -> None:
    """Store large float32 tensors as float16 that is widened when the file is loaded."""
    network = onnx.load(str(path))
    casts = []
    for tensor in network.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        if values.dtype == np.float32 and values.size > 10_000:
            half = onnx.numpy_helper.from_array(values.astype(np.float16), f"{tensor.name}_half")
            casts.append(
                onnx.helper.make_node("Cast", [half.name], [tensor.name], to=onnx.TensorProto.FLOAT)
            )
            tensor.CopyFrom(half)
    for cast in reversed(casts):
        network.graph.node.insert(0, cast)
    onnx.checker.check_model(network)
    onnx.save(network, str(path))


def main() -> None:
    """Export and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, action="append", required=True)
    parser.add_argument("--keep", type=float, default=1.0, help="tuned share of the encoder")
    parser.add_argument(
        "--clip", type=Path, action="append", default=[], help="16 kHz file to compare on"
    )
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    pieces = Tokenizer.from_file(str(arguments.data / "pieces.json"))
    model = SpeechReader(pieces.get_vocab_size()).eval()
    model.load_state_dict(mixed(arguments.data, arguments.run, arguments.keep))
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "speech_encoder.onnx"
    with torch.inference_mode():
        export(model, path)
    count = pieces.get_vocab_size()
    table = {
        "format": 1,
        "pieces": listed(pieces),
        "blank": count,
        "stride": 2,
        "tail_samples": TAIL_SAMPLES,
    }
    (arguments.out / "speech_pieces.json").write_text(json.dumps(table, ensure_ascii=False) + "\n")
    print(f"{path.stat().st_size / 1e6:.2f} MB")
    small, whole = (
        onnxruntime.InferenceSession(str(p), providers=["CPUExecutionProvider"])
        for p in (path, path.with_suffix(".float.onnx"))
    )
    for clip in arguments.clip:
        mel, lengths = features(soundfile.read(clip, dtype="float32")[0])
        with torch.inference_mode():
            wanted = model(mel, lengths).numpy()
        for name, session in (("float32", whole), ("8 bit", small)):
            given = session.run(None, {"log_mel": mel.numpy(), "lengths": lengths.numpy()})[0]
            worst = np.abs(np.exp(given) - np.exp(wanted)).max()
            agree = float((given.argmax(-1) == wanted.argmax(-1)).mean())
            print(f"{clip.name} {name}: differ by {worst:.2e}, best piece equal {agree:.4f}")
    path.with_suffix(".float.onnx").unlink()


if __name__ == "__main__":
    main()
