"""What holds for all tests: examples without time limits, and a line on what was skipped."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections import Counter

import pytest

with contextlib.suppress(ImportError):  # the tests of fairseq2 run without Hypothesis
    from hypothesis import HealthCheck, settings

    settings.register_profile(
        "busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("busy machine")


def pytest_configure(config: pytest.Config) -> None:
    """Under root, keep temporary files apart from those of other runs.

    The embedded server runs as an ordinary account then, and passes through folders that every
    start of pytest closes again.
    """
    if os.geteuid() == 0 and "PYTEST_DEBUG_TEMPROOT" not in os.environ:
        root = tempfile.mkdtemp(prefix="voicerag-tests-")
        patch = pytest.MonkeyPatch()
        patch.setenv("PYTEST_DEBUG_TEMPROOT", root)
        config.add_cleanup(patch.undo)
        config.add_cleanup(lambda: shutil.rmtree(root, ignore_errors=True))


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in one line what was not run, and why."""
    line = not_run(
        [report.longrepr for report in terminalreporter.stats.get("skipped", [])],
        len(terminalreporter.stats.get("deselected", [])),
        terminalreporter.config.option.markexpr,
    )
    if line:
        terminalreporter.write_line(line)


def not_run(skipped: list[object], deselected: int, selection: str) -> str:
    """Compose the line, the commonest reason first.

    Args:
        skipped: What each report of a skipped test says: file, line and reason.
        deselected: How many tests the selection left out.
        selection: The expression of ``-m``.
    """
    reasons = Counter(
        str(said[2]).removeprefix("Skipped: ").partition(": ")[0]
        for said in skipped
        if isinstance(said, tuple)
    )
    groups = [f"{count} ({reason})" for reason, count in reasons.most_common()]
    if deselected:
        groups.append(f"{deselected} (left out by -m {selection!r} or -k)")
    return f"skipped: {', '.join(groups)}" if groups else ""
