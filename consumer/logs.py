"""Logging on stderr: one line of text or of JSON per record."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from consumer.foreign import escaped, escaped_lines, json_text

if TYPE_CHECKING:
    from consumer.config import Log

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def configure_logging(log: Log) -> None:
    """Send all log records of the process to stderr, as configured."""
    send_log(log.level, JsonLines() if log.format == "json" else TextLines())
    # Per-request lines of the HTTP server are noise beside a scrape every few seconds.
    logging.getLogger("uvicorn.access").setLevel(logging.WARNING)


def send_log(level: str, lines: logging.Formatter | None = None) -> None:
    """Send all log records of the process from a level on to stderr, as text unless told else."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(lines or TextLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class TextLines(logging.Formatter):
    """`time level text`; the logger's name is in JSON only.

    What others wrote (topics, texts of a service) begins no line of its own: a message is one
    line, and the lines of a traceback, which may quote others, are indented.
    """

    def format(self, record: logging.LogRecord) -> str:
        """One line, followed by a traceback if there is one."""
        text = escaped(record.getMessage())
        line = f"{_time(record)} {record.levelname.lower():7} {text}"
        if record.exc_info:
            line += "\n" + indented(self.formatException(record.exc_info))
        return line


class JsonLines(logging.Formatter):
    """A JSON object per line: time, level, logger, message, and the record's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON."""
        fields: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields.update((k, v) for k, v in vars(record).items() if k not in _STANDARD)
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json_text(fields)


def indented(traceback: str) -> str:
    """A traceback of which no line begins as a line of the log does."""
    return "\n".join(f"  {line}" for line in escaped_lines(traceback).split("\n"))
