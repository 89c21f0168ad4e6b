"""Several GLM-4-Voices behind one, each in a process of its own."""

from __future__ import annotations

from voicerag_core.glm.replicas.process import Loader
from voicerag_core.glm.replicas.voice import ReplicatedGLMVoice

__all__ = ["Loader", "ReplicatedGLMVoice"]
