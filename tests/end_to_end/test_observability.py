"""What /healthz, /readyz, /metrics, /status and the log say, and what none of them ever says."""

from __future__ import annotations

import json
import logging

from support.services import mosquitto, password_line

from consumer.logs import JsonLines, TextLines
from end_to_end.consumer_process import CLIENT_ID, SECRET, configuration, consumer
from end_to_end.gateway import MEASURED_MS, Gateway, metric
from end_to_end.world import local_zerobus, world

MQTT_PASSWORD = "mqtt-must-not-appear-either"
TOKEN = "ingest-token-must-not-appear"


def test_readiness_follows_the_connections_and_health_does_not(tmp_path):
    with world(tmp_path) as system:
        system.consumer.start_ready()
        assert system.consumer.get("/readyz").json() == {"status": "ok", "stream_state": "OPENED"}

        system.server.kill()
        system.consumer.wait_for(lambda: not system.consumer.answers("/readyz"), "503")
        answer = system.consumer.get("/readyz")
        assert answer.status_code == 503
        assert answer.json() == {
            "status": "failing",
            "not_connected": ["plant-a"],
            "stream_state": "OPENED",
        }
        assert system.consumer.get("/healthz").status_code == 200
        assert system.consumer.metric("sparkplug_zerobus_servers_connected") == 0
        [server] = system.consumer.status()["servers"]
        assert not server["connected"]
        assert server["last_error"]

        system.server.restart()
        system.consumer.wait_for(lambda: system.consumer.answers("/readyz"), "ready again")
        assert system.consumer.status()["servers"] == [
            {
                "name": "plant-a",
                "connected": True,
                "connections": 2,
                "last_error": "",
                "broker_dropped_messages": 0,
                "state_answers": 0,
                "foreign_host_births": 0,
            }
        ]

        system.zerobus.stop()
        Gateway(system.publish, "Plant").born(metric("Level"))  # an idle stream is not looked at
        system.consumer.wait_for(
            lambda: system.consumer.get("/readyz").json()["stream_state"] == "BACKING_OFF",
            "a pause between two attempts",
        )
        assert system.consumer.get("/readyz").status_code == 503
        assert system.consumer.get("/healthz").status_code == 200
        status = system.consumer.status()
        assert status["failures"] > 0
        assert status["failure"]
        assert system.consumer.metric("sparkplug_zerobus_stream_open") == 0
        assert system.consumer.metric("sparkplug_zerobus_delivery_failures_total") > 0


def test_metrics_and_status_count_the_same(tmp_path):
    with world(tmp_path) as system:
        system.consumer.start_ready()
        gateway = Gateway(system.publish, "Plant")
        gateway.born(metric("Level", value=0.0), metric("Flow", value=0.0))
        gateway.device_born("Pump", metric("Speed", value=0.0))
        for number in range(1, 8):
            gateway.data(metric("Level", value=1.0, timestamp=MEASURED_MS + number))
        system.table.wait_for(10)
        system.consumer.wait_delivered()

        status = system.consumer.status()
        received = status["reasons"].pop("host_state") + 9
        assert status["messages_received"] == received
        assert status["bytes_received"] > 9 * 20
        assert status["reasons"] == {}
        for name in ("rows_produced", "rows_sent", "rows_acked"):
            assert status[name] == 10, name
        for name in ("spooled_rows", "failures", "rows_dropped", "rebirths_requested"):
            assert status[name] == 0, name
        assert status["batches"] >= 1
        assert status["last_acked_offset"] == status["batches"] - 1
        assert status["stream_state"] == "OPENED"
        assert status["failure"] == ""

        for name, value in {
            'messages_received_total{server="plant-a"}': received,
            'received_bytes_total{server="plant-a"}': status["bytes_received"],
            'rows_produced_total{server="plant-a"}': 10,
            "batches_decoded_total": status["batches_decoded"],
            'remarks_total{reason="host_state"}': received - 9,
            "decode_seconds_count": status["batches_decoded"],
            "rows_sent_total": 10,
            "rows_acknowledged_total": 10,
            "rows_set_aside_total": 0,
            "calls_sent_total": status["batches"],
            "delivery_failures_total": 0,
            "stream_reconnects_total": 0,
            "stream_open": 1,
            "inflight_rows": 0,
            "spooled_rows": 0,
            "spool_oldest_seconds": 0,
            "queued_bytes": 0,
            "servers_connected": 1,
            "edge_nodes": 1,
            "tags": 4,  # bdSeq is one
        }.items():
            assert system.consumer.metric(f"sparkplug_zerobus_{name}") == value, name
        assert system.consumer.metric("sparkplug_zerobus_spool_bytes") > 0
        assert (
            system.consumer.metric("sparkplug_zerobus_last_acknowledgement_timestamp_seconds")
            > 1.7e9
        )
        acknowledged = system.consumer.metric("sparkplug_zerobus_acknowledgement_seconds_count")
        assert 1 <= acknowledged <= status["batches_decoded"]
        # Its times are of the present: no row of a moment ago is as old as a backlog.
        oldest = 'sparkplug_zerobus_acknowledgement_seconds_bucket{le="3600.0"}'
        assert system.consumer.metric(oldest) == acknowledged

        assert system.consumer.stop() == 0
        *_, totals, remaining = system.consumer.log().splitlines()
        assert totals.endswith(" messages, produced 10 rows, 10 acknowledged")
        assert remaining.endswith(" 0 rows remain in the spool")


