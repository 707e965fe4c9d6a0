"""What births say of tags, from MQTT to the table tag_metadata."""

from __future__ import annotations

import base64
import json
import math
import random
from datetime import UTC, datetime, timedelta

import pytest
from support.services import wait_until

from end_to_end.side_world import METADATA, landed, side_world, told
from sparkplug.datatypes import DataType
from sparkplug.edge.encoding import Metric, Properties
from sparkplug.edge.node import EdgeNode

NOW_MS = 1_795_443_214_000
PRESSURE = Properties(
    engUnit="bar",
    engLow=0.0,
    engHigh=250.0,
    documentation="Main pump",
    tooltip="Pressure",
    readOnly=True,
)


def at(milliseconds):
    return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=milliseconds)


def noise(seed):
    """A text of 32,000 characters in no order."""
    return base64.b64encode(random.Random(seed).randbytes(24_000)).decode()


class Publisher:
    """An edge node with a device whose metrics can be defined anew, as after a change."""

    def __init__(self, publish):
        self._publish = publish
        self._connections = -1

    def born(self, at_ms=NOW_MS, device=None, **tags):
        """Connect and publish the births of the node's tags, and of the device's if any."""
        self._connections += 1
        node = EdgeNode("Plant", "Edge", self._metrics(tags, at_ms))
        for _ in range(self._connections + 1):  # for a bdSeq of its own
            node.connect(at_ms)
        if device is not None:
            node.add_device("Pump", self._metrics(device, at_ms), at_ms)
        for action in node.connected(at_ms):
            self._publish(action.topic, action.payload)
        return node

    @staticmethod
    def _metrics(tags, at_ms):
        return [
            Metric(
                name=name,
                data_type=DataType.Double,
                value=1.0,
                timestamp_ms=at_ms,
                properties=properties,
            )
            for name, properties in tags.items()
        ]


@pytest.fixture
def system(tmp_path):
    with side_world(tmp_path) as running:
        running.consumer.start_ready()
        yield running


@pytest.fixture
def publisher(system):
    return Publisher(system.publish)


@pytest.fixture
def metadata(tmp_path):
    return landed(tmp_path, METADATA)


def settled(system, values):
    """Wait until so many values, all that were published, are in their table, and all else.

    What is written of a birth is committed together: it has been written by then, or never is.
    """
    system.table.wait_for(values)
    system.consumer.wait_delivered()
    wait_until(
        lambda: all(each["spooled_rows"] == 0 for each in system.consumer.status()["side_tables"]),
        what="side tables delivered",
    )


def test_a_birth_that_describes_a_tag_gives_a_row_with_all_it_says(system, publisher, metadata):
    publisher.born(Pressure=PRESSURE)
    (row,) = metadata.wait_for(1)
    assert told([row], "tag_path", "source_system_id", "device_id", "metric_name", "data_type") == [
        ("[MQTT Engine]Edge Nodes/Plant/Edge/Pressure", "Plant/Edge", None, "Pressure", "Double")
    ]
    said = ("unit", "low", "high", "documentation", "tooltip", "read_only", "template")
    assert told([row], *said) == [("bar", 0.0, 250.0, "Main pump", "Pressure", True, None)]
    assert json.loads(row["properties"])["engUnit"] == "bar"
    times = ("first_seen", "last_seen", "valid_from", "valid_to")
    assert told([row], *times) == [(at(NOW_MS), at(NOW_MS), at(NOW_MS), None)]
    settled(system, 1)
    assert len(metadata.rows()) == 1  # neither bdSeq nor Node Control are tags


def test_births_that_repeat_what_is_known_write_nothing(system, publisher, metadata):
    publisher.born(Pressure=PRESSURE, device={"Speed": Properties(engUnit="1/min")})
    metadata.wait_for(2)
    publisher.born(NOW_MS + 1_000, Pressure=PRESSURE, device={"Speed": Properties(engUnit="1/min")})
    settled(system, 4)
    assert told(metadata.rows(), "device_id", "unit", "valid_to") == [
        (None, "bar", None),
        ("Pump", "1/min", None),
    ]


