"""Simulated gateways against a real Mosquitto, their ledger against the row-by-row oracle."""

from __future__ import annotations

import contextlib
import itertools
import random
import ssl
from collections import defaultdict

import pytest
from support import peer
from support.certificates import Authority
from support.mqtt_listener import listening
from support.peer import PeerMetric, PeerType
from support.services import (
    PATIENCE,
    PROMPT,
    free_port,
    mosquitto,
    password_line,
    wait_until,
)

from consumer.errors import ConfigurationError
from consumer.simulator import (
    CONVEYOR_INSTANCES,
    EdgeNodeOptions,
    Gateways,
    MqttTarget,
    Published,
    node,
)
from consumer.simulator.tags import NODE, PRESS, SIMULATOR, TagProgram, tags
from sparkplug.host.commands import rebirth_command
from sparkplug.state_message import State, encode, state_topic

HOST = state_topic("historian")


@pytest.fixture
def server(tmp_path):
    with mosquitto(tmp_path) as running:
        yield running


@contextlib.contextmanager
def running(fleet, *, online=True):
    fleet.start()
    try:
        if online:
            assert fleet.wait_online(PATIENCE)
        yield fleet
    finally:
        assert fleet.stop(PATIENCE)


def values_of(oracle):
    """The rows of values: deaths give rows of their own."""
    return [row for row in oracle.rows if row["message_type"] != "NDEATH"]


def ids(oracle):
    return {row["event_id"] for row in values_of(oracle)}


def assert_stale(rows, count):
    """These are the rows of a death of so many tags."""
    assert len({row["tag_path"] for row in rows}) == len(rows) == count
    for row in rows:
        assert (row["quality"], row["quality_code"], row["numeric_value"]) == ("STALE", 500, None)


def values_per_tag(oracle):
    result = defaultdict(list)
    for row in values_of(oracle):
        result[row["tag_path"]].append(row)
    return result


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"options": EdgeNodeOptions(aliases=False)},
        {"options": EdgeNodeOptions(datatype_in_data=True), "edge_nodes": 2},
        {"options": EdgeNodeOptions(instances=CONVEYOR_INSTANCES)},
        {"options": EdgeNodeOptions(instances=CONVEYOR_INSTANCES, aliases=False)},
    ],
    ids=["aliases", "names", "datatypes and two edge nodes", "UDTs", "UDTs by name"],
)
def test_the_ledger_knows_the_event_id_of_every_row_that_comes_of_what_was_published(
    server, options
):
    with listening(server) as listener:
        fleet = Gateways(MqttTarget(server.url), 2, 1500, 7, **options, ledger=Published())
        with running(fleet):
            wait_until(lambda: fleet.published > 3000, what="3000 values")
        listener.wait_for("NDEATH", len(fleet.gateways))
        oracle = listener.decoded()

    assert not oracle.counts
    ledger = fleet.ledger
    assert len(values_of(oracle)) == ledger.published == fleet.published
    # What changed before the connection is both in a birth and in the history after it.
    assert len(ids(oracle)) == ledger.distinct
    assert ids(oracle) == ledger.event_ids | ledger.births
    assert not ledger.missing(ids(oracle))
    tags = len(values_per_tag(oracle))
    assert len(ledger.births) == tags
    assert_stale([row for row in oracle.rows if row["message_type"] == "NDEATH"], tags)
    assert {row["data_type"] for row in oracle.rows} == {
        *("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64"),
        *("Float", "Double", "Boolean", "String", "Text", "UUID", "DateTime"),
    }
    assert {row["quality"] for row in values_of(oracle)} == {"GOOD", "BAD", "STALE"}


def test_two_values_of_a_tag_never_have_the_same_time(server):
    with listening(server) as listener:
        fleet = Gateways(MqttTarget(server.url), 1, 5000, 3, ledger=Published())
        with running(fleet):
            wait_until(lambda: fleet.published > 5000, what="5000 values")
        listener.wait_for("NDEATH")
        per_tag = values_per_tag(listener.decoded())

    assert len(per_tag) > 80
    for rows in per_tag.values():
        live = [row["event_time"] for row in rows if not row["is_historical"]]
        assert all(earlier < later for earlier, later in itertools.pairwise(live))


def test_a_rebirth_repeats_the_same_observations_and_bdseq(server):
    with listening(server) as listener:
        fleet = Gateways(MqttTarget(server.url), 1, 0, 1, ledger=Published())
        with running(fleet):
            fleet.pause()
            wait_until(lambda: fleet.quiet, what="all of the births")
            published, births = fleet.published, fleet.ledger.births
            listener.publish(*rebirth_command("Plant 1", "Line A", 1), qos=0)
            listener.wait_for("NBIRTH", 2)
            wait_until(lambda: fleet.published == 2 * published, what="the births again")
        listener.wait_for("NDEATH")
        oracle = listener.decoded()

    assert fleet.rebirths == 1
    assert fleet.ledger.event_ids == set()
    assert fleet.ledger.births == births == ids(oracle)
    assert fleet.ledger.distinct == len(values_of(oracle)) == oracle.repeated == published
    bd_seqs = [
        peer.NDeath.decode(each.payload).bd_seq_metric.value
        for each in listener.arrivals
        if "/NBIRTH/" in each.topic  # its first metric is bdSeq
    ]
    assert bd_seqs == [0, 0]


