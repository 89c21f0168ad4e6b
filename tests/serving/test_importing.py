"""The application knows neither MCP nor a web framework, and importing it opens nothing."""

from __future__ import annotations

import json
import subprocess
import sys

FOREIGN = {
    "anyio", "fastapi", "httpx", "httpx2", "jwt", "mcp", "mcp_types", "onnxruntime", "psycopg",
    "sse_starlette", "starlette", "torch", "uvicorn",
}  # fmt: skip


def test_importing_it_loads_no_server() -> None:
    program = (
        "import pkgutil, sys, json, voicerag_core.serving as s\n"
        "for one in pkgutil.iter_modules(s.__path__): __import__(f'{s.__name__}.{one.name}')\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    output = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    loaded = {name.partition(".")[0] for name in json.loads(output)}
    assert "voicerag_core.serving.asking" in json.loads(output)
    assert loaded & FOREIGN == set()
