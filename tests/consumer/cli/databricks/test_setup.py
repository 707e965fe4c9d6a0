"""`databricks setup`: the real SDK against a fake workspace."""

import json
import socket
import stat

import pytest
from support.databricks_command import EVENTS, METADATA, TABLE
from support.fake_workspace import SECRET, TOKEN, WAREHOUSE, Refusal, table_of

from consumer.config import loading
from consumer.rows.tables import SPARKPLUG_EVENTS, TAG_EVENTS, TAG_METADATA

VIEWS = (
    f"{TABLE}_deduplicated",
    f"{TABLE}_latest",
    f"{EVENTS}_latest",
    f"{METADATA}_current",
    f"{TABLE}_with_unit",
)


def states(printed):
    """The first word of each step's line, by what the step is."""
    lines = [line.split(maxsplit=1) for line in printed.stderr.splitlines()]
    known = {"there", "would", "done", "FAILED", "left"}
    return {line[1].partition(":")[0]: line[0] for line in lines if line and line[0] in known}


def changes(plant):
    return [(method, path) for method, path, _ in plant.workspace.requests if method != "GET"]


def only_principal(plant):
    [principal] = plant.workspace.principals.values()
    return principal


def test_without_yes_everything_is_shown_and_nothing_is_changed(plant):
    printed = plant.run("setup", "--secret-file", str(plant.directory / "secret"))
    assert printed.returncode == 0, printed.stderr
    assert changes(plant) == []
    assert not (plant.directory / "secret").exists()
    assert set(states(printed).values()) == {"would"}
    for text in (
        "catalogs.create('plant')",
        f"CREATE TABLE IF NOT EXISTS {TABLE} (",
        f"CREATE OR REPLACE VIEW {TABLE}_deduplicated AS",
        "service_principals.create(display_name='sparkplug-zerobus')",
        "{principal: <its application id>, add: MODIFY, SELECT}",
    ):
        assert text in printed.stderr
    assert "nothing was changed: --yes does it" in printed.stderr


def test_an_empty_workspace_gets_everything(plant):
    secret = plant.directory / "secret"
    printed = plant.run("setup", "--yes", "--secret-file", str(secret))
    assert printed.returncode == 0, printed.stderr
    assert set(states(printed).values()) == {"done"}
    workspace = plant.workspace
    for name, definition in (
        (TABLE, TAG_EVENTS),
        (EVENTS, SPARKPLUG_EVENTS),
        (METADATA, TAG_METADATA),
    ):
        made = [(c.name, c.type_text.upper(), c.nullable) for c in workspace.tables[name].columns]
        assert made == [(c.name, c.delta_type, c.nullable) for c in definition.columns]
    assert set(VIEWS) <= set(workspace.tables)
    principal = only_principal(plant).application_id
    assert workspace.grants == {
        ("catalog", "plant"): {principal: {"USE_CATALOG": None}},
        ("schema", "plant.scada"): {principal: {"USE_SCHEMA": None}},
        **{
            ("table", name): {principal: {"MODIFY": None, "SELECT": None}}
            for name in (TABLE, EVENTS, METADATA)
        },
    }
    assert f"now write zerobus.client_id: {principal}" in printed.stderr


def test_the_secret_is_in_a_file_of_mode_600_that_the_configuration_can_read(plant):
    secret = plant.directory / "secret"
    printed = plant.run("setup", "--yes", "--secret-file", str(secret))
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert SECRET not in printed.stdout + printed.stderr
    plant.configure(client_secret_file=secret)
    plant.config.write_text(plant.config.read_text().replace("  client_secret: ${NOT_SET}\n", ""))
    plant.config.write_text(plant.config.read_text().replace(", password_file: /nowhere", ""))
    read = loading.load(plant.config, {}).zerobus.client_secret
    assert read.get_secret_value() == SECRET


def test_run_again_everything_is_there_and_nothing_is_changed(plant):
    arguments = ("setup", "--yes", "--secret-file", str(plant.directory / "secret"))
    plant.run(*arguments)
    plant.workspace.requests.clear()
    printed = plant.run(*arguments)
    assert printed.returncode == 0, printed.stderr
    assert set(states(printed).values()) == {"there"}
    assert changes(plant) == []


