"""What births declare and data carries (of the kit's Monitor), kept to and not kept to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from oracle.messages import metric

from conformance.assertions import Kind, Seen, tck
from conformance.edge import now_ms, number
from conformance.observer import state_of
from sparkplug.datatypes import DataType
from sparkplug.pb.sparkplug_b_pb2 import Metric, Payload, Template

ROWS = (Seen.ROWS,)
ROWS_AND_REQUEST = (Seen.ROWS, Seen.SUBSCRIBER)


def time(milliseconds):
    """An instant as the table has it."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)


def values(rows):
    """Names and values of rows, in order."""
    return [(row["metric_name"], row["numeric_value"]) for row in rows]


@tck(
    "topics-nbirth-metric-reqs",
    "operational-behavior-data-publish-nbirth",
    kind=Kind.EDGE,
    seen=ROWS_AND_REQUEST,
    checks="A metric in NDATA that the NBIRTH does not declare waits, and a rebirth is asked for; "
    "the other metrics of the message land at once. When an NBIRTH declares it, its value lands, "
    "too.",
)
def test_a_node_metric_that_was_not_declared(running, edge):
    edge.born(number("Level", 1.0))
    edge.data(number("Level", 2.0), number("Surprise", 3.0))
    running.observer.wait_for(edge.topic("NCMD"))
    rows = running.table.wait_for(2, group_id=edge.group)
    assert values(rows) == [("Level", 1.0), ("Level", 2.0)]

    edge.born(number("Level", 4.0), number("Surprise", 5.0))
    running.table.wait_for(5, group_id=edge.group)
    rows = running.table.rows(group_id=edge.group, metric_name="Surprise")
    assert sorted(row["numeric_value"] for row in rows) == [3.0, 5.0]


@tck(
    "topics-dbirth-metric-reqs",
    "operational-behavior-data-publish-dbirth",
    kind=Kind.EDGE,
    seen=ROWS_AND_REQUEST,
    checks="A metric in DDATA that the DBIRTH does not declare waits, also if the NBIRTH declares "
    "one of that name, and a rebirth is asked for; the other metrics of the message land at once. "
    "When a DBIRTH declares it, its value lands, too.",
)
def test_a_device_metric_that_was_not_declared(running, edge):
    edge.born(number("Level", 1.0))
    edge.device_born("Pump", number("Speed", 2.0))
    edge.data(number("Speed", 3.0), number("Level", 4.0), device="Pump")
    running.observer.wait_for(edge.topic("NCMD"))
    rows = running.table.wait_for(3, group_id=edge.group)
    assert values(rows) == [("Level", 1.0), ("Speed", 2.0), ("Speed", 3.0)]

    edge.device_born("Pump", number("Speed", 5.0), number("Level", 6.0))
    running.table.wait_for(6, group_id=edge.group)
    rows = running.table.rows(group_id=edge.group, device_id="Pump", metric_name="Level")
    assert sorted(row["numeric_value"] for row in rows) == [4.0, 6.0]


@tck(
    "topics-nbirth-templates",
    kind=Kind.EDGE,
    seen=ROWS_AND_REQUEST,
    checks="A template definition in the NBIRTH is no tag: it gives no row. Instances, of a "
    "definition that was published and of one that was not, do no harm to their neighbours, and "
    "nothing is asked.",
)
def test_templates_and_their_definitions(running, edge):
    member = number("rpm", 1.0)
    definition = Template(version="1", is_definition=True, metrics=[Metric(**member)])
    instances = [
        Template(version="1", template_ref=name, metrics=[Metric(**member)])
        for name in ("Motor", "Never defined")
    ]
    one, two = (
        metric(f"Motor {index}", DataType.Template, timestamp=now_ms(), template_value=each)
        for index, each in enumerate(instances)
    )
    edge.born(
        metric("Motor", DataType.Template, timestamp=now_ms(), template_value=definition),
        one,
        number("Level", 1.0),
    )
    edge.device_born("Pump", two, number("Speed", 2.0))
    edge.data(one, number("Level", 3.0))
    edge.data(two, number("Speed", 4.0), device="Pump")
    running.table.wait_for(1, group_id=edge.group, numeric_value=4.0)
    rows = running.table.rows(group_id=edge.group)
    assert [row for row in rows if row["metric_name"] == "Motor"] == []
    for name, expected in (("Level", [1.0, 3.0]), ("Speed", [2.0, 4.0])):
        assert [row["numeric_value"] for row in rows if row["metric_name"] == name] == expected
    assert running.observer.on(edge.topic("NCMD")) == []


