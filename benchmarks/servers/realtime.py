"""Realtime with the local stack: how long a spoken question waits, is interrupted, and shares.

    python -m benchmarks.servers.realtime --data-dir DIR [--questions 58] [--page 15] [--out FILE]
    python -m benchmarks.servers.realtime --turns 1000

Starts ``voicerag serve`` as users do, on a data folder that holds the sample base (``voicerag
--data-dir DIR demo`` makes it), and speaks to it in real time, 40 ms at a time. All times are the
client's, from the last voiced sample that the server names to the event's arrival; they hold the
500 ms of silence that end a turn. "Early sources" are the first passages that the client is told,
by the sound of the question alone where its words are still made out; "final sources" are those
that the answer is read from. ``--page`` asks questions by the page in Chromium, too, which says
itself when its first sample was played ("heard"). Interrupted are the longest answers: of a short
one all sound is sent before anybody can speak into it. ``--turns`` holds a conversation of spoken
turns with models that need no weights and tells what memory the server took.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
from websockets.asyncio.client import ClientConnection, connect

from benchmarks.sample import SAMPLE, read_rows
from benchmarks.servers.page import page_latencies
from voicerag_core import read_audio

RATE = 24_000
STEP = 0.04
STAGES = ("early sources", "transcript", "final sources", "first text", "first sound", "heard")
BARS = {
    "early sources": (0.6, 0.9),
    "final sources": (0.6, 0.9),
    "first text": (1.0, 1.4),
    "first sound": (1.5, 2.0),
}
PAGE_STAGES = {
    "early_sources": "early sources",
    "transcript": "transcript",
    "sources": "final sources",
    "first_text": "first text",
    "first_audio": "first sound",
    "heard": "heard",
}
FAKES = "from benchmarks.servers.realtime import serve_fakes; serve_fakes({port})"


def quantile(seconds: Sequence[float], share: float) -> float:
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


@dataclass
class Turn:
    """What a client saw of a turn: when each stage came, in seconds from the end of speech."""

    stages: dict[str, float] = field(default_factory=dict)
    heard: str = ""
    said: str = ""
    passages: list[list[str]] = field(default_factory=list)


class Speaker:
    """A client that speaks in real time on one session.

    Args:
        socket: Open.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._began = time.monotonic()
        self._sent = 0.0

    async def configure(self) -> None:
        """Ask for sources, and wait for the session."""
        update = {"voicerag": {"sources": True, "limit": 4}}
        await self._send("session.update", session=update)
        await self.event("session.updated")
        self._began = time.monotonic() - self._sent

    async def say(self, pcm: bytes) -> None:
        """Send sound as a microphone does."""
        size = 2 * int(RATE * STEP)
        for at in range(0, len(pcm), size):
            audio = base64.b64encode(pcm[at : at + size]).decode()
            await self._send("input_audio_buffer.append", audio=audio)
            self._sent += STEP
            await asyncio.sleep(max(0.0, self._began + self._sent - time.monotonic()))

    async def listen(self, *, until: str = "response.done") -> Turn:
        """Follow a turn to its end."""
        turn, ended = Turn(), 0.0
        while True:
            event = json.loads(await self._socket.recv())
            now, kind = time.monotonic(), event["type"]
            if kind == "input_audio_buffer.speech_stopped":
                ended = self._began + event["audio_end_ms"] / 1000
            stage = {
                "voicerag.sources": "early sources",
                "response.output_audio_transcript.delta": "first text",
                "response.output_audio.delta": "first sound",
            }.get(kind)
            if kind.endswith("transcription.completed"):
                stage, turn.heard = "transcript", event["transcript"]
            if stage is not None:
                turn.stages.setdefault(stage, now - ended)
            if kind == "voicerag.sources" and event["final"]:
                turn.stages.setdefault("final sources", now - ended)
            if kind == "voicerag.sources" and not turn.said:
                turn.passages.append([one["id"] for one in event["passages"]])
            if kind.endswith("audio_transcript.delta"):
                turn.said += event["delta"]
            if kind == until:
                return turn

    async def event(self, kind: str) -> dict[str, Any]:
        """Wait for an event."""
        while True:
            event: dict[str, Any] = json.loads(await self._socket.recv())
            if event["type"] == kind:
                return event

    async def _send(self, kind: str, **fields: object) -> None:
        await self._socket.send(json.dumps({"type": kind, **fields}))


