"""Events that come over HTTP: what is read of a body, what is dropped, and the rows of the rest."""

import gc
import json
import re
import sys
import tracemalloc
from pathlib import Path
from types import FunctionType, ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.columnar import Columnar
from support.event_stream import ARRIVED_US, SENT_MS, body_of, event, rows_of

from consumer.rows import BodyError, StreamTags, TakesLong, event_streams, read_body
from consumer.rows.event_id import identity
from consumer.rows.event_streams import MOST_EVENTS, TEXTS, Note, Refusal
from consumer.setup.ignition.handler import Key, handler_body
from sparkplug import DataType, Message

PAGE = Path(__file__).parents[3] / "docs" / "event-streams.md"


def refused(*events):
    read = read_body(body_of(*events), ARRIVED_US)
    return [(each.index, str(each.reason)) for each in read.refused]


def notes(*events):
    return {str(note): n for note, n in read_body(body_of(*events), ARRIVED_US).notes.items()}


# Rows


def test_a_row_has_what_the_event_says_and_null_where_only_mqtt_has_something():
    (row,) = rows_of(event("Edge Nodes/Plant/Edge/Motor/Ramp"), first=7)
    event_id = row.pop("event_id")
    assert re.fullmatch("[0-9a-f]{32}", event_id)
    assert row == {
        "event_time": SENT_MS * 1000,
        "tag_path": "[default]Edge Nodes/Plant/Edge/Motor/Ramp",
        "tag_provider": "default",
        "numeric_value": 21.5,
        "integer_value": None,
        "string_value": None,
        "boolean_value": None,
        "quality": "GOOD",
        "quality_code": 192,
        "data_type": "Double",
        "source_system_id": "http",
        "group_id": None,
        "edge_node_id": None,
        "device_id": None,
        "metric_name": "Ramp",
        "message_type": "HTTP",
        "is_historical": False,
        "seq": None,
        "payload_timestamp": None,
        "ingestion_timestamp": ARRIVED_US,
        "arrival_number": 7,
    }


@pytest.mark.parametrize(
    ("path", "provider", "shown", "name"),
    [
        ("[default]Line/Speed", "default", "[default]Line/Speed", "Speed"),
        ("[other]Line/Speed", "default", "[other]Line/Speed", "Speed"),
        ("Speed", "default", "[default]Speed", "Speed"),
        ("[default]Speed", None, "[default]Speed", "Speed"),
        ("Line/Speed", None, "Line/Speed", "Speed"),
        ("Line/Speed", "", "Line/Speed", "Speed"),
        ("Line 1/Arr[0]", "default", "[default]Line 1/Arr[0]", "Arr[0]"),
        ("Arr[0]", "default", "[default]Arr[0]", "Arr[0]"),
        ("[a][b]", "default", "[a][b]", "[b]"),
    ],
)
def test_a_path_stands_behind_its_provider(path, provider, shown, name):
    (row,) = rows_of(event(path, tagProvider=provider))
    assert (row["tag_path"], row["metric_name"]) == (shown, name)
    assert row["tag_provider"] == (shown[1:].partition("]")[0] if shown[0] == "[" else None)


IGNITION = {
    "Int1": DataType.Int8,
    "Int2": DataType.Int16,
    "Int4": DataType.Int32,
    "Int8": DataType.Int64,
    "Float4": DataType.Float,
    "Float8": DataType.Double,
    "Boolean": DataType.Boolean,
    "String": DataType.String,
    "DateTime": DataType.DateTime,
    "UInt64": DataType.UInt64,
}
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.integers(-300, 300),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.sampled_from(["5", "-1", "1.5", "true", "NaN", "Infinity", "-Infinity"]),
)
CODES = st.one_of(st.integers(-(2**31), 2**32 - 1), st.sampled_from([0, 2, 192, 500, 0x80000204]))


