"""How a stream is: its state, the first cause of what went wrong, and the pause it deserves.

Each change of state is logged once, with its reason; the same trouble again only from time
to time.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from consumer.delivery.stats import StreamState
from consumer.errors import FailureKind
from consumer.sinks import mend

if TYPE_CHECKING:
    from collections.abc import Callable

    from consumer.delivery.options import DeliveryOptions
    from consumer.delivery.stats import DeliveryStats
    from consumer.errors import SinkFailure

_LOG = logging.getLogger("consumer.delivery")

_CHURN_SECONDS: Final = 60.0
# What another attempt cannot cure by itself: wait longer, and say that it is blocked.
_BLOCKING: Final = frozenset(
    {
        FailureKind.CONTRACT,
        FailureKind.POISON,
        FailureKind.PERMANENT,
        FailureKind.TOO_LARGE,
    }
)
_OF_RECORDS: Final = frozenset({"poison", "search", "set_aside"})
"""Trouble that a single record makes."""
_LEVELS: Final = {
    StreamState.BACKING_OFF: logging.WARNING,
    StreamState.BLOCKED: logging.ERROR,
}


class StreamHealth:
    """The state of one stream. Owned by the thread that sends; no I/O but the log.

    Args:
        table: `catalog.schema.table`.
        name: the stream in words: the table, and which of its streams it is.
        options: pauses and limits.
        clock: monotonic seconds.
        chance: random numbers from 0 to 1, for the pauses.
        stats: of the stream; state, generation, failures and their cause are written here.

    Attributes:
        name: as given.
        probing: whether something had to be mended, and no row got through since.
    """

    def __init__(
        self,
        table: str,
        name: str,
        options: DeliveryOptions,
        clock: Callable[[], float],
        chance: Callable[[], float],
        *,
        stats: DeliveryStats,
    ) -> None:
        self.name = name
        self.probing = False
        self._stats = stats
        self._table = table
        self._options = options
        self._clock = clock
        self._chance = chance
        self._attempt = 0
        self._refused_tokens = 0
        self._blocked = False  # the last failure since progress was of that sort
        self._cause_blocks = False
        self._opened: deque[float] = deque(maxlen=options.max_reconnects)
        self._logged_at: dict[str, float] = {}

    @property
    def opened_at(self) -> float:
        """When the present stream, or the last one, was opened; monotonic seconds."""
        return self._opened[-1] if self._opened else self._clock()

    def connecting(self) -> None:
        """A stream is being opened."""
        self._stats.state = StreamState.CONNECTING

    def opened(self, generation: int, *, rows_wait: bool) -> None:
        """A stream is open.

        After something had to be mended this proves little: a few records have to get
        through first, if there are any.
        """
        if self._stats.generation:
            self._stats.reconnects += 1
        self._stats.generation = generation
        self._stats.last_acked_offset = -1
        self._opened.append(self._clock())
        probes = self.probing and rows_wait
        self._stats.state = StreamState.PROBING if probes else StreamState.OPENED
        self._say(
            "opened",
            logging.INFO,
            "stream to %s opened (generation %d)%s",
            self.name,
            generation,
            f", PROBING: a few records first, after: {self._stats.cause}" if probes else "",
        )

    def progressed(self) -> None:
        """Rows were acknowledged."""
        stats = self._stats
        if stats.cause is not None:
            before, stats.state = stats.state, StreamState.OPENED
            self._say(
                "works_again",
                logging.INFO,
                "delivery to %s works again (%s), after: %s",
                self.name,
                "OPENED" if before is stats.state else f"{before} -> OPENED",
                stats.cause,
            )
        self.probing = self._blocked = self._cause_blocks = False
        self._attempt = self._refused_tokens = 0
        stats.cause = stats.cause_kind = None
        stats.mend = ""
        self._logged_at.clear()

    def rotated(self) -> None:
        """The service ended the stream in order."""
        self._stats.rotations += 1
        self._say(
            "rotated",
            logging.INFO,
            "the service ended the stream to %s in order, opening the next",
            self.name,
        )

    def refused(self) -> None:
        """Count a stream that ended because of a bad record, which is searched.

        It is no failure, and no churn: that it was opened is forgotten.
        """
        self._stats.poison_probes += 1
        self.searched()

    def searched(self) -> None:
        """Forget that the last stream was opened: spent on a search, it is no churn."""
        if self._opened:
            self._opened.pop()

    def failed(self, failure: SinkFailure) -> None:
        """Something went wrong; `pause` says how long to wait then."""
        stats, kind = self._stats, failure.kind
        if kind is FailureKind.AUTHENTICATION:
            self._refused_tokens += 1
        blocked = kind in _BLOCKING or self._refused_tokens > 1
        stats.failures += 1
        of_kind = stats.failures_by_kind.get(kind, 0) + 1
        stats.failures_by_kind = {**stats.failures_by_kind, kind: of_kind}
        # Pauses of the other sort begin with the shortest.
        self._attempt = self._attempt + 1 if blocked is self._blocked else 1
        self._blocked = blocked
        says_nothing = stats.cause_kind in (None, FailureKind.ENDED)
        blocks_now = blocked and not self._cause_blocks and kind is not stats.cause_kind
        if says_nothing or blocks_now:
            stats.cause, stats.cause_kind = str(failure), kind
            stats.mend = mend(kind, stats.cause)
        self._cause_blocks = self._cause_blocks or blocked
        self.probing = self.probing or blocked
        before = stats.state
        stats.state = StreamState.BLOCKED if blocked else StreamState.BACKING_OFF
        advice = mend(kind, str(failure))
        self.warn(
            f"{stats.state}_{kind}".lower(),
            "delivery to %s failed (%s, attempt %d, %s -> %s), rows stay spooled: %s%s",
            self.name,
            kind.value,
            self._attempt,
            before,
            stats.state,
            failure,
            f"; to mend it: {advice}" if advice else "",
            level=_LEVELS[stats.state],
        )

    def pause(self) -> float:
        """Seconds to wait before the next stream is opened."""
        pause = 0.0
        if self._attempt:
            blocked = self._stats.state is StreamState.BLOCKED
            backoff = self._options.blocked_retry if blocked else self._options.retry
            pause = backoff.pause(self._attempt, self._chance)
        opened = self._opened
        if len(opened) == opened.maxlen and self._clock() - opened[0] < _CHURN_SECONDS:
            pause = max(pause, self._options.retry.pause(32, self._chance))
            if self._stats.state is not StreamState.BLOCKED:
                self._stats.state = StreamState.BACKING_OFF
            self.warn(
                "churn",
                "%d streams to %s within a minute, %s for %.0f s",
                len(opened),
                self.name,
                self._stats.state,
                pause,
            )
        return pause

    def closed(self) -> None:
        """Nothing is sent any more."""
        if self._stats.state is not StreamState.CLOSED:
            text = "stream to %s: %s -> CLOSED, stopped"
            self._say("closed", logging.INFO, text, self.name, self._stats.state)
        self._stats.state = StreamState.CLOSED

    def warn(self, key: str, text: str, *values: object, level: int = logging.WARNING) -> None:
        """Log trouble; the same `key` again at most once per `log_interval`."""
        now = self._clock()
        logged_at = self._logged_at.get(key)
        if logged_at is None or now - logged_at >= self._options.log_interval:
            self._logged_at[key] = now
            self._say(key, level, text, *values)

    def _say(self, key: str, level: int, text: str, *values: Any) -> None:
        """Log a line, if there are not too many with that key.

        A record that is refused costs some streams, and may be the work of whoever publishes.
        """
        if not _LOG.isEnabledFor(level):
            return
        ours = key not in _OF_RECORDS
        if not self._options.log_budget.allows(f"delivery_{key}", self.name, ours=ours):
            return
        _LOG.log(
            level,
            text,
            *values,
            extra={
                "table": self._table,
                "stream_state": self._stats.state.value,
                "generation": self._stats.generation,
                "failures": self._stats.failures,
            },
        )
