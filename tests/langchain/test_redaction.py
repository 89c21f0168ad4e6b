"""What a tracer is shown of sound, wherever it hides."""

from __future__ import annotations

import numpy as np
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.prompt_values import ChatPromptValue

from voicerag_core import Answer, Audio
from voicerag_integrations.langchain import redacted

CLIP = Audio(np.full(1600, 0.5, np.float32), 16_000)
BLOCK = {"type": "audio", "base64": "QUJD" * 100, "mime_type": "audio/wav"}


def test_sound_becomes_a_description() -> None:
    assert redacted(b"RIFF") == redacted(bytearray(b"RIFF")) == "<audio: 4 bytes>"
    assert redacted(CLIP) == f"<{CLIP!r}>"
    assert redacted({"question": [CLIP]}) == {"question": [f"<{CLIP!r}>"]}
    assert redacted("data:audio/wav;base64,QUJD") == "<data: 26 characters>"


def test_an_answer_keeps_its_words() -> None:
    assert redacted(Answer("It does.", audio=CLIP)) == Answer("It does.")


def test_messages_lose_blocks_artifacts_and_extras() -> None:
    question = HumanMessage([{"type": "text", "text": "this:"}, BLOCK])
    tool = ToolMessage("It does.", tool_call_id="1", artifact=Answer("It does.", audio=CLIP))
    reply = AIMessage("It does.", additional_kwargs={"audio": {"data": b"RIFF", "id": "a"}})
    seen = redacted(ChatPromptValue(messages=[question, tool, reply]))
    assert seen[0].content == [
        {"type": "text", "text": "this:"},
        {**BLOCK, "base64": "<audio: 400 characters of base64>"},
    ]
    assert seen[1].artifact == Answer("It does.")
    assert seen[2].additional_kwargs == {"audio": {"data": "<audio: 4 bytes>", "id": "a"}}
    assert question.content[1] == BLOCK, "what was given is not changed"


def test_the_rest_is_given_back_as_it_is() -> None:
    for value in ("where is it", 3, None, {"base64": "of what"}):
        assert redacted(value) == value
