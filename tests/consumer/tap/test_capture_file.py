"""Files of captured messages: what was written is read again, and nothing else is believed."""

from __future__ import annotations

import itertools
import json
import stat
import struct
import subprocess
import sys
from random import Random

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from support.clock import Clock
from support.small_disk import small_disk

from consumer.errors import CaptureCut, CaptureError
from consumer.tap import capture_format
from consumer.tap.capture_format import (
    MOST_PAYLOAD_BYTES,
    CapturedServer,
    Header,
    Kind,
    Record,
    chunk_bytes,
    header_bytes,
    record_bytes,
)
from consumer.tap.capture_reader import CaptureReader
from consumer.tap.capture_writer import CaptureWriter
from sparkplug import Message

HEADER = Header(
    "0123456789abcdef0123456789abcdef",
    "sparkplug-zerobus 1.2.3",
    1_700_000_000_000_000,
    (CapturedServer("plant-a", "Werk Süd"), CapturedServer("plant-b")),
)
MESSAGES = [
    Message(f"spBv1.0/G/NDATA/E{n % 3}", bytes([n]) * n, 1_700_000_000_000_000 + n, n % 7 == 0)
    for n in range(200)
]

messages = st.builds(
    Message,
    topic=st.text(min_size=1, max_size=40).filter(lambda text: text.isprintable()),
    payload=st.binary(max_size=200),
    received_us=st.integers(0, 2**53),
    retained=st.booleans(),
)
happenings = st.tuples(st.integers(0, 1), st.none() | messages, st.booleans())


def write(path, given=MESSAGES, **options):
    with CaptureWriter(path, HEADER, **options) as writer:
        for message in given:
            writer.add(0, message)
            writer.flush()
    return list(writer.paths)


def read(path):
    with CaptureReader(path) as reader:
        return [record.message for record in reader.records()]


def read_until_error(path):
    """What can be read, and the error that ends it."""
    found = []
    with CaptureReader(path) as reader, pytest.raises(CaptureError) as caught:
        found.extend(record.message for record in reader.records())
    return found, caught.value


# ------------------------------------------------------------------ what was written is read


@given(happened=st.lists(happenings, max_size=30), max_bytes=st.sampled_from([0, 400, 1500]))
def test_all_that_happened_is_read_again_in_its_order(tmp_path_factory, happened, max_bytes):
    path = tmp_path_factory.mktemp("capture") / "wire.spz"
    expected = []
    with CaptureWriter(path, HEADER, max_bytes=max_bytes) as writer:
        for at_us, (server, message, flushed) in enumerate(happened):
            if message is None:
                writer.lose(server, at_us)
                expected.append(Record(server, Message("", b"", at_us), Kind.LOST))
            else:
                writer.add(server, message)
                expected.append(Record(server, message))
            if flushed:
                writer.flush()
    with CaptureReader(path) as reader:
        assert list(reader.records()) == expected
        assert reader.header == HEADER
        assert reader.read_bytes == reader.total_bytes == writer.written_bytes


def test_the_format_does_not_change():
    """Golden bytes: captures of this version are read by all later ones."""
    assert (
        header_bytes(HEADER).hex()
        == (
            "5a2a4d18fa000000"  # a skippable frame, bytes of its content
            "53505a434150"  # SPZCAP
            "0100"  # version
        )
        + (
            b'{"capture_id": "0123456789abcdef0123456789abcdef", '
            b'"product": "sparkplug-zerobus 1.2.3", "created_us": 1700000000000000, '
            b'"servers": [{"name": "plant-a", "site": "Werk S\\u00fcd"}, '
            b'{"name": "plant-b", "site": ""}], "redacted": false, "part": 0}'
        ).hex()
    )
    message = Message("a/b", b"\x01\x02", 0x0102030405060708, retained=True)
    assert record_bytes(Record(1, message)).hex() == (
        "00"  # a message
        "01"  # retained
        "0100"  # of the second server
        "0807060504030201"  # microseconds
        "0300"  # bytes of the topic
        "02000000"  # bytes of the payload
    ) + (b"a/b\x01\x02".hex())
    chunk = chunk_bytes(b"raw", 1, 5, 6)
    packed = chunk[37:]
    assert chunk[:37] == bytes.fromhex("5a2a4d18 1d000000") + struct.pack(
        "<cIIIqq", b"C", len(packed), 3, 1, 5, 6
    )
    assert zstandard.ZstdDecompressor().decompress(packed) == b"raw"
    end = capture_format.end_bytes(capture_format.End(continued=True, records=7, left_out=9))
    assert end == bytes.fromhex("5a2a4d18 12000000") + struct.pack("<cBQQ", b"E", 1, 7, 9)


