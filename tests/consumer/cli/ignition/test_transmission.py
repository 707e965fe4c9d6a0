"""`ignition transmission` against a fake gateway: in order, armed, nothing invented."""

from __future__ import annotations

import json
import signal
import threading

import click
import pytest
from support.certificates import Authority
from support.gateway import KEY, TX, serving_gateway
from support.gateway.server import READER_KEY
from support.gateway_command import HOST, Commands, configuration
from support.program import run, start
from support.services import PATIENCE, free_port
from support.terminal import in_terminal

NAME = "sparkplug-zerobus"
SECRET = ("--secret-provider", "vault", "--secret-name", "mqtt")


@pytest.fixture
def fake():
    with serving_gateway() as gateway:
        yield gateway


@pytest.fixture
def commands(tmp_path):
    return Commands(tmp_path)


def set_up(commands, fake, *more):
    done = commands.run("transmission", fake, "--yes", *more)
    assert done.error == ""
    return done


def kinds(fake):
    return [kind.removeprefix(f"{TX}/") for _, kind, _ in fake.state.written]


def test_all_four_are_written_with_the_transmitter_last_and_it_is_armed(commands, fake):
    done = set_up(commands, fake, "--server", "plant", *SECRET)
    assert kinds(fake) == ["history-store", "server-set", "server", "transmitter"]
    assert fake.state.config("history-store", NAME)["transmissionHistoryStoreType"] == "DISK_BACKED"
    assert fake.state.config("server-set", NAME)["primaryHostId"] == HOST
    server = fake.state.config("server", NAME)
    assert (server["url"], server["username"]) == ("ssl://broker.example:8883", "edge")
    assert server["password"] == {
        "type": "Referenced",
        "data": {"providerName": "vault", "secretName": "mqtt"},
    }
    transmitter = fake.state.config("transmitter", NAME)
    assert (transmitter["serverSet"], transmitter["historyStore"]) == (NAME, NAME)
    assert "armed: the log says historyFlushType=ASYNC" in done.stderr
    assert "must have an entry 'mqtt'" in done.stderr
    assert done.code == 0


def test_fields_that_are_not_set_stay_as_the_gateway_has_them(commands, fake):
    fake.state.put(f"{TX}/transmitter", NAME, tagPacingPeriod=250, groupId="Plant")
    set_up(commands, fake)
    transmitter = fake.state.config("transmitter", NAME)
    assert (transmitter["tagPacingPeriod"], transmitter["groupId"]) == (250, "Plant")


@pytest.mark.parametrize("tells_times", [True, False])
def test_a_second_run_writes_nothing(commands, fake, tells_times):
    fake.state.tells_times = tells_times
    set_up(commands, fake, "--server", "plant")
    fake.state.written.clear()
    done = set_up(commands, fake, "--server", "plant")
    assert fake.state.written == []
    assert (done.stdout, done.code) == ("", 0)
    assert "nothing to write" in done.stderr
    assert "armed: the log says" in done.stderr


def test_what_differs_is_shown_field_by_field_and_not_written_in_a_dry_run(commands, fake):
    fake.state.put(f"{TX}/server-set", NAME, primaryHostId="someone")
    done = commands.run("transmission", fake, "--dry-run", "--yes")
    assert f"change server-set '{NAME}'\n  primaryHostId: 'someone' -> '{HOST}'" in done.stdout
    assert f"create transmitter '{NAME}'" in done.stdout
    assert (fake.state.written, done.code) == ([], 0)


def test_nothing_is_written_where_nobody_can_be_asked(commands, fake):
    done = commands.run("transmission", fake)
    assert (fake.state.written, done.code) == ([], 2)


def test_a_disabled_store_is_enabled_and_the_transmitter_saved_after_it(commands, fake):
    fake.state.put(
        f"{TX}/history-store", NAME, enabled=False, transmissionHistoryStoreType="DISK_BACKED"
    )
    fake.state.put(f"{TX}/server-set", NAME, primaryHostId=HOST)
    fake.state.put(f"{TX}/transmitter", NAME, serverSet=NAME, historyStore=NAME)
    assert "NONE" in fake.state.log[-1]["message"]
    done = set_up(commands, fake)
    assert "enabled: False -> True" in done.stdout
    assert f"save again transmitter '{NAME}': its history store is written before it" in done.stdout
    assert kinds(fake) == ["history-store", "transmitter"]
    assert "ASYNC" in done.stderr


