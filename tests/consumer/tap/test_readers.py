"""What `tail` makes of what comes, message by message; no socket is needed for that."""

from __future__ import annotations

import pytest
from oracle.messages import ARRIVED, MEASURED_MS, metric, payload
from support.columnar import DataType, change, message, tag
from support.unconnected import configuration

from consumer.tap.changes import NO_BIRTH, NOT_DECLARED, ChangeReader
from consumer.tap.filters import Filters
from consumer.tap.globs import Places
from consumer.tap.items import Change, Heard
from consumer.tap.listening import HeardBatch
from consumer.tap.messages import MessageReader
from consumer.tap.table_rows import RowReader
from sparkplug import QUALITY_NAMES, Message, MessageBatch

BIRTH = message("NBIRTH", tag("Ramp", 0, 1.0), tag("Area/Motor", 1, 2.0), seq=0)
DEVICE_BIRTH = message("DBIRTH", tag("Level", 2, 3.0), seq=1)
GARBAGE = Message("spBv1.0/Plant/NDATA/Other", b"\xff\xff no payload", ARRIVED)


@pytest.fixture
def read_by(tmp_path):
    """What a reader, that stays the same, shows of messages that come together."""

    def make(kind=ChangeReader, *globs, types=(), qualities=(), settings=(), **options):
        config = configuration(tmp_path, **dict(settings))
        codes = frozenset(map(QUALITY_NAMES.index, qualities))
        filters = Filters(Places(globs), frozenset(types), codes)
        reader = kind(config.servers[0], config, filters, **options)

        def read(*messages, certificates=(), lost_us=None, now=0.0):
            batch = HeardBatch("plant", MessageBatch(messages), certificates, lost_us)
            return list(reader.read(batch, now))

        read.reader = reader
        return read

    return make


def shown(items):
    return [(each.metric or each.alias, each.value, each.note) for each in items]


def test_aliases_are_resolved_by_the_births_that_are_heard(read_by):
    read = read_by()
    assert shown(read(message("NDATA", change(0, 5.0), seq=9))) == [(None or 0, 5.0, NO_BIRTH)]
    assert shown(read(BIRTH, DEVICE_BIRTH)) == [
        ("Ramp", 1.0, ""),
        ("Area/Motor", 2.0, ""),
        ("Level", 3.0, ""),
    ]
    first, second = read(
        message("NDATA", change(0, 6.0), seq=2), message("DDATA", change(2, 7.0), seq=3)
    )
    assert (first.metric, first.value, first.device_id) == ("Ramp", 6.0, None)
    assert (second.metric, second.value, second.device_id) == ("Level", 7.0, "Boiler")
    assert (second.event_us, second.received_us) == (MEASURED_MS * 1_000, ARRIVED)
    assert (second.datatype, second.quality, second.seq) == ("Double", "GOOD", 3)


def test_what_the_birth_does_not_declare_is_shown_as_it_is_written(read_by):
    read = read_by()
    read(BIRTH)
    mixed = message("NDATA", change(0, 1.5), change(9, 2.5), metric("New", long_value=3), seq=1)
    assert sorted(shown(read(mixed)), key=str) == [
        ("New", 3, NOT_DECLARED),
        ("Ramp", 1.5, ""),
        (9, 2.5, NOT_DECLARED),
    ]


def test_data_of_a_device_without_birth_says_so(read_by):
    read = read_by()
    read(BIRTH)
    assert shown(read(message("DDATA", change(2, 1.0), seq=1))) == [(2, 1.0, NO_BIRTH)]


def test_units_are_those_of_the_last_birth_also_when_tags_are_numbered_anew(read_by):
    def birth(*units, seq=0):
        metrics = []
        for number, unit in enumerate(units):
            declared = tag(f"T{number}", number)
            properties = {"keys": ["engUnit"], "values": [{"type": 12, "string_value": unit}]}
            metrics.append(declared | ({"properties": properties} if unit else {}))
        return message("NBIRTH", *metrics, seq=seq)

    read = read_by()
    assert [each.unit for each in read(birth("bar", "", "°C"))] == ["bar", "", "°C"]
    assert [each.unit for each in read(birth("bar", "m", "°C"))] == ["bar", "m", "°C"]
    assert [each.unit for each in read(birth("", "m", "°C"))] == ["", "m", "°C"]
    # The catalogue forgets tags that no birth declares when there are many of them.
    for start in range(3_000, 30_000, 3_000):
        many = [tag(f"Other {start + number}", number) for number in range(3_000)]
        read(message("NBIRTH", *many, seq=0, node="Many"))
    assert read.reader._fleet.catalogue.generation
    assert [each.unit for each in read(message("NDATA", change(2, 1.0), seq=1))] == ["°C"]


