"""Are follow-up questions found and answered, and is a first question left as it is?

    python -m benchmarks.conversation.follow_ups --out benchmarks/results/conversation.md

Indexes `examples/sample` into an empty embedded database and asks the 103 pairs of
`follow_ups.jsonl`, written by hand: a question, then one that leans on it ("And when was he
born?"). "Alone" is the second question without a history, which is how every question was searched
before. The rules of the other columns were compared when one was chosen, on the pairs with even
numbers. First questions are the 603 typed ones of the report part, with no history, behind a
question of another title and behind the one before them of their own title.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from benchmarks import chart
from benchmarks.answers.shares import share
from benchmarks.main_job.sample_base import contains_gold, index
from benchmarks.sample import read_rows
from voicerag_core import Answer, Hit, Turn, VoiceRAG, load_settings, open_voicerag
from voicerag_core.follow_ups import follows_up, in_full, turn_before
from voicerag_core.retrieval import fusion

PAIRS = Path(__file__).with_name("follow_ups.jsonl")
DEEP = 20
SEEN: dict[str, tuple[Hit, ...]] = {}
"""What was found for a text."""

Pair: TypeAlias = dict[str, Any]
Rule: TypeAlias = Callable[[VoiceRAG, str, str], Sequence[str]]
"""From the earlier question and the question to ids of passages, best first."""


def by(rag: VoiceRAG, text: str) -> tuple[Hit, ...]:
    """Search by the vector and the words of a text, as `VoiceRAG.retrieve` does."""
    if text not in SEEN:
        row = rag.embedder.embed_questions([text])[0]
        SEEN[text] = rag.store.search(row, text=text, limit=DEEP)
    return SEEN[text]


def alone(rag: VoiceRAG, before: str, question: str) -> Sequence[str]:
    return [hit.passage.id for hit in by(rag, question)]


def joined(rag: VoiceRAG, before: str, question: str) -> Sequence[str]:
    return [hit.passage.id for hit in by(rag, f"{before} {question}")]


def reworded(rag: VoiceRAG, before: str, question: str) -> Sequence[str]:
    full = in_full(question, Turn(before, Answer()))
    return [hit.passage.id for hit in by(rag, full[0] if full else question)]


def fused(leaning: float, aside: float) -> Rule:
    """Fuse the rankings for the question and for both, by weights of the second."""

    def rule(rag: VoiceRAG, before: str, question: str) -> Sequence[str]:
        weight = leaning if follows_up(question) else aside
        both = by(rag, f"{before} {question}") if weight else ()
        return [hit.passage.id for hit in fusion.fused(by(rag, question), both, weight)]

    return rule


def shipped(rag: VoiceRAG, before: str, question: str) -> Sequence[str]:
    found = rag.retrieve(question, history=[Turn(before, Answer("x"))], limit=DEEP)
    return [hit.passage.id for hit in found.hits]


RULES: dict[str, Rule] = {
    "the question alone (before)": alone,
    "the earlier question and it, joined": joined,
    "its wording in full": reworded,
    "alone and joined, 1 : 1": fused(1, 1),
    "alone and joined, 1 : 2": fused(2, 2),
    "1 : 2 where it leans, else alone": fused(2, 0),
    "1 : 3 where it leans, else 1 : 0.5": fused(3, 0.5),
    "shipped: 1 : 2 where it leans, else 1 : 0.5": shipped,
}


def found(rag: VoiceRAG, rule: Rule, asked: Sequence[tuple[str, str, str]]) -> list[str]:
    """Return the shares of questions whose passage is first, and among the first four."""
    ranks = []
    for before, question, passage in asked:
        ids = list(rule(rag, before, question))
        ranks.append(ids.index(passage) if passage in ids else DEEP)
    return [f"{sum(rank < cut for rank in ranks) / len(ranks):.3f}" for cut in (1, 4)]


def first_questions() -> tuple[list[tuple[str, str, str]], list[tuple[str, str, str]]]:
    """Return (earlier question, question, passage) with one of another title, and of its own."""
    rows = [line for line in read_rows("text_questions.jsonl") if line["split"] == "report"]
    draw = random.Random(0)
    title = {line["id"]: line["passage"].rpartition("-")[0] for line in rows}
    other, own = [], []
    for place, line in enumerate(rows):
        stranger = draw.choice([one for one in rows if title[one["id"]] != title[line["id"]]])
        other.append((stranger["question"], line["question"], line["passage"]))
        before = rows[place - 1]
        if place and title[before["id"]] == title[line["id"]]:
            own.append((before["question"], line["question"], line["passage"]))
    return other, own


def is_right(answer: Answer, golds: Sequence[str]) -> bool:
    text = answer.text.lower()
    return answer.answered and (
        contains_gold(answer.text, golds) or any(gold.lower() in text for gold in golds)
    )


def answers(rag: VoiceRAG, pairs: Sequence[Pair]) -> list[list[str]]:
    """Ask every pair, the second question with the first turn and without."""
    right: dict[str, list[bool]] = {"without history (before)": [], "with history": []}
    declined: dict[str, list[bool]] = {name: [] for name in right}
    for pair in pairs:
        first = rag.ask(pair["first"])
        history = [Turn(pair["first"], first)]
        for name, given in zip(right, ((), history), strict=True):
            answer = rag.ask(pair["question"], history=given)
            right[name].append(is_right(answer, pair["answers"]))
            declined[name].append(not answer.answered)
            if given and not right[name][-1]:
                full = in_full(pair["question"], turn_before(history) or history[0])
                print(pair["id"], pair["question"], full, answer.text[:120], sep=" | ")
    return [
        [
            name,
            f"{share(right[name])}",
            f"{share(right[name][::2])}",
            f"{share(right[name][1::2])}",
            str(sum(declined[name])),
        ]
        for name in right
    ]


def report(rag: VoiceRAG, pairs: Sequence[Pair]) -> list[str]:
    """Return the lines of the report."""
    triples = [(pair["first"], pair["question"], pair["passage"]) for pair in pairs]
    own = [pair for pair in pairs if pair["passage"] == pair["first_passage"]]
    groups = {
        "even": triples[1::2],
        "odd": triples[::2],
        "same passage": [(p["first"], p["question"], p["passage"]) for p in own],
        "another": [t for t, p in zip(triples, pairs, strict=True) if p not in own],
    }
    other, related = first_questions()
    lean = sum(follows_up(pair["question"]) for pair in pairs)
    false = sum(follows_up(question) for _, question, _ in other)
    lines = [
        (
            f"Told to lean on the one before: {lean} of the {len(pairs)} follow-ups, {false} of "
            f"the {len(other)} first questions."
        ),
        "",
        "## Found: right passage first, and among the first four",
        "",
    ]
    heads = ["rule", *(f"{name} ({len(asked)})" for name, asked in groups.items())]
    rows = []
    for name, rule in RULES.items():
        shares = [" / ".join(found(rag, rule, asked)) for asked in groups.values()]
        rows.append([name, *shares])
        print(rows[-1])
    lines += chart.table(heads, rows)
    lines += ["## First questions, as they are and behind another turn", ""]
    heads = ["rule", f"behind another title ({len(other)})", f"behind its own ({len(related)})"]
    chosen = {name: RULES[name] for name in list(RULES)[:1] + list(RULES)[-1:]}
    rows = [
        [name, *(" / ".join(found(rag, rule, asked)) for asked in (other, related))]
        for name, rule in chosen.items()
    ]
    lines += chart.table(heads, rows)
    lines += ["## Answered by the reader, right", ""]
    heads = ["second question", f"all ({len(pairs)})", "odd", "even", "declined"]
    return lines + chart.table(heads, answers(rag, pairs))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="write the report")
    parser.add_argument("--limit", type=int, help="ask only the first pairs")
    parser.add_argument("--data-dir", type=Path, help="keep the indexed sample here")
    given = parser.parse_args()
    pairs = [json.loads(line) for line in PAIRS.read_text("utf-8").splitlines()][: given.limit]
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(data_dir=given.data_dir or Path(folder), speak=False)
        with open_voicerag(settings) as rag:
            index(rag)
            lines = report(rag, pairs)
    when = f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores, {platform.machine()}"
    text = [
        "# Follow-up questions",
        "",
        f"{when}, load average {os.getloadavg()[0]:.1f} at the end. Command:",
        "",
        "    python -m benchmarks.conversation.follow_ups",
        "",
        *chart.paragraph(
            f"{len(pairs)} pairs of questions on the sample base, written by hand; shares with "
            "Wilson's interval of 95 %. Weights were chosen on the even pairs."
        ),
        *lines,
    ]
    if given.out:
        chart.write_text(given.out, text)
    print("\n".join(text))


if __name__ == "__main__":
    main()
