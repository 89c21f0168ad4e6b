"""GLM-4-Voice's decoder: speech tokens to sound, in plain torch."""

from __future__ import annotations

from voicerag_core.glm.decoder.decoder import SpeechDecoder
from voicerag_core.glm.decoder.demo import DemoStream
from voicerag_core.glm.decoder.stream import DecoderStream, Schedule

__all__ = ["DecoderStream", "DemoStream", "Schedule", "SpeechDecoder"]
