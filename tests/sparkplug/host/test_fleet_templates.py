"""Templates, as gateways publish UDTs they do not convert, give the rows of converted ones."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle import Oracle
from oracle.messages import ARRIVED, SENT_MS
from support.columnar import Columnar, deaths, message, metric, name, tag, values
from support.generated import examples, seeds
from support.template_messages import (
    INSTANCE_MS,
    MEMBER_MS,
    definition,
    fed,
    instance,
    member,
    nested,
    part,
    reading,
)
from support.template_world import TemplateWorld

from sparkplug.datatypes import DataType
from sparkplug.host.screening import FleetLimits
from sparkplug.memory import RememberedBirth
from sparkplug.messages import Message
from sparkplug.pb.sparkplug_b_pb2 import Metric, Payload

# Flattened by the gateway or by us


def published(*, flattened):
    """Births and data of two motors, as templates or converted by the gateway."""

    def put(payload, path, members, **fields):
        if not flattened:
            found = payload.metrics.add(**fields)
            for member_path, leaf in members.items():
                template = found.template_value
                *around, last = member_path.split("/")
                for each in around:
                    inner = [m for m in template.metrics if m.name == each]
                    template = (inner or [template.metrics.add(name=each)])[0].template_value
                template.metrics.add(name=last, **leaf)
            return
        for member_path, leaf in members.items():
            payload.metrics.add(name=f"{path}/{member_path}", **leaf)

    quality = {"keys": ["Quality"], "values": [{"type": 3, "int_value": 500}]}
    birth = Payload(timestamp=SENT_MS, seq=0)
    members = {
        "speed": {"datatype": 10, "timestamp": MEMBER_MS, "double_value": 1.5},
        "bearing/temp": {"datatype": 1, "timestamp": MEMBER_MS, "int_value": 233},
        "bearing/state": {"datatype": 12, "timestamp": MEMBER_MS, "is_null": True},
    }
    for alias, path in enumerate(("Line 1/M1", "M2")):
        put(birth, path, members, name=path, alias=alias, datatype=DataType.Template)
    data = Payload(timestamp=SENT_MS + 5, seq=1)
    put(data, "M2", {"speed": {"timestamp": SENT_MS + 2, "double_value": 2.0}}, alias=1)
    changes = {
        "bearing/temp": {"timestamp": SENT_MS + 3, "int_value": 1, "properties": quality},
        "bearing/state": {"timestamp": SENT_MS + 1, "string_value": "ok", "is_historical": True},
    }
    put(data, "Line 1/M1", changes, name="Line 1/M1")
    return [
        Message("spBv1.0/G/NBIRTH/E", birth.SerializeToString(), ARRIVED),
        Message("spBv1.0/G/NDATA/E", data.SerializeToString(), ARRIVED + 1),
        Message("spBv1.0/G/NDEATH/E", Payload(timestamp=SENT_MS).SerializeToString(), ARRIVED + 2),
    ]


def test_it_makes_no_difference_whether_the_gateway_converts_udts():
    ours, theirs = fed(published(flattened=False)), fed(published(flattened=True))
    assert len(ours.rows) == 6 + 3 + 6
    assert ours.rows == theirs.rows
    assert not ours.counts


# Births


def test_members_are_tags_under_the_path_of_their_instance():
    seen = fed(
        message(
            "NBIRTH",
            tag("Ramp", 0),
            instance("Line 1/M", member("speed", 1.0), nested("bearing", member("temp", 2.0))),
            tag("Sine", 1),
        ),
    )
    assert values(seen.rows) == [
        ("Ramp", 0.0),
        ("Line 1/M/speed", 1.0),
        ("Line 1/M/bearing/temp", 2.0),
        ("Sine", 0.0),
    ]
    assert not seen.counts


def test_a_definition_is_no_tag_and_gives_the_datatype_that_a_member_lacks():
    seen = fed(
        message(
            "NBIRTH",
            instance("M", Metric(name="count", int_value=255), ref="_types_/Motor"),
            definition("_types_/Motor", Metric(name="count", datatype=DataType.Int8)),
        )
    )
    assert [(name(row), row["data_type"], row["integer_value"]) for row in seen.rows] == [
        ("M/count", "Int8", -1)
    ]


def test_members_that_only_the_definition_or_its_parent_has_are_tags_without_rows():
    seen = fed(
        message(
            "NBIRTH",
            definition("Base", member("load")),
            definition("Motor", member("speed"), nested("bearing", ref="Bearing"), ref="Base"),
            definition("Bearing", member("temp")),
            instance("M", member("speed", 1.0), alias=7),
        )
    )
    assert values(seen.rows) == [("M/speed", 1.0)]
    rows = seen.feed(
        message(
            "NDATA", part(7, reading("load", 2.0), nested("bearing", reading("temp", 3.0))), seq=1
        )
    )
    assert values(rows) == [("M/load", 2.0), ("M/bearing/temp", 3.0)]
    assert not seen.counts


def test_definitions_hold_until_the_next_birth_of_the_node_and_for_its_devices():
    seen = fed(
        message("NBIRTH", definition("Motor", member("speed"))),
        message("DBIRTH", instance("M", alias=1), seq=1),
    )
    assert values(seen.feed(message("DDATA", part(1, reading("speed", 1.0)), seq=2))) == [
        ("Boiler/M/speed", 1.0)
    ]
    seen.feed(message("NBIRTH", definition("Motor", member("load"))))
    seen.feed(message("DBIRTH", instance("M", alias=1), seq=1))
    rows = seen.feed(message("DDATA", part(1, reading("load", 2.0), reading("speed", 3.0)), seq=2))
    assert values(rows) == [("Boiler/M/load", 2.0)]
    assert seen.counts == {"unknown_metric": 1}


def test_births_and_data_in_one_batch_are_read_with_what_holds_at_that_point():
    messages = [
        message("NBIRTH", instance("M", member("speed", 1.0), alias=1)),
        message("NDATA", part(1, reading("speed", 2.0)), seq=1),
        message("NBIRTH", instance("M", Metric(name="speed", datatype=3, int_value=3), alias=2)),
        message("NDATA", part(2, Metric(name="speed", int_value=4)), seq=1),
    ]
    at_once, one_by_one = fed(messages), fed(*messages)
    assert at_once.rows == one_by_one.rows
    assert [row["data_type"] for row in at_once.rows] == ["Double", "Double", "Int32", "Int32"]


def test_a_rebirth_repeats_members_without_new_rows():
    birth = message("NBIRTH", instance("M", member("speed", 1.0)))
    seen = fed(birth, birth)
    assert values(seen.rows) == [("M/speed", 1.0)]
    assert seen.repeated == 1


# Data


def test_data_may_have_any_part_of_the_members_by_name_or_by_alias():
    seen = fed(
        message(
            "NBIRTH", instance("M", member("a"), member("b"), nested("n", member("c")), alias=1)
        )
    )
    by_name = instance("M", nested("n", reading("c", 2.0)))
    rows = seen.feed(
        message("NDATA", part(1, reading("b", 1.0)), seq=1),
        message("NDATA", by_name, seq=2),
        message("NDATA", part(1), seq=3),
    )
    assert values(rows) == [("M/b", 1.0), ("M/n/c", 2.0)]
    assert not seen.counts


def test_several_values_of_one_member_in_one_message_are_all_rows():
    seen = fed(message("NBIRTH", instance("M", member("a"), alias=1)))
    rows = seen.feed(
        message(
            "NDATA",
            part(1, reading("a", 1.0), reading("a", 2.0)),
            part(1, reading("a", 3.0)),
            seq=1,
        )
    )
    assert [row["numeric_value"] for row in rows] == [1.0, 2.0, 3.0]


def test_a_device_s_template_is_found_by_its_alias_in_data_of_the_node():
    seen = fed(
        message("NBIRTH", tag("Ramp", 0)),
        message("DBIRTH", instance("M", member("a"), alias=5), seq=1),
    )
    rows = seen.feed(message("NDATA", part(5, reading("a", 1.0)), seq=2))
    assert values(rows) == [("Boiler/M/a", 1.0)]


def test_the_time_is_the_member_s_the_instance_s_or_the_payload_s():
    birth = message("NBIRTH", instance("M", member("a"), alias=1))
    own = Metric(name="a", double_value=1.0, timestamp=MEMBER_MS)
    seen = fed(birth)
    rows = seen.feed(
        message(
            "NDATA",
            part(1, own),
            part(1, reading("a", 2.0)),
            part(1, reading("a", 3.0), timestamp=None),
            seq=1,
        )
    )
    assert [row["event_time"] for row in rows] == [
        MEMBER_MS * 1000,
        INSTANCE_MS * 1000,
        SENT_MS * 1000,
    ]


def test_history_of_an_instance_is_that_of_its_members():
    seen = fed(message("NBIRTH", instance("M", member("a"), alias=1)))
    rows = seen.feed(message("NDATA", part(1, reading("a", 1.0), is_historical=True), seq=1))
    assert [row["is_historical"] for row in rows] == [True]


def test_a_transient_instance_is_counted_by_its_members():
    seen = fed(message("NBIRTH", instance("M", member("a"), member("b"), alias=1)))
    data = message("NDATA", part(1, reading("a", 1.0), reading("b", 1.0), is_transient=True), seq=1)
    assert seen.feed(data) == []
    assert seen.counts == {"transient": 2}


def test_the_quality_of_an_instance_is_that_of_members_that_have_none():
    bad = {"keys": ["Quality"], "values": [{"type": 3, "int_value": 500}]}
    good = {"keys": ["Quality"], "values": [{"type": 3, "int_value": 192}]}
    seen = fed(message("NBIRTH", instance("M", member("a"), member("b"), alias=1)))
    own = Metric(name="b", double_value=1.0, properties=good)
    rows = seen.feed(message("NDATA", part(1, reading("a", 1.0), own, properties=bad), seq=1))
    assert [row["quality"] for row in rows] == ["STALE", "GOOD"]


def test_all_members_of_a_null_instance_are_null():
    seen = fed(
        message(
            "NBIRTH", instance("M", member("a"), nested("n", member("b"), member("c")), alias=1)
        ),
        message("NBIRTH", instance("M2", member("a"), alias=1), node="Other"),
    )
    rows = seen.feed(message("NDATA", metric(alias=1, is_null=True, timestamp=INSTANCE_MS), seq=1))
    assert values(rows) == [("M/a", None), ("M/n/b", None), ("M/n/c", None)]
    assert {row["event_time"] for row in rows} == {INSTANCE_MS * 1000}
    inner = Metric(name="n", datatype=DataType.Template, is_null=True)
    rows = seen.feed(message("NDATA", part(1, reading("a", 1.0), inner), seq=2))
    assert values(rows) == [("M/a", 1.0), ("M/n/b", None), ("M/n/c", None)]
    assert not seen.counts


def test_an_instance_with_neither_value_nor_null_is_null_and_counted_by_its_members():
    seen = fed(message("NBIRTH", instance("M", member("a"), member("b"), alias=1)))
    rows = seen.feed(message("NDATA", metric(alias=1), seq=1))
    assert values(rows) == [("M/a", None), ("M/b", None)]
    assert seen.counts == {"value_missing": 2}


def test_json_and_envelopes_carry_templates_like_protobuf():
    birth = message("NBIRTH", instance("M", member("speed", 1.0), alias=1))
    template = {"metrics": [{"name": "speed", "dataType": "Double", "value": 2.0}]}
    data = {
        "timestamp": SENT_MS,
        "seq": 1,
        "metrics": [{"alias": 1, "dataType": "Template", "value": template}],
    }
    seen = fed(birth)
    rows = seen.feed(message("NDATA", seq=1)._replace(payload=json.dumps(data).encode()))
    assert values(rows) == [("M/speed", 2.0)]


# Deaths, and what holds after them


def test_the_members_of_a_dead_node_are_stale_and_come_back_with_the_birth():
    birth = message("NBIRTH", instance("M", member("a", 1.0), member("b", 2.0)), tag("Ramp", 0))
    seen = fed(birth)
    rows = seen.feed(message("NDEATH"))
    assert deaths(rows) == ["M/a", "M/b", "Ramp"]
    rows = seen.feed(birth)
    assert values(rows) == [("M/a", 1.0), ("M/b", 2.0), ("Ramp", 0.0)]
    assert {row["is_historical"] for row in rows} == {False}
    assert [row["event_time"] for row in rows] == [row["event_time"] for row in seen.rows[:3]]


def test_members_that_only_a_definition_declares_die_too():
    seen = fed(
        message("NBIRTH", definition("Motor", member("a"), member("b")), instance("M", member("a")))
    )
    assert deaths(seen.feed(message("NDEATH"))) == ["M/a", "M/b"]


# Members that no birth declares


def test_an_unknown_member_is_held_and_read_when_the_birth_comes():
    seen = fed(message("NBIRTH", instance("M", member("a"), alias=1)))
    rows = seen.feed(message("NDATA", part(1, reading("a", 1.0), reading("b", 2.0)), seq=1))
    assert values(rows) == [("M/a", 1.0)]
    assert seen.counts == {"unknown_metric": 1}
    assert seen.rebirths == [("Plant", "Edge", "unknown_metric")]
    assert seen.fleet.gauges.held_messages == 1
    rows = seen.feed(message("NBIRTH", instance("M", member("a", 1.0), member("b", 5.0), alias=1)))
    late = [row for row in rows if row["message_type"] == "NDATA"]
    assert values(late) == [("M/b", 2.0)]
    assert [row["event_time"] for row in late] == [INSTANCE_MS * 1000]
    assert seen.fleet.gauges.held_messages == 0


def test_an_unknown_member_and_the_birth_may_come_in_one_batch():
    birth = message("NBIRTH", instance("M", member("a"), alias=1))
    messages = [
        message("NDATA", part(1, reading("a", 1.0), reading("b", 2.0)), seq=1),
        message("NBIRTH", instance("M", member("a", 1.5), member("b", 5.0), alias=1)),
    ]
    at_once = fed(birth, messages)
    assert sorted(values(at_once.rows[1:])) == sorted(
        [("M/a", 1.0), ("M/b", 2.0), ("M/a", 1.5), ("M/b", 5.0)]
    )
    assert at_once.fleet.gauges.held_messages == 0


def test_a_held_member_stays_with_its_instance_whatever_the_alias_means_then():
    birth = message("NBIRTH", instance("M", member("a"), alias=1))
    seen = fed(birth)
    rows = seen.feed(
        message("NDATA", part(1, reading("a", 1.0), reading("b", 2.0)), seq=1),
        message("NBIRTH", instance("N", member("a"), alias=1), instance("M", member("b"), alias=2)),
    )
    assert ("M/a", 1.0) in values(rows)
    assert ("M/b", 2.0) in values(rows)
    assert ("N/a", 1.0) not in values(rows)


def test_what_no_birth_explains_in_the_end_becomes_a_dead_letter():
    seen = fed(
        message("NBIRTH", instance("M", member("a"), alias=1)),
        message("NDATA", part(1, reading("b", 2.0)), seq=1),
    )
    decoded = seen.fleet.feed([message("NBIRTH", instance("M", member("a"), alias=1))])
    (dead,) = decoded.expired
    assert dead.reason == "unknown_metric"
    assert [each.name for each in Payload.FromString(dead.message.payload).metrics] == ["M/b"]
    assert dead.message.topic == "spBv1.0/Plant/NDATA/Edge"


# Choice and bounds


def test_members_are_chosen_by_their_own_paths():
    asked = []

    def wanted(place):
        asked.append(place)
        return not place.endswith("/noise")

    seen = fed(
        message("NBIRTH", instance("M", member("noise"), member("speed"), alias=1)), wanted=wanted
    )
    rows = seen.feed(message("NDATA", part(1, reading("noise", 1.0), reading("speed", 2.0)), seq=1))
    assert values(rows) == [("M/speed", 2.0)]
    assert "Plant/Edge/M/noise" in asked
    assert not seen.counts


def test_leaves_count_as_tags():
    birth = message("NBIRTH", instance("M", *(member(f"m{n}") for n in range(10))))
    assert fed(birth, limits=FleetLimits(max_tags=17)).fleet.gauges.live_tags == 11
    refused = fed(birth, limits=FleetLimits(max_tags=16))
    assert refused.fleet.gauges.live_tags == 0
    assert refused.counts == {"too_many_tags": 1}


def test_leaves_of_a_definition_count_as_tags_too():
    members = [member(f"m{n}") for n in range(10)]
    birth = message("NBIRTH", definition("Motor", *members), instance("M"))
    assert fed(birth, limits=FleetLimits(max_tags=17)).counts == {"too_many_tags": 1}


def test_a_long_name_is_not_repeated_for_all_members_of_a_plant():
    members = [member(f"m{n}") for n in range(1000)]
    birth = message("NBIRTH", instance("x" * 4000, *members))
    limits = FleetLimits(max_name_characters=1_000_000)
    assert fed(birth, limits=limits).counts == {"too_many_tags": 1}
    assert not fed(message("NBIRTH", instance("x" * 400, *members)), limits=limits).counts


def test_a_member_whose_path_is_too_long_has_no_name():
    seen = fed(message("NBIRTH", instance("x" * 4090, member("a"), member("b" * 10))))
    assert len(seen.rows) == 1
    assert seen.counts == {"metric_without_name": 1}


def test_few_bytes_do_not_make_rows_without_end():
    members = [member(f"m{n}") for n in range(1000)]
    seen = fed(message("NBIRTH", instance("M", *members, alias=1)), emit_births=False)
    nulls = [metric(alias=1, is_null=True, timestamp=None)] * 1000
    rows = seen.fleet.feed([message("NDATA", *nulls, seq=1)]).observations
    assert sum(map(len, rows)) == 500_000


# Over compactions and restarts


def test_members_keep_their_tags_when_ids_are_handed_out_anew():
    seen = fed(message("NBIRTH", instance("M", member("a", 1.0), alias=1), node="Keep"))
    for number in range(6):
        many = [member(f"T{number}-{n}") for n in range(6000)]
        seen.feed(message("NBIRTH", instance("Many", *many), node="Other"))
    assert seen.fleet.catalogue.generation > 0
    rows = seen.feed(message("NDATA", part(1, reading("a", 2.0)), seq=1, node="Keep"))
    assert values(rows) == [("M/a", 2.0)]
    assert deaths(seen.feed(message("NDEATH", node="Keep"))) == ["M/a"]


def test_remembered_births_explain_templates_after_a_restart():
    births = [
        message("NBIRTH", definition("Motor", member("b")), instance("M", member("a"), alias=1)),
        message("DBIRTH", instance("N", alias=2), seq=1),
    ]
    before = Columnar()
    memories = before.fleet.feed(births).memories
    after = Columnar()
    after.fleet.memory.restore(
        [RememberedBirth(each, alive=True, stale=False) for each in memories],
        before.fleet.memory.sequence_state(),
    )
    rows = after.feed(
        message("NDATA", part(1, reading("a", 1.0), reading("b", 2.0)), seq=2),
        message("DDATA", part(2, reading("b", 3.0)), seq=3),
    )
    assert values(rows) == [("M/a", 1.0), ("M/b", 2.0), ("Boiler/N/b", 3.0)]
    assert not after.counts


# The oracle, which takes templates apart one by one


def cut(arrivals, rng):
    """Batches of messages."""
    while arrivals:
        count = rng.choice((1, 2, 5, 50))
        yield [Message(a.topic, a.payload, a.received_at_us) for a in arrivals[:count]]
        arrivals = arrivals[count:]


def in_any_order(rows):
    """Rows of deaths all say the same at once; numbers follow the order."""
    return [
        {**{name: repr(row[name]) for name in row}, "arrival_number": ""}
        for row in sorted(
            rows,
            key=lambda row: (
                row["ingestion_timestamp"],
                0 if row["message_type"].endswith(("DEATH", "HOST")) else row["arrival_number"],
                row["tag_path"],
                row["data_type"],
            ),
        )
    ]


def assert_read_alike(seed, count):
    arrivals = TemplateWorld(seed).messages(count)
    oracle, seen = Oracle(), Columnar()
    oracle.feed(arrivals)
    for batch in cut(arrivals, random.Random(seed)):
        seen.feed(*batch)
    ours, theirs = in_any_order(seen.rows), in_any_order(oracle.rows)
    for index, (one, other) in enumerate(zip(ours, theirs, strict=False)):
        assert one == other, index
    assert len(ours) == len(theirs)
    assert seen.counts == oracle.counts
    assert seen.repeated == oracle.repeated
    assert set(seen.rebirths) == set(oracle.rebirth_requests)


@examples(25)
@given(st.integers(0, 2**32))
def test_templates_are_read_as_the_oracle_reads_them(seed):
    assert_read_alike(seed, 30)


@pytest.mark.parametrize("seed", seeds(2))
def test_many_templates_are_read_as_the_oracle_reads_them(seed):
    assert_read_alike(seed, 400)
