"""The demo's MQTT server: mosquitto where there is one, else amqtt."""

from __future__ import annotations

import importlib.util
import shutil
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

from consumer.demo.amqtt_server import READY
from consumer.demo.processes import (
    DemoError,
    DemoProcess,
    Interrupt,
    ProcessEnded,
    free_ports,
    listening,
    module_line,
)

if TYPE_CHECKING:
    from pathlib import Path

Choice = Literal["auto", "mosquitto", "amqtt"]

# Debian and Homebrew install it outside the PATH of an ordinary user.
_PLACES: Final = (None, "/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")
_START_SECONDS: Final = 60.0
_SETTLE_SECONDS: Final = 0.1
_ATTEMPTS: Final = 3
_INSTALL: Final = (
    "'sudo apt-get install mosquitto' (Debian, Ubuntu), 'sudo dnf install mosquitto' "
    "(Fedora) or 'brew install mosquitto' (macOS)"
)

# By default mosquitto drops messages beyond 1,000 waiting for a client, without a word.
# No bound in messages needs one in bytes: without it some 2.0 releases drop all.
_MOSQUITTO_CONF: Final = """\
listener {port} 127.0.0.1
allow_anonymous true
persistence false
max_queued_messages 0
max_queued_bytes 268435456
log_dest stderr
"""


@dataclass(frozen=True, slots=True)
class MqttServer:
    """A running server. `protocol` is the highest MQTT version it speaks."""

    kind: str
    protocol: str
    port: int
    process: DemoProcess

    @property
    def url(self) -> str:
        """URL for clients."""
        return f"mqtt://127.0.0.1:{self.port}"


def find_mosquitto() -> str | None:
    """Path of the mosquitto server, if there is one."""
    for place in _PLACES:
        if found := shutil.which("mosquitto", path=place):
            return found
    return None


def have_amqtt() -> bool:
    """Whether amqtt is installed beside this package."""
    return importlib.util.find_spec("amqtt") is not None


def choose(choice: Choice, mosquitto: str | None, *, amqtt: bool) -> str:
    """Path of mosquitto, or "amqtt".

    Args:
        choice: what the user asks for.
        mosquitto: path of mosquitto, None where there is none.
        amqtt: whether amqtt is installed.

    Raises:
        DemoError: what is wanted is not installed. The text says how to install it.
    """
    if choice != "amqtt" and mosquitto is not None:
        return mosquitto
    if choice == "mosquitto":
        raise DemoError(f"mosquitto is not installed. Install it with {_INSTALL}.")
    if amqtt:
        return "amqtt"
    if choice == "amqtt":
        raise DemoError("amqtt is not installed. Install it with 'pip install amqtt'.")
    raise DemoError(
        f"The demo needs an MQTT server. Install mosquitto with {_INSTALL}, "
        "or the broker amqtt with 'pip install amqtt'."
    )


def start(program: str, directory: Path, logs: Path, interrupt: Interrupt) -> MqttServer:
    """Start what `choose` chose on a free port of 127.0.0.1 and wait until it listens.

    Raises:
        DemoError: it does not start.
        Interrupted: a signal came first.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        (port,) = free_ports(1)
        if program == "amqtt":
            server = MqttServer("amqtt", "3.1.1", port, _start_amqtt(port, logs))
        else:
            process = _start_mosquitto(program, port, directory, logs)
            server = MqttServer("mosquitto", "5", port, process)
        try:
            server.process.wait_until(partial(_ready, server), _START_SECONDS, interrupt)
            # Perhaps it is another program that listens: then ours is about to end.
            interrupt.wait(_SETTLE_SECONDS)
            server.process.check()
        except ProcessEnded:
            # Somebody else may have taken the port in the meantime.
            if attempt == _ATTEMPTS or not server.process.logged("ddress already in use"):
                raise
        except BaseException:
            server.process.stop(0.0, interrupt)
            raise
        else:
            return server
    raise AssertionError("the last attempt returns or raises")


def _ready(server: MqttServer) -> bool:
    if server.kind == "amqtt":
        return server.process.logged(READY)
    return listening(server.port)


def _start_mosquitto(program: str, port: int, directory: Path, logs: Path) -> DemoProcess:
    config_file = directory / "mosquitto.conf"
    config_file.write_text(_MOSQUITTO_CONF.format(port=port), encoding="utf-8")
    return DemoProcess("mosquitto", [program, "-c", str(config_file)], logs / "mosquitto.log")


def _start_amqtt(port: int, logs: Path) -> DemoProcess:
    arguments = module_line("consumer.demo.amqtt_server", str(port))
    return DemoProcess("amqtt", arguments, logs / "amqtt.log")
