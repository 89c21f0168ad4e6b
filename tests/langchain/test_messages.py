"""Answers as messages: the merged stream equals the whole, byte for byte."""

from __future__ import annotations

import base64
import functools
import json
import operator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessageChunk, messages_from_dict, messages_to_dict

from voicerag_core import Answer, Audio, AudioError, Citation, Hit, Passage, to_wav_bytes
from voicerag_integrations.langchain import answer_message, message_audio
from voicerag_integrations.langchain.messages import MessageStream

HIT = Hit(Passage("p1", "The Rhine rises in the Alps.", {"title": "Rhine"}), 0.5, 1)


def sound(samples: int, rate: int = 22_050, seed: int = 0) -> Audio:
    noise = np.random.default_rng(seed).uniform(-1.2, 1.2, samples)
    return Audio(noise.astype(np.float32), rate)


def merged(pieces: list[Answer]) -> AIMessageChunk:
    stream = MessageStream("one")
    chunks = [chunk for piece in pieces if (chunk := stream.chunk(piece)) is not None]
    return functools.reduce(operator.add, [*chunks, stream.last()])


def audio_block(message: Any) -> dict[str, Any]:
    (block,) = [block for block in message.content_blocks if block["type"] == "audio"]
    return dict(block)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.one_of(st.text(max_size=9), st.integers(0, 400)), max_size=9))
def test_chunks_add_up_to_the_message(parts: list[str | int]) -> None:
    pieces = [Answer(hits=(HIT,), timings={"search": 0.1})]
    pieces += [
        Answer(part) if isinstance(part, str) else Answer(audio=sound(part, seed=part))
        for part in parts
    ]
    pieces.append(Answer(citations=(Citation("p1", 4, 9),), timings={"respond": 1.0}))
    whole = answer_message(sum(pieces, Answer()), message_id="one")
    total = merged(pieces)
    by_index = sorted(total.content, key=lambda block: block["index"])
    assert by_index == whole.content
    assert total.text == whole.text
    assert total.id == whole.id
    assert total.response_metadata == whole.response_metadata


def test_the_mime_type_is_told_once_and_chunks_are_whole_groups() -> None:
    stream = MessageStream("one")
    chunks = [stream.chunk(Answer(audio=sound(size))) for size in (100, 101, 7)]
    blocks = [audio_block(chunk) for chunk in [*chunks, stream.last()]]
    assert [block.get("mime_type") for block in blocks] == [
        "audio/pcm;rate=22050",
        None,
        None,
        None,
    ]
    assert all(len(base64.b64decode(block["base64"])) % 3 == 0 for block in blocks[:-1])
    assert not any(block["base64"].endswith("=") for block in blocks[:-1])


def test_the_sound_is_that_of_a_wav_file() -> None:
    clip = sound(1001)
    block = audio_block(answer_message(Answer("x", clip)))
    assert base64.b64decode(block["base64"]) == to_wav_bytes(clip)[-2002:]


def test_sound_comes_back_out_of_a_message() -> None:
    clip = sound(500)
    back = message_audio(answer_message(Answer("x", clip)))
    assert back is not None
    assert back.sample_rate == 22_050
    assert np.allclose(back.samples, np.clip(clip.samples, -1, 1), atol=1e-4)
    assert message_audio(answer_message(Answer("x"))) is None


def test_citations_and_sources_are_in_the_message() -> None:
    answer = Answer("In the Alps.", hits=(HIT,), citations=(Citation("p1", 4, 9),), answered=True)
    message = answer_message(answer)
    (text,) = message.content_blocks
    assert text["type"] == "text"
    assert text["annotations"][0]["cited_text"] == "Rhine"  # type: ignore[typeddict-item]
    assert message.response_metadata["sources"] == [
        {"passage_id": "p1", "title": "Rhine", "score": 0.5, "rank": 1}
    ]
    assert message.response_metadata["answered"] is True


def test_a_message_survives_the_way_over_the_wire() -> None:
    message = answer_message(Answer("x", sound(500), hits=(HIT,)))
    assert messages_from_dict(json.loads(json.dumps(messages_to_dict([message])))) == [message]


def test_a_voice_that_changes_its_rate_is_refused() -> None:
    stream = MessageStream("one")
    stream.chunk(Answer(audio=sound(10)))
    with pytest.raises(AudioError, match="22050 Hz to 16000 Hz"):
        stream.chunk(Answer(audio=sound(10, 16_000)))
