"""What the server refuses, and how the real SDK reports it."""

import json

import grpc
import pyarrow as pa
import pytest
from support.local_rig import (
    READING,
    TABLE,
    F,
    create_request,
    message_class,
    raw_call,
    record_request,
    until,
)
from zerobus.sdk.sync import NonRetriableException, ZerobusException

from zerobus_local import LocalZerobusError, TableConflictError
from zerobus_local.pb import zerobus_service_pb2 as pb

ID = ("id", F.TYPE_STRING, F.LABEL_REQUIRED)
AT = ("at", F.TYPE_INT64, F.LABEL_REQUIRED)


def test_an_unknown_table_is_not_found(client):
    with pytest.raises(NonRetriableException, match=r'Table \\"a\.b\.c\\" cannot be found'):
        client.stream(table="a.b.c")


@pytest.mark.parametrize("name", ["a..c", "a.b", "a.b.c.d", "a.b.../x", "a.b.ü", "a. .c"])
def test_a_table_name_cannot_lead_elsewhere(server, name):
    _, error = raw_call(server, [create_request(table_name=name)])
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(LocalZerobusError, match=r"is not catalog\.schema\.table"):
        server.create_table(name, pa.schema([pa.field("id", pa.string())]))


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        ([ID], "required column 'at' is missing"),
        ([ID, AT, ("ip", F.TYPE_STRING)], "field 'ip' is not a column of the table"),
        ([ID, AT, ("value", F.TYPE_STRING)], "field 'value' of type string is incompatible"),
        ([ID, AT, ("value", F.TYPE_FLOAT)], "field 'value' of type float is incompatible"),
        ([ID, AT, ("count", F.TYPE_INT64)], "field 'count' of type int64 is incompatible"),
        (
            [ID, AT, ("note", F.TYPE_STRING, F.LABEL_REPEATED)],
            "field 'note' of type repeated string is incompatible",
        ),
    ],
)
def test_a_descriptor_that_does_not_fit_the_table_opens_no_stream(server, client, fields, cause):
    with pytest.raises(NonRetriableException) as caught:
        client.stream(message_class("Wrong", fields).DESCRIPTOR)
    assert '"Record schema does not match the target table: ' in str(caught.value)
    assert cause in str(caught.value)
    assert "Error Code: 8001, Error State: 0." in str(caught.value)
    assert server.counters().streams_opened == 0


def test_nullable_columns_may_be_left_out(client, rows):
    stream = client.stream(message_class("Short", [AT, ID]).DESCRIPTOR)
    stream.ingest_record_offset(message_class("Short", [AT, ID])(id="a", at=1).SerializeToString())
    stream.flush()
    assert [(row["id"], row["value"], row["note"]) for row in rows()] == [("a", None, None)]


@pytest.mark.parametrize(
    ("record", "cause"),
    [
        (b"\xff", "failed to decode Protobuf message"),
        (READING("x")[:-3], "failed to decode Protobuf message"),
        (b"\x0a\x02\xff\xff\x10\x01", "invalid UTF-8"),
        (READING.cls(id="x").SerializePartialToString(), "required field 'at' is missing or null"),
        (b"", "required field 'id' is missing or null"),
    ],
)
def test_a_wrong_record_ends_the_stream_after_what_came_before_it(client, rows, record, cause):
    stream = client.stream()
    good = stream.ingest_records_offset([READING("a"), READING("b")])
    stream.ingest_records_offset([READING("c"), record, READING("d")])
    with pytest.raises(NonRetriableException) as caught:
        stream.flush()
    message = str(caught.value)
    # The SDK words it in two ways, by who sees the end of the stream first.
    assert message.startswith(("Invalid argument: ", "Stream is closed: "))
    assert "Record decoder/encoder error: " in message
    assert cause in message
    assert "Error Code: 4044, Error State: 3." in message
    stream.wait_for_offset(good)
    assert [row["id"] for row in rows()] == ["a", "b"]
    assert list(stream.get_unacked_records()) == [READING("c"), record, READING("d")]


def test_zero_values_of_proto3_fields_are_nulls(client, rows):
    """As the service sees them: the syntax is lost, and zero is not on the wire."""
    fields = [("id", F.TYPE_STRING), ("at", F.TYPE_INT64), ("value", F.TYPE_DOUBLE)]
    cls = message_class("Implicit", fields, syntax="proto3")
    stream = client.stream(cls.DESCRIPTOR)
    stream.ingest_record_offset(cls(id="a", at=1, value=0.0).SerializeToString())
    stream.flush()
    assert rows()[0]["value"] is None
    stream.ingest_record_offset(cls(id="b", at=0).SerializeToString())
    with pytest.raises(NonRetriableException, match="required field 'at' is missing or null"):
        stream.flush()


