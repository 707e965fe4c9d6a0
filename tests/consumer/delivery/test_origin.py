"""A refused row is kept with the message that it came from, while that is remembered."""

import contextlib
import json

import pytest
from support.columnar import change, message, tag
from support.services import PATIENCE, wait_until
from support.tag_events import CLIENT_ID, DESCRIPTOR, SECRET, TABLE, event

from consumer.broker.inbox import InboxBatch
from consumer.config import parse
from consumer.delivery.origin import Origins, topic_of
from consumer.pb.tag_event_pb2 import TagEvent
from consumer.pipeline import make_consumer
from consumer.rows.conversion import Conversion
from consumer.rows.descriptors import descriptor_bytes
from consumer.rows.encoded import EncodedRows
from consumer.rows.layouts import layout_of_columns
from consumer.rows.tables import TAG_EVENTS_SCHEMA
from consumer.spool import Spool
from consumer.spool.dead_letters import DeadLetters
from consumer.spool.types import Origin
from sparkplug.messages import Message, MessageBatch
from sparkplug.pb.sparkplug_b_pb2 import Payload
from zerobus_local import LocalZerobus

TOPIC = "spBv1.0/Plant/NDATA/Edge"


def row(**changes):
    found = TagEvent.FromString(event(5))
    for name, value in changes.items():
        setattr(found, name, value)
    return found


def recent(*messages, **options):
    found = Origins(**options)
    found.remember(MessageBatch(messages))
    return found


class TestTopic:
    def test_it_is_put_together_from_the_row(self):
        assert topic_of(row()) == TOPIC
        device = row(message_type="DDATA", device_id="Pump")
        assert topic_of(device) == "spBv1.0/Plant/DDATA/Edge/Pump"

    @pytest.mark.parametrize("kind", ["HOST", "HTTP", "anything"])
    def test_rows_that_no_message_gave_have_none(self, kind):
        assert topic_of(row(message_type=kind)) is None


def test_the_message_is_found_also_where_the_columns_have_other_names():
    names = ("event_id", "group_id", "edge_node_id", "message_type", "ingestion_timestamp", "seq")
    layout = layout_of_columns([(name, f"x_{name}") for name in names])
    found = Conversion(DESCRIPTOR, layout).convert(EncodedRows.from_messages([event(5)]), 0)
    messages = recent(Message(TOPIC, b"this", row().ingestion_timestamp))
    origin = messages.origin(*found.slice(0, 1), descriptor_bytes(layout.table.descriptor))
    assert origin == Origin(TOPIC, b"this")


class TestPayload:
    def test_it_is_found_by_topic_and_time_of_arrival(self):
        at = row().ingestion_timestamp
        messages = recent(
            Message(TOPIC, b"before", at - 1),
            Message("spBv1.0/Plant/NDATA/Other", b"another node", at),
            Message(TOPIC, b"this", at),
            Message(TOPIC, b"after", at + 1),
        )
        origin = messages.origin(row().SerializeToString(), DESCRIPTOR)
        assert origin == (TOPIC, b"this")

    def test_messages_of_one_microsecond_are_told_apart_by_seq(self):
        at = row().ingestion_timestamp
        payloads = [Payload(seq=seq).SerializeToString() for seq in (4, 5, 6)]
        messages = recent(*(Message(TOPIC, payload, at) for payload in payloads))
        assert messages.payload(TOPIC, at, 5) == payloads[1]
        assert messages.payload(TOPIC, at, 9) is None

    def test_what_is_not_known_for_sure_is_not_told(self):
        at = row().ingestion_timestamp
        messages = recent(Message(TOPIC, b"\xff", at), Message(TOPIC, b"\xfe", at))
        assert messages.origin(row().SerializeToString(), DESCRIPTOR) == (TOPIC, None)

    def test_a_record_that_is_no_row_has_no_origin(self):
        assert recent().origin(b"\xff\xff", DESCRIPTOR) == (None, None)

    def test_memory_is_bounded_and_the_oldest_go_first(self):
        messages = Origins(max_bytes=10_000)
        for number in range(100):
            messages.remember(MessageBatch([Message(TOPIC, bytes(1000), number)]))
            assert messages.nbytes <= 10_000
        assert messages.payload(TOPIC, 99, None) == bytes(1000)
        assert messages.payload(TOPIC, 80, None) is None

    def test_a_batch_larger_than_the_bound_is_not_kept(self):
        messages = recent(Message(TOPIC, bytes(1000), 1), max_bytes=1000)
        assert messages.nbytes == 0


class TestDeadLetter:
    def test_row_payload_topic_reason_and_error_are_shown(self, tmp_path):
        payload = Payload(seq=5).SerializeToString()
        with contextlib.closing(Spool.open(tmp_path / "spool.db", sync="off")) as spool:
            batch = spool.append(
                TABLE,
                EncodedRows.from_messages([event(5)]),
                schema_id=spool.schemas.register(DESCRIPTOR),
            )
            spool.letters.set_aside(
                batch, 0, 1, reason="poison", error="bad", origin=Origin(TOPIC, payload)
            )
        with contextlib.closing(DeadLetters(tmp_path / "spool.db")) as letters:
            shown = letters.show("row-1")
        assert shown["topic"] == TOPIC
        assert shown["payload"] == payload.hex()
        assert shown["message"] == {"seq": "5"}
        assert (shown["reason"], shown["error"]) == ("poison", "bad")
        assert shown["content"][0]["arrival_number"] == "5"
        json.dumps(shown)

    def test_the_consumer_lays_the_message_beside_a_refused_row(self, tmp_path):
        server = LocalZerobus(
            tmp_path / "tables", credentials={CLIENT_ID: SECRET}, commit_interval=0.02
        )
        server.create_table(TABLE, TAG_EVENTS_SCHEMA)
        with server:
            consumer = make_consumer(
                parse(
                    {
                        "servers": [{"name": "plant", "url": "mqtt://127.0.0.1:9"}],
                        "zerobus": {
                            "endpoint": server.endpoint,
                            "workspace_url": server.workspace_url,
                            "table": TABLE,
                            "client_id": CLIENT_ID,
                            "client_secret": SECRET,
                        },
                        "spool": {"path": str(tmp_path / "spool.db")},
                    }
                )
            )
            consumer.deliveries.start()
            birth = message("NBIRTH", tag("Ramp", 0), seq=0)
            data = message("NDATA", change(0, 1.5), seq=1)
            consumer.decoding._take_whatever_it_is(InboxBatch({0: MessageBatch([birth])}))
            wait_until(lambda: consumer.main_delivery.stats().rows_acked == 1)
            server.faults.fail_stream("INVALID_ARGUMENT", "this one is bad")
            consumer.decoding._take_whatever_it_is(InboxBatch({0: MessageBatch([data])}))
            wait_until(lambda: consumer.main_delivery.stats().poison_probes == 1)
            more = message("NDATA", change(0, 2.5), seq=2)
            consumer.decoding._take_whatever_it_is(InboxBatch({0: MessageBatch([more])}))
            wait_until(lambda: consumer.main_delivery.stats().rows_set_aside == 1)
            consumer.deliveries.stop(PATIENCE)
            consumer.spool.close()
        with contextlib.closing(DeadLetters(tmp_path / "spool.db")) as letters:
            [letter] = letters.list()
            shown = letters.show(letter.name)
        assert shown["topic"] == data.topic
        assert bytes.fromhex(shown["payload"]) == data.payload
        assert "this one is bad" in shown["error"]
        assert shown["content"][0]["numeric_value"] == 1.5
