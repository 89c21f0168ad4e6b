"""Ask a running `voicerag serve` with OpenAI's client: python 07_openai_client.py [URL] [CLIP].

Over REST the question is typed or the given clip; over Realtime it is typed, and the spoken answer
is written to answer.wav.
"""

from __future__ import annotations

import asyncio
import base64
import sys
import wave
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI, OpenAI

QUESTION = "Where does the Rhine rise?"
RATE = 24_000


def over_rest(url: str, clip: Path | None) -> None:
    with OpenAI(base_url=f"{url}/v1", api_key="none") as client:
        content: Any = QUESTION
        if clip is not None:
            data = base64.b64encode(clip.read_bytes()).decode()
            content = [{"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}]
        answer = client.chat.completions.create(
            model="voicerag", messages=[{"role": "user", "content": content}]
        )
        message = answer.choices[0].message
        print("answer  ", message.content)
        for annotation in message.annotations or []:
            print("source  ", annotation.url_citation.title)
        found = client.get("/search", cast_to=object, options={"params": {"q": QUESTION}})
        print("passages", len(found["passages"]))  # type: ignore[index]


async def over_realtime(url: str) -> None:
    client = AsyncOpenAI(base_url=f"{url}/v1", api_key="none")
    item: Any = {
        "type": "message",
        "role": "user",
        "content": [{"type": "input_text", "text": QUESTION}],
    }
    sound = b""
    async with client.realtime.connect(model="voicerag") as connection:
        await connection.conversation.item.create(item=item)
        await connection.response.create()
        async for event in connection:
            if event.type == "response.output_audio_transcript.delta":
                print("said    ", event.delta)
            elif event.type == "response.output_audio.delta":
                sound += base64.b64decode(event.delta)
            elif event.type == "error":
                print("error   ", event.error.message)
            elif event.type == "response.done":
                break
    await client.close()
    with wave.open("answer.wav", "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(sound)
    print(f"sound    {len(sound) / 2 / RATE:.2f} s in answer.wav")


if __name__ == "__main__":
    given = sys.argv[1:]
    server = given[0] if given else "http://localhost:8090"
    over_rest(server, Path(given[1]) if len(given) > 1 else None)
    asyncio.run(over_realtime(server))
