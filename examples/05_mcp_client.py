"""Start the MCP server, give it a document, and ask it: python 05_mcp_client.py [QUESTION.wav]."""

from __future__ import annotations

import asyncio
import base64
import sys
import tempfile
from pathlib import Path

from mcp import Client, StdioServerParameters
from mcp_types import BlobResourceContents, CallToolResult, ResourceLink

TEXT = "The Rhine rises in the Swiss Alps. It flows into the North Sea near Rotterdam."


def words(result: CallToolResult) -> str:
    return "\n".join(part.text for part in result.content if part.type == "text")


async def show_progress(progress: float, total: float | None, message: str | None) -> None:
    print(f"        … {message}")


async def main(recording: str | None, data_dir: str) -> None:
    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "voicerag_mcp"],
        env={"VOICERAG_DATA_DIR": data_dir},
    )
    async with Client(server) as client:
        tools = (await client.list_tools()).tools
        print("tools  ", ", ".join(tool.name for tool in tools))
        document = {"text": TEXT, "source": "rhine.txt", "title": "The Rhine"}
        print("ingest ", words(await client.call_tool("voice_ingest", document)))
        question = (
            {"text": "Where does the Rhine rise?"}
            if recording is None
            else {"audio_base64": base64.b64encode(Path(recording).read_bytes()).decode()}
        )
        answer = await client.call_tool("voice_ask", question, progress_callback=show_progress)
        print("answer ", words(answer))
        for link in answer.content:
            if isinstance(link, ResourceLink):
                (clip,) = (await client.read_resource(link.uri)).contents
                assert isinstance(clip, BlobResourceContents)
                Path("answer.wav").write_bytes(base64.b64decode(clip.blob))
                print("speech  answer.wav")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else None, folder))
