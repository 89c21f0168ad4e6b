"""Questions on documents as firms have them: typed, then spoken by voices never trained on.

    python -m benchmarks.speech.spoken_documents REALDOCS --out FILE.md --answers FILE.jsonl

REALDOCS is a folder with documents (``docs``), questions (``questions.jsonl``) and a scorer
(``score.py``, whose function ``judge`` says what is right). Follow-ups and questions in other
languages than English are left out. Every other question is asked typed. Those answered rightly,
and those that the documents do not answer, are then spoken by every held-out voice that is
installed. Weights may be fitted to even-numbered questions, so odd-numbered ones are also given
apart.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import platformdirs

from benchmarks.speech.retrieval_figures import estimate, quantiles
from benchmarks.speech.retrieval_report import shown_arguments, table
from benchmarks.speech.spoken_sets import Item, installed_voices, speak
from benchmarks.speech.transcribe import edits, words_of
from voicerag_core import index_files, load_settings, open_voicerag
from voicerag_core.errors import AudioError
from voicerag_core.stack import OpenedVoiceRAG
from voicerag_core.types import Answer, Question

MOST_CHARACTERS, MOST_LONG_CHARACTERS = 700, 1500
"""Of a right answer, as in the scorer."""
TYPED = "typed"
UNHEARD, ASKED_BACK = "no speech heard", "asked back"
GROUPS = ("all", "odd", "even")

Judge: TypeAlias = Callable[[dict[str, Any], str, bool, int, int], tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Asked:
    """The result of one question in one voice.

    Args:
        id: Of the question.
        kind: Such as "list".
        voice: `TYPED`, or engine/name.
        verdict: The scorer's, `UNHEARD` or `ASKED_BACK`.
        found: A file that holds the answer is among the hits.
        question: Its words.
        heard: The transcript, if one was made.
        answer: Its text.
        files: Of the hits.
        seconds: From the question to the whole answer in text.
    """

    id: str
    kind: str
    voice: str
    verdict: str
    found: bool
    question: str
    heard: str | None
    answer: str
    files: tuple[str, ...]
    seconds: float

    @property
    def right(self) -> bool:
        """The answer holds the gold, or was rightly declined."""
        return self.verdict in ("right", "declined_rightly")

    @property
    def group(self) -> str:
        """Whether the question is one that weights may be fitted to."""
        return "odd" if int(self.id.lstrip("gq")) % 2 else "even"


def judge_of(realdocs: Path) -> Judge:
    """Return the scorer's own function that judges an answer."""
    spec = importlib.util.spec_from_file_location("realdocs_score", realdocs / "score.py")
    if spec is None or spec.loader is None:
        raise SystemExit(f"{realdocs} has no score.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    judge: Judge = module.judge
    return judge


def questions(realdocs: Path) -> list[dict[str, Any]]:
    """Return the English questions that stand alone."""
    lines = (realdocs / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines if line]
    return [row for row in rows if row["lang"] == "en" and not row.get("after")]


def ask(
    rag: OpenedVoiceRAG, row: dict[str, Any], question: Question, voice: str, judge: Judge
) -> Asked:
    """Ask one question, and judge the answer."""
    start = time.perf_counter()
    verdict = ""
    try:
        answer = rag.ask(question)
    except AudioError:
        answer, verdict = Answer(answered=False), UNHEARD
    seconds = time.perf_counter() - start
    if answer.asked_back:
        verdict = ASKED_BACK
    if not verdict:
        verdict, _ = judge(row, answer.text, answer.answered, MOST_CHARACTERS, MOST_LONG_CHARACTERS)
    sources = tuple(hit.passage.source.split("#", 1)[0] for hit in answer.hits)
    found = any(source.endswith("/" + file) for source in sources for file in row.get("files", ()))
    return Asked(
        row["id"], row["kind"], voice, verdict, found, row["question"], answer.transcript,
        answer.text, sources, seconds,
    )  # fmt: skip


def measure(
    rag: OpenedVoiceRAG, rows: Sequence[dict[str, Any]], judge: Judge, options: argparse.Namespace
) -> Iterator[Asked]:
    """Ask every question typed, and then the ones that count in each held-out voice."""
    spoken = []
    for row in rows:
        asked = ask(rag, row, row["question"], TYPED, judge)
        yield asked
        if row.get("unanswerable") or asked.right:
            spoken.append(row)
    for voice in installed_voices(options.voices):
        if voice.trained or (options.only and voice.name not in options.only):
            continue
        items = [Item(row["id"], row["question"], row["id"]) for row in spoken]
        clips = speak(items, voice, options.clips)
        for row, clip in zip(spoken, clips, strict=True):
            yield ask(rag, row, clip.audio, voice.name, judge)


def written(asked: Iterator[Asked], file: Path | None) -> Iterator[Asked]:
    """Pass results on, and write each as a line of JSON."""
    with open(os.devnull if file is None else file, "w", encoding="utf-8") as lines:
        for one in asked:
            lines.write(json.dumps(asdict(one), ensure_ascii=False) + "\n")
            lines.flush()
            yield one


def word_errors(asked: Sequence[Asked]) -> str:
    """Return the word error rate of the transcripts that were made."""
    pairs = [(words_of(a.question), words_of(a.heard)) for a in asked if a.heard is not None]
    if not pairs:
        return "-"
    wrong = sum(edits(said, heard) for said, heard in pairs)
    return f"{wrong / sum(len(said) for said, _ in pairs):.3f}"


def answerable_row(voice: str, group: str, asked: Sequence[Asked]) -> tuple[str, ...]:
    """Return the figures of answerable questions that are right when typed."""
    verdicts = Counter(one.verdict for one in asked)
    median, slow = quantiles(one.seconds for one in asked)
    return (
        voice, group, str(len(asked)), str(estimate([float(one.right) for one in asked])),
        str(verdicts["wrong"] + verdicts["right_marred"]),
        str(verdicts["declined"]), str(verdicts[UNHEARD] + verdicts[ASKED_BACK]),
        f"{sum(one.found for one in asked) / len(asked):.3f}", word_errors(asked),
        f"{median:.2f} / {slow:.2f}",
    )  # fmt: skip


def report(asked: Sequence[Asked], unanswerable: frozenset[str], arguments: str) -> str:
    """Return the tables, with the questions that were lost."""
    voices = list(dict.fromkeys(one.voice for one in asked))
    right_typed = {one.id for one in asked if one.voice == TYPED and one.right} - unanswerable
    typed = [one for one in asked if one.voice == TYPED and one.id not in unanswerable]
    lines = ["# Questions on documents, typed and spoken", "", f"`{arguments}`", ""]
    lines += [f"Typed, {len(right_typed)} of {len(typed)} questions are answered rightly. These,"]
    lines += ["spoken:", ""]
    head = ["voice", "questions", "n", "right", "wrong", "declined", "asked back", "file found"]
    rows = []
    for voice in voices[1:]:
        kept = [one for one in asked if one.voice == voice and one.id in right_typed]
        for group in GROUPS:
            some = [one for one in kept if group in ("all", one.group)]
            rows.append(answerable_row(voice, group, some))
    lines += table([*head, "word errors", "seconds, p50 / p95"], rows)
    lines += ["", "Questions that the documents do not answer, declined or asked back:", ""]
    rows = []
    for voice in voices if unanswerable else ():
        kept = [one for one in asked if one.voice == voice and one.id in unanswerable]
        declined = sum(one.right or one.verdict in (UNHEARD, ASKED_BACK) for one in kept)
        rows.append((voice, str(len(kept)), str(declined), str(len(kept) - declined)))
    lines += table(["voice", "n", "declined", "answered"], rows)
    lines += ["", "Lost when spoken:", ""]
    lost = [one for one in asked if one.voice != TYPED and one.id in right_typed and not one.right]
    lines += table(
        ["voice", "question", "heard", "verdict", "file found"],
        [
            (one.voice, one.question, one.heard or "-", one.verdict, "yes" if one.found else "no")
            for one in lost
        ],
    )
    return "\n".join(lines) + "\n"


def options_of(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("realdocs", type=Path)
    parser.add_argument("--data-dir", type=Path, help="keep the index here, and reuse it")
    parser.add_argument("--voices", type=Path, help="folder written by bundle_voices")
    parser.add_argument("--only", action="append", metavar="VOICE", help="such as flite/rms")
    parser.add_argument("--strategy", help="how spoken questions are searched")
    parser.add_argument("--answerable", action="store_true", help="ask no others")
    parser.add_argument("--limit", type=int, help="ask only the first so many questions")
    parser.add_argument(
        "--clips",
        type=Path,
        default=platformdirs.user_cache_path("voicerag") / "spoken_documents",
        help="folder in which the spoken questions are kept",
    )
    parser.add_argument("--answers", type=Path, help="write every answer here, as JSON lines")
    parser.add_argument("--out", type=Path)
    return parser.parse_args(given)


def main() -> None:
    options = options_of(sys.argv[1:])
    judge, rows = judge_of(options.realdocs), questions(options.realdocs)[: options.limit]
    if options.answerable:
        rows = [row for row in rows if not row.get("unanswerable")]
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(
            data_dir=options.data_dir or folder,
            collection="realdocs",
            speak=False,
            strategy=options.strategy,
        )
        with open_voicerag(settings) as rag:
            index_files(rag, [options.realdocs / "docs"])
            rag.warm(speech=False)
            asked = list(written(measure(rag, rows, judge, options), options.answers))
    unanswerable = frozenset(row["id"] for row in rows if row.get("unanswerable"))
    given = ("REALDOCS" if Path(one) == options.realdocs else one for one in sys.argv[1:])
    shown = " ".join(("python -m benchmarks.speech.spoken_documents", *shown_arguments([*given])))
    text = report(asked, unanswerable, shown)
    print(text)
    if options.out is not None:
        options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