def test_births_show_the_tags_an_ignition_gateway_has(server):
    with listening(server) as listener:
        with running(Gateways(MqttTarget(server.url), 1, 0, 1, ledger=Published())):
            listener.wait_for("DBIRTH", 2)
        names = {
            (row["device_id"], row["metric_name"]): row["data_type"]
            for row in listener.decoded().rows
        }
    assert names[None, "Node Info/Transmission Version"] == "String"
    assert names["Simulator", "Ramp/Ramp0"] == "Double"
    assert names["Simulator", "Sine/Sine3"] == "Double"
    assert names["Simulator", "Realistic/Realistic2"] == "Double"
    assert names["Simulator", "Writeable/WriteableBoolean1"] == "Boolean"
    assert names["Press 1", "Nameplate/Commissioned"] == "DateTime"


def test_stopping_publishes_ndeath_with_the_bdseq_of_the_birth_and_no_will(server):
    with listening(server) as listener:
        with running(Gateways(MqttTarget(server.url), 2, 100, 1, ledger=Published())):
            pass
        listener.wait_for("NDEATH", 2)
        wait_until(lambda: "disconnected" in server.log(), what="the DISCONNECT")
        deaths = [each for each in listener.arrivals if "/NDEATH/" in each.topic]

    assert {each.topic for each in deaths} == {
        "spBv1.0/Plant 1/NDEATH/Line A",
        "spBv1.0/Plant 2/NDEATH/Line A",
    }
    assert len(deaths) == 2
    for each in deaths:
        assert peer.NDeath.decode(each.payload).bd_seq_metric.value == 0


def test_a_broken_connection_gives_the_will_and_births_with_the_next_bdseq(server):
    with listening(server) as listener:
        fleet = Gateways(MqttTarget(server.url), 1, 500, 1, ledger=Published())
        with running(fleet):
            listener.wait_for("DDATA", 2)
            first = fleet.ledger.births
            fleet.break_connections()
            listener.wait_for("NBIRTH", 2)
        listener.wait_for("NDEATH", 2)
        verbs = [each.topic.split("/")[2] for each in listener.arrivals]
        oracle = listener.decoded()
        births = [each for each in listener.arrivals if "/NBIRTH/" in each.topic]

    bd_seqs = [peer.NBirth.decode(each.payload).metrics[0].value for each in births]
    assert bd_seqs == [0, 1]
    assert verbs.index("NDEATH") < verbs.index("NBIRTH", 1)
    assert fleet.connections == 2
    ledger = fleet.ledger
    assert len(first) > 40
    assert first < ledger.births
    assert ids(oracle) == ledger.event_ids | ledger.births
    assert not ledger.missing(ids(oracle))
    # Each birth value after the death is a row, the same observation or not.
    assert len(values_of(oracle)) == ledger.published


def test_a_primary_host_that_goes_offline_loses_nothing(server):
    with listening(server) as listener:
        fleet = Gateways(
            MqttTarget(server.url),
            2,
            500,
            5,
            options=EdgeNodeOptions(primary_host_id="historian"),
            ledger=Published(),
        )
        with running(fleet, online=False):
            wait_until(lambda: fleet.connected == 2, what="connections")
            assert fleet.online == 0
            listener.publish(HOST, encode(State(True, 1_000)), retain=True)
            assert fleet.wait_online(PATIENCE)
            listener.wait_for("DDATA", 2)
            listener.publish(HOST, encode(State(False, 2_000)), retain=True)
            listener.wait_for("NDEATH", 2)
            wait_until(lambda: fleet.connections == 4 and fleet.connected == 2, what="waiting")
            assert fleet.online == 0
            first, published = fleet.ledger.births, fleet.published
            wait_until(lambda: fleet.stored > 200, what="stored values")
            assert fleet.published == published
            listener.publish(HOST, encode(State(True, 3_000)), retain=True)
            assert fleet.wait_online(PATIENCE)
            wait_until(lambda: fleet.stored == 0, what="an empty store")
        listener.wait_for("NDEATH", 4)
        oracle = listener.decoded()

    assert sum(row["is_historical"] for row in oracle.rows) > 200
    assert first < fleet.ledger.births
    assert ids(oracle) == fleet.ledger.event_ids | fleet.ledger.births
    assert not fleet.ledger.missing(ids(oracle))
    assert len(values_of(oracle)) == fleet.ledger.published
    assert fleet.dropped == 0
    assert not oracle.counts


