"""The error tree."""

from __future__ import annotations

import pickle

import pytest

from voicerag_core import errors


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_is_ours_and_pickles(name: str) -> None:
    kind = getattr(errors, name)
    assert issubclass(kind, errors.VoiceRAGError)
    args = ("local", "speaking") if kind is errors.MissingExtraError else ("what and why",)
    again = pickle.loads(pickle.dumps(kind(*args)))
    assert type(again) is kind
    assert str(again) == str(kind(*args))


def test_a_missing_extra_names_the_install_line() -> None:
    error = errors.MissingExtraError("local", "the local stack")
    assert "pip install 'voicerag-core[local]'" in str(error)
    assert isinstance(error, ImportError)
