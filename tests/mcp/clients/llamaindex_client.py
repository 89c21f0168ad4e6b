"""Call every tool through LlamaIndex's McpToolSpec; run in an environment of its own.

Prints what a model would read, by tool, as JSON. The argument is a URL, or the JSON of a command.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from llama_index.tools.mcp import BasicMCPClient, McpToolSpec


async def main(client: BasicMCPClient, calls: dict[str, dict[str, Any]]) -> None:
    tools = {tool.metadata.name: tool for tool in await McpToolSpec(client).to_tool_list_async()}
    said = {}
    for name, arguments in calls.items():
        output = await tools[name].acall(**arguments)
        assert not output.is_error, output
        said[name] = str(output.content)
    sys.stdout.write(json.dumps({"tools": sorted(map(str, tools)), "said": said}))


if __name__ == "__main__":
    where = json.loads(sys.argv[1])
    os.chdir(sys.argv[3])
    chosen = (
        BasicMCPClient(where[0], args=where[1:])
        if isinstance(where, list)
        else BasicMCPClient(where)
    )
    asyncio.run(main(chosen, json.loads(Path(sys.argv[2]).read_text())))
