"""Files that come in several metrics: one row when the last part has come."""

import hashlib
import json

import pytest
from oracle.messages import ARRIVED, SENT_MS
from support.columnar import Columnar, change, message, metric, name, tag, values

from sparkplug.datatypes import DataType
from sparkplug.pb.sparkplug_b_pb2 import Metric, Template

CONTENT = bytes(range(256)) * 4
PARTS = [CONTENT[start : start + 300] for start in range(0, len(CONTENT), 300)]
MINUTE = 60.0
DAY_US = 86_400_000_000


def fed(*batches, **options):
    seen = Columnar(**options)
    for batch in batches:
        seen.feed(*(batch if isinstance(batch, list) else [batch]))
    return seen


def about(number, **more):
    """Metadata of one part."""
    return {"is_multi_part": True, "seq": number, "size": len(CONTENT), "file_name": "f.csv"} | more


def piece(number, *, alias=1, **more):
    """One part in data."""
    return metric(alias=alias, bytes_value=PARTS[number], metadata=about(number, **more))


def declared(*names):
    """A birth of File metrics with aliases from 1, and a Double with alias 0."""
    files = (
        metric(each, DataType.File, alias=alias, is_null=True)
        for alias, each in enumerate(names, 1)
    )
    return message("NBIRTH", tag("Ramp", 0), *files)


def sent(*metrics_of_messages, **more):
    """NDATA in order of seq."""
    return [
        message("NDATA", *each, seq=seq, **more) for seq, each in enumerate(metrics_of_messages, 1)
    ]


def files(rows):
    return [
        (name(row), json.loads(row["string_value"]))
        for row in rows
        if row["data_type"] in ("File", "Bytes") and row["string_value"]
    ]


@pytest.mark.parametrize("together", [True, False])
def test_the_last_part_gives_one_row_for_the_whole_file(together):
    seen = fed(declared("Report"))
    data = sent(*([piece(number), change(0, float(number))] for number in range(len(PARTS))))
    rows = seen.feed(*data) if together else [row for each in data for row in seen.feed(each)]
    assert values(rows) == [
        ("Ramp", 0.0),
        ("Ramp", 1.0),
        ("Ramp", 2.0),
        ("Report", None),
        ("Ramp", 3.0),
    ]
    assert files(rows) == [
        (
            "Report",
            {
                "size": len(CONTENT),
                "md5": hashlib.md5(CONTENT).hexdigest(),
                "file_name": "f.csv",
                "declared_size": len(CONTENT),
                "parts": len(PARTS),
            },
        )
    ]
    assert seen.counts == {"file_part": len(PARTS) - 1}
    assert rows[3]["quality"] == "GOOD"


def test_parts_may_come_in_one_message_and_out_of_order():
    seen = fed(declared("Report"))
    rows = seen.feed(*sent([piece(3), piece(0), piece(2), piece(1)]))
    assert [text["parts"] for _, text in files(rows)] == [4]


def test_the_sum_of_the_content_is_compared_with_the_declared_one():
    for content, matches in ((CONTENT, True), (b"other", False)):
        declared_sum = hashlib.md5(content).hexdigest()
        seen = fed(declared("Report"))
        rows = seen.feed(*sent([piece(number, md5=declared_sum) for number in range(len(PARTS))]))
        ((_, text),) = files(rows)
        assert (text["declared_md5"], text["md5_matches"]) == (declared_sum, matches)


def test_files_of_several_metrics_nodes_and_devices_are_put_together_side_by_side():
    births = [
        declared("A", "B"),
        message("DBIRTH", metric("A", DataType.Bytes, alias=3, is_null=True), seq=1),
        message("NBIRTH", metric("A", DataType.File, alias=1, is_null=True), node="Other"),
    ]
    seen = fed(births)
    data = []
    for number in range(len(PARTS)):
        both = [piece(number), piece(number, alias=2)]
        data += [
            message("NDATA", *both, seq=2 + 2 * number),
            message("DDATA", piece(number, alias=3), seq=3 + 2 * number),
            message("NDATA", piece(number), seq=1 + number, node="Other"),
        ]
    rows = seen.feed(*data)
    assert [(row["edge_node_id"], name(row)) for row in rows] == [
        ("Edge", "A"),
        ("Edge", "B"),
        ("Edge", "Boiler/A"),
        ("Other", "A"),
    ]
    assert len(files(rows)) == 4


def test_a_file_in_one_piece_is_a_row_as_it_comes():
    seen = fed(declared("Report"))
    single = metric(alias=1, bytes_value=b"abc", metadata={"file_name": "a.txt"})
    plain = metric(alias=1, bytes_value=b"de")
    rows = seen.feed(*sent([single], [plain]))
    assert [text["size"] for _, text in files(rows)] == [3, 2]
    assert not seen.counts


