"""What the consumer reports of messages that did not come, compared with what was withheld."""

from __future__ import annotations

import json
import random
from pathlib import Path

from support.peer import PeerType
from support.program import run
from support.services import PATIENCE, wait_until

from consumer.simulator import EdgeNodeOptions, Gateways, MqttTarget
from consumer.spool.gap_report import read_gap_report
from end_to_end.gateway import Gateway, metric, now_ms
from end_to_end.world import world

FAST = {"reorder_timeout": "200ms"}


class Line:
    """The way from edge nodes to the server; it loses what it is told to."""

    def __init__(self, system):
        self.system = system
        self.sent = 0
        self.lost = []
        self.loses = False

    def publish(self, topic, payload):
        if self.loses:
            self.lost.append((topic, payload))
        else:
            self.sent += 1
            self.system.publish(topic, payload)


def report(system, *arguments, code=0):
    """What the command prints as JSON."""
    config_file = str(system.consumer.config_file)
    done = run(
        *("gaps", "--config", config_file, "--json", *arguments), cwd=system.consumer.directory
    )
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout) if code == 0 else done.stderr


def present(system):
    """The same, without the start of a process."""
    until_us = now_ms() * 1000
    spool = Path(system.consumer.configuration["spool"]["path"])
    return read_gap_report(spool, until_us - 3_600_000_000, until_us).as_dictionary()


def gaps(system):
    """Reason, missing, how healed, of every record, oldest first."""
    return [
        (each["reason"], each["missing"], each["healing"]) for each in present(system)["gaps"][::-1]
    ]


def wait_for_gaps(system, *expected):
    """Wait until the records are these."""
    found = []

    def are_there():
        found[:] = gaps(system)
        return found == list(expected)

    try:
        wait_until(are_there, what=f"gaps {expected}")
    except AssertionError as error:
        raise AssertionError(f"{error}; there are {found}") from error


def wait_for_received(system, count):
    """Wait until so many messages are in the accounts, and return the report."""
    found = []

    def are_there():
        found[:] = [present(system)]
        return found[0]["total"]["received"] == count

    try:
        wait_until(are_there, what=f"{count} received messages")
    except AssertionError as error:
        raise AssertionError(f"{error}; the report is {found[0]}") from error
    return found[0]


def value(number, **options):
    return metric("Level", value=float(number), **options)


def test_a_hole_is_found_counted_and_healed_by_the_late_message_or_the_rebirth(tmp_path):
    with world(tmp_path, host=FAST) as system:
        system.consumer.start_ready()
        line = Line(system)
        gateway = Gateway(line.publish, "Plant")
        gateway.born(value(0))
        gateway.data(value(1))
        line.loses = True
        gateway.data(value(2))
        gateway.data(value(3))
        line.loses = False
        gateway.data(value(4))
        wait_for_gaps(system, ("sequence_gap", 2, "open"))
        assert system.consumer.metric('sparkplug_zerobus_gaps_open{reason="sequence_gap"}') == 1
        for topic, payload in line.lost:
            line.publish(topic, payload)
        wait_for_gaps(system, ("sequence_gap", 2, "late_arrival"))
        gateway.skip_seq()
        gateway.data(value(6))
        wait_for_gaps(system, ("sequence_gap", 2, "late_arrival"), ("sequence_gap", 1, "open"))
        gateway.born(value(7))
        wait_for_gaps(
            system, ("sequence_gap", 2, "late_arrival"), ("sequence_gap", 1, "rebirth_snapshot")
        )

        found = wait_for_received(system, line.sent)
        [node] = found["nodes"]
        assert (node["group_id"], node["edge_node_id"]) == ("Plant", "Edge")
        assert (node["missing"], node["expected"], node["came_late"]) == (1, line.sent + 1, 2)
        total = {key: node["gaps"][key] for key in ("found", "open", "late_arrival")}
        assert total == {"found": 2, "open": 0, "late_arrival": 1}
        metric_of = system.consumer.metric
        assert metric_of('sparkplug_zerobus_gaps_total{reason="sequence_gap"}') == 2
        assert metric_of('sparkplug_zerobus_gaps_healed_total{healing="late_arrival"}') == 1
        assert metric_of("sparkplug_zerobus_messages_missing_total") == 3
        assert metric_of("sparkplug_zerobus_missing_messages_late_total") == 2
        assert system.consumer.status()["gaps"]["healed"]["rebirth_snapshot"] == 1
        assert system.consumer.stop() == 0
        assert report(system)["total"] == found["total"]  # also when nobody has the file open


