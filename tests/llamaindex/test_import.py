"""What an import of the adapter loads, and what it says where LlamaIndex is missing."""

from __future__ import annotations

import subprocess
import sys


def run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_loads_neither_the_other_framework_nor_a_model_nor_a_driver() -> None:
    heavy = ("langchain_core", "torch", "onnxruntime", "ctranslate2", "mcp", "pytest")
    out = run(
        "import sys, voicerag_integrations.llamaindex as v; assert v.__all__; "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    assert out.strip() == "[]"


def test_the_package_of_adapters_loads_none_of_them() -> None:
    out = run("import sys, voicerag_integrations; print('llama_index' in sys.modules)")
    assert out.strip() == "False"


def test_where_llamaindex_is_missing_the_extra_is_named() -> None:
    out = run(
        "import sys\n"
        "class Nothing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'llama_index': raise ModuleNotFoundError(name, name=name)\n"
        "sys.meta_path.insert(0, Nothing())\n"
        "from voicerag_core import MissingExtraError\n"
        "try: import voicerag_integrations.llamaindex\n"
        "except MissingExtraError as error: print(error)\n"
    )
    assert "pip install 'voicerag-core[llamaindex]'" in out
