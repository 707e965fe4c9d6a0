"""Rows as encoded records and as Arrow: the same rows, and the bytes any library would write."""

import dataclasses

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle import to_tag_event
from oracle.messages import metric
from support.columnar import Columnar, as_dictionaries, change, message, tag
from support.tag_rows import as_record_batch

from consumer.errors import NullInRequiredColumnError
from consumer.pb.tag_event_pb2 import TagEvent
from consumer.rows import SourceNames, TagColumns
from consumer.rows.tables import COLUMNS, TAG_EVENTS_SCHEMA
from sparkplug.datatypes import DataType
from sparkplug.host.catalogue import TagCatalogue

BIRTH = message(
    "NBIRTH",
    tag("Ramp", 0, 1.5),
    metric("Count", DataType.UInt64, alias=1, long_value=2**63),
    metric("Run", DataType.Boolean, alias=2, boolean_value=False),
    metric("Text", DataType.String, alias=3, string_value=""),
    metric("At", DataType.DateTime, alias=4, long_value=0),
    metric("Small", DataType.Int8, alias=5, int_value=300),
    metric("Gone", DataType.Double, alias=6, is_null=True),
    metric("Odd", 99, alias=7, int_value=1),
    metric("Late", DataType.Float, alias=8, float_value=float("nan"), is_historical=True),
    metric("Stale", DataType.Double, alias=9, double_value=-0.0, quality=0x80000204),
)
DEVICE_BIRTH = message("DBIRTH", tag("Level", 20), seq=1)
WITHOUT_TIMES = message("NDATA", metric(alias=0, timestamp=None), seq=None, timestamp=None)


def messages_of(events):
    """The encoded rows of a batch, one after another."""
    return [raw for piece in events.encode() for raw in piece.to_pylist()]


def decoded(raw):
    """What a record holds, null for every optional field that is absent."""
    event = TagEvent.FromString(raw)
    assert event.IsInitialized()
    return {
        column.name: getattr(event, column.name) if event.HasField(column.name) else None
        for column in COLUMNS
    }


# Both forms of a row


def test_arrow_and_encoded_rows_agree_field_by_field():
    events = Columnar().events(BIRTH, DEVICE_BIRTH, WITHOUT_TIMES)
    rows = as_dictionaries(as_record_batch(events))
    assert len(rows) == len(events) == 12
    found = [decoded(raw) for raw in messages_of(events)]
    assert [repr(row) for row in found] == [repr(row) for row in rows]


def test_encoded_rows_are_the_bytes_that_google_protobuf_writes():
    events = Columnar().events(BIRTH, DEVICE_BIRTH, WITHOUT_TIMES)
    rows = as_dictionaries(as_record_batch(events))
    assert messages_of(events) == [to_tag_event(row) for row in rows]


NUMBERS = st.one_of(
    st.floats().map(lambda n: metric(alias=0, double_value=n)),
    st.integers(0, 2**64 - 1).map(lambda n: metric(alias=1, long_value=n)),
    st.booleans().map(lambda b: metric(alias=2, boolean_value=b)),
    st.text().map(lambda s: metric(alias=3, string_value=s)),
    st.integers(0, 2**64 - 1).map(lambda n: metric(alias=4, long_value=n)),
    st.integers(0, 2**32 - 1).map(lambda n: metric(alias=5, int_value=n)),
    st.integers(0, 2**32 - 1).map(lambda n: metric(alias=0, double_value=1.0, quality=n)),
    st.integers(0, 2**64 - 1).map(lambda n: metric(alias=0, double_value=1.0, timestamp=n)),
    st.booleans().map(lambda b: metric(alias=0, double_value=1.0, is_historical=b)),
)


@given(st.lists(st.lists(NUMBERS, max_size=12), min_size=1, max_size=6), st.integers(1, 2**40))
def test_any_row_is_the_bytes_that_google_protobuf_writes(batches, first):
    seen = Columnar()
    seen.rows = range(first - 1)  # how many came before
    events = seen.events(
        BIRTH, *(message("NDATA", *batch, seq=n % 256) for n, batch in enumerate(batches, 1))
    )
    rows = as_dictionaries(as_record_batch(events))
    assert messages_of(events) == [to_tag_event(row) for row in rows]


