"""What a publisher can make us keep is bounded, and bounds cost the others nothing."""

import zlib

import pytest
from support.columnar import Columnar, change, message, metric, tag, values
from support.listener import LATER, listening, told

from sparkplug.datatypes import DataType
from sparkplug.host.screening import FleetLimits
from sparkplug.messages import Message
from sparkplug.pb.sparkplug_b_pb2 import Payload

CATALOGUE_SLACK = 10_000  # tag ids that may be dead before they are handed out anew


def fed(*messages, **limits):
    seen = Columnar(FleetLimits(**limits))
    seen.feed(*messages)
    return seen


# Nodes


def test_a_node_beyond_the_limit_is_refused_and_the_others_go_on():
    seen = fed(*(message("NBIRTH", tag("Ramp", 0), node=node) for node in "ABC"), max_nodes=2)
    rows = seen.feed(*(message("NDATA", change(0, 1.0), node=node, seq=1) for node in "CBA"))
    assert [row["edge_node_id"] for row in rows] == ["B", "A"]
    assert seen.counts == {"too_many_nodes": 1, "data_before_birth": 1}
    assert [(m.topic, reason) for m, reason in seen.quarantined] == [
        ("spBv1.0/Plant/NBIRTH/C", "too_many_nodes")
    ]
    assert seen.fleet.gauges.node_count == 2


def test_a_node_that_is_known_may_be_born_again_at_the_limit():
    birth = message("NBIRTH", tag("Ramp", 0))
    seen = fed(birth, birth, max_nodes=1)
    assert not seen.counts
    assert (len(seen.rows), seen.repeated) == (1, 1)
    assert seen.feed(message("NDATA", change(0, 1.0), seq=1))


# Tags; six places are taken by each node and device itself


def tags(count, prefix="T", first_alias=0):
    return [tag(f"{prefix}{number}", first_alias + number) for number in range(count)]


def test_a_birth_beyond_the_limit_of_tags_is_refused_and_the_others_go_on():
    seen = fed(
        message("NBIRTH", *tags(5), node="A"),
        message("NBIRTH", *tags(5), node="B"),
        max_tags=21,
    )
    rows = seen.feed(
        message("NDATA", change(0, 1.0), node="B", seq=1),
        message("NDATA", change(4, 2.0), node="A", seq=1),
    )
    assert [(row["edge_node_id"], row["metric_name"]) for row in rows] == [("A", "T4")]
    assert seen.counts == {"too_many_tags": 1, "data_before_birth": 1}
    assert seen.fleet.gauges.live_tags == 5


def test_as_many_tags_as_the_limit_allows_are_taken():
    seen = fed(
        message("NBIRTH", *tags(5), node="A"), message("NBIRTH", *tags(5), node="B"), max_tags=22
    )
    assert not seen.counts
    assert seen.fleet.gauges.live_tags == 10


def test_a_device_beyond_the_limit_is_refused_and_its_node_goes_on():
    seen = fed(message("NBIRTH", *tags(3)), message("DBIRTH", *tags(3, "D", 3), seq=1), max_tags=17)
    rows = seen.feed(
        message("DDATA", change(3, 1.0), seq=2), message("NDATA", change(0, 1.0), seq=3)
    )
    assert values(rows) == [("T0", 1.0)]
    assert seen.counts == {"too_many_tags": 1, "device_data_before_birth": 1}


def test_devices_without_metrics_are_bounded_too():
    births = [message("DBIRTH", seq=n % 256, device=f"D{n}") for n in range(1, 50)]
    seen = fed(message("NBIRTH"), *births, max_tags=60)
    assert seen.counts == {"too_many_tags": 40}


def test_tags_that_a_rebirth_no_longer_declares_make_room():
    seen = fed(message("NBIRTH", *tags(9)), message("NBIRTH", *tags(2)), max_tags=22)
    seen.feed(message("NBIRTH", *tags(8), node="B"))
    assert not seen.counts
    assert seen.fleet.gauges.live_tags == 10


