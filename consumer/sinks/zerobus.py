"""The Databricks SDK, seen from this side: streams, acknowledgements, reasons of failure.

The SDK's own recovery is off by default. It reconnects without pause as long as streams
can be opened, some 1,500 times a second, says nothing about it, and so hides the
service's reason. Without it one stream is one connection, each end of it is seen with
its first text, and the pause before the next one is ours. The price: when the service
rotates a stream and has not acknowledged everything, the rest is sent again.
"""

from __future__ import annotations

import contextlib
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from consumer.errors import FailureKind, SinkFailure
from consumer.network import TRUST_ZEROBUS, trouble_with
from consumer.sinks.meanings import UNDECIDED, is_of_network, meaning_of
from consumer.sinks.sink import Acknowledged, Failed, StreamEvent

if TYPE_CHECKING:
    import queue
    from collections.abc import Callable

    from consumer.sinks.login import Login

    Words = Callable[[Exception], str]

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1"})

# A new SDK object has a new token: one follows a refused token, and every second attempt
# in vain, because the SDK keeps a token when it learns of its refusal in the wrong way.
_ATTEMPTS_PER_SDK: Final = 2

_PROBE_TIMEOUT: Final = 3.0
_MOST_ASKED: Final = 3


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """How streams behave. All times in seconds.

    Args:
        max_inflight: calls (not records) that may wait for their acknowledgement;
            `send` blocks beyond it. Owners keep count themselves and stay below.
        open_timeout: for opening a stream, token included.
        ack_timeout: without any acknowledgement for this long, while calls wait for
            one, the SDK gives the stream up.
        flush_timeout: bound of `close`.
        recovery: let the SDK reconnect by itself; see the module's text.
        recovery_retries, recovery_backoff: the SDK's attempts to open a stream again,
            when `recovery` is on.
    """

    max_inflight: int = 101
    open_timeout: float = 15.0
    ack_timeout: float = 90.0
    flush_timeout: float = 5.0
    recovery: bool = False
    recovery_retries: int = 2
    recovery_backoff: float = 1.0


def classify(error: Exception, *, opening: bool) -> FailureKind:
    """The class of a failure that an exception of the SDK tells, by its text, then by its type.

    Args:
        error: what the SDK raised.
        opening: raised while the stream was opened: a refused argument is then the
            schema, later it is a record; and no end of a stream is in order.
    """
    kind = meaning_of(str(error), opening=opening).kind
    if kind is not None:
        return kind
    # NonRetriableException is a subclass of the retriable ZerobusException.
    if isinstance(error, (_sdk_module().NonRetriableException, TypeError, ValueError)):
        return FailureKind.PERMANENT
    return FailureKind.RETRIABLE


def _sdk_module() -> Any:
    # The SDK's log goes to stdout, in colour, unless told before its import.
    os.environ.setdefault("RUST_LOG", "off")
    import zerobus  # noqa: PLC0415 - see above

    return zerobus


class ZerobusIngestStream:
    """One stream into one table. Calls go out in the order of `send`.

    Made by `ZerobusSink.open_stream`. `generation` tells streams apart: offsets start
    at 0 with each. Not thread-safe: it has one owner.
    """

    def __init__(
        self, stream: Any, generation: int, table: str, schema_id: str, words: Words
    ) -> None:
        self.generation = generation
        self.table = table
        self.schema_id = schema_id
        self.cause: SinkFailure | None = None
        self._stream = stream
        self._words = words

    def send(self, records: list[bytes]) -> int:
        """Hand one call's records to the SDK, in order; it sends them in the background.

        Returns:
            The offset that will be acknowledged, counting calls from 0.

        Raises:
            SinkFailure: the stream is dead, with its first cause; or, with kind
                TOO_LARGE, the call exceeds MAX_CALL_BYTES and the stream lives on.
            ValueError: no records.
        """
        if not records:
            raise ValueError("a call without records has no offset")
        try:
            offset: int = self._stream.ingest_records_offset(records)
        except Exception as error:  # noqa: BLE001 - the SDK's and pyo3's
            kind = classify(error, opening=False)
            if kind is FailureKind.TOO_LARGE:
                raise SinkFailure(kind, self._words(error)) from None
            raise self.failure() from None
        return offset

    def failure(self) -> SinkFailure:
        """Why the stream is dead: the first cause, asked once and then kept.

        To be called only after `send` raised or a `Failed` event came. The error of the
        call that noticed says just "Stream closed"; flushing a dead stream returns at
        once and raises the cause, with its type. On a busy machine one half of the SDK may know
        of the end before the other: then flushing takes its time, and is done again.
        """
        for _ in range(_MOST_ASKED):
            if self.cause is not None and UNDECIDED not in str(self.cause):
                break
            try:
                self._stream.flush()
            except Exception as error:  # noqa: BLE001 - the SDK's and pyo3's, all are causes
                self.cause = SinkFailure(classify(error, opening=False), self._words(error))
            else:
                self.cause = SinkFailure(FailureKind.ENDED, "the service ended the stream")
        assert self.cause is not None
        return self.cause

    def close(self) -> None:
        """Flush and close, within `flush_timeout`. An error of a stream given up is no news.

        The SDK's object goes here and now: if the garbage collector let go of it on a thread
        of the SDK, that would panic.
        """
        stream, self._stream = self._stream, None
        with contextlib.suppress(Exception):
            stream.close()


