"""Folders of text models in the form of sentence-transformers: configuration, tokenizer, network.

Source: sentence-transformers 5, the files that ``SentenceTransformer.save`` and
``CrossEncoder.save`` write: modules.json, 1_Pooling/config.json, sentence_bert_config.json,
config_sentence_transformers.json.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from voicerag_core.errors import CheckpointError, MissingExtraError, ModelError
from voicerag_core.files import read_json
from voicerag_core.local.onnx_session import open_session

if TYPE_CHECKING:
    import onnxruntime
    import tokenizers

__all__ = ["LoadedModel", "ModelFolder", "Tokens"]

NETWORKS = (
    "onnx/model.onnx",
    "model.onnx",
    "onnx/model_quantized.onnx",
    "onnx/model_int8.onnx",
    "onnx/model_fp16.onnx",
    "model_quantized.onnx",
)
"""Where exporters put the network, in order of preference."""
MOST_TOKENS = 512
"""Where no file says how long a text may be; also the most that is used."""
FINGERPRINT_BLOCKS = 16
FINGERPRINT_BYTES = 1 << 16
KNOWN_INPUTS = {"input_ids", "attention_mask", "token_type_ids", "position_ids"}


@dataclass(frozen=True, slots=True)
class Tokens:
    """A tokenized text, or a pair.

    Args:
        ids: Token ids, special ones included.
        types: 0 for the first text, 1 for the second.
    """

    ids: list[int]
    types: list[int]


class ModelFolder:
    """A folder with a model; nothing is read before it is asked for.

    Args:
        folder: The folder.
        what: What the model is, for messages: "the embedding model".
        setting: The variable that names the folder, for messages.

    Raises:
        CheckpointError: The folder holds no such model.
    """

    def __init__(self, folder: Path, what: str, setting: str) -> None:
        self.folder = folder
        self.what = what
        self.setting = setting
        self.network = self._network()
        if not os.path.isfile(folder / "tokenizer.json"):
            raise CheckpointError(
                f"{folder} has no tokenizer.json, which {what} ({setting}) needs; save it there "
                "with the tokenizers or transformers library"
            )

    def values(self, name: str) -> Mapping[str, Any]:
        """Read a JSON file of the folder that holds an object; {} if there is none.

        Raises:
            CheckpointError: It holds something else.
        """
        found = self._json(name)
        if not isinstance(found, dict | None):
            raise CheckpointError(f"{self.folder / name} holds no JSON object")
        return found or {}

    def entries(self, name: str) -> Sequence[Mapping[str, Any]]:
        """Read a JSON file of the folder that holds a list of objects; () if there is none.

        Raises:
            CheckpointError: It holds something else.
        """
        found = self._json(name) or []
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise CheckpointError(f"{self.folder / name} holds no list of JSON objects")
        return found

    def _json(self, name: str) -> Any:  # noqa: ANN401 - JSON
        path = self.folder / name
        if not os.path.isfile(path):
            return None
        try:
            return read_json(path)
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{path} cannot be read: {error}") from error

    def most_tokens(self) -> int:
        """Return the most tokens of a text: as configured, or as the network was trained."""
        bert = self.values("sentence_bert_config.json")
        tokenizer = self.values("tokenizer_config.json")
        config = self.values("config.json")
        for value in (
            bert.get("max_seq_length"),
            tokenizer.get("model_max_length"),
            config.get("max_position_embeddings"),
        ):
            if isinstance(value, int) and not isinstance(value, bool) and value > 0:
                return min(value, MOST_TOKENS)
        return MOST_TOKENS

    def fingerprint(self) -> str:
        """Return 12 digits that differ between networks, from their size and samples of them."""
        size = self.network.stat().st_size
        seen = hashlib.sha256(str(size).encode())
        with self.network.open("rb") as file:
            for number in range(FINGERPRINT_BLOCKS):
                file.seek(size * number // FINGERPRINT_BLOCKS)
                seen.update(file.read(FINGERPRINT_BYTES))
        return seen.hexdigest()[:12]

    def load(self, threads: int) -> LoadedModel:
        """Read tokenizer and network.

        Raises:
            MissingExtraError: The extra ``local`` is not installed.
            CheckpointError: A file cannot be used.
        """
        try:
            import tokenizers
        except ImportError as error:
            raise MissingExtraError("local", self.what) from error
        path = self.folder / "tokenizer.json"
        try:
            tokenizer = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:
            raise CheckpointError(f"{path} is no tokenizer: {error}") from error
        session = open_session(self.network, self.what, threads=threads)
        inputs = {entry.name for entry in session.get_inputs()}
        if not {"input_ids"} <= inputs <= KNOWN_INPUTS:
            raise CheckpointError(
                f"{self.network} takes the inputs {sorted(inputs)}; {self.what} takes input_ids "
                "and attention_mask (an encoder, exported for feature extraction)"
            )
        tokenizer.no_padding()
        tokenizer.enable_truncation(self.most_tokens())
        return LoadedModel(tokenizer, session, self.what, frozenset(inputs))

    def _network(self) -> Path:
        if not os.path.isdir(self.folder):
            raise CheckpointError(f"{self.folder} ({self.setting}) is no folder")
        for name in NETWORKS:
            if os.path.isfile(self.folder / name):
                return self.folder / name
        found = sorted(
            path
            for pattern in ("*.onnx", "onnx/*.onnx")
            for path in self.folder.glob(pattern)
            if os.path.isfile(path)
        )
        if len(found) == 1:
            return found[0]
        has = f"several: {', '.join(path.name for path in found)}" if found else "none"
        raise CheckpointError(
            f"{self.folder} ({self.setting}) has no network that can be chosen ({has}); put one "
            "there as model.onnx (optimum-cli export onnx, or the onnx folder of the model's hub)"
        )


class LoadedModel:
    """Tokenizer and network in memory. Thread-safe.

    Args:
        tokenizer: Cuts texts into tokens, as long as the network takes.
        session: The network.
        what: What it is, for messages.
        inputs: Names of its inputs.
    """

    def __init__(
        self,
        tokenizer: tokenizers.Tokenizer,
        session: onnxruntime.InferenceSession,
        what: str,
        inputs: frozenset[str],
    ) -> None:
        self._tokenizer = tokenizer
        self._session = session
        self._what = what
        self._inputs = inputs
        self._lock = threading.Lock()
        self.outputs: list[str] = [entry.name for entry in session.get_outputs()]

    def tokenize(self, text: str, pair: str | None = None) -> Tokens:
        """Cut a text, or a pair of them, into tokens."""
        if pair is None:
            encoded = self._tokenizer.encode(_clean(text))
        else:
            encoded = self._tokenizer.encode(_clean(text), _clean(pair))
        return Tokens(encoded.ids, encoded.type_ids)

    def run(self, batch: Sequence[Tokens]) -> tuple[dict[str, NDArray[Any]], NDArray[np.int64]]:
        """Run the network; return its outputs by name, and the mask [N, T] of what is text.

        Raises:
            ModelError: The network failed.
        """
        width = max(1, *(len(one.ids) for one in batch))
        ids = np.zeros((len(batch), width), np.int64)
        mask, types = np.zeros_like(ids), np.zeros_like(ids)
        for row, one in enumerate(batch):
            ids[row, : len(one.ids)] = one.ids
            types[row, : len(one.ids)] = one.types
            mask[row, : len(one.ids)] = 1
        feed = {
            "input_ids": ids,
            "attention_mask": mask,
            "token_type_ids": types,
            "position_ids": np.broadcast_to(np.arange(width, dtype=np.int64), ids.shape),
        }
        try:
            found = self._session.run(None, {name: feed[name] for name in self._inputs})
        except Exception as error:
            raise ModelError(
                f"{self._what} failed on a batch of {len(batch)} texts: {error}"
            ) from error
        return dict(zip(self.outputs, found, strict=True)), mask


def _clean(text: str) -> str:
    """Replace lone surrogates, which have no UTF-8 form."""
    return text.encode("utf-8", "replace").decode("utf-8")
