"""HotpotQA, one store for each question: python glm_voice_hotpot.py --rag asr."""

from __future__ import annotations

import argparse
from pathlib import Path

from voicerag_core.evaluation.datasets.hotpot import load_hotpotqa
from voicerag_core.evaluation.original_runs import add_options, run_original


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser, data_path=Path("hotpot/hotpot_dev_distractor_v1.json"), input_path=None)
    given = parser.parse_args()
    for table in run_original(load_hotpotqa(given.data_path), given):
        print(table.title)
        for line in (table.head, *table.lines):
            print("  ".join(line))


if __name__ == "__main__":
    main()
