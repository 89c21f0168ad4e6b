"""One question of your own over one text: python glm_voice_simple.py --rag e2e."""

from __future__ import annotations

import argparse
from pathlib import Path

from voicerag_core.evaluation.datasets.own import load_simple
from voicerag_core.evaluation.original_runs import add_options, run_original


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser, data_path=Path("speech_data/simple"), input_path=None)
    given = parser.parse_args()
    folder = given.data_path if given.data_path.is_dir() else given.data_path.parent
    found = load_simple(folder, size=given.chunk_size, overlap=given.chunk_overlap)
    for table in run_original(found, given):
        print(table.title)
        for line in (table.head, *table.lines):
            print("  ".join(line))


if __name__ == "__main__":
    main()
