"""An embedder as a model of mteb: texts and speech to vectors of one space.

The package ``mteb`` is not needed to import this, and in no extra: it brings torch, datasets and
sentence-transformers. The class has the methods of ``mteb.models.EncoderProtocol`` (tried
with mteb 2.26), which is structural::

    import mteb
    from voicerag_core import open_voicerag
    from voicerag_integrations.mteb import SpeechEncoder

    with open_voicerag() as rag:
        model = SpeechEncoder(rag.embedder)
        mteb.evaluate(model, mteb.get_tasks(tasks=["SpokenSQuADT2ARetrieval"]))
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voicerag_core import SPEECH_RATE_HZ, Audio, ConfigError, Embedder, resample

__all__ = ["SpeechEncoder"]


class SpeechEncoder:
    """Encodes batches of mteb by an `Embedder`.

    Args:
        embedder: Embeds texts and, if a task has sound, speech.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    @property
    def mteb_model_meta(self) -> Any:  # noqa: ANN401 - a class of a package that may be absent
        """The ``mteb.models.ModelMeta`` by which mteb names results and checks modalities.

        Raises:
            ConfigError: mteb is not installed.
        """
        try:
            models = import_module("mteb.models")
        except ImportError as error:
            raise ConfigError(f"mteb is not installed: pip install mteb ({error})") from error
        return models.ModelMeta.create_empty(
            {
                "name": f"voicerag/{self._embedder.model_id}",
                "revision": "1",
                "embed_dim": self._embedder.dim,
                "modalities": ["text", "audio"],
                "similarity_fn_name": "cosine",
            }
        )

    def encode(
        self,
        inputs: Iterable[Mapping[str, Any]],
        *,
        task_metadata: object = None,
        hf_split: str = "",
        hf_subset: str = "",
        prompt_type: object = None,
        batch_size: int | None = None,
        show_progress_bar: bool = False,
        num_proc: int | None = None,
    ) -> NDArray[np.float32]:
        """Return the vectors of all batches, [N, D].

        Args:
            inputs: Batches: a mapping of "text" to strings, or of "audio" to clips, each with
                "array" (float samples, [T] or [T, channels]) and "sampling_rate" in Hz.
            task_metadata: Ignored.
            hf_split: Ignored.
            hf_subset: Ignored.
            prompt_type: "query" (or mteb's value of it) embeds as questions, else as passages.
            batch_size: Ignored: the batches are made already.
            show_progress_bar: Ignored.
            num_proc: Ignored.

        Raises:
            ConfigError: A batch has neither.
        """
        del task_metadata, hf_split, hf_subset, batch_size, show_progress_bar, num_proc
        asks = str(getattr(prompt_type, "value", prompt_type)) == "query"
        rows: list[NDArray[np.float32]] = []
        for batch in inputs:
            if batch.get("audio"):
                rows.append(self._embedder.embed_speech([_clip(one) for one in batch["audio"]]))
            elif "text" in batch:
                texts = list(batch["text"])
                embed = self._embedder.embed_questions if asks else self._embedder.embed_passages
                rows.append(embed(texts))
            else:
                raise ConfigError(
                    f"a batch has 'text' or 'audio', not {', '.join(map(repr, batch)) or 'nothing'}"
                )
        if not rows:
            return np.zeros((0, self._embedder.dim), np.float32)
        return np.concatenate(rows)

    def similarity(
        self, embeddings1: NDArray[np.float32], embeddings2: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return the cosines of all pairs, [N, M]."""
        return np.asarray(embeddings1) @ np.asarray(embeddings2).T

    def similarity_pairwise(
        self, embeddings1: NDArray[np.float32], embeddings2: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return the cosines of pairs row by row, [N]."""
        products: NDArray[np.float32] = np.asarray(embeddings1) * np.asarray(embeddings2)
        total: NDArray[np.float32] = products.sum(axis=1)
        return total


def _clip(one: Mapping[str, Any]) -> Audio:
    samples = np.asarray(one["array"], np.float32)
    if samples.ndim > 1:
        samples = samples.mean(axis=1)
    return resample(Audio(samples, int(one["sampling_rate"])), SPEECH_RATE_HZ)
