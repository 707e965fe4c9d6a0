"""Faults that are due: what the server asks before it does something, and what it has to show."""

from __future__ import annotations

import enum
import math
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zerobus_local.errors import LocalZerobusError, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

CREATION = "creation"
COMMIT = "commit"
ACK = "ack"

MAX_REQUEST_BYTES = 10 * 1024 * 1024
"""The largest request the service takes."""


class FaultError(LocalZerobusError):
    """A fault was described in words that are not known."""


@dataclass(frozen=True, slots=True)
class StreamFailure:
    """The end that a fault gives to a stream.

    Attributes:
        refusal: the status.
        abrupt: true to end at once: what was received before may still land, but
            is not acknowledged; false to land and acknowledge it first.
    """

    refusal: Refusal
    abrupt: bool


class CommitFailure(enum.Enum):
    """Moments at which a commit that is to fail does so."""

    BEFORE = "before the rows land"
    AFTER = "after the rows have landed"


@dataclass(slots=True)
class Charge:
    """A fault that is to show: `times` is how often it still does, None is always."""

    times: int | None
    at_offset: int = 0
    refusal: Refusal | None = None
    status: int = 0
    abrupt: bool = False
    seconds: float = 0.0
    landed: bool = False
    beyond: int = 0

    def spend(self) -> bool:
        """Show once more; returns whether it still does."""
        if self.times is None:
            return True
        self.times -= 1
        return self.times >= 0


class Charges:
    """Faults that are to show, by name, and delays by the point where they are. Thread-safe.

    Attributes:
        max_request_bytes: the size above which a request is refused.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._charges: dict[str, Charge] = {}
        self._delays: dict[str, float] = {}
        self.max_request_bytes = MAX_REQUEST_BYTES

    def set(self, name: str, charge: Charge) -> None:
        """Let a fault show from now on.

        Raises:
            FaultError: `times` is no count.
        """
        times: object = charge.times  # over HTTP it may be anything
        if times is not None and not (isinstance(times, int) and times >= 1):
            raise FaultError(f"times is {times!r}, not a count or None")
        with self._changed:
            self._charges[name] = charge

    def spend(self, name: str, offset: int = 0) -> Charge | None:
        """The fault of this name if it shows now, at a request of this offset; it is spent."""
        if name not in self._charges:  # the common case takes no lock
            return None
        with self._changed:
            charge = self._charges.get(name)
            if charge is None or offset < charge.at_offset:
                return None
            if charge.spend():
                return charge
            del self._charges[name]
            return None

    def delay(self, point: str, seconds: float) -> None:
        """Let everything wait at a point for so long; `math.inf` until changed.

        Raises:
            FaultError: that is no delay.
        """
        if math.isnan(seconds) or seconds < 0:
            raise FaultError(f"A delay of {seconds} seconds")
        with self._changed:
            self._delays[point] = seconds
            self._changed.notify_all()

    def wait(self, point: str, given_up: Callable[[], bool]) -> None:
        """Wait at `point` as long as a delay asks, or until `given_up()`.

        Looks at `given_up` ten times a second, so that a closed stream ends its wait.
        """
        if point not in self._delays:
            return
        start = time.monotonic()
        with self._changed:
            while not given_up():
                left = start + self._delays.get(point, 0.0) - time.monotonic()
                if left <= 0:
                    return
                self._changed.wait(min(left, 0.1))

    def clear(self) -> None:
        """Forget all faults; what waits because of one goes on at once."""
        with self._changed:
            self._charges.clear()
            self._delays.clear()
            self.max_request_bytes = MAX_REQUEST_BYTES
            self._changed.notify_all()


class DueFaults:
    """What the server asks: whether a fault shows now. Asking spends it. Thread-safe."""

    def __init__(self, charges: Charges) -> None:
        self._charges = charges

    def creation_failure(self) -> Refusal | None:
        """The status to refuse this creation with."""
        charge = self._charges.spend("creation")
        return charge.refusal if charge else None

    def stream_failure(self, offset: int) -> StreamFailure | None:
        """The end of the stream that has received `offset`."""
        charge = self._charges.spend("stream", offset)
        if charge is None or charge.refusal is None:
            return None
        return StreamFailure(charge.refusal, charge.abrupt)

    def closing(self, offset: int) -> float | None:
        """Seconds to announce to the stream that has received `offset`."""
        charge = self._charges.spend("close", offset)
        return charge.seconds if charge else None

    def timing_out(self, offset: int) -> float | None:
        """Seconds after which the stream that has received `offset` is ended."""
        charge = self._charges.spend("timeout", offset)
        return charge.seconds if charge else None

    def said_of(self, offset: int, before: int) -> int | None:
        """The offset that the acknowledgement of `offset` names, after one that named `before`.

        None: it names no offset.
        """
        if self._charges.spend("empty") is not None:
            return None
        if self._charges.spend("repeat") is not None:
            return before
        charge = self._charges.spend("beyond")
        return offset + charge.beyond if charge else offset

    def ack_dropped(self) -> bool:
        """Whether the next acknowledgement is kept back."""
        return self._charges.spend("ack") is not None

    def commit_failure(self) -> CommitFailure | None:
        """How the next attempt to commit fails; None if it does not."""
        charge = self._charges.spend("commit")
        if charge is None:
            return None
        return CommitFailure.AFTER if charge.landed else CommitFailure.BEFORE

    def token_rejected(self) -> bool:
        """Whether the next token that a client presents is refused."""
        return self._charges.spend("token") is not None

    def oauth_status(self) -> int | None:
        """The HTTP status to answer this token request with."""
        charge = self._charges.spend("oauth")
        return charge.status if charge else None

    @property
    def max_request_bytes(self) -> int:
        """The size above which a request is refused."""
        return self._charges.max_request_bytes

    def wait(self, point: str, given_up: Callable[[], bool]) -> None:
        """Wait at `point` as long as a delay asks, or until `given_up()`."""
        self._charges.wait(point, given_up)