@pytest.mark.parametrize("tells_times", [True, False])
def test_a_run_that_was_cut_off_is_finished_by_the_next(commands, fake, tells_times):
    fake.state.tells_times = tells_times
    fake.state.put(f"{TX}/history-store", NAME, enabled=False)
    fake.state.put(f"{TX}/server-set", NAME, primaryHostId=HOST)
    fake.state.put(f"{TX}/transmitter", NAME, serverSet=NAME, historyStore=NAME)

    def cut(_method, kind, _items):
        if kind.endswith("transmitter"):
            return 500, {"problem": {"message": "the gateway went down"}}
        return None

    fake.state.before_write = cut
    done = commands.run("transmission", fake, "--yes")
    assert "the gateway went down" in done.error
    assert kinds(fake) == ["history-store"]
    fake.state.before_write = None
    again = set_up(commands, fake)
    assert f"save again transmitter '{NAME}'" in again.stdout
    assert kinds(fake) == ["history-store", "transmitter"]
    assert "ASYNC" in again.stderr


def test_a_transmitter_that_the_log_calls_unarmed_is_saved_again(commands, fake):
    set_up(commands, fake)
    fake.state.say("com.cirruslink.x", "Handling transition to online historyFlushType=NONE")
    done = set_up(commands, fake)
    assert "the log says historyFlushType=NONE" in done.stdout
    assert kinds(fake)[-1] == "transmitter"
    assert "armed: the log says historyFlushType=ASYNC" in done.stderr


@pytest.mark.parametrize(("said", "code"), [("ASYNC", 0), ("NONE", 1)])
def test_a_line_that_may_be_of_another_transmitter_is_no_proof_of_ours(commands, fake, said, code):
    set_up(commands, fake)
    fake.state.put(f"{TX}/transmitter", "Line 2", tagPath="Line 2")
    fake.state.say("com.cirruslink.x", f"Handling transition to online historyFlushType={said}")
    fake.state.written.clear()
    done = set_up(commands, fake)
    assert f"the log says historyFlushType={said}, and not of which" in done.stderr
    assert "armed:" not in done.stderr
    assert done.code == code
    assert fake.state.written == []


def test_it_may_not_be_seen_yet_whether_it_is_armed(commands, fake):
    fake.state.is_online = False
    done = set_up(commands, fake)
    assert "cannot be seen yet" in done.stderr
    assert done.code == 0


@pytest.mark.parametrize("tells_times", [True, False])
def test_a_line_from_before_it_was_saved_says_nothing(commands, fake, tells_times):
    fake.state.tells_times = tells_times
    set_up(commands, fake)
    fake.state.is_online = False
    assert "cannot be seen yet" in set_up(commands, fake, "--save-transmitter").stderr


def test_a_transmitter_that_stays_unarmed_fails_the_command(commands, fake):
    set_up(commands, fake)

    def disable_again(_method, kind, _items):
        if kind.endswith("transmitter"):
            fake.state.resources[f"{TX}/history-store"][NAME]["enabled"] = False

    fake.state.before_write = disable_again
    done = set_up(commands, fake, "--save-transmitter")
    assert "NOT armed" in done.stderr
    assert done.code == 1


def test_a_transmitter_can_be_saved_again_by_hand(commands, fake):
    set_up(commands, fake)
    fake.state.written.clear()
    done = set_up(commands, fake, "--save-transmitter")
    assert (kinds(fake), "asked for" in done.stdout) == (["transmitter"], True)


def test_a_field_that_the_gateway_lacks_is_reported_and_nothing_written(commands, fake):
    del fake.state.types[f"{TX}/server-set"]["primaryHostId"]
    done = commands.run("transmission", fake, "--yes")
    assert f"server-set '{NAME}' has no field primaryHostId" in done.error
    assert fake.state.written == []


def test_a_field_of_another_kind_is_reported_and_nothing_written(commands, fake):
    fake.state.types[f"{TX}/transmitter"]["tagPacingPeriod"] = "1 s"
    done = commands.run("transmission", fake, "--yes", "--pacing-ms", "500")
    assert "holds '1 s' in tagPacingPeriod, not a number" in done.error


@pytest.mark.parametrize("kind", ["memory", 3, None])
def test_a_store_whose_kind_is_not_understood_is_left_to_people(commands, fake, kind):
    fake.state.types[f"{TX}/history-store"]["transmissionHistoryStoreType"] = kind
    done = commands.run("transmission", fake, "--yes")
    assert "--set history-store.FIELD=VALUE" in done.error
    assert fake.state.written == []
    set_up(commands, fake, "--store-type", "keep")
    assert fake.state.config("history-store", NAME)["transmissionHistoryStoreType"] == kind


