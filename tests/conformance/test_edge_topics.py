"""Topics and ids (of the kit's Monitor): what the host does with those that keep the rules,
and with those that do not."""

from __future__ import annotations

import re

from oracle.messages import payload
from support.services import wait_until

from conformance.assertions import Kind, Seen, tck
from conformance.edge import edge_node, now_ms, number

ROWS = (Seen.ROWS,)
ROWS_AND_COUNTS = (Seen.ROWS, Seen.COUNTS)
OURS = re.compile(r"spBv1\.0/(STATE/[^/+#]+|[^/+#]+/NCMD/[^/+#]+)")

STRANGE = "Werk Süd.2 $a 温度 🌡 {x}"
"""Valid as an id: everything but + / #, and more than ASCII."""


def born(value=1.0):
    """The payload of a birth."""
    return payload(number("Level", value), seq=0, timestamp=now_ms())


def refused(system):
    """How many topics were outside the grammar."""
    return system.consumer.reasons().get("bad_topic", 0)


def check_only_the_good_one_lands(system, topics, good):
    """Publish a birth on each topic, then one that is right: only that one is read."""
    group = good.split("/")[1]
    before = refused(system)
    for topic in topics:
        system.observer.publish(topic, born())
    system.observer.publish(good, born(2.0))
    rows = system.table.wait_for(1, group_id=group)
    assert [(row["numeric_value"], row["message_type"]) for row in rows] == [(2.0, "NBIRTH")]
    assert refused(system) - before == len(topics)


@tck(
    "topic-structure-namespace-a",
    seen=(Seen.WIRE, Seen.ROWS, Seen.COUNTS),
    checks="Every topic that the host publishes begins with `spBv1.0`. A host that is subscribed "
    "to `#` reads no other namespace: such messages give no row and are counted.",
)
def test_the_namespace(running, lives):
    published = [each for life in lives for session in life.sessions for each in session.published]
    assert {each.topic.split("/")[0] for each in published} == {"spBv1.0"}
    others = ["spAv1.0", "spBv1.1", "spbv1.0", "SPBV1.0", "spBv1", "other"]
    check_only_the_good_one_lands(
        running,
        [f"{namespace}/Namespaces/NBIRTH/Edge" for namespace in others],
        "spBv1.0/Namespaces/NBIRTH/Edge",
    )


@tck(
    "topic-structure",
    seen=(Seen.WIRE, Seen.ROWS, Seen.COUNTS),
    checks="Every topic that the host publishes has the structure of the specification. Messages "
    "with too few or too many levels, or an empty one, give no row and are counted.",
)
def test_the_structure(running, lives):
    published = [each for life in lives for session in life.sessions for each in session.published]
    assert published
    assert all(OURS.fullmatch(each.topic) for each in published)
    wrong = ["", "/NBIRTH", "/NBIRTH/", "//Edge", "/NBIRTH//Pump", "/DBIRTH/Edge/Pump/Rotor"]
    check_only_the_good_one_lands(
        running,
        [f"spBv1.0/Structure{rest}" for rest in wrong] + ["spBv1.0//NBIRTH/Edge"],
        "spBv1.0/Structure/NBIRTH/Edge",
    )


@tck(
    "topic-structure-namespace-device-id-associated-message-types",
    kind=Kind.EDGE,
    seen=ROWS_AND_COUNTS,
    checks="DBIRTH, DDATA, DDEATH and DCMD without a device id are not read: no row, counted as a "
    "bad topic, and no rebirth is asked for.",
)
def test_device_messages_without_a_device(running):
    check_only_the_good_one_lands(
        running,
        [f"spBv1.0/No device/{verb}/Edge" for verb in ("DBIRTH", "DDATA", "DDEATH", "DCMD")],
        "spBv1.0/No device/NBIRTH/Edge",
    )
    assert running.observer.on("spBv1.0/No device/NCMD/Edge") == []


@tck(
    "topic-structure-namespace-device-id-non-associated-message-types",
    kind=Kind.EDGE,
    seen=ROWS_AND_COUNTS,
    checks="NBIRTH, NDATA, NDEATH and NCMD with a device id are not read: no row, counted as a bad "
    "topic. A STATE topic with more than the host id is no STATE.",
)
def test_node_messages_with_a_device(running):
    verbs = ("NBIRTH", "NDATA", "NDEATH", "NCMD")
    check_only_the_good_one_lands(
        running,
        [f"spBv1.0/A device/{verb}/Edge/Pump" for verb in verbs] + ["spBv1.0/STATE/x/y/z/Pump"],
        "spBv1.0/A device/NBIRTH/Edge",
    )


