"""`python -m fuzz.http_api`: the HTTP API is asked by its own description, and must not fail.

Schemathesis lives in an environment of its own. The stream has no end, and health says 503 of a
consumer that is connected to nothing: they are left out. Exit code 1 if an answer was a 5xx.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from support import peer_environments
from support.columnar import change, message, tag
from support.http_side import KEYS, OPERATOR, http_side

from consumer.broker import InboxBatch
from sparkplug import MessageBatch

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
        http_side(Path(directory), http={"keys": KEYS}) as client,
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
        client.consumer.decoding._take(InboxBatch({0: MessageBatch(messages)}))
        command = [
            *(program, "run", f"http://127.0.0.1:{client.server.port}/openapi.json"),
            *("--header", f"Authorization: Bearer {OPERATOR}"),
            *("--checks", "not_a_server_error", "--max-time", str(round(arguments.seconds))),
            *("--exclude-path-regex", LEFT_OUT, "--request-timeout", "30", "--no-color"),
            *("--warnings", "off", "--continue-on-failure"),
        ]
        if arguments.seed is not None:
            command += ["--seed", str(arguments.seed)]
        return subprocess.run(command, check=False, cwd=directory).returncode


if __name__ == "__main__":
    sys.exit(main())
