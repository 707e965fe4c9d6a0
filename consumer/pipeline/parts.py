"""The parts of a consumer, for those of them that work with most of the others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from consumer.delivery import Deliveries
    from consumer.malloc import FreedMemory
    from consumer.pipeline.back_pressure import BackPressure
    from consumer.pipeline.drill import Drill
    from consumer.pipeline.intake import Connection, Intake
    from consumer.pipeline.overflow import Overflow
    from consumer.pipeline.rebirths import Rebirths
    from consumer.pipeline.side_tables import SideTables
    from consumer.pipeline.source import Source
    from consumer.pipeline.spool_watch import SpoolWatch
    from consumer.pipeline.telemetry import Telemetry
    from consumer.spool import Ledger, Spool


@dataclass(frozen=True, slots=True)
class Parts:
    """What one consumer is made of.

    Attributes:
        table: where the rows of tags go, `catalog.schema.table`.
        intake: brings messages.
        connections: one for each server, in the order of the sources.
        sources: what is known of each server's fleet.
        spool: open.
        side: makes the rows of the other tables.
        ledger: takes what became of every message and row, until it is in the spool.
        telemetry: where everything is counted.
        deliveries: of all tables: bring rows from the spool to Zerobus.
        overflow: decides what is dropped when there is no room.
        watch: looks at the spool from time to time.
        back_pressure: the gate to the edge.
        drill: takes the host offline on purpose.
        rebirths: requests to edge nodes.
        freed: gives memory back to the system.
    """

    table: str
    intake: Intake
    connections: Sequence[Connection]
    sources: Sequence[Source]
    spool: Spool
    side: SideTables
    ledger: Ledger
    telemetry: Telemetry
    deliveries: Deliveries
    overflow: Overflow
    watch: SpoolWatch
    back_pressure: BackPressure
    drill: Drill
    rebirths: Rebirths
    freed: FreedMemory
