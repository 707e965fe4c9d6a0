"""Templates that cannot be read cost themselves, never their neighbours."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle.messages import ARRIVED, SENT_MS
from support.columnar import change, message, metric, tag, values
from support.generated import examples
from support.template_messages import (
    definition,
    fed,
    instance,
    member,
    nested,
    part,
    reading,
)

from sparkplug.datatypes import DataType
from sparkplug.messages import Message
from sparkplug.pb.sparkplug_b_columns_pb2 import Payload as FlatPayload
from sparkplug.pb.sparkplug_b_pb2 import Metric, Template


@pytest.mark.parametrize("raw", [b"\xff", b"\x12\x05ab", b"\x12\x01\xff"])
def test_bytes_that_are_no_template_cost_only_themselves(raw):
    seen = fed(message("NBIRTH", instance("M", member("a"), alias=1), tag("Ramp", 0)))
    data = FlatPayload(timestamp=SENT_MS, seq=1)
    data.metrics.add(alias=1, template_value=raw)
    data.metrics.add(alias=0, double_value=1.0)
    rows = seen.feed(Message("spBv1.0/Plant/NDATA/Edge", data.SerializeToString(), ARRIVED))
    assert values(rows) == [("Ramp", 1.0)]
    assert seen.counts == {"bad_template": 1}


def test_another_value_under_the_datatype_of_templates_is_counted():
    seen = fed(
        message("NBIRTH", metric("M", DataType.Template, alias=1, int_value=1), tag("Ramp", 0)),
        message("NDATA", metric(alias=1, string_value="x"), change(0, 1.0), seq=1),
    )
    assert values(seen.rows) == [("Ramp", 0.0), ("Ramp", 1.0)]
    assert seen.counts == {"bad_template": 2}


def test_a_definition_is_counted_where_it_has_no_business():
    seen = fed(
        message("NBIRTH", instance("M", member("a"), alias=1)),
        message("DBIRTH", definition("Motor", member("a")), tag("Ramp", 0), seq=1),
        message("NDATA", metric(alias=1, template_value=Template(is_definition=True)), seq=2),
    )
    assert values(seen.rows) == [("M/a", 0.0), ("Boiler/Ramp", 0.0)]
    assert seen.counts == {"bad_template": 2}


def test_text_in_a_member_that_is_not_utf_8_costs_only_that_member():
    birth = message("NBIRTH", instance("M", member("a"), Metric(name="s", datatype=12), alias=1))
    data = message(
        "NDATA", part(1, Metric(name="s", string_value="evil"), reading("a", 1.0)), seq=1
    )
    seen = fed(birth)
    rows = seen.feed(data._replace(payload=data.payload.replace(b"evil", b"\xff\xfe\xfd\xfc")))
    assert values(rows) == [("M/a", 1.0)]
    assert seen.counts == {"value_missing": 1, "bad_template": 1}


VALID = Template(
    metrics=[member("a", 1.0), nested("n", member("b", 2.0, timestamp=5)), member("c" * 20)]
).SerializeToString()
DAMAGED = st.binary(max_size=30) | st.builds(
    lambda at, new: VALID[:at] + new + VALID[at + 1 :],
    st.integers(0, len(VALID)),
    st.binary(max_size=12) | st.sampled_from((b"\xff" * 9 + b"\x01", b"\x0b" * 40)),
)


@examples(40)
@given(st.lists(DAMAGED, min_size=1, max_size=4))
def test_whatever_the_bytes_of_templates_are_their_neighbours_are_read(templates):
    whole = nested("n", member("b"))
    seen = fed(message("NBIRTH", instance("M", member("a"), whole, alias=1), tag("Ramp", 0)))
    for step, (seq, verb) in enumerate(((1, "NDATA"), (0, "NBIRTH"), (1, "NDATA"))):
        payload = FlatPayload(timestamp=SENT_MS, seq=seq)
        for alias, raw in enumerate(templates, 1):
            payload.metrics.add(name=f"M{alias}", alias=alias, datatype=19, template_value=raw)
            if verb == "NDATA":
                payload.metrics[-1].ClearField("name")
        payload.metrics.add(name="Ramp", alias=0, datatype=10, double_value=step)
        raw = payload.SerializeToString()
        rows = seen.feed(Message(f"spBv1.0/Plant/{verb}/Edge", raw, ARRIVED))
        assert ("Ramp", step) in values(rows)
