"""`sparkplug-zerobus simulate`: publish as simulated Ignition gateways."""

from __future__ import annotations

import json
import signal
import ssl
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import click

from consumer.cli.commands import EXIT_INTERRUPTED
from consumer.cli.options import Number
from consumer.cli.output import echo, echo_json
from consumer.config import read_secret
from consumer.errors import ConfigurationError
from consumer.logs import send_log
from consumer.network import check_pem_files
from consumer.simulator import CONVEYOR_INSTANCES, EdgeNodeOptions, Gateways, MqttTarget, Published

if TYPE_CHECKING:
    from types import FrameType

_REPORT_SECONDS: Final = 5.0
_HEALTH_SECONDS: Final = 2.0
_STOP_SECONDS: Final = 10.0
_FILE: Final = click.Path(dir_okay=False, path_type=Path)

EPILOG: Final = """\b
Examples:
  sparkplug-zerobus simulate --url mqtt://127.0.0.1:1883
  sparkplug-zerobus simulate --gateways 20 --rate 1000
  sparkplug-zerobus simulate --gateways 3 --gateway-index 2   # one service of three
  sparkplug-zerobus simulate --primary-host sparkplug-zerobus --no-store   # loses data
  sparkplug-zerobus simulate --seconds 30 --ledger published.json --json
"""


@click.command("simulate", epilog=EPILOG)
@click.option("--url", default="mqtt://127.0.0.1:1883", show_default=True, help="MQTT server.")
@click.option("--gateways", default=3, show_default=True, help="Number of gateways.")
@click.option("--gateway-index", type=int, help="Run only this one of them, from 1.")
@click.option("--edge-nodes", default=1, show_default=True, help="Edge nodes of each gateway.")
@click.option("--rate", default=200.0, show_default=True, help="Changes per second and gateway.")
@click.option("--seconds", type=Number(), help="Stop after so long. Default: until Ctrl-C.")
@click.option("--primary-host", help="Publish only while this host application is online.")
@click.option(
    "--store/--no-store",
    default=True,
    help="Keep what cannot be published (default), or drop it, as a gateway whose history store is "
    "not armed does while its primary host is offline.",
)
@click.option("--aliases/--no-aliases", default=True, help="Data by alias (default) or by name.")
@click.option("--username", help="User name for the MQTT server.")
@click.option("--password-file", type=_FILE, help="File that holds the password.")
@click.option("--ca-file", type=_FILE, help="Certificate authority for mqtts://.")
@click.option("--cert-file", type=_FILE, help="Client certificate for mqtts://.")
@click.option("--key-file", type=_FILE, help="Key of the client certificate.")
@click.option("--udts", is_flag=True, help="One more device, of instances of UDTs.")
@click.option("--seed", default=1, show_default=True, help="Equal seeds give equal changes.")
@click.option("--site", default="", help="Site the consumer gives to the server, for the ledger.")
@click.option("--ledger", "ledger_file", type=_FILE, help="Write what was published here.")
@click.option("--health-file", type=_FILE, help="Touched while all edge nodes are connected.")
@click.option("--json", "as_json", is_flag=True, help="Print a summary as JSON at the end.")
def command(**options: Any) -> None:
    """Publish as simulated Ignition gateways, until Ctrl-C or SIGTERM.

    Each gateway "Plant N" is an edge node "Line A" with the devices "Simulator" and
    "Press 1". On the way out every edge node publishes its NDEATH. The ledger file
    holds the event_ids of every observation that was published.
    """
    send_log("info")
    ledger_file: Path | None = options["ledger_file"]
    fleet = Gateways(
        MqttTarget(
            options["url"],
            options["username"],
            _password(options["password_file"]),
            _tls(options["ca_file"], options["cert_file"], options["key_file"]),
        ),
        options["gateways"],
        options["rate"],
        options["seed"],
        options=EdgeNodeOptions(
            aliases=options["aliases"],
            primary_host_id=options["primary_host"],
            instances=CONVEYOR_INSTANCES if options["udts"] else {},
            store_capacity=EdgeNodeOptions().store_capacity if options["store"] else 0,
        ),
        edge_nodes=options["edge_nodes"],
        gateway_index=options["gateway_index"],
        ledger=Published(options["site"]) if ledger_file is not None else None,
    )
    with _Signals() as signals:
        fleet.start()
        try:
            _watch(fleet, signals.stop, options["seconds"], options["health_file"])
        finally:
            ended = fleet.stop(_STOP_SECONDS)
    summary = {
        "gateways": fleet.gateways,
        "published": fleet.published,
        "connections": fleet.connections,
        "rebirths": fleet.rebirths,
        "dropped": fleet.dropped,
        "unsent": fleet.stored,
    }
    if ledger_file is not None:
        _write_ledger(ledger_file, fleet)
        summary["distinct"] = fleet.ledger.distinct
    if options["as_json"]:
        echo_json(summary)
    echo(f"{fleet.published} values published by {len(fleet.gateways)} edge nodes", err=True)
    if not ended:
        raise click.ClickException(f"an edge node did not stop within {_STOP_SECONDS:g} s")
    if signals.interrupted:
        raise click.exceptions.Exit(EXIT_INTERRUPTED)


