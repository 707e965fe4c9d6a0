"""What sparkplug-client publishes, Eclipse Tahu's client for JavaScript, lands as the right rows.

It connects by itself, with a will, and compresses payloads where it is told to. Skipped
where there is no node, no npm, or no registry to take the package from.
"""

import contextlib
import hashlib
import json
import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support import peer_environments
from support.services import PATIENCE

from end_to_end.expected import SCALARS, columns_of, value_columns
from end_to_end.world import world

# First of all, so that nothing is started where the tests are skipped.
pytestmark = pytest.mark.usefixtures("packages")

PROGRAM = Path(__file__).with_name("sparkplug_client_edge_node.js")
MEASURED_MS = 1_795_443_214_123
MEASURED = datetime(2026, 11, 23, 14, 13, 34, 123_000, tzinfo=UTC)


@pytest.fixture(scope="module")
def packages():
    try:
        return peer_environments.node_modules_of("sparkplug-client")
    except peer_environments.UnavailableError as error:
        pytest.skip(f"sparkplug-client cannot be had: {error}")


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with world(tmp_path_factory.mktemp("client")) as system:
        system.consumer.start_ready()
        yield system
        assert system.consumer.stop() == 0


@pytest.fixture
def edge_node(packages, running, tmp_path, request):
    """Start an edge node that carries out steps; what is yielded is its process and group id."""

    @contextlib.contextmanager
    def started(*steps, publish_death=False):
        group = request.node.name
        script = {
            "url": running.server.url,
            "group": group,
            "node": "Edge",
            "publish_death": publish_death,
            "steps": steps,
        }
        file = tmp_path / "script.json"
        file.write_text(json.dumps(script), encoding="utf-8")
        process = subprocess.Popen(
            ["node", PROGRAM, file],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "NODE_PATH": str(packages / "node_modules")},
        )
        try:
            said = process.stdout.readline()
            assert said == b"done\n", process.stderr.read().decode()
            yield process, group
        finally:
            process.kill()
            process.communicate(timeout=PATIENCE)

    return started


def payload(*metrics, at=MEASURED_MS):
    return {"timestamp": at + 1000, "metrics": [{"timestamp": at, **each} for each in metrics]}


def on_the_wire(data_type, value):
    """A value as the client takes it: integers of 64 bits as text, which keeps all digits."""
    return str(value) if data_type in ("Int64", "UInt64") and value is not None else value


def scalars(which, **more):
    return [
        {
            "name": name,
            "type": name,
            "value": on_the_wire(name, None if which is None else values[which]),
            **more,
        }
        for name, values in SCALARS.items()
    ]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compress": True},
        {"compress": True, "algorithm": "GZIP"},
        {"compress": True, "algorithm": "DEFLATE"},
    ],
    ids=["plain", "compressed", "gzip", "deflate"],
)
def test_every_scalar_datatype_lands_with_its_exact_value(running, edge_node, options):
    before = running.consumer.reasons()
    steps = [
        ["NBIRTH", None, payload(), options],
        ["DBIRTH", "Pump 1", payload(*scalars(0)), options],
        ["DDATA", "Pump 1", payload(*scalars(1), at=MEASURED_MS + 1), options],
        ["DDATA", "Pump 1", payload(*scalars(None), at=MEASURED_MS + 2), options],
    ]
    with edge_node(*steps) as (_, group):
        rows = running.table.wait_for(3 * len(SCALARS), group_id=group)

    values = [each[which] for which in (0, 1) for each in SCALARS.values()]
    values += [None] * len(SCALARS)
    assert [row["metric_name"] for row in rows] == list(SCALARS) * 3
    for number, (row, value) in enumerate(zip(rows, values, strict=True)):
        step = number // len(SCALARS)
        assert value_columns(row) == columns_of(row["metric_name"], value), row["metric_name"]
        assert row["data_type"] == row["metric_name"]
        assert row["device_id"] == "Pump 1"
        assert row["message_type"] == ("DDATA" if step else "DBIRTH")
        assert row["quality"] == "GOOD"
        assert row["event_time"] == MEASURED + timedelta(milliseconds=step)
        assert row["payload_timestamp"] == row["event_time"] + timedelta(seconds=1)
        assert row["seq"] == step + 1
    assert running.consumer.reasons().keys() <= {"host_state"} | before.keys()