@given(st.lists(st.tuples(VALUES, st.sampled_from(list(IGNITION)), CODES), min_size=1))
def test_values_and_qualities_land_as_those_of_mqtt_json_do(events):
    rows = rows_of(
        *(
            event(f"Tag {n}", value, dataType=name, qualityCode=code)
            for n, (value, name, code) in enumerate(events)
        )
    )
    metrics = [
        {
            "name": f"Tag {n}",
            "timestamp": SENT_MS,
            "dataType": IGNITION[name].name,
            "value": value,
            "properties": {"Quality": {"type": "UInt32", "value": code & 0xFFFF_FFFF}},
        }
        for n, (value, name, code) in enumerate(events)
    ]
    # Ignition says of itself what it is: its quality code 0 is good.
    metrics.append({"name": "Node Info/Transmission Version", "dataType": "String", "value": "5"})
    birth = json.dumps({"timestamp": SENT_MS, "seq": 0, "metrics": metrics}).encode()
    mqtt = Columnar().feed(Message("spBv1.0/G/NBIRTH/E", birth, ARRIVED_US))
    of_values = ("numeric_value", "integer_value", "string_value", "boolean_value", "quality")
    for one, other in zip(rows, mqtt[: len(rows)], strict=True):
        assert [one[each] for each in of_values] == [other[each] for each in of_values]
        assert one["quality_code"] == other["quality_code"]
        assert one["data_type"] == other["data_type"]


@pytest.mark.parametrize(
    ("name", "value", "data_type"),
    [
        ("float", 1.5, "Double"),
        ("int", 5, "Int64"),
        ("long", 5, "Int64"),
        ("bool", True, "Boolean"),
        ("unicode", "a", "String"),
        ("str", "a", "String"),
        ("java.lang.Integer", 5, "Int32"),
        ("Int4Array", "[1, 2]", "String"),
        ("DataSet", "{}", "String"),
        ("NoneType", None, "Unknown"),
        (None, True, "Boolean"),
        (None, 5, "Int64"),
        (None, 2**63, "UInt64"),
        (None, 5.0, "Double"),
        (None, "a", "String"),
        ("Quaternion", 5.0, "Double"),
    ],
)
def test_datatypes_have_the_names_of_sparkplug(name, value, data_type):
    (row,) = rows_of(event(value=value, dataType=name))
    assert (row["data_type"], row["quality"]) == (data_type, "GOOD")


@pytest.mark.parametrize(
    ("name", "code", "quality"),
    [
        ("Good", 192, "GOOD"),
        ("Good_Unspecified", 0, "GOOD"),
        ("Bad", -2147483136, "BAD"),
        ("Bad_Stale", -2147483132, "STALE"),
        ("Bad_NotConnected", -2147483126, "BAD"),
        ("Uncertain_LastKnownValue", 1073742081, "UNCERTAIN"),
        ("Error_TypeConversion", -1073741052, "BAD"),
        ("Bad_OfNewerRelease", -2147483136, "BAD"),
        ("Odd", 1073742080, "UNCERTAIN"),
        (None, 192, "GOOD"),
    ],
)
def test_a_quality_without_code_has_that_of_its_name(name, code, quality):
    (row,) = rows_of(event(quality=name, qualityCode=None))
    assert (row["quality_code"], row["quality"]) == (code, quality)


def test_what_is_not_known_of_an_event_is_noted_and_costs_nothing_else():
    events = [
        event(timestamp=None),
        event(timestamp=253_402_300_800_000),
        event(timestamp=-1),
        event(dataType="Quaternion"),
        event(quality="Odd", qualityCode=None),
    ]
    del events[0]["value"]
    assert [row["event_time"] for row in rows_of(*events)[:3]] == [ARRIVED_US] * 3
    assert refused(*events) == []
    assert notes(*events) == {
        "value_missing": 1,
        "timestamp_missing": 1,
        "timestamp_out_of_range": 2,
        "unknown_datatype": 1,
        "unknown_quality": 1,
    }


@pytest.mark.parametrize("odd", [b"NaN", rb'"\ud800"'])
@pytest.mark.parametrize("bad", [b'{"tagPath":"a","value":[1]}', b"7", b"{}"])
def test_an_event_that_is_none_costs_no_other_what_some_encoders_write(odd, bad):
    good = b'{"tagPath":"b","value":' + odd + b"}"
    for parts in ([bad, good], [good, bad]):
        read = read_body(b"[" + b",".join(parts) + b"]", ARRIVED_US)
        assert (read.events.paths, [each.index for each in read.refused]) == (
            ["b"],
            [parts.index(bad)],
        )


def test_long_names_of_datatypes_are_not_kept():
    tracemalloc.start()
    try:
        for index in range(20):
            body = body_of(event(dataType=f"{index:0>1000000}"))
            assert read_body(body, ARRIVED_US).notes[Note.UNKNOWN_DATATYPE] == 1
        del body
        assert tracemalloc.get_traced_memory()[0] < 2_000_000
    finally:
        tracemalloc.stop()


