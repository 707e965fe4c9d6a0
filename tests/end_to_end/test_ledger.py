"""Every message and every row is accounted for, whatever fails: the balances of a real consumer."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import pyarrow as pa
from support import program
from support.peer import PeerType
from support.services import PATIENCE, wait_until

from consumer.rows.tables import TAG_EVENTS_SCHEMA
from consumer.spool.balance import balance_of_file
from end_to_end.consumer_process import TABLE
from end_to_end.gateway import MEASURED_MS, Gateway, metric
from end_to_end.side_world import EVENTS, METADATA, side_world
from end_to_end.under_load import assert_nothing_lost, fleet_for, wait_for_load
from end_to_end.world import world

STRICT = "main.plant.strict"


def run(system, *arguments):
    """Another command on the configuration of the consumer."""
    return program.run(*arguments, "--config", str(system.consumer.config_file))


def ledger_of_file(system):
    """What anybody reads in the spool's file, whether or not the consumer runs; it must add up."""
    found = balance_of_file(Path(system.consumer.configuration["spool"]["path"]))
    assert found.balanced, found.lines()
    return found.to_dict()


def ledger(system):
    """What /status shows; it must add up at any time."""
    found = system.consumer.status()["ledger"]
    assert found["balanced"], found
    for server in found["messages"].values():
        assert server["received"] == sum(
            server[account] for account in ("decoded", "held", "quarantined", "discarded")
        )
    for table in found["rows"].values():
        others = ("acknowledged", "spooled", "dead_lettered", "dropped", "suppressed")
        assert table["produced"] == sum(table[account] for account in others)
    return found


def messages(system):
    """The accounts of the one server."""
    return ledger(system)["messages"]["plant-a"]


def rows(system, table=TABLE):
    """The accounts of a table; all 0 before the first row."""
    return ledger(system)["rows"].get(table, {"dead_lettered": 0, "spooled": 0, "produced": 0})


def wait_for_messages(system, received):
    """Wait until so many messages are accounted for."""
    system.consumer.wait_for(
        lambda: ledger(system)["messages"].get("plant-a", {}).get("received") == received,
        f"{received} messages",
    )


def meet_all_sorts(system):
    """Eight messages that each have another fate, besides the consumer's own STATE."""
    gateway = Gateway(system.publish, "Plant")
    gateway.born(metric("Level", value=1.0))  # read
    gateway.data(metric("Level", value=2.0, timestamp=MEASURED_MS + 1))  # read
    gateway.data(metric("Unknown", value=2.0))  # read, but for its one metric
    stranger = Gateway(system.publish, "Plant", "Stranger")
    stranger.data(metric("Level", value=3.0))  # waits for a birth
    stranger.data(metric("Level", value=4.0))  # waits as well
    system.publish(gateway.topic("NDATA"), b"\xff\xff")  # cannot be read
    system.publish("spBv1.0/Plant/NCMD/Edge", b"")  # not for a reader
    system.publish("spBv1.0/Plant/NODATA/Edge", b"")  # not of the namespace
    return 8


