"""Help, version, completion: at once, complete, and without anything heavy."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version

import pytest

COMMANDS = (
    ("demo",), ("index",), ("ask",), ("search",), ("transcribe",), ("speak",), ("convert",),
    ("doctor",), ("db", "status"), ("db", "migrate"), ("db", "reset"), ("download", "local"),
    ("download", "glm"), ("db", "backup"), ("db", "restore"), ("db", "verify"), ("db", "stats"),
    ("db", "reindex"), ("db", "url"), ("list",), ("remove",),
    ("export",), ("import",), ("watch",),
)  # fmt: skip

HEAVY = {
    "ctranslate2", "onnxruntime", "psycopg", "py3langid", "pydantic", "sentencex", "sounddevice",
    "soundfile", "soxr", "tokenizers", "torch", "transformers", "yaml",
}  # fmt: skip

Voicerag = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_says_what_it_does_and_gives_examples(
    voicerag: Voicerag, command: tuple[str, ...]
) -> None:
    result = voicerag(*command, "--help")
    assert result.returncode == 0
    assert f"Usage: voicerag {' '.join(command)}" in result.stdout
    _, _, examples = result.stdout.partition("Examples:")
    assert f"voicerag {' '.join(command)}" in examples
    assert "--collection" in result.stdout


def test_help_lists_every_command(voicerag: Voicerag) -> None:
    shown = voicerag("--help").stdout
    for command in COMMANDS:
        assert f" {command[0]} " in shown


def test_help_loads_nothing_heavy() -> None:
    program = (
        "import sys, json, io, contextlib\n"
        "sys.argv = ['voicerag', '--help']\n"
        "from voicerag_core.cli import main\n"
        "shown = io.StringIO()\n"
        "with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):\n"
        "    main()\n"
        "assert 'Usage' in shown.getvalue()\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    output = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    loaded = {name.partition(".")[0] for name in json.loads(output)}
    assert "typer" in loaded
    assert loaded & HEAVY == set()


def test_version(voicerag: Voicerag) -> None:
    assert voicerag("--version").stdout == f"voicerag {version('voicerag-core')}\n"


def test_completion_knows_the_commands(monkeypatch: pytest.MonkeyPatch, voicerag: Voicerag) -> None:
    monkeypatch.setenv("_VOICERAG_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "voicerag tr")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert voicerag().stdout.split() == ["transcribe"]


@pytest.mark.parametrize(
    "words",
    [
        ("dance",),
        ("ask", "--text", "x", "--audio", "y"),
        ("ask", "--text", "  "),
        ("ask", ""),
        ("ask", "?"),
        ("ask", "x", "--text", "y"),
        ("ask", "x", "--audio", "y"),
        ("search", "-", "--audio", "-"),
        ("ask", "Who", "may", "sign?"),
        ("search", "notice", "period"),
        ("ask", __file__),
        ("ask", "--text", "x", "--out", "answer.mp3"),
        ("ask", "--text", "x", "--no-speech", "--out", "answer.wav"),
        ("ask", "--text", "x", "--limit", "0"),
        ("search", "--text", "x", "--where", "novalue"),
        ("index",),
        ("speak", " "),
        ("speak", "..."),
        ("speak", "```"),
        ("speak", "caf\udce9 is open"),
    ],
    ids=lambda words: " ".join(words).encode("ascii", "replace").decode(),
)
def test_wrong_usage_exits_2(voicerag: Voicerag, words: tuple[str, ...]) -> None:
    result = voicerag(*words)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert result.stderr.startswith("Usage:")


def test_several_words_are_shown_as_the_question_that_they_may_be(voicerag: Voicerag) -> None:
    result = voicerag("ask", "Who", "may", "sign?", "--no-speech")
    assert '"Who may sign?"' in " ".join(result.stderr.replace("│", " ").split())


@pytest.mark.parametrize("words", [("-",), ("--text", "-")], ids=" ".join)
@pytest.mark.parametrize("given", [b"", b" \n", "\N{SMILING FACE WITH OPEN MOUTH}".encode()])
def test_standard_input_without_a_question_exits_2(
    voicerag: Voicerag, words: tuple[str, ...], given: bytes
) -> None:
    result = voicerag("ask", *words, given=given)
    assert result.returncode == 2
    assert "holds no question" in " ".join(result.stderr.replace("│", " ").split())


def test_standard_input_that_is_not_utf8_is_not_spoken(voicerag: Voicerag) -> None:
    result = voicerag("speak", "-", given="café".encode("latin-1"))
    assert result.returncode == 2
    assert "not UTF-8" in " ".join(result.stderr.split())