# ---------------------------------------------------------------------- ids


ELEMENTS = {"group": (0, "group_id"), "edge-node": (1, "edge_node_id"), "device": (2, "device_id")}


def element(tck_id):
    """Which id an assertion is about: its place among the three, and its column."""
    [found] = [each for name, each in ELEMENTS.items() if f"{name}-id" in tck_id]
    return found


@tck(
    "intro-group-id-string",
    "intro-edge-node-id-string",
    "intro-device-id-string",
    "topic-structure-namespace-valid-group-id",
    "topic-structure-namespace-valid-edge-node-id",
    "topic-structure-namespace-valid-device-id",
    kind=Kind.EDGE,
    seen=(Seen.ROWS, Seen.SUBSCRIBER),
    checks="An id of any UTF-8 text but `+`, `/` and `#` lands unchanged in its column, and in the "
    "topic of a rebirth request.",
)
def test_ids_are_any_text(running, tck_id):
    place, column = element(tck_id)
    plain = f"{tck_id} group", "Edge", "Pump"
    ids = [f"{tck_id} {STRANGE}" if at == place else each for at, each in enumerate(plain)]
    group, node, device = ids
    with edge_node(running.server.port, group, node) as edge:
        edge.born(number("Level", 1.0))
        edge.device_born(device, number("Speed", 2.0))
        edge.data(number("Speed", 3.0), device=device)
        rows = running.table.wait_for(3, group_id=group)
        assert [row["numeric_value"] for row in rows] == [1.0, 2.0, 3.0]
        assert {row[column] for row in rows if row["device_id"]} == {ids[place]}
        edge.data(number("Unborn", 4.0), device=f"{device} 2")
        running.observer.wait_for(f"spBv1.0/{group}/NCMD/{node}")


def published(topic):
    """A PUBLISH with QoS 0 as a server sends it over MQTT 5, whatever the topic."""
    content = payload(number("Never", 1.0), seq=7)
    body = len(topic).to_bytes(2, "big") + topic + b"\x00" + content
    assert len(body) < 128
    return bytes([0x30, len(body)]) + body


@tck(
    "intro-group-id-chars",
    "intro-edge-node-id-chars",
    "intro-device-id-chars",
    kind=Kind.EDGE,
    seen=ROWS_AND_COUNTS,
    checks="A topic whose id holds `+`, `#`, U+0000 or what is not UTF-8, which only a server that "
    "breaks MQTT passes on, gives no row and is counted; the connection stays.",
)
def test_ids_of_characters_that_mqtt_does_not_allow(running, edge, tck_id):
    place, _ = element(tck_id)
    [connection] = running.proxy.connections
    before = refused(running)
    bad = (b"a+b", b"a#", b"a\x00b", b"a\xffb")
    for text in bad:
        ids = [text if at == place else each for at, each in enumerate((b"Chars", b"Edge", b"P"))]
        verb = b"DDATA" if place == 2 else b"NDATA"
        levels = [b"spBv1.0", ids[0], verb, ids[1], *ids[2 : 3 if place == 2 else 2]]
        connection.tell_client(published(b"/".join(levels)))
    wait_until(lambda: refused(running) == before + len(bad), what="all counted")
    edge.born(number("Level", 1.0))
    running.table.wait_for(1, group_id=edge.group)
    assert running.table.rows(metric_name="Never") == []
    assert len(running.proxy.connections) == 1


# ---------------------------------------------------------------------- uniqueness