CONTENT = b"not a real image"
DATASET = {
    "columns": ["Batch", "Weight", "Passed", "Remark"],
    "types": ["Int32", "Double", "Boolean", "String"],
    "rows": [[17, 0.1, True, "süß"], [18, -2.5, False, ""]],
}


def test_data_sets_files_quality_history_and_aliases(running, edge_node):
    quality = {
        "Quality": {"type": "Int32", "value": 500},
        "engUnit": {"type": "String", "value": "°C"},
    }
    born = [
        {"name": "Batches", "alias": 0, "type": "DataSet", "value": {**DATASET, "numOfColumns": 4}},
        {
            "name": "Image",
            "alias": 1,
            "type": "File",
            "value": CONTENT.hex(),
            "metadata": {"fileName": "pump.png", "size": len(CONTENT)},
        },
        {"name": "Level", "alias": 2, "type": "Double", "value": 0.5, "properties": quality},
        {
            "name": "Machine",
            "alias": 3,
            "type": "Template",
            "value": {
                "isDefinition": False,
                "templateRef": "Machine",
                "metrics": [{"name": "Speed", "type": "Double", "value": 1.5}],
            },
        },
        {"name": "Now", "alias": 4, "type": "Double", "value": 1.0, "isTransient": True},
    ]
    late = {"alias": 2, "type": "Double", "value": 2.5, "isHistorical": True}
    steps = [
        ["NBIRTH", None, payload(*born), {}],
        ["NDATA", None, payload(late, at=MEASURED_MS - 60_000), {"compress": True}],
    ]
    with edge_node(*steps) as (_, group):
        batches, image, level, speed, past = running.table.wait_for(5, group_id=group)
    assert json.loads(batches["string_value"]) == DATASET
    found = json.loads(image["string_value"])
    assert found.items() >= {"size": 16, "md5": hashlib.md5(CONTENT).hexdigest()}.items()
    assert found["file_name"] == "pump.png"
    assert (level["quality"], level["quality_code"], level["numeric_value"]) == ("STALE", 500, 0.5)
    assert (speed["metric_name"], speed["numeric_value"]) == ("Machine/Speed", 1.5)
    assert (past["metric_name"], past["numeric_value"]) == ("Level", 2.5)
    assert past["is_historical"] is True
    assert past["event_time"] == MEASURED - timedelta(minutes=1)


LEVEL = {"name": "Level", "type": "Double", "value": 0.5}
SPEED = {"name": "Speed", "type": "Int32", "value": -7}


@pytest.mark.parametrize("ended", ["stopped", "killed"])
def test_deaths_make_tags_stale_whether_the_node_says_so_or_its_server(running, edge_node, ended):
    steps = [
        ["NBIRTH", None, payload(LEVEL), {}],
        ["DBIRTH", "Pump", payload(SPEED), {}],
        ["DDEATH", "Pump", payload(), {}],
        ["DBIRTH", "Pump", payload(SPEED, at=MEASURED_MS + 1), {}],
    ]
    if ended == "stopped":
        steps.append(["stop", None, {}, {}])
    with edge_node(*steps, publish_death=ended == "stopped") as (process, group):
        if ended == "killed":
            running.table.wait_for(4, group_id=group)
            process.kill()
        rows = running.table.wait_for(6, group_id=group)
    story = [(row["message_type"], row["metric_name"], row["quality"]) for row in rows]
    assert story[:4] == [
        ("NBIRTH", "Level", "GOOD"),
        ("DBIRTH", "Speed", "GOOD"),
        ("DDEATH", "Speed", "STALE"),
        ("DBIRTH", "Speed", "GOOD"),
    ]
    assert sorted(story[4:]) == [("NDEATH", "Level", "STALE"), ("NDEATH", "Speed", "STALE")]
    assert rows[3]["integer_value"] == -7
    assert rows[2]["event_time"] == MEASURED + timedelta(seconds=1)