def test_a_changed_unit_closes_the_version_that_held(system, publisher, metadata):
    publisher.born(Pressure=PRESSURE)
    publisher.born(NOW_MS + 1_000, Pressure=Properties(engUnit="psi"))
    first, *rest = metadata.wait_for(3)
    old, new = sorted(rest, key=lambda row: row["valid_from"])
    assert old["metadata_id"] == first["metadata_id"] != new["metadata_id"]
    assert told([old, new], "unit", "documentation", "valid_from", "valid_to") == [
        ("bar", "Main pump", at(NOW_MS), at(NOW_MS + 1_000)),
        ("psi", None, at(NOW_MS + 1_000), None),
    ]
    assert new["first_seen"] == at(NOW_MS)
    settled(system, 2)
    assert len(metadata.rows()) == 3


def test_a_tag_that_is_gone_from_the_birth_has_an_end(system, publisher, metadata):
    publisher.born(Pressure=PRESSURE, Flow=Properties())
    publisher.born(NOW_MS + 1_000, Flow=Properties())
    *_, last = metadata.wait_for(3)
    assert told([last], "metric_name", "unit", "valid_to") == [
        ("Pressure", "bar", at(NOW_MS + 1_000))
    ]
    settled(system, 3)
    assert len(metadata.rows()) == 3


def test_a_restart_repeats_nothing_and_knows_what_held(system, publisher, metadata):
    publisher.born(Pressure=PRESSURE)
    metadata.wait_for(1)
    assert system.consumer.stop() == 0
    system.consumer.start_ready()
    publisher.born(NOW_MS + 1_000, Pressure=PRESSURE)
    settled(system, 2)
    assert len(metadata.rows()) == 1
    publisher.born(NOW_MS + 2_000, Flow=Properties())
    rows = metadata.wait_for(3)
    assert sorted(told(rows[1:], "metric_name", "valid_to", "unit"), key=str) == [
        ("Flow", None, None),
        ("Pressure", at(NOW_MS + 2_000), "bar"),
    ]


def test_a_table_that_is_named_later_is_filled_by_the_next_births(tmp_path):
    off = {"zerobus": {"metadata_table": ""}}
    with side_world(tmp_path, **off) as system:
        system.consumer.start_ready()
        Publisher(system.publish).born(Pressure=PRESSURE)
        system.table.wait_for(1)
        assert system.consumer.stop() == 0
        config = json.loads(system.consumer.config_file.read_text())
        config["zerobus"]["metadata_table"] = METADATA
        system.consumer.config_file.write_text(json.dumps(config))
        system.consumer.start_ready()
        Publisher(system.publish).born(NOW_MS + 1_000, Pressure=PRESSURE)
        (row,) = landed(tmp_path, METADATA).wait_for(1)
        assert row["valid_from"] == at(NOW_MS + 1_000)


def test_a_version_that_found_no_room_is_written_with_the_next_birth(tmp_path):
    with side_world(
        tmp_path,
        spool={"path": str(tmp_path / "spool.db"), "max_bytes": "16MiB"},
        shutdown_timeout=0,
    ) as system:
        system.consumer.start_ready()
        system.zerobus.faults.delay_commits(math.inf)
        publisher = Publisher(system.publish)
        # As long as texts may be, and with nothing in them that compresses.
        names = ("engUnit", "documentation", "tooltip")
        tags = {
            f"T{n}": Properties(**{name: noise(f"{name} {n}") for name in names})
            for n in range(120)
        }
        publisher.born(**tags)
        system.consumer.wait_for(
            lambda: system.consumer.status()["rows_dropped"] > 0, "rows that find no room"
        )
        produced = {t["table"]: t["rows_produced"] for t in system.consumer.status()["side_tables"]}
        assert produced[METADATA] == 0
        system.zerobus.faults.clear()
        system.consumer.wait_for(
            lambda: not system.consumer.status()["spool"]["overflow"]["full"], "room"
        )
        publisher.born(NOW_MS + 1_000, **{name: tags[name] for name in ("T1", "T2")})
        rows = landed(tmp_path, METADATA).wait_for(2)
        assert sorted(told(rows, "metric_name", "valid_from")) == [
            ("T1", at(NOW_MS + 1_000)),
            ("T2", at(NOW_MS + 1_000)),
        ]