def test_the_arrow_batch_has_the_schema_of_the_table():
    batch = as_record_batch(Columnar().events(BIRTH))
    assert batch.schema == TAG_EVENTS_SCHEMA
    batch.validate(full=True)
    for column in COLUMNS:
        if not column.nullable:
            assert batch.column(column.name).null_count == 0


def test_rows_are_numbered_in_the_order_of_arrival():
    seen = Columnar()
    seen.feed(BIRTH)
    seen.feed(DEVICE_BIRTH, WITHOUT_TIMES)
    assert [row["arrival_number"] for row in seen.rows] == list(range(1, 13))
    assert [row["metric_name"] for row in seen.rows[-2:]] == ["Level", "Ramp"]


def test_a_row_without_times_of_its_own_has_the_time_of_its_arrival():
    seen = Columnar()
    (row,) = seen.feed(BIRTH, WITHOUT_TIMES)[-1:]
    assert row["event_time"] == row["ingestion_timestamp"]
    assert row["payload_timestamp"] is None
    assert row["seq"] is None


# NOT NULL


VARIABLE = ("event_id", "event_time", "ingestion_timestamp", "arrival_number")


@pytest.mark.parametrize("name", VARIABLE)
def test_a_null_in_a_required_column_never_reaches_the_encoder(name):
    events = Columnar().events(BIRTH)
    index = events.variable.schema.get_field_index(name)
    column = events.variable.column(index)
    broken = pa.concat_arrays([column.slice(1), pa.nulls(1, column.type)])
    damaged = dataclasses.replace(events, variable=events.variable.set_column(index, name, broken))
    with pytest.raises(NullInRequiredColumnError, match=f"column {name} "):
        damaged.encode()


def test_nulls_elsewhere_are_left_out():
    (row,) = (decoded(raw) for raw in messages_of(Columnar().events(BIRTH))[6:7])
    assert row["metric_name"] == "Gone"
    values = ("numeric_value", "integer_value", "string_value", "boolean_value", "device_id")
    assert [row[name] for name in values] == [None] * 5


# Large batches


@pytest.mark.parametrize("rows", [9_999, 10_000, 10_001, 30_001])
def test_large_batches_are_encoded_in_pieces_in_order(rows):
    numbers = [float(n) for n in range(rows)]
    birth = message("NBIRTH", tag("Ramp", 0, -1.0))
    data = message("NDATA", *(change(0, number) for number in numbers), seq=1)
    events = Columnar(emit_births=False).events(birth, data)
    pieces = list(events.encode())
    assert sum(len(piece) for piece in pieces) == len(events) == rows
    assert max(len(piece) for piece in pieces) <= 10_000
    found = [TagEvent.FromString(raw) for piece in pieces for raw in piece.to_pylist()]
    assert [event.numeric_value for event in found] == numbers
    assert [event.arrival_number for event in found] == list(range(1, rows + 1))


def test_rows_with_long_names_are_encoded_a_few_mebibytes_at_a_time():
    names = [f"{number:04}{'x' * 4092}" for number in range(3)]
    birth = message("NBIRTH", *(tag(name, alias) for alias, name in enumerate(names)))
    data = message("NDATA", *(change(number % 3, float(number)) for number in range(4000)), seq=1)
    columnar = Columnar(emit_births=False)
    events = columnar.events(birth, data)
    pieces = [piece.to_pylist() for piece in events.encode()]
    assert max(sum(map(len, piece)) for piece in pieces) <= 8 << 20
    assert sum(map(len, pieces[0])) > 7 << 20
    rows = [raw for piece in pieces for raw in piece]
    for start in (0, 1, 2000, 3999):  # from any row on
        assert [raw for piece in events.encode(start) for raw in piece.to_pylist()] == rows[start:]
    found = [TagEvent.FromString(raw) for raw in rows]
    assert [event.numeric_value for event in found] == [float(number) for number in range(4000)]
    assert [event.metric_name for event in found[:4]] == [names[0], names[1], names[2], names[0]]