def test_items_of_different_nodes_are_in_order_of_arrival(read_by):
    read = read_by()
    read(BIRTH)
    items = read(
        message("NDATA", change(5, 1.0), node="Unborn", received_us=ARRIVED),
        message("NDATA", change(0, 2.0), seq=1, received_us=ARRIVED + 1),
        message("NDATA", change(5, 3.0), node="Unborn", received_us=ARRIVED + 2),
    )
    assert [each.value for each in items] == [1.0, 2.0, 3.0]


def test_commands_are_shown_with_what_they_carry(read_by):
    command = metric("Node Control/Rebirth", DataType.Boolean, boolean_value=True)
    [item] = read_by()(message("NCMD", command))
    assert (item.metric, item.value, item.kind, item.note) == (
        "Node Control/Rebirth",
        True,
        "NCMD",
        "",
    )


def test_what_cannot_be_read_is_shown_and_its_neighbours_too(read_by):
    read = read_by()
    items = read(GARBAGE._replace(received_us=ARRIVED - 1), BIRTH)
    assert [(type(each), getattr(each, "problem", "")) for each in items] == [
        (Heard, "bad_payload"),
        (Change, ""),
        (Change, ""),
    ]


def test_a_death_makes_what_is_known_of_the_node_stale(read_by):
    read = read_by()
    read(BIRTH)
    items = read(message("NDEATH", metric("bdSeq", DataType.Int64, long_value=0), seq=None))
    assert {(each.metric, each.quality, each.kind) for each in items} == {
        ("Ramp", "STALE", "NDEATH"),
        ("Area/Motor", "STALE", "NDEATH"),
    }


def test_after_a_lost_connection_the_next_births_are_waited_for(read_by):
    read = read_by()
    read(BIRTH)
    assert read(lost_us=ARRIVED + 1) == []
    assert shown(read(message("NDATA", change(0, 5.0), seq=200))) == [(0, 5.0, NO_BIRTH)]


@pytest.mark.parametrize(
    ("globs", "names"),
    [
        (["Plant/Edge/Ramp"], ["Ramp"]),
        (["Plant/Edge/Area"], ["Area/Motor"]),
        (["*/Motor", "Plant/Edge/Boiler"], ["Area/Motor", "Level"]),
        (["Elsewhere"], []),
    ],
)
def test_globs_choose_metrics(read_by, globs, names):
    items = read_by(ChangeReader, *globs)(BIRTH, DEVICE_BIRTH)
    assert [each.metric for each in items] == names


def test_a_metric_without_a_known_name_is_shown_where_all_of_its_node_match(read_by):
    unborn = message("NDATA", change(0, 5.0), metric("Named", double_value=1.0), seq=9)
    everything, named = read_by(ChangeReader, "Plant/Edge"), read_by(ChangeReader, "*/Named")
    assert len(everything(unborn)) == 2
    assert [each.metric for each in named(unborn)] == ["Named"]
    assert (everything.reader.unnamed, named.reader.unnamed) == (0, 1)


def test_types_and_qualities_choose_values(read_by):
    read = read_by(types=["NDATA"], qualities=["BAD", "STALE"])
    bad = metric(alias=0, double_value=1.0, quality=0)
    assert read(BIRTH) == []
    data = message("NDATA", bad, change(1, 5.0), seq=1)
    assert [(each.metric, each.quality) for each in read(data)] == [("Ramp", "BAD")]
    unborn = message("NDATA", bad, change(1, 5.0), node="Unborn")
    assert [(each.alias, each.quality) for each in read(unborn)] == [(0, "BAD")]
    assert read(GARBAGE) == []


