"""A server that speaks vLLM's completions interface on the loopback, with `TorchLM` behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.remote.wire import Handler, Wire, serving
from voicerag_core import Sampling
from voicerag_core.glm.lm.interleave import (
    AllowedTokens,
    Grammar,
    Interleave,
    ReplyForm,
    TokenKind,
)
from voicerag_core.glm.lm.torch_lm import TorchLM
from voicerag_core.glm.text_tokenizer import TextTokenizer

NAME = "glm-4-voice-9b"


class AnyIds:
    """Allows some ids everywhere; a stop id ends the reply."""

    def __init__(self, mask: np.ndarray, stops: tuple[int, ...] = ()) -> None:
        self._allowed = AllowedTokens("anything", mask)
        self._stops = stops

    def allowed(self) -> AllowedTokens:
        return self._allowed

    def push(self, token: int) -> TokenKind:
        return TokenKind.STOP if token in self._stops else TokenKind.TEXT


@dataclass
class Model:
    """What the server runs.

    Args:
        lm: Its language model.
        tokenizer: Its tokenizer.
        rows: Rows of its table, as it says.
        length: `max_model_len`, as it says.
        processor: Whether it runs the logits processor.
        names: Models that it lists.
    """

    lm: TorchLM
    tokenizer: TextTokenizer
    rows: int
    length: int | None = 512
    processor: bool = True
    names: tuple[str, ...] = (NAME,)
    between: Callable[[Handler, int], None] = lambda handler, number: None
    """Called before each id of a stream."""
    ids_sent: int = 0

    def grammar(self, asked: dict[str, Any]) -> Grammar:
        form = (asked.get("vllm_xargs") or {}).get("voicerag_form") if self.processor else None
        stops = () if asked.get("ignore_eos") else tuple(asked.get("stop_token_ids", ()))
        if form == "spoken":
            return Interleave(ReplyForm(self.tokenizer, self.lm.table_size))
        mask = np.ones(self.lm.table_size, np.bool_)
        if form == "probe":
            mask[:] = False
            mask[self.tokenizer.vocabulary.audio_start] = True
        return AnyIds(mask, stops)


class VllmHandler(Handler):
    """Answers the two calls that the client makes."""

    model: Model

    def answer(self) -> None:
        if self.wire.key and self.headers.get("Authorization") != f"Bearer {self.wire.key}":
            self.send_json(401, {"error": {"message": "Unauthorized"}})
        elif self.path == "/v1/models":
            entry = {} if self.model.length is None else {"max_model_len": self.model.length}
            listed = [{"id": name, "object": "model", **entry} for name in self.model.names]
            self.send_json(200, {"object": "list", "data": listed})
        elif self.path == "/v1/completions":
            self.complete(self.request_seen.json)
        else:
            self.send_json(404, {"detail": "Not Found"})

    def complete(self, asked: dict[str, Any]) -> None:
        model, prompt = self.model, asked["prompt"]
        if isinstance(prompt, str):
            assert asked["add_special_tokens"] is False
            prompt = model.tokenizer.encode_prompt(prompt)[2:]
        if max(prompt) >= model.rows:
            message = f"Token id {max(prompt)} is out of vocabulary"
            self.send_json(400, {"error": {"message": message, "code": 400}})
            return
        sampling = Sampling(
            asked["temperature"], asked["top_p"], asked["max_tokens"], asked.get("seed")
        )
        prompt = [min(token, model.lm.table_size - 1) for token in prompt]
        ids = model.lm.stream(prompt, grammar=model.grammar(asked), sampling=sampling)
        assert asked["return_token_ids"] is True
        with closing(ids):
            if asked.get("stream"):
                self.stream(ids, asked)
            else:
                self.send_json(200, completion(list(ids), "length", prompt_token_ids=prompt))

    def stream(self, ids: Iterator[int], asked: dict[str, Any]) -> None:
        self.begin_stream()
        self.chunk(b": a comment\n\n")
        stops, last = asked["stop_token_ids"], None
        for number, token in enumerate(ids):
            self.model.between(self, number)
            if self.close_connection:
                return
            self.event(completion([token], None))
            self.model.ids_sent += 1
            last = token
        self.event(completion([], "stop" if last in stops else "length"))
        self.event({"choices": [], "usage": {"completion_tokens": self.model.ids_sent}})
        self.chunk(b"data: [DONE]\n\n")
        self.chunk(b"")


def completion(ids: list[Any], reason: str | None, **more: Any) -> dict[str, Any]:
    """An event, or a whole response."""
    choice = {"index": 0, "text": "x" * len(ids), "token_ids": ids, "finish_reason": reason}
    return {"object": "text_completion", "choices": [{**choice, **more}]}


@contextmanager
def serving_vllm(model: Model) -> Iterator[Wire]:
    """Run the server for a block."""
    with serving(type("ModelHandler", (VllmHandler,), {"model": model})) as wire:
        yield wire
