"""The demo command, run as users run it: real broker, real SDK, real Delta table."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import termios
import threading
import time
import uuid
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import httpx
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from deltalake import DeltaTable, write_deltalake
from support import program
from support.services import PATIENCE, PROMPT, wait_until

from consumer.demo import run
from consumer.demo.mqtt_server import choose
from consumer.demo.processes import DemoError
from consumer.demo.report import again
from consumer.demo.system import SystemReading
from consumer.demo.verification import QUERY, count_rows, verify
from consumer.rows.tables import TAG_EVENTS_SCHEMA

PROGRAM = "from consumer.cli import main; main()"
COMMAND = [sys.executable, "-c", PROGRAM, "demo"]
NO_MOSQUITTO = "from consumer.demo import mqtt_server as m; m.find_mosquitto = lambda: None; "
# The first port that is probed for each part is taken by another program meanwhile.
TAKEN_PORTS = """
import socket
from consumer.demo import mqtt_server, system
taken = socket.create_server(("127.0.0.1", 0))
probe = system.free_ports
probed = []
def free_ports(count):
    ports = probe(count)
    probed.append(count)
    if probed in ([1], [1, 1, 3]):
        ports[0] = taken.getsockname()[1]
    elif count == 3 and 2 <= probed.count(3) <= 4:  # the consumer's, whichever attempt it is
        ports[-1] = taken.getsockname()[1]
    return ports
mqtt_server.free_ports = system.free_ports = free_ports
"""
# The consumer does not wait long for acknowledgements that cannot come.
IMPATIENT = "from consumer.demo import system; system._SHUTDOWN_TIMEOUT = '500ms'; "
GATEWAYS = ["Plant 1/Line A", "Plant 2/Line A", "Plant 3/Line A"]
TABLE = ("ignition_demo", "scada_data", "tag_events")


class Demo:
    """A demo that runs, and the processes that it started."""

    def __init__(self, directory, *arguments, prelude=""):
        self.data_dir = directory / "data"
        run = sum(1 for _ in directory.glob("stdout-*"))
        self.stdout, self.stderr = directory / f"stdout-{run}", directory / f"stderr-{run}"
        with self.stdout.open("w") as out, self.stderr.open("w") as err:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-c", prelude + PROGRAM, "demo"),
                    *("--data-dir", str(self.data_dir), *map(str, arguments)),
                ],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )
        self.children = {}

    @property
    def out(self):
        return self.stdout.read_text()

    @property
    def err(self):
        return self.stderr.read_text()

    @property
    def table(self):
        return pq.read_table(DeltaTable(self.data_dir.joinpath(*TABLE)).file_uris())

    def wait_for(self, text):
        wait_until(lambda: text in self.err or self.process.poll() is not None, what=f"{text!r}")
        assert text in self.err, self.err
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(self.process.pid).children(recursive=True):
                self.children[child.pid] = child

    def child(self, word):
        """The process of a part: by the name of its program or of our command."""
        (found,) = (
            child
            for child in self.children.values()
            if any(
                Path(part).name == word and not Path(part).is_dir()  # a checkout may be called so
                for part in child.cmdline()
            )
        )
        return found

    def status(self):
        config = yaml.safe_load((self.data_dir / "sparkplug-zerobus.yaml").read_text())
        url = f"http://{config['http']['listen']}/status"
        return httpx.get(url, timeout=PATIENCE).json()

    def end(self, timeout=2 * PATIENCE):
        """Exit code; everything that the demo had started must have ended."""
        code = self.process.wait(timeout)
        assert self.children
        assert [child for child in self.children.values() if child.is_running()] == []
        assert mentioning(self.data_dir) == []
        return code


def mentioning(path):
    """Processes with a path in their arguments, also those that were not seen as children."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if any(str(path) in part for part in process.cmdline()):
                found.append(process)
    return found


