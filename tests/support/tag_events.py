"""Encoded rows for tests of the way to Zerobus, and what became of them in the table."""

import contextlib
import json
import signal
import subprocess
import sys
from dataclasses import dataclass, field

from deltalake import DeltaTable

from consumer.pb.tag_event_pb2 import TagEvent
from consumer.rows.descriptors import descriptor_bytes
from consumer.rows.encoded import EncodedRows
from consumer.rows.tables import TAG_EVENTS
from consumer.sinks.login import Login
from consumer.sinks.zerobus import ZerobusSink
from support.services import PATIENCE, free_port

TABLE = "main.plant.tag_events"
CLIENT_ID = "6f9619ff-8b86-d011-b42d-00cf4fc964ff"
SECRET = "dose-not-appear-anywhere"
DESCRIPTOR = descriptor_bytes(TAG_EVENTS.descriptor)
START_US = 1_763_900_000_000_000


def event(number, text=None):
    """One encoded row; `number` is its arrival_number and determines its event_id."""
    return TagEvent(
        event_id=f"{number:032x}",
        event_time=START_US + number,
        tag_path=f"[MQTT Engine]Edge Nodes/Plant/Edge/Ramp{number % 4}",
        tag_provider="MQTT Engine",
        numeric_value=float(number),
        string_value=text,
        quality="GOOD",
        quality_code=192,
        data_type="Double",
        source_system_id="Plant/Edge",
        group_id="Plant",
        edge_node_id="Edge",
        metric_name=f"Ramp{number % 4}",
        message_type="NDATA",
        is_historical=False,
        seq=number % 256,
        ingestion_timestamp=START_US + number,
        arrival_number=number,
    ).SerializeToString()


def events(start, stop):
    """Rows `start` to `stop`."""
    return EncodedRows.from_messages([event(number) for number in range(start, stop)])


def sink_for(server, **options):
    """A sink for a local server, with its credentials."""
    return ZerobusSink(
        server.endpoint, server.workspace_url, login=Login(CLIENT_ID, lambda: SECRET), **options
    )


def landed(data_dir):
    """The arrival numbers in the table, as often as they landed, smallest first.

    Checks on the way that rows are whole and that equal numbers are equal rows.
    """
    table = DeltaTable(str(data_dir / "main" / "plant" / "tag_events"))
    rows = table.to_pyarrow_table(columns=["arrival_number", "event_id", "numeric_value"])
    numbers = rows["arrival_number"].to_pylist()
    assert rows["event_id"].to_pylist() == [f"{number:032x}" for number in numbers]
    assert rows["numeric_value"].to_pylist() == [float(number) for number in numbers]
    return sorted(numbers)


_SERVER = """if True:
    import gc, json, signal, sys
    from pathlib import Path
    gc.disable()  # what is imported is no garbage
    from consumer.rows.tables import TAG_EVENTS_SCHEMA
    from zerobus_local import LocalZerobus, Ports
    options = json.loads(sys.argv[1])
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    server = LocalZerobus(
        Path(options["data_dir"]),
        ports=Ports(
            f"127.0.0.1:{options['grpc_port']}", f"127.0.0.1:{options['http_port']}"
        ),
        commit_interval=0.05,
    )
    server.create_table(options["table"], TAG_EVENTS_SCHEMA)
    server.start()
    gc.freeze()
    gc.enable()
    print("ready", flush=True)
    signal.sigwait({signal.SIGTERM})
    server.stop()
"""


@dataclass
class ServerProcess:
    """The local Zerobus server as a process that can be killed; its ports stay the same."""

    data_dir: object
    grpc_port: int = field(default_factory=free_port)
    http_port: int = field(default_factory=free_port)
    process: object = None

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.grpc_port}"

    @property
    def workspace_url(self):
        return f"http://127.0.0.1:{self.http_port}"

    def start(self):
        options = {
            "data_dir": str(self.data_dir),
            "grpc_port": self.grpc_port,
            "http_port": self.http_port,
            "table": TABLE,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", _SERVER, json.dumps(options)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout.readline() == "ready\n"

    def kill(self):
        """End it at once, as a crash would."""
        self._end(signal.SIGKILL)

    def stop(self):
        """End it in order."""
        self._end(signal.SIGTERM)

    def _end(self, number):
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(PATIENCE)
            self.process.stdout.close()
            self.process = None

    @classmethod
    @contextlib.contextmanager
    def running(cls, data_dir):
        server = cls(data_dir)
        server.start()
        try:
            yield server
        finally:
            server.kill()