def test_the_program_zstd_could_read_it(tmp_path):
    write(tmp_path / "wire.spz")
    decompressor = zstandard.ZstdDecompressor()
    with (tmp_path / "wire.spz").open("rb") as file:
        raw = decompressor.stream_reader(file, read_across_frames=True).read()
    assert raw == b"".join(record_bytes(Record(0, each)) for each in MESSAGES)


def test_others_cannot_read_the_file(tmp_path):
    [path] = write(tmp_path / "wire.spz")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_waits_for_others_is_written_after_a_second(tmp_path):
    clock = Clock()
    path = tmp_path / "wire.spz"
    writer = CaptureWriter(path, HEADER, clock=clock)
    writer.add(0, MESSAGES[0])
    writer.flush_if_due()
    assert read_until_error(path)[0] == []
    clock.now += 1.0
    writer.flush_if_due()
    found, error = read_until_error(path)
    assert found == MESSAGES[:1]
    assert isinstance(error, CaptureCut)
    writer.close()
    assert read(path) == MESSAGES[:1]


def test_payloads_beyond_the_bound_are_left_out_and_counted(tmp_path):
    path = tmp_path / "wire.spz"
    with CaptureWriter(path, HEADER) as writer:
        writer.add(0, Message("t", bytes(MOST_PAYLOAD_BYTES + 1), 1))
        writer.add(0, Message("t", bytes(MOST_PAYLOAD_BYTES), 2))
        writer.leave_out(5)
    with CaptureReader(path) as reader:
        assert [len(record.message.payload) for record in reader.records()] == [MOST_PAYLOAD_BYTES]
        assert reader.left_out == 6


# ------------------------------------------------------------------ several files


def test_a_full_file_is_followed_by_another(tmp_path):
    paths = write(tmp_path / "wire.spz", max_bytes=3000)
    assert len(paths) > 3
    assert [each.name for each in paths] == [
        "wire.spz",
        *(f"wire.spz.{n}" for n in range(1, len(paths))),
    ]
    assert max(each.stat().st_size for each in paths) <= 3000
    assert read(paths[0]) == MESSAGES


def test_files_can_be_read_from_a_later_one_on_and_under_other_names(tmp_path):
    paths = write(tmp_path / "wire.spz", max_bytes=3000)
    later = read(paths[2])
    assert later == MESSAGES[-len(later) :]
    for path in paths[2:]:
        path.rename(path.with_name(path.name.replace("wire", "other")))
    assert read(tmp_path / "other.spz.2") == later


def test_of_too_many_files_the_oldest_are_removed(tmp_path):
    paths = write(tmp_path / "wire.spz", max_bytes=3000, max_files=2)
    assert sorted(tmp_path.iterdir()) == sorted(paths)
    assert len(paths) == 2
    later = read(paths[0])
    assert later == MESSAGES[-len(later) :]


def test_a_file_that_is_missing_is_named(tmp_path):
    paths = write(tmp_path / "wire.spz", max_bytes=3000)
    paths[1].unlink()
    found, error = read_until_error(paths[0])
    assert found == MESSAGES[: len(found)]
    assert "continued by wire.spz.1, which is not there" in str(error)