def test_what_is_missing_is_made_beside_what_is_there(plant):
    plant.run("setup", "--yes")
    del plant.workspace.tables[METADATA], plant.workspace.tables[f"{TABLE}_latest"]
    plant.workspace.grants["table", TABLE] = {}
    printed = plant.run("setup", "--yes")
    done = [what for what, state in states(printed).items() if state == "done"]
    assert done == [
        f"table {METADATA}",
        f"view {TABLE}_latest",
        f"MODIFY, SELECT on table {TABLE}",
    ]


def test_a_view_that_says_something_else_is_replaced(plant):
    plant.run("setup", "--yes")
    plant.workspace.tables[f"{TABLE}_latest"].view_definition = "SELECT 1"
    assert states(plant.run("setup"))[f"view {TABLE}_latest"] == "would"


def test_a_grant_that_the_table_inherits_is_not_enough(plant):
    plant.run("setup", "--yes")
    principal = only_principal(plant).application_id
    inherited = {"MODIFY": "plant.scada", "SELECT": None}
    plant.workspace.grants["table", TABLE] = {principal: inherited}
    printed = plant.run("setup")
    assert f"{{principal: {principal}, add: MODIFY}}" in printed.stderr


def test_the_principal_of_the_configuration_is_taken_by_its_application_id(plant):
    plant.workspace.add_principal("somebody else")
    there = plant.workspace.add_principal("of the plant")
    plant.configure(client_id=there.application_id)
    printed = plant.run("setup", "--yes")
    assert printed.returncode == 0, printed.stderr
    assert len(plant.workspace.principals) == 2
    assert plant.workspace.grants["table", TABLE].keys() == {there.application_id}


def test_an_application_id_that_the_workspace_does_not_have_is_a_mistake(plant):
    plant.configure(client_id="11111111-2222-3333-4444-555555555555")
    printed = plant.run("setup", "--yes")
    assert printed.returncode == 1
    assert "correct zerobus.client_id" in printed.stderr
    assert plant.workspace.principals == {}


def test_two_principals_of_one_name_are_not_chosen_from(plant):
    for _ in range(2):
        plant.workspace.add_principal("sparkplug-zerobus")
    printed = plant.run("setup", "--yes")
    assert printed.returncode == 1
    assert "2 service principals are called sparkplug-zerobus" in printed.stderr


# ---------------------------------------------------------------------- the secret's file


def test_a_file_with_something_in_it_is_not_overwritten(plant):
    secret = plant.directory / "secret"
    secret.write_text("of old")
    printed = plant.run("setup", "--yes", "--secret-file", str(secret))
    assert printed.returncode == 0, printed.stderr
    assert secret.read_text() == "of old"
    assert plant.workspace.secrets == {}


def test_the_file_is_there_before_the_secret_is(plant):
    secret = plant.directory / "secret"
    seen = []
    plant.workspace.before_secret = lambda: seen.append(secret.stat().st_mode & 0o777)
    plant.run("setup", "--yes", "--secret-file", str(secret))
    assert seen == [0o600]


def test_without_a_place_for_it_no_secret_is_made(plant):
    printed = plant.run("setup", "--yes", "--secret-file", str(plant.directory / "no" / "secret"))
    assert printed.returncode == 1
    assert "for the secret cannot be made: No such file or directory" in printed.stderr
    assert plant.workspace.secrets == {}


@pytest.mark.parametrize("is_there", [False, True])
def test_a_link_is_not_followed(plant, is_there):
    link, target = plant.directory / "secret", plant.directory / "elsewhere"
    link.symlink_to(target)
    if is_there:
        target.touch()
    printed = plant.run("setup", "--yes", "--secret-file", str(link))
    assert printed.returncode == 1
    assert plant.workspace.secrets == {}
    assert target.exists() == is_there


