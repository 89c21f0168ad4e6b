"""Everything that knows GLM-4-Voice: its weights, speech tokenizer, language model and decoder.

Importing this package loads neither torch nor transformers; the first use of a name does.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from voicerag_core.errors import MissingExtraError

if TYPE_CHECKING:
    from voicerag_core.engine.checkpoints import (
        Checkpoint,
        Part,
        load_decoder,
        load_lm,
        load_speech_tokenizer,
        open_checkpoint,
    )
    from voicerag_core.engine.configs import (
        DecoderConfig,
        FlowConfig,
        HiFTConfig,
        LMConfig,
        SpeechTokenizerConfig,
    )
    from voicerag_core.engine.convert import convert_checkpoint
    from voicerag_core.engine.decoder import SpeechDecoder
    from voicerag_core.engine.hub import download_checkpoint
    from voicerag_core.engine.lm import LocalLM
    from voicerag_core.engine.speech_tokenizer import SpeechTokenizer
    from voicerag_core.engine.voice import GLMVoice

_LAZY = {
    "Checkpoint": "checkpoints",
    "DecoderConfig": "configs",
    "FlowConfig": "configs",
    "GLMVoice": "voice",
    "HiFTConfig": "configs",
    "LMConfig": "configs",
    "LocalLM": "lm",
    "Part": "checkpoints",
    "SpeechDecoder": "decoder",
    "SpeechTokenizer": "speech_tokenizer",
    "SpeechTokenizerConfig": "configs",
    "convert_checkpoint": "convert",
    "download_checkpoint": "hub",
    "load_decoder": "checkpoints",
    "load_lm": "checkpoints",
    "load_speech_tokenizer": "checkpoints",
    "open_checkpoint": "checkpoints",
}
_LIBRARIES = {"huggingface_hub", "safetensors", "tokenizers", "torch", "transformers", "yaml"}

__all__ = [
    "Checkpoint",
    "DecoderConfig",
    "FlowConfig",
    "GLMVoice",
    "HiFTConfig",
    "LMConfig",
    "LocalLM",
    "Part",
    "SpeechDecoder",
    "SpeechTokenizer",
    "SpeechTokenizerConfig",
    "convert_checkpoint",
    "download_checkpoint",
    "load_decoder",
    "load_lm",
    "load_speech_tokenizer",
    "open_checkpoint",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any of the names above
    """Load a part of the engine when it is first asked for."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = import_module(f"{__name__}.{_LAZY[name]}")
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.partition(".")[0] in _LIBRARIES:
            raise MissingExtraError("glm", "GLM-4-Voice") from error
        raise
    value = globals()[name] = getattr(module, name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