def test_a_file_of_another_capture_does_not_continue_this_one(tmp_path):
    [first, second, *_] = write(tmp_path / "wire.spz", max_bytes=3000)
    strange = header_bytes(HEADER._replace(capture_id="f" * 32, part=1))
    second.write_bytes(strange)
    assert "is of another one" in str(read_until_error(first)[1])


@pytest.mark.parametrize("name", ["wire.spz", "wire.spz.1", "wire.spz.20"])
def test_nothing_is_overwritten(tmp_path, name):
    (tmp_path / name).write_text("precious")
    with pytest.raises(CaptureError, match=r"exists: give another name"):
        CaptureWriter(tmp_path / "wire.spz", HEADER)
    assert [each.name for each in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "precious"


# ------------------------------------------------------------------ what went wrong


def test_a_file_cut_anywhere_gives_what_was_whole_and_says_so(tmp_path):
    path = tmp_path / "wire.spz"
    write(path, MESSAGES[:5])
    whole = path.read_bytes()
    header = len(header_bytes(HEADER))
    given = -1
    for size in range(header, len(whole)):
        path.write_bytes(whole[:size])
        found, error = read_until_error(path)
        assert isinstance(error, CaptureCut), size
        assert found == MESSAGES[: len(found)]
        assert len(found) >= given
        given = len(found)
    assert given == 5


@given(place=st.integers(0, 10_000), bits=st.integers(1, 255))
def test_a_damaged_byte_is_never_taken_for_another_message(tmp_path_factory, place, bits):
    path = tmp_path_factory.mktemp("capture") / "wire.spz"
    write(path, MESSAGES[:20])
    data = bytearray(path.read_bytes())
    header = len(header_bytes(HEADER))
    data[header + place % (len(data) - header)] ^= bits
    path.write_bytes(data)
    found = []
    try:
        with CaptureReader(path) as reader:
            found.extend(record.message for record in reader.records())
    except CaptureError:
        pass
    assert found == MESSAGES[: len(found)]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no capture"),
        (b"spBv1.0", "no capture"),
        (zstandard.compress(b"something else" * 100), "no capture"),
        (capture_format._skippable(b"else" * 10), "no capture"),
        (capture_format._skippable(b"SPZCAP\x02\x00{}"), "version 2"),
        (capture_format._skippable(b"SPZCAP\x01\x00{"), "header is damaged"),
        (capture_format._skippable(b"SPZCAP\x01\x00" + b"[" * 100_000), "header is damaged"),
        (b"\x5a\x2a\x4d\x18\xff\xff\xff\xff", "no capture"),
        (header_bytes(HEADER)[:50], "cut off"),
    ],
    ids=itertools.count(),
)
def test_what_is_no_capture_is_said_in_one_line(tmp_path, content, says):
    path = tmp_path / "wire.spz"
    path.write_bytes(content)
    with pytest.raises(CaptureError, match=says) as caught:
        CaptureReader(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"servers": []},
        {"servers": [{"name": "a b", "site": ""}]},
        {"servers": [{"name": "a", "site": ""}] * 2},
        {"servers": [{"name": "a", "site": 1}]},
        {"servers": [{"name": "a", "site": "\ud800"}]},
        {"servers": [1]},
        {"servers": {}},
        {"part": -1},
        {"part": 10**9},
        {"product": "x" * 1000},
        {"part": True},
        {"capture_id": "../../x"},
        {"redacted": 1},
        {"created_us": "now"},
    ],
    ids=str,
)
def test_a_header_of_other_things_is_damaged(tmp_path, fields):
    sound = json.loads(header_bytes(HEADER)[16:])
    path = tmp_path / "wire.spz"
    raw = b"SPZCAP\x01\x00" + json.dumps(sound | fields).encode()
    path.write_bytes(capture_format._skippable(raw))
    with pytest.raises(CaptureError, match="header is damaged"):
        CaptureReader(path)


def hostile(path, packed, raw_size, records=1):
    head = struct.pack("<cIIIqq", b"C", len(packed), raw_size, records, 1, 1)
    path.write_bytes(header_bytes(HEADER) + capture_format._skippable(head) + packed)