def test_other_fields_are_set_by_name(commands, fake):
    set_up(
        commands, fake, "--set", "transmitter.convertUdts=false", "--set", "transmitter.tagPath=A/B"
    )
    transmitter = fake.state.config("transmitter", NAME)
    assert (transmitter["convertUdts"], transmitter["tagPath"]) == (False, "A/B")


def change_set(fake, host):
    """Somebody writes the server set between our reading and our writing, once."""

    def somebody(_method, kind, _items):
        if kind.endswith("server-set"):
            fake.state.before_write = None
            fake.state.put(kind, NAME, primaryHostId=host, rpcClientEnabled=True)

    fake.state.before_write = somebody


def test_what_somebody_changes_in_between_is_read_again_and_kept(commands, fake):
    fake.state.put(f"{TX}/server-set", NAME, primaryHostId="first")
    change_set(fake, "second")
    done = set_up(commands, fake)
    assert "'first' ->" in done.stdout
    assert "'second' ->" in done.stdout
    assert "in between" in done.stderr
    assert fake.state.config("server-set", NAME) == {
        "primaryHostId": HOST,
        "rpcClientEnabled": True,
    }
    assert "ASYNC" in done.stderr


def test_an_old_signature_may_be_told_by_409(commands, fake):
    fake.state.put(f"{TX}/server-set", NAME, primaryHostId="first")

    def conflict(_method, kind, _items):
        if kind.endswith("server-set"):
            fake.state.before_write = None
            fake.state.put(kind, NAME, primaryHostId="second")
            return 409, {"success": False, "problem": {"message": "conflict"}}
        return None

    fake.state.before_write = conflict
    assert "'second' ->" in set_up(commands, fake).stdout


@pytest.mark.parametrize(
    "answer",
    [
        (200, {"success": False, "problem": {"message": "the module is \x1b[31mbusy"}}),
        (422, {"problem": {"fieldMessages": [{"fieldName": "url", "messages": ["busy"]}]}}),
        (500, {"problem": "busy"}),
    ],
)
def test_a_refusal_is_told_with_its_problem(commands, fake, answer):
    fake.state.before_write = lambda *_: answer
    done = commands.run("transmission", fake, "--yes")
    assert f"(HTTP {answer[0]})" in done.error
    assert "busy" in done.error


@pytest.mark.parametrize("said", [KEY, KEY.partition(":")[2]])
def test_a_gateway_that_repeats_the_key_does_not_get_it_printed(commands, fake, said):
    fake.state.before_write = lambda *_: (400, {"problem": f"the token {said} is odd"})
    done = commands.run("transmission", fake, "--yes")
    assert "the token *** is odd" in done.error
    assert said not in done.output + done.error


def test_a_password_in_an_address_of_the_gateway_is_not_shown(commands, fake):
    fake.state.put(f"{TX}/server", NAME, url="tcp://me:a-password@broker:1883")
    done = commands.run("transmission", fake, "--dry-run", "--server", "plant")
    assert "broker:1883" in done.stdout
    assert "a-password" not in done.output + done.error


def test_200_without_success_is_no_success(commands, fake):
    fake.state.before_write = lambda *_: (200, {})
    assert "did not take" in commands.run("transmission", fake, "--yes").error


def test_a_gateway_that_takes_a_value_and_holds_another_is_told_of(commands, fake):
    fake.state.before_write = lambda _, __, items: (
        items[0]["config"].pop("primaryHostId", None) and None
    )
    done = commands.run("transmission", fake, "--yes")
    assert "holds it otherwise: primaryHostId" in done.error


def test_a_wrong_key_is_told_without_the_key(commands, fake):
    commands.key = "sparkplug:wrong-and-secret"
    done = commands.run("transmission", fake, "--yes")
    assert "does not take the API key (HTTP 401)" in done.error
    assert "https alone" in done.error
    assert "wrong-and-secret" not in done.output + done.error


def test_a_key_that_may_not_write_is_told_of(commands, fake):
    commands.key = READER_KEY
    assert "forbids this (403)" in commands.run("transmission", fake, "--yes").error


def test_a_missing_key_is_told_of(commands, fake, monkeypatch):
    monkeypatch.delenv("IGNITION_API_TOKEN", raising=False)
    commands.key = None
    assert "wants an API key" in commands.run("transmission", fake, "--yes").error


