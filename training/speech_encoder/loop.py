"""The training: batches from a growing pool, losses, validation on unseen voices."""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import math
import queue
import random
import threading
import time
from collections.abc import Iterator
from multiprocessing.queues import Queue
from pathlib import Path

import numpy as np
import soundfile
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional

from training.speech_encoder.augment import LENGTHS, STEP, Clips, Odds, Sound, steps_of
from training.speech_encoder.model import CHARACTERS, SpeechReader
from training.speech_encoder.texts import spoken_form, target_of
from training.speech_encoder.voices import Utterance

RATE = 16_000
FROZEN = ("encoder.conv", "encoder.positions", "encoder.blocks.0")
"""Never trained: the acoustic layers, which overfit to the training voices (see the report)."""
LOW = (*FROZEN, "encoder.blocks.1")
"""Not trained in a run with `--freeze 2`."""

WAIT_SECONDS = 120
"""For the first clips."""
HOPELESS = 0.97
"""After a quarter of the time the word error rate must be below this."""


def read_clip(path: Path) -> np.ndarray:
    """Read a 16 kHz file as int16 [T]."""
    samples, rate = soundfile.read(path, dtype="int16", always_2d=True)
    if rate != RATE:
        raise ValueError(f"{path} has {rate} Hz; {RATE} are wanted")
    return np.ascontiguousarray(samples[:, 0])


