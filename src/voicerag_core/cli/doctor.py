"""``voicerag doctor``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from typing import Annotated

import typer

from voicerag_core.cli.checks import (
    Finding,
    audio_devices,
    disk,
    glm,
    licences,
    packages,
    program,
    sonar,
    weights,
)
from voicerag_core.cli.command import EXIT_FAULT, GlobalOptions
from voicerag_core.cli.models import calls, chosen_parts
from voicerag_core.cli.output import show_json
from voicerag_core.cli.question import JsonOutput
from voicerag_core.errors import VoiceRAGError

__all__ = ["doctor"]

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


def doctor(
    given: GlobalOptions,
    *,
    json_output: JsonOutput = False,
    call: Annotated[
        bool, typer.Option("--calls/--no-calls", help="Load each model, and call it once.")
    ] = True,
) -> None:
    """Check what runs here, and print what to do about each problem.

    Checks versions, the models and where they run, weight files and their licences, the database,
    disk space and sound devices. The exit code is 1 if a check failed; warnings do not count.
    Nothing is changed, but an existing embedded database is started to check it, and each model is
    called once.
    """
    findings = []
    for finding in _findings(given, call=call):
        findings.append(finding)
        if not json_output:
            _show(finding)
    failed = any(finding.state == "fail" for finding in findings)
    if json_output:
        show_json({"ok": not failed, "findings": [asdict(finding) for finding in findings]})
    if failed:
        raise typer.Exit(EXIT_FAULT)


def _findings(given: GlobalOptions, *, call: bool) -> Iterator[Finding]:
    from voicerag_core.cli.database import findings as database

    try:
        settings = given.settings()
    except VoiceRAGError as error:
        yield Finding("settings", "fail", str(error), "correct the named option or variable")
        yield from packages()
        return
    yield from _guarded("program", lambda: program(settings))
    yield from _guarded("models", lambda: chosen_parts(settings))
    if call:
        yield from _guarded("models", lambda: calls(settings))
    yield from _guarded("packages", packages)
    yield from _guarded("weights", lambda: weights(settings))
    yield from _guarded("glm", lambda: glm(settings))
    yield from _guarded("sonar", lambda: sonar(settings))
    yield from _guarded("licences", licences)
    yield from _guarded("database", lambda: database(settings))
    yield from _guarded("disk", lambda: disk(settings))
    yield from _guarded("audio", audio_devices)


def _guarded(area: str, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """Turn an exception of a check into a finding, so that the other checks still run."""
    try:
        yield from look()
    except VoiceRAGError as error:
        yield Finding(area, "fail", str(error), "see the message")
    except Exception as error:  # noqa: BLE001 - a doctor survives what it finds
        yield Finding(area, "fail", f"{type(error).__name__}: {error}", "report it with this text")


def _show(finding: Finding) -> None:
    mark = typer.style(f"{finding.state:<4}", fg=_COLOURS[finding.state])
    typer.echo(f"{mark}  {finding.area:<15} {finding.text}")
    if finding.cure:
        typer.echo(f"{'':22}to do: {finding.cure}")
