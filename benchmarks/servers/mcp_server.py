"""The MCP server with the local stack: start, load, cancel, progress.

    python -m benchmarks.servers.mcp_server [--out benchmarks/results/mcp_server.md]

Starts the program as users do, ingests the sample base over the protocol, and measures from the
client's side with the official client.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
from mcp import Client, StdioServerParameters

from benchmarks.sample import SAMPLE, read_rows
from voicerag_core import load_settings
from voicerag_mcp.server import build_server, open_service
from voicerag_mcp.settings import load_server_settings

PORT = 8765
CLIENTS = 32


def quantile(seconds: Sequence[float], share: float) -> float:
    ordered = sorted(seconds)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def row(what: str, seconds: Sequence[float]) -> str:
    p50, p95, worst = statistics.median(seconds), quantile(seconds, 0.95), max(seconds)
    return f"| {what} | {len(seconds)} | {p50:.3f} | {p95:.3f} | {worst:.3f} |"


async def start_times(data: Path, runs: int = 10) -> list[float]:
    """Measure the seconds from the start of the process to the list of tools."""
    found = []
    for _ in range(runs):
        started = time.perf_counter()
        server = StdioServerParameters(
            command=sys.executable,
            args=["-m", "voicerag_mcp"],
            env={"VOICERAG_DATA_DIR": str(data)},
        )
        async with Client(server) as client:
            await client.list_tools()
            found.append(time.perf_counter() - started)
    return found


@asynccontextmanager
async def http_server(data: Path, docs: Path) -> AsyncIterator[str]:
    options = ("--transport", "http", "--port", str(PORT), "--allow-path", str(docs))
    process = subprocess.Popen(
        [sys.executable, "-m", "voicerag_mcp", *options],
        env={**os.environ, "VOICERAG_DATA_DIR": str(data)},
    )
    url = f"http://127.0.0.1:{PORT}/mcp"
    try:
        for _ in range(200):
            await asyncio.sleep(0.1)
            try:
                async with Client(url) as client:
                    await client.list_tools()
                break
            except Exception:  # noqa: BLE001 - not up yet
                continue
        yield url
    finally:
        process.terminate()
        process.wait(20)


async def ingest(url: str) -> tuple[float, float, str]:
    """Ingest the whole sample; return its seconds, the longest silence, and the reply."""
    ticks = [time.perf_counter()]

    async def note(progress: float, total: float | None, message: str | None) -> None:
        ticks.append(time.perf_counter())

    async with Client(url) as client:
        result = await client.call_tool(
            "voice_ingest", {"paths": ["."]}, progress_callback=note, read_timeout_seconds=600
        )
    ticks.append(time.perf_counter())
    gaps = [after - before for before, after in pairwise(ticks)]
    assert not result.is_error, result.content
    return ticks[-1] - ticks[0], max(gaps), str(getattr(result.content[0], "text", ""))


async def together(url: str, calls: Sequence[dict[str, Any]]) -> tuple[list[float], int]:
    """Call voice_search from several clients at once; return the seconds of each, and failures."""
    seconds: list[float] = []
    failed = 0
    ready = anyio.Event()

    async def one(arguments: dict[str, Any]) -> None:
        nonlocal failed
        async with Client(url) as client:
            await client.list_tools()
            await ready.wait()
            started = time.perf_counter()
            result = await client.call_tool("voice_search", arguments, read_timeout_seconds=120)
            seconds.append(time.perf_counter() - started)
            failed += bool(result.is_error)

    async with anyio.create_task_group() as group:
        for arguments in calls:
            group.start_soon(one, arguments)
        await asyncio.sleep(3)
        ready.set()
    return seconds, failed


async def cancels(data: Path, runs: int = 10) -> tuple[list[float], list[float]]:
    """Cancel answers at different points.

    Returns seconds until the caller is released, and until nothing runs for it any more.
    """
    released, ended = [], []
    with open_service(load_settings(data_dir=data), load_server_settings()) as service:
        async with Client(build_server(service)) as client:
            question = {"text": "Who designed the Fresno Water Tower and where does it stand?"}
            await client.call_tool("voice_ask", question)
            for run in range(runs):
                with anyio.CancelScope() as scope:
                    async with anyio.create_task_group() as group:
                        group.start_soon(client.call_tool, "voice_ask", question)
                        await asyncio.sleep(0.01 + 0.03 * run)
                        begun = time.perf_counter()
                        scope.cancel()
                released.append(time.perf_counter() - begun)
                while service.serving.workers.unfinished:
                    await asyncio.sleep(0.002)
                ended.append(time.perf_counter() - begun)
    return released, ended


def write_documents(folder: Path) -> None:
    for one in read_rows("passages.jsonl"):
        (folder / f"{one['id']}.txt").write_text(one["text"])


async def measure(data: Path, docs: Path) -> list[str]:
    questions = read_rows("questions.jsonl")
    texts = [{"text": one["question"]} for one in questions[:CLIENTS]]
    clips = [
        {"audio_base64": base64.b64encode((SAMPLE / one["audio"]).read_bytes()).decode()}
        for one in questions
        if one.get("audio")
    ][:CLIENTS]
    rows = [row("start of the process to tools/list (stdio), s", await start_times(data))]
    async with http_server(data, docs) as url:
        seconds, gap, said = await ingest(url)
        cold, failed_cold = await together(url, texts)
        warm, failed_warm = await together(url, texts)
        spoken, failed_spoken = await together(url, clips)
    released, ended = await cancels(data)
    rows += [
        row(f"{CLIENTS} clients at once, voice_search by text, {failed_cold} failed, s", cold),
        row(f"the same again, {failed_warm} failed, s", warm),
        row(
            f"{len(clips)} clients at once, voice_search by speech, {failed_spoken} failed, s",
            spoken,
        ),
        row("cancel of voice_ask to the caller being free, s", released),
        row("cancel of voice_ask to nothing running for it, s", ended),
        "",
        f"voice_ingest of 240 files: {seconds:.1f} s, longest silence {gap:.2f} s. {said}",
    ]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    out = parser.parse_args().out
    with tempfile.TemporaryDirectory() as data, tempfile.TemporaryDirectory() as docs:
        write_documents(Path(docs))
        rows = asyncio.run(measure(Path(data), Path(docs)))
    machine = platform.processor() or platform.machine()
    where = f"{machine}, {os.cpu_count()} cores shared with other work"
    page = [
        "# The MCP server",
        "",
        f"{time.strftime('%Y-%m-%d')}, {where}, Python {platform.python_version()}:",
        "`python -m benchmarks.servers.mcp_server`.",
        f"Load average at the end: {os.getloadavg()[0]:.1f}.",
        "",
        "| what | n | median | p95 | worst |",
        "|---|---|---|---|---|",
        *rows,
        "",
    ]
    print("\n".join(page))
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text("\n".join(page))


if __name__ == "__main__":
    main()
