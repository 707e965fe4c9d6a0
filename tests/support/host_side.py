"""What a host sees of one MQTT server: messages, time that passes, lost connections."""

from __future__ import annotations

from consumer.rows import SourceNames, normalize
from support.columnar import Columnar, as_dictionaries
from support.tag_rows import as_record_batch


class Server(Columnar):
    """A fleet behind one server; every step is given the time and returns its rows."""

    def __init__(self, site="", **options):
        super().__init__(names=SourceNames(site=site), **options)
        self.events = []
        self.memories = []

    def at(self, now, *messages):
        """Messages that come in one batch."""
        return self._take(self.fleet.feed(messages, now))

    def tick(self, now):
        """Nothing comes."""
        return self._take(self.fleet.tick(now))

    def lost(self, now, at_us):
        """The connection ends."""
        return self._take(self.fleet.connection_lost(now, at_us))

    def wishes(self):
        """Reasons for which nodes were to be asked since the last call."""
        found, self.rebirths = [(node, reason) for _, node, reason in self.rebirths], []
        return found

    def told(self, *kinds):
        """Events of some kinds since the last call."""
        found, self.events = [each for each in self.events if each.kind in kinds], []
        return found

    def _take(self, decoded):
        self.counts.update({str(reason): n for reason, n in decoded.counts.items()})
        self.rebirths += [(r.group_id, r.edge_node_id, str(r.reason)) for r in decoded.rebirths]
        self.events += decoded.events
        self.memories += decoded.memories
        rows = []
        for observations in decoded.observations:
            events = normalize(observations, self.tags, len(self.rows) + len(rows) + 1)
            rows += as_dictionaries(as_record_batch(events))
        self.rows += rows
        return rows
