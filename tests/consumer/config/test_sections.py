"""The configuration, section by section: servers, Zerobus, and what is generated."""

import copy
import os
import subprocess
import sys

import pytest
import yaml
from support.config_cases import HTTP_KEY, MINIMAL, ROOT, changed, refusal, warnings

from consumer.config import Configuration, parse
from consumer.config.documentation import example, markdown

# --- MQTT servers


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("localhost:1883", "write mqtt://localhost:1883"),
        ("tcp://h:1883", "write mqtt:// for tcp://"),
        ("ssl://h:8883", "write mqtts:// for ssl://"),
        ("ws://h/mqtt", "WebSockets"),
        ("mqtt://", "has no host"),
        ("mqtt://h:notaport", "check the port"),
        ("mqtt://h:70000", "check the port"),
        ("mqtt://h:0", "port 0"),
        ("mqtt://h/spBv1.0", "must end after host and port"),
        ("mqtt://u@h", "must not hold a user name"),
    ],
)
def test_a_wrong_mqtt_url_is_refused_with_the_right_one(url, words):
    assert words in refusal(("servers.0.url", url))


def test_tls_settings_need_an_encrypted_url_and_both_halves_of_a_certificate():
    tls = ("servers.0.tls", {"ca_file": "ca.pem"})
    assert "servers[0].tls: is set, but url is plain text" in refusal(tls)
    half = ("servers.0.tls", {"cert_file": "c.pem"})
    assert "servers[0].tls.key_file: missing" in refusal(half, ("servers.0.url", "mqtts://h"))


def test_a_password_without_user_name_needs_mqtt_5():
    password = ("servers.0.password", "x")
    assert parse(changed(password)).servers[0].username == ""
    assert "servers[0].username: missing" in refusal(password, ("servers.0.protocol", "3.1.1"))


@pytest.mark.parametrize("key", ["servers.0.source_system_id", "normalize.tag_path"])
@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{group}/{metric}", "does not know {group}; it may use {site}, {server}, {group_id}"),
        ("{metric.__class__}", "does not know {metric.__class__}"),
        ("{metric!r}", "does not know"),
        ("{metric", "has a brace without partner"),
        ("{{metric}}", "has a brace without partner"),
        ("", "must not be empty"),
    ],
)
def test_a_template_knows_six_names(key, template, words):
    assert words in refusal((key, template))


def test_a_template_may_use_all_six_names():
    template = "{site}{server}{group_id}{edge_node_id}{device_id}{metric}"
    assert parse(changed(("normalize.tag_path", template))).normalize.tag_path == template


# --- Zerobus


AWS = "https://1444828305810485.zerobus.us-west-2.cloud.databricks.com"
AZURE = "https://1234567890123456.zerobus.westeurope.azuredatabricks.net"
UUID = "11111111-2222-3333-4444-555555555555"


def zerobus(endpoint, workspace):
    return (
        ("zerobus.endpoint", endpoint),
        ("zerobus.workspace_url", workspace),
        ("zerobus.client_id", UUID),
    )


@pytest.mark.parametrize(
    ("endpoint", "workspace"),
    [
        (AWS, "https://example.cloud.databricks.com"),
        (AZURE, "https://adb-1234567890123456.7.azuredatabricks.net"),
        (AZURE, "https://westeurope.azuredatabricks.net"),
        ("https://12.zerobus.us-east1.gcp.databricks.com", "https://12.3.gcp.databricks.com"),
        ("http://localhost:1", "http://localhost:2"),
        ("http://zerobus:1", "http://zerobus:2"),
        ("http://10.0.0.7:1", "http://10.0.0.7:2"),
    ],
)
def test_a_right_pair_of_endpoint_and_workspace_gives_no_warning(endpoint, workspace):
    assert warnings(*zerobus(endpoint, workspace)) == ()


