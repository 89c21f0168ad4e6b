"""Run the decoder of the upstream GLM-4-Voice demo from its sources, for comparison.

Needs a folder with ``flow_inference.py`` and ``cosyvoice/`` of THUDM/GLM-4-Voice, and
``third_party/Matcha-TTS/matcha`` of shivammehta25/Matcha-TTS; torch, numpy, scipy, einops,
transformers, and diffusers 0.35.2, the last version compatible with Matcha's imports. What the
sources import but the decoder does not use (training, audio files, YAML constructors) is replaced
by empty modules, so that nothing else needs to be installed.
"""

from __future__ import annotations

import importlib
import logging
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch
import yaml
from numpy.typing import NDArray

__all__ = ["BLOCK_TOKENS", "stream_upstream", "upstream_decoder"]

BLOCK_TOKENS = (25, 50, 100, 150, 200)
"""Source: web_demo.py of THUDM/GLM-4-Voice @ eb00ce9, `block_size_list`."""


def upstream_decoder(sources: Path, weights: Path, device: str) -> Any:  # noqa: ANN401
    """Create upstream's `AudioDecoder` as its demo does.

    Args:
        sources: Folder described in the module docstring.
        weights: Folder of config.yaml, flow.pt and hift.pt.
        device: Where it runs.
    """
    sys.path[:0] = [str(sources), str(sources / "third_party" / "Matcha-TTS")]
    _stand_in("hyperpyyaml", load_hyperpyyaml=_built)
    _stand_in("omegaconf", DictConfig=_Attributes)
    _stand_in("conformer", ConformerBlock=torch.nn.Module)
    _stand_in("matcha.utils", __path__=[])
    _stand_in("matcha.utils.pylogger", get_pylogger=logging.getLogger)
    audio = "torchaudio" not in sys.modules
    if audio:
        _stand_in("torchaudio")
    module: Any = importlib.import_module("flow_inference")
    if audio:
        del sys.modules["torchaudio"]
    if device == "cpu":  # it writes to a read-only array, unless that came from a GPU
        fade = module.fade_in_out
        module.fade_in_out = lambda new, old, window: fade(new.clone(), old.clone(), window)
    parts = [str(weights / name) for name in ("config.yaml", "flow.pt", "hift.pt")]
    return module.AudioDecoder(*parts, device=device)


def stream_upstream(
    decoder: Any,  # noqa: ANN401
    tokens: list[int],
    blocks: tuple[int, ...] = BLOCK_TOKENS,
) -> Iterator[NDArray[np.float32]]:
    """Decode a reply as web_demo.py does; return its chunks on the host.

    Args:
        decoder: Of `upstream_decoder`.
        tokens: All speech tokens.
        blocks: Tokens of the first, second, ... block; the last number repeats.
    """
    device = decoder.device
    past = torch.zeros(1, 0, dtype=torch.int64, device=device)
    mel = torch.zeros(1, 0, 80, device=device)
    mels: list[torch.Tensor] = []
    start = index = 0
    while start < len(tokens):
        size = blocks[min(index, len(blocks) - 1)]
        block = torch.tensor(tokens[start : start + size], device=device)[None]
        start, index = start + size, index + 1
        if mels:
            mel = torch.cat(mels, dim=-1).transpose(1, 2)
        sound, made = decoder.token2wav(
            block, uuid="reply", prompt_token=past, prompt_feat=mel, finalize=start >= len(tokens)
        )
        mels.append(made)
        past = torch.cat((past, block), dim=-1)
        yield sound.clone().cpu().numpy()[0]


def _stand_in(name: str, **values: object) -> None:
    module = types.ModuleType(name)
    vars(module).update(values)
    sys.modules[name] = module


class _Attributes(dict[str, Any]):
    """A mapping whose values are attributes."""

    def __init__(self, content: dict[str, Any]) -> None:
        super().__init__(content)
        self.__dict__ = self


class _Loader(yaml.SafeLoader):
    """Builds the classes that config.yaml names, all but the unused language model."""


def _built(stream: TextIO) -> Any:  # noqa: ANN401
    text = stream.read()
    head, _, rest = text.partition("\nllm:")
    return yaml.load(head + "\n" + rest[rest.index("\nflow:") :], Loader=_Loader)


def _new(loader: _Loader, name: str, node: yaml.MappingNode) -> object:
    module, _, kind = name.rpartition(".")
    values = {str(key): one for key, one in loader.construct_mapping(node, deep=True).items()}
    if name == "omegaconf.DictConfig":
        return _Attributes(values["content"])
    return getattr(importlib.import_module(module), kind)(**values)


def _reference(loader: _Loader, node: yaml.ScalarNode) -> int:
    return {"<sample_rate>": 22050, "<spk_embed_dim>": 192}[node.value]


_Loader.add_multi_constructor("!new:", _new)
_Loader.add_multi_constructor("!apply:", lambda loader, name, node: None)
_Loader.add_constructor("!ref", _reference)
