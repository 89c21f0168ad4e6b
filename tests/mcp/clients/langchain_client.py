"""Call every tool through LangChain's own adapter; run in an environment of its own.

Prints what a model would read, by tool, as JSON. The argument is a URL, or the JSON of a command.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from fastmcp.client.transports import StdioTransport
from langchain.mcp import MCPAdapter


def shown(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(block.get("text", json.dumps(block)) for block in content)


async def main(target: Any, calls: dict[str, dict[str, Any]]) -> None:
    said = {}
    async with MCPAdapter(target) as adapter:
        tools = {tool.name: tool for tool in await adapter.list_tools()}
        for name, arguments in calls.items():
            call = {"type": "tool_call", "id": "1", "name": name, "args": arguments}
            message = await tools[name].ainvoke(call)
            assert message.status == "success", message
            said[name] = shown(message.content)
    sys.stdout.write(json.dumps({"tools": sorted(tools), "said": said}))


if __name__ == "__main__":
    where = json.loads(sys.argv[1])
    if isinstance(where, list):
        where = StdioTransport(where[0], where[1:], cwd=sys.argv[3])
    asyncio.run(main(where, json.loads(Path(sys.argv[2]).read_text())))
