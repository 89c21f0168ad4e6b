"""OpenAI's Agents SDKs, in Python and in JavaScript, against the Realtime door."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import PATIENCE
from tests.web.conftest import Running, silence, speech

pytestmark = pytest.mark.enable_socket

ANSWER = "The Rhine rises in the Swiss Alps."
SCRIPT = Path(__file__).parent / "clients" / "agents_realtime.mjs"
PACKAGE = "@openai/agents-realtime"


async def test_a_session_of_the_agents_sdk_in_python(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    agents = pytest.importorskip("agents.realtime", reason="openai-agents is not installed")
    monkeypatch.setenv("OPENAI_AGENTS_DISABLE_TRACING", "1")
    runner = agents.RealtimeRunner(agents.RealtimeAgent(name="Reader", instructions="Answer."))
    session = await runner.run(
        model_config={"api_key": "none", "url": f"{server.ws}/v1/realtime?model=voicerag"}
    )
    sound, ends, problems = b"", 0, []
    async with session:
        await session.send_message("Where does the Rhine rise?")
        async for event in session:
            match event.type:
                case "audio":
                    sound += event.audio.data
                case "error":
                    problems.append(event.error)
                case "audio_end":
                    ends += 1
                case "agent_end" if ends == 1:
                    await session.send_audio(silence(1.5) + speech(1.0) + silence(1.0))
                case "agent_end" if ends == 2:
                    break
        history: list[Any] = list(session._history)
    assert not problems
    assert len(sound) > 16_000
    said = [item.content[0].transcript for item in history if item.role == "assistant"]
    asked = [item.content[0] for item in history if item.role == "user"]
    # the client may play it still when it is interrupted: what was not heard is gone
    assert ANSWER.startswith((said[0] or "").rstrip())
    assert asked[1].transcript == "where does the rhine rise"


def _modules() -> Path | None:
    """Return the folder of npm's modules that holds the package."""
    named = os.environ.get("VOICERAG_NODE_MODULES")
    for folder in (Path(named) if named else None, Path(__file__).parents[2] / "node_modules"):
        if folder is not None and (folder / PACKAGE).is_dir():
            return folder
    return None


def test_a_session_of_the_agents_sdk_in_javascript(server: Running) -> None:
    node, modules = shutil.which("node"), _modules()
    if node is None or modules is None:
        assert "CI_BROWSER" not in os.environ, f"the workflow installs node and {PACKAGE}"
        pytest.skip(f"npm's {PACKAGE} is not installed (npm install {PACKAGE})")
    done = subprocess.run(
        [node, SCRIPT, f"{server.ws}/v1/realtime?model=voicerag", modules.parent],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    told: dict[str, Any] = {}
    for line in done.stdout.splitlines():
        one = json.loads(line)
        told[one["kind"]] = one["value"]
    assert done.returncode == 0, done.stderr
    assert "error" not in told
    assert told["answer"] == ANSWER
    assert told["bytes"] > 16_000
    assert told["heard"][1] == "where does the rhine rise"
    assert len(told["cut"].split()) == 3
