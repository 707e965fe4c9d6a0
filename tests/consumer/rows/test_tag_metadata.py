"""Versions of metadata: written when a birth says something new, ended when it says otherwise."""

import struct

import numpy as np
import pyarrow as pa
import pytest
import xxhash

from consumer.pb.tag_metadata_pb2 import TagMetadata as Row
from consumer.rows.event_id import identity
from consumer.rows.metadata_versions import Versions, VersionStore
from consumer.rows.tag_columns import TagColumns
from consumer.rows.tag_metadata import MOST_AHEAD_US, MOST_CHARACTERS, MetadataRows
from consumer.rows.templates import SourceNames
from sparkplug.datatypes import DataType
from sparkplug.host.catalogue import TagCatalogue
from sparkplug.host.owner import MetricOwner
from sparkplug.metadata import TagMetadata

BORN = 1_795_443_214_123_000
HOUR = 3_600_000_000
SAID = {
    "unit": pa.string(),
    "low": pa.float64(),
    "high": pa.float64(),
    "documentation": pa.string(),
    "tooltip": pa.string(),
    "read_only": pa.bool_(),
    "template": pa.string(),
    "properties": pa.string(),
}


class Births:
    """One server's births and their rows; `restart` keeps what a spool would have."""

    def __init__(self, site=""):
        self.site = site
        self.state = {}
        self.stamp = BORN
        self.reads = 0
        self.restart()

    def restart(self):
        self.catalogue = TagCatalogue()
        self.tags = TagColumns(self.catalogue, SourceNames(site=self.site))
        self.store = VersionStore(self._read)
        self.rows_of = MetadataRows(self.tags, self.store)
        self.owners = {}

    def _read(self, key):
        self.reads += 1
        return self.state.get(key)

    def tag(self, name, device=None, datatype=DataType.Double):
        owner = self.owners.setdefault(device, MetricOwner("Plant", "Edge", device))
        return self.catalogue.append(owner, [name], np.array([datatype], dtype=np.uint8))

    def born(self, *said, at=BORN, commit=True):
        """Rows of a birth that says these mappings of their tags; `retired` of some."""
        self.stamp = max(self.stamp + 1, at)
        metadata = TagMetadata(
            tag=np.array([each["tag"] for each in said], dtype=np.int32),
            since_us=at,
            **{name: pa.array([each.get(name) for each in said], t) for name, t in SAID.items()},
            retired=np.array([each.get("retired", False) for each in said], dtype=np.bool_),
        )
        pieces = self.rows_of.encode(metadata, self.stamp)
        if commit:
            self.state |= self.store.state()
        self.store.settle()
        messages = [Row.FromString(each) for piece in pieces for each in piece.to_pylist()]
        return [{field.name: value for field, value in each.ListFields()} for each in messages]


@pytest.fixture
def births():
    return Births()


def told(rows, *names):
    return [tuple(row.get(name) for name in names) for row in rows]


def test_a_tag_that_was_not_known_gets_a_row_with_all_that_its_birth_says(births):
    ramp = births.tag("Ramp")
    said = {
        "unit": "bar",
        "low": 0.0,
        "high": 250.0,
        "documentation": "Behind the pump",
        "tooltip": "Pressure",
        "read_only": True,
        "template": "Pump",
        "properties": '{"engUnit":"bar"}',
    }
    (row,) = births.born({"tag": ramp, **said})
    record = identity("", "Plant", "Edge", None, "Ramp") + struct.pack(
        "<qqq8s", BORN, DataType.Double, 0, b"metadata"
    )
    assert row == {
        "metadata_id": xxhash.xxh3_128_hexdigest(record),
        "tag_path": "[MQTT Engine]Edge Nodes/Plant/Edge/Ramp",
        "tag_provider": "MQTT Engine",
        "source_system_id": "Plant/Edge",
        "group_id": "Plant",
        "edge_node_id": "Edge",
        "metric_name": "Ramp",
        "data_type": "Double",
        **said,
        "first_seen": BORN,
        "last_seen": BORN,
        "valid_from": BORN,
        "ingestion_timestamp": births.stamp,
    }


def test_a_tag_of_which_the_birth_says_nothing_gets_a_row_too(births):
    (row,) = births.born({"tag": births.tag("Ramp", "Boiler")})
    assert (row["device_id"], row["data_type"]) == ("Boiler", "Double")
    assert not row.keys() & SAID.keys()