@pytest.mark.parametrize(
    "written", [AWS + "/", AWS.removeprefix("https://"), AWS.upper(), f" {AWS} "]
)
def test_an_endpoint_is_brought_into_the_form_that_the_sdk_accepts(written):
    config = parse(changed(*zerobus(written, "example.cloud.databricks.com/")))
    assert config.zerobus.endpoint == AWS
    assert config.zerobus.workspace_url == "https://example.cloud.databricks.com"


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        ("https://example.cloud.databricks.com/api/2.0/zerobus/streams/ingest", "is a REST path"),
        ("https://example.cloud.databricks.com", "is the workspace URL"),
        ("https://adb-42.7.azuredatabricks.net", "is 42.zerobus.<region>.azuredatabricks.net"),
        (f"{AWS}/main.ot.t", "must end after the host; remove '/main.ot.t'"),
        (f"{AWS}?x=1", "must end after the host; remove '?x=1'"),
        ("grpc://localhost:9001", "write http://"),
        (AWS.replace("https", "grpcs"), "write https://"),
        (AWS.replace("https", "http"), "must begin with https://"),
        ("ftp://localhost", "must begin with https://"),
        ("http://[::1]:9001", "cannot connect to an IPv6 address"),
        ("", "must not be empty"),
        ("https://", "has no host"),
    ],
)
def test_a_wrong_endpoint_is_refused_with_the_right_one(endpoint, words):
    text = refusal(("zerobus.endpoint", endpoint))
    assert "zerobus.endpoint: " in text
    assert words in text


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (AWS, "is the Zerobus endpoint"),
        ("https://example.cloud.databricks.com/?o=1", "remove '?o=1'"),
        ("https://example.cloud.databricks.com/browse", "remove '/browse'"),
    ],
)
def test_a_wrong_workspace_url_is_refused(url, words):
    assert words in refusal(("zerobus.workspace_url", url))


@pytest.mark.parametrize(
    ("endpoint", "workspace", "words"),
    [
        (AWS, "https://adb-1444828305810485.7.azuredatabricks.net", "is of cloud AWS"),
        (AZURE, "https://adb-99.7.azuredatabricks.net", "of workspace 1234567890123456"),
        (AZURE, "https://eastus.azuredatabricks.net", "is of region westeurope"),
    ],
)
def test_endpoint_and_workspace_must_belong_together(endpoint, workspace, words):
    text = refusal(*zerobus(endpoint, workspace))
    assert "zerobus.endpoint: " in text
    assert words in text


@pytest.mark.parametrize("table", ["a.b", "a.b.c.d", "a..c", "a.b. c", "`a`.b.c", ""])
def test_a_table_has_three_parts(table):
    assert "zerobus.table: must" in refusal(("zerobus.table", table))


@pytest.mark.parametrize("key", ["events_table", "metadata_table"])
def test_a_side_table_is_off_without_a_name_and_has_three_parts_else(key):
    assert getattr(parse(MINIMAL).zerobus, key) == ""
    for name in ("", "a.b.c"):
        assert getattr(parse(changed((f"zerobus.{key}", name))).zerobus, key) == name
    assert f"zerobus.{key}: must have three parts" in refusal((f"zerobus.{key}", "a.b"))


