"""What the README and the pages of the documentation say is run, or compared with the code."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner

import voicerag_core
from scripts import settings_page
from tests.pages import PAGES, ROOT, anchors, commands, links, name_of, snippets, table
from voicerag_core import ingest, ports, serving, stack, testing
from voicerag_core.cli.app import app
from voicerag_core.settings import Settings
from voicerag_mcp.settings import ServerSettings
from voicerag_web.settings import WebSettings

README = ROOT / "README.md"
DOCS = ROOT / "docs"
WIDE = {"COLUMNS": "200", "TERM": "dumb"}
RUN_HERE = (
    "docs/documents.md",
    "docs/postgres.md",
    "README.md",
    "docs/ask.md",
    "docs/conversations.md",
)
RUN_ELSEWHERE = {
    "docs/components.md": "tests/test_docs.py",
    "docs/glm.md": "tests/glm/test_guide.py",
    "docs/langchain.md": "tests/langchain/test_guide.py",
    "docs/llamaindex.md": "tests/llamaindex/test_docs.py",
    "docs/sonar.md": "tests/sonar/test_guide.py",
    "docs/tables.md": "tests/store/test_tables_guide.py",
}


def test_the_readme_is_read_in_two_minutes() -> None:
    text = README.read_text()
    lines = text.splitlines()
    assert len(lines) <= 150
    assert len(text.split()) < 1200
    assert "make demo" in lines[: lines.index("```", lines.index("```sh")) + 1]
    assert lines.index("make demo") < 15
    assert [words[1] for words in commands(README) if words[0] == "make"] == ["demo", "test"]


def test_the_settings_page_is_that_of_the_code() -> None:
    page = settings_page.PAGE.read_text()
    assert page == settings_page.page(), "run: python scripts/settings_page.py"
    rows = re.findall(r"^\| `VOICERAG_(\w+)` \|.*\| (\S.*) \|$", page, re.MULTILINE)
    described = {
        **{name.upper(): field for name, field in Settings.model_fields.items()},
        **{f"MCP_{name.upper()}": field for name, field in ServerSettings.model_fields.items()},
        **{f"SERVE_{name.upper()}": field for name, field in WebSettings.model_fields.items()},
    }
    assert len(rows) == len(described)
    for name, cell in rows:
        assert cell.startswith(described[name].description or "nothing describes it"), name


def test_the_pages_list_every_extra_for_users() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = set(project["optional-dependencies"]) - {"dev", "docs"}
    assert {cell.strip("`") for cell, *_ in table(DOCS / "install.md", "extra")} == extras
    (sentence,) = re.findall(r"^\[All extras\].*?\.$", README.read_text(), re.MULTILINE | re.DOTALL)
    assert set(re.findall(r"`(\w+)`", sentence)) == extras


@pytest.mark.parametrize("page", [README, DOCS / "strategies.md"], ids=name_of)
def test_every_strategy_is_explained(page: Path) -> None:
    assert {cell.strip("`") for cell, *_ in table(page, "strategy")} == set(
        voicerag_core.STRATEGIES
    )


def test_the_architecture_names_every_room() -> None:
    package = Path(voicerag_core.__file__).parent
    rooms = {
        path.stem
        for path in package.iterdir()
        if (path.suffix == ".py" or (path / "__init__.py").is_file()) and path.stem != "__init__"
    }
    floors = " ".join(cell for cell, *_ in table(DOCS / "architecture.md", "floor"))
    assert rooms <= set(re.findall(r"`(\w+)`", floors))


def test_the_page_on_glm_lists_its_settings() -> None:
    listed = {row[0].strip("`") for row in table(DOCS / "glm.md", "variable")}
    names = [name for name in Settings.model_fields if name.startswith("glm_")]
    assert listed == {f"VOICERAG_{name.upper()}" for name in names}


def test_every_protocol_and_contract_suite_is_listed() -> None:
    rows = table(DOCS / "components.md", "protocol")
    assert {row[0].strip("`") for row in rows} == set(ports.__all__)
    listed = set(re.findall(r"`(\w+)`", " ".join(cell for row in rows for cell in row[2:])))
    assert listed == set(testing.__all__)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_into_the_repository_leads_somewhere(page: Path) -> None:
    for path, anchor in links(page):
        assert path.exists(), f"{path} does not exist"
        if anchor:
            assert anchor in anchors(path), f"{path.name} has no heading #{anchor}"


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    site = (ROOT / "zensical.toml").read_text()
    for page in DOCS.rglob("*.md"):
        assert f'= "{page.relative_to(DOCS)}"' in site


def test_the_reference_holds_every_public_name() -> None:
    pages = "\n".join(page.read_text() for page in (DOCS / "api").glob("*.md"))
    shown: set[str] = set()
    for module, name in re.findall(r"^::: (?:(\w+(?:\.[a-z_]+)*)\.)?(\w+)$", pages, re.MULTILINE):
        shown.add(name)
        with contextlib.suppress(ImportError):  # a name in a module, not a module
            shown.update(import_module(f"{module}.{name}" if module else name).__all__)
    assert set(voicerag_core.__all__) <= shown
    assert {*ingest.__all__, *serving.__all__, *stack.__all__} <= shown


@cache
def usage(*command: str) -> str:
    """Return the help of a command, or fail."""
    if command[0] == "voicerag":
        told = CliRunner().invoke(app, [*command[1:], "--help"], env=WIDE, prog_name="voicerag")
        assert told.exit_code == 0, told.output
        return told.stdout
    done = subprocess.run(
        [sys.executable, "-m", *command, "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **WIDE},
    )
    return done.stdout


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_of_a_page_exists(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    extras = set(
        tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    )
    for target in re.findall(r"(?:^|`)make ([a-z][\w-]*)", page.read_text(), re.MULTILINE):
        assert f"\n{target}:" in makefile, target
    for words in commands(page):
        if words[0] == "voicerag":
            group = words[1:3] if words[1] in {"db", "download", "eval", "table"} else words[1:2]
            offered = usage("voicerag", *group)
        elif words[0] == "voicerag-mcp":
            offered = usage("voicerag_mcp", *(["token"] if "token" in words else []))
        elif "pip" in words[0] or "pip" in words[1:3]:
            named = re.findall(r"\[([\w,]+)\]", " ".join(words))
            assert {extra for group in named for extra in group.split(",")} <= extras
        if words[0] in {"voicerag", "voicerag-mcp"}:
            for option in words[2:]:
                if option.startswith("--"):
                    assert re.search(rf"(^|[\s,/]){option}\b", offered, re.MULTILINE), words


def test_the_readme_shows_the_commands_that_matter() -> None:
    shown = {words[1] for words in commands(README) if words[0] == "voicerag"}
    assert shown >= {"index", "ask", "doctor"}
    assert ["voicerag", "db", "migrate"] in commands(DOCS / "postgres.md")


def test_every_page_with_python_is_run_by_a_test() -> None:
    with_python = {name_of(page) for page in PAGES if snippets(page, "python")}
    assert with_python == {*RUN_HERE, *RUN_ELSEWHERE}
    for page, test in RUN_ELSEWHERE.items():
        assert Path(page).name in (ROOT / test).read_text()


def test_the_python_of_the_pages_runs(tmp_path: Path) -> None:
    program = [
        "from pathlib import Path",
        "from voicerag_core.store import EmbeddedPostgres, migrate",
        "text = 'The committee scrutinises private bills. The committee sits in Edinburgh.'",
        "Path('notes').mkdir(); Path('notes/canteen.txt').write_text('The canteen closes at two.')",
        "def my_llm(messages): yield 'The committee does [1].'",
        f"server = EmbeddedPostgres(Path({str(tmp_path / 'data' / 'postgres')!r})).__enter__()",
        "migrate(server.dsn)",
        "dsn = server.dsn",
    ]
    pages = [snippet for name in RUN_HERE for snippet in snippets(ROOT / name, "python")]
    speak = [sys.executable, "-m", "voicerag_core.cli", "speak", "Where does the committee sit?"]
    subprocess.run([*speak, "--out", "question.wav"], cwd=tmp_path, check=True, capture_output=True)
    done = subprocess.run(
        [sys.executable, "-c", "\n".join([*program, *pages, "server.__exit__(None, None, None)"])],
        cwd=tmp_path,
        env={**os.environ, "VOICERAG_DATA_DIR": str(tmp_path / "data")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert sum("The committee sits in Edinburgh." in line for line in said) >= 3, done.stdout
    assert "Where does the committee sit?" in said, "the transcript"
    assert "Handbook" in said
    assert any(line.startswith("The committee does") for line in said), "the chat model"
    assert "FileReport(new=1" in done.stdout
    assert "1" in said, "one hit has the metadata"
    assert "0" in said, "the new collection is empty"
    assert (tmp_path / "answer.wav").stat().st_size > 10_000


def test_the_python_of_the_page_on_components_runs(tmp_path: Path) -> None:
    pipeline, suite = snippets(DOCS / "components.md", "python")
    (tmp_path / "test_mine.py").write_text(suite)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran, tested = (
        subprocess.run(
            [sys.executable, *words],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        for words in (["-c", pipeline], ["-m", "pytest", "-q", "-p", "no:cacheprovider", "."])
    )
    assert ran.stdout == "The Rhine rises in the Swiss Alps.\n", ran.stderr
    assert re.search(r"^[1-9]\d passed", tested.stdout, re.MULTILINE), tested.stdout


@pytest.mark.skipif(find_spec("zensical") is None, reason="the extra docs is not installed")
def test_the_site_builds_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    for name in ("docs", "src", "mcp_server", "web_server"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("*.onnx"))
    shutil.copy(ROOT / "zensical.toml", tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert set(done.stderr.splitlines()) <= {"No issues found"}
    site = tmp_path / "site"
    assert (site / "search.json").stat().st_size > 50_000
    for page in DOCS.rglob("*.md"):
        html = (site / page.relative_to(DOCS).with_suffix(".html")).read_text()
        loaded = re.findall(r"<(?:script|img|link|iframe)\b[^>]*?(?:src|href)=\"(http[^\"]+)", html)
        assert not loaded, page
        assert 'data-md-component="source"' not in html, "it asks GitHub for stars"
    reference = (site / "api/core.html").read_text()
    for name in ("open_voicerag", "VoiceRAG.retrieve", "read_audio"):
        assert f'id="voicerag_core.{name}"' in reference
