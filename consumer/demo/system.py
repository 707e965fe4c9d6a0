"""The whole system on this machine: broker, local Zerobus server, consumer, gateways."""

from __future__ import annotations

import http.client
import json
import logging
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import yaml

from consumer.demo import mqtt_server
from consumer.demo.processes import (
    DemoError,
    DemoProcess,
    Interrupt,
    ProcessEnded,
    command_line,
    free_ports,
)
from consumer.logs import TextLines
from consumer.simulator import CONVEYOR_INSTANCES, EdgeNodeOptions, Gateways, MqttTarget, Published

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TABLE: Final = "ignition_demo.scada_data.tag_events"
EVENTS_TABLE: Final = "ignition_demo.scada_data.sparkplug_events"
METADATA_TABLE: Final = "ignition_demo.scada_data.tag_metadata"

_ATTEMPTS: Final = 3
_START_SECONDS: Final = 60.0
_ONLINE_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 20.0
_SHUTDOWN_TIMEOUT: Final = "5s"
_HTTP_SECONDS: Final = 2.0
_PORT_TAKEN: Final = "annot listen on"


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What the demo is asked for.

    Args:
        seconds: how long the gateways publish.
        gateways: how many there are.
        rate: changes per second and gateway.
        data_dir: directory for everything; the Delta tables are below it.
        broker: which MQTT server to use.
        stay: whether they publish until the first Ctrl-C, however long `seconds` are.
        udts: whether each has a device more, with instances of UDTs that are published as such.
    """

    seconds: float
    gateways: int
    rate: float
    data_dir: Path
    broker: mqtt_server.Choice = "auto"
    stay: bool = False
    udts: bool = False

    @property
    def table_dir(self) -> Path:
        """The directory of the Delta table."""
        return self.data_dir.joinpath(*TABLE.split("."))


@dataclass(frozen=True, slots=True)
class SystemReading:
    """What the parts have counted at one moment, `at` seconds on the monotonic clock.

    `status` is the last /status that the consumer gave, also while it does not answer;
    `landed` are the rows that the local server has committed since its start.
    """

    at: float
    published: int
    landed: int
    status: dict[str, Any]

    @property
    def received(self) -> int:
        """Rows that the consumer made from metrics."""
        return self.number("rows_produced")

    def number(self, key: str) -> int:
        """A number of the consumer's /status; 0 before its first answer."""
        value = self.status.get(key, 0)
        return value if isinstance(value, int) else 0

    @property
    def stream_state(self) -> str:
        """What the delivery is doing."""
        return str(self.status.get("stream_state", "CLOSED"))


