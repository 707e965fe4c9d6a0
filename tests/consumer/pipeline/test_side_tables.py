"""What waits for the side tables: committed once, with the state that belongs to it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from consumer.config import parse
from consumer.pb.sparkplug_event_pb2 import SparkplugEvent
from consumer.pb.tag_metadata_pb2 import TagMetadata as Row
from consumer.pipeline.side_tables import SideTables
from consumer.rows.tag_columns import TagColumns
from consumer.rows.templates import SourceNames
from consumer.spool import Spool
from sparkplug.datatypes import DataType
from sparkplug.decoded import Decoded
from sparkplug.events import Event, EventKind
from sparkplug.host.catalogue import TagCatalogue
from sparkplug.host.owner import MetricOwner
from sparkplug.messages import Message, Quarantined, Reason
from sparkplug.metadata import TagMetadata

EVENTS, METADATA = "main.ot.events", "main.ot.metadata"
START = 1_795_443_214_000_000


class Plant:
    """Side tables over a spool, and one server with a tag."""

    def __init__(self, directory, **tables):
        self.clock = START
        self.spool = Spool.open(directory / "spool.db")
        urls = {"endpoint": "http://127.0.0.1:9", "workspace_url": "http://127.0.0.1:10"}
        zerobus = parse(
            {
                "servers": [{"name": "a", "url": "mqtt://127.0.0.1:9"}],
                "zerobus": {
                    **urls,
                    "table": "main.ot.tag_events",
                    "client_id": "i",
                    "client_secret": "s",
                    **tables,
                },
            }
        ).zerobus
        self.side = SideTables(zerobus, self.spool, lambda: self.clock)
        self.catalogue = TagCatalogue()
        self.tags = TagColumns(self.catalogue, SourceNames(server="a"))
        self.catalogue.append(
            MetricOwner("Plant", "Edge", None), ["Ramp"], np.array([DataType.Double], np.uint8)
        )

    def take(self, *events, unit=None, quarantined=()):
        decoded = Decoded(events=list(events), quarantined=list(quarantined))
        if unit is not None:
            nothing = pa.nulls(1, pa.string())
            number = pa.nulls(1, pa.float64())
            decoded.metadata.append(
                TagMetadata(
                    np.zeros(1, dtype=np.int32),
                    START,
                    pa.array([unit]),
                    number,
                    number,
                    nothing,
                    nothing,
                    pa.nulls(1, pa.bool_()),
                    nothing,
                    nothing,
                    np.zeros(1, dtype=np.bool_),
                )
            )
        self.side.collect(self.tags, decoded)

    def commit(self):
        """What is spooled for each table, as messages."""
        spooled = self.spool.commit(self.side.batches(), [self.side])
        self.side.settle()
        found = {EVENTS: [], METADATA: []}
        kinds = {EVENTS: SparkplugEvent, METADATA: Row}
        for batch in spooled:
            rows = batch.rows.slice(0, len(batch.rows))
            found[batch.table] += [kinds[batch.table].FromString(each) for each in rows]
        return found[EVENTS], found[METADATA]


@pytest.fixture
def plant(tmp_path):
    plant = Plant(tmp_path, events_table=EVENTS, metadata_table=METADATA)
    yield plant
    plant.spool.close()


def event(number, kind=EventKind.NODE_BIRTH):
    return Event(kind, START + number, "Plant", "Edge", bd_seq=number)


def test_what_was_taken_is_committed_once(plant):
    assert not plant.side.pending
    plant.take(event(1), event(2), unit="bar")
    assert plant.side.pending
    events, metadata = plant.commit()
    assert [each.bd_seq for each in events] == [1, 2]
    assert [each.unit for each in metadata] == ["bar"]
    assert not plant.side.pending
    assert plant.commit() == ([], [])


def test_rows_that_were_not_committed_leave_no_version_behind(plant):
    plant.take(event(1), unit="bar")
    plant.side.batches()
    plant.side.settle()  # the spool was full
    plant.take(unit="bar")
    _, metadata = plant.commit()
    assert [each.unit for each in metadata] == ["bar"]


def test_dead_letters_are_events_of_the_batch(plant):
    message = Message("spBv1.0/Plant/NDATA/Edge", b"?", START + 5)
    plant.take(event(1), quarantined=[Quarantined(message, Reason.BAD_PAYLOAD)])
    events, _ = plant.commit()
    assert [each.event_type for each in events] == ["node_birth", "quarantine"]
    assert events[1].event_time == START + 5


def test_later_rows_have_later_stamps_whatever_the_clock_does(plant):
    stamps = []
    for clock in (START, START, START - 10_000_000, START + 10):
        plant.clock = clock
        plant.take(event(1), event(2), unit=f"unit {len(stamps)}")
        events, metadata = plant.commit()
        stamps.append([each.ingestion_timestamp for each in metadata])
        stamps.append([each.ingestion_timestamp for each in events])
    order = [stamp for each in stamps for stamp in sorted(set(each))]
    assert order == sorted(set(order))
    assert order[0] == START


def test_events_that_no_message_gave_wait_for_the_next_commit_and_are_bounded(plant):
    for number in range(12_000):
        plant.side.note(plant.tags.names, event(number, EventKind.REBIRTH_REQUEST))
    events, _ = plant.commit()
    assert [each.bd_seq for each in events] == list(range(2_000, 12_000))


@pytest.mark.parametrize(
    ("tables", "counts"),
    [({}, (0, 0)), ({"events_table": EVENTS}, (2, 0)), ({"metadata_table": METADATA}, (0, 1))],
)
def test_a_table_without_a_name_costs_nothing(tmp_path, tables, counts):
    plant = Plant(tmp_path, **tables)
    plant.take(event(1), unit="bar")
    plant.side.note(plant.tags.names, event(2))
    assert tuple(map(len, plant.commit())) == counts
    plant.spool.close()


def test_what_may_not_have_been_written_is_described_again_but_stays_known_as_described():
    catalogue = TagCatalogue()
    catalogue.append(MetricOwner("Plant", "Edge", None), ["A", "B"], np.zeros(2, np.uint8))
    catalogue.states.description[1] = (5, 7)
    catalogue.states.describe_again()
    assert (catalogue.states.description[0] == 0).all()
    assert not set(catalogue.states.description[1].tolist()) & {0, 5, 7}


def test_an_event_that_cannot_be_written_costs_nothing_but_events(plant, caplog):
    plant.take(event(1)._replace(group_id=7), unit="bar")
    events, metadata = plant.commit()
    assert (events, len(metadata)) == ([], 1)
    assert "events could not be written to their side table" in caplog.text
