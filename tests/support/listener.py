"""A decoder that time passes by, and what it has said so far."""

from __future__ import annotations

from collections import Counter

from oracle.messages import SENT_MS

from consumer.rows import SourceNames, TagColumns, normalize
from sparkplug.datatypes import DataType
from sparkplug.events import EventKind
from sparkplug.memory import BirthMemory, EndMemory, RememberedBirth
from support.columnar import as_dictionaries, change, message, metric, name, tag
from support.fleets import fleet_with
from support.tag_rows import as_record_batch

TIMEOUT = 2.0
EARLIER = SENT_MS - 1
LATER = SENT_MS + 1

BIRTH = message("NBIRTH", tag("Ramp", 0))
DEVICE_BIRTH = message("DBIRTH", tag("Level", 1), seq=1)


def data(seq, value=None, **fields):
    """A value of Ramp; its number is the seq if none is given."""
    number = float(seq if value is None else value)
    return message("NDATA", change(0, number), seq=seq % 256, **fields)


def level(seq, value=None, **fields):
    """A value of the Boiler's Level, the same way."""
    return message("DDATA", change(1, float(seq if value is None else value)), seq=seq, **fields)


def named(seq, **fields):
    """A value of Ramp by its name, which means the same in every birth."""
    return message("NDATA", metric("Ramp", double_value=float(seq)), seq=seq % 256, **fields)


def level_named(seq, **fields):
    """A value of the Boiler's Level, the same way."""
    return message("DDATA", metric("Level", double_value=float(seq)), seq=seq, **fields)


def bd_seq(value):
    return metric("bdSeq", DataType.Int64, long_value=value)


def birth(seq=0, bd=1, **fields):
    return message("NBIRTH", bd_seq(bd), tag("Ramp", 0), seq=seq, **fields)


def death(bd=1, **fields):
    return message("NDEATH", bd_seq(bd), seq=None, **fields)


class Listener:
    """One server's messages, with a reorder timeout of two seconds unless said otherwise."""

    def __init__(self, limits=None, *, reorder_timeout=TIMEOUT, **options):
        self.fleet = fleet_with(limits, reorder_timeout=reorder_timeout, **options)
        self.tags = TagColumns(self.fleet.catalogue, SourceNames())
        self.rows = []
        self.counts = Counter()
        self.rebirths = []
        self.dead_letters = []
        self.quarantined = []
        self.gaps = []
        self.changes = []
        self.memories = []

    def feed(self, *messages, now=0.0):
        """The rows of one batch that came at `now`, as dictionaries."""
        return self._said(self.fleet.feed(messages, now))

    def tick(self, now):
        """The rows that come because it is `now`."""
        return self._said(self.fleet.tick(now))

    def connection_lost(self, now=0.0):
        """The rows that come because nothing more will for a while."""
        return self._said(self.fleet.connection_lost(now))

    def restarted(self, remembered, held=(), now=0.0, **options):
        """A listener that knows of this one what `remembered` and `held` say."""
        later = Listener(reorder_timeout=TIMEOUT, **options)
        later.fleet.memory.restore(remembered, self.fleet.memory.sequence_state(), held, now)
        return later

    def flush(self, now=0.0):
        """The rows that come because the host stops."""
        return self._said(self.fleet.flush(now))

    def _said(self, decoded):
        self.memories += decoded.memories
        self.counts += Counter({str(reason): n for reason, n in decoded.counts.items()})
        self.rebirths += [str(wish.reason) for wish in decoded.rebirths]
        self.quarantined += [(q.message, str(q.reason)) for q in decoded.quarantined]
        self.dead_letters += [(message, str(reason)) for message, reason in decoded.expired]
        self.changes += decoded.gaps
        self.gaps += [
            (event.seq, event.missing, str(event.healing))
            for event in decoded.events
            if event.kind is EventKind.GAP
        ]
        rows = []
        for observations in decoded.observations:
            events = normalize(observations, self.tags, len(self.rows) + len(rows) + 1)
            rows += as_dictionaries(as_record_batch(events))
        self.rows += rows
        return rows


def listening(*messages, **options):
    """A listener that has heard these messages at time 0."""
    heard = Listener(**options)
    heard.feed(*messages)
    return heard


def numbers(rows):
    """The numbers of data rows, sorted: rows are in the order in which messages arrived."""
    data = ("NDATA", "DDATA")
    return sorted(row["numeric_value"] for row in rows if row["message_type"] in data)


def told(rows):
    """Kind of message, tag and number of each row, in any order."""
    return {(row["message_type"], name(row), row["numeric_value"]) for row in rows}


def reasons(heard):
    """Why something became a dead letter, in order."""
    return [reason for _, reason in heard.dead_letters]


def remembered(heard):
    """What is kept of the births and deaths so far: the last of each node and device."""
    kept = {}
    for memory in heard.memories:
        key = (memory.group_id, memory.edge_node_id, memory.device_id)
        if isinstance(memory, BirthMemory):
            kept[key] = RememberedBirth(memory, alive=True, stale=False)
        elif isinstance(memory, EndMemory):
            kept[key] = kept[key]._replace(
                alive=False,
                stale=memory.stale,
                dead_bd_seq=memory.bd_seq,
                died_us=memory.time_us,
            )
    return list(kept.values())
