"""Whether a server runs the model whose tokenizer is here; asked once, before the first question.

Nobody can see the weights of a server. What is compared is what a wrong model would differ in: its
name, its length, the ids of a text with every kind of token, and the number of rows of its table.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from voicerag_core.errors import ConfigError, EndpointError
from voicerag_core.glm.lm.server.completions import completed
from voicerag_core.glm.text_tokenizer import TextTokenizer
from voicerag_core.remote.client import Client

__all__ = ["FORM", "PROBE", "Fitting", "fitting_of"]

FORM = "voicerag_form"
"""Extra argument of a request that names the form of its reply to the logits processor."""
PROBE = "probe"
"""A form that allows speech token 0 alone; without the processor no model keeps to it."""
PROBE_IDS = 3


@dataclass(frozen=True, slots=True)
class Fitting:
    """A served model that fits.

    Args:
        model: Its name.
        max_context: Most tokens of prompt and reply together that the server takes.
        masks_tokens: Whether the logits processor of `vllm_processor` runs there.
    """

    model: str
    max_context: int
    masks_tokens: bool


def fitting_of(client: Client, tokenizer: TextTokenizer, table_size: int) -> Fitting:
    """Ask a server what it runs.

    Args:
        client: Of the server.
        tokenizer: That of the model.
        table_size: Rows of the model's output table.

    Raises:
        ConfigError: It runs another model; the message says what differs.
        EndpointError: It cannot be reached, or does not answer as vLLM does.
    """
    name, length = _listed(client)
    _check_ids(client, name, tokenizer, table_size)
    _check_rows(client, name, table_size)
    return Fitting(name, length, _masks(client, name, tokenizer, table_size))


def _listed(client: Client) -> tuple[str, int]:
    """Return the name and the length of the served model."""
    path, wanted = "/models", client.endpoint.model
    listed = client.call(path)
    try:
        lengths = {str(one["id"]): one.get("max_model_len") for one in listed["data"]}
    except (TypeError, KeyError, AttributeError) as error:
        raise client.refusal.unusable(path, "sent no list of models") from error
    setting = client.endpoint.setting
    there = ", ".join(sorted(lengths)) or "none"
    if not wanted and len(lengths) != 1:
        raise ConfigError(f"the server has the models {there}; choose one by {setting}_MODEL")
    name = wanted or next(iter(lengths))
    if name not in lengths:
        raise ConfigError(f"the server has no model {name!r} ({setting}_MODEL), but: {there}")
    length = lengths[name]
    if type(length) is not int or length < 1:
        raise client.refusal.unusable(path, f"names no max_model_len of {name!r}, which vLLM does")
    return name, length


def _check_ids(client: Client, name: str, tokenizer: TextTokenizer, table_size: int) -> None:
    """Compare the ids of a text that holds words, roles and the first and last speech token."""
    last = tokenizer.vocabulary.audio_size - 1
    text = f"<|user|>\nHow far? 12 km.\n多远<|audio_0|><|audio_{last}|><|assistant|>streaming"
    expected = tuple(tokenizer.encode_prompt(text)[2:])  # without the two that begin every prompt
    body = {"prompt": text, "add_special_tokens": False, **_few(name)}
    served = completed(client, body, table_size).prompt
    if served is None:
        raise client.refusal.unusable(
            "/completions", "sent no prompt_token_ids, which vLLM sends for return_token_ids"
        )
    if served != expected:
        raise _other(client, name, "it divides a text into other tokens")


def _check_rows(client: Client, name: str, table_size: int) -> None:
    """Let the server take the last row of the table, and refuse the one after it."""
    if not _takes(client, name, table_size - 1):
        raise _other(client, name, f"its table has fewer than {table_size} rows")
    if _takes(client, name, table_size):
        raise _other(client, name, f"its table has more than {table_size} rows")


def _takes(client: Client, name: str, token: int) -> bool:
    try:
        completed(client, {"prompt": [token], **_few(name)}, token + 1)
    except EndpointError as error:
        if error.status == HTTPStatus.BAD_REQUEST:
            return False
        raise
    return True


def _masks(client: Client, name: str, tokenizer: TextTokenizer, table_size: int) -> bool:
    vocabulary = tokenizer.vocabulary
    body = {
        "prompt": [vocabulary.specials["<|user|>"]],
        **_few(name, PROBE_IDS),
        "ignore_eos": True,
        "vllm_xargs": {FORM: PROBE},
    }
    return completed(client, body, table_size).ids == (vocabulary.audio_start,) * PROBE_IDS


def _few(name: str, ids: int = 1) -> dict[str, Any]:
    return {"model": name, "max_tokens": ids, "temperature": 0.0, "top_p": 1.0}


def _other(client: Client, name: str, what: str) -> ConfigError:
    return ConfigError(
        f"the model {name!r} at {client.endpoint.shown} is not that of VOICERAG_GLM_DIR: {what}; "
        "serve the folder glm-4-voice-9b of the same `voicerag convert`"
    )
