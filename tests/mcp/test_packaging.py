"""Versions, names and tables agree in every place where they are written down."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.mcp.conftest import Open
from voicerag_mcp.server import build_server
from voicerag_mcp.settings import ServerSettings

ROOT = Path(__file__).parents[2]
HERE = ROOT / "mcp_server"
README = (ROOT / "README.md").read_text()
PAGE = (ROOT / "docs/mcp.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_version_is_the_same_everywhere() -> None:
    version = PROJECT["version"]
    registry = json.loads((HERE / "server.json").read_text())
    (package,) = registry["packages"]
    bundle = tomllib.loads((HERE / "bundle" / "pyproject.toml").read_text())["project"]
    assert registry["version"] == package["version"] == version
    assert package["runtimeArguments"][0]["value"].endswith(f"=={version}")
    assert json.loads((HERE / "bundle" / "manifest.json").read_text())["version"] == version
    assert bundle["version"] == version
    assert bundle["dependencies"] == [f"voicerag-core[mcp,local,documents]=={version}"]


def test_the_registry_entry_can_be_published() -> None:
    registry = json.loads((HERE / "server.json").read_text())
    assert len(registry["description"]) <= 100
    assert f"mcp-name: {registry['name']}" in README, "the registry looks for it on PyPI"
    assert registry["packages"][0]["identifier"] == PROJECT["name"]
    known = {f"VOICERAG_MCP_{name.upper()}" for name in ServerSettings.model_fields}
    named = {one["name"] for one in registry["packages"][0]["environmentVariables"]}
    assert named <= known | {"VOICERAG_DATABASE_URL"}


def test_mcp_is_an_extra_and_never_needed_by_the_core() -> None:
    assert not [one for one in PROJECT["dependencies"] if one.startswith("mcp")]
    assert PROJECT["optional-dependencies"]["mcp"] == ["mcp>=2.3,<3"]
    assert PROJECT["scripts"]["voicerag-mcp"] == "voicerag_mcp.cli:main"


@pytest.mark.parametrize("name", ["build_server", "http_app", "open_service"])
def test_without_the_extra_its_name_is_said(name: str) -> None:
    program = f"import sys; sys.modules['mcp'] = None; from voicerag_mcp import {name}"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    *_, last = done.stderr.splitlines()
    assert last.startswith("voicerag_core.errors.MissingExtraError: the MCP server needs the extra")
    assert "pip install 'voicerag-core[mcp]'" in last


def test_the_page_links_to_the_variables_of_the_server() -> None:
    assert "(settings.md#mcp-server)" in PAGE
    listed = set(re.findall(r"`VOICERAG_MCP_(\w+)` \|", (ROOT / "docs/settings.md").read_text()))
    assert listed == {name.upper() for name in ServerSettings.model_fields}


async def test_the_page_lists_every_tool(opened: Open) -> None:
    tools = {tool.name for tool in await build_server(opened()).list_tools()}
    assert tools == set(re.findall(r"^\| `(voice_\w+)` \|", PAGE, re.MULTILINE))


def test_the_example_asks_and_hears(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "05_mcp_client.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "answer  The Rhine rises in the Swiss Alps." in done.stdout
    assert (tmp_path / "answer.wav").read_bytes()[:4] == b"RIFF"
