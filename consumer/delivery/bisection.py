"""The search for a refused record, on short streams of its own.

When the service refuses a record, it ends the stream, and all calls behind it are lost. These go
over a stream that is opened for nothing else, one call at a time, until it is known what became of
each record; the window of the stream goes on behind them. A refused record is kept as a dead letter
when one behind it got through: as long as none does, it may be the table. If nothing follows for
`lone_refusal` seconds, they are kept as well when they are fewer than `ENOUGH_WHEN_ALONE`; more of
them blame the table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from consumer.delivery.blame import ENOUGH_WHEN_ALONE
from consumer.delivery.in_flight import Settled
from consumer.errors import FailureKind, SinkFailure

if TYPE_CHECKING:
    from consumer.delivery.calls import Call, Piece
    from consumer.delivery.open_stream import OpenStream
    from consumer.delivery.parts import BisectionParts
    from consumer.delivery.suspects import Suspects
    from consumer.spool import SpooledBatch


class InterruptedStream(Protocol):
    """What a bisection needs of the stream whose calls were lost."""

    @property
    def is_stopping(self) -> bool:
        """Whether to end as soon as possible; what is not settled stays spooled."""

    def look_again_at(self) -> float | None:
        """When `one_more` may find one even if nobody says so, monotonic seconds; None: never."""

    def wait(self, seconds: float) -> None:
        """Wait for so long at most, until something happens; for when no stream is open."""

    def open_stream(self, schema_id: str) -> OpenStream:
        """Open a stream for records of this schema.

        Raises:
            SinkFailure: that is not possible now.
        """

    def one_more(self, schema_id: str) -> list[Piece]:
        """The row behind the calls that were lost, if there is one and it has this schema.

        Raises:
            SpoolError: the spool cannot be read.
        """


class Bisection:
    """Finds the records that are refused among those that were lost with one stream.

    Args:
        sender: opens the short streams, and has the rows that follow.
        parts: of the stream that was lost.
        suspects: its calls.
    """

    def __init__(
        self, sender: InterruptedStream, parts: BisectionParts, suspects: Suspects
    ) -> None:
        self._sender = sender
        self._parts = parts
        self._suspects = suspects
        self._shared = parts.shared

    def run(self) -> None:
        """Try what is left until all of it is settled, or the sender is to stop.

        Raises:
            SinkFailure: it is the table (CONTRACT); or there is trouble of another kind. After
                that it can be run again, and goes on where it was.
            SpoolError: the spool cannot be read or written.
        """
        while not (self._suspects.is_settled or self._sender.is_stopping):
            if self._shared.pause.left:
                self._wait_out_pause(None)
                continue
            failure = self._use(self._sender.open_stream(self._suspects.schema_id))
            if failure is not None:
                self._take_in(failure)
            else:
                self._parts.health.searched()

    def unsettled(self) -> list[Piece]:
        """The rows of which it is not known what becomes of them, in order. It is over then."""
        return self._suspects.unsettled()

    def _use(self, stream: OpenStream) -> SinkFailure | None:
        """Try calls on one short stream; why it ended before all were tried."""
        try:
            while (call := self._next(stream)) is not None:
                self._parts.progress.tell_in_flight(1, call.rows)
                stream.send(call)
                self._parts.progress.sent(call)
                while stream.is_awaited and not self._sender.is_stopping:
                    self._receive(stream, stream.gives_up_at)
                self._settle_passed(stream)
        except SinkFailure as failure:
            return failure
        finally:
            stream.close()
            self._settle_passed(stream)
            self._parts.progress.tell_in_flight(0, 0)
        return None

    def _next(self, stream: OpenStream) -> Call | None:
        """The next call to be sent; None when all is settled, or the sender is to stop.

        During a pause of the delivery none is. When only refused records are left, one behind
        them is waited for.
        """
        due: float | None = None
        while not self._sender.is_stopping:
            if self._shared.pause.left:
                self._wait_out_pause(stream)
                continue
            call = self._suspects.try_next()
            if call is None and self._suspects.refused:
                self._suspects.append(self._sender.one_more(self._suspects.schema_id))
                call = self._suspects.try_next()
            if call is None:
                if self._suspects.is_settled:
                    return None
                now = self._shared.clock()
                due = due or now + self._shared.options.lone_refusal
                if now >= due:
                    self._decide_without_another()
                else:
                    self._receive(stream, due, self._sender.look_again_at())
            elif call.too_large:
                self._parts.letters.keep_too_large(call.pieces[0])
                self._note_settled(self._suspects.set_aside())
            else:
                return call
        return None

    def _wait_out_pause(self, stream: OpenStream | None) -> None:
        """Wait for something to happen, or for the end of the pause: nothing is on its way."""
        self._parts.progress.tell_in_flight(0, 0)
        self._receive(stream, self._shared.clock() + self._shared.pause.left)

    def _receive(self, stream: OpenStream | None, *until: float | None) -> None:
        """Wait for something to happen, on a stream if one is open, or for one of these times."""
        idle = stream is None or not stream.is_awaited
        self._parts.progress.trim_if_due(idle=idle)
        times = [*until, self._parts.progress.settled.trim_at(idle=idle)]
        first = min(time for time in times if time is not None)
        patience = max(0.0, first - self._shared.clock())
        if stream is None:
            self._sender.wait(patience)
        else:
            stream.receive(patience)

    def _settle_passed(self, stream: OpenStream) -> None:
        """Settle the call that is being tried if it is acknowledged, and all before it."""
        call = self._suspects.trying
        if call is None or call.offset is None or call.offset > stream.acked:
            return
        self._keep_refused()
        self._parts.blame.lift()
        settled = Settled(self._suspects.passed(), call.rows)
        self._parts.progress.acknowledged(settled, stream.acked)

    def _keep_refused(self) -> None:
        for record, words in self._suspects.refused:
            self._parts.letters.keep_refused(record, words)

    def _decide_without_another(self) -> None:
        """Nothing follows the refused records: are there too many of them to be bad themselves?"""
        if len(self._suspects.refused) >= ENOUGH_WHEN_ALONE:
            raise self._blame_the_table()
        self._keep_refused()
        self._note_settled(self._suspects.give_up())

    def _note_settled(self, batches: list[SpooledBatch]) -> None:
        self._parts.progress.note_settled(batches)
        self._parts.progress.trim_if_due(idle=True)

    def _take_in(self, failure: SinkFailure) -> None:
        """Take in why a short stream ended: a record is refused, or it is raised again."""
        call = self._suspects.trying
        if call is None:
            raise failure
        if failure.kind is not FailureKind.POISON or call.offset is None:
            self._suspects.retry()
            raise failure
        self._suspects.refuse(str(failure))
        if len(self._suspects.refused) >= self._parts.blame.blames_from:
            raise self._blame_the_table()
        self._parts.health.refused()

    def _blame_the_table(self) -> SinkFailure:
        refused = self._suspects.refused
        return self._parts.blame.lay(
            refused[-1].words,
            self._shared.spool.schemas.descriptor(self._suspects.schema_id),
            [encoded for record, _ in refused for encoded in record.records()],
            in_a_row=len(refused),
        )
