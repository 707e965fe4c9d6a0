"""What the page reads, over a real server: lists, single things, the whole picture."""

import json
import sqlite3
import time

import pytest
from oracle.messages import ARRIVED, MEASURED_MS, metric
from support.columnar import change, message, tag
from support.http_side import KEYS, READER, http_side

from consumer.broker import InboxBatch
from consumer.monitor.letters import OF_MESSAGES
from consumer.spool.dead_letters import RETRIABLE_MESSAGES
from sparkplug import DataType, MessageBatch, Reason

PLANT = {"server": "plant", "group": "Plant", "node": "Edge"}
EVENTS = ("/api/events", "/api/letters", "/api/gaps", "/api/tags", "/api/nodes", "/api/tree")
PATHS = (*EVENTS, "/api/overview", "/api/servers", "/api/ledger", "/api/config", "/api/stream")


def feed(consumer, *messages):
    consumer.decoding._take(InboxBatch({0: MessageBatch(messages)}))


def named(name, datatype, **fields):
    return metric(name, datatype, **fields)


@pytest.fixture
def plant(tmp_path):
    """A node with a device, some values, and a node that died."""
    with http_side(tmp_path) as client:
        feed(
            client.consumer,
            message(
                "NBIRTH",
                tag("Line 1/Motor/Speed", 0, 1.5),
                tag("Line 1/Motor/Current", 1),
                named("State", DataType.String, alias=2, string_value="Stopped"),
                named("Count", DataType.Int64, alias=3, long_value=2**60),
                named("Running", DataType.Boolean, alias=4, boolean_value=True),
            ),
            message("DBIRTH", tag("Level", 9, 7.0), seq=1),
            message("NDATA", change(0, 2.5), seq=2),
            message("NDATA", metric(alias=2, string_value="x" * 300), seq=3),
            message("NDATA", metric(alias=1, double_value=3.0, quality=500), seq=4),
            message("NBIRTH", tag("Ramp", 0, 1.0), node="Gone"),
            message("NDEATH", node="Gone"),
        )
        yield client


def items(client, path, **parameters):
    answer = client.get(path, params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


def names(client, **parameters):
    return [each["name"] for each in items(client, "/api/tags", **parameters)]


def attention(client):
    return client.get("/api/overview").json()["attention"]


# ---------------------------------------------------------------------- roles


@pytest.mark.parametrize("path", PATHS)
def test_reading_takes_a_key(tmp_path, path):
    with http_side(tmp_path, http={"keys": KEYS}) as client:
        assert client.get(path).status_code == 401
        if path != "/api/stream":  # its answer has no end
            assert client.with_key(READER).get(path).status_code == 200


def test_what_is_read_is_there_before_anything_came(tmp_path):
    with http_side(tmp_path) as client:
        assert all(items(client, path) == [] for path in EVENTS)
        told = client.get("/api/overview").json()
        assert [each["card"] for each in told["cards"]] == ["servers", "decode", "spool", "zerobus"]


# ---------------------------------------------------------------------- tags


def test_tags_have_their_last_value_in_its_kind(plant):
    found = {each["name"]: each for each in items(plant, "/api/tags")}
    assert found["Line 1/Motor/Speed"]["value"] == 2.5
    assert found["Line 1/Motor/Speed"]["rows"] == 2
    assert found["Count"]["value"] == str(2**60)  # a double would round it
    assert found["Running"]["value"] is True
    assert (found["State"]["value"], found["State"]["cut"]) == ("x" * 200, True)
    current = found["Line 1/Motor/Current"]
    assert (current["quality"], current["quality_code"], current["level"]) == (
        *("STALE", 500),
        "warning",
    )
    level = found["Level"]
    assert (level["group"], level["node"], level["device"]) == ("Plant", "Edge", "Boiler")
    assert level["path"] == "[MQTT Engine]Edge Nodes/Plant/Edge/Boiler/Level"
    assert (level["datatype"], level["alive"]) == ("Double", True)
    assert (level["time_ms"], level["received_ms"]) == (MEASURED_MS, ARRIVED // 1000)
    gone = found["Ramp"]
    assert (gone["alive"], gone["quality"], gone["value"]) == (False, "STALE", None)


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("speed", ["Line 1/Motor/Speed"]),
        ("MOTOR line", ["Line 1/Motor/Current", "Line 1/Motor/Speed"]),
        ("boiler", ["Level"]),
        ("boiler/lev", ["Level"]),
        ("[mqtt engine]edge nodes/plant/edge/boiler/level".replace(" ", "%"), []),
        ("edge/state", ["State"]),
        ("string", ["State"]),
        ("int64 count", ["Count"]),
        ("nothing", []),
    ],
)
def test_each_word_is_searched_in_path_name_and_type(plant, search, found):
    assert names(plant, search=search) == found


