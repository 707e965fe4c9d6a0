"""The server: both ports, the tables behind them, start and stop."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Self

import grpc

from zerobus_local.acknowledgements import AcknowledgementLog
from zerobus_local.counters import Counters, Tally
from zerobus_local.errors import LocalZerobusError
from zerobus_local.faults import Faults
from zerobus_local.http import Endpoints, HttpPort
from zerobus_local.landing import Landing, LandingOptions
from zerobus_local.oauth import Tokens, signing_key
from zerobus_local.pb import zerobus_service_pb2 as pb
from zerobus_local.ports import Address, Ports
from zerobus_local.streams import IngestStream, Service
from zerobus_local.tables import DataDir, TableName

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from types import TracebackType

    import pyarrow as pa


_MIB = 1024 * 1024
_GRPC_OPTIONS = (
    # Above what is refused with a status that the SDK does not retry (10 MiB);
    # gRPC's own refusal is RESOURCE_EXHAUSTED, which it retries for ever.
    ("grpc.max_receive_message_length", 64 * _MIB),
    # Without this two servers can share a port, each with half of the streams.
    ("grpc.so_reuseport", 0),
)


class LocalZerobus:
    """A Zerobus-compatible server that lands rows in Delta tables on this machine.

    Listens between `start()` and `stop()`, or inside `with`, once. Tables are under
    `data_dir/<catalog>/<schema>/<table>`; those that exist are served.

    Args:
        data_dir: where the tables are; made if it does not exist, locked until
            `stop()`.
        ports: where it listens; on free ports of the loopback interface by default.
        credentials: secret, or token of an identity provider, per client id, looked up with each
            request; None accepts any.
        commit_interval: seconds between two commits of a table under load, unless
            many records wait.
        token_lifetime: seconds that an access token is good for.
        max_uncommitted_bytes: received and not yet committed, over all tables;
            beyond it streams are not read.
        compact_every: commits between two compactions of a table.
        acknowledgement_log: a file to which is added when the rows of each commit were
            acknowledged, see `AcknowledgementLog`; None writes nothing.

    Raises:
        DataDirInUseError: another server has `data_dir`.
        LocalZerobusError: `data_dir` cannot be used.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        ports: Ports | None = None,
        credentials: Mapping[str, str] | None = None,
        commit_interval: float = 0.2,
        token_lifetime: float = 3600.0,
        max_uncommitted_bytes: int = 128 * _MIB,
        compact_every: int = 100,
        acknowledgement_log: Path | None = None,
    ) -> None:
        self._ports = ports = ports or Ports()
        self._at = Address.parse(ports.grpc_address)
        self._http_at = Address.parse(ports.http_address)
        self._tally = Tally()
        self._options = LandingOptions(commit_interval, max_uncommitted_bytes, compact_every)
        self._data_dir = DataDir(data_dir)
        key = signing_key(data_dir / ".zerobus-local.key")
        self._tokens = Tokens(credentials, token_lifetime, key)
        self.faults = Faults(self._tokens.expire_all)
        self._acknowledgements = AcknowledgementLog(acknowledgement_log)
        self._streams: set[IngestStream] = set()
        self._lock = threading.Lock()
        self._landing: Landing | None = None
        self._http: HttpPort | None = None
        self._grpc: Any = None

    def create_table(self, name: str, schema: pa.Schema) -> None:
        """Create the table `catalog.schema.table`, NOT NULL by `field.nullable`.

        May be called before or after `start()`. Nothing happens if it exists
        with the same columns.

        Raises:
            TableConflictError: it exists with other columns.
            LocalZerobusError: the name or a column's name cannot be used.
        """
        self._data_dir.create(TableName.parse(name), schema)

    def start(self) -> None:
        """Listen on both ports.

        Raises:
            LocalZerobusError: an address cannot be bound, a TLS file not read, or
                the server was stopped before.
        """
        if self._data_dir.closed:
            raise LocalZerobusError("A stopped server does not start again; make a new one")
        endpoints = Endpoints(self._tokens, self.faults, self._tally, self._ports.expose_faults)
        server = grpc.server(
            ThreadPoolExecutor(self._ports.max_streams, thread_name_prefix="stream"),
            options=_GRPC_OPTIONS,
            maximum_concurrent_rpcs=self._ports.max_streams,
        )
        method = grpc.stream_stream_rpc_method_handler(
            self._serve, response_serializer=pb.EphemeralStreamResponse.SerializeToString
        )
        handler = grpc.method_handlers_generic_handler(
            "databricks.zerobus.Zerobus", {"EphemeralStream": method}
        )
        server.add_generic_rpc_handlers((handler,))
        tls = self._ports.tls
        asked = str(self._at)
        try:
            if tls is None:
                port = server.add_insecure_port(asked)
            else:
                port = server.add_secure_port(asked, tls.for_grpc())
            self._at = Address(self._at.host, port)
            self._http = HttpPort(
                (self._http_at.host.strip("[]"), self._http_at.port),
                endpoints,
                None if tls is None else tls.for_http(),
            )
        except (OSError, RuntimeError) as error:
            server.stop(None)
            raise LocalZerobusError(
                f"Cannot listen on {asked} and {self._http_at}: {error}"
            ) from error
        self._http_at = Address(self._http_at.host, self._http.port)
        self._landing = Landing(self._data_dir, self._options, self.faults.due, self._tally)
        self._grpc = server
        server.start()

    def stop(self, grace: float = 2.0) -> None:
        """Land what was received, acknowledge it, end all streams, release the directory.

        Streams end with UNAVAILABLE, so that clients connect again later. Those
        that have not ended after `grace` seconds are cut; what they sent is
        landed all the same. Faults are cleared. A second call does nothing.
        """
        self.faults.clear()
        if self._grpc is not None and self._landing is not None and self._http is not None:
            stopped = self._grpc.stop(grace)
            with self._lock:
                streams = list(self._streams)
            for stream in streams:
                stream.shut_down()
            self._landing.hurry()
            stopped.wait()
            self._landing.close()
            self._http.close()
            self._grpc = self._landing = self._http = None
        self._acknowledgements.close()
        self._data_dir.close()

    @property
    def endpoint(self) -> str:
        """The URL of the gRPC port: the SDK's `host`."""
        return f"{self._scheme}://{self._at}"

    @property
    def workspace_url(self) -> str:
        """The URL of the HTTP port: the SDK's `unity_catalog_url`."""
        return f"{self._scheme}://{self._http_at}"

    @property
    def _scheme(self) -> str:
        return "http" if self._ports.tls is None else "https"

    def counters(self) -> Counters:
        """The counters of the server at this moment."""
        return self._tally.read()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _serve(
        self, requests: Iterator[bytes], context: Any
    ) -> Iterator[pb.EphemeralStreamResponse]:
        assert self._landing is not None
        service = Service(
            self._landing, self._tokens, self.faults.due, self._tally, self._acknowledgements
        )
        stream = IngestStream(service, requests, context)
        with self._lock:
            self._streams.add(stream)
        try:
            yield from stream.answers()
        finally:
            with self._lock:
                self._streams.discard(stream)
