"""Lost connections, redundant servers, kept births, two publishers, clocks: over real MQTT."""

from __future__ import annotations

import contextlib

import pytest
from support.latest import said_now
from support.mqtt_listener import listening
from support.services import mosquitto, wait_until

from end_to_end.consumer_process import configuration, consumer
from end_to_end.gateway import Gateway, PeerType, metric, now_ms
from end_to_end.rude_server import rude_server
from end_to_end.world import LandedTable, local_zerobus, world

CERTIFICATES = "$sparkplug/certificates/"


def qualities(rows):
    return {row["metric_name"]: row["quality"] for row in rows}


def latest(table):
    """The quality of each tag, as the view of latest values shows it."""
    return {name: quality for name, (quality, _) in said_now(table.read()).items()}


def present(name, value=1.0, **fields):
    """A metric that is measured now."""
    return metric(name, value=value, timestamp=now_ms(), **fields)


class PresentGateway(Gateway):
    """A gateway whose clock is right."""

    def _send(self, *args, **options):
        self.sent_ms = now_ms()
        return super()._send(*args, **options)


# The own connection


def lose_connection(system, connections=2):
    system.server.restart()
    system.consumer.wait_for(
        lambda: system.consumer.status()["servers"][0]["connections"] == connections,
        "the next connection",
    )
    system.consumer.wait_for(lambda: system.consumer.answers("/readyz"), "ready again")
    wait_until(lambda: system.client.subscriptions == connections, what="the listener")


@pytest.mark.parametrize("emit_stale", ["deaths", "none"])
def test_a_lost_connection_gives_no_rows_and_nodes_go_on(tmp_path, emit_stale):
    with world(tmp_path, normalize={"emit_stale": emit_stale}) as system:
        system.consumer.start_ready()
        gateway = PresentGateway(system.publish, "Plant")
        gateway.born(present("Level"), present("Still"))
        system.table.wait_for(2)
        lose_connection(system)
        gateway.data(present("Level", 2.0))
        assert [row["numeric_value"] for row in system.table.wait_for(3)] == [1.0, 1.0, 2.0]
        assert system.consumer.stop() == 0
        assert system.client.count("NCMD") == 0


def test_with_emit_stale_all_every_tag_is_stale_until_data_or_a_birth_comes(tmp_path):
    with world(tmp_path, normalize={"emit_stale": "all"}) as system:
        system.consumer.start_ready()
        gateway = PresentGateway(system.publish, "Plant")
        gateway.born(present("Level"), present("Still"))
        gateway.device_born("Boiler", present("Heat"))
        system.table.wait_for(3)
        lost_ms = now_ms()
        lose_connection(system)
        rows = system.table.wait_for(3, message_type="HOST")
        assert qualities(rows) == {"Level": "STALE", "Still": "STALE", "Heat": "STALE"}
        assert all(row["event_time"].timestamp() * 1000 >= lost_ms - 1 for row in rows)
        assert {row["seq"] for row in rows} == {None}

        gateway.data(present("Level", 2.0))
        system.table.wait_for(1, numeric_value=2.0)
        system.client.wait_for("NCMD")
        assert latest(system.table) == {
            "Level": "GOOD",
            "Still": "STALE",
            "Boiler/Heat": "STALE",
        }
        wait_until(
            lambda: system.consumer.metric(
                'sparkplug_zerobus_rebirths_requested_total{reason="connection_lost"}'
            ),
            what="the request to be counted",
        )
        gateway.born(metric("Level", value=2.0), metric("Still"))  # the old time once more
        gateway.device_born("Boiler", metric("Heat"))
        wait_until(lambda: set(latest(system.table).values()) == {"GOOD"}, what="GOOD everywhere")
        assert system.consumer.stop() == 0
        assert "asked Plant/Edge for a rebirth: connection lost" in system.consumer.log()


# Redundant servers


