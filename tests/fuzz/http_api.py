"""`python -m fuzz.http_api`: the HTTP API is asked by its own description, and must not fail.

Schemathesis lives in an environment of its own. The stream has no end, and health says 503 of a
consumer that is connected to nothing: they are left out. Exit code 1 if an answer was a 5xx.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
from pathlib import Path

from support import peer_environments, unconnected
from support.columnar import change, message, tag
from support.hand_fed import Courier, Shelf, consuming
from support.http_side import KEYS, OPERATOR, serving

LEFT_OUT = "^/(healthz|readyz|api/stream)$"


def main() -> int:
    """Serve a consumer with something in it, and ask it."""
    parser = argparse.ArgumentParser(prog="python -m fuzz.http_api", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, help="of what is asked (default: another each time)")
    arguments = parser.parse_args()
    program = peer_environments.python_of("schemathesis").with_name("st")
    with (
        tempfile.TemporaryDirectory() as directory,
        _serving(Path(directory)) as (shelf, server),
    ):
        messages = [
            message("NBIRTH", *(tag(f"Line/Tag {n}", n, float(n)) for n in range(50))),
            message("DBIRTH", tag("Level", 90), seq=1),
            message("NDATA", change(0, 1.0), seq=2),
            message("NDATA", change(0, 1.0), seq=9),
            message("NDATA", seq=3)._replace(payload=b"\xff" * 50),
            message("NBIRTH", tag("Ramp", 0), node="Gone"),
            message("NDEATH", node="Gone"),
        ]
        shelf.put(*messages)
        command = [
            *(program, "run", f"http://127.0.0.1:{server.port}/openapi.json"),
            *("--header", f"Authorization: Bearer {OPERATOR}"),
            *("--checks", "not_a_server_error", "--max-time", str(round(arguments.seconds))),
            *("--exclude-path-regex", LEFT_OUT, "--request-timeout", "30", "--no-color"),
            *("--warnings", "off", "--continue-on-failure"),
        ]
        if arguments.seed is not None:
            command += ["--seed", str(arguments.seed)]
        return subprocess.run(command, check=False, cwd=directory).returncode


@contextlib.contextmanager
def _serving(directory):
    """A running consumer without MQTT, and its server."""
    configuration = unconnected.configuration(directory, shutdown_timeout="0s", http={"keys": KEYS})
    shelf = Shelf()
    with (
        consuming(configuration, shelf, Courier(configuration.servers[0])) as consumer,
        serving(consumer) as server,
    ):
        yield shelf, server


if __name__ == "__main__":
    sys.exit(main())
