"""HotpotQA in two rounds: python double_glm_voice_hotpot.py --mode double."""

from __future__ import annotations

import argparse
from pathlib import Path

from voicerag_core import SecondRound
from voicerag_core.evaluation.datasets.hotpot import load_hotpotqa
from voicerag_core.evaluation.original_runs import add_options, run_original


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser, data_path=Path("hotpot/hotpot_dev_distractor_v1.json"), input_path=None)
    parser.add_argument(
        "--mode",
        choices=("double", "uncertainty"),
        default="uncertainty",
        help="search again always, or where the passages do not answer",
    )
    given = parser.parse_args()
    again: SecondRound = "always" if given.mode == "double" else "unsure"
    found = load_hotpotqa(given.data_path)
    for table in run_original(found, given, strategy="two_round", second_round=again):
        print(table.title)
        for line in (table.head, *table.lines):
            print("  ".join(line))


if __name__ == "__main__":
    main()