@contextlib.contextmanager
def two_servers(directory, site):
    with (
        mosquitto(directory) as one,
        mosquitto(directory) as two,
        local_zerobus(directory / "lake") as zerobus,
        listening(one) as at_one,
        listening(two) as at_two,
    ):
        servers = [
            {"name": name, "url": each.url, "site": site}
            for name, each in (("one", one), ("two", two))
        ]
        config = configuration(directory, one.url, zerobus, servers=servers)
        with consumer(directory, config) as process:
            process.start_ready()
            yield at_one, at_two, LandedTable(directory / "lake"), process


def test_a_node_that_lives_on_another_server_of_its_site_is_not_stale(tmp_path):
    with two_servers(tmp_path, "north") as (at_one, at_two, table, process):
        first = PresentGateway(at_one.publish, "Plant")
        second = PresentGateway(at_two.publish, "Plant")
        level = metric("Level")
        first.born(level)
        table.wait_for(1)
        second.born(level)
        rows = table.wait_for(2)
        assert len({row["event_id"] for row in rows}) == 1

        first.died()
        first.born(metric("Level", value=2.0))
        table.wait_for(1, numeric_value=2.0)
        assert not table.rows(quality="STALE")
        first.died()
        second.data(metric("Level", value=3.0))
        table.wait_for(1, numeric_value=3.0)
        assert not table.rows(quality="STALE")

        second.died()
        [row] = table.wait_for(1, quality="STALE")
        assert row["metric_name"] == "Level"
        first.born(metric("Level", value=4.0))
        table.wait_for(1, numeric_value=4.0)
        assert latest(table) == {"Level": "GOOD"}
        assert process.stop() == 0


def test_servers_without_a_site_are_plants_of_their_own(tmp_path):
    with two_servers(tmp_path, "") as (at_one, at_two, table, process):
        first, second = Gateway(at_one.publish, "Plant"), Gateway(at_two.publish, "Plant")
        first.born(metric("Level"))
        table.wait_for(1)
        second.born(metric("Level"))
        table.wait_for(2)
        first.died()
        assert len(table.wait_for(1, quality="STALE")) == 1
        assert process.stop() == 0


# Births that a server keeps


def keep(system, gateway, *metrics):
    """Publish a birth as a Sparkplug-aware server would have kept it before we came."""
    kept = []
    Gateway(lambda topic, payload: kept.append((topic, payload)), gateway.group).born(*metrics)
    for topic, payload in kept:
        system.publish(CERTIFICATES + topic, payload, retain=True)


@pytest.mark.parametrize("mode", ["active", "passive"])
def test_names_that_a_kept_birth_declares_are_read_before_any_birth(tmp_path, mode):
    with world(tmp_path, host={"mode": mode}) as system:
        gateway = Gateway(system.publish, "Plant")
        keep(system, gateway, metric("Level"))
        system.consumer.start_ready()
        system.consumer.wait_for(lambda: system.consumer.reasons().get("certificate"), "the birth")
        gateway.data(metric("Level", value=2.0))
        [row] = system.table.wait_for(1)
        assert (row["metric_name"], row["numeric_value"]) == ("Level", 2.0)
        if mode == "active":
            system.client.wait_for("NCMD")
        else:
            assert system.client.count("NCMD") == 0
        assert system.consumer.stop() == 0


