"""Many nodes side by side, and which of their metrics give rows."""

import pytest
from support.columnar import Columnar, change, message, metric, tag, values

from sparkplug.datatypes import DataType


def fed(*batches, **options):
    seen = Columnar(**options)
    for batch in batches:
        seen.feed(*(batch if isinstance(batch, list) else [batch]))
    return seen


def test_ids_that_differ_in_case_are_different_nodes():
    seen = fed(
        message("NBIRTH", tag("Ramp", 0), group="Plant", node="edge"),
        message("NBIRTH", tag("Sine", 0), group="plant", node="Edge"),
        message("NBIRTH", tag("Saw", 0), group="plant", node="edge"),
    )
    rows = seen.feed(
        message("NDATA", change(0, 1.0), group="plant", node="edge", seq=1),
        message("NDATA", change(0, 2.0), group="Plant", node="edge", seq=1),
        message("NDATA", change(0, 3.0), group="plant", node="Edge", seq=1),
    )
    assert values(rows) == [("Saw", 1.0), ("Ramp", 2.0), ("Sine", 3.0)]


def test_equal_device_ids_of_two_nodes_are_two_devices():
    nodes = [("Plant", "Edge"), ("Plant", "Other"), ("Works", "Edge")]
    births = []
    for number, (group, node) in enumerate(nodes):
        births += [
            message("NBIRTH", group=group, node=node),
            message("DBIRTH", tag(f"T{number}", 0), group=group, node=node, seq=1),
        ]
    seen = fed(births)
    rows = seen.feed(
        *(
            message("DDATA", change(0, float(number)), group=group, node=node, seq=2)
            for number, (group, node) in reversed(list(enumerate(nodes)))
        )
    )
    assert [(r["group_id"], r["edge_node_id"], r["device_id"], r["metric_name"]) for r in rows] == [
        ("Works", "Edge", "Boiler", "T2"),
        ("Plant", "Other", "Boiler", "T1"),
        ("Plant", "Edge", "Boiler", "T0"),
    ]
    assert not seen.counts


def test_a_node_that_comes_late_is_read_like_the_first():
    seen = fed([message("NBIRTH", tag("Ramp", 0), node=f"E{n}") for n in range(200)])
    seen.feed(*(message("NDATA", change(0, 1.0), node=f"E{n}", seq=1) for n in range(200)))
    rows = seen.feed(
        message("NBIRTH", tag("Late", 0), node="Late"),
        message("NDATA", change(0, 2.0), node="E199", seq=2),
        message("NDATA", change(0, 3.0), node="Late", seq=1),
    )
    assert values(rows) == [("Late", 0.0), ("Ramp", 2.0), ("Late", 3.0)]
    assert not seen.counts


@pytest.mark.long
def test_ten_thousand_nodes_with_one_tag_each_in_one_batch():
    nodes = [f"Edge {number}" for number in range(10_000)]
    births = [message("NBIRTH", tag("Ramp", 0, 1.0), node=node) for node in nodes]
    data = [message("NDATA", change(0, float(n)), node=node, seq=1) for n, node in enumerate(nodes)]
    seen = Columnar()
    rows = seen.feed(*births, *data)
    assert [row["edge_node_id"] for row in rows] == nodes + nodes
    assert [row["numeric_value"] for row in rows[10_000:]] == [float(n) for n in range(10_000)]
    assert seen.fleet.gauges.node_count == seen.fleet.gauges.live_tags == 10_000
    assert not seen.counts


# Which tags are wanted


