"""Clean text for tokenizers and databases."""

from __future__ import annotations

__all__ = ["clean_text"]


def clean_text(text: str) -> str:
    """Replace lone surrogates by question marks: they have no UTF-8 form.

    A file name or a broken JSON escape can bring one.
    """
    return text.encode("utf-8", "replace").decode("utf-8")