def test_a_unit_is_searched_and_shown_once_births_were_read(tmp_path):
    with http_side(tmp_path) as client:
        speed = message("NBIRTH", tag("Speed", 0), tag("Level", 1))
        payload = _with_properties(speed.payload, engUnit="rpm", documentation="of the motor")
        feed(client.consumer, speed._replace(payload=payload))
        looking = client.consumer.looking = _looking(client)
        items(client, "/api/tags")
        looking.tags.look()
        assert names(client, search="rpm") == ["Speed"]
        assert [each["unit"] for each in items(client, "/api/tags")] == [None, "rpm"]
        assert names(client, sort="-unit") == names(client, sort="unit")[::-1] == ["Level", "Speed"]
        told = client.get("/api/tag", params={**PLANT, "name": "Speed"}).json()
        assert told["birth"]["properties"][:1] == [
            {"name": "engUnit", "type": "String", "value": "rpm"}
        ]
        assert (told["birth"]["message_type"], told["birth"]["seq"]) == ("NBIRTH", 0)


def _looking(client):
    return client.server._hub._looking


def _with_properties(payload, **texts):
    from sparkplug.pb.sparkplug_b_pb2 import Payload  # noqa: PLC0415 - here only

    message = Payload.FromString(payload)
    for key, text in texts.items():
        message.metrics[0].properties.keys.append(key)
        message.metrics[0].properties.values.add(type=DataType.String, string_value=text)
    return message.SerializeToString()


def test_tags_are_found_by_place_folder_and_quality(plant):
    assert names(plant, node="Gone") == ["Ramp"]
    assert names(plant, **PLANT, device="Boiler") == ["Level"]
    assert "Level" not in names(plant, **PLANT, device="")
    assert names(plant, folder="Line 1/Motor") == ["Line 1/Motor/Current", "Line 1/Motor/Speed"]
    assert names(plant, folder="Line 1/Mot") == []
    assert names(plant, quality="STALE") == ["Line 1/Motor/Current", "Ramp"]


def test_tags_are_sorted_and_paged(plant):
    every = names(plant)
    assert len(every) == 7
    assert every == [*names(plant, limit=3), *names(plant, limit=4, offset=3)]
    assert names(plant, offset=7) == []
    assert names(plant, sort="-path") == every[::-1]
    assert names(plant, sort="name") == sorted(every, key=str.lower)
    assert names(plant, sort="-rows")[:2] != names(plant, sort="rows")[:2]
    for by in ("datatype", "unit", "quality", "age", "rate"):
        assert sorted(names(plant, sort=by)) == sorted(every)
        assert sorted(names(plant, sort=f"-{by}")) == sorted(every)
    told = plant.get("/api/tags", params={"limit": 2, "offset": 1}).json()
    assert (told["total"], told["offset"], told["limit"]) == (7, 1, 2)


def test_a_tag_has_its_last_values(plant):
    parameters = {**PLANT, "name": "Line 1/Motor/Speed"}
    told = plant.get("/api/tag", params=parameters).json()
    assert told["tag"]["value"] == 2.5
    assert told["values"]["value"] == [1.5, 2.5]
    assert told["values"]["message_type"] == ["NBIRTH", "NDATA"]
    assert told["values"]["quality"] == ["GOOD", "GOOD"]
    assert (told["alias"], told["source_system_id"]) == (0, "Plant/Edge")
    feed(plant.consumer, message("NDATA", change(0, 3.5), seq=5))
    told = plant.get("/api/tag", params=parameters).json()
    assert told["values"]["value"] == [1.5, 2.5, 3.5]


@pytest.mark.parametrize("name", ["Line 1/Motor/Speed", "Count", "Running", "Level", "State"])
def test_the_event_id_is_that_of_the_last_row(plant, name):
    if name == "State":
        feed(plant.consumer, message("NDATA", metric(alias=2, string_value="On"), seq=5))
    device = {"device": "Boiler"} if name == "Level" else {}
    told = plant.get("/api/tag", params={**PLANT, **device, "name": name}).json()
    assert told["event_id"] in _event_ids(plant.consumer, name)


