"""A language model that vLLM serves: token ids go there, token ids come back, streamed."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from contextvars import copy_context
from itertools import islice
from pathlib import Path
from typing import Any

from voicerag_core.closing import Closing
from voicerag_core.errors import ConfigError
from voicerag_core.glm.lm.interleave import AllowedTokens, Grammar, TokenKind
from voicerag_core.glm.lm.language_model import check_request
from voicerag_core.glm.lm.server.completions import streamed
from voicerag_core.glm.lm.server.fitting import FORM, Fitting, fitting_of
from voicerag_core.glm.text_tokenizer import TextTokenizer
from voicerag_core.glm.weights.checkpoints import find_lm
from voicerag_core.glm.weights.configs import CONTEXT_TOKENS
from voicerag_core.remote.client import Client
from voicerag_core.remote.endpoint import Endpoint
from voicerag_core.types import Sampling

__all__ = ["ServerLM", "connected_lm"]

MOST_AT_ONCE = 64
"""Replies that are written at the same time; others wait for their turn."""


class ServerLM(Closing):
    """GLM-4 on a vLLM server, as a `LanguageModel`; opened by `connect`. Thread-safe.

    The server draws the ids. Where it runs the logits processor of `vllm_processor`, it masks those
    that the form of a reply does not allow; where it does not, the first such id ends the reply
    with an error. Its random numbers are not those of `TorchLM`: the same seed repeats a reply on
    one kind of engine.

    Args:
        client: Of the server; closed with this object.
        fitting: What the server runs.
        stop_ids: Ids that end a reply.
        table_size: Rows of the model's output table.
        max_context: Most tokens of prompt and reply together.
        form: What the logits processor calls the form of the replies.
    """

    def __init__(
        self,
        client: Client,
        fitting: Fitting,
        *,
        stop_ids: Sequence[int],
        table_size: int,
        max_context: int,
        form: str,
    ) -> None:
        self._client, self._fitting = client, fitting
        self._asked, self._lock = 0, threading.Lock()
        self._table_size, self._max_context = table_size, max_context
        self._common: dict[str, Any] = {"model": fitting.model, "stop_token_ids": list(stop_ids)}
        if fitting.masks_tokens:
            self._common["vllm_xargs"] = {FORM: form}

    @classmethod
    def connect(
        cls,
        endpoint: Endpoint,
        tokenizer: TextTokenizer,
        *,
        table_size: int,
        max_context: int | None = None,
        english_only: bool = False,
    ) -> ServerLM:
        """Connect to a server, and refuse one that runs another model.

        Args:
            endpoint: Where it is.
            tokenizer: Of the model.
            table_size: Rows of the model's output table.
            max_context: Most tokens of prompt and reply; None takes what the server takes, 8192 at
                most.
            english_only: Let the logits processor mask text in Chinese, Japanese or Korean script.

        Raises:
            ConfigError: The server runs another model, or a shorter one than is asked for.
            EndpointError: It cannot be reached, or does not answer as vLLM does.
        """
        client = Client(endpoint, most_at_once=MOST_AT_ONCE)
        try:
            fitting = fitting_of(client, tokenizer, table_size)
            longest = fitting.max_context
            if max_context is not None and max_context > longest:
                raise ConfigError(
                    f"VOICERAG_GLM_MAX_CONTEXT is {max_context} tokens, and the server takes "
                    f"{longest}; start it with --max-model-len {max_context}, or lower the setting"
                )
        except BaseException:
            client.close()
            raise
        return cls(
            client,
            fitting,
            stop_ids=tokenizer.vocabulary.stop_ids,
            table_size=table_size,
            max_context=max_context or min(longest, CONTEXT_TOKENS),
            form="spoken-english" if english_only else "spoken",
        )

    @property
    def masks_tokens(self) -> bool:
        """Whether the server runs the logits processor."""
        return self._fitting.masks_tokens

    @property
    def max_context(self) -> int:
        """Most tokens of prompt and reply together."""
        return self._max_context

    @property
    def table_size(self) -> int:
        """Rows of the output table."""
        return self._table_size

    @property
    def capacity(self) -> int:
        """Most replies at a time that are asked of the server."""
        return MOST_AT_ONCE

    @property
    def running(self) -> int:
        """Replies that the server was asked for."""
        return min(self._asked, MOST_AT_ONCE)

    @property
    def waiting(self) -> int:
        """Replies that it will be asked for when others have ended."""
        return max(0, self._asked - MOST_AT_ONCE)

    def warm(self, masks: Sequence[AllowedTokens]) -> None:
        """Do nothing: `connect` has already asked the server for ids."""

    def stream(
        self, prompt: Sequence[int], *, grammar: Grammar, sampling: Sampling
    ) -> Generator[int, None, None]:
        """See `LanguageModel.stream`; closing the generator closes the connection.

        Raises:
            GenerationError: The prompt leaves no room, or an id is not allowed.
            EndpointError: The server refused, failed, was late or broke off.
        """
        check_request(self, prompt, sampling)
        room = min(sampling.max_new_tokens, self._max_context - len(prompt))
        body = {
            **self._common,
            "prompt": list(prompt),
            "max_tokens": room,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
        }
        if sampling.seed is not None:
            body["seed"] = sampling.seed
        with self._counted(), closing(streamed(self._client, body, self._table_size)) as pieces:
            for token in islice((token for piece in pieces for token in piece.ids), room):
                kind = grammar.push(token)
                yield token
                if kind is TokenKind.STOP:
                    return

    def generate(
        self, prompts: Sequence[Sequence[int]], *, grammars: Sequence[Grammar], sampling: Sampling
    ) -> list[list[int]]:
        """See `LanguageModel.generate`; the server batches the prompts."""
        if not prompts:
            return []

        def whole(prompt: Sequence[int], grammar: Grammar) -> list[int]:
            return list(self.stream(prompt, grammar=grammar, sampling=sampling))

        with ThreadPoolExecutor(min(len(prompts), MOST_AT_ONCE)) as pool:
            # Each thread sees whether this call was cancelled.
            replies = [
                pool.submit(copy_context().run, whole, prompt, grammar)
                for prompt, grammar in zip(prompts, grammars, strict=True)
            ]
            return [reply.result() for reply in replies]

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._lock:
            self._asked += 1
        try:
            yield
        finally:
            with self._lock:
                self._asked -= 1

    def close(self) -> None:
        """Close the connections; replies that are being read end with an error."""
        self._client.close()


def connected_lm(
    endpoint: Endpoint, folder: Path, *, max_context: int | None = None, english_only: bool = False
) -> ServerLM:
    """Connect to a server that runs the language model of a folder, whose weights need not be here.

    Args:
        endpoint: Where it is.
        folder: Holds the tree of the language model: its tokenizer and its config.json.
        max_context: See `ServerLM.connect`.
        english_only: See `ServerLM.connect`.

    Raises:
        CheckpointError: The folder lacks them.
        ConfigError: The server runs another model, or a shorter one than is asked for.
        EndpointError: It cannot be reached, or does not answer as vLLM does.
    """
    place, config = find_lm(folder)
    return ServerLM.connect(
        endpoint,
        TextTokenizer.load(place),
        table_size=config.vocab_size,
        max_context=max_context,
        english_only=english_only,
    )
