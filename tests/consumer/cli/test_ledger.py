"""`sparkplug-zerobus ledger`, on the spool of a consumer that runs, or does not."""

from __future__ import annotations

import json

import pytest
from support.spool_command import run_command
from support.tag_events import DESCRIPTOR, TABLE, event

from consumer.rows.encoded import EncodedRows
from consumer.spool import NewBatch, Spool
from consumer.spool.ledger import Ledger
from sparkplug.decoded import Decoded
from sparkplug.messages import Reason

MESSAGES = (
    "messages of plant-a: received 7 = decoded 4 + held 2 + quarantined 0 + discarded 1 (command 1)"
)
ROWS = (
    f"rows of {TABLE}: produced 5 = acknowledged 0 + spooled 3 + dead-lettered 0 + dropped 0 "
    "+ suppressed 2"
)


@pytest.fixture
def spool(tmp_path):
    spool = Spool.open(tmp_path / "spool.db")
    yield spool
    spool.close()


@pytest.fixture
def ledger(spool):
    """Seven messages, of which one is a command and two wait, and three rows in the spool."""
    ledger = Ledger()
    ledger.received("plant-a", 7)
    decoded = Decoded(read=4)
    decoded.discarded[Reason.COMMAND] = 1
    ledger.messages("plant-a", decoded, held=2)
    ledger.rows(TABLE, 5, suppressed=2)
    rows = EncodedRows.from_messages([event(number) for number in range(3)])
    batch = NewBatch(TABLE, spool.schemas.register(DESCRIPTOR), rows)
    spool.commit([batch], [ledger])
    return ledger


def run(tmp_path, *arguments):
    return run_command(tmp_path, "ledger", *arguments)


@pytest.mark.usefixtures("ledger")
def test_it_prints_a_line_for_every_server_and_every_table_while_a_consumer_runs(tmp_path):
    printed = run(tmp_path)
    assert printed.returncode == 0, printed.stderr
    assert printed.stdout.splitlines() == [
        MESSAGES,
        ROWS,
    ]


@pytest.mark.usefixtures("ledger")
def test_it_prints_the_same_as_json_after_the_consumer_has_ended(spool, tmp_path):
    spool.close()
    printed = run(tmp_path, "--json")
    assert printed.returncode == 0, printed.stderr
    assert json.loads(printed.stdout) == {
        "messages": {
            "plant-a": {
                "received": 7,
                "decoded": 4,
                "held": 2,
                "quarantined": 0,
                "discarded": 1,
                "discarded_by_reason": {"command": 1},
                "difference": 0,
            }
        },
        "rows": {
            TABLE: {
                "produced": 5,
                "acknowledged": 0,
                "spooled": 3,
                "dead_lettered": 0,
                "dropped": 0,
                "dropped_by_reason": {},
                "suppressed": 2,
                "difference": 0,
            }
        },
        "balanced": True,
        "difference": 0,
    }


@pytest.mark.usefixtures("ledger")
def test_what_does_not_add_up_is_said_and_ends_with_1(spool, tmp_path):
    spool.write(lambda db: db.execute("DELETE FROM batches"))
    printed = run(tmp_path)
    assert printed.returncode == 1
    assert "suppressed 2: DOES NOT ADD UP, 3 are not explained" in printed.stdout


@pytest.mark.usefixtures("spool")
def test_an_empty_spool_adds_up(tmp_path):
    printed = run(tmp_path)
    assert (printed.returncode, printed.stdout) == (0, "")
    assert "nothing was received yet" in printed.stderr


def test_without_a_spool_it_says_what_to_look_at(tmp_path):
    printed = run(tmp_path)
    assert printed.returncode == 1
    assert "is spool.path right?" in printed.stderr
