"""What an Event Stream's files become, new ones and those that others have changed."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from consumer.errors import ConfigurationError
from consumer.setup.ignition.event_stream import (
    CONFIG,
    RESOURCE,
    TIMINGS,
    EventStream,
    change,
    change_back,
    ingest_url,
    read_tags,
)
from consumer.setup.ignition.handler import MARK, Key

NOW = 1_796_040_000.0
NOTHING = {CONFIG: None, RESOURCE: None}
FAST = EventStream(
    "fast",
    ("[default]Line 1/**",),
    "http://consumer:8099/ingest/batch",
    Key(path="/etc/ingest.key"),
    TIMINGS["fast"],
)


def written(stream=FAST, before=NOTHING):
    """Both files as objects, and the notes."""
    made = change(stream, before, NOW)
    return json.loads(made.after[CONFIG]), json.loads(made.after[RESOURCE]), made.notes


def files(config, resource=None):
    encoded = {CONFIG: config, RESOURCE: resource}
    return {k: None if v is None else json.dumps(v).encode() for k, v in encoded.items()}


def test_a_new_one_has_everything():
    config, resource, notes = written()
    code = config["handlers"][0]["config"].pop("userCode")
    assert code.startswith(f"\t{MARK}\n")
    assert config == {
        "enabled": True,
        "source": {
            "type": "ignition.tagEvent",
            "config": {
                "paths": ["[default]Line 1/**"],
                "changeTypes": ["VALUE", "QUALITY"],
                "skipInitialValues": False,
            },
        },
        "sourceEncoder": {"type": "ignition.jsonObject", "properties": {"encoding": "UTF-8"}},
        "filter": {"enabled": False, "userCode": "\treturn True"},
        "transform": {"enabled": False, "userCode": "\treturn event.data"},
        "transformEncoder": {"type": "ignition.jsonObject", "properties": {"encoding": "UTF-8"}},
        "batch": {
            "debounceMs": 50,
            "maxWaitMs": 500,
            "maxQueueSize": 100_000,
            "overflow": "DROP_OLDEST",
        },
        "handlers": [
            {
                "enabled": True,
                "type": "ignition.script",
                "config": {},
                "failureStrategy": {
                    "type": "RETRY",
                    "retryPolicy": {
                        "type": "EXPONENTIAL",
                        "retryCount": 10,
                        "delayMs": 1000,
                        "maxDelayMs": 30_000,
                        "multiplier": 2,
                        "abort": True,
                    },
                },
            }
        ],
        "onError": {"enabled": False, "userCode": ""},
    }
    assert resource == {
        "scope": "G",
        "version": 1,
        "restricted": False,
        "overridable": True,
        "files": ["config.json"],
        "attributes": {
            "lastModification": {"actor": "sparkplug-zerobus", "timestamp": "2026-11-30T12:00:00Z"}
        },
    }
    assert notes == ()


def test_the_same_again_is_no_change():
    first = change(FAST, NOTHING, NOW)
    again = change(FAST, first.after, NOW + 60)
    assert (again.after, again.notes, again.difference()) == ({}, (), "")


def test_each_of_its_settings_is_a_change():
    first = change(FAST, NOTHING, NOW)
    for other in (
        {"tags": ("[default]Line 2/**",)},
        {"url": "http://other/ingest"},
        {"key": Key()},
        {"timing": TIMINGS["slow"]},
        {"queue": 5},
        {"retries": 0},
        {"enabled": False},
    ):
        assert set(change(replace(FAST, **other), first.after, NOW).after) == {CONFIG, RESOURCE}


def test_what_is_not_known_stays_and_is_named():
    config, resource, _ = written()
    config |= {"invented": {"a": 1}, "filter": {"enabled": True, "userCode": "\treturn False"}}
    config["source"]["config"] |= {"paths": ["[default]old"], "deadband": 3}
    config["batch"]["compress"] = True
    config["handlers"][0]["label"] = "ours"
    resource |= {"locked": True, "files": ["config.json", "thumbnail.png"]}
    resource["attributes"]["lastModificationSignature"] = "0a1b"
    made, made_resource, notes = written(before=files(config, resource))
    assert made["invented"] == {"a": 1}
    assert made["filter"]["enabled"]
    assert made["source"]["config"]["paths"] == ["[default]Line 1/**"]
    assert made["source"]["config"]["deadband"] == 3
    assert made["batch"]["compress"] is True
    assert made["handlers"][0]["label"] == "ours"
    assert made_resource["locked"] is True
    assert made_resource["files"] == ["config.json", "thumbnail.png"]
    assert made_resource["attributes"]["lastModificationSignature"] == "0a1b"
    told = "\n".join(notes)
    for name in ("invented", "deadband", "compress", "locked", "the filter is on"):
        assert name in told


def test_one_that_was_made_empty_in_the_designer_is_filled():
    made, resource, notes = written(before=files({"enabled": False}, {"version": 1}))
    assert made["enabled"]
    assert [each["type"] for each in made["handlers"]] == ["ignition.script"]
    assert resource["files"] == ["config.json"]
    assert notes == ()


def test_handlers_of_others_stay_with_the_encoder_that_they_rely_on():
    module = {"type": "ignition.script", "config": {"userCode": "\tpost('/system/zerobus')\n" * 9}}
    there = {"sourceEncoder": {"type": "ignition.string", "properties": {}}, "handlers": [module]}
    made, _, notes = written(before=files(there))
    assert made["handlers"][0] == module
    assert MARK in made["handlers"][1]["config"]["userCode"]
    assert made["sourceEncoder"]["type"] == "ignition.string"
    assert "handlers that others made stay (1)" in notes[0]
    again = change(FAST, files(made, None), NOW)
    assert len(json.loads(again.after[CONFIG])["handlers"]) == 2


@pytest.mark.parametrize(
    ("config", "resource", "error"),
    [
        ({"source": {"type": "ignition.kafka"}}, None, "its source is 'ignition.kafka'"),
        ({"source": 3}, None, "source is no object"),
        ({"handlers": {}}, None, "handlers is no list"),
        ([], None, "config.json is there and is no JSON object"),
        ({}, {"version": 2}, "version 2"),
        ({}, {"files": "config.json"}, "a form that is not known"),
    ],
)
def test_what_is_of_no_known_form_is_left_alone(config, resource, error):
    with pytest.raises(ConfigurationError, match=error):
        change(FAST, files(config, resource), NOW)


def test_two_of_our_handlers_are_refused():
    config, _, _ = written()
    config["handlers"] *= 2
    with pytest.raises(ConfigurationError, match="2 handlers that were made here"):
        change(FAST, files(config), NOW)


def test_the_difference_has_scripts_as_lines_and_no_secrets():
    secret = "a-key-that-nobody-sees"
    there, _, _ = written(replace(FAST, key=Key(text=secret)))
    there["handlers"].insert(0, {"config": {"userCode": "\tpassword = 'theirs'\n" * 9}})
    shown = change(FAST, files(there), NOW).difference()
    assert '-          "\\tkey = u\\"***\\"",' in shown
    assert '+          "\\tkey_file = u\\"/etc/ingest.key\\"",' in shown
    assert secret not in shown
    assert "theirs" not in shown
    assert "(9 lines of others)" in change_back(files(there), NOTHING).difference()


@pytest.mark.parametrize(
    ("made", "edited"),
    [
        ("\n", "\r\n"),
        ('key = u"a-key-that-nobody-sees"', "key = 'a-key-that-nobody-sees'  # by hand"),
        ('key = u"', 'KEY = u"'),
        ('"Bearer " + key', '"Bearer a-key-that-nobody-sees"'),
        ('url = u"http://', 'url = u"http://me:a-key-that-nobody-sees@'),
    ],
)
def test_a_key_stays_hidden_in_a_script_that_somebody_edited(made, edited):
    there, _, _ = written(replace(FAST, key=Key(text="a-key-that-nobody-sees")))
    code = there["handlers"][0]["config"]["userCode"]
    assert made in code
    there["handlers"][0]["config"]["userCode"] = code.replace(made, edited)
    assert "nobody-sees" not in change(FAST, files(there), NOW).difference()
    assert "nobody-sees" not in change_back(files(there), NOTHING).difference()


@pytest.mark.parametrize("content", [b'{"odd": 1e999}', b'{"odd": NaN}', b"[" * 200_000])
def test_what_no_json_holds_is_not_written_back(content):
    with pytest.raises(ConfigurationError):
        change(FAST, {CONFIG: content, RESOURCE: None}, NOW)


def test_what_others_made_is_not_shown():
    there, resource, _ = written()
    there["handlers"] += [
        {"type": "ignition.http", "enabled": True, "headers": {"Authorization": "Bearer theirs"}},
        {"type": "ignition.kafka", "config": {"password": "theirs"}},
    ]
    there["filter"] = {"enabled": True, "userCode": "\treturn ask('theirs')"}
    there["credentials"] = {"token": "theirs"}
    resource["odd"] = "theirs"
    shown = change_back(files(there, resource), NOTHING).difference()
    assert "theirs" not in shown
    assert '"type": "ignition.kafka"' in shown
    assert "\\treturn event.data" in shown


def test_going_back_takes_away_what_was_not_there():
    made = change(FAST, NOTHING, NOW)
    back = change_back(made.after, NOTHING)
    assert back.after == NOTHING
    assert change_back(NOTHING, NOTHING).after == {}


def test_tags_are_lines_with_a_provider():
    lines = ["# fast", "", " [default]A/** ", "[edge 1]B/C d", "[default]A/**"]
    assert read_tags(lines) == ("[default]A/**", "[edge 1]B/C d")


@pytest.mark.parametrize("line", ["Line 1/Speed", "[default]", "[]A", "[a/b]C", "[d]A\x07"])
def test_a_tag_without_a_provider_is_refused(line):
    with pytest.raises(ConfigurationError, match="no path of a tag with its provider"):
        read_tags([line])


def test_no_tags_are_refused():
    with pytest.raises(ConfigurationError, match="no tags"):
        read_tags(["# none"])


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://c:8099", "http://c:8099/ingest/batch"),
        ("https://c.example/", "https://c.example/ingest/batch"),
        ("http://[::1]:8099/ingest/", "http://[::1]:8099/ingest"),
        ("https://c/plant/ingest/batch", "https://c/plant/ingest/batch"),
        ("http://c/system/zerobus/ingest/batch", "http://c/system/zerobus/ingest/batch"),
    ],
)
def test_an_address_of_a_consumer_is_one_to_post_to(given, url):
    assert ingest_url(given) == url


@pytest.mark.parametrize(
    "given",
    [
        "c:8099",
        "mqtt://c",
        "http://",
        "http://c:x",
        "http://user:pass@c",
        "http://c/status",
        "http://c/ingest?key=1",
        "http://ć",
    ],
)
def test_an_address_that_takes_no_events_is_refused(given):
    with pytest.raises(ConfigurationError) as refused:
        ingest_url(given)
    assert "user:pass" not in str(refused.value)