def test_an_empty_file_of_an_interrupted_run_is_taken(plant):
    secret = plant.directory / "secret"
    secret.touch(mode=0o644)
    plant.run("setup", "--yes", "--secret-file", str(secret))
    assert secret.read_text() == SECRET + "\n"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600


def test_a_refused_secret_leaves_no_file(plant):
    secret = plant.directory / "secret"
    plant.workspace.refuse["POST .*/secrets"] = Refusal(403, "PERMISSION_DENIED", "not an admin")
    printed = plant.run("setup", "--yes", "--secret-file", str(secret))
    assert printed.returncode == 1
    assert "needs an administrator of the workspace" in printed.stderr
    assert not secret.exists()


def test_a_secret_that_cannot_be_written_is_deleted_again(plant, monkeypatch):
    def full(_target, _bytes):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("consumer.setup.databricks.principals.os.write", full)
    secret = plant.directory / "secret"
    printed = plant.run("setup", "--yes", "--secret-file", str(secret))
    assert "the secret was deleted again" in printed.stderr
    assert [kept for kept in plant.workspace.secrets.values() if kept] == []
    assert not secret.exists()


# ---------------------------------------------------------------------- what goes wrong


def test_a_refusal_half_way_says_what_was_done_and_the_next_run_goes_on(plant):
    refusal = Refusal(403, "PERMISSION_DENIED", "User does not have CREATE SCHEMA")
    plant.workspace.refuse["POST .*/schemas"] = refusal
    printed = plant.run("setup", "--yes")
    assert printed.returncode == 1
    found = states(printed)
    assert (found["catalog plant"], found["schema plant.scada"]) == ("done", "FAILED")
    assert found[f"table {TABLE}"] == "left"
    assert "needs CREATE SCHEMA on catalog plant: ask an administrator" in printed.stderr
    assert "1 done, 0 were there" in printed.stderr
    plant.workspace.refuse.clear()
    printed = plant.run("setup", "--yes")
    assert printed.returncode == 0, printed.stderr
    assert states(printed)["catalog plant"] == "there"


def test_a_statement_that_fails_says_why(plant):
    message = "[INSUFFICIENT_PERMISSIONS] User does not have CREATE TABLE"
    plant.workspace.fail["CREATE TABLE"] = ("BAD_REQUEST", message)
    printed = plant.run("setup", "--yes")
    assert printed.returncode == 1
    assert f"making table {TABLE}: {message}" in printed.stderr
    assert "needs CREATE TABLE on schema plant.scada" in printed.stderr


def test_a_statement_that_is_pending_shows_that_it_is(plant):
    plant.workspace.catalogs["plant"] = None
    plant.workspace.pending = 1
    plant.configure(client_id=plant.workspace.add_principal("p").application_id)
    printed = plant.run("setup", "--yes")
    assert f"making table {TABLE}: PENDING for 0 s on Starter" in printed.stderr


def test_a_token_that_has_expired_says_to_log_in_anew(plant, monkeypatch):
    monkeypatch.setenv("DATABRICKS_TOKEN", "of last year")
    printed = plant.run("setup", "--yes")
    assert printed.returncode == 1
    assert "log in anew" in printed.stderr
    assert "of last year" not in printed.stderr


def test_without_credentials_it_says_which_there_could_be(plant, monkeypatch):
    monkeypatch.delenv("DATABRICKS_TOKEN")
    printed = plant.run("setup")
    assert printed.returncode == 2
    assert printed.stderr.startswith(f"Error: no credentials for {plant.url}: ")
    assert len(printed.stderr.splitlines()) == 1


def test_a_workspace_other_than_that_of_the_configuration_gets_no_token(plant, monkeypatch):
    other = plant.url.replace("127.0.0.1", "localhost")
    monkeypatch.setenv("DATABRICKS_HOST", other)
    printed = plant.run("setup")
    assert printed.returncode == 2
    assert f"{other}, but zerobus.workspace_url is" in printed.stderr
    # The SDK asks a host what it is, without credentials.
    assert {path for _, path, _ in plant.workspace.requests} <= {"/.well-known/databricks-config"}