class _Signals:
    """Turns Ctrl-C and SIGTERM into an event, so that the fleet stops in order."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.interrupted = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_exc: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self.interrupted = self.interrupted or number == signal.SIGINT
        self.stop.set()


def _watch(
    fleet: Gateways, stop: threading.Event, seconds: float | None, health_file: Path | None
) -> None:
    """Report the rate and touch the health file until it is time to stop."""
    begin = report_at = health_at = time.monotonic()
    report_at += _REPORT_SECONDS
    published = 0
    while not stop.is_set():
        now = time.monotonic()
        if seconds is not None and now - begin >= seconds:
            return
        if now >= health_at:
            health_at = now + _HEALTH_SECONDS
            if health_file is not None and fleet.connected == len(fleet.gateways):
                health_file.touch()
        if now >= report_at:
            report_at = now + _REPORT_SECONDS
            rate = (fleet.published - published) / _REPORT_SECONDS
            published = fleet.published
            echo(
                f"{fleet.online}/{len(fleet.gateways)} edge nodes online, "
                f"{rate:,.0f} values/s, {published:,} published, {fleet.stored:,} stored",
                err=True,
            )
        ends = report_at if seconds is None else min(report_at, begin + seconds)
        stop.wait(max(0.0, min(ends, health_at) - time.monotonic()))


def _password(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return read_secret(path)
    except ValueError as error:
        raise ConfigurationError(f"--password-file: the file {error}") from None


def _tls(ca_file: Path | None, cert_file: Path | None, key_file: Path | None) -> Any:
    if ca_file is None and cert_file is None:
        return None
    try:
        check_pem_files(*(str(each or "") for each in (ca_file, cert_file, key_file)))
        context = ssl.create_default_context(cafile=ca_file)
        if cert_file is not None:
            # The empty password makes an encrypted key an error, not a question.
            context.load_cert_chain(cert_file, key_file, password="")
    except OSError as error:  # ssl.SSLError is one
        raise ConfigurationError(f"--ca-file, --cert-file, --key-file: {error}") from None
    return context


def _write_ledger(path: Path, fleet: Gateways) -> None:
    content = {
        "published": fleet.ledger.published,
        "distinct": fleet.ledger.distinct,
        "event_ids": sorted(fleet.ledger.event_ids),
        # In pairs, as long as a value could land under one of two ids.
        "births": [(each, each) for each in sorted(fleet.ledger.births)],
    }
    try:
        path.write_text(json.dumps(content, indent=0), encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"--ledger {path}: {error}") from None
