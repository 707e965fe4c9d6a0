"""Commits to the spool: the rows of a batch, with all that is remembered of it."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from consumer.errors import SpoolError, SpoolFull
from consumer.pipeline.arrival_numbers import ARRIVAL_KEY
from consumer.pipeline.taken import in_pieces, note_committed, rows_in
from consumer.rows import EncodedRows
from consumer.spool import NewBatch
from sparkplug import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from consumer.pipeline.parts import Parts
    from consumer.pipeline.taken import Piece, Taken
    from consumer.rows import TagEvents
    from consumer.spool import Participant, SpooledBatch

_BIRTH_LEFT: Final = "birth_not_kept"
"""Reason: the births of a node are not on disk any more; the next run asks for them."""
_LEDGER_EVERY: Final = 1.0
_PIECE_BYTES: Final = 32 << 20
"""Row bytes that are in memory, and committed, at a time: a few bytes may give many rows."""


class Commits:
    """Puts into the spool what batches gave, and hands it over to delivery.

    Used by the decoding thread.

    Attributes:
        next_arrival: the arrival number of the next row.
    """

    def __init__(self, parts: Parts, next_arrival: int) -> None:
        self.next_arrival = next_arrival
        self._table = parts.table
        self._sources = parts.sources
        self._spool = parts.spool
        self._side = parts.side
        self._ledger = parts.ledger
        self._telemetry = parts.telemetry
        self._deliveries = parts.deliveries
        self._overflow = parts.overflow
        self._back_pressure = parts.back_pressure
        self._ledger_at = 0.0

    def commit(
        self, taken: Sequence[Taken], last: Piece | None = None, *, leaving: bool = False
    ) -> None:
        """One transaction for the rows of a batch and all that is remembered with them.

        If these have many bytes, some of the rows are committed before. When there is no room the
        rows are dropped, and the rest is written for itself.

        Args:
            taken: what the batch gave.
            last: the last piece of its rows, if those before are committed.
            leaving: nothing comes after it.
        """
        for each in taken:
            self._side.collect(each.source.tags, each.decoded)
            each.conclude(leaving=leaving)
        side_batches = self._side.batches()
        for batch in side_batches:
            self._ledger.rows(batch.table, len(batch.rows))
        try:
            if not self._overflow.active:
                try:
                    self._commit(taken, side_batches, last)
                except SpoolFull as error:
                    self._overflow.begin(error)
                else:
                    return
            self._drop(taken, side_batches)
            try:
                self._commit(taken, [], dropping=True)
            except SpoolFull:
                self.lose(str(Reason.SPOOL_FULL))
                self._overflow.drop_rest(taken)
        finally:
            self._side.settle()

    def _commit(
        self,
        taken: Sequence[Taken],
        side_batches: list[NewBatch],
        last: Piece | None = None,
        *,
        dropping: bool = False,
    ) -> None:
        """Commit what is concluded. `dropping`: in the last room, and nothing for side tables.

        Raises:
            SpoolFull: it does not fit.
        """
        written = [each for each in taken if each.is_worth_a_commit]
        if not written and not side_batches:
            self._postpone()
            return
        started = time.perf_counter()
        if last is None:
            last = self._append_pieces(taken, dropping=dropping)
        participants: list[Participant] = [*written, self._overflow, self._ledger]
        if not dropping:
            participants.append(self._side)
        spooled = self._within(
            lambda: self._spool.commit(
                self._batches_of(last) + side_batches,
                participants,
                state={ARRIVAL_KEY: self.next_arrival},
                spare=dropping,
            )
        )
        self._telemetry.add_spooled(time.perf_counter() - started)
        for each in written:
            self._tell_of_lost(each)
        for batch in side_batches:
            self._telemetry.add_side_rows(batch.table, len(batch.rows))
        self._deliveries.submit(spooled)

    def _tell_of_lost(self, taken: Taken) -> None:
        """Count births, dead and held messages of a batch that found no room beside its rows."""
        if taken.dead_lost:
            self._telemetry.add_dead_messages_lost(taken.dead_lost)
        if taken.births_dropped:
            counts = Counter(server for server, *_ in taken.births_dropped)
            for server, count in counts.items():
                example = next("/".join(n) for name, *n in taken.births_dropped if name == server)
                self._telemetry.remarks.note(_BIRTH_LEFT, count, server, example)
        if taken.held_lost:
            reason, server = str(Reason.SPOOL_FULL), taken.source.name
            self._telemetry.add_discarded(taken.held_lost, reason, server)

    def commit_but_last_piece(self, taken: Sequence[Taken]) -> Iterator[Piece | None]:
        """Commit the rows of a giant, piece by piece as it is iterated over, but for the last one.

        That is given at the end, and is the caller's to commit. Others may be committed whenever
        None is given. When there is no room it ends early.
        """
        # Rows are numbered when they are committed: others come in between.
        self.next_arrival -= sum(each.rows_left for each in taken)
        while not self._overflow.active:
            self._number(taken)
            started = time.perf_counter()
            piece, is_last = next(in_pieces(taken, _PIECE_BYTES))
            if is_last:
                yield piece
                break
            first, self.next_arrival = self.next_arrival, self.next_arrival + rows_in(piece)
            try:
                self._append_piece(piece, self.next_arrival)
            except SpoolFull as error:
                self.next_arrival = first
                self._overflow.begin(error)
                break
            self._telemetry.add_spooled(time.perf_counter() - started)
            del piece  # it may take as much memory as the next one
            yield None
        self.next_arrival = self._number(taken)

    def _number(self, taken: Sequence[Taken]) -> int:
        """Number the rows that are left anew; return the number behind them."""
        first = self.next_arrival
        for each in taken:
            for made in each.made:
                made.number(first)
                first += made.left
        return first

    def _append_pieces(self, taken: Sequence[Taken], *, dropping: bool) -> Piece:
        """Commit rows of a batch if they have many bytes; return the last piece, which is not.

        What is remembered of the batch goes with that one. Whoever is killed before has
        some of its rows twice, or too early, but none of them for nothing: the messages are
        missing, as if nothing of them had come.

        Raises:
            SpoolFull: a piece found no room. Those before it are committed.
        """
        left = sum(each.rows_left for each in taken)
        for piece, is_last in in_pieces(taken, _PIECE_BYTES):
            if is_last:
                return piece
            left -= rows_in(piece)
            # Whoever is killed now gives the numbers of those that are not committed again.
            following = self.next_arrival - (0 if dropping else left)
            self._append_piece(piece, following, dropping=dropping)
        raise AssertionError("no piece was the last")

    def _append_piece(self, piece: Piece, next_arrival: int, *, dropping: bool = False) -> None:
        """Commit rows of a batch before the rest of it.

        Raises:
            SpoolFull: they do not fit.
        """
        rows = rows_in(piece)

        spooled = self._within(
            lambda: self._spool.commit(
                self._batches_of(piece),
                [self._ledger.piece(self._table, rows)],
                state={ARRIVAL_KEY: next_arrival},
                spare=dropping,
            )
        )
        note_committed(piece)
        self._deliveries.submit(spooled)

    def commit_posts(self, events: TagEvents, participant: Participant) -> None:
        """One transaction for rows of events that were posted over HTTP.

        They have arrival numbers from `next_arrival` on. No room is made for them, and none is
        used that is kept for others: whoever sent them can send them again.

        Raises:
            SpoolFull: they do not fit.
        """
        started = time.perf_counter()
        arrived_us, batches, start = events.observations.received_us, [], 0
        for part in events.encode():
            rows = EncodedRows(part, arrived_us=int(arrived_us[start]))
            batches.append(NewBatch(self._table, self._side.schema_id(self._table), rows))
            start += len(rows)
        following = self.next_arrival + start
        spooled = self._spool.commit(batches, [participant], state={ARRIVAL_KEY: following})
        self.next_arrival = following
        self._telemetry.add_spooled(time.perf_counter() - started)
        self._deliveries.submit(spooled)

    def _batches_of(self, piece: Piece) -> list[NewBatch]:
        schema_id = self._side.schema_id(self._table)
        return [NewBatch(self._table, schema_id, rows) for _, rows in piece]

    def _within(self, commit: Callable[[], list[SpooledBatch]]) -> list[SpooledBatch]:
        """Commit; what does not fit at first may fit once the gate closes."""
        try:
            return commit()
        except SpoolFull as error:
            if not self._back_pressure.close_for(error):
                raise
            return commit()

    def _drop(self, taken: Sequence[Taken], side_batches: list[NewBatch]) -> None:
        """Drop the rows of a batch, but for those of deaths, and say so in the ledger."""
        reason = str(Reason.SPOOL_FULL)
        side_rows = sum(len(batch.rows) for batch in side_batches)
        for each in self._overflow.drop(taken, side_rows):
            self._ledger.drop(self._table, each.rows, reason)
            self._ledger.take_back(each.server, each.messages, reason)
        for batch in side_batches:
            self._ledger.drop(batch.table, len(batch.rows), reason)

    def lose(self, reason: str) -> None:
        """Book the batch that is being taken in as lost, with all its messages and rows."""
        self._ledger.lose(
            reason, {each.name: each.fleet.gauges.held_whole for each in self._sources}
        )

    def _postpone(self) -> None:
        """Book a batch that gave nothing to commit, at most a second later than it was taken."""
        self._ledger.postpone()
        if time.monotonic() - self._ledger_at >= _LEDGER_EVERY:
            self.write_ledger()

    def write_ledger(self) -> None:
        """Commit what is in the ledger's memory, and in no batch."""
        self._ledger_at = time.monotonic()
        if self._ledger.waiting():
            # On a full disk it goes on waiting.
            with contextlib.suppress(SpoolError):
                self._spool.commit([], [self._ledger], spare=True)
