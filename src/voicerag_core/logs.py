"""What programs report on standard error, as text or as one JSON object a line."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal, TextIO, TypeAlias

from voicerag_core import telemetry

__all__ = ["JsonFormatter", "LogFormat", "is_structured", "set_up_logs"]

LogFormat: TypeAlias = Literal["text", "json"]

_TEXT = "%(levelname)s %(name)s: %(message)s"

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""Attributes that every record has; others were given with it."""


class JsonFormatter(logging.Formatter):
    """A record as a JSON object on one line.

    Its fields: ``time`` (RFC 3339, UTC), ``level``, ``logger``, ``message``; ``error`` with type,
    message and traceback; ``trace_id`` and ``span_id`` inside a span of OpenTelemetry; and
    whatever was given as `extra`.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        moment = datetime.fromtimestamp(record.created, UTC)
        value: dict[str, object] = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info and record.exc_info[0] is not None:
            value["error"] = {
                "type": record.exc_info[0].__name__,
                "message": str(record.exc_info[1]),
                "traceback": self.formatException(record.exc_info),
            }
        ids = telemetry.current_ids()
        if ids is not None:
            value["trace_id"], value["span_id"] = ids
        value |= {name: given for name, given in vars(record).items() if name not in _OWN}
        return json.dumps(value, ensure_ascii=False, default=str)


def set_up_logs(form: LogFormat, level: str, *, stream: TextIO | None = None) -> None:
    """Let all loggers of this process write to standard error.

    Args:
        form: "text", or "json".
        level: Least level: "debug", "info", "warning" or "error".
        stream: In place of standard error.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else logging.Formatter(_TEXT))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def is_structured() -> bool:
    """Return whether the reports of this process are JSON."""
    return any(isinstance(handler.formatter, JsonFormatter) for handler in logging.root.handlers)
