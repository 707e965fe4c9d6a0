"""Faults that tests ask the server to show, changed while it runs.

A fault with `times` shows that many times and is then spent; `times=None` means
always, until `clear()`. Every method may be called from any thread.
"""

from __future__ import annotations

import enum
import math
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc

from zerobus_local.errors import LocalZerobusError, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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
class _Charge:
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
        if self.times is None:
            return True
        self.times -= 1
        return self.times >= 0


class Faults:
    """Faults that the server shows on purpose, set by tests; none at first."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._charges: dict[str, _Charge] = {}
        self._delays: dict[str, float] = {}
        self._max_request_bytes = MAX_REQUEST_BYTES
        self._expire: Callable[[], None] = lambda: None

    # What tests call.

    def fail_creation(
        self, code: grpc.StatusCode | str, text: str = "", *, times: int | None = 1
    ) -> None:
        """Answer stream creations with this status."""
        self._set("creation", _Charge(times, refusal=Refusal(_code(code), text)))

    def fail_stream(
        self,
        code: grpc.StatusCode | str,
        text: str = "",
        *,
        times: int | None = 1,
        at_offset: int = 0,
        abrupt: bool = False,
    ) -> None:
        """End a stream with this status when a request with offset >= `at_offset` arrives.

        That request is not landed. The ones before it are landed and acknowledged
        first; with `abrupt` the stream ends at once, as in a crash: they may land
        without acknowledgement, so the client sends them again.
        """
        refusal = Refusal(_code(code), text)
        self._set("stream", _Charge(times, at_offset=at_offset, refusal=refusal, abrupt=abrupt))

    def close_streams(self, seconds: float, *, times: int | None = 1, at_offset: int = 0) -> None:
        """Announce to a stream, when a request arrives, that it is closed after `seconds`."""
        self._set("close", _Charge(times, at_offset=at_offset, seconds=seconds))

    def time_out_streams(
        self, seconds: float = 0.0, *, times: int | None = 1, at_offset: int = 0
    ) -> None:
        """End a stream `seconds` after a request arrived, as the service does after 15 minutes.

        Without announcement, with UNAVAILABLE and error 6002; what was received by then is
        landed and acknowledged first.
        """
        self._set("timeout", _Charge(times, at_offset=at_offset, seconds=seconds))

    def acknowledge_beyond(self, by: int, *, times: int | None = 1) -> None:
        """Let acknowledgements say this many requests more than were received."""
        self._set("beyond", _Charge(times, beyond=by))

    def empty_acks(self, *, times: int | None = 1) -> None:
        """Let acknowledgements lack their offset."""
        self._set("empty", _Charge(times))

    def repeat_acks(self, *, times: int | None = None) -> None:
        """Let acknowledgements say what the one before them said, -1 if there was none."""
        self._set("repeat", _Charge(times))

    def drop_acks(self, *, times: int | None = None) -> None:
        """Commit, but keep acknowledgements back (a later one covers them)."""
        self._set("ack", _Charge(times))

    def fail_commits(self, *, times: int | None = 1, landed: bool = False) -> None:
        """Let attempts to commit fail, as a full disk would.

        With `landed` the rows get into the table before the failure, as when the
        connection to a store breaks before its answer.
        """
        self._set("commit", _Charge(times, landed=landed))

    def delay_creation(self, seconds: float) -> None:
        """Wait before a stream is created; `math.inf` until changed."""
        self._delay(CREATION, seconds)

    def delay_commits(self, seconds: float) -> None:
        """Wait before every commit; `math.inf` until changed."""
        self._delay(COMMIT, seconds)

    def delay_acks(self, seconds: float) -> None:
        """Wait between commit and acknowledgement; `math.inf` until changed."""
        self._delay(ACK, seconds)

    def limit_requests(self, max_bytes: int) -> None:
        """Refuse larger requests with INVALID_ARGUMENT (10 MiB unless told)."""
        with self._changed:
            self._max_request_bytes = max_bytes

    def reject_tokens(self, *, times: int | None = 1) -> None:
        """Answer stream creations UNAUTHENTICATED whatever their token."""
        self._set("token", _Charge(times))

    def expire_tokens(self) -> None:
        """Expire all tokens issued so far: new streams need new ones."""
        self._expire()

    def fail_oauth(self, status: int, *, times: int | None = 1) -> None:
        """Answer token requests with this HTTP status."""
        self._set("oauth", _Charge(times, status=status))

    def clear(self) -> None:
        """Forget all faults; what waits because of one goes on at once."""
        with self._changed:
            self._charges.clear()
            self._delays.clear()
            self._max_request_bytes = MAX_REQUEST_BYTES
            self._changed.notify_all()

    def apply(self, description: Mapping[str, Mapping[str, object]]) -> None:
        """Call methods by name: `{"fail_stream": {"code": "UNAVAILABLE", "at_offset": 3}}`.

        Raises:
            FaultError: an unknown fault, argument or status code.
        """
        for name, arguments in description.items():
            if name not in _BY_NAME:
                raise FaultError(f"Unknown fault {name!r}; known: {', '.join(sorted(_BY_NAME))}")
            try:
                _BY_NAME[name](self, **arguments)
            except TypeError as error:
                raise FaultError(f"{name}: {error}") from error

    # What the server asks.

    def on_expire(self, expire: Callable[[], None]) -> None:
        """Say what expires the tokens."""
        self._expire = expire

    def creation_failure(self) -> Refusal | None:
        """The status to refuse this creation with."""
        charge = self._take("creation")
        return charge.refusal if charge else None

    def stream_failure(self, offset: int) -> StreamFailure | None:
        """The end of the stream that has received `offset`."""
        charge = self._take("stream", offset)
        if charge is None or charge.refusal is None:
            return None
        return StreamFailure(charge.refusal, charge.abrupt)

    def closing(self, offset: int) -> float | None:
        """Seconds to announce to the stream that has received `offset`."""
        charge = self._take("close", offset)
        return charge.seconds if charge else None

    def timing_out(self, offset: int) -> float | None:
        """Seconds after which the stream that has received `offset` is ended."""
        charge = self._take("timeout", offset)
        return charge.seconds if charge else None

    def said_of(self, offset: int, before: int) -> int | None:
        """The offset that the acknowledgement of `offset` names, after one that named `before`.

        None: it names no offset.
        """
        if self._take("empty") is not None:
            return None
        if self._take("repeat") is not None:
            return before
        charge = self._take("beyond")
        return offset + charge.beyond if charge else offset

    def ack_dropped(self) -> bool:
        """Whether the next acknowledgement is kept back."""
        return self._take("ack") is not None

    def commit_failure(self) -> CommitFailure | None:
        """How the next attempt to commit fails; None if it does not."""
        charge = self._take("commit")
        if charge is None:
            return None
        return CommitFailure.AFTER if charge.landed else CommitFailure.BEFORE

    def token_rejected(self) -> bool:
        """Whether the next token that a client presents is refused."""
        return self._take("token") is not None

    def oauth_status(self) -> int | None:
        """The HTTP status to answer this token request with."""
        charge = self._take("oauth")
        return charge.status if charge else None

    @property
    def max_request_bytes(self) -> int:
        """The size above which a request is refused."""
        return self._max_request_bytes

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

    def _delay(self, point: str, seconds: float) -> None:
        if math.isnan(seconds) or seconds < 0:
            raise FaultError(f"A delay of {seconds} seconds")
        with self._changed:
            self._delays[point] = seconds
            self._changed.notify_all()

    def _set(self, name: str, charge: _Charge) -> None:
        times: object = charge.times  # over HTTP it may be anything
        if times is not None and not (isinstance(times, int) and times >= 1):
            raise FaultError(f"times is {times!r}, not a count or None")
        with self._changed:
            self._charges[name] = charge

    def _take(self, name: str, offset: int = 0) -> _Charge | None:
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


_BY_NAME: dict[str, Callable[..., None]] = {
    method.__name__: method
    for method in (
        Faults.fail_creation,
        Faults.fail_stream,
        Faults.close_streams,
        Faults.time_out_streams,
        Faults.acknowledge_beyond,
        Faults.empty_acks,
        Faults.repeat_acks,
        Faults.drop_acks,
        Faults.fail_commits,
        Faults.delay_creation,
        Faults.delay_commits,
        Faults.delay_acks,
        Faults.limit_requests,
        Faults.reject_tokens,
        Faults.expire_tokens,
        Faults.fail_oauth,
    )
}


def _code(code: grpc.StatusCode | str) -> grpc.StatusCode:
    if isinstance(code, grpc.StatusCode):
        return code
    try:
        return grpc.StatusCode[code]
    except KeyError:
        raise FaultError(f"Unknown gRPC status code {code!r}") from None
