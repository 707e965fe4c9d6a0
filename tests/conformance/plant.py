"""A server, the consumer behind a recording proxy, Zerobus, and clients that look on."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from end_to_end.consumer_process import ConsumerProcess, configuration, consumer
from end_to_end.world import LandedTable, local_zerobus
from support.services import MosquittoServer, mosquitto

from conformance.observer import PROTOCOLS, Observer, observing
from conformance.recording_proxy import RecordingProxy, recording_proxy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

HOST_ID = "historian"
STATE = f"spBv1.0/STATE/{HOST_ID}"
FAR_EAST = {"TZ": "FAR-14"}
"""A time zone 14 hours before UTC, which must not show in anything."""


@dataclass
class Plant:
    """A running system. The consumer under test connects through the proxy, all else not."""

    server: MosquittoServer
    proxy: RecordingProxy
    consumer: ConsumerProcess
    table: LandedTable
    observers: dict[str, Observer]

    @property
    def observer(self) -> Observer:
        """The one that sees retain flags as they were published."""
        return self.observers["5"]


@contextlib.contextmanager
def plant(
    directory: Path,
    *,
    server: MosquittoServer | None = None,
    environ: Mapping[str, str] | None = None,
    **changes: Any,
) -> Iterator[Plant]:
    """Everything but the start of the consumer; `changes` are for its configuration.

    With a `server` of another plant the two hosts share it, and nothing else.
    """
    directory.mkdir(parents=True, exist_ok=True)
    changes["host"] = {"id": HOST_ID} | changes.get("host", {})
    with contextlib.ExitStack() as stack:
        if server is None:
            server = stack.enter_context(mosquitto(directory))
        proxy = stack.enter_context(recording_proxy(server.port))
        zerobus = stack.enter_context(local_zerobus(directory / "lake"))
        config = configuration(directory, proxy.url, zerobus, **changes)
        process = stack.enter_context(consumer(directory, config, environ))
        observers = {
            protocol: stack.enter_context(observing(server.port, protocol))
            for protocol in PROTOCOLS
        }
        yield Plant(server, proxy, process, LandedTable(directory / "lake"), observers)