def test_a_birth_that_repeats_the_metadata_writes_nothing(births):
    ramp = births.tag("Ramp")
    births.born({"tag": ramp, "unit": "bar"})
    assert births.born({"tag": ramp, "unit": "bar"}, at=BORN + HOUR) == []


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("unit", ("bar", None)),
        ("low", (0.0, -1.0)),
        ("high", (None, 0.0)),
        ("documentation", ("a", "b")),
        ("tooltip", ("a", "")),
        ("read_only", (False, None)),
        ("template", ("Pump", "Valve")),
        ("properties", ('{"a":1}', '{"a":2}')),
    ],
)
def test_a_change_ends_the_version_that_held_and_begins_the_next(births, name, values):
    ramp = births.tag("Ramp")
    (first,) = births.born({"tag": ramp, name: values[0]})
    old, new = births.born({"tag": ramp, name: values[1]}, at=BORN + HOUR)
    assert old == first | {
        "valid_to": BORN + HOUR,
        "last_seen": BORN + HOUR,
        "ingestion_timestamp": births.stamp,
    }
    assert new["metadata_id"] != old["metadata_id"]
    assert new.get(name) == values[1]
    assert told([new], "first_seen", "valid_from", "last_seen", "valid_to") == [
        (BORN, BORN + HOUR, BORN + HOUR, None)
    ]


def test_a_tag_that_is_declared_no_more_ends_and_begins_anew_when_it_returns(births):
    ramp, sine = births.tag("Ramp"), births.tag("Sine")
    births.born({"tag": ramp, "unit": "bar"}, {"tag": sine})
    (gone,) = births.born({"tag": ramp, "retired": True}, at=BORN + HOUR)
    assert told([gone], "metric_name", "unit", "valid_to") == [("Ramp", "bar", BORN + HOUR)]
    (back,) = births.born({"tag": ramp, "unit": "bar"}, at=BORN + 2 * HOUR)
    assert told([back], "first_seen", "valid_from", "valid_to") == [
        (BORN + 2 * HOUR, BORN + 2 * HOUR, None)
    ]


def test_a_tag_that_was_never_told_of_can_be_retired_without_a_row(births):
    assert births.born({"tag": births.tag("Ramp"), "retired": True}) == []


def test_another_datatype_is_another_tag(births):
    before = births.tag("Ramp")
    births.born({"tag": before, "unit": "bar"})
    after = births.tag("Ramp", datatype=DataType.Int32)
    old, new = births.born(
        {"tag": before, "retired": True}, {"tag": after, "unit": "bar"}, at=BORN + HOUR
    )
    assert told([old, new], "data_type", "valid_from", "valid_to") == [
        ("Double", BORN, BORN + HOUR),
        ("Int32", BORN + HOUR, None),
    ]


def test_tags_of_one_name_and_two_datatypes_have_versions_of_their_own(births):
    double, integer = births.tag("Ramp"), births.tag("Ramp", datatype=DataType.Int32)
    first, second = births.born({"tag": double}, {"tag": integer})
    assert first["metadata_id"] != second["metadata_id"]
    assert births.born({"tag": integer}, {"tag": double}, at=BORN + HOUR) == []


def test_devices_with_equal_names_are_kept_apart_within_one_birth(births):
    ramps = [births.tag("Ramp", device) for device in (None, "A", "B")]
    first = births.born(*({"tag": tag, "unit": "bar"} for tag in ramps))
    assert len({row["metadata_id"] for row in first}) == 3
    changed = [{"tag": ramps[0], "unit": "bar"}, {"tag": ramps[1], "unit": "psi"}]
    rows = births.born(*changed, at=BORN + HOUR)
    assert told(rows, "device_id", "unit") == [("A", "bar"), ("A", "psi")]


def test_a_restart_writes_nothing_and_ends_versions_of_the_run_before(births):
    (first,) = births.born({"tag": births.tag("Ramp"), "unit": "bar"})
    births.restart()
    births.tag("Another")  # tag ids mean something else now
    ramp = births.tag("Ramp")
    assert births.born({"tag": ramp, "unit": "bar"}, at=BORN + HOUR) == []
    old, new = births.born({"tag": ramp, "unit": "psi"}, at=BORN + 2 * HOUR)
    assert (old["metadata_id"], old["unit"]) == (first["metadata_id"], "bar")
    assert (new["unit"], new["first_seen"]) == ("psi", BORN)


