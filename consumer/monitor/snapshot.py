"""One look at a consumer: what costs a lock or a copy is read once, when it is needed.

Spool, dead letters, streams, side tables and ledger are such; all others are the living parts,
which are read number by number, so that two numbers may be of two moments.

Parts of which there are several are given by the values of the labels that tell them apart. None
says that there is no such thing, or that it cannot be read.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from consumer.delivery import together
from consumer.errors import SpoolError
from consumer.spool import Balance, LetterKind

if TYPE_CHECKING:
    from consumer.delivery import DeliveryStats, TableDelivery
    from consumer.monitor.number import Key
    from consumer.pipeline import BackPressure, Connection, Consumer
    from consumer.spool import DeadLetterShare, MessageBalance, RowBalance, SpoolStats
    from sparkplug import Fleet


class SideTable(NamedTuple):
    """The streams of a side table together, and its rows that are not acknowledged yet."""

    stats: DeliveryStats
    spooled_rows: int


class Snapshot:
    """The parts of a consumer; those that cost a lock or a copy as they were when first asked for.

    Args:
        consumer: running, or stopped.
    """

    def __init__(self, consumer: Consumer) -> None:
        self.consumer = consumer

    @cached_property
    def spool(self) -> SpoolStats:
        """The spool; as it was seen last when its file cannot be read."""
        try:
            return self.consumer.spool.stats()
        except SpoolError:
            return self.consumer.watch.stats

    @cached_property
    def letters(self) -> dict[Key, DeadLetterShare] | None:
        """The dead letters of each kind."""
        try:
            shares = self.consumer.spool.letters.shares()
        except SpoolError:
            return None
        return {(kind,): share for kind, share in shares.items()}

    @property
    def letters_of_rows(self) -> dict[Key, DeadLetterShare] | None:
        """The dead letters of each kind that is of rows, not of messages."""
        if self.letters is None:
            return None
        return {key: each for key, each in self.letters.items() if key != (LetterKind.UNREADABLE,)}

    @property
    def gate(self) -> dict[Key, BackPressure] | None:
        """The back-pressure that closes the gate; None if there is no gate."""
        back_pressure = self.consumer.back_pressure
        return None if back_pressure.gate is None else {(): back_pressure}

    @property
    def servers(self) -> dict[Key, Connection]:
        """The connection to each MQTT server."""
        return {(each.server.name,): each for each in self.consumer.connections}

    @property
    def fleets(self) -> list[Fleet]:
        """The edge nodes behind each MQTT server."""
        return [source.fleet for source in self.consumer.sources]

    @cached_property
    def streams(self) -> dict[Key, DeliveryStats]:
        """Every stream, by its table and its number there: they are numbered from 1."""
        return {
            (delivery.table, str(number)): stream.stats()
            for delivery in self.consumer.deliveries
            for number, stream in enumerate(delivery.streams, start=1)
        }

    @property
    def deliveries(self) -> dict[Key, TableDelivery]:
        """The delivery of each table."""
        return {(each.table,): each for each in self.consumer.deliveries}

    def _table(self, name: str) -> DeliveryStats:
        """The streams of a table together."""
        return together([stats for (table, _), stats in self.streams.items() if table == name])

    @cached_property
    def main(self) -> DeliveryStats:
        """The streams of the main table together."""
        return self._table(self.consumer.main_delivery.table)

    @cached_property
    def side(self) -> dict[Key, SideTable] | None:
        """The side tables."""
        found: dict[Key, SideTable] = {
            (each.table,): SideTable(
                self._table(each.table), self.consumer.spool.pending_rows(each.table)
            )
            for each in self.consumer.deliveries
            if each is not self.consumer.main_delivery
        }
        return found or None

    @cached_property
    def ledger(self) -> Balance | SpoolError:
        """Both balances, or why the spool cannot be read."""
        try:
            return self.consumer.balance()
        except SpoolError as error:
            return error

    @property
    def balance(self) -> dict[Key, Balance] | None:
        """The balances of messages and of rows; None where they cannot be read."""
        return {(): self.ledger} if isinstance(self.ledger, Balance) else None

    @property
    def messages(self) -> dict[Key, MessageBalance] | None:
        """The messages of each server."""
        if isinstance(self.ledger, SpoolError):
            return None
        return {(server,): part for server, part in self.ledger.messages.items()}

    @property
    def rows(self) -> dict[Key, RowBalance] | None:
        """The rows of each table."""
        if isinstance(self.ledger, SpoolError):
            return None
        return {(table,): part for table, part in self.ledger.rows.items()}
