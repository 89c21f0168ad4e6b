"""Everything that knows GLM-4-Voice: its weights, speech tokenizer, language model and decoder.

Importing this package loads neither torch nor transformers; the first use of a name does.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from voicerag_core.errors import MissingExtraError

if TYPE_CHECKING:
    from voicerag_core.glm.decoder import SpeechDecoder
    from voicerag_core.glm.lm.torch_lm import TorchLM
    from voicerag_core.glm.speech_tokenizer.tokenizer import SpeechTokenizer
    from voicerag_core.glm.voice import GLMVoice
    from voicerag_core.glm.weights.checkpoints import (
        Checkpoint,
        Part,
        load_decoder,
        load_lm,
        load_speech_tokenizer,
        open_checkpoint,
    )
    from voicerag_core.glm.weights.configs import (
        DecoderConfig,
        FlowConfig,
        HiFTConfig,
        LMConfig,
        SpeechTokenizerConfig,
    )
    from voicerag_core.glm.weights.conversion import convert_checkpoint
    from voicerag_core.glm.weights.hub import download_checkpoint

_LAZY = {
    "Checkpoint": "weights.checkpoints",
    "DecoderConfig": "weights.configs",
    "FlowConfig": "weights.configs",
    "GLMVoice": "voice",
    "HiFTConfig": "weights.configs",
    "LMConfig": "weights.configs",
    "TorchLM": "lm.torch_lm",
    "Part": "weights.checkpoints",
    "SpeechDecoder": "decoder",
    "SpeechTokenizer": "speech_tokenizer.tokenizer",
    "SpeechTokenizerConfig": "weights.configs",
    "convert_checkpoint": "weights.conversion",
    "download_checkpoint": "weights.hub",
    "load_decoder": "weights.checkpoints",
    "load_lm": "weights.checkpoints",
    "load_speech_tokenizer": "weights.checkpoints",
    "open_checkpoint": "weights.checkpoints",
}
_LIBRARIES = {"huggingface_hub", "safetensors", "tokenizers", "torch", "transformers", "yaml"}

__all__ = [
    "Checkpoint",
    "DecoderConfig",
    "FlowConfig",
    "GLMVoice",
    "HiFTConfig",
    "LMConfig",
    "Part",
    "SpeechDecoder",
    "SpeechTokenizer",
    "SpeechTokenizerConfig",
    "TorchLM",
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
