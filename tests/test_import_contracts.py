"""Every import contract holds on the tree, and breaks when somebody crosses it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {
    "voicerag_core": "src",
    "voicerag_integrations": "src",
    "voicerag_mcp": "mcp_server",
    "voicerag_web": "web_server",
}
CONTRACTS: dict[str, str] = {
    contract["id"]: contract["name"]
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
        "contracts"
    ]
}

PLANTED = [
    ("floors", "voicerag_core.chunking", "voicerag_core.store"),
    ("circles", "voicerag_core.store.rows", "voicerag_core.store.pgvector"),
    ("adapters", "voicerag_integrations.langchain.tools", "voicerag_core.glm.lm.sampler"),
    ("adapters", "voicerag_integrations.llamaindex.nodes", "voicerag_core.sonar.batches"),
    ("adapters", "voicerag_integrations.llamaindex.nodes", "voicerag_core.rag"),
    (
        "adapters-apart",
        "voicerag_integrations.langchain.tools",
        "voicerag_integrations.llamaindex.nodes",
    ),
    ("servers", "voicerag_mcp.resources", "voicerag_core.glm.weights.hub"),
    ("servers", "voicerag_mcp.resources", "voicerag_core.store"),
    ("servers", "voicerag_mcp.resources", "voicerag_web.sources"),
    ("web", "voicerag_web.sources", "voicerag_core.store"),
    ("web", "voicerag_web.sources", "voicerag_mcp.results"),
    ("core", "voicerag_core.testing.models", "voicerag_mcp.settings"),
    ("core", "voicerag_core.testing.models", "voicerag_web.settings"),
    ("prometheus", "voicerag_core.serving.jobs", "prometheus_client"),
    ("postgres", "voicerag_core.recordings", "psycopg"),
    ("telemetry", "voicerag_core.rag", "opentelemetry"),
    ("local-runtimes", "voicerag_core.recordings", "onnxruntime"),
    ("local-runtimes", "voicerag_core.cancellation", "ctranslate2"),
    ("tokenizers", "voicerag_core.glm.prompt", "tokenizers"),
    ("torch", "voicerag_core.local.minilm", "torch"),
    ("torch", "voicerag_core.glm.prompt", "triton"),
    ("transformers", "voicerag_core.sonar.encoding", "transformers"),
    ("sentencepiece", "voicerag_core.glm.text_tokenizer", "sentencepiece"),
    ("fairseq2", "voicerag_core.sonar.encoding", "fairseq2"),
    ("http", "voicerag_core.local.weights.download", "httpx"),
    ("documents", "voicerag_core.recordings", "selectolax"),
    ("sound", "voicerag_core.local.minilm", "soundfile"),
    ("sentences", "voicerag_core.documents.html", "sentencex"),
    ("signatures", "voicerag_mcp.verifiers", "jwt"),
    ("terminal", "voicerag_core.audio", "sounddevice"),
    ("llamaindex", "voicerag_integrations.langchain.retriever", "llama_index.core"),
    ("ray", "voicerag_core.ingest.engine", "ray"),
    ("vllm", "voicerag_core.glm.lm.server.server_lm", "vllm"),
    ("ray", "voicerag_integrations.langchain.retriever", "ray.data"),
    ("langchain", "voicerag_core.testing.models", "langchain_core"),
    ("metrics", "voicerag_core.evaluation.runs", "jiwer"),
    ("mcp", "voicerag_core.serving.jobs", "mcp"),
    ("mcp", "voicerag_core.serving.clips", "fastapi"),
    ("piper", "voicerag_core.local.speaking.speaker", "piper"),
]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What import-linter says of a copy of the tree with one import planted for each row."""
    copy = tmp_path_factory.mktemp("planted")
    for package, folder in PACKAGES.items():
        shutil.copytree(ROOT / folder / package, copy / package)
    shutil.copy(ROOT / "pyproject.toml", copy)
    for _, module, imported in PLANTED:
        path = copy.joinpath(*module.split("."))
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        with file.open("a") as source:
            source.write(f"\nimport {imported}\n")
    program = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run(
        [program, "--config", "pyproject.toml", "--no-cache"],
        cwd=copy,
        env={"PYTHONPATH": str(copy), "COLUMNS": "400", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("contract", "module", "imported"), PLANTED, ids=lambda value: value.replace("voicerag_", "")
)
def test_a_planted_import_breaks_its_contract(
    report: str, contract: str, module: str, imported: str
) -> None:
    name = CONTRACTS[contract]
    summary, _, details = report.partition("Broken contracts\n")
    assert re.search(rf"^{re.escape(name)} BROKEN", summary, re.MULTILINE)
    section = re.split(r"\n(?=.+\n-{3,}\n)", details[details.index(f"\n{name}\n") + 1 :])[0]
    if contract == "circles":
        assert "No cycles are allowed in voicerag_core.store." in section
    else:
        assert re.search(
            rf"{re.escape(module)} -> {re.escape(imported.split('.', maxsplit=1)[0])}", section
        )


def test_a_violation_is_planted_for_every_contract() -> None:
    assert {contract for contract, _, _ in PLANTED} == set(CONTRACTS)
