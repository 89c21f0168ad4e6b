"""GLM-4-Voice's decoder: speech tokens to sound, in plain torch."""

from __future__ import annotations

from voicerag_core.glm.decoder.decoder import SpeechDecoder
from voicerag_core.glm.decoder.networks import DecoderNetworks
from voicerag_core.glm.decoder.schedule import Schedule
from voicerag_core.glm.decoder.stream import DecoderStream

__all__ = ["DecoderNetworks", "DecoderStream", "Schedule", "SpeechDecoder"]
