"""What is known of one edge node."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oracle.arrivals import Message

KNOWN_GAPS = 16
DAY_US = 24 * 3600 * 1_000_000


@dataclass(eq=False)
class Declared:
    """A tag: one metric of one node or device with one datatype, as long as births repeat it."""

    device: str | None
    name: str
    datatype: int
    is_stale: bool = False
    last_id: str = ""  # event_id of its last present row
    read_at: int | None = None  # event_time of its last present value

    def is_newer_than(self, event_time: int) -> bool:
        """Whether a value that comes late was overtaken by the last one."""
        return self.read_at is not None and event_time <= self.read_at


@dataclass
class Scope:
    """The metrics one birth declared: those of the node itself, or of one device."""

    born: int  # grows with every birth
    sent_at: int | None = None  # the birth's payload timestamp
    greatest: int = 0  # event_time of its rows since the birth
    names: dict[str, Declared] = field(default_factory=dict)
    tags: list[Declared] = field(default_factory=list)
    aliases: dict[int, Declared] = field(default_factory=dict)
    before: dict[int, Declared] = field(default_factory=dict)  # aliases of the birth before
    birth: Message | None = None  # None: before a restart

    def behind_all_values(self, died_at: int, heard_at: int) -> int:
        """The time of a death that was heard then: later than that of any value."""
        return died_at if self.greatest > heard_at + DAY_US else max(died_at, self.greatest + 1)


class Trust(Enum):
    """Whether what is known of a born node can be believed, after others may have spoken."""

    CONFIRMED = auto()
    UNCONFIRMED = auto()  # the next message tells
    REFUTED = auto()  # it did not continue the seq: only an NBIRTH helps


@dataclass(eq=False)
class Held:
    """A message that waits for a birth, or the metrics of one that no birth declares."""

    message: Message
    reason: str
    waits_for: str | None  # the device whose birth it waits for; None: the NBIRTH
    since: float
    is_whole: bool = True

    @property
    def size(self) -> int:
        return len(self.message.arrival.payload)


@dataclass(eq=False)
class Waiting:
    """A message in the window, and when it came."""

    message: Message
    since: float


@dataclass(eq=False)
class Unborn:
    """What was alive in a session that ended unheard, and when that was."""

    scope: Scope
    since: float
    ended_at: int | None  # microseconds since 1970; None: before a restart


@dataclass(eq=False)
class Gap:
    """What did not come, or may not have come; None where that is not known."""

    reason: str
    first: int | None = None
    number: int | None = None
    missing: set[int] = field(default_factory=set)
    sessions: int = 0
    healing: str = "open"
    late: int = 0
    is_guessed: bool = False  # by a late message that nothing explained
    order: int = 0  # of the holes of one node


@dataclass(eq=False)
class Node:
    """An edge node, as one server delivers it."""

    group: str
    name: str
    scopes: dict[str | None, Scope] = field(default_factory=dict)
    declared_before: dict[str | None, Scope] = field(default_factory=dict)
    bd_seq: int | None = None
    last_sent: int = 0  # when the last message that was read in order was sent
    is_ignition: bool = False
    trust: Trust = Trust.CONFIRMED
    left_refuted: bool = False  # the connection was lost in that state
    expected_seq: int = 0
    window: list[Waiting] = field(default_factory=list)  # in order of arrival
    gaps: list[Gap] = field(default_factory=list)  # holes in seq that may be explained
    holes: int = 0  # how many gaps those were, since the start
    unhealed: list[Gap] = field(default_factory=list)  # all that a birth would heal
    received: int = 0
    read_lately: list[tuple[int, str, int, bytes]] = field(
        default_factory=list
    )  # batch, topic, seq, payload
    astray_since: float | None = None  # when the first late message came that nothing explains
    astray_distance: int = 0  # how far that was from the seq that was expected
    astray_seq: int = 0  # seq of the last of them
    held: list[Held] = field(default_factory=list)  # in the order in which they came to be held
    was_born: bool = False  # an NBIRTH was read at some time
    was_heard: bool = False  # before any NBIRTH, and since then none was read
    dead_bd_seq: int | None = None  # of the NDEATH that ended the session, or found none
    died_at: float = 0.0  # when that NDEATH was heard, monotonic seconds
    other_bd_seqs: set[int] = field(default_factory=set)  # of the session before, and its deaths
    ended_by: int | None = None  # bdSeq of the NDEATH that ended the session
    unborn: dict[str | None, Unborn] = field(default_factory=dict)
    last_birth: float = 0.0  # of the node or of any of its devices
    retired: set[tuple[str | None, str]] = field(default_factory=set)  # device and name
    late_birth: Held | None = None
    late_before: Held | None = None  # one of before a restart; it is among what is held
    is_whole: bool = True  # all that it publishes is seen

    @property
    def is_born(self) -> bool:
        return None in self.scopes

    def distance(self, message: Message) -> int:
        if not self.is_whole:
            return 0
        return (message.seq - self.expected_seq) % 256

    def by_alias(self, alias: int, device: str | None) -> Declared | None:
        """First in the message's own scope, then in the one that was born last."""
        own = self.scopes[device]
        if alias in own.aliases:
            return own.aliases[alias]
        for scope in sorted(self.scopes.values(), key=lambda scope: scope.born, reverse=True):
            if alias in scope.aliases:
                return scope.aliases[alias]
        return None