def test_what_python_writes_for_no_number_is_read_as_mqtt_reads_it():
    body = body_of(event(value=float("nan")), event('N"aN', float("-inf")), event("NaN", "NaN"))
    assert b": NaN" in body
    rows = rows_of(body=body)
    assert [row["string_value"] for row in rows] == ["NaN", "-Infinity", "NaN"]
    assert [row["numeric_value"] for row in rows] == [None] * 3
    assert [row["tag_path"] for row in rows][1:] == ['[default]N"aN', "[default]NaN"]


def test_half_a_character_is_replaced_and_costs_nothing_else():
    body = body_of(event("a", r"\ud83d\ude00", dataType="String"), event("b")).replace(
        rb"\\ud83d\\ude00", rb"\ud83d \ud83d\ude00 \\ud83d"
    )
    rows = rows_of(body=body)
    assert [row["string_value"] for row in rows] == ["\ufffd \U0001f600 \\ud83d", None]


# Ids


def test_events_posted_again_have_the_same_ids():
    events = [event(f"Tag {n}", n * 1.5) for n in range(20)]
    ids = [row["event_id"] for row in rows_of(*events)]
    again = rows_of(*events, first=100, received_us=ARRIVED_US + 5, tags=StreamTags(0, 0))
    assert [row["event_id"] for row in again] == ids
    assert len(set(ids)) == 20


def test_an_id_is_computed_as_the_documentation_says():
    (row,) = rows_of(event("Line/Speed"), source="plant-7")
    code = (PAGE.parent / "event_id.md").read_text("utf-8")
    names = {}
    exec(re.search(r"```python\n(.*?)\n\nevent_id\(\n", code, re.DOTALL)[1], names)
    named = names["identity"]("plant-7", None, None, None, "[default]Line/Speed")
    value = names["struct"].pack("<dQ", 21.5, 0)
    assert row["event_id"] == names["event_id"](named, SENT_MS * 1000, 1, value)


def test_the_same_tag_of_another_source_or_over_mqtt_has_other_ids():
    one = rows_of(event("Line/Speed"), source="plant-7")[0]["event_id"]
    assert one != rows_of(event("Line/Speed"), source="plant-8")[0]["event_id"]
    assert identity("plant-7", "", "", None, "x") != identity("plant-7", "", "", "", "x")


# What is dropped


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (event(""), "tag_path_missing"),
        (event("Line/"), "tag_path_missing"),
        (event("[default]"), "tag_path_missing"),
        (event("[]"), "tag_path_missing"),
        ({"value": 1}, "tag_path_missing"),
        (event("x" * 4097), "tag_path_too_long"),
        (event("x" * 4088), "tag_path_too_long"),  # with the provider
        (event(value=2**64, dataType="Int8"), "number_out_of_range"),
        (event(value=-(2**63) - 1, dataType=None), "number_out_of_range"),
        (event(value=10**400), "number_out_of_range"),
        (event(value=[1]), "value_not_scalar"),
        (event(value={"a": 1}), "value_not_scalar"),
        (event(qualityCode=2**32), "bad_event"),
        (event(timestamp="now"), "bad_event"),
        (event(5), "bad_event"),
        (5, "bad_event"),
        (None, "bad_event"),
        ([], "bad_event"),
    ],
)
def test_a_bad_event_costs_itself_alone(bad, reason):
    assert refused(event(), bad, event()) == [(1, reason)]
    assert len(rows_of(event(), bad, event())) == 2


def test_of_bad_events_all_are_named_in_their_order():
    assert refused(event(""), 5, event(), event("")) == [
        (0, "tag_path_missing"),
        (1, "bad_event"),
        (3, "tag_path_missing"),
    ]


def test_of_many_bad_events_the_first_hundred_are_kept_and_all_are_counted():
    # Those that are no events are found before those that are bad ones.
    events = [event("") if n % 2 else 5 for n in range(1000)]
    read = read_body(body_of(*events), ARRIVED_US)
    assert [each.index for each in read.refused] == list(range(100))
    assert read.dropped == {Refusal.TAG_PATH_MISSING: 500, Refusal.BAD_EVENT: 500}


def memory_of(thing):
    """Bytes of all that a thing leads to but classes, modules and functions."""
    found, left = {}, [thing]
    while left:
        each = left.pop()
        if id(each) not in found and not isinstance(each, (type, ModuleType, FunctionType)):
            found[id(each)] = sys.getsizeof(each)
            left += gc.get_referents(each)
    return sum(found.values())


