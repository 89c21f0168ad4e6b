"""SONAR: text and speech in one vector space, so that a spoken question needs no transcript.

Everything here needs the extra ``sonar``; torch is imported on the first use of a name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from voicerag_core.lazy import Needs, lazy_names

if TYPE_CHECKING:
    from voicerag_core.sonar.embedder import SonarEmbedder
    from voicerag_core.sonar.fairseq2 import Fairseq2SonarEmbedder
    from voicerag_core.sonar.transcriber import SonarTranscriber

_LAZY = {
    "Fairseq2SonarEmbedder": "voicerag_core.sonar.fairseq2",
    "SonarEmbedder": "voicerag_core.sonar.embedder",
    "SonarTranscriber": "voicerag_core.sonar.transcriber",
}

__all__ = ["Fairseq2SonarEmbedder", "SonarEmbedder", "SonarTranscriber"]

__getattr__, __dir__ = lazy_names(__name__, _LAZY, Needs("sonar", {"torch"}))
