"""A consumer of MQTT servers, put together from its configuration."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from consumer.broker import BatchLimits, BrokerConnection, Inbox
from consumer.config import configured_tables
from consumer.pipeline.consumer import Consumer
from consumer.pipeline.telemetry import QUEUE_FULL, Telemetry
from consumer.rows import descriptor_bytes
from consumer.spool import Ledger, Spool
from sparkplug import OwnTimestamps

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from consumer.config import Configuration
    from consumer.log_budget import LogBudget


def make_consumer(configuration: Configuration, budget: LogBudget | None = None) -> Consumer:
    """A consumer with its spool, an inbox, and a connection for each configured server.

    `budget` bounds what others may cause of the log.

    Raises:
        SpoolError: the spool cannot be opened.
    """
    telemetry, ledger = Telemetry(budget=budget), Ledger()
    spool = open_spool(configuration, telemetry.log_budget)
    batch = configuration.batch
    inbox = Inbox(
        configuration.limits.budget.queue_bytes,
        BatchLimits(
            batch.max_messages, batch.max_bytes, batch.max_delay, batch.longest_quiet_delay
        ),
        time.monotonic,
        queue_counter([server.name for server in configuration.servers], telemetry, ledger),
    )
    host_id = configuration.host.id if configuration.host.mode == "active" else None
    own_births = OwnTimestamps()
    connections = [
        BrokerConnection(
            index,
            server,
            host_id=host_id,
            inbox=inbox,
            memory=spool.state,
            count_refused=refusal_counter(server.name, telemetry, ledger),
            own_births=own_births,
            budget=telemetry.log_budget,
        )
        for index, server in enumerate(configuration.servers)
    ]
    return Consumer(
        configuration, inbox, connections, spool=spool, telemetry=telemetry, ledger=ledger
    )


def open_spool(configuration: Configuration, budget: LogBudget | None = None) -> Spool:
    """The configured spool, with the tables' descriptors should it have lost them.

    Raises:
        SpoolError: it cannot be opened.
    """
    options = configuration.spool
    return Spool.open(
        options.path,
        sync=options.sync,
        max_bytes=options.max_bytes,
        max_dead_letter_bytes=options.max_dead_letter_bytes,
        log_budget=budget,
        descriptors=[
            descriptor_bytes(table.descriptor)
            for table in configured_tables(configuration.zerobus, configuration.normalize).values()
        ],
    )


def refusal_counter(
    server: str, telemetry: Telemetry, ledger: Ledger
) -> Callable[[str, int], None]:
    """Counts messages of a server that were received and went nowhere, by reason."""

    def count(reason: str, messages: int) -> None:
        telemetry.remarks.note(reason, messages, server)
        ledger.refuse(server, reason, messages)

    return count


def queue_counter(
    servers: Sequence[str], telemetry: Telemetry, ledger: Ledger
) -> Callable[[int, Mapping[str, int]], None]:
    """Counts messages that the inbox refused, by server and edge node."""

    def count(server: int, nodes: Mapping[str, int]) -> None:
        name = servers[server]
        telemetry.add_queue_full(name, nodes)
        ledger.refuse(name, QUEUE_FULL, sum(nodes.values()))

    return count