class Pool:
    """Clips and targets that grow while the training runs."""

    def __init__(self, capacity: int, device: torch.device, pieces: Tokenizer) -> None:
        self.clips = Clips(capacity, device)
        self.pieces = pieces
        self.targets: list[list[int]] = []
        self.letters: list[list[int]] = []
        self.human: list[int] = []
        self.voices: list[int] = []

    def add(self, samples: np.ndarray, text: str, voice: int) -> bool:
        """Add one clip; `voice` below 0 is a human speaker."""
        target = target_of(text)
        ids = self.pieces.encode(target).ids
        if not ids or len(target) * 2 > len(samples) // 320 * 2 or not self.clips.add(samples):
            return False
        self.targets.append(ids)
        self.letters.append([CHARACTERS.index(c) for c in target])
        self.voices.append(voice)
        if voice < 0:
            self.human.append(len(self.targets) - 1)
        return True

    def batches(self, budget: int, human: float, generator: random.Random) -> Iterator[list[int]]:
        """Yield batches of clips of similar length, `budget` samples each.

        A share `human` of them is human speech.
        Clips that do not fill a batch of their length wait for the next draw.
        """
        waiting: dict[int, list[int]] = {length: [] for length in LENGTHS}
        while True:
            known = len(self.clips.sizes)
            drawn = generator.sample(range(known), min(known, 8192))
            if self.human:
                drawn += generator.choices(self.human, k=int(len(drawn) * human / (1 - human)))
            generator.shuffle(drawn)
            batches = []
            for index in drawn:
                length = steps_of(self.clips.sizes[index])
                if length is None:
                    continue
                waiting[length].append(index)
                if len(waiting[length]) == max(8, budget // (length * STEP) // 8 * 8):
                    batches.append(waiting[length])
                    waiting[length] = []
            generator.shuffle(batches)
            yield from batches


def ctc(logits: Tensor, frames: Tensor, targets: list[list[int]]) -> Tensor:
    """Return the mean CTC loss per target unit; the blank is the last class."""
    flat = torch.tensor([i for ids in targets for i in ids], device=logits.device)
    sizes = torch.tensor([len(ids) for ids in targets], device=logits.device)
    scores = logits.float().log_softmax(-1).transpose(0, 1)
    return functional.ctc_loss(
        scores, flat, frames, sizes, blank=logits.shape[-1] - 1, zero_infinity=True
    )


def read_greedily(model: SpeechReader, mel: Tensor, frames: Tensor, pieces: Tokenizer) -> list[str]:
    """Decode the most likely token of each frame, without repeats and blanks."""
    best = model(mel, frames).argmax(-1).cpu().numpy()
    read = []
    for row, count in zip(best, (frames // 2).tolist(), strict=True):
        ids = [
            int(key) for key, _ in itertools.groupby(row[:count]) if key != pieces.get_vocab_size()
        ]
        read.append("".join(pieces.id_to_token(i) or "" for i in ids).replace("▁", " ").strip())
    return read


def word_errors(read: str, target: str) -> int:
    """Count the substitutions, insertions and deletions between two texts."""
    a, b = read.split(), target.split()
    row = np.arange(len(b) + 1)
    for i, word in enumerate(a, 1):
        previous, row = row, row.copy()
        row[0] = i
        for j, other in enumerate(b, 1):
            row[j] = min(previous[j] + 1, row[j - 1] + 1, previous[j - 1] + (word != other))
    return int(row[-1])


class Validation:
    """Clips of voices that are never trained on; word error rate of each set."""

    def __init__(self, folder: Path, sound: Sound, pieces: Tokenizer, device: torch.device) -> None:
        self.sets: dict[str, tuple[Clips, list[str]]] = {}
        self.sound, self.pieces = sound, pieces
        for table in sorted(folder.glob("*/texts.tsv")):
            rows = [line.split("\t") for line in table.read_text().splitlines()]
            known = [
                (read_clip(table.parent / name), target_of(spoken_form(text, limit=False) or text))
                for name, text in rows
            ]
            clips = Clips(sum(len(samples) + 2 for samples, _ in known), device)
            for samples, _ in known:
                clips.add(samples)
            self.sets[table.parent.name] = clips, [text for _, text in known]

    @torch.inference_mode()
    def errors(self, model: SpeechReader) -> dict[str, float]:
        """Return the word error rate of each set."""
        model.eval()
        rates = {}
        for name, (clips, texts) in self.sets.items():
            wrong = 0
            for first in range(0, len(texts), 64):
                chosen = list(range(first, min(first + 64, len(texts))))
                waves, _, sizes = self.sound.draw(clips, chosen, changed=False)
                mel, frames = self.sound.features(waves, sizes, changed=False)
                wrong += sum(
                    word_errors(a, texts[i])
                    for a, i in zip(
                        read_greedily(model, mel, frames, self.pieces), chosen, strict=True
                    )
                )
            rates[name] = round(wrong / sum(len(text.split()) for text in texts), 4)
        model.train()
        return rates


def collect(spoken: Queue[list[Utterance]], pool: Pool, stop: threading.Event) -> None:
    """Move spoken clips into the pool until stopped or the pool is full."""
    while not stop.is_set():
        try:
            done = spoken.get(timeout=1.0)
        except queue.Empty:
            continue
        for samples, text, voice in done:
            pool.add(samples, text, voice)


def rates_at(progress: float, arguments: argparse.Namespace) -> tuple[float, float]:
    """Return the learning rates of head and encoder: warm-up, then a cosine."""
    shape = min(1.0, progress / 0.03) * (
        0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    )
    late = min(1.0, max(0.0, progress - 0.1) / 0.1)
    return arguments.head_rate * shape, arguments.encoder_rate * shape * late


class Trainer:
    """One run."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(arguments.seed)
        if self.device.type == "cuda":
            torch.backends.cuda.cufft_plan_cache.max_size = 96
        data: Path = arguments.data
        self.pieces = Tokenizer.from_file(str(data / "pieces.json"))
        filters, noises = (
            np.load(data / "filters.npy"),
            [np.load(path) for path in sorted(data.glob("noise*.npy"))],
        )
        self.sound = Sound(filters, noises, self.device, Odds(), seed=3 + arguments.seed)
        self.model = SpeechReader(self.pieces.get_vocab_size(), layers=arguments.layers).to(
            self.device
        )
        self.model.encoder.load_state_dict(
            {k: v.float() for k, v in load_file(data / "whisper.safetensors").items()}
        )
        self.original = copy.deepcopy(self.model.encoder).eval().requires_grad_(False)
        if arguments.start:
            found = {
                k: v.float()
                for path in sorted(arguments.start.glob("*.safetensors"))
                for k, v in load_file(path).items()
            }
            missing, extra = self.model.load_state_dict(found, strict=False)
            if extra or any(not name.startswith("encoder.") for name in missing):
                raise SystemExit(f"{arguments.start}: missing {missing}, unknown {extra}")
        self.average = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.validation = Validation(data / "valid", self.sound, self.pieces, self.device)
        self.pool = Pool(int(arguments.hours * 3600 * RATE), self.device, self.pieces)
        self.log: list[dict[str, object]] = []
        self.best = math.inf
        head: list[nn.Parameter] = []
        encoder: list[nn.Parameter] = []
        for name, parameter in self.model.named_parameters():
            if name.startswith(LOW if arguments.freeze > 1 else FROZEN):
                parameter.requires_grad_(False)
            else:
                (encoder if name.startswith("encoder.") else head).append(parameter)
        self.optimizer = torch.optim.AdamW(
            [{"params": head}, {"params": encoder}],
            lr=0.0,
            betas=(0.9, 0.98),
            weight_decay=0.01,
            fused=self.device.type == "cuda",
        )

    def run(self, spoken: Queue[list[Utterance]]) -> None:
        """Train for the given time on the clips that the voices put into the queue."""
        stop, begun = threading.Event(), time.monotonic()
        self._add_human()
        collector = threading.Thread(target=collect, args=(spoken, self.pool, stop), daemon=True)
        collector.start()
        while (
            len(self.pool.targets) < self.arguments.first
            and time.monotonic() - begun < WAIT_SECONDS
        ):
            time.sleep(0.2)
        try:
            self._train()
        finally:
            stop.set()
            collector.join(5)

    def _add_human(self) -> None:
        table = self.arguments.data / "human" / "manifest.tsv"
        rows = (
            [line.split("\t") for line in table.read_text().splitlines()] if table.exists() else []
        )
        columns = {name: number for number, name in enumerate(rows[0])} if rows else {}
        for row in rows[1:]:
            text = spoken_form(row[columns["text"]])
            if text:
                self.pool.add(read_clip(table.parent / row[columns["path"]]), text, -1)
        print(
            f"{len(self.pool.human)} human clips, {self.pool.clips.used / RATE / 3600:.2f} h",
            flush=True,
        )

    def _train(self) -> None:
        arguments = self.arguments
        generator = random.Random(10 + arguments.seed)
        marks = iter([0.25, 0.5, 0.7, 0.85, 2.0])
        mark, started, seen = next(marks), time.monotonic(), 0.0
        until = arguments.begun + arguments.seconds - 12
        for step, batch in enumerate(
            self.pool.batches(arguments.budget * RATE, arguments.human, generator)
        ):
            progress = (time.monotonic() - started) / (until - started)
            if progress >= 1.0:
                break
            for group, rate in zip(
                self.optimizer.param_groups, rates_at(progress, arguments), strict=True
            ):
                group["lr"] = rate
            losses = self._step(batch)
            seen += sum(self.pool.clips.sizes[i] for i in batch) / RATE / 3600
            decay = min(0.999, 1 - 1 / (step / 4 + 2))
            with torch.no_grad():
                torch._foreach_lerp_(
                    list(self.average.parameters()), list(self.model.parameters()), 1 - decay
                )
            if step % 200 == 0:
                print(
                    f"{progress:.2f} step {step} clips {len(self.pool.targets)} seen {seen:.0f} h "
                    + " ".join(f"{k} {v.item():.3f}" for k, v in losses.items()),
                    flush=True,
                )
            if progress > mark:
                self._judge(f"step {step}")
                mark = next(marks)
        self._judge("end")
        counts = np.bincount([v for v in self.pool.voices if v >= 0]).tolist()
        print(
            json.dumps(
                {
                    "steps": step,
                    "clips": len(self.pool.targets),
                    "hours": self.pool.clips.used / RATE / 3600,
                    "seen_hours": seen,
                    "by_voice": counts,
                }
            )
        )

    def _step(self, batch: list[int]) -> dict[str, Tensor]:
        clean, spoiled, sizes = self.sound.draw(self.pool.clips, batch, changed=True)
        mel, frames = self.sound.features(spoiled, sizes, changed=True)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            states, valid, bias = self.model.encoder(mel, frames)
            logits, middles, letters = self.model.read(states, valid, bias)
            with torch.no_grad():
                plain, _ = self.sound.features(clean, sizes, changed=False)
                wanted, _, _ = self.original(plain, frames)
        half, targets = frames // 2, [self.pool.targets[i] for i in batch]
        losses = {
            "pieces": ctc(logits, half, targets),
            "letters": ctc(letters, half, [self.pool.letters[i] for i in batch]),
        }
        losses["middle"] = (
            torch.stack([ctc(m, half, targets) for m in middles]).mean()
            if middles
            else losses["pieces"]
        )
        losses["anchor"] = (
            (states.float() - wanted.float()).square().mean(-1, keepdim=True) * valid.float()
        ).sum() / valid.float().sum()
        total = (
            losses["pieces"]
            + 0.3 * losses["letters"]
            + 0.5 * losses["middle"]
            + self.arguments.anchor * losses["anchor"]
        )
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return losses

    def _judge(self, when: str) -> None:
        """Validate the current and the averaged weights; keep the best so far."""
        for name, model in (("average", self.average), ("current", self.model)):
            errors = self.validation.errors(model)
            score = float(np.mean(list(errors.values()))) if errors else math.inf
            self.log.append({"when": when, "weights": name, "word_error_rate": errors})
            print(when, name, errors, f"mean {score:.4f}", flush=True)
            if score < self.best or not errors:
                self.best = score
                self._save(model)
        if self.best > HOPELESS:
            raise SystemExit(f"the best word error rate is {self.best:.2f}: something is wrong")
        (self.arguments.out / "log.json").write_text(json.dumps(self.log, indent=1))

    def _save(self, model: SpeechReader) -> None:
        state = {
            k: v.detach().half().contiguous().cpu()
            for k, v in model.state_dict().items()
            if not k.startswith(FROZEN)
        }
        self.arguments.out.mkdir(parents=True, exist_ok=True)
        for part in ("encoder", "head"):
            chosen = {
                k: v for k, v in state.items() if k.startswith("encoder.") == (part == "encoder")
            }
            save_file(chosen, str(self.arguments.out / f"{part}.safetensors"))