def test_the_log_can_be_one_json_object_per_line(tmp_path):
    with world(tmp_path, log={"format": "json", "level": "debug"}) as system:
        system.consumer.start_ready()
        Gateway(system.publish, "Plant").data(metric("Level"))
        system.publish("spBv1.0/Plant/NDATA/Edge", b"\xff")
        system.consumer.wait_for_log("asked Plant/Edge for a rebirth")
        system.consumer.wait_for_log("bad_payload")
        system.server.kill()
        system.consumer.wait_for_log("cannot connect to plant-a")
        assert system.consumer.stop() == 0
        records = [json.loads(line) for line in system.consumer.log().splitlines()]

    assert all({"time", "level", "logger", "message"} <= record.keys() for record in records)
    by_text = {record["message"]: record for record in records}
    assert by_text["stopping"]["level"] == "info"
    [bad] = [record for record in records if record.get("reason") == "bad_payload"]
    assert (bad["level"], bad["server"], bad["count"]) == ("warning", "plant-a", 1)
    assert "spBv1.0/Plant/NDATA/Edge" in bad["message"]
    [unborn] = [record for record in records if record.get("reason") == "data_before_birth"]
    assert unborn["message"].endswith("for example on Plant/Edge")
    [asked] = [record for record in records if "for a rebirth" in record["message"]]
    assert (asked["group_id"], asked["edge_node_id"]) == ("Plant", "Edge")
    assert by_text["0 rows remain in the spool"]


def test_secrets_are_shown_nowhere_even_when_they_are_refused(tmp_path):
    passwords = tmp_path / "passwords"
    passwords.write_text(password_line("consumer", "another one"))
    secret_file = tmp_path / "secret"
    secret_file.write_text(MQTT_PASSWORD + "\n")
    changes = {
        "servers": {"username": "consumer", "password_file": str(secret_file)},
        "zerobus": {"client_secret": "${THE_SECRET}"},
        "http": {"token": TOKEN},
        "log": {"level": "debug"},
    }
    broker = f"allow_anonymous false\npassword_file {passwords}"
    with (
        mosquitto(tmp_path, broker) as server,
        local_zerobus(tmp_path / "lake", credentials={CLIENT_ID: "another one"}) as zerobus,
        consumer(
            tmp_path,
            configuration(tmp_path, server.url, zerobus, **changes),
            {"THE_SECRET": SECRET},
        ) as process,
    ):
        process.start()
        process.wait_for_log("refused: ")
        process.wait_for_log("rows stay spooled")
        shown = [process.get(path).text for path in ("/healthz", "/readyz", "/metrics", "/status")]
        assert process.stop() == 0
        shown.append(process.log())

    assert "check username, password and the server's access rules" in shown[-1]
    for secret in (SECRET, MQTT_PASSWORD, TOKEN):
        assert not any(secret in text for text in shown)


def test_a_text_from_elsewhere_cannot_begin_a_line_of_the_log():
    record = logging.makeLogRecord(
        {"msg": "refused: %s", "args": ("a\nb\x1b[2J\x85",), "levelname": "INFO"}
    )
    assert TextLines().format(record).endswith("info    refused: a\\nb\\x1b[2J\\x85")
    assert json.loads(JsonLines().format(record))["message"] == "refused: a\nb\x1b[2J\x85"
    assert len(JsonLines().format(record).splitlines()) == 1
