"""The deliveries of all tables: one stream each, or more for the main table; one SDK for all."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from consumer.delivery.table import TableDelivery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from consumer.delivery.options import DeliveryOptions
    from consumer.delivery.origin import Origins
    from consumer.rows import TagLayout
    from consumer.sinks import ZerobusSink
    from consumer.spool import Spool, SpooledBatch

_LOG: Final = logging.getLogger("consumer.delivery")
_STOP_TIMEOUT: Final = 1.5


class TableOptions(NamedTuple):
    """How one table is delivered: schema of its new rows, options, number of streams, layout."""

    schema_id: str
    options: DeliveryOptions
    streams: int = 1
    layout: TagLayout | None = None


class Deliveries:
    """Delivers all tables: it has a `TableDelivery` for each, the first for the main table.

    Args:
        spool: where the batches are.
        sink: opens the streams.
        tables: by their full names, the main table first.
        recent: the last messages, to be laid beside the rows that are refused.
        observe_age: is given the ages of the main table's batches when they are acknowledged.
    """

    def __init__(
        self,
        spool: Spool,
        sink: ZerobusSink,
        tables: Mapping[str, TableOptions],
        recent: Origins,
        observe_age: Callable[[float], object] | None = None,
    ) -> None:
        self._spool = spool
        self.recent = recent
        main = next(iter(tables))
        self._by_table = {
            table: TableDelivery(
                spool,
                sink,
                table,
                each.schema_id,
                each.options,
                streams=each.streams,
                recent=recent,
                layout=each.layout,
                observe_age=observe_age if table == main else None,
            )
            for table, each in tables.items()
        }
        self.main = self._by_table[main]

    def __iter__(self) -> Iterator[TableDelivery]:
        """The deliveries of all tables, that of the main table first."""
        return iter(self._by_table.values())

    @property
    def all_open(self) -> bool:
        """Whether every table's stream is open."""
        return all(delivery.is_open for delivery in self)

    def start(self) -> None:
        """Start sending what is in the spool, and say what of it has no table any more."""
        for table, rows in self._spool.pending().items():
            if rows and table not in self._by_table:
                _LOG.warning(
                    "%d rows for %s wait in the spool, and zerobus names other tables: they are "
                    "sent when it is configured again",
                    rows,
                    table,
                    extra={"table": table, "rows": rows},
                )
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