@pytest.mark.parametrize(("alias", "read"), [(1, set()), (3, {"Flow"})])
def test_aliases_of_a_kept_birth_wait_for_the_real_one_and_count_if_it_says_the_same(
    tmp_path, alias, read
):
    with world(tmp_path) as system:
        gateway = Gateway(system.publish, "Plant")
        flow = metric("Flow", alias=3)
        keep(system, gateway, metric("Level", alias=1), metric("Heat", alias=2), flow)
        system.consumer.start_ready()
        system.consumer.wait_for(lambda: system.consumer.reasons().get("certificate"), "the birth")
        gateway.data(metric(None, alias=alias, value=5.0))
        system.client.wait_for("NCMD")
        assert system.table.rows() == []
        gateway.born(metric("Heat", alias=1), metric("Level", alias=2), flow)
        gateway.data(metric(None, alias=2, value=7.0))
        system.table.wait_for(4 + len(read))
        found = {row["metric_name"] for row in system.table.rows() if row["numeric_value"] == 5.0}
        assert found == read
        assert system.consumer.stop() == 0


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_server_that_refuses_them_is_read_all_the_same(tmp_path, protocol):
    (tmp_path / "acl").write_text(f"topic readwrite spBv1.0/#\ntopic deny {CERTIFICATES}#\n")
    with world(
        tmp_path, broker=f"acl_file {tmp_path / 'acl'}", servers={"protocol": protocol}
    ) as system:
        system.consumer.start_ready()
        Gateway(system.publish, "Plant").born(metric("Level"))
        system.table.wait_for(1)
        assert system.consumer.stop() == 0
        assert "WARNING" not in system.consumer.log()


def test_a_server_that_throws_out_whoever_asks_for_them_is_not_asked_again(tmp_path):
    with (
        rude_server(b"", hates=CERTIFICATES.encode()) as server,
        local_zerobus(tmp_path / "lake") as zerobus,
    ):
        url = f"mqtt://127.0.0.1:{server.server_address[1]}"
        with consumer(tmp_path, configuration(tmp_path, url, zerobus)) as process:
            process.start_ready()
            assert process.status()["servers"][0]["connections"] == 1
            assert "plant-a is asked for no births that it keeps" in process.log()
            process.kill()


# Two publishers of one id


def test_two_publishers_of_one_id_are_told_of_and_left_alone(tmp_path):
    with world(tmp_path, host={"rebirth": {"per_node": "1s"}}) as system:
        system.consumer.start_ready()
        ours = PresentGateway(system.publish, "Plant")
        theirs = PresentGateway(system.publish, "Plant")
        theirs._bd_seq = 77
        for _ in range(2):
            ours.born(present("Level"))
            theirs.born(present("Level", 2.0))
        system.consumer.wait_for_log("Plant/Edge: two publishers use this id")
        assert "give one of them another group or edge node id" in system.consumer.log()
        assert system.consumer.metric("sparkplug_zerobus_duplicate_nodes") == 1
        for number in range(5):
            ours.data(metric("Unheard of", PeerType.DOUBLE, float(number)))
        system.consumer.wait_for(
            lambda: system.consumer.reasons().get("unknown_metric") == 5, "five reasons to ask"
        )
        Gateway(system.publish, "Other").data(metric("Level"))
        system.client.wait_for("NCMD")
        assert [each.topic for each in system.client.arrivals if "/NCMD/" in each.topic] == [
            "spBv1.0/Other/NCMD/Edge"
        ]
        assert system.consumer.stop() == 0


# Clocks


def test_a_clock_that_is_ahead_is_told_of_and_its_values_keep_their_times(tmp_path):
    with world(tmp_path) as system:
        system.consumer.start_ready()
        gateway = Gateway(system.publish, "Plant")
        ahead_ms = now_ms() + 3 * 3600 * 1000
        gateway.sent_ms = ahead_ms
        gateway.born(metric("Level", timestamp=ahead_ms))
        for number in range(3):
            gateway.data(metric("Level", value=float(number), timestamp=ahead_ms))
        rows = system.table.wait_for(4)
        assert {round(row["event_time"].timestamp() * 1000) for row in rows} == {ahead_ms}
        system.consumer.wait_for_log("Plant/Edge: the clock is ")
        wait_until(
            lambda: system.consumer.metric("sparkplug_zerobus_clock_ahead_seconds") > 10_000,
            what="the skew to be shown",
        )
        assert system.consumer.metric("sparkplug_zerobus_clock_problems") >= 1
        assert system.consumer.stop() == 0
