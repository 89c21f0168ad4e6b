"""Fakes of every port, and contract suites to test your own implementations.

The fakes need no model, database or network. A suite is a class for pytest: subclass it under a
name that starts with ``Test`` and define the fixtures that its docstring lists.
"""

from voicerag_core.testing.models import (
    EmbedderContract,
    FakeEmbedder,
    FakeVoiceModel,
    VoiceModelContract,
)
from voicerag_core.testing.speech import (
    FakeSpeaker,
    FakeTranscriber,
    SpeakerContract,
    TranscriberContract,
)
from voicerag_core.testing.stores import (
    DocumentStoreContract,
    InMemoryStore,
    PassageStoreContract,
)
from voicerag_core.testing.turns import TurnDetectorContract

__all__ = [
    "DocumentStoreContract",
    "EmbedderContract",
    "FakeEmbedder",
    "FakeSpeaker",
    "FakeTranscriber",
    "FakeVoiceModel",
    "InMemoryStore",
    "PassageStoreContract",
    "SpeakerContract",
    "TranscriberContract",
    "TurnDetectorContract",
    "VoiceModelContract",
]
