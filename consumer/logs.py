"""Logging on stderr: one line of text or of JSON per record."""

from __future__ import annotations

import logging
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from consumer.foreign import escaped, escaped_lines, json_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from consumer.config import Log

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

_STRANGERS: Final = ("asyncio", "uvicorn.error")
"""Loggers of libraries that write a line for each bad request or connection."""

_SELDOM: Final = 60.0


def configure_logging(log: Log) -> None:
    """Send all log records of the process to stderr, as configured."""
    send_log(log.level, JsonLines() if log.format == "json" else TextLines())
    # Per-request lines of the HTTP server are noise beside a scrape every few seconds.
    logging.getLogger("uvicorn.access").setLevel(logging.WARNING)
    for name in _STRANGERS:
        logging.getLogger(name).filters[:] = [Seldom()]


class Seldom(logging.Filter):
    """Lets each warning or error of a library pass once a minute, with how many there were.

    They are told apart by the first line of their text, before anything is put into it; of
    more different ones than a library has, the rest count as one.

    Args:
        clock: monotonic seconds.
    """

    _MOST: Final = 100

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._passed: dict[str, tuple[float, int]] = {}  # when, and how many did not since

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is to be written; those left out are added to the next."""
        if record.levelno < logging.WARNING:
            return True
        first = str(record.msg).partition("\n")[0]
        kind = first if first in self._passed or len(self._passed) < self._MOST else ""
        now = self._clock()
        passed_at, left_out = self._passed.get(kind, (now - _SELDOM, 0))
        if now - passed_at < _SELDOM:
            self._passed[kind] = (passed_at, left_out + 1)
            return False
        self._passed[kind] = (now, 0)
        if left_out:
            record.msg = f"{record.msg} ({left_out} more since the last such line)"
        return True


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
