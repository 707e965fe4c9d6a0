"""A batch is read in portions, so that few bytes do not take much memory at once."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.columnar import change, message, tag
from support.fleets import fleet_with

from sparkplug.host.fleet import Fleet
from sparkplug.host.screening import FleetLimits
from sparkplug.messages import Message, MessageBatch
from sparkplug.payload import (
    METRIC_MEMORY,
    metrics_in,
    metrics_in_envelope,
    metrics_together,
)
from sparkplug.payload.json_payload import is_json
from sparkplug.payload.weight import weight_of
from sparkplug.pb.sparkplug_b_pb2 import Payload

ALIASES = b"\x12\x02\x10\x01"
"""A metric that is nothing but an alias."""


def of_metrics(count):
    return ALIASES * count


def envelope(inner):
    return Payload(uuid="SPBV1.0_COMPRESSED", body=zlib.compress(inner)).SerializeToString()


def batch_of(*payloads):
    return MessageBatch(
        Message("spBv1.0/G/NDATA/E", payload, at) for at, payload in enumerate(payloads)
    )


def fleet(most=100_000):
    return Fleet(FleetLimits(max_portion_memory=most, max_inflated_bytes=10_000_000))


def divided(batch, most=100_000):
    return [each.messages for each in fleet(most).portions(batch)]


def test_a_batch_that_cannot_take_much_is_handed_on_as_it_is():
    batch = batch_of(*[of_metrics(2)] * 10)
    (portion,) = divided(batch)
    assert portion is batch


def test_many_small_metrics_are_read_some_messages_at_a_time():
    found = divided(batch_of(*[of_metrics(100)] * 10), most=95_000)
    assert [len(each) for each in found] == [3, 3, 3, 1]


def test_a_message_that_takes_more_than_a_portion_is_one_by_itself():
    batch = batch_of(of_metrics(1), of_metrics(1000), of_metrics(1))
    found = [(len(messages), is_giant) for messages, is_giant in fleet(100_000).portions(batch)]
    assert found == [(1, False), (1, True), (1, False)]


def test_envelopes_are_weighed_by_what_is_in_them():
    found = divided(batch_of(*[envelope(of_metrics(300))] * 3))
    assert [len(each) for each in found] == [1, 1, 1]
    assert len(divided(batch_of(*[envelope(of_metrics(3))] * 3))) == 1


def test_a_bomb_is_weighed_no_further_than_it_would_be_opened():
    bomb = envelope(of_metrics(1_000_000))
    assert metrics_in_envelope(bomb, 400_000) == (400_000, 100_000)
    assert metrics_in_envelope(bomb, 10_000_000) == (4_000_000, 1_000_000)


@pytest.mark.parametrize(
    "payload",
    [
        b"SPBV1.0_COMPRESSED",
        Payload(uuid="SPBV1.0_COMPRESSED").SerializeToString(),
        Payload(uuid="SPBV1.0_COMPRESSED", body=b"\x1f\x8bno").SerializeToString(),
        envelope(of_metrics(100))[:-20],
    ],
)
def test_what_is_no_envelope_weighs_what_it_has(payload):
    metrics_in_envelope(payload, 1000)
    assert len(divided(batch_of(payload, payload))) == 1


def test_json_is_weighed_by_its_objects():
    assert metrics_in(b'{"metrics":[' + b'{"alias":1},' * 100) == 101


def test_aliases_are_weighed_with_the_names_that_they_stand_for():
    heard = fleet(most=1_000_000)
    heard.feed([message("NBIRTH", tag("x" * 4000, 1))])
    data = [message("NDATA", *[change(1, 2.0)] * 40, seq=seq) for seq in range(1, 9)]
    others = [message("NDATA", *[change(1, 2.0)] * 40, seq=seq, node="Other") for seq in range(9)]
    sizes = [len(messages) for messages, _ in heard.portions(MessageBatch([*data, *others]))]
    assert max(sizes[:-1]) <= 3
    assert sizes[-1] >= len(others)
    assert sum(sizes) == len(data) + len(others)


def test_a_death_is_weighed_by_the_tags_of_its_node_or_device():
    heard = fleet(most=1_000_000)
    names = [tag(f"{alias:04}{'x' * 2000}", alias) for alias in range(300)]
    heard.feed([message("NBIRTH", tag("Ramp", 9999)), message("DBIRTH", *names, seq=1)])
    data = [message("NDATA", change(9999, 2.0), seq=seq) for seq in range(2, 5)]
    for verb, device in (("NDEATH", None), ("DDEATH", None), ("DDEATH", "Other")):
        death = message(verb, seq=5, device=device)
        found = list(heard.portions(MessageBatch([*data, death, *data])))
        sizes = [(3, False), (1, True), (3, False)] if device is None else [(7, False)]
        assert [(len(messages), is_giant) for messages, is_giant in found] == sizes


def test_a_death_of_who_is_dead_weighs_nothing():
    heard = fleet(most=1_000_000)
    names = [tag(f"{alias:04}{'x' * 2000}", alias) for alias in range(300)]
    death = message("NDEATH", seq=None)
    heard.feed([message("NBIRTH", *names)])
    (portion,) = heard.portions(MessageBatch([death]))
    assert portion.is_giant
    heard.feed([death])
    (portion,) = heard.portions(MessageBatch([death] * 10))
    assert not portion.is_giant


def test_ids_are_weighed_as_often_as_rows_repeat_them():
    payload = of_metrics(1000)
    short, long = Message("spBv1.0/G/NDATA/E", payload, 0), f"spBv1.0/G/NDATA/{'E' * 1900}"
    batch = MessageBatch([short, short, short._replace(topic=long), short])
    found = [(len(messages), is_giant) for messages, is_giant in fleet(1_000_000).portions(batch)]
    assert found == [(2, False), (1, True), (1, False)]


def test_protobuf_that_looks_like_json_weighs_what_its_metrics_do():
    batch = batch_of(b"\x7b\x7c" + of_metrics(1000))
    (portion,) = fleet(100_000).portions(batch)
    assert portion.is_giant
    assert weight_of(b"\x7b\x7c" + of_metrics(1000)) > 250_000


def test_what_waits_is_weighed_with_what_it_is_read_together_with():
    heard = fleet_with(FleetLimits(max_portion_memory=400_000), reorder_timeout=60.0)
    nodes = ("A", "B", "C")
    heard.feed([message("NBIRTH", tag("Ramp", 0), node=node) for node in nodes])
    waiting = [message("NDATA", *[change(0, 1.0)] * 1000, seq=2, node=node) for node in nodes]
    for each in waiting:  # behind a message that is missing
        heard.feed([each])
    missing = [message("NDATA", change(0, 1.0), seq=1, node=node) for node in nodes]
    assert [len(messages) for messages, _ in heard.portions(MessageBatch(missing))] == [1, 1, 1]
    others = [message("NDATA", change(0, 1.0), seq=1, node="D")] * 3
    assert [len(messages) for messages, _ in heard.portions(MessageBatch(others))] == [3]


def test_envelopes_that_wait_weigh_what_is_in_them():
    heard = fleet_with(FleetLimits(max_portion_memory=400_000), reorder_timeout=60.0)
    heard.feed([message("NBIRTH", tag("Ramp", 0), node="E", group="G")])
    packed = envelope(Payload(seq=2).SerializeToString() + of_metrics(3000))
    heard.feed([Message("spBv1.0/G/NDATA/E", packed, 0)])
    assert heard.gauges.waiting_bytes > 150_000
    (portion,) = heard.portions(
        MessageBatch([message("NDATA", change(0, 1.0), seq=1, node="E", group="G")])
    )
    assert portion.is_giant


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=50),
            st.integers(0, 400).map(of_metrics),
            st.integers(0, 400).map(of_metrics).map(envelope),
        ),
        max_size=30,
    ),
    st.integers(1, 100_000),
)
def test_portions_are_the_batch_in_its_order_and_small_where_they_can_be(payloads, most):
    batch = batch_of(*payloads)
    found = divided(batch, most)
    assert [message for portion in found for message in portion] == list(batch)
    assert all(portion for portion in found) or not payloads
    for portion in found:
        compressed = set(portion.enveloped)
        metrics = sum(
            metrics_in(payload)
            + (metrics_in_envelope(payload, 10_000_000)[1] if at in compressed else 0)
            for at, payload in enumerate(portion.payloads)
        )
        assert len(portion) <= 1 or metrics * METRIC_MEMORY <= most or portion is batch


@given(st.lists(st.binary(max_size=200)))
def test_payloads_have_as_many_metrics_together_as_apart_unless_one_is_json(payloads):
    together = metrics_together(payloads)
    if any(map(is_json, payloads)):
        assert together is None
    else:
        assert together == sum(map(metrics_in, payloads))


def test_json_is_weighed_message_by_message():
    batch = batch_of(of_metrics(1), b'{"metrics":[' + b"{}," * 400 + b"{}]}", of_metrics(1))
    assert metrics_together(batch.payloads) is None
    assert [len(each) for each in divided(batch)] == [1, 1, 1]
