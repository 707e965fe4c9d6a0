"""Messages in one line each, and the rows that the columnar decoder makes of them."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
from oracle.messages import ARRIVED, SENT_MS, metric, payload

from consumer.rows import SourceNames, TagColumns, normalize
from sparkplug.datatypes import DataType
from sparkplug.messages import Message
from support.fleets import fleet_with
from support.tag_rows import as_record_batch

_TIMES = ("event_time", "payload_timestamp", "ingestion_timestamp")


class Columnar:
    """One server's messages, batch by batch, with what came of all of them so far."""

    def __init__(self, limits=None, names=None, **options):
        self.fleet = fleet_with(limits, **options)
        self.tags = TagColumns(self.fleet.catalogue, names or SourceNames())
        self.rows = []
        self.counts = Counter()
        self.repeated = 0  # birth values that were their tag's last row already
        self.rebirths = []
        self.births = []
        self.quarantined = []

    def pieces(self, *messages, now=0.0):
        """TagEvents of one batch, as many as deaths divide it into."""
        decoded = self.fleet.feed(messages, now)
        self.counts += Counter({str(reason): n for reason, n in decoded.counts.items()})
        self.rebirths += [(r.group_id, r.edge_node_id, str(r.reason)) for r in decoded.rebirths]
        self.births += decoded.births
        self.quarantined += [(q.message, str(q.reason)) for q in decoded.quarantined]
        number = len(self.rows) + 1
        for observations in decoded.observations:
            events = normalize(observations, self.tags, number)
            self.repeated += len(observations) - len(events)
            number += len(events)
            yield events

    def events(self, *messages):
        """TagEvents of one batch that gives rows and has no deaths."""
        (events,) = self.pieces(*messages)
        return events

    def feed(self, *messages, now=0.0):
        """The rows of one batch as dictionaries; times are microseconds since 1970 UTC."""
        batches = [as_record_batch(events) for events in self.pieces(*messages, now=now)]
        rows = [row for batch in batches for row in as_dictionaries(batch)]
        self.rows += rows
        return rows


def as_dictionaries(batch):
    for name in _TIMES:
        index = batch.schema.get_field_index(name)
        batch = batch.set_column(index, name, batch.column(name).cast(pa.int64()))
    return batch.to_pylist()


def message(
    verb,
    *metrics,
    seq=0,
    group="Plant",
    node="Edge",
    device=None,
    timestamp=SENT_MS,
    received_us=ARRIVED,
    retained=False,
):
    """One message; of the device Boiler where the verb is a device's and none is named."""
    topic = f"spBv1.0/{group}/{verb}/{node}"
    if verb.startswith("D"):
        topic += f"/{device or 'Boiler'}"
    return Message(topic, payload(*metrics, seq=seq, timestamp=timestamp), received_us, retained)


def tag(name, alias=None, value=0.0):
    """A Double that a birth declares."""
    fields = {} if alias is None else {"alias": alias}
    return metric(name, DataType.Double, double_value=value, **fields)


def change(alias, value):
    """A new value of a Double in data, by alias."""
    return metric(alias=alias, double_value=value)


def name(row):
    """The metric of a row, with its device's id before it."""
    return "/".join(filter(None, (row["device_id"], row["metric_name"])))


def values(rows):
    """What a test is mostly about: whose row, and the number in it."""
    return [(name(row), row["numeric_value"]) for row in rows]


def deaths(rows):
    """Whom the STALE rows of deaths are about, in any order."""
    return sorted(name(row) for row in rows if row["message_type"] in ("NDEATH", "DDEATH"))


def without_deaths(rows):
    """The rows of values."""
    return [row for row in rows if row["message_type"] not in ("NDEATH", "DDEATH")]
