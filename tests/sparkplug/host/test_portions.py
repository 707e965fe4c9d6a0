"""A batch is read in portions, so that few bytes do not take much memory at once."""

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparkplug.host.portions import portions
from sparkplug.messages import Message, MessageBatch
from sparkplug.payload import METRIC_MEMORY, weight_of, weight_of_envelope
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


def divided(batch, most=100_000, inflated=10_000_000):
    return list(portions(batch, most, max_inflated_bytes=inflated))


def test_a_batch_that_cannot_take_much_is_handed_on_as_it_is():
    batch = batch_of(*[of_metrics(2)] * 10)
    (portion,) = divided(batch)
    assert portion is batch


def test_many_small_metrics_are_read_some_messages_at_a_time():
    found = divided(batch_of(*[of_metrics(100)] * 10), most=80_000)
    assert [len(each) for each in found] == [3, 3, 3, 1]


def test_a_message_that_takes_more_than_a_portion_is_one_by_itself():
    found = divided(batch_of(of_metrics(1), of_metrics(1000), of_metrics(1)))
    assert [len(each) for each in found] == [1, 1, 1]


def test_envelopes_are_weighed_by_what_is_in_them():
    found = divided(batch_of(*[envelope(of_metrics(300))] * 3))
    assert [len(each) for each in found] == [1, 1, 1]
    assert len(divided(batch_of(*[envelope(of_metrics(3))] * 3))) == 1


def test_a_bomb_is_weighed_no_further_than_it_would_be_opened():
    bomb = envelope(of_metrics(1_000_000))
    assert weight_of_envelope(bomb, 400_000) < 110_000 * METRIC_MEMORY
    assert weight_of_envelope(bomb, 10_000_000) > 1_000_000 * METRIC_MEMORY


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
    assert weight_of_envelope(payload, 1000) >= len(payload)
    assert len(divided(batch_of(payload, payload))) == 1


def test_json_is_weighed_by_its_objects():
    assert weight_of(b'{"metrics":[' + b'{"alias":1},' * 100) > 100 * METRIC_MEMORY


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
        weights = [
            weight_of_envelope(payload, 10_000_000) if at in compressed else weight_of(payload)
            for at, payload in enumerate(portion.payloads)
        ]
        assert len(portion) <= 1 or sum(weights) <= most or portion is batch
