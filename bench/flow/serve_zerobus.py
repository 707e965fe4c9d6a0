"""The local Zerobus server as a process, with a log of its acknowledgements.

Argument: a JSON object with data_dir, table, ports, acknowledgement_log. Says "ready", and
ends in order on SIGTERM.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

from consumer.rows.tables import TAG_EVENTS_SCHEMA
from zerobus_local import LocalZerobus, Ports


def main() -> None:
    options = json.loads(sys.argv[1])
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    server = LocalZerobus(
        Path(options["data_dir"]),
        ports=Ports(f"127.0.0.1:{options['grpc_port']}", f"127.0.0.1:{options['http_port']}"),
        acknowledgement_log=Path(options["acknowledgement_log"]),
    )
    server.create_table(options["table"], TAG_EVENTS_SCHEMA)
    server.start()
    print("ready", flush=True)
    signal.sigwait({signal.SIGTERM})
    server.stop()


if __name__ == "__main__":
    main()