def _event_ids(consumer, name):
    from consumer.pb.tag_event_pb2 import TagEvent  # noqa: PLC0415 - here only

    batches = consumer.spool.batches_after(0, 1 << 20, table=consumer.main_delivery.table)
    rows = [TagEvent.FromString(each) for batch in batches for each in batch.rows.slice(0, 99)]
    return [row.event_id for row in rows if row.metric_name == name][-1:]


def test_what_is_not_there_is_not_found(plant):
    assert plant.get("/api/tag", params={**PLANT, "name": "No"}).status_code == 404
    assert plant.get("/api/tag", params={**PLANT, "node": "No", "name": "x"}).status_code == 404
    assert plant.get("/api/node", params={**PLANT, "node": "No"}).status_code == 404
    assert plant.get("/api/letter", params={"name": "row-7"}).status_code == 404
    assert plant.get("/api/letter", params={"name": "no letter"}).status_code == 400


@pytest.mark.parametrize(
    ("path", "parameters"),
    [
        ("/api/tags", {"limit": 501}),
        ("/api/tags", {"limit": 0}),
        ("/api/tags", {"offset": -1}),
        ("/api/tags", {"offset": 10**9}),
        ("/api/tags", {"sort": "value"}),
        ("/api/tags", {"quality": "good"}),
        ("/api/tags", {"search": "x" * 201}),
        ("/api/nodes", {"state": "well"}),
        ("/api/nodes", {"sort": "--state"}),
        ("/api/gaps", {"since_seconds": 10**9}),
        ("/api/events", {"kind": "x"}),
        ("/api/tag", {}),
    ],
)
def test_a_wrong_parameter_is_named(plant, path, parameters):
    answer = plant.get(path, params=parameters)
    assert answer.status_code == 400
    told = answer.json()
    assert told["error"] == "bad_request"
    assert next(iter(parameters), "server") in told["detail"]


def test_ids_and_values_may_be_any_text(tmp_path):
    text = "<b>\u202e\u00e4 {0} %2F"
    with http_side(tmp_path) as client:
        feed(client.consumer, message("NBIRTH", tag(text, 0, 1.0), node="A&b=c ?"))
        [found] = items(client, "/api/tags", node="A&b=c ?")
        assert (found["name"], found["node"]) == (text, "A&b=c ?")
        where = {"server": "plant", "group": "Plant", "node": "A&b=c ?"}
        assert client.get("/api/tag", params={**where, "name": text}).json()["tag"] == found
        answer = client.get("/api/tags")
        assert answer.text.isascii()
        assert answer.headers["Content-Type"] == "application/json"


def test_tags_keep_their_values_when_their_ids_change(plant):
    """Births that declare other tags make ids of those before be given away."""
    for number in range(20):
        many = [tag(f"T{number}-{each}", each, 1.0) for each in range(1_000)]
        feed(plant.consumer, message("NBIRTH", *many, node="Other"))
    assert plant.consumer.sources[0].fleet.catalogue.generation > 0
    [found] = items(plant, "/api/tags", search="motor/speed")
    assert (found["value"], found["rows"]) == (2.5, 2)
    assert plant.get("/api/tags", params={"node": "Other"}).json()["total"] == 1_000


# ---------------------------------------------------------------------- nodes


def test_nodes_come_worst_first(plant):
    told = plant.get("/api/nodes").json()
    assert [(each["node"], each["state"]) for each in told["items"]] == [
        ("Gone", "dead"),
        ("Edge", "alive"),
    ]
    assert (told["states"]["alive"], told["states"]["dead"]) == (1, 1)
    edge = told["items"][1]
    assert (edge["devices"], edge["devices_alive"], edge["tags"]) == (1, 1, 6)
    assert (edge["births"], edge["deaths"], edge["level"]) == (1, 0, "ok")
    assert [each["node"] for each in items(plant, "/api/nodes", state="dead")] == ["Gone"]
    assert [each["node"] for each in items(plant, "/api/nodes", search="EDG")] == ["Edge"]
    assert [each["node"] for each in items(plant, "/api/nodes", sort="tags")] == ["Gone", "Edge"]


def test_a_node_that_was_never_born_is_shown(plant):
    feed(plant.consumer, message("NDATA", change(0, 1.0), node="Stranger", seq=3))
    [found] = items(plant, "/api/nodes", state="never_born")
    assert found["node"] == "Stranger"