def tag_events(*rows):
    """A table of tag_events of which only event_id and source_system_id matter."""
    values = {
        pa.string(): "GOOD",
        pa.timestamp("us", tz="UTC"): 1_763_900_000_000_000,
        pa.bool_(): False,
        pa.int64(): 1,
    }
    columns = {
        field.name: pa.array(
            [None if field.nullable else values[field.type]] * len(rows), field.type
        )
        for field in TAG_EVENTS_SCHEMA
    }
    for name, index in (("event_id", 0), ("source_system_id", 1)):
        columns[name] = pa.array([row[index] for row in rows])
    return pa.table(columns, TAG_EVENTS_SCHEMA)


@contextlib.contextmanager
def demo(directory, *arguments, prelude=""):
    running = Demo(directory, *arguments, prelude=prelude)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.process.wait(PATIENCE)
            running.process.kill()


class Done(NamedTuple):
    """A demo that has ended well, with what was in its tables then."""

    running: Demo
    table: pa.Table
    metadata: pa.Table
    events: pa.Table

    @property
    def summary(self):
        """What --json prints."""
        return json.loads(self.running.out.splitlines()[-1])

    @property
    def facts(self):
        """The lines of the Verified block, which is printed without --json."""
        lines = self.running.out.splitlines()
        at = lines.index("Verified")
        return dict(line.strip().split("  ", 1) for line in lines[at + 1 :])


def number(fact):
    """The number at the beginning of a fact."""
    return int(fact.split()[0].replace(",", ""))


