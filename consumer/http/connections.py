"""The bound on HTTP connections: how many are open, which one goes for another, and until when.

Whoever can reach the port may connect as often as he likes, and say nothing. Each connection
takes a descriptor, of which MQTT, the spool and Zerobus need some as well.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import logging
import resource
import socket
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

from uvicorn.protocols.http.h11_impl import H11Protocol

from consumer.log_budget import ONCE_A_MINUTE, LogBudget

if TYPE_CHECKING:
    import asyncio

_LOG = logging.getLogger(__name__)

STREAM_PATH: Final = "/api/stream"
"""Its answer has no end."""

_MOST_CONNECTIONS: Final = 200
_PART_OF_DESCRIPTORS: Final = 4
_LEAVING_SECONDS: Final = 1.0
_OUT_OF_DESCRIPTORS: Final = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}  # those that asyncio pauses for
)


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Bounds of what HTTP clients may take. Times in seconds.

    Args:
        connections: most that are open at once.
        request_seconds: from the connection, or from the last answer, until the head of a
            request is complete.
        answer_seconds: from the complete head of a request until the answer is given away.
    """

    connections: int = _MOST_CONNECTIONS
    request_seconds: float = 10.0
    answer_seconds: float = 30.0

    @classmethod
    def of_process(cls) -> ConnectionLimits:
        """Limits with at most a quarter of the descriptors that the process may have."""
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if descriptors == resource.RLIM_INFINITY:
            return cls()
        return cls(max(1, min(_MOST_CONNECTIONS, descriptors // _PART_OF_DESCRIPTORS)))


class Closed(enum.StrEnum):
    """Why the server closed a connection, or did not take it."""

    TIMEOUT = "timeout"
    """No request came in time, or its answer was not ready and read in time."""
    MADE_ROOM = "made_room"
    """There were too many connections, and it had waited longest for its client."""
    REFUSED = "refused"
    """There were too many connections, and the requests of all were being answered."""
    NO_DESCRIPTOR = "no_descriptor"
    """The process, or the machine, had no descriptor left for the connection."""


class Connections:
    """The open connections of one server. Used on its event loop; others only read.

    Args:
        limits: what clients may take.
        budget: says how often it is logged that there are too many.
        is_secure: they speak TLS, and may take their time until they have shaken hands.
    """

    def __init__(
        self, limits: ConnectionLimits, budget: LogBudget | None = None, *, is_secure: bool = False
    ) -> None:
        self.limits = limits
        self.is_secure = is_secure
        self._greeting: dict[int, socket.socket] = {}  # by descriptor, longest first
        # Weakly: asyncio leaves one that it cannot serve to the garbage.
        self.sockets: WeakSet[socket.socket] = WeakSet()
        self.closed = Counter(dict.fromkeys(Closed, 0))
        self._budget = budget or LogBudget()
        self._waiting: dict[HttpConnection, None] = {}  # for their clients, longest first
        self._working: set[HttpConnection] = set()  # their requests are being answered
        self._untold: Counter[Closed] = Counter()

    def greets(self, accepted: socket.socket) -> None:
        """Note that a client is to shake hands."""
        if self.is_secure:
            self._greeting[accepted.fileno()] = accepted

    def greeted(self, descriptor: int) -> None:
        """Note that a client has shaken hands, or is gone."""
        self._greeting.pop(descriptor, None)

    def waits(self, connection: HttpConnection) -> None:
        """Note that a connection waits for its client."""
        self.ended(connection)
        self._waiting[connection] = None

    def works(self, connection: HttpConnection) -> None:
        """Note that a request of a connection is being answered."""
        self.ended(connection)
        self._working.add(connection)

    def ended(self, connection: HttpConnection) -> None:
        """Note that a connection has ended, or is about to."""
        self._waiting.pop(connection, None)
        self._working.discard(connection)

    @property
    def open(self) -> int:
        """Connections that have a descriptor."""
        return len(self.sockets)

    @property
    def in_between(self) -> int:
        """Connections that were just accepted, or are about to be closed."""
        return self.open - len(self._waiting) - len(self._working) - len(self._greeting)

    def make_room(self) -> bool:
        """End the connection that has waited longest for its client; False if none waits.

        Of those that most are of: some have shaken hands, some have not.
        """
        if len(self._greeting) > len(self._waiting):
            accepted = next(iter(self._greeting.values()))
            self.greeted(accepted.fileno())
            with contextlib.suppress(OSError):  # it is gone already
                accepted.shutdown(socket.SHUT_RDWR)
            self.note(Closed.MADE_ROOM)
            return True
        if not self._waiting:
            return False
        connection = next(iter(self._waiting))
        self.ended(connection)
        connection.transport.abort()
        self.note(Closed.MADE_ROOM)
        return True

    def note(self, why: Closed) -> None:
        """Count a connection that was closed or not taken, and say now and then how many."""
        self.closed[why] += 1
        if why is Closed.TIMEOUT:  # browsers connect for later, too
            return
        self._untold[why] += 1
        if not self._budget.is_due("http_connections", rate=ONCE_A_MINUTE):
            return
        told = dict(self._untold)
        self._untold.clear()
        _LOG.warning(
            "too many HTTP connections, %d are open and at most %d may be: %d that waited were "
            "closed for others, %d were refused, %d times there was no descriptor; see who "
            "connects to http.listen, and let only those reach it who need it",
            self.open,
            self.limits.connections,
            told.get(Closed.MADE_ROOM, 0),
            told.get(Closed.REFUSED, 0),
            told.get(Closed.NO_DESCRIPTOR, 0),
            extra={"closed": told},
        )


class Listener(socket.socket):
    """A listening socket that hands out no more connections than may be open.

    asyncio accepts as long as it is given connections, and one without a descriptor makes it
    write a traceback two thousand times. So it is here that it is told that none is there, or that
    it has to pause, once.

    Args:
        made: the socket, listening; it is taken over.
        connections: counts what is open.
    """

    def __init__(self, made: socket.socket, connections: Connections) -> None:
        super().__init__(made.family, made.type, made.proto, made.detach())
        self._connections = connections
        self._pausing = False

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection.

        Raises:
            BlockingIOError: there is none; or there is no room for it now, but will be when
                the event loop asks again.
            OSError: the process has no descriptors left, and the event loop is to pause.
        """
        if self._pausing:  # asyncio of some releases goes on at once
            self._pausing = False
            raise BlockingIOError
        held = self._connections
        most = held.limits.connections
        if held.open >= most and (held.in_between or held.make_room()):
            raise BlockingIOError  # a descriptor is free when the loop has come round
        try:
            made, address = super().accept()
        except OSError as error:
            if error.errno not in _OUT_OF_DESCRIPTORS:
                raise
            held.note(Closed.NO_DESCRIPTOR)
            if held.make_room():
                raise BlockingIOError from error
            self._pausing = True
            raise
        if held.open >= most:
            made.close()
            held.note(Closed.REFUSED)
            raise BlockingIOError
        return _Accepted(made, held), address


class _Accepted(socket.socket):
    """An accepted connection, counted until its descriptor is free."""

    def __init__(self, made: socket.socket, connections: Connections) -> None:
        super().__init__(made.family, made.type, made.proto, made.detach())
        self._connections = connections
        connections.sockets.add(self)
        connections.greets(self)

    def close(self) -> None:
        """Close it."""
        self._connections.greeted(self.fileno())
        super().close()
        self._connections.sockets.discard(self)


class HttpConnection(H11Protocol):
    """One connection, which is ended when its client keeps it waiting for too long."""

    held: Connections
    """The open connections of the server; set by `of`."""

    _deadline: asyncio.TimerHandle | None = None
    _is_stream = False

    @classmethod
    def of(cls, connections: Connections) -> type[HttpConnection]:
        """The protocol of one server's connections."""
        return type("HttpConnection", (cls,), {"held": connections})

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self.held.greeted(transport.get_extra_info("socket").fileno())
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection, whoever ended it."""
        self.held.ended(self)
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Answer the requests that are complete. What comes of others moves no deadline."""
        before = self.cycle
        super().handle_events()
        if getattr(self.cycle, "response_complete", True):  # before the first there is none
            return
        # Before its body is there, or what it asked for before is read, the client is waited for.
        if not self.cycle.more_body and not self.flow.write_paused:
            self.held.works(self)
        if self.cycle is not before:
            self._is_stream = self.scope["path"] == STREAM_PATH
            self._end_in(self.held.limits.answer_seconds)
            if self._is_stream and not self.flow.write_paused and self._deadline is not None:
                self._deadline.cancel()  # it has no end, but what is sent is to be read

    def pause_writing(self) -> None:
        """What was sent is not read; who listens to a stream has a while to read it."""
        super().pause_writing()
        if self._is_stream:
            self._end_in(self.held.limits.request_seconds)

    def resume_writing(self) -> None:
        """What was sent is read."""
        super().resume_writing()
        if self._is_stream and self._deadline is not None:
            self._deadline.cancel()

    def on_response_complete(self) -> None:
        """The answer is given away; wait for the next request, if it has not come already."""
        self._is_stream = False
        self._wait()
        super().on_response_complete()

    def shutdown(self) -> None:
        """The server stops, and waits for no client."""
        super().shutdown()
        self._end_in(_LEAVING_SECONDS)

    def _wait(self) -> None:
        self.held.waits(self)
        self._end_in(self.held.limits.request_seconds)

    def _end_in(self, seconds: float) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(seconds, self._end)

    def _end(self) -> None:
        # Not closed in order: that would wait until the client has read what was sent.
        self.transport.abort()
        self.held.note(Closed.TIMEOUT)