def test_after_a_refused_birth_the_aliases_of_the_one_before_stand_for_nothing():
    """The publisher uses the new ones from now on: rows would get the names of other tags."""
    seen = fed(message("NBIRTH", *tags(2)), message("NBIRTH", *tags(50, "New")), max_tags=10)
    assert not seen.feed(message("NDATA", change(0, 1.0), seq=1))
    assert seen.counts == {"too_many_tags": 1, "data_before_birth": 1}
    rows = seen.feed(message("NBIRTH", *tags(2, "Small")), message("NDATA", change(0, 1.0), seq=2))
    # One of the last rows is of the value that had no birth to explain it.
    assert [row["metric_name"] for row in rows] == [
        *("T0", "T1"),  # they are retired
        *("Small0", "Small1", "Small0", "Small0"),
    ]


def test_after_a_refused_birth_of_a_device_its_old_aliases_stand_for_nothing():
    seen = fed(
        message("NBIRTH", *tags(1)),
        message("DBIRTH", *tags(2, "D", 1), seq=1),
        message("DBIRTH", *tags(50, "New", 1), seq=2),
        max_tags=20,
    )
    rows = seen.feed(
        message("DDATA", change(1, 1.0), seq=3), message("NDATA", change(0, 2.0), seq=4)
    )
    assert values(rows) == [("T0", 2.0)]
    assert seen.counts == {"too_many_tags": 1, "device_data_before_birth": 1}


# Endless births


def wear(seen, node="Churn"):
    """Births with ever new names until the catalogue hands out its ids anew."""
    generation = seen.fleet.catalogue.generation
    for number in range(20):
        seen.feed(message("NBIRTH", *tags(1500, f"{generation}.{number}."), node=node))
        if seen.fleet.catalogue.generation > generation:
            return
    pytest.fail("the catalogue was never compacted")


def test_endless_births_with_ever_new_names_keep_the_catalogue_bounded():
    seen = Columnar(emit_births=False)
    for number in range(60):
        seen.feed(message("NBIRTH", *tags(1000, f"{number}.")))
        assert len(seen.fleet.catalogue) <= 3 * 1000 + CATALOGUE_SLACK
    assert seen.fleet.gauges.live_tags == 1000
    assert seen.fleet.catalogue.generation > 3
    assert seen.feed(message("NDATA", change(7, 1.0), seq=1))[0]["metric_name"] == "59.7"


def test_endless_births_with_ever_new_datatypes_keep_the_catalogue_bounded():
    seen = Columnar(emit_births=False)
    for number in range(60):
        code = (DataType.Int32, DataType.Double)[number % 2]
        seen.feed(
            message("NBIRTH", *(metric(f"T{n}", code, alias=n, is_null=True) for n in range(1000)))
        )
        assert len(seen.fleet.catalogue) <= 3 * 1000 + CATALOGUE_SLACK


def test_endless_births_with_larger_and_larger_aliases_keep_the_alias_pool_bounded():
    seen = Columnar(emit_births=False)
    for number in range(400):
        seen.feed(message("NBIRTH", tag("Ramp", 10 * number), node=f"Edge {number % 4}"))
    assert len(seen.fleet._state.pool.tags) <= 4 * 65_536
    rows = seen.feed(message("NDATA", change(3990, 1.0), node="Edge 3", seq=1))
    assert values(rows) == [("Ramp", 1.0)]


