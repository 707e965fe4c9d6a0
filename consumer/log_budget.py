"""The budget of the log: whoever may publish, connect or refuse does not decide how long it gets.

Everything that others may cause as often as they like (an alarm, a rebirth request, a message that
cannot be read, a row that is refused, a connection that ends) asks here before it is logged.
The first of each kind is said at once, with what, where and how to mend it; of many some, and how
many lines were left out of which kind. Faults of our own have a budget by kind, too, but wait for
nobody: only what others cause shares the bound of all kinds together.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

_LOG = logging.getLogger(__name__)


class Rate(NamedTuple):
    """A rate of lines: `burst` of them at once, and after them one in so many `seconds`."""

    burst: int
    seconds: float


EACH_KIND: Final = Rate(10, 10.0)
"""Lines of one kind, about one server, stream or table."""

ONCE_A_MINUTE: Final = Rate(1, 60.0)
"""Rate of lines that say themselves how much there was since the last one."""

ALL_KINDS: Final = Rate(30, 1 / 20)
"""Lines of all kinds together that others cause: so at most 50 in any second."""

TELL_EVERY: Final = 10.0
"""Seconds after which it is said what was left out."""

_FOR_NEWS: Final = 10
"""Lines of `ALL_KINDS` that are kept for kinds that have said nothing for long."""

_MOST_KINDS: Final = 10_000
_ROUNDING: Final = 1e-6
_REST: Final = "others"
_MOST_TOLD: Final = 20


class LogBudget:
    """Says what may be logged now, and counts what may not. Thread-safe; bounded memory.

    Kinds, and what they are `of`, are named by the program and its configuration, never by whoever
    publishes.

    Args:
        clock: monotonic seconds.

    Attributes:
        left_out: lines that were not logged since the start, by kind.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.left_out: Counter[str] = Counter()
        self._clock = clock
        self._lock = threading.Lock()
        self._all = _Quota(ALL_KINDS)
        self._kinds: dict[tuple[str, str], _Quota] = {}
        self._untold: Counter[tuple[str, str]] = Counter()
        self._untold_since = 0.0

    def allows(
        self, kind: str, of: str = "", rate: Rate = EACH_KIND, *, ours: bool = False
    ) -> bool:
        """Whether a line of a kind is to be logged now; if not, it is counted as left out.

        Args:
            kind: of which the lines are; also a label of the metric.
            of: which server, stream or table; each has a budget of its own.
            rate: of the kind; always the same for one kind.
            ours: a fault of our own, which does not wait for what others cause.
        """
        with self._lock:
            is_allowed = self._take(kind, of, rate, ours=ours)
            if not is_allowed:
                self.left_out[kind] += 1
                if not self._untold:
                    self._untold_since = self._clock()
                self._untold[kind, of] += 1
        if is_allowed:
            self.tell()
        return is_allowed

    def is_due(self, kind: str, of: str = "", rate: Rate = EACH_KIND) -> bool:
        """Whether a line of a kind is to be logged now; if not, nothing is counted as left out.

        For a caller that says later what it does not say now.

        Args:
            kind: of which the lines are.
            of: which server, stream or table; each has a budget of its own.
            rate: of the kind; always the same for one kind.
        """
        with self._lock:
            return self._take(kind, of, rate, ours=False)

    def tell(self, *, at_once: bool = False) -> None:
        """Say what was left out, some seconds after the first of it.

        Call it now and then, for it is said before the next line otherwise.
        """
        if not self._untold:
            return
        with self._lock:
            now = self._clock()
            if not self._untold or (not at_once and now - self._untold_since < TELL_EVERY):
                return
            untold, self._untold = self._untold, Counter()
            seconds = now - self._untold_since
        told = untold.most_common(_MOST_TOLD)
        rest = untold.total() - sum(count for _, count in told)
        parts = [f"{count} {kind}{f' of {of}' if of else ''}" for (kind, of), count in told]
        _LOG.warning(
            "%d lines were left out of the log in %.0f s, because there were too many like them: "
            "%s (counted in the metric log_lines_left_out_total)",
            untold.total(),
            seconds,
            ", ".join(parts + ([f"{rest} of other kinds"] if rest else [])),
            extra={"left_out": untold.total()},
        )

    def _take(self, kind: str, of: str, rate: Rate, *, ours: bool) -> bool:
        now = self._clock()
        key = (kind, of)
        quota = self._kinds.get(key)
        if quota is None:
            if len(self._kinds) >= _MOST_KINDS:
                key = (_REST, "")
            quota = self._kinds.setdefault(key, _Quota(rate))
        if not quota.has_room(now):
            return False
        if not ours:
            if not self._all.has_room(now, but=0 if quota.is_full(now) else _FOR_NEWS):
                return False
            self._all.spend(now)
        quota.spend(now)
        return True


class _Quota:
    """The budget of one kind of lines: those that were logged are paid for until some moment."""

    __slots__ = ("_paid_at", "_rate")

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._paid_at = -math.inf

    def is_full(self, now: float) -> bool:
        """Whether the whole burst is left, since nothing was logged lately."""
        return self._paid_at <= now

    def has_room(self, now: float, but: int = 0) -> bool:
        """Whether a line may be logged so that `but` others may be as well."""
        ahead = (self._rate.burst - 1 - but) * self._rate.seconds
        return self._paid_at - now <= ahead + _ROUNDING

    def spend(self, now: float) -> None:
        """Count a line that is logged."""
        self._paid_at = max(self._paid_at, now) + self._rate.seconds
