"""The publishing edge node: births, data, deaths, seq, bdSeq and commands.

Payload bytes are read back with pysparkplug, which shares nothing with this project.
Tests that check an assertion of the specification carry its id.
"""

from __future__ import annotations

import pytest
from support import peer
from support.edge_node_world import NOW, edge_node, metric, online, read, values, verbs
from support.peer import PeerMetric, PeerType

from sparkplug.actions import Disconnect
from sparkplug.datatypes import DataType
from sparkplug.edge import EdgeNode, EdgeNodeOptions, Session, UnknownMetricError, Update
from sparkplug.edge.commands import CommandError, command_value
from sparkplug.edge.encoding import EncodeError, Properties, SignedEncoding
from sparkplug.host.commands import rebirth_command
from sparkplug.names import BD_SEQ, REBIRTH
from sparkplug.pb import sparkplug_b_pb2 as pb

NCMD = "spBv1.0/Plant 1/NCMD/Line A"
DCMD = "spBv1.0/Plant 1/DCMD/Line A/Pump"


def write(*metrics: PeerMetric) -> bytes:
    return peer.DCmd(timestamp=NOW, metrics=metrics).encode(include_dtypes=True)


# -- births


def test_after_the_subscriptions_the_births_come_node_first():
    node, births = online()

    assert verbs(births) == ["NBIRTH", "DBIRTH"]
    assert [each.topic for each in births] == [
        "spBv1.0/Plant 1/NBIRTH/Line A",
        "spBv1.0/Plant 1/DBIRTH/Line A/Pump",
    ]
    assert all(each.qos == 0 and not each.retain for each in births)
    assert node.session is Session.ONLINE


def test_message_flow_edge_node_ncmd_subscribe_covers_node_and_device_commands():
    connect = edge_node().connect(NOW)
    assert [(each.topic_filter, each.qos) for each in connect.subscriptions] == [
        ("spBv1.0/Plant 1/NCMD/Line A", 1),
        ("spBv1.0/Plant 1/DCMD/Line A/+", 1),
    ]


def test_topics_nbirth_metric_reqs_name_datatype_value_and_own_timestamp():
    _, (nbirth, dbirth) = online()
    payload = read(nbirth)

    assert payload.timestamp == NOW
    assert values(payload) == {
        BD_SEQ: 0,
        REBIRTH: False,
        "Node Info/Version": "4.0",
        "Load": 0.5,
    }
    assert {each.name: each.datatype for each in payload.metrics}[BD_SEQ] == PeerType.INT64
    assert {each.name: each.timestamp for each in payload.metrics}["Load"] == NOW - 5_000
    assert values(read(dbirth)) == {
        "Speed": 1480.0,
        "Running": False,
        "Setpoint": -5,
        "Serial": "P-1",
    }


def test_operational_behavior_data_commands_rebirth_name_aliases_has_none():
    _, (nbirth, _) = online()
    aliases = {each.name: each.alias for each in read(nbirth).metrics}
    assert aliases[REBIRTH] is None
    assert aliases[BD_SEQ] is None


def test_payloads_alias_uniqueness_over_node_and_devices_from_zero():
    _, births = online()
    aliases = [
        each.alias
        for birth in births
        for each in read(birth).metrics
        if each.name not in (BD_SEQ, REBIRTH)
    ]
    assert aliases == [0, 1, 2, 3, 4, 5]


def test_birth_properties_carry_their_types_and_quality_only_when_there_is_one():
    node = EdgeNode(
        "G",
        "N",
        [
            metric("good"),
            metric(
                "bad",
                quality=-2147483132,
                properties=Properties(engUnit="bar", engHigh=250.0, readOnly=True),
            ),
        ],
    )
    node.connect(NOW)
    (birth,) = node.connected(NOW)
    # pysparkplug drops properties: read them with our own schema.
    good, bad = pb.Payload.FromString(birth.payload).metrics[2:]

    assert not good.HasField("properties")
    found = {
        key: (value.type, getattr(value, value.WhichOneof("value")))
        for key, value in zip(bad.properties.keys, bad.properties.values, strict=True)
    }
    assert found == {
        "Quality": (DataType.Int32, 2147484164),
        "engUnit": (DataType.String, "bar"),
        "engHigh": (DataType.Double, 250.0),
        "readOnly": (DataType.Boolean, True),
    }