SPARSE = 2**50
BEFORE = {
    "dense": [message("NBIRTH", tag("Ramp", 0), tag("Sine", 1))],
    "scattered": [message("NBIRTH", tag("Ramp", 0), tag("Sine", 1), tag("Far", SPARSE))],
    "device": [message("NBIRTH", tag("Ramp", 0)), message("DBIRTH", tag("Sine", 1), seq=1)],
    "equal aliases": [message("NBIRTH", tag("Ramp", 0)), message("DBIRTH", tag("Sine", 0), seq=1)],
    "by name": [message("NBIRTH", tag("Ramp"), tag("Sine"))],
    "equal names": [
        message(
            "NBIRTH",
            metric("Ramp", DataType.Float, alias=0, float_value=0.0),
            tag("Ramp", 1),
            tag("Sine", 2),
        )
    ],
}
AFTER = {
    "dense": message("NDATA", change(0, 1.0), change(1, 2.0), seq=1),
    "scattered": message("NDATA", change(0, 1.0), change(1, 2.0), change(SPARSE, 3.0), seq=1),
    "device": message("DDATA", change(0, 1.0), change(1, 2.0), seq=2),
    "equal aliases": message("DDATA", change(0, 1.0), seq=2),
    "by name": message(
        "NDATA", metric("Ramp", double_value=1.0), metric("Sine", double_value=2.0), seq=1
    ),
    "equal names": message("NDATA", change(0, 1.0), change(1, 1.5), change(2, 2.0), seq=1),
}


@pytest.mark.parametrize("case", BEFORE)
def test_ids_and_rows_stay_right_when_tag_ids_are_handed_out_anew(case):
    plain, worn = Columnar(), Columnar()
    wear(worn)  # so that the tags of interest are not the first
    for seen in (plain, worn):
        seen.feed(*BEFORE[case])
    wear(worn, node="Another")
    assert worn.fleet.catalogue.generation == 2
    expected, found = (seen.feed(AFTER[case]) for seen in (plain, worn))
    assert len(expected) == len(Payload.FromString(AFTER[case].payload).metrics)
    for row in (*expected, *found):
        del row["arrival_number"]
    assert found == expected
    assert not worn.counts


def test_a_dead_device_is_read_again_after_tag_ids_were_handed_out_anew():
    seen = Columnar()
    wear(seen)
    birth = message("DBIRTH", tag("Level", 0), seq=1)
    seen.feed(message("NBIRTH"), birth, message("DDEATH", seq=2))
    wear(seen, node="Another")
    rows = seen.feed(birth._replace(payload=message("DBIRTH", tag("Level", 0), seq=3).payload))
    rows += seen.feed(message("DDATA", change(0, 1.0), seq=4))
    assert values(rows) == [("Boiler/Level", 0.0), ("Boiler/Level", 1.0)]
    assert not seen.counts


def test_a_metric_with_an_endless_name_is_not_declared_and_its_neighbours_are():
    seen = fed(message("NBIRTH", tag("x" * 4097, 0), tag("y" * 4096, 1), tag("Ramp", 2)))
    assert [len(row["metric_name"]) for row in seen.rows] == [4096, 4]
    assert seen.counts == {"metric_without_name": 1}


# Names


def long_names(count, prefix="N"):
    return [tag(f"{prefix}{number:03}{'x' * 96}", number) for number in range(count)]


def test_a_birth_whose_names_are_too_much_beside_the_others_is_refused():
    seen = fed(
        message("NBIRTH", *long_names(10), node="A"),
        message("NBIRTH", *long_names(6), node="B"),
        message("NBIRTH", *long_names(5), node="C"),
        max_name_characters=1600,
    )
    assert seen.counts == {"too_many_tags": 1}
    assert [m.topic for m, _ in seen.quarantined] == ["spBv1.0/Plant/NBIRTH/B"]
    assert {row["edge_node_id"] for row in seen.rows} == {"A", "C"}


def test_what_a_birth_does_not_declare_any_more_makes_room_for_other_names():
    seen = fed(
        message("NBIRTH", *long_names(10)),
        message("NBIRTH", *long_names(15, "M")),
        message("NBIRTH", *long_names(2)),
        message("NBIRTH", *long_names(13), node="B"),
        max_name_characters=1600,
    )
    assert not seen.counts
    assert fed(message("NBIRTH", *long_names(16)), max_name_characters=1600).counts == {
        "too_many_tags": 1
    }


