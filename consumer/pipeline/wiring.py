"""The deliveries as the configuration wants them, and how the gate sees spool and delivery."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from consumer.config import SecretSource
from consumer.delivery import CallLimits, Deliveries, DeliveryOptions, Origins, TableOptions
from consumer.pipeline.gate import Sight
from consumer.sinks import Login, StreamOptions, ZerobusSink

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from consumer.config import Zerobus
    from consumer.delivery import TableDelivery
    from consumer.pipeline.telemetry import Telemetry
    from consumer.rows import TagLayout
    from consumer.spool import Spool

log = logging.getLogger(__name__)

_FLUSH_TIMEOUT: Final = 0.5
# A side table has a hundredth of the rows: what it keeps in memory may be small. Nor does
# one of several streams keep less.
_LEAST_BYTES: Final = 4 << 20


def deliveries(
    spool: Spool,
    zerobus: Zerobus,
    schema_ids: Mapping[str, str],
    telemetry: Telemetry,
    layout: TagLayout,
) -> Deliveries:
    """The deliveries of all tables, with one SDK; `layout` is that of the main table."""
    sink = ZerobusSink(
        zerobus.endpoint,
        zerobus.workspace_url,
        login=_login(zerobus),
        # One more than we use ourselves, so that `send` never blocks in the SDK.
        options=StreamOptions(
            max_inflight=zerobus.batch.max_inflight + 1,
            # A stream is closed after its acknowledgements were awaited, or given up.
            flush_timeout=_FLUSH_TIMEOUT,
        ),
    )
    tables = {
        table: TableOptions(
            schema_id,
            _options(zerobus, telemetry, side=table != zerobus.table),
            zerobus.streams if table == zerobus.table else 1,
            layout if table == zerobus.table else None,
        )
        for table, schema_id in schema_ids.items()
    }
    return Deliveries(spool, sink, tables, Origins(), telemetry.add_acknowledged)


def _login(zerobus: Zerobus) -> Login:
    is_federated = zerobus.auth == "federated"
    secret = SecretSource(
        zerobus.secret.get_secret_value(),
        file=zerobus.secret_file,
        key="zerobus.identity_token_file" if is_federated else "zerobus.client_secret_file",
        # A token is renewed every hour, which is no news.
        tell=log.debug if is_federated else log.warning,
    )
    return Login(zerobus.client_id, secret.current, federated=is_federated)


def gate_sight(spool: Spool, delivery: TableDelivery) -> Callable[[], Sight]:
    """A function that tells how the spool and the delivery of a table stand."""

    def sight() -> Sight:
        delivered = delivery.stats()
        settled = delivered.rows_acked + delivered.rows_set_aside
        return Sight(spool.stats(), spool.pending_rows(delivery.table), settled)

    return sight


def _options(zerobus: Zerobus, telemetry: Telemetry, *, side: bool) -> DeliveryOptions:
    options = DeliveryOptions(
        limits=CallLimits(zerobus.batch.max_records, zerobus.batch.max_bytes),
        max_delay=zerobus.batch.max_delay,
        max_inflight=zerobus.batch.max_inflight,
        log_budget=telemetry.log_budget,
    )
    share = 8 if side else zerobus.streams
    return replace(
        options,
        max_inflight_bytes=max(_LEAST_BYTES, options.max_inflight_bytes // share),
        handover_bytes=max(_LEAST_BYTES, options.handover_bytes // (8 if side else 1)),
        read_bytes=_LEAST_BYTES if side else options.read_bytes,
    )
