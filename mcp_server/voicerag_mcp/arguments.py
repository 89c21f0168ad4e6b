"""The arguments of tools and prompts: what clients send is taken as meant, or refused by name.

Clients differ. Many send null or an empty string for what nobody filled in, some write a list or an
object as a string, and assistants call an argument by another tool's name for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final

from mcp import MCPError
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.tools import Tool
from mcp.server.mcpserver.utilities.func_metadata import FuncMetadata
from mcp_types import INVALID_PARAMS, GetPromptResult, InputRequiredResult
from pydantic import ValidationError
from typing_extensions import override

__all__ = ["CheckingServer", "checked", "exact"]

_MEANT: Final = {
    "text": "question query q prompt input message content body utterance sentence words search",
    "clip": "clip_id clip_uri audio_id recording",
    "audio_path": "file path filename file_path audio_file audio sound wav",
    "audio_base64": "base64 data audio_data bytes audio",
    "collection": "index kb knowledge_base namespace database collection_name dataset",
    "limit": "k top_k topk n count max_results num_results size similarity_top_k max_passages",
    "where": "filter filters metadata metadata_filter conditions",
    "strategy": "mode method search_type how retrieval",
    "audio": "output format voice speech speak audio_output",
    "source": "name doc_id document_id id filename url key",
    "paths": "path file files folder folders directory documents audio_path",
    "title": "heading subject name",
}
"""Names by which other tools call these arguments."""

_MOST_SHOWN: Final = 80


class ExactMetadata(FuncMetadata):
    """Validates arguments as they are: a text that looks like JSON is a text."""

    @override
    def pre_parse_json(self, data: dict[str, Any]) -> dict[str, Any]:
        return data


def exact(tool: Tool) -> Tool:
    """Return a tool that takes no other arguments than its own, and texts as they are."""
    old = tool.fn_metadata
    metadata = ExactMetadata(
        arg_model=old.arg_model,
        output_schema=old.output_schema,
        output_model=old.output_model,
        wrap_output=old.wrap_output,
    )
    schema = {**tool.parameters, "additionalProperties": False}
    return tool.model_copy(update={"fn_metadata": metadata, "parameters": schema})


class CheckingServer(MCPServer[None]):
    """A server whose own tools get checked arguments; tools that are added later are the SDK's.

    Of a prompt, names are checked: its own and those of its arguments.

    Args:
        tools: The tools.
        name: Name of the server.
        rest: Other arguments of the SDK's server.
    """

    def __init__(self, name: str, tools: list[Tool], rest: Mapping[str, Any]) -> None:
        own = [exact(tool) for tool in tools]
        super().__init__(name, tools=own, **rest)
        self._own = {tool.name: tool for tool in own}

    @override
    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None
    ) -> Any:
        if (tool := self._own.get(name)) is not None:
            arguments = checked(tool, arguments)
        return await super().call_tool(name, arguments, context)

    @override
    async def get_prompt(
        self,
        name: str,
        arguments: dict[str, Any] | None = None,
        context: Context[None, Any] | None = None,
    ) -> GetPromptResult | InputRequiredResult:
        known = {
            one.name: [given.name for given in one.arguments or ()]
            for one in await self.list_prompts()
        }
        if name not in known:
            raise MCPError(
                INVALID_PARAMS, f"there is no prompt {_shown(name)}; there are: {', '.join(known)}"
            )
        unknown = [_unknown(one, known[name]) for one in arguments or () if one not in known[name]]
        if unknown:
            takes = f"{name} takes {', '.join(known[name]) or 'no arguments'}"
            raise MCPError(INVALID_PARAMS, f"{'; '.join(unknown)}; {takes}")
        return await super().get_prompt(name, arguments, context)


def checked(tool: Tool, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that were given, without those that are null or empty.

    Raises:
        ToolError: An argument is unknown or its value cannot be used; every one is named.
    """
    fields = tool.fn_metadata.arg_model.model_fields
    problems = [_unknown(name, list(fields)) for name in given if name not in fields]
    if problems:
        takes = f"it takes {', '.join(fields)}" if fields else "it takes no arguments"
        raise ToolError(f"Error executing tool {tool.name}: {'; '.join(problems)}; {takes}")
    kept = {
        name: _unquoted(value, tool.parameters["properties"][name])
        for name, value in given.items()
        if not _is_empty(name, value)
    }
    try:
        tool.fn_metadata.arg_model.model_validate(kept)
    except ValidationError as error:
        said = "; ".join(_problems(error, kept))
        raise ToolError(f"Error executing tool {tool.name}: {said}") from None
    return kept


def _is_empty(name: str, value: object) -> bool:
    """Return whether a value stands for an argument that nobody filled in.

    A text of blanks was filled in: the question is refused as empty.
    """
    if isinstance(value, str):
        return not value if name == "text" else not value.strip()
    return value is None or value in ([], {})


def _unquoted(value: object, schema: Mapping[str, Any]) -> object:
    """Read a list or an object that was written as a string, where no string is expected."""
    kinds = {one.get("type") for one in schema.get("anyOf", (schema,))}
    if not isinstance(value, str) or kinds.isdisjoint(("array", "object")):
        return value
    try:
        read = json.loads(value)
    except (ValueError, RecursionError):
        read = None
    if isinstance(read, list | dict):
        return read
    return [value] if "array" in kinds else value


def _unknown(name: str, known: list[str]) -> str:
    said = f"there is no argument {_shown(name)}"
    plain = name.lower().replace("-", "_")
    meant = [
        ours for ours in known if plain == ours or plain in _MEANT.get(ours, "").split()
    ] or get_close_matches(plain, known, 1, 0.6)
    return f"{said} (did you mean {meant[0]!r}?)" if meant else said


def _problems(error: ValidationError, given: Mapping[str, Any]) -> list[str]:
    """Say once for each argument what is wrong with it."""
    said: dict[str, str] = {}
    for one in error.errors(include_url=False, include_context=False):
        name = str(one["loc"][0]) if one["loc"] else "the arguments"
        if one["type"] == "missing":
            said.setdefault(name, f"{name} is missing: give it")
        elif name == "where":
            said.setdefault(
                name,
                "where takes an object of metadata keys, each with a text, a number, true, false "
                f"or a list of those; given: {_shown(given.get(name))}",
            )
        else:
            reason = one["msg"].removeprefix("Value error, ")
            said.setdefault(name, f"{name}: {reason}; given: {_shown(given.get(name))}")
    return list(said.values())


def _shown(value: object) -> str:
    try:
        text = json.dumps(value, ensure_ascii=True)
    except (TypeError, ValueError):
        text = ascii(value)
    return text if len(text) <= _MOST_SHOWN else text[:_MOST_SHOWN] + "…"
