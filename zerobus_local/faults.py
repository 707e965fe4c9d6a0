"""Faults that tests ask the server to show, changed while it runs.

A fault with `times` shows that many times and is then spent; `times=None` means
always, until `clear()`. Every method may be called from any thread.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import grpc

from zerobus_local.due_faults import ACK, COMMIT, CREATION, Charge, Charges, DueFaults, FaultError
from zerobus_local.errors import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class AckFaults:
    """Faults of acknowledgements: `Faults.acks`."""

    def __init__(self, charges: Charges) -> None:
        self._charges = charges

    def go_beyond(self, by: int, *, times: int | None = 1) -> None:
        """Let acknowledgements say this many requests more than were received."""
        self._charges.set("beyond", Charge(times, beyond=by))

    def empty(self, *, times: int | None = 1) -> None:
        """Let acknowledgements lack their offset."""
        self._charges.set("empty", Charge(times))

    def repeat(self, *, times: int | None = None) -> None:
        """Let acknowledgements say what the one before them said, -1 if there was none."""
        self._charges.set("repeat", Charge(times))

    def drop(self, *, times: int | None = None) -> None:
        """Commit, but keep acknowledgements back (a later one covers them)."""
        self._charges.set("ack", Charge(times))


class Faults:
    """Faults that the server shows on purpose, set by tests; none at first.

    Args:
        expire_tokens: expires all tokens that were issued so far.

    Attributes:
        acks: faults of acknowledgements.
        due: what the server asks.
    """

    def __init__(self, expire_tokens: Callable[[], None] = lambda: None) -> None:
        self._charges = Charges()
        self._expire = expire_tokens
        self.acks = AckFaults(self._charges)
        self.due = DueFaults(self._charges)

    def fail_creation(
        self, code: grpc.StatusCode | str, text: str = "", *, times: int | None = 1
    ) -> None:
        """Answer stream creations with this status."""
        self._charges.set("creation", Charge(times, refusal=Refusal(_code(code), text)))

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
        self._charges.set(
            "stream", Charge(times, at_offset=at_offset, refusal=refusal, abrupt=abrupt)
        )

    def close_streams(self, seconds: float, *, times: int | None = 1, at_offset: int = 0) -> None:
        """Announce to a stream, when a request arrives, that it is closed after `seconds`."""
        self._charges.set("close", Charge(times, at_offset=at_offset, seconds=seconds))

    def time_out_streams(
        self, seconds: float = 0.0, *, times: int | None = 1, at_offset: int = 0
    ) -> None:
        """End a stream `seconds` after a request arrived, as the service does after 15 minutes.

        Without announcement, with UNAVAILABLE and error 6002; what was received by then is
        landed and acknowledged first.
        """
        self._charges.set("timeout", Charge(times, at_offset=at_offset, seconds=seconds))

    def fail_commits(self, *, times: int | None = 1, landed: bool = False) -> None:
        """Let attempts to commit fail, as a full disk would.

        With `landed` the rows get into the table before the failure, as when the
        connection to a store breaks before its answer.
        """
        self._charges.set("commit", Charge(times, landed=landed))

    def delay_creation(self, seconds: float) -> None:
        """Wait before a stream is created; `math.inf` until changed."""
        self._charges.delay(CREATION, seconds)

    def delay_commits(self, seconds: float) -> None:
        """Wait before every commit; `math.inf` until changed."""
        self._charges.delay(COMMIT, seconds)

    def delay_acks(self, seconds: float) -> None:
        """Wait between commit and acknowledgement; `math.inf` until changed."""
        self._charges.delay(ACK, seconds)

    def limit_requests(self, max_bytes: int) -> None:
        """Refuse larger requests with INVALID_ARGUMENT (10 MiB unless told)."""
        self._charges.max_request_bytes = max_bytes

    def reject_tokens(self, *, times: int | None = 1) -> None:
        """Answer stream creations UNAUTHENTICATED whatever their token."""
        self._charges.set("token", Charge(times))

    def expire_tokens(self) -> None:
        """Expire all tokens issued so far: new streams need new ones."""
        self._expire()

    def fail_oauth(self, status: int, *, times: int | None = 1) -> None:
        """Answer token requests with this HTTP status."""
        self._charges.set("oauth", Charge(times, status=status))

    def clear(self) -> None:
        """Forget all faults; what waits because of one goes on at once."""
        self._charges.clear()

    def apply(self, description: Mapping[str, Mapping[str, object]]) -> None:
        """Call methods by name: `{"fail_stream": {"code": "UNAVAILABLE", "at_offset": 3}}`.

        Those of `acks` are `drop_acks`, `repeat_acks`, `empty_acks` and `acknowledge_beyond`.

        Raises:
            FaultError: an unknown fault, argument or status code.
        """
        known = {name: partial(method, self) for name, method in _BY_NAME.items()}
        known |= {name: partial(method, self.acks) for name, method in _OF_ACKS.items()}
        for name, arguments in description.items():
            if name not in known:
                raise FaultError(f"Unknown fault {name!r}; known: {', '.join(sorted(known))}")
            try:
                known[name](**arguments)
            except TypeError as error:
                raise FaultError(f"{name}: {error}") from error


_BY_NAME: dict[str, Callable[..., None]] = {
    method.__name__: method
    for method in (
        Faults.fail_creation,
        Faults.fail_stream,
        Faults.close_streams,
        Faults.time_out_streams,
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


_OF_ACKS: dict[str, Callable[..., None]] = {
    "acknowledge_beyond": AckFaults.go_beyond,
    "empty_acks": AckFaults.empty,
    "repeat_acks": AckFaults.repeat,
    "drop_acks": AckFaults.drop,
}


def _code(code: grpc.StatusCode | str) -> grpc.StatusCode:
    if isinstance(code, grpc.StatusCode):
        return code
    try:
        return grpc.StatusCode[code]
    except KeyError:
        raise FaultError(f"Unknown gRPC status code {code!r}") from None
