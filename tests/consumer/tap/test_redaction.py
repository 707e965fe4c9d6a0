"""Redacted messages: nothing of the plant is in them, and they are read as before."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle.comparison import REORDER_TIMEOUT, Columnar, judged_alike
from oracle.features import ALL_FEATURES
from oracle.forms import COMPRESSED
from oracle.strategies import fleets

from consumer.tap.redaction import Redaction
from sparkplug import Message, open_envelope
from sparkplug.datatypes import DataType
from sparkplug.pb import sparkplug_b_pb2 as pb

KEY = bytes(range(32))
ID = "spBv1.0/Brewery/{}/Kettle House"
NBIRTH = ID.format("NBIRTH")
ONLINE = b'{"online":true,"timestamp":5}'
SECRETS = (
    *("Brewery", "Kettle House", "Mash Tun", "Wort Temperature", "Grains", "Pilsner recipe"),
    *("hectolitre", "Ask Bob before", "Heinrich", "BrewUdt", "malt.csv", "operatorNote"),
    *("Weyermann", "Plant Salzburg"),
)


def birth():
    """A payload with a secret in every place that may hold one."""
    payload = pb.Payload(timestamp=1_700_000_000_000, seq=0)
    add = payload.metrics.add
    add(name="bdSeq", datatype=DataType.Int64, long_value=3)
    add(name="Node Control/Rebirth", datatype=DataType.Boolean, boolean_value=False)
    one = add(name="Mash Tun/Wort Temperature", alias=4, datatype=DataType.Double)
    one.double_value = 65.5
    for key, value in [
        ("Quality", {"type": 3, "int_value": 192}),
        ("engUnit", {"type": 12, "string_value": "hectolitre"}),
        ("engHigh", {"type": 10, "double_value": 100.0}),
        ("engLow", {"type": 12, "string_value": "-5.5"}),
        ("tooltip", {"type": 12, "string_value": "Ask Bob before"}),
        ("operatorNote", {"type": 12, "string_value": "Heinrich"}),
    ]:
        one.properties.keys.append(key)
        one.properties.values.add(**value)
    inner = one.properties.values.add(type=20).propertyset_value
    one.properties.keys.append("operatorNote/2")
    inner.keys.append("Heinrich")
    inner.values.add(type=12, string_value="Heinrich")
    add(name="Grains", alias=5, datatype=DataType.String, string_value="Pilsner recipe")
    array = add(name="Mash Tun/List", alias=6, datatype=DataType.StringArray)
    array.bytes_value = b"Weyermann\0Heinrich\0"
    numbers = add(name="Mash Tun/Numbers", alias=7, datatype=DataType.Int32Array)
    numbers.bytes_value = b"\1\0\0\0\2\0\0\0"
    characters = add(name="Mash Tun/Characters", alias=8, datatype=DataType.UInt8Array)
    characters.bytes_value = b"Weyermann"
    file = add(name="Mash Tun/File", alias=9, datatype=DataType.File, bytes_value=b"Weyermann,1")
    file.metadata.file_name = "malt.csv"
    file.metadata.description = "Pilsner recipe"
    file.metadata.md5 = "0123456789abcdef0123456789abcdef"
    table = add(name="Mash Tun/Table", alias=10, datatype=DataType.DataSet).dataset_value
    table.num_of_columns = 2
    table.columns.extend(["Grains", "kg"])
    table.types.extend([12, 3])
    row = table.rows.add()
    row.elements.add(string_value="Weyermann")
    row.elements.add(int_value=7)
    template = add(name="_types_/BrewUdt", datatype=DataType.Template).template_value
    template.is_definition = True
    template.version = "Heinrich"
    template.metrics.add(name="Wort Temperature", datatype=DataType.Double)
    template.parameters.add(name="operatorNote", type=12, string_value="Heinrich")
    instance = add(name="Mash Tun/Unit", datatype=DataType.Template).template_value
    instance.template_ref = "BrewUdt"
    instance.metrics.add(name="Wort Temperature", datatype=DataType.Double, double_value=1.0)
    note = instance.metrics.add(name="Grains", datatype=DataType.String)
    note.string_value = "Pilsner recipe"
    return payload


def redacted(payload, topic=NBIRTH, redaction=None):
    return (redaction or Redaction(KEY)).message(0, Message(topic, payload, 5))


def assert_no_secret_in(data: bytes):
    assert [each for each in SECRETS if each.encode() in data] == []
    for secret in SECRETS:
        assert base64.b64encode(secret.encode())[:-4] not in data


def compressed(payload, way):
    inner = payload.SerializeToString()
    body = {"GZIP": gzip.compress, "DEFLATE": zlib.compress}[way](inner)
    envelope = pb.Payload(uuid=COMPRESSED, seq=7, timestamp=8, body=body)
    envelope.metrics.add(name="algorithm", datatype=DataType.String, string_value=way)
    return envelope.SerializeToString()


# ------------------------------------------------------------------ what goes, what stays


def test_no_name_and_no_text_is_left():
    found = redacted(birth().SerializeToString())
    assert_no_secret_in(found.topic.encode() + found.payload)


def test_what_is_no_name_and_no_text_stays():
    found = redacted(birth().SerializeToString())
    before, after = birth(), pb.Payload.FromString(found.payload)
    assert found.topic.startswith("spBv1.0/")
    assert found.topic.split("/")[2] == "NBIRTH"
    assert (after.timestamp, after.seq) == (before.timestamp, before.seq)
    assert [each.name for each in after.metrics[:2]] == ["bdSeq", "Node Control/Rebirth"]
    assert [each.alias for each in after.metrics] == [each.alias for each in before.metrics]
    assert [e.datatype for e in after.metrics] == [e.datatype for e in before.metrics]
    assert [len(e.name) for e in after.metrics] == [len(e.name) for e in before.metrics]
    assert [e.name.count("/") for e in after.metrics] == [e.name.count("/") for e in before.metrics]
    level = after.metrics[2]
    assert level.double_value == 65.5
    assert level.properties.keys[:5] == ["Quality", "engUnit", "engHigh", "engLow", "tooltip"]
    assert level.properties.values[0].int_value == 192
    assert level.properties.values[2].double_value == 100.0
    assert level.properties.values[3].string_value == "-5.5"
    assert after.metrics[5].bytes_value == before.metrics[5].bytes_value
    assert len(after.metrics[7].bytes_value) == len(before.metrics[7].bytes_value)
    assert after.metrics[8].dataset_value.rows[0].elements[1].int_value == 7


def test_equal_names_stay_equal_and_different_ones_different():
    after = pb.Payload.FromString(redacted(birth().SerializeToString()).payload)
    by_old = dict(zip([e.name for e in birth().metrics], after.metrics, strict=True))
    definition = by_old["_types_/BrewUdt"]
    instance = by_old["Mash Tun/Unit"].template_value
    assert definition.name == f"_types_/{instance.template_ref}"
    assert definition.template_value.metrics[0].name == instance.metrics[0].name
    folder, name = by_old["Mash Tun/Wort Temperature"].name.split("/")
    assert name == instance.metrics[0].name
    assert by_old["Mash Tun/List"].name.startswith(f"{folder}/")
    assert by_old["Grains"].string_value == instance.metrics[1].string_value


def test_two_hundred_names_of_one_or_two_letters_stay_different():
    redaction = Redaction(KEY)
    payload = pb.Payload()
    names = [chr(code) for code in range(0x21, 0x7F) if chr(code) != "/"]
    names += [f"{a}{b}" for a in "0123456789" for b in "0123456789"]
    for name in names:
        payload.metrics.add(name=name, datatype=3, int_value=1)
    found = redacted(payload.SerializeToString(), redaction=redaction).payload
    after = [each.name for each in pb.Payload.FromString(found).metrics]
    assert len(set(after)) == len(names)
    assert redacted(payload.SerializeToString(), redaction=redaction).payload == found


def test_another_key_gives_other_names():
    """So nobody can try the words of a dictionary on a capture."""
    payload = birth().SerializeToString()
    one, other = (Redaction(key).message(0, Message("a/b", payload, 1)) for key in (KEY, bytes(32)))
    assert one.topic != other.topic
    names = [
        redacted(payload, redaction=Redaction(key)).topic.split("/")[1] for key in (KEY, bytes(32))
    ]
    assert names[0] != names[1]


def test_bytes_that_data_sends_without_datatype_are_judged_by_the_birth():
    redaction = Redaction(KEY)
    redacted(birth().SerializeToString(), redaction=redaction)
    data = pb.Payload(timestamp=1, seq=1)
    data.metrics.add(alias=7, bytes_value=b"\3\0\0\0")
    data.metrics.add(alias=6, bytes_value=b"Weyermann\0")
    data.metrics.add(alias=99, bytes_value=b"\3\0\0\0")
    found = redacted(data.SerializeToString(), ID.format("NDATA"), redaction).payload
    numbers, texts, unknown = (each.bytes_value for each in pb.Payload.FromString(found).metrics)
    assert numbers == b"\3\0\0\0"
    assert texts.endswith(b"\0")
    assert_no_secret_in(texts)
    assert unknown != b"\3\0\0\0"


# ------------------------------------------------------------------ forms of payloads


@pytest.mark.parametrize("way", ["GZIP", "DEFLATE"])
def test_compressed_payloads_are_opened_and_compressed_again(way):
    found = redacted(compressed(birth(), way)).payload
    outer = pb.Payload.FromString(found)
    assert (outer.uuid, outer.seq, outer.timestamp) == (COMPRESSED, 7, 8)
    assert outer.metrics[0].string_value == way
    inner = open_envelope(found)
    assert isinstance(inner, bytes)
    assert_no_secret_in(inner)
    assert len(pb.Payload.FromString(inner).metrics) == len(birth().metrics)


JSON = {
    "timestamp": 1_700_000_000_000,
    "seq": 3,
    "Weyermann": "Heinrich",
    "metrics": [
        {
            "name": "Mash Tun/Wort Temperature",
            "alias": 7,
            "dataType": "Double",
            "properties": {
                "Quality": {"type": "Int32", "value": 192},
                "engUnit": {"type": "String", "value": "hectolitre"},
                "operatorNote": "Heinrich",
            },
            "value": "65.5",
        },
        {"name": "Grains", "dataType": "String", "value": "Pilsner recipe"},
        {"name": "Grains/2", "dataType": "String", "value": {"Grains": ["Weyermann", 1]}},
        {
            "name": "File",
            "dataType": "File",
            "value": base64.b64encode(b"Weyermann,1").decode(),
            "metaData": {"fileName": "malt.csv", "size": 11},
        },
        {
            "name": "Table",
            "dataType": "DataSet",
            "value": {
                "numberOfColumns": 2,
                "columnNames": ["Grains", "kg"],
                "types": ["String", "Int32"],
                "rows": [["Weyermann", 7]],
            },
        },
        {
            "name": "Unit",
            "dataType": "Template",
            "value": {
                "reference": "BrewUdt",
                "version": "Heinrich",
                "isDefinition": False,
                "metrics": [{"name": "Grains", "dataType": "String", "value": "Weyermann"}],
                "parameters": [{"name": "operatorNote", "type": "String", "value": "Heinrich"}],
            },
        },
    ],
}


def test_json_stays_json_without_names_and_texts():
    found = redacted(json.dumps(JSON).encode()).payload
    assert_no_secret_in(found)
    after = json.loads(found)
    assert after.keys() == {"timestamp", "seq", "metrics"}
    first, *_, table, unit = after["metrics"]
    assert first["alias"] == 7
    assert first["dataType"] == "Double"
    assert first["value"] == "65.5"
    assert first["properties"]["Quality"] == {"type": "Int32", "value": 192}
    assert table["value"]["rows"][0][1] == 7
    assert table["value"]["types"] == ["String", "Int32"]
    assert unit["value"]["isDefinition"] is False
    assert unit["value"]["metrics"][0]["dataType"] == "String"


@pytest.mark.parametrize(
    ("topic", "payload", "after"),
    [
        ("spBv1.0/STATE/Heinrich", b'{"online":true,"timestamp":5,"who":"Heinrich"}', ONLINE),
        ("STATE/Heinrich", b"ONLINE", b"ONLINE"),
    ],
)
def test_hosts_keep_what_they_say_of_themselves(topic, payload, after):
    found = redacted(payload, topic)
    assert found.payload == after
    assert_no_secret_in(found.topic.encode())
    assert found.topic.rpartition("/")[0] == topic.rpartition("/")[0]


@pytest.mark.parametrize(
    "topic",
    [ID.format("NBIRTH"), ID.format("NCMD"), ID.format("NRECORD"), "Brewery/Kettle House", "x"],
)
@pytest.mark.parametrize("payload", [b"\xffHeinrich", b"{Heinrich", b'["Heinrich"]'])
def test_what_cannot_be_read_becomes_random_bytes(topic, payload):
    found = redacted(payload, topic)
    assert len(found.payload) == len(payload)
    assert_no_secret_in(found.topic.encode() + found.payload)


def test_fields_that_the_schema_does_not_know_are_left_out():
    payload = birth().SerializeToString() + b"\x92\x03\x08Heinrich"  # field 50
    assert_no_secret_in(redacted(payload).payload)
    only = redacted(b"\x92\x03\x08Heinrich").payload
    assert_no_secret_in(only)
    assert only
    assert not pb.Payload.FromString(only).ListFields()


def test_births_that_a_server_keeps_are_redacted_as_births():
    kept = redacted(birth().SerializeToString(), "$sparkplug/certificates/" + ID.format("NBIRTH"))
    live = redacted(birth().SerializeToString())
    assert kept.topic == f"$sparkplug/certificates/{live.topic}"
    assert kept.payload == live.payload


# ------------------------------------------------------------------ read as before


def structure(row):
    """All of a row but its names and texts."""
    told = {
        key: value
        for key, value in row.items()
        if key not in {"event_id", "tag_path", "string_value", "source_system_id"}
        and not key.endswith(("_id", "_name"))
    }
    text = row["string_value"]
    return told | {"text": None if text is None else "text"}


@given(fleets=fleets(ALL_FEATURES))
def test_redacted_messages_are_read_as_the_messages_were(fleets):
    redaction = Redaction(KEY)
    before, after = (Columnar("local", REORDER_TIMEOUT) for _ in range(2))
    for batch in fleets:
        for what, when in batch.before:
            for each in (before, after):
                getattr(each, what)(when)
        arrivals = [a for a in batch if a.server == "local" and judged_alike(a.payload)]
        before.feed(arrivals, batch.now)
        changed = []
        for each in arrivals:
            message = Message(each.topic, each.payload, each.received_at_us, each.retained)
            found = redaction.message(0, message)
            changed.append(type(each)(found.topic, found.payload, *vars_of(each)))
        after.feed(changed, batch.now)
    assert list(map(structure, after.rows)) == list(map(structure, before.rows))
    assert after.counts == before.counts
    assert Counter(reason for _, reason in after.dead_letters) == Counter(
        reason for _, reason in before.dead_letters
    )


def vars_of(arrival):
    return arrival.received_at_us, arrival.retained, arrival.server


@given(payload=st.binary(max_size=300))
def test_nothing_that_comes_stops_a_redaction(payload):
    redaction = Redaction(KEY)
    for topic in (ID.format("NBIRTH"), ID.format("DDATA") + "/x", "spBv1.0/STATE/h", "other", ""):
        for content in (payload, b"{" + payload):
            redaction.message(0, Message(topic, content, 1))


@pytest.mark.parametrize("depth", [10, 100, 300, 500, 900, 5000])
@pytest.mark.parametrize("topic", [NBIRTH, "spBv1.0/STATE/h"])
def test_no_depth_of_json_stops_a_redaction(topic, depth):
    for opened, closed in (("[", "]"), ('{"value":', "}")):
        nested = opened * depth + '"Heinrich"' + closed * depth
        for member in ("value", "properties", "timestamp", "online"):
            payload = f'{{"metrics":[{{"name":"a","{member}":{nested}}}],"online":{nested}}}'
            assert_no_secret_in(redacted(payload.encode(), topic).payload)


FIELDS = (
    *("timestamp", "seq", "metrics", "name", "alias", "dataType", "type", "value", "properties"),
    *("metaData", "keys", "values", "columns", "types", "rows", "elements", "parameters", "uuid"),
    *("reference", "isDefinition", "Quality", "engUnit", "engLow", "readOnly", "body", "online"),
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from([*(each.name for each in DataType), COMPRESSED, "Heinrich", "true", "\ud800"])
)
TREES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=6)
    ),
    max_leaves=20,
)


@given(tree=st.dictionaries(st.sampled_from(FIELDS), TREES, max_size=8))
def test_no_json_stops_a_redaction_or_keeps_a_text(tree):
    redaction = Redaction(KEY)
    for topic in (NBIRTH, ID.format("NDATA"), "spBv1.0/STATE/h"):
        assert_no_secret_in(redacted(json.dumps(tree).encode(), topic, redaction).payload)


@pytest.mark.parametrize("odd", [["Heinrich"], {"Heinrich": "Heinrich"}, [["Heinrich"]]])
@pytest.mark.parametrize(
    "metric",
    [
        lambda odd: {"datatype": 16, "value": {"columns": [odd], "types": [], "rows": []}},
        lambda odd: {"value": {"columnNames": [odd], "rows": []}},
        lambda odd: {"properties": {"keys": [odd], "values": [1]}},
    ],
)
def test_no_text_stays_where_a_name_is_something_else(metric, odd):
    payload = json.dumps({"metrics": [{"name": "Grains", **metric(odd)}]}).encode()
    assert_no_secret_in(redacted(payload, NBIRTH).payload)


def test_a_datatype_of_more_digits_than_a_number_may_have_stops_no_redaction():
    redaction = Redaction(KEY)
    payload = json.dumps({"metrics": [{"name": "Grains", "datatype": "1" * 5_000}]}).encode()
    assert_no_secret_in(redacted(payload, NBIRTH, redaction).payload)
    assert redaction.unread == 0


def test_a_defect_costs_a_capture_one_payload_and_leaks_nothing(monkeypatch):
    def fail(*_args):
        raise ZeroDivisionError

    monkeypatch.setattr(Redaction, "_plain", fail)
    redaction = Redaction(KEY)
    after = redacted(birth().SerializeToString(), NBIRTH, redaction)
    assert_no_secret_in(after.payload)
    assert redaction.unread == 1
