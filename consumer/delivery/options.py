"""What a delivery can be told: limits of calls, waits and pauses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from consumer.delivery.calls import CallLimits
from consumer.log_budget import LogBudget

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses between attempts, in seconds: doubled each time, then shortened by chance.

    The n-th pause is between half of and all of `first * 2**(n - 1)`, at most `longest`.
    """

    first: float
    longest: float

    def pause(self, attempt: int, chance: Callable[[], float]) -> float:
        """The pause after the `attempt`-th failure in a row; `chance` gives 0 to 1."""
        full = min(self.longest, self.first * 2.0 ** min(attempt - 1, 32))
        return full * (0.5 + 0.5 * chance())


@dataclass(frozen=True, slots=True)
class DeliveryOptions:
    """How a table's delivery behaves. Times in seconds.

    Args:
        limits: most records and bytes of a call.
        max_delay: longest wait for a call to fill while others are in flight.
        max_inflight: most calls that wait for their acknowledgement.
        max_inflight_bytes: most record bytes that do.
        ack_timeout: without progress for this long the stream is given up.
        handover_bytes: row bytes of the table's newest batches that are kept in memory until all
            streams have had them.
        read_bytes: row bytes read from the spool at once when lagging.
        trim_interval: acknowledged batches leave the spool at most this often, unless they are
            many or room is short: a trim is a commit of its own.
        retry: pauses after failures that pass by themselves.
        blocked_retry: pauses after failures that do not.
        max_reconnects: streams opened per minute; beyond it each next one waits as
            long as after many failures, even if they made progress in between.
        log_interval: the same trouble is logged at most this often, until rows flow again.
        log_budget: says how many lines there are of each kind in any case.
        lone_refusal: so long refused records wait for one behind them that gets through,
            before they are taken for bad by themselves if they are few.
    """

    limits: CallLimits = field(default_factory=CallLimits)
    max_delay: float = 0.5
    max_inflight: int = 100
    max_inflight_bytes: int = 32 << 20
    ack_timeout: float = 60.0
    handover_bytes: int = 16 << 20
    read_bytes: int = 8 << 20
    trim_interval: float = 1.0
    retry: Backoff = Backoff(0.25, 30.0)
    blocked_retry: Backoff = Backoff(5.0, 300.0)
    max_reconnects: int = 30
    log_interval: float = 30.0
    log_budget: LogBudget = field(default_factory=LogBudget, compare=False)
    lone_refusal: float = 5.0