class ZerobusSink:
    """Opens streams at one endpoint with one service principal.

    One per process: an SDK object brings two threads of its own. It is made at the
    first `open_stream`, so that a process may fork before.

    Args:
        endpoint: Zerobus endpoint; `http://` for a local server.
        workspace_url: where OAuth tokens come from.
        login: who the consumer is; its secret is never logged, and asked for with each stream, so
            that a new one is used without a restart.
        options: bounds, times and recovery of the streams.
        application: product and version for the service's logs, `name/version`.
    """

    def __init__(
        self,
        endpoint: str,
        workspace_url: str,
        *,
        login: Login,
        options: StreamOptions | None = None,
        application: str = "sparkplug-zerobus",
    ) -> None:
        self.endpoint = endpoint
        self.options = options or StreamOptions()
        self._workspace_url = workspace_url
        self._login = login
        self._application = application
        self._lock = threading.Lock()
        self._sdk: Any = None
        self._generation = 0
        self._failed_attempts = 0

    def open_stream(
        self,
        table: str,
        descriptor: bytes,
        schema_id: str,
        events: queue.SimpleQueue[StreamEvent],
    ) -> ZerobusIngestStream:
        """Open a stream; blocks for the token and the service, at most `open_timeout` or so.

        Args:
            table: `catalog.schema.table`.
            descriptor: from `descriptor_bytes`.
            schema_id: the owner's name of the descriptor, kept on the stream.
            events: gets this stream's acknowledgements and its end, from SDK threads.

        Raises:
            SinkFailure: with the kind that says whether trying again can help.
        """
        module = _sdk_module()
        with self._lock:
            self._generation += 1
            generation = self._generation
            if self._login.has_changed():
                self._sdk = None  # it would go on with the token that the old secret gave
        try:
            stream = self._login.create_stream(
                module,
                self._shared_sdk(module),
                module.TableProperties(table, descriptor),
                self._configuration(module, generation, events),
            )
        except Exception as error:  # noqa: BLE001 - the SDK's and pyo3's
            kind = classify(error, opening=True)
            with self._lock:
                self._failed_attempts += 1
                if (
                    kind is FailureKind.AUTHENTICATION
                    or self._failed_attempts % _ATTEMPTS_PER_SDK == 0
                ):
                    self._sdk = None
            text = self._login.words(error) + self._below(str(error))
            # Not from the error: a traceback would show its text, which is not masked.
            raise SinkFailure(kind, text) from None
        with self._lock:
            self._failed_attempts = 0
        return ZerobusIngestStream(stream, generation, table, schema_id, self._login.words)

    def _below(self, text: str) -> str:
        """The cause, in brackets, that the SDK leaves out when the network or TLS fails."""
        if not is_of_network(text):
            return ""
        for url, key in ((self._workspace_url, "workspace_url"), (self.endpoint, "endpoint")):
            found = trouble_with(
                url, key=f"zerobus.{key}", trust=TRUST_ZEROBUS, timeout=_PROBE_TIMEOUT
            )
            if found is not None:
                return f" ({found.text}: {found.mend})"
        return ""

    def _shared_sdk(self, module: Any) -> Any:
        with self._lock:
            if self._sdk is None:
                for url in (self.endpoint, self._workspace_url):
                    _reach_directly(url)
                self._sdk = module.ZerobusSdk(
                    self.endpoint, self._workspace_url, application_name=self._application
                )
            return self._sdk

    def _configuration(
        self, module: Any, generation: int, events: queue.SimpleQueue[StreamEvent]
    ) -> Any:
        options = self.options

        class Callback(module.AckCallback):  # type: ignore[misc] # the SDK is untyped
            # Runs on a thread of the SDK, which waits for it: hand over, nothing else.
            def on_ack(self, offset: int) -> None:
                events.put(Acknowledged(generation, offset))

            def on_error(self, offset: int, message: str) -> None:  # noqa: ARG002
                events.put(Failed(generation))

        return module.StreamConfigurationOptions(
            max_inflight_records=options.max_inflight,
            recovery=options.recovery,
            recovery_timeout_ms=_milliseconds(options.open_timeout),
            recovery_backoff_ms=_milliseconds(options.recovery_backoff),
            recovery_retries=options.recovery_retries,
            server_lack_of_ack_timeout_ms=_milliseconds(options.ack_timeout),
            flush_timeout_ms=_milliseconds(options.flush_timeout),
            callback_max_wait_time_ms=1000,
            ack_callback=Callback(),
        )


def try_stream(
    endpoint: str,
    workspace_url: str,
    *,
    login: Login,
    table: str,
    descriptor: Any,
    timeout: float,
) -> None:
    """Open a stream on a table and close it again, to see whether that can be done.

    No row is sent, and nothing is tried twice.

    Args:
        endpoint: Zerobus endpoint; `http://` for a local server.
        workspace_url: where the OAuth token comes from.
        login: who the consumer is.
        table: catalog.schema.table.
        descriptor: protobuf descriptor of its rows.
        timeout: seconds, for opening and for closing.

    Raises:
        SinkFailure: with all that the SDK said.
    """
    module = _sdk_module()
    options = module.StreamConfigurationOptions(
        recovery=False,
        recovery_retries=0,
        recovery_timeout_ms=_milliseconds(timeout),
        flush_timeout_ms=_milliseconds(timeout),
    )
    try:
        stream = login.create_stream(
            module,
            module.ZerobusSdk(endpoint, workspace_url),
            module.TableProperties(table, descriptor),
            options,
        )
        stream.close()
    except module.ZerobusException as error:
        raise SinkFailure(classify(error, opening=True), login.words(error)) from None


def _reach_directly(url: str) -> None:
    """Keep the SDK from asking a proxy for this machine: it does so for 127.0.0.1 too."""
    host = urlsplit(url).hostname
    if host in _LOOPBACK:
        names = os.environ.get("no_proxy", os.environ.get("NO_PROXY", ""))
        if host not in names.split(","):
            os.environ["no_proxy"] = f"{names},{host}".lstrip(",")


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))
