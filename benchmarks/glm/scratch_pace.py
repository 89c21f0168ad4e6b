"""Scratch: variants of the pacing, interleaved in one process; not part of the project."""

from __future__ import annotations

import argparse
import importlib
import json
import threading
import time
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.glm import callers as cc
from benchmarks.glm import many_callers as mc
from benchmarks.glm.callers import Call, calls_within, run_calls
from benchmarks.glm.lm import text_tokenizer
from voicerag_core.glm.decoder import service as service_mod
from voicerag_core.glm.decoder.stream import DecoderStream
from voicerag_core.glm.lm import batched_lm
from voicerag_core.glm.speech_tokenizer.tokenizer import SpeechTokenizer

LOG = []


def log(*a):
    LOG.append((time.monotonic(), *a))


def hooks(runner):
    sub, giv = DecoderStream._submit, DecoderStream._given

    def _submit(self, block):
        t = sub(self, block)
        log("submit", id(self) % 9973, "stop", self._stop, "deadline in", round(t.deadline - time.monotonic(), 3), "first", t.first)
        return t

    def _given(self, made):
        s = giv(self, made)
        if s.size:
            log("given", id(self) % 9973, round(len(s) / 22050, 2), "ends in", round(self._played - time.monotonic(), 3))
        return s

    DecoderStream._submit, DecoderStream._given = _submit, _given
    dec = service_mod.decode

    def decode(networks, blocks, **k):
        begun = time.monotonic()
        out = dec(networks, blocks, **k)
        log("decoded", len(blocks), "of", service_mod.flow_length(networks, blocks[0]), "in", round(time.monotonic() - begun, 4))
        return out

    service_mod.decode = decode
    fill = SpeechTokenizer._fill

    def _fill(self, waiting, n):
        begun = time.monotonic()
        fill(self, waiting, n)
        log("encoded", len(waiting), "in", round(time.monotonic() - begun, 4))

    SpeechTokenizer._fill = _fill
    launch = type(runner).launch

    def launched(self, batch):
        begun = time.monotonic()
        out = launch(self, batch)
        log("step", sum(p.stop - p.start for p in batch.parts), len(batch.replies), round(time.monotonic() - begun, 4))
        return out

    type(runner).launch = launched
    heard = cc._heard

    def _heard(reply, seconds, now):
        before = reply.stalled
        heard(reply, seconds, now)
        if reply.stalled > before:
            log("STALL", reply.call.seed, round(reply.stalled - before, 4), "first was", round(now - reply.first_audio, 3), "ago")

    cc._heard = _heard


def set_all(values):
    for name, value in values.items():
        mod, const = name.rsplit(".", 1)
        m = importlib.import_module("voicerag_core.glm." + mod)
        assert hasattr(m, const), name
        setattr(m, const, value)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--device", default="cuda")
    p.add_argument("--tiny", action="store_true")
    p.add_argument("--soak", type=float, default=95)
    p.add_argument("--reply", type=float, default=12)
    p.add_argument("--runs", type=int, default=3)
    p.add_argument("--seconds", type=float, default=360)
    p.add_argument("--variants", nargs="+", default=list(VARIANTS))
    p.add_argument("--last", default="D", help="variant of one, burst16 and soak")
    o = p.parse_args()
    o.out.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    scale = mc.DRY if o.tiny else mc.Scale()
    device = torch.device(o.device)
    plain = batched_lm.BatchedLM.__init__

    def init(self, model, **k):
        plain(self, model, **k, part_tokens=1920)

    batched_lm.BatchedLM.__init__ = init
    engine = mc.engine_on(device, o, scale, text_tokenizer())
    print("made", round(time.monotonic() - begun, 1), flush=True)
    engine.voice.warm()
    engine.wait()
    print("warm", round(time.monotonic() - begun, 1), flush=True)
    hooks(engine.lm._runner)
    defaults = {}
    for values in VARIANTS.values():
        for name in values:
            if name != "part":
                mod, const = name.rsplit(".", 1)
                defaults[name] = getattr(importlib.import_module("voicerag_core.glm." + mod), const)

    def choose(name):
        values = dict(VARIANTS[name])
        engine.lm._scheduler._part_tokens = values.pop("part", 960)
        set_all(defaults | values)

    def one_run(what, name, calls):
        LOG.clear()
        cpu = time.process_time()
        t0 = time.monotonic()
        rs, sec = run_calls(engine, calls)
        f = mc.figures_of(rs)
        line = {k: f[k] for k in ("first_audio_ms", "underruns", "stalled_s_max", "least_ahead_s", "errors")}
        line["text_p50"] = f["first_text_ms"].get("p50")
        line["speech_s_per_s"] = round(sum(r.speech for r in rs) / sec, 1)
        line["cpu_s"], line["wall_s"] = round(time.process_time() - cpu, 2), round(sec, 2)
        reads = [e[0] - t0 for e in LOG if e[1] == "step" and e[2]]
        if reads:
            line["last_read"], line["reads"] = round(reads[-1], 3), len(reads)
        print(what, name, json.dumps(line), flush=True)
        (o.out / f"log_{what}_{name}.txt").write_text(
            "\n".join(f"{e[0] - t0:.4f} " + " ".join(map(str, e[1:])) for e in LOG)
        )
        (o.out / f"calls_{what}_{name}.json").write_text(
            json.dumps([[round(r.call.at, 3), r.first_audio, r.stalled] for r in rs])
        )
        with (o.out / "lines.txt").open("a") as f2:
            f2.write(f"{what} {name} {json.dumps(line)}\n")

    choose(o.last)
    for n in range(3):
        one_run("warmup", str(n), [Call(6000 + n, reply_seconds=1.6)])
    one_run("burst16", "0", calls_within(scale.some, 0.1, 100, reply_seconds=scale.reply))
    for run in range(o.runs):
        for name in o.variants:
            if time.monotonic() - begun > o.seconds - o.soak - 25:
                print("skipped", run, name)
                continue
            choose(name)
            calls = calls_within(scale.many, 1.0, 100 + run, reply_seconds=min(o.reply, scale.reply * 4))
            number = 1_000_000 * (1 + o.variants.index(name))  # no prompt is asked twice
            calls = [replace(call, seed=call.seed + number) for call in calls]
            one_run("burst64", f"{name}_{run}", calls)
    choose(o.last)
    for run in (1, 2):
        one_run("burst16", str(run), calls_within(scale.some, 0.1, 100 + run, reply_seconds=scale.reply))
    one_run("burst64", "whole", calls_within(scale.many, 1.0, 100, reply_seconds=scale.reply))
    for n in range(8):
        one_run("one", str(n), [Call(6010 + n, reply_seconds=1.6)])
    if o.soak:
        one_run("soak", "all", mc.mixed_calls(scale, o.soak))
    print("threads", threading.active_count(), "total", round(time.monotonic() - begun, 1))


VARIANTS = {
    "N": {"speech_tokenizer.tokenizer.TRY_D": 0.0},
    "D": {"speech_tokenizer.tokenizer.TRY_D": 0.5},
    "DE": {"part": 1920, "speech_tokenizer.tokenizer.TRY_D": 0.5},
}

if __name__ == "__main__":
    main()
