"""Questions over small files of each format: is the answer right, and where is it from.

    python -m benchmarks.answers.formats [FOLDER] [--out benchmarks/results/formats.md]

FOLDER has the files and `questions.jsonl`; by default it is `tests/documents/formats`. Files of one
format are indexed together, in a database of their own, and each question is asked with the
default settings. An answer is right when it holds the given words; its place is right when the
source that is cited is the question's file, with the fragment that opens there where the format has
places.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from voicerag_core import cited_place, index_files, load_settings, open_voicerag
from voicerag_core.passages import split_source

FOLDER = Path(__file__).parents[2] / "tests" / "documents" / "formats"
WITHOUT_PLACES = frozenset({".docx", ".odt", ".eml", ".msg"})
"""Formats that no program opens at a place: the heading path says where."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A question that was asked."""

    file: str
    question: str
    wanted: str
    answer: str
    right: bool
    place: bool
    source: str


def ask_format(folder: Path, suffix: str, questions: list[dict[str, str]]) -> Iterator[Asked]:
    """Index the files of a format by themselves, and ask what is asked of them."""
    with tempfile.TemporaryDirectory(prefix="formats-") as work:
        files = Path(work) / "files"
        files.mkdir()
        for path in folder.glob(f"*{suffix}"):
            shutil.copy(path, files)
        settings = load_settings(data_dir=Path(work) / "data", speak=False)
        with open_voicerag(settings) as rag:
            report = index_files(rag, [files])
            for failure in report.failures:
                print("not indexed:", failure)
            for entry in questions:
                answer = rag.ask(entry["question"])
                right = answer.answered and re.search(entry["answer"], answer.text) is not None
                passages = {hit.passage.id: hit.passage for hit in answer.hits}
                cited = [cited_place(passages[c.passage_id], c) for c in answer.citations]
                source = cited[0].source if cited else ""
                placed = split_source(source)[0].endswith(f"/{entry['file']}") and (
                    "#" in cited[0].link or suffix in WITHOUT_PLACES
                )
                yield Asked(
                    entry["file"], entry["question"], entry["answer"],
                    answer.text if answer.answered else "(declined)", right, placed,
                    source.rpartition("/")[2],
                )  # fmt: skip


def report_of(rows: list[Asked]) -> str:
    """Return a table by file, and what was wrong."""
    by_file: dict[str, list[Asked]] = defaultdict(list)
    for row in rows:
        by_file[row.file].append(row)
    lines = ["| file | right | of | place cited |", "|---|---|---|---|"]
    for file in sorted(by_file, key=lambda name: (Path(name).suffix, name)):
        asked = by_file[file]
        right, placed = sum(row.right for row in asked), sum(row.place for row in asked)
        lines.append(f"| {file} | {right} | {len(asked)} | {placed} |")
    total, right = len(rows), sum(row.right for row in rows)
    lines += [
        "",
        f"{right} of {total} right, the place cited for {sum(r.place for r in rows)}.",
        "",
    ]
    lines += ["## Wrong or declined", ""]
    for row in rows:
        if not row.right or not row.place:
            lines.append(
                f"- {row.file}: {row.question} wanted `{row.wanted}`, got {row.answer[:160]!r} "
                f"from `{row.source}`"
            )
    return "\n".join(lines)


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER)
    parser.add_argument("--only", default="", help="endings of names, separated by commas")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    by_suffix: dict[str, list[dict[str, str]]] = defaultdict(list)
    lines = (arguments.folder / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    for entry in map(json.loads, lines):
        by_suffix[Path(entry["file"]).suffix].append(entry)
    wanted = [f".{name.strip('. ')}" for name in arguments.only.split(",") if name.strip()]
    rows = []
    for suffix, questions in by_suffix.items():
        if not wanted or suffix in wanted:
            rows += list(ask_format(arguments.folder, suffix, questions))
    text = report_of(rows)
    print(text)
    if arguments.out is not None:
        arguments.out.write_text(f"# Files of each format\n\n{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