def test_a_profile_is_found(plant, monkeypatch):
    monkeypatch.delenv("DATABRICKS_TOKEN")
    monkeypatch.delenv("DATABRICKS_HOST")
    profile = f"[plant]\nhost = {plant.url}\ntoken = {TOKEN}\n"
    (plant.directory / ".databrickscfg").write_text(profile)
    printed = plant.run("setup", "--profile", "plant")
    assert printed.returncode == 0, printed.stderr


def test_the_address_of_the_configuration_is_enough(plant, monkeypatch):
    monkeypatch.delenv("DATABRICKS_HOST")
    printed = plant.run("setup")
    assert printed.returncode == 0, printed.stderr


def test_a_network_that_is_down_is_one_line(plant, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    plant.url = f"http://127.0.0.1:{port}"
    plant.configure()
    monkeypatch.setenv("DATABRICKS_HOST", plant.url)
    printed = plant.run("setup", "--timeout", "1")
    assert printed.returncode == 1
    assert "the workspace cannot be reached" in printed.stderr
    assert len(printed.stderr.splitlines()) == 1


@pytest.mark.parametrize("wanted", [WAREHOUSE, "Starter"])
def test_a_warehouse_is_chosen_by_id_or_name(plant, wanted):
    assert plant.run("setup", "--warehouse", wanted).returncode == 0


def test_a_warehouse_that_is_not_there_names_those_that_are(plant):
    printed = plant.run("setup", "--warehouse", "nope", "--yes")
    assert printed.returncode == 2
    assert f"there is no nope; there is: Starter ({WAREHOUSE}, RUNNING" in printed.stderr
    assert changes(plant) == []


def test_a_workspace_without_a_warehouse_says_so(plant):
    plant.workspace.warehouses.clear()
    printed = plant.run("setup", "--yes")
    assert printed.returncode == 1
    assert "there is no SQL warehouse" in printed.stderr


def test_a_view_in_the_place_of_the_table_is_not_taken_for_it(plant):
    plant.run("setup", "--yes")
    kind = plant.workspace.tables[f"{TABLE}_latest"].table_type
    plant.workspace.tables[TABLE] = table_of(TABLE, [], kind=kind)
    printed = plant.run("setup", "--yes")
    assert printed.returncode == 1
    assert "is VIEW, not a managed table" in printed.stderr


def test_as_json_a_program_reads_every_step(plant):
    report = json.loads(plant.run("setup", "--json").stdout)
    assert report["ok"] is True
    assert report["applied"] is False
    assert {each["state"] for each in report["steps"]} == {"would"}


def test_without_the_sdk_one_line_says_how_to_install_it(plant, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "databricks.sdk", None)
    printed = plant.run("setup")
    assert printed.returncode == 2
    assert "pip install 'sparkplug-zerobus[databricks]'" in printed.stderr


def test_a_table_with_the_columns_of_the_module_gets_them_and_the_views_that_they_allow(plant):
    plant.config.write_text(
        plant.config.read_text(encoding="utf-8") + "normalize: {profile: ignition-module}\n",
        encoding="utf-8",
    )
    assert plant.run("setup", "--yes").returncode == 0
    names = [column.name for column in plant.workspace.tables[TABLE].columns]
    assert "sdt_compressed" in names
    assert f"{TABLE}_deduplicated" in plant.workspace.tables
    assert f"{TABLE}_latest" not in plant.workspace.tables
    assert plant.run("setup").returncode == 0
    assert "lacks column" not in plant.run("check").stderr


def test_a_federated_consumer_gets_its_grants_and_no_secret(plant, tmp_path):
    text = plant.config.read_text(encoding="utf-8").replace(
        "client_secret: ${NOT_SET}", f"auth: federated\n  identity_token_file: {tmp_path}/token"
    )
    plant.config.write_text(text, encoding="utf-8")
    done = plant.run("setup", "--yes")
    assert done.returncode == 0, done.stderr
    assert "no secret is needed: give the service principal a federation policy" in done.stderr
    assert "client_secret_file" not in done.stderr
    assert plant.run("setup", "--secret-file", str(tmp_path / "secret")).returncode == 2
