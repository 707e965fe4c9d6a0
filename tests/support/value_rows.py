"""Single values through the columnar decoder: what is on the wire, and the columns it lands in."""

from __future__ import annotations

from sparkplug.messages import Message
from sparkplug.pb.sparkplug_b_columns_pb2 import Payload
from support.columnar import Columnar

COLUMNS = ("numeric_value", "integer_value", "string_value", "boolean_value")
ERROR_TYPE_CONVERSION = -1_073_741_052


def read(datatype, *wire):
    """A decoder after data of one datatype: one metric for each dictionary of fields.

    The flat schema is used to write it, which lets several members of the value be set.
    """
    birth, data = Payload(seq=0), Payload(seq=1)
    for alias, fields in enumerate(wire):
        birth.metrics.add(name=f"T{alias}", alias=alias, datatype=datatype, is_null=True)
        data.metrics.add(alias=alias, timestamp=1_700_000_000_000, **fields)
    seen = Columnar(emit_births=False)
    for verb, body in (("NBIRTH", birth), ("NDATA", data)):
        seen.feed(Message(f"spBv1.0/G/{verb}/E", body.SerializeToString(), 0))
    return seen


def remarks(seen):
    """What was counted, but for the datatype, which the caller chose."""
    return {reason: n for reason, n in seen.counts.items() if reason != "unknown_datatype"}


def values(datatype, *wire):
    """The four value columns of each row, for values that all fit."""
    seen = read(datatype, *wire)
    assert not remarks(seen)
    assert {(row["quality"], row["quality_code"]) for row in seen.rows} <= {("GOOD", 192)}
    return [tuple(row[name] for name in COLUMNS) for row in seen.rows]


def misfits(datatype, *wire):
    """The raw values as text, for values that all do not fit."""
    seen = read(datatype, *wire)
    assert remarks(seen) == {"value_does_not_fit": len(wire)}
    for row in seen.rows:
        assert (row["quality"], row["quality_code"]) == ("BAD", ERROR_TYPE_CONVERSION)
        assert [row[name] for name in COLUMNS if name != "string_value"] == [None] * 3
    return [row["string_value"] for row in seen.rows]
