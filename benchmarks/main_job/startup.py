"""Start-up time of a process in seconds, best and median of several runs.

python -m benchmarks.main_job.startup [--runs 9]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

BIN = Path(sys.executable).parent
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    'python -c "import numpy"': [sys.executable, "-c", "import numpy"],
    'python -c "import voicerag_core"': [sys.executable, "-c", "import voicerag_core"],
    "voicerag --help": [str(BIN / "voicerag"), "--help"],
}


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=9)
    runs = parser.parse_args().runs
    print("| command | best s | median s |\n|---|---|---|")
    for name, command in COMMANDS.items():
        seconds(command)
        values = [seconds(command) for _ in range(runs)]
        print(f"| `{name}` | {min(values):.2f} | {statistics.median(values):.2f} |")


if __name__ == "__main__":
    main()
