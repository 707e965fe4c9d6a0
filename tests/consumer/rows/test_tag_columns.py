"""What is constant for a tag stays right while tags come by the thousand, or one by one."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from consumer.pb.tag_event_pb2 import TagEvent
from consumer.rows import tag_columns
from consumer.rows.event_id import identities, identity
from consumer.rows.table import Table
from consumer.rows.tag_columns import TagColumns
from consumer.rows.templates import SourceNames
from sparkplug.host.catalogue import TagCatalogue


def owner(node):
    return SimpleNamespace(group_id="Plant", edge_node_id=node, device_id=None)


def declare(catalogue, node, names):
    catalogue.append(owner(node), names, np.full(len(names), 10, dtype=np.uint8))


def assert_right(tags, catalogue):
    """Prefixes, identities and columns of all tags, asked for in reverse."""
    ids = np.arange(len(catalogue), dtype=np.int32)[::-1].copy()
    names = [catalogue.names[tag] for tag in ids]
    nodes = [catalogue.owners[tag].edge_node_id for tag in ids]
    prefixes = tags.prefixes(ids)
    assert prefixes.type == pa.binary()
    events = [TagEvent.FromString(raw) for raw in prefixes.to_pylist()]
    assert [event.metric_name for event in events] == names
    assert [event.edge_node_id for event in events] == nodes
    digests = [
        identity("", "Plant", node, None, name) for node, name in zip(nodes, names, strict=True)
    ]
    assert (tags.identities(ids) == identities(digests)).all()
    columns = tags.columns(ids)
    assert columns["metric_name"].to_pylist() == names
    assert columns["edge_node_id"].to_pylist() == nodes


@pytest.mark.parametrize("sizes", [[1] * 40, [25_000], [3, 1_020, 1, 1, 9_999, 10_001]])
def test_tags_may_come_in_any_number_at_a_time(sizes):
    catalogue = TagCatalogue()
    tags = TagColumns(catalogue, SourceNames())
    for number, size in enumerate(sizes):
        declare(catalogue, f"Edge {number}", [f"Tag {each}" for each in range(size)])
        tags.extend()
        last = np.array([len(catalogue) - 1], dtype=np.int32)
        (raw,) = tags.prefixes(last).to_pylist()
        assert TagEvent.FromString(raw).metric_name == f"Tag {size - 1}"
    assert_right(tags, catalogue)


def test_prefixes_beyond_two_gigabytes_have_longer_offsets(monkeypatch):
    monkeypatch.setattr(tag_columns, "_MOST_SMALL_BYTES", 10_000)
    catalogue = TagCatalogue()
    tags = TagColumns(catalogue, SourceNames())
    for number in range(8):
        declare(catalogue, f"Edge {number}", [f"Tag {each}" for each in range(30)])
        tags.extend()
        assert_right(tags, catalogue)


def test_rows_that_were_gathered_stay_as_they_are_when_tags_are_added():
    catalogue = TagCatalogue()
    tags = TagColumns(catalogue, SourceNames())
    declare(catalogue, "Edge", ["a", "b"])
    tags.extend()
    before = tags.prefixes(np.array([1, 0], dtype=np.int32))
    copies = before.to_pylist()
    declare(catalogue, "Edge", [f"Tag {number}" for number in range(50_000)])
    tags.extend()
    assert before.to_pylist() == copies


def test_tags_after_some_that_could_not_be_described_keep_their_names(monkeypatch):
    catalogue = TagCatalogue()
    tags = TagColumns(catalogue, SourceNames())
    declare(catalogue, "Edge", [f"Tag {number}" for number in range(25_000)])
    encode = Table.encode

    def fails_in_the_middle(table, batch):
        if batch.column("metric_name")[0].as_py() == "Tag 10000":
            raise MemoryError
        return encode(table, batch)

    with monkeypatch.context() as patched:
        patched.setattr(Table, "encode", fails_in_the_middle)
        with pytest.raises(MemoryError):
            tags.extend()
    tags.extend()
    assert_right(tags, catalogue)