def zeros(size, *, declared):
    """A frame of so many zeros that says so, or does not say how many it has."""
    made = zstandard.ZstdCompressor(1).compressobj(**({"size": size} if declared else {}))
    return b"".join(made.compress(bytes(1 << 24)) for _ in range(size >> 24)) + made.flush()


def test_a_bomb_takes_no_more_memory_than_a_frame_may(tmp_path):
    """1 GiB of zeros in 40 KB: said to be small, said to be what it is, and of unknown size."""
    bomb, sized = (zeros(1 << 30, declared=each) for each in (False, True))
    program = (
        "import resource, sys\nfrom pathlib import Path\n"
        "from consumer.errors import CaptureError\n"
        "from consumer.tap.capture_reader import CaptureReader\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try:\n    with CaptureReader(Path(sys.argv[1])) as reader:\n"
        "        for _ in reader.records(): pass\n"
        "except CaptureError as error:\n"
        "    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)\n"
    )
    for packed, raw_size in [(bomb, 1 << 20), (bomb, 1 << 30), (sized, 1 << 20)]:
        hostile(tmp_path / "wire.spz", packed, raw_size)
        told = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / "wire.spz")],
            check=True,
            capture_output=True,
            text=True,
        )
        assert int(told.stdout) < 64


@pytest.mark.parametrize(
    "raw",
    [
        struct.pack("<BBHqHI", 0, 0, 0, 1, 0xFFFF, 0xFFFFFFFF),
        struct.pack("<BBHqHI", 0, 0, 2, 1, 0, 0),
        struct.pack("<BBHqHI", 2, 0, 0, 1, 0, 0),
        struct.pack("<BBHqHI", 0, 2, 0, 1, 0, 0),
        struct.pack("<BBHqHI", 0, 0, 0, -1, 0, 0),
        struct.pack("<BBHqHI", 0, 0, 0, 2**62, 0, 0),
        struct.pack("<BBHqHI", 0, 0, 0, 1, 1, 0) + b"\xff",
        struct.pack("<BBHqHI", 0, 0, 0, 1, 0, 0) + b"more",
    ],
    ids=itertools.count(),
)
def test_records_that_cannot_be_are_damage(tmp_path, raw):
    path = tmp_path / "wire.spz"
    hostile(path, zstandard.compress(raw), len(raw))
    assert "is damaged near byte" in str(read_until_error(path)[1])


def test_a_frame_does_not_have_more_records_than_bytes(tmp_path):
    path = tmp_path / "wire.spz"
    hostile(path, zstandard.compress(b"x"), 1, records=2**32 - 1)
    assert "is damaged near byte" in str(read_until_error(path)[1])


def test_a_full_disk_leaves_a_file_that_can_be_read(tmp_path):
    random = Random(1)
    given = [Message("t", random.randbytes(10_000), n) for n in range(200)]
    with small_disk(tmp_path, 1) as disk:
        path = disk.path / "wire.spz"
        with pytest.raises(CaptureError, match=r"No space left on device; \d+ records are in it"):
            write(path, given)
        found = read(path)
        assert 50 < len(found) < 200
        assert found == given[: len(found)]


def test_a_file_that_cannot_be_followed_ends_in_order(tmp_path):
    path = tmp_path / "wire.spz"
    writer = CaptureWriter(path, HEADER, max_bytes=3000)
    (tmp_path / "wire.spz.1").write_bytes(b"of somebody else")

    def go_on():
        with writer:
            for message in MESSAGES:
                writer.add(0, message)
                writer.flush()

    with pytest.raises(CaptureError, match=r"wire\.spz\.1 exists"):
        go_on()
    found = read(path)
    assert len(found) > 20
    assert found == MESSAGES[: len(found)]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["wire.spz", "wire.spz.1"]


def test_a_directory_that_is_not_there_is_named(tmp_path):
    with pytest.raises(CaptureError, match="there is no directory"):
        CaptureWriter(tmp_path / "none" / "wire.spz", HEADER)
