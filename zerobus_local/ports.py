"""Where the server listens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from zerobus_local.errors import LocalZerobusError

if TYPE_CHECKING:
    from zerobus_local.tls import Tls

_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class Address(NamedTuple):
    """A host, in brackets if it is IPv6, and a port; port 0 takes a free one."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read `host:port`.

        Raises:
            LocalZerobusError: it is not that.
        """
        host, colon, port = text.rpartition(":")
        if not colon or not host or not port.isdecimal() or int(port) > 65535:
            raise LocalZerobusError(f"Address {text!r} is not host:port")
        return cls(host, int(port))

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Ports:
    """How the server is reached.

    Attributes:
        grpc_address: `host:port` for streams; port 0 takes a free one.
        http_address: `host:port` for tokens and health.
        tls: certificate for both ports; None is plain text.
        max_streams: streams served at once; more are refused with RESOURCE_EXHAUSTED.
        expose_faults: serve `/faults` over HTTP, which anybody who reaches the
            port may use: only for tests, and only on a loopback address.

    Raises:
        LocalZerobusError: an address is not `host:port`, or faults are exposed
            beyond loopback.
    """

    grpc_address: str = "127.0.0.1:0"
    http_address: str = "127.0.0.1:0"
    tls: Tls | None = None
    max_streams: int = 128
    expose_faults: bool = False

    def __post_init__(self) -> None:
        Address.parse(self.grpc_address)
        http = Address.parse(self.http_address)
        if self.expose_faults and http.host not in _LOOPBACK:
            raise LocalZerobusError(
                f"Faults may be exposed on a loopback address only, not on {self.http_address}"
            )
