"""The numbers of the HTTP listener."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from consumer.monitor import Counter, Gauge, Numbers

if TYPE_CHECKING:
    from consumer.http.access import Access
    from consumer.http.connections import Connections

NUMBERS: Final[Numbers[Connections, Connections]] = Numbers(
    lambda connections: {(): connections},
    {
        "http_connections": Gauge("HTTP connections that are open", lambda it: it.open),
        "http_connections_closed": Counter(
            "HTTP connections that the server closed or refused, by reason",
            lambda it: it.closed,
            label="reason",
        ),
    },
)

ACCESS_NUMBERS: Final[Numbers[Access, Access]] = Numbers(
    lambda access: {(): access},
    {
        "http_requests": Counter(
            "HTTP requests of who may ask, by the name of the key; `local` where none is needed",
            lambda it: dict(it.keys.requests),
            label="key",
        ),
        "http_requests_refused": Counter(
            "HTTP requests that were refused, by reason", lambda it: it.refused, label="reason"
        ),
    },
)
