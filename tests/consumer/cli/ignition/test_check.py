"""`ignition check` against a fake gateway: each trap is named, with its mend and an exit code."""

from __future__ import annotations

import json

import pytest
from support.gateway import TX, serving_gateway
from support.gateway.defaults import ENGINE
from support.gateway_command import HOST, Commands, configuration

NAME = "ours"


@pytest.fixture
def fake():
    with serving_gateway() as gateway:
        state = gateway.state
        state.put(
            f"{TX}/history-store",
            NAME,
            transmissionHistoryStoreType="DISK_BACKED",
            rollingHistoryBufferEnabled=True,
        )
        state.put(f"{TX}/server-set", NAME, primaryHostId=HOST)
        state.put(f"{TX}/server", NAME, serverSet=NAME)
        state.put(f"{TX}/transmitter", NAME, serverSet=NAME, historyStore=NAME)
        yield gateway


@pytest.fixture
def commands(tmp_path):
    return Commands(tmp_path)


def checked(commands, fake):
    """Exit code, and (status, text with mend) of each finding."""
    done = commands.run("check", fake, "--json")
    report = json.loads(done.stdout)
    assert report["ok"] is (done.code == 0)
    found = [
        (each["status"], f"{each['part']} {each['text']} {each['mend']}")
        for each in report["findings"]
    ]
    return done.code, found


def has(found, status, text):
    return any(each == status and text in said for each, said in found)


def test_a_gateway_that_keeps_data_is_good(commands, fake):
    code, found = checked(commands, fake)
    assert code == 0
    assert has(found, "ok", "is armed: historyFlushType=ASYNC")
    assert not [said for status, said in found if status in {"warn", "FAIL"}]
    assert fake.state.written == []
    assert {method for method, *_ in fake.asked} == {"GET"}


def save(fake, **fields):
    fake.state.put(f"{TX}/transmitter", NAME, **fields)


def store(fake, *, enabled=True, **fields):
    fake.state.put(f"{TX}/history-store", NAME, enabled=enabled, **fields)
    save(fake)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda fake: store(fake, enabled=False), "history store 'ours' is disabled"),
        (lambda fake: save(fake, historyStore=None), "names no history store"),
        (lambda fake: save(fake, historyStore="gone"), "'gone' that is absent"),
        (
            lambda fake: fake.state.put(f"{TX}/history-store", NAME),
            "is not armed: its history store was changed after it",
        ),
        (
            lambda fake: fake.state.say("com.cirruslink.x", "historyFlushType=NONE"),
            "is not armed: the log says historyFlushType=NONE",
        ),
        (
            lambda fake: fake.state.put(f"{TX}/server-set", NAME, primaryHostId=""),
            "has no primary host id",
        ),
        (
            lambda fake: fake.state.put(f"{TX}/server-set", NAME, primaryHostId="IamHost"),
            f"waits for the host 'IamHost', and ours is '{HOST}'",
        ),
        (lambda fake: save(fake, serverSet="gone"), "names a server set 'gone' that is absent"),
        (
            lambda fake: fake.state.put(f"{TX}/server", NAME, enabled=False, serverSet=NAME),
            "no server is enabled",
        ),
        (
            lambda fake: fake.state.put(
                f"{TX}/server", NAME, serverSet=NAME, mqttServerConnectionEnabled=False
            ),
            "no server is enabled",
        ),
        (
            lambda fake: save(fake, convertUdts=False, publishUdtDefinitions=False),
            "instances of UDTs without their definitions",
        ),
        (lambda fake: save(fake, compressionTypeWrapper="LZ4"), "not known here: LZ4"),
        (
            lambda fake: fake.state.put(
                f"{TX}/server", NAME, serverSet=NAME, dataFormatTypeWrapper="Sparkplug_B_v1_0_JSON"
            ),
            "not Protobuf",
        ),
        (
            lambda fake: fake.state.resources[f"{TX}/transmitter"].clear(),
            "no transmitter is enabled",
        ),
        (lambda fake: fake.state.extra_info.update(trialExpired=True), "trialExpired: True"),
        (lambda fake: fake.state.extra_info.update(trialState="Expired"), "trialState: Expired"),
        (lambda fake: fake.state.types.pop(f"{TX}/history-store"), "is the module installed"),
    ],
)
def test_what_loses_data_fails(commands, fake, change, text):
    change(fake)
    code, found = checked(commands, fake)
    assert code == 1
    assert has(found, "FAIL", text), found