# -- data and seq


def test_payloads_alias_data_cmd_requirement_data_has_alias_and_no_name():
    node, (_, dbirth) = online()
    (ddata,) = node.update("Pump", [Update("Speed", 1500.0, NOW + 1)], NOW + 2)

    raw = pb.Payload.FromString(ddata.payload).metrics[0]
    assert not raw.HasField("name")
    assert not raw.HasField("datatype")
    payload = read(ddata, read(dbirth))
    assert values(payload) == {"Speed": 1500.0}
    assert payload.timestamp == NOW + 2
    assert payload.metrics[0].timestamp == NOW + 1


def test_data_of_the_node_itself_uses_alias_zero():
    node, (nbirth, _) = online()
    (ndata,) = node.update(None, [Update("Node Info/Version", "4.1", NOW + 1)], NOW + 2)

    assert ndata.topic == "spBv1.0/Plant 1/NDATA/Line A"
    raw = pb.Payload.FromString(ndata.payload).metrics[0]
    assert raw.HasField("alias")
    assert raw.alias == 0
    assert values(read(ndata, read(nbirth))) == {"Node Info/Version": "4.1"}


def test_without_aliases_data_goes_by_name():
    node, births = online(aliases=False)
    (ddata,) = node.update("Pump", [Update("Speed", 1500.0, NOW + 1)], NOW + 2)

    assert all(each.alias is None for birth in births for each in read(birth).metrics)
    (raw,) = pb.Payload.FromString(ddata.payload).metrics
    assert raw.name == "Speed"
    assert not raw.HasField("alias")


def test_the_datatype_can_be_repeated_in_data_as_ignition_does():
    node, _ = online(datatype_in_data=True)
    (ddata,) = node.update("Pump", [Update("Setpoint", 7, NOW + 1)], NOW + 2)
    (raw,) = pb.Payload.FromString(ddata.payload).metrics
    assert raw.datatype == DataType.Int16


def test_payloads_sequence_num_incrementing_is_one_counter_that_wraps_at_256():
    node, births = online()
    seqs = [read(each).seq for each in births]
    dbirth = read(births[1])
    nbirth = read(births[0])
    for i in range(300):
        # payloads-ndata-seq-inc, payloads-ddata-seq-inc
        device = None if i % 3 == 0 else "Pump"
        name = "Load" if device is None else "Speed"
        (data,) = node.update(device, [Update(name, float(i), NOW + i)], NOW + i)
        seqs.append(read(data, nbirth if device is None else dbirth).seq)
    (ddeath,) = node.device_died("Pump", NOW + 301)  # payloads-ddeath-seq-inc
    (dbirth_again,) = node.device_returned("Pump", NOW + 302)  # payloads-dbirth-seq-inc
    seqs += [read(ddeath).seq, read(dbirth_again).seq]

    assert seqs == [i % 256 for i in range(len(seqs))]
    assert len(seqs) > 256


def test_a_null_value_is_written_as_is_null_without_a_value():
    node, (_, dbirth) = online()
    (ddata,) = node.update("Pump", [Update("Speed", None, NOW + 1, -2147483126)], NOW + 1)
    (found,) = read(ddata, read(dbirth)).metrics
    assert found.is_null
    assert found.value is None
    (raw,) = pb.Payload.FromString(ddata.payload).metrics
    assert raw.WhichOneof("value") is None
    assert raw.properties.values[0].int_value == 0x8000020A


def test_several_values_of_one_metric_in_one_message_keep_their_order():
    node, (_, dbirth) = online()
    updates = [Update("Speed", float(i), NOW + i) for i in range(3)]
    (ddata,) = node.update("Pump", updates, NOW + 3)
    assert [each.value for each in read(ddata, read(dbirth)).metrics] == [0.0, 1.0, 2.0]


def test_more_updates_than_a_message_may_hold_become_several():
    node, (_, dbirth) = online(max_metrics_per_message=4)
    messages = node.update("Pump", [Update("Speed", float(i), NOW + i) for i in range(10)], NOW)
    payloads = [read(each, read(dbirth)) for each in messages]
    assert [len(each.metrics) for each in payloads] == [4, 4, 2]
    assert [each.seq for each in payloads] == [2, 3, 4]