def test_a_node_has_its_life_and_its_devices(plant):
    told = plant.get("/api/node", params=PLANT).json()
    assert told["node"]["node"] == "Edge"
    assert (told["next_seq"], told["seen_in_part"], told["may_ask"]) == (5, False, False)
    assert [(each["device"], each["alive"], each["tags"]) for each in told["devices"]] == [
        ("Boiler", True, 1)
    ]
    assert [each["kind"] for each in told["life"]] == ["device_birth", "node_birth"]
    died = plant.get("/api/node", params={**PLANT, "node": "Gone"}).json()
    assert [each["kind"] for each in died["life"]] == ["node_death", "node_birth"]


def test_the_tree_is_walked_level_by_level(plant):
    [group] = items(plant, "/api/tree")
    assert (group["kind"], group["label"], group["tags"]) == ("group", "Plant", 7)
    nodes = items(plant, "/api/tree", server="plant", group="Plant")
    assert [(each["kind"], each["label"]) for each in nodes] == [("node", "Edge"), ("node", "Gone")]
    below = items(plant, "/api/tree", **PLANT)
    assert [(each["kind"], each["label"], each["tags"]) for each in below] == [
        ("device", "Boiler", 1),
        ("folder", "Line 1", 2),
        ("tag", "Count", 1),
        ("tag", "Running", 1),
        ("tag", "State", 1),
    ]
    motor = items(plant, "/api/tree", **PLANT, folder="Line 1/Motor")
    assert [each["name"] for each in motor] == ["Line 1/Motor/Current", "Line 1/Motor/Speed"]
    [level] = items(plant, "/api/tree", **PLANT, device="Boiler")
    assert (level["kind"], level["name"]) == ("tag", "Level")


# ---------------------------------------------------------------------- events, gaps, letters


def test_events_are_the_newest_first_and_paged_by_number(plant):
    told = plant.get("/api/events").json()
    assert told["total"] == 4
    numbers = [each["number"] for each in told["items"]]
    assert numbers == [4, 3, 2, 1]
    assert [each["number"] for each in items(plant, "/api/events", before=3)] == [2, 1]
    assert [each["node"] for each in items(plant, "/api/events", kind="node_death")] == ["Gone"]


def test_gaps_are_listed_with_their_account(plant):
    feed(plant.consumer, message("NDATA", change(0, 9.0), seq=9))
    plant.consumer.decoding._take(InboxBatch(), 1e9)  # nothing is waited for any longer
    told = plant.get("/api/gaps", params=PLANT).json()
    [found] = told["items"]
    assert (found["node"], found["first_seq"], found["missing"]) == ("Edge", 5, 4)
    assert (found["healing"], found["level"]) == ("open", "warning")
    assert told["account"]["gaps"]["found"] == 1
    assert items(plant, "/api/gaps", healing="late_arrival") == []
    assert len(items(plant, "/api/gaps")) == 2


def test_letters_have_their_content_and_what_helps(plant):
    bad = message("NDATA")._replace(payload=b"\xff\x00" * 50)
    feed(plant.consumer, bad)
    told = plant.get("/api/letters").json()
    [found] = told["items"]
    assert (found["kind"], found["reason"], found["may_be_retried"]) == (
        *("message", "bad_payload"),
        False,
    )
    [reason] = told["reasons"]
    assert (reason["letters"], reason["mend"]) == (
        1,
        "see what publishes on that topic, and in which format",
    )
    letter = plant.get("/api/letter", params={"name": found["name"]}).json()
    assert letter["letter"] == found
    assert letter["topic"] == bad.topic
    assert bytes.fromhex(letter["payload_hex"]) == bad.payload
    assert letter["payload"] is None
    assert items(plant, "/api/letters", kind="row") == []


GIVEN_UP = RETRIABLE_MESSAGES | {Reason.ALIAS_OF_UNSEEN_BIRTH}
REFUSED = {
    *(Reason.BAD_PAYLOAD, Reason.JSON_PAYLOAD, Reason.TOO_LARGE, Reason.BAD_ENVELOPE),
    *(Reason.ENVELOPE_TOO_LARGE, Reason.NAMELESS_BIRTH),
    *(Reason.TOO_MANY_NODES, Reason.TOO_MANY_TAGS),
}


def test_of_whatever_reason_a_message_is_a_dead_letter_it_is_said_what_helps():
    assert set(OF_MESSAGES) == GIVEN_UP | REFUSED
    assert all(text and mend for text, mend in OF_MESSAGES.values())