def completed(directory, *arguments, prelude=""):
    with demo(directory, *arguments, prelude=prelude) as running:
        running.wait_for("online")
        assert running.end() == 0, running.err
    schema_dir = running.data_dir.joinpath(*TABLE[:-1])
    metadata, events = (
        DeltaTable(schema_dir / name).to_pyarrow_table()
        for name in ("tag_metadata", "sparkplug_events")
    )
    return Done(running, running.table, metadata, events)


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A whole run, three seconds long."""
    return completed(tmp_path_factory.mktemp("demo"), "--seconds", 3, "--json")


@pytest.fixture(scope="module")
def second(first):
    """Another one in the same directory, without --json, on ports that others take meanwhile."""
    arguments = ("--seconds", 1, "--gateways", 2, "--rate", 50)
    return completed(first.running.data_dir.parent, *arguments, prelude=TAKEN_PORTS)


@pytest.fixture(scope="module")
def without_mosquitto(tmp_path_factory):
    """A run on amqtt, on ports that others take meanwhile."""
    prelude = NO_MOSQUITTO + TAKEN_PORTS
    return completed(tmp_path_factory.mktemp("amqtt"), "--seconds", 2, "--json", prelude=prelude)


def test_everything_published_is_found_in_the_table(first):
    running, table, summary = first.running, first.table, first.summary
    assert summary["events_published"] > 1000
    for key in ("events_received", "rows_sent", "rows_landed", "rows_distinct"):
        assert summary[key] == summary["events_published"], key
    assert (summary["missing"], summary["failures"], summary["stream_state"]) == (0, 0, "OPENED")
    assert summary["last_acked_offset"] == summary["batches"] - 1 > 0
    assert summary["verified"] is True

    # Not what the demo says, but what is there.
    assert table.num_rows == summary["rows_landed"]
    assert len(set(table["event_id"].to_pylist())) == summary["rows_distinct"]
    counts = table.group_by("source_system_id").aggregate([([], "count_all")]).to_pylist()
    rows = {row["source_system_id"]: row["count_all"] for row in counts}
    assert rows == summary["gateways"]
    assert sorted(rows) == GATEWAYS
    assert min(rows.values()) > 300

    # The end of the demo is not covered by rows of gateways that were switched off.
    assert set(table["message_type"].to_pylist()) == {"NBIRTH", "DBIRTH", "NDATA", "DDATA"}

    assert running.out.count("\n") == 1
    for text in (*QUERY.splitlines(), "Ramp/Ramp", "Verified", str(running.data_dir)):
        assert text in running.err


def test_every_tag_has_its_metadata_and_every_birth_its_event(first):
    summary = first.summary
    tags = set(first.table["tag_path"].to_pylist())
    assert set(first.metadata["tag_path"].to_pylist()) == tags
    assert summary["tags_described"] == len(tags)
    assert 0 < summary["tags_with_unit"] < len(tags)
    kinds = Counter(first.events["event_type"].to_pylist())
    assert kinds == summary["events_by_type"] == {"node_birth": 3, "device_birth": 6}


@pytest.mark.long
def test_a_second_run_in_the_same_directory_counts_only_its_own_rows(first, second):
    facts = second.facts
    assert facts["landed"].split()[0] == facts["published"].split()[0]
    assert "other rows" not in facts
    assert second.table.num_rows == first.table.num_rows + number(facts["landed"])


def test_without_json_the_rows_and_the_verified_block_are_the_output(first, second):
    running, facts = second.running, second.facts
    lines = running.out.splitlines()
    assert sum("/Ramp/Ramp" in line and " % " in line for line in lines) == 10
    assert any(line.split() == ["node_birth", "5"] for line in lines)  # of both runs
    rows = second.table.num_rows - first.table.num_rows
    for name in ("published", "received", "sent", "acknowledged", "landed", "distinct events"):
        assert number(facts[name]) == rows, name
    assert facts["failures"].split() == ["0"]
    assert facts["stream state"].split() == ["OPENED"]
    assert "Verified" not in running.err

    command = next(line for line in running.err.splitlines() if "DeltaTable" in line)
    asked = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=True)
    assert "Plant 2/Line A" in asked.stdout


@pytest.mark.long
def test_where_there_is_no_mosquitto_amqtt_does(without_mosquitto):
    assert "No mosquitto found" in without_mosquitto.running.err
    summary = without_mosquitto.summary
    assert summary["broker"] == "amqtt"
    assert summary["rows_landed"] == summary["events_published"] > 500
    assert summary["failures"] == 0
    assert sorted(summary["gateways"]) == GATEWAYS


@pytest.mark.parametrize(
    ("run", "broker"), [("second", "mosquitto"), ("without_mosquitto", "amqtt")]
)
def test_a_port_that_another_program_takes_is_replaced(request, run, broker):
    logs = request.getfixturevalue(run).running.data_dir / "logs"
    for name in (broker, "local-zerobus", "consumer"):
        log = (logs / f"{name}.log").read_text()
        assert "annot listen on" in log or "ddress already in use" in log, name


@pytest.mark.parametrize(
    ("moment", "number"),
    [("  broker ", signal.SIGTERM), ("  zerobus ", signal.SIGINT), ("online", signal.SIGTERM)],
)
def test_a_signal_at_any_time_leaves_nothing_running(tmp_path, moment, number):
    with demo(tmp_path, "--seconds", 600) as running:
        running.wait_for(moment)
        running.process.send_signal(number)
        assert running.end() == 130
    assert running.err.count("Interrupted") == 1
    assert str(running.data_dir) in running.err.splitlines()[-1]
    assert "Traceback" not in running.err
    assert running.out == ""


def test_on_a_terminal_it_shows_a_live_table_until_ctrl_c_is_typed(tmp_path):
    master, slave = os.openpty()
    termios.tcsetwinsize(slave, (50, 80))
    # Ctrl-C goes to the foreground process group of the controlling terminal.
    take = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    program = [sys.executable, "-c", take + PROGRAM, "demo"]
    process = subprocess.Popen(
        [*program, "--seconds", "600", "--gateways", "1", "--data-dir", str(tmp_path)],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80"},
        start_new_session=True,
    )
    os.close(slave)
    screen = bytearray()

    def read():
        with contextlib.suppress(OSError):  # the end of a terminal
            while received := os.read(master, 4096):
                screen.extend(received)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        wait_until(lambda: screen.count(b"per s") > 3, what="a live table")
        os.write(master, b"\x03")
        assert process.wait(PATIENCE) == 130
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(PATIENCE)
        reader.join(PATIENCE)
        os.close(master)
    text = screen.decode()
    for word in ("published", "received", "landed", "OPENED", "of 600 s", "Interrupted"):
        assert word in text
    assert "\x1b[" in text  # it is redrawn in place
    assert "Traceback" not in text
    assert mentioning(tmp_path) == []


def test_with_stay_the_first_ctrl_c_ends_publishing_and_everything_is_verified(tmp_path):
    with demo(tmp_path, "--stay", "--seconds", 0.5, "--rate", 20, "--json") as running:
        running.wait_for("until Ctrl-C")
        said = running.stderr.read_text("utf-8")
        address = re.search(r"consumer +(http://\S+/) ", said).group(1)
        assert "<title>sparkplug-zerobus</title>" in httpx.get(address).text
        running.process.send_signal(signal.SIGINT)
        assert running.end(PATIENCE) == 0
        assert json.loads(running.stdout.read_text("utf-8"))["verified"]


def test_with_udts_their_members_are_verified_and_views_can_be_made_of_them(tmp_path):
    found = completed(tmp_path, "--udts", "--seconds", 1, "--gateways", 1, "--json")
    data = found.running.data_dir
    assert json.loads(found.running.out)["verified"]
    schema = data.joinpath(*TABLE[:-1])
    models = program.run(
        *("databricks", "models", "--config", str(data / "sparkplug-zerobus.yaml")),
        *("--metadata", str(schema / "tag_metadata")),
    )
    assert models.returncode == 0, models.stderr
    for view in ("udt_conveyor", "udt_motor_filled", "udt_bearing_latest"):
        assert f"VIEW ignition_demo.scada_data.{view} AS" in models.stdout


def test_a_second_ctrl_c_does_not_wait(tmp_path):
    patient = "from consumer.demo import system; system._STOP_SECONDS = 600.0; "
    with demo(tmp_path, "--seconds", 600, "--gateways", 1, prelude=patient) as running:
        running.wait_for("online")
        stubborn = running.child("run")
        stubborn.suspend()  # cannot react to SIGTERM
        running.process.send_signal(signal.SIGINT)
        running.wait_for("Stopping")
        running.process.send_signal(signal.SIGINT)
        assert running.end(PROMPT) == 130


@pytest.mark.long
def test_a_consumer_that_dies_is_reported_and_its_spool_is_delivered_by_the_next_run(tmp_path):
    with demo(tmp_path, "--seconds", 600, "--json") as running:
        running.wait_for("online")
        running.wait_for("received")
        # What it receives now stays in the spool: nobody acknowledges.
        server, consumer = running.child("local-zerobus"), running.child("run")
        server.suspend()
        wait_until(lambda: running.status()["spooled_rows"] > 500, what="rows in the spool")
        spooled = running.status()["rows_produced"]
        # Of the next batch there are rows: those before it are committed.
        wait_until(lambda: running.status()["rows_produced"] > spooled, what="the next batch")
        consumer.kill()
        server.resume()
        assert running.end() == 1
    summary = json.loads(running.out)
    assert summary["verified"] is False
    assert summary["missing"] > 0
    assert summary["missing"] == summary["events_distinct"] - summary["rows_distinct"]
    (problem,) = summary["problems"]
    assert problem.startswith("consumer ended by itself (signal SIGKILL)")
    for text in (problem, "published events are not in the table", "NOT verified"):
        assert text in running.err

    with demo(tmp_path, "--seconds", 0.5, "--json") as running:
        running.wait_for("online")
        assert "rows of an earlier run are in its spool" in running.err
        assert running.end() == 0, running.err
    summary = json.loads(running.out)
    assert summary["rows_landed"] == summary["events_published"]
    assert summary["rows_other"] > 0
    # Everything that the first consumer had spooled when it was killed is there, too.
    distinct = len(set(running.table["event_id"].to_pylist()))
    assert distinct >= spooled + summary["rows_distinct"]


@pytest.mark.parametrize("name", ["local-zerobus", "mosquitto"])
def test_a_server_that_dies_ends_the_demo_with_its_log(tmp_path, name):
    with demo(tmp_path, "--seconds", 600, "--gateways", 1, prelude=IMPATIENT) as running:
        running.wait_for("online")
        running.child(name).kill()
        assert running.end() == 1
    assert f"{name} ended by itself (signal SIGKILL)" in running.err
    assert str(running.data_dir / "logs" / f"{name}.log") in running.err
    assert "Traceback" not in running.err


def test_a_part_that_cannot_start_is_named_with_the_reason(tmp_path):
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    (data_dir / "spool.db").write_text("no database")
    with demo(tmp_path, "--seconds", 1) as running:
        running.wait_for("zerobus ")
        assert running.end() == 1
    assert "Error: consumer ended by itself (exit code" in running.err
    assert "spool.db" in running.err
    assert running.out == ""


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--gateways", "0"), "--gateways"),
        (("--seconds", "soon"), "--seconds"),
        (("--rate", "-1"), "--rate"),
        (("--broker", "hivemq"), "--broker"),
        (("--data-dir", "/dev/null"), "--data-dir"),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments, word):
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert word in done.stderr
    assert done.stdout == ""


def test_mosquitto_is_preferred_and_amqtt_is_the_fallback():
    assert choose("auto", "/usr/sbin/mosquitto", amqtt=True) == "/usr/sbin/mosquitto"
    assert choose("amqtt", "/usr/sbin/mosquitto", amqtt=True) == "amqtt"
    assert choose("auto", None, amqtt=True) == "amqtt"


@pytest.mark.parametrize(
    ("choice", "amqtt", "words"),
    [
        ("auto", False, ["apt-get install mosquitto", "pip install amqtt"]),
        ("mosquitto", True, ["apt-get install mosquitto"]),
        ("amqtt", False, ["pip install amqtt"]),
    ],
)
def test_without_a_broker_the_error_says_how_to_install_one(choice, amqtt, words):
    with pytest.raises(DemoError) as error:
        choose(choice, None, amqtt=amqtt)
    assert all(word in str(error.value) for word in words)


class LastRound:
    """All parts of a demo whose gateways publish one round more after they were told to pause."""

    def __init__(self):
        self.published = 100
        self.fleet = SimpleNamespace(quiet=False, ledger=SimpleNamespace(distinct=100))
        self.last = None

    def check(self):
        """All parts run."""

    def read(self):
        rows = self.published
        status = {"rows_produced": rows, "rows_acked": rows, "spooled_rows": 0}
        return SystemReading(time.monotonic(), rows, rows, status)

    def show(self, reading, _phase, *, last=False):
        self.last = reading if last else None

    def wait(self, _seconds):
        self.published = 105
        self.fleet.quiet = True


def test_the_last_round_of_the_gateways_is_waited_for_before_anything_is_compared():
    demo = LastRound()
    run._drain(demo, demo, demo)
    assert demo.last.published == 105


def test_rows_that_are_missing_or_landed_twice_are_found(tmp_path):
    ids = [uuid.uuid4().hex for _ in range(5)]
    table_dir = tmp_path / "t"
    assert count_rows(table_dir) == 0
    rows = ((ids[0], "A"), (ids[1], "A"), (ids[1], "A"), ("f" * 32, "earlier"))
    write_deltalake(table_dir, tag_events(*rows))
    landed = verify(table_dir, ids, ["A", "B"])
    assert (landed.rows, landed.distinct, landed.missing, landed.total) == (3, 2, 3, 4)
    assert set(landed.examples) == set(ids[2:])
    assert landed.per_gateway == {"A": 3, "B": 0}
    assert count_rows(table_dir) == 4


def test_the_command_to_ask_again_survives_odd_directories(tmp_path):
    table_dir = tmp_path / 'it\'s $HOME "here"'
    write_deltalake(table_dir, tag_events(("0" * 32, "A")))
    asked = subprocess.run(
        ["/bin/sh", "-c", again(table_dir)], capture_output=True, text=True, check=True
    )
    assert "GOOD" in asked.stdout
