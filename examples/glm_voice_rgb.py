"""RGB with noise among its passages: python glm_voice_rgb.py --dataset zh_refine --rag oracle."""

from __future__ import annotations

import argparse
from pathlib import Path

from voicerag_core.evaluation.datasets.rgb import load_rgb
from voicerag_core.evaluation.original_runs import add_options, run_original


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser, data_path=Path("RGB/data"), input_path=None, k=2, chunk_size=500)
    parser.add_argument("--dataset", default="zh_refine", help="file of the folder, without .json")
    parser.add_argument("--noise-rate", type=float, default=0.8, help="0 to 1")
    given = parser.parse_args()
    case = "refusal" if given.noise_rate == 1 else "noise"
    if given.dataset.endswith("_fact"):
        case = "counterfactual"
    found = load_rgb(
        given.data_path / f"{given.dataset}.json",
        name=f"rgb-{given.dataset}",
        language=given.dataset[:2],
        case=case,  # type: ignore[arg-type]
        noise_ratio=given.noise_rate,
    )
    for table in run_original(found, given):
        print(table.title)
        for line in (table.head, *table.lines):
            print("  ".join(line))


if __name__ == "__main__":
    main()