def test_a_row_that_is_longer_than_a_piece_is_one_by_itself():
    declared = [metric(f"Text {alias}", DataType.String, alias=alias) for alias in range(3)]
    birth = message("NBIRTH", *declared)
    texts = ["a" * 100, "b" * (9 << 20), "c" * 100]
    changes = [metric(alias=alias, string_value=text) for alias, text in enumerate(texts)]
    data = message("NDATA", *changes, seq=1)
    pieces = [
        [TagEvent.FromString(raw).string_value for raw in piece.to_pylist()]
        for piece in Columnar(emit_births=False).events(birth, data).encode()
    ]
    assert pieces == [texts[:1], texts[1:2], texts[2:]]


def test_pieces_are_arrays_of_small_binaries_without_nulls():
    for piece in Columnar().events(BIRTH).encode():
        assert piece.type == pa.binary()
        assert piece.null_count == 0


def test_qualities_that_differ_from_row_to_row_stay_with_their_rows():
    codes = [n % 5000 for n in range(6000)]
    data = message("NDATA", *({**change(0, 1.0), "quality": code} for code in codes), seq=1)
    events = Columnar(emit_births=False).events(message("NBIRTH", tag("Ramp", 0)), data)
    found = [TagEvent.FromString(raw) for raw in messages_of(events)]
    assert [event.quality_code for event in found] == codes
    assert [event.quality for event in found] == [
        row["quality"] for row in as_dictionaries(as_record_batch(events))
    ]


# Tags are described once


class CountingOwner:
    """The owner of some tags, which counts how often it is asked for its names."""

    edge_node_id = "Edge"
    device_id = None

    def __init__(self):
        self.asked = 0

    @property
    def group_id(self):
        self.asked += 1
        return "Plant"


def described(tags, *ids):
    return tags.columns(np.array(ids, dtype=np.int32))["tag_path"].to_pylist()


def test_a_tag_is_described_when_it_appears_and_never_again():
    owner, catalogue = CountingOwner(), TagCatalogue()
    tags = TagColumns(catalogue, SourceNames(tag_path="{group_id}/{metric}"))
    catalogue.append(owner, ["a", "b"], np.array([10, 10], dtype=np.uint8))
    assert owner.asked == 0
    tags.extend()
    asked = owner.asked
    assert asked > 0
    for _ in range(3):
        tags.extend()
    assert owner.asked == asked
    catalogue.append(owner, ["c"], np.array([10], dtype=np.uint8))
    tags.extend()
    assert owner.asked == 2 * asked  # once for each run of tags of one owner
    assert described(tags, 2, 0, 1) == ["Plant/c", "Plant/a", "Plant/b"]


def test_a_new_generation_of_tag_ids_is_described_anew():
    owner, catalogue = CountingOwner(), TagCatalogue()
    tags = TagColumns(catalogue, SourceNames(tag_path="{group_id}/{metric}"))
    catalogue.append(owner, list("abc"), np.array([10, 10, 10], dtype=np.uint8))
    tags.extend()
    catalogue.keep(np.array([2], dtype=np.int32))
    catalogue.append(owner, ["d", "e"], np.array([10, 10], dtype=np.uint8))
    tags.extend()
    assert described(tags, 0, 1, 2) == ["Plant/c", "Plant/d", "Plant/e"]
    prefixes = tags.prefixes(np.array([0, 1, 2], dtype=np.int32)).to_pylist()
    assert [TagEvent.FromString(raw).metric_name for raw in prefixes] == ["c", "d", "e"]


def test_names_of_server_and_site_reach_the_rows():
    names = SourceNames("plant-a", "Nord", "[{site}]{server}/{metric}", "{server}:{group_id}")
    (row,) = Columnar(names=names).feed(message("NBIRTH", tag("Ramp")))
    assert row["tag_path"] == "[Nord]plant-a/Ramp"
    assert row["tag_provider"] == "Nord"
    assert row["source_system_id"] == "plant-a:Plant"


def test_a_path_without_brackets_has_no_provider():
    (row,) = Columnar(names=SourceNames(tag_path="{metric}")).feed(message("NBIRTH", tag("Ramp")))
    assert (row["tag_path"], row["tag_provider"]) == ("Ramp", None)
