"""Passwords are recognised by the form of a text, and taken out of what others say."""

import base64
import json
from urllib.parse import quote

import pytest

from consumer.credentials import holds_credentials, masked

SECRET = 's3cr3t "Zq9/+\n'


@pytest.mark.parametrize(
    "text",
    [
        "user:pw@host",
        "mqtt://user:pw@host:1883/x",
        "MQTTS://user:pw@host",
        "https://token@host",
        "user:p@w:x/y?z#@host",
        "user:p\nw@host",
        "user:päss\tword@host",
        "user%3Apw%40host",
        "user%253Apw%2540host",
        "user:pw\uff20host",
        "host?password=x",
        "https://h/p?a=1&client_secret=x",
        "https://h/p#access_token=x",
        "h;API-KEY=x",
        "-----BEGIN PRIVATE KEY-----",
    ],
)
def test_a_text_of_the_form_of_an_address_with_a_password_is_recognised(text):
    assert holds_credentials(text)


@pytest.mark.parametrize(
    "text",
    [
        "mqtt://host:1883",
        "[::1]:1883",
        "someone@example.com",
        "spBv1.0/Plant A/#",
        "[MQTT Engine]Edge Nodes/{group_id}/{metric}",
        "C:/data/spool.db",
        "a@b:c",
        "what?keyboard",
        "",
    ],
)
def test_other_texts_are_not(text):
    assert not holds_credentials(text)


@pytest.mark.parametrize(
    "said",
    [
        f"refused {SECRET}!",
        f"refused {quote(SECRET)} and {quote(SECRET, safe='')}",
        f"refused {SECRET!r}",
        f"refused {json.dumps(SECRET)}",
        f"Authorization: Basic {base64.b64encode(f'client:{SECRET}'.encode()).decode()}",
        "proxy http://client:s3cr3t@proxy:3128 and client:s3cr3t@proxy",
    ],
)
def test_a_secret_that_is_repeated_is_masked_in_every_form(said):
    shown = masked(said, SECRET, "client")
    assert "***" in shown
    for form in ("s3cr3t", "Zq9", base64.b64encode(b"client:s3cr3").decode()[:12]):
        assert form not in shown


def test_a_short_secret_is_masked_as_a_word_only():
    assert masked("any of many", "any") == "*** of many"


def test_what_is_no_secret_stays_with_its_line_ends():
    text = "error: a@b.example said\n  no: http://host:1/x"
    assert masked(text, "", "") == text
