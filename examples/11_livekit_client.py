"""LiveKit's Realtime model asks a running `voicerag serve`: python 11_livekit_client.py [URL].

It needs livekit-plugins-openai. In an agent, hand the model to `AgentSession`; here it is used by
itself, without a room.
"""

from __future__ import annotations

import asyncio
import sys

import aiohttp
from livekit.agents.llm import ChatContext, GenerationCreatedEvent
from livekit.plugins.openai import realtime

QUESTION = "Where does the Rhine rise?"


async def heard(reply: GenerationCreatedEvent) -> tuple[str, float]:
    """Return the words and the seconds of a reply."""
    words, seconds = "", 0.0
    async for message in reply.message_stream:

        async def read(message: object = message) -> str:
            return "".join([str(piece) async for piece in message.text_stream])  # type: ignore[attr-defined, unused-ignore]

        reading = asyncio.create_task(read())
        async for frame in message.audio_stream:
            seconds += frame.duration
        words += await reading
    return words, seconds


async def main(url: str) -> None:
    async with aiohttp.ClientSession() as http:
        model = realtime.RealtimeModel(
            model="voicerag", base_url=f"{url}/v1", api_key="none", http_session=http
        )
        session = model.session()
        context = ChatContext.empty()
        context.add_message(role="user", content=QUESTION)
        await session.update_chat_ctx(context)
        words, seconds = await heard(await asyncio.wait_for(session.generate_reply(), 60))
        print("said    ", words.strip())
        print(f"sound    {seconds:.2f} s")
        await session.aclose()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8090"))
