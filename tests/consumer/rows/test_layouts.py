"""Layouts of tag_events: the same rows under the columns of other tables, and back."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle.messages import metric
from support.columnar import Columnar, change, message, tag

from consumer.pb.tag_event_pb2 import TagEvent
from consumer.rows.conversion import Conversion
from consumer.rows.descriptors import descriptor_bytes
from consumer.rows.encoded import EncodedRows
from consumer.rows.layouts import (
    DEFAULT_LAYOUT,
    NAMES_BY_NUMBER,
    layout_of_columns,
    layout_of_module,
)
from consumer.rows.tables import COLUMNS, TAG_EVENTS
from sparkplug.datatypes import DataType

LAYOUTS = {
    "default": DEFAULT_LAYOUT,
    "14": layout_of_module(14, "source_system_id", "BIGINT"),
    "18": layout_of_module(18, "source_system", "TIMESTAMP"),
    "columns": layout_of_columns(
        [("numeric_value", "v"), ("event_id", "id"), ("tag_path", "tag"), ("event_time", "ts")]
    ),
}
OTHERS = [name for name in LAYOUTS if name != "default"]
BIRTH = message(
    "NBIRTH",
    tag("a/Ramp", 0, 1.5),
    metric("Run", DataType.Boolean, alias=1, boolean_value=True),
    metric("Count", DataType.Int8, alias=2, int_value=3),
    metric("Text", DataType.String, alias=3, string_value="x"),
)
ONE = message("NBIRTH", tag("Ramp", 0, 1.5))
_PATH = "0a275b4d51545420456e67696e655d45646765204e6f6465732f506c616e742f456467652f52616d70"
_PROVIDER = "120b4d51545420456e67696e65"
_ID = "6a20"
_TIMES = "708080f9c0c1c48203"
GOLDEN = {
    "14": (f"{_PATH}{_PROVIDER}1a06444f55424c45220a506c616e742f456467654a04474f4f4450c001{_ID}"),
    "18": (
        f"{_PATH}{_PROVIDER}1a06444f55424c45220a506c616e742f456467654a04474f4f4450c001"
        f"c80100d80100{_ID}"
    ),
    "columns": f"{_PATH}{_ID}",
}


def encoded(name, *messages):
    """Rows of some messages in a layout."""
    seen = Columnar()
    seen.tags.layout = LAYOUTS[name]
    return pa.concat_arrays(list(seen.events(*messages).encode()))


def rows(name, array):
    return LAYOUTS[name].table.decode(array).to_pylist()


def micros(value):
    return value if isinstance(value, int) else round(value.timestamp() * 1e6)


@pytest.mark.parametrize("name", OTHERS)
def test_a_row_has_these_bytes(name):
    (row,) = encoded(name, ONE).to_pylist()
    head, tail = row.hex()[: len(GOLDEN[name])], row.hex()[len(GOLDEN[name]) + 64 :]
    assert head == GOLDEN[name]
    arrival = "" if name == "columns" else "7880c2d0f0c1c48203"
    assert tail == f"{_TIMES}{arrival}8101000000000000f83f"


@pytest.mark.parametrize("name", LAYOUTS)
def test_fields_keep_their_numbers_in_every_layout(name):
    layout = LAYOUTS[name]
    numbers = {field.name: field.number for field in layout.table.descriptor.fields}
    assert list(numbers) == [column.name for column in layout.table.columns]
    for ours, theirs in layout.names.items():
        assert NAMES_BY_NUMBER[numbers[theirs]] == ours
    others = numbers.keys() - set(layout.names.values())
    assert all(numbers[each] > len(COLUMNS) for each in others)


@pytest.mark.parametrize("name", OTHERS)
def test_no_field_is_sent_that_the_descriptor_lacks(name):
    allowed = {field.number for field in LAYOUTS[name].table.descriptor.fields}
    for row in encoded(name, BIRTH).to_pylist():
        event = TagEvent()
        event.MergeFromString(row)
        assert {field.number for field, _ in event.ListFields()} <= allowed


VALUES = st.one_of(
    st.floats().map(lambda n: change(0, n)),
    st.booleans().map(lambda b: metric(alias=1, boolean_value=b)),
    st.integers(0, 2**32 - 1).map(lambda n: metric(alias=2, int_value=n)),
    st.text().map(lambda s: metric(alias=3, string_value=s)),
    st.integers(0, 2**32 - 1).map(lambda n: metric(alias=0, double_value=1.0, quality=n)),
)


@given(st.lists(VALUES, max_size=20), st.sampled_from(OTHERS))
def test_rows_say_what_the_rows_of_the_default_say(values, name):
    messages = (BIRTH, message("NDATA", *values, seq=1))
    plain = rows("default", encoded("default", *messages))
    found = rows(name, encoded(name, *messages))
    layout = LAYOUTS[name]
    for row, full in zip(found, plain, strict=True):
        for ours, theirs in layout.names.items():
            if ours == "data_type":
                assert row[theirs] == layout.datatype(full[ours])
            elif ours in ("event_time", "ingestion_timestamp"):
                assert micros(row[theirs]) == micros(full[ours])
            else:
                assert repr(row[theirs]) == repr(full[ours])


def test_the_module_names_the_kind_of_the_values():
    assert [row["data_type"] for row in rows("18", encoded("18", BIRTH))] == [
        *("DOUBLE", "BOOLEAN", "DOUBLE", "STRING")
    ]


def test_what_is_of_the_module_alone_is_null_or_false():
    row = rows("18", encoded("18", ONE))[0]
    assert [row[column.name] for column in LAYOUTS["18"].table.columns[12:]] == [
        *(None, None, False, None, False, None)
    ]


def converted(old, new, array, spooled_us=5):
    found = Conversion.between(descriptor_bytes(LAYOUTS[old].table.descriptor), LAYOUTS[new])
    return found.convert(EncodedRows(array), spooled_us).array


@pytest.mark.parametrize("old", LAYOUTS)
@pytest.mark.parametrize("new", OTHERS)
def test_rows_of_another_layout_become_rows_of_this_one(old, new):
    found = rows(new, converted(old, new, encoded(old, BIRTH)))
    wanted = rows(new, encoded(new, BIRTH))
    stored = LAYOUTS[old].names.keys()
    for row, full in zip(found, wanted, strict=True):
        for ours, theirs in LAYOUTS[new].names.items():
            assert row[theirs] == (full[theirs] if ours in stored else None)


def test_columns_that_were_not_stored_and_may_not_be_null_get_what_is_nearest():
    row = rows("default", converted("18", "default", encoded("18", BIRTH)))[2]
    assert (row["metric_name"], row["message_type"]) == ("Count", "unknown")
    assert (row["is_historical"], row["arrival_number"]) == (False, 0)
    assert (row["data_type"], row["group_id"], row["seq"]) == ("Double", None, None)
    row = rows("default", converted("columns", "default", encoded("columns", BIRTH)))[0]
    assert micros(row["ingestion_timestamp"]) == 5
    assert (row["quality"], row["source_system_id"]) == ("unknown", "unknown")


def test_a_row_that_is_no_message_stays_as_it_is_and_costs_no_other():
    array = pa.concat_arrays([encoded("default", ONE), pa.array([b"\xff\xff"], pa.binary())])
    found = converted("default", "18", array).to_pylist()
    assert found[1] == b"\xff\xff"
    assert rows("18", pa.array(found[:1], pa.binary()))[0]["numeric_value"] == 1.5


def test_rows_of_tag_events_go_to_tag_events_as_they_are():
    assert Conversion.between(descriptor_bytes(TAG_EVENTS.descriptor), DEFAULT_LAYOUT) is None


@pytest.mark.parametrize("name", OTHERS)
def test_side_tables_get_all_constant_columns_whatever_the_layout(name):
    seen, plain = Columnar(), Columnar()
    seen.tags.layout = LAYOUTS[name]
    for each in (seen, plain):
        each.events(BIRTH)
    tags = seen.tags.plain_prefixes(pa.array([2, 0, 2], pa.int32()).to_numpy())
    assert tags == plain.tags.prefixes(pa.array([2, 0, 2], pa.int32()).to_numpy())