class System:
    """All parts, started in the order in which they need each other.

    Args:
        options: what is wanted.
        interrupt: ends every wait.
        say: takes a line for the user.
    """

    def __init__(
        self, options: DemoOptions, interrupt: Interrupt, say: Callable[[str], None]
    ) -> None:
        self.options = options
        self.config_file = options.data_dir / "sparkplug-zerobus.yaml"
        self.logs = options.data_dir / "logs"
        self.fleet: Gateways | None = None
        self.server: mqtt_server.MqttServer | None = None
        self._interrupt = interrupt
        self._say = say
        self._zerobus: DemoProcess | None = None
        self._consumer: DemoProcess | None = None
        self._ports = [0, 0, 0]
        self._status: dict[str, Any] = {}
        self._landed = 0

    @property
    def _processes(self) -> list[DemoProcess]:
        """The processes that were started, in the order in which they are to be stopped."""
        broker = self.server.process if self.server is not None else None
        return [each for each in (self._consumer, self._zerobus, broker) if each is not None]

    def start(self) -> None:
        """Start everything and wait until all gateways are online.

        Raises:
            DemoError: a part does not start.
            Interrupted: a signal came first.
        """
        options, say = self.options, self._say
        program = mqtt_server.choose(
            options.broker, mqtt_server.find_mosquitto(), amqtt=mqtt_server.have_amqtt()
        )
        if program == "amqtt" and options.broker == "auto":
            say("No mosquitto found: the pip-installable broker amqtt takes its place (slower).")
        self.logs.mkdir(parents=True, exist_ok=True)
        self._log_gateways()
        server = mqtt_server.start(program, options.data_dir, self.logs, self._interrupt)
        self.server = server
        say(f"  broker    127.0.0.1:{server.port}, {server.kind}, MQTT {server.protocol}")
        self._zerobus = self._start_zerobus()
        say(f"  zerobus   127.0.0.1:{self._ports[0]}, table {TABLE} and two beside it")
        self._consumer = self._start_consumer()
        say(f"  consumer  http://127.0.0.1:{self._ports[2]}/ is its page: look at it while it runs")
        first = self.read()
        if first.number("spooled_rows") or first.number("rows_sent"):
            say("            rows of an earlier run are in its spool and go first")
        self.fleet = Gateways(
            MqttTarget(server.url),
            options.gateways,
            options.rate,
            ledger=Published(),
            options=EdgeNodeOptions(instances=CONVEYOR_INSTANCES if options.udts else {}),
        )
        # Quiet until all are online: what changes earlier would be published twice, in a
        # birth and then from the edge node's store.
        self.fleet.pause()
        self.fleet.start()
        self._wait_online(self.fleet)
        self.fleet.resume()
        say(f"  gateways  {', '.join(_shortened(self.fleet.gateways))} online")

    def check(self) -> None:
        """Do nothing while all processes run.

        Raises:
            ProcessEnded: one of them ended by itself.
        """
        for process in self._processes:
            process.check()

    def read(self) -> SystemReading:
        """What gateways, consumer and local server have counted up to now."""
        self._status = _get_json(self._ports[2], "/status") or self._status
        if self._consumer is not None and not self._consumer.running:
            self._status = {**self._status, "stream_state": "CLOSED"}
        counters = (_get_json(self._ports[1], "/healthz") or {}).get("counters", {})
        if "records_committed" in counters:
            # It counts the rows of all tables.
            side = sum(each["rows_acked"] for each in self._status.get("side_tables", ()))
            self._landed = max(0, counters["records_committed"] - side)
        published = self.fleet.published if self.fleet is not None else 0
        return SystemReading(time.monotonic(), published, self._landed, self._status)

    def stop(self) -> list[str]:
        """Stop everything, in the order that loses nothing. Never raises.

        The consumer goes first: what it has received is spooled, sent and acknowledged.
        Only then do the gateways say good-bye, so that their deaths do not turn the
        newest rows of the table STALE.

        Returns:
            What did not stop as it should.
        """
        problems = []
        if self.fleet is not None:
            self.fleet.pause()
        for process in self._processes:
            ended = not process.running
            in_order = process.stop(_STOP_SECONDS, self._interrupt)
            if not ended and not in_order and not self._interrupt.happened:
                problems.append(f"{process.name} did not stop in order; see {process.log_file}")
            if process is self._consumer and self.fleet is not None:
                self.fleet.stop(0.0 if self._interrupt.impatient else 5.0)
        return problems

    # ------------------------------------------------------------------ the parts

    def _start_zerobus(self) -> DemoProcess:
        arguments = ("--config", str(self.config_file), "--data-dir", str(self.options.data_dir))
        line = command_line("local-zerobus", *arguments)

        def start() -> DemoProcess:
            return DemoProcess("local-zerobus", line, self.logs / "local-zerobus.log")

        return self._start(start, lambda process: process.logged("local-zerobus ready"))

    def _start_consumer(self) -> DemoProcess:
        line = command_line("run", "--config", str(self.config_file))

        def start() -> DemoProcess:
            return DemoProcess("consumer", line, self.logs / "consumer.log")

        ready = self._start(start, lambda _: _get_json(self._ports[2], "/readyz") is not None)
        # Its own first status, not that of an earlier attempt.
        self._status = {}
        return ready

    def _start(
        self, start: Callable[[], DemoProcess], ready: Callable[[DemoProcess], bool]
    ) -> DemoProcess:
        """Start a process; again with other ports when somebody else took one meanwhile."""
        for attempt in range(1, _ATTEMPTS + 1):
            self._write_config()
            process = start()
            try:
                process.wait_until(partial(ready, process), _START_SECONDS, self._interrupt)
            except ProcessEnded:
                if attempt == _ATTEMPTS or not process.logged(_PORT_TAKEN):
                    raise
            except BaseException:
                process.stop(0.0, self._interrupt)
                raise
            else:
                return process
        raise AssertionError("the last attempt returns or raises")

    def _write_config(self) -> None:
        """The consumer's configuration. Ports of parts that already run stay."""
        fresh = free_ports(3)
        self._ports = fresh if self._zerobus is None else [*self._ports[:2], fresh[2]]
        assert self.server is not None
        grpc_port, token_port, http_port = self._ports
        config = {
            "servers": [{"name": "demo", "url": self.server.url, "protocol": self.server.protocol}],
            # A `$` in the path is no variable.
            "spool": {"path": str(self.options.data_dir / "spool.db").replace("$", "$$")},
            "zerobus": {
                "endpoint": f"http://127.0.0.1:{grpc_port}",
                "workspace_url": f"http://127.0.0.1:{token_port}",
                "table": TABLE,
                "events_table": EVENTS_TABLE,
                "metadata_table": METADATA_TABLE,
                "client_id": "demo",
                "client_secret": "demo",
            },
            "http": {"listen": f"127.0.0.1:{http_port}"},
            "shutdown_timeout": _SHUTDOWN_TIMEOUT,
        }
        text = "# Written by `sparkplug-zerobus demo`; the local server takes any secret.\n"
        text += yaml.safe_dump(config, sort_keys=False)
        self.config_file.write_text(text, encoding="utf-8")

    def _wait_online(self, fleet: Gateways) -> None:
        deadline = time.monotonic() + _ONLINE_SECONDS
        while not fleet.wait_online(0.02):
            self.check()
            if time.monotonic() > deadline:
                raise DemoError(
                    f"only {fleet.online} of {len(fleet.gateways)} gateways came online within "
                    f"{_ONLINE_SECONDS:g} s; see {self.logs / 'gateways.log'}"
                )
            self._interrupt.wait(0)

    def _log_gateways(self) -> None:
        """The gateways live in this process: their log lines go to a file like the others'."""
        handler = logging.FileHandler(self.logs / "gateways.log", encoding="utf-8")
        handler.setFormatter(TextLines())
        logging.basicConfig(level=logging.INFO, handlers=[handler])


def _get_json(port: int, path: str) -> dict[str, Any] | None:
    """A JSON object from 127.0.0.1; None unless it comes with status 200. No proxies."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_HTTP_SECONDS)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = json.loads(response.read())
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()
    return body if response.status == http.client.OK and isinstance(body, dict) else None


def _shortened(names: list[str], most: int = 5) -> list[str]:
    return names if len(names) <= most else [*names[:most], f"and {len(names) - most} more"]
