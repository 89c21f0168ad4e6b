"""Trace the project files that a spoken question enters, and the calls between them.

    python -m benchmarks.main_job.trace                     # local: `ask`, and MCP `voice_ask`
    python -m benchmarks.main_job.trace --stack glm-tiny    # GLM-4-Voice on tiny random weights
    python -m benchmarks.main_job.trace --out FILE          # save it, to compare later
    python -m benchmarks.main_job.trace --compare FILE      # list the files beyond that run

Asks `examples/sample/audio/report-16.flac` after everything is loaded, with a profile hook in all
threads: every function of this project that is entered counts for its file, and the nearest
function of the project above it on the stack for the file that called it. Reading the audio file
counts, imports do not. The exit status is 1 if a limit is exceeded: at most 33 files for `ask` on
the local stack, at most 38 for `voice_ask`, and no two files that call each other.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

from mcp import Client

import voicerag_core
import voicerag_mcp
from benchmarks.sample import SAMPLE, read_rows
from voicerag_core import Answer, Passage, Sampling, load_settings, open_voicerag, read_audio
from voicerag_mcp.server import build_server, open_service
from voicerag_mcp.settings import load_server_settings

QUESTION = "audio/report-16.flac"
STRATEGIES = ("e2e", "adaptive", "asr")
PASSAGES = 60
"""So many of the sample are indexed, the right one among them."""
SAMPLING = Sampling(max_new_tokens=200, seed=0)
BARS = {"ask": 33, "voice_ask": 38}
"""Maximum number of files on the local stack."""
ROOTS = tuple(Path(package.__path__[0]) for package in (voicerag_core, voicerag_mcp))

Edge = tuple[str, str]


@cache
def project_file(name: str) -> str | None:
    """Return the path of a project file, starting at its package; None for any other."""
    path = Path(name)
    for root in ROOTS:
        if path.is_relative_to(root):
            return path.relative_to(root.parent).as_posix()
    return None


@dataclass
class Trace:
    """The files and calls of one question.

    Args:
        files: Entered files, with the number of calls.
        calls: From file to file, with the distinct pairs of functions.
    """

    files: Counter[str] = field(default_factory=Counter)
    calls: dict[Edge, set[Edge]] = field(default_factory=dict)

    def both_ways(self) -> list[str]:
        """Return the pairs of files that call each other, with the number of pairs of functions."""
        return [
            f"{a} <-> {b} ({len(self.calls[a, b])} : {len(self.calls[b, a])})"
            for a, b in sorted(self.calls)
            if a < b and (b, a) in self.calls
        ]

    def note(self, frame: FrameType) -> None:
        """Count a function that is entered or resumed."""
        code = frame.f_code
        file = project_file(code.co_filename)
        if file is None or code.co_name == "<module>":
            return
        self.files[file] += 1
        above = frame.f_back
        while above is not None:
            caller = project_file(above.f_code.co_filename)
            if caller is not None:
                if caller != file:
                    names = (above.f_code.co_qualname, code.co_qualname)
                    self.calls.setdefault((caller, file), set()).add(names)
                return
            above = above.f_back


class Tracer:
    """A profile hook for every thread that starts while it is installed.

    Threads get the hook when they start, so it is installed before anything is opened; it records
    only between `begin` and `end`.
    """

    def __init__(self) -> None:
        self._trace: Trace | None = None

    def profile(self, frame: FrameType, event: str, _: object) -> None:
        """Receive the interpreter's event, see `sys.setprofile`."""
        trace = self._trace
        if trace is not None and event == "call":
            trace.note(frame)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Install the hook in this thread and in those that it starts."""
        threading.setprofile(self.profile)
        sys.setprofile(self.profile)
        try:
            yield
        finally:
            sys.setprofile(None)
            threading.setprofile(None)

    @contextmanager
    def tracing(self) -> Iterator[Trace]:
        """Record calls inside the block."""
        self._trace = trace = Trace()
        try:
            yield trace
        finally:
            self._trace = None


def trace_ask(tracer: Tracer, strategy: str) -> Trace:
    """Ask with a `VoiceRAG` in this process."""
    with open_voicerag(load_settings(strategy=strategy)) as rag:
        index(rag.index)
        rag.warm()
        # The first question may load what warm() does not.
        rag.ask(read_audio(SAMPLE / QUESTION), sampling=SAMPLING)
        with tracer.tracing() as trace:
            answer = rag.ask(read_audio(SAMPLE / QUESTION), sampling=SAMPLING)
    check(answer)
    return trace


def trace_voice_ask(tracer: Tracer, strategy: str) -> Trace:
    """Call the tool of the MCP server with a client in memory."""
    settings = load_settings(strategy=strategy)
    with open_voicerag(settings) as rag:
        index(rag.index)

    async def ask() -> Trace:
        sound = base64.b64encode((SAMPLE / QUESTION).read_bytes()).decode()
        async with Client(build_server(service)) as client:
            await client.call_tool("voice_ask", {"audio_base64": sound})
            with tracer.tracing() as trace:
                result = await client.call_tool("voice_ask", {"audio_base64": sound})
            if result.is_error:
                raise SystemExit(f"voice_ask failed: {result.content}")
            return trace

    with open_service(settings, load_server_settings()) as service:
        return asyncio.run(ask())


def index(add: Callable[[Sequence[Passage]], object]) -> None:
    """Index a part of the sample that contains the answer."""
    wanted = next(
        row["passage"] for row in read_rows("questions.jsonl") if row["audio"] == QUESTION
    )
    rows = read_rows("passages.jsonl")
    chosen = [row for row in rows if row["id"] == wanted]
    chosen += [row for row in rows if row["id"] != wanted][: PASSAGES - 1]
    add([Passage(row["id"], row["text"], {"title": row["title"]}) for row in chosen])


def check(answer: Answer) -> None:
    """Stop if the question was not answered: then the trace is a different one."""
    if not answer.hits or not answer.text:
        raise SystemExit(f"the question found no answer: {answer}")


@contextmanager
def environment(stack: str) -> Iterator[None]:
    """Set the variables of a stack, with a database and models in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        values = {"VOICERAG_DATA_DIR": folder}
        if stack == "glm-tiny":
            from tests.glm import tiny

            trees = Path(folder) / "glm"
            tiny.write_trees(trees)
            values |= {
                "VOICERAG_STACK": "glm",
                "VOICERAG_GLM_DIR": str(trees),
                "VOICERAG_GLM_DEVICE": "cpu",
            }
        kept = {
            name: os.environ.pop(name) for name in list(os.environ) if name.startswith("VOICERAG_")
        }
        os.environ.update(values)
        try:
            yield
        finally:
            for name in values:
                del os.environ[name]
            os.environ.update(kept)