def test_names_that_nobody_declares_any_more_are_forgotten_though_they_are_few():
    seen = fed(message("NBIRTH", tag("Ramp", 0), node="Keep"))
    for number in range(20):
        names = [tag(f"{number:03}{each:03}{'x' * 4000}", each) for each in range(100)]
        seen.feed(message("NBIRTH", *names))
    assert seen.fleet.catalogue.characters < 2_500_000
    assert values(seen.feed(message("NDATA", change(0, 2.0), node="Keep", seq=1))) == [
        ("Ramp", 2.0)
    ]


# Windows


def test_what_waits_for_missing_messages_of_all_nodes_together_is_bounded():
    nodes = [f"N{number}" for number in range(20)]
    seen = Columnar(FleetLimits(max_waiting_bytes=100_000), reorder_timeout=60.0)
    seen.feed(*(message("NBIRTH", tag("Ramp", 0), node=node) for node in nodes))
    large = [change(0, float(number)) for number in range(20)]
    for seq in range(2, 6):  # 1 is missing
        seen.feed(*(message("NDATA", *large, seq=seq, node=node) for node in nodes))
        assert seen.fleet.gauges.waiting_bytes <= 100_000
    assert seen.fleet.gauges.held_messages > 0
    assert seen.counts["sequence_gap"] > 10
    small = message("NDATA", change(0, 9.0), seq=2, node="Late")
    seen.feed(message("NBIRTH", tag("Ramp", 0), node="Late"), small)
    rows = seen.feed(message("NDATA", change(0, 8.0), seq=1, node="Late"))
    assert values(rows) == [("Ramp", 8.0), ("Ramp", 9.0)]  # its window had room


# Rows


def test_a_message_whose_rows_would_be_endless_is_read_for_its_seq_alone():
    seen = fed(message("NBIRTH", tag("x" * 4000, 0), tag("Ramp", 1)), max_row_bytes=100_000)
    rows = seen.feed(
        message("NDATA", change(1, 1.0), seq=1),
        message("NDATA", *[change(0, 2.0)] * 20, seq=2),
        message("NDATA", change(1, 3.0), *[change(0, 3.0)] * 5, seq=3),
        message("NDATA", *[change(1, 4.0)] * 20, seq=4),
    )
    assert [row["numeric_value"] for row in rows] == [1.0] + [3.0] * 6 + [4.0] * 20
    assert seen.counts == {"too_many_row_bytes": 1}
    assert not seen.rebirths


def test_a_birth_whose_rows_would_be_endless_declares_its_tags_all_the_same():
    seen = fed(message("NBIRTH", *long_names(50)), max_row_bytes=10_000)
    assert (seen.rows, seen.counts) == ([], {"too_many_row_bytes": 1})
    assert len(seen.feed(message("NDATA", change(3, 1.0), seq=1))) == 1


def test_a_topic_of_endless_ids_is_not_read():
    seen = fed(message("NBIRTH", tag("Ramp", 0), node="E" * 2100))
    assert seen.rows == []
    assert seen.counts == {"bad_topic": 1}


def test_ids_that_every_row_repeats_count_as_its_name_does():
    node = "E" * 1900
    seen = fed(message("NBIRTH", tag("Ramp", 0), node=node), max_row_bytes=100_000)
    assert not seen.feed(message("NDATA", *[change(0, 2.0)] * 50, node=node, seq=1))
    assert seen.counts == {"too_many_row_bytes": 1}
    assert len(seen.feed(message("NDATA", *[change(0, 2.0)] * 10, node=node, seq=2))) == 10


JSON = b'{"timestamp":5,"seq":1,"metrics":[%b]}'


@pytest.mark.parametrize(
    "payload",
    [
        JSON % b",".join([b"{}"] * 300_000),
        b" " + JSON % b",".join([b"{}"] * 300_000),
        JSON % b",".join([b"[]"] * 2_000_000),
        JSON % (b'{"name":"a","value":' + b"[" * 2_000_000),
    ],
    ids=["metrics", "behind a space", "lists", "deep"],
)
def test_json_of_endless_objects_is_set_aside_before_it_is_parsed(payload):
    swarm = Message("spBv1.0/Plant/NDATA/Edge", payload, 0)
    seen = fed(message("NBIRTH", tag("Ramp", 0)), swarm)
    assert seen.counts == {"too_large": 1}
    assert seen.quarantined == [(swarm, "too_large")]


