"""Train the reader on one GPU, within a time limit.

    python -m training.reader.train PREPARED OUT --seconds 200

PREPARED is the output of prepare.py. OUT gets log.json and the trained tensors in half precision
(reader-*.safetensors).
"""

from __future__ import annotations

import argparse
import json
import lzma
import math
import queue
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from training.reader.mishearing import mishear
from training.reader.network import ReaderNetwork

LONGEST = 320
LONGEST_QUESTION = 64
CLS, SEP = 101, 102
QUESTIONS_A_STEP = 32
RATE = 1.5e-4
WARM_UP = 0.05
START, END, SENTENCE = 0, 1, 2
LOG_EVERY = 50


def read_json(path: Path) -> dict[str, Any]:
    held: dict[str, Any] = json.loads(lzma.decompress(path.read_bytes()))
    return held


@dataclass(frozen=True, slots=True)
class Pair:
    """Question and passage as tokens, with the targets.

    Args:
        ids: [CLS] question [SEP] passage [SEP].
        question: Tokens up to and with the first [SEP].
        start: Token that starts the answer; 0, that is [CLS], when there is none.
        end: Token that ends it.
        first: First token of the sentence that holds it; 0 when there is none.
        last: Its last token.
    """

    ids: list[int]
    question: int
    start: int = 0
    end: int = 0
    first: int = 0
    last: int = 0


class Passages:
    """Passages as tokens, with the positions of their sentences."""

    def __init__(self, tokenizer: tokenizers.Tokenizer, passages: list[dict[str, Any]]) -> None:
        self.texts = [one["text"] for one in passages]
        coded = tokenizer.encode_batch(self.texts, add_special_tokens=False)
        self.ids = [one.ids for one in coded]
        self.places = [np.array(one.offsets).reshape(-1, 2) for one in coded]
        self.sentences = [
            [self.tokens(i, start, end) for start, end in one["sentences"]]
            for i, one in enumerate(passages)
        ]

    def tokens(self, passage: int, start: int, end: int) -> tuple[int, int]:
        """Return first and one past the last token that touch the characters start..end."""
        places = self.places[passage]
        touched = np.flatnonzero((places[:, 1] > start) & (places[:, 0] < end))
        return (int(touched[0]), int(touched[-1]) + 1) if len(touched) else (0, 0)