def test_what_needs_attention_does_so_since_it_happened_not_since_the_consumer_started(
    tmp_path, monkeypatch
):
    with http_side(tmp_path) as client:
        first, after = message("NBIRTH", tag("Speed", 0, 1.0)), message("NDATA", seq=9)
        feed(client.consumer, first, after, message("NDATA")._replace(payload=b"\xff"))
        client.consumer.decoding._take(InboxBatch(), 1e9)
        before = {each["kind"]: each for each in attention(client)}
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now + 3600 * 10**9)
    with http_side(tmp_path) as client:
        after = {each["kind"]: each for each in attention(client)}
    for kind, text in (("gaps", "1 gap "), ("letters", "1 dead letter ")):
        assert after[kind]["text"].startswith(text)
        assert after[kind]["since_ms"] == before[kind]["since_ms"]
        assert abs(after[kind]["since_ms"] - now // 10**6) < 60_000


def test_the_ledger_adds_up(plant):
    told = plant.get("/api/ledger").json()
    assert (told["balanced"], told["difference"]) == (True, 0)
    assert any(line.startswith("rows of main.ot.tag_events: produced") for line in told["lines"])


def test_a_spool_that_cannot_be_read_is_said(plant, tmp_path):
    with sqlite3.connect(tmp_path / "spool.db") as db:
        db.execute("DROP TABLE gaps")
    answer = plant.get("/api/gaps")
    assert answer.status_code == 503
    assert answer.json()["error"] == "unavailable"
    assert "Retry-After" in answer.headers


# ---------------------------------------------------------------------- the whole


def test_the_overview_says_what_needs_attention_and_what_helps(plant):
    told = plant.get("/api/overview").json()
    assert told["product"] == "sparkplug-zerobus"
    assert told["state"]["level"] == "wrong"
    [server] = [each for each in told["attention"] if each["kind"] == "server"]
    assert server["text"].startswith("plant is not connected")
    assert "check" in server["mend"]
    card = told["cards"][0]
    assert (card["level"], card["text"]) == ("wrong", "0 of 1 connected")
    assert card["cause"] == server["text"]
    assert told["ledger"]["text"].endswith("difference 0")
    assert set(told["samples"]) >= {"time_ms", "rows_per_second", "latency_p99_seconds"}


def test_samples_are_columns_of_the_same_length(plant):
    looking = _looking(plant)
    for _ in range(3):
        looking.samples.look()
    samples = plant.get("/api/overview").json()["samples"]
    lengths = {len(column) for name, column in samples.items() if name != "step_seconds"}
    assert len(lengths) == 1
    assert lengths.pop() >= 2


def test_no_secret_is_in_the_configuration_that_is_shown(tmp_path):
    file = tmp_path / "secret-file"
    file.write_text("mqtt-secret-word")
    servers = [
        {
            "name": "plant",
            "url": "mqtt://127.0.0.1:9",
            "username": "u",
            "password_file": str(file),
        }
    ]
    with http_side(tmp_path, http={"keys": KEYS}, servers=servers) as client:
        for path in ("/config", "/api/config"):
            text = client.with_key(READER).get(path).text
            assert READER not in text
            assert "mqtt-secret-word" not in text
            assert "secret-file" not in text
            told = json.loads(text)["configuration"]
            assert told["servers"][0]["password"] == "***"
            assert told["zerobus"]["client_secret"] == "***"
            assert [each["key"] for each in told["http"]["keys"]] == ["***"] * 3
        changed = client.with_key(READER).get("/config").json()["changed"]
        assert "servers[0].url" in changed
        assert "http.listen" not in changed


def test_diagnostics_have_the_layout_that_operators_know(plant):
    for path in ("/diagnostics", "/system/zerobus/diagnostics"):
        answer = plant.get(path)
        assert answer.headers["Content-Type"].startswith("text/plain")
        lines = answer.text.splitlines()
        assert lines[0] == "=== Zerobus Module Diagnostics ==="
        assert "Stream State: CLOSED" in lines
        assert "Last Successful Send: Never" in lines
        assert any(line.startswith("Queue Size: ") and "/" in line for line in lines)


def test_the_contract_for_programs_names_every_route(plant):
    paths = plant.get("/openapi.json").json()["paths"]
    assert {*PATHS, "/metrics", "/status", "/diagnostics", "/api/session"} <= set(paths)
    assert "/api/actions/rebirth" in paths