def test_messages_are_shown_with_what_their_payloads_say(read_by):
    read = read_by(MessageReader)
    state = Message("spBv1.0/STATE/host", b'{"online": true}', ARRIVED, retained=True)
    strange = Message("spBv1.0/x", b"", ARRIVED)
    kept = Message("$sparkplug/certificates/" + BIRTH.topic, BIRTH.payload, ARRIVED, retained=True)
    items = read(BIRTH, GARBAGE, state, strange, certificates=[kept])
    assert [(each.kind, each.seq, each.metrics, each.problem, each.retained) for each in items] == [
        ("NBIRTH", 0, 2, "", True),
        ("NBIRTH", 0, 2, "", False),
        ("NDATA", None, None, "bad_payload", False),
        ("STATE", None, None, "", True),
        ("", None, None, "", False),
    ]
    assert items[0].topic.startswith("$sparkplug/")


def test_globs_choose_messages_of_nodes_that_may_have_such_metrics(read_by):
    read = read_by(MessageReader, "Plant/Edge/Boiler/Level", with_heads=False)
    state = Message("spBv1.0/STATE/host", b"{}", ARRIVED)
    other = message("DDATA", device="Other")
    items = read(BIRTH, DEVICE_BIRTH, other, GARBAGE, state)
    assert [each.topic for each in items] == [BIRTH.topic, DEVICE_BIRTH.topic]
    typed = read_by(MessageReader, types=["STATE"])
    assert [each.topic for each in typed(BIRTH, state)] == [state.topic]


def test_rows_are_those_of_the_table_but_for_the_arrival_number(read_by):
    read = read_by(RowReader, settings={"normalize": {"tag_path": "{group_id}.{metric}"}})
    [ramp, _] = read(BIRTH)
    assert ramp.columns["tag_path"] == "Plant.Ramp"
    assert ramp.columns["numeric_value"] == 1.0
    assert ramp.columns["event_time"] == MEASURED_MS * 1_000
    assert len(ramp.columns["event_id"]) == 32
    assert not {"arrival_number", "device_id", "string_value"} & ramp.columns.keys()


def test_rows_of_what_no_birth_explains_come_with_the_birth(read_by):
    read = read_by(RowReader)
    assert read(message("NDATA", change(0, 9.0), seq=1)) == []
    assert read.reader.waiting == 1
    rows = read(BIRTH)
    assert [row.columns["numeric_value"] for row in rows] == [1.0, 2.0, 9.0]
    assert read.reader.waiting == 0


def test_rows_heed_what_the_configuration_leaves_out(read_by):
    servers = [{"name": "plant", "url": "mqtt://127.0.0.1:9", "exclude": ["*/Ramp"]}]
    read = read_by(RowReader, "Plant", settings={"servers": servers}, qualities=["GOOD"])
    assert [row.columns["metric_name"] for row in read(BIRTH)] == ["Area/Motor"]
    # A birth that says the same again gives no further rows.
    assert read(BIRTH._replace(received_us=ARRIVED + 1)) == []


def test_a_payload_with_very_many_metrics_does_not_keep_from_others(read_by):
    read = read_by()
    huge = Message("spBv1.0/Plant/NDATA/Huge", b"\x12\x00" * 1_000_000, ARRIVED)
    deep = Message("spBv1.0/Plant/NDATA/Deep", b"\x0b" * 100_000, ARRIVED)
    items = read(huge, deep, BIRTH)
    assert [each.problem for each in items if isinstance(each, Heard)] == [
        "too_large",
        "bad_payload",
    ]
    assert [each.metric for each in items if isinstance(each, Change)] == ["Ramp", "Area/Motor"]


def test_an_unborn_node_that_floods_is_shown_from_its_payloads_alone(read_by):
    read = read_by()
    data = payload(*(metric(alias=n, double_value=float(n)) for n in range(2_000)), seq=3)
    flood = [Message("spBv1.0/Plant/NDATA/Flood", data, ARRIVED + n) for n in range(20)]
    items = read(*flood, BIRTH._replace(received_us=ARRIVED + 30))
    assert len(items) == 40_002
    assert items[-1].metric == "Area/Motor"