def pcm(path: Path) -> bytes:
    """Read a clip as 16-bit PCM."""
    samples = read_audio(path, sample_rate=RATE).samples
    return (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()


def quiet(seconds: float) -> bytes:
    return bytes(2 * int(RATE * seconds))


@asynccontextmanager
async def session(port: int) -> AsyncIterator[Speaker]:
    async with connect(f"ws://127.0.0.1:{port}/v1/realtime?model=voicerag") as socket:
        speaker = Speaker(socket)
        await speaker.configure()
        yield speaker


async def ask(speaker: Speaker, clip: bytes) -> Turn:
    """Ask, and be silent until the answer is there."""
    listening = asyncio.create_task(speaker.listen())
    await speaker.say(clip)
    while not listening.done():
        await speaker.say(quiet(0.2))
    return listening.result()


async def latencies(port: int, clips: Sequence[bytes]) -> list[Turn]:
    """Ask each question on a session of its own, so that none is a follow-up."""
    turns = []
    for clip in clips:
        async with session(port) as speaker:
            await speaker.say(quiet(0.6))
            turns.append(await ask(speaker, clip))
    return turns


async def crowd(port: int, clips: Sequence[bytes]) -> list[Turn]:
    """Let two of eight open sessions speak at the same time."""
    idle = [await connect(f"ws://127.0.0.1:{port}/v1/realtime") for _ in range(6)]
    halves = await asyncio.gather(latencies(port, clips[::2]), latencies(port, clips[1::2]))
    for socket in idle:
        await socket.close()
    return [turn for half in halves for turn in half]


@dataclass
class Interruption:
    """What followed `speech_started`, in seconds."""

    silence: float
    done: float
    free: float


def longest(port: int, rows: Sequence[dict[str, Any]]) -> list[Path]:
    """Return the clips of questions, those with the longest written answers first."""
    lengths = {}
    for row in rows:
        body = {"model": "voicerag", "messages": [{"role": "user", "content": row["question"]}]}
        asked = Request(
            f"http://127.0.0.1:{port}/v1/chat/completions",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urlopen(asked) as answer:
            said = json.load(answer)["choices"][0]["message"]["content"]
        lengths[row["audio"]] = len(said)
    return [SAMPLE / file for file in sorted(lengths, key=lambda file: -lengths[file])]


async def interruptions(
    port: int, clips: Sequence[bytes], barge: bytes, most: int
) -> list[Interruption]:
    """Speak into answers; tell when the last sound came, and when the worker was free.

    What counts is an answer that was still being given when the server heard the interruption.
    """
    found: list[Interruption] = []
    for clip in clips:
        if len(found) == most:
            break
        one = await interrupted(port, clip, barge)
        found += [] if one is None else [one]
    return found


async def interrupted(port: int, clip: bytes, barge: bytes) -> Interruption | None:
    """Speak into an answer; None if it was given in full before."""
    async with session(port) as speaker:
        await speaker.say(quiet(0.6))
        listening = asyncio.create_task(speaker.listen(until="response.output_audio.delta"))
        await speaker.say(clip)
        while not listening.done():
            await speaker.say(quiet(0.1))
        talking = asyncio.create_task(speaker.say(quiet(1.2) + barge))
        started = done = last = 0.0
        while not done:
            event = json.loads(await speaker._socket.recv())
            now, kind = time.monotonic(), event["type"]
            if kind == "input_audio_buffer.speech_started":
                started = last = now
            elif kind == "response.output_audio.delta" and started:
                last = now
            elif kind == "response.done":
                done = now
        free = await asyncio.to_thread(until_free, port) if started else 0.0
        talking.cancel()
        with suppress(asyncio.CancelledError):
            await talking
    return Interruption(last - started, done - started, free - started) if started else None


def metric(port: int, name: str) -> float:
    """Return a sum of Prometheus values."""
    with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


def until_free(port: int) -> float:
    while metric(port, "voicerag_jobs "):
        time.sleep(0.005)
    return time.monotonic()


@asynccontextmanager
async def served(command: list[str], port: int) -> AsyncIterator[int]:
    """Run a server; yield its process id."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        while True:
            with suppress(OSError), urlopen(f"http://127.0.0.1:{port}/ready") as answer:
                if answer.status == 200:
                    break
            assert process.poll() is None
            await asyncio.sleep(0.2)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def resident(pid: int) -> float:
    """Return the resident memory of a process, in MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def serve_fakes(port: int) -> None:
    """Serve models that need no weights."""
    from tests.serving.fakes import fake_tenants
    from voicerag_core import Settings
    from voicerag_web.command import serve
    from voicerag_web.service import open_web_service
    from voicerag_web.settings import load_web_settings

    tenants, _ = fake_tenants()
    with open_web_service(Settings(), load_web_settings(port=port), tenants=tenants) as service:
        asyncio.run(serve(service, print))


async def memory(port: int, turns: int) -> list[tuple[int, float]]:
    """Hold a conversation of spoken turns; return turns and MB of the server."""
    wave = 0.2 * np.sin(np.arange(2 * RATE) / 9)
    clip = (wave * 32767).astype("<i2").tobytes()
    found = []
    command = [sys.executable, "-c", FAKES.format(port=port)]
    async with (
        served(command, port) as pid,
        connect(f"ws://127.0.0.1:{port}/v1/realtime") as socket,
    ):
        speaker = Speaker(socket)
        update = {"audio": {"input": {"turn_detection": None}}}
        await speaker._send("session.update", session=update)
        for turn in range(turns + 1):
            if turn in {10, 100, 250, 500, 750, 1000} or turn == turns:
                found.append((turn, resident(pid)))
            audio = base64.b64encode(clip).decode()
            await speaker._send("input_audio_buffer.append", audio=audio)
            await speaker._send("input_audio_buffer.commit")
            await speaker._send("response.create")
            await speaker.event("response.done")
    return found


def changed(turn: Turn) -> bool:
    """Return whether the final passages are not those that came first."""
    return len(turn.passages) > 1 and turn.passages[0] != turn.passages[-1]


def of_page(stages: dict[str, float]) -> Turn:
    """Return a turn as the page saw it."""
    named = {PAGE_STAGES[stage]: seconds for stage, seconds in stages.items()}
    named.setdefault("early sources", named["final sources"])
    return Turn(named)


def table(turns: Sequence[Turn]) -> list[str]:
    lines = ["| stage | n | p50 | p95 | bar p50 / p95 |", "|---|---|---|---|---|"]
    for stage in STAGES:
        found = [turn.stages[stage] for turn in turns if stage in turn.stages]
        if found:
            bar = " / ".join(map(str, BARS[stage])) if stage in BARS else ""
            p50, p95 = statistics.median(found), quantile(found, 0.95)
            lines.append(f"| {stage} | {len(found)} | {p50:.2f} s | {p95:.2f} s | {bar} |")
    return lines


async def measured(given: argparse.Namespace) -> list[str]:
    rows = [row for row in read_rows("questions.jsonl") if row.get("audio")]
    files = [SAMPLE / row["audio"] for row in rows][: given.questions]
    clips = [pcm(file) for file in files]
    command = [
        sys.executable, "-m", "voicerag_core.cli", "--data-dir", str(given.data_dir),
        "--collection", "sample", "serve", "--port", str(given.port),
    ]  # fmt: skip
    async with served(command, given.port):
        await latencies(given.port, clips[:2])  # warm
        before = {name: metric(given.port, f'voicerag_speculations_total{{outcome="{name}"}}')
                  for name in ("held", "thrown away", "lost")}  # fmt: skip
        alone = await latencies(given.port, clips)
        outcome = {
            name: metric(given.port, f'voicerag_speculations_total{{outcome="{name}"}}') - count
            for name, count in before.items()
        }
        seen = await page_latencies(given.port, files[: given.page]) if given.page else []
        shared = await crowd(given.port, clips[: given.crowd])
        talkative = [pcm(file) for file in longest(given.port, rows)[: 2 * given.interruptions]]
        broken = await interruptions(given.port, talkative, clips[0], given.interruptions)
    lines = ["One session:", "", *table(alone), ""]
    lines += [
        f"Speculations: {outcome['held']:.0f} held, {outcome['thrown away']:.0f} thrown away.",
        f"Passages that the words changed: {sum(map(changed, alone))} of {len(alone)}.",
        "",
    ]
    if seen:
        lines += ["The page in Chromium, which says itself when its first sample was played:", ""]
        lines += [*table([of_page(stages) for stages in seen]), ""]
    lines += [
        "8 open sessions of which 2 speak at the same time:", "", *table(shared), "",
        "The longest answers, interrupted while they are given, from `speech_started` on:",
        "",
        "| what | n | p50 | p95 | bar |", "|---|---|---|---|---|",
    ]  # fmt: skip
    for what, values, bar in (
        ("last sound", [one.silence for one in broken], "0.15 s"),
        ("response.done", [one.done for one in broken], ""),
        ("workers free", [one.free for one in broken], "0.10 s"),
    ):
        if values:
            p50, p95 = statistics.median(values), quantile(values, 0.95)
            lines.append(f"| {what} | {len(values)} | {p50:.3f} s | {p95:.3f} s | {bar} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--questions", type=int, default=58)
    parser.add_argument("--crowd", type=int, default=20)
    parser.add_argument("--interruptions", type=int, default=15)
    parser.add_argument("--page", type=int, default=0, help="questions asked in Chromium")
    parser.add_argument("--turns", type=int, default=0)
    parser.add_argument("--port", type=int, default=8790)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.data_dir is None and not given.turns:
        parser.error("give --data-dir, a folder that holds the sample base, or --turns")
    load = os.getloadavg()[0]
    if given.turns:
        lines = ["| turns | MB of the server |", "|---|---|"]
        found = asyncio.run(memory(given.port, given.turns))
        lines += [f"| {turn} | {size:.0f} |" for turn, size in found]
    else:
        lines = asyncio.run(measured(given))
    lines.append("")
    lines.append(
        f"{os.cpu_count()} cores, {platform.machine()}, load average {load:.1f} at the start, "
        f"{os.getloadavg()[0]:.1f} at the end; Python {platform.python_version()}"
    )
    text = "\n".join(lines) + "\n"
    print(text)
    if given.out is not None:
        given.out.write_text(text)


if __name__ == "__main__":
    main()
