"""`sparkplug-zerobus deadletter`, on the spool of a consumer that runs, or does not."""

from __future__ import annotations

import json

import pytest
from support.participants import Writes
from support.spool_command import run_command
from support.tag_events import DESCRIPTOR, TABLE, event

from consumer.rows.encoded import EncodedRows
from consumer.spool import Spool
from consumer.spool.fleet import FleetStore
from sparkplug.messages import Message, Quarantined, Reason

GIB = 1 << 30


@pytest.fixture
def spool(tmp_path):
    spool = Spool.open(tmp_path / "spool.db")
    yield spool
    spool.close()


@pytest.fixture
def letters(spool):
    """Two refused rows, one message that waited in vain and one that nobody can read."""
    schema_id = spool.schemas.register(DESCRIPTOR)
    rows = EncodedRows.from_messages([event(number) for number in range(3)])
    batch = spool.append(TABLE, rows, schema_id=schema_id)
    for row in (0, 2):
        spool.letters.set_aside(batch, row, row + 1, reason="poison", error="unrecognized field")
    spool.trim([batch.batch_id])
    topic = "spBv1.0/Plant/NDATA/Edge"
    dead = [
        Quarantined(Message(topic, b"\x18\x05", 7), Reason.DATA_BEFORE_BIRTH),
        Quarantined(Message(topic, b"\xff", 8), Reason.BAD_PAYLOAD),
    ]
    spool.commit([], [Writes(lambda db: FleetStore("plant-a", GIB).write_dead(db, dead, GIB))])
    return spool


def run(tmp_path, *arguments, code=0):
    done = run_command(tmp_path, "deadletter", *arguments)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def listed(tmp_path, *arguments):
    lines = run(tmp_path, "list", "--json", *arguments).splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.usefixtures("letters")
def test_all_letters_are_listed_with_what_is_wrong(tmp_path):
    found = {each["name"]: (each["reason"], each["where"]) for each in listed(tmp_path)}
    assert found == {
        "row-1": ("poison", TABLE),
        "row-2": ("poison", TABLE),
        "message-1": ("data_before_birth", "spBv1.0/Plant/NDATA/Edge"),
        "message-2": ("bad_payload", "spBv1.0/Plant/NDATA/Edge"),
    }
    text = run(tmp_path, "list", "--reason", "poison")
    assert len(text.splitlines()) == 2
    assert "unrecognized field" in text


@pytest.mark.usefixtures("letters")
def test_the_list_says_what_each_kind_takes_of_its_share(tmp_path):
    done = run_command(tmp_path, "deadletter", "list")
    [line] = [line for line in done.stderr.splitlines() if "max_dead_letter_bytes" in line]
    kinds = [each.split() for each in line.partition(": ")[2].split(", ")]
    assert [(kind, most) for kind, _, _, most, _ in kinds] == [
        ("refused", str(128 << 20)),
        ("oversized", str(64 << 20)),
        ("unreadable", str(64 << 20)),
    ]
    assert [int(size) > 0 for _, size, *_ in kinds] == [True, False, True]


@pytest.mark.usefixtures("letters")
def test_a_row_is_shown_as_it_would_land(tmp_path):
    shown = json.loads(run(tmp_path, "show", "row-2"))
    assert (shown["reason"], shown["batch_id"], shown["first_row"]) == ("poison", 1, 2)
    [content] = shown["content"]
    assert content["event_id"] == f"{2:032x}"
    assert content["metric_name"] == "Ramp2"


@pytest.mark.usefixtures("letters")
def test_a_message_is_shown_with_its_payload_if_it_is_one(tmp_path):
    shown = json.loads(run(tmp_path, "show", "message-1"))
    assert (shown["payload"], shown["content"]) == ("1805", {"seq": "5"})
    assert json.loads(run(tmp_path, "show", "message-2"))["content"] is None


@pytest.mark.usefixtures("letters")
def test_what_is_to_be_retried_is_marked_and_done_by_the_consumer_with_the_same_event_ids(
    spool, tmp_path
):
    run(tmp_path, "retry", "row-2", "message-1")
    assert {each["name"] for each in listed(tmp_path) if each["retry"]} == {"row-2", "message-1"}
    assert spool.letters.send_again() == {TABLE: 1}
    [batch] = spool.batches_after(0, 1 << 20, table=TABLE)
    assert batch.rows.slice(0, 1) == [event(2)]
    assert spool.pending_rows(TABLE) == 1
    assert {each["name"] for each in listed(tmp_path)} == {"row-1", "message-1", "message-2"}
    assert spool.letters.send_again() == {}


@pytest.mark.usefixtures("letters")
def test_what_cannot_be_read_is_not_retried(tmp_path):
    error = run(tmp_path, "retry", "message-2", code=1)
    assert "cannot be read" in error
    assert "cannot be read" in run(tmp_path, "retry", "row-1", "message-2", code=1)
    assert not [each for each in listed(tmp_path) if each["retry"]]


@pytest.mark.usefixtures("letters")
def test_all_that_may_help_is_retried(tmp_path):
    run(tmp_path, "retry", "--all")
    marked = [each["name"] for each in listed(tmp_path) if each["retry"]]
    assert marked == ["row-1", "row-2", "message-1"]


def test_what_publishers_wrote_does_not_steer_the_terminal(spool, tmp_path):
    dead = [Quarantined(Message("spBv1.0/A\x1b[2J/NDATA/B\nC", b"", 7), Reason.BAD_PAYLOAD)]
    spool.commit([], [Writes(lambda db: FleetStore("plant-a", GIB).write_dead(db, dead, GIB))])
    [line] = run(tmp_path, "list").splitlines()
    assert "spBv1.0/A\\x1b[2J/NDATA/B\\nC" in line


@pytest.mark.usefixtures("letters")
def test_letters_are_dropped_one_by_one_or_all_of_a_reason(tmp_path):
    run(tmp_path, "drop", "message-1")
    run(tmp_path, "drop", "--all", "--reason", "poison")
    assert [each["name"] for each in listed(tmp_path)] == ["message-2"]


@pytest.mark.usefixtures("letters")
@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("show", "row-9"), 1, "no dead letter row-9"),
        (("drop", "letter-1"), 1, "no name of a dead letter"),
        (("retry",), 2, "say --all"),
        (("drop", "row-1", "--all"), 2, "say --all"),
        (("drop", "row-1", "--reason", "poison"), 2, "goes with --all"),
    ],
)
def test_wrong_names_are_told(tmp_path, arguments, code, text):
    assert text in run(tmp_path, *arguments, code=code)


def test_a_missing_spool_is_told(tmp_path):
    assert "there is no spool" in run(tmp_path, "list", code=1)


def test_another_file_is_told(tmp_path):
    (tmp_path / "spool.db").write_text("no database, but long enough to be looked at\n" * 10)
    assert "not an SQLite file" in run(tmp_path, "list", code=1)