def test_a_server_that_crashes_and_comes_back_loses_nothing_with_a_rolling_history(server):
    with listening(server) as listener:
        # The fleet waits for the host, so that the listener is there before the births.
        fleet = Gateways(
            MqttTarget(server.url),
            1,
            500,
            5,
            options=EdgeNodeOptions(primary_host_id="historian", rolling_history_ms=60_000),
            ledger=Published(),
        )
        with running(fleet, online=False):
            listener.publish(HOST, encode(State(True, 1_000)), retain=True)
            assert fleet.wait_online(PATIENCE)
            wait_until(lambda: fleet.published > 500, what="500 values")
            server.kill()
            wait_until(lambda: fleet.connected == 0, what="the loss")
            server.restart()
            wait_until(lambda: listener.subscriptions == 2, what="the listener")
            listener.publish(HOST, encode(State(True, 2_000)), retain=True)
            assert fleet.wait_online(PATIENCE)
            wait_until(lambda: fleet.stored == 0, what="an empty store")
        listener.wait_for("NDEATH")
        oracle = listener.decoded()

    assert ids(oracle) == fleet.ledger.event_ids | fleet.ledger.births
    assert not fleet.ledger.missing(ids(oracle))
    assert fleet.dropped == 0


def test_a_write_is_answered_and_in_the_ledger(server):
    with listening(server) as listener:
        fleet = Gateways(MqttTarget(server.url), 1, 0, 1, ledger=Published())
        with running(fleet):
            wait_until(lambda: fleet.published, what="births")
            command = peer.DCmd(
                timestamp=1,
                metrics=(
                    PeerMetric(
                        timestamp=1,
                        name="Writeable/WriteableString1",
                        datatype=PeerType.STRING,
                        value="geschrieben",
                    ),
                ),
            )
            listener.publish("spBv1.0/Plant 1/DCMD/Line A/Simulator", command.encode(), qos=0)
            listener.wait_for("DDATA")
        listener.wait_for("NDEATH")
        oracle = listener.decoded()

    assert [row["string_value"] for row in oracle.rows if row["message_type"] == "DDATA"] == [
        "geschrieben"
    ]
    assert len(fleet.ledger.event_ids) == 1
    assert ids(oracle) == fleet.ledger.event_ids | fleet.ledger.births


def test_the_ledger_misses_what_did_not_land(server):
    with listening(server) as listener:
        fleet = Gateways(MqttTarget(server.url), 1, 500, 1, ledger=Published())
        with running(fleet):
            listener.wait_for("DDATA", 2)
    ledger = fleet.ledger
    births, data = ledger.births, ledger.event_ids
    assert ledger.missing(()) == data | births
    assert ledger.missing(data) == births - data
    assert ledger.missing(data | births) == set()
    lost = next(iter(data))
    assert ledger.missing((data | births) - {lost}) == {lost}


def test_a_pause_publishes_nothing_once_it_is_quiet_and_keeps_the_connection(server):
    with listening(server) as listener:
        fleet = Gateways(MqttTarget(server.url), 1, 1000, 1, ledger=Published())
        with running(fleet):
            wait_until(lambda: fleet.published > 500, what="500 values")
            assert not fleet.quiet
            fleet.pause()
            wait_until(lambda: fleet.quiet, what="quiet")
            published = fleet.published
            assert fleet.ledger.published == published
            wait_until(lambda: len(listener.decoded().rows) == published, what="all of them")
            assert not changes_within(fleet, 0.3)
            assert fleet.online == 1
            assert fleet.quiet
            fleet.resume()
            assert not fleet.quiet
            assert changes_within(fleet, PATIENCE)


def test_gateways_without_a_server_are_quiet_once_their_changes_are_stored():
    fleet = Gateways(MqttTarget(f"mqtt://127.0.0.1:{free_port()}"), 2, 1000, 1, ledger=Published())
    with running(fleet, online=False):
        wait_until(lambda: fleet.stored > 100, what="stored values")
        fleet.pause()
        wait_until(lambda: fleet.quiet, what="quiet")
        stored = fleet.stored
        assert not changes_within(fleet, 0.3)
        assert (fleet.published, fleet.stored) == (0, stored)


def changes_within(fleet, seconds):
    before = fleet.published
    try:
        wait_until(lambda: fleet.published > before, timeout=seconds)
    except AssertionError:
        return False
    return True


