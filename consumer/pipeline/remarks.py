"""Reasons for which something was not read, or only with a remark: counted, and logged."""

from __future__ import annotations

import logging
import math
import threading
from typing import TYPE_CHECKING, Final, NamedTuple

from consumer.log_budget import Rate
from sparkplug import Reason

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Mapping

    from consumer.log_budget import LogBudget

_LOG = logging.getLogger(__name__)

_EACH_REASON: Final = Rate(1, 10.0)
_TELL_EVERY: Final = 1.0
_EXPECTED: Final = frozenset(
    {
        Reason.CERTIFICATE,
        Reason.COMMAND,
        Reason.HOST_STATE,
        Reason.RETAINED,
        Reason.REPEATED_BIRTH_VALUE,
    }
)
"""Reasons that are ordinary traffic: counted, not worth a warning."""


class _Noted(NamedTuple):
    """How often a reason of a server occurred that was not said yet, with an example."""

    times: int = 0
    example: str = ""

    def with_more(self, count: int, example: str) -> _Noted:
        return _Noted(self.times + count, example or self.example)


_NOTHING: Final = _Noted()


class Remarks:
    """Counts reasons, and logs each of a server at most every ten seconds. Thread-safe.

    Args:
        count: counts how often a reason occurred; called with the reason and a number.
        budget: that of the log.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        count: Callable[[str, int], None],
        budget: LogBudget,
        clock: Callable[[], float],
    ) -> None:
        self._count = count
        self._budget = budget
        self._clock = clock
        self._lock = threading.Lock()
        self._untold: dict[tuple[str, str], _Noted] = {}
        self._tell_at = -math.inf

    def note_all(
        self, counts: Counter[Reason], server: str, examples: Mapping[Reason, str]
    ) -> None:
        """Reasons of a batch, with a topic or edge node where one is known.

        Each reason of a server is logged at most every ten seconds.
        """
        for reason, count in counts.items():
            self.note(str(reason), count, server, examples.get(reason, ""))

    def count(self, reason: str, count: int) -> None:
        """Count how often a reason occurred that somebody else logs."""
        if count:
            self._count(reason, count)

    def note(self, reason: str, count: int, server: str, example: str = "") -> None:
        """Count how often a reason occurred; `example` is a topic or an edge node of it."""
        with self._lock:
            self._count(reason, count)
            if reason in _EXPECTED:
                return
            key = (reason, server)
            noted = self._untold.pop(key, _NOTHING).with_more(count, example)
            if not self._budget.is_due(reason, server, _EACH_REASON):
                self._untold[key] = noted
                return
        _log(reason, server, noted)

    def tell(self, *, at_once: bool = False) -> None:
        """Log what was put off, if it is time: call it now and then, also when nothing occurs.

        `at_once`: at the end, whether it is time or not.
        """
        self._budget.tell(at_once=at_once)
        if not self._untold or (self._clock() < self._tell_at and not at_once):
            return
        with self._lock:
            self._tell_at = self._clock() + _TELL_EVERY
            due = [
                key for key in self._untold if at_once or self._budget.is_due(*key, _EACH_REASON)
            ]
            told = [(key, self._untold.pop(key)) for key in due]
        for (reason, server), noted in told:
            _log(reason, server, noted)


def _log(reason: str, server: str, noted: _Noted) -> None:
    _LOG.warning(
        "%s: %d from %s%s",
        reason,
        noted.times,
        server,
        f", for example on {noted.example}" if noted.example else "",
        extra={"reason": reason, "count": noted.times, "server": server},
    )
