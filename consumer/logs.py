"""Logging on stderr: one line of text or of JSON per record."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from consumer.foreign import escaped, escaped_lines, json_text
from consumer.log_budget import ONCE_A_MINUTE, LogBudget

if TYPE_CHECKING:
    from consumer.config import Log

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

_MOST_CHARACTERS: Final = 4_000
"""Bound of a message, and of each field, of a log line; a topic may have 65,535 bytes."""
_MOST_OF_TRACEBACK: Final = 20_000

_STRANGERS: Final = ("asyncio", "uvicorn.error")
"""Loggers of libraries that write a line for each bad request or connection."""


def configure_logging(log: Log, budget: LogBudget | None = None) -> None:
    """Send all log records of the process to stderr, as configured.

    `budget` is what the consumer has for lines that others cause.
    """
    send_log(log.level, JsonLines() if log.format == "json" else TextLines())
    # Per-request lines of the HTTP server are noise beside a scrape every few seconds.
    logging.getLogger("uvicorn.access").setLevel(logging.WARNING)
    seldom = Seldom(budget or LogBudget())
    for name in _STRANGERS:
        logging.getLogger(name).filters[:] = [seldom]


class Seldom(logging.Filter):
    """Lets each warning or error of a library pass once a minute; the budget tells of the others.

    They are told apart by the first line of their text, before anything is put into it; of
    more different ones than a library has, the rest count as one.
    """

    _MOST: Final = 100
    _MOST_CHARACTERS: Final = 80

    def __init__(self, budget: LogBudget) -> None:
        super().__init__()
        self._budget = budget
        self._known: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is to be written: any below a warning, others within the budget."""
        if record.levelno < logging.WARNING:
            return True
        text = str(record.msg).partition("\n")[0][: self._MOST_CHARACTERS]
        if text not in self._known:
            if len(self._known) >= self._MOST:
                text = ""
            self._known.add(text)
        return self._budget.allows(record.name, text, ONCE_A_MINUTE)


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
        text = escaped(_cut(record.getMessage()))
        line = f"{_time(record)} {record.levelname.lower():7} {text}"
        if record.exc_info:
            line += "\n" + indented(_traceback(self, record))
        return line


class JsonLines(logging.Formatter):
    """A JSON object per line: time, level, logger, message, and the record's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON."""
        fields: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _cut(record.getMessage()),
        }
        own = ((k, v) for k, v in vars(record).items() if k not in _STANDARD)
        fields.update((k, _cut(v) if isinstance(v, str) else v) for k, v in own)
        if record.exc_info:
            fields["exception"] = _traceback(self, record)
        return json_text(fields)


def _cut(text: str, most: int = _MOST_CHARACTERS) -> str:
    """The text, or its beginning and how much is missing."""
    if len(text) <= most:
        return text
    return f"{text[:most]} ... ({len(text) - most} characters more)"


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    assert record.exc_info
    return _cut(formatter.formatException(record.exc_info), _MOST_OF_TRACEBACK)


def indented(traceback: str) -> str:
    """A traceback of which no line begins as a line of the log does."""
    return "\n".join(f"  {line}" for line in escaped_lines(traceback).split("\n"))
