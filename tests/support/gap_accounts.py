"""What a fleet tells of messages that did not come, gathered."""

from __future__ import annotations

from oracle.messages import SENT_MS

from sparkplug.events import EventKind
from sparkplug.host.reading.certificates import CERTIFICATE_PREFIX
from sparkplug.memory import BirthMemory, RememberedBirth
from support.columnar import message, metric
from support.fleets import fleet_with
from support.listener import TIMEOUT, data

SENT_US = SENT_MS * 1000


class Accounts:
    """A fleet, and all gaps that it told of."""

    def __init__(self, *messages, **options):
        self.fleet = fleet_with(**{"reorder_timeout": TIMEOUT, **options})
        self.gaps = []
        self.changes = []
        self.events = []
        self.memories = []
        self.feed(*messages)

    def feed(self, *messages, now=0.0):
        self._told(self.fleet.feed(messages, now))

    def tick(self, now):
        self._told(self.fleet.tick(now))

    def lost(self):
        self._told(self.fleet.connection_lost(0.0))

    def keep_on_the_server(self, kept):
        """A birth that a Sparkplug-aware server tells after the connection was made."""
        self._told(
            self.fleet.memory.warm_start(
                [kept._replace(topic=CERTIFICATE_PREFIX + kept.topic, retained=True)], 0.0
            )
        )

    def _told(self, decoded):
        self.memories += decoded.memories
        self.changes += decoded.gaps
        self.gaps += [each.gap for each in decoded.gaps if each.before is None]
        self.events += [each for each in decoded.events if each.kind is EventKind.GAP]

    def told(self):
        """Reason, number missing and healing of every gap."""
        return [(gap.reason.value, gap.count, gap.healing.value) for gap in self.gaps]

    def received(self, **options):
        return {each.edge_node_id: each.messages for each in self.fleet.take_received(**options)}


def at(seq, milliseconds, **fields):
    """Data sent so long after the birth."""
    return data(seq, timestamp=SENT_MS + milliseconds, **fields)


def history(seq, *milliseconds, historical=True):
    """Values of Ramp from so long after the birth."""
    values = [
        metric(None, alias=0, timestamp=SENT_MS + each, double_value=each, is_historical=historical)
        for each in milliseconds
    ]
    return message("NDATA", *values, seq=seq, timestamp=SENT_MS + 99_000)


def births_of(heard):
    """The births of a run, as the consumer keeps them."""
    return [
        RememberedBirth(each, alive=True, stale=False)
        for each in heard.memories
        if isinstance(each, BirthMemory)
    ]
