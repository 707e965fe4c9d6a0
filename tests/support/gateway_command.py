"""`sparkplug-zerobus ignition` against the fake gateway."""

from __future__ import annotations

import yaml
from click.testing import CliRunner

from consumer.cli.commands import COMMANDS, LazyGroup
from consumer.errors import SparkplugZerobusError
from support.gateway import KEY

HOST = "plant-host"


def configuration(directory, **host):
    """The path of a configuration with the host id HOST and a server `plant`."""
    path = directory / "consumer.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "host": {"id": HOST, **host},
                "servers": [
                    {"name": "plant", "url": "mqtts://broker.example:8883", "username": "edge"}
                ],
                "zerobus": {
                    "endpoint": "http://127.0.0.1:9",
                    "workspace_url": "http://127.0.0.1:10",
                    "table": "main.ot.tag_events",
                    "client_id": "id",
                    "client_secret": "${NOT_SET}",
                },
            }
        )
    )
    return path


class Commands:
    """Runs the commands in this process."""

    def __init__(self, directory) -> None:
        self.directory = directory
        self.config = configuration(directory)
        self.key = KEY

    def run(self, command, gateway=None, *more):
        """The result; errors that mend are on stderr, as the program prints them."""
        arguments = ["ignition", command, "--config", str(self.config), *more]
        if gateway is not None:
            arguments += ["--gateway", getattr(gateway, "url", gateway)]
        if self.key is not None:
            file = self.directory / "ignition.key"
            file.write_text(self.key + "\n")
            arguments += ["--key-file", str(file)]
        if command == "transmission":
            arguments += ["--wait", "0"]
        group = LazyGroup(lazy=COMMANDS)
        done = CliRunner().invoke(group, arguments, standalone_mode=False)
        if done.exception is not None and not isinstance(
            done.exception, SparkplugZerobusError | SystemExit
        ):
            raise done.exception
        done.error = str(done.exception or "")
        done.code = done.return_value if done.exception is None else None
        return done