def test_a_gap_stays_open_over_a_restart_and_is_healed_after_a_kill(tmp_path):
    with world(tmp_path, host=FAST) as system:
        system.consumer.start_ready()
        line = Line(system)
        gateway = Gateway(line.publish, "Plant")
        gateway.born(value(0))
        line.loses = True
        for number in (1, 2):
            gateway.data(value(number))
        line.loses = False
        gateway.data(value(3))
        wait_for_gaps(system, ("sequence_gap", 2, "open"))
        assert system.consumer.stop() == 0

        system.consumer.start_ready()
        assert gaps(system) == [("sequence_gap", 2, "open")]
        gateway.data(value(4))
        line.publish(*line.lost[0])
        wait_until(lambda: present(system)["gaps"][0]["late"] == 1, what="the late message")
        wait_for_received(system, line.sent)
        system.consumer.kill()

        system.consumer.start_ready()
        gateway.data(value(5))
        line.publish(*line.lost[1])
        wait_for_gaps(system, ("sequence_gap", 2, "late_arrival"))
        found = wait_for_received(system, line.sent)
        assert (found["total"]["missing"], found["total"]["percent"]) == (0, 100)
        assert system.consumer.stop() == 0


def test_what_is_sent_while_the_consumer_is_away_is_counted_modulo_256(tmp_path):
    sent, killed = 300, 7
    with world(tmp_path, host={**FAST, "mode": "passive"}) as system:
        gateways = {name: Gateway(system.publish, "Plant", name) for name in ("A", "B", "C")}
        system.consumer.start_ready()
        for gateway in gateways.values():
            gateway.born(value(0))
            gateway.data(value(1))
        wait_for_received(system, 6)
        assert system.consumer.stop() == 0
        quick = Gateway(system.publish_quickly, "Plant", "A")
        quick._seq = gateways["A"]._seq
        for number in range(sent):
            quick.data(value(number))
        system.publish("flushed", b"")
        gateways["A"]._seq = quick._seq
        gateways["B"].data(value(2))

        system.consumer.start_ready()
        gateways["A"].data(value(1))
        gateways["B"].data(value(3))
        wait_for_gaps(system, ("away", sent % 256, "open"), ("away", 1, "open"))
        # C is silent: it may be gone, for all we know. Who was heard of is written every second.
        wait_until(lambda: present(system)["total"]["nodes_unheard"] == 1, what="news of A and B")
        found = report(system)
        unheard = [n["edge_node_id"] for n in found["nodes"] if n["unheard_since"] is not None]
        assert (unheard, found["total"]["nodes_unheard"]) == (["C"], 1)
        assert system.consumer.metric("sparkplug_zerobus_edge_nodes_unheard") == 1
        for name in ("A", "B"):
            gateways[name].sent_ms += 1_000  # what is held was sent before the birth
            gateways[name].born(value(9))
        wait_for_gaps(
            system,
            ("away", sent % 256, "rebirth_snapshot"),
            ("away", 1, "rebirth_snapshot"),
        )
        assert found["gaps"][0]["missing_is_modulo_256"] is True

        wait_for_received(system, 10)
        system.consumer.kill()
        for _ in range(killed):
            gateways["B"].data(value(4))
        system.consumer.start_ready()
        gateways["B"].data(value(5))
        wait_until(lambda: gaps(system)[-1] == ("away", killed, "open"), what="the second absence")
        assert system.consumer.stop() == 0