def test_the_key_may_come_from_the_environment(commands, fake, monkeypatch):
    monkeypatch.setenv("IGNITION_API_TOKEN", KEY)
    commands.key = None
    assert set_up(commands, fake).code == 0


def test_a_key_that_no_header_holds_is_refused_without_being_shown(commands, fake):
    commands.key = "two\nlines"
    done = commands.run("transmission", fake)
    assert "characters that no key has" in done.error
    assert "lines" not in done.error


def test_a_gateway_may_want_https_for_keys(commands, fake):
    fake.wants_https = True
    assert "try the gateway's https address" in commands.run("transmission", fake).error


def test_it_works_over_https_with_an_authority_of_the_plant(commands, tmp_path):
    authority = Authority(tmp_path / "authority")
    with serving_gateway(authority.issue("gateway")) as fake:
        fake.wants_https = True
        untrusted = commands.run("transmission", fake)
        assert "--ca-file" in untrusted.error
        assert fake.asked == []
        assert set_up(commands, fake, "--ca-file", str(authority.ca_file)).code == 0


def test_nobody_may_be_there(commands):
    done = commands.run("transmission", f"http://127.0.0.1:{free_port()}")
    assert "nobody listens on" in done.error
    assert "--gateway" in done.error


def test_a_gateway_of_8_1_is_told_of_with_its_version(commands, fake):
    fake.state.version = "8.1.28"
    done = commands.run("transmission", fake)
    assert "is Ignition 8.1.28: its REST API begins with 8.3; use --script" in done.error


@pytest.mark.parametrize("version", ["2027.1.0", "8.4.0", "9.0.1"])
def test_a_later_gateway_is_no_older_one(commands, fake, version):
    fake.state.version = version
    assert set_up(commands, fake).code == 0


def test_a_missing_module_is_told_of(commands, fake):
    for kind in [each for each in fake.state.types if each.startswith(TX)]:
        del fake.state.types[kind]
    done = commands.run("transmission", fake)
    assert "is the module installed there" in done.error


def test_another_transmitter_of_the_same_tags_is_noticed(commands, fake):
    fake.state.put(f"{TX}/transmitter", "Old")
    assert "'Old' publishes the same tags" in set_up(commands, fake).stderr


def test_a_server_set_without_server_is_noticed(commands, fake):
    assert "no server is in the server set" in set_up(commands, fake).stderr
    assert "no server is in" not in set_up(commands, fake, "--server", "plant").stderr
    assert "no server is in" not in set_up(commands, fake).stderr


def test_a_run_that_is_killed_in_the_middle_is_finished_by_the_next(commands, fake, tmp_path):
    key = tmp_path / "ignition.key"
    key.write_text(KEY)
    arguments = ["ignition", "transmission", "--config", str(commands.config), "--yes"]
    arguments += ["--gateway", fake.url, "--key-file", str(key), "--wait", "0"]
    killed = threading.Event()
    with (tmp_path / "out").open("wb") as out:
        process = start(arguments, stdout=out, stderr=out)

        def kill(_method, kind, _items):
            if kind.endswith("server-set"):
                process.kill()
                process.wait(PATIENCE)
                killed.set()

        fake.state.before_write = kill
        assert killed.wait(PATIENCE)
    assert process.returncode == -signal.SIGKILL
    fake.state.before_write = None
    with fake.state.lock:  # until the write that was on its way is done
        assert kinds(fake) == ["history-store", "server-set"]
    assert set_up(commands, fake).code == 0
    assert kinds(fake) == ["history-store", "server-set", "transmitter"]
    assert "ASYNC" in fake.state.log[-1]["message"]


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 2)])
def test_it_asks_before_it_writes(commands, fake, answer, code):
    (commands.directory / "ignition.key").write_text(KEY)
    key = str(commands.directory / "ignition.key")
    arguments = ["ignition", "transmission", "--config", str(commands.config), "--wait", "0"]
    with in_terminal(*arguments, "--gateway", fake.url, "--key-file", key) as terminal:
        terminal.wait_for("[y/N]")
        assert fake.state.written == []
        terminal.press(answer + "\r")
        assert terminal.wait_end() == code
    assert bool(fake.state.written) is (answer == "y")


