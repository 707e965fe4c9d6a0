"""Broker and Zerobus come and go under load; nothing that was published is missing afterwards."""

from __future__ import annotations

import math
import random

from support.latest import asked
from support.peer import PeerType
from support.services import PATIENCE, wait_until

from end_to_end.gateway import MEASURED_MS, Gateway, metric
from end_to_end.under_load import assert_nothing_lost, fleet_for, wait_for_load
from end_to_end.world import world


def test_a_broker_that_crashes_and_comes_back_loses_nothing(tmp_path):
    with world(tmp_path) as system:
        system.consumer.start_ready()
        with fleet_for(system) as fleet:
            assert fleet.wait_online(PATIENCE)
            for connections in (2, 3):
                wait_for_load(system, fleet)
                system.server.kill()
                wait_until(lambda: fleet.connected == 0, what="the loss")
                system.server.restart()
                system.consumer.wait_for(
                    lambda expected=connections: (
                        system.consumer.status()["servers"][0]
                        | {"connected": True, "connections": expected}
                        == system.consumer.status()["servers"][0]
                    ),
                    "connected again",
                )
                assert fleet.wait_online(PATIENCE)
            assert_nothing_lost(system, fleet)
        # Rows wait for nothing but the broker: the stream stayed the same.
        assert system.consumer.metric("sparkplug_zerobus_stream_reconnects_total") == 0
        assert system.consumer.stop() == 0


def test_a_zerobus_that_crashes_and_comes_back_loses_nothing_and_repeats_only_equal_rows(tmp_path):
    with world(tmp_path, zerobus_process=True) as system:
        system.consumer.start_ready()
        with fleet_for(system) as fleet:
            assert fleet.wait_online(PATIENCE)
            for _ in range(2):
                wait_for_load(system, fleet)
                system.zerobus.kill()
                published = fleet.published
                wait_until(lambda before=published: fleet.published > before + 2_000, what="load")
                # The consumer goes on reading, and keeps what it reads.
                system.consumer.wait_for(
                    lambda: system.consumer.status()["spooled_rows"] > 1_000, "spooled rows"
                )
                assert system.consumer.status()["servers"][0]["connections"] == 1
                system.zerobus.start()
            assert_nothing_lost(system, fleet)
        assert system.consumer.status()["failures"] >= 2
        assert system.consumer.stop() == 0


def test_edge_nodes_that_lose_their_connections_lose_nothing_and_are_alive_again(tmp_path):
    with world(tmp_path) as system:
        system.consumer.start_ready()
        with fleet_for(system) as fleet:
            assert fleet.wait_online(PATIENCE)
            wait_for_load(system, fleet)
            fleet.break_connections()
            wait_until(lambda: fleet.connections == 4, what="other connections")
            assert_nothing_lost(system, fleet)
            assert fleet.ledger.births <= system.table.ids_of_values()

            of_tag = {}
            for row in system.table.rows():
                of_tag.setdefault(row["tag_path"], []).append(row)
            assert len(of_tag) == fleet.ledger.tags > 80
            for rows in of_tag.values():
                assert sum(row["message_type"] == "NDEATH" for row in rows) == 1
            # The consumer has seen the deaths, and that each tag is back.
            said = asked(
                system.table.read(), "SELECT tag_path, message_type FROM tag_events_latest"
            )
            assert dict(said).keys() == of_tag.keys()
            assert "NDEATH" not in dict(said).values()
        assert system.consumer.stop() == 0


def test_a_spool_that_is_full_is_counted_and_everything_that_had_room_lands(tmp_path):
    with world(tmp_path, spool={"max_bytes": "16MiB"}) as system:
        system.consumer.start_ready()
        system.zerobus.faults.delay_commits(math.inf)
        gateway = Gateway(system.publish, "Plant")
        chance = random.Random(1)
        texts = [chance.randbytes(1 << 19).hex() for _ in range(20)]  # 1 MiB each
        gateway.born(metric("Recipe", PeerType.STRING, "first"))
        for number, text in enumerate(texts, 1):
            gateway.data(metric("Recipe", PeerType.STRING, text, MEASURED_MS + number))

        def settled():
            status = system.consumer.status()
            return status["rows_dropped"] and status["rows_dropped"] + status["spooled_rows"] == 21

        system.consumer.wait_for(settled, "a full spool")
        dropped = system.consumer.status()["rows_dropped"]
        assert system.consumer.reasons()["spool_full"] == dropped
        assert (
            system.consumer.metric('sparkplug_zerobus_rows_dropped_total{reason="spool_full"}')
            == dropped
        )
        assert system.consumer.get("/healthz").status_code == 200
        assert "spool_full: " in system.consumer.log()

        system.zerobus.faults.clear()
        system.consumer.wait_delivered()
        gateway.data(metric("Recipe", PeerType.STRING, "last", MEASURED_MS + 99))
        first, *kept, last = [row["string_value"] for row in system.table.wait_for(22 - dropped)]
        assert (first, last) == ("first", "last")
        assert kept == [text for text in texts if text in kept]
        assert len(kept) == 20 - dropped
        assert system.consumer.stop() == 0
