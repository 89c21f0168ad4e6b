"""Write docs/settings.md from the settings in the code: python scripts/settings_page.py."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, Literal, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from voicerag_core.settings import Settings
from voicerag_mcp.settings import ServerSettings
from voicerag_web.settings import WebSettings

PAGE: Final = Path(__file__).parents[1] / "docs" / "settings.md"

HEAD: Final = """\
# Settings

<!-- Written by `python scripts/settings_page.py`; change the descriptions in the code. -->

Each setting is an environment variable and an argument of `load_settings(...)`: `VOICERAG_LIMIT` is
`load_settings(limit=...)`. The most common ones are options of the command line, too: every command
takes `--database-url`, `--data-dir`, `--collection`, `--tenant`, `--embedder` and `--stack`.
Arguments and options win over variables; an empty variable counts as not set.
"""

MCP_HEAD: Final = """\
## MCP server

These configure `voicerag-mcp`, in addition to the settings above; see [MCP](mcp.md).
"""

WEB_HEAD: Final = """\
## Web server

These configure `voicerag serve`, in addition to the settings above; see [serve](serve.md).
"""

SECTIONS: Final = {
    "Chat model": ("chat_", "Used with `VOICERAG_CHAT=http`; see [models](models.md)."),
    "Embedding model": (
        "embedder_",
        "Used when `VOICERAG_EMBEDDER` is `http`, a folder or a hub name; see [models](models.md).",
    ),
    "Speech recognition": (
        "transcriber_",
        "Used when `VOICERAG_TRANSCRIBER` is `http` or a hub name; see [models](models.md).",
    ),
    "Reranker": (
        "reranker_",
        "Used when `VOICERAG_RERANKER` is not `none`; see [models](models.md).",
    ),
    "Voice": ("voice_", "Used with `VOICERAG_VOICE=http`; see [models](models.md)."),
    "SONAR": ("sonar_", "Used with `VOICERAG_EMBEDDER=sonar`; see [SONAR](sonar.md)."),
    "GLM-4-Voice": ("glm_", "Used with `VOICERAG_STACK=glm`; see [GLM-4-Voice](glm.md)."),
}
"""Title of a section: the prefix of its fields, and a sentence."""


def page() -> str:
    """Return the whole page."""
    prefixes = tuple(prefix for prefix, _ in SECTIONS.values())
    names = list(Settings.model_fields)
    general = [name for name in names if not name.startswith(prefixes)]
    parts = [HEAD, "## General\n", table(Settings, general)]
    for title, (prefix, sentence) in SECTIONS.items():
        chosen = [name for name in names if name.startswith(prefix)]
        parts += [f"## {title}\n", f"{sentence}\n", table(Settings, chosen)]
    parts += [MCP_HEAD, table(ServerSettings, ServerSettings.model_fields)]
    parts += [WEB_HEAD, table(WebSettings, WebSettings.model_fields)]
    return "\n".join(parts)


def table(settings: type[BaseSettings], names: Iterable[str]) -> str:
    """Return the table of the named fields."""
    prefix = settings.model_config.get("env_prefix", "")
    rows = ["| variable | default | what it sets |", "|---|---|---|"]
    for name in names:
        field = settings.model_fields[name]
        rows.append(f"| `{prefix}{name.upper()}` | {default(name, field)} | {what(field)} |")
    return "\n".join(rows) + "\n"


def default(name: str, field: FieldInfo) -> str:
    """Return the default of a field for its cell; empty where there is none."""
    if name == "data_dir":  # depends on the platform and the user
        return "your data folder"
    value = field.get_default()
    return "" if value in (None, ()) else f"`{value}`"


def what(field: FieldInfo) -> str:
    """Return the description, and the choices unless it names them all."""
    text, values = field.description or "", list(choices(field.annotation))
    if all(re.search(rf"\b{value}\b", text) for value in values):
        return text
    return f"{text} One of {', '.join(f'`{value}`' for value in values)}."


def choices(annotation: object) -> Iterator[str]:
    """Yield the values of the literal types in an annotation."""
    arguments: Iterable[object] = get_args(annotation)
    for one in arguments:
        if get_origin(annotation) is Literal:
            yield str(one)
        else:
            yield from choices(one)


if __name__ == "__main__":
    PAGE.write_text(page())
