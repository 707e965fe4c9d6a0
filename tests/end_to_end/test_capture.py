"""A capture of a running system, replayed: the rows and event ids that landed in the table."""

from __future__ import annotations

import contextlib
import json
import signal

import pyarrow.parquet as pq
import pytest
import zstandard
from support.program import run, start
from support.services import PATIENCE, wait_until

from consumer.simulator import Gateways, MqttTarget, Published
from end_to_end.world import world

OF_ITS_OWN = {"ingestion_timestamp", "arrival_number"}
"""Columns that two receivers fill in, each for itself."""


class Capture:
    """`capture` beside the consumer."""

    def __init__(self, system, path, *options):
        self.path = path
        self._log = path.with_suffix(".log")
        with self._log.open("wb") as log:
            arguments = ["capture", "--config", str(system.consumer.config_file), str(path)]
            self._process = start([*arguments, *options], stdout=log, stderr=log)

    def log(self):
        return self._log.read_text()

    def wait_ready(self):
        wait_until(lambda: "Ctrl-C ends it" in self.log(), what="the capture")

    def stop(self):
        self._process.send_signal(signal.SIGTERM)
        assert self._process.wait(PATIENCE) == 0, self.log()

    def close(self):
        self._process.kill()
        self._process.wait(PATIENCE)


@contextlib.contextmanager
def captured(system, *paths_and_options):
    """Captures of what simulated gateways publish, which all has landed then."""
    with contextlib.ExitStack() as ending:
        captures = [Capture(system, path, *options) for path, *options in paths_and_options]
        for capture in captures:
            ending.callback(capture.close)
            capture.wait_ready()
        ledger = Published(site="Werk Süd")
        gateways = Gateways(MqttTarget(system.server.url), 2, 100.0, ledger=ledger)
        gateways.start()
        try:
            assert gateways.wait_online(PATIENCE)
            wait_until(lambda: gateways.published > 1500, what="values")
            gateways.pause()
            wait_until(lambda: gateways.quiet, what="quiet gateways")
            system.consumer.wait_delivered()
            wait_until(lambda: ledger.event_ids <= set(system.table.event_ids()), what="rows")
            for capture in captures:
                capture.stop()
        finally:
            gateways.stop()
        yield ledger


def replayed(path, *options):
    ended = run("replay", str(path), *options)
    assert ended.returncode == 0, ended.stderr
    return ended


def plain(row):
    return {key: value for key, value in row.items() if key not in OF_ITS_OWN}


def shown(row):
    """A row of the table as JSON shows it: times as text, nulls left out."""
    return {
        key: value.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if hasattr(value, "strftime") else value
        for key, value in plain(row).items()
        if value is not None
    }


def in_order(rows):
    return sorted(rows, key=lambda row: json.dumps(row, sort_keys=True, default=str))


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A system of which all is captured, plainly and redacted, and what landed in its table."""
    directory = tmp_path_factory.mktemp("captured")
    plain_path, redacted_path = directory / "wire.spz", directory / "redacted.spz"
    with world(directory, servers={"site": "Werk Süd"}) as system:
        system.consumer.start_ready()
        with captured(
            system,
            (plain_path,),
            (redacted_path, "--redact"),
        ) as ledger:
            pass
        landed = system.table.rows(message_type=["NBIRTH", "DBIRTH", "NDATA", "DDATA"])
        assert system.consumer.stop() == 0
    return plain_path, redacted_path, landed, ledger


def test_a_replay_gives_the_rows_and_event_ids_that_landed_in_the_table(done):
    path, _, landed, ledger = done
    ended = replayed(path)
    rows = [json.loads(line) for line in ended.stdout.splitlines()]
    assert {row["event_id"] for row in rows} >= ledger.event_ids
    assert in_order(map(plain, rows)) == in_order(map(shown, landed))


def test_another_site_gives_other_event_ids(done):
    path, _, landed, _ = done
    rows = [json.loads(each) for each in replayed(path, "--site", "North").stdout.splitlines()]
    assert len(rows) == len(landed)
    assert not {row["event_id"] for row in rows} & {row["event_id"] for row in landed}


def test_parquet_and_csv_have_the_same_rows(done, tmp_path):
    path, _, landed, _ = done
    replayed(path, "--format", "parquet", "--output", str(tmp_path / "rows.parquet"))
    table = pq.read_table(tmp_path / "rows.parquet")
    assert in_order(map(plain, table.to_pylist())) == in_order(map(plain, landed))
    lines = replayed(path, "--format", "csv").stdout.splitlines()
    assert lines[0].split(",") == table.schema.names
    assert {line.partition(",")[0] for line in lines[1:]} == {row["event_id"] for row in landed}


def structure(row):
    names = {"event_id", "tag_path", "source_system_id", "string_value", *OF_ITS_OWN}
    names |= {"group_id", "edge_node_id", "device_id", "metric_name"}
    kept = {key: value for key, value in row.items() if key not in names}
    return kept | {"text": row.get("string_value") is not None, "device": "device_id" in row}


def test_a_redacted_capture_gives_the_same_rows_without_names_and_texts(done):
    path, redacted, landed, _ = done
    ended = replayed(redacted)
    rows = [json.loads(line) for line in ended.stdout.splitlines()]
    assert "redacted" in ended.stderr
    before = [json.loads(line) for line in replayed(path).stdout.splitlines()]
    assert in_order(map(structure, rows)) == in_order(map(structure, before))
    texts = {row["string_value"] for row in landed if row["string_value"]}
    for row in landed:
        texts |= {row["group_id"], row["edge_node_id"], row["device_id"] or row["group_id"]}
        if row["metric_name"].partition("/")[0] not in {"Node Control", "Node Info"}:
            texts |= set(row["metric_name"].split("/"))
    names = {row["metric_name"] for row in landed}
    assert len({row["metric_name"] for row in rows}) == len(names)
    content = decompressed(redacted)
    assert len(texts) > 20
    assert [text for text in texts if len(text) > 3 and text.encode() in content] == []


def decompressed(path):
    """All bytes of a capture, its header included."""
    with path.open("rb") as file:
        raw = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True).read()
    return path.read_bytes()[:1000] + raw
