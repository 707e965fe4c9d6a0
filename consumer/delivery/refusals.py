"""Rows that cannot be sent: the search for them, the dead letters, and when it is the table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from consumer.delivery.poison import PoisonSearch
from consumer.errors import FailureKind, SinkFailure
from consumer.sinks import difference

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from consumer.delivery.health import StreamHealth
    from consumer.delivery.in_flight import Call, InFlight
    from consumer.delivery.origin import Origins
    from consumer.delivery.stats import DeliveryStats
    from consumer.spool import Spool, SpooledBatch


class Refusals:
    """Finds the records of one stream that Zerobus refuses, and sets them aside as dead letters.

    Args:
        spool: keeps the dead letters.
        in_flight: the rows of the stream.
        health: logs what is set aside.
        recent: messages that refused rows may come from.
        stats: of the stream; what is set aside and tried is counted here.
        lone_refusal: seconds that refused records wait for one behind them that gets through,
            before they are taken for bad by themselves.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        spool: Spool,
        in_flight: InFlight,
        health: StreamHealth,
        recent: Origins,
        stats: DeliveryStats,
        *,
        lone_refusal: float,
        clock: Callable[[], float],
    ) -> None:
        self.search = PoisonSearch()
        self.due: float | None = None
        """Monotonic seconds at which to judge refused records that nothing follows; None: none."""
        self._spool = spool
        self._in_flight = in_flight
        self._health = health
        self._recent = recent
        self._stats = stats
        self._lone_refusal = lone_refusal
        self._clock = clock

    def set_aside(self, call: Call) -> list[int]:
        """Keep a record that no call can carry as a dead letter.

        Returns:
            The ids of the batches that are settled by it.
        """
        error = f"the record has {call.nbytes} bytes, more than a call to Zerobus may have"
        [(batch, row, _)] = call.pieces()
        if self._keep(batch, row, FailureKind.TOO_LARGE, error):
            place = (batch.position(row), batch.batch_id)
            self._health.warn("set_aside", "row %d of batch %d: %s", *place, error)
        call.set_aside = True
        finished, _ = self._in_flight.settle(-1)
        return [each.batch_id for each in finished]

    def keep(self) -> None:
        """Records behind the refused ones get through: keep these as dead letters."""
        for call in self._in_flight.refused_calls():
            [(batch, row, _)] = call.pieces()
            error = self._in_flight.refused[batch.batch_id, row]
            if self._keep(batch, row, FailureKind.POISON, error):
                self._health.warn(
                    "poison",
                    "row %d of batch %d is refused, kept as a dead letter: %s",
                    batch.position(row),
                    batch.batch_id,
                    error,
                )

    def _keep(self, batch: SpooledBatch, row: int, reason: FailureKind, error: str) -> bool:
        """Make a dead letter of a row; False when it was one before a crash."""
        [record] = batch.rows.slice(row, row + 1)
        topic, payload = self._recent.origin(
            record, self._spool.schemas.descriptor(batch.schema_id)
        )
        kept = self._spool.letters.set_aside(
            batch, row, row + 1, reason=reason.value, error=error, topic=topic, payload=payload
        )
        self._stats.rows_set_aside += kept
        return kept

    def judge(self, schema_id: str) -> list[int]:
        """Nothing may be left but refused records: wait a while for one that gets through.

        Args:
            schema_id: what they were encoded for.

        Returns:
            The ids of batches that are settled because their refused rows are kept.

        Raises:
            SinkFailure: it is the table.
        """
        if not self._in_flight.waits_for_refused_only:
            self.due = None
            return []
        now = self._clock()
        if self.due is None:
            self.due = now + self._lone_refusal
        if now < self.due:
            return []
        self.due = None
        if self.search.nothing_gets_through:
            words = next(reversed(self._in_flight.refused.values()))
            raise self._mismatch(words, self._in_flight.refused_calls(), schema_id)
        self.keep()
        return [batch.batch_id for batch in self._in_flight.settle_refused()]

    def refused(
        self, failure: SinkFailure, lost: Sequence[Call], schema_id: str
    ) -> SinkFailure | None:
        """The service refused a record among those of the calls that were on their way.

        Returns:
            What is wrong with the table; None when the search for the record goes on.
        """
        begins = not (self.search.bad_within or self.search.in_a_row)
        if self.search.refused(sum(call.rows for call in lost)):
            [(batch, row, _)] = lost[0].pieces()
            self._in_flight.refused[batch.batch_id, row] = str(failure)
        if self.search.is_the_table(str(failure)):
            return self._mismatch(str(failure), lost, schema_id)
        self._stats.poison_probes += 1
        self._health.searching()
        if begins:
            self._health.warn("search", "a record is refused, and searched: %s", failure)
        return None

    def _mismatch(self, words: str, calls: Sequence[Call], schema_id: str) -> SinkFailure:
        """Records of all sorts are refused: it is the table. None of them is given up."""
        number = self.search.in_a_row
        self.search.blame_the_table(words)
        records = [record for call in calls for record in call.records()]
        self._in_flight.refused.clear()
        what = (
            f"{number} records one after the other are refused, so it is the table that does "
            f"not fit: {words}"
            if number
            else f"records are still refused: {words}"
        )
        where = difference(words, self._spool.schemas.descriptor(schema_id), records)
        return SinkFailure(FailureKind.CONTRACT, f"{what} ({where})")