def row(name: str, trace: Trace, bar: int | None) -> str:
    files, pairs = len(trace.files), trace.both_ways()
    met = "" if bar is None else f"at most {bar}: {'yes' if files <= bar else '**no**'}"
    return f"| {name} | {files} | {met} | {len(trace.calls)} | {'; '.join(pairs) or 'none'} |"


def beyond(name: str, trace: Trace, earlier: Mapping[str, Any]) -> list[str]:
    """Return the lines that compare with an earlier run."""
    if name not in earlier:
        return [f"{name}: not in the earlier run"]
    before, now = set(earlier[name]["files"]), set(trace.files)
    return [
        f"{name}: {len(before)} files before, {len(now)} now",
        *(f"  + {file}" for file in sorted(now - before)),
        *(f"  - {file}" for file in sorted(before - now)),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stack", choices=("local", "glm-tiny"), default="local")
    parser.add_argument("--way", choices=("ask", "mcp"), help="this one alone")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="what --out wrote earlier")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write files and calls as JSON")
    options = parser.parse_args()
    tracer = Tracer()
    traces: dict[str, Trace] = {}
    with ExitStack() as stack:
        stack.enter_context(environment(options.stack))
        stack.enter_context(tracer.installed())
        if options.way != "mcp":
            for strategy in STRATEGIES:
                traces[f"ask {strategy}"] = trace_ask(tracer, strategy)
        if options.way != "ask":
            traces["voice_ask e2e"] = trace_voice_ask(tracer, "e2e")
    bars = BARS if options.stack == "local" else {}
    print("| way | files | bar | calls from file to file | call each other both ways |")
    print("|---|---|---|---|---|")
    for name, trace in traces.items():
        print(row(name, trace, bars.get(name.split()[0])))
    for name, trace in traces.items():
        print(f"\n{name}:", *(f"  {file}" for file in sorted(trace.files)), sep="\n")
    if options.compare:
        earlier = json.loads(options.compare.read_text(encoding="utf-8"))
        for name, trace in traces.items():
            print("", *beyond(name, trace, earlier), sep="\n")
    if options.out:
        kept = {
            name: {
                "files": sorted(trace.files),
                "calls": [f"{a} -> {b}" for a, b in sorted(trace.calls)],
            }
            for name, trace in traces.items()
        }
        options.out.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    broken = [
        name
        for name, trace in traces.items()
        if trace.both_ways() or len(trace.files) > bars.get(name.split()[0], sys.maxsize)
    ]
    if broken:
        raise SystemExit(f"a bar is broken: {', '.join(broken)}")


if __name__ == "__main__":
    main()
