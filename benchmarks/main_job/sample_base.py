"""The sample base end to end: quality, time per stage and memory.

    python -m benchmarks.main_job.sample_base --out benchmarks/results/main_job.md

Indexes `examples/sample` into an empty embedded database, asks all 1,190 questions as text, the
spoken questions of the report part and the unanswerable ones of the report part, in one warm
process. The clock of a question starts when its sound is complete. Memory is the PSS of this
process and of its children except Postgres.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import statistics
import string
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.sample import SAMPLE, read_rows
from voicerag_core import (
    Answer,
    Audio,
    Passage,
    VoiceRAG,
    load_settings,
    open_voicerag,
    read_audio,
)


def normalised(text: str) -> str:
    """Lower-case and drop punctuation and articles, as SQuAD's scorer does (Rajpurkar 2016)."""
    bare = "".join(c for c in text.lower() if c not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", bare).split())


def contains_gold(answer: str, golds: Iterable[str]) -> bool:
    return any(f" {normalised(gold)} " in f" {normalised(answer)} " for gold in golds)


def quantiles(seconds: Sequence[float]) -> str:
    ordered = sorted(seconds)
    p95 = ordered[min(len(ordered) - 1, round(0.95 * (len(ordered) - 1)))]
    return f"{statistics.median(ordered) * 1000:.0f} / {p95 * 1000:.0f}"


def pss_mib() -> dict[str, float]:
    """Return the proportional set size of this process and its children by program, in MiB."""
    mine = {os.getpid()}
    sizes: dict[str, float] = {}
    for folder in sorted(Path("/proc").glob("[0-9]*"), key=lambda path: int(path.name)):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            rollup = (folder / "smaps_rollup").read_text()
        except OSError:
            continue
        if int(folder.name) not in mine and parent not in mine:
            continue
        if "postgres" in command.split(" ", 1)[0]:
            continue
        mine.add(int(folder.name))
        name = "speaker" if " piper " in command else "this process"
        kib = next(line for line in rollup.splitlines() if line.startswith("Pss:")).split()[1]
        sizes[name] = sizes.get(name, 0.0) + int(kib) / 1024
    return sizes


def index(rag: VoiceRAG) -> list[str]:
    passages = [
        Passage(line["id"], line["text"], {"title": line["title"], "source": line["source"]})
        for line in read_rows("passages.jsonl")
    ]
    start = time.perf_counter()
    changed = rag.index(passages)
    first = time.perf_counter() - start
    start = time.perf_counter()
    again = rag.index(passages)
    second = time.perf_counter() - start
    return [
        f"| index {len(passages)} paragraphs, {changed} changed | {first:.1f} s |",
        f"| the same again, {again} changed | {second:.2f} s |",
    ]


def recall(rag: VoiceRAG) -> list[str]:
    questions = read_rows("text_questions.jsonl")
    ranks = []
    for line in questions:
        ids = [hit.passage.id for hit in rag.retrieve(line["question"], limit=10).hits]
        ranks.append(ids.index(line["passage"]) if line["passage"] in ids else 99)
    return [
        f"| right paragraph of {len(ranks)} typed questions in the top {k} "
        f"| {sum(rank < k for rank in ranks) / len(ranks):.3f} |"
        for k in (1, 4, 10)
    ]


def ask(rag: VoiceRAG, question: Audio | str) -> tuple[Answer, float, float | None, float]:
    """Return the answer, and the seconds to its hits, its first sound and its end."""
    start = time.perf_counter()
    answer = Answer()
    first_sound = None
    retrieved = rag.retrieve(question)
    hits = time.perf_counter() - start
    for piece in rag.respond(question, retrieved):
        if piece.audio is not None and first_sound is None:
            first_sound = time.perf_counter() - start
        answer += piece
    return answer, hits, first_sound, time.perf_counter() - start


def spoken(rag: VoiceRAG) -> list[str]:
    questions = [line for line in read_rows("questions.jsonl") if line["split"] == "report"]
    found = answered = gold = 0
    lengths: list[float] = []
    times: dict[str, list[float]] = {}
    for line in questions:
        audio = read_audio(SAMPLE / line["audio"])
        lengths.append(audio.seconds)
        answer, hits, sound, end = ask(rag, audio)
        found += line["passage"] in [hit.passage.id for hit in answer.hits]
        answered += answer.answered
        gold += answer.answered and contains_gold(answer.text, line["answers"])
        for stage, seconds in {
            **answer.timings, "to the hits": hits, "to the first sound": sound, "to the end": end,
        }.items():  # fmt: skip
            if seconds is not None:
                times.setdefault(stage, []).append(seconds)
    total = len(questions)
    median = statistics.median(lengths)
    return [
        f"| spoken questions, median and longest | {median:.1f} s, {max(lengths):.1f} s |",
        f"| right paragraph in the top 4 | {found} of {total} |",
        f"| answered | {answered} of {total} |",
        f"| the answer contains the gold answer | {gold} of {total} |",
        *(f"| {stage}, p50 / p95 ms | {quantiles(values)} |" for stage, values in times.items()),
    ]


def unanswerable(rag: VoiceRAG) -> list[str]:
    lines = [line for line in read_rows("unanswerable.jsonl") if line["split"] == "report"]
    declined: dict[str, list[bool]] = {}
    for line in lines:
        answer = ask(rag, line["question"])[0]
        declined.setdefault(f"{line['kind']} the base's subjects", []).append(not answer.answered)
    return [
        f"| unanswerable, {kind}: declined | {sum(values)} of {len(values)} |"
        for kind, values in declined.items()
    ]


def typed(rag: VoiceRAG) -> list[str]:
    """Answer the report half as text, to evaluate the reader on a larger set."""
    lines = [line for line in read_rows("text_questions.jsonl") if line["split"] == "report"]
    answered = gold = 0
    for line in lines:
        question = line["question"]
        answer = rag.ask(question)
        answered += answer.answered
        gold += answer.answered and contains_gold(answer.text, line["answers"])
    return [
        f"| report half as text, {len(lines)} questions: answered | {answered / len(lines):.3f} |",
        f"| the answer contains the gold answer | {gold / len(lines):.3f} |",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, help="keep the database here, not in a new one")
    parser.add_argument("--out", type=Path, help="write the report to a file too")
    parser.add_argument("--skip-typed", action="store_true", help="leave out answers to text")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        data_dir = options.data_dir or Path(scratch) / "data"
        with open_voicerag(load_settings(data_dir=data_dir, collection="benchmark")) as rag:
            start = time.perf_counter()
            rag.warm()
            seconds = time.perf_counter() - start
            rows = [f"| start, with a new database and all models | {seconds:.1f} s |"]
            rows += index(rag)
            rows += recall(rag)
            ask(rag, read_audio(SAMPLE / read_rows("questions.jsonl")[0]["audio"]))
            rows += spoken(rag)
            rows += unanswerable(rag)
            sizes = pss_mib()
            parts = ", ".join(f"{name} {size:.0f}" for name, size in sizes.items())
            rows.append(f"| memory (PSS) | {sum(sizes.values()):.0f} MiB: {parts} |")
        if not options.skip_typed:
            silent = load_settings(data_dir=data_dir, collection="benchmark", speak=False)
            with open_voicerag(silent) as rag:
                rows += typed(rag)
    table = "\n".join(["| what | figure |", "|---|---|", *rows])
    where = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    head = f"{where}, {time.strftime('%Y-%m-%d')}, `python -m benchmarks.main_job.sample_base`"
    report = f"# The main job\n\n{head}\n\n{table}\n"
    print(report)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(report)


if __name__ == "__main__":
    main()