def test_each_message_is_in_one_account_and_a_restart_changes_nothing(tmp_path):
    with world(tmp_path) as system:
        system.consumer.start_ready()
        own = system.consumer.status()["ledger"]["messages"]
        system.consumer.wait_for(lambda: ledger(system)["messages"], "the own STATE")
        sent = meet_all_sorts(system)
        system.consumer.wait_for(lambda: messages(system)["held"] == 2, "held messages")
        system.consumer.wait_for(
            lambda: messages(system)["discarded_by_reason"].get("unknown_verb"), "the last one"
        )
        found = messages(system)
        reasons = found["discarded_by_reason"]
        # Rebirth requests come back to whoever subscribes to everything.
        others = reasons["host_state"] + reasons["command"] - 1
        assert (found["decoded"], found["held"], found["quarantined"]) == (3, 2, 1), own
        assert reasons.keys() == {"host_state", "command", "unknown_verb"}
        assert found["received"] == sent + others
        system.consumer.wait_delivered()
        name = 'sparkplug_zerobus_ledger_messages{account="held",server="plant-a"}'
        assert system.consumer.metric(name) == 2
        assert system.consumer.metric("sparkplug_zerobus_ledger_difference") == 0
        assert rows(system)["produced"] == rows(system)["acknowledged"] == 2
        wait_until(
            lambda: ledger_of_file(system)["messages"]["plant-a"]["decoded"] == 3, what="a commit"
        )

        assert system.consumer.stop() == 0
        assert "messages since the spool was made: received" in system.consumer.log()
        assert (
            "rows since the spool was made: produced 2 = acknowledged 2 + spooled 0 "
            "+ dead-lettered 0 + dropped 0 + suppressed 0" in system.consumer.log()
        )
        stopped = ledger_of_file(system)["messages"]["plant-a"]
        assert stopped["held"] == 2
        printed = run(system, "ledger", "--json")
        assert printed.returncode == 0
        assert json.loads(printed.stdout) == ledger_of_file(system)

        system.consumer.start_ready()
        assert messages(system)["held"] == 2
        assert "lost_when_killed" not in messages(system)["discarded_by_reason"]
        stranger = Gateway(system.publish, "Plant", "Stranger")
        stranger.born(metric("Level", value=5.0))
        system.consumer.wait_for(lambda: messages(system)["held"] == 0, "nothing held")
        assert messages(system)["decoded"] == 6


def test_what_waited_when_the_consumer_was_killed_is_known_to_be_lost(tmp_path):
    with world(tmp_path) as system:
        system.consumer.start_ready()
        stranger = Gateway(system.publish, "Plant", "Stranger")
        stranger.data(metric("Level", value=3.0))
        stranger.data(metric("Level", value=4.0))
        wait_until(
            lambda: ledger_of_file(system)["messages"].get("plant-a", {}).get("held") == 2,
            what="the ledger on disk",
        )
        assert system.consumer.stop() == 0
        system.consumer.start_ready()
        stranger.data(metric("Level", value=5.0))
        wait_until(
            lambda: ledger_of_file(system)["messages"]["plant-a"]["held"] == 3,
            what="the ledger on disk",
        )
        system.consumer.kill()
        ledger_of_file(system)

        system.consumer.start_ready()
        # Those that were kept at the stop are still there, the new one is lost.
        assert messages(system)["held"] == 2
        assert messages(system)["discarded_by_reason"]["lost_when_killed"] == 1
        assert "1 messages that waited" in system.consumer.log()
        stranger.born(metric("Level", value=6.0))
        wait_until(
            lambda: ledger_of_file(system)["messages"]["plant-a"]["decoded"] == 3,
            what="all read, and written down",
        )
        system.consumer.kill()
        assert ledger_of_file(system)["messages"]["plant-a"]["held"] == 0


def test_it_adds_up_after_kills_under_load(tmp_path):
    with world(tmp_path, shutdown_timeout=f"{PATIENCE}s") as system:
        system.consumer.start_ready()
        with fleet_for(system) as fleet:
            assert fleet.wait_online(PATIENCE)
            for _ in range(2):
                wait_for_load(system, fleet, 1_000)
                system.consumer.kill()
                ledger_of_file(system)
                system.consumer.start_ready()
                ledger(system)
                assert fleet.wait_online(PATIENCE)
            assert_nothing_lost(system, fleet)
        # The gateways have left: what that says lands, too, before the consumer has stopped.
        assert system.consumer.stop() == 0
        found = ledger_of_file(system)["rows"][TABLE]
        landed = {row["arrival_number"] for row in system.table.rows()}
        assert found["acknowledged"] + found["suppressed"] == found["produced"]
        assert found["acknowledged"] == len(landed)


def strict_schema():
    """The table, with numbers only: a text is refused."""
    index = TAG_EVENTS_SCHEMA.get_field_index("numeric_value")
    return TAG_EVENTS_SCHEMA.set(index, pa.field("numeric_value", pa.float64(), nullable=False))


