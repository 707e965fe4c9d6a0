"""Units of births: those that somebody makes up do not take the place of others."""

import pytest
from oracle.messages import ARRIVED
from support.columnar import message, tag
from support.unconnected import unconnected

from consumer.broker import InboxBatch
from consumer.monitor import birth_facts
from consumer.monitor.birth_facts import KnownUnits
from consumer.monitor.tag_view import TagView
from sparkplug import DataType, MessageBatch
from sparkplug.pb.sparkplug_b_pb2 import Payload


@pytest.fixture
def consumer(tmp_path, monkeypatch):
    monkeypatch.setattr(birth_facts, "_MOST_UNITS", 100)
    monkeypatch.setattr(birth_facts, "_MOST_OF_BIRTH", 20)
    with unconnected(tmp_path) as consumer:
        yield consumer


def born(consumer, node, *units, at_us=ARRIVED):
    """A node is born with a tag of each unit."""
    birth = message(
        "NBIRTH", *(tag(f"T{n}", n) for n in range(len(units))), node=node, received_us=at_us
    )
    payload = Payload.FromString(birth.payload)
    for metric, unit in zip(payload.metrics, units, strict=False):
        metric.properties.keys.append("engUnit")
        metric.properties.values.add(type=DataType.String, string_value=unit)
    birth = birth._replace(payload=payload.SerializeToString())
    consumer.decoding._take(InboxBatch({0: MessageBatch([birth])}))


def units_of(known, consumer, node):
    view = TagView(consumer.sources, 1)
    units = known.of(view)
    return [units.get(at) for at in range(len(view)) if view.place(at)[2] == node]


def test_who_makes_units_up_has_some_of_them_and_others_have_theirs(consumer):
    known = KnownUnits(consumer.spool.path)
    born(consumer, "First", "rpm", "bar")
    known.look()
    for number in range(30):
        born(consumer, f"Hostile-{number}", *(f"u{number}-{n}" for n in range(40)))
        known.look()
    born(consumer, "Last", "kW", "rpm")
    known.look()
    assert units_of(known, consumer, "First") == ["rpm", "bar"]
    assert units_of(known, consumer, "Last") == ["kW", "rpm"]
    made_up = [each for each in units_of(known, consumer, "Hostile-29") if each is not None]
    assert len(made_up) <= 20
    assert len(known._names) <= 100


def test_units_that_no_birth_has_any_more_make_room(consumer):
    known = KnownUnits(consumer.spool.path)
    for number in range(30):
        born(consumer, "Edge", *(f"u{number}-{n}" for n in range(10)), at_us=ARRIVED + number)
        known.look()
    assert units_of(known, consumer, "Edge") == [f"u29-{n}" for n in range(10)]
