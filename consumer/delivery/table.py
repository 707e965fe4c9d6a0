"""Delivery: from the spool, over streams, to the acknowledgement, and only then the trim.

A table has one stream, or several that divide its edge nodes among them. Each has a
thread, a search for bad records and failures of its own.
"""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING

from consumer.delivery.ages import AcknowledgementAges
from consumer.delivery.layouts import PresentLayout
from consumer.delivery.options import DeliveryOptions
from consumer.delivery.origin import Origins
from consumer.delivery.partitions import TableBatches
from consumer.delivery.pause import Pause
from consumer.delivery.shared import SharedOfTable
from consumer.delivery.stats import together
from consumer.delivery.stream import StreamSender

if TYPE_CHECKING:
    from collections.abc import Callable

    from consumer.delivery.pause import Paused
    from consumer.delivery.stats import DeliveryStats
    from consumer.rows import TagLayout
    from consumer.sinks import ZerobusSink
    from consumer.spool import Spool, SpooledBatch


class TableDelivery:
    """Sends one table's spooled batches, per edge node in order.

    Args:
        spool: holds the batches; each is trimmed when all of it is acknowledged.
        sink: opens the streams.
        table: `catalog.schema.table`.
        schema_id: the descriptor that new batches are encoded for.
        options: limits, waits and pauses; they hold for each stream.
        streams: how many send in parallel.
        recent: the last messages, to be laid beside the rows that are refused.
        layout: columns that rows get which were spooled under others; None: they stay as they are.
        observe_age: is given how many seconds before its acknowledgement the first row of each
            batch had arrived.
        clock: monotonic seconds.
        wall_clock: seconds since 1970.
        chance: random numbers from 0 to 1, for the pauses.
    """

    def __init__(
        self,
        spool: Spool,
        sink: ZerobusSink,
        table: str,
        schema_id: str,
        options: DeliveryOptions | None = None,
        *,
        streams: int = 1,
        recent: Origins | None = None,
        layout: TagLayout | None = None,
        observe_age: Callable[[float], object] | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.table = table
        self.options = options or DeliveryOptions()
        self._spool = spool
        self._clock = clock
        self._changed = threading.Condition()
        self._draining = 0
        self._batches = TableBatches(
            spool,
            table,
            streams,
            newest_bytes=self.options.handover_bytes,
            keep_bytes=2 * self.options.read_bytes,
            layout=None if layout is None else PresentLayout(spool, schema_id, layout),
        )
        self._pause = Pause(table, clock, wall_clock)
        shared = SharedOfTable(
            table=table,
            schema_id=schema_id,
            options=self.options,
            streams=streams,
            spool=spool,
            sink=sink,
            batches=self._batches,
            recent=recent or Origins(),
            ages=observe_age and AcknowledgementAges(spool, observe_age, wall_clock),
            pause=self._pause,
            changed=self._changed,
            clock=clock,
            wall_clock=wall_clock,
            chance=chance,
        )
        self.streams = tuple(StreamSender(shared, index) for index in range(streams))

    def start(self) -> None:
        """Start sending, from the oldest batch in the spool on."""
        for stream in self.streams:
            stream.start()

    def submit(self, batch: SpooledBatch) -> None:
        """Hand over a batch that was just appended to the spool: all of the table's, in order.

        Raises:
            ValueError: the batch is of another table.
        """
        self._batches.newest.offer(batch)
        self._nudge()

    def wake(self) -> None:
        """Batches were appended that are not handed over: read them from the spool."""
        self._batches.newest.look_again()
        self._nudge()

    def drain(self, timeout: float) -> int:
        """Send without waiting for fuller calls until nothing is left, or `timeout` seconds.

        During a pause nothing is sent, and there is nothing to wait for.

        Returns:
            The table's rows that remain in the spool.
        """
        deadline = self._clock() + timeout
        with self._changed:
            self._draining += 1
            self._hurry()
            while (
                self._spool.pending_rows(self.table)
                and any(stream.is_alive for stream in self.streams)
                and not self._pause.left
            ):
                left = deadline - self._clock()
                if left <= 0:
                    break
                self._changed.wait(min(left, 0.5))
            self._draining -= 1
            self._hurry()
        return self._spool.pending_rows(self.table)

    def pause(self, seconds: float, by: str, why: str) -> None:
        """Send nothing for so many seconds; what is in flight is still acknowledged.

        Args:
            seconds: until it ends by itself.
            by: who asks for it.
            why: in his words.
        """
        self._pause.begin(seconds, by, why)
        self._nudge()

    def resume(self) -> None:
        """Send again."""
        self._pause.end()
        self._nudge()

    @property
    def paused(self) -> Paused | None:
        """The pause that is on; None while rows may be sent."""
        return self._pause.told

    def _nudge(self) -> None:
        for stream in self.streams:
            stream.nudge()

    def _hurry(self) -> None:
        for stream in self.streams:
            stream.hurry(hurried=self._draining > 0)

    def stop(self, timeout: float) -> bool:
        """Stop sending and close the streams. What is not acknowledged stays spooled.

        Returns:
            Whether all threads have ended within `timeout` seconds; those that have not
            are waiting for the network, and end with the process.
        """
        deadline = self._clock() + timeout
        for stream in self.streams:
            stream.request_stop()
        ended = [stream.join(max(0.0, deadline - self._clock())) for stream in self.streams]
        return all(ended)

    def stats(self) -> DeliveryStats:
        """Counters and state at this moment, of all streams together."""
        return together([stream.stats() for stream in self.streams])

    @property
    def is_open(self) -> bool:
        """Whether all streams are open at this moment."""
        return all(stream.is_open for stream in self.streams)
