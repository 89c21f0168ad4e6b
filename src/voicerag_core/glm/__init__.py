"""Everything that knows GLM-4-Voice: its weights, speech tokenizer, language model and decoder.

Importing this package loads neither torch nor transformers; the first use of a name does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from voicerag_core.lazy import Needs, lazy_names

if TYPE_CHECKING:
    from voicerag_core.glm.decoder import SpeechDecoder
    from voicerag_core.glm.lm.batched_lm import BatchedLM
    from voicerag_core.glm.lm.server.server_lm import ServerLM
    from voicerag_core.glm.lm.torch_lm import TorchLM
    from voicerag_core.glm.replicas import ReplicatedGLMVoice
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
    "BatchedLM": ".lm.batched_lm",
    "Checkpoint": ".weights.checkpoints",
    "DecoderConfig": ".weights.configs",
    "FlowConfig": ".weights.configs",
    "GLMVoice": ".voice",
    "HiFTConfig": ".weights.configs",
    "LMConfig": ".weights.configs",
    "TorchLM": ".lm.torch_lm",
    "Part": ".weights.checkpoints",
    "ReplicatedGLMVoice": ".replicas",
    "ServerLM": ".lm.server.server_lm",
    "SpeechDecoder": ".decoder",
    "SpeechTokenizer": ".speech_tokenizer.tokenizer",
    "SpeechTokenizerConfig": ".weights.configs",
    "convert_checkpoint": ".weights.conversion",
    "download_checkpoint": ".weights.hub",
    "load_decoder": ".weights.checkpoints",
    "load_lm": ".weights.checkpoints",
    "load_speech_tokenizer": ".weights.checkpoints",
    "open_checkpoint": ".weights.checkpoints",
}
_NEEDS = Needs(
    "glm",
    {"huggingface_hub", "safetensors", "tokenizers", "torch", "transformers", "yaml"},
    "GLM-4-Voice",
)

__all__ = [
    "BatchedLM",
    "Checkpoint",
    "DecoderConfig",
    "FlowConfig",
    "GLMVoice",
    "HiFTConfig",
    "LMConfig",
    "Part",
    "ReplicatedGLMVoice",
    "ServerLM",
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

__getattr__, __dir__ = lazy_names(__name__, _LAZY, _NEEDS)