def test_sessions_that_were_missed_and_the_end_of_those_that_were_seen(tmp_path):
    with world(tmp_path) as system:
        system.consumer.start_ready()
        gateway = Gateway(system.publish, "Plant")
        gateway.born(value(0))
        gateway.died()
        wait_for_gaps(system, ("session_end", None, "open"))
        assert system.consumer.stop() == 0
        for _ in range(2):
            gateway.born(value(1))
            gateway.died()
        system.consumer.start_ready()
        gateway.born(value(2))
        wait_for_gaps(
            system,
            ("session_end", None, "rebirth_snapshot"),
            ("sessions_missed", None, "rebirth_snapshot"),
        )
        found = report(system)
        assert found["total"]["sessions_missed"] == 2
        assert found["total"]["gaps"]["of_unknown_size"] == 2
        assert system.consumer.metric("sparkplug_zerobus_sessions_missed_total") == 2
        assert system.consumer.stop() == 0


def test_history_that_a_node_kept_while_the_host_was_offline_heals_the_gap(tmp_path):
    with world(tmp_path, host=FAST) as system:
        fleet = Gateways(
            MqttTarget(system.server.url),
            2,
            100,
            options=EdgeNodeOptions(primary_host_id="historian"),
        )
        fleet.start()
        try:
            system.consumer.start_ready()
            assert fleet.wait_online(PATIENCE)
            system.table.wait_for(100)
            assert system.consumer.stop() == 0
            stored = fleet.stored
            wait_until(lambda: fleet.stored > stored + 50, what="values that are kept at the edge")
            system.consumer.start_ready()
            assert fleet.wait_online(PATIENCE)
            nodes = {("Plant 1", "Line A"), ("Plant 2", "Line A")}

            def healed():
                return {
                    (each["group_id"], each["edge_node_id"])
                    for each in present(system)["gaps"]
                    if each["healing"] == "history_flush"
                }

            wait_until(lambda: healed() == nodes, what="gaps healed by history")
            system.consumer.wait_for(lambda: fleet.stored == 0, "the stores to be empty")
        finally:
            assert fleet.stop(PATIENCE)
        system.consumer.wait_delivered()
        found = report(system)
        assert found["total"]["history_rows"] > 0
        assert found["total"]["missing"] == 0
        assert system.consumer.stop() == 0
        # What was counted has landed by now.
        assert found["total"]["history_rows"] <= len(system.table.rows(is_historical=True))


def test_the_report_says_what_was_withheld_of_many_nodes_at_random(tmp_path):
    rng = random.Random(7)
    withheld, received = {}, {}
    with world(tmp_path, host={**FAST, "mode": "passive"}) as system:
        system.consumer.start_ready()
        line = Line(system)
        line.system = type("Quick", (), {"publish": staticmethod(system.publish_quickly)})
        gateways = [Gateway(line.publish, "Plant", f"Edge {number}") for number in range(8)]
        for gateway in gateways:
            gateway.born(value(0))
            withheld[gateway.node], received[gateway.node] = 0, 1
        for number in range(40):
            for gateway in gateways:
                line.loses = number < 39 and rng.random() < 0.2
                gateway.data(metric("Level", PeerType.DOUBLE, float(number)))
                withheld[gateway.node] += line.loses
                received[gateway.node] += not line.loses
        wait_for_received(system, line.sent)
        total = sum(withheld.values())
        wait_until(lambda: present(system)["total"]["missing"] == total, what=f"{total} missing")
        found = {node["edge_node_id"]: node for node in report(system)["nodes"]}
        assert {name: node["missing"] for name, node in found.items()} == withheld
        assert {name: node["received"] for name, node in found.items()} == received
        one = report(system, "--node", "Plant/Edge 3")
        assert [node["missing"] for node in one["nodes"]] == [withheld["Edge 3"]]
        assert one["total"]["percent"] == round(100 * received["Edge 3"] / 41, 4)
        assert system.consumer.metric("sparkplug_zerobus_messages_missing_total") == total
        assert system.consumer.stop() == 0
