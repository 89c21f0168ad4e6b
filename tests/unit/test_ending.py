"""Signals end a command with the right code, soon, and with nothing left behind."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap

import pytest

from tests.waiting import PATIENCE

BEGIN = """
import atexit, hashlib, os, signal, sys, threading, time
import voicerag_core.ending as ending
from voicerag_core.cli.command import exiting_well

def send(number, after=0.0):
    threading.Timer(after, os.kill, [os.getpid(), number]).start()
"""


def run(code: str, *arguments: str, name: str = "program") -> subprocess.CompletedProcess[str]:
    program = f"import sys\nsys.argv = [{name!r}]\n" + BEGIN + textwrap.dedent(code)
    return subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


@pytest.mark.parametrize(
    ("number", "name"), [(signal.SIGINT, "/usr/bin/voicerag"), (signal.SIGTERM, "voicerag-mcp")]
)
def test_an_import_is_interrupted_without_a_word(number: int, name: str) -> None:
    ended = run(f"os.kill(os.getpid(), {number}); time.sleep({PATIENCE})", name=name)
    assert (ended.returncode, ended.stdout, ended.stderr) == (128 + number, "", "")


def test_other_programs_keep_their_signals() -> None:
    ended = run(
        "print(signal.getsignal(signal.SIGINT) is signal.default_int_handler, "
        "signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)"
    )
    assert ended.stdout == "True True\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_open_is_closed(number: int) -> None:
    ended = run(
        f"""
        with exiting_well():
            try:
                os.kill(os.getpid(), {number})
                time.sleep({PATIENCE})
            finally:
                print("closed")
        """
    )
    assert (ended.returncode, ended.stdout) == (128 + number, "closed\n")
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("number", "swallower"), [(signal.SIGINT, "__del__"), (signal.SIGTERM, "weakref")]
)
def test_an_end_that_a_destructor_swallows_comes_again(number: int, swallower: str) -> None:
    ended = run(
        f"""
        import weakref

        def struck(*_):
            os.kill(os.getpid(), {number})
            for _ in range(1000):
                pass

        class Thing:
            if {swallower!r} == "__del__":
                __del__ = struck

        with exiting_well():
            thing = Thing()
            reference = weakref.ref(thing, struck) if {swallower!r} == "weakref" else None
            del thing
            time.sleep({PATIENCE})
        """
    )
    assert ended.returncode == 128 + number
    assert "Exception ignored" not in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("number", [signal.SIGINT])
def test_a_native_call_is_not_waited_for(number: int) -> None:
    ended = run(
        f"""
        ending.PATIENCE_SECONDS = 0.2
        atexit.register(lambda: print("database stopped", flush=True))
        with exiting_well():
            send({number}, 0.2)
            hashlib.pbkdf2_hmac("sha256", b"a", b"b", 2_000_000_000)
        """
    )
    assert (ended.returncode, ended.stdout) == (128 + number, "database stopped\n")
    assert "dropped as a whole" in ended.stderr


def test_an_end_that_is_caught_is_not_waited_for_either() -> None:
    ended = run(
        f"""
        ending.PATIENCE_SECONDS = 0.2
        with exiting_well():
            send(signal.SIGTERM, 0.2)
            while True:
                try:
                    time.sleep({PATIENCE})
                except BaseException:
                    pass
        """
    )
    assert ended.returncode == 143


def test_a_second_signal_does_not_disturb_the_closing() -> None:
    ended = run(
        f"""
        with exiting_well():
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep({PATIENCE})
            finally:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(0.1)
                print("closed")
        """
    )
    assert (ended.returncode, ended.stdout) == (143, "closed\n")


@pytest.mark.parametrize("number", [signal.SIGTERM])
def test_what_an_interrupted_call_raises_is_not_the_reason(number: int) -> None:
    ended = run(
        f"""
        import typer
        from voicerag_core.cli.command import command

        app = typer.Typer()

        @app.callback()
        def options() -> None:
            pass

        def work(given) -> None:
            try:
                os.kill(os.getpid(), {number})
                time.sleep({PATIENCE})
            except BaseException as error:
                raise ImportError("half imported") from error

        command(app, "work", examples=())(work)
        with exiting_well():
            app(["work"])
        """
    )
    assert ended.returncode == 128 + number
    assert ended.stderr.strip() in {"interrupted", "terminated"}


@pytest.mark.parametrize("daemon", [True, False])
def test_threads_are_neither_waited_for_nor_torn_out_of_their_calls(daemon: bool) -> None:
    ended = run(
        f"""
        class Thing:
            def __del__(self):
                os.write(1, b"the interpreter is taken down\\n")

        kept = Thing()
        atexit.register(lambda: print("database stopped", flush=True))
        with exiting_well():
            threading.Thread(target=time.sleep, args=[{PATIENCE}], daemon={daemon}).start()
            sys.exit(3)
        """
    )
    assert (ended.returncode, ended.stdout) == (3, "database stopped\n")


def test_a_closing_that_hangs_is_ended_and_no_signal_disturbs_it() -> None:
    ended = run(
        f"""
        ending._CLOSING_SECONDS = 0.3
        ending.close_in_peace(143)
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), number)
        print("goes on", flush=True)
        time.sleep({PATIENCE})
        """
    )
    assert (ended.returncode, ended.stdout) == (143, "goes on\n")


def test_a_model_at_work_does_not_abort_the_process() -> None:
    pytest.importorskip("onnxruntime")
    ended = run(
        """
        from voicerag_core.local.minilm import MiniLMEmbedder

        model, working = MiniLMEmbedder(), threading.Event()

        def work():
            while True:
                model.embed_questions(["Where does the Rhine rise?"])
                working.set()

        with exiting_well():
            threading.Thread(target=work, daemon=True).start()
            working.wait()
            sys.exit(0)
        """
    )
    assert (ended.returncode, ended.stderr) == (0, "")
