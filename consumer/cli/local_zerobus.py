"""`sparkplug-zerobus local-zerobus`: the local Zerobus server where the configuration points."""

from __future__ import annotations

import ipaddress
import os
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import click

from consumer import config
from consumer.cli.commands import EXIT_INTERRUPTED
from consumer.cli.options import config_option
from consumer.cli.output import echo
from consumer.errors import ConfigurationError, SparkplugZerobusError
from consumer.logs import configure_logging

if TYPE_CHECKING:
    from types import FrameType

EXAMPLES = """\b
Example:
  sparkplug-zerobus local-zerobus --config consumer.yaml --data-dir ./lake
with this in consumer.yaml:
  zerobus:
    endpoint: http://127.0.0.1:8100
    workspace_url: http://127.0.0.1:8101
    table: main.ot.tag_events
    client_id: local
    client_secret: local
"""

_STOP_SECONDS: Final = 5.0


@click.command(epilog=EXAMPLES)
@config_option("Configuration of the consumer that the server is for.")
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Where the Delta tables are: DIR/<catalog>/<schema>/<table>. Made when missing.",
)
@click.option(
    "--require-credentials",
    is_flag=True,
    help="Give tokens only to zerobus.client_id with its secret, not to anybody.",
)
def command(config_path: Path, data_dir: Path, require_credentials: bool) -> int:
    """Run the local Zerobus server for a configuration.

    It listens where zerobus.endpoint and zerobus.workspace_url point and lands rows
    in Delta tables on this machine. The configured tables are created when missing.
    """
    configuration = config.load(config_path, os.environ, secrets=require_credentials)
    zerobus = configuration.zerobus
    grpc_address, http_address = addresses(zerobus, str(config_path))
    configure_logging(configuration.log)
    credentials = None
    if require_credentials:
        if zerobus.auth == "federated":  # whose token is another one every hour
            raise ConfigurationError(
                f"{config_path}: zerobus.auth: --require-credentials is for client_credentials; "
                "leave it out, then every token is exchanged"
            )
        credentials = {zerobus.client_id: zerobus.client_secret.get_secret_value()}
    for key, address in (("endpoint", grpc_address), ("workspace_url", http_address)):
        if address.startswith("0.0.0.0:"):
            echo(f"Note: zerobus.{key} is not on loopback: listening on {address}", err=True)
    return _serve(data_dir, configuration, (grpc_address, http_address), credentials)


def _serve(
    data_dir: Path,
    configuration: config.Configuration,
    ports: tuple[str, str],
    credentials: dict[str, str] | None,
) -> int:
    # gRPC's own log would only repeat what our errors say.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    # Here, not at the top: `--help` needs neither gRPC nor Delta.
    from consumer.config import configured_tables  # noqa: PLC0415
    from zerobus_local import LocalZerobus, LocalZerobusError, Ports  # noqa: PLC0415

    received: list[int] = []
    stop = threading.Event()

    def on_signal(number: int, frame: FrameType | None) -> None:
        del frame
        received.append(number)
        stop.set()

    before = {
        number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        server = LocalZerobus(
            data_dir,
            ports=Ports(*ports),
            credentials=credentials,
        )
        try:
            zerobus = configuration.zerobus
            tables = configured_tables(zerobus, configuration.normalize)
            for name, table in tables.items():
                server.create_table(name, table.arrow_schema)
            server.start()
            echo(
                f"local-zerobus ready: endpoint {zerobus.endpoint}, "
                f"workspace {zerobus.workspace_url}, "
                f"{'table' if len(tables) == 1 else 'tables'} {', '.join(tables)} in {data_dir}",
                err=True,
            )
            stop.wait()
        finally:
            server.stop(_STOP_SECONDS)
    except (LocalZerobusError, OSError) as error:
        raise SparkplugZerobusError(f"local-zerobus: {error}") from error
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return EXIT_INTERRUPTED if received[0] == signal.SIGINT else 0


def addresses(zerobus: config.Zerobus, source: str) -> tuple[str, str]:
    """Addresses `host:port` to listen on for streams and for tokens.

    A loopback host is listened on as it is; any other, such as the service name of a
    container, means all interfaces.

    Raises:
        ConfigurationError: the URLs are not http:// with ports of their own.
    """
    found = []
    for key, url in (("endpoint", zerobus.endpoint), ("workspace_url", zerobus.workspace_url)):
        parts = urlsplit(url)
        if parts.scheme != "http" or parts.port is None:
            raise ConfigurationError(
                f"{source}: zerobus.{key}: must be http:// with a port for the local server, "
                f"for example http://127.0.0.1:8100 (it is {url!r})"
            )
        if parts.path:
            raise ConfigurationError(
                f"{source}: zerobus.{key}: must end after the port for the local server"
            )
        found.append((parts.hostname or "", parts.port))
    if found[0][1] == found[1][1]:
        raise ConfigurationError(
            f"{source}: zerobus.workspace_url: must have another port than zerobus.endpoint "
            f"(both have {found[0][1]})"
        )
    endpoint, workspace = (f"{_listening_host(host)}:{port}" for host, port in found)
    return endpoint, workspace


def _listening_host(host: str) -> str:
    if host == "localhost":
        return "127.0.0.1"
    try:
        if ipaddress.ip_address(host).is_loopback:
            return host
    except ValueError:
        pass
    return "0.0.0.0"  # noqa: S104 - the configuration names a host that others reach
