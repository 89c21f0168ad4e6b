"""What docs/sonar.md says is run, with small weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.pages import ROOT, snippets
from tests.sonar import recipe
from voicerag_core.sonar import Fairseq2SonarEmbedder, SonarEmbedder


def test_the_python_of_the_page_runs(
    models: Path, embedder: SonarEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(models)
    kinds: tuple[type[Any], ...] = (SonarEmbedder, Fairseq2SonarEmbedder)
    for snippet, kind in zip(snippets(ROOT / "docs/sonar.md", "python"), kinds, strict=True):
        names: dict[str, Any] = {}
        snippet = snippet.replace('.eng.pt")', f'.eng.pt", heads={recipe.HEADS})')  # noqa: PLW2901
        exec(compile(snippet, "docs/sonar.md", "exec"), names)
        assert isinstance(names["embedder"], kind)
        assert names["embedder"].model_id == embedder.model_id