class Pairs:
    """Samples a question's pairs: its passage, a negative, and its passage without the answer."""

    def __init__(
        self, tokenizer: tokenizers.Tokenizer, folder: Path, chance: random.Random, noise: float
    ) -> None:
        held = read_json(folder / "training.json.xz")
        misheard = read_json(folder / "misheard.json.xz")
        self._tokenizer = tokenizer
        self._chance = chance
        self._noise = noise
        self._table, self._counts = misheard["alternatives"], misheard["counts"]
        self.passages = Passages(tokenizer, held["passages"])
        self.questions = held["questions"]

    def words(self, question: dict[str, Any]) -> str:
        """Return the question as typed, as spoken, or as misrecognized."""
        if self._chance.random() >= self._noise:
            return str(question["text"])
        level = self._chance.choice((0.0, 0.4, 0.8, 1.2))
        return mishear(question["spoken"], self._table, self._counts, self._chance, level)

    def draw(self, question: dict[str, Any]) -> list[Pair]:
        """Return up to three pairs of a question."""
        text = self.words(question)
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids[:LONGEST_QUESTION]
        head = [CLS, *ids, SEP]
        pairs = [own] if (own := self._own(head, question)) else []
        near = question["near"][:]
        self._chance.shuffle(near)
        cut = None
        if pairs and pairs[0].start and self._chance.random() < 0.4:
            cut = self._cut(head, question, pairs[0])
        pairs += [cut] if cut else []
        return pairs + [self._pair(head, self.passages.ids[i]) for i in near[: 3 - len(pairs)]]

    def _pair(self, head: list[int], body: list[int]) -> Pair:
        return Pair([*head, *body[: LONGEST - len(head) - 1], SEP], len(head))

    def _own(self, head: list[int], question: dict[str, Any]) -> Pair | None:
        passage, shift = question["passage"], len(head)
        pair = self._pair(head, self.passages.ids[passage])
        if question["start"] < 0:
            return pair
        start, end = self.passages.tokens(passage, question["start"], question["end"])
        if end == 0 or shift + end >= len(pair.ids):
            return None
        spans = self.passages.sentences[passage]
        first = max((a for a, _ in spans if a <= start), default=0)
        last = min((b for _, b in spans if b >= end), default=len(self.passages.ids[passage]))
        last = min(last, len(pair.ids) - 1 - shift)
        return Pair(
            pair.ids, shift, shift + start, shift + end - 1, shift + first, shift + last - 1
        )

    def _cut(self, head: list[int], question: dict[str, Any], own: Pair) -> Pair | None:
        """Remove the answering sentence; None if the rest still contains the answer."""
        passage, shift = question["passage"], len(head)
        body = self.passages.ids[passage]
        answer = body[own.start - shift : own.end + 1 - shift]
        rest = body[: own.first - shift] + body[own.last + 1 - shift :]
        inside = any(rest[i : i + len(answer)] == answer for i in range(len(rest)))
        return None if inside or len(rest) < 8 else self._pair(head, rest)

    def batches(self, size: int) -> Iterator[list[Pair]]:
        """Yield batches endlessly: pairs of `size` questions, of similar length."""
        while True:
            order = list(range(len(self.questions)))
            self._chance.shuffle(order)
            for at in range(0, len(order) - 8 * size + 1, 8 * size):
                drawn = [self.draw(self.questions[i]) for i in order[at : at + 8 * size]]
                pool = sorted((pair for pairs in drawn for pair in pairs), key=lambda p: len(p.ids))
                groups = [pool[i : i + 3 * size] for i in range(0, len(pool), 3 * size)]
                self._chance.shuffle(groups)
                yield from groups


