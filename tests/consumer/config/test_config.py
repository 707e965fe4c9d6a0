"""The configuration: what is read, what is refused, and with which words."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.config_cases import MINIMAL, SECRET, changed, refusal, write

from consumer.config import load, parse
from consumer.config.reading import expand
from consumer.config.units import format_duration, format_size, parse_duration, parse_size
from consumer.errors import ConfigurationError

# --- what is read


def test_the_smallest_configuration_gets_the_documented_defaults():
    config = parse(MINIMAL)
    assert config.servers[0].url == "mqtt://localhost:1883"
    assert config.servers[0].topics == ("spBv1.0/#",)
    assert config.servers[0].protocol == "5"
    assert config.servers[0].source_system_id == "{group_id}/{edge_node_id}"
    assert (config.host.id, config.host.mode) == ("sparkplug-zerobus", "active")
    assert (config.host.rebirth.per_node, config.host.rebirth.fleet_per_second) == (5.0, 10.0)
    assert config.host.rebirth.max_pause == 3600.0
    assert config.normalize.emit_stale == "deaths"
    assert (config.batch.max_messages, config.batch.max_bytes) == (5000, 8 * 1024**2)
    assert config.batch.max_delay == 0.05
    assert (str(config.spool.path), config.spool.max_bytes) == ("data/spool.db", 4 * 1024**3)
    assert (config.zerobus.batch.max_records, config.zerobus.batch.max_inflight) == (1000, 100)
    assert config.http.address == ("127.0.0.1", 8099)
    assert config.limits.max_payload == 16 * 1024**2
    assert config.shutdown_timeout == 10.0
    assert config.warnings == ()


def test_the_contract_of_names_and_nesting_is_kept():
    names = {
        section: sorted(type(getattr(parse(MINIMAL), section)).model_fields)
        for section in ("host", "normalize", "batch", "spool", "zerobus", "http", "log", "limits")
    }
    assert names == {
        "host": [
            "gate",
            "gate_on_sink",
            "id",
            "mode",
            "rebirth",
            "reorder_timeout",
            "silent_after",
            "unheard",
        ],
        "normalize": [
            "columns",
            "emit_births",
            "emit_stale",
            "emit_transient",
            "ignition_module",
            "profile",
            "tag_path",
        ],
        "batch": ["max_bytes", "max_delay", "max_messages", "quiet_delay"],
        "spool": [
            "high_watermark",
            "low_watermark",
            "max_bytes",
            "max_dead_letter_bytes",
            "min_free",
            "path",
            "sync",
        ],
        "zerobus": [
            "auth",
            "batch",
            "client_id",
            "client_secret",
            "client_secret_file",
            "endpoint",
            "events_table",
            "identity_token",
            "identity_token_file",
            "metadata_table",
            "streams",
            "table",
            "workspace_url",
        ],
        "http": [
            "hosts",
            "keys",
            "listen",
            "metrics",
            "source_system_id",
            "tls",
            "token",
            "token_file",
        ],
        "log": ["format", "level"],
        "limits": ["max_nodes", "max_payload", "max_tags", "memory", "queue_bytes"],
    }


def test_a_configuration_cannot_be_changed():
    config = parse(MINIMAL)
    with pytest.raises(ValueError, match="frozen"):
        config.host.id = "other"


def test_a_key_without_value_counts_as_not_given():
    config = parse(changed(("host", None), ("log", {"level": None})))
    assert (config.host.id, config.log.level) == ("sparkplug-zerobus", "info")


def test_a_protocol_version_may_be_written_without_quotes():
    assert parse(changed(("servers.0.protocol", 5))).servers[0].protocol == "5"


@pytest.mark.parametrize(
    ("url", "host", "port", "tls"),
    [
        ("mqtt://broker", "broker", 1883, False),
        ("mqtts://broker", "broker", 8883, True),
        ("MQTT://Broker:2000/", "broker", 2000, False),
        ("mqtt://[::1]:1884", "::1", 1884, False),
    ],
)
def test_an_mqtt_url_gives_host_port_and_encryption(url, host, port, tls):
    server = parse(changed(("servers.0.url", url))).servers[0]
    assert (server.host, server.port, server.uses_tls) == (host, port, tls)


# --- units


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("8MiB", 8388608),
        ("4GiB", 2**32),
        ("1GB", 10**9),
        (512, 512),
        ("2.3MB", 2_300_000),
        ("512", 512),
        ("1.5 KiB", 1536),
    ],
)
def test_sizes_are_read_as_bytes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("50ms", 0.05), ("2s", 2.0), ("5m", 300.0), ("1h", 3600.0), (3, 3.0), (0.5, 0.5), ("7", 7.0)],
)
def test_durations_are_read_as_seconds(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["soon", "", "-1s", "5 parsecs", "1s2", True, None, float("nan")])
def test_what_is_no_size_or_duration_is_refused(text):
    with pytest.raises(ValueError, match="must be a duration"):
        parse_duration(text)
    with pytest.raises(ValueError, match="must be a size"):
        parse_size(text)


@given(st.integers(min_value=0, max_value=2**50))
def test_every_size_survives_being_written_and_read(size):
    assert parse_size(format_size(size)) == size


@given(st.integers(min_value=0, max_value=10**7))
def test_every_whole_number_of_milliseconds_survives_being_written_and_read(milliseconds):
    seconds = milliseconds / 1000
    assert parse_duration(format_duration(seconds)) == seconds


# --- keys


def test_an_unknown_key_is_named_with_its_path_and_the_nearest_known_one():
    assert refusal(("servers.0.usernme", "x")) == (
        "c.yaml: servers[0].usernme: unknown key; did you mean 'username'?"
    )
    assert "zerobus.batch.max-delay: unknown key; did you mean 'max_delay'?" in refusal(
        ("zerobus.batch.max-delay", "1s")
    )


def test_a_known_key_in_the_wrong_section_is_sent_to_its_place():
    assert "endpoint: unknown key here; did you mean 'zerobus.endpoint'?" in refusal(
        ("endpoint", "x")
    )


def test_an_unknown_key_comes_before_what_it_causes():
    mapping = changed(("zerobus.tabel", "a.b.c"))
    del mapping["zerobus"]["table"]
    with pytest.raises(ConfigurationError, match=r"zerobus\.tabel: .*'table'"):
        parse(mapping)


def test_further_problems_are_named_in_the_same_line():
    text = refusal(("zerobus.table", "a.b"), ("batch.max_delay", "soon"))
    assert text.startswith("c.yaml: batch.max_delay: must be a duration")
    assert text.endswith("(and 1 more: zerobus.table)")


def test_a_missing_key_is_named_with_an_example():
    mapping = copy.deepcopy(MINIMAL)
    del mapping["zerobus"]["table"]
    with pytest.raises(ConfigurationError, match=r"zerobus\.table: missing; .*\w+\.\w+\.\w+"):
        parse(mapping)


def test_a_key_given_twice_is_refused_with_both_lines(tmp_path):
    path = write(tmp_path, "log:\n  level: info\n  format: text\n  level: debug\n")
    with pytest.raises(
        ConfigurationError, match=r"c\.yaml: level: is given twice, in lines 2 and 4"
    ):
        load(path, {})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("batch.max_messages", 0), "batch.max_messages: must be 1 to 100,000 (it is 0)"),
        (("batch.max_messages", "many"), "must be a whole number (it is 'many')"),
        (("batch.max_bytes", "1KiB"), "must be 64KiB to 256MiB (it is '1KiB')"),
        (("zerobus.batch.max_bytes", 10_420_224), "less than 10,420,224 bytes"),
        (("zerobus.batch.max_inflight", 1001), "must be 1 to 1,000 (it is 1001)"),
        (("host.mode", "activ"), "host.mode: must be one of active, passive (it is 'activ')"),
        (("host.gate_on_sink", "maybe"), "must be true or false"),
        (("host.gate.min_closed", "2h"), "host.gate.min_closed: must be 0s to 1h (it is '2h')"),
        (("host.rebirth.fleet_per_second", "nan"), "must be"),
        (("host.id", "a/b"), "host.id: must not be empty nor contain '+', '#' or '/'"),
        (("host.id", ""), "host.id: must not be empty"),
        (("servers.0.username", 12), "must be text (it is 12); put it in quotes"),
        (("servers.0.site", False), "quotes: YAML reads yes, no, on and off as true or false"),
        (("servers.0.topics", "spBv1.0/#"), "topics: must be a list, even of one"),
        (("servers.0.topics", []), "topics: must not be empty"),
        (("servers.0.topics", ["spBv1.0/#/x"]), "topics[0]: must be a topic filter"),
        (("servers.0.topics", ["spBv1.0/a+"]), "topics[0]: must be a topic filter"),
        (("servers.0.name", "plant a"), "servers[0].name: must be 1 to 64 of the characters"),
        (("servers.0.protocol", "4"), "must be one of 5, 3.1.1"),
        (("servers", []), "servers: must not be empty"),
        (("servers", {"name": "x"}), "servers: must be a list"),
        (("servers", ["x"]), "servers[0]: must hold keys, such as name, site, url"),
        (("log", "debug"), "log: must hold keys, such as level, format"),
        (("log", {True: "x"}), "log.True: keys must be text"),
        (("normalize.profile", "ignition"), "normalize.profile: must be one of default, ignition-"),
        (("spool.path", ""), "spool.path: must not be empty"),
        (("spool.sync", "off"), "spool.sync: must be one of full, normal"),
        (("http.listen", "8099"), "http.listen: must be host:port"),
        (("http.listen", "localhost:99999"), "http.listen: "),
        (("limits.queue_bytes", "8MiB"), "limits.queue_bytes: must be 300KiB more than"),
        (("zerobus.client_id", " "), "zerobus.client_id: must not be empty"),
    ],
)
def test_a_wrong_value_is_refused_in_words_that_say_what_is_right(change, words):
    assert words in refusal(change)


def test_two_servers_of_one_name_are_refused():
    twice = [MINIMAL["servers"][0], {"name": "plant-a", "url": "mqtt://other"}]
    assert "servers[0].name: is used twice" in refusal(("servers", twice))


def test_a_gate_needs_a_state_to_say_offline_with_and_room_to_close_in():
    assert "host.gate_on_sink: needs host.mode active: a passive host" in refusal(
        ("host", {"mode": "passive", "gate_on_sink": True})
    )
    full = ("spool.high_watermark", 0.96)
    assert "spool.high_watermark: must be at most 0.95 with host.gate_on_sink" in refusal(
        full, ("host.gate_on_sink", True)
    )
    assert parse(changed(full)).spool.high_watermark == 0.96


def test_a_gate_keeps_room_for_what_is_queued_and_leaves_room_to_close_in():
    gated = parse(changed(("host.gate_on_sink", True)))
    assert (gated.host.gate.min_closed, gated.host.gate.ack_timeout) == (60.0, 0.0)
    assert gated.host.gate.drain == 2.0
    assert gated.gate_reserve == gated.limits.budget.queue_bytes + 2 * 8 * 1024**2
    assert gated.warnings == ()
    spool = {"max_bytes": "16MiB", "high_watermark": 0.5, "low_watermark": 0.2}
    assert parse(changed(("spool", spool))).gate_reserve == 4 * 1024**2


# --- files


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"nowhere\.yaml: no such file"):
        load(tmp_path / "nowhere.yaml", {})


@pytest.mark.parametrize("text", ["- a\n", "text", "17"])
def test_a_file_without_keys_is_refused(tmp_path, text):
    with pytest.raises(ConfigurationError, match="must hold keys"):
        load(write(tmp_path, text), {})


def test_an_empty_file_misses_its_required_sections(tmp_path):
    with pytest.raises(ConfigurationError, match=r"servers: missing.*and 1 more: zerobus"):
        load(write(tmp_path, "# nothing\n"), {})


@pytest.mark.parametrize(
    "line",
    [f"*{SECRET}", f"!{SECRET} x", f"'{SECRET}", f"a: b: {SECRET}", f"%{SECRET}", f"\t{SECRET}"],
)
def test_a_yaml_error_names_the_line_and_never_quotes_the_value(tmp_path, line):
    path = write(tmp_path, f"servers:\n  - name: x\n    password: {line}\n")
    with pytest.raises(ConfigurationError) as caught:
        load(path, {})
    text = str(caught.value)
    assert "line" in text
    assert "\n" not in text
    assert SECRET not in text


@pytest.mark.parametrize(
    "text", ["servers: &a [*a]", "a: " + "[" * 5000, "a: " + "[" * 20 + "]" * 20]
)
def test_a_file_that_is_nested_without_end_is_refused(tmp_path, text):
    with pytest.raises(ConfigurationError, match="is nested too deeply"):
        load(write(tmp_path, text), {})


def test_yaml_cannot_make_python_objects(tmp_path):
    path = write(tmp_path, "servers: !!python/object/apply:os.getcwd []\n")
    with pytest.raises(ConfigurationError, match="not valid YAML"):
        load(path, {})


# --- environment


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("${A}", "1"),
        ("x${A}y${A}", "x1y1"),
        ("${NO:-def}", "def"),
        ("${EMPTY:-def}", "def"),
        ("${EMPTY}", ""),
        ("${NO:-}", ""),
        ("$$", "$"),
        ("$${A}", "${A}"),
        ("pa$word$", "pa$word$"),
        ("${DOLLAR}", "${A}"),
    ],
)
def test_variables_are_expanded_once_and_a_lone_dollar_stays(text, expanded):
    assert expand(text, {"A": "1", "EMPTY": "", "DOLLAR": "${A}"}) == expanded


def test_a_missing_variable_is_named_with_its_key():
    text = refusal(("zerobus.client_id", "${CLIENT}"))
    assert text == (
        "c.yaml: zerobus.client_id: the environment variable CLIENT is not set; "
        "set it, or write ${CLIENT:-default}"
    )


def test_a_malformed_variable_is_refused():
    assert "holds '${' that is no variable" in refusal(("host.id", "${not closed"))


def test_a_variable_may_hold_a_number_or_a_truth():
    mapping = changed(("zerobus.streams", "${N}"), ("host.gate_on_sink", "${GATE}"))
    config = parse(mapping, environ={"N": "3", "GATE": "true"})
    assert (config.zerobus.streams, config.host.gate_on_sink) == (3, True)


def test_a_variable_cannot_become_a_key():
    config = parse(changed(("host.id", "${ID}")), environ={"ID": "a: b\nc: d"})
    assert config.host.id == "a: b\nc: d"


def test_an_error_shows_the_name_of_a_variable_but_not_its_value():
    text = refusal(("log.level", "${LEVEL}"), environ={"LEVEL": SECRET})
    assert "(it is '${LEVEL}')" in text


# --- secrets


def test_a_secret_is_read_from_its_file_without_the_line_end(tmp_path):
    (tmp_path / "pw").write_text("pa ss\n", encoding="utf-8")
    config = parse(
        changed(("servers.0.username", "u"), ("servers.0.password_file", str(tmp_path / "pw")))
    )
    assert config.servers[0].password.get_secret_value() == "pa ss"


def test_a_secret_given_twice_is_refused(tmp_path):
    (tmp_path / "pw").write_text("x", encoding="utf-8")
    assert "client_secret and client_secret_file are both set" in refusal(
        ("zerobus.client_secret_file", str(tmp_path / "pw"))
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read: No such file"),
        (b"\n", "is empty"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"x" * 70000, "larger"),
    ],
)
def test_an_unusable_secret_file_is_named(tmp_path, content, words):
    path = tmp_path / "pw"
    if content is not None:
        path.write_bytes(content)
    text = refusal(("servers.0.password_file", str(path)))
    assert "servers[0].password_file: " in text
    assert words in text


def test_a_missing_client_secret_is_refused():
    mapping = copy.deepcopy(MINIMAL)
    del mapping["zerobus"]["client_secret"]
    with pytest.raises(ConfigurationError, match=r"zerobus\.client_secret: missing"):
        parse(mapping)


def test_a_reader_without_need_of_secrets_does_not_read_them():
    mapping = changed(
        ("zerobus.client_secret", "${NOT_SET}"), ("servers.0.password_file", "/nowhere/at/all")
    )
    config = parse(mapping, secrets=False)
    assert config.zerobus.client_secret.get_secret_value() == ""
    assert config.zerobus.table == "main.ot.tag_events"


def test_a_reader_of_one_section_reads_the_secrets_of_that_one_only():
    mapping = changed(
        ("zerobus.client_secret", "${NOT_SET}"),
        ("servers.0.username", "u"),
        ("servers.0.password", "${MQTT_PASSWORD}"),
    )
    config = parse(mapping, environ={"MQTT_PASSWORD": SECRET}, secrets="servers")
    assert config.servers[0].password.get_secret_value() == SECRET
    assert config.zerobus.client_secret.get_secret_value() == ""
    with pytest.raises(ConfigurationError, match="MQTT_PASSWORD"):
        parse(mapping, secrets="servers")
    with pytest.raises(ConfigurationError, match=r"^configuration: servers: "):
        parse({"zerobus": mapping["zerobus"]}, secrets="servers")


def test_secrets_show_in_no_representation():
    config = parse(
        changed(("servers.0.username", "u"), ("servers.0.password", SECRET), ("http.token", SECRET))
    )
    assert config.zerobus.client_secret.get_secret_value() == SECRET
    for text in (repr(config), str(config), config.model_dump_json(), str(config.model_dump())):
        assert SECRET not in text


@pytest.mark.parametrize(
    "change",
    [
        ("servers.0.password", [SECRET]),
        ("servers.0.pasword", SECRET),
        ("servers.0.url", f"mqtt://user:{SECRET}@host"),
        ("servers.0.url", f"mqtt://user:p@/{SECRET}@host:port"),
        ("zerobus.endpoint", f"https://user:{SECRET}@host"),
    ],
)
def test_secrets_show_in_no_error(change):
    refusal(change)  # asserts that the text does not hold SECRET