@pytest.mark.parametrize("bad", [b"1", b'{"tagPath":"","value":[]}', b'{"tagPath":""}'])
def test_bad_events_are_not_kept_whole_until_the_answer(bad):
    body = b'[{"tagPath":"a","value":1}' + (b"," + bad) * (MOST_EVENTS - 1) + b"]"
    read = read_body(body, ARRIVED_US)
    assert memory_of(read) < 50_000
    assert (len(read.events), read.dropped.total()) == (1, MOST_EVENTS - 1)


ODD = [
    body_of(*[1] * 501),
    b"[" + b",".join([b"NaN"] * 6_000) + b"]",
    b'[{"tagPath":"a","value":NaN,"x":"' + rb"\n" * 6_000 + b'"}]',
]


@pytest.mark.parametrize("body", ODD)
def test_what_takes_long_for_its_size_is_not_read_at_once(body):
    with pytest.raises(TakesLong):
        read_body(body, ARRIVED_US, at_once=True)
    assert read_body(body, ARRIVED_US)


def test_usual_events_are_read_at_once_beside_some_odd_ones():
    events = [event(f"Tag {n}", float("nan") if n % 3 else 1.5) for n in range(150)]
    for body in (body_of(*events), body_of(*events, 5, event(""))):
        read = read_body(body, ARRIVED_US, at_once=True)
        assert read == read_body(body, ARRIVED_US)
        assert len(read.events) == 150


def test_a_text_says_what_is_wrong_and_quotes_no_value():
    read = read_body(body_of(event(5, "s3cr3t"), event(value=["s3cr3t"])), ARRIVED_US)
    assert all(len(each.text) > 20 and "s3cr3t" not in each.text for each in read.refused)


@pytest.mark.parametrize(
    ("key", "number", "what"),
    [
        ("value", b"1e400", "as text"),
        ("value", b"1" * 5_000, "as text"),
        ("value", b"%d" % 2**64, "as text"),
        ("timestamp", b"1e400", "milliseconds since 1970"),
        ("timestamp", b"1" * 5_000, "milliseconds since 1970"),
        ("qualityCode", b"1e400", "of 32 bits"),
        ("tagPath", b"1e400", "as text"),
    ],
)
def test_a_number_out_of_range_is_named_and_how_it_may_be_sent(key, number, what):
    body = b'[{"tagPath":"a","dataType":"Int8","%b":%b}]' % (key.encode(), number)
    (refused,) = read_body(body, ARRIVED_US).refused
    assert refused.reason == "number_out_of_range"
    assert refused.text.startswith(f"{key} is ")
    assert what in refused.text
    assert ("dataType" in refused.text) == (key == "value")


def test_a_number_too_large_for_an_integer_may_be_a_double():
    (row,) = rows_of(event(value=2**70))
    assert row["numeric_value"] == 2.0**70


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[",
        b"5",
        b"null",
        b'"text"',
        b"[{}] x",
        b"\xff",
        b"[" * 100_000,
        b'[{"tagPath":"a","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}]",
        b'{"tagPath":"a","x":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001,
        b'[{"tagPath":"\xff","value":1}]',
        b'[{"tagPath":"a","value":nan}]',
        b'""' * 1_000_000 + b"NaN",
        b'[{"tagPath":"a","value":NaN,"x":"' + rb"\ud800" * 500_000 + b'"}]',
    ],
)
def test_what_is_no_json_of_events_is_refused_as_a_whole(body):
    with pytest.raises(BodyError) as caught:
        read_body(body, ARRIVED_US)
    assert not caught.value.too_large


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b'{"tagPath":"a"},' * MOST_EVENTS + b'{"tagPath":"a"}]',
        b"[" + b"1," * 4_000_000 + b"1]",
        b"[" + b"1," * 300_000 + b"1]",
        b'[{"tagPath":"a","value":[' + b"[]," * 3_000_000 + b"[]]}]",
        b"[" + b"{}," * 2_000_000 + b"{}]",
    ],
    ids=["events", "numbers", "fewer", "lists", "objects"],
)
def test_a_body_of_too_many_things_is_refused_before_they_are_made(body):
    with pytest.raises(BodyError) as caught:
        read_body(body, ARRIVED_US)
    assert caught.value.too_large


UNFINISHED = b'"' + rb"\"" * 200_000