def test_every_table_needs_a_name_of_its_own():
    assert "zerobus.events_table: is the table that table names" in refusal(
        ("zerobus.events_table", "Main.ot.Tag_events")
    )
    assert "zerobus.metadata_table: is the table that events_table names" in refusal(
        ("zerobus.events_table", "a.b.c"), ("zerobus.metadata_table", "a.b.c")
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            zerobus("https://zb.example.com", "https://w.example.com"),
            "endpoint: zb.example.com does not look",
        ),
        (
            zerobus("http://zb.example.com", "https://w.example.com"),
            "sends rows and tokens unencrypted",
        ),
        (zerobus(AWS, "http://localhost:1"), "one of endpoint and workspace_url is Databricks"),
        (
            (
                *zerobus(AWS, "https://e.cloud.databricks.com"),
                ("zerobus.client_id", "my-principal"),
            ),
            "zerobus.client_id: is not a UUID",
        ),
        ([("zerobus.table", "a.b.c-d")], "zerobus.table: Zerobus Ingest takes names of"),
        (
            [("zerobus.metadata_table", "a.b.c-d")],
            "zerobus.metadata_table: Zerobus Ingest takes names of",
        ),
        ([("servers.0.url", "mqtt://h:8883")], "servers[0].url: port 8883 is the port of TLS"),
        ([("servers.0.topics", ["$share/g/spBv1.0/#"])], "servers[0].topics: $share/g/"),
        ([("servers.0.topics", ["$share/g/spBv1.0/#"])], "is shared, other subscribers get"),
        (
            [("servers.0.topics", ["spBv1.0/G/+/n1/d1"])],
            (
                "edge node G/n1 in part, not all of NBIRTH, NDEATH, NDATA, DBIRTH, DDEATH, DDATA: "
                "without NBIRTH nothing of it can be read; subscribe to spBv1.0/G/+/n1/#"
            ),
        ),
        (
            [("servers.0.topics", ["spBv1.0/G/NBIRTH/#", "spBv1.0/G/NDATA/#", "spBv1.0/H/#"])],
            "shows edge nodes of group G in part, not all of NDEATH, DBIRTH, DDEATH, DDATA: a hole",
        ),
        ([("servers.0.topics", ["#"])], "servers[0].topics: # does not begin with spBv1.0/"),
        ([("normalize.tag_path", "{device_id}")], "normalize.tag_path: has no {metric}"),
        ([("http", {"listen": "0.0.0.0:8099", "keys": [HTTP_KEY]})], "http.tls: keys travel in"),
        ([("http.token", "t")], "http.token: is taken as one key of the role operator"),
        (
            [("host.gate_on_sink", True), ("spool.max_bytes", "256MiB")],
            "the spool has 25MiB for what arrives while the gate closes, limits.queue_bytes and",
        ),
    ],
)
def test_a_probable_mistake_is_a_warning(changes, words):
    assert any(words in warning for warning in warnings(*changes))


@pytest.mark.parametrize(
    "topics",
    [
        ["spBv1.0/G/#", "spBv1.0/G/+/n1/d1"],
        ["spBv1.0/+/+/n1/#", "spBv1.0/STATE/+"],
        ["spBv1.0/+/+/+", "spBv1.0/+/+/+/+"],
        ["spBv1.0/G/#", "$share/g/spBv1.0/G/#"],
    ],
)
def test_filters_that_together_show_nodes_whole_are_no_mistake(topics):
    assert warnings(("servers.0.topics", topics)) == warnings()


def test_thousands_of_narrow_filters_are_a_hundred_warnings():
    topics = [f"spBv1.0/G/+/node {number}/device" for number in range(3_000)]
    assert len(warnings(("servers.0.topics", topics))) == len(warnings()) + 100


def test_keys_are_needed_where_others_may_ask():
    words = "http.keys: missing, and others than this machine may reach http.listen; add one"
    assert words in refusal(("http.listen", "0.0.0.0:8099"))
    assert warnings(("http.listen", "")) == warnings(("http.listen", "localhost:1")) == ()
    tls = {"cert_file": "c.pem", "key_file": "k.pem"}
    assert warnings(("http", {"listen": "0.0.0.0:1", "keys": [HTTP_KEY], "tls": tls})) == ()
    without = parse(changed(("http.listen", "0.0.0.0:8099")), secrets=False)
    assert without.http.address == ("0.0.0.0", 8099)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"key": "short"}, "http.keys[0].key: has fewer than 16 characters"),
        ({"key": "has blanks in the middle"}, "http.keys[0].key: has a blank"),
        ({"key": ""}, "http.keys[0].key_file: missing; add it"),
        ({"role": "admin"}, "http.keys[0].role: must be one of reader, ingest, operator"),
        ({"name": "a b"}, "http.keys[0].name: must be 1 to 64 of the characters"),
        ({"addresses": ["10.0.0.1/8"]}, "http.keys[0].addresses: must be addresses or networks"),
        ({"addresses": ["plant"]}, "http.keys[0].addresses: must be addresses or networks"),
    ],
)
def test_a_key_is_long_and_has_a_name_and_a_role(changes, words):
    assert words in refusal(("http.keys", [{**HTTP_KEY, **changes}]))


