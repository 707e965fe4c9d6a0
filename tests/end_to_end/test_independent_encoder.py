"""What pysparkplug publishes over MQTT is what the Delta table holds, column by column."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from oracle.event_id import event_id, identity
from support.peer import PeerType

from consumer.rows.tables import COLUMNS
from end_to_end.expected import INTEGERS, columns_of, limits, value_columns
from end_to_end.gateway import MEASURED_MS, Gateway, metric, now_ms
from end_to_end.world import world

MEASURED = datetime(2026, 11, 23, 14, 13, 34, 123_000, tzinfo=UTC)
MOMENT = datetime(2024, 2, 29, 23, 59, 59, 500_000, tzinfo=UTC)
OWNER = ("Every column", "Edge 7")


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with world(tmp_path_factory.mktemp("encoder")) as system:
        system.consumer.start_ready()
        yield system
        assert system.consumer.stop() == 0


SCALARS = {
    **{PeerType[data_type.upper()]: limits(data_type) for data_type in INTEGERS},
    PeerType.FLOAT: (0.1, -3.4e38, 0.0),
    PeerType.DOUBLE: (0.1, -1.7e308, 5e-324),
    PeerType.BOOLEAN: (True, False),
    PeerType.STRING: ("Grüße, 轴承 🌡", "", "line\nbreak"),
    PeerType.TEXT: ("long " * 100, ""),
    PeerType.UUID: ("6f9619ff-8b86-d011-b42d-00c04fc964ff", "no UUID at all"),
    PeerType.DATETIME: (MOMENT, datetime(1970, 1, 1, tzinfo=UTC)),
}
NAMES = {
    PeerType.FLOAT: "Float",
    PeerType.DOUBLE: "Double",
    PeerType.BOOLEAN: "Boolean",
    PeerType.STRING: "String",
    PeerType.TEXT: "Text",
    PeerType.UUID: "UUID",
    PeerType.DATETIME: "DateTime",
}


def columns(datatype, value):
    """The value columns of a row; a DateTime is given as such."""
    if isinstance(value, datetime):
        value = round(value.timestamp() * 1000)
    return columns_of(data_type_of(datatype), value)


def data_type_of(datatype):
    return NAMES.get(datatype, datatype.name.title().replace("Ui", "UI"))


@pytest.mark.parametrize("by", ["name", "alias"])
@pytest.mark.parametrize("device", [None, "Pump 1"], ids=["node", "device"])
def test_every_scalar_datatype_lands_with_its_exact_value(running, by, device):
    before = running.consumer.reasons()
    gateway = Gateway(running.publish, f"Scalars by {by}, {device}")
    born = [
        metric(datatype.name, datatype, values[0], alias=index if by == "alias" else None)
        for index, (datatype, values) in enumerate(SCALARS.items())
    ]
    gateway.born(*(born if device is None else ()))
    if device is not None:
        gateway.device_born(device, *born)
    expected = [(datatype, values[0]) for datatype, values in SCALARS.items()]
    for step in (1, 2, 3):
        changes = []
        for index, (datatype, values) in enumerate(SCALARS.items()):
            value = (*values, None, None)[step]
            known = {"alias": index} if by == "alias" else {}
            name = None if by == "alias" else datatype.name
            changes.append(metric(name, datatype, value, MEASURED_MS + step, **known))
            expected.append((datatype, value))
        gateway.data(*changes, device=device)

    rows = running.table.wait_for(len(expected), group_id=gateway.group)
    assert len(rows) == len(expected)
    assert running.consumer.reasons().keys() <= {"host_state"} | before.keys()
    for row, (datatype, value) in zip(rows, expected, strict=True):
        assert (row["metric_name"], row["device_id"]) == (datatype.name, device)
        assert row["data_type"] == data_type_of(datatype)
        assert row["quality"] == "GOOD"
        assert value_columns(row) == columns(datatype, value), datatype.name


def test_every_column_of_a_node_metric_and_of_a_device_metric(running):
    started_ms = now_ms()
    gateway = Gateway(running.publish, *OWNER)
    gateway.born(metric("Line 1/Level", value=0.5, alias=0))
    gateway.device_born("Pump", metric("Speed", PeerType.INT32, 5, alias=1))
    gateway.data(
        metric(None, PeerType.INT32, -7, MEASURED_MS + 1, alias=1, is_historical=True),
        device="Pump",
    )
    first, _, third = running.table.wait_for(3, group_id=gateway.group)

    arrived = first["ingestion_timestamp"]
    assert started_ms - 1_000 < arrived.timestamp() * 1_000 < now_ms() + 1_000
    assert first == {
        "event_id": event_id(
            identity("", *OWNER, None, "Line 1/Level"), MEASURED_MS * 1_000, first, 192
        ),
        "event_time": MEASURED,
        "tag_path": "[MQTT Engine]Edge Nodes/Every column/Edge 7/Line 1/Level",
        "tag_provider": "MQTT Engine",
        "numeric_value": 0.5,
        "integer_value": None,
        "string_value": None,
        "boolean_value": None,
        "quality": "GOOD",
        "quality_code": 192,
        "data_type": "Double",
        "source_system_id": "Every column/Edge 7",
        "group_id": "Every column",
        "edge_node_id": "Edge 7",
        "device_id": None,
        "metric_name": "Line 1/Level",
        "message_type": "NBIRTH",
        "is_historical": False,
        "seq": 0,
        "payload_timestamp": MEASURED + timedelta(seconds=1),
        "ingestion_timestamp": arrived,
        "arrival_number": first["arrival_number"],
    }
    assert list(first) == [column.name for column in COLUMNS]
    assert third == first | {
        "event_id": event_id(
            identity("", *OWNER, "Pump", "Speed"), MEASURED_MS * 1_000 + 1_000, third, 192
        ),
        "event_time": MEASURED + timedelta(milliseconds=1),
        "tag_path": "[MQTT Engine]Edge Nodes/Every column/Edge 7/Pump/Speed",
        "numeric_value": -7.0,
        "integer_value": -7,
        "data_type": "Int32",
        "device_id": "Pump",
        "metric_name": "Speed",
        "message_type": "DDATA",
        "is_historical": True,
        "seq": 2,
        "ingestion_timestamp": third["ingestion_timestamp"],
        "arrival_number": first["arrival_number"] + 2,
    }


def test_what_is_published_twice_has_one_id_and_in_births_one_row(running):
    before = running.consumer.reasons().get("repeated_birth_value", 0)
    gateway = Gateway(running.publish, "Ids")
    for _ in range(2):
        gateway.born(metric("Product", PeerType.STRING, "Valve"))
    gateway.data(metric("Product", PeerType.STRING, "Valve"))
    first, second = running.table.wait_for(2, group_id=gateway.group)
    assert (first["message_type"], second["message_type"]) == ("NBIRTH", "NDATA")
    assert running.consumer.reasons()["repeated_birth_value"] == before + 1
    # What the program in docs/event_id.md gives.
    assert first["event_id"] == second["event_id"] == "6d12d395acc4c3d78c24f1c9c06d94ad"
    assert first["arrival_number"] < second["arrival_number"]


def test_deaths_make_tags_stale_and_what_the_dead_say_is_held_until_the_next_birth(running):
    before = running.consumer.reasons()
    gateway = Gateway(running.publish, "Deaths")
    gateway.born(metric("Level", value=0.0))
    gateway.device_born("Pump", metric("Speed", value=0.0))
    gateway.device_died("Pump")
    gateway.data(metric("Speed", value=-1.0), device="Pump")
    gateway.device_born("Pump", metric("Speed", value=1.0))
    gateway.data(metric("Speed", value=2.0), device="Pump")
    gateway.died()
    gateway.data(metric("Level", value=-1.0))
    gateway.data(metric("Speed", value=-1.0), device="Pump")
    gateway.sent_ms += 1_000
    gateway.born(metric("Level", value=3.0))
    gateway.data(metric("Level", value=4.0))

    rows = running.table.wait_for(11, group_id=gateway.group)
    said = [row for row in rows if row["quality"] != "STALE"]
    # What the dead said (-1) is held until the next birth, behind which it is history; the pump
    # has none.
    values = [(row["numeric_value"], bool(row["is_historical"])) for row in said]
    assert values == [
        *((0.0, False), (0.0, False), (1.0, False), (-1.0, True), (2.0, False)),
        *((3.0, False), (-1.0, True), (4.0, False)),
    ]
    of_pump, *of_all = (row for row in rows if row["quality"] == "STALE")
    assert (of_pump["message_type"], of_pump["metric_name"]) == ("DDEATH", "Speed")
    assert of_pump["event_time"] == MEASURED + timedelta(seconds=1)
    assert {(row["device_id"], row["metric_name"]) for row in of_all} == {
        (None, "Level"),
        ("Pump", "Speed"),
    }
    for row in of_all:
        assert row["message_type"] == "NDEATH"
        assert row["event_time"] == row["ingestion_timestamp"]
        assert value_columns(row) == (None, None, None, None)
    # Values keep the times of the edge node, also those of the births after the deaths.
    assert {row["event_time"] - MEASURED for row in said} == {timedelta(0)}
    after = running.consumer.reasons()
    assert after.pop("device_data_before_birth") == 1
    assert after.pop("data_before_birth") == 2
    assert after.keys() <= {"command", *before}


def test_metrics_that_steer_the_session_and_transient_ones_give_no_rows(running):
    gateway = Gateway(running.publish, "Steering")
    gateway.born(
        metric("Node Control/Rebirth", PeerType.BOOLEAN, value=False),
        metric("Node Info/Version", PeerType.STRING, "1.0"),
        metric("Now", value=1.0, is_transient=True),
    )
    gateway.device_born("Pump", metric("Device Control/Reboot", PeerType.BOOLEAN, value=False))
    gateway.data(metric("Node Info/Version", PeerType.STRING, "1.1"))

    rows = running.table.wait_for(2, group_id=gateway.group)
    assert [row["string_value"] for row in rows] == ["1.0", "1.1"]