def test_a_tag_that_is_not_wanted_gives_no_row_and_is_no_remark():
    asked = []

    def wanted(place):
        asked.append(place)
        return "Noise" not in place

    seen = fed(
        [
            message("NBIRTH", tag("Ramp", 0), tag("Noise", 1)),
            message("DBIRTH", tag("Noise/Level", 2), tag("Level", 3), seq=1),
        ],
        wanted=wanted,
    )
    rows = seen.feed(message("NDATA", *(change(alias, 1.0) for alias in range(4)), seq=2))
    assert values(seen.rows[:2]) == [("Ramp", 0.0), ("Boiler/Level", 0.0)]
    assert values(rows) == [("Ramp", 1.0), ("Boiler/Level", 1.0)]
    assert not seen.counts
    assert asked == [
        "Plant/Edge/Ramp",
        "Plant/Edge/Noise",
        "Plant/Edge/Boiler/Noise/Level",
        "Plant/Edge/Boiler/Level",
    ]


def test_metrics_that_steer_the_session_give_no_rows():
    seen = fed(
        message(
            "NBIRTH",
            metric("bdSeq", DataType.Int64, alias=0, long_value=3),
            metric("Node Control/Rebirth", DataType.Boolean, alias=1, boolean_value=False),
            tag("Node Controls", 2),
        ),
        message("NDATA", metric(alias=1, boolean_value=True), change(2, 1.0), seq=1),
    )
    assert values(seen.rows) == [("Node Controls", 0.0), ("Node Controls", 1.0)]
    assert not seen.counts


def test_transient_metrics_are_counted_or_written_as_configured():
    batch = [
        message("NBIRTH", tag("Ramp", 0)),
        message("NDATA", {**change(0, 1.0), "is_transient": True}, change(0, 2.0), seq=1),
    ]
    assert values(fed(batch).rows) == [("Ramp", 0.0), ("Ramp", 2.0)]
    assert fed(batch).counts == {"transient": 1}
    assert values(fed(batch, emit_transient=True).rows)[1] == ("Ramp", 1.0)


def test_property_sets_are_counted_and_leave_their_neighbours():
    seen = fed(
        message(
            "NBIRTH",
            metric("List", DataType.PropertySetList, alias=0, is_null=True),
            metric("Set", DataType.PropertySet, alias=1, is_null=True),
            tag("Ramp", 3),
        )
    )
    assert values(seen.rows) == [("Ramp", 0.0)]
    assert seen.counts == {"datatype_not_supported": 2}


def texts(rows):
    return {row["metric_name"]: (row["data_type"], row["string_value"]) for row in rows}


def test_arrays_data_sets_bytes_and_files_are_rows_with_json_text():
    seen = fed(
        message(
            "NBIRTH",
            metric("Blob", DataType.Bytes, alias=0, bytes_value=b"x"),
            metric("Table", DataType.DataSet, alias=1, is_null=True),
            metric("Floats", DataType.FloatArray, alias=2, bytes_value=b"\xcd\xcc\xcc\x3d"),
            metric(
                "Report", DataType.File, alias=3, bytes_value=b"", metadata={"file_name": "a.txt"}
            ),
            tag("Ramp", 4),
        ),
        message("NDATA", {"alias": 2, "bytes_value": b""}, seq=1),
    )
    md5_x, md5_nothing = "9dd4e461268c8034f5c8564e155c67a6", "d41d8cd98f00b204e9800998ecf8427e"
    assert texts(seen.rows[:-1]) == {
        "Blob": ("Bytes", f'{{"size":1,"md5":"{md5_x}"}}'),
        "Table": ("DataSet", None),
        "Floats": ("FloatArray", "[0.1]"),
        "Report": ("File", f'{{"size":0,"md5":"{md5_nothing}","file_name":"a.txt"}}'),
        "Ramp": ("Double", None),
    }
    assert texts(seen.rows[-1:]) == {"Floats": ("FloatArray", "[]")}
    assert not seen.counts


def test_bytes_that_are_no_array_of_the_type_do_not_fit_it():
    seen = fed(message("NBIRTH", metric("Numbers", DataType.Int32Array, bytes_value=b"abc")))
    (row,) = seen.rows
    assert (row["string_value"], row["quality"]) == (None, "BAD")
    assert seen.counts == {"value_does_not_fit": 1}