@pytest.mark.parametrize("before", [b"", b"\x7b\x7c"], ids=["plain", "that begins as JSON does"])
def test_an_envelope_of_endless_metrics_is_not_opened(before):
    inner = before + b"\x08\x05" + b"\x12\x00" * 300_000
    packed = Payload(uuid="SPBV1.0_COMPRESSED", seq=1, body=zlib.compress(inner))
    seen = fed(
        message("NBIRTH", tag("Ramp", 0)),
        Message("spBv1.0/Plant/NDATA/Edge", packed.SerializeToString(), 0),
    )
    assert seen.counts == {"envelope_too_large": 1}


def test_tags_that_a_kept_birth_leaves_out_count_as_long_as_they_are_remembered():
    seen = fed(message("NBIRTH", *long_names(50), *tags(150)), max_tags=400)
    seen.fleet.connection_lost(1.0)
    kept = message("NBIRTH", tag("Ramp", 0), timestamp=LATER)
    topic = "$sparkplug/certificates/spBv1.0/Plant/NBIRTH/Edge"
    seen.fleet.memory.warm_start([Message(topic, kept.payload, 0, retained=True)], 2.0)
    assert seen.fleet.gauges.live_tags == 201
    seen.feed(message("NBIRTH", *tags(200), node="Other"))
    assert seen.counts["too_many_tags"] == 1
    generation = seen.fleet.catalogue.generation
    for seq in range(1, 4):
        seen.feed(message("NDATA", seq=seq, node="Nobody"))
    assert seen.fleet.catalogue.generation == generation
    seen.feed(message("NBIRTH", tag("Ramp", 0), timestamp=LATER + 1))
    assert seen.fleet.gauges.live_tags == 1


def test_names_left_out_by_a_kept_birth_do_not_move_all_tags_with_every_batch(monkeypatch):
    for slack in ("_SLACK", "_SLACK_CHARACTERS"):
        monkeypatch.setattr(f"sparkplug.host.declared_tags.{slack}", 0)
    seen = fed(message("NBIRTH", *long_names(50)))
    seen.fleet.connection_lost(1.0)
    kept = message("NBIRTH", tag("Ramp", 0), timestamp=LATER)
    topic = "$sparkplug/certificates/spBv1.0/Plant/NBIRTH/Edge"
    seen.fleet.memory.warm_start([Message(topic, kept.payload, 0, retained=True)], 2.0)
    generation = seen.fleet.catalogue.generation
    for seq in range(1, 6):
        seen.feed(message("NDATA", seq=seq, node="Nobody"))
    assert seen.fleet.catalogue.generation - generation <= 1


def test_a_payload_of_endless_metrics_is_set_aside_before_it_is_decoded():
    swarm = Message("spBv1.0/Plant/NBIRTH/Edge", b"\x12\x00" * 600_000, 0)
    seen = fed(swarm, message("NBIRTH", tag("Ramp", 0), node="Other"))
    assert [row["edge_node_id"] for row in seen.rows] == ["Other"]
    assert seen.counts == {"too_large": 1}
    assert seen.quarantined == [(swarm, "too_large")]


def test_what_follows_a_birth_that_does_not_fit_waits_for_one_that_does():
    heard = listening(message("NBIRTH", *tags(2)), limits=FleetLimits(max_tags=10))
    heard.feed(message("NDATA", change(0, 7.0), seq=7, timestamp=LATER))  # before its birth
    assert not heard.feed(message("NBIRTH", *tags(9), seq=6, timestamp=LATER - 1))
    assert heard.counts == {"too_many_tags": 1, "data_before_birth": 1}
    rows = heard.feed(message("NBIRTH", *tags(3), seq=6, timestamp=LATER - 1))
    assert ("NDATA", "T0", 7.0) in told(rows)
