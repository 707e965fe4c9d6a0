"""What a consumer is given in the place of MQTT: batches by hand, and requests that are noted."""

from __future__ import annotations

import contextlib
import queue
import threading

from consumer.broker import BrokerDrops, ConnectionSwitch, InboxBatch, OwnState
from consumer.pipeline.composition import open_spool
from consumer.pipeline.consumer import Consumer
from consumer.pipeline.telemetry import Telemetry
from consumer.spool import Ledger
from sparkplug import MessageBatch, OwnTimestamps

_NEVER_ASKED = None  # a passive host remembers no STATE


class Shelf:
    """An intake that is no inbox: batches are put into it, ready-made."""

    queued_bytes = 0

    def __init__(self):
        self.batches = queue.SimpleQueue()

    def put(self, *messages):
        self.batches.put(InboxBatch({0: MessageBatch(messages)}))

    def lose(self, at_us):
        """The connection to the server ends."""
        self.batches.put(InboxBatch(lost={0: at_us}))

    def take(self, timeout, *, at_once=False):  # noqa: ARG002 - nothing fills up here
        try:
            return self.batches.get(timeout=timeout)
        except queue.Empty:
            return InboxBatch()

    def wake(self):
        self.batches.put(InboxBatch())

    def close(self):
        self.batches.put(None)


class Courier:
    """A connection that is no MQTT: what is asked for is noted."""

    connections, last_error = 1, ""

    def __init__(self, server):
        self.server = server
        self.connected = threading.Event()
        self.drops = BrokerDrops(server.name)
        self.own_state = OwnState(None, server.name, _NEVER_ASKED, OwnTimestamps())
        self.switch = ConnectionSwitch()
        self.asked = []

    def start(self):
        self.connected.set()

    def request_stop(self):
        self.switch.stop()

    def join(self, timeout=1.0):
        assert timeout > 0

    def request_rebirth(self, group_id, edge_node_id):
        self.asked.append((group_id, edge_node_id))
        return True


@contextlib.contextmanager
def consuming(configuration, shelf, courier, *, prepare=lambda _: None):
    """A running consumer of both; `prepare` is called before it starts."""
    running = Consumer(
        configuration,
        shelf,
        [courier],
        spool=open_spool(configuration),
        telemetry=Telemetry(),
        ledger=Ledger(),
    )
    prepare(running)
    running.start()
    try:
        yield running
    finally:
        running.stop()