def test_a_null_is_no_part_and_does_not_disturb_the_file():
    seen = fed(declared("Report"))
    null = metric(alias=1, is_null=True, metadata=about(9))
    rows = seen.feed(*sent([piece(0), null, piece(1), piece(2), piece(3)]))
    assert [row["string_value"] is None for row in rows] == [True, False]


def test_the_row_has_time_and_quality_of_the_part_that_completes_the_file():
    seen = fed(declared("Report"))
    last = piece(3) | {
        "timestamp": SENT_MS + 7,
        "quality": 500,
        "is_historical": True,
    }
    (row,) = seen.feed(*sent([piece(0), piece(1)], [piece(2), last]))
    assert row["event_time"] == (SENT_MS + 7) * 1000
    assert (row["quality"], row["is_historical"], row["seq"]) == ("STALE", True, 2)


def test_parts_in_a_birth_count_as_well():
    birth = message(
        "NBIRTH",
        metric("Report", DataType.File, alias=1, bytes_value=PARTS[0], metadata=about(0)),
    )
    seen = fed(birth)
    rows = seen.feed(*sent([piece(1), piece(2), piece(3)]))
    assert seen.rows == rows
    assert len(files(rows)) == 1


def test_a_rebirth_in_the_middle_does_not_lose_the_file():
    birth = message(
        "NBIRTH",
        metric("Report", DataType.File, alias=1, bytes_value=PARTS[1], metadata=about(1)),
    )
    seen = fed(declared("Report"), sent([piece(0), piece(1)]), birth)
    rows = seen.feed(*sent([piece(2), piece(3)]))
    assert len(files(rows)) == 1
    assert seen.counts == {"file_part": 4, "duplicate_part": 1}


def test_what_comes_to_nothing_is_counted():
    seen = fed(declared("Report"))
    seen.feed(*sent([piece(0), piece(0)], [piece(0, file_name="other.csv")]))
    assert seen.counts == {"file_part": 3, "duplicate_part": 1, "file_superseded": 1}
    seen.feed(message("NDATA", change(0, 1.0), seq=3), now=11 * MINUTE)
    assert seen.counts["file_expired"] == 1


def test_a_clock_that_jumps_ends_no_file():
    for jump_us in (400 * DAY_US, -400 * DAY_US):
        seen = fed(declared("Report"), sent([piece(0), piece(1)]))
        elsewhere = message("NDATA", change(0, 1.0), seq=2, received_us=ARRIVED + jump_us)
        seen.feed(elsewhere, now=1.0)
        rows = seen.feed(
            message("NDATA", piece(2), seq=3), message("NDATA", piece(3), seq=4), now=2.0
        )
        assert len(files(rows)) == 1
        assert seen.counts == {"file_part": 3}


def test_a_file_that_is_too_large_is_counted_and_leaves_its_neighbours():
    seen = fed(declared("Report"))
    big = metric(alias=1, bytes_value=bytes(9 * 1024 * 1024))
    data = [
        message("NDATA", big | {"metadata": about(number)}, change(0, 1.0), seq=1 + number)
        for number in range(8)
    ]
    rows = [row for each in data for row in seen.feed(each)]
    assert values(rows) == [("Ramp", 1.0)] * 8
    assert seen.counts == {"file_part": 8, "file_too_large": 1}


def test_parts_of_tags_that_give_no_rows_are_not_kept():
    seen = fed(declared("Report"), wanted=lambda place: "Report" not in place)
    assert seen.feed(*sent([piece(number) for number in range(len(PARTS))])) == []
    assert not seen.counts


def test_transient_parts_are_transient():
    seen = fed(declared("Report"))
    assert seen.feed(*sent([piece(0) | {"is_transient": True}])) == []
    assert seen.counts == {"transient": 1}


def test_a_file_may_be_the_member_of_a_template():
    birth = message(
        "NBIRTH",
        metric(
            "M",
            DataType.Template,
            alias=1,
            template_value=Template(
                metrics=[
                    Metric(name="report", datatype=DataType.File, is_null=True),
                    Metric(name="speed", datatype=DataType.Double, is_null=True),
                ]
            ),
        ),
    )
    seen = fed(birth)
    for number, content in enumerate(PARTS):
        report = Metric(name="report", bytes_value=content, metadata=about(number))
        speed = Metric(name="speed", double_value=float(number))
        template = Template(metrics=[report, speed])
        seen.feed(message("NDATA", metric(alias=1, template_value=template), seq=1 + number))
    assert [(key, text["parts"]) for key, text in files(seen.rows)] == [("M/report", 4)]
    assert [row["numeric_value"] for row in seen.rows[2:]] == [0.0, 1.0, 2.0, None, 3.0]
    assert seen.counts == {"file_part": 3}
