"""The deliveries of all tables: one stream each, or more for the main table; one SDK for all."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from consumer.delivery import Delivery
from consumer.delivery_types import DeliveryOptions
from consumer.outbox import CallLimits
from consumer.row_origin import RecentMessages
from consumer.zerobus import StreamOptions, ZerobusSink

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from consumer.config import Zerobus
    from consumer.spool import Spool, SpooledBatch

_FLUSH_TIMEOUT: Final = 0.5
_STOP_TIMEOUT: Final = 1.5
# A side table has a hundredth of the rows: what it keeps in memory may be small. Nor does
# one of several streams keep less.
_LEAST_BYTES: Final = 4 << 20


class Deliveries:
    """One delivery per table; the first is that of the main table.

    Args:
        spool: where the batches are.
        zerobus: endpoint, credentials, limits of calls.
        schema_ids: for each table, by its full name, the schema of new rows.
    """

    def __init__(self, spool: Spool, zerobus: Zerobus, schema_ids: Mapping[str, str]) -> None:
        self._spool = spool
        sink = ZerobusSink(
            zerobus.endpoint,
            zerobus.workspace_url,
            client_id=zerobus.client_id,
            client_secret=zerobus.client_secret.get_secret_value(),
            # One more than we use ourselves, so that `send` never blocks in the SDK.
            options=StreamOptions(
                max_inflight=zerobus.batch.max_inflight + 1,
                # A stream is closed after its acknowledgements were awaited, or given up.
                flush_timeout=_FLUSH_TIMEOUT,
            ),
        )
        self.recent = RecentMessages()
        self._by_table = {
            table: Delivery(
                spool,
                sink,
                table,
                schema_id,
                _options(zerobus, side=table != zerobus.table),
                streams=zerobus.streams if table == zerobus.table else 1,
                recent=self.recent,
            )
            for table, schema_id in schema_ids.items()
        }
        self.main = self._by_table[zerobus.table]

    def __iter__(self) -> Iterator[Delivery]:
        """All deliveries, that of the main table first."""
        return iter(self._by_table.values())

    @property
    def side(self) -> list[Delivery]:
        """The deliveries of the side tables."""
        return [delivery for delivery in self if delivery is not self.main]

    @property
    def all_open(self) -> bool:
        """Whether every table's stream is open."""
        return all(delivery.is_open for delivery in self)

    def start(self) -> None:
        """Start sending what is in the spool."""
        for delivery in self:
            delivery.start()

    def submit(self, batches: Iterable[SpooledBatch]) -> None:
        """Hand over what was just appended to the spool, in order."""
        for batch in batches:
            self._by_table[batch.table].submit(batch)

    def wake(self, tables: Iterable[str]) -> None:
        """Batches of these tables were appended that are not handed over."""
        for table in tables:
            if table in self._by_table:
                self._by_table[table].wake()

    def stop(self, drain_timeout: float) -> int:
        """Wait for acknowledgements for so many seconds, then stop.

        Returns:
            The rows of all tables that remain in the spool.
        """
        deadline = time.monotonic() + drain_timeout
        for delivery in self:
            # The others go on sending meanwhile.
            delivery.drain(max(0.0, deadline - time.monotonic()))
        for delivery in self:
            delivery.stop(timeout=0.0)
        for delivery in self:
            delivery.stop(timeout=_STOP_TIMEOUT)
        return sum(self._spool.pending_rows(table) for table in self._by_table)


def _options(zerobus: Zerobus, *, side: bool) -> DeliveryOptions:
    options = DeliveryOptions(
        limits=CallLimits(zerobus.batch.max_records, zerobus.batch.max_bytes),
        max_delay=zerobus.batch.max_delay,
        max_inflight=zerobus.batch.max_inflight,
    )
    share = 8 if side else zerobus.streams
    return replace(
        options,
        max_inflight_bytes=max(_LEAST_BYTES, options.max_inflight_bytes // share),
        handover_bytes=max(_LEAST_BYTES, options.handover_bytes // share),
        read_bytes=_LEAST_BYTES if side else options.read_bytes,
    )
