"""All processes of a measurement: MQTT server, consumer, Zerobus server, edge nodes."""

from __future__ import annotations

import json
import os
import queue
import re
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import httpx
import paho.mqtt.client as mqtt
import yaml
from paho.mqtt.enums import CallbackAPIVersion

from consumer.demo import mqtt_server
from consumer.demo.processes import DemoProcess, Interrupt, command_line, free_ports, listening

if TYPE_CHECKING:
    from collections.abc import Callable

    from flow.generator import Options

TABLE: Final = "bench.plant.tag_events"
BENCH: Final = Path(__file__).parents[1]
_START_SECONDS: Final = 60.0
_DROPPED: Final = "$SYS/broker/publish/messages/dropped"
_ZEROBUS: Final = "zerobus"

# No bound in messages, else QoS 0 is dropped beyond 1,000 of them; without one in bytes some
# 2.0 releases drop all. What is dropped all the same is told within a second.
_MOSQUITTO_CONF: Final = """\
listener {plain} 127.0.0.1
{encrypted}
allow_anonymous true
persistence false
max_queued_messages 0
max_queued_bytes 268435456
sys_interval 1
user root
log_dest stderr
"""
_ENCRYPTED: Final = """\
listener {port} 127.0.0.1
certfile {cert_file}
keyfile {key_file}
"""