def stack(pairs: list[Pair]) -> dict[str, Tensor]:
    """Pad pairs to one length."""
    width = -(-max(len(pair.ids) for pair in pairs) // 16) * 16
    ids = np.zeros((len(pairs), width), np.int64)
    kinds, mask = np.zeros_like(ids), np.zeros_like(ids, dtype=bool)
    for row, pair in enumerate(pairs):
        ids[row, : len(pair.ids)] = pair.ids
        kinds[row, pair.question : len(pair.ids)] = 1
        mask[row, : len(pair.ids)] = True
    goals = np.array([(p.start, p.end, p.first, p.last) for p in pairs])
    table = {"ids": ids, "kinds": kinds, "mask": mask, "goals": goals}
    return {name: torch.from_numpy(values) for name, values in table.items()}


def candidates(logits: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """Mask everything that cannot be an answer: all but [CLS] and the passage."""
    open_ = (batch["kinds"] == 1) & batch["mask"]
    open_[:, 0] = True
    return logits.float().masked_fill(~open_[..., None], -1e4)


def loss_of(logits: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """Cross-entropy of start, end and the sentence's share; [CLS] stands for no answer."""
    logs = functional.log_softmax(candidates(logits, batch), dim=1)
    start, end, first, last = batch["goals"].unbind(1)
    place = torch.arange(logs.shape[1], device=logs.device)
    inside = (place >= first[:, None]) & (place <= last[:, None])
    shared = logs[..., SENTENCE].masked_fill(~inside, -1e4).logsumexp(dim=1)
    rows = torch.arange(len(start), device=logs.device)
    exact = logs[rows, start, START] + logs[rows, end, END]
    return -(exact / 2 + shared).mean()


def background(batches: Iterator[list[Pair]], device: str) -> Iterator[dict[str, Tensor]]:
    """Prepare batches in a separate thread."""
    ready: queue.Queue[dict[str, Tensor]] = queue.Queue(16)

    def work() -> None:
        for pairs in batches:
            made = stack(pairs)
            ready.put({n: v.pin_memory() for n, v in made.items()} if device == "cuda" else made)

    threading.Thread(target=work, daemon=True).start()
    while True:
        yield {name: v.to(device, non_blocking=True) for name, v in ready.get().items()}


class Validation:
    """The development half: right sentence among four passages, and is there one."""

    def __init__(self, tokenizer: tokenizers.Tokenizer, folder: Path, most: int | None) -> None:
        held = read_json(folder / "validation.json.xz")
        shown = [i for i, one in enumerate(held["passages"]) if one]
        self._row = {i: row for row, i in enumerate(shown)}
        self._passages = Passages(tokenizer, [held["passages"][i] for i in shown])
        self._cases = (
            held["cases"][:: max(1, len(held["cases"]) // most)] if most else held["cases"]
        )
        self._tokenizer = tokenizer

    def measure(self, network: ReaderNetwork, device: str) -> dict[str, dict[str, float]]:
        """Return gold contained and AUROC of each form of question."""
        jobs = sorted(self._jobs(), key=lambda job: len(job[3].ids))
        best: dict[tuple[int, bool], tuple[float, str]] = {}
        for at in range(0, len(jobs), 128):
            part = jobs[at : at + 128]
            batch = {n: v.to(device) for n, v in stack([job[3] for job in part]).items()}
            with torch.no_grad(), torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
                logits = network(batch["ids"], batch["kinds"], batch["mask"])
            for (number, answerable, passage, pair), row in zip(
                part, candidates(logits, batch).cpu()[..., SENTENCE], strict=True
            ):
                for score, text in self._scored(passage, pair, row):
                    if score > best.get((number, answerable), (-1e9, ""))[0]:
                        best[number, answerable] = (score, text)
        return self._figures(best)

    def _jobs(self) -> Iterator[tuple[int, bool, int, Pair]]:
        for number, (_, question, _, _, found, without) in enumerate(self._cases):
            ids = self._tokenizer.encode(question, add_special_tokens=False).ids
            head = [CLS, *ids[:LONGEST_QUESTION], SEP]
            for answerable, ranked in ((True, found), (False, without)):
                for passage in (self._row[i] for i in ranked):
                    body = self._passages.ids[passage][: LONGEST - len(head) - 1]
                    yield number, answerable, passage, Pair([*head, *body, SEP], len(head))

    def _scored(self, passage: int, pair: Pair, row: Tensor) -> Iterator[tuple[float, str]]:
        """Yield log odds and text of each sentence of a passage."""
        places, text = self._passages.places[passage], self._passages.texts[passage]
        for first, last in self._passages.sentences[passage]:
            span = row[pair.question + first : min(pair.question + last, len(pair.ids) - 1)]
            if len(span):
                yield (
                    float(span.logsumexp(0) - row[0]),
                    text[places[first, 0] : places[last - 1, 1]],
                )

    def _figures(self, best: dict[tuple[int, bool], tuple[float, str]]) -> dict[str, Any]:
        figures = {}
        for form in ("typed", "misheard"):
            own = [i for i, case in enumerate(self._cases) if case[0] == form]
            hits = [self._cases[i][2].lower() in best[i, True][1].lower() for i in own]
            there = np.array([best[i, True][0] for i in own])
            missing = np.array([best[i, False][0] for i in own])
            area = (there[:, None] > missing[None, :]).mean()
            figures[form] = {"gold": float(np.mean(hits)), "auroc": float(area)}
        return figures


def save(network: ReaderNetwork, out: Path) -> None:
    """Write the trained tensors in half precision, in two files."""
    halves: dict[int, dict[str, Tensor]] = {0: {}, 1: {}}
    for name, values in network.state_dict().items():
        late = name.startswith("layers.") and int(name.split(".")[1]) >= 3
        halves[int(late)][name] = values.detach().half().cpu().contiguous()
    for number, tensors in halves.items():
        save_file(tensors, out / f"reader-{number}.safetensors")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("prepared", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tokenizer", type=Path, default=Path(__file__).parents[2]
                        / "src/voicerag_core/local/weights/data/minilm_tokenizer.json")  # fmt: skip
    parser.add_argument("--seconds", type=float, default=200.0, help="of training in total")
    parser.add_argument("--questions", type=int, default=QUESTIONS_A_STEP, help="a step")
    parser.add_argument("--rate", type=float, default=RATE)
    parser.add_argument("--noise", type=float, default=0.5, help="share of spoken questions")
    parser.add_argument("--validate", type=int, help="validate on this many cases only")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(options.seed)
    torch.set_num_threads(1)
    tokenizer = tokenizers.Tokenizer.from_file(str(options.tokenizer))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    pairs = Pairs(tokenizer, options.prepared, random.Random(options.seed), options.noise)
    validation = Validation(tokenizer, options.prepared, options.validate)
    with np.load(options.prepared / "base.npz") as base:
        network = ReaderNetwork(dict(base))
    Run(network, validation, options).train(pairs)


class Run:
    """One training with its log."""

    def __init__(
        self, network: ReaderNetwork, validation: Validation, options: argparse.Namespace
    ) -> None:
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._network = network.to(self._device)
        self._validation = validation
        self._options = options
        self._log: dict[str, Any] = {
            "options": {name: str(value) for name, value in vars(options).items()},
            "steps": [],
            "validation": [],
        }

    def train(self, pairs: Pairs) -> None:
        """Train until the time limit, validate at each third, and save."""
        seconds, rate = self._options.seconds, self._options.rate
        optimiser = self._optimiser()
        marks = [1 / 3, 2 / 3]
        began = time.monotonic()
        total: Tensor | float = 0.0
        counted = step = 0
        for batch in background(pairs.batches(self._options.questions), self._device):
            passed = (time.monotonic() - began) / seconds
            if passed >= 1:
                break
            for group in optimiser.param_groups:
                group["lr"] = rate * min(1.0, passed / WARM_UP, (1 - passed) / (1 - WARM_UP))
            total, counted, step = total + self._step(batch, optimiser), counted + 1, step + 1
            if step % LOG_EVERY == 0:
                self._note(step, time.monotonic() - began, float(total) / counted)
                total, counted = 0.0, 0
            if marks and passed >= marks[0]:
                marks.pop(0)
                self._check(step)
        self._check(step)
        save(self._network, self._options.out)
        print(f"done after {step} steps", flush=True)

    def _optimiser(self) -> torch.optim.Optimizer:
        whole = list(self._network.parameters())
        groups = [
            {"params": [p for p in whole if p.dim() > 1], "weight_decay": 0.01},
            {"params": [p for p in whole if p.dim() <= 1], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=self._options.rate, betas=(0.9, 0.98))

    def _step(self, batch: dict[str, Tensor], optimiser: torch.optim.Optimizer) -> Tensor:
        with torch.autocast(self._device, torch.bfloat16, enabled=self._device == "cuda"):
            logits = self._network(batch["ids"], batch["kinds"], batch["mask"])
        loss = loss_of(logits, batch)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self._network.parameters(), 1.0)
        optimiser.step()
        return loss.detach()

    def _note(self, step: int, passed: float, loss: float) -> None:
        self._log["steps"].append((step, passed, loss))
        print(f"step {step}, {passed:.1f} s, loss {loss:.4f}", flush=True)
        if not math.isfinite(loss):
            raise SystemExit("the loss is not finite")

    def _check(self, step: int) -> None:
        """Validate and write the log."""
        self._network.eval()
        began = time.monotonic()
        found = {"step": step, **self._validation.measure(self._network, self._device)}
        self._network.train()
        self._log["validation"].append(found)
        if self._device == "cuda":
            self._log["peak_gb"] = torch.cuda.max_memory_allocated() / 1e9
        print(found, f"{time.monotonic() - began:.1f} s", flush=True)
        (self._options.out / "log.json").write_text(json.dumps(self._log, indent=1))


if __name__ == "__main__":
    main()