def test_keys_have_names_and_texts_of_their_own():
    other = {**HTTP_KEY, "key": "another-key-0123456789"}
    assert "http.keys[0].name: is used twice" in refusal(("http.keys", [HTTP_KEY, other]))
    same = {**HTTP_KEY, "name": "other"}
    assert "http.keys[1].key: is also another one's" in refusal(("http.keys", [HTTP_KEY, same]))
    token = {"keys": [HTTP_KEY], "token": HTTP_KEY["key"]}
    assert "http.keys[0].key: is also another one's" in refusal(("http", token))


def test_names_that_stand_for_something_else_are_reserved():
    assert "servers[0].name: must not be http: in the ledger" in refusal(("servers.0.name", "http"))
    local = {**HTTP_KEY, "name": "local"}
    assert "http.keys[0].name: must not be local: in metrics" in refusal(("http.keys", [local]))


def test_names_of_the_server_are_names():
    assert "http.hosts: must be names" in refusal(("http.hosts", ["https://plant.example"]))
    assert "http.tls.key_file: missing" in refusal(("http.tls.cert_file", "c.pem"))


def test_several_streams_are_no_mistake():
    assert warnings(("zerobus.streams", 16)) == warnings(("zerobus.streams", 1))


# --- what is generated


def test_the_example_is_valid_and_equals_the_defaults():
    data = yaml.safe_load(example())
    environ = {"DATABRICKS_CLIENT_ID": UUID, "DATABRICKS_CLIENT_SECRET": "x"}
    config = parse(data, environ=environ)
    assert config.warnings == ()
    bare = copy.deepcopy(MINIMAL)
    bare["servers"][0]["username"] = "consumer"
    names = ("table", "events_table", "metadata_table")
    for key in ("endpoint", "workspace_url", *names, "client_id", "client_secret"):
        bare["zerobus"][key] = data["zerobus"][key]
    assert config == parse(bare, environ=environ).model_copy(update={"servers": config.servers})


def test_the_example_shows_every_key():
    def names(model):
        for name, field in model.model_fields.items():
            yield name
            yield from names_below(field.annotation)

    def names_below(annotation):
        inner = getattr(annotation, "__args__", (annotation,))[0]
        if hasattr(inner, "model_fields"):
            yield from names(inner)

    text = example()
    assert [name for name in names(Configuration) if f"{name}:" not in text] == []


@pytest.mark.parametrize(
    ("argument", "path", "text"),
    [
        ("docs", ROOT / "docs" / "configuration.md", markdown()),
        ("example", ROOT / "examples" / "sparkplug-zerobus.yaml", example()),
    ],
)
def test_the_generated_files_are_up_to_date(argument, path, text):
    stale = f"out of date: python -m consumer.config {argument} > {path.relative_to(ROOT)}"
    assert path.read_text(encoding="utf-8") == text, stale


def test_every_key_has_a_description():
    def check(model):
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name}"
            inner = getattr(field.annotation, "__args__", (field.annotation,))[0]
            if hasattr(inner, "model_fields"):
                check(inner)

    check(Configuration)


def test_the_generator_prints_on_stdout():
    done = subprocess.run(
        [sys.executable, "-m", "consumer.config", "example"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
    )
    assert done.stdout == example()