@pytest.mark.parametrize(
    ("data_type", "value", "narrow", "extended"),
    [
        (DataType.Int8, -23, 233, 4294967273),
        (DataType.Int16, -30000, 35536, 4294937296),
        (DataType.Int32, -1, 4294967295, 4294967295),
        (DataType.Int64, -1, 2**64 - 1, 2**64 - 1),
    ],
)
def test_negative_integers_are_written_in_the_chosen_form(data_type, value, narrow, extended):
    for form, expected in (
        (SignedEncoding.NARROW, narrow),
        (SignedEncoding.SIGN_EXTENDED, extended),
    ):
        node = EdgeNode("G", "N", [metric("m", data_type, value)], EdgeNodeOptions(signed=form))
        node.connect(NOW)
        (birth,) = node.connected(NOW)
        raw = pb.Payload.FromString(birth.payload).metrics[2]
        assert getattr(raw, raw.WhichOneof("value")) == expected


@pytest.mark.parametrize(
    ("data_type", "value"),
    [
        (DataType.Int8, 128),
        (DataType.UInt8, -1),
        (DataType.UInt64, 2**64),
        (DataType.Int32, True),
        (DataType.Boolean, 1),
        (DataType.Double, "1"),
        (DataType.Double, True),
        (DataType.Float, 1e39),
        (DataType.String, 5),
        (DataType.DateTime, 1.5),
        (DataType.DataSet, "rows"),
    ],
)
def test_a_value_that_does_not_fit_its_datatype_is_refused(data_type, value):
    with pytest.raises(EncodeError):
        EdgeNode("G", "N", [metric("m", data_type, value)])


def test_an_update_with_one_bad_value_changes_nothing():
    node, _ = online()
    with pytest.raises(EncodeError):
        node.update(
            "Pump", [Update("Speed", 1.0, NOW + 1), Update("Setpoint", 40_000, NOW + 1)], NOW + 1
        )
    assert node.metric("Pump", "Speed").value == 1480.0
    (data,) = node.update("Pump", [Update("Speed", 1.0, NOW + 2)], NOW + 2)
    assert pb.Payload.FromString(data.payload).seq == 2


def test_unknown_devices_and_metrics_are_errors_of_the_caller():
    node, _ = online()
    with pytest.raises(UnknownMetricError):
        node.update("Pump", [Update("Speeed", 1.0, NOW)], NOW)
    with pytest.raises(UnknownMetricError):
        node.update("Pomp", [Update("Speed", 1.0, NOW)], NOW)


@pytest.mark.parametrize("name", ["", BD_SEQ, REBIRTH])
def test_reserved_metric_names_are_refused(name):
    with pytest.raises(ValueError, match="cannot be called"):
        EdgeNode("G", "N", [metric(name)])


@pytest.mark.parametrize("bad", ["", "a/b", "a+", "#"])
def test_topic_structure_namespace_valid_ids(bad):
    with pytest.raises(ValueError, match="must not be empty"):
        EdgeNode(bad, "N")
    with pytest.raises(ValueError, match="must not be empty"):
        EdgeNode("G", bad)
    with pytest.raises(ValueError, match="must not be empty"):
        EdgeNode("G", "N").add_device(bad, [], NOW)


# -- deaths and bdSeq


def test_payloads_ndeath_will_message_is_qos_1_not_retained_with_bdseq_and_no_seq():
    will = edge_node().connect(NOW).will
    assert (will.topic, will.qos, will.retain) == ("spBv1.0/Plant 1/NDEATH/Line A", 1, False)
    assert read(will).bd_seq_metric.value == 0
    raw = pb.Payload.FromString(will.payload)
    assert not raw.HasField("seq")
    assert [each.name for each in raw.metrics] == [BD_SEQ]


def test_topics_nbirth_bdseq_increment_per_connect_and_equal_in_will_and_birth():
    node = edge_node()
    for connection in range(258):
        will = node.connect(NOW + connection).will
        nbirth = node.connected(NOW + connection)[0]
        expected = connection % 256
        assert read(will).bd_seq_metric.value == expected
        assert values(read(nbirth))[BD_SEQ] == expected
        node.disconnected()


def test_the_intentional_end_publishes_ndeath_with_the_bdseq_of_the_birth():
    node, _ = online()
    ndeath, disconnect = node.stop(NOW + 9)
    assert verbs([ndeath]) == ["NDEATH"]
    assert read(ndeath).bd_seq_metric.value == 0
    assert isinstance(disconnect, Disconnect)
    assert node.stop(NOW + 10) == []