def test_compacted_tag_ids_find_their_versions(births):
    births.tag("Gone")
    ramp = births.tag("Ramp")
    births.born({"tag": ramp, "unit": "bar"})
    renamed = births.catalogue.keep(np.array([ramp], dtype=np.int32))
    assert births.born({"tag": int(renamed[ramp]), "unit": "bar"}, at=BORN + HOUR) == []


def test_what_was_not_committed_is_not_known(births):
    ramp = births.tag("Ramp")
    births.born({"tag": ramp, "unit": "bar"}, commit=False)
    (again,) = births.born({"tag": ramp, "unit": "bar"}, at=BORN + HOUR)
    assert again["valid_from"] == BORN + HOUR


def test_two_births_of_one_commit_see_each_other(births):
    ramp = births.tag("Ramp")
    births.born({"tag": ramp, "unit": "bar"})
    births.store.settle()
    metadata = [
        TagMetadata(
            np.array([ramp], dtype=np.int32),
            BORN + n,
            **{name: pa.array([unit if name == "unit" else None], t) for name, t in SAID.items()},
            retired=np.zeros(1, dtype=np.bool_),
        )
        for n, unit in enumerate(["psi", "kPa", "kPa"], 1)
    ]
    counts = [
        sum(map(len, births.rows_of.encode(each, BORN + n))) for n, each in enumerate(metadata)
    ]
    assert counts == [2, 2, 0]


def test_servers_of_one_site_tell_of_a_tag_once_and_those_of_two_sites_twice():
    first = Births("north")
    first.born({"tag": first.tag("Ramp"), "unit": "bar"})
    for site, count in (("north", 0), ("south", 1)):
        other = Births(site)
        other.state = first.state
        assert len(other.born({"tag": other.tag("Ramp"), "unit": "bar"})) == count


def test_a_clock_that_was_set_back_does_not_turn_versions_around(births):
    ramp = births.tag("Ramp")
    births.born({"tag": ramp, "unit": "bar"})
    old, new = births.born({"tag": ramp, "unit": "psi"}, at=BORN - HOUR)
    assert old["valid_to"] == new["valid_from"] == BORN + 1


def test_a_birth_of_the_far_future_is_dated_by_its_arrival(births):
    ramp = births.tag("Ramp")
    births.stamp = BORN
    metadata = births.born({"tag": ramp}, at=BORN)
    assert metadata[0]["valid_from"] == BORN
    for ahead, dated in ((MOST_AHEAD_US, BORN + MOST_AHEAD_US), (MOST_AHEAD_US + 1, BORN)):
        other = Births()
        said = TagMetadata(
            np.array([other.tag("Ramp")], dtype=np.int32),
            BORN + ahead,
            **{name: pa.nulls(1, t) for name, t in SAID.items()},
            retired=np.zeros(1, dtype=np.bool_),
        )
        (piece,) = other.rows_of.encode(said, BORN)
        assert Row.FromString(piece[0].as_py()).valid_from == dated


def test_long_texts_are_cut_and_long_properties_left_out(births):
    long = "ä" * (MOST_CHARACTERS + 1)
    (row,) = births.born({"tag": births.tag("Ramp"), "documentation": long, "properties": long})
    assert row["documentation"] == long[:-1]
    assert "properties" not in row


def test_nothing_is_read_or_written_for_births_that_say_nothing_new(births):
    births.born({"tag": births.tag("Ramp")})
    reads = births.reads
    assert births.born(at=BORN + HOUR) == []
    assert births.reads == reads


def test_damaged_versions_begin_anew_with_a_warning(births, caplog):
    ramp = births.tag("Ramp")
    births.born({"tag": ramp, "unit": "bar"})
    births.state = {key: blob[:-1] + b"\0" for key, blob in births.state.items()}
    (row,) = births.born({"tag": ramp, "unit": "bar"}, at=BORN + HOUR)
    assert row["valid_from"] == BORN + HOUR
    assert "damaged" in caplog.text


def test_versions_are_what_was_written():
    assert len(Versions.from_blob(Versions.none().to_blob())) == 0
    content = pa.array([b"", b"x" * 1000, b"y"], pa.binary())
    written = Versions(
        np.array([1, 2**63, 2**64 - 1], dtype=np.uint64),
        np.array([-1, 0, 2**62]),
        np.array([5, 6, 7]),
        content,
    )
    read = Versions.from_blob(written.to_blob())
    assert read.key.tolist() == written.key.tolist()
    assert read.first_seen.tolist() == written.first_seen.tolist()
    assert read.valid_from.tolist() == written.valid_from.tolist()
    assert read.content.equals(content)
