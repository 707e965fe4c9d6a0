"""seq and bdSeq (of the kit's Monitor): edge nodes that count as they should, and others."""

from __future__ import annotations

from conformance.assertions import Kind, Seen, tck
from conformance.edge import edge_node, number
from sparkplug.pb.sparkplug_b_pb2 import Payload

ROWS = (Seen.ROWS,)
ROWS_AND_REQUEST = (Seen.ROWS, Seen.SUBSCRIBER)


def wait_for_a_request_elsewhere(system):
    """Wait until an edge node that lost a message just now was asked for a rebirth.

    An edge node that did something before, and gave a reason, has been asked by then.
    """
    with edge_node(system.server.port) as other:
        other.born(number("Level", 1.0))
        other.skip_seq()
        other.data(number("Level", 2.0))
        system.observer.wait_for(other.topic("NCMD"))


def requests(system, edge):
    """How often an edge node was asked for a rebirth so far."""
    return len(system.observer.on(edge.topic("NCMD")))


def say(edge, verb):
    """One message of this verb from an edge node with a device "Pump"."""
    if verb == "NDATA":
        edge.data(number("Level", 3.0))
    elif verb == "DDATA":
        edge.data(number("Speed", 3.0), device="Pump")
    elif verb == "DBIRTH":
        edge.device_born("Valve", number("Open", 3.0))
    else:
        edge.device_died("Pump")


VERBS = {
    "payloads-ndata-seq-inc": "NDATA",
    "payloads-ddata-seq-inc": "DDATA",
    "payloads-dbirth-seq-inc": "DBIRTH",
    "message-flow-device-birth-publish-dbirth-payload-seq": "DBIRTH",
    "payloads-ddeath-seq-inc": "DDEATH",
}


@tck(
    *VERBS,
    kind=Kind.EDGE,
    seen=ROWS_AND_REQUEST,
    checks="The message takes part in the one count of its edge node: with a seq of one more than "
    "the message before, and followed by one more, it and its follower land with their seq, and "
    "nothing is asked. With a seq of two more, the edge node is asked for one rebirth, and "
    "everything lands.",
)
def test_every_message_counts(running, tck_id):
    verb = VERBS[tck_id]
    port = running.server.port
    with edge_node(port) as right, edge_node(port) as wrong:
        for edge in (right, wrong):
            edge.born(number("Level", 1.0))
            edge.device_born("Pump", number("Speed", 2.0))
            if edge is wrong:
                edge.skip_seq()
            say(edge, verb)
            edge.data(number("Level", 4.0))
        running.observer.wait_for(wrong.topic("NCMD"))
        assert requests(running, right) == 0
        rows = running.table.wait_for(4, group_id=right.group)
        assert [row["seq"] for row in rows] == [0, 1, 2, 3]
        assert [row["message_type"] for row in rows] == ["NBIRTH", "DBIRTH", verb, "NDATA"]
        rows = running.table.wait_for(4, group_id=wrong.group)
        assert [row["seq"] for row in rows] == [0, 1, 3, 4]
        assert requests(running, wrong) == 1


@tck(
    "payloads-sequence-num-incrementing",
    kind=Kind.EDGE,
    seen=ROWS_AND_REQUEST,
    checks="Over 300 messages of node and device, with 255 followed by 0, everything lands in "
    "order with its seq, and nothing is asked.",
)
def test_counting_goes_on_behind_255(running, edge):
    edge.born(number("Level", 0.0))
    edge.device_born("Pump", number("Speed", 1.0))
    for value in range(2, 302):
        is_node = value % 3
        edge.data(
            number("Level" if is_node else "Speed", float(value)),
            device=None if is_node else "Pump",
        )
    wait_for_a_request_elsewhere(running)
    rows = running.table.wait_for(302, group_id=edge.group)
    assert [row["numeric_value"] for row in rows] == [float(value) for value in range(302)]
    assert [row["seq"] for row in rows] == [value % 256 for value in range(302)]
    assert requests(running, edge) == 0


@tck(
    "payloads-nbirth-seq",
    kind=Kind.EDGE,
    seen=ROWS_AND_REQUEST,
    checks="An NBIRTH may have any seq from 0 to 255; counting goes on from it, and nothing is "
    "asked.",
)
def test_an_nbirth_sets_the_count(running, edge):
    starts = [0, 1, 37, 254, 255]
    for start in starts:
        edge.born(number("Level", float(start)), seq=start)
        edge.data(number("Level", start + 0.5))
    wait_for_a_request_elsewhere(running)
    rows = running.table.wait_for(2 * len(starts), group_id=edge.group)
    assert [row["seq"] for row in rows] == [
        seq for start in starts for seq in (start, (start + 1) % 256)
    ]
    assert requests(running, edge) == 0


@tck(
    "topics-nbirth-bdseq-increment",
    kind=Kind.EDGE,
    seen=ROWS,
    checks="bdSeq names a session and is compared for equality only: the death of a session ends "
    "it also where bdSeq did not begin at 0, made a leap, or went back.",
)
def test_any_bdseq_names_a_session(running, edge):
    edge.close()
    numbers = [200, 201, 255, 0, 7, 3, 2**40]
    for count, bd_seq in enumerate(numbers, start=1):
        edge.bd_seq = bd_seq
        edge.connect()
        edge.born(number("Level", float(count)))
        edge.leave()
        stale = running.table.wait_for(count, group_id=edge.group, quality="STALE")
        assert len(stale) == count


@tck(
    "message-flow-edge-node-birth-publish-will-message-payload-bdseq",
    kind=Kind.EDGE,
    seen=(Seen.ROWS, Seen.COUNTS),
    checks="An NDEATH with the bdSeq of another session, as the late will of an earlier connection "
    "has it, changes nothing and is counted; one with that of the NBIRTH ends the session.",
)
def test_a_will_of_another_session_changes_nothing(running, edge):
    edge.bd_seq = 4
    edge.born(number("Level", 1.0))
    # The will was registered with bdSeq 0.
    before = running.consumer.reasons().get("death_of_other_session", 0)
    edge.break_off()
    [death] = running.observer.wait_for(edge.topic("NDEATH"))
    [bd_seq] = Payload.FromString(death.payload).metrics
    assert (bd_seq.name, bd_seq.long_value) == ("bdSeq", 0)
    edge.connect()
    edge.data(number("Level", 2.0))
    rows = running.table.wait_for(2, group_id=edge.group)
    assert [row["quality"] for row in rows] == ["GOOD", "GOOD"]
    assert running.consumer.reasons()["death_of_other_session"] == before + 1

    edge.break_off()
    assert len(running.observer.wait_for(edge.topic("NDEATH"), 2)) == 2
    [stale] = running.table.wait_for(1, group_id=edge.group, quality="STALE")
    assert stale["message_type"] == "NDEATH"
