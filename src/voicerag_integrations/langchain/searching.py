"""Search options: those of a component, overridden by those of a call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from voicerag_core import ConfigError
from voicerag_integrations.langchain.metadata_filters import read_filter

__all__ = ["search_options"]

_NAMES: Final = {
    "k": "limit",
    "filter": "where",
    "strategy": "strategy",
    "min_score": "min_score",
    "diversity": "diversity",
}


def search_options(own: object, call: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `VoiceRAG.retrieve`.

    Args:
        own: The component; has an attribute for each option.
        call: Options of the call, under LangChain's names.

    Raises:
        ConfigError: An option is unknown.
        FilterError: The filter is invalid.
    """
    known = [name for name in _NAMES if hasattr(own, name)]
    unknown = sorted(set(call) - set(known))
    if unknown:
        raise ConfigError(
            f"unknown option {', '.join(map(repr, unknown))} of {type(own).__name__}; "
            f"choose of {', '.join(known)}"
        )
    chosen = {
        _NAMES[name]: getattr(own, name) if call.get(name) is None else call[name] for name in known
    }
    return chosen | {"where": read_filter(chosen.get("where"))}
