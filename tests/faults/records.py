"""Scenarios in which what is sent, or the table it is for, is not as it should be."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import TYPE_CHECKING

import paho.mqtt.client as mqtt
from end_to_end.consumer_process import TABLE
from paho.mqtt.enums import CallbackAPIVersion
from support.services import PATIENCE, wait_until

from faults.landed_order import arrival_numbers, change_columns, table_path
from faults.plant import GROUP
from faults.rig import Size, rig
from faults.tcp_proxy import tcp_proxy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from faults.verdict import Verdict

_MALFORMED = (
    ("bad_payload", f"spBv1.0/{GROUP}/NDATA/Edge 1", b"no Sparkplug \xff\xff"),
    ("bad_payload", f"spBv1.0/{GROUP}/DDATA/Edge 2/Boiler", b"\x12\x02\x18"),
    ("json_payload", f"spBv1.0/{GROUP}/NDATA/Edge 2", b'{"metrics": [{"name": 5}]}'),
    ("bad_payload", f"spBv1.0/{GROUP}/NBIRTH/Edge 3", b"\x0a\xff"),
    ("bad_topic", f"spBv1.0/{GROUP}/NDATA", b""),
    ("unknown_verb", f"spBv1.0/{GROUP}/DRECORD/Edge 1/Press", b"x"),
    ("bad_topic", f"spBv1.0/{GROUP}/DDATA/Edge 1/Press/Rotor", b""),
    ("bad_payload", f"spBv1.0/{GROUP}/NDEATH/Edge 1", b"\xff"),
    ("death_of_other_session", f"spBv1.0/{GROUP}/NDEATH/Never born", b""),
)
# Ordinary traffic that has a reason too.
_ORDINARY = {"command", "host_state", "repeated_birth_value", "certificate", "retained"}
# What follows on a birth that cannot be read: data waits for the next one.
_FOLLOWS = "data_before_birth"


def malformed_messages(directory: Path, size: Size, say: Callable[[str], None]) -> Verdict:
    """Every hundredth message cannot be read: all others land, these are counted by reason."""
    with rig(directory, size, say) as system:
        system.start()
        client = mqtt.Client(CallbackAPIVersion.VERSION2)
        client.connect("127.0.0.1", system.server.port)
        client.loop_start()
        expected: Counter[str] = Counter()
        try:
            for number, (reason, topic, content) in enumerate(itertools.cycle(_MALFORMED)):
                if number >= max(size.times, len(_MALFORMED)):
                    break
                messages = system.plant.notebook.messages
                wait_until(
                    lambda since=messages: system.plant.notebook.messages >= since + 99, 60, "load"
                )
                sent = client.publish(topic, content, qos=1)
                sent.wait_for_publish(PATIENCE)
                assert sent.is_published(), topic
                expected[reason] += 1
                if number % 100 == 99:
                    say(f"{number + 1} malformed messages")
            system.settle()
            counted = Counter(system.consumer.reasons())
        finally:
            client.disconnect()
            client.loop_stop()
        verdict = system.verdict()
        for each in (*_ORDINARY, _FOLLOWS):
            del counted[each]
        verdict.notes.append(f"counted: {dict(counted)}")
        verdict.require(counted == expected, f"published were {dict(expected)}")
        verdict.require(not verdict.lost, f"{verdict.lost} values were lost")
        return verdict


def poison_records(directory: Path, size: Size, say: Callable[[str], None]) -> Verdict:
    """Zerobus refuses a record of every tenth batch: it becomes a dead letter, alone."""
    narrow = {"narrow": True, "compact_every": 1_000_000}
    with rig(directory, size, say, zerobus=narrow, load={"poison_every": 10}) as system:
        system.start()
        wait_until(lambda: len(system.plant.notebook.poison) >= size.times, 600, "poison")
        say("load ends")
        poison = system.plant.notebook.poison
        # To find one takes some ten streams, which end.
        verdict = system.verdict(timeout=120.0 + 3.0 * len(poison))
        dead = system.dead_letters()
        verdict.notes.append(f"{len(poison)} poison records")
        verdict.require(
            sorted(each.event_ids[0] for each in dead) == sorted(poison)
            and {(each.reason, each.rows) for each in dead} == {("poison", 1)},
            f"the dead letters are not the {len(poison)} poison records: {len(dead)}",
        )
        verdict.require(not verdict.lost, f"{verdict.lost} values were lost")
        numbers = list(dict.fromkeys(arrival_numbers(table_path(directory / "lake", TABLE))))
        verdict.require(numbers == sorted(numbers), "rows did not land in their order")
        return verdict


def dropped_column(directory: Path, size: Size, say: Callable[[str], None]) -> Verdict:
    """A column is dropped from the table under load, and later restored."""
    path = table_path(directory / "lake", TABLE)
    keep_log = {"compact_every": 1_000_000}
    with (
        rig(directory, size, say, zerobus=keep_log) as system,
        tcp_proxy(system.zerobus.grpc_port) as proxy,
    ):
        system.reach_zerobus_over(proxy)
        system.start()
        for number in range(1, size.times + 1):
            system.load(0.3)
            # The server reads the columns when it starts. To the consumer it is one stream
            # that ends in order, and a next one that is refused.
            proxy.hold()
            streams = proxy.connections
            system.zerobus.fault("close_streams", seconds=0.0)
            system.consumer.wait_for(
                lambda: system.consumer.status()["stream_state"] == "CONNECTING", "the end"
            )
            system.zerobus.stop()
            columns = change_columns(path, None, drop="tag_provider")
            system.zerobus.start()
            proxy.release()
            system.consumer.wait_for(
                lambda: system.consumer.status()["stream_state"] == "BLOCKED", "BLOCKED"
            )
            status = system.consumer.status()
            assert status["failure_kind"] == "contract"
            assert "CONNECTING -> BLOCKED" in system.consumer.log()
            assert "tag_provider" in status["failure"], status["failure"]
            say(f"{number} of {size.times}: BLOCKED after {streams} streams: {status['failure']}")
            spooled = status["spooled_rows"]
            system.load(size.seconds)
            system.wait_spooled(spooled)
            system.zerobus.stop()
            change_columns(path, columns)
            system.zerobus.start()
            system.consumer.wait_for(
                lambda: system.consumer.status()["stream_state"] == "OPENED", "OPENED", 700
            )
            say(f"{number} of {size.times}: resumed")
        verdict = system.verdict()
        verdict.require(not verdict.lost, f"{verdict.lost} values were lost")
        verdict.require(not system.dead_letters(), "rows became dead letters")
        return verdict
