"""SONAR: text and speech in one vector space, so that a spoken question needs no transcript.

Everything here needs the extra ``sonar``; torch is imported on the first use of a name.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from voicerag_core.errors import MissingExtraError

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


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """Load a name on first use.

    Raises:
        MissingExtraError: torch is not installed.
    """
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value = getattr(import_module(_LAZY[name]), name)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingExtraError("sonar", name) from error
    globals()[name] = value
    return value
