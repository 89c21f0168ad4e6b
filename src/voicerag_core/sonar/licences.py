"""The licence of each published checkpoint of SONAR.

Source: facebookresearch/SONAR v0.5.0, LICENSE.md.
"""

from __future__ import annotations

from voicerag_core.sonar.languages import SPEECH_FILES

__all__ = ["MIT", "NON_COMMERCIAL", "UNSTATED", "licence_of"]

MIT = "MIT"
NON_COMMERCIAL = "CC-BY-NC-4.0"
UNSTATED = "not stated by its authors"

_TEXT_FILES = ("sonar_text_encoder.pt", "sonar_text_decoder.pt", "finetuned_decoder.pt")


def licence_of(file: str) -> str:
    """Return the licence of a checkpoint, by the name of its file.

    The authors list the encoders of v3ap as MIT, those of v5ap, the text encoder and the decoders
    as CC-BY-NC-4.0, and do not list ``spenc.eng.pt``.
    """
    if file in _TEXT_FILES:
        return NON_COMMERCIAL
    if file in SPEECH_FILES.values():
        return {"v3ap": MIT, "v5ap": NON_COMMERCIAL}.get(file.split(".")[1], UNSTATED)
    return UNSTATED
