"""What the trace of a question counts."""

from __future__ import annotations

import threading

import numpy as np

from benchmarks.main_job.trace import Trace, Tracer, beyond, project_file
from voicerag_core import Audio, resample, types


def test_files_of_the_project_alone_are_counted() -> None:
    assert project_file(types.__file__) == "voicerag_core/types.py"
    assert project_file(np.__file__) is None
    assert project_file(__file__) is None


def test_calls_are_counted_while_tracing_in_every_thread() -> None:
    clip = Audio(np.zeros(800, np.float32), 8000)
    tracer = Tracer()
    with tracer.installed():
        resample(clip, 16_000)
        with tracer.tracing() as trace:
            resample(clip, 16_000)
            thread = threading.Thread(target=clip.__eq__, args=(clip,))
            thread.start()
            thread.join()
        entered = dict(trace.files)
        resample(clip, 16_000)
    assert set(entered) >= {"voicerag_core/audio/resampling.py", "voicerag_core/types.py"}
    assert dict(trace.files) == entered, "nothing is counted outside"
    assert ("voicerag_core/audio/resampling.py", "voicerag_core/types.py") in trace.calls
    assert not trace.both_ways()


def test_files_that_call_each_other_are_named_once() -> None:
    trace = Trace(calls={("b", "a"): {("f", "g"), ("h", "g")}, ("a", "b"): {("g", "f")}})
    trace.calls["a", "c"] = {("f", "f")}
    assert trace.both_ways() == ["a <-> b (1 : 2)"]


def test_files_beyond_an_earlier_run_are_named() -> None:
    trace = Trace()
    trace.files.update(["kept.py", "new.py"])
    earlier = {"ask e2e": {"files": ["gone.py", "kept.py"]}}
    assert beyond("ask e2e", trace, earlier) == [
        "ask e2e: 2 files before, 2 now",
        "  + new.py",
        "  - gone.py",
    ]
    assert "not in the earlier run" in beyond("ask asr", trace, earlier)[0]