def test_without_server_changes_are_stored_and_stopping_waits_for_no_attempt(monkeypatch):
    monkeypatch.setattr(node, "_BACKOFF_FIRST", 600.0)
    monkeypatch.setattr(node, "_BACKOFF_MAX", 600.0)
    fleet = Gateways(
        MqttTarget(f"mqtt://127.0.0.1:{free_port()}"),
        1,
        1000,
        1,
        options=EdgeNodeOptions(store_capacity=100),
        ledger=Published(),
    )
    fleet.start()
    wait_until(lambda: fleet.dropped > 0, what="a full store")
    assert (fleet.published, fleet.ledger.published, fleet.stored) == (0, 0, 100)
    assert fleet.stop(PROMPT)


def test_user_name_and_password_are_used(tmp_path):
    passwords = tmp_path / "passwords"
    passwords.write_text(password_line("gateway", "geheim"))
    config = f"allow_anonymous false\npassword_file {passwords}"
    with mosquitto(tmp_path, config) as server:
        with running(
            Gateways(MqttTarget(server.url, "gateway", "geheim"), 1, 0, 1, ledger=Published())
        ):
            pass
        refused = Gateways(MqttTarget(server.url, "gateway", "falsch"), 1, 0, 1, ledger=Published())
        with running(refused, online=False):
            wait_until(lambda: "not authorised" in server.log(), what="a refusal")
            assert refused.connected == refused.online == 0


def test_an_encrypted_connection_needs_a_trusted_server(tmp_path):
    authority = Authority(tmp_path / "authority")
    certificate = authority.issue("server")
    config = (
        f"listener {{port}} 127.0.0.1\n"
        f"certfile {certificate.cert_file}\nkeyfile {certificate.key_file}\n"
    )
    with mosquitto(tmp_path, config) as server:
        url = server.url.replace("mqtt:", "mqtts:")
        trusting = ssl.create_default_context(cafile=str(authority.ca_file))
        fleet = Gateways(MqttTarget(url, tls=trusting), 1, 1000, 1, ledger=Published())
        with running(fleet):
            wait_until(lambda: fleet.published > 500, what="500 values")
        doubting = Gateways(MqttTarget(url), 1, 0, 1, ledger=Published())
        with running(doubting, online=False):
            wait_until(lambda: "unknown ca" in server.log(), what="a refused certificate")
            assert doubting.connected == doubting.published == 0


def test_one_gateway_of_a_fleet_can_run_alone(server):
    fleet = Gateways(MqttTarget(server.url), 3, 0, 1, gateway_index=2)
    with running(fleet):
        wait_until(lambda: fleet.published, what="births")
    assert fleet.gateways == ["Plant 2/Line A"]
    with pytest.raises(RuntimeError):
        _ = fleet.ledger


@pytest.mark.parametrize(
    "arguments",
    [
        {"target": MqttTarget("http://127.0.0.1:1")},
        {"target": MqttTarget("mqtt://")},
        {"target": MqttTarget("mqtt://host:port")},
        {"target": MqttTarget("mqtt://user:secret@host")},
        {"gateways": 0},
        {"rate": -1},
        {"rate": float("inf")},
        {"gateway_index": 4},
        {"edge_nodes": 27},
        {"options": EdgeNodeOptions(primary_host_id="a/b")},
    ],
)
def test_arguments_out_of_their_bounds_are_configuration_errors(arguments):
    with pytest.raises(ConfigurationError) as error:
        Gateways(**{"target": MqttTarget("mqtt://127.0.0.1:1883"), "gateways": 3} | arguments)
    assert "secret" not in str(error.value)


def series(seed, sizes, start_ms=1_000):
    program = TagProgram(
        [*tags(None, NODE, start_ms), *tags("S", SIMULATOR, start_ms), *tags("P", PRESS, start_ms)],
        random.Random(seed),
    )
    result = defaultdict(list)
    for number, size in enumerate(sizes):
        for device, updates in program.changes(size, start_ms + 7 * number).items():
            for update in updates:
                value = repr(update.value)  # NaN is equal to itself then
                result[device, update.name].append((value, update.quality))
    return dict(result)


def test_equal_seeds_give_equal_changes_however_they_are_cut_into_messages():
    one = series("seed", [1] * 2000)
    assert one == series("seed", [50] * 40, start_ms=9_000_000)
    assert one != series("other", [1] * 2000)


def test_data_comes_by_exception_every_change_differs_from_the_one_before():
    for changes in series(1, [50] * 200).values():
        assert all(one != next_one for one, next_one in itertools.pairwise(changes))


def test_a_bad_quality_comes_now_and_then_and_goes_again():
    runs = series(1, [50] * 200)
    qualities = [quality for changes in runs.values() for _, quality in changes]
    assert {None, -2147483132, -2147483126} == set(qualities)
    assert 0 < sum(each is not None for each in qualities) < len(qualities) / 100
    for changes in runs.values():
        bad = [quality is not None for _, quality in changes]
        assert not any(one and following for one, following in itertools.pairwise(bad))