@pytest.mark.parametrize(
    ("record", "cause"),
    [
        ('{"id": "a", "at": 1, "ip": 2}', "unrecognized field name 'ip' at line 1 column 25"),
        ('{"id": "a",\n "ip": 2}', "unrecognized field name 'ip' at line 2 column 5"),
        ('{"id": "a", "at": "soon"}', "invalid digit found in string"),
        ('{"id": "a", "at": 1.5}', "integer: 1.5"),
        ('{"id": "a", "at": 1, "count": 2147483648}', "Value out of range: 2147483648"),
        ('{"id": "a", "at": null}', "required field 'at' is missing or null"),
        ('{"id": "a"', "Failed to load JSON"),
        ("[]", "expected a JSON object"),
    ],
)
def test_a_wrong_json_record_is_refused(client, rows, record, cause):
    stream = client.stream(None)
    stream.ingest_record_offset(json.dumps({"id": "good", "at": 1}))
    stream.ingest_record_offset(record)
    with pytest.raises(NonRetriableException) as caught:
        stream.flush()
    assert cause in str(caught.value)
    assert "Error Code: 4044, Error State: 3." in str(caught.value)
    assert [row["id"] for row in rows()] == ["good"]


def test_after_a_wrong_record_the_rest_can_be_sent_again(server, client, rows):
    stream = client.stream()
    stream.ingest_record_offset(b"\xff")
    stream.ingest_record_offset(READING("good"))
    with pytest.raises(ZerobusException):
        stream.flush()
    rest = [record for record in stream.get_unacked_records() if record != b"\xff"]
    again = client.stream()
    again.ingest_records_offset(rest)
    again.flush()
    assert [row["id"] for row in rows()] == ["good"]
    assert server.counters().records_refused == 1


def test_integers_must_fit_a_narrow_column(server, client):
    server.create_table("plant.ot.narrow", pa.schema([pa.field("small", pa.int8())]))
    cls = message_class("Narrow", [("small", F.TYPE_INT32)])
    stream = client.stream(cls.DESCRIPTOR, table="plant.ot.narrow")
    stream.wait_for_offset(stream.ingest_record_offset(cls(small=-128).SerializeToString()))
    stream.ingest_record_offset(cls(small=128).SerializeToString())
    with pytest.raises(NonRetriableException, match="Error Code: 4044"):
        stream.flush()


def test_a_request_above_the_limit_is_not_retried(server, client, rows):
    server.faults.limit_requests(1_000_000)
    stream = client.stream()
    stream.ingest_record_offset(READING("a", note="x" * 990_000))
    stream.flush()
    stream.ingest_record_offset(READING("b", note="x" * 1_000_000))
    with pytest.raises(NonRetriableException, match="exceeds the limit of 1000000 bytes"):
        stream.flush()
    assert len(rows()) == 1


def test_the_largest_record_the_sdk_sends_is_taken(client, rows):
    stream = client.stream()
    stream.ingest_record_offset(READING("a", note="x" * 10_400_000))
    stream.flush()
    assert len(rows()[0]["note"]) == 10_400_000


@pytest.mark.parametrize("offsets", [[1], [0, 0], [0, 2]])
def test_offsets_must_count_up_from_zero(server, offsets):
    requests = [create_request(), *(record_request(n, READING(n)) for n in offsets)]
    answers, error = raw_call(server, requests)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert (
        f"Offset {offsets[-1]} is out of sequence; expected {len(offsets) - 1}" in error.details()
    )
    # What came before is settled first, and nothing beyond it is acknowledged.
    acks = [a.ingest_record_response.durability_ack_up_to_offset for a in answers[1:]]
    assert acks == list(range(len(offsets) - 1))


@pytest.mark.parametrize(
    ("requests", "code"),
    [
        ([b"\xff\xff"], "INVALID_ARGUMENT"),
        ([record_request(0, READING("a"))], "INVALID_ARGUMENT"),
        ([create_request(), create_request()], "INVALID_ARGUMENT"),
        ([create_request(record_type=pb.JSON), record_request(0, b"")], "INVALID_ARGUMENT"),
        ([create_request(record_type=pb.AVRO)], "UNIMPLEMENTED"),
        ([create_request(descriptor_proto=b"")], "INVALID_ARGUMENT"),
        ([create_request(descriptor_proto=b"\xff")], "INVALID_ARGUMENT"),
    ],
)
def test_requests_out_of_place_are_refused(server, requests, code):
    _, error = raw_call(server, requests)
    assert error.code() is grpc.StatusCode[code]


def test_the_persistent_stream_is_not_implemented(server):
    _, error = raw_call(server, [create_request()], method="PersistentStream")
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_half_closed_stream_ends_well_with_all_acknowledged(server):
    requests = [create_request(), record_request(0, READING("a")), record_request(1, READING("b"))]
    answers, error = raw_call(server, requests)
    assert error is None
    assert answers[-1].ingest_record_response.durability_ack_up_to_offset == 1
    assert until(lambda: server.counters().streams_open == 0)


def test_a_table_keeps_its_schema(server, schema):
    server.create_table(TABLE, schema)
    nullable = schema.set(0, pa.field("id", pa.string()))
    with pytest.raises(TableConflictError, match="id string NOT NULL instead of id string"):
        server.create_table(TABLE, nullable)
    with pytest.raises(TableConflictError, match="columns id, at, value, count, note instead"):
        server.create_table(TABLE, schema.remove(4))


def test_columns_have_names_that_protobuf_can_carry(server):
    for names in (["a-b"], ["1a"], ["a", "A"]):
        with pytest.raises(LocalZerobusError, match="is not a new name of ASCII letters"):
            server.create_table("a.b.c", pa.schema([pa.field(name, pa.int32()) for name in names]))
