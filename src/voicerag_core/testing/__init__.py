"""Fakes of every port, and contract suites that a part of your own can be held against.

The fakes work without model, database or network. A suite is a class for pytest: derive from it
under a name that starts with ``Test`` and return the fixtures that its docstring names.
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
    "VoiceModelContract",
]