def test_an_end_before_the_birth_publishes_no_ndeath():
    node = edge_node()
    node.connect(NOW)
    assert [type(each) for each in node.stop(NOW)] == [Disconnect]


def test_a_dead_device_stores_its_data_until_it_returns():
    node, (_, dbirth) = online()
    (ddeath,) = node.device_died("Pump", NOW + 1)
    assert ddeath.topic == "spBv1.0/Plant 1/DDEATH/Line A/Pump"
    assert node.device_died("Pump", NOW + 1) == []
    assert node.update("Pump", [Update("Speed", 7.0, NOW + 2)], NOW + 2) == []
    assert verbs(node.rebirth(NOW + 3)) == ["NBIRTH"]

    birth, history = node.device_returned("Pump", NOW + 4)
    assert values(read(birth))["Speed"] == 7.0
    (late,) = read(history, read(dbirth)).metrics
    assert (late.value, late.timestamp, late.is_historical) == (7.0, NOW + 2, True)


def test_a_device_added_online_is_born_at_once_with_new_aliases():
    node, _ = online()
    (dbirth,) = node.add_device("Fan", [metric("Speed")], NOW + 1)
    payload = read(dbirth)
    assert payload.seq == 2
    assert [each.alias for each in payload.metrics] == [6]


# -- commands


def test_payloads_nbirth_bdseq_repeat_a_rebirth_repeats_values_and_bdseq():
    node, _ = online()
    node.update("Pump", [Update("Speed", 1500.0, NOW + 1)], NOW + 1)
    topic, payload = rebirth_command("Plant 1", "Line A", NOW + 2)
    births = node.message(topic, payload, NOW + 3)

    assert verbs(births) == ["NBIRTH", "DBIRTH"]
    nbirth, dbirth = (read(each) for each in births)
    assert values(nbirth)[BD_SEQ] == 0
    assert (nbirth.seq, dbirth.seq) == (0, 1)  # topics-nbirth-seq-num
    speed = dbirth.metrics[0]
    assert (speed.value, speed.timestamp) == (1500.0, NOW + 1)
    assert node.rebirths == 1


def test_a_rebirth_request_of_another_implementation_is_obeyed():
    node, _ = online()
    command = peer.NCmd(
        timestamp=NOW,
        metrics=(PeerMetric(timestamp=NOW, name=REBIRTH, datatype=PeerType.BOOLEAN, value=True),),
    )
    assert verbs(node.message(NCMD, command.encode(), NOW)) == ["NBIRTH", "DBIRTH"]


def test_a_rebirth_request_that_says_false_is_refused():
    node, _ = online()
    command = peer.NCmd(
        timestamp=NOW,
        metrics=(PeerMetric(timestamp=NOW, name=REBIRTH, datatype=PeerType.BOOLEAN, value=False),),
    )
    assert node.message(NCMD, command.encode(), NOW) == []
    assert node.refused_commands == 1


def test_a_command_to_another_node_is_none_of_ours():
    node, _ = online()
    topic, payload = rebirth_command("Plant 1", "Line B", NOW)
    assert node.message(topic, payload, NOW) == []
    assert node.refused_commands == 0


def test_a_gateway_that_blocks_commands_ignores_the_rebirth_request():
    node, _ = online(block_commands=True)
    assert node.message(*rebirth_command("Plant 1", "Line A", NOW), NOW) == []
    assert node.refused_commands == 1


@pytest.mark.parametrize("by", ["name", "alias"])
def test_a_write_to_a_writeable_metric_is_answered_with_its_new_value(by):
    node, (_, dbirth) = online()
    birth = read(dbirth)
    alias = {each.name: each.alias for each in birth.metrics}["Setpoint"]
    command = PeerMetric(
        timestamp=NOW,
        name="Setpoint" if by == "name" else None,
        alias=alias if by == "alias" else None,
        datatype=PeerType.INT16,
        value=-300,
    )
    (ddata,) = node.message(DCMD, write(command), NOW + 5)
    assert ddata.topic == "spBv1.0/Plant 1/DDATA/Line A/Pump"
    (found,) = read(ddata, birth).metrics
    assert (found.name, found.value, found.timestamp) == ("Setpoint", -300, NOW + 5)
    assert node.metric("Pump", "Setpoint").value == -300


