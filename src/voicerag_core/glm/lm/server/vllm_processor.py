r"""A logits processor for vLLM that keeps replies to their form; it runs in vLLM's own process.

Start the server with it:

    VLLM_USE_V2_MODEL_RUNNER=0 vllm serve FOLDER/glm-4-voice-9b \
        --logits-processors voicerag_core.glm.lm.server.vllm_processor:ReplyFormProcessor

It is of vLLM's first interface for such processors ("V1"). vLLM keeps replies apart by the row of
its batch, and hands out for each the list of ids that it has drawn, which grows.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from vllm.v1.sample.logits_processor import BatchUpdate, LogitsProcessor
from vllm.v1.sample.logits_processor.builtin import process_dict_updates

from voicerag_core.errors import GenerationError
from voicerag_core.glm.lm.interleave import AllowedTokens, Grammar, Interleave, ReplyForm, TokenKind
from voicerag_core.glm.lm.server.fitting import FORM, PROBE
from voicerag_core.glm.text_tokenizer import TextTokenizer

__all__ = ["ReplyFormProcessor"]


@dataclass
class _Row:
    """One reply.

    Args:
        grammar: Its form.
        ids: What vLLM has drawn of it; grows.
        seen: How many of them the grammar knows.
    """

    grammar: Grammar
    ids: list[int]
    seen: int = 0


class _Probe:
    """Allows speech token 0 alone."""

    def __init__(self, form: ReplyForm) -> None:
        mask = np.zeros(len(form.any.mask), np.bool_)
        mask[form.vocabulary.audio_start] = True
        self._allowed = AllowedTokens("the probe", mask)

    def allowed(self) -> AllowedTokens:
        """Return speech token 0."""
        return self._allowed

    def push(self, token: int) -> TokenKind:
        """Take anything."""
        del token
        return TokenKind.AUDIO


class ReplyFormProcessor(LogitsProcessor):  # type: ignore[misc] # vLLM is elsewhere
    """Masks the ids that the form of a reply does not allow, for requests that name a form.

    Args:
        vllm_config: Names the folder of the model and the rows of its table.
        device: Of the logits.
        is_pin_memory: Not used.
    """

    def __init__(
        self,
        vllm_config: Any,  # noqa: ANN401 - vLLM's
        device: torch.device,
        is_pin_memory: bool,
    ) -> None:
        del is_pin_memory
        model = vllm_config.model_config
        tokenizer = TextTokenizer.load(Path(model.tokenizer))
        rows = model.get_vocab_size()
        self._device = device
        self._forms = {
            "spoken": ReplyForm(tokenizer, rows),
            "spoken-english": ReplyForm(tokenizer, rows, english_only=True),
        }
        self._probe = _Probe(self._forms["spoken"])
        self._rows: dict[int, _Row] = {}
        self._forbidden: dict[AllowedTokens, torch.Tensor] = {}

    @classmethod
    def validate_params(cls, sampling_params: Any) -> None:  # noqa: ANN401 - vLLM's
        """Refuse a form that there is not.

        Raises:
            ValueError: vLLM answers it with HTTP 400.
        """
        name = (sampling_params.extra_args or {}).get(FORM)
        if name not in (None, PROBE, "spoken", "spoken-english"):
            raise ValueError(f"{FORM} is spoken, spoken-english or {PROBE}, not {name!r}")

    def is_argmax_invariant(self) -> bool:
        """Return that greedy sampling depends on it."""
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Follow which replies are in which rows."""
        process_dict_updates(self._rows, batch_update, self._begun)

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """Mask [B, V] in place."""
        for index, row in self._rows.items():
            try:
                while row.seen < len(row.ids):
                    row.grammar.push(row.ids[row.seen])
                    row.seen += 1
            except GenerationError:  # an id from before the processor; the client refuses it
                row.seen = len(row.ids)
            logits[index].masked_fill_(self._mask(row.grammar.allowed()), -torch.inf)
        return logits

    def _begun(
        self,
        params: Any,  # noqa: ANN401 - vLLM's
        prompt: list[int] | None,
        ids: list[int],
    ) -> _Row | None:
        del prompt
        name = (params.extra_args or {}).get(FORM)
        if name is None:
            return None
        return _Row(self._probe if name == PROBE else Interleave(self._forms[name]), ids)

    def _mask(self, allowed: AllowedTokens) -> torch.Tensor:
        mask = self._forbidden.get(allowed)
        if mask is None:
            mask = torch.from_numpy(~allowed.mask).to(self._device)
            self._forbidden[allowed] = mask
        return mask