ORDER = {
    "operational-behavior-data-publish-nbirth-order": None,
    "operational-behavior-data-publish-dbirth-order": "Pump",
}


@tck(
    *ORDER,
    kind=Kind.EDGE,
    seen=ROWS,
    checks="Several values of one metric in one message are rows of their own, each with its own "
    "time, in the order of the message; also where that order is not chronological.",
)
def test_several_values_of_one_metric_in_one_message(running, edge, tck_id):
    device = ORDER[tck_id]
    start_ms = now_ms()
    times = [start_ms + offset for offset in (10, 20, 30, 25, 15)]
    edge.born(number("Level", 0.0, timestamp=start_ms))
    if device:
        edge.device_born(device, number("Level", 0.0, timestamp=start_ms))
    edge.data(
        *(number("Level", float(at), timestamp=each) for at, each in enumerate(times, start=1)),
        device=device,
    )
    running.table.wait_for(1, group_id=edge.group, numeric_value=5.0)
    rows = running.table.rows(group_id=edge.group, message_type="DDATA" if device else "NDATA")
    assert values(rows) == [("Level", float(at)) for at in range(1, 6)]
    assert [row["event_time"] for row in rows] == [time(each) for each in times]


CHANGE = {
    "operational-behavior-data-publish-nbirth-change": None,
    "operational-behavior-data-publish-dbirth-change": "Pump",
    "principles-rbe-recommended": None,
}


@tck(
    *CHANGE,
    kind=Kind.EDGE,
    seen=ROWS,
    checks="A metric that is silent because it does not change gets no row and does not become "
    "STALE. Of an edge node that publishes unchanged values all the same, every one is a row.",
)
def test_silent_metrics_and_values_that_do_not_change(running, edge, tck_id):
    device = CHANGE[tck_id]
    start_ms = now_ms()
    metrics = [number(name, 1.0, timestamp=start_ms) for name in ("Silent", "Level")]
    edge.born(*metrics)
    if device:
        edge.device_born(device, *metrics)
    times = [start_ms + 1_000 * count for count in range(1, 6)]
    for each in times:
        edge.data(number("Level", 1.0, timestamp=each), device=device)
    kind = "DDATA" if device else "NDATA"
    rows = running.table.wait_for(5, group_id=edge.group, message_type=kind)
    assert [row["event_time"] for row in rows] == [time(each) for each in times]
    silent = running.table.rows(group_id=edge.group, metric_name="Silent")
    assert {row["message_type"] for row in silent} == (
        {"NBIRTH", "DBIRTH"} if device else {"NBIRTH"}
    )
    assert running.table.rows(group_id=edge.group, quality="STALE") == []


@tck(
    "payloads-timestamp-in-utc",
    seen=(Seen.WIRE, Seen.ROWS),
    checks="A host whose time zone is 14 hours before UTC writes UTC: in its STATE and its rebirth "
    "requests, after its start and before they arrive, and in the times of rows, which are those "
    "that edge nodes sent.",
)
def test_times_are_utc(running, edge, lives):
    for life in lives:
        sent = [each for each in life.stopped.sent if each.packet in life.stopped.published]
        for each in sent:
            if each.packet in life.stopped.states:
                at_ms = state_of(each.packet.payload)["timestamp"]
            else:
                at_ms = Payload.FromString(each.packet.payload).timestamp
            assert life.moments_ms["started"] <= at_ms <= each.at_ms
        assert {each.packet.topic.split("/")[1] for each in sent} == {"STATE", "Plant"}

    measured_ms = 1_795_443_214_123
    before_ms = now_ms()
    edge.born(number("Level", 1.0, timestamp=measured_ms))
    [row] = running.table.wait_for(1, group_id=edge.group)
    assert row["event_time"] == datetime(2026, 11, 23, 14, 13, 34, 123_000, tzinfo=UTC)
    assert time(before_ms) <= row["payload_timestamp"] <= row["ingestion_timestamp"]
    assert row["ingestion_timestamp"] <= time(now_ms() + 1)
