"""What tahutils encodes, which wraps Eclipse Tahu's Python code, lands as the right rows."""

import hashlib
import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support import peer_environments
from support.services import PATIENCE

from end_to_end.expected import SCALARS, columns_of, value_columns
from end_to_end.world import world

PROGRAM = Path(__file__).with_name("tahutils_edge_node.py")
MEASURED_MS = 1_795_443_214_123
MEASURED = datetime(2026, 11, 23, 14, 13, 34, 123_000, tzinfo=UTC)


@pytest.fixture(scope="module")
def tahutils():
    return peer_environments.python_of("tahutils")


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with world(tmp_path_factory.mktemp("tahutils")) as system:
        system.consumer.start_ready()
        yield system
        assert system.consumer.stop() == 0


@pytest.fixture
def play(tahutils, running, request):
    """Publish the messages of a script as an edge node of its own; return the group id."""

    def play(types, *steps, aliases=False):
        group = request.node.name
        script = {
            "group": group,
            "node": "Edge",
            "aliases": aliases,
            "types": types,
            "steps": [{"time": MEASURED_MS, **step} for step in steps],
        }
        done = subprocess.run(
            [tahutils, PROGRAM],
            check=False,
            input=json.dumps(script),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        assert len(lines) == len(steps)
        for topic, payload in map(json.loads, lines):
            running.publish(topic, bytes.fromhex(payload))
        return group

    return play


@pytest.mark.parametrize("aliases", [False, True], ids=["names", "aliases"])
@pytest.mark.parametrize("device", [None, "Pump 1"], ids=["node", "device"])
def test_every_scalar_datatype_lands_with_its_exact_value(running, play, device, aliases):
    types = {"": {}, device or "": {name: name for name in SCALARS}}
    born, changed = ({name: values[at] for name, values in SCALARS.items()} for at in (0, 1))
    births = [{"verb": "NBIRTH", "values": {} if device else born}]
    if device:
        births.append({"verb": "DBIRTH", "device": device, "values": born})
    data = {"verb": "DDATA" if device else "NDATA", "device": device, "values": changed}
    before = running.consumer.reasons()
    group = play(types, *births, {**data, "time": MEASURED_MS + 1}, aliases=aliases)

    rows = running.table.wait_for(2 * len(SCALARS), group_id=group)
    assert len(rows) == 2 * len(SCALARS)
    assert running.consumer.reasons().keys() <= {"host_state"} | before.keys()
    for values, verb, at, part in (
        (born, births[-1]["verb"], 0, rows[: len(SCALARS)]),
        (changed, data["verb"], 1, rows[len(SCALARS) :]),
    ):
        found = {row["metric_name"]: row for row in part}
        assert found.keys() == values.keys()
        for name, value in values.items():
            row = found[name]
            assert value_columns(row) == columns_of(name, value), name
            assert (row["data_type"], row["device_id"]) == (name, device)
            assert (row["quality"], row["message_type"]) == ("GOOD", verb)
            assert row["event_time"] == MEASURED + timedelta(milliseconds=at)
            assert row["payload_timestamp"] == row["event_time"] + timedelta(seconds=1)
            assert row["seq"] == len(births) - 1 + at


ARRAYS = {
    "Int8Array": [-128, 127, 0],
    "Int16Array": [-32_768, 32_767],
    "Int32Array": [-(2**31), 2**31 - 1],
    "Int64Array": [-(2**63), 2**63 - 1],
    "UInt8Array": [0, 255],
    "UInt16Array": [0, 65_535],
    "UInt32Array": [0, 2**32 - 1],
    "UInt64Array": [0, 2**64 - 1],
    "FloatArray": [0.5, -1.25],
    "DoubleArray": [0.1, -1e300],
    "DateTimeArray": [1_709_251_199_500],
    "BooleanArray": [True, False, False, False, False, False, True, False, True],
    "StringArray": ["Pump", "轴承"],
}
LANDED_ARRAYS = ARRAYS | {
    "DateTimeArray": ["2024-02-29T23:59:59.500Z"],
    # Tahu for Python counts the bits of a byte from the lowest on; the specification, and
    # Tahu for Java, from the highest. What lands is what the bytes say.
    "BooleanArray": [False, True, False, False, False, False, False, True, False],
    # It also writes texts as hexadecimal digits of their UTF-8, which no other encoder does.
    "StringArray": ["50756d70", "e8bdb4e689bf"],
}
CONTENT = b"not a real image"
DATASET = {
    "columns": ["Batch", "Weight", "Passed", "Remark"],
    "types": ["Int32", "Double", "Boolean", "String"],
    "rows": [[17, 0.1, True, "süß"], [18, -2.5, False, ""]],
}


def test_arrays_data_sets_and_files_land_as_json(running, play):
    values = {**ARRAYS, "DataSet": DATASET, "Bytes": CONTENT.hex(), "File": CONTENT.hex()}
    metrics = [
        {"name": name, "alias": alias, "type": name, "value": value}
        for alias, (name, value) in enumerate(values.items())
    ]
    again = [{**each, "name": None} for each in metrics]
    group = play(
        {"": {}},
        {"verb": "NBIRTH", "more": metrics},
        {"verb": "NDATA", "more": again, "time": MEASURED_MS + 1},
    )

    rows = running.table.wait_for(2 * len(values), group_id=group)
    summary = {"size": len(CONTENT), "md5": hashlib.md5(CONTENT).hexdigest()}
    expected = [*LANDED_ARRAYS.values(), DATASET, summary, summary]
    assert [row["metric_name"] for row in rows] == list(values) * 2
    assert [row["data_type"] for row in rows] == list(values) * 2
    for row, value in zip(rows, expected * 2, strict=True):
        assert json.loads(row["string_value"]) == value
        others = ("numeric_value", "integer_value", "boolean_value")
        assert [row[name] for name in others] == [None] * 3
        assert row["quality"] == "GOOD"


def test_nulls_and_history_land_as_such_and_templates_beside_them_do_no_harm(running, play):
    types = [*SCALARS, *ARRAYS, "Bytes", "File"]
    metrics = [
        {"name": each, "alias": n, "type": each, "value": None} for n, each in enumerate(types)
    ]
    machine = {"reference": "Machine", "members": {"Speed": 1.5}}
    template = {"name": "Machine 1", "alias": 99, "type": "Template", "value": machine}
    past = {"name": None, "alias": types.index("Double"), "type": "Double", "historical": True}
    group = play(
        {"": {}},
        {"verb": "NBIRTH", "more": [template, *metrics]},
        {"verb": "NDATA", "more": [{**past, "value": 2.5}], "time": MEASURED_MS - 60_000},
    )

    running.table.wait_for(1, group_id=group, is_historical=True)
    *born, late = running.table.rows(group_id=group)
    rows = {row["metric_name"]: row for row in born}
    for name in types:
        assert value_columns(rows[name]) == (None,) * 4, name
        assert rows[name]["is_historical"] is False
    assert (late["metric_name"], late["numeric_value"], late["is_historical"]) == (
        "Double",
        2.5,
        True,
    )
    assert late["event_time"] == MEASURED - timedelta(minutes=1)


def test_deaths_of_devices_and_nodes_make_their_tags_stale(running, play):
    before = running.consumer.reasons()
    types = {"": {"Level": "Double"}, "Pump": {"Speed": "Int32"}}
    group = play(
        types,
        {"verb": "NBIRTH", "values": {"Level": 0.5}},
        {"verb": "DBIRTH", "device": "Pump", "values": {"Speed": 1}},
        {"verb": "DDEATH", "device": "Pump"},
        {"verb": "DBIRTH", "device": "Pump", "values": {"Speed": 2}},
        {"verb": "NDEATH"},
        aliases=True,
    )

    rows = running.table.wait_for(6, group_id=group)
    story = [
        (row["message_type"], row["metric_name"], row["quality"], row["numeric_value"])
        for row in rows
    ]
    assert story[:4] == [
        ("NBIRTH", "Level", "GOOD", 0.5),
        ("DBIRTH", "Speed", "GOOD", 1.0),
        ("DDEATH", "Speed", "STALE", None),
        ("DBIRTH", "Speed", "GOOD", 2.0),
    ]
    assert sorted(story[4:]) == [
        ("NDEATH", "Level", "STALE", None),
        ("NDEATH", "Speed", "STALE", None),
    ]
    assert rows[2]["event_time"] == MEASURED + timedelta(seconds=1)
    assert rows[4]["event_time"] == rows[4]["ingestion_timestamp"]
    assert running.consumer.reasons().keys() <= {"host_state"} | before.keys()
