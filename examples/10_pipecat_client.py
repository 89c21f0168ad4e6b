"""A pipecat pipeline that asks a running `voicerag serve`: python 10_pipecat_client.py [URL].

It needs pipecat-ai[openai,websocket]. The question is typed here; with a transport of pipecat's in
the pipeline the microphone takes its place.
"""

from __future__ import annotations

import asyncio
import sys

from pipecat.frames.frames import (
    EndFrame,
    Frame,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    TTSAudioRawFrame,
    TTSTextFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.runner import PipelineRunner
from pipecat.pipeline.task import PipelineTask
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService

QUESTION = "Where does the Rhine rise?"


class Listener(FrameProcessor):  # type: ignore[misc, unused-ignore] # not in this environment
    """Notes what the service says, and ends the pipeline after its answer."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self.seconds = 0.0
        self.ended = asyncio.Event()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Take a frame."""
        await super().process_frame(frame, direction)
        if isinstance(frame, TTSTextFrame):
            self.words.append(frame.text)
        elif isinstance(frame, TTSAudioRawFrame):
            self.seconds += len(frame.audio) / 2 / frame.sample_rate
        elif isinstance(frame, LLMFullResponseEndFrame):
            self.ended.set()
        await self.push_frame(frame, direction)


async def main(url: str) -> None:
    service = OpenAIRealtimeLLMService(
        api_key="none",
        base_url=f"{url.replace('http', 'ws', 1)}/v1/realtime",
        settings=OpenAIRealtimeLLMService.Settings(model="voicerag"),
    )
    listener = Listener()
    task = PipelineTask(Pipeline([service, listener]))
    running = asyncio.create_task(PipelineRunner(handle_sigint=False).run(task))
    context = LLMContext([{"role": "user", "content": QUESTION}])
    await task.queue_frame(LLMContextFrame(context))
    await asyncio.wait_for(listener.ended.wait(), 60)
    await task.queue_frame(EndFrame())
    await running
    print("said    ", "".join(listener.words).strip())
    print(f"sound    {listener.seconds:.2f} s")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8090"))