@pytest.mark.parametrize(
    ("change", "status", "text"),
    [
        (
            lambda fake: store(fake, transmissionHistoryStoreType="IN_MEMORY"),
            "warn",
            "is in memory",
        ),
        (lambda fake: store(fake, transmissionHistoryStoreType="?"), "note", "cannot be told"),
        (lambda fake: store(fake, rollingHistoryBufferEnabled=False), "warn", "no rolling history"),
        (lambda fake: fake.state.log.clear(), "warn", "cannot be seen yet"),
        (lambda fake: save(fake, tagPacingPeriod=60_000), "warn", "60000 ms"),
        (lambda fake: save(fake, enableStoreForwardByDefault=False), "warn", "only of tags"),
        (lambda fake: save(fake, aliasedTags=True), "note", "aliases"),
        (lambda fake: save(fake, compressionTypeWrapper="GZIP"), "note", "GZIP"),
        (lambda fake: save(fake, blockCommands=True), "note", "blocks commands"),
        (save, "note", "flattens UDTs"),
        (lambda fake: save(fake, convertUdts=False), "note", "optimizeUdts"),
        (save, "note", "subscribeToLegacyStateTopic"),
        (save, "note", "blockNodeCommands, blockDeviceCommands"),
        (save, "note", "enableBdSeqChecking"),
        (save, "note", "does not tell here whether a trial runs"),
        (lambda fake: fake.state.extra_info.update(trial="1:59:00"), "warn", "a trial runs out"),
    ],
)
def test_what_only_surprises_does_not_fail(commands, fake, change, status, text):
    change(fake)
    code, found = checked(commands, fake)
    assert code == 0
    assert has(found, status, text), found


def test_of_several_transmitters_a_line_does_not_say_whose_it_is(commands, fake):
    fake.state.put(f"{TX}/transmitter", "Second", serverSet=NAME, historyStore=NAME, tagPath="B")
    _, found = checked(commands, fake)
    assert has(found, "note", "not of which transmitter")


def test_a_store_that_was_changed_after_one_of_several_transmitters_fails(commands, fake):
    fake.state.put(f"{TX}/transmitter", "Second", serverSet=NAME, historyStore=NAME, tagPath="B")
    fake.state.put(f"{TX}/history-store", NAME)
    code, found = checked(commands, fake)
    assert has(found, "FAIL", "history store was changed after it"), found
    assert code == 1


def test_a_gateway_without_engine_is_asked_nothing_of_it(commands, fake):
    del fake.state.types[f"{ENGINE}/general"]
    code, found = checked(commands, fake)
    assert code == 0
    assert not [said for _, said in found if said.startswith("engine")]


def test_a_gateway_of_8_1_says_what_cannot_be_read(commands, fake):
    fake.state.version = "8.1.28"
    code, found = checked(commands, fake)
    assert code == 1
    assert has(found, "FAIL", "is Ignition 8.1.28")
    assert has(found, "FAIL", "cannot be read there")


def test_a_wrong_key_fails(commands, fake):
    commands.key = "wrong"
    code, found = checked(commands, fake)
    assert code == 1
    assert has(found, "FAIL", "does not take the API key")


def test_what_a_gateway_calls_itself_steers_no_terminal(commands, fake):
    fake.state.extra_info["name"] = "\x1b[2Jgone\u202e"
    done = commands.run("check", fake)
    assert "\x1b" not in done.output
    assert "\\x1b[2Jgone\\u202e" in done.stderr


def test_a_passive_host_is_warned_of(commands, fake, tmp_path):
    configuration(tmp_path, mode="passive")
    assert has(checked(commands, fake)[1], "warn", "host.mode is passive")


def many_and_long(fake):
    fake.state.extra_info = {"name": "N" * 100_000}
    fake.state.put(f"{TX}/server-set", "sparkplug-zerobus", primaryHostId="P" * 100_000)
    one = fake.state.put(f"{TX}/transmitter", "T" * 100_000)
    for number in range(2000):
        fake.state.resources[f"{TX}/transmitter"][str(number)] = one | {"name": str(number)}


@pytest.mark.parametrize("command", ["check", "transmission"])
def test_a_gateway_does_not_flood_the_terminal(commands, fake, command):
    many_and_long(fake)
    done = commands.run(command, fake)
    printed = done.stdout + done.stderr
    assert len(printed.splitlines()) <= 1001
    assert max(map(len, printed.splitlines())) < 2000


def test_what_is_not_shown_any_more_is_no_success(commands, fake):
    many_and_long(fake)
    done = commands.run("check", fake)
    assert "more than 1000 findings" in done.stderr
    assert done.code == 1
