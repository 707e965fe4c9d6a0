"""Passwords in any key and any form get into no text: they are refused without being quoted.

Each case puts a word of its own, a canary, where a password may be, and looks for it in what is
said. What is accepted holds it in a secret, or in a user name.
"""

from urllib.parse import unquote

import pytest
from support.config_cases import MINIMAL, changed, write

from consumer.config import Configuration, load, parse
from consumer.config.keys import field_at, paths
from consumer.errors import ConfigurationError

FORMS = {
    "no scheme": "user:{}@host",
    "port": "user:{}@host:1883",
    "wrong port": "user:{}@host:port",
    "scheme": "mqtt://user:{}@host",
    "upper case": "HTTPS://USER:{}@HOST/path",
    "unknown scheme": "amqp+x://user:{}@host",
    "user alone": "https://{}@host",
    "at sign": "user:a@{}@b@host",
    "signs": "user::/?#{}:/?#@host",
    "port before": "https://user:12/{}@host",
    "line end": "user:a\n{}\r\n@host",
    "tab": "mqtt://user:\t{}@host",
    "last line end": "user:{}@host\n",
    "letters": "user:ä漢{}\u202e@host",
    "percent": "user%3A{}%40host",
    "twice percent": "https%253A%252F%252Fuser%253A{}%2540host",
    "full-width sign": "user:{}\uff20host",
    "query": "host?password={}",
    "scheme and query": "https://host/path?o=1&access_token={}",
    "fragment": "https://host#client_secret={}",
    "key": "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
    "placeholder": "{{user:{}@host}}",
    "brace": "user:{{{}@host",
    "variable's default": "${{NOT_SET:-user:{}@host}}",
    "half a variable": "user:${{NOT_SET:-{}}}@host",
}
KEYS = [
    key.replace("servers.", "servers.0.").replace("http.keys.", "http.keys.0.")
    for key in paths(Configuration)
]
SECRETS = {"servers.0.password", "zerobus.client_secret", "http.token", "http.keys.0.key"}


def texts_that_hold(canary, text):
    """The text as it is and without the ways in which a canary may have been written in it."""
    for each in (text, unquote(unquote(text)), text.replace("\\", ""), text[::-1]):
        if canary.lower() in each.lower() or canary[::-1] in each:
            yield each


def said_of(mapping, environ=None):
    """What is said of a configuration, in all: the refusal, or the model with its warnings."""
    try:
        config = parse(mapping, environ=environ or {})
    except ConfigurationError as error:
        return None, str(error)
    return config, f"{config!r} {config} {config.model_dump_json()} {config.warnings}"


@pytest.mark.parametrize("key", KEYS)
def test_a_password_in_an_address_gets_into_no_text_whatever_the_key_and_the_form(key):
    field = field_at(Configuration, tuple(p for p in key.split(".") if not p.isdigit()))
    for number, (name, form) in enumerate(FORMS.items()):
        canary = f"Cnry{number}zQ"
        for value in (form.format(canary), [form.format(canary)], {form.format(canary): 1}):
            config, said = said_of(changed((key, value)))
            if key == "servers.0.username" and config:
                assert config.servers[0].username
            else:
                assert list(texts_that_hold(canary, said)) == [], (name, value)
            if isinstance(value, str) and config:
                assert key in SECRETS | {"servers.0.username"}, (name, field)


@pytest.mark.parametrize("key", KEYS)
def test_a_password_in_the_environment_gets_into_no_text_either(key):
    for form in FORMS.values():
        canary = "CnryEnvzQ"
        _, said = said_of(changed((key, "${ADDRESS}")), {"ADDRESS": form.format(canary)})
        if key != "servers.0.username":
            assert list(texts_that_hold(canary, said)) == [], form


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_password_in_place_of_a_section_or_a_key_gets_into_no_text(form, tmp_path):
    address = form.format("CnryKeyzQ")
    for section in ("servers", "servers.0", "servers.0.tls", "zerobus", "zerobus.batch", "log"):
        for value in (address, {address: 1}, [address], {"pasword": address}, {"password": {1: 2}}):
            *above, last = section.split(".")
            mapping = changed()
            inner = mapping
            for part in above:
                inner = inner[int(part)] if part.isdigit() else inner.setdefault(part, {})
            inner[int(last) if last.isdigit() else last] = value
            _, said = said_of(mapping)
            assert list(texts_that_hold("CnryKeyzQ", said)) == []
    line = '"{}": 1'.format(address.replace("\n", r"\n").replace("\t", r"\t").replace("\r", r"\r"))
    for text in (
        f"{line}\n{line}\n",
        f"a: {line}",
        address,
        f"servers: {address}",
        f"a: *{address}",
    ):
        with pytest.raises(ConfigurationError) as caught:
            load(write(tmp_path, text), {})
        assert list(texts_that_hold("CnryKeyzQ", str(caught.value))) == []


@pytest.mark.parametrize("key", sorted(SECRETS))
@pytest.mark.parametrize(
    "value", [["CnryQ"], {"a": "CnryQ"}, "CnryQ", "${NOT_SET:-CnryQ}", "${Cnry Q", ["${CnryQ.x}"]]
)
def test_a_secret_of_any_kind_is_not_quoted(key, value):
    _, said = said_of(changed((key, value)))
    assert "Cnry" not in said


@pytest.mark.parametrize(
    ("key", "mend"),
    [
        ("servers.0.url", "use username and password_file"),
        ("zerobus.endpoint", "use client_id and client_secret_file"),
        ("zerobus.workspace_url", "use client_id and client_secret_file"),
        ("http.listen", "whoever calls needs none but a key of http.keys"),
        ("host.id", "passwords belong into files"),
        ("spool.path", "passwords belong into files"),
        ("servers.0.topics", "passwords belong into files"),
    ],
)
def test_the_refusal_names_the_key_and_where_the_password_belongs(key, mend):
    value = "user:CnryMendzQ@host"
    value = [value] if key.endswith("topics") else value
    _, said = said_of(changed((key, value)))
    assert said.startswith(f"configuration: {key.replace('.0', '[0]')}: must not ")
    assert mend in said


@pytest.mark.parametrize(
    "url", ["mqtt://ho st", "mqtt://ho\nst", "mqtt://h\u200bost", "h\u202eost"]
)
def test_an_address_is_seen_as_it_is(url):
    for key in ("servers.0.url", "zerobus.endpoint", "zerobus.workspace_url", "http.listen"):
        _, said = said_of(changed((key, url)))
        assert "must be one address, without blanks, line ends or invisible characters" in said


def test_what_only_looks_like_an_address_is_taken_where_it_is_usual():
    config = parse(
        changed(
            ("servers.0.username", "plant:reader@vhost"),
            ("servers.0.source_system_id", "{server}:{group_id}@{edge_node_id}"),
            ("host.id", "historian@plant"),
            ("zerobus.client_id", "someone@example.com"),
        )
    )
    assert config.servers[0].username == "plant:reader@vhost"
    assert parse(MINIMAL).servers[0].url == "mqtt://localhost:1883"