class Chain:
    """The processes that data flows through, ended on leaving.

    Args:
        directory: for all of their files.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.table = directory.joinpath("data", *TABLE.split("."))
        self.acknowledgements = directory / "acknowledgements"
        self._stack = ExitStack()
        self._interrupt = Interrupt()
        self._plain, self._tls, self._grpc, self._token, self._http = free_ports(5)
        self._client = httpx.Client(timeout=10, trust_env=False)
        self.processes: dict[str, DemoProcess | subprocess.Popen[str]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        self._client.close()
        self._interrupt.restore()

    def start_mqtt(self, *, tls: bool) -> dict[str, Any]:
        """Start the MQTT server; return how the consumer reaches it."""
        encrypted = ""
        server: dict[str, Any] = {"url": f"mqtt://127.0.0.1:{self._plain}"}
        if tls:
            sys.path.append(str(BENCH.parent / "tests"))  # certificates are made by the tests' way
            from support.certificates import Authority  # noqa: PLC0415

            authority = Authority(self.directory / "certificates")
            certificate = authority.issue("server")
            encrypted = _ENCRYPTED.format(
                port=self._tls, cert_file=certificate.cert_file, key_file=certificate.key_file
            )
            server = {
                "url": f"mqtts://127.0.0.1:{self._tls}",
                "tls": {"ca_file": str(authority.ca_file)},
            }
        program = mqtt_server.choose("mosquitto", mqtt_server.find_mosquitto(), amqtt=False)
        config = self.directory / "mosquitto.conf"
        config.write_text(_MOSQUITTO_CONF.format(plain=self._plain, encrypted=encrypted))
        mosquitto = self._process("mosquitto", [program, "-c", str(config)])
        mosquitto.wait_until(lambda: listening(self._plain), _START_SECONDS, self._interrupt)
        return {"name": "bench", **server}

    def start_zerobus(self) -> dict[str, Any]:
        """Start the Zerobus server; return how the consumer reaches it."""
        options = {
            "data_dir": str(self.directory / "data"),
            "table": TABLE,
            "grpc_port": self._grpc,
            "http_port": self._token,
            "acknowledgement_log": str(self.acknowledgements),
        }
        script = str(Path(__file__).with_name("serve_zerobus.py"))
        zerobus = self._process(_ZEROBUS, [sys.executable, script, json.dumps(options)])
        zerobus.wait_until(lambda: zerobus.logged("ready"), _START_SECONDS, self._interrupt)
        return {
            "endpoint": f"http://127.0.0.1:{self._grpc}",
            "workspace_url": f"http://127.0.0.1:{self._token}",
            "table": TABLE,
            "client_id": "bench",
            "client_secret": "bench",
        }

    def configuration(self, server: dict[str, Any], zerobus: dict[str, Any]) -> dict[str, Any]:
        """A consumer's, with nothing changed from the defaults that costs or saves anything."""
        return {
            "servers": [server],
            "spool": {
                "path": str(self.directory / "spool.db").replace("$", "$$"),
                "sync": "full",
            },
            "zerobus": zerobus,
            "http": {"listen": f"127.0.0.1:{self._http}"},
            "shutdown_timeout": "60s",
        }

    def start_consumer(self, configuration: dict[str, Any]) -> None:
        """Start the consumer and wait until it is connected to everything."""
        path = self.directory / "consumer.yaml"
        path.write_text(yaml.safe_dump(configuration), encoding="utf-8")
        consumer = self._process("consumer", command_line("run", "--config", str(path)))
        consumer.wait_until(self._ready, _START_SECONDS, self._interrupt)

    def start_generator(self, options: Callable[[int], Options]) -> subprocess.Popen[str]:
        """Start the edge nodes; `options` are made for a port."""
        generator = self.run("flow.generator", asdict(options(self._plain)))
        self.processes["generator"] = generator
        return generator

    def run(self, module: str, options: dict[str, Any]) -> subprocess.Popen[str]:
        """Start a program of this directory, with its options."""
        process = subprocess.Popen(  # noqa: S603 - see above
            [sys.executable, "-m", module, json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(BENCH)},
        )
        self._stack.callback(process.kill)
        return process

    @property
    def http_port(self) -> int:
        """Where the consumer answers HTTP."""
        return self._http

    def wait_until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait for what must happen while all processes run; False if it does not in time.

        Raises:
            DemoError: a process has ended.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            for each in self.processes.values():
                if isinstance(each, DemoProcess):
                    each.check()
            if time.monotonic() > deadline:
                return False
            self._interrupt.wait(0.01)
        return True

    def cpu_seconds(self) -> dict[str, float]:
        """What each process has used so far, its ended threads included."""
        # clock_getcpuclockid(3), which Python does not have: exact, where /proc counts in 10 ms.
        return {
            name: time.clock_gettime((~process.pid << 3) | 2)
            for name, process in self.processes.items()
        }

    def peak_memory_mib(self) -> dict[str, int]:
        """The most that each process had in resident memory so far."""
        found = {}
        for name, process in self.processes.items():
            text = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
            (line,) = (each for each in text.splitlines() if each.startswith("VmHWM"))
            found[name] = int(line.split()[1]) >> 10
        return found

    def metrics(self) -> dict[str, float]:
        """The consumer's /metrics, by name with labels, without their common beginning."""
        text = self._client.get(f"http://127.0.0.1:{self._http}/metrics").raise_for_status().text
        found = re.findall(r"^sparkplug_zerobus_(.+) (\S+)$", text, re.MULTILINE)
        return {name: float(value) for name, value in found}

    def dropped_by_server(self) -> int:
        """Messages that the MQTT server says it has dropped for want of room."""
        time.sleep(1.2)  # it says so once a second
        said: queue.SimpleQueue[bytes | bytearray] = queue.SimpleQueue()
        client = mqtt.Client(CallbackAPIVersion.VERSION2)

        def subscribe(*_: object) -> None:
            client.subscribe(_DROPPED)

        client.on_connect = subscribe
        client.on_message = lambda _client, _data, message: said.put(message.payload)
        client.connect("127.0.0.1", self._plain)
        client.loop_start()
        try:
            return int(said.get(timeout=_START_SECONDS))
        finally:
            client.disconnect()
            client.loop_stop()

    def stop_consumer(self) -> None:
        """End it in order.

        Raises:
            SystemExit: it ended in another way.
        """
        consumer = self.processes.pop("consumer")
        assert isinstance(consumer, DemoProcess)
        if not consumer.stop(90.0, self._interrupt):
            sys.exit(f"the consumer did not end in order:\n{consumer.tail()}")

    def _ready(self) -> bool:
        try:
            return self._client.get(f"http://127.0.0.1:{self._http}/readyz").is_success
        except httpx.TransportError:
            return False

    def _process(self, name: str, arguments: list[str]) -> DemoProcess:
        process = DemoProcess(name, arguments, self.directory / f"{name}.log")
        self._stack.callback(process.stop, 20.0, self._interrupt)
        self.processes[name] = process
        return process
