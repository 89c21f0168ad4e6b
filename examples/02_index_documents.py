"""Keep a knowledge base in step with your files: python 02_index_documents.py PATH..."""

from __future__ import annotations

import argparse
from pathlib import Path

from voicerag_core import FileProgress, index_files, load_settings, open_voicerag
from voicerag_core.filters import Eq

SAMPLE = Path(__file__).parent / "sample"


def show(progress: FileProgress) -> None:
    if progress.step == "update":
        print(f"  {progress.bytes / progress.bytes_total:4.0%}  {progress.passages} passages")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="*", type=Path, default=[SAMPLE / "passages.jsonl"])
    parser.add_argument("--data-dir", type=Path, help="default: your data folder")
    parser.add_argument("--search", default="Who designed the first steam engine?")
    given = parser.parse_args()

    settings = load_settings(data_dir=given.data_dir, collection="sample", speak=False)
    with open_voicerag(settings) as rag:
        report = index_files(rag, given.paths, on_progress=show)
        print(f"{report.new} new, {report.changed} changed, {report.unchanged} unchanged files")
        for failure in report.failures:
            print(f"skipped: {failure}")

        for hit in rag.retrieve(given.search, limit=3).hits:
            print(f"{hit.score:.2f}  {hit.passage.title}: {hit.passage.text[:60]}...")
            same = rag.retrieve(given.search, limit=1, where=Eq("title", hit.passage.title))
            assert same.hits[0].passage.title == hit.passage.title


if __name__ == "__main__":
    main()
