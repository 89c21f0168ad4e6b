"""Ask the sample knowledge base aloud: python 01_ask_a_question.py [QUESTION.wav]."""

from __future__ import annotations

import argparse
from pathlib import Path

from voicerag_core import (
    index_files,
    load_settings,
    open_voicerag,
    read_audio,
    write_wav,
)

SAMPLE = Path(__file__).parent / "sample"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "question", nargs="?", type=Path, default=SAMPLE / "audio" / "report-02.flac"
    )
    parser.add_argument("--documents", type=Path, default=SAMPLE / "passages.jsonl")
    parser.add_argument("--data-dir", type=Path, help="default: your data folder")
    parser.add_argument("--out", type=Path, default=Path("answer.wav"))
    given = parser.parse_args()

    settings = load_settings(data_dir=given.data_dir, collection="sample")
    with open_voicerag(settings) as rag:
        index_files(rag, [given.documents])  # does nothing when nothing has changed

        answer = rag.ask(read_audio(given.question))
        print(answer.text)
        for hit in answer.hits:
            print(f"  {hit.score:.2f}  {hit.passage.title}")
        if answer.audio:
            write_wav(given.out, answer.audio)


if __name__ == "__main__":
    main()