@pytest.mark.timeout(20)  # minutes, if each quote begins a search to the end
@pytest.mark.parametrize(
    "body",
    [
        b"[NaN," + UNFINISHED,
        b"[NaN," + UNFINISHED + b"\\",
        rb'["\ud800",' + UNFINISHED,
        b"[" + b"," * 320_001 + UNFINISHED,
    ],
    ids=["no number", "escape", "half a character", "commas"],
)
def test_a_text_without_an_end_is_looked_at_once(body):
    with pytest.raises(BodyError):
        read_body(body, ARRIVED_US)


def test_a_body_is_mended_once(monkeypatch):
    mended, mend = [], event_streams._mended
    monkeypatch.setattr(
        event_streams, "_mended", lambda *at, **how: mended.append(at) or mend(*at, **how)
    )
    # What is no escape is no half of a character either, or quotes would change sides.
    odd = (
        rb"""\udc\udc-NaN\ud8\ud80x"NaN\ud8 "\ud80\"\ud8\ud80\ud80-NaN"\ud80\NaN,"""
        rb"""\udc,\-NaN," ""\"\"-NaN"""
    )
    with pytest.raises(BodyError):
        read_body(odd, ARRIVED_US)
    assert len(mended) <= 2


def test_what_is_no_number_is_looked_for_in_bounds(monkeypatch):
    monkeypatch.setattr(event_streams, "_as_json", None)  # called for each that is found
    with pytest.raises(BodyError, match="no JSON"):
        read_body(b"[" + b"NaN " * 400_001 + b"]", ARRIVED_US)


def test_as_many_events_as_may_be_are_read_and_commas_in_texts_are_none():
    events = [event(f"Tag {n}", "," * 40, dataType="String") for n in range(MOST_EVENTS)]
    assert len(read_body(body_of(*events), ARRIVED_US).events) == MOST_EVENTS


def test_an_event_by_itself_needs_no_array_and_of_a_key_twice_the_last_counts():
    (row,) = rows_of(body=b'{"tagPath":"a","tagPath":"b","value":1,"extra":{"x":[1]}}')
    assert row["tag_path"] == "b"


@given(st.binary(max_size=200))
def test_whatever_comes_is_read_or_refused(body):
    try:
        read = read_body(body, ARRIVED_US)
    except BodyError:
        return
    assert len(read.events) + read.dropped.total() <= 100


# What the page says


def test_the_handler_tries_nothing_again_that_the_page_says_is_not_to_be_posted_again():
    page = PAGE.read_text("utf-8")
    rows = re.findall(r"^\| (\d{3}) \|.*\| (.*?) \|$", page, re.MULTILINE)
    finished = {status for status, again in rows if again.startswith(("no", "in smaller batches"))}
    body = handler_body("http://consumer/ingest/batch", "fast", Key())
    (given_up,) = re.findall(r"status in \((.*?)\)", body)
    assert finished == {"200", *given_up.split(", ")}


# Tags that anybody may invent


def test_tags_are_bounded_in_number_and_described_anew_when_there_are_too_many():
    tags = StreamTags(most_tags=100)
    seen = {}
    for round_ in range(50):
        events = [event(f"Tag {(round_ * 40 + n) % 500}", 1.0) for n in range(40)]
        tags.make_room()
        for row in rows_of(*events, tags=tags):
            assert seen.setdefault(row["metric_name"], row["event_id"]) == row["event_id"]
        assert len(tags) <= 140
    assert len(seen) == 500


def test_tags_are_bounded_in_characters():
    tags = StreamTags(most_characters=10_000)
    for number in range(20):
        tags.make_room()
        rows_of(event(f"{number}/" + "x" * 4000), tags=tags)
        assert len(tags) <= 3


def test_a_tag_of_two_sources_or_two_datatypes_is_two():
    tags = StreamTags()
    rows = rows_of(event(), event(value=1, dataType="Int4"), tags=tags)
    rows += rows_of(event(), tags=tags, source="plant-7")
    assert [(row["source_system_id"], row["data_type"]) for row in rows] == [
        ("http", "Double"),
        ("http", "Int32"),
        ("plant-7", "Double"),
    ]


# The page


def test_the_page_lists_every_reason_and_every_note():
    page = PAGE.read_text("utf-8")
    for each in (*Refusal, *Note):
        assert f"`{each}`" in page
    assert {*TEXTS, Refusal.BAD_EVENT} == set(Refusal)