@tck(
    "topic-structure-namespace-unique-edge-node-descriptor",
    "payloads-nbirth-edge-node-descriptor",
    "intro-edge-node-id-uniqueness",
    kind=Kind.EDGE,
    seen=ROWS,
    checks="An edge node is known by group id and edge node id together: nodes of one id in two "
    "groups, with the same aliases, do not mix. Of two with the same descriptor the later NBIRTH "
    "counts, and data is read by its aliases.",
)
def test_edge_nodes_are_known_by_their_descriptor(running, tck_id):
    port = running.server.port
    names = f"{tck_id} 1", f"{tck_id} 2"
    with edge_node(port, names[0]) as one, edge_node(port, names[1]) as two:
        one.born(number("Level", 1.0, alias=5))
        two.born(number("Flow", 2.0, alias=5))
        one.data(number(None, 3.0, alias=5))
        two.data(number(None, 4.0, alias=5))
        for group, name, value in ((names[0], "Level", 3.0), (names[1], "Flow", 4.0)):
            rows = running.table.wait_for(2, group_id=group)
            assert {row["metric_name"] for row in rows} == {name}
            assert rows[1]["numeric_value"] == value

        with edge_node(port, names[0]) as double:
            double.born(number("Weight", 5.0, alias=5))
            double.data(number(None, 6.0, alias=5))
            rows = running.table.wait_for(5, group_id=names[0])
            # The later birth leaves out the tag of the one before.
            said = [(row["metric_name"], row["quality"]) for row in rows[2:]]
            assert said == [("Level", "STALE"), ("Weight", "GOOD"), ("Weight", "GOOD")]


@tck(
    "topic-structure-namespace-unique-device-id",
    kind=Kind.EDGE,
    seen=ROWS,
    checks="A second DBIRTH under the id of a device that is alive takes its place: data is read "
    "by the aliases of the later one.",
)
def test_of_two_devices_with_one_id_the_later_birth_counts(running, edge):
    edge.born(number("Level", 1.0))
    edge.device_born("Pump", number("Speed", 2.0, alias=1))
    edge.device_born("Pump", number("Torque", 3.0, alias=1))
    edge.data(number(None, 4.0, alias=1), device="Pump")
    rows = running.table.wait_for(1, group_id=edge.group, numeric_value=4.0)
    assert [row["metric_name"] for row in rows] == ["Torque"]


@tck(
    "topic-structure-namespace-duplicate-device-id-across-edge-node",
    kind=Kind.EDGE,
    seen=ROWS,
    checks="Devices of one id under two edge nodes of one group, with the same aliases, do not "
    "mix; the death of one leaves the other alive.",
)
def test_devices_of_one_id_under_two_nodes(running):
    port = running.server.port
    with edge_node(port, "Twins", "One") as one, edge_node(port, "Twins", "Two") as two:
        for node, name in ((one, "Speed"), (two, "Torque")):
            node.born(number("Level", 1.0))
            node.device_born("Pump", number(name, 2.0, alias=1))
            # Both are born before any data comes.
            running.table.wait_for(2, edge_node_id=node.node, group_id="Twins")
        one.data(number(None, 3.0, alias=1), device="Pump")
        two.data(number(None, 4.0, alias=1), device="Pump")
        one.device_died("Pump")
        running.table.wait_for(1, group_id="Twins", quality="STALE")
        two.data(number(None, 5.0, alias=1), device="Pump")
        [last] = running.table.wait_for(1, group_id="Twins", numeric_value=5.0)
        assert (last["metric_name"], last["edge_node_id"]) == ("Torque", "Two")
        [stale] = running.table.rows(group_id="Twins", quality="STALE")
        assert (stale["metric_name"], stale["edge_node_id"]) == ("Speed", "One")


@tck(
    "case-sensitivity-sparkplug-ids",
    kind=Kind.EDGE,
    seen=ROWS,
    checks="Ids that differ only in case are different groups, edge nodes and devices, and land as "
    "they were written.",
)
def test_ids_keep_their_case(running):
    port = running.server.port
    with edge_node(port, "Case", "Edge") as one, edge_node(port, "CASE", "edge") as two:
        one.born(number("Level", 1.0, alias=1))
        two.born(number("Flow", 2.0, alias=1))
        one.data(number(None, 3.0, alias=1))
        one.device_born("Pump", number("Speed", 4.0, alias=2))
        one.device_born("PUMP", number("Torque", 5.0, alias=3))
        one.device_died("PUMP")
        one.data(number(None, 6.0, alias=2), device="Pump")
        rows = running.table.wait_for(6, group_id="Case")
        assert [
            (row["device_id"], row["metric_name"], row["quality"], row["numeric_value"])
            for row in rows
        ] == [
            (None, "Level", "GOOD", 1.0),
            (None, "Level", "GOOD", 3.0),
            ("Pump", "Speed", "GOOD", 4.0),
            ("PUMP", "Torque", "GOOD", 5.0),
            ("PUMP", "Torque", "STALE", None),
            ("Pump", "Speed", "GOOD", 6.0),
        ]
        [other] = running.table.wait_for(1, group_id="CASE")
        assert (other["edge_node_id"], other["metric_name"]) == ("edge", "Flow")
