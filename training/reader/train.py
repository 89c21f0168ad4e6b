"""Train the reader on one GPU, within a time limit.

    python -m training.reader.train PREPARED OUT --seconds 240
    python -m training.reader.train PREPARED OUT --seconds 240 --teacher FOLDER

PREPARED is the output of prepare.py. OUT gets log.json and the trained tensors in half precision
(reader-*.safetensors). With --teacher, whose FOLDER is the output of teacher.py, the larger network
is trained first, and the reader then learns to agree with it as well as with the labels.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import queue
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from training.reader.examples import (
    CLS,
    LONGEST,
    LONGEST_QUESTION,
    SEP,
    Drawing,
    Examples,
    Pair,
    Passages,
    read_json,
    stack,
)
from training.reader.network import ReaderNetwork
from training.reader.teacher import TeacherNetwork, teacher_weights

RATE = 1.5e-4
WARM_UP = 0.05
TEACHER_RATE = 5e-5
START, END, SENTENCE = 0, 1, 2
TEMPERATURE = 2.0
"""Both networks' scores are divided by it before they are compared (Hinton et al. 2015)."""
LABELS = 0.4
"""Share of the labels in the loss; the rest is the teacher's."""
LOG_EVERY = 100
MIX = "wikipedia=0.5,own=0.27,made=0.17,handbook=0.06"