def test_the_time_of_a_written_value_is_later_than_the_last_value_of_the_metric():
    node, _ = online()
    node.update("Pump", [Update("Setpoint", 1, NOW + 100)], NOW)
    command = PeerMetric(timestamp=NOW, name="Setpoint", datatype=PeerType.INT16, value=2)
    node.message(DCMD, write(command), NOW + 5)
    assert node.metric("Pump", "Setpoint").timestamp_ms == NOW + 101


@pytest.mark.parametrize(
    "command",
    [
        PeerMetric(timestamp=NOW, name="Serial", datatype=PeerType.STRING, value="P-2"),
        PeerMetric(timestamp=NOW, name="No such", datatype=PeerType.STRING, value="P-2"),
        PeerMetric(timestamp=NOW, name="Setpoint", datatype=PeerType.STRING, value="P-2"),
        PeerMetric(timestamp=NOW, name="Setpoint", datatype=PeerType.INT32, value=70_000),
        PeerMetric(timestamp=NOW, name=None, alias=0, datatype=PeerType.STRING, value="5.0"),
        PeerMetric(timestamp=NOW, name=None, alias=99, datatype=PeerType.INT16, value=5),
        PeerMetric(timestamp=NOW, name=None, alias=None, datatype=PeerType.INT16, value=5),
    ],
    ids=["read only", "unknown", "not a number", "too large", "node's", "no alias", "nothing"],
)
def test_other_writes_are_refused_and_counted(command):
    node, _ = online()
    assert node.message(DCMD, write(command), NOW + 5) == []
    assert node.refused_commands == 1


def test_a_command_that_cannot_be_parsed_is_refused():
    node, _ = online()
    assert node.message(NCMD, b"\xff\xff\xff", NOW) == []
    assert node.refused_commands == 1


def test_a_write_and_a_rebirth_in_one_command_end_with_births_of_the_new_value():
    node = EdgeNode("Plant 1", "Line A", [metric("Limit", value=1.0, writeable=True)])
    node.connect(NOW)
    node.connected(NOW)
    command = write(
        PeerMetric(timestamp=NOW, name=REBIRTH, datatype=PeerType.BOOLEAN, value=True),
        PeerMetric(timestamp=NOW, name="Limit", datatype=PeerType.DOUBLE, value=2.0),
    )
    actions = node.message(NCMD, command, NOW + 1)
    assert verbs(actions) == ["NDATA", "NBIRTH"]
    assert values(read(actions[1]))["Limit"] == 2.0


@pytest.mark.parametrize(
    ("data_type", "field", "expected"),
    [
        (DataType.Int8, {"int_value": 233}, -23),
        (DataType.Int8, {"int_value": 4294967273}, -23),
        (DataType.Int8, {"long_value": 2**64 - 23}, -23),
        (DataType.Int32, {"long_value": 7}, 7),
        (DataType.Int64, {"long_value": 2**64 - 1}, -1),
        (DataType.UInt64, {"long_value": 2**64 - 1}, 2**64 - 1),
        (DataType.DateTime, {"long_value": 2**64 - 1}, -1),
        (DataType.Double, {"int_value": 5}, 5.0),
        (DataType.Float, {"float_value": 0.5}, 0.5),
        (DataType.Text, {"string_value": ""}, ""),
        (DataType.Boolean, {"boolean_value": False}, False),
        (DataType.Int8, {"is_null": True}, None),
    ],
)
def test_the_value_of_a_command_is_read_as_the_metrics_datatype(data_type, field, expected):
    value = command_value(pb.Metric(**field), data_type)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("data_type", "field"),
    [
        (DataType.Int8, {"int_value": 300}),
        (DataType.Int8, {"int_value": 2**32 - 200}),
        (DataType.UInt8, {"int_value": 256}),
        (DataType.Boolean, {"int_value": 1}),
        (DataType.Int32, {"double_value": 1.0}),
        (DataType.DataSet, {"string_value": "x"}),
    ],
)
def test_the_value_of_a_command_that_does_not_fit_is_an_error(data_type, field):
    with pytest.raises(CommandError):
        command_value(pb.Metric(**field), data_type)