def test_dead_letters_are_accounted_for_when_they_are_made_retried_and_dropped(tmp_path):
    with side_world(tmp_path, zerobus={"table": STRICT}) as system:
        system.zerobus.create_table(STRICT, strict_schema())
        system.consumer.start_ready()
        gateway = Gateway(system.publish, "Plant")
        gateway.born(metric("Level", value=1.0), metric("Recipe", PeerType.STRING, "text"))
        for number in range(1, 6):
            gateway.data(metric("Level", value=float(number), timestamp=MEASURED_MS + number))
        gateway.data(metric("Recipe", PeerType.STRING, "other", MEASURED_MS + 9))
        gateway.data(metric("Level", value=9.0, timestamp=MEASURED_MS + 9))

        def poisoned(count, *, of):
            def seen():
                found = rows(system, STRICT)
                settled = found["produced"] == of and found["spooled"] == 0
                return settled and found["dead_lettered"] == count

            system.consumer.wait_for(seen, f"{count} dead letters")

        poisoned(2, of=9)
        assert rows(system, STRICT)["acknowledged"] == 7

        assert run(system, "deadletter", "drop", "row-1").returncode == 0
        found = rows(system, STRICT)
        assert found["dropped_by_reason"] == {"dropped_by_hand": 1}
        assert found["dead_lettered"] == 1

        # It is refused again: spooled, then dead-lettered once more, and one row all the time.
        sent = system.consumer.status()["rows_sent"]
        assert run(system, "deadletter", "retry", "row-2").returncode == 0
        system.consumer.wait_for(
            lambda: ledger(system) and system.consumer.status()["rows_sent"] > sent, "the retry"
        )
        gateway.data(metric("Level", value=10.0, timestamp=MEASURED_MS + 10))
        poisoned(1, of=10)
        found = rows(system, STRICT)
        assert (found["produced"], found["acknowledged"], found["dropped"]) == (10, 8, 1)

        system.publish(gateway.topic("NDATA"), b"\xff\xff")
        system.consumer.wait_for(lambda: messages(system)["quarantined"] == 1, "a dead message")
        assert run(system, "deadletter", "drop", "message-1").returncode == 0
        assert messages(system)["quarantined"] == 0
        assert messages(system)["discarded_by_reason"]["dropped_by_hand"] == 1
        assert system.consumer.stop() == 0
        of_tables = ledger_of_file(system)["rows"]
        assert of_tables.keys() == {STRICT, EVENTS, METADATA}
        assert all(table["acknowledged"] for table in of_tables.values())


def test_what_finds_no_room_in_the_spool_is_known_as_messages_and_as_rows(tmp_path):
    with world(tmp_path, spool={"max_bytes": "16MiB"}) as system:
        system.consumer.start_ready()
        system.zerobus.faults.delay_commits(math.inf)
        gateway = Gateway(system.publish, "Plant")
        chance = random.Random(1)
        gateway.born(metric("Recipe", PeerType.STRING, "first"))
        for number in range(1, 21):
            text = chance.randbytes(1 << 19).hex()
            gateway.data(metric("Recipe", PeerType.STRING, text, MEASURED_MS + number))
        system.consumer.wait_for(lambda: rows(system)["produced"] == 21, "all rows")
        found, of_messages = rows(system), messages(system)
        dropped = found["dropped_by_reason"]["spool_full"]
        assert dropped == system.consumer.status()["rows_dropped"] > 0
        assert found["spooled"] == 21 - dropped
        assert of_messages["discarded_by_reason"]["spool_full"] == dropped
        assert of_messages["decoded"] == 21 - dropped

        system.zerobus.faults.clear()
        system.consumer.wait_delivered()
        assert rows(system)["acknowledged"] == 21 - dropped
        assert system.consumer.stop() == 0
        assert f"dropped {dropped} (spool_full {dropped})" in system.consumer.log()
        assert ledger_of_file(system)["rows"][TABLE]["dropped"] == dropped