def open_only(logits: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """Mask everything that cannot be an answer: all but [CLS] and the sentences."""
    return logits.float().masked_fill(~batch["open"][..., None], -1e4)


def loss_of(logits: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """Cross-entropy of the sentences' share, and of the answer's start and end.

    [CLS] stands for no answer. Where only the sentence is known, start and end may lie anywhere
    in it.
    """
    logs = functional.log_softmax(open_only(logits, batch), dim=1)
    shared = logs.masked_fill(~batch["inside"][..., None], -1e4).logsumexp(dim=1)
    ends = batch["ends"]
    rows = torch.arange(len(ends), device=logs.device)
    known = ends[:, 0] >= 0
    start = torch.where(known, logs[rows, ends[:, 0].clamp(min=0), START], shared[:, START])
    end = torch.where(known, logs[rows, ends[:, 1].clamp(min=0), END], shared[:, END])
    return -((start + end) / 2 + shared[:, SENTENCE]).mean()


def distance_of(logits: Tensor, taught: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """Kullback-Leibler divergence of the teacher's likelihoods from the reader's.

    Weighted as in `loss_of`, and by the squared temperature, so that gradients keep their size.
    """
    own = functional.log_softmax(open_only(logits, batch) / TEMPERATURE, dim=1)
    wanted = functional.log_softmax(open_only(taught, batch) / TEMPERATURE, dim=1)
    apart = functional.kl_div(own, wanted, reduction="none", log_target=True).sum(dim=1)
    each = (apart[:, START] + apart[:, END]) / 2 + apart[:, SENTENCE]
    return TEMPERATURE**2 * each.mean()


def _make(examples: Examples, size: int, seed: object, out: Any) -> None:  # noqa: ANN401 - a queue
    torch.set_num_threads(1)
    for pairs in examples.reseeded(seed).batches(size):
        out.put(stack(pairs))


def batches(examples: Examples, size: int, workers: int, seed: int) -> Iterator[dict[str, Tensor]]:
    """Prepare batches in other processes; with no workers, in this one."""
    if not workers:
        for pairs in examples.reseeded(seed).batches(size):
            yield {name: torch.from_numpy(values) for name, values in stack(pairs).items()}
    context = multiprocessing.get_context("fork")
    made = context.Queue(4 * workers)
    for number in range(workers):
        work = (examples, size, f"{seed} {number}", made)
        context.Process(target=_make, args=work, daemon=True).start()
    while True:
        yield {name: torch.from_numpy(values) for name, values in made.get().items()}


def ahead(made: Iterator[dict[str, Tensor]], device: str) -> Iterator[dict[str, Tensor]]:
    """Bring batches to the device, a few ahead."""
    ready: queue.Queue[dict[str, Tensor]] = queue.Queue(8)

    def fetch() -> None:
        for batch in made:
            ready.put({n: v.pin_memory() for n, v in batch.items()} if device == "cuda" else batch)

    threading.Thread(target=fetch, daemon=True).start()
    while True:
        yield {name: v.to(device, non_blocking=True) for name, v in ready.get().items()}


class Validation:
    """Development questions: is the right sentence chosen, does its score tell so?"""

    def __init__(
        self, tokenizer: tokenizers.Tokenizer, folder: Path, drawing: Drawing, most: int | None
    ) -> None:
        held = read_json(folder / "validation.json.xz")
        self._passages = Passages(held["passages"], drawing)
        cases = held["cases"]
        self._cases = cases[:: max(1, len(cases) // most)] if most else cases
        self._tokenizer = tokenizer

    def measure(self, network: nn.Module, device: str) -> dict[str, dict[str, float]]:
        """Return the share of right choices and AUROC of each form of question."""
        jobs = sorted(self._jobs(), key=lambda job: len(job[2].ids))
        best: dict[int, tuple[float, bool]] = {}
        for at in range(0, len(jobs), 256):
            part = jobs[at : at + 256]
            batch = {
                n: torch.from_numpy(v).to(device) for n, v in stack([j[2] for j in part]).items()
            }
            with torch.no_grad(), torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
                logits = network(batch["ids"], batch["kinds"], batch["mask"])
            scored = open_only(logits, batch).cpu().numpy()
            for (number, right, pair), rows in zip(part, scored, strict=True):
                for i, (a, b) in enumerate(pair.spans):
                    if b > a:
                        odds = np.logaddexp.reduce(rows[a:b], axis=0) - rows[0]
                        score = float(odds[SENTENCE] + (odds[START] + odds[END]) / 2)
                        if score > best.get(number, (-1e9, False))[0]:
                            best[number] = (score, i in right)
        return self._figures(best)

    def _jobs(self) -> Iterator[tuple[int, set[int], Pair]]:
        for number, case in enumerate(self._cases):
            ids = self._tokenizer.encode(case["t"], add_special_tokens=False).ids
            head = [CLS, *ids[:LONGEST_QUESTION], SEP]
            room = LONGEST - len(head) - 1
            for passage in case["found"]:
                right = {i for place, i in case["right"] if place == passage}
                at = 0
                while at < self._passages.count(passage):
                    order = [i for i in self._passages.fitting(passage, at, room) if i >= at]
                    body, spans = self._passages.window(passage, order, room)
                    shifted = [(a + len(head), b + len(head)) for a, b in spans]
                    good = {n for n, i in enumerate(order) if i in right}
                    yield number, good, Pair([*head, *body, SEP], len(head), shifted)
                    at = order[-1] + 1

    def _figures(self, best: dict[int, tuple[float, bool]]) -> dict[str, Any]:
        figures: dict[str, Any] = {}
        for form in dict.fromkeys(case["form"] for case in self._cases):
            own = [i for i, case in enumerate(self._cases) if case["form"] == form and i in best]
            there = np.array([best[i][0] for i in own if self._cases[i]["right"]])
            right = np.array([best[i][1] for i in own if self._cases[i]["right"]])
            missing = np.array([best[i][0] for i in own if not self._cases[i]["right"]])
            area = (there[:, None] > missing[None, :]).mean()
            cuts = np.quantile(np.concatenate((there, missing)), np.linspace(0, 1, 101))
            both = max(((right & (there >= c)).sum() + (missing < c).sum()) for c in cuts)
            figures[form] = {"right": round(float(right.mean()), 4), "auroc": round(float(area), 4),
                             "both": round(float(both) / len(own), 4)}  # fmt: skip
            kinds: dict[str, list[bool]] = {}
            for i in own:
                if self._cases[i]["right"] and "kind" in self._cases[i]:
                    kinds.setdefault(self._cases[i]["kind"], []).append(best[i][1])
            if kinds:
                figures["kinds"] = {k: f"{sum(v)}/{len(v)}" for k, v in sorted(kinds.items())}
        return figures


def save(network: ReaderNetwork, out: Path) -> None:
    """Write the trained tensors in half precision, in two files."""
    halves: dict[int, dict[str, Tensor]] = {0: {}, 1: {}}
    for name, values in network.state_dict().items():
        late = name.startswith("layers.") and int(name.split(".")[1]) >= 3
        halves[int(late)][name] = values.detach().half().cpu().contiguous()
    for number, tensors in halves.items():
        save_file(tensors, out / f"reader-{number}.safetensors")


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("prepared", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--tokenizer", type=Path, default=Path(__file__).parents[2]
                        / "src/voicerag_core/local/weights/data/minilm_tokenizer.json")  # fmt: skip
    parser.add_argument("--seconds", type=float, default=200.0, help="of training in total")
    parser.add_argument("--teacher", type=Path, help="weights of a larger network, of teacher.py")
    parser.add_argument("--teacher-seconds", type=float, default=280.0, help="of its training")
    parser.add_argument("--questions", type=int, default=64, help="a step")
    parser.add_argument("--rate", type=float, default=RATE)
    parser.add_argument("--mix", default=MIX, help="share of each group of questions")
    parser.add_argument("--changed", type=float, default=0.3, help="share of changed questions")
    parser.add_argument("--from-reader", type=Path, help="an exported reader to start from")
    parser.add_argument("--no-path", action="store_true", help="show no headings above a window")
    parser.add_argument("--no-marks", action="store_true", help="mark no kinds of blocks")
    parser.add_argument("--workers", type=int, default=4, help="processes that prepare batches")
    parser.add_argument("--validate", type=int, help="validate on this many cases only")
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main() -> None:
    """Train."""
    options = parsed()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(options.seed)
    torch.set_num_threads(1)
    tokenizer = tokenizers.Tokenizer.from_file(str(options.tokenizer))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    mix = {name: float(share) for name, share in (p.split("=") for p in options.mix.split(","))}
    drawing = Drawing(mix, changed=options.changed, path=not options.no_path,
                      marks=not options.no_marks)  # fmt: skip
    examples = Examples(tokenizer, options.prepared, drawing, random.Random(options.seed))
    validation = Validation(tokenizer, options.prepared, drawing, options.validate)
    with np.load(options.prepared / "base.npz") as base:
        network = ReaderNetwork(dict(base), options.dropout)
    if options.from_reader:
        from training.reader.starts import reader_weights

        held = reader_weights(options.from_reader)
        network.load_state_dict({name: torch.tensor(values) for name, values in held.items()})
    run = Run(validation, options)
    made = batches(examples, options.questions, options.workers, options.seed)
    next(made)  # the processes are forked before the device is touched
    coming = ahead(made, run.device)
    teacher = None
    if options.teacher:
        teacher = TeacherNetwork(teacher_weights(options.teacher))
        run.train(teacher, coming, options.teacher_seconds, TEACHER_RATE)
        teacher.eval()
    run.train(network, coming, options.seconds, options.rate, teacher)
    save(network, options.out)


class Run:
    """Trainings with their log."""

    def __init__(self, validation: Validation, options: argparse.Namespace) -> None:
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self._validation = validation
        self._out = options.out
        self._log: dict[str, Any] = {
            "options": {name: str(value) for name, value in vars(options).items()},
            "steps": [],
            "validation": [],
        }

    def train(
        self,
        network: nn.Module,
        coming: Iterator[dict[str, Tensor]],
        seconds: float,
        rate: float,
        teacher: nn.Module | None = None,
    ) -> None:
        """Train until the time limit, and validate at each third.

        Args:
            network: To train; brought to the device.
            coming: Batches on the device.
            seconds: The limit, validation included.
            rate: The largest learning rate.
            teacher: Also learnt from, on the device.
        """
        network.to(self.device).train()
        optimiser = self._optimiser(network, rate)
        marks = [1 / 3, 2 / 3]
        began = time.monotonic()
        total: Tensor | float = 0.0
        counted = step = 0
        while (passed := (time.monotonic() - began) / seconds) < 1:
            for group in optimiser.param_groups:
                group["lr"] = rate * min(1.0, passed / WARM_UP, (1 - passed) / (1 - WARM_UP))
            total = total + self._step(network, next(coming), optimiser, teacher)
            counted, step = counted + 1, step + 1
            if step % LOG_EVERY == 0:
                self._note(step, time.monotonic() - began, float(total) / counted)
                total, counted = 0.0, 0
            if marks and passed >= marks[0]:
                marks.pop(0)
                self._check(network, step)
        self._check(network, step)
        print(f"done after {step} steps", flush=True)

    def _optimiser(self, network: nn.Module, rate: float) -> torch.optim.Optimizer:
        whole = list(network.parameters())
        groups = [
            {"params": [p for p in whole if p.dim() > 1], "weight_decay": 0.01},
            {"params": [p for p in whole if p.dim() <= 1], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), fused=self.device == "cuda")

    def _step(
        self,
        network: nn.Module,
        batch: dict[str, Tensor],
        optimiser: torch.optim.Optimizer,
        teacher: nn.Module | None,
    ) -> Tensor:
        given = batch["ids"], batch["kinds"], batch["mask"]
        with torch.autocast(self.device, torch.bfloat16, enabled=self.device == "cuda"):
            logits = network(*given)
            if teacher is not None:
                with torch.no_grad():
                    taught = teacher(*given)
        loss = loss_of(logits, batch)
        if teacher is not None:
            loss = LABELS * loss + (1 - LABELS) * distance_of(logits, taught, batch)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        return loss.detach()

    def _note(self, step: int, passed: float, loss: float) -> None:
        self._log["steps"].append((step, passed, loss))
        print(f"step {step}, {passed:.1f} s, loss {loss:.4f}", flush=True)
        if not math.isfinite(loss):
            raise SystemExit("the loss is not finite")

    def _check(self, network: nn.Module, step: int) -> None:
        """Validate and write the log."""
        network.eval()
        began = time.monotonic()
        found = {"step": step, **self._validation.measure(network, self.device)}
        network.train()
        self._log["validation"].append(found)
        if self.device == "cuda":
            self._log["peak_gb"] = torch.cuda.max_memory_allocated() / 1e9
        print(found, f"{time.monotonic() - began:.1f} s", flush=True)
        (self._out / "log.json").write_text(json.dumps(self._log, indent=1))


if __name__ == "__main__":
    main()