@pytest.mark.parametrize(("version", "code"), [("8.1.28", 1), ("8.3.7", 2)])
def test_exit_codes_are_those_of_the_program(commands, fake, tmp_path, version, code):
    fake.state.version = version
    key = tmp_path / "ignition.key"
    key.write_text(KEY)
    where = ["--gateway", fake.url, "--key-file", str(key)]
    done = run("ignition", "transmission", "--config", str(commands.config), *where)
    assert done.returncode == code
    assert KEY not in done.stdout + done.stderr


def test_a_passive_host_is_no_primary_host(commands, fake, tmp_path):
    configuration(tmp_path, mode="passive")
    assert "host.mode" in commands.run("transmission", fake).error


def test_files_hold_whole_configs_and_say_that_they_are_enabled(commands, fake, tmp_path):
    folder = tmp_path / "core"
    done = set_up(commands, fake, "--server", "plant", *SECRET, "--files", str(folder))
    assert fake.state.written == []
    server = folder / TX / "server" / NAME
    config = json.loads((server / "config.json").read_text())
    assert config.keys() == fake.state.types[f"{TX}/server"].keys()
    assert config["password"]["type"] == "Referenced"
    resource = json.loads((folder / TX / "history-store" / NAME / "resource.json").read_text())
    assert resource["attributes"]["enabled"] is True
    assert "scan/config" in done.stderr
    again = commands.run("transmission", fake, "--files", str(folder))
    assert "give --files an empty folder" in again.error


def test_a_dry_run_writes_no_files(commands, fake, tmp_path):
    done = commands.run("transmission", fake, "--files", str(tmp_path / "core"), "--dry-run")
    assert "create transmitter" in done.stdout
    assert "nothing was written: --dry-run" in done.stderr
    assert not (tmp_path / "core").exists()
    assert done.code == 0


def test_files_are_all_written_or_none(commands, fake, tmp_path):
    secret = {"type": "Embedded", "data": {"ciphertext": "x"}}
    fake.state.put(f"{TX}/server", NAME, password=secret)
    done = commands.run(
        "transmission", fake, "--server", "plant", "--files", str(tmp_path / "core")
    )
    assert "only its own gateway can read" in done.error
    assert not (tmp_path / "core").exists()


def test_files_keep_the_description_of_a_resource(commands, fake, tmp_path):
    fake.state.put(f"{TX}/server-set", NAME)["description"] = "of Line 1"
    set_up(commands, fake, "--files", str(tmp_path))
    resource = json.loads((tmp_path / TX / "server-set" / NAME / "resource.json").read_text())
    assert resource["description"] == "of Line 1"


@pytest.mark.parametrize("value", ["NaN", "1e999"])
def test_a_number_that_no_json_holds_is_not_taken(commands, fake, value):
    more = ("--set", f"transmitter.tagPacingPeriod={value}")
    done = commands.run("transmission", fake, "--yes", *more)
    assert "a number without an end" in done.error
    assert fake.state.written == []


@pytest.mark.parametrize("more", [[], ["--files"]])
def test_a_number_that_no_json_holds_is_not_written_back(commands, fake, tmp_path, more):
    fake.state.put(f"{TX}/transmitter", NAME, tagPacingPeriod=float("inf"))
    folder = [str(tmp_path / "core")] if more else []
    done = commands.run("transmission", fake, "--yes", *more, *folder)
    assert "a number without an end" in done.error
    assert fake.state.written == []
    assert not (tmp_path / "core").exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("groupId", '{"a": 1}'),
        ("groupId", "[1]"),
        ("tagPacingPeriod", "true"),
    ],
)
def test_a_value_of_another_kind_is_not_written(commands, fake, field, value):
    done = commands.run("transmission", fake, "--yes", "--set", f"transmitter.{field}={value}")
    assert f"in {field}, not a" in done.error
    assert fake.state.written == []


@pytest.mark.parametrize(
    "more",
    [
        ["--secret-provider", "vault"],
        [*SECRET],
        ["--server", "nowhere"],
        ["--set", "transmitter.x"],
        ["--set", "server.password=x"],
        ["--set", "device.x=1"],
    ],
)
def test_a_wrong_command_line_is_refused(commands, fake, more):
    with pytest.raises(click.UsageError):
        commands.run("transmission", fake, *more)
    assert fake.asked == []


@pytest.mark.parametrize(
    "url",
    ["gateway:8088", "ftp://x", "http://", "http://user:pw@x", "http://x/web", "http://x:99999"],
)
def test_a_wrong_address_is_refused(commands, url):
    error = commands.run("transmission", url).error
    assert "--gateway: " in error
    assert "pw" not in error
