"""What a drill is: what is asked for, its phases, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from consumer.errors import SparkplugZerobusError

if TYPE_CHECKING:
    from sparkplug import KeptHistory

MOST_SECONDS: Final = 120.0
"""Longest time for which a drill may keep the host offline, whatever clocks say."""
LEAST_SECONDS: Final = 1.0
MOST_WAIT: Final = 600.0


class DrillRefused(SparkplugZerobusError):  # noqa: N818 - an answer, said as operators say it
    """A drill cannot begin now. The text says why."""


class Phase(StrEnum):
    """What a drill does, in this order."""

    LISTENING = "listening"
    """Nothing has changed yet: who publishes, and how often?"""
    LEAVING = "leaving"
    """STATE is offline, or about to be; what is on its way is still read."""
    OFFLINE = "offline"
    """Nothing is connected."""
    RETURNING = "returning"
    """The servers may be connected again."""
    WAITING = "waiting"
    """STATE is online: who sends history?"""


class DrillWanted(NamedTuple):
    """Which drill is asked for.

    Args:
        servers: names of the MQTT servers that are left.
        seconds: for how long the host is offline there.
        wait: seconds after which it is judged at the latest what came.
        by: who asks.
    """

    servers: tuple[str, ...]
    seconds: float
    wait: float
    by: str


class DrillEnded(NamedTuple):
    """A drill that is over.

    Args:
        begun_ms: when it was asked for, which also names it; milliseconds since 1970 UTC.
        ended_ms: when it was over.
        outcome: `judged`; `ended` by somebody before the host went offline; `failed`.
        text: how it ended, for people.
        counts: edge nodes by verdict.
    """

    begun_ms: int
    ended_ms: int
    outcome: str
    text: str
    counts: dict[str, int]


@dataclass(slots=True)
class RunningDrill:
    """The drill that is on. It is changed by the decoding thread; others look, and ask for its end.

    Args:
        wanted: what was asked for.
        begun_ms: when, which also names it; milliseconds since 1970 UTC.
        ends: when its phase is over at the latest, monotonic seconds.
        phase: what it does.
        watches: looks at the fleets, by server.
        until_ms: until when the host is offline, by the clock of the machine.
        end_asked: somebody wants the host to be online again.
        waits_since: since when it is waited for history, monotonic seconds.
        judge_at: when it is looked next what came, monotonic seconds.
        counts: edge nodes by verdict, so far.
    """

    wanted: DrillWanted
    begun_ms: int
    ends: float
    phase: Phase = Phase.LISTENING
    watches: dict[str, KeptHistory] = field(default_factory=dict)
    until_ms: int | None = None
    end_asked: bool = False
    waits_since: float = 0.0
    judge_at: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def is_offline(self) -> bool:
        """Whether the drill keeps the host offline."""
        return self.phase in (Phase.LEAVING, Phase.OFFLINE)

    def kept(self, phase: str) -> dict[str, Any]:
        """What the spool keeps of it, for a run that goes on with it. JSON-compatible."""
        wanted = self.wanted
        return {
            "phase": phase,
            "begun_ms": self.begun_ms,
            "until_ms": self.until_ms,
            "servers": wanted.servers,
            "seconds": wanted.seconds,
            "wait": wanted.wait,
            "by": wanted.by,
            "before": {name: watch.before() for name, watch in self.watches.items()},
        }
